// rest_batch.cpp: `POST /messages/batch` (SPEC 4, DESIGN 11): many messages in one request, each with its own outcome.

#include "net/routes.hpp"
#include "protocol/server_frame.hpp"

#include <utility>

namespace parley::net {

namespace {

/// `{"status":…,"error":{…}}`: the error as its own answer would have it.
void append_failure(std::string& out, gateway_loop& g, const gateway_loop::request_context& r,
                    const error& why) {
  g.count_refusal(why);
  const auto alone = error_response(why, r.http.request_id);
  constexpr std::string_view envelope = R"({"success":false,"error":)";
  out += R"({"status":)" + std::to_string(alone.status) + R"(,"error":)";
  out +=
      std::string_view{alone.body}.substr(envelope.size(), alone.body.size() - envelope.size() - 1);
  out += '}';
}

void append_success(std::string& out, int status, const room_id& room, const entry& message,
                    bool duplicate) {
  out += R"({"status":)" + std::to_string(status) + R"(,"message":)";
  append_entry(out, room, message, duplicate);
  out += '}';
}

}  // namespace

gateway_loop::response rest_batch(gateway_loop& g, gateway_loop::request_context& r) {
  auto items = g.bodies().batch(r.http.body);
  if (!items) co_return fail(r, items.error());

  // Who sends, and what can be sent at all; what goes out keeps the order of the request.
  std::vector<std::pair<room_id, actors::send_command>> sends;
  std::vector<std::size_t> places;
  std::vector<std::optional<error>> failures(items->size());
  for (std::size_t at = 0; at < items->size(); ++at) {
    auto& item = (*items)[at];
    if (item.failure) {
      failures[at] = item.failure;
      continue;
    }
    auto& m = item.send.message;
    auto sender = r.who.user;
    if (sender && item.send.sender && *item.send.sender != *sender) {
      failures[at] = error{error_code::authorization, "one sends in one's own name", "sender_id"};
    } else if (!sender && !item.send.sender) {
      failures[at] = invalid("sender_id", "the backend names whose message it is");
    }
    if (failures[at]) {
      failures[at]->stored = stored_state::no;
      continue;
    }
    if (!sender) sender = item.send.sender;
    actors::send_command what{*sender,      m.content,    m.meta,    m.client_msg_id,
                              std::nullopt, body_hash(m), m.reply_to};
    if (!m.client_msg_id.empty()) what.key = hash128_of(m.client_msg_id);
    sends.emplace_back(item.room, std::move(what));
    places.push_back(at);
  }
  auto sending = g.commands(r, std::move(sends));
  auto outcomes = co_await std::move(sending);

  std::string out = R"({"results":[)";
  std::size_t next = 0;
  for (std::size_t at = 0; at < items->size(); ++at) {
    if (at != 0) out += ',';
    if (failures[at]) {
      append_failure(out, g, r, *failures[at]);
      continue;
    }
    auto& item = (*items)[places[next]];
    const auto& outcome = outcomes[next++];
    if (const auto* failed = std::get_if<error>(&outcome)) {
      append_failure(out, g, r, *failed);
      continue;
    }
    const auto& sent = std::get<actors::send_result>(outcome);
    auto& m = item.send.message;
    const entry as_asked{sent.accepted.seq, sent.accepted.message, r.who.user,
                         sent.accepted.created_at,
                         message_body{r.who.user ? *r.who.user : *item.send.sender,
                                      std::move(m.content), std::move(m.meta), m.reply_to,
                                      std::move(m.client_msg_id), std::nullopt, std::nullopt}};
    if (!sent.accepted.duplicate) {
      append_success(out, 201, item.room, as_asked, false);
      continue;
    }
    // The first result, as the message is now (SPEC 1, 2.4).
    auto reading =
        g.read(r.who.tenant->no,
               actors::message_query{{r.who.tenant->no, item.room}, sent.no, sent.accepted.message});
    auto answer = co_await std::move(reading);
    if (auto* failed = std::get_if<error>(&answer)) {
      failed->stored = stored_state::unknown;
      append_failure(out, g, r, *failed);
    } else {
      // Retention may have removed it.
      const auto& found = std::get<std::optional<entry>>(answer);
      append_success(out, 200, item.room, found ? *found : as_asked, true);
    }
  }
  co_return json_response(200, out + "]}");
}

}  // namespace parley::net
