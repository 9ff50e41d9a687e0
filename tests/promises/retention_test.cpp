// Retention in a node that serves: what is past its time goes while others read and write. Tests make entries old between two
// runs of the node, in a database at rest.

#include "tests/promises/stage.hpp"
#include "tests/support/await.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>

using namespace parley::tests;
using namespace std::chrono_literals;

namespace {

/// Stops the node, makes the first entries of each room two hours older, and starts it again.
void grow_old(stage& s, std::int64_t upto, std::int64_t hours = 2) {
  REQUIRE(s.node.terminate() == 0);
  const auto file = (s.node.data_dir() / "parley.db").string();
  const auto by = std::to_string(hours * 3'600'000);
  const auto at_rest = run({.command = {"/usr/bin/sqlite3", "-bail", file,
                                        "UPDATE messages SET created_at = created_at - " + by +
                                            " WHERE seq <= " + std::to_string(upto) +
                                            "; UPDATE send_keys SET created_at = created_at - " +
                                            by + " WHERE seq <= " + std::to_string(upto) + ";"}});
  CAPTURE(at_rest.err);
  REQUIRE(at_rest.status == 0);
  s.node.start();
}

std::int64_t first_seq(rest_client& as, const std::string& room) {
  return as.get("/v1/rooms/" + room + "/messages?after_seq=0").json()["first_seq"];
}

bool comes_to_start_at(rest_client& as, const std::string& room, std::int64_t seq) {
  return await(20s, [&] { return first_seq(as, room) == seq; });
}

stage a_stage(std::map<std::string, std::string> config = {}) {
  config["worker_interval"] = "1s";
  return stage{{.config = std::move(config)}};
}

std::string epoch_of(ws_client& client) { return client.receive_type("hello")["epoch"]; }

/// Of a room whose 30 entries are all past their time: the seq that the next one has after one more start.
std::int64_t next_seq_of_a_quiet_room(const char* planted) {
  node_setup setup{.config = {{"message_retention", "1h"}, {"worker_interval", "1s"}}};
  if (planted != nullptr) setup.env["PARLEY_BREAK"] = planted;
  stage s{std::move(setup)};
  const auto room = s.room("group", {"ann", "bob"});
  {
    auto backend = s.backend();
    post_many(backend, room, "ann", 30);
  }
  grow_old(s, 30);
  auto backend = s.backend();
  REQUIRE(await(20s, [&] { return log_of(backend, room).size() <= 1; }));
  s.node.restart();
  auto after = s.backend();
  return post(after, room, "ann", "the next")["seq"];
}

}  // namespace

