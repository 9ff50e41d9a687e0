// The parts of which the outbox is made.

#include "actors/endpoint_breaker.hpp"
#include "actors/endpoint_lanes.hpp"
#include "actors/log_cursor.hpp"
#include "actors/member_lists.hpp"
#include "tests/actors/words.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace parley::actors {

using namespace words;
using namespace std::chrono_literals;

namespace {

constexpr mono_time start{1h};
constexpr store::lane_no lobby{1};
constexpr store::lane_no attic{2};

outbox_post row(store::lane_no lane, std::int64_t place, std::int64_t no) {
  outbox_post p;
  p.lane = lane;
  p.place = log_id{place};
  p.no = store::outbox_no{no};
  p.head = "{}";
  return p;
}
outbox_posts page(std::vector<outbox_post> rows) {
  outbox_posts out;
  out.items = std::move(rows);
  return out;
}
/// Sends the next one there is; its number, or 0.
std::int64_t send(endpoint_lanes& lanes) {
  const auto lane = lanes.next();
  if (!lane) return 0;
  const auto no = lanes.first(*lane).no;
  lanes.sent(*lane);
  return no.value;
}

store::acked_members slice(std::size_t from, std::size_t to, std::size_t all) {
  store::acked_members out;
  for (auto n = from; n < to; ++n)
    out.members.push_back(
        {user_id{"a user with a long name " + std::to_string(n)}, room_seq{0}, room_seq{0}});
  if (to < all) out.next = user_no{static_cast<std::int64_t>(to)};
  return out;
}

}  // namespace

TEST_SUITE("SPEC 6 webhooks: one endpoint's breaker") {
  endpoint_breaker::options few() { return {3, 30s, 8}; }

  TEST_CASE("what was sent before it rested neither ends the rest nor prolongs it") {
    endpoint_breaker b{few()};
    for (int n = 0; n < 3; ++n) b.ended(false, false, start);
    CHECK(b.is_open());
    b.ended(false, true, start + 1s);
    b.ended(false, false, start + 2s);
    CHECK(b.rests_until() == start + 30s);
    CHECK_FALSE(b.lets_through(start + 29s, 0));
    CHECK(b.lets_through(start + 30s, 5));
  }

  TEST_CASE("there is one probe, and only its end counts") {
    endpoint_breaker b{few()};
    CHECK_FALSE(b.began());
    for (int n = 0; n < 3; ++n) b.ended(false, false, start);
    CHECK(b.began());
    CHECK_FALSE(b.lets_through(start + 31s, 0));
    b.ended(false, true, start + 32s);
    CHECK(b.is_open());
    b.ended(true, false, start + 33s);
    CHECK(b.rests_until() == start + 63s);
    CHECK(b.began());
    b.ended(true, true, start + 64s);
    CHECK_FALSE(b.is_open());
    CHECK(b.lets_through(start + 64s, 1));
    CHECK_FALSE(b.lets_through(start + 64s, 2));
  }
}

