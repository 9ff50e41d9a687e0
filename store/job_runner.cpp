#include "store/job_runner.hpp"

#include "protocol/assert.hpp"
#include "store/write_failure.hpp"

#include <algorithm>
#include <utility>

namespace parley::store {
namespace {

constexpr std::int64_t rows_a_step = 64;     // deleted: some 0.2 ms
constexpr std::int64_t scan_a_step = 512;    // looked at
constexpr std::int64_t rooms_a_step = 1024;  // room numbers passed over, of whichever tenant
constexpr int rest_after_piece = 4;
constexpr std::chrono::milliseconds wait_for_others{250};
constexpr std::chrono::seconds wait_after_failure{1};
constexpr std::size_t departures_at_once = 64;
/// Jobs that wait for others, before a plan gives up looking for one that does not.
constexpr int jobs_looked_at = 16;

}  // namespace

job_runner::job_runner(connection& db, user_names& users, room_ends& rooms,
                       notification_writes& notifications, outbox_writes& outbox, const clock& now)
    : db_(db),
      users_(users),
      rooms_(rooms),
      notifications_(notifications),
      outbox_(db, outbox),
      clock_(now),
      select_job_(db,
                  "SELECT job_no, kind, tenant_no, subject, done, total, step, place_room, "
                  "place_seq FROM jobs WHERE state = 1 AND job_no > ? ORDER BY job_no LIMIT 1"),
      update_job_(db,
                  "UPDATE jobs SET state = ?2, done = ?3, total = ?4, error = ?5, step = ?6, "
                  "place_room = ?7, place_seq = ?8, updated_at = ?9 WHERE job_no = ?1"),
      select_live_rooms_(db,
                         "SELECT room_no FROM rooms WHERE tenant_no = ? AND room_no > ? "
                         "AND deleted_at IS NULL ORDER BY room_no LIMIT ?"),
      tombstone_(db, "UPDATE rooms SET deleted_at = ?2 WHERE room_no = ?1"),
      select_room_(db, "SELECT room_no FROM rooms WHERE tenant_no = ? ORDER BY room_id LIMIT 1"),
      select_log_(db, "SELECT seq, id FROM room_log WHERE room_no = ? ORDER BY seq LIMIT ?"),
      delete_message_(db, "DELETE FROM messages WHERE id = ?"),
      delete_log_(db, "DELETE FROM room_log WHERE room_no = ? AND seq <= ?"),
      delete_keys_of_room_(
          db,
          "DELETE FROM send_keys WHERE (room_no, sender_no, key) IN ("
          "SELECT room_no, sender_no, key FROM send_keys WHERE room_no = ? LIMIT ?)"),
      select_members_(db, "SELECT user_no FROM room_members WHERE room_no = ? LIMIT ?"),
      delete_member_(
          db, "DELETE FROM room_members WHERE tenant_no = ? AND user_no = ? AND room_no = ?"),
      delete_cursor_(
          db, "DELETE FROM delivery_state WHERE tenant_no = ? AND user_no = ? AND room_no = ?"),
      delete_room_(db, "DELETE FROM rooms WHERE room_no = ?"),
      delete_call_keys_(
          db,
          "DELETE FROM call_keys WHERE (tenant_no, scope_no, key) IN ("
          "SELECT tenant_no, scope_no, key FROM call_keys WHERE tenant_no = ? LIMIT ?)"),
      delete_users_(db,
                    "DELETE FROM users WHERE user_no IN ("
                    "SELECT user_no FROM users WHERE tenant_no = ? LIMIT ?)"),
      delete_credentials_(db, "DELETE FROM credentials WHERE tenant_no = ?"),
      end_other_jobs_(
          db, "UPDATE jobs SET state = 2, subject = '' WHERE tenant_no = ?1 AND job_no <> ?2"),
      clear_tenant_(db, "UPDATE tenants SET name = '', config = '{}' WHERE tenant_no = ?"),
      count_rooms_(db,
                   "SELECT count(*) FROM rooms WHERE room_no > ?1 AND room_no <= ?2 "
                   "AND +tenant_no = ?3"),
      select_memberships_(
          db,
          "SELECT r.room_no, r.room_id, r.deleted_at IS NULL FROM room_members m "
          "JOIN rooms r ON r.room_no = m.room_no WHERE m.tenant_no = ? AND m.user_no = ? "
          "ORDER BY m.room_no LIMIT ?"),
      max_room_(db, "SELECT coalesce(max(room_no), 0) FROM rooms"),
      select_room_between_(db,
                           "SELECT room_no, room_id, deleted_at IS NULL FROM rooms "
                           "WHERE room_no > ?1 AND room_no <= ?2 AND +tenant_no = ?3 "
                           "ORDER BY room_no LIMIT 1"),
      scan_log_(db,
                "SELECT seq, id, kind, sender_no FROM room_log WHERE room_no = ? AND seq > ? "
                "ORDER BY seq LIMIT ?"),
      erase_message_(
          db,
          "UPDATE messages SET content = '', meta = NULL, client_msg_id = NULL WHERE id = ? "
          "AND (content <> '' OR meta IS NOT NULL OR client_msg_id IS NOT NULL)"),
      delete_keys_of_user_(
          db,
          "DELETE FROM send_keys WHERE room_no = ?1 AND sender_no = ?2 AND key IN ("
          "SELECT key FROM send_keys WHERE room_no = ?1 AND sender_no = ?2 LIMIT ?3)"),
      delete_call_keys_of_user_(
          db,
          "DELETE FROM call_keys WHERE tenant_no = ?1 AND scope_no = ?2 AND key IN ("
          "SELECT key FROM call_keys WHERE tenant_no = ?1 AND scope_no = ?2 LIMIT ?3)"),
      erase_user_(db, "UPDATE users SET last_seen = NULL, erased_at = ?2 WHERE user_no = ?1") {}

// ------------------------------------------------------------------------------------------------------------- turns

db_result<std::optional<job_runner::job>> job_runner::next_job(std::int64_t after) {
  auto q = select_job_.query(after);
  if (q.next()) {
    job j;
    j.no = q.integer(0);
    j.kind = q.text(1);
    j.tenant = q.number<tenant_no>(2);
    j.subject = q.text(3);
    j.done = q.integer(4);
    j.total = q.integer(5);
    j.step = q.integer(6);
    j.place_room = q.number<room_no>(7);
    j.place_seq = q.number<room_seq>(8);
    return std::optional{std::move(j)};
  }
  if (q.failed()) return db_.last_failure();
  return std::optional<job>{};
}

db_result<bool> job_runner::plan(mono_time now) {
  planned_.reset();
  std::optional<std::int64_t> first;  // of this round
  for (int looked = 0; looked < jobs_looked_at; ++looked) {
    auto next = next_job(last_job_);
    if (next && !*next && last_job_ != 0) next = next_job(0);
    if (!next) return next.error();
    if (!*next) {
      idle_ = true;
      departures_named_.clear();
      return false;
    }
    last_job_ = (*next)->no;
    if (first == last_job_) break;  // all of them wait
    if (!first) first = last_job_;
    auto ready = can_go_on(**next, now);
    if (!ready) return ready.error();
    if (*ready) {
      planned_ = std::move(**next);
      return true;
    }
  }
  next_piece_ = now + wait_for_others;
  return false;
}

db_result<bool> job_runner::can_go_on(const job& j, mono_time now) {
  if (j.kind != "erase_user" || j.step != 1) return true;
  auto user = users_.find(j.tenant, j.subject);
  if (!user) return user.error();
  if (!*user) return true;  // run() says what to do
  const auto before = std::exchange(departures_named_[j.no], {});
  auto& named = departures_named_[j.no];
  auto q = select_memberships_.query(j.tenant, **user, departures_at_once);
  bool only_live = true;
  while (q.next()) {
    if (q.integer(2) == 0) {
      only_live = false;
      continue;
    }
    const auto room = q.number<room_no>(0);
    const auto known = before.find(room);
    const bool wait = known != before.end() && now < known->second + departure_retry;
    named.emplace(room, wait ? known->second : now);
    if (!wait) news_.departures.push_back({{j.tenant, room_id{q.id(1)}}, user_id{j.subject}});
  }
  if (q.failed()) return db_.last_failure();
  return named.empty() || !only_live;
}

write_result<void> job_runner::run() {
  PARLEY_ASSERT(planned_.has_value());
  job& j = *planned_;
  const mono_time end = clock_.mono() + piece_time;
  for (std::int64_t rows = 0; j.state == job_state::running && rows < piece_max_rows;) {
    auto took = step(j);
    if (!took) return took.error();
    rows += std::max<std::int64_t>(*took, 1);
    if (clock_.mono() >= end) break;
    if (j.kind == "erase_user" && j.step == 1) break;  // plan() looks whether it waits
  }
  if (update_job_.run(j.no, j.state, j.done, j.total, j.error, j.step, j.place_room, j.place_seq,
                      clock_.now())) {
    return {};
  }
  return write_failed(db_.last_failure(), item_step::later);
}

void job_runner::committed(commit_no no) {
  for (auto& r : rewriting_) {
    r.commit = no;
    news_.rewritten.push_back(r);
  }
  rewriting_.clear();
  if (planned_ && planned_->state != job_state::running) departures_named_.erase(planned_->no);
  planned_.reset();
}

void job_runner::undone() {
  rewriting_.clear();
  planned_.reset();
  next_piece_ = std::max(next_piece_, clock_.mono() + wait_after_failure);
}

void job_runner::rest(mono_time start, mono_time end) {
  next_piece_ = std::max(next_piece_, end + rest_after_piece * (end - start));
}

job_news job_runner::take_news() {
  job_news out = std::exchange(news_, {});
  out.more = !idle_;
  return out;
}

job_runner::step_result job_runner::step(job& j) {
  if (j.kind == "delete_tenant") {
    if (j.step == 0) return tombstone_rooms(j);
    if (j.step == 1) return clear_rooms(j);
    return clear_tenant(j);
  }
  if (j.kind == "erase_user") {
    if (j.step == 0) return count_rooms(j);
    if (j.step == 1) return end_memberships(j);
    if (j.step == 2) return erase_messages(j);
    if (j.step == 3) return erase_from_outbox(j);
    if (j.step == 4) return erase_from_letters(j);
    return erase_person(j);
  }
  j.end(job_state::failed, "nobody here knows this kind of job");
  return 1;
}

write_result<std::int64_t> job_runner::done(bool ran) {
  if (!ran) return write_failed(db_.last_failure(), item_step::later);
  return db_.changes();
}

// ----------------------------------------------------------------------------------------------------- delete_tenant

job_runner::step_result job_runner::tombstone_rooms(job& j) {
  std::vector<room_no> rooms;
  {
    auto q = select_live_rooms_.query(j.tenant, j.place_room, rows_a_step);
    while (q.next()) rooms.push_back(q.number<room_no>(0));
    if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  }
  for (const room_no room : rooms) {
    if (auto set = done(tombstone_.run(room, clock_.now())); !set) return set.error();
    rooms_.gone(room);
    j.place_room = room;
  }
  j.total += static_cast<std::int64_t>(rooms.size());
  if (rooms.empty()) j.go_to(1);
  return static_cast<std::int64_t>(rooms.size());
}

job_runner::step_result job_runner::clear_rooms(job& j) {
  room_no room;
  {
    auto q = select_room_.query(j.tenant);
    if (!q.next()) {
      if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
      j.go_to(2);
      return 1;
    }
    room = q.number<room_no>(0);
  }
  return clear_room(j, room);
}

job_runner::step_result job_runner::clear_room(job& j, room_no room) {
  // From the start of the log: what is left is dense.
  std::int64_t rows = 0;
  room_seq last{};
  {
    auto q = select_log_.query(room, rows_a_step);
    while (q.next()) {
      ++rows;
      last = q.number<room_seq>(0);
      if (auto gone = done(delete_message_.run(q.integer(1))); !gone) return gone.error();
    }
    if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  }
  if (rows > 0) {
    if (auto gone = done(delete_log_.run(room, last)); !gone) return gone.error();
    return rows;
  }
  if (auto keys = done(delete_keys_of_room_.run(room, rows_a_step)); !keys || *keys > 0)
    return keys;
  std::vector<user_no> members;
  {
    auto q = select_members_.query(room, rows_a_step);
    while (q.next()) members.push_back(q.number<user_no>(0));
    if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  }
  for (const user_no user : members) {
    if (auto gone = done(delete_cursor_.run(j.tenant, user, room)); !gone) return gone.error();
    if (auto gone = done(delete_member_.run(j.tenant, user, room)); !gone) return gone.error();
  }
  if (!members.empty()) return static_cast<std::int64_t>(members.size());
  ++j.done;
  j.total = std::max(j.total, j.done);  // one that was deleted before is not counted
  return done(delete_room_.run(room));
}

job_runner::step_result job_runner::clear_tenant(job& j) {
  if (auto keys = done(delete_call_keys_.run(j.tenant, rows_a_step)); !keys || *keys > 0)
    return keys;
  if (auto rows = notifications_.clear_tenant(j.tenant, rows_a_step); !rows || *rows > 0)
    return rows;
  if (auto rows = outbox_.clear_tenant(j.tenant, rows_a_step); !rows || *rows > 0) return rows;
  if (auto users = done(delete_users_.run(j.tenant, rows_a_step)); !users || *users > 0)
    return users;
  if (auto gone = done(delete_credentials_.run(j.tenant)); !gone) return gone;
  if (auto ended = done(end_other_jobs_.run(j.tenant, j.no)); !ended) return ended;
  if (auto cleared = done(clear_tenant_.run(j.tenant)); !cleared) return cleared;
  users_.forget_all();
  j.end(job_state::done);
  return 1;
}

// -------------------------------------------------------------------------------------------------------- erase_user

write_result<std::optional<user_no>> job_runner::subject_of(const job& j) {
  auto user = users_.find(j.tenant, j.subject);
  if (!user) return write_failed(user.error(), item_step::later);
  return *user;
}

job_runner::step_result job_runner::count_rooms(job& j) {
  std::int64_t last = 0;
  {
    auto q = max_room_.query();
    if (!q.next()) return write_failed(db_.last_failure(), item_step::later);
    last = q.integer(0);
  }
  const room_no upto{j.place_room.value + rooms_a_step};
  auto q = count_rooms_.query(j.place_room, upto, j.tenant);
  if (!q.next()) return write_failed(db_.last_failure(), item_step::later);
  j.total += q.integer(0);
  j.place_room = upto;
  if (upto.value >= last) j.go_to(1);
  return rooms_a_step / 4;
}

/// Live rooms end the membership by an entry of their log; of one that is deleted nobody else takes it away.
job_runner::step_result job_runner::end_memberships(job& j) {
  auto found = subject_of(j);
  if (!found) return found.error();
  if (!*found) {
    j.end(job_state::done);
    return 1;
  }
  const user_no user = **found;
  std::vector<room_no> dead;
  bool live = false;
  {
    auto q = select_memberships_.query(j.tenant, user, departures_at_once);
    while (q.next()) {
      if (q.integer(2) != 0) {
        live = true;
      } else {
        dead.push_back(q.number<room_no>(0));
      }
    }
    if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  }
  for (const room_no room : dead) {
    if (auto gone = done(delete_cursor_.run(j.tenant, user, room)); !gone) return gone.error();
    if (auto gone = done(delete_member_.run(j.tenant, user, room)); !gone) return gone.error();
  }
  if (!live && dead.empty()) j.go_to(2);
  return static_cast<std::int64_t>(dead.size());
}

job_runner::step_result job_runner::erase_messages(job& j) {
  auto found = subject_of(j);
  if (!found) return found.error();
  if (!*found) {
    j.end(job_state::done);
    return 1;
  }
  const user_no user = **found;
  // place_room is the last room that is done with; place_seq says how far the next one is.
  const room_no upto{j.place_room.value + rooms_a_step};
  room_no room;
  room_id id;
  bool live = false;
  {
    auto q = select_room_between_.query(j.place_room, upto, j.tenant);
    if (q.next()) {
      room = q.number<room_no>(0);
      id = room_id{q.id(1)};
      live = q.integer(2) != 0;
    } else if (q.failed()) {
      return write_failed(db_.last_failure(), item_step::later);
    }
  }
  if (room != room_no{}) return erase_in_room(j, room, live, id, user);
  auto q = max_room_.query();
  if (!q.next()) return write_failed(db_.last_failure(), item_step::later);
  if (upto.value >= q.integer(0)) {
    j.go_to(3);
  } else {
    j.place_room = upto;
  }
  return rooms_a_step / 4;
}

job_runner::step_result job_runner::erase_in_room(job& j, room_no room, bool live, room_id id,
                                                  user_no user) {
  std::vector<std::int64_t> own;
  std::int64_t seen = 0;
  {
    auto q = scan_log_.query(room, j.place_seq, scan_a_step);
    while (q.next()) {
      ++seen;
      j.place_seq = q.number<room_seq>(0);
      if (q.integer(2) == static_cast<std::int64_t>(entry_kind::message) && !q.is_null(3) &&
          q.number<user_no>(3) == user) {
        own.push_back(q.integer(1));
      }
    }
    if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  }
  bool changed = false;
  for (const std::int64_t message : own) {
    auto erased = done(erase_message_.run(message));
    if (!erased) return erased;
    changed = changed || *erased > 0;
  }
  if (changed && live && (rewriting_.empty() || rewriting_.back().no != room))
    rewriting_.push_back({{j.tenant, id}, room, {}});
  const auto rows = seen / 4 + static_cast<std::int64_t>(own.size()) + 1;
  if (seen == scan_a_step) return rows;
  auto keys = done(delete_keys_of_user_.run(room, user, rows_a_step));
  if (!keys) return keys;
  if (*keys > 0) return rows + *keys;  // the end of the log is looked at once more
  ++j.done;
  j.total = std::max(j.total, j.done);
  j.place_room = room;
  j.place_seq = {};
  return rows;
}

job_runner::step_result job_runner::erase_from_outbox(job& j) {
  // First what may end meanwhile, and would name the user in a row of its own.
  if (auto found = subject_of(j); !found) {
    return found.error();
  } else if (*found) {
    auto waiting = notifications_.erase_user(j.tenant, **found, rows_a_step);
    if (!waiting || *waiting > 0) return waiting;
  }
  outbox_no place{j.place_seq.value};
  auto rows = outbox_.erase_rows(j.tenant, j.subject, place, scan_a_step);
  if (!rows) return rows;
  j.place_seq = room_seq{place.value};
  if (*rows == 0) j.go_to(4);
  return *rows / 4;
}

job_runner::step_result job_runner::erase_from_letters(job& j) {
  auto found = subject_of(j);
  if (!found) return found.error();
  if (!*found) {
    j.end(job_state::done);
    return 1;
  }
  dead_no place{j.place_seq.value};
  auto rows = outbox_.erase_letters(j.tenant, **found, j.subject, place, rows_a_step);
  if (!rows) return rows;
  j.place_seq = room_seq{place.value};
  if (*rows == 0) j.go_to(5);
  return rows;
}

job_runner::step_result job_runner::erase_person(job& j) {
  auto found = subject_of(j);
  if (!found) return found.error();
  if (!*found) {
    j.end(job_state::done);
    return 1;
  }
  const user_no user = **found;
  auto keys = done(delete_call_keys_of_user_.run(j.tenant, user, rows_a_step));
  if (!keys || *keys > 0) return keys;
  auto waiting = notifications_.erase_user(j.tenant, user, rows_a_step);
  if (!waiting || *waiting > 0) return waiting;
  if (auto erased = done(erase_user_.run(user, clock_.now())); !erased) return erased;
  j.end(job_state::done);
  return 1;
}

}  // namespace parley::store
