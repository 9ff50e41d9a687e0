#include "app/signals.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <utility>

namespace parley::app {
namespace {

sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  return set;
}

}  // namespace

void block_signals() {
  const auto set = watched_signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  // A client that hangs up is an error code of a write, not the end of the node.
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, nullptr);
}

signal_watch::signal_watch(std::function<void()> at_second) : at_second_(std::move(at_second)) {
  stop_fd_ = ::eventfd(0, EFD_CLOEXEC);
  if (stop_fd_ < 0) throw std::system_error{errno, std::generic_category(), "eventfd"};
  thread_ = std::thread{[this] { watch(); }};
}

signal_watch::~signal_watch() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = ::write(stop_fd_, &one, sizeof one);
  thread_.join();
  ::close(stop_fd_);
}

signal_watch::event signal_watch::next() {
  std::unique_lock lock{mutex_};
  came_.wait(lock, [&] { return !events_.empty(); });
  const auto e = events_.front();
  events_.pop_front();
  return e;
}

std::optional<signal_watch::event> signal_watch::next_until(
    std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock{mutex_};
  if (!came_.wait_until(lock, deadline, [&] { return !events_.empty(); })) return std::nullopt;
  const auto e = events_.front();
  events_.pop_front();
  return e;
}

void signal_watch::put(event e) {
  const std::lock_guard lock{mutex_};
  if (std::ranges::find(events_, e) != events_.end()) return;
  events_.push_back(e);
  came_.notify_one();
}

void signal_watch::watch() {
  const auto set = watched_signals();
  const int fd = ::signalfd(-1, &set, SFD_CLOEXEC);
  if (fd < 0) return;
  bool ending = false;
  while (true) {
    std::array<pollfd, 2> entries{{{fd, POLLIN, 0}, {stop_fd_, POLLIN, 0}}};
    if (::poll(entries.data(), entries.size(), -1) < 0 && errno != EINTR) break;
    if (entries[1].revents != 0) break;
    if (entries[0].revents == 0) continue;
    signalfd_siginfo info{};
    if (::read(fd, &info, sizeof info) != sizeof info) continue;
    if (info.ssi_signo == SIGHUP) {
      put(event::reload);
    } else if (!ending) {
      ending = true;
      put(event::end);
    } else {
      at_second_();
      ::_exit(1);
    }
  }
  ::close(fd);
}

}  // namespace parley::app
