#include "protocol/json_scan.hpp"

#include "protocol/assert.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <iterator>
#include <system_error>
#include <utility>

namespace parley {

namespace {

constexpr std::int64_t max_exact_integer = std::int64_t{1} << 53U;
constexpr std::size_t max_kept_keys =
    4096;  // beyond, scratch memory is given back after the text that needed it
constexpr std::size_t max_compared_keys = 8;  // up to here comparing all pairs is quicker than sorting

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// The four digits of `\uXXXX`; -1: they are none.
int hex4(const char* at, const char* end) {
  if (end - at < 4) return -1;
  int code = 0;
  for (int i = 0; i < 4; ++i) {
    const int digit = hex_value(at[i]);
    if (digit < 0) return -1;
    code = code * 16 + digit;
  }
  return code;
}

constexpr bool is_high_surrogate(int code) { return code >= 0xd800 && code <= 0xdbff; }
constexpr bool is_low_surrogate(int code) { return code >= 0xdc00 && code <= 0xdfff; }

void append_utf8(std::string& out, unsigned code) {
  const auto put = [&out](unsigned byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0U | (code >> 6U));
    put(0x80U | (code & 0x3fU));
  } else if (code < 0x10000) {
    put(0xe0U | (code >> 12U));
    put(0x80U | ((code >> 6U) & 0x3fU));
    put(0x80U | (code & 0x3fU));
  } else {
    put(0xf0U | (code >> 18U));
    put(0x80U | ((code >> 12U) & 0x3fU));
    put(0x80U | ((code >> 6U) & 0x3fU));
    put(0x80U | (code & 0x3fU));
  }
}

/// Appends the characters between the quotes. `text` was accepted by json_scanner; a lone surrogate, which it noted,
/// becomes U+FFFD.
void append_unescaped(std::string& out, std::string_view text) {
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    const char* const backslash = std::find(at, end, '\\');
    out.append(at, backslash);
    if (backslash == end) return;
    at = backslash + 2;
    switch (backslash[1]) {
      case 'b':
        out += '\b';
        break;
      case 'f':
        out += '\f';
        break;
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case 'u': {
        int code = hex4(at, end);
        at += 4;
        if (is_high_surrogate(code) && end - at >= 6 && at[0] == '\\' && at[1] == 'u' &&
            is_low_surrogate(hex4(at + 2, end))) {
          code = 0x10000 + ((code - 0xd800) << 10) + (hex4(at + 2, end) - 0xdc00);
          at += 6;
        } else if (is_high_surrogate(code) || is_low_surrogate(code)) {
          code = 0xfffd;
        }
        append_utf8(out, static_cast<unsigned>(code));
        break;
      }
      default:
        out += backslash[1];  // `"`, `\`, `/`
    }
  }
}

/// No double holds it: a reader may get infinity, or refuse the whole frame. `text` is a JSON number.
bool exceeds_double(std::string_view text) {
  constexpr std::int64_t far = 1'000'000'000;  // more than any text has digits that matter
  constexpr std::int64_t largest = 308;        // 1.797…e308
  const std::size_t mark = std::min(text.find_first_of("eE"), text.size());
  std::int64_t exponent = 0;
  if (mark < text.size()) {
    bool negative = false;
    for (const char c : text.substr(mark + 1)) {
      if (c == '-') negative = true;
      if (is_digit(c)) exponent = std::min(far, exponent * 10 + (c - '0'));
    }
    if (negative) exponent = -exponent;
  }
  // The power of ten of the first digit that is not zero.
  const std::string_view mantissa = text.substr(0, mark);
  const std::size_t lead = mantissa.find_first_of("123456789");
  if (lead == std::string_view::npos) return false;
  const std::size_t point = std::min(mantissa.find('.'), mantissa.size());
  const std::int64_t power = static_cast<std::int64_t>(point) - static_cast<std::int64_t>(lead) -
                             (lead < point ? 1 : 0) + exponent;
  if (power != largest) return power > largest;
  double value = 0;
  return std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc{};
}

