// What retention takes away: the beginning of a log that is older than its room may keep it.

#include "store/retention.hpp"

#include "tests/store/fault_vfs.hpp"
#include "tests/store/store_fixture.hpp"

#include <algorithm>

using namespace parley;
using namespace parley::store;
using namespace parley::store::test;
using namespace std::chrono_literals;

namespace {

struct with_retention : store_fixture {
  with_retention() { options.worker_interval = 30s; }

  /// One piece, if one is due.
  void piece() {
    REQUIRE(writes().maintain(time.mono(), time.now()));
    auto news = writes().take_job_news();
    for (auto& r : news.rewritten) trimmed.push_back(r);
    more = news.more;
  }
  /// The next round, to its end.
  void round() {
    time.advance(options.worker_interval);
    for (int n = 0; n < 1000; ++n) {
      piece();
      if (!more) return;
    }
    FAIL("the round does not end");
  }
  void say(const created_room& room, int first, int last) { say(tenant, room, first, last); }
  void say(tenant_no of, const created_room& room, int first, int last) {
    std::vector<append_row> rows;
    for (int seq = first; seq <= last; ++seq)
      rows.push_back(message(of, room.no, seq, "ann", std::to_string(seq)));
    commit(rows);
  }
  std::int64_t first_of(const created_room& room) {
    return reads->page(room.no, room_seq{0}, room_seq{INT64_MAX}, 1, 1).value().first_seq.value;
  }
  std::vector<std::int64_t> seqs_of(const created_room& room) {
    std::vector<std::int64_t> out;
    for (const auto& e : log_of(room.no)) out.push_back(e.seq.value);
    return out;
  }
  static std::vector<std::int64_t> seqs(std::int64_t from, std::int64_t to) {
    std::vector<std::int64_t> out;
    for (; from <= to; ++from) out.push_back(from);
    return out;
  }
  write_result<tenant_row> change(decltype(tenant_change::what) what, const char* of = "tenant_1") {
    REQUIRE(writes().begin());
    auto done = writes().change_tenant({tenant_id{of}, std::move(what), time.now()});
    REQUIRE(writes().commit());
    return done;
  }
  std::int64_t count(const std::string& from) {
    connection db{{.file = options.file.string(), .vfs = options.vfs, .read_only = true}};
    return db.integer_or_throw(("SELECT count(*) FROM " + from).c_str());
  }
  void begin(std::optional<std::chrono::milliseconds> node) {
    options.message_retention = node;
    open();
    tenant = make_tenant();
  }
  created_room a_group() { return make_room(tenant, {"ann"_user, "bob"_user}); }

  tenant_no tenant;
  std::vector<rewritten_room> trimmed;
  bool more = false;
};

}  // namespace

