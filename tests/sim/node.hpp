#pragma once
/// All that one process holds in memory: the decision classes of actors/ and net/ as they are, each behind a shell that
/// only puts its messages on the fake bus. The real shells are actors/*_actor.cpp; both drive the same functions.

#include "actors/directory.hpp"
#include "actors/group_commit.hpp"
#include "actors/room.hpp"
#include "actors/session.hpp"
#include "tests/sim/bus.hpp"
#include "tests/sim/gateway.hpp"
#include "tests/sim/model_store.hpp"

#include <map>
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

class node {
 public:
  node(dice& chance, sim_clock& now, random_source& random, model_store& store,
       expected_frames& expected, const node_options& options);
  ~node();
  node(const node&) = delete;
  node& operator=(const node&) = delete;

  bus messages;
  std::function<void(const line&, const seen_frame&)> on_shown;  ///< for a trace

  [[nodiscard]] gateway& at(std::size_t gateway) { return *gateways_[gateway]; }
  [[nodiscard]] std::size_t gateways() const { return gateways_.size(); }
  [[nodiscard]] const actors::directory& directory() const { return *directory_; }
  [[nodiscard]] const actors::group_commit& storage() const;
  [[nodiscard]] const std::shared_ptr<actors::admission>& budget() const { return budget_; }
  [[nodiscard]] std::size_t rooms() const { return rooms_.size(); }
  [[nodiscard]] std::size_t sessions() const { return sessions_.size(); }
  /// The process has to end (I10).
  [[nodiscard]] bool fatal() const { return fatal_; }

  void run_storage();
  void maintain_storage();
  void tick_directory();
  /// Sessions that asked to be woken by now are. False: none.
  bool wake_sessions();
  /// Some session waits for a moment to come.
  [[nodiscard]] bool sessions_wait() const;
  void check() const;

  /// An exception ends an actor. False: there is none.
  bool kill_a_room();
  bool kill_a_session();
  [[nodiscard]] const std::set<room_key>& killed_rooms() const { return killed_rooms_; }
  [[nodiscard]] const std::set<user_key>& killed_sessions() const { return killed_sessions_; }
  void forget_killed();

  // For gateways.
  void to_directory(actors::gateway_no from, const actors::room_command_ptr& m);
  void to_directory(actors::gateway_no from, const actors::attach_ptr& m);
  void to_directory(actors::gateway_no from, const actors::detach_ptr& m);
  void to_directory(actors::gateway_no from, const actors::move_cursors_ptr& m);
  void to_directory(actors::gateway_no from, const actors::set_presence_ptr& m);
  void to_directory(actors::gateway_no from, const actors::type_in_room_ptr& m);
  void to_storage(actors::gateway_no from, const actors::create_room_ptr& m);
  bool read(address asker, actors::call_no call, actors::read_query q,
            std::function<void(actors::call_no, const actors::read_result&)> answer);

  dice& chance() { return dice_; }
  const clock& now() { return clock_; }
  model_store& store() { return store_; }

 private:
  class directory_shell;
  class storage_shell;
  class room_shell;
  class session_shell;
  friend class directory_shell;
  friend class storage_shell;
  friend class room_shell;
  friend class session_shell;

  template <class M>
  void storage_take(const M& m);
  template <class F>
  void with_room(actors::instance_no room, F&& step);
  void publish(const actors::publish_ptr& m);
  void to_gateway(address from, actors::gateway_no gateway, const char* label,
                  std::function<void(sim::gateway&)> deliver);
  void to_room(address from, actors::instance_no room, const char* label,
               std::function<void(actors::room&)> deliver);
  void to_session(address from, actors::instance_no session, const char* label,
                  std::function<void(actors::session&)> deliver);
  void check_committed(const room_key& room, room_seq seq, const message_id& message) const;

  dice& dice_;
  sim_clock& clock_;
  random_source& random_;
  model_store& store_;
  expected_frames& expected_;
  const node_options options_;
  std::shared_ptr<actors::admission> budget_;
  std::unique_ptr<storage_shell> storage_;
  std::unique_ptr<directory_shell> directory_ports_;
  std::unique_ptr<actors::directory> directory_;
  std::map<actors::instance_no, std::unique_ptr<room_shell>> rooms_;
  std::map<actors::instance_no, std::unique_ptr<session_shell>> sessions_;
  std::vector<std::unique_ptr<gateway>> gateways_;
  std::map<room_key, std::uint64_t> log_numbers_;  ///< of rooms' publishes, for the bus
  std::set<room_key> killed_rooms_;
  std::set<user_key> killed_sessions_;
  bool fatal_ = false;
};

}  // namespace parley::sim
