// Where a connection begins to read and what it is told about it: automatic and manual sync, subscriptions, rooms that come
// and go, connections that come while messages flow.

#include "tests/promises/stage.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace parley::tests;
using namespace std::chrono_literals;

namespace {

/// All frames up to `sync.done`, that one too.
std::vector<json> sync_frames(ws_client& client) {
  const auto before = client.received().size();
  client.receive_type("sync.done");
  const auto& all = client.received();
  return {all.begin() + static_cast<std::ptrdiff_t>(before), all.end()};
}

/// In manual mode: sends the frame, and gives all up to its `sync.done`.
std::vector<json> sync(ws_client& client, json frame) {
  frame["type"] = "sync";
  client.send_json(frame);
  return sync_frames(client);
}

json outcome_of(const std::vector<json>& frames, const std::string& room) {
  json found;
  int outcomes = 0;
  for (const auto& f : frames) {
    if (f["type"] != "sync.complete" || f["room_id"] != room) continue;
    ++outcomes;
    found = f;
  }
  CHECK(outcomes == 1);
  return found;
}

std::vector<json> entries_in(const std::vector<json>& frames, const std::string& room) {
  std::vector<json> found;
  for (const auto& f : frames) {
    if (is_entry(f) && f["room_id"] == room) found.push_back(f);
  }
  return found;
}

/// Everything that the node had to say to this connection up to now has come.
void settle(ws_client& client) { REQUIRE(client.call({{"type", "ping"}})["type"] == "pong"); }

ws_client manual(const stage& s, std::string_view name, std::string* epoch = nullptr) {
  auto client = s.connect(name, "sync=manual");
  const auto hello = client.receive_type("hello");
  if (epoch != nullptr) *epoch = hello["epoch"];
  return client;
}

std::size_t count_of(const ws_client& client, std::string_view type) {
  std::size_t n = 0;
  for (const auto& f : client.received()) n += f["type"] == type ? 1 : 0;
  return n;
}

/// Says something as the backend into `room` until it is told to stop.
class chatter {
 public:
  chatter(const stage& s, std::vector<std::string> rooms)
      : thread_([this, backend = s.backend(), rooms = std::move(rooms)]() mutable {
          try {
            for (std::size_t i = 0; !is_over_; ++i) {
              post(backend, rooms[i % rooms.size()], "robot", "message " + std::to_string(i));
            }
          } catch (const std::exception& e) {
            trouble_ = e.what();
          }
        }) {}
  ~chatter() { stop(); }
  chatter(const chatter&) = delete;
  chatter& operator=(const chatter&) = delete;
  std::string stop() {
    is_over_ = true;
    if (thread_.joinable()) thread_.join();
    return trouble_;
  }

 private:
  std::atomic<bool> is_over_{false};
  std::string trouble_;
  std::thread thread_;
};

/// The entries of `room` that came, from `start` on: dense up to `last`.
void check_dense(const ws_client& client, const std::string& room, std::int64_t start,
                 std::int64_t last) {
  CHECK(seqs_of(entries_of(client, room)) == seqs(start, last));
}

}  // namespace

