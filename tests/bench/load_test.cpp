/// The load tool as a whole against a node that can be made to break each promise: what it does wrong must be found, and
/// what is a node's right must not be called wrong.

#include "bench/options.hpp"
#include "bench/run_context.hpp"
#include "bench/slow_worker.hpp"
#include "tests/bench/fake_node.hpp"
#include "tests/bench/scratch_directory.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <utility>

using namespace parley::bench;
using nlohmann::json;

namespace {

const std::atomic<int> no_interrupts{0};

bench_options small_load(const fake_node& node) {
  bench_options o;
  o.scenario = "send";
  o.url = node.url();
  o.master_key = fake_node::master_key;
  o.connections = 20;
  o.rooms = 10;
  o.members = {2};
  o.senders = 20;
  o.in_flight = 2;
  o.content_bytes = 100;
  o.duration_s = 0.15;
  o.warmup_s = 0.05;
  o.settle_s = 3;
  o.connect_deadline_s = 20;
  o.prints_json = true;
  o.is_quiet = true;
  return o;
}

bench_options small_herd(const fake_node& node, const char* scenario) {
  bench_options o = small_load(node);
  o.scenario = scenario;
  o.connections = 30;
  o.rooms = 6;
  o.rooms_each = 2;
  o.senders = 3;
  o.in_flight = 16;
  o.rate = 300;
  o.warmup_s = 0.3;
  o.rest_s = 0.1;
  o.return_deadline_s = 10;
  o.has_manual_sync = true;
  return o;
}

/// Each message went to its talker and to ten listeners, give or take one or two a room. (That nobody missed any is for the
/// checks of the run; this shows that they had something to check.)
bool all_came(const json& run_report, const fake_node& node) {
  const auto deliveries = run_report["checked_deliveries"].get<double>();
  const auto messages = static_cast<double>(node.messages());
  return messages > 50 && deliveries > 10 * messages && deliveries < 12 * messages;
}

/// The fake node in the place of a spawned one: a script that says it listens where the fake node does, and drains that
/// when it is told to end.
class spawned_fake {
 public:
  explicit spawned_fake(const fake_node& node, int status = 0) {
    const auto script = scratch_.path() / "parley";
    const std::string port = std::to_string(node.port());
    std::ofstream{script}
        << "#!/bin/bash\ndrain() {\n  exec 3<>/dev/tcp/127.0.0.1/" << port
        << "\n  printf 'POST /drain HTTP/1.1\\r\\n\\r\\n' >&3\n  head -c 12 <&3 >/dev/null\n"
        << "  exit " << status
        << "\n}\ntrap drain TERM\necho '{\"msg\":\"listening\",\"address\":\"127.0.0.1:" << port
        << "\"}' >&2\nwhile :; do sleep 0.02; done\n";
    std::filesystem::permissions(script, std::filesystem::perms::owner_all);
    const char* const before = std::getenv("PARLEY_BIN");
    has_been_set_ = before != nullptr;
    if (before != nullptr) kept_ = before;
    setenv("PARLEY_BIN", script.c_str(), 1);
  }
  ~spawned_fake() {
    has_been_set_ ? setenv("PARLEY_BIN", kept_.c_str(), 1) : unsetenv("PARLEY_BIN");
  }
  spawned_fake(const spawned_fake&) = delete;
  spawned_fake& operator=(const spawned_fake&) = delete;

  bench_options with(bench_options o) const {
    o.url.clear();
    o.master_key.clear();
    o.spawns = true;
    o.data_parent = scratch_.path();
    return o;
  }

 private:
  scratch_directory scratch_;
  bool has_been_set_ = false;
  std::string kept_;
};

struct outcome {
  int code = -1;
  json report;
  [[nodiscard]] bool found(const char* fault) const {
    return report["checks"]["faults"].contains(fault);
  }
};

outcome run(const bench_options& options, const std::atomic<int>& interrupts = no_interrupts) {
  std::ostringstream out;
  std::ostringstream progress;
  outcome result;
  result.code = run_bench(options, out, progress, interrupts);
  result.report = json::parse(out.str());
  CHECK(result.report["exit_code"] == result.code);
  return result;
}

}  // namespace

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

