/// slow: some readers stop reading while messages flow. What does it cost the others, and the node's memory?

#include "bench/fleet.hpp"
#include "bench/report.hpp"
#include "bench/run_context.hpp"
#include "bench/scenario_send.hpp"
#include "bench/slow_worker.hpp"
#include "bench/steady_time.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

namespace parley::bench {
namespace {

using nlohmann::ordered_json;

/// Of three values the middle one; of an even number the lower of the two.
double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

void add_memory(const run_context& context, ordered_json& round, const char* name) {
  if (const auto usage = context.node_usage()) round[name] = usage->rss_bytes;
}

ordered_json run_round(run_context& context, fleet& f, std::uint32_t round) {
  const bench_options& o = context.options;
  const auto step = [&](slow_phase phase) { f.schedule().step = slow_step(round, phase); };
  ordered_json result{{"round", round + 1}};
  step(slow_phase::between);
  f.stay(o.rest_s, "rest");
  step(slow_phase::all_read);
  add_memory(context, result, "rss_all_read_bytes");
  f.stay(o.duration_s, "all read");
  step(slow_phase::stopping);
  f.stay(std::min(1.0, o.stop_s / 10), "stop");
  step(slow_phase::some_stopped);
  f.stay(o.stop_s, "stopped");
  add_memory(context, result, "rss_some_stopped_bytes");
  step(slow_phase::between);
  const std::int64_t resumed = now_ns();
  f.stay(std::min(1.0, o.stop_s / 10), "resume");  // so that they have read how their connections ended
  const std::uint64_t all = f.plan().connections;
  const auto all_ready = [all](const fleet_progress& p) { return p.ready + p.lost >= all; };
  if (!f.wait_for(o.return_deadline_s, "resume", all_ready) && !context.is_interrupted()) {
    context.faults.add(fault::connection,
                       fmt::format("round {}: only {} of {} were back within {:.0f} s", round + 1,
                                   f.progress().ready, all, o.return_deadline_s));
  }
  result["all_back_s"] = seconds_of(std::max(f.progress().last_ready_ns, resumed) - resumed);
  return result;
}

void add_times(ordered_json& rounds, ordered_json& run, const fleet& f) {
  const auto times_of = [&f](std::uint32_t step) {
    histogram sum;
    for (const auto& worker : f.workers()) {
      sum.add(dynamic_cast<const slow_worker&>(*worker).by_step()[step]);
    }
    return describe(sum);
  };
  std::vector<double> p50[2];
  std::vector<double> p99[2];
  for (std::uint32_t i = 0; i < rounds.size(); ++i) {
    rounds[i]["all_read"] = times_of(slow_step(i, slow_phase::all_read));
    rounds[i]["some_stopped"] = times_of(slow_step(i, slow_phase::some_stopped));
    int which = 0;
    for (const char* const name : {"all_read", "some_stopped"}) {
      p50[which].push_back(rounds[i][name].value("p50_ms", 0.0));
      p99[which++].push_back(rounds[i][name].value("p99_ms", 0.0));
    }
  }
  run["others"] = {{"all_read_p50_ms", median(p50[0])},
                   {"some_stopped_p50_ms", median(p50[1])},
                   {"all_read_p99_ms", median(p99[0])},
                   {"some_stopped_p99_ms", median(p99[1])}};
}

}  // namespace

void run_slow(run_context& context) {
  bench_options o = context.options;
  o.connections -= o.senders;  // from here on: the audience
  slow_options slow;
  slow.send = {o.senders, o.in_flight, o.rate};
  slow.stopped = o.stopped;
  slow.rounds = o.rounds;
  slow.receive_buffer_bytes = static_cast<int>(o.receive_buffer_bytes);
  const auto make = [&](const fleet_plan& plan, std::uint32_t first, std::uint32_t count,
                        session_options session, room_heads& heads, run_schedule& schedule) {
    session.has_whole_log = true;
    session.ack_every_ns = o.has_manual_sync ? 0 : ns_of(o.ack_every_s);
    session.allows_gaps = o.allows_gaps;
    return std::make_unique<slow_worker>(plan, first, count, std::move(session), slow, heads,
                                         schedule);
  };
  fleet f{context, plan_audience(o.senders, o.connections, o.rooms, o.rooms_each, o.seed), make,
          false};
  measured_window window;
  ordered_json rounds = ordered_json::array();
  window.node_before = context.node_usage();
  window.bench_before = usage_of(getpid());
  const std::int64_t begun = now_ns();
  if (f.connect()) {
    f.begin_load();
    f.stay(o.warmup_s, "load");
    for (std::uint32_t i = 0; i < o.rounds && !context.is_interrupted(); ++i) {
      rounds.push_back(run_round(context, f, i));
    }
    f.end_load();
    f.settle(o.settle_s);
  }
  window.seconds = seconds_of(now_ns() - begun);
  window.node_after = context.node_usage();
  window.bench_after = usage_of(getpid());
  f.close();

  ordered_json run = f.describe();
  run["audience"] = o.connections;
  run["rooms_each"] = o.rooms_each;
  run["stopped"] = o.stopped;
  run["stop_s"] = o.stop_s;
  add_times(rounds, run, f);
  run["rounds"] = rounds;
  add_resume_figures(run, f);
  add_message_figures(context, run, f, slow.send, window, false);
  context.report["runs"].push_back(std::move(run));
}

}  // namespace parley::bench
