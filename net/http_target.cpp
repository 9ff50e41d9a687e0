#include "net/http_target.hpp"

#include "protocol/utf8.hpp"

#include <algorithm>

namespace parley::net {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// The next piece of `rest` up to `separator`, which is eaten.
std::string_view next_piece(std::string_view& rest, char separator) {
  const auto end = rest.find(separator);
  const auto piece = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  return piece;
}

std::pair<std::string_view, std::string_view> split_parameter(std::string_view piece) {
  const auto equals = piece.find('=');
  if (equals == std::string_view::npos) return {piece, {}};
  return {piece.substr(0, equals), piece.substr(equals + 1)};
}

bool split_path(target_parts& out) {
  if (out.path == "/" || out.path == "*") return true;
  if (static_cast<std::size_t>(std::ranges::count(out.path, '/')) > target_max_segments) {
    out.problem = "too many path segments";
    return false;
  }
  std::string_view path = out.path;
  for (std::size_t at = 1; at <= path.size();) {
    const auto end = std::min(path.find('/', at), path.size());
    auto segment = percent_decode(path.substr(at, end - at), false);
    if (!segment) {
      out.problem = "malformed escape in the path";
      return false;
    }
    out.segments.push_back(std::move(*segment));
    at = end + 1;
  }
  return true;
}

bool split_query(target_parts& out) {
  for (std::string_view rest = out.query_raw; !rest.empty();) {
    const auto piece = next_piece(rest, '&');
    if (piece.empty()) continue;
    if (out.query.size() == target_max_parameters) {
      out.problem = "too many query parameters";
      return false;
    }
    const auto [raw_name, raw_value] = split_parameter(piece);
    auto name = percent_decode(raw_name, true);
    auto value = percent_decode(raw_value, true);
    if (!name || !value) {
      out.problem = "malformed escape in the query";
      return false;
    }
    out.query.emplace_back(std::move(*name), std::move(*value));
  }
  return true;
}

}  // namespace

std::optional<std::string> percent_decode(std::string_view raw, bool plus_is_space) {
  std::string out;
  out.reserve(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    char c = raw[i];
    if (c == '%') {
      if (i + 2 >= raw.size()) return std::nullopt;
      const int high = hex_value(raw[i + 1]);
      const int low = hex_value(raw[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    if (c == '\0') return std::nullopt;
    out.push_back(c);
  }
  if (!is_valid_utf8(out)) return std::nullopt;
  return out;
}

target_parts split_target(std::string_view target) {
  target_parts out;
  if (target != "*" && !target.starts_with('/')) {  // absolute form
    const auto authority = target.find("://") + 3;
    target.remove_prefix(std::min(target.find_first_of("/?", authority), target.size()));
  }
  const auto question = target.find('?');
  out.path = target.substr(0, question);
  if (out.path.empty()) out.path = "/";  // RFC 9112 §3.2.1
  if (question != std::string_view::npos) out.query_raw = target.substr(question + 1);
  if (split_path(out)) split_query(out);
  return out;
}

std::optional<std::string_view> raw_query_value(std::string_view query_raw, std::string_view name) {
  for (auto rest = query_raw; !rest.empty();) {
    const auto [raw_name, raw_value] = split_parameter(next_piece(rest, '&'));
    if (percent_decode(raw_name, true) == name) return raw_value;
  }
  return std::nullopt;
}

}  // namespace parley::net
