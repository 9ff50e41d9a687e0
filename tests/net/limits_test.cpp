#include "net/limits.hpp"

#include "net/refusals.hpp"
#include "tests/support/process.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace parley;
using namespace parley::net;
using namespace std::chrono_literals;

namespace {

constexpr mono_time noon{12h};
const auto here = boost::asio::ip::make_address("192.0.2.1");
const auto there = boost::asio::ip::make_address("192.0.2.2");

actors::tenant_snapshot a_tenant(std::int64_t no = 1, actors::tenant_config config = {}) {
  actors::tenant_snapshot tenant;
  tenant.no = tenant_no{no};
  tenant.config = std::move(config);
  tenant.meters = std::make_shared<actors::tenant_meters>();
  return tenant;
}

const user_id ann_id{"ann"};
const user_id bob_id{"bob"};
const user_id* const ann = &ann_id;
const user_id* const bob = &bob_id;
constexpr const user_id* backend = nullptr;

int requests_until_refused(traffic_limits& limits, const actors::tenant_snapshot& tenant,
                           mono_time now) {
  int n = 0;
  while (n < 100'000 && !limits.admit_request(tenant, now)) ++n;
  return n;
}

connection_slot_ptr slot_of(traffic_limits& limits, const boost::asio::ip::address& from = here) {
  auto taken = limits.take_slot(from);
  REQUIRE(taken.has_value());
  return std::move(*taken);
}

}  // namespace

TEST_SUITE("SPEC 4 bounds: requests of a tenant") {
  TEST_CASE("a second's worth at once, and not one more; the answer says when") {
    traffic_limits limits{{.default_rate_limit = 5}, system_random()};
    const auto tenant = a_tenant();
    auto rate = limits.rate_of(tenant, noon);
    CHECK(rate.limit == 5);
    CHECK(rate.remaining == 5);
    CHECK(rate.refill == 0ns);
    CHECK(requests_until_refused(limits, tenant, noon) == 5);
    rate = limits.rate_of(tenant, noon);
    CHECK(rate.remaining == 0);
    CHECK(rate.refill == 1s);
    const auto refused = limits.admit_request(tenant, noon);
    REQUIRE(refused);
    CHECK(refused->limit == "default_rate_limit");
    CHECK(refused->code == error_code::rate_limit);
    CHECK(refused->retry_after == 200ms);
    CHECK(refused->stored == stored_state::not_a_send);
    CHECK(requests_until_refused(limits, tenant, noon + 400ms) == 2);
    CHECK(requests_until_refused(limits, tenant, noon + 1h) == 5);
  }

  TEST_CASE("one tenant's use is not another's, and its own number replaces the node's") {
    traffic_limits limits{{.default_rate_limit = 5}, system_random()};
    const auto loud = a_tenant(1);
    const auto other = a_tenant(2);
    const auto more = a_tenant(3, {.rate_limit = 50});
    const auto free = a_tenant(4, {.rate_limit = 0});
    CHECK(requests_until_refused(limits, loud, noon) == 5);
    CHECK(requests_until_refused(limits, other, noon) == 5);
    CHECK(requests_until_refused(limits, more, noon) == 50);
    CHECK(requests_until_refused(limits, free, noon) == 100'000);
    CHECK(limits.rate_of(free, noon).limit == 0);
    limits.apply({.default_rate_limit = 7});
    CHECK(requests_until_refused(limits, a_tenant(5), noon) == 7);
  }
}

TEST_SUITE("SPEC 4 bounds: messages") {
  TEST_CASE("a user has a burst and a rate; the refused are told what is stored") {
    traffic_limits limits{{.user_send_rate = 10, .user_send_burst = 20}, system_random()};
    const auto tenant = a_tenant();
    for (int i = 0; i < 20; ++i) REQUIRE_FALSE(limits.admit_messages(tenant, ann, 1, noon).refused);
    const auto verdict = limits.admit_messages(tenant, ann, 1, noon);
    CHECK(verdict.admitted == 0);
    REQUIRE(verdict.refused);
    CHECK(verdict.refused->limit == "user_send_rate");
    CHECK(verdict.refused->code == error_code::rate_limit);
    CHECK(verdict.refused->stored == stored_state::no);
    CHECK(verdict.refused->retry_after == 100ms);
    CHECK(limits.admit_messages(tenant, bob, 1, noon).admitted == 1);
    CHECK(limits.admit_messages(a_tenant(2), ann, 1, noon).admitted == 1);
    CHECK(limits.admit_messages(tenant, ann, 1, noon + 100ms).admitted == 1);
  }

  TEST_CASE("the backend itself has no bucket of a user, but its tenant's") {
    traffic_limits limits{{.default_message_rate = 30, .user_send_rate = 1}, system_random()};
    const auto tenant = a_tenant();
    CHECK(limits.admit_messages(tenant, backend, 25, noon).admitted == 25);
    const auto verdict = limits.admit_messages(tenant, backend, 25, noon);
    CHECK(verdict.admitted == 5);
    REQUIRE(verdict.refused);
    CHECK(verdict.refused->limit == "default_message_rate");
    CHECK(verdict.refused->stored == stored_state::no);
  }

  TEST_CASE(
      "of several as many pass as fit into both; the tenant's refusal costs the user nothing") {
    traffic_limits limits{{.default_message_rate = 12, .user_send_rate = 1, .user_send_burst = 10},
                          system_random()};
    const auto tenant = a_tenant();
    CHECK(limits.admit_messages(tenant, ann, 8, noon).admitted == 8);
    CHECK(limits.admit_messages(tenant, bob, 8, noon).admitted == 4);
    CHECK(limits.admit_messages(tenant, bob, 8, noon).admitted == 0);
    limits.apply({.default_message_rate = 0, .user_send_rate = 1, .user_send_burst = 10});
    CHECK(limits.admit_messages(tenant, bob, 8, noon).admitted == 6);
    CHECK(limits.admit_messages(tenant, ann, 8, noon).admitted == 2);
  }

  TEST_CASE("a tenant's own rates replace the node's") {
    traffic_limits limits{{.user_send_rate = 1, .user_send_burst = 2}, system_random()};
    const auto tenant = a_tenant(1, {.message_rate = 9, .user_send_rate = 1, .user_send_burst = 6});
    CHECK(limits.admit_messages(tenant, ann, 20, noon).admitted == 6);
    CHECK(limits.admit_messages(tenant, bob, 20, noon).admitted == 3);
    const auto free = a_tenant(2, {.user_send_rate = 0});
    CHECK(limits.admit_messages(free, ann, 5000, noon).admitted == 5000);
  }
}

TEST_SUITE("SPEC 4 bounds: connections") {
  TEST_CASE("an address has so many; one that ends makes room") {
    traffic_limits limits{{.max_connections_per_address = 2}, system_random()};
    auto first = slot_of(limits);
    const auto second = slot_of(limits);
    const auto third = limits.take_slot(here);
    REQUIRE(third.has_error());
    const auto& refused = third.error();
    CHECK(refused.limit == "max_connections_per_address");
    CHECK(refused.code == error_code::rate_limit);
    CHECK(refused.retry_after);
    const auto other = slot_of(limits, there);
    CHECK(limits.connected_addresses() == 2);
    first.reset();
    CHECK(limits.take_slot(here).has_value());
  }

  TEST_CASE("a tenant has so many; what was refused does not count") {
    traffic_limits limits{{.max_connections_per_tenant = 2}, system_random()};
    const auto tenant = a_tenant();
    std::vector<connection_slot_ptr> open;
    for (int i = 0; i < 2; ++i) {
      open.push_back(slot_of(limits));
      REQUIRE_FALSE(open.back()->join(tenant));
    }
    const auto third = slot_of(limits);
    const auto refused = third->join(tenant);
    REQUIRE(refused);
    CHECK(refused->limit == "max_connections_per_tenant");
    CHECK(refused->code == error_code::rate_limit);
    CHECK(tenant.meters->connections == 2);
    CHECK_FALSE(slot_of(limits)->join(a_tenant(2)));
    open.pop_back();
    CHECK(tenant.meters->connections == 1);
    CHECK_FALSE(third->join(tenant));  // it was refused before, and is not counted twice
    CHECK(tenant.meters->connections == 2);
    open.clear();
    CHECK(tenant.meters->connections == 1);
  }

  TEST_CASE("nothing stays behind of connections that came and went in all threads") {
    traffic_limits limits{{.max_connections_per_tenant = 5, .max_connections_per_address = 6},
                          system_random()};
    const auto tenant = a_tenant();
    std::atomic<int> most{0};
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
          for (int i = 0; i < 5000; ++i) {
            auto taken = limits.take_slot(i % 2 == 0 ? here : there);
            if (!taken || (*taken)->join(tenant)) continue;
            most = std::max<int>(most, static_cast<int>(tenant.meters->connections.load()));
          }
        });
      }
    }
    CHECK(most >= 1);
    CHECK(tenant.meters->connections == 0);
    CHECK(limits.connected_addresses() == 0);
  }

  TEST_CASE("the node takes so many upgrades a second; beyond it is 503") {
    traffic_limits limits{{.ws_connect_rate = 3}, system_random()};
    for (int i = 0; i < 3; ++i) CHECK_FALSE(limits.admit_connect(noon));
    const auto refused = limits.admit_connect(noon);
    REQUIRE(refused);
    CHECK(refused->limit == "ws_connect_rate");
    CHECK(refused->code == error_code::unavailable);
    CHECK(refused->retry_after == 334ms);
    CHECK_FALSE(limits.admit_connect(noon + 334ms));
  }
}

