// `parley verify`: what must be true of a database, looked at on one snapshot. Works beside a running node, read-only.

#include "store/commit_chain.hpp"
#include "store/migrations.hpp"
#include "store/sqlite_db.hpp"
#include "store/sqlite_store.hpp"

#include <algorithm>

namespace parley::store {
namespace {

constexpr std::size_t max_problems = 100;
constexpr std::size_t cache_bytes = 8 * 1024 * 1024;

/// A fact that must have no counter-example: the query finds them, and each row's text is a problem.
struct rule {
  const char* counter_examples;
};

// Rooms with a tombstone are left out where the janitor may have taken a part of them away already.
constexpr rule rules[] = {
    // One order: seq dense from first_seq, ids ascending with it (SPEC 2.2, I2).
    {"SELECT 'room ' || r.room_no || ': the log starts at ' || x.low || ', not at first_seq ' || "
     "r.first_seq FROM rooms r JOIN (SELECT room_no, min(seq) AS low FROM room_log "
     "GROUP BY room_no) x ON x.room_no = r.room_no WHERE r.deleted_at IS NULL "
     "AND x.low <> r.first_seq"},
    {"SELECT 'room ' || room_no || ': ' || count(*) || ' entries between seq ' || min(seq) || ' "
     "and ' || max(seq) FROM room_log GROUP BY room_no HAVING count(*) <> max(seq) - min(seq) + 1"},
    {"SELECT 'room ' || room_no || ': the id of seq ' || seq || ' is not above the one before' "
     "FROM (SELECT room_no, seq, id, lag(id) OVER (PARTITION BY room_no ORDER BY seq) AS before "
     "FROM room_log) WHERE id <= before"},
    {"SELECT 'room ' || room_no || ': first_seq ' || first_seq || ' and no entry' FROM rooms r "
     "WHERE deleted_at IS NULL AND first_seq <> 1 AND NOT EXISTS (SELECT 1 FROM room_log l "
     "WHERE l.room_no = r.room_no)"},
    // Index ↔ log.
    {"SELECT 'room ' || l.room_no || ' seq ' || l.seq || ': the index does not agree with entry "
     "' || l.id FROM room_log l LEFT JOIN messages m ON m.id = l.id WHERE m.id IS NULL "
     "OR m.room_no <> l.room_no OR m.seq <> l.seq OR m.kind <> l.kind "
     "OR m.sender_no IS NOT l.sender_no OR (l.kind = 1 "
     "AND l.deleted <> (m.deleted_at IS NOT NULL))"},
    {"SELECT 'entry ' || m.id || ' of room ' || m.room_no || ' is not in the index' "
     "FROM messages m LEFT JOIN room_log l ON l.room_no = m.room_no AND l.seq = m.seq "
     "WHERE l.id IS NOT m.id"},
    {"SELECT 'entry ' || m.id || ' belongs to no room of its tenant' FROM messages m "
     "LEFT JOIN rooms r ON r.room_no = m.room_no AND r.tenant_no = m.tenant_no "
     "WHERE r.room_no IS NULL"},
    // Kinds.
    {"SELECT 'entry ' || id || ' has kind ' || kind || ' and not its columns' FROM messages "
     "WHERE (kind = 1 AND (message_id IS NULL OR sender_no IS NULL OR content IS NULL)) "
     "OR (kind IN (2, 3) AND (message_id IS NULL OR target_seq IS NULL OR target_seq >= seq)) "
     "OR (kind BETWEEN 4 AND 7 AND body IS NULL) OR kind NOT BETWEEN 1 AND 7"},
    {"SELECT 'entry ' || m.id || ' is about seq ' || m.target_seq || ', which is not that "
     "message' FROM messages m JOIN rooms r ON r.room_no = m.room_no AND r.deleted_at IS NULL "
     "LEFT JOIN room_log l ON l.room_no = m.room_no AND l.seq = m.target_seq "
     "LEFT JOIN messages t ON t.id = l.id WHERE m.kind IN (2, 3) AND m.target_seq >= r.first_seq "
     "AND (t.id IS NULL OR t.kind <> 1 OR t.message_id <> m.message_id)"},
    {"SELECT 'message ' || id || ' is deleted and still has content' FROM messages WHERE kind = 1 "
     "AND deleted_at IS NOT NULL AND (content <> '' OR meta IS NOT NULL)"},
    {"SELECT 'entry ' || id || ' is an edit and keeps content of its own' FROM messages "
     "WHERE kind = 2 AND (content IS NOT NULL OR meta IS NOT NULL)"},
    {"SELECT 'message ' || t.id || ' is edited in the log and not in itself' FROM messages m "
     "JOIN room_log l ON l.room_no = m.room_no AND l.seq = m.target_seq "
     "JOIN messages t ON t.id = l.id WHERE m.kind = 2 AND t.edited_at IS NULL"},
    {"SELECT 'entry ' || m.id || ' changes message ' || m.target_seq || ' of room ' || m.room_no "
     "|| ' after its deletion' FROM messages m JOIN (SELECT room_no, target_seq, min(seq) AS seq "
     "FROM messages WHERE kind = 3 GROUP BY room_no, target_seq) d ON d.room_no = m.room_no "
     "AND d.target_seq = m.target_seq WHERE m.kind IN (2, 3) AND m.seq > d.seq"},
    {"SELECT 'message ' || t.id || ' is deleted in the log and not in itself' FROM messages m "
     "JOIN room_log l ON l.room_no = m.room_no AND l.seq = m.target_seq "
     "JOIN messages t ON t.id = l.id WHERE m.kind = 3 AND t.deleted_at IS NULL"},
    // One key ↔ one entry, made by that call (SPEC 2.4, I5), or the message that the call left as it was.
    {"SELECT 'a key of room ' || k.room_no || ' names seq ' || k.seq || ', which is not what it "
     "made' FROM send_keys k JOIN rooms r ON r.room_no = k.room_no AND r.deleted_at IS NULL "
     "LEFT JOIN room_log l ON l.room_no = k.room_no AND l.seq = k.seq "
     "LEFT JOIN messages m ON m.id = l.id WHERE k.seq >= r.first_seq AND k.answered_at IS NULL "
     "AND (m.id IS NULL OR m.message_id IS NOT k.message_id OR m.kind <> k.call)"},
    {"SELECT 'a key of room ' || k.room_no || ' names seq ' || k.seq || ', which is not what it "
     "left as it was' FROM send_keys k JOIN rooms r ON r.room_no = k.room_no "
     "AND r.deleted_at IS NULL LEFT JOIN room_log l ON l.room_no = k.room_no AND l.seq = k.seq "
     "LEFT JOIN messages m ON m.id = l.id WHERE k.seq >= r.first_seq "
     "AND k.answered_at IS NOT NULL AND (m.id IS NULL OR m.kind <> 1 OR k.call NOT IN (2, 3) "
     "OR m.message_id IS NOT k.message_id OR m.created_at <> k.answered_at)"},
    {"SELECT 'room ' || room_no || ' seq ' || seq || ' has ' || count(*) || ' keys' "
     "FROM send_keys WHERE answered_at IS NULL GROUP BY room_no, seq HAVING count(*) > 1"},
    // Members and cursors.
    {"SELECT 'room ' || r.room_no || ': member_count is ' || r.member_count || ', members are ' "
     "|| count(m.user_no) FROM rooms r LEFT JOIN room_members m ON m.room_no = r.room_no "
     "WHERE r.deleted_at IS NULL GROUP BY r.room_no HAVING count(m.user_no) <> r.member_count"},
    {"SELECT 'room ' || m.room_no || ': user ' || m.user_no || ' is a member across tenants' "
     "FROM room_members m LEFT JOIN rooms r ON r.room_no = m.room_no "
     "LEFT JOIN users u ON u.user_no = m.user_no WHERE r.tenant_no IS NOT m.tenant_no "
     "OR u.tenant_no IS NOT m.tenant_no"},
    {"SELECT 'room ' || m.room_no || ': user ' || m.user_no || ' joined at ' || m.joined_seq || "
     "', beyond the end' FROM room_members m JOIN rooms r ON r.room_no = m.room_no "
     "AND r.deleted_at IS NULL WHERE m.joined_seq > coalesce((SELECT max(l.seq) FROM room_log l "
     "WHERE l.room_no = m.room_no), r.first_seq - 1)"},
    {"SELECT 'room ' || d.room_no || ': the cursor of user ' || d.user_no || ' is ' || "
     "d.last_read || ' read, ' || d.last_ack || ' acked' FROM delivery_state d "
     "JOIN rooms r ON r.room_no = d.room_no AND r.deleted_at IS NULL "
     "WHERE d.last_read > d.last_ack OR d.last_ack > coalesce((SELECT max(l.seq) FROM room_log l "
     "WHERE l.room_no = d.room_no), r.first_seq - 1)"},
    {"SELECT 'room ' || d.room_no || ': user ' || d.user_no || ' has a cursor and is no member' "
     "FROM delivery_state d LEFT JOIN room_members m ON m.tenant_no = d.tenant_no "
     "AND m.user_no = d.user_no AND m.room_no = d.room_no WHERE m.user_no IS NULL"},
    {"SELECT 'room ' || room_no || ' is a dm without its pair' FROM rooms WHERE type = 1 "
     "AND dm_key IS NULL"},
    // Webhooks: who is told, how far the log is read for them, what waits. Rows that are to be dropped, and those of a tenant
    // that is deleted, are nobody's.
    {"SELECT 'the reader `' || name || '` stands at ' || id || ', beyond the log' "
     "FROM reader_positions WHERE id > coalesce((SELECT last_id FROM commits ORDER BY no DESC "
     "LIMIT 1), 0)"},
    {"SELECT 'the reader of offline stands at ' || o.id || ', beyond that of events at ' || e.id "
     "FROM reader_positions o JOIN reader_positions e ON e.name = 'events' "
     "WHERE o.name = 'offline' AND o.id > e.id"},
    {"SELECT 'there are endpoints, and no reader `' || n.name || '`' FROM (SELECT 'events' AS name "
     "UNION ALL SELECT 'offline') n WHERE EXISTS(SELECT 1 FROM endpoint_state) "
     "AND NOT EXISTS(SELECT 1 FROM reader_positions p WHERE p.name = n.name)"},
    {"SELECT 'tenant ' || t.tenant_no || ': its endpoint is not what its configuration says' "
     "FROM tenants t LEFT JOIN endpoint_state e ON e.tenant_no = t.tenant_no "
     "WHERE t.deleted_at IS NULL AND e.url IS NOT nullif(t.config ->> '$.webhook_url', '')"},
    {"SELECT 'the endpoint of tenant ' || e.tenant_no || ' has no tenant' FROM endpoint_state e "
     "LEFT JOIN tenants t ON t.tenant_no = e.tenant_no AND t.deleted_at IS NULL "
     "WHERE t.tenant_no IS NULL"},
    {"SELECT 'tenant ' || e.tenant_no || ': ' || e.queued || ' events are said to wait, ' || "
     "count(o.outbox_no) || ' do' FROM endpoint_state e LEFT JOIN outbox_chores c "
     "ON c.tenant_no = e.tenant_no AND c.chore = 1 LEFT JOIN outbox o "
     "ON o.tenant_no = e.tenant_no AND o.outbox_no > coalesce(c.upto, 0) GROUP BY e.tenant_no "
     "HAVING count(o.outbox_no) <> e.queued"},
    {"SELECT 'event ' || o.outbox_no || ' waits for no endpoint' FROM outbox o "
     "LEFT JOIN endpoint_state e ON e.tenant_no = o.tenant_no LEFT JOIN outbox_chores c "
     "ON c.tenant_no = o.tenant_no AND c.chore = 1 LEFT JOIN tenants t "
     "ON t.tenant_no = o.tenant_no AND t.deleted_at IS NULL WHERE e.tenant_no IS NULL "
     "AND t.tenant_no IS NOT NULL AND o.outbox_no > coalesce(c.upto, 0)"},
    {"SELECT 'event ' || outbox_no || ' has a place or an entry beyond the log' FROM outbox "
     "WHERE max(place - 1, log_id) > coalesce((SELECT last_id FROM commits ORDER BY no "
     "DESC LIMIT 1), 0)"},
    {"SELECT 'event ' || o.outbox_no || ' is in the lane of another room than its entry' "
     "FROM outbox o JOIN messages m ON m.id = o.log_id WHERE o.log_id > 0 "
     "AND (m.room_no <> o.lane OR m.tenant_no <> o.tenant_no)"},
    {"SELECT 'dead letter ' || dead_no || ' tells of nothing' FROM dead_letters "
     "WHERE kind NOT IN (1, 2, 3) OR (kind IN (1, 2) AND event_id IS NULL) "
     "OR (kind = 3 AND notification_no IS NULL)"},
    // Notifications: their rows belong to one, and each state has what it should.
    {"SELECT 'notification ' || p.notification_no || ' waits for user ' || p.user_no || "
     "', and is not there' FROM notification_pending p LEFT JOIN notifications n "
     "ON n.notification_no = p.notification_no AND n.tenant_no = p.tenant_no "
     "WHERE n.notification_no IS NULL"},
    {"SELECT 'notification ' || a.notification_no || ' is acknowledged by user ' || a.user_no || "
     "', and is not there' FROM notification_acks a LEFT JOIN notifications n "
     "ON n.notification_no = a.notification_no WHERE n.notification_no IS NULL"},
    {"SELECT 'notification ' || notification_no || ' has no such state, or not the payload of it' "
     "FROM notifications WHERE state NOT IN (1, 2, 3) OR (state = 2) <> (payload IS NULL)"},
    {"SELECT 'notification ' || n.notification_no || ' waits for nobody' FROM notifications n "
     "JOIN tenants t ON t.tenant_no = n.tenant_no AND t.deleted_at IS NULL WHERE n.state = 1 "
     "AND n.room_no IS NULL AND NOT EXISTS(SELECT 1 FROM notification_pending p "
     "WHERE p.notification_no = n.notification_no)"},
    {"SELECT 'notification ' || n.notification_no || ' is dead, and no dead letter says so' "
     "FROM notifications n JOIN tenants t ON t.tenant_no = n.tenant_no AND t.deleted_at IS NULL "
     "WHERE n.state = 3 AND n.notification_no NOT IN (SELECT notification_no FROM dead_letters "
     "WHERE notification_no IS NOT NULL)"},
    {"SELECT 'dead letter ' || d.dead_no || ' is of a notification that is not dead' "
     "FROM dead_letters d JOIN tenants t ON t.tenant_no = d.tenant_no AND t.deleted_at IS NULL "
     "LEFT JOIN notifications n ON n.notification_no = d.notification_no AND n.state = 3 "
     "AND n.tenant_no = d.tenant_no WHERE d.kind = 3 AND n.notification_no IS NULL"},
};

class verifier {
 public:
  verifier(connection& db, verify_report& report) : db_(db), report_(report) {}

