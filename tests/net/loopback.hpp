#pragma once
/// What the tests of net/ share: a clock and a random source that the test drives, and a client whose socket is read and
/// written in the test's own thread, between turns of the io_context under test. Nothing sleeps: until() runs the loop
/// until a condition holds, and fails after ten seconds.

#include "protocol/seams.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

namespace parley::net::testing {

class manual_clock final : public clock {
 public:
  [[nodiscard]] utc_time now() const override {
    return utc_time{std::chrono::milliseconds{1'700'000'000'000}} +
           std::chrono::duration_cast<std::chrono::milliseconds>(passed_);
  }
  [[nodiscard]] mono_time mono() const override { return start_ + passed_; }
  void advance(std::chrono::milliseconds by) { passed_ += by; }

 private:
  mono_time start_{std::chrono::hours{1000}};
  std::chrono::milliseconds passed_{0};
};

class seeded_random final : public random_source {
 public:
  explicit seeded_random(unsigned seed = 1) : engine_(seed) {}
  void fill(std::span<std::uint8_t> out) override {
    for (auto& b : out) b = static_cast<std::uint8_t>(engine_());
  }

 private:
  std::mt19937 engine_;
};

/// Runs the loop until `is_done` holds; false after ten seconds.
inline bool until(boost::asio::io_context& io, const std::function<bool()>& is_done) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{10};
  while (!is_done()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    io.restart();
    io.run_one_for(std::chrono::milliseconds{1});
  }
  return true;
}

/// Lets the loop do all that it can do now. (Loopback packets are there at once, but for those that the kernel's own
/// thread carries on a busy machine: hence the yield.)
inline void settle(boost::asio::io_context& io) {
  for (int quiet = 0; quiet < 3;) {
    std::this_thread::yield();
    io.restart();
    quiet = io.poll() == 0 ? quiet + 1 : 0;
  }
}

class loopback_client {
 public:
  loopback_client(boost::asio::io_context& io, const boost::asio::ip::tcp::endpoint& where)
      : io_(io) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd_ >= 0);
    auto address =
        boost::asio::ip::tcp::endpoint{boost::asio::ip::address_v4::loopback(), where.port()};
    REQUIRE(::connect(fd_, address.data(), static_cast<socklen_t>(address.size())) == 0);
    const int on = 1;  // else a small send waits for the acknowledgement of the one before, 40 ms
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  /// Takes over one end of a connection.
  loopback_client(boost::asio::io_context& io, int fd) : io_(io), fd_(fd) {}
  ~loopback_client() { close(); }
  loopback_client(const loopback_client&) = delete;
  loopback_client& operator=(const loopback_client&) = delete;

  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  /// Closes so that the peer sees a reset.
  void reset() {
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
  }
  void end_of_sending() { ::shutdown(fd_, SHUT_WR); }
  [[nodiscard]] int fd() const { return fd_; }

  /// Sends what the kernel takes now.
  std::size_t try_send(std::string_view bytes) {
    const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return n < 0 ? 0 : static_cast<std::size_t>(n);
  }
  /// Sends all, running the loop while the kernel's buffer is full. Stops early when the peer has hung up.
  void send(std::string_view bytes) {
    REQUIRE(until(io_, [&] {
      const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
      if (n < 0 && errno != EAGAIN) bytes = {};
      return bytes.empty();
    }));
  }
  /// Reads what is there now into `received`; at most so much.
  void read_now(std::size_t most = static_cast<std::size_t>(-1)) {
    std::array<char, 16384> buffer;
    while (!is_ended && most > 0) {
      const auto n = ::recv(fd_, buffer.data(), std::min(most, buffer.size()), MSG_DONTWAIT);
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
      if (n <= 0) {
        is_ended = true;
        was_reset = n < 0;
        return;
      }
      received.append(buffer.data(), static_cast<std::size_t>(n));
      most -= static_cast<std::size_t>(n);
    }
  }
  /// Reads, and runs the loop, until the condition holds.
  bool read_until(const std::function<bool()>& is_done) {
    return until(io_, [&] {
      read_now();
      return is_done();
    });
  }
  bool read_to_end() {
    return read_until([this] { return is_ended; });
  }

  std::string received;
  bool is_ended = false;
  bool was_reset = false;

 private:
  boost::asio::io_context& io_;
  int fd_ = -1;
};

}  // namespace parley::net::testing
