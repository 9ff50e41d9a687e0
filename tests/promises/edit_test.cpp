// Edits and deletes, roles and room properties on a whole node: what everybody sees of them, over each path.

#include "tests/promises/stage.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

using namespace parley::tests;
using namespace std::chrono_literals;

namespace {

json edit_frame(const std::string& room, const json& message, std::string_view content) {
  return {{"type", "edit_message"}, {"room_id", room}, {"message_id", message}, {"content", content}};
}
json delete_frame(const std::string& room, const json& message) {
  return {{"type", "delete_message"}, {"room_id", room}, {"message_id", message}};
}
std::string path_of(const std::string& room, const json& message) {
  return "/v1/rooms/" + room + "/messages/" + message.get<std::string>();
}
bool is_replayed(const rest_reply& reply) {
  return reply.header("idempotent-replayed") == std::optional<std::string>{"true"};
}
/// All that a new manual connection is given of the room from its start.
std::vector<json> synced(const stage& s, std::string_view user, const std::string& room) {
  auto client = s.connect(user, "sync=manual");
  client.receive_type("hello");
  client.send_json({{"type", "sync"}, {"rooms", {{room, 0}}}, {"request_id", 1}});
  client.receive_type("sync.done");
  return entries_of(client, room);
}
std::string bytes_of(const std::filesystem::path& file) {
  std::ifstream in{file, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{}};
}

}  // namespace

