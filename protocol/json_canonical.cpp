#include "protocol/json_canonical.hpp"

#include "protocol/json_scan.hpp"
#include "protocol/server_frame.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace parley {

namespace {

// Deeper texts pass no door of the node (max_json_depth); an imported one is then compared as it stands.
constexpr std::size_t max_canonical_depth = 512;

/// Digits without zeros at either end, and the power of ten of the last one: one spelling for each decimal value. No
/// double is involved, so nothing is rounded.
void append_number(std::string& out, std::string_view text) {
  constexpr std::int64_t max_plain_zeros = 20;
  constexpr std::int64_t far = 1'000'000'000'000;
  std::string digits;
  std::int64_t power = 0;
  std::size_t i = text.front() == '-' ? 1 : 0;
  bool in_fraction = false;
  for (; i < text.size() && text[i] != 'e' && text[i] != 'E'; ++i) {
    if (text[i] == '.') {
      in_fraction = true;
      continue;
    }
    if (in_fraction) --power;
    if (text[i] != '0' || !digits.empty()) digits += text[i];
  }
  if (i < text.size()) {
    bool negative = false;
    std::int64_t exponent = 0;
    for (const char c : text.substr(i + 1)) {
      if (c == '-') negative = true;
      if (c >= '0' && c <= '9') exponent = std::min(far, exponent * 10 + (c - '0'));
    }
    power += negative ? -exponent : exponent;
  }
  while (!digits.empty() && digits.back() == '0') {
    digits.pop_back();
    ++power;
  }
  if (digits.empty()) {  // -0 too: JSON's numbers have no negative zero that differs
    out += '0';
    return;
  }
  if (text.front() == '-') out += '-';
  out += digits;
  if (power >= 0 && power <= max_plain_zeros) {
    out.append(static_cast<std::size_t>(power), '0');
  } else {
    out += 'e';
    out += std::to_string(power);
  }
}

class canonical_writer {
 public:
  explicit canonical_writer(json_scanner& from) : from_(from) {}

  /// False when the text is too deep.
  bool write_value(std::string& out, std::size_t depth) {
    if (depth > max_canonical_depth) return false;
    if (from_.at_object()) return write_object(out, depth);
    if (from_.at_array()) return write_array(out, depth);
    write_scalar(out, from_.value());
    return true;
  }

 private:
  bool write_object(std::string& out, std::size_t depth) {
    std::vector<std::pair<std::string, std::string>> fields;
    from_.enter_object();
    while (const auto key = from_.next_key()) {
      auto& [name, value] = fields.emplace_back(*key, std::string{});
      if (!write_value(value, depth + 1)) return false;
    }
    std::sort(fields.begin(), fields.end());
    out += '{';
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (i > 0) out += ',';
      append_json_string(out, fields[i].first);
      out += ':';
      out += fields[i].second;
    }
    out += '}';
    return true;
  }

  bool write_array(std::string& out, std::size_t depth) {
    from_.enter_array();
    out += '[';
    for (bool first = true; from_.next_element(); first = false) {
      if (!first) out += ',';
      if (!write_value(out, depth + 1)) return false;
    }
    out += ']';
    return true;
  }

  static void write_scalar(std::string& out, const json_slice& scalar) {
    switch (scalar.kind) {
      case json_kind::string:
        append_json_string(out, decoded(scalar));
        break;
      case json_kind::number:
        append_number(out, scalar.text);
        break;
      default:
        out += scalar.text;
    }
  }

  json_scanner& from_;
};

}  // namespace

std::string canonical_json(const json_text& text) {
  if (text.empty()) return {};
  std::string out;
  out.reserve(text.value.size());
  json_scanner from{max_canonical_depth};
  from.open(text.view());
  const bool is_done = canonical_writer{from}.write_value(out, 1);
  return is_done && from.fault() != json_fault::syntax ? out : text.value;
}

}  // namespace parley
