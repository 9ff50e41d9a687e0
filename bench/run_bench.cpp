#include "bench/backend.hpp"
#include "bench/machine.hpp"
#include "bench/report.hpp"
#include "bench/run_context.hpp"

#include <array>
#include <cstdlib>
#include <exception>
#include <memory>
#include <ostream>
#include <string_view>

namespace parley::bench {
namespace {

struct scenario {
  std::string_view name;
  void (*run)(run_context&);
};
constexpr std::array scenarios{
    scenario{"send", run_send},       scenario{"fanout", run_fanout},
    scenario{"idle", run_idle},       scenario{"connect", run_connect},
    scenario{"storm", run_storm},     scenario{"drain", run_drain},
    scenario{"slow", run_slow},       scenario{"presence", run_presence},
    scenario{"webhook", run_webhook},
};

std::filesystem::path temporary_directory() {
  const char* const given = std::getenv("TMPDIR");
  return given != nullptr && *given != '\0' ? given : "/tmp";
}

std::unique_ptr<node_process> spawn(const bench_options& options) {
  node_options node;
  node.binary = find_node_binary();
  if (node.binary.empty()) throw setup_error{"no `parley` beside this program, nor $PARLEY_BIN"};
  node.data_parent = options.data_parent.empty() ? temporary_directory() : options.data_parent;
  node.durability = options.durability;
  node.has_shipped_limits = options.has_shipped_limits;
  // Presence is not shown for half a minute after a start, unless told otherwise.
  if (options.scenario == "presence") node.settings.emplace_back("herd_window=\"0s\"");
  // The receiver is on this machine; `message.offline`, which nobody has to ask for, is another load.
  if (options.scenario == "webhook") {
    for (const char* const line :
         {"webhook_allow_private=true", "offline_after=\"24h\"", "outbox_max_events=100000000"}) {
      node.settings.emplace_back(line);
    }
  }
  node.settings.insert(node.settings.end(), options.node_settings.begin(),
                       options.node_settings.end());
  node.keeps_data = options.keeps;
  return std::make_unique<node_process>(std::move(node));
}

void run_scenario(run_context& context) {
  const bench_options& options = context.options;
  std::unique_ptr<node_process> node;
  std::string master_key = options.master_key;
  std::string url = options.url;
  if (options.spawns) {
    node = spawn(options);
    context.node = node.get();
    url = node->url();
    master_key = node->master_key();
  }
  const url_result target = read_target_url(url, options.allows_remote);
  if (!target.url) throw setup_error{target.why};
  context.target = *target.url;

  // An ordered_json is a vector: references into the report do not outlive the next field.
  nlohmann::ordered_json about;
  about["url"] = url;
  about["spawned"] = options.spawns;
  about["limits_setting"] = !options.spawns              ? "its own"
                            : options.has_shipped_limits ? "shipped"
                                                         : "lifted";
  if (options.spawns) {
    about["durability"] = options.durability;
    about["filesystem"] = filesystem_of(node->directory());
    if (options.keeps) about["directory"] = node->directory().string();
  }
  context.report["node"] = about;

  tenant_access tenant{{}, options.api_key};
  if (tenant.api_key.empty()) {
    tenant = create_tenant(context.target, master_key, options.tenant_config);
  }
  context.api_key = tenant.api_key;
  context.master_key = master_key;
  context.tenant_id = tenant.tenant_id;

  try {
    for (const auto& each : scenarios) {
      if (each.name == options.scenario) each.run(context);
    }
  } catch (const std::exception& error) {
    if (node == nullptr || node->is_running()) throw;
    throw setup_error{std::string{error.what()} + "; " + node->stop()};  // with its last words
  }

  if (node) {
    if (const auto usage = context.node_usage()) {
      auto& whole_run = context.report["node"];
      whole_run["cpu_s"] = usage->cpu_s;
      whole_run["rss_bytes"] = usage->rss_bytes;
      whole_run["rss_peak_bytes"] = usage->rss_peak_bytes;
    }
    if (const std::string ending = node->stop(); !ending.empty()) {
      context.faults.add(fault::node, ending);
    }
    context.node = nullptr;
  } else if (!tenant.tenant_id.empty() && !options.keeps &&
             !delete_tenant(context.target, master_key, tenant.tenant_id)) {
    context.progress << "the tenant " << tenant.tenant_id << " could not be deleted\n";
  }
}

}  // namespace

std::uint32_t most_connections(run_context& context) {
  constexpr std::uint32_t usual_connections = 18'000;
  constexpr std::uint64_t descriptors_spare = 500;
  const std::uint64_t possible =
      context.descriptors > descriptors_spare ? context.descriptors - descriptors_spare : 1;
  if (possible >= usual_connections) return usual_connections;
  context.progress << context.descriptors << " descriptors allow only " << possible
                   << " connections\n";
  return static_cast<std::uint32_t>(possible);
}

int run_bench(const bench_options& options, std::ostream& out, std::ostream& progress,
              const std::atomic<int>& interrupts) {
  run_context context{options, progress, interrupts};
  auto& report = context.report;
  report["tool"] = "parley-bench";
  report["scenario"] = options.scenario;
  report["command"] = options.command_line;
  report["load"] = {{"warmup_s", options.warmup_s},
                    {"duration_s", options.scenario == "idle" ? options.idle_s : options.duration_s},
                    {"settle_s", options.settle_s},
                    {"connect_rate", options.connect_rate},
                    {"threads", options.threads},
                    {"seed", options.seed}};
  context.descriptors = raise_descriptor_limit();
  report["machine"] = describe_machine();
  bool has_failed = false;
  try {
    run_scenario(context);
  } catch (const std::exception& error) {
    has_failed = !context.is_interrupted();  // a set-up that was cut short has not failed
    report["failure"] = error.what();
  }
  const bool is_stopped = context.is_interrupted();
  report["is_interrupted"] = is_stopped;
  auto checks = describe(context.faults);
  for (const char* const name : {"deliveries", "accepted"}) {
    double sum = 0;
    for (const auto& run : report.value("runs", nlohmann::ordered_json::array())) {
      sum += run.value(std::string{"checked_"} + name, 0.0);
    }
    checks[name] = static_cast<std::uint64_t>(sum);
  }
  if (has_failed) checks["ok"] = false;
  report["checks"] = checks;
  const int code = has_failed || !context.faults.is_empty() ? exit_fault
                   : is_stopped                             ? exit_interrupted
                                                            : exit_ok;
  report["exit_code"] = code;
  if (options.prints_json) {
    out << report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
  } else {
    print_report(out, report);
    out.flush();
  }
  return code;
}

}  // namespace parley::bench
