#pragma once
/// A small file of ours behind the same VFS as the database, so that tests can make its writes fail and forget what was
/// not synced, too. Never the database, its -wal or its -shm: those belong to SQLite alone (I6).
///
/// Owner  one thread at a time.

#include "store/sqlite_db.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

struct sqlite3_file;
struct sqlite3_vfs;

namespace parley::store {

class vfs_file {
 public:
  /// Opens, or creates. Throws db_exception.
  vfs_file(const std::string& path, const std::string& vfs);
  vfs_file(const vfs_file&) = delete;
  vfs_file& operator=(const vfs_file&) = delete;
  ~vfs_file();

  /// As many bytes as there are of `size` at `offset`. Throws db_exception (used while starting only).
  [[nodiscard]] std::string read(std::int64_t offset, std::size_t size);
  [[nodiscard]] db_result<void> write(std::int64_t offset, const std::string& bytes);
  /// All writes before are on the disk; the name of a new file, too.
  [[nodiscard]] db_result<void> sync();

 private:
  std::string path_;  // SQLite keeps a pointer to it
  std::unique_ptr<std::max_align_t[]> memory_;
  sqlite3_file* file_ = nullptr;
};

}  // namespace parley::store
