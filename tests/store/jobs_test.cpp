// What goes on after the commit that ordered it: a tenant is cleared away, a user is erased.

#include "store/job_runner.hpp"
#include "tests/store/fault_vfs.hpp"
#include "tests/store/store_fixture.hpp"

#include <algorithm>
#include <map>
#include <set>

using namespace parley;
using namespace parley::store;
using namespace parley::store::test;

namespace {

/// A store with jobs, and the rooms that end memberships when they are asked to.
struct with_jobs : store_fixture {
  /// One piece, if one is due.
  void piece() {
    time.advance(std::chrono::milliseconds{300});
    REQUIRE(writes().maintain(time.mono(), time.now()));
    auto news = writes().take_job_news();
    for (auto& r : news.rewritten) rewritten.push_back(r);
    for (auto& d : news.departures) departures.push_back(d);
    more = news.more;
  }
  /// Until the job has ended.
  job_row finish(const char* id) {
    for (int n = 0; n < 1000; ++n) {
      piece();
      for (const auto& d : std::exchange(departures, {})) depart(d);
      if (const auto j = job(id); j.state != job_state::running) return j;
    }
    FAIL("the job does not end");
    return {};
  }
  job_row job(const char* id) {
    const auto found = reads->job(id);
    REQUIRE(found);
    REQUIRE(*found);
    return **found;
  }
  void order(const char* tenant, decltype(tenant_change::what) what) {
    REQUIRE(writes().begin());
    REQUIRE(writes().change_tenant({tenant_id{tenant}, std::move(what), time.now()}));
    REQUIRE(writes().commit());
  }
  /// What a room does that is told so.
  void depart(const departure& d) {
    const auto view = reads->room(d.room.tenant, d.room.room, d.user);
    REQUIRE(view);
    REQUIRE(*view);
    REQUIRE((*view)->self);
    commit({row(d.room.tenant, (*view)->no, (*view)->info.last_seq.value + 1,
                member_left_body{{d.user}, leave_reason::erased})});
  }
  /// Rows of a table, behind the store's back.
  std::int64_t count(const std::string& from) {
    connection db{{.file = options.file.string(), .vfs = options.vfs, .read_only = true}};
    return db.integer_or_throw(("SELECT count(*) FROM " + from).c_str());
  }

  std::vector<rewritten_room> rewritten;
  std::vector<departure> departures;
  bool more = false;
};

/// Two tenants that look alike, with everything that a tenant can have.
struct two_tenants : with_jobs {
  two_tenants() { open(); }
  tenant_no fill(const char* id, int messages) {
    new_tenant t;
    t.id = tenant_id{id};
    t.name = "a secret name";
    t.config = R"({"rate_limit":5})";
    t.created_at = time.now();
    t.credentials = {{key_id{std::string{"key_"} + id}, "api_key", sha256(id), ""}};
    REQUIRE(writes().begin());
    const auto no = writes().create_tenant(t).value();
    auto r = a_room(no, {"ann"_user, "bob"_user});
    r.key = new_room::call_key{"ann"_user, hash128_of("call"), hash128_of("b")};
    const auto group = writes().create_room(r).value();
    const auto dm = writes().create_room(a_room(no, {"ann"_user, "bob"_user}, room_type::dm)).value();
    REQUIRE(writes().commit());
    for (const auto& room : {group, dm}) {
      std::vector<append_row> rows;
      for (int seq = 1; seq <= messages; ++seq) {
        rows.push_back(message(no, room.no, seq, seq % 2 == 0 ? "bob" : "ann", "content"));
        if (seq % 50 == 0) rows.back().key = key_of("bob", std::to_string(seq).c_str());
      }
      commit(rows);
      REQUIRE(writes().begin());
      REQUIRE(writes().move_cursor(
          {no, "bob"_user, room.info.id, room_seq{messages > 0 ? 1 : 0}, true}));
      REQUIRE(writes().commit());
    }
    rooms[no] = {group.no, dm.no};
    return no;
  }
  std::map<std::string, std::int64_t> rows_of(tenant_no tenant) {
    std::map<std::string, std::int64_t> out;
    const auto of_tenant = " WHERE tenant_no = " + std::to_string(tenant.value);
    for (const char* table : {"messages", "rooms", "room_members", "delivery_state", "users",
                              "credentials", "call_keys"})
      out[table] = count(table + of_tenant);
    const auto& both = rooms.at(tenant);
    const auto in_room = " WHERE room_no IN (" + std::to_string(both[0].value) + "," +
                         std::to_string(both[1].value) + ")";
    for (const char* table : {"room_log", "send_keys"}) out[table] = count(table + in_room);
    return out;
  }
  std::map<tenant_no, std::vector<room_no>> rooms;
};

}  // namespace

