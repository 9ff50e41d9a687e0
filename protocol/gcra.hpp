#pragma once
/// «So many a second, so many at once» in 8 bytes a state: the generic cell rate algorithm (ITU-T I.371), whose state is the
/// time at which the next event would come if all kept the rate.

#include "protocol/seams.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>

namespace parley {

/// One state: of a connection, a user, an address. The default admits a whole burst.
struct gcra_state {
  mono_time due{};  ///< when the next event would come that keeps the rate
};
/// The same for all threads: `due` in nanoseconds of the clock.
using shared_gcra_state = std::atomic<std::int64_t>;

/// A rate and its burst; immutable, shared by all states that it judges. Pure.
class gcra {
 public:
  /// `per_second` 0: no limit. `burst` < 1 counts as 1.
  gcra(std::uint32_t per_second, std::uint32_t burst)
      : gcra(per_second, std::chrono::seconds{1}, burst) {}
  /// `count` in each `period`.
  gcra(std::uint32_t count, std::chrono::nanoseconds period, std::uint32_t burst)
      : interval_(count == 0 ? std::chrono::nanoseconds{0} : period / count),
        burst_(std::max<std::uint32_t>(burst, 1)) {}

  [[nodiscard]] bool is_none() const { return interval_.count() == 0; }
  [[nodiscard]] std::uint32_t burst() const { return burst_; }

  /// True, and the event counts; false: one too many, and it does not count.
  bool admit(gcra_state& s, mono_time now) const { return admit_up_to(s, 1, now) == 1; }
  bool admit(shared_gcra_state& s, mono_time now) const { return admit_up_to(s, 1, now) == 1; }
  /// How many of `n` fit; those count, the others don't.
  std::uint32_t admit_up_to(gcra_state& s, std::uint32_t n, mono_time now) const {
    const auto fit = std::min(n, remaining(s, now));
    if (!is_none() && fit > 0) s.due = std::max(s.due, now) + interval_ * fit;
    return fit;
  }
  std::uint32_t admit_up_to(shared_gcra_state& s, std::uint32_t n, mono_time now) const {
    auto seen = s.load(std::memory_order_relaxed);
    while (true) {
      auto next = state_of(seen);
      const auto fit = admit_up_to(next, n, now);
      if (fit == 0 || is_none()) return fit;
      if (s.compare_exchange_weak(seen, next.due.time_since_epoch().count(),
                                  std::memory_order_relaxed))
        return fit;
    }
  }
  /// `n` that were admitted have not happened.
  void give_back(gcra_state& s, std::uint32_t n) const { s.due -= interval_ * n; }
  void give_back(shared_gcra_state& s, std::uint32_t n) const {
    s.fetch_sub((interval_ * n).count(), std::memory_order_relaxed);
  }

  /// How long until one more is admitted; 0: now.
  [[nodiscard]] std::chrono::nanoseconds wait(const gcra_state& s, mono_time now) const {
    if (is_none()) return {};
    return std::max(std::chrono::nanoseconds{0}, refill(s, now) - interval_ * (burst_ - 1));
  }
  /// How many would be admitted now; without a limit as many as there can be.
  [[nodiscard]] std::uint32_t remaining(const gcra_state& s, mono_time now) const {
    if (is_none()) return std::numeric_limits<std::uint32_t>::max();
    const auto owed = refill(s, now);
    const auto tolerance = interval_ * (burst_ - 1);
    return owed > tolerance ? 0 : static_cast<std::uint32_t>((tolerance - owed) / interval_) + 1;
  }
  /// How long until a whole burst is admitted.
  [[nodiscard]] std::chrono::nanoseconds refill(const gcra_state& s, mono_time now) const {
    return std::max(std::chrono::nanoseconds{0}, std::chrono::nanoseconds{s.due - now});
  }
  [[nodiscard]] static gcra_state state_of(std::int64_t shared) {
    return {mono_time{std::chrono::nanoseconds{shared}}};
  }

 private:
  std::chrono::nanoseconds interval_;
  std::uint32_t burst_;
};

}  // namespace parley
