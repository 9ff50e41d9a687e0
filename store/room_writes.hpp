#pragma once
/// What the writer does besides appending: rooms and cursors.
///
/// Owner      the writer, inside its transaction (open_room: also outside).

#include "store/bounded_cache.hpp"
#include "store/call_keys.hpp"
#include "store/outbox_writes.hpp"
#include "store/room_ends.hpp"
#include "store/room_rows.hpp"
#include "store/sqlite_db.hpp"
#include "store/store.hpp"
#include "store/user_names.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace parley::store {

class room_writes {
 public:
  static constexpr std::size_t tenants_counted_max = 4096;  // a few dozen bytes each
  /// Throws db_exception.
  room_writes(connection& db, user_names& users, room_ends& rooms, call_keys& keys,
              outbox_writes& outbox, const clock& now);

  write_result<created_room> create_room(const new_room& room);
  write_result<room_seq> delete_room(tenant_no tenant, room_no room, utc_time at);
  write_result<std::optional<opened_room>> open_room(tenant_no tenant, room_id room,
                                                     utc_time keys_since);
  /// Rooms came or went by other ways, or the transaction did not come to pass.
  void forget_counts() { room_counts_.clear(); }
  write_result<cursor_state> move_cursor(const cursor_move& move);
  write_result<void> store_last_seen(tenant_no tenant, const user_id& user, utc_time at);

 private:
  using members_of_new_room = std::vector<std::pair<user_no, member_row>>;

  write_result<std::optional<room_no>> find_dm(const new_room& room, const std::string& key);
  write_result<void> store_call_key(const new_room& room, user_no scope, room_no made);
  write_result<members_of_new_room> intern_members(const new_room& room);
  write_result<void> check_room_limit(const new_room& room, const members_of_new_room& members);
  write_result<void> check_tenant_limit(const new_room& room);
  write_result<created_room> insert_room(const new_room& room,
                                         const std::optional<std::string>& dm_key, user_no scope);
  /// An event about the room that is not in its log.
  write_result<void> tell(event_type type, tenant_no tenant, room_no room, utc_time at);
  write_result<created_room> existing(room_no no, bool replayed);
  write_result<std::vector<member_row>> members_of(room_no no);
  write_result<std::vector<used_key>> keys_of(room_no no, utc_time since);

  connection& db_;
  user_names& users_;
  room_ends& rooms_;
  call_keys& keys_;
  outbox_writes& outbox_;
  const clock& clock_;
  /// Live rooms of tenants that have a limit on them, as the transaction sees them.
  bounded_cache<tenant_no, std::int64_t> room_counts_{tenants_counted_max};

  statement select_dm_;
  statement count_memberships_;
  statement count_rooms_;
  statement count_tenant_rooms_;
  statement insert_room_;
  statement insert_member_;
  statement select_room_by_no_;
  statement select_room_by_id_;
  statement delete_room_;
  statement select_members_;
  statement select_keys_;
  statement select_cursor_;
  statement upsert_cursor_;
  statement update_last_seen_;
};

}  // namespace parley::store
