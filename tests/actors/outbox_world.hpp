#pragma once
/// A world for the outbox: a model of the store in memory, a clock that stands, requests that wait for the test's answer.

#include "actors/new_tenant.hpp"
#include "actors/outbox.hpp"
#include "protocol/assert.hpp"
#include "tests/actors/words.hpp"

#include <algorithm>
#include <cstring>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace parley::actors::outbox_world {

using namespace std::chrono_literals;

inline const secret_key sealing_key{4, 5, 6};
inline const std::string first_secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
inline const std::string second_secret = "whsec_FxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA";

inline tenant_id id_of(tenant_no tenant) {
  return tenant_id{"tenant_" + std::to_string(tenant.value)};
}
inline std::string url_of(tenant_no tenant) {
  return "https://hooks.example/" + std::to_string(tenant.value);
}
inline store::lane_no lane_of(room_no room) { return store::lane_no{room.value}; }

/// What `store::outbox_reader` and `outbox_writer` promise, in maps.
class model_store {
 public:
  struct message {
    tenant_no tenant;
    room_no room;
    std::string text;
    utc_time at{};
  };
  struct room {
    std::vector<store::acked_member> members;  ///< seqs are log ids here
    user_id sender{"sender"};
  };
  using place = std::pair<log_id, store::outbox_no>;
  struct row : store::outbox_row {
    std::string event_id;
    std::uint32_t attempts = 0;
    utc_time next_at{};
  };
  using lanes = std::map<store::lane_no, std::map<place, row>>;

  std::vector<message> log;  ///< its id is its index + 1
  std::map<room_no, room> rooms;
  std::map<tenant_no, store::endpoint_row> endpoints;
  std::map<tenant_no, store::tenant_row> tenants;
  std::map<tenant_no, lanes> queues;
  std::vector<std::string> dead;              ///< event ids
  std::map<std::string, std::string> errors;  ///< of the last failed attempt, by event id
  log_id events{};
  log_id offline{};
  std::set<tenant_no> news;
  std::size_t page_items_max = 0;

  [[nodiscard]] log_id end() const { return log_id{static_cast<std::int64_t>(log.size())}; }
  [[nodiscard]] std::size_t waiting(tenant_no tenant) const {
    std::size_t n = 0;
    if (const auto q = queues.find(tenant); q != queues.end()) {
      for (const auto& [lane, rows] : q->second) n += rows.size();
    }
    return n;
  }
  [[nodiscard]] const row& first_row(tenant_no tenant) const {
    return queues.at(tenant).begin()->second.begin()->second;
  }

  void add_tenant(tenant_no tenant, const std::vector<std::string>& secrets) {
    auto& row = tenants[tenant];
    row.no = tenant;
    row.id = id_of(tenant);
    row.credentials.clear();
    words::counting_random random;
    for (const auto& secret : secrets) {
      store::credential_row c;
      c.id = key_id{"key_" + std::to_string(row.credentials.size())};
      c.kind = "webhook_secret";
      c.sealed = seal(sealing_key, secret, seal_context(row.id, c.id), random);
      row.credentials.push_back(std::move(c));
    }
  }
  void set_endpoint(tenant_no tenant, event_mask mask, const std::string& url) {
    bool any_active = false;
    for (const auto& [no, e] : endpoints) any_active = any_active || !e.disabled;
    if (!any_active) events = offline = end();
    auto& e = endpoints[tenant];
    const bool fresh = !e.tenant.is_set() || e.disabled;
    e.tenant = tenant;
    e.id = id_of(tenant);
    e.url = url;
    e.events = mask | mask_of(event_type::message_offline);
    e.disabled = false;
    if (fresh) e.since = end();
    news.insert(tenant);
  }
  void remove_endpoint(tenant_no tenant) {
    endpoints.erase(tenant);
    queues.erase(tenant);
  }

  // ---- writing

