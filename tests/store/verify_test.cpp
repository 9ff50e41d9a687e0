// `parley verify` finds what must not be. Each row breaks one thing in a good database, behind the node's back.

#include "tests/store/store_fixture.hpp"

#include <sqlite3.h>

using namespace parley;
using namespace parley::store;
using namespace parley::store::test;

namespace {

struct good_database : store_fixture {
  good_database() {
    open();
    tenant = make_tenant();
    const auto made = make_room(tenant, {"ann"_user, "bob"_user});
    room = made.no;
    make_room(tenant, {"ann"_user, "bob"_user}, room_type::dm);
    auto first = message(tenant, room, 1, "ann", "one");
    first.key = key_of("ann", "k1");
    auto second = message(tenant, room, 2, "bob", "two");
    second.key = key_of("bob", "k2");
    commit({first, second, edit_of(first, 3, "uno")});
    commit({row(tenant, room, 4, member_joined_body{{"carol"_user}, member_role::member}),
            message(tenant, room, 5, "carol", "five"), delete_of(second, 6)});
    REQUIRE(writes().begin());
    REQUIRE(writes().move_cursor({tenant, "bob"_user, made.info.id, room_seq{3}, true}));
    REQUIRE(writes().commit());
    close();
  }
  void break_with(const char* sql) {
    sqlite3* raw = nullptr;
    REQUIRE(sqlite3_open(options.file.c_str(), &raw) == SQLITE_OK);
    const int rc = sqlite3_exec(raw, sql, nullptr, nullptr, nullptr);
    INFO(sqlite3_errmsg(raw));
    CHECK(rc == SQLITE_OK);
    CHECK(sqlite3_total_changes(raw) > 0);
    sqlite3_close(raw);
  }
  tenant_no tenant;
  room_no room;
};

}  // namespace

