#include "tests/actors/lobby.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace parley::actors {

using namespace words;

namespace {

lobby a_channel(std::int64_t members = 1, const room_options& options = {}) {
  auto facts = an_open_room(room_type::channel, {member(ann, member_role::owner)});
  facts.info.member_count = members;
  facts.members_complete = members <= static_cast<std::int64_t>(limits::room_members_in_memory);
  return lobby{std::move(facts), options};
}

std::vector<std::size_t> joined_in(const lobby& room) {
  std::vector<std::size_t> sizes;
  for (const auto& a : room.appends) {
    if (const auto* body = std::get_if<member_joined_body>(&a->row.e.body))
      sizes.push_back(body->users.size());
  }
  return sizes;
}

}  // namespace

TEST_SUITE("DESIGN 11 join bursts") {
  TEST_CASE(
      "the first joins at once; who comes while it is stored gathers, and shares the next entry") {
    auto room = a_channel();
    std::vector<call_no> calls;
    for (std::size_t n = 0; n < 250; ++n)
      calls.push_back(room.says(by(user_no_of(n)), join_command{}));
    CHECK(joined_in(room) == std::vector<std::size_t>{1});
    CHECK(room.appends[0]->row.e.actor == user_no_of(0));
    room.commits();
    CHECK(room.done(calls[0]));
    CHECK(!room.answered(calls[1]));
    CHECK(joined_in(room) == std::vector<std::size_t>{1, 100, 100, 49});
    CHECK(!room.last_entry().actor.has_value());  // several: nobody acts
    room.commits();
    for (const auto call : calls) CHECK(room.done(call));
    CHECK(std::get<room_result>(room.outcome(calls.back())).info.member_count == 251);
    // The start of each is the entry that names it.
    std::size_t changes = 0;
    for (const auto& p : room.publishes) {
      for (const auto& change : p->members) {
        ++changes;
        const auto& e = room.appends[static_cast<std::size_t>(change.seq.value) - 1]->row.e;
        const auto& users = std::get<member_joined_body>(e.body).users;
        CHECK(std::find(users.begin(), users.end(), change.user) != users.end());
      }
    }
    CHECK(changes == 250);
  }

  TEST_CASE("what one says next waits for one's joining; others do not wait") {
    auto room = a_channel();
    room.says(by(bob), join_command{});
    const auto join = room.says(by(cyd), join_command{});
    const auto hello = room.says(by(cyd), message_from(cyd));
    const auto other = room.says(by(ann), message_from(ann));
    CHECK(room.appends.size() == 2);  // bob's joining, ann's message
    room.commits();
    CHECK(room.done(other));
    room.commits();
    CHECK(room.done(join));
    CHECK(room.done(hello));
    CHECK(room.accepted(hello).seq == room_seq{4});
  }

  TEST_CASE("one who joins and leaves at once, twice in one burst, is out at the end") {
    auto room = a_channel();
    room.says(by(bob), join_command{});
    const auto in = room.says(by(cyd), join_command{});
    const auto out = room.says(by(cyd), leave_command{});
    const auto in_again = room.says(by(cyd), join_command{});
    const auto out_again = room.says(by(cyd), leave_command{});
    for (int n = 0; n < 4; ++n) room.commits();
    for (const auto call : {in, out, in_again, out_again}) CHECK(room.done(call));
    CHECK(room.refused(room.says(by(cyd), message_from(cyd)), error_code::not_found));
  }

  TEST_CASE("one who is added by an admin while its joining waits is a member once") {
    auto room = a_channel();
    room.says(by(bob), join_command{});
    const auto join = room.says(by(cyd), join_command{});
    const auto add = room.says(by(ann), add_members_command{{cyd, dan}});
    room.commits();
    room.commits();
    CHECK(room.done(join));
    CHECK(room.done(add));
    CHECK(joined_in(room) == std::vector<std::size_t>{1, 2});
  }

  TEST_CASE("the bound on members counts those who share an entry") {
    auto room = a_channel(1, {.max_room_members = 4});
    std::vector<call_no> calls;
    for (std::size_t n = 0; n < 6; ++n)
      calls.push_back(room.says(by(user_no_of(n)), join_command{}));
    room.commits();
    room.commits();
    int in = 0;
    for (const auto call : calls) in += room.done(call) ? 1 : 0;
    CHECK(in == 3);
    CHECK(room.refused(calls.back(), error_code::conflict));
  }

  TEST_CASE("in a big room joins are stored ten times a second") {
    auto room = a_channel(5000);
    const auto joins = [&](std::size_t n) {
      const auto call = room.says(by(user_no_of(n)), join_command{});
      room.finds(std::nullopt);
      return call;
    };
    const auto first = joins(1);
    CHECK(joined_in(room) == std::vector<std::size_t>{1});
    room.commits();
    CHECK(room.done(first));
    const auto second = joins(2);
    const auto third = joins(3);
    CHECK(joined_in(room) == std::vector<std::size_t>{1});
    CHECK(room.wakings == std::vector{std::chrono::milliseconds{100}});  // once for both
    room.time.at += std::chrono::milliseconds{60};
    room.it.on(room_tick{});  // too early: asks again
    CHECK(room.wakings.back() == std::chrono::milliseconds{40});
    CHECK(!room.it.idle());
    room.time.at += std::chrono::milliseconds{40};
    room.it.on(room_tick{});
    CHECK(joined_in(room) == std::vector<std::size_t>{1, 2});
    room.commits();
    CHECK(room.done(second));
    CHECK(room.done(third));
    CHECK(room.it.idle());
  }

  TEST_CASE("beyond the bound on waiting calls joins are refused, and nothing is stored for them") {
    auto room = a_channel();
    room.says(by(bob), join_command{});
    std::vector<call_no> calls;
    for (std::size_t n = 0; n < limits::room_waiting_max_commands + 5; ++n)
      calls.push_back(room.says(by(user_no_of(n)), join_command{}));
    for (std::size_t n = 0; n < calls.size(); ++n)
      CHECK(room.refused(calls[n], error_code::unavailable) ==
            (n >= limits::room_waiting_max_commands));
    room.commits();
    room.commits();
    std::size_t in = 0;
    for (const auto call : calls) in += room.done(call) ? 1 : 0;
    CHECK(in == limits::room_waiting_max_commands);
  }

  TEST_CASE("a lost generation refuses those that were being stored, and the gathered go on") {
    auto room = a_channel();
    const auto stored = room.says(by(bob), join_command{});
    const auto gathered = room.says(by(cyd), join_command{});
    room.loses();
    CHECK(room.refused(stored, error_code::unavailable));
    CHECK(!room.answered(gathered));
    room.opens_with(an_open_room(room_type::channel, {member(ann, member_role::owner)}));
    room.commits();
    CHECK(room.done(gathered));
  }

  TEST_CASE("a room that is deleted refuses what has gathered, and what waits behind it") {
    auto room = a_channel();
    room.says(by(bob), join_command{});
    const auto join = room.says(by(cyd), join_command{});
    const auto hello = room.says(by(cyd), message_from(cyd));
    room.says(by_backend(), delete_room_command{});
    room.commits();
    room.is_deleted();
    CHECK(room.refused(join, error_code::not_found));
    CHECK(room.refused(hello, error_code::not_found));
  }
}

}  // namespace parley::actors
