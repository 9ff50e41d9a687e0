#pragma once
/// Who sends what to whom. Plain values, immutable once sent, shared by pointer: the shells hand them to CAF, the
/// simulation to its own bus. Nothing here knows CAF.
///
///   gateway   → directory   room_command, attach, detach, move_cursors, set_presence, type_in_room
///                           (forwarded to the one owner, in order)
///   directory → room        room_command, retire            room    → directory  room_retired, room_absent
///   directory → session     attach, detach, move_cursors, set_presence, type_in_room
///   session   → directory   session_idle
///   room      → storage     open_room, append, delete_room, close_room
///   storage   → room        opened, committed, lost, deleted, room_rewritten
///   gateway   → storage     create_room, create_tenant, change_tenant, key_used
///   storage   → gateway     created, tenant_created, tenant_changed; each: user_revoked, room_rewritten
///   storage   → directory   tenant_changed, room_command    tenant  → gateways   tenant_updated (each)
///   session   → storage     store_cursors, store_last_seen  storage → session    cursors_stored
///   room      → gateways    replies (one), publish (each)   storage → gateways   publish (a room's creation)
///   session   → gateways    attached, receipt, session_done, close_connection (one); presence_shown, typing_shown (each)
///   storage   → gateways    cursors_shown (each)
///   gateway   → storage     create_notification, ack_notifications, notifications_written
///   storage   → gateways    notification_created (one), notification_shown (each)
///   storage   → outbox      outbox_applied, outbox_news, tenant_changed     outbox  → storage    apply_outbox
///   gateway   → outbox      webhook_call                    outbox  → gateway    webhook_called
///   session   → outbox      user_presence
///   any       → readers     read_request                    readers → asker      read_answer

#include "actors/admission.hpp"
#include "actors/tenant_config.hpp"
#include "actors/tenant_meters.hpp"
#include "protocol/entry.hpp"
#include "protocol/errors.hpp"
#include "protocol/hash.hpp"
#include "protocol/ids.hpp"
#include "protocol/limits.hpp"
#include "protocol/server_frame.hpp"
#include "protocol/strong.hpp"
#include "protocol/wire_frame.hpp"
#include "store/store.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace parley::actors {

using gateway_no = strong_int<struct gateway_no_tag, std::uint32_t>;  ///< 0, 1, … one per I/O thread
using call_no = strong_int<struct call_no_tag, std::uint64_t>;  ///< correlation id, unique per asker
using connection_ref =
    strong_int<struct connection_ref_tag, std::uint64_t>;  ///< a connection of one gateway
using instance_no =
    strong_int<struct instance_no_tag, std::uint64_t>;  ///< one life of a room or session actor
using generation =
    strong_int<struct generation_tag, std::uint64_t>;  ///< one opening of a room's log for appending (I13)
using entry_no =
    strong_int<struct entry_no_tag, std::uint64_t>;  ///< an append of one generation: 1, 2, 3, …

/// Where an answer goes.
struct reply_to {
  gateway_no gateway;
  call_no call;
};

// ---- commands for a room ---------------------------------------------------------------------------------------

/// Who acts: a user, or the tenant's backend (no user).
struct caller {
  std::optional<user_id> user;
  [[nodiscard]] bool is_backend() const { return !user.has_value(); }
};

struct send_command {
  user_id sender;  ///< the caller, or whom the backend names
  std::string content;
  json_text meta;
  std::string client_msg_id;   ///< empty: none
  std::optional<hash128> key;  ///< of client_msg_id or Idempotency-Key
  hash128 body;                ///< of content, canonical meta and reply_to (SPEC 2.4)
  std::optional<message_id> reply_to;
};
struct edit_message_command {
  message_id message;
  std::string content;
  std::optional<json_text> meta{};  ///< nullopt: it stays
  std::optional<hash128> key{};
  hash128 body{};  ///< of all of it
};
struct delete_message_command {
  message_id message;
  std::optional<hash128> key{};
  hash128 body{};
};
struct add_members_command {
  std::vector<user_id> users;
  member_role role = member_role::member;
};
struct remove_member_command {
  user_id user;
  bool erased = false;  ///< all that is kept of this user goes; nobody waits for an answer
};
struct update_member_command {
  user_id user;
  member_role role = member_role::member;  ///< owner: the room is handed over
};
struct update_room_command {  ///< what is not given stays
  std::optional<std::optional<std::string>> name{};
  std::optional<json_text> metadata{};
  std::optional<posting_policy> posting{};
};
struct join_command {};
struct leave_command {};
struct delete_room_command {};

