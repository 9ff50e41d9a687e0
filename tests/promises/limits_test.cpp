// The bounds of SPEC 4 on a running node: at the value all is served, one more is refused with its reason, and counted.

#include "tests/promises/exposition.hpp"
#include "tests/promises/stage.hpp"
#include "tests/support/await.hpp"
#include "tests/support/jwt.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace parley::tests;
using namespace std::chrono_literals;

namespace {

using steady = std::chrono::steady_clock;

/// How many of `n` tries pass, and what a bucket could have let through in the time that they took.
struct tries {
  int passed = 0;
  int most = 0;
};
template <class Try>
tries try_times(int n, int burst, int per_second, Try&& once) {
  const auto began = steady::now();
  tries out;
  for (int i = 0; i < n; ++i) out.passed += once() ? 1 : 0;
  const auto took = std::chrono::duration<double>(steady::now() - began).count();
  out.most = burst + static_cast<int>(took * per_second);
  return out;
}
/// All of a burst, and no more than it earned meanwhile.
void check_burst(const tries& t, int burst) {
  CHECK(t.passed >= burst);
  CHECK(t.passed <= t.most);
}

/// A 429 that says when to come back.
void check_too_many(const rest_reply& reply) {
  CHECK(reply.status == 429);
  CHECK(reply.error_code() == "RATE_LIMIT_EXCEEDED");
  const auto error = reply.json()["error"];
  CHECK(error["retryable"] == true);
  CHECK(error["retry_after_ms"].get<int>() > 0);
  REQUIRE(reply.header("retry-after"));
  CHECK(std::stoi(*reply.header("retry-after")) >= 1);
}

/// nullopt: it came in.
std::optional<rest_reply> refused_upgrade(const std::string& address, const ws_options& options,
                                          std::vector<ws_client>* keep = nullptr) {
  try {
    ws_client c{address, options};
    if (keep != nullptr) keep->push_back(std::move(c));
    return std::nullopt;
  } catch (const upgrade_refused& e) {
    return e.reply;
  }
}
ws_options as_user(const test_tenant& tenant, const std::string& user, std::string source = {}) {
  return {.headers = {{"X-API-Key", tenant.api_key}, {"X-User-Id", user}},
          .source = std::move(source)};
}

/// What the node has counted of refusals by this bound.
double refusals(running_node& node, const std::string& limit) {
  rest_client client{node.await_log("listening for the operator").at("address")};
  const auto reply = client.get("/v1/metrics");
  REQUIRE(reply.status == 200);
  return exposition{reply.body}.value("parley_limits_refusals_total", {{"limit", limit}});
}
node_setup counted(std::map<std::string, std::string> config) {
  config.emplace("admin_listen", "127.0.0.1:0");
  return {.config = std::move(config)};
}

std::size_t rooms_of(rest_client& user) {
  std::size_t n = 0;
  std::string cursor;
  do {
    const auto page =
        user.get("/v1/rooms?limit=100" + (cursor.empty() ? "" : "&cursor=" + cursor)).json();
    n += page["rooms"].size();
    cursor = page["next_cursor"].is_null() ? "" : page["next_cursor"].get<std::string>();
  } while (!cursor.empty());
  return n;
}

}  // namespace

