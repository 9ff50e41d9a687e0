// Appending to a room's log: what an entry means, and what is refused.

#include "tests/store/store_fixture.hpp"

#include <fstream>
#include <iterator>
#include <string>

using namespace parley;
using namespace parley::store;
using namespace parley::store::test;

namespace {

/// A store with a tenant and a group of ann and bob.
struct with_room : store_fixture {
  with_room() {
    open();
    tenant = make_tenant();
    const auto made = make_room(tenant, {"ann"_user, "bob"_user});
    room = made.no;
    id = made.info.id;
  }
  /// Only while nobody has it open: closing a file drops the locks that the process holds on it.
  [[nodiscard]] std::string bytes_of_closed_file() const {
    std::ifstream in{options.file, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{}};
  }
  append_row text(std::int64_t seq, const char* from = "ann", std::string content = "hello") {
    return message(tenant, room, seq, from, std::move(content));
  }
  [[nodiscard]] failure_scope scope_of_append(const append_row& r) {
    auto done = writes().append(r);
    REQUIRE_FALSE(done);
    return done.error().scope;
  }
  tenant_no tenant;
  room_no room;
  room_id id;
};

}  // namespace

TEST_SUITE("I2 seq per room is dense") {
  TEST_CASE_FIXTURE(with_room, "the first entry of a room has seq 1, and each next one follows") {
    commit({text(1), text(2)});
    commit({text(3)});
    const auto log = log_of(room);
    REQUIRE(log.size() == 3);
    for (std::size_t i = 0; i < log.size(); ++i)
      CHECK(log[i].seq.value == static_cast<std::int64_t>(i) + 1);
    check_clean();
  }

  TEST_CASE_FIXTURE(with_room,
                    "a seq that is not the next is refused alone, and the rest is stored") {
    commit({text(1)});
    REQUIRE(writes().begin());
    for (std::int64_t wrong : {0, 1, 3, 4, -1}) {
      CHECK(scope_of_append(text(wrong)) == failure_scope::item);
    }
    REQUIRE(writes().append(text(2)));
    CHECK(scope_of_append(text(2)) == failure_scope::item);
    REQUIRE(writes().append(text(3)));
    REQUIRE(writes().commit());
    CHECK(log_of(room).size() == 3);
    check_clean();
  }

  TEST_CASE_FIXTURE(with_room, "after a rollback the seqs are given again, the log ids are not") {
    REQUIRE(writes().begin());
    const auto first = writes().append(text(1, "carol"));
    const auto second = writes().append(text(2));
    REQUIRE(first);
    REQUIRE(second);
    CHECK(*first < *second);
    writes().rollback();
    CHECK(log_of(room).empty());
    REQUIRE(writes().begin());
    const auto again = writes().append(text(1, "carol"));
    REQUIRE(again);
    CHECK(*again > *second);
    REQUIRE(writes().commit());
    CHECK(log_of(room).size() == 1);
    check_clean();
  }

  TEST_CASE_FIXTURE(with_room, "log ids given out before a crash are not given again") {
    commit({text(1)});
    REQUIRE(writes().begin());
    const auto lost = writes().append(text(2));
    REQUIRE(lost);
    crash();
    open();
    REQUIRE(writes().begin());
    const auto after = writes().append(text(2));
    REQUIRE(after);
    CHECK(*after > *lost);
    REQUIRE(writes().commit());
    check_clean();
  }

  TEST_CASE_FIXTURE(
      with_room, "a room of another tenant, an unknown one and a deleted one are refused alike") {
    const tenant_no other = make_tenant("tenant_2");
    const room_no gone = make_room(tenant, {"ann"_user}).no;
    REQUIRE(writes().begin());
    REQUIRE(writes().delete_room(tenant, gone, time.now()));
    for (const auto& r :
         {message(other, room, 1, "ann", "x"), message(tenant, room_no{999}, 1, "ann", "x"),
          message(tenant, gone, 1, "ann", "x")}) {
      auto done = writes().append(r);
      REQUIRE_FALSE(done);
      CHECK(done.error().scope == failure_scope::item);
      CHECK(done.error().why.code == error_code::not_found);
      CHECK(done.error().why.message == "no such room");
    }
    REQUIRE(writes().commit());
    check_clean();
  }
}

