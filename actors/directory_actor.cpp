// directory_actor.cpp: plumbing only. The decisions are in directory.hpp. Holds the only strong handles of rooms,
// sessions and tenants, by instance: dropping one here lets it go.

#include "actors/directory.hpp"

#include "actors/actor_system.hpp"

#include <unordered_map>

namespace parley::actors {
namespace {

constexpr auto tick_interval = std::chrono::seconds{2};

class directory_actor final : public actor_base, private directory_ports {
 public:
  directory_actor(caf::actor_config& config, actor_context& context)
      : actor_base(config, context.gauges, nullptr),
        context_(context),
        directory_(*this, context.options.directory) {}

  const char* name() const override { return "directory"; }

  caf::behavior make_behavior() override {
    delayed_send(this, tick_interval, directory_tick{});
    return {[this](const room_command_ptr& m) { directory_.on(m, now()); },
            [this](const attach_ptr& m) { directory_.on(m); },
            [this](const detach_ptr& m) { directory_.on(m); },
            [this](const move_cursors_ptr& m) { directory_.on(m); },
            [this](const type_in_room_ptr& m) { directory_.on(m); },
            [this](const set_presence_ptr& m) { directory_.on(m); },
            [this](const authenticate_ptr& m) { directory_.on(m); },
            [this](const tenant_changed_ptr& m) { directory_.on(m); },
            [this](const read_answer_message& m) { directory_.on(m.call, *m.result, now()); },
            [this](const room_retired& m) { directory_.on(m, now()); },
            [this](const room_absent& m) { directory_.on(m, now()); },
            [this](const session_idle& m) { directory_.on(m); },
            [this](const actor_failed& m) { on_failed(m); },
            [this](const directory_tick&) {
              directory_.tick(now());
              delayed_send(this, tick_interval, directory_tick{});
            },
            [this](const stop_signal&) { on_stop(); }};
  }

 private:
  /// Nothing finds its room or session any more: the node starts anew.
  void on_failure() override {
    context_.options.fatal(error{error_code::internal, "the directory actor failed"});
  }
  [[nodiscard]] mono_time now() const { return context_.now.mono(); }

  void on_failed(const actor_failed& m) {
    switch (m.what) {
      case actor_failed::kind::room:
        // Its generation appends no more; what it had in flight is answered «unknown» by the gateways' deadlines.
        send(context_.storage, close_room{m.instance, generation{}, room_no{}});
        directory_.room_down(m.room, m.instance, now());
        break;
      case actor_failed::kind::session:
        sessions_.erase(m.instance);
        directory_.session_down(m.user, m.instance);
        break;
      case actor_failed::kind::tenant:
        tenants_.erase(m.instance);
        directory_.tenant_down(m.tenant, m.instance);
        break;
    }
  }
  void on_stop() {
    for (auto* handles : {&rooms_, &sessions_, &tenants_}) {
      for (auto& [instance, handle] : *handles) send(handle, stop_signal{});
      handles->clear();
    }
    {
      const std::lock_guard lock(context_.stop_mutex);
      context_.directory_stopped = true;
    }
    context_.stop_changed.notify_all();
    quit();
  }

  void spawn_room(instance_no instance, const room_key& room) override {
    rooms_.emplace(instance, actors::spawn_room(context_, instance, room));
  }
  void to_room(instance_no instance, const room_command_ptr& m) override {
    send(rooms_.at(instance), m);
  }
  void to_room(instance_no instance, const retire& m) override { send(rooms_.at(instance), m); }
  void drop_room(instance_no instance) override { rooms_.erase(instance); }
  void spawn_session(instance_no instance, const user_key& user, bool successor) override {
    sessions_.emplace(instance, actors::spawn_session(context_, instance, user, successor));
  }
  void to_session(instance_no instance, const attach_ptr& m) override {
    send(sessions_.at(instance), m);
  }
  void to_session(instance_no instance, const detach_ptr& m) override {
    send(sessions_.at(instance), m);
  }
  void to_session(instance_no instance, const move_cursors_ptr& m) override {
    send(sessions_.at(instance), m);
  }
  void to_session(instance_no instance, const set_presence_ptr& m) override {
    send(sessions_.at(instance), m);
  }
  void to_session(instance_no instance, const type_in_room_ptr& m) override {
    send(sessions_.at(instance), m);
  }
  void stop_session(instance_no instance) override {
    const auto it = sessions_.find(instance);
    send(it->second, stop_signal{});
    sessions_.erase(it);
  }
  void spawn_tenant(instance_no instance, tenant_no tenant) override {
    tenants_.emplace(instance, actors::spawn_tenant(context_, instance, tenant));
  }
  void to_tenant(instance_no instance, const tenant_loaded_ptr& m) override {
    send(tenants_.at(instance), m);
  }
  void to_storage(store_cursors_ptr m) override { send(context_.storage, std::move(m)); }
  void answer(gateway_no gateway, replies_ptr m) override {
    send(context_.gateways[gateway.value], std::move(m));
  }
  void answer(gateway_no gateway, authenticated_ptr m) override {
    send(context_.gateways[gateway.value], std::move(m));
  }
  void answer(gateway_no gateway, session_done_ptr m) override {
    send(context_.gateways[gateway.value], std::move(m));
  }
  void forget_presence(const user_key& user) override {
    context_.online.set(user, presence_status::offline);
  }
  void session_lost_to_all(const session_lost& m) override {
    for (const auto& gateway : context_.gateways) send(gateway, m);
  }
  bool read(call_no call, tenant_no tenant, read_query q) override {
    return context_.read(address(), call, tenant, std::move(q));
  }

  actor_context& context_;
  directory directory_;
  std::unordered_map<instance_no, caf::actor> rooms_;
  std::unordered_map<instance_no, caf::actor> sessions_;
  std::unordered_map<instance_no, caf::actor> tenants_;
};

}  // namespace

caf::actor spawn_directory(actor_context& context) {
  return context.system->spawn<directory_actor>(std::ref(context));
}

}  // namespace parley::actors
