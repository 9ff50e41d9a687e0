#include "protocol/wire_frame.hpp"

#include "protocol/assert.hpp"
#include "protocol/ws_codec.hpp"

#include <array>
#include <cstdint>

namespace parley {

namespace {

constexpr std::size_t control_max_bytes = 125;  // RFC 6455 §5.5

enum class opcode : std::uint8_t { text = 0x1, close = 0x8, ping = 0x9, pong = 0xa };

frame_ptr make_frame(opcode op, std::string_view first, std::string_view second = {}) {
  const std::size_t length = first.size() + second.size();
  std::array<char, 10> header{};
  header[0] = static_cast<char>(0x80U | static_cast<unsigned>(op));  // FIN
  std::size_t header_bytes = 2;
  if (length <= 125) {
    header[1] = static_cast<char>(length);
  } else {
    const bool is_short = length <= 0xffff;
    const std::size_t length_bytes = is_short ? 2 : 8;
    header[1] = is_short ? 126 : 127;
    for (std::size_t i = 0; i < length_bytes; ++i) {
      header[2 + i] = static_cast<char>(length >> (8 * (length_bytes - 1 - i)));
    }
    header_bytes += length_bytes;
  }
  auto frame = std::make_shared<wire_frame>();
  frame->header_bytes = header_bytes;
  frame->bytes.reserve(header_bytes + length);
  frame->bytes.append(header.data(), header_bytes).append(first).append(second);
  return frame;
}

}  // namespace

frame_ptr make_text_frame(std::string_view json) { return make_frame(opcode::text, json); }

frame_ptr make_ping_frame(std::string_view payload) {
  PARLEY_ASSERT(payload.size() <= control_max_bytes);
  return make_frame(opcode::ping, payload);
}

frame_ptr make_pong_frame(std::string_view payload) {
  PARLEY_ASSERT(payload.size() <= control_max_bytes);
  return make_frame(opcode::pong, payload);
}

frame_ptr make_close_frame(close_code code, std::string_view reason) {
  if (code == close_code::none || code == close_code::no_status) {
    return make_frame(opcode::close, {});
  }
  const auto number = static_cast<std::uint16_t>(code);
  const std::array<char, 2> prefix{static_cast<char>(number >> 8U), static_cast<char>(number)};
  if (reason.size() > control_max_bytes - prefix.size()) {
    std::size_t keep = control_max_bytes - prefix.size();
    while (keep > 0 && (static_cast<unsigned char>(reason[keep]) & 0xc0U) == 0x80U) --keep;
    reason = reason.substr(0, keep);  // never half a character
  }
  return make_frame(opcode::close, {prefix.data(), prefix.size()}, reason);
}

}  // namespace parley
