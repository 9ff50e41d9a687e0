#include "bench/return_policy.hpp"

#include "bench/recovery_curve.hpp"
#include "bench/steady_time.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>

using namespace parley::bench;

TEST_SUITE("bench: when a client comes back") {
  TEST_CASE("at once: all in the same moment, when the node is back") {
    return_policy policy{return_manner::at_once, 0, 1};
    CHECK(policy.waits_for_node({100, 7}));
    CHECK(policy.first_try_ns({100, 7}, 5000) == 5000);
    CHECK(policy.first_try_ns({200, {}}, 5000) == 5000);
  }

  TEST_CASE("jitter: evenly over the span, from when the node is back") {
    return_policy policy{return_manner::jitter, 1000, 1};
    std::int64_t least = INT64_MAX;
    std::int64_t most = 0;
    for (int i = 0; i < 1000; ++i) {
      const std::int64_t at = policy.first_try_ns({100, 7}, 5000);
      CHECK(at >= 5000);
      CHECK(at <= 6000);
      least = std::min(least, at);
      most = std::max(most, at);
    }
    CHECK(least < 5050);
    CHECK(most > 5950);
  }

  TEST_CASE("obey: the told delay counts from the close; without one it waits for the node") {
    return_policy policy{return_manner::obey, 0, 1};
    const absence told{100, 7};
    CHECK_FALSE(policy.waits_for_node(told));
    CHECK(policy.first_try_ns(told, -1) == 100 + 7 * ns_per_ms);
    const absence untold{100, {}};
    CHECK(policy.waits_for_node(untold));
    CHECK(policy.first_try_ns(untold, 5000) == 5000);
  }

  TEST_CASE("an absurd delay is cut to ten minutes") {
    return_policy policy{return_manner::obey, 0, 1};
    CHECK(policy.first_try_ns({0, UINT64_MAX}, 0) == 600 * ns_per_s);
  }

  TEST_CASE("pauses double up to two seconds") {
    CHECK(return_policy::pause_ns(0) == 100 * ns_per_ms);
    CHECK(return_policy::pause_ns(1) == 100 * ns_per_ms);
    CHECK(return_policy::pause_ns(2) == 200 * ns_per_ms);
    CHECK(return_policy::pause_ns(5) == 1600 * ns_per_ms);
    CHECK(return_policy::pause_ns(6) == 2 * ns_per_s);
    CHECK(return_policy::pause_ns(UINT32_MAX) == 2 * ns_per_s);
  }
}

TEST_SUITE("bench: the recovery curve") {
  TEST_CASE("it counts who was back by then, up to when all were") {
    recovery_curve curve;
    for (const std::int64_t ms : {100, 400, 900, 2500}) curve.record(ms * ns_per_ms);
    CHECK(curve.count() == 4);
    CHECK(curve.longest_ns() == 2500 * ns_per_ms);
    CHECK(curve.back_within(400 * ns_per_ms) == 2);
    CHECK(curve.share_ns(0.5) == 400 * ns_per_ms);
    CHECK(curve.share_ns(1) == 2500 * ns_per_ms);
    const auto points = curve.points();
    REQUIRE(points.size() == 5);
    CHECK(points[0].after_s == 0.25);
    CHECK(points[0].back == 1);
    CHECK(points[1].back == 2);
    CHECK(points[2].after_s == 1);
    CHECK(points[2].back == 3);
    CHECK(points[3].back == 3);
    CHECK(points[4].after_s == 3);
    CHECK(points[4].back == 4);
  }

  TEST_CASE("curves of several threads add up; an empty one has no points") {
    recovery_curve sum;
    CHECK(sum.points().empty());
    CHECK(sum.share_ns(0.5) == 0);
    recovery_curve one;
    one.record(ns_per_s);
    sum.add(one);
    sum.add(one);
    CHECK(sum.count() == 2);
  }

  TEST_CASE("a straggler of an hour does not make the curve endless") {
    recovery_curve curve;
    curve.record(3600 * ns_per_s);
    CHECK(curve.points().size() == 100);
    CHECK(curve.points().back().back == 0);
  }
}
