#pragma once
/// When the WAL is moved into the database file, and how it starts over.
///
/// Owner      the writer, between commits: nobody else ever checkpoints (I6). SQLite before 3.51.3 corrupts the file when
///            one connection restarts the WAL while another begins a checkpoint.
/// Pieces     small PASSIVE ones, often: commits stay quick (p99), and readers are not disturbed.
/// Restart    under load there is always a reader, and PASSIVE alone never lets the WAL start over. Past its limit the
///            gate keeps readers out for a moment, and the writer does the last step. Overwriting is also faster than
///            appending; so the file keeps its size, and is never truncated while serving.
/// Failures   are the caller's: an I/O error in a checkpoint is fatal (I10), since pages may be gone that were in doubt.

#include "protocol/seams.hpp"
#include "store/reader_gate.hpp"
#include "store/sqlite_db.hpp"

#include <chrono>
#include <cstdint>

namespace parley::store {

struct checkpoint_options {
  std::int64_t piece_pages =
      1000;  ///< a piece is due when so many frames are not in the database file yet
  std::int64_t limit_pages = 16384;  ///< past it the WAL is made to start over
};

class checkpointer {
 public:
  checkpointer(connection& db, reader_gate& gate, const clock& now, checkpoint_options options)
      : db_(db),
        gate_(gate),
        clock_(now),
        options_(options) {}

  /// Does what is due now, if anything.
  db_result<void> run_due(mono_time now);
  /// Everything into the database file, whatever is due; used when space is short.
  db_result<void> run_now();
  /// The end: everything into the database file, and the WAL emptied, unless a reader is still there.
  db_result<void> finish();

  [[nodiscard]] std::int64_t wal_pages() const { return db_.wal_pages(); }
  struct counts {
    std::uint64_t pieces = 0;
    std::uint64_t restarts = 0;
    std::uint64_t busy = 0;  ///< restarts that a reader prevented
    std::chrono::nanoseconds time{0};
  };
  [[nodiscard]] const counts& counted() const { return counted_; }

 private:
  db_result<void> passive();
  db_result<void> restart();

  connection& db_;
  reader_gate& gate_;
  const clock& clock_;
  checkpoint_options options_;
  std::int64_t moved_pages_ = 0;  ///< frames of the current WAL that are in the database file
  mono_time next_piece_{};
  mono_time next_restart_{};
  counts counted_;
};

}  // namespace parley::store
