#include "app/node.hpp"

#include "actors/node_actors.hpp"
#include "app/address_check.hpp"
#include "net/gateway.hpp"
#include "net/gateway_loop.hpp"
#include "net/limits.hpp"
#include "net/tickets.hpp"
#include "net/webhook_client.hpp"
#include "protocol/log.hpp"
#include "store/sqlite_store.hpp"

#include <algorithm>
#include <atomic>
#include <limits>
#include <sstream>
#include <thread>
#include <utility>

namespace parley::app {

namespace {

constexpr int io_error_status = 74;
constexpr auto poll_interval = std::chrono::milliseconds{5};  // of the drain, for answers still owed

net::gateway_options gateway_options_of(const node_options& o, const epoch_id& epoch) {
  net::gateway_options g;
  g.limits = o.limits;
  g.http.max_header = o.limits.max_header;
  g.http.max_body = o.limits.max_body;
  // 0 means none (SPEC 4).
  g.http.body_total_bytes = o.limits.http_body_total == 0
                                ? std::numeric_limits<std::size_t>::max() / 2
                                : o.limits.http_body_total / o.io_threads;
  g.http.request_timeout = o.limits.request_timeout;
  g.http.max_connections = o.limits.ws_max_connections / o.io_threads;
  g.hub.max_message_bytes = o.limits.ws_max_frame;
  g.hub.outbound_max_bytes = o.limits.ws_send_buffer;
  g.hub.ping_interval = o.limits.ws_ping_interval;
  g.hub.stall_timeout = o.limits.ws_stall_timeout;
  g.hub.frame_timeout = o.limits.request_timeout;
  g.master_key = o.master_api_key;
  g.sealing_key = o.secret_key;
  g.ws_allowed_origins = o.allowed_origins;
  g.ws_jwt_in_query = o.ws_jwt_in_query;
  g.server_version = o.version;
  g.epoch = epoch;
  g.ring_bytes = limits::ring_total_bytes / o.io_threads;
  g.outbound_total_bytes = o.limits.ws_send_buffer_total / o.io_threads;
  g.ws_frame_rate = o.ws_frame_rate;
  g.ws_frame_burst = o.ws_frame_burst;
  g.ws_max_unauthenticated = o.ws_max_unauthenticated;
  g.max_rooms_per_tenant = o.max_rooms_per_tenant;
  g.presence_max_members = o.presence_max_members;
  g.receipt_max_members = o.receipt_max_members;
  g.typing_timeout = o.typing_timeout;
  g.metrics_allow = o.metrics_allow;
  g.webhook_allow_private = o.webhook_allow_private;
  g.retry_interval = o.retry_interval;
  g.retry_max_interval = o.retry_max_interval;
  return g;
}

net::webhook_client_options webhook_client_options_of(const node_options& o) {
  net::webhook_client_options w;
  w.allow_private = o.webhook_allow_private;
  w.answer_timeout = o.webhook_timeout;
  w.resolve_timeout = w.connect_timeout = w.tls_timeout = o.webhook_timeout / 2;
  w.ca_file = o.webhook_ca_file;
  w.user_agent = "parley/" + o.version;
  return w;
}

/// What a request may take: a kept connection that ends at the last moment, then all of it again on a new one.
std::chrono::milliseconds longest_request(const net::webhook_client_options& w) {
  return w.resolve_timeout + w.connect_timeout + w.tls_timeout + 2 * w.answer_timeout;
}

net::traffic_options traffic_options_of(const node_options& o) {
  return {.default_rate_limit = o.default_rate_limit,
          .default_message_rate = o.default_message_rate,
          .user_send_rate = o.user_send_rate,
          .user_send_burst = o.user_send_burst,
          .ws_connect_rate = o.ws_connect_rate,
          .auth_failure_rate = o.auth_failure_rate_per_min,
          .max_connections_per_tenant = o.max_connections_per_tenant,
          .max_connections_per_address = o.max_connections_per_address};
}

}  // namespace

struct node::impl {
  node_options options;
  std::unique_ptr<store::database> database;
  std::shared_ptr<net::webhook_client> webhooks;
  std::unique_ptr<actors::node_actors> actors;
  std::unique_ptr<net::ticket_book> tickets;
  net::tenant_origins origins;
  std::unique_ptr<net::traffic_limits> traffic;
  std::unique_ptr<net::node_shared> shared;
  std::vector<std::unique_ptr<net::gateway>> gateways;

