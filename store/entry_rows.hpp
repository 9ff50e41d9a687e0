#pragma once
/// A log entry's stored form: the columns of `messages` (docs/store-format.md has the table of kinds).
/// Pure but for the names of users, which are numbers in the file.

#include "protocol/entry.hpp"
#include "store/sqlite_db.hpp"
#include "store/user_names.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley::store {

/// `body` of the kinds about members: `{"users":[7,12],"role":1}`, or `reason`.
[[nodiscard]] std::string members_body(const std::vector<user_no>& users, member_role role);
[[nodiscard]] std::string members_body(const std::vector<user_no>& users, leave_reason reason);
/// `body` of room.updated: what changed; the name itself is in `content`, the metadata in `meta`.
[[nodiscard]] std::string room_updated_body_text(const room_updated_body& b);

/// What a `body` says; nullopt: not of that form (a damaged file).
struct stored_members {
  std::vector<user_no> users;
  std::int64_t role = 0;
  std::int64_t reason = 0;
};
[[nodiscard]] std::optional<stored_members> parse_members_body(std::string_view text);

/// The columns that entry_decoder reads, of a row `m` of `messages`.
inline constexpr std::string_view entry_columns =
    "m.seq, m.kind, m.message_id, m.target_seq, m.actor_no, m.sender_no, m.content, m.meta, "
    "m.reply_to, m.client_msg_id, m.body, m.created_at, m.edited_at, m.deleted_at, m.room_no";

/// Rows → entries. An edit's content and meta are those of its message now (SPEC 1), so they are read there; an edit
/// whose message retention has removed reads as one of a deleted message.
class entry_decoder {
 public:
  entry_decoder(connection& db, user_names& names);
  /// The entry of the current row, whose columns start at 0 with entry_columns.
  db_result<entry> decode(const statement::rows& row);

 private:
  db_result<entry_body> body_of(entry_kind kind, const statement::rows& row);
  db_result<entry_body> edited(const statement::rows& row);
  db_result<user_id> name_of(const statement::rows& row, int column);
  db_result<std::vector<user_id>> names_of(const std::vector<user_no>& users);

  connection& db_;
  user_names& names_;
  statement select_target_;
};

}  // namespace parley::store