struct room_command {
  room_key room;
  reply_to to;
  caller who;
  std::variant<send_command, add_members_command, remove_member_command, join_command,
               leave_command, delete_room_command, edit_message_command, delete_message_command,
               update_member_command, update_room_command>
      what;
  credit_ptr credit{};  ///< given back when the last who holds it lets go (DESIGN 3.1)

  /// A send, edit or delete of a message: an error to it says what is stored (SPEC 2.5).
  [[nodiscard]] bool is_send() const {
    return std::holds_alternative<send_command>(what) ||
           std::holds_alternative<edit_message_command>(what) ||
           std::holds_alternative<delete_message_command>(what);
  }
};
using room_command_ptr = std::shared_ptr<const room_command>;

// ---- what became of a command -----------------------------------------------------------------------------------

struct send_result {
  room_no no;
  accepted_info accepted;  ///< of an edit or delete that changed nothing: the message's own seq
  std::optional<user_id> actor{};
  std::shared_ptr<const entry> message{};  ///< an edit's or delete's: as it is after it
};
struct members_result {
  std::vector<store::member_row> added;
  std::int64_t member_count = 0;  ///< after it
};
struct room_result {  ///< join: the room as the caller sees it now
  room_info info;
  std::optional<member_role> role;
};
struct done_result {};

using room_outcome = std::variant<error, send_result, members_result, room_result, done_result>;
struct reply {
  call_no call;
  room_outcome outcome;
};
/// One gateway's answers of one step, in order.
struct replies {
  std::vector<reply> items;
};
using replies_ptr = std::shared_ptr<const replies>;

// ---- delivery ---------------------------------------------------------------------------------------------------

/// A membership entry's meaning for one user, applied by each gateway in stream order (DESIGN 3.5).
struct member_change {
  user_id user;
  room_seq seq;  ///< of the entry; 0: the room's creation
  bool joined = true;
  std::shared_ptr<const std::string> room_json{};  ///< joined: the room as this user sees it
};
/// An edit or a delete changes what earlier entries show: its message, and the edits of it before (SPEC 1).
struct rewrite {
  std::shared_ptr<const entry> message;  ///< as this commit has left it
  frame_ptr frame;                       ///< the same, encoded
};
/// Committed entries of a room, dense from first_seq; or its creation (no frames, seq 0); or its end (first_seq 1 if nobody
/// knows where its log ended); or, when it was
/// opened, only where its log stands (no frames, no members): a reader that was not given all before first_seq has
/// missed the publishes of an instance that died.
struct publish {
  room_key room;
  room_no no;
  instance_no instance;  ///< whose publishes continue each other
  room_seq first_seq;
  std::vector<frame_ptr> frames;
  std::vector<member_change> members;  ///< ascending seq
  std::vector<rewrite> rewrites{};     ///< one a message; the frames here show its end already
  std::vector<std::shared_ptr<const entry>> edits{};  ///< those of the frames, without their texts
  commit_no commit;
  bool gone = false;                ///< the room was deleted; its log ends at first_seq − 1
  std::vector<credit_ptr> credits;  ///< of the sends in it; released when the last gateway is done

  [[nodiscard]] room_seq last_seq() const {
    return room_seq{first_seq.value + static_cast<std::int64_t>(frames.size()) - 1};
  }
};
using publish_ptr = std::shared_ptr<const publish>;

// ---- room ↔ storage -----------------------------------------------------------------------------------------------

