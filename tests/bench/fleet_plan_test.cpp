#include "bench/fleet_plan.hpp"

#include "bench/machine.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

using namespace parley::bench;

TEST_SUITE("bench: who is in which room") {
  TEST_CASE("neighbours: with just enough places everybody is in exactly one room") {
    const auto plan = plan_neighbours(6, 3, 2);
    CHECK(plan.rooms == std::vector<std::vector<std::uint32_t>>{{0, 1}, {2, 3}, {4, 5}});
  }

  TEST_CASE("neighbours: nobody is in a room twice, and nobody is in none") {
    for (const auto& [connections, rooms, members] :
         {std::tuple{5U, 3U, 2U}, {5U, 1U, 5U}, {10U, 10U, 3U}, {3U, 7U, 2U}, {1U, 2U, 1U}}) {
      const auto plan = plan_neighbours(connections, rooms, members);
      CHECK(plan.rooms.size() == rooms);
      for (const auto& room : plan.rooms) {
        CHECK(std::set(room.begin(), room.end()).size() == members);
      }
      const auto of_connections = plan.rooms_of_connections();
      CHECK(std::ranges::none_of(of_connections, [](const auto& r) { return r.empty(); }));
    }
  }

  TEST_CASE("shuffled: everybody is in as many different rooms as asked") {
    for (const auto& [connections, members] : {std::pair{100U, 20U}, {103U, 20U}, {20U, 20U}}) {
      const auto plan = plan_shuffled(connections, 5, members, 7);
      for (const auto& rooms : plan.rooms_of_connections()) {
        CHECK(rooms.size() == 5);
        CHECK(std::set(rooms.begin(), rooms.end()).size() == 5);
      }
      for (const auto& room : plan.rooms) CHECK(room.size() <= members);
    }
  }

  TEST_CASE("shuffled: a seed tells all") {
    CHECK(plan_shuffled(50, 3, 7, 1).rooms == plan_shuffled(50, 3, 7, 1).rooms);
    CHECK(plan_shuffled(50, 3, 7, 1).rooms != plan_shuffled(50, 3, 7, 2).rooms);
  }

  TEST_CASE("users are told apart by their connection") {
    fleet_plan plan;
    plan.user_prefix = "b-";
    CHECK(plan.user_of(0) == "b-0");
    CHECK(plan.user_of(255) == "b-ff");
    CHECK(plan.user_of(UINT32_MAX) == "b-ffffffff");
  }

  TEST_CASE("many connections come from several addresses") {
    CHECK(sources_for(1) == 1);
    CHECK(sources_for(50'000) >= 2);
    CHECK(sources_for(UINT32_MAX) == 200);
  }

  TEST_CASE("an audience: everybody in as many rooms, rooms of like size, a talker in each") {
    const fleet_plan plan = plan_audience(3, 100, 30, 4, 7);
    CHECK(plan.connections == 103);
    REQUIRE(plan.rooms.size() == 30);
    std::vector<int> times(103, 0);
    for (std::size_t room = 0; room < plan.rooms.size(); ++room) {
      const auto& members = plan.rooms[room];
      CHECK(members.front() == room % 3);
      CHECK(std::set<std::uint32_t>(members.begin(), members.end()).size() == members.size());
      CHECK(members.size() >= 12);
      CHECK(members.size() <= 18);
      for (const std::uint32_t member : members) ++times[member];
    }
    for (std::size_t i = 3; i < times.size(); ++i) CHECK(times[i] == 4);
    CHECK(plan_audience(3, 100, 30, 4, 7).rooms == plan.rooms);
    CHECK(plan_audience(3, 100, 30, 4, 8).rooms != plan.rooms);
  }
}
