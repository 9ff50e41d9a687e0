// Planted defects that only a whole node shows: each must be noticed by the checker that watches for it.

#include "tests/promises/crash_run.hpp"

#include <doctest/doctest.h>

using namespace parley::tests;

namespace {

constexpr int cycles_max = 20;  // more than ever needed; the run stops at the first find

}  // namespace

TEST_SUITE("DESIGN 10 planted defects are caught") {
  TEST_CASE("ack_before_commit: kill -9 loses what was accepted") {
    const auto report = run_crashes(
        {.cycles = cycles_max, .planted = "ack_before_commit", .stops_at_first_loss = true});
    MESSAGE(report.summary());
    CHECK_FALSE(report.is_good());
    CHECK(report.lost + report.unstored > 0);
  }

  TEST_CASE("key_outside_transaction: kill -9 lets a retry be stored twice") {
    const auto report = run_crashes(
        {.cycles = cycles_max, .planted = "key_outside_transaction", .stops_at_first_loss = true});
    MESSAGE(report.summary());
    CHECK_FALSE(report.is_good());
    CHECK(report.stored_twice > 0);
  }
}
