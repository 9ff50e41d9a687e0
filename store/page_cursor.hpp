#pragma once
/// The cursors of lists: where the next page starts, as text that means nothing to the caller. Base64url of one or two
/// numbers and a check, so that a damaged or foreign one is seen and never becomes a strange query.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace parley::store {

/// Which list a cursor belongs to: one of another list is a damaged one.
enum class cursor_kind : std::uint8_t {
  rooms_of_user = 1,
  rooms_of_tenant = 2,
  members = 3,
  tenants = 4,
  jobs = 5,
  export_memberships = 6,
  export_messages = 7,
  endpoints = 8,
  dead_letters = 9
};

/// A position in the order of the list: the last item that was given.
using cursor_position = std::array<std::int64_t, 2>;

[[nodiscard]] std::string encode_cursor(cursor_kind kind, const cursor_position& position);
[[nodiscard]] std::optional<cursor_position> decode_cursor(cursor_kind kind, std::string_view text);

}  // namespace parley::store
