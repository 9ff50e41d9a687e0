// Notifications on a running node: durable, at once to who is online, on connect to others, until acknowledged. That
// something does not come is shown by what comes after it, never by waiting.

#include "tests/promises/exposition.hpp"
#include "tests/promises/stage.hpp"
#include "tests/support/await.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace parley::tests;
using namespace std::chrono_literals;

namespace {

using numbers = std::vector<int>;

node_setup setup(int io_threads, std::map<std::string, std::string> config = {}) {
  node_setup s;
  s.config = std::move(config);
  s.config.emplace("max_connections_per_user", "0");
  return with_io_threads(io_threads, without_rate_limits(std::move(s)));
}

json users(const std::vector<std::string>& names) { return {{"user_ids", names}}; }

template <class Client>
rest_reply try_notify(Client&& as, const json& targets, const json& payload,
                      const header_list& headers = {}, int ttl_s = 3600) {
  return as.post("/v1/notify",
                 {{"topic", "news"}, {"payload", payload}, {"targets", targets}, {"ttl_s", ttl_s}},
                 headers);
}
std::string notify(const stage& s, const json& targets, const json& payload) {
  const auto made = try_notify(s.backend(), targets, payload);
  REQUIRE(made.status == 202);
  return made.json()["notification_id"];
}
/// Payloads are numbers here.
int await_notification(ws_client& client) {
  return client.receive_type("notification")["payload"].get<int>();
}
void await_number(ws_client& client, int payload) {
  client.receive_until(
      [&](const json& m) { return m["type"] == "notification" && m["payload"] == payload; });
}
numbers numbers_of(const ws_client& client) {
  numbers out;
  for (const auto& m : client.received()) {
    if (m["type"] == "notification") out.push_back(m["payload"].get<int>());
  }
  return out;
}
numbers from_to(int first, int last) {
  numbers out;
  for (int n = first; n <= last; ++n) out.push_back(n);
  return out;
}
json ack_of(const std::string& id) {
  return {{"type", "notification.ack"}, {"notification_id", id}};
}
/// Acknowledgements are stored soon after the frame that is one.
void await_acknowledged(const stage& s, int count) {
  CHECK(await(10s,
              [&] { return s.node.rest().get("/metrics").json()["delivery_attempts"] == count; }));
}
/// Acknowledges what has come: the second is surely read when all before it has left the node.
void says_something(ws_client& client) {
  for (int times = 0; times < 2; ++times) CHECK(client.call({{"type", "ping"}})["type"] == "pong");
}
/// Connections of one user in every mode, so that with several gateways some are on each.
std::vector<ws_client> devices(const stage& s, const std::string& user) {
  std::vector<ws_client> all;
  for (int i = 0; i < 3; ++i) {
    all.push_back(s.online(user));
    all.push_back(s.connect(user, "sync=manual"));
    all.back().receive_type("hello");
    all.back().call({{"type", "ping"}});
  }
  return all;
}

constexpr int thread_counts[] = {1, 3};

}  // namespace

