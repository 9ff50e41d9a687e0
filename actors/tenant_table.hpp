#pragma once
/// The tenants that somebody has asked for, as their owners have last shown them: gateways read here without asking.
/// Derived (I9).
/// Owner      each tenant_actor sets its own tenant's entry.
/// Threads    any may read: one shared lock for one look-up.
/// Bound      one entry a tenant of the database that was ever named by a valid credential: the operator's number.

#include "actors/messages.hpp"

#include <cstddef>
#include <cstring>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

namespace parley::actors {

class tenant_table {
 public:
  tenant_table() = default;
  tenant_table(const tenant_table&) = delete;
  tenant_table& operator=(const tenant_table&) = delete;

  /// Replaces what is there, unless that is newer. Names that the tenant has no more are forgotten.
  void set(const tenant_snapshot_ptr& now) {
    const std::unique_lock lock(mutex_);
    auto& held = by_no_[now->no];
    if (held != nullptr) {
      if (held->revision > now->revision) return;
      for (const auto& key : held->api_keys) by_digest_.erase(key.digest);
      for (const auto& key : held->jwt_keys) by_key_.erase(key.id);
    }
    held = now;
    by_id_.insert_or_assign(now->id, now->no);
    for (const auto& key : now->api_keys) by_digest_.insert_or_assign(key.digest, now->no);
    for (const auto& key : now->jwt_keys) by_key_.insert_or_assign(key.id, now->no);
  }
  /// nullptr: not known here.
  [[nodiscard]] tenant_snapshot_ptr find(const tenant_name& name) const {
    const std::shared_lock lock(mutex_);
    const auto of = [&](const auto& map, const auto& key) -> tenant_snapshot_ptr {
      const auto it = map.find(key);
      return it == map.end() ? nullptr : by_no_.at(it->second);
    };
    if (const auto* digest = std::get_if<sha256_digest>(&name)) return of(by_digest_, *digest);
    if (const auto* id = std::get_if<tenant_id>(&name)) return of(by_id_, *id);
    return of(by_key_, std::get<key_id>(name));
  }
  [[nodiscard]] tenant_snapshot_ptr find(tenant_no no) const {
    const std::shared_lock lock(mutex_);
    const auto it = by_no_.find(no);
    return it == by_no_.end() ? nullptr : it->second;
  }
  /// `take(const tenant_snapshot_ptr&)` for each, in no order; may not call back into the table.
  template <class F>
  void for_each(F&& take) const {
    const std::shared_lock lock(mutex_);
    for (const auto& [no, snapshot] : by_no_) take(snapshot);
  }
  [[nodiscard]] std::size_t size() const {
    const std::shared_lock lock(mutex_);
    return by_no_.size();
  }

 private:
  struct digest_hash {
    std::size_t operator()(const sha256_digest& d) const {
      std::size_t out = 0;
      std::memcpy(&out, d.data(), sizeof out);
      return out;
    }
  };

  mutable std::shared_mutex mutex_;
  std::unordered_map<tenant_no, tenant_snapshot_ptr> by_no_;
  std::unordered_map<sha256_digest, tenant_no, digest_hash> by_digest_;
  std::unordered_map<tenant_id, tenant_no> by_id_;
  std::unordered_map<key_id, tenant_no> by_key_;
};

}  // namespace parley::actors
