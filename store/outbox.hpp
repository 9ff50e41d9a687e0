#pragma once
/// What leaves the node later, on disk (SPEC 6): events for webhooks, notifications, and what could not be delivered.
///
/// Events are readers of the log: a scan, read-only, says which outbox rows the entries behind a position make; the writer
/// stores them and moves the position in one transaction, if it still stands where the scan began. What is not in the log
/// (a room made or deleted, a notification that failed) gets its row from the writer, with its cause. A row names its entry;
/// its body is made from the log when it is sent: what was edited, deleted or erased meanwhile is told as it is now.
///
/// A lane is what is delivered in order: one room's events at one endpoint, or one user's. In a lane rows go by (place, no).
///
/// Owner      as in store.hpp: `outbox_writer` is the writer's other face, inside its transactions; `outbox_reader` a reader's.

#include "protocol/entry.hpp"
#include "protocol/hash.hpp"
#include "protocol/ids.hpp"
#include "protocol/result.hpp"
#include "protocol/seams.hpp"
#include "protocol/strong.hpp"
#include "protocol/uuid.hpp"
#include "protocol/webhook_event.hpp"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parley::store {

using outbox_no = strong_int<struct outbox_no_tag>;  ///< row of the outbox; never reused
using lane_no =
    strong_int<struct lane_no_tag>;  ///< a room's number; below 0: a user's, by hash; 0: the tenant's own
inline constexpr lane_no before_all_lanes{std::numeric_limits<std::int64_t>::min()};
using notification_no =
    strong_int<struct notification_no_tag>;  ///< in the order of their commits; never reused

// ---------------------------------------------------------------------------------------------------------------
// Endpoints: one a tenant, made and changed with its `webhook_url`, `webhook_events`, `webhook_format`

struct endpoint_row {
  tenant_no tenant;
  tenant_id id;
  std::string url;
  event_mask events = 0;  ///< message.offline is always among them
  webhook_format format = webhook_format::parley;
  log_id since;                ///< entries up to here are not for it
  std::int64_t queued = 0;     ///< rows that wait
  std::int64_t delivered = 0;  ///< since it was made; `given_up` likewise
  std::int64_t given_up = 0;
  std::int64_t dropped = 0;  ///< not taken, since the queue was full: nothing is silent about it
  bool disabled =
      false;  ///< it answered 410: nothing is collected and nothing sent until `webhook_url` is set anew
  std::string why;                      ///< it is disabled
  std::optional<utc_time> oldest_at{};  ///< of what waits
  std::optional<utc_time> last_success_at{};
  std::optional<utc_time> last_failure_at{};
  std::string last_error;
  log_id replay_from{};  ///< a replay goes on behind this …
  log_id replay_to{};    ///< … up to this; 0: none is under way
};
struct endpoint_list {
  std::vector<endpoint_row> endpoints;  ///< in the order of their tenants
  std::string next_cursor;
};

// ---------------------------------------------------------------------------------------------------------------
// Scans and rows

/// Who reads the log for the outbox. Stored by name.
enum class log_reader : std::uint8_t { events, offline };

/// What a scan wants to have stored.
struct outbox_row {
  tenant_no tenant;
  lane_no lane;
  event_type type = event_type::webhook_test;
  log_id log{};                        ///< its entry; 0: none, `data` says it all
  std::optional<user_no> recipient{};  ///< of message.offline in a room that is not big
  std::string data{};                  ///< a JSON object
  utc_time at{};                       ///< of what it tells of
};
struct scanned {
  log_id to;  ///< everything up to here was looked at
  std::vector<outbox_row> rows;
  bool more = false;  ///< there is more in the log behind `to` that could be looked at now
};
struct log_positions {
  log_id events;
  log_id offline;
  log_id last;             ///< of the log
  bool endpoints = false;  ///< there is one at all; without any nobody moves the positions
};

/// What became of a row that was sent.
struct outbox_outcome {
  enum class kind : std::uint8_t {
    delivered,
    obsolete,  ///< nothing to tell any more: acked or deleted meanwhile
    failed,    ///< to be tried again at `next_at`
    given_up,  ///< a dead letter
  };
  tenant_no tenant;
  outbox_no no;
  kind what = kind::delivered;
  std::uint32_t attempts = 0;  ///< so far, this one too
  utc_time at{};               ///< of the attempt
  utc_time next_at{};
  std::string error{};  ///< in the node's own words
};
/// All of it is stored, or none. A position that does not stand at `from` any more: item CONFLICT, and nothing is stored.
struct outbox_batch {
  struct advance {
    log_reader reader = log_reader::events;
    log_id from;
    log_id to;
  };
  struct replayed {
    tenant_no tenant;
    log_id from;
    log_id to;
  };
  std::optional<advance> position{};
  std::optional<replayed> replay{};
  std::vector<outbox_row> rows;
  std::vector<outbox_outcome> outcomes;
  /// This endpoint is not to be used any more, if this is its URL still.
  struct disable {
    tenant_no tenant;
    std::string url;
    std::string why;
    utc_time at{};
  };
  std::optional<disable> disabled{};
};