TEST_SUITE("bench: herds") {
  TEST_CASE("connect: all come at once while messages flow, and have every room's whole log") {
    for (const std::uint32_t threads : {1U, 2U}) {
      for (const bool is_manual : {false, true}) {
        CAPTURE(threads);
        fake_node node;
        auto options = small_herd(node, "connect");
        options.threads = threads;
        options.has_manual_sync = is_manual;
        const auto result = run(options);
        CAPTURE(result.report.dump(2));
        CHECK(result.code == exit_ok);
        const json& report = result.report["runs"][0];
        CHECK(report["connects"] == 30);
        const json& herd = report["herds"][0];
        CHECK(herd["back"] == 30);
        CHECK(herd["left"] == 0);
        CHECK(herd["curve"].back()["back"] == 30);
        CHECK(report["return_hello_times"]["count"] == 30);
        CHECK(report["return_ready_times"]["count"] == 30);
        CHECK(all_came(report, node));
        CHECK(node.messages() > 100);
        CHECK(report["loop"] == "open");
      }
    }
  }

  TEST_CASE("connect: over a time, if asked") {
    fake_node node;
    auto options = small_herd(node, "connect");
    options.spread_s = 0.5;
    const auto result = run(options);
    CAPTURE(result.report.dump(2));
    CHECK(result.code == exit_ok);
    CHECK(result.report["runs"][0]["herds"][0]["all_back_s"] > 0.3);
  }

  TEST_CASE("storm: all listeners are cut and come back to the entry, herd after herd") {
    for (const std::uint32_t threads : {1U, 3U}) {
      CAPTURE(threads);
      fake_node node;
      auto options = small_herd(node, "storm");
      options.threads = threads;
      options.herds = 2;
      options.spread_s = 0.2;  // so that something is missed
      options.node_pid = static_cast<std::int32_t>(getpid());
      const auto result = run(options);
      CAPTURE(result.report.dump(2));
      CHECK(result.code == exit_ok);
      const json& report = result.report["runs"][0];
      REQUIRE(report["herds"].size() == 2);
      for (const json& herd : report["herds"]) {
        CHECK(herd["left"] == 30);
        CHECK(herd["back"] == 30);
        CHECK(herd["all_back_s"] > 0.1);
        CHECK(herd["silences"]["count"] == 30);
        CHECK(herd["rss_peak_bytes"] >= herd["rss_before_bytes"]);
      }
      CHECK(report.contains("rss_change_between_herds_bytes"));
      CHECK(all_came(report, node));
      CHECK(report["resume"]["gaps"] == 0);
      CHECK(report["resume"]["repeated_after_resume"] == 0);
      CHECK(node.returns() == 60);
    }
  }

  TEST_CASE("storm: with sync=auto they resume from what they acknowledged") {
    fake_node node;
    auto options = small_herd(node, "storm");
    options.has_manual_sync = false;
    options.ack_every_s = 0.15;
    options.warmup_s = 0.6;
    options.spread_s = 0.1;
    const auto result = run(options);
    CAPTURE(result.report.dump(2));
    CHECK(result.code == exit_ok);
    const json& resume = result.report["runs"][0]["resume"];
    CHECK(resume["repeated_after_resume"] > 0);
    // Less than all that was sent in the first 0.6 s: the acknowledged is not repeated.
    CHECK(resume["repeated_after_resume"] < 10 * 180 * 0.6);
  }

  TEST_CASE("storm by drain: a restart in between, with delays that are not obeyed") {
    fake_node node{{.takes_any_master_key = true}};
    const spawned_fake spawned{node};
    auto options = spawned.with(small_herd(node, "storm"));
    options.by = "drain";
    options.herds = 2;
    const auto result = run(options);
    CAPTURE(result.report.dump(2));
    CHECK(result.code == exit_ok);
    const json& report = result.report["runs"][0];
    for (const json& herd : report["herds"]) {
      CHECK(herd["exit_ok"] == true);
      CHECK(herd["left"] == 33);
      CHECK(herd["back"] == 33);
      CHECK(herd["told_delays"] == 33);
    }
    CHECK(report["close_codes"]["1012"] == 66);
  }

  TEST_CASE("drain: each comes back when it was told, and its silence is measured") {
    fake_node node{{.takes_any_master_key = true}};
    const spawned_fake spawned{node};
    auto options = spawned.with(small_herd(node, "drain"));
    options.by = "drain";
    options.obeys = true;
    const auto result = run(options);
    CAPTURE(result.report.dump(2));
    CHECK(result.code == exit_ok);
    const json& herd = result.report["runs"][0]["herds"][0];
    CHECK(herd["back"] == 33);
    CHECK(herd["silences"]["count"] == 33);
    CHECK(herd["silences"]["min_ms"] >= 50);  // the least delay that is told
    CHECK(all_came(result.report["runs"][0], node));
  }

  TEST_CASE(
      "drain: a send whose answer was lost is sent again and answered with its first result") {
    fake_node node{{.flaw = defect::answer_not, .takes_any_master_key = true}};
    const spawned_fake spawned{node};
    auto options = spawned.with(small_herd(node, "drain"));
    options.by = "drain";
    options.obeys = true;
    const auto result = run(options);
    CAPTURE(result.report.dump(2));
    CHECK(result.code == exit_ok);
    CHECK(node.duplicates() == 1);
    CHECK(result.report["runs"][0]["resume"]["duplicates"] == 1);
  }

  struct row {
    defect flaw;
    const char* fault;
  };

  TEST_CASE("each defect of a resumed sync is found") {
    const row rows[] = {
        {defect::resume_drop, "hole"},         {defect::resume_short, "sync"},
        {defect::resume_short, "hole"},        {defect::resume_repeat, "repeat"},
        {defect::resume_swap, "out_of_order"}, {defect::resume_other, "two_histories"},
        {defect::resume_gap, "gap"},           {defect::resume_reset, "sync"},
    };
    for (const row& each : rows) {
      CAPTURE(each.fault);
      CAPTURE(static_cast<int>(each.flaw));
      fake_node node{{.flaw = each.flaw}};
      auto options = small_herd(node, "storm");
      options.spread_s = 0.3;
      options.settle_s = 0.5;
      const auto result = run(options);
      CAPTURE(result.report.dump(2));
      CHECK(result.code == exit_fault);
      CHECK(result.found(each.fault));
    }
  }

  TEST_CASE("a gap is a number, and no fault when allowed") {
    fake_node node{{.flaw = defect::resume_gap}};
    auto options = small_herd(node, "storm");
    options.spread_s = 0.3;
    options.allows_gaps = true;
    const auto result = run(options);
    CAPTURE(result.report.dump(2));
    CHECK(result.code == exit_ok);
    CHECK(result.report["runs"][0]["resume"]["gaps"] == 1);
    CHECK(result.report["runs"][0]["resume"]["entries_in_gaps"] == 1);
  }

  TEST_CASE("each defect of a drain is found") {
    const row rows[] = {{defect::new_epoch, "sync"},
                        {defect::forget_keys, "stored_twice"},
                        {defect::wrong_drain_code, "connection"}};
    for (const row& each : rows) {
      CAPTURE(each.fault);
      fake_node node{{.flaw = each.flaw, .takes_any_master_key = true}};
      const spawned_fake spawned{node};
      auto options = spawned.with(small_herd(node, "drain"));
      options.by = "drain";
      options.obeys = true;
      options.settle_s = 0.5;
      const auto result = run(options);
      CAPTURE(result.report.dump(2));
      CHECK(result.code == exit_fault);
      CHECK(result.found(each.fault));
    }
    fake_node node{{.takes_any_master_key = true}};
    const spawned_fake spawned{node, 3};
    auto options = spawned.with(small_herd(node, "drain"));
    options.by = "drain";
    const auto result = run(options);
    CHECK(result.code == exit_fault);
    CHECK(result.found("node"));
  }

  TEST_CASE("those who are not back in time are told") {
    fake_node node;
    auto options = small_herd(node, "storm");
    options.spread_s = 30;
    options.return_deadline_s = 0.3;
    options.settle_s = 0.1;
    const auto result = run(options);
    CAPTURE(result.report.dump(2));
    CHECK(result.code == exit_fault);
    CHECK(result.found("connection"));
  }

  TEST_CASE("the report for people has the curve") {
    fake_node node;
    auto options = small_herd(node, "storm");
    options.prints_json = false;
    std::ostringstream out;
    std::ostringstream progress;
    CHECK(run_bench(options, out, progress, no_interrupts) == exit_ok);
    CAPTURE(out.str());
    CHECK(out.str().find("herd 1") != std::string::npos);
    CHECK(out.str().find("0.25 s: 30") != std::string::npos);
    CHECK(out.str().find("open loop: 300 messages a second") != std::string::npos);
    CHECK(out.str().find("checks: ok") != std::string::npos);
  }
}

