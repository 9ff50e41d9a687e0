// The command line as people and supervisors see it: what it prints and the status it ends with.

#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <string>
#include <vector>

using namespace parley::tests;
using nlohmann::json;

namespace {

/// Runs the program in a directory of its own, so that no `.env` or data of another is there.
finished cli(std::vector<std::string> arguments, std::map<std::string, std::string> env = {}) {
  const temp_dir dir;
  process_options options;
  options.command = {parley_binary()};
  options.command.insert(options.command.end(), arguments.begin(), arguments.end());
  options.env = std::move(env);
  options.working_directory = dir.path();
  return run(options);
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_SUITE("SPEC 7 the command line") {
  TEST_CASE("help is a success, on standard output, with examples") {
    for (const std::vector<std::string>& arguments :
         std::vector<std::vector<std::string>>{{"--help"},
                                               {"serve", "--help"},
                                               {"tenant", "--help"},
                                               {"tenant", "create", "--help"},
                                               {"tenant", "list", "--help"},
                                               {"webhook", "--help"},
                                               {"webhook", "list", "--help"},
                                               {"webhook", "test", "--help"},
                                               {"webhook", "replay", "--help"},
                                               {"webhook", "dead-letters", "--help"},
                                               {"verify", "--help"},
                                               {"config", "--help"},
                                               {"config", "check", "--help"},
                                               {"config", "print", "--help"}}) {
      const auto r = cli(arguments);
      CAPTURE(r.out);
      CHECK(r.status == 0);
      CHECK(has(r.out, arguments.size() == 1 ? "Try it:" : "Examples:"));
      CHECK(r.err.empty());
    }
    CHECK(cli({"version", "--help"}).status == 0);
  }

  TEST_CASE("the version is told") {
    const auto r = cli({"version"});
    CHECK(r.status == 0);
    CHECK(r.out.starts_with("parley "));
    CHECK(json::parse(cli({"version", "--json"}).out)["version"].is_string());
  }

  TEST_CASE("a mistake in the command line is status 2") {
    for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
             {},
             {"nonsense"},
             {"serve", "--nonsense"},
             {"serve", "stray"},
             {"tenant"},
             {"tenant", "create"},
             {"webhook"},
             {"webhook", "test"},
             {"webhook", "replay"},
             {"webhook", "replay", "t"},
             {"webhook", "replay", "t", "--until", "x"},
             {"webhook", "replay", "t", "--since", "x", "--dead-letters"},
             {"serve", "--set"}}) {
      const auto r = cli(arguments);
      CHECK(r.status == 2);
      CHECK_FALSE(r.err.empty());
      CHECK(r.out.empty());
    }
  }

  TEST_CASE("a wrong configuration is status 2 and names everything that is wrong") {
    const auto r = cli({"serve", "--set", "max_contnt=1", "--set", "max_meta=x"},
                       {{"PARLEY_MASTER_API_KEY", "0123456789abcdef"}});
    CHECK(r.status == 2);
    CHECK(has(r.err, "max_contnt=\"1\" (--set): there is no such key; did you mean max_content?"));
    CHECK(has(r.err, "max_meta: \"x\" (--set) is not allowed"));
    CHECK_FALSE(has(r.err, "0123456789abcdef"));
  }

  TEST_CASE("without a master key a node does not start") {
    const auto r = cli({"serve", "--listen", "127.0.0.1:0"});
    CHECK(r.status == 2);
    CHECK(has(r.err, "master_api_key is not set"));
  }

  TEST_CASE("a node that may need more memory than there is does not start") {
    const auto r = cli({"serve", "--listen", "127.0.0.1:0", "--set", "http_body_total=100000GiB"},
                       {{"PARLEY_MASTER_API_KEY", "0123456789abcdef"}});
    CHECK(r.status == 2);
    const auto big = cli({"serve", "--listen", "127.0.0.1:0", "--set", "http_body_total=1024GiB"},
                         {{"PARLEY_MASTER_API_KEY", "0123456789abcdef"}});
    CHECK(big.status == 2);
    CHECK(has(big.err, "config print --limits"));
  }

  TEST_CASE("config check says what a start would say") {
    CHECK(cli({"config", "check"}).status == 0);
    CHECK(cli({"config", "check", "--set", "x=1"}).status == 2);
    CHECK(has(cli({"config", "check"}).err, "master_api_key is not set"));
  }

