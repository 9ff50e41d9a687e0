#include "store/call_keys.hpp"

#include "store/write_failure.hpp"

namespace parley::store {

call_keys::call_keys(connection& db, std::chrono::milliseconds idempotency_ttl)
    : db_(db),
      idempotency_ttl_(idempotency_ttl),
      select_(db,
              "SELECT call, body, result_no FROM call_keys WHERE tenant_no = ? "
              "AND scope_no = ? AND key = ? AND created_at >= ?"),
      // OR REPLACE: one that is past its time and not yet swept.
      insert_(db,
              "INSERT "
              "OR REPLACE INTO call_keys(tenant_no, scope_no, key, call, body, "
              "result_no, created_at) VALUES(?, ?, ?, ?, ?, ?, ?)") {}

write_result<std::optional<std::int64_t>> call_keys::find(const keyed& k) {
  auto q = select_.query(k.tenant, k.scope, k.key, k.at - idempotency_ttl_);
  if (!q.next()) {
    if (q.failed()) return write_failed(db_.last_failure(), item_step::first);
    return std::optional<std::int64_t>{};
  }
  const bool same =
      q.integer(0) == static_cast<std::int64_t>(k.call) && hash128{q.bytes<16>(1)} == k.body;
  if (!same) {
    return refused(error{.code = error_code::conflict,
                         .message = "the key was used for another call",
                         .field = "idempotency_key"});
  }
  return std::optional{q.integer(2)};
}

write_result<void> call_keys::put(const keyed& k, std::int64_t made) {
  if (insert_.run(k.tenant, k.scope, k.key, k.call, k.body, made, k.at)) return {};
  return write_failed(db_.last_failure(), item_step::later);
}

}  // namespace parley::store