TEST_SUITE("SPEC 1 content and meta are served as they are now") {
  TEST_CASE("an edit is seen live by all, and by whoever reads afterwards in every path") {
    for (const int threads : {1, 3}) {
      CAPTURE(threads);
      const stage s{with_io_threads(threads)};
      const std::vector<std::string> names{"alice", "bob", "carol", "dave"};
      const auto room = s.room("group", names);
      std::vector<ws_client> all;
      for (const auto& name : names) all.push_back(s.online(name));
      auto first = send_frame(room, "the frist");
      first["meta"] = {{"v", 1}};
      first["client_msg_id"] = "c-1";
      const auto sent = all[0].call(first);
      REQUIRE(sent["seq"] == 1);
      REQUIRE(send(all[1], room, "another")["seq"] == 2);

      const auto accepted = all[0].call(edit_frame(room, sent["message_id"], "the first"));
      CAPTURE(accepted.dump());
      REQUIRE(accepted["type"] == "message.accepted");
      CHECK(accepted["seq"] == 3);
      CHECK(accepted["message_id"] == sent["message_id"]);
      const auto live = await_entry(all[3], room, 3);
      CHECK(live["type"] == "message.edited");
      CHECK(live["message_id"] == sent["message_id"]);
      CHECK(live["message_seq"] == 1);
      CHECK(live["content"] == "the first");
      CHECK(live["meta"] == json{{"v", 1}});
      CHECK(live["actor_id"] == "alice");
      CHECK(live["created_at"] == accepted["created_at"]);
      for (auto& client : all) CHECK(await_entry(client, room, 3) == live);

      auto backend = s.backend();
      const auto log = log_of(backend, room);
      REQUIRE(seqs_of(log) == seqs(1, 3));
      CHECK(log[0]["content"] == "the first");
      CHECK(log[0]["client_msg_id"] == "c-1");
      CHECK(log[0]["edited_at"] == live["edited_at"]);
      CHECK(log[2] == live);
      CHECK(synced(s, "bob", room) == log);
      const auto messages = backend.get("/v1/rooms/" + room + "/messages").json()["messages"];
      REQUIRE(messages.size() == 2);
      CHECK(messages[0] == log[0]);

      // A second edit: the first one's entry shows it, too.
      REQUIRE(all[0].call(edit_frame(room, sent["message_id"], "the very first"))["seq"] == 4);
      const auto after = log_of(backend, room);
      CHECK(contents_of({after[0], after[2], after[3]}) ==
            std::vector<std::string>{"the very first", "the very first", "the very first"});
      CHECK(after[2]["edited_at"] == live["edited_at"]);
    }
  }

  TEST_CASE(
      "after a delete nothing of a message is left in any path; its tombstone keeps the seq") {
    for (const int threads : {1, 3}) {
      CAPTURE(threads);
      stage s{with_io_threads(threads)};
      const auto room = s.room("group", {"alice", "bob"});
      auto alice = s.online("alice");
      auto bob = s.online("bob");
      auto frame = send_frame(room, "whisper-4711");
      frame["meta"] = "whisper-4711 as well";
      const auto sent = alice.call(frame);
      REQUIRE(alice.call(edit_frame(room, sent["message_id"], "whisper-4711 louder"))["seq"] == 2);
      REQUIRE(send(bob, room, "hm")["seq"] == 3);
      auto reader = s.user("bob");
      CHECK(reader.get("/v1/rooms").json()["rooms"][0]["unread_count"] == 1);

      const auto accepted = alice.call(delete_frame(room, sent["message_id"]));
      REQUIRE(accepted["type"] == "message.accepted");
      CHECK(accepted["seq"] == 4);
      for (auto* client : {&alice, &bob}) {
        const auto live = await_entry(*client, room, 4);
        CHECK(live["type"] == "message.deleted");
        CHECK(live["message_seq"] == 1);
        CHECK(live["message_id"] == sent["message_id"]);
        CHECK(!live.contains("content"));
      }
      auto backend = s.backend();
      const auto log = log_of(backend, room);
      REQUIRE(seqs_of(log) == seqs(1, 4));
      CHECK(log[0]["content"] == "");
      CHECK(log[0]["meta"].is_null());
      CHECK(log[0]["sender_id"] == "alice");
      CHECK(log[0]["deleted_at"] == log[3]["deleted_at"]);
      CHECK(log[1]["type"] == "message.edited");
      CHECK(log[1]["content"] == "");
      CHECK(log[1]["meta"].is_null());
      CHECK(synced(s, "bob", room) == log);  // from pages, or from the recent frames
      auto again = s.online("alice");        // automatic, from its last_ack
      CHECK(entries_of(again, room) == log);
      for (const char* path : {"/messages", "/messages?after_seq=0", "/messages?around_seq=1",
                               "/events", "/events?after_seq=0"}) {
        const auto body = backend.get("/v1/rooms/" + room + path).body;
        CHECK(body.find(sent["message_id"].get<std::string>()) != std::string::npos);
        CHECK(body.find("whisper") == std::string::npos);
      }
      CHECK(backend.get("/v1/rooms").body.find("whisper") == std::string::npos);
      CHECK(reader.get("/v1/rooms").json()["rooms"][0]["unread_count"] == 0);

      for (auto* client : {&alice, &bob, &again}) client->abort();
      CHECK(s.node.terminate() == 0);
      const auto verified = verify(s.node);
      CAPTURE(verified.out);
      CHECK(is_clean(verified));
      CHECK(bytes_of(s.node.data_dir() / "parley.db").find("whisper") == std::string::npos);
    }
  }

  TEST_CASE("one who reads slowly is shown what is left of a message, not what it was") {
    const stage s{with_io_threads(3)};
    const auto room = s.room("group", {"alice", "bob"});
    auto alice = s.online("alice");
    std::vector<json> ids;
    for (int i = 0; i < 300; ++i) {
      const auto reply = send(alice, room, "whisper " + std::string(1000, 'x'));
      ids.push_back(reply["message_id"]);
    }
    // bob reads from the start while the messages go, one by one.
    auto bob = s.connect("bob", "sync=manual");
    bob.receive_type("hello");
    for (const auto& id : ids) alice.send_json(delete_frame(room, id));
    bob.send_json({{"type", "sync"}, {"rooms", {{room, 0}}}});
    await_entry(bob, room, 600, 30s);
    const auto seen = entries_of(bob, room);
    REQUIRE(seqs_of(seen) == seqs(1, 600));
    // Each entry is a message as it was or its tombstone, and never half of both.
    for (const auto& e : seen) {
      if (e["type"] != "message") continue;
      CHECK(e["content"].get<std::string>().empty() == e.contains("deleted_at"));
    }
    for (const auto& e : synced(s, "bob", room)) {
      if (e["type"] == "message") CHECK(e["content"] == "");
    }
  }
}

