/// The load tool as a whole against a node that can be made to break each promise: what it does wrong must be found, and
/// what is a node's right must not be called wrong.

#include "tests/bench/load_support.hpp"

#include <chrono>
#include <thread>

using namespace parley::bench;
using nlohmann::json;

TEST_SUITE("bench: a node that keeps its promises") {
  TEST_CASE("send: everything is accepted, delivered to both, and measured") {
    fake_node node;
    const auto result = run(small_load(node));
    CAPTURE(result.report.dump(2));
    CHECK(result.code == exit_ok);
    CHECK(result.report["checks"]["ok"] == true);
    const json& run_report = result.report["runs"][0];
    CHECK(run_report["connects"] == 20);
    CHECK(run_report["accepted"] > 0);
    CHECK(run_report["accept_times"]["count"] > 0);
    CHECK(run_report["delivery_times"]["p50_ms"] > 0);
    CHECK(run_report["checked_accepted"] == node.messages());
    CHECK(run_report["checked_deliveries"] == 2 * node.messages());
    CHECK(result.report["node"]["server_version"] == "fake");
    CHECK(result.report["node"]["limits"]["max_frame"] == 131072);
    CHECK(result.report["machine"]["cores"] > 0);
    CHECK(node.tenants_deleted() == 1);
  }

  TEST_CASE(
      "send: rooms of several, of which each connection is in more than one, in two threads") {
    for (const std::uint32_t threads : {1U, 2U, 3U}) {
      CAPTURE(threads);
      fake_node node;
      auto options = small_load(node);
      options.rooms = 15;
      options.members = {5};
      options.senders = 7;
      options.threads = threads;
      const auto result = run(options);
      CAPTURE(result.report.dump(2));
      CHECK(result.code == exit_ok);
      CHECK(result.report["runs"][0]["checked_deliveries"] == 5 * node.messages());
    }
  }

  TEST_CASE("fanout: a run for each size, with the time to the last reader") {
    for (const std::uint32_t threads : {1U, 2U}) {
      CAPTURE(threads);
      fake_node node;
      auto options = small_load(node);
      options.scenario = "fanout";
      options.members = {3, 30};
      options.senders = 2;
      options.threads = threads;
      const auto result = run(options);
      CAPTURE(result.report.dump(2));
      CHECK(result.code == exit_ok);
      REQUIRE(result.report["runs"].size() == 2);
      const json& big = result.report["runs"][1];
      CHECK(big["members"] == 30);
      CHECK(big["last_delivery_times"]["count"] == big["accept_times"]["count"]);
      CHECK(big["last_delivery_times"]["p50_ms"] >= big["delivery_times"]["min_ms"]);
    }
  }

  TEST_CASE("fanout: members beyond a thousand join in pieces and read from where they joined") {
    fake_node node;
    auto options = small_load(node);
    options.scenario = "fanout";
    options.members = {1150};
    options.senders = 2;
    options.in_flight = 1;
    options.duration_s = 1;
    options.connect_rate = 0;
    auto result = run(options);
    CAPTURE(result.report.dump(2));
    CHECK(result.code == exit_ok);
    options.has_manual_sync = true;  // from the beginning of the log
    result = run(options);
    CHECK(result.code == exit_ok);
  }

  TEST_CASE("idle: all are connected and say nothing") {
    fake_node node;
    auto options = small_load(node);
    options.scenario = "idle";
    options.connections = 60;
    options.members = {20};
    options.rest_s = 0.01;
    options.idle_s = 0.05;
    options.node_pid = 1;  // any process that is there
    const auto result = run(options);
    CAPTURE(result.report.dump(2));
    CHECK(result.code == exit_ok);
    CHECK(result.report["runs"][0]["connects"] == 60);
    CHECK(result.report["runs"][0]["rooms"] == 15);
    CHECK(result.report["runs"][0].contains("rss_bytes_per_connection"));
    CHECK(node.messages() == 0);
  }

  TEST_CASE("paced: as many as asked, and a slow answer shows in the latency") {
    fake_node node{{.flaw = defect::slow_down}};
    auto options = small_load(node);
    options.rate = 400;
    options.in_flight = 16;
    options.duration_s = 0.5;
    const auto result = run(options);
    CAPTURE(result.report.dump(2));
    CHECK(result.code == exit_ok);
    CHECK(node.messages() >= 219);  // 400 a second for 0.55 s; one is lost to rounding
    CHECK(node.messages() <= 220);
    CHECK(result.report["runs"][0]["accept_times"]["p50_ms"] >= 30);
    CHECK(result.report["runs"][0]["overdue"] == 0);
  }

  TEST_CASE("paced: what waits for a free sender counts from when it was due") {
    // One sender, one in flight, 30 ms each: 33 a second are possible, 200 are asked.
    fake_node node{{.flaw = defect::slow_down}};
    auto options = small_load(node);
    options.senders = 1;
    options.in_flight = 1;
    options.rate = 200;
    options.duration_s = 0.6;
    options.warmup_s = 0;
    const auto result = run(options);
    CHECK(result.code == exit_ok);
    CHECK(result.report["runs"][0]["overdue"] > 50);
    CHECK(result.report["runs"][0]["accept_times"]["max_ms"] > 200);
  }

  TEST_CASE("a rate of frames that hello tells is kept") {
    fake_node node{{.frames_per_s = 20}};
    auto options = small_load(node);
    options.duration_s = 1;
    const auto result = run(options);
    CHECK(result.code == exit_ok);
    CHECK(node.messages() <= 20 * (10 + 21 + 2));
    CHECK(node.messages() >= 20 * 10);
  }

  TEST_CASE("overload, doubt, busy upgrades and fragments are the node's right") {
    for (const defect flaw :
         {defect::overload, defect::doubt, defect::busy_upgrade, defect::fragment}) {
      CAPTURE(static_cast<int>(flaw));
      fake_node node{{.flaw = flaw}};
      const auto result = run(small_load(node));
      CAPTURE(result.report.dump(2));
      CHECK(result.code == exit_ok);
      const json& errors = result.report["runs"][0]["errors"];
      CHECK(errors.contains("RATE_LIMIT_EXCEEDED") == (flaw == defect::overload));
      CHECK(errors.contains("UNAVAILABLE") == (flaw == defect::doubt));
      CHECK((node.pongs() > 0) == (flaw == defect::fragment));
    }
  }

  TEST_CASE("an interrupt ends a run early, with its checks, and says so") {
    fake_node node;
    auto options = small_load(node);
    options.duration_s = 600;
    std::atomic<int> interrupts{0};
    std::jthread user{[&interrupts] {
      std::this_thread::sleep_for(std::chrono::milliseconds{400});
      interrupts = 1;
    }};
    const auto result = run(options, interrupts);
    CAPTURE(result.report.dump(2));
    CHECK(result.code == exit_interrupted);
    CHECK(result.report["is_interrupted"] == true);
    CHECK(result.report["checks"]["ok"] == true);
    CHECK(result.report["runs"][0]["checked_deliveries"] == 2 * node.messages());
  }

  TEST_CASE("a spawned node is used and ended; a bad end is a fault") {
    for (const int status : {0, 3}) {
      CAPTURE(status);
      fake_node node{{.takes_any_master_key = true}};
      const spawned_fake spawned{node, status};
      const auto result = run(spawned.with(small_load(node)));
      CAPTURE(result.report.dump(2));
      CHECK(result.code == (status == 0 ? exit_ok : exit_fault));
      CHECK(result.found("node") == (status != 0));
      CHECK(result.report["node"]["durability"] == "full");
      CHECK(result.report["runs"][0]["node_usage"]["rss_bytes"] > 0);
    }
  }
}

