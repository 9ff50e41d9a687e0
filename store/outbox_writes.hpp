#pragma once
/// What the writer does for webhooks: endpoints, the rows that wait for them, and how far the log is read.
///
/// Owner      the writer, inside its transaction: then committed() or undone().
/// Invariants a position moves with the rows that it stands for, or not at all; `endpoint_state.queued` is the number of rows
///            that wait; a row that is to be dropped (`outbox_chores`) counts for nothing any more.
/// Bound      `max_events` rows for each endpoint: later ones are not taken, and counted in `dropped`.

#include "store/dead_letters.hpp"
#include "store/endpoint_rows.hpp"
#include "store/log_appender.hpp"
#include "store/outbox.hpp"
#include "store/sqlite_db.hpp"
#include "store/store.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace parley::store {

class outbox_writes {
 public:
  /// Throws db_exception.
  outbox_writes(connection& db, const log_appender& log, std::int64_t max_events);

  // Endpoints.
  /// The tenant has this configuration from now on: its endpoint is made, changed, enabled again or removed.
  write_result<void> configured(tenant_no tenant, std::string_view config);
  /// It has a tombstone; a job takes the rows away.
  write_result<void> tenant_gone(tenant_no tenant);

  // Rows.
  /// An event that is not in the log, in the transaction of its cause. Nobody who wants it: nothing happens.
  write_result<void> add(const outbox_row& row);
  write_result<void> apply(const outbox_batch& batch);

  // What the operator wants.
  write_result<void> replay(tenant_no tenant, const tenant_change::replay_events& r);
  /// Queues the event again. Of a notification: the letter is gone, and the caller brings it back.
  write_result<std::optional<dead_row>> retry(tenant_no tenant, std::string_view id);
  write_result<void> forget(tenant_no tenant, std::string_view id);
  enum class requeued : std::uint8_t {
    yes,
    not_taken,  ///< the letter stays: its endpoint takes nothing
    gone,       ///< the letter stays: retention has removed what it tells of
  };
  write_result<requeued> requeue(const dead_row& letter);
  [[nodiscard]] dead_letters& letters() { return letters_; }

  void committed();
  void undone();
  /// Whose outbox has rows that no apply() brought, since the last call: of what is committed.
  std::vector<tenant_no> take_news();
  /// Those of the events, of what is committed; the ones of notifications are 0.
  [[nodiscard]] const outbox_writer::counts& counted() const { return counts_; }
  /// A chore was ordered, since the last call: of what is committed.
  bool take_chores_ordered() { return std::exchange(chores_ordered_, false); }

 private:
  struct endpoint {
    event_mask events = 0;
    log_id since;
    std::int64_t queued = 0;
    bool active = false;
    log_id replay_from;
    log_id replay_to;
  };
  /// What happened to an endpoint's rows, to be added to its own at once.
  struct change {
    std::int64_t queued = 0;
    std::int64_t delivered = 0;
    std::int64_t given_up = 0;
    std::int64_t dropped = 0;
    std::optional<utc_time> success_at{};
    std::optional<utc_time> failure_at{};
    std::string last_error{};
  };
  struct touched {
    std::optional<endpoint> row{};
    outbox_no drop_upto{};  ///< rows up to it wait for nobody
    change sum{};
  };
  /// A row that waits.
  struct waiting {
    outbox_no no;
    lane_no lane;
    event_type type = event_type::webhook_test;
    log_id log;
    std::optional<user_no> recipient{};
    std::string event_id{};
    std::string data{};
    utc_time at{};
  };

  write_result<std::optional<endpoint>> find(tenant_no tenant);
  write_result<touched> touch(tenant_no tenant);
  write_result<std::optional<log_id>> position(std::string_view name);
  /// Where the events' reader stands; 0: there is none.
  write_result<log_id> events_position();
  /// Behind all that it has stored.
  write_result<log_id> place_behind();
  [[nodiscard]] log_id last() const { return log_id{log_.next_id().value - 1}; }

  write_result<void> make(tenant_no tenant, const wanted_endpoint& wanted, bool known);
  write_result<void> remove(tenant_no tenant, const endpoint& e);
  write_result<void> disable(const outbox_batch::disable& d);

  /// Refuses a batch that is late; writes nothing.
  write_result<void> check(const outbox_batch& batch);
  write_result<void> move(const outbox_batch& batch);
  write_result<void> settle(const outbox_outcome& o, touched& t);
  write_result<void> bury(const waiting& w, const outbox_outcome& o);
  /// Who of a big room lacks this message, as far as a few milliseconds look.
  write_result<std::vector<user_no>> lacking(const waiting& w);
  /// Stores the row, or counts it as dropped. `event_id`: of one that had one before.
  write_result<void> insert(const outbox_row& row, log_id place, touched& t,
                            std::string_view event_id = {});
  write_result<void> save(tenant_no tenant, const change& c);
  [[nodiscard]] hash128 event_id_of(const outbox_row& row, outbox_no no) const;
  /// A statement that comes after the first of an item.
  write_result<void> later(bool done);

  connection& db_;
  const log_appender& log_;
  std::int64_t max_events_;
  dead_letters letters_;
  std::string id_prefix_;  ///< of what ids of events are made: database and epoch
  outbox_no next_;         ///< never given twice by one process, whatever is rolled back

  outbox_writer::counts counts_;
  std::vector<tenant_no> news_;
  bool chores_ordered_ = true;
  struct uncommitted {  ///< of the open transaction
    outbox_writer::counts counts{};
    std::set<tenant_no> news{};
    bool chores = false;
  };
  uncommitted open_;

  statement select_endpoint_;
  statement select_any_active_;
  statement insert_endpoint_;
  statement update_endpoint_;
  statement enable_endpoint_;
  statement delete_endpoint_;
  statement disable_endpoint_;
  statement add_to_endpoint_;
  statement set_replay_;
  statement select_position_;
  statement set_position_;
  statement select_drop_;
  statement insert_chore_;
  statement select_chore_;
  statement delete_chore_;
  statement select_row_;
  statement insert_row_;
  statement delete_row_;
  statement postpone_row_;
  statement select_lacking_;
  statement has_entry_;
};

}  // namespace parley::store
