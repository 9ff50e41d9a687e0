#pragma once
/// Just enough of a node for tests of the load tool: REST to make a tenant and rooms, WebSocket with hello, sync and
/// send_message, ack, presence and typing; everything in memory, in one thread, on a loopback port of its own. `POST /drain`
/// sends all connections away as a SIGTERM would. Its point is that it can be made to break each promise that the load tool
/// claims to check.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

namespace parley::bench {

enum class defect {
  none,
  drop,              // one reader misses one entry; the next ones come
  drop_rest,         // one reader gets nothing from some entry on
  repeat,            // one reader gets an entry twice
  swap,              // one reader gets two entries in the wrong order
  differ,            // one reader sees another message under a seq
  leak,              // one entry goes to somebody who is not in the room
  garble,            // one entry's content is another
  store_twice,       // one send gets two seqs
  answer_not,        // one send is never answered
  answer_twice,      // one send is answered twice
  answer_wrong_seq,  // one answer names another seq than readers see
  answer_duplicate,  // one first send is called a duplicate
  lose_accepted,     // one send is accepted and goes nowhere
  refuse,            // one send gets VALIDATION_ERROR
  refuse_but_store,  // one send is refused as not stored, and stored
  overload,          // every third send: RATE_LIMIT_EXCEEDED, which is the node's right
  doubt,             // one send: stored "unknown", and it was; also its right
  disconnect,        // one connection is closed with 1011
  mask,              // one frame is masked
  bad_utf8,          // one frame is not UTF-8
  not_json,          // one frame is not JSON
  no_sync_done,      // one connection is never synced
  wrong_recovery,    // one connection is told that it has more than it got
  busy_upgrade,      // the first upgrades get 503 and Retry-After, which is the node's right
  refuse_upgrade,    // one upgrade gets 403
  slow_down,         // answers every send 30 ms late, which is slow but right
  fragment,          // every message comes in fragments with pings between, which is right
  // When a user comes back (once, to a connection that missed two entries or more):
  resume_drop,        // the first missed entry is left out
  resume_short,       // the last missed entry is left out
  resume_repeat,      // the entry before its position comes again
  resume_swap,        // the first two missed entries change places
  resume_other,       // the first missed entry is another one
  resume_gap,         // the first missed entry is a stated gap
  resume_reset,       // outcome reset
  new_epoch,          // hello has another epoch after a drain
  forget_keys,        // answer_not, and the same client_msg_id is stored again
  wrong_drain_code,   // one connection is closed with 1011 by a drain
  flap,               // presence shows those who are gone for a moment
  show_in_big_rooms,  // presence and typing are shown in rooms over the limit
  show_strangers,     // typing is shown to one who is not in the room
};

struct fake_node_options {
  defect flaw = defect::none;
  std::uint64_t at_message = 20;  // defects that happen once happen to this message
  std::uint64_t frames_per_s = 0;
  bool takes_any_master_key = false;
  /// Closes connections that take nothing for so long with 4008, and has small buffers; 0: never.
  std::int64_t stall_ns = 0;
  /// Presence and typing are shown in rooms up to this size; 0: answers like a node that does not know them.
  std::size_t presence_max_members = 0;
  std::int64_t presence_grace_ns = 0;
};

class fake_node {
 public:
  explicit fake_node(fake_node_options options = {});
  ~fake_node();
  fake_node(const fake_node&) = delete;
  fake_node& operator=(const fake_node&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  static constexpr const char* master_key = "fake-master-key";

  // What happened, for assertions; from any thread.
  [[nodiscard]] std::uint64_t messages() const;
  [[nodiscard]] std::uint64_t tenants_deleted() const;
  [[nodiscard]] std::uint64_t pongs() const;
  [[nodiscard]] std::uint64_t duplicates() const;
  /// Upgrades of users that had been connected before.
  [[nodiscard]] std::uint64_t returns() const;

 private:
  class server;
  std::unique_ptr<server> server_;
  std::uint16_t port_ = 0;
  std::jthread thread_;
};

}  // namespace parley::bench
