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
  parley-bench connect --spawn -c 2000
  parley-bench storm --spawn -c 18000 --rooms 2000 --herds 2
  parley-bench storm --spawn --by drain --jitter 5s
  parley-bench drain --spawn -c 10000
  parley-bench slow --spawn -c 200 --stopped 20 --stop-for 60s
  parley-bench presence --spawn -c 1000
  parley-bench webhook --spawn
  parley-bench webhook --spawn --dead --queue 100000
  parley-bench send --spawn --shipped-limits --connections 200
      with the limits that a node has by default: 10 messages a second and user

Exit codes: 0 all promises kept, 1 a promise broken or the node not usable, 2 usage, 130 interrupted.
)";

CLI::Option* add_duration(CLI::App& app, const std::string& names, double& to,
                          const std::string& what) {
  return app
      .add_option_function<std::string>(
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
  app.add_option("--size", o.content_bytes, "Bytes of content a message [100]")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 20));
  add_duration(app, "--duration", o.duration_s, "Length of the measurement [10s]");
  add_duration(app, "--warmup", o.warmup_s, "Load before it, not measured [2s]");
  add_duration(app, "--settle", o.settle_s,
               "How long afterwards everything accepted may take to arrive [10s]");
  app.add_option(
         "--rate", o.rate,
         "Open loop: messages a second of all senders together, each due at its time, latency from "
         "then. Without: closed loop, as fast as answers come")
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
         "--sync",
         [&o](const std::string& mode) {
           o.has_manual_sync = mode == "manual";
           o.is_sync_given = true;
         },
         "How connections ask for their rooms: auto, or manual, from positions that the client "
         "keeps "
         "[auto; storm, drain, slow: manual]")
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

/// A load in the background, always open loop, and an audience in rooms.
void add_background(CLI::App& app, bench_options& o, const std::string& usual_rate,
                    const std::string& usual_size) {
  app.add_option("--size", o.content_bytes, "Bytes of content a message [" + usual_size + "]")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 20));
  app.add_option("--rate", o.rate,
                 "Open loop: messages a second, of all talkers, in all rooms [" + usual_rate + "]")
      ->check(CLI::PositiveNumber);
  app.add_option("--senders", o.senders,
                 "Talkers, connections that send, each in its share of the rooms [20]");
  add_duration(app, "--settle", o.settle_s,
               "How long in the end everything accepted may take to arrive [10s]");
  add_duration(app, "--return-within", o.return_deadline_s,
               "All must be back, with all their rooms, in this time [60s]");
}

void add_audience(CLI::App& app, bench_options& o, const std::string& usual_rooms,
                  const std::string& usual_each) {
  app.add_option("--rooms", o.rooms, "Rooms [" + usual_rooms + "]");
  app.add_option("--rooms-each", o.rooms_each, "Rooms of each listener [" + usual_each + "]")
      ->check(CLI::Range(1, 1000));
  add_duration(app, "--warmup", o.warmup_s, "Load before anything happens [2s]");
  add_duration(app, "--rest", o.rest_s, "Pause before memory is read again [3s]");
  add_duration(app, "--ack-every", o.ack_every_s,
               "With --sync auto, which resumes from there: how often each acknowledges [5s]");
  app.add_flag("--allow-gaps", o.allows_gaps, "Count stated gaps, do not fail for them");
}

void add_connect(CLI::App& app, bench_options& o) {
  CLI::App& connect = *app.add_subcommand(
      "connect", "Many connect at the same moment while messages flow in their rooms");
  add_common_options(connect, o);
  add_background(connect, o, "200", "100");
  add_audience(connect, o, "connections / 10", "5");
  connect.add_option(
      "-c,--connections", o.connections,
      "Connections, a user each; the talkers are there before and come on top [2000]");
  add_duration(connect, "--ramp", o.spread_s, "They connect over this time instead, at random");
}

void add_storm(CLI::App& app, bench_options& o) {
  CLI::App& storm = *app.add_subcommand(
      "storm", "All connections die at once, all come back and resume: the recovery curve");
  add_common_options(storm, o);
  add_background(storm, o, "200", "100");
  add_audience(storm, o, "connections / 9", "5");
  storm.add_option(
      "-c,--connections", o.connections,
      "Connections with the talkers, a user each [18000, or what the descriptors allow]");
  storm
      .add_option("--by", o.by,
                  "kill: the listeners reset theirs; drain: the node is ended with SIGTERM and "
                  "started again, which needs --spawn")
      ->check(CLI::IsMember({"kill", "drain"}))
      ->capture_default_str();
  CLI::Option* const jitter = add_duration(storm, "--jitter", o.spread_s,
                                           "Come back over this time, at random [all at once]");
  storm.add_flag("--obey", o.obeys, "With --by drain: come back when server.shutdown said")
      ->excludes(jitter);
  storm.add_option("--herds", o.herds, "How often; the memory after each is compared")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
}

