// Reading: the lists and pages that the node answers with, and their order.

#include "tests/store/store_fixture.hpp"

#include <thread>

using namespace parley;
using namespace parley::store;
using namespace parley::store::test;

namespace {

using anchor = page_position::anchor;

std::vector<std::int64_t> seqs_of(const std::vector<entry>& entries) {
  std::vector<std::int64_t> out;
  for (const auto& e : entries) out.push_back(e.seq.value);
  return out;
}

using seqs = std::vector<std::int64_t>;

/// A group of ann and bob with ten entries: messages but for 4 (an edit) and 8 (a new name).
struct with_log : store_fixture {
  with_log() {
    open();
    tenant = make_tenant();
    made = a_room(tenant, {"ann"_user, "bob"_user});
    REQUIRE(writes().begin());
    room = writes().create_room(made)->no;
    REQUIRE(writes().commit());
    std::vector<append_row> rows;
    for (std::int64_t seq = 1; seq <= 10; ++seq) {
      if (seq == 4) {
        rows.push_back(edit_of(rows[0], seq, "edited"));
      } else if (seq == 8) {
        rows.push_back(
            row(tenant, room, seq, room_updated_body{.name = std::optional<std::string>{"n"}}));
      } else {
        rows.push_back(
            message(tenant, room, seq, seq % 2 == 0 ? "bob" : "ann", std::string(100, 'x')));
      }
    }
    commit(rows);
    original = rows;
  }
  history_page history(page_position from, std::size_t limit, bool messages_only = false,
                       std::size_t offset = 0) {
    auto p = reads->history(room, from, limit, messages_only, offset);
    REQUIRE(p);
    CHECK(p->first_seq == room_seq{1});
    CHECK(p->last_seq == room_seq{10});
    return *p;
  }
  tenant_no tenant;
  new_room made;
  room_no room;
  std::vector<append_row> original;
};

}  // namespace