TEST_SUITE("SPEC 5 automatic sync") {
  TEST_CASE(
      "hello, sync.start with positions, the missing entries in order, an outcome a room, "
      "sync.done") {
    const stage s;
    const auto dm = s.room("dm", {"alice", "bob"});
    const auto group = s.room("group", {"alice", "bob"});
    const auto quiet = s.room("group", {"alice"});
    auto backend = s.backend();
    post_many(backend, dm, "bob", 3);
    post_many(backend, group, "bob", 2);
    REQUIRE(s.user("alice").post("/v1/acks", {{"room_id", dm}, {"seq", 1}}).status == 200);

    auto alice = s.connect("alice");
    const auto frames = sync_frames(alice);
    REQUIRE(frames.size() == 10);
    CHECK(frames[0]["type"] == "hello");
    CHECK(frames[0]["user_id"] == "alice");
    CHECK(frames[0]["tenant_id"] == s.tenant.tenant_id);
    CHECK(frames[0]["limits"]["sync_max_events"] == 1000);
    CHECK(frames[1]["type"] == "sync.start");
    CHECK(frames[1]["rooms"] == json{{dm, 1}, {group, 0}, {quiet, 0}});
    CHECK(seqs_of(entries_in(frames, dm)) == seqs(2, 3));
    CHECK(seqs_of(entries_in(frames, group)) == seqs(1, 2));
    for (const auto& [room, seq] : std::map<std::string, int>{{dm, 3}, {group, 2}, {quiet, 0}}) {
      const auto outcome = outcome_of(frames, room);
      CHECK(outcome["outcome"] == "recovered");
      CHECK(outcome["seq"] == seq);
    }
    CHECK(frames.back()["rooms"] == 3);
    // The room with the latest entry first.
    CHECK(frames[2]["room_id"] == group);
    CHECK(frames[4]["type"] == "sync.complete");

    CHECK(post(backend, quiet, "alice", "first")["seq"] == 1);
    CHECK(post(backend, dm, "bob", "next")["seq"] == 4);
    await_entry(alice, quiet, 1);
    await_entry(alice, dm, 4);
    check_dense(alice, dm, 2, 4);
  }

  TEST_CASE("who is in no room hears so") {
    const stage s;
    auto eve = s.connect("eve");
    const auto frames = sync_frames(eve);
    CHECK(types_of(frames) == std::vector<std::string>{"hello", "sync.start", "sync.done"});
    CHECK(frames[1]["rooms"] == json::object());
    CHECK(frames[2]["rooms"] == 0);
  }

  TEST_CASE("the next connection starts at what was acknowledged, also after kill -9") {
    stage s;
    const auto dm = s.room("dm", {"alice", "bob"});
    auto backend = s.backend();
    post_many(backend, dm, "bob", 5);
    {
      auto alice = s.online("alice");
      check_dense(alice, dm, 1, 5);
      const auto acked = alice.call({{"type", "ack"}, {"room_id", dm}, {"seq", 3}});
      CHECK(acked["type"] == "ack.received");
      CHECK(acked["seq"] == 3);
      CHECK(acked["user_id"] == "alice");
      // Backwards: no change.
      CHECK(alice.call({{"type", "ack"}, {"room_id", dm}, {"seq", 2}})["seq"] == 3);
      const auto read = alice.call({{"type", "read"}, {"rooms", {{dm, 4}}}});
      CHECK(read["type"] == "read.received");
      CHECK(read["seq"] == 4);
    }
    s.node.kill9();
    s.node.restart();
    auto alice = s.online("alice");
    check_dense(alice, dm, 5, 5);  // reading acknowledges
    auto rest = s.user("alice");
    const auto listed = rest.get("/v1/rooms").json()["rooms"][0];
    CHECK(listed["last_ack"] == 4);
    CHECK(listed["last_read"] == 4);
    CHECK(listed["unread_count"] == 1);
  }

  TEST_CASE(
      "1,000 missing entries are recovered; of more, the gap is stated and the newest 1,000 come") {
    const stage s;
    const auto dm = s.room("dm", {"alice", "bob"});
    auto backend = s.backend();
    post_many(backend, dm, "bob", 1000);
    {
      auto alice = s.connect("alice");
      const auto frames = sync_frames(alice);
      CHECK(outcome_of(frames, dm)["outcome"] == "recovered");
      CHECK(seqs_of(entries_in(frames, dm)) == seqs(1, 1000));
    }
    post_many(backend, dm, "bob", 205);
    auto alice = s.connect("alice");
    const auto frames = sync_frames(alice);
    const auto gap = outcome_of(frames, dm);
    CHECK(gap["outcome"] == "gap");
    CHECK(gap["from_seq"] == 1);
    CHECK(gap["to_seq"] == 205);
    CHECK(gap["seq"] == 205);
    CHECK(gap.value("truncated", false) == false);
    CHECK(frames[2] == gap);  // before the entries
    CHECK(seqs_of(entries_in(frames, dm)) == seqs(206, 1205));
    // What the gap says can be paged over REST.
    auto rest = s.user("alice");
    const auto page = rest.get("/v1/rooms/" + dm + "/events?after_seq=0&limit=205").json();
    CHECK(seqs_of(page["events"]) == seqs(1, 205));
    CHECK(page["has_more_after"] == true);
    CHECK(page["has_more_before"] == false);
    post(backend, dm, "bob", "live");
    await_entry(alice, dm, 1206);
  }
}