TEST_SUITE("SPEC 4 bounds: REST requests of a tenant") {
  TEST_CASE("a second's worth is served and counted down, the next is 429; others feel nothing") {
    stage s{counted({{"default_rate_limit", "3"}})};
    const auto other = s.node.create_tenant("other");
    auto ann = s.user("ann");
    const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    const auto first = ann.get("/v1/rooms");
    CHECK(first.status == 200);
    CHECK(first.header("x-ratelimit-limit") == "3");
    CHECK(first.header("x-ratelimit-remaining") == "2");
    CHECK(std::stoll(first.header("x-ratelimit-reset").value()) >= now);
    CHECK(std::stoll(first.header("x-ratelimit-reset").value()) <= now + 10);
    rest_reply last;
    auto bob = s.user("bob");
    check_burst(try_times(10, 2, 3,
                          [&] {
                            last = bob.get("/v1/rooms");
                            return last.status == 200;
                          }),
                2);
    check_too_many(last);
    CHECK(last.header("x-ratelimit-limit") == "3");
    CHECK(last.header("x-ratelimit-remaining") == "0");
    CHECK(last.header("cache-control") == "no-store");
    // Its own answers tell it; what is no request of its own does not count.
    CHECK(s.node.user(other, "ann").get("/v1/rooms").status == 200);
    for (int i = 0; i < 5; ++i) {
      CHECK(ann.post("/v1/ws/token", json::object()).status == 200);
      CHECK(ann.get("/v1/livez").status == 200);
    }
    auto socket = s.connect("ann");
    CHECK(socket.receive_type("hello")["user_id"] == "ann");
    CHECK_FALSE(s.node.operator_client().get("/v1/admin/tenants").header("x-ratelimit-limit"));
    CHECK(refusals(s.node, "default_rate_limit") >= 7);
  }

  TEST_CASE("a tenant's own rate_limit replaces the node's, 0 is none") {
    stage s{{.config = {{"default_rate_limit", "1"}}}};
    const auto more = s.node.create_tenant("more", {{"rate_limit", 40}});
    const auto free = s.node.create_tenant("free", {{"rate_limit", 0}});
    auto as_more = s.node.backend(more);
    check_burst(try_times(60, 40, 40, [&] { return as_more.get("/v1/rooms").status == 200; }), 40);
    auto as_free = s.node.backend(free);
    CHECK(try_times(60, 0, 0, [&] { return as_free.get("/v1/rooms").status == 200; }).passed == 60);
    CHECK_FALSE(as_free.get("/v1/rooms").header("x-ratelimit-limit"));
  }
}

