// How rows of the outbox become requests, and answers outcomes.

#include "actors/outbox.hpp"
#include "actors/outbox_paces.hpp"
#include "protocol/assert.hpp"
#include "protocol/log.hpp"
#include "protocol/planted.hpp"
#include "protocol/standard_webhooks.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

namespace parley::actors {
namespace {

constexpr store::lane_no before_all_lanes{std::numeric_limits<std::int64_t>::min()};
/// So many of its requests an endpoint may have under way even when most of the node's are.
constexpr std::size_t always_in_flight = 2;
/// Turns that are looked at in vain, one after the other, before the rest waits for the next occasion.
constexpr std::size_t vain_turns_max = 64;
constexpr int gone = 410;

void keep_earlier(std::optional<utc_time>& earliest, const std::optional<utc_time>& t) {
  if (t && (!earliest || *t < *earliest)) earliest = t;
}

}  // namespace

// ---- pages --------------------------------------------------------------------------------------------------------

void outbox::read_pages() {
  const auto now = mono();
  for (std::size_t vain = 0;
       page_reads_ < bounds_.page_reads && vain < std::min(read_turns_.size(), vain_turns_max);) {
    const auto it = endpoints_.find(read_turns_.front());
    read_turns_.pop_front();
    if (it == endpoints_.end()) continue;
    auto& e = it->second;
    e.in_read_turns = false;
    // What can't be loaded now has its turn again when that has changed.
    if (!may_load(e, now)) continue;
    if (has_budget(e) && read_page(e)) continue;
    read_turn(e);
    ++vain;
  }
}

bool outbox::may_load(const endpoint& e, mono_time now) const {
  if (!e.in_round && !e.wants_round && !e.lanes.is_hungry()) return false;
  if (e.held || e.row.disabled || e.page_call || e.tenant_call || now < e.pages_at) return false;
  if (e.tenant == tenant_state::disabled || e.tenant == tenant_state::no_secret) return false;
  if (e.breaker.is_open() && (!e.breaker.lets_through(now, 0) || e.lanes.has_ready())) return false;
  return e.lanes.posts() <= bounds_.endpoint_posts / 2 &&
         e.lanes.bytes() + bounds_.page_bytes <= bounds_.endpoint_bytes;
}

bool outbox::has_budget(const endpoint& e) const {
  const auto all = e.lanes.posts() == 0 ? bounds_.bytes : bounds_.bytes / 4 * 3;
  return loaded_bytes_ + reserved_bytes_ + bounds_.page_bytes <= all;
}

/// False: not now.
bool outbox::read_page(endpoint& e) {
  const auto tenant = e.row.tenant;
  if (e.tenant == tenant_state::unknown) {
    e.tenant_call =
        read({.kind = read_kind::tenant, .tenant = tenant}, tenant, tenant_query{e.row.id});
    return e.tenant_call.has_value();
  }
  if (!e.in_round) {
    e.in_round = true;
    e.wants_round = false;
    e.lanes.satisfied();
    e.cursor = before_all_lanes;
    e.round_next_at.reset();
  }
  keep_earlier(e.round_next_at, e.lanes.forget());
  if (e.lanes.lanes() >= bounds_.endpoint_lanes) return true;  // until some are confirmed
  const auto free = bounds_.endpoint_posts - e.lanes.posts();
  pending_read asked{.kind = read_kind::page, .tenant = tenant};
  asked.max_bytes = bounds_.page_bytes;
  asked.per_lane = std::min(bounds_.lane_posts, free);
  outbox_query q;
  q.tenant = tenant;
  q.format = e.row.format;
  q.after = e.cursor;
  q.now = clock_.now();
  q.max_lanes = std::min(free / asked.per_lane, bounds_.endpoint_lanes - e.lanes.lanes());
  q.per_lane = asked.per_lane;
  q.max_bytes = asked.max_bytes;
  e.page_call = read(asked, tenant, std::move(q));
  if (!e.page_call) return false;
  ++page_reads_;
  reserved_bytes_ += asked.max_bytes;
  return true;
}

void outbox::on_page(const pending_read& asked, call_no call, const read_result& answer) {
  --page_reads_;
  reserved_bytes_ -= asked.max_bytes;
  const auto it = endpoints_.find(asked.tenant);
  if (it == endpoints_.end() || it->second.page_call != call) return;
  auto& e = it->second;
  e.page_call.reset();
  const auto now = mono();
  const auto* page = std::get_if<outbox_posts>(&answer);
  if (page == nullptr) {
    e.pages_at = now + retry_pause;
    wake(e, e.pages_at);
    return;
  }
  if (e.row.disabled) return;
  if (e.breaker.is_open() && !e.breaker.lets_through(now, 0)) {
    e.in_round = false;  // it began to rest meanwhile: when that is over all is read anew
    return;
  }
  keep_earlier(e.round_next_at, page->next_at);
  auto taken = *page;
  fit(taken, e);
  const bool end = taken.end;
  const auto after = taken.after;
  // One that does not reach the end may end within a lane.
  e.lanes.take(std::move(taken), now, asked.per_lane, !end);
  count_bytes(e);
  if (end) {
    e.in_round = false;
    wake(e, now + recheck_pause);
    if (e.round_next_at) wake(e, *e.round_next_at);
  } else if (after > e.cursor) {
    e.cursor = after;
  } else {  // nothing of it had room
    e.pages_at = now + retry_pause;
    wake(e, e.pages_at);
  }
  send_turn(e);
  read_turn(e);
}

/// A body may be much longer than the reader has counted (escapes): what is over the bounds is left to a later page. One
/// row always fits where there is none.
void outbox::fit(outbox_posts& page, const endpoint& e) const {
  auto of_endpoint = e.lanes.bytes();
  auto of_all = loaded_bytes_;
  for (std::size_t at = 0; at < page.items.size(); ++at) {
    const auto size = endpoint_lanes::size_of(page.items[at]);
    of_endpoint += size;
    of_all += size;
    const bool first = at == 0 && e.lanes.posts() == 0;
    if (first || (of_endpoint <= bounds_.endpoint_bytes && of_all <= bounds_.bytes)) continue;
    page.after = at == 0 ? e.cursor : page.items[at - 1].lane;
    page.end = false;
    page.items.resize(at);
    return;
  }
}

// ---- requests -----------------------------------------------------------------------------------------------------

void outbox::send() {
  const auto now = mono();
  const auto in_flight = [&] { return attempts_.size(); };
  const auto spare = options_.concurrency / 4;
  for (std::size_t vain = 0; vain < std::min(send_turns_.size(), vain_turns_max) &&
                             in_flight() < options_.concurrency &&
                             unconfirmed() < bounds_.unconfirmed;) {
    const auto it = endpoints_.find(send_turns_.front());
    send_turns_.pop_front();
    if (it == endpoints_.end()) continue;
    auto& e = it->second;
    e.in_send_turns = false;
    if (!may_send(e, now)) continue;  // it has its turn again when that has changed
    auto done = sending::not_now;
    if (e.in_flight < always_in_flight || options_.concurrency - in_flight() > spare)
      done = send_one(e, now);
    vain = done == sending::sent ? 0 : vain + 1;
    if (done != sending::nothing) send_turn(e);
    count_bytes(e);
    if (e.in_round || e.wants_round || e.lanes.is_hungry()) read_turn(e);
  }
}

bool outbox::may_send(const endpoint& e, mono_time now) const {
  return !e.held && !e.row.disabled && e.tenant == tenant_state::active && e.lanes.has_ready() &&
         e.in_flight < options_.concurrency_per_endpoint && e.breaker.lets_through(now, e.in_flight);
}

outbox::sending outbox::send_one(endpoint& e, mono_time now) {
  const auto utc = clock_.now();
  while (const auto lane = e.lanes.next()) {
    const auto& next = e.lanes.first(*lane);
    if (unconfirmed() >= bounds_.unconfirmed) {
      e.lanes.put_back(*lane);
      return sending::not_now;
    }
    if (next.obsolete) {
      settle(e, *lane,
             {.tenant = e.row.tenant,
              .no = next.no,
              .what = store::outbox_outcome::kind::obsolete,
              .attempts = next.attempts,
              .at = utc});
      continue;
    }
    if (next.next_at > utc) {
      const auto at = next.next_at;
      e.lanes.close(*lane, at);
      wake(e, at);
      continue;
    }
    if (!next.list_room) {
      post(e, *lane, next, next.head + next.tail, 0, now);
      return sending::sent;
    }
    auto body = listed_body(e, *lane, next, now);
    if (!body) continue;
    if (listed_in_flight_ > 0 && listed_in_flight_ + body->size() > bounds_.listed_bytes) {
      e.lanes.put_back(*lane);
      return sending::not_now;
    }
    const auto bytes = body->size();
    post(e, *lane, next, std::move(*body), bytes, now);
    return sending::sent;
  }
  return sending::nothing;
}

std::optional<std::string> outbox::listed_body(endpoint& e, store::lane_no lane,
                                               const outbox_post& post, mono_time now) {
  const auto* members =
      lists_.find(e.row.tenant, *post.list_room, post.at + options_.offline_after, now);
  if (members == nullptr) {
    wait_for_list_[*post.list_room] = {e.row.tenant, lane, e.life};
    e.lanes.park(lane);
    return std::nullopt;
  }
  auto ids = recipients_of(*members, post.list_seq, post.list_sender);
  if (ids.empty()) {
    settle(e, lane,
           {.tenant = e.row.tenant,
            .no = post.no,
            .what = store::outbox_outcome::kind::obsolete,
            .attempts = post.attempts,
            .at = clock_.now()});
    return std::nullopt;
  }
  return post.head + ids + post.tail;
}

void outbox::post(endpoint& e, store::lane_no lane, const outbox_post& what, std::string body,
                  std::size_t listed_bytes, mono_time now) {
  auto request = signed_request(e.row, e.secrets, what.event_id, std::move(body));
  attempt a;
  a.tenant = e.row.tenant;
  a.lane = lane;
  a.no = what.no;
  a.life = e.life;
  a.url_life = e.url_life;
  a.probe = e.breaker.began();
  a.listed_bytes = listed_bytes;
  a.began = now;
  static const bool settles_early = planted_defect("outbox_settle_early");
  if (settles_early) {
    gathered_.push_back(
        {{.tenant = e.row.tenant, .no = what.no, .attempts = 1, .at = clock_.now()}, {}, 0});
  }
  const auto number = ++last_no_;
  attempts_.emplace(number, a);
  e.lanes.sent(lane);
  ++e.in_flight;
  ++counters_.in_flight;
  ++counters_.attempts;
  listed_in_flight_ += listed_bytes;
  ports_.post(number, std::move(request));
}

webhook_post outbox::signed_request(const store::endpoint_row& row,
                                    const std::vector<std::string>& secrets,
                                    const std::string& event_id, std::string body) const {
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(clock_.now().time_since_epoch()).count();
  auto signature = webhook_signature(secrets, {event_id, seconds}, body);
  PARLEY_ASSERT(signature);  // open_secrets() takes none that can't sign
  webhook_post out;
  out.url = row.url;
  out.headers = {{"content-type", "application/json"},
                 {"webhook-id", event_id},
                 {"webhook-timestamp", std::to_string(seconds)},
                 {"webhook-signature", std::move(*signature)}};
  out.body = std::move(body);
  return out;
}

// ---- answers ------------------------------------------------------------------------------------------------------

std::string outbox::failure_text(const webhook_answer& answer) {
  if (answer.ok()) return {};
  if (answer.status != 0) return "HTTP " + std::to_string(answer.status);
  return answer.failure.empty() ? "no answer" : answer.failure;
}

void outbox::on_answer(std::uint64_t number, const webhook_answer& answer) {
  const auto it = attempts_.find(number);
  if (it == attempts_.end()) {
    ++counters_.late_answers;
    return;
  }
  const auto a = it->second;
  attempts_.erase(it);
  --counters_.in_flight;
  listed_in_flight_ -= a.listed_bytes;
  const auto took = mono() - a.began;
  ports_.observe_attempt(took);
  if (a.call != 0) {
    on_call_answered(a, answer, took);
  } else {
    (answer.ok() ? counters_.delivered : counters_.failures) += 1;
    // An endpoint that was removed meanwhile has taken its rows along.
    const auto found = endpoints_.find(a.tenant);
    if (found != endpoints_.end() && found->second.life == a.life)
      on_answered(found->second, a, answer);
  }
  pump();
}

void outbox::on_answered(endpoint& e, const attempt& a, const webhook_answer& answer) {
  const auto now = mono();
  const auto utc = clock_.now();
  --e.in_flight;
  e.lanes.answered(a.lane);
  const auto& first = e.lanes.first(a.lane);
  PARLEY_ASSERT(first.no == a.no);
  const bool counts = a.url_life == e.url_life;
  if (counts) {
    const bool rested = e.breaker.is_open();
    e.breaker.ended(a.probe, answer.ok(), now);
    counters_.resting += int{e.breaker.is_open()} - int{rested};
  }
  if (answer.ok()) {
    ports_.observe_delay(std::max(std::chrono::milliseconds{0}, utc - first.at));
    settle(e, a.lane,
           {.tenant = a.tenant,
            .no = a.no,
            .what = store::outbox_outcome::kind::delivered,
            .attempts = first.attempts + 1,
            .at = utc});
  } else if (answer.status == gone && counts) {
    // The row stays as it is: it is sent when the endpoint is used again.
    e.lanes.close(a.lane);
    if (!e.row.disabled) set_disabled(e, "the endpoint answered 410");
  } else {
    on_failed(e, a, answer, utc);
  }
  if (counts && e.breaker.is_open()) {
    // What is loaded may be old when it goes on. It is read again then.
    e.lanes.close_all();
    e.in_round = false;
    e.wants_round = true;
    wake(e, *e.breaker.rests_until());
  }
  count_bytes(e);
  send_turn(e);
  read_turn(e);
}

void outbox::on_failed(endpoint& e, const attempt& a, const webhook_answer& answer, utc_time now) {
  store::outbox_outcome outcome;
  outcome.tenant = a.tenant;
  outcome.no = a.no;
  outcome.attempts = e.lanes.first(a.lane).attempts + 1;
  outcome.at = now;
  outcome.error = failure_text(answer);
  if (outcome.attempts >= options_.max_attempts) {
    ++counters_.given_up;
    outcome.what = store::outbox_outcome::kind::given_up;
    settle(e, a.lane, std::move(outcome));
    return;
  }
  const auto again_at = now + pause_after(outcome.attempts, answer);
  outcome.what = store::outbox_outcome::kind::failed;
  outcome.next_at = again_at;
  settle(e, a.lane, std::move(outcome));
  // What is behind it waits with it, on the disk.
  e.lanes.close(a.lane, again_at);
}

/// SPEC 6: full jitter, so that what failed together does not come again together.
std::chrono::milliseconds outbox::pause_after(std::uint32_t attempts,
                                              const webhook_answer& answer) const {
  if (answer.retry_after)
    return std::clamp(*answer.retry_after, retry_floor,
                      std::max(retry_floor, options_.retry_after_max));
  auto most = options_.retry_interval;
  for (std::uint32_t n = 1; n < attempts && most < options_.retry_max_interval; ++n) most *= 2;
  most = std::max(retry_floor, std::min(most, options_.retry_max_interval));
  std::array<std::uint8_t, 8> bytes{};
  random_.fill(bytes);
  std::uint64_t bits = 0;
  std::memcpy(&bits, bytes.data(), sizeof bits);
  const auto pause = static_cast<std::int64_t>(bits % static_cast<std::uint64_t>(most.count() + 1));
  return std::max(retry_floor, std::chrono::milliseconds{pause});
}

// ---- outcomes -----------------------------------------------------------------------------------------------------

void outbox::settle(endpoint& e, store::lane_no lane, store::outbox_outcome outcome) {
  if (outcome.what == store::outbox_outcome::kind::obsolete) ++counters_.obsolete;
  e.lanes.settled(lane);
  gathered_.push_back({std::move(outcome), lane, e.life});
}

/// While one batch is on its way the next one gathers.
void outbox::flush_outcomes(mono_time now) {
  if (!applying_.empty() || disabling_ || now < outcomes_at_) return;
  if (gathered_.empty() && disables_.empty()) return;
  store::outbox_batch batch;
  std::size_t given_up = 0;
  while (!gathered_.empty() && applying_.size() < bounds_.batch_outcomes &&
         given_up < bounds_.batch_given_up) {
    if (gathered_.front().outcome.what == store::outbox_outcome::kind::given_up) ++given_up;
    batch.outcomes.push_back(gathered_.front().outcome);
    applying_.push_back(std::move(gathered_.front()));
    gathered_.pop_front();
  }
  if (!disables_.empty()) {
    disabling_ = std::move(disables_.front());
    disables_.pop_front();
    batch.disabled = disabling_;
  }
  apply({.kind = apply_kind::outcomes, .tenant = {}, .touched = {}}, std::move(batch));
}

void outbox::on_outcomes_stored(const std::optional<error>& failure) {
  auto done = std::exchange(applying_, {});
  auto disabled = std::exchange(disabling_, std::nullopt);
  if (failure) {
    outcomes_at_ = mono() + store_pause;
    gathered_.insert(gathered_.begin(), std::make_move_iterator(done.begin()),
                     std::make_move_iterator(done.end()));
    if (disabled) disables_.push_front(std::move(*disabled));
    return;
  }
  for (const auto& one : done) {
    const auto it = endpoints_.find(one.outcome.tenant);
    if (it == endpoints_.end() || it->second.life != one.life) continue;
    auto& e = it->second;
    if (const auto again_at = e.lanes.confirmed(one.lane)) wake(e, *again_at);
    if (e.in_round || e.wants_round || e.lanes.is_hungry()) read_turn(e);
  }
  // Its `webhook_url` may have been set anew before this was stored: the row says what holds.
  if (disabled) refresh(disabled->tenant);
}

void outbox::sweep_attempts(mono_time now) {
  while (!attempts_.empty() && attempts_.begin()->second.began + options_.attempt_deadline <= now)
    on_answer(attempts_.begin()->first, {0, std::nullopt, "no answer in time"});
}

// ---- who is in big rooms ------------------------------------------------------------------------------------------

void outbox::read_lists(mono_time now) {
  if (!lists_.has_work() || now < lists_at_) return;
  while (auto next = lists_.next(now, clock_.now())) {
    const auto room = next->query.room;
    if (read({.kind = read_kind::members, .ref = static_cast<std::uint64_t>(room.value)},
             next->tenant, next->query))
      continue;
    lists_.failed(room);
    return;
  }
}

void outbox::on_members(room_no room, const read_result& answer) {
  const auto now = mono();
  const auto* slice = std::get_if<store::acked_members>(&answer);
  if (slice == nullptr) {
    lists_.failed(room);
    lists_at_ = now + retry_pause;
    return;
  }
  if (!lists_.on_slice(room, *slice, now)) return;
  const auto waiting = wait_for_list_.find(room);
  if (waiting == wait_for_list_.end()) return;
  const auto [tenant, lane, life] = waiting->second;
  wait_for_list_.erase(waiting);
  const auto it = endpoints_.find(tenant);
  if (it == endpoints_.end() || it->second.life != life) return;
  it->second.lanes.unpark(lane);
  send_turn(it->second);
}

}  // namespace parley::actors
