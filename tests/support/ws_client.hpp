#pragma once
/// A WebSocket client for tests (RFC 6455): blocking, every wait with a deadline. Strict about what it gets: a masked,
/// fragmented or malformed server frame is a failure of the test. Free in what it sends: any frame, any bytes.
/// Not thread-safe.

#include "tests/support/await.hpp"
#include "tests/support/rest_client.hpp"
#include "tests/support/tcp_stream.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace parley::tests {

/// The upgrade was answered with something else than 101.
struct upgrade_refused : std::runtime_error {
  explicit upgrade_refused(rest_reply r);
  rest_reply reply;
};

/// Why a connection ended: the close frame's code, 1005 for an empty one, 1006 when the socket just ended.
struct close_seen {
  int code = 1006;
  std::string reason;
};
/// Thrown by what waits for a message when the connection has ended.
struct connection_closed : std::runtime_error {
  explicit connection_closed(close_seen c);
  close_seen seen;
};

enum class ws_opcode : std::uint8_t {
  continuation = 0,
  text = 1,
  binary = 2,
  close = 8,
  ping = 9,
  pong = 10
};

struct ws_options {
  header_list headers{};  ///< `X-API-Key`, `X-User-Id`, `Origin`, …
  std::string query{};    ///< without `?`
  std::string path = "/ws";
  std::string protocols{};  ///< `Sec-WebSocket-Protocol`
  std::chrono::milliseconds within{10'000};
  std::string source{};          ///< local address
  int receive_buffer_bytes = 0;  ///< SO_RCVBUF: small ones make slow readers quickly
  bool answer_pings = true;
};

class ws_client {
 public:
  /// Connects and upgrades; upgrade_refused, connection_lost or deadline_passed when it does not succeed.
  ws_client(std::string_view address, const ws_options& options);
  ws_client(ws_client&&) = default;
  ws_client& operator=(ws_client&&) = default;
  ~ws_client() = default;

  void send_text(std::string_view text);
  void send_json(const nlohmann::json& value);
  struct frame_options {
    bool final = true;
    bool masked = true;
    std::uint8_t reserved_bits = 0;  ///< RSV1–3: 4, 2, 1
  };
  void send_frame(ws_opcode opcode, std::string_view payload, frame_options options);
  void send_frame(ws_opcode opcode, std::string_view payload);
  /// Bytes as they are, also half a frame.
  void send_raw(std::string_view bytes);

  /// The next text message. nullopt: none came `within` this time. connection_closed when the connection ended.
  std::optional<std::string> next_text(std::chrono::milliseconds within);
  /// The next message as JSON; deadline_passed when none comes.
  nlohmann::json receive_json(std::chrono::milliseconds within = std::chrono::seconds{10});
  /// Reads messages until one makes `wanted(json)` true, and gives that one. All that came stay in `received()`.
  template <class Predicate>
  nlohmann::json receive_until(Predicate&& wanted,
                               std::chrono::milliseconds within = std::chrono::seconds{10}) {
    const auto deadline = std::chrono::steady_clock::now() + within;
    while (true) {
      auto message = receive_json(left_until(deadline));
      if (wanted(message)) return message;
    }
  }
  /// The next message of this `type`.
  nlohmann::json receive_type(std::string_view type,
                              std::chrono::milliseconds within = std::chrono::seconds{10});
  /// Sends `request` with a `request_id` of its own and waits for the one reply that echoes it.
  nlohmann::json call(nlohmann::json request,
                      std::chrono::milliseconds within = std::chrono::seconds{10});
  /// Every message so far, in order, those included that receive_until passed over.
  [[nodiscard]] const std::vector<nlohmann::json>& received() const { return received_; }
  /// Whatever comes until nothing has come for `quiet`.
  void drain(std::chrono::milliseconds quiet);

  /// Reads on until the connection ends and tells how; deadline_passed when it does not.
  close_seen await_close(std::chrono::milliseconds within = std::chrono::seconds{10});
  /// Sends a close frame; await_close waits for the answer.
  void send_close(int code = 1000, std::string_view reason = {});
  /// RST, without a word.
  void abort() { stream_.abort(); }
  [[nodiscard]] const std::optional<close_seen>& closed() const { return closed_; }

  [[nodiscard]] std::size_t pings_seen() const { return pings_; }
  [[nodiscard]] std::size_t pongs_seen() const { return pongs_; }
  [[nodiscard]] const rest_reply& upgrade_reply() const { return upgrade_; }
  [[nodiscard]] tcp_stream& stream() { return stream_; }

 private:
  struct frame {
    ws_opcode opcode;
    std::string payload;
  };
  static std::chrono::milliseconds left_until(std::chrono::steady_clock::time_point deadline);
  void upgrade(std::string_view address, const ws_options& options);
  std::optional<frame> cut_frame();
  std::optional<frame> next_frame(std::chrono::steady_clock::time_point deadline);
  void ended(close_seen how);

  tcp_stream stream_;
  std::string buffered_;
  rest_reply upgrade_;
  std::optional<close_seen> closed_;
  std::vector<nlohmann::json> received_;
  std::size_t pings_ = 0;
  std::size_t pongs_ = 0;
  std::uint64_t calls_ = 0;
  std::uint32_t mask_ = 0x5eed1234;
  bool answer_pings_ = true;
};

/// A frame's bytes as a client sends it.
[[nodiscard]] std::string client_frame_bytes(ws_opcode opcode, std::string_view payload,
                                             const ws_client::frame_options& options,
                                             std::uint32_t mask);

}  // namespace parley::tests