TEST_SUITE("SPEC 4 history") {
  TEST_CASE_FIXTURE(with_log, "a page starts where it was asked to and says what lies beyond") {
    struct row {
      page_position from;
      std::size_t limit;
      bool messages_only;
      std::size_t offset;
      seqs expected;
      bool before;
      bool after;
      const char* why;
    };
    const std::vector<row> rows = {
        {{}, 3, false, 0, {8, 9, 10}, true, false, "the newest page"},
        {{}, 3, true, 0, {7, 9, 10}, true, false, "of messages"},
        {{}, 3, false, 2, {6, 7, 8}, true, true, "two newer ones skipped"},
        {{}, 100, false, 0, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, false, false, "all there is"},
        {{}, 100, true, 0, {1, 2, 3, 5, 6, 7, 9, 10}, false, false, "all messages"},
        {{anchor::oldest}, 3, false, 0, {1, 2, 3}, false, true, "the oldest page"},
        {{anchor::oldest}, 3, true, 3, {5, 6, 7}, true, true, "ChatAPI's offset"},
        {{anchor::oldest}, 3, false, 99, {}, true, false, "an offset beyond the end"},
        {{anchor::after, room_seq{3}}, 2, false, 0, {4, 5}, true, true, "after, exclusive"},
        {{anchor::after, room_seq{3}}, 2, true, 0, {5, 6}, true, true, "after, messages"},
        {{anchor::after, room_seq{0}}, 2, false, 0, {1, 2}, false, true, "after nothing"},
        {{anchor::after, room_seq{8}}, 9, false, 0, {9, 10}, true, false, "up to the end"},
        {{anchor::after, room_seq{10}}, 9, false, 0, {}, true, false, "after the last"},
        {{anchor::after, room_seq{999}},
         9,
         false,
         0,
         {},
         true,
         false,
         "after what is not there yet"},
        {{anchor::after, room_seq{INT64_MAX}},
         9,
         false,
         0,
         {},
         true,
         false,
         "after all that can be"},
        {{anchor::before, room_seq{5}}, 2, false, 0, {3, 4}, true, true, "before, exclusive"},
        {{anchor::before, room_seq{5}}, 2, true, 0, {2, 3}, true, true, "before, messages"},
        {{anchor::before, room_seq{3}}, 9, false, 0, {1, 2}, false, true, "down to the start"},
        {{anchor::before, room_seq{1}}, 9, false, 0, {}, false, true, "before the first"},
        {{anchor::before, room_seq{0}}, 9, false, 0, {}, false, true, "before all"},
        {{anchor::before, room_seq{999}},
         2,
         false,
         0,
         {9, 10},
         true,
         false,
         "before what is not there yet"},
        {{anchor::around, room_seq{5}},
         4,
         false,
         0,
         {3, 4, 5, 6},
         true,
         true,
         "around, itself in it"},
        {{anchor::around, room_seq{5}}, 5, false, 0, {3, 4, 5, 6, 7}, true, true, "around, odd"},
        {{anchor::around, room_seq{5}}, 1, false, 0, {5}, true, true, "around, alone"},
        {{anchor::around, room_seq{4}},
         2,
         true,
         0,
         {3, 5},
         true,
         true,
         "around one that is no message"},
        {{anchor::around, room_seq{1}},
         4,
         false,
         0,
         {1, 2, 3, 4},
         false,
         true,
         "the other side fills"},
        {{anchor::around, room_seq{10}}, 4, false, 0, {7, 8, 9, 10}, true, false, "and this one"},
        {{anchor::around, room_seq{99}},
         4,
         false,
         0,
         {7, 8, 9, 10},
         true,
         false,
         "around what is not there yet"},
        {{anchor::around, room_seq{5}},
         99,
         false,
         0,
         {1, 2, 3, 4, 5, 6, 7, 8, 9, 10},
         false,
         false,
         "around all"},
    };
    for (const row& r : rows) {
      INFO(r.why);
      const auto page = history(r.from, r.limit, r.messages_only, r.offset);
      CHECK(seqs_of(page.entries) == r.expected);
      CHECK(page.has_more_before == r.before);
      CHECK(page.has_more_after == r.after);
    }
  }

  TEST_CASE_FIXTURE(with_log, "an empty room has an empty page and nothing beyond") {
    const room_no empty = make_room(tenant, {"ann"_user}).no;
    for (const auto from :
         {anchor::newest, anchor::oldest, anchor::after, anchor::before, anchor::around}) {
      const auto page = reads->history(empty, {from, room_seq{0}}, 10, false, 0);
      REQUIRE(page);
      CHECK(page->entries.empty());
      CHECK_FALSE(page->has_more_before);
      CHECK_FALSE(page->has_more_after);
      CHECK(page->first_seq == room_seq{1});
      CHECK(page->last_seq == room_seq{0});
    }
  }

  TEST_CASE_FIXTURE(with_log, "a message is found by its id, as it is now, in its room only") {
    const auto found = reads->message(room, original[0].e.message);
    REQUIRE(found);
    REQUIRE(*found);
    CHECK(std::get<message_body>((*found)->body).content == "edited");
    CHECK((*found)->seq == room_seq{1});
    CHECK(*reads->is_message(room, original[0].e.message));
    CHECK_FALSE(*reads->is_message(room, message_id{ids.next()}));
    const room_no other = make_room(tenant, {"ann"_user}).no;
    CHECK_FALSE(*reads->is_message(other, original[0].e.message));
    CHECK_FALSE(*reads->message(other, original[0].e.message));
  }
}

