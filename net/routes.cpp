#include "net/routes.hpp"

#include <array>

namespace parley::net {

namespace {

constexpr std::array table{
    route{"POST", "/rooms", who_may::tenant, rest_create_room},
    route{"GET", "/rooms", who_may::tenant, rest_list_rooms},
    route{"GET", "/rooms/{room}", who_may::tenant, rest_get_room},
    route{"PATCH", "/rooms/{room}", who_may::tenant, rest_update_room},
    route{"DELETE", "/rooms/{room}", who_may::tenant, rest_delete_room},
    route{"GET", "/rooms/{room}/members", who_may::tenant, rest_list_members},
    route{"POST", "/rooms/{room}/members", who_may::tenant, rest_add_members},
    route{"PATCH", "/rooms/{room}/members/{user}", who_may::tenant, rest_update_member},
    route{"DELETE", "/rooms/{room}/members/{user}", who_may::tenant, rest_remove_member},
    route{"POST", "/rooms/{room}/join", who_may::user, rest_join},
    route{"POST", "/rooms/{room}/leave", who_may::user, rest_leave},
    route{"POST", "/rooms/{room}/messages", who_may::tenant, rest_send},
    route{"GET", "/rooms/{room}/messages", who_may::tenant, rest_messages},
    route{"PATCH", "/rooms/{room}/messages/{message}", who_may::tenant, rest_edit_message},
    route{"DELETE", "/rooms/{room}/messages/{message}", who_may::tenant, rest_delete_message},
    route{"GET", "/rooms/{room}/events", who_may::tenant, rest_events},
    route{"POST", "/messages/batch", who_may::tenant, rest_batch},
    route{"POST", "/acks", who_may::user, rest_ack},
    route{"POST", "/reads", who_may::user, rest_read},
    route{"GET", "/presence", who_may::tenant, rest_presence},
    route{"POST", "/notify", who_may::api_key, rest_notify},
    route{"GET", "/subscriptions", who_may::user, rest_subscriptions},
    route{"PUT", "/subscriptions/{topic}", who_may::user, rest_subscribe_topic},
    route{"DELETE", "/subscriptions/{topic}", who_may::user, rest_unsubscribe_topic},
    route{"GET", "/ws", who_may::anyone, rest_ws},
    route{"POST", "/ws/token", who_may::user, rest_ws_token, false, false},
    route{"POST", "/users/{user}/disconnect", who_may::backend, rest_disconnect_user},
    route{"GET", "/livez", who_may::anyone, rest_livez},
    route{"GET", "/readyz", who_may::anyone, rest_readyz},
    route{"GET", "/health", who_may::anyone, rest_health},
    route{"GET", "/openapi.yaml", who_may::anyone, rest_openapi},
    route{"GET", "/asyncapi.yaml", who_may::anyone, rest_asyncapi},
    route{"GET", "/metrics", who_may::anyone, rest_metrics, true},
    route{"GET", "/admin/stats", who_may::operator_only, rest_stats},
    route{"POST", "/admin/tenants", who_may::operator_only, rest_create_tenant},
    route{"GET", "/admin/tenants", who_may::operator_only, rest_list_tenants},
    route{"GET", "/admin/tenants/{tenant}", who_may::operator_only, rest_get_tenant},
    route{"PATCH", "/admin/tenants/{tenant}", who_may::operator_only, rest_update_tenant},
    route{"DELETE", "/admin/tenants/{tenant}", who_may::operator_only, rest_delete_tenant},
    route{"POST", "/admin/tenants/{tenant}/keys", who_may::operator_only, rest_create_key},
    route{"DELETE", "/admin/tenants/{tenant}/keys/{key}", who_may::operator_only, rest_delete_key},
    route{"GET", "/admin/tenants/{tenant}/users/{user}/export", who_may::operator_only,
          rest_export_user},
    route{"DELETE", "/admin/tenants/{tenant}/users/{user}", who_may::operator_only, rest_erase_user},
    route{"GET", "/admin/jobs/{job}", who_may::operator_only, rest_job},
    route{"GET", "/admin/webhooks", who_may::operator_only, rest_list_webhooks},
    route{"GET", "/admin/tenants/{tenant}/webhook", who_may::operator_only, rest_get_webhook},
    route{"POST", "/admin/tenants/{tenant}/webhook/test", who_may::operator_only, rest_test_webhook},
    route{"POST", "/admin/tenants/{tenant}/webhook/replay", who_may::operator_only,
          rest_replay_webhook},
    route{"GET", "/admin/dead-letters", who_may::operator_only, rest_dead_letters},
    route{"POST", "/admin/dead-letters/{id}/retry", who_may::operator_only, rest_retry_dead_letter},
    route{"DELETE", "/admin/dead-letters/{id}", who_may::operator_only, rest_delete_dead_letter},
};

/// True when `segments` (from `at` on) fit the pattern; parameters in order.
bool matches(std::string_view pattern, const std::vector<std::string>& segments, std::size_t at,
             std::vector<std::string>& parameters) {
  parameters.clear();
  std::size_t start = 1;
  while (true) {
    const auto end = pattern.find('/', start);
    const auto part = pattern.substr(start, end == std::string_view::npos ? end : end - start);
    if (at >= segments.size()) return false;
    if (part.starts_with('{')) {
      if (segments[at].empty()) return false;
      parameters.push_back(segments[at]);
    } else if (part != segments[at]) {
      return false;
    }
    ++at;
    if (end == std::string_view::npos) return at == segments.size();
    start = end + 1;
  }
}

}  // namespace

std::span<const route> routes() { return table; }

route_match find_route(std::string_view method, const std::vector<std::string>& segments) {
  route_match match;
  const std::size_t at = !segments.empty() && segments.front() == "v1" ? 1 : 0;
  match.dialect = at == 0;
  const auto wanted = method == "HEAD" ? std::string_view{"GET"} : method;
  std::vector<std::string> parameters;
  for (const auto& r : table) {
    if (!matches(r.path, segments, at, parameters)) continue;
    match.path_known = true;
    if (match.any == nullptr) match.any = &r;
    match.allow += match.allow.empty() ? "" : ", ";
    match.allow += r.method;
    if (r.method == "GET") match.allow += ", HEAD";
    if (r.method == wanted && match.found == nullptr) {
      match.found = &r;
      match.parameters = parameters;
    }
  }
  if (match.path_known) match.allow += ", OPTIONS";
  return match;
}

}  // namespace parley::net
