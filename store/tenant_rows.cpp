#include "store/tenant_rows.hpp"

namespace parley::store {

tenant_decoder::tenant_decoder(connection& db)
    : db_(db),
      credentials_(db,
                   "SELECT key_id, kind, created_at, last_used_at, sealed, sha256 FROM credentials "
                   "WHERE tenant_no = ? ORDER BY created_at, key_id") {}

db_result<std::optional<tenant_row>> tenant_decoder::next(statement::rows& row) {
  if (!row.next()) {
    if (row.failed()) return db_.last_failure();
    return std::optional<tenant_row>{};
  }
  tenant_row out;
  out.no = row.number<tenant_no>(0);
  out.id = tenant_id{row.text(1)};
  out.name = row.text(2);
  out.config = row.text(3);
  out.disabled = row.integer(4) != 0;
  out.deleted = !row.is_null(5);
  out.revision = row.integer(6);
  out.created_at = row.time(7);
  auto credentials = credentials_of(out.no);
  if (!credentials) return credentials.error();
  out.credentials = std::move(*credentials);
  return std::optional{std::move(out)};
}

db_result<std::vector<credential_row>> tenant_decoder::credentials_of(tenant_no tenant) {
  std::vector<credential_row> out;
  auto q = credentials_.query(tenant);
  while (q.next()) {
    credential_row c{.id = key_id{q.text(0)},
                     .kind = std::string{q.text(1)},
                     .created_at = q.time(2),
                     .last_used_at = q.optional_time(3),
                     .sealed = std::string{q.blob(4)}};
    if (!q.is_null(5)) c.digest = q.bytes<32>(5);
    out.push_back(std::move(c));
  }
  if (q.failed()) return db_.last_failure();
  return out;
}

}  // namespace parley::store
