#pragma once
/// Words for the tests of this folder: a node with a tenant, rooms, sends, the log over REST, what a connection was shown.

#include "tests/support/running_node.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace parley::tests {

using json = nlohmann::json;
using seq_list = std::vector<std::int64_t>;

/// A running node with one tenant. Addresses change with every start: make clients anew after one.
struct stage {
  explicit stage(node_setup setup = {});

  running_node node;
  test_tenant tenant;

  [[nodiscard]] rest_client backend() const { return node.backend(tenant); }
  [[nodiscard]] rest_client user(std::string_view name) const { return node.user(tenant, name); }
  /// Connected; nothing has been read yet.
  [[nodiscard]] ws_client connect(std::string_view name, std::string_view query = {}) const;
  /// Connected with automatic sync, up to its `sync.done`: every room of the user is live.
  [[nodiscard]] ws_client online(std::string_view name, std::string_view query = {}) const;
  /// A new room, made by the backend.
  [[nodiscard]] std::string room(std::string_view type,
                                 const std::vector<std::string>& members) const;
};

/// How a thread-count test sets a node up (DESIGN 10: one gateway has no race between gateways).
[[nodiscard]] node_setup with_io_threads(int count, node_setup setup = {});

[[nodiscard]] std::string make_room(rest_client& as, std::string_view type,
                                    const std::vector<std::string>& members);
[[nodiscard]] json send_frame(const std::string& room, std::string_view content,
                              std::string_view client_msg_id = {});
/// Sends and waits for the reply, whatever it is.
json send(ws_client& client, const std::string& room, std::string_view content,
          std::string_view client_msg_id = {});
/// Posts as the backend for `sender`; throws unless it was accepted.
json post(rest_client& backend, const std::string& room, std::string_view sender,
          std::string_view content);
/// Posts `count` messages, in whatever order: fast, for tests that need a long log.
void post_many(rest_client& backend, const std::string& room, std::string_view sender, int count);

/// A log entry, and not one of the other frames that have room_id and seq (SPEC 1).
[[nodiscard]] bool is_entry(const json& frame);
/// The entries of `room` among what the connection has received, in order.
[[nodiscard]] std::vector<json> entries_of(const ws_client& client, const std::string& room);
/// Reads until the entry (room, seq) comes; all before it stay in received().
json await_entry(ws_client& client, const std::string& room, std::int64_t seq,
                 std::chrono::milliseconds within = std::chrono::seconds{10});
/// The whole log of a room, page by page.
[[nodiscard]] std::vector<json> log_of(rest_client& as, const std::string& room);
[[nodiscard]] seq_list seqs_of(const std::vector<json>& entries);
[[nodiscard]] seq_list seqs(std::int64_t first, std::int64_t last);
[[nodiscard]] std::vector<std::string> contents_of(const std::vector<json>& entries);
[[nodiscard]] std::vector<std::string> types_of(const std::vector<json>& frames);

/// `parley verify` on the node's database; also while it runs.
[[nodiscard]] finished verify(const running_node& node);
[[nodiscard]] bool is_clean(const finished& verified);

[[nodiscard]] std::int64_t resident_kib(pid_t pid);

/// A number from the environment, for the long form of a test.
[[nodiscard]] int from_environment(const char* name, int otherwise);

}  // namespace parley::tests
