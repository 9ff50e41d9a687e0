#pragma once
/// REST bodies → commands (SPEC 4): JSON with the same strictness as client_frame. Not thread-safe; one per thread.

#include "protocol/client_frame.hpp"
#include "protocol/entry.hpp"
#include "protocol/ids.hpp"
#include "protocol/limits.hpp"
#include "protocol/result.hpp"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parley {

struct create_room_body {
  room_type type = room_type::group;
  std::vector<user_id> members;  ///< each once, in the order given
  std::optional<std::string> name;
  json_text metadata;
  posting_policy posting = posting_policy::all;
};
struct send_body {
  send_message_frame message;     ///< `room` not set: it is in the path
  std::optional<user_id> sender;  ///< `sender_id`
};
struct add_members_body {
  std::vector<user_id> users;  ///< each once; ≤ limits::members_max_per_call
  std::optional<member_role> role;
};
struct update_room_body {                            ///< what is not given stays
  std::optional<std::optional<std::string>> name{};  ///< inner nullopt: null
  std::optional<json_text> metadata{};               ///< empty: null
  std::optional<posting_policy> posting{};
  std::optional<std::optional<std::chrono::milliseconds>> retention{};  ///< inner nullopt: null
};
struct create_tenant_body {
  std::string name;
  std::string config;  ///< JSON object text; `{}` when not given
};

struct update_tenant_body {  ///< what is not given stays; at least one is
  std::optional<std::string> name{};
  std::optional<std::string> config{};  ///< the whole of it, JSON object text
  std::optional<bool> disabled{};
};
/// What is to be told to an endpoint again: the events of a time, or what was given up.
struct replay_body {
  std::optional<utc_time> since{};  ///< given, unless `dead_letters`
  std::optional<utc_time> until{};  ///< after `since`; nullopt: up to now
  bool dead_letters = false;
};
/// `POST /notify`. The room need not exist.
struct notify_body {
  std::string topic;
  json_text payload;
  std::vector<user_id> users;  ///< each once
  std::optional<room_id> room;
  bool topic_subscribers = false;
  std::chrono::seconds ttl{};
};
/// One item of `POST /messages/batch`: what its own body would be, and its room; or what is wrong with it.
struct batch_item {
  room_id room{};
  send_body send{};
  std::optional<error> failure{};
};

/// Why this is no notification's topic: 1 to `max_topic` bytes of UTF-8 without control characters.
[[nodiscard]] std::optional<error> wrong_topic(std::string_view topic, const node_limits& bounds);

class rest_body_parser {
 public:
  explicit rest_body_parser(const node_limits& bounds);
  ~rest_body_parser();

  /// All: the body is one JSON object, UTF-8, no duplicate keys, depth in bounds, else VALIDATION_ERROR; unknown fields
  /// ignored; a known field of a wrong type or size is VALIDATION_ERROR with `field`.
  result<create_room_body> create_room(std::string_view body);
  result<send_body> send(std::string_view body);
  /// `PATCH …/messages/{id}`: room and message are not set, they are in the path. `meta` null empties it, as in frames.
  result<edit_message_frame> edit(std::string_view body);
  /// `DELETE …/messages/{id}` with a body: its `client_msg_id`, empty: none.
  result<std::string> remove(std::string_view body);
  result<update_room_body> update_room(std::string_view body);
  result<member_role> update_member(std::string_view body);
  result<add_members_body> add_members(std::string_view body);
  /// `POST /acks`, `POST /reads`: `{room_id, seq}`.
  result<std::pair<room_id, room_seq>> cursor(std::string_view body);
  /// Tenant config: an unknown key is 400 (SPEC 4 «Tenant config»).
  result<create_tenant_body> create_tenant(std::string_view body);
  result<update_tenant_body> update_tenant(std::string_view body);
  /// `POST /admin/tenants/{id}/keys`: `api_key`, `jwt_secret` or `webhook_secret`.
  result<std::string> key_kind(std::string_view body);
  /// `POST /users/{id}/disconnect`: `revoke_before`, RFC 3339; nullopt: not given.
  result<std::optional<utc_time>> disconnect(std::string_view body);
  /// `POST /admin/tenants/{id}/webhook/replay`: `since` (with or without `until`), or `dead_letters`.
  result<replay_body> replay(std::string_view body);
  /// `POST /notify`: at least one kind of target; what is no room's id is the nil one, which no room has.
  result<notify_body> notify(std::string_view body);
  /// `POST /messages/batch`: an item that is wrong fails alone; more than limits::batch_max_items: all of it.
  result<std::vector<batch_item>> batch(std::string_view body);

 private:
  batch_item batch_item_of(std::string_view body);

  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace parley
