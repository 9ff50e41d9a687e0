// `/admin/webhooks` and `/admin/tenants/{id}/webhook` (SPEC 6, 7): the operator's view of the tenants' endpoints.

#include "net/routes.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace parley::net {

namespace {

using json = nlohmann::ordered_json;

json or_null(const std::string& text) { return text.empty() ? json(nullptr) : json(text); }
json or_null(const std::optional<utc_time>& t) { return t ? json(to_rfc3339(*t)) : json(nullptr); }

json events_of(event_mask events) {
  auto out = json::array();
  for (unsigned number = 1; event_mask{1} << number <= events; ++number) {
    const auto type = static_cast<event_type>(number);
    if ((events & mask_of(type)) != 0) out.push_back(to_text(type));
  }
  return out;
}

/// A URL with a user name is refused since there are webhooks; what is older may have one.
std::string without_user(std::string_view url) {
  const auto scheme = url.find("://");
  const auto start = scheme == std::string_view::npos ? 0 : scheme + 3;
  const auto authority = url.substr(start, url.find_first_of("/?#", start) - start);
  const auto at = authority.rfind('@');
  if (at == std::string_view::npos) return std::string{url};
  return std::string{url.substr(0, start)} + std::string{url.substr(start + at + 1)};
}

json shown(const store::endpoint_row& e) {
  return {{"tenant_id", e.id.view()},
          {"url", without_user(e.url)},
          {"events", events_of(e.events)},
          {"format", e.format == webhook_format::chatapi ? "chatapi" : "parley"},
          {"state", e.disabled ? "disabled" : "active"},
          {"why", or_null(e.why)},
          {"queued", e.queued},
          {"delivered", e.delivered},
          {"given_up", e.given_up},
          {"dropped", e.dropped},
          {"oldest_at", or_null(e.oldest_at)},
          {"last_success_at", or_null(e.last_success_at)},
          {"last_failure_at", or_null(e.last_failure_at)},
          {"last_error", or_null(e.last_error)},
          {"replaying", e.replay_to.value != 0}};
}

/// The endpoint of the tenant in the path.
boost::asio::awaitable<result<store::endpoint_row>> endpoint_in_path(gateway_loop& g,
                                                                     gateway_loop::request_context& r) {
  auto looking = tenant_number(g, tenant_id{r.parameters[0]});
  const auto tenant = co_await std::move(looking);
  if (!tenant) co_return tenant.error();
  actors::endpoints_query query;
  query.tenant = *tenant;
  auto asked = g.read(*tenant, std::move(query));
  auto answer = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&answer)) co_return *failed;
  auto& list = std::get<store::endpoint_list>(answer);
  if (list.endpoints.empty()) co_return not_found("webhook");
  co_return std::move(list.endpoints.front());
}

boost::asio::awaitable<result<log_id>> last_before(gateway_loop& g, tenant_no tenant, utc_time t) {
  auto asked = g.read(tenant, actors::last_before_query{t});
  auto answer = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&answer)) co_return *failed;
  co_return std::get<log_id>(answer);
}

}  // namespace

gateway_loop::response rest_list_webhooks(gateway_loop& g, gateway_loop::request_context& r) {
  const auto arguments = list_of(r, limits::list_max);
  if (!arguments) co_return fail(r, arguments.error());
  auto asked = g.read(tenant_no{},
                      actors::endpoints_query{std::nullopt, arguments->limit, arguments->cursor});
  auto answer = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&answer)) co_return fail(r, *failed);
  const auto& list = std::get<store::endpoint_list>(answer);
  auto endpoints = json::array();
  for (const auto& e : list.endpoints) endpoints.push_back(shown(e));
  json body{{"webhooks", std::move(endpoints)}};
  body["next_cursor"] = or_null(list.next_cursor);
  co_return json_response(200, body.dump());
}

gateway_loop::response rest_get_webhook(gateway_loop& g, gateway_loop::request_context& r) {
  auto looking = endpoint_in_path(g, r);
  const auto endpoint = co_await std::move(looking);
  if (!endpoint) co_return fail(r, endpoint.error());
  co_return json_response(200, shown(*endpoint).dump());
}

gateway_loop::response rest_test_webhook(gateway_loop& g, gateway_loop::request_context& r) {
  auto looking = endpoint_in_path(g, r);
  const auto endpoint = co_await std::move(looking);
  if (!endpoint) co_return fail(r, endpoint.error());
  actors::webhook_call call;
  call.tenant = endpoint->tenant;
  call.id = endpoint->id;
  auto asked = g.call_webhook(std::move(call));
  const auto report = co_await std::move(asked);
  if (!report) co_return fail(r, report.error());
  json body{{"url", without_user(report->url)},
            {"event_id", report->event_id},
            {"delivered", report->failure.empty()}};
  body["status"] = report->status == 0 ? json(nullptr) : json(report->status);
  body["error"] = or_null(report->failure);
  body["took_ms"] = report->took.count();
  co_return json_response(200, body.dump());
}

gateway_loop::response rest_replay_webhook(gateway_loop& g, gateway_loop::request_context& r) {
  const auto wanted = g.bodies().replay(r.http.body);
  if (!wanted) co_return fail(r, wanted.error());
  auto looking = endpoint_in_path(g, r);
  const auto endpoint = co_await std::move(looking);
  if (!endpoint) co_return fail(r, endpoint.error());
  store::tenant_change::replay_events what;
  what.dead_letters = wanted->dead_letters;
  if (wanted->since) {
    auto asked = last_before(g, endpoint->tenant, *wanted->since);
    const auto after = co_await std::move(asked);
    if (!after) co_return fail(r, after.error());
    what.after = *after;
  }
  if (wanted->until) {
    auto asked = last_before(g, endpoint->tenant, *wanted->until);
    const auto to = co_await std::move(asked);
    if (!to) co_return fail(r, to.error());
    what.to = *to;
    // To the store 0 is now: a time in which nothing was committed is not from the beginning to now.
    if (*to <= what.after) what.after = what.to = std::max(what.after, log_id{1});
  }
  store::tenant_change change{endpoint->id, what, g.shared().now.now()};
  auto ordering = g.change_tenant(std::move(change));
  const auto ordered = co_await std::move(ordering);
  if (!ordered) co_return fail(r, ordered.error());
  auto again = endpoint_in_path(g, r);
  const auto now = co_await std::move(again);
  if (!now) co_return fail(r, now.error());
  co_return json_response(202, shown(*now).dump());
}

}  // namespace parley::net