TEST_SUITE("SPEC 6 retention removes a prefix of the log") {
  TEST_CASE_FIXTURE(with_retention,
                    "what is older goes, what is younger stays, and first_seq says so") {
    begin(1h);
    const auto room = a_group();
    say(room, 1, 10);
    time.advance(59min);
    say(room, 11, 15);
    round();
    CHECK(first_of(room) == 1);
    CHECK(trimmed.empty());
    time.advance(1min);
    round();
    CHECK(seqs_of(room) == seqs(11, 15));
    CHECK(first_of(room) == 11);
    CHECK(count("messages") == 5);
    REQUIRE(trimmed.size() == 1);
    CHECK(trimmed[0].room == room_key{tenant, room.info.id});
    CHECK(trimmed[0].no == room.no);
    CHECK(trimmed[0].first_seq == room_seq{11});
    CHECK(trimmed[0].commit == writes().status().last_commit);
    check_clean();
    say(room, 16, 16);
    check_clean();
  }
  TEST_CASE_FIXTURE(with_retention,
                    "an old entry behind a younger one waits for it: seq stays dense") {
    begin(1h);
    const auto room = a_group();
    say(room, 1, 2);
    const auto then = time.now();
    time.advance(2h);
    say(room, 3, 3);
    auto late = message(tenant, room.no, 4, "ann", "the clock went back");
    late.e.created_at = then;
    commit({late});
    say(room, 5, 5);
    round();
    CHECK(seqs_of(room) == seqs(3, 5));
    check_clean();
  }
  TEST_CASE_FIXTURE(with_retention,
                    "a room's newest entry stays, whatever its age, and seq goes on behind it") {
    begin(1h);
    const auto quiet = a_group();
    const auto short_one = a_group();
    const auto empty = a_group();
    say(quiet, 1, 7);
    say(short_one, 1, 1);
    time.advance(1000h);
    round();
    CHECK(seqs_of(quiet) == seqs(7, 7));
    CHECK(seqs_of(short_one) == seqs(1, 1));
    CHECK(first_of(short_one) == 1);
    CHECK(first_of(empty) == 1);
    crash();
    open();
    say(quiet, 8, 8);
    say(empty, 1, 1);
    round();
    CHECK(seqs_of(quiet) == seqs(8, 8));
    check_clean();
  }
  TEST_CASE_FIXTURE(with_retention, "the room's own counts, else the tenant's, else the node's") {
    begin(10h);
    const auto own = a_group();
    const auto of_tenant = a_group();
    REQUIRE(writes().begin());
    const auto other = writes()
                           .create_tenant({.id = tenant_id{"tenant_2"},
                                           .name = "B",
                                           .config = "{}",
                                           .created_at = time.now(),
                                           .credentials = {}})
                           .value();
    REQUIRE(writes().commit());
    const auto of_node = make_room(other, {"ann"_user, "bob"_user});
    const auto all = [&](int first, int last) {
      say(own, first, last);
      say(of_tenant, first, last);
      say(other, of_node, first, last);
    };
    REQUIRE(change(tenant_change::update{
        .name = {}, .config = R"({"rate_limit":5,"message_retention":"5h"})", .disabled = {}}));
    REQUIRE(change(tenant_change::set_retention{own.info.id, 2h}));
    all(1, 3);
    time.advance(3h);
    all(4, 4);
    round();
    CHECK(first_of(own) == 4);
    CHECK(first_of(of_tenant) == 1);
    CHECK(first_of(of_node) == 1);
    time.advance(3h);
    all(5, 5);
    round();
    CHECK(first_of(own) == 5);
    CHECK(first_of(of_tenant) == 4);
    CHECK(first_of(of_node) == 1);
    time.advance(5h);
    all(6, 6);
    round();
    CHECK(first_of(of_node) == 4);
    // Without its own: as the tenant says.
    REQUIRE(change(tenant_change::set_retention{own.info.id, std::nullopt}));
    time.advance(4h);
    all(7, 7);
    round();
    CHECK(first_of(own) == 6);
    CHECK(first_of(of_tenant) == 6);
    check_clean();
  }
  TEST_CASE_FIXTURE(with_retention,
                    "a room that is not there has no retention; the tenant keeps its revision") {
    begin(std::nullopt);
    const auto room = a_group();
    const auto before = reads->tenant(tenant_id{"tenant_1"}).value().value().revision;
    REQUIRE(change(tenant_change::set_retention{room.info.id, 2h}));
    CHECK(reads->tenant(tenant_id{"tenant_1"}).value().value().revision == before);
    CHECK(count("rooms WHERE retention_ms = 7200000") == 1);
    const auto unknown = change(tenant_change::set_retention{room_id{ids.next()}, 2h});
    REQUIRE(!unknown);
    CHECK(unknown.error().scope == failure_scope::item);
    CHECK(unknown.error().why.code == error_code::not_found);
    make_tenant("tenant_2");
    const auto foreign = change(tenant_change::set_retention{room.info.id, 3h}, "tenant_2");
    REQUIRE(!foreign);
    CHECK(foreign.error().why.message == unknown.error().why.message);
    REQUIRE(writes().begin());
    REQUIRE(writes().delete_room(tenant, room.no, time.now()));
    REQUIRE(writes().commit());
    const auto deleted = change(tenant_change::set_retention{room.info.id, 3h});
    REQUIRE(!deleted);
    CHECK(deleted.error().why.message == unknown.error().why.message);
    CHECK(count("rooms WHERE retention_ms = 7200000") == 1);
  }
  TEST_CASE_FIXTURE(with_retention,
                    "what a room may keep counts when it is removed, not when it was found") {
    begin(1h);
    const auto big = a_group();
    say(big, 1, 5000);
    time.advance(2h);
    time.advance(options.worker_interval);
    piece();
    const auto at = first_of(big);
    CHECK(at > 1);
    CHECK(at < 5000);
    REQUIRE(change(tenant_change::set_retention{big.info.id, 3h}));
    while (more) piece();
    CHECK(first_of(big) == at);
    check_clean();
  }
}

