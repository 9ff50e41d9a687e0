#pragma once
/// SQLite's connection and statements as values that clean up after themselves, and the only place that knows SQLite's
/// codes: what they mean for a write is decided in scope_of(), once.
///
/// Owner      a connection and its statements: one thread at a time (SQLITE_OPEN_NOMUTEX).
/// Relies on  the rules of DESIGN 5, set in open(): no automatic checkpoint, none on close, no memory map, WAL.
/// Lifetime   statements end before their connection.

#include "protocol/entry.hpp"
#include "protocol/ids.hpp"
#include "protocol/seams.hpp"
#include "store/store.hpp"

#include <boost/system/result.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

struct sqlite3;
struct sqlite3_stmt;

namespace parley::store {

/// Something that SQLite refused: its extended code, its words, and whether a transaction was still open after it.
/// No aggregate: in C++20 that could be made of an int alone, and no result<int> could be told from a failure.
struct db_failure {
  int code = 0;
  std::string text;
  bool in_transaction = false;

  db_failure() = default;
  db_failure(int c, std::string words, bool open)
      : code(c),
        text(std::move(words)),
        in_transaction(open) {}
};
[[noreturn]] void throw_exception_from_error(const db_failure& f,
                                             const boost::source_location& where);
template <class T>
using db_result = boost::system::result<T, db_failure>;

/// While starting, failures travel as this; open_sqlite() and verify_sqlite() catch it.
class db_exception : public std::runtime_error {
 public:
  explicit db_exception(db_failure f) : std::runtime_error(f.text), failure_(std::move(f)) {}
  [[nodiscard]] const db_failure& failure() const { return failure_; }

 private:
  db_failure failure_;
};

/// How far a failure of the *writer* reaches, by its code alone (DESIGN 3.3, I10):
/// constraint → item; no memory, busy, interrupted, damaged → batch; no space → full; any other I/O error → fatal.
[[nodiscard]] failure_scope scope_of(const db_failure& f);
/// The file is damaged, or is no database: for health and for the operator, never to be repaired by us.
[[nodiscard]] bool is_corruption(const db_failure& f);
/// At COMMIT these may come after the commit frame was written (walIndexAppend): the transaction is undone in this process,
/// but a recovery would find it, unless its frames are overwritten first.
[[nodiscard]] bool may_survive_in_the_wal(const db_failure& f);
/// What a row says that cannot be: reported like damage found by SQLite itself.
[[nodiscard]] db_failure damaged(std::string text);

/// Bytes, as opposed to text.
struct blob_view {
  const void* data = nullptr;
  std::size_t size = 0;
};
template <std::size_t N>
blob_view blob_of(const std::array<std::uint8_t, N>& bytes) {
  return {bytes.data(), N};
}

class connection;

/// SQL that is prepared when its statement is first run: for what is seldom asked, and no start should wait for. What
/// preparing it fails with is what running it fails with.
struct lazily {
  std::string sql;
};

/// One prepared statement, kept and used again.
class statement {
 public:
  statement() = default;
  /// Throws db_exception.
  statement(connection& db, std::string_view sql);
  statement(connection& db, lazily later) : db_(&db), unprepared_(std::move(later.sql)) {}
  /// The parts, one after the other.
  statement(connection& db, std::initializer_list<std::string_view> sql);
  statement(statement&& other) noexcept
      : stmt_(std::exchange(other.stmt_, nullptr)),
        db_(std::exchange(other.db_, nullptr)),
        unprepared_(std::move(other.unprepared_)) {}
  statement& operator=(statement&& other) noexcept;
  ~statement();

  /// Binds all parameters in order and runs the statement to its end. It returns no rows.
  template <class... Args>
  [[nodiscard]] bool run(const Args&... args) {
    bind_all(args...);
    return run_bound();
  }

  /// One execution that returns rows: `for (auto q = s.query(…); q.next();)`, then ask failed().
  class rows {
   public:
    explicit rows(statement& s) : s_(&s) {}
    rows(const rows&) = delete;
    rows& operator=(const rows&) = delete;
    ~rows() { s_->reset(); }

    /// True: there is a row. False: the end, or failed().
    [[nodiscard]] bool next();
    [[nodiscard]] bool failed() const { return failed_; }

    [[nodiscard]] bool is_null(int column) const;
    [[nodiscard]] std::int64_t integer(int column) const;
    /// Good until the next call of next() or the end of the rows.
    [[nodiscard]] std::string_view text(int column) const;
    [[nodiscard]] std::string_view blob(int column) const;
    template <class Number>
    [[nodiscard]] Number number(int column) const {
      return Number{static_cast<typename Number::rep>(integer(column))};
    }
    [[nodiscard]] utc_time time(int column) const { return from_unix_ms(integer(column)); }
    [[nodiscard]] std::optional<utc_time> optional_time(int column) const {
      if (is_null(column)) return std::nullopt;
      return time(column);
    }
    /// A UUID of 16 bytes; anything else reads as nil.
    [[nodiscard]] uuid id(int column) const;
    template <std::size_t N>
    [[nodiscard]] std::array<std::uint8_t, N> bytes(int column) const {
      std::array<std::uint8_t, N> out{};
      copy_bytes(column, out);
      return out;
    }

   private:
    void copy_bytes(int column, std::span<std::uint8_t> out) const;

    statement* s_;
    bool failed_ = false;
  };
  /// Binds all parameters in order. What is bound must outlive the rows.
  template <class... Args>
  [[nodiscard]] rows query(const Args&... args) {
    bind_all(args...);
    return rows{*this};
  }

