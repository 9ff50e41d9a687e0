#pragma once
/// Retry keys of calls without a room (SPEC 2.4): which call a key was used for, and what came of it.
///
/// Owner  the writer, inside its transaction. A key past `idempotency_ttl` and not yet swept counts as absent.

#include "protocol/hash.hpp"
#include "protocol/ids.hpp"
#include "protocol/seams.hpp"
#include "store/sqlite_db.hpp"
#include "store/store.hpp"

#include <chrono>
#include <cstdint>
#include <optional>

namespace parley::store {

/// One call with its key. `scope`: who calls; backend_no is the backend itself.
struct keyed {
  tenant_no tenant;
  user_no scope;
  keyed_call call = keyed_call::create_room;
  hash128 key;
  hash128 body;
  utc_time at{};
};

class call_keys {
 public:
  /// Throws db_exception.
  call_keys(connection& db, std::chrono::milliseconds idempotency_ttl);

  /// The number of what the first call made; nullopt: it is new. Used for something else: CONFLICT.
  write_result<std::optional<std::int64_t>> find(const keyed& k);
  write_result<void> put(const keyed& k, std::int64_t made);

 private:
  connection& db_;
  std::chrono::milliseconds idempotency_ttl_;
  statement select_;
  statement insert_;
};

}  // namespace parley::store
