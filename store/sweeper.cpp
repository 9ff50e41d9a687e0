#include "store/sweeper.hpp"

#include <algorithm>

namespace parley::store {
namespace {

constexpr std::chrono::milliseconds sweep_interval{100};
constexpr std::int64_t sweep_min_rows = 64;    // so that a walk ends when no keys come in
constexpr std::int64_t sweep_max_rows = 4096;  // about 2 ms
constexpr std::chrono::seconds prune_interval{5};
constexpr std::int64_t prune_max_rows = 512;
constexpr std::chrono::hours keep_commits{24 * 7};
constexpr std::chrono::hours keep_jobs{24 * 30};

}  // namespace

sweeper::sweeper(connection& db, dead_letters& letters, std::chrono::milliseconds idempotency_ttl,
                 std::chrono::milliseconds dead_letter_ttl)
    : db_(db),
      letters_(letters),
      idempotency_ttl_(idempotency_ttl),
      dead_letter_ttl_(dead_letter_ttl),
      select_keys_(
          db,
          "SELECT room_no, sender_no, key, created_at FROM send_keys "
          "WHERE (room_no, sender_no, key) > (?, ?, ?) ORDER BY room_no, sender_no, key LIMIT ?"),
      delete_key_(db, "DELETE FROM send_keys WHERE room_no = ? AND sender_no = ? AND key = ?"),
      delete_call_keys_(
          db,
          "DELETE FROM call_keys WHERE (tenant_no, scope_no, key) IN ("
          "SELECT tenant_no, scope_no, key FROM call_keys WHERE created_at < ? LIMIT ?)"),
      delete_commits_(
          db,
          "DELETE FROM commits WHERE no IN (SELECT no FROM commits WHERE created_at < ? "
          "AND no < (SELECT max(no) FROM commits) ORDER BY no LIMIT ?)"),
      delete_jobs_(db, "DELETE FROM jobs WHERE state <> 1 AND updated_at < ?") {}

db_result<void> sweeper::run_due(mono_time now, utc_time utc, std::int64_t keys_appended) {
  keys_waiting_ += 2 * keys_appended;
  if (now >= next_sweep_ || keys_waiting_ >= sweep_max_rows) {
    next_sweep_ = now + sweep_interval;
    const std::int64_t rows = std::clamp(keys_waiting_, sweep_min_rows, sweep_max_rows);
    keys_waiting_ = std::max<std::int64_t>(keys_waiting_ - rows, 0);
    if (auto done = sweep_send_keys(utc - idempotency_ttl_, rows); !done) return done;
  }
  if (now >= next_prune_) {
    next_prune_ = now + prune_interval;
    return prune(utc);
  }
  return {};
}

db_result<void> sweeper::sweep_send_keys(utc_time before, std::int64_t rows) {
  std::vector<send_key_place> old;
  std::int64_t seen = 0;
  {
    auto q = select_keys_.query(place_.room_no, place_.sender_no, blob_of(place_.key), rows);
    send_key_place at = place_;
    while (q.next()) {
      ++seen;
      at = {q.integer(0), q.integer(1), q.bytes<16>(2)};
      if (q.time(3) < before) old.push_back(at);
    }
    if (q.failed()) return db_.last_failure();
    place_ = seen < rows ? send_key_place{} : at;  // the end: from the beginning again
  }
  if (old.empty()) return {};
  transaction t{db_};
  if (!t.begin()) return db_.last_failure();
  for (const send_key_place& k : old) {
    if (!delete_key_.run(k.room_no, k.sender_no, blob_of(k.key))) return db_.last_failure();
  }
  if (!t.commit()) return db_.last_failure();
  return {};
}

db_result<void> sweeper::prune(utc_time utc) {
  // Keyed calls without a room are rare; their table is small enough to be looked through.
  if (!delete_call_keys_.run(utc - idempotency_ttl_, prune_max_rows)) return db_.last_failure();
  if (!delete_commits_.run(utc - keep_commits, prune_max_rows)) return db_.last_failure();
  if (!delete_jobs_.run(utc - keep_jobs)) return db_.last_failure();
  if (auto pruned = letters_.prune(utc - dead_letter_ttl_, prune_max_rows); !pruned)
    return pruned.error();
  return {};
}

}  // namespace parley::store