TEST_SUITE("SPEC 6 webhooks: the lanes of one endpoint in memory") {
  TEST_CASE("rows that are read again are not taken again, whatever became of them") {
    endpoint_lanes lanes;
    lanes.take(page({row(lobby, 1, 1), row(lobby, 2, 2)}), start, 16, false);
    CHECK(send(lanes) == 1);
    lanes.answered(lobby);
    lanes.settled(lobby);
    CHECK_FALSE(lanes.forget());
    // The page was read before the outcome of row 1 was on the disk.
    lanes.take(page({row(lobby, 1, 1), row(lobby, 2, 2), row(lobby, 3, 3)}), start, 16, false);
    CHECK(lanes.posts() == 2);
    CHECK(send(lanes) == 2);
    CHECK(send(lanes) == 0);
  }

  TEST_CASE("a lane is remembered until all of it is confirmed, and forgotten then") {
    endpoint_lanes lanes;
    lanes.take(page({row(lobby, 1, 1)}), start, 16, false);
    send(lanes);
    lanes.answered(lobby);
    lanes.settled(lobby);
    CHECK(lanes.posts() == 0);
    CHECK(lanes.bytes() == 0);
    lanes.forget();
    CHECK(lanes.knows(lobby));
    CHECK_FALSE(lanes.confirmed(lobby));
    lanes.forget();
    CHECK_FALSE(lanes.knows(lobby));
  }

  TEST_CASE("a closed lane takes nothing before it was forgotten, and says when to look again") {
    endpoint_lanes lanes;
    lanes.take(page({row(lobby, 1, 1), row(lobby, 2, 2)}), start, 16, false);
    send(lanes);
    lanes.answered(lobby);
    lanes.settled(lobby);
    lanes.close(lobby, noon + 5s);
    CHECK(lanes.posts() == 0);
    lanes.take(page({row(lobby, 1, 1), row(lobby, 2, 2)}), start, 16, false);
    CHECK(lanes.posts() == 0);
    CHECK(lanes.confirmed(lobby) == noon + 5s);
    CHECK(lanes.forget() == noon + 5s);
    lanes.take(page({row(lobby, 1, 1), row(lobby, 2, 2)}), start, 16, false);
    CHECK(send(lanes) == 1);
  }

  TEST_CASE("lanes take turns, and one that is parked is passed over") {
    endpoint_lanes lanes;
    lanes.take(page({row(lobby, 1, 1), row(lobby, 2, 2), row(attic, 3, 3)}), start, 16, false);
    const auto first = lanes.next();
    CHECK(first == lobby);
    lanes.park(lobby);
    CHECK(send(lanes) == 3);
    CHECK_FALSE(lanes.next());
    lanes.unpark(lobby);
    CHECK(send(lanes) == 1);
  }

  TEST_CASE("a lane that perhaps has more on the disk asks for it when it runs low") {
    endpoint_lanes lanes;
    std::vector<outbox_post> rows;
    for (std::int64_t n = 1; n <= 8; ++n) rows.push_back(row(lobby, n, n));
    lanes.take(page(rows), start, 8, false);
    std::vector<bool> hungry;
    for (int n = 0; n < 4; ++n) {
      send(lanes);
      lanes.answered(lobby);
      lanes.settled(lobby);
      hungry.push_back(lanes.is_hungry());
    }
    CHECK(hungry == std::vector<bool>{false, false, false, true});
  }

  TEST_CASE("what was loaded long ago goes, but for what is under way") {
    endpoint_lanes lanes;
    lanes.take(page({row(lobby, 1, 1), row(lobby, 2, 2), row(attic, 3, 3)}), start, 16, false);
    CHECK(send(lanes) == 1);
    CHECK_FALSE(lanes.close_loaded_before(start));
    CHECK(lanes.close_loaded_before(start + 1s));
    CHECK(lanes.posts() == 1);
    CHECK(lanes.first(lobby).no == store::outbox_no{1});
    CHECK_FALSE(lanes.next());
  }
}

