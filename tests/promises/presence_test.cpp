// Who is there, who types, who has read how far, and which device is which: what is shown and not kept, seen by clients.
// That something does not come is shown by what comes after it, never by waiting.

#include "tests/promises/stage.hpp"
#include "tests/support/await.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <utility>
#include <vector>

using namespace parley::tests;
using namespace std::chrono_literals;

namespace {

node_setup setup(int io_threads, std::map<std::string, std::string> config = {}) {
  node_setup s;
  s.config = std::move(config);
  s.config.emplace("presence_grace", "300ms");
  s.config.emplace("max_connections_per_user", "0");
  return with_io_threads(io_threads, std::move(s));
}

json await_presence(ws_client& client, const std::string& user, const std::string& status) {
  return client.receive_until([&](const json& m) {
    return m["type"] == "presence.update" && m["user_id"] == user && m["status"] == status;
  });
}
std::vector<json> all_of(const ws_client& client, const std::string& type, const std::string& user) {
  std::vector<json> found;
  for (const auto& m : client.received()) {
    if (m["type"] == type && m.value("user_id", "") == user) found.push_back(m);
  }
  return found;
}
json await_typing(ws_client& client, const std::string& room, const std::string& user,
                  const std::string& action) {
  return client.receive_until([&](const json& m) {
    return m["type"] == "typing" && m["room_id"] == room && m["user_id"] == user &&
           m["action"] == action;
  });
}
json await_receipt(ws_client& client, const std::string& type, const std::string& room,
                   const std::string& user, std::int64_t seq) {
  return client.receive_until([&](const json& m) {
    return m["type"] == type && m["room_id"] == room && m["user_id"] == user && m["seq"] == seq;
  });
}
/// The same among what came already, too: of several users in whatever order.
void await_all_online(ws_client& client, const std::vector<std::string>& users) {
  for (const auto& user : users) {
    const auto came = all_of(client, "presence.update", user);
    if (came.empty()) await_presence(client, user, "online");
  }
}
json typing_frame(const std::string& room, bool start = true) {
  return {{"type", start ? "typing.start" : "typing.stop"}, {"room_id", room}};
}
/// Several connections of one user, so that with several gateways some are on each.
std::vector<ws_client> devices(const stage& s, const std::string& user, int count = 6) {
  std::vector<ws_client> all;
  for (int i = 0; i < count; ++i) all.push_back(s.online(user));
  return all;
}
template <class Client>
json presence_of(Client&& as, const std::string& users) {
  const auto reply = as.get("/v1/presence?user_ids=" + users);
  REQUIRE(reply.status == 200);
  return reply.json()["users"];
}

constexpr int thread_counts[] = {1, 3};

}  // namespace

