#include "protocol/utf8.hpp"

#include <simdjson.h>

#include <cstddef>
#include <cstring>

namespace parley {

namespace {

// state_: how many continuation bytes are missing (bits 0–7), and the bounds of the next one (lowest: bits 8–15,
// highest: bits 16–23), which are narrower than 80–BF right after E0, ED, F0 and F4. 0: on a character boundary.
constexpr std::uint32_t failed = 0xff;

constexpr std::uint32_t expect(std::uint32_t missing, std::uint32_t lowest = 0x80,
                               std::uint32_t highest = 0xbf) {
  return missing == 0 ? 0 : missing | (lowest << 8U) | (highest << 16U);
}

std::uint32_t after_first_byte(unsigned char byte) {
  if (byte < 0x80) return 0;
  if (byte < 0xc2) return failed;  // a continuation, or an overlong two-byte form
  if (byte < 0xe0) return expect(1);
  if (byte == 0xe0) return expect(2, 0xa0);        // below: overlong
  if (byte == 0xed) return expect(2, 0x80, 0x9f);  // above: surrogates
  if (byte < 0xf0) return expect(2);
  if (byte == 0xf0) return expect(3, 0x90);  // below: overlong
  if (byte < 0xf4) return expect(3);
  if (byte == 0xf4) return expect(3, 0x80, 0x8f);  // above: beyond U+10FFFF
  return failed;
}

}  // namespace

bool is_valid_utf8(std::string_view text) {
  return simdjson::validate_utf8(text.data(), text.size());
}

bool utf8_checker::feed(std::string_view piece) {
  std::uint32_t state = state_;
  const char* at = piece.data();
  const char* const end = at + piece.size();
  while (at != end && state != failed) {
    if (state == 0) {
      // Eight ASCII characters at a time.
      std::uint64_t eight = 0;
      while (end - at >= 8) {
        std::memcpy(&eight, at, 8);
        if ((eight & 0x8080808080808080ULL) != 0) break;
        at += 8;
      }
      if (at == end) break;
      state = after_first_byte(static_cast<unsigned char>(*at++));
    } else {
      const std::uint32_t byte = static_cast<unsigned char>(*at++);
      const bool continues = byte >= ((state >> 8U) & 0xffU) && byte <= (state >> 16U);
      state = continues ? expect((state & 0xffU) - 1) : failed;
    }
  }
  state_ = state;
  return state != failed;
}

bool utf8_checker::complete() const { return state_ == 0; }

bool has_control_character(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7f) return true;
    // C1, U+0080–U+009F: in UTF-8 always C2 80 … C2 9F.
    if (byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
      return true;
    }
  }
  return false;
}

}  // namespace parley
