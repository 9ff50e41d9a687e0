#include "net/metrics.hpp"

#include "actors/node_actors.hpp"
#include "net/gateway_counters.hpp"
#include "net/limits.hpp"
#include "net/process_facts.hpp"
#include "net/routes.hpp"
#include "net/webhook_client.hpp"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <utility>

namespace parley::net {

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;

constexpr double ns_per_s = 1e9;
constexpr std::int64_t page_bytes = 4096;  // SQLite's, see store/migrations.cpp

// ---- the table --------------------------------------------------------------------------------------------------

/// What a scrape reads.
struct scrape {
  const node_shared& node;
  std::string_view version;

  /// The sum of what `of` takes from each gateway.
  template <class F>
  [[nodiscard]] double sum(F&& of) const {
    std::uint64_t all = 0;
    for (const auto* g : node.counters) all += of(*g);
    return static_cast<double>(all);
  }
};

using labels = std::vector<ClientMetric::Label>;

/// Takes the values of one metric.
class sink {
 public:
  explicit sink(MetricFamily& family) : family_(family) {}
  void value(double v, labels l = {}) {
    ClientMetric m;
    m.label = std::move(l);
    (family_.type == prometheus::MetricType::Counter ? m.counter.value : m.gauge.value) = v;
    family_.metric.push_back(std::move(m));
  }
  /// `unit`: of one of the histogram's whole numbers. `parts`: summed.
  void distribution(const std::vector<const histogram*>& parts, double unit, labels l = {}) {
    ClientMetric m;
    m.label = std::move(l);
    const auto bounds = parts.front()->bounds();
    std::uint64_t so_far = 0;
    std::uint64_t sum = 0;
    for (const auto* part : parts) sum += part->sum();
    for (std::size_t at = 0; at <= bounds.size(); ++at) {
      for (const auto* part : parts) so_far += part->count_in(at);
      const auto end = at < bounds.size() ? static_cast<double>(bounds[at]) * unit
                                          : std::numeric_limits<double>::infinity();
      m.histogram.bucket.push_back({so_far, end});
    }
    m.histogram.sample_count = so_far;  // the same as its last bucket, whatever is counted meanwhile
    m.histogram.sample_sum = static_cast<double>(sum) * unit;
    family_.metric.push_back(std::move(m));
  }

