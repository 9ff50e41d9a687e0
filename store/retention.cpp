#include "store/retention.hpp"

#include "protocol/planted.hpp"
#include "protocol/retention.hpp"
#include "store/write_failure.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <string>
#include <utility>

namespace parley::store {
namespace {

constexpr std::int64_t rows_a_step = 64;  // removed: some 0.3 ms
constexpr std::int64_t bytes_a_step = 64 * 1024;
constexpr std::int64_t looked_a_step = 64;  // rooms or tenants, each with a look at its log
constexpr std::chrono::milliseconds look_time{1};
constexpr int rest_after_removal = 4;
constexpr int rest_after_look = 19;  // looking alone takes a twentieth of the writer's time
constexpr std::chrono::seconds wait_after_failure{1};

}  // namespace

retention::retention(connection& db, room_ends& rooms, const clock& now, options o)
    : db_(db),
      rooms_(rooms),
      clock_(now),
      options_(o),
      select_tenants_(db,
                      "SELECT tenant_no, config FROM tenants WHERE tenant_no > ? "
                      "AND deleted_at IS NULL ORDER BY tenant_no LIMIT ?"),
      select_rooms_(db,
                    "SELECT room_no, tenant_no, retention_ms, deleted_at IS NULL FROM rooms "
                    "WHERE room_no > ? ORDER BY room_no LIMIT ?"),
      select_room_(db,
                   "SELECT r.tenant_no, r.room_id, r.retention_ms, t.config FROM rooms r "
                   "JOIN tenants t ON t.tenant_no = r.tenant_no AND t.deleted_at IS NULL "
                   "WHERE r.room_no = ? AND r.deleted_at IS NULL"),
      // The second entry says that the first is not the newest.
      select_first_(db,
                    "SELECT m.created_at FROM room_log l JOIN messages m ON m.id = l.id "
                    "WHERE l.room_no = ? ORDER BY l.seq LIMIT 2"),
      select_log_(db,
                  "SELECT l.seq, l.id, m.created_at, "
                  "coalesce(length(m.content), 0) + coalesce(length(m.meta), 0) FROM room_log l "
                  "JOIN messages m ON m.id = l.id WHERE l.room_no = ? AND l.seq < ? "
                  "ORDER BY l.seq LIMIT ?"),
      delete_message_(db, "DELETE FROM messages WHERE id = ?"),
      delete_log_(db, "DELETE FROM room_log WHERE room_no = ? AND seq <= ?"),
      update_first_seq_(db, "UPDATE rooms SET first_seq = ?2 WHERE room_no = ?1"),
      // A disabled endpoint, or tenant, holds nothing: nobody knows for how long.
      select_unread_(db, lazily{"SELECT min(max((SELECT min(id) FROM reader_positions), "
                                "e.since_id), CASE e.replay_to WHEN 0 THEN ~(1 << 63) "
                                "ELSE e.replay_from END) FROM endpoint_state e "
                                "JOIN tenants t ON t.tenant_no = e.tenant_no AND t.disabled = 0 "
                                "WHERE e.tenant_no = ? AND e.disabled_at IS NULL"}),
      select_waiting_(db, lazily{"SELECT log_id FROM outbox INDEXED BY outbox_by_entry "
                                 "WHERE tenant_no = ? AND lane = ? AND log_id > 0 "
                                 "ORDER BY log_id LIMIT 1"}) {}

// --------------------------------------------------------------------------------------------------------- looking

bool retention::due(mono_time now) const {
  if (now < next_piece_) return false;
  return goes_on() || (!nobody_wants_it_ && now >= next_round_);
}

db_result<bool> retention::plan(mono_time now) {
  removed_ = false;
  if (at_ == place::idle && !nobody_wants_it_ && now >= next_round_) {
    next_round_ = now + options_.interval;
    at_ = place::tenants;
    tenants_.clear();
    last_tenant_ = {};
    last_room_ = {};
    a_room_wants_it_ = false;
    // Who asks for it while this round looks is heard in the next.
    nobody_wants_it_ = true;
  }
  const mono_time end = clock_.mono() + look_time;
  for (std::int64_t looked = 0; at_ != place::idle && found_.size() < found_max &&
                                looked < piece_max_rows && clock_.mono() < end;) {
    const auto rows = at_ == place::tenants ? look_at_tenants() : look_at_rooms();
    if (!rows) return rows.error();
    looked += std::max<std::int64_t>(*rows, 1);
  }
  return !found_.empty();
}

db_result<std::int64_t> retention::look_at_tenants() {
  std::int64_t looked = 0;
  auto q = select_tenants_.query(last_tenant_, looked_a_step);
  while (q.next()) {
    ++looked;
    last_tenant_ = q.number<tenant_no>(0);
    if (const auto keep = of_tenant(q.text(1))) tenants_.emplace(last_tenant_, *keep);
  }
  if (q.failed()) return db_.last_failure();
  if (looked < looked_a_step) at_ = place::rooms;
  return looked;
}

db_result<std::int64_t> retention::look_at_rooms() {
  struct seen {
    room_no no;
    std::chrono::milliseconds keep;
  };
  std::vector<seen> candidates;
  std::int64_t looked = 0;
  {
    auto q = select_rooms_.query(last_room_, looked_a_step);
    while (q.next()) {
      ++looked;
      last_room_ = q.number<room_no>(0);
      if (q.integer(3) == 0) continue;
      std::optional<std::chrono::milliseconds> keep = options_.keep;
      if (!q.is_null(2)) {
        keep = std::chrono::milliseconds{q.integer(2)};
        a_room_wants_it_ = true;
      } else if (const auto said = tenants_.find(q.number<tenant_no>(1)); said != tenants_.end()) {
        keep = said->second;
      }
      if (keep) candidates.push_back({last_room_, *keep});
    }
    if (q.failed()) return db_.last_failure();
  }
  for (const seen& c : candidates) {
    auto old = has_old_entries(c.no, c.keep);
    if (!old) return old.error();
    // One that is still waiting from the round before need not wait twice.
    if (*old && std::find(found_.begin(), found_.end(), c.no) == found_.end())
      found_.push_back(c.no);
  }
  if (looked < looked_a_step) {
    at_ = place::idle;
    if (options_.keep || !tenants_.empty() || a_room_wants_it_) nobody_wants_it_ = false;
  }
  return looked;
}

db_result<bool> retention::has_old_entries(room_no no, std::chrono::milliseconds keep) {
  auto q = select_first_.query(no);
  const bool old = q.next() && q.time(0) < clock_.now() - keep && q.next();
  if (q.failed()) return db_.last_failure();
  return old;
}

std::optional<std::chrono::milliseconds> retention::of_tenant(std::string_view config) const {
  constexpr std::string_view key = "message_retention";
  if (config.find(key) == std::string_view::npos) return std::nullopt;
  const auto json = nlohmann::json::parse(config, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const auto said = json.find(key);
  if (said == json.end() || !said->is_string()) return std::nullopt;
  return parse_retention(said->get_ref<const std::string&>());
}

// -------------------------------------------------------------------------------------------------------- removing

write_result<void> retention::run() {
  const mono_time end = clock_.mono() + piece_time;
  std::int64_t bytes = 0;
  for (std::int64_t rows = 0; !found_.empty() && rows < piece_max_rows && bytes < piece_max_bytes;) {
    const room_no no = found_.front();
    found_.pop_front();
    auto r = room_as_it_is(no);
    if (!r) return r.error();
    ++rows;
    if (*r) {
      const auto removed = trim(**r);
      if (!removed) return removed.error();
      rows += removed->rows;
      bytes += removed->bytes;
      if (removed->more) found_.push_back(no);  // behind the others
    }
    if (clock_.mono() >= end) break;
  }
  return {};
}

write_result<std::optional<retention::room>> retention::room_as_it_is(room_no no) {
  auto q = select_room_.query(no);
  if (!q.next()) {
    if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
    return std::optional<room>{};
  }
  auto keep = options_.keep;
  if (!q.is_null(2)) {
    keep = std::chrono::milliseconds{q.integer(2)};
  } else if (const auto said = of_tenant(q.text(3))) {
    keep = said;
  }
  if (!keep) return std::optional<room>{};
  return std::optional{room{no, q.number<tenant_no>(0), room_id{q.id(1)}, *keep}};
}

write_result<retention::step> retention::trim(const room& r) {
  step out;
  const auto end = rooms_.find(r.tenant, r.no);
  if (!end) return write_failed(end.error(), item_step::later);
  if (*end == nullptr) return out;
  static const bool reuse_seq = planted_defect("reuse_seq_after_retention");
  const room_seq newest = reuse_seq ? (*end)->last_seq.next() : (*end)->last_seq;
  const utc_time before = clock_.now() - r.keep;
  const auto needed = first_needed(r);
  if (!needed) return needed.error();
  room_seq upto{};
  std::vector<std::int64_t> ids;
  {
    auto q = select_log_.query(r.no, newest, rows_a_step);
    while (!out.more && q.next() && q.time(2) < before &&
           (!*needed || q.number<log_id>(1) < **needed)) {
      upto = q.number<room_seq>(0);
      ids.push_back(q.integer(1));
      out.bytes += q.integer(3);
      out.more = ++out.rows == rows_a_step || out.bytes >= bytes_a_step;
    }
    if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  }
  if (ids.empty()) return out;
  for (const std::int64_t id : ids) {
    if (!delete_message_.run(id)) return write_failed(db_.last_failure(), item_step::later);
  }
  if (!delete_log_.run(r.no, upto) || (!reuse_seq && !update_first_seq_.run(r.no, upto.next())))
    return write_failed(db_.last_failure(), item_step::later);
  removed_ = true;
  const auto known = std::find_if(trimming_.begin(), trimming_.end(),
                                  [&](const rewritten_room& t) { return t.no == r.no; });
  if (known != trimming_.end()) {
    known->first_seq = upto.next();
  } else {
    trimming_.push_back({{r.tenant, r.id}, r.no, {}, upto.next()});
  }
  return out;
}

write_result<std::optional<log_id>> retention::first_needed(const room& r) {
  std::optional<log_id> first;
  {
    auto q = select_unread_.query(r.tenant);
    if (q.next()) first = q.number<log_id>(0).next();
    if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  }
  if (!first) return first;
  auto q = select_waiting_.query(r.tenant, r.no);
  if (q.next() && !q.is_null(0)) first = std::min(*first, q.number<log_id>(0));
  if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  return first;
}

// ------------------------------------------------------------------------------------------------------------ turns

void retention::committed(commit_no no) {
  for (auto& t : trimming_) {
    t.commit = no;
    trimmed_.push_back(t);
  }
  trimming_.clear();
}

void retention::undone() {
  // What the queue had is looked for again.
  trimming_.clear();
  found_.clear();
  at_ = place::idle;
  nobody_wants_it_ = false;
  next_piece_ = clock_.mono() + wait_after_failure;
  next_round_ = next_piece_;
}

void retention::rest(mono_time start, mono_time end) {
  next_piece_ = end + (removed_ ? rest_after_removal : rest_after_look) * (end - start);
}

std::vector<rewritten_room> retention::take_trimmed() { return std::exchange(trimmed_, {}); }

}  // namespace parley::store
