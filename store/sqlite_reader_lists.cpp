// The lists of sqlite_reader: rooms, members, tenants.

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
    std::optional<user_no> asker;
    if (self) {
      auto found = users_.find(tenant, self->view());
      if (!found) return unreadable(found.error());
      asker = *found;
    }
    for (const user_id& user : users) {
      presence_list::item item;
      item.visible = !self || *self == user;
      auto found = users_.find(tenant, user.view());
      if (!found) return unreadable(found.error());
      if (*found && !item.visible && asker) {
        auto q = shares_room_.query(tenant, **found, *asker);
        item.visible = q.next();
        if (q.failed()) return unreadable(db_->last_failure());
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

// ------------------------------------------------------------------------------------------------------------ tenants

result<std::optional<tenant_row>> sqlite_reader::tenant_by_api_key(const sha256_digest& digest) {
  return in_snapshot<std::optional<tenant_row>>([&]() -> result<std::optional<tenant_row>> {
    const blob_view bytes = blob_of(digest);
    auto q = tenant_by_digest_.query(bytes);
    auto found = tenant_of(q);
    if (!found) return unreadable(found.error());
    return std::move(*found);
  });
}

result<std::optional<tenant_row>> sqlite_reader::tenant(const tenant_id& id) {
  return in_snapshot<std::optional<tenant_row>>([&]() -> result<std::optional<tenant_row>> {
    auto q = tenant_by_id_.query(id.view());
    auto found = tenant_of(q);
    if (!found) return unreadable(found.error());
    return std::move(*found);
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
      auto row = tenant_of(q);
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

db_result<std::optional<tenant_row>> sqlite_reader::tenant_of(statement::rows& row) {
  if (!row.next()) {
    if (row.failed()) return db_->last_failure();
    return std::optional<tenant_row>{};
  }
  tenant_row out;
  out.no = row.number<tenant_no>(0);
  out.id = tenant_id{row.text(1)};
  out.name = row.text(2);
  out.config = row.text(3);
  out.disabled = row.integer(4) != 0;
  out.created_at = row.time(5);
  auto credentials = credentials_of(out.no);
  if (!credentials) return credentials.error();
  out.credentials = std::move(*credentials);
  return std::optional{std::move(out)};
}

db_result<std::vector<credential_row>> sqlite_reader::credentials_of(tenant_no tenant) {
  std::vector<credential_row> out;
  auto q = credentials_.query(tenant);
  while (q.next()) {
    out.push_back({.id = key_id{q.text(0)},
                   .kind = std::string{q.text(1)},
                   .created_at = q.time(2),
                   .last_used_at = q.optional_time(3),
                   .sealed = std::string{q.blob(4)}});
  }
  if (q.failed()) return db_->last_failure();
  return out;
}

}  // namespace parley::store
