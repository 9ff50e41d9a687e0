#include "store/room_writes.hpp"

#include "protocol/limits.hpp"
#include "store/write_failure.hpp"

#include <algorithm>
#include <set>

namespace parley::store {
namespace {

error conflict(std::string message, std::string field) {
  return {.code = error_code::conflict, .message = std::move(message), .field = std::move(field)};
}

keyed keyed_room(const new_room& room, user_no scope) {
  return {.tenant = room.tenant,
          .scope = scope,
          .call = keyed_call::create_room,
          .key = room.key->key,
          .body = room.key->body,
          .at = room.created_at};
}

}  // namespace

room_writes::room_writes(connection& db, user_names& users, room_ends& rooms, call_keys& keys,
                         outbox_writes& outbox, const clock& now)
    : db_(db),
      users_(users),
      rooms_(rooms),
      keys_(keys),
      outbox_(outbox),
      clock_(now),
      select_dm_(
          db,
          // One whose other half was erased is no dm of the pair any more.
          "SELECT room_no FROM rooms WHERE tenant_no = ? AND dm_key = ? AND deleted_at IS NULL "
          "AND member_count = 2"),
      count_memberships_(db,
                         "SELECT count(*) FROM (SELECT 1 FROM room_members "
                         "WHERE tenant_no = ? AND user_no = ? LIMIT ?)"),
      count_rooms_(db,
                   "SELECT count(*) FROM (SELECT 1 FROM room_members m "
                   "JOIN rooms r ON r.room_no = m.room_no AND r.deleted_at IS NULL "
                   "WHERE m.tenant_no = ? AND m.user_no = ? LIMIT ?)"),
      count_tenant_rooms_(db,
                          "SELECT count(*) FROM rooms WHERE tenant_no = ? AND deleted_at IS NULL"),
      insert_room_(db,
                   "INSERT INTO rooms(tenant_no, room_id, type, dm_key, name, metadata, posting, "
                   "member_count, created_by, created_at, updated_at) "
                   "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
      insert_member_(
          db,
          "INSERT INTO room_members(tenant_no, user_no, room_no, role, joined_seq, joined_at) "
          "VALUES(?, ?, ?, ?, ?, ?)"),
      select_room_by_no_(db, {"SELECT ", room_columns,
                              " FROM rooms r WHERE r.room_no = ? AND r.deleted_at IS NULL"}),
      select_room_by_id_(
          db, {"SELECT ", room_columns,
               " FROM rooms r WHERE r.tenant_no = ? AND r.room_id = ? AND r.deleted_at IS NULL"}),
      delete_room_(db,
                   "UPDATE rooms SET deleted_at = ?3 WHERE tenant_no = ?1 AND room_no = ?2 "
                   "AND deleted_at IS NULL"),
      select_members_(
          db,
          "SELECT user_no, role, joined_seq, joined_at FROM room_members WHERE room_no = ? "
          "ORDER BY user_no"),
      select_keys_(db,
                   "SELECT sender_no, key, call, body, seq, message_id, "
                   "coalesce(answered_at, created_at) FROM send_keys "
                   "WHERE room_no = ? AND created_at >= ? LIMIT ?"),
      select_cursor_(
          db,
          "SELECT m.joined_seq, d.last_ack, d.last_read, "
          "(SELECT r.member_count FROM rooms r WHERE r.room_no = m.room_no) FROM room_members m "
          "LEFT JOIN delivery_state d ON d.tenant_no = m.tenant_no AND d.user_no = m.user_no "
          "AND d.room_no = m.room_no WHERE m.tenant_no = ? AND m.user_no = ? AND m.room_no = ?"),
      upsert_cursor_(
          db,
          "INSERT INTO delivery_state(tenant_no, user_no, room_no, last_ack, last_read, "
          "updated_at) "
          "VALUES(?, ?, ?, ?, ?, ?) ON CONFLICT(tenant_no, user_no, room_no) "
          "DO UPDATE SET last_ack = max(last_ack, excluded.last_ack), last_read = max(last_read, "
          "excluded.last_read), "
          "updated_at = excluded.updated_at"),
      update_last_seen_(db,
                        "UPDATE users SET last_seen = max(coalesce(last_seen, 0), ?3) "
                        "WHERE tenant_no = ?1 AND user_id = ?2 "
                        // What an erasure has ended is told some seconds later.
                        "AND coalesce(erased_at, 0) + 60000 < ?3") {}

// ------------------------------------------------------------------------------------------------------ create_room

write_result<created_room> room_writes::create_room(const new_room& room) {
  user_no scope = backend_no;
  if (room.key) {
    if (!room.key->scope.empty()) {
      auto user = users_.intern(room.tenant, room.key->scope.view());
      if (!user) return write_failed(user.error(), item_step::first);
      scope = *user;
    }
    auto used = keys_.find(keyed_room(room, scope));
    if (!used) return used.error();
    if (*used) return existing(room_no{**used}, true);
  }
  std::optional<std::string> key;
  if (room.type == room_type::dm) {
    if (room.members.size() != 2) return refused(invalid("members", "a dm has two members"));
    key = dm_key(room.members[0].first, room.members[1].first);
    auto known = find_dm(room, *key);
    if (!known) return known.error();
    if (*known) {
      // A repeat of this call must find this room, whatever becomes of it.
      if (auto stored = store_call_key(room, scope, **known); !stored) return stored.error();
      return existing(**known, false);
    }
  }
  return insert_room(room, key, scope);
}

write_result<std::optional<room_no>> room_writes::find_dm(const new_room& room,
                                                          const std::string& key) {
  auto q = select_dm_.query(room.tenant, key);
  if (q.next()) return std::optional{q.number<room_no>(0)};
  if (q.failed()) return write_failed(db_.last_failure(), item_step::first);
  return std::optional<room_no>{};
}

write_result<void> room_writes::store_call_key(const new_room& room, user_no scope, room_no made) {
  if (!room.key) return {};
  return keys_.put(keyed_room(room, scope), made.value);
}

write_result<created_room> room_writes::existing(room_no no, bool replayed) {
  created_room out;
  auto q = select_room_by_no_.query(no);
  if (!q.next()) {
    if (q.failed()) return write_failed(db_.last_failure(), item_step::first);
    return refused(not_found("room"));  // made by this key, and deleted since
  }
  auto row = decode_room(q, users_);
  if (!row) return write_failed(row.error(), item_step::first);
  out.no = no;
  out.info = std::move(row->info);
  out.created = false;
  out.replayed = replayed;
  return out;
}

write_result<room_writes::members_of_new_room> room_writes::intern_members(const new_room& room) {
  members_of_new_room out;
  std::set<user_no> seen;
  out.reserve(room.members.size());
  for (const auto& [user, role] : room.members) {
    auto no = users_.intern(room.tenant, user.view());
    if (!no) return write_failed(no.error(), item_step::first);
    if (!seen.insert(*no).second) {
      return refused(invalid("members", "a member is named twice"));
    }
    out.emplace_back(*no, member_row{user, role, room_seq{0}, room.created_at});
  }
  return out;
}

write_result<void> room_writes::check_room_limit(const new_room& room,
                                                 const members_of_new_room& members) {
  if (room.max_rooms_per_user == 0) return {};
  const std::int64_t max = std::max<std::int64_t>(
      0, std::int64_t{room.max_rooms_per_user} - std::int64_t{room.claimed_rooms});
  for (const auto& [user, row] : members) {
    // Few are near the bound: the cheap count takes deleted rooms along, which are swept in time.
    for (auto* count : {&count_memberships_, &count_rooms_}) {
      auto q = count->query(room.tenant, user, max);
      if (!q.next()) return write_failed(db_.last_failure(), item_step::first);
      if (q.integer(0) < max) break;
      if (count == &count_rooms_) {
        return refused(
            beyond("max_rooms_per_user", conflict("a member is in too many rooms", "members")));
      }
    }
  }
  return {};
}

write_result<void> room_writes::check_tenant_limit(const new_room& room) {
  if (room.max_rooms_per_tenant == 0) return {};
  const std::int64_t max = room.max_rooms_per_tenant;
  const std::int64_t* known = room_counts_.find(room.tenant);
  if (known == nullptr) {
    auto q = count_tenant_rooms_.query(room.tenant);
    if (!q.next()) return write_failed(db_.last_failure(), item_step::first);
    known = &room_counts_.put(room.tenant, q.integer(0));
  }
  if (*known < max) return {};
  return refused(
      beyond("max_rooms_per_tenant", conflict("the tenant has too many rooms", "tenant_id")));
}

write_result<created_room> room_writes::insert_room(const new_room& room,
                                                    const std::optional<std::string>& dm_key,
                                                    user_no scope) {
  auto members = intern_members(room);
  if (!members) return members.error();
  if (auto fits = check_tenant_limit(room); !fits) return fits.error();
  if (auto fits = check_room_limit(room, *members); !fits) return fits.error();
  std::optional<user_no> creator;
  if (room.created_by) {
    auto no = users_.intern(room.tenant, room.created_by->view());
    if (!no) return write_failed(no.error(), item_step::first);
    creator = *no;
  }
  if (!insert_room_.run(room.tenant, room.id, room.type, dm_key, room.name, room.metadata,
                        room.posting, members->size(), creator, room.created_at, room.created_at)) {
    return write_failed(db_.last_failure(), item_step::first);
  }
  created_room out;
  out.no = room_no{db_.last_insert_rowid()};
  for (const auto& [no, row] : *members) {
    if (!insert_member_.run(room.tenant, no, out.no, row.role, row.joined_seq, row.joined_at)) {
      return write_failed(db_.last_failure(), item_step::later);
    }
    out.members.push_back(row);
  }
  if (auto stored = store_call_key(room, scope, out.no); !stored) return stored.error();
  if (auto told = tell(event_type::room_created, room.tenant, out.no, room.created_at); !told)
    return told.error();
  rooms_.put(out.no, room.id, {room.tenant, room_seq{0}, true});
  if (auto* count = room_counts_.find(room.tenant)) ++*count;

  room_info& info = out.info;
  info.id = room.id;
  info.type = room.type;
  info.name = room.name;
  info.metadata = room.metadata;
  info.posting = room.posting;
  info.member_count = static_cast<std::int64_t>(members->size());
  info.created_by = room.created_by;
  info.created_at = info.updated_at = room.created_at;
  if (dm_key) info.dm_members = split_dm_key(*dm_key);
  return out;
}

write_result<void> room_writes::tell(event_type type, tenant_no tenant, room_no room, utc_time at) {
  outbox_row row;
  row.tenant = tenant;
  row.lane = lane_no{room.value};
  row.type = type;
  row.at = at;
  return outbox_.add(row);
}

// ------------------------------------------------------------------------------------------------- delete and open

write_result<room_seq> room_writes::delete_room(tenant_no tenant, room_no room, utc_time at) {
  const auto end = rooms_.find(tenant, room);
  if (!end) return write_failed(end.error(), item_step::first);
  if (*end == nullptr) return refused(not_found("room"));
  const room_seq last = (*end)->last_seq;
  if (!delete_room_.run(tenant, room, at)) {
    return write_failed(db_.last_failure(), item_step::first);
  }
  if (db_.changes() != 1) return inconsistent("there was nothing to delete a room");
  if (auto told = tell(event_type::room_deleted, tenant, room, at); !told) return told.error();
  rooms_.gone(room);
  if (auto* count = room_counts_.find(tenant)) --*count;
  return last;
}

write_result<std::optional<opened_room>> room_writes::open_room(tenant_no tenant, room_id room,
                                                                utc_time keys_since) {
  opened_room out;
  {
    auto q = select_room_by_id_.query(tenant, room);
    if (!q.next()) {
      if (q.failed()) return write_failed(db_.last_failure(), item_step::first);
      return std::optional<opened_room>{};
    }
    auto row = decode_room(q, users_);
    if (!row) return write_failed(row.error(), item_step::first);
    out.no = row->no;
    out.info = std::move(row->info);
  }
  rooms_.put(out.no, room, {tenant, out.info.last_seq, true});

  out.members_complete =
      out.info.member_count <= static_cast<std::int64_t>(limits::room_members_in_memory);
  if (out.members_complete) {
    auto members = members_of(out.no);
    if (!members) return members.error();
    out.members = std::move(*members);
  }
  auto keys = keys_of(out.no, keys_since);
  if (!keys) return keys.error();
  out.keys_complete = keys->size() <= limits::room_keys_in_memory;
  if (out.keys_complete) out.keys = std::move(*keys);
  return out;
}

write_result<std::vector<member_row>> room_writes::members_of(room_no no) {
  std::vector<member_row> out;
  auto q = select_members_.query(no);
  while (q.next()) {
    auto name = users_.name(q.number<user_no>(0));
    if (!name) return write_failed(name.error(), item_step::first);
    out.push_back({**name, static_cast<member_role>(q.integer(1)), q.number<room_seq>(2), q.time(3)});
  }
  if (q.failed()) return write_failed(db_.last_failure(), item_step::first);
  return out;
}

write_result<std::vector<used_key>> room_writes::keys_of(room_no no, utc_time since) {
  std::vector<used_key> out;
  auto q = select_keys_.query(no, since, limits::room_keys_in_memory + 1);
  while (q.next()) {
    user_id sender;
    if (const auto sender_no = q.number<user_no>(0); sender_no != backend_no) {
      auto name = users_.name(sender_no);
      if (!name) return write_failed(name.error(), item_step::first);
      sender = **name;
    }
    out.push_back({.key = {.sender = std::move(sender),
                           .key = {q.bytes<16>(1)},
                           .call = static_cast<keyed_call>(q.integer(2)),
                           .body = {q.bytes<16>(3)}},
                   .seq = q.number<room_seq>(4),
                   .message = message_id{q.id(5)},
                   .created_at = q.time(6)});
  }
  if (q.failed()) return write_failed(db_.last_failure(), item_step::first);
  return out;
}

// --------------------------------------------------------------------------------------------------------- cursors

write_result<cursor_state> room_writes::move_cursor(const cursor_move& move) {
  const auto gone = [] {
    return refused(not_found("room"));
  };  // foreign, unknown, not a member: alike (SPEC 2.7)
  const auto room = rooms_.find(move.tenant, move.room);
  if (!room) return write_failed(room.error(), item_step::first);
  const auto user = users_.find(move.tenant, move.user.view());
  if (!user) return write_failed(user.error(), item_step::first);
  if (!*room || !*user) return gone();
  const auto end = rooms_.find(move.tenant, **room);
  if (!end) return write_failed(end.error(), item_step::first);
  if (*end == nullptr) return gone();

  cursor_state state;
  state.room = **room;
  {
    auto q = select_cursor_.query(move.tenant, **user, **room);
    if (!q.next()) {
      if (q.failed()) return write_failed(db_.last_failure(), item_step::first);
      return gone();
    }
    const auto joined = q.number<room_seq>(0);
    state.last_ack = std::max(joined, q.number<room_seq>(1));
    state.last_read = std::max(joined, q.number<room_seq>(2));
    state.member_count = q.integer(3);
  }
  if (move.seq > (*end)->last_seq) return refused(invalid("seq", "seq is beyond the room's last"));
  const cursor_state before = state;
  state.last_ack = std::max(state.last_ack, move.seq);
  if (move.read) state.last_read = std::max(state.last_read, move.seq);
  state.moved = state.last_ack != before.last_ack || state.last_read != before.last_read;
  if (state.moved && !upsert_cursor_.run(move.tenant, **user, **room, state.last_ack,
                                         state.last_read, clock_.now())) {
    return write_failed(db_.last_failure(), item_step::first);
  }
  return state;
}

write_result<void> room_writes::store_last_seen(tenant_no tenant, const user_id& user, utc_time at) {
  if (update_last_seen_.run(tenant, user.view(), at)) return {};
  return write_failed(db_.last_failure(), item_step::first);
}

}  // namespace parley::store
