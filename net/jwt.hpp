#pragma once
/// End users' tokens (SPEC 3 «JWT»): HS256 and nothing else, checked against one tenant's secrets. Pure: the clock is
/// passed in. Why not a JWT library: docs/adr/0009.
/// Invariants whatever is wrong with a token, callers answer the same AUTHENTICATION_ERROR; jwt_fault is for whoever holds
///            the token and its secret (`parley token check`), and for tests.
/// Bound      jwt_max_bytes; nothing is parsed beyond it.

#include "actors/messages.hpp"
#include "protocol/ids.hpp"
#include "protocol/result.hpp"
#include "protocol/seams.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace parley::net {

inline constexpr std::size_t jwt_max_bytes = 8 * 1024;
/// How far two machines' clocks may differ; also how long after `exp` a connection lives on (4401).
inline constexpr std::chrono::seconds jwt_leeway{30};

/// The rule that a token breaks.
enum class jwt_fault : std::uint8_t {
  too_long,
  not_three_parts,
  not_base64url,
  not_json,  ///< a part is no JSON object, or has invalid UTF-8, a key twice, half a surrogate pair …
  algorithm,      ///< another than HS256, `none`, or not said
  critical,       ///< `crit`: an extension that must be understood
  malformed_kid,  ///< not a string, or empty
  malformed_tid,
  no_tenant,          ///< neither `kid` nor `tid`
  malformed_subject,  ///< `sub`: absent, not a string, or not in a user id's form
  malformed_expiry,   ///< `exp`: absent, or not a number of seconds
  malformed_not_before,
  malformed_issued_at,
  malformed_audience,  ///< neither a string nor an array of strings
  other_tenant,        ///< `kid` or `tid` names another than this tenant
  tenant_disabled,
  unknown_key,  ///< `kid` names none of the tenant's keys, or it has none
  signature,
  expired,
  not_yet_valid,     ///< `nbf`
  issued_in_future,  ///< `iat`
  audience,          ///< the tenant's `jwt_audience` is not in `aud`
};
/// For people.
[[nodiscard]] std::string_view to_text(jwt_fault fault);

struct jwt_identity {
  user_id user;
  utc_time expires_at;  ///< `exp`, without the leeway
  std::optional<utc_time> issued_at{};
  key_id key;  ///< whose secret signed it
};

/// Of whom it says to be, unproven: by what to look the tenant up. `tid` if it is there, else `kid` as a key's or the
/// tenant's id. Whatever needs no secret is checked here already: a token that can't be good asks nobody.
[[nodiscard]] std::variant<actors::tenant_name, jwt_fault> examine_jwt_names(std::string_view token);
[[nodiscard]] result<actors::tenant_name> names_of(std::string_view token);

/// Is it good, now, for this tenant? `tenant`: whom the look-up found; that `kid` and `tid` both mean it is judged here.
[[nodiscard]] std::variant<jwt_identity, jwt_fault> examine_jwt(std::string_view token,
                                                                const actors::tenant_snapshot& tenant,
                                                                utc_time now);
[[nodiscard]] result<jwt_identity> verify_jwt(std::string_view token,
                                              const actors::tenant_snapshot& tenant, utc_time now);

/// A new token, for `parley token mint` and tests.
struct jwt_claims {
  std::optional<std::string> kid{};
  std::optional<tenant_id> tid{};
  user_id user;
  utc_time issued_at;
  utc_time expires_at;
  std::optional<std::string> audience{};
};
[[nodiscard]] std::string make_jwt(const jwt_claims& claims, std::string_view secret);
/// `header` and `claims` as they are, signed: for tests of what must be refused.
[[nodiscard]] std::string sign_jwt(std::string_view header, std::string_view claims,
                                   std::string_view secret);

}  // namespace parley::net
