// rest_users.cpp: a user's credentials and connections (SPEC 3, 4).

#include "net/jwt.hpp"
#include "net/routes.hpp"
#include "net/tickets.hpp"
#include "protocol/hash.hpp"

#include <nlohmann/json.hpp>

#include <utility>

namespace parley::net {

gateway_loop::response rest_ws_token(gateway_loop& g, gateway_loop::request_context& r) {
  // Rights and expiry of the credential that asks go on in it. A backend's key has no time of its own: what is revoked
  // later is revoked for its tickets too.
  const auto issued_at = r.who.is_token ? r.who.issued_at : g.shared().now.now();
  const auto ticket = g.shared().tickets.issue(
      {r.who.tenant->no, *r.who.user, r.who.key, r.who.expires_at, issued_at},
      g.shared().now.mono(), g.shared().random);
  std::string body = R"({"token":")" + ticket;
  body += R"(","expires_in":)";
  body += std::to_string(
      std::chrono::duration_cast<std::chrono::seconds>(g.shared().tickets.ttl()).count());
  co_return json_response(200, body + "}");
}

gateway_loop::response rest_disconnect_user(gateway_loop& g, gateway_loop::request_context& r) {
  auto before = g.bodies().disconnect(r.http.body);
  if (!before) co_return fail(r, before.error());
  const user_id user{r.parameters[0]};
  if (!is_valid_user_id(user.view())) co_return fail(r, invalid("user_id", "not a user id"));
  if (*before && **before > g.shared().now.now() + jwt_leeway)
    co_return fail(r, invalid("revoke_before", "must not be in the future: nobody could come in"));
  if (*before) {
    // Stored first: what is closed must not come back with the same credential.
    store::tenant_change change{r.who.tenant->id, store::tenant_change::revoke_user{user, **before},
                                g.shared().now.now()};
    auto asked = g.change_tenant(std::move(change), r.who.tenant->no);
    auto revoked = co_await std::move(asked);
    if (!revoked) co_return fail(r, revoked.error());
  }
  auto closing = g.disconnect({r.who.tenant->no, user}, *before);
  auto closed = co_await std::move(closing);
  if (!closed) co_return fail(r, closed.error());
  co_return json_response(200, R"({"closed":)" + std::to_string(*closed) + "}");
}

gateway_loop::response rest_job(gateway_loop& g, gateway_loop::request_context& r) {
  auto asked = g.read(tenant_no{}, actors::job_query{r.parameters[0]});
  auto answer = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&answer)) co_return fail(r, *failed);
  const auto& row = std::get<std::optional<store::job_row>>(answer);
  if (!row) co_return fail(r, not_found("job"));
  nlohmann::ordered_json body{{"job_id", row->id}, {"kind", row->kind},   {"state", "running"},
                              {"done", row->done}, {"total", row->total}, {"error", nullptr}};
  if (row->state == store::job_state::done) body["state"] = "done";
  if (row->state == store::job_state::failed) body["state"] = "failed";
  if (!row->error.empty()) body["error"] = row->error;
  co_return json_response(200, body.dump());
}

namespace {

/// The tenant whose id is in the path; the operator names it, so unknown is just not found.
boost::asio::awaitable<result<actors::tenant_snapshot_ptr>> tenant_in_path(
    gateway_loop& g, gateway_loop::request_context& r) {
  auto asking = g.tenant_named(tenant_id{r.parameters[0]});
  auto tenant = co_await std::move(asking);
  if (!tenant && tenant.error().code == error_code::authentication) co_return not_found("tenant");
  co_return tenant;
}

}  // namespace

gateway_loop::response rest_export_user(gateway_loop& g, gateway_loop::request_context& r) {
  auto looking = tenant_in_path(g, r);
  const auto tenant = co_await std::move(looking);
  if (!tenant) co_return fail(r, tenant.error());
  std::string cursor{r.http.query_value("cursor").value_or("")};
  http_response out = json_response(200, {});
  out.content_type = "application/x-ndjson";
  do {
    auto asked = g.read((*tenant)->no,
                        actors::user_export_query{(*tenant)->no, user_id{r.parameters[1]}, cursor});
    auto answer = co_await std::move(asked);
    if (const auto* failed = std::get_if<error>(&answer)) co_return fail(r, *failed);
    const auto& lines = std::get<std::optional<actors::export_lines>>(answer);
    if (!lines) co_return fail(r, not_found("user"));
    out.body += lines->lines;
    cursor = lines->next_cursor;
  } while (!cursor.empty() && out.body.size() < limits::export_max_bytes);
  // The last line says whether this is the end: a file that was cut off has none.
  nlohmann::ordered_json end{{"type", "end"}, {"next_cursor", nullptr}};
  if (!cursor.empty()) end["next_cursor"] = cursor;
  out.body += end.dump() + "\n";
  co_return out;
}

gateway_loop::response rest_erase_user(gateway_loop& g, gateway_loop::request_context& r) {
  const user_id user{r.parameters[1]};
  if (!is_valid_user_id(user.view())) co_return fail(r, not_found("user"));
  const auto job = "job_" + make_hex(8, g.shared().random);
  store::tenant_change change{tenant_id{r.parameters[0]},
                              store::tenant_change::erase_user{job, user}, g.shared().now.now()};
  // Behind what the tenant has queued: a room that it makes for this user just now ends too.
  auto looking = tenant_in_path(g, r);
  const auto tenant = co_await std::move(looking);
  if (!tenant) co_return fail(r, tenant.error());
  auto asked = g.change_tenant(std::move(change), (*tenant)->no);
  auto changed = co_await std::move(asked);
  if (!changed) co_return fail(r, changed.error());
  auto closing = g.disconnect({changed->no, user}, std::nullopt);
  static_cast<void>(co_await std::move(closing));
  co_return json_response(202, nlohmann::ordered_json{{"job_id", job}}.dump());
}

}  // namespace parley::net
