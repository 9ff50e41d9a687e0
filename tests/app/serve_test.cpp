// `parley serve` as a process: its start, its signals, its end.

#include "tests/support/running_node.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <csignal>
#include <string>
#include <vector>

using namespace parley::tests;
using namespace std::chrono_literals;

namespace {

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

/// `parley serve --dev` in a directory of its own.
process dev_node(const temp_dir& dir) {
  process_options options;
  options.command = {parley_binary(), "serve",        "--dev", "--listen",
                     "127.0.0.1:0",   "--log-format", "json"};
  options.working_directory = dir.path();
  return process{options};
}

std::string await_page(process& node) {
  REQUIRE(await(30s, [&] { return has(node.stdout_text(), "Ctrl-C") || !node.is_running(); }));
  return node.stdout_text();
}

}  // namespace

TEST_SUITE("SPEC 7 the node as a process") {
  TEST_CASE("it says that it listens, at every log level, in JSON lines without secrets") {
    running_node node{{.config = {{"log_level", "error"}}}};
    const auto line = node.await_log("listening");
    CHECK(line["level"] == "notice");
    CHECK(line["address"] == node.address());
    CHECK(line["pid"] == node.pid());
    CHECK(node.rest().get("/readyz").status == 200);
    for (const auto& text : node.stderr_lines()) {
      CAPTURE(text);
      CHECK(nlohmann::json::accept(text));
      CHECK_FALSE(has(text, node.master_key()));
    }
    struct stat info {};
    REQUIRE(::stat((node.data_dir() / "secret_key").c_str(), &info) == 0);
    CHECK((info.st_mode & 0777U) == 0600U);
  }

  TEST_CASE("SIGTERM and SIGINT end it with status 0; the same data serves again") {
    running_node node;
    CHECK(node.terminate() == 0);
    node.start();
    CHECK(node.rest().get("/readyz").status == 200);
    node.signal(SIGINT);
    CHECK(node.await_exit() == 0);
  }

  TEST_CASE("kill -9 is no reason not to start again") {
    running_node node;
    node.kill9();
    CHECK_FALSE(node.is_running());
    node.restart();
    CHECK(node.rest().get("/readyz").status == 200);
  }

  TEST_CASE("while it drains, /readyz says 503 and all else is served for drain_delay") {
    running_node node{{.config = {{"drain_delay", "1s"}}}};
    const auto tenant = node.create_tenant();
    auto before = node.backend(tenant);
    REQUIRE(before.get("/v1/rooms").status == 200);
    node.signal(SIGTERM);
    node.await_log("draining");
    CHECK(node.rest().get("/readyz").status == 503);
    CHECK(node.backend(tenant).get("/v1/rooms").status == 200);  // also a newcomer
    CHECK(node.await_exit() == 0);
  }

  TEST_CASE("a second signal ends it at once with status 1") {
    running_node node{{.config = {{"drain_delay", "9s"}}}};
    node.signal(SIGTERM);
    node.await_log("draining");
    node.signal(SIGTERM);
    CHECK(node.await_exit(5s) == 1);
  }

  TEST_CASE("SIGHUP reads the log level again; a wrong configuration changes nothing") {
    const temp_dir dir;
    const auto file = dir.write("parley.toml", "log_level = \"info\"\n");
    running_node node{{.arguments = {"--config", file.string()}}};
    dir.write("parley.toml", "log_level = \"warn\"\n");
    node.signal(SIGHUP);
    CHECK(node.await_log("reloaded")["log_level"] == "warn");
    dir.write("parley.toml", "log_level = \"loud\"\n");
    node.signal(SIGHUP);
    CHECK(has(node.await_log("reload refused, all stays as it was")["why"].get<std::string>(),
              "log_level: \"loud\""));
    CHECK(node.is_running());
  }

  TEST_CASE("SIGPIPE is ignored") {
    running_node node;
    node.signal(SIGPIPE);
    CHECK(node.rest().get("/readyz").status == 200);
  }

  TEST_CASE("an address that is taken is status 1, and says so") {
    running_node node;
    const temp_dir dir;
    process_options options;
    options.command = {parley_binary(), "serve",      "--listen",
                       node.address(),  "--data-dir", (dir / "d").string()};
    options.env = {{"PARLEY_MASTER_API_KEY", "0123456789abcdef"}};
    const auto other = run(options);
    CHECK(other.status == 1);
    CHECK(has(other.err, "can't start"));
  }

  TEST_CASE("a database that another process has is status 1, and says who has it") {
    running_node node;
    process_options options;
    options.command = {parley_binary(), "serve",      "--listen",
                       "127.0.0.1:0",   "--data-dir", node.data_dir().string()};
    options.env = {{"PARLEY_MASTER_API_KEY", "0123456789abcdef"}};
    const auto other = run(options);
    CHECK(other.status == 1);
    CHECK(has(other.err, std::to_string(node.pid())));
    CHECK(node.rest().get("/readyz").status == 200);
  }

  TEST_CASE("a data directory that can't be made is status 74") {
    const temp_dir dir;
    dir.write("file", "");
    process_options options;
    options.command = {parley_binary(), "serve",      "--listen",
                       "127.0.0.1:0",   "--data-dir", (dir / "file/data").string()};
    options.env = {{"PARLEY_MASTER_API_KEY", "0123456789abcdef"}};
    CHECK(run(options).status == 74);
  }

  TEST_CASE("the tenant commands ask a running node") {
    running_node node;
    process_options options;
    options.env = {{"PARLEY_MASTER_API_KEY", node.master_key()},
                   {"PARLEY_URL", "http://" + node.address()}};
    options.command = {parley_binary(), "tenant", "create", "acme"};
    const auto made = run(options);
    CAPTURE(made.err);
    REQUIRE(made.status == 0);
    const auto tenant = nlohmann::json::parse(made.out);
    CHECK(node.rest().with("X-API-Key", tenant["api_key"]).get("/v1/rooms").status == 200);
    options.command = {parley_binary(), "tenant", "list"};
    const auto listed = run(options);
    REQUIRE(listed.status == 0);
    CHECK(has(listed.out, tenant["tenant_id"].get<std::string>()));
    options.env["PARLEY_MASTER_API_KEY"] = "wrong-key-wrong-key";
    CHECK(run(options).status == 1);
  }
}

