#pragma once
/// The node's configuration: the values, and how four layers become them (the later wins): defaults, a TOML file with
/// flat keys, the environment, the command line. Only app/ reads it; every other part takes a small options struct.
/// The keys themselves, with ranges and documents, are one table: config_keys.hpp.

#include "protocol/limits.hpp"
#include "protocol/log.hpp"
#include "store/store.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parley::app {

enum class log_format : std::uint8_t { json, text };

/// Every key's value; 0 means none where the table says so.
struct config {
  std::string listen_addr = ":8080";
  std::filesystem::path data_dir = "parley-data";
  std::string database = "parley.db";  ///< a path; relative to data_dir
  store::durability durability = store::durability::full;

  std::string master_api_key;  ///< empty: not given
  std::string secret_key;      ///< 64 hex digits; empty: the file in data_dir

  parley::log_level log_level = parley::log_level::info;
  app::log_format log_format = app::log_format::json;
  std::string log_dir;

  std::uint32_t io_threads = 0;  ///< 0: cores − 1, at least 1
  std::uint32_t reader_threads = 2;

  std::string admin_listen;                                          ///< empty: none
  std::vector<std::string> metrics_allow{"127.0.0.0/8", "::1/128"};  ///< address ranges

  std::vector<std::string> ws_allowed_origins;
  bool ws_jwt_in_query = false;

  node_limits limits;
  std::uint32_t max_connections_per_tenant = 0;
  std::uint32_t max_connections_per_address = 0;
  std::uint32_t max_rooms_per_tenant = 0;
  std::uint32_t ws_max_unauthenticated = 1000;

  std::uint32_t default_rate_limit = 100;  ///< REST requests a second and tenant
  std::uint32_t default_message_rate = 0;  ///< messages a second and tenant
  std::uint32_t user_send_rate = 10;       ///< a second and user
  std::uint32_t user_send_burst = 20;
  std::uint32_t ws_frame_rate = 20;  ///< a second and connection
  std::uint32_t ws_frame_burst = 60;
  std::uint32_t ws_connect_rate = 5000;  ///< a second, the whole node
  std::uint32_t auth_failure_rate = 10;  ///< a minute and address

  std::chrono::milliseconds ws_ticket_ttl{60'000};
  std::chrono::milliseconds presence_grace{5'000};
  std::chrono::milliseconds herd_window{30'000};
  std::chrono::milliseconds typing_interval{2'000};
  std::chrono::milliseconds typing_timeout{6'000};
  std::uint32_t presence_max_members = 200;
  std::uint32_t receipt_max_members = 50;
  std::uint32_t typing_max_members = 200;

  bool webhook_allow_private = false;
  std::chrono::milliseconds webhook_timeout{10'000};
  std::string webhook_ca_file;  ///< empty: what the system trusts
  std::chrono::milliseconds offline_after{10'000};
  std::uint32_t offline_webhook_max_members = 200;
  std::uint32_t retry_max_attempts = 10;
  std::chrono::milliseconds retry_interval{5'000};
  std::chrono::milliseconds retry_max_interval{3'600'000};
  std::uint32_t webhook_max_in_flight = 16;  ///< an endpoint
  std::uint64_t outbox_max_events = 1'000'000;
  std::chrono::milliseconds dead_letter_ttl{std::chrono::hours{24 * 30}};

  std::chrono::milliseconds worker_interval{30'000};
  std::chrono::milliseconds message_retention{0};  ///< 0: none
  std::chrono::milliseconds drain_delay{1'000};
  std::chrono::milliseconds shutdown_drain_timeout{10'000};
  std::chrono::milliseconds reconnect_window{0};  ///< 0: 1 s per 2,000 connections, at least 500 ms

  /// The database's file, absolute.
  [[nodiscard]] std::filesystem::path database_file() const;
};

/// What differs with `--dev`, before any layer: loopback only, no waiting, lines for people.
[[nodiscard]] config default_config(bool dev = false);

/// Where the layers come from. Everything outside this struct and the files it names has no influence.
struct config_inputs {
  bool dev = false;
  std::optional<std::filesystem::path> file{};
  /// All of the process's environment: variables that are not ours are passed over.
  std::vector<std::pair<std::string, std::string>> environment{};
  std::optional<std::string> dotenv{};  ///< text of `.env` in the working directory
  std::vector<std::string> sets{};      ///< `key=value`, of --set; the later wins
  struct flag {
    std::string name;  ///< as typed: `--listen`
    std::string key;
    std::string value;
  };
  std::vector<flag> flags{};
};

struct loaded_config {
  config values;
  std::vector<std::string> warnings;
  std::vector<std::string> problems;  ///< empty: `values` may be used. Secrets are in none of the texts.
  /// Keys that some layer gave, by name.
  std::vector<std::string_view> given;
  [[nodiscard]] bool was_given(std::string_view key) const;
};
/// Reads all layers and reports everything that is wrong at once. Never throws.
[[nodiscard]] loaded_config load_config(const config_inputs& inputs);

/// The process's environment and the working directory's `.env`, put into `inputs`.
void read_process_environment(config_inputs& inputs);

/// `io_threads`, resolved.
[[nodiscard]] unsigned io_thread_count(const config& c, unsigned cores);

}  // namespace parley::app
