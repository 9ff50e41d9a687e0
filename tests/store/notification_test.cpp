// Notifications and topics: who is to have one, until when, and what becomes of it.

#include "protocol/limits.hpp"
#include "store/notification_expiry.hpp"
#include "store/notification_reads.hpp"
#include "store/notification_writes.hpp"
#include "tests/store/store_fixture.hpp"
#include "tests/support/seeds.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

using namespace parley;
using namespace parley::store;
using namespace parley::store::test;
using namespace std::chrono_literals;

namespace {

using names = std::vector<std::string>;

struct with_notifications : store_fixture {
  using store_fixture::store_fixture;

  void begin(const char* config = "{}") {
    open();
    REQUIRE(writes().begin());
    auto no = writes().create_tenant({.id = tenant_id{"acme"},
                                      .name = "Acme",
                                      .config = config,
                                      .created_at = time.now(),
                                      .credentials = {}});
    REQUIRE(no);
    REQUIRE(writes().commit());
    tenant = *no;
    other = make_tenant("other");
  }
  void reopen() {
    crash();
    open();
  }
  outbox_writer& outbox() {
    REQUIRE(writes().outbox() != nullptr);
    return *writes().outbox();
  }
  outbox_reader& looks() {
    REQUIRE(reads->outbox() != nullptr);
    return *reads->outbox();
  }

  new_notification one_for(std::vector<user_id> users, std::optional<room_id> room = {},
                           std::chrono::milliseconds ttl = 24h * 7) {
    new_notification n;
    n.tenant = tenant;
    n.id = ids.next();
    n.topic = "news";
    n.payload = json_text{"{\"n\":" + std::to_string(++payloads) + "}"};
    n.users = std::move(users);
    n.room = room;
    n.created_at = time.now();
    n.expires_at = time.now() + ttl;
    n.max_targets = 10000;
    return n;
  }
  new_notification one_for_subscribers(std::string topic = "news") {
    auto n = one_for({});
    n.topic = std::move(topic);
    n.topic_subscribers = true;
    return n;
  }
  write_result<created_notification> tries(const new_notification& n) {
    REQUIRE(writes().begin());
    auto done = outbox().create_notification(n);
    REQUIRE(writes().commit());
    return done;
  }
  created_notification make(const new_notification& n) {
    auto done = tries(n);
    REQUIRE(done);
    return *done;
  }
  void ack(const char* user, const std::vector<uuid>& those) { ack(tenant, user, those); }
  void ack(tenant_no of, const char* user, const std::vector<uuid>& those) {
    REQUIRE(writes().begin());
    REQUIRE(outbox().acknowledge({of, user_id{user}}, those));
    REQUIRE(writes().commit());
  }
  write_result<tenant_row> change(decltype(tenant_change::what) what, const char* of = "acme") {
    REQUIRE(writes().begin());
    auto done = writes().change_tenant({tenant_id{of}, std::move(what), time.now()});
    REQUIRE(writes().commit());
    return done;
  }
  void subscribe(const char* user, std::string topic = "news") {
    REQUIRE(change(tenant_change::subscribe_topic{user_id{user}, std::move(topic), 100}));
  }
  void join(const created_room& room, const char* user) {
    append(room.no, member_joined_body{{user_id{user}}, member_role::member});
  }
  void leave(const created_room& room, const char* user) {
    append(room.no, member_left_body{{user_id{user}}, leave_reason::left});
  }
  void append(room_no room, entry_body body) {
    const auto page = reads->page(room, room_seq{0}, room_seq{INT64_MAX}, 1, 1);
    REQUIRE(page);
    commit({row(tenant, room, page->last_seq.value + 1, std::move(body))});
  }
  void remove(const created_room& room) {
    REQUIRE(writes().begin());
    REQUIRE(writes().delete_room(tenant, room.no, time.now()));
    REQUIRE(writes().commit());
  }

  /// What waits for a user, by pages of this size.
  std::vector<uuid> waiting(const char* user, std::size_t max_items = 100,
                            std::size_t max_bytes = 1 << 20) {
    return waiting(tenant, user, max_items, max_bytes);
  }
  std::vector<uuid> waiting(tenant_no of, const char* user, std::size_t max_items = 100,
                            std::size_t max_bytes = 1 << 20) {
    std::vector<uuid> out;
    pages = 0;
    for (notification_no after;;) {
      const auto page =
          looks().notifications(of, user_id{user}, after, time.now(), max_items, max_bytes);
      REQUIRE(page);
      ++pages;
      CHECK(page->items.size() <= max_items);
      for (const auto& item : page->items) {
        CHECK(item.no > after);
        CHECK(item.no <= page->to);
        out.push_back(item.id);
      }
      if (!page->more) break;
      REQUIRE(page->to > after);
      after = page->to;
    }
    if (!out.empty()) CHECK(may_wait(of, user));
    return out;
  }
  bool may_wait(tenant_no of, const char* user) {
    const auto p = reads->positions(of, user_id{user});
    REQUIRE(p);
    return p->notifications;
  }
  names topics(const char* user) {
    const auto found = looks().topics(tenant, user_id{user});
    REQUIRE(found);
    return *found;
  }
  std::vector<dead_letter> letters() {
    const auto found = looks().dead_letters(tenant, 1000, "");
    REQUIRE(found);
    return found->letters;
  }

  void maintain() { REQUIRE(writes().maintain(time.mono(), time.now())); }
  /// All that is due is done.
  void settle() {
    for (int n = 0; n < 100000; ++n) {
      time.advance(1ms);
      maintain();
      if (!writes().take_job_news().more) return;
    }
    FAIL("it does not end");
  }
  void pass(std::chrono::milliseconds by) {
    time.advance(by);
    settle();
  }
  std::int64_t count(const std::string& from) {
    connection db{{.file = options.file.string(), .vfs = options.vfs, .read_only = true}};
    return db.integer_or_throw(("SELECT count(*) FROM " + from).c_str());
  }
  std::string text(const std::string& sql) {
    connection db{{.file = options.file.string(), .vfs = options.vfs, .read_only = true}};
    return db.text_or_throw(sql.c_str());
  }
  std::string state_of(const created_notification& n) {
    return text("SELECT state FROM notifications WHERE notification_no = " +
                std::to_string(n.no.value));
  }

