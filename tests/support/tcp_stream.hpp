#pragma once
/// A TCP connection for tests: blocking, every wait with a deadline. Small on purpose: it shares no code with the node.
/// Not thread-safe.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace parley::tests {

/// The peer closed or reset the connection, or refused it.
struct connection_lost : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct tcp_options {
  std::chrono::milliseconds within{10'000};
  std::string source{};          ///< local address, such as 127.0.0.7: more addresses, more ports
  int receive_buffer_bytes = 0;  ///< SO_RCVBUF, set before connecting; 0: the system's
};

class tcp_stream {
 public:
  /// `address`: `127.0.0.1:8080`, `[::1]:8080`.
  explicit tcp_stream(std::string_view address, const tcp_options& options = {});
  ~tcp_stream();
  tcp_stream(tcp_stream&& other) noexcept;
  tcp_stream& operator=(tcp_stream&& other) noexcept;

  /// All of it, or deadline_passed, or connection_lost.
  void write(std::string_view bytes, std::chrono::milliseconds within = std::chrono::seconds{10});
  /// As much as the kernel takes now, without waiting.
  std::size_t write_some(std::string_view bytes);
  /// What is there, at least a byte and at most `max_bytes`; waits for it. Empty: the peer has closed its side.
  std::string read_some(std::chrono::milliseconds within, std::size_t max_bytes = 64 * 1024);
  /// True when read_some would not wait; false after `within`.
  [[nodiscard]] bool readable(std::chrono::milliseconds within);
  /// FIN: nothing more comes from this side.
  void shutdown_write();
  void close();
  /// RST: gone without a word.
  void abort();
  [[nodiscard]] bool is_open() const { return fd_ >= 0; }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

}  // namespace parley::tests