TEST_SUITE("SPEC 4 a deleted tenant is cleared away") {
  TEST_CASE_FIXTURE(two_tenants, "nothing of it is left, and of another nothing is gone") {
    const auto doomed = fill("tenant_1", 100);
    const auto other = fill("tenant_2", 100);
    const auto kept = rows_of(other);
    for (const auto& [table, n] : rows_of(doomed)) {
      INFO(table);
      CHECK(n > 0);
    }
    order("tenant_1", tenant_change::remove{"job_1"});
    const auto done = finish("job_1");
    CHECK(done.state == job_state::done);
    CHECK(done.done == 2);
    CHECK(done.total == 2);
    CHECK(done.error.empty());
    for (const auto& [table, n] : rows_of(doomed)) {
      INFO(table);
      CHECK(n == 0);
    }
    CHECK(rows_of(other) == kept);
    CHECK(count("tenants WHERE name = 'a secret name'") == 1);
    CHECK(rewritten.empty());
    check_clean();
    // Its name can't be taken again, and life goes on.
    REQUIRE(writes().begin());
    new_tenant again;
    again.id = tenant_id{"tenant_1"};
    again.config = "{}";
    CHECK_FALSE(writes().create_tenant(again));
    writes().rollback();
    commit({message(other, rooms[other][0], 101, "ann", "still here")});
    piece();
    CHECK_FALSE(more);
    close();
    check_clean();
  }

  TEST_CASE_FIXTURE(two_tenants,
                    "between any two pieces the process may end, and the file is good") {
    const auto doomed = fill("tenant_1", 5000);
    const auto other = fill("tenant_2", 10);
    const auto kept = rows_of(other);
    order("tenant_1", tenant_change::remove{"job_1"});
    int pieces = 0;
    for (; job("job_1").state == job_state::running; ++pieces) {
      REQUIRE(pieces < 100);
      const auto before = rows_of(doomed)["messages"];
      piece();
      // A piece is small, whatever there is.
      CHECK(before - rows_of(doomed)["messages"] <= job_runner::piece_max_rows + 64);
      check_clean();
      crash();
      open();
    }
    CHECK(pieces > 2);
    CHECK(rows_of(doomed)["messages"] == 0);
    CHECK(rows_of(other) == kept);
    check_clean();
  }

  TEST_CASE_FIXTURE(two_tenants, "several jobs take turns, and others write between their pieces") {
    fill("tenant_1", 5000);
    fill("tenant_2", 5000);
    const auto third = fill("tenant_3", 0);
    order("tenant_1", tenant_change::remove{"job_1"});
    order("tenant_2", tenant_change::remove{"job_2"});
    std::int64_t seq = 0;
    int both_under_way = 0;
    while (job("job_1").state == job_state::running || job("job_2").state == job_state::running) {
      piece();
      commit({message(third, rooms[third][0], ++seq, "ann", "between")});
      both_under_way += job("job_1").state == job_state::running && job("job_1").total > 0 &&
                                job("job_2").state == job_state::running && job("job_2").total > 0
                            ? 1
                            : 0;
      REQUIRE(seq < 1000);
    }
    CHECK(both_under_way > 0);
    check_clean();
    const auto listed = reads->jobs(1, "");
    REQUIRE(listed);
    REQUIRE(listed->jobs.size() == 1);
    CHECK(listed->jobs[0].id == "job_2");
    const auto rest = reads->jobs(1, listed->next_cursor);
    REQUIRE(rest);
    REQUIRE(rest->jobs.size() == 1);
    CHECK(rest->jobs[0].id == "job_1");
    CHECK(rest->next_cursor.empty());
    CHECK_FALSE(reads->jobs(1, "nonsense"));
  }

  TEST_CASE_FIXTURE(two_tenants, "a job that ended is forgotten after a month") {
    fill("tenant_1", 1);
    order("tenant_1", tenant_change::remove{"job_1"});
    finish("job_1");
    time.advance(std::chrono::hours{24 * 29});
    piece();
    CHECK(job("job_1").state == job_state::done);
    time.advance(std::chrono::hours{24 * 2});
    piece();
    CHECK_FALSE(*reads->job("job_1"));
  }
}

