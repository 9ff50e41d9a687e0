// `parley serve`: from the configuration to a running node, and from a signal to its end.

#include "app/commands.hpp"
#include "app/config_values.hpp"
#include "app/dev_demo.hpp"
#include "app/key_files.hpp"
#include "app/ledger.hpp"
#include "app/log.hpp"
#include "app/machine.hpp"
#include "app/node.hpp"
#include "app/signals.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <sstream>
#include <thread>
#include <utility>

namespace parley::app {
namespace {

using asio_tcp = boost::asio::ip::tcp;
using namespace std::chrono_literals;

constexpr std::uint64_t good_descriptors = 4096;  // below it a node is for trying things out
constexpr std::uint64_t good_backlog =
    1024;  // fewer waiting connections overflow when everybody reconnects

std::string text_of(const asio_tcp::endpoint& endpoint) {
  std::ostringstream out;
  out << endpoint;
  return out.str();
}

result<asio_tcp::endpoint> resolve(const std::string& key, const std::string& listen_addr) {
  const auto where = parse_host_port(listen_addr);
  if (!where) return invalid(key, key + ": " + in_quotes(listen_addr) + " is no address");
  if (where->host.empty()) return asio_tcp::endpoint{asio_tcp::v4(), where->port};
  boost::system::error_code code;
  if (const auto address = boost::asio::ip::make_address(where->host, code); !code) {
    return asio_tcp::endpoint{address, where->port};
  }
  boost::asio::io_context io{1};
  asio_tcp::resolver resolver{io};
  const auto found = resolver.resolve(where->host, "", code);
  if (code || found.empty()) {
    return invalid(key, key + ": " + in_quotes(where->host) + " is not known: " + code.message());
  }
  auto best = *found.begin();
  for (const auto& one : found) {
    if (one.endpoint().address().is_v4()) {
      best = one;
      break;
    }
  }
  return asio_tcp::endpoint{best.endpoint().address(), where->port};
}

node_options options_from(const config& c, const machine_facts& machine) {
  node_options o;
  o.database = c.database_file();
  o.durability = c.durability;
  o.master_api_key = c.master_api_key;
  o.version = program_version();
  o.io_threads = io_thread_count(c, machine.cores);
  o.reader_threads = c.reader_threads;
  o.allowed_origins = c.ws_allowed_origins;
  for (const auto& range : c.metrics_allow)
    o.metrics_allow.push_back(*net::parse_address_range(range));
  o.ws_jwt_in_query = c.ws_jwt_in_query;
  o.limits = c.limits;
  o.limits.ws_max_connections = static_cast<std::uint32_t>(connection_capacity(c, machine));
  o.max_connections_per_tenant = c.max_connections_per_tenant;
  o.max_connections_per_address = c.max_connections_per_address;
  o.max_rooms_per_tenant = c.max_rooms_per_tenant;
  o.ws_max_unauthenticated = c.ws_max_unauthenticated;
  o.default_rate_limit = c.default_rate_limit;
  o.default_message_rate = c.default_message_rate;
  o.user_send_rate = c.user_send_rate;
  o.user_send_burst = c.user_send_burst;
  o.ws_frame_rate = c.ws_frame_rate;
  o.ws_frame_burst = c.ws_frame_burst;
  o.ws_connect_rate = c.ws_connect_rate;
  o.auth_failure_rate_per_min = c.auth_failure_rate;
  o.ws_ticket_ttl = c.ws_ticket_ttl;
  o.presence_grace = c.presence_grace;
  o.herd_window = c.herd_window;
  o.typing_interval = c.typing_interval;
  o.typing_timeout = c.typing_timeout;
  o.presence_max_members = c.presence_max_members;
  o.receipt_max_members = c.receipt_max_members;
  o.typing_max_members = c.typing_max_members;
  o.webhook_allow_private = c.webhook_allow_private;
  o.webhook_timeout = c.webhook_timeout;
  o.webhook_ca_file = c.webhook_ca_file;
  o.offline_after = c.offline_after;
  o.offline_webhook_max_members = c.offline_webhook_max_members;
  o.retry_max_attempts = c.retry_max_attempts;
  o.retry_interval = c.retry_interval;
  o.retry_max_interval = c.retry_max_interval;
  o.webhook_max_in_flight = c.webhook_max_in_flight;
  o.outbox_max_events = c.outbox_max_events;
  o.dead_letter_ttl = c.dead_letter_ttl;
  o.worker_interval = c.worker_interval;
  o.message_retention = c.message_retention;
  o.reconnect_window = c.reconnect_window;
  return o;
}

void warn_about_machine(const config& c, const machine_facts& machine) {
  if (machine.descriptors < good_descriptors) {
    log(log_level::warn, "few file descriptors",
        {{"limit", machine.descriptors},
         {"advice",
          "each connection takes one: raise the limit with `ulimit -n 65536`, or LimitNOFILE= in "
          "the unit"}});
  }
  if (c.limits.ws_max_connections > machine.descriptors) {
    log(log_level::warn, "ws_max_connections exceeds the file descriptors",
        {{"ws_max_connections", c.limits.ws_max_connections}, {"limit", machine.descriptors}});
  }
  if (const auto backlog = listen_backlog_limit(); backlog != 0 && backlog < good_backlog) {
    log(log_level::warn, "a short queue for new connections",
        {{"somaxconn", backlog}, {"advice", "sysctl net.core.somaxconn=4096"}});
  }
}

/// PARLEY_BREAK breaks a promise on purpose: never silently.
void warn_of_planted_defect() {
#ifdef PARLEY_PLANTED_DEFECTS
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing changes the environment.
  if (const char* name = std::getenv("PARLEY_BREAK"); name != nullptr && *name != '\0') {
    log(log_level::warn, "a defect is planted: for tests only", {{"defect", name}});
  }
#endif
}

/// One run of the node, from its configuration to its end.
class serving {
 public:
  explicit serving(const serve_arguments& arguments) : arguments_(arguments) {}

