#pragma once
/// What scenarios with messages have in common: one fleet under a load of them, and the report of it.

#include "bench/fleet.hpp"
#include "bench/fleet_plan.hpp"
#include "bench/message_worker.hpp"
#include "bench/run_context.hpp"

namespace parley::bench {

/// Connects the plan's fleet, loads it as the options say, checks, and adds a run to the report.
void run_messages(run_context& context, fleet_plan plan, const send_options& send, bool tracks_last);
/// The fields of a load of messages, from a closed fleet of message_workers; no accepted one is a fault.
void add_message_figures(run_context& context, nlohmann::ordered_json& run, const fleet& f,
                         const send_options& send, const measured_window& window, bool tracks_last);
/// The fields about absences and resumed syncs.
void add_resume_figures(nlohmann::ordered_json& run, const fleet& f);

}  // namespace parley::bench
