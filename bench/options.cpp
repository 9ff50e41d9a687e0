#include "bench/options.hpp"

#include "bench/target_url.hpp"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <ostream>
#include <string_view>

namespace parley::bench {
namespace {

constexpr std::string_view examples = R"(Examples:
  parley-bench send --spawn --connections 1000 --in-flight 8 --duration 10
      starts a node of its own, loads it, ends it
  parley-bench send --url http://127.0.0.1:8080 --rate 1000
      1,000 messages a second on a running node; the key comes from PARLEY_MASTER_API_KEY
  parley-bench fanout --spawn --members 10,100,1000 --senders 4 --in-flight 8 --json
  parley-bench idle --spawn --connections 18000 --duration 30
  parley-bench send --spawn --shipped-limits --connections 200
      with the limits that a node has by default: 10 messages a second and user

Exit codes: 0 all promises kept, 1 a promise broken or the node not usable, 2 usage, 130 interrupted.
)";

void add_duration(CLI::App& app, const std::string& names, double& to, const std::string& what) {
  app.add_option_function<std::string>(
         names,
         [&to, names](const std::string& text) {
           const auto seconds = read_duration(text);
           if (!seconds) throw CLI::ValidationError{names, "'" + text + "' is not a duration"};
           to = *seconds;
         },
         what)
      ->type_name("DURATION");
}

void add_node_options(CLI::App& app, bench_options& o) {
  const auto in_group = [](CLI::Option* option) { return option->group("The node"); };
  in_group(app.add_option("--url", o.url, "Load this node: http://127.0.0.1:PORT"));
  in_group(app.add_flag("--allow-remote", o.allows_remote, "Permit a --url that is not loopback"));
  in_group(app.add_option("--master-key", o.master_key,
                          "Makes a tenant for the run, deleted afterwards"))
      ->envname("PARLEY_MASTER_API_KEY");
  in_group(app.add_option("--api-key", o.api_key, "Use this tenant instead"));
  in_group(app.add_option("--tenant-config", o.tenant_config,
                          "JSON for the made tenant, such as '{\"user_send_rate\":0}'"));
  in_group(app.add_option("--pid", o.node_pid,
                          "Process of the node behind --url: reports its CPU and memory"));
  in_group(app.add_flag("--spawn", o.spawns,
                        "Start a node for the run: `parley` beside this program, or $PARLEY_BIN"));
  in_group(app.add_flag("--shipped-limits", o.has_shipped_limits,
                        "With --spawn: leave its limits at their defaults, do not lift them"));
  in_group(app.add_option("--durability", o.durability, "With --spawn: full or normal"))
      ->check(CLI::IsMember({"full", "normal"}))
      ->capture_default_str();
  in_group(app.add_option("--data-dir", o.data_parent,
                          "With --spawn: where its temporary directory is made [$TMPDIR or /tmp]"));
  in_group(
      app.add_option("--set", o.node_settings,
                     "With --spawn: a line of its configuration, KEY=VALUE in TOML; repeatable")
          ->allow_extra_args(false));
  in_group(app.add_flag("--keep", o.keeps, "Keep the spawned node's directory, or the tenant"));
}

void add_load_options(CLI::App& app, bench_options& o) {
  app.add_option("--size", o.content_bytes, "Bytes of content a message")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 20))
      ->capture_default_str();
  add_duration(app, "--duration", o.duration_s, "Length of the measurement [10s]");
  add_duration(app, "--warmup", o.warmup_s, "Load before it, not measured [2s]");
  add_duration(app, "--settle", o.settle_s,
               "How long afterwards everything accepted may take to arrive [10s]");
  app.add_option(
         "--rate", o.rate,
         "Paced: messages a second of all senders together, latency from when each was due. "
         "Without: closed loop, as fast as answers come")
      ->check(CLI::NonNegativeNumber);
}