TEST_SUITE("SPEC 6 notifications reach who is online at once") {
  TEST_CASE("every device of users, members and subscribers, each once, and nobody else") {
    for (const int threads : thread_counts) {
      CAPTURE(threads);
      const stage s{setup(threads)};
      const auto room = s.room("group", {"ann", "bob"});
      CHECK(s.user("cid").put("/v1/subscriptions/news").status == 204);
      std::map<std::string, std::vector<ws_client>> all;
      for (const std::string user : {"ann", "bob", "cid", "dan"}) all[user] = devices(s, user);
      notify(s, users({"ann"}), 1);
      notify(s, {{"room_id", room}}, 2);
      notify(s, {{"topic_subscribers", true}}, 3);
      const auto made = try_notify(
          s.backend(),
          {{"user_ids", {"ann", "cid", "dan"}}, {"room_id", room}, {"topic_subscribers", true}}, 4);
      CHECK(made.json()["targets"] == 4);
      const std::map<std::string, numbers> expected{
          {"ann", {1, 2, 4}}, {"bob", {2, 4}}, {"cid", {3, 4}}, {"dan", {4}}};
      for (auto& [user, clients] : all) {
        CAPTURE(user);
        for (auto& c : clients) {
          await_number(c, 4);
          CHECK(numbers_of(c) == expected.at(user));
        }
      }
      // Whoever joined gets what is for the room, whoever left does not.
      CHECK(s.backend().post("/v1/rooms/" + room + "/members", {{"user_ids", {"dan"}}}).status ==
            200);
      CHECK(s.backend().del("/v1/rooms/" + room + "/members/bob").status == 204);
      notify(s, {{"room_id", room}}, 5);
      notify(s, users({"bob", "dan"}), 6);
      for (auto& c : all["dan"]) {
        await_number(c, 6);
        CHECK(numbers_of(c) == numbers{4, 5, 6});
      }
      for (auto& c : all["bob"]) {
        await_number(c, 6);
        CHECK(numbers_of(c) == numbers{2, 4, 6});
      }
    }
  }

  TEST_CASE(
      "the few members of a big room who are here get what is for it, in order with the rest") {
    for (const int threads : thread_counts) {
      CAPTURE(threads);
      const stage s{setup(threads)};
      std::vector<std::string> members{"ann", "zoe"};
      for (int n = 0; n < 900; ++n) members.push_back("m" + std::to_string(n));
      const auto room = s.room("channel", members);
      auto ann = devices(s, "ann");
      auto zoe = devices(s, "zoe");
      auto eve = devices(s, "eve");
      auto backend = s.backend();
      for (int n = 1; n <= 10; ++n)
        REQUIRE(try_notify(backend, {{"room_id", room}}, n).status == 202);
      notify(s, users({"ann", "zoe", "eve"}), 11);
      for (auto* all : {&ann, &zoe}) {
        for (auto& c : *all) {
          await_number(c, 11);
          CHECK(numbers_of(c) == from_to(1, 11));
        }
      }
      for (auto& c : eve) CHECK(await_notification(c) == 11);
    }
  }

  TEST_CASE("a burst comes whole and in order, to users and to a room's members") {
    constexpr int burst = 60;
    for (const int threads : thread_counts) {
      CAPTURE(threads);
      const stage s{setup(threads)};
      const auto room = s.room("group", {"ann", "bob"});
      auto ann = devices(s, "ann");
      auto backend = s.backend();
      for (int n = 1; n <= burst; ++n) {
        const json targets = n % 2 == 0 ? json{{"room_id", room}} : users({"ann"});
        REQUIRE(try_notify(backend, targets, n).status == 202);
      }
      for (auto& c : ann) {
        await_number(c, burst);
        CHECK(numbers_of(c) == from_to(1, burst));
      }
    }
  }
}

