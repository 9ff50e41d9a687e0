// `/admin/dead-letters` (SPEC 4, 6): what was given up, to be looked at, tried again or forgotten.

#include "net/routes.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace parley::net {

namespace {

using json = nlohmann::ordered_json;

/// An id as it is shown: a change needs to know whose it is, and the path names no tenant.
constexpr char between_tenant_and_id = '.';

json or_null(const std::string& text) { return text.empty() ? json(nullptr) : json(text); }

template <class Id>
json id_or_null(const std::optional<Id>& id) {
  return id ? json(id->id.to_string()) : json(nullptr);
}

/// ChatAPI's names and more (CHATAPI 7, 9 row 25), in the order of its documents.
json shown(const tenant_id& tenant, const store::dead_letter& d) {
  json out;
  out["id"] = std::string{tenant.view()} + between_tenant_and_id + d.id;
  if (d.kind == store::dead_kind::notification) {
    out["notification_id"] = d.notification_id;
    out["topic"] = d.topic;
  } else {
    if (d.kind == store::dead_kind::webhook) out["event"] = to_text(d.type);
    out["event_id"] = d.event_id;
    out["message_id"] = id_or_null(d.message);
    out["room_id"] = id_or_null(d.room);
    out["seq"] = d.seq ? json(d.seq->value) : json(nullptr);
  }
  out["user_id"] = d.user ? json(d.user->view()) : json(nullptr);
  if (d.kind != store::dead_kind::webhook && !d.user) {
    auto& many = out["recipient_ids"] = json::array();
    for (const auto& user : d.recipients) many.push_back(user.view());
  }
  out["attempts"] = d.attempts;
  out["last_attempt_at"] = d.last_attempt_at ? json(to_rfc3339(*d.last_attempt_at)) : json(nullptr);
  out["error"] = d.error;
  out["created_at"] = to_rfc3339(d.created_at);
  return out;
}

const char* list_of(store::dead_kind kind) {
  switch (kind) {
    case store::dead_kind::message:
      return "failed_messages";
    case store::dead_kind::webhook:
      return "failed_webhooks";
    case store::dead_kind::notification:
      break;
  }
  return "failed_notifications";
}

/// `what`, done to the dead letter in the path.
template <class What>
gateway_loop::response change(gateway_loop& g, gateway_loop::request_context& r, What what) {
  const std::string_view id = r.parameters[0];
  const auto end = id.find(between_tenant_and_id);
  if (end == std::string_view::npos) co_return fail(r, not_found("dead letter"));
  what.id = id.substr(end + 1);
  store::tenant_change order{tenant_id{std::string{id.substr(0, end)}}, std::move(what),
                             g.shared().now.now()};
  auto asked = g.change_tenant(std::move(order));
  auto changed = co_await std::move(asked);
  if (!changed && changed.error().code == error_code::not_found)
    co_return fail(r, not_found("dead letter"));
  if (!changed) co_return fail(r, changed.error());
  co_return json_response(204, {});
}

}  // namespace

gateway_loop::response rest_dead_letters(gateway_loop& g, gateway_loop::request_context& r) {
  const auto arguments = list_of(r, limits::dead_letters_page_max);
  if (!arguments) co_return fail(r, arguments.error());
  const auto named = r.http.query_value("tenant_id");
  if (!named || named->empty()) co_return fail(r, invalid("tenant_id", "tenant_id is required"));
  const tenant_id tenant{*named};
  auto looking = tenant_number(g, tenant);
  const auto no = co_await std::move(looking);
  if (!no) co_return fail(r, no.error());
  auto asked = g.read(
      *no, actors::dead_letters_query{*no, arguments->offset + arguments->limit, arguments->cursor});
  auto answer = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&answer)) co_return fail(r, *failed);
  const auto& list = std::get<store::dead_letter_list>(answer);
  json body;
  for (const auto kind :
       {store::dead_kind::message, store::dead_kind::webhook, store::dead_kind::notification})
    body[list_of(kind)] = json::array();
  for (std::size_t at = arguments->offset; at < list.letters.size(); ++at) {
    const auto& letter = list.letters[at];
    body[list_of(letter.kind)].push_back(shown(tenant, letter));
  }
  body["next_cursor"] = or_null(list.next_cursor);
  co_return json_response(200, body.dump());
}

gateway_loop::response rest_retry_dead_letter(gateway_loop& g, gateway_loop::request_context& r) {
  return change(g, r, store::tenant_change::retry_dead_letter{});
}

gateway_loop::response rest_delete_dead_letter(gateway_loop& g, gateway_loop::request_context& r) {
  return change(g, r, store::tenant_change::delete_dead_letter{});
}

}  // namespace parley::net
