#pragma once
/// Appends entries to rooms' logs: the hot path. Per message one row in `messages`, one in `room_log`, one in `send_keys`
/// if it has a key, and nothing else; what an entry means for members, the room or another message is done beside it.
///
/// Owner      the writer, inside its transaction.
/// Invariants log ids strictly increase and are never given twice, whatever is rolled back; seq per room is dense (I2).

#include "store/commit_chain.hpp"
#include "store/room_ends.hpp"
#include "store/sqlite_db.hpp"
#include "store/store.hpp"
#include "store/user_names.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace parley::store {

class log_appender {
 public:
  /// `next`: the first id to give. Throws db_exception.
  log_appender(connection& db, user_names& users, room_ends& rooms, log_id next,
               std::chrono::milliseconds idempotency_ttl);

  /// A failure of scope item leaves the transaction as it was.
  write_result<log_id> append(const append_row& row, commit_chain& chain);

  [[nodiscard]] log_id next_id() const { return next_id_; }
  /// Keys appended since the last call: how much there is to sweep.
  std::int64_t take_keys_count() { return std::exchange(keys_count_, 0); }

  /// Planted defect `key_outside_transaction`: writes the keys that append() held back.
  [[nodiscard]] bool write_held_back_keys();
  void drop_held_back_keys() { held_back_.clear(); }

 private:
  /// The columns that differ by kind.
  struct columns {
    std::optional<room_seq> target_seq{};
    std::optional<user_no> sender{};
    std::optional<std::string_view> content{};
    json_text meta{};
    std::optional<message_id> reply_to{};
    std::string_view client_msg_id{};
    std::string body{};
    std::optional<utc_time> edited_at{};
    std::optional<utc_time> deleted_at{};
    // Not columns of the entry, but what its effect needs.
    std::vector<user_no> members{};
    log_id target{};
  };
  struct key_row {
    room_no room;
    user_no sender;
    send_key key;
    room_seq seq;
    message_id message;
    utc_time created_at;                  ///< its age
    std::optional<utc_time> answered_at;  ///< of a key without an entry
  };

  write_result<columns> columns_of(const append_row& row);
  write_result<void> fill(const append_row& row, const message_body& b, columns& c);
  write_result<void> fill(const append_row& row, const message_edited_body& b, columns& c);
  write_result<void> fill(const append_row& row, const message_deleted_body& b, columns& c);
  write_result<void> fill(const append_row& row, const member_joined_body& b, columns& c);
  write_result<void> fill(const append_row& row, const member_left_body& b, columns& c);
  write_result<void> fill(const append_row& row, const member_updated_body& b, columns& c);
  write_result<void> fill(const append_row& row, const room_updated_body& b, columns& c);
  /// The message that an edit or a delete is about, still there and not deleted.
  write_result<log_id> target_of(const append_row& row, room_seq seq);
  write_result<std::vector<user_no>> intern(tenant_no tenant, const std::vector<user_id>& users);
  write_result<user_no> intern(tenant_no tenant, const user_id& user);

  /// Of a call that changed nothing.
  write_result<log_id> append_only_key(const append_row& row, const room_end& end);
  write_result<void> insert_key(const append_row& row);
  [[nodiscard]] bool insert_key(const key_row& k);

  write_result<void> take_effect(const append_row& row, const columns& c);
  write_result<void> join(const append_row& row, const member_joined_body& b, const columns& c);
  write_result<void> leave(const append_row& row, const columns& c);
  write_result<void> change_role(const append_row& row, const member_updated_body& b,
                                 const columns& c);
  write_result<void> change_room(const append_row& row, const room_updated_body& b);
  /// A statement that comes after the first of an item.
  write_result<void> later(bool done);
  /// The same, and it must have changed one row: else the caller is wrong about what is stored.
  write_result<void> later_one_row(bool done, const char* what);

  connection& db_;
  user_names& users_;
  room_ends& rooms_;
  log_id next_id_;
  std::chrono::milliseconds idempotency_ttl_;
  std::int64_t keys_count_ = 0;
  std::vector<key_row> held_back_;

  statement insert_message_;
  statement insert_index_;
  statement insert_key_;
  statement select_target_;
  statement edit_;
  statement remove_content_;
  statement mark_deleted_;
  statement insert_member_;
  statement delete_member_;
  statement delete_cursor_;
  statement update_role_;
  statement count_members_;
  statement update_name_;
  statement update_metadata_;
  statement update_posting_;
};

}  // namespace parley::store