  TEST_CASE("config print shows what is in force and hides secrets; its defaults load again") {
    const auto r = cli({"config", "print", "--set", "max_content=32KiB"},
                       {{"MASTER_API_KEY", "hunter2-hunter2-hunter2"}});
    CHECK(r.status == 0);
    CHECK(has(r.out, "max_content = \"32KiB\""));
    CHECK(has(r.out, "# master_api_key is set (not shown)"));
    CHECK_FALSE(has(r.out + r.err, "hunter2"));
    CHECK(has(cli({"config", "print", "--limits"}).out, "together"));
    const temp_dir dir;
    const auto file = dir.write("parley.toml", cli({"config", "print", "--defaults"}).out);
    CHECK(cli({"config", "check", "--config", file.string()}).status == 0);
  }

  TEST_CASE("verify: a database that is not there, or is none, is status 74") {
    const temp_dir dir;
    CHECK(cli({"verify", "--database", (dir / "none.db").string()}).status == 74);
    const auto file = dir.write(
        "text.db",
        "this is no database, not even nearly, although it is long enough for a header\n");
    const auto r = cli({"verify", "--database", file.string()});
    CHECK(r.status == 74);
    CHECK_FALSE(r.err.empty());
  }

  TEST_CASE(
      "tenants are made and listed in a database without a running node, and it verifies clean") {
    const temp_dir dir;
    const auto database = (dir / "parley.db").string();
    const auto made = cli({"tenant", "create", "acme", "--database", database});
    CAPTURE(made.err);
    REQUIRE(made.status == 0);
    const auto tenant = json::parse(made.out);
    CHECK(tenant["name"] == "acme");
    CHECK(tenant["api_key"].get<std::string>().starts_with("sk_"));
    CHECK(std::filesystem::exists(dir / "secret_key"));

    REQUIRE(cli({"tenant", "create", "other", "--database", database}).status == 0);
    const auto listed = cli({"tenant", "list", "--database", database});
    REQUIRE(listed.status == 0);
    const auto tenants = json::parse(listed.out)["tenants"];
    REQUIRE(tenants.size() == 2);
    CHECK_FALSE(has(listed.out, tenant["api_key"].get<std::string>()));
    CHECK(tenants[0]["keys"].size() == 3);

    const auto verified = cli({"verify", "--database", database, "--json"});
    CHECK(verified.status == 0);
    CHECK(json::parse(verified.out)["clean"] == true);
    CHECK(json::parse(verified.out)["tenants"] == 2);
    CHECK(has(cli({"verify", "--database", database}).out, "clean"));
  }

  TEST_CASE("webhooks are a running node's: without one the commands say so") {
    const std::map<std::string, std::string> key{{"PARLEY_MASTER_API_KEY", "0123456789abcdef"}};
    for (const std::vector<std::string>& arguments :
         std::vector<std::vector<std::string>>{{"webhook", "list"},
                                               {"webhook", "test", "tenant_0"},
                                               {"webhook", "replay", "tenant_0", "--dead-letters"},
                                               {"webhook", "dead-letters", "tenant_0"}}) {
      auto asked = arguments;
      asked.insert(asked.end(), {"--url", "http://127.0.0.1:1"});
      const auto nobody = cli(asked, key);
      CAPTURE(nobody.err);
      CHECK(nobody.status == 1);
      CHECK(nobody.out.empty());
      CHECK(has(nobody.err, "no answer from http://127.0.0.1:1"));
      CHECK(has(nobody.err, "told by the running node"));
      CHECK(cli(asked).status == 2);  // no master key
    }
  }

  TEST_CASE("asking a node needs its master key, and somebody who answers") {
    const auto no_key = cli({"tenant", "list", "--url", "http://127.0.0.1:1"});
    CHECK(no_key.status == 2);
    CHECK(has(no_key.err, "PARLEY_MASTER_API_KEY"));
    const std::map<std::string, std::string> key{{"PARLEY_MASTER_API_KEY", "0123456789abcdef"}};
    const auto nobody = cli({"tenant", "list", "--url", "http://127.0.0.1:1"}, key);
    CHECK(nobody.status == 1);
    CHECK(has(nobody.err, "no answer from http://127.0.0.1:1"));
    auto with_url = key;
    with_url["PARLEY_URL"] = "http://127.0.0.1:2";
    CHECK(has(cli({"tenant", "list"}, with_url).err, "no answer from http://127.0.0.1:2"));
    CHECK(cli({"tenant", "list", "--url", "https://127.0.0.1:1"}, key).status == 2);
    CHECK(cli({"tenant", "create", ""}, key).status == 2);
    CHECK(cli({"tenant", "create", "a", "--tenant-config", "[]"}, key).status == 2);
  }
}
