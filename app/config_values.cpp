#include "app/config_values.hpp"

#include "protocol/utf8.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <limits>

namespace parley::app {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

std::optional<int> hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  c = lower(c);
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return std::nullopt;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const auto high = hex_digit(text[i + 1]);
    const auto low = hex_digit(text[i + 2]);
    if (!high || !low || (*high == 0 && *low == 0)) return std::nullopt;
    out += static_cast<char>(*high * 16 + *low);
    i += 2;
  }
  return out;
}

struct duration_unit {
  std::string_view name;
  std::uint64_t ns;
};
// Longer names first where one begins with another.
constexpr std::array<duration_unit, 8> duration_units{{{"ns", 1},
                                                       {"us", 1'000},
                                                       {"\xc2\xb5s", 1'000},  // µ, the micro sign
                                                       {"\xce\xbcs", 1'000},  // μ, the Greek letter
                                                       {"ms", 1'000'000},
                                                       {"s", 1'000'000'000},
                                                       {"m", 60'000'000'000},
                                                       {"h", 3'600'000'000'000}}};

// Ten years: far beyond every allowed range, far below overflow.
constexpr std::uint64_t duration_max_ns = 10ULL * 366 * 24 * 3'600'000'000'000;

struct size_unit {
  std::string_view name;
  std::uint64_t bytes;
};
constexpr std::array<size_unit, 9> size_units{{{"", 1},
                                               {"B", 1},
                                               {"kB", 1'000},
                                               {"KB", 1'000},
                                               {"KiB", 1ULL << 10U},
                                               {"MB", 1'000'000},
                                               {"MiB", 1ULL << 20U},
                                               {"GB", 1'000'000'000},
                                               {"GiB", 1ULL << 30U}}};

/// Insertions, deletions, changes and swaps of neighbours.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

}  // namespace

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  if (text == "0") return std::chrono::milliseconds{0};
  if (text.empty()) return std::nullopt;
  std::uint64_t total_ns = 0;
  while (!text.empty()) {
    std::size_t at = 0;
    std::uint64_t whole = 0;
    while (at < text.size() && is_digit(text[at])) {
      whole = whole * 10 + static_cast<std::uint64_t>(text[at++] - '0');
      if (whole > duration_max_ns) return std::nullopt;
    }
    const auto whole_digits = at;
    std::uint64_t fraction = 0;
    std::uint64_t scale = 1;
    std::size_t fraction_digits = 0;
    if (at < text.size() && text[at] == '.') {
      ++at;
      for (; at < text.size() && is_digit(text[at]); ++at, ++fraction_digits) {
        if (fraction_digits >= 9) continue;  // finer than a nanosecond of a second
        fraction = fraction * 10 + static_cast<std::uint64_t>(text[at] - '0');
        scale *= 10;
      }
    }
    if (whole_digits + fraction_digits == 0) return std::nullopt;
    text.remove_prefix(at);
    const auto unit = std::ranges::find_if(
        duration_units, [&](const duration_unit& u) { return text.starts_with(u.name); });
    // `m` is no prefix of «ms» here: the table has `ms` first.
    if (unit == duration_units.end()) return std::nullopt;
    text.remove_prefix(unit->name.size());
    if (whole > duration_max_ns / unit->ns) return std::nullopt;
    // Long double holds 64 bits: exact for fractions that end in whole milliseconds.
    total_ns += whole * unit->ns +
                static_cast<std::uint64_t>(std::llround(static_cast<long double>(fraction) *
                                                        static_cast<long double>(unit->ns) /
                                                        static_cast<long double>(scale)));
    if (total_ns > duration_max_ns) return std::nullopt;
  }
  if (total_ns % 1'000'000 != 0) return std::nullopt;
  return std::chrono::milliseconds{static_cast<std::int64_t>(total_ns / 1'000'000)};
}

std::string show_duration(std::chrono::milliseconds value) {
  auto ms = value.count();
  if (ms == 0) return "0s";
  if (ms % 1000 != 0 && ms < 1000) return std::to_string(ms) + "ms";
  std::string out;
  if (ms >= 3'600'000) {
    out += std::to_string(ms / 3'600'000) + "h";
    ms %= 3'600'000;
  }
  if (ms >= 60'000) {
    out += std::to_string(ms / 60'000) + "m";
    ms %= 60'000;
  }
  if (ms >= 1000) {
    out += std::to_string(ms / 1000) + "s";
    ms %= 1000;
  }
  if (ms > 0) out += std::to_string(ms) + "ms";
  return out;
}

std::optional<std::uint64_t> parse_count(std::string_view text) {
  std::uint64_t value = 0;
  const auto* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc{} || stop != end || !is_digit(text.front())) {
    return std::nullopt;
  }
  return value;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = parse_count(text.substr(0, digits));
  text.remove_prefix(digits);
  const auto unit =
      std::ranges::find_if(size_units, [&](const size_unit& u) { return u.name == trimmed(text); });
  if (!number || unit == size_units.end()) return std::nullopt;
  if (*number > std::numeric_limits<std::uint64_t>::max() / unit->bytes) return std::nullopt;
  return *number * unit->bytes;
}

std::string show_size(std::uint64_t bytes) {
  for (const std::string_view name : {"GiB", "MiB", "KiB"}) {
    const auto unit =
        std::ranges::find_if(size_units, [&](const size_unit& u) { return u.name == name; })->bytes;
    if (bytes >= unit && bytes % unit == 0) return std::to_string(bytes / unit) + std::string{name};
  }
  return std::to_string(bytes);
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> items;
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    if (const auto item = trimmed(text.substr(0, comma)); !item.empty()) items.emplace_back(item);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return items;
}

std::optional<host_port> parse_host_port(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto port = parse_count(text.substr(colon + 1));
  if (!port || *port > 65535) return std::nullopt;
  auto host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']') && host.size() > 2) {
    host = host.substr(1, host.size() - 2);
    if (host.find(':') == std::string_view::npos) return std::nullopt;
    if (host.find_first_not_of("0123456789abcdefABCDEF:.") != std::string_view::npos) {
      return std::nullopt;
    }
  } else if (std::ranges::any_of(host, [](char c) {
               return !is_digit(c) && !(lower(c) >= 'a' && lower(c) <= 'z') && c != '.' &&
                      c != '-' && c != '_';
             })) {
    return std::nullopt;
  }
  return host_port{std::string{host}, static_cast<std::uint16_t>(*port)};
}

bool is_origin(std::string_view text) {
  if (text == "*") return true;
  const auto colon = text.find("://");
  if (colon == std::string_view::npos || colon == 0) return false;
  const auto is_scheme = [](char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || c == '+' || c == '-' || c == '.';
  };
  const auto is_host = [](char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '.' || c == '_' || c == ':' ||
           c == '[' || c == ']';
  };
  const auto host = text.substr(colon + 3);
  return std::ranges::all_of(text.substr(0, colon), is_scheme) && !host.empty() &&
         std::ranges::all_of(host, is_host);
}

std::variant<database_name, std::string> parse_database(std::string_view text) {
  std::string_view parameters;
  const bool is_uri = text.starts_with("file:");
  auto path = is_uri ? text.substr(5) : text;
  if (is_uri) path = path.substr(0, path.find('#'));
  if (const auto question = path.find('?'); question != std::string_view::npos) {
    parameters = path.substr(question + 1);
    path = path.substr(0, question);
  }
  if (is_uri && path.starts_with("//")) {
    const auto slash = path.find('/', 2);
    const auto host = path.substr(2, slash == std::string_view::npos ? slash : slash - 2);
    if (slash == std::string_view::npos || !(host.empty() || host == "localhost")) {
      return "a file: URI names a file of this machine: file:path or file:///path";
    }
    path = path.substr(slash);
  }
  database_name name;
  if (is_uri) {
    auto decoded = percent_decoded(path);
    if (!decoded) return "a bad %-escape";
    name.path = std::move(*decoded);
  } else {
    name.path = path;
  }
  while (!parameters.empty()) {
    const auto end = std::min(parameters.find('&'), parameters.size());
    const auto parameter = parameters.substr(0, end);
    parameters.remove_prefix(std::min(end + 1, parameters.size()));
    const auto key = parameter.substr(0, parameter.find('='));
    const auto value = key.size() < parameter.size() ? parameter.substr(key.size() + 1) : "";
    if (key == "mode" && value == "memory") return "a database in memory keeps nothing";
    if ((key == "mode" && value == "ro") || key == "immutable") return "the node must write to it";
    if (!key.empty()) name.ignored_parameters.emplace_back(key);
  }
  if (name.path == ":memory:") return "a database in memory keeps nothing";
  if (name.path.empty()) return "no file is named";
  if (name.path.ends_with('/')) return "a file, not a directory";
  if (name.path.find('\0') != std::string::npos) return "a NUL byte";
  return name;
}

std::optional<std::string_view> nearest(std::string_view word,
                                        std::span<const std::string_view> candidates) {
  const auto wanted = to_lower(word);
  std::optional<std::string_view> best;
  std::size_t best_distance = std::numeric_limits<std::size_t>::max();
  for (const auto candidate : candidates) {
    const auto distance = edit_distance(wanted, to_lower(candidate));
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  // Beyond a third of the letters it is a guess, not a slip of the hand.
  if (best_distance > std::max<std::size_t>(2, word.size() / 3) || best_distance >= word.size()) {
    return std::nullopt;
  }
  return best;
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t shown_max_bytes = 200;  // a message is for reading
  const auto shown = text.substr(0, shown_max_bytes);
  const bool valid = is_valid_utf8(text);
  std::string out = "\"";
  for (const char c : shown) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') out += '\\';
    if (byte >= 0x20 && byte != 0x7f && (byte < 0x80 || (valid && shown.size() == text.size()))) {
      out += c;
    } else {
      constexpr std::string_view digits = "0123456789abcdef";
      out += "\\x";
      out += digits[byte >> 4U];
      out += digits[byte & 15U];
    }
  }
  out += shown.size() < text.size() ? "\"..." : "\"";
  return out;
}

std::string to_lower(std::string_view text) {
  std::string out{text};
  std::ranges::transform(out, out.begin(), lower);
  return out;
}

std::string to_upper(std::string_view text) {
  std::string out{text};
  std::ranges::transform(out, out.begin(), upper);
  return out;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace parley::app
