#include "actors/new_tenant.hpp"
#include "net/routes.hpp"
#include "net/webhook_target.hpp"

#include <nlohmann/json.hpp>

#include <utility>

namespace parley::net {

namespace {

/// A `webhook_url` to which this node would send nothing is refused when it is set, not event by event.
std::optional<error> wrong_webhook(const gateway_loop& g, const std::string& config) {
  const auto values = nlohmann::json::parse(config, nullptr, false);
  const auto url = values.find("webhook_url");
  if (url == values.end()) return std::nullopt;
  const auto target =
      parse_webhook_url(url->get_ref<const std::string&>(), g.options().webhook_allow_private);
  if (target) return std::nullopt;
  constexpr std::string_view field = "config.webhook_url";
  return invalid(field, std::string{field} + " " + std::string{text_of(target.error())});
}

}  // namespace

gateway_loop::response rest_create_tenant(gateway_loop& g, gateway_loop::request_context& r) {
  const auto body = g.bodies().create_tenant(r.http.body);
  if (!body) co_return fail(r, body.error());
  if (const auto wrong = wrong_webhook(g, body->config)) co_return fail(r, *wrong);
  const auto fresh = actors::make_tenant(body->name, body->config, g.options().sealing_key,
                                         g.shared().now.now(), g.shared().random);
  auto asked = g.create_tenant(fresh.row);
  auto created = co_await std::move(asked);
  if (!created) co_return fail(r, created.error());
  // Its origins count from now on, before anybody has used its key.
  auto loading = g.tenant_named(fresh.row.id);
  static_cast<void>(co_await std::move(loading));
  co_return json_response(201, actors::shown_once(fresh).dump());
}

gateway_loop::response rest_list_tenants(gateway_loop& g, gateway_loop::request_context& r) {
  const auto arguments = list_of(r, limits::list_max);
  if (!arguments) co_return fail(r, arguments.error());
  auto asked = g.read(tenant_no{}, actors::tenants_query{arguments->limit, arguments->cursor});
  auto answer = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&answer)) co_return fail(r, *failed);
  const auto& list = std::get<store::tenant_list>(answer);
  auto tenants = nlohmann::ordered_json::array();
  for (const auto& t : list.tenants) tenants.push_back(actors::shown(t));
  nlohmann::ordered_json body{{"tenants", std::move(tenants)}};
  body["next_cursor"] = nullptr;
  if (!list.next_cursor.empty()) body["next_cursor"] = list.next_cursor;
  co_return json_response(200, body.dump());
}

gateway_loop::response rest_get_tenant(gateway_loop& g, gateway_loop::request_context& r) {
  auto asked = g.read(tenant_no{}, actors::tenant_query{tenant_id{r.parameters[0]}});
  auto answer = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&answer)) co_return fail(r, *failed);
  const auto& row = std::get<std::optional<store::tenant_row>>(answer);
  if (!row) co_return fail(r, not_found("tenant"));
  co_return json_response(200, actors::shown(*row).dump());
}

gateway_loop::response rest_update_tenant(gateway_loop& g, gateway_loop::request_context& r) {
  auto body = g.bodies().update_tenant(r.http.body);
  if (!body) co_return fail(r, body.error());
  if (body->config) {
    if (const auto wrong = wrong_webhook(g, *body->config)) co_return fail(r, *wrong);
  }
  store::tenant_change change{
      tenant_id{r.parameters[0]},
      store::tenant_change::update{std::move(body->name), std::move(body->config), body->disabled},
      g.shared().now.now()};
  auto asked = g.change_tenant(std::move(change));
  auto changed = co_await std::move(asked);
  if (!changed) co_return fail(r, changed.error());
  co_return json_response(200, actors::shown(*changed).dump());
}

gateway_loop::response rest_delete_tenant(gateway_loop& g, gateway_loop::request_context& r) {
  const auto job = "job_" + make_hex(8, g.shared().random);
  store::tenant_change change{tenant_id{r.parameters[0]}, store::tenant_change::remove{job},
                              g.shared().now.now()};
  auto asked = g.change_tenant(std::move(change));
  auto changed = co_await std::move(asked);
  if (!changed) co_return fail(r, changed.error());
  co_return json_response(202, nlohmann::ordered_json{{"job_id", job}}.dump());
}

gateway_loop::response rest_create_key(gateway_loop& g, gateway_loop::request_context& r) {
  const auto kind = g.bodies().key_kind(r.http.body);
  if (!kind) co_return fail(r, kind.error());
  const tenant_id tenant{r.parameters[0]};
  auto fresh = actors::make_credential(*kind, tenant, g.options().sealing_key, g.shared().random);
  nlohmann::ordered_json shown{
      {"key_id", fresh.row.id.value}, {"kind", fresh.row.kind}, {"secret", fresh.secret}};
  store::tenant_change change{tenant, store::tenant_change::add_credential{std::move(fresh.row)},
                              g.shared().now.now()};
  auto asked = g.change_tenant(std::move(change));
  auto changed = co_await std::move(asked);
  if (!changed) co_return fail(r, changed.error());
  co_return json_response(201, shown.dump());
}

gateway_loop::response rest_delete_key(gateway_loop& g, gateway_loop::request_context& r) {
  store::tenant_change change{tenant_id{r.parameters[0]},
                              store::tenant_change::delete_credential{key_id{r.parameters[1]}},
                              g.shared().now.now()};
  auto asked = g.change_tenant(std::move(change));
  auto changed = co_await std::move(asked);
  if (!changed) co_return fail(r, changed.error());
  co_return json_response(204, {});
}

}  // namespace parley::net
