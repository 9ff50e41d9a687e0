#pragma once
/// CAF's side of the node: the system, the handles that actors share, and how they are spawned. Included by actors only.

#include "actors/actor_base.hpp"
#include "actors/event_wishes.hpp"
#include "actors/messages_caf.hpp"
#include "actors/node_actors.hpp"
#include "actors/presence_table.hpp"
#include "actors/read_pool.hpp"
#include "actors/tenant_table.hpp"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

namespace parley::actors {

/// Lives as long as the actors. Set up before the first actor runs, handles cleared when all have ended.
struct actor_context {
  store::database& database;
  node_actors_options options;
  const clock& now;
  random_source& random;
  node_gauges gauges;
  std::shared_ptr<admission> budget;
  std::unique_ptr<read_pool> readers;
  presence_table online;
  tenant_table tenants;
  event_wishes wishes;
  std::atomic<bool> outbox_waits{false};  ///< it wants to hear of the next commit (outbox_news)
  caf::actor_system_config config;
  std::unique_ptr<caf::actor_system> system;
  caf::actor storage;
  caf::actor directory;
  caf::actor outbox;                 ///< perhaps none
  std::vector<caf::actor> gateways;  ///< index: gateway_no; complete before the first listener opens

  std::mutex stop_mutex;
  std::condition_variable stop_changed;
  bool storage_stopped = false;
  bool directory_stopped = false;
  bool outbox_stopped = false;

  actor_context(store::database& db, const node_actors_options& o, const clock& c, random_source& r)
      : database(db),
        options(o),
        now(c),
        random(r) {}

  /// Asks a reader; the answer comes to `asker` as read_answer_message. False: refused.
  bool read(const caf::actor_addr& asker, call_no call, tenant_no tenant, read_query query);
};

caf::actor spawn_storage(actor_context& context);
caf::actor spawn_directory(actor_context& context);
caf::actor spawn_outbox(actor_context& context);
caf::actor spawn_room(actor_context& context, instance_no instance, const room_key& room);
caf::actor spawn_session(actor_context& context, instance_no instance, const user_key& user,
                         bool successor);
caf::actor spawn_tenant(actor_context& context, instance_no instance, tenant_no tenant);

}  // namespace parley::actors
