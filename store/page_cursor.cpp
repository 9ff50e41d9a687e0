#include "store/page_cursor.hpp"

#include "protocol/hash.hpp"

namespace parley::store {
namespace {

constexpr std::string_view digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::size_t raw_bytes = 1 + 8 + 8 + 4;  // kind, two numbers, the check
constexpr std::size_t text_bytes = raw_bytes / 3 * 4;
static_assert(raw_bytes % 3 == 0, "so there is one spelling of each cursor, and no padding");

std::string raw_cursor(cursor_kind kind, const cursor_position& position) {
  std::string raw(1, static_cast<char>(kind));
  for (const std::int64_t v : position) {
    for (int shift = 56; shift >= 0; shift -= 8) {
      raw += static_cast<char>(static_cast<std::uint64_t>(v) >> static_cast<unsigned>(shift));
    }
  }
  // Not against forgery: whoever makes up a position sees no more than by paging. Against damage.
  const hash128 check = hash128_of(raw);
  raw.append(reinterpret_cast<const char*>(check.bytes.data()), 4);
  return raw;
}

std::int64_t number_at(std::string_view raw, std::size_t at) {
  std::uint64_t v = 0;
  for (std::size_t i = 0; i < 8; ++i) v = (v << 8U) | static_cast<unsigned char>(raw[at + i]);
  return static_cast<std::int64_t>(v);
}

}  // namespace

std::string encode_cursor(cursor_kind kind, const cursor_position& position) {
  const std::string raw = raw_cursor(kind, position);
  std::string out;
  out.reserve(text_bytes);
  for (std::size_t i = 0; i < raw.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k)
      bits = (bits << 8U) | static_cast<unsigned char>(raw[i + k]);
    for (unsigned shift : {18U, 12U, 6U, 0U}) out += digits[(bits >> shift) & 63U];
  }
  return out;
}

std::optional<cursor_position> decode_cursor(cursor_kind kind, std::string_view text) {
  if (text.size() != text_bytes) return std::nullopt;
  std::string raw;
  for (std::size_t i = 0; i < text.size(); i += 4) {
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const std::size_t digit = digits.find(text[i + k]);
      if (digit == std::string_view::npos) return std::nullopt;
      bits = (bits << 6U) | static_cast<std::uint32_t>(digit);
    }
    for (unsigned shift : {16U, 8U, 0U}) raw += static_cast<char>(bits >> shift);
  }
  const cursor_position position{number_at(raw, 1), number_at(raw, 9)};
  if (raw != raw_cursor(kind, position)) return std::nullopt;
  return position;
}

}  // namespace parley::store