  std::optional<error> apply(const store::outbox_batch& b) {
    const error late{error_code::conflict, "late"};
    if (b.position) {
      auto& at = b.position->reader == store::log_reader::events ? events : offline;
      if (at != b.position->from) return late;
      PARLEY_ASSERT(b.position->to >= at);
      PARLEY_ASSERT(b.position->to <= (&at == &events ? end() : events));
      at = b.position->to;
    }
    if (b.replay) {
      const auto e = endpoints.find(b.replay->tenant);
      if (e == endpoints.end() || e->second.replay_from != b.replay->from) return late;
      e->second.replay_from = b.replay->to;
      if (b.replay->to >= e->second.replay_to) e->second.replay_from = e->second.replay_to = {};
    }
    for (const auto& o : b.outcomes) settle(o);
    const bool in_place = b.position && b.position->reader == store::log_reader::events;
    for (const auto& r : b.rows) insert(r, in_place ? r.log : events);
    if (b.disabled) {
      const auto e = endpoints.find(b.disabled->tenant);
      if (e != endpoints.end() && e->second.url == b.disabled->url) {
        e->second.disabled = true;
        e->second.why = b.disabled->why;
      }
    }
    return std::nullopt;
  }
  void insert(const store::outbox_row& r, log_id at_place) {
    const auto e = endpoints.find(r.tenant);
    if (e == endpoints.end() || e->second.disabled) return;
    row out;
    static_cast<store::outbox_row&>(out) = r;
    const auto no = ++last_row_;
    out.event_id = "evt_" + std::to_string(static_cast<int>(r.type)) + "_" +
                   (r.log.is_set() ? std::to_string(r.log.value) : "r" + std::to_string(no.value)) +
                   "_" + std::to_string(r.recipient.value_or(user_no{}).value);
    queues[r.tenant][r.lane].emplace(place{at_place, no}, std::move(out));
    ++e->second.queued;
  }

  // ---- reading

  read_result run(const read_query& q) {
    if (const auto* x = std::get_if<endpoints_query>(&q)) return run(*x);
    if (const auto* x = std::get_if<tenant_query>(&q)) return run(*x);
    if (const auto* x = std::get_if<scan_query>(&q)) return run(*x);
    if (const auto* x = std::get_if<outbox_query>(&q)) return run(*x);
    if (const auto* x = std::get_if<acked_members_query>(&q)) return run(*x);
    PARLEY_ASSERT(std::holds_alternative<log_positions_query>(q));
    return store::log_positions{events, offline, end(), !endpoints.empty()};
  }

