#include "actors/new_tenant.hpp"
#include "net/routes.hpp"

#include <nlohmann/json.hpp>

#include <utility>

namespace parley::net {

gateway_loop::response rest_create_tenant(gateway_loop& g, gateway_loop::request_context& r) {
  const auto body = g.bodies().create_tenant(r.http.body);
  if (!body) co_return fail(r, body.error());
  const auto fresh = actors::make_tenant(body->name, body->config, g.options().sealing_key,
                                         g.shared().now.now(), g.shared().random);
  auto asked = g.create_tenant(fresh.row);
  auto created = co_await std::move(asked);
  if (!created) co_return fail(r, created.error());
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

}  // namespace parley::net
