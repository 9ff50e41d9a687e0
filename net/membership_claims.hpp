#pragma once
/// Calls under way that may bring users into one more room each: what `max_rooms_per_user` must count beside what is stored,
/// so that two calls at once can't both take the last place.
/// Owner      the node.
/// Threads    any; one lock for a call.
/// Relies on  a caller claims first, then asks how many rooms are stored, and lets go when its rooms are stored or refused:
///            whatever was claimed before is in `others`, or stored already when it asks.
/// Bound      the users of calls in work, which admission credit and the bodies' budget bound.

#include "protocol/ids.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace parley::net {

class membership_claims {
 public:
  /// Ends itself.
  class claim {
   public:
    claim(membership_claims& claims, tenant_no tenant, const std::vector<user_id>& users)
        : claims_(claims) {
      keys_.reserve(users.size());
      for (const auto& user : users) keys_.push_back({tenant, user});
      const std::lock_guard lock(claims_.lock_);
      for (const auto& key : keys_) others_ = std::max(others_, claims_.open_[key]++);
    }
    ~claim() {
      const std::lock_guard lock(claims_.lock_);
      for (const auto& key : keys_) {
        const auto it = claims_.open_.find(key);
        if (--it->second == 0) claims_.open_.erase(it);
      }
    }
    claim(const claim&) = delete;
    claim& operator=(const claim&) = delete;
    /// How many the busiest of the users had already.
    [[nodiscard]] std::uint32_t others() const { return others_; }

   private:
    membership_claims& claims_;
    std::vector<user_key> keys_;
    std::uint32_t others_ = 0;
  };

  membership_claims() = default;
  membership_claims(const membership_claims&) = delete;
  membership_claims& operator=(const membership_claims&) = delete;

  [[nodiscard]] std::size_t users() const {
    const std::lock_guard lock(lock_);
    return open_.size();
  }

 private:
  mutable std::mutex lock_;
  std::unordered_map<user_key, std::uint32_t> open_;
};

}  // namespace parley::net
