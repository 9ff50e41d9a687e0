#include "bench/rest_client.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <string>
#include <thread>
#include <vector>

using namespace parley::bench;

namespace {

/// A server that answers with prepared bytes: each connection has a script; each request is answered by its next line,
/// and the connection is closed after the last. Requests end with an empty line and have no body that contains one.
class scripted_server {
 public:
  explicit scripted_server(std::vector<std::vector<std::string>> connections)
      : listener_{::socket(AF_INET, SOCK_STREAM, 0)} {
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof any;
    REQUIRE(bind(listener_.get(), reinterpret_cast<const sockaddr*>(&any), size) == 0);
    REQUIRE(listen(listener_.get(), 8) == 0);
    REQUIRE(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&any), &size) == 0);
    target.host = target.address = "127.0.0.1";
    target.port = ntohs(any.sin_port);
    target.is_loopback = true;
    thread_ = std::jthread{[this, script = std::move(connections)] { serve(script); }};
  }
  ~scripted_server() { shutdown(listener_.get(), SHUT_RDWR); }

  target_url target;
  std::vector<std::string> requests;  // read them after the client is done

 private:
  void serve(const std::vector<std::vector<std::string>>& script) {
    for (const auto& answers : script) {
      const socket_fd peer{accept(listener_.get(), nullptr, nullptr)};
      if (!peer.is_open()) return;
      for (const auto& answer : answers) {
        std::string request;
        std::array<char, 4096> block{};
        while (request.find("\r\n\r\n") == std::string::npos) {
          const ssize_t got = recv(peer.get(), block.data(), block.size(), 0);
          if (got <= 0) return;
          request.append(block.data(), static_cast<std::size_t>(got));
        }
        requests.push_back(request);
        for (const char c : answer) (void)send(peer.get(), &c, 1, MSG_NOSIGNAL);  // torn everywhere
      }
    }
  }

  socket_fd listener_;
  std::jthread thread_;
};

}  // namespace

TEST_SUITE("bench: REST client") {
  TEST_CASE("one connection carries many requests, bodies by length and in chunks") {
    scripted_server server{{{
        "HTTP/1.1 201 Created\r\nContent-Length: 11\r\n\r\n{\"id\":\"r1\"}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
        "chunked\r\n\r\n4\r\n{\"a\"\r\n3;x=y\r\n:1}\r\n0\r\nT: 1\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 429 Slow\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n",
    }}};
    rest_client client{server.target};
    auto answer = client.request("POST", "/v1/rooms", "X-API-Key: k\r\n", "{}");
    CHECK(answer.status == 201);
    CHECK(answer.body == R"({"id":"r1"})");
    CHECK(client.request("GET", "/x", "", "").body == R"({"a":1})");
    CHECK(client.request("DELETE", "/x", "", "").status == 204);
    answer = client.request("GET", "/x", "", "");
    CHECK(answer.status == 429);
    CHECK(answer.retry_after == std::chrono::seconds{2});
    REQUIRE(server.requests.size() == 4);
    CHECK(server.requests[0].starts_with("POST /v1/rooms HTTP/1.1\r\nHost: 127.0.0.1:"));
    CHECK(server.requests[0].find("X-API-Key: k\r\n") != std::string::npos);
    CHECK(server.requests[0].find("Content-Length: 2\r\n") != std::string::npos);
  }

  TEST_CASE("a kept connection that was closed meanwhile is replaced") {
    const std::string ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    scripted_server server{{{ok}, {ok}}};
    rest_client client{server.target};
    CHECK(client.request("GET", "/1", "", "").status == 200);
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
    CHECK(client.request("GET", "/2", "", "").status == 200);
  }

  TEST_CASE("a body without a length ends with the connection") {
    scripted_server server{{{"HTTP/1.1 200 OK\r\n\r\nall of it"}}};
    rest_client client{server.target};
    CHECK(client.request("GET", "/", "", "").body == "all of it");
  }

  TEST_CASE("what cannot be understood is an error, not a hang") {
    for (const char* const answer :
         {"SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
          "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
          "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "", "HTTP/1.1 200"}) {
      CAPTURE(answer);
      scripted_server server{{{answer}}};
      rest_client client{server.target};
      CHECK_THROWS_AS(client.request("GET", "/", "", ""), setup_error);
    }
  }

  TEST_CASE("silence ends with the timeout, nobody at home at once") {
    const socket_fd listener{::socket(AF_INET, SOCK_STREAM, 0)};
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof any;
    REQUIRE(bind(listener.get(), reinterpret_cast<const sockaddr*>(&any), size) == 0);
    REQUIRE(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&any), &size) == 0);
    target_url target;
    target.host = target.address = "127.0.0.1";
    target.port = ntohs(any.sin_port);
    rest_client nobody{target};
    CHECK_THROWS_AS(nobody.request("GET", "/", "", ""), setup_error);
    REQUIRE(listen(listener.get(), 1) == 0);
    rest_client silent{target, std::chrono::milliseconds{50}};
    CHECK_THROWS_AS(silent.request("GET", "/", "", ""), setup_error);
  }
}
