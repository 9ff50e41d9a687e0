// A measurement, not a check: `test_store --no-skip -tc="append rate*"`, with TMPDIR on the disk in question.
// PARLEY_RATE_ROWS, _ROOMS, _BATCH, _KEYS=1, _NORMAL=1 change what is measured.

#include "tests/store/store_fixture.hpp"

#include <time.h>

#include <algorithm>
#include <cstdio>

using namespace parley;
using namespace parley::store;
using namespace parley::store::test;

namespace {

std::size_t setting(const char* name, std::size_t fallback) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : fallback;
}

double milliseconds(std::chrono::steady_clock::duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

/// Of this thread, user and system: what remains comparable on a machine that others use, too.
double cpu_ms() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) / 1e6;
}

}  // namespace

TEST_CASE("append rate (a measurement, not a check)" * doctest::skip()) {
  const std::size_t rows = setting("PARLEY_RATE_ROWS", 500'000);
  const std::size_t rooms = setting("PARLEY_RATE_ROOMS", 1000);
  const std::size_t batch = setting("PARLEY_RATE_BATCH", 256);
  const bool keys = setting("PARLEY_RATE_KEYS", 0) != 0;
  temp_dir dir;
  sqlite_options options;
  options.file = dir / "parley.db";
  options.checkpoint_pages = static_cast<std::int64_t>(setting("PARLEY_RATE_CHECKPOINT", 1000));
  options.wal_limit_pages = static_cast<std::int64_t>(setting("PARLEY_RATE_WAL_LIMIT", 16384));
  if (setting("PARLEY_RATE_NORMAL", 0) != 0) options.durability = durability::normal;
  const parley::clock& now = system_clock_source();
  auto db = open_sqlite(options, now, system_random());
  REQUIRE(db);
  writer& w = (*db)->writer();
  uuid7_generator ids{now, system_random()};

  REQUIRE(w.begin());
  const auto tenant = w.create_tenant({.id = tenant_id{"tenant_1"},
                                       .name = "",
                                       .config = "{}",
                                       .created_at = now.now(),
                                       .credentials = {}});
  REQUIRE(tenant);
  std::vector<append_row> next(rooms);
  for (std::size_t i = 0; i < rooms; ++i) {
    const user_id user{"user-" + std::to_string(i)};
    new_room r;
    r.tenant = *tenant;
    r.id = room_id{ids.next()};
    r.created_at = now.now();
    r.members = {{user, member_role::owner}};
    const auto made = w.create_room(r);
    REQUIRE(made);
    message_body body;
    body.sender = user;
    body.content = std::string(60, 'x');
    next[i].tenant = *tenant;
    next[i].room = made->no;
    next[i].e.actor = user;
    next[i].e.body = std::move(body);
    if (keys) next[i].key = send_key{user, {}, keyed_call::send, {}};
  }
  REQUIRE(w.commit());

  std::vector<double> commit_ms;
  double append_ms = 0;
  double maintain_ms = 0;
  std::size_t done = 0;
  std::uint64_t random = 12345;
  const double cpu_start = cpu_ms();
  const auto start = std::chrono::steady_clock::now();
  while (done < rows) {
    const auto a = std::chrono::steady_clock::now();
    if (!w.begin()) FAIL("begin");
    for (std::size_t i = 0; i < batch; ++i) {
      random = random * 6364136223846793005ULL + 1442695040888963407ULL;
      append_row& row = next[(random >> 33U) % rooms];
      ++row.e.seq;
      row.e.message = message_id{ids.next()};
      row.e.created_at = now.now();
      if (row.key) std::memcpy(row.key->key.bytes.data(), &(random *= 3), 8);
      if (!w.append(row)) FAIL("append");
    }
    const auto b = std::chrono::steady_clock::now();
    if (!w.commit()) FAIL("commit");
    const auto c = std::chrono::steady_clock::now();
    if (!w.maintain(now.mono(), now.now())) FAIL("maintain");
    const auto d = std::chrono::steady_clock::now();
    append_ms += milliseconds(b - a);
    commit_ms.push_back(milliseconds(c - b));
    maintain_ms += milliseconds(d - c);
    done += batch;
  }
  const double all = milliseconds(std::chrono::steady_clock::now() - start);
  const double cpu = cpu_ms() - cpu_start;
  std::sort(commit_ms.begin(), commit_ms.end());
  double commits = 0;
  for (double ms : commit_ms) commits += ms;
  const auto status = w.status();
  std::printf(
      "%zu rooms, %zu a commit: %.0f rows/s, %.1f us of CPU a row; of the time: append %.0f %%, "
      "commit %.0f %%, maintain %.0f %%; "
      "commit p50 %.2f ms, p99 %.2f ms, max %.1f ms; %.0f B/row, wal %ld pages\n",
      rooms, batch, 1000.0 * static_cast<double>(done) / all, 1000 * cpu / static_cast<double>(done),
      100 * append_ms / all, 100 * commits / all, 100 * maintain_ms / all,
      commit_ms[commit_ms.size() / 2], commit_ms[commit_ms.size() * 99 / 100], commit_ms.back(),
      4096.0 * static_cast<double>(status.database_pages) / static_cast<double>(done),
      static_cast<long>(status.wal_pages));
  REQUIRE(w.close_clean());
  db->reset();
  const auto report = verify_sqlite(options.file);
  REQUIRE(report);
  CHECK(report->problems.empty());
}