 private:
  void settle(const store::outbox_outcome& o) {
    for (auto& [lane, rows] : queues[o.tenant]) {
      for (auto it = rows.begin(); it != rows.end(); ++it) {
        if (it->first.second != o.no) continue;
        auto& r = it->second;
        if (!o.error.empty()) errors[r.event_id] = o.error;
        if (o.what == store::outbox_outcome::kind::failed) {
          r.attempts = o.attempts;
          r.next_at = o.next_at;
          return;
        }
        if (o.what == store::outbox_outcome::kind::given_up) dead.push_back(r.event_id);
        if (const auto e = endpoints.find(o.tenant); e != endpoints.end()) --e->second.queued;
        rows.erase(it);
        if (rows.empty()) queues[o.tenant].erase(lane);
        return;
      }
    }
  }
  read_result run(const endpoints_query& q) {
    store::endpoint_list out;
    if (q.tenant) {
      if (const auto e = endpoints.find(*q.tenant); e != endpoints.end())
        out.endpoints.push_back(e->second);
      return out;
    }
    const tenant_no after{q.cursor.empty() ? 0 : std::stoll(q.cursor)};
    for (const auto& [tenant, e] : endpoints) {
      if (tenant <= after) continue;
      if (out.endpoints.size() == q.limit) {
        out.next_cursor = std::to_string(out.endpoints.back().tenant.value);
        break;
      }
      out.endpoints.push_back(e);
    }
    return out;
  }
  read_result run(const tenant_query& q) {
    for (const auto& [no, row] : tenants) {
      if (row.id == q.id) return std::optional{row};
    }
    return std::optional<store::tenant_row>{};
  }
  read_result run(const scan_query& q) {
    store::scanned out;
    out.to = q.after;
    const bool any = std::any_of(endpoints.begin(), endpoints.end(),
                                 [](const auto& e) { return !e.second.disabled; });
    if (!any) return out;
    const bool is_offline = q.what == scan_query::kind::offline;
    const auto to = q.what == scan_query::kind::tenant ? std::min(q.to, end())
                    : is_offline                       ? events
                                                       : end();
    for (auto id = q.after.next(); id <= to; ++id) {
      if (out.rows.size() >= q.max_entries) {
        out.more = true;
        return out;
      }
      const auto& m = log[static_cast<std::size_t>(id.value - 1)];
      if (is_offline && m.at >= q.due_before) return out;
      out.to = id;
      const auto e = endpoints.find(m.tenant);
      if (e == endpoints.end() || e->second.disabled) continue;
      if (q.what == scan_query::kind::tenant ? m.tenant != q.tenant : id <= e->second.since)
        continue;
      store::outbox_row r;
      r.tenant = m.tenant;
      r.lane = lane_of(m.room);
      r.type = is_offline ? event_type::message_offline : event_type::message_created;
      r.log = id;
      r.at = m.at;
      if ((e->second.events & mask_of(r.type)) == 0) continue;
      const auto& members = rooms[m.room].members;
      if (!is_offline || static_cast<std::int64_t>(members.size()) > q.max_members) {
        out.rows.push_back(r);
        continue;
      }
      for (std::size_t n = 0; n < members.size(); ++n) {
        if (members[n].last_ack.value >= id.value) continue;
        r.recipient = user_no{static_cast<std::int64_t>(n) + 1};
        out.rows.push_back(r);
      }
    }
    out.to = std::max(out.to, to);
    return out;
  }
  read_result run(const outbox_query& q) {
    outbox_posts out;
    out.after = q.after;
    const auto wait_until = [&](utc_time t) {
      if (!out.next_at || t < *out.next_at) out.next_at = t;
    };
    std::size_t taken = 0;
    std::size_t bytes = 0;
    const auto& all = queues[q.tenant];
    while (taken < q.max_lanes && bytes < q.max_bytes) {
      const auto lane = all.upper_bound(out.after);
      if (lane == all.end() || endpoints.count(q.tenant) == 0 || endpoints[q.tenant].disabled) {
        out.end = true;
        break;
      }
      out.after = lane->first;
      const auto& first = *lane->second.begin();
      if (first.first.first > events) {
        wait_until(q.now + 100ms);
        continue;
      }
      if (first.second.next_at > q.now) {
        wait_until(first.second.next_at);
        continue;
      }
      ++taken;
      std::size_t of_lane = 0;
      for (const auto& [at, r] : lane->second) {
        if (of_lane++ == q.per_lane || at.first > events || r.next_at > q.now || bytes >= q.max_bytes)
          break;
        out.items.push_back(post_of(at, r));
        bytes += out.items.back().head.size();
      }
    }
    page_items_max = std::max(page_items_max, out.items.size());
    return out;
  }
  outbox_post post_of(const place& at, const row& r) {
    outbox_post p;
    p.no = at.second;
    p.lane = r.lane;
    p.place = at.first;
    p.type = r.type;
    p.event_id = r.event_id;
    p.attempts = r.attempts;
    p.at = r.at;
    p.next_at = r.next_at;
    const auto room = rooms.find(room_no{r.lane.value});
    if (r.type == event_type::message_offline && !r.recipient && room != rooms.end()) {
      p.head = R"({"to":[)";
      p.tail = "]}";
      p.list_room = room->first;
      p.list_seq = room_seq{r.log.value};
      p.list_sender = room->second.sender;
      return p;
    }
    if (r.recipient)
      p.obsolete =
          room->second.members[static_cast<std::size_t>(r.recipient->value - 1)].last_ack.value >=
          r.log.value;
    p.head = r.log.is_set() ? log[static_cast<std::size_t>(r.log.value - 1)].text : r.data;
    return p;
  }
  read_result run(const acked_members_query& q) {
    store::acked_members out;
    const auto& members = rooms[q.room].members;
    auto at = static_cast<std::size_t>(q.after.value);
    for (; at < members.size() && out.members.size() < q.limit; ++at)
      out.members.push_back(members[at]);
    if (at < members.size()) out.next = user_no{static_cast<std::int64_t>(at)};
    return out;
  }

  store::outbox_no last_row_{};
};

/// Every draw is the same number.
class fixed_random final : public random_source {
 public:
  void fill(std::span<std::uint8_t> out) override {
    for (std::size_t at = 0; at < out.size(); ++at)
      out[at] = static_cast<std::uint8_t>(draw >> (8 * (at % 8)));
  }
  std::uint64_t draw = 0;
};

class world : public outbox_ports {
 public:
  struct request {
    std::uint64_t attempt = 0;
    webhook_post what;
    [[nodiscard]] const std::string& header(const std::string& name) const {
      static const std::string none;
      for (const auto& [key, value] : what.headers) {
        if (key == name) return value;
      }
      return none;
    }
    [[nodiscard]] const std::string& event() const { return header("webhook-id"); }
  };

  outbox_options options;
  outbox_bounds bounds;
  words::still_clock clock;
  fixed_random random;
  model_store store;
  std::unique_ptr<outbox> box;
  std::deque<std::pair<call_no, read_query>> reads;
  std::deque<apply_outbox_ptr> applies;
  std::vector<request> requests;  ///< that nobody has answered yet
  std::vector<webhook_called> answers;
  std::map<tenant_no, bool> wants_presence;
  std::size_t asked = 0;    ///< reads so far
  std::size_t applied = 0;  ///< batches so far
  std::size_t delays = 0;   ///< observed
  bool refuses_reads = false;
  bool fails_reads = false;
  bool disk_full = false;
  bool is_told_of_log = false;

