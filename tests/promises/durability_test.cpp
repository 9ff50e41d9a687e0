// What «accepted» rests on: the order of write, sync and answer in the kernel's own view, and a sync that fails.

#include "tests/promises/stage.hpp"
#include "tests/promises/syscall_trace.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

using namespace parley::tests;
using namespace std::chrono_literals;

namespace {

/// Whole database pages, and everything that leaves together.
const std::vector<std::string> order_calls{"-s", "65536", "-e",
                                           "trace=pwrite64,fdatasync,fsync,sendmsg,sendto"};

struct traced_run {
  order_seen order;
  std::size_t messages = 0;
};

/// Messages from two sockets (pipelined, then one by one) and by REST, with keys that the trace can be searched for.
traced_run send_traced(const std::string& durability, const std::string& planted = {}) {
  const tracing trace{order_calls};
  node_setup setup;
  setup.config["durability"] = durability;
  setup.under = trace.under();
  if (!planted.empty()) setup.env["PARLEY_BREAK"] = planted;
  stage s{setup};
  const auto group = s.room("group", {"alice", "bob"});
  auto alice = s.online("alice");
  auto bob = s.online("bob");
  auto rest = s.user("bob");

  std::vector<std::string> keys;
  const auto next = [&] {
    const auto number = std::to_string(1000 + keys.size());
    keys.push_back("key-" + number + "-end");
    return send_frame(group, "said with " + keys.back(), keys.back());
  };
  constexpr int bursts = 5;
  constexpr int burst = 8;
  for (int b = 0; b < bursts; ++b) {
    for (int i = 0; i < burst; ++i) {
      alice.send_json(next());
      bob.send_json(next());
    }
    for (int i = 0; i < burst; ++i) {
      alice.receive_type("message.accepted");
      bob.receive_type("message.accepted");
    }
    REQUIRE(alice.call(next())["type"] == "message.accepted");
    auto body = next();
    body.erase("type");
    body.erase("room_id");
    REQUIRE(rest.post("/v1/rooms/" + group + "/messages", body).status == 201);
  }
  const auto pid = s.node.pid();
  for (auto* client : {&alice, &bob})
    client->abort();  // an end waits for their answer to its close
  REQUIRE(s.node.terminate() == 0);
  return {order_of(parse_trace(trace.text(pid)), keys), keys.size()};
}

std::string shown(const order_seen& order) {
  std::string text = std::to_string(order.in_order) + " write → sync → answer, " +
                     std::to_string(order.without_sync) + " write → answer, " +
                     std::to_string(order.violations.size()) + " otherwise, " +
                     std::to_string(order.wal_syncs) + " syncs of the WAL";
  for (const auto& violation : order.violations) text += "\n  " + violation;
  return text;
}

}  // namespace

TEST_SUITE("SPEC 2.1 accepted means durable") {
  TEST_CASE("with durability=full each message is written, synced, and only then told and shown") {
    const auto run = send_traced("full");
    MESSAGE(shown(run.order));
    CHECK(run.order.violations.empty());
    CHECK(run.order.without_sync == 0);
    CHECK(run.order.in_order == run.messages);
    CHECK(run.order.wal_syncs < run.messages);  // one for a whole group
  }

  TEST_CASE(
      "with durability=normal each message is written before it is told, and nothing is synced") {
    const auto run = send_traced("normal");
    MESSAGE(shown(run.order));
    CHECK(run.order.violations.empty());
    CHECK(run.order.in_order == 0);
    CHECK(run.order.without_sync == run.messages);
    CHECK(run.order.wal_syncs == 0);
  }

  TEST_CASE("skip_fsync, a planted defect, shows in the order of calls") {
    const auto run = send_traced("full", "skip_fsync");
    CHECK(run.order.in_order < run.messages);
  }

  TEST_CASE("ack_before_commit, a planted defect, shows in the order of calls") {
    const auto run = send_traced("full", "ack_before_commit");
    CHECK(run.order.violations.size() + run.order.without_sync > 0);
  }
}

