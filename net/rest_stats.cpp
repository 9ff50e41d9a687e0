// `GET /admin/stats`: the node at a glance, and what its tenants use. docs/metrics.md has the shape.

#include "actors/node_actors.hpp"
#include "actors/tenant_table.hpp"
#include "net/routes.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <utility>

namespace parley::net {

namespace {

using json = nlohmann::ordered_json;
constexpr std::int64_t database_page_bytes = 4096;
constexpr std::int64_t wal_frame_bytes = database_page_bytes + 24;  // SQLite's frame header

json node_at_a_glance(const gateway_loop& g, const node_shared& node) {
  const auto& gauges = node.gauges;
  std::uint64_t outbound = 0;
  for (const auto* one : node.counters) outbound += one->ws_outbound_bytes;
  json out;
  out["time"] = to_rfc3339(node.now.now());
  out["version"] = g.options().server_version;
  out["epoch"] = g.options().epoch.view();
  out["uptime_seconds"] =
      std::chrono::duration_cast<std::chrono::seconds>(node.now.mono() - node.started).count();
  out["connections"] = node.connections.load();
  out["unauthenticated_connections"] = node.unauthenticated.load();
  out["sessions"] = gauges.live_sessions.load();
  out["rooms_loaded"] = gauges.live_rooms.load();
  out["tenants_loaded"] = gauges.live_tenants.load();
  out["messages_accepted"] = node.messages_accepted.load();
  out["underway"] = {{"messages", node.budget->rows()}, {"bytes", node.budget->bytes()}};
  out["commit_queue"] = {{"items", gauges.commit_queue_items.load()},
                         {"age_ms", gauges.commit_queue_age_ms.load()}};
  out["reader_queue"] = {{"items", node.readers->queued()}};
  out["outbox"] = {{"events", gauges.events_waiting.load()},
                   {"entries_behind", gauges.events_lag.load()},
                   {"requests", gauges.webhooks_in_flight.load()}};
  out["outbound_bytes"] = outbound;
  out["database"] = {{"bytes", gauges.database_pages.load() * database_page_bytes},
                     {"wal_bytes", gauges.wal_pages.load() * wal_frame_bytes},
                     {"writable", gauges.writable.load()},
                     {"corrupt", gauges.corrupt.load()}};
  return out;
}

}  // namespace

gateway_loop::response rest_stats(gateway_loop& g, gateway_loop::request_context& r) {
  const auto arguments = list_of(r, limits::list_max);
  if (!arguments) co_return fail(r, arguments.error());
  auto asked = g.read(tenant_no{}, actors::tenant_usage_query{arguments->limit, arguments->cursor});
  auto answer = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&answer)) co_return fail(r, *failed);
  const auto& list = std::get<store::tenant_usage_list>(answer);
  const auto& node = g.shared();
  auto tenants = json::array();
  for (const auto& t : list.tenants) {
    const auto loaded = node.tenants.find(t.no);
    const auto* meters = loaded && loaded->meters ? loaded->meters.get() : nullptr;
    tenants.push_back({{"tenant_id", t.id.view()},
                       {"disabled", t.disabled},
                       {"rooms", t.rooms},
                       {"users", t.users},
                       {"connections", meters != nullptr ? meters->connections.load() : 0},
                       {"messages_accepted", meters != nullptr ? meters->messages.load() : 0}});
  }
  auto body = node_at_a_glance(g, node);
  body["tenants"] = std::move(tenants);
  body["next_cursor"] = nullptr;
  if (!list.next_cursor.empty()) body["next_cursor"] = list.next_cursor;
  co_return json_response(200, body.dump());
}

}  // namespace parley::net
