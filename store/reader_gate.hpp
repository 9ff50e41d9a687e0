#pragma once
/// Keeps readers out while the writer restarts the WAL: a reader inside pins the frames of its snapshot, and under load
/// there is always one inside. Closed for some milliseconds at a time (DESIGN 5, Checkpoints).
///
/// Owner    shared by a database and its readers. Thread-safe.
/// Bounds   both sides wait no longer than they say; nobody waits for somebody who waits for him.

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace parley::store {

class reader_gate {
 public:
  reader_gate() = default;
  reader_gate(const reader_gate&) = delete;
  reader_gate& operator=(const reader_gate&) = delete;

  /// A reader goes in before its BEGIN. False: closed all the time.
  [[nodiscard]] bool enter(std::chrono::milliseconds at_most) {
    std::unique_lock lock{mutex_};
    if (!opened_.wait_for(lock, at_most, [this] { return !closed_; })) return false;
    ++inside_;
    return true;
  }
  /// After its transaction has ended.
  void leave() {
    const std::lock_guard lock{mutex_};
    if (--inside_ == 0 && closed_) left_.notify_one();
  }
  /// The writer: lets nobody in any more. True: nobody is inside. Followed by open() in either case.
  [[nodiscard]] bool close(std::chrono::milliseconds at_most) {
    std::unique_lock lock{mutex_};
    closed_ = true;
    return left_.wait_for(lock, at_most, [this] { return inside_ == 0; });
  }
  void open() {
    {
      const std::lock_guard lock{mutex_};
      closed_ = false;
    }
    opened_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  std::condition_variable left_;
  int inside_ = 0;
  bool closed_ = false;
};

}  // namespace parley::store