TEST_SUITE("SPEC 5 manual sync") {
  TEST_CASE("nothing comes until it is asked for; then what was missed, and what follows") {
    const stage s;
    const auto dm = s.room("dm", {"alice", "bob"});
    auto backend = s.backend();
    post_many(backend, dm, "bob", 3);
    auto witness = s.online("bob");
    std::string epoch;
    auto alice = manual(s, "alice", &epoch);
    post(backend, dm, "bob", "unasked");
    await_entry(witness, dm, 4);
    settle(alice);
    CHECK(types_of(alice.received()) == std::vector<std::string>{"hello", "pong"});

    const auto frames = sync(alice, {{"epoch", epoch}, {"rooms", {{dm, 2}}}, {"request_id", "s"}});
    CHECK(types_of(frames) ==
          std::vector<std::string>{"message", "message", "sync.complete", "sync.done"});
    CHECK(seqs_of(entries_in(frames, dm)) == seqs(3, 4));
    CHECK(outcome_of(frames, dm)["outcome"] == "recovered");
    CHECK(outcome_of(frames, dm)["seq"] == 4);
    CHECK(frames.back()["request_id"] == "s");
    CHECK(frames.back()["rooms"] == 1);
    post(backend, dm, "bob", "live");
    await_entry(alice, dm, 5);
  }

  TEST_CASE("every room has exactly one outcome: recovered, live, reset, gone") {
    stage s;
    const auto recovered = s.room("group", {"alice", "bob"});
    const auto up_to_date = s.room("group", {"alice", "bob"});
    const auto live = s.room("group", {"alice", "bob"});
    const auto ahead = s.room("group", {"alice", "bob"});
    const auto removed = s.room("group", {"alice", "bob"});
    const auto never_in = s.room("group", {"bob"});
    const std::string unknown = "01890000-0000-7000-8000-000000000000";
    auto backend = s.backend();
    for (const auto& room : {recovered, up_to_date, live, ahead, removed, never_in}) {
      post_many(backend, room, "bob", 2);
    }
    REQUIRE(backend.del("/v1/rooms/" + removed + "/members/alice").status == 204);
    std::string epoch;
    auto alice = manual(s, "alice", &epoch);
    const auto frames = sync(alice, {{"epoch", epoch},
                                     {"rooms",
                                      {{recovered, 0},
                                       {up_to_date, 2},
                                       {live, nullptr},
                                       {ahead, 3},
                                       {removed, 1},
                                       {never_in, 0},
                                       {unknown, 0},
                                       {"no id", 0}}}});
    const auto check = [&](const std::string& room, const char* outcome, const json& seq) {
      CAPTURE(room);
      const auto o = outcome_of(frames, room);
      CHECK(o["outcome"] == outcome);
      CHECK(o["seq"] == seq);
    };
    check(recovered, "recovered", 2);
    check(up_to_date, "recovered", 2);
    check(live, "live", 2);
    check(ahead, "reset", 2);
    check(removed, "gone", nullptr);
    check(never_in, "gone", nullptr);
    check(unknown, "gone", nullptr);
    check("no id", "gone", nullptr);
    CHECK(frames.back()["rooms"] == 8);
    CHECK(seqs_of(entries_in(frames, recovered)) == seqs(1, 2));
    for (const auto& room : {up_to_date, live, ahead, removed, never_in}) {
      CHECK(entries_in(frames, room).empty());
    }
    // All but the gone ones are live now.
    for (const auto& room : {recovered, up_to_date, live, ahead, removed, never_in}) {
      post(backend, room, "bob", "live");
    }
    for (const auto& room : {recovered, up_to_date, live, ahead}) await_entry(alice, room, 3);
    settle(alice);
    CHECK(entries_of(alice, removed).empty());
    CHECK(entries_of(alice, never_in).empty());
  }

  TEST_CASE("a position of another epoch is reset; position 0 needs none") {
    const stage s;
    const auto one = s.room("group", {"alice"});
    const auto two = s.room("group", {"alice"});
    auto backend = s.backend();
    post_many(backend, one, "bob", 3);
    post_many(backend, two, "bob", 3);
    auto alice = manual(s, "alice");
    const auto frames =
        sync(alice, {{"epoch", "of another database"}, {"rooms", {{one, 2}, {two, 0}}}});
    CHECK(outcome_of(frames, one)["outcome"] == "reset");
    CHECK(outcome_of(frames, one)["seq"] == 3);
    CHECK(entries_in(frames, one).empty());
    CHECK(outcome_of(frames, two)["outcome"] == "recovered");
    CHECK(seqs_of(entries_in(frames, two)) == seqs(1, 3));
  }

  TEST_CASE("more missing than sync_max_events is a gap that names what to page") {
    const stage s{{.config = {{"sync_max_events", "10"}}}};
    const auto dm = s.room("dm", {"alice", "bob"});
    auto backend = s.backend();
    post_many(backend, dm, "bob", 30);
    std::string epoch;
    auto alice = manual(s, "alice", &epoch);
    const auto frames = sync(alice, {{"epoch", epoch}, {"rooms", {{dm, 5}}}});
    const auto gap = outcome_of(frames, dm);
    CHECK(gap["outcome"] == "gap");
    CHECK(gap["from_seq"] == 6);
    CHECK(gap["to_seq"] == 20);
    CHECK(gap["seq"] == 20);
    CHECK(seqs_of(entries_in(frames, dm)) == seqs(21, 30));
    auto other = manual(s, "alice");
    const auto exact = sync(other, {{"epoch", epoch}, {"rooms", {{dm, 20}}}});
    CHECK(outcome_of(exact, dm)["outcome"] == "recovered");
    CHECK(seqs_of(entries_in(exact, dm)) == seqs(21, 30));
  }

  TEST_CASE("rest live makes all other rooms live from now on, counted and not listed") {
    const stage s;
    const auto named = s.room("group", {"alice"});
    const auto other = s.room("group", {"alice"});
    const auto third = s.room("dm", {"alice", "bob"});
    auto backend = s.backend();
    for (const auto& room : {named, other, third}) post_many(backend, room, "bob", 2);
    auto alice = manual(s, "alice");
    const auto frames = sync(alice, {{"rooms", {{named, 0}}}, {"rest", "live"}, {"request_id", 7}});
    CHECK(types_of(frames) ==
          std::vector<std::string>{"message", "message", "sync.complete", "sync.done"});
    CHECK(frames.back()["rooms"] == 3);
    CHECK(frames.back()["request_id"] == 7);
    for (const auto& room : {named, other, third}) {
      post(backend, room, "bob", "live");
      await_entry(alice, room, 3);
    }
    check_dense(alice, other, 3, 3);
    // A room that comes afterwards is live too.
    const auto fresh = s.room("group", {"alice", "bob"});
    CHECK(alice.receive_type("room.added")["room"]["room_id"] == fresh);
    post(backend, fresh, "bob", "welcome");
    await_entry(alice, fresh, 1);

    auto second = manual(s, "alice");
    const auto bare = sync(second, {{"rest", "live"}});
    CHECK(types_of(bare) == std::vector<std::string>{"sync.done"});
    CHECK(bare.back()["rooms"] == 4);
    post(backend, named, "bob", "to both");
    await_entry(alice, named, 4);
    await_entry(second, named, 4);
  }

  TEST_CASE(
      "several sync frames add up; a room that is live already is a conflict that changes "
      "nothing") {
    const stage s;
    const auto one = s.room("group", {"alice"});
    const auto two = s.room("group", {"alice"});
    const auto three = s.room("group", {"alice"});
    auto backend = s.backend();
    for (const auto& room : {one, two, three}) post_many(backend, room, "bob", 2);
    auto alice = manual(s, "alice");
    alice.send_json({{"type", "sync"}, {"rooms", {{one, 0}}}, {"request_id", 1}});
    alice.send_json({{"type", "sync"}, {"rooms", {{two, 0}}}, {"request_id", 2}});
    CHECK(alice.receive_type("sync.done")["request_id"] == 1);
    CHECK(alice.receive_type("sync.done")["request_id"] == 2);
    check_dense(alice, one, 1, 2);
    check_dense(alice, two, 1, 2);
    const auto refused = alice.call({{"type", "sync"}, {"rooms", {{one, 0}, {three, 0}}}});
    CHECK(refused["type"] == "error");
    CHECK(refused["code"] == "CONFLICT");
    CHECK(entries_of(alice, three).empty());
    post(backend, three, "bob", "not live");
    post(backend, one, "bob", "live");
    await_entry(alice, one, 3);
    settle(alice);
    CHECK(entries_of(alice, three).empty());
    sync(alice, {{"rooms", {{three, 0}}}});
    check_dense(alice, three, 1, 3);
  }

  TEST_CASE("a client that resumes from its own positions sees each entry exactly once") {
    const stage s;
    const auto group = s.room("group", {"alice", "bob"});
    auto backend = s.backend();
    std::int64_t last = 0;
    std::vector<std::int64_t> all;
    chatter talk{s, {group}};
    for (int i = 0; i < 10; ++i) {
      std::string epoch;
      auto alice = manual(s, "alice", &epoch);
      alice.send_json({{"type", "sync"}, {"epoch", epoch}, {"rooms", {{group, last}}}});
      await_entry(alice, group, last + 5 + i);
      if (i % 2 == 0) alice.abort();
      for (const auto seq : seqs_of(entries_of(alice, group))) all.push_back(seq);
      last = all.back();
    }
    CHECK(talk.stop().empty());
    CHECK(all == seqs(1, last));
  }
}

