// session_actor.cpp: plumbing only. The decisions are in session.hpp.

#include "actors/session.hpp"

#include "actors/actor_system.hpp"

namespace parley::actors {
namespace {

class session_actor final : public actor_base, private session_ports {
 public:
  session_actor(caf::actor_config& config, actor_context& context, instance_no instance,
                const user_key& user)
      : actor_base(config, context.gauges, &context.gauges.live_sessions),
        context_(context),
        instance_(instance),
        session_(user, instance, *this) {}

  const char* name() const override { return "session"; }

  caf::behavior make_behavior() override {
    return {[this](const attach_ptr& m) { session_.on(*m); },
            [this](const detach_ptr& m) { session_.on(*m); },
            [this](const move_cursors_ptr& m) { session_.on(m); },
            [this](const cursors_stored_ptr& m) { session_.on(m); },
            [this](const stop_signal&) { quit(); }};
  }

 private:
  void on_failure() override {
    send(context_.directory,
         actor_failed{actor_failed::kind::session, {}, session_.user(), {}, instance_});
  }

  void to_gateway(gateway_no gateway, const attached& m) override {
    send(context_.gateways[gateway.value], m);
  }
  void to_gateway(gateway_no gateway, cursors_stored_ptr m) override {
    send(context_.gateways[gateway.value], std::move(m));
  }
  void to_gateway(gateway_no gateway, receipt_ptr m) override {
    send(context_.gateways[gateway.value], std::move(m));
  }
  void to_storage(store_cursors_ptr m) override { send(context_.storage, std::move(m)); }
  void to_directory(const session_idle& m) override { send(context_.directory, m); }

  actor_context& context_;
  const instance_no instance_;
  session session_;
};

}  // namespace

caf::actor spawn_session(actor_context& context, instance_no instance, const user_key& user) {
  return context.system->spawn<session_actor, caf::hidden>(std::ref(context), instance, user);
}

}  // namespace parley::actors
