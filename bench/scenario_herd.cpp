/// connect, storm, drain: a herd comes, or comes back, while messages flow in its rooms.

#include "bench/fleet.hpp"
#include "bench/herd_worker.hpp"
#include "bench/report.hpp"
#include "bench/run_context.hpp"
#include "bench/scenario_send.hpp"
#include "bench/steady_time.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace parley::bench {
namespace {

using nlohmann::ordered_json;

constexpr std::int64_t memory_look_ns = 20 * ns_per_ms;

/// The node's resident memory around one herd.
class memory_watch {
 public:
  explicit memory_watch(const run_context& context) : context_{context} { look(); }
  void look() {
    if (now_ns() < next_look_ns_) return;
    next_look_ns_ = now_ns() + memory_look_ns;
    const auto usage = context_.node_usage();
    if (!usage) return;
    last_ = usage->rss_bytes;
    if (before_ == 0) before_ = last_;
    peak_ = std::max(peak_, last_);
  }
  /// Another process from now on: the peak is its own.
  void restarted() {
    peak_ = 0;
    next_look_ns_ = 0;
  }
  /// Fields of the herd; none when the process is not known.
  void describe(ordered_json& herd) {
    next_look_ns_ = 0;
    look();
    if (before_ == 0) return;
    herd["rss_before_bytes"] = before_;
    herd["rss_peak_bytes"] = peak_;
    herd["rss_after_bytes"] = last_;
    herd["rss_peak_times"] =
        std::round(static_cast<double>(peak_) / static_cast<double>(before_) * 100) / 100;
  }

 private:
  const run_context& context_;
  std::int64_t next_look_ns_ = 0;
  std::uint64_t before_ = 0;
  std::uint64_t peak_ = 0;
  std::uint64_t last_ = 0;
};

/// One herd from its beginning until all are back and have rested.
ordered_json run_herd(run_context& context, const bench_options& o, fleet& f, std::uint32_t number) {
  const bool is_drain = o.by == "drain";
  const std::uint64_t all = f.plan().connections;
  const std::uint64_t expected = is_drain ? all : all - o.senders;
  const std::uint64_t returned = f.progress().returned;
  ordered_json herd{{"number", number}, {"clients", expected}};
  memory_watch memory{context};
  if (is_drain) {
    f.schedule().expects_closes = true;
    f.begin_herd(now_ns(), never);
    f.wait_for(5, o.by.c_str(), [&](const fleet_progress& p) { return p.herd == number; });
    const auto restarted = context.node->restart();
    memory.restarted();
    f.schedule().return_from = now_ns();
    if (!restarted.failure.empty()) context.faults.add(fault::node, restarted.failure);
    herd["exit_ok"] = restarted.failure.empty();
    herd["exit_s"] = restarted.exit_s;
    herd["listen_again_s"] = restarted.listen_s;
  } else {
    const std::int64_t from = now_ns() + 50 * ns_per_ms;  // so that all threads begin together
    f.begin_herd(from, from);
  }
  const bool is_back = f.wait_for(o.return_deadline_s, "return", [&](const fleet_progress& p) {
    memory.look();
    return p.returned >= returned + expected && p.ready + p.lost >= all;
  });
  f.schedule().expects_closes = false;
  if (!is_back && !context.is_interrupted()) {
    const std::uint64_t back = f.progress().returned - returned;
    context.faults.add(
        fault::connection,
        fmt::format("herd {}: {} of {} were back with all their rooms within {:.0f} s", number,
                    back, expected, o.return_deadline_s));
  }
  f.stay(o.rest_s, "rest");
  memory.describe(herd);
  return herd;
}

/// What the threads know of it, after close().
void add_figures(ordered_json& herd, const fleet& f, std::size_t index) {
  herd_figures sum;
  for (const auto& worker : f.workers()) {
    const auto& herds = dynamic_cast<const herd_worker&>(*worker).herds();
    if (index < herds.size()) sum.add(herds[index]);
  }
  herd["left"] = sum.left;
  herd["told_delays"] = sum.told;
  herd["back"] = sum.curve.count();
  ordered_json points = ordered_json::array();
  for (const auto& point : sum.curve.points()) {
    points.push_back({{"after_s", point.after_s}, {"back", point.back}});
  }
  herd["curve"] = points;
  const auto seconds = [](std::int64_t ns) { return std::round(seconds_of(ns) * 1000) / 1000; };
  herd["half_back_s"] = seconds(sum.curve.share_ns(0.5));
  herd["p99_back_s"] = seconds(sum.curve.share_ns(0.99));
  herd["all_back_s"] = seconds(sum.curve.longest_ns());
  if (sum.curve.longest_ns() > 0) {
    herd["back_per_s"] =
        std::round(static_cast<double>(sum.curve.count()) / seconds_of(sum.curve.longest_ns()));
  }
  if (sum.silences.count() != 0) herd["silences"] = describe(sum.silences);
}

}  // namespace

