#pragma once
/// What a gateway may say to the node's actors. Implemented by gateway_actor.cpp over CAF; thread: the gateway's own.

#include "actors/messages.hpp"

namespace parley::net {

class node_bus {
 public:
  node_bus() = default;
  node_bus(const node_bus&) = delete;
  node_bus& operator=(const node_bus&) = delete;
  virtual ~node_bus() = default;
  virtual void to_directory(actors::room_command_ptr m) = 0;
  virtual void to_directory(actors::attach_ptr m) = 0;
  virtual void to_directory(actors::detach_ptr m) = 0;
  virtual void to_directory(actors::move_cursors_ptr m) = 0;
  virtual void to_directory(actors::set_presence_ptr m) = 0;
  virtual void to_directory(actors::type_in_room_ptr m) = 0;
  virtual void to_directory(actors::authenticate_ptr m) = 0;
  virtual void to_storage(actors::create_room_ptr m) = 0;
  virtual void to_storage(actors::create_tenant_ptr m) = 0;
  virtual void to_storage(actors::change_tenant_ptr m) = 0;
  virtual void to_storage(actors::key_used_ptr m) = 0;
  virtual void to_storage(actors::create_notification_ptr m) = 0;
  virtual void to_storage(actors::ack_notifications_ptr m) = 0;
  virtual void to_storage(actors::notifications_written_ptr m) = 0;
  /// False: this node has no outbox.
  virtual bool to_outbox(actors::webhook_call_ptr m) = 0;
  virtual void to_gateways(actors::disconnect_user_ptr m) = 0;  ///< to each, this one too
  virtual void to_gateway(actors::gateway_no gateway, actors::disconnected m) = 0;
  [[nodiscard]] virtual std::size_t gateways() const = 0;
  /// The answer comes as on(call, result). False: the readers' queue is full.
  virtual bool read(actors::call_no call, tenant_no tenant, actors::read_query q) = 0;
};

}  // namespace parley::net
