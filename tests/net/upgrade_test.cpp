/// From a TCP connection to WebSocket messages: http_server and ws_hub together, as an I/O thread uses them.

#include "net/http_server.hpp"
#include "net/ws_hub.hpp"
#include "tests/net/loopback.hpp"
#include "tests/net/ws_frames.hpp"

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <vector>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"  // g++ 12, coroutine frames
#endif

namespace asio = boost::asio;
using asio::ip::tcp;
using namespace parley;
using namespace parley::net;
using namespace parley::net::testing;
using namespace std::chrono_literals;

namespace {

/// A node that echoes.
struct echo_node final : hub_events {
  echo_node() { REQUIRE_FALSE(server.listen(tcp::endpoint{asio::ip::address_v4::loopback(), 0})); }
  asio::awaitable<http_response> handle(http_request request) {
    http_response out;
    if (request.path != "/ws") {
      out.body = "plain";
    } else if (request.upgrade_websocket) {
      out.upgraded = [this](tcp::socket socket, std::string early) {
        hub.adopt(std::move(socket), std::move(early));
      };
    } else {
      out = error_response(
          {.code = error_code::upgrade_required,
           .message = request.upgrade_problem.value_or("a WebSocket handshake is needed")},
          request.request_id);
    }
    co_return out;
  }
  void on_text(connection_no c, std::string_view t) override { hub.send(c, make_text_frame(t)); }
  void on_pong(connection_no) override {}
  void on_drained(connection_no) override {}
  void on_gone(connection_no, close_code code) override { gone.push_back(code); }

  asio::io_context io{1};
  manual_clock now;
  seeded_random random;
  ws_hub hub{io, {}, now, random, *this};
  http_server server{io, {}, now, random, [this](http_request r) { return handle(std::move(r)); }};
  std::vector<close_code> gone;
};

const std::string handshake =
    "GET /ws?token=x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

std::optional<std::string> take_head(std::string& from) {
  const auto end = from.find("\r\n\r\n");
  if (end == std::string::npos) return std::nullopt;
  auto head = from.substr(0, end + 4);
  from.erase(0, end + 4);
  return head;
}

}  // namespace

TEST_SUITE("SPEC 5: GET /ws") {
  TEST_CASE("every split of a handshake and the frames behind it gives the same conversation") {
    echo_node node;
    const auto raw = handshake + masked_frame(text, "first") + masked_frame(ping, "p") +
                     masked_frame(text, "second");
    for (std::size_t cut = 0; cut < raw.size(); ++cut) {
      CAPTURE(cut);
      loopback_client c{node.io, node.server.local_endpoint()};
      c.send(raw.substr(0, cut));
      settle(node.io);
      c.send(raw.substr(cut));
      std::vector<std::string> got;
      bool has_head = false;
      REQUIRE(c.read_until([&] {
        if (!has_head) {
          const auto head = take_head(c.received);
          if (!head) return false;
          has_head = true;
          CHECK(head->starts_with("HTTP/1.1 101 "));
        }
        while (const auto frame = take_frame(c.received)) got.push_back(frame->payload);
        return got.size() == 3;
      }));
      CHECK(got == std::vector<std::string>{"first", "p", "second"});
    }
    CHECK(until(node.io, [&] { return node.hub.size() == 0; }));
    CHECK(node.gone.size() == raw.size());
  }
  TEST_CASE("a plain request on the same connection, then the upgrade, then garbage") {
    echo_node node;
    loopback_client c{node.io, node.server.local_endpoint()};
    c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /ws HTTP/1.1\r\nHost: a\r\n\r\n" + handshake +
           "garbage");
    REQUIRE(c.read_to_end());
    CHECK(take_head(c.received)->starts_with("HTTP/1.1 200 "));
    CHECK(c.received.starts_with("plain"));
    c.received.erase(0, 5);
    CHECK(take_head(c.received)->starts_with("HTTP/1.1 426 "));
    c.received.erase(0, c.received.find("HTTP/1.1 101 "));
    CHECK(take_head(c.received));
    const auto frame = take_frame(c.received);
    REQUIRE(frame);
    CHECK(frame->close_code() == 1002);
    CHECK_FALSE(c.was_reset);
    c.close();
    CHECK(until(node.io, [&] { return node.gone == std::vector{close_code::protocol_error}; }));
  }
  TEST_CASE("a second request instead of a frame is garbage, not a request") {
    echo_node node;
    loopback_client c{node.io, node.server.local_endpoint()};
    c.send(handshake);
    settle(node.io);
    c.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    REQUIRE(c.read_to_end());
    CHECK(take_head(c.received)->starts_with("HTTP/1.1 101 "));
    CHECK(take_frame(c.received)->close_code() == 1002);
  }
  TEST_CASE("a thousand connections say and hear their own") {
    echo_node node;
    std::deque<loopback_client> clients;
    for (int i = 0; i < 1000; ++i) {
      clients.emplace_back(node.io, node.server.local_endpoint())
          .send(handshake + masked_frame(text, "early " + std::to_string(i)));
      if (i % 100 == 0) settle(node.io);
    }
    REQUIRE(until(node.io, [&] { return node.hub.size() == 1000; }));
    CHECK(node.server.counters().open == 0);
    for (int i = 0; i < 1000; ++i) {
      auto& c = clients[static_cast<std::size_t>(i)];
      c.send(masked_frame(text, "late " + std::to_string(i)));
      std::vector<std::string> got;
      bool has_head = false;
      REQUIRE(c.read_until([&] {
        has_head = has_head || take_head(c.received).has_value();
        if (!has_head) return false;
        while (const auto frame = take_frame(c.received)) got.push_back(frame->payload);
        return got.size() == 2;
      }));
      CHECK(got ==
            std::vector<std::string>{"early " + std::to_string(i), "late " + std::to_string(i)});
    }
    clients.clear();
    CHECK(until(node.io, [&] { return node.hub.size() == 0; }));
  }
}
