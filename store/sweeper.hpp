#pragma once
/// Takes away what is past its time, in small steps between commits: retry keys (`idempotency_ttl`) and commit records (7
/// days, but the newest, which the next one is chained to), jobs that have ended (30 days), dead letters (`dead_letter_ttl`).
///
/// Keys have no index by time; it would be one more page for each keyed message. Instead the table is walked, in key
/// order and round and round, at twice the rate at which keys come in: then it never holds more than twice those of one
/// `idempotency_ttl`, and what is deleted lies together. What is past its time and still there counts as absent.
///
/// Owner  the writer.

#include "protocol/hash.hpp"
#include "protocol/seams.hpp"
#include "store/dead_letters.hpp"
#include "store/sqlite_db.hpp"

#include <chrono>
#include <cstdint>
#include <vector>

namespace parley::store {

class sweeper {
 public:
  /// Throws db_exception.
  sweeper(connection& db, dead_letters& letters, std::chrono::milliseconds idempotency_ttl,
          std::chrono::milliseconds dead_letter_ttl);

  /// `keys_appended`: since the last call. Does nothing most of the time; outside of any transaction.
  db_result<void> run_due(mono_time now, utc_time utc, std::int64_t keys_appended);

 private:
  struct send_key_place {
    std::int64_t room_no = 0;
    std::int64_t sender_no = 0;
    std::array<std::uint8_t, 16> key{};
  };

  db_result<void> sweep_send_keys(utc_time before, std::int64_t rows);
  db_result<void> prune(utc_time utc);

  connection& db_;
  dead_letters& letters_;
  std::chrono::milliseconds idempotency_ttl_;
  std::chrono::milliseconds dead_letter_ttl_;
  std::int64_t keys_waiting_ = 0;
  mono_time next_sweep_{};
  mono_time next_prune_{};
  send_key_place place_;  ///< the last key looked at

  statement select_keys_;
  statement delete_key_;
  statement delete_call_keys_;
  statement delete_commits_;
  statement delete_jobs_;
};

}  // namespace parley::store
