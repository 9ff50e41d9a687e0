#pragma once
/// A whole world from one seed: tenants, users with devices, their backends, one node after the other over one store.
/// Chance decides who acts, which message arrives next, what fails. Single-threaded; the same seed is the same history.

#include "tests/sim/chance.hpp"
#include "tests/sim/ledger.hpp"
#include "tests/sim/model_store.hpp"
#include "tests/sim/node.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace parley::sim {

/// What kind of days this world has. Chances in permille of a step.
struct weather {
  std::string name;
  bool real_actors = false;  ///< CAF's, instead of the fake bus
  node_options node;
  store_bounds bounds;
  store_faults faults;
  unsigned disk_fills_up = 0;
  unsigned crash = 0;
  unsigned room_dies = 0;
  unsigned session_dies = 0;
  unsigned retention = 0;
  unsigned slow_reader = 0;  ///< of a new connection
  std::size_t slow_line_bytes = 3000;
  unsigned members_change = 0;  ///< of an action
  std::size_t tenants = 1;
  std::size_t users = 4;  ///< a tenant
  std::size_t rooms = 4;  ///< a tenant, about
  std::size_t phases = 3;
  std::size_t actions = 80;           ///< a phase
  std::uint32_t max_connections = 4;  ///< a user
};
/// One of four kinds, with one or three gateways.
[[nodiscard]] weather weather_of(std::uint64_t seed);

class world {
 public:
  world(std::uint64_t seed, const weather& w);
  ~world();
  world(const world&) = delete;
  world& operator=(const world&) = delete;

  /// Lives through all phases; throws violation.
  void run();
  [[nodiscard]] std::uint64_t steps() const { return steps_; }

 private:
  /// A client program that remembers over its connections.
  struct device {
    user_key user;
    bool automatic = true;
    bool slow = false;
    line_ptr line;
    std::map<std::string, std::int64_t> seen;  ///< manual: where to resume
    std::size_t last_request = 0;
  };

  void start_node();
  void end_node();
  void step();
  void fail_something();
  void settle();
  void at_rest();
  void empty_out();

  void act();
  void act_of(device& d);
  void connect(device& d);
  void read(device& d, std::size_t frames);
  void take(device& d, const seen_frame& f);
  void send(device* d);
  void change_message(device* d);
  void attempt(sent_text& text, device* d);
  void sync(device& d, bool first);
  void subscribe(device& d);
  void acknowledge(device& d);
  void show_oneself(device& d);
  void change_members();
  void create_room(tenant_no tenant);
  void call(actors::room_command command);

  [[nodiscard]] std::string next_request(device& d);
  [[nodiscard]] user_id some_user();
  [[nodiscard]] room_id some_room(const user_key& of);
  [[nodiscard]] std::size_t live_rooms(tenant_no tenant) const;
  void trace(const std::string& what) const;

  const weather weather_;
  dice dice_;
  sim_clock clock_;
  sim_random random_;
  model_store store_;
  expected_frames expected_;
  ledger ledger_;
  std::unique_ptr<node> node_;
  std::vector<std::unique_ptr<device>> devices_;
  std::map<user_key, std::map<std::string, std::int64_t>> acknowledged_;
  uuid7_generator ids_;
  bool ending_ = false;
  unsigned pace_ = 60;  ///< permille of steps in which somebody acts
  std::size_t actions_left_ = 0;
  std::size_t last_content_ = 0;
  std::size_t last_key_ = 0;
  std::uint64_t steps_ = 0;
  bool tracing_ = false;
};

}  // namespace parley::sim