/// The first 8 bytes of a key as a number, zeros behind a shorter one. `readable` bytes may be read.
std::uint64_t prefix_of(std::string_view key, std::size_t readable) {
  constexpr std::size_t prefix_bytes = 8;
  std::uint64_t prefix = 0;
  if (std::endian::native == std::endian::little && readable >= prefix_bytes) {
    std::memcpy(&prefix, key.data(), prefix_bytes);  // one load; a copy of key.size() bytes is slow
    const bool is_short = key.size() < prefix_bytes;
    return is_short ? prefix & ((std::uint64_t{1} << (8 * key.size())) - 1) : prefix;
  }
  std::memcpy(&prefix, key.data(), std::min(key.size(), prefix_bytes));
  return prefix;
}

}  // namespace

std::string_view to_text(json_fault fault) {
  switch (fault) {
    case json_fault::none:
      return "";
    case json_fault::syntax:
      return "not valid JSON";
    case json_fault::duplicate_key:
      return "an object has the same key twice";
    case json_fault::too_deep:
      return "nested too deeply";
    case json_fault::lone_surrogate:
      return "a string has half a surrogate pair";
    case json_fault::number_range:
      return "a number is out of the range of a double";
  }
  return {};
}

void append_decoded(std::string& out, const json_slice& string) {
  PARLEY_ASSERT(string.kind == json_kind::string);
  if (string.plain) {
    out += inside_quotes(string);
  } else {
    append_unescaped(out, inside_quotes(string));
  }
}

std::string decoded(const json_slice& string) {
  if (string.plain && string.kind == json_kind::string) return std::string{inside_quotes(string)};
  std::string out;
  append_decoded(out, string);
  return out;
}

std::string minified(const json_slice& value) {
  const bool is_container = value.is(json_kind::array) || value.is(json_kind::object);
  if (!is_container || value.plain) return std::string{value.text};
  std::string out;
  out.reserve(value.text.size());
  const char* at = value.text.data();
  const char* const end = at + value.text.size();
  while (at != end) {
    const char* const begin = at;
    if (*at == '"') {
      for (++at; *at != '"'; ++at) {
        if (*at == '\\') ++at;
      }
      ++at;
    } else {
      at = std::find_if(at, end, [](char c) { return is_space(c) || c == '"'; });
    }
    out.append(begin, at);
    while (at != end && is_space(*at)) ++at;
  }
  return out;
}

std::optional<std::int64_t> as_count(const json_slice& value) {
  constexpr std::size_t digits_of_max = 16;
  if (!value.is(json_kind::number) || value.text.size() > digits_of_max) return std::nullopt;
  std::int64_t count = 0;
  for (const char c : value.text) {
    if (!is_digit(c)) return std::nullopt;
    count = count * 10 + (c - '0');
  }
  if (count > max_exact_integer) return std::nullopt;
  return count;
}

bool is_integer_literal(const json_slice& value) {
  return value.is(json_kind::number) && std::all_of(value.text.begin(), value.text.end(),
                                                    [](char c) { return is_digit(c) || c == '-'; });
}

void json_scanner::open(std::string_view text, std::size_t padding) {
  at_ = text.data();
  end_ = at_ + text.size();
  readable_end_ = end_ + padding;
  fault_ = json_fault::none;
  broken_ = false;
  first_ = false;
  open_.clear();
  if (keys_.capacity() > max_kept_keys) std::vector<key>{}.swap(keys_);
  keys_.clear();
  key_starts_.clear();
  if (!decoded_keys_.empty()) decoded_keys_.clear();
}

bool json_scanner::at_object() {
  if (broken_) return false;
  skip_space();
  return peek() == '{';
}

bool json_scanner::at_array() {
  if (broken_) return false;
  skip_space();
  return peek() == '[';
}

bool json_scanner::enter_object() {
  if (!at_object()) return fail();
  ++at_;
  enter('{');
  first_ = true;
  return true;
}

bool json_scanner::enter_array() {
  if (!at_array()) return fail();
  ++at_;
  enter('[');
  first_ = true;
  return true;
}

std::optional<std::string_view> json_scanner::next_key() {
  if (broken_) return std::nullopt;
  skip_space();
  if (peek() == '}') {
    ++at_;
    leave();
    first_ = false;
    return std::nullopt;
  }
  if (!first_) {
    if (peek() != ',') {
      fail();
      return std::nullopt;
    }
    ++at_;
    skip_space();
  }
  first_ = false;
  return scan_key() ? std::optional{key_} : std::nullopt;
}