  world() { options.herd_window = 0ms; }

  /// A tenant with an endpoint that wants to hear of messages.
  void add_endpoint(tenant_no tenant, event_mask mask = mask_of(event_type::message_created)) {
    store.add_tenant(tenant, {first_secret});
    store.set_endpoint(tenant, mask, url_of(tenant));
  }
  void start() {
    box = std::make_unique<outbox>(*this, clock, random, options, sealing_key,
                                   box ? box->last_no() : 0, bounds);
    store.news.clear();
    box->start();
    run();
  }
  void change(tenant_no tenant) {
    store::tenant_row row;
    row.no = tenant;
    row.id = id_of(tenant);
    box->on(tenant_changed{call_no{}, row});
    tell_news();
    run();
  }
  /// A moment later a message is committed; the outbox hears of it if it wants to.
  log_id say(tenant_no tenant, room_no room, std::string text = "hello") {
    clock.at += 10ms;
    store.log.push_back({tenant, room, std::move(text), clock.at});
    tell_news();
    return store.end();
  }
  void tell_news() {
    const bool told = std::exchange(is_told_of_log, false);
    if (!told && store.news.empty()) return;
    outbox_news news{{store.news.begin(), store.news.end()}, true};
    store.news.clear();
    box->on(news);
  }
  bool step() {
    if (!reads.empty()) {
      const auto [call, query] = std::move(reads.front());
      reads.pop_front();
      box->on(call,
              fails_reads ? read_result{error{error_code::unavailable, "no"}} : store.run(query));
      return true;
    }
    if (applies.empty()) return false;
    const auto m = std::move(applies.front());
    applies.pop_front();
    ++applied;
    auto failure = disk_full ? std::optional{error{error_code::unavailable, "the disk is full"}}
                             : store.apply(m->batch);
    box->on(outbox_applied{m->call, std::move(failure)});
    return true;
  }
  void tick() {
    clock.at += 50ms;
    box->tick();
  }
  /// Until nothing is left to do now.
  void run() {
    for (int n = 0; step(); ++n) PARLEY_ASSERT(n < 100'000);
  }
  void pass(std::chrono::milliseconds time, std::chrono::milliseconds step = 50ms) {
    for (auto left = time; left > 0ms; left -= step) {
      clock.at += std::min(left, step);
      if (box->wants_ticks()) box->tick();
      run();
    }
  }
  void answer(std::size_t at, webhook_answer what) {
    const auto attempt = requests.at(at).attempt;
    requests.erase(requests.begin() + static_cast<std::ptrdiff_t>(at));
    box->on_answer(attempt, what);
    run();
  }
  void answer_first(int status) { answer(0, {status}); }
  /// Everything that comes, until nothing comes any more; their events in order.
  std::vector<std::string> deliver_all(int status = 200) {
    std::vector<std::string> events;
    while (!requests.empty()) {
      events.push_back(requests.front().event());
      answer_first(status);
    }
    return events;
  }
  [[nodiscard]] std::vector<std::string> under_way() const {
    std::vector<std::string> out;
    for (const auto& r : requests) out.push_back(r.event());
    return out;
  }

  bool read(call_no call, tenant_no, read_query q) override {
    if (refuses_reads) return false;
    ++asked;
    reads.emplace_back(call, std::move(q));
    return true;
  }
  void apply(apply_outbox_ptr m) override { applies.push_back(std::move(m)); }
  void post(std::uint64_t attempt, webhook_post what) override {
    requests.push_back({attempt, std::move(what)});
  }
  void answer(gateway_no, webhook_called_ptr m) override { answers.push_back(*m); }
  void wishes(tenant_no tenant, bool presence) override { wants_presence[tenant] = presence; }
  void wait_for_log() override { is_told_of_log = true; }
  void observe_attempt(std::chrono::nanoseconds) override {}
  void observe_delay(std::chrono::nanoseconds) override { ++delays; }
};

inline std::string said(std::int64_t log) { return "evt_2_" + std::to_string(log) + "_0"; }
inline std::string missed(std::int64_t log, std::int64_t recipient = 0) {
  return "evt_1_" + std::to_string(log) + "_" + std::to_string(recipient);
}
using events = std::vector<std::string>;

}  // namespace parley::actors::outbox_world
