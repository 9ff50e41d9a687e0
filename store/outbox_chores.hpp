#pragma once
/// Work on the outbox that a commit has ordered and that may be long (`outbox_chores`): dropping the rows of an endpoint that
/// was removed, queuing dead letters again.
///
/// A piece at a time, each in a commit of its own together with how far it came: after a crash it goes on there. Tenants
/// take turns.
///
/// Owner      the writer. plan() outside of any transaction, run() inside one, then committed() or undone().
/// Bound      a piece ends after about piece_time, or piece_max_rows; between two of them the writer has four times as long
///            for all else.

#include "store/endpoint_rows.hpp"
#include "store/outbox_writes.hpp"
#include "store/sqlite_db.hpp"
#include "store/store.hpp"

#include <chrono>
#include <cstdint>
#include <optional>

namespace parley::store {

class outbox_chores {
 public:
  static constexpr std::chrono::milliseconds piece_time{2};
  static constexpr std::int64_t piece_max_rows = 4096;

  /// Throws db_exception.
  outbox_chores(connection& db, outbox_writes& outbox, const clock& now);

  [[nodiscard]] bool due(mono_time now);
  /// Chooses the next one. True: there is one, for run().
  db_result<bool> plan(mono_time now);
  write_result<void> run();
  void committed(commit_no no);
  void undone();
  /// The piece, from plan() to its commit, took so long.
  void rest(mono_time start, mono_time end);
  /// There is more to do.
  [[nodiscard]] bool goes_on() const { return !idle_; }

 private:
  struct chore {
    tenant_no tenant;
    outbox_chore what = outbox_chore::drop;
    std::int64_t upto = 0;
    std::int64_t place = 0;
    bool done = false;
  };
  db_result<std::optional<chore>> next(const chore& after);
  /// A few rows; how many.
  write_result<std::int64_t> step(chore& c);

  connection& db_;
  outbox_writes& outbox_;
  const clock& clock_;

  bool idle_ = false;
  mono_time next_piece_{};
  chore last_{};  ///< whose turn it was
  std::optional<chore> planned_;

  statement select_;
  statement drop_;
  statement move_;
  statement end_;
};

}  // namespace parley::store
