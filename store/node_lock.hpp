#pragma once
/// One process per database (SPEC 7): an exclusive flock on `<database>.lock`, a file that nothing else uses, because
/// opening and closing the database itself would drop SQLite's locks (I6). The kernel lets go of it when the process ends,
/// however it ends; the file stays and means nothing.

#include "protocol/result.hpp"
#include "protocol/seams.hpp"

#include <filesystem>
#include <string>

namespace parley::store {

class node_lock {
 public:
  /// CONFLICT if somebody has it; the message says who, as far as he has told.
  static result<node_lock> take(const std::filesystem::path& file, utc_time now);

  node_lock(node_lock&& other) noexcept;
  node_lock& operator=(node_lock&& other) noexcept;
  ~node_lock();

 private:
  explicit node_lock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace parley::store