TEST_SUITE("SPEC 1 log entries") {
  TEST_CASE_FIXTURE(with_room, "a message is read as it was written") {
    auto r = text(1);
    auto& b = std::get<message_body>(r.e.body);
    b.content = "line\nwith \"quotes\" and \xf0\x9f\x8e\x89";
    b.meta = json_text{R"({"a":[1,2.50,"x"]})"};
    b.client_msg_id = "c-1";
    b.reply_to = message_id{ids.next()};
    r.e.actor = std::nullopt;  // the backend, naming a sender
    commit({r});
    const auto log = log_of(room);
    REQUIRE(log.size() == 1);
    CHECK(log[0].kind() == entry_kind::message);
    CHECK(log[0].message == r.e.message);
    CHECK_FALSE(log[0].actor);
    CHECK(log[0].created_at == r.e.created_at);
    const auto& got = std::get<message_body>(log[0].body);
    CHECK(got.sender == "ann"_user);
    CHECK(got.content == b.content);
    CHECK(got.meta == b.meta);
    CHECK(got.client_msg_id == "c-1");
    CHECK(got.reply_to == b.reply_to);
    CHECK_FALSE(got.edited_at);
    CHECK_FALSE(got.deleted_at);
  }

  TEST_CASE_FIXTURE(with_room,
                    "an edit changes the message, and its entry serves what the message has now") {
    const auto original = text(1);
    commit({original});
    time.advance(std::chrono::seconds{1});
    auto first = edit_of(original, 2, "better");
    std::get<message_edited_body>(first.e.body).meta = json_text{"{\"v\":1}"};
    commit({first});
    const utc_time first_time = time.now();
    time.advance(std::chrono::seconds{1});
    commit({edit_of(original, 3, "best")});

    const auto log = log_of(room);
    REQUIRE(log.size() == 3);
    const auto& m = std::get<message_body>(log[0].body);
    CHECK(m.content == "best");
    CHECK(m.meta.empty());
    CHECK(m.edited_at == time.now());
    const auto& e = std::get<message_edited_body>(log[1].body);
    CHECK(log[1].message == original.e.message);
    CHECK(e.message_seq == room_seq{1});
    CHECK(e.content == "best");
    CHECK(e.meta.empty());
    CHECK(e.edited_at == first_time);
    check_clean();
  }

  TEST_CASE_FIXTURE(with_room,
                    "after a delete neither the message nor any edit of it has content") {
    const auto original = text(1, "ann", "a secret");
    commit({original, edit_of(original, 2, "a better secret"), text(3)});
    time.advance(std::chrono::seconds{5});
    commit({delete_of(original, 4)});
    const auto log = log_of(room);
    REQUIRE(log.size() == 4);
    const auto& m = std::get<message_body>(log[0].body);
    CHECK(m.content.empty());
    CHECK(m.meta.empty());
    CHECK(m.deleted_at == time.now());
    CHECK(std::get<message_edited_body>(log[1].body).content.empty());
    CHECK(std::get<message_body>(log[2].body).content == "hello");
    CHECK(std::get<message_deleted_body>(log[3].body).message_seq == room_seq{1});
    CHECK(std::get<message_deleted_body>(log[3].body).deleted_at == time.now());
    check_clean();
  }

  TEST_CASE_FIXTURE(with_room,
                    "an edit or delete of what is no message, or is deleted, is refused alone") {
    const auto original = text(1);
    commit({original, text(2), delete_of(original, 3)});
    REQUIRE(writes().begin());
    const auto refused = [&](const append_row& r, error_code code) {
      auto done = writes().append(r);
      REQUIRE_FALSE(done);
      CHECK(done.error().scope == failure_scope::item);
      CHECK(done.error().why.code == code);
    };
    refused(edit_of(original, 4, "x"), error_code::conflict);
    refused(delete_of(original, 4), error_code::conflict);
    auto wrong_seq = edit_of(original, 4, "x");
    std::get<message_edited_body>(wrong_seq.e.body).message_seq = room_seq{2};
    refused(wrong_seq, error_code::not_found);
    std::get<message_edited_body>(wrong_seq.e.body).message_seq = room_seq{3};
    refused(wrong_seq, error_code::not_found);
    std::get<message_edited_body>(wrong_seq.e.body).message_seq = room_seq{99};
    refused(wrong_seq, error_code::not_found);
    REQUIRE(writes().append(text(4)));
    REQUIRE(writes().commit());
    check_clean();
  }

  TEST_CASE_FIXTURE(with_room,
                    "members who join, leave and change are in the log and in the list") {
    member_joined_body joined;
    joined.users = {"carol"_user, "dave"_user};
    joined.role = member_role::admin;
    auto in = row(tenant, room, 1, joined);
    in.e.actor = "ann"_user;
    commit({in});
    commit({row(tenant, room, 2, member_updated_body{"bob"_user, member_role::owner}),
            row(tenant, room, 3, member_left_body{{"ann"_user, "dave"_user}, leave_reason::removed})});
    const auto list = reads->members(room, 100, "", 0);
    REQUIRE(list);
    CHECK(list->member_count == 2);
    REQUIRE(list->members.size() == 2);
    CHECK(list->members[0].member.user == "bob"_user);
    CHECK(list->members[0].member.role == member_role::owner);
    CHECK(list->members[0].member.joined_seq == room_seq{0});
    CHECK(list->members[1].member.user == "carol"_user);
    CHECK(list->members[1].member.role == member_role::admin);
    CHECK(list->members[1].member.joined_seq == room_seq{1});
    const auto log = log_of(room);
    REQUIRE(log.size() == 3);
    CHECK(log[0].actor == "ann"_user);
    CHECK(std::get<member_joined_body>(log[0].body).users == joined.users);
    CHECK(std::get<member_joined_body>(log[0].body).role == member_role::admin);
    CHECK(std::get<member_updated_body>(log[1].body).user == "bob"_user);
    CHECK(std::get<member_left_body>(log[2].body).users == std::vector{"ann"_user, "dave"_user});
    CHECK(std::get<member_left_body>(log[2].body).reason == leave_reason::removed);
    check_clean();
  }

  TEST_CASE_FIXTURE(with_room, "a membership entry that is not true spoils its whole batch") {
    const std::vector<entry_body> lies = {
        member_joined_body{{"ann"_user}, member_role::member},
        member_left_body{{"zoe"_user}, leave_reason::left},
        member_updated_body{"zoe"_user, member_role::admin},
        member_joined_body{{"carol"_user, "carol"_user}, member_role::member},
    };
    for (const auto& lie : lies) {
      REQUIRE(writes().begin());
      REQUIRE(writes().append(text(1)));
      CHECK(scope_of_append(row(tenant, room, 2, lie)) == failure_scope::batch);
      CHECK(scope_of_append(text(2)) == failure_scope::batch);  // nothing of it can be saved any more
      const auto done = writes().commit();
      REQUIRE_FALSE(done);
      CHECK(done.error().scope == failure_scope::batch);
      CHECK(log_of(room).empty());
    }
    commit({text(1)});  // and the next batch is as good as any
    check_clean();
  }

  TEST_CASE_FIXTURE(with_room,
                    "a changed room is changed where it says so, and its entry tells what") {
    const utc_time created = time.now();
    time.advance(std::chrono::seconds{1});
    room_updated_body b;
    b.name = std::optional<std::string>{"general"};
    b.metadata = json_text{R"({"color":"red"})"};
    commit({row(tenant, room, 1, b)});
    room_updated_body c;
    c.name = std::optional<std::string>{};
    c.posting = posting_policy::admins;
    time.advance(std::chrono::seconds{1});
    commit({row(tenant, room, 2, c)});

    const auto log = log_of(room);
    REQUIRE(log.size() == 2);
    const auto& first = std::get<room_updated_body>(log[0].body);
    CHECK(first.name == b.name);
    CHECK(first.metadata == b.metadata);
    CHECK_FALSE(first.posting);
    const auto& second = std::get<room_updated_body>(log[1].body);
    REQUIRE(second.name);
    CHECK_FALSE(*second.name);
    CHECK_FALSE(second.metadata);
    CHECK(second.posting == posting_policy::admins);

    const auto opened =
        writes().open_room(tenant, reads->positions(tenant, "ann"_user)->rooms[0].room, utc_time{});
    REQUIRE(opened);
    REQUIRE(*opened);
    const room_info& info = (*opened)->info;
    CHECK_FALSE(info.name);
    CHECK(info.metadata == b.metadata);
    CHECK(info.posting == posting_policy::admins);
    CHECK(info.created_at == created);
    CHECK(info.updated_at == time.now());
    CHECK(info.last_seq == room_seq{2});
    check_clean();
  }

  TEST_CASE_FIXTURE(with_room,
                    "a message_id is used once: the second message of that id fails alone") {
    const auto first = text(1);
    commit({first});
    auto second = text(2);
    second.e.message = first.e.message;
    REQUIRE(writes().begin());
    CHECK(scope_of_append(second) == failure_scope::item);
    REQUIRE(writes().append(text(2)));
    REQUIRE(writes().commit());
    check_clean();
  }
}

