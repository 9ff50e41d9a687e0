#include "bench/report.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <ostream>
#include <string>
#include <string_view>

namespace parley::bench {
namespace {

using nlohmann::ordered_json;

double rounded(double value, double steps = 1000) { return std::round(value * steps) / steps; }

double ms(std::int64_t ns) { return rounded(static_cast<double>(ns) / 1e6); }

double number(const ordered_json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

void print_times(std::ostream& out, std::string_view name, const ordered_json& run,
                 const char* field) {
  const auto times = run.find(field);
  if (times == run.end() || number(*times, "count") == 0) return;
  out << fmt::format("  {:<18} p50 {:.2f}  p90 {:.2f}  p99 {:.2f}  p99.9 {:.2f}  max {:.2f} ms\n",
                     name, number(*times, "p50_ms"), number(*times, "p90_ms"),
                     number(*times, "p99_ms"), number(*times, "p99_9_ms"), number(*times, "max_ms"));
}

void print_rate(std::ostream& out, std::string_view name, const ordered_json& run,
                const std::string& field) {
  if (!run.contains(field + "_per_s")) return;
  out << fmt::format("  {:<18} {} /s   ({} in {:.1f} s)\n", name,
                     with_commas(number(run, (field + "_per_s").c_str())),
                     with_commas(number(run, field.c_str())), number(run, "seconds"));
}

void print_process(std::ostream& out, std::string_view name, const ordered_json& run,
                   const char* field) {
  const auto usage = run.find(field);
  if (usage == run.end() || !usage->is_object()) return;
  out << fmt::format("  {:<18} {:.2f} s of CPU ({:.2f} % of a core)", name, number(*usage, "cpu_s"),
                     number(*usage, "cpu_cores") * 100);
  if (usage->contains("cpu_us_per_message")) {
    out << fmt::format(", {:.1f} µs a message, {:.2f} µs a delivery",
                       number(*usage, "cpu_us_per_message"), number(*usage, "cpu_us_per_delivery"));
  }
  out << fmt::format(", RSS {:.1f} MiB, peak {:.1f} MiB\n", number(*usage, "rss_bytes") / 1048576,
                     number(*usage, "rss_peak_bytes") / 1048576);
}

double mib(const ordered_json& object, const char* name) { return number(object, name) / 1048576; }

void print_herd(std::ostream& out, const ordered_json& herd) {
  out << fmt::format(
      "  herd {}             {} clients left, {} are back: half in {:.2f} s, 99 % in "
      "{:.2f} s, all in {:.2f} s ({} /s)\n",
      number(herd, "number"), with_commas(number(herd, "left")), with_commas(number(herd, "back")),
      number(herd, "half_back_s"), number(herd, "p99_back_s"), number(herd, "all_back_s"),
      with_commas(number(herd, "back_per_s")));
  out << "    back after      ";
  for (const auto& point : herd.value("curve", ordered_json::array())) {
    out << fmt::format(" {:g} s: {} ", number(point, "after_s"), with_commas(number(point, "back")));
  }
  out << '\n';
  if (herd.contains("exit_s")) {
    out << fmt::format(
        "    the node         {} {:.2f} s after SIGTERM, listened again {:.2f} s after "
        "its start; told {} clients when to come back\n",
        herd.value("exit_ok", false) ? "exited with 0" : "ENDED BADLY", number(herd, "exit_s"),
        number(herd, "listen_again_s"), with_commas(number(herd, "told_delays")));
  }
  print_times(out, "  silence", herd, "silences");
  if (herd.contains("rss_before_bytes")) {
    out << fmt::format(
        "    the node's RSS   {:.1f} MiB before, {:.1f} peak (× {:.2f}), {:.1f} after\n",
        mib(herd, "rss_before_bytes"), mib(herd, "rss_peak_bytes"), number(herd, "rss_peak_times"),
        mib(herd, "rss_after_bytes"));
  }
}

void print_rounds(std::ostream& out, const ordered_json& run) {
  for (const auto& round : run["rounds"]) {
    const auto times = [&](const char* part, const char* name) {
      return number(round.value(part, ordered_json::object()), name);
    };
    out << fmt::format(
        "  round {}            others p50 {:.2f} → {:.2f}, p99 {:.2f} → {:.2f} ms; all "
        "back in {:.2f} s",
        number(round, "round"), times("all_read", "p50_ms"), times("some_stopped", "p50_ms"),
        times("all_read", "p99_ms"), times("some_stopped", "p99_ms"), number(round, "all_back_s"));
    if (round.contains("rss_all_read_bytes")) {
      out << fmt::format("; RSS {:.1f} → {:.1f} MiB", mib(round, "rss_all_read_bytes"),
                         mib(round, "rss_some_stopped_bytes"));
    }
    out << '\n';
  }
  const auto& others = run["others"];
  out << fmt::format(
      "  medians            all read: p50 {:.2f} p99 {:.2f} ms; {} of {} stopped for {:g} "
      "s: p50 {:.2f} p99 {:.2f} ms\n",
      number(others, "all_read_p50_ms"), number(others, "all_read_p99_ms"), number(run, "stopped"),
      number(run, "audience"), number(run, "stop_s"), number(others, "some_stopped_p50_ms"),
      number(others, "some_stopped_p99_ms"));
}

void print_steps(std::ostream& out, const ordered_json& run) {
  for (const auto& step : run["steps"]) {
    out << fmt::format("  {}: {} seen of {} expected", step.value("step", ""),
                       with_commas(number(step, "seen")), with_commas(number(step, "expected")));
    const double uninvited = number(step, "others") + number(step, "beyond_limit") +
                             number(step, "about_herd") + number(step, "about_strangers");
    out << fmt::format(", {} others", with_commas(uninvited));
    if (number(step, "answered_ok") > 0) out << fmt::format(", {} ok", number(step, "answered_ok"));
    if (number(step, "answered_unserved") > 0) {
      out << fmt::format(", {} answered as not served", number(step, "answered_unserved"));
    }
    out << '\n';
  }
  if (!run.value("herd_was_within_grace", true)) {
    out << "  the herd was away for longer than the grace: what is shown of it may be right\n";
  }
}

void print_resumes(std::ostream& out, const ordered_json& run) {
  const auto& resume = run["resume"];
  out << fmt::format(
      "  resumed            {} gaps ({} entries), {} entries again before the position, "
      "{} sends repeated ({} were stored before)\n",
      with_commas(number(resume, "gaps")), with_commas(number(resume, "entries_in_gaps")),
      with_commas(number(resume, "repeated_after_resume")), with_commas(number(resume, "resent")),
      with_commas(number(resume, "duplicates")));
  if (!run["close_codes"].empty()) {
    out << "  close codes        " << run["close_codes"].dump() << '\n';
  }
  if (!run["refused_upgrades"].empty()) {
    out << "  refused upgrades   " << run["refused_upgrades"].dump() << '\n';
  }
}

void print_webhook(std::ostream& out, const ordered_json& run) {
  const auto& told = run["webhook"];
  if (!told.value("enabled", false)) {
    out << fmt::format("  without a webhook  the node used {:.1f} µs of CPU a message\n",
                       number(told, "cpu_us_per_message_all_told"));
    return;
  }
  out << fmt::format(
      "  with a webhook     {} events, {} /s ({} /s while sends went on; {} waited then, {:.2f} "
      "s); {} repeats; the "
      "node used {:.1f} µs of CPU a message\n",
      with_commas(number(told, "events")), with_commas(number(told, "events_per_s")),
      with_commas(number(told, "events_per_s_beside_load")),
      with_commas(number(told, "waited_at_end")), number(told, "drain_s"), number(told, "repeats"),
      number(told, "cpu_us_per_message_all_told"));
  print_times(out, "commit → endpoint", told, "lag_times");
}

void print_webhook_summary(std::ostream& out, const ordered_json& all) {
  out << fmt::format(
      "\nmedians of {} rounds: {} accepted/s without a webhook, {} with (× {:.2f}); {:.1f} → "
      "{:.1f} µs of the node's "
      "CPU a message; {} events/s\n",
      number(all, "rounds"), with_commas(number(all, "accepted_per_s_without")),
      with_commas(number(all, "accepted_per_s_with")),
      number(all, "accepted_per_s_with") / std::max(1.0, number(all, "accepted_per_s_without")),
      number(all, "cpu_us_per_message_without"), number(all, "cpu_us_per_message_with"),
      with_commas(number(all, "events_per_s")));
  out << fmt::format("at {} messages a second: {:.0f} → {:.0f} µs of the node's CPU a message\n",
                     with_commas(number(all, "lag_rate_per_s")),
                     number(all, "lag_cpu_us_per_message_without"),
                     number(all, "lag_cpu_us_per_message_with"));
  print_times(out, "commit → endpoint", all, "lag_times");
}

void print_dead(std::ostream& out, const ordered_json& dead) {
  out << fmt::format(
      "\n{} messages without a webhook, then as many of an endpoint that refuses: RSS {:.1f} → "
      "{:.1f} MiB, database {:.1f} → {:.1f} → {:.1f} MiB\n",
      with_commas(number(dead, "events")), mib(dead, "rss_before_bytes"),
      mib(dead, "rss_queued_bytes"), mib(dead, "database_empty_bytes"),
      mib(dead, "database_before_bytes"), mib(dead, "database_queued_bytes"));
  if (!dead.contains("drain_s")) return;
  out << fmt::format(
      "killed: listens again after {:.2f} s, RSS {:.1f} MiB; the endpoint opens: first event after "
      "{:.2f} s, all {:.2f} s "
      "later ({} /s, {} repeats), RSS {:.1f} MiB\n",
      number(dead, "listen_again_s"), mib(dead, "rss_restarted_bytes"),
      number(dead, "first_after_s"), number(dead, "drain_s"),
      with_commas(number(dead, "drained_per_s")), number(dead, "repeats"),
      mib(dead, "rss_drained_bytes"));
}

void print_run(std::ostream& out, const ordered_json& run) {
  out << fmt::format("\n{} connections, {} rooms of {}", with_commas(number(run, "connections")),
                     with_commas(number(run, "rooms")), with_commas(number(run, "members")));
  if (run.contains("senders")) {
    out << fmt::format(", {} senders, {} in flight each, {} bytes, ",
                       with_commas(number(run, "senders")), number(run, "in_flight"),
                       number(run, "content_bytes"));
    const double rate = number(run, "rate_per_s");
    out << (rate > 0
                ? fmt::format("open loop: {} messages a second, latency from when each was due",
                              with_commas(rate))
                : std::string{"closed loop"});
  }
  out << '\n';
  out << fmt::format("  {:<18} {} /s   ({} in {:.2f} s)\n", "connected",
                     with_commas(number(run, "connects_per_s")),
                     with_commas(number(run, "connects")), number(run, "connect_s"));
  print_times(out, "connect → hello", run, "hello_times");
  print_times(out, "connect → synced", run, "ready_times");
  print_times(out, "due → hello", run, "return_hello_times");
  print_times(out, "due → all rooms", run, "return_ready_times");
  if (run.contains("herds")) {
    out << fmt::format("  they come          {}, sync {}\n", run.value("return", ""),
                       run.value("sync", ""));
    for (const auto& herd : run["herds"]) print_herd(out, herd);
    if (run.contains("rss_change_between_herds_bytes")) {
      out << fmt::format("  first → last herd  RSS {:+.1f} MiB\n",
                         mib(run, "rss_change_between_herds_bytes"));
    }
  }
  if (run.contains("rounds")) print_rounds(out, run);
  if (run.contains("steps")) print_steps(out, run);
  if (run.contains("resume")) print_resumes(out, run);
  if (run.contains("webhook")) print_webhook(out, run);
  print_rate(out, "accepted", run, "accepted");
  print_rate(out, "deliveries", run, "deliveries");
  print_times(out, "send → accepted", run, "accept_times");
  print_times(out, "send → delivery", run, "delivery_times");
  print_times(out, "send → last reader", run, "last_delivery_times");
  if (number(run, "overdue") > 0) {
    out << fmt::format(
        "  {:<18} {} messages were due, but no sender was free for them; each counts above as an "
        "answer that took until the end\n",
        "overdue", with_commas(number(run, "overdue")));
  }
  if (number(run, "unsent") > 0) {
    out << fmt::format(
        "  {:<18} {} messages fell due while all talkers were away, and were not sent\n", "unsent",
        with_commas(number(run, "unsent")));
  }
  if (run.contains("rss_bytes_per_connection")) {
    out << fmt::format("  {:<18} {} B of RSS ({:.1f} MiB before, {:.1f} MiB with them)\n",
                       "a connection", with_commas(number(run, "rss_bytes_per_connection")),
                       number(run, "rss_before_bytes") / 1048576,
                       number(run, "rss_after_bytes") / 1048576);
  }
  print_process(out, "the node", run, "node_usage");
  print_process(out, "parley-bench", run, "bench_usage");
  const auto errors = run.find("errors");
  if (errors != run.end() && !errors->empty())
    out << "  errors             " << errors->dump() << '\n';
}

}  // namespace

std::string with_commas(double number) {
  std::string digits = fmt::format("{:.0f}", number);
  const std::size_t first = digits.starts_with('-') ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3;) digits.insert(at -= 3, 1, ',');
  return digits;
}

ordered_json describe(const histogram& times) {
  return {{"count", times.count()},
          {"min_ms", ms(times.min_ns())},
          {"mean_ms", rounded(times.mean_ns() / 1e6)},
          {"p50_ms", ms(times.percentile_ns(50))},
          {"p90_ms", ms(times.percentile_ns(90))},
          {"p99_ms", ms(times.percentile_ns(99))},
          {"p99_9_ms", ms(times.percentile_ns(99.9))},
          {"max_ms", ms(times.max_ns())}};
}

ordered_json describe(const fault_log& faults) {
  ordered_json counts = ordered_json::object();
  for (std::size_t i = 0; i < fault_kinds; ++i) {
    const auto kind = static_cast<fault>(i);
    if (faults.count_of(kind) != 0) counts[std::string{name_of(kind)}] = faults.count_of(kind);
  }
  return {{"ok", faults.is_empty()}, {"faults", counts}, {"examples", faults.texts()}};
}

ordered_json describe_usage(const std::optional<process_usage>& before,
                            const std::optional<process_usage>& after, double seconds) {
  if (!before || !after) return nullptr;
  const double cpu_s = after->cpu_s - before->cpu_s;
  return {{"cpu_s", rounded(cpu_s, 1e6)},
          {"cpu_cores", seconds > 0 ? rounded(cpu_s / seconds, 1e6) : 0},
          {"rss_bytes", after->rss_bytes},
          {"rss_peak_bytes", after->rss_peak_bytes},
          {"threads", after->threads}};
}

void print_report(std::ostream& out, const ordered_json& report) {
  const auto part = [&](const char* name) { return report.value(name, ordered_json::object()); };
  const ordered_json node = part("node");
  const ordered_json machine = part("machine");
  const ordered_json checks = part("checks");
  out << report.value("command", "") << '\n';
  out << fmt::format("machine: {} cores, {}, {}, {} descriptors\n", number(machine, "cores"),
                     machine.value("processor", ""), machine.value("kernel", ""),
                     number(machine, "descriptors"));
  out << fmt::format("node: {} {}, {} limits, durability {}", node.value("url", ""),
                     node.value("server_version", ""), node.value("limits_setting", "?"),
                     node.value("durability", "unknown"));
  if (node.contains("filesystem")) {
    const std::string filesystem = node.value("filesystem", "");
    out << " on " << filesystem << (filesystem == "tmpfs" ? " (memory: fsync costs nothing)" : "");
  }
  out << '\n';
  if (node.contains("limits")) out << "limits it told: " << node["limits"].dump() << '\n';
  if (report.contains("setup_s")) {
    out << fmt::format("set-up: {} rooms in {:.2f} s\n", with_commas(number(report, "setup_rooms")),
                       number(report, "setup_s"));
  }
  for (const auto& run : report.value("runs", ordered_json::array())) print_run(out, run);
  if (report.contains("webhook")) print_webhook_summary(out, report["webhook"]);
  if (report.contains("dead")) print_dead(out, report["dead"]);
  out << '\n';
  if (report.contains("failure")) out << "FAILED: " << report.value("failure", "") << '\n';
  if (report.value("is_interrupted", false)) out << "interrupted: the run is shorter than asked\n";
  const bool has_traffic = number(checks, "deliveries") > 0;
  if (checks.value("ok", false) && !has_traffic) {
    out << "checks: ok. Nothing was sent, nothing came\n";
  } else if (checks.value("ok", false)) {
    out << fmt::format(
        "checks: ok. {} deliveries in order, once, alike for all readers; {} accepted, "
        "each in its room's log and with every member\n",
        with_commas(number(checks, "deliveries")), with_commas(number(checks, "accepted")));
  } else if (checks.contains("faults") && !checks["faults"].empty()) {
    out << "checks: FAILED " << checks["faults"].dump() << '\n';
    for (const auto& text : checks["examples"]) out << "  " << text.get<std::string>() << '\n';
  }
}

}  // namespace parley::bench
