// parley tenant and parley token beside a running node: the admin API does what is asked, and credentials follow.

#include "tests/support/running_node.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

using namespace parley::tests;
using nlohmann::json;

namespace {

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

/// The program beside a node.
struct beside {
  explicit beside(const running_node& n) : node(n) {}

  finished operator()(std::vector<std::string> arguments,
                      std::map<std::string, std::string> env = {}) const {
    process_options options;
    options.command = {parley_binary()};
    options.command.insert(options.command.end(), arguments.begin(), arguments.end());
    options.env = std::move(env);
    options.env.emplace("PARLEY_URL", "http://" + node.address());
    options.env.emplace("PARLEY_MASTER_API_KEY", node.master_key());
    options.working_directory = dir.path();
    return run(options);
  }
  [[nodiscard]] json asked(std::vector<std::string> arguments) const {
    const auto r = (*this)(std::move(arguments));
    CAPTURE(r.err);
    REQUIRE(r.status == 0);
    return json::parse(r.out);
  }
  [[nodiscard]] std::string mint(const test_tenant& tenant, const std::string& user,
                                 const std::string& secret) const {
    const auto r = (*this)({"token", "mint", "--tenant", tenant.tenant_id, "--user", user},
                           {{"PARLEY_JWT_SECRET", secret}});
    CAPTURE(r.err);
    REQUIRE(r.status == 0);
    return r.out.substr(0, r.out.size() - 1);
  }
  int rooms_status(const std::string& token) const {
    return rest_client{node.address()}.get("/v1/rooms", {{"Authorization", "Bearer " + token}}).status;
  }

  const running_node& node;
  temp_dir dir;
};

std::string key_of(const json& tenant, std::string_view kind) {
  for (const auto& key : tenant["keys"])
    if (key["kind"] == kind) return key["key_id"].get<std::string>();
  return {};
}
json tenant_of(running_node& node, const test_tenant& t) {
  return node.operator_client().get("/v1/admin/tenants/" + t.tenant_id).json();
}

}  // namespace