  tenant_no tenant;
  tenant_no other;
  int payloads = 0;
  int pages = 0;
};

names words_of(const std::vector<user_id>& users) {
  names out;
  for (const auto& u : users) out.push_back(u.value);
  std::sort(out.begin(), out.end());
  return out;
}
std::vector<uuid> ids_of(const std::vector<created_notification>& those) {
  std::vector<uuid> out;
  for (const auto& n : those) out.push_back(n.id);
  return out;
}
const std::vector<uuid> none{};

}  // namespace

TEST_SUITE("SPEC 6 notifications wait until they are acknowledged") {
  TEST_CASE_FIXTURE(with_notifications,
                    "named users, a room and subscribers are united, each user once") {
    begin();
    const auto room = make_room(tenant, {"ann"_user, "cat"_user});
    for (const char* user : {"ann", "dan", "eve"}) subscribe(user);
    subscribe("sam", "sports");
    auto n = one_for({"ann"_user, "bob"_user, "eve"_user, "bob"_user}, room.info.id);
    n.topic_subscribers = true;
    const auto made = make(n);
    CHECK(made.targets == 5);
    CHECK(words_of(made.users) == names{"bob", "dan", "eve"});
    CHECK(made.room == room.info.id);
    CHECK(!made.replayed);
    CHECK(count("notification_pending") == 3);
    for (const char* user : {"ann", "bob", "cat", "dan", "eve"})
      CHECK(waiting(user) == std::vector{made.id});
    for (const char* user : {"sam", "zoe"}) CHECK(waiting(user) == none);
    CHECK(waiting(other, "ann") == none);
    const auto page = looks().notifications(tenant, "bob"_user, {}, time.now(), 10, 1000);
    REQUIRE(page);
    REQUIRE(page->items.size() == 1);
    CHECK(page->items[0].no == made.no);
    CHECK(page->items[0].topic == "news");
    CHECK(page->items[0].payload == n.payload);
    CHECK(page->items[0].created_at == made.created_at);
    CHECK(page->to == made.no);
    CHECK(!page->more);
  }
  TEST_CASE_FIXTURE(with_notifications, "one for nobody is done at once") {
    begin();
    const auto made = make(one_for_subscribers());
    CHECK(made.targets == 0);
    CHECK(state_of(made) == "2");
    CHECK(count("notifications WHERE payload IS NOT NULL") == 0);
    const auto empty = make_room(tenant, {});
    CHECK(make(one_for({}, empty.info.id)).targets == 0);
    CHECK(!may_wait(tenant, "ann"));
  }
  TEST_CASE_FIXTURE(
      with_notifications,
      "a room that is unknown, foreign or deleted is not found, and nothing is stored") {
    begin();
    const auto foreign = make_room(other, {"ann"_user});
    const auto deleted = make_room(tenant, {"ann"_user});
    remove(deleted);
    for (const room_id room : {room_id{ids.next()}, foreign.info.id, deleted.info.id}) {
      const auto refused = tries(one_for({"new-user"_user}, room));
      REQUIRE(!refused);
      CHECK(refused.error().scope == failure_scope::item);
      CHECK(refused.error().why.code == error_code::not_found);
      CHECK(refused.error().why.field == "targets.room_id");
      CHECK(refused.error().why.message == not_found("room").message);
    }
    CHECK(count("notifications") == 0);
  }
  TEST_CASE_FIXTURE(with_notifications, "named users and subscribers have a bound, members none") {
    begin();
    std::vector<user_id> many;
    for (int i = 0; i < 20; ++i) many.emplace_back("m" + std::to_string(i));
    const auto room = make_room(tenant, many);
    for (const char* user : {"a", "b", "c"}) subscribe(user);
    auto n = one_for({"c"_user, "d"_user}, room.info.id);
    n.topic_subscribers = true;
    n.max_targets = 3;
    const auto refused = tries(n);
    REQUIRE(!refused);
    CHECK(refused.error().scope == failure_scope::item);
    CHECK(refused.error().why.code == error_code::conflict);
    CHECK(refused.error().why.field == "targets");
    CHECK(count("notifications") == 0);
    n.max_targets = 4;
    CHECK(make(n).targets == 24);
  }
  TEST_CASE_FIXTURE(with_notifications,
                    "a repeat with its key is answered as the first, for idempotency_ttl") {
    begin();
    auto n = one_for({"ann"_user, "bob"_user});
    n.key = {hash128_of("key"), hash128_of("body")};
    const auto first = make(n);
    auto repeat = n;
    repeat.id = ids.next();
    ack("ann", {first.id});
    ack("bob", {first.id});  // done: its payload is gone, its answer is not
    reopen();
    time.advance(options.idempotency_ttl - 1ms);
    repeat.created_at = time.now();
    settle();
    auto again = make(repeat);
    CHECK(again.replayed);
    CHECK(again.no == first.no);
    CHECK(again.id == first.id);
    CHECK(again.topic == "news");
    CHECK(again.created_at == first.created_at);
    CHECK(again.targets == 2);
    CHECK(again.users.empty());
    CHECK(waiting("ann") == none);

    auto different = repeat;
    different.key->body = hash128_of("another");
    const auto refused = tries(different);
    REQUIRE(!refused);
    CHECK(refused.error().why.code == error_code::conflict);
    CHECK(refused.error().why.field == "idempotency_key");

    auto foreign = repeat;
    foreign.tenant = other;
    foreign.id = ids.next();
    CHECK(!make(foreign).replayed);

    time.advance(2ms);
    repeat.created_at = time.now();
    CHECK(!make(repeat).replayed);
    CHECK(waiting("ann") == std::vector{repeat.id});
  }
  TEST_CASE_FIXTURE(with_notifications, "a key that made a room makes no notification") {
    begin();
    auto room = a_room(tenant, {"ann"_user});
    room.key = {user_id{}, hash128_of("key"), hash128_of("body")};
    REQUIRE(writes().begin());
    REQUIRE(writes().create_room(room));
    REQUIRE(writes().commit());
    auto n = one_for({"ann"_user});
    n.key = {hash128_of("key"), hash128_of("body")};
    const auto refused = tries(n);
    REQUIRE(!refused);
    CHECK(refused.error().why.code == error_code::conflict);
  }
  TEST_CASE_FIXTURE(with_notifications,
                    "what was acknowledged stays so after a crash, what was not waits on") {
    begin();
    const auto room = make_room(tenant, {"ann"_user, "bob"_user});
    const auto to_room = make(one_for({}, room.info.id));
    const auto named = make(one_for({"ann"_user, "bob"_user}));
    ack("ann", {to_room.id, named.id});
    reopen();
    CHECK(waiting("ann") == none);
    CHECK(waiting("bob") == ids_of({to_room, named}));
    ack("bob", {named.id});
    reopen();
    CHECK(waiting("bob") == std::vector{to_room.id});
    check_clean();
  }
  TEST_CASE_FIXTURE(with_notifications, "what a transaction that is undone has done is not there") {
    begin();
    const auto kept = make(one_for({"ann"_user}));
    const auto lost = one_for({"new-user"_user});
    REQUIRE(writes().begin());
    REQUIRE(outbox().create_notification(lost));
    REQUIRE(outbox().acknowledge({tenant, "ann"_user}, {kept.id}));
    writes().rollback();
    CHECK(waiting("ann") == std::vector{kept.id});
    CHECK(waiting("new-user") == none);
    const auto counted = outbox().outbox_counts();
    CHECK(counted.notifications_created == 1);
    CHECK(counted.notifications_acknowledged == 0);
    make(one_for({"new-user"_user}));
    CHECK(waiting("new-user").size() == 1);
  }
  TEST_CASE_FIXTURE(with_notifications,
                    "what is unknown, foreign, another's or over is passed over by an ack") {
    begin();
    auto foreign = one_for({"ann"_user});
    foreign.tenant = other;
    make(foreign);
    const auto bobs = make(one_for({"bob"_user}));
    const auto own = make(one_for({"ann"_user, "bob"_user}));
    const auto over = make(one_for({"ann"_user}, {}, 1s));
    time.advance(1s);
    ack("ann", {ids.next(), foreign.id, bobs.id, over.id, own.id, own.id});
    ack("nobody-knows-me", {own.id});
    CHECK(outbox().outbox_counts().notifications_acknowledged == 1);
    CHECK(waiting("ann") == none);
    CHECK(waiting("bob") == ids_of({bobs, own}));
    CHECK(waiting(other, "ann") == std::vector{foreign.id});
    CHECK(count("users WHERE user_id = 'nobody-knows-me'") == 0);
  }
  TEST_CASE_FIXTURE(with_notifications, "the last who had it ends it, and its payload goes") {
    begin();
    const auto named = make(one_for({"ann"_user, "bob"_user}));
    ack("ann", {named.id});
    CHECK(state_of(named) == "1");
    ack("bob", {named.id});
    CHECK(state_of(named) == "2");

    const auto room = make_room(tenant, {"ann"_user, "bob"_user});
    const auto both = make(one_for({"zoe"_user}, room.info.id));
    join(room, "cat");  // in the same millisecond: it has it, too
    time.advance(1ms);
    join(room, "dan");
    for (const char* user : {"ann", "bob", "cat"}) ack(user, {both.id});
    CHECK(state_of(both) == "1");
    ack("zoe", {both.id});
    CHECK(state_of(both) == "2");
    CHECK(count("notifications WHERE payload IS NOT NULL") == 0);
    CHECK(outbox().outbox_counts().notifications_created == 2);
    CHECK(outbox().outbox_counts().notifications_acknowledged == 6);

    std::vector<user_id> many;
    for (int i = 0; i <= notification_writes::small_room_members; ++i)
      many.emplace_back("m" + std::to_string(i));
    const auto big = make_room(tenant, many);
    const auto to_big = make(one_for({}, big.info.id, 1h));
    for (const auto& user : many) ack(user.value.c_str(), {to_big.id});
    CHECK(waiting("m0") == none);
    CHECK(state_of(to_big) == "1");  // looked through when its time is over
    pass(1h);
    CHECK(letters().empty());
    CHECK(state_of(to_big) == "2");
  }
  TEST_CASE_FIXTURE(
      with_notifications,
      "a room's one is for who was a member then and still is, in a room that lives") {
    begin();
    const auto room = make_room(tenant, {"ann"_user, "bob"_user, "cat"_user});
    time.advance(1ms);
    const auto made = make(one_for({}, room.info.id));
    time.advance(1ms);
    join(room, "late");
    leave(room, "bob");
    CHECK(waiting("ann") == std::vector{made.id});
    CHECK(waiting("late") == none);
    CHECK(waiting("bob") == none);
    ack("late", {made.id});
    ack("bob", {made.id});
    CHECK(outbox().outbox_counts().notifications_acknowledged == 0);
    join(room, "bob");
    CHECK(waiting("bob") == none);
    remove(room);
    CHECK(waiting("ann") == none);
    ack("ann", {made.id});
    CHECK(outbox().outbox_counts().notifications_acknowledged == 0);
    pass(24h * 7);
    CHECK(letters().empty());
  }
  TEST_CASE_FIXTURE(with_notifications,
                    "a caller's clock that is behind a membership leaves nobody out") {
    begin();
    const auto room = make_room(tenant, {"ann"_user});
    auto n = one_for({}, room.info.id, 1h);
    time.advance(5ms);
    join(room, "bob");
    const auto made = make(n);
    CHECK(made.targets == 2);
    CHECK(made.created_at == time.now());
    CHECK(waiting("bob") == std::vector{made.id});
  }
  TEST_CASE_FIXTURE(with_notifications,
                    "pages end where they are asked to, and go on without a hole") {
    begin();
    const auto room = make_room(tenant, {"ann"_user});
    const auto second = make_room(tenant, {"ann"_user, "bob"_user});
    std::vector<uuid> all;
    for (int i = 0; i < 30; ++i) {
      make(one_for({"bob"_user}));
      const auto to = i % 3 == 0 ? std::nullopt : std::optional{(i % 3 == 1 ? room : second).info.id};
      all.push_back(make(one_for({"ann"_user}, to)).id);
    }
    CHECK(waiting("ann") == all);
    CHECK(pages == 1);
    CHECK(waiting("ann", 7) == all);
    CHECK(pages == 5);
    CHECK(waiting("ann", 100, 1) == all);
    CHECK(pages == 30);
    CHECK(waiting("ann", 1) == all);
    // What comes meanwhile is behind.
    const auto page = looks().notifications(tenant, "ann"_user, {}, time.now(), 10, 1 << 20);
    REQUIRE(page);
    CHECK(page->more);
    const auto later = make(one_for({"ann"_user}));
    CHECK(later.no > page->to);
    const auto end = looks().notifications(tenant, "ann"_user, page->to, time.now(), 100, 1 << 20);
    REQUIRE(end);
    CHECK(end->items.size() == 21);
    CHECK(end->to == later.no);
    CHECK(!end->more);
    const auto beyond = looks().notifications(tenant, "ann"_user, end->to, time.now(), 100, 1 << 20);
    REQUIRE(beyond);
    CHECK(beyond->items.empty());
    CHECK(beyond->to == end->to);
  }
  TEST_CASE_FIXTURE(with_notifications, "positions say whether any may wait") {
    begin();
    const auto room = make_room(tenant, {"ann"_user});
    CHECK(!may_wait(tenant, "ann"));
    const auto made = make(one_for({"ann"_user}));
    CHECK(may_wait(tenant, "ann"));
    CHECK(!may_wait(other, "ann"));
    ack("ann", {made.id});
    CHECK(!may_wait(tenant, "ann"));
    const auto to_room = make(one_for({}, room.info.id, 1s));
    CHECK(may_wait(tenant, "ann"));
    pass(1s);
    CHECK(!may_wait(tenant, "ann"));
  }
  TEST_CASE_FIXTURE(with_notifications, "written frames are counted as attempts") {
    begin();
    const auto made = make(one_for({"ann"_user}, {}, 1s));
    const auto foreign = make(one_for({"ann"_user}, {}, 1s));
    const auto then = time.now();
    for (const std::uint32_t times : {2U, 1U}) {
      REQUIRE(writes().begin());
      REQUIRE(outbox().attempted(tenant, {{made.id, times}, {ids.next(), 1}}, time.now()));
      REQUIRE(outbox().attempted(other, {{foreign.id, 7}}, time.now()));
      REQUIRE(writes().commit());
      if (times == 2U) time.advance(500ms);
    }
    pass(1s);
    const auto found = letters();
    REQUIRE(found.size() == 2);
    const auto& letter = found[0].notification_id == made.id.to_string() ? found[0] : found[1];
    const auto& untried = found[0].notification_id == made.id.to_string() ? found[1] : found[0];
    CHECK(letter.attempts == 3);
    CHECK(letter.last_attempt_at == then + 500ms);
    CHECK(untried.attempts == 0);
    CHECK(!untried.last_attempt_at);
  }
  TEST_CASE_FIXTURE(with_notifications, "an erased user has no rows and no topics any more") {
    begin();
    subscribe("ann");
    subscribe("bob");
    std::vector<created_notification> made;
    for (int i = 0; i < 200; ++i) made.push_back(make(one_for({"ann"_user})));
    const auto both = make(one_for({"ann"_user, "bob"_user}));
    REQUIRE(change(tenant_change::erase_user{"job-1", "ann"_user}));
    pass(1s);
    const auto job = reads->job("job-1");
    REQUIRE(job);
    REQUIRE(*job);
    CHECK((**job).state == job_state::done);
    CHECK(waiting("ann") == none);
    CHECK(topics("ann") == names{});
    CHECK(waiting("bob") == std::vector{both.id});
    CHECK(topics("bob") == names{"news"});
    CHECK(state_of(made[199]) == "2");
    CHECK(state_of(both) == "1");
  }
  TEST_CASE_FIXTURE(with_notifications,
                    "a deleted tenant leaves nothing behind, and no dead letter") {
    begin();
    std::vector<user_id> users;
    for (int i = 0; i < 100; ++i) users.emplace_back("u" + std::to_string(i));
    const auto room = make_room(tenant, users);
    for (const auto& user : users) subscribe(user.value.c_str());
    for (int i = 0; i < 3; ++i) make(one_for(users, {}, 1s));
    const auto to_room = make(one_for({}, room.info.id));
    for (const auto& user : users) ack(user.value.c_str(), {to_room.id});
    auto foreign = one_for({"ann"_user});
    foreign.tenant = other;
    make(foreign);
    REQUIRE(change(tenant_change::remove{"job-1"}));
    time.advance(1s);
    for (int i = 0; i < 3; ++i) maintain();
    reopen();
    settle();
    CHECK(count("notifications") == 1);
    CHECK(count("notification_pending") == 1);
    CHECK(count("notification_acks") == 0);
    CHECK(count("notification_subscriptions") == 0);
    CHECK(count("dead_letters") == 0);
    CHECK(waiting(other, "ann") == std::vector{foreign.id});
    check_clean();
  }
}

