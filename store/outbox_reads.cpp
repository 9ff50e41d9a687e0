#include "store/outbox_reads.hpp"

#include "store/dead_letters.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace parley::store {
namespace {

constexpr std::size_t fixed_bytes = 512;    // of a body, besides its texts
constexpr std::size_t names_a_page = 5000;  // of recipients of dead letters: each is looked up

std::string select_entry(std::string_view from) {
  std::string sql = "SELECT ";
  sql += entry_columns;
  sql += from;
  return sql;
}

std::size_t size_of(const webhook_event& e) {
  const auto text = [](const std::optional<entry>& of) -> std::size_t {
    if (!of) return 0;
    if (const auto* m = std::get_if<message_body>(&of->body))
      return m->content.size() + m->meta.value.size();
    if (const auto* m = std::get_if<message_edited_body>(&of->body))
      return m->content.size() + m->meta.value.size();
    return 0;
  };
  return fixed_bytes + e.data.size() + text(e.logged) + text(e.message) +
         (e.room ? e.room->metadata.value.size() : 0);
}

/// The event of a kind as it is stored; nullopt: none.
std::optional<event_type> event_of_number(std::int64_t kind) {
  if (kind < 1 || kind > static_cast<std::int64_t>(entry_kind::room_updated)) return std::nullopt;
  return event_of(static_cast<entry_kind>(kind));
}

}  // namespace

outbox_reads::outbox_reads(connection& db, user_names& users, entry_decoder& entries,
                           notification_reads& notifications, const clock& now)
    : db_(db),
      users_(users),
      entries_(entries),
      notifications_(notifications),
      clock_(now),
      endpoints_(db, {"SELECT ", endpoint_columns,
                      " FROM endpoint_state e JOIN tenants t ON t.tenant_no = e.tenant_no "
                      "WHERE e.tenant_no > ? ORDER BY e.tenant_no LIMIT ?"}),
      endpoint_(db, {"SELECT ", endpoint_columns,
                     " FROM endpoint_state e JOIN tenants t ON t.tenant_no = e.tenant_no "
                     "WHERE e.tenant_no = ?"}),
      active_(db, lazily{"SELECT tenant_no, events, since_id FROM endpoint_state "
                         "WHERE disabled_at IS NULL"}),
      any_active_(db,
                  lazily{"SELECT EXISTS(SELECT 1 FROM endpoint_state WHERE disabled_at IS NULL)"}),
      position_(db, lazily{"SELECT id FROM reader_positions WHERE name = ?"}),
      last_(db, lazily{"SELECT last_id FROM commits ORDER BY no DESC LIMIT 1"}),
      first_commit_(db, lazily{"SELECT no, first_id FROM commits ORDER BY no LIMIT 1"}),
      commit_before_(db, lazily{"SELECT no, created_at, last_id FROM commits WHERE no <= ? "
                                "ORDER BY no DESC LIMIT 1"}),
      entry_from_(db, lazily{"SELECT id, created_at FROM messages WHERE id >= ? ORDER BY id "
                             "LIMIT 1"}),
      // Nothing that lies behind the content: a row that nobody wants is not read to its end.
      scan_(db, lazily{"SELECT id, tenant_no, room_no, kind FROM messages WHERE id > ? "
                       "AND id <= ? ORDER BY id"}),
      entry_time_(db, lazily{"SELECT created_at FROM messages WHERE id = ?"}),
      message_(db, lazily{"SELECT seq, sender_no, created_at, deleted_at IS NOT NULL "
                          "FROM messages WHERE id = ?"}),
      room_size_(db, lazily{"SELECT member_count, deleted_at IS NULL FROM rooms "
                            "WHERE room_no = ?"}),
      members_(db, lazily{"SELECT i.user_no, m.joined_seq, d.last_ack FROM room_members i "
                          "JOIN room_members m ON m.tenant_no = i.tenant_no "
                          "AND m.user_no = i.user_no AND m.room_no = i.room_no "
                          "LEFT JOIN delivery_state d ON d.tenant_no = i.tenant_no "
                          "AND d.user_no = i.user_no AND d.room_no = i.room_no "
                          "WHERE i.room_no = ? AND i.user_no > ? ORDER BY i.user_no LIMIT ?"}),
      next_lane_(db, lazily{"SELECT lane FROM outbox INDEXED BY outbox_by_lane "
                            "WHERE tenant_no = ? AND lane > ? ORDER BY lane LIMIT 1"}),
      lane_rows_(db, lazily{"SELECT outbox_no, place, type, log_id, recipient_no, event_id, data, "
                            "at, attempts, next_at FROM outbox INDEXED BY outbox_by_lane "
                            "WHERE tenant_no = ? AND lane = ? ORDER BY place, outbox_no LIMIT ?"}),
      dropping_(db, lazily{"SELECT 1 FROM outbox_chores WHERE tenant_no = ? AND chore = 1"}),
      room_(db,
            {"SELECT ", room_columns, ", r.deleted_at IS NULL FROM rooms r WHERE r.room_no = ?"}),
      entry_(db, lazily{select_entry(" FROM messages m WHERE m.id = ?")}),
      entry_at_(db, lazily{select_entry(" FROM room_log l JOIN messages m ON m.id = l.id "
                                        "WHERE l.room_no = ? AND l.seq = ?")}),
      member_cursor_(db, lazily{"SELECT max(m.joined_seq, coalesce(d.last_ack, 0)) "
                                "FROM room_members m LEFT JOIN delivery_state d "
                                "ON d.tenant_no = m.tenant_no AND d.user_no = m.user_no "
                                "AND d.room_no = m.room_no WHERE m.tenant_no = ? "
                                "AND m.user_no = ? AND m.room_no = ?"}),
      dead_letters_(db, lazily{"SELECT dead_no, kind, lane, type, log_id, recipient_no, event_id, "
                               "notification_no, recipients, attempts, last_attempt_at, error, "
                               "created_at FROM dead_letters WHERE tenant_no = ? AND dead_no < ? "
                               "ORDER BY dead_no DESC LIMIT ?"}),
      entry_name_(db, lazily{"SELECT seq, message_id FROM messages WHERE id = ?"}),
      room_id_(db, lazily{"SELECT room_id FROM rooms WHERE room_no = ? AND tenant_no = ?"}) {}