struct open_room {
  room_key room;
  instance_no instance;
};
using open_room_ptr = std::shared_ptr<const open_room>;
struct opened {
  instance_no instance;
  generation gen;
  std::optional<store::opened_room> room;  ///< nullopt: absent
  std::optional<error> failure{};          ///< could not be read
};
using opened_ptr = std::shared_ptr<const opened>;
struct append {
  instance_no instance;
  generation gen;
  entry_no no;  ///< of the last of its rows
  store::append_row row;
  std::vector<store::append_row> also{};  ///< what follows it: all of it is stored, in one commit, or none
};
using append_ptr = std::shared_ptr<const append>;
struct delete_room {
  instance_no instance;
  generation gen;
  tenant_no tenant;
  room_no room;
  utc_time at;
};
using delete_room_ptr = std::shared_ptr<const delete_room>;
/// The room retired; its generation appends no more.
struct close_room {
  instance_no instance;
  generation gen;
  room_no room;
};
/// All appends of this generation up to `up_to` are durable.
struct committed {
  instance_no instance;
  generation gen;
  entry_no up_to;
  commit_no commit;
};
/// Everything of this generation that was not reported committed is certainly not in the log, and never will be.
struct lost {
  instance_no instance;
  generation gen;
  error why;
};
using lost_ptr = std::shared_ptr<const lost>;
struct deleted {
  instance_no instance;
  generation gen;
  room_seq last_seq;
  commit_no commit;
};

// ---- gateway ↔ storage --------------------------------------------------------------------------------------------

struct create_room {
  reply_to to;
  store::new_room room;
};
using create_room_ptr = std::shared_ptr<const create_room>;
struct created {
  call_no call;
  std::variant<error, store::created_room> outcome;
};
using created_ptr = std::shared_ptr<const created>;
struct create_tenant {
  reply_to to;
  store::new_tenant tenant;
};
using create_tenant_ptr = std::shared_ptr<const create_tenant>;
struct tenant_created {
  call_no call;
  std::variant<error, tenant_no> outcome;
};
using tenant_created_ptr = std::shared_ptr<const tenant_created>;

// ---- tenants ------------------------------------------------------------------------------------------------------

/// What a gateway must know of a tenant to judge a request without asking; immutable, replaced as a whole.
struct tenant_snapshot {
  struct api_key {
    key_id id;
    sha256_digest digest{};
  };
  struct jwt_key {
    key_id id;
    std::string secret;  ///< never shown, never logged
  };
  tenant_no no;
  tenant_id id;
  std::string name;
  bool disabled = false;      ///< or deleted: no credential of it is good
  std::int64_t revision = 0;  ///< a greater one is newer
  tenant_config config{};
  std::vector<api_key> api_keys{};
  std::vector<jwt_key> jwt_keys{};
  std::shared_ptr<admission> budget{};      ///< this tenant's share of the node's admission credit
  std::shared_ptr<tenant_meters> meters{};  ///< the same in all snapshots of a tenant
};
using tenant_snapshot_ptr = std::shared_ptr<const tenant_snapshot>;
/// By what a credential names its tenant: the digest of an API key as sent, or a JWT's `tid` or `kid`.
using tenant_name = std::variant<sha256_digest, tenant_id, key_id>;
struct authenticate {
  reply_to to;
  tenant_name by;
};
using authenticate_ptr = std::shared_ptr<const authenticate>;
/// `request` nullptr: nobody asked, it has changed.
struct tenant_loaded {
  authenticate_ptr request;
  store::tenant_row row;
};
using tenant_loaded_ptr = std::shared_ptr<const tenant_loaded>;
/// The tenant of that name, as it is now; nullptr: nobody's name. Whether the credential is good is the gateway's to say.
struct authenticated {
  call_no call;
  tenant_snapshot_ptr tenant;
  std::optional<error> failure{};  ///< could not be read
};
using authenticated_ptr = std::shared_ptr<const authenticated>;
/// To each gateway, after the commit: connections of a tenant, key or user that is not good any more are to be closed.
struct tenant_updated {
  tenant_snapshot_ptr tenant;
};
struct user_revoked {
  user_key user;
  utc_time before;
};
using user_revoked_ptr = std::shared_ptr<const user_revoked>;
/// To each gateway: this user's connections are to be closed; of those made with a credential that was issued at or after
/// `before`, none. The last gateway tells `to` how many there were.
struct disconnect_user {
  user_key user;
  std::optional<utc_time> before{};
  reply_to to;
  std::shared_ptr<std::atomic<std::size_t>> waiting;  ///< gateways
  std::shared_ptr<std::atomic<std::size_t>> closed;
};
using disconnect_user_ptr = std::shared_ptr<const disconnect_user>;
struct disconnected {
  call_no call;
  std::size_t closed = 0;
};
struct change_tenant {
  reply_to to;
  store::tenant_change change;
  tenant_no tenant{};  ///< behind what this tenant has queued; 0: not known, in no order with it
};
using change_tenant_ptr = std::shared_ptr<const change_tenant>;
/// To who asked; and, if it was done, to the directory, which tells the tenant's owner.
struct tenant_changed {
  call_no call;
  std::variant<error, store::tenant_row> outcome;
};
using tenant_changed_ptr = std::shared_ptr<const tenant_changed>;
/// An API key was used. Not answered; once a minute and key is enough.
struct key_used {
  tenant_no tenant;
  key_id key;
  utc_time at;
};
using key_used_ptr = std::shared_ptr<const key_used>;
/// Messages of this room read otherwise in every snapshot from this commit on: what was read before is stale, and there is
/// no log entry that says so (an erasure). To each gateway, after the commit; of retention to the room, too.
struct room_rewritten {
  room_key room;
  room_no no;
  commit_no commit;
  room_seq first_seq{};  ///< not 0: retention has removed what is before it, and nothing else is new
};

