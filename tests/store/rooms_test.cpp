// Rooms, tenants and cursors, written and opened.

#include "protocol/limits.hpp"
#include "tests/store/store_fixture.hpp"

using namespace parley;
using namespace parley::store;
using namespace parley::store::test;

namespace {

struct with_tenant : store_fixture {
  with_tenant() {
    open();
    tenant = make_tenant();
  }
  /// In a transaction of its own.
  write_result<created_room> create(const new_room& r) {
    REQUIRE(writes().begin());
    auto made = writes().create_room(r);
    REQUIRE(writes().commit());
    return made;
  }
  write_result<cursor_state> move(const room_id& room, const char* user, std::int64_t seq, bool read) {
    REQUIRE(writes().begin());
    auto moved = writes().move_cursor({tenant, user_id{user}, room, room_seq{seq}, read});
    REQUIRE(writes().commit());
    return moved;
  }
  tenant_no tenant;
};

}  // namespace

TEST_SUITE("SPEC 4 rooms") {
  TEST_CASE_FIXTURE(with_tenant, "a new room is opened as it was made") {
    auto r = a_room(tenant, {"ann"_user, "bob"_user}, room_type::channel);
    r.members[0].second = member_role::owner;
    r.name = "general";
    r.metadata = json_text{R"({"a":1})"};
    r.posting = posting_policy::admins;
    r.created_by = "ann"_user;
    const auto made = create(r);
    REQUIRE(made);
    CHECK(made->created);
    CHECK_FALSE(made->replayed);
    CHECK(made->members.size() == 2);
    const auto opened = writes().open_room(tenant, r.id, time.now());
    REQUIRE(opened);
    REQUIRE(*opened);
    for (const room_info& info : {made->info, (*opened)->info}) {
      CHECK(info.id == r.id);
      CHECK(info.type == room_type::channel);
      CHECK(info.name == r.name);
      CHECK(info.metadata == r.metadata);
      CHECK(info.posting == r.posting);
      CHECK(info.first_seq == room_seq{1});
      CHECK(info.last_seq == room_seq{0});
      CHECK(info.member_count == 2);
      CHECK(info.created_by == r.created_by);
      CHECK(info.created_at == time.now());
      CHECK(info.updated_at == time.now());
      CHECK_FALSE(info.dm_members);
    }
    CHECK((*opened)->no == made->no);
    REQUIRE((*opened)->members.size() == 2);
    CHECK((*opened)->members[0].user == "ann"_user);
    CHECK((*opened)->members[0].role == member_role::owner);
    CHECK((*opened)->members[0].joined_seq == room_seq{0});
    CHECK((*opened)->members_complete);
    check_clean();
  }

  TEST_CASE_FIXTURE(with_tenant, "there is one dm per pair, whoever asks first") {
    const auto first = create(a_room(tenant, {"bob"_user, "ann"_user}, room_type::dm));
    REQUIRE(first);
    REQUIRE(first->info.dm_members);
    CHECK(first->info.dm_members->first == "ann"_user);
    CHECK(first->info.dm_members->second == "bob"_user);
    const auto again = create(a_room(tenant, {"ann"_user, "bob"_user}, room_type::dm));
    REQUIRE(again);
    CHECK_FALSE(again->created);
    CHECK_FALSE(again->replayed);
    CHECK(again->no == first->no);
    CHECK(again->info.id == first->info.id);
    CHECK(again->members.empty());
    CHECK(again->info.dm_members == first->info.dm_members);
    // Another tenant's pair of the same names is another pair.
    const tenant_no other = make_tenant("tenant_2");
    const auto theirs = create(a_room(other, {"ann"_user, "bob"_user}, room_type::dm));
    REQUIRE(theirs);
    CHECK(theirs->created);
    check_clean();
  }

  TEST_CASE_FIXTURE(with_tenant, "pairs that look alike when written together are different dms") {
    const auto one = create(a_room(tenant, {"a:b"_user, "c"_user}, room_type::dm));
    const auto two = create(a_room(tenant, {"a"_user, "b:c"_user}, room_type::dm));
    REQUIRE(one);
    REQUIRE(two);
    CHECK(two->created);
    CHECK(one->info.dm_members->first == "a:b"_user);
    CHECK(reads->room(tenant, two->info.id, std::nullopt)->value().info.dm_members->second ==
          "b:c"_user);
  }

  TEST_CASE_FIXTURE(with_tenant, "two dms of one pair in one transaction are one room") {
    REQUIRE(writes().begin());
    const auto first = writes().create_room(a_room(tenant, {"ann"_user, "bob"_user}, room_type::dm));
    const auto second = writes().create_room(a_room(tenant, {"bob"_user, "ann"_user}, room_type::dm));
    REQUIRE(first);
    REQUIRE(second);
    CHECK(first->no == second->no);
    REQUIRE(writes().commit());
    check_clean();
  }

  TEST_CASE_FIXTURE(with_tenant, "a deleted dm gives way to a new one") {
    const auto first = create(a_room(tenant, {"ann"_user, "bob"_user}, room_type::dm));
    REQUIRE(first);
    REQUIRE(writes().begin());
    REQUIRE(writes().delete_room(tenant, first->no, time.now()));
    REQUIRE(writes().commit());
    const auto second = create(a_room(tenant, {"ann"_user, "bob"_user}, room_type::dm));
    REQUIRE(second);
    CHECK(second->created);
    CHECK(second->no != first->no);
    check_clean();
  }

  TEST_CASE_FIXTURE(with_tenant,
                    "a room of too many rooms for a member is refused, and leaves nothing") {
    make_room(tenant, {"ann"_user});
    const auto gone = make_room(tenant, {"ann"_user});
    REQUIRE(writes().begin());
    REQUIRE(writes().delete_room(tenant, gone.no, time.now()));  // does not count any more
    REQUIRE(writes().commit());
    auto r = a_room(tenant, {"bob"_user, "ann"_user});
    r.max_rooms_per_user = 2;
    REQUIRE(create(r));
    auto too_many = a_room(tenant, {"bob"_user, "ann"_user});
    too_many.max_rooms_per_user = 2;
    const auto refused = create(too_many);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().scope == failure_scope::item);
    CHECK(refused.error().why.code == error_code::conflict);
    CHECK(refused.error().why.field == "members");
    CHECK(reads->positions(tenant, "bob"_user)->rooms.size() == 1);
    check_clean();
  }

  TEST_CASE_FIXTURE(with_tenant, "rooms that calls under way may bring count like stored ones") {
    auto r = a_room(tenant, {"ann"_user});
    r.max_rooms_per_user = 3;
    r.claimed_rooms = 2;
    REQUIRE(create(r));
    auto next = a_room(tenant, {"ann"_user});
    next.max_rooms_per_user = 3;
    next.claimed_rooms = 2;
    REQUIRE_FALSE(create(next));
    next.claimed_rooms = 7;
    REQUIRE_FALSE(create(next));
    next.claimed_rooms = 1;
    REQUIRE(create(next));
    check_clean();
  }

  TEST_CASE_FIXTURE(with_tenant,
                    "a tenant has so many rooms; one that is deleted or undone does not count") {
    const auto limited = [&](tenant_no of) {
      auto r = a_room(of, {"ann"_user});
      r.max_rooms_per_tenant = 2;
      return r;
    };
    const auto first = make_room(tenant, {"ann"_user});  // without a limit: counted all the same
    REQUIRE(create(limited(tenant)));
    const auto refused = create(limited(tenant));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().scope == failure_scope::item);
    CHECK(refused.error().why.code == error_code::conflict);
    CHECK(refused.error().why.field == "tenant_id");
    CHECK(refused.error().why.limit == "max_rooms_per_tenant");
    REQUIRE(create(limited(make_tenant("other"))));

    REQUIRE(writes().begin());
    REQUIRE(writes().delete_room(tenant, first.no, time.now()));
    REQUIRE(writes().create_room(limited(tenant)));
    CHECK_FALSE(writes().create_room(limited(tenant)));  // sees its own transaction
    writes().rollback();
    CHECK_FALSE(create(limited(tenant)));  // nothing of it came to pass
    REQUIRE(writes().begin());
    REQUIRE(writes().delete_room(tenant, first.no, time.now()));
    REQUIRE(writes().commit());
    REQUIRE(create(limited(tenant)));
    CHECK_FALSE(create(limited(tenant)));
    check_clean();
  }

  TEST_CASE_FIXTURE(with_tenant, "who would come into one room too many is found by the reader") {
    const auto room = make_room(tenant, {"boss"_user, "ann"_user}, room_type::channel);
    const auto secret = make_room(tenant, {"boss"_user}, room_type::group);
    make_room(tenant, {"bob"_user});
    const auto gone = make_room(tenant, {"bob"_user});
    const auto found = [&](const room_id& in, std::vector<user_id> users,
                           const std::optional<user_id>& caller, bool joins, std::uint32_t max) {
      const auto said = reads->in_too_many_rooms(tenant, in, users, caller, joins, max);
      REQUIRE(said);
      return said->value_or(user_id{}).value;
    };
    const std::optional<user_id> backend;
    CHECK(found(room.info.id, {"new"_user, "bob"_user}, backend, false, 2) == "bob");
    CHECK(found(room.info.id, {"new"_user, "bob"_user}, backend, false, 3) == "");
    CHECK(found(room.info.id, {"bob"_user}, backend, true, 2) == "bob");
    CHECK(found(room.info.id, {"new"_user}, backend, true, 0) == "new");
    CHECK(found(room.info.id, {"ann"_user}, backend, true, 1) == "");  // is there already
    // What the room will refuse by itself is not told in another way.
    CHECK(found(secret.info.id, {"bob"_user}, backend, true, 2) == "");
    CHECK(found(secret.info.id, {"bob"_user}, backend, false, 2) == "bob");
    CHECK(found(room.info.id, {"bob"_user}, "ann"_user, false, 2) == "");
    CHECK(found(room.info.id, {"bob"_user}, "stranger"_user, false, 2) == "");
    CHECK(found(gone.info.id, {"bob"_user}, "nobody"_user, false, 0) == "");
    REQUIRE(writes().begin());
    REQUIRE(writes().delete_room(tenant, gone.no, time.now()));
    REQUIRE(writes().commit());
    CHECK(found(room.info.id, {"bob"_user}, backend, false, 2) == "");
    CHECK(found(gone.info.id, {"ann"_user}, backend, false, 0) == "");
  }

  TEST_CASE_FIXTURE(with_tenant,
                    "a room id or a member that is there twice is refused, and leaves nothing") {
    const auto r = a_room(tenant, {"ann"_user});
    REQUIRE(create(r));
    const auto same_id = create(r);
    REQUIRE_FALSE(same_id);
    CHECK(same_id.error().scope == failure_scope::item);
    const auto twice = create(a_room(tenant, {"ann"_user, "bob"_user, "ann"_user}));
    REQUIRE_FALSE(twice);
    CHECK(twice.error().why.code == error_code::validation);
    CHECK(create(a_room(tenant, {"ann"_user}, room_type::dm)).error().why.code ==
          error_code::validation);
    check_clean();
  }

  TEST_CASE_FIXTURE(with_tenant,
                    "a call key gives the first room again; with another body it is a conflict") {
    auto r = a_room(tenant, {"ann"_user});
    r.key = new_room::call_key{"ann"_user, hash128_of("k"), hash128_of("b")};
    const auto first = create(r);
    REQUIRE(first);
    auto again = a_room(tenant, {"ann"_user});
    again.key = r.key;
    const auto repeat = create(again);
    REQUIRE(repeat);
    CHECK(repeat->replayed);
    CHECK(repeat->no == first->no);
    CHECK(repeat->info.id == r.id);
    again.key->body = hash128_of("other");
    const auto other_body = create(again);
    REQUIRE_FALSE(other_body);
    CHECK(other_body.error().scope == failure_scope::item);
    CHECK(other_body.error().why.code == error_code::conflict);
    // The backend's and another user's key spaces are their own.
    auto backend = a_room(tenant, {"ann"_user});
    backend.key = new_room::call_key{user_id{}, hash128_of("k"), hash128_of("x")};
    REQUIRE(create(backend));
    CHECK(create(backend)->replayed);
    // Past its time it is free.
    time.advance(options.idempotency_ttl + std::chrono::milliseconds{1});
    auto later = a_room(tenant, {"ann"_user});
    later.key = again.key;
    const auto fresh = create(later);
    REQUIRE(fresh);
    CHECK_FALSE(fresh->replayed);
    CHECK(create(later)->no == fresh->no);
    check_clean();
  }

  TEST_CASE_FIXTURE(with_tenant, "a call key that met an existing dm finds that room again") {
    REQUIRE(create(a_room(tenant, {"ann"_user, "bob"_user}, room_type::dm)));
    auto r = a_room(tenant, {"ann"_user, "bob"_user}, room_type::dm);
    r.key = new_room::call_key{"ann"_user, hash128_of("k"), hash128_of("b")};
    const auto met = create(r);
    REQUIRE(met);
    CHECK_FALSE(met->created);
    CHECK_FALSE(met->replayed);
    const auto repeat = create(r);
    REQUIRE(repeat);
    CHECK(repeat->replayed);
    CHECK(repeat->no == met->no);
  }

  TEST_CASE_FIXTURE(with_tenant, "a deleted room is invisible everywhere") {
    const auto r = a_room(tenant, {"ann"_user, "bob"_user});
    const auto made = create(r);
    REQUIRE(made);
    const auto m = message(tenant, made->no, 1, "ann", "x");
    commit({m});
    REQUIRE(writes().begin());
    const auto last = writes().delete_room(tenant, made->no, time.now());
    REQUIRE(last);
    CHECK(*last == room_seq{1});
    CHECK_FALSE(writes().delete_room(tenant, made->no, time.now()));
    CHECK_FALSE(writes().move_cursor({tenant, "ann"_user, r.id, room_seq{1}, true}));
    CHECK_FALSE(*writes().open_room(tenant, r.id, time.now()));
    REQUIRE(writes().commit());

    CHECK(reads->positions(tenant, "ann"_user)->rooms.empty());
    CHECK_FALSE(reads->check(tenant, "ann"_user, {r.id})->rooms[0]);
    CHECK_FALSE(reads->page(made->no, room_seq{0}, room_seq{9}, 10, 1000)->room_exists);
    CHECK_FALSE(*reads->room(tenant, r.id, std::nullopt));
    CHECK_FALSE(*reads->room_exists(tenant, r.id));
    CHECK(reads->rooms_of(tenant, "ann"_user, 10, "", 0)->rooms.empty());
    CHECK(reads->rooms_of_tenant(tenant, 10, "", 0)->rooms.empty());
    CHECK(reads->members(made->no, 10, "", 0).error().code == error_code::not_found);
    CHECK(reads->history(made->no, {}, 10, false, 0).error().code == error_code::not_found);
    CHECK_FALSE(reads->look_up(made->no, "ann"_user, std::nullopt, time.now())->member);
    CHECK_FALSE(*reads->is_message(made->no, m.e.message));
    CHECK_FALSE(*reads->message(made->no, m.e.message));
    check_clean();
  }

  TEST_CASE_FIXTURE(
      with_tenant,
      "a deleted room stays deleted when its deletion is rolled back, and is back then") {
    const auto r = a_room(tenant, {"ann"_user});
    const auto made = create(r);
    REQUIRE(made);
    REQUIRE(writes().begin());
    REQUIRE(writes().delete_room(tenant, made->no, time.now()));
    writes().rollback();
    commit({message(tenant, made->no, 1, "ann", "still here")});
    CHECK(*reads->room_exists(tenant, r.id));
  }

  TEST_CASE_FIXTURE(with_tenant, "open_room sees what the transaction holds so far") {
    REQUIRE(writes().begin());
    const auto r = a_room(tenant, {"ann"_user});
    const auto made = writes().create_room(r);
    REQUIRE(made);
    auto keyed = message(tenant, made->no, 1, "ann", "x");
    keyed.key = key_of("ann", "k");
    REQUIRE(writes().append(keyed));
    const auto opened = writes().open_room(tenant, r.id, time.now());
    REQUIRE(opened);
    REQUIRE(*opened);
    CHECK((*opened)->info.last_seq == room_seq{1});
    CHECK((*opened)->keys.size() == 1);
    CHECK_FALSE(*writes().open_room(tenant_no{99}, r.id, time.now()));
    writes().rollback();
    CHECK_FALSE(*writes().open_room(tenant, r.id, time.now()));
  }

  TEST_CASE_FIXTURE(with_tenant,
                    "of a room with too many members or keys, open_room says that it holds none") {
    const auto r = a_room(tenant, {"ann"_user});
    const auto made = create(r);
    REQUIRE(made);
    std::int64_t seq = 0;
    std::vector<append_row> rows;
    for (std::size_t i = 0; i < limits::room_members_in_memory; i += 100) {
      member_joined_body b;
      for (std::size_t k = i; k < i + 100; ++k) b.users.emplace_back("m" + std::to_string(k));
      rows.push_back(row(tenant, made->no, ++seq, b));
    }
    for (std::size_t i = 0; i <= limits::room_keys_in_memory; ++i) {
      rows.push_back(message(tenant, made->no, ++seq, "ann", ""));
      rows.back().key = key_of("ann", std::to_string(i).c_str());
    }
    commit(rows);
    const auto opened = writes().open_room(tenant, r.id, time.now());
    REQUIRE(opened);
    CHECK((*opened)->info.member_count == 1001);
    CHECK_FALSE((*opened)->members_complete);
    CHECK((*opened)->members.empty());
    CHECK_FALSE((*opened)->keys_complete);
    CHECK((*opened)->keys.empty());
    check_clean();
  }
}

