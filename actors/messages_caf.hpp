#pragma once
/// Announces the messages to CAF: shared, immutable, never serialised. Only files that end in _actor.cpp and the actor
/// system include this.

#include "actors/messages.hpp"
#include "actors/webhook_client.hpp"

#include <caf/all.hpp>

#include <memory>

namespace parley::actors {
/// Messages that only shells know.
struct flush_tick {};     ///< storage to itself: commit what has queued up
struct maintain_tick {};  ///< storage to itself
struct job_tick {};       ///< storage to itself
struct directory_tick {};
struct outbox_tick {};
struct webhook_answer_message {  ///< of the client, to the outbox
  std::uint64_t attempt = 0;
  webhook_answer answer;
};
struct session_tick {    ///< session to itself: what it wanted to be woken for
  std::uint64_t no = 0;  ///< the latest counts
};
struct stop_signal {};  ///< end, in order
struct stopped_signal {};
struct read_answer_message {
  call_no call;
  std::shared_ptr<const read_result> result;
};
struct actor_failed {  ///< to the directory: an exception left a handler
  enum class kind : std::uint8_t { room, session, tenant } what;
  room_key room;
  user_key user;
  tenant_no tenant;
  instance_no instance;
};
}  // namespace parley::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::flush_tick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::maintain_tick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::job_tick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::directory_tick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::session_tick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::stop_signal)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::stopped_signal)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::read_answer_message)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::actor_failed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::room_command_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::replies_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::publish_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::open_room_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::opened_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::append_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::delete_room_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::close_room)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::committed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::lost_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::deleted)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::create_room_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::created_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::create_tenant_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::tenant_created_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::attach_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::detach_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::attached)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::move_cursors_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::store_cursors_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::cursors_stored_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::receipt_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::set_presence_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::type_in_room_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::session_done_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::close_connection)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::presence_shown_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::typing_shown_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::cursors_shown_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::store_last_seen_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::retire)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::room_tick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::room_retired)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::room_absent)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::session_idle)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::session_lost)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::authenticate_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::tenant_loaded_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::authenticated_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::disconnected)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::disconnect_user_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::tenant_changed_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::change_tenant_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::user_revoked_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::tenant_updated)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::key_used_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::room_rewritten)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::outbox_tick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::webhook_answer_message)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::create_notification_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::notification_created_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::notification_shown_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::ack_notifications_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::notifications_written_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::apply_outbox_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::outbox_applied)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::outbox_news)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::user_presence)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::webhook_call_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(parley::actors::webhook_called_ptr)
