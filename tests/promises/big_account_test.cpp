// A user in many rooms who comes back after many messages, and a channel with many members. The short form runs always;
// PARLEY_BIG_ACCOUNT_ROOMS=2000 PARLEY_BIG_ACCOUNT_ENTRIES=200 and PARLEY_CHANNEL_MEMBERS=100000 are the long one.

#include "tests/promises/stage.hpp"
#include "tests/support/await.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace parley::tests;
using namespace std::chrono_literals;

namespace {

using clock = std::chrono::steady_clock;

std::int64_t ms_since(clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock::now() - start).count();
}

/// `"name":"value"` or `"name":17` → the value; 400,000 frames are not parsed for two fields.
std::string_view value_after(std::string_view text, std::string_view name) {
  auto at = text.find(name);
  if (at == std::string_view::npos) return {};
  text.remove_prefix(at + name.size());
  return text.substr(0, text.find_first_of("\",}"));
}
std::int64_t seq_of(std::string_view text) {
  std::int64_t seq = -1;
  const auto digits = value_after(text, R"("seq":)");
  std::from_chars(digits.data(), digits.data() + digits.size(), seq);
  return seq;
}

/// The most memory that a process had while this lives, looked at every few milliseconds.
class memory_watch {
 public:
  explicit memory_watch(pid_t pid)
      : before_(resident_kib(pid)),
        most_(before_),
        thread_([this, pid](const std::stop_token& stop) {
          while (!stop.stop_requested()) {
            most_ = std::max(most_.load(), resident_kib(pid));
            std::this_thread::sleep_for(5ms);
          }
        }) {}
  [[nodiscard]] std::int64_t before() const { return before_; }
  [[nodiscard]] std::int64_t growth_kib() const { return most_ - before_; }

 private:
  std::int64_t before_;
  std::atomic<std::int64_t> most_;
  std::jthread thread_;
};

/// Fills all rooms over WebSocket, with a window of sends in flight.
void fill(const stage& s, const std::vector<std::string>& rooms, int entries) {
  auto sender = s.connect("sender", "sync=manual");
  sender.receive_type("hello");
  std::size_t in_flight = 0;
  const auto take_one = [&] {
    while (true) {
      const auto text = sender.next_text(30s);
      REQUIRE(text);
      REQUIRE_FALSE(text->starts_with(R"({"type":"error")"));
      if (text->starts_with(R"({"type":"message.accepted")")) break;
    }
    --in_flight;
  };
  for (int n = 0; n < entries; ++n) {
    for (const auto& room : rooms) {
      sender.send_text(R"({"type":"send_message","room_id":")" + room +
                       R"(","content":"a line of some length, as people write them: )" +
                       std::to_string(n) + R"("})");
      ++in_flight;
      while (in_flight >= 128) take_one();
    }
  }
  while (in_flight > 0) take_one();
}

}  // namespace

TEST_SUITE("SPEC 5 big accounts") {
  TEST_CASE(
      "a user in many rooms, much missed in each: all of it, in order, in bounded memory, fair to "
      "others") {
    const int count = from_environment("PARLEY_BIG_ACCOUNT_ROOMS", 120);
    const int entries = from_environment("PARLEY_BIG_ACCOUNT_ENTRIES", 40);
    for (const int threads : {1, 3}) {
      CAPTURE(threads);
      const stage s{with_io_threads(
          threads, {.config = {{"max_rooms_per_user", "0"}, {"request_timeout", "60s"}}})};
      auto backend = s.backend();
      std::vector<std::string> rooms;
      for (int i = 0; i < count; ++i)
        rooms.push_back(make_room(backend, "group", {"big", "sender"}));
      const auto other_room = make_room(backend, "group", {"other", "sender"});
      fill(s, rooms, entries);
      post(backend, rooms.front(), "sender", "the last word");
      auto other = s.online("other");

      const memory_watch memory{s.node.pid()};
      const auto start = clock::now();
      auto big = s.connect("big");
      // Meanwhile somebody else is served as if nothing was.
      std::atomic<std::int64_t> longest_us{0};
      std::jthread beside{[&](const std::stop_token& stop) {
        auto sender = s.backend();
        for (int n = 1; !stop.stop_requested(); ++n) {
          const auto sent = clock::now();
          post(sender, other_room, "sender", "beside");
          await_entry(other, other_room, n);
          longest_us = std::max<std::int64_t>(
              longest_us,
              std::chrono::duration_cast<std::chrono::microseconds>(clock::now() - sent).count());
        }
      }};
      std::map<std::string, std::int64_t, std::less<>> last;
      std::int64_t outcomes = 0;
      std::int64_t first_entry_ms = -1;
      std::vector<std::string> order;
      bool done = false;
      while (!done) {
        const auto text = big.next_text(60s);
        REQUIRE(text);
        if (text->starts_with(R"({"type":"message",)")) {
          if (first_entry_ms < 0) first_entry_ms = ms_since(start);
          const auto room = value_after(*text, R"("room_id":")");
          auto& seen = last.try_emplace(std::string{room}, 0).first->second;
          if (seen == 0) order.emplace_back(room);
          REQUIRE(seq_of(*text) == seen + 1);
          ++seen;
        } else if (text->starts_with(R"({"type":"sync.complete")")) {
          REQUIRE(text->find(R"("outcome":"recovered")") != std::string::npos);
          ++outcomes;
        } else if (text->starts_with(R"({"type":"sync.done")")) {
          done = true;
        }
      }
      const auto took_ms = ms_since(start);
      beside.request_stop();
      beside.join();
      CHECK(outcomes == count);
      REQUIRE(last.size() == rooms.size());
      for (const auto& [room, seq] : last)
        REQUIRE(seq == (room == rooms.front() ? entries + 1 : entries));
      CHECK(order.front() == rooms.front());  // the one that was written to last
      MESSAGE(count << " rooms, " << entries << " entries missed in each, " << threads
                    << " I/O threads: first entry after " << first_entry_ms << " ms, last after "
                    << took_ms << " ms; the node grew by " << memory.growth_kib()
                    << " KiB at most; somebody else's send took " << longest_us / 1000.0
                    << " ms at most");
#ifndef __SANITIZE_ADDRESS__
      CHECK(memory.growth_kib() < 64 * 1024);
#endif
    }
  }
}

