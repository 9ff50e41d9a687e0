/// presence: how many presence.update and typing frames are shown, where, and where none may be.

#include "bench/fleet.hpp"
#include "bench/presence_worker.hpp"
#include "bench/report.hpp"
#include "bench/run_context.hpp"
#include "bench/scenario_send.hpp"
#include "bench/steady_time.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

namespace parley::bench {
namespace {

using nlohmann::ordered_json;

constexpr double after_grace_s = 2;  // presence is shown at most once a user and second

struct expectation {
  presence_step step;
  const char* name;
  const char* shown;  // the status or action that those in room 0 should see; nullptr: nothing at all
};
constexpr expectation expectations[] = {
    {presence_step::herd, "herd leaves and comes back within the grace", nullptr},
    {presence_step::away, "some set themselves away", "away"},
    {presence_step::online, "they set themselves online", "online"},
    {presence_step::leave, "they leave for longer than the grace", "offline"},
    {presence_step::come_back, "they come back", "online"},
    {presence_step::typing_start, "they start typing", "start"},
    {presence_step::typing_stop, "they stop typing", "stop"},
};

/// Takes the fleet through the steps; false: the herd was away for longer than the grace, so frames about it are right.
bool run_steps(run_context& context, fleet& f) {
  const bench_options& o = context.options;
  bool is_within_grace = true;
  for (const expectation& each : expectations) {
    if (context.is_interrupted()) break;
    const std::uint64_t returned = f.progress().returned;
    const std::int64_t begun = now_ns();
    f.schedule().step = static_cast<std::uint32_t>(each.step);
    const bool is_herd = each.step == presence_step::herd;
    if (is_herd || each.step == presence_step::come_back) {
      const std::uint64_t expected = is_herd ? o.connections : 2 * std::uint64_t{o.togglers};
      const bool is_back = f.wait_for(o.return_deadline_s, "return", [&](const fleet_progress& p) {
        return p.returned >= returned + expected;
      });
      if (!is_back && !context.is_interrupted()) {
        context.faults.add(
            fault::connection,
            fmt::format("only {} of {} came back", f.progress().returned - returned, expected));
      }
      if (is_herd) is_within_grace = seconds_of(now_ns() - begun) < o.grace_s;
    }
    const bool waits_for_grace = is_herd || each.step == presence_step::leave;
    f.stay((waits_for_grace ? o.grace_s : 0) + after_grace_s, "watch");
  }
  f.schedule().step = static_cast<std::uint32_t>(presence_step::end);
  return is_within_grace;
}

/// One step against what the contract shows; more is a fault, less only if all is required.
ordered_json judge(run_context& context, const expectation& each, const presence_counts& counts,
                   std::uint64_t expected, bool is_within_grace) {
  const auto uninvited = [&](std::uint64_t times, const std::string& what) {
    if (times == 0) return;
    context.faults.add(fault::uninvited, fmt::format("{}: {} {}", each.name, times, what));
  };
  std::uint64_t seen = 0;
  std::uint64_t others = 0;
  for (const auto& [what, times] : counts.shown) {
    (each.shown != nullptr && what == each.shown ? seen : others) += times;
  }
  if (seen > expected) uninvited(seen - expected, "frames more than there were changes to show");
  uninvited(others, "frames of another kind");
  uninvited(counts.beyond_limit, "frames in a room over the limit");
  uninvited(counts.about_strangers, "frames about users of no common room");
  if (each.step != presence_step::herd || is_within_grace) {
    uninvited(counts.about_herd, "frames about a herd that was not gone for the grace");
  }
  if (context.options.requires_all && seen < expected) {
    context.faults.add(fault::missing,
                       fmt::format("{}: {} frames seen, {} expected", each.name, seen, expected));
  }
  return {{"step", each.name},
          {"expected", expected},
          {"seen", seen},
          {"others", others},
          {"beyond_limit", counts.beyond_limit},
          {"about_herd", counts.about_herd},
          {"about_strangers", counts.about_strangers},
          {"own", counts.own},
          {"answered_ok", counts.answered_ok},
          {"answered_unserved", counts.answered_unserved}};
}

}  // namespace

void run_presence(run_context& context) {
  const bench_options& o = context.options;
  presence_options presence;
  presence.send = {o.senders, o.in_flight, o.rate};
  presence.togglers = o.togglers;
  presence.herd_absence_ns = ns_of(o.grace_s / 10);
  const auto make = [&](const fleet_plan& plan, std::uint32_t first, std::uint32_t count,
                        session_options session, room_heads& heads, run_schedule& schedule) {
    session.has_whole_log = true;
    return std::make_unique<presence_worker>(plan, first, count, std::move(session), presence,
                                             heads, schedule);
  };
  const std::uint32_t herd_members =
      std::min(20U, o.members[0] - 1);  // and a talker: within the limit
  fleet f{context, plan_presence(o.senders, o.members[0], o.connections, herd_members), make, false};
  measured_window window;
  bool is_within_grace = true;
  window.node_before = context.node_usage();
  window.bench_before = usage_of(getpid());
  const std::int64_t begun = now_ns();
  if (f.connect()) {
    f.begin_load();
    f.stay(after_grace_s, "watch");
    is_within_grace = run_steps(context, f);
    f.end_load();
    f.settle(o.settle_s);
  }
  window.seconds = seconds_of(now_ns() - begun);
  window.node_after = context.node_usage();
  window.bench_after = usage_of(getpid());
  f.close();

  ordered_json run = f.describe();
  run["members"] = o.members[0];
  run["herd"] = o.connections;
  run["togglers"] = o.togglers;
  run["herd_was_within_grace"] = is_within_grace;
  ordered_json steps = ordered_json::array();
  const auto counts_of = [&f](presence_step step) {
    presence_counts sum;
    for (const auto& worker : f.workers()) {
      const auto& counts = dynamic_cast<const presence_worker&>(*worker).counts();
      sum.add(counts[static_cast<std::size_t>(step)]);
    }
    return sum;
  };
  const std::uint64_t watchers = o.members[0] - o.togglers;
  for (const expectation& each : expectations) {
    const std::uint64_t expected = each.shown == nullptr ? 0 : watchers * o.togglers;
    steps.push_back(judge(context, each, counts_of(each.step), expected, is_within_grace));
  }
  run["steps"] = steps;
  add_resume_figures(run, f);
  add_message_figures(context, run, f, presence.send, window, false);
  context.report["runs"].push_back(std::move(run));
}

}  // namespace parley::bench
