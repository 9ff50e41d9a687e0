// rest_notifications.cpp: notifications, and who subscribes to their topics (SPEC 4, 6).

#include "net/routes.hpp"
#include "protocol/json_canonical.hpp"
#include "protocol/server_frame.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace parley::net {

namespace {

/// What must be equal when the same key comes again: length-prefixed, so that no two bodies share a text.
hash128 body_of(const notify_body& b) {
  std::string text;
  const auto add = [&](std::string_view part) {
    text += std::to_string(part.size());
    text += ':';
    text += part;
  };
  add(b.topic);
  add(canonical_json(b.payload));
  for (const auto& user : b.users) add(user.view());
  text += b.topic_subscribers ? '+' : '-';
  if (b.room) b.room->id.append_to(text);
  text += '/' + std::to_string(b.ttl.count());
  return hash128_of(text);
}

}  // namespace

gateway_loop::response rest_notify(gateway_loop& g, gateway_loop::request_context& r) {
  auto body = g.bodies().notify(r.http.body);
  if (!body) co_return fail(r, body.error());
  const auto key = idempotency_key(r);
  if (!key) co_return fail(r, key.error());
  store::new_notification notification;
  if (!key->empty()) {
    notification.key = store::new_notification::call_key{hash128_of(*key), body_of(*body)};
  }
  uuid7_generator ids(g.shared().now, g.shared().random);
  notification.tenant = r.who.tenant->no;
  notification.id = ids.next();
  notification.topic = std::move(body->topic);
  notification.payload = std::move(body->payload);
  notification.users = std::move(body->users);
  notification.room = body->room;
  notification.topic_subscribers = body->topic_subscribers;
  notification.created_at = g.shared().now.now();
  notification.expires_at = notification.created_at + body->ttl;
  notification.max_targets = g.options().limits.max_notification_targets;
  auto asked = g.create_notification(std::move(notification));
  const auto made = co_await std::move(asked);
  if (!made) co_return fail(r, made.error());
  std::string out = R"({"notification_id":")";
  made->id.append_to(out);
  out += R"(","topic":)";
  append_json_string(out, made->topic);
  out += R"(,"created_at":")";
  append_rfc3339(out, made->created_at);
  out += R"(","targets":)" + std::to_string(made->targets) + "}";
  auto response = json_response(202, std::move(out));
  if (made->replayed) response.headers.emplace_back("Idempotent-Replayed", "true");
  co_return response;
}

gateway_loop::response rest_subscriptions(gateway_loop& g, gateway_loop::request_context& r) {
  auto asked = g.read(r.who.tenant->no, actors::topics_query{user_of(r)});
  const auto answer = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&answer)) co_return fail(r, *failed);
  std::string out = R"({"topics":[)";
  for (const auto& topic : std::get<actors::topic_list>(answer).topics) {
    if (out.back() != '[') out += ',';
    append_json_string(out, topic);
  }
  co_return json_response(200, out + "]}");
}

namespace {

/// The topic in the path, if the caller may subscribe to it (SPEC 3).
result<std::string> topic_in_path(const gateway_loop& g, const gateway_loop::request_context& r) {
  const auto& topic = r.parameters[0];
  if (auto wrong = wrong_topic(topic, g.options().limits)) return std::move(*wrong);
  const auto& own = r.who.tenant->config.user_topics;
  const bool allowed = std::any_of(
      own.begin(), own.end(), [&](const std::string& prefix) { return topic.starts_with(prefix); });
  if (r.who.is_token && !allowed)
    return error{error_code::authorization, "this topic is not one of a user's own"};
  return topic;
}

gateway_loop::response change_subscription(gateway_loop& g, gateway_loop::request_context& r,
                                           decltype(store::tenant_change::what) what) {
  store::tenant_change change{r.who.tenant->id, std::move(what), g.shared().now.now()};
  auto asked = g.change_tenant(std::move(change), r.who.tenant->no);
  const auto changed = co_await std::move(asked);
  if (!changed) co_return fail(r, changed.error());
  co_return json_response(204, {});
}

}  // namespace

gateway_loop::response rest_subscribe_topic(gateway_loop& g, gateway_loop::request_context& r) {
  auto topic = topic_in_path(g, r);
  if (!topic) co_return fail(r, topic.error());
  auto changing = change_subscription(
      g, r,
      store::tenant_change::subscribe_topic{*r.who.user, std::move(*topic),
                                            g.options().limits.max_topics_per_user});
  co_return co_await std::move(changing);
}

gateway_loop::response rest_unsubscribe_topic(gateway_loop& g, gateway_loop::request_context& r) {
  auto topic = topic_in_path(g, r);
  if (!topic) co_return fail(r, topic.error());
  auto changing = change_subscription(
      g, r, store::tenant_change::unsubscribe_topic{*r.who.user, std::move(*topic)});
  co_return co_await std::move(changing);
}

}  // namespace parley::net
