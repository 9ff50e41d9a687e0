#pragma once
/// How sqlite_reader runs a call: shared by its two source files.

#include "store/sqlite_reader.hpp"

namespace parley::store {

/// What a caller is told when the file could not be read; SQLite's words stay inside.
[[nodiscard]] error unreadable(const db_failure& f);

/// How long a reader waits at the gate: longer than the writer's RESTART of a WAL at its limit takes.
inline constexpr std::chrono::milliseconds gate_wait{2000};
/// After that a call is given up. A slice is 20 ms (DESIGN 2); what takes 50 times as long is a mistake.
inline constexpr std::chrono::milliseconds read_deadline{1000};

template <class T, class Query>
result<T> sqlite_reader::in_snapshot(const Query& query) {
  if (!gate_->enter(gate_wait)) return unavailable("the store is busy", gate_wait);
  struct leave_at_end {
    reader_gate& gate;
    ~leave_at_end() { gate.leave(); }
  } const leave{*gate_};
  db_->set_deadline(clock_, clock_.mono() + read_deadline);
  if (!begin_.run()) return unreadable(db_->last_failure());
  result<T> out = query();
  db_->clear_deadline();
  // After an error SQLite may have ended the transaction by itself.
  if (db_->in_transaction() && !end_.run() && db_->in_transaction()) {
    static_cast<void>(db_->execute("ROLLBACK"));
  }
  return out;
}

}  // namespace parley::store
