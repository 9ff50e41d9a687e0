#pragma once
/// What has passed a gateway lately, for readers whose snapshot was taken meanwhile (DESIGN 3.6): memberships and ends in
/// order, and of each room where its newest unbroken run of entries begins and ends. A reader that comes back replays what
/// concerns it, not all that was said since: a herd of n readers costs n, not n times the traffic.
/// Owner      one gateway's subscriptions; not thread-safe.
/// Bound      the last limits::publish_log_entries publishes, fewer if their memberships take more than
///            limits::publish_log_max_bytes.

#include "actors/messages.hpp"
#include "protocol/ids.hpp"
#include "protocol/limits.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

namespace parley::net {

class publish_log {
 public:
  /// Counts publishes from the start.
  using position = std::uint64_t;

  struct event {
    position at;
    room_key room;
    room_no no;
    room_seq last_seq;
    commit_no commit;
    bool gone;
    std::vector<actors::member_change> members;
  };
  /// A room's newest publishes without a hole between them: (first − 1, last].
  struct run {
    room_seq first;
    room_seq last;
    position at;  ///< of the newest
  };

  void add(const actors::publish& m) {
    const auto at = end_++;
    rooms_.push_back(m.room);
    const auto [it, fresh] = runs_.try_emplace(m.room, run{m.first_seq, m.last_seq(), at});
    if (!fresh) {
      auto& r = it->second;
      if (m.first_seq.value > r.last.value + 1) r.first = m.first_seq;
      r.last = std::max(r.last, m.last_seq());
      r.at = at;
    }
    if (m.gone || !m.members.empty()) {
      events_.push_back({at, m.room, m.no, m.last_seq(), m.commit, m.gone, m.members});
      event_bytes_ += bytes_of(events_.back());
    }
    while (rooms_.size() > limits::publish_log_entries ||
           (event_bytes_ > limits::publish_log_max_bytes && rooms_.size() > 1)) {
      forget_oldest();
    }
  }

  /// Where a reader stands who asks for its snapshot now.
  [[nodiscard]] position end() const { return end_; }
  /// False: something after `from` is forgotten; the snapshot must be taken again.
  [[nodiscard]] bool remembers(position from) const { return from >= end_ - rooms_.size(); }
  /// nullptr: nothing of it is remembered.
  [[nodiscard]] const run* newest_run(const room_key& room) const {
    const auto it = runs_.find(room);
    return it == runs_.end() ? nullptr : &it->second;
  }
  /// Memberships and ends from `from` on, in order; `take` may add no publish.
  template <class F>
  void for_events_from(position from, F&& take) const {
    auto it = std::lower_bound(events_.begin(), events_.end(), from,
                               [](const event& e, position p) { return e.at < p; });
    for (; it != events_.end(); ++it) take(*it);
  }
  [[nodiscard]] std::size_t size() const { return rooms_.size(); }
  [[nodiscard]] std::size_t event_bytes() const { return event_bytes_; }

 private:
  static std::size_t bytes_of(const event& e) {
    auto bytes = sizeof(event) + e.members.size() * sizeof(actors::member_change);
    const std::string* last = nullptr;
    for (const auto& m : e.members) {
      bytes += m.user.value.size();
      if (m.room_json && m.room_json.get() != last) {  // members of one role share it
        last = m.room_json.get();
        bytes += last->size();
      }
    }
    return bytes;
  }
  void forget_oldest() {
    const auto at = end_ - rooms_.size();
    if (const auto it = runs_.find(rooms_.front()); it->second.at == at) runs_.erase(it);
    if (!events_.empty() && events_.front().at == at) {
      event_bytes_ -= bytes_of(events_.front());
      events_.pop_front();
    }
    rooms_.pop_front();
  }

  position end_ = 0;
  std::deque<room_key> rooms_;  ///< of the publishes [end_ − size, end_)
  std::deque<event> events_;
  std::size_t event_bytes_ = 0;
  std::unordered_map<room_key, run> runs_;
};

}  // namespace parley::net
