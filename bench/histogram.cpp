#include "bench/histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace parley::bench {

// Values below `steps` have a bucket each. Above, the highest bit names the row, and the `step_bits` bits after it the
// bucket in the row.
std::size_t histogram::bucket_of(std::uint64_t value) {
  if (value < steps) return value;
  const unsigned shift = static_cast<unsigned>(std::bit_width(value)) - 1 - step_bits;
  return (shift + 1) * steps + ((value >> shift) & (steps - 1));
}

std::uint64_t histogram::end_of(std::size_t bucket) {
  if (bucket < steps) return bucket;
  const auto shift = bucket / steps - 1;
  return ((steps + bucket % steps + 1) << shift) - 1;
}

void histogram::record(std::int64_t value_ns) {
  constexpr std::int64_t greatest = (std::int64_t{1} << value_bits) - 1;
  const std::int64_t value = std::clamp<std::int64_t>(value_ns, 0, greatest);
  ++counts_[bucket_of(static_cast<std::uint64_t>(value))];
  ++count_;
  min_ns_ = std::min(min_ns_, value);
  max_ns_ = std::max(max_ns_, value);
  sum_ns_ += static_cast<double>(value);
}

void histogram::add(const histogram& other) {
  for (std::size_t i = 0; i < buckets; ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  min_ns_ = std::min(min_ns_, other.min_ns_);
  max_ns_ = std::max(max_ns_, other.max_ns_);
  sum_ns_ += other.sum_ns_;
}

double histogram::mean_ns() const {
  return count_ == 0 ? 0 : sum_ns_ / static_cast<double>(count_);
}

std::int64_t histogram::percentile_ns(double percent) const {
  if (count_ == 0) return 0;
  const double share = std::clamp(percent, 0.0, 100.0) / 100;
  const auto rank = std::max<std::uint64_t>(
      1, static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_))));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < buckets; ++i) {
    seen += counts_[i];
    if (seen >= rank) return std::min(static_cast<std::int64_t>(end_of(i)), max_ns_);
  }
  return max_ns_;
}

}  // namespace parley::bench
