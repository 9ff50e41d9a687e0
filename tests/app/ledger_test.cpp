#include "app/ledger.hpp"

#include "app/machine.hpp"
#include "tests/support/temp_dir.hpp"

#include <doctest/doctest.h>

using namespace parley;
using namespace parley::app;

namespace {

constexpr std::uint64_t mib = 1024 * 1024;
constexpr std::uint64_t gib = 1024 * mib;

machine_facts machine_with(std::uint64_t memory, std::uint64_t descriptors = 20'000) {
  return {4, descriptors, memory, "the machine"};
}

}  // namespace

TEST_SUITE("DESIGN I7 the memory ledger") {
  TEST_CASE("the sum is that of its rows, and each bound moves it") {
    const config c;
    const auto l = memory_ledger(c, machine_with(16 * gib));
    std::uint64_t sum = 0;
    for (const auto& row : l.rows) sum += row.bytes;
    CHECK(l.total_bytes == sum);

    auto more = c;
    more.limits.ws_send_buffer_total += gib;
    CHECK(memory_ledger(more, machine_with(16 * gib)).total_bytes == l.total_bytes + gib);
    more = c;
    more.limits.http_body_total += gib;
    CHECK(memory_ledger(more, machine_with(16 * gib)).total_bytes == l.total_bytes + gib);
    more = c;
    more.reader_threads += 1;
    CHECK(memory_ledger(more, machine_with(16 * gib)).total_bytes > l.total_bytes);
    more = c;
    more.io_threads = 16;
    CHECK(memory_ledger(more, machine_with(16 * gib)).total_bytes > l.total_bytes);
  }

  TEST_CASE("without a budget for all, every connection may use its own") {
    config c;
    c.limits.ws_max_connections = 1000;
    const auto with_budget = memory_ledger(c, machine_with(16 * gib)).total_bytes;
    c.limits.ws_send_buffer_total = 0;
    const auto without = memory_ledger(c, machine_with(16 * gib)).total_bytes;
    CHECK(without == with_budget - 256 * mib + 1000 * c.limits.ws_send_buffer);
  }

  TEST_CASE("connections are what is configured, else what descriptors and memory allow") {
    config c;
    CHECK(connection_capacity(c, machine_with(16 * gib, 20'000)) == 18'000);
    CHECK(connection_capacity(c, machine_with(16 * gib, 1024)) == 922);
    CHECK(connection_capacity(c, machine_with(16 * gib, 10)) == 1);
    const auto small = connection_capacity(c, machine_with(gib, 1'000'000));
    CHECK(small < 100'000);
    CHECK(ledger_problem(memory_ledger(c, machine_with(gib, 1'000'000)), machine_with(gib, 1'000'000))
              .empty());
    c.limits.ws_max_connections = 5;
    CHECK(connection_capacity(c, machine_with(16 * gib)) == 5);
  }

  TEST_CASE("a start is refused when the worst case exceeds the memory, and says what to lower") {
    config c;
    CHECK(ledger_problem(memory_ledger(c, machine_with(2 * gib)), machine_with(2 * gib)).empty());
    const auto machine = machine_with(256 * mib);
    const auto problem = ledger_problem(memory_ledger(c, machine), machine);
    CHECK(problem.find("the machine has 256 MiB") != std::string::npos);
    CHECK(problem.find("ws_send_buffer_total") != std::string::npos);
    CHECK(print_ledger(memory_ledger(c, machine), machine).find("A start is refused") !=
          std::string::npos);
    c.limits.ws_max_connections = 10'000'000;
    CHECK_FALSE(
        ledger_problem(memory_ledger(c, machine_with(16 * gib)), machine_with(16 * gib)).empty());
  }

  TEST_CASE("memory is the least of the machine's and its cgroups', of either version") {
    const parley::tests::temp_dir dir;
    dir.write("proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\n");
    const auto proc = dir / "proc";
    const auto cgroups = dir / "cgroup";
    CHECK(usable_memory(proc, cgroups).bytes == 8 * gib);
    CHECK(usable_memory(proc, cgroups).whose == "the machine");

    dir.write("proc/self/cgroup", "0::/system.slice/parley.service\n");
    dir.write("cgroup/system.slice/parley.service/memory.max", "max\n");
    CHECK(usable_memory(proc, cgroups).bytes == 8 * gib);
    dir.write("cgroup/system.slice/memory.max", "4294967296\n");
    CHECK(usable_memory(proc, cgroups).bytes == 4 * gib);
    CHECK(usable_memory(proc, cgroups).whose == "the cgroup /system.slice");
    dir.write("cgroup/system.slice/parley.service/memory.max", "1073741824\n");
    CHECK(usable_memory(proc, cgroups).bytes == gib);

    dir.write("proc/self/cgroup", "4:memory:/box\n3:cpu,cpuacct:/box\n0::/\n");
    dir.write("cgroup/memory/box/memory.limit_in_bytes", "536870912\n");
    CHECK(usable_memory(proc, cgroups).bytes == 512 * mib);
    // In a container the path is the host's, and only the root is there.
    dir.write("proc/self/cgroup", "4:memory:/docker/abc\n0::/\n");
    dir.write("cgroup/memory/memory.limit_in_bytes", "268435456\n");
    CHECK(usable_memory(proc, cgroups).bytes == 256 * mib);
  }

  TEST_CASE("this machine has cores, memory and descriptors") {
    CHECK(usable_cores() >= 1);
    CHECK(usable_memory().bytes > 64 * mib);
    CHECK(raise_descriptor_limit() >= 256);
    config c;
    CHECK(io_thread_count(c, 1) == 1);
    CHECK(io_thread_count(c, 2) == 1);
    CHECK(io_thread_count(c, 8) == 7);
    c.io_threads = 3;
    CHECK(io_thread_count(c, 1) == 3);
  }
}
