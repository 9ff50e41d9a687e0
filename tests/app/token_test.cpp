// parley token, and the changing commands of parley tenant in a database without a node. (With one: tests/promises.)

#include "tests/support/process.hpp"
#include "tests/support/temp_dir.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace parley::tests;
using nlohmann::json;

namespace {

using environment = std::map<std::string, std::string>;

finished cli(std::vector<std::string> arguments, environment env = {}) {
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

/// A database with one tenant.
struct shop {
  temp_dir dir;
  std::string database = (dir / "parley.db").string();
  json tenant;

  shop() {
    const auto made = cli({"tenant", "create", "acme", "--database", database});
    REQUIRE(made.status == 0);
    tenant = json::parse(made.out);
  }
  [[nodiscard]] std::string id() const { return tenant["tenant_id"].get<std::string>(); }
  [[nodiscard]] std::string text(const char* name) const { return tenant[name].get<std::string>(); }
  [[nodiscard]] std::string key_of(std::string_view kind) const {
    for (const auto& key : tenant["keys"])
      if (key["kind"] == kind) return key["key_id"].get<std::string>();
    return {};
  }

  finished tenant_command(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "tenant");
    arguments.insert(arguments.end(), {"--database", database});
    return cli(std::move(arguments));
  }
  [[nodiscard]] json shown() const {
    const auto listed = tenant_command({"list"});
    REQUIRE(listed.status == 0);
    const auto tenants = json::parse(listed.out)["tenants"];
    for (const auto& one : tenants)
      if (one["tenant_id"] == id()) return one;
    return nullptr;
  }
};

std::string token_in(const finished& r) {
  CAPTURE(r.err);
  REQUIRE(r.status == 0);
  REQUIRE(r.out.ends_with("\n"));
  return r.out.substr(0, r.out.size() - 1);
}

const std::string a_tenant = "tenant_0123456789abcdef";
const environment a_secret{{"PARLEY_JWT_SECRET", "jwts_0123456789"}};

}  // namespace