TEST_SUITE("SPEC 6 notifications past their time are dead letters") {
  TEST_CASE_FIXTURE(with_notifications, "who lacks it is noted, and nobody gets it any more") {
    begin();
    const auto lacked = make(one_for({"ann"_user, "bob"_user}, {}, 1min));
    const auto alone = make(one_for({"bob"_user}, {}, 1min));
    const auto had = make(one_for({"ann"_user}, {}, 1min));
    const auto later = make(one_for({"ann"_user}, {}, 2min));
    ack("ann", {lacked.id, had.id});
    time.advance(1min - 1ms);
    maintain();
    CHECK(letters().empty());
    CHECK(waiting("bob") == ids_of({lacked, alone}));
    time.advance(1ms);
    CHECK(waiting("bob") == none);  // before it is noted, too
    pass(1s);
    CHECK(waiting("bob") == none);
    ack("bob", {lacked.id});
    const auto found = letters();
    REQUIRE(found.size() == 2);
    for (const auto& letter : found) {
      CHECK(letter.kind == dead_kind::notification);
      CHECK(letter.user == "bob"_user);
      CHECK(letter.recipients.empty());
      CHECK(letter.topic == "news");
      CHECK(letter.error == "expired");
      CHECK(letter.created_at <= time.now());
      CHECK(!letter.id.empty());
    }
    CHECK(std::set{found[0].notification_id, found[1].notification_id} ==
          std::set{lacked.id.to_string(), alone.id.to_string()});
    CHECK(waiting("ann") == std::vector{later.id});
    CHECK(state_of(had) == "2");
    CHECK(state_of(lacked) == "3");
    CHECK(count("notification_pending") == 1);
    const auto counted = outbox().outbox_counts();
    CHECK(counted.notifications_expired == 2);
    CHECK(counted.notifications_acknowledged == 2);
    CHECK(counted.dead_letters == 2);
    check_clean();
  }
  TEST_CASE_FIXTURE(with_notifications,
                    "of a room: the members who have not acknowledged, and the named") {
    begin();
    const auto room = make_room(tenant, {"ann"_user, "bob"_user, "cat"_user, "dan"_user});
    time.advance(1ms);
    const auto made = make(one_for({"ann"_user, "zoe"_user}, room.info.id, 1min));
    time.advance(1ms);
    join(room, "late");
    leave(room, "dan");
    ack("bob", {made.id});
    pass(1min);
    const auto found = letters();
    REQUIRE(found.size() == 1);
    CHECK(!found[0].user);
    CHECK(words_of(found[0].recipients) == names{"ann", "cat", "zoe"});
    CHECK(outbox().outbox_counts().notifications_expired == 3);
    CHECK(outbox().outbox_counts().dead_letters == 1);
  }
  TEST_CASE_FIXTURE(with_notifications, "one that everybody has leaves no letter") {
    begin();
    std::vector<user_id> many;
    for (int i = 0; i < 100; ++i) many.emplace_back("m" + std::to_string(i));
    const auto room = make_room(tenant, many);
    const auto made = make(one_for({}, room.info.id, 1min));
    for (const auto& user : many) ack(user.value.c_str(), {made.id});
    const auto left = make_room(tenant, {"ann"_user});
    const auto nobody_left = make(one_for({}, left.info.id, 1min));
    leave(left, "ann");
    pass(1min);
    CHECK(letters().empty());
    CHECK(state_of(made) == "2");
    CHECK(state_of(nobody_left) == "2");
  }
  TEST_CASE_FIXTURE(with_notifications,
                    "of many the first thousand are noted and all are counted, across crashes") {
    begin(R"({"webhook_url":"https://example.org/hook","webhook_events":["notification.failed"]})");
    constexpr int named = 700;
    constexpr int members = 800;
    std::vector<user_id> users;
    std::vector<user_id> in_room;
    for (int i = 0; i < named; ++i) users.emplace_back("u" + std::to_string(i));
    for (int i = 0; i < members; ++i) in_room.emplace_back("m" + std::to_string(i));
    const auto room = make_room(tenant, in_room);
    const auto made = make(one_for(users, room.info.id, 1min));
    CHECK(made.targets == named + members);
    ack("m0", {made.id});
    time.advance(1min);
    int crashes = 0;
    for (; letters().empty(); ++crashes) {  // each time a piece further
      REQUIRE(crashes < 100);
      reopen();
      for (int n = 0; n <= crashes; ++n) {
        time.advance(1ms);
        maintain();
      }
    }
    const auto one = letters();
    REQUIRE(one.size() == 1);
    CHECK(one[0].recipients.size() == limits::dead_letter_recipients_max);
    CHECK(text("SELECT json_extract(data, '$.recipients_total') FROM outbox") ==
          std::to_string(named + members - 1));
    CHECK(text("SELECT json_array_length(data, '$.recipient_ids') FROM outbox") == "1000");
    CHECK(text("SELECT json_extract(data, '$.recipient_ids[0]') FROM outbox").front() == 'u');
    settle();
    CHECK(count("notification_pending") == 0);
    CHECK(count("dead_letters") == 1);
    CHECK(count("outbox") == 1);
  }
  TEST_CASE_FIXTURE(with_notifications,
                    "an endpoint that wants to know is told, once, after a crash too") {
    begin(R"({"webhook_url":"https://example.org/hook","webhook_events":["notification.failed"]})");
    const auto made = make(one_for({"ann"_user}, {}, 1min));
    REQUIRE(writes().begin());
    REQUIRE(outbox().attempted(tenant, {{made.id, 4}}, time.now()));
    REQUIRE(writes().commit());
    static_cast<void>(outbox().take_outbox_news());
    pass(1min);
    CHECK(outbox().take_outbox_news() == std::vector{tenant});
    reopen();
    settle();
    CHECK(count("outbox WHERE type = 12 AND lane = 0") == 1);
    CHECK(text("SELECT data FROM outbox") ==
          R"({"notification_id":")" + made.id.to_string() +
              R"(","topic":"news","user_id":"ann","error":"expired","attempts":4})");
    CHECK(count("dead_letters") == 1);
  }
  TEST_CASE_FIXTURE(with_notifications, "an endpoint that does not ask for it is not told") {
    begin(R"({"webhook_url":"https://example.org/hook"})");
    make(one_for({"ann"_user}, {}, 1min));
    pass(1min);
    CHECK(count("dead_letters") == 1);
    CHECK(count("outbox") == 0);
  }
  TEST_CASE_FIXTURE(with_notifications,
                    "a retry makes it wait again as long as it did, for those who lack it") {
    begin();
    const auto room = make_room(tenant, {"ann"_user, "bob"_user});
    time.advance(1ms);
    const auto made = make(one_for({"cat"_user, "dan"_user}, room.info.id, 1min));
    ack("ann", {made.id});
    ack("cat", {made.id});
    pass(1min);
    auto found = letters();
    REQUIRE(found.size() == 1);
    time.advance(24h * 3);
    REQUIRE(change(tenant_change::retry_dead_letter{found[0].id}));
    reopen();
    CHECK(letters().empty());
    for (const char* user : {"bob", "dan"}) CHECK(waiting(user) == std::vector{made.id});
    for (const char* user : {"ann", "cat"}) CHECK(waiting(user) == none);
    const auto page = looks().notifications(tenant, "dan"_user, {}, time.now(), 10, 1000);
    REQUIRE(page);
    REQUIRE(page->items.size() == 1);
    CHECK(page->items[0].no == made.no);
    CHECK(page->items[0].created_at == made.created_at);
    CHECK(page->items[0].payload == json_text{R"({"n":1})"});
    time.advance(30s);
    ack("dan", {made.id});
    time.advance(30s - 1ms);
    CHECK(waiting("bob") == std::vector{made.id});
    pass(1ms);
    pass(1s);
    found = letters();
    REQUIRE(found.size() == 1);
    CHECK(found[0].user == "bob"_user);
    // As long as the first time, again.
    REQUIRE(change(tenant_change::retry_dead_letter{found[0].id}));
    pass(1min - 1s);
    CHECK(letters().empty());
    pass(2s);
    CHECK(letters().size() == 1);
    CHECK(count("notifications") == 1);
  }
  TEST_CASE_FIXTURE(with_notifications,
                    "a retry while rows of the dead one are still being cleared loses nobody") {
    begin();
    std::vector<user_id> users;
    for (int i = 0; i < 500; ++i) users.emplace_back("u" + std::to_string(i));
    const auto made = make(one_for(users, {}, 1min));
    time.advance(1min);
    while (letters().empty()) maintain();
    REQUIRE(change(tenant_change::retry_dead_letter{letters()[0].id}));
    settle();
    CHECK(count("notification_pending") == 500);
    CHECK(waiting("u499") == std::vector{made.id});
  }
  TEST_CASE_FIXTURE(with_notifications, "who was erased since is not asked again") {
    begin();
    const auto made = make(one_for({"ann"_user, "bob"_user}, {}, 1min));
    pass(1min);
    time.advance(1s);
    REQUIRE(change(tenant_change::erase_user{"job-1", "ann"_user}));
    pass(1s);
    const auto found = letters();
    REQUIRE(found.size() == 1);
    REQUIRE(change(tenant_change::retry_dead_letter{found[0].id}));
    CHECK(waiting("ann") == none);
    CHECK(waiting("bob") == std::vector{made.id});
  }
  TEST_CASE_FIXTURE(with_notifications, "a letter that is deleted takes the payload with it") {
    begin();
    const auto made = make(one_for({"ann"_user}, {}, 1min));
    pass(1min);
    const auto found = letters();
    REQUIRE(found.size() == 1);
    CHECK(count("notifications WHERE payload IS NOT NULL") == 1);
    for (const char* id : {"0", "999", "x", ""}) {
      const auto unknown = change(tenant_change::retry_dead_letter{id});
      REQUIRE(!unknown);
      CHECK(unknown.error().why.code == error_code::not_found);
    }
    CHECK(!change(tenant_change::retry_dead_letter{found[0].id}, "other"));
    CHECK(!change(tenant_change::delete_dead_letter{found[0].id}, "other"));
    REQUIRE(change(tenant_change::delete_dead_letter{found[0].id}));
    CHECK(letters().empty());
    CHECK(state_of(made) == "2");
    CHECK(count("notifications WHERE payload IS NOT NULL") == 0);
    CHECK(!change(tenant_change::retry_dead_letter{found[0].id}));
    CHECK(waiting("ann") == none);
  }
  TEST_CASE_FIXTURE(with_notifications,
                    "what is done goes idempotency_ttl after it was made, with its rows") {
    begin();
    const auto room = make_room(tenant, {"ann"_user, "bob"_user});
    const auto done = make(one_for({}, room.info.id));
    ack("ann", {done.id});
    ack("bob", {done.id});
    make(one_for_subscribers());
    const auto dead = make(one_for({"ann"_user}, {}, 1min));
    const auto waits = make(one_for({"ann"_user}));
    pass(options.idempotency_ttl - 1s);
    CHECK(count("notifications") == 4);
    CHECK(count("notification_acks") == 2);
    pass(2s);
    CHECK(count("notifications") == 2);
    CHECK(count("notification_acks") == 0);
    REQUIRE(change(tenant_change::delete_dead_letter{letters().at(0).id}));
    pass(1s);
    CHECK(count("notifications") == 1);
    CHECK(waiting("ann") == std::vector{waits.id});
    CHECK(count("notification_pending") == 1);
    check_clean();
  }
}

TEST_SUITE("SPEC 7 parley verify looks at notifications") {
  TEST_CASE(
      "a row without its notification, a state without what belongs to it: each is a problem") {
    for (const char* sql : {
             "DELETE FROM notifications WHERE notification_no = 1",
             "UPDATE notification_pending SET tenant_no = 2 WHERE notification_no = 1",
             "DELETE FROM notification_pending WHERE notification_no = 1",
             "UPDATE notification_acks SET notification_no = 99",
             "UPDATE notifications SET payload = NULL WHERE notification_no = 1",
             "UPDATE notifications SET payload = '1' WHERE state = 2",
             "UPDATE notifications SET state = 4 WHERE notification_no = 1",
             "UPDATE notifications SET state = 1 WHERE state = 3",
             "DELETE FROM dead_letters",
             "UPDATE dead_letters SET notification_no = 1",
         }) {
      INFO(std::string{sql});
      with_notifications s;
      s.begin();
      const auto room = s.make_room(s.tenant, {"ann"_user, "bob"_user});
      s.make(s.one_for({"ann"_user, "bob"_user}));
      s.ack("ann", {s.make(s.one_for({}, room.info.id)).id});
      s.make(s.one_for_subscribers());
      s.make(s.one_for({"ann"_user}, {}, 1s));
      s.pass(1s);
      s.check_clean();
      s.close();
      {
        connection db{{.file = s.options.file.string()}};
        db.execute_or_throw(sql);
        CHECK(db.total_changes() > 0);
      }
      const auto report = verify_sqlite(s.options.file);
      REQUIRE(report);
      CHECK(!report->problems.empty());
    }
  }
}

TEST_SUITE("SPEC 4 subscriptions to topics") {
  TEST_CASE_FIXTURE(with_notifications,
                    "topics are kept once each, up to a bound, and are a user's own") {
    begin();
    subscribe("ann", "b");
    subscribe("ann", "a");
    subscribe("ann", "b");
    REQUIRE(change(tenant_change::subscribe_topic{"ann"_user, "c", 3}, "other"));
    CHECK(topics("ann") == names{"a", "b"});
    CHECK(topics("nobody") == names{});
    const auto refused = change(tenant_change::subscribe_topic{"ann"_user, "c", 2});
    REQUIRE(!refused);
    CHECK(refused.error().scope == failure_scope::item);
    CHECK(refused.error().why.code == error_code::conflict);
    CHECK(refused.error().why.field == "topic");
    REQUIRE(change(tenant_change::subscribe_topic{"ann"_user, "a", 2}));  // has it already
    reopen();
    REQUIRE(change(tenant_change::unsubscribe_topic{"ann"_user, "b"}));
    REQUIRE(change(tenant_change::unsubscribe_topic{"ann"_user, "b"}));
    REQUIRE(change(tenant_change::unsubscribe_topic{"nobody"_user, "b"}));
    CHECK(topics("ann") == names{"a"});
    REQUIRE(change(tenant_change::subscribe_topic{"ann"_user, "c", 2}));
    CHECK(make(one_for_subscribers("c")).targets == 1);
    CHECK(make(one_for_subscribers("b")).targets == 0);
    CHECK(count("users WHERE user_id = 'nobody'") == 0);
  }
  TEST_CASE_FIXTURE(with_notifications, "who unsubscribes keeps what was sent before") {
    begin();
    subscribe("ann");
    const auto made = make(one_for_subscribers());
    REQUIRE(change(tenant_change::unsubscribe_topic{"ann"_user, "news"}));
    CHECK(waiting("ann") == std::vector{made.id});
  }
  TEST_CASE_FIXTURE(with_notifications, "ChatAPI's views show them") {
    begin();
    subscribe("ann");
    const auto made = make(one_for({"ann"_user}));
    CHECK(text("SELECT notification_id FROM chatapi_notifications") == made.id.to_string());
    CHECK(text("SELECT tenant_id || ' ' || topic || ' ' || payload || ' ' || status || ' ' || "
               "attempts FROM chatapi_notifications") == R"(acme news {"n":1} pending 0)");
    ack("ann", {made.id});
    CHECK(text("SELECT status FROM chatapi_notifications") == "delivered");
    make(one_for({"ann"_user}, {}, 1s));
    pass(2s);
    CHECK(count("chatapi_notifications WHERE status = 'dead'") == 1);
    CHECK(text("SELECT id || ' ' || tenant_id || ' ' || subscriber_id || ' ' || topic "
               "FROM chatapi_notification_subscriptions") == "1 acme ann news");
  }
}

// ------------------------------------------------------------------------------------------------------- properties

namespace {

/// Random histories against a simple model.
class random_notifications : public with_notifications {
 public:
  explicit random_notifications(std::uint64_t seed) : with_notifications(seed) {
    options.idempotency_ttl = 1h;
    begin();
    for (int i = 0; i < 3; ++i) {
      auto& r = rooms.emplace_back();
      r.made = make_room(tenant, {});
      r.seq = 0;
    }
  }
  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      step();
      compare();
    }
    check_clean();
    CHECK(outbox().outbox_counts().notifications_acknowledged <= acknowledged);
  }

 private:
  struct model_room {
    created_room made;
    std::int64_t seq = 0;
    bool live = true;
    std::map<std::string, utc_time> members;
  };
  struct model_notification {
    created_notification made;
    std::optional<std::size_t> room{};
    std::chrono::milliseconds ttl{};
    utc_time expires_at{};
    std::set<std::string> pending;
    std::set<std::string> acked;
    enum { waits, done, dead } state = waits;
    std::set<std::string> noted;
    std::optional<new_notification::call_key> key{};
  };

  std::string a_user() { return "u" + std::to_string(random.below(6)); }
  bool is_entitled(const model_notification& n, const std::string& user) const {
    if (!n.room || !rooms[*n.room].live) return false;
    const auto m = rooms[*n.room].members.find(user);
    return m != rooms[*n.room].members.end() && m->second <= n.made.created_at;
  }
  [[nodiscard]] bool lacks(const model_notification& n, const std::string& user) const {
    return n.pending.count(user) != 0 || (is_entitled(n, user) && n.acked.count(user) == 0);
  }

  void step() {
    switch (random.below(12)) {
      case 0:
      case 1:
      case 2:
        return create();
      case 3:
      case 4:
      case 5:
        return acknowledge();
      case 6:
        return membership();
      case 7:
        return subscription();
      case 8:
        time.advance(std::chrono::seconds{random.below(400)});
        return;
      case 9:
        return over();
      case 10:
        return letter();
      default:
        if (random.chance(40)) reopen();
        if (random.chance(5)) {
          auto& r = rooms[random.below(rooms.size())];
          if (r.live) remove(r.made);
          r.live = false;
        }
    }
  }

  void create() {
    std::vector<user_id> users;
    for (std::size_t i = random.below(4); i > 0; --i) users.emplace_back(a_user());
    model_notification m;
    std::optional<room_id> room;
    if (random.chance(50)) {
      const auto chosen = random.below(rooms.size());
      if (rooms[chosen].live) {
        m.room = chosen;
        room = rooms[chosen].made.info.id;
      }
    }
    m.ttl = std::chrono::seconds{1 + random.below(900)};
    auto n = one_for(users, room, m.ttl);
    n.topic = "t" + std::to_string(random.below(2));
    n.topic_subscribers = random.chance(40);
    if (random.chance(30))
      n.key = {hash128_of("k" + std::to_string(random.below(3))), hash128_of("b")};
    m.key = n.key;
    const model_notification* first = nullptr;
    for (const auto& before : made) {
      if (n.key && before.key && before.key->key == n.key->key &&
          before.made.created_at >= time.now() - options.idempotency_ttl)
        first = &before;
    }
    const auto done = make(n);
    CHECK(done.replayed == (first != nullptr));
    if (first != nullptr) {
      CHECK(done.id == first->made.id);
      CHECK(done.targets == first->made.targets);
      return;
    }
    m.made = done;
    m.expires_at = time.now() + m.ttl;
    std::set<std::string> all;
    for (const auto& u : users) all.insert(u.value);
    if (n.topic_subscribers) {
      for (const auto& [user, topics_of] : subscribed)
        if (topics_of.count(n.topic) != 0) all.insert(user);
    }
    for (const auto& u : all)
      if (!is_entitled(m, u)) m.pending.insert(u);
    const std::size_t members = m.room ? rooms[*m.room].members.size() : 0;
    CHECK(done.targets == static_cast<std::int64_t>(m.pending.size() + members));
    CHECK(words_of(done.users) == names(m.pending.begin(), m.pending.end()));
    if (done.targets == 0) m.state = model_notification::done;
    made.push_back(std::move(m));
  }

  void acknowledge() {
    const std::string user = a_user();
    std::vector<uuid> those;
    for (std::size_t i = 1 + random.below(4); i > 0 && !made.empty(); --i) {
      auto& n = made[made.size() - 1 - random.below(std::min<std::size_t>(made.size(), 8))];
      those.push_back(n.made.id);
      if (n.state != model_notification::waits || n.expires_at <= time.now()) continue;
      if (!lacks(n, user)) continue;
      ++acknowledged;
      n.pending.erase(user);
      if (is_entitled(n, user)) n.acked.insert(user);
      finish_if_last(n);
    }
    ack(user.c_str(), those);
  }
  void finish_if_last(model_notification& n) const {
    for (int u = 0; u < 6; ++u)
      if (lacks(n, "u" + std::to_string(u))) return;
    n.state = model_notification::done;
  }

  void membership() {
    auto& r = rooms[random.below(rooms.size())];
    if (!r.live) return;
    const std::string user = a_user();
    if (r.members.count(user) == 0) {
      r.members[user] = time.now();
      commit({row(tenant, r.made.no, ++r.seq,
                  member_joined_body{{user_id{user}}, member_role::member})});
    } else {
      r.members.erase(user);
      commit({row(tenant, r.made.no, ++r.seq, member_left_body{{user_id{user}}, leave_reason::left})});
    }
  }

  void subscription() {
    const std::string user = a_user();
    const std::string topic = "t" + std::to_string(random.below(2));
    if (random.chance(60)) {
      subscribed[user].insert(topic);
      subscribe(user.c_str(), topic);
    } else {
      subscribed[user].erase(topic);
      REQUIRE(change(tenant_change::unsubscribe_topic{user_id{user}, topic}));
    }
    CHECK(topics(user.c_str()) == names(subscribed[user].begin(), subscribed[user].end()));
  }

  void over() {
    time.advance(501ms);
    if (random.chance(30)) maintain();  // a piece, and perhaps a crash after it
    if (random.chance(30)) reopen();
    settle();
    for (auto& n : made) {
      if (n.state != model_notification::waits || n.expires_at > time.now()) continue;
      n.noted = n.pending;
      if (n.room) {
        for (const auto& [user, joined] : rooms[*n.room].members)
          if (lacks(n, user)) n.noted.insert(user);
      }
      n.state = n.noted.empty() ? model_notification::done : model_notification::dead;
      n.pending.clear();
    }
  }

  void letter() {
    const auto found = letters();
    if (found.empty()) return;
    const auto& one = found[random.below(found.size())];
    const auto n = std::find_if(made.begin(), made.end(), [&](const auto& m) {
      return m.made.id.to_string() == one.notification_id;
    });
    REQUIRE(n != made.end());
    if (random.chance(30)) {
      REQUIRE(change(tenant_change::delete_dead_letter{one.id}));
      n->state = model_notification::done;
      return;
    }
    REQUIRE(change(tenant_change::retry_dead_letter{one.id}));
    n->state = model_notification::waits;
    n->expires_at = time.now() + n->ttl;
    for (const auto& user : n->noted)
      if (!is_entitled(*n, user)) n->pending.insert(user);
    finish_if_last(*n);
  }

  void compare() {
    for (int u = 0; u < 6; ++u) {
      const std::string user = "u" + std::to_string(u);
      std::vector<uuid> expected;
      for (const auto& n : made) {
        if (n.state == model_notification::waits && n.expires_at > time.now() && lacks(n, user))
          expected.push_back(n.made.id);
      }
      CHECK(waiting(user.c_str(), 1 + random.below(5)) == expected);
    }
    CHECK(waiting(other, "u0") == none);
    std::map<std::string, names> expected;
    for (const auto& n : made) {
      if (n.state == model_notification::dead)
        expected[n.made.id.to_string()] = names(n.noted.begin(), n.noted.end());
    }
    std::map<std::string, names> got;
    for (const auto& l : letters())
      got[l.notification_id] = l.user ? names{l.user->value} : words_of(l.recipients);
    // What is over and not yet looked at is no letter yet.
    CHECK(got == expected);
  }

  std::vector<model_room> rooms;
  std::vector<model_notification> made;
  std::map<std::string, std::set<std::string>> subscribed;
  std::uint64_t acknowledged = 0;
};

