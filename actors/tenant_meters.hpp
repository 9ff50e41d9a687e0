#pragma once
/// What a tenant uses up, counted by all gateways together.
/// Threads    any; atomics.

#include <atomic>
#include <cstdint>

namespace parley::actors {

struct tenant_meters {
  std::atomic<std::int64_t> requests_due{0};  ///< state of its request bucket (protocol/gcra.hpp)
  std::atomic<std::int64_t> messages_due{0};  ///< the same of its messages
  std::atomic<std::int64_t> connections{0};   ///< open WebSockets
  std::atomic<std::uint64_t> messages{0};     ///< accepted since the start
};

}  // namespace parley::actors
