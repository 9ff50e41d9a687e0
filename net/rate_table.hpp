#pragma once
/// Rates of whoever may come: a state of 8 bytes each for users and addresses, in a table that never grows (DESIGN 11).
/// Owner      the node, one for each purpose.
/// Threads    any; a lock a shard, held for one look into one set.
/// Invariants an entry whose bucket is full again says what no entry says: it is given away first and nothing is lost by
///            it. Of those that still owe, the one that owes least goes; its owner then has a whole burst again.
/// Bound      `entries`, 16 bytes each; O(1): the ways of one set are looked through, whatever the table holds.

#include "protocol/gcra.hpp"
#include "protocol/siphash.hpp"

#include <boost/asio/ip/address.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string_view>

namespace parley::net {

class rate_table {
 public:
  /// `entries` is rounded up to a power of two, at least one shard's worth.
  rate_table(std::size_t entries, random_source& random);
  rate_table(const rate_table&) = delete;
  rate_table& operator=(const rate_table&) = delete;

  /// Of a name (a user's id at most) in `space` (such as a tenant's number): strangers can't choose two that meet.
  [[nodiscard]] std::uint64_t key_of(std::int64_t space, std::string_view name) const;

  struct verdict {
    std::uint32_t admitted = 0;
    std::chrono::nanoseconds wait{};  ///< until one more is; 0: now
  };
  /// How many of `n` events of `key` fit; those count.
  verdict admit_up_to(std::uint64_t key, const gcra& limit, std::uint32_t n, mono_time now);
  /// `n` that were admitted have not happened.
  void give_back(std::uint64_t key, const gcra& limit, std::uint32_t n);

  /// Entries that still owed when others took their place.
  [[nodiscard]] std::uint64_t evicted() const { return evicted_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t entries() const { return sets_ * ways; }

  static constexpr std::size_t ways = 8;  // a set is two cache lines
  static constexpr std::size_t entry_bytes = 16;

 private:
  struct entry {
    std::uint64_t key;  ///< 0: none
    std::int64_t due;   ///< of gcra_state
  };
  struct set_of_entries {
    std::array<entry, ways> entries;
  };
  static_assert(sizeof(entry) == entry_bytes);
  struct free_memory {
    void operator()(void* p) const { std::free(p); }  // NOLINT(cppcoreguidelines-no-malloc)
  };
  static constexpr std::size_t shards = 64;

  [[nodiscard]] std::size_t place_of(std::uint64_t key) const { return key & (sets_ - 1); }

  const siphash_key secret_;
  const std::size_t sets_;
  /// calloc: pages that nobody used are not there.
  std::unique_ptr<set_of_entries[], free_memory> table_;  // NOLINT(*-avoid-c-arrays)
  std::array<std::mutex, shards> locks_;
  std::atomic<std::uint64_t> evicted_{0};
};

/// The part of an address that counts as one caller: an IPv4 address, the first 64 bits of an IPv6 one.
struct address_prefix {
  std::array<char, 9> bytes{};
  std::size_t size = 0;
  [[nodiscard]] std::string_view view() const { return {bytes.data(), size}; }
};
[[nodiscard]] address_prefix prefix_of(const boost::asio::ip::address& address);

}  // namespace parley::net
