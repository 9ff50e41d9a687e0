// storage_actor.cpp: the single writer's plumbing, on its own thread. The decisions are in group_commit.hpp.

#include "actors/actor_system.hpp"
#include "actors/group_commit.hpp"
#include "protocol/log.hpp"

#include <algorithm>
#include <unordered_map>

namespace parley::actors {
namespace {

/// While there are jobs: about what the store rests between two pieces.
constexpr std::chrono::milliseconds job_interval{10};

class storage_actor final : public actor_base, private storage_ports {
 public:
  storage_actor(caf::actor_config& config, actor_context& context)
      : actor_base(config, context.gauges, nullptr),
        context_(context),
        writer_(context.database.writer()),
        commit_(writer_, *this, context.options.receipt_max_members) {}

  const char* name() const override { return "storage"; }

  caf::behavior make_behavior() override {
    show_store();
    delayed_send(this, context_.options.maintain_interval, maintain_tick{});
    return {[this](const append_ptr& m) {
              if (waiting_since_ == utc_time{})
                waiting_since_ = m->row.only_key.value_or(m->row.e.created_at);
              take(m);
            },
            [this](const open_room_ptr& m) {
              rooms_.insert_or_assign(m->instance, caf::actor_cast<caf::actor>(current_sender()));
              take(m);
            },
            [this](const close_room& m) {
              rooms_.erase(m.instance);
              commit_.on(m);
            },
            [this](const delete_room_ptr& m) { take(m); },
            [this](const create_room_ptr& m) { take(m); },
            [this](const create_tenant_ptr& m) { take(m); },
            [this](const change_tenant_ptr& m) { take(m); },
            [this](const key_used_ptr& m) { take(m); },
            [this](const create_notification_ptr& m) { take(m); },
            [this](const ack_notifications_ptr& m) { take(m); },
            [this](const notifications_written_ptr& m) { take(m); },
            [this](const apply_outbox_ptr& m) { take(m); },
            [this](const store_cursors_ptr& m) {
              if (m->session) {
                auto& asker = sessions_[*m->session];
                asker.handle = caf::actor_cast<caf::actor>(current_sender());
                ++asker.waits;
              }
              take(m);
            },
            [this](const store_last_seen_ptr& m) { take(m); },
            [this](const flush_tick&) { flush(); },
            [this](const maintain_tick&) {
              maintain();
              show_store();
              delayed_send(this, context_.options.maintain_interval, maintain_tick{});
            },
            [this](const job_tick&) {
              job_ticking_ = false;
              maintain();
            },
            [this](const stop_signal&) { on_stop(); }};
  }

 private:
  struct waiting_session {
    caf::actor handle;
    std::size_t waits = 0;
  };

  template <class M>
  void take(const M& m) {
    commit_.on(m);
    if (flushing_) return;
    // Behind all that is in the mailbox now: that is the group (DESIGN 3.3).
    flushing_ = true;
    send(this, flush_tick{});
  }
  void flush() {
    flushing_ = false;
    const auto waited = waiting_since_ == utc_time{} ? std::chrono::milliseconds{0}
                                                     : context_.now.now() - waiting_since_;
    waiting_since_ = {};
    context_.gauges.commit_queue_age_ms.store(std::max<std::int64_t>(0, waited.count()),
                                              std::memory_order_relaxed);
    auto& gauges = context_.gauges;
    gauges.commit_queue_items.store(static_cast<std::int64_t>(commit_.queued()),
                                    std::memory_order_relaxed);
    const auto before = commit_.counters();
    const auto began = context_.now.mono();
    commit_.run();
    if (const auto& after = commit_.counters(); after.commits != before.commits) {
      gauges.commit_time.observe(
          static_cast<std::uint64_t>(std::chrono::nanoseconds{context_.now.mono() - began}.count()));
      gauges.commit_rows.observe(after.rows - before.rows);
    }
    gauges.commit_queue_items.store(static_cast<std::int64_t>(commit_.queued()),
                                    std::memory_order_relaxed);
    if (commit_.has_work() && !commit_.ended()) {
      flushing_ = true;
      send(this, flush_tick{});
    } else {
      context_.gauges.commit_queue_age_ms.store(0, std::memory_order_relaxed);
    }
    maintain();
  }
  void maintain() {
    commit_.maintain(context_.now.mono(), context_.now.now());
    show();
    if (!commit_.jobs_go_on() || commit_.ended() || job_ticking_) return;
    job_ticking_ = true;
    delayed_send(this, job_interval, job_tick{});
  }
  void show() {
    const auto& c = commit_.counters();
    context_.gauges.commits.store(c.commits, std::memory_order_relaxed);
    context_.gauges.rows.store(c.rows, std::memory_order_relaxed);
    context_.gauges.failed_commits.store(c.failed_commits, std::memory_order_relaxed);
    context_.gauges.stale_appends.store(c.stale_appends, std::memory_order_relaxed);
    context_.gauges.lost_generations.store(c.lost_generations, std::memory_order_relaxed);
  }
  /// Not after each commit: asking for the file's size costs a statement.
  void show_store() {
    const auto s = writer_.status();
    auto& gauges = context_.gauges;
    gauges.corrupt.store(s.corrupt, std::memory_order_relaxed);
    gauges.wal_pages.store(s.wal_pages, std::memory_order_relaxed);
    gauges.database_pages.store(s.database_pages, std::memory_order_relaxed);
    gauges.checkpoint_pieces.store(s.checkpoint_pieces, std::memory_order_relaxed);
    gauges.checkpoint_restarts.store(s.checkpoint_restarts, std::memory_order_relaxed);
    gauges.checkpoints_busy.store(s.checkpoints_busy, std::memory_order_relaxed);
    gauges.checkpoint_time_ns.store(s.checkpoint_time.count(), std::memory_order_relaxed);
    const auto* outbox = writer_.outbox();
    if (outbox == nullptr) return;
    const auto o = outbox->outbox_counts();
    gauges.events_waiting.store(o.events_waiting, std::memory_order_relaxed);
    gauges.events_stored.store(o.events_stored, std::memory_order_relaxed);
    gauges.events_dropped.store(o.events_dropped, std::memory_order_relaxed);
    gauges.dead_letters.store(o.dead_letters, std::memory_order_relaxed);
    gauges.notifications_created.store(o.notifications_created, std::memory_order_relaxed);
    gauges.notifications_acknowledged.store(o.notifications_acknowledged, std::memory_order_relaxed);
    gauges.notifications_expired.store(o.notifications_expired, std::memory_order_relaxed);
  }
  void on_stop() {
    while (commit_.has_work() && !commit_.ended()) commit_.run();
    // A full disk must not keep the node from ending; what is not clean is recovered at the next start (I12).
    if (auto closed = writer_.close_clean(); !closed) {
      log(log_level::error, "the database could not be closed cleanly",
          {{"why", closed.error().why.message}});
      if (closed.error().scope == store::failure_scope::fatal) fatal(closed.error().why);
    }
    rooms_.clear();
    sessions_.clear();
    {
      const std::lock_guard lock(context_.stop_mutex);
      context_.storage_stopped = true;
    }
    context_.stop_changed.notify_all();
    quit();
  }

