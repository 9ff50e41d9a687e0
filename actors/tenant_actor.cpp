// tenant_actor.cpp: plumbing only. The decisions are in tenant.hpp.

#include "actors/tenant.hpp"

#include "actors/actor_system.hpp"

namespace parley::actors {
namespace {

class tenant_actor final : public actor_base {
 public:
  tenant_actor(caf::actor_config& config, actor_context& context, instance_no instance, tenant_no no)
      : actor_base(config, context.gauges, &context.gauges.live_tenants),
        context_(context),
        no_(no),
        instance_(instance),
        tenant_({context.options.admission_rows / 2, context.options.admission_bytes / 2,
                 context.options.sealing_key},
                context.tenants.find(no)) {}

  const char* name() const override { return "tenant"; }

  caf::behavior make_behavior() override {
    return {[this](const tenant_loaded_ptr& m) {
              const bool was_known = tenant_.snapshot() != nullptr;
              const bool changed = tenant_.on(m->row);
              if (changed) context_.tenants.set(tenant_.snapshot());
              // Also what a look-up has brought before the change itself was told: connections may have to end.
              if (changed && (was_known || !m->request)) {
                for (const auto& gateway : context_.gateways)
                  send(gateway, tenant_updated{tenant_.snapshot()});
              }
              if (m->request) {
                send(context_.gateways[m->request->to.gateway.value],
                     std::make_shared<const authenticated>(
                         authenticated{m->request->to.call, tenant_.snapshot(), {}}));
              }
            },
            [this](const stop_signal&) { quit(); }};
  }

 private:
  void on_failure() override {
    send(context_.directory, actor_failed{actor_failed::kind::tenant, {}, {}, no_, instance_});
  }

  actor_context& context_;
  const tenant_no no_;
  const instance_no instance_;
  tenant tenant_;
};

}  // namespace

caf::actor spawn_tenant(actor_context& context, instance_no instance, tenant_no tenant) {
  return context.system->spawn<tenant_actor, caf::hidden>(std::ref(context), instance, tenant);
}

}  // namespace parley::actors
