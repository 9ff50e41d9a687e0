#pragma once
/// Who is in which room: decided before anything is connected, the same for the same seed. Pure.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace parley::bench {

struct fleet_plan {
  std::string user_prefix;  // connection i belongs to the user <prefix><i in hexadecimal>
  std::uint32_t connections = 0;
  std::vector<std::vector<std::uint32_t>> rooms;  // each a list of connections, one user each
  std::vector<std::string> room_ids;              // as the node named them; same order

  [[nodiscard]] std::string user_of(std::uint32_t connection) const;
  /// For each connection, the rooms that it is in.
  [[nodiscard]] std::vector<std::vector<std::uint32_t>> rooms_of_connections() const;
};

/// `rooms` rooms of `members` neighbours each, going round: with rooms × members = connections everybody is in one room.
/// Needs rooms × members ≥ connections ≥ members.
[[nodiscard]] fleet_plan plan_neighbours(std::uint32_t connections, std::uint32_t rooms,
                                         std::uint32_t members);
/// Every connection in `rooms_each` rooms of `members` (a remainder makes one smaller room), in shuffled company.
[[nodiscard]] fleet_plan plan_shuffled(std::uint32_t connections, std::uint32_t rooms_each,
                                       std::uint32_t members, std::uint64_t seed);
/// Connections [0, talkers) send, `audience` more listen, each in `rooms_each` of the rooms, in shuffled company; room r
/// also has talker r % talkers. Needs rooms ≥ rooms_each, rooms ≥ talkers ≥ 1.
[[nodiscard]] fleet_plan plan_audience(std::uint32_t talkers, std::uint32_t audience,
                                       std::uint32_t rooms, std::uint32_t rooms_each,
                                       std::uint64_t seed);

}  // namespace parley::bench
