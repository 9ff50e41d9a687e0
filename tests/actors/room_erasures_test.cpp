// What a room does when one of its members is erased.

#include "tests/actors/lobby.hpp"

#include <doctest/doctest.h>

namespace parley::actors {

using namespace words;

TEST_SUITE("SPEC 1 member.left with reason erased") {
  TEST_CASE("the membership ends like any other, but says why") {
    lobby room{an_open_room(room_type::group, {member(ann, member_role::owner), member(bob)})};
    const auto call = room.says(by_backend(), remove_member_command{bob, true});
    const auto& left = std::get<member_left_body>(room.last_entry().body);
    CHECK(left.users == std::vector{bob});
    CHECK(left.reason == leave_reason::erased);
    CHECK(!room.last_entry().actor);
    room.commits();
    CHECK(room.done(call));
    REQUIRE(room.publishes.size() == 1);
    CHECK(room.publishes[0]->members.at(0).user == bob);
    CHECK(!room.publishes[0]->members.at(0).joined);
  }
  TEST_CASE("also in a dm, which nobody else can leave") {
    lobby room{an_open_room(room_type::dm, {member(ann), member(bob)})};
    CHECK(room.refused(room.says(by_backend(), remove_member_command{bob}), error_code::conflict));
    const auto call = room.says(by_backend(), remove_member_command{bob, true});
    room.commits();
    CHECK(room.done(call));
    CHECK(std::get<member_left_body>(room.last_entry().body).reason == leave_reason::erased);
    // Asked a second time, there is nobody.
    const auto again = room.says(by_backend(), remove_member_command{bob, true});
    CHECK(room.refused(again, error_code::not_found));
    CHECK(room.appends.size() == 1);
  }
  TEST_CASE("an owner is followed at once") {
    lobby room{an_open_room(room_type::group, {member(ann, member_role::owner), member(bob)})};
    room.says(by_backend(), remove_member_command{ann, true});
    const auto rows = room.rows();
    REQUIRE(rows.size() == 2);
    CHECK(std::get<member_left_body>(rows[0].e.body).reason == leave_reason::erased);
    CHECK(std::get<member_updated_body>(rows[1].e.body).user == bob);
    CHECK(std::get<member_updated_body>(rows[1].e.body).role == member_role::owner);
  }
}

}  // namespace parley::actors