TEST_SUITE("SPEC 5 presence.update") {
  TEST_CASE("online, away, online by another device, offline after the grace with last_seen") {
    for (const int threads : thread_counts) {
      CAPTURE(threads);
      const stage s{setup(threads)};
      const auto dm = s.room("dm", {"alice", "bob"});
      auto alice = devices(s, "alice");
      {
        auto phone = s.online("bob");
        for (auto& c : alice) CHECK(!await_presence(c, "bob", "online").contains("last_seen"));
        CHECK(phone.call({{"type", "presence.set"}, {"status", "away"}})["type"] == "ok");
        for (auto& c : alice) await_presence(c, "bob", "away");
        CHECK(presence_of(s.user("alice"), "bob")[0]["status"] == "away");
        auto laptop = s.online("bob");
        for (auto& c : alice) await_presence(c, "bob", "online");
        phone.abort();
        laptop.call({{"type", "ping"}});
      }
      std::string seen;
      for (auto& c : alice) {
        const auto offline = await_presence(c, "bob", "offline");
        seen = offline.at("last_seen").get<std::string>();
        CHECK(all_of(c, "presence.update", "bob").size() == 4);
        CHECK(all_of(c, "presence.update", "alice").empty());  // never one's own
      }
      CHECK(seen.size() == std::string{"2026-11-25T22:30:24.123Z"}.size());
      // It is stored with a commit of its own.
      json rest;
      CHECK(await(10s, [&] {
        rest = presence_of(s.user("alice"), "bob")[0];
        return !rest["last_seen"].is_null();
      }));
      CHECK(rest == json{{"user_id", "bob"}, {"status", "offline"}, {"last_seen", seen}});
    }
  }

  TEST_CASE("who leaves and comes back within the grace was never gone; who stays away was") {
    for (const int threads : thread_counts) {
      CAPTURE(threads);
      constexpr int herd = 30;
      const stage s{setup(threads, {{"presence_grace", "8s"}})};
      std::vector<std::string> names{"alice"};
      for (int i = 0; i < herd; ++i) names.push_back("user" + std::to_string(i));
      names.emplace_back("marker");
      const auto group = s.room("group", names);
      auto alice = s.online("alice");
      std::vector<ws_client> people;
      for (std::size_t i = 1; i < names.size(); ++i) people.push_back(s.online(names[i]));
      await_all_online(alice, {names.begin() + 1, names.end()});
      alice.drain(1ms);
      const auto before = alice.received().size();
      for (auto& c : people) c.abort();
      people.clear();
      // All come back but the marker, the last to leave: when its grace is over, so is that of all the others.
      for (std::size_t i = 1; i + 1 < names.size(); ++i) people.push_back(s.online(names[i]));
      await_presence(alice, "marker", "offline");
      for (std::size_t at = before; at < alice.received().size(); ++at) {
        const auto& m = alice.received()[at];
        if (m["type"] == "presence.update") CHECK(m["user_id"] == "marker");
      }
    }
  }

  TEST_CASE("nobody hears of whom they share no dm or group with, or only a big one") {
    const stage s{setup(3, {{"presence_max_members", "3"}})};
    const auto dm = s.room("dm", {"alice", "bob"});
    const auto small = s.room("group", {"alice", "carol", "dan"});
    const auto big = s.room("group", {"alice", "bob", "eve", "dan"});
    const auto channel = s.room("channel", {"alice", "frank"});
    auto bob = s.online("bob");
    auto eve = s.online("eve");
    auto frank = s.online("frank");
    auto dan = s.online("dan");
    auto alice = s.online("alice");
    await_presence(bob, "alice", "online");
    await_presence(dan, "alice", "online");
    // What comes after it: an entry that each must see.
    auto backend = s.backend();
    post(backend, big, "robot", "hello");
    post(backend, channel, "robot", "hello");
    await_entry(eve, big, 1);
    await_entry(frank, channel, 1);
    CHECK(all_of(eve, "presence.update", "alice").empty());
    CHECK(all_of(frank, "presence.update", "alice").empty());
    CHECK(all_of(dan, "presence.update", "alice").size() == 1);
  }

  TEST_CASE("none within herd_window after a start; then what is so") {
    const auto begun = std::chrono::steady_clock::now();
    const stage s{setup(3, {{"herd_window", "1500ms"}})};
    const auto dm = s.room("dm", {"alice", "bob"});
    auto alice = s.online("alice");
    auto bob = s.online("bob");
    CHECK(presence_of(s.user("alice"), "bob")[0]["status"] == "online");
    await_presence(alice, "bob", "online");
    CHECK(std::chrono::steady_clock::now() - begun >= 1500ms);
  }
}

