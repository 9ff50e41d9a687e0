// Two people chat in a dm and a group, a backend posts by REST, the node dies and comes back: what a new user does first.

#include "tests/promises/stage.hpp"
#include "tests/support/await.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace parley::tests;
using namespace std::chrono_literals;

TEST_SUITE("SPEC 2.2 one order") {
  TEST_CASE("what one says in a dm, both see, as the same entry") {
    const stage s;
    const auto dm = s.room("dm", {"alice", "bob"});
    auto alice = s.online("alice");
    auto bob = s.online("bob");

    const auto accepted = send(alice, dm, "Hello Bob");
    REQUIRE(accepted["type"] == "message.accepted");
    CHECK(accepted["seq"] == 1);
    const auto at_bob = await_entry(bob, dm, 1);
    CHECK(at_bob["type"] == "message");
    CHECK(at_bob["content"] == "Hello Bob");
    CHECK(at_bob["sender_id"] == "alice");
    CHECK(at_bob["actor_id"] == "alice");
    CHECK(at_bob["message_id"] == accepted["message_id"]);
    CHECK(at_bob["created_at"] == accepted["created_at"]);
    CHECK(await_entry(alice, dm, 1) == at_bob);

    REQUIRE(send(bob, dm, "Hello Alice")["seq"] == 2);
    CHECK(await_entry(alice, dm, 2) == await_entry(bob, dm, 2));
  }

  TEST_CASE("what a backend posts, every member of the group sees at once, and nobody else") {
    const stage s;
    const auto group = s.room("group", {"alice", "bob"});
    auto alice = s.online("alice");
    auto bob = s.online("bob");
    auto carol = s.online("carol");
    auto backend = s.backend();

    const auto posted = post(backend, group, "robot", "The build is green");
    CHECK(posted["seq"] == 1);
    const auto at_alice = await_entry(alice, group, 1);
    CHECK(at_alice["actor_id"].is_null());
    CHECK(at_alice["sender_id"] == "robot");
    CHECK(at_alice == await_entry(bob, group, 1));
    CHECK(at_alice == posted);
    carol.call({{"type", "ping"}});
    CHECK(entries_of(carol, group).empty());
  }

  TEST_CASE("an entry has the same bytes live, in a sync, and on the pages of REST") {
    const stage s;
    const auto group = s.room("group", {"alice", "bob"});
    auto backend = s.backend();
    auto alice = s.online("alice");

    json rich = send_frame(group, "Ein \"Zitat\"\n\\ \u00fc \U0001f600 </script> \u2028", "key-1");
    rich["meta"] = {{"a", {1, 2.5, nullptr, true}}, {"b", "text"}};
    const auto accepted = alice.call(rich);
    REQUIRE(accepted["type"] == "message.accepted");
    json answer = send_frame(group, "an answer");
    answer["reply_to"] = accepted["message_id"];
    REQUIRE(alice.call(answer)["type"] == "message.accepted");
    REQUIRE(backend.post("/v1/rooms/" + group + "/members", {{"user_ids", {"carol"}}}).status == 200);
    REQUIRE(backend.del("/v1/rooms/" + group + "/members/carol").status == 204);
    await_entry(alice, group, 4);

    // A second connection, from the start: its raw texts against the bytes of the pages.
    auto bob = s.connect("bob", "sync=manual");
    bob.receive_type("hello");
    bob.send_json({{"type", "sync"}, {"rooms", {{group, 0}}}});
    std::vector<std::string> synced;
    while (synced.size() < 4) {
      const auto text = bob.next_text(10s);
      REQUIRE(text);
      if (is_entry(json::parse(*text))) synced.push_back(*text);
    }
    const auto events = backend.get("/v1/rooms/" + group + "/events?after_seq=0").body;
    const auto messages = backend.get("/v1/rooms/" + group + "/messages?after_seq=0").body;
    const auto live = entries_of(alice, group);
    REQUIRE(live.size() == 4);
    for (std::size_t i = 0; i < synced.size(); ++i) {
      CAPTURE(synced[i]);
      CHECK(events.find(synced[i]) != std::string::npos);
      CHECK((messages.find(synced[i]) != std::string::npos) == (i < 2));
      CHECK(json::parse(synced[i]) == live[i]);
    }
    CHECK(live[0]["content"] == rich["content"]);
    CHECK(live[0]["meta"] == rich["meta"]);
    CHECK(live[0]["client_msg_id"] == "key-1");
    CHECK(live[1]["reply_to"] == accepted["message_id"]);
    CHECK(live[2]["type"] == "member.joined");
    CHECK(live[3]["type"] == "member.left");
  }

  TEST_CASE("many talk at once in one room: all see one gapless order") {
    const stage s{with_io_threads(3)};
    const std::vector<std::string> names{"u1", "u2", "u3", "u4", "u5", "u6"};
    const auto group = s.room("group", names);
    constexpr int each = 30;
    std::vector<ws_client> clients;
    for (const auto& name : names) clients.push_back(s.online(name));
    for (int i = 0; i < each; ++i) {
      for (std::size_t c = 0; c < clients.size(); ++c) {
        clients[c].send_json(send_frame(group, names[c] + "-" + std::to_string(i)));
      }
    }
    const auto last = static_cast<std::int64_t>(each * names.size());
    for (auto& client : clients) await_entry(client, group, last);
    auto backend = s.backend();
    const auto log = log_of(backend, group);
    CHECK(seqs_of(log) == seqs(1, last));
    for (auto& client : clients) CHECK(entries_of(client, group) == log);
    // Of one connection's sends the order is that in which they were sent.
    for (const auto& name : names) {
      std::vector<std::string> said;
      std::vector<std::string> wanted;
      for (const auto& e : log) {
        if (e["sender_id"] == name) said.push_back(e["content"]);
      }
      for (int i = 0; i < each; ++i) wanted.push_back(name + "-" + std::to_string(i));
      CHECK(said == wanted);
    }
  }
}

