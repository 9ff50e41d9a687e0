#pragma once
/// Base64 with the URL's alphabet and no padding (RFC 4648 §5), one spelling a value. Pure.

#include <optional>
#include <string>
#include <string_view>

namespace parley {

void append_base64url(std::string& out, std::string_view bytes);
[[nodiscard]] std::string base64url(std::string_view bytes);
/// Strict: another character (`=`, `+`, `/`, white space), an impossible length, or left-over bits that are not zero:
/// nullopt.
[[nodiscard]] std::optional<std::string> decode_base64url(std::string_view text);

}  // namespace parley
