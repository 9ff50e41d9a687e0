#include "net/auth.hpp"

#include <algorithm>
#include <utility>

namespace parley::net {

error authentication_failed() {
  return {error_code::authentication, "the credential is missing or not valid"};
}

result<credential> credential_of(const http_request& request) {
  // Keys in URLs end in logs and histories (SPEC 3); tickets are not issued yet, so none is good.
  if (request.query_value("api_key") || request.query_value("token") ||
      request.query_value("access_token")) {
    return authentication_failed();
  }
  for (const auto* name : {"x-api-key", "authorization", "x-master-key", "x-user-id"}) {
    if (request.header_count(name) > 1) return authentication_failed();
  }
  const auto api_key = request.header("x-api-key");
  const auto master = request.header("x-master-key");
  std::string_view bearer;
  if (const auto authorization = request.header("authorization"); !authorization.empty()) {
    constexpr std::string_view scheme = "bearer ";
    const bool is_bearer =
        authorization.size() > scheme.size() &&
        std::equal(scheme.begin(), scheme.end(), authorization.begin(), [](char a, char b) {
          return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
        });
    if (!is_bearer) return authentication_failed();
    bearer = authorization.substr(scheme.size());
    if (!bearer.starts_with("sk_")) return authentication_failed();
  }
  const int kinds = (api_key.empty() ? 0 : 1) + (master.empty() ? 0 : 1) + (bearer.empty() ? 0 : 1);
  if (kinds > 1) return authentication_failed();
  if (kinds == 0) return credential{no_credential{}};
  if (!master.empty()) return credential{operator_credential{std::string{master}}};

  std::optional<user_id> user;
  const auto named = request.query_value("user_id");
  if (request.header_count("x-user-id") != 0) user = user_id{request.header("x-user-id")};
  if (named) {
    if (user && user->view() != *named) return authentication_failed();
    user = user_id{*named};
  }
  if (user && !is_valid_user_id(user->view())) return invalid("user_id", "not a user id");
  return credential{api_key_credential{sha256(api_key.empty() ? bearer : api_key), std::move(user)}};
}

bool origin_allowed(const http_request& request, const std::vector<std::string>& allowed) {
  if (request.header_count("origin") == 0) return true;
  if (request.header_count("origin") > 1) return false;
  const auto origin = request.header("origin");
  for (const auto& one : allowed) {
    if (one == "*" || one == origin) return true;
  }
  const auto scheme_end = origin.find("://");
  return scheme_end != std::string_view::npos &&
         origin.substr(scheme_end + 3) == request.header("host");
}

}  // namespace parley::net
