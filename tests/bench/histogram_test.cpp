#include "bench/histogram.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

using parley::bench::histogram;

TEST_SUITE("bench: histogram") {
  TEST_CASE("an empty one says 0 to everything") {
    const histogram empty;
    CHECK(empty.count() == 0);
    CHECK(empty.min_ns() == 0);
    CHECK(empty.max_ns() == 0);
    CHECK(empty.mean_ns() == 0);
    CHECK(empty.percentile_ns(99) == 0);
  }

  TEST_CASE("small values are exact") {
    histogram times;
    for (int value = 1; value <= 100; ++value) times.record(value);
    CHECK(times.percentile_ns(50) == 50);
    CHECK(times.percentile_ns(99) == 99);
    CHECK(times.percentile_ns(100) == 100);
    CHECK(times.percentile_ns(0) == 1);
    CHECK(times.min_ns() == 1);
    CHECK(times.max_ns() == 100);
    CHECK(times.mean_ns() == doctest::Approx(50.5));
  }

  TEST_CASE("a percentile is never below the true one, and at most 0.8 % above") {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      CAPTURE(seed);
      std::mt19937_64 random{seed};
      std::vector<std::int64_t> values;
      histogram times;
      for (int i = 0; i < 5000; ++i) {
        const double magnitude = std::uniform_real_distribution{0.0, 39.0}(random);
        values.push_back(static_cast<std::int64_t>(std::pow(2.0, magnitude)));
        times.record(values.back());
      }
      std::ranges::sort(values);
      for (const double percent : {1.0, 50.0, 90.0, 99.0, 99.9, 100.0}) {
        CAPTURE(percent);
        const auto rank = static_cast<std::size_t>(std::ceil(percent / 100 * 5000));
        const std::int64_t truth = values[rank - 1];
        CHECK(times.percentile_ns(percent) >= truth);
        CHECK(static_cast<double>(times.percentile_ns(percent)) <=
              static_cast<double>(truth) * 1.008);
      }
    }
  }

  TEST_CASE("values out of range count at the ends") {
    histogram times;
    times.record(-5);
    times.record(INT64_MAX);
    CHECK(times.count() == 2);
    CHECK(times.min_ns() == 0);
    CHECK(times.max_ns() == (std::int64_t{1} << 40) - 1);
    CHECK(times.percentile_ns(100) == times.max_ns());
  }

  TEST_CASE("two added up are as one that counted all") {
    histogram one;
    histogram two;
    histogram all;
    for (int i = 0; i < 1000; ++i) {
      (i % 3 == 0 ? one : two).record(i * i);
      all.record(i * i);
    }
    one.add(two);
    CHECK(one.count() == all.count());
    CHECK(one.max_ns() == all.max_ns());
    for (const double percent : {10.0, 50.0, 99.0}) {
      CHECK(one.percentile_ns(percent) == all.percentile_ns(percent));
    }
  }
}
