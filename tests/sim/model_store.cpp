#include "tests/sim/model_store.hpp"

#include <algorithm>
#include <utility>

namespace parley::sim {

namespace {
store::write_error refused(error why) { return {store::failure_scope::item, std::move(why)}; }
store::write_error failed(store::failure_scope scope) {
  return {scope, unavailable("the model's disk says no", std::chrono::milliseconds{100})};
}
error unreadable() {
  return unavailable("the model's disk cannot be read", std::chrono::milliseconds{100});
}
}  // namespace

const stored_room* snapshot::find(const room_key& key) const {
  const auto it = by_id.find(key);
  return it == by_id.end() ? nullptr : rooms.at(it->second).get();
}
const stored_room* snapshot::live(const room_key& key) const {
  const auto* room = find(key);
  return room == nullptr || room->deleted ? nullptr : room;
}

const stored_entry& stored_room::subject(room_seq seq) const {
  const auto& stored = at(seq);
  if (const auto* edit = std::get_if<message_edited_body>(&stored.e.body))
    return at(edit->message_seq);
  return stored;
}

std::size_t stored_room::changes_seen(room_seq seq, commit_no snapshot) const {
  const auto& changes = subject(seq).changes;
  return static_cast<std::size_t>(std::count_if(
      changes.begin(), changes.end(), [&](const message_change& c) { return c.commit <= snapshot; }));
}

entry stored_room::shown(room_seq seq, std::size_t changes) const {
  auto out = at(seq).e;
  if (changes == 0) return out;
  const auto& now = subject(seq).changes.at(changes - 1);
  if (auto* message = std::get_if<message_body>(&out.body)) {
    message->content = now.content;
    message->meta = now.meta;
    message->edited_at = now.edited_at;
    message->deleted_at = now.deleted_at;
  } else if (auto* edit = std::get_if<message_edited_body>(&out.body)) {
    edit->content = now.content;
    edit->meta = now.meta;
  }
  return out;
}

std::optional<store::used_key> stored_room::used(const user_id& sender, const hash128& key) const {
  for (std::int64_t seq = 1; seq <= info.last_seq.value; ++seq) {
    const auto& stored = at(room_seq{seq});
    if (stored.key && stored.key->sender == sender && stored.key->key == key)
      return store::used_key{*stored.key, stored.e.seq, stored.e.message, stored.e.created_at};
  }
  for (const auto& k : only_keys) {
    if (k.key.sender == sender && k.key.key == key) return k;
  }
  return std::nullopt;
}

// ---- transactions -------------------------------------------------------------------------------------------------

store::write_result<void> model_store::begin() {
  expect(!work_, "the writer begins within a transaction");
  if (dice_.permille(faults.begin)) return failed(store::failure_scope::batch);
  work_ = std::make_shared<snapshot>(*committed_);
  ++work_->commit;
  return {};
}

stored_room& model_store::touch(room_no room) {
  auto& mine = touched_[room];
  if (!mine) {
    mine = std::make_shared<stored_room>(*work_->rooms.at(room));
    work_->rooms.at(room) = mine;
  }
  return *mine;
}

store::write_result<commit_no> model_store::commit() {
  expect(work_ != nullptr, "the writer commits without a transaction");
  if (faults.full) {
    rollback();
    return failed(store::failure_scope::full);
  }
  if (dice_.permille(faults.batch)) {
    rollback();
    return failed(store::failure_scope::batch);
  }
  for (const auto& [no, room] : touched_) {
    const auto owners = std::count_if(room->members.begin(), room->members.end(), [](const auto& m) {
      return m.second.role == member_role::owner;
    });
    expect(owners <= 1, "SPEC 3 a room has two owners in a commit");
  }
  const bool fatal = dice_.permille(faults.fatal);
  if (fatal && dice_.permille(500)) {
    rollback();
    return failed(store::failure_scope::fatal);
  }
  touched_.clear();
  committed_ = std::move(work_);
  work_.reset();
  if (fatal) return failed(store::failure_scope::fatal);
  return committed_->commit;
}

void model_store::rollback() {
  for (auto& [no, room] : touched_) {
    const auto before = committed_->rooms.find(no);
    const auto size = before == committed_->rooms.end() ? 0 : before->second->info.last_seq.value;
    for (auto at = static_cast<std::size_t>(size); at < room->log->size(); ++at) {
      // What the changes that are undone have left in their messages.
      const auto& body = (*room->log)[at].e.body;
      room_seq target{0};
      if (const auto* edit = std::get_if<message_edited_body>(&body)) target = edit->message_seq;
      if (const auto* gone = std::get_if<message_deleted_body>(&body)) target = gone->message_seq;
      if (target.value == 0) continue;
      auto& changes = (*room->log)[static_cast<std::size_t>(target.value - 1)].changes;
      std::erase_if(changes, [&](const message_change& c) { return c.commit > committed_->commit; });
    }
    room->log->resize(static_cast<std::size_t>(size));
  }
  touched_.clear();
  work_.reset();
}

void model_store::crash() { rollback(); }

store::write_result<void> model_store::probe() {
  if (faults.full) return failed(store::failure_scope::full);
  return {};
}

void model_store::retain(room_no room, room_seq first_seq) {
  expect(begin().has_value(), "retention begins a transaction");
  auto& r = touch(room);
  r.info.first_seq = std::max(r.info.first_seq, std::min(first_seq, r.info.last_seq));
  touched_.clear();
  committed_ = std::move(work_);
  work_.reset();
}

// ---- writes ---------------------------------------------------------------------------------------------------------

void model_store::apply(stored_room& room, const entry& e) {
  if (const auto* joined = std::get_if<member_joined_body>(&e.body)) {
    for (const auto& user : joined->users) {
      const bool fresh =
          room.members.emplace(user, store::member_row{user, joined->role, e.seq, e.created_at}).second;
      expect(fresh, "a member joins a second time");
      room.left.erase(user);
    }
  } else if (const auto* left = std::get_if<member_left_body>(&e.body)) {
    for (const auto& user : left->users) {
      expect(room.members.erase(user) == 1, "one who is no member leaves");
      room.left[user] = e.seq;
    }
  } else if (const auto* updated = std::get_if<member_updated_body>(&e.body)) {
    const auto it = room.members.find(updated->user);
    expect(it != room.members.end(), "the role of one who is no member changes");
    if (e.actor) {
      const auto by = room.members.find(*e.actor);
      expect(by != room.members.end() &&
                 (by->second.role == member_role::owner ||
                  (by->second.role > it->second.role && by->second.role > updated->role)),
             "SPEC 3 a role is changed by one who may not");
    }
    it->second.role = updated->role;
  } else if (const auto* changed = std::get_if<room_updated_body>(&e.body)) {
    if (e.actor) {
      const auto by = room.members.find(*e.actor);
      expect(by != room.members.end() && by->second.role != member_role::member,
             "SPEC 3 a room is changed by one who may not");
    }
    expect(changed->name || changed->metadata || changed->posting, "a change of nothing");
    if (changed->name) {
      expect(room.info.name != *changed->name, "SPEC 1 a name is changed to what it was");
      room.info.name = *changed->name;
    }
    if (changed->metadata) room.info.metadata = *changed->metadata;
    if (changed->posting) room.info.posting = *changed->posting;
    room.info.updated_at = e.created_at;
  } else if (e.kind() == entry_kind::message_edited || e.kind() == entry_kind::message_deleted) {
    change_message(room, e);
  }
  room.info.member_count = static_cast<std::int64_t>(room.members.size());
}

void model_store::change_message(stored_room& room, const entry& e) {
  const auto* edit = std::get_if<message_edited_body>(&e.body);
  const auto* gone = std::get_if<message_deleted_body>(&e.body);
  const auto seq = edit != nullptr ? edit->message_seq : gone->message_seq;
  expect(seq >= room_seq{1} && seq < e.seq, "a change of a message that is not there");
  auto& target = (*room.log)[static_cast<std::size_t>(seq.value - 1)];
  const auto* message = std::get_if<message_body>(&target.e.body);
  expect(message != nullptr && target.e.message == e.message, "a change of what is no message");
  if (e.actor) {
    const auto by = room.members.find(*e.actor);
    expect(by != room.members.end(), "SPEC 3 a message is changed by one who is no member");
    const bool own = message->sender == *e.actor;
    expect(own || (gone != nullptr && by->second.role != member_role::member),
           "SPEC 3 a message is changed by one who may not");
  }
  const bool deleted = !target.changes.empty() && target.changes.back().deleted_at.has_value();
  expect(!deleted, "SPEC 4 a deleted message is changed");
  message_change change{work_->commit, {}, {}, {}, {}};
  if (!target.changes.empty()) change.edited_at = target.changes.back().edited_at;
  if (edit != nullptr) {
    const auto now = room.shown(seq, target.changes.size());
    const auto& before = std::get<message_body>(now.body);
    expect(before.content != edit->content || before.meta != edit->meta,
           "SPEC 4 an edit to the same content takes a seq");
    change.content = edit->content;
    change.meta = edit->meta;
    change.edited_at = edit->edited_at;
  } else {
    change.deleted_at = gone->deleted_at;
  }
  target.changes.push_back(std::move(change));
}

store::write_result<log_id> model_store::append(const store::append_row& row) {
  expect(work_ != nullptr, "an append outside a transaction");
  const auto it = work_->rooms.find(row.room);
  expect(it != work_->rooms.end() && it->second->tenant == row.tenant,
         "I8 an append in a foreign room");
  expect(!it->second->deleted, "I13 an append in a deleted room");
  if (row.only_key) return append_only_key(row);
  expect(row.e.seq == it->second->info.last_seq.next(),
         "I2 an append that does not continue the log");
  if (dice_.permille(faults.item)) return refused(unreadable());
  auto& room = touch(row.room);
  if (row.key)
    expect(!room.used(row.key->sender, row.key->key), "I5 a key is stored a second time");
  apply(room, row.e);
  room.log->push_back({row.e, row.key, work_->commit});
  room.info.last_seq = row.e.seq;
  room.latest = ++work_->last_log_id;
  return log_id{work_->last_log_id};
}

/// Of a message that is there, and is already what the call wanted it to be.
store::write_result<log_id> model_store::append_only_key(const store::append_row& row) {
  if (dice_.permille(faults.item)) return refused(unreadable());
  auto& room = touch(row.room);
  expect(row.key && row.key->call != store::keyed_call::send, "I5 a send stores its key alone");
  expect(!room.used(row.key->sender, row.key->key), "I5 a key is stored a second time");
  expect(row.e.seq >= room_seq{1} && row.e.seq <= room.info.last_seq,
         "I5 a key alone is of a message that is not there");
  const auto message = room.shown_at(row.e.seq, work_->commit);
  const auto* body = std::get_if<message_body>(&message.body);
  expect(
      body != nullptr && message.message == row.e.message && message.created_at == row.e.created_at,
      "I5 a key alone is of what is no message");
  expect(row.key->call != store::keyed_call::remove || body->deleted_at.has_value(),
         "SPEC 2.4 a delete that is still to be done is stored as done");
  room.only_keys.push_back({*row.key, row.e.seq, row.e.message, row.e.created_at});
  return log_id{};
}

store::write_result<store::created_room> model_store::create_room(const store::new_room& room) {
  expect(work_ != nullptr, "a room is created outside a transaction");
  store::created_room out;
  if (room.key) {
    const std::tuple key{room.tenant, room.key->scope, room.key->key};
    if (const auto used = work_->call_keys.find(key); used != work_->call_keys.end()) {
      if (used->second.first != room.key->body) {
        return refused(error{error_code::conflict, "this key was used for another call"});
      }
      out.no = used->second.second;
      out.info = work_->rooms.at(out.no)->info;
      out.replayed = true;
      return out;
    }
  }
  std::string pair;
  if (room.type == room_type::dm) {
    pair = dm_key(room.members.at(0).first, room.members.at(1).first);
    if (const auto known = work_->dms.find({room.tenant, pair}); known != work_->dms.end()) {
      out.no = known->second;
      out.info = work_->rooms.at(out.no)->info;
      out.created = false;
      return out;
    }
  }
  auto fresh = std::make_shared<stored_room>();
  fresh->no = room_no{++work_->last_room_no};
  fresh->tenant = room.tenant;
  fresh->latest = ++work_->last_log_id;
  auto& info = fresh->info;
  info.id = room.id;
  info.type = room.type;
  info.name = room.name;
  info.metadata = room.metadata;
  info.posting = room.posting;
  info.created_by = room.created_by;
  info.created_at = info.updated_at = room.created_at;
  for (const auto& [user, role] : room.members) {
    fresh->members.emplace(user, store::member_row{user, role, room_seq{0}, room.created_at});
    out.members.push_back(fresh->members.at(user));
  }
  info.member_count = static_cast<std::int64_t>(fresh->members.size());
  if (room.type == room_type::dm) {
    info.dm_members = {fresh->members.begin()->first, fresh->members.rbegin()->first};
    work_->dms.emplace(std::pair{room.tenant, pair}, fresh->no);
  }
  if (room.key) {
    work_->call_keys.emplace(std::tuple{room.tenant, room.key->scope, room.key->key},
                             std::pair{room.key->body, fresh->no});
  }
  work_->by_id.emplace(room_key{room.tenant, room.id}, fresh->no);
  work_->rooms.emplace(fresh->no, fresh);
  touched_.emplace(fresh->no, fresh);
  out.no = fresh->no;
  out.info = info;
  return out;
}

store::write_result<room_seq> model_store::delete_room(tenant_no tenant, room_no room, utc_time) {
  const auto it = work_->rooms.find(room);
  expect(it != work_->rooms.end() && it->second->tenant == tenant, "I8 a foreign room is deleted");
  expect(!it->second->deleted, "I13 a room is deleted twice");
  auto& r = touch(room);
  r.deleted = true;
  if (r.info.dm_members) {
    work_->dms.erase({tenant, dm_key(r.info.dm_members->first, r.info.dm_members->second)});
  }
  return r.info.last_seq;
}

store::write_result<tenant_no> model_store::create_tenant(const store::new_tenant&) {
  throw violation{"nobody creates tenants here"};
}
store::write_result<store::tenant_row> model_store::change_tenant(const store::tenant_change&) {
  throw violation{"nobody changes tenants here"};
}
store::write_result<void> model_store::store_key_used(tenant_no, const key_id&, utc_time) {
  throw violation{"nobody uses keys here"};
}

store::write_result<store::cursor_state> model_store::move_cursor(const store::cursor_move& move) {
  expect(work_ != nullptr, "a cursor is moved outside a transaction");
  const auto* known = work_->live({move.tenant, move.room});
  if (known == nullptr || !known->members.contains(move.user)) return refused(not_found("room"));
  if (move.seq > known->info.last_seq) return refused(invalid("seq", "beyond the room's last"));
  auto& room = touch(known->no);
  const auto joined = room.members.at(move.user).joined_seq;
  auto& cursor = room.cursors[move.user];
  cursor.room = room.no;
  cursor.last_ack = std::max(cursor.last_ack, joined);
  cursor.last_read = std::max(cursor.last_read, joined);
  const auto before = cursor;
  cursor.last_ack = std::max(cursor.last_ack, move.seq);
  if (move.read) cursor.last_read = std::max(cursor.last_read, move.seq);
  auto out = cursor;
  out.moved = cursor.last_ack != before.last_ack || cursor.last_read != before.last_read;
  out.member_count = static_cast<std::int64_t>(room.members.size());
  return out;
}

store::write_result<void> model_store::store_last_seen(tenant_no, const user_id&, utc_time) {
  expect(work_ != nullptr, "a user's last_seen is stored outside a transaction");
  return {};
}

store::write_result<std::optional<store::opened_room>> model_store::open_room(tenant_no tenant,
                                                                              room_id room,
                                                                              utc_time) {
  if (dice_.permille(faults.open)) return failed(store::failure_scope::batch);
  const auto* r = seen().live({tenant, room});
  if (r == nullptr) return std::optional<store::opened_room>{};
  store::opened_room out;
  out.no = r->no;
  out.info = r->info;
  out.members_complete = r->members.size() <= bounds_.members_in_memory;
  if (out.members_complete) {
    for (const auto& [user, row] : r->members) out.members.push_back(row);
  }
  for (std::int64_t seq = 1; seq <= r->info.last_seq.value; ++seq) {
    const auto& stored = r->at(room_seq{seq});
    if (stored.key)
      out.keys.push_back({*stored.key, stored.e.seq, stored.e.message, stored.e.created_at});
  }
  out.keys.insert(out.keys.end(), r->only_keys.begin(), r->only_keys.end());
  out.keys_complete = out.keys.size() <= bounds_.keys_in_memory;
  if (!out.keys_complete) out.keys.clear();
  return std::optional{std::move(out)};
}

// ---- reads ----------------------------------------------------------------------------------------------------------

std::optional<store::room_position> model_reader::position(const stored_room& room,
                                                           const user_id& user) const {
  const auto member = room.members.find(user);
  if (member == room.members.end()) return std::nullopt;
  store::room_position out{room.no, room.info.id, room.info.first_seq, room.info.last_seq,
                           {},      {},           member->second.role};
  if (const auto cursor = room.cursors.find(user); cursor != room.cursors.end()) {
    out.last_ack = cursor->second.last_ack;
    out.last_read = cursor->second.last_read;
  }
  out.last_ack = std::max(out.last_ack, member->second.joined_seq);
  out.last_read = std::max(out.last_read, member->second.joined_seq);
  return out;
}

result<store::positions> model_reader::positions(tenant_no tenant, const user_id& user) {
  store::positions out;
  out.snapshot = snapshot_->commit;
  std::vector<std::pair<std::int64_t, store::room_position>> found;
  for (const auto& [no, room] : snapshot_->rooms) {
    if (room->deleted || room->tenant != tenant) continue;
    if (auto p = position(*room, user)) found.emplace_back(-room->latest, *p);
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto& [order, p] : found) out.rooms.push_back(p);
  return out;
}

result<store::checked_rooms> model_reader::check(tenant_no tenant, const user_id& user,
                                                 const std::vector<room_id>& rooms) {
  store::checked_rooms out;
  out.snapshot = snapshot_->commit;
  for (const auto& id : rooms) {
    const auto* room = snapshot_->live({tenant, id});
    out.rooms.push_back(room == nullptr ? std::nullopt : position(*room, user));
  }
  return out;
}

result<store::log_page> model_reader::page(room_no room, room_seq after, room_seq to,
                                           std::size_t max_entries, std::size_t max_bytes) {
  const auto it = snapshot_->rooms.find(room);
  store::log_page out;
  out.snapshot = snapshot_->commit;
  if (it == snapshot_->rooms.end() || it->second->deleted) {
    out.room_exists = false;
    return out;
  }
  const auto& r = *it->second;
  out.first_seq = r.info.first_seq;
  out.last_seq = r.info.last_seq;
  std::size_t bytes = 0;
  for (auto seq = std::max(after.next(), out.first_seq); seq <= std::min(to, out.last_seq); ++seq) {
    auto e = r.shown_at(seq, snapshot_->commit);
    const auto* message = std::get_if<message_body>(&e.body);
    const auto size = 250 + (message == nullptr ? 0 : message->content.size());
    if (!out.entries.empty() && (out.entries.size() >= max_entries || bytes + size > max_bytes)) {
      out.complete = false;
      break;
    }
    bytes += size;
    out.entries.push_back(std::move(e));
  }
  return out;
}

result<std::optional<store::room_view>> model_reader::room(tenant_no tenant, room_id room,
                                                           const std::optional<user_id>& self) {
  const auto* r = snapshot_->live({tenant, room});
  if (r == nullptr) return std::optional<store::room_view>{};
  store::room_view out{r->no, r->info, {}};
  if (self) {
    if (const auto it = r->members.find(*self); it != r->members.end()) out.self = it->second;
  }
  return std::optional{std::move(out)};
}

result<bool> model_reader::room_exists(tenant_no tenant, room_id room) {
  return snapshot_->live({tenant, room}) != nullptr;
}

result<store::sender_lookup> model_reader::look_up(room_no room, const user_id& user,
                                                   const std::optional<hash128>& key, utc_time) {
  store::sender_lookup out;
  const auto& r = *snapshot_->rooms.at(room);
  if (const auto it = r.members.find(user); it != r.members.end()) out.member = it->second;
  if (key) out.key = r.used(user, *key);
  return out;
}

result<std::vector<store::member_row>> model_reader::owners(room_no room) {
  std::vector<store::member_row> out;
  for (const auto& [user, row] : snapshot_->rooms.at(room)->members) {
    if (row.role == member_role::owner) out.push_back(row);
  }
  return out;
}

result<std::optional<entry>> model_reader::message(room_no room, message_id message) {
  const auto& r = *snapshot_->rooms.at(room);
  for (std::int64_t seq = 1; seq <= r.info.last_seq.value; ++seq) {
    const auto& e = r.at(room_seq{seq}).e;
    if (e.kind() == entry_kind::message && e.message == message)
      return std::optional{r.shown_at(room_seq{seq}, snapshot_->commit)};
  }
  return std::optional<entry>{};
}

result<bool> model_reader::is_message(room_no room, message_id message) {
  const auto& r = *snapshot_->rooms.at(room);
  for (std::int64_t seq = 1; seq <= r.info.last_seq.value; ++seq) {
    const auto& e = r.at(room_seq{seq}).e;
    if (e.kind() == entry_kind::message && e.message == message) return true;
  }
  return false;
}

result<store::audience> model_reader::audience(tenant_no tenant, const user_id& user,
                                               std::int64_t max_members, std::size_t) {
  store::audience out;
  for (const auto type : {room_type::dm, room_type::group}) {
    for (const auto& [no, room] : snapshot_->rooms) {
      if (!room->deleted && room->tenant == tenant && room->info.type == type &&
          room->members.contains(user) &&
          static_cast<std::int64_t>(room->members.size()) <= max_members)
        out.rooms.push_back(room->info.id);
    }
    if (type == room_type::dm) out.dms = out.rooms.size();
  }
  return out;
}

result<store::presence_list> model_reader::presence(tenant_no, const std::optional<user_id>&,
                                                    const std::vector<user_id>&) {
  return unreadable();
}
result<store::room_list> model_reader::rooms_of(tenant_no, const user_id&, std::size_t,
                                                std::string_view, std::size_t) {
  return unreadable();
}
result<store::room_list> model_reader::rooms_of_tenant(tenant_no, std::size_t, std::string_view,
                                                       std::size_t) {
  return unreadable();
}
result<store::member_list> model_reader::members(room_no, std::size_t, std::string_view, std::size_t) {
  return unreadable();
}
result<store::history_page> model_reader::history(room_no, store::page_position, std::size_t, bool,
                                                  std::size_t) {
  return unreadable();
}
result<std::optional<store::tenant_row>> model_reader::tenant_by_api_key(const sha256_digest&) {
  return unreadable();
}
result<std::optional<store::tenant_row>> model_reader::tenant(const tenant_id&) {
  return unreadable();
}
result<store::tenant_list> model_reader::tenants(std::size_t, std::string_view) {
  return unreadable();
}
result<store::tenant_usage_list> model_reader::tenant_usage(std::size_t, std::string_view,
                                                            std::int64_t) {
  return unreadable();
}
result<std::optional<store::tenant_row>> model_reader::tenant_by_key(const key_id&) {
  return unreadable();
}
result<std::optional<utc_time>> model_reader::revoked_before(tenant_no, const user_id&) {
  return unreadable();
}
result<std::optional<store::job_row>> model_reader::job(std::string_view) { return unreadable(); }
result<store::job_list> model_reader::jobs(std::size_t, std::string_view) { return unreadable(); }
result<std::optional<store::user_export_page>> model_reader::export_user(tenant_no, const user_id&,
                                                                         std::string_view,
                                                                         std::size_t, std::size_t) {
  return unreadable();
}

}  // namespace parley::sim
