#include "net/ws_hub.hpp"

#include "protocol/client_frame.hpp"
#include "tests/net/loopback.hpp"
#include "tests/net/ws_frames.hpp"

#include <malloc.h>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <stdexcept>
#include <vector>

namespace asio = boost::asio;
using asio::ip::tcp;
using namespace parley;
using namespace parley::net;
using namespace parley::net::testing;
using namespace std::chrono_literals;

namespace {

struct recorder final : hub_events {
  void on_text(connection_no c, std::string_view t) override {
    CHECK_FALSE(in_call);
    CHECK_FALSE(gone.contains(c.value));
    // The padding is readable.
    for (std::size_t i = 0; i < client_frame_parser::padding_bytes; ++i)
      ignored += t.data()[t.size() + i];
    texts[c.value].emplace_back(t);
    if (text_hook) text_hook(c, t);
  }
  void on_pong(connection_no c) override {
    CHECK_FALSE(in_call);
    ++pongs[c.value];
  }
  void on_drained(connection_no c) override {
    CHECK_FALSE(in_call);
    ++drained[c.value];
    if (drained_hook) drained_hook(c);
  }
  void on_gone(connection_no c, close_code code) override {
    CHECK_FALSE(in_call);
    CHECK_FALSE(gone.contains(c.value));
    gone[c.value] = code;
    if (gone_hook) gone_hook(c);
  }

  std::map<std::uint64_t, std::vector<std::string>> texts;
  std::map<std::uint64_t, int> pongs;
  std::map<std::uint64_t, int> drained;
  std::map<std::uint64_t, close_code> gone;
  std::function<void(connection_no, std::string_view)> text_hook;
  std::function<void(connection_no)> drained_hook;
  std::function<void(connection_no)> gone_hook;
  bool in_call = false;  ///< the test is inside a call of the hub: nothing may be told now
  int ignored = 0;
};

struct connected {
  connection_no no{};
  std::unique_ptr<loopback_client> client;
};

struct fixture {
  explicit fixture(hub_options o = {}) { hub.emplace(io, o, now, random, events); }

  connected connect(std::string early = {}) {
    auto client = std::make_unique<loopback_client>(io, acceptor.local_endpoint());
    auto socket = acceptor.accept();
    connected out;
    call([&] { out.no = hub->adopt(std::move(socket), std::move(early)); });
    out.client = std::move(client);
    return out;
  }
  /// A call from outside the hub's turns: none of its events may come within.
  template <class F>
  void call(F&& f) {
    events.in_call = true;
    f();
    events.in_call = false;
  }
  void tick() {
    call([&] { hub->tick(); });
    settle(io);
  }
  server_frame next(loopback_client& c) {
    std::optional<server_frame> frame;
    REQUIRE(c.read_until([&] {
      frame = take_frame(c.received);
      return frame.has_value() || c.is_ended;
    }));
    REQUIRE(frame);
    return *frame;
  }
  bool is_gone(connection_no c) {
    return until(io, [&] { return events.gone.contains(c.value); });
  }

  asio::io_context io{1};
  tcp::acceptor acceptor{io, tcp::endpoint{asio::ip::address_v4::loopback(), 0}};
  manual_clock now;
  seeded_random random;
  recorder events;
  std::optional<ws_hub> hub;
};

using strings = std::vector<std::string>;

}  // namespace

