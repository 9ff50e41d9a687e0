#include "store/sqlite_db.hpp"

#include "protocol/assert.hpp"
#include "protocol/planted.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <cstring>
#include <mutex>

namespace parley::store {
namespace {

/// Once, before the first connection: allocation counters sit behind one mutex that all connections would share.
void configure_sqlite() {
  static std::once_flag once;
  std::call_once(once, [] { sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); });
}

/// How long the writer waits for a lock. Nobody else writes: only a foreign process that reads can hold one, for moments.
constexpr int busy_ms = 100;
/// Steps of SQLite's machine between two looks at the clock: about 0.3 ms.
constexpr int steps_between_looks = 5000;

}  // namespace

void throw_exception_from_error(const db_failure& f, const boost::source_location& where) {
  throw std::logic_error("value() of a failed query: " + f.text + " at " + where.to_string());
}

failure_scope scope_of(const db_failure& f) {
  switch (f.code & 0xff) {
    case SQLITE_CONSTRAINT:
    case SQLITE_TOOBIG:
    case SQLITE_MISMATCH:
      return failure_scope::item;
    case SQLITE_FULL:
      return failure_scope::full;
    case SQLITE_IOERR:
      if (f.code == SQLITE_IOERR_SHMSIZE)
        return failure_scope::full;  // the wal-index could not grow
      if (f.code == SQLITE_IOERR_NOMEM) return failure_scope::batch;
      return failure_scope::fatal;
    case SQLITE_READONLY:
      // The file was moved or deleted under us: what we would write, nobody would find.
      return f.code == SQLITE_READONLY_DBMOVED ? failure_scope::fatal : failure_scope::batch;
    default:
      return failure_scope::batch;
  }
}

bool is_corruption(const db_failure& f) {
  return (f.code & 0xff) == SQLITE_CORRUPT || (f.code & 0xff) == SQLITE_NOTADB;
}

bool may_survive_in_the_wal(const db_failure& f) {
  return (f.code & 0xff) == SQLITE_NOMEM || f.code == SQLITE_IOERR_SHMSIZE ||
         f.code == SQLITE_IOERR_NOMEM;
}

db_failure damaged(std::string text) { return {SQLITE_CORRUPT, std::move(text), true}; }

// ---------------------------------------------------------------------------------------------------------------------

statement::statement(connection& db, std::string_view sql) : db_(&db) {
  if (!prepare(sql)) throw db_exception{db.last_failure()};
}

statement::statement(connection& db, std::initializer_list<std::string_view> sql)
    : statement(db, [&] {
        std::string joined;
        for (const std::string_view part : sql) joined += part;
        return joined;
      }()) {}

statement& statement::operator=(statement&& other) noexcept {
  std::swap(stmt_, other.stmt_);
  std::swap(db_, other.db_);
  std::swap(unprepared_, other.unprepared_);
  return *this;
}

statement::~statement() { sqlite3_finalize(stmt_); }

void statement::bind(int i, std::nullptr_t) { sqlite3_bind_null(stmt_, i); }
void statement::bind(int i, std::int64_t v) { sqlite3_bind_int64(stmt_, i, v); }
void statement::bind(int i, std::string_view v) {
  // A null pointer would bind NULL; an empty text is not that.
  sqlite3_bind_text64(stmt_, i, v.data() == nullptr ? "" : v.data(), v.size(), SQLITE_STATIC,
                      SQLITE_UTF8);
}
void statement::bind(int i, blob_view v) {
  sqlite3_bind_blob64(stmt_, i, v.data == nullptr ? "" : v.data, v.size, SQLITE_STATIC);
}

bool statement::prepare(std::string_view sql) {
  const int rc = sqlite3_prepare_v3(db_->handle(), sql.data(), static_cast<int>(sql.size()),
                                    SQLITE_PREPARE_PERSISTENT, &stmt_, nullptr);
  if (rc != SQLITE_OK) db_->note_failure(rc);
  return rc == SQLITE_OK;
}

