#include "store/notification_writes.hpp"

#include "store/write_failure.hpp"

#include <algorithm>

namespace parley::store {
namespace {

error conflict(std::string message, std::string field) {
  return {.code = error_code::conflict, .message = std::move(message), .field = std::move(field)};
}

keyed keyed_notification(const new_notification& n) {
  return {.tenant = n.tenant,
          .scope = backend_no,
          .call = keyed_call::notify,
          .key = n.key->key,
          .body = n.key->body,
          .at = n.created_at};
}

}  // namespace

notification_writes::notification_writes(connection& db, user_names& users, room_ends& rooms,
                                         call_keys& keys, const clock& now)
    : db_(db),
      users_(users),
      rooms_(rooms),
      keys_(keys),
      clock_(now),
      select_made_(db, lazily{"SELECT notification_id, topic, created_at, targets "
                              "FROM notifications WHERE notification_no = ?"}),
      select_member_count_(db, lazily{"SELECT member_count FROM rooms WHERE room_no = ?"}),
      select_subscribers_(db,
                          lazily{"SELECT s.user_no, u.user_id FROM notification_subscriptions s "
                                 "JOIN users u ON u.user_no = s.user_no "
                                 "WHERE s.tenant_no = ? AND s.topic = ? "
                                 "ORDER BY s.user_no LIMIT ?"}),
      select_member_(db, lazily{"SELECT 1 FROM room_members WHERE tenant_no = ? AND user_no = ? "
                                "AND room_no = ? AND joined_at <= ?"}),
      insert_(db, lazily{"INSERT INTO notifications(tenant_no, notification_id, topic, room_no, "
                         "targets, state, created_at, ttl_ms, expires_at, payload) "
                         "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"}),
      insert_pending_(
          db, lazily{"INSERT INTO notification_pending(tenant_no, user_no, notification_no) "
                     "VALUES(?, ?, ?)"}),
      select_waiting_(db, lazily{"SELECT notification_no, room_no, created_at FROM notifications "
                                 "WHERE tenant_no = ? AND notification_id = ? AND state = 1 "
                                 "AND expires_at > ?"}),
      delete_pending_(db, lazily{"DELETE FROM notification_pending WHERE tenant_no = ? "
                                 "AND user_no = ? AND notification_no = ?"}),
      insert_ack_(db, lazily{"INSERT OR IGNORE INTO notification_acks(notification_no, user_no) "
                             "VALUES(?, ?)"}),
      has_pending_(db,
                   lazily{"SELECT 1 FROM notification_pending WHERE notification_no = ? LIMIT 1"}),
      select_room_(db, lazily{"SELECT n.tenant_no, n.room_no, n.created_at, r.member_count "
                              "FROM notifications n LEFT JOIN rooms r ON r.room_no = n.room_no "
                              "AND r.deleted_at IS NULL WHERE n.notification_no = ? "
                              "AND n.state = 1"}),
      // CROSS: by the room, never through all memberships of the tenant.
      lacking_member_(
          db, lazily{"SELECT 1 FROM room_members i CROSS JOIN room_members m ON m.tenant_no = ?1 "
                     "AND m.user_no = i.user_no AND m.room_no = ?2 AND m.joined_at <= ?3 "
                     "WHERE i.room_no = ?2 AND NOT EXISTS (SELECT 1 FROM notification_acks a "
                     "WHERE a.notification_no = ?4 AND a.user_no = i.user_no) LIMIT 1"}),
      finish_(db, lazily{"UPDATE notifications SET state = 2, payload = NULL "
                         "WHERE notification_no = ? AND state = 1"}),
      attempted_(db, lazily{"UPDATE notifications SET attempts = attempts + ?3, last_attempt_at = "
                            "max(coalesce(last_attempt_at, 0), ?4) WHERE tenant_no = ?1 "
                            "AND notification_id = ?2"}),
      select_subscription_(db,
                           lazily{"SELECT 1 FROM notification_subscriptions WHERE tenant_no = ? "
                                  "AND user_no = ? AND topic = ?"}),
      count_subscriptions_(db, lazily{"SELECT count(*) FROM (SELECT 1 "
                                      "FROM notification_subscriptions WHERE tenant_no = ? "
                                      "AND user_no = ? LIMIT ?)"}),
      insert_subscription_(db, lazily{"INSERT INTO notification_subscriptions(tenant_no, user_no, "
                                      "topic, created_at) VALUES(?, ?, ?, ?)"}),
      delete_subscription_(db, lazily{"DELETE FROM notification_subscriptions WHERE tenant_no = ? "
                                      "AND user_no = ? AND topic = ?"}),
      revive_(db, lazily{"UPDATE notifications SET state = 1, expires_at = ?3 + ttl_ms "
                         "WHERE tenant_no = ?1 AND notification_no = ?2 AND state = 3"}),
      insert_recipient_(
          db, lazily{"INSERT OR IGNORE INTO notification_pending(tenant_no, user_no, "
                     "notification_no) SELECT tenant_no, user_no, ?3 FROM users WHERE user_no = ?2 "
                     "AND tenant_no = ?1 AND coalesce(erased_at, 0) < ?4"}),
      select_pending_of_user_(db, lazily{"SELECT notification_no FROM notification_pending "
                                         "WHERE tenant_no = ? AND user_no = ? LIMIT ?"}),
      delete_subscriptions_of_user_(
          db, lazily{"DELETE FROM notification_subscriptions WHERE (tenant_no, user_no, topic) IN ("
                     "SELECT tenant_no, user_no, topic FROM notification_subscriptions "
                     "WHERE tenant_no = ? AND user_no = ? LIMIT ?)"}),
      delete_pending_of_tenant_(
          db, lazily{"DELETE FROM notification_pending "
                     "WHERE (tenant_no, user_no, notification_no) IN ("
                     "SELECT tenant_no, user_no, notification_no FROM notification_pending "
                     "WHERE tenant_no = ? LIMIT ?)"}),
      delete_subscriptions_of_tenant_(
          db, lazily{"DELETE FROM notification_subscriptions WHERE (tenant_no, user_no, topic) IN ("
                     "SELECT tenant_no, user_no, topic FROM notification_subscriptions "
                     "WHERE tenant_no = ? LIMIT ?)"}),
      select_of_tenant_(
          db, lazily{"SELECT notification_no FROM notifications WHERE tenant_no = ? LIMIT 1"}),
      waits_(db, lazily{"SELECT 1 FROM notifications WHERE notification_no = ? AND state = 1"}),
      delete_pending_rows_(
          db, lazily{"DELETE FROM notification_pending "
                     "WHERE (tenant_no, user_no, notification_no) IN ("
                     "SELECT tenant_no, user_no, notification_no FROM notification_pending "
                     "WHERE notification_no = ? LIMIT ?)"}),
      delete_acks_(db,
                   lazily{"DELETE FROM notification_acks WHERE notification_no = ?1 AND user_no "
                          "IN (SELECT user_no FROM notification_acks WHERE notification_no = ?1 "
                          "LIMIT ?2)"}),
      delete_(db, lazily{"DELETE FROM notifications WHERE notification_no = ?"}) {}

write_result<std::int64_t> notification_writes::later(bool ran) {
  if (!ran) return write_failed(db_.last_failure(), item_step::later);
  return db_.changes();
}

void notification_writes::count_expired(std::int64_t users) {
  counting_.expired += static_cast<std::uint64_t>(users);
  ++counting_.dead_letters;
}

void notification_writes::committed() {
  counts_.created += counting_.created;
  counts_.acknowledged += counting_.acknowledged;
  counts_.expired += counting_.expired;
  counts_.dead_letters += counting_.dead_letters;
  counting_ = {};
}

// --------------------------------------------------------------------------------------------------------- creation

write_result<created_notification> notification_writes::create(const new_notification& n) {
  if (n.key) {
    auto used = find_call_key(n);
    if (!used) return used.error();
    if (*used) return std::move(**used);
  }
  auto room = room_of(n);
  if (!room) return room.error();
  auto users = users_of(n);
  if (!users) return users.error();
  // The clock here is not behind that of any membership that is committed.
  const utc_time created_at = std::max(n.created_at, clock_.now());
  if (*room) {
    if (auto left = leave_out_members(*users, n.tenant, (*room)->no, created_at); !left)
      return left.error();
  }
  created_notification out;
  out.id = n.id;
  out.topic = n.topic;
  out.created_at = created_at;
  out.targets = static_cast<std::int64_t>(users->size()) + (*room ? (*room)->members : 0);
  out.room = n.room;
  std::optional<room_no> room_number;
  if (*room) room_number = (*room)->no;
  const bool waits = out.targets > 0;
  // Of a payload that is null, too, there is a text.
  std::optional<std::string_view> payload;
  if (waits) payload = n.payload.empty() ? std::string_view{"null"} : n.payload.view();
  const auto ttl = std::chrono::duration_cast<std::chrono::milliseconds>(n.expires_at - n.created_at);
  if (!insert_.run(n.tenant, n.id, n.topic, room_number, out.targets,
                   waits ? notification_state::waits : notification_state::done, created_at,
                   ttl.count(), created_at + ttl, payload)) {
    return write_failed(db_.last_failure(), item_step::first);
  }
  out.no = notification_no{db_.last_insert_rowid()};
  out.users.reserve(users->size());
  for (target_user& u : *users) {
    if (!insert_pending_.run(n.tenant, u.no, out.no))
      return write_failed(db_.last_failure(), item_step::later);
    out.users.push_back(std::move(u.id));
  }
  if (n.key) {
    if (auto stored = keys_.put(keyed_notification(n), out.no.value); !stored)
      return stored.error();
  }
  ++counting_.created;
  return out;
}

write_result<std::optional<created_notification>> notification_writes::find_call_key(
    const new_notification& n) {
  auto used = keys_.find(keyed_notification(n));
  if (!used) return used.error();
  if (!*used) return std::optional<created_notification>{};
  created_notification out;
  out.no = notification_no{**used};
  out.replayed = true;
  auto q = select_made_.query(out.no);
  if (!q.next()) {
    if (q.failed()) return write_failed(db_.last_failure(), item_step::first);
    // It stays as long as its key, unless the clock was set back.
    return std::optional<created_notification>{};
  }
  out.id = q.id(0);
  out.topic = q.text(1);
  out.created_at = q.time(2);
  out.targets = q.integer(3);
  return std::optional{std::move(out)};
}

write_result<std::optional<notification_writes::target_room>> notification_writes::room_of(
    const new_notification& n) {
  if (!n.room) return std::optional<target_room>{};
  const auto room = rooms_.find(n.tenant, *n.room);
  if (!room) return write_failed(room.error(), item_step::first);
  if (!*room) {
    error why = not_found("room");
    why.field = "targets.room_id";
    return refused(std::move(why));
  }
  auto q = select_member_count_.query(**room);
  if (!q.next()) {
    if (q.failed()) return write_failed(db_.last_failure(), item_step::first);
    return inconsistent("a room that is remembered is not there");
  }
  return std::optional{target_room{**room, q.integer(0)}};
}

write_result<std::vector<notification_writes::target_user>> notification_writes::users_of(
    const new_notification& n) {
  std::vector<target_user> out;
  out.reserve(n.users.size());
  for (const user_id& user : n.users) {
    auto no = users_.intern(n.tenant, user.view());
    if (!no) return write_failed(no.error(), item_step::first);
    out.push_back({*no, user});
  }
  if (n.topic_subscribers) {
    // One more than there may be says that there are too many.
    const std::int64_t most = n.max_targets == 0 ? -1 : static_cast<std::int64_t>(n.max_targets) + 1;
    auto q = select_subscribers_.query(n.tenant, n.topic, most);
    while (q.next()) out.push_back({q.number<user_no>(0), user_id{q.text(1)}});
    if (q.failed()) return write_failed(db_.last_failure(), item_step::first);
  }
  const auto by_number = [](const target_user& a, const target_user& b) { return a.no < b.no; };
  const auto same = [](const target_user& a, const target_user& b) { return a.no == b.no; };
  std::sort(out.begin(), out.end(), by_number);
  out.erase(std::unique(out.begin(), out.end(), same), out.end());
  if (n.max_targets != 0 && out.size() > n.max_targets) {
    return refused(beyond("max_notification_targets",
                          conflict("it is for too many users and subscribers", "targets")));
  }
  return out;
}

write_result<void> notification_writes::leave_out_members(std::vector<target_user>& users,
                                                          tenant_no tenant, room_no room,
                                                          utc_time created_at) {
  std::vector<target_user> others;
  for (target_user& u : users) {
    auto member = is_entitled(tenant, u.no, room, created_at);
    if (!member) return member.error();
    if (!*member) others.push_back(std::move(u));
  }
  users = std::move(others);
  return {};
}

write_result<bool> notification_writes::is_entitled(tenant_no tenant, user_no user, room_no room,
                                                    utc_time created_at) {
  auto q = select_member_.query(tenant, user, room, created_at);
  const bool member = q.next();
  if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  return member;
}

// -------------------------------------------------------------------------------------------------- who has it

write_result<void> notification_writes::acknowledge(const user_key& user,
                                                    const std::vector<uuid>& notifications) {
  const auto self = users_.find(user.tenant, user.user.view());
  if (!self) return write_failed(self.error(), item_step::first);
  if (!*self) return {};
  const utc_time now = clock_.now();
  for (const uuid& id : notifications) {
    notification_no no;
    std::optional<room_no> room;
    utc_time created_at{};
    {
      auto q = select_waiting_.query(user.tenant, id, now);
      if (!q.next()) {
        if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
        continue;  // unknown, foreign, past its time: alike
      }
      no = q.number<notification_no>(0);
      if (!q.is_null(1)) room = q.number<room_no>(1);
      created_at = q.time(2);
    }
    auto had = later(delete_pending_.run(user.tenant, **self, no));
    if (!had) return had.error();
    if (room) {
      const auto live = rooms_.find(user.tenant, *room);
      if (!live) return write_failed(live.error(), item_step::later);
      auto member = *live == nullptr ? write_result<bool>{false}
                                     : is_entitled(user.tenant, **self, *room, created_at);
      if (!member) return member.error();
      if (*member) {
        auto acked = later(insert_ack_.run(no, **self));
        if (!acked) return acked.error();
        *had += *acked;
      }
    }
    if (*had == 0) continue;
    ++counting_.acknowledged;
    if (auto done = finish_if_last(no); !done) return done;
  }
  return {};
}

write_result<void> notification_writes::finish_if_last(notification_no no) {
  {
    auto q = has_pending_.query(no);
    if (q.next()) return {};
    if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  }
  tenant_no tenant;
  std::optional<room_no> room;
  utc_time created_at{};
  bool live = false;
  {
    auto q = select_room_.query(no);
    if (!q.next()) {
      if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
      return {};  // it does not wait any more
    }
    tenant = q.number<tenant_no>(0);
    if (!q.is_null(1)) room = q.number<room_no>(1);
    created_at = q.time(2);
    live = !q.is_null(3);
    if (live && q.integer(3) > small_room_members) return {};
  }
  if (room && live) {
    auto q = lacking_member_.query(tenant, *room, created_at, no);
    if (q.next()) return {};
    if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  }
  return finish(no);
}

write_result<void> notification_writes::finish(notification_no no) {
  if (finish_.run(no)) return {};
  return write_failed(db_.last_failure(), item_step::later);
}

write_result<void> notification_writes::attempted(
    tenant_no tenant, const std::vector<std::pair<uuid, std::uint32_t>>& written, utc_time at) {
  for (const auto& [id, times] : written) {
    if (!attempted_.run(tenant, id, times, at))
      return write_failed(db_.last_failure(), item_step::later);
  }
  return {};
}

// ----------------------------------------------------------------------------------------------------------- topics

write_result<void> notification_writes::subscribe(tenant_no tenant,
                                                  const tenant_change::subscribe_topic& s,
                                                  utc_time at) {
  const auto user = users_.intern(tenant, s.user.view());
  if (!user) return write_failed(user.error(), item_step::first);
  {
    auto q = select_subscription_.query(tenant, *user, s.topic);
    if (q.next()) return {};
    if (q.failed()) return write_failed(db_.last_failure(), item_step::first);
  }
  if (s.max != 0) {
    auto q = count_subscriptions_.query(tenant, *user, s.max);
    if (!q.next()) return write_failed(db_.last_failure(), item_step::first);
    if (q.integer(0) >= static_cast<std::int64_t>(s.max)) {
      return refused(
          beyond("max_topics_per_user", conflict("the user has too many topics", "topic")));
    }
  }
  if (insert_subscription_.run(tenant, *user, s.topic, at)) return {};
  return write_failed(db_.last_failure(), item_step::first);
}

write_result<void> notification_writes::unsubscribe(tenant_no tenant,
                                                    const tenant_change::unsubscribe_topic& u) {
  const auto user = users_.find(tenant, u.user.view());
  if (!user) return write_failed(user.error(), item_step::first);
  if (!*user || delete_subscription_.run(tenant, **user, u.topic)) return {};
  return write_failed(db_.last_failure(), item_step::first);
}

// ------------------------------------------------------------------------------------------------------ dead letters

write_result<void> notification_writes::retry(tenant_no tenant, const dead_notification& letter,
                                              utc_time at) {
  auto revived = later(revive_.run(tenant, letter.no, at));
  if (!revived) return revived.error();
  if (*revived == 0) return inconsistent("a dead letter's notification is not dead");
  std::optional<room_no> room;
  utc_time created_at{};
  {
    auto q = select_room_.query(letter.no);
    if (!q.next()) return write_failed(db_.last_failure(), item_step::later);
    if (!q.is_null(1) && !q.is_null(3)) room = q.number<room_no>(1);
    created_at = q.time(2);
  }
  for (const user_no user : letter.recipients) {
    if (room) {
      auto member = is_entitled(tenant, user, *room, created_at);
      if (!member) return member.error();
      if (*member) continue;
    }
    if (!insert_recipient_.run(tenant, user, letter.no, letter.created_at))
      return write_failed(db_.last_failure(), item_step::later);
  }
  return finish_if_last(letter.no);
}

// --------------------------------------------------------------------------------------------------------- in pieces

write_result<std::int64_t> notification_writes::erase_user(tenant_no tenant, user_no user,
                                                           std::int64_t max_rows) {
  std::vector<notification_no> pending;
  {
    auto q = select_pending_of_user_.query(tenant, user, max_rows);
    while (q.next()) pending.push_back(q.number<notification_no>(0));
    if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  }
  for (const notification_no no : pending) {
    if (auto gone = later(delete_pending_.run(tenant, user, no)); !gone) return gone.error();
    if (auto done = finish_if_last(no); !done) return done.error();
  }
  if (!pending.empty()) return static_cast<std::int64_t>(pending.size());
  return later(delete_subscriptions_of_user_.run(tenant, user, max_rows));
}

write_result<std::int64_t> notification_writes::clear_tenant(tenant_no tenant, std::int64_t max_rows) {
  for (auto* rows : {&delete_pending_of_tenant_, &delete_subscriptions_of_tenant_}) {
    if (auto gone = later(rows->run(tenant, max_rows)); !gone || *gone > 0) return gone;
  }
  std::int64_t removed = 0;
  while (removed < max_rows) {
    notification_no no;
    {
      auto q = select_of_tenant_.query(tenant);
      if (!q.next()) {
        if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
        break;
      }
      no = q.number<notification_no>(0);
    }
    auto rows = remove(no, max_rows - removed);
    if (!rows) return rows;
    removed += *rows;
  }
  return removed;
}

write_result<std::int64_t> notification_writes::clear_pending(notification_no no,
                                                              std::int64_t max_rows) {
  {
    auto q = waits_.query(no);
    if (q.next()) return 0;  // it was retried
    if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  }
  return later(delete_pending_rows_.run(no, max_rows));
}

write_result<std::int64_t> notification_writes::remove(notification_no no, std::int64_t max_rows) {
  for (auto* rows : {&delete_pending_rows_, &delete_acks_}) {
    if (auto gone = later(rows->run(no, max_rows)); !gone || *gone > 0) return gone;
  }
  return later(delete_.run(no));
}

}  // namespace parley::store
