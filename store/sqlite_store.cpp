#include "store/sqlite_store.hpp"

#include "store/data_dir.hpp"
#include "store/high_water_mark.hpp"
#include "store/migrations.hpp"
#include "store/node_lock.hpp"
#include "store/reader_gate.hpp"
#include "store/sqlite_db.hpp"
#include "store/sqlite_reader.hpp"
#include "store/sqlite_writer.hpp"

#include <sys/stat.h>

#include <algorithm>

namespace parley::store {
namespace {

/// After an end that was not clean, some ids may have been given out and not committed. Skipping so many, more than one
/// process could have had in transactions that failed, they are not given again.
constexpr std::int64_t ids_skipped_after_crash = 1 << 20;

std::filesystem::path beside(const std::filesystem::path& file, const char* suffix) {
  return std::filesystem::path{file.string() + suffix};
}

error could_not_open(const std::filesystem::path& file, const db_failure& f) {
  std::string message = "can't open the database " + file.string() + ": " + f.text;
  if (is_corruption(f)) message += "; restore a backup, and keep the damaged file";
  // The field tells the caller an I/O error from the rest: it has an exit status of its own (SPEC 7).
  const char* const field = scope_of(f) == failure_scope::fatal ? "io" : "file";
  return {.code = error_code::unavailable, .message = std::move(message), .field = field};
}

connection_options writer_options(const sqlite_options& o) {
  return {.file = o.file.string(),
          .vfs = o.vfs,
          .read_only = false,
          .cache_bytes = o.writer_cache_bytes,
          .durability = o.durability};
}
connection_options reader_options(const sqlite_options& o) {
  return {.file = o.file.string(),
          .vfs = o.vfs,
          .read_only = true,
          .cache_bytes = o.reader_cache_bytes,
          .durability = o.durability};
}

/// A file whose -wal and -shm take its mode from it: to be called before there is one.
void keep_to_ourselves(const std::filesystem::path& file) {
  struct stat s {};
  if (stat(file.c_str(), &s) == 0 && s.st_size == 0) chmod(file.c_str(), S_IRUSR | S_IWUSR);
}

class sqlite_database final : public database {
 public:
  sqlite_database(sqlite_options options, node_lock lock, const clock& now)
      : options_(std::move(options)),
        lock_(std::move(lock)),
        clock_(now),
        gate_(std::make_shared<reader_gate>()) {}

  /// Throws db_exception.
  result<void> open(random_source& random) {
    auto db = std::make_unique<connection>(writer_options(options_));
    keep_to_ourselves(options_.file);
    if (const std::string mode = db->text_or_throw("PRAGMA journal_mode=WAL"); mode != "wal") {
      return error{
          .code = error_code::unavailable,
          .message = "the database is in journal mode `" + mode +
                     "` and can't be brought to `wal`: is it on a file system with shared memory?",
          .field = "file"};
    }
    auto migrated = migrate(*db, clock_, random);
    if (!migrated) return migrated.error();
    if (migrated->created) {
      if (auto synced = sync_dir(options_.file.parent_path()); !synced) return synced;
    }
    report_.created = migrated->created;
    return compare_with_mark(std::move(db), random);
  }

  [[nodiscard]] store::writer& writer() override { return *writer_; }

  [[nodiscard]] result<std::unique_ptr<store::reader>> new_reader() override {
    try {
      return std::unique_ptr<store::reader>{
          std::make_unique<sqlite_reader>(reader_options(options_), gate_, clock_)};
    } catch (const db_exception& e) {
      return could_not_open(options_.file, e.failure());
    }
  }

  [[nodiscard]] epoch_id epoch() const override { return epoch_; }
  [[nodiscard]] const start_report& report() const override { return report_; }

