// A disk that fails at the N-th operation, for every N until nothing fails any more: whatever a commit acknowledged is
// there afterwards, nothing that was refused is, and no entry is half there.

#include "tests/store/fault_vfs.hpp"
#include "tests/store/store_fixture.hpp"

#include <algorithm>
#include <map>
#include <set>

using namespace parley;
using namespace parley::store;
using namespace parley::store::test;

namespace {

/// What became of a transaction, as its caller was told.
enum class fate : std::uint8_t { acknowledged, refused, unknown };

struct told_row {
  room_id room;
  append_row row;
};
struct told_batch {
  fate what = fate::refused;
  std::vector<told_row> rows;
};

/// A node's life on a failing disk: makes a tenant and two rooms, writes batches with keys, edits and members, maintains
/// after each, tries again what was refused, and stops at what is fatal. Remembers what it was told.
class life : public has_disk, public store_fixture {
 public:
  life() {
    options.vfs = disk.name();
    options.checkpoint_pages = 12;
    options.wal_limit_pages = 40;
  }

  void run() {
    start();
    stop();
  }

  void start() {
    auto opened = open_sqlite(options, time, random);
    if (!opened) return;
    db = std::move(*opened);
    if (!make_rooms()) return;
    for (int batch = 0; batch < 8; ++batch) {
      for (int attempt = 0; attempt < 3; ++attempt) {
        const auto done = write_batch(batch);
        if (done == fate::unknown) return;
        time.advance(std::chrono::milliseconds{300});
        auto maintained = writes().maintain(time.mono(), time.now());
        if (!maintained && maintained.error().scope == failure_scope::fatal) return;
        if (!maintained) CHECK(maintained.error().scope == failure_scope::full);
        if (done == fate::acknowledged) break;
        if (auto space = writes().probe(); !space && space.error().scope == failure_scope::fatal)
          return;
      }
    }
    clean_end = writes().close_clean().has_value();
  }
  void stop() { crash(); }

  /// Opens what is left and compares it with what was told.
  void check_what_is_left() {
    disk.heal();
    room_nos.clear();
    open();
    if (options.durability == durability::full) {
      CHECK_FALSE(db->report().history_may_be_lost);
    }
    if (db->report().history_may_be_lost) {
      CHECK_FALSE(db->report().why.empty());
    }
    const bool tail_may_be_gone = db->report().history_may_be_lost;

    std::map<room_id, std::map<std::int64_t, entry>> logs;
    for (const room_id& id : room_ids) {
      auto view = reads->room(tenant, id, std::nullopt);
      REQUIRE(view);
      if (!*view) continue;
      room_nos[id] = (*view)->no;
      auto page = reads->page((*view)->no, room_seq{0}, room_seq{INT64_MAX}, 100000, SIZE_MAX);
      REQUIRE(page);
      std::int64_t expected = 0;
      for (auto& e : page->entries) {
        REQUIRE(e.seq.value == ++expected);
        logs[id].emplace(e.seq.value, std::move(e));
      }
    }
    if (rooms_acknowledged && !tail_may_be_gone) CHECK(room_nos.size() == room_ids.size());

    // Each entry that is there was told, or is in doubt; each batch is there as a whole, or not at all.
    std::set<std::pair<room_id, std::int64_t>> explained;
    for (const told_batch& b : told) {
      std::size_t there = 0;
      for (const told_row& t : b.rows) there += is_there(logs, t) ? 1 : 0;
      if (b.what == fate::acknowledged && !tail_may_be_gone) CHECK(there == b.rows.size());
      if (b.what == fate::refused) CHECK(there == 0);
      CHECK((there == 0 || there == b.rows.size()));
      if (there == 0) continue;
      for (const told_row& t : b.rows) explained.emplace(t.room, t.row.e.seq.value);
    }
    for (const auto& [room, entries] : logs) {
      for (const auto& [seq, e] : entries) {
        INFO("room " << room.id.to_string() << " seq " << seq);
        CHECK(explained.contains({room, seq}));
      }
    }
    check_clean();
    // And life goes on.
    if (!room_nos.empty()) {
      const auto& [id, no] = *room_nos.begin();
      const auto next = static_cast<std::int64_t>(logs[id].size()) + 1;
      commit({message(tenant, no, next, "ann", "after all")});
      time.advance(std::chrono::seconds{2});
      CHECK(writes().maintain(time.mono(), time.now()));
    }
    close();
    check_clean();
  }

