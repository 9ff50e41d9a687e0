#include "actors/session.hpp"

#include <memory>
#include <utility>

namespace parley::actors {

session::session(user_key user, instance_no instance, session_ports& ports)
    : user_(std::move(user)),
      instance_(instance),
      ports_(ports) {}

void session::on(const attach& m) {
  ++seen_;
  if (m.max_connections != 0 && connections_.size() >= m.max_connections) {
    ports_.to_gateway(m.gateway, attached{m.connection, close_code::policy_violation});
    return;
  }
  connections_.push_back({m.gateway, m.connection});
  ports_.to_gateway(m.gateway, attached{m.connection, close_code::none});
}

void session::on(const detach& m) {
  std::erase(connections_, attached_connection{m.gateway, m.connection});
  maybe_idle();
}

void session::on(const move_cursors_ptr& m) {
  ++seen_;
  if (cursors_under_way_ >= cursors_max) {
    auto refused = std::make_shared<cursors_stored>();
    refused->moves = m;
    for (const auto& [room, seq] : m->rooms) {
      refused->rooms.push_back(
          {room, unavailable("too many cursors are being stored", std::chrono::milliseconds{200})});
    }
    ports_.to_gateway(m->to.gateway, std::move(refused));
    return;
  }
  ++cursors_under_way_;
  ports_.to_storage(std::make_shared<const store_cursors>(store_cursors{instance_, m}));
}

void session::on(const cursors_stored_ptr& m) {
  --cursors_under_way_;
  ports_.to_gateway(m->moves->to.gateway, m);
  // The user's other devices hear of what moved (SPEC 5), after it is durable (I14).
  std::vector<std::pair<room_id, room_seq>> moved;
  for (const auto& room : m->rooms) {
    if (const auto* state = std::get_if<store::cursor_state>(&room.outcome);
        state != nullptr && state->moved) {
      moved.emplace_back(room.room, m->moves->read ? state->last_read : state->last_ack);
    }
  }
  if (!moved.empty()) {
    for (const auto& c : connections_) {
      if (m->moves->connection && c.gateway == m->moves->to.gateway &&
          c.connection == *m->moves->connection)
        continue;
      ports_.to_gateway(c.gateway, std::make_shared<const receipt>(
                                       receipt{c.connection, user_.user, m->moves->read, moved}));
    }
  }
  maybe_idle();
}

void session::maybe_idle() {
  if (connections_.empty() && cursors_under_way_ == 0)
    ports_.to_directory(session_idle{user_, instance_, seen_});
}

}  // namespace parley::actors
