#include "bench/node_process.hpp"

#include "bench/rest_client.hpp"
#include "tests/bench/scratch_directory.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

using namespace parley::bench;
namespace fs = std::filesystem;

namespace {

constexpr const char* listens =
    R"(echo 'starting' >&2
echo '{"level":"info","msg":"listening","address":"127.0.0.1:4321"}' >&2
)";

struct stage {
  scratch_directory scratch;
  node_options options;

  /// A shell script in the place of the node's binary.
  explicit stage(const std::string& script) {
    options.binary = scratch.path() / "parley";
    std::ofstream{options.binary} << "#!/bin/bash\n" << script;
    fs::permissions(options.binary, fs::perms::owner_all);
    options.data_parent = scratch.path();
    options.start_deadline_s = 5;
    options.stop_deadline_s = 5;
  }
  [[nodiscard]] bool has_left_anything() const {
    for (const auto& entry : fs::directory_iterator{scratch.path()}) {
      if (entry.path().filename().string().starts_with("parley-bench-")) return true;
    }
    return false;
  }
};

const std::string runs_until_told = "trap 'exit 0' TERM\nwhile :; do sleep 0.02; done\n";

}  // namespace

TEST_SUITE("bench: a node of our own") {
  TEST_CASE("it is started, found listening, measured, and ended by SIGTERM") {
    stage s{listens + runs_until_told};
    {
      node_process node{s.options};
      CHECK(node.url() == "http://127.0.0.1:4321");
      CHECK(node.master_key().size() == 48);
      CHECK(node.is_running());
      const auto usage = usage_of(node.pid());
      REQUIRE(usage);
      CHECK(usage->rss_bytes > 100'000);
      CHECK(usage->rss_peak_bytes >= usage->rss_bytes);
      CHECK(usage->threads == 1);
      struct stat about {};
      REQUIRE(stat((node.directory() / "parley.toml").c_str(), &about) == 0);
      CHECK((about.st_mode & 0777) == 0600);  // the master key is in it
      CHECK(node.stop().empty());
      CHECK_FALSE(node.is_running());
    }
    CHECK_FALSE(s.has_left_anything());
  }

  TEST_CASE("settings in our environment, or a .env beside us, do not become its own") {
    setenv("PARLEY_MASTER_API_KEY", "ours", 1);
    setenv("LOG_LEVEL", "debug", 1);
    setenv("PARLEY_BREAK", "something", 1);
    stage s{"env >&2\npwd >&2\n" + std::string{listens} + runs_until_told};
    node_process node{s.options};
    const std::string log = node.log_tail();
    unsetenv("PARLEY_MASTER_API_KEY");
    unsetenv("LOG_LEVEL");
    unsetenv("PARLEY_BREAK");
    CHECK(log.find("ours") == std::string::npos);
    CHECK(log.find("LOG_LEVEL") == std::string::npos);
    CHECK(log.find("PARLEY_BREAK=something") != std::string::npos);
    CHECK(log.find(node.directory().string() + "\n") != std::string::npos);
  }

  TEST_CASE("it is started again on the same port and data, and its new words are waited for") {
    stage s{"grep listen_addr parley.toml >&2\necho run >>data/runs\n" + std::string{listens} +
            runs_until_told};
    node_process node{s.options};
    const pid_t before = node.pid();
    const auto again = node.restart();
    CHECK(again.failure.empty());
    CHECK(again.exit_s > 0);
    CHECK(again.listen_s > 0);
    CHECK(node.pid() != before);
    CHECK(node.is_running());
    CHECK(node.url() == "http://127.0.0.1:4321");
    CHECK(node.log_tail().find("listen_addr = \"127.0.0.1:4321\"") != std::string::npos);
    std::ifstream runs{node.directory() / "data" / "runs"};
    std::string line;
    int count = 0;
    while (std::getline(runs, line)) ++count;
    CHECK(count == 2);
    CHECK(node.stop().empty());
  }

  TEST_CASE("it can be killed and started again") {
    stage s{listens + runs_until_told};
    node_process node{s.options};
    const pid_t before = node.pid();
    CHECK(node.kill_and_restart() > 0);
    CHECK(node.pid() != before);
    CHECK(node.is_running());
    CHECK(node.stop().empty());
  }

  TEST_CASE("a bad end before a new start is told") {
    stage s{listens + std::string{"trap 'exit 5' TERM\nwhile :; do sleep 0.02; done\n"}};
    node_process node{s.options};
    CHECK(node.restart().failure.find("status 5") != std::string::npos);
    CHECK(node.is_running());
  }

  TEST_CASE("its directory can be kept") {
    stage s{listens + runs_until_told};
    s.options.keeps_data = true;
    { node_process node{s.options}; }
    CHECK(s.has_left_anything());
  }

  TEST_CASE("an end with another status is told, with its log") {
    stage s{listens +
            std::string{"trap 'echo sorry >&2; exit 74' TERM\nwhile :; do sleep 0.02; done\n"}};
    node_process node{s.options};
    const std::string ending = node.stop();
    CHECK(ending.find("status 74") != std::string::npos);
    CHECK(ending.find("sorry") != std::string::npos);
  }

  TEST_CASE("an end by itself is noticed") {
    stage s{listens + std::string{"exit 0\n"}};
    node_process node{s.options};
    for (int i = 0; i < 500 && node.is_running(); ++i) usleep(10'000);
    CHECK_FALSE(node.is_running());
    CHECK(node.stop().find("ended by itself") != std::string::npos);
  }

  TEST_CASE("one that does not end is killed") {
    stage s{listens + std::string{"trap '' TERM\nwhile :; do sleep 0.02; done\n"}};
    s.options.stop_deadline_s = 0.2;
    node_process node{s.options};
    CHECK(node.stop().find("was killed") != std::string::npos);
    CHECK_FALSE(usage_of(node.pid()));
  }

  TEST_CASE("one that does not start is an error, and leaves nothing behind") {
    stage ends{"echo 'bad configuration' >&2\nexit 2\n"};
    CHECK_THROWS_WITH_AS(node_process{ends.options}, doctest::Contains("bad configuration"),
                         setup_error);
    CHECK_FALSE(ends.has_left_anything());
    stage silent{runs_until_told};
    silent.options.start_deadline_s = 0.2;
    CHECK_THROWS_WITH_AS(node_process{silent.options}, doctest::Contains("did not say"), setup_error);
    CHECK_FALSE(silent.has_left_anything());
    stage missing{""};
    missing.options.binary = missing.scratch.path() / "nowhere";
    CHECK_THROWS_AS(node_process{missing.options}, setup_error);
  }

  TEST_CASE("its configuration lifts the limits, or leaves them") {
    node_options options;
    options.durability = "normal";
    options.settings = {"io_threads=2", "log_level=\"info\""};
    std::string text = node_config(options, "/tmp/a\"b", "key");
    for (const char* const line :
         {"listen_addr = \"127.0.0.1:0\"\n", "data_dir = \"/tmp/a\\\"b\"\n",
          "master_api_key = \"key\"\n", "durability = \"normal\"\n", "user_send_rate = 0\n",
          "default_rate_limit = 0\n", "ws_connect_rate = 0\n", "io_threads = 2\n"}) {
      CAPTURE(line);
      CHECK(text.find(line) != std::string::npos);
    }
    CHECK(text.find("log_level = \"info\"\n") !=
          std::string::npos);  // replaces ours: TOML has no doubles
    CHECK(text.find("warn") == std::string::npos);
    options.has_shipped_limits = true;
    text = node_config(options, "/tmp", "key");
    CHECK(text.find("rate") == std::string::npos);
    options.settings = {"nonsense"};
    CHECK_THROWS_AS(node_config(options, "/tmp", "key"), setup_error);
  }

  TEST_CASE("usage of a process that is not there is nothing") {
    CHECK_FALSE(usage_of(0x3fffffff));
    CHECK(usage_of(getpid()));
  }
}
