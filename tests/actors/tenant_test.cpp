#include "actors/tenant.hpp"

#include "actors/new_tenant.hpp"
#include "actors/tenant_table.hpp"
#include "tests/actors/words.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

namespace parley::actors {

using namespace words;

namespace {

const tenant_id acme_id{"tenant_0123456789abcdef"};

/// As the database has it, with one credential of each kind.
store::tenant_row row_of(std::int64_t revision, std::string config = "{}") {
  store::tenant_row row;
  row.no = acme;
  row.id = acme_id;
  row.name = "acme";
  row.config = std::move(config);
  row.revision = revision;
  return row;
}
store::credential_row api_key(const std::string& id, std::uint8_t digest) {
  store::credential_row c;
  c.id = key_id{id};
  c.kind = "api_key";
  c.digest = sha256_digest{digest};
  return c;
}
store::credential_row jwt_secret(const std::string& id, const secret_key& key,
                                 const std::string& secret) {
  store::credential_row c;
  c.id = key_id{id};
  c.kind = "jwt_secret";
  c.sealed = seal(key, secret, seal_context(acme_id, c.id), system_random());
  return c;
}

}  // namespace

TEST_SUITE("SPEC 3 a tenant as gateways see it") {
  TEST_CASE("a snapshot says what the database says, secrets opened") {
    const secret_key key{1, 2, 3};
    tenant t{{.sealing_key = key}, nullptr};
    auto row = row_of(
        1, R"({"max_connections_per_user":3,"jwt_audience":"app","allowed_origins":["https://a"]})");
    row.credentials = {api_key("key_a", 7), jwt_secret("key_j", key, "jwts_secret")};
    CHECK(t.on(row));
    const auto& s = *t.snapshot();
    CHECK(s.no == acme);
    CHECK(s.id == acme_id);
    CHECK(s.name == "acme");
    CHECK(!s.disabled);
    CHECK(s.config.max_connections_per_user == 3u);
    CHECK(s.config.jwt_audience == "app");
    REQUIRE(s.config.allowed_origins);
    CHECK(s.config.allowed_origins->front() == "https://a");
    REQUIRE(s.api_keys.size() == 1);
    CHECK(s.api_keys[0].digest == sha256_digest{7});
    REQUIRE(s.jwt_keys.size() == 1);
    CHECK(s.jwt_keys[0].secret == "jwts_secret");
  }
  TEST_CASE("a row that was read before a known change changes nothing") {
    tenant t{{}, nullptr};
    auto newer = row_of(5);
    newer.disabled = true;
    CHECK(t.on(newer));
    CHECK(!t.on(row_of(4)));
    CHECK(t.snapshot()->disabled);
    CHECK(!t.on(row_of(5)));
    CHECK(t.on(row_of(6)));
    CHECK(!t.snapshot()->disabled);
  }
  TEST_CASE("deleted is as disabled") {
    tenant t{{}, nullptr};
    auto gone = row_of(1);
    gone.deleted = true;
    t.on(gone);
    CHECK(t.snapshot()->disabled);
  }
  TEST_CASE("a secret that is sealed with another key is left out, the others are good") {
    const secret_key key{1};
    tenant t{{.sealing_key = key}, nullptr};
    auto row = row_of(1);
    row.credentials = {jwt_secret("key_1", secret_key{9}, "lost"), jwt_secret("key_2", key, "good")};
    t.on(row);
    REQUIRE(t.snapshot()->jwt_keys.size() == 1);
    CHECK(t.snapshot()->jwt_keys[0].secret == "good");
  }
  TEST_CASE(
      "all snapshots of a tenant share one budget and one count, also those of a later owner") {
    tenant t{{.admission_rows = 2, .admission_bytes = 100}, nullptr};
    t.on(row_of(1));
    const auto before = t.snapshot();
    t.on(row_of(2));
    CHECK(before->budget == t.snapshot()->budget);
    CHECK(before->meters == t.snapshot()->meters);
    tenant successor{{.admission_rows = 2, .admission_bytes = 100}, t.snapshot()};
    CHECK(!successor.on(row_of(2)));
    CHECK(successor.on(row_of(3)));
    CHECK(before->budget == successor.snapshot()->budget);
    CHECK(before->meters == successor.snapshot()->meters);
    const auto one = before->budget->try_take(1);
    const auto two = successor.snapshot()->budget->try_take(1);
    CHECK(one);
    CHECK(two);
    CHECK(!before->budget->try_take(1));
  }
  TEST_CASE("a config that says nothing, or nothing usable, leaves the node's value") {
    struct row {
      const char* config;
      std::optional<std::uint32_t> expected;
    };
    for (const auto& r : std::vector<row>{{R"({"max_connections_per_user":12})", 12},
                                          {R"({"max_connections_per_user":0})", 0},
                                          {R"({"max_connections_per_user":-1})", {}},
                                          {R"({"max_connections_per_user":"5"})", {}},
                                          {R"({"max_connections_per_user":4294967296})", {}},
                                          {R"({"max_connections_per_user":null})", {}},
                                          {R"({"other":1})", {}},
                                          {"[]", {}},
                                          {"", {}},
                                          {"{broken", {}}}) {
      CAPTURE(r.config);
      CHECK(parse_tenant_config(r.config).max_connections_per_user == r.expected);
    }
    CHECK(!parse_tenant_config(R"({"allowed_origins":["a",1]})").allowed_origins);
    CHECK(parse_tenant_config(R"({"user_topics":["a","b"]})").user_topics ==
          std::vector<std::string>{"a", "b"});
  }
}

TEST_SUITE("SPEC 3 the tenants that gateways know") {
  TEST_CASE("a tenant is found by each of its names, and by none that it has no more") {
    const secret_key key{1};
    tenant t{{.sealing_key = key}, nullptr};
    tenant_table table;
    auto row = row_of(1);
    row.credentials = {api_key("key_a", 7), api_key("key_b", 8), jwt_secret("key_j", key, "s")};
    t.on(row);
    table.set(t.snapshot());
    for (const tenant_name& name :
         std::vector<tenant_name>{sha256_digest{7}, sha256_digest{8}, acme_id, key_id{"key_j"}}) {
      CHECK(table.find(name) == t.snapshot());
    }
    CHECK(table.find(acme) == t.snapshot());
    CHECK(table.find(sha256_digest{9}) == nullptr);
    CHECK(table.find(key_id{"key_a"}) == nullptr);  // an API key's id is no token's `kid`
    row.revision = 2;
    row.credentials.erase(row.credentials.begin());
    const auto before = t.snapshot();
    t.on(row);
    table.set(t.snapshot());
    CHECK(table.find(sha256_digest{7}) == nullptr);
    CHECK(table.find(sha256_digest{8}) == t.snapshot());
    table.set(before);  // late: older
    CHECK(table.find(sha256_digest{7}) == nullptr);
    CHECK(table.size() == 1);
  }
}

}  // namespace parley::actors