TEST_SUITE("SPEC 5 subscribe and unsubscribe") {
  TEST_CASE("subscribed tells the position; live from there; unsubscribe ends it") {
    const stage s;
    const auto group = s.room("group", {"alice", "bob"});
    auto backend = s.backend();
    post_many(backend, group, "bob", 2);
    auto witness = s.online("bob");
    auto alice = manual(s, "alice");
    const auto subscribed = alice.call({{"type", "subscribe"}, {"room_id", group}});
    CHECK(subscribed["type"] == "subscribed");
    CHECK(subscribed["seq"] == 2);
    CHECK(subscribed["room_id"] == group);
    post(backend, group, "bob", "three");
    await_entry(alice, group, 3);
    CHECK(alice.call({{"type", "subscribe"}, {"room_id", group}})["seq"] == 3);  // live already
    CHECK(alice.call({{"type", "unsubscribe"}, {"room_id", group}})["type"] == "ok");
    post(backend, group, "bob", "four");
    await_entry(witness, group, 4);
    settle(alice);
    check_dense(alice, group, 3, 3);
    CHECK(alice.call({{"type", "unsubscribe"}, {"room_id", group}})["type"] == "ok");
    CHECK(alice.call({{"type", "subscribe"}, {"room_id", group}})["seq"] == 4);
    post(backend, group, "bob", "five");
    await_entry(alice, group, 5);
  }

  TEST_CASE("only members may subscribe") {
    const stage s;
    const auto group = s.room("group", {"bob"});
    const auto channel = s.room("channel", {"bob"});
    auto alice = manual(s, "alice");
    for (const auto& room : {group, channel}) {
      const auto refused = alice.call({{"type", "subscribe"}, {"room_id", room}});
      CHECK(refused["type"] == "error");
      CHECK(refused["code"] == "NOT_FOUND");
      CHECK(refused["room_id"] == room);
    }
  }

  TEST_CASE("what is being said while one subscribes is not lost between position and live") {
    for (const int threads : {1, 3}) {
      CAPTURE(threads);
      const stage s{with_io_threads(threads)};
      const auto group = s.room("group", {"alice", "bob"});
      chatter talk{s, {group}};
      auto alice = manual(s, "alice");
      for (int i = 0; i < 25; ++i) {
        const auto from =
            alice.call({{"type", "subscribe"}, {"room_id", group}})["seq"].get<std::int64_t>();
        await_entry(alice, group, from + 2);
        CHECK(alice.call({{"type", "unsubscribe"}, {"room_id", group}})["type"] == "ok");
        std::vector<std::int64_t> got;
        for (const auto seq : seqs_of(entries_of(alice, group))) {
          if (seq > from) got.push_back(seq);
        }
        CHECK(got == seqs(from + 1, from + static_cast<std::int64_t>(got.size())));
      }
      CHECK(talk.stop().empty());
    }
  }
}

