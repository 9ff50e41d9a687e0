/// Boost.Beast as the client: an implementation that is not ours must understand us, and we it.

#include "protocol/wire_frame.hpp"
#include "protocol/ws_codec.hpp"
#include "tests/protocol/ws_wire.hpp"
#include "tests/support/seeds.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/_experimental/test/stream.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/role.hpp>
#include <boost/beast/websocket.hpp>
#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

using namespace parley;
using namespace parley::tests;

namespace {

namespace beast = boost::beast;
namespace websocket = beast::websocket;
using stream = websocket::stream<beast::test::stream>;

/// A Beast client after its handshake; what it writes lies in `peer`.
class beast_client {
 public:
  explicit beast_client(std::size_t write_buffer_bytes = 4096) {
    socket_.next_layer().connect(peer_);
    socket_.write_buffer_bytes(write_buffer_bytes);
    socket_.auto_fragment(true);
    // The handshake blocks for its answer, which depends on its key: so it is done in two steps.
    socket_.async_handshake(response_, "parley", "/ws",
                            [this](beast::error_code ec) { failed_ = ec; });
    io_.poll();
    const std::string request{peer_.str()};
    peer_.clear();
    const std::string label = "Sec-WebSocket-Key: ";
    const std::size_t at = request.find(label) + label.size();
    key = request.substr(at, request.find("\r\n", at) - at);
    answer(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: " +
        ws_accept_key(key) + "\r\n\r\n");
    io_.poll();
  }

  [[nodiscard]] beast::error_code handshake_failure() const { return failed_; }
  [[nodiscard]] stream& socket() { return socket_; }
  /// What the client sent since the last call.
  std::string sent() {
    io_.restart();
    io_.poll();
    std::string bytes{peer_.str()};
    peer_.clear();
    return bytes;
  }
  /// Puts bytes where the client reads.
  void answer(std::string_view bytes) {
    boost::asio::write(peer_, boost::asio::buffer(bytes));
    io_.restart();
  }
  /// The client's next message.
  std::string read() {
    beast::flat_buffer buffer;
    socket_.read(buffer);
    return beast::buffers_to_string(buffer.data());
  }

  std::string key;

 private:
  boost::asio::io_context io_;
  beast::test::stream peer_{io_};
  stream socket_{io_};
  websocket::response_type response_;
  beast::error_code failed_ = beast::error::timeout;
};

std::string random_text(std::mt19937_64& dice, std::size_t characters) {
  static const std::vector<std::string> alphabet{"a", "Z", "0", " ", "\"", "é", "€", "😀", "\n"};
  std::string out;
  for (std::size_t i = 0; i < characters; ++i) out += alphabet[dice() % alphabet.size()];
  return out;
}

}  // namespace

TEST_SUITE("SPEC 5 RFC 6455 with Boost.Beast as the client") {
  TEST_CASE("Beast takes our accept key, and we take Beast's key") {
    beast_client client;
    CHECK_FALSE(client.handshake_failure());
    CHECK(is_valid_ws_key(client.key));
  }

  TEST_CASE("messages of all length forms arrive, cut at every place") {
    beast_client client{1024 * 1024};
    client.socket().auto_fragment(false);
    client.socket().text(true);
    for (const std::size_t length : {0, 1, 125, 126, 200, 65535, 65536}) {
      INFO(length);
      const std::string message(length, 'm');
      client.socket().write(boost::asio::buffer(message));
      const std::string bytes = client.sent();
      const outcome expected{{"text " + message}};
      REQUIRE(decode(bytes) == expected);
      for (std::size_t cut = 0; cut <= std::min<std::size_t>(bytes.size(), 250); ++cut) {
        REQUIRE(decode(bytes, {cut}) == expected);
      }
    }
  }

  TEST_CASE("fragments that Beast makes, with pings between, arrive whole, byte by byte too") {
    for_each_seed(60, [](std::uint64_t seed) {
      std::mt19937_64 dice{seed};
      beast_client client{64};
      client.socket().text(true);
      std::string bytes;
      outcome expected;
      for (int i = 0; i < 5; ++i) {
        const std::string message = random_text(dice, dice() % 200);
        const std::size_t half = message.size() / 2;  // also in the middle of a character
        client.socket().write_some(false, boost::asio::buffer(message.data(), half));
        client.socket().ping("still here");
        client.socket().write_some(
            true, boost::asio::buffer(message.data() + half, message.size() - half));
        expected.heard.emplace_back("ping still here");
        expected.heard.push_back("text " + message);
        bytes += client.sent();
      }
      REQUIRE(decode(bytes) == expected);
      std::vector<std::size_t> cuts;
      for (std::size_t i = 1; i < bytes.size(); ++i) cuts.push_back(i);
      REQUIRE(decode(bytes, cuts) == expected);
      for (int i = 0; i < 10; ++i) {
        REQUIRE(decode(bytes, {dice() % (bytes.size() + 1)}) == expected);
      }
    });
  }

  TEST_CASE("Beast's binary is refused, its close is understood") {
    beast_client client;
    client.socket().binary(true);
    client.socket().write(boost::asio::buffer("x", 1));
    CHECK(decode(client.sent()) == outcome{{}, 1003});

    client.socket().async_close({websocket::close_code::going_away, "tab closed"},
                                [](beast::error_code) {});
    CHECK(decode(client.sent()) == outcome{{"close 1001 tab closed"}});
  }

  TEST_CASE("Beast understands our frames of all length forms, pings and close") {
    beast_client client;
    for (const std::size_t length : {0, 1, 125, 126, 65535, 65536}) {
      const std::string message(length, 'm');
      client.answer(make_ping_frame("alive?")->bytes);
      client.answer(make_text_frame(message)->bytes);
      CHECK(client.read() == message);
      CHECK(client.socket().got_text());
    }
    CHECK(decode(client.sent()).heard.front() == "pong alive?");

    client.answer(make_close_frame(close_code::service_restart, "UNAVAILABLE")->bytes);
    beast::flat_buffer buffer;
    beast::error_code ec;
    client.socket().read(buffer, ec);
    CHECK(ec == websocket::error::closed);
    CHECK(client.socket().reason().code == 1012);
    CHECK(client.socket().reason().reason == "UNAVAILABLE");
  }
}
