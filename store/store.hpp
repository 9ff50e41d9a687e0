#pragma once
/// The log on disk, in the node's own terms: one writer that fills a transaction and commits it, readers that look at a
/// snapshot. SQLite is the embedded implementation (sqlite_store.hpp); PostgreSQL comes second; the simulation has a
/// third (tests/sim/model_store). Knows no actors. Nothing outside store/ knows SQL.
///
/// Owner      `writer`: one thread, the storage actor's. A `reader`: one thread at a time.
/// Relies on  every query starts with the tenant (I8); `room_no` is reached only through (tenant, room_id).

#include "protocol/entry.hpp"
#include "protocol/hash.hpp"
#include "protocol/ids.hpp"
#include "protocol/result.hpp"
#include "protocol/room_info.hpp"
#include "protocol/seams.hpp"
#include "store/outbox.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace parley::store {

// ---------------------------------------------------------------------------------------------------------------
// Rows

/// The kind of call a retry key was used for: the same key for another kind of call is CONFLICT (SPEC 2.4).
enum class keyed_call : std::uint8_t {
  send = 1,
  edit = 2,
  remove = 3,
  create_room = 4,
  notify = 5
};

/// A key on its way in: stored in its message's own transaction (I5). One key space per (room, sender).
struct send_key {
  user_id sender;  ///< empty: the backend itself, which edits and deletes in nobody's name
  hash128 key;     ///< of the client's key
  keyed_call call = keyed_call::send;
  hash128 body;  ///< of what must be equal for a repeat
};
/// A key that was used, with all that the repeated answer needs.
struct used_key {
  send_key key;
  room_seq seq;
  message_id message;
  utc_time created_at;  ///< as the first answer said it
};

struct member_row {
  user_id user;
  member_role role = member_role::member;
  room_seq joined_seq;  ///< its own member.joined; 0: there from the creation
  utc_time joined_at{};
};

/// One log entry to append. What it means for members, the room's row and the message it is about follows from its body
/// and is done in the same transaction: member rows and member_count, name/metadata/posting, an edited or deleted
/// target's content.
struct append_row {
  tenant_no tenant;
  room_no room;
  entry e;
  std::optional<send_key> key{};
  /// The call changed nothing, so there is no entry to append: its key alone is stored, at this time (SPEC 2.4). The first
  /// answer says seq, message id and created_at of `e`, the message as it stands in the log.
  std::optional<utc_time> only_key{};
};

struct new_room {
  tenant_no tenant;
  room_id id;
  room_type type = room_type::group;
  std::optional<std::string> name{};
  json_text metadata{};
  posting_policy posting = posting_policy::all;
  std::optional<user_id> created_by{};
  utc_time created_at{};
  std::vector<std::pair<user_id, member_role>> members;
  std::uint32_t max_rooms_per_user = 0;  ///< 0: none; over it: CONFLICT field `members`
  std::uint32_t claimed_rooms =
      0;  ///< what each member may get by calls under way, beside what is stored
  std::uint32_t max_rooms_per_tenant = 0;  ///< 0: none; over it: CONFLICT field `tenant_id`
  /// `Idempotency-Key` of a keyed call without a room; scope: who calls ("" the backend, else the user).
  struct call_key {
    user_id scope;
    hash128 key;
    hash128 body;
  };
  std::optional<call_key> key{};
};
struct created_room {
  room_no no;
  room_info info;
  std::vector<member_row> members;  ///< of a new room; empty for an existing one
  bool created = true;              ///< false: the dm was there
  bool replayed = false;            ///< true: the call key was used before; `info` is that room
};

struct new_credential {
  key_id id;
  std::string kind;                       ///< api_key, jwt_secret or webhook_secret
  std::optional<sha256_digest> digest{};  ///< of an api key
  std::string sealed{};                   ///< of a secret that must be read back
};
struct new_tenant {
  tenant_id id;
  std::string name;
  std::string config;  ///< a JSON object, minified
  utc_time created_at{};
  std::vector<new_credential> credentials;
};

