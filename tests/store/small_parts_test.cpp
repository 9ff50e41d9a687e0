// The parts of the store that can be looked at alone.

#include "store/bounded_cache.hpp"
#include "store/commit_chain.hpp"
#include "store/entry_rows.hpp"
#include "store/page_cursor.hpp"
#include "store/reader_gate.hpp"
#include "store/room_rows.hpp"
#include "tests/store/store_fixture.hpp"
#include "tests/support/seeds.hpp"

#include <algorithm>
#include <map>
#include <thread>

using namespace parley;
using namespace parley::store;
using namespace parley::store::test;

TEST_SUITE("I7 what the store remembers is bounded") {
  TEST_CASE("a cache never holds more than its bound, and never tells anything wrong") {
    parley::tests::for_each_seed(20, [](std::uint64_t seed) {
      seeded_random random{seed};
      bounded_cache<int, int> cache{8};
      std::map<int, int> truth;
      for (int i = 0; i < 2000; ++i) {
        const int key = static_cast<int>(random.below(24));
        switch (random.below(10)) {
          case 0:
            cache.erase(key);
            truth.erase(key);
            break;
          case 1:
            if (random.chance(5)) {
              cache.clear();
              truth.clear();
            }
            break;
          case 2:
          case 3:
          case 4:
            cache.put(key, i);
            truth[key] = i;
            break;
          default:
            if (const int* found = cache.find(key)) {
              REQUIRE(truth.contains(key));
              REQUIRE(*found == truth[key]);
            }
        }
        REQUIRE(cache.size() <= 9);
      }
    });
  }

  TEST_CASE("what is used stays, what is not goes") {
    bounded_cache<int, int> cache{8};
    cache.put(0, 0);
    for (int i = 1; i < 100; ++i) {
      cache.put(i, i);
      REQUIRE(cache.find(0) != nullptr);
    }
    CHECK(cache.find(1) == nullptr);
    CHECK(cache.find(99) != nullptr);
  }
}

TEST_SUITE("SPEC 4 cursors of lists") {
  TEST_CASE("a cursor is read as it was written") {
    for (const std::int64_t a :
         {std::int64_t{0}, std::int64_t{1}, std::int64_t{-1}, INT64_MAX, INT64_MIN}) {
      for (const std::int64_t b : {std::int64_t{0}, std::int64_t{7}, INT64_MAX}) {
        const std::string text = encode_cursor(cursor_kind::members, {a, b});
        CHECK(text.find_first_not_of(
                  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") ==
              std::string::npos);
        CHECK(decode_cursor(cursor_kind::members, text) == cursor_position{a, b});
        CHECK_FALSE(decode_cursor(cursor_kind::tenants, text));
      }
    }
  }
}

TEST_SUITE("SPEC 8 stored forms") {
  TEST_CASE("the pair of a dm_key is read back, whatever is in the ids") {
    for (const auto& [a, b] :
         std::vector<std::pair<std::string, std::string>>{{"a", "b"},
                                                          {"a:b", "c"},
                                                          {"1:x", "2"},
                                                          {std::string(128, 'x'), "\xc3\xa9"},
                                                          {"3:ann", "3:bob"}}) {
      const auto pair = split_dm_key(dm_key(user_id{b}, user_id{a}));
      REQUIRE(pair);
      CHECK(pair->first.value == std::min(a, b));
      CHECK(pair->second.value == std::max(a, b));
    }
    for (const char* wrong :
         {"", "3", "3:an", "3:ann", "3:ann3:bo", "3:ann3:bobx", "x:ann3:bob", "-1:a1:b", ":a1:b"}) {
      CHECK_FALSE(split_dm_key(wrong));
    }
  }

  TEST_CASE("the body of a membership is read back; what has another form is none") {
    const auto back = parse_members_body(members_body({user_no{7}, user_no{12}}, member_role::admin));
    REQUIRE(back);
    CHECK(back->users == std::vector{user_no{7}, user_no{12}});
    CHECK(back->role == 2);
    CHECK(parse_members_body(members_body({user_no{1}}, leave_reason::erased))->reason == 3);
    for (const char* wrong :
         {"", "x", "[]", "{}", R"({"users":7})", R"({"users":["a"]})", R"({"users":[1.5]})"}) {
      CHECK_FALSE(parse_members_body(wrong));
    }
  }

  TEST_CASE("the chain depends on each field of each row, on their order and on what was before") {
    const auto of = [](const sha256_digest& before, std::vector<std::array<std::int64_t, 5>> rows) {
      commit_chain c{before};
      for (const auto& r : rows) {
        message_id m;
        m.id.bytes[15] = static_cast<std::uint8_t>(r[3]);
        c.add(log_id{r[0]}, room_no{r[1]}, room_seq{r[2]}, entry_kind::message, m,
              from_unix_ms(r[4]));
      }
      return c.hash();
    };
    const auto base = of(chain_start, {{1, 2, 3, 4, 5}, {6, 7, 8, 9, 10}});
    CHECK(base == of(chain_start, {{1, 2, 3, 4, 5}, {6, 7, 8, 9, 10}}));
    CHECK(base != of(chain_start, {{6, 7, 8, 9, 10}, {1, 2, 3, 4, 5}}));
    CHECK(base != of(base, {{1, 2, 3, 4, 5}, {6, 7, 8, 9, 10}}));
    CHECK(base != of(chain_start, {{1, 2, 3, 4, 5}}));
    for (std::size_t i = 0; i < 5; ++i) {
      std::array<std::int64_t, 5> changed{6, 7, 8, 9, 10};
      ++changed[i];
      CHECK(base != of(chain_start, {{1, 2, 3, 4, 5}, changed}));
    }
  }
}

TEST_SUITE("SPEC 8 the reader gate") {
  using namespace std::chrono_literals;

  TEST_CASE("a closed gate lets nobody in, and lets those inside finish") {
    reader_gate gate;
    REQUIRE(gate.enter(0ms));
    CHECK_FALSE(gate.close(1ms));  // one is inside
    CHECK_FALSE(gate.enter(1ms));
    gate.leave();
    CHECK(gate.close(0ms));
    gate.open();
    CHECK(gate.enter(0ms));
    gate.leave();
  }

  TEST_CASE(
      "who waits at the gate goes in when it opens, and the writer goes on when the last has "
      "left") {
    reader_gate gate;
    REQUIRE(gate.enter(0ms));
    std::thread writer{[&] {
      const bool alone = gate.close(60s);
      gate.open();
      CHECK(alone);
    }};
    std::thread reader{[&] {
      const bool inside = gate.enter(60s);
      CHECK(inside);
      if (inside) gate.leave();
    }};
    gate.leave();
    writer.join();
    reader.join();
  }
}
