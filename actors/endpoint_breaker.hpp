#pragma once
/// How many requests an endpoint gets at once, and when it is left alone (SPEC 6).
///
///   closed ── `failures` in a row, ended() ──► resting ── `rest` is over, began() ──► probing
///     ▲                                          ▲                                      │
///     │                                          └────────── it failed, ended() ────────┤
///     └───────────────────────────────────────────────────── it was good, ended() ──────┘
///
/// Of an endpoint that nobody knows one request is under way; each good answer lets twice as many be, each bad one half: so
/// those that hang never hold more of the node's requests than the others can spare, and a dead one costs few attempts.
/// Owner      the outbox; not thread-safe.

#include "protocol/seams.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace parley::actors {

class endpoint_breaker {
 public:
  struct options {
    std::uint32_t failures = 5;
    std::chrono::milliseconds rest{30'000};
    std::size_t window_max = 16;  ///< requests at once
  };
  explicit endpoint_breaker(const options& o) : options_(o) {}

  /// One more may go now, beside `under_way`.
  [[nodiscard]] bool lets_through(mono_time now, std::size_t under_way) const {
    if (!rests_until_) return under_way < window_;
    return !probing_ && now >= *rests_until_;
  }
  /// True: it is the probe, and its end decides.
  bool began() {
    if (!rests_until_) return false;
    probing_ = true;
    return true;
  }
  /// What was sent before it rested changes nothing.
  void ended(bool was_probe, bool good, mono_time now) {
    if (rests_until_) {
      if (!was_probe) return;
      probing_ = false;
      if (!good) {
        rests_until_ = now + options_.rest;
        return;
      }
      rests_until_.reset();
      window_ = 1;
    }
    if (good) {
      failures_ = 0;
      window_ = std::min(options_.window_max, window_ * 2);
      return;
    }
    window_ = std::max<std::size_t>(1, window_ / 2);
    if (++failures_ < options_.failures) return;
    failures_ = 0;
    rests_until_ = now + options_.rest;
  }
  /// Until the probe's good end.
  [[nodiscard]] bool is_open() const { return rests_until_.has_value(); }
  /// The probe may go from then on.
  [[nodiscard]] std::optional<mono_time> rests_until() const { return rests_until_; }

 private:
  options options_;
  std::size_t window_ = 1;
  std::uint32_t failures_ = 0;  ///< in a row
  std::optional<mono_time> rests_until_{};
  bool probing_ = false;
};

}  // namespace parley::actors