// --------------------------------------------------------------------------------------------------------- endpoints

db_result<endpoint_list> outbox_reads::endpoints(std::size_t limit, tenant_no after) {
  limit = std::max<std::size_t>(limit, 1);
  endpoint_list out;
  auto q = endpoints_.query(after, limit + 1);
  while (q.next()) {
    if (out.endpoints.size() == limit) {
      out.next_cursor = encode_cursor(cursor_kind::endpoints, {out.endpoints.back().tenant.value, 0});
      return out;
    }
    out.endpoints.push_back(decode_endpoint(q));
  }
  if (q.failed()) return db_.last_failure();
  return out;
}

db_result<std::optional<endpoint_row>> outbox_reads::endpoint(tenant_no tenant) {
  auto q = endpoint_.query(tenant);
  if (q.next()) return std::optional{decode_endpoint(q)};
  if (q.failed()) return db_.last_failure();
  return std::optional<endpoint_row>{};
}

db_result<outbox_reads::wishes> outbox_reads::active() {
  wishes out;
  auto q = active_.query();
  while (q.next()) {
    out.emplace(q.number<tenant_no>(0),
                wish{static_cast<event_mask>(q.integer(1)), q.number<log_id>(2)});
  }
  if (q.failed()) return db_.last_failure();
  return out;
}

db_result<log_id> outbox_reads::position(std::string_view name) {
  auto q = position_.query(name);
  if (q.next()) return q.number<log_id>(0);
  if (q.failed()) return db_.last_failure();
  return log_id{};
}

/// Of the newest commit: none of its ids was given before, and none up to it is given later.
db_result<log_id> outbox_reads::last() {
  auto q = last_.query();
  if (q.next()) return q.number<log_id>(0);
  if (q.failed()) return db_.last_failure();
  return log_id{};
}

db_result<log_positions> outbox_reads::positions() {
  log_positions out;
  const std::array<std::pair<std::string_view, log_id*>, 2> readers{
      {{"events", &out.events}, {"offline", &out.offline}}};
  for (const auto& [name, at] : readers) {
    const auto found = position(name);
    if (!found) return found.error();
    *at = *found;
  }
  const auto end = last();
  if (!end) return end.error();
  out.last = *end;
  auto q = any_active_.query();
  if (!q.next()) return db_.last_failure();
  out.endpoints = q.integer(0) != 0;
  return out;
}

// ------------------------------------------------------------------------------------------------------------- scans

