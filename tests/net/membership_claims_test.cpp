#include "net/membership_claims.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

using namespace parley;
using namespace parley::net;

namespace {

const user_id ann{"ann"};
const user_id bob{"bob"};
constexpr tenant_no one{1};

}  // namespace

TEST_SUITE("SPEC 4 bounds: rooms of a user") {
  TEST_CASE("a call sees what others have claimed before it, of the busiest of its users") {
    membership_claims claims;
    {
      const membership_claims::claim first{claims, one, {ann}};
      CHECK(first.others() == 0);
      const membership_claims::claim second{claims, one, {bob, ann}};
      CHECK(second.others() == 1);
      const membership_claims::claim foreign{claims, tenant_no{2}, {ann}};
      CHECK(foreign.others() == 0);
      const membership_claims::claim third{claims, one, {bob}};
      CHECK(third.others() == 1);
      CHECK(claims.users() == 3);
    }
    CHECK(claims.users() == 0);
    const membership_claims::claim last{claims, one, {ann, bob}};
    CHECK(last.others() == 0);
  }

  TEST_CASE("calls at once never store more than the bound together") {
    membership_claims claims;
    constexpr std::uint32_t bound = 100;
    std::atomic<std::uint32_t> stored{0};
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
          for (int i = 0; i < 500; ++i) {
            const membership_claims::claim mine{claims, one, {ann}};
            if (stored + mine.others() < bound) ++stored;
          }
        });
      }
    }
    CHECK(stored <= bound);
    CHECK(stored >= bound - 3);  // who sees others on their way may be refused for them
    CHECK(claims.users() == 0);
  }
}