void add_resume_figures(ordered_json& run, const fleet& f) {
  histogram hello_times;
  histogram ready_times;
  ordered_json counts{{"gaps", 0},
                      {"entries_in_gaps", 0},
                      {"repeated_after_resume", 0},
                      {"resent", 0},
                      {"duplicates", 0}};
  const auto count = [&counts](const char* name, std::uint64_t more) {
    counts[name] = counts[name].get<std::uint64_t>() + more;
  };
  for (const auto& worker : f.workers()) {
    hello_times.add(worker->return_hello_times());
    ready_times.add(worker->return_ready_times());
    count("gaps", worker->checks().gaps());
    count("entries_in_gaps", worker->checks().entries_in_gaps());
    count("repeated_after_resume", worker->checks().repeated_after_resume());
    count("resent", worker->resent());
    count("duplicates", worker->duplicates());
  }
  run["return_hello_times"] = describe(hello_times);
  run["return_ready_times"] = describe(ready_times);
  run["resume"] = counts;
  std::map<std::string, std::uint64_t> closes;
  std::map<std::string, std::uint64_t> refusals;
  for (const auto& worker : f.workers()) {
    for (const auto& [code, times] : worker->close_codes()) closes[std::to_string(code)] += times;
    for (const auto& [why, times] : worker->refusals()) refusals[why] += times;
  }
  run["close_codes"] = closes;
  run["refused_upgrades"] = refusals;
}

namespace {

void run_herds(run_context& context) {
  bench_options o = context.options;
  const bool is_connect = o.scenario == "connect";
  if (o.connections == 0) {
    o.connections = most_connections(context);
    fit_rooms(o);
  }
  if (!is_connect) o.connections -= o.senders;  // from here on: the audience
  herd_options herd;
  herd.send = {o.senders, o.in_flight, o.rate};
  herd.cuts_audience = o.by != "drain";
  herd.manner = o.obeys          ? return_manner::obey
                : o.spread_s > 0 ? return_manner::jitter
                                 : return_manner::at_once;
  herd.jitter_ns = ns_of(o.spread_s);
  const auto make = [&](const fleet_plan& plan, std::uint32_t first, std::uint32_t count,
                        session_options session, room_heads& heads, run_schedule& schedule) {
    session.has_whole_log = true;
    session.opening_max = std::numeric_limits<std::size_t>::max();  // the herd has no manners
    if (is_connect) session.away_from = o.senders;
    session.ack_every_ns = o.has_manual_sync ? 0 : ns_of(o.ack_every_s);
    session.allows_gaps = o.allows_gaps;
    return std::make_unique<herd_worker>(plan, first, count, std::move(session), herd, heads,
                                         schedule);
  };
  fleet f{context, plan_audience(o.senders, o.connections, o.rooms, o.rooms_each, o.seed), make,
          false};
  measured_window window;
  ordered_json herds = ordered_json::array();
  window.node_before = context.node_usage();
  window.bench_before = usage_of(getpid());
  const std::int64_t begun = now_ns();
  if (f.connect(is_connect ? o.senders : 0)) {
    f.begin_load();
    f.stay(o.warmup_s, "load");
    for (std::uint32_t number = 1; number <= o.herds && !context.is_interrupted(); ++number) {
      herds.push_back(run_herd(context, o, f, number));
    }
    f.end_load();
    f.settle(o.settle_s);
  }
  window.seconds = seconds_of(now_ns() - begun);
  window.node_after = context.node_usage();
  if (o.by == "drain") window.node_before.reset();  // that was another process
  window.bench_after = usage_of(getpid());
  f.close();

  ordered_json run = f.describe();
  run["audience"] = o.connections;
  run["rooms_each"] = o.rooms_each;
  run["by"] = is_connect ? "connect" : o.by;
  run["return"] = o.obeys          ? "as the node told each"
                  : o.spread_s > 0 ? fmt::format("spread over {} s", o.spread_s)
                                   : "at once";
  for (std::size_t i = 0; i < herds.size(); ++i) add_figures(herds[i], f, i);
  if (is_connect && !herds.empty()) {  // the talkers, connected before, are not what was asked about
    run["connects"] = herds[0]["back"];
    run["connects_per_s"] = herds[0].value("back_per_s", 0.0);
    run["connect_s"] = herds[0]["all_back_s"];
    run.erase("hello_times");
    run.erase("ready_times");
  }
  if (herds.size() > 1 && herds.front().contains("rss_after_bytes")) {
    run["rss_change_between_herds_bytes"] = herds.back()["rss_after_bytes"].get<std::int64_t>() -
                                            herds.front()["rss_after_bytes"].get<std::int64_t>();
  }
  run["herds"] = herds;
  add_resume_figures(run, f);
  add_message_figures(context, run, f, herd.send, window, false);
  context.report["runs"].push_back(std::move(run));
}

}  // namespace

void run_connect(run_context& context) { run_herds(context); }
void run_storm(run_context& context) { run_herds(context); }
void run_drain(run_context& context) { run_herds(context); }

}  // namespace parley::bench