TEST_SUITE("SPEC 4 GET /presence") {
  TEST_CASE("of those one shares a dm or group with; all others are offline, null") {
    stage s{setup(3)};
    const auto other_tenant = s.node.create_tenant("other");
    const auto dm = s.room("dm", {"alice", "bob"});
    const auto group = s.room("group", {"alice", "carol"});
    const auto channel = s.room("channel", {"alice", "dan"});
    auto bob = s.online("bob");
    auto carol = s.online("carol");
    auto dan = s.online("dan");
    auto mallory = s.online("mallory");
    const auto unknown = [](const std::string& user) {
      return json{{"user_id", user}, {"status", "offline"}, {"last_seen", nullptr}};
    };
    const auto online = [](const std::string& user) {
      return json{{"user_id", user}, {"status", "online"}, {"last_seen", nullptr}};
    };
    CHECK(presence_of(s.user("alice"), "dan,bob,nobody,carol,bob,mallory,alice") ==
          json::array({unknown("dan"), online("bob"), unknown("nobody"), online("carol"),
                       unknown("mallory"), unknown("alice")}));
    CHECK(presence_of(s.user("mallory"), "bob,mallory") ==
          json::array({unknown("bob"), online("mallory")}));
    CHECK(presence_of(s.backend(), "dan,bob,mallory,nobody") ==
          json::array({online("dan"), online("bob"), online("mallory"), unknown("nobody")}));
    CHECK(presence_of(s.node.backend(other_tenant), "bob") == json::array({unknown("bob")}));
    CHECK(presence_of(s.node.user(other_tenant, "bob"), "bob") == json::array({unknown("bob")}));
  }

  TEST_CASE("ids are split at commas before they are decoded; at most 100, each in form") {
    const stage s{setup(1)};
    const auto dm = s.room("dm", {"alice", "a,b c"});
    auto odd = s.online("alice");
    ws_options options;
    options.headers = {{"X-API-Key", s.tenant.api_key}};
    options.query = "user_id=a%2Cb%20c";
    ws_client comma{s.node.address(), options};
    comma.receive_type("sync.done");
    CHECK(presence_of(s.user("alice"), "a%2Cb+c")[0] ==
          json{{"user_id", "a,b c"}, {"status", "online"}, {"last_seen", nullptr}});
    auto alice = s.user("alice");
    std::string hundred = "u";
    for (int i = 1; i < 100; ++i) hundred += ",u" + std::to_string(i);
    CHECK(presence_of(alice, hundred).size() == 100);
    for (const auto& bad : std::vector<std::string>{
             "", "?user_ids=", "?user_ids=a,,b", "?user_ids=%20a", "?user_ids=" + hundred + ",v"}) {
      const auto reply = alice.get("/v1/presence" + bad);
      CAPTURE(bad);
      CHECK(reply.status == 400);
      CHECK(reply.json()["error"]["field"] == "user_ids");
    }
    CHECK(s.node.rest().get("/v1/presence?user_ids=a").status == 401);
  }

  TEST_CASE("member lists say who is online, up to presence_max_members") {
    const stage s{setup(3, {{"presence_max_members", "3"}})};
    const auto small = s.room("group", {"alice", "bob", "carol"});
    const auto big = s.room("group", {"alice", "bob", "carol", "dan"});
    auto alice = s.online("alice");
    auto bob = s.online("bob");
    REQUIRE(bob.call({{"type", "presence.set"}, {"status", "away"}})["type"] == "ok");
    auto as = s.user("alice");
    const auto shown = as.get("/v1/rooms/" + small + "/members").json()["members"];
    REQUIRE(shown.size() == 3);
    for (const auto& m : shown) {
      CAPTURE(m);
      CHECK(m["online"] == (m["user_id"] != "carol"));  // away is there, too
    }
    for (const auto& m : as.get("/v1/rooms/" + big + "/members").json()["members"])
      CHECK(m["online"].is_null());
  }
}

