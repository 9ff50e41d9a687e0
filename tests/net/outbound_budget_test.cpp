#include "net/outbound_budget.hpp"

#include <doctest/doctest.h>

#include <random>
#include <vector>

using namespace parley::net;
using verdict = outbound_budget::verdict;

TEST_CASE(
    "SPEC 2.6 a connection's own bound: a frame that fits, or any while less than half is queued") {
  const outbound_budget budget{1000, 0};
  CHECK(budget.judge({0, 0}, 5000) == verdict::take);  // larger than the bound: alone
  CHECK(budget.judge({499, 0}, 5000) == verdict::take);
  CHECK(budget.judge({500, 0}, 500) == verdict::take);
  CHECK(budget.judge({500, 0}, 501) == verdict::wait_for_drained);
  CHECK(budget.judge({1000, 0}, 1) == verdict::wait_for_drained);
}

TEST_CASE(
    "SPEC 2.6 the less is left for all, the less each may have waiting; one frame is always "
    "taken") {
  const outbound_budget budget{1000, 16'000};
  CHECK(budget.judge({900, 7'999}, 100) == verdict::take);  // an eighth of what is left is more
  CHECK(budget.judge({500, 12'000}, 1) == verdict::wait_for_drained);
  CHECK(budget.judge({400, 12'000}, 100) == verdict::take);
  CHECK(budget.judge({400, 12'000}, 101) == verdict::wait_until_empty);
  CHECK(budget.judge({1, 16'000}, 1) == verdict::wait_until_empty);
  CHECK(budget.judge({0, 16'000}, 5000) == verdict::take);
  CHECK(budget.judge({1, 99'000}, 1) == verdict::wait_until_empty);
}

TEST_CASE(
    "SPEC 2.6 whatever is offered to whom, all stay within the total, and the slow can't starve "
    "who reads") {
  std::mt19937_64 chance{11};
  for (int round = 0; round < 50; ++round) {
    const std::size_t connections = 1 + chance() % 40;
    const std::size_t total = 5000 + chance() % 20000;
    const std::size_t frame_max = 1 + chance() % 900;
    const outbound_budget budget{4000, total};
    std::vector<std::size_t> queued(connections);
    std::size_t all = 0;
    for (int step = 0; step < 5000; ++step) {
      const auto who = chance() % connections;
      auto& own = queued[who];
      if (who < connections / 4 && chance() % 4 == 0) {  // a quarter of them read
        all -= own;
        own = 0;
        continue;
      }
      const auto bytes = 1 + chance() % frame_max;
      if (budget.judge({own, all}, bytes) != verdict::take) continue;
      own += bytes;
      all += bytes;
      REQUIRE(own <= 4000 + frame_max);
      REQUIRE(all <= total + connections * frame_max);
    }
    REQUIRE(all <= total * connections / (connections + 8) + connections * frame_max);
  }
}
