#include "protocol/server_frame.hpp"

#include "protocol/assert.hpp"
#include "protocol/json_scan.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <concepts>
#include <type_traits>

namespace parley {

namespace {

// Small appenders. Their order in a function is the order of the fields on the wire (SPEC 1, 4, 5).

template <std::integral T>
void append_number(std::string& out, T value) {
  std::array<char, 20> text{};  // 64 bits and a sign
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  out.append(text.data(), end);
}

void append_seq(std::string& out, room_seq seq) { append_number(out, seq.value); }

void append_bool(std::string& out, bool value) { out += value ? "true" : "false"; }

void append_time(std::string& out, utc_time t) {
  out += '"';
  append_rfc3339(out, t);
  out += '"';
}

void append_uuid(std::string& out, const uuid& id) {
  out += '"';
  id.append_to(out);
  out += '"';
}

/// Names of our own, which need no escapes.
void append_word(std::string& out, std::string_view word) {
  out += '"';
  out += word;
  out += '"';
}

void append_json_text(std::string& out, const json_text& json) {
  out += json.empty() ? std::string_view{"null"} : json.view();
}

template <class T, class Append>
void append_or_null(std::string& out, const std::optional<T>& value, Append append) {
  if (value) {
    append(out, *value);
  } else {
    out += "null";
  }
}

void append_user(std::string& out, const user_id& user) { append_json_string(out, user.view()); }

void append_users(std::string& out, const std::vector<user_id>& users) {
  out += '[';
  bool first = true;
  for (const user_id& user : users) {
    if (!first) out += ',';
    first = false;
    append_user(out, user);
  }
  out += ']';
}

/// `{"type":"…"` and what a reply must echo.
void open_reply(std::string& out, std::string_view type, const reply_refs& refs) {
  out += R"({"type":")";
  out += type;
  out += '"';
  if (!refs.request_id.empty()) {
    out += R"(,"request_id":)";
    out += refs.request_id;  // its JSON text, as it came
  }
}

void append_client_msg_id(std::string& out, std::string_view id) {
  if (id.empty()) return;
  out += R"(,"client_msg_id":)";
  append_json_string(out, id);
}

/// `retryable`, `retry_after_ms?`, `stored?`: the same on WebSocket and REST.
void append_error_tail(std::string& out, const error& e) {
  out += R"(,"retryable":)";
  append_bool(out, info(e.code).retryable);
  if (e.retry_after) {
    out += R"(,"retry_after_ms":)";
    append_number(out, e.retry_after->count());
  }
  if (e.stored != stored_state::not_a_send) {
    out += e.stored == stored_state::no ? R"(,"stored":"no")" : R"(,"stored":"unknown")";
  }
}

std::string_view to_text(sync_outcome outcome) {
  switch (outcome) {
    case sync_outcome::recovered:
      return "recovered";
    case sync_outcome::live:
      return "live";
    case sync_outcome::gap:
      return "gap";
    case sync_outcome::reset:
      return "reset";
    case sync_outcome::gone:
      return "gone";
  }
  return {};
}

/// The fields of each kind's own (SPEC 1), each with the comma before it.
struct own_fields {
  std::string& out;
  const entry& e;