bool json_scanner::next_element() {
  if (broken_) return false;
  skip_space();
  if (peek() == ']') {
    ++at_;
    leave();
    first_ = false;
    return false;
  }
  if (!first_) {
    if (peek() != ',') return fail();
    ++at_;
    skip_space();
  }
  first_ = false;
  return true;
}

/// Behind the string that begins here, if it has no escapes; else, or when there is none, null.
inline const char* json_scanner::end_of_plain_string() const {
  if (peek() != '"') return nullptr;
  const char* const end = find_json_special(at_ + 1, end_, readable_end_);
  return end != end_ && *end == '"' ? end + 1 : nullptr;
}

void json_scanner::value(json_slice& out) {
  if (broken_) {
    out = {.sound = false};
    return;
  }
  skip_space();
  if (const char* const end = end_of_plain_string(); end != nullptr) {  // most values are
    out = {.kind = json_kind::string, .text = {at_, static_cast<std::size_t>(end - at_)}};
    at_ = end;
    return;
  }
  out = {};
  const json_fault before = std::exchange(fault_, json_fault::none);
  const char* const begin = at_;
  switch (peek()) {
    case '"':
      out.kind = json_kind::string;
      scan_string();
      out.plain = !escaped_;
      break;
    case '{':
    case '[':
      out.kind = peek() == '{' ? json_kind::object : json_kind::array;
      spaced_ = false;
      scan_value();
      out.plain = !spaced_;
      break;
    case 't':
      out.kind = json_kind::boolean;
      scan_word("true");
      break;
    case 'f':
      out.kind = json_kind::boolean;
      scan_word("false");
      break;
    case 'n':
      out.kind = json_kind::null;
      scan_word("null");
      break;
    default:
      out.kind = json_kind::number;
      scan_number();
  }
  out.sound = fault_ == json_fault::none;
  out.text = {begin, static_cast<std::size_t>(at_ - begin)};
  if (before != json_fault::none) fault_ = before;
  if (broken_) out.kind = json_kind::none;
}

bool json_scanner::finish() {
  if (broken_) return false;
  skip_space();
  if (at_ != end_ || !open_.empty()) return fail();
  return fault_ == json_fault::none;
}

void json_scanner::skip_space_slowly() {
  while (at_ != end_ && is_space(*at_)) {
    ++at_;
    spaced_ = true;
  }
}

bool json_scanner::fail() {
  broken_ = true;
  note(json_fault::syntax);
  return false;
}

void json_scanner::enter(char bracket) {
  open_ += bracket;
  if (open_.size() > max_depth_) {
    note(json_fault::too_deep);  // what is in there is refused anyway: its keys are not compared
  } else if (bracket == '{') {
    key_starts_.push_back(keys_.size());
  }
}

void json_scanner::leave() {
  if (open_.back() == '{' && open_.size() <= max_depth_) {
    check_keys(key_starts_.back());
    keys_.resize(key_starts_.back());
    key_starts_.pop_back();
  }
  open_.pop_back();
}

void json_scanner::check_keys(std::size_t first) {
  const auto is_same = [](const key& a, const key& b) {
    return a.prefix == b.prefix && a.text == b.text;
  };
  if (keys_.size() - first <= max_compared_keys) {
    for (std::size_t i = first; i < keys_.size(); ++i) {
      for (std::size_t j = first; j < i; ++j) {
        if (is_same(keys_[i], keys_[j])) note(json_fault::duplicate_key);
      }
    }
    return;
  }
  const auto begin = std::next(keys_.begin(), static_cast<std::ptrdiff_t>(first));
  std::sort(begin, keys_.end(), [](const key& a, const key& b) {
    return a.prefix != b.prefix ? a.prefix < b.prefix : a.text < b.text;
  });
  if (std::adjacent_find(begin, keys_.end(), is_same) != keys_.end()) {
    note(json_fault::duplicate_key);
  }
}