  void run() {
    counts();
    check("PRAGMA quick_check(20)", "ok");
    for (const rule& r : rules) check(r.counter_examples, {});
    chain();
  }

 private:
  void counts() {
    report_.tenants = db_.integer_or_throw("SELECT count(*) FROM tenants WHERE deleted_at IS NULL");
    report_.rooms = db_.integer_or_throw("SELECT count(*) FROM rooms WHERE deleted_at IS NULL");
    report_.entries = db_.integer_or_throw("SELECT count(*) FROM messages");
    report_.keys = db_.integer_or_throw("SELECT count(*) FROM send_keys");
    report_.commits = db_.integer_or_throw("SELECT count(*) FROM commits");
  }

  void problem(std::string text) {
    if (report_.problems.size() < max_problems) report_.problems.push_back(std::move(text));
  }

  /// Each row is a problem, but for the text `fine`.
  void check(const char* sql, std::string_view fine) {
    statement s{db_, sql};
    auto q = s.query();
    while (q.next()) {
      if (q.text(0) != fine) problem(std::string{q.text(0)});
    }
    if (q.failed()) problem("a check could not be finished: " + db_.last_failure().text);
  }

  /// Every commit's hash follows from the one before and from its rows; no row lies outside of all commits.
  void chain() {
    // Retention and the janitor take rows away, and with them the proof for their commit.
    const bool rows_may_be_gone =
        db_.integer_or_throw(
            "SELECT EXISTS(SELECT 1 FROM rooms WHERE first_seq > 1 OR deleted_at IS NOT NULL) "
            "OR EXISTS(SELECT 1 FROM tenants WHERE deleted_at IS NOT NULL)") != 0;
    statement commits{db_, "SELECT no, first_id, last_id, hash FROM commits ORDER BY no"};
    statement rows{db_,
                   "SELECT id, room_no, seq, kind, message_id, created_at FROM messages "
                   "WHERE id > ? AND id <= ? ORDER BY id"};
    auto c = commits.query();
    std::optional<sha256_digest> previous;  // nullopt: pruned, so the first record is only a base
    commit_no expected{1};
    log_id covered{0};
    while (c.next()) {
      const auto no = c.number<commit_no>(0);
      const auto first = c.number<log_id>(1);
      const auto last = c.number<log_id>(2);
      const auto hash = c.bytes<32>(3);
      const std::string name = "commit " + std::to_string(no.value);
      if (no == commit_no{1}) previous = chain_start;
      if (previous && no != expected) problem(name + " does not follow the one before");
      if (last < first && last.next() != first) problem(name + " ends before it starts");
      if (previous && first <= covered) problem(name + " overlaps the one before");
      // From the end of the one before: so that rows between two commits are seen, too.
      const log_id from = previous ? covered : log_id{first.value - 1};
      commit_chain link{previous.value_or(chain_start)};
      std::int64_t found = 0;
      auto q = rows.query(from, last);
      while (q.next()) {
        if (q.number<log_id>(0) < first) {
          problem("entry " + std::to_string(q.integer(0)) + " belongs to no commit");
          continue;
        }
        ++found;
        link.add(q.number<log_id>(0), q.number<room_no>(1), q.number<room_seq>(2),
                 static_cast<entry_kind>(q.integer(3)), message_id{q.id(4)}, q.time(5));
      }
      if (q.failed()) return problem("the log can't be read: " + db_.last_failure().text);
      const std::int64_t gone = last.value - first.value + 1 - found;
      if (gone > 0 && !rows_may_be_gone) {
        problem(name + " lacks " + std::to_string(gone) + " of its entries");
      }
      if (gone == 0 && previous && link.hash() != hash)
        problem(name + " is not what was committed");
      previous = hash;
      expected = no.next();
      covered = last;
    }
    if (c.failed()) return problem("the commits can't be read: " + db_.last_failure().text);
    auto q = rows.query(covered, std::int64_t{INT64_MAX});
    while (q.next()) {
      problem("entry " + std::to_string(q.integer(0)) + " is newer than the last commit");
    }
  }

  connection& db_;
  verify_report& report_;
};

}  // namespace

result<verify_report> verify_sqlite(const std::filesystem::path& file, const std::string& vfs) {
  verify_report report;
  try {
    connection db{{.file = file.string(), .vfs = vfs, .read_only = true, .cache_bytes = cache_bytes}};
    // One snapshot for all of it; a running node goes on, and only its WAL can't start over meanwhile.
    db.execute_or_throw("BEGIN");
    if (auto ours = require_newest_schema(db); !ours) return ours.error();
    verifier{db, report}.run();
  } catch (const db_exception& e) {
    return error{.code = error_code::unavailable,
                 .message = "can't read the database " + file.string() + ": " + e.failure().text,
                 .field = "file"};
  }
  return report;
}

}  // namespace parley::store
