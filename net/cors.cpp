#include "net/cors.hpp"

#include <algorithm>
#include <mutex>

namespace parley::net {
namespace {

constexpr std::string_view any_origin = "*";
// What a page may send beside the headers that browsers let through anyway, and may read of an answer.
constexpr std::string_view request_headers =
    "Content-Type, Authorization, X-API-Key, X-User-Id, X-Request-Id, Idempotency-Key";
constexpr std::string_view response_headers =
    "X-Request-Id, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, "
    "Idempotent-Replayed";
// How long a browser may remember a preflight: a change of the lists counts after that.
constexpr std::string_view preflight_max_age_s = "600";

bool has_visible_bytes_only(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

/// `host[:port]` in lower case, without the scheme's own port.
std::string authority_of(std::string_view text, std::string_view scheme) {
  std::string out{text};
  for (auto& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  const std::string_view port = scheme == "https" ? ":443" : scheme == "http" ? ":80" : "";
  if (!port.empty() && out.ends_with(port)) out.resize(out.size() - port.size());
  return out;
}

}  // namespace

std::string_view origin_of(const http_request& request) {
  if (request.header_count("origin") != 1) return {};
  const auto origin = request.header("origin");
  return has_visible_bytes_only(origin) ? origin : std::string_view{};
}

bool is_own_origin(const http_request& request) {
  const auto origin = origin_of(request);
  const auto scheme_end = origin.find("://");
  if (scheme_end == std::string_view::npos) return false;
  const auto scheme = origin.substr(0, scheme_end);
  const auto host = request.header("host");
  return !host.empty() &&
         authority_of(origin.substr(scheme_end + 3), scheme) == authority_of(host, scheme);
}

bool lists_origin(const origin_list& list, std::string_view origin) {
  return std::ranges::any_of(
      list, [&](const std::string& one) { return one == any_origin || one == origin; });
}

void tenant_origins::set(tenant_no tenant, const std::optional<origin_list>& list) {
  const std::unique_lock lock(mutex_);
  auto& held = by_tenant_[tenant];
  for (const auto& origin : held) {
    if (const auto it = listed_.find(origin); --it->second == 0) listed_.erase(it);
  }
  held = list.value_or(origin_list{});
  for (const auto& origin : held) ++listed_[origin];
  if (held.empty()) by_tenant_.erase(tenant);
}

bool tenant_origins::contains(std::string_view origin) const {
  const std::shared_lock lock(mutex_);
  return listed_.contains(std::string{any_origin}) || listed_.contains(std::string{origin});
}

bool origin_may_ask(const http_request& request, const origin_list& node, const tenant_origins& any) {
  if (request.header_count("origin") == 0) return true;
  const auto origin = origin_of(request);
  return !origin.empty() &&
         (is_own_origin(request) || lists_origin(node, origin) || any.contains(origin));
}

bool origin_may_ask(const http_request& request, const origin_list& node,
                    const std::optional<origin_list>& own) {
  if (request.header_count("origin") == 0) return true;
  const auto origin = origin_of(request);
  return !origin.empty() && (is_own_origin(request) || lists_origin(own ? *own : node, origin));
}

header_list cors_headers(const http_request& request, bool allowed) {
  if (request.header_count("origin") == 0) return {};
  header_list out{{"Vary", "Origin"}};
  if (const auto origin = origin_of(request); allowed && !origin.empty()) {
    out.emplace_back("Access-Control-Allow-Origin", origin);
    out.emplace_back("Access-Control-Expose-Headers", response_headers);
  }
  return out;
}

bool is_preflight(const http_request& request) {
  return request.method == "OPTIONS" && request.header_count("origin") != 0 &&
         request.header_count("access-control-request-method") != 0;
}

header_list preflight_headers(const http_request& request, bool allowed, std::string_view methods) {
  header_list out{
      {"Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}};
  if (const auto origin = origin_of(request); allowed && !origin.empty()) {
    out.emplace_back("Access-Control-Allow-Origin", origin);
    out.emplace_back("Access-Control-Allow-Methods", methods);
    out.emplace_back("Access-Control-Allow-Headers", request_headers);
    out.emplace_back("Access-Control-Max-Age", preflight_max_age_s);
  }
  return out;
}

}  // namespace parley::net
