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
  canonical_writer(json_scanner& from, std::string& out) : from_(from), out_(out) {}

  void write_value() {
    if (from_.at_object()) {
      write_object();
    } else if (from_.at_array()) {
      write_array();
    } else {
      write_scalar(from_.value());
    }
  }

 private:
  void write_object() {
    std::vector<std::pair<std::string, std::string>> fields;
    from_.enter_object();
    while (const auto key = from_.next_key()) {
      auto& [name, value] = fields.emplace_back(*key, std::string{});
      canonical_writer{from_, value}.write_value();
    }
    std::sort(fields.begin(), fields.end());
    out_ += '{';
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (i > 0) out_ += ',';
      append_json_string(out_, fields[i].first);
      out_ += ':';
      out_ += fields[i].second;
    }
    out_ += '}';
  }

  void write_array() {
    from_.enter_array();
    out_ += '[';
    for (bool first = true; from_.next_element(); first = false) {
      if (!first) out_ += ',';
      write_value();
    }
    out_ += ']';
  }

  void write_scalar(const json_slice& scalar) {
    switch (scalar.kind) {
      case json_kind::string:
        append_json_string(out_, decoded(scalar));
        break;
      case json_kind::number:
        append_number(out_, scalar.text);
        break;
      default:
        out_ += scalar.text;
    }
  }

  json_scanner& from_;
  std::string& out_;
};

}  // namespace

std::string canonical_json(const json_text& text) {
  if (text.empty()) return {};
  json_scanner check{max_canonical_depth};
  check.open(text.view());
  check.value();
  const bool is_sound = check.finish();
  if (!is_sound && check.fault() != json_fault::number_range) return text.value;
  std::string out;
  out.reserve(text.value.size());
  json_scanner from{max_canonical_depth};
  from.open(text.view());
  canonical_writer{from, out}.write_value();
  return out;
}

}  // namespace parley
