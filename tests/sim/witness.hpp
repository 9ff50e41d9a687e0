#pragma once
/// Stands beside one connection and holds every frame against what was promised to whoever reads there (SPEC 1, 2, 5), the
/// moment the gateway queues it: order, completeness, membership, that it is committed, and that it reads as the store has
/// it. Knows the store, nothing of the node.

#include "protocol/client_frame.hpp"
#include "tests/sim/model_store.hpp"
#include "tests/sim/seen_frame.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>

namespace parley::sim {

/// The bytes of committed entries, as they read after each change of their message; encoded once.
class expected_frames {
 public:
  /// As a snapshot of that commit shows it.
  const std::string& at(const stored_room& room, room_seq seq, commit_no snapshot);
  /// One of the states that the entry had from `since` to `until`.
  bool has(const stored_room& room, room_seq seq, const std::string& text, commit_no since,
           commit_no until);

 private:
  const std::string& of(const stored_room& room, room_seq seq, std::size_t changes);
  std::map<std::tuple<room_no, room_seq, std::size_t>, std::string> known_;
};

class witness {
 public:
  witness(const model_store& store, expected_frames& expected, user_key user, bool automatic,
          std::size_t max_subscriptions);

  // What the client says.
  void asks(const std::string& request_id, std::size_t replies = 1);
  void asks_sync(const std::string& request_id, const sync_frame& frame);
  void asks_unsubscribe(const std::string& request_id, const room_id& room);

  /// What it is shown. `told`: the newest commit of which its gateway was told that it changed the frame's message.
  void sees(const seen_frame& f, commit_no told);

  /// Everything is quiet and read to its end.
  void at_rest() const;
  /// Positions below these may not be stated by sync.start: they were acknowledged to the user before.
  std::map<std::string, std::int64_t> acknowledged;

  [[nodiscard]] bool live(const std::string& room) const;
  [[nodiscard]] bool syncing() const { return !syncs_.empty() || !started_.empty(); }
  /// The room's actor died: who entered or left by an entry that it never published hears at its next connect.
  void forgive(const room_key& room) { forgiven_.insert(room.room.id.to_string()); }

 private:
  struct room_view {
    bool live = false;
    bool must_be_removed = false;  ///< its own member.left was shown
    bool may_be_removed = false;   ///< … or that of an earlier membership
    std::int64_t joined = 0;       ///< seq of the latest joining when this began
    bool by_sync = false;          ///< live since an entry of a sync that has no outcome yet
    bool added_in_sync = false;  ///< entered while a sync names it that has not stated its outcome
    bool perhaps = false;  ///< one of the «rest»: live from a place that its first entry tells
    std::optional<std::int64_t> pos;  ///< nullopt: live, its first entry is not known yet
    std::int64_t after_at_least = 0;  ///< then it lies between these
    std::int64_t after_at_most = 0;
  };
  struct sync_request {
    std::string request_id;
    std::map<std::string, std::optional<std::int64_t>> open;  ///< rooms without an outcome yet
    /// Of these: a gap was stated that may have been the outcome, or an unasked one of the live room.
    std::set<std::string> overtaken;
    std::size_t listed = 0;
    bool rest = false;
    bool epoch_agrees = false;
    std::map<std::string, std::int64_t> last_seqs;  ///< of the user's rooms when it was asked
    commit_no asked_at;                             ///< the newest commit then
    std::set<std::string> unsubscribed;             ///< since its list was read
  };

  [[nodiscard]] const stored_room* room_of(const std::string& room) const;
  [[nodiscard]] bool is_member(const stored_room& room) const;
  [[nodiscard]] bool ever_left(const stored_room& room) const;
  void begins(room_view& view, const stored_room* room) const;
  void receipt_seen(const seen_frame& f);
  void typing_seen(const seen_frame& f);
  void presence_seen(const seen_frame& f) const;
  [[nodiscard]] bool may_read_live(const std::string& room) const;
  [[nodiscard]] static bool was_member(const stored_room& room, const std::string& user);
  void entry_seen(const seen_frame& f, commit_no told);
  void outcome_seen(const seen_frame& f);
  void start_seen(const seen_frame& f);
  void done_seen(const seen_frame& f);
  void added_seen(const seen_frame& f);
  void removed_seen(const seen_frame& f);
  void replied(const seen_frame& f);
  [[nodiscard]] std::map<std::string, std::int64_t> last_seqs_of_user() const;
  /// Rooms whose membership ended after that commit, or that are deleted: a list read meanwhile may have had them.
  [[nodiscard]] std::map<std::string, std::int64_t> rooms_left_since(commit_no since) const;
  [[nodiscard]] std::string about(const seen_frame& f) const;

  const model_store& store_;
  expected_frames& expected_;
  const user_key user_;
  const bool automatic_;
  const std::size_t max_subscriptions_;
  bool goes_live_;
  bool greeted_ = false;
  bool incomplete_ = false;  ///< it was said that not all rooms are live
  std::map<std::string, room_view> rooms_;
  std::deque<sync_request> syncs_;
  std::set<std::string> started_;  ///< automatic: named by sync.start, without an outcome yet
  std::size_t started_count_ = 0;
  bool start_is_done_ = false;
  std::map<std::string, std::size_t> owed_;  ///< replies, by request id
  std::map<std::string, std::string> unsubscribing_;
  std::set<std::string> left_by_choice_;  ///< unsubscribed
  std::set<std::string> forgiven_;
  std::map<std::string, bool> informed_;  ///< last of room.added, room.removed
};

}  // namespace parley::sim
