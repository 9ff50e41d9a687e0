#include "store/outbox_writes.hpp"

#include "protocol/limits.hpp"
#include "store/write_failure.hpp"

#include <algorithm>
#include <utility>

namespace parley::store {
namespace {

constexpr std::string_view events_name = "events";
constexpr std::string_view offline_name = "offline";

error conflict(std::string message, std::string field = {}) {
  return {.code = error_code::conflict, .message = std::move(message), .field = std::move(field)};
}

error no_endpoint() {
  return conflict("the tenant has no endpoint that takes events", "webhook_url");
}

error late() { return conflict("the position has moved meanwhile"); }

/// Little endian, 8 bytes.
void append(std::string& out, std::int64_t v) {
  for (unsigned i = 0; i < 8; ++i)
    out += static_cast<char>(static_cast<std::uint64_t>(v) >> (8 * i));
}

std::optional<std::string_view> null_if_empty(std::string_view text) {
  if (text.empty()) return std::nullopt;
  return text;
}

}  // namespace

outbox_writes::outbox_writes(connection& db, const log_appender& log, std::int64_t max_events)
    : db_(db),
      log_(log),
      max_events_(max_events),
      letters_(db),
      id_prefix_(db.text_or_throw("SELECT hex(v) FROM meta WHERE k = 'database_id'") + '/' +
                 db.text_or_throw("SELECT v FROM meta WHERE k = 'epoch'") + '/'),
      next_(db.integer_or_throw("SELECT coalesce((SELECT seq FROM sqlite_sequence "
                                "WHERE name = 'outbox'), 0)") +
            1),
      select_endpoint_(db, lazily{"SELECT events, since_id, queued, disabled_at IS NULL, "
                                  "replay_from, replay_to FROM endpoint_state "
                                  "WHERE tenant_no = ?"}),
      select_any_active_(db,
                         lazily{"SELECT 1 FROM endpoint_state WHERE disabled_at IS NULL LIMIT 1"}),
      insert_endpoint_(db, lazily{"INSERT INTO endpoint_state(tenant_no, url, events, format, "
                                  "since_id) VALUES(?, ?, ?, ?, ?)"}),
      // Of another URL nothing is known yet.
      update_endpoint_(db, lazily{"UPDATE endpoint_state SET last_error = CASE url WHEN ?2 "
                                  "THEN last_error ELSE '' END, url = ?2, events = ?3, "
                                  "format = ?4 WHERE tenant_no = ?1"}),
      enable_endpoint_(db, lazily{"UPDATE endpoint_state SET url = ?2, events = ?3, format = ?4, "
                                  "since_id = ?5, disabled_at = NULL, why = '', last_error = '' "
                                  "WHERE tenant_no = ?1"}),
      delete_endpoint_(db, lazily{"DELETE FROM endpoint_state WHERE tenant_no = ?"}),
      disable_endpoint_(db, lazily{"UPDATE endpoint_state SET disabled_at = ?2, why = ?3, "
                                   "replay_from = 0, replay_to = 0 WHERE tenant_no = ?1 "
                                   "AND url = ?4 AND disabled_at IS NULL"}),
      add_to_endpoint_(
          db, lazily{"UPDATE endpoint_state SET queued = queued + ?2, delivered = delivered + ?3, "
                     "given_up = given_up + ?4, dropped = dropped + ?5, last_success_at = "
                     "max(coalesce(last_success_at, ?6), coalesce(?6, last_success_at)), "
                     "last_failure_at = "
                     "max(coalesce(last_failure_at, ?7), coalesce(?7, last_failure_at)), "
                     "last_error = coalesce(?8, last_error) WHERE tenant_no = ?1"}),
      set_replay_(db, lazily{"UPDATE endpoint_state SET replay_from = ?2, replay_to = ?3 "
                             "WHERE tenant_no = ?1"}),
      select_position_(db, lazily{"SELECT id FROM reader_positions WHERE name = ?"}),
      set_position_(db, lazily{"INSERT INTO reader_positions(name, id) VALUES(?, ?) "
                               "ON CONFLICT(name) DO UPDATE SET id = excluded.id"}),
      select_drop_(db, lazily{"SELECT upto FROM outbox_chores WHERE tenant_no = ? AND chore = 1"}),
      insert_chore_(db, lazily{"INSERT INTO outbox_chores(tenant_no, chore, upto) VALUES(?, ?, ?) "
                               "ON CONFLICT(tenant_no, chore) DO UPDATE SET upto = excluded.upto, "
                               "place = 0"}),
      select_chore_(db, lazily{"SELECT 1 FROM outbox_chores WHERE tenant_no = ? AND chore = ?"}),
      delete_chore_(db, lazily{"DELETE FROM outbox_chores WHERE tenant_no = ? AND chore = ?"}),
      select_row_(db, lazily{"SELECT lane, type, log_id, recipient_no, event_id, data, at "
                             "FROM outbox WHERE outbox_no = ?2 AND tenant_no = ?1"}),
      insert_row_(db, lazily{"INSERT INTO outbox(outbox_no, tenant_no, lane, place, type, log_id, "
                             "recipient_no, event_id, data, at) "
                             "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"}),
      delete_row_(db, lazily{"DELETE FROM outbox WHERE outbox_no = ?"}),
      postpone_row_(db, lazily{"UPDATE outbox SET attempts = ?2, next_at = ?3, "
                               "last_attempt_at = ?4, error = ?5 WHERE outbox_no = ?1"}),
      select_lacking_(
          db, lazily{"SELECT m.user_no FROM (SELECT l.tenant_no, l.room_no, l.seq, l.sender_no, "
                     "x.user_no FROM messages l JOIN room_members x ON x.room_no = l.room_no "
                     "WHERE l.id = ?1 LIMIT ?2) m JOIN room_members j ON j.tenant_no = m.tenant_no "
                     "AND j.user_no = m.user_no AND j.room_no = m.room_no "
                     "LEFT JOIN delivery_state d ON d.tenant_no = m.tenant_no "
                     "AND d.user_no = m.user_no AND d.room_no = m.room_no "
                     "WHERE max(j.joined_seq, coalesce(d.last_ack, 0)) < m.seq "
                     "AND m.user_no <> m.sender_no"}),
      has_entry_(db, lazily{"SELECT 1 FROM messages WHERE id = ? AND room_no = ?"}) {
  counts_.events_waiting =
      db.integer_or_throw("SELECT coalesce(sum(queued), 0) FROM endpoint_state");
}

// ---------------------------------------------------------------------------------------------------------- look-ups

write_result<void> outbox_writes::later(bool done) {
  if (!done) return write_failed(db_.last_failure(), item_step::later);
  return {};
}

write_result<std::optional<outbox_writes::endpoint>> outbox_writes::find(tenant_no tenant) {
  auto q = select_endpoint_.query(tenant);
  if (q.next()) {
    return std::optional{endpoint{.events = static_cast<event_mask>(q.integer(0)),
                                  .since = q.number<log_id>(1),
                                  .queued = q.integer(2),
                                  .active = q.integer(3) != 0,
                                  .replay_from = q.number<log_id>(4),
                                  .replay_to = q.number<log_id>(5)}};
  }
  if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  return std::optional<endpoint>{};
}

write_result<outbox_writes::touched> outbox_writes::touch(tenant_no tenant) {
  touched t;
  auto known = find(tenant);
  if (!known) return known.error();
  t.row = *known;
  auto q = select_drop_.query(tenant);
  if (q.next()) t.drop_upto = q.number<outbox_no>(0);
  if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  return t;
}

write_result<std::optional<log_id>> outbox_writes::position(std::string_view name) {
  auto q = select_position_.query(name);
  if (q.next()) return std::optional{q.number<log_id>(0)};
  if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  return std::optional<log_id>{};
}

write_result<log_id> outbox_writes::events_position() {
  auto at = position(events_name);
  if (!at) return at.error();
  return at->value_or(log_id{});
}

write_result<log_id> outbox_writes::place_behind() {
  auto at = events_position();
  if (!at) return at.error();
  return at->next();
}

// --------------------------------------------------------------------------------------------------------- endpoints

write_result<void> outbox_writes::configured(tenant_no tenant, std::string_view config) {
  const auto wanted = endpoint_in(config);
  const auto known = find(tenant);
  if (!known) return known.error();
  if (!wanted) {
    if (!*known) return {};
    return remove(tenant, **known);
  }
  if (*known && (*known)->active)
    return later(update_endpoint_.run(tenant, wanted->url, wanted->events, wanted->format));
  return make(tenant, *wanted, known->has_value());
}

write_result<void> outbox_writes::make(tenant_no tenant, const wanted_endpoint& wanted, bool known) {
  bool read_by_anybody = false;
  {
    auto q = select_any_active_.query();
    read_by_anybody = q.next();
    if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  }
  // Nobody has read what is in the log, and nobody is to.
  if (!read_by_anybody) {
    for (const auto name : {events_name, offline_name}) {
      if (auto set = later(set_position_.run(name, last())); !set) return set;
    }
  }
  open_.news.insert(tenant);  // what waits of the time before
  if (known) {
    return later(enable_endpoint_.run(tenant, wanted.url, wanted.events, wanted.format, last()));
  }
  return later(insert_endpoint_.run(tenant, wanted.url, wanted.events, wanted.format, last()));
}

write_result<void> outbox_writes::remove(tenant_no tenant, const endpoint& e) {
  if (auto gone = later(delete_endpoint_.run(tenant)); !gone) return gone;
  if (auto gone = later(delete_chore_.run(tenant, outbox_chore::requeue)); !gone) return gone;
  open_.counts.events_waiting -= e.queued;
  if (e.queued == 0) return {};
  open_.chores = true;
  return later(insert_chore_.run(tenant, outbox_chore::drop, next_.value - 1));
}

write_result<void> outbox_writes::tenant_gone(tenant_no tenant) {
  const auto known = find(tenant);
  if (!known) return known.error();
  if (!*known) return {};
  open_.counts.events_waiting -= (*known)->queued;
  return later(delete_endpoint_.run(tenant));
}

write_result<void> outbox_writes::disable(const outbox_batch::disable& d) {
  if (auto done = later(disable_endpoint_.run(d.tenant, d.at, d.why, d.url)); !done) return done;
  if (db_.changes() == 0) return {};  // it has another URL by now
  return later(delete_chore_.run(d.tenant, outbox_chore::requeue));
}

// -------------------------------------------------------------------------------------------------------------- rows

write_result<void> outbox_writes::add(const outbox_row& row) {
  const auto e = find(row.tenant);
  if (!e) return e.error();
  if (!*e || !(*e)->active || ((*e)->events & mask_of(row.type)) == 0) return {};
  // The first of its room comes before all of the log. The last one comes behind all that the room's log has, even if the
  // reader has not got so far: what is at the place of an entry is stored later, and would come behind it.
  log_id place{};
  if (row.type == event_type::room_deleted) {
    place = last().next();
  } else if (row.type != event_type::room_created) {
    const auto behind = place_behind();
    if (!behind) return behind.error();
    place = *behind;
  }
  touched t{.row = *e};
  if (auto stored = insert(row, place, t); !stored) return stored;
  open_.news.insert(row.tenant);
  return save(row.tenant, t.sum);
}

write_result<void> outbox_writes::insert(const outbox_row& row, log_id place, touched& t,
                                         std::string_view event_id) {
  if (t.row->queued + t.sum.queued >= max_events_) {
    ++t.sum.dropped;
    ++open_.counts.events_dropped;
    return {};
  }
  const outbox_no no = next_;
  next_ = next_.next();
  const hash128 made = event_id.empty() ? event_id_of(row, no) : hash128{};
  const blob_view id =
      event_id.empty() ? blob_of(made.bytes) : blob_view{event_id.data(), event_id.size()};
  if (!insert_row_.run(no, row.tenant, row.lane, place, row.type, row.log, row.recipient, id,
                       null_if_empty(row.data), row.at)) {
    return write_failed(db_.last_failure(), item_step::later);
  }
  ++t.sum.queued;
  ++open_.counts.events_stored;
  ++open_.counts.events_waiting;
  return {};
}

hash128 outbox_writes::event_id_of(const outbox_row& row, outbox_no no) const {
  std::string cause = id_prefix_;
  if (row.log.is_set()) {
    cause += 'e';
    append(cause, row.log.value);
    append(cause, static_cast<std::int64_t>(row.type));
    append(cause, row.recipient.value_or(user_no{}).value);
  } else {
    cause += 'r';
    append(cause, no.value);
  }
  return hash128_of(cause);
}

write_result<void> outbox_writes::save(tenant_no tenant, const change& c) {
  std::optional<std::string_view> last_error;
  if (c.failure_at) last_error = c.last_error;
  return later(add_to_endpoint_.run(tenant, c.queued, c.delivered, c.given_up, c.dropped,
                                    c.success_at, c.failure_at, last_error));
}

// ------------------------------------------------------------------------------------------------------------ batches

write_result<void> outbox_writes::check(const outbox_batch& batch) {
  if (batch.position) {
    const auto& p = *batch.position;
    const bool events = p.reader == log_reader::events;
    const auto stands = position(events ? events_name : offline_name);
    if (!stands) return stands.error();
    if (*stands != std::optional{p.from}) return refused(late());
    auto bound = write_result<log_id>{last()};
    if (!events) bound = events_position();
    if (!bound) return bound.error();
    if (p.to < p.from || p.to > *bound) {
      return refused({.code = error_code::internal, .message = "a position has nothing there"});
    }
  }
  if (batch.replay) {
    const auto e = find(batch.replay->tenant);
    if (!e) return e.error();
    if (!*e || !(*e)->active || !(*e)->replay_to.is_set() ||
        (*e)->replay_from != batch.replay->from || batch.replay->to < batch.replay->from) {
      return refused(late());
    }
  }
  return {};
}

write_result<void> outbox_writes::move(const outbox_batch& batch) {
  if (batch.position) {
    const auto& p = *batch.position;
    const auto name = p.reader == log_reader::events ? events_name : offline_name;
    if (auto moved = later(set_position_.run(name, p.to)); !moved) return moved;
  }
  if (batch.replay) {
    const auto& r = *batch.replay;
    const auto e = find(r.tenant);
    if (!e) return e.error();
    const bool done = r.to >= (*e)->replay_to;
    return later(set_replay_.run(r.tenant, done ? log_id{} : r.to, done ? log_id{} : (*e)->replay_to));
  }
  return {};
}

write_result<void> outbox_writes::apply(const outbox_batch& batch) {
  if (auto fits = check(batch); !fits) return fits;
  if (auto moved = move(batch); !moved) return moved;

  std::map<tenant_no, touched> tenants;
  const auto of = [&](tenant_no tenant) -> write_result<touched*> {
    auto known = tenants.find(tenant);
    if (known == tenants.end()) {
      auto t = touch(tenant);
      if (!t) return t.error();
      known = tenants.emplace(tenant, std::move(*t)).first;
    }
    return &known->second;
  };

  for (const outbox_outcome& o : batch.outcomes) {
    const auto t = of(o.tenant);
    if (!t) return t.error();
    if (auto done = settle(o, **t); !done) return done;
  }
  // What the log says goes where it stands in the log; all else behind what was read of it.
  const bool in_place = batch.position && batch.position->reader == log_reader::events;
  const auto behind = place_behind();
  if (!behind) return behind.error();
  for (const outbox_row& row : batch.rows) {
    const auto t = of(row.tenant);
    if (!t) return t.error();
    if (!(*t)->row || !(*t)->row->active) continue;
    if (auto stored = insert(row, in_place ? row.log : *behind, **t); !stored) return stored;
  }
  for (const auto& [tenant, t] : tenants) {
    if (!t.row) continue;
    if (auto saved = save(tenant, t.sum); !saved) return saved;
  }
  if (batch.disabled) return disable(*batch.disabled);
  return {};
}

write_result<void> outbox_writes::settle(const outbox_outcome& o, touched& t) {
  waiting w;
  w.no = o.no;
  {
    auto q = select_row_.query(o.tenant, o.no);
    if (!q.next()) {
      if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
      return {};  // gone meanwhile
    }
    w.lane = q.number<lane_no>(0);
    w.type = static_cast<event_type>(q.integer(1));
    w.log = q.number<log_id>(2);
    if (!q.is_null(3)) w.recipient = q.number<user_no>(3);
    w.event_id = q.blob(4);
    w.data = q.text(5);
    w.at = q.time(6);
  }
  const bool counts = t.row && o.no > t.drop_upto;
  using kind = outbox_outcome::kind;
  if (o.what == kind::failed) {
    if (!counts) return {};
    t.sum.failure_at = std::max(t.sum.failure_at, std::optional{o.at});
    t.sum.last_error = o.error;
    return later(postpone_row_.run(o.no, o.attempts, o.next_at, o.at, o.error));
  }
  if (auto gone = later(delete_row_.run(o.no)); !gone) return gone;
  if (!counts) return {};
  --t.sum.queued;
  --open_.counts.events_waiting;
  if (o.what == kind::delivered) {
    ++t.sum.delivered;
    t.sum.success_at = std::max(t.sum.success_at, std::optional{o.at});
  }
  if (o.what != kind::given_up) return {};
  ++t.sum.given_up;
  t.sum.failure_at = std::max(t.sum.failure_at, std::optional{o.at});
  t.sum.last_error = o.error;
  return bury(w, o);
}

write_result<std::vector<user_no>> outbox_writes::lacking(const waiting& w) {
  std::vector<user_no> out;
  auto q = select_lacking_.query(w.log, limits::dead_letter_recipients_max);
  while (q.next()) out.push_back(q.number<user_no>(0));
  if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  return out;
}

write_result<void> outbox_writes::bury(const waiting& w, const outbox_outcome& o) {
  dead_row dead;
  dead.tenant = o.tenant;
  dead.kind = w.type == event_type::message_offline ? dead_kind::message : dead_kind::webhook;
  dead.lane = w.lane;
  if (dead.kind == dead_kind::message && !w.recipient) {
    const auto users = lacking(w);
    if (!users) return users.error();
    dead.recipients = recipients_text(*users);
  }
  dead.type = w.type;
  dead.log = w.log;
  dead.recipient = w.recipient;
  dead.event_id = w.event_id;
  dead.data = w.data;
  dead.at = w.at;
  dead.attempts = o.attempts;
  dead.last_attempt_at = o.at;
  dead.error = o.error;
  dead.created_at = o.at;
  ++open_.counts.dead_letters;
  return letters_.bury(dead);
}

// ----------------------------------------------------------------------------------------- what the operator wants

write_result<void> outbox_writes::replay(tenant_no tenant, const tenant_change::replay_events& r) {
  const auto e = find(tenant);
  if (!e) return e.error();
  if (!*e || !(*e)->active) return refused(no_endpoint());
  {
    auto q = select_chore_.query(tenant, outbox_chore::requeue);
    const bool under_way = q.next() || (*e)->replay_to.is_set();
    if (q.failed()) return write_failed(db_.last_failure(), item_step::first);
    if (under_way) return refused(conflict("a replay is under way"));
  }
  if (r.dead_letters) {
    const auto upto = letters_.newest(tenant);
    if (!upto) return upto.error();
    if (!upto->is_set()) return {};
    open_.chores = true;
    return later(insert_chore_.run(tenant, outbox_chore::requeue, *upto));
  }
  // What is behind the reader comes by itself, unless it is from before the endpoint.
  const auto read = events_position();
  if (!read) return read.error();
  const log_id end = r.to.is_set() ? std::min(r.to, last()) : last();
  const log_id to = std::min(end, std::max(*read, (*e)->since));
  if (r.after >= to) return {};
  return later(set_replay_.run(tenant, r.after, to));
}

write_result<std::optional<dead_row>> outbox_writes::retry(tenant_no tenant, std::string_view id) {
  const auto no = parse_dead_letter_id(id);
  if (!no) return refused(not_found("dead letter"));
  auto letter = letters_.find(tenant, *no);
  if (!letter) return letter.error();
  if (!*letter) return refused(not_found("dead letter"));
  if ((*letter)->kind == dead_kind::notification) {
    if (auto taken = letters_.take(**letter); !taken) return taken.error();
    return letter;
  }
  const auto queued = requeue(**letter);
  if (!queued) return queued.error();
  if (*queued == requeued::not_taken) return refused(no_endpoint());
  if (*queued == requeued::gone)
    return refused(conflict("what it tells of was removed by retention", "id"));
  return std::optional<dead_row>{};
}

write_result<outbox_writes::requeued> outbox_writes::requeue(const dead_row& letter) {
  const auto e = find(letter.tenant);
  if (!e) return e.error();
  if (!*e || !(*e)->active || (*e)->queued >= max_events_) return requeued::not_taken;
  if (letter.log.is_set()) {
    auto q = has_entry_.query(letter.log, letter.lane);
    const bool there = q.next();
    if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
    if (!there) return requeued::gone;
  }
  const auto behind = place_behind();
  if (!behind) return behind.error();
  touched t{.row = *e};
  outbox_row row{.tenant = letter.tenant,
                 .lane = letter.lane,
                 .type = letter.type,
                 .log = letter.log,
                 .recipient = letter.recipient,
                 .data = letter.data,
                 .at = letter.at};
  if (auto stored = insert(row, *behind, t, letter.event_id); !stored) return stored.error();
  if (auto saved = save(letter.tenant, t.sum); !saved) return saved.error();
  if (auto taken = letters_.take(letter); !taken) return taken.error();
  open_.news.insert(letter.tenant);
  return requeued::yes;
}

write_result<void> outbox_writes::forget(tenant_no tenant, std::string_view id) {
  const auto no = parse_dead_letter_id(id);
  if (!no) return refused(not_found("dead letter"));
  const auto letter = letters_.find(tenant, *no);
  if (!letter) return letter.error();
  if (!*letter) return refused(not_found("dead letter"));
  return letters_.let_go(**letter);
}

// -------------------------------------------------------------------------------------------------- the end of a batch

void outbox_writes::committed() {
  counts_.events_stored += open_.counts.events_stored;
  counts_.events_dropped += open_.counts.events_dropped;
  counts_.dead_letters += open_.counts.dead_letters;
  counts_.events_waiting += open_.counts.events_waiting;
  news_.insert(news_.end(), open_.news.begin(), open_.news.end());
  chores_ordered_ = chores_ordered_ || open_.chores;
  open_ = {};
}

void outbox_writes::undone() {
  letters_.forget_counts();
  open_ = {};
}

std::vector<tenant_no> outbox_writes::take_news() { return std::exchange(news_, {}); }

}  // namespace parley::store