TEST_SUITE("ws_hub: messages in, frames out") {
  TEST_CASE("messages arrive in order, early bytes first") {
    fixture f;
    auto a = f.connect(masked_frame(text, "one") + masked_frame(text, "two").substr(0, 3));
    a.client->send(masked_frame(text, "two").substr(3) + masked_frame(text, "") +
                   masked_frame(text, "three"));
    CHECK(f.events.texts.empty());
    REQUIRE(until(f.io, [&] { return f.events.texts[a.no.value].size() == 4; }));
    CHECK(f.events.texts[a.no.value] == strings{"one", "two", "", "three"});
    CHECK(f.hub->counters().frames_in == 4);
    CHECK(f.hub->size() == 1);
  }
  TEST_CASE("replies of one turn leave in one send") {
    fixture f;
    auto a = f.connect();
    f.events.text_hook = [&](connection_no c, std::string_view t) {
      CHECK(f.hub->send(c, make_text_frame(t)));
    };
    std::string all;
    for (int i = 0; i < 50; ++i) all += masked_frame(text, std::to_string(i));
    settle(f.io);
    a.client->send(all);
    for (int i = 0; i < 50; ++i) CHECK(f.next(*a.client).payload == std::to_string(i));
    CHECK(f.hub->counters().sends == 1);
    CHECK(f.hub->counters().frames_out == 50);
    CHECK(f.hub->outbound_bytes_total() == 0);
  }
  TEST_CASE("small and large frames keep their order and bytes") {
    fixture f{{.outbound_max_bytes = 8'000'000}};
    auto a = f.connect();
    std::mt19937 random{7};
    strings sent;
    for (int i = 0; i < 600; ++i) {
      const auto size = random() % 4 == 0 ? random() % 40000 : random() % 300;
      sent.emplace_back(size, static_cast<char>('a' + i % 26));
      f.call([&] { CHECK(f.hub->send(a.no, make_text_frame(sent.back()))); });
    }
    for (const auto& s : sent) CHECK(f.next(*a.client).payload == s);
    CHECK(f.hub->counters().sends < 300);
    CHECK(f.hub->counters().frames_out == 600);
  }
  TEST_CASE("a pass over many connections: one send each, in slices") {
    fixture f;
    std::deque<connected> all;
    for (int i = 0; i < 1000; ++i) all.push_back(f.connect());
    settle(f.io);
    const auto before = f.hub->counters().sends;
    std::vector<frame_ptr> frames;
    for (int i = 0; i < 16; ++i) frames.push_back(make_text_frame("frame " + std::to_string(i)));
    f.call([&] {
      for (const auto& frame : frames) {
        for (auto& c : all) CHECK(f.hub->send(c.no, frame));
      }
    });
    CHECK(f.hub->outbound_bytes_total() > 0);
    CHECK(f.hub->counters().sends == before);
    f.io.restart();
    f.io.run_one();
    CHECK(f.hub->counters().sends < before + 1000);  // others have their turn between
    for (auto& c : all) {
      for (int i = 0; i < 16; ++i) CHECK(f.next(*c.client).payload == "frame " + std::to_string(i));
    }
    CHECK(f.hub->counters().sends == before + 1000);
    CHECK(f.hub->outbound_bytes_total() == 0);
  }
  TEST_CASE("a number is never taken for its successor's") {
    fixture f;
    auto a = f.connect();
    f.call([&] { f.hub->abort(a.no); });
    CHECK(f.is_gone(a.no));
    auto b = f.connect();
    CHECK(b.no != a.no);
    CHECK_FALSE(f.hub->send(a.no, make_text_frame("x")));
    CHECK(f.hub->outbound_space(a.no) == 0);
    f.call([&] {
      f.hub->close(a.no, close_code::normal);
      f.hub->abort(a.no);
      f.hub->pause_reading(a.no);
      f.hub->resume_reading(a.no);
    });
    settle(f.io);
    CHECK(f.hub->size() == 1);
    CHECK(f.hub->send(b.no, make_text_frame("y")));
    CHECK(f.next(*b.client).payload == "y");
    for (const std::uint64_t nobody : {0ULL, 1ULL, ~0ULL})
      CHECK_FALSE(f.hub->send(connection_no{nobody}, make_text_frame("x")));
  }
  TEST_CASE("one that floods does not keep the others waiting") {
    fixture f{{.max_message_bytes = 1000}};
    auto flood = f.connect();
    auto other = f.connect();
    settle(f.io);
    std::string all;
    while (all.size() < 4'000'000) all += masked_frame(text, std::string(900, 'x'));
    flood.client->try_send(all);
    other.client->send(masked_frame(text, "hello"));
    f.io.restart();
    while (!f.events.texts.contains(other.no.value)) f.io.run_one();
    CHECK(f.events.texts[flood.no.value].size() <=
          600);  // 256 KiB a turn, and we may have been later by one
  }
}

