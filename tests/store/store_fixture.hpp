#pragma once
/// What the tests of the store share: a directory that goes away, a clock that stands still, and words for the rows.

#include "protocol/entry.hpp"
#include "protocol/seams.hpp"
#include "protocol/uuid.hpp"
#include "store/sqlite_db.hpp"
#include "store/sqlite_store.hpp"
#include "store/store.hpp"
#include "tests/support/temp_dir.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace parley::store::test {

inline std::string words(const db_failure& f) { return f.text; }
inline std::string words(const error& e) { return e.message; }
inline std::string words(const write_error& e) {
  return "scope " + std::to_string(static_cast<int>(e.scope)) + ": " + e.why.message + " (" +
         e.detail + ")";
}

}  // namespace parley::store::test

// What doctest prints of a result: without this it would ask for operator<< of both sides.
template <class T, class E>
struct doctest::StringMaker<boost::system::result<T, E>> {
  static String convert(const boost::system::result<T, E>& r) {
    return (r ? std::string{"success"} : parley::store::test::words(r.error())).c_str();
  }
};

namespace parley::store::test {

using parley::tests::temp_dir;

class manual_clock final : public parley::clock {
 public:
  [[nodiscard]] utc_time now() const override { return from_unix_ms(ms_); }
  [[nodiscard]] mono_time mono() const override {
    return mono_time{std::chrono::milliseconds{ms_}};
  }
  void advance(std::chrono::milliseconds by) { ms_ += by.count(); }

 private:
  std::int64_t ms_ = 1'790'000'000'000;
};

class seeded_random final : public random_source {
 public:
  explicit seeded_random(std::uint64_t seed) : engine_(seed) {}
  void fill(std::span<std::uint8_t> out) override {
    for (auto& b : out) b = static_cast<std::uint8_t>(engine_());
  }
  /// 0 … n-1.
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(engine_() % n); }
  bool chance(unsigned percent) { return engine_() % 100 < percent; }

 private:
  std::mt19937_64 engine_;
};

inline user_id operator""_user(const char* text, std::size_t size) {
  return user_id{std::string_view{text, size}};
}

/// A store in a directory of its own, with the words to fill it. Each commit must succeed unless said otherwise.
class store_fixture {
 public:
  explicit store_fixture(std::uint64_t seed = 1) : random(seed), ids(time, random) {
    options.file = dir / "parley.db";
    options.ballast_bytes = 0;
    options.boot_id = "boot-1";
  }

  void open() {
    auto opened = open_sqlite(options, time, random);
    REQUIRE(opened);
    db = std::move(*opened);
    auto r = db->new_reader();
    REQUIRE(r);
    reads = std::move(*r);
  }
  /// What a crash looks like.
  void crash() {
    reads.reset();
    db.reset();
  }
  void close() {
    REQUIRE(db->writer().close_clean());
    crash();
  }
  store::writer& writes() { return db->writer(); }

  tenant_no make_tenant(const char* id = "tenant_1") {
    REQUIRE(writes().begin());
    auto no = writes().create_tenant({.id = tenant_id{id},
                                      .name = "Acme",
                                      .config = "{}",
                                      .created_at = time.now(),
                                      .credentials = {}});
    REQUIRE(no);
    REQUIRE(writes().commit());
    return *no;
  }
  new_room a_room(tenant_no tenant, std::vector<user_id> members, room_type type = room_type::group) {
    new_room r;
    r.tenant = tenant;
    r.id = room_id{ids.next()};
    r.type = type;
    r.created_at = time.now();
    for (auto& m : members) r.members.emplace_back(std::move(m), member_role::member);
    return r;
  }
  created_room make_room(tenant_no tenant, std::vector<user_id> members,
                         room_type type = room_type::group) {
    REQUIRE(writes().begin());
    auto made = writes().create_room(a_room(tenant, std::move(members), type));
    REQUIRE(made);
    REQUIRE(writes().commit());
    return *made;
  }

  append_row row(tenant_no tenant, room_no room, std::int64_t seq, entry_body body) {
    append_row r;
    r.tenant = tenant;
    r.room = room;
    r.e.seq = room_seq{seq};
    r.e.created_at = time.now();
    r.e.body = std::move(body);
    if (r.e.kind() == entry_kind::message) r.e.message = message_id{ids.next()};
    return r;
  }
  append_row message(tenant_no tenant, room_no room, std::int64_t seq, const char* from,
                     std::string content) {
    message_body b;
    b.sender = user_id{from};
    b.content = std::move(content);
    auto r = row(tenant, room, seq, std::move(b));
    r.e.actor = user_id{from};
    return r;
  }
  append_row edit_of(const append_row& original, std::int64_t seq, std::string content) {
    message_edited_body b;
    b.message_seq = original.e.seq;
    b.content = std::move(content);
    b.edited_at = time.now();
    auto r = row(original.tenant, original.room, seq, std::move(b));
    r.e.message = original.e.message;
    r.e.actor = original.e.actor;
    return r;
  }
  append_row delete_of(const append_row& original, std::int64_t seq) {
    auto r =
        row(original.tenant, original.room, seq, message_deleted_body{original.e.seq, time.now()});
    r.e.message = original.e.message;
    r.e.actor = original.e.actor;
    return r;
  }
  static send_key key_of(const char* sender, const char* key, const char* body = "body",
                         keyed_call call = keyed_call::send) {
    return {user_id{sender}, hash128_of(key), call, hash128_of(body)};
  }

  /// All in one transaction, which must succeed.
  commit_no commit(const std::vector<append_row>& rows) {
    REQUIRE(writes().begin());
    for (const auto& r : rows) {
      auto done = writes().append(r);
      REQUIRE(done);
    }
    auto done = writes().commit();
    REQUIRE(done);
    return *done;
  }

  /// The whole log of a room.
  std::vector<entry> log_of(room_no room) {
    auto p = reads->page(room, room_seq{0}, room_seq{INT64_MAX}, 100000, SIZE_MAX);
    REQUIRE(p);
    return p->entries;
  }

  void check_clean() {
    const auto report = verify_sqlite(options.file, options.vfs);
    REQUIRE(report);
    CHECK(report->problems == std::vector<std::string>{});
  }

  temp_dir dir;
  manual_clock time;
  seeded_random random;
  uuid7_generator ids;
  sqlite_options options;
  std::unique_ptr<database> db;
  std::unique_ptr<store::reader> reads;
};

}  // namespace parley::store::test
