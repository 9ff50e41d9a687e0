#include "bench/checker.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

using namespace parley::bench;

namespace {

constexpr std::uint32_t lobby = 0;

entry_facts facts_of(const std::string& message, std::optional<message_stamp> stamp = {}) {
  entry_facts facts;
  facts.identity = fingerprint(message);
  facts.whole = fingerprint("message", facts.identity);
  facts.stamp = stamp;
  return facts;
}

std::uint64_t id_of(const std::string& message) { return fingerprint(message); }

/// One room, three readers; the first of them, sender 0, sends.
struct lobby_under_load {
  room_heads heads{{"lobby"}};
  checker checks{heads, 0, 3};
  std::vector<reading> readers;

  explicit lobby_under_load(std::uint64_t position = 0) {
    for (std::uint32_t i = 0; i < 3; ++i) {
      checks.add_reader(lobby);
      reading r;
      r.reader = i;
      readers.push_back(r);
    }
    for (auto& r : readers) checks.started(r, position);
    for (auto& r : readers) checks.begin_load(r);
  }

  delivery deliver(std::uint32_t reader, std::uint64_t seq, const std::string& message,
                   std::optional<message_stamp> stamp = {}) {
    return checks.entry(readers[reader], seq, facts_of(message, stamp));
  }
  void deliver_to_all(std::uint64_t seq, const std::string& message,
                      std::optional<message_stamp> stamp = {}) {
    for (std::uint32_t i = 0; i < 3; ++i) deliver(i, seq, message, stamp);
  }
  void finish() {
    for (const auto& r : readers) checks.finish(r);
    checks.finish();
  }
  [[nodiscard]] std::uint64_t count(fault kind) const { return checks.faults().count_of(kind); }
  [[nodiscard]] bool is_clean() const { return checks.faults().is_empty(); }
};

message_stamp stamp(std::uint32_t number) { return {0, number, 1000 + number}; }

}  // namespace