 private:
  /// What the newest row of `commits` and `meta` say, and what the mark says of it (I11).
  result<void> compare_with_mark(std::unique_ptr<connection> db, random_source& random) {
    mark_ = std::make_unique<high_water_mark>(beside(options_.file, ".mark").string(), options_.vfs);
    const std::optional<water_mark>& found = mark_->found();
    const std::string boot_id = options_.boot_id.empty() ? machine_boot_id() : options_.boot_id;

    found_history history;
    const last_commit_record last = newest_commit(*db);
    history.last_commit = last.no;
    history.database = database_id(*db);
    if (found) history.hash_at_mark = hash_at(*db, found->commit);
    epoch_ = epoch_id{db->text_or_throw("SELECT v FROM meta WHERE k = 'epoch'")};

    const bool same_database = found && found->database == history.database;
    const bool clean = report_.created || (same_database && found->clean);
    report_.recovered = !clean;
    if (auto why = doubt(found, history, boot_id)) {
      report_.history_may_be_lost = true;
      report_.why = std::move(*why);
      epoch_ = epoch_id{make_hex(8, random)};
      // Before the mark: if it were the other way round, a crash between them would hide the doubt for ever.
      statement set{*db, "UPDATE meta SET v = ? WHERE k = 'epoch'"};
      if (!set.run(epoch_.view())) throw db_exception{db->last_failure()};
    } else if (report_.recovered) {
      report_.why = "the last end was not a clean one; all that was accepted is there";
    }

    water_mark mark{.database = history.database,
                    .epoch = epoch_,
                    .commit = last.no,
                    .hash = last.hash,
                    .last_id = last.last_id,
                    .clean = false,
                    .normal = options_.durability == durability::normal,
                    .boot_id = boot_id,
                    .written_at = clock_.now()};
    if (auto written = mark_->write(mark); !written) throw db_exception{written.error()};
    if (!found) {
      if (auto synced = sync_dir(options_.file.parent_path()); !synced) return synced;
    }

    log_id next = last.last_id.next();
    if (same_database) next = std::max(next, found->last_id.next());
    if (!clean) next.value += ids_skipped_after_crash;
    writer_ = std::make_unique<sqlite_writer>(std::move(db), options_, *gate_, *mark_, clock_, last,
                                              mark, next);
    return {};
  }

  static last_commit_record newest_commit(connection& db) {
    statement s{db, "SELECT no, last_id, hash FROM commits ORDER BY no DESC LIMIT 1"};
    auto q = s.query();
    last_commit_record last;
    if (q.next()) last = {q.number<commit_no>(0), q.number<log_id>(1), q.bytes<32>(2)};
    if (q.failed()) throw db_exception{db.last_failure()};
    return last;
  }
  static uuid database_id(connection& db) {
    statement s{db, "SELECT v FROM meta WHERE k = 'database_id'"};
    auto q = s.query();
    uuid id;
    if (q.next()) id = q.id(0);
    if (q.failed()) throw db_exception{db.last_failure()};
    return id;
  }
  static std::optional<sha256_digest> hash_at(connection& db, commit_no no) {
    statement s{db, "SELECT hash FROM commits WHERE no = ?"};
    auto q = s.query(no);
    std::optional<sha256_digest> hash;
    if (q.next()) hash = q.bytes<32>(0);
    if (q.failed()) throw db_exception{db.last_failure()};
    return hash;
  }

  // The lock first, so that it goes last.
  sqlite_options options_;
  node_lock lock_;
  const clock& clock_;
  std::shared_ptr<reader_gate> gate_;
  start_report report_;
  epoch_id epoch_;
  std::unique_ptr<high_water_mark> mark_;
  std::unique_ptr<sqlite_writer> writer_;
};

}  // namespace

result<std::unique_ptr<database>> open_sqlite(const sqlite_options& options, const clock& now,
                                              random_source& random) {
  if (!options.file.is_absolute()) {
    return invalid("file", "the database needs an absolute path, not " + options.file.string());
  }
  if (auto fits = check_data_dir(options.file.parent_path()); !fits) return fits.error();
  const auto ballast = beside(options.file, ".ballast");
  for (;;) {
    auto lock = node_lock::take(beside(options.file, ".lock"), now.now());
    if (!lock) {
      if (lock.error().code != error_code::conflict && release_ballast(ballast)) continue;
      return lock.error();
    }
    try {
      auto db = std::make_unique<sqlite_database>(options, std::move(*lock), now);
      if (auto opened = db->open(random); !opened) return opened.error();
      keep_ballast(ballast, options.ballast_bytes);
      return std::unique_ptr<database>{std::move(db)};
    } catch (const db_exception& e) {
      // Recovery needs a few pages; the ballast is kept for that (I10). Once: then it is gone.
      if (scope_of(e.failure()) == failure_scope::full && release_ballast(ballast)) continue;
      return could_not_open(options.file, e.failure());
    }
  }
}

}  // namespace parley::store