TEST_SUITE("SPEC 7 --dev") {
  TEST_CASE("it prints how to connect, and what it prints works; a restart makes nothing twice") {
    const temp_dir dir;
    auto node = dev_node(dir);
    const auto page = await_page(node);
    CAPTURE(page);
    CAPTURE(joined(node.stderr_lines()));
    const auto state = nlohmann::json::parse(read_file(dir / "parley-dev-data/dev.json"));
    const auto key = state["api_key"].get<std::string>();
    const auto group = state["group_room"].get<std::string>();
    CHECK(has(page, key));
    CHECK(has(page, group));
    CHECK_FALSE(has(joined(node.stderr_lines()), key));
    CHECK_FALSE(has(joined(node.stderr_lines()), state["master_api_key"].get<std::string>()));
    node.signal(SIGTERM);
    CHECK(node.exit_status() == 0);

    auto again = dev_node(dir);
    const auto second_page = await_page(again);
    CHECK(nlohmann::json::parse(read_file(dir / "parley-dev-data/dev.json")) == state);
    const auto at = second_page.find("http://") + 7;
    rest_client client{second_page.substr(at, second_page.find(' ', at) - at), {{"X-API-Key", key}}};
    CHECK(client.get("/v1/rooms/" + group).status == 200);
    const auto rooms = client.get("/v1/rooms").json()["rooms"];
    CHECK((rooms.empty() || rooms.size() == 3));
  }
}
