#pragma once
/// What the server says → JSON (SPEC 1, 4, 5), by hand-written appenders. Pure. Every function appends exactly one JSON
/// value to `out` and nothing else. The same encoder serves WebSocket, sync, history pages and REST answers, so an
/// entry has the same bytes everywhere.

#include "protocol/client_frame.hpp"
#include "protocol/entry.hpp"
#include "protocol/errors.hpp"
#include "protocol/ids.hpp"
#include "protocol/room_info.hpp"
#include "protocol/seams.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace parley {

/// A JSON string with quotes: escapes `"`, `\`, controls; everything else as UTF-8.
void append_json_string(std::string& out, std::string_view text);

/// A log entry as its WebSocket frame, its events item and (kind message) its REST form. `duplicate`: adds `"duplicate":true`.
void append_entry(std::string& out, const room_id& room, const entry& e, bool duplicate = false);

/// A room as SPEC 4 *room*; `role` null for the backend; `dm_members` for a dm only. No trailing extras:
/// `append_room_open` leaves the object open so that callers add fields, e.g. `,"created":true}`.
void append_room(std::string& out, const room_info& r, std::optional<member_role> role);
void append_room_open(std::string& out, const room_info& r, std::optional<member_role> role);

/// A member as SPEC 4 *member*; absent online, last_ack, last_read are null.
struct member_view {
  user_id user;
  member_role role = member_role::member;
  utc_time joined_at{};
  std::optional<bool> online{};
  std::optional<room_seq> last_ack{};
  std::optional<room_seq> last_read{};
};
void append_member(std::string& out, const member_view& m);

struct hello_info {
  std::string_view server_version;
  std::string_view connection_id;
  std::string_view tenant_id;
  std::string_view user_id;
  std::string_view epoch;
  utc_time server_time;
  std::optional<utc_time> expires_at{};
  std::chrono::milliseconds heartbeat{};
  std::size_t max_frame = 0;
  std::size_t max_content = 0;
  std::size_t max_meta = 0;
  std::uint32_t sync_max_events = 0;
  std::uint32_t frames_per_s = 0;  ///< 0: no limit
  std::string_view request_id{};   ///< of the `auth` frame that it answers, as JSON; empty: none
};
void append_hello(std::string& out, const hello_info& h);

struct accepted_info {
  room_id room;
  message_id message;
  room_seq seq;
  utc_time created_at;
  bool duplicate = false;
};
/// `message.accepted {request_id?, client_msg_id?, room_id, message_id, seq, created_at, duplicate?}`
void append_accepted(std::string& out, const reply_refs& refs, const accepted_info& a);

void append_error_frame(std::string& out, const reply_refs& refs, const error& e);
/// REST's error envelope (SPEC 4 «Errors»).
void append_error_body(std::string& out, const error& e, std::string_view request_id);
void append_ok(std::string& out, const reply_refs& refs);
void append_pong(std::string& out, const reply_refs& refs, utc_time server_time);
void append_cursor_received(std::string& out, const reply_refs& refs, bool read,
                            const room_id& room, room_seq seq, std::string_view user);
void append_subscribed(std::string& out, const reply_refs& refs, const room_id& room, room_seq seq);

void append_sync_start(std::string& out, std::span<const std::pair<room_id, room_seq>> rooms);
enum class sync_outcome : std::uint8_t { recovered, live, gap, reset, gone };
struct sync_complete_info {
  std::string_view room;  ///< as text: `gone` also answers ids that are none
  sync_outcome outcome = sync_outcome::recovered;
  std::optional<room_seq> seq{};       ///< null for gone
  std::optional<room_seq> from_seq{};  ///< gap: inclusive
  std::optional<room_seq> to_seq{};
  bool truncated = false;
};
void append_sync_complete(std::string& out, const sync_complete_info& s);
void append_sync_done(std::string& out, std::string_view request_id_json, std::size_t rooms);

/// `room.added {room, seq}`; `room_json` is a room as append_room writes it, for this user.
void append_room_added(std::string& out, std::string_view room_json, room_seq seq);
void append_room_removed(std::string& out, const room_id& room);
/// `typing {room_id, user_id, action}`
void append_typing(std::string& out, const room_id& room, std::string_view user, bool start);
/// `presence.update {user_id, status, last_seen?}`; `status` is online, away or offline.
void append_presence_update(std::string& out, std::string_view user, std::string_view status,
                            const std::optional<utc_time>& last_seen);
void append_notification(std::string& out, const uuid& id, std::string_view topic,
                         const json_text& payload, utc_time created_at);
void append_auth_expiring(std::string& out, std::chrono::milliseconds in);
void append_auth_refreshed(std::string& out, const reply_refs& refs,
                           std::optional<utc_time> expires_at);
void append_server_shutdown(std::string& out, std::chrono::milliseconds reconnect_after);

}  // namespace parley