// Without recursion, so that no depth can hurt: open_ is the stack.
bool json_scanner::scan_value() {
  const std::size_t floor = open_.size();
  for (;;) {
    // A value begins here.
    switch (peek()) {
      case '{':
        ++at_;
        enter('{');
        skip_space();
        if (peek() == '}') {
          ++at_;
          leave();
          break;
        }
        if (!scan_key()) return false;
        continue;
      case '[':
        ++at_;
        enter('[');
        skip_space();
        if (peek() == ']') {
          ++at_;
          leave();
          break;
        }
        continue;
      case '"':
        if (!scan_string()) return false;
        break;
      case 't':
        if (!scan_word("true")) return false;
        break;
      case 'f':
        if (!scan_word("false")) return false;
        break;
      case 'n':
        if (!scan_word("null")) return false;
        break;
      default:
        if (!scan_number()) return false;
    }
    // A value ended: on to the next one of the innermost bracket that has one.
    for (;;) {
      if (open_.size() == floor) return true;
      skip_space();
      const bool in_object = open_.back() == '{';
      if (peek() == ',') {
        ++at_;
        skip_space();
        if (in_object && !scan_key()) return false;
        break;
      }
      if (peek() != (in_object ? '}' : ']')) return fail();
      ++at_;
      leave();
    }
  }
}

bool json_scanner::scan_string() {
  if (peek() != '"') return fail();
  escaped_ = false;
  for (const char* at = at_ + 1;;) {
    at = find_json_special(at, end_, readable_end_);
    at_ = at;
    if (at == end_) return fail();
    if (*at == '"') {
      ++at_;
      return true;
    }
    if (*at != '\\') return fail();  // a control character
    escaped_ = true;
    if (!scan_escape()) return false;
    at = at_;
  }
}

bool json_scanner::scan_escape() {
  ++at_;
  constexpr std::string_view one_letter = R"("\/bfnrt)";
  if (peek() != 'u') {
    if (at_ == end_ || one_letter.find(*at_) == std::string_view::npos) return fail();
    ++at_;
    return true;
  }
  const int code = hex4(at_ + 1, end_);
  if (code < 0) return fail();
  at_ += 5;
  if (is_low_surrogate(code)) note(json_fault::lone_surrogate);
  if (is_high_surrogate(code)) {
    const bool is_pair =
        end_ - at_ >= 6 && at_[0] == '\\' && at_[1] == 'u' && is_low_surrogate(hex4(at_ + 2, end_));
    if (is_pair) {
      at_ += 6;
    } else {
      note(json_fault::lone_surrogate);
    }
  }
  return true;
}

bool json_scanner::scan_number() {
  constexpr std::size_t always_in_range = 308;  // digits without an exponent
  const char* const begin = at_;
  const auto skip_digits = [this] {
    const char* const first = at_;
    while (at_ != end_ && is_digit(*at_)) ++at_;
    return at_ != first;
  };
  bool has_exponent = false;
  if (peek() == '-') ++at_;
  if (peek() == '0') {
    ++at_;
  } else if (!skip_digits()) {
    return fail();
  }
  if (peek() == '.') {
    ++at_;
    if (!skip_digits()) return fail();
  }
  if (peek() == 'e' || peek() == 'E') {
    has_exponent = true;
    ++at_;
    if (peek() == '+' || peek() == '-') ++at_;
    if (!skip_digits()) return fail();
  }
  const std::string_view text{begin, static_cast<std::size_t>(at_ - begin)};
  if ((has_exponent || text.size() > always_in_range) && exceeds_double(text)) {
    note(json_fault::number_range);
  }
  return true;
}

bool json_scanner::scan_word(std::string_view word) {
  const std::string_view rest{at_, static_cast<std::size_t>(end_ - at_)};
  if (!rest.starts_with(word)) return fail();
  at_ += word.size();
  return true;
}

bool json_scanner::scan_key() {
  const char* const begin = at_ + 1;
  auto readable = static_cast<std::size_t>(readable_end_ - begin);
  if (const char* const end = end_of_plain_string(); end != nullptr) {
    at_ = end;
    key_ = {begin, static_cast<std::size_t>(at_ - 1 - begin)};
  } else {
    if (!scan_string()) return false;
    std::string& characters = decoded_keys_.emplace_front();
    append_unescaped(characters, {begin, static_cast<std::size_t>(at_ - 1 - begin)});
    key_ = characters;
    readable = key_.size();
  }
  if (open_.size() <= max_depth_) keys_.push_back({prefix_of(key_, readable), key_});
  skip_space();
  if (peek() != ':') return fail();
  ++at_;
  skip_space();
  return true;
}

}  // namespace parley