TEST_SUITE("I14 cursors only move forward") {
  TEST_CASE_FIXTURE(with_tenant, "reading acks, acking does not read, and neither goes back") {
    const auto r = a_room(tenant, {"ann"_user, "bob"_user});
    const room_no room = create(r)->no;
    commit({message(tenant, room, 1, "ann", "1"), message(tenant, room, 2, "ann", "2"),
            message(tenant, room, 3, "ann", "3")});
    const auto expect = [&](const write_result<cursor_state>& got, std::int64_t ack,
                            std::int64_t read, bool moved) {
      REQUIRE(got);
      CHECK(got->room == room);
      CHECK(got->last_ack.value == ack);
      CHECK(got->last_read.value == read);
      CHECK(got->moved == moved);
    };
    expect(move(r.id, "bob", 0, false), 0, 0, false);
    expect(move(r.id, "bob", 2, false), 2, 0, true);
    expect(move(r.id, "bob", 1, true), 2, 1, true);
    expect(move(r.id, "bob", 1, false), 2, 1, false);
    expect(move(r.id, "bob", 3, true), 3, 3, true);
    expect(move(r.id, "bob", 2, true), 3, 3, false);
    const auto positions = reads->positions(tenant, "bob"_user);
    REQUIRE(positions);
    CHECK(positions->rooms[0].last_ack == room_seq{3});
    CHECK(positions->rooms[0].last_read == room_seq{3});
    check_clean();
  }

  TEST_CASE_FIXTURE(with_tenant,
                    "beyond the end is a mistake; a foreign, unknown or left room is not there") {
    const auto r = a_room(tenant, {"ann"_user, "bob"_user});
    const room_no room = create(r)->no;
    commit({message(tenant, room, 1, "ann", "1")});
    const auto beyond = move(r.id, "bob", 2, false);
    REQUIRE_FALSE(beyond);
    CHECK(beyond.error().scope == failure_scope::item);
    CHECK(beyond.error().why.code == error_code::validation);
    CHECK(beyond.error().why.field == "seq");
    const auto not_there = [&](const write_result<cursor_state>& got) {
      REQUIRE_FALSE(got);
      CHECK(got.error().scope == failure_scope::item);
      CHECK(got.error().why.code == error_code::not_found);
      CHECK(got.error().why.message == "no such room");
    };
    not_there(move(room_id{ids.next()}, "bob", 1, false));
    not_there(move(r.id, "carol", 1, false));
    commit({row(tenant, room, 2, member_left_body{{"bob"_user}, leave_reason::left})});
    not_there(move(r.id, "bob", 1, false));
    const tenant_no other = make_tenant("tenant_2");
    REQUIRE(writes().begin());
    not_there(writes().move_cursor({other, "ann"_user, r.id, room_seq{1}, false}));
    writes().rollback();
  }

  TEST_CASE_FIXTURE(with_tenant,
                    "a later member starts at its own member.joined, also when it comes again") {
    const auto r = a_room(tenant, {"ann"_user});
    const room_no room = create(r)->no;
    commit({message(tenant, room, 1, "ann", "1"),
            row(tenant, room, 2, member_joined_body{{"bob"_user}, member_role::member}),
            message(tenant, room, 3, "ann", "3")});
    auto at = reads->positions(tenant, "bob"_user)->rooms.at(0);
    CHECK(at.last_ack == room_seq{2});
    CHECK(at.last_read == room_seq{2});
    REQUIRE(move(r.id, "bob", 3, false));
    commit({row(tenant, room, 4, member_left_body{{"bob"_user}, leave_reason::left}),
            message(tenant, room, 5, "ann", "5"),
            row(tenant, room, 6, member_joined_body{{"bob"_user}, member_role::member})});
    at = reads->positions(tenant, "bob"_user)->rooms.at(0);
    CHECK(at.last_ack == room_seq{6});
    CHECK(at.last_read == room_seq{6});
    const auto members = reads->members(room, 10, "", 0);
    CHECK(members->members[1].last_ack == room_seq{6});
    const auto back = move(r.id, "bob", 4, true);
    REQUIRE(back);
    CHECK_FALSE(back->moved);
    CHECK(back->last_ack == room_seq{6});
    check_clean();
  }
}