TEST_SUITE("bench: checks of a reader (SPEC 2.2, 2.3)") {
  TEST_CASE("a log that all get in order is right") {
    lobby_under_load room;
    for (std::uint64_t seq = 1; seq <= 100; ++seq) room.deliver_to_all(seq, std::to_string(seq));
    CHECK(room.checks.is_complete());
    room.finish();
    CHECK(room.is_clean());
  }

  TEST_CASE("the last of all readers is told") {
    lobby_under_load room;
    CHECK_FALSE(room.deliver(0, 1, "a").is_last);
    CHECK_FALSE(room.deliver(2, 1, "a").is_last);
    CHECK(room.deliver(1, 1, "a").is_last);
  }

  TEST_CASE("a hole is a hole, and what never comes is missing") {
    lobby_under_load room;
    room.deliver_to_all(1, "a");
    room.deliver(0, 2, "b");
    room.deliver(1, 2, "b");
    room.deliver_to_all(3, "c");
    CHECK(room.count(fault::hole) == 1);
    CHECK_FALSE(room.checks.is_complete());
    room.finish();
    CHECK(room.count(fault::missing) == 1);
    CHECK(room.checks.faults().texts().front().find("after seq 1 came 3") != std::string::npos);
  }

  TEST_CASE("a repeat is a repeat, also of what was complete long ago, and counts once") {
    lobby_under_load room;
    room.deliver_to_all(1, "a");
    CHECK_FALSE(room.deliver(1, 1, "a").is_counted);
    CHECK(room.count(fault::repeat) == 1);
    room.deliver(0, 2, "b");
    CHECK_FALSE(room.deliver(0, 2, "b").is_counted);
    CHECK_FALSE(room.deliver(0, 2, "b").is_counted);
    CHECK(room.count(fault::repeat) == 3);
    CHECK_FALSE(room.checks.is_complete());
    CHECK_FALSE(room.deliver(1, 2, "b").is_last);
    CHECK(room.deliver(2, 2, "b").is_last);
    CHECK(room.checks.is_complete());
  }

  TEST_CASE("a late entry is out of order, but not missing") {
    lobby_under_load room;
    room.deliver(0, 2, "b");
    CHECK(room.deliver(0, 1, "a").is_counted);
    CHECK(room.count(fault::out_of_order) == 1);
    CHECK(room.count(fault::repeat) == 0);
    for (std::uint32_t i = 1; i < 3; ++i) {
      room.deliver(i, 1, "a");
      room.deliver(i, 2, "b");
    }
    CHECK(room.checks.is_complete());
    room.finish();
    CHECK(room.count(fault::missing) == 0);
  }

  TEST_CASE("two readers with different entries under a seq have two histories") {
    lobby_under_load room;
    room.deliver(0, 1, "a");
    room.deliver(1, 1, "b");
    CHECK(room.count(fault::two_histories) == 1);
  }

  TEST_CASE("entries that differ only in their sender are two histories as well") {
    lobby_under_load room;
    room.checks.entry(room.readers[0], 1, {id_of("a"), 1, {}});
    room.checks.entry(room.readers[1], 1, {id_of("a"), 2, {}});
    CHECK(room.count(fault::two_histories) == 1);
  }

  TEST_CASE("a reader that stops short is missing the rest") {
    lobby_under_load room;
    room.deliver_to_all(1, "a");
    for (std::uint64_t seq = 2; seq < 10; ++seq) {
      room.deliver(0, seq, std::to_string(seq));
      room.deliver(1, seq, std::to_string(seq));
    }
    CHECK_FALSE(room.checks.is_complete());
    room.finish();
    CHECK(room.count(fault::missing) == 1);
    CHECK(room.checks.faults().texts().front().find("stands at seq 1, the room is at 9") !=
          std::string::npos);
  }

  TEST_CASE("a room that lost a reader is no longer expected to be complete, its order still is") {
    lobby_under_load room;
    room.deliver(0, 1, "a");
    room.checks.lost(room.readers[2]);
    room.deliver(1, 1, "a");
    CHECK(room.checks.is_complete());
    room.deliver(0, 3, "c");
    CHECK(room.count(fault::hole) == 1);
    room.finish();
    CHECK(room.count(fault::missing) == 0);
  }

  TEST_CASE("one seq far off is a fault, not all the memory") {
    lobby_under_load room;
    room.deliver(0, 1'000'000'000'000, "x");
    CHECK(room.count(fault::hole) == 1);
    CHECK(room.count(fault::missing) == 1);
  }

  TEST_CASE("any hole, repeat, exchange or other entry in a random run is noticed") {
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
      CAPTURE(seed);
      std::mt19937_64 random{seed};
      lobby_under_load room{5};
      const std::uint64_t last = 5 + 2 + random() % 30;
      std::vector<std::vector<std::uint64_t>> scripts(3);
      for (auto& script : scripts) {
        for (std::uint64_t seq = 6; seq <= last; ++seq) script.push_back(seq);
      }
      const std::uint64_t defect = random() % 5;
      auto& victim = scripts[random() % 3];
      const std::size_t at = random() % (victim.size() - 1);
      const auto place = victim.begin() + static_cast<std::ptrdiff_t>(at);
      constexpr std::uint64_t other = 1'000'000;
      if (defect == 1) victim.erase(place);
      if (defect == 2) victim.insert(place, *place);
      if (defect == 3) std::swap(*place, *(place + 1));
      if (defect == 4) *place += other;
      // Readers advance in random order.
      std::vector<std::size_t> next(3, 0);
      while (next[0] < scripts[0].size() || next[1] < scripts[1].size() ||
             next[2] < scripts[2].size()) {
        const auto reader = static_cast<std::uint32_t>(random() % 3);
        if (next[reader] == scripts[reader].size()) continue;
        const std::uint64_t seq = scripts[reader][next[reader]++];
        room.deliver(reader, seq % other, std::to_string(seq));
      }
      const bool is_complete = room.checks.is_complete();
      room.finish();
      CHECK(room.is_clean() == (defect == 0));
      CHECK(is_complete == (defect != 1));
    }
  }
}