bool statement::run_bound() {
  if (stmt_ == nullptr) return false;
  const int rc = sqlite3_step(stmt_);
  if (rc == SQLITE_DONE) [[likely]] {
    sqlite3_reset(stmt_);
    return true;
  }
  PARLEY_ASSERT(rc != SQLITE_ROW);
  db_->note_failure(rc);  // before the reset: it says whether the transaction survived
  sqlite3_reset(stmt_);
  return false;
}

void statement::reset() { sqlite3_reset(stmt_); }

bool statement::rows::next() {
  if (s_->stmt_ == nullptr) {
    failed_ = true;
    return false;
  }
  const int rc = sqlite3_step(s_->stmt_);
  if (rc == SQLITE_ROW) return true;
  if (rc != SQLITE_DONE) {
    failed_ = true;
    s_->db_->note_failure(rc);
  }
  return false;
}

bool statement::rows::is_null(int column) const {
  return sqlite3_column_type(s_->stmt_, column) == SQLITE_NULL;
}
std::int64_t statement::rows::integer(int column) const {
  return sqlite3_column_int64(s_->stmt_, column);
}
std::string_view statement::rows::text(int column) const {
  const unsigned char* text = sqlite3_column_text(s_->stmt_, column);
  if (text == nullptr) return {};
  return {reinterpret_cast<const char*>(text),
          static_cast<std::size_t>(sqlite3_column_bytes(s_->stmt_, column))};
}
std::string_view statement::rows::blob(int column) const {
  const void* bytes = sqlite3_column_blob(s_->stmt_, column);
  if (bytes == nullptr) return {};
  return {static_cast<const char*>(bytes),
          static_cast<std::size_t>(sqlite3_column_bytes(s_->stmt_, column))};
}
uuid statement::rows::id(int column) const {
  uuid id;
  copy_bytes(column, id.bytes);
  return id;
}
void statement::rows::copy_bytes(int column, std::span<std::uint8_t> out) const {
  const std::string_view bytes = blob(column);
  if (bytes.size() == out.size()) std::memcpy(out.data(), bytes.data(), out.size());
}

// ---------------------------------------------------------------------------------------------------------------------

