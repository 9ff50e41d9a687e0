// Opening: one process, our files, our version, and what a start finds.

#include "store/data_dir.hpp"
#include "store/migrations.hpp"
#include "store/node_lock.hpp"
#include "tests/store/store_fixture.hpp"

#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

using namespace parley;
using namespace parley::store;
using namespace parley::store::test;

namespace {

/// Straight to the file, while no node has it open.
void run_sql(const std::filesystem::path& file, const std::string& sql) {
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open(file.c_str(), &db) == SQLITE_OK);
  char* why = nullptr;
  const int rc = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &why);
  INFO((why != nullptr ? why : ""));
  CHECK(rc == SQLITE_OK);
  sqlite3_free(why);
  sqlite3_close(db);
}

std::string query_text(const std::filesystem::path& file, const std::string& sql) {
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open_v2(file.c_str(), &db, SQLITE_OPEN_READONLY, nullptr) == SQLITE_OK);
  sqlite3_stmt* s = nullptr;
  REQUIRE_MESSAGE(sqlite3_prepare_v2(db, sql.c_str(), -1, &s, nullptr) == SQLITE_OK,
                  sqlite3_errmsg(db));
  std::string out;
  while (sqlite3_step(s) == SQLITE_ROW) {
    for (int i = 0; i < sqlite3_column_count(s); ++i) {
      const auto* text = sqlite3_column_text(s, i);
      if (i > 0) out += '|';
      out += text != nullptr ? reinterpret_cast<const char*>(text) : "null";
    }
    out += '\n';
  }
  sqlite3_finalize(s);
  sqlite3_close(db);
  return out;
}

