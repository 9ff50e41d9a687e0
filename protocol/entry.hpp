#pragma once
/// A room's log entry, all kinds (SPEC 1): what is stored, delivered, paged and synced. Values only.
/// Kinds' numbers are in the database for ever; new kinds get new numbers.

#include "protocol/ids.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace parley {

enum class entry_kind : std::uint8_t {
  message = 1,
  message_edited = 2,
  message_deleted = 3,
  member_joined = 4,
  member_left = 5,
  member_updated = 6,
  room_updated = 7,
};
/// The `type` on the wire: `message`, `message.edited`, …
[[nodiscard]] std::string_view to_text(entry_kind kind);

/// JSON text as stored: minified, valid; empty: null. A strong type, since it is spliced into frames unquoted.
using json_text = strong_string<struct json_text_tag>;

struct message_body {
  user_id sender;
  std::string content;  ///< "" after a delete or erasure
  json_text meta;       ///< empty: null
  std::optional<message_id> reply_to{};
  std::string client_msg_id{};  ///< as sent; empty: none
  std::optional<utc_time> edited_at{};
  std::optional<utc_time> deleted_at{};
};
struct message_edited_body {
  room_seq message_seq;
  std::string content;
  json_text meta;
  utc_time edited_at;
};
struct message_deleted_body {
  room_seq message_seq;
  utc_time deleted_at;
};
struct member_joined_body {
  std::vector<user_id> users;  ///< ≤ limits::entry_max_users
  member_role role = member_role::member;
};
enum class leave_reason : std::uint8_t { left = 1, removed = 2, erased = 3 };
[[nodiscard]] std::string_view to_text(leave_reason r);
struct member_left_body {
  std::vector<user_id> users;
  leave_reason reason = leave_reason::left;
};
struct member_updated_body {
  user_id user;
  member_role role = member_role::member;
};
struct room_updated_body {                           ///< the changed ones only
  std::optional<std::optional<std::string>> name{};  ///< inner nullopt: set to null
  std::optional<json_text> metadata{};               ///< empty json_text: set to null
  std::optional<posting_policy> posting{};
};

using entry_body =
    std::variant<message_body, message_edited_body, message_deleted_body, member_joined_body,
                 member_left_body, member_updated_body, room_updated_body>;

/// One entry of a room's log. `message` is the id of the message it is or is about; nil for others.
struct entry {
  room_seq seq;
  message_id message{};            ///< kinds 1–3
  std::optional<user_id> actor{};  ///< who acted; null: the backend, or several (SPEC 1)
  utc_time created_at{};
  entry_body body;

  [[nodiscard]] entry_kind kind() const { return static_cast<entry_kind>(body.index() + 1); }
};

}  // namespace parley