 private:
  MetricFamily& family_;
};

/// One value for each place of a table that every gateway has.
template <class Table, class Name>
void each(const scrape& s, sink& out, const char* label, std::size_t places, Table&& table,
          Name&& name) {
  for (std::size_t at = 0; at < places; ++at) {
    out.value(s.sum([&](const gateway_counters& g) { return table(g)[at].value(); }),
              {{label, std::string{name(at)}}});
  }
}

std::string_view error_text(std::size_t code) { return info(static_cast<error_code>(code)).text; }

std::pair<std::string_view, std::string_view> route_name(std::size_t at) {
  if (at < routes().size()) return {routes()[at].method, routes()[at].path};
  return {"any", "none"};
}

/// Routes that nobody has called yet are left out: the series stay few.
template <class F>
void each_route(const scrape& s, F&& take) {
  for (std::size_t at = 0; at <= routes().size(); ++at) {
    std::vector<const route_counters*> parts;
    for (const auto* g : s.node.counters) parts.push_back(&g->by_route[at]);
    const bool called =
        std::ranges::any_of(parts, [](const auto* r) { return r->took.count() != 0; });
    if (!called) continue;
    const auto [method, path] = route_name(at);
    take(parts, labels{{"method", std::string{method}}, {"route", std::string{path}}});
  }
}

void requests_by_route(const scrape& s, sink& out) {
  each_route(s, [&](const std::vector<const route_counters*>& parts, const labels& l) {
    for (std::size_t c = 0; c < route_counters::classes; ++c) {
      std::uint64_t n = 0;
      for (const auto* r : parts) n += r->by_class[c];
      if (n == 0) continue;
      auto with_class = l;
      with_class.push_back({"class", std::to_string(c + 1) + "xx"});
      out.value(static_cast<double>(n), std::move(with_class));
    }
  });
}

void time_by_route(const scrape& s, sink& out) {
  each_route(s, [&](const std::vector<const route_counters*>& parts, const labels& l) {
    std::vector<const histogram*> took;
    for (const auto* r : parts) took.push_back(&r->took);
    out.distribution(took, 1 / ns_per_s, l);
  });
}

/// Of both listeners.
template <class F>
double http_sum(const scrape& s, F&& of) {
  return s.sum([&](const gateway_counters& g) {
    return of(*g.http) + (g.admin_http != nullptr ? of(*g.admin_http) : 0);
  });
}

struct row {
  metric_info info;
  void (*collect)(const scrape&, sink&);
};
constexpr auto counter = metric_kind::counter;
constexpr auto gauge = metric_kind::gauge;
constexpr auto distribution = metric_kind::histogram;

// Each is a row of docs/metrics.md too.
constexpr row table[]{
    // The node and its process.
    {{"parley_build_info", gauge, "Always 1; the label is the node's version."},
     [](const scrape& s, sink& out) {
       out.value(1, {{"version", std::string{s.version}}});
     }},
    {{"parley_node_uptime_seconds", gauge, "Since the node started."},
     [](const scrape& s, sink& out) {
       out.value(std::chrono::duration<double>(s.node.now.mono() - s.node.started).count());
     }},
    {{"parley_node_ready_state", gauge, "1: /readyz may say 200; 0: starting or draining."},
     [](const scrape& s, sink& out) { out.value(s.node.ready && !s.node.draining ? 1 : 0); }},
    {{"parley_process_resident_memory_bytes", gauge, "Memory in RAM."},
     [](const scrape&, sink& out) { out.value(resident_bytes()); }},
    {{"parley_process_cpu_seconds_total", counter, "Processor time, user and system."},
     [](const scrape&, sink& out) { out.value(cpu_seconds()); }},
    {{"parley_process_open_descriptors", gauge, "Open file descriptors."},
     [](const scrape&, sink& out) { out.value(open_descriptors()); }},
    {{"parley_process_max_descriptors", gauge, "How many file descriptors may be open."},
     [](const scrape&, sink& out) { out.value(max_descriptors()); }},
    {{"parley_process_start_time_seconds", gauge, "When the process started, in Unix time."},
     [](const scrape&, sink& out) { out.value(start_time()); }},

    // Actors.
    {{"parley_actors_live_actors", gauge, "Actors in memory, by kind."},
     [](const scrape& s, sink& out) {
       const auto& g = s.node.gauges;
       out.value(static_cast<double>(g.live_rooms.load()), {{"kind", "room"}});
       out.value(static_cast<double>(g.live_sessions.load()), {{"kind", "session"}});
       out.value(static_cast<double>(g.live_tenants.load()), {{"kind", "tenant"}});
     }},
    {{"parley_actors_failures_total", counter, "Actors that an exception ended."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.exceptions.load()));
     }},
    {{"parley_actors_unmatched_messages_total", counter, "Messages that no actor understands."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.unmatched.load()));
     }},

    // Messages.
    {{"parley_messages_accepted_total", counter, "Messages accepted, over REST and WebSocket."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.messages_accepted.load()));
     }},
    {{"parley_messages_duplicates_total", counter,
      "Sends, edits and deletes that repeated a retry key and got the first result."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.duplicates.value(); }));
     }},
    {{"parley_messages_changes_total", counter, "Edits and deletes that were done."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.changes.value(); }));
     }},
    {{"parley_messages_refused_total", counter,
      "Sends, edits and deletes answered with an error, by its code."},
     [](const scrape& s, sink& out) {
       each(
           s, out, "code", error_codes, [](const auto& g) -> auto& { return g.refused_sends; },
           error_text);
     }},
    {{"parley_messages_underway_messages", gauge,
      "Commands that hold admission credit: between a gateway and the last one's delivery."},
     [](const scrape& s, sink& out) { out.value(static_cast<double>(s.node.budget->rows())); }},
    {{"parley_messages_underway_bytes", gauge, "The bytes of their credit."},
     [](const scrape& s, sink& out) { out.value(static_cast<double>(s.node.budget->bytes())); }},

    // The writer.
    {{"parley_commit_groups_total", counter, "Group commits that succeeded."},
     [](const scrape& s, sink& out) { out.value(static_cast<double>(s.node.gauges.commits.load())); }},
    {{"parley_commit_rows_total", counter, "Rows in them: entries, rooms, cursors."},
     [](const scrape& s, sink& out) { out.value(static_cast<double>(s.node.gauges.rows.load())); }},
    {{"parley_commit_failures_total", counter, "Group commits that were rolled back."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.failed_commits.load()));
     }},
    {{"parley_commit_duration_seconds", distribution,
      "A group commit, from its first row to its last answer."},
     [](const scrape& s, sink& out) { out.distribution({&s.node.gauges.commit_time}, 1 / ns_per_s); }},
    {{"parley_commit_group_rows", distribution, "Rows of a group commit."},
     [](const scrape& s, sink& out) { out.distribution({&s.node.gauges.commit_rows}, 1); }},
    {{"parley_commit_queue_items", gauge, "What waits for the next group commit."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.commit_queue_items.load()));
     }},
    {{"parley_commit_queue_age_seconds", gauge, "How long the oldest message has waited for it."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.commit_queue_age_ms.load()) / 1000);
     }},
    {{"parley_commit_stale_appends_total", counter,
      "Appends of a room that had lost its generation; nothing of them is stored."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.stale_appends.load()));
     }},
    {{"parley_commit_lost_generations_total", counter,
      "Rooms that had to begin anew since an append of theirs failed."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.lost_generations.load()));
     }},

    // The database.
    {{"parley_store_writable_state", gauge, "0: the disk is full, writes are refused."},
     [](const scrape& s, sink& out) { out.value(s.node.gauges.writable ? 1 : 0); }},
    {{"parley_store_corrupt_state", gauge, "1: the file is damaged."},
     [](const scrape& s, sink& out) { out.value(s.node.gauges.corrupt ? 1 : 0); }},
    {{"parley_store_database_bytes", gauge, "The database file's size."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.database_pages.load() * page_bytes));
     }},
    {{"parley_store_wal_pages", gauge, "Frames in the write-ahead log since it last started over."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.wal_pages.load()));
     }},
    {{"parley_store_checkpoints_total", counter,
      "Checkpoints: pieces, restarts of the log, and restarts that a reader prevented (busy)."},
     [](const scrape& s, sink& out) {
       const auto& g = s.node.gauges;
       out.value(static_cast<double>(g.checkpoint_pieces.load()), {{"kind", "piece"}});
       out.value(static_cast<double>(g.checkpoint_restarts.load()), {{"kind", "restart"}});
       out.value(static_cast<double>(g.checkpoints_busy.load()), {{"kind", "busy"}});
     }},
    {{"parley_store_checkpoint_seconds_total", counter, "The writer's time in checkpoints."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.checkpoint_time_ns.load()) / ns_per_s);
     }},

    // Readers.
    {{"parley_readers_queue_items", gauge, "Queries that wait for a reader."},
     [](const scrape& s, sink& out) { out.value(static_cast<double>(s.node.readers->queued())); }},
    {{"parley_readers_queries_total", counter, "Queries answered."},
     [](const scrape& s, sink& out) { out.value(static_cast<double>(s.node.readers->served())); }},
    {{"parley_readers_refused_total", counter, "Queries refused since their queue was full."},
     [](const scrape& s, sink& out) { out.value(static_cast<double>(s.node.readers->refused())); }},
    {{"parley_readers_wait_seconds", distribution, "A query's time in the queue."},
     [](const scrape& s, sink& out) { out.distribution({&s.node.readers->waited()}, 1 / ns_per_s); }},
    {{"parley_readers_query_seconds", distribution, "A query's time with a reader."},
     [](const scrape& s, sink& out) { out.distribution({&s.node.readers->ran()}, 1 / ns_per_s); }},

    // HTTP.
    {{"parley_http_open_connections", gauge, "HTTP connections, without upgraded ones."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.http_open.value(); }));
     }},
    {{"parley_http_accepted_connections_total", counter, "Connections accepted."},
     [](const scrape& s, sink& out) {
       out.value(http_sum(s, [](const http_counters& h) { return h.accepted.value(); }));
     }},
    {{"parley_http_requests_total", counter,
      "Requests answered by the routes, by route and status class."},
     requests_by_route},
    {{"parley_http_request_duration_seconds", distribution,
      "From the whole request to its answer, without writing it, by route."},
     time_by_route},
    {{"parley_http_errors_total", counter, "Error answers of the routes, by error code."},
     [](const scrape& s, sink& out) {
       each(
           s, out, "code", error_codes, [](const auto& g) -> auto& { return g.http_errors; },
           error_text);
     }},
    {{"parley_http_rejected_requests_total", counter,
      "Refused before a route was looked for: malformed (400), too large (413), or no room (503)."},
     [](const scrape& s, sink& out) {
       out.value(http_sum(s, [](const http_counters& h) { return h.refused_strict.value(); }),
                 {{"reason", "malformed"}});
       out.value(http_sum(s, [](const http_counters& h) { return h.refused_large.value(); }),
                 {{"reason", "large"}});
       out.value(http_sum(s, [](const http_counters& h) { return h.refused_full.value(); }),
                 {{"reason", "full"}});
     }},
    {{"parley_http_timeouts_total", counter, "Requests and answers that did not come to an end."},
     [](const scrape& s, sink& out) {
       out.value(http_sum(s, [](const http_counters& h) { return h.timeouts.value(); }));
     }},
    {{"parley_http_handler_failures_total", counter,
      "Requests that an exception answered with 500."},
     [](const scrape& s, sink& out) {
       out.value(http_sum(s, [](const http_counters& h) { return h.handler_errors.value(); }));
     }},
    {{"parley_http_accept_failures_total", counter,
      "Connections that could not be accepted, mostly for want of descriptors."},
     [](const scrape& s, sink& out) {
       out.value(http_sum(s, [](const http_counters& h) { return h.accept_errors.value(); }));
     }},

    // WebSocket.
    {{"parley_ws_open_connections", gauge, "WebSockets."},
     [](const scrape& s, sink& out) { out.value(static_cast<double>(s.node.connections.load())); }},
    {{"parley_ws_unauthenticated_connections", gauge, "Those that have not said who they are."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.unauthenticated.load()));
     }},
    {{"parley_ws_upgrades_total", counter, "Requests to /ws, by how they ended."},
     [](const scrape& s, sink& out) {
       each(
           s, out, "outcome", upgrade_outcomes, [](const auto& g) -> auto& { return g.upgrades; },
           [](std::size_t at) { return name_of(static_cast<upgrade_outcome>(at)); });
     }},
    {{"parley_ws_opened_connections_total", counter, "WebSockets that got their hello."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.opened.value(); }));
     }},
    {{"parley_ws_closed_connections_total", counter, "WebSockets that ended, by close code."},
     [](const scrape& s, sink& out) {
       each(
           s, out, "code", close_places(), [](const auto& g) -> auto& { return g.closed; },
           close_place_name);
     }},
    {{"parley_ws_received_frames_total", counter, "Frames from clients, by type."},
     [](const scrape& s, sink& out) {
       each(
           s, out, "type", frame_kinds, [](const auto& g) -> auto& { return g.frames; },
           frame_kind_name);
     }},
    {{"parley_ws_sent_frames_total", counter, "Frames that the kernel has taken."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.hub->frames_out.value(); }));
     }},
    {{"parley_ws_received_bytes_total", counter, "Bytes read from WebSockets."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.hub->bytes_in.value(); }));
     }},
    {{"parley_ws_sent_bytes_total", counter, "Bytes written to WebSockets."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.hub->bytes_out.value(); }));
     }},
    {{"parley_ws_writes_total", counter, "System calls that wrote them."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.hub->sends.value(); }));
     }},
    {{"parley_ws_errors_total", counter, "Error frames sent, by error code."},
     [](const scrape& s, sink& out) {
       each(
           s, out, "code", error_codes, [](const auto& g) -> auto& { return g.ws_errors; },
           error_text);
     }},
    {{"parley_ws_protocol_errors_total", counter, "Connections that broke RFC 6455."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.hub->protocol_errors.value(); }));
     }},
    {{"parley_ws_outbound_bytes", gauge, "Bytes that wait for readers, of all connections."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.ws_outbound_bytes.value(); }));
     }},

    // Who was turned away.
    {{"parley_auth_failures_total", counter,
      "AUTHENTICATION_ERROR answers, over HTTP and in WebSocket frames."},
     [](const scrape& s, sink& out) {
       constexpr auto at = static_cast<std::size_t>(error_code::authentication);
       out.value(s.sum([](const gateway_counters& g) { return g.http_errors[at].value(); }),
                 {{"via", "http"}});
       out.value(s.sum([](const gateway_counters& g) { return g.ws_errors[at].value(); }),
                 {{"via", "ws"}});
     }},
    {{"parley_limits_refusals_total", counter,
      "Refused by a rate or a bound, by its configuration key or name."},
     [](const scrape& s, sink& out) {
       each(
           s, out, "limit", refusals, [](const auto& g) -> auto& { return g.refused; },
           [](std::size_t at) { return name_of(static_cast<refused_by>(at)); });
     }},
    {{"parley_limits_forgotten_rates_total", counter,
      "Users and addresses that still owed something when the tables of rates were full."},
     [](const scrape& s, sink& out) { out.value(static_cast<double>(s.node.traffic.evicted())); }},

    // Delivery.
    {{"parley_delivery_entries_total", counter,
      "Log entries queued for connections, from memory (ring) or from the database (page)."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.entries_from_ring.value(); }),
                 {{"source", "ring"}});
       out.value(s.sum([](const gateway_counters& g) { return g.entries_from_pages.value(); }),
                 {{"source", "page"}});
     }},
    {{"parley_delivery_pages_total", counter, "Pages read for connections."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.pages.value(); }));
     }},
    {{"parley_delivery_stale_pages_total", counter,
      "Pages read again since an edit or delete came in between."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.stale_pages.value(); }));
     }},
    {{"parley_delivery_list_rereads_total", counter,
      "Room lists read again since too much was published meanwhile."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.list_rereads.value(); }));
     }},
    {{"parley_delivery_postponed_reads_total", counter,
      "Reads put off since the readers' queue was full."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.postponed_reads.value(); }));
     }},
    {{"parley_delivery_live_subscriptions", gauge, "Rooms that are live, summed over connections."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.subscriptions_live.value(); }));
     }},
    {{"parley_delivery_followed_rooms", gauge, "Rooms of which gateways know the head."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.rooms_followed.value(); }));
     }},
    {{"parley_delivery_ring_bytes", gauge, "Recent frames kept in memory."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.ring_bytes.value(); }));
     }},
    {{"parley_sync_outcomes_total", counter, "Rooms of syncs, by stated outcome."},
     [](const scrape& s, sink& out) {
       static constexpr std::array<std::string_view, sync_outcomes> names{"recovered", "live",
                                                                          "gap", "reset", "gone"};
       each(
           s, out, "outcome", sync_outcomes, [](const auto& g) -> auto& { return g.synced; },
           [](std::size_t at) { return names[at]; });
     }},

    // Presence, typing, receipts.
    {{"parley_ephemerals_sent_frames_total", counter, "Presence, typing and receipts sent."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.ephemerals_sent.value(); }));
     }},
    {{"parley_ephemerals_dropped_frames_total", counter,
      "Those dropped: the reader is behind, too many receipts wait, the presence budget is spent."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.ephemerals_behind.value(); }),
                 {{"reason", "behind"}});
       out.value(s.sum([](const gateway_counters& g) { return g.ephemerals_full.value(); }),
                 {{"reason", "full"}});
       out.value(s.sum([](const gateway_counters& g) { return g.ephemerals_budget.value(); }),
                 {{"reason", "budget"}});
     }},
    {{"parley_ephemerals_waiting_receipts", gauge, "Receipts that wait for the next flush."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.receipts_waiting.value(); }));
     }},

    // The outbox: events on their way to webhooks, notifications.
    {{"parley_outbox_waiting_events", gauge,
      "Events that are stored and not delivered yet, of all endpoints."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.events_waiting.load()));
     }},
    {{"parley_outbox_lag_entries", gauge,
      "Entries of the log that were not looked at yet for events."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.events_lag.load()));
     }},
    {{"parley_outbox_stored_events_total", counter, "Events that were stored to be delivered."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.events_stored.load()));
     }},
    {{"parley_outbox_dropped_events_total", counter,
      "Events that were not taken since their endpoint's queue was full."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.events_dropped.load()));
     }},
    {{"parley_outbox_obsolete_events_total", counter,
      "Events of which there was nothing left to tell when their turn came."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.events_obsolete.load()));
     }},
    {{"parley_outbox_dropped_presence_total", counter,
      "Events user.online and user.offline that were not taken since too many waited to be "
      "stored."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.presence_dropped.load()));
     }},
    {{"parley_outbox_dead_letters_total", counter, "Events and notifications that were given up."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.dead_letters.load()));
     }},
    {{"parley_outbox_late_answers_total", counter,
      "Answers from the store that came after nobody waited for them any more."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.outbox_late_answers.load()));
     }},
    {{"parley_webhook_known_endpoints", gauge, "Endpoints that tenants have set."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.endpoints.load()));
     }},
    {{"parley_webhook_resting_endpoints", gauge,
      "Those whose breaker is open after failures in a row."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.endpoints_resting.load()));
     }},
    {{"parley_webhook_disabled_endpoints", gauge, "Those that have answered 410."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.endpoints_disabled.load()));
     }},
    {{"parley_webhook_inflight_requests", gauge, "Requests that wait for an endpoint's answer."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.webhooks_in_flight.load()));
     }},
    {{"parley_webhook_attempts_total", counter, "Requests to endpoints."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.webhook_attempts.load()));
     }},
    {{"parley_webhook_delivered_events_total", counter, "Events that an endpoint has taken."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.webhook_delivered.load()));
     }},
    {{"parley_webhook_failures_total", counter,
      "Requests that failed: another status than 2xx, or no answer."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.webhook_failures.load()));
     }},
    {{"parley_webhook_given_up_events_total", counter, "Events that became dead letters."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.webhook_given_up.load()));
     }},
    {{"parley_webhook_attempt_duration_seconds", distribution,
      "A request to an endpoint, to its answer."},
     [](const scrape& s, sink& out) {
       out.distribution({&s.node.gauges.webhook_time}, 1 / ns_per_s);
     }},
    {{"parley_webhook_delivery_delay_seconds", distribution,
      "From what an event tells of to its delivery."},
     [](const scrape& s, sink& out) {
       out.distribution({&s.node.gauges.webhook_delay}, 1 / ns_per_s);
     }},
    {{"parley_webhook_open_connections", gauge, "Connections to endpoints, busy and idle."},
     [](const scrape& s, sink& out) { out.value(static_cast<double>(s.node.webhooks->open)); }},
    {{"parley_webhook_opened_connections_total", counter,
      "Connections to endpoints that were made."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.webhooks->connections_opened));
     }},
    {{"parley_webhook_reused_connections_total", counter,
      "Requests that went out on a connection that was kept."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.webhooks->connections_reused));
     }},
    {{"parley_webhook_stale_connections_total", counter,
      "Those of which the endpoint had closed it, so that they went out again on a new one."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.webhooks->stale_retries));
     }},
    {{"parley_webhook_lookups_total", counter,
      "Names of endpoints that the resolver was asked for."},
     [](const scrape& s, sink& out) { out.value(static_cast<double>(s.node.webhooks->lookups)); }},
    {{"parley_webhook_refused_addresses_total", counter,
      "Requests that were not sent since their endpoint's address is not public."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.webhooks->refused_addresses));
     }},
    {{"parley_notifications_created_total", counter, "Notifications that were made."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.notifications_created.load()));
     }},
    {{"parley_notifications_acknowledged_total", counter,
      "Notifications that a user has received, counted by user."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.notifications_acknowledged.load()));
     }},
    {{"parley_notifications_sent_frames_total", counter,
      "Frames of notifications: the first to a connection, and those for want of an "
      "acknowledgement."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.notifications_sent.value(); }),
                 {{"kind", "first"}});
       out.value(s.sum([](const gateway_counters& g) { return g.notifications_again.value(); }),
                 {{"kind", "again"}});
     }},
    {{"parley_notifications_owing_connections", gauge,
      "Connections of which more is remembered than that they get notifications."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.notification_connections.value(); }));
     }},
    {{"parley_notifications_reads_total", counter,
      "Pages that gateways have read: what waits for a user, members of a room."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.notification_pages.value(); }),
                 {{"of", "user"}});
       out.value(s.sum([](const gateway_counters& g) { return g.notification_room_pages.value(); }),
                 {{"of", "room"}});
     }},
    {{"parley_notifications_rereads_total", counter,
      "Times that all connections of a tenant were made to read, as too much was shown at once."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.notification_overflows.value(); }));
     }},
    {{"parley_notifications_expired_total", counter,
      "Notifications that a user did not receive in time, counted by user."},
     [](const scrape& s, sink& out) {
       out.value(static_cast<double>(s.node.gauges.notifications_expired.load()));
     }},

    // Questions to the actors.
    {{"parley_calls_waiting_calls", gauge, "Requests and frames whose answer is owed."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.calls_waiting.value(); }));
     }},
    {{"parley_calls_timeouts_total", counter, "Frames that were answered by their deadline."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.timeouts.value(); }));
     }},
    {{"parley_calls_late_answers_total", counter, "Answers that came after their deadline."},
     [](const scrape& s, sink& out) {
       out.value(s.sum([](const gateway_counters& g) { return g.late_answers.value(); }));
     }},
};

