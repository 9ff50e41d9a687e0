#pragma once
/// Tokens as a backend's own library would make them: written from RFC 7515, not from the node's code.

#include <nlohmann/json.hpp>

#include <chrono>
#include <string>
#include <string_view>

namespace parley::tests {

/// Header and claims as they are, signed with HS256.
[[nodiscard]] std::string sign_hs256(const nlohmann::json& header, const nlohmann::json& claims,
                                     std::string_view secret);
/// What most backends make: `{alg, typ}` and `{tid, sub, iat, exp}`, and `more` over it.
[[nodiscard]] std::string user_token(std::string_view tenant_id, std::string_view secret,
                                     std::string_view user,
                                     std::chrono::seconds ttl = std::chrono::hours{1},
                                     const nlohmann::json& more = nlohmann::json::object());
[[nodiscard]] std::string base64url(std::string_view bytes);

}  // namespace parley::tests