TEST_SUITE("SPEC 4 edits and deletes over REST") {
  TEST_CASE("PATCH answers the message, DELETE nothing; what changes nothing takes no seq") {
    const stage s;
    const auto room = s.room("group", {"alice", "bob"});
    auto alice = s.user("alice");
    auto bob = s.user("bob");
    auto backend = s.backend();
    const auto sent = post(backend, room, "alice", "one");
    const auto path = path_of(room, sent["message_id"]);

    const auto edited = alice.patch(path, {{"content", "two"}, {"meta", {{"a", 1}}}});
    REQUIRE(edited.status == 200);
    CHECK(edited.json()["type"] == "message");
    CHECK(edited.json()["seq"] == 1);
    CHECK(edited.json()["content"] == "two");
    CHECK(edited.json() == log_of(backend, room)[0]);
    CHECK(alice.patch(path, {{"content", "two"}, {"meta", {{"a", 1.0}}}}).status == 200);
    CHECK(alice.patch(path, {{"content", "two"}}).json()["meta"] == json{{"a", 1}});
    CHECK(log_of(backend, room).size() == 2);
    CHECK(alice.patch(path, {{"content", "two"}, {"meta", nullptr}}).json()["meta"].is_null());
    CHECK(log_of(backend, room).size() == 3);

    CHECK(bob.patch(path, {{"content", "mine"}}).status == 403);
    CHECK(bob.del(path).status == 403);
    CHECK(alice.patch(path, json::object()).json()["error"]["field"] == "content");
    CHECK(alice.patch(path, {{"content", ""}}).json()["error"]["field"] == "content");
    CHECK(alice.patch(path, {{"content", std::string(16 * 1024 + 1, 'x')}}).status == 400);
    CHECK(alice.patch(path, {{"content", "x"}, {"meta", std::string(5000, 'x')}})
              .json()["error"]["field"] == "meta");
    CHECK(backend.patch(path, {{"content", "by the backend"}}).status == 200);
    CHECK(log_of(backend, room).back()["actor_id"].is_null());

    const auto unprefixed = path.substr(3);
    CHECK(alice.patch(unprefixed, {{"content", "three"}}).json()["content"] == "three");
    CHECK(alice.del(unprefixed).status == 204);
    const auto length = log_of(backend, room).size();
    CHECK(alice.del(path).status == 204);
    CHECK(backend.del(path).status == 204);
    const auto conflict = alice.patch(path, {{"content", "four"}});
    CHECK(conflict.status == 409);
    CHECK(conflict.json()["error"]["stored"] == "no");
    CHECK(log_of(backend, room).size() == length);

    // Unknown, foreign and malformed ones are alike.
    const auto elsewhere = s.room("group", {"alice"});
    const auto other = post(backend, elsewhere, "alice", "x");
    std::vector<std::string> answers;
    for (const auto& id : {std::string{"01890000-0000-7000-8000-000000000000"},
                           other["message_id"].get<std::string>(), std::string{"none"}}) {
      for (const auto& reply :
           {alice.patch(path_of(room, id), {{"content", "x"}}), alice.del(path_of(room, id))}) {
        CHECK(reply.status == 404);
        auto body = reply.json();
        body["error"].erase("request_id");
        answers.push_back(body.dump());
      }
    }
    for (const auto& answer : answers) CHECK(answer == answers.front());
  }

  TEST_CASE(
      "a retry gets the first result and says so; the same key for something else is refused") {
    const stage s;
    const auto room = s.room("group", {"alice", "bob"});
    auto alice = s.user("alice");
    auto backend = s.backend();
    const auto sent = post(backend, room, "alice", "one");
    const auto path = path_of(room, sent["message_id"]);
    const header_list k1{{"Idempotency-Key", "k1"}};
    const header_list k2{{"Idempotency-Key", "k2"}};

    const auto first = alice.patch(path, {{"content", "two"}}, k1);
    CHECK(first.status == 200);
    CHECK(!is_replayed(first));
    const auto again = alice.patch(path, {{"content", "two"}, {"client_msg_id", "k1"}});
    CHECK(again.status == 200);
    CHECK(is_replayed(again));
    CHECK(again.json()["duplicate"] == true);
    CHECK(again.json()["content"] == "two");
    CHECK(log_of(backend, room).size() == 2);
    CHECK(alice.patch(path, {{"content", "three"}}, k1).status == 409);
    CHECK(alice.patch(path, {{"content", "two"}, {"meta", nullptr}}, k1).status == 409);
    CHECK(alice.del(path, k1).status == 409);
    CHECK(alice.post("/v1/rooms/" + room + "/messages", {{"content", "two"}}, k1).status == 409);
    CHECK(alice.patch(path, {{"content", "two"}, {"client_msg_id", "k3"}}, k1).status == 400);

    CHECK(alice.patch(path, {{"content", "three"}}).status == 200);
    const auto removed = alice.del(path, k2);
    CHECK(removed.status == 204);
    CHECK(!is_replayed(removed));
    const auto removed_again = alice.del(path, k2);
    CHECK(removed_again.status == 204);
    CHECK(is_replayed(removed_again));
    // The edit's first result, as its message is now.
    const auto late = alice.patch(path, {{"content", "two"}}, k1);
    CHECK(late.status == 200);
    CHECK(is_replayed(late));
    CHECK(late.json()["content"] == "");
    CHECK(log_of(backend, room).size() == 4);

    // The backend's keys are its own.
    const auto second = post(backend, room, "alice", "five");
    CHECK(backend.patch(path_of(room, second["message_id"]), {{"content", "six"}}, k1).status == 200);
    CHECK(is_replayed(backend.patch(path_of(room, second["message_id"]), {{"content", "six"}}, k1)));
    CHECK(log_of(backend, room).size() == 6);
  }

  TEST_CASE("the key of what changed nothing is found again, also after a crash") {
    stage s;
    const auto room = s.room("dm", {"alice", "bob"});
    const header_list gone{{"Idempotency-Key", "second delete"}};
    json same;
    json message;
    std::string deleted;
    {
      auto alice = s.online("alice");
      const auto sent = send(alice, room, "one");
      message = sent["message_id"];
      auto edit = edit_frame(room, message, "one");
      edit["client_msg_id"] = "same";
      same = alice.call(edit);
      CHECK(same["seq"] == 1);
      CHECK(same["created_at"] == sent["created_at"]);
      CHECK(!same.contains("duplicate"));
      auto rest = s.user("alice");
      deleted = path_of(room, send(alice, room, "two")["message_id"]);
      CHECK(rest.del(deleted).status == 204);
      const auto second = rest.del(deleted, gone);
      CHECK(second.status == 204);
      CHECK(!is_replayed(second));
    }
    s.node.kill9();
    s.node.restart();
    auto rest = s.user("alice");
    const auto repeated = rest.del(deleted, gone);
    CHECK(repeated.status == 204);
    CHECK(is_replayed(repeated));
    auto alice = s.online("alice");
    // Whatever became of the message meanwhile.
    CHECK(alice.call(edit_frame(room, message, "other"))["seq"] == 4);
    auto edit = edit_frame(room, message, "one");
    edit["client_msg_id"] = "same";
    const auto again = alice.call(edit);
    CHECK(again["duplicate"] == true);
    CHECK(again["seq"] == same["seq"]);
    CHECK(again["created_at"] == same["created_at"]);
    edit["content"] = "another";
    CHECK(alice.call(edit)["code"] == "CONFLICT");
    CHECK(rest.patch(path_of(room, message), {{"content", "one"}}, gone).status == 409);
    auto backend = s.backend();
    CHECK(log_of(backend, room).size() == 4);
    alice.abort();
    CHECK(s.node.terminate() == 0);
    const auto verified = verify(s.node);
    CAPTURE(verified.out);
    CHECK(is_clean(verified));
  }

  TEST_CASE("the keys of a WebSocket's edits and deletes are found again, also after a crash") {
    stage s;
    const auto room = s.room("dm", {"alice", "bob"});
    json first;
    json message;
    {
      auto alice = s.online("alice");
      message = send(alice, room, "one")["message_id"];
      auto edit = edit_frame(room, message, "two");
      edit["client_msg_id"] = "e1";
      first = alice.call(edit);
      REQUIRE(first["seq"] == 2);
      CHECK(first["client_msg_id"] == "e1");
      CHECK(!first.contains("duplicate"));
      CHECK(alice.call(edit)["duplicate"] == true);
    }
    s.node.kill9();
    s.node.restart();
    auto backend = s.backend();
    const auto log = log_of(backend, room);
    REQUIRE(log.size() == 2);
    CHECK(log[0]["content"] == "two");
    CHECK(log[1]["type"] == "message.edited");
    auto alice = s.online("alice");
    auto edit = edit_frame(room, message, "two");
    edit["client_msg_id"] = "e1";
    const auto again = alice.call(edit);
    CHECK(again["duplicate"] == true);
    CHECK(again["seq"] == first["seq"]);
    CHECK(again["created_at"] == first["created_at"]);
    edit["content"] = "three";
    const auto conflict = alice.call(edit);
    CHECK(conflict["code"] == "CONFLICT");
    CHECK(conflict["stored"] == "no");
    CHECK(log_of(backend, room).size() == 2);
    auto bob = s.online("bob");
    CHECK(bob.call(delete_frame(room, message))["code"] == "AUTHORIZATION_ERROR");
    alice.abort();
    bob.abort();
    CHECK(s.node.terminate() == 0);
    const auto verified = verify(s.node);
    CAPTURE(verified.out);
    CHECK(is_clean(verified));
  }
}