TEST_SUITE("SPEC 7 the CLI beside a running node") {
  TEST_CASE("a minted token is the user's; a rotated secret signs; a deleted one does not") {
    running_node node;
    const auto tenant = node.create_tenant("acme");
    const beside cli{node};
    const auto token = cli.mint(tenant, "ann", tenant.jwt_secret);
    CHECK(cli.rooms_status(token) == 200);
    CHECK(cli.rooms_status(cli.mint(tenant, "ann", "jwts_not-the-secret")) == 401);
    const auto checked = cli({"token", "check", token}, {{"PARLEY_JWT_SECRET", tenant.jwt_secret}});
    CHECK(checked.status == 0);

    const auto made = cli.asked({"tenant", "rotate-key", tenant.tenant_id, "--kind", "jwt_secret"});
    const auto second = cli.mint(tenant, "ann", made["secret"].get<std::string>());
    CHECK(cli.rooms_status(token) == 200);
    CHECK(cli.rooms_status(second) == 200);
    const auto third = cli({"tenant", "rotate-key", tenant.tenant_id, "--kind", "jwt_secret"});
    CHECK(third.status == 1);
    CHECK(has(third.err, "delete-key"));

    const auto first_key = key_of(tenant_of(node, tenant), "jwt_secret");
    CHECK(first_key != made["key_id"]);
    const auto deleted = cli({"tenant", "delete-key", tenant.tenant_id, first_key});
    CAPTURE(deleted.err);
    CHECK(deleted.status == 0);
    CHECK(cli.rooms_status(token) == 401);
    CHECK(cli.rooms_status(second) == 200);
  }

  TEST_CASE("an API key is rotated under load of its own") {
    running_node node;
    const auto tenant = node.create_tenant("acme");
    const beside cli{node};
    const auto made = cli.asked({"tenant", "rotate-key", tenant.tenant_id});
    CHECK(made["kind"] == "api_key");
    auto second = tenant;
    second.api_key = made["secret"].get<std::string>();
    CHECK(node.backend(tenant).get("/v1/rooms").status == 200);
    CHECK(node.backend(second).get("/v1/rooms").status == 200);
    const auto first_key = key_of(tenant_of(node, tenant), "api_key");
    CHECK(cli({"tenant", "delete-key", tenant.tenant_id, first_key}).status == 0);
    CHECK(node.backend(tenant).get("/v1/rooms").status == 401);
    CHECK(node.backend(second).get("/v1/rooms").status == 200);
  }

  TEST_CASE("a webhook is listed, tried and replayed; one that takes nothing is status 1") {
    node_setup setup;
    setup.config["webhook_allow_private"] = "true";
    running_node node{setup};
    const beside cli{node};
    CHECK(cli.asked({"webhook", "list", "--json"})["webhooks"].empty());
    // A port that nobody can listen on.
    const auto tenant = node.create_tenant(
        "acme", {{"webhook_url", "http://127.0.0.1:1/hook"}, {"webhook_events", {"room.created"}}});
    const auto other = node.create_tenant("other");

    const auto listed = cli.asked({"webhook", "list", "--json"})["webhooks"];
    REQUIRE(listed.size() == 1);
    CHECK(listed[0]["tenant_id"] == tenant.tenant_id);
    CHECK(listed[0]["events"] == json{"message.offline", "room.created"});
    const auto table = cli({"webhook", "list"});
    CHECK(table.status == 0);
    CHECK(has(table.out, "TENANT"));
    CHECK(has(table.out, tenant.tenant_id + "  active"));
    CHECK(has(table.out, "http://127.0.0.1:1/hook"));

    const auto tested = cli({"webhook", "test", tenant.tenant_id});
    CHECK(tested.status == 1);
    CHECK(tested.out.empty());
    CHECK(has(tested.err, "not delivered to http://127.0.0.1:1/hook after "));
    CHECK(has(tested.err, ": connection refused"));
    const auto report = cli({"webhook", "test", tenant.tenant_id, "--json"});
    CHECK(report.status == 1);
    CHECK(json::parse(report.out)["delivered"] == false);
    CHECK(json::parse(report.out)["status"].is_null());

    const auto replayed =
        cli({"webhook", "replay", tenant.tenant_id, "--since", "2026-01-31T12:00:00Z"});
    CHECK(replayed.status == 0);
    CHECK(has(replayed.out, "replaying to http://127.0.0.1:1/hook"));
    CHECK(has(cli({"webhook", "replay", tenant.tenant_id, "--since", "yesterday"}).err,
              "since must be a time"));
    CHECK(cli.asked({"webhook", "dead-letters", tenant.tenant_id})["failed_webhooks"].empty());
    for (const auto* command : {"test", "dead-letters"})
      CHECK(has(cli({"webhook", command, "tenant_0"}).err, "no such tenant"));
    const auto none = cli({"webhook", "test", other.tenant_id});
    CHECK(none.status == 1);
    CHECK(has(none.err, "no such webhook"));
  }

  TEST_CASE("a tenant is disabled, enabled, deleted") {
    running_node node;
    const auto tenant = node.create_tenant("acme");
    const beside cli{node};
    const auto token = cli.mint(tenant, "ann", tenant.jwt_secret);
    CHECK(cli.rooms_status(token) == 200);
    CHECK(cli.asked({"tenant", "disable", tenant.tenant_id})["disabled"] == true);
    CHECK(cli.rooms_status(token) == 401);
    CHECK(node.backend(tenant).get("/v1/rooms").status == 401);
    CHECK(cli.asked({"tenant", "enable", tenant.tenant_id})["disabled"] == false);
    CHECK(cli.rooms_status(token) == 200);
    CHECK(cli.asked({"tenant", "delete", tenant.tenant_id})["job_id"].is_string());
    CHECK(cli.rooms_status(token) == 401);
    for (const char* command : {"disable", "delete", "rotate-key"})
      CHECK(cli({"tenant", command, tenant.tenant_id}).status == 1);
    CHECK(cli.asked({"tenant", "list"})["tenants"].empty());
  }

  TEST_CASE("whatever a tenant's id holds, it is one segment of the path") {
    running_node node;
    const beside cli{node};
    for (const char* id : {"../../health", "a/keys", "a b", "%2e%2e", "?x=1", "t\xc3\xa9"}) {
      CAPTURE(id);
      const auto r = cli({"tenant", "disable", id});
      CHECK(r.status == 1);
      CHECK(has(r.err, "404"));
    }
  }

  TEST_CASE("while a node runs nobody else opens its database, and it is said what to do") {
    running_node node;
    const auto tenant = node.create_tenant("acme");
    const beside cli{node};
    const auto r = cli({"token", "mint", "--tenant", tenant.tenant_id, "--user", "ann",
                        "--data-dir", node.data_dir().string()});
    CHECK(r.status == 1);
    CHECK(r.out.empty());
    CHECK(has(r.err, "PARLEY_JWT_SECRET"));
    const auto disabled =
        cli({"tenant", "disable", tenant.tenant_id, "--data-dir", node.data_dir().string()});
    CHECK(disabled.status == 1);
    CHECK(has(disabled.err, "--url"));
  }
}