TEST_SUITE("bench: a node that breaks its promises") {
  struct row {
    defect flaw;
    const char* fault;
    const char* why;
  };
  const row rows[] = {
      {defect::drop, "hole", "SPEC 2.3: an entry is left out"},
      {defect::drop, "missing", "SPEC 2.1: what was accepted did not come"},
      {defect::drop_rest, "missing", "a reader is forgotten"},
      {defect::repeat, "repeat", "SPEC 2.3: an entry comes twice"},
      {defect::swap, "out_of_order", "SPEC 2.3: entries change places"},
      {defect::differ, "two_histories", "SPEC 2.2: two readers see different logs"},
      {defect::leak, "foreign_room", "an entry reaches a stranger"},
      {defect::garble, "wrong_message", "a message is changed"},
      {defect::store_twice, "stored_twice", "SPEC 2.4: a send is stored twice"},
      {defect::answer_not, "unanswered", "SPEC 2.5: no reply"},
      {defect::answer_twice, "wrong_answer", "SPEC 2.5: two replies"},
      {defect::answer_wrong_seq, "two_histories", "the answer names another seq"},
      {defect::answer_duplicate, "wrong_answer", "a first send is called a duplicate"},
      {defect::lose_accepted, "two_histories", "SPEC 2.1: accepted, and its seq given to another"},
      {defect::refuse, "refused", "a load within the rules is refused"},
      {defect::refuse_but_store, "wrong_answer", "SPEC 2.5: stored \"no\" is not true"},
      {defect::disconnect, "connection", "a connection is closed"},
      {defect::mask, "protocol", "RFC 6455: a server must not mask"},
      {defect::bad_utf8, "protocol", "RFC 6455: text is UTF-8"},
      {defect::not_json, "protocol", "a frame is one JSON object"},
      {defect::no_sync_done, "connection", "SPEC 2.9: a sync without an end"},
      {defect::wrong_recovery, "sync", "SPEC 2.9: recovered, but not all came"},
      {defect::refuse_upgrade, "connection", "a connection is refused"},
  };

  TEST_CASE("each defect is found, ends with status 1 and is told in words") {
    for (const auto& row : rows) {
      CAPTURE(row.why);
      CAPTURE(row.fault);
      fake_node node{{.flaw = row.flaw}};
      auto options = small_load(node);
      options.settle_s = 0.5;
      if (row.flaw == defect::no_sync_done) options.connect_deadline_s = 0.5;
      const auto result = run(options);
      CAPTURE(result.report.dump(2));
      CHECK(result.code == exit_fault);
      CHECK(result.report["checks"]["ok"] == false);
      CHECK(result.found(row.fault));
      CHECK(result.report["checks"]["examples"].size() > 0);
    }
  }

  TEST_CASE("defects are found as well when readers are spread over threads") {
    for (const auto& row : rows) {
      if (row.flaw == defect::refuse_upgrade || row.flaw == defect::no_sync_done) continue;
      CAPTURE(row.why);
      fake_node node{{.flaw = row.flaw}};
      auto options = small_load(node);
      options.scenario = "fanout";
      options.members = {8};
      options.senders = 8;
      options.threads = 4;
      options.settle_s = 0.5;
      const auto result = run(options);
      CAPTURE(result.report.dump(2));
      // A leak needs somebody who is not in the room.
      CHECK(result.code == (row.flaw == defect::leak ? exit_ok : exit_fault));
    }
  }

  TEST_CASE("a node that is not there, or refuses the key, fails with a reason") {
    bench_options options;
    {
      fake_node node;
      options = small_load(node);
      options.master_key = "wrong";
      const auto result = run(options);
      CHECK(result.code == exit_fault);
      CHECK(result.report["failure"].get<std::string>().find("401") != std::string::npos);
    }
    const auto result = run(options);
    CHECK(result.code == exit_fault);
    CHECK(result.report["failure"].get<std::string>().find("connect") != std::string::npos);
  }

  TEST_CASE("the report for people tells the same") {
    fake_node node{{.flaw = defect::repeat}};
    auto options = small_load(node);
    options.prints_json = false;
    std::ostringstream out;
    std::ostringstream progress;
    CHECK(run_bench(options, out, progress, no_interrupts) == exit_fault);
    CAPTURE(out.str());
    CHECK(out.str().find("checks: FAILED {\"repeat\":1}") != std::string::npos);
    CHECK(out.str().find("repeat: connection ") != std::string::npos);
    CHECK(out.str().find("accepted") != std::string::npos);
    CHECK(out.str().find("limits it told") != std::string::npos);
  }
}
