#include "bench/message_stamp.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace parley::bench {
namespace {

template <class Number>
void append_hex(std::string& out, Number value) {
  std::array<char, 20> digits{};
  const auto [end, failed] = std::to_chars(digits.data(), digits.data() + digits.size(), value, 16);
  out.append(digits.data(), end);
}

template <class Number>
bool take_hex(const char*& at, const char* end, Number& value) {
  const auto [stop, failed] = std::from_chars(at, end, value, 16);
  if (failed != std::errc{}) return false;
  at = stop;
  return true;
}

}  // namespace

void append_stamp(std::string& out, const message_stamp& stamp) {
  append_hex(out, stamp.sender);
  out += '-';
  append_hex(out, stamp.number);
  out += '-';
  append_hex(out, stamp.due_ns);
}

std::optional<message_stamp> read_stamp(std::string_view text) {
  message_stamp stamp;
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto dash = [&] { return at != end && *at++ == '-'; };
  if (!take_hex(at, end, stamp.sender) || !dash() || !take_hex(at, end, stamp.number) || !dash() ||
      !take_hex(at, end, stamp.due_ns) || at != end) {
    return std::nullopt;
  }
  return stamp;
}

content_pattern::content_pattern(std::size_t content_bytes) : filler_(content_bytes, ' ') {
  constexpr std::string_view words = " the quick brown fox jumps over the lazy dog";
  for (std::size_t i = 0; i < content_bytes; ++i) filler_[i] = words[i % words.size()];
}

void content_pattern::append(std::string& out, std::string_view stamp_text) const {
  const std::size_t shown = std::min(stamp_text.size(), filler_.size());
  out += stamp_text.substr(0, shown);
  out += std::string_view{filler_}.substr(shown);
}

bool content_pattern::matches(std::string_view content, std::string_view stamp_text) const {
  if (content.size() != filler_.size()) return false;
  const std::size_t shown = std::min(stamp_text.size(), filler_.size());
  return content.substr(0, shown) == stamp_text.substr(0, shown) &&
         content.substr(shown) == std::string_view{filler_}.substr(shown);
}

}  // namespace parley::bench
