#pragma once
/// SPEC section 4 as a table: method, path, who may call, handler. `/v1/…` and the same path without prefix.

#include "net/gateway_loop.hpp"

#include <cstdint>
#include <span>
#include <string_view>

namespace parley::net {

enum class who_may : std::uint8_t {
  anyone,         ///< no credential needed, none looked at
  operator_only,  ///< X-Master-Key
  tenant,         ///< the backend, or a user of the tenant
  user,           ///< a user: the bare backend gets 400, field `user_id`
  backend,        ///< the backend itself, without a user
  api_key,        ///< the backend, for a user or not; with a user's own token 403
};

using route_handler = gateway_loop::response (*)(gateway_loop&, gateway_loop::request_context&);
struct route {
  std::string_view method;
  std::string_view path;  ///< `{name}` is a parameter: one segment
  who_may who;
  route_handler handler;
  bool for_scrapers = false;  ///< on the public listener it exists for `metrics_allow` alone
  bool is_counted = true;     ///< against the tenant's `rate_limit`
};
[[nodiscard]] std::span<const route> routes();

struct route_match {
  const route* found = nullptr;
  const route* any = nullptr;  ///< the first row of the path, whatever its method
  bool path_known = false;
  std::string allow;  ///< of the path's methods, for 405
  std::vector<std::string> parameters;
  bool dialect = false;
};
/// HEAD is looked up as GET.
[[nodiscard]] route_match find_route(std::string_view method,
                                     const std::vector<std::string>& segments);

// rest_*.cpp. In them a question is asked in one statement and awaited in the next: g++ 12 destroys braced temporaries
// of a co_await's own full expression twice (GCC bug 99576 and its kin).
gateway_loop::response rest_create_room(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_list_rooms(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_get_room(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_delete_room(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_update_room(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_list_members(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_add_members(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_update_member(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_remove_member(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_join(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_leave(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_send(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_messages(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_edit_message(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_delete_message(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_events(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_ack(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_read(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_presence(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_notify(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_subscriptions(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_subscribe_topic(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_unsubscribe_topic(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_create_tenant(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_list_tenants(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_batch(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_ws_token(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_disconnect_user(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_update_tenant(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_delete_tenant(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_create_key(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_delete_key(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_job(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_export_user(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_erase_user(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_list_webhooks(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_get_webhook(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_test_webhook(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_replay_webhook(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_dead_letters(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_retry_dead_letter(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_delete_dead_letter(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_get_tenant(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_livez(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_readyz(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_health(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_openapi(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_asyncapi(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_metrics(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_stats(gateway_loop& g, gateway_loop::request_context& r);
gateway_loop::response rest_ws(gateway_loop& g, gateway_loop::request_context& r);

// What the handlers share (rest_common.cpp).
[[nodiscard]] http_response json_response(int status, std::string body);
[[nodiscard]] http_response fail(const gateway_loop::request_context& r, const error& e);
struct list_arguments {
  std::size_t limit = 0;
  std::string cursor;
  std::size_t offset = 0;
};
/// `limit`, `cursor` and, in the dialect, `offset` (SPEC 4 «Lists», CHATAPI row 8).
[[nodiscard]] result<list_arguments> list_of(const gateway_loop::request_context& r, std::size_t max);
[[nodiscard]] result<store::page_position> position_of(const gateway_loop::request_context& r);
/// `Idempotency-Key`: 1–128 bytes; empty: none.
[[nodiscard]] result<std::string> idempotency_key(const gateway_loop::request_context& r);
/// That, or `client_msg_id` of the body; empty: none. Both present and different: refused (SPEC 2.4).
[[nodiscard]] result<std::string> retry_key(const gateway_loop::request_context& r,
                                            const std::string& client_msg_id);
[[nodiscard]] room_id parse_room(std::string_view text);
[[nodiscard]] message_id parse_message(std::string_view text);
[[nodiscard]] user_key user_of(const gateway_loop::request_context& r);
/// Of a tenant that the operator names; NOT_FOUND: there is none.
[[nodiscard]] boost::asio::awaitable<result<tenant_no>> tenant_number(gateway_loop& g, tenant_id id);

}  // namespace parley::net
