#include "bench/fleet.hpp"
#include "bench/report.hpp"
#include "bench/run_context.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <ostream>
#include <utility>

namespace parley::bench {

void run_idle(run_context& context) {
  const bench_options& o = context.options;
  const std::uint32_t connections = o.connections != 0 ? o.connections : most_connections(context);
  const auto make = [](const fleet_plan& plan, std::uint32_t first, std::uint32_t count,
                       session_options session, room_heads& heads, run_schedule& schedule) {
    return std::make_unique<chat_worker>(plan, first, count, std::move(session), heads, schedule);
  };
  const std::uint32_t members = std::min(o.members[0], connections);
  fleet f{context, plan_shuffled(connections, o.rooms_each, members, o.seed), make, false};
  f.stay(o.rest_s);  // nothing is connected yet: the set-up's memory comes to rest
  const auto before = context.node_usage();
  const bool is_connected = f.connect();
  measured_window window;
  std::optional<process_usage> after;
  if (is_connected) {
    f.stay(o.rest_s);
    after = context.node_usage();
    window = f.stay(o.idle_s);
  }
  f.close();

  nlohmann::ordered_json run = f.describe();
  run["seconds"] = f.connect_s();
  run["rooms_each"] = o.rooms_each;
  run["idle_s"] = window.seconds;
  if (before && after) {
    const double grown =
        static_cast<double>(after->rss_bytes) - static_cast<double>(before->rss_bytes);
    run["rss_before_bytes"] = before->rss_bytes;
    run["rss_after_bytes"] = after->rss_bytes;
    run["rss_bytes_per_connection"] = std::round(grown / connections);
  }
  run["node_usage"] = describe_usage(window.node_before, window.node_after, window.seconds);
  run["bench_usage"] = describe_usage(window.bench_before, window.bench_after, window.seconds);
  context.report["runs"].push_back(std::move(run));
}

}  // namespace parley::bench
