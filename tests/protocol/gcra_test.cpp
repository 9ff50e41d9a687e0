#include "protocol/gcra.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

using namespace parley;
using namespace std::chrono_literals;

TEST_CASE(
    "SPEC 4 a rate: a burst at once, then one an interval, and never more than both together") {
  const gcra limit{20, 60};
  gcra_state state;
  mono_time now{1h};
  for (int i = 0; i < 60; ++i) CHECK(limit.admit(state, now));
  CHECK_FALSE(limit.admit(state, now));
  CHECK(limit.wait(state, now) == 50ms);
  now += 49ms;
  CHECK_FALSE(limit.admit(state, now));
  now += 1ms;
  CHECK(limit.admit(state, now));  // what was refused did not count
  CHECK_FALSE(limit.admit(state, now));
  now += 3s;
  int admitted = 0;
  while (limit.admit(state, now)) ++admitted;
  CHECK(admitted == 60);  // an idle time is worth one burst, no more
}

TEST_CASE("a rate of 0 is none, and a burst of 0 is 1") {
  const gcra none{0, 0};
  gcra_state state;
  for (int i = 0; i < 1000; ++i) CHECK(none.admit(state, mono_time{}));
  CHECK(none.wait(state, mono_time{}) == 0ns);
  const gcra one{1, 0};
  gcra_state other;
  CHECK(one.admit(other, mono_time{}));
  CHECK_FALSE(one.admit(other, mono_time{}));
}

TEST_CASE("in any window of t seconds at most burst + rate * t are admitted") {
  std::mt19937_64 chance{7};
  const gcra limit{10, 5};
  gcra_state state;
  std::vector<mono_time> admitted;
  mono_time now{};
  for (int i = 0; i < 20000; ++i) {
    now += std::chrono::milliseconds{chance() % 40};
    if (limit.admit(state, now)) admitted.push_back(now);
  }
  CHECK(admitted.size() > 3000);
  for (std::size_t from = 0; from < admitted.size(); ++from) {
    const auto to = std::min(admitted.size() - 1, from + 50);
    const auto seconds = std::chrono::duration<double>(admitted[to] - admitted[from]).count();
    CHECK(static_cast<double>(to - from + 1) <= 5 + 10 * seconds + 1e-6);
  }
}

TEST_CASE(
    "of several at once as many pass as single ones would, and what comes to nothing is given "
    "back") {
  const gcra limit{10, 5};
  gcra_state state;
  const mono_time now{1h};
  CHECK(limit.remaining(state, now) == 5);
  CHECK(limit.admit_up_to(state, 3, now) == 3);
  CHECK(limit.remaining(state, now) == 2);
  CHECK(limit.refill(state, now) == 300ms);
  CHECK(limit.admit_up_to(state, 3, now) == 2);
  CHECK(limit.admit_up_to(state, 3, now) == 0);
  CHECK(limit.wait(state, now) == 100ms);
  CHECK(limit.admit_up_to(state, 9, now + 250ms) == 2);
  limit.give_back(state, 2);
  CHECK(limit.remaining(state, now + 250ms) == 2);
  limit.give_back(state, 5);  // never more than a burst
  CHECK(limit.remaining(state, now + 250ms) == 5);
  CHECK(limit.admit_up_to(state, 9, now + 1h) == 5);
}

TEST_CASE("a rate may be one a minute") {
  const gcra limit{10, 1min, 10};
  gcra_state state;
  mono_time now{1h};
  CHECK(limit.admit_up_to(state, 11, now) == 10);
  CHECK(limit.wait(state, now) == 6s);
  CHECK_FALSE(limit.admit(state, now + 6s - 1ns));
  CHECK(limit.admit(state, now + 6s));
}

TEST_CASE("a shared state admits to all threads together what it would admit to one") {
  const gcra limit{1000, 5000};
  shared_gcra_state state{0};
  const mono_time now{1h};
  std::atomic<std::uint32_t> admitted{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 1000; ++i) {
          admitted += limit.admit_up_to(state, 2, now);
          if (i % 10 == 0 && limit.admit(state, now)) limit.give_back(state, 1);
        }
      });
    }
  }
  // A single one that was held for a moment may have left a pair half its room.
  CHECK(admitted + limit.remaining(gcra::state_of(state), now) == 5000);
  const gcra none{0, 1};
  CHECK(none.admit_up_to(state, 7, now) == 7);
}
