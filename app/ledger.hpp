#pragma once
/// The memory ledger (I7): what every bounded queue and buffer may come to, so that a node's worst case is known before it
/// starts. `parley config print --limits` shows it; a start refuses when it exceeds what the process may use.

#include "app/config.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace parley::app {

/// What the configuration leaves to the machine.
struct machine_facts {
  unsigned cores = 1;
  std::uint64_t descriptors = 1024;
  std::uint64_t memory_bytes = 0;
  std::string whose_memory;
};
/// Asks the machine; raises the descriptor limit on the way.
[[nodiscard]] machine_facts look_at_machine();

struct ledger_row {
  std::string what;
  std::string how;  ///< the reckoning: `18000 connections x 8KiB`
  std::uint64_t bytes = 0;
};
struct ledger {
  std::vector<ledger_row> rows;
  std::uint64_t total_bytes = 0;
  /// Bounded one by one, drawn from rows above or far from all reaching their bound at once: not in the total.
  std::vector<ledger_row> each;
  std::uint64_t connections = 0;  ///< `ws_max_connections`, resolved
};
[[nodiscard]] ledger memory_ledger(const config& c, const machine_facts& machine);

/// Why the node must not start with it; empty: it may.
[[nodiscard]] std::string ledger_problem(const ledger& l, const machine_facts& machine);
[[nodiscard]] std::string print_ledger(const ledger& l, const machine_facts& machine);

/// `ws_max_connections`, resolved: what is configured, else what descriptors and memory allow.
[[nodiscard]] std::uint64_t connection_capacity(const config& c, const machine_facts& machine);

}  // namespace parley::app
