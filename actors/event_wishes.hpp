#pragma once
/// Which tenants want to hear of their users' presence (`user.online`, `user.offline` in `webhook_events`): so that nothing
/// is sent where nobody asks.
/// Threads    any; the outbox writes.

#include "protocol/ids.hpp"

#include <atomic>
#include <mutex>
#include <unordered_set>

namespace parley::actors {

class event_wishes {
 public:
  void set(tenant_no tenant, bool wants) {
    const std::lock_guard lock(mutex_);
    if (wants) {
      tenants_.insert(tenant);
    } else {
      tenants_.erase(tenant);
    }
    any_.store(!tenants_.empty(), std::memory_order_relaxed);
  }
  [[nodiscard]] bool wants_presence(tenant_no tenant) const {
    if (!any_.load(std::memory_order_relaxed)) return false;
    const std::lock_guard lock(mutex_);
    return tenants_.count(tenant) != 0;
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_set<tenant_no> tenants_;
  std::atomic<bool> any_{false};
};

}  // namespace parley::actors
