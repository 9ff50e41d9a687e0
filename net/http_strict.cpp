#include "net/http_strict.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

namespace parley::net {
namespace {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
constexpr bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
constexpr char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
constexpr unsigned char byte_of(char c) { return static_cast<unsigned char>(c); }

constexpr std::array<bool, 256> token_chars = [] {
  std::array<bool, 256> table{};
  for (int c = 0; c < 128; ++c) {
    const char ch = static_cast<char>(c);
    table[byte_of(ch)] = is_digit(ch) || is_alpha(ch);
  }
  for (const char c : std::string_view{"!#$%&'*+-.^_`|~"}) table[byte_of(c)] = true;
  return table;
}();

/// HTAB, SP, VCHAR and obs-text (RFC 9110 §5.5): no CR, LF, NUL or other control.
constexpr bool is_value_char(char c) {
  return c == '\t' || (byte_of(c) >= 0x20 && byte_of(c) != 0x7f);
}

/// Visible ASCII. RFC 3986 knows fewer characters, but browsers and curl send `|`, `{` or `"` as they are, and nobody
/// cuts a request there. A `#` is cut off by some and kept by others: refused.
constexpr bool is_target_char(char c) { return byte_of(c) > 0x20 && byte_of(c) < 0x7f && c != '#'; }

bool iequals(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, to_lower, to_lower);
}

head_check refuse(std::string_view why, head_verdict verdict = head_verdict::bad_request) {
  return {.verdict = verdict, .why = why};
}

struct host_port {
  std::string_view host;
  std::string_view port;  ///< digits; empty: none
};

bool is_ip_literal(std::string_view inside) {
  if (inside.empty()) return false;
  if (inside.front() == 'v' || inside.front() == 'V') {  // IPvFuture: v 1*HEXDIG "." 1*( … )
    const auto dot = inside.find('.');
    if (dot == std::string_view::npos || dot < 2 || dot + 1 == inside.size()) return false;
    const auto rest = inside.substr(dot + 1);
    return std::ranges::all_of(inside.substr(1, dot - 1), is_hex) &&
           std::ranges::all_of(rest, [](char c) {
             return is_digit(c) || is_alpha(c) ||
                    std::string_view{"-._~!$&'()*+,;=:"}.find(c) != std::string_view::npos;
           });
  }
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (inside.size() >= text.size()) return false;
  std::ranges::copy(inside, text.begin());
  in6_addr ignored{};
  return inet_pton(AF_INET6, text.data(), &ignored) == 1;
}

/// reg-name without the comma: what looks like two Hosts merged by a proxy is not one.
bool is_reg_name(std::string_view name) {
  if (name.empty() || name.size() > 255) return false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    if (c == '%') {
      if (i + 2 >= name.size() || !is_hex(name[i + 1]) || !is_hex(name[i + 2])) return false;
      i += 2;
    } else if (!is_digit(c) && !is_alpha(c) &&
               std::string_view{"-._~!$&'()*+;="}.find(c) == std::string_view::npos) {
      return false;
    }
  }
  return true;
}

std::optional<host_port> parse_host(std::string_view text) {
  host_port out;
  std::string_view rest;
  if (!text.empty() && text.front() == '[') {
    const auto end = text.find(']');
    if (end == std::string_view::npos || !is_ip_literal(text.substr(1, end - 1))) {
      return std::nullopt;
    }
    out.host = text.substr(0, end + 1);
    rest = text.substr(end + 1);
  } else {
    out.host = text.substr(0, text.find(':'));
    rest = text.substr(out.host.size());
    if (!is_reg_name(out.host)) return std::nullopt;
  }
  if (rest.empty()) return out;
  if (rest.front() != ':') return std::nullopt;
  out.port = rest.substr(1);  // may be empty: `host:` (RFC 3986 §3.2.3)
  if (out.port.empty()) return out;
  unsigned number = 0;
  const auto [end, ec] = std::from_chars(out.port.data(), out.port.data() + out.port.size(), number);
  if (ec != std::errc{} || end != out.port.data() + out.port.size() || number > 65535) {
    return std::nullopt;
  }
  return out;
}

