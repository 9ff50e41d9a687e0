// outbox_actor.cpp: plumbing only. The decisions are in outbox.hpp.

#include "actors/outbox.hpp"

#include "actors/actor_system.hpp"
#include "protocol/log.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

namespace parley::actors {
namespace {

constexpr std::chrono::milliseconds tick_interval{50};
/// After an exception: what caused it should not be met again at once.
constexpr std::chrono::seconds restart_pause{1};

class outbox_actor final : public actor_base, public outbox_ports {
 public:
  outbox_actor(caf::actor_config& config, actor_context& context)
      : actor_base(config, context.gauges, nullptr),
        context_(context) {}

  const char* name() const override { return "outbox"; }

  caf::behavior make_behavior() override {
    return {
        [this](const outbox_news& m) { guarded([&] { outbox_->on(m); }); },
        [this](const outbox_applied& m) { guarded([&] { outbox_->on(m); }); },
        [this](const read_answer_message& m) { guarded([&] { outbox_->on(m.call, *m.result); }); },
        [this](const webhook_answer_message& m) {
          guarded([&] { outbox_->on_answer(m.attempt, m.answer); });
        },
        [this](const tenant_changed_ptr& m) { guarded([&] { outbox_->on(*m); }); },
        [this](const user_presence& m) { guarded([&] { outbox_->on(m); }); },
        [this](const webhook_call_ptr& m) { guarded([&] { outbox_->on(*m); }); },
        [this](const outbox_tick&) { on_tick(); },
        [this](caf::tick_atom) {
          scanning_soon_ = false;
          guarded([&] { outbox_->tick(); });
        },
        [this](const stop_signal&) { on_stop(); }};
  }

 private:
  /// Everything here is derived (I9): after an exception the outbox is made anew from the store, and the node, which
  /// carries chat, goes on. What comes in between is passed over; it is in the store, or best effort, or has a deadline.
  template <class Step>
  void guarded(Step&& step) {
    if (!outbox_) return;
    try {
      step();
    } catch (const std::exception&) {  // its text may hold content
      context_.gauges.exceptions.fetch_add(1, std::memory_order_relaxed);
      log(log_level::error, "an exception ended the outbox: it begins anew");
      last_no_ = outbox_->last_no();
      lost_ = lost_ + outbox_->counters();
      outbox_.reset();
      show(lost_);
      restart_at_ = context_.now.mono() + restart_pause;
      tick_in(restart_pause);
      return;
    }
    show(lost_ + outbox_->counters());
    if (outbox_->wants_ticks()) tick_in(tick_interval);
    if (const auto at = outbox_->scan_at(); at && !scanning_soon_) {
      scanning_soon_ = true;
      // A little later, so that it never comes too early.
      delayed_send(
          this,
          std::max(mono_time::duration{0}, *at - context_.now.mono()) + std::chrono::milliseconds{1},
          caf::tick_atom::value);
    }
  }
  void on_tick() {
    ticking_ = false;
    if (outbox_) {
      guarded([&] { outbox_->tick(); });
    } else if (context_.now.mono() >= restart_at_) {
      make_outbox();
    } else {
      tick_in(tick_interval);
    }
  }
  void make_outbox() {
    outbox_ = std::make_unique<outbox>(*this, context_.now, context_.random, context_.options.outbox,
                                       context_.options.sealing_key, last_no_);
    guarded([&] { outbox_->start(); });
  }
  void tick_in(std::chrono::milliseconds time) {
    if (std::exchange(ticking_, true)) return;
    delayed_send(this, time, outbox_tick{});
  }
  void show(const outbox_counters& c) {
    auto& g = context_.gauges;
    const auto set = [](auto& gauge, auto value) { gauge.store(value, std::memory_order_relaxed); };
    set(g.events_lag, c.lag);
    set(g.events_obsolete, c.obsolete);
    set(g.webhook_attempts, c.attempts);
    set(g.webhook_delivered, c.delivered);
    set(g.webhook_failures, c.failures);
    set(g.webhook_given_up, c.given_up);
    set(g.webhooks_in_flight, c.in_flight);
    set(g.endpoints, c.endpoints);
    set(g.endpoints_resting, c.resting);
    set(g.endpoints_disabled, c.disabled);
    set(g.outbox_late_answers, c.late_answers);
    set(g.presence_dropped, c.presence_dropped);
    if (c.presence_dropped == presence_dropped_) return;
    presence_dropped_ = c.presence_dropped;
    log(log_level::warn, "presence changes were not told by webhook: too many at once",
        {{"so_far", c.presence_dropped}});
  }
  void on_stop() {
    outbox_.reset();
    {
      const std::lock_guard lock(context_.stop_mutex);
      context_.outbox_stopped = true;
    }
    context_.stop_changed.notify_all();
    quit();
  }

  bool read(call_no call, tenant_no tenant, read_query q) override {
    return context_.read(address(), call, tenant, std::move(q));
  }
  void apply(apply_outbox_ptr m) override { send(context_.storage, std::move(m)); }
  void post(std::uint64_t attempt, webhook_post request) override {
    context_.options.webhooks->post(
        std::move(request), [self = address(), attempt](webhook_answer answer) {
          if (auto alive = caf::actor_cast<caf::actor>(self))
            caf::anon_send(alive, webhook_answer_message{attempt, std::move(answer)});
        });
  }
  void answer(gateway_no gateway, webhook_called_ptr m) override {
    send(context_.gateways[gateway.value], std::move(m));
  }
  void wishes(tenant_no tenant, bool presence) override { context_.wishes.set(tenant, presence); }
  void wait_for_log() override { context_.outbox_waits.store(true); }
  void observe_attempt(std::chrono::nanoseconds took) override {
    context_.gauges.webhook_time.observe(static_cast<std::uint64_t>(took.count()));
  }
  void observe_delay(std::chrono::nanoseconds delay) override {
    context_.gauges.webhook_delay.observe(static_cast<std::uint64_t>(delay.count()));
  }

  actor_context& context_;
  std::unique_ptr<outbox> outbox_;  ///< nullptr: before the first tick, or it failed and is made anew with one
  outbox_counters lost_;  ///< of those before it
  std::uint64_t last_no_ = 0;
  std::uint64_t presence_dropped_ = 0;
  mono_time restart_at_{};
  bool ticking_ = false;
  bool scanning_soon_ = false;
};

}  // namespace

caf::actor spawn_outbox(actor_context& context) {
  return context.system->spawn<outbox_actor>(std::ref(context));
}

}  // namespace parley::actors