TEST_SUITE("ws_hub: control frames and the end") {
  TEST_CASE("a ping is answered with its payload, a pong is told") {
    fixture f;
    auto a = f.connect();
    a.client->send(masked_frame(ping, "") + masked_frame(ping, "abc") + masked_frame(pong, "x") +
                   masked_frame(ping, std::string(125, 'y')));
    for (const auto& expected : strings{"", "abc", std::string(125, 'y')}) {
      const auto frame = f.next(*a.client);
      CHECK(frame.op == pong);
      CHECK(frame.payload == expected);
    }
    CHECK(f.events.pongs[a.no.value] == 1);
  }
  TEST_CASE("our close: what is queued, the close frame, the peer's answer, the end") {
    fixture f;
    auto a = f.connect();
    f.call([&] {
      f.hub->send(a.no, make_text_frame("last"));
      f.hub->close(a.no, close_code::service_restart);
      f.hub->close(a.no, close_code::normal);  // the first counts
      CHECK_FALSE(f.hub->send(a.no, make_text_frame("too late")));
      CHECK(f.hub->outbound_space(a.no) == 0);
    });
    CHECK(f.next(*a.client).payload == "last");
    const auto frame = f.next(*a.client);
    CHECK(frame.op == close_op);
    CHECK(frame.close_code() == 1012);
    CHECK(frame.payload.substr(2) == close_reason(close_code::service_restart));
    settle(f.io);
    CHECK(f.events.gone.empty());
    a.client->send(masked_frame(text, "dropped") + masked_frame(ping, "dropped") +
                   masked_close(1012));
    CHECK(f.is_gone(a.no));
    CHECK(f.events.gone[a.no.value] == close_code::service_restart);
    CHECK(f.events.texts.empty());
    CHECK(a.client->read_to_end());
    CHECK_FALSE(a.client->was_reset);
    CHECK(a.client->received.empty());
    CHECK(f.hub->size() == 0);
  }
  TEST_CASE("the peer's close is echoed") {
    struct row {
      std::string sent;
      unsigned echoed;
      close_code told;
    };
    for (const auto& r : {row{masked_close(1000, "bye"), 1000, close_code::normal},
                          row{masked_close(1001), 1001, close_code::going_away},
                          row{masked_close(4321), 4321, close_code{4321}},
                          row{masked_frame(close_op, ""), 0, close_code::no_status}}) {
      fixture f;
      auto a = f.connect();
      f.call([&] { f.hub->send(a.no, make_text_frame("before")); });
      a.client->send(masked_frame(text, "x") + r.sent + "garbage after the close");
      CHECK(f.next(*a.client).payload == "before");
      const auto frame = f.next(*a.client);
      CHECK(frame.op == close_op);
      CHECK(frame.close_code() == r.echoed);
      CHECK(a.client->read_to_end());
      CHECK_FALSE(a.client->was_reset);
      CHECK(f.is_gone(a.no));
      CHECK(f.events.gone[a.no.value] == r.told);
      CHECK(f.events.texts[a.no.value] == strings{"x"});
      CHECK(f.hub->counters().protocol_errors == 0);
    }
  }
  TEST_CASE("a peer that does not answer our close is cut off at close_timeout") {
    fixture f;
    auto a = f.connect();
    f.call([&] { f.hub->close(a.no, close_code::revoked); });
    settle(f.io);
    f.now.advance(1999ms);
    f.tick();
    CHECK(f.events.gone.empty());
    f.now.advance(1ms);
    f.tick();
    CHECK(f.events.gone[a.no.value] == close_code::revoked);
    CHECK(f.next(*a.client).close_code() == 4503);
    CHECK(a.client->read_to_end());
  }
  TEST_CASE("who breaks the protocol is told, although it goes on sending") {
    struct row {
      std::string sent;
      unsigned code;
    };
    for (const auto& r : {
             row{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1002},
             row{std::string(100, '\0'), 1002},
             row{std::string(100, '\xff'), 1002},
             row{"\x81\x01x", 1002},  // unmasked
             row{masked_frame(continuation, "x"), 1002},
             row{masked_frame(3, "x"), 1002},
             row{masked_frame(ping, "x", false), 1002},
             row{masked_frame(text, "x", false) + masked_frame(text, "y"), 1002},
             row{masked_close(1005), 1002},
             row{masked_frame(close_op, "x"), 1002},
             row{masked_frame(binary, "x"), 1003},
             row{masked_frame(text, "\xff"), 1007},
             row{masked_frame(text, std::string(1001, 'x')), 1009},
             row{masked_frame(text, std::string(600, 'x'), false) +
                     masked_frame(continuation, std::string(401, 'x')),
                 1009},
         }) {
      CAPTURE(r.code);
      fixture f{{.max_message_bytes = 1000}};
      auto a = f.connect();
      a.client->send(masked_frame(text, "good") + r.sent);
      settle(f.io);
      a.client->send(std::string(100'000, 'z'));
      const auto frame = f.next(*a.client);
      CHECK(frame.op == close_op);
      CHECK(frame.close_code() == r.code);
      CHECK(a.client->read_to_end());
      CHECK_FALSE(a.client->was_reset);
      CHECK(f.events.texts[a.no.value] == strings{"good"});
      CHECK(f.hub->counters().protocol_errors == 1);
      SUBCASE("it hangs up") { a.client->close(); }
      SUBCASE("it does not") {
        f.now.advance(2s);
        f.tick();
      }
      CHECK(f.is_gone(a.no));
      CHECK(f.events.gone[a.no.value] == close_code{static_cast<std::uint16_t>(r.code)});
    }
  }
  TEST_CASE("a lost socket is told once") {
    fixture f;
    auto closed = f.connect();
    auto reset = f.connect();
    auto half = f.connect();
    auto reset_in_message = f.connect(masked_frame(text, "abc").substr(0, 4));
    settle(f.io);
    closed.client->close();
    reset.client->reset();
    half.client->end_of_sending();
    reset_in_message.client->reset();
    for (const auto* c : {&closed, &reset, &half, &reset_in_message}) {
      CHECK(f.is_gone(c->no));
      CHECK(f.events.gone[c->no.value] == close_code::no_status);
    }
    CHECK(f.hub->size() == 0);
    CHECK(f.hub->counters().protocol_errors == 0);
  }
  TEST_CASE("callbacks may send, close and abort whatever they like") {
    fixture f;
    auto a = f.connect();
    auto b = f.connect();
    f.events.text_hook = [&](connection_no c, std::string_view t) {
      if (t == "abort me") {
        f.hub->abort(c);
        CHECK_FALSE(f.hub->send(c, make_text_frame("x")));
        CHECK(f.events.gone.empty());
      } else if (t == "close me") {
        f.hub->close(c, close_code::revoked);
      } else if (t == "abort the other") {
        f.hub->abort(c == a.no ? b.no : a.no);
      }
    };
    SUBCASE("abort itself in the middle of a read") {
      a.client->send(masked_frame(text, "abort me") + masked_frame(text, "never") +
                     masked_frame(text, "half").substr(0, 3));
      CHECK(f.is_gone(a.no));
      CHECK(f.events.texts[a.no.value] == strings{"abort me"});
      CHECK(a.client->read_to_end());
    }
    SUBCASE("close itself in the middle of a read") {
      a.client->send(masked_frame(text, "close me") + masked_frame(text, "never") +
                     masked_close(4503));
      CHECK(f.is_gone(a.no));
      CHECK(f.events.texts[a.no.value] == strings{"close me"});
      CHECK(f.next(*a.client).close_code() == 4503);
      CHECK(a.client->read_to_end());
      CHECK_FALSE(a.client->was_reset);
    }
    SUBCASE("abort another of the same turn") {
      a.client->send(masked_frame(text, "abort the other"));
      b.client->send(masked_frame(text, "abort the other"));
      CHECK(until(f.io, [&] { return f.events.gone.size() == 1; }));
      settle(f.io);
      CHECK(f.events.gone.size() == 1);
    }
    SUBCASE("adopt in on_gone") {
      std::optional<connected> c;
      f.events.gone_hook = [&](connection_no gone) {
        if (c) return;
        auto client = std::make_unique<loopback_client>(f.io, f.acceptor.local_endpoint());
        c = connected{f.hub->adopt(f.acceptor.accept(), masked_frame(text, "new")),
                      std::move(client)};
        CHECK(c->no != gone);
        f.hub->abort(b.no);
      };
      a.client->close();
      CHECK(f.is_gone(a.no));
      CHECK(f.is_gone(b.no));
      REQUIRE(c);
      CHECK(until(f.io, [&] { return f.events.texts[c->no.value] == strings{"new"}; }));
      CHECK(f.hub->size() == 1);
    }
  }
  TEST_CASE("the hub may go before its connections, and the loop before or after it") {
    fixture f;
    auto a = f.connect();
    auto b = f.connect(masked_frame(text, "early"));
    SUBCASE("at once") {}
    SUBCASE("with work in hand") {
      settle(f.io);
      f.hub->send(a.no, make_text_frame("x"));
      f.hub->abort(b.no);
    }
    f.hub.reset();
    settle(f.io);
    CHECK(a.client->read_to_end());
    CHECK(b.client->read_to_end());
    CHECK(f.events.gone.empty());
  }
  TEST_CASE("an adopted socket that is already dead is told") {
    fixture f;
    tcp::socket nothing{f.io};
    connection_no c{};
    f.call([&] { c = f.hub->adopt(std::move(nothing), {}); });
    CHECK(f.is_gone(c));
    auto a = f.connect();
    a.client->reset();
    CHECK(f.is_gone(a.no));
  }
}

TEST_SUITE("ws_hub: any stream, however cut") {
  TEST_CASE("random messages in random fragments and pieces arrive as they were; so do ours") {
    for (unsigned seed = 0; seed < 60; ++seed) {
      CAPTURE(seed);
      std::mt19937 random{seed};
      fixture f{{.max_message_bytes = 20000}};
      auto a = f.connect();
      f.events.text_hook = [&](connection_no c, std::string_view t) {
        CHECK(f.hub->send(c, make_text_frame(t)));
      };
      strings sent;
      std::string raw;
      int pings = 0;
      for (int i = 0; i < 30; ++i) {
        std::string message(random() % 3 == 0 ? random() % 20001 : random() % 200, '\0');
        for (auto& ch : message) ch = static_cast<char>('a' + random() % 26);
        if (random() % 3 == 0) message = message.substr(0, 10000) + "\xf0\x9f\x99\x82";
        sent.push_back(message);
        unsigned op = text;
        for (std::string_view rest = message;;) {
          if (random() % 5 == 0) {
            raw += masked_frame(ping, "p", true, static_cast<std::uint32_t>(random()));
            ++pings;
          }
          const auto n = random() % 2 == 0 ? rest.size() : random() % (rest.size() + 1);
          raw += masked_frame(op, rest.substr(0, n), n == rest.size(),
                              static_cast<std::uint32_t>(random()));
          if (n == rest.size()) break;
          rest.remove_prefix(n);
          op = continuation;
        }
      }
      for (std::size_t at = 0; at < raw.size();) {
        const auto n = random() % 3 == 0 ? 1 + random() % 20 : 1 + random() % 20000;
        a.client->send(std::string_view{raw}.substr(at, n));
        if (random() % 2 == 0) f.io.poll();
        at += n;
      }
      strings echoed;
      while (echoed.size() < sent.size() || pings > 0) {
        const auto frame = f.next(*a.client);
        if (frame.op == pong) {
          --pings;
        } else {
          echoed.push_back(frame.payload);
        }
      }
      CHECK(f.events.texts[a.no.value] == sent);
      CHECK(echoed == sent);
    }
  }
  TEST_CASE("random bytes end in a close frame or a wait, never in a crash") {
    for (unsigned seed = 0; seed < 200; ++seed) {
      CAPTURE(seed);
      std::mt19937 random{seed};
      fixture f{{.max_message_bytes = 1000}};
      std::string raw;
      for (int i = 0; i < 5; ++i)
        raw += masked_frame(random() % 11, std::string(random() % 300, 'x'), random() % 4 != 0);
      for (auto n = random() % 4; n > 0; --n)
        raw[random() % raw.size()] = static_cast<char>(random());
      auto a = f.connect(raw.substr(0, random() % raw.size()));
      for (std::size_t at = 0; at < raw.size(); at += 50)
        a.client->send(std::string_view{raw}.substr(at, 50));
      a.client->end_of_sending();
      CHECK(f.is_gone(a.no));
      CHECK(a.client->read_to_end());
      CHECK(f.hub->size() == 0);
      CHECK(f.hub->outbound_bytes_total() == 0);
    }
  }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("ws_hub: an idle connection costs less than 200 bytes of heap") {
  fixture f;
  std::vector<int> clients;
  const auto connect = [&] {
    auto c = f.connect();
    clients.push_back(::dup(c.client->fd()));
  };
  for (int i = 0; i < 300; ++i) connect();
  settle(f.io);
  const auto before = mallinfo2().uordblks;
  for (int i = 0; i < 2048; ++i) connect();
  settle(f.io);
  const auto bytes = (mallinfo2().uordblks - before) / 2048;
  MESSAGE(bytes << " bytes of heap an idle connection");
  CHECK(bytes < 200);
  for (const int fd : clients) ::close(fd);
}
#endif