unsigned port_number(std::string_view digits, unsigned when_empty) {
  unsigned number = when_empty;
  if (!digits.empty()) std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return number;
}

struct request_line {
  std::string_view target;
  std::optional<host_port> authority;  ///< of an absolute form
  unsigned default_port = 80;
  bool http11 = true;
};

/// `http://authority…` or `https://authority…` into `line`; false: no absolute form that we serve.
bool parse_absolute_form(std::string_view target, request_line& line) {
  const auto colon = target.find("://");
  if (colon == std::string_view::npos) return false;
  const auto scheme = target.substr(0, colon);
  if (iequals(scheme, "https")) {
    line.default_port = 443;
  } else if (!iequals(scheme, "http")) {
    return false;
  }
  const auto rest = target.substr(colon + 3);
  line.authority = parse_host(rest.substr(0, rest.find_first_of("/?")));
  return line.authority.has_value();
}

head_check check_request_line(std::string_view text, request_line& line) {
  const auto first = text.find(' ');
  if (first == std::string_view::npos) return refuse("malformed request line");
  const auto method = text.substr(0, first);
  if (!is_token(method)) return refuse("malformed method");
  const auto last = text.rfind(' ');
  if (last == first) return refuse("malformed request line");
  line.target = text.substr(first + 1, last - first - 1);
  const auto version = text.substr(last + 1);

  if (version == "HTTP/1.0") {
    line.http11 = false;
  } else if (version != "HTTP/1.1") {
    if (version.size() == 8 && version.starts_with("HTTP/") && is_digit(version[5]) &&
        version[6] == '.' && is_digit(version[7])) {
      return refuse("HTTP version not supported", head_verdict::version_not_supported);
    }
    return refuse("malformed HTTP version");
  }

  if (line.target.empty()) return refuse("malformed request line");
  if (!std::ranges::all_of(line.target, is_target_char)) {
    return refuse("forbidden byte in the request target");
  }
  if (method == "CONNECT") return refuse("CONNECT is not served");
  if (line.target.front() == '/') return {};
  if (line.target == "*") {
    return method == "OPTIONS" ? head_check{} : refuse("`*` is a target for OPTIONS only");
  }
  if (!parse_absolute_form(line.target, line)) return refuse("malformed request target");
  return {};
}

/// CR and LF only as pairs, no NUL. A CR at the very end passes: its LF may be on the way.
head_check check_line_endings(std::string_view bytes, std::size_t from) {
  for (std::size_t i = from; i < bytes.size(); ++i) {
    const char c = bytes[i];
    if (byte_of(c) > '\r') continue;  // nearly all
    if (c == '\0') return refuse("NUL in the head");
    if (c == '\r' && i + 1 < bytes.size() && bytes[i + 1] != '\n') return refuse("bare CR");
    if (c == '\n' && (i == 0 || bytes[i - 1] != '\r')) return refuse("bare LF");
  }
  return {};
}

struct seen_fields {
  std::size_t count = 0;
  std::optional<std::string_view> host;
  std::optional<std::string_view> length;
  std::optional<std::string_view> coding;
};

head_check check_field(std::string_view line, seen_fields& seen) {
  if (line.front() == ' ' || line.front() == '\t') {
    return refuse(seen.count == 0 ? "white space before the first header field"
                                  : "obsolete line folding");
  }
  if (++seen.count > head_max_fields) {
    return refuse("too many header fields", head_verdict::too_large);
  }
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return refuse("a header line without a colon");
  const auto name = line.substr(0, colon);
  if (name.empty()) return refuse("a header line without a name");
  if (name.back() == ' ' || name.back() == '\t') return refuse("white space before the colon");
  if (!is_token(name)) return refuse("a header name that is no token");
  const auto value = trim_ows(line.substr(colon + 1));
  if (!std::ranges::all_of(value, is_value_char)) return refuse("control byte in a header value");

  if (iequals(name, "host")) {
    if (seen.host) return refuse("two Host fields");
    seen.host = value;
  } else if (iequals(name, "content-length")) {
    if (seen.length) return refuse("two Content-Length fields");
    seen.length = value;
  } else if (iequals(name, "transfer-encoding")) {
    if (seen.coding) return refuse("two Transfer-Encoding fields");
    seen.coding = value;
  }
  return {};
}

