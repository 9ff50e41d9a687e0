#pragma once
/// What becomes durable together, and who hears of it (DESIGN 3.3, I1, I2, I13). Natural group commit: what queued up
/// while the last commit ran is the next one; no timer. No CAF, no clock, no SQL.
/// Owner      the storage actor, on its own thread; not thread-safe.
/// Invariants an append is executed only in the room's open generation; a generation that lost one entry is closed at
///            once, so nothing behind the lost one is ever stored. The rows of one append are all in one commit, or none
///            is. Answers leave after the commit they report.
/// Classes    sends and all else that is a tenant's command; then cursors; then the outbox; then what nobody waits for;
///            between commits the jobs. A higher class leaves a lower one that waits a sixteenth of the rows, so that none starves.
/// Fairness   within a class tenants take turns (fair_queue); what one tenant asked is done in the order in which it came.
/// Bound      a commit takes ≤ limits::commit_max_rows rows and ≤ limits::commit_max_bytes of sends, and what belongs to
///            the last of them; the queue is bounded by the admission credit of what is in it (gateways; a tenant has a
///            share of its own) and by each room's pending bound.

#include "actors/fair_queue.hpp"
#include "actors/messages.hpp"
#include "protocol/seams.hpp"
#include "store/store.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <unordered_map>
#include <variant>
#include <vector>

namespace parley::actors {

class storage_ports {
 public:
  storage_ports() = default;
  storage_ports(const storage_ports&) = delete;
  storage_ports& operator=(const storage_ports&) = delete;
  virtual ~storage_ports() = default;
  virtual void to_room(instance_no room, opened_ptr m) = 0;
  virtual void to_room(instance_no room, const committed& m) = 0;
  virtual void to_room(instance_no room, lost_ptr m) = 0;
  virtual void to_room(instance_no room, const deleted& m) = 0;
  virtual void to_room(instance_no room, const room_rewritten& m) = 0;
  virtual void to_session(instance_no session, cursors_stored_ptr m) = 0;
  virtual void to_gateway(gateway_no gateway, cursors_stored_ptr m) = 0;
  virtual void to_gateway(gateway_no gateway, created_ptr m) = 0;
  virtual void to_gateway(gateway_no gateway, tenant_created_ptr m) = 0;
  virtual void to_gateway(gateway_no gateway, tenant_changed_ptr m) = 0;
  virtual void to_gateway(gateway_no gateway, notification_created_ptr m) = 0;
  virtual void to_gateway(gateway_no gateway, session_done_ptr m) = 0;
  /// A change that the tenant's owner must hear of.
  virtual void to_directory(tenant_changed_ptr m) = 0;
  /// The same, for who keeps its endpoint.
  virtual void to_outbox(tenant_changed_ptr m) = 0;
  virtual void to_outbox(const outbox_applied& m) = 0;
  /// After a commit; whether it wants to hear that the log grew, the shell knows.
  virtual void to_outbox(outbox_news m) = 0;
  /// From nobody who waits for the answer.
  virtual void to_directory(room_command_ptr m) = 0;
  virtual void publish(publish_ptr m) = 0;          ///< to each gateway
  virtual void show(cursors_shown_ptr m) = 0;       ///< to each gateway
  virtual void show(user_revoked_ptr m) = 0;        ///< to each gateway
  virtual void show(notification_shown_ptr m) = 0;  ///< to each gateway
  virtual void show(const room_rewritten& m) = 0;   ///< to each gateway
  /// There is space again, or no more (I10).
  virtual void writable(bool yes) = 0;
  /// I10: outcome unknown. The process ends at once; if this returns (the simulation), group_commit does nothing more.
  virtual void fatal(const error& why) = 0;
};

struct commit_counters {
  std::uint64_t commits = 0;
  std::uint64_t rows = 0;
  std::uint64_t failed_commits = 0;
  std::uint64_t stale_appends = 0;  ///< of a generation that is not open
  std::uint64_t lost_generations = 0;
};

class group_commit {
 public:
  /// Cursors are shown to other members in rooms up to `receipt_max_members`.
  group_commit(store::writer& writer, storage_ports& ports, std::int64_t receipt_max_members = 50);

  void on(const open_room_ptr& m) { opens_.push_back(m); }
  void on(const append_ptr& m);
  void on(const delete_room_ptr& m) { queue_.push(m->tenant, m, small_item_bytes); }
  void on(const create_room_ptr& m);
  void on(const create_tenant_ptr& m) { queue_.push(tenant_no{}, m, small_item_bytes); }
  void on(const change_tenant_ptr& m) { queue_.push(m->tenant, m, small_item_bytes); }
  void on(const store_cursors_ptr& m);
  void on(const store_last_seen_ptr& m) { seen_.push_back(m); }
  void on(const key_used_ptr& m) { keys_used_.push_back(m); }
  void on(const create_notification_ptr& m);
  /// The store keeps an outbox if one of these comes.
  void on(const apply_outbox_ptr& m) { outbox_.push_back(m); }
  void on(const ack_notifications_ptr& m) { outbox_.push_back(m); }
  void on(const notifications_written_ptr& m) { outbox_.push_back(m); }
  void on(const close_room& m);