namespace {

/// Ann has said something everywhere.
struct with_ann : with_jobs {
  with_ann() {
    open();
    tenant = make_tenant();
    group = make_room(tenant, {"ann"_user, "bob"_user, "carol"_user});
    dm = make_room(tenant, {"ann"_user, "bob"_user}, room_type::dm);
    others = make_room(tenant, {"bob"_user, "carol"_user});
    spoken = message(tenant, group.no, 1, "ann", "my address");
    spoken.key = key_of("ann", "k1");
    std::get<message_body>(spoken.e.body).client_msg_id = "ann's own id";
    std::get<message_body>(spoken.e.body).meta = json_text{R"({"a":1})"};
    commit({spoken, message(tenant, group.no, 2, "bob", "hello ann"),
            edit_of(spoken, 3, "my new address"), message(tenant, dm.no, 1, "ann", "psst"),
            message(tenant, others.no, 1, "bob", "she is not here")});
    auto left = make_room(tenant, {"ann"_user, "bob"_user});
    left_before = left.no;
    commit({message(tenant, left.no, 1, "ann", "I go"),
            row(tenant, left.no, 2, member_left_body{{"ann"_user}, leave_reason::left})});
    REQUIRE(writes().begin());
    auto r = a_room(tenant, {"ann"_user});
    r.key = new_room::call_key{"ann"_user, hash128_of("call"), hash128_of("b")};
    own = writes().create_room(r).value();
    REQUIRE(writes().store_last_seen(tenant, "ann"_user, time.now()));
    REQUIRE(writes().commit());
    REQUIRE(writes().begin());
    REQUIRE(writes().move_cursor({tenant, "ann"_user, group.info.id, room_seq{2}, true}));
    REQUIRE(writes().commit());
  }
  void erase(const char* job_id = "job_1") {
    order("tenant_1", tenant_change::erase_user{job_id, "ann"_user});
  }
  /// What ann has left behind, in every table.
  std::int64_t traces() {
    return count("messages WHERE kind = 1 AND sender_no = " + ann_no() +
                 " AND (content <> '' OR meta IS NOT NULL OR client_msg_id IS NOT NULL)") +
           count("room_members WHERE user_no = " + ann_no()) +
           count("delivery_state WHERE user_no = " + ann_no()) +
           count("send_keys WHERE sender_no = " + ann_no()) +
           count("call_keys WHERE scope_no = " + ann_no()) +
           count("users WHERE user_id = 'ann' AND last_seen IS NOT NULL");
  }
  std::string ann_no() {
    connection db{{.file = options.file.string(), .vfs = options.vfs, .read_only = true}};
    return db.text_or_throw("SELECT user_no FROM users WHERE user_id = 'ann'");
  }

  tenant_no tenant;
  created_room group;
  created_room dm;
  created_room others;
  created_room own;
  room_no left_before;
  append_row spoken;
};

}  // namespace

