#pragma once
/// What is shown and not kept (docs/adr/0008): presence, typing, receipts of other members, to the connections of one
/// gateway on which the room is live. Never to the user's own connections. Pure: no sockets, no CAF, no clock.
/// Owner      one gateway, on its I/O thread; not thread-safe.
/// Bound      receipts that wait ≤ options.receipts_max; frames of a flush of them ≤ receipt_frames_per_flush, the rest
///            waits; presence in groups ≤ presence_frames_per_s, of ≤ presence_waiting_max users that wait. Whoever is behind gets none of it
///            (SPEC 2.6), and that is counted.

#include "actors/messages.hpp"
#include "net/subscriptions.hpp"

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

namespace parley::net {

class ephemeral_ports {
 public:
  ephemeral_ports() = default;
  ephemeral_ports(const ephemeral_ports&) = delete;
  ephemeral_ports& operator=(const ephemeral_ports&) = delete;
  virtual ~ephemeral_ports() = default;
  /// The connection keeps up: at least half of its outbound bound is free.
  [[nodiscard]] virtual bool keeps_up(connection_ref c) const = 0;
  /// Queues a frame. Must not call back.
  virtual void send_ephemeral(connection_ref c, const frame_ptr& f) = 0;
};

struct ephemerals_options {
  std::size_t receipts_max = limits::receipts_max;
  std::size_t receipt_frames_per_flush = 8192;
  std::size_t presence_frames_per_s =
      20000;  ///< in slices of a tick; beyond it groups wait, dms do not
  std::size_t presence_waiting_max = 16384;  ///< users; beyond it groups are not told
};

struct ephemeral_counters {
  std::uint64_t sent = 0;
  std::uint64_t dropped_behind = 0;  ///< frames, for readers that are behind
  std::uint64_t dropped_full = 0;    ///< receipts, as too many waited
  std::uint64_t dropped_budget = 0;  ///< presence updates, not told in groups
  [[nodiscard]] std::uint64_t dropped() const {
    return dropped_behind + dropped_full + dropped_budget;
  }
};

class ephemerals {
 public:
  ephemerals(const subscriptions& readers, ephemeral_ports& ports,
             const ephemerals_options& options = {});
  ephemerals(const ephemerals&) = delete;
  ephemerals& operator=(const ephemerals&) = delete;

  void on(const actors::presence_shown_ptr& m);
  void on(const actors::typing_shown_ptr& m);
  void on(const actors::cursors_shown_ptr& m);
  /// About every 100 ms. Receipts leave at every second one, so none waits longer than 250 ms (I14).
  void tick();

  /// A frame for one connection, of whatever kind: dropped when it is behind. False: dropped.
  bool send(connection_ref c, const frame_ptr& f);

  [[nodiscard]] std::size_t receipts_waiting() const { return receipts_.size(); }
  [[nodiscard]] const ephemeral_counters& counters() const { return counters_; }

 private:
  struct receipt_key {
    room_key room;
    user_id user;
    bool operator==(const receipt_key&) const = default;
  };
  struct receipt_hash {
    std::size_t operator()(const receipt_key& k) const {
      return hash_combine(std::hash<room_key>{}(k.room), std::hash<user_id>{}(k.user));
    }
  };
  struct receipt {
    room_seq ack;   ///< 0: none waits
    room_seq read;  ///< likewise
  };

  /// Connections on which `room` is live, without those of `user`, into audience_.
  void add_audience(const room_key& room, const user_id& user);
  std::size_t send_to_audience(const frame_ptr& f);
  enum class audience_of : std::uint8_t { dms, all, groups_alone };
  void show(const actors::presence_shown& m, audience_of whom);
  void flush_presence();
  void flush_receipts();
  template <class Append>
  frame_ptr frame(Append&& append);

  const subscriptions& readers_;
  ephemeral_ports& ports_;
  const ephemerals_options options_;
  std::unordered_map<receipt_key, receipt, receipt_hash> receipts_;
  std::deque<receipt_key> receipts_in_order_;  ///< the keys of receipts_, oldest first
  std::unordered_map<user_key, actors::presence_shown_ptr> presence_;  ///< told in dms, not yet in groups
  std::deque<user_key> presence_in_order_;  ///< the keys of presence_, oldest first
  std::int64_t presence_left_;              ///< frames of this slice; negative: of the next ones
  std::uint32_t ticks_ = 0;
  std::vector<subscriptions::live_reader> audience_;  // scratch
  std::string scratch_;
  ephemeral_counters counters_;
};

}  // namespace parley::net