TEST_SUITE("SPEC 3 failed authentications") {
  TEST_CASE("ten a minute and address are told 401, the next one 429") {
    traffic_limits limits{{.auth_failure_rate = 10}, system_random()};
    for (int i = 0; i < 10; ++i) CHECK_FALSE(limits.failed_authentication(here, noon));
    const auto refused = limits.failed_authentication(here, noon);
    REQUIRE(refused);
    CHECK(refused->limit == "auth_failure_rate");
    CHECK(refused->code == error_code::rate_limit);
    CHECK(refused->retry_after == 6s);
    CHECK_FALSE(limits.failed_authentication(there, noon));
    CHECK_FALSE(limits.failed_authentication(here, noon + 6s));
    CHECK(limits.failed_authentication(here, noon + 6s));
    traffic_limits none{{}, system_random()};
    for (int i = 0; i < 1000; ++i) REQUIRE_FALSE(none.failed_authentication(here, noon));
  }
}

TEST_CASE("every refusal has a name of its own, and is found by it") {
  std::set<std::string_view> seen;
  for (std::size_t i = 0; i < refusals; ++i) {
    const auto name = name_of(static_cast<refused_by>(i));
    CHECK(seen.insert(name).second);
    CHECK(refusal_named(name) == static_cast<refused_by>(i));
  }
  CHECK_FALSE(refusal_named("max_nothing"));
}

TEST_CASE("docs/limits.md has a row for every refusal") {
  std::ifstream in{tests::binary_from("PARLEY_SOURCE_DIR") + "/docs/limits.md"};
  const std::string text{std::istreambuf_iterator<char>{in}, {}};
  REQUIRE_FALSE(text.empty());
  for (std::size_t i = 0; i < refusals; ++i) {
    const auto cell = "| `" + std::string{name_of(static_cast<refused_by>(i))} + "` |\n";
    CAPTURE(cell);
    CHECK(text.find(cell) != std::string::npos);
  }
}