TEST_SUITE("SPEC 3 tenants") {
  TEST_CASE_FIXTURE(with_tenant, "a tenant is found by its id and by the digest of its key") {
    new_tenant t;
    t.id = tenant_id{"tenant_2"};
    t.name = "Other";
    t.config = R"({"rate_limit":5})";
    t.created_at = time.now();
    t.credentials = {{key_id{"key_1"}, "api_key", sha256("sk_1"), ""},
                     {key_id{"key_2"}, "jwt_secret", std::nullopt, std::string{"sealed\0bytes", 12}}};
    REQUIRE(writes().begin());
    const auto no = writes().create_tenant(t);
    REQUIRE(no);
    const auto twice = writes().create_tenant(t);
    REQUIRE_FALSE(twice);
    CHECK(twice.error().scope == failure_scope::item);
    CHECK(twice.error().why.code == error_code::conflict);
    REQUIRE(writes().commit());
    for (const auto& found : {reads->tenant(t.id), reads->tenant_by_api_key(sha256("sk_1"))}) {
      REQUIRE(found);
      REQUIRE(*found);
      CHECK((*found)->no == *no);
      CHECK((*found)->id == t.id);
      CHECK((*found)->name == "Other");
      CHECK((*found)->config == t.config);
      CHECK_FALSE((*found)->disabled);
      CHECK((*found)->created_at == time.now());
      REQUIRE((*found)->credentials.size() == 2);
      CHECK((*found)->credentials[0].kind == "api_key");
      CHECK((*found)->credentials[0].sealed.empty());
      CHECK((*found)->credentials[1].sealed == t.credentials[1].sealed);
      CHECK_FALSE((*found)->credentials[1].last_used_at);
    }
    CHECK_FALSE(*reads->tenant(tenant_id{"tenant_9"}));
    CHECK_FALSE(*reads->tenant_by_api_key(sha256("sk_2")));
    const auto first = reads->tenants(1, "");
    REQUIRE(first);
    REQUIRE(first->tenants.size() == 1);
    CHECK(first->tenants[0].id == tenant_id{"tenant_1"});
    const auto second = reads->tenants(1, first->next_cursor);
    REQUIRE(second);
    CHECK(second->tenants[0].id == t.id);
    CHECK(second->next_cursor.empty());
  }
}
