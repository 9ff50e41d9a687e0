#pragma once
/// Checks, while the load runs, what a node promises of a room's log (SPEC 2): every reader of a room gets the same
/// entries, each once, in order, without a hole; every accepted send is in that log where its answer says, and every
/// member gets it.
///
/// Owner      one load thread. With several, each checks its own readers and senders; `room_heads` (atomics) tells all how
///            far a room has come, and compare_histories() compares what each saw when all have stopped.
/// Memory     a room keeps an entry until all local readers and its answer have come: what is under way, or missed by
///            those who are away, no more.
/// Reconnects a reading outlives its connection. resumed() says where the next one starts; what it repeats from before
///            that the reader has already is checked and not counted, what it leaves out is a fault (SPEC 2.3).
/// Cost       one look at the room and one at the entry per delivery, no hashing of rooms, no allocation.

#include "bench/faults.hpp"
#include "bench/message_stamp.hpp"
#include "bench/room_heads.hpp"
#include "bench/send_ledger.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parley::bench {

/// One reader's position in one room. Kept by the connection, which finds it by the room's id; outlives reconnects.
struct reading {
  std::uint64_t room_key = 0;  // fingerprint of the room's id
  std::uint32_t room = 0;
  std::uint32_t reader = 0;    // connection, for messages
  std::uint64_t position = 0;  // the last seq that came, on whatever connection
  std::uint64_t here = 0;      // the last seq that came on this connection; ≤ position
  std::uint64_t acked = 0;     // the node has confirmed this cursor
  bool is_started = false;     // the node has said where it starts
};

/// What a frame says about (room, seq). An answer and an entry agree on `identity`; two entries on `whole` too.
struct entry_facts {
  std::uint64_t identity = 0;  // message_id and created_at
  std::uint64_t whole = 0;     // kind, sender too
  std::optional<message_stamp> stamp;
};

/// 64 bits of some text, never 0. Not for adversaries.
[[nodiscard]] std::uint64_t fingerprint(std::string_view text, std::uint64_t seed = 0);

struct delivery {
  bool is_counted = false;  // new to this reader, and in order or late
  bool is_last = false;     // all readers of the room, in all threads, have it now
};

class checker {
 public:
  /// `first_sender`: senders of this thread are numbered from there.
  checker(room_heads& heads, std::uint32_t first_sender, std::uint32_t senders);

  /// Rooms are known by their index, the same in all threads. Before anything else.
  void add_reader(std::uint32_t room);

  // A connection's sync.
  void started(reading& r, std::uint64_t after_seq);
  void skipped(reading& r, std::uint64_t from_seq, std::uint64_t to_seq);  // a stated gap
  /// The sync of a later connection: entries after `after_seq` will come. It may lie before the position (a cursor that
  /// was acknowledged long ago), but not beyond it, nor before what the node confirmed as acknowledged.
  void resumed(reading& r, std::uint64_t after_seq);
  /// The node's answer to an `ack`: the cursor.
  void acked(reading& r, std::uint64_t seq);
  void synced(const reading& r, std::string_view outcome, std::optional<std::uint64_t> seq);
  /// The load begins: from now on completeness is checked. Once per reading, all synced.
  void begin_load(const reading& r);

  delivery entry(reading& r, std::uint64_t seq, const entry_facts& facts);

  // A sender's side. Answers give the send that they close, nullopt if there is none.
  void sent(std::uint32_t sender, std::uint32_t number, std::uint32_t room, std::int64_t due_ns);
  std::optional<open_send> accepted(const message_stamp& stamp, std::uint32_t room,
                                    std::uint64_t seq, std::uint64_t identity);
  std::optional<open_send> refused(const message_stamp& stamp, bool may_be_stored);
  [[nodiscard]] std::size_t open_sends() const { return open_sends_; }
  [[nodiscard]] std::size_t open_sends_of(std::uint32_t sender) const;

  /// Gaps are a fault (`gap`) unless allowed here; either way they are counted, and what they leave out is not missing.
  void allow_gaps() { allows_gaps_ = true; }
  [[nodiscard]] std::uint64_t gaps() const { return gaps_; }
  [[nodiscard]] std::uint64_t entries_in_gaps() const { return entries_in_gaps_; }
  /// Entries that came again on a later connection, as its start allowed.
  [[nodiscard]] std::uint64_t repeated_after_resume() const { return repeated_after_resume_; }

  /// The connection of a sender is gone, and with it the answers to its open sends. It will send them again, with the same
  /// client_msg_id; then the answer may say `duplicate` (SPEC 2.4). Gives them, oldest first.
  [[nodiscard]] std::vector<open_send> resend(std::uint32_t sender);

  /// A reader is gone for good: its rooms cannot become complete any more and are left out of that check.
  void lost(const reading& r);
  /// Nothing is under way: all that anybody saw or was promised has reached every local reader.
  [[nodiscard]] bool is_complete() const;
  /// What is missing now is missing. Call for each reading, then once without.
  void finish(const reading& r);
  void finish();

  [[nodiscard]] fault_log& faults() { return faults_; }
  [[nodiscard]] const fault_log& faults() const { return faults_; }

  /// Two threads' readers of a room saw the same log: what differs, added to `faults`. After finish().
  static void compare_histories(std::span<const checker* const> checkers, fault_log& faults);

  static constexpr std::size_t room_log_max_entries = std::size_t{1} << 22;

 private:
  struct log_entry {
    std::uint64_t identity = 0;  // 0: nobody has told of it yet
    std::uint64_t whole = 0;     // 0: only its answer has come
    std::uint32_t received = 0;
    bool awaits_answer = false;
    bool has_stamp = false;
    message_stamp stamp{};
  };
  struct room_log {
    std::uint32_t readers = 0;  // local ones
    bool is_loading = false;
    bool is_given_up = false;  // a reader was lost, or too far behind
    bool has_gaps = false;     // somebody was told of one: no two threads need have seen the same
    std::uint64_t base = 1;    // seq of the first kept entry; all before it is complete
    std::uint64_t chain = 0;   // running fingerprint over what was complete, in order
    std::deque<log_entry> entries;
  };

  [[nodiscard]] bool is_local(std::uint32_t sender) const {
    return sender - first_sender_ < ledgers_.size();
  }
  log_entry* entry_at(std::uint32_t room, std::uint64_t seq);
  enum class arrival : std::uint8_t { fresh, again, wrong };
  arrival in_order(reading& r, std::uint64_t seq);
  /// Was it left out before? Then it no longer is.
  bool fills_hole(const reading& r, std::uint64_t seq);
  void excuse(const reading& r, std::uint64_t from_seq, std::uint64_t to_seq);
  void first_seen(log_entry& e, std::uint32_t room, std::uint64_t seq, const entry_facts& facts);
  void match_send(log_entry& e, std::uint32_t room, std::uint64_t seq, const message_stamp& stamp);
  void release(std::uint32_t room);
  [[nodiscard]] std::string place(const reading& r) const;

  room_heads& heads_;
  std::uint32_t first_sender_;
  std::vector<send_ledger> ledgers_;
  std::size_t open_sends_ = 0;
  std::vector<room_log> rooms_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::set<std::uint64_t>> holes_;  // by reader, room
  bool allows_gaps_ = false;
  std::uint64_t gaps_ = 0;
  std::uint64_t entries_in_gaps_ = 0;
  std::uint64_t repeated_after_resume_ = 0;
  fault_log faults_;
};

}  // namespace parley::bench