TEST_SUITE("SPEC 4 a user is erased") {
  TEST_CASE_FIXTURE(with_ann, "what it said is empty in every room, and the log is the same") {
    const auto before = log_of(group.no);
    erase();
    // At once: its credentials are void.
    CHECK(*reads->revoked_before(tenant, "ann"_user) == time.now());
    CHECK(job("job_1").kind == "erase_user");
    CHECK(job("job_1").subject == "ann");
    const auto done = finish("job_1");
    CHECK(done.state == job_state::done);
    CHECK(done.done == 5);
    CHECK(done.total == 5);
    CHECK(traces() == 0);
    CHECK(count("users WHERE user_id = 'ann' AND erased_at IS NOT NULL") == 1);

    const auto after = log_of(group.no);
    REQUIRE(after.size() == before.size() + 1);
    for (std::size_t i = 0; i < before.size(); ++i) {
      CHECK(after[i].seq == before[i].seq);
      CHECK(after[i].kind() == before[i].kind());
      CHECK(after[i].message == before[i].message);
      CHECK(after[i].created_at == before[i].created_at);
      CHECK(after[i].actor == before[i].actor);
    }
    const auto& first = std::get<message_body>(after[0].body);
    CHECK(first.sender == "ann"_user);
    CHECK(first.content.empty());
    CHECK(first.meta.empty());
    CHECK(first.client_msg_id.empty());
    CHECK_FALSE(first.deleted_at);
    CHECK(std::get<message_body>(after[1].body).content == "hello ann");
    CHECK(std::get<message_edited_body>(after[2].body).content.empty());
    CHECK(std::get<member_left_body>(after[3].body).reason == leave_reason::erased);
    CHECK(std::get<message_body>(log_of(dm.no)[0].body).content.empty());
    CHECK(std::get<message_body>(log_of(left_before)[0].body).content.empty());
    CHECK(std::get<message_body>(log_of(others.no)[0].body).content == "she is not here");
    check_clean();
  }

  TEST_CASE_FIXTURE(with_ann,
                    "each room that reads otherwise is told with the commit from which it does") {
    erase();
    finish("job_1");
    std::set<room_no> named;
    for (const auto& r : rewritten) {
      CHECK(named.insert(r.no).second);
      CHECK(r.room.tenant == tenant);
      CHECK(r.commit > commit_no{});
      CHECK(r.commit <= writes().status().last_commit);
    }
    CHECK(named == std::set<room_no>{group.no, dm.no, left_before});
    const auto in_group = std::find_if(rewritten.begin(), rewritten.end(),
                                       [&](const auto& r) { return r.no == group.no; });
    CHECK(in_group->room.room == group.info.id);
  }

  TEST_CASE_FIXTURE(
      with_ann, "memberships are ended by their rooms, which are asked again while one is left") {
    erase();
    for (int n = 0; n < 8; ++n) piece();
    // Group, dm and her own: no content is touched while she could still write.
    std::set<room_id> asked;
    for (const auto& d : departures) {
      CHECK(d.user == "ann"_user);
      CHECK(asked.insert(d.room.room).second);
    }
    CHECK(asked == std::set<room_id>{group.info.id, dm.info.id, own.info.id});
    CHECK(rewritten.empty());
    for (const auto& d : std::exchange(departures, {})) {
      if (d.room.room != dm.info.id) depart(d);
    }
    time.advance(job_runner::departure_retry);
    piece();
    REQUIRE(departures.size() == 1);
    CHECK(departures[0].room.room == dm.info.id);
    // Over a restart, too.
    crash();
    open();
    departures.clear();
    piece();
    REQUIRE(departures.size() == 1);
    CHECK(finish("job_1").state == job_state::done);
    check_clean();
  }

  TEST_CASE_FIXTURE(with_ann, "a room that is deleted keeps no membership, and is not asked") {
    REQUIRE(writes().begin());
    REQUIRE(writes().delete_room(tenant, group.no, time.now()));
    REQUIRE(writes().commit());
    erase();
    for (int n = 0; n < 8; ++n) piece();
    for (const auto& d : departures) CHECK(d.room.room != group.info.id);
    finish("job_1");
    CHECK(traces() == 0);
    for (const auto& r : rewritten) CHECK(r.no != group.no);
    check_clean();
  }

  TEST_CASE_FIXTURE(with_ann, "who comes back has a new dm with whom it had one") {
    erase();
    finish("job_1");
    const auto again = make_room(tenant, {"ann"_user, "bob"_user}, room_type::dm);
    CHECK(again.created);
    CHECK(again.no != dm.no);
    // The other half keeps what it said there.
    CHECK(reads->room(tenant, dm.info.id, "bob"_user)->value().self);
    check_clean();
  }

  TEST_CASE_FIXTURE(with_ann,
                    "nobody of that name is not found; a second erasure has nothing left to do") {
    REQUIRE(writes().begin());
    const auto unknown = writes().change_tenant(
        {tenant_id{"tenant_1"}, tenant_change::erase_user{"job_9", "zoe"_user}, time.now()});
    REQUIRE_FALSE(unknown);
    CHECK(unknown.error().why.code == error_code::not_found);
    REQUIRE(writes().commit());
    erase();
    finish("job_1");
    rewritten.clear();
    erase("job_2");
    CHECK(finish("job_2").state == job_state::done);
    CHECK(rewritten.empty());
  }

  TEST_CASE_FIXTURE(with_ann, "the deletion of the tenant ends an erasure in it") {
    erase();
    piece();
    order("tenant_1", tenant_change::remove{"job_2"});
    departures.clear();
    for (int n = 0; n < 50 && job("job_2").state == job_state::running; ++n) piece();
    CHECK(job("job_2").state == job_state::done);
    CHECK(job("job_1").state == job_state::done);
    CHECK(job("job_1").subject.empty());
    CHECK(count("users") == 0);
    check_clean();
  }

  TEST_CASE_FIXTURE(with_ann,
                    "a long room is walked in pieces, and goes on after a crash where it was") {
    std::vector<append_row> rows;
    for (int seq = 1; seq <= 40'000; ++seq)
      rows.push_back(message(tenant, own.no, seq, seq % 1000 == 0 ? "ann" : "bob", "x"));
    commit(rows);
    erase();
    std::int64_t pieces = 0;
    for (; job("job_1").state == job_state::running; ++pieces) {
      REQUIRE(pieces < 200);
      piece();
      for (const auto& d : std::exchange(departures, {})) depart(d);
      crash();
      open();
    }
    CHECK(pieces > 3);
    CHECK(traces() == 0);
    CHECK(count("messages WHERE content = 'x'") == 39'960);
    check_clean();
  }
}

TEST_SUITE("SPEC 2.1 a job on a failing disk") {
  TEST_CASE(
      "the N-th write fails while a user is erased: what is half done is done after the next "
      "start") {
    std::int64_t n = 1;
    bool fired = true;
    for (; fired; n += 3) {
      INFO("write " << n);
      fault_vfs disk;
      struct on_disk : with_jobs {
        explicit on_disk(fault_vfs& d) { options.vfs = d.name(); }
      } it{disk};
      it.options.checkpoint_pages = 12;
      it.options.wal_limit_pages = 40;
      it.open();
      const auto tenant = it.make_tenant();
      const auto room = it.make_room(tenant, {"ann"_user, "bob"_user});
      std::vector<append_row> rows;
      for (int seq = 1; seq <= 200; ++seq)
        rows.push_back(it.message(tenant, room.no, seq, "ann", std::string(100, 'x')));
      it.commit(rows);
      it.commit({it.row(tenant, room.no, 201, member_left_body{{"ann"_user}, leave_reason::erased})});
      it.order("tenant_1", tenant_change::erase_user{"job_1", "ann"_user});
      disk.fail({.ops = static_cast<unsigned>(fault_op::write), .nth = n, .no_space = n % 2 == 0});
      for (int pieces = 0; pieces < 8; ++pieces) {
        it.time.advance(std::chrono::milliseconds{1500});
        auto done = it.writes().maintain(it.time.mono(), it.time.now());
        if (!done && done.error().scope == failure_scope::fatal) break;
        // What is told is so: only whole messages are empty, whatever failed after that.
        for (const auto& r : it.writes().take_job_news().rewritten) {
          CHECK(r.no == room.no);
          CHECK(it.count("messages WHERE content = ''") > 0);
        }
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
      CHECK(it.finish("job_1").state == job_state::done);
      CHECK(it.count("messages WHERE kind = 1 AND content <> ''") == 0);
      CHECK(it.count("messages WHERE kind = 1") == 200);
      it.close();
      it.check_clean();
    }
    CHECK(n > 10);
  }
}

TEST_SUITE("SPEC 4 all that is kept of one user") {
  TEST_CASE_FIXTURE(with_ann, "it comes in parts: the user, its memberships, what it said") {
    std::vector<std::string> rooms;
    std::vector<std::string> said;
    int parts = 0;
    int people = 0;
    std::string cursor;
    do {
      const auto page = reads->export_user(tenant, "ann"_user, cursor, 1, 1 << 20);
      REQUIRE(page);
      REQUIRE(*page);
      if ((*page)->self) {
        ++people;
        CHECK(parts == 0);
        CHECK((*page)->self->id == "ann"_user);
        CHECK((*page)->self->last_seen == time.now());
        CHECK_FALSE((*page)->self->erased_at);
      }
      CHECK((*page)->memberships.size() + (*page)->messages.size() <= 1);
      for (const auto& m : (*page)->memberships) {
        CHECK(said.empty());
        rooms.push_back(m.room.id.id.to_string());
        CHECK(m.member.user == "ann"_user);
        if (m.room.id == group.info.id) {
          CHECK(m.last_ack == room_seq{2});
          CHECK(m.last_read == room_seq{2});
        }
      }
      for (const auto& m : (*page)->messages) {
        const auto& body = std::get<message_body>(m.message.body);
        CHECK(body.sender == "ann"_user);
        said.push_back(body.content);
      }
      cursor = (*page)->next_cursor;
      REQUIRE(++parts < 50);
    } while (!cursor.empty());
    CHECK(people == 1);
    std::vector<std::string> expected{group.info.id.id.to_string(), dm.info.id.id.to_string(),
                                      own.info.id.id.to_string()};
    CHECK(rooms == expected);
    CHECK(said == std::vector<std::string>{"my new address", "psst", "I go"});
  }

  TEST_CASE_FIXTURE(with_ann,
                    "all of it at once is the same, and a long log is looked at in slices") {
    std::vector<append_row> rows;
    for (int seq = 1; seq <= 80'000; ++seq)
      rows.push_back(message(tenant, others.no, seq + 1, "bob", "x"));
    commit(rows);
    std::size_t said = 0;
    int parts = 0;
    std::string cursor;
    do {
      const auto page = reads->export_user(tenant, "ann"_user, cursor, 1000, 1 << 20);
      REQUIRE(page);
      said += (*page)->messages.size();
      cursor = (*page)->next_cursor;
      REQUIRE(++parts < 50);
    } while (!cursor.empty());
    CHECK(said == 3);
    CHECK(parts > 3);
  }

  TEST_CASE_FIXTURE(
      with_ann,
      "of one whom the tenant never named there is nothing, and a damaged cursor is refused") {
    const auto zoe = reads->export_user(tenant, "zoe"_user, "", 10, 1000);
    REQUIRE(zoe);
    CHECK_FALSE(*zoe);
    const auto other = make_tenant("tenant_2");
    const auto foreign = reads->export_user(other, "ann"_user, "", 10, 1000);
    REQUIRE(foreign);
    CHECK_FALSE(*foreign);
    const auto damaged = reads->export_user(tenant, "ann"_user, "nonsense", 10, 1000);
    REQUIRE_FALSE(damaged);
    CHECK(damaged.error().field == "cursor");
  }
}