  void about(std::optional<room_seq> message_seq) const {
    out += R"(,"message_id":)";
    append_uuid(out, e.message.id);
    if (message_seq) {
      out += R"(,"message_seq":)";
      append_seq(out, *message_seq);
    }
  }
  void text(std::string_view content, const json_text& meta) const {
    out += R"(,"content":)";
    append_json_string(out, content);
    out += R"(,"meta":)";
    append_json_text(out, meta);
  }
  void operator()(const message_body& b) const {
    about(std::nullopt);
    out += R"(,"sender_id":)";
    append_user(out, b.sender);
    text(b.content, b.meta);
    if (b.reply_to) {
      out += R"(,"reply_to":)";
      append_uuid(out, b.reply_to->id);
    }
    append_client_msg_id(out, b.client_msg_id);
    if (b.edited_at) {
      out += R"(,"edited_at":)";
      append_time(out, *b.edited_at);
    }
    if (b.deleted_at) {
      out += R"(,"deleted_at":)";
      append_time(out, *b.deleted_at);
    }
  }
  void operator()(const message_edited_body& b) const {
    about(b.message_seq);
    text(b.content, b.meta);
    out += R"(,"edited_at":)";
    append_time(out, b.edited_at);
  }
  void operator()(const message_deleted_body& b) const {
    about(b.message_seq);
    out += R"(,"deleted_at":)";
    append_time(out, b.deleted_at);
  }
  void operator()(const member_joined_body& b) const {
    out += R"(,"user_ids":)";
    append_users(out, b.users);
    out += R"(,"role":)";
    append_word(out, parley::to_text(b.role));
  }
  void operator()(const member_left_body& b) const {
    out += R"(,"user_ids":)";
    append_users(out, b.users);
    out += R"(,"reason":)";
    append_word(out, parley::to_text(b.reason));
  }
  void operator()(const member_updated_body& b) const {
    out += R"(,"user_id":)";
    append_user(out, b.user);
    out += R"(,"role":)";
    append_word(out, parley::to_text(b.role));
  }
  void operator()(const room_updated_body& b) const {
    if (b.name) {
      out += R"(,"name":)";
      append_or_null(out, *b.name, append_json_string);
    }
    if (b.metadata) {
      out += R"(,"metadata":)";
      append_json_text(out, *b.metadata);
    }
    if (b.posting) {
      out += R"(,"posting":)";
      append_word(out, parley::to_text(*b.posting));
    }
  }
};

/// Bytes of a message frame without its texts, rounded up: one allocation instead of several.
constexpr std::size_t entry_frame_bytes = 384;

std::size_t text_bytes(const entry& e) {
  if (const auto* m = std::get_if<message_body>(&e.body))
    return m->content.size() + m->meta.value.size();
  if (const auto* m = std::get_if<message_edited_body>(&e.body)) {
    return m->content.size() + m->meta.value.size();
  }
  return 0;
}

/// Room for `more` bytes, growing geometrically: pages append many entries to one string.
void make_room(std::string& out, std::size_t more) {
  if (out.capacity() - out.size() < more)
    out.reserve(std::max(out.size() + more, 2 * out.capacity()));
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  constexpr std::string_view hex = "0123456789abcdef";
  const char* at = text.data();
  const char* const end = at + text.size();
  out += '"';
  for (;;) {
    const char* const special = find_json_special(at, end, end);
    out.append(at, special);
    if (special == end) break;
    switch (const char c = *special) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        out += "\\u00";
        out += hex[static_cast<unsigned char>(c) >> 4U];
        out += hex[static_cast<unsigned char>(c) & 0xfU];
    }
    at = special + 1;
  }
  out += '"';
}

void append_entry(std::string& out, const room_id& room, const entry& e, bool duplicate) {
  make_room(out, entry_frame_bytes + text_bytes(e));
  out += R"({"type":")";
  out += parley::to_text(e.kind());
  out += R"(","room_id":)";
  append_uuid(out, room.id);
  out += R"(,"seq":)";
  append_seq(out, e.seq);
  out += R"(,"actor_id":)";
  append_or_null(out, e.actor, append_user);
  out += R"(,"created_at":)";
  append_time(out, e.created_at);
  std::visit(own_fields{out, e}, e.body);
  if (duplicate) out += R"(,"duplicate":true)";
  out += '}';
}

void append_room_open(std::string& out, const room_info& r, std::optional<member_role> role) {
  out += R"({"room_id":)";
  append_uuid(out, r.id.id);
  out += R"(,"type":)";
  append_word(out, parley::to_text(r.type));
  out += R"(,"unique_key":)";
  append_or_null(out, unique_key(r), append_json_string);
  out += R"(,"name":)";
  append_or_null(out, r.name, append_json_string);
  out += R"(,"metadata":)";
  append_json_text(out, r.metadata);
  out += R"(,"posting":)";
  append_word(out, parley::to_text(r.posting));
  out += R"(,"first_seq":)";
  append_seq(out, r.first_seq);
  out += R"(,"last_seq":)";
  append_seq(out, r.last_seq);
  out += R"(,"member_count":)";
  append_number(out, r.member_count);
  out += R"(,"role":)";
  append_or_null(out, role,
                 [](std::string& to, member_role held) { append_word(to, parley::to_text(held)); });
  out += R"(,"created_by":)";
  append_or_null(out, r.created_by, append_user);
  out += R"(,"created_at":)";
  append_time(out, r.created_at);
  out += R"(,"updated_at":)";
  append_time(out, r.updated_at);
  if (r.dm_members) {
    out += R"(,"members":[)";
    append_user(out, r.dm_members->first);
    out += ',';
    append_user(out, r.dm_members->second);
    out += ']';
  }
}

