#include "bench/options.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <initializer_list>
#include <sstream>
#include <string>
#include <vector>

using namespace parley::bench;

namespace {

struct outcome {
  parsed_options parsed;
  std::string out;
  std::string err;
};

outcome parse(std::initializer_list<const char*> arguments) {
  unsetenv("PARLEY_MASTER_API_KEY");
  std::vector<const char*> argv{"parley-bench"};
  argv.insert(argv.end(), arguments);
  std::ostringstream out;
  std::ostringstream err;
  auto parsed = parse_command_line(static_cast<int>(argv.size()), argv.data(), out, err);
  return {std::move(parsed), out.str(), err.str()};
}

constexpr const char* url = "--url=http://127.0.0.1:8080";
constexpr const char* key = "--api-key=sk_secret";

}  // namespace

TEST_SUITE("bench: command line") {
  TEST_CASE("send has defaults for a closed loop and for a pace") {
    const auto closed = parse({"send", url, key});
    REQUIRE(closed.parsed.options);
    const bench_options& o = *closed.parsed.options;
    CHECK(o.scenario == "send");
    CHECK(o.connections == 1000);
    CHECK(o.rooms == 500);
    CHECK(o.members == std::vector{2U});
    CHECK(o.senders == 1000);
    CHECK(o.in_flight == 1);
    CHECK(o.rate == 0);
    const auto paced = parse({"send", url, key, "--rate", "1000", "-c", "7", "--members", "3"});
    REQUIRE(paced.parsed.options);
    CHECK(paced.parsed.options->in_flight == 16);
    CHECK(paced.parsed.options->rooms == 3);
  }

  TEST_CASE("fanout takes a list of rooms") {
    const auto result = parse({"fanout", "--spawn", "--members", "10,100,1000", "--senders=2"});
    REQUIRE(result.parsed.options);
    CHECK(result.parsed.options->members == std::vector{10U, 100U, 1000U});
    CHECK(result.parsed.options->senders == 2);
    CHECK(result.parsed.options->in_flight == 8);
  }

  TEST_CASE("idle has its defaults") {
    const auto result = parse({"idle", "--spawn", "--duration", "30s", "--rest", "500ms"});
    REQUIRE(result.parsed.options);
    CHECK(result.parsed.options->members == std::vector{20U});
    CHECK(result.parsed.options->rooms_each == 5);
    CHECK(result.parsed.options->idle_s == 30);
    CHECK(result.parsed.options->rest_s == 0.5);
  }

  TEST_CASE("webhook has its defaults, and what it needs") {
    const auto alive = parse({"webhook", "--spawn"});
    REQUIRE(alive.parsed.options);
    CHECK(alive.parsed.options->connections == 200);
    CHECK(alive.parsed.options->rooms == 100);
    CHECK(alive.parsed.options->in_flight == 8);
    CHECK(alive.parsed.options->rate == 500);
    CHECK_FALSE(alive.parsed.options->is_dead);
    CHECK(parse({"webhook", url, key}).err.find("a tenant of its own") != std::string::npos);
    CHECK(parse({"webhook", url, "--master-key=k", "--dead"}).err.find("--dead needs --spawn") !=
          std::string::npos);
    const auto dead = parse({"webhook", "--spawn", "--dead", "--queue=7"});
    REQUIRE(dead.parsed.options);
    CHECK(dead.parsed.options->is_dead);
    CHECK(dead.parsed.options->queue == 7);
  }

  TEST_CASE("the command line is shown without keys") {
    const auto result =
        parse({"send", url, "--api-key", "sk_secret", "--master-key=alsosecret", "--rate=5"});
    REQUIRE(result.parsed.options);
    const std::string& shown = result.parsed.options->command_line;
    CHECK(shown.find("secret") == std::string::npos);
    CHECK(shown.find("--api-key ***") != std::string::npos);
    CHECK(shown.find("--rate=5") != std::string::npos);
  }

  TEST_CASE("mistakes are usage errors that say what is wrong") {
    struct row {
      std::vector<const char*> arguments;
      const char* told;
    };
    const row rows[] = {
        {{}, "subcommand"},
        {{"fly"}, ""},
        {{"send"}, "--url or --spawn"},
        {{"send", "--spawn", url, key}, "--url or --spawn"},
        {{"send", url}, "--api-key"},
        {{"send", "--url=http://10.0.0.1:80", key}, "--allow-remote"},
        {{"send", url, key, "--shipped-limits"}, "--spawn"},
        {{"send", url, key, "--tenant-config", "[]"}, "--tenant-config"},
        {{"send", "--spawn", "--durability", "maybe"}, "--durability"},
        {{"send", "--spawn", "--set", "io_threads"}, "KEY=VALUE"},
        {{"send", "--spawn", "--duration", "soon"}, "duration"},
        {{"send", "--spawn", "--duration", "0"}, "--duration"},
        {{"send", "--spawn", "--rate", "-1"}, "--rate"},
        {{"send", "--spawn", "--members", "0"}, "--members"},
        {{"send", "--spawn", "-c", "4", "--members", "5"}, "--members"},
        {{"send", "--spawn", "-c", "10", "--rooms", "4"}, "--rooms"},
        {{"send", "--spawn", "-c", "10", "--senders", "11"}, "--senders"},
        {{"send", "--spawn", "--size", "0"}, "--size"},
        {{"fanout", "--spawn", "--members", "10,x"}, "--members"},
        {{"idle", "--spawn", "--threads", "0"}, "--threads"},
    };
    for (const auto& row : rows) {
      std::vector<const char*> argv{"parley-bench"};
      argv.insert(argv.end(), row.arguments.begin(), row.arguments.end());
      std::ostringstream out;
      std::ostringstream err;
      const auto parsed = parse_command_line(static_cast<int>(argv.size()), argv.data(), out, err);
      CAPTURE(row.told);
      CAPTURE(err.str());
      CHECK_FALSE(parsed.options);
      CHECK(parsed.exit_code == exit_usage);
      CHECK(err.str().find(row.told) != std::string::npos);
    }
  }

  TEST_CASE("help is no mistake and shows examples") {
    for (const auto& result : {parse({"--help"}), parse({"send", "--help"}),
                               parse({"fanout", "--help"}), parse({"idle", "--help"})}) {
      CHECK_FALSE(result.parsed.options);
      CHECK(result.parsed.exit_code == exit_ok);
      CHECK(result.out.find("Examples:") != std::string::npos);
    }
  }

  TEST_CASE("durations have units") {
    CHECK(read_duration("10") == 10);
    CHECK(read_duration("1.5s") == 1.5);
    CHECK(read_duration("250ms") == 0.25);
    CHECK(read_duration("2m") == 120);
    CHECK(read_duration("1h") == 3600);
    for (const char* const text : {"", "s", "-1", "1d", "1 s", "nan", "inf", "1e999"}) {
      CAPTURE(text);
      CHECK_FALSE(read_duration(text));
    }
  }

  TEST_CASE("herds have their defaults: who is there, how they resume, how they come back") {
    const auto connect = parse({"connect", url, key});
    REQUIRE(connect.parsed.options);
    CHECK(connect.parsed.options->connections == 2000);
    CHECK(connect.parsed.options->rooms == 200);
    CHECK(connect.parsed.options->senders == 20);
    CHECK(connect.parsed.options->rate == 200);
    CHECK(connect.parsed.options->content_bytes == 100);
    CHECK_FALSE(connect.parsed.options->has_manual_sync);
    CHECK(connect.parsed.options->spread_s == 0);
    const auto storm = parse({"storm", url, key, "--jitter", "5s", "--herds=2"});
    REQUIRE(storm.parsed.options);
    CHECK(storm.parsed.options->connections == 0);  // as many as the descriptors allow
    CHECK(storm.parsed.options->has_manual_sync);
    CHECK(storm.parsed.options->by == "kill");
    CHECK(storm.parsed.options->spread_s == 5);
    CHECK(storm.parsed.options->herds == 2);
    const auto automatic = parse({"storm", url, key, "--sync=auto", "-c", "18000"});
    REQUIRE(automatic.parsed.options);
    CHECK_FALSE(automatic.parsed.options->has_manual_sync);
    CHECK(automatic.parsed.options->rooms == 2000);
    const auto drain = parse({"drain", "--spawn"});
    REQUIRE(drain.parsed.options);
    CHECK(drain.parsed.options->by == "drain");
    CHECK(drain.parsed.options->obeys);
    CHECK(drain.parsed.options->connections == 10'000);
  }

  TEST_CASE("slow and presence have their defaults") {
    const auto slow = parse({"slow", url, key});
    REQUIRE(slow.parsed.options);
    CHECK(slow.parsed.options->connections == 200);
    CHECK(slow.parsed.options->stopped == 20);
    CHECK(slow.parsed.options->stop_s == 60);
    CHECK(slow.parsed.options->rooms == 10);
    CHECK(slow.parsed.options->senders == 10);  // no more than there are rooms
    CHECK(slow.parsed.options->content_bytes == 2000);
    const auto presence = parse({"presence", url, key});
    REQUIRE(presence.parsed.options);
    CHECK(presence.parsed.options->members == std::vector{200U});
    CHECK(presence.parsed.options->togglers == 10);
    CHECK(presence.parsed.options->grace_s == 5);
  }

  TEST_CASE("what herds cannot do is said") {
    const std::vector<std::vector<const char*>> wrong{
        {"drain", url, key},
        {"storm", url, key, "--by", "drain"},
        {"storm", url, key, "--obey"},
        {"storm", url, key, "--by", "other"},
        {"connect", url, key, "--rooms", "2"},
        {"connect", url, key, "-c", "100000", "--rooms", "100"},
        {"slow", url, key, "-c", "10", "--stopped", "10"},
        {"slow", url, key, "--stop-for", "2h"},
        {"presence", url, key, "--members", "10", "--togglers", "10"},
        {"presence", url, key, "--members", "1000"},
    };
    for (const auto& arguments : wrong) {
      CAPTURE(arguments[0]);
      CAPTURE(arguments.back());
      std::vector<const char*> argv{"parley-bench"};
      argv.insert(argv.end(), arguments.begin(), arguments.end());
      std::ostringstream out;
      std::ostringstream err;
      const auto parsed = parse_command_line(static_cast<int>(argv.size()), argv.data(), out, err);
      CHECK_FALSE(parsed.options);
      CHECK(parsed.exit_code == exit_usage);
      CHECK_FALSE(err.str().empty());
    }
  }
}
