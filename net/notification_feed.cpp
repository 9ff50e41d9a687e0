#include "net/notification_feed.hpp"

#include "protocol/assert.hpp"

#include <algorithm>
#include <utility>

namespace parley::net {

namespace {

constexpr auto sent_interval = std::chrono::seconds{1};
constexpr std::size_t sent_rows_max = 1024;  // then they are not kept for a second
constexpr std::size_t acks_per_message = 256;

}  // namespace

notification_feed::notification_feed(notification_ports& ports,
                                     const notification_feed_options& options)
    : ports_(ports),
      options_(options),
      last_call_(notification_call_bit) {}

// ---- connections ------------------------------------------------------------------------------------------------

std::uint64_t notification_feed::shows(tenant_no tenant) const {
  const auto it = tenants_.find(tenant);
  return it == tenants_.end() ? 0 : it->second.shows;
}

bool notification_feed::may_wait(tenant_no tenant) const {
  const auto it = tenants_.find(tenant);
  return it == tenants_.end() || it->second.notifications != tenant_state::any::none;
}

void notification_feed::start(const notified_device& device, const user_key& user, bool reads) {
  ++tenants_[user.tenant].connections;
  if (!reads) return;
  auto& f = remember(device, user, {});
  f.behind = true;
  want(device.connection, f);
  run();
}

void notification_feed::remove(connection_ref c, const user_key& user) {
  auto& t = tenants_.at(user.tenant);
  if (const auto it = feeds_.find(c); it != feeds_.end()) {
    t.horizon = std::max(t.horizon, it->second.looked);
    if (it->second.timer != mono_time{}) timers_.erase({it->second.timer, c});
    feeds_.erase(it);
  }
  flush_acks(user);  // whoever comes back at once is not sent again what it has
  PARLEY_ASSERT(t.connections > 0);
  if (--t.connections > 0 || t.waiting.empty()) return;
  t.resolved = t.waiting.back()->no;
  t.waiting.clear();
  t.reading = false;
  t.call = {};
}

notification_feed::feed& notification_feed::remember(const notified_device& d, const user_key& user,
                                                     notification_no looked) {
  auto& f = feeds_[d.connection];
  f.user = user;
  f.explicit_acks = d.explicit_acks;
  f.looked = looked;
  return f;
}

void notification_feed::settle(connection_ref c) {
  const auto it = feeds_.find(c);
  if (it == feeds_.end()) return;
  const auto& f = it->second;
  auto& t = tenants_.at(f.user.tenant);
  // What it was sent and its show has not passed here yet would be sent again.
  if (f.reading || f.queued || f.behind || f.again || f.blocked || !f.unacked.empty() ||
      f.sent > t.resolved) {
    return;
  }
  t.horizon = std::max(t.horizon, f.looked);
  if (f.timer != mono_time{}) timers_.erase({f.timer, c});
  feeds_.erase(it);
}

std::size_t notification_feed::unacknowledged() const {
  std::size_t n = 0;
  for (const auto& [c, f] : feeds_) n += f.unacked.size();
  return n;
}

// ---- sending ----------------------------------------------------------------------------------------------------

bool notification_feed::try_send(connection_ref c, feed& f, const uuid& id, const frame_ptr& frame) {
  if (!ports_.takes(c, frame->bytes.size())) {
    f.blocked = true;
    return false;
  }
  ports_.send(c, frame);
  if (!f.explicit_acks && !f.unwritten) {
    f.unwritten = true;
    unwritten_.push_back(c);
  }
  auto& times = sent_[f.user.tenant][id];
  if (++times == 1) ++sent_waiting_;
  return true;
}

bool notification_feed::send_first(connection_ref c, feed& f, notification_no no, const uuid& id,
                                   const frame_ptr& frame) {
  PARLEY_ASSERT(no > f.looked && f.unacked.size() < options_.page);
  if (!try_send(c, f, id, frame)) return false;
  ++counters_.sent;
  f.looked = f.sent = no;
  f.unacked.push_back({no, id, 1, now_ + pause_after(1)});
  if (f.timer == mono_time{} || f.unacked.back().again_at < f.timer) set_timer(c, f);
  ask_for_pong(c, f);
  return true;
}

void notification_feed::ask_for_pong(connection_ref c, feed& f) {
  if (f.explicit_acks || f.pinged || 2 * f.unacked.size() < options_.page) return;
  f.pinged = true;
  ports_.ping(c);
}

/// False: it must wait; the connection is blocked.
bool notification_feed::send_again(connection_ref c, feed& f, const uuid& id, const frame_ptr& frame) {
  const auto it = std::find_if(f.unacked.begin(), f.unacked.end(),
                               [&](const auto& one) { return one.id == id; });
  if (it == f.unacked.end() || it->again_at > now_) return true;
  if (!try_send(c, f, id, frame)) return false;
  ++counters_.sent_again;
  it->again_at = now_ + pause_after(++it->sends);
  return true;
}

std::chrono::milliseconds notification_feed::pause_after(std::uint32_t sends) const {
  constexpr std::uint32_t doublings_max = 24;  // from a millisecond to hours
  const auto pause = options_.retry_interval * (1LL << std::min(sends - 1, doublings_max));
  return std::min<std::chrono::milliseconds>(pause, options_.retry_max_interval);
}

void notification_feed::set_timer(connection_ref c, feed& f) {
  if (f.timer != mono_time{}) timers_.erase({f.timer, c});
  f.timer = {};
  if (!f.explicit_acks || f.unacked.empty()) return;
  f.timer = std::min_element(f.unacked.begin(), f.unacked.end(), [](const auto& a, const auto& b) {
              return a.again_at < b.again_at;
            })->again_at;
  timers_.insert({f.timer, c});
}

// ---- what waits for a user ----------------------------------------------------------------------------------------

void notification_feed::want(connection_ref c, feed& f) {
  if (f.reading || f.queued || f.blocked) return;
  if (!f.again && (!f.behind || f.unacked.size() >= options_.page)) return;
  f.queued = true;
  due_.push_back(c);
}

void notification_feed::run() {
  while (reads_ < options_.reads_max && !due_.empty()) {
    const auto c = due_.front();
    const auto it = feeds_.find(c);
    if (it == feeds_.end() || !it->second.queued) {
      due_.pop_front();
      continue;
    }
    auto& f = it->second;
    f.again = f.again && !f.unacked.empty();
    if (!f.again && !f.behind) {
      f.queued = false;
      due_.pop_front();
      settle(c);
      continue;
    }
    const auto after = f.again ? notification_no{f.unacked.front().no.value - 1} : f.looked;
    const auto items = f.again ? options_.page : options_.page - f.unacked.size();
    const auto call = ++last_call_;
    if (!ports_.ask(
            call, actors::notifications_query{f.user, after, {}, items, options_.page_max_bytes})) {
      return;  // until the next tick
    }
    due_.pop_front();
    ++counters_.pages;
    ++reads_;
    calls_.emplace(call, call_target{call_kind::page, c, {}, after, f.shown, f.again});
    f.queued = f.again = f.behind = false;
    f.reading = true;
  }
}

void notification_feed::on_page(const call_target& asked, const actors::read_result& answer) {
  --reads_;
  const auto c = asked.connection;
  const auto it = feeds_.find(c);
  if (it == feeds_.end()) return;
  auto& f = it->second;
  f.reading = false;
  const auto* page = std::get_if<actors::notification_frames>(&answer);
  if (page == nullptr) {
    // The disk can't be read now; nothing is lost by waiting.
    f.again = f.again || asked.again;
    f.behind = f.queued = true;
    retry_.push_back(c);
    return;
  }
  auto& t = tenants_.at(f.user.tenant);
  if (t.notifications == tenant_state::any::unknown) {
    const bool none = page->items.empty() && !page->to.is_set();
    t.notifications = none ? tenant_state::any::none : tenant_state::any::some;
  }
  const auto to = page->more ? page->to : std::max(page->to, asked.shown);
  if (asked.again) {
    // What does not wait any more was acknowledged elsewhere, or is past its time.
    std::erase_if(f.unacked, [&](const owed& one) {
      return one.no > asked.after && one.no <= to &&
             std::none_of(page->items.begin(), page->items.end(),
                          [&](const auto& item) { return item.no == one.no; });
    });
  }
  bool all = true;
  for (const auto& item : page->items) {
    if (item.no <= f.looked) {
      if (!asked.again || send_again(c, f, item.id, item.frame)) continue;
      f.again = true;
      all = false;
      break;
    }
    all = f.unacked.size() < options_.page && send_first(c, f, item.no, item.id, item.frame);
    if (!all) break;
  }
  if (all) f.looked = std::max(f.looked, to);
  f.behind = !all || page->more || f.shown > f.looked;
  set_timer(c, f);
  want(c, f);
  settle(c);
}

void notification_feed::drained(connection_ref c) {
  const auto it = feeds_.find(c);
  if (it == feeds_.end() || !it->second.blocked) return;
  it->second.blocked = false;
  want(c, it->second);
  run();
  settle(c);
}

// ---- what is shown ------------------------------------------------------------------------------------------------

void notification_feed::on(const actors::notification_shown_ptr& m) {
  auto& t = tenants_[m->tenant];
  t.notifications = tenant_state::any::some;
  ++t.shows;
  if (t.connections == 0) {
    t.resolved = m->no;
    return;
  }
  t.waiting.push_back(m);
  if (t.waiting.size() > options_.shows_max) {
    ++counters_.overflows;
    all_read(m->tenant, t);
  } else {
    advance(m->tenant, t);
  }
  run();
}

/// Sends what waits, in order: a later one may be for a connection that an earlier one is for.
void notification_feed::advance(tenant_no tenant, tenant_state& t) {
  while (!t.waiting.empty() && !t.reading) {
    const auto first = t.waiting.front();
    for (const auto& user : first->users) show_to({tenant, user}, *first);
    if (!first->room) {
      t.waiting.pop_front();
      t.resolved = first->no;
      continue;
    }
    // What comes for the same room meanwhile goes along.
    t.batch = 1;
    while (t.batch < t.waiting.size() && t.waiting[t.batch]->users.empty() &&
           t.waiting[t.batch]->room == first->room) {
      ++t.batch;
    }
    t.reading = true;
    t.cursor.clear();
    ask_members(tenant, t);
  }
}

void notification_feed::ask_members(tenant_no tenant, tenant_state& t) {
  const auto call = ++last_call_;
  const room_key room{tenant, *t.waiting.front()->room};
  t.call = {};
  if (!ports_.ask(call, actors::members_query{room, {}, options_.members_page, t.cursor, 0})) {
    retry_members_.push_back(tenant);
    return;
  }
  ++counters_.room_pages;
  t.call = call;
  calls_.emplace(call, call_target{call_kind::members, {}, tenant});
}

void notification_feed::on_members(tenant_no tenant, call_no call, const actors::read_result& answer) {
  auto& t = tenants_.at(tenant);
  if (t.call != call) return;
  t.call = {};
  const auto* why = std::get_if<error>(&answer);
  if (why != nullptr && why->code != error_code::not_found) {
    retry_members_.push_back(tenant);
    return;
  }
  if (why == nullptr) {
    const auto& list = std::get<actors::members_result_page>(answer).list;
    for (const auto& one : list.members) {
      const user_key user{tenant, one.member.user};
      for (std::size_t at = 0; at < t.batch; ++at) show_to(user, *t.waiting[at]);
    }
    t.cursor = list.next_cursor;
    // A big room in which hardly anybody can be here: those who are read for themselves.
    if (!t.cursor.empty() && t.connections <= options_.members_page) return all_read(tenant, t);
    if (!t.cursor.empty()) return ask_members(tenant, t);
  }
  t.resolved = t.waiting[t.batch - 1]->no;
  t.waiting.erase(t.waiting.begin(), t.waiting.begin() + static_cast<std::ptrdiff_t>(t.batch));
  t.reading = false;
  advance(tenant, t);
}

void notification_feed::show_to(const user_key& user, const actors::notification_shown& m) {
  devices_.clear();
  ports_.add_devices(user, devices_);
  if (devices_.empty()) return;
  const auto& t = tenants_.at(user.tenant);
  for (const auto& d : devices_) show_to(d, user, t, m);
}

void notification_feed::show_to(const notified_device& d, const user_key& user,
                                const tenant_state& t, const actors::notification_shown& m) {
  const auto c = d.connection;
  auto it = feeds_.find(c);
  if (it == feeds_.end()) {
    // It has seen all before this one; and perhaps this one, if others have looked as far.
    auto& fresh = remember(d, user, notification_no{m.no.value - 1});
    fresh.behind = m.no <= t.horizon;
    it = feeds_.find(c);
  }
  auto& f = it->second;
  if (m.no <= f.looked) return;
  const bool can = !f.reading && !f.behind && !f.blocked && f.unacked.size() < options_.page;
  if (can && send_first(c, f, m.no, m.id, m.frame)) return;
  f.shown = std::max(f.shown, m.no);
  f.behind = true;
  want(c, f);
}

/// Instead of looking for whom the shows that wait are, whoever is here reads what is for it.
void notification_feed::all_read(tenant_no tenant, tenant_state& t) {
  const auto first = t.waiting.front()->no;
  const auto last = t.waiting.back()->no;
  t.waiting.clear();
  t.reading = false;
  t.call = {};
  std::vector<user_key> users;
  ports_.add_users(tenant, users);
  for (const auto& user : users) {
    devices_.clear();
    ports_.add_devices(user, devices_);
    for (const auto& d : devices_) {
      const auto it = feeds_.find(d.connection);
      auto& f = it != feeds_.end() ? it->second : remember(d, user, notification_no{first.value - 1});
      if (f.looked >= last) continue;
      f.shown = std::max(f.shown, last);
      f.behind = true;
      want(d.connection, f);
    }
  }
  t.resolved = last;
}

// ---- acknowledgements ---------------------------------------------------------------------------------------------

void notification_feed::heard(connection_ref c) {
  if (feeds_.empty()) return;
  const auto it = feeds_.find(c);
  if (it == feeds_.end() || it->second.explicit_acks) return;
  auto& f = it->second;
  f.pinged = false;
  if (f.unacked.empty()) return;
  if (ports_.is_written(c)) f.written = f.sent;
  const auto user = f.user;
  const auto end = std::find_if(f.unacked.begin(), f.unacked.end(),
                                [&](const owed& one) { return one.no > f.written; });
  const std::vector<owed> had(f.unacked.begin(), end);
  f.unacked.erase(f.unacked.begin(), end);
  for (const auto& one : had) acknowledge(user, one.id, true);
  if (const auto still = feeds_.find(c); still != feeds_.end()) want(c, still->second);
  run();
  settle(c);
}

void notification_feed::acknowledge(const user_key& user, const uuid& notification, bool stores) {
  if (stores) store_ack(user, notification);
  devices_.clear();
  ports_.add_devices(user, devices_);
  for (const auto& d : devices_) {
    const auto it = feeds_.find(d.connection);
    if (it == feeds_.end()) continue;
    auto& f = it->second;
    if (std::erase_if(f.unacked, [&](const owed& one) { return one.id == notification; }) == 0)
      continue;
    want(d.connection, f);
    settle(d.connection);
  }
  run();
}

void notification_feed::store_ack(const user_key& user, const uuid& id) {
  auto& acks = acks_[user];
  acks.push_back(id);
  if (acks.size() >= acks_per_message) flush_acks(user);
}

void notification_feed::flush_acks(const user_key& user) {
  const auto it = acks_.find(user);
  if (it == acks_.end()) return;
  auto ids = std::move(it->second);
  acks_.erase(it);
  ports_.acknowledged(user, std::move(ids));
}

void notification_feed::flush_sent() {
  for (auto& [tenant, rows] : sent_) {
    std::vector<std::pair<uuid, std::uint32_t>> frames(rows.begin(), rows.end());
    ports_.sent(tenant, std::move(frames));
  }
  sent_.clear();
  sent_waiting_ = 0;
}

// ---- answers and time ---------------------------------------------------------------------------------------------

void notification_feed::on(call_no call, const actors::read_result& answer) {
  const auto it = calls_.find(call);
  if (it == calls_.end()) return;
  const auto asked = it->second;
  calls_.erase(it);
  if (asked.kind == call_kind::members) {
    on_members(asked.tenant, call, answer);
  } else {
    on_page(asked, answer);
  }
  run();
}

void notification_feed::tick(mono_time now) {
  now_ = now;
  // A busy connection's queue may happen to hold something whenever its client is heard.
  std::erase_if(unwritten_, [&](connection_ref c) {
    const auto it = feeds_.find(c);
    if (it == feeds_.end()) return true;
    if (!ports_.is_written(c)) return false;
    it->second.written = it->second.sent;
    it->second.unwritten = false;
    ask_for_pong(c, it->second);
    return true;
  });
  auto acks = std::exchange(acks_, {});
  for (auto& [user, ids] : acks) ports_.acknowledged(user, std::move(ids));
  if (now_ >= sent_due_ || sent_waiting_ >= sent_rows_max) {
    sent_due_ = now_ + sent_interval;
    flush_sent();
  }
  while (!timers_.empty() && timers_.begin()->first <= now_) {
    const auto c = timers_.begin()->second;
    timers_.erase(timers_.begin());
    auto& f = feeds_.at(c);
    f.timer = {};
    f.again = std::any_of(f.unacked.begin(), f.unacked.end(),
                          [&](const owed& one) { return one.again_at <= now_; });
    if (f.again) {
      want(c, f);
    } else {
      set_timer(c, f);
    }
  }
  for (const auto tenant : std::exchange(retry_members_, {})) {
    auto& t = tenants_.at(tenant);
    if (t.reading && !t.call.is_set()) ask_members(tenant, t);
  }
  for (const auto c : std::exchange(retry_, {})) due_.push_back(c);
  run();
}

void notification_feed::check_invariants() const {
  std::size_t timers = 0;
  std::size_t reading = 0;
  for (const auto& [c, f] : feeds_) {
    PARLEY_ASSERT(f.unacked.size() <= options_.page);
    PARLEY_ASSERT(std::is_sorted(f.unacked.begin(), f.unacked.end(),
                                 [](const auto& a, const auto& b) { return a.no < b.no; }));
    PARLEY_ASSERT(f.unacked.empty() || f.unacked.back().no <= f.sent);
    PARLEY_ASSERT(f.sent <= f.looked);
    PARLEY_ASSERT(f.explicit_acks || 2 * f.unacked.size() < options_.page || f.pinged || f.unwritten);
    PARLEY_ASSERT(!(f.reading && f.queued));
    // No wake-up is lost: what is behind reads, is about to, or waits for its client.
    const bool waits = f.blocked || f.unacked.size() >= options_.page;
    PARLEY_ASSERT(f.shown <= f.looked || f.reading || f.queued || (f.behind && waits));
    PARLEY_ASSERT(!f.behind || f.reading || f.queued || waits);
    PARLEY_ASSERT(!f.explicit_acks || f.unacked.empty() || f.timer != mono_time{} || f.again ||
                  f.reading);
    if (f.timer != mono_time{}) {
      ++timers;
      PARLEY_ASSERT(timers_.contains({f.timer, c}));
    }
    if (f.reading) ++reading;
    PARLEY_ASSERT(tenants_.at(f.user.tenant).connections > 0);
  }
  PARLEY_ASSERT(timers == timers_.size());
  PARLEY_ASSERT(reading <= reads_ && reads_ <= options_.reads_max);
  for (const auto& [no, t] : tenants_) {
    PARLEY_ASSERT(t.waiting.size() <= options_.shows_max);
    PARLEY_ASSERT(t.reading == !t.waiting.empty());
  }
}

}  // namespace parley::net