struct credential_row {
  key_id id;
  std::string kind;
  utc_time created_at{};
  std::optional<utc_time> last_used_at{};
  std::string sealed{};
  std::optional<sha256_digest> digest{};  ///< of an api key
};
struct tenant_row {
  tenant_no no;
  tenant_id id;
  std::string name;
  std::string config;
  bool disabled = false;
  bool deleted = false;
  std::int64_t revision = 0;  ///< raised by every change of the row or its credentials
  utc_time created_at{};
  std::vector<credential_row> credentials;
};
/// One change of a tenant by the operator, or of one of its users or rooms by its backend.
struct tenant_change {
  struct update {  ///< what is not given stays
    std::optional<std::string> name{};
    std::optional<std::string> config{};  ///< the whole of it: a JSON object, minified
    std::optional<bool> disabled{};
  };
  struct add_credential {  ///< a third of a kind: CONFLICT field `kind`
    new_credential credential;
  };
  struct delete_credential {  ///< unknown: NOT_FOUND
    key_id key;
  };
  struct remove {  ///< a tombstone, and a job that clears what it had
    std::string job_id;
  };
  struct revoke_user {  ///< credentials of this user from before are void; max(old, new)
    user_id user;
    utc_time before;
  };
  struct erase_user {  ///< revokes it, and a job that takes away what it said and where it is
    std::string job_id;
    user_id user;
  };
  struct set_retention {  ///< of one room; unknown or deleted: NOT_FOUND
    room_id room;
    std::optional<std::chrono::milliseconds> keep;  ///< nullopt: as the tenant says, else the node
  };
  struct subscribe_topic {  ///< done already: nothing. Over `max`: CONFLICT field `topic`
    user_id user;
    std::string topic;
    std::size_t max = 0;
  };
  struct unsubscribe_topic {
    user_id user;
    std::string topic;
  };
  struct retry_dead_letter {  ///< unknown: NOT_FOUND. A notification gets as much time again as it had
    std::string id;
  };
  struct delete_dead_letter {  ///< unknown: NOT_FOUND
    std::string id;
  };
  struct replay_events {  ///< no endpoint, or one that is disabled: CONFLICT field `webhook_url`; a replay is under way: CONFLICT
    log_id after;
    log_id to;                  ///< 0: up to now
    bool dead_letters = false;  ///< what was given up, instead
  };
  tenant_id tenant;
  std::variant<update, add_credential, delete_credential, remove, revoke_user, erase_user, set_retention,
               subscribe_topic, unsubscribe_topic, retry_dead_letter, delete_dead_letter, replay_events>
      what;
  utc_time at{};
};

/// Work that a commit has ordered and that goes on after it, in small pieces and across restarts.
enum class job_state : std::uint8_t { running = 1, done = 2, failed = 3 };
struct job_row {
  std::string id;
  std::string kind;  ///< delete_tenant or erase_user
  tenant_no tenant;
  std::string subject;  ///< of erase_user: the user
  job_state state = job_state::running;
  std::int64_t done = 0;   ///< rooms
  std::int64_t total = 0;  ///< as far as they are counted
  std::string error;
  utc_time created_at{};
  utc_time updated_at{};
};
/// Messages of this room read otherwise in every snapshot from this commit on.
struct rewritten_room {
  room_key room;
  room_no no;
  commit_no commit;
  room_seq first_seq{};  ///< not 0: retention has removed what is before it, and nothing else is new
};
/// A membership that its room is to end, for a user who is erased.
struct departure {
  room_key room;
  user_id user;
};
/// What jobs and retention have done and need.
struct job_news {
  std::vector<rewritten_room> rewritten;
  std::vector<departure> departures;  ///< until the row is gone they are named again, every few seconds
  bool more = false;                  ///< the next piece can be done at once
};

struct cursor_move {
  tenant_no tenant;
  user_id user;
  room_id room;
  room_seq seq;
  bool read = false;  ///< moves last_read too (reading acks)
};
struct cursor_state {
  room_no room;
  room_seq last_ack;
  room_seq last_read;
  bool moved = false;
  std::int64_t member_count = 0;  ///< of the room, in the same transaction
};

struct opened_room {
  room_no no;
  room_info info;
  std::vector<member_row> members;
  bool members_complete = true;  ///< false: more than limits::room_members_in_memory; look up by key
  std::vector<used_key> keys;
  bool keys_complete = true;  ///< false: more than limits::room_keys_in_memory; look up by key
};

