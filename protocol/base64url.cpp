#include "protocol/base64url.hpp"

#include "protocol/base64_digits.hpp"

namespace parley {
namespace {

constexpr base64_digits digits{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"};

}  // namespace

void append_base64url(std::string& out, std::string_view bytes) { digits.append(out, bytes); }

std::string base64url(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() * 4 + 2) / 3);
  digits.append(out, bytes);
  return out;
}

std::optional<std::string> decode_base64url(std::string_view text) { return digits.decode(text); }

}  // namespace parley