TEST_SUITE("SPEC 5 typing") {
  TEST_CASE("the others on whom the room is live see it start and stop; oneself and others don't") {
    for (const int threads : thread_counts) {
      CAPTURE(threads);
      const stage s{setup(threads)};
      const auto group = s.room("group", {"alice", "bob", "carol"});
      const auto elsewhere = s.room("group", {"alice", "dan"});
      auto alice = devices(s, "alice", 2);
      auto bob = devices(s, "bob");
      auto dan = s.online("dan");
      auto manual = s.connect("carol", "sync=manual");
      manual.receive_type("hello");
      CHECK(alice[0].call(typing_frame(group))["type"] == "ok");
      for (auto& c : bob) {
        CHECK(
            await_typing(c, group, "alice", "start") ==
            json{{"type", "typing"}, {"room_id", group}, {"user_id", "alice"}, {"action", "start"}});
      }
      CHECK(alice[0].call(typing_frame(group, false))["type"] == "ok");
      for (auto& c : bob) await_typing(c, group, "alice", "stop");
      // Where the room is not live nothing came before this.
      auto backend = s.backend();
      post(backend, elsewhere, "robot", "hello");
      await_entry(dan, elsewhere, 1);
      await_entry(alice[1], elsewhere, 1);
      manual.call({{"type", "ping"}});
      for (auto* c : {&dan, &alice[1], &manual}) CHECK(all_of(*c, "typing", "alice").empty());
    }
  }

  TEST_CASE("no answer without a request_id, and the frame after it is answered") {
    const stage s{setup(1)};
    const auto dm = s.room("dm", {"alice", "bob"});
    auto alice = s.online("alice");
    auto bob = s.online("bob");
    const auto before = alice.received().size();
    alice.send_json(typing_frame(dm));
    await_typing(bob, dm, "alice", "start");
    alice.send_json({{"type", "presence.set"}, {"status", "away"}});
    await_presence(bob, "alice", "away");
    alice.call({{"type", "ping"}});
    for (std::size_t at = before; at < alice.received().size(); ++at)
      CHECK(alice.received()[at]["type"] != "ok");
  }

  TEST_CASE("it stops by itself, at the end of its connection, and silently with a message") {
    for (const int threads : thread_counts) {
      CAPTURE(threads);
      const stage s{setup(threads, {{"typing_interval", "100ms"}, {"typing_timeout", "600ms"}})};
      const auto one = s.room("dm", {"alice", "bob"});
      const auto two = s.room("group", {"alice", "bob"});
      auto bob = s.online("bob");
      {
        auto alice = s.online("alice");
        alice.call(typing_frame(one));
        await_typing(bob, one, "alice", "start");
        await_typing(bob, one, "alice", "stop");
        alice.call(typing_frame(one));
        await_typing(bob, one, "alice", "start");
        REQUIRE(send(alice, one, "hello")["type"] == "message.accepted");
        await_entry(bob, one, 1);
        // Whatever a stop of the first would take is over when the second has stopped by itself.
        alice.call(typing_frame(two));
        await_typing(bob, two, "alice", "start");
        await_typing(bob, two, "alice", "stop");
        std::vector<std::string> seen;
        for (const auto& m : all_of(bob, "typing", "alice"))
          if (m["room_id"] == one) seen.push_back(m["action"]);
        CHECK(seen == std::vector<std::string>{"start", "stop", "start"});
      }
      auto again = s.online("alice");
      const auto begun = std::chrono::steady_clock::now();
      again.call(typing_frame(two));
      await_typing(bob, two, "alice", "start");
      again.abort();
      await_typing(bob, two, "alice", "stop");
      MESSAGE("a lost connection's typing stopped after "
              << (std::chrono::steady_clock::now() - begun) / 1ms << " ms");
    }
  }

  TEST_CASE("who is no member hears the same as about a room that is not") {
    const stage s{setup(3, {{"typing_interval", "100ms"}})};
    const auto dm = s.room("dm", {"alice", "bob"});
    const auto group = s.room("group", {"alice", "bob", "carol"});
    auto carol = s.online("carol");
    auto bob = s.online("bob");
    const std::string unknown = "01234567-89ab-7def-8123-456789abcdef";
    for (const bool start : {true, false}) {
      auto foreign = carol.call(typing_frame(dm, start));
      auto none = carol.call(typing_frame(unknown, start));
      CHECK(foreign["code"] == "NOT_FOUND");
      for (auto* answer : {&foreign, &none}) {
        answer->erase("request_id");
        answer->erase("room_id");
      }
      CHECK(foreign == none);
    }
    CHECK(carol.call(typing_frame(group))["type"] == "ok");
    await_typing(bob, group, "carol", "start");
    REQUIRE(s.backend().del("/v1/rooms/" + group + "/members/carol").status == 204);
    // Within typing_interval of a start that was shown nobody asks whether she is a member still.
    CHECK(await(10s, [&] { return carol.call(typing_frame(group))["code"] == "NOT_FOUND"; }));
    await_typing(bob, group, "carol", "stop");
  }

  TEST_CASE("none in rooms over typing_max_members, and no more than one start in two seconds") {
    const stage s{setup(3, {{"typing_max_members", "2"}})};
    const auto dm = s.room("dm", {"alice", "bob"});
    const auto big = s.room("group", {"alice", "bob", "carol"});
    auto alice = s.online("alice");
    auto bob = s.online("bob");
    CHECK(alice.call(typing_frame(big))["type"] == "ok");
    for (int i = 0; i < 20; ++i) CHECK(alice.call(typing_frame(dm))["type"] == "ok");
    CHECK(alice.call(typing_frame(dm, false))["type"] == "ok");
    await_typing(bob, dm, "alice", "stop");
    CHECK(all_of(bob, "typing", "alice").size() == 2);
  }
}

