#pragma once
/// The writer: one transaction per batch, and what its failures mean.
///
///   idle ──begin()──▶ open ──commit()──▶ idle          an item fails alone: still open
///                      │ a failure of the batch
///                      ▼
///                    doomed ──commit(), rollback()──▶ idle    nothing of it can be committed any more
///   any ──an I/O error, or an outcome that is unknown──▶ dead       everything is refused from then on (I10)
///
/// Owner      the storage actor's thread.
/// Invariants commit() has returned success ⇒ the rows are durable as `durability` says, and nothing that was refused is
///            among them. A transaction that is told to be rolled back can't come back: not after a crash either.

#include "store/call_keys.hpp"
#include "store/checkpointer.hpp"
#include "store/commit_chain.hpp"
#include "store/high_water_mark.hpp"
#include "store/job_runner.hpp"
#include "store/log_appender.hpp"
#include "store/notification_expiry.hpp"
#include "store/notification_writes.hpp"
#include "store/outbox_chores.hpp"
#include "store/outbox_writes.hpp"
#include "store/reader_gate.hpp"
#include "store/retention.hpp"
#include "store/room_ends.hpp"
#include "store/room_writes.hpp"
#include "store/sqlite_db.hpp"
#include "store/sqlite_store.hpp"
#include "store/store.hpp"
#include "store/sweeper.hpp"
#include "store/tenant_writes.hpp"
#include "store/user_names.hpp"

#include <chrono>
#include <optional>
#include <string>

namespace parley::store {

/// The newest row of `commits`, which the next one is chained to.
struct last_commit_record {
  commit_no no{};
  log_id last_id{};
  sha256_digest hash = chain_start;
};

class sqlite_writer final : public writer, public outbox_writer {
 public:
  /// `db` is open, migrated and compared with the mark. Throws db_exception.
  sqlite_writer(std::unique_ptr<connection> db, const sqlite_options& options, reader_gate& gate,
                high_water_mark& mark, const clock& now, const last_commit_record& last,
                const water_mark& marked, log_id next_id);

  [[nodiscard]] outbox_writer* outbox() override { return this; }
  write_result<void> begin() override;
  write_result<log_id> append(const append_row& row) override;
  write_result<created_room> create_room(const new_room& room) override;
  write_result<room_seq> delete_room(tenant_no tenant, room_no room, utc_time at) override;
  write_result<tenant_no> create_tenant(const new_tenant& tenant) override;
  write_result<tenant_row> change_tenant(const tenant_change& change) override;
  write_result<cursor_state> move_cursor(const cursor_move& move) override;
  write_result<void> store_last_seen(tenant_no tenant, const user_id& user, utc_time at) override;
  write_result<void> store_key_used(tenant_no tenant, const key_id& key, utc_time at) override;
  write_result<std::optional<opened_room>> open_room(tenant_no tenant, room_id room,
                                                     utc_time keys_since) override;
  write_result<commit_no> commit() override;
  void rollback() override;

  write_result<void> maintain(mono_time now, utc_time utc) override;
  job_news take_job_news() override;
  write_result<void> probe() override;
  write_result<void> close_clean() override;
  [[nodiscard]] writer_status status() const override;

  write_result<void> apply(const outbox_batch& batch) override;
  write_result<created_notification> create_notification(const new_notification& n) override;
  write_result<void> acknowledge(const user_key& user,
                                 const std::vector<uuid>& notifications) override;
  write_result<void> attempted(tenant_no tenant,
                               const std::vector<std::pair<uuid, std::uint32_t>>& written,
                               utc_time at) override;
  std::vector<tenant_no> take_outbox_news() override { return outbox_.take_news(); }
  [[nodiscard]] log_id last_log_id() const override { return last_.last_id; }
  [[nodiscard]] counts outbox_counts() const override;

 private:
  enum class state : std::uint8_t { idle, open, doomed, dead, closed };

  /// Runs one item in the open transaction; a failure that reaches further ends it.
  template <class T, class Item>
  write_result<T> item(const Item& run);
  /// The same for what only a tenant that is neither disabled nor deleted may do.
  template <class T, class Item>
  write_result<T> item_of(tenant_no tenant, const Item& run);
  /// Why no item may run now; nullopt: one may.
  [[nodiscard]] std::optional<write_error> barred() const;
  /// Notes a failure that reaches beyond an item, and undoes what there is of the transaction.
  write_error spoil(write_error e);
  write_error die(write_error e);
  /// Everything that the transaction had put into memory goes with it.
  void undo();

  write_result<void> insert_commit_record(const last_commit_record& next);
  /// COMMIT has failed.
  write_error commit_failed(const db_failure& f);
  /// Overwrites frames of a transaction that was undone but may lie complete in the WAL (may_survive_in_the_wal).
  [[nodiscard]] bool overwrite_undone_frames();

  /// A failure between commits: what of it the caller must know.
  write_result<void> between_commits(const db_result<void>& done);
  /// The next piece of a job or of retention, in a transaction of its own. True: there was something to write.
  template <class Work>
  write_result<bool> piece_of(Work& work, mono_time now);
  db_result<void> mark_if_due(mono_time now);
  db_result<void> write_mark(bool clean);

  std::unique_ptr<connection> db_;
  sqlite_options options_;
  high_water_mark& mark_;
  const clock& clock_;
  user_names users_;
  room_ends rooms_;
  log_appender log_;
  call_keys call_keys_;
  notification_writes notifications_;
  outbox_writes outbox_;
  room_writes room_writes_;
  tenant_writes tenants_;
  sweeper sweeper_;
  job_runner jobs_;
  retention retention_;
  outbox_chores chores_;
  notification_expiry expiry_;
  checkpointer checkpointer_;

  state state_ = state::idle;
  std::optional<write_error> spoiled_{};  ///< doomed, dead: why
  last_commit_record last_;
  water_mark marked_;  ///< what the mark says
  mono_time next_mark_{};
  commit_chain chain_;
  log_id first_id_;  ///< of the open transaction
  std::int64_t changes_at_begin_ = 0;

  statement begin_;
  statement commit_;
  statement rollback_;
  statement insert_commit_;
  statement write_probe_;
};

}  // namespace parley::store
