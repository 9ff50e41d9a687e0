/// webhook: each message is told to an endpoint of ours. How many a second, how late, and what does it cost those who send?
/// --dead: what does an endpoint cost that refuses, when its events are many?

#include "bench/backend.hpp"
#include "bench/fleet.hpp"
#include "bench/report.hpp"
#include "bench/run_context.hpp"
#include "bench/scenario_send.hpp"
#include "bench/steady_time.hpp"
#include "bench/webhook_receiver.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace parley::bench {
namespace {

using nlohmann::ordered_json;

constexpr auto look = std::chrono::milliseconds{5};
// A breaker lets an endpoint rest for half a minute, and its first probe may find it still closed.
constexpr double rest_max_s = 75;

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

double per_second(std::uint64_t count, double seconds) {
  return seconds > 0 ? std::round(static_cast<double>(count) / seconds) : 0;
}

std::unique_ptr<fleet> make_fleet(run_context& context, const send_options& send) {
  const bench_options& o = context.options;
  const auto make = [send](const fleet_plan& plan, std::uint32_t first, std::uint32_t count,
                           session_options session, room_heads& heads, run_schedule& schedule) {
    return std::make_unique<message_worker>(plan, first, count, std::move(session), send, heads,
                                            schedule);
  };
  return std::make_unique<fleet>(context, plan_neighbours(o.connections, o.rooms, o.members[0]),
                                 make, false);
}

void set_webhook(const run_context& context, const std::string& url) {
  const std::string& given = context.options.tenant_config;
  auto config = given.empty() ? ordered_json::object() : ordered_json::parse(given);
  if (!url.empty()) {
    config["webhook_url"] = url;
    config["webhook_events"] = {"message.created"};
  }
  configure_tenant(context.target, context.master_key, context.tenant_id, config.dump());
}

/// Waits until the endpoint was told of `messages` in all; what is not there when nothing new has come for `quiet_s` is
/// missing.
void await_events(run_context& context, const webhook_receiver& receiver, std::uint64_t messages,
                  double quiet_s) {
  auto last = receiver.now();
  std::int64_t deadline = now_ns() + ns_of(quiet_s);
  while (last.messages < messages && now_ns() < deadline) {
    if (context.node != nullptr && !context.node->is_running()) break;
    std::this_thread::sleep_for(look);
    const auto now = receiver.now();
    if (now.messages != last.messages) deadline = now_ns() + ns_of(quiet_s);
    last = now;
  }
  if (last.messages < messages) {
    context.faults.count(fault::missing, messages - last.messages - 1);
    context.faults.add(fault::missing, fmt::format("the webhook was told of {} of {} messages",
                                                   last.messages, messages));
  }
}

struct part {
  double accepted_per_s = 0;
  double cpu_us = 0;  // of the node, a message, with all that it caused
  double events_per_s = 0;
  histogram lags;
};

/// A fleet under load; with `receiver`, everything is told to it before this returns.
part run_part(run_context& context, const send_options& send, webhook_receiver* receiver) {
  const bench_options& o = context.options;
  set_webhook(context, receiver != nullptr ? receiver->url() : std::string{});
  auto f = make_fleet(context, send);
  const auto before = receiver != nullptr ? receiver->now() : webhook_receiver::state{};
  if (receiver != nullptr) receiver->begin_lags();
  measured_window window;
  const auto usage_before = context.node_usage();
  if (f->connect()) {
    window = f->load(o.warmup_s, o.duration_s);
  }
  const std::int64_t ended = now_ns();
  const auto beside = receiver != nullptr ? receiver->now() : webhook_receiver::state{};
  f->settle(o.settle_s);
  const std::uint64_t accepted = f->progress().accepted;
  if (receiver != nullptr) {
    await_events(context, *receiver, before.messages + accepted, o.settle_s);
  }
  const auto usage_after = context.node_usage();
  f->close();

  ordered_json run = f->describe();
  add_message_figures(context, run, *f, send, window, false);
  part result;
  result.accepted_per_s = run.value("accepted_per_s", 0.0);
  if (usage_before && usage_after && accepted != 0) {
    result.cpu_us = (usage_after->cpu_s - usage_before->cpu_s) * 1e6 / static_cast<double>(accepted);
  }
  ordered_json told{{"enabled", receiver != nullptr},
                    {"cpu_us_per_message_all_told", std::round(result.cpu_us * 10) / 10}};
  if (receiver != nullptr) {
    const auto after = receiver->now();
    const double load_s = o.warmup_s + o.duration_s;
    const double drain_s = std::max(0.0, seconds_of(after.last_ns - ended));
    result.lags = receiver->lags();
    result.events_per_s = per_second(after.messages - before.messages, load_s + drain_s);
    told["events"] = after.messages - before.messages;
    told["repeats"] = after.repeats - before.repeats;
    told["others"] = after.others - before.others;
    told["connections"] = after.connections - before.connections;
    told["events_per_s"] = result.events_per_s;
    told["events_per_s_beside_load"] = per_second(beside.messages - before.messages, load_s);
    told["waited_at_end"] =
        before.messages + accepted - std::min(beside.messages, before.messages + accepted);
    told["drain_s"] = drain_s;
    told["lag_times"] = describe(result.lags);
  }
  run["webhook"] = told;
  context.report["runs"].push_back(std::move(run));
  return result;
}

void run_alive(run_context& context) {
  const bench_options& o = context.options;
  const send_options closed{o.senders, o.in_flight, 0};
  webhook_receiver receiver;
  receiver.open();
  std::vector<double> accepted[2];
  std::vector<double> cpu[2];
  std::vector<double> events;
  for (std::uint32_t round = 0; round < o.rounds && !context.is_interrupted(); ++round) {
    // The order alternates, so that what drifts favours neither.
    for (const bool is_on : {round % 2 != 0, round % 2 == 0}) {
      const part p = run_part(context, closed, is_on ? &receiver : nullptr);
      accepted[is_on ? 1 : 0].push_back(p.accepted_per_s);
      cpu[is_on ? 1 : 0].push_back(p.cpu_us);
      if (is_on) events.push_back(p.events_per_s);
    }
  }
  if (context.is_interrupted()) return;
  const send_options open_loop{o.senders, 16, o.rate};
  const part paced_without = run_part(context, open_loop, nullptr);
  const part paced = run_part(context, open_loop, &receiver);
  context.faults.add(receiver.faults());
  context.report["webhook"] = {{"rounds", o.rounds},
                               {"accepted_per_s_without", median(accepted[0])},
                               {"accepted_per_s_with", median(accepted[1])},
                               {"cpu_us_per_message_without", median(cpu[0])},
                               {"cpu_us_per_message_with", median(cpu[1])},
                               {"events_per_s", median(events)},
                               {"lag_rate_per_s", o.rate},
                               {"lag_cpu_us_per_message_without", paced_without.cpu_us},
                               {"lag_cpu_us_per_message_with", paced.cpu_us},
                               {"lag_times", describe(paced.lags)}};
}

std::uint64_t bytes_of_database(const node_process& node) {
  std::uint64_t bytes = 0;
  for (const auto& file : std::filesystem::directory_iterator{node.directory() / "data"}) {
    if (file.path().filename().string().starts_with("parley.db")) bytes += file.file_size();
  }
  return bytes;
}

std::uint64_t rss_of(const run_context& context) {
  const auto usage = context.node_usage();
  return usage ? usage->rss_bytes : 0;
}

/// Sends until so many are accepted; how many it were in the end.
std::uint64_t send_many(run_context& context, std::uint64_t count) {
  const bench_options& o = context.options;
  auto f = make_fleet(context, {o.senders, o.in_flight, 0});
  if (f->connect()) {
    f->begin_load();
    const double deadline_s = 60 + static_cast<double>(count) / 100;
    f->wait_for(deadline_s, "queue",
                [count](const fleet_progress& p) { return p.accepted >= count; });
    f->end_load();
    f->settle(o.settle_s);
  }
  const std::uint64_t accepted = f->progress().accepted;
  f->close();
  context.report["runs"].push_back(f->describe());
  return accepted;
}

void await_queued(run_context& context, std::uint64_t events) {
  std::uint64_t last = 0;
  std::int64_t deadline = now_ns() + ns_of(rest_max_s);
  for (;;) {
    const std::uint64_t queued = queued_events(context.target, context.master_key, context.tenant_id);
    if (queued >= events || context.is_interrupted()) return;
    if (queued != last) deadline = now_ns() + ns_of(rest_max_s);
    last = queued;
    if (now_ns() > deadline) {
      context.faults.add(fault::missing,
                         fmt::format("only {} of {} events wait in the outbox", queued, events));
      return;
    }
    std::this_thread::sleep_for(look * 10);
  }
}

void run_dead(run_context& context) {
  const bench_options& o = context.options;
  webhook_receiver receiver;
  // First as many without a webhook: what messages cost is not what their events do.
  const std::uint64_t empty_bytes = bytes_of_database(*context.node);
  send_many(context, o.queue);
  std::this_thread::sleep_for(std::chrono::duration<double>{o.rest_s});
  ordered_json dead{{"rss_before_bytes", rss_of(context)},
                    {"database_empty_bytes", empty_bytes},
                    {"database_before_bytes", bytes_of_database(*context.node)}};
  if (context.is_interrupted()) return;
  set_webhook(context, receiver.url());
  const std::uint64_t accepted = send_many(context, o.queue);
  await_queued(context, accepted);
  std::this_thread::sleep_for(std::chrono::duration<double>{o.rest_s});
  dead["events"] = accepted;
  dead["rss_queued_bytes"] = rss_of(context);
  dead["database_queued_bytes"] = bytes_of_database(*context.node);
  if (!context.is_interrupted()) {
    dead["listen_again_s"] = context.node->kill_and_restart();
    std::this_thread::sleep_for(std::chrono::duration<double>{o.rest_s});
    dead["rss_restarted_bytes"] = rss_of(context);
    receiver.open();
    const std::int64_t opened = now_ns();
    while (receiver.now().messages == 0 && now_ns() < opened + ns_of(rest_max_s)) {
      std::this_thread::sleep_for(look);
    }
    const std::int64_t first = now_ns();
    await_events(context, receiver, accepted, rest_max_s);
    const auto told = receiver.now();
    dead["first_after_s"] = seconds_of(first - opened);
    dead["drain_s"] = seconds_of(told.last_ns - first);
    dead["drained_per_s"] = per_second(told.messages, seconds_of(told.last_ns - first));
    dead["repeats"] = told.repeats;
    dead["rss_drained_bytes"] = rss_of(context);
    dead["database_drained_bytes"] = bytes_of_database(*context.node);
  }
  context.faults.add(receiver.faults());
  context.report["dead"] = dead;
}

}  // namespace

void run_webhook(run_context& context) {
  if (context.options.is_dead) {
    run_dead(context);
  } else {
    run_alive(context);
  }
}

}  // namespace parley::bench
