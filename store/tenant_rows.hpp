#pragma once
/// A tenant's stored form, with its credentials: read the same way by the writer and by readers.

#include "store/sqlite_db.hpp"
#include "store/store.hpp"

#include <optional>
#include <string_view>
#include <vector>

namespace parley::store {

/// The columns that tenant_decoder reads, of a row `t` of `tenants`.
inline constexpr std::string_view tenant_columns =
    "t.tenant_no, t.tenant_id, t.name, t.config, t.disabled, t.deleted_at, t.revision, "
    "t.created_at";

class tenant_decoder {
 public:
  /// Throws db_exception.
  explicit tenant_decoder(connection& db);
  /// The next row, whose columns start at 0 with tenant_columns; nullopt: there is none.
  db_result<std::optional<tenant_row>> next(statement::rows& row);

 private:
  db_result<std::vector<credential_row>> credentials_of(tenant_no tenant);

  connection& db_;
  statement credentials_;
};

}  // namespace parley::store