prometheus::MetricType type_of(metric_kind kind) {
  switch (kind) {
    case metric_kind::counter:
      return prometheus::MetricType::Counter;
    case metric_kind::gauge:
      return prometheus::MetricType::Gauge;
    case metric_kind::histogram:
      break;
  }
  return prometheus::MetricType::Histogram;
}

}  // namespace

std::vector<metric_info> metric_table() {
  std::vector<metric_info> out;
  for (const auto& r : table) out.push_back(r.info);
  return out;
}

std::string metrics_text(const node_shared& node, std::string_view version) {
  const scrape s{node, version};
  std::vector<MetricFamily> families;
  for (const auto& r : table) {
    MetricFamily family;
    family.name = r.info.name;
    family.help = r.info.help;
    family.type = type_of(r.info.kind);
    sink out{family};
    r.collect(s, out);
    families.push_back(std::move(family));
  }
  return prometheus::TextSerializer{}.Serialize(families);
}

std::string chatapi_counters(const node_shared& node) {
  const auto number = [](auto n) { return std::to_string(n); };
  const auto dropped = number(node.ephemerals_dropped.load());
  const auto up =
      std::chrono::duration_cast<std::chrono::seconds>(node.now.mono() - node.started).count();
  std::string out = R"({"active_connections":)" + number(node.connections.load());
  out += R"(,"messages_sent":)" + number(node.messages_accepted.load());
  // CHATAPI 9 row 27: of webhooks and notifications.
  const auto& g = node.gauges;
  out += R"(,"delivery_attempts":)" +
         number(g.webhook_attempts.load() + g.notifications_acknowledged.load());
  out += R"(,"delivery_failures":)" +
         number(g.webhook_given_up.load() + g.notifications_expired.load());
  out += R"(,"dropped_broadcasts":)" + dropped + R"(,"broadcast_drops":)" + dropped;
  out += R"(,"uptime_seconds":)" + number(up);
  return out + "}";
}

metrics_form metrics_form_of(std::string_view accept, bool dialect) {
  bool text = false;
  bool json = false;
  while (!accept.empty()) {
    const auto comma = std::min(accept.find(','), accept.size());
    auto type = accept.substr(0, std::min(comma, accept.find(';')));
    accept.remove_prefix(std::min(comma + 1, accept.size()));
    while (type.starts_with(' ') || type.starts_with('\t')) type.remove_prefix(1);
    while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
    const auto is = [&](std::string_view name) {
      return std::ranges::equal(type, name, [](char a, char b) {
        return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
      });
    };
    text = text || is("text/plain") || is("application/openmetrics-text");
    json = json || is("application/json");
  }
  if (text) return metrics_form::text;
  return dialect || json ? metrics_form::json : metrics_form::text;
}

}  // namespace parley::net