  ~impl() {
    for (auto& gateway : gateways) gateway->stop();
    if (actors) actors->stop(std::chrono::seconds{5});
  }

  /// On every loop, one after the other; false: one did not answer in time.
  template <class F>
  bool on_every_loop(F&& f, mono_time deadline) {
    for (auto& gateway : gateways) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - system_clock_source().mono());
      if (left.count() <= 0 || !gateway->run_on_loop(f, left)) return false;
    }
    return true;
  }
  bool await(mono_time deadline, const std::function<bool()>& done) {
    while (!done()) {
      if (system_clock_source().mono() >= deadline) return false;
      std::this_thread::sleep_for(poll_interval);
    }
    return true;
  }
};

node::node(std::unique_ptr<impl> i) : impl_(std::move(i)) {}
node::~node() = default;

result<std::unique_ptr<node>> node::start(node_options options) {
  auto n = std::make_unique<impl>();
  n->options = std::move(options);
  const auto& o = n->options;

  store::sqlite_options sqlite;
  sqlite.file = o.database;
  sqlite.durability = o.durability;
  sqlite.idempotency_ttl = o.limits.idempotency_ttl;
  sqlite.worker_interval = o.worker_interval;
  sqlite.outbox_max_events = static_cast<std::int64_t>(o.outbox_max_events);
  sqlite.dead_letter_ttl = o.dead_letter_ttl;
  if (o.message_retention.count() > 0) sqlite.message_retention = o.message_retention;
  auto opened = store::open_sqlite(sqlite, system_clock_source(), system_random());
  if (!opened) return opened.error();
  n->database = std::move(*opened);
  const auto& report = n->database->report();
  if (report.history_may_be_lost) {
    log(log_level::error, "history may have been lost: clients load anew",
        {{"why", report.why}, {"epoch", n->database->epoch()}});
  } else if (report.recovered) {
    log(log_level::info, "recovered after an end that was not clean", {{"why", report.why}});
  }

  actors::node_actors_options a;
  a.room.max_room_members = o.limits.max_room_members;
  a.session.presence_grace = o.presence_grace;
  a.session.presence_max_members = o.presence_max_members;
  a.session.herd_until = system_clock_source().mono() + o.herd_window;
  a.session.herd_spread = o.herd_window;
  a.session.typing_interval = o.typing_interval;
  a.session.typing_timeout = o.typing_timeout;
  a.session.typing_max_members = o.typing_max_members;
  a.receipt_max_members = o.receipt_max_members;
  a.sealing_key = o.secret_key;
  a.readers.threads = o.reader_threads;
  a.scheduler_threads = std::max(1U, std::min(o.io_threads, 4U));
  a.outbox.offline_after = o.offline_after;
  a.outbox.herd_window = o.herd_window;
  a.outbox.offline_max_members = o.offline_webhook_max_members;
  a.outbox.max_attempts = o.retry_max_attempts;
  a.outbox.retry_interval = o.retry_interval;
  a.outbox.retry_max_interval = o.retry_max_interval;
  a.outbox.concurrency_per_endpoint = o.webhook_max_in_flight;
  const auto webhooks = webhook_client_options_of(o);
  const auto longest = longest_request(webhooks);
  a.outbox.attempt_deadline = longest + std::chrono::seconds{30};
  // A test also reads the endpoint and its tenant.
  a.outbox.call_deadline =
      std::min(longest + std::chrono::milliseconds{2000}, a.outbox.call_deadline);
  n->webhooks = std::make_shared<net::webhook_client>(webhooks, system_clock_source());
  a.webhooks = n->webhooks;
  a.fatal = [fatal = o.on_fatal](const error& why) { fatal(io_error_status, why.message); };
  n->actors =
      std::make_unique<actors::node_actors>(*n->database, a, system_clock_source(), system_random());
  n->tickets = std::make_unique<net::ticket_book>(o.ws_ticket_ttl);
  n->traffic = std::make_unique<net::traffic_limits>(traffic_options_of(o), system_random());
  n->shared.reset(new net::node_shared{system_clock_source(), system_random(), n->actors->gauges(),
                                       n->actors->budget(), n->actors->online(),
                                       n->actors->tenants(), *n->tickets, n->origins, *n->traffic,
                                       system_clock_source().mono()});

  // All gateways are known to the actors before one of them takes a connection.
  const auto g = gateway_options_of(o, n->database->epoch());
  for (unsigned at = 0; at < o.io_threads; ++at) {
    n->gateways.push_back(std::make_unique<net::gateway>(*n->actors, g, *n->shared));
  }
  n->actors->show_tenants_with_origins();
  auto where = o.listen;
  const auto cannot_listen = [&](const boost::system::error_code& why) {
    return error{error_code::internal, "cannot listen on " + where.address().to_string() + ":" +
                                           std::to_string(where.port()) + ": " + why.message()};
  };
  n->shared->readers = &n->actors->readers();
  n->shared->webhooks = &n->webhooks->counters();
  if (const auto taken = check_address_free(where)) return cannot_listen(taken);
  // The operator's listener first: it is one of the first gateway's.
  if (o.admin_listen) {
    auto failed = check_address_free(*o.admin_listen);
    if (!failed) failed = n->gateways.front()->listen_admin(*o.admin_listen);
    if (!failed && where.port() != 0) failed = check_address_free(where);  // is it the same?
    if (failed) {
      std::ostringstream admin;
      admin << *o.admin_listen;
      return error{error_code::internal,
                   "cannot listen on " + admin.str() + " (admin_listen): " + failed.message()};
    }
  }
  for (auto& gateway : n->gateways) {
    if (auto failed = gateway->start(where)) return cannot_listen(failed);
    where.port(gateway->local_endpoint().port());  // port 0: the first one chose
  }
  n->shared->ready = true;
  return std::unique_ptr<node>(new node(std::move(n)));
}

