#pragma once
/// Who is calling (SPEC 3): which credential a request carries, before anybody is asked whether it is good. Pure.

#include "actors/messages.hpp"
#include "net/http_server.hpp"
#include "protocol/hash.hpp"
#include "protocol/ids.hpp"
#include "protocol/result.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace parley::net {

struct no_credential {};
struct operator_credential {
  std::string master_key;
};
struct api_key_credential {
  sha256_digest digest{};
  std::optional<user_id> user{};
};
struct jwt_credential {
  std::string token;
  std::optional<user_id> user{};  ///< whom the request names beside it: another than the token's is refused
};
struct ticket_credential {
  std::string token;
  std::optional<user_id> user{};  ///< likewise
};
using credential = std::variant<no_credential, operator_credential, api_key_credential,
                                jwt_credential, ticket_credential>;

/// Where the request goes, and what its query may hold there.
struct credential_rules {
  bool upgrade = false;       ///< `GET /ws`: `?token=wst_…` and subprotocols count
  bool jwt_in_query = false;  ///< config `ws_jwt_in_query`: on an upgrade, `?token=<JWT>` too
};
/// AUTHENTICATION_ERROR: more than one kind of credential, user ids that differ, a key in the query string, a form that
/// nobody issues. VALIDATION_ERROR `user_id`: an id outside SPEC 1's form.
[[nodiscard]] result<credential> credential_of(const http_request& request,
                                               credential_rules rules = {});
/// `auth` and `auth.refresh {token}`: a JWT or a ticket; anything else (an API key): AUTHENTICATION_ERROR.
[[nodiscard]] result<credential> credential_of_token(std::string_view token);
/// Does the request name nobody, or this user? Asked when JWT or ticket have told whose they are.
[[nodiscard]] bool names_user(const std::optional<user_id>& named, const user_id& user);

/// Does the tenant still have this API key or JWT secret? Else what was let in by it has to go (SPEC 3).
[[nodiscard]] bool has_key(const actors::tenant_snapshot& tenant, const key_id& key);

/// The subprotocol to answer with: `parley.v1` if it is offered, else none. Never the one that holds a token.
[[nodiscard]] std::string_view chosen_subprotocol(const http_request& request);

/// One sentence for every failed authentication: nothing tells which part was wrong.
[[nodiscard]] error authentication_failed();

}  // namespace parley::net