TEST_SUITE("SPEC 2.4, 1 what names a removed entry") {
  TEST_CASE_FIXTURE(with_retention,
                    "a retry key is found for all of its time, and then it is swept") {
    begin(1h);
    const auto room = a_group();
    auto keyed = message(tenant, room.no, 1, "ann", "once");
    keyed.key = key_of("ann", "k1");
    auto other = message(tenant, room.no, 2, "ann", "else");
    auto edit = edit_of(other, 3, "edited");
    edit.key = key_of("ann", "k2", "body", keyed_call::edit);
    commit({keyed, other, edit});
    time.advance(2h);
    say(room, 4, 4);
    round();
    CHECK(first_of(room) == 4);
    const auto since = [&] { return time.now() - options.idempotency_ttl; };
    const auto used = reads->look_up(room.no, "ann"_user, hash128_of("k1"), since()).value().key;
    REQUIRE(used);
    CHECK(used->seq == room_seq{1});
    CHECK(used->message == keyed.e.message);
    CHECK(reads->look_up(room.no, "ann"_user, hash128_of("k2"), since()).value().key);
    REQUIRE(writes().begin());
    auto again = message(tenant, room.no, 5, "ann", "once");
    again.key = keyed.key;
    const auto repeated = writes().append(again);
    REQUIRE(!repeated);
    CHECK(repeated.error().why.code == error_code::conflict);
    REQUIRE(writes().commit());
    check_clean();
    time.advance(options.idempotency_ttl);
    for (int n = 0; n < 4; ++n) round();
    CHECK(count("send_keys") == 0);
    check_clean();
  }
  TEST_CASE_FIXTURE(
      with_retention,
      "edits, deletes and replies whose message is gone; cursors below; what is unread") {
    begin(1h);
    const auto room = a_group();
    const auto edited = message(tenant, room.no, 1, "ann", "secret");
    const auto removed = message(tenant, room.no, 2, "ann", "two");
    const auto stays = message(tenant, room.no, 3, "ann", "three");
    commit({edited, removed, stays});
    REQUIRE(writes().begin());
    REQUIRE(writes().move_cursor({tenant, "bob"_user, room.info.id, room_seq{1}, true}));
    REQUIRE(writes().commit());
    time.advance(2h);
    auto reply = message(tenant, room.no, 6, "ann", "so it is");
    std::get<message_body>(reply.e.body).reply_to = edited.e.message;
    commit({edit_of(edited, 4, "the secret"), delete_of(removed, 5), reply});
    round();
    CHECK(seqs_of(room) == seqs(4, 6));
    const auto log = log_of(room.no);
    CHECK(std::get<message_edited_body>(log[0].body).content.empty());
    CHECK(std::get<message_deleted_body>(log[1].body).message_seq == room_seq{2});
    CHECK(std::get<message_body>(log[2].body).reply_to == edited.e.message);
    CHECK_FALSE(reads->message(room.no, edited.e.message).value());
    const auto at = reads->positions(tenant, "bob"_user).value().rooms.at(0);
    CHECK(at.first_seq == room_seq{4});
    CHECK(at.last_ack == room_seq{1});
    CHECK(reads->rooms_of(tenant, "bob"_user, 10, {}, 0).value().rooms.at(0).unread_count == 1);
    check_clean();

    REQUIRE(writes().begin());
    const auto late = writes().append(edit_of(edited, 7, "late"));
    REQUIRE(!late);
    CHECK(late.error().scope == failure_scope::item);
    CHECK(late.error().why.code == error_code::not_found);
    writes().rollback();
  }
}

