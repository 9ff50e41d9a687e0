#include "store/dead_letters.hpp"

#include "protocol/limits.hpp"
#include "store/write_failure.hpp"

#include <nlohmann/json.hpp>

#include <charconv>
#include <vector>

namespace parley::store {
namespace {

/// A letter's columns, for row_of().
std::string letters_where(std::string_view condition) {
  std::string sql =
      "SELECT dead_no, tenant_no, kind, lane, type, log_id, recipient_no, event_id, data, at, "
      "notification_no, ttl_ms, recipients, attempts, last_attempt_at, error, created_at "
      "FROM dead_letters WHERE ";
  sql += condition;
  return sql;
}

std::optional<std::string_view> null_if_empty(std::string_view text) {
  if (text.empty()) return std::nullopt;
  return text;
}

}  // namespace

std::optional<dead_no> parse_dead_letter_id(std::string_view id) {
  std::int64_t no = 0;
  const auto [end, wrong] = std::from_chars(id.data(), id.data() + id.size(), no);
  // One spelling of each: what else would read as this number names nothing.
  if (wrong != std::errc{} || end != id.data() + id.size() || no <= 0 ||
      dead_letter_id(dead_no{no}) != id) {
    return std::nullopt;
  }
  return dead_no{no};
}

std::string dead_letter_id(dead_no no) { return std::to_string(no.value); }

std::string recipients_text(const std::vector<user_no>& users) {
  std::string out = "[";
  for (const user_no user : users) {
    if (out.size() > 1) out += ',';
    out += std::to_string(user.value);
  }
  return out + ']';
}

std::vector<user_no> parse_recipients(std::string_view json) {
  std::vector<user_no> out;
  const auto numbers = nlohmann::json::parse(json, nullptr, false);
  if (!numbers.is_array()) return out;
  for (const auto& n : numbers) {
    if (n.is_number_integer()) out.emplace_back(n.get<std::int64_t>());
  }
  return out;
}

dead_letters::dead_letters(connection& db)
    : db_(db),
      insert_(db, lazily{"INSERT INTO dead_letters(tenant_no, kind, lane, type, log_id, "
                         "recipient_no, event_id, data, at, notification_no, ttl_ms, recipients, "
                         "attempts, last_attempt_at, error, created_at) "
                         "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"}),
      select_(db, lazily{letters_where("dead_no = ?2 AND tenant_no = ?1")}),
      select_event_(db, lazily{letters_where("tenant_no = ? AND dead_no > ? AND dead_no <= ? AND "
                                             "kind IN (1, 2) ORDER BY dead_no LIMIT 1")}),
      select_newest_(db, lazily{"SELECT dead_no FROM dead_letters WHERE tenant_no = ? "
                                "ORDER BY dead_no DESC LIMIT 1"}),
      select_oldest_(db, lazily{letters_where("tenant_no = ? ORDER BY dead_no LIMIT 1")}),
      // In the order in which they came: nothing behind one that stays is looked at.
      select_first_(db, lazily{"SELECT dead_no, created_at, notification_no FROM dead_letters "
                               "ORDER BY dead_no LIMIT ?"}),
      count_(db, lazily{"SELECT count(*) FROM (SELECT 1 FROM dead_letters WHERE tenant_no = ? "
                        "LIMIT ?)"}),
      delete_(db, lazily{"DELETE FROM dead_letters WHERE dead_no = ?"}),
      // Nobody can retry it any more.
      end_notification_(db, lazily{"UPDATE notifications SET state = 2, payload = NULL "
                                   "WHERE notification_no = ? AND state = 3"}) {}

write_result<void> dead_letters::bury(const dead_row& r) {
  std::optional<blob_view> event_id;
  if (!r.event_id.empty()) event_id = blob_view{r.event_id.data(), r.event_id.size()};
  std::optional<std::int64_t> ttl_ms;
  if (r.ttl) ttl_ms = r.ttl->count();
  if (!insert_.run(r.tenant, r.kind, r.lane, r.type, r.log, r.recipient, event_id,
                   null_if_empty(r.data), r.at, r.notification, ttl_ms, null_if_empty(r.recipients),
                   r.attempts, r.last_attempt_at, r.error, r.created_at)) {
    return write_failed(db_.last_failure(), item_step::later);
  }
  return keep_bound(r.tenant);
}

write_result<void> dead_letters::keep_bound(tenant_no tenant) {
  constexpr auto max = static_cast<std::int64_t>(limits::dead_letters_max);
  std::int64_t* count = counts_.find(tenant);
  if (count != nullptr) {
    ++*count;
  } else {
    auto q = count_.query(tenant, max + 1);
    if (!q.next()) return write_failed(db_.last_failure(), item_step::later);
    count = &counts_.put(tenant, q.integer(0));
  }
  if (*count <= max) return {};
  std::optional<dead_row> oldest;
  {
    auto q = select_oldest_.query(tenant);
    if (!q.next()) return write_failed(db_.last_failure(), item_step::later);
    oldest = row_of(q);
  }
  return let_go(*oldest);
}

write_result<std::optional<dead_row>> dead_letters::find(tenant_no tenant, dead_no no) {
  auto q = select_.query(tenant, no);
  if (q.next()) return std::optional{row_of(q)};
  if (q.failed()) return write_failed(db_.last_failure(), item_step::first);
  return std::optional<dead_row>{};
}

write_result<std::optional<dead_row>> dead_letters::next_event(tenant_no tenant, dead_no after,
                                                               dead_no upto) {
  auto q = select_event_.query(tenant, after, upto);
  if (q.next()) return std::optional{row_of(q)};
  if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  return std::optional<dead_row>{};
}

write_result<dead_no> dead_letters::newest(tenant_no tenant) {
  auto q = select_newest_.query(tenant);
  if (q.next()) return q.number<dead_no>(0);
  if (q.failed()) return write_failed(db_.last_failure(), item_step::first);
  return dead_no{};
}

write_result<void> dead_letters::take(const dead_row& row) {
  if (!delete_.run(row.no)) return write_failed(db_.last_failure(), item_step::later);
  if (auto* count = counts_.find(row.tenant)) --*count;
  return {};
}

write_result<void> dead_letters::let_go(const dead_row& row) {
  if (!end_notification(row.notification))
    return write_failed(db_.last_failure(), item_step::later);
  return take(row);
}

bool dead_letters::end_notification(const std::optional<notification_no>& notification) {
  return !notification || end_notification_.run(*notification);
}

db_result<std::int64_t> dead_letters::prune(utc_time before, std::int64_t max_rows) {
  std::vector<std::pair<dead_no, std::optional<notification_no>>> old;
  {
    auto q = select_first_.query(max_rows);
    while (q.next() && q.time(1) < before) {
      auto& [no, notification] = old.emplace_back(q.number<dead_no>(0), std::nullopt);
      if (!q.is_null(2)) notification = q.number<notification_no>(2);
    }
    if (q.failed()) return db_.last_failure();
  }
  if (old.empty()) return std::int64_t{0};
  forget_counts();
  transaction t{db_};
  if (!t.begin()) return db_.last_failure();
  for (const auto& [no, notification] : old) {
    if (!end_notification(notification) || !delete_.run(no)) return db_.last_failure();
  }
  if (!t.commit()) return db_.last_failure();
  return static_cast<std::int64_t>(old.size());
}

dead_row dead_letters::row_of(const statement::rows& q) {
  dead_row r;
  r.no = q.number<dead_no>(0);
  r.tenant = q.number<tenant_no>(1);
  r.kind = static_cast<dead_kind>(q.integer(2));
  r.lane = q.number<lane_no>(3);
  r.type = static_cast<event_type>(q.integer(4));
  r.log = q.number<log_id>(5);
  if (!q.is_null(6)) r.recipient = q.number<user_no>(6);
  r.event_id = q.blob(7);
  r.data = q.text(8);
  r.at = q.time(9);
  if (!q.is_null(10)) r.notification = q.number<notification_no>(10);
  if (!q.is_null(11)) r.ttl = std::chrono::milliseconds{q.integer(11)};
  r.recipients = q.text(12);
  r.attempts = static_cast<std::uint32_t>(q.integer(13));
  r.last_attempt_at = q.optional_time(14);
  r.error = q.text(15);
  r.created_at = q.time(16);
  return r;
}

}  // namespace parley::store
