#pragma once
/// The bits of base64 (RFC 4648) without padding, whatever its last two digits are: what base64 and base64url share. Pure.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace parley {

class base64_digits {
 public:
  /// `digits`: all 64, for ever alive.
  constexpr explicit base64_digits(std::string_view digits) : digits_(digits) {
    values_.fill(no_digit);
    for (std::size_t i = 0; i < digits.size(); ++i)
      values_[static_cast<unsigned char>(digits[i])] = static_cast<std::uint8_t>(i);
  }

  void append(std::string& out, std::string_view bytes) const {
    std::uint32_t bits = 0;
    unsigned held = 0;
    for (const char c : bytes) {
      bits = (bits << 8U) | static_cast<unsigned char>(c);
      held += 8;
      while (held >= 6) {
        held -= 6;
        out += digits_[(bits >> held) & 63U];
      }
    }
    if (held > 0) out += digits_[(bits << (6 - held)) & 63U];
  }

  /// nullopt: another character, an impossible length, or left-over bits that are not zero (a second spelling).
  [[nodiscard]] std::optional<std::string> decode(std::string_view text) const {
    if (text.size() % 4 == 1) return std::nullopt;
    std::string out;
    out.reserve(text.size() * 3 / 4);
    std::uint32_t bits = 0;
    unsigned held = 0;
    for (const char c : text) {
      const auto value = values_[static_cast<unsigned char>(c)];
      if (value == no_digit) return std::nullopt;
      bits = (bits << 6U) | value;
      held += 6;
      if (held >= 8) {
        held -= 8;
        out += static_cast<char>((bits >> held) & 255U);
      }
    }
    if ((bits & ((1U << held) - 1U)) != 0) return std::nullopt;
    return out;
  }

 private:
  static constexpr std::uint8_t no_digit = 64;

  std::string_view digits_;
  std::array<std::uint8_t, 256> values_{};
};

}  // namespace parley