  std::vector<told_batch> told;
  bool clean_end = false;

 private:
  bool make_rooms() {
    if (!writes().begin()) return false;
    auto no = writes().create_tenant({.id = tenant_id{"tenant_1"},
                                      .name = "",
                                      .config = "{}",
                                      .created_at = time.now(),
                                      .credentials = {}});
    if (!no) return false;
    tenant = *no;
    for (int i = 0; i < 2; ++i) {
      auto r = a_room(tenant, {"ann"_user, "bob"_user});
      auto made = writes().create_room(r);
      if (!made) return false;
      room_ids.push_back(r.id);
      room_nos[r.id] = made->no;
    }
    rooms_acknowledged = writes().commit().has_value();
    return rooms_acknowledged;
  }

  told_row next(std::map<room_id, std::int64_t>& seq, std::size_t room, entry_body body) {
    const room_id id = room_ids[room];
    append_row r = row(tenant, room_nos[id], ++seq[id], std::move(body));
    r.e.actor = "ann"_user;
    return {id, std::move(r)};
  }

  fate write_batch(int batch) {
    std::map<room_id, std::int64_t> seq = last;
    told_batch b;
    const std::string name = std::to_string(batch);
    for (std::size_t i = 0; i < 3; ++i) {
      message_body body;
      body.sender = "ann"_user;
      body.content = std::string(700, 'x');
      told_row t = next(seq, i % 2, body);
      // A key is tried again with its batch, as a client does.
      if (i < 2)
        t.row.key = send_key{"ann"_user, hash128_of(name + "/" + std::to_string(i)),
                             keyed_call::send, hash128_of("b")};
      b.rows.push_back(std::move(t));
    }
    if (batch == 2) {
      told_row t = next(seq, 0, member_joined_body{{"carol"_user, "dave"_user}, member_role::member});
      b.rows.push_back(std::move(t));
    }
    if (batch % 3 == 1) {
      const append_row& original = b.rows[0].row;
      told_row t = next(seq, 0, message_edited_body{original.e.seq, "edited", {}, time.now()});
      t.row.e.message = original.e.message;
      t.row.key = send_key{"ann"_user, hash128_of(name + "/e"), keyed_call::edit, hash128_of("b")};
      b.rows.push_back(std::move(t));
    }
    if (batch % 3 == 2) {
      const append_row& original = b.rows[1].row;
      told_row t = next(seq, 1, message_deleted_body{original.e.seq, time.now()});
      t.row.e.message = original.e.message;
      b.rows.push_back(std::move(t));
    }

    b.what = commit_told(b);
    if (b.what == fate::acknowledged) last = seq;
    told.push_back(std::move(b));
    return told.back().what;
  }

  fate commit_told(const told_batch& b) {
    const auto of = [](failure_scope s) {
      return s == failure_scope::fatal ? fate::unknown : fate::refused;
    };
    if (auto begun = writes().begin(); !begun) return of(begun.error().scope);
    for (const told_row& t : b.rows) {
      auto appended = writes().append(t.row);
      if (appended) continue;
      CHECK(appended.error().scope !=
            failure_scope::item);  // each is right: only the disk may refuse it
      if (appended.error().scope != failure_scope::fatal) writes().rollback();
      return of(appended.error().scope);
    }
    auto committed = writes().commit();
    return committed ? fate::acknowledged : of(committed.error().scope);
  }

  /// The entry as it was told, with its key if it has one. An entry without its key, or a key without its entry, fails.
  bool is_there(const std::map<room_id, std::map<std::int64_t, entry>>& logs, const told_row& t) {
    const auto log = logs.find(t.room);
    const entry* found = nullptr;
    if (log != logs.end()) {
      const auto at = log->second.find(t.row.e.seq.value);
      if (at != log->second.end() && at->second.kind() == t.row.e.kind() &&
          at->second.message == t.row.e.message && at->second.created_at == t.row.e.created_at) {
        found = &at->second;
      }
    }
    if (t.row.key && log != logs.end()) {
      auto key = reads->look_up(room_nos[t.room], t.row.key->sender, t.row.key->key, utc_time{});
      REQUIRE(key);
      const bool names_it =
          key->key && key->key->message == t.row.e.message && key->key->seq == t.row.e.seq;
      CHECK_MESSAGE(names_it == (found != nullptr),
                    "the key and its message are in one transaction");
    }
    return found != nullptr;
  }