TEST_SUITE("SPEC 6 retention") {
  TEST_CASE("a seq is not given again, though all of its log is past its time") {
    CHECK(next_seq_of_a_quiet_room(nullptr) == 31);
  }
  TEST_CASE("DESIGN 10 planted reuse_seq_after_retention: the same is noticed") {
    CHECK(next_seq_of_a_quiet_room("reuse_seq_after_retention") != 31);
  }

  TEST_CASE(
      "the node's: first_seq moves, who comes from before it is told, everything else goes on") {
    auto s = a_stage({{"message_retention", "1h"}});
    const auto room = s.room("group", {"ann", "bob"});
    const auto young = s.room("group", {"ann", "bob"});
    {
      auto backend = s.backend();
      post_many(backend, room, "ann", 30);
      CHECK(backend
                .post("/v1/rooms/" + room + "/messages",
                      {{"content", "once"}, {"sender_id", "ann"}, {"client_msg_id", "key"}})
                .status == 201);
      post_many(backend, room, "ann", 4);
    }
    grow_old(s, 31);
    auto backend = s.backend();
    auto live = s.online("ann");
    REQUIRE(comes_to_start_at(backend, room, 32));
    CHECK(first_seq(backend, young) == 1);
    CHECK(seqs_of(log_of(backend, room)) == seqs(32, 35));
    CHECK(is_clean(verify(s.node)));
    // The repeat of a send is answered as the first was, though its message is gone.
    const auto again =
        backend.post("/v1/rooms/" + room + "/messages",
                     {{"content", "once"}, {"sender_id", "ann"}, {"client_msg_id", "key"}});
    CAPTURE(again.body);
    CHECK(again.json()["seq"] == 31);
    CHECK(again.json()["duplicate"] == true);
    CHECK(again.json()["content"] == "once");
    const json same{
        {"room_id", room}, {"content", "once"}, {"sender_id", "ann"}, {"client_msg_id", "key"}};
    const auto in_batch = backend.post("/v1/messages/batch", {{"messages", json::array({same})}});
    CHECK(in_batch.json()["results"][0]["message"]["message_id"] == again.json()["message_id"]);

    auto bob = s.connect("bob", "sync=manual");
    const auto epoch = epoch_of(bob);
    bob.send_json({{"type", "sync"}, {"epoch", epoch}, {"rooms", {{room, 5}}}});
    const auto gap = bob.receive_type("sync.complete");
    CHECK(gap["outcome"] == "gap");
    CHECK(gap["truncated"] == true);
    CHECK(gap["from_seq"] == 6);
    CHECK(gap["to_seq"] == 31);
    bob.receive_type("sync.done");
    CHECK(seqs_of(entries_of(bob, room)) == seqs(32, 35));
    post(backend, room, "ann", "live");
    CHECK(await_entry(bob, room, 36)["content"] == "live");
    CHECK(await_entry(live, room, 36)["content"] == "live");
    // The room in memory knows where its log starts.
    CHECK(backend.patch("/v1/rooms/" + room, {{"name", "x"}}).json()["first_seq"] == 32);
    CHECK(s.node.terminate() == 0);
    CHECK(is_clean(verify(s.node)));
  }

  TEST_CASE("a room's own, while it is read and written: the backend sets it, and it is no entry") {
    auto s = a_stage();
    auto owner = s.user("ann");
    const auto room = make_room(owner, "group", {"ann", "bob"});
    const auto other = s.room("group", {"ann", "bob"});
    {
      auto backend = s.backend();
      for (const auto& r : {room, other}) post_many(backend, r, "ann", 40);
    }
    grow_old(s, 39);
    auto backend = s.backend();
    auto ann = s.user("ann");  // the owner
    auto live = s.online("bob");
    const auto path = "/v1/rooms/" + room;
    CHECK(ann.patch(path, {{"retention", "1h"}}).status == 403);
    CHECK(ann.patch(path, {{"retention", nullptr}, {"name", "mine"}}).status == 403);
    CHECK(backend.patch(path, {{"retention", "59m"}}).json()["error"]["field"] == "retention");
    CHECK(backend.patch(path, {{"retention", 3600}}).json()["error"]["field"] == "retention");
    const auto unknown =
        backend.patch("/v1/rooms/00000000-0000-7000-8000-000000000000", {{"retention", "1h"}});
    CHECK(unknown.status == 404);
    CHECK(first_seq(backend, room) == 1);

    CHECK(backend.patch(path, {{"retention", "1h"}}).status == 200);
    REQUIRE(comes_to_start_at(backend, room, 40));
    CHECK(first_seq(backend, other) == 1);
    CHECK(log_of(backend, room).size() == 1);  // no entry says so
    post(backend, room, "ann", "live");
    CHECK(await_entry(live, room, 41)["content"] == "live");
    // With others in one call: they take an entry, it does not.
    const auto both = backend.patch(path, {{"retention", nullptr}, {"name", "kept"}});
    CHECK(both.status == 200);
    CHECK(both.json()["name"] == "kept");
    CHECK(both.json()["last_seq"] == 42);
    CHECK(both.json()["first_seq"] == 40);
    const auto updated = await_entry(live, room, 42);
    CHECK(updated["type"] == "room.updated");
    CHECK_FALSE(updated.contains("retention"));

    // The tenant's counts for the rooms that say nothing; what is younger stays.
    auto master = s.node.operator_client();
    CHECK(master
              .patch("/admin/tenants/" + s.tenant.tenant_id,
                     {{"config", {{"message_retention", "1h"}}}})
              .status == 200);
    REQUIRE(comes_to_start_at(backend, other, 40));
    CHECK(seqs_of(log_of(backend, room)) == seqs(40, 42));
    CHECK(is_clean(verify(s.node)));
    s.node.kill9();
    s.node.start();
    auto after = s.backend();
    CHECK(first_seq(after, room) == 40);
    CHECK(first_seq(after, other) == 40);
    CHECK(is_clean(verify(s.node)));
  }

  TEST_CASE(
      "a reader that takes its time is overtaken: a stated gap where it is, and nothing twice") {
    auto s = a_stage();
    const auto room = s.room("group", {"ann", "bob"});
    constexpr std::int64_t messages = 1000;  // 16 MB: more than any socket takes
    {
      auto backend = s.backend();
      const std::string filling(16'000, 'x');
      for (std::int64_t n = 0; n < messages; ++n) post(backend, room, "ann", filling);
    }
    grow_old(s, messages - 1);
    auto backend = s.backend();
    auto bob = s.connect("bob", "sync=manual");
    const auto epoch = epoch_of(bob);
    bob.send_json({{"type", "sync"}, {"epoch", epoch}, {"rooms", {{room, 0}}}});
    CHECK(await_entry(bob, room, 1)["seq"] == 1);
    CHECK(backend.patch("/v1/rooms/" + room, {{"retention", "1h"}}).status == 200);
    REQUIRE(comes_to_start_at(backend, room, messages));
    const auto gap = bob.receive_type("sync.complete", 30s);
    CHECK(gap["outcome"] == "gap");
    CHECK(gap["truncated"] == true);
    CHECK(gap["to_seq"] == messages - 1);
    bob.receive_type("sync.done", 30s);
    const std::int64_t from = gap["from_seq"];
    CHECK(from > 1);
    auto expected = seqs(1, from - 1);
    expected.push_back(messages);
    CHECK(seqs_of(entries_of(bob, room)) == expected);
    post(backend, room, "ann", "live");
    CHECK(await_entry(bob, room, messages + 1)["content"] == "live");
    CHECK(is_clean(verify(s.node)));
  }
}
