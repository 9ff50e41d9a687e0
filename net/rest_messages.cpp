#include "net/routes.hpp"
#include "protocol/server_frame.hpp"

#include <utility>

namespace parley::net {

namespace {

/// The first result of a key that is used again, served as the message is now (SPEC 1, 2.4). `as_asked`: what is served when
/// retention has removed it; nullopt: it is not there.
gateway_loop::response repeated(gateway_loop& g, gateway_loop::request_context& r, room_id room,
                                room_no no, message_id message, std::optional<entry> as_asked) {
  auto reading =
      g.read(r.who.tenant->no, actors::message_query{{r.who.tenant->no, room}, no, message});
  auto answer = co_await std::move(reading);
  if (auto* failed = std::get_if<error>(&answer)) {
    failed->stored = stored_state::unknown;
    co_return fail(r, *failed);
  }
  const auto& found = std::get<std::optional<entry>>(answer);
  if (!found && !as_asked) co_return fail(r, not_found("message"));
  std::string out;
  append_entry(out, room, found ? *found : *as_asked, true);
  auto response = json_response(200, std::move(out));
  response.headers.emplace_back("Idempotent-Replayed", "true");
  co_return response;
}

}  // namespace

gateway_loop::response rest_send(gateway_loop& g, gateway_loop::request_context& r) {
  auto body = g.bodies().send(r.http.body);
  if (!body) co_return fail(r, body.error());
  auto& m = body->message;
  const auto used = retry_key(r, m.client_msg_id);
  if (!used) co_return fail(r, used.error());
  user_id sender;
  if (r.who.user) {
    if (body->sender && *body->sender != *r.who.user) {
      co_return fail(r,
                     error{error_code::authorization, "one sends in one's own name", "sender_id"});
    }
    sender = *r.who.user;
  } else if (body->sender) {
    sender = *body->sender;
  } else {
    co_return fail(r, invalid("sender_id", "the backend names whose message it is"));
  }
  const auto room = parse_room(r.parameters[0]);
  actors::send_command what{sender,       m.content,    m.meta,    m.client_msg_id,
                            std::nullopt, body_hash(m), m.reply_to};
  if (!used->empty()) what.key = hash128_of(*used);
  const auto bytes = m.content.size() + m.meta.value.size();
  auto asked = g.command(r, room, std::move(what), bytes);
  auto done = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&done)) co_return fail(r, *failed);
  const auto& sent = std::get<actors::send_result>(done);

  entry message{sent.accepted.seq, sent.accepted.message, r.who.user, sent.accepted.created_at,
                message_body{std::move(sender), std::move(m.content), std::move(m.meta), m.reply_to,
                             std::move(m.client_msg_id), std::nullopt, std::nullopt}};
  if (!sent.accepted.duplicate) {
    std::string out;
    append_entry(out, room, message);
    co_return json_response(r.dialect ? 200 : 201, std::move(out));
  }
  auto repeating = repeated(g, r, room, sent.no, sent.accepted.message, std::move(message));
  co_return co_await std::move(repeating);
}

gateway_loop::response rest_edit_message(gateway_loop& g, gateway_loop::request_context& r) {
  auto body = g.bodies().edit(r.http.body);
  if (!body) co_return fail(r, body.error());
  const auto key = retry_key(r, body->client_msg_id);
  if (!key) co_return fail(r, key.error());
  const auto room = parse_room(r.parameters[0]);
  body->message = parse_message(r.parameters[1]);
  const auto bytes =
      body->content.size() + (body->meta ? body->meta->value.size() : 0) + g.change_credit_bytes();
  auto asked = g.command(r, room, edit_command(*body, *key), bytes);
  auto done = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&done)) co_return fail(r, *failed);
  const auto& sent = std::get<actors::send_result>(done);
  if (sent.accepted.duplicate) {
    auto repeating = repeated(g, r, room, sent.no, sent.accepted.message, std::nullopt);
    co_return co_await std::move(repeating);
  }
  std::string out;
  append_entry(out, room, *sent.message);
  co_return json_response(200, std::move(out));
}

gateway_loop::response rest_delete_message(gateway_loop& g, gateway_loop::request_context& r) {
  delete_message_frame m;
  if (!r.http.body.empty()) {
    auto body = g.bodies().remove(r.http.body);
    if (!body) co_return fail(r, body.error());
    m.client_msg_id = std::move(*body);
  }
  const auto key = retry_key(r, m.client_msg_id);
  if (!key) co_return fail(r, key.error());
  m.message = parse_message(r.parameters[1]);
  auto asked =
      g.command(r, parse_room(r.parameters[0]), delete_command(m, *key), g.change_credit_bytes());
  auto done = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&done)) co_return fail(r, *failed);
  auto response = json_response(204, {});
  if (std::get<actors::send_result>(done).accepted.duplicate)
    response.headers.emplace_back("Idempotent-Replayed", "true");
  co_return response;
}

namespace {

gateway_loop::response history(gateway_loop& g, gateway_loop::request_context& r, bool messages_only) {
  const auto arguments = list_of(r, limits::page_max_entries);
  if (!arguments) co_return fail(r, arguments.error());
  const auto position = position_of(r);
  if (!position) co_return fail(r, position.error());
  auto asked =
      g.read(r.who.tenant->no, actors::history_query{{r.who.tenant->no, parse_room(r.parameters[0])},
                                                     r.who.user,
                                                     *position,
                                                     arguments->limit,
                                                     arguments->offset,
                                                     messages_only});
  auto answer = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&answer)) co_return fail(r, *failed);
  auto& page = std::get<actors::history_json>(answer);
  std::string out = messages_only ? R"({"messages":)" : R"({"events":)";
  out += page.items;
  out += R"(,"has_more_before":)";
  out += page.has_more_before ? "true" : "false";
  out += R"(,"has_more_after":)";
  out += page.has_more_after ? "true" : "false";
  out += R"(,"first_seq":)" + std::to_string(page.first_seq.value);
  out += R"(,"last_seq":)" + std::to_string(page.last_seq.value);
  out += R"(,"epoch":)";
  append_json_string(out, g.options().epoch.view());
  co_return json_response(200, out + "}");
}

}  // namespace

gateway_loop::response rest_messages(gateway_loop& g, gateway_loop::request_context& r) {
  return history(g, r, true);
}
gateway_loop::response rest_events(gateway_loop& g, gateway_loop::request_context& r) {
  return history(g, r, false);
}

gateway_loop::response rest_ws(gateway_loop& g, gateway_loop::request_context& r) {
  return g.upgrade(r);
}

}  // namespace parley::net
