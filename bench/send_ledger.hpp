#pragma once
/// The sends of one connection that still wait for their reply: exactly one is due to each (SPEC 2.5).
/// Bound: as many as the load keeps in flight; answers mostly come in order, so a look-up looks at one or two.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <unordered_set>
#include <vector>

namespace parley::bench {

struct open_send {
  std::uint32_t number = 0;
  std::uint32_t room = 0;
  std::int64_t due_ns = 0;
  std::uint64_t seen_seq = 0;  // where a reader saw it before its reply came; 0: nowhere yet
  bool is_answered = false;
  bool is_resent = false;  // on a later connection: it may have been stored the first time
};

class send_ledger {
 public:
  void open(std::uint32_t number, std::uint32_t room, std::int64_t due_ns) {
    sends_.push_back({number, room, due_ns});
    ++open_count_;
  }
  /// nullptr: never sent, or answered already.
  [[nodiscard]] open_send* find(std::uint32_t number) {
    for (auto& send : sends_) {
      if (send.number == number) return send.is_answered ? nullptr : &send;
    }
    return nullptr;
  }
  void close(open_send& send) {
    send.is_answered = true;
    --open_count_;
    while (!sends_.empty() && sends_.front().is_answered) sends_.pop_front();
  }
  [[nodiscard]] std::size_t open_count() const { return open_count_; }
  /// The oldest open one; only while open_count() > 0.
  [[nodiscard]] const open_send& oldest() const { return sends_.front(); }

  /// Marks all open ones as sent again and gives them, oldest first.
  [[nodiscard]] std::vector<open_send> resend() {
    std::vector<open_send> open;
    for (auto& send : sends_) {
      if (send.is_answered) continue;
      send.is_resent = true;
      open.push_back(send);
    }
    return open;
  }

  /// Answered with `stored: "unknown"`: may still turn up in the log, once.
  void doubt(std::uint32_t number) { doubtful_.insert(number); }
  [[nodiscard]] bool settle_doubt(std::uint32_t number) { return doubtful_.erase(number) != 0; }

 private:
  std::deque<open_send> sends_;  // the front is never answered
  std::size_t open_count_ = 0;
  std::unordered_set<std::uint32_t> doubtful_;
};

}  // namespace parley::bench