TEST_SUITE("SPEC 5 pages of a sync") {
  TEST_CASE_FIXTURE(with_log, "a page holds what lies after one seq and up to another") {
    const auto page = reads->page(room, room_seq{3}, room_seq{6}, 100, 1 << 20);
    REQUIRE(page);
    CHECK(seqs_of(page->entries) == seqs{4, 5, 6});
    CHECK(page->complete);
    CHECK(page->first_seq == room_seq{1});
    CHECK(page->last_seq == room_seq{10});
    CHECK(page->snapshot == writes().status().last_commit);
  }

  TEST_CASE_FIXTURE(with_log, "a page that is cut says so, and holds at least one entry") {
    const auto by_count = reads->page(room, room_seq{0}, room_seq{10}, 3, 1 << 20);
    CHECK(seqs_of(by_count->entries) == seqs{1, 2, 3});
    CHECK_FALSE(by_count->complete);
    const auto by_bytes = reads->page(room, room_seq{4}, room_seq{10}, 100, 1);
    CHECK(seqs_of(by_bytes->entries) == seqs{5});
    CHECK_FALSE(by_bytes->complete);
    const auto some_bytes = reads->page(room, room_seq{4}, room_seq{10}, 100, 800);
    CHECK(some_bytes->entries.size() == 3);
    const auto exact = reads->page(room, room_seq{8}, room_seq{10}, 2, 1 << 20);
    CHECK(exact->complete);
    const auto nothing = reads->page(room, room_seq{10}, room_seq{99}, 2, 1 << 20);
    CHECK(nothing->entries.empty());
    CHECK(nothing->complete);
  }

  TEST_CASE_FIXTURE(with_log,
                    "positions come with the latest entry first, rooms without any at the end") {
    const auto quiet_old = make_room(tenant, {"ann"_user});
    const auto busy = make_room(tenant, {"ann"_user});
    const auto quiet_new = make_room(tenant, {"ann"_user});
    make_room(tenant, {"bob"_user});
    commit({message(tenant, busy.no, 1, "ann", "x")});
    auto p = reads->positions(tenant, "ann"_user);
    REQUIRE(p);
    REQUIRE(p->rooms.size() == 4);
    CHECK(p->rooms[0].no == busy.no);
    CHECK(p->rooms[1].no == room);
    CHECK(p->rooms[2].no == quiet_new.no);
    CHECK(p->rooms[3].no == quiet_old.no);
    CHECK(p->rooms[1].room == made.id);
    CHECK(p->rooms[1].first_seq == room_seq{1});
    CHECK(p->rooms[1].last_seq == room_seq{10});
    CHECK(p->rooms[3].last_seq == room_seq{0});
    commit({message(tenant, room, 11, "ann", "x")});
    CHECK(reads->positions(tenant, "ann"_user)->rooms[0].no == room);
    CHECK(reads->positions(tenant, "nobody"_user)->rooms.empty());
    CHECK(reads->positions(tenant_no{99}, "ann"_user)->rooms.empty());
  }

  TEST_CASE_FIXTURE(
      with_log, "check answers in the order asked, for foreign and unknown rooms with nothing") {
    const auto mine = make_room(tenant, {"ann"_user});
    const auto others = make_room(tenant, {"bob"_user});
    const auto checked = reads->check(
        tenant, "ann"_user, {others.info.id, made.id, room_id{ids.next()}, mine.info.id, made.id});
    REQUIRE(checked);
    REQUIRE(checked->rooms.size() == 5);
    CHECK_FALSE(checked->rooms[0]);
    REQUIRE(checked->rooms[1]);
    CHECK(checked->rooms[1]->no == room);
    CHECK(checked->rooms[1]->last_seq == room_seq{10});
    CHECK_FALSE(checked->rooms[2]);
    CHECK(checked->rooms[3]->no == mine.no);
    CHECK(checked->rooms[4]->no == room);
    CHECK_FALSE(reads->check(tenant, "nobody"_user, {made.id})->rooms[0]);
    CHECK_FALSE(reads->check(tenant_no{99}, "ann"_user, {made.id})->rooms[0]);
  }
}

