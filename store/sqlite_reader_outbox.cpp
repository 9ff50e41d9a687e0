// What sqlite_reader tells of the outbox and of notifications.

#include "store/page_cursor.hpp"
#include "store/read_snapshot.hpp"
#include "store/sqlite_reader.hpp"

#include <limits>

namespace parley::store {
namespace {

error damaged_cursor() { return invalid("cursor", "the cursor is not one that a list gave"); }

}  // namespace

template <class T, class Query>
result<T> sqlite_reader::ask_outbox(const Query& query) {
  return in_snapshot<T>([&]() -> result<T> {
    if (!outbox_) {
      try {
        outbox_ = std::make_unique<outbox_reads>(*db_, users_, decoder_, notifications_, clock_);
      } catch (const db_exception& e) {
        return unreadable(e.failure());
      }
    }
    auto answer = query(*outbox_);
    if (!answer) return unreadable(answer.error());
    return std::move(*answer);
  });
}

result<endpoint_list> sqlite_reader::endpoints(std::size_t limit, std::string_view cursor) {
  tenant_no after{};
  if (!cursor.empty()) {
    const auto from = decode_cursor(cursor_kind::endpoints, cursor);
    if (!from) return damaged_cursor();
    after = tenant_no{(*from)[0]};
  }
  return ask_outbox<endpoint_list>([&](outbox_reads& o) { return o.endpoints(limit, after); });
}

result<std::optional<endpoint_row>> sqlite_reader::endpoint(tenant_no tenant) {
  return ask_outbox<std::optional<endpoint_row>>([&](outbox_reads& o) { return o.endpoint(tenant); });
}

result<log_positions> sqlite_reader::positions() {
  return ask_outbox<log_positions>([](outbox_reads& o) { return o.positions(); });
}

result<scanned> sqlite_reader::scan_events(log_id after, std::size_t max_entries) {
  return ask_outbox<scanned>([&](outbox_reads& o) { return o.scan_events(after, max_entries); });
}

result<scanned> sqlite_reader::scan_offline(log_id after, utc_time due_before,
                                            std::int64_t max_members, std::size_t max_entries) {
  return ask_outbox<scanned>(
      [&](outbox_reads& o) { return o.scan_offline(after, due_before, max_members, max_entries); });
}

result<scanned> sqlite_reader::scan_tenant(tenant_no tenant, log_id after, log_id to,
                                           std::size_t max_entries) {
  return ask_outbox<scanned>(
      [&](outbox_reads& o) { return o.scan_tenant(tenant, after, to, max_entries); });
}

result<log_id> sqlite_reader::last_before(utc_time t) {
  return ask_outbox<log_id>([&](outbox_reads& o) { return o.last_before(t); });
}

result<outbox_page> sqlite_reader::outbox(tenant_no tenant, lane_no after, utc_time now,
                                          std::size_t max_lanes, std::size_t per_lane,
                                          std::size_t max_bytes) {
  return ask_outbox<outbox_page>(
      [&](outbox_reads& o) { return o.page(tenant, after, now, max_lanes, per_lane, max_bytes); });
}

result<store::acked_members> sqlite_reader::acked_members(room_no room, user_no after,
                                                          std::size_t limit) {
  return ask_outbox<store::acked_members>(
      [&](outbox_reads& o) { return o.acked_members(room, after, limit); });
}

result<pending_notifications> sqlite_reader::notifications(tenant_no tenant, const user_id& user,
                                                           notification_no after, utc_time now,
                                                           std::size_t max_items,
                                                           std::size_t max_bytes) {
  return in_snapshot<pending_notifications>([&]() -> result<pending_notifications> {
    const auto self = users_.find(tenant, user.view());
    if (!self) return unreadable(self.error());
    if (!*self) return pending_notifications{.items = {}, .to = after};
    auto page = notifications_.pending(tenant, **self, after, now, max_items, max_bytes);
    if (!page) return unreadable(page.error());
    return std::move(*page);
  });
}

result<std::vector<std::string>> sqlite_reader::topics(tenant_no tenant, const user_id& user) {
  return in_snapshot<std::vector<std::string>>([&]() -> result<std::vector<std::string>> {
    const auto self = users_.find(tenant, user.view());
    if (!self) return unreadable(self.error());
    if (!*self) return std::vector<std::string>{};
    auto topics = notifications_.topics(tenant, **self);
    if (!topics) return unreadable(topics.error());
    return std::move(*topics);
  });
}

result<dead_letter_list> sqlite_reader::dead_letters(tenant_no tenant, std::size_t limit,
                                                     std::string_view cursor) {
  std::int64_t before = std::numeric_limits<std::int64_t>::max();
  if (!cursor.empty()) {
    const auto from = decode_cursor(cursor_kind::dead_letters, cursor);
    if (!from) return damaged_cursor();
    before = (*from)[0];
  }
  return ask_outbox<dead_letter_list>(
      [&](outbox_reads& o) { return o.dead_letters(tenant, limit, before); });
}

}  // namespace parley::store
