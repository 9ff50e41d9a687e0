#pragma once
/// A node of our own for one run (`--spawn`): writes its configuration, starts it, waits until it listens, and ends it by
/// its pid. Also what /proc and the CPU clock tell about any process.

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace parley::bench {

struct process_usage {
  double cpu_s = 0;  // user and system, all threads
  std::uint64_t rss_bytes = 0;
  std::uint64_t rss_peak_bytes = 0;
  std::uint64_t threads = 0;
};
/// nullopt: no such process (any more).
[[nodiscard]] std::optional<process_usage> usage_of(pid_t pid);

struct node_options {
  std::filesystem::path binary;
  std::filesystem::path data_parent;  // a fresh directory is made in it
  std::string durability = "full";
  bool has_shipped_limits = false;    // else: no limits that a load would run into
  std::vector<std::string> settings;  // further lines of its configuration, `key=value`
  double start_deadline_s = 30;
  double stop_deadline_s = 30;
  bool keeps_data = false;
};

/// The binary beside this program, or $PARLEY_BIN; empty path: neither.
[[nodiscard]] std::filesystem::path find_node_binary();
/// The TOML that it starts with.
[[nodiscard]] std::string node_config(const node_options& options,
                                      const std::filesystem::path& data_dir,
                                      const std::string& master_key,
                                      const std::string& address = "127.0.0.1:0");

class node_process {
 public:
  /// Throws setup_error when it cannot be started or does not listen in time, with the end of its log.
  explicit node_process(node_options options);
  /// Ends it without asking how, if stop() was not called.
  ~node_process();
  node_process(const node_process&) = delete;
  node_process& operator=(const node_process&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] const std::string& url() const { return url_; }
  [[nodiscard]] const std::string& master_key() const { return master_key_; }
  [[nodiscard]] const std::filesystem::path& directory() const { return directory_; }

  /// False once it has ended by itself.
  [[nodiscard]] bool is_running();
  /// SIGTERM and wait. Empty when it exited with 0 in time, else what happened, with the end of its log.
  [[nodiscard]] std::string stop();
  [[nodiscard]] std::string log_tail() const;

  struct restarted {
    std::string failure;  // as of stop(): empty when it exited with 0 in time
    double exit_s = 0;    // from SIGTERM to its end
    double listen_s = 0;  // from its start until it listened again
  };
  /// stop(), then the same binary on the same data and port. Throws setup_error when it does not listen in time.
  [[nodiscard]] restarted restart();
  /// The same after a SIGKILL; how many seconds it took from its start until it listened again.
  [[nodiscard]] double kill_and_restart();

 private:
  void start();
  /// After an end: the seconds from its start until it listens.
  double start_again();
  void await_listening();
  /// Waits up to `seconds` for its end; its status stays in wait_status_.
  bool await_end(double seconds);
  void kill_now();
  void remove_directory();

  node_options options_;
  std::filesystem::path directory_;
  std::string master_key_;
  std::string url_;
  pid_t pid_ = -1;
  std::size_t log_from_ = 0;  // bytes of earlier starts
  bool has_ended_ = false;
  int wait_status_ = 0;
};

}  // namespace parley::bench
