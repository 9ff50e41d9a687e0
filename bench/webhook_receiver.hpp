#pragma once
/// A tenant's webhook endpoint, on a port and a thread of its own: takes events on kept connections, answers 204 at once,
/// and keeps the ledger. Until open() connections are refused.
/// Threads    any.
/// Bound      a request: request_max_bytes; a connection that sends more, or no HTTP, is closed and a fault.

#include "bench/event_ledger.hpp"
#include "bench/socket_fd.hpp"

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>

namespace parley::bench {

class webhook_receiver {
 public:
  static constexpr std::size_t request_max_bytes = std::size_t{4} << 20;

  /// Takes a port of 127.0.0.1 that nobody else can have, without listening.
  webhook_receiver();
  ~webhook_receiver();
  webhook_receiver(const webhook_receiver&) = delete;
  webhook_receiver& operator=(const webhook_receiver&) = delete;

  [[nodiscard]] std::string url() const;
  void open();

  struct state {
    std::uint64_t messages = 0;
    std::uint64_t repeats = 0;
    std::uint64_t others = 0;
    std::uint64_t connections = 0;  ///< so far
    std::int64_t last_ns = 0;       ///< when the last request was there, on the steady clock
  };
  [[nodiscard]] state now() const;
  [[nodiscard]] histogram lags() const;
  [[nodiscard]] fault_log faults() const;
  void begin_lags();

 private:
  struct connection {
    socket_fd socket;
    std::string received;
  };

  void serve();
  void accept_all();
  void read_from(int fd);
  /// Takes whole requests off the front; false: it is no HTTP that we understand, or too much.
  bool take_requests(connection& from);

  socket_fd listener_;
  socket_fd epoll_;
  std::uint16_t port_ = 0;
  std::unordered_map<int, connection> connections_;  // of the thread
  mutable std::mutex mutex_;                         // of what follows
  event_ledger ledger_;
  fault_log faults_;
  std::uint64_t accepted_ = 0;
  std::int64_t last_ns_ = 0;
  std::atomic<bool> is_ending_{false};
  std::jthread thread_;
};

}  // namespace parley::bench