/// A row on its way out, with its body.
struct outbox_item {
  outbox_no no;
  lane_no lane;
  log_id place;  ///< rows of a lane go by (place, no)
  event_type type = event_type::webhook_test;
  std::string event_id;  ///< constant over retries: the same event of the same cause has the same one
  std::uint32_t attempts = 0;
  utc_time at{};          ///< of what it tells of
  utc_time next_at{};     ///< not before
  bool obsolete = false;  ///< there is nothing to tell any more
  webhook_event event;
  // of message.offline in a big room:
  std::optional<room_no> list_room{};  ///< whose members that have not acked `list_seq` are the recipients
  room_seq list_seq{};
  user_id list_sender{};  ///< who is none of them
};
struct outbox_page {
  std::vector<outbox_item> items;     ///< by lane, in order; each lane from its first row on
  lane_no after;                      ///< the last lane that was looked at
  bool end = false;                   ///< there is no lane behind it
  std::optional<utc_time> next_at{};  ///< of the lanes whose first row is not due: the earliest
};

/// Members of a room with what each has acked, for recipients of big rooms.
struct acked_member {
  user_id user;
  room_seq joined_seq;
  room_seq last_ack;
};
struct acked_members {
  std::vector<acked_member> members;
  std::optional<user_no> next;  ///< to go on after; nullopt: these were the last
};

// ---------------------------------------------------------------------------------------------------------------
// Notifications

struct new_notification {
  tenant_no tenant;
  uuid id;
  std::string topic;
  json_text payload;
  std::vector<user_id> users;
  std::optional<room_id> room{};
  bool topic_subscribers = false;
  utc_time created_at{};
  utc_time expires_at{};
  std::size_t max_targets = 0;  ///< users and subscribers; over it: CONFLICT field `targets`
  struct call_key {             ///< of the tenant's backend
    hash128 key;
    hash128 body;
  };
  std::optional<call_key> key{};
};
struct created_notification {
  notification_no no;
  uuid id;
  std::string topic;
  utc_time created_at{};
  std::int64_t targets = 0;    ///< users, each once
  std::vector<user_id> users;  ///< named and subscribed ones who are not in the room
  std::optional<room_id> room{};
  bool replayed = false;  ///< the key was used before: `users` is empty, nothing is to be shown
};
struct shown_notification {
  notification_no no;
  uuid id;
  std::string topic;
  json_text payload;
  utc_time created_at{};
};
struct pending_notifications {
  std::vector<shown_notification> items;  ///< ascending
  notification_no to;                     ///< everything of this user up to here was looked at
  bool more = false;
};

// ---------------------------------------------------------------------------------------------------------------
// Dead letters

enum class dead_kind : std::uint8_t { message = 1, webhook = 2, notification = 3 };

struct dead_letter {
  std::string id;
  dead_kind kind = dead_kind::webhook;
  event_type type = event_type::webhook_test;  ///< of a message or webhook
  std::string event_id;                        ///< likewise
  std::optional<room_id> room{};
  std::optional<message_id> message{};
  std::optional<room_seq> seq{};
  std::optional<user_id> user{};    ///< of one for a single user
  std::vector<user_id> recipients;  ///< of one for many: as far as they were noted
  std::string notification_id;
  std::string topic;
  std::uint32_t attempts = 0;
  std::optional<utc_time> last_attempt_at{};
  std::string error;
  utc_time created_at{};
};
struct dead_letter_list {
  std::vector<dead_letter> letters;  ///< newest first
  std::string next_cursor;
};

// ---------------------------------------------------------------------------------------------------------------

class outbox_writer;  // store.hpp

/// One read-only connection; every call is one short read transaction.
class outbox_reader {
 public:
  outbox_reader() = default;
  outbox_reader(const outbox_reader&) = delete;
  outbox_reader& operator=(const outbox_reader&) = delete;
  virtual ~outbox_reader() = default;

  virtual result<endpoint_list> endpoints(std::size_t limit, std::string_view cursor) = 0;
  virtual result<std::optional<endpoint_row>> endpoint(tenant_no tenant) = 0;
  virtual result<log_positions> positions() = 0;
  /// Entries behind `after` for whoever wants them, as the endpoints are in this snapshot.
  /// `max_entries`, here and below: rows that it makes; how far it looks is bounded in time.
  virtual result<scanned> scan_events(log_id after, std::size_t max_entries) = 0;
  /// Messages behind `after` that were committed before `due_before`, but none behind the events' position: a row for each
  /// member who has not acked, or one for all of a room over `max_members`.
  virtual result<scanned> scan_offline(log_id after, utc_time due_before, std::int64_t max_members,
                                       std::size_t max_entries) = 0;
  /// The events of one tenant's entries in (after, to], for a replay.
  virtual result<scanned> scan_tenant(tenant_no tenant, log_id after, log_id to,
                                      std::size_t max_entries) = 0;
  /// The last entry that was committed before `t`; 0: none.
  virtual result<log_id> last_before(utc_time t) = 0;
  /// The first rows of lanes behind `after` (at first before_all_lanes), where the first one is due at `now`: at most `per_lane` of each, of at most
  /// `max_lanes`, about `max_bytes` of bodies.
  virtual result<outbox_page> outbox(tenant_no tenant, lane_no after, utc_time now,
                                     std::size_t max_lanes, std::size_t per_lane,
                                     std::size_t max_bytes) = 0;
  virtual result<store::acked_members> acked_members(room_no room, user_no after,
                                                     std::size_t limit) = 0;

  virtual result<pending_notifications> notifications(tenant_no tenant, const user_id& user,
                                                      notification_no after, utc_time now,
                                                      std::size_t max_items,
                                                      std::size_t max_bytes) = 0;
  virtual result<std::vector<std::string>> topics(tenant_no tenant, const user_id& user) = 0;
  virtual result<dead_letter_list> dead_letters(tenant_no tenant, std::size_t limit,
                                                std::string_view cursor) = 0;
};

}  // namespace parley::store
