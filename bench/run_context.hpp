#pragma once
/// What all scenarios work with: the options, the node, where progress goes, and whether to stop.

#include "bench/faults.hpp"
#include "bench/node_process.hpp"
#include "bench/options.hpp"
#include "bench/target_url.hpp"

#include <nlohmann/json.hpp>

#include <atomic>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>

namespace parley::bench {

struct run_context {
  const bench_options& options;
  std::ostream& progress;
  const std::atomic<int>& interrupts;  // SIGINT or SIGTERM so often

  target_url target{};
  std::string api_key{};
  std::string master_key{};
  std::string tenant_id{};       // empty: not ours
  node_process* node = nullptr;  // ours, with --spawn
  std::uint64_t descriptors = 0;
  std::uint32_t next_fleet = 0;  // users of one run of a list are not those of the next

  fault_log faults{};
  nlohmann::ordered_json report = nlohmann::ordered_json::object();

  [[nodiscard]] bool is_interrupted() const { return interrupts.load() != 0; }
  /// CPU and memory of the node, if we know its process.
  [[nodiscard]] std::optional<process_usage> node_usage() const {
    if (node != nullptr) return usage_of(node->pid());
    if (options.node_pid > 0) return usage_of(options.node_pid);
    return std::nullopt;
  }
};

/// 18,000, or what the descriptors allow, which is then told.
[[nodiscard]] std::uint32_t most_connections(run_context& context);

/// A whole run: node, tenant, scenario, report on `out`; the exit code. Never throws.
int run_bench(const bench_options& options, std::ostream& out, std::ostream& progress,
              const std::atomic<int>& interrupts);

// The scenarios add their runs to context.report["runs"] and what was wrong to context.faults.
void run_send(run_context& context);
void run_fanout(run_context& context);
void run_idle(run_context& context);
void run_connect(run_context& context);
void run_storm(run_context& context);
void run_drain(run_context& context);
void run_slow(run_context& context);
void run_presence(run_context& context);
void run_webhook(run_context& context);

}  // namespace parley::bench