TEST_SUITE("SPEC 4 bounds: messages") {
  TEST_CASE("a user has one bucket for REST and WebSocket; what is refused is not stored") {
    stage s{counted({{"user_send_rate", "1"}, {"user_send_burst", "5"}, {"ws_frame_rate", "0"}})};
    const auto room = s.room("group", {"ann", "bob"});
    auto ann = s.online("ann");
    auto ann_rest = s.user("ann");
    const auto began = steady::now();
    int accepted = 0;
    json ws_refused;
    rest_reply rest_refused;
    for (int i = 0; i < 8; ++i) {
      const auto by_ws = send(ann, room, "ws " + std::to_string(i));
      if (by_ws["type"] == "message.accepted") {
        ++accepted;
      } else {
        ws_refused = by_ws;
      }
      const auto by_rest =
          ann_rest.post("/v1/rooms/" + room + "/messages", {{"content", std::to_string(i)}});
      if (by_rest.status == 201) {
        ++accepted;
      } else {
        rest_refused = by_rest;
      }
    }
    const auto took = std::chrono::duration<double>(steady::now() - began).count();
    CHECK(accepted >= 5);
    CHECK(accepted <= 5 + static_cast<int>(took));
    CHECK(ws_refused["code"] == "RATE_LIMIT_EXCEEDED");
    CHECK(ws_refused["stored"] == "no");
    CHECK(ws_refused["retryable"] == true);
    CHECK(ws_refused["retry_after_ms"].get<int>() > 0);
    check_too_many(rest_refused);
    CHECK(rest_refused.json()["error"]["stored"] == "no");
    auto backend = s.backend();
    CHECK(static_cast<int>(log_of(backend, room).size()) == accepted);
    // The connection lives, others send, and the backend itself has no such limit.
    CHECK(ann.call({{"type", "ping"}})["type"] == "pong");
    auto bob = s.online("bob");
    CHECK(send(bob, room, "bob")["type"] == "message.accepted");
    for (int i = 0; i < 20; ++i) post(backend, room, "ann", "by the backend");
    CHECK(refusals(s.node, "user_send_rate") == 16 - accepted);
  }

  TEST_CASE("edits, deletes and repeats count like sends") {
    stage s{{.config = {{"user_send_rate", "1"}, {"user_send_burst", "4"}}}};
    const auto room = s.room("group", {"ann"});
    auto ann = s.online("ann");
    const auto sent = send(ann, room, "one", "key");
    REQUIRE(sent["type"] == "message.accepted");
    const std::string id = sent["message_id"];
    auto rest = s.user("ann");
    const auto began = steady::now();
    CHECK(send(ann, room, "one", "key")["duplicate"] == true);
    CHECK(rest.patch("/v1/rooms/" + room + "/messages/" + id, {{"content", "two"}}).status == 200);
    CHECK(ann.call({{"type", "delete_message"}, {"room_id", room}, {"message_id", id}})["type"] ==
          "message.accepted");
    std::vector<bool> refused{
        send(ann, room, "one", "key")["code"] == "RATE_LIMIT_EXCEEDED",
        rest.patch("/v1/rooms/" + room + "/messages/" + id, {{"content", "3"}}).status == 429,
        rest.del("/v1/rooms/" + room + "/messages/" + id).status == 429,
        ann.call({{"type", "edit_message"},
                  {"room_id", room},
                  {"message_id", id},
                  {"content", "4"}})["code"] == "RATE_LIMIT_EXCEEDED"};
    const auto earned =
        static_cast<int>(std::chrono::duration<double>(steady::now() - began).count());
    CHECK(std::count(refused.begin(), refused.end(), true) >= 4 - earned);
    // What costs nothing is served.
    CHECK(ann.call({{"type", "ack"}, {"room_id", room}, {"seq", 1}})["type"] == "ack.received");
    CHECK(rest.get("/v1/rooms/" + room + "/messages").status == 200);
  }

  TEST_CASE("of a batch as many pass as fit, each item with its own outcome") {
    stage s{{.config = {{"user_send_rate", "1"}, {"user_send_burst", "4"}}}};
    const auto limited = s.node.create_tenant("limited", {{"message_rate", 6}});
    const auto batch = [](rest_client as, const std::string& room, int n, bool names_sender) {
      json items = json::array();
      for (int i = 0; i < n; ++i) {
        items.push_back({{"room_id", room}, {"content", std::to_string(i)}});
        if (names_sender) items.back()["sender_id"] = "robot";
      }
      const auto began = steady::now();
      const auto reply = as.post("/v1/messages/batch", {{"messages", items}});
      REQUIRE(reply.status == 200);
      const auto results = reply.json()["results"];
      REQUIRE(results.size() == static_cast<std::size_t>(n));
      int passed = 0;
      for (const auto& r : results) {
        if (r["status"] == 201) {
          ++passed;
          continue;
        }
        CHECK(r["status"] == 429);
        CHECK(r["error"]["code"] == "RATE_LIMIT_EXCEEDED");
        CHECK(r["error"]["stored"] == "no");
        CHECK(r["error"]["retry_after_ms"].get<int>() > 0);
      }
      return std::pair{passed, std::chrono::duration<double>(steady::now() - began).count()};
    };
    const auto room = s.room("group", {"ann"});
    CHECK(batch(s.user("ann"), room, 9, false).first == 4);
    CHECK(batch(s.backend(), room, 200, true).first == 200);
    auto backend = s.backend();
    CHECK(log_of(backend, room).size() == 204);
    auto of_limited = s.node.backend(limited);
    const auto theirs = make_room(of_limited, "group", {"ann"});
    CHECK(batch(s.node.backend(limited), theirs, 20, true).first == 6);
    CHECK(log_of(of_limited, theirs).size() == 6);
  }
}