void add_drain(CLI::App& app, bench_options& o) {
  CLI::App& drain = *app.add_subcommand(
      "drain", "SIGTERM under load and a new start: exit, silence of each client, completeness");
  add_common_options(drain, o);
  add_background(drain, o, "200", "100");
  add_audience(drain, o, "connections / 9", "5");
  drain.add_option("-c,--connections", o.connections,
                   "Connections with the talkers, a user each [10000]");
}

void add_slow(CLI::App& app, bench_options& o) {
  CLI::App& slow = *app.add_subcommand(
      "slow", "Some readers stop reading: what it costs the others, what becomes of them");
  add_common_options(slow, o);
  add_background(slow, o, "100", "2000");
  add_audience(slow, o, "10", "5");
  slow.add_option("-c,--connections", o.connections,
                  "Connections with the talkers, a user each [200]");
  slow.add_option("--stopped", o.stopped, "So many of them stop [a tenth]");
  add_duration(slow, "--stop-for", o.stop_s, "For so long [60s]");
  add_duration(slow, "--duration", o.duration_s,
               "With all reading, measured before each stop [10s]");
  slow.add_option("--rounds", o.rounds, "With and without stopped ones so often; medians are told")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  slow.add_option("--receive-buffer", o.receive_buffer_bytes,
                  "SO_RCVBUF of those that stop, in bytes; 0: the kernel's choice")
      ->check(CLI::Range(0, 1 << 26))
      ->capture_default_str();
}

void add_presence(CLI::App& app, bench_options& o) {
  CLI::App& presence =
      *app.add_subcommand("presence", "Who is shown presence and typing, and who must not be");
  add_common_options(presence, o);
  add_background(presence, o, "20", "100");
  presence.add_option("-c,--connections", o.connections,
                      "The herd that leaves and comes back, in rooms of 20 [1000]");
  presence
      .add_option("--members", o.members,
                  "The node's presence_max_members and typing_max_members: one room has so many, "
                  "one has one more [200]")
      ->expected(1);
  presence.add_option("--togglers", o.togglers, "Members of each of these that change [10]");
  add_duration(presence, "--grace", o.grace_s, "The node's presence_grace [5s]");
  presence.add_flag("--require-all", o.requires_all,
                    "Fail when less is shown than should be; else only when more is");
}

void add_webhook(CLI::App& app, bench_options& o) {
  CLI::App& webhook = *app.add_subcommand(
      "webhook",
      "Each message is told to an endpoint in this process: events a second, how late, what an "
      "enabled webhook costs those who send");
  add_common_options(webhook, o);
  webhook.add_option("--size", o.content_bytes, "Bytes of content a message [100]")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 20));
  add_duration(webhook, "--duration", o.duration_s, "Length of each measurement [10s]");
  add_duration(webhook, "--warmup", o.warmup_s, "Load before it, not measured [2s]");
  add_duration(webhook, "--settle", o.settle_s,
               "How long everything accepted may take to arrive; events: without a new one [10s]");
  webhook.add_option("-c,--connections", o.connections, "Connections, a user each [200]");
  webhook.add_option("-w,--in-flight", o.in_flight, "Open sends a connection [8]");
  webhook.add_option("--rooms", o.rooms, "Rooms [connections / members]");
  webhook.add_option("--members", o.members, "Members a room [2]")->expected(1);
  webhook.add_option("--senders", o.senders, "Connections that send [all]");
  webhook
      .add_option("--rounds", o.rounds,
                  "Closed loop, without and with the webhook, so often; medians are told")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  webhook
      .add_option("--rate", o.rate,
                  "Then open loop with so many messages a second: how late events are [500]")
      ->check(CLI::PositiveNumber);
  webhook.add_flag(
      "--dead", o.is_dead,
      "Instead: the endpoint refuses until --queue events wait, the node is killed and "
      "started again, the endpoint opens. Needs --spawn");
  add_duration(webhook, "--rest", o.rest_s, "With --dead: pause before memory is read [3s]");
  webhook.add_option("--queue", o.queue, "With --dead: events that wait")
      ->check(CLI::Range(1, 100'000'000))
      ->capture_default_str();
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
  if (!o.spawns && (o.by == "drain" || o.scenario == "drain")) {
    return "a drain needs --spawn: the node is ended and started again";
  }
  if (o.is_dead && !o.spawns) return "--dead needs --spawn: the node is killed and started again";
  if (o.scenario == "webhook" && !o.api_key.empty()) {
    return "webhook needs a tenant of its own: --master-key instead of --api-key";
  }
  if (o.obeys && o.by != "drain") return "--obey goes with --by drain";
  for (const double seconds : {o.return_deadline_s, o.stop_s, o.ack_every_s, o.grace_s}) {
    if (seconds <= 0 || seconds > 3600) {
      return "--return-within, --stop-for, --ack-every, --grace: above 0, at most an hour";
    }
  }
  for (const double seconds : {o.spread_s, o.rest_s, o.warmup_s, o.settle_s}) {
    if (seconds > 3600) return "--ramp, --jitter, --rest, --warmup, --settle: at most an hour";
  }
  for (const double seconds : {o.duration_s, o.idle_s}) {
    if (seconds <= 0 || seconds > 24 * 3600) return "--duration: above 0, at most a day";
  }
  return {};
}

