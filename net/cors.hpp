#pragma once
/// Which browser pages may call (SPEC 3 «Origin»), and the headers that tell the browser so. Credentials travel in headers
/// that a page sets, never in cookies: there is no Access-Control-Allow-Credentials.

#include "net/http_server.hpp"
#include "protocol/ids.hpp"

#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace parley::net {

using origin_list = std::vector<std::string>;
using header_list = std::vector<std::pair<std::string, std::string>>;

/// The request's Origin; empty: none, or more than one, or one with bytes that no browser sends. `null` is one.
[[nodiscard]] std::string_view origin_of(const http_request& request);
/// Does it name the node itself, as `Host` says it? Case and a default port make no difference.
[[nodiscard]] bool is_own_origin(const http_request& request);
/// `*`: all.
[[nodiscard]] bool lists_origin(const origin_list& list, std::string_view origin);

/// Which origins some tenant lists: what counts before it is known whose request it is.
/// Threads    any.
class tenant_origins {
 public:
  /// What the tenant lists now; nullopt or empty: nothing.
  void set(tenant_no tenant, const std::optional<origin_list>& list);
  [[nodiscard]] bool contains(std::string_view origin) const;

 private:
  mutable std::shared_mutex mutex_;
  std::unordered_map<tenant_no, origin_list> by_tenant_;
  std::unordered_map<std::string, std::size_t> listed_;  ///< by how many tenants
};

/// Before the tenant is known: no Origin (not a browser), the node's own, or in `node` or `any`.
[[nodiscard]] bool origin_may_ask(const http_request& request, const origin_list& node,
                                  const tenant_origins& any);
/// Once it is known: the tenant's own list, if it has one, replaces the node's.
[[nodiscard]] bool origin_may_ask(const http_request& request, const origin_list& node,
                                  const std::optional<origin_list>& own);

/// For any REST answer; nothing when the request has no Origin. `allowed`: by origin_may_ask.
[[nodiscard]] header_list cors_headers(const http_request& request, bool allowed);
/// Is it a browser that asks whether it may? (OPTIONS with `Access-Control-Request-Method`.)
[[nodiscard]] bool is_preflight(const http_request& request);
/// For the answer to a preflight, in the place of cors_headers. `methods`: of the path, as `Allow` has them.
[[nodiscard]] header_list preflight_headers(const http_request& request, bool allowed,
                                            std::string_view methods);

}  // namespace parley::net