TEST_SUITE("I5 keys live in the message's own transaction") {
  TEST_CASE_FIXTURE(with_room, "a key is found with all that the repeated answer needs") {
    auto r = text(1);
    r.key = key_of("ann", "k1");
    commit({r});
    const auto found = reads->look_up(room, "ann"_user, hash128_of("k1"), time.now());
    REQUIRE(found);
    REQUIRE(found->key);
    CHECK(found->key->seq == room_seq{1});
    CHECK(found->key->message == r.e.message);
    CHECK(found->key->created_at == r.e.created_at);
    CHECK(found->key->key.call == keyed_call::send);
    CHECK(found->key->key.body == hash128_of("body"));
    CHECK_FALSE(reads->look_up(room, "bob"_user, hash128_of("k1"), time.now())->key);
    CHECK_FALSE(reads->look_up(room, "ann"_user, hash128_of("k2"), time.now())->key);
    const auto positions = reads->positions(tenant, "ann"_user);
    REQUIRE(positions);
    const auto opened = writes().open_room(tenant, positions->rooms[0].room, time.now());
    REQUIRE(opened);
    REQUIRE((*opened)->keys.size() == 1);
    CHECK((*opened)->keys_complete);
    CHECK((*opened)->keys[0].key.sender == "ann"_user);
    CHECK((*opened)->keys[0].message == r.e.message);
    check_clean();
  }

  TEST_CASE_FIXTURE(with_room,
                    "a key that was used is refused alone, and leaves no half of its entry") {
    auto r = text(1);
    r.key = key_of("ann", "k1");
    commit({r});
    auto again = text(2);
    again.key = key_of("ann", "k1");
    REQUIRE(writes().begin());
    auto done = writes().append(again);
    REQUIRE_FALSE(done);
    CHECK(done.error().scope == failure_scope::item);
    CHECK(done.error().why.code == error_code::conflict);
    auto other = text(2, "bob");
    other.key = key_of("bob", "k1");  // one key space per sender
    REQUIRE(writes().append(other));
    REQUIRE(writes().commit());
    CHECK(log_of(room).size() == 2);
    check_clean();
  }

  TEST_CASE_FIXTURE(with_room, "a key past its time counts as absent, and may be used again") {
    auto r = text(1);
    r.key = key_of("ann", "k1");
    commit({r});
    time.advance(options.idempotency_ttl + std::chrono::milliseconds{1});
    CHECK_FALSE(
        reads->look_up(room, "ann"_user, hash128_of("k1"), time.now() - options.idempotency_ttl)->key);
    auto again = text(2);
    again.key = key_of("ann", "k1");
    commit({again});
    const auto found =
        reads->look_up(room, "ann"_user, hash128_of("k1"), time.now() - options.idempotency_ttl);
    REQUIRE(found->key);
    CHECK(found->key->seq == room_seq{2});
    check_clean();
  }

  TEST_CASE_FIXTURE(with_room, "keys past their time are swept, in steps, and the others stay") {
    for (std::int64_t seq = 1; seq <= 300; ++seq) {
      auto r = text(seq);
      r.key = key_of("ann", std::to_string(seq).c_str());
      commit({r});
      if (seq == 200) time.advance(options.idempotency_ttl);
    }
    time.advance(std::chrono::seconds{1});
    for (int i = 0; i < 40; ++i) {
      time.advance(std::chrono::seconds{1});
      REQUIRE(writes().maintain(time.mono(), time.now()));
    }
    const auto report = verify_sqlite(options.file);
    REQUIRE(report);
    CHECK(report->keys == 100);
    CHECK(report->problems.empty());
  }

  TEST_CASE_FIXTURE(with_room, "edits and deletes have keys, too") {
    const auto original = text(1);
    auto edit = edit_of(original, 2, "x");
    edit.key = key_of("ann", "e", "body", keyed_call::edit);
    auto removed = delete_of(original, 3);
    removed.key = key_of("ann", "d", "body", keyed_call::remove);
    commit({original, edit, removed});
    CHECK(reads->look_up(room, "ann"_user, hash128_of("e"), time.now())->key->key.call ==
          keyed_call::edit);
    CHECK(reads->look_up(room, "ann"_user, hash128_of("d"), time.now())->key->seq == room_seq{3});
    check_clean();
  }

  TEST_CASE_FIXTURE(with_room,
                    "the key of a call that changed nothing is stored without an entry, and found "
                    "after a crash with what was answered") {
    auto original = text(1);
    original.key = key_of("ann", "sent");
    commit({original});
    time.advance(std::chrono::hours{20});
    const auto removed = delete_of(original, 2);
    commit({removed});
    auto alone = text(1);
    alone.e = original.e;
    alone.key = key_of("ann", "second delete", "body", keyed_call::remove);
    alone.only_key = time.now();
    const auto before = db->writer().status().last_commit;
    CHECK(commit({alone}) == before.next());
    commit({text(3)});  // the log goes on as if there were none
    crash();
    open();
    CHECK(log_of(room).size() == 3);
    const auto is_it = [&](const used_key& k) {
      CHECK(k.key.sender == "ann"_user);
      CHECK(k.key.call == keyed_call::remove);
      CHECK(k.key.body == hash128_of("body"));
      CHECK(k.seq == room_seq{1});
      CHECK(k.message == original.e.message);
      CHECK(k.created_at == original.e.created_at);
    };
    const auto key = hash128_of("second delete");
    const auto found = reads->look_up(room, "ann"_user, key, time.now() - options.idempotency_ttl);
    REQUIRE(found->key);
    is_it(*found->key);
    const auto opened = writes().open_room(tenant, id, utc_time{});
    REQUIRE(opened);
    REQUIRE((*opened)->keys.size() == 2);
    for (const auto& k : (*opened)->keys) {
      if (k.key.key == key) is_it(k);
    }
    check_clean();
    // It lives as long as any other from when it was used, not from when its message was sent.
    time.advance(options.idempotency_ttl - std::chrono::hours{1});
    const auto since = [&] { return time.now() - options.idempotency_ttl; };
    CHECK(reads->look_up(room, "ann"_user, key, since())->key);
    CHECK_FALSE(reads->look_up(room, "ann"_user, hash128_of("sent"), since())->key);
    time.advance(std::chrono::hours{1} + std::chrono::milliseconds{1});
    CHECK_FALSE(reads->look_up(room, "ann"_user, key, since())->key);
    for (int i = 0; i < 10; ++i) {
      time.advance(std::chrono::seconds{1});
      REQUIRE(writes().maintain(time.mono(), time.now()));
    }
    CHECK(verify_sqlite(options.file)->keys == 0);
  }

  TEST_CASE_FIXTURE(with_room,
                    "a key alone that was used, or of nothing that is there, is refused") {
    const auto original = text(1);
    auto edit = edit_of(original, 2, "x");
    edit.key = key_of("ann", "k", "body", keyed_call::edit);
    commit({original, edit});
    auto alone = text(1);
    alone.e = original.e;
    alone.key = edit.key;
    alone.only_key = time.now();
    auto beyond = alone;
    beyond.e.seq = room_seq{4};
    beyond.key->key = hash128_of("another");
    auto without = alone;
    without.key.reset();
    REQUIRE(writes().begin());
    for (const auto& wrong : {alone, beyond, without})
      CHECK(scope_of_append(wrong) == failure_scope::item);
    REQUIRE(writes().append(text(3)));
    REQUIRE(writes().commit());
    CHECK(reads->look_up(room, "ann"_user, hash128_of("k"), time.now())->key->seq == room_seq{2});
    check_clean();
  }

  TEST_CASE_FIXTURE(with_room, "of a transaction that is rolled back no key stays") {
    commit({text(1)});
    auto alone = text(1);
    alone.e = log_of(room).at(0);
    alone.key = key_of("ann", "k", "body", keyed_call::edit);
    alone.only_key = time.now();
    REQUIRE(writes().begin());
    REQUIRE(writes().append(alone));
    writes().rollback();
    CHECK_FALSE(reads->look_up(room, "ann"_user, hash128_of("k"), time.now())->key);
    commit({alone});
    CHECK(reads->look_up(room, "ann"_user, hash128_of("k"), time.now())->key);
    check_clean();
  }

  TEST_CASE_FIXTURE(with_room, "the backend, which edits in nobody's name, has keys of its own") {
    const auto original = text(1);
    auto edit = edit_of(original, 2, "x");
    edit.e.actor.reset();
    edit.key = key_of("", "k", "body", keyed_call::edit);
    auto anns = edit_of(original, 3, "y");
    anns.key = key_of("ann", "k", "body", keyed_call::edit);
    commit({original, edit, anns});
    const auto found = reads->look_up(room, user_id{}, hash128_of("k"), time.now());
    REQUIRE(found);
    CHECK_FALSE(found->member);
    REQUIRE(found->key);
    CHECK(found->key->seq == room_seq{2});
    CHECK(reads->look_up(room, "ann"_user, hash128_of("k"), time.now())->key->seq == room_seq{3});
    const auto opened = writes().open_room(tenant, id, utc_time{});
    REQUIRE(opened);
    REQUIRE((*opened)->keys.size() == 2);
    CHECK((*opened)->keys[0].key.sender != (*opened)->keys[1].key.sender);
    check_clean();
  }
}

