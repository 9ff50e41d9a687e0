#include "actors/new_tenant.hpp"

#include "protocol/base64.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace parley::actors {
namespace {

constexpr std::size_t key_bytes = 32;      // 256 random bits
constexpr std::size_t webhook_bytes = 24;  // the least that Standard Webhooks allows, and no padding
constexpr std::size_t id_bytes = 8;        // 16 hex digits

nlohmann::ordered_json object_or_empty(const std::string& text) {
  auto value = nlohmann::ordered_json::parse(text, nullptr, false);
  return value.is_object() ? value : nlohmann::ordered_json::object();
}

}  // namespace

fresh_tenant make_tenant(std::string_view name, std::string config, const secret_key& key,
                         utc_time now, random_source& random) {
  fresh_tenant fresh;
  fresh.row.id = tenant_id{"tenant_" + make_hex(id_bytes, random)};
  fresh.row.name = name;
  fresh.row.config = std::move(config);
  fresh.row.created_at = now;

  for (const auto& [kind, secret] : {std::pair{"api_key", &fresh.secrets.api_key},
                                     std::pair{"jwt_secret", &fresh.secrets.jwt_secret},
                                     std::pair{"webhook_secret", &fresh.secrets.webhook_secret}}) {
    auto made = make_credential(kind, fresh.row.id, key, random);
    *secret = std::move(made.secret);
    fresh.row.credentials.push_back(std::move(made.row));
  }
  return fresh;
}

fresh_credential make_credential(std::string_view kind, const tenant_id& tenant,
                                 const secret_key& key, random_source& random) {
  fresh_credential fresh;
  fresh.row.id = key_id{"key_" + make_hex(id_bytes, random)};
  fresh.row.kind = kind;
  if (kind == "api_key") {
    fresh.secret = make_token("sk_", key_bytes, random);
    fresh.row.digest = sha256(fresh.secret);
    return fresh;
  }
  if (kind == "jwt_secret") {
    fresh.secret = make_token("jwts_", key_bytes, random);
  } else {
    std::array<std::uint8_t, webhook_bytes> webhook{};
    random.fill(webhook);
    fresh.secret = "whsec_" + base64({reinterpret_cast<const char*>(webhook.data()), webhook.size()});
  }
  fresh.row.sealed = seal(key, fresh.secret, seal_context(tenant, fresh.row.id), random);
  return fresh;
}

std::string seal_context(const tenant_id& tenant, const key_id& key) {
  return tenant.value + "/" + key.value;
}

nlohmann::ordered_json shown_once(const fresh_tenant& fresh) {
  auto keys = nlohmann::ordered_json::array();
  const auto created_at = to_rfc3339(fresh.row.created_at);
  for (const auto& c : fresh.row.credentials) {
    keys.push_back({{"key_id", c.id.value},
                    {"kind", c.kind},
                    {"created_at", created_at},
                    {"last_used_at", nullptr}});
  }
  return {{"tenant_id", fresh.row.id.value},
          {"name", fresh.row.name},
          {"disabled", false},
          {"config", object_or_empty(fresh.row.config)},
          {"keys", std::move(keys)},
          {"created_at", created_at},
          {"api_key", fresh.secrets.api_key},
          {"jwt_secret", fresh.secrets.jwt_secret},
          {"webhook_secret", fresh.secrets.webhook_secret}};
}

nlohmann::ordered_json shown(const store::tenant_row& row) {
  auto keys = nlohmann::ordered_json::array();
  for (const auto& c : row.credentials) {
    nlohmann::ordered_json key{
        {"key_id", c.id.value}, {"kind", c.kind}, {"created_at", to_rfc3339(c.created_at)}};
    key["last_used_at"] = nullptr;
    if (c.last_used_at) key["last_used_at"] = to_rfc3339(*c.last_used_at);
    keys.push_back(std::move(key));
  }
  return {{"tenant_id", row.id.value}, {"name", row.name},
          {"disabled", row.disabled},  {"config", object_or_empty(row.config)},
          {"keys", std::move(keys)},   {"created_at", to_rfc3339(row.created_at)}};
}

}  // namespace parley::actors