TEST_SUITE("SPEC 5 receipts to other members") {
  TEST_CASE(
      "ack and read of one online and one offline reach all members on whom the room is live") {
    for (const int threads : thread_counts) {
      CAPTURE(threads);
      const stage s{setup(threads)};
      const auto group = s.room("group", {"alice", "bob", "carol"});
      auto backend = s.backend();
      for (int i = 0; i < 3; ++i) post(backend, group, "robot", "hello");
      auto alice = devices(s, "alice");
      auto bob = s.online("bob");
      auto manual = s.connect("alice", "sync=manual");
      manual.receive_type("hello");
      REQUIRE(bob.call({{"type", "ack"}, {"room_id", group}, {"seq", 2}})["type"] ==
              "ack.received");
      for (auto& c : alice) await_receipt(c, "ack.received", group, "bob", 2);
      REQUIRE(bob.call({{"type", "read"}, {"room_id", group}, {"seq", 3}})["type"] ==
              "read.received");
      for (auto& c : alice) await_receipt(c, "read.received", group, "bob", 3);
      // Over REST, of a user without a connection.
      auto carol = s.user("carol");
      REQUIRE(carol.post("/v1/acks", {{"room_id", group}, {"seq", 1}}).status == 200);
      for (auto& c : alice) await_receipt(c, "ack.received", group, "carol", 1);
      REQUIRE(carol.post("/v1/reads", {{"room_id", group}, {"seq", 2}}).status == 200);
      for (auto& c : alice) {
        await_receipt(c, "read.received", group, "carol", 2);
        // A read says its ack by itself.
        CHECK(all_of(c, "ack.received", "bob").size() == 1);
        CHECK(all_of(c, "ack.received", "carol").size() == 1);
      }
      await_receipt(bob, "read.received", group, "carol", 2);
      CHECK(all_of(bob, "ack.received", "bob").size() == 1);  // its own reply
      manual.call({{"type", "ping"}});
      CHECK(all_of(manual, "ack.received", "bob").empty());
      CHECK(all_of(manual, "read.received", "carol").empty());
    }
  }

  TEST_CASE("none in rooms over receipt_max_members; the user's own devices hear all the same") {
    const stage s{setup(3, {{"receipt_max_members", "2"}})};
    const auto dm = s.room("dm", {"alice", "bob"});
    const auto big = s.room("group", {"alice", "bob", "carol"});
    auto backend = s.backend();
    post(backend, dm, "robot", "hello");
    post(backend, big, "robot", "hello");
    auto alice = s.online("alice");
    auto phone = s.online("bob");
    auto laptop = s.online("bob");
    phone.call({{"type", "ack"}, {"room_id", big}, {"seq", 1}});
    await_receipt(laptop, "ack.received", big, "bob", 1);
    phone.call({{"type", "ack"}, {"room_id", dm}, {"seq", 1}});
    await_receipt(alice, "ack.received", dm, "bob", 1);
    CHECK(all_of(alice, "ack.received", "bob").size() == 1);
    auto as = s.user("alice");
    for (const auto& m : as.get("/v1/rooms/" + big + "/members").json()["members"])
      CHECK(m["last_ack"].is_null());
  }

  TEST_CASE("many acks in a row become few receipts, and the last is the last word") {
    const stage s{setup(3)};
    const auto dm = s.room("dm", {"alice", "bob"});
    auto backend = s.backend();
    constexpr int count = 100;
    for (int i = 0; i < count; ++i) post(backend, dm, "robot", "hello");
    auto alice = s.online("alice");
    auto bob = s.online("bob");
    for (int i = 1; i <= count; ++i) bob.send_json({{"type", "ack"}, {"room_id", dm}, {"seq", i}});
    await_receipt(alice, "ack.received", dm, "bob", count);
    const auto seen = all_of(alice, "ack.received", "bob");
    CHECK(seen.size() < count / 2);
    CHECK(std::is_sorted(seen.begin(), seen.end(),
                         [](const json& a, const json& b) { return a["seq"] < b["seq"]; }));
  }
}

