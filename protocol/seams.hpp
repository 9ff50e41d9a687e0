#pragma once
/// Clock and randomness as interfaces: what tests replace. Implementations for the node are in seams.cpp.

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace parley {

/// A moment in UTC, milliseconds: what is stored and shown.
using utc_time = std::chrono::time_point<std::chrono::system_clock, std::chrono::milliseconds>;
/// A moment for deadlines; never goes back.
using mono_time = std::chrono::steady_clock::time_point;

/// Where time comes from. Thread-safe.
class clock {
 public:
  clock() = default;
  clock(const clock&) = delete;
  clock& operator=(const clock&) = delete;
  virtual ~clock() = default;
  [[nodiscard]] virtual utc_time now() const = 0;
  [[nodiscard]] virtual mono_time mono() const = 0;
};

/// Where random bytes come from. Thread-safe in the node's implementation (the kernel's generator).
class random_source {
 public:
  random_source() = default;
  random_source(const random_source&) = delete;
  random_source& operator=(const random_source&) = delete;
  virtual ~random_source() = default;
  virtual void fill(std::span<std::uint8_t> out) = 0;
};

/// The machine's clock and getrandom(2).
const clock& system_clock_source();
random_source& system_random();

/// RFC 3339 UTC with milliseconds, `2026-11-25T22:30:24.123Z` (SPEC 4).
void append_rfc3339(std::string& out, utc_time t);
[[nodiscard]] std::string to_rfc3339(utc_time t);
/// With any offset; beyond milliseconds it is cut. nullopt: not a time of RFC 3339.
[[nodiscard]] std::optional<utc_time> parse_rfc3339(std::string_view text);
[[nodiscard]] constexpr std::int64_t to_unix_ms(utc_time t) { return t.time_since_epoch().count(); }
[[nodiscard]] constexpr utc_time from_unix_ms(std::int64_t ms) {
  return utc_time{std::chrono::milliseconds{ms}};
}

}  // namespace parley
