#include "store/vfs_file.hpp"

#include <sqlite3.h>

#include <algorithm>

namespace parley::store {
namespace {

db_failure failure(int code) { return {code, sqlite3_errstr(code), false}; }

}  // namespace

vfs_file::vfs_file(const std::string& path, const std::string& vfs) : path_(path) {
  path_.append(4, '\0');  // SQLite looks for parameters behind the name
  sqlite3_vfs* const v = sqlite3_vfs_find(vfs.empty() ? nullptr : vfs.c_str());
  if (v == nullptr) throw db_exception{failure(SQLITE_CANTOPEN)};
  const auto size = static_cast<std::size_t>(v->szOsFile);
  memory_ = std::make_unique<std::max_align_t[]>(size / sizeof(std::max_align_t) + 1);
  file_ = reinterpret_cast<sqlite3_file*>(memory_.get());
  // Any type but those of a database's own files: no locks and no names derived from it. And as a journal, its first
  // sync makes the directory entry durable.
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_SUPER_JOURNAL;
  const int rc = v->xOpen(v, path_.c_str(), file_, flags, nullptr);
  if (rc != SQLITE_OK) {
    if (file_->pMethods != nullptr) file_->pMethods->xClose(file_);
    throw db_exception{failure(rc)};
  }
}

vfs_file::~vfs_file() { file_->pMethods->xClose(file_); }

std::string vfs_file::read(std::int64_t offset, std::size_t size) {
  sqlite3_int64 end = 0;
  if (const int rc = file_->pMethods->xFileSize(file_, &end); rc != SQLITE_OK) {
    throw db_exception{failure(rc)};
  }
  std::string out(size, '\0');
  if (offset >= end) return {};
  out.resize(std::min(size, static_cast<std::size_t>(end - offset)));
  const int rc = file_->pMethods->xRead(file_, out.data(), static_cast<int>(out.size()), offset);
  if (rc != SQLITE_OK) throw db_exception{failure(rc)};
  return out;
}

db_result<void> vfs_file::write(std::int64_t offset, const std::string& bytes) {
  const int rc = file_->pMethods->xWrite(file_, bytes.data(), static_cast<int>(bytes.size()), offset);
  if (rc != SQLITE_OK) return failure(rc);
  return {};
}

db_result<void> vfs_file::sync() {
  const int rc = file_->pMethods->xSync(file_, SQLITE_SYNC_NORMAL);
  if (rc != SQLITE_OK) return failure(rc);
  return {};
}

}  // namespace parley::store
