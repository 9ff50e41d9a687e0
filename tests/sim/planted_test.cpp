// Planted defects that races bring to light: the simulation, run again with the defect in it, must break a promise.

#include "tests/support/process.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>

namespace parley::sim {
namespace {

/// The seeds that the defect is given to show itself: more than any of them has needed.
constexpr const char* seeds_with_a_defect = "400";

tests::finished simulation_with(const std::string& defect) {
  return tests::run({.command = {std::filesystem::read_symlink("/proc/self/exe").string(),
                                 "--source-file=*seeds_test.cpp"},
                     .env = {{"PARLEY_BREAK", defect}, {"PARLEY_SEEDS", seeds_with_a_defect}}},
                    std::chrono::seconds{120});
}

}  // namespace

TEST_SUITE("DESIGN 10 planted defects are caught") {
  TEST_CASE("without a defect the same seeds keep every promise") {
    CHECK(simulation_with("none").status == 0);
  }
  TEST_CASE("ack_before_commit: somebody is told «accepted» before the commit (I1)") {
    const auto broken = simulation_with("ack_before_commit");
    CHECK(broken.status != 0);
    CHECK_MESSAGE(broken.out.find("I1") != std::string::npos, broken.out);
  }
  TEST_CASE("no_generation: an append of a lost generation is stored (I2, I13)") {
    const auto broken = simulation_with("no_generation");
    CHECK(broken.status != 0);
    MESSAGE(broken.out.substr(0, 600) << broken.err.substr(0, 600));
  }
  TEST_CASE("skip_head_recheck: a publish that passed while a page was read is never sent (I3)") {
    const auto broken = simulation_with("skip_head_recheck");
    CHECK(broken.status != 0);
    MESSAGE(broken.out.substr(0, 600) << broken.err.substr(0, 600));
  }
  TEST_CASE("unbounded_outbound: entries are queued for a reader that does not read (SPEC 2.6)") {
    const auto broken = simulation_with("unbounded_outbound");
    CHECK(broken.status != 0);
    CHECK_MESSAGE(broken.out.find("SPEC 2.6") != std::string::npos, broken.out);
  }
  TEST_CASE("trim_under_due: what the ring has dropped is skipped instead of read (I3)") {
    const auto broken = simulation_with("trim_under_due");
    CHECK(broken.status != 0);
    CHECK_MESSAGE((broken.out.find("I3") != std::string::npos ||
                   broken.out.find("SPEC 2.6 a member's connection was not sent everything") !=
                       std::string::npos),
                  broken.out);
  }
  TEST_CASE("membership_after_publish: who enters or leaves is served as if not (SPEC 1, 5)") {
    const auto broken = simulation_with("membership_after_publish");
    CHECK(broken.status != 0);
    CHECK_MESSAGE((broken.out.find("SPEC 1 ") != std::string::npos ||
                   broken.out.find("SPEC 5 a member's room is not live") != std::string::npos),
                  broken.out);
  }
  TEST_CASE("cursor_off_by_one: the first entry after one's cursor is never sent (I3)") {
    const auto broken = simulation_with("cursor_off_by_one");
    CHECK(broken.status != 0);
    CHECK_MESSAGE(broken.out.find("I3") != std::string::npos, broken.out);
  }
  TEST_CASE("stale_page_after_delete: a page shows what was deleted while it was read (SPEC 1)") {
    const auto broken = simulation_with("stale_page_after_delete");
    CHECK(broken.status != 0);
    CHECK_MESSAGE(
        broken.out.find("SPEC 1 an entry shows what an edit or a delete has changed since") !=
            std::string::npos,
        broken.out.substr(0, 600));
  }
  TEST_CASE("subscribe_before_register: what passed while the room list was read is lost (I3)") {
    const auto broken = simulation_with("subscribe_before_register");
    CHECK(broken.status != 0);
    CHECK_MESSAGE(broken.out.find("bad_alloc") == std::string::npos, broken.out);
    MESSAGE(broken.out.substr(0, 600) << broken.err.substr(0, 600));
  }
}

}  // namespace parley::sim