TEST_SUITE("SPEC 2.6 ephemeral frames are dropped first for a slow reader, and counted") {
  TEST_CASE("a reader that is behind loses typing, and no entry") {
    const stage s{setup(1, {{"ws_send_buffer", "64KiB"}, {"typing_interval", "0s"}})};
    const auto group = s.room("group", {"alice", "bob"});
    ws_options options;
    options.headers = {{"X-API-Key", s.tenant.api_key}, {"X-User-Id", "bob"}};
    options.receive_buffer_bytes = 4096;
    ws_client slow{s.node.address(), options};
    slow.receive_type("sync.done");
    auto alice = s.connect("alice", "sync=manual");
    alice.receive_type("hello");
    constexpr int count = 600;
    const std::string content(16000, 'x');
    for (int i = 0; i < count; ++i) alice.send_json(send_frame(group, content));
    for (int i = 0; i < count; ++i) alice.receive_type("message.accepted");
    auto rest = s.node.rest();
    const auto dropped = [&] {
      return rest.get("/health").json().at("ephemerals_dropped").get<std::int64_t>();
    };
    REQUIRE(await(20s, [&] {
      alice.call(typing_frame(group));
      return dropped() > 0;
    }));
    slow.receive_until([&](const json& m) { return is_entry(m) && m["seq"] == count; }, 60s);
    CHECK(seqs_of(entries_of(slow, group)) == seqs(1, count));
  }
}

TEST_SUITE("SPEC 5 device_id") {
  TEST_CASE("a new connection of the same device replaces the old one: 4505, on any gateway") {
    for (const int threads : thread_counts) {
      CAPTURE(threads);
      const stage s{setup(threads, {{"max_connections_per_user", "2"}})};
      auto laptop = s.online("alice", "device_id=laptop");
      auto phone = s.online("alice", "device_id=phone");
      auto other = s.online("bob", "device_id=phone");
      for (int i = 0; i < 8; ++i) {
        auto again = s.online("alice", "device_id=phone");
        const auto seen = phone.await_close();
        CHECK(seen.code == 4505);
        CHECK(seen.reason == "CONFLICT");
        phone = std::move(again);
      }
      // The limit counts after the replacement: another device is one too many.
      auto watch = s.connect("alice", "device_id=watch");
      CHECK(watch.await_close().code == 1008);
      for (auto* c : {&laptop, &phone, &other})
        CHECK(c->call({{"type", "ping"}})["type"] == "pong");
    }
  }
}
