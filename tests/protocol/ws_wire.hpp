#pragma once
/// Words for ws_codec's tests: frames as a client sends them, and a sink that writes down what it hears.

#include "protocol/client_frame.hpp"
#include "protocol/ws_codec.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace parley::tests {

/// RFC 6455's opcodes; plain numbers, since tests send wrong ones too.
namespace op {
constexpr unsigned continuation = 0x0;
constexpr unsigned text = 0x1;
constexpr unsigned binary = 0x2;
constexpr unsigned close = 0x8;
constexpr unsigned ping = 0x9;
constexpr unsigned pong = 0xa;
}  // namespace op

enum class length_form : std::uint8_t { shortest, two_bytes, eight_bytes };

struct frame_spec {
  unsigned opcode = op::text;
  std::string payload{};
  bool final = true;
  unsigned rsv = 0;
  bool masked = true;
  length_form form = length_form::shortest;
  std::uint32_t mask = 0x37fa213d;
};

/// The bytes of one frame.
inline std::string wire(const frame_spec& f) {
  std::string out;
  const auto put = [&out](std::uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i));
  };
  const unsigned mask_bit = f.masked ? 0x80 : 0;
  put((f.final ? 0x80U : 0U) | (f.rsv << 4U) | f.opcode, 1);
  const std::size_t length = f.payload.size();
  if (f.form == length_form::shortest && length <= 125) {
    put(mask_bit | length, 1);
  } else if (f.form == length_form::two_bytes ||
             (f.form == length_form::shortest && length <= 0xffff)) {
    put(mask_bit | 126, 1);
    put(length, 2);
  } else {
    put(mask_bit | 127, 1);
    put(length, 8);
  }
  if (!f.masked) return out + f.payload;
  std::array<char, 4> key{};
  for (std::size_t i = 0; i < 4; ++i) key.at(i) = static_cast<char>(f.mask >> (8 * (3 - i)));
  out.append(key.data(), key.size());
  for (std::size_t i = 0; i < length; ++i) {
    out += static_cast<char>(f.payload[i] ^ key.at(i % 4));
  }
  return out;
}
inline std::string wire(unsigned opcode, std::string_view payload, bool final = true) {
  return wire({.opcode = opcode, .payload = std::string{payload}, .final = final});
}
/// A close frame's payload.
inline std::string closing(unsigned code, std::string_view reason = {}) {
  std::string out{static_cast<char>(code >> 8U), static_cast<char>(code)};
  return out.append(reason);
}

/// Writes down what it hears, a line each: `text hello`, `ping x`, `close 1000 bye`.
class transcript final : public ws_sink {
 public:
  bool on_text(std::string_view message) override {
    lines.push_back("text " + std::string{message});
    // Promised to be readable; the sanitizer objects if not.
    for (std::size_t i = 0; i < client_frame_parser::padding_bytes; ++i)
      sum_ = sum_ + message.data()[message.size() + i];
    return !pause_after_each;
  }
  void on_ping(std::string_view payload) override {
    lines.push_back("ping " + std::string{payload});
  }
  void on_pong(std::string_view payload) override {
    lines.push_back("pong " + std::string{payload});
  }
  void on_close(close_code code, std::string_view reason) override {
    lines.push_back("close " + std::to_string(static_cast<int>(code)) + " " + std::string{reason});
  }

  std::vector<std::string> lines;
  bool pause_after_each = false;

 private:
  volatile int sum_ = 0;
};

/// Gives `bytes` to the decoder as one read: an own buffer with the padding that a reader has.
inline close_code feed(ws_decoder& decoder, ws_sink& sink, std::string_view bytes) {
  std::vector<char> buffer(bytes.begin(), bytes.end());
  buffer.resize(bytes.size() + client_frame_parser::padding_bytes);
  return decoder.consume(std::span{buffer}.first(bytes.size()), sink);
}

/// What came of a whole stream: what the sink heard, then the close code, 0 for none.
struct outcome {
  std::vector<std::string> heard;
  int code = 0;
  bool in_message = false;
  bool operator==(const outcome&) const = default;
};

/// Decodes `stream`, cut at the ascending positions `cuts`.
inline outcome decode(std::string_view stream, const std::vector<std::size_t>& cuts = {},
                      std::size_t max_message_bytes = 128 * 1024) {
  ws_decoder decoder{max_message_bytes};
  transcript sink;
  std::size_t begin = 0;
  close_code code = close_code::none;
  for (std::size_t i = 0; i <= cuts.size() && code == close_code::none; ++i) {
    const std::size_t end = i < cuts.size() ? cuts[i] : stream.size();
    code = feed(decoder, sink, stream.substr(begin, end - begin));
    begin = end;
  }
  return {sink.lines, static_cast<int>(code), decoder.in_message()};
}

}  // namespace parley::tests