TEST_SUITE("SPEC 2.1 accepted means durable") {
  TEST_CASE("kill -9 and a new start: everything is there, and the next seq follows") {
    stage s;
    const auto dm = s.room("dm", {"alice", "bob"});
    const auto group = s.room("group", {"alice", "bob", "carol"});
    auto backend = s.backend();
    std::vector<json> dm_before;
    std::vector<json> group_before;
    std::string epoch;
    {
      auto alice = s.connect("alice");
      epoch = alice.receive_type("hello")["epoch"];
      alice.receive_type("sync.done");
      auto bob = s.online("bob");
      for (int i = 1; i <= 5; ++i) {
        REQUIRE(send(alice, dm, "to bob " + std::to_string(i))["seq"] == 2 * i - 1);
        REQUIRE(send(bob, dm, "to alice " + std::to_string(i))["seq"] == 2 * i);
        post(backend, group, "robot", "to all " + std::to_string(i));
      }
      await_entry(alice, dm, 10);
      await_entry(alice, group, 5);
      dm_before = entries_of(alice, dm);
      group_before = entries_of(alice, group);
    }
    s.node.kill9();
    s.node.restart();

    auto again = s.backend();
    CHECK(log_of(again, dm) == dm_before);
    CHECK(log_of(again, group) == group_before);
    auto alice = s.connect("alice");
    CHECK(alice.receive_type("hello")["epoch"] == epoch);
    alice.receive_type("sync.done");
    CHECK(entries_of(alice, dm) == dm_before);  // automatic: nothing was acknowledged
    auto bob = s.online("bob");
    CHECK(send(alice, dm, "back again")["seq"] == 11);
    CHECK(await_entry(bob, dm, 11)["content"] == "back again");
    CHECK(post(again, group, "robot", "me too")["seq"] == 6);
    for (auto* client : {&alice, &bob}) client->abort();
    CHECK(s.node.terminate() == 0);
    const auto verified = verify(s.node);
    CAPTURE(verified.out);
    CHECK(is_clean(verified));
  }
}

TEST_SUITE("SPEC 5 coming and going") {
  TEST_CASE("all leave, and when nothing of them is left others chat on where they were") {
    for (const int threads : {1, 3}) {
      CAPTURE(threads);
      const stage s{with_io_threads(threads, {.config = {{"presence_grace", "200ms"}}})};
      std::vector<std::string> members;
      for (int i = 0; i < 20; ++i) members.push_back("user-" + std::to_string(i));
      const auto room = s.room("group", members);
      {
        std::vector<ws_client> first;
        for (int i = 0; i < 10; ++i)
          first.push_back(s.online(members[static_cast<std::size_t>(i)]));
        for (auto& one : first) REQUIRE(send(one, room, "hello")["type"] == "message.accepted");
        for (auto& one : first) {
          await_entry(one, room, 10);
          CHECK(seqs_of(entries_of(one, room)) == seqs(1, 10));
        }
        for (auto& one : first) one.send_close();
        for (auto& one : first) one.await_close();
      }
      REQUIRE(await(20s, [&] {
        const auto health = s.node.rest().get("/health").json();
        return health["active_connections"] == 0 && health["sessions"] == 0;
      }));
      std::vector<ws_client> then;
      for (int i = 10; i < 20; ++i) then.push_back(s.online(members[static_cast<std::size_t>(i)]));
      for (auto& one : then) REQUIRE(send(one, room, "and again")["type"] == "message.accepted");
      for (auto& one : then) {
        await_entry(one, room, 20);
        CHECK(seqs_of(entries_of(one, room)) ==
              seqs(1, 20));  // the whole log, also from before they came
      }
    }
  }
}