template <class Action>
std::int64_t microseconds_of(const Action& action) {
  const auto start = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() -
                                                               start)
      .count();
}

}  // namespace

TEST_SUITE("SPEC 6 notifications: properties and costs") {
  TEST_CASE(
      "whatever is sent, acknowledged, joined, left, over or retried: users see what the model "
      "says") {
    parley::tests::for_each_seed(30, [](std::uint64_t seed) { random_notifications{seed}.run(120); });
  }
  TEST_CASE_FIXTURE(with_notifications, "10,000 subscribers") {
    begin();
    constexpr int subscribers = 10000;
    REQUIRE(writes().begin());
    for (int i = 0; i < subscribers; ++i) {
      REQUIRE(writes().change_tenant(
          {tenant_id{"acme"},
           tenant_change::subscribe_topic{user_id{"user-" + std::to_string(i)}, "news", 100},
           time.now()}));
    }
    REQUIRE(writes().commit());
    reopen();
    std::size_t users = 0;
    const auto cold = microseconds_of([&] { users += make(one_for_subscribers()).users.size(); });
    const auto warm = microseconds_of([&] { users += make(one_for_subscribers()).users.size(); });
    CHECK(users == 2 * subscribers);
    const auto page = microseconds_of([&] { CHECK(waiting("user-5000").size() == 2); });
    MESSAGE("10,000 subscribers: " << cold << " µs with a cold cache, " << warm
                                   << " µs warm, with the commit; a user's page " << page << " µs");
    time.advance(24h * 7);
    std::int64_t longest = 0;
    int pieces = 0;
    for (bool more = true; more; ++pieces) {
      time.advance(1ms);
      longest = std::max(longest, microseconds_of([&] { maintain(); }));
      more = writes().take_job_news().more;
    }
    CHECK(count("notification_pending") == 0);
    CHECK(letters().size() == 2);
    MESSAGE("20,000 expire in " << pieces << " pieces, the longest " << longest
                                << " µs (bound by rows here: the clock stands still)");
  }
  TEST_CASE_FIXTURE(
      with_notifications,
      "10,000 live notifications of other rooms cost a user nothing, of its own a page each") {
    begin();
    const auto own = make_room(tenant, {"ann"_user, "bob"_user});
    const auto others = make_room(tenant, {"bob"_user, "cat"_user});
    REQUIRE(writes().begin());
    for (int i = 0; i < 10000; ++i)
      REQUIRE(outbox().create_notification(one_for({}, others.info.id)));
    REQUIRE(outbox().create_notification(one_for({}, own.info.id)));
    REQUIRE(writes().commit());
    static_cast<void>(waiting("ann"));
    const auto ann = microseconds_of([&] { CHECK(waiting("ann").size() == 1); });
    CHECK(pages == 1);
    std::size_t seen = 0;
    const auto bob = microseconds_of([&] { seen = waiting("bob", 64).size(); });
    CHECK(seen == 10001);
    const int bob_pages = pages;

    std::vector<uuid> all = waiting("bob", 64);
    ack("bob", all);
    const auto acked = microseconds_of([&] { CHECK(waiting("bob").empty()); });
    const int acked_pages = pages;
    CHECK(acked_pages == static_cast<int>(10001 / notification_reads::page_steps) + 1);
    MESSAGE("10,000 live ones of a tenant: none of them own "
            << ann << " µs; all own " << bob << " µs in " << bob_pages
            << " pages; all acknowledged " << acked << " µs in " << acked_pages << " pages");
    CHECK(acked / acked_pages < 200'000);
  }
}