  tenant_no tenant{1};
  std::vector<room_id> room_ids;
  std::map<room_id, room_no> room_nos;
  std::map<room_id, std::int64_t> last;
  bool rooms_acknowledged = false;
};

/// What happens to the machine after the fault.
enum class aftermath : std::uint8_t { process_ends, power_fails, power_fails_badly };

void suffer(life& l, aftermath after, std::uint64_t seed) {
  if (after == aftermath::process_ends) return;
  l.disk.power_loss(after == aftermath::power_fails ? fault_vfs::loss::all : fault_vfs::loss::some,
                    seed);
  l.options.boot_id = "boot-2";
}

/// Runs lives in which the N-th operation fails, N = 1, 2, 3, … until none does. The lives differ in what comes after.
void for_each_fault(fault f, durability how, int stride = 1) {
  std::int64_t n = 1;
  for (;; n += stride) {
    f.nth = n;
    life l;
    l.options.durability = how;
    const auto after = static_cast<aftermath>(n % 3);
    INFO("fault at operation " << n << ", for ever: " << f.forever << ", aftermath "
                               << static_cast<int>(after));
    l.disk.fail(f);
    l.run();
    const bool fired = l.disk.fired();
    suffer(l, after, static_cast<std::uint64_t>(n));
    l.check_what_is_left();
    if (!fired) {
      CHECK(l.clean_end);
      for (const told_batch& b : l.told) CHECK(b.what == fate::acknowledged);
      break;
    }
  }
  CHECK(n > 2 * stride);  // the fault did strike
}

constexpr unsigned only(fault_op op) { return static_cast<unsigned>(op); }

}  // namespace

TEST_SUITE("SPEC 2.1 accepted means durable, whatever the disk does") {
  TEST_CASE("the N-th write fails") {
    for_each_fault({.ops = only(fault_op::write)}, durability::full);
  }
  TEST_CASE("the N-th write and all after it fail") {
    for_each_fault({.ops = only(fault_op::write), .forever = true}, durability::full, 2);
  }
  TEST_CASE("there is no space for the N-th write") {
    for_each_fault({.ops = only(fault_op::write), .no_space = true}, durability::full);
  }
  TEST_CASE("there is no space from the N-th write on") {
    for_each_fault({.ops = only(fault_op::write), .forever = true, .no_space = true},
                   durability::full, 2);
  }
  TEST_CASE("the N-th sync fails, and what it should have written is lost") {
    for_each_fault({.ops = only(fault_op::sync)}, durability::full);
    for_each_fault({.ops = only(fault_op::sync), .forever = true}, durability::full);
  }
  TEST_CASE("the N-th read fails") {
    for_each_fault({.ops = only(fault_op::read)}, durability::full);
  }
  TEST_CASE("the wal-index can't grow, or a file can't be opened, cut or removed") {
    for_each_fault({.ops = fault_op::shm | fault_op::open}, durability::full);
    for_each_fault({.ops = fault_op::truncate | fault_op::remove}, durability::full);
  }
  TEST_CASE("durability normal: the N-th write or sync fails") {
    for_each_fault({.ops = fault_op::write | fault_op::sync}, durability::normal, 2);
  }

  TEST_CASE("there is no memory for the N-th allocation") {
    for (const bool forever : {false, true}) {
      std::int64_t n = 1;
      bool fired = true;
      for (; fired; n += 97) {
        life l;
        INFO("allocation " << n << ", for ever: " << forever);
        {
          const allocation_fault f{n, forever};
          l.start();
          fired = allocation_fault::fired();
        }
        l.stop();
        suffer(l, static_cast<aftermath>(n % 3), static_cast<std::uint64_t>(n));
        l.check_what_is_left();
      }
      CHECK(n > 100);
    }
  }

  TEST_CASE("what was accepted survives that the power fails at once") {
    // Catches the planted defect `skip_fsync`.
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      life l;
      l.start();
      l.stop();
      suffer(l, seed % 2 == 0 ? aftermath::power_fails : aftermath::power_fails_badly, seed);
      l.check_what_is_left();
    }
  }

  TEST_CASE("the power fails between any two writes of a life") {
    // The N-th write and all after fail, and what was not synced is torn: catches `key_outside_transaction`, too.
    for (std::int64_t n = 1;; n += 3) {
      life l;
      l.disk.fail({.ops = fault_op::write | fault_op::sync, .nth = n, .forever = true});
      l.run();
      const bool fired = l.disk.fired();
      suffer(l, aftermath::power_fails_badly, static_cast<std::uint64_t>(n) * 7);
      INFO("power fails at " << n);
      l.check_what_is_left();
      if (!fired) break;
    }
  }
}

