#include "bench/fleet_plan.hpp"
#include "bench/scenario_send.hpp"

#include <algorithm>

namespace parley::bench {

void run_fanout(run_context& context) {
  const bench_options& o = context.options;
  for (const std::uint32_t members : o.members) {
    if (context.is_interrupted()) return;
    run_messages(context, plan_neighbours(members, 1, members),
                 {std::min(o.senders, members), o.in_flight, o.rate}, true);
  }
}

}  // namespace parley::bench
