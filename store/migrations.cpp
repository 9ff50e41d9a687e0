#include "store/migrations.hpp"

#include "protocol/hash.hpp"
#include "store/chatapi_views.hpp"
#include "store/endpoint_rows.hpp"

#include <array>
#include <string>
#include <utility>
#include <vector>

namespace parley::store {
namespace {

// Numbers in `type`, `role`, `posting`, `kind`, `reason` and `call` are those of the enums in protocol/ids.hpp,
// protocol/entry.hpp and store/store.hpp, which never change. Times are milliseconds since 1970 in UTC. UUIDs are 16 bytes.
// A column with a reference names the row by its number; there are no foreign keys (docs/adr/0001-store-format.md).
constexpr const char* create_the_log = R"sql(
CREATE TABLE meta(
  k TEXT NOT NULL PRIMARY KEY,
  v ANY
) STRICT, WITHOUT ROWID;

CREATE TABLE schema_migrations(
  version INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  applied_at INTEGER NOT NULL
) STRICT;

CREATE TABLE commits(
  no INTEGER PRIMARY KEY,
  first_id INTEGER NOT NULL,
  last_id INTEGER NOT NULL,
  hash BLOB NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE tenants(
  tenant_no INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant_id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  config TEXT NOT NULL,
  disabled INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  deleted_at INTEGER
) STRICT;

CREATE TABLE credentials(
  tenant_no INTEGER NOT NULL,
  key_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  sha256 BLOB,
  sealed BLOB,
  created_at INTEGER NOT NULL,
  last_used_at INTEGER,
  PRIMARY KEY(tenant_no, key_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX credentials_by_digest ON credentials(sha256) WHERE sha256 IS NOT NULL;

CREATE TABLE users(
  user_no INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant_no INTEGER NOT NULL,
  user_id TEXT NOT NULL,
  last_seen INTEGER,
  revoke_before INTEGER,
  erased_at INTEGER
) STRICT;
CREATE UNIQUE INDEX users_by_id ON users(tenant_no, user_id);

CREATE TABLE rooms(
  room_no INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant_no INTEGER NOT NULL,
  room_id BLOB NOT NULL,
  type INTEGER NOT NULL,
  dm_key TEXT,
  name TEXT,
  metadata TEXT,
  posting INTEGER NOT NULL,
  retention_ms INTEGER,
  first_seq INTEGER NOT NULL DEFAULT 1,
  member_count INTEGER NOT NULL,
  created_by INTEGER,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  deleted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX rooms_by_id ON rooms(tenant_no, room_id);
CREATE UNIQUE INDEX rooms_by_dm_key ON rooms(tenant_no, dm_key)
  WHERE dm_key IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX rooms_by_tenant ON rooms(tenant_no, room_no) WHERE deleted_at IS NULL;

CREATE TABLE room_members(
  tenant_no INTEGER NOT NULL,
  user_no INTEGER NOT NULL,
  room_no INTEGER NOT NULL,
  role INTEGER NOT NULL,
  joined_seq INTEGER NOT NULL,
  joined_at INTEGER NOT NULL,
  PRIMARY KEY(tenant_no, user_no, room_no)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX room_members_by_room ON room_members(room_no, user_no);

CREATE TABLE delivery_state(
  tenant_no INTEGER NOT NULL,
  user_no INTEGER NOT NULL,
  room_no INTEGER NOT NULL,
  last_ack INTEGER NOT NULL,
  last_read INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY(tenant_no, user_no, room_no)
) STRICT, WITHOUT ROWID;

CREATE TABLE messages(
  id INTEGER PRIMARY KEY,
  tenant_no INTEGER NOT NULL,
  room_no INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  message_id BLOB,
  target_seq INTEGER,
  actor_no INTEGER,
  sender_no INTEGER,
  content TEXT,
  meta TEXT,
  reply_to BLOB,
  client_msg_id TEXT,
  body TEXT,
  created_at INTEGER NOT NULL,
  edited_at INTEGER,
  deleted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX messages_by_message_id ON messages(message_id) WHERE kind = 1;

CREATE TABLE room_log(
  room_no INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  id INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  sender_no INTEGER,
  deleted INTEGER NOT NULL,
  PRIMARY KEY(room_no, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE send_keys(
  room_no INTEGER NOT NULL,
  sender_no INTEGER NOT NULL,
  key BLOB NOT NULL,
  call INTEGER NOT NULL,
  body BLOB NOT NULL,
  seq INTEGER NOT NULL,
  message_id BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY(room_no, sender_no, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE call_keys(
  tenant_no INTEGER NOT NULL,
  scope_no INTEGER NOT NULL,
  key BLOB NOT NULL,
  call INTEGER NOT NULL,
  body BLOB NOT NULL,
  result_no INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY(tenant_no, scope_no, key)
) STRICT, WITHOUT ROWID;

CREATE VIEW undelivered_messages AS
  SELECT l.id, m.tenant_no, m.user_no, m.room_no, l.seq
  FROM room_members m
  JOIN rooms r ON r.room_no = m.room_no AND r.deleted_at IS NULL
  LEFT JOIN delivery_state d
    ON d.tenant_no = m.tenant_no AND d.user_no = m.user_no AND d.room_no = m.room_no
  JOIN room_log l ON l.room_no = m.room_no AND l.seq > max(coalesce(d.last_ack, 0), m.joined_seq)
  WHERE l.kind = 1 AND l.deleted = 0 AND l.sender_no <> m.user_no;
)sql";

std::string create_the_log_and_its_views() { return create_the_log + chatapi_views_v1(); }

// Of a key whose call changed nothing: `created_at` of the message, as the first answer said it. NULL: the key made entry
// `seq`.
std::string add_answered_at() { return "ALTER TABLE send_keys ADD COLUMN answered_at INTEGER;"; }

// `place_…` of a job: how far it is, so that it goes on there after a restart (store/job_runner.hpp).
std::string add_tenant_changes_and_jobs() {
  return R"sql(
ALTER TABLE tenants ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
CREATE INDEX credentials_by_key ON credentials(key_id);
DROP INDEX rooms_by_dm_key;
CREATE UNIQUE INDEX rooms_by_dm_key ON rooms(tenant_no, dm_key)
  WHERE dm_key IS NOT NULL AND deleted_at IS NULL AND member_count = 2;
CREATE TABLE jobs(
  job_no INTEGER PRIMARY KEY AUTOINCREMENT,
  job_id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  tenant_no INTEGER NOT NULL,
  subject TEXT NOT NULL,
  state INTEGER NOT NULL,
  done INTEGER NOT NULL DEFAULT 0,
  total INTEGER NOT NULL DEFAULT 0,
  error TEXT NOT NULL DEFAULT '',
  step INTEGER NOT NULL DEFAULT 0,
  place_room INTEGER NOT NULL DEFAULT 0,
  place_seq INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX jobs_running ON jobs(job_no) WHERE state = 1;
)sql";
}

// A lane is what is delivered in order: a room's number; below 0 a user's, by hash; 0 the tenant's own. In a lane rows go by
// (place, outbox_no). Of a log entry `place` is its id; of all else one behind what was read of the log as the row was made.
// `event_id`: 16 bytes, the same for the same event of the same cause.
std::string add_events_notifications_and_dead_letters() {
  return std::string{R"sql(
CREATE TABLE reader_positions(
  name TEXT NOT NULL PRIMARY KEY,      -- 'events', 'offline'
  id INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE endpoint_state(
  tenant_no INTEGER PRIMARY KEY,
  url TEXT NOT NULL,
  events INTEGER NOT NULL,
  format INTEGER NOT NULL,
  since_id INTEGER NOT NULL,
  queued INTEGER NOT NULL DEFAULT 0,
  delivered INTEGER NOT NULL DEFAULT 0,
  given_up INTEGER NOT NULL DEFAULT 0,
  dropped INTEGER NOT NULL DEFAULT 0,
  disabled_at INTEGER,
  why TEXT NOT NULL DEFAULT '',
  last_success_at INTEGER,
  last_failure_at INTEGER,
  last_error TEXT NOT NULL DEFAULT '',
  replay_from INTEGER NOT NULL DEFAULT 0,
  replay_to INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE outbox(
  outbox_no INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant_no INTEGER NOT NULL,
  lane INTEGER NOT NULL,
  place INTEGER NOT NULL,
  type INTEGER NOT NULL,
  log_id INTEGER NOT NULL DEFAULT 0,
  recipient_no INTEGER,
  event_id BLOB NOT NULL,
  data TEXT,
  at INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  next_at INTEGER NOT NULL DEFAULT 0,
  last_attempt_at INTEGER,
  error TEXT
) STRICT;
CREATE INDEX outbox_by_lane ON outbox(tenant_no, lane, place, outbox_no);
CREATE INDEX outbox_by_age ON outbox(tenant_no);
CREATE INDEX outbox_by_entry ON outbox(tenant_no, lane, log_id) WHERE log_id > 0;

CREATE TABLE outbox_chores(
  tenant_no INTEGER NOT NULL,
  chore INTEGER NOT NULL,              -- 1 drop rows of the outbox, 2 queue dead letters again
  upto INTEGER NOT NULL,               -- their numbers
  place INTEGER NOT NULL DEFAULT 0,    -- it is done up to here
  PRIMARY KEY(tenant_no, chore)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead_letters(
  dead_no INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant_no INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  lane INTEGER NOT NULL DEFAULT 0,
  type INTEGER NOT NULL DEFAULT 0,
  log_id INTEGER NOT NULL DEFAULT 0,
  recipient_no INTEGER,
  event_id BLOB,
  data TEXT,
  at INTEGER NOT NULL,
  notification_no INTEGER,             -- this and the next two: of notifications
  ttl_ms INTEGER,
  recipients TEXT,                     -- a JSON array of users' numbers
  attempts INTEGER NOT NULL,
  last_attempt_at INTEGER,
  error TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX dead_letters_by_tenant ON dead_letters(tenant_no, dead_no);

CREATE TABLE notifications(
  notification_no INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant_no INTEGER NOT NULL,
  notification_id BLOB NOT NULL,
  topic TEXT NOT NULL,
  room_no INTEGER,
  targets INTEGER NOT NULL,
  state INTEGER NOT NULL DEFAULT 1,    -- 1 waits, 2 done (all have it; payload gone), 3 dead (past its time; payload stays)
  attempts INTEGER NOT NULL DEFAULT 0,
  last_attempt_at INTEGER,
  created_at INTEGER NOT NULL,
  ttl_ms INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  payload TEXT                         -- the last: mostly a row is read without it
) STRICT;
CREATE UNIQUE INDEX notifications_by_id ON notifications(tenant_no, notification_id);
CREATE INDEX notifications_by_time ON notifications(expires_at) WHERE state = 1;
CREATE INDEX notifications_of_rooms
  ON notifications(tenant_no, room_no, notification_no, created_at, expires_at, state)
  WHERE room_no IS NOT NULL AND state = 1;
CREATE INDEX notifications_done ON notifications(created_at) WHERE state = 2;

CREATE TABLE notification_pending(
  tenant_no INTEGER NOT NULL,
  user_no INTEGER NOT NULL,
  notification_no INTEGER NOT NULL,
  PRIMARY KEY(tenant_no, user_no, notification_no)
) STRICT, WITHOUT ROWID;
CREATE INDEX notification_pending_by_no ON notification_pending(notification_no);

CREATE TABLE notification_acks(
  notification_no INTEGER NOT NULL,
  user_no INTEGER NOT NULL,
  PRIMARY KEY(notification_no, user_no)
) STRICT, WITHOUT ROWID;

CREATE TABLE notification_subscriptions(
  tenant_no INTEGER NOT NULL,
  user_no INTEGER NOT NULL,
  topic TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY(tenant_no, user_no, topic)
) STRICT, WITHOUT ROWID;
CREATE INDEX notification_subscriptions_by_topic
  ON notification_subscriptions(tenant_no, topic, user_no);
)sql"} + chatapi_views_v4();
}

constexpr std::array<migration, 4> steps{{
    {1, "the log", &create_the_log_and_its_views},
    {2, "keys of calls that changed nothing", &add_answered_at},
    {3, "changes of tenants, and jobs", &add_tenant_changes_and_jobs},
    {4, "events, notifications, dead letters", &add_events_notifications_and_dead_letters},
}};

constexpr bool numbered_without_gap() {
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (steps[i].version != static_cast<std::int64_t>(i) + 1) return false;
  }
  return true;
}
static_assert(numbered_without_gap());

/// What belongs to this one database, written with its first step: so there is none without.
void found(connection& db, utc_time now, random_source& random) {
  uuid database_id;
  random.fill(database_id.bytes);
  statement set{db, "INSERT INTO meta(k, v) VALUES(?, ?)"};
  const bool done = set.run("database_id", database_id) && set.run("epoch", make_hex(8, random)) &&
                    set.run("created_at", now);
  if (!done) throw db_exception{db.last_failure()};
}

/// Tenants that have a `webhook_url` from before there were endpoints: told of what comes from now on.
void give_endpoints(connection& db) {
  std::vector<std::pair<tenant_no, wanted_endpoint>> wanted;
  {
    statement tenants{db, "SELECT tenant_no, config FROM tenants WHERE deleted_at IS NULL"};
    auto q = tenants.query();
    while (q.next()) {
      if (auto e = endpoint_in(q.text(1)))
        wanted.emplace_back(q.number<tenant_no>(0), std::move(*e));
    }
    if (q.failed()) throw db_exception{db.last_failure()};
  }
  if (wanted.empty()) return;
  const auto last = db.integer_or_throw(
      "SELECT max((SELECT coalesce(max(id), 0) FROM messages), "
      "(SELECT coalesce(max(last_id), 0) FROM commits))");
  statement endpoint{db,
                     "INSERT INTO endpoint_state(tenant_no, url, events, format, since_id) "
                     "VALUES(?, ?, ?, ?, ?)"};
  for (const auto& [tenant, e] : wanted) {
    if (!endpoint.run(tenant, e.url, e.events, e.format, last))
      throw db_exception{db.last_failure()};
  }
  statement position{
      db, "INSERT INTO reader_positions(name, id) VALUES('events', ?1), ('offline', ?1)"};
  if (!position.run(last)) throw db_exception{db.last_failure()};
}

void apply(connection& db, const migration& step, utc_time now, random_source& random) {
  transaction t{db};
  if (!t.begin()) throw db_exception{db.last_failure()};
  db.execute_or_throw(step.sql().c_str());
  if (step.version == 1) {
    db.execute_or_throw(("PRAGMA application_id=" + std::to_string(application_id)).c_str());
    found(db, now, random);
  }
  if (step.version == 4) give_endpoints(db);
  statement record{db, "INSERT INTO schema_migrations(version, name, applied_at) VALUES(?, ?, ?)"};
  if (!record.run(step.version, step.name, now)) throw db_exception{db.last_failure()};
  db.execute_or_throw(("PRAGMA user_version=" + std::to_string(step.version)).c_str());
  if (!t.commit()) throw db_exception{db.last_failure()};
}

error not_ours() {
  return {.code = error_code::conflict,
          .message = "the file is a SQLite database, but not one of Parley's: give another path",
          .field = "file"};
}

error too_new(std::int64_t theirs) {
  return {.code = error_code::conflict,
          .message = "the database has schema version " + std::to_string(theirs) +
                     ", this program knows versions up to " + std::to_string(newest_schema_version()) +
                     ": run the newer program, or restore a backup made before the upgrade",
          .field = "schema"};
}

struct found_schema {
  bool empty = false;
  bool ours = false;
  std::int64_t version = 0;
};
found_schema look(connection& db) {
  found_schema f;
  f.ours = db.integer_or_throw("PRAGMA application_id") == application_id;
  f.version = db.integer_or_throw("PRAGMA user_version");
  // A crash while the file was being made leaves an empty schema: as good as new.
  f.empty =
      !f.ours && f.version == 0 && db.integer_or_throw("SELECT count(*) FROM sqlite_schema") == 0;
  return f;
}

}  // namespace

std::span<const migration> migrations() { return steps; }
std::int64_t newest_schema_version() { return steps.back().version; }

result<migrated> migrate(connection& db, const clock& now, random_source& random) {
  const found_schema f = look(db);
  if (!f.empty && !f.ours) return not_ours();
  if (f.version > newest_schema_version()) return too_new(f.version);
  for (const migration& step : steps) {
    if (step.version > f.version) apply(db, step, now.now(), random);
  }
  return migrated{f.empty, f.version, newest_schema_version()};
}

result<void> require_newest_schema(connection& db) {
  const found_schema f = look(db);
  if (!f.ours) return not_ours();
  if (f.version > newest_schema_version()) return too_new(f.version);
  if (f.version < newest_schema_version()) {
    return error{.code = error_code::conflict,
                 .message = "the database has schema version " + std::to_string(f.version) +
                            ", this program wants " + std::to_string(newest_schema_version()) +
                            ": start the node once to migrate it",
                 .field = "schema"};
  }
  return {};
}

}  // namespace parley::store