// ---------------------------------------------------------------------------------------------------------------
// Writing

/// How far a failed write reaches.
enum class failure_scope : std::uint8_t {
  item,   ///< this item only: its statement was rolled back, the transaction goes on
  batch,  ///< all of this transaction: certainly rolled back
  full,   ///< batch, because there is no space (I10): refuse writes, keep reading, probe
  fatal,  ///< I/O error, or the outcome is unknown (I10): nothing later may be accepted, the process ends with 74
};
struct write_error {
  failure_scope scope = failure_scope::batch;
  error why;
  std::string detail{};  ///< for the log: the database's own words; never content
};
[[noreturn]] void throw_exception_from_error(const write_error& e,
                                             const boost::source_location& where);
template <class T>
using write_result = boost::system::result<T, write_error>;

struct writer_status {
  std::int64_t wal_pages = 0;
  std::int64_t database_pages = 0;
  commit_no last_commit;
  // Since the start.
  std::uint64_t checkpoint_pieces = 0;    ///< that moved what they could
  std::uint64_t checkpoint_restarts = 0;  ///< after which the WAL starts over
  std::uint64_t checkpoints_busy = 0;     ///< restarts that a reader prevented
  std::chrono::nanoseconds checkpoint_time{0};
  bool corrupt = false;  ///< the file is damaged: writes fail, reads go on where they can
};

/// The only connection that writes or checkpoints (I6). Not thread-safe. A transaction is begin() … commit() or
/// rollback(); open_room() may be called inside or outside one and sees what the transaction holds so far.
class writer {
 public:
  /// Its other face; nullptr: this store keeps no outbox.
  [[nodiscard]] virtual outbox_writer* outbox() { return nullptr; }
  writer() = default;
  writer(const writer&) = delete;
  writer& operator=(const writer&) = delete;
  virtual ~writer() = default;

  virtual write_result<void> begin() = 0;
  /// A tenant that is disabled or deleted has no room for the writer, and can make none: NOT_FOUND (DESIGN 11).
  /// Refuses (scope item) a seq that is not the room's last, in this transaction or before it, plus one (I2), and a room
  /// that is deleted. A member.joined of one who is a member, a member.left of one who is not: a bug, scope batch.
  /// Of a key alone the answer is no entry's id: 0.
  virtual write_result<log_id> append(const append_row& row) = 0;
  /// An existing live dm of the same pair, or a used call key, is found here, in the transaction.
  /// A used key with another body: scope item, CONFLICT.
  virtual write_result<created_room> create_room(const new_room& room) = 0;
  /// A tombstone: the room and all of it are gone for every later read. Answers its last seq.
  virtual write_result<room_seq> delete_room(tenant_no tenant, room_no room, utc_time at) = 0;
  virtual write_result<tenant_no> create_tenant(const new_tenant& tenant) = 0;
  /// The tenant as it is after it, its revision raised unless it is about a user or a room. No such tenant, or deleted: item
  /// NOT_FOUND.
  virtual write_result<tenant_row> change_tenant(const tenant_change& change) = 0;
  /// max(old, new) (I14). Not a member, or no such room: item NOT_FOUND. Beyond last_seq: item VALIDATION_ERROR `seq`.
  virtual write_result<cursor_state> move_cursor(const cursor_move& move) = 0;
  /// max(old, new). A user whom nothing in the store names is passed over.
  virtual write_result<void> store_last_seen(tenant_no tenant, const user_id& user, utc_time at) = 0;
  /// max(old, new). A key that is not there any more is passed over.
  virtual write_result<void> store_key_used(tenant_no tenant, const key_id& key, utc_time at) = 0;
  /// nullopt: no such live room in this tenant.
  virtual write_result<std::optional<opened_room>> open_room(tenant_no tenant, room_id room,
                                                             utc_time keys_since) = 0;
  /// On success all since begin() is durable (as `durability` says) and visible to readers. On `batch` and `full` it is
  /// certainly rolled back. `fatal`: unknown.
  virtual write_result<commit_no> commit() = 0;
  virtual void rollback() = 0;