TEST_SUITE("SPEC 4 bounds: connections") {
  TEST_CASE(
      "a tenant has so many; the next is 429 before the upgrade, and one that goes makes room") {
    stage s{counted({{"max_connections_per_tenant", "2"}})};
    const auto other = s.node.create_tenant("other");
    std::vector<ws_client> open;
    const auto come = [&](const test_tenant& tenant, const std::string& user) {
      return refused_upgrade(s.node.address(), as_user(tenant, user), &open);
    };
    CHECK_FALSE(come(s.tenant, "ann"));
    CHECK_FALSE(come(s.tenant, "bob"));
    const auto refused = come(s.tenant, "cyd");
    REQUIRE(refused);
    check_too_many(*refused);
    CHECK_FALSE(come(other, "ann"));
    CHECK(refusals(s.node, "max_connections_per_tenant") == 1);
    open.front().send_close();
    open.front().await_close();
    CHECK(await(10s, [&] { return !come(s.tenant, "cyd"); }));
    CHECK(come(s.tenant, "dan"));
  }

  TEST_CASE("who says who it is in the first frame counts from then on") {
    const stage s{{.config = {{"max_connections_per_tenant", "1"}}}};
    const auto token = [&](const char* user) {
      return user_token(s.tenant.tenant_id, s.tenant.jwt_secret, user);
    };
    ws_client first{s.node.address(), {}};
    ws_client second{s.node.address(), {}};
    first.send_json({{"type", "auth"}, {"token", token("ann")}});
    CHECK(first.receive_type("hello")["user_id"] == "ann");
    second.send_json({{"type", "auth"}, {"token", token("bob")}, {"request_id", 7}});
    const auto refused = second.receive_type("error");
    CHECK(refused["code"] == "RATE_LIMIT_EXCEEDED");
    CHECK(refused["request_id"] == 7);
    CHECK(second.await_close().code == 1013);
    first.send_close();
    first.await_close();
    CHECK(await(10s, [&] {
      ws_client again{s.node.address(), {}};
      again.send_json({{"type", "auth"}, {"token", token("bob")}});
      const auto said = again.receive_json();
      return said["type"] == "hello";
    }));
  }

  TEST_CASE("an address has so many, also of those who have not said who they are") {
    stage s{counted({{"max_connections_per_address", "3"}})};
    const auto other = s.node.create_tenant("other");
    std::vector<ws_client> open;
    const auto& address = s.node.address();
    CHECK_FALSE(refused_upgrade(address, as_user(s.tenant, "ann"), &open));
    CHECK_FALSE(refused_upgrade(address, as_user(other, "ann"), &open));
    CHECK_FALSE(refused_upgrade(address, {}, &open));
    const auto refused = refused_upgrade(address, as_user(s.tenant, "bob"));
    REQUIRE(refused);
    check_too_many(*refused);
    CHECK(refusals(s.node, "max_connections_per_address") == 1);
    CHECK_FALSE(refused_upgrade(address, as_user(s.tenant, "bob", "127.0.0.2"), &open));
    open[1].send_close();
    open[1].await_close();
    CHECK(await(10s, [&] { return !refused_upgrade(address, as_user(s.tenant, "bob"), &open); }));
  }

  TEST_CASE(
      "SIGHUP takes another limit over; what was counted before counts, and nobody is closed for "
      "it") {
    const temp_dir dir;
    const auto file = (dir.path() / "parley.toml").string();
    std::ofstream{file} << "max_connections_per_tenant = 0\n";
    stage s{{.arguments = {"--config", file}}};
    std::vector<ws_client> open;
    for (const char* user : {"ann", "bob", "cyd"})
      CHECK_FALSE(refused_upgrade(s.node.address(), as_user(s.tenant, user), &open));
    std::ofstream{file} << "max_connections_per_tenant = 2\n";
    s.node.signal(SIGHUP);
    s.node.await_log("reloaded");
    const auto refused = refused_upgrade(s.node.address(), as_user(s.tenant, "dan"));
    REQUIRE(refused);
    check_too_many(*refused);
    for (auto& client : open) {
      CHECK(client.receive_type("hello")["type"] == "hello");
      CHECK(client.call({{"type", "ping"}})["type"] == "pong");
    }
  }

  TEST_CASE("an upgrade that comes to nothing takes no place") {
    const stage s{
        {.config = {{"max_connections_per_address", "1"}, {"max_connections_per_tenant", "1"}}}};
    for (int i = 0; i < 5; ++i) {
      const auto refused = refused_upgrade(
          s.node.address(), {.headers = {{"X-API-Key", "sk_wrong"}, {"X-User-Id", "x"}}});
      REQUIRE(refused);
      CHECK(refused->status == 401);
    }
    std::vector<ws_client> open;
    CHECK_FALSE(refused_upgrade(s.node.address(), as_user(s.tenant, "ann"), &open));
  }

  TEST_CASE("the node takes so many upgrades a second; beyond is 503") {
    stage s{counted({{"ws_connect_rate", "2"}})};
    std::vector<ws_client> open;
    std::optional<rest_reply> refused;
    check_burst(try_times(8, 2, 2,
                          [&] {
                            auto said = refused_upgrade(s.node.address(), {}, &open);
                            if (said) refused = said;
                            return !said;
                          }),
                2);
    REQUIRE(refused);
    CHECK(refused->status == 503);
    CHECK(refused->error_code() == "UNAVAILABLE");
    CHECK(refused->header("retry-after"));
    CHECK(refused->json()["error"]["retry_after_ms"].get<int>() > 0);
    CHECK(refusals(s.node, "ws_connect_rate") >= 1);
  }
}

