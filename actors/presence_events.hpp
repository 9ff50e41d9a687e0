#pragma once
/// user.online and user.offline on their way to the outbox (SPEC 6: best effort, without flapping): gathered for a moment, in
/// which coming and going of the same user cancel each other out.
/// Owner      the outbox; not thread-safe. No clock, no I/O.
/// Bound      ≤ `max` wait, those being stored included; beyond, they are dropped and counted.

#include "actors/messages.hpp"
#include "protocol/seams.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

namespace parley::actors {

class presence_events {
 public:
  explicit presence_events(std::size_t max) : max_(max) {}

  void on(const user_presence& m, mono_time now);
  /// At most `max_rows` of what has waited long enough, to be stored: then stored() or lost() has to come.
  std::optional<std::vector<store::outbox_row>> take(mono_time now, std::size_t max_rows);
  void stored() { taken_.clear(); }
  /// They are to be stored again.
  void lost() { again_ = true; }

  [[nodiscard]] bool empty() const { return waiting_.empty() && taken_.empty(); }
  [[nodiscard]] std::size_t size() const { return waiting_.size() + taken_.size(); }
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }

 private:
  const std::size_t max_;
  std::unordered_map<user_key, user_presence> waiting_;
  mono_time since_{};  ///< of the first of those
  std::vector<store::outbox_row> taken_;
  bool again_ = false;
  std::uint64_t dropped_ = 0;
};

}  // namespace parley::actors
