// The high-water mark: has anything been lost that was accepted?

#include "store/high_water_mark.hpp"

#include "tests/store/fault_vfs.hpp"
#include "tests/store/store_fixture.hpp"

using namespace parley;
using namespace parley::store;
using namespace parley::store::test;

namespace {

water_mark a_mark(std::int64_t commit = 7) {
  water_mark m;
  m.database.bytes.fill(1);
  m.epoch = epoch_id{"e1"};
  m.commit = commit_no{commit};
  m.hash.fill(static_cast<std::uint8_t>(commit));
  m.last_id = log_id{100};
  m.boot_id = "boot-1";
  m.written_at = from_unix_ms(1234567890123);
  return m;
}

struct on_disk : has_disk, store_fixture {
  on_disk() { options.vfs = disk.name(); }
  [[nodiscard]] std::string path(const char* suffix) const {
    return options.file.string() + suffix;
  }
  /// The bytes of database and WAL, as somebody would copy them behind our back.
  std::pair<std::string, std::string> copy() {
    return {disk.contents(path("")), disk.exists(path("-wal")) ? disk.contents(path("-wal")) : ""};
  }
  void restore(const std::pair<std::string, std::string>& files) {
    disk.set_contents(path(""), files.first);
    disk.set_contents(path("-wal"), files.second);
  }
};

}  // namespace

