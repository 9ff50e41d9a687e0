#include "actors/tenant.hpp"

#include "tests/actors/words.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

namespace parley::actors {

using namespace words;

namespace {
authenticated_ptr loads(tenant& t, std::string config = "{}", bool disabled = false,
                        std::uint64_t call = 1) {
  store::tenant_row row;
  row.no = acme;
  row.id = tenant_id{"tenant_0123456789abcdef"};
  row.name = "acme";
  row.config = std::move(config);
  row.disabled = disabled;
  return t.on(tenant_loaded{
      std::make_shared<const authenticate>(authenticate{{gateway_no{0}, call_no{call}}, {7}}), row});
}
}  // namespace

TEST_SUITE("SPEC 3 a tenant as gateways see it") {
  TEST_CASE("the answer names the call, the key's digest and what the database says now") {
    tenant t{{}};
    const auto first = loads(t, R"({"max_connections_per_user":3})", false, 8);
    CHECK(first->call == call_no{8});
    CHECK(first->digest == sha256_digest{7});
    REQUIRE(first->tenant);
    CHECK(first->tenant->no == acme);
    CHECK(first->tenant->name == "acme");
    CHECK(first->tenant->max_connections_per_user == 3u);
    CHECK(!loads(t)->tenant->max_connections_per_user);
  }
  TEST_CASE("all snapshots of a tenant share one budget") {
    tenant t{{.admission_rows = 2, .admission_bytes = 100}};
    const auto before = loads(t)->tenant;
    const auto after = loads(t)->tenant;
    const auto one = before->budget->try_take(1);
    const auto two = after->budget->try_take(1);
    CHECK(one);
    CHECK(two);
    CHECK(!before->budget->try_take(1));
  }
  TEST_CASE("a disabled tenant is answered like a key that does not exist") {
    tenant t{{}};
    loads(t);
    const auto answer = loads(t, "{}", true);
    CHECK(!answer->tenant);
    CHECK(!answer->failure);
    CHECK(loads(t)->tenant);
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
                                          {R"({"max_connections_per_user":null})", {}},
                                          {R"({"other":1})", {}},
                                          {"[]", {}},
                                          {"", {}},
                                          {"{broken", {}}}) {
      CAPTURE(r.config);
      CHECK(config_max_connections_per_user(r.config) == r.expected);
    }
  }
}

}  // namespace parley::actors
