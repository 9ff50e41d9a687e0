#include "actors/admission.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace parley::actors {

TEST_SUITE("DESIGN 3.1 admission credit") {
  TEST_CASE("credit is taken in rows and bytes and comes back when its last holder lets go") {
    const auto budget = std::make_shared<admission>(2, 100);
    auto one = budget->try_take(30);
    const auto same = one;
    auto two = budget->try_take(70);
    CHECK(budget->rows() == 2);
    CHECK(budget->bytes() == 100);
    one.reset();
    CHECK(budget->rows() == 2);
    two.reset();
    CHECK(budget->rows() == 1);
    CHECK(budget->bytes() == 30);
  }
  TEST_CASE("beyond rows or bytes nothing is taken, and it is counted") {
    const auto budget = std::make_shared<admission>(1, 100);
    CHECK(!budget->try_take(101));
    CHECK(budget->rows() == 0);
    CHECK(budget->bytes() == 0);
    const auto one = budget->try_take(100);
    CHECK(one);
    CHECK(!budget->try_take(0));
    CHECK(budget->refused() == 2);
    CHECK(budget->rows() == 1);
    CHECK(budget->bytes() == 100);
  }
  TEST_CASE("credit that outlives all other holders of its budget is still given back") {
    auto budget = std::make_shared<admission>(1, 10);
    const std::weak_ptr<admission> watched = budget;
    auto credit = budget->try_take(1);
    budget.reset();
    CHECK(!watched.expired());
    credit.reset();
    CHECK(watched.expired());
  }
  TEST_CASE("threads that race for the last rows never hold more than there are") {
    const auto budget = std::make_shared<admission>(3, 1000);
    std::atomic<int> held{0};
    std::atomic<int> most{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int n = 0; n < 2000; ++n) {
          const auto credit = budget->try_take(1);
          if (!credit) continue;
          const int now = ++held;
          for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {}
          --held;
        }
      });
    }
    for (auto& t : threads) t.join();
    CHECK(most <= 3);
    CHECK(budget->rows() == 0);
    CHECK(budget->bytes() == 0);
  }
}

}  // namespace parley::actors