TEST_SUITE("SPEC 3 failed authentications of an address") {
  TEST_CASE("so many a minute are 401, the next is 429; who has a good credential passes") {
    // One is earned back in 20 s.
    stage s{counted({{"auth_failure_rate", "3"}})};
    auto wrong = s.node.rest().with("X-API-Key", "sk_wrong");
    for (int i = 0; i < 2; ++i) CHECK(wrong.get("/v1/rooms").status == 401);
    CHECK(s.node.rest().with("X-Master-Key", "wrong").get("/v1/admin/tenants").status == 401);
    check_too_many(wrong.get("/v1/rooms"));
    check_too_many(s.node.rest().get("/v1/rooms"));
    const auto refused = refused_upgrade(
        s.node.address(), {.headers = {{"X-API-Key", "sk_wrong"}, {"X-User-Id", "x"}}});
    REQUIRE(refused);
    check_too_many(*refused);
    CHECK(s.user("ann").get("/v1/rooms").status == 200);
    CHECK(s.node.operator_client().get("/v1/admin/tenants").status == 200);
    std::vector<ws_client> open;
    CHECK_FALSE(refused_upgrade(s.node.address(), as_user(s.tenant, "ann"), &open));
    const auto elsewhere = refused_upgrade(
        s.node.address(),
        {.headers = {{"X-API-Key", "sk_wrong"}, {"X-User-Id", "x"}}, .source = "127.0.0.2"});
    REQUIRE(elsewhere);
    CHECK(elsewhere->status == 401);
    // A first frame counts too.
    ws_client unnamed{s.node.address(), {}};
    unnamed.send_json({{"type", "auth"}, {"token", "wst_wrong"}});
    CHECK(unnamed.receive_type("error")["code"] == "RATE_LIMIT_EXCEEDED");
    CHECK(unnamed.await_close().code == 4501);
    CHECK(refusals(s.node, "auth_failure_rate") == 4);
  }
}

