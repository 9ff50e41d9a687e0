#include "store/notification_expiry.hpp"

#include "protocol/limits.hpp"
#include "protocol/server_frame.hpp"
#include "store/write_failure.hpp"

#include <algorithm>
#include <utility>

namespace parley::store {
namespace {

constexpr std::int64_t rows_a_step = 64;     // deleted, or members looked at: some 0.2 ms
constexpr std::int64_t listed_a_step = 512;  // rows of an index
constexpr int rest_after_piece = 4;
constexpr std::chrono::seconds wait_after_failure{1};
constexpr std::string_view expired = "expired";

}  // namespace

notification_expiry::notification_expiry(connection& db, user_names& users, room_ends& rooms,
                                         notification_writes& notifications, outbox_writes& outbox,
                                         const clock& now, std::chrono::milliseconds idempotency_ttl)
    : db_(db),
      users_(users),
      rooms_(rooms),
      notifications_(notifications),
      outbox_(outbox),
      clock_(now),
      idempotency_ttl_(idempotency_ttl),
      has_expired_(
          db, lazily{"SELECT 1 FROM notifications WHERE state = 1 AND expires_at <= ? LIMIT 1"}),
      has_old_(db,
               lazily{"SELECT 1 FROM notifications WHERE state = 2 AND created_at < ? LIMIT 1"}),
      select_expired_(
          db, lazily{"SELECT n.notification_no, n.tenant_no, n.notification_id, n.topic, "
                     "n.room_no, n.created_at, n.ttl_ms, n.attempts, n.last_attempt_at, "
                     "t.tenant_no IS NULL FROM notifications n LEFT JOIN tenants t "
                     "ON t.tenant_no = n.tenant_no AND t.deleted_at IS NULL "
                     "WHERE n.state = 1 AND n.expires_at <= ? ORDER BY n.expires_at LIMIT 1"}),
      select_rows_(db, lazily{"SELECT user_no FROM notification_pending "
                              "WHERE notification_no = ?1 AND tenant_no = ?2 AND user_no > ?3 "
                              "ORDER BY user_no LIMIT ?4"}),
      // Who has a row of its own is listed already.
      select_members_(
          db, lazily{"SELECT i.user_no, m.joined_at <= ?3 "
                     "AND NOT EXISTS (SELECT 1 FROM notification_acks a "
                     "WHERE a.notification_no = ?4 AND a.user_no = i.user_no) "
                     "AND NOT EXISTS (SELECT 1 FROM notification_pending p WHERE p.tenant_no = ?1 "
                     "AND p.user_no = i.user_no AND p.notification_no = ?4) "
                     "FROM (SELECT user_no FROM room_members WHERE room_no = ?2 AND user_no > ?5 "
                     "ORDER BY user_no LIMIT ?6) i JOIN room_members m ON m.tenant_no = ?1 "
                     "AND m.user_no = i.user_no AND m.room_no = ?2 ORDER BY i.user_no"}),
      die_(db, lazily{"UPDATE notifications SET state = 3 WHERE notification_no = ? "
                      "AND state = 1"}),
      select_old_(db, lazily{"SELECT notification_no FROM notifications WHERE state = 2 "
                             "AND created_at < ? ORDER BY created_at LIMIT 1"}) {}

// ------------------------------------------------------------------------------------------------------------ turns

bool notification_expiry::due(mono_time now) const {
  return now >= next_piece_ && (goes_on_ || now >= next_look_);
}

db_result<bool> notification_expiry::plan(mono_time now) {
  next_look_ = now + look_interval;
  goes_on_ = ending_.has_value() || !clearing_.empty();
  if (goes_on_) return true;
  auto work = has(has_expired_, clock_.now());
  if (work && !*work) work = has(has_old_, clock_.now() - idempotency_ttl_);
  if (!work) return work.error();
  goes_on_ = *work;
  return goes_on_;
}

db_result<bool> notification_expiry::has(statement& find, utc_time before) {
  auto q = find.query(before);
  const bool found = q.next();
  if (q.failed()) return db_.last_failure();
  return found;
}

write_result<void> notification_expiry::run() {
  const mono_time end = clock_.mono() + piece_time;
  for (std::int64_t rows = 0; rows < piece_max_rows;) {
    auto took = step();
    if (!took) return took.error();
    if (*took == 0) {
      goes_on_ = false;
      return {};
    }
    rows += *took;
    if (clock_.mono() >= end) return {};
  }
  return {};
}

void notification_expiry::committed(commit_no) {
  clearing_.insert(clearing_.end(), given_up_.begin(), given_up_.end());
  given_up_.clear();
  goes_on_ = goes_on_ || !clearing_.empty();
}

void notification_expiry::undone() {
  // Who lacks it is listed again. Of what waits to be cleared nothing was lost.
  ending_.reset();
  given_up_.clear();
  goes_on_ = false;
  next_piece_ = clock_.mono() + wait_after_failure;
}

void notification_expiry::rest(mono_time start, mono_time end) {
  next_piece_ = end + rest_after_piece * (end - start);
}

notification_expiry::step_result notification_expiry::step() {
  if (!ending_ && clearing_.size() + given_up_.size() < clearing_max) {
    auto next = next_expired();
    if (!next) return next.error();
    ending_ = std::move(*next);
  }
  if (ending_) {
    auto took = ending_->rows_listed ? list_members(*ending_) : list_rows(*ending_);
    if (!took) return took;
    return std::max<std::int64_t>(*took, 1);
  }
  if (!clearing_.empty()) return clear_rows();
  return take_away();
}

// --------------------------------------------------------------------------------------------------- who lacks it

write_result<std::optional<notification_expiry::ending>> notification_expiry::next_expired() {
  auto q = select_expired_.query(clock_.now());
  if (!q.next()) {
    if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
    return std::optional<ending>{};
  }
  ending e;
  e.no = q.number<notification_no>(0);
  e.tenant = q.number<tenant_no>(1);
  e.id = q.id(2);
  e.topic = q.text(3);
  if (!q.is_null(4)) e.room = q.number<room_no>(4);
  e.created_at = q.time(5);
  e.ttl = std::chrono::milliseconds{q.integer(6)};
  e.attempts = static_cast<std::uint32_t>(q.integer(7));
  e.last_attempt_at = q.optional_time(8);
  e.abandoned = q.integer(9) != 0;
  return std::optional{std::move(e)};
}

void notification_expiry::note(ending& e, user_no user) {
  ++e.lacking;
  if (e.noted.size() < limits::dead_letter_recipients_max) e.noted.push_back(user);
}

notification_expiry::step_result notification_expiry::list_rows(ending& e) {
  std::int64_t rows = 0;
  {
    auto q = select_rows_.query(e.no, e.tenant, e.listed_upto, listed_a_step);
    while (q.next()) {
      ++rows;
      e.listed_upto = q.number<user_no>(0);
      note(e, e.listed_upto);
    }
    if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  }
  e.has_rows = e.has_rows || rows > 0;
  if (rows == listed_a_step) return rows / 4;
  e.rows_listed = true;
  e.listed_upto = {};
  if (e.room) {
    const auto live = rooms_.find(e.tenant, *e.room);
    if (!live) return write_failed(live.error(), item_step::later);
    if (*live != nullptr) return rows / 4;
  }
  if (auto ended = end(e); !ended) return ended.error();
  ending_.reset();
  return rows / 4;
}

notification_expiry::step_result notification_expiry::list_members(ending& e) {
  std::int64_t rows = 0;
  {
    auto q = select_members_.query(e.tenant, *e.room, e.created_at, e.no, e.listed_upto, rows_a_step);
    while (q.next()) {
      ++rows;
      e.listed_upto = q.number<user_no>(0);
      if (q.integer(1) != 0) note(e, e.listed_upto);
    }
    if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  }
  if (rows == rows_a_step) return rows;
  if (auto ended = end(e); !ended) return ended.error();
  ending_.reset();
  return rows;
}

// --------------------------------------------------------------------------------------------------------- the end

write_result<void> notification_expiry::end(const ending& e) {
  if (e.lacking == 0 || e.abandoned) return notifications_.finish(e.no);
  return give_up(e);
}

write_result<void> notification_expiry::give_up(const ending& e) {
  if (!die_.run(e.no)) return write_failed(db_.last_failure(), item_step::later);
  if (db_.changes() == 0) return {};  // it went with its tenant, while it was listed
  const utc_time now = clock_.now();
  dead_row letter;
  letter.tenant = e.tenant;
  letter.kind = dead_kind::notification;
  letter.at = e.created_at;
  if (e.lacking == 1) letter.recipient = e.noted.front();
  letter.notification = e.no;
  letter.ttl = e.ttl;
  letter.recipients = recipients_text(e.noted);
  letter.attempts = e.attempts;
  letter.last_attempt_at = e.last_attempt_at;
  letter.error = expired;
  letter.created_at = now;
  if (auto buried = outbox_.letters().bury(letter); !buried) return buried;
  auto data = failure_of(e);
  if (!data) return data.error();
  outbox_row event;
  event.tenant = e.tenant;
  event.type = event_type::notification_failed;
  event.data = std::move(*data);
  event.at = now;
  if (auto told = outbox_.add(event); !told) return told;
  notifications_.count_expired(e.lacking);
  if (e.has_rows) given_up_.push_back(e.no);
  return {};
}

write_result<std::string> notification_expiry::failure_of(const ending& e) {
  std::string out = R"({"notification_id":")";
  e.id.append_to(out);
  out += R"(","topic":)";
  append_json_string(out, e.topic);
  out += e.lacking == 1 ? R"(,"user_id":)" : R"(,"recipient_ids":[)";
  for (std::size_t i = 0; i < e.noted.size(); ++i) {
    if (i > 0) out += ',';
    auto name = users_.name(e.noted[i]);
    if (!name) return write_failed(name.error(), item_step::later);
    append_json_string(out, (*name)->view());
  }
  if (e.lacking != 1) out += R"(],"recipients_total":)" + std::to_string(e.lacking);
  out += R"(,"error":")";
  out += expired;
  return out + R"(","attempts":)" + std::to_string(e.attempts) + '}';
}

notification_expiry::step_result notification_expiry::clear_rows() {
  auto rows = notifications_.clear_pending(clearing_.front(), rows_a_step);
  if (!rows) return rows;
  if (*rows < rows_a_step) clearing_.pop_front();
  return std::max<std::int64_t>(*rows, 1);
}

notification_expiry::step_result notification_expiry::take_away() {
  notification_no no;
  {
    auto q = select_old_.query(clock_.now() - idempotency_ttl_);
    if (!q.next()) {
      if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
      return 0;
    }
    no = q.number<notification_no>(0);
  }
  return notifications_.remove(no, rows_a_step);
}

}  // namespace parley::store
