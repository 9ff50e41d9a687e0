#include <utility>

#include <nlohmann/json.hpp>

#include "net/routes.hpp"
#include "protocol/hash.hpp"

namespace parley::net {

namespace {

nlohmann::json tenant_json(const store::tenant_row& t) {
  nlohmann::json keys = nlohmann::json::array();
  for (const auto& c : t.credentials) {
    keys.push_back({{"key_id", c.id.value},
                    {"kind", c.kind},
                    {"created_at", to_rfc3339(c.created_at)},
                    {"last_used_at", c.last_used_at ? nlohmann::json(to_rfc3339(*c.last_used_at)) : nlohmann::json(nullptr)}});
  }
  return {{"tenant_id", t.id.value},
          {"name", t.name},
          {"disabled", t.disabled},
          {"config", nlohmann::json::parse(t.config, nullptr, false)},
          {"keys", std::move(keys)},
          {"created_at", to_rfc3339(t.created_at)}};
}

}  // namespace

gateway_loop::response rest_create_tenant(gateway_loop& g, gateway_loop::request_context& r) {
  const auto body = g.bodies().create_tenant(r.http.body);
  if (!body) co_return fail(r, body.error());
  auto& random = g.shared().random;
  const auto now = g.shared().now.now();
  store::new_tenant tenant{tenant_id{"tenant_" + make_hex(8, random)}, body->name, body->config, now, {}};
  const auto api_key = make_token("sk_", 32, random);
  const auto jwt_secret = make_token("jwts_", 32, random);
  const auto webhook_secret = make_token("whsec_", 32, random);
  const auto add = [&](std::string kind, std::optional<sha256_digest> digest, const std::string& secret) {
    store::new_credential c{key_id{"key_" + make_hex(8, random)}, std::move(kind), digest, {}};
    if (!digest) c.sealed = seal(g.options().sealing_key, secret, tenant.id.value + "/" + c.id.value, random);
    tenant.credentials.push_back(std::move(c));
  };
  add("api_key", sha256(api_key), {});
  add("jwt_secret", std::nullopt, jwt_secret);
  add("webhook_secret", std::nullopt, webhook_secret);
  auto asked = g.create_tenant(tenant);
  auto created = co_await std::move(asked);
  if (!created) co_return fail(r, created.error());
  store::tenant_row row{*created, tenant.id, tenant.name, tenant.config, false, now, {}};
  for (const auto& c : tenant.credentials) row.credentials.push_back({c.id, c.kind, now, std::nullopt, {}});
  auto shown = tenant_json(row);
  shown["api_key"] = api_key;
  shown["jwt_secret"] = jwt_secret;
  shown["webhook_secret"] = webhook_secret;
  co_return json_response(201, shown.dump());
}

gateway_loop::response rest_list_tenants(gateway_loop& g, gateway_loop::request_context& r) {
  const auto arguments = list_of(r, limits::list_max);
  if (!arguments) co_return fail(r, arguments.error());
  auto asked = g.read(tenant_no{}, actors::tenants_query{arguments->limit, arguments->cursor});
  auto answer = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&answer)) co_return fail(r, *failed);
  const auto& list = std::get<store::tenant_list>(answer);
  nlohmann::json tenants = nlohmann::json::array();
  for (const auto& t : list.tenants) tenants.push_back(tenant_json(t));
  const nlohmann::json body{{"tenants", std::move(tenants)},
                            {"next_cursor", list.next_cursor.empty() ? nlohmann::json(nullptr) : nlohmann::json(list.next_cursor)}};
  co_return json_response(200, body.dump());
}

gateway_loop::response rest_get_tenant(gateway_loop& g, gateway_loop::request_context& r) {
  auto asked = g.read(tenant_no{}, actors::tenant_query{tenant_id{r.parameters[0]}});
  auto answer = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&answer)) co_return fail(r, *failed);
  const auto& row = std::get<std::optional<store::tenant_row>>(answer);
  if (!row) co_return fail(r, not_found("tenant"));
  co_return json_response(200, tenant_json(*row).dump());
}

}  // namespace parley::net
