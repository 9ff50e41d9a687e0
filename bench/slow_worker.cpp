#include "bench/slow_worker.hpp"

#include "bench/steady_time.hpp"

#include <utility>

namespace parley::bench {

slow_worker::slow_worker(const fleet_plan& plan, std::uint32_t first, std::uint32_t count,
                         session_options sessions, const slow_options& options, room_heads& heads,
                         run_schedule& schedule)
    : message_worker{plan, first, count, std::move(sessions), options.send, heads, schedule},
      options_{options},
      stops_(count),
      by_step_(slow_step(options.rounds, slow_phase::between) + 1) {
  const std::uint32_t audience = plan.connections - options.send.senders;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (first + i < options.send.senders) continue;
    stops_[i] = is_stopper(first + i - options.send.senders, audience, options.stopped);
    if (stops_[i]) set_receive_buffer(i, options.receive_buffer_bytes);
  }
}

bool slow_worker::will_return(std::uint32_t client, const close_notice& notice) {
  constexpr std::uint16_t stalled = 4008;
  constexpr std::uint16_t heartbeat_lost =
      4009;  // it was sent too little to stall, and answers no ping
  constexpr std::uint16_t without_a_frame = 1006;
  const bool is_expected =
      notice.code == stalled || notice.code == heartbeat_lost || notice.code == without_a_frame;
  if (!stops_[client] || !is_expected) return false;
  come_back(client, now_ns());
  return true;
}

void slow_worker::on_delivery(std::uint32_t client, const delivery& what,
                              const message_stamp& stamp, std::int64_t now) {
  if (stops_[client]) return;
  message_worker::on_delivery(client, what, stamp, now);
  by_step_[step_].record(now - stamp.due_ns);
}

std::int64_t slow_worker::on_turn(std::int64_t now) {
  step_ = schedule().step.load();
  const slow_phase phase = phase_of(step_);
  const bool is_stopped = phase == slow_phase::stopping || phase == slow_phase::some_stopped;
  if (is_stopped != std::exchange(is_stopped_, is_stopped)) {
    for (std::uint32_t client = 0; client < count(); ++client) {
      if (!stops_[client]) continue;
      is_stopped ? pause_reading(client) : resume_reading(client);
    }
  }
  return message_worker::on_turn(now);
}

}  // namespace parley::bench