namespace {

struct on_small_disk : has_disk, store_fixture {
  on_small_disk() {
    options.vfs = disk.name();
    open();
    tenant = make_tenant();
    room = make_room(tenant, {"ann"_user}).no;
  }
  append_row big(std::int64_t seq, std::size_t bytes = 16'000) {
    return message(tenant, room, seq, "ann", std::string(bytes, 'x'));
  }
  /// In one transaction; what it came to.
  write_result<commit_no> try_commit(const std::vector<append_row>& rows) {
    REQUIRE(writes().begin());
    for (const auto& r : rows) {
      auto done = writes().append(r);
      if (!done) {
        writes().rollback();
        return done.error();
      }
    }
    return writes().commit();
  }
  tenant_no tenant;
  room_no room;
};

}  // namespace

TEST_SUITE("I10 a full disk") {
  TEST_CASE_FIXTURE(on_small_disk,
                    "writes are refused, reads go on, and with space again so do writes") {
    commit({big(1)});
    disk.set_capacity(disk.bytes_used() + 60'000);
    std::int64_t last = 1;
    for (;;) {
      auto done = try_commit({big(last + 1), big(last + 2)});
      if (done) {
        last += 2;
        continue;
      }
      CHECK(done.error().scope == failure_scope::full);
      CHECK(done.error().why.code == error_code::unavailable);
      CHECK(done.error().why.retry_after);
      break;
    }
    for (int i = 0; i < 3; ++i) {
      auto space = writes().probe();
      REQUIRE_FALSE(space);
      CHECK(space.error().scope == failure_scope::full);
      CHECK(log_of(room).size() == static_cast<std::size_t>(last));
      CHECK(reads->room_exists(tenant, room_id{}));
      time.advance(std::chrono::seconds{1});
    }
    disk.set_capacity(std::nullopt);
    REQUIRE(writes().probe());
    commit({big(last + 1), big(last + 2)});  // the seqs that were refused
    CHECK(log_of(room).size() == static_cast<std::size_t>(last + 2));
    check_clean();
    crash();
    open();
    CHECK_FALSE(db->report().history_may_be_lost);
    CHECK(log_of(room).size() == static_cast<std::size_t>(last + 2));
  }

  TEST_CASE_FIXTURE(on_small_disk, "space in the WAL is space: a probe lets it start over") {
    for (std::int64_t seq = 1; seq <= 40; ++seq) commit({big(seq)});
    disk.set_capacity(disk.bytes_used() + 45 * 4096 * 5);  // enough to move it into the database file
    CHECK(writes().probe());
    for (std::int64_t seq = 41; seq <= 45; ++seq) commit({big(seq)});
    check_clean();
  }

  TEST_CASE_FIXTURE(on_small_disk, "no space in a checkpoint is told, and repaired by space") {
    while (writes().status().wal_pages < options.checkpoint_pages) {
      commit({big(writes().status().last_commit.value - 1)});
    }
    disk.set_capacity(disk.bytes_used());
    const auto done = writes().maintain(time.mono(), time.now());
    REQUIRE_FALSE(done);
    CHECK(done.error().scope == failure_scope::full);
    disk.set_capacity(std::nullopt);
    time.advance(std::chrono::seconds{1});
    REQUIRE(writes().probe());
    REQUIRE(writes().maintain(time.mono(), time.now()));
    check_clean();
  }

  TEST_CASE_FIXTURE(on_small_disk,
                    "a start that finds no space gives the ballast back before it gives up") {
    crash();
    const auto ballast = dir.write("parley.db.ballast", std::string(4096, '\0'));
    disk.set_capacity(disk.bytes_used());
    CHECK_FALSE(open_sqlite(options, time, random));  // this disk is not the one with the ballast
    CHECK_FALSE(std::filesystem::exists(ballast));
    disk.set_capacity(std::nullopt);
    open();
    check_clean();
  }

  TEST_CASE_FIXTURE(
      on_small_disk,
      "a commit that the wal-index had no room for is not there, not after a crash either") {
    // More frames than the first page of the wal-index holds: the commit frame is on the disk when the second page can't
    // be had, and a recovery would find the transaction that its sender was told to be gone.
    commit({big(1)});
    std::vector<append_row> rows;
    for (std::int64_t seq = 2; seq < 1200; ++seq) rows.push_back(big(seq));
    disk.fail({.ops = only(fault_op::shm), .forever = true});
    const auto refused = try_commit(rows);
    REQUIRE_FALSE(refused);
    CHECK(disk.fired());
    CHECK(refused.error().scope == failure_scope::full);
    CHECK(log_of(room).size() == 1);
    for (const bool power_too : {false, true}) {
      crash();
      disk.heal();
      if (power_too) disk.power_loss(fault_vfs::loss::all, 1);
      open();
      CHECK(log_of(room).size() == 1);
      check_clean();
    }
    commit(rows);
    CHECK(log_of(room).size() == 1199);
  }

  TEST_CASE("durability normal: the same, when the power fails after it") {
    on_small_disk d;
    d.crash();
    d.options.durability = durability::normal;
    d.open();
    d.commit({d.big(1)});
    std::vector<append_row> rows;
    for (std::int64_t seq = 2; seq < 1200; ++seq) rows.push_back(d.big(seq));
    d.disk.fail({.ops = only(fault_op::shm)});
    const auto refused = d.try_commit(rows);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().scope == failure_scope::full);
    d.crash();
    d.disk.heal();
    d.disk.power_loss(fault_vfs::loss::some, 3);
    d.open();
    CHECK(d.log_of(d.room).size() <= 1);
    d.check_clean();
  }
}