TEST_SUITE("SPEC 6 notifications reach others when they connect") {
  TEST_CASE("after hello or sync.done, in order, page by page; once acknowledged not again") {
    constexpr int waiting = 70;
    for (const int threads : thread_counts) {
      CAPTURE(threads);
      const stage s{setup(threads)};
      const auto room = s.room("group", {"ann", "bob"});
      auto backend = s.backend();
      for (int n = 1; n <= waiting; ++n) {
        const json targets = n % 3 == 0 ? json{{"room_id", room}} : users({"ann", "bob"});
        REQUIRE(try_notify(backend, targets, n).status == 202);
      }
      auto ann = s.connect("ann");
      await_number(ann, 64);
      const auto types = types_of(ann.received());
      CHECK(std::find(types.begin(), types.end(), "sync.done") <
            std::find(types.begin(), types.end(), "notification"));
      auto bob = s.connect("bob", "sync=manual");
      await_number(bob, 64);
      CHECK(bob.received()[0]["type"] == "hello");
      CHECK(bob.received()[1]["type"] == "notification");
      for (auto* c : {&ann, &bob}) {
        says_something(*c);
        const auto came = numbers_of(*c);
        if (came.empty() || came.back() != waiting) await_number(*c, waiting);
        CHECK(numbers_of(*c) == from_to(1, waiting));
        says_something(*c);
      }
      await_acknowledged(s, 2 * waiting);
      for (const std::string query : {"", "sync=manual"}) {
        auto again = s.connect("ann", query);
        again.receive_type(query.empty() ? "sync.done" : "hello");
        again.call({{"type", "ping"}});
        notify(s, users({"ann"}), 100);
        CHECK(await_notification(again) == 100);
        says_something(again);
        await_acknowledged(s, 2 * waiting + (query.empty() ? 1 : 2));
      }
    }
  }

  TEST_CASE("as long as there are none, who connects costs no reads") {
    constexpr int connects = 30;
    for (const int threads : thread_counts) {
      CAPTURE(threads);
      const stage s{setup(threads)};
      std::vector<ws_client> all;
      for (int n = 0; n < connects; ++n) {
        all.push_back(n % 2 == 0 ? s.online("ann") : s.connect("ann", "sync=manual"));
        says_something(all.back());
      }
      notify(s, users({"ann"}), 1);
      for (auto& c : all) CHECK(await_notification(c) == 1);
      // What gateways count is shown a little later.
      CHECK(await(10s, [&] {
        const exposition seen{s.node.rest().get("/v1/metrics").body};
        return seen.value("parley_notifications_sent_frames_total", {{"kind", "first"}}) == connects;
      }));
      const exposition seen{s.node.rest().get("/v1/metrics").body};
      // Each gateway had to ask once.
      CHECK(seen.value("parley_notifications_reads_total", {{"of", "user"}}) <= 2 * threads);
      CHECK(seen.value("parley_notifications_reads_total", {{"of", "room"}}) == 0);
    }
  }

  TEST_CASE(
      "a kill between 202 and delivery, and between delivery and its acknowledgement, loses none") {
    stage s{setup(3)};
    const auto room = s.room("group", {"ann"});
    notify(s, users({"ann"}), 1);
    notify(s, {{"room_id", room}}, 2);
    CHECK(s.user("bob").put("/v1/subscriptions/news").status == 204);
    s.node.kill9();
    s.node.start();
    {
      auto ann = s.connect("ann", "notifications=ack");
      await_number(ann, 2);
      notify(s, {{"topic_subscribers", true}, {"user_ids", {"ann"}}}, 3);
      await_number(ann, 3);
      s.node.kill9();
    }
    s.node.start();
    auto ann = s.connect("ann", "notifications=ack");
    await_number(ann, 3);
    CHECK(numbers_of(ann) == from_to(1, 3));
    auto bob = s.connect("bob");
    CHECK(await_notification(bob) == 3);
    CHECK(s.node.terminate() == 0);
    CHECK(is_clean(verify(s.node)));
  }

  TEST_CASE("past its time it does not come, and is a dead letter") {
    const stage s{setup(1)};
    CHECK(try_notify(s.backend(), users({"ann"}), 1, {}, 1).status == 202);
    json dead;
    CHECK(await(20s, [&] {
      dead = s.node.operator_client()
                 .get("/v1/admin/dead-letters?tenant_id=" + s.tenant.tenant_id)
                 .json()["failed_notifications"];
      return !dead.empty();
    }));
    REQUIRE(dead.size() == 1);
    CHECK(dead[0]["error"] == "expired");
    CHECK(dead[0]["topic"] == "news");
    auto ann = s.connect("ann", "sync=manual");
    ann.receive_type("hello");
    ann.call({{"type", "ping"}});
    notify(s, users({"ann"}), 2);
    CHECK(await_notification(ann) == 2);
  }
}

