#include "bench/target_url.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace parley::bench;

TEST_SUITE("bench: where load may go") {
  TEST_CASE("loopback needs no permission") {
    struct row {
      const char* text;
      const char* address;
      int port;
    };
    for (const row& row : {row{"http://127.0.0.1:8080", "127.0.0.1", 8080},
                           row{"http://127.0.0.1:8080/", "127.0.0.1", 8080},
                           row{"http://localhost:1", "127.0.0.1", 1},
                           row{"http://127.9.9.9:65535", "127.9.9.9", 65535},
                           row{"http://127.0.0.1", "127.0.0.1", 80}}) {
      CAPTURE(row.text);
      const auto result = read_target_url(row.text, false);
      REQUIRE(result.url);
      CHECK(result.url->address == row.address);
      CHECK(result.url->port == row.port);
      CHECK(result.url->is_loopback);
    }
  }

  TEST_CASE("anything else needs --allow-remote, and is not even looked up without") {
    for (const char* const text :
         {"http://10.0.0.1:8080", "http://0.0.0.0:8080", "http://128.0.0.1:80",
          "http://example.com", "http://localhost.example.com:80",
          "http://127.0.0.1.example.com:80", "http://2130706433:80", "http://127.1:80"}) {
      CAPTURE(text);
      const auto result = read_target_url(text, false);
      CHECK_FALSE(result.url);
      CHECK(result.why.find("--allow-remote") != std::string::npos);
    }
    const auto remote = read_target_url("http://10.0.0.1:8080", true);
    REQUIRE(remote.url);
    CHECK_FALSE(remote.url->is_loopback);
  }

  TEST_CASE("what is no such URL is refused with a reason") {
    for (const char* const text :
         {"", "127.0.0.1:80", "https://127.0.0.1:80", "http://", "http://:80", "http://127.0.0.1:0",
          "http://127.0.0.1:65536", "http://127.0.0.1:", "http://127.0.0.1:8o",
          "http://127.0.0.1:80/ws", "http://127.0.0.1:80?x", "http://127.0.0.1@10.0.0.1:80",
          "http://[::1]:80"}) {
      CAPTURE(text);
      const auto result = read_target_url(text, true);
      CHECK_FALSE(result.url);
      CHECK_FALSE(result.why.empty());
    }
  }
}