TEST_SUITE("SPEC 4 lists") {
  TEST_CASE_FIXTURE(with_log,
                    "unread are the messages of others after last_read that are not deleted") {
    const auto unread = [&](const char* user) {
      return reads->rooms_of(tenant, user_id{user}, 10, "", 0)->rooms.at(0).unread_count;
    };
    CHECK(unread("ann") == 3);  // bob's 2, 6, 10
    CHECK(unread("bob") == 5);  // ann's 1, 3, 5, 7, 9
    commit({delete_of(original[2], 11)});
    CHECK(unread("bob") == 4);
    REQUIRE(writes().begin());
    REQUIRE(writes().move_cursor({tenant, "bob"_user, made.id, room_seq{5}, true}));
    REQUIRE(writes().commit());
    CHECK(unread("bob") == 2);
  }

  TEST_CASE_FIXTURE(with_log, "the unread count is exact up to 1,000, whatever else lies between") {
    std::vector<append_row> rows;
    std::int64_t seq = 10;
    for (int i = 0; i < 994; ++i) {
      rows.push_back(message(tenant, room, ++seq, "ann", ""));
      rows.push_back(message(tenant, room, ++seq, "bob", ""));
      rows.push_back(row(tenant, room, ++seq, room_updated_body{.posting = posting_policy::all}));
    }
    commit(rows);
    const auto unread = [&] {
      return reads->rooms_of(tenant, "bob"_user, 10, "", 0)->rooms.at(0).unread_count;
    };
    CHECK(unread() == 999);
    commit({message(tenant, room, ++seq, "ann", "")});
    CHECK(unread() == 1000);
    commit({message(tenant, room, ++seq, "ann", "")});
    CHECK(unread() == 1000);
  }

  TEST_CASE_FIXTURE(with_log,
                    "a listed room has its newest message and the asking user's membership") {
    commit({row(tenant, room, 11, room_updated_body{.name = std::optional<std::string>{"m"}})});
    const auto list = reads->rooms_of(tenant, "bob"_user, 10, "", 0);
    REQUIRE(list);
    REQUIRE(list->rooms.size() == 1);
    const auto& r = list->rooms[0];
    CHECK(r.room.info.id == made.id);
    CHECK(r.room.info.last_seq == room_seq{11});
    REQUIRE(r.room.self);
    CHECK(r.room.self->user == "bob"_user);
    REQUIRE(r.last_message);
    CHECK(r.last_message->seq == room_seq{10});
    const auto all = reads->rooms_of_tenant(tenant, 10, "", 0);
    CHECK_FALSE(all->rooms[0].room.self);
    CHECK(all->rooms[0].last_message->seq == room_seq{10});
    CHECK(all->next_cursor.empty());
  }

  TEST_CASE_FIXTURE(with_log, "paging gives each room once, in order, in pages as asked") {
    std::vector<room_no> expected = {room};
    for (int i = 0; i < 6; ++i) {
      const auto r = make_room(tenant, {"ann"_user});
      if (i % 2 == 0) {
        commit({message(tenant, r.no, 1, "ann", "x")});
        expected.insert(expected.begin(), r.no);
      }
    }
    for (int i = 5; i >= 1; i -= 2) expected.push_back(room_no{room.value + 1 + i});
    for (std::size_t limit : {1U, 2U, 3U, 7U, 50U}) {
      std::vector<room_no> seen;
      std::string cursor;
      do {
        const auto page = reads->rooms_of(tenant, "ann"_user, limit, cursor, 0);
        REQUIRE(page);
        CHECK(page->rooms.size() <= limit);
        CHECK_FALSE(page->rooms.empty());
        for (const auto& r : page->rooms) seen.push_back(r.room.no);
        cursor = page->next_cursor;
      } while (!cursor.empty());
      CHECK(seen == expected);

      std::vector<room_no> all;
      do {
        const auto page = reads->rooms_of_tenant(tenant, limit, cursor, 0);
        REQUIRE(page);
        for (const auto& r : page->rooms) all.push_back(r.room.no);
        cursor = page->next_cursor;
      } while (!cursor.empty());
      std::sort(seen.begin(), seen.end(), std::greater<>{});
      CHECK(all == seen);
    }
    CHECK(reads->rooms_of(tenant, "ann"_user, 2, "", 5)->rooms.at(0).room.no == expected[5]);
    CHECK(reads->rooms_of(tenant, "ann"_user, 2, "", 99)->rooms.empty());
    CHECK(reads->rooms_of_tenant(tenant, 2, "", 6)->rooms.at(0).room.no == room);
  }

  TEST_CASE_FIXTURE(with_log, "members are paged in the order in which they were first named") {
    member_joined_body b;
    for (int i = 0; i < 7; ++i) b.users.emplace_back("user-" + std::to_string(9 - i));
    commit({row(tenant, room, 11, b)});
    std::vector<user_id> expected = {"ann"_user, "bob"_user};
    expected.insert(expected.end(), b.users.begin(), b.users.end());
    for (std::size_t limit : {1U, 4U, 9U, 50U}) {
      std::vector<user_id> seen;
      std::string cursor;
      do {
        const auto page = reads->members(room, limit, cursor, 0);
        REQUIRE(page);
        CHECK(page->member_count == 9);
        for (const auto& m : page->members) seen.push_back(m.member.user);
        cursor = page->next_cursor;
      } while (!cursor.empty());
      CHECK(seen == expected);
    }
    CHECK(reads->members(room, 3, "", 8)->members.at(0).member.user == "user-3"_user);
  }

  TEST_CASE_FIXTURE(with_log,
                    "a damaged cursor, or one of another list, is a mistake in `cursor`") {
    for (int i = 0; i < 3; ++i) make_room(tenant, {"ann"_user});
    const std::string good = reads->rooms_of(tenant, "ann"_user, 1, "", 0)->next_cursor;
    REQUIRE_FALSE(good.empty());
    const auto damaged = [](const auto& answer) {
      REQUIRE_FALSE(answer);
      CHECK(answer.error().code == error_code::validation);
      CHECK(answer.error().field == "cursor");
    };
    std::vector<std::string> wrong = {"x", "=", good + "A", good.substr(1),
                                      std::string(good.size(), '\0')};
    for (std::size_t i = 0; i < good.size(); ++i) {
      wrong.push_back(good);
      wrong.back()[i] = good[i] == 'A' ? 'B' : 'A';
    }
    for (const auto& cursor : wrong) {
      damaged(reads->rooms_of(tenant, "ann"_user, 1, cursor, 0));
      damaged(reads->rooms_of_tenant(tenant, 1, cursor, 0));
      damaged(reads->members(room, 1, cursor, 0));
      damaged(reads->tenants(1, cursor));
    }
    damaged(reads->rooms_of_tenant(tenant, 1, good, 0));
    damaged(reads->members(room, 1, good, 0));
    CHECK(reads->rooms_of(tenant, "ann"_user, 1, good, 0));
  }

  TEST_CASE_FIXTURE(with_log, "a room is seen through its own tenant only") {
    const tenant_no other = make_tenant("tenant_2");
    const auto seen = reads->room(tenant, made.id, "bob"_user);
    REQUIRE(seen);
    REQUIRE(*seen);
    CHECK((*seen)->no == room);
    REQUIRE((*seen)->self);
    CHECK((*seen)->self->role == member_role::member);
    CHECK_FALSE((*reads->room(tenant, made.id, "carol"_user))->self);
    CHECK_FALSE((*reads->room(tenant, made.id, std::nullopt))->self);
    CHECK_FALSE(*reads->room(other, made.id, "bob"_user));
    CHECK(*reads->room_exists(tenant, made.id));
    CHECK_FALSE(*reads->room_exists(other, made.id));
    CHECK(reads->rooms_of_tenant(other, 10, "", 0)->rooms.empty());
  }
}

