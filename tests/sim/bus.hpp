#pragma once
/// The fake bus: one queue for each pair of sender and receiver, in order; which queue delivers next is left to chance,
/// and now and then one stands still for a while. So senders overtake each other, and messages may take arbitrarily long.

#include "tests/sim/chance.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace parley::sim {

enum class party : std::uint8_t { gateway, directory, storage, reader, room, session, room_log };

/// Who sends or receives. `room_log` sends what must stay in order whoever sends it: one room's publishes.
struct address {
  party who;
  std::uint64_t no = 0;
  [[nodiscard]] std::uint64_t key() const { return (static_cast<std::uint64_t>(who) << 28U) | no; }
};

class bus {
 public:
  explicit bus(dice& chance) : dice_(chance) {}

  /// `label` is shown by a trace. `deliver` looks for the receiver itself: who is gone hears nothing.
  void send(address from, address to, const char* label, std::function<void()> deliver) {
    const auto key = (from.key() << 32U) | to.key();
    const auto [it, fresh] = by_pair_.try_emplace(key, queues_.size());
    if (fresh) queues_.emplace_back();
    auto& queue = queues_[it->second];
    if (queue.waiting.empty()) ready_.push_back(it->second);
    queue.waiting.emplace_back(label, std::move(deliver));
    ++size_;
  }

  /// Delivers one message of a queue that chance picks. False: nothing waits.
  bool deliver_one() {
    if (ready_.empty()) return false;
    auto at = dice_.below(ready_.size());
    if (!hurrying_) {
      if (dice_.permille(30)) queues_[ready_[at]].stands_still_until = turn_ + dice_.below(200);
      for (int tries = 0; tries < 4 && queues_[ready_[at]].stands_still_until > turn_; ++tries) {
        at = dice_.below(ready_.size());
      }
    }
    ++turn_;
    auto& queue = queues_[ready_[at]];
    auto [label, deliver] = std::move(queue.waiting.front());
    queue.waiting.pop_front();
    if (queue.waiting.empty()) {
      ready_[at] = ready_.back();
      ready_.pop_back();
    }
    --size_;
    last_label_ = label;
    deliver();
    return true;
  }

  /// No queue stands still any more.
  void hurry(bool yes) { hurrying_ = yes; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] const char* last_label() const { return last_label_; }
  void clear() {
    queues_.clear();
    by_pair_.clear();
    ready_.clear();
    size_ = 0;
  }

 private:
  struct queue {
    std::deque<std::pair<const char*, std::function<void()>>> waiting;
    std::uint64_t stands_still_until = 0;
  };
  dice& dice_;
  std::vector<queue> queues_;
  std::unordered_map<std::uint64_t, std::size_t> by_pair_;
  std::vector<std::size_t> ready_;
  std::size_t size_ = 0;
  std::uint64_t turn_ = 0;
  bool hurrying_ = false;
  const char* last_label_ = "";
};

}  // namespace parley::sim
