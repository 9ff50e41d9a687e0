#pragma once
/// RFC 6455 as a client speaks it: bytes ↔ frames, and the opening handshake. Pure, no I/O.
/// It shares no code with the node on purpose: a mistake in common would be invisible to the load tool's checks.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace parley::bench {

enum class opcode : std::uint8_t {
  continuation = 0,
  text = 1,
  binary = 2,
  close = 8,
  ping = 9,
  pong = 10,
};

/// Appends one final, masked frame. RFC 6455 5.3 wants a mask nobody can foresee because of proxies that could be
/// fooled by the bytes on the wire; any changing value does on loopback.
void append_frame(std::string& out, opcode op, std::string_view payload, std::uint32_t mask);
/// A close frame with a code and no reason.
void append_close(std::string& out, std::uint16_t code, std::uint32_t mask);

struct server_frame {
  opcode op = opcode::text;
  bool is_final = true;
  std::string_view payload;  // points into the bytes that it was cut from
};

enum class cut { frame, more, broken };

struct cut_result {
  cut outcome = cut::more;
  server_frame frame{};
  std::size_t used = 0;       // bytes to drop when a frame was cut
  std::size_t wanted = 0;     // with `more`: bytes that the whole frame takes, 0 while not known
  const char* why = nullptr;  // with `broken`
};

/// Bigger frames count as broken: the node's own bound on a frame is far below.
inline constexpr std::size_t frame_max_bytes = 16 * 1024 * 1024;

/// Cuts the first frame off `bytes`, strictly: no mask, no reserved bits, known opcodes, shortest length form, control
/// frames final and ≤ 125 bytes.
[[nodiscard]] cut_result cut_frame(std::string_view bytes);

/// What a server's close frame says; 1005 when it has no code.
struct close_notice {
  std::uint16_t code = 1005;
  std::string reason;
};
[[nodiscard]] close_notice read_close(std::string_view payload);

/// The key for `Sec-WebSocket-Key`, from any 16 bytes.
[[nodiscard]] std::string handshake_key(std::uint64_t high, std::uint64_t low);
/// What the server must answer to it in `Sec-WebSocket-Accept`.
[[nodiscard]] std::string accept_of(std::string_view key);

/// The head of an HTTP answer; header names in lower case.
struct response_head {
  int status = 0;
  std::size_t head_bytes = 0;  // with the empty line
  std::string text;            // status line and headers, for messages and look-ups
  /// The first header of that (lower case) name, without white space around.
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const;
};
/// nullopt: not complete yet. Status 0: not HTTP at all.
[[nodiscard]] std::optional<response_head> read_response_head(std::string_view bytes);

}  // namespace parley::bench