// ---- sessions -----------------------------------------------------------------------------------------------------

struct attach {
  user_key user;
  gateway_no gateway;
  connection_ref connection;
  std::uint32_t max_connections = 0;  ///< of this user; 0: none
  std::string device{};  ///< `device_id`: replaces the user's connection of the same; empty: none
};
using attach_ptr = std::shared_ptr<const attach>;
struct detach {
  user_key user;
  gateway_no gateway;
  connection_ref connection;
};
using detach_ptr = std::shared_ptr<const detach>;
/// The session has (or refuses) the connection: only then it gets `hello`.
struct attached {
  connection_ref connection;
  close_code refused = close_code::none;
};
/// `ack` and `read`, WebSocket or REST. An offline user's go straight to storage: `max` commutes (DESIGN 11).
struct move_cursors {
  user_key user;
  reply_to to;
  std::optional<connection_ref> connection;  ///< whose own receipt is its reply; others of the user get one too
  bool read = false;
  std::vector<std::pair<room_id, room_seq>> rooms;
};
using move_cursors_ptr = std::shared_ptr<const move_cursors>;
struct store_cursors {
  std::optional<instance_no> session;  ///< nullopt: the answer goes to the gateway of `moves`
  move_cursors_ptr moves;
};
using store_cursors_ptr = std::shared_ptr<const store_cursors>;
struct cursor_outcome {
  room_id room;
  std::variant<error, store::cursor_state> outcome;
};
/// Committed (I14); one outcome a room, as asked.
struct cursors_stored {
  move_cursors_ptr moves;
  std::vector<cursor_outcome> rooms;
};
using cursors_stored_ptr = std::shared_ptr<const cursors_stored>;
/// A receipt for one connection of the user.
struct receipt {
  connection_ref connection;
  user_id user;
  bool read = false;
  std::vector<std::pair<room_id, room_seq>> rooms;
};
using receipt_ptr = std::shared_ptr<const receipt>;

// ---- what is shown and not kept (docs/adr/0008) -----------------------------------------------------------------

enum class presence_status : std::uint8_t { offline, online, away };
[[nodiscard]] constexpr std::string_view to_text(presence_status s) {
  if (s == presence_status::online) return "online";
  return s == presence_status::away ? "away" : "offline";
}

