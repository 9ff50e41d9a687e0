#pragma once
/// How a herd came back: for each client, how long after the common beginning it had all of its rooms again.
/// Bound: 8 bytes a client. Owner: one thread; those of several threads are added up afterwards.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace parley::bench {

class recovery_curve {
 public:
  void record(std::int64_t back_after_ns) { times_ns_.push_back(back_after_ns); }
  void add(const recovery_curve& other) {
    times_ns_.insert(times_ns_.end(), other.times_ns_.begin(), other.times_ns_.end());
  }

  struct point {
    double after_s = 0;
    std::size_t back = 0;  // clients that were back by then
  };
  /// 0.25, 0.5, 1, 2, 3, … s: up to the first at which all were back. Empty when nobody came.
  [[nodiscard]] std::vector<point> points() const;
  [[nodiscard]] std::size_t count() const { return times_ns_.size(); }
  [[nodiscard]] std::size_t back_within(std::int64_t ns) const;
  [[nodiscard]] std::int64_t longest_ns() const;
  /// The time by which this share of all was back, 0 < share ≤ 1.
  [[nodiscard]] std::int64_t share_ns(double share) const;

 private:
  std::vector<std::int64_t> times_ns_;
};

}  // namespace parley::bench
