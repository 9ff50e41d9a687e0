// A measurement, not a check: `test_store --no-skip -tc="presence rate*"`. One in 5,000 groups asks of 100 strangers in
// 5,000 groups each: what all of it takes, and the longest slice.

#include "tests/store/store_fixture.hpp"

#include <algorithm>
#include <cstdio>

using namespace parley;
using namespace parley::store;
using namespace parley::store::test;

TEST_CASE_FIXTURE(store_fixture, "presence rate (a measurement, not a check)" * doctest::skip()) {
  open();
  const auto tenant = make_tenant();
  std::vector<user_id> strangers;
  for (int n = 0; n < 100; ++n) strangers.emplace_back("stranger" + std::to_string(n));
  for (int part = 0; part < 50; ++part) {
    REQUIRE(writes().begin());
    for (int n = 0; n < 100; ++n) {
      REQUIRE(writes().create_room(a_room(tenant, {"ann"_user})));
      REQUIRE(writes().create_room(a_room(tenant, strangers)));
    }
    REQUIRE(writes().commit());
    REQUIRE(writes().maintain(time.mono(), time.now()));
  }
  for (int round = 0; round < 3; ++round) {
    double all = 0;
    double longest = 0;
    int slices = 0;
    for (std::size_t known = 0; known < strangers.size(); ++slices) {
      const std::vector rest(strangers.begin() + static_cast<std::ptrdiff_t>(known), strangers.end());
      const auto start = std::chrono::steady_clock::now();
      const auto slice = reads->presence(tenant, "ann"_user, rest);
      const auto took = std::chrono::steady_clock::now() - start;
      REQUIRE(slice);
      known += slice->users.size();
      const double ms = std::chrono::duration<double, std::milli>(took).count();
      all += ms;
      longest = std::max(longest, ms);
    }
    std::printf("100 users: %.0f ms in %d slices, the longest %.1f ms\n", all, slices, longest);
  }
}
