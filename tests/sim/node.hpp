#pragma once
/// All that one process holds in memory: the decision classes of actors/ and net/ as they are. What carries their messages
/// is the fake bus (bus_node.cpp), or CAF with the real shells (caf_node_actor.cpp); both drive the same functions.

#include "actors/directory.hpp"
#include "actors/session.hpp"
#include "tests/sim/gateway.hpp"
#include "tests/sim/model_store.hpp"

#include <functional>
#include <memory>
#include <set>
#include <vector>

namespace parley::sim {

struct node_options {
  std::size_t gateways = 1;
  net::subscriptions_options subscriptions;
  actors::directory_options directory;
  actors::session_options session;
  std::size_t admission_rows = 1000;
  unsigned read_refused = 0;  ///< permille: the readers' queue is full
  /// The classes' own invariants are checked after each step. Off where a planted defect must be seen from outside.
  bool check_inside = true;
};

/// A node as the world and its gateways see it, whatever carries its messages.
class node {
 public:
  node(dice& chance, sim_clock& now, model_store& store, const node_options& options);
  virtual ~node() = default;
  node(const node&) = delete;
  node& operator=(const node&) = delete;

  std::function<void(const line&, const seen_frame&)> on_shown;  ///< for a trace

  [[nodiscard]] gateway& at(std::size_t gateway) { return *gateways_[gateway]; }
  [[nodiscard]] std::size_t gateways() const { return gateways_.size(); }
  /// The process has to end (I10).
  [[nodiscard]] bool fatal() const { return fatal_; }
  void check() const;
  [[nodiscard]] virtual std::shared_ptr<actors::admission> budget() const = 0;
  /// Actors that are alive, and those that the directory knows.
  [[nodiscard]] virtual std::size_t rooms() const = 0;
  [[nodiscard]] virtual std::size_t sessions() const = 0;

  // What the world makes it do.
  /// One message arrives somewhere. False: none is on its way.
  virtual bool deliver_one() = 0;
  [[nodiscard]] virtual const char* last_label() const = 0;
  /// Nothing stands still any more.
  virtual void hurry(bool yes) = 0;
  [[nodiscard]] virtual bool storage_has_work() const = 0;
  virtual void run_storage() = 0;
  virtual void maintain_storage() = 0;
  virtual void tick_directory() = 0;
  /// Sessions that asked to be woken by now are. False: none.
  virtual bool wake_sessions() = 0;
  /// Some session waits for a moment to come.
  [[nodiscard]] virtual bool sessions_wait() const = 0;

  /// An exception ends an actor. False: there is none.
  virtual bool kill_a_room() = 0;
  virtual bool kill_a_session() = 0;
  [[nodiscard]] const std::set<room_key>& killed_rooms() const { return killed_rooms_; }
  [[nodiscard]] const std::set<user_key>& killed_sessions() const { return killed_sessions_; }
  void forget_killed();

  // For gateways.
  virtual void to_directory(actors::gateway_no from, const actors::room_command_ptr& m) = 0;
  virtual void to_directory(actors::gateway_no from, const actors::attach_ptr& m) = 0;
  virtual void to_directory(actors::gateway_no from, const actors::detach_ptr& m) = 0;
  virtual void to_directory(actors::gateway_no from, const actors::move_cursors_ptr& m) = 0;
  virtual void to_directory(actors::gateway_no from, const actors::set_presence_ptr& m) = 0;
  virtual void to_directory(actors::gateway_no from, const actors::type_in_room_ptr& m) = 0;
  virtual void to_storage(actors::gateway_no from, const actors::create_room_ptr& m) = 0;
  virtual bool read(actors::gateway_no from, actors::call_no call, tenant_no tenant,
                    actors::read_query q) = 0;

  dice& chance() { return dice_; }
  const clock& now() { return clock_; }
  model_store& store() { return store_; }

 protected:
  dice& dice_;
  sim_clock& clock_;
  model_store& store_;
  const node_options options_;
  std::vector<std::unique_ptr<gateway>> gateways_;
  std::set<room_key> killed_rooms_;
  std::set<user_key> killed_sessions_;
  bool fatal_ = false;
};

/// The fake bus (bus.hpp) between shells of our own; it reorders whatever two senders say.
[[nodiscard]] std::unique_ptr<node> make_bus_node(dice& chance, sim_clock& now, random_source& random,
                                                  model_store& store, expected_frames& expected,
                                                  const node_options& options);
/// CAF's actors as they are in production, on CAF's own scheduler for tests; chance picks who runs next.
[[nodiscard]] std::unique_ptr<node> make_caf_node(dice& chance, sim_clock& now, random_source& random,
                                                  model_store& store, const node_options& options);

}  // namespace parley::sim