  [[nodiscard]] bool has_work() const { return !opens_.empty() || wants_a_commit(); }
  /// Answers the openings, then commits once what is queued, sends before cursors.
  void run();
  /// Between commits, at least once a second: checkpoint, mark, clean-up; a probe while there is no space.
  void maintain(mono_time now, utc_time utc);
  /// There is more to do between commits, without waiting for the next one.
  [[nodiscard]] bool jobs_go_on() const { return jobs_go_on_; }

  [[nodiscard]] std::size_t queued() const {
    return opens_.size() + queue_.size() + cursors_.size() + outbox_.size() + seen_.size() +
           keys_used_.size();
  }
  [[nodiscard]] const commit_counters& counters() const { return counters_; }
  [[nodiscard]] bool ended() const { return ended_; }

 private:
  /// About what a row takes beside its texts; what a command without any counts.
  static constexpr std::size_t small_item_bytes = 256;
  using item = std::variant<append_ptr, delete_room_ptr, create_room_ptr, create_tenant_ptr,
                            change_tenant_ptr, create_notification_ptr>;
  using outbox_item =
      std::variant<apply_outbox_ptr, ack_notifications_ptr, notifications_written_ptr>;
  struct open_log {
    generation gen;
    instance_no instance;
  };
  struct touched_room {
    instance_no instance;
    generation gen;
    entry_no up_to;
  };
  struct created_item {
    create_room_ptr asked;
    store::created_room room;
  };
  struct deleted_item {
    delete_room_ptr asked;
    room_seq last_seq;
  };
  struct tenant_item {
    create_tenant_ptr asked;
    tenant_no no;
  };
  struct notified_item {
    create_notification_ptr asked;
    store::created_notification made;
  };
  struct changed_item {
    change_tenant_ptr asked;
    store::tenant_row row;
  };

  [[nodiscard]] bool wants_a_commit() const {
    return !queue_.empty() || !cursors_.empty() || !outbox_.empty() || !seen_.empty() ||
           !keys_used_.empty();
  }
  void run_opens();
  /// Executes what one commit takes; false: all of it failed with `failure_`.
  bool fill(std::size_t& rows);
  [[nodiscard]] static std::size_t bytes_of(const item& m);
  [[nodiscard]] static std::size_t rows_of(const item& m);
  /// False: the whole transaction failed with `failure_`.
  bool execute(const item& m);
  bool execute_cursors(const store_cursors_ptr& m);
  bool execute_outbox(const outbox_item& m);
  [[nodiscard]] static std::size_t rows_of(const outbox_item& m);
  void answer(const outbox_item& m, const std::optional<error>& failure);
  void show_notification(notified_item& n);
  void tell_outbox();
  bool note(const store::write_error& e, const std::function<void(const error&)>& fail_item);
  void refuse(const item& m, const error& why);
  void refuse(const store_cursors_ptr& m, const error& why);
  void close_generation(room_no room, instance_no instance, generation gen, const error& why);
  [[nodiscard]] bool is_open(room_no room, generation gen) const;
  void answer_cursors(const store_cursors_ptr& m, std::vector<cursor_outcome> outcomes);
  void show_cursors();
  void show_change(const changed_item& c);
  void show_jobs(const store::job_news& news);
  void succeed(commit_no no);
  void fail_all(const error& why);

  store::writer& writer_;
  storage_ports& ports_;
  const std::int64_t receipt_max_members_;
  std::deque<open_room_ptr> opens_;
  fair_queue<item> queue_{limits::commit_turn_bytes};
  fair_queue<store_cursors_ptr> cursors_{limits::commit_turn_bytes};
  std::deque<outbox_item> outbox_;
  std::deque<store_last_seen_ptr> seen_;  ///< nobody waits for these
  std::deque<key_used_ptr> keys_used_;    ///< nor for these
  std::unordered_map<room_no, open_log> open_;
  generation last_generation_{};
  bool full_ = false;
  bool jobs_go_on_ = false;
  bool ended_ = false;
  commit_counters counters_;

  // of the transaction under way
  std::vector<item> executed_;
  std::unordered_map<room_no, touched_room> touched_;
  std::vector<room_no> touched_order_;
  std::vector<created_item> created_;
  std::vector<tenant_item> tenants_;
  std::vector<changed_item> changes_;
  std::vector<notified_item> notified_;
  std::vector<std::pair<outbox_item, std::optional<error>>> outbox_results_;
  std::vector<deleted_item> deleted_;
  std::vector<std::pair<store_cursors_ptr, std::vector<cursor_outcome>>> cursor_results_;
  std::vector<std::pair<instance_no, lost_ptr>> lost_;  // told after the commit, so after `committed`
  std::optional<store::write_error> failure_;
};

}  // namespace parley::actors
