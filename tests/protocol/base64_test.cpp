#include "protocol/base64.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace parley;

TEST_SUITE("SPEC 6 how secrets and signatures of webhooks are written") {
  TEST_CASE("base64 is that of RFC 4648, with padding, and comes back with and without it") {
    for (const auto& [bytes, text] : std::initializer_list<std::pair<std::string, std::string>>{
             {"", ""},
             {"f", "Zg=="},
             {"fo", "Zm8="},
             {"foo", "Zm9v"},
             {"foob", "Zm9vYg=="},
             {"fooba", "Zm9vYmE="},
             {"foobar", "Zm9vYmFy"},
             {"\xfb\xff\xbf", "+/+/"},
             {std::string(3, '\0'), "AAAA"}}) {
      CAPTURE(text);
      CHECK(base64(bytes) == text);
      const auto back = decode_base64(text);
      REQUIRE(back);
      CHECK(*back == bytes);
      const auto bare = decode_base64(text.substr(0, text.find('=')));
      REQUIRE(bare);
      CHECK(*bare == bytes);
    }
  }

  TEST_CASE("appending keeps what was there") {
    std::string out = "v1,";
    append_base64(out, "f");
    CHECK(out == "v1,Zg==");
  }

  TEST_CASE("half a padding, another alphabet, white space and left-over bits are refused") {
    for (const auto* text : {"Zg=",    "Zm8==", "Zm9v=", "Zm9v==",   "Zm9v====", "=",
                             "==",     "====",  "Z===",  "Zg==Zg==", "Z",        "Zm9vY",
                             "Zm9v\n", " Zm9v", "Zm 9v", "-_-_",     "Zh==",     "Zn",
                             "Zm9=",   "Zm9",   "Zg=A",  "Zm9v."}) {
      CAPTURE(text);
      CHECK_FALSE(decode_base64(text));
    }
    CHECK_FALSE(decode_base64(std::string_view{"AA\0A", 4}));
  }

  TEST_CASE("of all texts of three characters, exactly one stands for each two bytes") {
    constexpr std::string_view alphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::set<std::string> seen;
    std::size_t accepted = 0;
    for (const char a : alphabet) {
      for (const char b : alphabet) {
        for (const char c : alphabet) {
          if (const auto bytes = decode_base64(std::string{a, b, c})) {
            ++accepted;
            seen.insert(*bytes);
          }
        }
      }
    }
    CHECK(accepted == 65'536);
    CHECK(seen.size() == 65'536);
  }
}
