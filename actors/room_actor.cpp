// room_actor.cpp: plumbing only. The decisions are in room.hpp.

#include "actors/room.hpp"

#include "actors/actor_system.hpp"

namespace parley::actors {
namespace {

class room_actor final : public actor_base, private room_ports {
 public:
  room_actor(caf::actor_config& config, actor_context& context, instance_no instance,
             const room_key& key)
      : actor_base(config, context.gauges, &context.gauges.live_rooms),
        context_(context),
        key_(key),
        instance_(instance),
        ids_(context.now, context.random),
        room_(key, instance, *this, context.now, ids_, context.options.room) {}

  const char* name() const override { return "room"; }

  caf::behavior make_behavior() override {
    room_.start();
    return {[this](const room_command_ptr& m) { step([&] { room_.on(m); }); },
            [this](const committed& m) { step([&] { room_.on(m); }); },
            [this](const opened_ptr& m) { step([&] { room_.on(*m); }); },
            [this](const lost_ptr& m) { step([&] { room_.on(*m); }); },
            [this](const deleted& m) { step([&] { room_.on(m); }); },
            [this](const room_rewritten& m) { step([&] { room_.on(m); }); },
            [this](const read_answer_message& m) { step([&] { room_.on(m.call, *m.result); }); },
            [this](const retire& m) { step([&] { room_.on(m); }); },
            [this](const room_tick& m) { step([&] { room_.on(m); }); },
            [this](const stop_signal&) { quit(); }};
  }

 private:
  template <class F>
  void step(F&& f) {
    f();
    if (room_.ended()) quit();
  }
  void on_failure() override {
    send(context_.directory, actor_failed{actor_failed::kind::room, key_, {}, {}, instance_});
  }

  void open(open_room_ptr m) override { send(context_.storage, std::move(m)); }
  void append(append_ptr m) override { send(context_.storage, std::move(m)); }
  void delete_room(delete_room_ptr m) override { send(context_.storage, std::move(m)); }
  void close(close_room m) override { send(context_.storage, m); }
  void answer(gateway_no gateway, replies_ptr m) override {
    send(context_.gateways[gateway.value], std::move(m));
  }
  void publish(publish_ptr m) override {
    for (const auto& gateway : context_.gateways) send(gateway, m);
  }
  bool look_up(call_no call, lookup_query q) override {
    return context_.read(address(), call, key_.tenant, std::move(q));
  }
  void retired(room_retired m) override { send(context_.directory, m); }
  void absent(room_absent m) override { send(context_.directory, m); }
  void wake_in(std::chrono::milliseconds delay) override { delayed_send(this, delay, room_tick{}); }

  actor_context& context_;
  const room_key key_;
  const instance_no instance_;
  uuid7_generator ids_;
  room room_;
};

}  // namespace

caf::actor spawn_room(actor_context& context, instance_no instance, const room_key& key) {
  return context.system->spawn<room_actor, caf::hidden>(std::ref(context), instance, key);
}

}  // namespace parley::actors