/// `presence.set` of one connection; answered by session_done.
struct set_presence {
  user_key user;
  reply_to to;
  connection_ref connection;
  bool away = false;
};
using set_presence_ptr = std::shared_ptr<const set_presence>;
/// `typing.start`, `typing.stop`, answered by session_done; or `sent`: a message ended it, answered by nothing.
struct type_in_room {
  enum class action : std::uint8_t { start, stop, sent };
  user_key user;
  reply_to to;
  connection_ref connection;
  room_id room;
  action what = action::start;
};
using type_in_room_ptr = std::shared_ptr<const type_in_room>;
/// The one answer to set_presence and type_in_room.
struct session_done {
  call_no call;
  std::optional<error> failure{};
};
using session_done_ptr = std::shared_ptr<const session_done>;
/// The session has let go of this connection: the gateway ends it.
struct close_connection {
  connection_ref connection;
  close_code code = close_code::none;
};
/// A user's status has changed, for whoever reads one of these rooms; dms first.
struct presence_shown {
  user_key user;
  presence_status status = presence_status::offline;
  std::optional<utc_time> last_seen{};  ///< offline: when the last connection ended
  std::vector<room_id> rooms;
  std::size_t dms = 0;  ///< so many of the first are dms
};
using presence_shown_ptr = std::shared_ptr<const presence_shown>;
struct typing_shown {
  room_key room;
  user_id user;
  bool start = true;
};
using typing_shown_ptr = std::shared_ptr<const typing_shown>;
/// Cursors that a commit has moved, in rooms up to receipt_max_members, for the other members (I14).
struct cursors_shown {
  struct item {
    room_key room;
    user_id user;
    bool read = false;
    room_seq seq;  ///< last_read if `read`, else last_ack
  };
  std::vector<item> items;
};
using cursors_shown_ptr = std::shared_ptr<const cursors_shown>;
/// Not answered: lost on a full disk, like everything of its commit.
struct store_last_seen {
  user_key user;
  utc_time at;
};
using store_last_seen_ptr = std::shared_ptr<const store_last_seen>;

// ---- notifications and the outbox (SPEC 6) ------------------------------------------------------------------------

struct create_notification {
  reply_to to;
  store::new_notification notification;
};
using create_notification_ptr = std::shared_ptr<const create_notification>;
struct notification_created {
  call_no call;
  std::variant<error, store::created_notification> outcome;
};
using notification_created_ptr = std::shared_ptr<const notification_created>;
/// Committed, for connections of these users and of the members of this room. To each gateway.
struct notification_shown {
  tenant_no tenant;
  store::notification_no no;
  uuid id;
  std::vector<user_id> users;
  std::optional<room_id> room{};
  frame_ptr frame;
};
using notification_shown_ptr = std::shared_ptr<const notification_shown>;
/// A user has these. Answered by session_done, if somebody waits.
struct ack_notifications {
  std::optional<reply_to> to{};
  user_key user;
  std::vector<uuid> notifications;
};
using ack_notifications_ptr = std::shared_ptr<const ack_notifications>;
/// Frames that were written to connections. Not answered.
struct notifications_written {
  tenant_no tenant;
  std::vector<std::pair<uuid, std::uint32_t>> written;
  utc_time at{};
};
using notifications_written_ptr = std::shared_ptr<const notifications_written>;

struct apply_outbox {
  call_no call;
  store::outbox_batch batch;
};
using apply_outbox_ptr = std::shared_ptr<const apply_outbox>;
/// In the order of the batches.
struct outbox_applied {
  call_no call;
  std::optional<error> failure{};  ///< nothing of it is stored
};
/// Something that the outbox did not order is committed.
struct outbox_news {
  std::vector<tenant_no> tenants;  ///< in whose queues there are new rows
  bool log_grew = false;
};
/// A user's presence has changed, for whoever wants user.online and user.offline (event_wishes). Best effort.
struct user_presence {
  user_key user;
  bool online = false;
  utc_time at{};
};
/// The operator about one tenant's endpoint.
struct webhook_call {
  enum class kind : std::uint8_t {
    test
  };  ///< one event now, past the queue; what came of it is the answer
  reply_to to;
  tenant_no tenant;
  tenant_id id;
  kind what = kind::test;
};
using webhook_call_ptr = std::shared_ptr<const webhook_call>;
struct webhook_report {
  std::string url;
  std::string event_id;
  int status = 0;       ///< of HTTP; 0: there was no answer
  std::string failure;  ///< empty: it was good
  std::chrono::milliseconds took{};
};
struct webhook_called {
  call_no call;
  std::variant<error, webhook_report> outcome;
};
using webhook_called_ptr = std::shared_ptr<const webhook_called>;

// ---- directory ↔ owners ---------------------------------------------------------------------------------------------

/// Stop if nothing is in work; the answer is room_retired or room_busy.
struct retire {};
/// A room to itself, later.
struct room_tick {};
struct room_retired {
  room_key room;
  instance_no instance;
  bool retired = true;  ///< false: busy, it goes on
};
/// The room does not exist (any more): all its commands were answered, it stops.
struct room_absent {
  room_key room;
  instance_no instance;
  bool unreadable = false;  ///< nobody knows: storage could not read it now
};
/// The session's actor is gone without being told to: its connections can't go on (close 1011, they resume elsewhere).
struct session_lost {
  user_key user;
};
/// The session has no connection and nothing in work after `attaches_seen` attaches and cursors: it may be stopped if no
/// other is on its way.
struct session_idle {
  user_key user;
  instance_no instance;
  std::uint64_t attaches_seen = 0;
};