  /// Between commits, often: a checkpoint piece when due, the high-water mark at most once a second, old keys and commit
  /// records in small batches, a piece of a job or of retention. Only `fatal` and `full` come back.
  virtual write_result<void> maintain(mono_time now, utc_time utc) = 0;
  /// Of the jobs, since the last call.
  virtual job_news take_job_news() = 0;
  /// After `full`: tries a small write. Success: there is space again.
  virtual write_result<void> probe() = 0;
  /// The clean end: last checkpoint with its code checked, mark `clean`.
  virtual write_result<void> close_clean() = 0;
  [[nodiscard]] virtual writer_status status() const = 0;
};

/// Inside the writer's transactions (begin() … commit()).
class outbox_writer {
 public:
  outbox_writer() = default;
  outbox_writer(const outbox_writer&) = delete;
  outbox_writer& operator=(const outbox_writer&) = delete;
  virtual ~outbox_writer() = default;

  virtual write_result<void> apply(const outbox_batch& batch) = 0;
  /// A room that is not there: item NOT_FOUND field `targets.room_id`. A used key with another body: item CONFLICT.
  virtual write_result<created_notification> create_notification(const new_notification& n) = 0;
  /// This user has these; what does not wait for it is passed over.
  virtual write_result<void> acknowledge(const user_key& user,
                                         const std::vector<uuid>& notifications) = 0;
  /// So many frames of each were written to connections.
  virtual write_result<void> attempted(tenant_no tenant,
                                       const std::vector<std::pair<uuid, std::uint32_t>>& written,
                                       utc_time at) = 0;
  /// Whose outbox has rows that no apply() brought, since the last call: of what is committed.
  virtual std::vector<tenant_no> take_outbox_news() = 0;
  /// The newest entry of the log that is committed.
  [[nodiscard]] virtual log_id last_log_id() const = 0;
  struct counts {  ///< since the start, of what is committed
    std::uint64_t events_stored = 0;
    std::uint64_t events_dropped = 0;  ///< a queue was full
    std::uint64_t dead_letters = 0;
    std::uint64_t notifications_created = 0;
    std::uint64_t notifications_acknowledged = 0;  ///< by one user each
    std::uint64_t notifications_expired = 0;       ///< likewise
    std::int64_t events_waiting = 0;               ///< now, in all queues
  };
  [[nodiscard]] virtual counts outbox_counts() const = 0;
};

// ---------------------------------------------------------------------------------------------------------------
// Reading. Every answer carries the number of the last commit that its snapshot has seen.

struct room_position {
  room_no no;
  room_id room;
  room_seq first_seq;
  room_seq last_seq;
  room_seq last_ack;  ///< cut to last_seq
  room_seq last_read;
  member_role role = member_role::member;
};
struct positions {
  commit_no snapshot;
  std::vector<room_position> rooms;  ///< latest log entry first (DESIGN 11)
  bool notifications = false;        ///< there may be some that wait for this user
};
struct checked_rooms {
  commit_no snapshot;
  std::vector<std::optional<room_position>> rooms;  ///< as asked; nullopt: not a member, or no such room
};
struct log_page {
  commit_no snapshot;
  room_seq first_seq;
  room_seq last_seq;
  bool room_exists = true;     ///< false: deleted
  std::vector<entry> entries;  ///< ascending
  bool complete = true;        ///< false: cut by max_entries or max_bytes
};
struct room_view {
  room_no no;
  room_info info;
  std::optional<member_row> self;  ///< the asking user's membership
};
struct listed_room {
  room_view room;
  room_seq last_ack;
  room_seq last_read;
  std::int64_t unread_count = 0;  ///< exact up to 1,000; beyond: 1,000
  std::optional<entry> last_message;
};
struct room_list {
  commit_no snapshot;
  std::vector<listed_room> rooms;
  std::string next_cursor;  ///< empty: the end
};
struct member_list {
  struct item {
    member_row member;
    room_seq last_ack;
    room_seq last_read;
  };
  std::vector<item> members;
  std::int64_t member_count = 0;
  std::string next_cursor;
};
/// A user's dms and groups, dms first.
struct audience {
  std::vector<room_id> rooms;
  std::size_t dms = 0;
};
struct presence_list {
  struct item {
    bool visible =
        false;  ///< shares a live dm or group with the asker, or is the asker, or nobody asks
    std::optional<utc_time> last_seen{};
  };
  std::vector<item> users;  ///< of the first of those asked, as asked; at least one
};
struct sender_lookup {
  std::optional<member_row> member;
  std::optional<used_key> key;
};
/// `send_keys.sender_no` of the backend itself; no user has it.
inline constexpr user_no backend_no{0};
struct tenant_list {
  std::vector<tenant_row> tenants;
  std::string next_cursor;
};
/// What tenants have in the store, for the operator.
struct tenant_usage_list {
  struct item {
    tenant_no no;
    tenant_id id;
    bool disabled = false;
    std::int64_t rooms = 0;  ///< live ones; exact up to what was asked
    std::int64_t users = 0;  ///< whom anything in the store names; likewise
  };
  std::vector<item> tenants;
  std::string next_cursor;
};

