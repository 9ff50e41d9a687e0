#include "actors/directory.hpp"

#include <memory>
#include <utility>

namespace parley::actors {

namespace {
constexpr auto retry_soon = std::chrono::milliseconds{200};
constexpr std::size_t authentications_max = 4096;  // look-ups of keys under way
}  // namespace

void directory::on(const room_command_ptr& m, mono_time now) {
  auto [it, fresh] = rooms_.try_emplace(m->room);
  auto& entry = it->second;
  if (fresh) {
    look_for(m);
    return;
  }
  if (entry.state != room_state::active) {
    hold(entry, m);
    return;
  }
  entry.last_used = now;
  entry.revivals = 0;
  by_use_.splice(by_use_.end(), by_use_, entry.by_use);
  ports_.to_room(entry.instance, m);
}

void directory::look_for(const room_command_ptr& m) {
  // Unknown ids spawn nothing: a reader says first whether there is such a room in this tenant.
  auto& under_way = looking_for_per_tenant_[m->room.tenant];
  const auto call = ++last_call_;
  if (under_way >= room_lookups_max_per_tenant ||
      !ports_.read(call, m->room.tenant, exists_query{m->room})) {
    if (under_way == 0) looking_for_per_tenant_.erase(m->room.tenant);
    rooms_.erase(m->room);
    refuse(m, unavailable("too many rooms are being loaded", retry_soon));
    return;
  }
  ++under_way;
  looking_for_.emplace(call, m->room);
  rooms_.at(m->room).held.push_back(m);
}

void directory::hold(room_entry& entry, const room_command_ptr& m) {
  if (entry.held.size() >= limits::room_waiting_max_commands) {
    refuse(m, unavailable("too many calls wait for this room", retry_soon));
  } else {
    entry.held.push_back(m);
  }
}

void directory::refuse(const room_command_ptr& m, error why) {
  if (m->is_send()) why.stored = stored_state::no;
  auto batch = std::make_shared<replies>();
  batch->items.push_back({m->to.call, std::move(why)});
  ports_.answer(m->to.gateway, std::move(batch));
}

void directory::refuse_held(room_entry& entry, const error& why) {
  for (const auto& m : entry.held) refuse(m, why);
  entry.held.clear();
}

void directory::spawn(const room_key& room, room_entry& entry, mono_time now) {
  entry.instance = ++last_instance_;
  entry.state = room_state::active;
  entry.last_used = now;
  entry.by_use = by_use_.insert(by_use_.end(), room);
  ports_.spawn_room(entry.instance, room);
  for (const auto& m : entry.held) ports_.to_room(entry.instance, m);
  entry.held.clear();
}

void directory::forget(const room_key& room) {
  const auto it = rooms_.find(room);
  if (it->second.state != room_state::looking_for) {
    by_use_.erase(it->second.by_use);
    ports_.drop_room(it->second.instance);
  }
  rooms_.erase(it);
}

void directory::on(call_no call, const read_result& answer, mono_time now) {
  if (auto it = looking_for_.find(call); it != looking_for_.end()) {
    const auto room = it->second;
    looking_for_.erase(it);
    if (auto n = looking_for_per_tenant_.find(room.tenant); --n->second == 0)
      looking_for_per_tenant_.erase(n);
    auto& entry = rooms_.at(room);
    if (const auto* failed = std::get_if<error>(&answer)) {
      refuse_held(entry, *failed);
      rooms_.erase(room);
    } else if (!std::get<bool>(answer)) {
      refuse_held(entry, not_found("room"));
      rooms_.erase(room);
    } else {
      spawn(room, entry, now);
    }
    return;
  }
  if (auto it = authenticating_.find(call); it != authenticating_.end()) {
    const auto request = std::move(it->second);
    authenticating_.erase(it);
    const auto say = [&](std::optional<error> failure) {
      ports_.answer(request->to.gateway, std::make_shared<const authenticated>(authenticated{
                                             request->to.call, nullptr, std::move(failure)}));
    };
    if (const auto* failed = std::get_if<error>(&answer)) return say(*failed);
    const auto& row = std::get<std::optional<store::tenant_row>>(answer);
    if (!row) return say({});
    show_tenant(request, *row);
  }
}

void directory::on(const room_retired& m, mono_time now) {
  auto it = rooms_.find(m.room);
  if (it == rooms_.end() || it->second.instance != m.instance) return;
  auto& entry = it->second;
  if (m.retired) to_revive_.erase(m.room);  // it was open, and said where its log stands
  if (!m.retired) {
    entry.state = room_state::active;
    entry.last_used = now;
    by_use_.splice(by_use_.end(), by_use_, entry.by_use);
    for (const auto& held : entry.held) ports_.to_room(entry.instance, held);
    entry.held.clear();
    return;
  }
  if (entry.held.empty()) {
    forget(m.room);
    return;
  }
  by_use_.erase(entry.by_use);
  ports_.drop_room(entry.instance);
  spawn(m.room, entry, now);
}

void directory::on(const room_absent& m, mono_time now) {
  auto it = rooms_.find(m.room);
  if (it == rooms_.end() || it->second.state == room_state::looking_for ||
      it->second.instance != m.instance)
    return;
  if (!m.unreadable) to_revive_.erase(m.room);
  // What was held was not delivered to the one that ended: it is looked at again, from the start.
  auto held = std::move(it->second.held);
  forget(m.room);
  for (const auto& command : held) on(command, now);
}

void directory::room_down(const room_key& room, instance_no instance, mono_time now) {
  auto it = rooms_.find(room);
  if (it == rooms_.end() || it->second.state == room_state::looking_for ||
      it->second.instance != instance)
    return;
  if (to_revive_.size() < to_revive_max) to_revive_.insert(room);
  if (it->second.revivals < room_revivals_max) {
    revive(room, it->second, now);
    return;
  }
  auto held = std::move(it->second.held);
  forget(room);
  for (const auto& m : held) on(m, now);
}

/// What it had appended may have been committed without being published: the next instance tells readers where the log
/// stands, whether or not anybody ever calls the room again.
void directory::revive(const room_key& room, room_entry& entry, mono_time now) {
  ++entry.revivals;
  by_use_.erase(entry.by_use);
  ports_.drop_room(entry.instance);
  spawn(room, entry, now);
}

/// Those whose successor could not be loaded either, when it was tried last.
void directory::revive_the_dead(mono_time now) {
  for (const auto& room : to_revive_) {
    const auto [it, fresh] = rooms_.try_emplace(room);
    if (fresh) spawn(room, it->second, now);
  }
}

void directory::tick(mono_time now, std::size_t budget) {
  revive_the_dead(now);
  for (const auto& room : by_use_) {
    if (budget == 0) return;
    auto& entry = rooms_.at(room);
    const bool unused = now - entry.last_used >= options_.room_idle;
    if (!unused && rooms_.size() <= options_.max_rooms) return;
    --budget;
    if (entry.state != room_state::active) continue;
    entry.state = room_state::retiring;
    ports_.to_room(entry.instance, retire{});
  }
}

// ---- sessions ---------------------------------------------------------------------------------------------------

void directory::on(const attach_ptr& m) {
  auto [it, fresh] = sessions_.try_emplace(m->user);
  if (fresh) {
    it->second.instance = ++last_instance_;
    ports_.spawn_session(it->second.instance, m->user, false);
  }
  ++it->second.sent;
  ports_.to_session(it->second.instance, m);
}

void directory::on(const detach_ptr& m) {
  if (auto it = sessions_.find(m->user); it != sessions_.end())
    ports_.to_session(it->second.instance, m);
}

void directory::on(const move_cursors_ptr& m) {
  if (auto it = sessions_.find(m->user); it != sessions_.end()) {
    ++it->second.sent;
    ports_.to_session(it->second.instance, m);
  } else {
    ports_.to_storage(std::make_shared<const store_cursors>(store_cursors{std::nullopt, m}));
  }
}

/// A connection that is open has a session, unless that has just died: then it is being closed.
template <class M>
void directory::to_session_or_refuse(const M& m) {
  if (auto it = sessions_.find(m->user); it != sessions_.end()) {
    ports_.to_session(it->second.instance, m);
  } else {
    ports_.answer(m->to.gateway, std::make_shared<const session_done>(session_done{
                                     m->to.call, unavailable("the session is gone", retry_soon)}));
  }
}
void directory::on(const set_presence_ptr& m) { to_session_or_refuse(m); }
void directory::on(const type_in_room_ptr& m) {
  if (m->what == type_in_room::action::sent && !sessions_.contains(m->user))
    return;  // nobody asked
  to_session_or_refuse(m);
}

void directory::on(const session_idle& m) {
  auto it = sessions_.find(m.user);
  if (it == sessions_.end() || it->second.instance != m.instance ||
      it->second.sent != m.attaches_seen)
    return;
  ports_.stop_session(m.instance);
  sessions_.erase(it);
}

void directory::session_down(const user_key& user, instance_no instance) {
  auto it = sessions_.find(user);
  if (it == sessions_.end() || it->second.instance != instance) return;
  auto& entry = it->second;
  const bool hopeless = entry.successor && entry.sent == 0;
  ports_.session_lost_to_all(session_lost{user});
  if (hopeless) {
    ports_.forget_presence(user);
    sessions_.erase(it);
    return;
  }
  // Others were shown that the user is online: somebody must tell them when that is over.
  entry = {++last_instance_, 0, true};
  ports_.spawn_session(entry.instance, user, true);
}

// ---- tenants ----------------------------------------------------------------------------------------------------

void directory::on(const authenticate_ptr& m) {
  const auto call = ++last_call_;
  if (authenticating_.size() >= authentications_max ||
      !ports_.read(call, tenant_no{}, credential_query{m->by})) {
    ports_.answer(
        m->to.gateway,
        std::make_shared<const authenticated>(authenticated{
            m->to.call, nullptr, unavailable("too many credentials are being checked", retry_soon)}));
    return;
  }
  authenticating_.emplace(call, m);
}

void directory::on(const tenant_changed_ptr& m) {
  // Also of one that nobody has asked for: what is being read for somebody now may be older than this.
  if (const auto* row = std::get_if<store::tenant_row>(&m->outcome)) show_tenant(nullptr, *row);
}

/// To the tenant's owner.
void directory::show_tenant(authenticate_ptr request, const store::tenant_row& row) {
  auto [tenant, fresh] = tenants_.try_emplace(row.no);
  if (fresh) {
    tenant->second = ++last_instance_;
    ports_.spawn_tenant(tenant->second, row.no);
  }
  ports_.to_tenant(tenant->second,
                   std::make_shared<const tenant_loaded>(tenant_loaded{std::move(request), row}));
}

void directory::tenant_down(tenant_no tenant, instance_no instance) {
  if (auto it = tenants_.find(tenant); it != tenants_.end() && it->second == instance)
    tenants_.erase(it);
}

}  // namespace parley::actors