  template <class M>
  void tell_room(instance_no room, M&& m) {
    if (auto it = rooms_.find(room); it != rooms_.end()) send(it->second, std::forward<M>(m));
  }
  void to_room(instance_no room, opened_ptr m) override {
    const bool absent = !m->room;
    tell_room(room, std::move(m));
    if (absent) rooms_.erase(room);
  }
  void to_room(instance_no room, const committed& m) override { tell_room(room, m); }
  void to_room(instance_no room, lost_ptr m) override { tell_room(room, std::move(m)); }
  void to_room(instance_no room, const deleted& m) override {
    tell_room(room, m);
    rooms_.erase(room);
  }
  void to_room(instance_no room, const room_rewritten& m) override { tell_room(room, m); }
  void to_session(instance_no session, cursors_stored_ptr m) override {
    const auto it = sessions_.find(session);
    if (it == sessions_.end()) return;
    send(it->second.handle, std::move(m));
    if (--it->second.waits == 0) sessions_.erase(it);
  }
  void to_gateway(gateway_no gateway, cursors_stored_ptr m) override {
    tell_gateway(gateway, std::move(m));
  }
  void to_gateway(gateway_no gateway, created_ptr m) override {
    tell_gateway(gateway, std::move(m));
  }
  void to_gateway(gateway_no gateway, tenant_created_ptr m) override {
    tell_gateway(gateway, std::move(m));
  }
  void to_gateway(gateway_no gateway, tenant_changed_ptr m) override {
    tell_gateway(gateway, std::move(m));
  }
  void to_gateway(gateway_no gateway, notification_created_ptr m) override {
    tell_gateway(gateway, std::move(m));
  }
  void to_gateway(gateway_no gateway, session_done_ptr m) override {
    tell_gateway(gateway, std::move(m));
  }
  void to_directory(tenant_changed_ptr m) override { send(context_.directory, std::move(m)); }
  void to_outbox(tenant_changed_ptr m) override {
    if (context_.outbox) send(context_.outbox, std::move(m));
  }
  void to_outbox(const outbox_applied& m) override { send(context_.outbox, m); }
  void to_outbox(outbox_news m) override {
    if (!context_.outbox) return;
    const bool waits = context_.outbox_waits.load(std::memory_order_relaxed) &&
                       context_.outbox_waits.exchange(false);
    if (waits || !m.tenants.empty()) send(context_.outbox, std::move(m));
  }
  void to_directory(room_command_ptr m) override { send(context_.directory, std::move(m)); }
  template <class M>
  void tell_gateway(gateway_no gateway, M m) {
    send(context_.gateways[gateway.value], std::move(m));
  }
  void publish(publish_ptr m) override {
    for (const auto& gateway : context_.gateways) send(gateway, m);
  }
  void show(cursors_shown_ptr m) override { tell_gateways(m); }
  void show(user_revoked_ptr m) override { tell_gateways(m); }
  void show(notification_shown_ptr m) override { tell_gateways(m); }
  void show(const room_rewritten& m) override { tell_gateways(m); }
  template <class M>
  void tell_gateways(const M& m) {
    for (const auto& gateway : context_.gateways) send(gateway, m);
  }
  void writable(bool yes) override {
    context_.gauges.writable.store(yes, std::memory_order_relaxed);
    log(yes ? log_level::warn : log_level::error,
        yes ? "the disk has space again" : "the disk is full: writes are refused");
  }
  void fatal(const error& why) override { context_.options.fatal(why); }
  /// What it was doing has an unknown outcome, and nobody else writes: as a failed commit (I10).
  void on_failure() override {
    context_.options.fatal(error{error_code::internal, "the storage actor failed"});
  }

  actor_context& context_;
  store::writer& writer_;
  group_commit commit_;
  bool flushing_ = false;
  bool job_ticking_ = false;
  utc_time waiting_since_{};
  std::unordered_map<instance_no, caf::actor> rooms_;
  std::unordered_map<instance_no, waiting_session> sessions_;
};

}  // namespace

caf::actor spawn_storage(actor_context& context) {
  if (context.options.scheduler_threads == 0)
    return context.system->spawn<storage_actor>(std::ref(context));
  return context.system->spawn<storage_actor, caf::detached>(std::ref(context));
}

}  // namespace parley::actors