struct job_list {
  std::vector<job_row> jobs;
  std::string next_cursor;
};
/// A part of all that is kept of one user: first the user, then its memberships, then what it said, room by room.
struct user_export_page {
  struct person {
    user_id id;
    std::optional<utc_time> last_seen{};
    std::optional<utc_time> revoke_before{};
    std::optional<utc_time> erased_at{};
  };
  struct membership {
    room_info room;
    member_row member;
    room_seq last_ack;
    room_seq last_read;
  };
  struct said {
    room_id room;
    entry message;
  };
  std::optional<person> self;       ///< in the first part
  std::vector<std::string> topics;  ///< that the user subscribes to; likewise
  std::vector<membership> memberships;
  std::vector<said> messages;  ///< perhaps none though there is a next part
  std::string next_cursor;
};

/// Where a history page starts (SPEC 4).
struct page_position {
  enum class anchor : std::uint8_t { newest, oldest, after, before, around };
  anchor from = anchor::newest;
  room_seq seq{};
};
struct history_page {
  commit_no snapshot;
  room_seq first_seq;
  room_seq last_seq;
  std::vector<entry> entries;  ///< ascending
  bool has_more_before = false;
  bool has_more_after = false;
};

/// One read-only connection. Every call is one short read transaction. UNAVAILABLE: the file could not be read.
/// `cursor` arguments are what an earlier answer gave; a damaged one is VALIDATION_ERROR `cursor`.
class reader {
 public:
  /// Its other face; nullptr: this store keeps no outbox.
  [[nodiscard]] virtual outbox_reader* outbox() { return nullptr; }
  reader() = default;
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;
  virtual ~reader() = default;

