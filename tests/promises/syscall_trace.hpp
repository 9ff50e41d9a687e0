#pragma once
/// What a node asked of the kernel, in order, as strace saw it. A call is written down before the kernel carries it out and
/// again when it returns, while its thread stands still: so «A had returned before B began» in the file was so.

#include "tests/support/running_node.hpp"
#include "tests/support/temp_dir.hpp"

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley::tests {

struct traced_call {
  std::string name;
  std::string text;       ///< arguments and result, as strace writes them
  std::size_t begin = 0;  ///< line where it was entered
  std::size_t end = 0;    ///< line where it returned
  /// Of a write or sync: is it about a file whose name ends so?
  [[nodiscard]] bool is_on(std::string_view file_end) const;
  [[nodiscard]] bool is_sync() const { return name == "fdatasync" || name == "fsync"; }
};

/// strace's file → calls in the order in which they began. Calls that never returned are left out.
[[nodiscard]] std::vector<traced_call> parse_trace(std::string_view text);

/// Runs a node under strace: `arguments` beside those that every use needs. Fails when strace is not installed.
class tracing {
 public:
  explicit tracing(std::vector<std::string> arguments);
  /// For node_setup::under. The node stays a child of the test; strace is its grandchild.
  [[nodiscard]] std::vector<std::string> under() const;
  /// The trace after the node has ended.
  [[nodiscard]] std::string text(pid_t node) const;

 private:
  temp_dir dir_;
  std::vector<std::string> arguments_;
};

/// For each of these keys (client_msg_id, also part of the content): written to the WAL, synced, and only then told or
/// shown to anybody.
struct order_seen {
  std::size_t in_order = 0;             ///< write → sync → first word about it
  std::size_t without_sync = 0;         ///< write → first word, no sync of the WAL in between
  std::vector<std::string> violations;  ///< told before it was written, or never written
  std::size_t wal_syncs = 0;            ///< between the first write and the last word
};
[[nodiscard]] order_seen order_of(const std::vector<traced_call>& calls,
                                  const std::vector<std::string>& keys);

}  // namespace parley::tests
