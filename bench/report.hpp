#pragma once
/// What a run has found, as one JSON object, and the same for people. Numbers of which a reader could not tell what
/// they mean have their unit in the name.

#include "bench/faults.hpp"
#include "bench/histogram.hpp"
#include "bench/node_process.hpp"

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <iosfwd>
#include <optional>

namespace parley::bench {

/// count, min, mean, p50, p90, p99, p99.9, max in milliseconds.
[[nodiscard]] nlohmann::ordered_json describe(const histogram& times);
[[nodiscard]] nlohmann::ordered_json describe(const fault_log& faults);
/// What a process used between two looks at it; null without both.
[[nodiscard]] nlohmann::ordered_json describe_usage(const std::optional<process_usage>& before,
                                                    const std::optional<process_usage>& after,
                                                    double seconds);

/// `report`: as run_scenario() makes it. Every field that is there is printed; what is not there is not missed.
void print_report(std::ostream& out, const nlohmann::ordered_json& report);

/// 12345678 → 12,345,678
[[nodiscard]] std::string with_commas(double number);

}  // namespace parley::bench