// ---- reading --------------------------------------------------------------------------------------------------------

struct positions_query {
  tenant_no tenant;
  user_id user;
};
struct check_query {
  tenant_no tenant;
  user_id user;
  std::vector<room_id> rooms;
};
/// Entries (after, to] as frames, encoded on the reader's thread.
struct page_query {
  room_key room;
  room_no no;
  room_seq after;
  room_seq to;
  std::size_t max_entries = 0;
  std::size_t max_bytes = 0;
};
struct room_query {
  room_key room;
  std::optional<user_id> self;
};
struct exists_query {
  room_key room;
};
struct rooms_query {
  tenant_no tenant;
  std::optional<user_id> user;  ///< nullopt: all of the tenant
  std::size_t limit = 0;
  std::string cursor;
  std::size_t offset = 0;
};
struct members_query {
  room_key room;
  std::optional<user_id> self;  ///< must be a member, unless the backend asks
  std::size_t limit = 0;
  std::string cursor;
  std::size_t offset = 0;
};
/// A history page as JSON; membership is checked in the same call.
struct history_query {
  room_key room;
  std::optional<user_id> self;
  store::page_position from;
  std::size_t limit = 0;
  std::size_t offset = 0;
  bool messages_only = true;
};
struct message_query {
  room_key room;
  room_no no;
  message_id message;
};
/// The dms and groups of a user, of up to `max_members`: whose readers may see its presence.
struct audience_query {
  tenant_no tenant;
  user_id user;
  std::int64_t max_members = 0;
};
/// Before members come: see store::reader::in_too_many_rooms.
struct room_limit_query {
  room_key room;
  std::vector<user_id> users;
  std::optional<user_id> caller{};
  bool joins = false;
  std::uint32_t max = 0;
};
/// When these were last seen; for `self` only of whom it shares a dm or group with. The answer may be only of the first of
/// them (store::reader::presence).
struct presence_query {
  tenant_no tenant;
  std::optional<user_id> self;  ///< nullopt: the backend, which sees all
  std::vector<user_id> users;
};
struct lookup_query {
  room_no room;
  user_id user;
  std::optional<hash128> key;
  std::optional<message_id> reply_to;
  utc_time keys_since{};
  std::vector<user_id> also{};         ///< whose membership is asked too
  bool owners = false;                 ///< … and that of whoever owns the room
  std::optional<message_id> target{};  ///< which message is to be changed
};
struct credential_query {
  tenant_name by;
};
/// Since when this user's credentials are good.
struct revocation_query {
  tenant_no tenant;
  user_id user;
};
struct tenant_query {
  tenant_id id;
};
struct tenants_query {
  std::size_t limit = 0;
  std::string cursor;
};
struct tenant_usage_query {
  std::size_t limit = 0;
  std::string cursor;
};
struct job_query {
  std::string id;
};
/// Newest first.
struct jobs_query {
  std::size_t limit = 0;
  std::string cursor;
};
/// A part of all that is kept of a user, as NDJSON; the next one from `next_cursor` on, until that is empty.
struct user_export_query {
  tenant_no tenant;
  user_id user;
  std::string cursor;
};

/// The endpoint of one tenant, or a page of all.
struct endpoints_query {
  std::optional<tenant_no> tenant{};
  std::size_t limit = 0;
  std::string cursor{};
};
struct log_positions_query {};
/// See store::outbox_reader.
struct scan_query {
  enum class kind : std::uint8_t { events, offline, tenant };
  kind what = kind::events;
  log_id after;
  std::size_t max_entries = 0;
  utc_time due_before{};         ///< of offline
  std::int64_t max_members = 0;  ///< likewise
  tenant_no tenant{};            ///< of tenant
  log_id to{};                   ///< likewise
};
struct last_before_query {
  utc_time t;
};
/// What waits for one endpoint, with its bodies.
struct outbox_query {
  tenant_no tenant;
  webhook_format format = webhook_format::parley;
  store::lane_no after;
  utc_time now{};
  std::size_t max_lanes = 0;
  std::size_t per_lane = 0;
  std::size_t max_bytes = 0;
};
struct acked_members_query {
  room_no room;
  user_no after;
  std::size_t limit = 0;
};
/// What waits for this user, as frames.
struct notifications_query {
  user_key user;
  store::notification_no after;
  utc_time now{};
  std::size_t max_items = 0;
  std::size_t max_bytes = 0;
};
struct topics_query {
  user_key user;
};
struct dead_letters_query {
  tenant_no tenant;
  std::size_t limit = 0;
  std::string cursor{};
};