void append_room(std::string& out, const room_info& r, std::optional<member_role> role) {
  append_room_open(out, r, role);
  out += '}';
}

void append_member(std::string& out, const member_view& m) {
  out += R"({"user_id":)";
  append_user(out, m.user);
  out += R"(,"role":)";
  append_word(out, parley::to_text(m.role));
  out += R"(,"joined_at":)";
  append_time(out, m.joined_at);
  out += R"(,"online":)";
  append_or_null(out, m.online, append_bool);
  out += R"(,"last_ack":)";
  append_or_null(out, m.last_ack, append_seq);
  out += R"(,"last_read":)";
  append_or_null(out, m.last_read, append_seq);
  out += '}';
}

void append_hello(std::string& out, const hello_info& h) {
  out += R"({"type":"hello")";
  if (!h.request_id.empty()) {
    out += R"(,"request_id":)";
    out += h.request_id;
  }
  out += R"(,"protocol":"parley.v1","server_version":)";
  append_json_string(out, h.server_version);
  out += R"(,"connection_id":)";
  append_json_string(out, h.connection_id);
  out += R"(,"tenant_id":)";
  append_json_string(out, h.tenant_id);
  out += R"(,"user_id":)";
  append_json_string(out, h.user_id);
  out += R"(,"epoch":)";
  append_json_string(out, h.epoch);
  out += R"(,"server_time":)";
  append_time(out, h.server_time);
  if (h.expires_at) {
    out += R"(,"expires_at":)";
    append_time(out, *h.expires_at);
  }
  out += R"(,"heartbeat_ms":)";
  append_number(out, h.heartbeat.count());
  out += R"(,"limits":{"max_frame":)";
  append_number(out, h.max_frame);
  out += R"(,"max_content":)";
  append_number(out, h.max_content);
  out += R"(,"max_meta":)";
  append_number(out, h.max_meta);
  out += R"(,"sync_max_events":)";
  append_number(out, h.sync_max_events);
  out += R"(,"frames_per_s":)";
  append_number(out, h.frames_per_s);
  out += "}}";
}

void append_accepted(std::string& out, const reply_refs& refs, const accepted_info& a) {
  open_reply(out, "message.accepted", refs);
  append_client_msg_id(out, refs.client_msg_id);
  out += R"(,"room_id":)";
  append_uuid(out, a.room.id);
  out += R"(,"message_id":)";
  append_uuid(out, a.message.id);
  out += R"(,"seq":)";
  append_seq(out, a.seq);
  out += R"(,"created_at":)";
  append_time(out, a.created_at);
  if (a.duplicate) out += R"(,"duplicate":true)";
  out += '}';
}

void append_error_frame(std::string& out, const reply_refs& refs, const error& e) {
  open_reply(out, "error", refs);
  append_client_msg_id(out, refs.client_msg_id);
  if (!refs.room_id.empty()) {
    out += R"(,"room_id":)";
    append_json_string(out, refs.room_id);
  }
  if (!e.field.empty()) {
    out += R"(,"field":)";
    append_json_string(out, e.field);
  }
  out += R"(,"code":)";
  append_word(out, info(e.code).text);
  out += R"(,"message":)";
  append_json_string(out, e.message);
  append_error_tail(out, e);
  out += '}';
}

void append_error_body(std::string& out, const error& e, std::string_view request_id) {
  out += R"({"success":false,"error":{"code":)";
  append_word(out, info(e.code).text);
  out += R"(,"message":)";
  append_json_string(out, e.message);
  if (!e.field.empty()) {
    out += R"(,"field":)";
    append_json_string(out, e.field);
  }
  out += R"(,"request_id":)";
  append_json_string(out, request_id);
  append_error_tail(out, e);
  out += "}}";
}

void append_ok(std::string& out, const reply_refs& refs) {
  open_reply(out, "ok", refs);
  out += '}';
}

void append_pong(std::string& out, const reply_refs& refs, utc_time server_time) {
  open_reply(out, "pong", refs);
  out += R"(,"server_time":)";
  append_time(out, server_time);
  out += '}';
}

