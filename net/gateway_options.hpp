#pragma once
/// What a gateway needs from the configuration and shares with its siblings.

#include "actors/admission.hpp"
#include "net/address_range.hpp"
#include "net/http_server.hpp"
#include "net/membership_claims.hpp"
#include "net/ws_hub.hpp"
#include "protocol/hash.hpp"
#include "protocol/ids.hpp"
#include "protocol/limits.hpp"
#include "protocol/seams.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace parley::actors {
struct node_gauges;
class presence_table;
class read_pool;
class tenant_table;
}  // namespace parley::actors

namespace parley::net {

class tenant_origins;
class ticket_book;
class traffic_limits;

struct gateway_counters;
struct webhook_client_counters;

struct gateway_options {
  node_limits limits;
  http_options http;
  hub_options hub;
  std::string master_key;  ///< secret; compared in constant time, never shown
  secret_key sealing_key{};
  std::vector<std::string> ws_allowed_origins;
  bool ws_jwt_in_query = false;
  std::string server_version;
  epoch_id epoch;
  std::size_t ring_bytes = limits::ring_total_bytes;  ///< this gateway's share
  std::size_t outbound_total_bytes = 0;  ///< of all this gateway's connections; 0: none
  std::uint32_t ws_frame_rate = 0;       ///< frames a second and connection; 0: none
  std::uint32_t ws_frame_burst = 1;
  std::uint32_t ws_max_unauthenticated = 1000;  ///< 0: none
  std::uint32_t max_rooms_per_tenant = 0;       ///< 0: none
  std::int64_t presence_max_members = 200;
  std::int64_t receipt_max_members = 50;
  std::chrono::milliseconds typing_timeout{6000};
  std::chrono::milliseconds auth_frame_timeout{5000};
  /// An unacknowledged notification is sent again after that, then after twice as long, at most after …
  std::chrono::milliseconds retry_interval{5000};
  std::chrono::milliseconds retry_max_interval{3'600'000};  ///< … this
  std::vector<address_range> metrics_allow;                 ///< who may scrape the public listener
  bool webhook_allow_private = false;  ///< where `webhook_url` may point (net/webhook_target)
};

/// What all gateways of a node share: atomics and immutable things.
struct node_shared {
  const clock& now;
  random_source& random;
  const actors::node_gauges& gauges;
  std::shared_ptr<actors::admission> budget;  ///< the node's admission credit
  const actors::presence_table& online;
  const actors::tenant_table& tenants;
  ticket_book& tickets;
  tenant_origins& origins;
  traffic_limits& traffic;
  mono_time started;
  std::atomic<bool> ready{false};            ///< `/readyz`
  std::atomic<bool> draining{false};         ///< `/readyz` says 503; all else is served
  std::atomic<bool> closing{false};          ///< no new WebSockets
  std::atomic<std::int64_t> connections{0};  ///< open WebSockets, all gateways
  std::atomic<std::uint64_t> messages_accepted{0};
  std::atomic<std::int64_t> unauthenticated{0};
  std::atomic<std::uint64_t> flooding_closed{0};  ///< connections closed with 4029
  std::atomic<std::uint64_t> ephemerals_sent{0};  ///< presence, typing, receipts
  std::atomic<std::uint64_t> ephemerals_dropped{0};  ///< for readers that are behind, or beyond a bound
  membership_claims claims{};
  // Set before the first listener opens, then read only.
  const actors::read_pool* readers = nullptr;
  const webhook_client_counters* webhooks = nullptr;
  std::vector<const gateway_counters*> counters{};  ///< of each gateway
};

}  // namespace parley::net
