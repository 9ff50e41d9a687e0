// A retry with the same key is safe: over WebSocket and REST, while the first is in flight, after a crash.

#include "tests/promises/stage.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

using namespace parley::tests;
using namespace std::chrono_literals;

namespace {

/// What makes two results the same one.
void check_same_result(const json& first, const json& again) {
  CHECK(again["message_id"] == first["message_id"]);
  CHECK(again["seq"] == first["seq"]);
  CHECK(again["created_at"] == first["created_at"]);
}

rest_reply post_keyed(rest_client& client, const std::string& room, json body,
                      const std::string& key = {}) {
  header_list headers;
  if (!key.empty()) headers.emplace_back("Idempotency-Key", key);
  return client.post("/v1/rooms/" + room + "/messages", body, headers);
}

bool is_replayed(const rest_reply& reply) {
  return reply.header("idempotent-replayed") == std::optional<std::string>{"true"};
}

}  // namespace

TEST_SUITE("SPEC 2.4 safe retry") {
  TEST_CASE("a repeated client_msg_id gets the first result, and nobody sees a second message") {
    const stage s;
    const auto dm = s.room("dm", {"alice", "bob"});
    auto alice = s.online("alice");
    auto bob = s.online("bob");

    const auto first = send(alice, dm, "once", "k1");
    REQUIRE(first["type"] == "message.accepted");
    CHECK(first["client_msg_id"] == "k1");
    CHECK_FALSE(first.contains("duplicate"));
    const auto again = send(alice, dm, "once", "k1");
    CHECK(again["type"] == "message.accepted");
    CHECK(again["duplicate"] == true);
    CHECK(again["client_msg_id"] == "k1");
    check_same_result(first, again);

    const auto next = send(alice, dm, "twice", "k2");
    CHECK(next["seq"] == 2);
    await_entry(bob, dm, 2);
    await_entry(alice, dm, 2);
    CHECK(contents_of(entries_of(bob, dm)) == std::vector<std::string>{"once", "twice"});
    CHECK(contents_of(entries_of(alice, dm)) == std::vector<std::string>{"once", "twice"});
  }

  TEST_CASE("keys of one connection that are still in flight are waited for") {
    const stage s;
    const auto dm = s.room("dm", {"alice", "bob"});
    auto alice = s.online("alice");
    constexpr int copies = 20;
    std::string burst;  // one write: all of them are there before the first is committed
    for (int i = 0; i < copies; ++i) {
      auto frame = send_frame(dm, "in flight", "k");
      frame["request_id"] = i;
      burst += client_frame_bytes(ws_opcode::text, frame.dump(), {}, 0x01020304);
    }
    alice.send_raw(burst);
    std::set<int> answered;
    int firsts = 0;
    json result;
    while (answered.size() < copies) {
      const auto reply = alice.receive_type("message.accepted");
      CHECK(answered.insert(reply["request_id"].get<int>()).second);
      if (!reply.contains("duplicate")) ++firsts;
      if (result.is_null()) result = reply;
      check_same_result(result, reply);
    }
    CHECK(firsts == 1);
    auto backend = s.backend();
    CHECK(log_of(backend, dm).size() == 1);
  }

  TEST_CASE("keys in flight on several connections and over REST are one message") {
    for (const int threads : {1, 3}) {
      CAPTURE(threads);
      const stage s{with_io_threads(threads)};
      const auto dm = s.room("dm", {"alice", "bob"});
      std::vector<ws_client> devices;
      for (int i = 0; i < 4; ++i) devices.push_back(s.online("alice"));
      constexpr int rounds = 10;
      for (int round = 0; round < rounds; ++round) {
        const auto key = "round-" + std::to_string(round);
        for (auto& device : devices) device.send_json(send_frame(dm, key, key));
        auto rest = s.user("alice");
        const auto posted = post_keyed(rest, dm, {{"content", key}}, key);
        CHECK((posted.status == 200 || posted.status == 201));
        int firsts = posted.status == 201 ? 1 : 0;
        for (auto& device : devices) {
          const auto reply = device.receive_type("message.accepted");
          if (!reply.contains("duplicate")) ++firsts;
          CHECK(reply["seq"] == round + 1);
          CHECK(reply["message_id"] == posted.json()["message_id"]);
        }
        CHECK(firsts == 1);
      }
      auto backend = s.backend();
      CHECK(log_of(backend, dm).size() == rounds);
    }
  }

  TEST_CASE("a key is found after kill -9, over WebSocket and over REST") {
    stage s;
    const auto dm = s.room("dm", {"alice", "bob"});
    json over_ws;
    json over_rest;
    {
      auto alice = s.online("alice");
      over_ws = send(alice, dm, "by socket", "k-ws");
      auto rest = s.user("alice");
      over_rest = post_keyed(rest, dm, {{"content", "by REST"}}, "k-rest").json();
    }
    s.node.kill9();
    s.node.restart();
    auto alice = s.online("alice");
    auto rest = s.user("alice");
    // Each by the other way than before: it is one key space.
    const auto again = send(alice, dm, "by REST", "k-rest");
    CHECK(again["duplicate"] == true);
    check_same_result(over_rest, again);
    const auto replayed =
        post_keyed(rest, dm, {{"content", "by socket"}, {"client_msg_id", "k-ws"}});
    CHECK(replayed.status == 200);
    CHECK(is_replayed(replayed));
    CHECK(replayed.json()["duplicate"] == true);
    check_same_result(over_ws, replayed.json());
    CHECK(send(alice, dm, "new")["seq"] == 3);
  }

  TEST_CASE("over REST a first is 201, its repeat 200 with duplicate and Idempotent-Replayed") {
    const stage s;
    const auto group = s.room("group", {"alice", "bob"});
    for (const bool by_header : {true, false}) {
      CAPTURE(by_header);
      auto backend = s.backend();
      json body{{"sender_id", "alice"}, {"content", "hello"}, {"meta", {{"n", 1}}}};
      const std::string key = by_header ? "header-key" : "";
      if (!by_header) body["client_msg_id"] = "body-key";
      const auto first = post_keyed(backend, group, body, key);
      REQUIRE(first.status == 201);
      CHECK_FALSE(first.header("idempotent-replayed"));
      CHECK_FALSE(first.json().contains("duplicate"));
      const auto again = post_keyed(backend, group, body, key);
      REQUIRE(again.status == 200);
      CHECK(is_replayed(again));
      auto expected = first.json();
      expected["duplicate"] = true;
      CHECK(again.json() == expected);
    }
  }

  TEST_CASE("the same key with other content, meta or reply_to is a conflict") {
    const stage s;
    const auto dm = s.room("dm", {"alice", "bob"});
    auto alice = s.online("alice");
    const auto before = send(alice, dm, "before");
    auto frame = send_frame(dm, "said", "k");
    frame["meta"] = {{"a", 1}, {"b", {1.5, "x"}}};
    frame["reply_to"] = before["message_id"];
    const auto first = alice.call(frame);
    REQUIRE(first["type"] == "message.accepted");

    const auto refused = [&](json other) {
      CAPTURE(other.dump());
      const auto reply = alice.call(std::move(other));
      CHECK(reply["type"] == "error");
      CHECK(reply["code"] == "CONFLICT");
      CHECK(reply["client_msg_id"] == "k");
      CHECK(reply["stored"] == "no");
      CHECK(reply["retryable"] == false);
    };
    auto other = frame;
    other["content"] = "said otherwise";
    refused(other);
    other = frame;
    other["meta"]["a"] = 2;
    refused(other);
    other = frame;
    other.erase("meta");
    refused(other);
    other = frame;
    other.erase("reply_to");
    refused(other);

    auto rest = s.user("alice");
    const auto by_rest = post_keyed(rest, dm, {{"content", "said otherwise"}}, "k");
    CHECK(by_rest.status == 409);
    CHECK(by_rest.error_code() == "CONFLICT");

    // Equal as JSON values: other spellings of the same.
    const auto text = R"({"type":"send_message","room_id":")" + dm +
                      R"(","content":"s\u0061id","client_msg_id":"k","reply_to":)" +
                      before["message_id"].dump() +
                      R"(,"meta":{"b" : [15e-1,"\u0078"], "a":1.0},"request_id":"same"})";
    alice.send_text(text);
    const auto same =
        alice.receive_until([](const json& m) { return m.value("request_id", json{}) == "same"; });
    CHECK(same["type"] == "message.accepted");
    CHECK(same["duplicate"] == true);
    check_same_result(first, same);
    auto backend = s.backend();
    CHECK(log_of(backend, dm).size() == 2);
  }

  TEST_CASE("a key belongs to its sender and its room") {
    const stage s;
    const auto one = s.room("group", {"alice", "bob"});
    const auto two = s.room("group", {"alice", "bob"});
    auto alice = s.online("alice");
    auto bob = s.online("bob");
    CHECK_FALSE(send(alice, one, "a1", "k").contains("duplicate"));
    CHECK_FALSE(send(bob, one, "b1", "k").contains("duplicate"));
    CHECK_FALSE(send(alice, two, "a2", "k").contains("duplicate"));
    auto backend = s.backend();
    CHECK(contents_of(log_of(backend, one)) == std::vector<std::string>{"a1", "b1"});
    CHECK(contents_of(log_of(backend, two)) == std::vector<std::string>{"a2"});
  }

  TEST_CASE("the backend for a sender and that sender have one key space") {
    const stage s;
    const auto group = s.room("group", {"alice", "bob"});
    auto backend = s.backend();
    const auto first =
        post_keyed(backend, group, {{"sender_id", "alice"}, {"content", "x"}}, "k").json();
    auto alice = s.online("alice");
    const auto again = send(alice, group, "x", "k");
    CHECK(again["duplicate"] == true);
    check_same_result(first, again);
  }

  TEST_CASE("a refused send leaves its key free") {
    const stage s;
    const auto group = s.room("group", {"alice"});
    auto bob = s.online("bob");
    CHECK(send(bob, group, "let me in", "k")["code"] == "NOT_FOUND");
    auto backend = s.backend();
    REQUIRE(backend.post("/v1/rooms/" + group + "/members", {{"user_ids", {"bob"}}}).status == 200);
    const auto reply = send(bob, group, "let me in", "k");
    CHECK(reply["type"] == "message.accepted");
    CHECK_FALSE(reply.contains("duplicate"));
  }

  TEST_CASE("a sender who was removed still gets the first answer, and no second message") {
    stage s;
    const auto group = s.room("group", {"alice", "bob"});
    json first;
    {
      auto alice = s.online("alice");
      first = send(alice, group, "before I go", "k");
      auto backend = s.backend();
      REQUIRE(backend.del("/v1/rooms/" + group + "/members/alice").status == 204);
      alice.receive_type("room.removed");
      const auto again = send(alice, group, "before I go", "k");
      CHECK(again["duplicate"] == true);
      check_same_result(first, again);
      CHECK(send(alice, group, "something new", "k2")["code"] == "NOT_FOUND");
    }
    s.node.kill9();
    s.node.restart();
    auto alice = s.online("alice");
    const auto again = send(alice, group, "before I go", "k");
    CHECK(again["duplicate"] == true);
    check_same_result(first, again);
    auto rest = s.user("alice");
    const auto by_rest = post_keyed(rest, group, {{"content", "before I go"}}, "k");
    CHECK(by_rest.status == 200);
    CHECK(is_replayed(by_rest));
    auto backend = s.backend();
    CHECK(seqs_of(log_of(backend, group)) == seqs(1, 2));  // the message, member.left
  }

  TEST_CASE("keys have 1 to 128 bytes; header and client_msg_id must agree") {
    const stage s;
    const auto dm = s.room("dm", {"alice", "bob"});
    auto rest = s.user("alice");
    auto alice = s.online("alice");
    const std::string longest(128, 'k');
    const std::string too_long(129, 'k');

    CHECK(send(alice, dm, "x", longest)["type"] == "message.accepted");
    CHECK(send(alice, dm, "x", too_long)["code"] == "VALIDATION_ERROR");
    auto empty = send_frame(dm, "x");
    empty["client_msg_id"] = "";
    const auto refused = alice.call(empty);
    CHECK(refused["code"] == "VALIDATION_ERROR");
    CHECK(refused["field"] == "client_msg_id");

    CHECK(post_keyed(rest, dm, {{"content", "x"}}, longest).status == 200);  // the same key space
    CHECK(post_keyed(rest, dm, {{"content", "x"}}, too_long).status == 400);
    CHECK(post_keyed(rest, dm, {{"content", "x"}, {"client_msg_id", too_long}}).status == 400);
    const json with_id{{"content", "y"}, {"client_msg_id", "id"}};
    CHECK(post_keyed(rest, dm, with_id, "other").status == 400);
    CHECK(post_keyed(rest, dm, with_id, "id").status == 201);
    CHECK(rest.post("/v1/rooms/" + dm + "/messages", {{"content", "z"}}, {{"Idempotency-Key", ""}})
              .status == 400);
    auto backend = s.backend();
    CHECK(log_of(backend, dm).size() == 2);
  }

  TEST_CASE("POST /rooms takes a key: the repeat is 200, the same room, also after kill -9") {
    stage s;
    const json body{{"type", "group"}, {"members", {"alice", "bob"}}, {"name", "Plans"}};
    auto backend = s.backend();
    const auto first = backend.post("/v1/rooms", body, {{"Idempotency-Key", "room-1"}});
    REQUIRE(first.status == 201);
    CHECK(first.json()["created"] == true);
    CHECK_FALSE(first.header("idempotent-replayed"));
    const auto check_repeat = [&](rest_client client) {
      const auto again = client.post("/v1/rooms", body, {{"Idempotency-Key", "room-1"}});
      CHECK(again.status == 200);
      CHECK(is_replayed(again));
      CHECK(again.json()["room_id"] == first.json()["room_id"]);
      CHECK(again.json()["created"] == false);
      auto other = body;
      other["name"] = "Other plans";
      const auto conflict = client.post("/v1/rooms", other, {{"Idempotency-Key", "room-1"}});
      CHECK(conflict.status == 409);
      CHECK(conflict.error_code() == "CONFLICT");
    };
    check_repeat(s.backend());
    s.node.kill9();
    s.node.restart();
    check_repeat(s.backend());
    auto after = s.backend();
    CHECK(after.get("/v1/rooms").json()["rooms"].size() == 1);
    CHECK(after.post("/v1/rooms", body, {{"Idempotency-Key", "room-2"}}).status == 201);
  }

  TEST_CASE("the dialect repeats with 200 and the same marks") {
    const stage s;
    const auto dm = s.room("dm", {"alice", "bob"});
    auto rest = s.user("alice");
    const auto first =
        rest.post("/rooms/" + dm + "/messages", {{"content", "x"}}, {{"Idempotency-Key", "k"}});
    CHECK(first.status == 200);
    CHECK_FALSE(is_replayed(first));
    const auto again =
        rest.post("/rooms/" + dm + "/messages", {{"content", "x"}}, {{"Idempotency-Key", "k"}});
    CHECK(again.status == 200);
    CHECK(is_replayed(again));
    CHECK(again.json()["duplicate"] == true);
  }
}
