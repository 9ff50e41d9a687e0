#pragma once
/// UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing beyond U+10FFFF.

#include <cstdint>
#include <string_view>

namespace parley {

[[nodiscard]] bool is_valid_utf8(std::string_view text);
/// C0, DEL or C1 in a valid text.
[[nodiscard]] bool has_control_character(std::string_view text);

/// Checks a text that arrives in pieces; fails at the first byte that can't continue it. Copyable: state is 4 bytes.
class utf8_checker {
 public:
  /// False once the text can't become valid.
  bool feed(std::string_view piece);
  /// True when the text so far ends on a character boundary.
  [[nodiscard]] bool complete() const;

 private:
  std::uint32_t state_ = 0;
};

}  // namespace parley
