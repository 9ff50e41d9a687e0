// /metrics of a real node: its numbers add up, its text is what a scraper reads, and it is not public.

#include "tests/promises/exposition.hpp"
#include "tests/promises/stage.hpp"
#include "tests/support/await.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <regex>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace parley::tests;
using namespace std::chrono_literals;

namespace {

using of = exposition::labels;

node_setup with_admin_listener(node_setup setup = {}) {
  setup.config["admin_listen"] = "127.0.0.1:0";
  return setup;
}

std::string admin_address(running_node& node) {
  return node.await_log("listening for the operator").at("address");
}

exposition scrape(rest_client& client) {
  const auto reply = client.get("/v1/metrics");
  REQUIRE(reply.status == 200);
  REQUIRE(reply.header("content-type") == "text/plain; version=0.0.4; charset=utf-8");
  return exposition{reply.body};
}

/// What a counter gained between two scrapes.
double gained(const exposition& before, const exposition& after, const std::string& name,
              const of& labels = {}) {
  return after.value(name, labels) - before.value(name, labels);
}

/// All that a client sees but the date.
std::string shown(const rest_reply& reply) {
  std::string out = std::to_string(reply.status) + " " + reply.reason + "\n";
  for (const auto& [name, value] : reply.headers) {
    if (name != "date") out += name + ": " + value + "\n";
  }
  return out + "\n" + reply.body;
}

constexpr const char* accepted = "parley_messages_accepted_total";

}  // namespace