TEST_SUITE("bench: checks of a sender (SPEC 2.1, 2.4, 2.5)") {
  TEST_CASE("an answer may come before or after the entry itself") {
    lobby_under_load room;
    room.checks.sent(0, 0, lobby, stamp(0).due_ns);
    room.checks.sent(0, 1, lobby, stamp(1).due_ns);
    CHECK(room.checks.open_sends_of(0) == 2);
    const auto first = room.checks.accepted(stamp(0), lobby, 1, id_of("a"));
    REQUIRE(first);
    CHECK(first->due_ns == stamp(0).due_ns);
    room.deliver_to_all(1, "a", stamp(0));
    room.deliver_to_all(2, "b", stamp(1));
    CHECK_FALSE(room.checks.is_complete());
    CHECK(room.checks.accepted(stamp(1), lobby, 2, id_of("b")));
    CHECK(room.checks.is_complete());
    CHECK(room.checks.open_sends() == 0);
    room.finish();
    CHECK(room.is_clean());
  }

  TEST_CASE("what is accepted must come to every member") {
    lobby_under_load room;
    room.checks.sent(0, 0, lobby, stamp(0).due_ns);
    room.checks.accepted(stamp(0), lobby, 1, id_of("a"));
    room.deliver(0, 1, "a", stamp(0));
    room.deliver(1, 1, "a", stamp(0));
    CHECK_FALSE(room.checks.is_complete());
    room.finish();
    CHECK(room.count(fault::missing) == 1);
  }

  TEST_CASE("accepted and seen by nobody is missing with all") {
    lobby_under_load room;
    room.checks.sent(0, 0, lobby, stamp(0).due_ns);
    room.checks.accepted(stamp(0), lobby, 1, id_of("a"));
    room.finish();
    CHECK(room.count(fault::missing) == 3);
  }

  TEST_CASE("an answer and the readers must agree on the seq and on the message") {
    lobby_under_load room;
    for (std::uint32_t i = 0; i < 3; ++i) room.checks.sent(0, i, lobby, stamp(i).due_ns);
    room.checks.accepted(stamp(0), lobby, 1, id_of("a"));
    room.deliver(0, 1, "other", stamp(0));
    CHECK(room.count(fault::two_histories) == 1);
    room.deliver(0, 2, "b", stamp(1));
    room.checks.accepted(stamp(1), lobby, 2, id_of("other"));
    CHECK(room.count(fault::two_histories) == 2);
    room.deliver(0, 3, "c", stamp(2));
    room.checks.accepted(stamp(2), lobby, 4, id_of("c"));
    CHECK(room.count(fault::two_histories) == 3);
  }

  TEST_CASE("one send with two seqs is stored twice, whenever its answer comes") {
    lobby_under_load room;
    room.checks.sent(0, 0, lobby, stamp(0).due_ns);
    room.deliver(0, 1, "a", stamp(0));
    room.deliver(0, 2, "a", stamp(0));
    CHECK(room.count(fault::stored_twice) == 1);
    room.checks.accepted(stamp(0), lobby, 1, id_of("a"));
    room.deliver(0, 3, "a", stamp(0));
    CHECK(room.count(fault::stored_twice) == 2);
  }

  TEST_CASE("a message that nobody sent is noticed") {
    lobby_under_load room;
    room.deliver(0, 1, "a", stamp(7));
    CHECK(room.count(fault::stored_twice) == 1);
  }

  TEST_CASE("a send without a reply is unanswered") {
    lobby_under_load room;
    room.checks.sent(0, 0, lobby, stamp(0).due_ns);
    room.deliver_to_all(1, "a", stamp(0));
    CHECK_FALSE(room.checks.is_complete());
    room.finish();
    CHECK(room.count(fault::unanswered) == 1);
  }

  TEST_CASE("a second answer, or one to nothing, is wrong") {
    lobby_under_load room;
    room.checks.sent(0, 0, lobby, stamp(0).due_ns);
    CHECK(room.checks.accepted(stamp(0), lobby, 1, id_of("a")));
    CHECK_FALSE(room.checks.accepted(stamp(0), lobby, 1, id_of("a")));
    CHECK_FALSE(room.checks.accepted(stamp(1), lobby, 2, id_of("b")));
    CHECK_FALSE(room.checks.accepted({77, 1, 1}, lobby, 2, id_of("b")));
    CHECK(room.count(fault::wrong_answer) == 3);
  }

  TEST_CASE("refused as not stored must not be in the log, before or after the answer") {
    lobby_under_load room;
    room.checks.sent(0, 0, lobby, stamp(0).due_ns);
    room.deliver(0, 1, "a", stamp(0));
    CHECK(room.checks.refused(stamp(0), false));
    CHECK(room.count(fault::wrong_answer) == 1);
    room.checks.sent(0, 1, lobby, stamp(1).due_ns);
    CHECK(room.checks.refused(stamp(1), false));
    room.deliver(0, 2, "b", stamp(1));
    CHECK(room.count(fault::stored_twice) == 1);
    CHECK_FALSE(room.checks.refused(stamp(1), false));
  }

  TEST_CASE("an unknown outcome may be in the log, once, or not") {
    lobby_under_load room;
    for (std::uint32_t i = 0; i < 3; ++i) room.checks.sent(0, i, lobby, stamp(i).due_ns);
    room.checks.refused(stamp(0), true);
    room.deliver_to_all(1, "a", stamp(0));
    room.deliver_to_all(2, "b", stamp(1));
    room.checks.refused(stamp(1), true);
    room.checks.refused(stamp(2), true);
    CHECK(room.checks.is_complete());
    room.finish();
    CHECK(room.is_clean());
    room.deliver(0, 3, "a", stamp(0));
    CHECK(room.count(fault::stored_twice) == 1);
  }

  TEST_CASE("answers out of order close the right sends") {
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
      CAPTURE(seed);
      std::mt19937_64 random{seed};
      send_ledger ledger;
      std::vector<std::uint32_t> open;
      for (std::uint32_t number = 0; number < 200; ++number) {
        ledger.open(number, lobby, number);
        open.push_back(number);
        while (!open.empty() && random() % 2 == 0) {
          const auto which = static_cast<std::ptrdiff_t>(random() % open.size());
          const std::uint32_t answered = open[static_cast<std::size_t>(which)];
          open.erase(open.begin() + which);
          open_send* const send = ledger.find(answered);
          REQUIRE(send != nullptr);
          CHECK(send->due_ns == answered);
          ledger.close(*send);
          CHECK(ledger.find(answered) == nullptr);
        }
        REQUIRE(ledger.open_count() == open.size());
        if (!open.empty()) CHECK(ledger.oldest().number == open.front());
      }
    }
  }
}