TEST_SUITE("SPEC 3 roles, SPEC 4 changing a room") {
  TEST_CASE("roles change and are handed over, and everybody sees it in the log") {
    const stage s;
    auto alice = s.user("alice");
    const auto room = make_room(alice, "group", {"alice", "bob", "carol"});
    auto bob = s.user("bob");
    auto watching = s.online("carol");
    const auto member = [&](const std::string& who) {
      return "/v1/rooms/" + room + "/members/" + who;
    };

    const auto promoted = alice.patch(member("bob"), {{"role", "admin"}});
    REQUIRE(promoted.status == 200);
    CHECK(promoted.json()["user_id"] == "bob");
    CHECK(promoted.json()["role"] == "admin");
    CHECK(promoted.json()["last_ack"] == 0);
    const auto entry = await_entry(watching, room, 1);
    CHECK(entry["type"] == "member.updated");
    CHECK(entry["user_id"] == "bob");
    CHECK(entry["role"] == "admin");
    CHECK(entry["actor_id"] == "alice");
    CHECK(alice.patch(member("bob"), {{"role", "admin"}}).status == 200);
    CHECK(bob.patch(member("carol"), {{"role", "admin"}}).status == 403);
    CHECK(bob.patch(member("alice"), {{"role", "member"}}).status == 403);
    CHECK(bob.patch(member("bob"), {{"role", "owner"}}).status == 403);
    CHECK(alice.patch(member("nobody"), {{"role", "admin"}}).status == 404);
    CHECK(alice.patch(member("bob"), {{"role", "king"}}).json()["error"]["field"] == "role");
    CHECK(alice.patch(member("bob"), json::object()).json()["error"]["field"] == "role");

    CHECK(alice.patch(member("carol"), {{"role", "owner"}}).json()["role"] == "owner");
    CHECK(await_entry(watching, room, 2)["role"] == "owner");
    const auto stepped_down = await_entry(watching, room, 3);
    CHECK(stepped_down["user_id"] == "alice");
    CHECK(stepped_down["role"] == "admin");
    CHECK(alice.del("/v1/rooms/" + room).status == 403);
    CHECK(alice.get("/v1/rooms/" + room).json()["role"] == "admin");
    auto backend = s.backend();
    CHECK(log_of(backend, room).size() == 3);
    CHECK(backend.patch("/rooms/" + room + "/members/alice", {{"role", "owner"}}).status == 200);
    CHECK(s.user("carol").get("/v1/rooms/" + room).json()["role"] == "admin");
    const auto dm = s.room("dm", {"alice", "bob"});
    CHECK(alice.patch("/v1/rooms/" + dm + "/members/bob", {{"role", "admin"}}).status == 409);
  }

  TEST_CASE("a room's name, metadata and posting change; the entry has what changed") {
    const stage s;
    auto alice = s.user("alice");
    const auto room = make_room(alice, "channel", {"alice", "bob"});
    const auto path = "/v1/rooms/" + room;
    auto bob = s.user("bob");
    auto watching = s.online("bob");

    const auto named = alice.patch(path, {{"name", "Lobby"}, {"posting", "all"}});
    REQUIRE(named.status == 200);
    CHECK(named.json()["name"] == "Lobby");
    CHECK(named.json()["role"] == "owner");
    CHECK(named.json()["last_seq"] == 1);
    CHECK(named.json() == alice.get(path).json());
    const auto entry = await_entry(watching, room, 1);
    CHECK(entry["type"] == "room.updated");
    CHECK(entry["name"] == "Lobby");
    CHECK(!entry.contains("metadata"));
    CHECK(!entry.contains("posting"));
    CHECK(alice.patch(path, {{"name", "Lobby"}}).status == 200);
    CHECK(alice.patch(path, json::object()).status == 200);
    CHECK(alice.get(path).json()["last_seq"] == 1);

    CHECK(alice.patch(path, {{"metadata", {{"a", {1, 2}}}}, {"posting", "admins"}}).status == 200);
    CHECK(await_entry(watching, room, 2)["metadata"] == json{{"a", {1, 2}}});
    CHECK(bob.post(path + "/messages", {{"content", "x"}}).status == 403);
    CHECK(alice.patch(path, {{"name", nullptr}, {"metadata", nullptr}}).json()["name"].is_null());
    const auto emptied = await_entry(watching, room, 3);
    CHECK(emptied["name"].is_null());
    CHECK(emptied.contains("metadata"));

    CHECK(bob.patch(path, {{"name", "mine"}}).status == 403);
    CHECK(alice.patch(path, {{"name", std::string(257, 'x')}}).json()["error"]["field"] == "name");
    CHECK(alice.patch(path, {{"posting", "nobody"}}).json()["error"]["field"] == "posting");
    auto backend = s.backend();
    CHECK(alice.patch(path, {{"retention", "720h"}}).status == 403);
    CHECK(backend.patch("/rooms/" + room, {{"name", "by the backend"}}).json()["role"].is_null());
    CHECK(await_entry(watching, room, 4)["actor_id"].is_null());
    const auto dm = s.room("dm", {"alice", "bob"});
    CHECK(alice.patch("/v1/rooms/" + dm, {{"name", "us"}}).status == 403);
  }
}
