// The same worlds as seeds_test.cpp, but the actors are CAF's, as in production. PARLEY_MODEL_OPERATIONS: how many things
// people do in all (default 100,000).

#include "tests/sim/world.hpp"
#include "tests/support/seeds.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

namespace parley::sim {

TEST_SUITE("SPEC 2 promises of the real actors") {
  TEST_CASE(
      "whatever people do, each connection is shown the log from its start on, across restarts") {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing changes the environment.
    const char* wanted = std::getenv("PARLEY_MODEL_OPERATIONS");
    const std::uint64_t operations = wanted == nullptr ? 100'000 : std::strtoull(wanted, nullptr, 10);
    const auto a_world = weather_of(0);
    const auto seeds =
        (operations + a_world.phases * a_world.actions - 1) / (a_world.phases * a_world.actions);
    std::uint64_t steps = 0;
    tests::for_each_seed(seeds, [&](std::uint64_t seed) {
      auto w = weather_of(seed);
      w.real_actors = true;
      w.room_dies = w.session_dies = 0;
      if (w.crash == 0) w.crash = 1;  // node restarts
      INFO("the weather: " << w.name);
      try {
        world one{seed, w};
        one.run();
        steps += one.steps();
      } catch (const violation& broken) {
        FAIL(std::string{broken.what()});
      }
    });
    const auto done = seeds * a_world.phases * a_world.actions;
    MESSAGE(done << " operations, " << steps << " steps");
  }
}

}  // namespace parley::sim