TEST_SUITE("SPEC 1 what is deleted is gone") {
  TEST_CASE_FIXTURE(with_room, "no byte of a deleted message is left in the database file") {
    // One inside a page, one that spills over to pages of its own.
    const std::string small = "whisper-4711";
    std::string big;
    while (big.size() < 16000) big += "thunder-4712 ";
    const auto first = text(1, "ann", small);
    const auto second = text(2, "ann", big);
    commit({first, second, edit_of(first, 3, small + " louder")});
    close();
    CHECK(bytes_of_closed_file().find("whisper-4711") != std::string::npos);
    CHECK(bytes_of_closed_file().find("thunder-4712") != std::string::npos);
    open();
    commit({delete_of(first, 4), delete_of(second, 5)});
    close();
    CHECK(bytes_of_closed_file().find("whisper-4711") == std::string::npos);
    CHECK(bytes_of_closed_file().find("thunder-4712") == std::string::npos);
    check_clean();
  }
}

TEST_SUITE("I4 a failure says how far it reaches") {
  TEST_CASE_FIXTURE(with_room, "an item outside of a transaction is refused") {
    CHECK(scope_of_append(text(1)) == failure_scope::batch);
    CHECK_FALSE(writes().commit());
    commit({text(1)});
  }

  TEST_CASE_FIXTURE(with_room, "a commit in which nothing was written has no number of its own") {
    const commit_no before = commit({text(1)});
    REQUIRE(writes().begin());
    const auto nothing = writes().commit();
    REQUIRE(nothing);
    CHECK(*nothing == before);
    CHECK(commit({text(2)}) == before.next());
    CHECK(writes().status().last_commit == before.next());
  }

  TEST_CASE_FIXTURE(with_room, "readers see a commit when it is done, and its number") {
    const commit_no before = reads->positions(tenant, "ann"_user)->snapshot;
    REQUIRE(writes().begin());
    REQUIRE(writes().append(text(1)));
    CHECK(reads->positions(tenant, "ann"_user)->snapshot == before);
    CHECK(log_of(room).empty());
    const auto done = writes().commit();
    REQUIRE(done);
    CHECK(reads->positions(tenant, "ann"_user)->snapshot == *done);
    CHECK(log_of(room).size() == 1);
  }

  TEST_CASE_FIXTURE(with_room, "after the clean end nothing is written any more") {
    REQUIRE(writes().close_clean());
    CHECK_FALSE(writes().begin());
    CHECK(writes().close_clean());
  }
}
