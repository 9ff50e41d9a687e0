#include "protocol/entry.hpp"

#include <cstddef>
#include <type_traits>

namespace parley {

namespace {

template <entry_kind Kind, class Body>
constexpr bool stands_at =
    std::is_same_v<std::variant_alternative_t<static_cast<std::size_t>(Kind) - 1, entry_body>, Body>;

// entry::kind() is the place in the variant, and the number in the database.
static_assert(stands_at<entry_kind::message, message_body>);
static_assert(stands_at<entry_kind::message_edited, message_edited_body>);
static_assert(stands_at<entry_kind::message_deleted, message_deleted_body>);
static_assert(stands_at<entry_kind::member_joined, member_joined_body>);
static_assert(stands_at<entry_kind::member_left, member_left_body>);
static_assert(stands_at<entry_kind::member_updated, member_updated_body>);
static_assert(stands_at<entry_kind::room_updated, room_updated_body>);

}  // namespace

std::string_view to_text(entry_kind kind) {
  switch (kind) {
    case entry_kind::message:
      return "message";
    case entry_kind::message_edited:
      return "message.edited";
    case entry_kind::message_deleted:
      return "message.deleted";
    case entry_kind::member_joined:
      return "member.joined";
    case entry_kind::member_left:
      return "member.left";
    case entry_kind::member_updated:
      return "member.updated";
    case entry_kind::room_updated:
      return "room.updated";
  }
  return {};
}

std::string_view to_text(leave_reason r) {
  switch (r) {
    case leave_reason::left:
      return "left";
    case leave_reason::removed:
      return "removed";
    case leave_reason::erased:
      return "erased";
  }
  return {};
}

}  // namespace parley