TEST_SUITE("I11 the high-water mark") {
  TEST_CASE("a mark is read as it was written, and the newest of two counts") {
    fault_vfs disk;
    {
      high_water_mark file{"/m", disk.name()};
      CHECK_FALSE(file.found());
      REQUIRE(file.write(a_mark(1)));
    }
    for (std::int64_t commit = 2; commit < 7; ++commit) {
      high_water_mark file{"/m", disk.name()};
      REQUIRE(file.found());
      CHECK(*file.found() == a_mark(commit - 1));
      auto next = a_mark(commit);
      next.clean = commit % 2 == 0;
      next.normal = commit % 3 == 0;
      REQUIRE(file.write(next));
      high_water_mark again{"/m", disk.name()};
      CHECK(*again.found() == next);
      REQUIRE(file.write(a_mark(commit)));
    }
  }

  TEST_CASE("whatever byte of the newest slot is damaged, the one before counts") {
    for (std::int64_t offset = 0; offset < 512; ++offset) {
      fault_vfs disk;
      {
        high_water_mark file{"/m", disk.name()};
        REQUIRE(file.write(a_mark(1)));  // sequence 1: the slot at 4096
        REQUIRE(file.write(a_mark(2)));
      }
      std::string byte = disk.contents("/m").substr(static_cast<std::size_t>(offset), 1);
      byte[0] = static_cast<char>(byte[0] ^ 0x40);
      disk.damage("/m", offset, byte);
      high_water_mark file{"/m", disk.name()};
      REQUIRE(file.found());
      CHECK(file.found()->commit == commit_no{1});
    }
  }

  TEST_CASE("a write that fails, or is torn by power loss, leaves the mark before") {
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
      fault_vfs disk;
      {
        high_water_mark file{"/m", disk.name()};
        REQUIRE(file.write(a_mark(1)));
        REQUIRE(file.write(a_mark(2)));
        disk.fail({.ops = seed % 2 == 0 ? static_cast<unsigned>(fault_op::write)
                                        : static_cast<unsigned>(fault_op::sync)});
        CHECK_FALSE(file.write(a_mark(3)));
        disk.heal();
      }
      disk.power_loss(fault_vfs::loss::some, seed);
      high_water_mark file{"/m", disk.name()};
      REQUIRE(file.found());
      const auto commit = file.found()->commit.value;
      CHECK((commit == 2 || commit == 3));
      CHECK(*file.found() == a_mark(commit));
    }
  }

  TEST_CASE("what a start concludes from mark and database") {
    const found_history same{a_mark().database, commit_no{7}, a_mark().hash};
    const auto told = [](std::optional<water_mark> m, const found_history& h,
                         const char* boot = "boot-1") { return doubt(m, h, boot).has_value(); };
    CHECK_FALSE(told(a_mark(), same));
    CHECK_FALSE(told(a_mark(), {same.database, commit_no{9},
                                a_mark().hash}));  // the mark trails, by a second at most
    CHECK_FALSE(told(a_mark(), {same.database, commit_no{9}, std::nullopt}));  // pruned
    CHECK(told(a_mark(), {same.database, commit_no{6}, std::nullopt}));        // the end is missing
    CHECK(told(a_mark(), {same.database, commit_no{0}, std::nullopt}));
    CHECK(told(a_mark(), {same.database, commit_no{7}, std::nullopt}));
    CHECK(told(a_mark(), {same.database, commit_no{7}, sha256_digest{}}));  // another history
    CHECK(told(a_mark(), {same.database, commit_no{9}, sha256_digest{}}));
    CHECK(told(a_mark(), {uuid{}, commit_no{7}, a_mark().hash}));           // another file
    CHECK(told(std::nullopt, same));                                        // no mark
    CHECK_FALSE(told(std::nullopt, {uuid{}, commit_no{0}, std::nullopt}));  // nothing to lose
    auto normal = a_mark();
    normal.normal = true;
    CHECK_FALSE(told(normal, same));  // the process died, the machine did not
    CHECK(told(normal, same, "boot-2"));
    normal.clean = true;
    CHECK_FALSE(told(normal, same, "boot-2"));
    CHECK_FALSE(told(a_mark(), same, "boot-2"));  // FULL: power loss costs nothing
  }

  TEST_CASE_FIXTURE(on_disk, "a database whose end was lost gets a new epoch, once") {
    open();
    const tenant_no tenant = make_tenant();
    const auto before = copy();
    const room_no room = make_room(tenant, {"ann"_user}).no;
    commit({message(tenant, room, 1, "ann", "x")});
    REQUIRE(writes().maintain(time.mono(), time.now()));
    const epoch_id old = db->epoch();
    crash();
    restore(before);
    open();
    CHECK(db->report().history_may_be_lost);
    CHECK_FALSE(db->report().why.empty());
    CHECK(db->epoch() != old);
    const epoch_id fresh = db->epoch();
    crash();
    open();
    CHECK_FALSE(db->report().history_may_be_lost);
    CHECK(db->epoch() == fresh);
    check_clean();
  }

  TEST_CASE_FIXTURE(on_disk, "log ids of a lost end are not given again") {
    open();
    const tenant_no tenant = make_tenant();
    const room_no room = make_room(tenant, {"ann"_user}).no;
    const auto before = copy();
    REQUIRE(writes().begin());
    const auto lost = writes().append(message(tenant, room, 1, "ann", "x"));
    REQUIRE(lost);
    REQUIRE(writes().commit());
    REQUIRE(writes().maintain(time.mono(), time.now()));
    crash();
    restore(before);
    open();
    REQUIRE(writes().begin());
    const auto next = writes().append(message(tenant, room, 1, "ann", "y"));
    REQUIRE(next);
    CHECK(*next > *lost);
    REQUIRE(writes().commit());
    check_clean();
  }

  TEST_CASE_FIXTURE(
      on_disk,
      "a mark that is missing beside a history is a doubt; beside an empty database it is none") {
    open();
    crash();
    disk.remove(path(".mark"));
    open();
    CHECK_FALSE(db->report().history_may_be_lost);
    make_tenant();
    const epoch_id old = db->epoch();
    crash();
    disk.remove(path(".mark"));
    open();
    CHECK(db->report().history_may_be_lost);
    CHECK(db->epoch() != old);
  }

  TEST_CASE_FIXTURE(on_disk, "another database in the place of ours is a doubt") {
    store_fixture other{99};
    other.options.vfs = disk.name();
    other.open();
    other.make_tenant();
    other.close();
    open();
    make_tenant();
    close();
    disk.set_contents(path(""), disk.contents(other.options.file.string()));
    disk.set_contents(path("-wal"), "");
    open();
    CHECK(db->report().history_may_be_lost);
  }

  TEST_CASE_FIXTURE(on_disk, "the mark is written at most once a second, and at a clean end") {
    open();
    const tenant_no tenant = make_tenant();
    REQUIRE(writes().maintain(time.mono(), time.now()));
    const auto marked = [&] { return high_water_mark{path(".mark"), disk.name()}.found(); };
    CHECK(marked()->commit == commit_no{1});
    const room_no room = make_room(tenant, {"ann"_user}).no;
    for (std::int64_t seq = 1; seq <= 5; ++seq) {
      commit({message(tenant, room, seq, "ann", "x")});
      time.advance(std::chrono::milliseconds{199});
      REQUIRE(writes().maintain(time.mono(), time.now()));
    }
    CHECK(marked()->commit == commit_no{1});
    time.advance(std::chrono::milliseconds{10});
    REQUIRE(writes().maintain(time.mono(), time.now()));
    CHECK(marked()->commit == writes().status().last_commit);
    CHECK_FALSE(marked()->clean);
    commit({message(tenant, room, 6, "ann", "x")});
    close();
    CHECK(marked()->clean);
    CHECK(marked()->commit == commit_no{8});
    open();
    CHECK_FALSE(marked()->clean);
  }

  TEST_CASE_FIXTURE(on_disk,
                    "durability normal: a tail lost with the power is told, a crash of the process "
                    "costs nothing") {
    options.durability = durability::normal;
    open();
    const tenant_no tenant = make_tenant();
    const room_no room = make_room(tenant, {"ann"_user}).no;
    commit({message(tenant, room, 1, "ann", "x")});
    const epoch_id epoch = db->epoch();
    crash();
    open();
    CHECK_FALSE(db->report().history_may_be_lost);
    CHECK(log_of(room).size() == 1);
    CHECK(db->epoch() == epoch);
    commit({message(tenant, room, 2, "ann", "x")});
    crash();
    disk.power_loss(fault_vfs::loss::all, 1);
    options.boot_id = "boot-2";
    open();
    CHECK(db->report().history_may_be_lost);
    CHECK(db->epoch() != epoch);
    check_clean();
  }

  TEST_CASE_FIXTURE(on_disk, "durability normal: after a clean end, power loss costs nothing") {
    options.durability = durability::normal;
    open();
    const tenant_no tenant = make_tenant();
    const room_no room = make_room(tenant, {"ann"_user}).no;
    commit({message(tenant, room, 1, "ann", "x")});
    close();
    disk.power_loss(fault_vfs::loss::all, 1);
    options.boot_id = "boot-2";
    open();
    CHECK_FALSE(db->report().history_may_be_lost);
    CHECK(log_of(room).size() == 1);
    check_clean();
  }
}
