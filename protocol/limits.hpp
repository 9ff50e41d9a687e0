#pragma once
/// Every bound of the node that is not configuration: unit in the name, reason in the comment.
/// Configurable bounds (SPEC 4) live in `node_limits` with their defaults.

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace parley {

/// SPEC 4 «Bounds», with their defaults; 0 means none where SPEC says so. Read-only after the start.
struct node_limits {
  std::size_t max_content = 16 * 1024;
  std::size_t max_meta = 4 * 1024;
  std::size_t max_name = 256;
  std::size_t max_topic = 128;
  std::size_t max_payload = 16 * 1024;
  std::size_t max_body = 1024 * 1024;
  std::size_t max_batch_body = 16 * 1024 * 1024;
  std::size_t max_header = 16 * 1024;
  std::size_t max_json_depth = 32;
  std::size_t ws_max_frame = 128 * 1024;
  std::size_t ws_send_buffer = 256 * 1024;
  std::size_t ws_send_buffer_total = 256 * 1024 * 1024;
  std::size_t http_body_total = 256 * 1024 * 1024;
  std::uint32_t sync_max_events = 1000;
  std::uint32_t max_connections_per_user = 5;
  std::uint32_t max_rooms_per_user = 5000;
  std::uint32_t max_room_members = 100000;
  std::uint32_t max_subscriptions = 5000;
  std::uint32_t max_notification_targets = 10000;
  std::uint32_t max_topics_per_user = 1000;
  std::uint32_t ws_max_connections = 0;  ///< 0: what the descriptors allow
  std::chrono::milliseconds max_commit_queue{2000};
  std::chrono::milliseconds request_timeout{10000};
  std::chrono::milliseconds ws_ping_interval{30000};
  std::chrono::milliseconds ws_stall_timeout{30000};
  std::chrono::milliseconds idempotency_ttl{std::chrono::hours{24}};
};

namespace limits {
inline constexpr std::size_t user_id_max_bytes = 128;        // SPEC 1
inline constexpr std::size_t request_id_max_bytes = 128;     // SPEC 2.5
inline constexpr std::size_t client_msg_id_max_bytes = 128;  // SPEC 2.4
inline constexpr std::size_t device_id_max_bytes = 64;       // SPEC 5
inline constexpr std::size_t entry_max_users = 100;          // SPEC 1: ids a membership entry
inline constexpr std::size_t members_max_per_call = 1000;    // SPEC 4
inline constexpr std::size_t batch_max_items = 1000;         // SPEC 4: POST /messages/batch
inline constexpr std::size_t page_max_entries = 1000;        // SPEC 4: messages, events
inline constexpr std::size_t cursor_rooms_max =
    500;  // rooms an `ack` or `read`: each is answered, and all answers fit a connection's outbound bound
inline constexpr std::size_t export_max_bytes =
    16 * 1024 * 1024;  // of a user's export in one answer; it goes on at its cursor
inline constexpr std::size_t list_default = 50;            // SPEC 4
inline constexpr std::size_t list_max = 100;               // SPEC 4
inline constexpr std::size_t sync_start_max_rooms = 1000;  // SPEC 5: rooms a `sync.start`
inline constexpr std::size_t page_max_bytes =
    64 * 1024;  // DESIGN 11: one slice of a sync, keeps readers fair
inline constexpr std::size_t room_members_in_memory = 1000;  // DESIGN 2: beyond, looked up by key
inline constexpr std::size_t room_keys_in_memory = 4096;     // DESIGN I5: beyond, looked up by key
inline constexpr std::size_t room_pending_max_entries =
    4096;  // appended and not yet answered; beyond: UNAVAILABLE
inline constexpr std::size_t room_waiting_max_commands =
    1024;  // held while loading or looking up; beyond: UNAVAILABLE
inline constexpr std::chrono::milliseconds big_room_join_interval{
    100};  // DESIGN 11: each commit of joins is told to everybody in the room
inline constexpr std::size_t publish_log_entries =
    65536;  // DESIGN 3.6: publishes kept to replay on a room list
inline constexpr std::size_t publish_log_max_bytes =
    16 * 1024 *
    1024;  // what their memberships take, a gateway; beyond, the oldest publishes are forgotten
inline constexpr std::size_t ring_total_bytes =
    64 * 1024 * 1024;  // DESIGN 1: recent frames, all rooms of the node
inline constexpr std::size_t ring_room_max_bytes = 1024 * 1024;  // one room can't push out all others
inline constexpr std::size_t ring_rewrites_max =
    16;  // edits of one message that a further one encodes anew; older frames leave the ring
inline constexpr std::size_t page_rewrites_max =
    1024;  // rewritten messages of a room remembered while its pages are read; older pages are asked again
inline constexpr std::size_t page_rewrites_max_bytes =
    256 * 1024;  // … and what they show, the newest in any case; the others cut a page that has them
inline constexpr std::size_t commit_max_rows = 4096;  // DESIGN 3.3: rows a group commit
inline constexpr std::size_t commit_max_bytes =
    4 * 1024 * 1024;  // what waits for it waits for some ms more than with small messages
inline constexpr std::size_t commit_lower_share =
    16;  // of its rows, one in so many is the next lower class's, if that waits
inline constexpr std::size_t commit_turn_bytes =
    32 * 1024;  // DESIGN 3.3: of one tenant before the next one's turn; two of the largest messages
inline constexpr std::size_t export_page_max_rows = 1000;  // of one user, read at once
inline constexpr std::size_t presence_max_users = 100;     // SPEC 4: of one GET /presence
inline constexpr std::size_t presence_max_rooms =
    5000;  // read for one change, dms first; of who asks for presence, the newest
inline constexpr std::int64_t usage_count_max =
    10000;  // rooms and users of a tenant that /admin/stats counts; a page of 100 tenants stays some ms
inline constexpr std::size_t receipts_max =
    16384;  // that wait in one gateway; beyond: dropped, the next says it all
inline constexpr std::size_t admin_connections_max =
    64;  // of `admin_listen`: scrapers, probes, the CLI
inline constexpr std::size_t admin_body_total_bytes = 4 * 1024 * 1024;
inline constexpr std::size_t notify_users_max = 1000;  // ids in one POST /notify
inline constexpr std::chrono::seconds notification_ttl_max{
    365 * 24 * 3600};  // `ttl_s`; the default is SPEC 6's
inline constexpr std::chrono::seconds notification_ttl_default{7 * 24 * 3600};
inline constexpr std::size_t notifications_page =
    64;  // on their way to one connection; the next follow its acks
inline constexpr std::size_t dead_letters_default = 50;
inline constexpr std::size_t dead_letters_page_max = 1000;  // SPEC 4
inline constexpr std::size_t dead_letters_max = 100000;  // kept a tenant; beyond: the oldest goes
inline constexpr std::size_t dead_letter_recipients_max = 1000;  // noted of one that was for many
inline constexpr std::size_t webhook_url_max_bytes = 2048;
inline constexpr std::size_t admission_max_rows = 65536;  // messages on their way through the node
inline constexpr std::size_t admission_max_bytes = 128 * 1024 * 1024;
}  // namespace limits

}  // namespace parley
