#pragma once
/// What a tenant's backend can be told by webhook (SPEC 6): the kinds, and their bodies. Pure.

#include "protocol/entry.hpp"
#include "protocol/ids.hpp"
#include "protocol/room_info.hpp"
#include "protocol/seams.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley {

/// Stored by number: never changed, never reused.
enum class event_type : std::uint8_t {
  message_offline = 1,
  message_created = 2,
  message_edited = 3,
  message_deleted = 4,
  room_created = 5,
  room_updated = 6,
  room_deleted = 7,
  member_joined = 8,
  member_left = 9,
  user_online = 10,
  user_offline = 11,
  notification_failed = 12,
  webhook_test = 13,  ///< nobody can ask for it by `webhook_events`: `parley webhook test`
};
/// As in `type` and `webhook_events`: `message.offline`.
[[nodiscard]] std::string_view to_text(event_type t);
/// Of those that `webhook_events` may name.
[[nodiscard]] std::optional<event_type> parse_event_type(std::string_view text);

/// A set of kinds: bit 1 << number.
using event_mask = std::uint32_t;
[[nodiscard]] constexpr event_mask mask_of(event_type t) {
  return event_mask{1} << static_cast<unsigned>(t);
}
/// The event that a log entry of this kind is; nullopt: none (member.updated).
[[nodiscard]] std::optional<event_type> event_of(entry_kind k);

enum class webhook_format : std::uint8_t { parley = 0, chatapi = 1 };

/// One event with all that its body says. What a kind does not need is empty.
struct webhook_event {
  event_type type = event_type::webhook_test;
  tenant_id tenant;
  utc_time at{};                       ///< when what it tells of was committed
  std::optional<room_info> room{};     ///< of all that is about a room
  std::optional<entry> logged{};       ///< the log entry it is
  std::optional<entry> message{};      ///< the message that is about, as it is now
  std::optional<user_id> recipient{};  ///< of message.offline
  bool lists_recipients = false;       ///< message.offline of a big room: see split_body
  std::string data{};                  ///< of all else: the JSON object itself
};
/// A body; with lists_recipients in two parts, between which the comma-separated JSON strings of the ids belong.
struct split_body {
  std::string head;
  std::string tail;
};
/// `{type, timestamp, tenant_id, data}`, or ChatAPI's flat body for message.offline (docs/webhooks.md).
[[nodiscard]] split_body webhook_body(const webhook_event& e, webhook_format format);

}  // namespace parley
