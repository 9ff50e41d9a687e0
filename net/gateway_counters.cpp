#include "net/gateway_counters.hpp"

#include "protocol/assert.hpp"

#include <string>

namespace parley::net {

upgrade_outcome upgrade_outcome_of(int status) {
  switch (status) {
    case 101:
      return upgrade_outcome::accepted;
    case 400:
    case 426:
      return upgrade_outcome::malformed;
    case 401:
      return upgrade_outcome::unauthenticated;
    case 403:
      return upgrade_outcome::forbidden;
    case 429:
      return upgrade_outcome::limited;
    case 503:
      return upgrade_outcome::unavailable;
    default:
      return upgrade_outcome::failed;
  }
}

std::string_view name_of(upgrade_outcome outcome) {
  static constexpr std::array<std::string_view, upgrade_outcomes> names{
      "accepted", "malformed", "unauthenticated", "forbidden", "limited", "unavailable", "failed"};
  static_assert(static_cast<std::size_t>(upgrade_outcome::failed) + 1 == upgrade_outcomes);
  return names[static_cast<std::size_t>(outcome)];
}

std::string_view frame_kind_name(std::size_t kind) {
  // As the alternatives of client_command.
  static constexpr std::array<std::string_view, frame_kinds> names{
      "send_message", "edit_message", "delete_message", "cursor",           "typing",
      "sync",         "subscribe",    "unsubscribe",    "notification.ack", "presence.set",
      "auth",         "ping",         "rejected"};
  static_assert(!names.back().empty());  // one for each
  return names[kind];
}

std::size_t close_places() { return close_registry().size() + 2; }

std::size_t close_place(close_code code) {
  const auto registry = close_registry();
  PARLEY_ASSERT(close_places() <= close_places_max);
  for (std::size_t at = 0; at < registry.size(); ++at) {
    if (registry[at].code == code) return at;
  }
  return registry.size() + (code == close_code::no_status ? 0 : 1);
}

std::string close_place_name(std::size_t place) {
  const auto registry = close_registry();
  if (place > registry.size()) return "other";
  const auto code = place < registry.size() ? registry[place].code : close_code::no_status;
  return std::to_string(static_cast<unsigned>(code));
}

}  // namespace parley::net