TEST_SUITE("SPEC 5 notifications are acknowledged") {
  TEST_CASE(
      "with notifications=ack only by their id; until then they come again, there and elsewhere") {
    for (const int threads : thread_counts) {
      CAPTURE(threads);
      const stage s{setup(threads, {{"retry_interval", "100ms"}})};
      auto phone = s.connect("ann", "sync=manual&notifications=ack");
      phone.receive_type("hello");
      const auto first = notify(s, users({"ann"}), 1);
      CHECK(await_notification(phone) == 1);
      phone.call({{"type", "ping"}});
      CHECK(await_notification(phone) == 1);  // after 100 ms
      CHECK(await_notification(phone) == 1);  // and 200 ms
      auto tablet = s.connect("ann", "sync=manual&notifications=ack");
      CHECK(await_notification(tablet) == 1);
      CHECK(phone.call(ack_of(first))["type"] == "ok");
      CHECK(phone.call(ack_of(first))["type"] == "ok");
      await_acknowledged(s, 1);
      const auto had = std::pair{numbers_of(phone).size(), numbers_of(tablet).size()};
      const auto second = notify(s, users({"ann"}), 2);
      for (auto* c : {&phone, &tablet}) {
        for (int times = 0; times < 4; ++times) await_number(*c, 2);  // 1.5 s
        const auto all = numbers_of(*c);
        const auto before = c == &phone ? had.first : had.second;
        // One more of the first may have been on its way when it was acknowledged.
        CHECK(std::count(all.begin(), all.end(), 1) <= static_cast<int>(before) + 1);
      }
      CHECK(tablet.call(ack_of(second))["type"] == "ok");
      await_acknowledged(s, 2);
      auto laptop = s.connect("ann", "notifications=ack");
      laptop.receive_type("sync.done");
      notify(s, users({"ann"}), 3);
      CHECK(await_notification(laptop) == 3);
    }
  }

  TEST_CASE("unknown, foreign and other users' ids are answered alike, and acknowledge nothing") {
    stage s{setup(1)};
    auto ann = s.connect("ann", "sync=manual");
    ann.receive_type("hello");
    const auto bobs = notify(s, users({"bob"}), 1);
    const auto other = s.node.create_tenant("other");
    auto elsewhere = s.node.backend(other);
    const auto foreign = try_notify(elsewhere, users({"ann"}), 2).json()["notification_id"];
    for (const auto& id :
         {bobs, foreign.get<std::string>(), std::string{"01890a5d-ac96-774b-bcce-b302099a8057"}}) {
      auto reply = ann.call(ack_of(id));
      reply.erase("request_id");
      CHECK(reply == json{{"type", "ok"}});
    }
    for (const std::string id : {"n1", "01890A5D-AC96-774B-BCCE-B302099A8057"}) {
      const auto reply = ann.call(ack_of(id));
      CHECK(reply["code"] == "VALIDATION_ERROR");
      CHECK(reply["field"] == "notification_id");
    }
    ann.send_json(ack_of(bobs));  // nobody asked for an answer
    auto bob = s.connect("bob", "sync=manual");
    CHECK(await_notification(bob) == 1);
    auto anns_there = s.node.connect(other, "ann", "sync=manual");
    CHECK(await_notification(anns_there) == 2);
    CHECK(numbers_of(ann).empty());
  }

  TEST_CASE("a key that was used is answered again, and nobody is shown it twice") {
    stage s{setup(3)};
    auto ann = s.online("ann");
    const header_list key{{"Idempotency-Key", "n1"}};
    const auto first = try_notify(s.backend(), users({"ann"}), 1, key);
    const auto again = try_notify(s.backend(), users({"ann"}), 1, key);
    CHECK(again.status == 202);
    CHECK(again.json() == first.json());
    CHECK(again.header("idempotent-replayed") == "true");
    CHECK(!first.header("idempotent-replayed"));
    const auto other = try_notify(s.backend(), users({"ann"}), 2, key);
    CHECK(other.status == 409);
    notify(s, users({"ann"}), 3);
    await_number(ann, 3);
    CHECK(numbers_of(ann) == numbers{1, 3});
    s.node.restart();
    const auto later = try_notify(s.backend(), users({"ann"}), 1, key);
    CHECK(later.json() == first.json());
    CHECK(later.header("idempotent-replayed") == "true");
  }
}

TEST_SUITE("SPEC 2.6 slow readers and notifications") {
  TEST_CASE("who does not read is sent no more than its bound, and all of it when it reads") {
    constexpr int count = 150;  // of 16 KiB each
    const stage s{setup(3, {{"ws_send_buffer", "64KiB"}})};
    ws_options slow;
    slow.headers = {{"X-API-Key", s.tenant.api_key}, {"X-User-Id", "ann"}};
    slow.query = "sync=manual";
    slow.receive_buffer_bytes = 4096;
    ws_client ann{s.node.address(), slow};
    ann.receive_type("hello");
    auto bob = s.online("bob");
    auto backend = s.backend();
    const std::string filler(16 * 1024 - 32, 'x');
    for (int n = 1; n <= count; ++n) {
      const auto made = try_notify(backend, users({"ann", "bob"}), {{"n", n}, {"x", filler}});
      REQUIRE(made.status == 202);
      if (n % 50 == 0) {  // who reads goes on
        bob.receive_until(
            [&](const json& m) { return m["type"] == "notification" && m["payload"]["n"] == n; });
        says_something(bob);
      }
    }
    int next = 1;
    while (next <= count) {
      const auto text = ann.next_text(100ms);
      if (!text) {  // what it says acknowledges what it has got
        ann.send_json({{"type", "ping"}});
        continue;
      }
      const auto m = json::parse(*text);
      if (m["type"] != "notification") continue;
      REQUIRE(m["payload"]["n"] == next);
      ++next;
    }
  }
}

