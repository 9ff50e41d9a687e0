#pragma once
/// The process's signals, as events for the main thread. SIGTERM and SIGINT ask for an end; a second one ends the process at
/// once with status 1, whatever the main thread does. SIGHUP asks to read the configuration again. SIGPIPE is ignored.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

namespace parley::app {

/// Blocks the signals in this thread, and so in all that it starts: call it before any other thread exists.
void block_signals();

class signal_watch {
 public:
  enum class event : std::uint8_t { end, reload };

  /// `block_signals` was called. `at_second`: called on the watching thread before the process ends with status 1.
  explicit signal_watch(std::function<void()> at_second);
  ~signal_watch();
  signal_watch(const signal_watch&) = delete;
  signal_watch& operator=(const signal_watch&) = delete;

  /// Waits for the next event.
  event next();
  /// The same; nullopt when none comes by then.
  std::optional<event> next_until(std::chrono::steady_clock::time_point deadline);

 private:
  void watch();
  void put(event e);

  std::function<void()> at_second_;
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<event> events_;  // bound: an end, and at most one reload that nobody has taken
  int stop_fd_ = -1;
  std::thread thread_;
};

}  // namespace parley::app