db_result<scanned> outbox_reads::scan_events(log_id after, std::size_t max_rows) {
  const auto who = active();
  if (!who) return who.error();
  if (who->empty()) return scanned{.to = after, .rows = {}};
  const auto end = last();
  if (!end) return end.error();
  return scan(*who, after, *end, max_rows);
}

db_result<scanned> outbox_reads::scan_tenant(tenant_no tenant, log_id after, log_id to,
                                             std::size_t max_rows) {
  auto who = active();
  if (!who) return who.error();
  wishes only;
  // A replay goes back behind the endpoint's beginning.
  if (const auto w = who->find(tenant); w != who->end())
    only.emplace(tenant, wish{w->second.events, log_id{}});
  if (only.empty()) return scanned{.to = after, .rows = {}};
  const auto end = last();
  if (!end) return end.error();
  return scan(only, after, std::min(to, *end), max_rows);
}

db_result<scanned> outbox_reads::scan(const wishes& who, log_id after, log_id to,
                                      std::size_t max_rows) {
  scanned out;
  out.to = after;
  slice time{clock_};
  auto q = scan_.query(after, to);
  while (q.next()) {
    if (out.rows.size() >= std::max<std::size_t>(max_rows, 1) || time.over()) {
      out.more = true;
      return out;
    }
    const auto id = q.number<log_id>(0);
    out.to = id;
    const auto tenant = q.number<tenant_no>(1);
    const auto w = who.find(tenant);
    if (w == who.end() || id <= w->second.since) continue;
    const auto type = event_of_number(q.integer(3));
    if (!type || (w->second.events & mask_of(*type)) == 0) continue;
    outbox_row row{.tenant = tenant, .lane = lane_no{q.integer(2)}, .type = *type, .log = id};
    auto at = entry_time_.query(id);
    if (!at.next()) return db_.last_failure();
    row.at = at.time(0);
    out.rows.push_back(std::move(row));
  }
  if (q.failed()) return db_.last_failure();
  out.to = std::max(to, after);  // ids that no entry has
  return out;
}

db_result<scanned> outbox_reads::scan_offline(log_id after, utc_time due_before,
                                              std::int64_t max_members, std::size_t max_rows) {
  scanned out;
  out.to = after;
  const auto who = active();
  if (!who) return who.error();
  if (who->empty()) return out;
  const auto due = last_before(due_before);
  if (!due) return due.error();
  const auto events = position("events");
  if (!events) return events.error();
  const log_id to = std::min(*due, *events);

  std::unordered_map<room_no, offline_room> rooms;  // each looked at once
  slice time{clock_};
  auto q = scan_.query(after, to);
  while (q.next()) {
    if (out.rows.size() >= std::max<std::size_t>(max_rows, 1) || time.over()) {
      out.more = true;
      return out;
    }
    const auto id = q.number<log_id>(0);
    out.to = id;
    const auto tenant = q.number<tenant_no>(1);
    const auto w = who->find(tenant);
    if (w == who->end() || id <= w->second.since ||
        q.integer(3) != static_cast<std::int64_t>(entry_kind::message)) {
      continue;
    }
    const auto room = q.number<room_no>(2);
    auto known = rooms.find(room);
    if (known == rooms.end()) {
      auto loaded = load_room(room, max_members);
      if (!loaded) return loaded.error();
      for (std::size_t n = 0; n < loaded->members.size(); ++n) time.over();
      known = rooms.emplace(room, std::move(*loaded)).first;
    }
    if (!known->second.live) continue;
    outbox_row row{
        .tenant = tenant, .lane = lane_no{room.value}, .type = event_type::message_offline, .log = id};
    auto m = message_.query(id);
    if (!m.next()) return db_.last_failure();
    if (m.integer(3) != 0) continue;  // deleted
    const auto seq = m.number<room_seq>(0);
    const auto sender = m.number<user_no>(1);
    row.at = m.time(2);
    if (known->second.big) {
      out.rows.push_back(std::move(row));
      continue;
    }
    for (const auto& member : known->second.members) {
      time.over();
      if (member.user == sender || member.joined >= seq || member.acked >= seq) continue;
      row.recipient = member.user;
      out.rows.push_back(row);
    }
  }
  if (q.failed()) return db_.last_failure();
  out.to = std::max(to, after);
  return out;
}