  exit_status run() {
    const auto loaded = load_or_report(inputs_from(arguments_.config, arguments_.dev), std::cerr);
    if (!loaded) return exit_status::usage;
    config_ = loaded->values;
    install_logging(config_.log_format, config_.log_level);
    for (const auto& warning : loaded->warnings) log(log_level::warn, warning);

    if (config_.master_api_key.empty() && !arguments_.dev) {
      return refuse(exit_status::usage,
                    "master_api_key is not set: set PARLEY_MASTER_API_KEY (`openssl rand -hex 32` "
                    "makes one), "
                    "or try things out with `parley serve --dev`");
    }
    ::umask(S_IRWXG | S_IRWXO);  // whatever the data directory's mode: its files are the node's alone
    block_signals();
    const auto machine = look_at_machine();
    warn_about_machine(config_, machine);
    if (const auto problem = ledger_problem(memory_ledger(config_, machine), machine);
        !problem.empty()) {
      return refuse(exit_status::usage, problem);
    }
    if (auto ready = prepare_data_dir(); !ready)
      return refuse(status_of(ready.error()), ready.error().message);
    auto options = options_from(config_, machine);
    auto endpoint = resolve("listen_addr", config_.listen_addr);
    if (!endpoint) return refuse(exit_status::usage, endpoint.error().message);
    options.listen = *endpoint;
    if (!config_.admin_listen.empty()) {
      auto admin = resolve("admin_listen", config_.admin_listen);
      if (!admin) return refuse(exit_status::usage, admin.error().message);
      options.admin_listen = *admin;
    }
    options.secret_key = secret_key_;
    options.on_fatal = [](int status, const std::string& why) {
      log(log_level::error, "the node can't go on", {{"why", why}, {"status", status}});
      ::_exit(status);
    };

    signal_watch signals{[] { log(log_level::notice, "second signal: ending at once"); }};
    log(log_level::notice, "starting",
        {{"version", program_version()},
         {"database", options.database.string()},
         {"durability", config_.durability == store::durability::full ? "full" : "normal"},
         {"io_threads", options.io_threads},
         {"ws_max_connections", options.limits.ws_max_connections}});
    warn_of_planted_defect();
    auto started = node::start(options);
    if (!started) return refuse(status_of_start(started.error()), started.error().message);
    node_ = std::move(*started);
    if (const auto admin = node_->admin_endpoint())
      log(log_level::notice, "listening for the operator", {{"address", text_of(*admin)}});
    log(log_level::notice, "listening",
        {{"address", text_of(node_->local_endpoint())},
         {"pid", ::getpid()},
         {"version", program_version()}});
    if (arguments_.dev) show_how_to_connect();
    serve_until_end(signals, machine);
    return drain(signals);
  }

 private:
  static exit_status refuse(exit_status status, const std::string& why) {
    log(log_level::error, "can't start", {{"why", why}});
    return status;
  }

  /// What the node calls invalid was configured by us: a failure, not the user's words.
  static exit_status status_of_start(const error& failure) {
    const bool io = failure.code == error_code::unavailable || failure.field == "io";
    return io ? exit_status::io_error : exit_status::failure;
  }

