#pragma once
/// A room's stored form, read the same way by the writer and by readers.

#include "protocol/room_info.hpp"
#include "store/sqlite_db.hpp"
#include "store/user_names.hpp"

#include <optional>
#include <string_view>
#include <utility>

namespace parley::store {

/// The columns that decode_room() reads, of a row `r` of `rooms`. The room's end is the end of its log: it is never
/// written to the row, or each message would dirty one more page (measured: 67–76 k rows/s with it, 114 k without).
inline constexpr std::string_view room_columns =
    "r.room_no, r.room_id, r.type, r.dm_key, r.name, r.metadata, r.posting, r.first_seq, "
    "r.member_count, r.created_by, r.created_at, r.updated_at, (SELECT l.seq FROM room_log l "
    "WHERE l.room_no = r.room_no ORDER BY l.seq DESC LIMIT 1)";
inline constexpr int room_columns_count = 13;

struct room_row {
  room_no no;
  room_info info;
};
/// The room of the current row, whose columns start at 0 with room_columns.
db_result<room_row> decode_room(const statement::rows& row, user_names& names);

/// Both ids of a dm_key (protocol/room_info.hpp), ascending; nullopt: not of that form.
[[nodiscard]] std::optional<std::pair<user_id, user_id>> split_dm_key(std::string_view key);

}  // namespace parley::store