void add_common_options(CLI::App& app, bench_options& o) {
  add_node_options(app, o);
  app.add_option("--connect-rate", o.connect_rate, "Connections opened a second; 0: no pause")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_duration(app, "--connect-deadline", o.connect_deadline_s,
               "Until all must be connected and synced [30s + 3 × connections / connect-rate]");
  app.add_option("--threads", o.threads, "Load threads, each with an epoll set of its own")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option_function<std::string>(
         "--sync", [&o](const std::string& mode) { o.has_manual_sync = mode == "manual"; },
         "How connections ask for their rooms: auto, or manual (positions from the client) [auto]")
      ->check(CLI::IsMember({"auto", "manual"}));
  app.add_option("--seed", o.seed, "Seed of all that is random")->capture_default_str();
  app.add_flag("--json", o.prints_json, "One JSON object on standard output");
  app.add_flag("--quiet", o.is_quiet, "No progress lines on standard error");
}

void add_send(CLI::App& app, bench_options& o) {
  CLI::App& send = *app.add_subcommand(
      "send", "Many small rooms, everybody sends: accepted and delivered messages a second");
  add_common_options(send, o);
  add_load_options(send, o);
  send.add_option("-c,--connections", o.connections, "Connections, a user each [1000]");
  send.add_option("-w,--in-flight", o.in_flight, "Open sends a connection [1; with --rate 16]");
  send.add_option("--rooms", o.rooms, "Rooms [connections / members]");
  send.add_option("--members", o.members, "Members a room [2]")->expected(1);
  send.add_option("--senders", o.senders, "Connections that send [all]");
}

void add_fanout(CLI::App& app, bench_options& o) {
  CLI::App& fanout = *app.add_subcommand(
      "fanout", "One big room, some send: deliveries a second, time to the last reader");
  add_common_options(fanout, o);
  add_load_options(fanout, o);
  fanout.add_option("--members", o.members, "Members of the room; a list makes a run each [100]")
      ->delimiter(',');
  fanout.add_option("--senders", o.senders, "Members that send [4]");
  fanout.add_option("-w,--in-flight", o.in_flight, "Open sends a sender [8; with --rate 16]");
}

void add_idle(CLI::App& app, bench_options& o) {
  CLI::App& idle = *app.add_subcommand(
      "idle", "Many connections that say nothing: the node's memory a connection, its idle CPU");
  add_common_options(idle, o);
  // Shorter would not see the node's pings, which come each 30 s.
  add_duration(idle, "--duration", o.idle_s, "How long they stay silent [30s]");
  add_duration(idle, "--rest", o.rest_s, "Pause before memory is read and silence begins [3s]");
  idle.add_option("-c,--connections", o.connections,
                  "Connections, a user each [18000, or what the descriptors allow]");
  idle.add_option("--rooms-each", o.rooms_each, "Rooms of a user")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  idle.add_option("--members", o.members, "Members a room [20]")->expected(1);
}

/// What CLI11 cannot tell by itself; empty: all well.
std::string find_contradiction(const bench_options& o) {
  if (o.spawns == !o.url.empty()) return "give either --url or --spawn";
  if (o.spawns) {
    if (!o.api_key.empty()) return "--api-key does not go with --spawn";
    if (o.node_pid != 0) return "--pid does not go with --spawn";
  } else {
    if (auto url = read_target_url(o.url, o.allows_remote); !url.url) return "--url: " + url.why;
    if (o.has_shipped_limits || !o.node_settings.empty() || !o.data_parent.empty()) {
      return "--shipped-limits, --set and --data-dir go with --spawn";
    }
    if (o.master_key.empty() && o.api_key.empty()) return "--url needs --master-key or --api-key";
  }
  if (!o.tenant_config.empty() &&
      !nlohmann::json::parse(o.tenant_config, nullptr, false).is_object()) {
    return "--tenant-config: not a JSON object";
  }
  const auto lacks_equals = [](const std::string& s) { return s.find('=') == std::string::npos; };
  if (std::ranges::any_of(o.node_settings, lacks_equals)) return "--set: expected KEY=VALUE";
  for (const double seconds : {o.duration_s, o.idle_s}) {
    if (seconds <= 0 || seconds > 24 * 3600) return "--duration: above 0, at most a day";
  }
  return {};
}