bool is_herd(const bench_options& o) {
  return o.scenario == "connect" || o.scenario == "storm" || o.scenario == "drain";
}

void fill_defaults(bench_options& o) {
  const auto set = [](std::uint32_t& value, std::uint32_t usual) {
    if (value == 0) value = usual;
  };
  const bool is_paced = o.rate > 0;
  const auto background = [&](double rate, std::size_t content_bytes) {
    if (o.rate == 0) o.rate = rate;
    if (o.content_bytes == 0) o.content_bytes = content_bytes;
    set(o.senders, 20);
    set(o.in_flight, 16);
  };
  if (is_herd(o)) {
    if (o.scenario == "drain") {
      o.by = "drain";
      o.obeys = true;
    }
    background(200, 100);
    if (!o.is_sync_given) o.has_manual_sync = o.scenario != "connect";
    if (o.scenario != "storm") set(o.connections, o.scenario == "connect" ? 2000 : 10'000);
    if (o.connections != 0) fit_rooms(o);
  } else if (o.scenario == "slow") {
    background(100, 2000);
    if (!o.is_sync_given) o.has_manual_sync = true;
    set(o.connections, 200);
    set(o.rooms, 10);
    set(o.stopped, std::max(1U, o.connections / 10));
    fit_rooms(o);
  } else if (o.scenario == "presence") {
    background(20, 100);
    if (!o.is_sync_given) o.has_manual_sync = true;
    set(o.connections, 1000);
    set(o.togglers, 10);
    if (o.members.empty()) o.members = {200};
  } else if (o.scenario == "send" || o.scenario == "webhook") {
    const bool is_send = o.scenario == "send";
    if (!is_send && !is_paced) o.rate = 500;
    set(o.connections, is_send ? 1000 : 200);
    set(o.in_flight, is_send ? (is_paced ? 16 : 1) : 8);
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
  if (o.content_bytes == 0) o.content_bytes = 100;
}

/// Rooms whose log begins with the first message: all members must fit into the call that makes them.
std::string find_room_misfit(const bench_options& o) {
  constexpr std::uint64_t members_max = 950;
  constexpr std::uint32_t rooms_max = 1'000'000;
  if (o.rooms > rooms_max) return "--rooms: at most 1000000";
  if (o.rooms < o.rooms_each) return "--rooms: fewer than --rooms-each";
  if (o.senders > o.rooms) return "--senders: more than there are rooms";
  if (o.senders >= o.connections)
    return "--senders: fewer than connections, to leave some to listen";
  if (std::uint64_t{o.connections} * o.rooms_each / o.rooms > members_max) {
    return "--rooms: too few, a room would have more than 950 members";
  }
  return {};
}

std::string find_misfit(const bench_options& o) {
  constexpr std::uint32_t members_max = 100'000;
  constexpr std::uint32_t in_flight_max = 100'000;
  if (std::ranges::any_of(o.members, [](auto m) { return m == 0 || m > members_max; })) {
    return "--members: 1 to 100000";
  }
  if (o.in_flight > in_flight_max) return "--in-flight: at most 100000";
  if (o.scenario == "presence") {
    if (o.members[0] < 2 || o.members[0] > 900) return "--members: 2 to 900";
    if (o.togglers >= o.members[0]) {
      return "--togglers: fewer than --members, to leave some to watch";
    }
    if (o.senders > o.members[0] - o.togglers) return "--senders: at most members - togglers";
  }
  if (o.scenario == "slow" && o.stopped + o.senders >= o.connections) {
    return "--stopped: fewer than connections - senders, to leave some to read";
  }
  if ((is_herd(o) && o.connections != 0) || o.scenario == "slow") return find_room_misfit(o);
  if (o.scenario != "send" && o.scenario != "webhook") return {};
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

void fit_rooms(bench_options& o) {
  const std::uint32_t share = o.scenario == "connect" ? 10 : 9;
  if (o.rooms == 0) o.rooms = std::max({o.rooms_each, 1U, o.connections / share});
  o.senders = std::min(o.senders, o.rooms);
}

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
  add_connect(app, o);
  add_storm(app, o);
  add_drain(app, o);
  add_slow(app, o);
  add_presence(app, o);
  add_webhook(app, o);
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
