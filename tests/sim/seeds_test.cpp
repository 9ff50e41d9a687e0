#include "tests/support/seeds.hpp"

#include "tests/sim/world.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

namespace parley::sim {

TEST_SUITE("SPEC 2 promises over seeds") {
  TEST_CASE("whatever the network, the disk and the people do, no promise is broken") {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing changes the environment.
    const char* wanted = std::getenv("PARLEY_SEEDS");
    const std::uint64_t seeds = wanted == nullptr ? 2000 : std::strtoull(wanted, nullptr, 10);
    tests::for_each_seed(seeds, [](std::uint64_t seed) {
      const auto w = weather_of(seed);
      INFO("the weather: " << w.name);
      try {
        world{seed, w}.run();
      } catch (const violation& broken) {
        FAIL(std::string{broken.what()});
      }
    });
  }
}

}  // namespace parley::sim
