#pragma once
/// The tenant's backend, as the load tool plays it: makes the tenant, the rooms and their members over REST (SPEC 4)
/// before any load. Many rooms are made over several connections at once, so that the node can commit them in groups.

#include "bench/rest_client.hpp"
#include "bench/target_url.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley::bench {

struct tenant_access {
  std::string tenant_id;  // empty: not ours, only the key was given
  std::string api_key;
};

/// POST /v1/admin/tenants. `config_json`: a JSON object, or empty.
[[nodiscard]] tenant_access create_tenant(const target_url& target, const std::string& master_key,
                                          const std::string& config_json);
/// PATCH /v1/admin/tenants/{id}: this JSON object is its configuration from now on.
void configure_tenant(const target_url& target, const std::string& master_key,
                      const std::string& tenant_id, const std::string& config_json);
/// GET /v1/admin/tenants/{id}/webhook: events that wait for its endpoint.
[[nodiscard]] std::uint64_t queued_events(const target_url& target, const std::string& master_key,
                                          const std::string& tenant_id);
/// DELETE /v1/admin/tenants/{id}; false if the node would not.
bool delete_tenant(const target_url& target, const std::string& master_key,
                   const std::string& tenant_id);

struct room_order {
  std::vector<std::string> members;
};

/// Makes the rooms, in any order, and gives their ids in the order of `orders`. 429 and 503 are waited for and tried
/// again until `deadline_s`; any other refusal is a setup_error. `is_stopped` is asked between rooms.
[[nodiscard]] std::vector<std::string> create_rooms(const target_url& target,
                                                    const std::string& api_key,
                                                    const std::vector<room_order>& orders,
                                                    double deadline_s,
                                                    const std::function<bool()>& is_stopped);

/// Members beyond the first thousand join in pieces: the bound of POST /rooms/{id}/members.
inline constexpr std::size_t members_max_per_call = 1000;

}  // namespace parley::bench