TEST_SUITE("SPEC 6 retention works in rounds of small pieces") {
  TEST_CASE_FIXTURE(with_retention,
                    "who keeps everything has no work, until somebody asks for retention") {
    begin(std::nullopt);
    const auto room = a_group();
    const auto other = a_group();
    say(room, 1, 5);
    say(other, 1, 5);
    time.advance(1000h);
    const auto last = writes().status().last_commit;
    round();
    round();
    CHECK(writes().status().last_commit == last);
    {
      // Nobody has told the writer: it looks at no room any more.
      connection behind{{.file = options.file.string(), .read_only = false}};
      REQUIRE(behind.execute("UPDATE rooms SET retention_ms = 3600000"));
    }
    round();
    CHECK(first_of(room) == 1);
    REQUIRE(change(tenant_change::set_retention{room.info.id, 1h}));
    round();
    CHECK(first_of(room) == 5);
    CHECK(first_of(other) == 5);
    // It goes on with that.
    say(room, 6, 6);
    time.advance(2h);
    say(room, 7, 7);
    round();
    CHECK(first_of(room) == 7);
    check_clean();
  }
  TEST_CASE_FIXTURE(with_retention,
                    "a tenant's wish is heard with its creation, before it has a room") {
    begin(std::nullopt);
    round();
    REQUIRE(writes().begin());
    tenant = writes()
                 .create_tenant({.id = tenant_id{"tenant_2"},
                                 .name = "B",
                                 .config = R"({"message_retention":"1h"})",
                                 .created_at = time.now(),
                                 .credentials = {}})
                 .value();
    REQUIRE(writes().commit());
    round();
    round();
    const auto room = a_group();
    say(room, 1, 3);
    time.advance(2h);
    round();
    CHECK(first_of(room) == 3);
  }
  TEST_CASE_FIXTURE(with_retention, "a round is due once in worker_interval") {
    options.worker_interval = 3h;
    begin(1h);
    const auto room = a_group();
    round();
    say(room, 1, 3);
    time.advance(3h - 1ms);
    piece();
    CHECK(first_of(room) == 1);
    time.advance(1ms);
    piece();
    CHECK(first_of(room) == 3);
  }
  TEST_CASE_FIXTURE(with_retention, "rooms take turns: a small one does not wait for a big one") {
    begin(1h);
    const auto big = a_group();
    say(big, 1, 10000);
    const auto small = a_group();
    say(small, 1, 100);
    time.advance(2h);
    time.advance(options.worker_interval);
    piece();
    CHECK(more);
    CHECK(first_of(small) == 100);
    CHECK(first_of(big) > 1);
    CHECK(first_of(big) <= 1 + retention::piece_max_rows);
    CHECK(trimmed.size() == 2);
    check_clean();
    while (more) piece();
    CHECK(first_of(big) == 10000);
    CHECK(trimmed.size() > 3);
    check_clean();
  }
  TEST_CASE_FIXTURE(with_retention, "of long messages a piece removes fewer") {
    begin(1h);
    const auto room = a_group();
    constexpr std::int64_t length = 16'000;
    std::vector<append_row> rows;
    for (int seq = 1; seq <= 100; ++seq)
      rows.push_back(message(tenant, room.no, seq, "ann", std::string(length, 'x')));
    commit(rows);
    time.advance(2h);
    time.advance(options.worker_interval);
    piece();
    CHECK(more);
    CHECK(first_of(room) > 1);
    CHECK((first_of(room) - 1) * length < 2 * retention::piece_max_bytes);
    while (more) piece();
    CHECK(first_of(room) == 100);
    check_clean();
  }
  TEST_CASE_FIXTURE(with_retention,
                    "more rooms than are looked at in a piece: each gets its turn") {
    begin(1h);
    std::vector<created_room> rooms;
    for (int n = 0; n < 300; ++n) {
      rooms.push_back(a_group());
      say(rooms.back(), 1, 3);
    }
    time.advance(2h);
    round();
    for (const auto& room : rooms) CHECK(first_of(room) == 3);
    CHECK(trimmed.size() == 300);
    check_clean();
  }
  TEST_CASE_FIXTURE(with_retention,
                    "deleted rooms and tenants are left to those who clear them away") {
    begin(1h);
    const auto room = a_group();
    say(room, 1, 3);
    REQUIRE(writes().begin());
    REQUIRE(writes().delete_room(tenant, room.no, time.now()));
    REQUIRE(writes().commit());
    time.advance(2h);
    round();
    CHECK(count("messages") == 3);
    CHECK(trimmed.empty());
  }
}