db_result<outbox_reads::offline_room> outbox_reads::load_room(room_no room, std::int64_t max_members) {
  offline_room out;
  {
    auto q = room_size_.query(room);
    if (q.next()) {
      out.live = q.integer(1) != 0;
      out.big = q.integer(0) > max_members;
    }
    if (q.failed()) return db_.last_failure();
  }
  if (!out.live || out.big) return out;
  auto q = members_.query(room, 0, -1);
  while (q.next()) {
    out.members.push_back({q.number<user_no>(0), q.number<room_seq>(1), q.number<room_seq>(2)});
  }
  if (q.failed()) return db_.last_failure();
  return out;
}

db_result<log_id> outbox_reads::last_before(utc_time t) {
  // The commits that are still there, by their numbers, which have no gap.
  std::int64_t low = 0;  // the first one
  log_id first_id{};
  {
    auto q = first_commit_.query();
    if (!q.next()) {
      if (q.failed()) return db_.last_failure();
      return log_id{};
    }
    low = q.integer(0);
    first_id = q.number<log_id>(1);
  }
  struct commit {
    std::int64_t no = 0;
    utc_time at{};
    log_id last;
  };
  const auto at = [&](std::int64_t no) -> db_result<commit> {
    auto q = commit_before_.query(no);
    if (!q.next()) return db_.last_failure();
    return commit{q.integer(0), q.time(1), q.number<log_id>(2)};
  };
  auto first = at(low);
  if (!first) return first.error();
  if (first->at < t) {
    auto newest = at(std::numeric_limits<std::int64_t>::max());
    if (!newest) return newest.error();
    std::int64_t high = newest->no + 1;  // the first that is not before t
    commit best = *first;
    while (low + 1 < high) {
      const std::int64_t middle = low + (high - low) / 2;
      auto c = at(middle);
      if (!c) return c.error();
      if (c->at < t) {
        low = middle;
        best = *c;
      } else {
        high = middle;
      }
    }
    return best.last;
  }
  // Older ones are pruned: then by the entries, whose ids have gaps.
  std::int64_t from = 1;  // the answer is below, or its predecessor
  std::int64_t end = first_id.value;
  while (from < end) {
    const std::int64_t middle = from + (end - from) / 2;
    auto q = entry_from_.query(middle);
    const bool there = q.next() && q.integer(0) < end;
    if (q.failed()) return db_.last_failure();
    if (there && q.time(1) < t) {
      from = q.integer(0) + 1;
    } else {
      end = middle;
    }
  }
  return log_id{from - 1};
}

// -------------------------------------------------------------------------------------------------------- what waits

db_result<outbox_page> outbox_reads::page(tenant_no tenant, lane_no after, utc_time now,
                                          std::size_t max_lanes, std::size_t per_lane,
                                          std::size_t max_bytes) {
  outbox_page out;
  out.after = after;
  const auto wait_until = [&](utc_time t) {
    if (!out.next_at || t < *out.next_at) out.next_at = t;
  };
  auto e = endpoint(tenant);
  if (!e) return e.error();
  if (!*e || (*e)->disabled) {
    out.end = true;
    return out;
  }
  {
    auto q = dropping_.query(tenant);
    if (q.next()) {
      out.end = true;
      wait_until(now + drop_retry);
      return out;
    }
    if (q.failed()) return db_.last_failure();
  }
  const auto read_to = position("events");
  if (!read_to) return read_to.error();

  slice time{clock_};
  std::size_t lanes = 0;
  std::size_t bytes = 0;
  while (lanes < max_lanes && bytes < max_bytes && !time.over()) {
    lane_no lane;
    {
      auto q = next_lane_.query(tenant, out.after);
      if (!q.next()) {
        if (q.failed()) return db_.last_failure();
        out.end = true;
        return out;
      }
      lane = lane_no{q.integer(0)};
    }
    out.after = lane;
    // Its first row alone says whether it is its turn.
    auto rows = rows_of(tenant, lane, 1);
    if (!rows) return rows.error();
    if (rows->empty()) return damaged("a lane of the outbox has no row");
    if (!has_its_turn(rows->front(), *read_to)) {
      wait_until(now + place_retry);
      continue;
    }
    if (rows->front().next_at > now) {
      wait_until(rows->front().next_at);
      continue;
    }
    if (per_lane > 1) {
      rows = rows_of(tenant, lane, per_lane);
      if (!rows) return rows.error();
    }
    ++lanes;
    for (waiting& w : *rows) {
      if (!has_its_turn(w, *read_to) || w.next_at > now) break;
      auto item = item_of((*e)->id, tenant, lane, std::move(w));
      if (!item) return item.error();
      bytes += size_of(item->event);
      out.items.push_back(std::move(*item));
      if (bytes >= max_bytes || time.over()) break;
    }
  }
  return out;
}