using read_query =
    std::variant<positions_query, check_query, page_query, room_query, exists_query, rooms_query,
                 members_query, history_query, message_query, lookup_query, credential_query,
                 tenant_query, tenants_query, audience_query, presence_query, tenant_usage_query,
                 revocation_query, job_query, jobs_query, user_export_query, room_limit_query,
                 endpoints_query, log_positions_query, scan_query, last_before_query, outbox_query,
                 acked_members_query, notifications_query, topics_query, dead_letters_query>;

struct page_frames {
  commit_no snapshot;
  room_seq first_seq;
  room_seq last_seq;
  bool room_exists = true;
  bool complete = true;
  room_seq after;  ///< frames[0] has seq after + 1
  std::vector<frame_ptr> frames;
  std::vector<entry> edits{};  ///< those of the frames that are edits, ascending, without their texts
};
struct lookup_result {
  store::sender_lookup found;
  bool reply_to_is_message = true;
  std::vector<std::pair<user_id, std::optional<store::member_row>>> others{};  ///< of `also`, `owners`
  std::optional<entry> target{};  ///< nullopt: no such message in the room
};
struct history_json {
  std::string items;  ///< a JSON array
  room_seq first_seq;
  room_seq last_seq;
  bool has_more_before = false;
  bool has_more_after = false;
};
struct members_result_page {
  store::member_list list;
};
/// nullopt in read_result: the tenant has never heard of this user.
struct export_lines {
  std::string lines;  ///< each one JSON object and a line feed
  std::string next_cursor;
};
/// An event on its way out. Of a big room's message.offline the ids of its recipients belong between head and tail.
struct outbox_post {
  store::outbox_no no;
  store::lane_no lane;
  log_id place;  ///< rows of a lane go by (place, no)
  event_type type = event_type::webhook_test;
  std::string event_id;
  std::uint32_t attempts = 0;
  utc_time at{};
  utc_time next_at{};
  bool obsolete = false;
  std::string head;
  std::string tail;
  std::optional<room_no> list_room{};
  room_seq list_seq{};
  user_id list_sender{};
};
struct outbox_posts {
  std::vector<outbox_post> items;  ///< by lane, in order; each lane from its first row on
  store::lane_no after;
  bool end = false;
  std::optional<utc_time> next_at{};
};
struct notification_frames {
  struct item {
    store::notification_no no;
    uuid id;
    frame_ptr frame;
  };
  std::vector<item> items;
  store::notification_no to;
  bool more = false;
};
struct topic_list {
  std::vector<std::string> topics;
};
using read_result =
    std::variant<error, store::positions, store::checked_rooms, page_frames,
                 std::optional<store::room_view>, bool, store::room_list, members_result_page,
                 history_json, std::optional<entry>, lookup_result, std::optional<store::tenant_row>,
                 store::tenant_list, store::audience, store::presence_list,
                 store::tenant_usage_list, std::optional<utc_time>, std::optional<store::job_row>,
                 store::job_list, std::optional<export_lines>, std::optional<user_id>,
                 store::endpoint_list, store::log_positions, store::scanned, log_id, outbox_posts,
                 store::acked_members, notification_frames, topic_list, store::dead_letter_list>;

/// The answer to a query, with the asker's own number for it.
struct read_answer {
  call_no call;
  read_result result;
};
using read_answer_ptr = std::shared_ptr<const read_answer>;

/// Runs a query on a reader: the one place that turns queries into store calls and rows into frames. Any thread that
/// owns `from`. Foreign and unknown are the same NOT_FOUND (I8).
[[nodiscard]] read_result run_query(store::reader& from, const read_query& query);

}  // namespace parley::actors