TEST_SUITE("SPEC 8 a failed fsync ends the process") {
  TEST_CASE("status 74, nothing in doubt was accepted, the next start recovers") {
    // The first two are of the log's header and of the key that is noted as used when somebody connects.
    for (const int nth : {3, 5, 9}) {
      CAPTURE(nth);
      stage s;
      const auto group = s.room("group", {"alice", "bob"});
      REQUIRE(s.node.terminate() == 0);

      const auto wal = (std::filesystem::canonical(s.node.data_dir()) / "parley.db-wal").string();
      const tracing trace{{"-P", wal, "-e", "trace=fdatasync,fsync", "-e",
                           "inject=fdatasync,fsync:error=EIO:when=" + std::to_string(nth)}};
      s.node.setup().under = trace.under();
      s.node.start();
      const auto pid = s.node.pid();
      std::map<std::string, json> told;
      std::set<std::string> sent;
      std::vector<json> seen_by_bob;
      {
        auto alice = s.online("alice");
        auto bob = s.online("bob");
        try {  // until the node is gone
          for (int i = 0; i < 10'000; ++i) {
            const auto key = "k" + std::to_string(i);
            sent.insert(key);
            alice.send_json(send_frame(group, "text " + key, key));
            if (i % 4 != 3) continue;  // four in flight
            for (int answers = 0; answers < 4; ++answers) {
              const auto reply = alice.receive_type("message.accepted");
              told[reply["client_msg_id"]] = reply;
            }
          }
        } catch (const connection_closed&) {
        } catch (const connection_lost&) {}
        CHECK(s.node.await_exit(10s) == 74);
        for (const auto& frame : alice.received()) {  // also what came before the end was noticed
          if (frame["type"] == "message.accepted") told[frame["client_msg_id"]] = frame;
        }
        CHECK_THROWS_AS(bob.drain(1s), connection_closed);
        seen_by_bob = entries_of(bob, group);
      }
      CHECK(trace.text(pid).find("(INJECTED)") != std::string::npos);
      CHECK(told.size() < sent.size());

      s.node.setup().under.clear();
      s.node.start();
      auto backend = s.backend();
      const auto log = log_of(backend, group);
      for (const auto& [key, reply] : told) {
        const auto seq = reply["seq"].get<std::size_t>();
        REQUIRE(seq <= log.size());
        CHECK(log[seq - 1]["message_id"] == reply["message_id"]);
        CHECK(log[seq - 1]["client_msg_id"] == key);
      }
      REQUIRE(seen_by_bob.size() <= log.size());
      for (std::size_t i = 0; i < seen_by_bob.size(); ++i) CHECK(seen_by_bob[i] == log[i]);
      // Whatever was in doubt is settled by the same key.
      auto alice = s.online("alice");
      for (const auto& key : sent) {
        CHECK(send(alice, group, "text " + key, key)["type"] == "message.accepted");
      }
      const auto settled = log_of(backend, group);
      CHECK(seqs_of(settled) == seqs(1, static_cast<std::int64_t>(sent.size())));
      alice.abort();
      CHECK(s.node.terminate() == 0);
      const auto verified = verify(s.node);
      CAPTURE(verified.out);
      CHECK(is_clean(verified));
    }
  }
}

TEST_SUITE("SPEC 8 a full disk") {
  TEST_CASE(
      "sends are refused and not stored, reads go on, and with space again it goes on by itself") {
    stage s;
    const auto group = s.room("group", {"alice", "bob"});
    {
      auto backend = s.backend();
      post_many(backend, group, "bob", 3);
    }
    REQUIRE(s.node.terminate() == 0);
    const auto wal = (std::filesystem::canonical(s.node.data_dir()) / "parley.db-wal").string();
    const tracing trace{
        {"-P", wal, "-e", "trace=pwrite64", "-e", "inject=pwrite64:error=ENOSPC:when=20..45"}};
    s.node.setup().under = trace.under();
    s.node.start();
    auto alice = s.online("alice");
    auto bob = s.online("bob");
    auto rest = s.user("bob");
    std::vector<std::string> accepted;
    std::vector<std::string> refused;
    bool is_full = false;
    bool is_over = false;
    for (int i = 0; !is_over; ++i) {
      const auto key = "k" + std::to_string(i);
      const auto reply = send(alice, group, "text " + key, key);
      if (reply["type"] == "message.accepted") {
        accepted.push_back(key);
        is_over = is_full;
        continue;
      }
      CAPTURE(reply.dump());
      CHECK(reply["code"] == "UNAVAILABLE");
      CHECK(reply["stored"] == "no");
      CHECK(reply["retryable"] == true);
      CHECK(reply["retry_after_ms"].get<int>() > 0);
      refused.push_back(key);
      if (!is_full) {
        is_full = true;
        const auto by_rest = rest.post("/v1/rooms/" + group + "/messages", {{"content", "x"}});
        CHECK(by_rest.status == 503);
        CHECK(by_rest.header("retry-after"));
        CHECK(s.node.rest().get("/health").status == 503);
        CHECK(s.node.rest().get("/livez").status == 200);
        CHECK(rest.get("/v1/rooms/" + group + "/messages").status == 200);
        CHECK(s.online("bob").received().size() >= 4);
      }
      REQUIRE(i < 100'000);
    }
    CHECK_FALSE(refused.empty());
    CHECK(s.node.rest().get("/health").status == 200);
    for (const auto& key : refused) {
      CHECK_FALSE(send(alice, group, "text " + key, key).contains("duplicate"));
    }
    const auto all = static_cast<std::int64_t>(3 + accepted.size() + refused.size());
    await_entry(bob, group, all);
    CHECK(seqs_of(entries_of(bob, group)) == seqs(1, all));
    for (auto* client : {&alice, &bob}) client->abort();
    CHECK(s.node.terminate() == 0);
    const auto verified = verify(s.node);
    CAPTURE(verified.out);
    CHECK(is_clean(verified));
  }
}
