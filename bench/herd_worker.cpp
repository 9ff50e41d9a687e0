#include "bench/herd_worker.hpp"

#include "bench/steady_time.hpp"

#include <algorithm>
#include <utility>

namespace parley::bench {

namespace {
constexpr std::uint16_t drain_code = 1012;
}  // namespace

void herd_figures::add(const herd_figures& other) {
  curve.add(other.curve);
  silences.add(other.silences);
  left += other.left;
  told += other.told;
}

herd_worker::herd_worker(const fleet_plan& plan, std::uint32_t first, std::uint32_t count,
                         session_options sessions, const herd_options& options, room_heads& heads,
                         run_schedule& schedule)
    : message_worker{plan, first, count, std::move(sessions), options.send, heads, schedule},
      options_{options},
      policy_{options.manner, options.jitter_ns, first + std::uint64_t{1}} {}

void herd_worker::begin_herd() {
  herds_.emplace_back();
  if (!options_.cuts_audience) return;
  for (std::uint32_t client = 0; client < count(); ++client) {
    if (first() + client < options_.send.senders) continue;  // a talker
    if (!is_away(client)) ++herds_.back().left;
    cut(client);
    parked_.push_back({client, {herd_from_, {}}});
  }
}

bool herd_worker::will_return(std::uint32_t client, const close_notice& notice) {
  if (options_.cuts_audience || !schedule().expects_closes.load() || herds_.empty()) return false;
  if (notice.code != drain_code) {
    checks_for_scenario().faults().add(
        fault::connection, "connection " + std::to_string(first() + client) +
                               ": a node that drains closed it with " +
                               std::to_string(notice.code) + " " + notice.reason.substr(0, 200));
  }
  const absence away{now_ns(), told_ms(client)};
  ++herds_.back().left;
  if (away.told_ms) ++herds_.back().told;
  if (policy_.waits_for_node(away)) {
    parked_.push_back({client, away});
  } else {
    come_back(client, policy_.first_try_ns(away, never));
  }
  return true;
}

void herd_worker::on_return(std::uint32_t client, std::int64_t now) {
  if (!herds_.empty() && last_frame_ns(client) != 0) {
    herds_.back().silences.record(now - last_frame_ns(client));
  }
}

void herd_worker::on_ready(std::uint32_t client, std::int64_t now) {
  if (is_away(client) && !herds_.empty()) herds_.back().curve.record(now - herd_from_);
}

std::int64_t herd_worker::on_turn(std::int64_t now) {
  std::int64_t next = message_worker::on_turn(now);
  const std::uint32_t latest = schedule().herd.load();
  if (latest != herd_) {
    herd_from_ = schedule().herd_from.load();
    if (now < herd_from_) return std::min(next, herd_from_);
    herd_ = latest;
    begin_herd();
    tell_herd(herd_);
  }
  const std::int64_t back_ns = schedule().return_from.load();
  if (!parked_.empty() && back_ns <= now) {
    for (const parked& p : parked_) come_back(p.client, policy_.first_try_ns(p.away, back_ns));
    parked_.clear();
    return now;
  }
  return parked_.empty() ? next : std::min(next, back_ns);
}

}  // namespace parley::bench
