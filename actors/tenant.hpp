#pragma once
/// One active tenant: its configuration and its share of the node's budget, shown to gateways as an immutable snapshot.
/// No CAF, no clock, no I/O.
/// Owner      one tenant_actor; not thread-safe.

#include "actors/messages.hpp"

#include <memory>
#include <string>

namespace parley::actors {

struct tenant_options {
  std::size_t admission_rows =
      limits::admission_max_rows / 2;  ///< a tenant alone can't take the node's whole budget
  std::size_t admission_bytes = limits::admission_max_bytes / 2;
};

class tenant {
 public:
  explicit tenant(const tenant_options& options);
  /// What the database says now; the answer to who asked. nullptr in it: disabled, like no such key.
  authenticated_ptr on(const tenant_loaded& m);

 private:
  std::shared_ptr<admission> budget_;
  tenant_snapshot_ptr snapshot_;
};

/// The keys of a tenant's config that a gateway needs; anything else, or a damaged text, is as if not given.
[[nodiscard]] std::optional<std::uint32_t> config_max_connections_per_user(const std::string& config);

}  // namespace parley::actors
