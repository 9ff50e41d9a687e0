#include "bench/fleet.hpp"

#include "bench/backend.hpp"
#include "bench/machine.hpp"
#include "bench/report.hpp"
#include "bench/steady_time.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <ostream>
#include <utility>

namespace parley::bench {
namespace {

constexpr std::int64_t look_ns = 10 * ns_per_ms;  // how often the scenario's thread looks around

std::vector<room_order> orders_of(const fleet_plan& plan) {
  std::vector<room_order> orders;
  orders.reserve(plan.rooms.size());
  for (const auto& room : plan.rooms) {
    room_order& order = orders.emplace_back();
    for (const std::uint32_t member : room) order.members.push_back(plan.user_of(member));
  }
  return orders;
}

}  // namespace

fleet::fleet(run_context& context, fleet_plan plan, const worker_maker& make, bool tracks_last)
    : context_{context},
      plan_{std::move(plan)},
      begun_ns_{now_ns()} {
  const bench_options& options = context.options;
  // Never seen before in this tenant: an older user would bring its older rooms along.
  plan_.user_prefix = fmt::format("bench-{:x}-{:x}-{}-", getpid(), begun_ns_ / ns_per_ms & 0xffffff,
                                  context.next_fleet++);
  const std::uint32_t connections = plan_.connections;
  constexpr std::uint64_t descriptors_spare = 100;
  if (connections + descriptors_spare > context.descriptors) {
    throw setup_error{fmt::format("{} connections, but only {} descriptors (ulimit -Hn)",
                                  connections, context.descriptors)};
  }
  const std::int64_t start = now_ns();
  plan_.room_ids = create_rooms(context.target, context.api_key, orders_of(plan_),
                                60 + 0.05 * static_cast<double>(plan_.rooms.size()),
                                [&context] { return context.is_interrupted(); });
  setup_s_ = seconds_of(now_ns() - start);

  heads_ = std::make_unique<room_heads>(plan_.room_ids, tracks_last);
  const std::uint32_t threads = std::min(options.threads, connections);
  session_options session;
  session.target = context.target;
  session.api_key = context.api_key;
  session.has_manual_sync = options.has_manual_sync;
  session.connects_per_s = options.connect_rate / threads;
  session.opening_max = std::max<std::size_t>(1, 256 / threads);
  session.sources = sources_for(connections);
  session.content_bytes = options.content_bytes;
  session.seed = options.seed;
  for (std::uint64_t i = 0; i < threads; ++i) {
    const auto first = static_cast<std::uint32_t>(connections * i / threads);
    const auto end = static_cast<std::uint32_t>(connections * (i + 1) / threads);
    workers_.push_back(make(plan_, first, end - first, session, *heads_, schedule_));
  }
}

fleet::~fleet() {
  schedule_.is_closing = true;
  threads_.clear();
}

fleet_progress fleet::progress() const {
  fleet_progress sum;
  for (const auto& worker : workers_) {
    const worker_progress& p = worker->progress();
    sum.opened += p.opened.load(std::memory_order_relaxed);
    sum.ready += p.ready.load(std::memory_order_relaxed);
    sum.frames += p.frames.load(std::memory_order_relaxed);
    sum.deliveries += p.deliveries.load(std::memory_order_relaxed);
    sum.accepted += p.accepted.load(std::memory_order_relaxed);
    sum.errors += p.errors.load(std::memory_order_relaxed);
    sum.faults += p.faults.load(std::memory_order_relaxed);
    sum.lost += p.lost.load(std::memory_order_relaxed);
    sum.returned += p.returned.load(std::memory_order_relaxed);
    sum.told_later += p.told_later.load(std::memory_order_relaxed);
    sum.herd = std::min(sum.herd, p.herd.load());
    sum.last_ready_ns = std::max(sum.last_ready_ns, p.last_ready_ns.load());
    sum.is_settled = sum.is_settled && p.is_settled.load();
    sum.has_failed = sum.has_failed || p.has_failed.load();
  }
  return sum;
}

bool fleet::must_stop(const fleet_progress& now) {
  if (context_.node != nullptr && !context_.node->is_running()) has_node_ended_ = true;
  return context_.is_interrupted() || now.has_failed || has_node_ended_ ||
         now.lost == plan_.connections;
}

bool fleet::wait(std::int64_t until_ns, const char* phase,
                 const std::function<bool(const fleet_progress&)>& is_done, measured_window* window) {
  fleet_progress second = progress();  // at the last full second of the window
  std::int64_t next_second = now_ns() + ns_per_s;
  for (;;) {
    const fleet_progress now = progress();
    const std::int64_t at = now_ns();
    if (window != nullptr && at >= next_second) {
      next_second += ns_per_s;
      window->accepted_each_s.push_back(now.accepted - second.accepted);
      window->deliveries_each_s.push_back(now.deliveries - second.deliveries);
      second = now;
    }
    if (at - last_printed_ns_ >= ns_per_s) print_progress(phase, now);
    if (must_stop(now)) return false;
    if (at >= until_ns || (is_done && is_done(now))) return true;
    const std::int64_t nap = std::clamp<std::int64_t>(until_ns - at, 0, look_ns);
    std::this_thread::sleep_for(std::chrono::nanoseconds{nap});
  }
}

void fleet::print_progress(const char* phase, const fleet_progress& now) {
  const std::int64_t at = now_ns();
  const auto node = context_.node_usage();
  if (!context_.options.is_quiet && last_printed_ns_ != 0) {
    const double seconds = seconds_of(at - last_printed_ns_);
    const auto rate = [&](std::uint64_t fleet_progress::*field) {
      return with_commas(static_cast<double>(now.*field - last_.*field) / seconds);
    };
    std::string line =
        fmt::format("{:6.1f} s {:<8} {} of {} ready  {} accepted/s  {} deliveries/s",
                    seconds_of(at - begun_ns_), phase, now.ready, plan_.connections,
                    rate(&fleet_progress::accepted), rate(&fleet_progress::deliveries));
    if (now.errors != 0) line += fmt::format("  {} errors", now.errors);
    if (now.faults != 0) line += fmt::format("  {} FAULTS", now.faults);
    if (node && last_node_) {
      line += fmt::format("  node {:.0f} % CPU {:.1f} MiB",
                          (node->cpu_s - last_node_->cpu_s) / seconds * 100,
                          static_cast<double>(node->rss_bytes) / 1048576);
    }
    context_.progress << line << std::endl;
  }
  last_printed_ns_ = at;
  last_ = now;
  last_node_ = node;
}

bool fleet::connect(std::uint32_t expected) {
  const std::int64_t start = now_ns();
  for (const auto& worker : workers_) threads_.emplace_back([&w = *worker] { w.run(); });
  const double rate = context_.options.connect_rate > 0 ? context_.options.connect_rate : 1000;
  const double usual_s = 30 + 3 * static_cast<double>(plan_.connections) / rate;
  const double given_s = context_.options.connect_deadline_s;
  const std::int64_t deadline = start + ns_of(given_s > 0 ? given_s : usual_s);
  const std::uint64_t all = expected == 0 ? plan_.connections : expected;
  const bool is_well =
      wait(deadline, "connect", [all](const fleet_progress& p) { return p.ready + p.lost >= all; });
  const fleet_progress now = progress();
  connect_s_ = seconds_of(std::max(now.last_ready_ns, start + 1) - start);
  if (now.ready == all) return is_well;
  if (!context_.is_interrupted()) {
    std::string text = fmt::format("{} of {} connections were synced within {:.0f} s", now.ready,
                                   all, seconds_of(now_ns() - start));
    if (now.told_later != 0) {
      text += fmt::format("; {} upgrades were answered with 429 or 503", now.told_later);
    }
    context_.faults.add(fault::connection, text);
  }
  return false;
}

measured_window fleet::load(double warmup_s, double duration_s) {
  // A little ahead, so that every thread has seen it before the first message.
  const std::int64_t from = now_ns() + 50 * ns_per_ms;
  const std::int64_t measure_from = from + ns_of(warmup_s);
  const std::int64_t measure_to = measure_from + ns_of(duration_s);
  schedule_.measure_from = measure_from;
  schedule_.measure_to = measure_to;
  schedule_.load_from = from;

  measured_window window;
  bool is_well = wait(measure_from, "warm-up");
  const std::int64_t begun = now_ns();
  window.node_before = context_.node_usage();
  window.bench_before = usage_of(getpid());
  is_well = is_well && wait(measure_to, "measure", {}, &window);
  const std::int64_t ended = now_ns();
  if (!is_well) schedule_.measure_to = ended;
  window.node_after = context_.node_usage();
  window.bench_after = usage_of(getpid());
  window.seconds = seconds_of(std::min(ended, measure_to) - std::min(begun, measure_from));
  if (ended < measure_from) window.seconds = 0;
  return window;
}

void fleet::begin_load() {
  const std::int64_t from = now_ns() + 50 * ns_per_ms;
  schedule_.measure_from = from;
  schedule_.load_from = from;
}

void fleet::end_load() { schedule_.measure_to = now_ns(); }

void fleet::begin_herd(std::int64_t from_ns, std::int64_t return_from_ns) {
  schedule_.herd_from = from_ns;
  schedule_.return_from = return_from_ns;
  ++schedule_.herd;
}

bool fleet::wait_for(double deadline_s, const char* phase,
                     const std::function<bool(const fleet_progress&)>& is_done) {
  return wait(now_ns() + ns_of(deadline_s), phase, is_done) && is_done(progress());
}

void fleet::settle(double deadline_s) {
  const std::int64_t deadline = now_ns() + ns_of(deadline_s);
  std::int64_t broken_deadline = never;  // a promise is broken already: no use in a long wait
  const auto is_settled = [&](const fleet_progress& p) {
    if (p.faults != 0 && broken_deadline == never) broken_deadline = now_ns() + ns_per_s;
    return p.is_settled || now_ns() > broken_deadline;
  };
  const int interrupts = context_.interrupts.load();
  // An interrupt shortens the load, not the checks; a second one does.
  while (now_ns() < deadline && !is_settled(progress()) && !has_node_ended_ &&
         context_.interrupts.load() <= interrupts) {
    wait(std::min(deadline, now_ns() + look_ns), "settle", is_settled);
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
  // What should not come would come now: a second copy, an entry nobody was told of.
  std::this_thread::sleep_for(std::chrono::milliseconds{100});
}

measured_window fleet::stay(double duration_s, const char* phase) {
  measured_window window;
  const std::int64_t begun = now_ns();
  window.node_before = context_.node_usage();
  window.bench_before = usage_of(getpid());
  wait(begun + ns_of(duration_s), phase);
  window.node_after = context_.node_usage();
  window.bench_after = usage_of(getpid());
  window.seconds = seconds_of(now_ns() - begun);
  return window;
}

void fleet::close() {
  if (std::exchange(is_closed_, true)) return;
  schedule_.is_closing = true;
  threads_.clear();
  std::vector<const checker*> checkers;
  for (const auto& worker : workers_) {
    checkers.push_back(&worker->checks());
    context_.faults.add(worker->checks().faults());
    if (!worker->failure().empty()) throw setup_error{worker->failure()};
  }
  checker::compare_histories(checkers, context_.faults);
  for (const auto& worker : workers_) {
    if (worker->limits().empty()) continue;
    auto& node = context_.report["node"];
    node["server_version"] = worker->server_version();
    node["limits"] = nlohmann::ordered_json::parse(worker->limits(), nullptr, false);
    break;
  }
  auto& report = context_.report;
  report["setup_rooms"] = report.value("setup_rooms", std::size_t{0}) + plan_.rooms.size();
  report["setup_s"] = report.value("setup_s", 0.0) + setup_s_;
}

nlohmann::ordered_json fleet::describe() const {
  histogram hello_times;
  histogram ready_times;
  std::map<std::string, std::uint64_t, std::less<>> errors;
  for (const auto& worker : workers_) {
    hello_times.add(worker->hello_times());
    ready_times.add(worker->ready_times());
    for (const auto& [code, times] : worker->error_codes()) errors[code] += times;
  }
  const fleet_progress sum = progress();
  return {{"connections", plan_.connections},
          {"rooms", plan_.rooms.size()},
          {"members", plan_.rooms.empty() ? 0 : plan_.rooms.back().size()},
          {"threads", workers_.size()},
          {"connects", ready_times.count()},
          {"connects_per_s",
           connect_s_ > 0 ? std::round(static_cast<double>(ready_times.count()) / connect_s_) : 0},
          {"connect_s", connect_s_},
          {"hello_times", bench::describe(hello_times)},
          {"ready_times", bench::describe(ready_times)},
          {"frames", sum.frames},
          {"checked_deliveries", sum.deliveries},
          {"checked_accepted", sum.accepted},
          {"errors", errors}};
}

}  // namespace parley::bench