  result<void> prepare_data_dir() {
    if (auto made = make_data_dir(config_.data_dir); !made) return made;
    if (auto made = make_data_dir(config_.database_file().parent_path()); !made) return made;
    if (!config_.secret_key.empty()) {
      secret_key_ = *parse_secret_key(config_.secret_key);
    } else {
      std::error_code no_file;
      const bool has_database = std::filesystem::exists(config_.database_file(), no_file);
      const auto loaded = load_secret_key(config_.data_dir, system_random());
      if (!loaded) return loaded.error();
      secret_key_ = loaded->key;
      if (loaded->created && has_database) {
        log(log_level::warn, "made a new secret_key beside an existing database",
            {{"file", (config_.data_dir / "secret_key").string()},
             {"advice",
              "secrets that were sealed with the former one can't be opened: put its copy back"}});
      }
    }
    return arguments_.dev ? prepare_dev_state() : result<void>{};
  }

  [[nodiscard]] std::filesystem::path dev_file() const { return config_.data_dir / "dev.json"; }

  result<void> prepare_dev_state() {
    dev_ = read_dev_state(dev_file());
    if (!config_.master_api_key.empty()) {
      dev_.master_api_key = config_.master_api_key;
    } else if (dev_.master_api_key.empty()) {
      constexpr std::size_t key_bytes = 24;
      dev_.master_api_key = make_token("mk_", key_bytes, system_random());
    }
    config_.master_api_key = dev_.master_api_key;
    return write_dev_state(dev_file(), dev_);
  }

  void show_how_to_connect() {
    const auto address = text_of(node_->local_endpoint());
    const auto client = http_client::for_url("http://" + address);
    if (!client) return;
    if (auto made = ensure_demo(*client, dev_); !made) {
      log(log_level::warn, "no demo tenant", {{"why", made.error().message}});
    }
    if (auto written = write_dev_state(dev_file(), dev_); !written) {
      log(log_level::warn, "dev.json was not written", {{"why", written.error().message}});
    }
    print_dev_page(std::cout, {address, config_.data_dir.string(), dev_});
  }

  void serve_until_end(signal_watch& signals, const machine_facts& machine) {
    while (signals.next() == signal_watch::event::reload) reload(machine);
  }

  void reload(const machine_facts& machine) {
    const auto loaded = load_config(inputs_from(arguments_.config, arguments_.dev));
    if (!loaded.problems.empty()) {
      for (const auto& problem : loaded.problems) {
        log(log_level::error, "reload refused, all stays as it was", {{"why", problem}});
      }
      return;
    }
    set_log_threshold(loaded.values.log_level);
    node_->apply(options_from(loaded.values, machine));
    log(log_level::notice, "reloaded", {{"log_level", to_text(loaded.values.log_level)}});
  }

  /// The last resort against an end that hangs: stop() itself should tell.
  static void end_by(std::chrono::steady_clock::time_point deadline) {
    std::thread{[deadline] {
      std::this_thread::sleep_until(deadline);
      log(log_level::error, "the end hangs");
      ::_exit(static_cast<int>(exit_status::failure));
    }}.detach();
  }

  exit_status drain(signal_watch& signals) {
    const auto deadline = std::chrono::steady_clock::now() + config_.shutdown_drain_timeout;
    log(log_level::notice, "draining",
        {{"drain_delay_ms", config_.drain_delay},
         {"shutdown_drain_timeout_ms", config_.shutdown_drain_timeout}});
    end_by(deadline + 1s);
    node_->begin_drain();
    // Balancers look at /readyz now and then: until they have, newcomers still arrive and are served.
    const auto served_until = std::chrono::steady_clock::now() + config_.drain_delay;
    while (signals.next_until(served_until)) {
      // A reload now is too late to matter; a second end never comes here.
    }
    if (!node_->stop(deadline)) {
      log(log_level::error, "the end took too long",
          {{"shutdown_drain_timeout_ms", config_.shutdown_drain_timeout},
           {"consequence", "the next start recovers as after a crash"}});
      ::_exit(static_cast<int>(exit_status::failure));  // threads may hang: no destructors
    }
    node_.reset();
    log(log_level::notice, "ended");
    return exit_status::ok;
  }

  const serve_arguments& arguments_;
  config config_;
  secret_key secret_key_{};
  dev_state dev_;
  std::unique_ptr<node> node_;
};

}  // namespace

exit_status run_serve(const serve_arguments& arguments) { return serving{arguments}.run(); }

}  // namespace parley::app
