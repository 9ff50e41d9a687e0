#pragma once
/// Whether a log entry may be queued for a connection now, or waits in the log (SPEC 2.6): the connection's own bound, and
/// the bound of all together. Pure.
/// Bound      all queues of a gateway ≤ total_bytes, and one frame for each connection that has nothing else queued;
///            replies, pings and close frames come on top, within the hub's own reserve.

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace parley::net {

class outbound_budget {
 public:
  /// `total_bytes` 0: no bound for all together.
  outbound_budget(std::size_t connection_bytes, std::size_t total_bytes)
      : connection_bytes_(connection_bytes),
        total_bytes_(total_bytes) {}

  enum class verdict : std::uint8_t {
    take,
    wait_for_drained,  ///< the connection's own queue is at least half full: the hub tells when it is not
    wait_until_empty  ///< for the sake of all: its queue may be short, so the hub must be asked to tell
  };
  struct queues {
    std::size_t own = 0;
    std::size_t all = 0;
  };
  [[nodiscard]] verdict judge(const queues& q, std::size_t frame_bytes) const {
    if (q.own == 0) return verdict::take;  // always one frame: who reads goes on
    const auto limit = limit_of(q.all);
    if (q.own + frame_bytes <= limit) return verdict::take;
    if (q.own >= connection_bytes_ / 2) return verdict::wait_for_drained;
    return limit == connection_bytes_ ? verdict::take : verdict::wait_until_empty;
  }

 private:
  /// A part of what is left (Choudhury and Hahne's dynamic thresholds): n readers that stopped hold n/(n + 8) of it all
  /// and no more, so that there is always something left for who reads.
  [[nodiscard]] std::size_t limit_of(std::size_t all) const {
    if (total_bytes_ == 0) return connection_bytes_;
    return std::min(connection_bytes_, (total_bytes_ - std::min(all, total_bytes_)) / 8);
  }

  std::size_t connection_bytes_;
  std::size_t total_bytes_;
};

}  // namespace parley::net
