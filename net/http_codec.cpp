#include "net/http_codec.hpp"

#include "net/http_target.hpp"
#include "protocol/server_frame.hpp"
#include "protocol/ws_codec.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/status.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

namespace parley::net {
namespace {

namespace http = boost::beast::http;
using boost::beast::string_view;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool iequals(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}
std::string_view to_std(string_view v) { return {v.data(), v.size()}; }

/// Beast's parser, writing into the request instead of its own fields.
class head_parser final : public http::basic_parser<true> {
 public:
  explicit head_parser(http_request& into) : out_(into) {}
  [[nodiscard]] const std::string& target() const { return target_; }

 private:
  using error_code = boost::beast::error_code;
  void on_request_impl(http::verb, string_view method, string_view target, int, error_code&) override {
    out_.method = to_std(method);
    target_ = to_std(target);
  }
  void on_field_impl(http::field, string_view name, string_view value, error_code&) override {
    auto& field = out_.headers.emplace_back(to_std(name), to_std(value));
    std::ranges::transform(field.first, field.first.begin(), lower);
  }
  void on_response_impl(int, string_view, int, error_code&) override {}
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
  std::size_t on_body_impl(string_view body, error_code&) override { return body.size(); }
  void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, string_view body, error_code&) override {
    return body.size();
  }
  void on_finish_impl(error_code&) override {}

  http_request& out_;
  std::string target_;
};

/// A comma-separated list over all fields of that name has the token (RFC 9110 §5.6.1).
bool lists_token(const http_request& request, std::string_view name, std::string_view token) {
  for (const auto& [field, value] : request.headers) {
    if (field != name) continue;
    for (std::string_view rest = value;;) {
      const auto comma = rest.find(',');
      if (iequals(trim_ows(rest.substr(0, comma)), token)) return true;
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return false;
}

/// RFC 9112 §9.3. Beast also heeds Proxy-Connection, and for HTTP/1.0 prefers keep-alive to close.
bool wants_keep_alive(const http_request& request, bool http11) {
  if (lists_token(request, "connection", "close")) return false;
  return http11 || lists_token(request, "connection", "keep-alive");
}

/// What is wrong with a WebSocket handshake (RFC 6455 §4.2.1); empty: nothing.
std::string_view find_upgrade_problem(const http_request& request, const head_check& checked) {
  if (request.method != "GET") return "a WebSocket handshake is a GET";
  if (!checked.http11) return "a WebSocket handshake needs HTTP/1.1";
  if (!lists_token(request, "connection", "upgrade")) return "Connection does not name Upgrade";
  if (checked.chunked || checked.content_length.value_or(0) > 0) {
    return "a WebSocket handshake has no body";
  }
  if (request.header_count("sec-websocket-version") != 1 ||
      request.header("sec-websocket-version") != "13") {
    return "Sec-WebSocket-Version must be 13";
  }
  if (request.header_count("sec-websocket-key") != 1 ||
      !is_valid_ws_key(request.header("sec-websocket-key"))) {
    return "Sec-WebSocket-Key must be the base64 of 16 bytes";
  }
  return {};
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ");
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    out.push_back((byte < 0x20 && c != '\t') || byte == 0x7f ? ' ' : c);
  }
  out.append("\r\n");
}

bool is_server_field(std::string_view name) {
  constexpr std::array<std::string_view, 6> ours{
      "connection", "content-length", "transfer-encoding", "date", "x-request-id", "content-type"};
  return std::ranges::any_of(ours, [name](std::string_view n) { return iequals(n, name); });
}

/// The handler's own headers. True: one of them is Upgrade, which Connection has to name.
bool append_fields(std::string& out, const http_response& response) {
  bool has_upgrade = false;
  for (const auto& [name, value] : response.headers) {
    if (!is_token(name) || is_server_field(name)) continue;
    append_field(out, name, value);
    has_upgrade = has_upgrade || iequals(name, "upgrade");
  }
  return has_upgrade;
}

}  // namespace

std::string_view http_request::header(std::string_view name) const {
  const auto found =
      std::ranges::find(headers, name, [](const auto& h) { return std::string_view{h.first}; });
  return found == headers.end() ? std::string_view{} : std::string_view{found->second};
}

std::size_t http_request::header_count(std::string_view name) const {
  return static_cast<std::size_t>(
      std::ranges::count(headers, name, [](const auto& h) { return std::string_view{h.first}; }));
}

std::optional<std::string_view> http_request::query_value(std::string_view name) const {
  const auto found =
      std::ranges::find(query, name, [](const auto& q) { return std::string_view{q.first}; });
  if (found == query.end()) return std::nullopt;
  return found->second;
}

std::string_view parse_head(std::string_view head, const head_check& checked, http_request& out) {
  head_parser parser{out};
  parser.header_limit(static_cast<std::uint32_t>(head.size()) + 1);  // the caller has bounded it
  parser.body_limit(boost::none);
  boost::beast::error_code ec;
  const auto used = parser.put(boost::asio::buffer(head.data(), head.size()), ec);
  if (ec || used != head.size() || !parser.is_header_done()) return "malformed head";
  const auto length = parser.content_length();
  if (parser.chunked() != checked.chunked ||
      length.has_value() != checked.content_length.has_value() ||
      (length && *length != *checked.content_length)) {
    return "ambiguous body length";
  }
  out.keep_alive = wants_keep_alive(out, checked.http11);

  auto parts = split_target(parser.target());
  if (!parts.problem.empty()) return parts.problem;
  out.path = std::move(parts.path);
  out.query_raw = std::move(parts.query_raw);
  out.segments = std::move(parts.segments);
  out.query = std::move(parts.query);

  if (lists_token(out, "upgrade", "websocket")) {
    const auto problem = find_upgrade_problem(out, checked);
    out.upgrade_websocket = problem.empty();
    if (!problem.empty()) out.upgrade_problem = problem;
  }
  return {};
}

bool is_valid_request_id(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-';
  });
}