  virtual result<store::positions> positions(tenant_no tenant, const user_id& user) = 0;
  virtual result<checked_rooms> check(tenant_no tenant, const user_id& user,
                                      const std::vector<room_id>& rooms) = 0;
  /// Entries in (after, to], at most `max_entries` and about `max_bytes` (at least one entry).
  virtual result<log_page> page(room_no room, room_seq after, room_seq to, std::size_t max_entries,
                                std::size_t max_bytes) = 0;
  /// NOT_FOUND-free: nullopt is «no such live room in this tenant».
  virtual result<std::optional<room_view>> room(tenant_no tenant, room_id room,
                                                const std::optional<user_id>& self) = 0;
  virtual result<bool> room_exists(tenant_no tenant, room_id room) = 0;
  /// A member's rooms, latest log entry first; `offset` of ChatAPI's dialect.
  virtual result<room_list> rooms_of(tenant_no tenant, const user_id& user, std::size_t limit,
                                     std::string_view cursor, std::size_t offset) = 0;
  /// All rooms of a tenant, newest created first.
  virtual result<room_list> rooms_of_tenant(tenant_no tenant, std::size_t limit,
                                            std::string_view cursor, std::size_t offset) = 0;
  virtual result<member_list> members(room_no room, std::size_t limit, std::string_view cursor,
                                      std::size_t offset) = 0;
  /// `messages_only`: kind message; the limits of the page count those.
  virtual result<history_page> history(room_no room, page_position from, std::size_t limit,
                                       bool messages_only, std::size_t offset) = 0;
  /// The live dms and groups of a user with at most `max_members` members, dms first, at most `max_rooms`.
  virtual result<store::audience> audience(tenant_no tenant, const user_id& user,
                                           std::int64_t max_members, std::size_t max_rooms) = 0;
  /// The first of `users` who is not in the room yet and in `max` rooms or more already; nullopt: none of them, or the
  /// room will refuse the call by itself: there is none, `caller` (nullopt: the backend) may not add members, or who is
  /// no member can't join it (`joins`: they come by themselves).
  virtual result<std::optional<user_id>> in_too_many_rooms(tenant_no tenant, room_id room,
                                                           const std::vector<user_id>& users,
                                                           const std::optional<user_id>& caller,
                                                           bool joins, std::uint32_t max) = 0;
  /// `self`: only of whom it shares a live dm or group with, and of itself; nullopt: of all. The unknown are not visible
  /// to a user. As many as a slice of a few milliseconds allows; of `self` the newest limits::presence_max_rooms rooms
  /// count.
  virtual result<presence_list> presence(tenant_no tenant, const std::optional<user_id>& self,
                                         const std::vector<user_id>& users) = 0;
  /// What a room needs that it has not in memory (I5). `user` empty: the backend itself, which is no member.
  virtual result<sender_lookup> look_up(room_no room, const user_id& user,
                                        const std::optional<hash128>& key, utc_time keys_since) = 0;
  /// Who owns the room: mostly one, perhaps nobody. Walks all members; for big rooms, and rarely.
  virtual result<std::vector<member_row>> owners(room_no room) = 0;
  virtual result<bool> is_message(room_no room, message_id message) = 0;
  /// A message of the room by its id, as its entry is now.
  virtual result<std::optional<entry>> message(room_no room, message_id message) = 0;
  virtual result<std::optional<tenant_row>> tenant_by_api_key(const sha256_digest& digest) = 0;
  virtual result<std::optional<tenant_row>> tenant(const tenant_id& id) = 0;
  virtual result<std::optional<tenant_row>> tenant_by_key(const key_id& key) = 0;
  /// Since when credentials of this user are good; nullopt: all are.
  virtual result<std::optional<utc_time>> revoked_before(tenant_no tenant, const user_id& user) = 0;
  virtual result<tenant_list> tenants(std::size_t limit, std::string_view cursor) = 0;
  /// Counts no further than `count_max`: a big tenant must not hold a reader up.
  virtual result<tenant_usage_list> tenant_usage(std::size_t limit, std::string_view cursor,
                                                 std::int64_t count_max) = 0;
  virtual result<std::optional<job_row>> job(std::string_view id) = 0;
  /// Newest first.
  virtual result<job_list> jobs(std::size_t limit, std::string_view cursor) = 0;
  /// nullopt: nobody of that name was ever named in this tenant. At most `max_rows` rooms or messages, about `max_bytes` of
  /// messages, and as far as a slice of a few milliseconds looks.
  virtual result<std::optional<user_export_page>> export_user(tenant_no tenant, const user_id& user,
                                                              std::string_view cursor,
                                                              std::size_t max_rows,
                                                              std::size_t max_bytes) = 0;
};

// ---------------------------------------------------------------------------------------------------------------
// Opening

enum class durability : std::uint8_t { full, normal };

/// What a start found (I11).
struct start_report {
  bool created = false;    ///< a new, empty database
  bool recovered = false;  ///< the last end was not clean
  bool history_may_be_lost = false;
  std::string why;  ///< in words, for the log
};

/// An open database: one writer, any number of readers, one process (lock file). Closing without close_clean() is what a
/// crash looks like.
class database {
 public:
  database() = default;
  database(const database&) = delete;
  database& operator=(const database&) = delete;
  virtual ~database() = default;
  [[nodiscard]] virtual store::writer& writer() = 0;
  [[nodiscard]] virtual result<std::unique_ptr<store::reader>> new_reader() = 0;
  [[nodiscard]] virtual epoch_id epoch() const = 0;
  [[nodiscard]] virtual const start_report& report() const = 0;
};

}  // namespace parley::store
