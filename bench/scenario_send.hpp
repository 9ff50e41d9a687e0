#pragma once
/// What `send` and `fanout` have in common: one fleet under a load of messages, and the report of it.

#include "bench/fleet_plan.hpp"
#include "bench/message_worker.hpp"
#include "bench/run_context.hpp"

namespace parley::bench {

/// Connects the plan's fleet, loads it as the options say, checks, and adds a run to the report.
void run_messages(run_context& context, fleet_plan plan, const send_options& send, bool tracks_last);

}  // namespace parley::bench
