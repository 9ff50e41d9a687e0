#pragma once
/// Work that goes on after the commit that ordered it: clearing what a deleted tenant had, erasing a user.
///
///   delete_tenant  tombstones → rooms, with all that lies in them → users, keys, credentials → done
///   erase_user     count → memberships (ended by the rooms themselves) → messages and keys, room by room → what waits to
///                  be told of it, and could not be → done
///
/// A piece at a time, each in a commit of its own together with how far it came: after a crash it goes on there, and what
/// one piece has done is done or not. Several jobs take turns.
///
/// Owner      the writer. plan() outside of any transaction, run() inside one, then committed() or undone().
/// Bound      a piece ends after about piece_time, or piece_max_rows; between two of them the writer has four times as long
///            for all else, so that sends hardly notice.
/// Relies on  seq stays dense while a log is cleared from its start; what commits say of rows that are gone:
///            docs/store-format.md.

#include "protocol/seams.hpp"
#include "store/notification_writes.hpp"
#include "store/outbox_erasure.hpp"
#include "store/room_ends.hpp"
#include "store/sqlite_db.hpp"
#include "store/store.hpp"
#include "store/user_names.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace parley::store {

class job_runner {
 public:
  static constexpr std::chrono::milliseconds piece_time{3};
  static constexpr std::int64_t piece_max_rows = 4096;
  /// After that a membership that is still there is named again.
  static constexpr std::chrono::seconds departure_retry{5};

  /// Throws db_exception.
  job_runner(connection& db, user_names& users, room_ends& rooms,
             notification_writes& notifications, outbox_writes& outbox, const clock& now);

  /// There may be a job that was not there before.
  void wake() { idle_ = false; }
  [[nodiscard]] bool due(mono_time now) const { return !idle_ && now >= next_piece_; }
  /// Chooses the next job. True: it has something to write, by run().
  db_result<bool> plan(mono_time now);
  write_result<void> run();
  void committed(commit_no no);
  void undone();
  /// The piece, from plan() to its commit, took so long.
  void rest(mono_time start, mono_time end);

  /// What others must hear of, since the last call.
  job_news take_news();

 private:
  struct job {
    std::int64_t no = 0;
    std::string kind;
    tenant_no tenant;
    std::string subject;
    std::int64_t done = 0;
    std::int64_t total = 0;
    std::int64_t step = 0;
    room_no place_room;
    room_seq place_seq;
    job_state state = job_state::running;
    std::string error;

    void go_to(std::int64_t next) {
      step = next;
      place_room = {};
      place_seq = {};
    }
    void end(job_state how, std::string why = {}) {
      state = how;
      error = std::move(why);
    }
  };

  /// The first running job behind this one; nullopt: none.
  db_result<std::optional<job>> next_job(std::int64_t after);
  /// False: it waits for others.
  db_result<bool> can_go_on(const job& j, mono_time now);

  /// One step: a few rows. What it returns counts as rows.
  using step_result = write_result<std::int64_t>;
  step_result step(job& j);
  step_result tombstone_rooms(job& j);
  step_result clear_rooms(job& j);
  step_result clear_room(job& j, room_no room);
  step_result clear_tenant(job& j);
  step_result count_rooms(job& j);
  step_result end_memberships(job& j);
  step_result erase_messages(job& j);
  step_result erase_in_room(job& j, room_no room, bool live, room_id id, user_no user);
  step_result erase_from_outbox(job& j);
  step_result erase_from_letters(job& j);
  step_result erase_person(job& j);
  /// The user that an erasure is about; nullopt: the tenant is being deleted, and there is nothing left to do.
  write_result<std::optional<user_no>> subject_of(const job& j);
  /// A statement of a piece.
  write_result<std::int64_t> done(bool ran);

  connection& db_;
  user_names& users_;
  room_ends& rooms_;
  notification_writes& notifications_;
  outbox_erasure outbox_;
  const clock& clock_;

  bool idle_ = false;
  mono_time next_piece_{};
  std::int64_t last_job_ = 0;  ///< whose turn it was
  std::optional<job> planned_;
  /// By job: which memberships were named, and when. Bounded by departures_at_once.
  std::unordered_map<std::int64_t, std::map<room_no, mono_time>> departures_named_;
  std::vector<rewritten_room> rewriting_;  ///< by the piece under way
  job_news news_;

  statement select_job_;
  statement update_job_;
  statement select_live_rooms_;
  statement tombstone_;
  statement select_room_;
  statement select_log_;
  statement delete_message_;
  statement delete_log_;
  statement delete_keys_of_room_;
  statement select_members_;
  statement delete_member_;
  statement delete_cursor_;
  statement delete_room_;
  statement delete_call_keys_;
  statement delete_users_;
  statement delete_credentials_;
  statement end_other_jobs_;
  statement clear_tenant_;
  statement count_rooms_;
  statement select_memberships_;
  statement max_room_;
  statement select_room_between_;
  statement scan_log_;
  statement erase_message_;
  statement delete_keys_of_user_;
  statement delete_call_keys_of_user_;
  statement erase_user_;
};

}  // namespace parley::store
