#include "store/sqlite_reader.hpp"

#include "store/read_snapshot.hpp"

#include <algorithm>

namespace parley::store {
namespace {

constexpr std::size_t users_in_memory = 16384;  // 100 bytes each: 3 MB at worst, both ways

/// What lies behind positions() and check(): one row per room of a user, with the end of its log.
constexpr std::string_view position_columns =
    "r.room_no, r.room_id, r.first_seq, m.role, m.joined_seq, m.joined_at, d.last_ack, "
    "d.last_read, l.seq, l.id";
constexpr std::string_view position_joins =
    " LEFT JOIN delivery_state d ON d.tenant_no = m.tenant_no AND d.user_no = m.user_no "
    "AND d.room_no = m.room_no LEFT JOIN room_log l ON l.room_no = r.room_no AND l.seq = ("
    "SELECT x.seq FROM room_log x WHERE x.room_no = r.room_no ORDER BY x.seq DESC LIMIT 1) ";

constexpr std::string_view job_columns =
    "job_no, job_id, kind, tenant_no, subject, state, done, total, error, created_at, updated_at";

/// Entries of a room in the order of its log, through its index.
constexpr std::string_view from_log =
    " FROM room_log l JOIN messages m ON m.id = l.id WHERE l.room_no = ? ";

/// About what the entry takes in a frame: enough to bound a page.
std::size_t size_of(const entry& e) {
  constexpr std::size_t fixed = 256;
  if (const auto* m = std::get_if<message_body>(&e.body)) {
    return fixed + m->content.size() + m->meta.value.size();
  }
  if (const auto* m = std::get_if<message_edited_body>(&e.body)) {
    return fixed + m->content.size() + m->meta.value.size();
  }
  const auto ids = [](const std::vector<user_id>& users) {
    std::size_t bytes = 0;
    for (const auto& u : users) bytes += u.value.size() + 3;
    return bytes;
  };
  if (const auto* m = std::get_if<member_joined_body>(&e.body)) return fixed + ids(m->users);
  if (const auto* m = std::get_if<member_left_body>(&e.body)) return fixed + ids(m->users);
  return fixed;
}

}  // namespace

sqlite_reader::sqlite_reader(const connection_options& options, std::shared_ptr<reader_gate> gate,
                             const clock& now)
    : db_(std::make_unique<connection>(options)),
      gate_(std::move(gate)),
      clock_(now),
      users_(*db_, users_in_memory),
      decoder_(*db_, users_),
      tenants_of_(*db_),
      notifications_(*db_, users_),
      begin_(*db_, "BEGIN"),
      end_(*db_, "COMMIT"),
      snapshot_no_(*db_, "SELECT no FROM commits ORDER BY no DESC LIMIT 1"),
      bounds_(*db_,
              "SELECT r.tenant_no, r.first_seq, coalesce((SELECT l.seq FROM room_log l "
              "WHERE l.room_no = r.room_no ORDER BY l.seq DESC LIMIT 1), r.first_seq - 1) "
              "FROM rooms r WHERE r.room_no = ? AND r.deleted_at IS NULL"),
      positions_(
          *db_,
          {"SELECT ", position_columns,
           " FROM room_members m JOIN rooms r ON r.room_no = m.room_no AND r.deleted_at IS NULL",
           position_joins, "WHERE m.tenant_no = ? AND m.user_no = ?"}),
      check_(*db_,
             {"SELECT ", position_columns,
              " FROM rooms r JOIN room_members m ON m.tenant_no = r.tenant_no AND m.user_no = ?3 "
              "AND m.room_no = r.room_no",
              position_joins, "WHERE r.tenant_no = ?1 AND r.room_id = ?2 AND r.deleted_at IS NULL"}),
      page_(*db_, {"SELECT ", entry_columns, from_log,
                   "AND l.seq > ? AND l.seq <= ? ORDER BY l.seq LIMIT ?"}),
      room_by_id_(
          *db_, {"SELECT ", room_columns,
                 " FROM rooms r WHERE r.tenant_no = ? AND r.room_id = ? AND r.deleted_at IS NULL"}),
      room_by_no_(*db_, {"SELECT ", room_columns,
                         " FROM rooms r WHERE r.room_no = ? AND r.deleted_at IS NULL"}),
      room_exists_(
          *db_, "SELECT 1 FROM rooms WHERE tenant_no = ? AND room_id = ? AND deleted_at IS NULL"),
      rooms_of_tenant_(
          *db_,
          "SELECT room_no FROM rooms WHERE tenant_no = ? AND room_no < ? AND deleted_at IS NULL "
          "ORDER BY room_no DESC LIMIT ? OFFSET ?"),
      member_(*db_,
              "SELECT role, joined_seq, joined_at FROM room_members WHERE tenant_no = ? "
              "AND user_no = ? AND room_no = ?"),
      members_(*db_,
               "SELECT m.user_no, m.role, m.joined_seq, m.joined_at, d.last_ack, d.last_read "
               "FROM (SELECT tenant_no, user_no, room_no FROM room_members WHERE room_no = ? "
               "AND user_no > ? ORDER BY user_no LIMIT ? OFFSET ?) i "
               "JOIN room_members m ON m.tenant_no = i.tenant_no AND m.user_no = i.user_no "
               "AND m.room_no = i.room_no LEFT JOIN delivery_state d ON d.tenant_no = i.tenant_no "
               "AND d.user_no = i.user_no AND d.room_no = i.room_no ORDER BY i.user_no"),
      audience_(
          *db_,
          "SELECT r.room_id, r.type FROM room_members m JOIN rooms r ON r.room_no = m.room_no "
          "AND r.deleted_at IS NULL AND r.type IN (1, 2) AND r.member_count <= ?3 "
          "WHERE m.tenant_no = ?1 AND m.user_no = ?2 ORDER BY r.type LIMIT ?4"),
      room_kind_(*db_,
                 "SELECT room_no, type FROM rooms WHERE tenant_no = ? AND room_id = ? "
                 "AND deleted_at IS NULL"),
      role_(*db_,
            "SELECT role FROM room_members WHERE tenant_no = ? AND user_no = ? AND room_no = ?"),
      count_memberships_(*db_,
                         "SELECT count(*) FROM (SELECT 1 FROM room_members "
                         "WHERE tenant_no = ? AND user_no = ? LIMIT ?)"),
      count_rooms_(*db_,
                   "SELECT count(*) FROM (SELECT 1 FROM room_members m "
                   "JOIN rooms r ON r.room_no = m.room_no AND r.deleted_at IS NULL "
                   "WHERE m.tenant_no = ? AND m.user_no = ? LIMIT ?)"),
      last_seen_(*db_, "SELECT last_seen FROM users WHERE user_no = ?"),
      newest_rooms_(*db_,
                    "SELECT room_no FROM room_members WHERE tenant_no = ? AND user_no = ? "
                    "ORDER BY room_no DESC LIMIT ?"),
      rooms_between_(*db_,
                     "SELECT room_no FROM room_members WHERE tenant_no = ? AND user_no = ? "
                     "AND room_no BETWEEN ? AND ? ORDER BY room_no LIMIT ?"),
      shows_presence_(
          *db_, "SELECT 1 FROM rooms WHERE room_no = ? AND type IN (1, 2) AND deleted_at IS NULL"),
      owners_(*db_,
              "SELECT user_no, joined_seq, joined_at FROM room_members WHERE room_no = ? "
              "AND role = ? LIMIT 16"),
      key_(*db_,
           "SELECT call, body, seq, message_id, coalesce(answered_at, created_at) FROM send_keys "
           "WHERE room_no = ? AND sender_no = ? AND key = ? AND created_at >= ?"),
      // Newest first, and no more rows than a slice allows: a room in which one reads nobody but oneself stays cheap.
      unread_(*db_,
              "SELECT count(*) FROM (SELECT 1 FROM (SELECT kind, sender_no, deleted FROM room_log "
              "WHERE room_no = ? AND seq > ? ORDER BY seq DESC LIMIT 65536) WHERE kind = 1 "
              "AND deleted = 0 AND sender_no <> ? LIMIT 1000)"),
      last_message_(*db_, {"SELECT ", entry_columns,
                           " FROM (SELECT id, kind FROM room_log WHERE room_no = ? "
                           "ORDER BY seq DESC LIMIT 65536) l JOIN messages m ON m.id = l.id "
                           "WHERE l.kind = 1 LIMIT 1"}),
      up_(*db_,
          {"SELECT ", entry_columns, from_log, "AND l.seq > ? ORDER BY l.seq LIMIT ? OFFSET ?"}),
      down_(*db_, {"SELECT ", entry_columns, from_log,
                   "AND l.seq < ? ORDER BY l.seq DESC LIMIT ? OFFSET ?"}),
      messages_up_(*db_, {"SELECT ", entry_columns, from_log,
                          "AND l.seq > ? AND l.kind = 1 ORDER BY l.seq LIMIT ? OFFSET ?"}),
      messages_down_(*db_, {"SELECT ", entry_columns, from_log,
                            "AND l.seq < ? AND l.kind = 1 ORDER BY l.seq DESC LIMIT ? OFFSET ?"}),
      message_(*db_, {"SELECT ", entry_columns,
                      " FROM messages m WHERE m.message_id = ? AND m.kind = 1 AND m.room_no = ?"}),
      tenant_by_digest_(*db_,
                        {"SELECT ", tenant_columns,
                         " FROM credentials c JOIN tenants t ON t.tenant_no = c.tenant_no "
                         "AND t.deleted_at IS NULL WHERE c.sha256 = ? AND c.kind = 'api_key'"}),
      tenant_by_id_(*db_, {"SELECT ", tenant_columns,
                           " FROM tenants t WHERE t.tenant_id = ? AND t.deleted_at IS NULL"}),
      tenants_(*db_, {"SELECT ", tenant_columns,
                      " FROM tenants t WHERE t.tenant_no > ? AND t.deleted_at IS NULL "
                      "ORDER BY t.tenant_no LIMIT ?"}),
      tenant_usage_(
          *db_,
          "SELECT t.tenant_no, t.tenant_id, t.disabled, "
          "(SELECT count(*) FROM (SELECT 1 FROM rooms r WHERE r.tenant_no = t.tenant_no "
          "AND r.deleted_at IS NULL LIMIT ?3)), "
          "(SELECT count(*) FROM (SELECT 1 FROM users u WHERE u.tenant_no = t.tenant_no LIMIT ?3)) "
          "FROM tenants t WHERE t.tenant_no > ?1 AND t.deleted_at IS NULL ORDER BY t.tenant_no "
          "LIMIT ?2"),
      tenant_by_key_(*db_,
                     {"SELECT ", tenant_columns,
                      " FROM credentials c JOIN tenants t ON t.tenant_no = c.tenant_no "
                      "AND t.deleted_at IS NULL WHERE c.key_id = ? AND c.kind = 'jwt_secret'"}),
      revoked_before_(*db_, "SELECT revoke_before FROM users WHERE tenant_no = ? AND user_id = ?"),
      job_(*db_, {"SELECT ", job_columns, " FROM jobs WHERE job_id = ?"}),
      jobs_(*db_,
            {"SELECT ", job_columns, " FROM jobs WHERE job_no < ? ORDER BY job_no DESC LIMIT ?"}),
      export_person_(*db_,
                     "SELECT last_seen, revoke_before, erased_at FROM users WHERE user_no = ?"),
      export_memberships_(
          *db_,
          {"SELECT ", room_columns,
           ", m.role, m.joined_seq, m.joined_at, d.last_ack, d.last_read "
           "FROM room_members m JOIN rooms r ON r.room_no = m.room_no AND r.deleted_at IS NULL "
           "LEFT JOIN delivery_state d ON d.tenant_no = m.tenant_no AND d.user_no = m.user_no "
           "AND d.room_no = m.room_no WHERE m.tenant_no = ? AND m.user_no = ? "
           "AND m.room_no > ? ORDER BY m.room_no LIMIT ?"}),
      export_room_(*db_,
                   "SELECT room_no, room_id FROM rooms WHERE tenant_no = ? AND room_no >= ? "
                   "AND deleted_at IS NULL ORDER BY room_no LIMIT 1"),
      export_log_(*db_,
                  "SELECT seq, id, kind, sender_no FROM room_log WHERE room_no = ? AND seq > ? "
                  "ORDER BY seq LIMIT ?"),
      export_entry_(*db_, {"SELECT ", entry_columns, " FROM messages m WHERE m.id = ?"}) {}

// --------------------------------------------------------------------------------------------------- positions, pages

result<store::positions> sqlite_reader::positions(tenant_no tenant, const user_id& user) {
  return in_snapshot<store::positions>([&]() -> result<store::positions> {
    store::positions out;
    auto no = snapshot_no();
    if (!no) return unreadable(no.error());
    out.snapshot = *no;
    auto self = users_.find(tenant, user.view());
    if (!self) return unreadable(self.error());
    if (!*self) return out;
    auto ranked = ranked_rooms(tenant, **self);
    if (!ranked) return unreadable(ranked.error());
    out.rooms.reserve(ranked->size());
    for (const ranked_room& r : *ranked) out.rooms.push_back(r.position);
    const auto waits = notifications_.may_wait(tenant, **self);
    if (!waits) return unreadable(waits.error());
    out.notifications = *waits;
    return out;
  });
}

result<checked_rooms> sqlite_reader::check(tenant_no tenant, const user_id& user,
                                           const std::vector<room_id>& rooms) {
  return in_snapshot<checked_rooms>([&]() -> result<checked_rooms> {
    checked_rooms out;
    auto no = snapshot_no();
    if (!no) return unreadable(no.error());
    out.snapshot = *no;
    out.rooms.resize(rooms.size());
    auto self = users_.find(tenant, user.view());
    if (!self) return unreadable(self.error());
    if (!*self) return out;
    for (std::size_t i = 0; i < rooms.size(); ++i) {
      auto q = check_.query(tenant, rooms[i], **self);
      if (q.next()) out.rooms[i] = ranked_room_of(q).position;
      if (q.failed()) return unreadable(db_->last_failure());
    }
    return out;
  });
}

result<log_page> sqlite_reader::page(room_no room, room_seq after, room_seq to,
                                     std::size_t max_entries, std::size_t max_bytes) {
  return in_snapshot<log_page>([&]() -> result<log_page> {
    log_page out;
    auto no = snapshot_no();
    if (!no) return unreadable(no.error());
    out.snapshot = *no;
    auto bounds = bounds_of(room);
    if (!bounds) return unreadable(bounds.error());
    if (!*bounds) {
      out.room_exists = false;
      return out;
    }
    out.first_seq = (*bounds)->first_seq;
    out.last_seq = (*bounds)->last_seq;
    std::size_t bytes = 0;
    // One more than asked, to see that there is more.
    auto q = page_.query(room, after, to, std::max<std::size_t>(max_entries, 1) + 1);
    while (q.next()) {
      if (out.entries.size() >= std::max<std::size_t>(max_entries, 1) ||
          (!out.entries.empty() && bytes >= max_bytes)) {
        out.complete = false;
        return out;
      }
      auto e = decoder_.decode(q);
      if (!e) return unreadable(e.error());
      bytes += size_of(*e);
      out.entries.push_back(std::move(*e));
    }
    if (q.failed()) return unreadable(db_->last_failure());
    return out;
  });
}

db_result<commit_no> sqlite_reader::snapshot_no() {
  auto q = snapshot_no_.query();
  if (q.next()) return q.number<commit_no>(0);
  if (q.failed()) return db_->last_failure();
  return commit_no{};
}

db_result<std::optional<sqlite_reader::room_bounds>> sqlite_reader::bounds_of(room_no room) {
  auto q = bounds_.query(room);
  if (q.next()) {
    return std::optional{
        room_bounds{q.number<tenant_no>(0), q.number<room_seq>(1), q.number<room_seq>(2)}};
  }
  if (q.failed()) return db_->last_failure();
  return std::optional<room_bounds>{};
}

db_result<std::vector<sqlite_reader::ranked_room>> sqlite_reader::ranked_rooms(tenant_no tenant,
                                                                               user_no user) {
  std::vector<ranked_room> out;
  auto q = positions_.query(tenant, user);
  while (q.next()) out.push_back(ranked_room_of(q));
  if (q.failed()) return db_->last_failure();
  std::sort(out.begin(), out.end(), [](const ranked_room& a, const ranked_room& b) {
    return a.newest != b.newest ? a.newest > b.newest : a.position.no > b.position.no;
  });
  return out;
}

sqlite_reader::ranked_room sqlite_reader::ranked_room_of(const statement::rows& row) {
  ranked_room r;
  room_position& p = r.position;
  p.no = row.number<room_no>(0);
  p.room = room_id{row.id(1)};
  p.first_seq = row.number<room_seq>(2);
  p.role = static_cast<member_role>(row.integer(3));
  r.joined_seq = row.number<room_seq>(4);
  r.joined_at = row.time(5);
  p.last_seq = row.is_null(8) ? room_seq{p.first_seq.value - 1} : row.number<room_seq>(8);
  r.newest = row.number<log_id>(9);
  // A later member starts at its own member.joined; after a restore a cursor may lie beyond the end.
  p.last_ack = std::min(p.last_seq, std::max(r.joined_seq, row.number<room_seq>(6)));
  p.last_read = std::min(p.last_ack, std::max(r.joined_seq, row.number<room_seq>(7)));
  return r;
}

// ------------------------------------------------------------------------------------------------------------ history

result<history_page> sqlite_reader::history(room_no room, page_position from, std::size_t limit,
                                            bool messages_only, std::size_t offset) {
  using anchor = page_position::anchor;
  return in_snapshot<history_page>([&]() -> result<history_page> {
    history_page out;
    auto no = snapshot_no();
    if (!no) return unreadable(no.error());
    out.snapshot = *no;
    auto bounds = bounds_of(room);
    if (!bounds) return unreadable(bounds.error());
    if (!*bounds) return not_found("room");
    out.first_seq = (*bounds)->first_seq;
    out.last_seq = (*bounds)->last_seq;

    const room_seq beyond = out.last_seq.next();
    const room_seq at = std::clamp(from.seq, room_seq{0}, beyond);
    const auto read = [&](room_seq exclusive, direction way, std::size_t n, std::size_t skip) {
      return entries(room, {exclusive, way, n, skip, messages_only});
    };
    db_result<std::vector<entry>> got = std::vector<entry>{};
    // Between what lies an empty page: what is below `low` is before it, what is above `high` after it.
    room_seq low{};
    room_seq high = beyond;
    switch (from.from) {
      case anchor::newest:
        got = read(beyond, direction::down, limit, offset);
        high = room_seq{0};
        break;
      case anchor::oldest:
        got = read(room_seq{0}, direction::up, limit, offset);
        low = beyond;
        break;
      case anchor::after:
        got = read(at, direction::up, limit, offset);
        low = beyond;
        break;
      case anchor::before:
        got = read(at, direction::down, limit, offset);
        high = room_seq{0};
        break;
      case anchor::around: {
        auto below = read(at, direction::down, limit, 0);
        if (!below) return unreadable(below.error());
        got = read(room_seq{std::max<std::int64_t>(at.value - 1, 0)}, direction::up, limit, 0);
        if (!got) break;
        // Half before, half from `at` on; what one side has not, the other fills.
        const std::size_t half = limit / 2;
        const std::size_t wanted_below =
            std::min(below->size(), std::max(half, limit - std::min(limit, got->size())));
        below->resize(wanted_below);
        got->resize(std::min(got->size(), limit - wanted_below));
        std::reverse(below->begin(), below->end());
        below->insert(below->end(), std::make_move_iterator(got->begin()),
                      std::make_move_iterator(got->end()));
        got = std::move(*below);
        break;
      }
    }
    if (!got) return unreadable(got.error());
    if (from.from == anchor::newest || from.from == anchor::before) {
      std::reverse(got->begin(), got->end());
    }
    out.entries = std::move(*got);
    if (!out.entries.empty()) {
      low = out.entries.front().seq;
      high = out.entries.back().seq;
    }
    auto before = exists_beyond(room, low, direction::down, messages_only);
    if (!before) return unreadable(before.error());
    auto after = exists_beyond(room, high, direction::up, messages_only);
    if (!after) return unreadable(after.error());
    out.has_more_before = *before;
    out.has_more_after = *after;
    return out;
  });
}

db_result<std::vector<entry>> sqlite_reader::entries(room_no room, const slice& s) {
  statement& of = s.way == direction::up ? (s.messages_only ? messages_up_ : up_)
                                         : (s.messages_only ? messages_down_ : down_);
  std::vector<entry> out;
  auto q = of.query(room, s.from, s.limit, s.offset);
  while (q.next()) {
    auto e = decoder_.decode(q);
    if (!e) return e.error();
    out.push_back(std::move(*e));
  }
  if (q.failed()) return db_->last_failure();
  return out;
}

db_result<bool> sqlite_reader::exists_beyond(room_no room, room_seq from, direction way,
                                             bool messages_only) {
  statement& of = way == direction::up ? (messages_only ? messages_up_ : up_)
                                       : (messages_only ? messages_down_ : down_);
  auto q = of.query(room, from, 1, 0);
  const bool there = q.next();
  if (q.failed()) return db_->last_failure();
  return there;
}

// ------------------------------------------------------------------------------------------------------ one message

result<sender_lookup> sqlite_reader::look_up(room_no room, const user_id& user,
                                             const std::optional<hash128>& key, utc_time keys_since) {
  return in_snapshot<sender_lookup>([&]() -> result<sender_lookup> {
    sender_lookup out;
    auto bounds = bounds_of(room);
    if (!bounds) return unreadable(bounds.error());
    if (!*bounds) return out;
    const tenant_no tenant = (*bounds)->tenant;
    user_no self = backend_no;
    if (!user.value.empty()) {
      auto no = users_.find(tenant, user.view());
      if (!no) return unreadable(no.error());
      if (!*no) return out;
      self = **no;
      auto member = membership(tenant, room, self, user);
      if (!member) return unreadable(member.error());
      out.member = std::move(*member);
    }
    if (!key) return out;
    auto q = key_.query(room, self, *key, keys_since);
    if (q.next()) {
      out.key = used_key{.key = {.sender = user,
                                 .key = *key,
                                 .call = static_cast<keyed_call>(q.integer(0)),
                                 .body = {q.bytes<16>(1)}},
                         .seq = q.number<room_seq>(2),
                         .message = message_id{q.id(3)},
                         .created_at = q.time(4)};
    }
    if (q.failed()) return unreadable(db_->last_failure());
    return out;
  });
}

db_result<std::optional<member_row>> sqlite_reader::membership(tenant_no tenant, room_no room,
                                                               user_no user, const user_id& name) {
  auto q = member_.query(tenant, user, room);
  if (q.next()) {
    return std::optional{
        member_row{name, static_cast<member_role>(q.integer(0)), q.number<room_seq>(1), q.time(2)}};
  }
  if (q.failed()) return db_->last_failure();
  return std::optional<member_row>{};
}

result<std::vector<member_row>> sqlite_reader::owners(room_no room) {
  return in_snapshot<std::vector<member_row>>([&]() -> result<std::vector<member_row>> {
    std::vector<member_row> out;
    auto q = owners_.query(room, member_role::owner);
    while (q.next()) {
      auto name = users_.name(q.number<user_no>(0));
      if (!name) return unreadable(name.error());
      out.push_back({**name, member_role::owner, q.number<room_seq>(1), q.time(2)});
    }
    if (q.failed()) return unreadable(db_->last_failure());
    return out;
  });
}

result<bool> sqlite_reader::is_message(room_no room, message_id message) {
  return in_snapshot<bool>([&]() -> result<bool> {
    auto bounds = bounds_of(room);
    if (!bounds) return unreadable(bounds.error());
    if (!*bounds) return false;
    auto q = message_.query(message, room);
    const bool there = q.next();
    if (q.failed()) return unreadable(db_->last_failure());
    return there;
  });
}

result<std::optional<entry>> sqlite_reader::message(room_no room, message_id message) {
  return in_snapshot<std::optional<entry>>([&]() -> result<std::optional<entry>> {
    auto bounds = bounds_of(room);
    if (!bounds) return unreadable(bounds.error());
    if (!*bounds) return std::optional<entry>{};
    auto q = message_.query(message, room);
    if (!q.next()) {
      if (q.failed()) return unreadable(db_->last_failure());
      return std::optional<entry>{};
    }
    auto e = decoder_.decode(q);
    if (!e) return unreadable(e.error());
    return std::optional{std::move(*e)};
  });
}

}  // namespace parley::store
