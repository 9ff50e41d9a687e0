#pragma once
/// What many tenants want done by one who does it, taken in turns: deficit round robin on bytes (DESIGN 3.3). However much
/// one of them has queued, the others wait for no more than a turn of each.
/// Owner      whoever holds it; not thread-safe.
/// Invariants items of one tenant come out in the order in which they went in; every tenant with items is in turns_ once.
/// Bound      none of its own: each holder says what bounds it.

#include "protocol/assert.hpp"
#include "protocol/ids.hpp"

#include <cstddef>
#include <deque>
#include <unordered_map>
#include <utility>

namespace parley::actors {

template <class Item>
class fair_queue {
 public:
  /// `turn_bytes`: of one tenant, before the next one's turn.
  explicit fair_queue(std::size_t turn_bytes) : turn_bytes_(turn_bytes) {}

  void push(tenant_no tenant, Item item, std::size_t bytes) {
    auto [it, fresh] = tenants_.try_emplace(tenant);
    if (fresh) turns_.push_back(tenant);
    it->second.items.push_back({std::move(item), bytes});
    ++size_;
  }
  /// Not when empty().
  Item pop() {
    PARLEY_ASSERT(size_ > 0);
    for (;;) {
      const auto tenant = turns_.front();
      auto& q = tenants_.at(tenant);
      if (!std::exchange(q.has_turn, true)) q.allowed += turn_bytes_;
      if (q.items.front().bytes <= q.allowed) {
        Item out = std::move(q.items.front().item);
        q.allowed -= q.items.front().bytes;
        q.items.pop_front();
        --size_;
        if (q.items.empty()) {
          // What it did not use is not kept: who comes back later waits like all others.
          turns_.pop_front();
          tenants_.erase(tenant);
        }
        return out;
      }
      q.has_turn = false;
      turns_.pop_front();
      turns_.push_back(tenant);
    }
  }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t tenants() const { return turns_.size(); }

 private:
  struct waiting {
    Item item;
    std::size_t bytes;
  };
  struct tenant_queue {
    std::deque<waiting> items;
    std::size_t allowed = 0;
    bool has_turn = false;
  };

  const std::size_t turn_bytes_;
  std::unordered_map<tenant_no, tenant_queue> tenants_;
  std::deque<tenant_no> turns_;
  std::size_t size_ = 0;
};

}  // namespace parley::actors
