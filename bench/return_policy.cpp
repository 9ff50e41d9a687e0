#include "bench/return_policy.hpp"

#include "bench/steady_time.hpp"

#include <algorithm>

namespace parley::bench {

std::int64_t return_policy::first_try_ns(const absence& a, std::int64_t node_back_ns) {
  if (!waits_for_node(a)) {
    constexpr std::uint64_t told_max_ms = 600'000;
    return a.closed_ns + static_cast<std::int64_t>(std::min(*a.told_ms, told_max_ms)) * ns_per_ms;
  }
  if (manner_ != return_manner::jitter || jitter_ns_ <= 0) return node_back_ns;
  return node_back_ns + std::uniform_int_distribution<std::int64_t>{0, jitter_ns_}(random_);
}

std::int64_t return_policy::pause_ns(std::uint32_t tries) {
  constexpr std::int64_t first_ns = 100 * ns_per_ms;
  constexpr std::int64_t longest_ns = 2 * ns_per_s;
  const std::uint32_t doublings = std::clamp(tries, 1U, 10U) - 1;
  return std::min(first_ns << doublings, longest_ns);
}

}  // namespace parley::bench
