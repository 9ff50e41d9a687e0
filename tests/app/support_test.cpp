// The tools of whole-node tests, tested themselves: what they say must be so.

#include "protocol/ws_codec.hpp"
#include "tests/support/await.hpp"
#include "tests/support/process.hpp"
#include "tests/support/rest_client.hpp"
#include "tests/support/seeds.hpp"
#include "tests/support/ws_client.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace parley::tests;
using namespace std::chrono_literals;

namespace {

/// Accepts connections on a free port and says the same to each, whatever it hears.
class canned_server {
 public:
  explicit canned_server(std::string answer) : answer_(std::move(answer)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof where;
    REQUIRE(::bind(listener_, reinterpret_cast<sockaddr*>(&where), size) == 0);
    REQUIRE(::listen(listener_, 8) == 0);
    REQUIRE(::getsockname(listener_, reinterpret_cast<sockaddr*>(&where), &size) == 0);
    address_ = "127.0.0.1:" + std::to_string(ntohs(where.sin_port));
    thread_ = std::thread{[this] { serve(); }};
  }
  ~canned_server() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  canned_server(const canned_server&) = delete;
  canned_server& operator=(const canned_server&) = delete;
  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  void serve() {
    while (true) {
      const int fd = ::accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      char buffer[4096];
      [[maybe_unused]] const auto heard = ::read(fd, buffer, sizeof buffer);
      ::send(fd, answer_.data(), answer_.size(), MSG_NOSIGNAL);
      ::shutdown(fd, SHUT_WR);
      while (::read(fd, buffer, sizeof buffer) > 0) {}
      ::close(fd);
    }
  }
  std::string answer_;
  std::string address_;
  int listener_ = -1;
  std::thread thread_;
};

const std::string switching =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

struct collected : parley::ws_sink {
  std::vector<std::string> texts;
  bool on_text(std::string_view text) override {
    texts.emplace_back(text);
    return true;
  }
  void on_ping(std::string_view) override {}
  void on_pong(std::string_view) override {}
  void on_close(parley::close_code, std::string_view) override {}
};

}  // namespace

TEST_SUITE("tests/support") {
  TEST_CASE("await is true when the condition comes, false when the deadline does") {
    int calls = 0;
    CHECK(await(5s, [&] { return ++calls == 3; }));
    CHECK_FALSE(await(0ms, [] { return false; }));
    CHECK(await(0ms, [] { return true; }));
  }

  TEST_CASE("every seed is given once, or the one that was asked for") {
    if (only_seed()) return;
    std::vector<std::uint64_t> seen;
    for_each_seed(3, [&](std::uint64_t seed) { seen.push_back(seed); });
    CHECK(seen == std::vector<std::uint64_t>{1, 2, 3});
  }

  TEST_CASE("a process's output and status are told; a signal is 128 and its number") {
    const auto r = run({.command = {"/bin/sh", "-c", "cat; echo err >&2; exit 3"}, .input = "in"});
    CHECK(r.status == 3);
    CHECK(r.out == "in");
    CHECK(r.err == "err\n");
    process p{{.command = {"/bin/sh", "-c", "echo ready; exec sleep 60"}}};
    CHECK(await(10s, [&] { return p.stdout_text() == "ready\n"; }));
    CHECK(p.is_running());
    p.signal(SIGKILL);
    CHECK(p.exit_status() == 128 + SIGKILL);
    CHECK(run({.command = {"/nonexistent"}}).status == 127);
  }

  TEST_CASE("a node's settings around the test do not reach what it starts") {
    const auto r = run({.command = {"/usr/bin/env"}, .env = {{"PARLEY_BREAK", "x"}}});
    CHECK(r.out.find("PARLEY_BIN=") == std::string::npos);
    CHECK(r.out.find("PARLEY_BREAK=x") != std::string::npos);
  }

  TEST_CASE("answers are read by length, by chunks or to the end") {
    const canned_server by_length{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A:  b \r\n\r\n{}"};
    const auto r = rest_client{by_length.address()}.get("/");
    CHECK(r.status == 200);
    CHECK(r.header("x-a") == "b");
    CHECK(r.json().is_object());
    const canned_server by_chunks{
        "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"};
    CHECK(rest_client{by_chunks.address()}.get("/").body == "abc");
    const canned_server to_the_end{"HTTP/1.1 500 Internal\r\n\r\nrest"};
    CHECK(rest_client{to_the_end.address()}.get("/").body == "rest");
  }

  TEST_CASE("what is no HTTP answer fails the test") {
    for (const std::string answer :
         {"nonsense\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
          "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 200 OK\nA: b\r\n\r\n"}) {
      CAPTURE(answer);
      const canned_server server{answer};
      CHECK_THROWS_AS(rest_client{server.address()}.get("/"), bad_answer);
    }
    const canned_server cut{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"};
    CHECK_THROWS_AS(rest_client{cut.address()}.get("/"), connection_lost);
  }

  TEST_CASE("messages, pings and the close frame of a server are seen") {
    const canned_server server{switching + "\x81\x0e{\"type\":\"one\"}" + "\x89\x01p" +
                               "\x81\x0e{\"type\":\"two\"}" + "\x88\x07\x03\xf4" + "drain"};
    ws_client ws{server.address(), {}};
    CHECK(ws.receive_type("two")["type"] == "two");
    CHECK(ws.received().size() == 2);
    CHECK(ws.pings_seen() == 1);
    const auto closed = ws.await_close();
    CHECK(closed.code == 1012);
    CHECK(closed.reason == "drain");
    CHECK_THROWS_AS(ws.receive_json(), connection_closed);
  }

  TEST_CASE("a socket that just ends is 1006, an upgrade that is refused keeps its answer") {
    const canned_server ends{switching};
    CHECK(ws_client{ends.address(), {}}.await_close().code == 1006);
    const canned_server refuses{"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"};
    try {
      ws_client ws{refuses.address(), {}};
      FAIL("no exception");
    } catch (const upgrade_refused& e) {
      CHECK(e.reply.status == 401);
    }
  }

  TEST_CASE("server frames that RFC 6455 forbids fail the test") {
    for (const std::string& frame :
         {std::string{"\x81\x81maskA"}, std::string{"\xc1\x01x"}, std::string{"\x01\x01x"},
          std::string{"\x82\x01x"}, std::string{"\x81\x7e\x00\x01x", 5},
          std::string{"\x81\x01\xff"}, std::string{"\x88\x01x"}, std::string{"\x81\x01x"}}) {
      const canned_server server{switching + frame};
      ws_client ws{server.address(), {}};
      CHECK_THROWS_AS(ws.receive_json(), bad_answer);
    }
  }

  TEST_CASE("frames of the client are what the server's codec reads") {
    for_each_seed(50, [](std::uint64_t seed) {
      std::mt19937_64 random{seed};
      const std::string text(random() % 70'000, 'a');
      parley::ws_decoder decoder{128 * 1024};
      collected sink;
      auto bytes =
          client_frame_bytes(ws_opcode::text, text, {}, static_cast<std::uint32_t>(random()));
      const auto size = bytes.size();
      bytes.resize(size + 64);
      CHECK(decoder.consume({bytes.data(), size}, sink) == parley::close_code::none);
      REQUIRE(sink.texts.size() == 1);
      CHECK(sink.texts[0] == text);
    });
  }

  TEST_CASE("percent-encoding leaves only what needs none") {
    CHECK(percent_encoded("a/b %\xc3\xbc~") == "a%2Fb%20%25%C3%BC~");
  }
}