TEST_SUITE("SPEC 7 metrics") {
  TEST_CASE("what a node serves is what docs/metrics.md lists, and a strict reader reads it") {
    running_node node{with_admin_listener()};
    rest_client admin{admin_address(node)};
    const auto seen = scrape(admin);
    std::ifstream document{binary_from("PARLEY_SOURCE_DIR") + "/docs/metrics.md"};
    static const std::regex row{R"(^\| `(parley_[a-z0-9_]+)` \| (\w+) \|.*)"};
    std::set<std::pair<std::string, std::string>> documented;
    for (std::string line; std::getline(document, line);) {
      if (std::smatch m; std::regex_match(line, m, row)) documented.emplace(m[1], m[2]);
    }
    std::set<std::pair<std::string, std::string>> served;
    for (const auto& [name, family] : seen.families()) served.emplace(name, family.type);
    CHECK(served == documented);
  }

  TEST_CASE("the process's own numbers are the kernel's") {
    running_node node{with_admin_listener()};
    rest_client admin{admin_address(node)};
    const auto seen = scrape(admin);
    const auto resident = static_cast<double>(resident_kib(node.pid())) * 1024;
    CHECK(seen.value("parley_process_resident_memory_bytes") > resident / 2);
    CHECK(seen.value("parley_process_resident_memory_bytes") < resident * 2);
    const auto open = static_cast<double>(std::distance(
        std::filesystem::directory_iterator{"/proc/" + std::to_string(node.pid()) + "/fd"},
        std::filesystem::directory_iterator{}));
    CHECK(std::abs(seen.value("parley_process_open_descriptors") - open) <= 2);
    CHECK(seen.value("parley_process_max_descriptors") > open);
    CHECK(seen.value("parley_process_cpu_seconds_total") > 0);
    const auto now =
        std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    CHECK(seen.value("parley_process_start_time_seconds") <= now + 1);
    CHECK(seen.value("parley_process_start_time_seconds") > now - 60);
    CHECK(seen.value("parley_store_database_bytes") >= 4096);
    CHECK(seen.value("parley_store_writable_state") == 1);
    CHECK(seen.value("parley_node_ready_state") == 1);
  }

  TEST_CASE(
      "N messages accepted are N more in the counter, whatever was refused or repeated beside") {
    for (const int threads : {1, 3}) {
      CAPTURE(threads);
      stage s{with_admin_listener(with_io_threads(threads))};
      rest_client admin{admin_address(s.node)};
      const auto room = s.room("group", {"ann", "bob"});
      auto ann = s.online("ann");
      auto bob = s.online("bob");
      auto backend = s.backend();
      const auto before = scrape(admin);

      for (int n = 0; n < 7; ++n)
        REQUIRE(send(ann, room, "over the socket")["type"] == "message.accepted");
      for (int n = 0; n < 5; ++n) post(backend, room, "bob", "over REST");
      REQUIRE(send(ann, room, "once", "key-1")["type"] == "message.accepted");
      for (int n = 0; n < 3; ++n)
        REQUIRE(send(ann, room, "once", "key-1").value("duplicate", false));
      const auto path = "/v1/rooms/" + room + "/messages";
      const json keyed{{"sender_id", "bob"}, {"content", "twice"}, {"client_msg_id", "key-2"}};
      REQUIRE(backend.post(path, keyed).status == 201);
      REQUIRE(backend.post(path, keyed).status == 200);
      // Refused: no such room, an empty message, another content for a known key.
      REQUIRE(send(ann, "01890000-0000-7000-8000-000000000000", "lost")["code"] == "NOT_FOUND");
      REQUIRE(send(ann, room, "")["code"] == "VALIDATION_ERROR");
      REQUIRE(send(ann, room, "another", "key-1")["code"] == "CONFLICT");
      REQUIRE(
          backend
              .post(path, {{"sender_id", "bob"}, {"content", "other"}, {"client_msg_id", "key-2"}})
              .status == 409);
      // Changed: an edit and a delete.
      const auto own = send(ann, room, "to be changed");
      REQUIRE(ann.call({{"type", "edit_message"},
                        {"room_id", room},
                        {"message_id", own["message_id"]},
                        {"content", "changed"}})["type"] == "message.accepted");
      REQUIRE(backend.del(path + "/" + own["message_id"].get<std::string>()).status == 204);

      const auto after = scrape(admin);
      const auto more = [&](const std::string& name, const of& labels = {}) {
        return gained(before, after, name, labels);
      };
      CHECK(more(accepted) == 7 + 5 + 1 + 1 + 1);
      CHECK(more("parley_messages_duplicates_total") == 3 + 1);
      CHECK(more("parley_messages_changes_total") == 2);
      CHECK(more("parley_messages_refused_total", {{"code", "NOT_FOUND"}}) == 1);
      CHECK(more("parley_messages_refused_total", {{"code", "VALIDATION_ERROR"}}) == 1);
      CHECK(more("parley_messages_refused_total", {{"code", "CONFLICT"}}) == 2);
      CHECK(after.sum("parley_messages_refused_total") -
                before.sum("parley_messages_refused_total") ==
            4);
      // 7 + 1 + 3 repeats + 3 refused + 1 to be changed.
      CHECK(more("parley_ws_received_frames_total", {{"type", "send_message"}}) +
                more("parley_ws_received_frames_total", {{"type", "rejected"}}) ==
            15);
      CHECK(more("parley_ws_received_frames_total", {{"type", "edit_message"}}) == 1);
      CHECK(more("parley_ws_errors_total", {{"code", "CONFLICT"}}) == 1);
      const of posts{{"method", "POST"}, {"route", "/rooms/{room}/messages"}};
      auto created = posts;
      created["class"] = "2xx";
      auto conflicts = posts;
      conflicts["class"] = "4xx";
      CHECK(more("parley_http_requests_total", created) == 7);
      CHECK(more("parley_http_requests_total", conflicts) == 1);
      CHECK(more("parley_http_request_duration_seconds_count", posts) == 8);
      CHECK(more("parley_http_request_duration_seconds_sum", posts) > 0);
      CHECK(more("parley_http_errors_total", {{"code", "CONFLICT"}}) == 1);
      // Every entry was committed: 15 messages, an edit, a delete. (Answers leave before their commit is counted.)
      CHECK(await(10s, [&] {
        const auto now = scrape(admin);
        const auto gains = [&](const char* name) { return gained(before, now, name); };
        return gains("parley_commit_rows_total") >= 17 &&
               gains("parley_commit_group_rows_sum") == gains("parley_commit_rows_total") &&
               gains("parley_commit_duration_seconds_count") == gains("parley_commit_groups_total");
      }));
      // Both read all of it, in the time that delivery takes.
      CHECK(await(10s, [&] {
        const auto now = scrape(admin);
        return now.sum("parley_delivery_entries_total") -
                   before.sum("parley_delivery_entries_total") ==
               2 * 17;
      }));
      CHECK(after.value("parley_ws_open_connections") == 2);
      CHECK(more("parley_ws_sent_bytes_total") > 0);
      CHECK(more("parley_ws_received_bytes_total") > 0);

      // The operator's view of the same.
      auto op = s.node.operator_client();
      const auto stats = op.get("/admin/stats").json();
      CHECK(stats["messages_accepted"].get<double>() == after.value(accepted));
      const auto& tenants = stats["tenants"];
      const auto it = std::ranges::find_if(
          tenants, [&](const json& t) { return t["tenant_id"] == s.tenant.tenant_id; });
      REQUIRE(it != tenants.end());
      CHECK((*it)["messages_accepted"].get<double>() == after.value(accepted));
      CHECK((*it)["connections"] == 2);
      CHECK((*it)["rooms"] == 1);
      CHECK((*it)["users"] == 2);
    }
  }

  TEST_CASE("scraped while many send, nothing falls and the end is exact") {
    stage s{with_admin_listener(with_io_threads(3))};
    const auto address = admin_address(s.node);
    const auto room = s.room("group", {"ann"});
    auto backend = s.backend();
    rest_client admin{address};
    const auto before = scrape(admin);
    std::atomic<bool> done = false;
    std::string trouble;
    int scrapes = 0;
    std::thread scraper{[&] {
      try {
        rest_client own{address};
        double last = before.value(accepted);
        while (!done) {
          const auto reply = own.get("/v1/metrics");
          const exposition now{reply.body};
          if (now.value(accepted) < last) trouble = "it fell";
          last = now.value(accepted);
          ++scrapes;
        }
      } catch (const std::exception& e) {
        trouble = e.what();
      }
    }};
    post_many(backend, room, "ann", 3000);
    done = true;
    scraper.join();
    CHECK(trouble.empty());
    CHECK(scrapes > 0);
    MESSAGE("scrapes while 3,000 were sent: " << scrapes);
    CHECK(gained(before, scrape(admin), accepted) == 3000);
  }

  TEST_CASE("connections are counted as they come and go, by close code") {
    stage s{with_admin_listener({.config = {{"max_connections_per_user", "1"}}})};
    rest_client admin{admin_address(s.node)};
    const auto before = scrape(admin);
    {
      auto first = s.online("ann");
      auto second = s.connect("ann");
      CHECK(second.await_close().code == 1008);
      first.send_close(1000);
      CHECK(first.await_close().code == 1000);
      auto third = s.online("bob");
      third.abort();
    }
    CHECK_THROWS_AS((ws_client{s.node.address(),
                               {.headers = {{"X-API-Key", "sk_wrong"}, {"X-User-Id", "ann"}}}}),
                    upgrade_refused);
    const of lost{{"code", "1005"}};
    REQUIRE(await(10s, [&] {
      return gained(before, scrape(admin), "parley_ws_closed_connections_total", lost) == 1 &&
             scrape(admin).value("parley_ws_open_connections") == 0;
    }));
    const auto after = scrape(admin);
    CHECK(gained(before, after, "parley_ws_closed_connections_total", {{"code", "1008"}}) == 1);
    CHECK(gained(before, after, "parley_ws_closed_connections_total", {{"code", "1000"}}) == 1);
    CHECK(gained(before, after, "parley_ws_opened_connections_total") == 2);
    CHECK(gained(before, after, "parley_ws_upgrades_total", {{"outcome", "accepted"}}) == 3);
    CHECK(gained(before, after, "parley_ws_upgrades_total", {{"outcome", "unauthenticated"}}) == 1);
    CHECK(gained(before, after, "parley_auth_failures_total", {{"via", "http"}}) == 1);
    CHECK(gained(before, after, "parley_limits_refusals_total",
                 {{"limit", "max_connections_per_user"}}) == 1);
  }

  TEST_CASE("a sync's outcomes and a flood are counted") {
    stage s{with_admin_listener()};
    s.node.setup().config["ws_frame_rate"] = "1";
    s.node.setup().config["ws_frame_burst"] = "3";
    s.node.restart();
    rest_client admin{admin_address(s.node)};
    const auto room = s.room("group", {"ann"});
    auto backend = s.backend();
    post(backend, room, "ann", "one");
    const auto before = scrape(admin);
    auto ann = s.connect("ann", "sync=manual");
    ann.receive_type("hello");
    ann.call({{"type", "sync"}, {"rooms", {{room, nullptr}}}});
    for (int n = 0; n < 5; ++n) ann.send_json({{"type", "ping"}});
    CHECK(ann.await_close().code == 4029);
    REQUIRE(await(10s, [&] {
      return gained(before, scrape(admin), "parley_sync_outcomes_total", {{"outcome", "live"}}) == 1;
    }));
    const auto after = scrape(admin);
    CHECK(gained(before, after, "parley_limits_refusals_total", {{"limit", "ws_frame_rate"}}) == 1);
    CHECK(gained(before, after, "parley_ws_errors_total", {{"code", "RATE_LIMIT_EXCEEDED"}}) == 1);
  }
}