TEST_SUITE("SPEC 8 any number of readers") {
  TEST_CASE_FIXTURE(
      with_log,
      "readers on threads of their own see dense logs while the writer writes and checkpoints") {
    std::atomic<bool> stop{false};
    std::atomic<int> wrong{0};
    std::atomic<int> pages{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      auto r = db->new_reader();
      REQUIRE(r);
      threads.emplace_back([&, mine = std::move(*r)] {
        room_seq seen{0};
        while (!stop) {
          const auto page = mine->page(room, room_seq{0}, room_seq{INT64_MAX}, 100000, 1 << 30);
          if (!page) {
            ++wrong;
            continue;
          }
          ++pages;
          std::int64_t expected = 0;
          for (const auto& e : page->entries) wrong += e.seq.value == ++expected ? 0 : 1;
          wrong += page->last_seq.value == expected && page->last_seq >= seen ? 0 : 1;
          seen = page->last_seq;
        }
      });
    }
    for (std::int64_t seq = 11; seq < 400; ++seq) {
      commit({message(tenant, room, seq, "ann", std::string(2000, 'x'))});
      time.advance(std::chrono::milliseconds{10});
      REQUIRE(writes().maintain(time.mono(), time.now()));
    }
    while (pages < 20) std::this_thread::yield();
    stop = true;
    for (auto& t : threads) t.join();
    CHECK(wrong == 0);
    check_clean();
  }
}
