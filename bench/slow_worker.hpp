#pragma once
/// A load thread of which some readers stop reading now and then: their sockets stay open and nothing is taken from them.
/// What the others see is measured apart, by round, with and without the stopped ones.
///
/// schedule.step: what is going on, see slow_step. A reader that the node closed for it (4008; or 1006, as a close frame
/// cannot reach one who does not read) finds out when it reads again, comes back at once and resumes.

#include "bench/message_worker.hpp"

#include <cstdint>
#include <vector>

namespace parley::bench {

struct slow_options {
  send_options send;          // senders: the talkers
  std::uint32_t stopped = 0;  // so many of the audience, evenly
  std::uint32_t rounds = 1;
  int receive_buffer_bytes = 0;  // of those
};

/// Round r, from 0: nothing measured, all read, measured, then some stopped, measured; and all read again.
enum class slow_phase : std::uint8_t { between = 0, all_read = 1, some_stopped = 2, stopping = 3 };
[[nodiscard]] constexpr std::uint32_t slow_step(std::uint32_t round, slow_phase phase) {
  return round * 4 + static_cast<std::uint32_t>(phase);
}
[[nodiscard]] constexpr slow_phase phase_of(std::uint32_t step) {
  return static_cast<slow_phase>(step % 4);
}

/// Is this member of an audience one of the `stopped`? Exactly so many are, spread evenly.
[[nodiscard]] constexpr bool is_stopper(std::uint64_t listener, std::uint64_t audience,
                                        std::uint64_t stopped) {
  return (listener + 1) * stopped / audience != listener * stopped / audience;
}

class slow_worker final : public message_worker {
 public:
  slow_worker(const fleet_plan& plan, std::uint32_t first, std::uint32_t count,
              session_options sessions, const slow_options& options, room_heads& heads,
              run_schedule& schedule);

  /// Deliveries to those that always read, by slow_step. After run().
  [[nodiscard]] const std::vector<histogram>& by_step() const { return by_step_; }

 private:
  bool will_return(std::uint32_t client, const close_notice& notice) override;
  void on_delivery(std::uint32_t client, const delivery& what, const message_stamp& stamp,
                   std::int64_t now) override;
  std::int64_t on_turn(std::int64_t now) override;

  slow_options options_;
  std::vector<bool> stops_;  // by client
  std::vector<histogram> by_step_;
  std::uint32_t step_ = 0;
  bool is_stopped_ = false;
};

}  // namespace parley::bench