TEST_SUITE("SPEC 4 metrics") {
  TEST_CASE("to an address that is not allowed /metrics is a path that does not exist") {
    running_node node{{.config = {{"metrics_allow", "10.0.0.0/8, 127.0.0.9"}}}};
    auto client = node.rest().with("X-Request-Id", "the-same");
    for (const auto* method : {"GET", "HEAD", "POST", "OPTIONS", "DELETE"}) {
      for (const auto* prefix : {"/v1", ""}) {
        CAPTURE(method);
        CAPTURE(prefix);
        const auto hidden = client.request(method, std::string{prefix} + "/metrics");
        const auto unknown = client.request(method, std::string{prefix} + "/nothing");
        CHECK(hidden.status == 404);
        CHECK(shown(hidden) == shown(unknown));
      }
    }
    // The same node, asked from an address that is.
    tcp_stream allowed{node.address(), {.source = "127.0.0.9"}};
    std::string buffered;
    allowed.write("GET /v1/metrics HTTP/1.1\r\nHost: node\r\n\r\n");
    const auto reply = read_reply(allowed, buffered, false, 10s);
    CHECK(reply.status == 200);
    CHECK(exposition{reply.body}.value("parley_http_requests_total",
                                       {{"method", "any"}, {"route", "none"}, {"class", "4xx"}}) ==
          20);
  }

  TEST_CASE("loopback may scrape by default, but not what a proxy on it passes on") {
    running_node node;
    auto client = node.rest().with("X-Request-Id", "the-same");
    CHECK(client.get("/v1/metrics").status == 200);
    CHECK(client.request("POST", "/v1/metrics").status == 405);
    const auto unknown = client.get("/v1/nothing");
    for (const auto* header : {"X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"}) {
      CAPTURE(header);
      CHECK(shown(client.get("/v1/metrics", {{header, "203.0.113.7"}})) == shown(unknown));
    }
  }

  TEST_CASE(
      "an empty metrics_allow hides it from everybody; the operator's listener serves it to all") {
    running_node node{with_admin_listener({.config = {{"metrics_allow", ""}}})};
    CHECK(node.rest().get("/v1/metrics").status == 404);
    rest_client admin{admin_address(node)};
    CHECK(admin.get("/v1/metrics", {{"X-Forwarded-For", "203.0.113.7"}}).status == 200);
    CHECK(admin.request("HEAD", "/v1/metrics").status == 200);
  }

  TEST_CASE("the operator's listener serves health, metrics and /admin, and nothing else") {
    stage s{with_admin_listener()};
    rest_client admin{admin_address(s.node), {{"X-Request-Id", "the-same"}}};
    for (const auto* path :
         {"/livez", "/readyz", "/health", "/v1/health", "/metrics", "/v1/metrics"}) {
      CAPTURE(path);
      CHECK(admin.get(path).status == 200);
    }
    CHECK(admin.get("/admin/tenants").status == 401);
    CHECK(admin.get("/admin/tenants", {{"X-Master-Key", s.node.master_key()}}).status == 200);
    CHECK(admin.get("/v1/admin/stats", {{"X-Master-Key", s.node.master_key()}}).status == 200);
    const auto unknown = admin.get("/v1/nothing");
    CHECK(unknown.status == 404);
    const header_list key{{"X-API-Key", s.tenant.api_key}};
    for (const auto* path : {"/v1/rooms", "/v1/ws", "/v1/presence"}) {
      CAPTURE(path);
      CHECK(shown(admin.get(path, key)) == shown(unknown));
    }
    // And /admin stays where it was.
    CHECK(s.node.operator_client().get("/admin/tenants").status == 200);
  }

  TEST_CASE("the unprefixed path speaks ChatAPI's counters unless text is asked for") {
    stage s;
    const auto room = s.room("group", {"ann"});
    auto ann = s.online("ann");
    REQUIRE(send(ann, room, "one")["type"] == "message.accepted");
    auto client = s.node.rest();
    const auto counters = client.get("/metrics");
    CHECK(counters.header("content-type") == "application/json");
    const auto body = counters.json();
    CHECK(body["active_connections"] == 1);
    CHECK(body["messages_sent"] == 1);
    CHECK(body["delivery_attempts"] == 0);
    CHECK(body["delivery_failures"] == 0);
    CHECK(body["dropped_broadcasts"] == body["broadcast_drops"]);
    CHECK(body["uptime_seconds"].is_number_integer());
    const auto text =
        client.get("/metrics", {{"Accept", "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"}});
    CHECK(exposition{text.body}.value(accepted) == 1);
    const auto json_there = client.get("/v1/metrics", {{"Accept", "application/json"}});
    CHECK(json_there.json()["messages_sent"] == 1);
    CHECK(exposition{client.get("/v1/metrics").body}.value(accepted) == 1);
  }

  TEST_CASE("GET /admin/stats needs the operator's key and comes in pages") {
    stage s;
    for (int n = 0; n < 4; ++n) s.node.create_tenant("more");
    CHECK(s.node.rest().get("/admin/stats").status == 401);
    CHECK(s.backend().get("/admin/stats").status == 401);
    auto op = s.node.operator_client();
    const auto all = op.get("/admin/stats").json();
    CHECK(all["tenants"].size() == 5);
    CHECK(all["next_cursor"] == nullptr);
    CHECK(all["database"]["writable"] == true);
    CHECK(all["database"]["bytes"].get<std::int64_t>() >= 4096);
    for (const auto* field : {"time", "version", "epoch"}) CHECK(all[field].is_string());
    std::vector<json> seen;
    std::string target = "/admin/stats?limit=2";
    for (int pages = 0; pages < 4; ++pages) {
      const auto page = op.get(target).json();
      for (const auto& t : page["tenants"]) seen.push_back(t);
      if (page["next_cursor"].is_null()) break;
      target =
          "/admin/stats?limit=2&cursor=" + percent_encoded(page["next_cursor"].get<std::string>());
    }
    CHECK(seen == all["tenants"].get<std::vector<json>>());
    CHECK(op.get("/admin/stats?limit=0").status == 400);
    CHECK(op.get("/admin/stats?cursor=damaged").status == 400);
  }

  TEST_CASE("two listeners on one address are refused at the start") {
    running_node holder;
    const temp_dir dir;
    const auto refused =
        run({.command = {parley_binary(), "serve", "--listen", "127.0.0.1:0", "--data-dir",
                         dir.path().string(), "--set", "admin_listen=" + holder.address()},
             .env = {{"PARLEY_MASTER_API_KEY", "a-key-for-this-test"}}});
    CHECK(refused.status == 1);
    CHECK(refused.err.find("(admin_listen)") != std::string::npos);
  }
}
