// Webhooks in the store: endpoints, what the log means for them, and what waits.

#include "protocol/limits.hpp"
#include "store/outbox_reads.hpp"
#include "tests/store/fault_vfs.hpp"
#include "tests/store/outbox_fixture.hpp"

#include <chrono>
#include <set>

using namespace parley;
using namespace parley::store;
using namespace parley::store::test;
using kind = outbox_outcome::kind;

TEST_SUITE("SPEC 6 endpoints") {
  TEST_CASE_FIXTURE(outbox_fixture,
                    "an endpoint is made, changed and removed with its tenant's configuration") {
    open();
    tenant = make_tenant();
    const auto room = make_room(tenant, {"ann"_user, "bob"_user});
    say(room, 1, 3);
    CHECK_FALSE(endpoint(tenant));
    CHECK_FALSE(positions().endpoints);
    CHECK(read_log() == 0);
    CHECK(positions().events == log_id{0});

    configure(only_offline);
    auto e = endpoint();
    CHECK(e.url == "https://a.example/hook");
    CHECK(e.events == mask_of(event_type::message_offline));
    CHECK(e.format == webhook_format::parley);
    CHECK(e.id == tenant_id{"tenant_1"});
    CHECK(e.since == positions().last);
    CHECK(positions().endpoints);
    CHECK(positions().events == positions().last);
    CHECK(positions().offline == positions().last);

    say(room, 4, 4);
    configure(R"({"webhook_url":"https://a.example/hook","webhook_format":"chatapi",)"
              R"("webhook_events":["message.created","no.such","message.offline"]})");
    const auto since = e.since;
    e = endpoint();
    CHECK(e.since == since);
    CHECK(e.format == webhook_format::chatapi);
    CHECK(e.events == (mask_of(event_type::message_offline) | mask_of(event_type::message_created)));
    CHECK(read_log() == 1);
    CHECK(told() == told_words{"message.created 4"});

    configure(R"({"webhook_url":"https://b.example/","webhook_events":["message.created"]})");
    CHECK(endpoint().url == "https://b.example/");
    CHECK(endpoint().queued == 1);  // what waits is sent to the new place
    CHECK(told() == told_words{"message.created 4"});

    configure(R"({"rate_limit":7})");
    CHECK_FALSE(endpoint(tenant));
    CHECK(box().outbox_counts().events_waiting == 0);
    check_clean();
    for (const char* none : {"{}", R"({"webhook_url":""})", R"({"webhook_url":null})"}) {
      configure(none);
      CHECK_FALSE(endpoint(tenant));
    }
  }

  TEST_CASE_FIXTURE(outbox_fixture, "a tenant may have one from the start; lists go by tenant") {
    open();
    for (const char* id : {"tenant_1", "tenant_2", "tenant_3"}) {
      REQUIRE(writes().begin());
      REQUIRE(writes().create_tenant({.id = tenant_id{id},
                                      .name = "",
                                      .config = only_offline,
                                      .created_at = time.now(),
                                      .credentials = {}}));
      REQUIRE(writes().commit());
    }
    auto first = out().endpoints(2, {});
    REQUIRE(first);
    REQUIRE(first->endpoints.size() == 2);
    CHECK(first->endpoints[0].id == tenant_id{"tenant_1"});
    auto second = out().endpoints(2, first->next_cursor);
    REQUIRE(second);
    REQUIRE(second->endpoints.size() == 1);
    CHECK(second->endpoints[0].id == tenant_id{"tenant_3"});
    CHECK(second->next_cursor.empty());
    CHECK(out().endpoints(2, "nonsense").error().code == error_code::validation);
    check_clean();
  }

  TEST_CASE_FIXTURE(outbox_fixture, "entries from before an endpoint are not its own") {
    begin();
    const auto other = make_tenant("tenant_2");
    const auto room = make_room(tenant, {"ann"_user});
    const auto theirs = make_room(other, {"zoe"_user});
    say(room, 1, 2);
    commit({message(other, theirs.no, 1, "zoe", "before")});
    configure(all_events, "tenant_2");  // the reader has not got so far
    CHECK(positions().events < endpoint(other)->since);
    commit({message(other, theirs.no, 2, "zoe", "after")});
    CHECK(read_log() == 3);
    const auto items = page(other).items;
    REQUIRE(items.size() == 1);
    CHECK(words(items[0]) == "message.created 2");
    CHECK(items[0].event.tenant == tenant_id{"tenant_2"});
    check_clean();
  }

  TEST_CASE_FIXTURE(
      outbox_fixture,
      "a disabled one collects and sends nothing, keeps what waits, and starts anew") {
    begin();
    const auto room = make_room(tenant, {"ann"_user});
    say(room, 1, 2);
    read_log();
    deliver_all();
    say(room, 3, 3);
    read_log();
    const auto at = positions().events;
    disable("https://hooks.example/another");  // what a former URL answered
    CHECK_FALSE(endpoint().disabled);
    disable();
    CHECK(endpoint().disabled);
    CHECK(endpoint().why == "it answered 410");
    CHECK_FALSE(positions().endpoints);
    CHECK(waiting().empty());
    say(room, 4, 4);
    make_room(tenant, {"ann"_user});
    CHECK(read_log() == 0);
    CHECK(positions().events == at);
    outbox_row late{.tenant = tenant, .lane = lane_no{-5}, .type = event_type::user_online};
    apply(only({late}));
    CHECK(endpoint().queued == 1);
    check_clean();

    configure(all_events);
    CHECK_FALSE(endpoint().disabled);
    CHECK(endpoint().why.empty());
    CHECK(endpoint().since == positions().last);
    CHECK(positions().events == positions().last);
    say(room, 5, 5);
    CHECK(read_log() == 1);
    CHECK(told() == told_words{"message.created 3", "message.created 5"});
    check_clean();
  }

  TEST_CASE_FIXTURE(outbox_fixture,
                    "what waits for one that is removed is dropped, whatever is made after it") {
    begin();
    const auto room = make_room(tenant, {"ann"_user});
    say(room, 1, 300);
    read_log();
    const auto mine = waiting();
    REQUIRE(mine.size() == 100);  // of its lane
    time.advance(1s);
    configure("{}");
    CHECK(page(tenant).items.empty());
    check_clean();
    configure(all_events);
    say(room, 301, 301);
    CHECK(read_log() == 1);
    CHECK(endpoint().queued == 1);
    CHECK(endpoint().oldest_at == time.now());
    // One that was on its way meanwhile means nothing to the new one.
    settle(mine[0], kind::delivered);
    settle(mine[1], kind::failed);
    settle(mine[2], kind::given_up);
    CHECK(endpoint().queued == 1);
    CHECK(endpoint().delivered == 0);
    CHECK(endpoint().last_error.empty());
    CHECK(letters().empty());
    check_clean();
    CHECK(waiting().empty());  // not before the rest is gone
    CHECK(page(tenant).next_at == time.now() + outbox_reads::drop_retry);
    crash();
    open();
    maintain();
    CHECK(count("outbox") == 1);
    CHECK(count("outbox_chores") == 0);
    CHECK(told() == told_words{"message.created 301"});
    check_clean();
  }

  TEST_CASE_FIXTURE(outbox_fixture, "a tenant's end takes its endpoint at once, its rows in time") {
    begin();
    const auto room = make_room(tenant, {"ann"_user});
    say(room, 1, 100);
    read_log();
    settle(waiting()[1], kind::given_up);
    const auto at = positions().events;
    REQUIRE(change(tenant_change::remove{"job_1"}));
    CHECK_FALSE(endpoint(tenant));
    CHECK(box().outbox_counts().events_waiting == 0);
    CHECK(waiting().empty());
    check_clean();
    const auto late =
        try_apply(only({{.tenant = tenant, .lane = lane_no{1}, .type = event_type::user_online}}));
    CHECK(late);
    maintain();
    CHECK(count("outbox") == 0);
    CHECK(count("dead_letters") == 0);
    CHECK(positions().events == at);
    check_clean();
  }
}

TEST_SUITE("SPEC 6 events are derived from the log") {
  TEST_CASE_FIXTURE(outbox_fixture, "each kind of entry, and what is not in the log, in order") {
    begin();
    const auto room = make_room(tenant, {"ann"_user, "bob"_user});
    const auto first = message(tenant, room.no, 1, "ann", "one");
    const auto second = message(tenant, room.no, 2, "ann", "two");
    room_updated_body renamed;
    renamed.name = "news";
    commit({first, second, edit_of(first, 3, "uno"), delete_of(second, 4),
            row(tenant, room.no, 5, member_joined_body{{"carol"_user}, member_role::member}),
            row(tenant, room.no, 6, member_updated_body{"carol"_user, member_role::admin}),
            row(tenant, room.no, 7, member_left_body{{"carol"_user}, leave_reason::left}),
            row(tenant, room.no, 8, renamed)});
    REQUIRE(writes().begin());
    REQUIRE(writes().delete_room(tenant, room.no, time.now()));
    REQUIRE(writes().commit());

    // The reader lags: what comes before the room's end must not be overtaken by it.
    CHECK(told() == told_words{"room.created"});
    deliver_all();
    CHECK(told() == told_words{});
    CHECK(page(tenant).next_at == time.now() + outbox_reads::place_retry);

    CHECK(read_log(3) == 7);
    const told_words expected{"message.created 1", "message.created 2", "message.edited 3",
                              "message.deleted 4", "member.joined 5",   "member.left 7",
                              "room.updated 8",    "room.deleted"};
    CHECK(told() == expected);
    const auto items = waiting();
    CHECK(std::get<message_body>(items[0].event.message->body).content == "uno");  // as it is now
    CHECK(std::get<message_body>(items[1].event.message->body).content.empty());
    CHECK_FALSE(items[0].event.logged);
    CHECK(items[2].event.message->seq == room_seq{1});
    CHECK(items[7].event.room->id == room.info.id);
    CHECK(items[7].event.room->name == std::optional<std::string>{"news"});
    CHECK(items[0].at == first.e.created_at);
    std::set<std::string> ids;
    for (const auto& i : items) {
      CHECK(i.event_id.size() == 36);
      CHECK(i.event_id.rfind("evt_", 0) == 0);
      ids.insert(i.event_id);
    }
    CHECK(ids.size() == items.size());
    CHECK(endpoint().queued == 8);
    CHECK(endpoint().delivered == 1);
    CHECK(box().outbox_counts().events_waiting == 8);
    CHECK(box().outbox_counts().events_stored == 9);
    check_clean();
  }

  TEST_CASE_FIXTURE(outbox_fixture, "only what the endpoint asks for makes rows") {
    begin(R"({"webhook_url":"https://a.example/","webhook_events":["member.left"]})");
    const auto room = make_room(tenant, {"ann"_user});
    say(room, 1, 50);
    commit({row(tenant, room.no, 51, member_left_body{{"ann"_user}, leave_reason::left})});
    REQUIRE(writes().begin());
    REQUIRE(writes().delete_room(tenant, room.no, time.now()));
    REQUIRE(writes().commit());
    CHECK(read_log() == 1);
    CHECK(told() == told_words{"member.left 51"});
    CHECK(positions().events == positions().last);
  }

  TEST_CASE_FIXTURE(outbox_fixture, "a position moves once: whoever comes late stores nothing") {
    begin();
    const auto room = make_room(tenant, {"ann"_user});
    say(room, 1, 3);
    const auto from = positions().events;
    const auto seen = out().scan_events(from, 1000).value();
    outbox_batch batch = outbox_fixture::moved(log_reader::events, from, seen.to, seen.rows);
    apply(batch);
    const auto queued = endpoint().queued;
    const auto again = try_apply(batch);
    REQUIRE_FALSE(again);
    CHECK(again.error().scope == failure_scope::item);
    CHECK(again.error().why.code == error_code::conflict);
    CHECK(endpoint().queued == queued);
    // Beyond the log, or backwards: no.
    for (const log_id to : {log_id{positions().last.value + 1}, log_id{seen.to.value - 1}}) {
      CHECK_FALSE(try_apply(moved(log_reader::events, seen.to, to)));
    }
    // Nor may offline overtake.
    say(room, 4, 4);
    CHECK_FALSE(try_apply(moved(log_reader::offline, positions().offline, positions().last)));
    check_clean();
  }

  TEST_CASE_FIXTURE(outbox_fixture, "a crash loses nothing and doubles nothing, and ids stay") {
    begin();
    const auto room = make_room(tenant, {"ann"_user});
    say(room, 1, 5);
    // A transaction that never was.
    const auto from = positions().events;
    const auto seen = out().scan_events(from, 3).value();
    CHECK(seen.more);
    REQUIRE(writes().begin());
    REQUIRE(box().apply(moved(log_reader::events, from, seen.to, seen.rows)));
    crash();
    open();
    CHECK(positions().events == from);
    CHECK(endpoint().queued == 1);  // room.created
    REQUIRE(writes().begin());
    REQUIRE(box().apply(moved(log_reader::events, from, seen.to, seen.rows)));
    writes().rollback();
    CHECK(box().outbox_counts().events_waiting == 1);
    CHECK(box().take_outbox_news().empty());
    CHECK(read_log(2) == 5);
    const auto before = waiting();
    CHECK(before.size() == 6);
    crash();
    open();
    CHECK(read_log() == 0);
    CHECK(box().outbox_counts().events_waiting == 6);
    const auto after = waiting();
    REQUIRE(after.size() == before.size());
    for (std::size_t i = 0; i < after.size(); ++i) {
      CHECK(after[i].no == before[i].no);
      CHECK(after[i].event_id == before[i].event_id);
    }
    say(room, 6, 6);  // ids of the log have skipped many
    REQUIRE(writes().begin());
    REQUIRE(writes().delete_room(tenant, room.no, time.now()));
    REQUIRE(writes().commit());
    CHECK(read_log() == 1);
    CHECK(told().back() == "room.deleted");
    CHECK(told().size() == 8);
    check_clean();
  }

  TEST_CASE_FIXTURE(outbox_fixture, "whose rows came with their cause is news, once") {
    begin();
    static_cast<void>(box().take_outbox_news());
    make_room(tenant, {"ann"_user});
    CHECK(box().take_outbox_news() == std::vector<tenant_no>{tenant});
    CHECK(box().take_outbox_news().empty());
    const auto room = make_room(tenant, {"bob"_user});
    static_cast<void>(box().take_outbox_news());
    say(room, 1, 1);
    read_log();
    CHECK(box().take_outbox_news().empty());
    CHECK(box().last_log_id() == positions().last);
  }

  TEST_CASE_FIXTURE(outbox_fixture, "a full queue drops what comes, and counts it") {
    options.outbox_max_events = 3;
    begin();
    const auto room = make_room(tenant, {"ann"_user});
    say(room, 1, 4);
    CHECK(read_log() == 4);
    CHECK(endpoint().queued == 3);
    CHECK(endpoint().dropped == 2);
    CHECK(box().outbox_counts().events_dropped == 2);
    make_room(tenant, {"ann"_user});
    CHECK(endpoint().dropped == 3);
    deliver_all();
    say(room, 5, 5);
    read_log();
    CHECK(told() == told_words{"message.created 5"});
    check_clean();
  }

  TEST_CASE_FIXTURE(outbox_fixture, "the last entry before a time is found, whatever is pruned") {
    begin();
    const auto room = make_room(tenant, {"ann"_user});
    std::vector<std::pair<utc_time, log_id>> at;
    for (int seq = 1; seq <= 20; ++seq) {
      time.advance(1h);
      say(room, seq, seq);
      at.emplace_back(time.now(), positions().last);
      if (seq == 10) {
        crash();  // a gap of a million ids
        open();
      }
    }
    const auto check_all = [&] {
      CHECK(out().last_before(at.front().first).value() < at.front().second);
      for (const auto& [t, id] : at) CHECK(out().last_before(t + 1ms).value() == id);
      CHECK(out().last_before(at.back().first).value() == at[18].second);
    };
    check_all();
    crash();
    {
      connection raw{{.file = options.file.string()}};
      raw.execute_or_throw("DELETE FROM commits WHERE no < (SELECT max(no) - 6 FROM commits)");
    }
    open();
    check_all();
    CHECK(out().last_before(utc_time{}).value() == log_id{0});
  }
}

TEST_SUITE("SPEC 6 message.offline") {
  TEST_CASE_FIXTURE(outbox_fixture, "who is told, and who is not") {
    begin(only_offline);
    const auto room = make_room(tenant, {"ann"_user, "bob"_user, "cleo"_user, "dan"_user});
    say(room, 1, 2);
    commit({row(tenant, room.no, 3, member_joined_body{{"eve"_user}, member_role::member})});
    const auto third = message(tenant, room.no, 4, "bob", "three");
    const auto gone = message(tenant, room.no, 5, "bob", "four");
    commit({third, gone, delete_of(gone, 6)});
    ack("cleo"_user, room.info.id, 4);
    commit({row(tenant, room.no, 7, member_left_body{{"dan"_user}, leave_reason::left})});
    const auto single = make_room(tenant, {"ann"_user});
    say(single, 1, 1);
    const auto dead = make_room(tenant, {"ann"_user, "bob"_user});
    say(dead, 1, 1);
    REQUIRE(writes().begin());
    REQUIRE(writes().delete_room(tenant, dead.no, time.now()));
    REQUIRE(writes().commit());

    CHECK(read_offline() == 0);  // not yet due
    time.advance(10s);
    CHECK(read_offline() == 0);  // committed at that time, not before it
    time.advance(1ms);
    CHECK(read_offline() == 0);  // the events' reader goes first
    CHECK(positions().offline == positions().events);
    CHECK(read_log() == 0);
    CHECK(read_offline() == 4);
    const told_words expected{
        // ann says 1 and 2; bob says 4
        "message.offline 1 to bob",
        "message.offline 2 to bob",
        "message.offline 4 to ann",
        "message.offline 4 to eve",
    };
    CHECK(told() == expected);
    CHECK(positions().offline == positions().last);
    std::set<std::string> ids;
    for (const auto& i : waiting()) ids.insert(i.event_id);
    CHECK(ids.size() == 4);
    check_clean();
  }

  TEST_CASE_FIXTURE(outbox_fixture,
                    "a big room costs a row a message; who lacks it is listed then") {
    begin(only_offline);
    const auto room = make_room(tenant, {"ann"_user, "bob"_user, "cleo"_user, "dan"_user});
    say(room, 1, 3);
    time.advance(11s);
    read_log();
    CHECK(read_offline(3) == 3);
    CHECK(told() == told_words{"message.offline 1 to many", "message.offline 2 to many",
                               "message.offline 3 to many"});
    const auto item = waiting()[1];
    CHECK(item.list_room == room.no);
    CHECK(item.list_seq == room_seq{2});
    CHECK(item.list_sender == "ann"_user);
    CHECK(item.event.lists_recipients);
    ack("cleo"_user, room.info.id, 2);
    std::vector<std::pair<std::string, std::int64_t>> members;
    user_no after{};
    for (int pages = 0; pages < 3; ++pages) {
      const auto part = out().acked_members(room.no, after, 2).value();
      for (const auto& m : part.members) members.emplace_back(m.user.value, m.last_ack.value);
      if (!part.next) break;
      after = *part.next;
    }
    const std::vector<std::pair<std::string, std::int64_t>> expected{
        {"ann", 0}, {"bob", 0}, {"cleo", 2}, {"dan", 0}};
    CHECK(members == expected);

    // Given up, it names those who lack it then.
    settle(item, kind::given_up, 10);
    const auto all = letters();
    REQUIRE(all.size() == 1);
    CHECK(all[0].kind == dead_kind::message);
    CHECK_FALSE(all[0].user);
    CHECK(all[0].recipients == std::vector<user_id>{"bob"_user, "dan"_user});
    check_clean();
  }

  TEST_CASE_FIXTURE(outbox_fixture, "what was acked, left or deleted meanwhile is not told") {
    begin(only_offline);
    const auto room = make_room(tenant, {"ann"_user, "bob"_user, "cleo"_user});
    const auto second = message(tenant, room.no, 2, "ann", "two");
    say(room, 1, 1);
    commit({second});
    say(room, 3, 3);
    time.advance(11s);
    read_log();
    CHECK(read_offline() == 6);
    ack("bob"_user, room.info.id, 1);
    commit({delete_of(second, 4)});
    commit({row(tenant, room.no, 5, member_left_body{{"cleo"_user}, leave_reason::left})});
    told_words got;
    for (const auto& i : waiting()) got.push_back(i.obsolete ? "obsolete" : words(i));
    CHECK(got == told_words{"obsolete", "obsolete", "obsolete", "obsolete",
                            "message.offline 3 to bob", "obsolete"});
    REQUIRE(writes().begin());
    REQUIRE(writes().delete_room(tenant, room.no, time.now()));
    REQUIRE(writes().commit());
    for (const auto& i : waiting()) {
      CHECK(i.obsolete);
      settle(i, kind::obsolete);
    }
    CHECK(endpoint().queued == 0);
    CHECK(endpoint().delivered == 0);
    check_clean();
  }
}

TEST_SUITE("SPEC 6 what waits") {
  TEST_CASE_FIXTURE(outbox_fixture, "a lane waits for its first row, the others go on") {
    begin(R"({"webhook_url":"https://a.example/","webhook_events":["message.created"]})");
    const auto stuck = make_room(tenant, {"ann"_user});
    const auto fine = make_room(tenant, {"ann"_user});
    say(stuck, 1, 2);
    say(fine, 1, 2);
    read_log();
    const auto all = waiting();
    REQUIRE(all.size() == 4);
    settle(all[0], kind::failed, 3);
    auto p = page(tenant);
    REQUIRE(p.items.size() == 2);
    CHECK(p.items[0].lane == lane_no{fine.no.value});
    CHECK(p.next_at == time.now() + 5s);
    CHECK(endpoint().last_error == "it answered 500");
    CHECK(endpoint().last_failure_at == time.now());
    time.advance(5s);
    p = page(tenant, 1);
    REQUIRE(p.items.size() == 2);
    CHECK(p.items[0].no == all[0].no);
    CHECK(p.items[0].attempts == 3);
    settle(p.items[0], kind::delivered, 4);
    CHECK(endpoint().last_success_at == time.now());
    settle(p.items[0], kind::delivered, 4);  // gone: passed over
    CHECK(endpoint().delivered == 1);
    CHECK(endpoint().queued == 3);
    CHECK(endpoint().oldest_at == all[1].at);
    check_clean();
  }

  TEST_CASE_FIXTURE(outbox_fixture,
                    "retention keeps what is told again, and no dead letter outlives its entry") {
    options.message_retention = 1h;
    begin(R"({"webhook_url":"https://a.example/","webhook_events":["message.created"]})");
    const auto room = make_room(tenant, {"ann"_user});
    say(room, 1, 3);
    read_log();
    time.advance(11s);
    read_offline();
    for (const auto& i : waiting()) settle(i, kind::given_up, 10);
    auto all = letters();
    REQUIRE(all.size() == 3);
    // Queued again, behind more than a page of newer ones: still kept.
    say(room, 4, 1500);
    read_log();
    REQUIRE(change(tenant_change::retry_dead_letter{all[1].id}));
    time.advance(2h);
    read_offline();
    maintain(100, 1s);
    CHECK(log_of(room.no).front().seq == room_seq{2});
    deliver_all();
    maintain(100, 1s);
    CHECK(log_of(room.no).front().seq > room_seq{3});
    const auto gone = change(tenant_change::retry_dead_letter{all[0].id});
    REQUIRE_FALSE(gone);
    CHECK(gone.error().why.code == error_code::conflict);
    CHECK(gone.error().why.field == "id");
    CHECK(letters().size() == 2);
    check_clean();
  }

  TEST_CASE_FIXTURE(outbox_fixture, "what the log has lost to retention or erasure is not told") {
    options.message_retention = 1h;
    begin(R"({"webhook_url":"https://a.example/","webhook_events":["message.created"]})");
    const auto room = make_room(tenant, {"ann"_user});
    say(room, 1, 3);
    read_log();
    time.advance(11s);
    read_offline();
    time.advance(2h);
    // Entries that wait are kept …
    maintain(100, 1s);
    CHECK(log_of(room.no).front().seq == room_seq{1});
    settle(waiting()[0], kind::delivered);
    maintain(100, 1s);
    CHECK(log_of(room.no).front().seq == room_seq{2});
    // … and those that are not read yet.
    deliver_all();
    say(room, 4, 6);
    time.advance(2h);
    maintain(100, 1s);
    CHECK(log_of(room.no).front().seq == room_seq{4});
    read_log();
    deliver_all();
    maintain(100, 1s);
    CHECK(log_of(room.no).front().seq == room_seq{4});  // message.offline is not read yet
    // One that is disabled holds nothing.
    disable();
    maintain(100, 1s);
    CHECK(log_of(room.no).front().seq == room_seq{6});
    check_clean();
    say(room, 7, 8);
    configure(R"({"webhook_url":"https://a.example/","webhook_events":["message.created"]})");
    say(room, 9, 9);
    read_log();
    CHECK(told() == told_words{"message.created 9"});
    {
      crash();
      connection raw{{.file = options.file.string()}};
      raw.execute_or_throw("UPDATE outbox SET log_id = 1");
      raw.execute_or_throw("UPDATE outbox SET place = 1");
    }
    open();
    CHECK(waiting()[0].obsolete);
  }

  TEST_CASE_FIXTURE(outbox_fixture,
                    "who is erased is in nothing that waits, and in no dead letter") {
    begin();
    const auto room = make_room(tenant, {"ann"_user, "bob"_user});
    const auto user_row = [&](const char* user) {
      return outbox_row{.tenant = tenant,
                        .lane = lane_no{-7},
                        .type = event_type::user_online,
                        .data = std::string{R"({"user_id":")"} + user + R"("})",
                        .at = time.now()};
    };
    outbox_row failed{.tenant = tenant,
                      .lane = lane_no{0},
                      .type = event_type::notification_failed,
                      .data = R"({"recipient_ids":["bob","ann"],"error":"expired"})",
                      .at = time.now()};
    say(room, 1, 1, "bob");
    time.advance(11s);
    read_log();
    read_offline();
    apply(only({user_row("ann"), user_row("bob"), user_row("ann"), failed, failed}));
    for (const auto& i : waiting()) {
      const bool dies = i.type == event_type::message_offline || i.no.value % 2 == 0;
      if (dies) settle(i, kind::given_up);
    }
    REQUIRE(letters().size() >= 3);
    REQUIRE(change(tenant_change::erase_user{"job_1", "ann"_user}));
    for (int n = 0; n < 200; ++n) {
      time.advance(300ms);
      REQUIRE(writes().maintain(time.mono(), time.now()));
      for (const auto& d : writes().take_job_news().departures) {
        commit({row(tenant, room.no, 2, member_left_body{{d.user}, leave_reason::erased})});
      }
    }
    CHECK(reads->job("job_1").value()->state == job_state::done);
    for (const char* table : {"outbox", "dead_letters"}) {
      CHECK(count(std::string{table} + " WHERE data LIKE '%ann%'") == 0);
      CHECK(count(std::string{table} + " WHERE data LIKE '%bob%'") > 0);
    }
    CHECK(count("dead_letters WHERE recipient_no = (SELECT user_no FROM users WHERE user_id = "
                "'ann')") == 0);
    check_clean();
  }

  TEST_CASE_FIXTURE(outbox_fixture, "100,000 rows: how long a start and a page take") {
    begin(R"({"webhook_url":"https://a.example/","webhook_events":["message.created"]})");
    std::vector<created_room> rooms;
    for (int i = 0; i < 200; ++i) rooms.push_back(make_room(tenant, {"ann"_user}));
    const auto start = std::chrono::steady_clock::now();
    std::vector<append_row> rows;
    for (int seq = 1; seq <= 500; ++seq) {
      for (const auto& room : rooms) rows.push_back(message(tenant, room.no, seq, "ann", "hello"));
      if (rows.size() == 5000) commit(std::exchange(rows, {}));
    }
    const auto appended = std::chrono::steady_clock::now();
    CHECK(read_log(2000) == 100000);
    const auto stored = std::chrono::steady_clock::now();
    crash();
    const auto closed = std::chrono::steady_clock::now();
    open();
    const auto opened = std::chrono::steady_clock::now();
    CHECK(box().outbox_counts().events_waiting == 100000);
    auto page = out().outbox(tenant, before_all_lanes, time.now(), 16, 1, 1 << 20).value();
    const auto first = std::chrono::steady_clock::now();
    CHECK(page.items.size() == 16);
    page = out().outbox(tenant, page.after, time.now(), 1000, 1, 1 << 20).value();
    const auto second = std::chrono::steady_clock::now();
    CHECK(page.items.size() > 100);
    outbox_batch done;
    for (const auto& i : page.items) done.outcomes.push_back(outcome(i, kind::delivered));
    apply(done);
    const auto settled = std::chrono::steady_clock::now();
    const auto ms = [](auto from, auto to) {
      return std::chrono::duration<double, std::milli>(to - from).count();
    };
    MESSAGE("appended in " << ms(start, appended) << " ms, read and stored in "
                           << ms(appended, stored) << " ms; opened in " << ms(closed, opened)
                           << " ms; first page of 16 lanes " << ms(opened, first) << " ms, one of "
                           << page.items.size() << " rows " << ms(first, second)
                           << " ms; as many delivered in " << ms(second, settled) << " ms");
  }
}

TEST_SUITE("SPEC 6 dead letters and replays") {
  TEST_CASE_FIXTURE(outbox_fixture, "what is given up is listed, queued again, or forgotten") {
    begin();
    const auto room = make_room(tenant, {"ann"_user, "bob"_user});
    say(room, 1, 1);
    time.advance(11s);
    read_log();
    read_offline();
    const auto items = waiting();
    REQUIRE(items.size() == 3);  // created, message.created, message.offline
    for (const auto& i : items) settle(i, kind::given_up, 10);
    CHECK(endpoint().queued == 0);
    CHECK(endpoint().given_up == 3);
    CHECK(box().outbox_counts().dead_letters == 3);
    auto all = letters();
    REQUIRE(all.size() == 3);
    CHECK(all[0].kind == dead_kind::message);
    CHECK(all[0].type == event_type::message_offline);
    CHECK(all[0].user == std::optional{"bob"_user});
    CHECK(all[0].seq == std::optional{room_seq{1}});
    CHECK(all[0].room == std::optional{room.info.id});
    CHECK(all[0].message);
    CHECK(all[0].attempts == 10);
    CHECK(all[0].error == "it answered 500");
    CHECK(all[0].event_id == items[2].event_id);
    CHECK(all[0].last_attempt_at == time.now());
    CHECK(all[1].kind == dead_kind::webhook);
    CHECK(all[2].type == event_type::room_created);
    CHECK_FALSE(all[2].seq);

    auto part = out().dead_letters(tenant, 2, {}).value();
    CHECK(part.letters.size() == 2);
    part = out().dead_letters(tenant, 2, part.next_cursor).value();
    REQUIRE(part.letters.size() == 1);
    CHECK(part.letters[0].id == all[2].id);
    CHECK(part.next_cursor.empty());
    CHECK_FALSE(out().dead_letters(tenant, 2, "x"));

    // Of another tenant, unknown, of no form: alike.
    make_tenant("tenant_2");
    for (const char* id : {all[1].id.c_str(), "99999", "x", "", "01", "-1"}) {
      const auto retried = change(tenant_change::retry_dead_letter{id}, "tenant_2");
      REQUIRE_FALSE(retried);
      CHECK(retried.error().why.code == error_code::not_found);
      CHECK_FALSE(change(tenant_change::delete_dead_letter{id}, "tenant_2"));
    }
    static_cast<void>(box().take_outbox_news());
    REQUIRE(change(tenant_change::retry_dead_letter{all[1].id}));
    CHECK(box().take_outbox_news() == std::vector<tenant_no>{tenant});
    CHECK(told() == told_words{"message.created 1"});
    CHECK(waiting()[0].event_id == items[1].event_id);
    CHECK(waiting()[0].attempts == 0);
    CHECK_FALSE(change(tenant_change::retry_dead_letter{all[1].id}));
    REQUIRE(change(tenant_change::delete_dead_letter{all[0].id}));
    CHECK(letters().size() == 1);
    check_clean();

    // Nothing to send it to.
    configure("{}");
    const auto nowhere = change(tenant_change::retry_dead_letter{all[2].id});
    REQUIRE_FALSE(nowhere);
    CHECK(nowhere.error().why.code == error_code::conflict);
    CHECK(nowhere.error().why.field == "webhook_url");
    CHECK(letters().size() == 1);
  }

  TEST_CASE_FIXTURE(outbox_fixture, "letters are bounded in number and in time") {
    options.dead_letter_ttl = 24h;
    begin();
    make_room(tenant, {"ann"_user});
    crash();
    {
      connection raw{{.file = options.file.string()}};
      raw.execute_or_throw(
          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
          "INSERT INTO dead_letters(tenant_no, kind, type, event_id, at, attempts, error, "
          "created_at) SELECT 1, 2, 2, x'00', 1, 1, 'old', 1790000000000 FROM n");
    }
    open();
    settle(waiting()[0], kind::given_up);
    CHECK(count("dead_letters") == static_cast<std::int64_t>(limits::dead_letters_max));
    CHECK(count("dead_letters WHERE dead_no = 1") == 0);
    CHECK(letters().front().error == "it answered 500");
    time.advance(24h + 1s);
    maintain(300, 6s);
    CHECK(count("dead_letters") == 0);
  }

  TEST_CASE_FIXTURE(outbox_fixture, "a part of the log is told again, with the same event ids") {
    begin(R"({"webhook_url":"https://a.example/","webhook_events":["message.created"]})");
    const auto room = make_room(tenant, {"ann"_user});
    say(room, 1, 6);
    read_log();
    const auto sent = waiting();
    deliver_all();
    say(room, 7, 7);  // not read yet: comes by itself
    REQUIRE(change(tenant_change::replay_events{sent[1].place, {}, false}));
    CHECK(endpoint().replay_from == sent[1].place);
    CHECK(endpoint().replay_to == positions().events);
    const auto twice = change(tenant_change::replay_events{});
    REQUIRE_FALSE(twice);
    CHECK(twice.error().why.code == error_code::conflict);
    for (;;) {
      const auto e = endpoint();
      if (!e.replay_to.is_set()) break;
      const auto seen = out().scan_tenant(tenant, e.replay_from, e.replay_to, 3).value();
      outbox_batch part = only(seen.rows);
      part.replay = {tenant, e.replay_from, seen.to};
      apply(part);
      const auto late = try_apply(part);
      REQUIRE_FALSE(late);
      CHECK(late.error().why.code == error_code::conflict);
    }
    const auto again = waiting();
    REQUIRE(again.size() == 4);
    for (std::size_t i = 0; i < again.size(); ++i) {
      CHECK(words(again[i]) == words(sent[i + 2]));
      CHECK(again[i].event_id == sent[i + 2].event_id);
    }
    read_log();
    CHECK(told().back() == "message.created 7");
    check_clean();
    // From before the endpoint, too, if it is asked for.
    deliver_all();
    configure("{}");
    configure(R"({"webhook_url":"https://a.example/","webhook_events":["message.created"]})");
    REQUIRE(change(tenant_change::replay_events{}));
    CHECK(endpoint().replay_to == endpoint().since);
    CHECK(out().scan_tenant(tenant, log_id{0}, endpoint().replay_to, 100).value().rows.size() == 7);
    disable();
    CHECK_FALSE(endpoint().replay_to.is_set());
    const auto disabled = change(tenant_change::replay_events{});
    REQUIRE_FALSE(disabled);
    CHECK(disabled.error().why.field == "webhook_url");
  }

  TEST_CASE_FIXTURE(outbox_fixture, "all dead letters are queued again, a piece at a time") {
    begin(R"({"webhook_url":"https://a.example/","webhook_events":["message.created"]})");
    const auto room = make_room(tenant, {"ann"_user});
    say(room, 1, 500);
    read_log();
    std::vector<std::string> ids;
    outbox_batch all;
    for (const auto& i : page(tenant, 1000).items) {
      ids.push_back(i.event_id);
      all.outcomes.push_back(outcome(i, kind::given_up));
    }
    apply(all);
    CHECK(letters().size() == 500);
    REQUIRE(change(tenant_change::replay_events{{}, {}, true}));
    CHECK_FALSE(change(tenant_change::replay_events{{}, {}, true}));
    maintain(1);
    crash();
    open();
    maintain();
    CHECK(letters().empty());
    CHECK(endpoint().queued == 500);
    std::vector<std::string> again;
    for (const auto& i : page(tenant, 1000).items) again.push_back(i.event_id);
    CHECK(again == ids);
    check_clean();
  }
}

TEST_SUITE("SPEC 8 the outbox on a disk that fails") {
  TEST_CASE("the N-th write fails: a position never moves without its rows, nor they without it") {
    std::int64_t n = 1;
    bool fired = true;
    for (; fired; n += 5) {
      INFO("write " << n);
      fault_vfs disk;
      struct on_disk : outbox_fixture {
        explicit on_disk(fault_vfs& d) { options.vfs = d.name(); }
      } it{disk};
      it.begin();
      const auto room = it.make_room(it.tenant, {"ann"_user, "bob"_user});
      it.say(room, 1, 40);
      disk.fail({.ops = static_cast<unsigned>(fault_op::write), .nth = n, .no_space = n % 4 == 1});
      for (int steps = 0; steps < 8; ++steps) {
        const auto from = it.positions().events;
        const auto seen = it.out().scan_events(from, 7).value();
        auto begun = it.writes().begin();
        if (begun) {
          outbox_batch batch = outbox_fixture::moved(log_reader::events, from, seen.to, seen.rows);
          for (const auto& i : it.page(it.tenant, 2).items)
            batch.outcomes.push_back(it.outcome(i, kind::delivered));
          static_cast<void>(it.box().apply(batch));
          const auto done = it.writes().commit();
          if (!done) begun = done.error();
        }
        if (!begun && begun.error().scope == failure_scope::fatal) break;
        CHECK(it.box().outbox_counts().events_waiting == it.endpoint().queued);
        if (begun) continue;
        if (!it.writes().probe()) break;
      }
      fired = disk.fired();
      it.crash();
      disk.heal();
      if (n % 8 >= 5) {
        disk.power_loss(fault_vfs::loss::some, static_cast<std::uint64_t>(n));
        it.options.boot_id = "boot-2";
      }
      it.open();
      CHECK_FALSE(it.db->report().history_may_be_lost);
      it.check_clean();
      it.read_log();
      const auto e = it.endpoint();
      CHECK(e.delivered + e.queued == 41);  // each once
      it.deliver_all();
      CHECK(it.endpoint().delivered == 41);
      it.check_clean();
    }
    CHECK(n > 10);
  }

  TEST_CASE("a full disk: nothing is stored, and all of it when there is space again") {
    fault_vfs disk;
    struct on_disk : outbox_fixture {
      explicit on_disk(fault_vfs& d) { options.vfs = d.name(); }
    } it{disk};
    it.begin();
    const auto room = it.make_room(it.tenant, {"ann"_user});
    it.say(room, 1, 200);
    disk.set_capacity(disk.bytes_used());
    const auto from = it.positions().events;
    const auto seen = it.out().scan_events(from, 1000).value();
    const outbox_batch batch = outbox_fixture::moved(log_reader::events, from, seen.to, seen.rows);
    REQUIRE(it.writes().begin());
    auto done = it.box().apply(batch);
    auto committed = it.writes().commit();
    REQUIRE_FALSE(committed);
    CHECK(committed.error().scope == failure_scope::full);
    CHECK(it.positions().events == from);
    CHECK(it.box().outbox_counts().events_waiting == 1);
    CHECK(it.told() == told_words{"room.created"});
    disk.set_capacity(std::nullopt);
    REQUIRE(it.writes().probe());
    CHECK(it.read_log() == 200);
    CHECK(it.endpoint().queued == 201);
    it.check_clean();
  }
}

TEST_SUITE("SPEC 7 parley verify") {
  TEST_CASE("whatever is wrong with the outbox is found") {
    for (const char* sql : {
             "UPDATE reader_positions SET id = id + 1000 WHERE name = 'events'",
             "UPDATE reader_positions SET id = 0 WHERE name = 'events'",
             "DELETE FROM reader_positions WHERE name = 'offline'",
             "UPDATE endpoint_state SET url = 'https://b.example/'",
             "DELETE FROM endpoint_state",
             "UPDATE tenants SET config = '{}'",
             "UPDATE endpoint_state SET queued = queued + 1",
             "DELETE FROM outbox WHERE outbox_no = 2",
             "UPDATE outbox SET tenant_no = 2 WHERE outbox_no = 2",
             "UPDATE outbox SET place = 1000 WHERE outbox_no = 2",
             "UPDATE outbox SET lane = 2 WHERE log_id > 0",
             "UPDATE dead_letters SET event_id = NULL",
             "UPDATE dead_letters SET kind = 3",
             "UPDATE tenants SET deleted_at = 1",
         }) {
      INFO(sql);
      outbox_fixture d;
      d.begin();
      d.make_tenant("tenant_2");
      const auto room = d.make_room(d.tenant, {"ann"_user, "bob"_user});
      d.say(room, 1, 3);
      d.time.advance(11s);
      d.read_log();
      d.read_offline();
      d.settle(d.waiting()[0], kind::given_up);
      d.check_clean();
      d.crash();
      {
        connection raw{{.file = d.options.file.string()}};
        raw.execute_or_throw(sql);
        REQUIRE(raw.total_changes() > 0);
      }
      const auto report = verify_sqlite(d.options.file);
      REQUIRE(report);
      CHECK_FALSE(report->problems.empty());
    }
  }
}