TEST_SUITE("bench: slow readers") {
  TEST_CASE("exactly so many stop, spread evenly") {
    for (const auto& [audience, stopped] :
         {std::pair{30U, 4U}, std::pair{7U, 6U}, std::pair{5U, 1U}}) {
      std::uint32_t count = 0;
      for (std::uint32_t i = 0; i < audience; ++i)
        count += is_stopper(i, audience, stopped) ? 1 : 0;
      CHECK(count == stopped);
    }
  }

  bench_options small_slow(const fake_node& node) {
    auto o = small_herd(node, "slow");
    o.stopped = 4;
    o.stop_s = 0.8;
    o.duration_s = 0.3;
    o.rounds = 2;
    o.content_bytes = 2000;
    o.receive_buffer_bytes = 4096;
    return o;
  }

  TEST_CASE(
      "the stopped are closed, come back and miss nothing; the others are measured by round") {
    for (const std::uint32_t threads : {1U, 2U}) {
      CAPTURE(threads);
      fake_node node{{.stall_ns = 200'000'000}};
      auto options = small_slow(node);
      options.threads = threads;
      const auto result = run(options);
      CAPTURE(result.report.dump(2));
      CHECK(result.code == exit_ok);
      const json& report = result.report["runs"][0];
      REQUIRE(report["rounds"].size() == 2);
      for (const json& round : report["rounds"]) {
        CHECK(round["all_read"]["count"] > 0);
        CHECK(round["some_stopped"]["count"] > round["all_read"]["count"]);
      }
      CHECK(report["others"]["some_stopped_p99_ms"] > 0);
      CHECK(report["close_codes"] == json{{"1006", 8}});  // 4008 finds no room in a full socket
      CHECK(node.returns() == 8);
      CHECK(all_came(report, node));
    }
  }

  TEST_CASE("one that was not closed reads on") {
    fake_node node;
    const auto result = run(small_slow(node));
    CAPTURE(result.report.dump(2));
    CHECK(result.code == exit_ok);
    CHECK(result.report["runs"][0]["close_codes"].empty());
    CHECK(all_came(result.report["runs"][0], node));
  }

  TEST_CASE("what is lost to a stopped reader is found") {
    fake_node node{{.flaw = defect::resume_drop, .stall_ns = 200'000'000}};
    auto options = small_slow(node);
    options.settle_s = 0.5;
    const auto result = run(options);
    CAPTURE(result.report.dump(2));
    CHECK(result.code == exit_fault);
    CHECK(result.found("hole"));
  }
}