TEST_SUITE("SPEC 7 parley verify") {
  TEST_CASE_FIXTURE(good_database, "a good database has no problems, and is counted") {
    const auto report = verify_sqlite(options.file);
    REQUIRE(report);
    CHECK(report->problems == std::vector<std::string>{});
    CHECK(report->tenants == 1);
    CHECK(report->rooms == 2);
    CHECK(report->entries == 6);
    CHECK(report->keys == 2);
    CHECK(report->commits == 6);
  }

  TEST_CASE_FIXTURE(good_database, "it works beside a running node") {
    open();
    commit({message(tenant, room, 7, "ann", "seven")});
    const auto report = verify_sqlite(options.file);
    REQUIRE(report);
    CHECK(report->problems.empty());
    CHECK(report->entries == 7);
    commit({message(tenant, room, 8, "ann", "eight")});
  }

  TEST_CASE_FIXTURE(good_database,
                    "it works on what a crash left, and leaves that to the next start") {
    open();
    commit({message(tenant, room, 7, "ann", "seven")});
    crash();
    const auto report = verify_sqlite(options.file);
    REQUIRE(report);
    CHECK(report->problems.empty());
    CHECK(report->entries == 7);
    open();
    CHECK(db->report().recovered);
    CHECK(log_of(room).size() == 7);
    commit({message(tenant, room, 8, "ann", "eight")});
  }

  TEST_CASE("whatever is wrong is found") {
    for (const char* sql : {
             "DELETE FROM room_log WHERE seq = 2",
             "DELETE FROM room_log WHERE seq = 6",
             "DELETE FROM room_log WHERE seq = 1",
             "UPDATE room_log SET seq = 9 WHERE seq = 6",
             "UPDATE room_log SET id = 99 WHERE seq = 5",
             "UPDATE room_log SET kind = 2 WHERE seq = 5",
             "UPDATE room_log SET sender_no = 1 WHERE seq = 5",
             "UPDATE room_log SET deleted = 1 WHERE seq = 5",
             "DELETE FROM messages WHERE seq = 6",
             "DELETE FROM messages WHERE seq = 2; DELETE FROM room_log WHERE seq = 2; UPDATE rooms "
             "SET first_seq = 3",
             "UPDATE messages SET seq = 7 WHERE seq = 6",
             "UPDATE messages SET room_no = 2 WHERE seq = 6",
             "UPDATE messages SET tenant_no = 2 WHERE seq = 6",
             "UPDATE messages SET message_id = randomblob(16) WHERE seq = 5",
             "UPDATE messages SET created_at = created_at + 1 WHERE seq = 5",
             "UPDATE messages SET id = id + 100 WHERE seq = 6; UPDATE room_log SET id = id + 100 "
             "WHERE seq = 6",
             "UPDATE messages SET sender_no = NULL WHERE seq = 5",
             "UPDATE messages SET body = NULL WHERE seq = 4",
             "UPDATE messages SET target_seq = 5 WHERE seq = 6",
             "UPDATE messages SET target_seq = 6 WHERE seq = 6",
             "UPDATE messages SET content = 'back' WHERE seq = 2",
             "UPDATE messages SET meta = '1' WHERE seq = 2",
             "UPDATE messages SET kind = 2, content = 'kept', edited_at = 1 WHERE kind = 3; "
             "UPDATE room_log SET kind = 2 WHERE kind = 3; UPDATE messages SET edited_at = 1, "
             "deleted_at = NULL WHERE seq = 2; UPDATE room_log SET deleted = 0 WHERE seq = 2",
             "UPDATE messages SET kind = 2, content = NULL, edited_at = 1 WHERE kind = 3; "
             "UPDATE room_log SET kind = 2 WHERE kind = 3; UPDATE messages SET deleted_at = NULL "
             "WHERE seq = 2; UPDATE room_log SET deleted = 0 WHERE seq = 2",
             "UPDATE messages SET deleted_at = NULL WHERE seq = 2; UPDATE room_log SET deleted = 0 "
             "WHERE seq = 2",
             "UPDATE rooms SET first_seq = 2 WHERE room_no = 1",
             "UPDATE rooms SET first_seq = 2 WHERE room_no = 2",
             "UPDATE rooms SET member_count = 9 WHERE room_no = 1",
             "UPDATE rooms SET dm_key = NULL WHERE room_no = 2",
             "DELETE FROM rooms WHERE room_no = 1",
             "DELETE FROM room_members WHERE room_no = 1 AND user_no = 2",
             "UPDATE room_members SET tenant_no = 2 WHERE user_no = 3",
             "UPDATE room_members SET joined_seq = 7 WHERE user_no = 3",
             "UPDATE users SET tenant_no = 2 WHERE user_no = 3",
             "UPDATE send_keys SET seq = 5",
             "UPDATE send_keys SET seq = 2",
             "UPDATE send_keys SET seq = 77 WHERE sender_no = 1",
             "UPDATE send_keys SET message_id = randomblob(16)",
             "UPDATE send_keys SET call = 2",
             "UPDATE send_keys SET answered_at = created_at",
             "UPDATE send_keys SET seq = 5, answered_at = 1, call = 2",
             "UPDATE delivery_state SET last_ack = 7",
             "UPDATE delivery_state SET last_ack = 2",
             "INSERT INTO delivery_state VALUES(1, 3, 2, 0, 0, 0)",
             "UPDATE commits SET hash = randomblob(32) WHERE no = 4",
             "UPDATE commits SET hash = randomblob(32) WHERE no = 6",
             "UPDATE commits SET first_id = first_id + 1 WHERE no = 4",
             "UPDATE commits SET last_id = last_id + 1 WHERE no = 4",
             "UPDATE commits SET last_id = 0 WHERE no = 5",
             "DELETE FROM commits WHERE no = 4",
             "DELETE FROM commits WHERE no > 3",
         }) {
      INFO(sql);
      good_database d;
      d.break_with(sql);
      const auto report = verify_sqlite(d.options.file);
      REQUIRE(report);
      CHECK_FALSE(report->problems.empty());
    }
  }

  TEST_CASE("what pruning, retention and the deletion of a room leave behind is no problem") {
    for (const char* sql : {
             "DELETE FROM commits WHERE no < 5",
             "DELETE FROM commits WHERE no < 6",
             "DELETE FROM send_keys",
             "UPDATE rooms SET first_seq = 3 WHERE room_no = 1; DELETE FROM messages WHERE seq < "
             "3; "
             "DELETE FROM room_log WHERE seq < 3",
             "UPDATE rooms SET deleted_at = 1 WHERE room_no = 1",
             "UPDATE rooms SET deleted_at = 1 WHERE room_no = 1; DELETE FROM messages WHERE "
             "room_no = 1 AND seq < 4; "
             "DELETE FROM room_log WHERE room_no = 1 AND seq < 4; DELETE FROM room_members WHERE "
             "room_no = 1; "
             "DELETE FROM delivery_state WHERE room_no = 1",
         }) {
      INFO(sql);
      good_database d;
      d.break_with(sql);
      d.check_clean();
    }
  }

  TEST_CASE_FIXTURE(good_database, "of very many problems a hundred are told") {
    break_with(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) "
        "INSERT INTO room_log SELECT 1, 1000 + 2 * i, 5000 + i, 1, 1, 0 FROM n");
    CHECK(verify_sqlite(options.file)->problems.size() == 100);
  }
}
