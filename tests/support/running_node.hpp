#pragma once
/// A real node for whole-node tests: $PARLEY_BIN serve on a free port and a directory of its own. It never outlives the
/// test. Restarting, also after kill9(), keeps the directory.

#include "tests/support/process.hpp"
#include "tests/support/rest_client.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/ws_client.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley::tests {

struct node_setup {
  /// Configuration keys. Waits that only cost tests time are off unless given: drain_delay, herd_window.
  std::map<std::string, std::string> config{};
  std::map<std::string, std::string> env{};  ///< such as PARLEY_BREAK
  std::vector<std::string> arguments{};      ///< more of the command line
  /// What runs the program, such as `/usr/bin/strace -D …` (-D: the node stays the process that pid() names).
  std::vector<std::string> under{};
  std::filesystem::path data_dir{};  ///< empty: a temporary one
  std::chrono::milliseconds start_within{30'000};
};
/// The same without rates: for tests that are not about limits.
[[nodiscard]] node_setup without_rate_limits(node_setup setup = {});

/// A tenant and the secrets that were shown at its creation.
struct test_tenant {
  std::string tenant_id;
  std::string api_key;
  std::string jwt_secret;
  std::string webhook_secret;
};

class running_node {
 public:
  /// Starts it and waits until it listens; throws with what it said when it does not.
  explicit running_node(node_setup setup = {});

  [[nodiscard]] const std::string& address() const { return address_; }  ///< `127.0.0.1:41234`
  [[nodiscard]] const std::filesystem::path& data_dir() const { return data_dir_; }
  [[nodiscard]] const std::string& master_key() const { return master_key_; }
  [[nodiscard]] pid_t pid() const { return process_->pid(); }
  [[nodiscard]] bool is_running() { return process_->is_running(); }

  /// Lines on standard error of the present run.
  [[nodiscard]] std::vector<std::string> stderr_lines() const { return process_->stderr_lines(); }
  /// The same as JSON; lines that are none are left out.
  [[nodiscard]] std::vector<nlohmann::json> log() const;
  /// Waits for a log line with this `msg`.
  nlohmann::json await_log(std::string_view message,
                           std::chrono::milliseconds within = std::chrono::seconds{10});

  void signal(int number) { process_->signal(number); }
  /// SIGKILL, and waits for the end.
  void kill9();
  /// SIGTERM, and waits for the end: the exit status.
  int terminate(std::chrono::milliseconds within = std::chrono::seconds{30});
  /// Waits for an end that something else caused: the exit status, 128 + n for a signal.
  int await_exit(std::chrono::milliseconds within = std::chrono::seconds{30});
  /// Ends it if it still runs (SIGTERM) and starts it again on the same data, on another port.
  void restart();
  /// Starts it after an end; the setup may be changed before.
  void start();
  /// The same without waiting until it listens; address() stays that of the run before.
  void launch();
  node_setup& setup() { return setup_; }

  /// Clients: without credentials, the operator, a tenant's backend, a user by way of the backend's key.
  [[nodiscard]] rest_client rest() const { return rest_client{address_}; }
  [[nodiscard]] rest_client operator_client() const;
  [[nodiscard]] rest_client backend(const test_tenant& tenant) const;
  [[nodiscard]] rest_client user(const test_tenant& tenant, std::string_view user_id) const;
  [[nodiscard]] ws_client connect(const test_tenant& tenant, std::string_view user_id,
                                  std::string_view query = {}) const;
  test_tenant create_tenant(std::string_view name = "test",
                            const nlohmann::json& config = nlohmann::json::object());

 private:
  node_setup setup_;
  std::optional<temp_dir> own_dir_;
  std::filesystem::path data_dir_;
  std::string master_key_ = "master-key-of-the-tests-0123456789";
  std::string address_;
  std::optional<process> process_;
};

}  // namespace parley::tests
