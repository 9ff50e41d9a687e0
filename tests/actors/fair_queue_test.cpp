#include "actors/fair_queue.hpp"

#include "tests/support/seeds.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <vector>

namespace parley::actors {

namespace {
struct thing {
  tenant_no tenant;
  int no = 0;
  std::size_t bytes = 0;
};
constexpr std::size_t turn = 1000;

struct things : fair_queue<thing> {
  things() : fair_queue(turn) {}
  void add(std::int64_t tenant, int no, std::size_t bytes) {
    push(tenant_no{tenant}, thing{tenant_no{tenant}, no, bytes}, bytes);
  }
};
}  // namespace

TEST_SUITE("DESIGN 3.3 tenants take turns") {
  TEST_CASE("one tenant alone comes out as it went in") {
    things q;
    for (int n = 0; n < 100; ++n) q.add(1, n, 700);
    for (int n = 0; n < 100; ++n) CHECK(q.pop().no == n);
    CHECK(q.empty());
    CHECK(q.tenants() == 0);
  }
  TEST_CASE("each has a turn of bytes, whoever came first") {
    things q;
    for (int n = 0; n < 10; ++n) q.add(1, n, 500);
    q.add(2, 0, 100);
    std::vector<std::int64_t> order;
    while (!q.empty()) order.push_back(q.pop().tenant.value);
    CHECK(order == std::vector<std::int64_t>{1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1});
  }
  TEST_CASE("what is bigger than a turn waits for as many turns as it takes, and comes") {
    things q;
    q.add(1, 0, 3500);
    for (int n = 0; n < 10; ++n) q.add(2, n, 1000);
    std::vector<std::int64_t> order;
    while (!q.empty()) order.push_back(q.pop().tenant.value);
    CHECK(order == std::vector<std::int64_t>{2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 2});
  }
  TEST_CASE("who was away has saved nothing up") {
    things q;
    q.add(1, 0, 10);
    q.pop();
    for (int n = 0; n < 4; ++n) q.add(1, n, 1000);
    q.add(2, 0, 1000);
    CHECK(q.pop().tenant == tenant_no{1});
    CHECK(q.pop().tenant == tenant_no{2});
  }
  TEST_CASE(
      "nothing is lost, each tenant's order holds, and nobody waits for more than a turn of each "
      "other") {
    tests::for_each_seed(100, [](std::uint64_t seed) {
      std::mt19937_64 chance{seed};
      things q;
      std::map<std::int64_t, int> added;
      std::map<std::int64_t, int> taken;
      const auto below = [&](std::uint64_t n) { return chance() % n; };
      for (int step = 0; step < 2000; ++step) {
        if (below(5) < 3 || q.empty()) {
          const auto tenant = static_cast<std::int64_t>(1 + below(4));
          q.add(tenant, added[tenant]++, 1 + below(900));
        } else {
          const auto t = q.pop();
          CHECK(t.no == taken[t.tenant.value]++);
        }
      }
      // From here on a newcomer: before it at most a turn, and one thing more, of each of the four.
      q.add(9, added[9]++, 1);
      std::size_t bytes = 0;
      for (auto t = q.pop(); t.tenant != tenant_no{9}; t = q.pop()) {
        bytes += t.bytes;
        CHECK(t.no == taken[t.tenant.value]++);
      }
      ++taken[9];
      CHECK(bytes <= 4 * (turn + 900));
      while (!q.empty()) {
        const auto t = q.pop();
        CHECK(t.no == taken[t.tenant.value]++);
      }
      CHECK(added == taken);
    });
  }
}

}  // namespace parley::actors
