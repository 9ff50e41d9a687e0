#pragma once
/// A room's facts as SPEC 4 *room* shows them, without what depends on who looks.

#include "protocol/entry.hpp"
#include "protocol/ids.hpp"
#include "protocol/seams.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace parley {

struct room_info {
  room_id id;
  room_type type = room_type::group;
  std::optional<std::string> name{};
  json_text metadata{};  ///< empty: null
  posting_policy posting = posting_policy::all;
  room_seq first_seq{1};  ///< moved by retention only
  room_seq last_seq{0};
  std::int64_t member_count = 0;
  std::optional<user_id> created_by{};
  utc_time created_at{};
  utc_time updated_at{};
  std::optional<std::pair<user_id, user_id>> dm_members{};  ///< ascending; a dm has both, others none
};

/// The shown form of a dm's key, `dm:alice:bob`, `%` and `:` in ids percent-escaped (DESIGN 5). Null for others.
[[nodiscard]] std::optional<std::string> unique_key(const room_info& r);
/// What makes a dm unique: the sorted pair, each length-prefixed, so that no two pairs share one.
[[nodiscard]] std::string dm_key(const user_id& a, const user_id& b);

}  // namespace parley