connection::connection(const connection_options& options) {
  configure_sqlite();
  const int flags =
      SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
      (options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  const int rc = sqlite3_open_v2(options.file.c_str(), &db_, flags,
                                 options.vfs.empty() ? nullptr : options.vfs.c_str());
  try {
    if (rc != SQLITE_OK) {
      note_failure(rc);
      throw db_exception{failure_};
    }
    sqlite3_busy_timeout(db_, busy_ms);
    sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(db_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
    sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
    const bool full = options.durability == durability::full;
    const char* const synchronous = planted_defect("skip_fsync") ? "OFF" : full ? "FULL" : "NORMAL";
    const std::string pragmas =
        "PRAGMA wal_autocheckpoint=0;"  // it swallows I/O errors, and only maintain() may checkpoint
        "PRAGMA mmap_size=0; PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY;"
        "PRAGMA foreign_keys=OFF; PRAGMA page_size=4096;"
        "PRAGMA secure_delete=ON;"  // what was deleted leaves the file at its next checkpoint
        "PRAGMA synchronous=" +
        std::string{synchronous} + "; PRAGMA cache_size=-" +
        std::to_string(std::max<std::size_t>(options.cache_bytes / 1024, 64));
    execute_or_throw(pragmas.c_str());
    // After wal_autocheckpoint, which sits on the same hook.
    if (!options.read_only) sqlite3_wal_hook(db_, &connection::on_wal_commit, this);
  } catch (...) {
    close();
    throw;
  }
}

connection::~connection() { close(); }

void connection::close() noexcept {
  // Fails only while statements live, and those end first (see Lifetime).
  const int rc = sqlite3_close(db_);
  db_ = nullptr;
  PARLEY_ASSERT(rc == SQLITE_OK);
}

bool connection::execute(const char* sql) {
  const int rc = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (rc == SQLITE_OK) return true;
  note_failure(rc);
  return false;
}

void connection::execute_or_throw(const char* sql) {
  if (!execute(sql)) throw db_exception{failure_};
}

std::string connection::text_or_throw(const char* sql) {
  statement s{*this, sql};
  auto q = s.query();
  std::string out;
  if (q.next()) out = q.text(0);
  if (q.failed()) throw db_exception{failure_};
  return out;
}

std::int64_t connection::integer_or_throw(const char* sql) {
  statement s{*this, sql};
  auto q = s.query();
  std::int64_t out = 0;
  if (q.next()) out = q.integer(0);
  if (q.failed()) throw db_exception{failure_};
  return out;
}

std::int64_t connection::changes() const { return sqlite3_changes64(db_); }
std::int64_t connection::total_changes() const { return sqlite3_total_changes64(db_); }
std::int64_t connection::last_insert_rowid() const { return sqlite3_last_insert_rowid(db_); }
bool connection::in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }

std::int64_t connection::database_pages() {
  sqlite3_stmt* s = nullptr;
  std::int64_t pages = 0;
  if (sqlite3_prepare_v2(db_, "PRAGMA page_count", -1, &s, nullptr) == SQLITE_OK &&
      sqlite3_step(s) == SQLITE_ROW) {
    pages = sqlite3_column_int64(s, 0);
  }
  sqlite3_finalize(s);
  return pages;
}

db_result<checkpoint_result> connection::checkpoint(checkpoint_mode mode, int busy_for_ms) {
  const int sqlite_mode = mode == checkpoint_mode::passive   ? SQLITE_CHECKPOINT_PASSIVE
                          : mode == checkpoint_mode::restart ? SQLITE_CHECKPOINT_RESTART
                                                             : SQLITE_CHECKPOINT_TRUNCATE;
  int in_wal = -1;
  int moved = -1;
  sqlite3_busy_timeout(db_, busy_for_ms);
  const int rc = sqlite3_wal_checkpoint_v2(db_, "main", sqlite_mode, &in_wal, &moved);
  if (rc != SQLITE_OK) note_failure(rc);
  sqlite3_busy_timeout(db_, busy_ms);
  if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY) return failure_;
  if (rc == SQLITE_OK && mode != checkpoint_mode::passive) wal_pages_ = 0;
  return checkpoint_result{rc != SQLITE_OK, std::max(in_wal, 0), std::max(moved, 0)};
}

void connection::set_deadline(const clock& now, mono_time deadline) {
  if (clock_ == nullptr) {
    sqlite3_progress_handler(db_, steps_between_looks, &connection::on_progress, this);
  }
  clock_ = &now;
  deadline_ = deadline;
}

void connection::clear_deadline() { deadline_ = mono_time::max(); }

int connection::on_progress(void* self) {
  const auto& c = *static_cast<connection*>(self);
  return c.deadline_ != mono_time::max() && c.clock_->mono() > c.deadline_ ? 1 : 0;
}

int connection::on_wal_commit(void* self, sqlite3*, const char*, int pages) {
  static_cast<connection*>(self)->wal_pages_ = pages;
  return SQLITE_OK;
}

void connection::note_failure(int code) {
  failure_.code = code;
  saw_corruption_ = saw_corruption_ || is_corruption(failure_);
  failure_.in_transaction = db_ != nullptr && sqlite3_get_autocommit(db_) == 0;
  // The message belongs to the last call on the handle; after a code of another call it would mislead.
  failure_.text = db_ != nullptr && sqlite3_extended_errcode(db_) == code ? sqlite3_errmsg(db_)
                                                                          : sqlite3_errstr(code);
}

}  // namespace parley::store
