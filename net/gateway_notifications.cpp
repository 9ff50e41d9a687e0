// gateway_notifications.cpp: a gateway's part in what SPEC 6 promises.

#include "net/gateway_loop.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>
#include <variant>

namespace parley::net {

namespace asio = boost::asio;

namespace {

constexpr auto webhook_call_timeout = std::chrono::seconds{15};  // above an endpoint's own 10 s

error no_answer_in_time() {
  return unavailable("no answer within the deadline", std::chrono::milliseconds{1000});
}

}  // namespace

asio::awaitable<result<store::created_notification>> gateway_loop::create_notification(
    store::new_notification notification) {
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
  const auto no = calls_.begin();
  call.to = {no_, no};
  const bool asked = bus_.to_outbox(std::make_shared<const actors::webhook_call>(std::move(call)));
  if (!asked) {
    calls_.complete(no, std::make_shared<const actors::webhook_called>(
                            actors::webhook_called{no, not_found("webhook")}));
  }
  // An endpoint may take its whole time limit to answer, and its report says so.
  const std::chrono::milliseconds timeout =
      std::max<std::chrono::milliseconds>(options_.limits.request_timeout, webhook_call_timeout);
  auto answer = co_await calls_.wait(no, timeout);
  const auto* made = std::get_if<actors::webhook_called_ptr>(&answer);
  if (made == nullptr) co_return no_answer_in_time();
  if (const auto* failed = std::get_if<error>(&(*made)->outcome)) co_return *failed;
  co_return std::get<actors::webhook_report>((*made)->outcome);
}

void gateway_loop::on(const actors::notification_created_ptr& m) { calls_.complete(m->call, m); }
void gateway_loop::on(const actors::webhook_called_ptr& m) { calls_.complete(m->call, m); }
void gateway_loop::on(const actors::notification_shown_ptr&) {}

}  // namespace parley::net
