#pragma once
/// Single-use tickets for a browser's socket (SPEC 3): `wst_…` in the place of a credential, good once and for a short
/// time. Derived (I9): a restart forgets them, and the browser fetches another.
/// Owner      the node: one for all gateways.
/// Threads    any; one lock, held for a few look-ups.
/// Invariants a ticket is redeemed at most once, whoever asks at the same time; what is kept of it is its SHA-256.
/// Bound      tickets_max; beyond it the tenant that holds the most loses its oldest, so a tenant that asks for more and
///            more takes them from itself.

#include "protocol/hash.hpp"
#include "protocol/ids.hpp"
#include "protocol/seams.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

namespace parley::net {

inline constexpr std::size_t tickets_max = 65'536;  // three herds of a full node, not yet redeemed
inline constexpr std::string_view ticket_prefix = "wst_";

/// Whom a ticket lets in: what the credential that asked for it would.
struct ticket_grant {
  tenant_no tenant;
  user_id user;
  key_id key;                            ///< of the credential that asked; revoked with it
  std::optional<utc_time> expires_at{};  ///< of that credential
  std::optional<utc_time> issued_at{};   ///< likewise
};

class ticket_book {
 public:
  explicit ticket_book(std::chrono::milliseconds ttl, std::size_t max = tickets_max);
  ticket_book(const ticket_book&) = delete;
  ticket_book& operator=(const ticket_book&) = delete;

  /// Shown once: to whoever asked.
  [[nodiscard]] std::string issue(ticket_grant grant, mono_time now, random_source& random);
  /// nullopt: unknown, used, lapsed or pushed out; they are alike. The caller judges whether tenant, key and expiry still
  /// stand.
  [[nodiscard]] std::optional<ticket_grant> redeem(std::string_view ticket, mono_time now);

  [[nodiscard]] std::chrono::milliseconds ttl() const { return ttl_; }
  /// Good ones, and lapsed ones that nobody has swept yet.
  [[nodiscard]] std::size_t size() const;
  /// Pushed out by the bound, since the start.
  [[nodiscard]] std::uint64_t evicted() const;

 private:
  using number = std::uint64_t;  // in the order of issue
  struct held {
    sha256_digest digest{};
    ticket_grant grant;
    mono_time until{};
  };
  struct digest_hash {
    std::size_t operator()(const sha256_digest& d) const;
  };
  using held_map = std::map<number, held>;

  void forget(held_map::iterator it);
  void sweep(mono_time now);
  void make_room();

  const std::chrono::milliseconds ttl_;
  const std::size_t max_;
  mutable std::mutex mutex_;
  number next_ = 1;
  std::uint64_t evicted_ = 0;
  held_map tickets_;
  std::unordered_map<sha256_digest, number, digest_hash> by_digest_;
  std::unordered_map<tenant_no, std::set<number>> by_tenant_;  ///< no empty sets
};

}  // namespace parley::net