db_result<std::vector<outbox_reads::waiting>> outbox_reads::rows_of(tenant_no tenant, lane_no lane,
                                                                    std::size_t limit) {
  std::vector<waiting> out;
  auto q = lane_rows_.query(tenant, lane, limit);
  while (q.next()) {
    waiting w;
    w.no = q.number<outbox_no>(0);
    w.place = q.number<log_id>(1);
    w.type = static_cast<event_type>(q.integer(2));
    w.log = q.number<log_id>(3);
    if (!q.is_null(4)) w.recipient = q.number<user_no>(4);
    w.event_id = q.blob(5);
    w.data = q.text(6);
    w.at = q.time(7);
    w.attempts = static_cast<std::uint32_t>(q.integer(8));
    w.next_at = q.time(9);
    out.push_back(std::move(w));
  }
  if (q.failed()) return db_.last_failure();
  return out;
}

db_result<outbox_item> outbox_reads::item_of(const tenant_id& tenant, tenant_no no, lane_no lane,
                                             waiting&& w) {
  outbox_item item;
  item.no = w.no;
  item.lane = lane;
  item.place = w.place;
  item.type = w.type;
  item.event_id = event_id_text(w.event_id);
  item.attempts = w.attempts;
  item.at = w.at;
  item.next_at = w.next_at;
  item.event.type = w.type;
  item.event.tenant = tenant;
  item.event.at = w.at;
  const auto told = tell(item, no, w);
  if (!told) return told.error();
  item.obsolete = !*told;
  item.event.data = std::move(w.data);
  return item;
}

db_result<bool> outbox_reads::tell(outbox_item& item, tenant_no tenant, const waiting& w) {
  const bool about_a_room = item.lane.value > 0;
  if (!about_a_room) return true;  // its data says it all
  const room_no room{item.lane.value};
  auto found = room_of(room);
  if (!found) return found.error();
  if (!*found) return false;
  webhook_event& e = item.event;
  e.room = std::move((*found)->info);
  if (!w.log.is_set()) return true;  // made or deleted
  if (w.type == event_type::message_offline)
    return tell_offline(item, tenant, room, w, (*found)->live);
  auto logged = entry_of(w.log);
  if (!logged) return logged.error();
  if (!*logged || (*logged)->room != room) return false;  // retention was before us
  switch (w.type) {
    case event_type::message_created:
      e.message = std::move((*logged)->e);
      return true;
    case event_type::message_edited:
    case event_type::message_deleted: {
      auto message = entry_at(room, (*logged)->target.value_or(room_seq{}));
      if (!message) return message.error();
      e.message = std::move(*message);
      break;
    }
    default:
      break;
  }
  e.logged = std::move((*logged)->e);
  return true;
}

db_result<bool> outbox_reads::tell_offline(outbox_item& item, tenant_no tenant, room_no room,
                                           const waiting& w, bool live) {
  if (!live) return false;
  auto logged = entry_of(w.log);
  if (!logged) return logged.error();
  if (!*logged || (*logged)->room != room) return false;
  entry& message = (*logged)->e;
  const auto* body = std::get_if<message_body>(&message.body);
  if (body == nullptr || body->deleted_at) return false;
  if (w.recipient) {
    auto q = member_cursor_.query(tenant, *w.recipient, room);
    // Acked, or not a member (any more).
    const bool lacks = q.next() && q.number<room_seq>(0) < message.seq;
    if (q.failed()) return db_.last_failure();
    if (!lacks) return false;
    auto name = users_.name(*w.recipient);
    if (!name) return name.error();
    item.event.recipient = **name;
  } else {
    item.event.lists_recipients = true;
    item.list_room = room;
    item.list_seq = message.seq;
    item.list_sender = body->sender;
  }
  item.event.message = std::move(message);
  return true;
}