TEST_SUITE("SPEC 5 several devices") {
  TEST_CASE(
      "each device gets every entry once, also what another device sent; receipts go to the "
      "others") {
    const stage s{with_io_threads(3)};
    const auto dm = s.room("dm", {"alice", "bob"});
    auto phone = s.online("alice");
    auto laptop = s.online("alice");
    auto bob = s.online("bob");
    REQUIRE(send(phone, dm, "from the phone")["seq"] == 1);
    REQUIRE(send(bob, dm, "from bob")["seq"] == 2);
    REQUIRE(send(laptop, dm, "from the laptop")["seq"] == 3);
    for (auto* device : {&phone, &laptop, &bob}) {
      await_entry(*device, dm, 3);
      check_dense(*device, dm, 1, 3);
    }
    REQUIRE(phone.call({{"type", "ack"}, {"room_id", dm}, {"seq", 2}})["type"] == "ack.received");
    const auto heard = laptop.receive_type("ack.received");
    CHECK(heard["room_id"] == dm);
    CHECK(heard["seq"] == 2);
    CHECK(heard["user_id"] == "alice");
    CHECK_FALSE(heard.contains("request_id"));
    REQUIRE(laptop.call({{"type", "read"}, {"room_id", dm}, {"seq", 3}})["type"] ==
            "read.received");
    CHECK(phone.receive_type("read.received")["seq"] == 3);
    settle(phone);
    CHECK(count_of(phone, "ack.received") == 1);  // a read that also acks says read.received only
    // A third device starts where the user acknowledged; sync.start tells it so.
    auto tablet = s.connect("alice");
    CHECK(tablet.receive_type("sync.start")["rooms"] == json{{dm, 3}});
  }
}

