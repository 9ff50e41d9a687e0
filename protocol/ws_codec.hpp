#pragma once
/// RFC 6455, the server's side: bytes ↔ frames, no I/O. Small when idle: one connection's decoder is two words and a
/// bound; what must be kept between reads (a partial frame, a fragmented message) is allocated then and freed at its end.

#include "protocol/close_codes.hpp"
#include "protocol/wire_frame.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace parley {

/// What a decoder hands out. Called in stream order. Payload views live until the call returns and are followed by
/// client_frame_parser::padding_bytes readable bytes.
class ws_sink {
 public:
  ws_sink() = default;
  ws_sink(const ws_sink&) = delete;
  ws_sink& operator=(const ws_sink&) = delete;
  virtual ~ws_sink() = default;
  /// One complete text message, valid UTF-8. Returning false stops the decoder: the rest of the bytes is kept, and
  /// consume({}) goes on with it (a paused reader).
  virtual bool on_text(std::string_view text) = 0;
  virtual void on_ping(std::string_view payload) = 0;
  virtual void on_pong(std::string_view payload) = 0;
  /// The peer's close frame; `no_status` when it was empty. Nothing follows.
  virtual void on_close(close_code code, std::string_view reason) = 0;
};

/// Masked client frames in, messages out. Not thread-safe.
/// Refused, with the close code to send: an unmasked frame, RSV bits, reserved opcodes, fragmented or long control
/// frames, a continuation without a start, a start within a message, a length that is not minimal or has its top bit
/// set, an invalid close code or length (1002); binary (1003); invalid UTF-8, found as early as it can be known, also
/// in the middle of a fragment and in a close reason (1007); a message beyond the bound, known from its header, before
/// its bytes are kept (1009).
class ws_decoder {
 public:
  explicit ws_decoder(std::size_t max_message_bytes);
  ~ws_decoder();
  ws_decoder(ws_decoder&&) noexcept;
  ws_decoder& operator=(ws_decoder&&) noexcept;

  /// Consumes `bytes` (unmasking them in place). The buffer must have `padding` readable bytes after its end.
  /// Returns close_code::none to go on, else the code to close with; after that, and after on_close, it takes nothing.
  close_code consume(std::span<char> bytes, ws_sink& sink);

  /// A frame or message has begun and is not complete: its deadline runs (SPEC 4 `request_timeout`).
  [[nodiscard]] bool in_message() const;
  /// Bytes held between reads.
  [[nodiscard]] std::size_t held_bytes() const;

 private:
  struct partial;
  class reader;
  std::unique_ptr<partial> partial_;
  std::uint32_t max_message_bytes_;
  bool finished_ = false;
};

/// A close frame: code and reason (≤ 123 bytes). `none` or `no_status`: empty payload.
[[nodiscard]] frame_ptr make_close_frame(close_code code, std::string_view reason);

/// `Sec-WebSocket-Accept` for a key (RFC 6455 §4.2.2).
[[nodiscard]] std::string ws_accept_key(std::string_view client_key);
/// True when the key is the base64 of 16 bytes, as the RFC asks.
[[nodiscard]] bool is_valid_ws_key(std::string_view client_key);

}  // namespace parley
