#include "store/sqlite_writer.hpp"

#include "protocol/assert.hpp"
#include "protocol/planted.hpp"
#include "store/write_failure.hpp"

namespace parley::store {
namespace {

constexpr std::size_t users_in_memory = 65536;  // 100 bytes each: 13 MB at worst, both ways
constexpr std::size_t rooms_in_memory = 65536;  // 150 bytes each: 10 MB at worst
constexpr std::chrono::seconds mark_interval{1};
/// So much must fit before we say that there is space again: more than one small batch.
constexpr std::int64_t probe_bytes = 64 * 1024;

write_error not_in_a_transaction() { return inconsistent("an item outside of a transaction"); }

}  // namespace

sqlite_writer::sqlite_writer(std::unique_ptr<connection> db, const sqlite_options& options,
                             reader_gate& gate, high_water_mark& mark, const clock& now,
                             const last_commit_record& last, const water_mark& marked, log_id next_id)
    : db_(std::move(db)),
      options_(options),
      mark_(mark),
      clock_(now),
      users_(*db_, users_in_memory),
      rooms_(*db_, rooms_in_memory),
      log_(*db_, users_, rooms_, next_id, options.idempotency_ttl),
      call_keys_(*db_, options.idempotency_ttl),
      notifications_(*db_, users_, rooms_, call_keys_, now),
      outbox_(*db_, log_, options.outbox_max_events),
      room_writes_(*db_, users_, rooms_, call_keys_, outbox_, now),
      tenants_(*db_, users_, outbox_, notifications_),
      sweeper_(*db_, outbox_.letters(), options.idempotency_ttl, options.dead_letter_ttl),
      jobs_(*db_, users_, rooms_, notifications_, outbox_, now),
      retention_(*db_, rooms_, now, {options.message_retention, options.worker_interval}),
      chores_(*db_, outbox_, now),
      expiry_(*db_, users_, rooms_, notifications_, outbox_, now, options.idempotency_ttl),
      checkpointer_(*db_, gate, now, {options.checkpoint_pages, options.wal_limit_pages}),
      last_(last),
      marked_(marked),
      first_id_(next_id),
      begin_(*db_, "BEGIN IMMEDIATE"),
      commit_(*db_, "COMMIT"),
      rollback_(*db_, "ROLLBACK"),
      insert_commit_(
          *db_,
          "INSERT INTO commits(no, first_id, last_id, hash, created_at) VALUES(?, ?, ?, ?, ?)"),
      write_probe_(*db_, "INSERT OR REPLACE INTO meta(k, v) VALUES('probe', zeroblob(?))") {}

// -------------------------------------------------------------------------------------------------------- the items

std::optional<write_error> sqlite_writer::barred() const {
  switch (state_) {
    case state::open:
      return std::nullopt;
    case state::doomed:
    case state::dead:
      return spoiled_;
    case state::idle:
    case state::closed:
      break;
  }
  return not_in_a_transaction();
}

template <class T, class Item>
write_result<T> sqlite_writer::item(const Item& run) {
  if (auto why = barred()) return *why;
  write_result<T> done = run();
  if (!done && done.error().scope != failure_scope::item) return spoil(done.error());
  return done;
}

template <class T, class Item>
write_result<T> sqlite_writer::item_of(tenant_no tenant, const Item& run) {
  return item<T>([&]() -> write_result<T> {
    if (auto live = tenants_.check_live(tenant); !live) return live.error();
    return run();
  });
}

write_result<void> sqlite_writer::begin() {
  if (state_ == state::dead) return *spoiled_;
  if (state_ == state::closed) return inconsistent("the database is closed");
  PARLEY_ASSERT(state_ == state::idle);
  if (!begin_.run()) {
    write_error e = write_failed(db_->last_failure(), item_step::later);
    if (e.scope == failure_scope::fatal) return die(std::move(e));
    return e;
  }
  state_ = state::open;
  first_id_ = log_.next_id();
  chain_.start(last_.hash);
  changes_at_begin_ = db_->total_changes();
  return {};
}

write_result<log_id> sqlite_writer::append(const append_row& row) {
  return item_of<log_id>(row.tenant, [&] { return log_.append(row, chain_); });
}
write_result<created_room> sqlite_writer::create_room(const new_room& room) {
  return item_of<created_room>(room.tenant, [&] { return room_writes_.create_room(room); });
}
write_result<room_seq> sqlite_writer::delete_room(tenant_no tenant, room_no room, utc_time at) {
  return item_of<room_seq>(tenant, [&] { return room_writes_.delete_room(tenant, room, at); });
}
write_result<tenant_no> sqlite_writer::create_tenant(const new_tenant& tenant) {
  retention_.wake();
  return item<tenant_no>([&] { return tenants_.create(tenant); });
}
write_result<tenant_row> sqlite_writer::change_tenant(const tenant_change& change) {
  auto changed = item<tenant_row>([&] { return tenants_.change(change); });
  if (changed) {
    jobs_.wake();
    retention_.wake();
  }
  return changed;
}
write_result<void> sqlite_writer::store_last_seen(tenant_no tenant, const user_id& user, utc_time at) {
  return item<void>([&] { return room_writes_.store_last_seen(tenant, user, at); });
}
write_result<cursor_state> sqlite_writer::move_cursor(const cursor_move& move) {
  return item_of<cursor_state>(move.tenant, [&] { return room_writes_.move_cursor(move); });
}
write_result<void> sqlite_writer::store_key_used(tenant_no tenant, const key_id& key, utc_time at) {
  return item<void>([&] { return tenants_.store_key_used(tenant, key, at); });
}

write_result<void> sqlite_writer::apply(const outbox_batch& batch) {
  return item<void>([&] { return outbox_.apply(batch); });
}
write_result<created_notification> sqlite_writer::create_notification(const new_notification& n) {
  return item_of<created_notification>(n.tenant, [&] { return notifications_.create(n); });
}
write_result<void> sqlite_writer::acknowledge(const user_key& user,
                                              const std::vector<uuid>& notifications) {
  return item_of<void>(user.tenant, [&] { return notifications_.acknowledge(user, notifications); });
}
write_result<void> sqlite_writer::attempted(
    tenant_no tenant, const std::vector<std::pair<uuid, std::uint32_t>>& written, utc_time at) {
  return item<void>([&] { return notifications_.attempted(tenant, written, at); });
}

outbox_writer::counts sqlite_writer::outbox_counts() const {
  counts out = outbox_.counted();
  const auto& n = notifications_.counted();
  out.notifications_created = n.created;
  out.notifications_acknowledged = n.acknowledged;
  out.notifications_expired = n.expired;
  out.dead_letters += n.dead_letters;
  return out;
}

write_result<std::optional<opened_room>> sqlite_writer::open_room(tenant_no tenant, room_id room,
                                                                  utc_time keys_since) {
  const auto open = [&]() -> write_result<std::optional<opened_room>> {
    if (auto live = tenants_.check_live(tenant); !live) {
      if (live.error().scope == failure_scope::item) return std::optional<opened_room>{};
      return live.error();
    }
    return room_writes_.open_room(tenant, room, keys_since);
  };
  if (state_ == state::open) return item<std::optional<opened_room>>(open);
  if (state_ != state::idle) return barred().value_or(not_in_a_transaction());
  auto opened = open();
  if (!opened && opened.error().scope == failure_scope::fatal) return die(opened.error());
  return opened;
}

// ----------------------------------------------------------------------------------------------- the end of a batch

write_result<commit_no> sqlite_writer::commit() {
  if (state_ == state::doomed) {
    state_ = state::idle;
    return *spoiled_;
  }
  if (auto why = barred()) return *why;
  if (db_->total_changes() == changes_at_begin_) {
    rollback();  // nothing to make durable: repeats, refusals, cursors that stood there
    return last_.no;
  }
  const last_commit_record next{last_.no.next(), log_id{log_.next_id().value - 1}, chain_.hash()};
  if (auto recorded = insert_commit_record(next); !recorded) {
    write_error e = spoil(recorded.error());
    if (state_ == state::doomed) state_ = state::idle;
    return e;
  }
  if (!commit_.run()) return commit_failed(db_->last_failure());
  state_ = state::idle;
  last_ = next;
  notifications_.committed();
  outbox_.committed();
  if (planted_defect("key_outside_transaction") && !log_.write_held_back_keys()) {
    return die(outcome_unknown(db_->last_failure()));
  }
  return last_.no;
}

write_result<void> sqlite_writer::insert_commit_record(const last_commit_record& next) {
  if (insert_commit_.run(next.no, first_id_, next.last_id, blob_of(next.hash), clock_.now())) {
    return {};
  }
  return write_failed(db_->last_failure(), item_step::later);
}

write_error sqlite_writer::commit_failed(const db_failure& f) {
  write_error e = write_failed(f, item_step::later);
  if (e.scope == failure_scope::fatal) return die(std::move(e));
  // SQLite rolls back by itself on most failures of COMMIT. An end of the transaction that we have no name for is an
  // outcome that we don't know.
  const bool undone_by_sqlite = !f.in_transaction;
  const bool known = e.scope == failure_scope::full || may_survive_in_the_wal(f);
  if (undone_by_sqlite && !known) return die(outcome_unknown(f));
  undo();
  if (state_ == state::dead) return *spoiled_;
  if (may_survive_in_the_wal(f) && !overwrite_undone_frames()) return die(outcome_unknown(f));
  state_ = state::idle;
  return e;
}

bool sqlite_writer::overwrite_undone_frames() {
  // The next frame goes where the first one of the undone transaction lies, and its checksum makes an end of those that
  // follow. It must be on the disk before anybody is told «not stored».
  const bool normal = options_.durability == durability::normal;
  if (normal && !db_->execute("PRAGMA synchronous=FULL")) return false;
  bool done = false;
  {
    transaction t{*db_};
    done = t.begin() &&
           db_->execute(
               "INSERT INTO meta(k, v) VALUES('undone', 1) "
               "ON CONFLICT(k) DO UPDATE SET v = v + 1") &&
           t.commit();
  }
  return done && (!normal || db_->execute("PRAGMA synchronous=NORMAL"));
}

void sqlite_writer::rollback() {
  if (state_ == state::open) undo();
  if (state_ == state::open || state_ == state::doomed) state_ = state::idle;
}

void sqlite_writer::undo() {
  log_.drop_held_back_keys();
  users_.forget_all();
  rooms_.forget_all();
  tenants_.forget_all();
  room_writes_.forget_counts();
  notifications_.undone();
  outbox_.undone();
  if (!db_->in_transaction()) return;
  if (rollback_.run() || !db_->in_transaction()) return;
  die(outcome_unknown(db_->last_failure()));  // neither committed nor undone: there is nothing left to try
}

write_error sqlite_writer::spoil(write_error e) {
  if (e.scope == failure_scope::fatal) return die(std::move(e));
  undo();
  if (state_ == state::dead) return *spoiled_;
  state_ = state::doomed;
  spoiled_ = e;
  return e;
}

write_error sqlite_writer::die(write_error e) {
  e.scope = failure_scope::fatal;
  state_ = state::dead;
  spoiled_ = e;
  return e;
}

// -------------------------------------------------------------------------------------------------- between commits

write_result<void> sqlite_writer::maintain(mono_time now, utc_time utc) {
  if (state_ == state::dead) return *spoiled_;
  PARLEY_ASSERT(state_ == state::idle);
  if (auto done = between_commits(checkpointer_.run_due(now)); !done) return done;
  if (auto done = between_commits(mark_if_due(now)); !done) return done;
  if (auto done = between_commits(sweeper_.run_due(now, utc, log_.take_keys_count())); !done)
    return done;
  // One piece at most: each holds the writer for milliseconds, and rests longer than the other takes.
  if (jobs_.due(now)) {
    const auto wrote = piece_of(jobs_, now);
    if (!wrote) return wrote.error();
    if (*wrote) expiry_.start_over();  // whom it has noted may just have been erased
    if (*wrote) return {};
  }
  if (chores_.due(now)) {
    const auto wrote = piece_of(chores_, now);
    if (!wrote) return wrote.error();
    if (*wrote) return {};
  }
  if (expiry_.due(now)) {
    const auto wrote = piece_of(expiry_, now);
    if (!wrote) return wrote.error();
    if (*wrote) return {};
  }
  if (retention_.due(now)) {
    if (auto wrote = piece_of(retention_, now); !wrote) return wrote.error();
  }
  return {};
}

template <class Work>
write_result<bool> sqlite_writer::piece_of(Work& work, mono_time now) {
  const auto failed = [&](const write_error& e) -> write_result<bool> {
    work.undone();
    if (e.scope == failure_scope::fatal || e.scope == failure_scope::full) return e;
    return true;  // it is tried again
  };
  const mono_time start = clock_.mono();
  const auto has_work = work.plan(now);
  if (!has_work) {
    work.undone();
    if (auto done = between_commits(has_work.error()); !done) return done.error();
    return false;
  }
  if (*has_work) {
    if (auto begun = begin(); !begun) return failed(begun.error());
    auto done = item<void>([&] { return work.run(); });
    room_writes_.forget_counts();
    if (!done) {
      rollback();
      return failed(done.error());
    }
    auto committed = commit();
    if (!committed) return failed(committed.error());
    work.committed(*committed);
  }
  work.rest(start, clock_.mono());
  return *has_work;
}

job_news sqlite_writer::take_job_news() {
  job_news news = jobs_.take_news();
  for (auto& trimmed : retention_.take_trimmed()) news.rewritten.push_back(std::move(trimmed));
  news.more = news.more || retention_.goes_on() || chores_.goes_on() || expiry_.goes_on();
  return news;
}

write_result<void> sqlite_writer::between_commits(const db_result<void>& done) {
  if (done) return {};
  write_error e = write_failed(done.error(), item_step::later);
  if (e.scope == failure_scope::fatal) return die(std::move(e));
  if (e.scope == failure_scope::full) return e;
  return {};  // no memory, busy: it is due again the next time
}

db_result<void> sqlite_writer::mark_if_due(mono_time now) {
  if (now < next_mark_ || marked_.commit == last_.no) return {};
  next_mark_ = now + mark_interval;
  return write_mark(false);
}

db_result<void> sqlite_writer::write_mark(bool clean) {
  water_mark m = marked_;
  m.commit = last_.no;
  m.hash = last_.hash;
  m.last_id = last_.last_id;
  m.clean = clean;
  m.written_at = clock_.now();
  auto written = mark_.write(m);
  if (written) marked_ = m;
  return written;
}

write_result<void> sqlite_writer::probe() {
  if (state_ == state::dead) return *spoiled_;
  PARLEY_ASSERT(state_ == state::idle);
  // Without space for the WAL to grow, it may still start over.
  if (auto done = between_commits(checkpointer_.run_now()); !done) return done;
  if (write_probe_.run(probe_bytes)) return {};
  const db_failure f = db_->last_failure();
  write_error e = write_failed(f, item_step::later);
  if (e.scope == failure_scope::fatal) return die(std::move(e));
  return e;
}

write_result<void> sqlite_writer::close_clean() {
  if (state_ == state::dead) return *spoiled_;
  rollback();
  if (state_ == state::dead) return *spoiled_;
  if (state_ == state::closed) return {};
  if (auto done = between_commits(checkpointer_.finish()); !done) return done;
  if (auto done = between_commits(write_mark(true)); !done) return done;
  state_ = state::closed;
  return {};
}

writer_status sqlite_writer::status() const {
  return {.wal_pages = checkpointer_.wal_pages(),
          .database_pages = db_->database_pages(),
          .last_commit = last_.no,
          .checkpoint_pieces = checkpointer_.counted().pieces,
          .checkpoint_restarts = checkpointer_.counted().restarts,
          .checkpoints_busy = checkpointer_.counted().busy,
          .checkpoint_time = checkpointer_.counted().time,
          .corrupt = db_->saw_corruption()};
}

}  // namespace parley::store