TEST_SUITE("I10 an outcome that is unknown is never called known") {
  TEST_CASE_FIXTURE(on_small_disk,
                    "a sync that fails at COMMIT is fatal, and nothing is accepted after it") {
    commit({big(1)});
    disk.fail({.ops = only(fault_op::sync)});
    const auto unknown = try_commit({big(2)});
    REQUIRE_FALSE(unknown);
    CHECK(unknown.error().scope == failure_scope::fatal);
    disk.heal();
    CHECK(writes().begin().error().scope == failure_scope::fatal);
    CHECK(log_of(room).size() == 1);  // readers go on while the process ends
    crash();
    open();
    CHECK(log_of(room).size() <= 2);
    check_clean();
  }

  TEST_CASE_FIXTURE(on_small_disk,
                    "a damaged file is told, writes fail, and what can be read is read") {
    for (std::int64_t seq = 1; seq <= 50; ++seq) commit({big(seq, 3'000)});
    close();
    const std::string file = options.file.string();
    // The leaves of `messages`: their first byte is 13, and there is much text in them.
    const std::string bytes = disk.contents(file);
    for (std::size_t page = 4096; page < bytes.size(); page += 4096) {
      const std::string_view text{bytes.data() + page, 4096};
      if (text[0] == 13 && std::count(text.begin(), text.end(), 'x') > 500) {
        disk.damage(file, static_cast<std::int64_t>(page) + 1, std::string(100, '\xee'));
      }
    }
    open();
    bool told = false;
    for (std::int64_t seq = 51; seq < 60 && !told; ++seq) {
      auto done = try_commit({big(seq)});
      if (!done) CHECK(done.error().scope != failure_scope::fatal);
      told = !done;
    }
    CHECK(told);
    CHECK(writes().status().corrupt);
    CHECK(*reads->room_exists(tenant, room_id{}) == false);
    const auto report = verify_sqlite(options.file, options.vfs);
    CHECK((!report || !report->problems.empty()));
  }
}