TEST_SUITE("SPEC 2.1, 6 retention and the end of a process") {
  TEST_CASE_FIXTURE(with_retention,
                    "a crash between pieces: what is gone is gone, and the next start goes on") {
    begin(1h);
    const auto room = a_group();
    say(room, 1, 10000);
    time.advance(2h);
    std::int64_t before = 1;
    for (int pieces = 0; pieces < 2; ++pieces) {
      time.advance(options.worker_interval);
      piece();
      CHECK(first_of(room) > before);
      before = first_of(room);
      crash();
      open();
      CHECK(first_of(room) == before);
      CHECK_FALSE(db->report().history_may_be_lost);
      check_clean();
      CHECK(seqs_of(room) == seqs(before, 10000));
    }
    round();
    CHECK(first_of(room) == 10000);
    close();
    check_clean();
  }
  TEST_CASE("the N-th write fails: nothing is half removed, and what was told is so") {
    std::int64_t n = 1;
    bool fired = true;
    for (; fired; n += 3) {
      INFO("write " << n);
      fault_vfs disk;
      struct on_disk : with_retention {
        explicit on_disk(fault_vfs& d) { options.vfs = d.name(); }
      } it{disk};
      it.options.checkpoint_pages = 12;
      it.options.wal_limit_pages = 40;
      it.begin(1h);
      const auto room = it.a_group();
      it.say(room, 1, 300);
      it.time.advance(2h);
      disk.fail({.ops = static_cast<unsigned>(fault_op::write), .nth = n, .no_space = n % 2 == 0});
      std::int64_t told = 1;
      for (int pieces = 0; pieces < 8; ++pieces) {
        it.time.advance(it.options.worker_interval);
        auto done = it.writes().maintain(it.time.mono(), it.time.now());
        if (!done && done.error().scope == failure_scope::fatal) break;
        for (const auto& r : it.writes().take_job_news().rewritten) told = r.first_seq.value;
        CHECK(it.first_of(room) == told);
        if (!done && !it.writes().probe()) break;
      }
      fired = disk.fired();
      it.crash();
      disk.heal();
      if (n % 4 == 1) {
        disk.power_loss(fault_vfs::loss::some, static_cast<std::uint64_t>(n));
        it.options.boot_id = "boot-2";
      }
      it.open();
      CHECK_FALSE(it.db->report().history_may_be_lost);
      it.check_clean();
      CHECK(it.first_of(room) >= told);
      it.round();
      CHECK(it.seqs_of(room) == it.seqs(300, 300));
      it.say(room, 301, 301);
      it.close();
      it.check_clean();
    }
    CHECK(n > 10);
  }
}
