#pragma once
/// The rates and counts of SPEC 4 «Bounds» that no single request can know: of a tenant, a user, an address, the node.
/// Owner      the node: one for all gateways.
/// Threads    any. Tenants: atomics in their snapshot (actors/tenant_meters.hpp); users and addresses: net/rate_table.hpp.
/// Refusals   name their configuration key (error::limit): whoever answers with one counts it.
/// Invariants what is refused takes nothing from any bucket; a connection counts from its slot's birth to its end, once.
/// Bound      users_max and addresses_max entries; one a client address with an open connection.

#include "actors/messages.hpp"
#include "net/rate_table.hpp"
#include "protocol/errors.hpp"
#include "protocol/gcra.hpp"
#include "protocol/result.hpp"
#include "protocol/seams.hpp"

#include <boost/asio/ip/address.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

namespace parley::net {

inline constexpr std::size_t rate_users_max =
    131'072;  // who has not kept still for a burst's time: ten thousand sends a second, for six seconds
inline constexpr std::size_t rate_addresses_max = 65'536;

/// Of the configuration; 0: none.
struct traffic_options {
  std::uint32_t default_rate_limit = 0;    ///< requests a second and tenant
  std::uint32_t default_message_rate = 0;  ///< messages a second and tenant
  std::uint32_t user_send_rate = 0;        ///< messages a second and user
  std::uint32_t user_send_burst = 1;
  std::uint32_t ws_connect_rate = 0;    ///< upgrades a second
  std::uint32_t auth_failure_rate = 0;  ///< a minute and address
  std::uint32_t max_connections_per_tenant = 0;
  std::uint32_t max_connections_per_address = 0;
};

class traffic_limits;

/// That a connection counts: its address's, and its tenant's once that is known. Ends itself.
class connection_slot {
 public:
  connection_slot(traffic_limits& limits, std::uint64_t address)
      : limits_(limits),
        address_(address) {}
  ~connection_slot();
  connection_slot(const connection_slot&) = delete;
  connection_slot& operator=(const connection_slot&) = delete;

  /// Counts with this tenant from now on; a refusal: it has too many (429 before the upgrade, else close code 1013). Once.
  [[nodiscard]] std::optional<error> join(const actors::tenant_snapshot& tenant);

 private:
  traffic_limits& limits_;
  const std::uint64_t address_;
  std::shared_ptr<actors::tenant_meters> tenant_;
};
using connection_slot_ptr = std::shared_ptr<connection_slot>;

class traffic_limits {
 public:
  traffic_limits(const traffic_options& options, random_source& random);
  traffic_limits(const traffic_limits&) = delete;
  traffic_limits& operator=(const traffic_limits&) = delete;

  /// Takes over other numbers while all goes on; what was counted stays.
  void apply(const traffic_options& options);

  /// How a tenant's request bucket stands: for the X-RateLimit headers.
  struct request_rate {
    std::uint32_t limit = 0;  ///< 0: none
    std::uint32_t remaining = 0;
    std::chrono::nanoseconds refill{};  ///< until all of it is there again
  };
  [[nodiscard]] request_rate rate_of(const actors::tenant_snapshot& tenant, mono_time now) const;
  /// One REST request; nullopt: it may go on.
  [[nodiscard]] std::optional<error> admit_request(const actors::tenant_snapshot& tenant,
                                                   mono_time now);

  /// Sends, edits and deletes: of the user (nullptr: the backend itself, which has no bucket), then of the tenant. The
  /// first `admitted` of them may go on; `refused` is what the others are told, with `stored: no`.
  struct message_verdict {
    std::uint32_t admitted = 0;
    std::optional<error> refused{};
  };
  [[nodiscard]] message_verdict admit_messages(const actors::tenant_snapshot& tenant,
                                               const user_id* user, std::uint32_t n, mono_time now);

  /// One upgrade; nullopt: it may go on.
  [[nodiscard]] std::optional<error> admit_connect(mono_time now);
  /// The slot of a connection from there, or why it has none.
  [[nodiscard]] result<connection_slot_ptr> take_slot(const boost::asio::ip::address& from);

  /// Counts a failed authentication; a refusal: too many came from there, and it is told this instead of 401. A valid
  /// credential is never asked about its address.
  [[nodiscard]] std::optional<error> failed_authentication(const boost::asio::ip::address& from,
                                                           mono_time now);

  /// Entries pushed out of the tables that still owed: their owners got a fresh burst.
  [[nodiscard]] std::uint64_t evicted() const { return users_.evicted() + addresses_.evicted(); }
  /// Addresses with open connections.
  [[nodiscard]] std::size_t connected_addresses() const;

 private:
  friend class connection_slot;
  using number = std::atomic<std::uint32_t>;
  [[nodiscard]] static std::uint32_t value(const number& n) {
    return n.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint32_t request_limit(const actors::tenant_snapshot& tenant) const;
  void give_back_slot(std::uint64_t address);

  number default_rate_limit_;
  number default_message_rate_;
  number user_send_rate_;
  number user_send_burst_;
  number ws_connect_rate_;
  number auth_failure_rate_;
  number max_connections_per_tenant_;
  number max_connections_per_address_;

  rate_table users_;
  rate_table addresses_;
  shared_gcra_state connects_{0};
  mutable std::mutex slots_lock_;
  std::unordered_map<std::uint64_t, std::uint32_t> slots_;  ///< open connections, by address
};

}  // namespace parley::net
