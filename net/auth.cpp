#include "net/auth.hpp"

#include "net/cors.hpp"
#include "net/tickets.hpp"
#include "protocol/base64url.hpp"

#include <algorithm>
#include <utility>

namespace parley::net {
namespace {

constexpr std::string_view api_key_prefix = "sk_";
constexpr std::string_view subprotocol = "parley.v1";
constexpr std::string_view bearer_subprotocol = "bearer.";  // then the base64url of a JWT

bool equal_ignoring_case(std::string_view a, std::string_view lower) {
  return std::ranges::equal(a, lower, [](char x, char y) {
    return (x >= 'A' && x <= 'Z' ? static_cast<char>(x - 'A' + 'a') : x) == y;
  });
}

/// Calls `take` with each subprotocol that is offered, in one header or several.
template <class F>
void for_each_subprotocol(const http_request& request, F&& take) {
  for (const auto& [name, value] : request.headers) {
    if (name != "sec-websocket-protocol") continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      auto one = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(one.size() + 1, rest.size()));
      while (one.starts_with(' ') || one.starts_with('\t')) one.remove_prefix(1);
      while (one.ends_with(' ') || one.ends_with('\t')) one.remove_suffix(1);
      take(one);
    }
  }
}

/// The token of `Authorization: Bearer <token>` (RFC 6750; the scheme in any case); empty: no such header.
result<std::string_view> bearer_of(const http_request& request) {
  constexpr std::string_view scheme = "bearer ";
  auto value = request.header("authorization");
  if (value.empty()) return std::string_view{};
  if (!equal_ignoring_case(value.substr(0, scheme.size()), scheme)) return authentication_failed();
  value.remove_prefix(scheme.size());
  while (value.starts_with(' ')) value.remove_prefix(1);
  if (value.empty()) return authentication_failed();
  return value;
}

/// What the query and the subprotocols hold; empty: nothing.
result<std::vector<credential>> upgrade_credentials(const http_request& request,
                                                    const credential_rules& rules) {
  std::vector<credential> found;
  for (const auto& [name, value] : request.query) {
    if (name != "token") continue;
    // Keys in URLs end in logs and histories (SPEC 3); a ticket there is used up before anybody reads them.
    if (!rules.upgrade) return authentication_failed();
    auto one = credential_of_token(value);
    if (!one) return one.error();
    if (std::holds_alternative<jwt_credential>(*one) && !rules.jwt_in_query)
      return authentication_failed();
    found.push_back(std::move(*one));
  }
  if (!rules.upgrade) return found;
  bool malformed = false;
  for_each_subprotocol(request, [&](std::string_view one) {
    if (!one.starts_with(bearer_subprotocol)) return;
    auto token = decode_base64url(one.substr(bearer_subprotocol.size()));
    malformed = malformed || !token || token->empty();
    if (token) found.emplace_back(jwt_credential{std::move(*token)});
  });
  if (malformed) return authentication_failed();
  return found;
}

/// Whom the request names beside its credential.
result<std::optional<user_id>> named_user(const http_request& request) {
  std::optional<user_id> user;
  if (request.header_count("x-user-id") != 0) user = user_id{request.header("x-user-id")};
  for (const auto& [name, value] : request.query) {
    if (name != "user_id") continue;
    if (user && user->view() != value) return authentication_failed();
    user = user_id{value};
  }
  if (user && !is_valid_user_id(user->view())) return invalid("user_id", "not a user id");
  return user;
}

}  // namespace

error authentication_failed() {
  return {error_code::authentication, "the credential is missing or not valid"};
}

result<credential> credential_of(const http_request& request, credential_rules rules) {
  if (request.query_value("api_key") || request.query_value("access_token"))
    return authentication_failed();
  for (const auto* name : {"x-api-key", "authorization", "x-master-key", "x-user-id"}) {
    if (request.header_count(name) > 1) return authentication_failed();
  }
  const auto bearer = bearer_of(request);
  if (!bearer) return bearer.error();
  auto found = upgrade_credentials(request, rules);
  if (!found) return found.error();
  if (const auto key = request.header("x-api-key"); !key.empty())
    found->emplace_back(api_key_credential{sha256(key)});
  if (const auto key = request.header("x-master-key"); !key.empty())
    found->emplace_back(operator_credential{std::string{key}});
  if (bearer->starts_with(api_key_prefix)) {
    found->emplace_back(api_key_credential{sha256(*bearer)});
  } else if (!bearer->empty()) {
    found->emplace_back(jwt_credential{std::string{*bearer}});
  }
  if (found->size() > 1) return authentication_failed();
  if (found->empty()) return credential{no_credential{}};

  auto& one = found->front();
  if (std::holds_alternative<operator_credential>(one)) return std::move(one);
  auto user = named_user(request);
  if (!user) return user.error();
  std::visit(
      [&](auto& c) {
        if constexpr (requires { c.user; }) c.user = std::move(*user);
      },
      one);
  return std::move(one);
}

result<credential> credential_of_token(std::string_view token) {
  if (token.empty() || token.starts_with(api_key_prefix)) return authentication_failed();
  if (token.starts_with(ticket_prefix)) return credential{ticket_credential{std::string{token}}};
  return credential{jwt_credential{std::string{token}}};
}

bool names_user(const std::optional<user_id>& named, const user_id& user) {
  return !named || *named == user;
}

bool has_key(const actors::tenant_snapshot& tenant, const key_id& key) {
  const auto is_it = [&](const auto& one) { return one.id == key; };
  return std::ranges::any_of(tenant.api_keys, is_it) || std::ranges::any_of(tenant.jwt_keys, is_it);
}

std::string_view chosen_subprotocol(const http_request& request) {
  std::string_view chosen;
  for_each_subprotocol(request, [&](std::string_view one) {
    if (one == subprotocol) chosen = subprotocol;
  });
  return chosen;
}

}  // namespace parley::net
