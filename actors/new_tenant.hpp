#pragma once
/// A new tenant with its first secrets, ready to be stored: one of each kind, shown once and never again.

#include "protocol/hash.hpp"
#include "protocol/seams.hpp"
#include "store/store.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace parley::actors {

struct tenant_secrets {
  std::string api_key;         ///< `sk_…`; stored as its SHA-256
  std::string jwt_secret;      ///< its bytes as shown are the HMAC key; stored sealed
  std::string webhook_secret;  ///< `whsec_…`, Standard Webhooks: base64 of 24 bytes; stored sealed
};
struct fresh_tenant {
  store::new_tenant row;
  tenant_secrets secrets;
};
/// `config`: a JSON object, minified.
[[nodiscard]] fresh_tenant make_tenant(std::string_view name, std::string config,
                                       const secret_key& key, utc_time now, random_source& random);

/// One more credential of a kind (`api_key`, `jwt_secret`, `webhook_secret`); its secret is shown once.
struct fresh_credential {
  store::new_credential row;
  std::string secret;
};
[[nodiscard]] fresh_credential make_credential(std::string_view kind, const tenant_id& tenant,
                                               const secret_key& key, random_source& random);

/// What a sealed credential is bound to: moved to another tenant or key id, it does not open.
[[nodiscard]] std::string seal_context(const tenant_id& tenant, const key_id& key);

/// SPEC 4: the tenant as the admin API shows it after its creation, secrets included.
[[nodiscard]] nlohmann::ordered_json shown_once(const fresh_tenant& fresh);
/// The same of a stored one, without secrets.
[[nodiscard]] nlohmann::ordered_json shown(const store::tenant_row& row);

}  // namespace parley::actors
