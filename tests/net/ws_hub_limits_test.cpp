/// The hub's bounds and deadlines: slow readers, stalls, heartbeats, pauses, trickled messages.

#include "net/ws_hub.hpp"
#include "tests/net/loopback.hpp"
#include "tests/net/ws_frames.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <vector>

namespace asio = boost::asio;
using asio::ip::tcp;
using namespace parley;
using namespace parley::net;
using namespace parley::net::testing;
using namespace std::chrono_literals;

namespace {

struct quiet_events final : hub_events {
  void on_text(connection_no c, std::string_view t) override {
    texts.emplace_back(t);
    if (text_hook) text_hook(c, t);
  }
  void on_pong(connection_no) override { ++pongs; }
  void on_drained(connection_no c) override {
    ++drained;
    if (drained_hook) drained_hook(c);
  }
  void on_gone(connection_no, close_code code) override { gone.push_back(code); }

  std::vector<std::string> texts;
  int pongs = 0;
  int drained = 0;
  std::vector<close_code> gone;
  std::function<void(connection_no, std::string_view)> text_hook;
  std::function<void(connection_no)> drained_hook;
};

/// A hub with one connection.
struct fixture {
  explicit fixture(hub_options o = {}) : options(o), hub(io, o, now, random, events) {
    tcp::acceptor acceptor{io, tcp::endpoint{asio::ip::address_v4::loopback(), 0}};
    client = std::make_unique<loopback_client>(io, acceptor.local_endpoint());
    c = hub.adopt(acceptor.accept(), {});
    settle(io);
  }
  void pass(std::chrono::milliseconds time) {
    now.advance(time);
    hub.tick();
    settle(io);
  }
  std::optional<server_frame> frame_now() {
    settle(io);
    client->read_now();
    return take_frame(client->received);
  }
  /// Sends numbered frames until the hub's queue for it is full.
  void fill() {
    while (hub.outbound_space(c) > 0) {
      hub.send(c, make_text_frame(std::to_string(sent) + std::string(1000, 'x')));
      ++sent;
      if (hub.outbound_bytes(c) % 64 == 0) settle(io);
    }
    settle(io);
    if (hub.outbound_space(c) > 0) fill();
  }
  void read_numbers() {
    while (auto frame = take_frame(client->received)) {
      if (frame->op != text) {
        others.push_back(*frame);
        continue;
      }
      CHECK(frame->payload == std::to_string(read) + std::string(1000, 'x'));
      ++read;
    }
  }

  asio::io_context io{1};
  manual_clock now;
  seeded_random random;
  quiet_events events;
  hub_options options;
  ws_hub hub;
  std::unique_ptr<loopback_client> client;
  connection_no c{};
  int sent = 0;
  int read = 0;
  std::vector<server_frame> others;
};

}  // namespace

