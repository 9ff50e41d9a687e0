#pragma once
/// The schema, in numbered steps. `PRAGMA user_version` is the number of the last step that was applied; each step is one
/// transaction with that number in it, so a crash leaves a database of some version, never one in between.
/// docs/store-format.md explains the tables.

#include "protocol/result.hpp"
#include "protocol/seams.hpp"
#include "store/sqlite_db.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace parley::store {

struct migration {
  std::int64_t version = 0;
  std::string_view name;
  std::string (*sql)() = nullptr;
};
/// All steps, ascending from 1 without a gap.
[[nodiscard]] std::span<const migration> migrations();
[[nodiscard]] std::int64_t newest_schema_version();

/// «Parley» in `PRAGMA application_id`: tells our files from other SQLite databases.
inline constexpr std::int64_t application_id = 0x5041524c;  // "PARL"

struct migrated {
  bool created = false;  ///< the database was empty
  std::int64_t from = 0;
  std::int64_t to = 0;
};
/// Brings the database to the newest version. Refuses a newer one, naming both versions, and a database that is not
/// ours. Throws db_exception for what SQLite refuses.
result<migrated> migrate(connection& db, const clock& now, random_source& random);

/// For those who only read: refuses any other version than the newest, and what is not ours.
result<void> require_newest_schema(connection& db);

}  // namespace parley::store
