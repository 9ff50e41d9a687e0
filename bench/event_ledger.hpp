#pragma once
/// What a webhook endpoint was told, held against what is promised: of each room every message, in order, at least once.
/// Rooms count from their first entry. Pure.

#include "bench/faults.hpp"
#include "bench/histogram.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace parley::bench {

class event_ledger {
 public:
  /// The body of one request, which arrived at this moment of the wall clock.
  void take(std::string_view body, std::int64_t unix_ns);

  [[nodiscard]] std::uint64_t messages() const { return messages_; }  ///< each once
  [[nodiscard]] std::uint64_t repeats() const { return repeats_; }  ///< which are the node's right
  [[nodiscard]] std::uint64_t others() const { return others_; }    ///< not `message.created`
  /// From `created_at`, in whole milliseconds, which is just before the commit.
  [[nodiscard]] const histogram& lags() const { return lags_; }
  [[nodiscard]] const fault_log& faults() const { return faults_; }
  /// Lags count anew from here.
  void begin_lags() { lags_ = {}; }

 private:
  struct text_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>{}(text);
    }
  };

  std::unordered_map<std::string, std::uint64_t, text_hash, std::equal_to<>> last_seqs_;  // by room
  std::uint64_t messages_ = 0;
  std::uint64_t repeats_ = 0;
  std::uint64_t others_ = 0;
  histogram lags_;
  fault_log faults_;
};

/// `2026-11-26T09:42:36.123Z` as nanoseconds since 1970.
[[nodiscard]] std::optional<std::int64_t> unix_ns_of(std::string_view rfc3339);

}  // namespace parley::bench
