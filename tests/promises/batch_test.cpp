// Many messages in one request, and what an operator does with one user's data.

#include "tests/promises/stage.hpp"
#include "tests/support/await.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

using namespace parley::tests;
using namespace std::chrono_literals;

namespace {

json item(const std::string& room, std::string_view content, std::string_view sender,
          std::string_view key = {}) {
  json out{{"room_id", room}, {"content", content}, {"sender_id", sender}};
  if (!key.empty()) out["client_msg_id"] = key;
  return out;
}

}  // namespace

TEST_SUITE("SPEC 4 POST /messages/batch") {
  TEST_CASE("each item has its own outcome, in order; a room keeps the order of its items") {
    for (const int threads : {1, 3}) {
      CAPTURE(threads);
      const stage s{with_io_threads(threads)};
      const auto first = s.room("group", {"ann", "bob"});
      const auto second = s.room("group", {"ann"});
      auto bob = s.online("bob");
      auto backend = s.backend();
      json messages = json::array();
      for (int i = 0; i < 300; ++i) {
        messages.push_back(item(i % 3 == 0 ? second : first, "text " + std::to_string(i), "ann"));
      }
      messages[7]["content"] = 7;
      messages[8].erase("sender_id");
      messages[9]["room_id"] = "019abd75-c47c-779f-aadd-18155851c7d9";
      messages[10]["room_id"] = "not a room";
      messages[11] = "not an object";
      messages[12]["sender_id"] = "robot";  // the backend may name whom it likes
      const auto reply = backend.post("/v1/messages/batch", {{"messages", messages}});
      REQUIRE(reply.status == 200);
      const auto results = reply.json()["results"];
      REQUIRE(results.size() == 300);
      std::map<std::string, std::int64_t> last;
      for (std::size_t i = 0; i < results.size(); ++i) {
        CAPTURE(i);
        const auto& r = results[i];
        if (i >= 7 && i <= 11) {
          CHECK(r["status"] == (i == 9 || i == 10 ? 404 : 400));
          CHECK(r["error"]["stored"] == "no");
          CHECK(!r.contains("message"));
          continue;
        }
        CHECK(r["status"] == 201);
        CHECK(r["message"]["content"] == "text " + std::to_string(i));
        const auto seq = r["message"]["seq"].get<std::int64_t>();
        CHECK(seq == last[r["message"]["room_id"]] + 1);
        last[r["message"]["room_id"]] = seq;
      }
      await_entry(bob, first, last[first]);
      CHECK(seqs_of(entries_of(bob, first)) == seqs(1, last[first]));
    }
  }

  TEST_CASE("keys: a repeated batch stores nothing twice, and says so") {
    const stage s;
    const auto room = s.room("group", {"ann"});
    auto backend = s.backend();
    const json body{{"messages",
                     {item(room, "a", "ann", "k1"), item(room, "b", "ann", "k2"),
                      item(room, "a", "ann", "k1"), item(room, "c", "ann", "k2")}}};
    const auto first = backend.post("/v1/messages/batch", body).json()["results"];
    CHECK(first[0]["status"] == 201);
    CHECK(first[1]["status"] == 201);
    CHECK(first[2]["status"] == 200);
    CHECK(first[2]["message"]["duplicate"] == true);
    CHECK(first[2]["message"]["seq"] == first[0]["message"]["seq"]);
    CHECK(first[3]["status"] == 409);
    const auto again = backend.post("/v1/messages/batch", body).json()["results"];
    CHECK(again[0]["status"] == 200);
    CHECK(again[1]["message"]["duplicate"] == true);
    CHECK(log_of(backend, room).size() == 2);
  }

  TEST_CASE("its bounds: 1,000 items, 16 MiB") {
    const stage s;
    const auto room = s.room("group", {"ann"});
    auto backend = s.backend();
    json messages = json::array();
    for (int i = 0; i < 1000; ++i) messages.push_back(item(room, std::string(4000, 'x'), "ann"));
    // Four MiB: beyond max_body, and within max_batch_body.
    const auto full = backend.post("/v1/messages/batch", {{"messages", messages}});
    REQUIRE(full.status == 200);
    CHECK(full.json()["results"][999]["message"]["seq"] == 1000);
    messages.push_back(item(room, "x", "ann"));
    const auto over = backend.post("/v1/messages/batch", {{"messages", messages}});
    CHECK(over.status == 400);
    CHECK(over.json()["error"]["field"] == "messages");
    CHECK(backend.post("/v1/messages/batch", {{"messages", json::array()}}).status == 400);
    CHECK(backend.post("/v1/messages/batch", json::object()).status == 400);
    CHECK(log_of(backend, room).size() == 1000);
  }
}

TEST_SUITE("SPEC 4 one user's data") {
  TEST_CASE("export has all of it and nobody else's; erasing takes it out of every path") {
    const stage s;
    auto backend = s.backend();
    auto op = s.node.operator_client();
    const auto room = s.room("group", {"ann", "bob"});
    const auto dm = s.room("dm", {"ann", "bob"});
    post(backend, room, "ann", "ann's canary");
    post(backend, room, "bob", "bob's canary");
    post(backend, dm, "ann", "a second canary");
    auto ann = s.online("ann");
    auto bob = s.online("bob");
    const auto of_ann = "/v1/admin/tenants/" + s.tenant.tenant_id + "/users/ann";
    const auto exported = op.get(of_ann + "/export");
    CHECK(exported.status == 200);
    CHECK(exported.header("content-type") == "application/x-ndjson");
    CHECK(exported.body.find("ann's canary") != std::string::npos);
    CHECK(exported.body.find("a second canary") != std::string::npos);
    CHECK(exported.body.find("bob's canary") == std::string::npos);
    CHECK(exported.body.ends_with("{\"type\":\"end\",\"next_cursor\":null}\n"));
    CHECK(op.get("/v1/admin/tenants/" + s.tenant.tenant_id + "/users/nobody/export").status == 404);
    CHECK(op.get("/v1/admin/tenants/tenant_0000000000000000/users/ann/export").status == 404);
    CHECK(s.backend().get(of_ann + "/export").status == 401);

    const auto erasing = op.del(of_ann);
    REQUIRE(erasing.status == 202);
    const std::string job = erasing.json()["job_id"];
    CHECK(ann.await_close().code == 4503);
    REQUIRE(await(20s, [&] { return op.get("/v1/admin/jobs/" + job).json()["state"] == "done"; }));
    const auto left = bob.receive_until(
        [&](const json& f) { return f["type"] == "member.left" && f["room_id"] == room; });
    CHECK(left["reason"] == "erased");
    CHECK(left["user_ids"] == json{"ann"});
    const auto log = log_of(backend, room);
    CHECK(log[0]["content"] == "");
    CHECK(log[1]["content"] == "bob's canary");
    CHECK(op.get(of_ann + "/export").body.find("canary") == std::string::npos);
    auto fresh = s.connect("bob", "sync=manual");
    const std::string epoch = fresh.receive_type("hello")["epoch"];
    fresh.send_json({{"type", "sync"}, {"epoch", epoch}, {"rooms", {{room, 0}, {dm, 0}}}});
    fresh.receive_type("sync.done");
    CHECK(entries_of(fresh, room)[0]["content"] == "");
    CHECK(entries_of(fresh, dm)[0]["content"] == "");
    CHECK(is_clean(verify(s.node)));
    CHECK(op.get("/v1/admin/jobs/job_0000000000000000").status == 404);
  }
}
