#include "net/refusals.hpp"

#include <algorithm>
#include <array>

namespace parley::net {
namespace {

constexpr std::array<std::string_view, refusals> names{"ws_frame_rate",
                                                       "default_rate_limit",
                                                       "default_message_rate",
                                                       "user_send_rate",
                                                       "ws_connect_rate",
                                                       "auth_failure_rate",
                                                       "max_connections_per_user",
                                                       "max_connections_per_tenant",
                                                       "max_connections_per_address",
                                                       "ws_max_unauthenticated",
                                                       "max_commit_queue",
                                                       "admission_node",
                                                       "admission_tenant",
                                                       "reader_queue",
                                                       "max_content",
                                                       "max_meta",
                                                       "max_name",
                                                       "max_json_depth",
                                                       "max_subscriptions",
                                                       "max_rooms_per_user",
                                                       "max_rooms_per_tenant",
                                                       "max_room_members",
                                                       "max_topic",
                                                       "max_payload",
                                                       "max_notification_targets",
                                                       "max_topics_per_user"};
static_assert(!names.back().empty());  // one for each

}  // namespace

std::string_view name_of(refused_by limit) { return names[static_cast<std::size_t>(limit)]; }

std::optional<refused_by> refusal_named(std::string_view name) {
  const auto* const it = std::ranges::find(names, name);
  if (it == names.end()) return std::nullopt;
  return static_cast<refused_by>(it - names.begin());
}

}  // namespace parley::net
