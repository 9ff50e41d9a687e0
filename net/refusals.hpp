#pragma once
/// The rates and bounds that turn somebody away, by name: what refuses says which it was, and the gateway counts it.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace parley::net {

enum class refused_by : std::uint8_t {
  ws_frame_rate,
  default_rate_limit,
  default_message_rate,
  user_send_rate,
  ws_connect_rate,
  auth_failure_rate,
  max_connections_per_user,
  max_connections_per_tenant,
  max_connections_per_address,
  ws_max_unauthenticated,
  max_commit_queue,
  admission_node,
  admission_tenant,
  reader_queue,
  max_content,
  max_meta,
  max_name,
  max_json_depth,
  max_subscriptions,
  max_rooms_per_user,
  max_rooms_per_tenant,
  max_room_members,
  max_topic,
  max_payload,
  max_notification_targets,
  max_topics_per_user,
};
inline constexpr std::size_t refusals = static_cast<std::size_t>(refused_by::max_topics_per_user) + 1;
/// The configuration key's name where there is one.
[[nodiscard]] std::string_view name_of(refused_by limit);
/// The other way round (error::limit); nullopt: none of them.
[[nodiscard]] std::optional<refused_by> refusal_named(std::string_view name);

}  // namespace parley::net
