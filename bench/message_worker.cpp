#include "bench/message_worker.hpp"

#include "bench/steady_time.hpp"

#include <algorithm>
#include <utility>

namespace parley::bench {

void message_figures::add(const message_figures& other) {
  sent += other.sent;
  accepted += other.accepted;
  deliveries += other.deliveries;
  overdue += other.overdue;
  unsent += other.unsent;
  accept_times.add(other.accept_times);
  delivery_times.add(other.delivery_times);
  last_times.add(other.last_times);
}

message_worker::message_worker(const fleet_plan& plan, std::uint32_t first, std::uint32_t count,
                               session_options sessions, send_options send, room_heads& heads,
                               run_schedule& schedule)
    : chat_worker{plan, first, count, std::move(sessions), heads, schedule},
      options_{send},
      senders_(send.senders > first ? std::min(count, send.senders - first) : 0) {}

void message_worker::look_at_schedule() {
  from_ = schedule().load_from.load(std::memory_order_relaxed);
  measure_from_ = schedule().measure_from.load(std::memory_order_relaxed);
  to_ = schedule().measure_to.load(std::memory_order_relaxed);
}

void message_worker::on_delivery(std::uint32_t client, const delivery& what,
                                 const message_stamp& stamp, std::int64_t now) {
  if (is_measured(now)) ++figures_.deliveries;
  // Times of those who were there when it was due; how long the others took to come back is told apart.
  if (!is_measured(stamp.due_ns) || stamp.due_ns < ready_ns(client)) return;
  figures_.delivery_times.record(now - stamp.due_ns);
  if (what.is_last) figures_.last_times.record(now - stamp.due_ns);
}

void message_worker::on_accepted(std::uint32_t client, const open_send& send, std::int64_t now) {
  if (is_measured(now)) ++figures_.accepted;
  if (is_measured(send.due_ns)) figures_.accept_times.record(now - send.due_ns);
  if (options_.rate == 0) send_or_wait(client, now);
}

void message_worker::on_refusal(std::uint32_t client, const open_send& /*send*/,
                                std::int64_t retry_after_ns, std::int64_t now) {
  if (options_.rate == 0) waiting_.push({now + std::max(retry_after_ns, ns_per_ms), client});
}

/// The node tells how many frames a second it takes from a connection, and closes those that send more.
bool message_worker::may_send(std::uint32_t client, std::int64_t now) {
  if (frames_per_s() == 0) return true;
  // Half a second's worth at once: below any burst that goes with such a rate.
  const auto step = ns_per_s / static_cast<std::int64_t>(frames_per_s());
  sender& s = senders_[client];
  if (s.next_allowed_ns > now + ns_per_s / 2) return false;
  s.next_allowed_ns = std::max(s.next_allowed_ns, now) + step;
  return true;
}

void message_worker::send_or_wait(std::uint32_t client, std::int64_t now) {
  if (!is_sending(now)) return;
  if (may_send(client, now)) {
    send_one(client, now, now);
  } else {
    waiting_.push({senders_[client].next_allowed_ns - ns_per_s / 2, client});
  }
}

void message_worker::send_one(std::uint32_t client, std::int64_t due, std::int64_t /*now*/) {
  sender& s = senders_[client];
  const auto rooms = readings(client);
  const reading& room = rooms[s.next_room++ % rooms.size()];
  if (is_measured(due)) ++figures_.sent;
  send_message(client, room, {first() + client, s.next_number++, due});
}

/// This thread's share of the rate, by its share of the senders.
double message_worker::paced_per_s() const {
  return options_.rate * static_cast<double>(senders_.size()) / static_cast<double>(options_.senders);
}

std::int64_t message_worker::due_of(std::uint64_t message) const {
  return from_ + static_cast<std::int64_t>(static_cast<double>(message) * 1e9 / paced_per_s());
}

/// What fell due in the last moments still goes, if a sender is free.
void message_worker::end_pacing(std::int64_t now) {
  has_ended_ = true;
  send_paced(now);
  const auto due = static_cast<std::uint64_t>(seconds_of(to_ - from_) * paced_per_s());
  for (; paced_sent_ < due; ++paced_sent_) {
    ++figures_.overdue;
    if (is_measured(due_of(paced_sent_))) figures_.accept_times.record(to_ - due_of(paced_sent_));
  }
}

void message_worker::send_paced(std::int64_t now) {
  const auto count = static_cast<std::uint32_t>(senders_.size());
  for (std::int64_t due = due_of(paced_sent_); due <= now && due < to_; due = due_of(++paced_sent_)) {
    std::uint32_t tried = 0;
    bool is_anybody_there = false;
    while (tried < count) {
      const std::uint32_t client = next_sender_;
      next_sender_ = (next_sender_ + 1) % count;
      is_anybody_there = is_anybody_there || is_ready(client);
      if (is_ready(client) && open_sends_of(client) < options_.in_flight && may_send(client, now)) {
        send_one(client, due, now);
        break;
      }
      ++tried;
    }
    if (tried == count && is_anybody_there) return;  // all are busy: it stays due
    if (tried == count) ++figures_.unsent;
  }
}

std::int64_t message_worker::on_turn(std::int64_t now) {
  look_at_schedule();
  if (senders_.empty() || now < from_) return from_;
  if (!is_sending(now)) {
    if (options_.rate > 0 && !has_ended_) end_pacing(now);
    return never;
  }
  if (!has_begun_) {
    has_begun_ = true;
    for (std::uint32_t i = 0; options_.rate == 0 && i < senders_.size(); ++i) {
      for (std::uint32_t n = 0; is_ready(i) && n < options_.in_flight; ++n) send_or_wait(i, now);
    }
  }
  while (!waiting_.empty() && waiting_.top().at_ns <= now) {
    const std::uint32_t client = waiting_.top().client;
    waiting_.pop();
    if (is_ready(client)) send_or_wait(client, now);
  }
  std::int64_t next = waiting_.empty() ? never : waiting_.top().at_ns;
  if (options_.rate > 0) {
    send_paced(now);
    // While all senders are busy the next message is overdue: an answer wakes us then.
    const std::int64_t due = due_of(paced_sent_);
    next = std::min(next, due > now ? due : now + ns_per_ms);
  }
  return next;
}

}  // namespace parley::bench
