#pragma once
/// A load thread that sends messages, and measures answers and deliveries.
///
/// Closed loop  each sender keeps `in_flight` sends open: the next one goes when an answer comes. Latency counts from the
///              send. Shows what the node can take.
/// Open loop    all senders of the run together send `rate` messages a second, each due at its own time. Latency counts
///              from when it was due, also if it had to wait for a free sender: a node that stalls cannot hide behind a
///              client that waits for it (coordinated omission). What was due and could not be sent before the end counts
///              as an answer that took at least until the end. While all senders are away nothing is sent: those are told.
///
/// A send refused as too much is counted; its place is taken by another message after `retry_after_ms`.

#include "bench/chat_worker.hpp"
#include "bench/histogram.hpp"

#include <cstddef>
#include <cstdint>
#include <queue>
#include <vector>

namespace parley::bench {

struct send_options {
  std::uint32_t senders = 0;  // connections [0, senders) of the plan send
  std::uint32_t in_flight = 1;
  double rate = 0;  // of all threads together; 0: closed loop
};

/// What was measured between measure_from and measure_to.
struct message_figures {
  std::uint64_t sent = 0;
  std::uint64_t accepted = 0;
  std::uint64_t deliveries = 0;
  std::uint64_t overdue = 0;  // open loop: due before the end, but no sender was free until then
  std::uint64_t unsent = 0;   // open loop: due while all senders were away
  histogram accept_times;     // due → message.accepted
  histogram delivery_times;   // due → message, at each reader
  histogram last_times;       // due → message, at the last reader
  void add(const message_figures& other);
};

class message_worker : public chat_worker {
 public:
  message_worker(const fleet_plan& plan, std::uint32_t first, std::uint32_t count,
                 session_options sessions, send_options send, room_heads& heads,
                 run_schedule& schedule);

  /// After run().
  [[nodiscard]] const message_figures& figures() const { return figures_; }

 protected:
  void on_delivery(std::uint32_t client, const delivery& what, const message_stamp& stamp,
                   std::int64_t now) override;
  std::int64_t on_turn(std::int64_t now) override;

 private:
  struct sender {
    std::uint32_t next_number = 0;
    std::uint32_t next_room = 0;
    std::int64_t next_allowed_ns = 0;  // by the node's limits.frames_per_s
  };
  struct wake {
    std::int64_t at_ns;
    std::uint32_t client;
    bool operator>(const wake& other) const { return at_ns > other.at_ns; }
  };

  void on_accepted(std::uint32_t client, const open_send& send, std::int64_t now) override;
  void on_refusal(std::uint32_t client, const open_send& send, std::int64_t retry_after_ns,
                  std::int64_t now) override;

  void look_at_schedule();
  [[nodiscard]] bool is_sending(std::int64_t now) const { return now >= from_ && now < to_; }
  [[nodiscard]] bool is_measured(std::int64_t at) const { return at >= measure_from_ && at < to_; }
  /// Sends now, or when the node's frame rate allows it.
  void send_or_wait(std::uint32_t client, std::int64_t now);
  bool may_send(std::uint32_t client, std::int64_t now);
  void send_one(std::uint32_t client, std::int64_t due, std::int64_t now);
  void send_paced(std::int64_t now);
  [[nodiscard]] double paced_per_s() const;
  [[nodiscard]] std::int64_t due_of(std::uint64_t message) const;
  void end_pacing(std::int64_t now);

  send_options options_;
  std::vector<sender> senders_;  // those of this thread
  bool has_begun_ = false;
  bool has_ended_ = false;
  std::int64_t from_ = never;
  std::int64_t measure_from_ = never;
  std::int64_t to_ = never;
  std::uint64_t paced_sent_ = 0;  // with those that were not sent because all were away
  std::uint32_t next_sender_ = 0;
  // Bound: one a place in flight.
  std::priority_queue<wake, std::vector<wake>, std::greater<>> waiting_;
  message_figures figures_;
};

}  // namespace parley::bench
