#pragma once
/// Who owns what: the only place that spawns and retires rooms, sessions and tenants (I13), and the way to them. Commands
/// pass through here, so those of one sender stay in order and none can reach a room that has retired: while a room is
/// being looked for, loaded or retired, its commands are held (docs/adr/0002). No CAF, no clock, no I/O.
/// Owner      the one directory actor; not thread-safe.
/// Bound      held commands a room ≤ limits::room_waiting_max_commands; look-ups for unknown rooms a tenant
///            ≤ room_lookups_max_per_tenant; rooms in memory ≤ options.max_rooms (the longest unused retire first);
///            rooms whose actor died and whose log nobody has told of since ≤ to_revive_max.

#include "actors/messages.hpp"
#include "protocol/seams.hpp"

#include <cstdint>
#include <deque>
#include <list>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace parley::actors {

class directory_ports {
 public:
  directory_ports() = default;
  directory_ports(const directory_ports&) = delete;
  directory_ports& operator=(const directory_ports&) = delete;
  virtual ~directory_ports() = default;
  virtual void spawn_room(instance_no instance, const room_key& room) = 0;
  virtual void to_room(instance_no instance, const room_command_ptr& m) = 0;
  virtual void to_room(instance_no instance, const retire& m) = 0;
  virtual void drop_room(instance_no instance) = 0;  ///< it ended itself; forget the handle
  /// `successor`: of one that ended without being asked to.
  virtual void spawn_session(instance_no instance, const user_key& user, bool successor) = 0;
  virtual void to_session(instance_no instance, const attach_ptr& m) = 0;
  virtual void to_session(instance_no instance, const detach_ptr& m) = 0;
  virtual void to_session(instance_no instance, const move_cursors_ptr& m) = 0;
  virtual void to_session(instance_no instance, const set_presence_ptr& m) = 0;
  virtual void to_session(instance_no instance, const type_in_room_ptr& m) = 0;
  virtual void stop_session(instance_no instance) = 0;
  virtual void spawn_tenant(instance_no instance, tenant_no tenant) = 0;
  virtual void to_tenant(instance_no instance, const tenant_loaded_ptr& m) = 0;
  virtual void to_storage(store_cursors_ptr m) = 0;
  virtual void answer(gateway_no gateway, replies_ptr m) = 0;
  virtual void answer(gateway_no gateway, authenticated_ptr m) = 0;
  virtual void answer(gateway_no gateway, session_done_ptr m) = 0;
  virtual void session_lost_to_all(const session_lost& m) = 0;
  /// Nobody owns its entry of the presence table any more.
  virtual void forget_presence(const user_key& user) = 0;
  /// False: the readers' queue is full.
  virtual bool read(call_no call, tenant_no tenant, read_query q) = 0;
};

struct directory_options {
  std::size_t max_rooms = 50000;
  std::chrono::milliseconds room_idle{60000};  ///< unused for so long: retires
};
inline constexpr std::size_t room_lookups_max_per_tenant = 1024;
inline constexpr std::uint32_t room_revivals_max =
    3;  ///< in a row: one that can't even be loaded must not spin; the next try comes with a tick
inline constexpr std::size_t to_revive_max = 4096;

class directory {
 public:
  directory(directory_ports& ports, const directory_options& options)
      : ports_(ports),
        options_(options) {}
  directory(const directory&) = delete;
  directory& operator=(const directory&) = delete;

  void on(const room_command_ptr& m, mono_time now);
  void on(const room_retired& m, mono_time now);
  void on(const room_absent& m, mono_time now);
  void on(const attach_ptr& m);
  void on(const detach_ptr& m);
  void on(const move_cursors_ptr& m);
  void on(const set_presence_ptr& m);
  void on(const type_in_room_ptr& m);
  void on(const session_idle& m);
  void on(const authenticate_ptr& m);
  void on(const tenant_changed_ptr& m);
  void on(call_no call, const read_result& answer, mono_time now);
  /// Actors that ended without being asked to.
  void room_down(const room_key& room, instance_no instance, mono_time now);
  void session_down(const user_key& user, instance_no instance);
  void tenant_down(tenant_no tenant, instance_no instance);
  /// Retires what is unused; at most `budget` rooms a call.
  void tick(mono_time now, std::size_t budget = 1000);

  [[nodiscard]] std::size_t rooms() const { return rooms_.size(); }
  [[nodiscard]] std::size_t sessions() const { return sessions_.size(); }
  [[nodiscard]] std::size_t tenants() const { return tenants_.size(); }

 private:
  enum class room_state : std::uint8_t { looking_for, active, retiring };
  struct room_entry {
    room_state state = room_state::looking_for;
    instance_no instance{};
    mono_time last_used{};
    std::deque<room_command_ptr> held;
    std::list<room_key>::iterator by_use{};  ///< active and retiring ones
    std::uint32_t revivals = 0;              ///< in a row, with no command in between
  };
  struct session_entry {
    instance_no instance{};
    std::uint64_t sent = 0;  ///< attaches and cursors: what it must have seen to be stopped as idle
    bool successor = false;  ///< one that dies with nothing to do has no successor again
  };

  template <class M>
  void to_session_or_refuse(const M& m);
  void hold(room_entry& entry, const room_command_ptr& m);
  void refuse(const room_command_ptr& m, error why);
  void refuse_held(room_entry& entry, const error& why);
  void look_for(const room_command_ptr& m);
  void spawn(const room_key& room, room_entry& entry, mono_time now);
  void forget(const room_key& room);
  void revive(const room_key& room, room_entry& entry, mono_time now);
  void revive_the_dead(mono_time now);
  void show_tenant(authenticate_ptr request, const store::tenant_row& row);

  directory_ports& ports_;
  const directory_options options_;
  std::unordered_map<room_key, room_entry> rooms_;
  std::list<room_key> by_use_;  ///< longest unused first
  std::unordered_set<room_key> to_revive_;  ///< an actor of theirs died, and none has told since where the log stands
  std::unordered_map<user_key, session_entry> sessions_;
  std::unordered_map<tenant_no, instance_no> tenants_;
  std::unordered_map<call_no, room_key> looking_for_;
  std::unordered_map<tenant_no, std::size_t> looking_for_per_tenant_;
  std::unordered_map<call_no, authenticate_ptr> authenticating_;
  instance_no last_instance_{};
  call_no last_call_{};
};

}  // namespace parley::actors
