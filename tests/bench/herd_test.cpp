/// The scenarios in which clients come back, stop reading, or toggle, against a node that can be made to break each promise.

#include "bench/slow_worker.hpp"
#include "tests/bench/load_support.hpp"

#include <unistd.h>

#include <string_view>
#include <utility>

using namespace parley::bench;
using nlohmann::json;

namespace {

bench_options small_herd(const fake_node& node, const char* scenario) {
  bench_options o = small_load(node);
  o.scenario = scenario;
  o.connections = std::string_view{scenario} == "connect" ? 30 : 33;  // with the talkers
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

}  // namespace

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
