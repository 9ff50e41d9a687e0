#pragma once
/// A child process of a test: its output line by line, its end. It never outlives the test, however that ends.

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley::tests {

struct process_options {
  std::vector<std::string> command;  ///< program and arguments
  /// Beside the test's own environment, from which everything that configures a node is taken out: PARLEY_… and
  /// ChatAPI's names.
  std::map<std::string, std::string> env{};
  std::filesystem::path working_directory{};  ///< empty: the test's
  std::string input{};                        ///< standard input, then its end
};

/// Thread-safe.
class process {
 public:
  explicit process(const process_options& options);
  ~process();  ///< kills it if it still runs
  process(process&&) noexcept;
  process& operator=(process&&) noexcept;

  [[nodiscard]] pid_t pid() const;
  void signal(int number);
  /// Waits for its end. The exit status; 128 + the signal's number when a signal ended it. nullopt: it still runs.
  std::optional<int> wait(std::chrono::milliseconds within);
  /// Waits for its end and for all its output; throws deadline_passed, and kills it, when that does not come.
  int exit_status(std::chrono::milliseconds within = std::chrono::seconds{30});
  [[nodiscard]] bool is_running();

  [[nodiscard]] std::vector<std::string> stderr_lines() const;
  [[nodiscard]] std::string stderr_text() const;
  [[nodiscard]] std::string stdout_text() const;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// Runs a command to its end.
struct finished {
  int status = -1;
  std::string out;
  std::string err;
};
[[nodiscard]] finished run(const process_options& options,
                           std::chrono::milliseconds within = std::chrono::seconds{30});

/// The path in an environment variable such as PARLEY_BIN; throws when it is not set.
[[nodiscard]] std::string binary_from(const char* variable);
/// The node's program: $PARLEY_BIN.
[[nodiscard]] std::string parley_binary();

}  // namespace parley::tests
