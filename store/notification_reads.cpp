#include "store/notification_reads.hpp"

#include "store/dead_letters.hpp"

#include <algorithm>
#include <utility>

namespace parley::store {
namespace {

/// About what one takes in a frame, besides its payload and topic.
constexpr std::size_t frame_bytes = 160;

}  // namespace

notification_reads::notification_reads(connection& db, user_names& users)
    : db_(db),
      users_(users),
      has_pending_(db, lazily{"SELECT 1 FROM notification_pending WHERE tenant_no = ? "
                              "AND user_no = ? LIMIT 1"}),
      has_of_rooms_(db, lazily{"SELECT 1 FROM notifications WHERE tenant_no = ? "
                               "AND room_no IS NOT NULL AND state = 1 LIMIT 1"}),
      next_pending_(db, lazily{"SELECT notification_no FROM notification_pending "
                               "WHERE tenant_no = ? AND user_no = ? AND notification_no > ? "
                               "ORDER BY notification_no LIMIT 1"}),
      next_of_room_(db, lazily{"SELECT notification_no, created_at, expires_at FROM notifications "
                               "WHERE tenant_no = ? AND room_no = ? AND state = 1 "
                               "AND notification_no > ? ORDER BY notification_no LIMIT 1"}),
      select_rooms_(db, lazily{"SELECT m.room_no, m.joined_at FROM room_members m "
                               "JOIN rooms r ON r.room_no = m.room_no AND r.deleted_at IS NULL "
                               "WHERE m.tenant_no = ? AND m.user_no = ?"}),
      select_shown_(db,
                    lazily{"SELECT notification_id, topic, created_at, payload FROM notifications "
                           "WHERE notification_no = ?1 AND state = 1 AND expires_at > ?3 "
                           "AND NOT EXISTS (SELECT 1 FROM notification_acks a "
                           "WHERE a.notification_no = ?1 AND a.user_no = ?2)"}),
      select_last_(db, lazily{"SELECT coalesce(max(notification_no), 0) FROM notifications"}),
      select_topics_(db, lazily{"SELECT topic FROM notification_subscriptions WHERE tenant_no = ? "
                                "AND user_no = ? ORDER BY topic"}),
      select_described_(db, lazily{"SELECT notification_id, topic FROM notifications "
                                   "WHERE notification_no = ?"}) {}

db_result<bool> notification_reads::may_wait(tenant_no tenant, user_no user) {
  {
    auto q = has_pending_.query(tenant, user);
    if (q.next()) return true;
    if (q.failed()) return db_.last_failure();
  }
  auto q = has_of_rooms_.query(tenant);
  if (q.next()) return true;
  if (q.failed()) return db_.last_failure();
  return false;
}

// ---------------------------------------------------------------------------------------------------------- the page

db_result<bool> notification_reads::advance(stream& s, tenant_no tenant, user_no user,
                                            notification_no after) {
  if (s.room) {
    auto q = next_of_room_.query(tenant, *s.room, after);
    if (q.next()) {
      s.no = q.number<notification_no>(0);
      s.created_at = q.time(1);
      s.expires_at = q.time(2);
      return true;
    }
    if (q.failed()) return db_.last_failure();
    return false;
  }
  auto q = next_pending_.query(tenant, user, after);
  if (q.next()) {
    s.no = q.number<notification_no>(0);
    return true;
  }
  if (q.failed()) return db_.last_failure();
  return false;
}

db_result<std::vector<notification_reads::stream>> notification_reads::streams_of(
    tenant_no tenant, user_no user, notification_no after) {
  std::vector<stream> out;
  const auto add = [&](stream s) -> db_result<void> {
    auto has_one = advance(s, tenant, user, after);
    if (!has_one) return has_one.error();
    if (*has_one) out.push_back(s);
    return {};
  };
  if (auto added = add({}); !added) return added.error();
  {
    // A tenant without any is the most common one.
    auto q = has_of_rooms_.query(tenant);
    if (!q.next()) {
      if (q.failed()) return db_.last_failure();
      return out;
    }
  }
  auto q = select_rooms_.query(tenant, user);
  while (q.next()) {
    stream s;
    s.room = q.number<room_no>(0);
    s.joined_at = q.time(1);
    if (auto added = add(s); !added) return added.error();
  }
  if (q.failed()) return db_.last_failure();
  return out;
}

db_result<pending_notifications> notification_reads::pending(tenant_no tenant, user_no user,
                                                             notification_no after, utc_time now,
                                                             std::size_t max_items,
                                                             std::size_t max_bytes) {
  pending_notifications out;
  out.to = after;
  auto streams = streams_of(tenant, user, after);
  if (!streams) return streams.error();
  std::make_heap(streams->begin(), streams->end(), comes_later);
  std::size_t bytes = 0;
  for (std::size_t steps = 0; !streams->empty();) {
    if (steps >= page_steps || out.items.size() >= std::max<std::size_t>(max_items, 1) ||
        (!out.items.empty() && bytes >= max_bytes)) {
      out.more = true;
      return out;
    }
    const notification_no no = streams->front().no;
    bool wanted = false;
    while (!streams->empty() && streams->front().no == no) {
      ++steps;
      std::pop_heap(streams->begin(), streams->end(), comes_later);
      stream& s = streams->back();
      wanted = wanted || !s.room || (s.joined_at <= s.created_at && s.expires_at > now);
      auto has_one = advance(s, tenant, user, no);
      if (!has_one) return has_one.error();
      if (*has_one) {
        std::push_heap(streams->begin(), streams->end(), comes_later);
      } else {
        streams->pop_back();
      }
    }
    if (wanted) {
      auto item = shown(no, user, now);
      if (!item) return item.error();
      if (*item) {
        bytes += frame_bytes + (*item)->topic.size() + (*item)->payload.value.size();
        out.items.push_back(std::move(**item));
      }
    }
    out.to = no;
  }
  auto q = select_last_.query();
  if (!q.next()) return db_.last_failure();
  out.to = std::max(out.to, q.number<notification_no>(0));
  return out;
}

db_result<std::optional<shown_notification>> notification_reads::shown(notification_no no,
                                                                       user_no user, utc_time now) {
  auto q = select_shown_.query(no, user, now);
  if (!q.next()) {
    if (q.failed()) return db_.last_failure();
    return std::optional<shown_notification>{};
  }
  shown_notification n;
  n.no = no;
  n.id = q.id(0);
  n.topic = q.text(1);
  n.created_at = q.time(2);
  n.payload = json_text{q.text(3)};
  return std::optional{std::move(n)};
}

// -------------------------------------------------------------------------------------------- topics, dead letters

db_result<std::vector<std::string>> notification_reads::topics(tenant_no tenant, user_no user) {
  std::vector<std::string> out;
  auto q = select_topics_.query(tenant, user);
  while (q.next()) out.emplace_back(q.text(0));
  if (q.failed()) return db_.last_failure();
  return out;
}

db_result<void> notification_reads::describe(dead_letter& letter, notification_no no,
                                             std::string_view recipients) {
  {
    auto q = select_described_.query(no);
    if (q.next()) {
      letter.notification_id = q.id(0).to_string();
      letter.topic = q.text(1);
    } else if (q.failed()) {
      return db_.last_failure();
    }
  }
  std::vector<user_id> names;
  for (const user_no user : parse_recipients(recipients)) {
    auto name = users_.name(user);
    if (!name) return name.error();
    names.push_back(**name);
  }
  if (names.size() == 1) {
    letter.user = std::move(names.front());
  } else {
    letter.recipients = std::move(names);
  }
  return {};
}

}  // namespace parley::store