bool expects_continue(const http_request& request) {
  return lists_token(request, "expect", "100-continue");
}

std::string make_response_head(const http_response& response, const response_context& context) {
  std::string out;
  out.reserve(256);
  out.append("HTTP/1.1 ").append(std::to_string(response.status)).push_back(' ');
  out.append(to_std(http::obsolete_reason(static_cast<http::status>(response.status))))
      .append("\r\n");
  append_field(out, "Date", context.date);
  const bool has_no_content = response.status == 204 || response.status == 304;
  if (!has_no_content) {
    if (!response.body.empty() && !response.content_type.empty()) {
      append_field(out, "Content-Type", response.content_type);
    }
    append_field(out, "Content-Length", std::to_string(response.body.size()));
  }
  append_field(out, "X-Request-Id", context.request_id);
  const bool has_upgrade = append_fields(out, response);
  if (has_upgrade) {
    append_field(out, "Connection", context.close ? "Upgrade, close" : "Upgrade");
  } else if (context.close) {
    append_field(out, "Connection", "close");
  } else if (!context.http11) {
    append_field(out, "Connection", "keep-alive");
  }
  out.append("\r\n");
  return out;
}

std::string make_switch_head(const http_response& response, std::string_view key,
                             const response_context& context) {
  std::string out =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
  append_field(out, "Sec-WebSocket-Accept", ws_accept_key(key));
  append_field(out, "Date", context.date);
  append_field(out, "X-Request-Id", context.request_id);
  for (const auto& [name, value] : response.headers) {
    if (is_token(name) && !is_server_field(name) && !iequals(name, "upgrade") &&
        !iequals(name, "sec-websocket-accept")) {
      append_field(out, name, value);
    }
  }
  out.append("\r\n");
  return out;
}

std::string http_date(utc_time t) {
  // Not strftime: names of days and months must not depend on the locale.
  static constexpr std::array<const char*, 7> days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array<const char*, 12> months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t seconds = std::chrono::floor<std::chrono::seconds>(t).time_since_epoch().count();
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 64> text{};
  const int n = std::snprintf(text.data(), text.size(), "%s, %02d %s %04d %02d:%02d:%02d GMT",
                              days.at(static_cast<std::size_t>(parts.tm_wday)), parts.tm_mday,
                              months.at(static_cast<std::size_t>(parts.tm_mon)),
                              parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
  return {text.data(), static_cast<std::size_t>(n)};
}

http_response error_response(const error& e, std::string_view request_id) {
  http_response out;
  out.status = info(e.code).http_status;
  out.failure = e.code;
  out.is_refused_send = e.stored != stored_state::not_a_send;
  out.limit = e.limit;
  append_error_body(out.body, e, request_id);
  if (e.retry_after || e.code == error_code::rate_limit || e.code == error_code::unavailable) {
    const auto seconds =
        std::chrono::ceil<std::chrono::seconds>(e.retry_after.value_or(std::chrono::seconds{1}));
    out.headers.emplace_back("Retry-After",
                             std::to_string(std::max<std::int64_t>(1, seconds.count())));
  }
  if (e.code == error_code::authentication) out.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (e.code == error_code::upgrade_required) {
    out.headers.emplace_back("Upgrade", "websocket");
    out.headers.emplace_back("Sec-WebSocket-Version", "13");
  }
  return out;
}

}  // namespace parley::net
