#pragma once
/// The one clock of the load tool: CLOCK_MONOTONIC in nanoseconds, comparable between its threads.

#include <chrono>
#include <cstdint>

namespace parley::bench {

[[nodiscard]] inline std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

inline constexpr std::int64_t ns_per_ms = 1'000'000;
inline constexpr std::int64_t ns_per_s = 1'000'000'000;

[[nodiscard]] inline std::int64_t ns_of(double seconds) {
  return static_cast<std::int64_t>(seconds * 1e9);
}
[[nodiscard]] inline double seconds_of(std::int64_t ns) { return static_cast<double>(ns) / 1e9; }

}  // namespace parley::bench
