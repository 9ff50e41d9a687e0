#include "bench/fleet_plan.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>
#include <random>

namespace parley::bench {

std::string fleet_plan::user_of(std::uint32_t connection) const {
  std::array<char, 8> digits{};
  const auto [end, failed] =
      std::to_chars(digits.data(), digits.data() + digits.size(), connection, 16);
  return user_prefix + std::string{digits.data(), end};
}

std::vector<std::vector<std::uint32_t>> fleet_plan::rooms_of_connections() const {
  std::vector<std::vector<std::uint32_t>> result(connections);
  for (std::uint32_t room = 0; room < rooms.size(); ++room) {
    for (const std::uint32_t member : rooms[room]) result[member].push_back(room);
  }
  return result;
}

fleet_plan plan_neighbours(std::uint32_t connections, std::uint32_t rooms, std::uint32_t members) {
  fleet_plan plan;
  plan.connections = connections;
  std::uint64_t next = 0;
  for (std::uint32_t i = 0; i < rooms; ++i) {
    std::vector<std::uint32_t>& room = plan.rooms.emplace_back();
    for (std::uint32_t m = 0; m < members; ++m) {
      room.push_back(static_cast<std::uint32_t>(next++ % connections));
    }
  }
  return plan;
}

fleet_plan plan_shuffled(std::uint32_t connections, std::uint32_t rooms_each, std::uint32_t members,
                         std::uint64_t seed) {
  fleet_plan plan;
  plan.connections = connections;
  std::mt19937_64 random{seed};
  std::vector<std::uint32_t> everybody(connections);
  std::iota(everybody.begin(), everybody.end(), 0U);
  for (std::uint32_t layer = 0; layer < rooms_each; ++layer) {
    std::shuffle(everybody.begin(), everybody.end(), random);
    for (std::size_t from = 0; from < everybody.size(); from += members) {
      const auto size = std::min<std::size_t>(members, everybody.size() - from);
      const auto begin = everybody.begin() + static_cast<std::ptrdiff_t>(from);
      plan.rooms.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(size));
    }
  }
  return plan;
}

fleet_plan plan_audience(std::uint32_t talkers, std::uint32_t audience, std::uint32_t rooms,
                         std::uint32_t rooms_each, std::uint64_t seed) {
  fleet_plan plan;
  plan.connections = talkers + audience;
  plan.rooms.resize(rooms);
  for (std::uint32_t room = 0; room < rooms; ++room) plan.rooms[room].push_back(room % talkers);
  std::mt19937_64 random{seed};
  std::vector<std::uint32_t> everybody(audience);
  std::iota(everybody.begin(), everybody.end(), talkers);
  std::uint64_t next = 0;  // dealt out in turn, over all layers, so that rooms are of like size
  for (std::uint32_t layer = 0; layer < rooms_each; ++layer) {
    std::shuffle(everybody.begin(), everybody.end(), random);
    for (auto one = everybody.begin(); one != everybody.end(); ++one) {
      std::uint64_t room = next++;
      const auto is_new = [&](std::uint32_t connection) {
        const auto& members = plan.rooms[room % rooms];
        return std::ranges::find(members, connection) == members.end();
      };
      // The next who is not in it yet; if all who are left are, one of them goes on to another room.
      const auto fitting = std::find_if(one, everybody.end(), is_new);
      if (fitting != everybody.end()) std::iter_swap(one, fitting);
      while (!is_new(*one)) ++room;
      plan.rooms[room % rooms].push_back(*one);
    }
  }
  return plan;
}

}  // namespace parley::bench