void fill_defaults(bench_options& o) {
  const auto set = [](std::uint32_t& value, std::uint32_t usual) {
    if (value == 0) value = usual;
  };
  const bool is_paced = o.rate > 0;
  if (o.scenario == "send") {
    set(o.connections, 1000);
    set(o.in_flight, is_paced ? 16 : 1);
    if (o.members.empty()) o.members = {std::min(2U, o.connections)};
    set(o.rooms, (o.connections + o.members[0] - 1) / std::max(1U, o.members[0]));
    set(o.senders, o.connections);
  } else if (o.scenario == "fanout") {
    set(o.in_flight, is_paced ? 16 : 8);
    set(o.senders, 4);
    if (o.members.empty()) o.members = {100};
  } else if (o.members.empty()) {
    o.members = {20};
  }
}

std::string find_misfit(const bench_options& o) {
  constexpr std::uint32_t members_max = 100'000;
  constexpr std::uint32_t in_flight_max = 100'000;
  if (std::ranges::any_of(o.members, [](auto m) { return m == 0 || m > members_max; })) {
    return "--members: 1 to 100000";
  }
  if (o.in_flight > in_flight_max) return "--in-flight: at most 100000";
  if (o.scenario != "send") return {};
  if (o.members[0] > o.connections) return "--members: more than there are connections";
  if (o.senders > o.connections) return "--senders: more than there are connections";
  const auto places = std::uint64_t{o.rooms} * o.members[0];
  if (places < o.connections) return "--rooms: some connections would be in no room";
  if (places > std::uint64_t{10'000'000}) return "--rooms: too many";
  return {};
}

/// The command line for the report, keys left out.
std::string shown_command_line(int argc, const char* const* argv) {
  std::string shown;
  bool is_secret = false;
  for (int i = 0; i < argc; ++i) {
    std::string word = argv[i];
    for (const std::string_view name : {"--master-key", "--api-key"}) {
      if (word.starts_with(std::string{name} + "=")) word = std::string{name} + "=***";
    }
    if (is_secret) word = "***";
    is_secret = word == "--master-key" || word == "--api-key";
    if (word.empty() || word.find_first_of(" '\"{}$*?;&|<>()\\") != std::string::npos) {
      word = word.find("***") == std::string::npos ? "'" + word + "'" : word;
    }
    shown += (i == 0 ? "" : " ") + word;
  }
  return shown;
}

}  // namespace

std::optional<double> read_duration(const std::string& text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, failed] = std::from_chars(text.data(), end, value);
  if (failed != std::errc{} || !std::isfinite(value) || value < 0) return std::nullopt;
  const std::string_view unit{stop, static_cast<std::size_t>(end - stop)};
  if (unit.empty() || unit == "s") return value;
  if (unit == "ms") return value / 1000;
  if (unit == "m") return value * 60;
  if (unit == "h") return value * 3600;
  return std::nullopt;
}

parsed_options parse_command_line(int argc, const char* const* argv, std::ostream& out,
                                  std::ostream& err) {
  bench_options o;
  CLI::App app{
      "parley-bench: loads a Parley node over its public API, measures it, and checks "
      "every delivery while it does"};
  app.name("parley-bench");
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  app.footer(std::string{examples});
  add_send(app, o);
  add_fanout(app, o);
  add_idle(app, o);
  for (CLI::App* sub : app.get_subcommands({})) sub->footer(std::string{examples});

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return {std::nullopt, app.exit(error, out, err) == 0 ? exit_ok : exit_usage};
  }
  o.scenario = app.get_subcommands().front()->get_name();
  o.command_line = shown_command_line(argc, argv);
  std::string mistake = find_contradiction(o);
  if (mistake.empty()) {
    fill_defaults(o);
    mistake = find_misfit(o);
  }
  if (!mistake.empty()) {
    err << "parley-bench " << o.scenario << ": " << mistake << "\nRun with --help for more.\n";
    return {std::nullopt, exit_usage};
  }
  return {std::move(o), exit_ok};
}

}  // namespace parley::bench
