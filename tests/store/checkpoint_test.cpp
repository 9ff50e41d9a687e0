// The WAL: moved in small pieces, started over past its limit, and what an error in it means.

#include "tests/store/fault_vfs.hpp"
#include "tests/store/store_fixture.hpp"

#include <sqlite3.h>

#include <thread>

using namespace parley;
using namespace parley::store;
using namespace parley::store::test;

namespace {

struct busy_room : store_fixture {
  void start() {
    open();
    tenant = make_tenant();
    room = make_room(tenant, {"ann"_user}).no;
  }
  /// About 13 pages of WAL.
  void write_some() {
    commit({message(tenant, room, ++seq, "ann", std::string(40'000, 'x'))});
    time.advance(std::chrono::milliseconds{10});
  }
  write_result<void> maintain() { return writes().maintain(time.mono(), time.now()); }
  std::int64_t wal_pages() { return writes().status().wal_pages; }

  tenant_no tenant;
  room_no room;
  std::int64_t seq = 0;
};

struct busy_room_on_disk : has_disk, busy_room {
  busy_room_on_disk() {
    options.vfs = disk.name();
    options.checkpoint_pages = 100;
    options.wal_limit_pages = 300;
  }
  std::string file() { return options.file.string(); }
};

}  // namespace

TEST_SUITE("SPEC 8 checkpoints") {
  TEST_CASE_FIXTURE(busy_room_on_disk,
                    "nothing is moved before a piece is due, and then all of it") {
    start();
    const std::int64_t before = disk.count(fault_op::sync);
    while (wal_pages() < options.checkpoint_pages - 20) write_some();
    const std::size_t size = disk.contents(file()).size();
    REQUIRE(maintain());
    CHECK(disk.contents(file()).size() == size);
    while (wal_pages() < options.checkpoint_pages) write_some();
    REQUIRE(maintain());
    CHECK(disk.contents(file()).size() > size);
    CHECK(disk.count(fault_op::sync) > before);
    CHECK(writes().status().database_pages * 4096 ==
          static_cast<std::int64_t>(disk.contents(file()).size()));
  }

  TEST_CASE_FIXTURE(busy_room_on_disk,
                    "without readers the WAL starts over by itself and stays small") {
    start();
    for (int i = 0; i < 100; ++i) {
      write_some();
      REQUIRE(maintain());
      CHECK(wal_pages() < options.wal_limit_pages);
    }
    check_clean();
  }

  TEST_CASE_FIXTURE(busy_room,
                    "a reader of another process lets the WAL grow, and never stops the writer") {
    options.checkpoint_pages = 100;
    options.wal_limit_pages = 300;
    start();
    write_some();
    sqlite3* other = nullptr;
    REQUIRE(sqlite3_open_v2(options.file.c_str(), &other, SQLITE_OPEN_READONLY, nullptr) ==
            SQLITE_OK);
    REQUIRE(sqlite3_exec(other, "BEGIN; SELECT count(*) FROM messages", nullptr, nullptr, nullptr) ==
            SQLITE_OK);
    while (wal_pages() < 2 * options.wal_limit_pages) {
      write_some();
      REQUIRE(maintain());
    }
    REQUIRE(sqlite3_exec(other, "COMMIT", nullptr, nullptr, nullptr) == SQLITE_OK);
    time.advance(std::chrono::seconds{1});
    REQUIRE(maintain());
    CHECK(wal_pages() == 0);
    write_some();
    CHECK(wal_pages() < 50);
    sqlite3_close(other);
    check_clean();
  }

  TEST_CASE_FIXTURE(busy_room,
                    "readers that are always there do not keep the WAL from starting over") {
    options.checkpoint_pages = 100;
    options.wal_limit_pages = 300;
    start();
    std::atomic<bool> stop{false};
    std::atomic<int> failed{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t) {
      auto r = db->new_reader();
      REQUIRE(r);
      threads.emplace_back([&, mine = std::move(*r)] {
        while (!stop) failed += mine->history(room, {}, 20, false, 0) ? 0 : 1;
      });
    }
    std::int64_t started_over = 0;
    for (int i = 0; i < 300; ++i) {
      const std::int64_t before = wal_pages();
      write_some();
      REQUIRE(maintain());
      started_over += wal_pages() < before ? 1 : 0;
    }
    stop = true;
    for (auto& t : threads) t.join();
    CHECK(failed == 0);
    CHECK(started_over > 3);
    CHECK(wal_pages() < 3 * options.wal_limit_pages);
    check_clean();
  }

  TEST_CASE_FIXTURE(busy_room_on_disk, "the WAL keeps its size while serving") {
    start();
    while (wal_pages() < 150) write_some();
    const std::size_t size = disk.contents(file() + "-wal").size();
    for (int i = 0; i < 50; ++i) {
      write_some();
      REQUIRE(maintain());
      CHECK(disk.contents(file() + "-wal").size() >= size);
    }
    close();
    CHECK(disk.contents(file() + "-wal").empty());
  }
}

TEST_SUITE("I10 an I/O error in a checkpoint is the end") {
  TEST_CASE_FIXTURE(busy_room_on_disk,
                    "after it nothing is accepted, and the next start has all that was") {
    for (const fault_op op : {fault_op::write, fault_op::sync}) {
      start();
      while (wal_pages() < options.checkpoint_pages) write_some();
      disk.fail({.ops = static_cast<unsigned>(op)});
      const auto failed = maintain();
      disk.heal();
      REQUIRE_FALSE(failed);
      CHECK(failed.error().scope == failure_scope::fatal);
      for (int i = 0; i < 2; ++i) {
        const auto refused = writes().begin();
        REQUIRE_FALSE(refused);
        CHECK(refused.error().scope == failure_scope::fatal);
        CHECK_FALSE(maintain());
        CHECK_FALSE(writes().probe());
        CHECK_FALSE(writes().close_clean());
        CHECK(writes().open_room(tenant, room_id{}, time.now()).error().scope ==
              failure_scope::fatal);
      }
      crash();
      disk.power_loss(fault_vfs::loss::all, 1);
      open();
      CHECK_FALSE(db->report().history_may_be_lost);
      CHECK(log_of(room).size() == static_cast<std::size_t>(seq));
      check_clean();
      crash();
      disk.remove(file());
      disk.remove(file() + "-wal");
      disk.remove(file() + ".mark");
      seq = 0;
    }
  }
}
