#include "store/log_appender.hpp"

#include "protocol/planted.hpp"
#include "store/entry_rows.hpp"
#include "store/write_failure.hpp"

namespace parley::store {
namespace {

std::optional<std::string_view> null_if_empty(std::string_view text) {
  if (text.empty()) return std::nullopt;
  return text;
}

bool is_about_a_message(entry_kind kind) { return kind <= entry_kind::message_deleted; }

}  // namespace

log_appender::log_appender(connection& db, user_names& users, room_ends& rooms, log_id next,
                           std::chrono::milliseconds idempotency_ttl)
    : db_(db),
      users_(users),
      rooms_(rooms),
      next_id_(next),
      idempotency_ttl_(idempotency_ttl),
      insert_message_(db,
                      "INSERT INTO messages(id, tenant_no, room_no, seq, kind, message_id, "
                      "target_seq, actor_no, sender_no, content, meta, reply_to, client_msg_id, "
                      "body, created_at, edited_at, deleted_at) "
                      "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
      insert_index_(db,
                    "INSERT INTO room_log(room_no, seq, id, kind, sender_no, deleted) "
                    "VALUES(?, ?, ?, ?, ?, ?)"),
      // A key that is past its time and not yet swept is as good as none.
      insert_key_(db,
                  "INSERT INTO send_keys(room_no, sender_no, key, call, body, seq, message_id, "
                  "created_at, answered_at) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?) "
                  "ON CONFLICT(room_no, sender_no, key) "
                  "DO UPDATE SET call = excluded.call, body = excluded.body, seq = excluded.seq, "
                  "message_id = excluded.message_id, created_at = excluded.created_at, "
                  "answered_at = excluded.answered_at WHERE created_at < ?"),
      select_target_(db,
                     "SELECT l.id, l.kind, l.deleted, m.message_id FROM room_log l "
                     "JOIN messages m ON m.id = l.id WHERE l.room_no = ? AND l.seq = ?"),
      edit_(db, "UPDATE messages SET content = ?2, meta = ?3, edited_at = ?4 WHERE id = ?1"),
      remove_content_(
          db, "UPDATE messages SET content = '', meta = NULL, deleted_at = ?2 WHERE id = ?1"),
      mark_deleted_(db, "UPDATE room_log SET deleted = 1 WHERE room_no = ? AND seq = ?"),
      insert_member_(
          db,
          "INSERT INTO room_members(tenant_no, user_no, room_no, role, joined_seq, joined_at) "
          "VALUES(?, ?, ?, ?, ?, ?)"),
      delete_member_(
          db, "DELETE FROM room_members WHERE tenant_no = ? AND user_no = ? AND room_no = ?"),
      delete_cursor_(
          db, "DELETE FROM delivery_state WHERE tenant_no = ? AND user_no = ? AND room_no = ?"),
      update_role_(db,
                   "UPDATE room_members SET role = ?4 WHERE tenant_no = ?1 AND user_no = ?2 "
                   "AND room_no = ?3"),
      count_members_(db, "UPDATE rooms SET member_count = member_count + ? WHERE room_no = ?"),
      update_name_(db, "UPDATE rooms SET name = ?2, updated_at = ?3 WHERE room_no = ?1"),
      update_metadata_(db, "UPDATE rooms SET metadata = ?2, updated_at = ?3 WHERE room_no = ?1"),
      update_posting_(db, "UPDATE rooms SET posting = ?2, updated_at = ?3 WHERE room_no = ?1") {}

write_result<log_id> log_appender::append(const append_row& row, commit_chain& chain) {
  const entry& e = row.e;
  const auto found = rooms_.find(row.tenant, row.room);
  if (!found) return write_failed(found.error(), item_step::first);
  room_end* const end = *found;  // stays good: nothing below looks for another room
  if (end == nullptr) return refused(not_found("room"));
  if (row.only_key) return append_only_key(row, *end);
  if (e.seq != end->last_seq.next()) {
    return refused({.code = error_code::internal, .message = "the entry is not the room's next"});
  }
  const auto filled = columns_of(row);
  if (!filled) return filled.error();
  const columns& c = *filled;
  std::optional<user_no> actor;
  if (e.actor) {
    auto no = intern(row.tenant, *e.actor);
    if (!no) return no.error();
    actor = *no;
  }

  // First what may be refused: the key if there is one, else the message's id.
  if (row.key) {
    if (auto stored = insert_key(row); !stored) return stored.error();
  }
  const log_id id = next_id_;
  const entry_kind kind = e.kind();
  std::optional<message_id> message;
  if (is_about_a_message(kind)) message = e.message;
  if (!insert_message_.run(id, row.tenant, row.room, e.seq, kind, message, c.target_seq, actor,
                           c.sender, c.content, c.meta, c.reply_to, null_if_empty(c.client_msg_id),
                           null_if_empty(c.body), e.created_at, c.edited_at, c.deleted_at)) {
    return write_failed(db_.last_failure(), row.key ? item_step::later : item_step::first);
  }
  const bool deleted = kind == entry_kind::message && c.deleted_at.has_value();
  if (!insert_index_.run(row.room, e.seq, id, kind, c.sender, deleted)) {
    return write_failed(db_.last_failure(), item_step::later);
  }
  if (auto done = take_effect(row, c); !done) return done.error();

  end->last_seq = e.seq;
  chain.add(id, row.room, e.seq, kind, message.value_or(message_id{}), e.created_at);
  next_id_ = id.next();
  return id;
}

write_result<log_id> log_appender::append_only_key(const append_row& row, const room_end& end) {
  if (!row.key || row.e.seq > end.last_seq)
    return refused({.code = error_code::internal, .message = "the key is of no call that was"});
  if (auto stored = insert_key(row); !stored) return stored.error();
  return log_id{};
}

// ------------------------------------------------------------------------------------------------ columns of a kind

write_result<log_appender::columns> log_appender::columns_of(const append_row& row) {
  columns c;
  auto filled = std::visit([&](const auto& body) { return fill(row, body, c); }, row.e.body);
  if (!filled) return filled.error();
  return c;
}

write_result<void> log_appender::fill(const append_row& row, const message_body& b, columns& c) {
  auto sender = intern(row.tenant, b.sender);
  if (!sender) return sender.error();
  c.sender = *sender;
  c.content = b.content;
  c.meta = b.meta;
  c.reply_to = b.reply_to;
  c.client_msg_id = b.client_msg_id;
  c.edited_at = b.edited_at;
  c.deleted_at = b.deleted_at;
  return {};
}

// Neither content nor meta of an edit is kept in its entry: it is served with those of the message, as they are now, and
// after a delete there is nothing left to find.
write_result<void> log_appender::fill(const append_row& row, const message_edited_body& b,
                                      columns& c) {
  auto target = target_of(row, b.message_seq);
  if (!target) return target.error();
  c.target = *target;
  c.target_seq = b.message_seq;
  c.edited_at = b.edited_at;
  return {};
}

write_result<void> log_appender::fill(const append_row& row, const message_deleted_body& b,
                                      columns& c) {
  auto target = target_of(row, b.message_seq);
  if (!target) return target.error();
  c.target = *target;
  c.target_seq = b.message_seq;
  c.deleted_at = b.deleted_at;
  return {};
}

write_result<void> log_appender::fill(const append_row& row, const member_joined_body& b, columns& c) {
  auto users = intern(row.tenant, b.users);
  if (!users) return users.error();
  c.members = std::move(*users);
  c.body = members_body(c.members, b.role);
  return {};
}

write_result<void> log_appender::fill(const append_row& row, const member_left_body& b, columns& c) {
  auto users = intern(row.tenant, b.users);
  if (!users) return users.error();
  c.members = std::move(*users);
  c.body = members_body(c.members, b.reason);
  return {};
}

write_result<void> log_appender::fill(const append_row& row, const member_updated_body& b,
                                      columns& c) {
  auto user = intern(row.tenant, b.user);
  if (!user) return user.error();
  c.members = {*user};
  c.body = members_body(c.members, b.role);
  return {};
}

write_result<void> log_appender::fill(const append_row&, const room_updated_body& b, columns& c) {
  c.body = room_updated_body_text(b);
  if (b.name && *b.name) c.content = **b.name;
  if (b.metadata) c.meta = *b.metadata;
  return {};
}

write_result<log_id> log_appender::target_of(const append_row& row, room_seq seq) {
  auto q = select_target_.query(row.room, seq);
  const bool there = q.next();
  if (q.failed()) return write_failed(db_.last_failure(), item_step::first);
  const bool is_it = there && q.integer(1) == static_cast<std::int64_t>(entry_kind::message) &&
                     message_id{q.id(3)} == row.e.message;
  if (!is_it) return refused(not_found("message"));
  if (q.integer(2) != 0) {
    return refused({.code = error_code::conflict, .message = "the message is deleted"});
  }
  return q.number<log_id>(0);
}

write_result<user_no> log_appender::intern(tenant_no tenant, const user_id& user) {
  auto no = users_.intern(tenant, user.view());
  // A row in `users` alone means nothing to anybody: an item that fails after it is still not there.
  if (!no) return write_failed(no.error(), item_step::first);
  return *no;
}

write_result<std::vector<user_no>> log_appender::intern(tenant_no tenant,
                                                        const std::vector<user_id>& users) {
  std::vector<user_no> out;
  out.reserve(users.size());
  for (const user_id& user : users) {
    auto no = intern(tenant, user);
    if (!no) return no.error();
    out.push_back(*no);
  }
  return out;
}

// ------------------------------------------------------------------------------------------------------------- keys

write_result<void> log_appender::insert_key(const append_row& row) {
  user_no sender = backend_no;
  if (!row.key->sender.value.empty()) {
    auto known = intern(row.tenant, row.key->sender);
    if (!known) return known.error();
    sender = *known;
  }
  key_row k{row.room, sender, *row.key, row.e.seq, row.e.message, row.e.created_at, {}};
  if (row.only_key) {
    k.answered_at = k.created_at;
    k.created_at = *row.only_key;
  }
  ++keys_count_;
  if (planted_defect("key_outside_transaction")) {
    held_back_.push_back(k);
    return {};
  }
  if (!insert_key(k)) return write_failed(db_.last_failure(), item_step::first);
  if (db_.changes() == 0) {
    return refused({.code = error_code::conflict,
                    .message = "the key was used before",
                    .field = "client_msg_id"});
  }
  return {};
}

bool log_appender::insert_key(const key_row& k) {
  return insert_key_.run(k.room, k.sender, k.key.key, k.key.call, k.key.body, k.seq, k.message,
                         k.created_at, k.answered_at, k.created_at - idempotency_ttl_);
}

bool log_appender::write_held_back_keys() {
  for (const key_row& k : held_back_) {
    if (!insert_key(k)) return false;
  }
  held_back_.clear();
  return true;
}

// ---------------------------------------------------------------------------------------------------------- effects

write_result<void> log_appender::take_effect(const append_row& row, const columns& c) {
  const entry& e = row.e;
  switch (e.kind()) {
    case entry_kind::message:
      return {};
    case entry_kind::message_edited: {
      const auto& b = std::get<message_edited_body>(e.body);
      return later_one_row(edit_.run(c.target, b.content, b.meta, b.edited_at), "edit a message");
    }
    case entry_kind::message_deleted: {
      const auto& b = std::get<message_deleted_body>(e.body);
      auto done = later_one_row(remove_content_.run(c.target, b.deleted_at), "delete a message");
      if (!done) return done;
      return later_one_row(mark_deleted_.run(row.room, b.message_seq), "mark a deleted message");
    }
    case entry_kind::member_joined:
      return join(row, std::get<member_joined_body>(e.body), c);
    case entry_kind::member_left:
      return leave(row, c);
    case entry_kind::member_updated:
      return change_role(row, std::get<member_updated_body>(e.body), c);
    case entry_kind::room_updated:
      return change_room(row, std::get<room_updated_body>(e.body));
  }
  return inconsistent("an entry of an unknown kind");
}

write_result<void> log_appender::join(const append_row& row, const member_joined_body& b,
                                      const columns& c) {
  for (const user_no user : c.members) {
    auto done =
        later(insert_member_.run(row.tenant, user, row.room, b.role, row.e.seq, row.e.created_at));
    if (!done) return done;
  }
  return later(count_members_.run(c.members.size(), row.room));
}

write_result<void> log_appender::leave(const append_row& row, const columns& c) {
  for (const user_no user : c.members) {
    auto done = later_one_row(delete_member_.run(row.tenant, user, row.room), "remove a member");
    if (!done) return done;
    // A later membership starts at its own member.joined, so the old cursor would mean nothing.
    done = later(delete_cursor_.run(row.tenant, user, row.room));
    if (!done) return done;
  }
  return later(count_members_.run(-static_cast<std::int64_t>(c.members.size()), row.room));
}

write_result<void> log_appender::change_role(const append_row& row, const member_updated_body& b,
                                             const columns& c) {
  return later_one_row(update_role_.run(row.tenant, c.members.front(), row.room, b.role),
                       "change a role");
}

write_result<void> log_appender::change_room(const append_row& row, const room_updated_body& b) {
  const utc_time at = row.e.created_at;
  if (b.name) {
    if (auto done = later(update_name_.run(row.room, *b.name, at)); !done) return done;
  }
  if (b.metadata) {
    if (auto done = later(update_metadata_.run(row.room, *b.metadata, at)); !done) return done;
  }
  if (b.posting) {
    if (auto done = later(update_posting_.run(row.room, *b.posting, at)); !done) return done;
  }
  return {};
}

write_result<void> log_appender::later(bool done) {
  if (!done) return write_failed(db_.last_failure(), item_step::later);
  return {};
}

write_result<void> log_appender::later_one_row(bool done, const char* what) {
  if (!done) return write_failed(db_.last_failure(), item_step::later);
  if (db_.changes() != 1) return inconsistent(std::string{"there was nothing to "} + what);
  return {};
}

}  // namespace parley::store
