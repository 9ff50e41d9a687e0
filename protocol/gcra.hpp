#pragma once
/// «So many a second, so many at once» in 8 bytes a state: the generic cell rate algorithm (ITU-T I.371), whose state is the
/// time at which the last admitted event would have come if all kept the rate.

#include "protocol/seams.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace parley {

/// One state: of a connection, a user, an address. The default admits a whole burst.
struct gcra_state {
  mono_time due{};  ///< when the next event would come that keeps the rate
};

/// A rate and its burst; immutable, shared by all states that it judges. Pure.
class gcra {
 public:
  /// `per_second` 0: no limit. `burst` < 1 counts as 1.
  gcra(std::uint32_t per_second, std::uint32_t burst)
      : interval_(per_second == 0 ? std::chrono::nanoseconds{0}
                                  : std::chrono::nanoseconds{std::chrono::seconds{1}} / per_second),
        tolerance_(interval_ * (std::max<std::uint32_t>(burst, 1) - 1)) {}

  /// True, and the event counts; false: one too many, and it does not count.
  bool admit(gcra_state& s, mono_time now) const {
    if (interval_.count() == 0) return true;
    const auto due = std::max(s.due, now);
    if (due - now > tolerance_) return false;
    s.due = due + std::chrono::duration_cast<mono_time::duration>(interval_);
    return true;
  }
  /// How long until one more is admitted; 0: now.
  [[nodiscard]] std::chrono::nanoseconds wait(const gcra_state& s, mono_time now) const {
    if (interval_.count() == 0) return {};
    return std::max(std::chrono::nanoseconds{0}, std::chrono::nanoseconds{s.due - now} - tolerance_);
  }

 private:
  std::chrono::nanoseconds interval_;
  std::chrono::nanoseconds tolerance_;
};

}  // namespace parley
