#pragma once
/// One active tenant: its configuration, credentials and its share of the node's budget, shown to gateways as an
/// immutable snapshot. No CAF, no clock, no I/O.
/// Owner      one tenant_actor; not thread-safe.

#include "actors/messages.hpp"
#include "protocol/hash.hpp"

#include <memory>
#include <string>

namespace parley::actors {

struct tenant_options {
  std::size_t admission_rows =
      limits::admission_max_rows / 2;  ///< a tenant alone can't take the node's whole budget
  std::size_t admission_bytes = limits::admission_max_bytes / 2;
  secret_key sealing_key{};  ///< opens its JWT secrets
};

class tenant {
 public:
  /// `before`: what an earlier owner has shown last; what is counted goes on. nullptr: none.
  tenant(const tenant_options& options, const tenant_snapshot_ptr& before);

  /// What the database said. A row that was read before a change that is known here already changes nothing. True:
  /// snapshot() is a new one.
  bool on(const store::tenant_row& row);
  /// Never nullptr after the first row.
  [[nodiscard]] const tenant_snapshot_ptr& snapshot() const { return snapshot_; }

 private:
  const secret_key sealing_key_;
  std::shared_ptr<admission> budget_;
  std::shared_ptr<tenant_meters> meters_;
  tenant_snapshot_ptr snapshot_;
};

}  // namespace parley::actors
