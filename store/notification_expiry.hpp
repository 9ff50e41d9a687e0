#pragma once
/// What becomes of notifications when their time is over (SPEC 6): one that somebody still lacks becomes a dead letter, once
/// for all who lack it, with an event for whoever wants it; one that all have is done. What is done and older than
/// `idempotency_ttl` is taken away, with its rows.
///
///   expired ──who lacks it is listed, some rows at a time──▶ a dead letter ──▶ its pending rows go, some at a time
///
/// The list is made in pieces and kept in memory: after a crash it is made again. The letter, the event and the state are
/// one transaction. Pending rows that a crash leaves of one that is dead count as absent, and go with it.
///
/// Owner      the writer. plan() outside of any transaction, run() inside one, then committed() or undone().
/// Bound      a piece ends after about piece_time; clearing_max notifications have rows to be cleared.
/// Relies on  nobody acknowledges one that is past its time.

#include "protocol/seams.hpp"
#include "store/notification_writes.hpp"
#include "store/outbox.hpp"
#include "store/outbox_writes.hpp"
#include "store/room_ends.hpp"
#include "store/sqlite_db.hpp"
#include "store/store.hpp"
#include "store/user_names.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace parley::store {

class notification_expiry {
 public:
  static constexpr std::chrono::milliseconds piece_time{2};
  static constexpr std::int64_t piece_max_rows = 4096;
  static constexpr std::chrono::milliseconds look_interval{500};
  static constexpr std::size_t clearing_max = 1024;

  /// Throws db_exception.
  notification_expiry(connection& db, user_names& users, room_ends& rooms,
                      notification_writes& notifications, outbox_writes& outbox, const clock& now,
                      std::chrono::milliseconds idempotency_ttl);

  [[nodiscard]] bool due(mono_time now) const;
  /// True: there is something to do, for run().
  db_result<bool> plan(mono_time now);
  write_result<void> run();
  void committed(commit_no no);
  void undone();
  /// What is being listed is listed anew.
  void start_over() { ending_.reset(); }
  /// The piece, from plan() to its commit, took so long.
  void rest(mono_time start, mono_time end);
  /// A piece can be done without waiting for the next look.
  [[nodiscard]] bool goes_on() const { return goes_on_; }

 private:
  /// One that is past its time, while who lacks it is listed: first those with a row, then the members of its room.
  struct ending {
    notification_no no;
    tenant_no tenant;
    uuid id;
    std::string topic;
    std::optional<room_no> room{};
    utc_time created_at{};
    std::chrono::milliseconds ttl{};
    std::uint32_t attempts = 0;
    std::optional<utc_time> last_attempt_at{};
    bool abandoned = false;  ///< its tenant is deleted: nobody is told

    bool rows_listed = false;
    user_no listed_upto{};
    bool has_rows = false;
    std::int64_t lacking = 0;
    std::vector<user_no> noted;  ///< the first of them
  };

  /// One step each; the rows it took, 0: there is nothing to do.
  using step_result = write_result<std::int64_t>;
  step_result step();
  step_result list_rows(ending& e);
  step_result list_members(ending& e);
  step_result clear_rows();
  step_result take_away();
  write_result<std::optional<ending>> next_expired();
  db_result<bool> has(statement& find, utc_time before);
  void note(ending& e, user_no user);
  /// Everybody is listed.
  write_result<void> end(const ending& e);
  write_result<void> give_up(const ending& e);
  /// The event's body.
  write_result<std::string> failure_of(const ending& e);

  connection& db_;
  user_names& users_;
  room_ends& rooms_;
  notification_writes& notifications_;
  outbox_writes& outbox_;
  const clock& clock_;
  std::chrono::milliseconds idempotency_ttl_;

  bool goes_on_ = false;
  mono_time next_look_{};
  mono_time next_piece_{};
  std::optional<ending> ending_;  ///< whose users are being listed
  std::deque<notification_no> clearing_;
  std::vector<notification_no> given_up_;  ///< by the piece under way, with rows to be cleared

  statement has_expired_;
  statement has_old_;
  statement select_expired_;
  statement select_rows_;
  statement select_members_;
  statement die_;
  statement select_old_;
};

}  // namespace parley::store