db_result<std::optional<outbox_reads::found_room>> outbox_reads::room_of(room_no room) {
  auto q = room_.query(room);
  if (!q.next()) {
    if (q.failed()) return db_.last_failure();
    return std::optional<found_room>{};
  }
  auto row = decode_room(q, users_);
  if (!row) return row.error();
  return std::optional{found_room{std::move(row->info), q.integer(room_columns_count) != 0}};
}

db_result<std::optional<outbox_reads::found_entry>> outbox_reads::entry_of(log_id id) {
  constexpr int target_seq = 3;
  constexpr int in_room = 14;
  auto q = entry_.query(id);
  if (!q.next()) {
    if (q.failed()) return db_.last_failure();
    return std::optional<found_entry>{};
  }
  auto e = entries_.decode(q);
  if (!e) return e.error();
  found_entry out{.e = std::move(*e), .room = q.number<room_no>(in_room)};
  if (!q.is_null(target_seq)) out.target = q.number<room_seq>(target_seq);
  return std::optional{std::move(out)};
}

db_result<std::optional<entry>> outbox_reads::entry_at(room_no room, room_seq seq) {
  auto q = entry_at_.query(room, seq);
  if (!q.next()) {
    if (q.failed()) return db_.last_failure();
    return std::optional<entry>{};
  }
  auto e = entries_.decode(q);
  if (!e) return e.error();
  return std::optional{std::move(*e)};
}

db_result<store::acked_members> outbox_reads::acked_members(room_no room, user_no after,
                                                            std::size_t limit) {
  limit = std::max<std::size_t>(limit, 1);
  store::acked_members out;
  user_no last{};
  auto q = members_.query(room, after, limit + 1);
  while (q.next()) {
    if (out.members.size() == limit) {
      out.next = last;
      return out;
    }
    last = q.number<user_no>(0);
    auto name = users_.name(last);
    if (!name) return name.error();
    const auto joined = q.number<room_seq>(1);
    out.members.push_back({**name, joined, std::max(joined, q.number<room_seq>(2))});
  }
  if (q.failed()) return db_.last_failure();
  return out;
}

// ------------------------------------------------------------------------------------------------------ dead letters

db_result<dead_letter_list> outbox_reads::dead_letters(tenant_no tenant, std::size_t limit,
                                                       std::int64_t before) {
  limit = std::max<std::size_t>(limit, 1);
  dead_letter_list out;
  std::int64_t last = 0;
  std::size_t names = 0;
  auto q = dead_letters_.query(tenant, before, limit + 1);
  while (q.next()) {
    if (out.letters.size() == limit || names >= names_a_page) {
      out.next_cursor = encode_cursor(cursor_kind::dead_letters, {last, 0});
      return out;
    }
    last = q.integer(0);
    names += parse_recipients(q.text(8)).size();
    dead_letter& d = out.letters.emplace_back();
    d.id = dead_letter_id(dead_no{last});
    d.kind = static_cast<dead_kind>(q.integer(1));
    d.attempts = static_cast<std::uint32_t>(q.integer(9));
    d.last_attempt_at = q.optional_time(10);
    d.error = q.text(11);
    d.created_at = q.time(12);
    if (!q.is_null(7)) {
      const auto described = notifications_.describe(d, q.number<notification_no>(7), q.text(8));
      if (!described) return described.error();
      continue;
    }
    d.type = static_cast<event_type>(q.integer(3));
    d.event_id = event_id_text(q.blob(6));
    if (const auto lane = q.integer(2); lane > 0) {
      auto room = room_id_.query(lane, tenant);
      if (room.next()) d.room = room_id{room.id(0)};
      if (room.failed()) return db_.last_failure();
    }
    if (!q.is_null(5)) {
      auto name = users_.name(q.number<user_no>(5));
      if (!name) return name.error();
      d.user = **name;
    }
    for (const user_no user : parse_recipients(q.text(8))) {
      auto name = users_.name(user);
      if (!name) return name.error();
      d.recipients.push_back(**name);
    }
    if (auto named = name_entry(d, q.number<log_id>(4)); !named) return named.error();
  }
  if (q.failed()) return db_.last_failure();
  return out;
}

db_result<void> outbox_reads::name_entry(dead_letter& d, log_id id) {
  if (!id.is_set()) return {};
  auto q = entry_name_.query(id);
  if (q.next()) {
    d.seq = q.number<room_seq>(0);
    if (!q.is_null(1)) d.message = message_id{q.id(1)};
  }
  if (q.failed()) return db_.last_failure();
  return {};
}

}  // namespace parley::store
