#include "bench/report.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

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

void print_run(std::ostream& out, const ordered_json& run) {
  out << fmt::format("\n{} connections, {} rooms of {}", with_commas(number(run, "connections")),
                     with_commas(number(run, "rooms")), with_commas(number(run, "members")));
  if (run.contains("senders")) {
    out << fmt::format(", {} senders, {} in flight each, {} bytes, ",
                       with_commas(number(run, "senders")), number(run, "in_flight"),
                       number(run, "content_bytes"));
    const double rate = number(run, "rate_per_s");
    out << (rate > 0 ? fmt::format("paced: {} messages a second", with_commas(rate))
                     : std::string{"closed loop"});
  }
  out << '\n';
  out << fmt::format("  {:<18} {} /s   ({} in {:.2f} s)\n", "connected",
                     with_commas(number(run, "connects_per_s")),
                     with_commas(number(run, "connects")), number(run, "connect_s"));
  print_times(out, "connect → hello", run, "hello_times");
  print_times(out, "connect → synced", run, "ready_times");
  print_rate(out, "accepted", run, "accepted");
  print_rate(out, "deliveries", run, "deliveries");
  print_times(out, "send → accepted", run, "accept_times");
  print_times(out, "send → delivery", run, "delivery_times");
  print_times(out, "send → last reader", run, "last_delivery_times");
  if (number(run, "overdue") > 0) {
    out << fmt::format("  {:<18} {} messages were due, but no sender was free for them\n",
                       "overdue", with_commas(number(run, "overdue")));
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
  for (std::size_t at = digits.size(); at > first + 3;) digits.insert(at -= 3, ",");
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