TEST_SUITE("SPEC 5 rooms that come and go") {
  TEST_CASE("a new room is announced and live at once, with auto") {
    const stage s;
    auto alice = s.online("alice");
    auto bob = s.online("bob");
    const auto group = s.room("group", {"alice", "bob"});
    const auto added = alice.receive_type("room.added");
    CHECK(added["seq"] == 0);
    CHECK(added["room"]["room_id"] == group);
    CHECK(added["room"]["type"] == "group");
    CHECK(added["room"]["member_count"] == 2);
    CHECK(added["room"]["role"] == "member");
    CHECK(bob.receive_type("room.added")["room"]["room_id"] == group);
    REQUIRE(send(alice, group, "first")["seq"] == 1);
    await_entry(bob, group, 1);
    await_entry(alice, group, 1);
  }

  TEST_CASE(
      "who is added is live behind its own member.joined; who is removed reads up to its own "
      "member.left") {
    const stage s;
    const auto group = s.room("group", {"alice", "bob"});
    auto backend = s.backend();
    auto alice = s.online("alice");
    auto carol = s.online("carol");
    post_many(backend, group, "bob", 2);
    const auto reply = backend.post("/v1/rooms/" + group + "/members", {{"user_ids", {"carol"}}});
    REQUIRE(reply.status == 200);
    CHECK(reply.json()["members"][0]["user_id"] == "carol");
    const auto added = carol.receive_type("room.added");
    CHECK(added["seq"] == 3);
    CHECK(added["room"]["room_id"] == group);
    const auto joined = await_entry(alice, group, 3);
    CHECK(joined["type"] == "member.joined");
    CHECK(joined["user_ids"] == json{"carol"});
    CHECK(joined["role"] == "member");
    CHECK(joined["actor_id"].is_null());
    post(backend, group, "bob", "hello carol");
    await_entry(carol, group, 4);
    REQUIRE(backend.del("/v1/rooms/" + group + "/members/carol").status == 204);
    CHECK(carol.receive_type("room.removed")["room_id"] == group);
    post(backend, group, "bob", "carol is gone");
    await_entry(alice, group, 6);
    settle(carol);
    check_dense(carol, group, 4, 5);
    const auto left = entries_of(carol, group).back();
    CHECK(left["type"] == "member.left");
    CHECK(left["user_ids"] == json{"carol"});
    CHECK(left["reason"] == "removed");
    CHECK(count_of(carol, "room.removed") == 1);

    // Back again: a new start, and the absence is not pushed.
    REQUIRE(backend.post("/v1/rooms/" + group + "/members", {{"user_ids", {"carol"}}}).status == 200);
    CHECK(carol.receive_type("room.added")["seq"] == 7);
    post(backend, group, "bob", "welcome back");
    await_entry(carol, group, 8);
    CHECK(seqs_of(entries_of(carol, group)) == seq_list{4, 5, 8});
    // But a member may read the whole log.
    auto rest = s.user("carol");
    CHECK(seqs_of(log_of(rest, group)) == seqs(1, 8));
  }

  TEST_CASE(
      "joining and leaving a channel is told to one's own connections and is an entry for the "
      "members") {
    const stage s;
    const auto channel = s.room("channel", {"alice"});
    auto alice = s.online("alice");
    auto bob = s.online("bob");
    auto bob_rest = s.user("bob");
    CHECK(bob_rest.get("/v1/rooms/" + channel).status == 404);
    const auto joined = bob_rest.request("POST", "/v1/rooms/" + channel + "/join");
    REQUIRE(joined.status == 200);
    CHECK(joined.json()["role"] == "member");
    CHECK(joined.json()["member_count"] == 2);
    CHECK(bob.receive_type("room.added")["seq"] == 1);
    CHECK(await_entry(alice, channel, 1)["actor_id"] == "bob");
    CHECK(bob_rest.request("POST", "/v1/rooms/" + channel + "/join").status == 200);  // a member already
    REQUIRE(send(bob, channel, "hello")["seq"] == 2);
    await_entry(alice, channel, 2);
    REQUIRE(bob_rest.request("POST", "/v1/rooms/" + channel + "/leave").status == 204);
    bob.receive_type("room.removed");
    const auto left = await_entry(alice, channel, 3);
    CHECK(left["type"] == "member.left");
    CHECK(left["reason"] == "left");
    CHECK(left["actor_id"] == "bob");
    CHECK(send(bob, channel, "anybody?")["code"] == "NOT_FOUND");
    check_dense(bob, channel, 2, 3);
  }

  TEST_CASE("a deleted room is removed everywhere") {
    const stage s{with_io_threads(3)};
    const auto group = s.room("group", {"alice", "bob"});
    auto backend = s.backend();
    auto alice = s.online("alice");
    auto bob = manual(s, "bob");
    sync(bob, {{"rooms", {{group, 0}}}});
    post_many(backend, group, "bob", 3);
    REQUIRE(backend.del("/v1/rooms/" + group).status == 204);
    CHECK(alice.receive_type("room.removed")["room_id"] == group);
    CHECK(bob.receive_type("room.removed")["room_id"] == group);
    CHECK(send(alice, group, "hello?")["code"] == "NOT_FOUND");
    CHECK(backend.get("/v1/rooms/" + group).status == 404);
    CHECK(alice.call({{"type", "subscribe"}, {"room_id", group}})["code"] == "NOT_FOUND");
    CHECK(backend.get("/v1/rooms").json()["rooms"].empty());
  }

  TEST_CASE("sends that meet the end of their room are all answered, and none of them late") {
    for (const int threads : {1, 3}) {
      CAPTURE(threads);
      const stage s{with_io_threads(threads)};
      auto backend = s.backend();
      auto alice = s.online("alice");
      for (int round = 0; round < 30; ++round) {
        const auto group = s.room("group", {"alice", "bob"});
        std::jthread deleter{[&] { CHECK(backend.del("/v1/rooms/" + group).status == 204); }};
        int sent = 0;
        int answered = 0;
        bool is_gone = false;
        while (!is_gone || answered < sent) {
          if (!is_gone) {
            alice.send_json(send_frame(group, "hello?", "k" + std::to_string(sent)));
            ++sent;
          }
          // A deadline's answer would take ten seconds.
          const auto reply = alice.receive_until(
              [](const json& m) { return m["type"] == "message.accepted" || m["type"] == "error"; },
              5s);
          ++answered;
          if (reply["type"] == "error") {
            CAPTURE(reply.dump());
            CHECK(reply["code"] == "NOT_FOUND");
            CHECK(reply["stored"] == "no");
            is_gone = true;
          }
        }
      }
    }
  }

  TEST_CASE("with manual sync they only inform") {
    const stage s;
    auto alice = manual(s, "alice");
    auto bob = s.online("bob");
    const auto group = s.room("group", {"alice", "bob"});
    CHECK(alice.receive_type("room.added")["room"]["room_id"] == group);
    auto backend = s.backend();
    post(backend, group, "bob", "not for alice yet");
    await_entry(bob, group, 1);
    settle(alice);
    CHECK(entries_of(alice, group).empty());
    REQUIRE(backend.del("/v1/rooms/" + group + "/members/alice").status == 204);
    CHECK(alice.receive_type("room.removed")["room_id"] == group);
    CHECK(entries_of(alice, group).empty());
  }
}