void append_cursor_received(std::string& out, const reply_refs& refs, bool read,
                            const room_id& room, room_seq seq, std::string_view user) {
  open_reply(out, read ? "read.received" : "ack.received", refs);
  out += R"(,"room_id":)";
  append_uuid(out, room.id);
  out += R"(,"seq":)";
  append_seq(out, seq);
  out += R"(,"user_id":)";
  append_json_string(out, user);
  out += '}';
}

void append_subscribed(std::string& out, const reply_refs& refs, const room_id& room, room_seq seq) {
  open_reply(out, "subscribed", refs);
  out += R"(,"room_id":)";
  append_uuid(out, room.id);
  out += R"(,"seq":)";
  append_seq(out, seq);
  out += '}';
}

void append_sync_start(std::string& out, std::span<const std::pair<room_id, room_seq>> rooms) {
  PARLEY_ASSERT(rooms.size() <= limits::sync_start_max_rooms);
  out += R"({"type":"sync.start","rooms":{)";
  bool first = true;
  for (const auto& [room, seq] : rooms) {
    if (!first) out += ',';
    first = false;
    append_uuid(out, room.id);
    out += ':';
    append_seq(out, seq);
  }
  out += "}}";
}

void append_sync_complete(std::string& out, const sync_complete_info& s) {
  out += R"({"type":"sync.complete","room_id":)";
  append_json_string(out, s.room);
  out += R"(,"outcome":)";
  append_word(out, to_text(s.outcome));
  out += R"(,"seq":)";
  append_or_null(out, s.seq, append_seq);
  if (s.from_seq) {
    out += R"(,"from_seq":)";
    append_seq(out, *s.from_seq);
  }
  if (s.to_seq) {
    out += R"(,"to_seq":)";
    append_seq(out, *s.to_seq);
  }
  if (s.truncated) out += R"(,"truncated":true)";
  out += '}';
}

void append_sync_done(std::string& out, std::string_view request_id_json, std::size_t rooms) {
  out += R"({"type":"sync.done")";
  if (!request_id_json.empty()) {
    out += R"(,"request_id":)";
    out += request_id_json;
  }
  out += R"(,"rooms":)";
  append_number(out, rooms);
  out += '}';
}

void append_room_added(std::string& out, std::string_view room_json, room_seq seq) {
  out += R"({"type":"room.added","room":)";
  out += room_json;
  out += R"(,"seq":)";
  append_seq(out, seq);
  out += '}';
}

void append_room_removed(std::string& out, const room_id& room) {
  out += R"({"type":"room.removed","room_id":)";
  append_uuid(out, room.id);
  out += '}';
}

void append_typing(std::string& out, const room_id& room, std::string_view user, bool start) {
  out += R"({"type":"typing","room_id":)";
  append_uuid(out, room.id);
  out += R"(,"user_id":)";
  append_json_string(out, user);
  out += start ? R"(,"action":"start"})" : R"(,"action":"stop"})";
}

void append_notification(std::string& out, const uuid& id, std::string_view topic,
                         const json_text& payload, utc_time created_at) {
  out += R"({"type":"notification","notification_id":)";
  append_uuid(out, id);
  out += R"(,"topic":)";
  append_json_string(out, topic);
  out += R"(,"payload":)";
  append_json_text(out, payload);
  out += R"(,"created_at":)";
  append_time(out, created_at);
  out += '}';
}

void append_presence_update(std::string& out, std::string_view user, std::string_view status,
                            const std::optional<utc_time>& last_seen) {
  out += R"({"type":"presence.update","user_id":)";
  append_json_string(out, user);
  out += R"(,"status":)";
  append_word(out, status);
  if (last_seen) {
    out += R"(,"last_seen":)";
    append_time(out, *last_seen);
  }
  out += '}';
}

void append_auth_expiring(std::string& out, std::chrono::milliseconds in) {
  out += R"({"type":"auth.expiring","in_ms":)";
  append_number(out, in.count());
  out += '}';
}

void append_auth_refreshed(std::string& out, const reply_refs& refs,
                           std::optional<utc_time> expires_at) {
  open_reply(out, "auth.refreshed", refs);
  out += R"(,"expires_at":)";
  if (expires_at) {
    append_time(out, *expires_at);
  } else {
    out += "null";
  }
  out += '}';
}

void append_server_shutdown(std::string& out, std::chrono::milliseconds reconnect_after) {
  out += R"({"type":"server.shutdown","reconnect_after_ms":)";
  append_number(out, reconnect_after.count());
  out += '}';
}

}  // namespace parley