TEST_SUITE("SPEC 3 big channels") {
  TEST_CASE("a channel of many members: join, send, leave, without loading them") {
    const int count = from_environment("PARLEY_CHANNEL_MEMBERS", 4000);
    stage s{{.config = {{"request_timeout", "60s"}, {"max_room_members", "200000"}}}};
    auto backend = s.backend();
    const auto room = make_room(backend, "channel", {"founder"});
    const auto filling = clock::now();
    for (int at = 0; at < count;) {
      std::vector<std::string> some;
      for (; some.size() < 1000 && at < count; ++at) some.push_back("member-" + std::to_string(at));
      const auto added = backend.post("/v1/rooms/" + room + "/members", {{"user_ids", some}});
      REQUIRE(added.status == 200);
    }
    const auto filled_ms = ms_since(filling);
    CHECK(backend.get("/v1/rooms/" + room).json()["member_count"] == count + 1);
    s.node.restart();  // a new process has nothing of it in memory
    backend = s.backend();
    const memory_watch memory{s.node.pid()};

    auto reader = s.online("founder");
    auto visitor = s.user("visitor");
    CHECK(visitor.get("/v1/rooms/" + room).status == 404);
    auto start = clock::now();
    const auto joined = visitor.post("/v1/rooms/" + room + "/join", json::object());
    const auto join_ms = ms_since(start);
    REQUIRE(joined.status == 200);
    CHECK(joined.json()["member_count"] == count + 2);
    CHECK(joined.json()["role"] == "member");
    auto live = s.online("visitor");
    start = clock::now();
    const auto sent = send(live, room, "hello to all");
    const auto send_ms = ms_since(start);
    REQUIRE(sent["type"] == "message.accepted");
    CHECK(await_entry(reader, room, sent["seq"])["content"] == "hello to all");
    start = clock::now();
    CHECK(visitor.post("/v1/rooms/" + room + "/leave", json::object()).status == 204);
    const auto leave_ms = ms_since(start);
    const auto gone = await_entry(live, room, sent["seq"].get<std::int64_t>() + 1);
    CHECK(gone["type"] == "member.left");
    live.receive_type("room.removed");
    CHECK(visitor.get("/v1/rooms/" + room).status == 404);
    CHECK(send(live, room, "too late")["code"] == "NOT_FOUND");
    // Somebody of the many, whom nobody has in memory.
    auto member = s.online("member-" + std::to_string(count / 2));
    CHECK(send(member, room, "me too")["type"] == "message.accepted");
    MESSAGE("a channel of " << count << ": filled in " << filled_ms << " ms; join " << join_ms
                            << " ms, send " << send_ms << " ms, leave " << leave_ms
                            << " ms; the node grew by " << memory.growth_kib() << " KiB at most");
#ifndef __SANITIZE_ADDRESS__
    CHECK(memory.growth_kib() < 16 * 1024);
#endif
  }

  TEST_CASE(
      "many join at once: all are members, their entries hold up to 100 of them, and each starts "
      "at its own") {
    const stage s{{.config = {{"request_timeout", "60s"}}}};
    auto backend = s.backend();
    const auto room = make_room(backend, "channel", {"founder"});
    constexpr int joiners = 300;
    constexpr int threads = 6;
    std::atomic<int> refused{0};
    {
      std::vector<std::jthread> crowd;
      for (int t = 0; t < threads; ++t) {
        crowd.emplace_back([&, t] {
          for (int i = t; i < joiners; i += threads) {
            auto one = s.user("joiner-" + std::to_string(i));
            if (one.post("/v1/rooms/" + room + "/join", json::object()).status != 200) ++refused;
          }
        });
      }
    }
    CHECK(refused == 0);
    const auto log = log_of(backend, room);
    CHECK(seqs_of(log) == seqs(1, static_cast<std::int64_t>(log.size())));
    std::vector<std::string> joined;
    for (const auto& entry : log) {
      REQUIRE(entry["type"] == "member.joined");
      REQUIRE(entry["user_ids"].size() <= 100);
      CHECK(entry["actor_id"].is_null() == (entry["user_ids"].size() > 1));
      for (const auto& user : entry["user_ids"]) joined.push_back(user);
    }
    std::sort(joined.begin(), joined.end());
    CHECK(joined.size() == joiners);
    CHECK(std::adjacent_find(joined.begin(), joined.end()) == joined.end());
    CHECK(backend.get("/v1/rooms/" + room).json()["member_count"] == joiners + 1);
  }
}