TEST_SUITE("SPEC 1 membership entries") {
  TEST_CASE("an entry names at most 100 users; all together name each once") {
    const stage s;
    const auto group = s.room("group", {"alice"});
    auto alice = s.online("alice");
    auto backend = s.backend();
    std::vector<std::string> many;
    for (int i = 0; i < 250; ++i) many.push_back("user-" + std::to_string(i));
    REQUIRE(backend.post("/v1/rooms/" + group + "/members", {{"user_ids", many}}).status == 200);
    await_entry(alice, group, 3);
    std::set<std::string> named;
    for (const auto& e : entries_of(alice, group)) {
      CHECK(e["type"] == "member.joined");
      CHECK(e["user_ids"].size() <= 100);
      for (const auto& user : e["user_ids"]) CHECK(named.insert(user).second);
    }
    CHECK(named.size() == 250);
    CHECK(backend.get("/v1/rooms/" + group).json()["member_count"] == 251);
  }

  TEST_CASE("an owner who leaves is followed by the oldest member, and nobody acted") {
    const stage s;
    auto owner = s.user("alice");
    const auto made = owner.post("/v1/rooms", {{"type", "group"}, {"members", {"alice", "bob"}}});
    REQUIRE(made.status == 201);
    CHECK(made.json()["role"] == "owner");
    const std::string group = made.json()["room_id"];
    auto bob = s.online("bob");
    REQUIRE(owner.request("POST", "/v1/rooms/" + group + "/leave").status == 204);
    CHECK(await_entry(bob, group, 1)["type"] == "member.left");
    const auto updated = await_entry(bob, group, 2);
    CHECK(updated["type"] == "member.updated");
    CHECK(updated["user_id"] == "bob");
    CHECK(updated["role"] == "owner");
    CHECK(updated["actor_id"].is_null());
  }
}

TEST_SUITE("SPEC 2.3 exactly once per connection") {
  TEST_CASE("who connects while messages flow loses nothing and sees nothing twice") {
    for (const int threads : {1, 3}) {
      CAPTURE(threads);
      const stage s{with_io_threads(threads, {.config = {{"max_connections_per_user", "0"}}})};
      const std::vector<std::string> rooms{s.room("group", {"alice", "bob"}),
                                           s.room("dm", {"alice", "bob"}),
                                           s.room("channel", {"alice"})};
      chatter talk{s, rooms};
      chatter more{s, {rooms[0]}};
      struct one {
        ws_client client;
        std::map<std::string, std::int64_t> start;
      };
      std::vector<one> all;
      for (int i = 0; i < 60; ++i) {
        const bool automatic = i % 3 != 2;
        one c{s.connect("alice", automatic ? "" : "sync=manual"), {}};
        if (automatic) {
          c.start =
              c.client.receive_type("sync.start")["rooms"].get<std::map<std::string, std::int64_t>>();
          if (i % 6 == 0) {  // moves where the next ones start
            const auto at = c.client.receive_until([&](const json& m) { return is_entry(m); });
            c.client.send_json({{"type", "ack"}, {"room_id", at["room_id"]}, {"seq", at["seq"]}});
          }
        } else {
          c.client.send_json({{"type", "sync"}, {"rooms", {{rooms[0], 0}}}, {"rest", "live"}});
          c.start[rooms[0]] = 0;
        }
        all.push_back(std::move(c));
      }
      CHECK(talk.stop().empty());
      CHECK(more.stop().empty());
      auto backend = s.backend();
      std::map<std::string, std::vector<json>> logs;
      for (const auto& room : rooms) {
        post(backend, room, "robot", "the last");
        logs[room] = log_of(backend, room);
        CHECK(seqs_of(logs[room]) == seqs(1, static_cast<std::int64_t>(logs[room].size())));
      }
      for (auto& c : all) {
        for (const auto& room : rooms) {
          const auto& log = logs[room];
          const auto last = static_cast<std::int64_t>(log.size());
          await_entry(c.client, room, last);
          const auto got = entries_of(c.client, room);
          const auto first =
              c.start.contains(room) ? c.start[room] : got.front()["seq"].get<std::int64_t>() - 1;
          REQUIRE(static_cast<std::int64_t>(got.size()) == last - first);
          CHECK(std::equal(got.begin(), got.end(), log.begin() + first));
        }
        if (!c.client.closed()) c.client.abort();
      }
    }
  }

  TEST_CASE(
      "who connects while rooms are made and members added gets each room once, from its stated "
      "start") {
    for (const int threads : {1, 3}) {
      CAPTURE(threads);
      const stage s{with_io_threads(threads, {.config = {{"max_connections_per_user", "0"}}})};
      std::vector<std::string> rooms;
      std::vector<ws_client> clients;
      std::string trouble;
      std::thread maker{[&] {
        try {
          auto backend = s.backend();
          for (int i = 0; i < 30; ++i) {
            const bool from_the_start = i % 2 == 0;
            const auto room = make_room(backend, "group",
                                        from_the_start ? std::vector<std::string>{"alice", "bob"}
                                                       : std::vector<std::string>{"bob"});
            post(backend, room, "bob", "one");
            if (!from_the_start) {
              backend.post("/v1/rooms/" + room + "/members", {{"user_ids", {"alice"}}});
            }
            post(backend, room, "bob", "two");
            rooms.push_back(room);
          }
        } catch (const std::exception& e) {
          trouble = e.what();
        }
      }};
      for (int i = 0; i < 30; ++i) clients.push_back(s.connect("alice"));
      maker.join();
      CHECK(trouble.empty());
      auto backend = s.backend();
      std::map<std::string, std::int64_t> last;
      for (const auto& room : rooms) last[room] = post(backend, room, "bob", "the last")["seq"];
      for (auto& client : clients) {
        for (const auto& room : rooms) await_entry(client, room, last[room]);
        std::map<std::string, std::int64_t> start;
        for (const auto& frame : client.received()) {
          if (frame["type"] == "sync.start") {
            for (const auto& [room, seq] : frame["rooms"].items())
              CHECK(start.emplace(room, seq).second);
          } else if (frame["type"] == "room.added") {
            CHECK(start.emplace(frame["room"]["room_id"], frame["seq"]).second);
          }
        }
        for (const auto& room : rooms) {
          REQUIRE(start.contains(room));
          check_dense(client, room, start[room] + 1, last[room]);
        }
        client.abort();
      }
    }
  }
}