TEST_SUITE("SPEC 4 bounds: rooms") {
  TEST_CASE(
      "a tenant has so many rooms, whoever makes them at once; one that is deleted makes room") {
    stage s{counted({{"max_rooms_per_tenant", "5"}})};
    const auto other = s.node.create_tenant("other");
    auto backend = s.backend();
    const auto dm = make_room(backend, "dm", {"ann", "bob"});
    std::atomic<int> made{0};
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
          auto as = s.backend();
          for (int i = 0; i < 5; ++i)
            made += as.post("/v1/rooms", {{"type", "group"}, {"members", {"ann"}}}).status == 201;
        });
      }
    }
    CHECK(made == 4);
    const auto refused = backend.post("/v1/rooms", {{"type", "group"}, {"members", {"ann"}}});
    CHECK(refused.status == 409);
    CHECK(refused.error_code() == "CONFLICT");
    CHECK(refused.json()["error"]["field"] == "tenant_id");
    CHECK(refusals(s.node, "max_rooms_per_tenant") == 17);
    // What is there already is no new room.
    CHECK(backend.post("/v1/rooms", {{"type", "dm"}, {"members", {"bob", "ann"}}}).status == 200);
    CHECK(s.node.backend(other).post("/v1/rooms", {{"type", "group"}, {"members", {"ann"}}}).status ==
          201);
    REQUIRE(backend.del("/v1/rooms/" + dm).status == 204);
    CHECK(backend.post("/v1/rooms", {{"type", "group"}, {"members", {"ann"}}}).status == 201);
    CHECK(backend.post("/v1/rooms", {{"type", "group"}, {"members", {"ann"}}}).status == 409);
    s.node.restart();
    CHECK(s.backend().post("/v1/rooms", {{"type", "group"}, {"members", {"ann"}}}).status == 409);
  }

  TEST_CASE("a user is in so many rooms, whether it joins, is added or a room is made with it") {
    stage s{counted({{"max_rooms_per_user", "3"}})};
    std::vector<std::string> channels;
    for (int i = 0; i < 5; ++i)
      channels.push_back(s.room("channel", {"owner" + std::to_string(i)}));
    auto ann = s.user("ann");
    auto backend = s.backend();
    const auto join = [&](const std::string& room) {
      return ann.post("/v1/rooms/" + room + "/join", json::object());
    };
    const auto add = [&](const std::string& room) {
      return backend.post("/v1/rooms/" + room + "/members", {{"user_ids", {"new", "ann"}}});
    };
    const auto make = [&] {
      return backend.post("/v1/rooms", {{"type", "group"}, {"members", {"ann"}}});
    };
    CHECK(join(channels[0]).status == 200);
    CHECK(add(channels[1]).status == 200);
    const auto made = make();
    CHECK(made.status == 201);
    const auto full = [&](const rest_reply& reply, const char* field) {
      CHECK(reply.status == 409);
      CHECK(reply.error_code() == "CONFLICT");
      CHECK(reply.json()["error"]["field"] == field);
    };
    full(join(channels[2]), "user_ids");
    full(add(channels[2]), "user_ids");
    full(make(), "members");
    CHECK(refusals(s.node, "max_rooms_per_user") == 3);
    CHECK(rooms_of(ann) == 3);
    // Nobody was added, not even who had room.
    CHECK(s.user("new").get("/v1/rooms/" + channels[2]).status == 404);
    // Where one is a member already nothing comes, and what one may not see is not there.
    CHECK(join(channels[0]).status == 200);
    CHECK(add(channels[1]).json()["members"].empty());
    const auto secret = s.room("group", {"bob"});
    CHECK(join(secret).status == 404);
    CHECK(join("01890a5d-ac96-774b-bcce-b302099a8057").status == 404);
    CHECK(s.user("cyd").post("/v1/rooms/" + secret + "/members", {{"user_ids", {"ann"}}}).status ==
          404);
    // One that is left, or deleted, makes room.
    CHECK(ann.post("/v1/rooms/" + channels[0] + "/leave", json::object()).status == 204);
    CHECK(join(channels[3]).status == 200);
    full(join(channels[2]), "user_ids");
    REQUIRE(backend.del("/v1/rooms/" + made.json()["room_id"].get<std::string>()).status == 204);
    CHECK(join(channels[2]).status == 200);
    full(join(channels[4]), "user_ids");
  }

  TEST_CASE("calls at once never bring a user beyond the bound together") {
    const stage s{with_io_threads(3, {.config = {{"max_rooms_per_user", "4"}}})};
    constexpr int threads_count = 6;
    std::vector<std::string> channels;
    for (int i = 0; i < threads_count; ++i)
      channels.push_back(s.room("channel", {"owner" + std::to_string(i)}));
    for (int round = 0; round < 10; ++round) {
      const auto user = "user" + std::to_string(round);
      {
        std::vector<std::jthread> threads;
        for (int t = 0; t < threads_count; ++t) {
          threads.emplace_back([&, t] {
            auto as = s.user(user);
            auto backend = s.backend();
            const auto& room = channels[static_cast<std::size_t>(t)];
            if (t % 3 == 0) {
              as.post("/v1/rooms", {{"type", "group"}, {"members", {user}}});
            } else if (t % 3 == 1) {
              backend.post("/v1/rooms/" + room + "/members", {{"user_ids", {user}}});
            } else {
              as.post("/v1/rooms/" + room + "/join", json::object());
            }
          });
        }
      }
      auto as = s.user(user);
      const auto in = rooms_of(as);
      CHECK(in >= 1);
      CHECK(in <= 4);
      // Who was refused for the sake of others under way gets the place now, if there is one.
      for (const auto& room : channels) as.post("/v1/rooms/" + room + "/join", json::object());
      CHECK(rooms_of(as) == 4);
    }
  }

  TEST_CASE("a room has so many members") {
    stage s{counted({{"max_room_members", "3"}})};
    const auto room = s.room("channel", {"a", "b"});
    const auto join = [&](const char* user) {
      return s.user(user).post("/v1/rooms/" + room + "/join", json::object());
    };
    CHECK(join("c").status == 200);
    const auto refused = join("d");
    CHECK(refused.status == 409);
    CHECK(refused.json()["error"]["field"] == "user_ids");
    auto backend = s.backend();
    CHECK(backend.post("/v1/rooms/" + room + "/members", {{"user_ids", {"d"}}}).status == 409);
    CHECK(backend.post("/v1/rooms", {{"type", "group"}, {"members", {"a", "b", "c", "d"}}}).status ==
          409);
    CHECK(backend.post("/v1/rooms", {{"type", "group"}, {"members", {"a", "b", "c"}}}).status == 201);
    CHECK(refusals(s.node, "max_room_members") == 3);
  }
}

