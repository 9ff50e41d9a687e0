#pragma once
/// The embedded store: SQLite in WAL mode (DESIGN 5).

#include "protocol/result.hpp"
#include "protocol/seams.hpp"
#include "store/store.hpp"

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace parley::store {

struct sqlite_options {
  std::filesystem::path file;  ///< absolute; `-wal`, `-shm`, `.lock`, `.mark`, `.ballast` lie beside it
  store::durability durability = store::durability::full;
  std::string vfs{};  ///< tests: the name of a registered VFS; empty: the default
  std::chrono::milliseconds idempotency_ttl{std::chrono::hours{24}};
  std::optional<std::chrono::milliseconds> message_retention{};  ///< of whom nothing else is said
  std::chrono::milliseconds worker_interval{
      std::chrono::seconds{30}};  ///< between two looks for what retention removes
  std::chrono::milliseconds dead_letter_ttl{std::chrono::hours{24 * 30}};
  std::int64_t outbox_max_events =
      1'000'000;  ///< that wait for one endpoint; later ones are dropped, and counted
  std::int64_t checkpoint_pages = 1000;  ///< a piece is due from here on (DESIGN 5)
  std::int64_t wal_limit_pages = 16384;  ///< past it the reader gate closes for a RESTART
  std::size_t writer_cache_bytes = 16 * 1024 * 1024;
  std::size_t reader_cache_bytes = 2 * 1024 * 1024;
  std::size_t ballast_bytes =
      2 * 1024 * 1024;    ///< kept in `.ballast` for a start on a full disk (I10); 0: none
  std::string boot_id{};  ///< tests: instead of the machine's
};

/// Opens or creates, migrates, takes the lock, compares with the high-water mark. Errors name what to do: held by
/// another process (says by whom), from a newer version, not a database, on a network file system, not WAL. `field` is
/// `io` when the disk failed.
result<std::unique_ptr<database>> open_sqlite(const sqlite_options& options, const clock& now,
                                              random_source& random);

/// `parley verify` (SPEC 7): seq dense, index ↔ log, one key ↔ one seq, cursors ≤ last_seq, commit chain. Read-only; works
/// beside a running node, on one snapshot. `problems` empty: clean; at most 100 are listed.
struct verify_report {
  std::int64_t tenants = 0;
  std::int64_t rooms = 0;
  std::int64_t entries = 0;
  std::int64_t keys = 0;
  std::int64_t commits = 0;
  std::vector<std::string> problems;
};
result<verify_report> verify_sqlite(const std::filesystem::path& file, const std::string& vfs = {});

}  // namespace parley::store