TEST_SUITE("bench: checks of the sync (SPEC 5)") {
  TEST_CASE("an entry before any start, or a second start elsewhere, is a fault") {
    room_heads heads{{"lobby"}};
    checker checks{heads, 0, 1};
    checks.add_reader(lobby);
    reading r;
    checks.entry(r, 7, facts_of("a"));
    CHECK(checks.faults().count_of(fault::sync) == 1);
    checks.started(r, 7);
    CHECK(checks.faults().count_of(fault::sync) == 1);
    checks.started(r, 9);
    CHECK(checks.faults().count_of(fault::sync) == 2);
  }

  TEST_CASE("entries of the sync continue from its start") {
    room_heads heads{{"lobby"}};
    checker checks{heads, 0, 1};
    checks.add_reader(lobby);
    reading r;
    checks.started(r, 7);
    checks.entry(r, 8, facts_of("a"));
    checks.entry(r, 10, facts_of("b"));
    CHECK(checks.faults().count_of(fault::hole) == 1);
  }

  TEST_CASE("recovered means up to the seq that it says") {
    lobby_under_load room{3};
    room.checks.synced(room.readers[0], "recovered", 3);
    room.checks.synced(room.readers[0], "live", 3);
    CHECK(room.is_clean());
    room.checks.synced(room.readers[0], "recovered", 4);
    room.checks.synced(room.readers[0], "gone", std::nullopt);
    room.checks.synced(room.readers[0], "reset", 3);
    CHECK(room.count(fault::sync) == 3);
  }

  TEST_CASE("a stated gap moves on, if it begins where the reader stands") {
    lobby_under_load room{3};
    room.checks.allow_gaps();
    room.checks.skipped(room.readers[0], 4, 9);
    CHECK(room.is_clean());
    CHECK(room.readers[0].position == 9);
    room.checks.skipped(room.readers[0], 11, 12);
    CHECK(room.count(fault::sync) == 1);
  }

  TEST_CASE("readers of a room that stand at different seqs after the sync are a fault") {
    room_heads heads{{"lobby"}};
    checker checks{heads, 0, 0};
    reading one;
    reading two;
    checks.add_reader(lobby);
    checks.add_reader(lobby);
    checks.started(one, 4);
    checks.started(two, 5);
    checks.begin_load(one);
    checks.begin_load(two);
    CHECK(checks.faults().count_of(fault::sync) == 1);
  }
}

