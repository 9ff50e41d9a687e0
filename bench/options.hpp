#pragma once
/// The command line of parley-bench.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

namespace parley::bench {

struct bench_options {
  std::string scenario;

  // The node.
  std::string url;
  bool allows_remote = false;
  std::string master_key;
  std::string api_key;
  std::string tenant_config;
  std::int32_t node_pid = 0;
  bool spawns = false;
  bool has_shipped_limits = false;
  std::string durability = "full";
  std::filesystem::path data_parent;
  std::vector<std::string> node_settings;
  bool keeps = false;

  // The load.
  std::uint32_t connections = 0;  // 0: the scenario's default
  std::uint32_t in_flight = 0;
  std::uint32_t rooms = 0;
  std::uint32_t rooms_each = 5;
  std::vector<std::uint32_t> members;
  std::uint32_t senders = 0;
  std::size_t content_bytes = 0;  // 0: the scenario's default
  double rate = 0;
  double duration_s = 10;
  double warmup_s = 2;
  double idle_s = 30;
  double settle_s = 10;
  double rest_s = 3;
  double connect_rate = 4000;
  double connect_deadline_s = 0;  // 0: by the number of connections
  std::uint32_t threads = 1;
  bool has_manual_sync = false;
  bool is_sync_given = false;
  std::uint64_t seed = 1;

  // Herds: connect, storm, drain.
  std::string by = "kill";  // or drain
  double spread_s = 0;      // over which they come (back), evenly at random; 0: all at once
  bool obeys = false;       // come back when the node said
  std::uint32_t herds = 1;
  double return_deadline_s = 60;
  double ack_every_s = 5;  // with sync=auto
  bool allows_gaps = false;

  // slow.
  std::uint32_t stopped = 0;
  double stop_s = 60;
  std::uint32_t rounds = 3;
  std::uint32_t receive_buffer_bytes = 16 * 1024;

  // presence.
  std::uint32_t togglers = 0;
  double grace_s = 5;
  bool requires_all = false;

  // webhook.
  bool is_dead = false;  // the receiver refuses until so many events wait:
  std::uint32_t queue = 100'000;

  bool prints_json = false;
  bool is_quiet = false;
  std::string command_line;  // as given, without secrets
};

/// How the program ends.
inline constexpr int exit_ok = 0;
inline constexpr int exit_fault = 1;  // a promise was broken, or the set-up failed
inline constexpr int exit_usage = 2;
inline constexpr int exit_interrupted = 130;

struct parsed_options {
  std::optional<bench_options> options;
  int exit_code =
      exit_ok;  // without options: help was asked for (0), or a mistake (2), told on `out` and `err`
};
[[nodiscard]] parsed_options parse_command_line(int argc, const char* const* argv,
                                                std::ostream& out, std::ostream& err);

/// Herds and slow: rooms and talkers where none were named, once the number of connections is known.
void fit_rooms(bench_options& options);

/// `10`, `10s`, `1.5s`, `500ms`, `2m`: seconds.
[[nodiscard]] std::optional<double> read_duration(const std::string& text);

}  // namespace parley::bench