TEST_SUITE("SPEC 4 bounds: sizes") {
  TEST_CASE(
      "content, meta, name and depth: at the bound 2xx, beyond it 400 with the field, counted") {
    stage s{counted(
        {{"max_content", "10"}, {"max_meta", "12"}, {"max_name", "4"}, {"max_json_depth", "4"}})};
    const auto room = s.room("group", {"ann"});
    auto ann = s.user("ann");
    auto socket = s.online("ann");
    const auto say = [&](const json& body) {
      return ann.post("/v1/rooms/" + room + "/messages", body);
    };
    const auto beyond = [&](const rest_reply& reply, const char* field) {
      CHECK(reply.status == 400);
      CHECK(reply.json()["error"]["field"] == field);
    };
    // Bytes count, not characters; of JSON values as stored.
    CHECK(say({{"content", "\u00e4\u00e4\u00e4\u00e4\u00e4"}}).status == 201);
    beyond(say({{"content", "\u00e4\u00e4\u00e4\u00e4\u00e4x"}}), "content");
    CHECK(ann.request("POST", "/v1/rooms/" + room + "/messages",
                      {{"Content-Type", "application/json"}},
                      R"({"content":"x","meta":{ "a" : "12345" }})")
              .status == 400);  // {"a":"12345"} is 13
    CHECK(ann.request("POST", "/v1/rooms/" + room + "/messages",
                      {{"Content-Type", "application/json"}},
                      R"({"content":"x","meta":{  "a"  :  "1234"  }})")
              .status == 201);
    beyond(say({{"content", "x"}, {"meta", "12345678901"}}), "meta");
    // The outer object counts: four levels, and five.
    CHECK(say({{"content", "x"}, {"meta", json::parse(R"({"a":[[1]]})")}}).status == 201);
    beyond(say({{"content", "x"}, {"meta", json::parse(R"({"a":[[[]]]})")}}), "meta");
    auto backend = s.backend();
    const auto named = [&](const char* name) {
      return backend.post("/v1/rooms", {{"type", "group"}, {"members", {"ann"}}, {"name", name}});
    };
    CHECK(named("four").status == 201);
    beyond(named("fives"), "name");
    const auto over = send(socket, room, "12345678901");
    CHECK(over["code"] == "VALIDATION_ERROR");
    CHECK(over["field"] == "content");
    CHECK(over["stored"] == "no");
    CHECK(send(socket, room, "1234567890")["type"] == "message.accepted");
    CHECK(refusals(s.node, "max_content") == 2);
    CHECK(refusals(s.node, "max_meta") == 2);
    CHECK(refusals(s.node, "max_name") == 1);
    CHECK(refusals(s.node, "max_json_depth") == 1);
  }

  TEST_CASE("a batch has a bound of its own; beyond either is 413") {
    const stage s{{.config = {{"max_body", "2KiB"}, {"max_batch_body", "6KiB"}}}};
    const auto room = s.room("group", {"ann"});
    auto ann = s.user("ann");
    const auto padded = [&](json body, std::size_t bytes) {
      auto text = body.dump();
      return text + std::string(bytes - text.size(), ' ');
    };
    const json one{{"room_id", room}, {"content", "x"}};
    const json batch{{"messages", {one, one}}};
    const auto post_raw = [&](const std::string& path, const std::string& body) {
      auto client = s.user("ann");
      return client.request("POST", path, {{"Content-Type", "application/json"}}, body).status;
    };
    const auto messages = "/v1/rooms/" + room + "/messages";
    CHECK(post_raw(messages, padded(one, 2048)) == 201);
    CHECK(post_raw(messages, padded(one, 2049)) == 413);
    for (const std::string path : {"/v1/messages/batch", "/messages/batch"}) {
      CHECK(post_raw(path, padded(batch, 6144)) == 200);
      CHECK(post_raw(path, padded(batch, 6145)) == 413);
    }
  }
}