TEST_SUITE("bench: checks over several threads") {
  struct two_threads {
    room_heads heads{{"lobby"}, true};
    checker left{heads, 0, 1};
    checker right{heads, 1, 1};
    reading l;
    reading r;
    two_threads() {
      left.add_reader(lobby);
      right.add_reader(lobby);
      left.started(l, 0);
      right.started(r, 0);
      left.begin_load(l);
      right.begin_load(r);
    }
    fault_log compare() {
      left.finish(l);
      right.finish(r);
      fault_log faults;
      const checker* const both[] = {&left, &right};
      checker::compare_histories(both, faults);
      faults.add(left.faults());
      faults.add(right.faults());
      return faults;
    }
  };

  TEST_CASE("the same log in both is right, and the later thread has the last reader") {
    two_threads room;
    room.left.sent(0, 0, lobby, stamp(0).due_ns);
    CHECK_FALSE(room.left.entry(room.l, 1, facts_of("a", stamp(0))).is_last);
    CHECK_FALSE(room.right.is_complete());
    CHECK(room.right.entry(room.r, 1, facts_of("a", stamp(0))).is_last);
    CHECK(room.right.is_complete());
    CHECK_FALSE(room.left.is_complete());
    room.left.accepted(stamp(0), lobby, 1, id_of("a"));
    CHECK(room.left.is_complete());
    CHECK(room.compare().is_empty());
  }

  TEST_CASE("two logs of the same length differ") {
    two_threads room;
    room.left.entry(room.l, 1, facts_of("a"));
    room.right.entry(room.r, 1, facts_of("b"));
    CHECK(room.compare().count_of(fault::two_histories) == 1);
  }

  TEST_CASE("what one thread saw and the other did not is missing there") {
    two_threads room;
    room.left.entry(room.l, 1, facts_of("a"));
    CHECK_FALSE(room.right.is_complete());
    CHECK(room.compare().count_of(fault::missing) >= 1);
  }
}

