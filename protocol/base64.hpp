#pragma once
/// Base64 with the standard alphabet (`+`, `/`; RFC 4648 §4), as Standard Webhooks writes secrets and signatures. Pure.

#include <optional>
#include <string>
#include <string_view>

namespace parley {

/// With padding.
void append_base64(std::string& out, std::string_view bytes);
[[nodiscard]] std::string base64(std::string_view bytes);
/// Padding may be there, whole, or not. Otherwise strict: another character (`-`, `_`, white space), an impossible
/// length, or left-over bits that are not zero: nullopt.
[[nodiscard]] std::optional<std::string> decode_base64(std::string_view text);

}  // namespace parley
