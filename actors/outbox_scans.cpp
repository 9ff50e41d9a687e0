// How the log becomes rows of the outbox: the two positions, presence, replays.

#include "actors/outbox.hpp"
#include "actors/outbox_paces.hpp"
#include "protocol/assert.hpp"
#include "protocol/log.hpp"
#include "protocol/planted.hpp"

#include <algorithm>
#include <utility>

namespace parley::actors {

// ---- positions ----------------------------------------------------------------------------------------------------

void outbox::forget_positions() {
  events_.forget();
  offline_.forget();
  events_call_.reset();
  offline_call_.reset();
  scan_wanted_ = true;
}

void outbox::read_positions(mono_time now) {
  if (positions_under_way_ || now < positions_at_) return;
  // First: what is committed after they were read is heard of.
  ports_.wait_for_log();
  positions_under_way_ = read({.kind = read_kind::positions}, {}, log_positions_query{}).has_value();
}

void outbox::on_positions(read_kind kind, const read_result& answer) {
  (kind == read_kind::lag ? lag_under_way_ : positions_under_way_) = false;
  const auto* p = std::get_if<store::log_positions>(&answer);
  if (p == nullptr) {
    positions_at_ = mono() + retry_pause;
    return;
  }
  if (kind == read_kind::positions) {
    events_.set(p->events, mono());
    offline_.set(p->offline, mono());
    scan_wanted_ = true;
  }
  log_end_ = std::max(log_end_, p->last);
  counters_.lag = std::max<std::int64_t>(0, log_end_.value - events_.looked_at().value);
}

// ---- events -------------------------------------------------------------------------------------------------------

void outbox::scan_events(mono_time now) {
  if (endpoints_.empty() || now < events_at_) return;
  if (!events_.is_known() || !offline_.is_known()) read_positions(now);
  if (!events_.is_known() || !events_.is_idle()) return;
  if (!scan_wanted_) {
    if (auto batch = events_.move(now, false)) store_events(std::move(*batch));
    return;
  }
  if (!goes_on_ && now - scan_began_ < scan_pause) return;  // scan_at()
  scan_wanted_ = false;
  // First: what the scan does not see is heard of.
  ports_.wait_for_log();
  scan_query q;
  q.what = scan_query::kind::events;
  q.after = events_.looked_at();
  q.max_entries = bounds_.scan_entries;
  events_call_ = read({.kind = read_kind::events}, {}, std::move(q));
  if (!events_call_) {
    scan_wanted_ = true;
    return;
  }
  scan_began_ = now;
  events_.scan_began();
}

std::optional<mono_time> outbox::scan_at() const {
  if (endpoints_.empty() || !scan_wanted_ || !events_.is_known() || !events_.is_idle())
    return std::nullopt;
  return std::max(events_at_, scan_began_ + scan_pause);
}

void outbox::on_events(const read_result& answer) {
  const auto now = mono();
  events_call_.reset();
  const auto* found = std::get_if<store::scanned>(&answer);
  if (found == nullptr) {
    events_.scan_failed();
    events_at_ = now + retry_pause;
    scan_wanted_ = true;
    goes_on_ = true;
    return;
  }
  goes_on_ = found->more;
  scan_wanted_ = scan_wanted_ || found->more;
  log_end_ = std::max(log_end_, found->to);
  counters_.lag = std::max<std::int64_t>(0, log_end_.value - found->to.value);
  const bool at_once = !found->more && std::exchange(moves_at_once_, false);
  if (auto batch = events_.scanned(*found, at_once, now)) store_events(std::move(*batch));
}

void outbox::store_events(store::outbox_batch batch) {
  static const bool position_first = planted_defect("outbox_position_first");
  if (position_first && !batch.rows.empty()) {
    moved_without_rows_.emplace().rows = std::move(batch.rows);
    batch.rows.clear();
  }
  events_call_ = apply({.kind = apply_kind::events, .tenant = {}, .touched = {}}, std::move(batch));
}

void outbox::on_events_stored(const pending_apply&, const std::optional<error>& failure) {
  const auto now = mono();
  events_call_.reset();
  if (!failure) {
    events_.stored_ok(now);
    if (auto rows = std::exchange(moved_without_rows_, std::nullopt))
      apply({.kind = apply_kind::rows_of_moved, .tenant = {}, .touched = {}}, std::move(*rows));
    return;
  }
  moved_without_rows_.reset();
  if (failure->code == error_code::conflict) {
    events_.forget();
  } else {
    events_.lost();
    events_at_ = now + store_pause;
  }
  scan_wanted_ = true;
  goes_on_ = true;
}

// ---- message.offline ----------------------------------------------------------------------------------------------

void outbox::scan_offline(mono_time now) {
  if (endpoints_.empty() || now < offline_at_ || now - started_at_ < options_.herd_window) return;
  if (!offline_.is_known() || !offline_.is_idle() || !events_.is_known()) return;
  offline_at_ = now + offline_pause;
  if (offline_.looked_at() >= events_.stored()) {
    if (auto batch = offline_.move(now, false))
      offline_call_ =
          apply({.kind = apply_kind::offline, .tenant = {}, .touched = {}}, std::move(*batch));
    return;
  }
  scan_query q;
  q.what = scan_query::kind::offline;
  q.after = offline_.looked_at();
  q.max_entries = bounds_.scan_entries;
  q.due_before = clock_.now() - options_.offline_after;
  q.max_members = options_.offline_max_members;
  offline_call_ = read({.kind = read_kind::offline}, {}, std::move(q));
  if (offline_call_) offline_.scan_began();
}

void outbox::on_offline(const read_result& answer) {
  const auto now = mono();
  offline_call_.reset();
  const auto* found = std::get_if<store::scanned>(&answer);
  if (found == nullptr) {
    offline_.scan_failed();
    return;
  }
  if (found->more) offline_at_ = now;
  if (auto batch = offline_.scanned(*found, false, now))
    offline_call_ =
        apply({.kind = apply_kind::offline, .tenant = {}, .touched = {}}, std::move(*batch));
}

void outbox::on_offline_stored(const pending_apply&, const std::optional<error>& failure) {
  const auto now = mono();
  offline_call_.reset();
  if (!failure) {
    offline_.stored_ok(now);
  } else if (failure->code == error_code::conflict) {
    offline_.forget();
  } else {
    offline_.lost();
    offline_at_ = now + store_pause;
  }
}

// ---- presence -----------------------------------------------------------------------------------------------------

void outbox::flush_presence(mono_time now) {
  if (presence_.empty() || presence_under_way_ || now < presence_at_) return;
  auto rows = presence_.take(now, bounds_.presence_batch);
  if (!rows) return;
  presence_under_way_ = true;
  store::outbox_batch batch;
  batch.rows = std::move(*rows);
  apply({.kind = apply_kind::presence, .tenant = {}, .touched = {}}, std::move(batch));
  counters_.presence_dropped = presence_.dropped();
}

void outbox::on_presence_stored(const pending_apply&, const std::optional<error>& failure) {
  presence_under_way_ = false;
  if (!failure) {
    presence_.stored();
    return;
  }
  presence_.lost();
  presence_at_ = mono() + store_pause;
}

// ---- replays ------------------------------------------------------------------------------------------------------

/// A slice at a time, and none while much waits to be sent: what is new must not wait for all that is old, and a queue that
/// is full would drop it.
void outbox::step_replays(mono_time now) {
  for (const auto tenant : replays_) {
    auto& e = endpoints_.at(tenant);
    if (e.held || e.replay_call || now < e.replay_at) continue;
    endpoints_query q;
    q.tenant = tenant;
    e.replay_call =
        read({.kind = read_kind::replay_endpoint, .tenant = tenant}, tenant, std::move(q));
    if (!e.replay_call) return;
  }
}

void outbox::on_replay_endpoint(tenant_no tenant, call_no call, const read_result& answer) {
  const auto it = endpoints_.find(tenant);
  if (it == endpoints_.end() || it->second.replay_call != call) return;
  auto& e = it->second;
  e.replay_call.reset();
  const auto* found = std::get_if<store::endpoint_list>(&answer);
  if (found == nullptr) {
    e.replay_at = mono() + retry_pause;
    return;
  }
  if (found->endpoints.empty()) {  // its change is on its way to here
    replays_.erase(tenant);
    return;
  }
  const auto& row = found->endpoints.front();
  e.row.queued = row.queued;
  e.row.replay_from = row.replay_from;
  e.row.replay_to = row.replay_to;
  if (!row.replay_to.is_set() || row.disabled) {
    replays_.erase(tenant);
    return;
  }
  if (row.queued > bounds_.replay_queued) {
    e.replay_at = mono() + replay_pause;
    return;
  }
  scan_query q;
  q.what = scan_query::kind::tenant;
  q.tenant = tenant;
  q.after = row.replay_from;
  q.to = row.replay_to;
  q.max_entries = bounds_.scan_entries;
  e.replay_call = read({.kind = read_kind::replay_scan, .tenant = tenant}, tenant, std::move(q));
}

void outbox::on_replay_scan(tenant_no tenant, call_no call, const read_result& answer) {
  const auto it = endpoints_.find(tenant);
  if (it == endpoints_.end() || it->second.replay_call != call) return;
  auto& e = it->second;
  e.replay_call.reset();
  const auto* found = std::get_if<store::scanned>(&answer);
  if (found == nullptr) {
    e.replay_at = mono() + retry_pause;
    return;
  }
  store::outbox_batch batch;
  batch.replay = {tenant, e.row.replay_from, found->more ? found->to : e.row.replay_to};
  batch.rows = found->rows;
  e.replay_call =
      apply({.kind = apply_kind::replay, .tenant = tenant, .touched = {}}, std::move(batch));
}

/// The next slice begins with a look at the row: it says whether the replay goes on.
void outbox::on_replay_stored(const pending_apply& done, call_no call,
                              const std::optional<error>& failure) {
  const auto it = endpoints_.find(done.tenant);
  if (it == endpoints_.end() || it->second.replay_call != call) return;
  it->second.replay_call.reset();
  if (failure) it->second.replay_at = mono() + store_pause;
}

}  // namespace parley::actors
