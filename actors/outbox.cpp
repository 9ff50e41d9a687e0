// The outbox's endpoints, and what comes in. Its other parts: outbox_scans.cpp (the log → rows), outbox_sending.cpp (rows →
// requests → outcomes), outbox_calls.cpp (what operators ask).

#include "actors/outbox.hpp"

#include "actors/new_tenant.hpp"
#include "actors/outbox_paces.hpp"
#include "protocol/log.hpp"
#include "protocol/standard_webhooks.hpp"

#include <algorithm>
#include <utility>

namespace parley::actors {
namespace {

constexpr std::size_t endpoints_page = 500;
constexpr std::size_t rows_read_at_once = 16;

}  // namespace

outbox::outbox(outbox_ports& ports, const clock& now, random_source& random,
               const outbox_options& options, const secret_key& sealing_key, std::uint64_t first_no,
               const outbox_bounds& bounds)
    : ports_(ports),
      clock_(now),
      random_(random),
      options_(options),
      sealing_key_(sealing_key),
      bounds_(bounds),
      last_no_(first_no),
      presence_(bounds.presence),
      lists_(bounds.list_bytes, bounds.list_slice) {}

void outbox::start() {
  started_at_ = mono();
  pump();
}

std::optional<call_no> outbox::read(const pending_read& what, tenant_no tenant, read_query q) {
  const call_no call{++last_no_};
  reads_.emplace(call, what);
  if (ports_.read(call, tenant, std::move(q))) return call;
  reads_.erase(call);
  return std::nullopt;
}

call_no outbox::apply(pending_apply what, store::outbox_batch batch) {
  const call_no call{++last_no_};
  for (const auto& row : batch.rows) {
    if (what.touched.empty() || what.touched.back() != row.tenant)
      what.touched.push_back(row.tenant);
  }
  applies_.emplace(call, std::move(what));
  ports_.apply(std::make_shared<const apply_outbox>(apply_outbox{call, std::move(batch)}));
  return call;
}

/// Everything that can be done now. Each part looks first whether there is something: most have nothing.
void outbox::pump() {
  const auto now = mono();
  read_endpoints();
  read_changed();
  send();
  flush_outcomes(now);
  flush_presence(now);
  scan_events(now);
  scan_offline(now);
  step_replays(now);
  read_pages();
  read_lists(now);
}

bool outbox::wants_ticks() const {
  return !listed_ || !endpoints_.empty() || !changed_.empty() || !presence_.empty() ||
         !calls_.empty() || !attempts_.empty() || unconfirmed() > 0 || !disables_.empty();
}

void outbox::tick() {
  const auto now = mono();
  while (!wakes_.empty() && wakes_.begin()->first <= now) {
    auto& e = endpoints_.at(wakes_.begin()->second);
    wakes_.erase(wakes_.begin());
    e.wake_at.reset();
    // What kept it from being served may last longer than what it was woken for.
    if (const auto until = e.breaker.rests_until(); until && *until > now) wake(e, *until);
    if (e.pages_at > now) wake(e, e.pages_at);
    want_round(e);
    send_turn(e);
  }
  if (now >= sweep_at_) {
    sweep_at_ = now + sweep_pause;
    lists_.tick(now);
    for (auto& [tenant, e] : endpoints_) {
      if (e.lanes.posts() == 0 || !e.lanes.close_loaded_before(now - loaded_good_for)) continue;
      count_bytes(e);
      want_round(e);
    }
    sweep_attempts(now);
    sweep_calls(now);
  }
  if (goes_on_ && !lag_under_way_ && now >= lag_at_ && !endpoints_.empty()) {
    lag_at_ = now + lag_pause;
    lag_under_way_ = read({.kind = read_kind::lag}, {}, log_positions_query{}).has_value();
  }
  pump();
}

// ---- what comes in ------------------------------------------------------------------------------------------------

void outbox::on(const outbox_news& m) {
  scan_wanted_ = scan_wanted_ || m.log_grew || !m.tenants.empty();
  moves_at_once_ = moves_at_once_ || !m.tenants.empty();
  for (const auto tenant : m.tenants) {
    if (!listed_) news_while_listing_.insert(tenant);
    if (endpoints_.count(tenant) == 0) continue;
    news_of(tenant);
  }
  pump();
}

void outbox::on(const outbox_applied& m) {
  const auto it = applies_.find(m.call);
  if (it == applies_.end()) return;
  const auto done = std::move(it->second);
  applies_.erase(it);
  if (m.failure) log_failure(*m.failure);
  switch (done.kind) {
    case apply_kind::outcomes:
      on_outcomes_stored(m.failure);
      break;
    case apply_kind::events:
      if (events_call_ == m.call) on_events_stored(done, m.failure);
      break;
    case apply_kind::offline:
      if (offline_call_ == m.call) on_offline_stored(done, m.failure);
      break;
    case apply_kind::presence:
      on_presence_stored(done, m.failure);
      break;
    case apply_kind::replay:
      on_replay_stored(done, m.call, m.failure);
      break;
    case apply_kind::rows_of_moved:
      break;
  }
  if (!m.failure) {
    for (const auto tenant : done.touched) news_of(tenant);
  }
  pump();
}

void outbox::on(call_no call, const read_result& answer) {
  const auto it = reads_.find(call);
  if (it == reads_.end()) return;
  const auto asked = it->second;
  reads_.erase(it);
  const auto* failure = std::get_if<error>(&answer);
  switch (asked.kind) {
    case read_kind::positions:
    case read_kind::lag:
      on_positions(asked.kind, answer);
      break;
    case read_kind::endpoint_page:
      list_call_.reset();
      if (failure != nullptr) {
        rows_at_ = mono() + retry_pause;
      } else {
        on_endpoints(std::get<store::endpoint_list>(answer));
      }
      break;
    case read_kind::endpoint: {
      const auto changed = changed_.find(asked.tenant);
      if (changed == changed_.end() || changed->second != call) break;
      if (failure != nullptr) {
        changed->second.reset();
        rows_at_ = mono() + retry_pause;
      } else {
        changed_.erase(changed);
        on_endpoint(asked.tenant, std::get<store::endpoint_list>(answer));
      }
      break;
    }
    case read_kind::tenant:
      on_tenant(asked.tenant, call, answer);
      break;
    case read_kind::events:
      if (events_call_ == call) on_events(answer);
      break;
    case read_kind::offline:
      if (offline_call_ == call) on_offline(answer);
      break;
    case read_kind::page:
      on_page(asked, call, answer);
      break;
    case read_kind::replay_endpoint:
      on_replay_endpoint(asked.tenant, call, answer);
      break;
    case read_kind::replay_scan:
      on_replay_scan(asked.tenant, call, answer);
      break;
    case read_kind::members:
      on_members(room_no{static_cast<std::int64_t>(asked.ref)}, answer);
      break;
    case read_kind::call_endpoint:
      on_call_endpoint(asked.ref, answer);
      break;
    case read_kind::call_tenant:
      on_call_tenant(asked.ref, answer);
      break;
  }
  pump();
}

void outbox::on(const tenant_changed& m) {
  const auto* row = std::get_if<store::tenant_row>(&m.outcome);
  if (row == nullptr) return;
  if (!listed_) changed_while_listing_.insert(row->no);
  refresh(row->no);
  pump();
}

void outbox::on(const user_presence& m) {
  const auto it = endpoints_.find(m.user.tenant);
  if (it == endpoints_.end() || it->second.row.disabled) return;
  const auto type = m.online ? event_type::user_online : event_type::user_offline;
  if ((it->second.row.events & mask_of(type)) == 0) return;
  presence_.on(m, mono());
  pump();
}

// ---- endpoints ----------------------------------------------------------------------------------------------------

/// At the start: all of them.
void outbox::read_endpoints() {
  if (listed_ || list_call_ || mono() < rows_at_) return;
  endpoints_query q;
  q.limit = endpoints_page;
  q.cursor = list_cursor_;
  list_call_ = read({.kind = read_kind::endpoint_page}, {}, std::move(q));
}

void outbox::on_endpoints(const store::endpoint_list& page) {
  for (const auto& row : page.endpoints) {
    // What has changed since this page was read is read by itself.
    if (changed_while_listing_.count(row.tenant) == 0) put(row);
  }
  list_cursor_ = page.next_cursor;
  if (!list_cursor_.empty()) return;
  listed_ = true;
  for (const auto tenant : news_while_listing_) news_of(tenant);
  news_while_listing_.clear();
  changed_while_listing_.clear();
}

void outbox::refresh(tenant_no tenant) {
  changed_[tenant].reset();
  if (const auto it = endpoints_.find(tenant); it != endpoints_.end()) it->second.held = true;
}

void outbox::read_changed() {
  if (changed_.empty() || mono() < rows_at_) return;
  std::size_t under_way = 0;
  for (auto& [tenant, call] : changed_) {
    if (++under_way > rows_read_at_once) return;
    if (call) continue;
    endpoints_query q;
    q.tenant = tenant;
    call = read({.kind = read_kind::endpoint, .tenant = tenant}, tenant, std::move(q));
    if (!call) return;
  }
}

void outbox::on_endpoint(tenant_no tenant, const store::endpoint_list& found) {
  if (found.endpoints.empty()) {
    remove(tenant);
  } else {
    put(found.endpoints.front());
  }
}

/// As it is now: nothing that was loaded for it as it was before is sent.
void outbox::put(const store::endpoint_row& row) {
  const endpoint_breaker::options breaker{options_.breaker_failures, options_.breaker_rest,
                                          options_.concurrency_per_endpoint};
  const bool first = endpoints_.empty();
  auto [it, fresh] = endpoints_.try_emplace(row.tenant, breaker);
  auto& e = it->second;
  if (fresh) {
    e.life = ++last_life_;
    e.url_life = ++last_life_;
    ++counters_.endpoints;
    // Without any endpoint nobody moves the positions: the store has set them anew since.
    if (first) forget_positions();
  } else {
    if (e.row.disabled) --counters_.disabled;
    // What the former URL answered is not to disable this one.
    if (row.url != e.row.url)
      std::erase_if(disables_, [&](const auto& d) { return d.tenant == row.tenant; });
    if (row.url != e.row.url || (e.row.disabled && !row.disabled)) {
      if (e.breaker.is_open()) --counters_.resting;
      e.breaker = endpoint_breaker{breaker};
      e.url_life = ++last_life_;
    }
  }
  e.row = row;
  if (row.disabled) ++counters_.disabled;
  e.held = false;
  e.tenant = tenant_state::unknown;
  e.tenant_call.reset();
  e.secrets.clear();
  e.page_call.reset();
  e.in_round = false;
  e.replay_call.reset();
  e.replay_at = {};
  e.lanes.close_all();
  count_bytes(e);
  show_wishes(e);
  if (row.replay_to.is_set()) {
    replays_.insert(row.tenant);
  } else {
    replays_.erase(row.tenant);
  }
  if (row.queued > 0 || !fresh) {
    want_round(e);
  } else {
    // Spread, so that not all are looked at together.
    wake(e, mono() + recheck_pause * (1 + row.tenant.value % 64) / 64);
  }
}

void outbox::remove(tenant_no tenant) {
  const auto it = endpoints_.find(tenant);
  if (it == endpoints_.end()) return;
  auto& e = it->second;
  --counters_.endpoints;
  if (e.row.disabled) --counters_.disabled;
  if (e.breaker.is_open()) --counters_.resting;
  if (e.wake_at) wakes_.erase({*e.wake_at, tenant});
  loaded_bytes_ -= e.seen_bytes;
  replays_.erase(tenant);
  ports_.wishes(tenant, false);
  endpoints_.erase(it);
}

void outbox::on_tenant(tenant_no tenant, call_no call, const read_result& answer) {
  const auto it = endpoints_.find(tenant);
  if (it == endpoints_.end() || it->second.tenant_call != call) return;
  auto& e = it->second;
  e.tenant_call.reset();
  if (std::holds_alternative<error>(answer)) {
    e.pages_at = mono() + retry_pause;
    wake(e, e.pages_at);
    return;
  }
  const auto& row = std::get<std::optional<store::tenant_row>>(answer);
  e.secrets.clear();
  e.tenant = row ? open_secrets(*row, e.secrets) : tenant_state::disabled;
  if (e.tenant == tenant_state::no_secret)
    log(log_level::warn, "a tenant has no webhook secret: nothing is sent to its endpoint",
        {{"tenant", e.row.id.value}});
  read_turn(e);
}

outbox::tenant_state outbox::open_secrets(const store::tenant_row& row,
                                          std::vector<std::string>& secrets) const {
  if (row.disabled || row.deleted) return tenant_state::disabled;
  for (const auto& c : row.credentials) {
    if (c.kind != "webhook_secret") continue;
    auto secret = unseal(sealing_key_, c.sealed, seal_context(row.id, c.id));
    if (!secret || !webhook_key(*secret)) {
      log(log_level::error, "a credential is sealed with another secret_key",
          {{"tenant", row.id.value}, {"key_id", c.id.value}});
      continue;
    }
    secrets.push_back(std::move(*secret));
  }
  return secrets.empty() ? tenant_state::no_secret : tenant_state::active;
}

void outbox::show_wishes(const endpoint& e) {
  constexpr auto presence = mask_of(event_type::user_online) | mask_of(event_type::user_offline);
  ports_.wishes(e.row.tenant, !e.row.disabled && (e.row.events & presence) != 0);
}

/// In memory at once; on the disk with the next outcomes.
void outbox::set_disabled(endpoint& e, std::string why) {
  log(log_level::warn, "an endpoint is disabled", {{"tenant", e.row.id.value}, {"why", why}});
  ++counters_.disabled;
  e.row.disabled = true;
  e.row.why = why;
  e.in_round = false;
  e.lanes.close_all();
  count_bytes(e);
  show_wishes(e);
  disables_.push_back({e.row.tenant, e.row.url, std::move(why), clock_.now()});
}

void outbox::wake(endpoint& e, mono_time when) {
  if (e.wake_at && *e.wake_at <= when) return;
  if (e.wake_at) wakes_.erase({*e.wake_at, e.row.tenant});
  e.wake_at = when;
  wakes_.emplace(when, e.row.tenant);
}
void outbox::wake(endpoint& e, utc_time when) {
  // A little later than that, so that it is due then for whoever asks.
  wake(e, mono() + std::max(std::chrono::milliseconds{0}, when - clock_.now()) +
              std::chrono::milliseconds{1});
}

void outbox::want_round(endpoint& e) {
  e.wants_round = true;
  read_turn(e);
}

void outbox::news_of(tenant_no tenant) {
  if (const auto it = endpoints_.find(tenant); it != endpoints_.end()) want_round(it->second);
}

void outbox::read_turn(endpoint& e) {
  if (e.in_read_turns) return;
  e.in_read_turns = true;
  read_turns_.push_back(e.row.tenant);
}
void outbox::send_turn(endpoint& e) {
  if (e.in_send_turns) return;
  e.in_send_turns = true;
  send_turns_.push_back(e.row.tenant);
}

void outbox::count_bytes(endpoint& e) {
  loaded_bytes_ += e.lanes.bytes() - e.seen_bytes;
  e.seen_bytes = e.lanes.bytes();
}

void outbox::log_failure(const error& why) {
  const auto now = mono();
  if (why.code == error_code::conflict || now < apply_logged_at_) return;
  apply_logged_at_ = now + log_pause;
  log(log_level::warn, "what the outbox wanted stored was refused: it is tried again",
      {{"why", why.message}});
}

}  // namespace parley::actors
