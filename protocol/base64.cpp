#include "protocol/base64.hpp"

#include "protocol/base64_digits.hpp"

namespace parley {
namespace {

constexpr base64_digits digits{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"};

}  // namespace

void append_base64(std::string& out, std::string_view bytes) {
  digits.append(out, bytes);
  out.append((3 - bytes.size() % 3) % 3, '=');
}

std::string base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  append_base64(out, bytes);
  return out;
}

std::optional<std::string> decode_base64(std::string_view text) {
  if (text.ends_with('=')) {
    if (text.size() % 4 != 0) return std::nullopt;
    text.remove_suffix(text.ends_with("==") ? 2 : 1);
  }
  return digits.decode(text);
}

}  // namespace parley
