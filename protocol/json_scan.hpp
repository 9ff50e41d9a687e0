#pragma once
/// A strict, single-pass reader of JSON text (RFC 8259): the way in for WebSocket frames, REST bodies and stored JSON.
/// It checks and hands out slices of the source; it builds no tree, so numbers keep their digits and `meta` its bytes.
/// Why not a library: no one pass of simdjson or nlohmann/json refuses duplicate keys and lone surrogates *and* keeps
/// integers beyond 64 bits. Tests hold it against nlohmann/json.

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <forward_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley {

/// The first byte in [at, end) that can't stand in a JSON string as it is: `"`, `\` or a control; `end`: none. Bytes up
/// to `readable_end`, which is not before `end`, may be looked at.
inline const char* find_json_special(const char* at, const char* end, const char* readable_end) {
#ifdef __SSE2__
  // Sixteen bytes at a time: most keys and ids end within the first step.
  const __m128i quotes = _mm_set1_epi8('"');
  const __m128i backslashes = _mm_set1_epi8('\\');
  const __m128i last_control = _mm_set1_epi8(0x1f);
  while (at < end && readable_end - at >= 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const __m128i found =
        _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, quotes), _mm_cmpeq_epi8(bytes, backslashes)),
                     _mm_cmpeq_epi8(_mm_min_epu8(bytes, last_control), bytes));
    const auto bits = static_cast<unsigned>(_mm_movemask_epi8(found));
    if (bits != 0) return std::min(at + std::countr_zero(bits), end);
    at += 16;
  }
  if (at >= end) return end;
#endif
  while (at != end && *at != '"' && *at != '\\' && static_cast<unsigned char>(*at) >= 0x20) ++at;
  return at;
}

enum class json_kind : std::uint8_t { none, null, boolean, number, string, array, object };

/// Why a text is refused. After `syntax` nothing more can be read; the others are noted and reading
/// goes on.
enum class json_fault : std::uint8_t {
  none,
  syntax,
  duplicate_key,
  too_deep,
  lone_surrogate,
  number_range
};
/// For people; fits behind a field's name.
[[nodiscard]] std::string_view to_text(json_fault fault);

/// One value as it stands in the source. Valid as long as the source.
struct json_slice {
  json_kind kind = json_kind::none;  ///< none: not there
  bool plain = true;        ///< strings: no escapes; arrays, objects: no white space between tokens
  bool sound = true;        ///< nothing in it was refused
  std::string_view text{};  ///< the whole value; strings with their quotes

  [[nodiscard]] bool is(json_kind k) const { return kind == k; }
  /// Not there, or null.
  [[nodiscard]] bool is_void() const { return kind == json_kind::none || kind == json_kind::null; }
};

/// What stands between the quotes of a string slice, as it is.
[[nodiscard]] inline std::string_view inside_quotes(const json_slice& string) {
  return string.text.substr(1, string.text.size() - 2);
}
/// The characters of a string slice, escapes undone.
void append_decoded(std::string& out, const json_slice& string);
[[nodiscard]] std::string decoded(const json_slice& string);
/// The text without white space between tokens: strings and numbers keep their bytes.
[[nodiscard]] std::string minified(const json_slice& value);
/// An integer literal (no sign, fraction or exponent) within [0, 2^53]: the range that every client reads exactly.
[[nodiscard]] std::optional<std::int64_t> as_count(const json_slice& value);
/// An integer literal of any size, with or without sign.
[[nodiscard]] bool is_integer_literal(const json_slice& value);

/// Pulls fields and values from one text, in order, never back. One per thread: its scratch memory is kept.
///
///   scanner.open(text);
///   if (scanner.enter_object())
///     while (auto key = scanner.next_key()) use(*key, scanner.value());   // or enter_object() again
///   if (scanner.finish()) …                                               // the text was sound
class json_scanner {
 public:
  /// `max_depth` counts the outermost value.
  explicit json_scanner(std::size_t max_depth) : max_depth_(max_depth) {}

  /// Starts on a text of valid UTF-8. `padding`: how many bytes behind it are readable; with 16 or more it is faster.
  void open(std::string_view text, std::size_t padding = 0);
  /// Is the next value an object?
  [[nodiscard]] bool at_object();
  [[nodiscard]] bool at_array();
  /// Goes into the object or array that comes next; false (a syntax fault) when something else does.
  bool enter_object();
  bool enter_array();
  /// The key of the next field, escapes undone; its value must be taken before the next call. nullopt: the object
  /// ended, or a fault. The view lives until the next open().
  std::optional<std::string_view> next_key();
  /// Is there another element? It must be taken before the next call.
  bool next_element();
  /// The next value, checked in full, into `out`. `none` after a syntax fault.
  void value(json_slice& out);
  json_slice value() {
    json_slice out;
    value(out);
    return out;
  }
  /// True when only white space follows and nothing was refused.
  bool finish();

  /// The first fault; none: all is well so far.
  [[nodiscard]] json_fault fault() const { return fault_; }

 private:
  struct key {
    std::uint64_t prefix;  ///< its first 8 bytes: most comparisons end here
    std::string_view text;
  };

  [[nodiscard]] char peek() const { return at_ == end_ ? '\0' : *at_; }
  void skip_space() {
    if (at_ != end_ && *at_ > ' ') return;  // as programs write it
    skip_space_slowly();
  }
  void skip_space_slowly();
  void note(json_fault fault) {
    if (fault_ == json_fault::none) fault_ = fault;
  }
  bool fail();
  void enter(char bracket);
  void leave();
  void check_keys(std::size_t first);
  [[nodiscard]] const char* end_of_plain_string() const;
  bool scan_value();
  bool scan_string();
  bool scan_escape();
  bool scan_number();
  bool scan_word(std::string_view word);
  bool scan_key();

  std::size_t max_depth_;
  const char* at_ = nullptr;
  const char* end_ = nullptr;
  const char* readable_end_ = nullptr;
  json_fault fault_ = json_fault::none;
  bool broken_ = false;    ///< a syntax fault: nothing more is read
  bool first_ = false;     ///< just entered: no comma before the next field or element
  bool spaced_ = false;    ///< white space was skipped since the value began
  bool escaped_ = false;   ///< the last string has escapes
  std::string_view key_;   ///< the last key
  std::string open_;       ///< the brackets we are in, outermost first
  std::vector<key> keys_;  ///< of the objects we are in, outermost first
  std::vector<std::size_t> key_starts_;          ///< where each such object's keys begin
  std::forward_list<std::string> decoded_keys_;  ///< keys_ look at them: they must not move
};

}  // namespace parley