TEST_SUITE("SPEC 2.7 notifications of two tenants") {
  TEST_CASE(
      "one name in two tenants is two users; a foreign room is none; a topic is a tenant's own") {
    stage s{setup(3)};
    const auto room = s.room("group", {"ann"});
    const auto other = s.node.create_tenant("other");
    auto elsewhere = s.node.backend(other);
    CHECK(s.user("ann").put("/v1/subscriptions/news").status == 204);
    auto here = s.online("ann");
    auto there = s.node.connect(other, "ann");
    there.receive_type("sync.done");
    CHECK(s.node.user(other, "ann").get("/v1/subscriptions").json()["topics"].empty());
    const auto foreign = try_notify(elsewhere, {{"room_id", room}}, 1);
    const auto unknown =
        try_notify(elsewhere, {{"room_id", "01890a5d-ac96-774b-bcce-b302099a8057"}}, 1);
    CHECK(foreign.status == 404);
    auto bodies = std::pair{foreign.json(), unknown.json()};
    bodies.first["error"].erase("request_id");
    bodies.second["error"].erase("request_id");
    CHECK(bodies.first == bodies.second);
    CHECK(try_notify(elsewhere, {{"topic_subscribers", true}}, 2).json()["targets"] == 0);
    CHECK(try_notify(elsewhere, users({"ann"}), 3).status == 202);
    notify(s, users({"ann"}), 4);
    await_number(here, 4);
    await_number(there, 3);
    CHECK(numbers_of(here) == numbers{4});
    CHECK(numbers_of(there) == numbers{3});
  }
}

TEST_SUITE("SPEC 4 bounds of notifications") {
  TEST_CASE("at the value all is served, one more is refused and counted") {
    const stage s{setup(1, {{"max_topics_per_user", "2"}, {"max_notification_targets", "3"}})};
    auto backend = s.backend();
    auto ann = s.user("ann");
    const auto before = exposition{s.node.rest().get("/v1/metrics").body};
    CHECK(ann.put("/v1/subscriptions/" + std::string(128, 't')).status == 204);
    CHECK(ann.put("/v1/subscriptions/" + std::string(129, 't')).status == 400);
    CHECK(ann.put("/v1/subscriptions/news").status == 204);
    CHECK(ann.put("/v1/subscriptions/news").status == 204);
    CHECK(ann.put("/v1/subscriptions/more").status == 409);
    // Users and subscribers are united; members of the room do not count.
    const auto room = s.room("group", {"u1", "u2", "u3", "u4", "u5"});
    const auto at = try_notify(
        backend, {{"user_ids", {"bob", "cid"}}, {"topic_subscribers", true}, {"room_id", room}}, 1);
    CHECK(at.status == 202);
    CHECK(at.json()["targets"] == 8);
    const auto over =
        try_notify(backend, {{"user_ids", {"bob", "cid", "dan"}}, {"topic_subscribers", true}}, 1);
    CHECK(over.status == 409);
    CHECK(over.json()["error"]["field"] == "targets");
    CHECK(try_notify(backend, users({"bob"}), std::string(16 * 1024 - 2, 'x')).status == 202);
    CHECK(try_notify(backend, users({"bob"}), std::string(16 * 1024 - 1, 'x')).status == 400);
    const auto after = exposition{s.node.rest().get("/v1/metrics").body};
    for (const std::string limit :
         {"max_topic", "max_topics_per_user", "max_notification_targets", "max_payload"}) {
      CAPTURE(limit);
      const auto more = [&](const exposition& e) {
        return e.value("parley_limits_refusals_total", {{"limit", limit}});
      };
      CHECK(more(after) - more(before) == 1);
    }
  }
}