boost::asio::ip::tcp::endpoint node::local_endpoint() const {
  return impl_->gateways.front()->local_endpoint();
}

std::optional<boost::asio::ip::tcp::endpoint> node::admin_endpoint() const {
  if (!impl_->options.admin_listen) return std::nullopt;
  return impl_->gateways.front()->admin_endpoint();
}

void node::begin_drain() { impl_->shared->draining = true; }

bool node::stop(mono_time deadline) {
  auto& n = *impl_;
  n.shared->draining = true;
  n.shared->closing = true;
  // 1. No newcomers; everybody hears when to come back, and is served on.
  std::size_t connections = 0;
  bool in_time = n.on_every_loop(
      [&](net::gateway_loop& loop) {
        loop.stop_accepting();
        connections += loop.connections();
      },
      deadline);
  const auto window =
      n.options.reconnect_window.count() != 0
          ? n.options.reconnect_window
          : std::max(std::chrono::milliseconds{500},
                     std::chrono::milliseconds{static_cast<std::int64_t>(connections) / 2});
  in_time =
      in_time &&
      n.on_every_loop([&](net::gateway_loop& loop) { loop.announce_shutdown(window); }, deadline);
  // 2. What is owed is answered.
  in_time = in_time && n.await(deadline, [&] {
    std::size_t owed = 0;
    return n.on_every_loop([&](net::gateway_loop& loop) { owed += loop.in_work(); }, deadline) &&
           owed == 0;
  });
  // 3. All are closed together, and given a moment to say goodbye.
  n.on_every_loop([](net::gateway_loop& loop) { loop.close_all(close_code::service_restart); },
                  deadline);
  const auto goodbye = std::min(deadline, system_clock_source().mono() + std::chrono::seconds{2});
  n.await(goodbye, [&] {
    std::size_t open = 0;
    return n.on_every_loop([&](net::gateway_loop& loop) { open += loop.connections(); }, goodbye) &&
           open == 0;
  });
  // 4. Last commit, checkpoint, clean mark.
  for (auto& gateway : n.gateways) gateway->stop();
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - system_clock_source().mono());
  const bool stopped = n.actors->stop(std::max(std::chrono::milliseconds{100}, left));
  return in_time && stopped;
}

void node::apply(const node_options& changed) {
  impl_->traffic->apply(traffic_options_of(changed));
}

}  // namespace parley::app
