// `kill -9` under load, again and again. PARLEY_CRASH_CYCLES: how often (default 8), PARLEY_SEED: when.

#include "tests/promises/crash_run.hpp"
#include "tests/support/seeds.hpp"

#include <doctest/doctest.h>

using namespace parley::tests;

namespace {

void survive_crashes(const crash_options& options) {
  const auto report = run_crashes(options);
  MESSAGE(report.summary());
  CHECK(report.kills == options.cycles);
  CHECK(report.accepted > 0);
  CHECK(report.acks > 0);
  CHECK(report.lost == 0);
  CHECK(report.doubled_seqs == 0);
  CHECK(report.gaps == 0);
  CHECK(report.stored_twice == 0);
  CHECK(report.unstored == 0);
  CHECK(report.shown_wrong == 0);
  CHECK(report.cursors_lost == 0);
  CHECK(report.sync_failed == 0);
  CHECK(report.unclean == 0);
  CHECK(report.is_good());
}

}  // namespace

TEST_SUITE(
    "SPEC 2.1 accepted means durable · SPEC 2.2 one order · SPEC 2.3 exactly once · SPEC 2.4 safe "
    "retry") {
  TEST_CASE("kill -9 under load loses nothing, doubles nothing, leaves no gap") {
    const auto cycles = from_environment("PARLEY_CRASH_CYCLES", 8);
    for (const int io_threads : {1, 3}) {
      CAPTURE(io_threads);
      survive_crashes({.cycles = cycles, .io_threads = io_threads, .seed = only_seed().value_or(1)});
    }
  }

  TEST_CASE("with durability=normal a kill of the process costs nothing either") {
    survive_crashes({.cycles = from_environment("PARLEY_CRASH_CYCLES", 8) / 4,
                     .io_threads = 1,
                     .seed = only_seed().value_or(2),
                     .config = {{"durability", "normal"}}});
  }
}
