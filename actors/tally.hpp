#pragma once
/// Counts for /metrics that cost the hot path what a plain number costs: a load and a store, no locked instruction and no
/// cache line that several threads write. Each has one owner that moves it; any thread reads it.
/// Threads    moved by one thread at a time, read by any.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace parley::actors {

class tally {
 public:
  tally() = default;
  tally(const tally& other) : value_(other.value()) {}
  tally& operator=(const tally& other) { return *this = other.value(); }
  tally& operator=(std::uint64_t value) {
    value_.store(value, std::memory_order_relaxed);
    return *this;
  }
  ~tally() = default;

  tally& operator++() { return *this += 1; }
  tally& operator--() { return *this -= 1; }
  tally& operator+=(std::uint64_t n) { return *this = value() + n; }
  tally& operator-=(std::uint64_t n) { return *this = value() - n; }

  [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }
  // NOLINTNEXTLINE(google-explicit-constructor): it is a number to whoever reads it.
  operator std::uint64_t() const { return value(); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// How often a value fell into which range. Of whole numbers: nanoseconds, rows.
class histogram {
 public:
  static constexpr std::size_t bounds_max = 16;

  /// `bounds`: the upper end of each range, included; ascending, at most bounds_max, and they outlive it.
  explicit histogram(std::span<const std::uint64_t> bounds)
      : bounds_(bounds.first(bounds.size() < bounds_max ? bounds.size() : bounds_max)) {}

  void observe(std::uint64_t value) {
    std::size_t at = 0;
    while (at < bounds_.size() && value > bounds_[at]) ++at;
    ++counts_[at];
    sum_ += value;
  }

  [[nodiscard]] std::span<const std::uint64_t> bounds() const { return bounds_; }
  /// Of the range that ends at bounds()[at]; at == bounds().size(): of all that is beyond.
  [[nodiscard]] std::uint64_t count_in(std::size_t at) const { return counts_[at]; }
  [[nodiscard]] std::uint64_t count() const {
    std::uint64_t all = 0;
    for (std::size_t at = 0; at <= bounds_.size(); ++at) all += counts_[at];
    return all;
  }
  [[nodiscard]] std::uint64_t sum() const { return sum_; }

 private:
  std::span<const std::uint64_t> bounds_;
  std::array<tally, bounds_max + 1> counts_{};
  tally sum_;
};

/// From 100 µs, below which nothing here is slow, to 10 s, where every deadline has come.
inline constexpr std::array<std::uint64_t, 16> latency_bounds_ns{
    100'000,       250'000,       500'000,       1'000'000,     2'500'000,   5'000'000,
    10'000'000,    25'000'000,    50'000'000,    100'000'000,   250'000'000, 500'000'000,
    1'000'000'000, 2'500'000'000, 5'000'000'000, 10'000'000'000};
/// Up to limits::commit_max_rows.
inline constexpr std::array<std::uint64_t, 13> row_bounds{1,   2,   4,   8,    16,   32,  64,
                                                          128, 256, 512, 1024, 2048, 4096};

}  // namespace parley::actors
