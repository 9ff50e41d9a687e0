#include "bench/recovery_curve.hpp"

#include "bench/steady_time.hpp"

#include <algorithm>
#include <cmath>

namespace parley::bench {

std::size_t recovery_curve::back_within(std::int64_t ns) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(times_ns_, [ns](std::int64_t time) { return time <= ns; }));
}

std::int64_t recovery_curve::longest_ns() const {
  return times_ns_.empty() ? 0 : *std::ranges::max_element(times_ns_);
}

std::int64_t recovery_curve::share_ns(double share) const {
  if (times_ns_.empty()) return 0;
  std::vector<std::int64_t> sorted = times_ns_;
  const auto wanted = std::ceil(share * static_cast<double>(sorted.size()));
  const auto rank = std::clamp<std::size_t>(static_cast<std::size_t>(wanted), 1, sorted.size()) - 1;
  std::ranges::nth_element(sorted, sorted.begin() + static_cast<std::ptrdiff_t>(rank));
  return sorted[rank];
}

std::vector<recovery_curve::point> recovery_curve::points() const {
  std::vector<point> result;
  if (times_ns_.empty()) return result;
  constexpr int steps_max = 100;
  for (int step = 0; step < steps_max; ++step) {
    // 0.25, 0.5, 1, 2, … 10, 15, 20, …
    const double after_s = step == 0   ? 0.25
                           : step == 1 ? 0.5
                           : step < 12 ? step - 1
                                       : (step - 9) * 5;
    result.push_back({after_s, back_within(ns_of(after_s))});
    if (result.back().back == times_ns_.size()) break;
  }
  return result;
}

}  // namespace parley::bench
