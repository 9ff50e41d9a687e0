#include "store/checkpointer.hpp"

namespace parley::store {
namespace {

/// A reader's slice (DESIGN 2). Two of them are what the writer waits for readers.
constexpr std::chrono::milliseconds reader_slice{20};
/// Of the writer's time, checkpoints take a fifth at most, unless the WAL is past its limit: at full speed one late piece
/// moves a page once that many early ones would have moved again and again.
constexpr int rest_after_piece = 4;
/// After a restart that a reader prevented. Until then only pieces.
constexpr std::chrono::milliseconds rest_after_restart{250};

}  // namespace

db_result<void> checkpointer::run_due(mono_time now) {
  // Fewer frames than were moved: SQLite has started the WAL over by itself, as it does when all is moved and no reader
  // looks at it.
  if (db_.wal_pages() < moved_pages_) moved_pages_ = 0;
  const bool past_limit = db_.wal_pages() >= options_.limit_pages;
  const bool piece_due = db_.wal_pages() - moved_pages_ >= options_.piece_pages;
  if (past_limit && now >= next_restart_) {
    if (auto moved = passive(); !moved) return moved;  // first what needs no gate
    return restart();
  }
  if (piece_due && now >= next_piece_) return passive();
  return {};
}

db_result<void> checkpointer::run_now() {
  if (auto moved = passive(); !moved) return moved;
  return restart();
}

db_result<void> checkpointer::passive() {
  const mono_time start = clock_.mono();
  auto done = db_.checkpoint(checkpoint_mode::passive, 0);
  if (!done) return done.error();
  const mono_time end = clock_.mono();
  ++counted_.pieces;
  counted_.time += end - start;
  next_piece_ = end + rest_after_piece * (end - start);
  if (!done->busy) moved_pages_ = done->moved_pages;
  return {};
}

db_result<void> checkpointer::restart() {
  const mono_time start = clock_.mono();
  const bool alone = gate_.close(2 * reader_slice);
  db_result<checkpoint_result> done = checkpoint_result{.busy = true};
  // With the gate closed only a reader of another process (verify) can be in the way.
  if (alone)
    done = db_.checkpoint(checkpoint_mode::restart, static_cast<int>((2 * reader_slice).count()));
  gate_.open();
  counted_.time += clock_.mono() - start;
  if (!done) return done.error();
  ++(done->busy ? counted_.busy : counted_.restarts);
  if (done->busy) {
    next_restart_ = clock_.mono() + rest_after_restart;
  } else {
    moved_pages_ = 0;
  }
  return {};
}

db_result<void> checkpointer::finish() {
  const bool alone = gate_.close(2 * reader_slice);
  auto done = db_.checkpoint(alone ? checkpoint_mode::truncate : checkpoint_mode::passive,
                             static_cast<int>((2 * reader_slice).count()));
  gate_.open();
  if (!done) return done.error();
  return {};
}

}  // namespace parley::store
