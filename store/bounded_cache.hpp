#pragma once
/// A map that forgets: holds at most about `max_entries`, the ones used least recently go first.
///
/// Two generations instead of a list: what is used moves to the young one; when that holds half of the bound, the old one
/// is dropped as a whole and the young one becomes old. One hash look-up a hit, and no links to keep.
/// Owner  whoever holds it; not thread-safe.
/// Bound  `max_entries`, and at least two.

#include <algorithm>
#include <cstddef>
#include <functional>
#include <unordered_map>
#include <utility>

namespace parley::store {

template <class Key, class Value, class Hash = std::hash<Key>, class Equal = std::equal_to<Key>>
class bounded_cache {
 public:
  explicit bounded_cache(std::size_t max_entries)
      : generation_max_(std::max<std::size_t>(max_entries / 2, 1)) {}

  /// Null: not here. The pointer is good until the next call of find(), put(), erase() or clear().
  template <class Query>
  Value* find(const Query& key) {
    if (auto young = young_.find(key); young != young_.end()) return &young->second;
    const auto old = old_.find(key);
    if (old == old_.end()) return nullptr;
    auto node = old_.extract(old);  // before make_room(), which may drop the old generation
    make_room();
    return &young_.insert(std::move(node)).position->second;
  }

  /// Adds or replaces. The reference is good as long as find()'s.
  Value& put(Key key, Value value) {
    if (Value* known = find(key)) return *known = std::move(value);
    make_room();
    return young_.emplace(std::move(key), std::move(value)).first->second;
  }

  template <class Query>
  void erase(const Query& key) {
    if (auto young = young_.find(key); young != young_.end()) young_.erase(young);
    if (auto old = old_.find(key); old != old_.end()) old_.erase(old);
  }

  void clear() {
    young_.clear();
    old_.clear();
  }

  [[nodiscard]] std::size_t size() const { return young_.size() + old_.size(); }

 private:
  using generation = std::unordered_map<Key, Value, Hash, Equal>;

  void make_room() {
    if (young_.size() < generation_max_) return;
    old_ = std::move(young_);
    young_ = generation{};
  }

  std::size_t generation_max_;
  generation young_;
  generation old_;
};

}  // namespace parley::store
