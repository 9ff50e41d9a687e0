// session_actor.cpp: plumbing only. The decisions are in session.hpp.

#include "actors/session.hpp"

#include "actors/actor_system.hpp"

#include <algorithm>

namespace parley::actors {
namespace {

class session_actor final : public actor_base, private session_ports {
 public:
  session_actor(caf::actor_config& config, actor_context& context, instance_no instance,
                const user_key& user, bool successor)
      : actor_base(config, context.gauges, &context.gauges.live_sessions),
        context_(context),
        instance_(instance),
        session_(user, instance, *this, context.now, context.options.session, successor) {}

  const char* name() const override { return "session"; }

  caf::behavior make_behavior() override {
    session_.start();
    return {[this](const attach_ptr& m) { session_.on(*m); },
            [this](const detach_ptr& m) { session_.on(*m); },
            [this](const move_cursors_ptr& m) { session_.on(m); },
            [this](const cursors_stored_ptr& m) { session_.on(m); },
            [this](const type_in_room_ptr& m) { session_.on(*m); },
            [this](const set_presence_ptr& m) { session_.on(*m); },
            [this](const read_answer_message& m) { session_.on(m.call, *m.result); },
            [this](const session_tick& m) {
              if (m.no == last_tick_) session_.wake();
            },
            [this](const stop_signal&) { quit(); }};
  }

 private:
  void on_failure() override {
    send(context_.directory,
         actor_failed{actor_failed::kind::session, {}, session_.user(), {}, instance_});
  }

  template <class M>
  void tell_gateway(gateway_no gateway, M m) {
    send(context_.gateways[gateway.value], std::move(m));
  }
  void to_gateway(gateway_no gateway, const attached& m) override { tell_gateway(gateway, m); }
  void to_gateway(gateway_no gateway, cursors_stored_ptr m) override {
    tell_gateway(gateway, std::move(m));
  }
  void to_gateway(gateway_no gateway, receipt_ptr m) override {
    tell_gateway(gateway, std::move(m));
  }
  void to_gateway(gateway_no gateway, session_done_ptr m) override {
    tell_gateway(gateway, std::move(m));
  }
  void to_gateway(gateway_no gateway, const close_connection& m) override {
    tell_gateway(gateway, m);
  }
  void to_gateways(presence_shown_ptr m) override {
    for (const auto& gateway : context_.gateways) send(gateway, m);
  }
  void to_gateways(typing_shown_ptr m) override {
    for (const auto& gateway : context_.gateways) send(gateway, m);
  }
  void to_storage(store_cursors_ptr m) override { send(context_.storage, std::move(m)); }
  void to_storage(store_last_seen_ptr m) override { send(context_.storage, std::move(m)); }
  void to_directory(const session_idle& m) override { send(context_.directory, m); }
  bool read(call_no call, read_query q) override {
    return context_.read(address(), call, session_.user().tenant, std::move(q));
  }
  void list_as(presence_status status) override {
    context_.online.set(session_.user(), status);
    tell_outbox(status != presence_status::offline);
  }
  /// user.online, user.offline: with the grace behind it, and not of a herd that comes back after a start (SPEC 6).
  void tell_outbox(bool online) {
    if (online == listed_online_) return;
    listed_online_ = online;
    const auto& user = session_.user();
    if (!context_.wishes.wants_presence(user.tenant) ||
        context_.now.mono() < context_.options.session.herd_until)
      return;
    send(context_.outbox, user_presence{user, online, context_.now.now()});
  }
  void wake_at(mono_time when) override {
    const auto in = std::max(mono_time::duration{0}, when - context_.now.mono());
    // A little later than asked, so that it never comes too early.
    delayed_send(this, std::chrono::ceil<std::chrono::milliseconds>(in), session_tick{++last_tick_});
  }

  actor_context& context_;
  const instance_no instance_;
  std::uint64_t last_tick_ = 0;
  bool listed_online_ = false;
  session session_;
};

}  // namespace

caf::actor spawn_session(actor_context& context, instance_no instance, const user_key& user,
                         bool successor) {
  return context.system->spawn<session_actor, caf::hidden>(std::ref(context), instance, user,
                                                           successor);
}

}  // namespace parley::actors