TEST_SUITE("bench: presence and typing") {
  bench_options small_presence(const fake_node& node) {
    auto o = small_herd(node, "presence");
    o.connections = 45;
    o.members = {12};
    o.togglers = 3;
    o.rate = 50;
    o.grace_s = 1;
    return o;
  }

  TEST_CASE(
      "a node that keeps to the contract: every change is shown to every member, nothing else") {
    fake_node node{{.presence_max_members = 12, .presence_grace_ns = 1'000'000'000}};
    auto options = small_presence(node);
    options.requires_all = true;
    options.threads = 2;
    const auto result = run(options);
    CAPTURE(result.report.dump(2));
    CHECK(result.code == exit_ok);
    const json& steps = result.report["runs"][0]["steps"];
    REQUIRE(steps.size() == 7);
    CHECK(steps[0]["seen"] == 0);
    for (std::size_t i = 1; i < steps.size(); ++i) CHECK(steps[i]["seen"] == 3 * 9);
    CHECK(steps[1]["answered_ok"] == 6);
    CHECK(result.report["runs"][0]["herd_was_within_grace"] == true);
  }

  TEST_CASE("a node that serves neither is told so, and fails only if all is required") {
    for (const bool is_required : {false, true}) {
      fake_node node;
      auto options = small_presence(node);
      options.requires_all = is_required;
      const auto result = run(options);
      CAPTURE(result.report.dump(2));
      CHECK(result.code == (is_required ? exit_fault : exit_ok));
      const json& steps = result.report["runs"][0]["steps"];
      CHECK(steps[1]["seen"] == 0);
      CHECK(steps[1]["expected"] == 27);
      CHECK(steps[1]["answered_unserved"] == 6);
    }
  }

  TEST_CASE("what must not be shown is found") {
    for (const defect flaw : {defect::flap, defect::show_in_big_rooms, defect::show_strangers}) {
      CAPTURE(static_cast<int>(flaw));
      fake_node node{{.flaw = flaw, .presence_max_members = 12, .presence_grace_ns = 1'000'000'000}};
      const auto result = run(small_presence(node));
      CAPTURE(result.report.dump(2));
      CHECK(result.code == exit_fault);
      CHECK(result.found("uninvited"));
    }
  }
}
