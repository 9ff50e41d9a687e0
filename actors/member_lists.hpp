#pragma once
/// Who of a big room has acked how far, for message.offline: read in slices, kept for a while, used by all messages that
/// were due before it was begun (DESIGN 11: one look at a room's cursors, not one a message).
/// Owner      the outbox; not thread-safe. No clock, no I/O.
/// Bound      complete lists ≤ `max_bytes`, but for the newest one: those not used for the longest time go. At most two are
///            being read. A room's next one is begun no sooner than 10 s × members / 100,000 after the last.

#include "actors/messages.hpp"
#include "protocol/seams.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace parley::actors {

class member_lists {
 public:
  member_lists(std::size_t max_bytes, std::size_t slice) : max_bytes_(max_bytes), slice_(slice) {}

  /// A list that was begun at `due` or later. nullptr: there is none yet, it is wanted now.
  const std::vector<store::acked_member>* find(tenant_no tenant, room_no room, utc_time due,
                                               mono_time now);
  struct slice_read {
    tenant_no tenant;
    acked_members_query query;
  };
  /// What to read next, if anything may be read now: then its answer, or failed(), has to come.
  std::optional<slice_read> next(mono_time now, utc_time utc);
  /// True: the list is complete.
  bool on_slice(room_no room, const store::acked_members& slice, mono_time now);
  /// The slice was not read; the same one is asked for again.
  void failed(room_no room);
  /// Lets go of what is old.
  void tick(mono_time now);

  [[nodiscard]] bool has_work() const { return wanted_ > 0; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  struct list {
    tenant_no tenant;
    std::vector<store::acked_member> members;
    std::size_t bytes = 0;
    utc_time begun{};
    mono_time begun_at{};
    mono_time next_begin{};
    std::uint64_t used = 0;  ///< stamp
    user_no after{};
    bool wanted = false;  ///< somebody waits for one, begun or not
    bool reading = false;
    bool slice_under_way = false;
    bool complete = false;
  };
  void drop(list& l);
  void make_room_beside(room_no newest);

  const std::size_t max_bytes_;
  const std::size_t slice_;
  std::unordered_map<room_no, list> lists_;
  std::size_t bytes_ = 0;
  std::size_t wanted_ = 0;
  std::size_t reading_ = 0;
  std::uint64_t stamp_ = 0;
};

/// The JSON strings, comma-separated, of whom a message is to be told about: those who were there before it, did not send
/// it and have not acked it. Empty: nobody.
[[nodiscard]] std::string recipients_of(const std::vector<store::acked_member>& members,
                                        room_seq message, const user_id& sender);

}  // namespace parley::actors