TEST_SUITE("bench: fault log") {
  TEST_CASE("it counts all and tells the first") {
    fault_log faults;
    for (int i = 0; i < 100; ++i) faults.add(fault::hole, std::to_string(i));
    faults.count(fault::repeat, 5);
    CHECK(faults.count_of(fault::hole) == 100);
    CHECK(faults.total() == 105);
    CHECK(faults.texts().size() == fault_log::texts_max);
    CHECK(faults.texts().front() == "hole: 0");
    fault_log sum;
    sum.add(faults);
    sum.add(faults);
    CHECK(sum.total() == 210);
    CHECK(sum.texts().size() == fault_log::texts_max);
  }

  TEST_CASE("every kind has a name of its own") {
    std::vector<std::string_view> names;
    for (std::size_t i = 0; i < fault_kinds; ++i) names.push_back(name_of(static_cast<fault>(i)));
    std::ranges::sort(names);
    CHECK(std::ranges::adjacent_find(names) == names.end());
    CHECK(std::ranges::find(names, "?") == names.end());
  }
}

TEST_SUITE(
    "bench: checks of a reader that comes back (SPEC 2.3: across reconnects each entry once)") {
  /// Reader 2 has read seqs 1 to 3 and goes; seqs 4 to 6 come to the others.
  struct one_is_away : lobby_under_load {
    one_is_away() {
      for (std::uint64_t seq = 1; seq <= 3; ++seq) deliver_to_all(seq, std::to_string(seq));
      for (std::uint64_t seq = 4; seq <= 6; ++seq) {
        deliver(0, seq, std::to_string(seq));
        deliver(1, seq, std::to_string(seq));
      }
    }
    reading& away() { return readers[2]; }
    void bring(std::uint64_t from, std::uint64_t to) {
      for (std::uint64_t seq = from; seq <= to; ++seq) deliver(2, seq, std::to_string(seq));
    }
    void recovered(std::uint64_t seq) { checks.synced(away(), "recovered", seq); }
  };

  TEST_CASE("one that resumes from its position and gets what it missed is right") {
    one_is_away room;
    CHECK_FALSE(room.checks.is_complete());  // what it missed is kept for it
    room.checks.resumed(room.away(), 3);
    room.bring(4, 6);
    room.recovered(6);
    room.deliver_to_all(7, "7");
    CHECK(room.checks.is_complete());
    room.finish();
    CHECK(room.is_clean());
    CHECK(room.checks.repeated_after_resume() == 0);
  }

  TEST_CASE("one that never comes back is missing the rest") {
    one_is_away room;
    room.finish();
    CHECK(room.count(fault::missing) == 1);
  }

  TEST_CASE("a lost entry is a hole, and missing") {
    one_is_away room;
    room.checks.resumed(room.away(), 3);
    room.bring(5, 6);
    room.recovered(6);
    CHECK(room.count(fault::hole) == 1);
    CHECK_FALSE(room.checks.is_complete());
    room.finish();
    CHECK(room.count(fault::missing) == 1);
  }

  TEST_CASE("a lost last entry contradicts «recovered»") {
    one_is_away room;
    room.checks.resumed(room.away(), 3);
    room.bring(4, 5);
    room.recovered(6);
    CHECK(room.count(fault::sync) == 1);
    room.finish();
    CHECK(room.count(fault::missing) == 1);
  }

  TEST_CASE("a doubled entry is a repeat, on the new connection and across the two") {
    for (const std::uint64_t again : {3U, 1U, 5U}) {
      CAPTURE(again);
      one_is_away room;
      room.checks.resumed(room.away(), 3);
      room.bring(4, 5);
      room.bring(again, again);
      room.bring(6, 6);
      CHECK(room.count(fault::repeat) == 1);
      CHECK(room.checks.is_complete());
    }
  }

  TEST_CASE("exchanged entries are out of order") {
    one_is_away room;
    room.checks.resumed(room.away(), 3);
    room.bring(5, 5);
    room.bring(4, 4);
    room.bring(6, 6);
    CHECK(room.count(fault::out_of_order) == 1);
    CHECK(room.checks.is_complete());
  }

  TEST_CASE("another entry under a seq is two histories, also where it only comes again") {
    one_is_away room;
    room.checks.resumed(room.away(), 3);
    room.deliver(2, 4, "something else");
    CHECK(room.count(fault::two_histories) == 1);
    one_is_away other;
    other.deliver(0, 7, "7");
    other.checks.resumed(other.readers[0], 6);
    CHECK(other.is_clean());
    other.deliver(0, 7, "something else");
    CHECK(other.count(fault::two_histories) == 1);
  }

  TEST_CASE("a cursor that lies before the position brings entries again, which count once") {
    one_is_away room;
    room.checks.acked(room.away(), 1);
    room.checks.resumed(room.away(), 1);
    CHECK_FALSE(room.deliver(2, 2, "2").is_counted);
    CHECK_FALSE(room.deliver(2, 3, "3").is_counted);
    CHECK(room.deliver(2, 4, "4").is_counted);
    room.bring(5, 6);
    room.recovered(6);
    CHECK(room.checks.repeated_after_resume() == 2);
    CHECK(room.checks.is_complete());
    room.finish();
    CHECK(room.is_clean());
  }

  TEST_CASE("also those that come again come in order, once, without a hole") {
    one_is_away hole;
    hole.checks.resumed(hole.away(), 0);
    hole.bring(1, 1);
    hole.bring(3, 6);
    CHECK(hole.count(fault::hole) == 1);
    hole.finish();
    CHECK(hole.count(fault::missing) == 0);  // it has 2 from before
    one_is_away repeat;
    repeat.checks.resumed(repeat.away(), 0);
    repeat.bring(1, 2);
    repeat.bring(2, 2);
    CHECK(repeat.count(fault::repeat) == 1);
  }

  TEST_CASE("«recovered» before where it had been once is not recovered") {
    one_is_away room;
    room.checks.resumed(room.away(), 0);
    room.bring(1, 2);
    room.recovered(2);
    CHECK(room.count(fault::sync) == 1);
  }

  TEST_CASE("a start beyond the position, or before what was acknowledged, is a fault") {
    one_is_away beyond;
    beyond.checks.resumed(beyond.away(), 4);
    CHECK(beyond.count(fault::sync) == 1);
    one_is_away before;
    before.checks.acked(before.away(), 2);
    before.checks.resumed(before.away(), 1);
    CHECK(before.count(fault::sync) == 1);
  }

  TEST_CASE("a cursor moves forward only, and not beyond what the reader has") {
    one_is_away room;
    room.checks.acked(room.away(), 2);
    room.checks.acked(room.away(), 3);
    CHECK(room.is_clean());
    room.checks.acked(room.away(), 2);
    CHECK(room.count(fault::wrong_answer) == 1);
    room.checks.acked(room.away(), 4);
    CHECK(room.count(fault::wrong_answer) == 2);
  }

  TEST_CASE("a stated gap is a fault unless allowed; what it leaves out is not waited for") {
    for (const bool is_allowed : {false, true}) {
      CAPTURE(is_allowed);
      one_is_away room;
      if (is_allowed) room.checks.allow_gaps();
      room.checks.resumed(room.away(), 3);
      room.checks.skipped(room.away(), 4, 5);
      room.checks.synced(room.away(), "gap", 6);
      room.bring(6, 6);
      CHECK(room.count(fault::gap) == (is_allowed ? 0 : 1));
      CHECK(room.checks.gaps() == 1);
      CHECK(room.checks.entries_in_gaps() == 2);
      CHECK(room.checks.is_complete());
      room.finish();
      CHECK(room.checks.faults().total() == (is_allowed ? 0 : 1));
    }
  }

  TEST_CASE("a gap that all were told of does not keep the room open") {
    lobby_under_load room;
    room.checks.allow_gaps();
    room.heads.raise(lobby, 2);
    for (auto& r : room.readers) {
      room.checks.resumed(r, 0);
      room.checks.skipped(r, 1, 2);
    }
    room.deliver_to_all(3, "c");
    CHECK(room.checks.is_complete());
    room.finish();
    CHECK(room.is_clean());
  }

  TEST_CASE("outcomes that tell of a lost history are faults") {
    for (const char* const outcome : {"reset", "gone"}) {
      one_is_away room;
      room.checks.resumed(room.away(), 3);
      room.checks.synced(room.away(), outcome, 6);
      CHECK(room.count(fault::sync) == 1);
    }
  }

  TEST_CASE("any loss, repeat or exchange in a random life of absences is noticed") {
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
      CAPTURE(seed);
      std::mt19937_64 random{seed};
      lobby_under_load room;
      const std::uint64_t last = 12 + random() % 20;
      for (std::uint64_t seq = 1; seq <= last; ++seq) {
        room.deliver(0, seq, std::to_string(seq));
        room.deliver(1, seq, std::to_string(seq));
      }
      // Reader 2 comes and goes; each life starts at its position, or at an acknowledged cursor before it.
      const std::uint64_t defect = random() % 4;
      const std::uint64_t victim = 2 + random() % (last - 3);
      std::uint64_t position = 0;
      bool has_erred = false;
      while (position < last) {
        const std::uint64_t start = position - (random() % 3 == 0 ? random() % (position + 1) : 0);
        room.checks.resumed(room.readers[2], start);
        std::vector<std::uint64_t> script;
        const std::uint64_t end = std::min(last, position + 1 + random() % 6);
        for (std::uint64_t seq = start + 1; seq <= end; ++seq) script.push_back(seq);
        const auto at = std::ranges::find(script, victim);
        // The entry errs where it is new and not the last of this life.
        if (!has_erred && at != script.end() && victim > position && at + 1 != script.end()) {
          has_erred = defect != 0;
          if (defect == 1) {
            script.erase(at);
          } else if (defect == 2) {
            script.insert(at, victim);
          } else if (defect == 3) {
            std::swap(*at, *(at + 1));
          }
        }
        for (const std::uint64_t seq : script) room.deliver(2, seq, std::to_string(seq));
        position = end;
      }
      room.finish();
      CHECK(room.is_clean() == !has_erred);
    }
  }
}

