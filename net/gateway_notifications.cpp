// gateway_notifications.cpp: a gateway's part in what SPEC 6 promises.

#include "actors/tenant_table.hpp"
#include "net/gateway_loop.hpp"
#include "protocol/server_frame.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>
#include <variant>

namespace parley::net {

namespace asio = boost::asio;

namespace {

constexpr auto webhook_call_timeout =
    std::chrono::seconds{15};  // above outbox_options::call_deadline, which is looked at once a second
constexpr std::size_t credit_per_user = 64;

actors::connection_ref ref_of(connection_no c) { return actors::connection_ref{c.value}; }
connection_no number_of(actors::connection_ref c) { return connection_no{c.value}; }

error no_answer_in_time() {
  return unavailable("no answer within the deadline", std::chrono::milliseconds{1000});
}
error going_down() {
  return unavailable("the node is going down", std::chrono::milliseconds{1000});
}

}  // namespace

asio::awaitable<result<store::created_notification>> gateway_loop::create_notification(
    store::new_notification notification) {
  const auto tenant = shared_.tenants.find(notification.tenant);
  const auto bytes = notification.payload.value.size() + notification.topic.size() +
                     credit_per_user * notification.users.size() + 512;
  error why;
  const auto credit = take_credit(*tenant, bytes, why);
  if (!credit) co_return why;
  const auto call = calls_.begin();
  bus_.to_storage(std::make_shared<const actors::create_notification>(
      actors::create_notification{{no_, call}, std::move(notification)}));
  auto answer = co_await calls_.wait(call, options_.limits.request_timeout);
  const auto* made = std::get_if<actors::notification_created_ptr>(&answer);
  if (made == nullptr) co_return no_answer_in_time();
  if (const auto* failed = std::get_if<error>(&(*made)->outcome)) co_return *failed;
  co_return std::get<store::created_notification>((*made)->outcome);
}

asio::awaitable<result<actors::webhook_report>> gateway_loop::call_webhook(actors::webhook_call call) {
  if (shared_.closing) co_return going_down();
  const auto no = calls_.begin();
  call.to = {no_, no};
  webhook_calls_.push_back(no);
  const bool asked = bus_.to_outbox(std::make_shared<const actors::webhook_call>(std::move(call)));
  if (!asked) {
    calls_.complete(no, std::make_shared<const actors::webhook_called>(
                            actors::webhook_called{no, not_found("webhook")}));
  }
  // An endpoint may take all the time that a test has, and its report says so.
  const std::chrono::milliseconds timeout =
      std::max<std::chrono::milliseconds>(options_.limits.request_timeout, webhook_call_timeout);
  auto answer = co_await calls_.wait(no, timeout);
  std::erase(webhook_calls_, no);
  const auto* made = std::get_if<actors::webhook_called_ptr>(&answer);
  if (made == nullptr) co_return no_answer_in_time();
  if (const auto* failed = std::get_if<error>(&(*made)->outcome)) co_return *failed;
  co_return std::get<actors::webhook_report>((*made)->outcome);
}

void gateway_loop::end_webhook_calls() {
  for (const auto no : webhook_calls_) {
    calls_.complete(
        no, std::make_shared<const actors::webhook_called>(actors::webhook_called{no, going_down()}));
  }
}

void gateway_loop::on(const actors::notification_created_ptr& m) { calls_.complete(m->call, m); }
void gateway_loop::on(const actors::webhook_called_ptr& m) { calls_.complete(m->call, m); }
void gateway_loop::on(const actors::notification_shown_ptr& m) { notifications_.on(m); }

// ---- connections ------------------------------------------------------------------------------------------------

void gateway_loop::start_notifications(connection_no c, ws_connection& conn, bool some_wait) {
  conn.notified = true;
  notifications_.start({ref_of(c), conn.explicit_acks}, {conn.tenant->no, conn.user}, some_wait);
}

void gateway_loop::synced(connection_ref c, bool notifications) {
  const auto it = connections_.find(number_of(c));
  if (it == connections_.end()) return;
  auto& conn = it->second;
  // What was shown since its `hello` may have been committed after its list was read.
  const bool shown = notifications_.shows(conn.tenant->no) != conn.shows;
  start_notifications(it->first, conn, notifications || shown);
}

void gateway_loop::on_notification_ack(connection_no c, ws_connection& conn, const reply_refs& refs,
                                       const notification_ack_frame& m) {
  const auto id = uuid::parse(m.notification_id);
  if (!id) {
    reply_error(c, refs, invalid("notification_id", "not the id of a notification"));
    return;
  }
  const user_key user{conn.tenant->no, conn.user};
  // Whether it is one of this user's, storage knows; what is not changes nothing.
  notifications_.acknowledge(user, *id, refs.request_id.empty());
  if (refs.request_id.empty()) return;
  const auto call = begin_ws_call(c, conn, refs, ws_call_kind::session);
  bus_.to_storage(std::make_shared<const actors::ack_notifications>(
      actors::ack_notifications{actors::reply_to{no_, call}, user, {*id}}));
}

// ---- notification_ports -----------------------------------------------------------------------------------------

void gateway_loop::ping(connection_ref c) {
  static const frame_ptr frame = make_ping_frame({});
  hub_.send(number_of(c), frame);
}

bool gateway_loop::is_written(connection_ref c) const {
  return hub_.outbound_bytes(number_of(c)) == 0;
}

void gateway_loop::add_devices(const user_key& user, std::vector<notified_device>& out) const {
  for (const auto c : subscriptions_.connections_of(user)) {
    const auto it = connections_.find(number_of(c));
    if (it != connections_.end() && it->second.notified)
      out.push_back({c, it->second.explicit_acks});
  }
}

void gateway_loop::add_users(tenant_no tenant, std::vector<user_key>& out) const {
  for (const auto& [c, conn] : connections_) {
    if (conn.notified && conn.tenant->no == tenant) out.push_back({tenant, conn.user});
  }
}

bool gateway_loop::ask(call_no call, actors::notifications_query q) {
  q.now = shared_.now.now();
  const auto tenant = q.user.tenant;
  return bus_.read(call, tenant, std::move(q));
}

bool gateway_loop::ask(call_no call, actors::members_query q) {
  const auto tenant = q.room.tenant;
  return bus_.read(call, tenant, std::move(q));
}

void gateway_loop::acknowledged(const user_key& user, std::vector<uuid> notifications) {
  bus_.to_storage(std::make_shared<const actors::ack_notifications>(
      actors::ack_notifications{std::nullopt, user, std::move(notifications)}));
}

void gateway_loop::sent(tenant_no tenant, std::vector<std::pair<uuid, std::uint32_t>> frames) {
  bus_.to_storage(std::make_shared<const actors::notifications_written>(
      actors::notifications_written{tenant, std::move(frames), shared_.now.now()}));
}

}  // namespace parley::net