TEST_SUITE("SPEC 5, 6 retention has removed the beginning of a log") {
  TEST_CASE(
      "it is a stated gap, truncated, whoever comes from before it; the pages say where the log "
      "starts") {
    stage s;
    const auto room = s.room("group", {"ann", "bob"});
    auto backend = s.backend();
    post_many(backend, room, "ann", 30);
    std::string epoch;
    { auto before = manual(s, "bob", &epoch); }
    CHECK(s.node.terminate() == 0);
    // What the store does in batches while it serves, done at once on a database at rest.
    const auto file = (s.node.data_dir() / "parley.db").string();
    const auto removed = run({.command = {"/usr/bin/sqlite3", "-bail", file,
                                          "DELETE FROM messages WHERE seq <= 20;"
                                          "DELETE FROM send_keys WHERE seq <= 20;"
                                          "DELETE FROM room_log WHERE seq <= 20;"
                                          "UPDATE rooms SET first_seq = 21;"}});
    REQUIRE(removed.status == 0);
    s.node.start();
    CHECK(is_clean(verify(s.node)));
    backend = s.backend();
    const auto page = backend.get("/v1/rooms/" + room + "/messages?after_seq=0").json();
    CHECK(page["first_seq"] == 21);
    CHECK(page["messages"][0]["seq"] == 21);
    CHECK(page["has_more_before"] == false);

    std::string same_epoch;
    auto bob = manual(s, "bob", &same_epoch);
    CHECK(same_epoch == epoch);
    const auto frames = sync(bob, {{"epoch", epoch}, {"rooms", {{room, 5}}}});
    const auto outcome = outcome_of(frames, room);
    CHECK(outcome["outcome"] == "gap");
    CHECK(outcome["truncated"] == true);
    CHECK(outcome["from_seq"] == 6);
    CHECK(outcome["to_seq"] == 20);
    CHECK(outcome["seq"] == 20);
    CHECK(seqs_of(entries_in(frames, room)) == seqs(21, 30));
    post(backend, room, "ann", "live");
    CHECK(await_entry(bob, room, 31)["content"] == "live");
    // From within what is there, nothing is missing; automatic sync starts at a cursor of before.
    auto again = manual(s, "bob");
    CHECK(outcome_of(sync(again, {{"epoch", epoch}, {"rooms", {{room, 25}}}}), room)["outcome"] ==
          "recovered");
    auto automatic = s.connect("ann");
    automatic.receive_type("sync.done");
    CHECK(seqs_of(entries_of(automatic, room)) == seqs(21, 31));
    for (const auto& f : automatic.received()) {
      if (f["type"] == "sync.complete") CHECK(f["truncated"] == true);
    }
  }
}