/// Host, and whether the target agrees with it.
head_check check_host(const request_line& line, const seen_fields& seen) {
  if (!seen.host) return line.http11 ? refuse("no Host field") : head_check{};
  const auto host = parse_host(*seen.host);
  if (!host) return refuse("malformed Host");
  if (line.authority && (!iequals(line.authority->host, host->host) ||
                         port_number(line.authority->port, line.default_port) !=
                             port_number(host->port, line.default_port))) {
    return refuse("the request target and Host differ");
  }
  return {};
}

/// How the body is delimited, into `out`.
head_check check_framing(const seen_fields& seen, head_check out) {
  if (seen.coding) {
    if (!out.http11) return refuse("a transfer coding with HTTP/1.0");
    if (seen.length) return refuse("Content-Length with Transfer-Encoding");
    if (!iequals(*seen.coding, "chunked")) return refuse("a transfer coding other than chunked");
    out.chunked = true;
  }
  if (seen.length) {
    const auto digits = *seen.length;
    if (digits.empty() || !std::ranges::all_of(digits, is_digit)) {
      return refuse("malformed Content-Length");
    }
    std::uint64_t length = 0;
    const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    if (ec != std::errc{} || end != digits.data() + digits.size()) {
      return refuse("Content-Length is beyond any bound", head_verdict::too_large);
    }
    out.content_length = length;
  }
  return out;
}

}  // namespace

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return token_chars[byte_of(c)]; });
}

bool is_valid_host(std::string_view text) { return parse_host(text).has_value(); }

std::string_view trim_ows(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

head_check check_request_head(std::string_view head) {
  if (auto c = check_line_endings(head, 0); c.verdict != head_verdict::ok) return c;
  if (!head.ends_with("\r\n\r\n")) return refuse("a head without its empty line");
  head.remove_suffix(2);  // now every line, and only a line, ends with CR LF

  request_line line;
  seen_fields seen;
  auto end = head.find("\r\n");
  if (auto c = check_request_line(head.substr(0, end), line); c.verdict != head_verdict::ok) {
    return c;
  }
  for (head.remove_prefix(end + 2); !head.empty(); head.remove_prefix(end + 2)) {
    end = head.find("\r\n");
    if (end == 0) return refuse("bytes after the empty line");
    if (auto c = check_field(head.substr(0, end), seen); c.verdict != head_verdict::ok) return c;
  }
  if (auto c = check_host(line, seen); c.verdict != head_verdict::ok) return c;
  return check_framing(seen, {.http11 = line.http11});
}

head_check check_partial_head(std::string_view bytes, std::size_t checked) {
  const auto from = std::min(checked, bytes.size());
  // From the last byte seen before: a CR at the end was let through.
  if (auto c = check_line_endings(bytes, from == 0 ? 0 : from - 1); c.verdict != head_verdict::ok) {
    return c;
  }
  const auto end = bytes.find("\r\n");
  if (end != std::string_view::npos) {
    if (end + 2 <= from) return {};  // looked at before
    request_line line;
    return check_request_line(bytes.substr(0, end), line);
  }
  const auto space = bytes.find(' ');
  if (!bytes.empty() && !is_token(bytes.substr(0, space))) return refuse("malformed method");
  if (space == std::string_view::npos) return {};
  auto rest = bytes.substr(space + 1);
  if (rest.ends_with('\r')) rest.remove_suffix(1);
  // Target and version in one: what neither may contain.
  if (!std::ranges::all_of(rest, [](char c) { return c == ' ' || is_target_char(c); })) {
    return refuse("forbidden byte in the request target");
  }
  return {};
}

}  // namespace parley::net
