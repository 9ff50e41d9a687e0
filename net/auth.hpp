#pragma once
/// Who is calling (SPEC 3): which credential a request carries, before anybody is asked whether it is good. Pure.
/// JWT and tickets have their place here; until they exist they are refused like any unknown credential.

#include "net/http_server.hpp"
#include "protocol/hash.hpp"
#include "protocol/ids.hpp"
#include "protocol/result.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

namespace parley::net {

struct no_credential {};
struct operator_credential {
  std::string master_key;
};
struct api_key_credential {
  sha256_digest digest{};
  std::optional<user_id> user;
};
using credential = std::variant<no_credential, operator_credential, api_key_credential>;

/// AUTHENTICATION_ERROR: more than one kind of credential, user ids that differ, a key in the query string, a form that
/// nobody issues. VALIDATION_ERROR `user_id`: an id outside SPEC 1's form.
[[nodiscard]] result<credential> credential_of(const http_request& request);

/// One sentence for every failed authentication: nothing tells which part was wrong.
[[nodiscard]] error authentication_failed();

/// SPEC 3 «Origin»: absent, the node's own host, or listed (`*`: all).
[[nodiscard]] bool origin_allowed(const http_request& request,
                                  const std::vector<std::string>& allowed);

}  // namespace parley::net