TEST_SUITE("SPEC 2.6: slow readers") {
  TEST_CASE(
      "a reader that does not read costs its bound; when it reads again, it gets everything in "
      "order") {
    fixture f;
    f.fill();
    CHECK(f.hub.outbound_bytes(f.c) >= f.options.outbound_max_bytes);
    CHECK(f.hub.outbound_bytes(f.c) < f.options.outbound_max_bytes + 2000);
    CHECK(f.hub.outbound_bytes_total() == f.hub.outbound_bytes(f.c));
    CHECK(f.hub.outbound_space(f.c) == 0);
    CHECK(f.events.drained == 0);
    const auto sends = f.hub.counters().sends;
    settle(f.io);
    CHECK(f.hub.counters().sends == sends);  // it does not try again and again

    f.events.drained_hook = [&](connection_no) {
      CHECK(f.hub.outbound_bytes(f.c) < f.options.outbound_max_bytes / 2);
      for (int i = 0; i < 10; ++i)
        f.hub.send(f.c, make_text_frame(std::to_string(f.sent++) + std::string(1000, 'x')));
    };
    REQUIRE(f.client->read_until([&] {
      f.read_numbers();
      return f.events.drained > 0 && f.read == f.sent;
    }));
    CHECK(f.hub.outbound_bytes(f.c) == 0);
    CHECK(f.hub.outbound_bytes_total() == 0);
    CHECK(f.hub.outbound_space(f.c) == f.options.outbound_max_bytes);
  }
  TEST_CASE("a reader that never quite catches up does not make the queue grow") {
    fixture f;
    f.fill();
    for (int i = 0; i < 200; ++i) {
      f.client->read_now(100'000);
      f.read_numbers();
      settle(f.io);
      f.fill();
      CHECK(f.hub.outbound_bytes(f.c) < f.options.outbound_max_bytes + 2000);
    }
    CHECK(f.client->read_until([&] {
      f.read_numbers();
      return f.read == f.sent;
    }));
  }
  TEST_CASE("the kernel holds little for it, too") {
    fixture f;
    f.fill();
    // What it has not read is in our queue, in its own receive buffer and within kernel_unsent_max_bytes.
    f.client->read_now();
    CHECK(f.client->received.size() < 8'000'000);
  }
  TEST_CASE("replies beyond the reserve close it with 4008") {
    fixture f;
    f.fill();
    const auto most = f.options.outbound_max_bytes + f.options.control_reserve_bytes;
    const auto pong_frame = make_pong_frame(std::string(100, 'p'));
    int taken = 0;
    while (f.hub.send(f.c, pong_frame)) {
      ++taken;
      REQUIRE(f.hub.outbound_bytes(f.c) <= most);
    }
    CHECK(taken > 500);
    CHECK(f.hub.counters().stalled == 1);
    CHECK(f.hub.outbound_bytes(f.c) < 2000);  // what it had not begun to take is dropped
    REQUIRE(f.client->read_until([&] {
      f.read_numbers();
      return !f.others.empty();
    }));
    CHECK(f.others[0].op == close_op);
    CHECK(f.others[0].close_code() == 4008);
    CHECK(f.others.size() == 1);
    f.client->send(masked_close(4008));
    CHECK(until(f.io, [&] { return f.events.gone == std::vector{close_code::stalled_reader}; }));
  }
  TEST_CASE("a flood of pings that nobody reads the pongs of ends in 4008") {
    fixture f;
    std::string pings;
    for (int i = 0; i < 100; ++i) pings += masked_frame(ping, std::string(125, 'p'));
    REQUIRE(until(f.io, [&] {
      f.client->try_send(pings);
      return f.hub.counters().stalled == 1;
    }));
  }
  TEST_CASE("one frame larger than the bound passes when nothing else waits") {
    fixture f{{.outbound_max_bytes = 1000, .control_reserve_bytes = 100}};
    f.hub.send(f.c, make_text_frame(std::string(5000, 'x')));
    CHECK(f.frame_now()->payload.size() == 5000);
  }
  TEST_CASE("no bytes taken for stall_timeout: 4008") {
    fixture f{{.pings = false}};
    f.fill();
    f.pass(29999ms);
    CHECK(f.hub.outbound_bytes(f.c) > 0);
    f.pass(1ms);
    CHECK(f.hub.counters().stalled == 1);
    CHECK_FALSE(f.hub.send(f.c, make_text_frame("x")));
    SUBCASE("and it never reads") {
      f.pass(2s);
      CHECK(f.events.gone == std::vector{close_code::stalled_reader});
      CHECK(f.hub.outbound_bytes_total() == 0);
      CHECK(f.client->read_to_end());
    }
    SUBCASE("and it wakes up within close_timeout") {
      REQUIRE(f.client->read_until([&] {
        f.read_numbers();
        return !f.others.empty();
      }));
      CHECK(f.others[0].close_code() == 4008);
    }
  }
  TEST_CASE("who takes a little now and then is not stalled") {
    fixture f{{.pings = false}};
    f.fill();
    for (int i = 0; i < 10; ++i) {
      f.now.advance(29s);
      f.client->read_now(1'000'000);
      settle(f.io);
      f.hub.tick();
      f.fill();
    }
    CHECK(f.hub.counters().stalled == 0);
    CHECK(f.events.gone.empty());
  }
  TEST_CASE("an idle connection has nothing to take: it does not stall") {
    fixture f{{.pings = false}};
    f.pass(24h);
    f.hub.send(f.c, make_text_frame("x"));
    f.pass(0s);
    CHECK(f.hub.counters().stalled == 0);
    CHECK(f.frame_now()->payload == "x");
  }
}

TEST_SUITE("SPEC 5: heartbeat") {
  TEST_CASE("a ping every interval, the first one jittered over it") {
    std::set<int> firsts;
    for (unsigned seed = 0; seed < 5; ++seed) {
      fixture f;
      seeded_random random{seed};
      quiet_events events;
      ws_hub hub{f.io, {}, f.now, random, events};
      tcp::acceptor acceptor{f.io, tcp::endpoint{asio::ip::address_v4::loopback(), 0}};
      loopback_client client{f.io, acceptor.local_endpoint()};
      hub.adopt(acceptor.accept(), {});
      std::vector<int> pings;
      for (int ms = 0; ms <= 120'000; ms += 100) {
        settle(f.io);
        client.read_now();
        while (const auto frame = take_frame(client.received)) {
          REQUIRE(frame->op == ping);
          pings.push_back(ms - 100);
          client.send(masked_frame(pong, frame->payload));
          settle(f.io);
        }
        f.now.advance(100ms);
        hub.tick();
      }
      REQUIRE(pings.size() == 4);
      CHECK(pings[0] < 30'000);
      firsts.insert(pings[0]);
      for (std::size_t i = 1; i < 4; ++i) CHECK(pings[i] - pings[i - 1] == 30'000);
      CHECK(events.pongs == 4);
      CHECK(events.gone.empty());
    }
    CHECK(firsts.size() >= 4);
  }
  TEST_CASE("silence for twice the interval: 4009") {
    fixture f;
    f.pass(59999ms);
    CHECK(f.hub.counters().heartbeat_lost == 0);
    f.pass(1ms);
    CHECK(f.hub.counters().heartbeat_lost == 1);
    CHECK(f.frame_now()->op == ping);
    CHECK(f.frame_now()->close_code() == 4009);
    f.pass(2s);
    CHECK(f.events.gone == std::vector{close_code::heartbeat_lost});
    CHECK(f.client->read_to_end());
  }
  TEST_CASE("any traffic counts") {
    const std::string message = masked_frame(text, "hello");
    fixture f{{.frame_timeout = 1h}};
    for (std::size_t i = 0; i < 20; ++i) {
      f.now.advance(59s);
      switch (i % 4) {
        case 0:
          f.client->send(message);
          break;
        case 1:
          f.client->send(masked_frame(pong, ""));
          break;
        case 2:
          f.client->send(message.substr(0, 3));
          break;  // half a frame, too
        default:
          f.client->send(message.substr(3));
          break;
      }
      settle(f.io);
      f.hub.tick();
    }
    CHECK(f.hub.counters().heartbeat_lost == 0);
    CHECK(f.events.gone.empty());
  }
  TEST_CASE("bytes that we did not come round to read count, too") {
    fixture f;
    f.client->send(masked_frame(text, "in time"));
    f.now.advance(61s);
    f.hub.tick();  // before the loop has read it
    settle(f.io);
    CHECK(f.hub.counters().heartbeat_lost == 0);
    CHECK(f.events.texts.size() == 1);
  }
  TEST_CASE("a slow reader that goes on reading lives, although its pongs are far behind") {
    fixture f;
    f.fill();
    for (int i = 0; i < 10; ++i) {
      f.now.advance(29s);
      f.client->read_now(1'000'000);
      settle(f.io);
      f.hub.tick();
      f.fill();
    }
    CHECK(f.hub.counters().heartbeat_lost == 0);
  }
  TEST_CASE("switched off, silence is no offence") {
    fixture f{{.pings = false}};
    f.pass(24h);
    CHECK_FALSE(f.frame_now());
    CHECK(f.events.gone.empty());
  }
}

TEST_SUITE("ws_hub: backpressure") {
  TEST_CASE("a paused connection is not read; then all comes in order") {
    fixture f;
    f.hub.pause_reading(f.c);
    for (int i = 0; i < 100; ++i) f.client->send(masked_frame(text, std::to_string(i)));
    settle(f.io);
    CHECK(f.events.texts.empty());
    f.hub.resume_reading(f.c);
    CHECK(f.events.texts.empty());  // not inside the call
    REQUIRE(until(f.io, [&] { return f.events.texts.size() == 100; }));
    for (int i = 0; i < 100; ++i)
      CHECK(f.events.texts[static_cast<std::size_t>(i)] == std::to_string(i));
  }
  TEST_CASE("paused in the middle of what was read: the rest waits its turn") {
    fixture f;
    f.events.text_hook = [&](connection_no c, std::string_view) { f.hub.pause_reading(c); };
    std::string all;
    for (int i = 0; i < 20; ++i) all += masked_frame(text, std::to_string(i));
    f.client->send(all);
    for (std::size_t n = 1; n <= 20; ++n) {
      REQUIRE(until(f.io, [&] { return f.events.texts.size() == n; }));
      settle(f.io);
      CHECK(f.events.texts.size() == n);
      if (n == 10) f.client->send(masked_frame(text, "20"));
      f.hub.resume_reading(f.c);
      f.hub.resume_reading(f.c);
    }
    REQUIRE(until(f.io, [&] { return f.events.texts.size() == 21; }));
    for (int i = 0; i <= 20; ++i)
      CHECK(f.events.texts[static_cast<std::size_t>(i)] == std::to_string(i));
  }
  TEST_CASE("paused and resumed within the callback: nothing is lost") {
    fixture f;
    f.events.text_hook = [&](connection_no c, std::string_view) {
      f.hub.pause_reading(c);
      f.hub.resume_reading(c);
    };
    f.client->send(masked_frame(text, "a") + masked_frame(text, "b") + masked_frame(text, "c"));
    REQUIRE(until(f.io, [&] { return f.events.texts.size() == 3; }));
    f.client->send(masked_frame(text, "d"));
    REQUIRE(until(f.io, [&] { return f.events.texts.size() == 4; }));
  }
  TEST_CASE("no deadline but the stall's runs against a paused connection") {
    fixture f;
    f.client->send(masked_frame(text, "half").substr(0, 5));
    settle(f.io);
    f.hub.pause_reading(f.c);
    f.client->send(masked_frame(text, "half").substr(5));
    for (int i = 0; i < 10; ++i) f.pass(1h);
    CHECK(f.events.gone.empty());
    CHECK(f.hub.counters().heartbeat_lost == 0);
    CHECK(f.hub.counters().protocol_errors == 0);
    f.hub.resume_reading(f.c);
    f.pass(1s);
    CHECK(f.events.texts == std::vector<std::string>{"half"});
    CHECK(f.events.gone.empty());
  }
  TEST_CASE("a peer lost while paused is noticed, at the latest when it is resumed") {
    fixture f;
    f.client->send(masked_frame(text, "unread"));
    f.hub.pause_reading(f.c);
    settle(f.io);
    SUBCASE("reset") { f.client->reset(); }
    SUBCASE("closed") {
      f.client->end_of_sending();
      settle(f.io);
      f.hub.resume_reading(f.c);
    }
    CHECK(until(f.io, [&] { return f.events.gone.size() == 1; }));
  }
  TEST_CASE("closing a paused connection drops what it says and sees its answer") {
    fixture f;
    f.events.text_hook = [&](connection_no c, std::string_view) { f.hub.pause_reading(c); };
    f.client->send(masked_frame(text, "1") + masked_frame(text, "2"));
    settle(f.io);
    f.client->send(masked_frame(text, "3") + masked_close(1000));
    f.hub.close(f.c, close_code::tenant_gone);
    CHECK(until(f.io, [&] { return f.events.gone == std::vector{close_code::tenant_gone}; }));
    CHECK(f.events.texts.size() == 1);
    CHECK(f.frame_now()->close_code() == 4506);
    CHECK(f.client->read_to_end());
    CHECK_FALSE(f.client->was_reset);
  }
  TEST_CASE("frames can be sent to a paused connection") {
    fixture f;
    f.hub.pause_reading(f.c);
    f.hub.send(f.c, make_text_frame("x"));
    CHECK(f.frame_now()->payload == "x");
  }
}

TEST_SUITE("SPEC 4 request_timeout: half a message") {
  TEST_CASE("a frame or message that does not end is 1002") {
    const std::string frame = masked_frame(text, "hello");
    for (const auto& half : {frame.substr(0, 1), frame.substr(0, 5),
                             frame.substr(0, frame.size() - 1), masked_frame(text, "x", false)}) {
      fixture f{{.pings = false}};
      f.client->send(half);
      settle(f.io);
      f.pass(9999ms);
      CHECK(f.hub.counters().protocol_errors == 0);
      f.pass(1ms);
      CHECK(f.frame_now()->close_code() == 1002);
      CHECK(f.client->read_to_end());  // the end of the stream follows at once
      f.client->close();
      CHECK(until(f.io, [&] { return f.events.gone == std::vector{close_code::protocol_error}; }));
    }
  }
  TEST_CASE(
      "the time is the message's own: many trickled ones in a row are no offence, one is, pings in "
      "between or not") {
    const std::string frame = masked_frame(text, "hello");
    fixture f{{.pings = false}};
    f.client->send(frame.substr(0, 5));
    for (int i = 0; i < 10; ++i) {
      settle(f.io);
      f.pass(9s);
      f.client->send(frame.substr(5) + frame.substr(0, 5));
    }
    settle(f.io);
    CHECK(f.events.texts.size() == 10);
    CHECK(f.hub.counters().protocol_errors == 0);
    f.client->send(frame.substr(5) + masked_frame(text, "a", false));
    settle(f.io);
    for (int i = 0; i < 10; ++i) {
      f.pass(1s);
      f.client->send(masked_frame(ping, "") + masked_frame(continuation, "b", false));
      settle(f.io);
    }
    f.pass(0s);
    CHECK(f.hub.counters().protocol_errors == 1);
  }
}
