#pragma once
/// A blocking HTTP/1.1 client with keep-alive, for the set-up before a load. One thread at a time.

#include "bench/socket_fd.hpp"
#include "bench/target_url.hpp"

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace parley::bench {

/// The set-up cannot go on: no connection, no HTTP, an answer that was not hoped for.
class setup_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct rest_answer {
  int status = 0;
  std::string body;
  std::optional<std::chrono::milliseconds> retry_after;
};

class rest_client {
 public:
  explicit rest_client(target_url target,
                       std::chrono::milliseconds timeout = std::chrono::seconds{30})
      : target_{std::move(target)},
        timeout_{timeout} {}

  /// One request, one answer, whatever its status. `headers`: lines, each with \r\n. A kept connection that the server
  /// has closed meanwhile is replaced once, if nothing of an answer had come.
  rest_answer request(std::string_view method, std::string_view path, std::string_view headers,
                      std::string_view json_body);

 private:
  void connect();
  bool send_all(std::string_view bytes);
  bool receive();  // appends to received_; false: the peer has closed
  rest_answer read_answer(bool& got_any, bool is_head);
  std::string read_exactly(std::size_t bytes);
  std::string read_line();
  std::string read_chunks();

  target_url target_;
  std::chrono::milliseconds timeout_;
  socket_fd socket_;
  std::string received_;
};

}  // namespace parley::bench