TEST_SUITE("SPEC 7 parley token") {
  TEST_CASE("what is minted with a secret is good for that secret, and no other") {
    const auto minted =
        cli({"token", "mint", "--tenant", a_tenant, "--user", "J\xc3\xbcrgen"}, a_secret);
    const auto token = token_in(minted);
    CHECK(minted.err.empty());
    const auto checked = cli({"token", "check", token}, a_secret);
    CHECK(checked.status == 0);
    const auto said = json::parse(checked.out);
    CHECK(said["valid"] == true);
    CHECK(said["user_id"] == "J\xc3\xbcrgen");
    CHECK(said["tenant_id"] == a_tenant);

    const auto other = cli({"token", "check", token, "--secret", "jwts_other"});
    CHECK(other.status == 1);
    CHECK(json::parse(other.out)["valid"] == false);
    CHECK(has(json::parse(other.out)["reason"].get<std::string>(), "signature"));
    CHECK(json::parse(other.out)["claims"]["sub"] == "J\xc3\xbcrgen");
    CHECK(json::parse(other.out)["header"]["alg"] == "HS256");
    const auto elsewhere = cli({"token", "check", token, "--tenant", "tenant_f"}, a_secret);
    CHECK(elsewhere.status == 1);
    CHECK(has(json::parse(elsewhere.out)["reason"].get<std::string>(), "another tenant"));
  }

  TEST_CASE(
      "the secret comes from the environment, from a file named there, or from the command line") {
    const temp_dir dir;
    const auto file = dir.write("secret", "jwts_0123456789\n").string();
    const auto token =
        token_in(cli({"token", "mint", "--tenant", a_tenant, "--user", "ann"}, a_secret));
    for (const auto& [arguments, env] : std::vector<std::pair<std::vector<std::string>, environment>>{
             {{}, {{"PARLEY_JWT_SECRET_FILE", file}}},
             {{"--secret-file", file}, {}},
             {{"--secret", "jwts_0123456789"}, {}},
             {{"--secret-file", file}, {{"PARLEY_JWT_SECRET", "another"}}}}) {
      std::vector<std::string> all{"token", "check", token};
      all.insert(all.end(), arguments.begin(), arguments.end());
      const auto r = cli(all, env);
      CAPTURE(r.err);
      CHECK(r.status == 0);
    }
    const auto missing = cli({"token", "check", token, "--secret-file", (dir / "none").string()});
    CHECK(missing.status == 2);
    const auto empty = dir.write("empty", "\n").string();
    CHECK(cli({"token", "check", token, "--secret-file", empty}).status == 2);
  }

  TEST_CASE("without a secret only the form is checked, and it is said where secrets come from") {
    const auto token =
        token_in(cli({"token", "mint", "--tenant", a_tenant, "--user", "ann"}, a_secret));
    const auto unsure = cli({"token", "check", token});
    CHECK(unsure.status == 2);
    CHECK(unsure.out.empty());
    CHECK(has(unsure.err, "PARLEY_JWT_SECRET"));
    const auto bad = cli({"token", "check", "sk_0123"});
    CHECK(bad.status == 1);
    CHECK(has(bad.out, "three parts"));
    // {"alg":"none"} . {"sub":"ann"} .
    const auto none = cli({"token", "check", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ."});
    CHECK(none.status == 1);
    CHECK(has(none.out, "HS256"));
    CHECK(cli({"token", "mint", "--tenant", a_tenant, "--user", "ann"}).status == 2);
  }

  TEST_CASE("how long it is good, for whom, and by which key, can be said") {
    const auto minted = cli({"token", "mint", "--tenant", a_tenant, "--user", "ann", "--ttl", "15m",
                             "--audience", "parley", "--key", "key_1"},
                            a_secret);
    const auto token = token_in(minted);
    const auto checked = cli({"token", "check", token, "--audience", "parley"}, a_secret);
    REQUIRE(checked.status == 0);
    CHECK(json::parse(checked.out)["key_id"] == "key_1");
    const auto wrong = cli({"token", "check", token, "--audience", "other"}, a_secret);
    CHECK(wrong.status == 1);
    CHECK(has(wrong.out, "aud"));
    const auto claims = json::parse(wrong.out)["claims"];
    CHECK(claims["exp"].get<std::int64_t>() - claims["iat"].get<std::int64_t>() == 900);
  }

  TEST_CASE("the Python of docs/authentication.md makes good tokens") {
    std::ifstream in{binary_from("PARLEY_SOURCE_DIR") + "/docs/authentication.md"};
    const std::string page{std::istreambuf_iterator<char>{in}, {}};
    constexpr std::string_view fence = "```python\n";
    const auto begin = page.find(fence);
    REQUIRE(begin != std::string::npos);
    const auto code = page.substr(begin + fence.size(),
                                  page.find("```", begin + fence.size()) - begin - fence.size());
    process_options python;
    python.command = {"/usr/bin/env", "python3", "-c", code + "\nprint(token_for('ann'))"};
    python.env = {{"TENANT_ID", a_tenant}, {"JWT_SECRET", "jwts_0123456789"}};
    const auto token = token_in(run(python));
    const auto checked = cli({"token", "check", token}, a_secret);
    CHECK(checked.status == 0);
    CHECK(json::parse(checked.out)["user_id"] == "ann");
    CHECK(json::parse(checked.out)["tenant_id"] == a_tenant);
  }

  TEST_CASE("what can't be minted") {
    for (const std::vector<std::string>& more :
         std::vector<std::vector<std::string>>{{"--user", ""},
                                               {"--user", " ann"},
                                               {"--user", std::string(129, 'a')},
                                               {"--user", "ann", "--ttl", "0s"},
                                               {"--user", "ann", "--ttl", "forever"},
                                               {"--user", "ann", "--ttl", "100000h"},
                                               {"--user", "ann", "--ttl", "-1h"},
                                               {}}) {
      std::vector<std::string> all{"token", "mint", "--tenant", a_tenant};
      all.insert(all.end(), more.begin(), more.end());
      const auto r = cli(all, a_secret);
      CHECK(r.status == 2);
      CHECK(r.out.empty());
      CHECK_FALSE(has(r.err, "jwts_"));
    }
    CHECK(cli({"token"}).status == 2);
    CHECK(cli({"token", "mint", "--user", "ann"}, a_secret).status == 2);
  }

  TEST_CASE("help has examples") {
    for (const std::vector<std::string>& arguments :
         std::vector<std::vector<std::string>>{{"token", "--help"},
                                               {"token", "mint", "--help"},
                                               {"token", "check", "--help"},
                                               {"tenant", "rotate-key", "--help"},
                                               {"tenant", "delete-key", "--help"},
                                               {"tenant", "disable", "--help"},
                                               {"tenant", "enable", "--help"},
                                               {"tenant", "delete", "--help"}}) {
      const auto r = cli(arguments);
      CHECK(r.status == 0);
      CHECK(has(r.out, "Examples:"));
    }
  }

  TEST_CASE("a database's own secret signs and checks while no node runs") {
    const shop acme;
    const auto token = token_in(
        cli({"token", "mint", "--tenant", acme.id(), "--user", "ann", "--database", acme.database}));
    const auto by_database = cli({"token", "check", token, "--database", acme.database});
    CAPTURE(by_database.err);
    REQUIRE(by_database.status == 0);
    CHECK(json::parse(by_database.out)["tenant_id"] == acme.id());
    CHECK(json::parse(by_database.out)["key_id"] == acme.key_of("jwt_secret"));
    CHECK(cli({"token", "check", token, "--secret", acme.text("jwt_secret")}).status == 0);
    CHECK(cli({"token", "check", token, "--secret", acme.text("api_key")}).status == 1);

    const auto by_hand = token_in(cli({"token", "mint", "--tenant", acme.id(), "--user", "ann"},
                                      {{"PARLEY_JWT_SECRET", acme.text("jwt_secret")}}));
    CHECK(cli({"token", "check", by_hand, "--database", acme.database}).status == 0);

    const auto unknown =
        cli({"token", "mint", "--tenant", a_tenant, "--user", "ann", "--database", acme.database});
    CHECK(unknown.status == 1);
    CHECK(unknown.out.empty());
    const temp_dir empty;
    CHECK(cli({"token", "mint", "--tenant", a_tenant, "--user", "ann", "--database",
               (empty / "none.db").string()})
              .status == 74);
    CHECK_FALSE(std::filesystem::exists(empty / "secret_key"));
  }

  TEST_CASE("a lost secret_key is said, and no other is made in its place") {
    const shop acme;
    std::filesystem::remove(acme.dir / "secret_key");
    const auto r =
        cli({"token", "mint", "--tenant", acme.id(), "--user", "ann", "--database", acme.database});
    CHECK(r.status == 74);
    CHECK(has(r.err, "secret_key"));
    CHECK_FALSE(std::filesystem::exists(acme.dir / "secret_key"));
    REQUIRE(cli({"tenant", "create", "other", "--database", acme.database}).status == 0);
    const auto other =
        cli({"token", "mint", "--tenant", acme.id(), "--user", "ann", "--database", acme.database});
    CHECK(other.status == 1);
    CHECK(has(other.err, "another secret_key"));
  }
}

TEST_SUITE("SPEC 7 parley tenant, without a node") {
  TEST_CASE(
      "a key is rotated: a second one beside the first, and no third; then the first is deleted") {
    const shop acme;
    for (const std::string& kind :
         std::vector<std::string>{"api_key", "jwt_secret", "webhook_secret"}) {
      CAPTURE(kind);
      const auto rotated = acme.tenant_command({"rotate-key", acme.id(), "--kind", kind});
      CAPTURE(rotated.err);
      REQUIRE(rotated.status == 0);
      const auto made = json::parse(rotated.out);
      CHECK(made["kind"] == kind);
      const auto secret = made["secret"].get<std::string>();
      CHECK(secret != acme.text(kind.c_str()));
      CHECK(secret.substr(0, 3) == acme.text(kind.c_str()).substr(0, 3));
      CHECK(has(rotated.err, "parley tenant delete-key " + acme.id() + " " + acme.key_of(kind)));
      CHECK_FALSE(has(rotated.err, secret));

      const auto third = acme.tenant_command({"rotate-key", acme.id(), "--kind", kind});
      CHECK(third.status == 1);
      CHECK(has(third.err, acme.key_of(kind)));
      CHECK(has(third.err, made["key_id"].get<std::string>()));

      const auto deleted = acme.tenant_command({"delete-key", acme.id(), acme.key_of(kind)});
      CHECK(deleted.status == 0);
      CHECK(deleted.out.empty());
      CHECK(acme.tenant_command({"delete-key", acme.id(), acme.key_of(kind)}).status == 1);
      CHECK(acme.tenant_command({"rotate-key", acme.id(), "--kind", kind}).status == 0);
    }
    CHECK(acme.shown()["keys"].size() == 6);
  }

  TEST_CASE("tokens of both secrets are good while both are there; the newest signs") {
    const shop acme;
    const auto mint = [&] {
      return token_in(cli(
          {"token", "mint", "--tenant", acme.id(), "--user", "ann", "--database", acme.database}));
    };
    const auto check = [&](const std::string& token) {
      return cli({"token", "check", token, "--database", acme.database});
    };
    const auto old_token = mint();
    const auto rotated = acme.tenant_command({"rotate-key", acme.id(), "--kind", "jwt_secret"});
    REQUIRE(rotated.status == 0);
    const auto new_token = mint();
    CHECK(json::parse(check(new_token).out)["key_id"] == json::parse(rotated.out)["key_id"]);
    CHECK(check(old_token).status == 0);
    REQUIRE(acme.tenant_command({"delete-key", acme.id(), acme.key_of("jwt_secret")}).status == 0);
    // Its `kid` names a key that is gone: whose it was is not known any more.
    CHECK(check(old_token).status == 1);
    CHECK(check(new_token).status == 0);
  }

  TEST_CASE("disabled and enabled again") {
    const shop acme;
    const auto disabled = acme.tenant_command({"disable", acme.id()});
    CAPTURE(disabled.err);
    REQUIRE(disabled.status == 0);
    CHECK(json::parse(disabled.out)["disabled"] == true);
    CHECK(acme.shown()["disabled"] == true);
    CHECK(cli({"token", "mint", "--tenant", acme.id(), "--user", "ann", "--database", acme.database})
              .status == 1);
    REQUIRE(acme.tenant_command({"enable", acme.id()}).status == 0);
    CHECK(acme.shown()["disabled"] == false);
    CHECK(cli({"token", "mint", "--tenant", acme.id(), "--user", "ann", "--database", acme.database})
              .status == 0);
  }

  TEST_CASE("deleted is gone: from the list, for tokens, for any change") {
    const shop acme;
    const auto deleted = acme.tenant_command({"delete", acme.id()});
    CAPTURE(deleted.err);
    REQUIRE(deleted.status == 0);
    CHECK(json::parse(deleted.out)["job_id"].get<std::string>().starts_with("job_"));
    CHECK(acme.shown() == json(nullptr));
    CHECK(acme.tenant_command({"delete", acme.id()}).status == 1);
    CHECK(acme.tenant_command({"enable", acme.id()}).status == 1);
    CHECK(acme.tenant_command({"rotate-key", acme.id()}).status == 1);
    CHECK(cli({"token", "mint", "--tenant", acme.id(), "--user", "ann", "--database", acme.database})
              .status == 1);
    CHECK(cli({"verify", "--database", acme.database}).status == 0);
  }

  TEST_CASE("what is not there, and what is no kind") {
    const shop acme;
    for (const char* command : {"disable", "enable", "delete", "rotate-key"})
      CHECK(acme.tenant_command({command, a_tenant}).status == 1);
    CHECK(acme.tenant_command({"delete-key", acme.id(), "key_none"}).status == 1);
    CHECK(acme.tenant_command({"rotate-key", acme.id(), "--kind", "password"}).status == 2);
    CHECK(acme.tenant_command({"rotate-key"}).status == 2);
    CHECK(acme.tenant_command({"delete-key", acme.id()}).status == 2);
    const temp_dir empty;
    const auto none = (empty / "none.db").string();
    CHECK(cli({"tenant", "disable", a_tenant, "--database", none}).status == 74);
    CHECK_FALSE(std::filesystem::exists(none));
  }
}