 private:
  template <class... Args>
  void bind_all(const Args&... args) {
    if (stmt_ == nullptr && !prepare(unprepared_)) return;
    int i = 0;
    (bind(++i, args), ...);
  }
  void bind(int i, std::nullptr_t);
  void bind(int i, std::int64_t v);
  void bind(int i, std::string_view v);
  void bind(int i, blob_view v);
  void bind(int i, const char* v) { bind(i, std::string_view{v}); }
  void bind(int i, const std::string& v) { bind(i, std::string_view{v}); }
  void bind(int i, const uuid& v) { bind(i, blob_of(v.bytes)); }
  void bind(int i, const room_id& v) { bind(i, v.id); }
  void bind(int i, const message_id& v) { bind(i, v.id); }
  void bind(int i, const hash128& v) { bind(i, blob_of(v.bytes)); }
  void bind(int i, utc_time v) { bind(i, to_unix_ms(v)); }
  /// Minified JSON; empty is null.
  void bind(int i, const json_text& v) {
    if (v.empty()) return bind(i, nullptr);
    bind(i, v.view());
  }
  template <class T>
  requires std::is_integral_v<T> || std::is_enum_v<T>
  void bind(int i, T v) { bind(i, static_cast<std::int64_t>(v)); }
  template <class Tag>
  void bind(int i, strong_int<Tag> v) {
    bind(i, v.value);
  }
  template <class T>
  void bind(int i, const std::optional<T>& v) {
    if (!v) return bind(i, nullptr);
    bind(i, *v);
  }

  [[nodiscard]] bool prepare(std::string_view sql);
  [[nodiscard]] bool run_bound();
  void reset();

  sqlite3_stmt* stmt_ = nullptr;
  connection* db_ = nullptr;
  std::string unprepared_;
};

struct connection_options {
  std::string file;
  std::string vfs{};  ///< empty: the default
  bool read_only = false;
  std::size_t cache_bytes = 2 * 1024 * 1024;
  store::durability durability = store::durability::full;
};

/// What a checkpoint did (sqlite3_wal_checkpoint_v2).
struct checkpoint_result {
  bool busy = false;             ///< somebody stood in the way; what could be moved was
  std::int64_t wal_pages = 0;    ///< frames in the WAL
  std::int64_t moved_pages = 0;  ///< of them, those that are in the database file now
};
enum class checkpoint_mode : std::uint8_t { passive, restart, truncate };

class connection {
 public:
  /// Opens, and creates unless `read_only`; sets the pragmas of DESIGN 5 but for the journal mode. Throws db_exception.
  explicit connection(const connection_options& options);
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;
  ~connection();

  /// Runs one or several statements without parameters, dropping rows.
  [[nodiscard]] bool execute(const char* sql);
  /// The same while starting. Throws db_exception.
  void execute_or_throw(const char* sql);
  /// The first column of the first row, as text, while starting; empty: no row. Throws db_exception.
  [[nodiscard]] std::string text_or_throw(const char* sql);
  [[nodiscard]] std::int64_t integer_or_throw(const char* sql);

  /// The failure that the last false, or the last failed rows, stood for.
  [[nodiscard]] const db_failure& last_failure() const { return failure_; }
  /// Rows that the last INSERT, UPDATE or DELETE changed.
  [[nodiscard]] std::int64_t changes() const;
  /// Rows changed since the connection was opened.
  [[nodiscard]] std::int64_t total_changes() const;
  [[nodiscard]] std::int64_t last_insert_rowid() const;
  [[nodiscard]] bool in_transaction() const;
  /// Pages of the database as this connection sees it; 0: can't say.
  [[nodiscard]] std::int64_t database_pages();
  /// SQLite has found the file damaged, at least once.
  [[nodiscard]] bool saw_corruption() const { return saw_corruption_; }

  /// Frames in the WAL after the last commit of this connection; 0 before the first, and when the WAL starts over.
  [[nodiscard]] std::int64_t wal_pages() const { return wal_pages_; }
  /// `busy_for`: how long to wait for others (never needed for passive).
  [[nodiscard]] db_result<checkpoint_result> checkpoint(checkpoint_mode mode, int busy_for_ms);

  /// Interrupts a statement that is still running at `deadline`; checked every few thousand steps of SQLite's machine.
  void set_deadline(const clock& now, mono_time deadline);
  void clear_deadline();

  [[nodiscard]] sqlite3* handle() { return db_; }
  void note_failure(int code);

 private:
  static int on_wal_commit(void* self, sqlite3* db, const char* name, int pages);
  static int on_progress(void* self);
  void close() noexcept;

  sqlite3* db_ = nullptr;
  db_failure failure_;
  std::int64_t wal_pages_ = 0;
  bool saw_corruption_ = false;
  const clock* clock_ = nullptr;
  mono_time deadline_{};
};

/// BEGIN … COMMIT round some statements; rolled back unless committed.
class transaction {
 public:
  explicit transaction(connection& db) : db_(db) {}
  transaction(const transaction&) = delete;
  transaction& operator=(const transaction&) = delete;
  ~transaction() {
    if (db_.in_transaction()) static_cast<void>(db_.execute("ROLLBACK"));
  }
  [[nodiscard]] bool begin() { return db_.execute("BEGIN IMMEDIATE"); }
  [[nodiscard]] bool commit() { return db_.execute("COMMIT"); }

 private:
  connection& db_;
};

}  // namespace parley::store
