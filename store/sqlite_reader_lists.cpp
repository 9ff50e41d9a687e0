// The lists of sqlite_reader: rooms, members, tenants.

#include "protocol/limits.hpp"
#include "store/page_cursor.hpp"
#include "store/read_snapshot.hpp"
#include "store/sqlite_reader.hpp"

#include <algorithm>
#include <limits>

namespace parley::store {
namespace {

using namespace std::chrono_literals;

error damaged_cursor() { return invalid("cursor", "the cursor is not one that a list gave"); }

/// Where to go on, or the given start of the list; nullopt: damaged.
std::optional<cursor_position> start_of(cursor_kind kind, std::string_view cursor,
                                        const cursor_position& start) {
  if (cursor.empty()) return start;
  return decode_cursor(kind, cursor);
}

/// Presence is compared in steps, a row of a scan each (0.3 µs, tests/store/presence_rate.cpp); what is found by a key
/// costs as much as so many. A slice ends with the user that passes its bound.
constexpr std::size_t steps_of_a_key = 8;
constexpr std::size_t presence_slice_steps = 32 * 1024;

constexpr std::size_t export_slice_steps = 32 * 1024;  // some 5 ms

constexpr std::int64_t first = 0;
constexpr std::int64_t after_all = std::numeric_limits<std::int64_t>::max();

}  // namespace

error unreadable(const db_failure&) { return unavailable("the store could not be read", 1s); }

// -------------------------------------------------------------------------------------------------------------- rooms

result<std::optional<room_view>> sqlite_reader::room(tenant_no tenant, room_id room,
                                                     const std::optional<user_id>& self) {
  return in_snapshot<std::optional<room_view>>([&]() -> result<std::optional<room_view>> {
    room_view out;
    {
      auto q = room_by_id_.query(tenant, room);
      if (!q.next()) {
        if (q.failed()) return unreadable(db_->last_failure());
        return std::optional<room_view>{};
      }
      auto row = decode_room(q, users_);
      if (!row) return unreadable(row.error());
      out.no = row->no;
      out.info = std::move(row->info);
    }
    if (!self) return std::optional{std::move(out)};
    auto user = users_.find(tenant, self->view());
    if (!user) return unreadable(user.error());
    if (*user) {
      auto member = membership(tenant, out.no, **user, *self);
      if (!member) return unreadable(member.error());
      out.self = std::move(*member);
    }
    return std::optional{std::move(out)};
  });
}

result<bool> sqlite_reader::room_exists(tenant_no tenant, room_id room) {
  return in_snapshot<bool>([&]() -> result<bool> {
    auto q = room_exists_.query(tenant, room);
    const bool there = q.next();
    if (q.failed()) return unreadable(db_->last_failure());
    return there;
  });
}

result<room_list> sqlite_reader::rooms_of(tenant_no tenant, const user_id& user, std::size_t limit,
                                          std::string_view cursor, std::size_t offset) {
  // The order is (newest entry, room), both descending; an empty cursor lies before all.
  const auto from = start_of(cursor_kind::rooms_of_user, cursor, {after_all, after_all});
  if (!from) return damaged_cursor();
  limit = std::max<std::size_t>(limit, 1);
  return in_snapshot<room_list>([&]() -> result<room_list> {
    room_list out;
    auto no = snapshot_no();
    if (!no) return unreadable(no.error());
    out.snapshot = *no;
    auto self = users_.find(tenant, user.view());
    if (!self) return unreadable(self.error());
    if (!*self) return out;
    auto ranked = ranked_rooms(tenant, **self);
    if (!ranked) return unreadable(ranked.error());
    const auto place = [](const ranked_room& r) {
      return cursor_position{r.newest.value, r.position.no.value};
    };
    auto it = std::partition_point(ranked->begin(), ranked->end(),
                                   [&](const ranked_room& r) { return place(r) >= *from; });
    it += static_cast<std::ptrdiff_t>(std::min(offset, static_cast<std::size_t>(ranked->end() - it)));
    for (; it != ranked->end() && out.rooms.size() < limit; ++it) {
      auto listed = list_room(it->position.no);
      if (!listed) return unreadable(listed.error());
      auto unread = unread_count(it->position.no, it->position.last_read, **self);
      if (!unread) return unreadable(unread.error());
      listed->room.self = member_row{user, it->position.role, it->joined_seq, it->joined_at};
      listed->last_ack = it->position.last_ack;
      listed->last_read = it->position.last_read;
      listed->unread_count = *unread;
      out.rooms.push_back(std::move(*listed));
    }
    if (it != ranked->end()) {
      out.next_cursor = encode_cursor(cursor_kind::rooms_of_user, place(*(it - 1)));
    }
    return out;
  });
}

result<room_list> sqlite_reader::rooms_of_tenant(tenant_no tenant, std::size_t limit,
                                                 std::string_view cursor, std::size_t offset) {
  const auto from = start_of(cursor_kind::rooms_of_tenant, cursor, {after_all, 0});
  if (!from) return damaged_cursor();
  limit = std::max<std::size_t>(limit, 1);
  return in_snapshot<room_list>([&]() -> result<room_list> {
    room_list out;
    auto no = snapshot_no();
    if (!no) return unreadable(no.error());
    out.snapshot = *no;
    std::vector<room_no> rooms;
    {
      auto q = rooms_of_tenant_.query(tenant, (*from)[0], limit + 1, offset);
      while (q.next()) rooms.push_back(q.number<room_no>(0));
      if (q.failed()) return unreadable(db_->last_failure());
    }
    const bool more = rooms.size() > limit;
    if (more) rooms.pop_back();
    for (const room_no room : rooms) {
      auto listed = list_room(room);
      if (!listed) return unreadable(listed.error());
      out.rooms.push_back(std::move(*listed));
    }
    if (more)
      out.next_cursor = encode_cursor(cursor_kind::rooms_of_tenant, {rooms.back().value, 0});
    return out;
  });
}

db_result<listed_room> sqlite_reader::list_room(room_no room) {
  listed_room out;
  {
    auto q = room_by_no_.query(room);
    if (!q.next()) {
      if (q.failed()) return db_->last_failure();
      return damaged("room " + std::to_string(room.value) + " is listed and is not there");
    }
    auto row = decode_room(q, users_);
    if (!row) return row.error();
    out.room.no = row->no;
    out.room.info = std::move(row->info);
  }
  auto last = last_message(room);
  if (!last) return last.error();
  out.last_message = std::move(*last);
  return out;
}

db_result<std::int64_t> sqlite_reader::unread_count(room_no room, room_seq after, user_no self) {
  auto q = unread_.query(room, after, self);
  if (q.next()) return q.integer(0);
  return db_->last_failure();
}

db_result<std::optional<entry>> sqlite_reader::last_message(room_no room) {
  auto q = last_message_.query(room);
  if (!q.next()) {
    if (q.failed()) return db_->last_failure();
    return std::optional<entry>{};
  }
  auto e = decoder_.decode(q);
  if (!e) return e.error();
  return std::optional{std::move(*e)};
}

// ------------------------------------------------------------------------------------------------------------ members

result<member_list> sqlite_reader::members(room_no room, std::size_t limit, std::string_view cursor,
                                           std::size_t offset) {
  const auto from = start_of(cursor_kind::members, cursor, {first, 0});
  if (!from) return damaged_cursor();
  limit = std::max<std::size_t>(limit, 1);
  return in_snapshot<member_list>([&]() -> result<member_list> {
    member_list out;
    room_seq last_seq;
    {
      auto q = room_by_no_.query(room);
      if (!q.next()) {
        if (q.failed()) return unreadable(db_->last_failure());
        return not_found("room");
      }
      auto row = decode_room(q, users_);
      if (!row) return unreadable(row.error());
      out.member_count = row->info.member_count;
      last_seq = row->info.last_seq;
    }
    user_no last_given;
    auto q = members_.query(room, (*from)[0], limit + 1, offset);
    while (q.next()) {
      if (out.members.size() == limit) {
        out.next_cursor = encode_cursor(cursor_kind::members, {last_given.value, 0});
        return out;
      }
      last_given = q.number<user_no>(0);
      auto name = users_.name(last_given);
      if (!name) return unreadable(name.error());
      member_list::item item;
      item.member = {**name, static_cast<member_role>(q.integer(1)), q.number<room_seq>(2),
                     q.time(3)};
      const room_seq joined = item.member.joined_seq;
      item.last_ack = std::min(last_seq, std::max(joined, q.number<room_seq>(4)));
      item.last_read = std::min(item.last_ack, std::max(joined, q.number<room_seq>(5)));
      out.members.push_back(std::move(item));
    }
    if (q.failed()) return unreadable(db_->last_failure());
    return out;
  });
}

// ------------------------------------------------------------------------------------------------------------- limits

result<std::optional<user_id>> sqlite_reader::in_too_many_rooms(tenant_no tenant, room_id room,
                                                                const std::vector<user_id>& users,
                                                                const std::optional<user_id>& caller,
                                                                bool joins, std::uint32_t max) {
  using found = std::optional<user_id>;
  return in_snapshot<found>([&]() -> result<found> {
    auto kind = room_kind_.query(tenant, room);
    if (!kind.next()) {
      if (kind.failed()) return unreadable(db_->last_failure());
      return found{};
    }
    const auto no = kind.number<room_no>(0);
    const auto type = static_cast<room_type>(kind.integer(1));
    if (type == room_type::dm || (joins && type != room_type::channel)) return found{};
    /// nullopt: no member.
    const auto role_of = [&](const user_id& user) -> result<std::optional<member_role>> {
      const auto known = users_.find(tenant, user.view());
      if (!known) return unreadable(known.error());
      if (!*known) return std::optional<member_role>{};
      auto q = role_.query(tenant, **known, no);
      if (q.next()) return std::optional{static_cast<member_role>(q.integer(0))};
      if (q.failed()) return unreadable(db_->last_failure());
      return std::optional<member_role>{};
    };
    if (caller) {
      const auto role = role_of(*caller);
      if (!role) return role.error();
      if (!*role || **role == member_role::member) return found{};
    }
    for (const auto& user : users) {
      const auto role = role_of(user);
      if (!role) return role.error();
      if (*role) continue;
      const auto known = users_.find(tenant, user.view());
      if (!known) return unreadable(known.error());
      if (!*known) {  // in none so far
        if (max == 0) return found{user};
        continue;
      }
      // Few are near the bound: the cheap count takes deleted rooms along, which are swept in time.
      for (auto* count : {&count_memberships_, &count_rooms_}) {
        auto q = count->query(tenant, **known, max);
        if (!q.next()) return unreadable(db_->last_failure());
        if (q.integer(0) < static_cast<std::int64_t>(max)) break;
        if (count == &count_rooms_) return found{user};
      }
    }
    return found{};
  });
}

// ----------------------------------------------------------------------------------------------------------- presence

result<store::audience> sqlite_reader::audience(tenant_no tenant, const user_id& user,
                                                std::int64_t max_members, std::size_t max_rooms) {
  return in_snapshot<store::audience>([&]() -> result<store::audience> {
    store::audience out;
    auto self = users_.find(tenant, user.view());
    if (!self) return unreadable(self.error());
    if (!*self) return out;
    auto q = audience_.query(tenant, **self, max_members, max_rooms);
    while (q.next()) {
      out.rooms.push_back(room_id{q.id(0)});
      if (static_cast<room_type>(q.integer(1)) == room_type::dm) ++out.dms;
    }
    if (q.failed()) return unreadable(db_->last_failure());
    return out;
  });
}

result<presence_list> sqlite_reader::presence(tenant_no tenant, const std::optional<user_id>& self,
                                              const std::vector<user_id>& users) {
  return in_snapshot<presence_list>([&]() -> result<presence_list> {
    presence_list out;
    std::vector<compared_room> own;
    if (self) {
      auto asker = users_.find(tenant, self->view());
      if (!asker) return unreadable(asker.error());
      if (*asker) {
        auto rooms = compared_rooms(tenant, **asker);
        if (!rooms) return unreadable(rooms.error());
        own = std::move(*rooms);
      }
    }
    std::size_t steps = own.size();
    for (const user_id& user : users) {
      if (!out.users.empty() && steps >= presence_slice_steps) break;
      presence_list::item item;
      item.visible = !self || *self == user;
      auto found = users_.find(tenant, user.view());
      if (!found) return unreadable(found.error());
      if (*found && !item.visible) {
        auto shared = shares_one(tenant, own, **found, steps);
        if (!shared) return unreadable(shared.error());
        item.visible = *shared;
      }
      if (*found && item.visible) {
        auto q = last_seen_.query(**found);
        if (q.next()) item.last_seen = q.optional_time(0);
        if (q.failed()) return unreadable(db_->last_failure());
      }
      out.users.push_back(item);
    }
    return out;
  });
}

db_result<std::vector<sqlite_reader::compared_room>> sqlite_reader::compared_rooms(tenant_no tenant,
                                                                                   user_no user) {
  std::vector<compared_room> out;
  auto q = newest_rooms_.query(tenant, user, limits::presence_max_rooms);
  while (q.next()) out.push_back({q.number<room_no>(0)});
  if (q.failed()) return db_->last_failure();
  std::reverse(out.begin(), out.end());
  return out;
}

db_result<bool> sqlite_reader::shares_one(tenant_no tenant, std::vector<compared_room>& own,
                                          user_no other, std::size_t& steps) {
  if (own.empty()) return false;
  // Both lists in one order: a scan of the other's is cheapest, unless that is so long that our own, one by one, is.
  const std::size_t worth_it = own.size() * steps_of_a_key;
  std::size_t scanned = 0;
  {
    auto mine = own.begin();
    auto q = rooms_between_.query(tenant, other, own.front().no, own.back().no, worth_it);
    for (; q.next(); ++scanned) {
      const auto theirs = q.number<room_no>(0);
      while (mine->no < theirs) ++mine;  // own.back() is not less
      if (mine->no != theirs) continue;
      auto shown = shows(*mine, steps);
      if (!shown || *shown) return shown;
    }
    if (q.failed()) return db_->last_failure();
  }
  steps += scanned;
  if (scanned < worth_it) return false;
  for (compared_room& room : own) {
    if (room.shows == false) continue;
    steps += steps_of_a_key;
    auto q = member_.query(tenant, other, room.no);
    const bool is_member = q.next();
    if (q.failed()) return db_->last_failure();
    if (!is_member) continue;
    auto shown = shows(room, steps);
    if (!shown || *shown) return shown;
  }
  return false;
}

db_result<bool> sqlite_reader::shows(compared_room& room, std::size_t& steps) {
  if (!room.shows) {
    steps += steps_of_a_key;
    auto q = shows_presence_.query(room.no);
    room.shows = q.next();
    if (q.failed()) return db_->last_failure();
  }
  return *room.shows;
}

// ------------------------------------------------------------------------------------------------------------ tenants

result<std::optional<tenant_row>> sqlite_reader::tenant_by_api_key(const sha256_digest& digest) {
  return in_snapshot<std::optional<tenant_row>>([&]() -> result<std::optional<tenant_row>> {
    const blob_view bytes = blob_of(digest);
    auto q = tenant_by_digest_.query(bytes);
    auto found = tenants_of_.next(q);
    if (!found) return unreadable(found.error());
    return std::move(*found);
  });
}

result<std::optional<tenant_row>> sqlite_reader::tenant(const tenant_id& id) {
  return one_tenant(tenant_by_id_, id.view());
}
result<std::optional<tenant_row>> sqlite_reader::tenant_by_key(const key_id& key) {
  return one_tenant(tenant_by_key_, key.view());
}
result<std::optional<tenant_row>> sqlite_reader::one_tenant(statement& by, std::string_view name) {
  return in_snapshot<std::optional<tenant_row>>([&]() -> result<std::optional<tenant_row>> {
    auto q = by.query(name);
    auto found = tenants_of_.next(q);
    if (!found) return unreadable(found.error());
    return std::move(*found);
  });
}

result<std::optional<utc_time>> sqlite_reader::revoked_before(tenant_no tenant, const user_id& user) {
  return in_snapshot<std::optional<utc_time>>([&]() -> result<std::optional<utc_time>> {
    auto q = revoked_before_.query(tenant, user.view());
    std::optional<utc_time> before;
    if (q.next()) before = q.optional_time(0);
    if (q.failed()) return unreadable(db_->last_failure());
    return before;
  });
}

result<tenant_list> sqlite_reader::tenants(std::size_t limit, std::string_view cursor) {
  const auto from = start_of(cursor_kind::tenants, cursor, {first, 0});
  if (!from) return damaged_cursor();
  limit = std::max<std::size_t>(limit, 1);
  return in_snapshot<tenant_list>([&]() -> result<tenant_list> {
    tenant_list out;
    auto q = tenants_.query((*from)[0], limit + 1);
    for (;;) {
      auto row = tenants_of_.next(q);
      if (!row) return unreadable(row.error());
      if (!*row) return out;
      if (out.tenants.size() == limit) {
        out.next_cursor = encode_cursor(cursor_kind::tenants, {out.tenants.back().no.value, 0});
        return out;
      }
      out.tenants.push_back(std::move(**row));
    }
  });
}

result<tenant_usage_list> sqlite_reader::tenant_usage(std::size_t limit, std::string_view cursor,
                                                      std::int64_t count_max) {
  const auto from = start_of(cursor_kind::tenants, cursor, {first, 0});
  if (!from) return damaged_cursor();
  limit = std::max<std::size_t>(limit, 1);
  return in_snapshot<tenant_usage_list>([&]() -> result<tenant_usage_list> {
    tenant_usage_list out;
    auto q = tenant_usage_.query((*from)[0], limit + 1, count_max);
    while (q.next()) {
      if (out.tenants.size() == limit) {
        out.next_cursor = encode_cursor(cursor_kind::tenants, {out.tenants.back().no.value, 0});
        return out;
      }
      out.tenants.push_back({q.number<tenant_no>(0), tenant_id{q.text(1)}, q.integer(2) != 0,
                             q.integer(3), q.integer(4)});
    }
    if (q.failed()) return unreadable(db_->last_failure());
    return out;
  });
}

// -------------------------------------------------------------------------------------------------------------- jobs

job_row sqlite_reader::job_of(const statement::rows& row) {
  return {.id = std::string{row.text(1)},
          .kind = std::string{row.text(2)},
          .tenant = row.number<tenant_no>(3),
          .subject = std::string{row.text(4)},
          .state = static_cast<job_state>(row.integer(5)),
          .done = row.integer(6),
          .total = row.integer(7),
          .error = std::string{row.text(8)},
          .created_at = row.time(9),
          .updated_at = row.time(10)};
}

result<std::optional<job_row>> sqlite_reader::job(std::string_view id) {
  return in_snapshot<std::optional<job_row>>([&]() -> result<std::optional<job_row>> {
    std::optional<job_row> out;
    auto q = job_.query(id);
    if (q.next()) out = job_of(q);
    if (q.failed()) return unreadable(db_->last_failure());
    return out;
  });
}

result<job_list> sqlite_reader::jobs(std::size_t limit, std::string_view cursor) {
  const auto from = start_of(cursor_kind::jobs, cursor, {after_all, 0});
  if (!from) return damaged_cursor();
  limit = std::max<std::size_t>(limit, 1);
  return in_snapshot<job_list>([&]() -> result<job_list> {
    job_list out;
    std::int64_t last_given = 0;
    auto q = jobs_.query((*from)[0], limit + 1);
    while (q.next()) {
      if (out.jobs.size() == limit) {
        out.next_cursor = encode_cursor(cursor_kind::jobs, {last_given, 0});
        return out;
      }
      last_given = q.integer(0);
      out.jobs.push_back(job_of(q));
    }
    if (q.failed()) return unreadable(db_->last_failure());
    return out;
  });
}

// ------------------------------------------------------------------------------------------------------------ export

result<std::optional<user_export_page>> sqlite_reader::export_user(tenant_no tenant,
                                                                   const user_id& user,
                                                                   std::string_view cursor,
                                                                   std::size_t max_rows,
                                                                   std::size_t max_bytes) {
  // First the memberships, then what was said: each part has cursors of its own.
  const auto rooms_from = start_of(cursor_kind::export_memberships, cursor, {first, 0});
  const auto messages_from = decode_cursor(cursor_kind::export_messages, cursor);
  if (!rooms_from && !messages_from) return damaged_cursor();
  max_rows = std::max<std::size_t>(max_rows, 1);
  using page = std::optional<user_export_page>;
  return in_snapshot<page>([&]() -> result<page> {
    user_export_page out;
    auto self = users_.find(tenant, user.view());
    if (!self) return unreadable(self.error());
    if (!*self) return page{};
    if (cursor.empty()) {
      auto q = export_person_.query(**self);
      if (!q.next()) return unreadable(db_->last_failure());
      out.self =
          user_export_page::person{user, q.optional_time(0), q.optional_time(1), q.optional_time(2)};
      auto topics = notifications_.topics(tenant, **self);
      if (!topics) return unreadable(topics.error());
      out.topics = std::move(*topics);
    }
    if (!messages_from) {
      auto next = export_memberships(out, tenant, **self, room_no{(*rooms_from)[0]}, max_rows);
      if (!next) return unreadable(next.error());
      out.next_cursor = *next ? encode_cursor(cursor_kind::export_memberships, {(*next)->value, 0})
                              : encode_cursor(cursor_kind::export_messages, {first, 0});
      return page{std::move(out)};
    }
    auto next = export_messages(out, tenant, **self,
                                {room_no{(*messages_from)[0]}, room_seq{(*messages_from)[1]}},
                                max_rows, max_bytes);
    if (!next) return unreadable(next.error());
    if (*next) {
      out.next_cursor =
          encode_cursor(cursor_kind::export_messages, {(*next)->first.value, (*next)->second.value});
    }
    return page{std::move(out)};
  });
}

db_result<std::optional<room_no>> sqlite_reader::export_memberships(user_export_page& out,
                                                                    tenant_no tenant, user_no user,
                                                                    room_no after,
                                                                    std::size_t max_rows) {
  auto self = users_.name(user);
  if (!self) return self.error();
  const user_id id = **self;
  auto q = export_memberships_.query(tenant, user, after, max_rows + 1);
  while (q.next()) {
    if (out.memberships.size() == max_rows) return std::optional{after};
    auto room = decode_room(q, users_);
    if (!room) return room.error();
    after = room->no;
    constexpr int c = room_columns_count;
    user_export_page::membership m{
        std::move(room->info),
        {id, static_cast<member_role>(q.integer(c)), q.number<room_seq>(c + 1), q.time(c + 2)},
        {},
        {}};
    const room_seq joined = m.member.joined_seq;
    m.last_ack = std::min(m.room.last_seq, std::max(joined, q.number<room_seq>(c + 3)));
    m.last_read = std::min(m.last_ack, std::max(joined, q.number<room_seq>(c + 4)));
    out.memberships.push_back(std::move(m));
  }
  if (q.failed()) return db_->last_failure();
  return std::optional<room_no>{};
}

db_result<std::optional<std::pair<room_no, room_seq>>> sqlite_reader::export_messages(
    user_export_page& out, tenant_no tenant, user_no user, std::pair<room_no, room_seq> after,
    std::size_t max_rows, std::size_t max_bytes) {
  // There is no index by sender, it would cost every send: the logs of the tenant's rooms are walked, a slice a call.
  using place = std::optional<std::pair<room_no, room_seq>>;
  std::size_t steps = export_slice_steps;
  std::size_t bytes = 0;
  const auto give = [&](room_no room, room_id id, std::int64_t entry_id) -> db_result<bool> {
    auto q = export_entry_.query(entry_id);
    if (!q.next()) {
      if (q.failed()) return db_->last_failure();
      return damaged("the index of room " + std::to_string(room.value) + " names no entry");
    }
    auto e = decoder_.decode(q);
    if (!e) return e.error();
    if (const auto* m = std::get_if<message_body>(&e->body))
      bytes += m->content.size() + m->meta.value.size() + 256;
    out.messages.push_back({id, std::move(*e)});
    return out.messages.size() < max_rows && bytes < max_bytes;
  };
  for (;;) {
    room_no room;
    room_id id;
    {
      auto q = export_room_.query(tenant, after.first);
      if (!q.next()) {
        if (q.failed()) return db_->last_failure();
        return place{};
      }
      room = q.number<room_no>(0);
      id = room_id{q.id(1)};
    }
    if (room != after.first) after = {room, room_seq{0}};
    if (steps <= steps_of_a_key) return place{after};
    steps -= steps_of_a_key;
    const std::size_t limit = steps;
    auto q = export_log_.query(room, after.second, limit);
    std::size_t seen = 0;
    while (q.next()) {
      ++seen;
      after.second = q.number<room_seq>(0);
      const bool own = q.integer(2) == static_cast<std::int64_t>(entry_kind::message) &&
                       q.number<user_no>(3) == user;
      if (!own) continue;
      steps -= std::min(steps, steps_of_a_key);
      auto more = give(room, id, q.integer(1));
      if (!more) return more.error();
      if (!*more) return place{after};
    }
    if (q.failed()) return db_->last_failure();
    if (seen == limit) return place{after};
    steps -= std::min(steps, seen);
    after = {room.next(), room_seq{0}};
  }
}

}  // namespace parley::store
