#pragma once
/// A load thread that counts who is told of whom: presence.update and typing (SPEC 5).
///
/// The plan's first two rooms are special: room 0 has as many members as presence and typing are shown to, room 1 one more.
/// The last `togglers` members of each act by steps; frames are counted at the members that do not act, and in the other
/// rooms, whose members (the herd) leave and come back together. Talkers, the first members of room 0, send messages.

#include "bench/message_worker.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace parley::bench {

/// What schedule.step says is going on; each in turn.
enum class presence_step : std::uint32_t {
  arrive,  // all have connected: frames about that, not checked
  herd,    // the herd is cut and comes back within the grace
  away,    // presence.set away
  online,  // presence.set online
  leave,   // they are gone for longer than the grace
  come_back,
  typing_start,
  typing_stop,
  end,
};
inline constexpr std::size_t presence_steps = static_cast<std::size_t>(presence_step::end) + 1;

struct presence_options {
  send_options send;  // senders: the talkers
  std::uint32_t togglers = 1;
  std::int64_t herd_absence_ns = 0;
};

/// Frames that came in one step.
struct presence_counts {
  std::map<std::string, std::uint64_t> shown;  // about a member of room 0, at one that does not act: status or action
  std::uint64_t about_herd = 0;       // presence of the herd, to whomever
  std::uint64_t beyond_limit = 0;     // in, or about a member of, room 1
  std::uint64_t about_strangers = 0;  // about a user that shares no room with the reader
  std::uint64_t own = 0;              // about the reader itself
  std::uint64_t answered_ok = 0;
  std::uint64_t answered_unserved = 0;  // VALIDATION_ERROR: the node does not know the frame
  void add(const presence_counts& other);
};

class presence_worker final : public message_worker {
 public:
  presence_worker(const fleet_plan& plan, std::uint32_t first, std::uint32_t count,
                  session_options sessions, const presence_options& options, room_heads& heads,
                  run_schedule& schedule);

  /// By presence_step. After run().
  [[nodiscard]] const std::array<presence_counts, presence_steps>& counts() const {
    return counts_;
  }

 private:
  bool on_event(std::uint32_t client, const frame_fields& frame, std::int64_t now) override;
  std::int64_t on_turn(std::int64_t now) override;

  void act(presence_step step, std::int64_t now);
  void count_shown(std::uint32_t client, std::string_view user, std::string_view what,
                   std::uint32_t room);
  /// The connection whose user this is; plan().connections: none.
  [[nodiscard]] std::uint32_t connection_of(std::string_view user) const;

  static constexpr std::uint32_t any_room = 0xffffffff;

  presence_options options_;
  std::vector<std::uint8_t> places_;  // by connection of the plan: bits of rooms 0, 1, and whether it acts
  presence_step step_ = presence_step::arrive;
  std::array<presence_counts, presence_steps> counts_;
};

/// `small` + 1 members in room 1, `small` in room 0, and a herd in rooms of `herd_members`, each with a talker.
[[nodiscard]] fleet_plan plan_presence(std::uint32_t talkers, std::uint32_t small,
                                       std::uint32_t herd, std::uint32_t herd_members);

}  // namespace parley::bench
