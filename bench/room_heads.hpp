#pragma once
/// How far each room has come, for all load threads: the one thing about rooms that they share.
/// Threads: any may call anything after the set-up; all is atomic.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace parley::bench {

class room_heads {
 public:
  /// `names`: ids of the rooms, for messages. `tracks_last`: tell when the last reader of all threads has an entry
  /// (with one thread that is free and always told).
  explicit room_heads(std::vector<std::string> names, bool tracks_last = false)
      : names_{std::move(names)},
        rooms_(names_.size()),
        tracks_last_{tracks_last} {}

  [[nodiscard]] std::size_t count() const { return rooms_.size(); }
  [[nodiscard]] const std::string& name(std::uint32_t room) const { return names_[room]; }

  /// Set-up: one more thread has readers in this room.
  void add_thread(std::uint32_t room) {
    auto& threads = rooms_[room].threads;
    if (++threads == 2 && tracks_last_) {
      rooms_[room].passed = std::make_unique<std::atomic<std::uint32_t>[]>(window);
    }
  }

  /// Somebody saw, or was promised, this seq.
  void raise(std::uint32_t room, std::uint64_t seq) {
    auto& head = rooms_[room].head;
    std::uint64_t known = head.load(std::memory_order_relaxed);
    while (known < seq && !head.compare_exchange_weak(known, seq)) {}
  }
  [[nodiscard]] std::uint64_t head(std::uint32_t room) const { return rooms_[room].head.load(); }

  /// All readers of the calling thread have this entry. True in the thread that is the last one.
  [[nodiscard]] bool passed(std::uint32_t room, std::uint64_t seq) {
    auto& r = rooms_[room];
    if (r.threads < 2) return true;
    if (!r.passed) return false;
    // Counted upwards for ever, so a slot needs no reset; threads lie less than a window apart.
    return (r.passed[seq % window].fetch_add(1) + 1) % r.threads == 0;
  }

 private:
  static constexpr std::size_t window = 65536;
  struct room_state {
    std::atomic<std::uint64_t> head{0};
    std::uint32_t threads = 0;  // constant after the set-up
    std::unique_ptr<std::atomic<std::uint32_t>[]> passed;
  };
  std::vector<std::string> names_;
  std::vector<room_state> rooms_;
  bool tracks_last_;
};

}  // namespace parley::bench
