// What one connection may ask for, and what all of them together may leave waiting.

#include "tests/promises/stage.hpp"
#include "tests/support/await.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace parley::tests;
using namespace std::chrono_literals;

TEST_SUITE("SPEC 4 ws_frame_rate: a connection that floods") {
  TEST_CASE("a burst is served, the next frame is answered with a reason and closes with 4029") {
    // A rate so low that no machine is slow enough to earn another frame meanwhile.
    const stage s{{.config = {{"ws_frame_rate", "1"}, {"ws_frame_burst", "60"}}}};
    const auto room = s.room("group", {"ann", "bob"});
    auto ann = s.connect("ann", "sync=manual");
    CHECK(ann.receive_type("hello")["limits"]["frames_per_s"] == 1);
    auto bob = s.online("bob");
    std::string burst;
    for (int i = 0; i < 90; ++i) {
      ann.send_json({{"type", "ping"}, {"request_id", i}});
    }
    int pongs = 0;
    json refused;
    try {
      while (true) {
        const auto frame = ann.receive_json();
        if (frame["type"] == "pong") {
          CHECK(frame["request_id"] == pongs);
          ++pongs;
        } else {
          refused = frame;
        }
      }
    } catch (const connection_closed& e) {
      CHECK(e.seen.code == 4029);
      CHECK(e.seen.reason == "RATE_LIMIT_EXCEEDED");
    }
    CHECK(pongs >= 60);
    CHECK(pongs < 70);
    CHECK(refused["type"] == "error");
    CHECK(refused["code"] == "RATE_LIMIT_EXCEEDED");
    CHECK(refused["retryable"] == true);
    CHECK(refused["retry_after_ms"].get<int>() > 0);
    CHECK(refused["request_id"] == pongs);
    // Nobody else feels it, and it may come back at once.
    CHECK(send(bob, room, "still here")["type"] == "message.accepted");
    CHECK(s.online("ann").call({{"type", "ping"}})["type"] == "pong");
  }

  TEST_CASE("a send over the rate is refused with stored:no and is not in the log") {
    const stage s{{.config = {{"ws_frame_rate", "1"}, {"ws_frame_burst", "2"}}}};
    const auto room = s.room("group", {"ann"});
    auto ann = s.connect("ann", "sync=manual");
    ann.receive_type("hello");
    for (int i = 0; i < 8; ++i) {
      auto frame = send_frame(room, "message " + std::to_string(i));
      frame["request_id"] = i;
      ann.send_json(frame);
    }
    json refused;
    try {
      while (refused.is_null()) {
        const auto frame = ann.receive_json();
        if (frame["type"] == "error") refused = frame;
      }
    } catch (const connection_closed&) {}
    REQUIRE(refused.is_object());
    CHECK(refused["code"] == "RATE_LIMIT_EXCEEDED");
    CHECK(refused["stored"] == "no");
    auto backend = s.backend();
    // Those before it are on their way, and it is not among them.
    const auto accepted = refused["request_id"].get<std::size_t>();
    REQUIRE(await(10s, [&] { return log_of(backend, room).size() >= accepted; }));
    post(backend, room, "ann", "behind all of them");
    CHECK(log_of(backend, room).size() == accepted + 1);
  }

  TEST_CASE("cursors, typing and protocol pings cost nothing") {
    const stage s{{.config = {{"ws_frame_rate", "1"}, {"ws_frame_burst", "10"}}}};
    const auto room = s.room("group", {"ann"});
    auto backend = s.backend();
    post(backend, room, "ann", "one");
    auto ann = s.online("ann");
    for (int i = 0; i < 200; ++i) {
      ann.send_json({{"type", i % 2 == 0 ? "ack" : "read"}, {"room_id", room}, {"seq", 1}});
      ann.send_frame(ws_opcode::ping, "x");
    }
    CHECK(ann.call({{"type", "ping"}})["type"] == "pong");
    CHECK_FALSE(ann.closed());
  }

  TEST_CASE("what is not understood costs a frame like others") {
    const stage s{{.config = {{"ws_frame_rate", "1"}, {"ws_frame_burst", "10"}}}};
    auto ann = s.online("ann");
    for (int i = 0; i < 30; ++i) ann.send_text("{");
    CHECK(ann.await_close().code == 4029);
  }
}

TEST_SUITE("SPEC 2.6 the node's outbound memory is bounded as a whole") {
  TEST_CASE(
      "readers that stop share ws_send_buffer_total; who reads is served, and they get all later") {
    for (const int threads : {1, 3}) {
      CAPTURE(threads);
      const stage s{with_io_threads(threads, {.config = {{"ws_send_buffer_total", "1MiB"},
                                                         {"ws_send_buffer", "1MiB"},
                                                         {"ws_stall_timeout", "10m"}}})};
      constexpr int stopped = 24;
      constexpr std::int64_t count = 500;
      std::vector<std::string> members{"reader"};
      for (int i = 0; i < stopped; ++i) members.push_back("stopped-" + std::to_string(i));
      const auto room = s.room("group", members);
      std::vector<ws_client> silent;
      for (int i = 0; i < stopped; ++i) {
        ws_options options;
        options.headers = {{"X-API-Key", s.tenant.api_key},
                           {"X-User-Id", "stopped-" + std::to_string(i)}};
        options.receive_buffer_bytes = 16 * 1024;
        options.query = "sync=manual";
        silent.emplace_back(s.node.address(), options);
        silent.back().receive_type("hello");
        REQUIRE(silent.back().call({{"type", "subscribe"}, {"room_id", room}})["seq"] == 0);
      }
      auto reader = s.connect("reader", "sync=manual");
      reader.receive_type("hello");
      REQUIRE(reader.call({{"type", "subscribe"}, {"room_id", room}})["seq"] == 0);
      // 4 MB for each of them: without a bound for all they would hold 24 MiB, with it 1 MiB.
      auto backend = s.backend();
      for (std::int64_t seq = 1; seq <= count; ++seq) {
        post(backend, room, "reader", std::string(8 * 1024, 'x'));
        if (seq % 50 == 0) await_entry(reader, room, seq);
      }
      CHECK(seqs_of(entries_of(reader, room)) == seqs(1, count));
      for (auto& one : silent) {
        await_entry(one, room, count, 60s);
        CHECK(seqs_of(entries_of(one, room)) == seqs(1, count));
      }
    }
  }
}
