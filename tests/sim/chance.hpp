#pragma once
/// Where a simulated world's chances and its time come from: one seed, so that a history can be seen again.

#include "protocol/seams.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

namespace parley::sim {

/// A promise was broken. Ends the world; the test prints its seed.
class violation : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
/// `promise` names what was broken first, as in "I3 …" or "SPEC 2.5 …".
inline void expect(bool holds, const char* promise) {
  if (!holds) throw violation{promise};
}
template <class Detail>
void expect(bool holds, const char* promise, Detail&& detail) {
  if (!holds) throw violation{std::string{promise} + ": " + std::forward<Detail>(detail)()};
}

/// SplitMix64: small, quick, good enough to find races.
class dice {
 public:
  explicit dice(std::uint64_t seed)
      : state_(seed * 0x9e3779b97f4a7c15ULL + 0x2545f4914f6cdd1dULL) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31U);
  }
  /// 0 … n−1; n > 0.
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(next() % n); }
  /// from … to, both included.
  std::size_t between(std::size_t from, std::size_t to) { return from + below(to - from + 1); }
  bool permille(unsigned chance) { return below(1000) < chance; }
  template <class Container>
  auto& one_of(Container& from) {
    return from[below(from.size())];
  }

 private:
  std::uint64_t state_;
};

class sim_random final : public random_source {
 public:
  explicit sim_random(dice& from) : dice_(from) {}
  void fill(std::span<std::uint8_t> out) override {
    for (auto& byte : out) byte = static_cast<std::uint8_t>(dice_.next());
  }

 private:
  dice& dice_;
};

class sim_clock final : public clock {
 public:
  [[nodiscard]] utc_time now() const override { return from_unix_ms(1764115200000) + passed_; }
  [[nodiscard]] mono_time mono() const override { return mono_time{passed_}; }
  void advance(std::chrono::milliseconds by) { passed_ += by; }

 private:
  std::chrono::milliseconds passed_{1000};
};

}  // namespace parley::sim
