#pragma once
/// The node as a whole: store, actors and I/O threads put together, started and stopped in order. It knows no command
/// line, no configuration file, no signals and no exit status: command_serve.cpp has those.
/// Threads    start, begin_drain, apply and stop from one thread (main's); signals are blocked in every thread.

#include "net/address_range.hpp"
#include "protocol/hash.hpp"
#include "protocol/limits.hpp"
#include "protocol/result.hpp"
#include "protocol/seams.hpp"
#include "store/store.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace parley::app {

/// Everything the node needs from the configuration, resolved: no zeros that mean «look at the machine».
struct node_options {
  boost::asio::ip::tcp::endpoint listen;
  std::optional<boost::asio::ip::tcp::endpoint> admin_listen;
  std::vector<net::address_range> metrics_allow;  ///< who may scrape `listen`
  std::filesystem::path database;                 ///< absolute; its directory exists
  store::durability durability = store::durability::full;
  std::string master_api_key;
  parley::secret_key secret_key{};
  std::string version;

  unsigned io_threads = 1;
  unsigned reader_threads = 2;

  std::vector<std::string> allowed_origins;  ///< `*`: all
  bool ws_jwt_in_query = false;

  node_limits limits;  ///< with ws_max_connections resolved
  // 0 means none.
  std::uint32_t max_connections_per_tenant = 0;
  std::uint32_t max_connections_per_address = 0;
  std::uint32_t max_rooms_per_tenant = 0;
  std::uint32_t ws_max_unauthenticated = 0;
  std::uint32_t default_rate_limit = 0;
  std::uint32_t default_message_rate = 0;
  std::uint32_t user_send_rate = 0;
  std::uint32_t user_send_burst = 1;
  std::uint32_t ws_frame_rate = 0;
  std::uint32_t ws_frame_burst = 1;
  std::uint32_t ws_connect_rate = 0;
  std::uint32_t auth_failure_rate_per_min = 0;

  std::chrono::milliseconds ws_ticket_ttl{};
  std::chrono::milliseconds presence_grace{};
  std::chrono::milliseconds herd_window{};
  std::chrono::milliseconds typing_interval{};
  std::chrono::milliseconds typing_timeout{};
  std::uint32_t presence_max_members = 0;
  std::uint32_t receipt_max_members = 0;
  std::uint32_t typing_max_members = 0;
  bool webhook_allow_private = false;
  std::chrono::milliseconds webhook_timeout{};
  std::string webhook_ca_file;  ///< empty: what the system trusts
  std::chrono::milliseconds offline_after{};
  std::uint32_t offline_webhook_max_members = 0;
  std::uint32_t retry_max_attempts = 1;
  std::chrono::milliseconds retry_interval{};
  std::chrono::milliseconds retry_max_interval{};
  std::uint32_t webhook_max_in_flight = 1;
  std::uint64_t outbox_max_events = 0;
  std::chrono::milliseconds dead_letter_ttl{};
  std::chrono::milliseconds worker_interval{};
  std::chrono::milliseconds message_retention{};  ///< 0: none
  std::chrono::milliseconds reconnect_window{};   ///< 0: by the number of connections

  /// Called once, on any thread, when the node cannot go on (I10: a failed fsync, an I/O error in a commit). It ends the
  /// process and must not return: command_serve logs `why` and calls _exit(status).
  std::function<void(int status, const std::string& why)> on_fatal;
};

class node {
 public:
  /// Opens the database (migrates, recovers), starts actors and I/O threads, listens. On success `/readyz` says 200.
  /// Failures: `conflict`: another process has the database, or it is from a newer version; `unavailable`: it can't be
  /// read or written (exit status 74); else: the address can't be listened on, … The message is for the operator and
  /// says what to do.
  static result<std::unique_ptr<node>> start(node_options options);
  ~node();
  node(const node&) = delete;
  node& operator=(const node&) = delete;

  [[nodiscard]] boost::asio::ip::tcp::endpoint local_endpoint() const;
  /// nullopt: there is none.
  [[nodiscard]] std::optional<boost::asio::ip::tcp::endpoint> admin_endpoint() const;

  /// `/readyz` says 503 from now on; all else is served as before.
  void begin_drain();
  /// SPEC 7: the listener closes, every connection gets `server.shutdown` and is served until requests in flight are
  /// answered, then all are closed with 1012 together; last commit, checkpoint, clean mark. True: all of it was done by
  /// `deadline`. False: not; the process should end without more manners.
  bool stop(mono_time deadline);

  /// SIGHUP: takes over what can change while it runs: rates, and connections a tenant and address.
  void apply(const node_options& changed);

 private:
  struct impl;
  explicit node(std::unique_ptr<impl> i);
  std::unique_ptr<impl> impl_;
};

}  // namespace parley::app