TEST_SUITE("SPEC 6 message.offline: who is in big rooms") {
  constexpr room_no big{7};

  const std::vector<store::acked_member>* read(member_lists & lists, room_no room, utc_time due,
                                               mono_time now, std::size_t members) {
    if (const auto* found = lists.find(acme, room, due, now)) return found;
    while (const auto asked = lists.next(
               now, noon + std::chrono::duration_cast<std::chrono::milliseconds>(now - start))) {
      const auto from = static_cast<std::size_t>(asked->query.after.value);
      const auto to = std::min(members, from + asked->query.limit);
      if (lists.on_slice(asked->query.room, slice(from, to, members), now)) break;
    }
    return lists.find(acme, room, due, now);
  }

  TEST_CASE("a list is good for what was due before it was begun, and not for what is due later") {
    member_lists lists{1 << 20, 2};
    const auto* list = read(lists, big, noon, start, 5);
    REQUIRE(list != nullptr);
    CHECK(list->size() == 5);
    CHECK(lists.find(acme, big, noon - 1s, start + 1s) == list);
    CHECK(lists.find(acme, big, noon + 1ms, start + 1s) == nullptr);
    CHECK(read(lists, big, noon + 1s, start + 1s, 5) != nullptr);
  }

  TEST_CASE("the next list of a room waits the longer the more members it has") {
    member_lists lists{64 << 20, 2000};
    REQUIRE(read(lists, big, noon, start, 20'000) != nullptr);  // 2 s
    CHECK(read(lists, big, noon + 1s, start + 1900ms, 20'000) == nullptr);
    CHECK(read(lists, big, noon + 1s, start + 2s, 20'000) != nullptr);
  }

  TEST_CASE("a slice that was not read is asked for again") {
    member_lists lists{1 << 20, 2};
    CHECK(lists.find(acme, big, noon, start) == nullptr);
    const auto first = lists.next(start, noon);
    REQUIRE(first);
    CHECK_FALSE(lists.next(start, noon));
    lists.failed(big);
    const auto again = lists.next(start, noon + 5s);
    REQUIRE(again);
    CHECK(again->query.after == first->query.after);
    CHECK(lists.on_slice(big, slice(0, 2, 2), start));
    CHECK(lists.find(acme, big, noon, start) != nullptr);
    CHECK(lists.find(acme, big, noon + 1s, start) == nullptr);  // it was begun at noon
  }

  TEST_CASE("beyond the bound the list that was not used for the longest time goes") {
    member_lists one{std::size_t{1} << 30U, 100};
    read(one, big, noon, start, 100);
    const auto bytes = one.bytes();
    CHECK(bytes > 100 * sizeof(store::acked_member));

    member_lists lists{bytes * 2 + bytes / 2, 100};
    for (std::int64_t n = 1; n <= 3; ++n)
      REQUIRE(read(lists, room_no{n}, noon, start, 100) != nullptr);
    CHECK(lists.bytes() <= bytes * 5 / 2);
    CHECK(lists.find(acme, room_no{3}, noon, start) != nullptr);
    CHECK(lists.find(acme, room_no{2}, noon, start) != nullptr);
    CHECK(lists.find(acme, room_no{1}, noon, start) == nullptr);
  }

  TEST_CASE("what is old goes") {
    member_lists lists{1 << 20, 100};
    read(lists, big, noon, start, 100);
    lists.tick(start + 59s);
    CHECK(lists.bytes() > 0);
    lists.tick(start + 61s);
    CHECK(lists.bytes() == 0);
    CHECK_FALSE(lists.has_work());
  }

  TEST_CASE("recipients were there before, did not send it and have not acked it") {
    const std::vector<store::acked_member> members{{ann, room_seq{0}, room_seq{4}},
                                                   {bob, room_seq{0}, room_seq{5}},
                                                   {cyd, room_seq{5}, room_seq{0}},
                                                   {dan, room_seq{4}, room_seq{0}},
                                                   {eve, room_seq{0}, room_seq{0}}};
    CHECK(recipients_of(members, room_seq{5}, eve) == R"("ann","dan")");
    CHECK(recipients_of(members, room_seq{0}, eve).empty());
  }
}

TEST_SUITE("SPEC 6 webhooks: a position in the log") {
  store::scanned found(std::int64_t to, std::size_t rows) {
    store::scanned out;
    out.to = log_id{to};
    out.rows.resize(rows);
    return out;
  }
  log_cursor at(std::int64_t id) {
    log_cursor c{store::log_reader::events};
    c.set(log_id{id}, start);
    return c;
  }

  TEST_CASE("rows go with the position, from where the disk has it") {
    auto c = at(10);
    c.scan_began();
    CHECK_FALSE(c.scanned(found(20, 0), false, start));
    CHECK(c.looked_at() == log_id{20});
    c.scan_began();
    const auto batch = c.scanned(found(30, 2), false, start);
    REQUIRE(batch);
    CHECK(batch->position->from == log_id{10});
    CHECK(batch->position->to == log_id{30});
    CHECK(batch->rows.size() == 2);
    CHECK(c.looked_at() == log_id{20});
    c.stored_ok(start);
    CHECK(c.stored() == log_id{30});
    CHECK(c.looked_at() == log_id{30});
  }

  TEST_CASE("rows that were not stored are looked for again") {
    auto c = at(10);
    c.scan_began();
    REQUIRE(c.scanned(found(30, 2), false, start));
    c.lost();
    CHECK(c.looked_at() == log_id{10});
    CHECK(c.stored() == log_id{10});
  }

  TEST_CASE("without rows the position follows after a second, or when it is far behind") {
    auto c = at(10);
    c.scan_began();
    CHECK_FALSE(c.scanned(found(20, 0), false, start + 999ms));
    CHECK_FALSE(c.move(start + 999ms, false));
    CHECK(c.move(start + 1s, false));
    c.stored_ok(start + 1s);
    c.scan_began();
    CHECK_FALSE(c.scanned(found(10'019, 0), false, start + 1s));
    c.scan_began();
    CHECK(c.scanned(found(10'020, 0), false, start + 1s));
    c.stored_ok(start + 1s);
    c.scan_began();
    CHECK(c.scanned(found(10'021, 0), true, start + 1s));
  }
}

}  // namespace parley::actors