TEST_SUITE("bench: checks of a sender that comes back (SPEC 2.4)") {
  TEST_CASE("what was not answered is sent again; «duplicate» then has its first seq") {
    lobby_under_load room;
    room.checks.sent(0, 0, lobby, stamp(0).due_ns);
    room.checks.sent(0, 1, lobby, stamp(1).due_ns);
    room.deliver_to_all(1, "a", stamp(0));
    const auto again = room.checks.resend(0);
    REQUIRE(again.size() == 2);
    CHECK(again[0].number == 0);
    CHECK(again[1].is_resent);
    const auto first = room.checks.accepted(stamp(0), lobby, 1, id_of("a"));
    REQUIRE(first);
    CHECK(first->is_resent);
    room.checks.accepted(stamp(1), lobby, 2, id_of("b"));
    room.deliver_to_all(2, "b", stamp(1));
    CHECK(room.checks.is_complete());
    CHECK(room.is_clean());
    CHECK(room.checks.resend(0).empty());
  }

  TEST_CASE("stored a second time for being sent again is stored twice") {
    lobby_under_load room;
    room.checks.sent(0, 0, lobby, stamp(0).due_ns);
    room.deliver_to_all(1, "a", stamp(0));
    CHECK(room.checks.resend(0).size() == 1);
    room.deliver_to_all(2, "a again", stamp(0));
    CHECK(room.count(fault::stored_twice) >= 1);
  }

  TEST_CASE("an answer that was lost and never repeated is unanswered") {
    lobby_under_load room;
    room.checks.sent(0, 0, lobby, stamp(0).due_ns);
    CHECK(room.checks.resend(0).size() == 1);
    room.finish();
    CHECK(room.count(fault::unanswered) == 1);
  }
}
