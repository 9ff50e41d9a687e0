#include "protocol/webhook_event.hpp"

#include "protocol/assert.hpp"
#include "protocol/server_frame.hpp"

#include <utility>

namespace parley {

namespace {

constexpr std::array<std::pair<event_type, std::string_view>, 13> names{{
    {event_type::message_offline, "message.offline"},
    {event_type::message_created, "message.created"},
    {event_type::message_edited, "message.edited"},
    {event_type::message_deleted, "message.deleted"},
    {event_type::room_created, "room.created"},
    {event_type::room_updated, "room.updated"},
    {event_type::room_deleted, "room.deleted"},
    {event_type::member_joined, "member.joined"},
    {event_type::member_left, "member.left"},
    {event_type::user_online, "user.online"},
    {event_type::user_offline, "user.offline"},
    {event_type::notification_failed, "notification.failed"},
    {event_type::webhook_test, "webhook.test"},
}};

void append_text(std::string& out, std::string_view name, std::string_view text) {
  append_json_string(out, name);
  out += ':';
  append_json_string(out, text);
}

void append_room_id(std::string& out, const room_info& room) {
  out += R"("room_id":")";
  room.id.id.append_to(out);
  out += '"';
}

void append_metadata(std::string& out, const room_info& room) {
  out += R"(,"room_metadata":)";
  out += room.metadata.empty() ? std::string_view{"null"} : room.metadata.view();
}

/// ChatAPI's `message.new` (CHATAPI 3): what it calls the message's fields.
void append_chatapi_message(std::string& out, const entry& e) {
  const auto& m = std::get<message_body>(e.body);
  out += R"({"message_id":")";
  e.message.id.append_to(out);
  out += R"(",)";
  append_text(out, "sender_id", m.sender.view());
  out += ',';
  append_text(out, "content", m.content);
  out += R"(,"seq":)" + std::to_string(e.seq.value) + R"(,"created_at":")";
  append_rfc3339(out, e.created_at);
  out += R"("})";
}

void append_recipient(std::string& out, const webhook_event& e) {
  out += R"(,"recipient_id":)";
  if (e.recipient) {
    append_json_string(out, e.recipient->view());
  } else {
    out += "null";
  }
}

split_body chatapi_body(const webhook_event& e) {
  split_body out;
  auto& head = out.head;
  head += R"({"event":"message.new",)";
  append_text(head, "tenant_id", e.tenant.view());
  head += ',';
  append_room_id(head, *e.room);
  append_recipient(head, e);
  append_metadata(head, *e.room);
  head += R"(,"message":)";
  append_chatapi_message(head, *e.message);
  if (e.lists_recipients) {
    head += R"(,"recipient_ids":[)";
    out.tail = "]}";
  } else {
    head += '}';
  }
  return out;
}

void append_data(split_body& out, const webhook_event& e) {
  auto& head = out.head;
  if (!e.room) {
    head += e.data.empty() ? std::string_view{"{}"} : std::string_view{e.data};
    return;
  }
  head += '{';
  append_room_id(head, *e.room);
  if (e.type == event_type::message_offline) {
    append_recipient(head, e);
    append_metadata(head, *e.room);
  }
  if (e.type == event_type::room_created || e.type == event_type::room_deleted) {
    head += R"(,"room":)";
    append_room(head, *e.room, std::nullopt);
  }
  if (e.message) {
    head += R"(,"message":)";
    append_entry(head, e.room->id, *e.message);
  }
  if (e.logged) {
    head += R"(,"entry":)";
    append_entry(head, e.room->id, *e.logged);
  }
  if (e.lists_recipients) {
    head += R"(,"recipient_ids":[)";
    out.tail += ']';
  }
  out.tail += '}';
}

}  // namespace

std::string_view to_text(event_type t) {
  for (const auto& [type, name] : names) {
    if (type == t) return name;
  }
  return {};
}

std::optional<event_type> parse_event_type(std::string_view text) {
  for (const auto& [type, name] : names) {
    if (name == text && type != event_type::webhook_test) return type;
  }
  return std::nullopt;
}

std::optional<event_type> event_of(entry_kind k) {
  switch (k) {
    case entry_kind::message:
      return event_type::message_created;
    case entry_kind::message_edited:
      return event_type::message_edited;
    case entry_kind::message_deleted:
      return event_type::message_deleted;
    case entry_kind::member_joined:
      return event_type::member_joined;
    case entry_kind::member_left:
      return event_type::member_left;
    case entry_kind::room_updated:
      return event_type::room_updated;
    case entry_kind::member_updated:
      return std::nullopt;
  }
  return std::nullopt;
}

split_body webhook_body(const webhook_event& e, webhook_format format) {
  if (format == webhook_format::chatapi && e.type == event_type::message_offline)
    return chatapi_body(e);
  split_body out;
  out.head += '{';
  append_text(out.head, "type", to_text(e.type));
  out.head += R"(,"timestamp":")";
  append_rfc3339(out.head, e.at);
  out.head += R"(",)";
  append_text(out.head, "tenant_id", e.tenant.view());
  out.head += R"(,"data":)";
  append_data(out, e);
  // The head ends where a list begins; without one there is no tail.
  if (!e.lists_recipients) out.head += std::exchange(out.tail, {});
  (e.lists_recipients ? out.tail : out.head) += '}';
  return out;
}

}  // namespace parley
