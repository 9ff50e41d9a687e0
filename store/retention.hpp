#pragma once
/// Takes away the beginning of logs that is older than its room may keep it (SPEC 6): what the room says counts, else its
/// tenant, else the node; none of them: all is kept.
///
///   idle ──a round is due──▶ tenants ──▶ rooms ──the last one──▶ idle        what it finds to remove waits in a queue
///   nobody wants retention: idle, without rounds, until wake()
///
/// Rooms with something to remove take turns, a few rows at a time, so that none waits for all of another. A piece ends
/// after about piece_time, or piece_max_bytes; each is a commit of its own, in which first_seq moves: after a crash nothing is half removed.
/// A room keeps its newest entry, so that its end is known. Retry keys stay: they are found for their own time and then
/// swept (store/sweeper.hpp).
///
/// Owner      the writer. plan() outside of any transaction, run() inside one, then committed() or undone().
/// Invariants only a prefix is removed, all of it older than the room's retention as it is in this transaction, and nothing
///            that a webhook's reader has not read, or that waits to be sent.
/// Bound      found_max rooms in the queue; a tenant that has retention takes 24 bytes.

#include "protocol/seams.hpp"
#include "store/room_ends.hpp"
#include "store/sqlite_db.hpp"
#include "store/store.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace parley::store {

class retention {
 public:
  static constexpr std::chrono::milliseconds piece_time{2};
  static constexpr std::int64_t piece_max_rows = 4096;
  /// Of content: its pages are written once more, with nothing in them (PRAGMA secure_delete).
  static constexpr std::int64_t piece_max_bytes = 256 * 1024;
  static constexpr std::size_t found_max = 1024;
  struct options {
    std::optional<std::chrono::milliseconds> keep{};  ///< the node's
    std::chrono::milliseconds interval{};             ///< from the start of a round to the next
  };

  /// Throws db_exception.
  retention(connection& db, room_ends& rooms, const clock& now, options o);

  /// Somebody may want retention who did not before.
  void wake() { nobody_wants_it_ = false; }
  [[nodiscard]] bool due(mono_time now) const;
  /// Looks on for what is to be removed. True: there is some, for run().
  db_result<bool> plan(mono_time now);
  write_result<void> run();
  void committed(commit_no no);
  void undone();
  /// The piece, from plan() to its commit, took so long.
  void rest(mono_time start, mono_time end);

  /// Rooms whose log starts later, since the last call.
  std::vector<rewritten_room> take_trimmed();
  /// A piece can be done without waiting for the next round.
  [[nodiscard]] bool goes_on() const { return at_ != place::idle || !found_.empty(); }

 private:
  enum class place : std::uint8_t { idle, tenants, rooms };
  struct room {
    room_no no;
    tenant_no tenant;
    room_id id;
    std::chrono::milliseconds keep{};
  };
  struct step {
    std::int64_t rows = 0;   ///< removed
    std::int64_t bytes = 0;  ///< of their content
    bool more = false;       ///< there may be more that is to go
  };

  /// One step each; the rows it has looked at.
  db_result<std::int64_t> look_at_tenants();
  db_result<std::int64_t> look_at_rooms();
  /// Whether the room's first entry is to go.
  db_result<bool> has_old_entries(room_no no, std::chrono::milliseconds keep);
  /// nullopt: it is not there any more, or keeps all.
  write_result<std::optional<room>> room_as_it_is(room_no no);
  write_result<step> trim(const room& r);
  /// The first entry that the tenant's endpoint still needs; nullopt: there is none.
  write_result<std::optional<log_id>> first_needed(const room& r);
  [[nodiscard]] std::optional<std::chrono::milliseconds> of_tenant(std::string_view config) const;

  connection& db_;
  room_ends& rooms_;
  const clock& clock_;
  options options_;

  bool nobody_wants_it_ = false;
  place at_ = place::idle;
  mono_time next_round_{};
  mono_time next_piece_{};
  bool removed_ = false;  ///< by the piece under way
  // Of this round:
  std::unordered_map<tenant_no, std::chrono::milliseconds> tenants_;  ///< those with retention
  tenant_no last_tenant_{};
  room_no last_room_{};
  bool a_room_wants_it_ = false;

  std::deque<room_no> found_;
  std::vector<rewritten_room> trimming_;  ///< by the piece under way
  std::vector<rewritten_room> trimmed_;

  statement select_tenants_;
  statement select_rooms_;
  statement select_room_;
  statement select_first_;
  statement select_log_;
  statement delete_message_;
  statement delete_log_;
  statement update_first_seq_;
  statement select_unread_;
  statement select_waiting_;
};

}  // namespace parley::store
