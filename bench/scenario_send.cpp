#include "bench/scenario_send.hpp"

#include "bench/fleet.hpp"
#include "bench/report.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

namespace parley::bench {
namespace {

using nlohmann::ordered_json;

message_figures figures_of(const fleet& f) {
  message_figures sum;
  for (const auto& worker : f.workers()) {
    sum.add(dynamic_cast<const message_worker&>(*worker).figures());
  }
  return sum;
}

ordered_json usage_per_message(const measured_window& window, const message_figures& figures) {
  ordered_json usage = describe_usage(window.node_before, window.node_after, window.seconds);
  if (!usage.is_object()) return usage;
  const double cpu_us = usage.value("cpu_s", 0.0) * 1e6;
  const auto per = [cpu_us](std::uint64_t count) {
    return count == 0 ? 0 : std::round(cpu_us / static_cast<double>(count) * 1000) / 1000;
  };
  usage["cpu_us_per_message"] = per(figures.accepted);
  usage["cpu_us_per_delivery"] = per(figures.deliveries);
  return usage;
}

void add_figures(ordered_json& run, const measured_window& window, const message_figures& figures,
                 bool tracks_last) {
  const auto put = [&](const std::string& name, std::uint64_t count) {
    run[name] = count;
    run[name + "_per_s"] =
        window.seconds > 0 ? std::round(static_cast<double>(count) / window.seconds) : 0;
  };
  run["seconds"] = window.seconds;
  put("sent", figures.sent);
  put("accepted", figures.accepted);
  put("deliveries", figures.deliveries);
  run["overdue"] = figures.overdue;
  if (figures.unsent != 0) run["unsent"] = figures.unsent;
  run["accept_times"] = describe(figures.accept_times);
  run["delivery_times"] = describe(figures.delivery_times);
  if (tracks_last) run["last_delivery_times"] = describe(figures.last_times);
  run["accepted_each_s"] = window.accepted_each_s;
  run["deliveries_each_s"] = window.deliveries_each_s;
  run["node_usage"] = usage_per_message(window, figures);
  run["bench_usage"] = describe_usage(window.bench_before, window.bench_after, window.seconds);
}

}  // namespace

void add_message_figures(run_context& context, ordered_json& run, const fleet& f,
                         const send_options& send, const measured_window& window, bool tracks_last) {
  const bench_options& options = context.options;
  run["senders"] = send.senders;
  run["in_flight"] = send.in_flight;
  run["content_bytes"] = options.content_bytes;
  run["rate_per_s"] = send.rate;
  run["loop"] = send.rate > 0 ? "open" : "closed";
  run["sync"] = options.has_manual_sync ? "manual" : "auto";
  const message_figures figures = figures_of(f);
  add_figures(run, window, figures, tracks_last);
  if (figures.accepted == 0 && !context.is_interrupted()) {
    context.faults.add(fault::no_load, "no message was accepted in the measured time");
  }
}

void run_messages(run_context& context, fleet_plan plan, const send_options& send, bool tracks_last) {
  const bench_options& options = context.options;
  const auto make = [&send](const fleet_plan& p, std::uint32_t first, std::uint32_t count,
                            session_options session, room_heads& heads, run_schedule& schedule) {
    return std::make_unique<message_worker>(p, first, count, std::move(session), send, heads,
                                            schedule);
  };
  fleet f{context, std::move(plan), make, tracks_last};
  measured_window window;
  if (f.connect()) {
    window = f.load(options.warmup_s, options.duration_s);
    f.settle(options.settle_s);
  }
  f.close();

  ordered_json run = f.describe();
  add_message_figures(context, run, f, send, window, tracks_last);
  context.report["runs"].push_back(std::move(run));
}

void run_send(run_context& context) {
  const bench_options& o = context.options;
  run_messages(context, plan_neighbours(o.connections, o.rooms, o.members[0]),
               {o.senders, o.in_flight, o.rate}, false);
}

}  // namespace parley::bench