error refused(const sqlite_options& options, const parley::clock& now, random_source& random) {
  auto opened = open_sqlite(options, now, random);
  REQUIRE_FALSE(opened);
  return opened.error();
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_SUITE("SPEC 7 one process per database") {
  TEST_CASE_FIXTURE(store_fixture, "a second open is refused and says who holds it") {
    open();
    const error e = refused(options, time, random);
    CHECK(e.code == error_code::conflict);
    CHECK(contains(e.message, "pid " + std::to_string(getpid())));
    CHECK(contains(e.message, to_rfc3339(time.now())));
    crash();
    open();
  }

  TEST_CASE_FIXTURE(
      store_fixture,
      "another process is refused, too, and the lock ends with its holder, even killed") {
    int ready[2];
    REQUIRE(pipe(ready) == 0);
    const pid_t child = fork();
    if (child == 0) {
      auto lock = node_lock::take(options.file.string() + ".lock", time.now());
      const char told = lock ? 'y' : 'n';
      if (write(ready[1], &told, 1) != 1) _exit(1);
      pause();
      _exit(0);
    }
    char told = 0;
    REQUIRE(::read(ready[0], &told, 1) == 1);
    CHECK(told == 'y');
    const error e = refused(options, time, random);
    CHECK(contains(e.message, "pid " + std::to_string(child)));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    ::close(ready[0]);
    ::close(ready[1]);
    open();
  }

  TEST_CASE_FIXTURE(store_fixture, "what a lock file says can't break a log line") {
    std::filesystem::path lock_file = options.file.string() + ".lock";
    auto lock = node_lock::take(lock_file, time.now());
    REQUIRE(lock);
    FILE* f = fopen(lock_file.c_str(), "w");
    REQUIRE(f != nullptr);
    fputs("pid 1\nERROR fake\x1b[31m", f);
    fclose(f);
    const error e = refused(options, time, random);
    CHECK(std::none_of(e.message.begin(), e.message.end(),
                       [](char c) { return static_cast<unsigned char>(c) < 0x20; }));
  }
}

TEST_SUITE("SPEC 8 migrations") {
  TEST_CASE_FIXTURE(store_fixture,
                    "a new database has the newest version, and opening it again changes nothing") {
    open();
    CHECK(db->report().created);
    CHECK_FALSE(db->report().recovered);
    const epoch_id epoch = db->epoch();
    CHECK_FALSE(epoch.empty());
    close();
    const std::string newest = std::to_string(newest_schema_version()) + "\n";
    CHECK(query_text(options.file, "PRAGMA user_version") == newest);
    CHECK(query_text(options.file, "SELECT max(version) FROM schema_migrations") == newest);
    CHECK(query_text(options.file, "PRAGMA page_size") == "4096\n");
    CHECK(query_text(options.file, "PRAGMA journal_mode") == "wal\n");
    open();
    CHECK_FALSE(db->report().created);
    CHECK(db->epoch() == epoch);
  }

  TEST_CASE_FIXTURE(store_fixture,
                    "a database of version 1 after its migration: its keys are found, its "
                    "webhook_url is called from then on") {
    const auto hex = [](const hash128& h) {
      std::string out;
      for (const auto byte : h.bytes) {
        out += "0123456789abcdef"[byte >> 4U];
        out += "0123456789abcdef"[byte & 15U];
      }
      return out;
    };
    run_sql(options.file,
            migrations()[0].sql() +
                "PRAGMA user_version=1; PRAGMA application_id=" + std::to_string(application_id) +
                "; INSERT INTO schema_migrations VALUES(1, 'the log', 1);"
                "INSERT INTO meta VALUES('database_id', randomblob(16)), ('epoch', 'e1'), "
                "('created_at', 1);"
                "INSERT INTO commits VALUES(1, 1, 1, randomblob(32), 1);"
                "INSERT INTO tenants VALUES(1, 'tenant_1', 'Acme', "
                "'{\"webhook_url\":\"https://a.example/\"}', 0, 1, NULL);"
                "INSERT INTO users(user_no, tenant_no, user_id) VALUES(1, 1, 'ann');"
                "INSERT INTO rooms(room_no, tenant_no, room_id, type, posting, member_count, "
                "created_at, updated_at) VALUES(1, 1, randomblob(16), 2, 1, 1, 1, 1);"
                "INSERT INTO room_members VALUES(1, 1, 1, 1, 0, 1);"
                "INSERT INTO messages(id, tenant_no, room_no, seq, kind, message_id, sender_no, "
                "content, created_at) VALUES(1, 1, 1, 1, 1, randomblob(16), 1, 'hello', 5);"
                "INSERT INTO room_log VALUES(1, 1, 1, 1, 1, 0);"
                "INSERT INTO send_keys SELECT 1, 1, x'" +
                hex(hash128_of("k")) + "', 1, x'" + hex(hash128_of("body")) +
                "', 1, message_id, 5 FROM messages;");
    open();
    const auto found = reads->look_up(room_no{1}, "ann"_user, hash128_of("k"), utc_time{});
    REQUIRE(found);
    REQUIRE(found->key);
    CHECK(found->key->seq == room_seq{1});
    CHECK(found->key->created_at == from_unix_ms(5));
    const auto endpoint = reads->outbox()->endpoint(tenant_no{1});
    REQUIRE(endpoint);
    REQUIRE(*endpoint);
    CHECK((*endpoint)->url == "https://a.example/");
    CHECK((*endpoint)->since == log_id{1});
    const auto positions = reads->outbox()->positions();
    REQUIRE(positions);
    CHECK(positions->events == log_id{1});
    CHECK(positions->offline == log_id{1});
    close();
    CHECK(query_text(options.file, "PRAGMA user_version") ==
          std::to_string(newest_schema_version()) + "\n");
  }

  TEST_CASE_FIXTURE(
      store_fixture,
      "a database from a newer version is refused, both versions named, and left alone") {
    open();
    close();
    run_sql(options.file, "PRAGMA user_version=7777");
    const error e = refused(options, time, random);
    CHECK(e.code == error_code::conflict);
    CHECK(contains(e.message, "7777"));
    CHECK(contains(e.message, std::to_string(newest_schema_version())));
    CHECK(query_text(options.file, "PRAGMA user_version") == "7777\n");
    const auto verified = verify_sqlite(options.file);
    REQUIRE_FALSE(verified);
    CHECK(contains(verified.error().message, "7777"));
  }

  TEST_CASE_FIXTURE(store_fixture, "somebody else's database, or no database, is refused") {
    run_sql(options.file, "CREATE TABLE mine(x)");
    CHECK(contains(refused(options, time, random).message, "not one of Parley's"));
    std::filesystem::remove(options.file);
    std::filesystem::remove(options.file.string() + "-wal");
    std::filesystem::remove(options.file.string() + "-shm");
    dir.write("parley.db", std::string(5000, 'x'));
    const error e = refused(options, time, random);
    CHECK(contains(e.message, "not a database"));
    CHECK(contains(e.message, "backup"));
    CHECK_FALSE(verify_sqlite(options.file));
    CHECK_FALSE(verify_sqlite(dir / "no-such.db"));
  }

  TEST_CASE_FIXTURE(store_fixture, "the classic tables are shown by views") {
    open();
    REQUIRE(writes().begin());
    const auto tenant =
        writes().create_tenant({.id = tenant_id{"tenant_1"},
                                .name = "Acme",
                                .config = "{}",
                                .created_at = time.now(),
                                .credentials = {{key_id{"key_1"}, "api_key", sha256("sk_1"), ""}}});
    REQUIRE(tenant);
    REQUIRE(writes().commit());
    const auto dm = make_room(*tenant, {"b:ob"_user, "ann"_user}, room_type::dm);
    auto m = message(*tenant, dm.no, 1, "ann", "hi");
    std::get<message_body>(m.e.body).meta = json_text{"{\"x\":1}"};
    commit({m, message(*tenant, dm.no, 2, "b:ob", "ho")});
    REQUIRE(writes().begin());
    REQUIRE(writes().move_cursor({*tenant, "ann"_user, dm.info.id, room_seq{1}, false}));
    REQUIRE(writes().commit());
    close();
    const std::string room = dm.info.id.id.to_string();
    const std::string id = m.e.message.id.to_string();
    CHECK(query_text(options.file,
                     "SELECT tenant_id, length(api_key_hash), name, config, created_at FROM "
                     "chatapi_tenants") == "tenant_1|64|Acme|{}|2026-09-21 14:13:20\n");
    CHECK(query_text(options.file, "SELECT * FROM chatapi_rooms") ==
          room + "|tenant_1|dm|dm:ann:b%3Aob|null|2|2026-09-21 14:13:20|null\n");
    CHECK(query_text(options.file, "SELECT * FROM chatapi_room_members WHERE user_id = 'ann'") ==
          room + "|tenant_1|ann|member|2026-09-21 14:13:20\n");
    CHECK(query_text(options.file, "SELECT * FROM chatapi_messages WHERE seq = 1") ==
          id + "|tenant_1|" + room + "|ann|1|hi|{\"x\":1}|2026-09-21 14:13:20.000+00:00\n");
    CHECK(query_text(options.file, "SELECT * FROM chatapi_delivery_state") ==
          "tenant_1|ann|" + room + "|1|2026-09-21 14:13:20\n");
    CHECK(query_text(
              options.file,
              "SELECT user_id, seq, message_id FROM chatapi_undelivered_messages ORDER BY seq") ==
          "b:ob|1|" + id + "\nann|2|" +
              query_text(options.file, "SELECT message_id FROM chatapi_messages WHERE seq = 2"));
  }
}

TEST_SUITE("SPEC 8 where the files lie") {
  TEST_CASE("network file systems are refused by their magic") {
    CHECK(network_file_system(0x6969) == "NFS");
    CHECK(network_file_system(static_cast<long>(0xfe534d42)) == "SMB2");
    CHECK(network_file_system(static_cast<int>(0xff534d42)) == "CIFS");  // a sign-extended 32-bit value
    CHECK(network_file_system(0x01021997) == "9P");
    CHECK(network_file_system(0xef53).empty());      // ext
    CHECK(network_file_system(0x01021994).empty());  // tmpfs
    CHECK(network_file_system(0x58465342).empty());  // xfs
    CHECK(network_file_system(0x9123683e).empty());  // btrfs
  }

  TEST_CASE_FIXTURE(store_fixture,
                    "a relative path, or a directory that is not there, is refused") {
    options.file = "parley.db";
    CHECK(refused(options, time, random).code == error_code::validation);
    options.file = dir / "no-such-dir/parley.db";
    CHECK(contains(refused(options, time, random).message, "no-such-dir"));
  }

  TEST_CASE_FIXTURE(store_fixture, "only the owner may read the files") {
    open();
    make_tenant();
    for (const char* suffix : {"", "-wal", "-shm", ".lock"}) {
      struct stat s {};
      REQUIRE(stat((options.file.string() + suffix).c_str(), &s) == 0);
      INFO(suffix);
      CHECK((s.st_mode & 0777) == 0600);
    }
  }

  TEST_CASE_FIXTURE(store_fixture, "the ballast is kept, and given back at once") {
    options.ballast_bytes = 1 << 20;
    open();
    const std::filesystem::path ballast = options.file.string() + ".ballast";
    if (std::filesystem::exists(ballast)) {  // a file system that can't reserve has none
      CHECK(std::filesystem::file_size(ballast) == options.ballast_bytes);
      CHECK(release_ballast(ballast));
    }
    CHECK_FALSE(release_ballast(ballast));
  }
}

TEST_SUITE("I12 a crash differs only in manners") {
  TEST_CASE_FIXTURE(store_fixture,
                    "what was committed is there after a crash, and the epoch stays") {
    open();
    const tenant_no tenant = make_tenant();
    const room_no room = make_room(tenant, {"ann"_user}).no;
    commit({message(tenant, room, 1, "ann", "one")});
    const epoch_id epoch = db->epoch();
    const commit_no last = writes().status().last_commit;
    crash();
    open();
    CHECK(db->report().recovered);
    CHECK_FALSE(db->report().history_may_be_lost);
    CHECK_FALSE(db->report().created);
    CHECK(db->epoch() == epoch);
    CHECK(writes().status().last_commit == last);
    CHECK(log_of(room).size() == 1);
    commit({message(tenant, room, 2, "ann", "two")});
    check_clean();
  }

  TEST_CASE_FIXTURE(store_fixture, "an open transaction is gone after a crash") {
    open();
    const tenant_no tenant = make_tenant();
    const room_no room = make_room(tenant, {"ann"_user}).no;
    REQUIRE(writes().begin());
    REQUIRE(writes().append(message(tenant, room, 1, "ann", "lost")));
    crash();
    open();
    CHECK(log_of(room).empty());
    commit({message(tenant, room, 1, "ann", "kept")});
    check_clean();
  }

  TEST_CASE_FIXTURE(store_fixture,
                    "after a clean end the WAL is empty and the start finds nothing to recover") {
    open();
    const tenant_no tenant = make_tenant();
    make_room(tenant, {"ann"_user});
    close();
    CHECK(std::filesystem::file_size(options.file.string() + "-wal") == 0);
    open();
    CHECK_FALSE(db->report().recovered);
    CHECK(db->report().why.empty());
    check_clean();
  }
}
