#pragma once
/// The readers: threads with one read-only connection each. Queries wait in a queue per tenant, tenants take turns, so a
/// busy tenant delays itself first.
/// Bound      ≤ queue_max_per_tenant queries of a tenant and ≤ queue_max of all; beyond, submit() refuses at once.
/// Threads    submit() from any thread; `done` is called on a reader's thread.

#include "actors/messages.hpp"
#include "actors/tally.hpp"
#include "store/store.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace parley::actors {

struct read_pool_options {
  std::size_t threads = 2;  ///< 0: none, the owner calls run_one() (tests)
  std::size_t queue_max_per_tenant = 8192;
  std::size_t queue_max = 65536;
};

class read_pool {
 public:
  using done = std::function<void(read_result)>;

  /// One thread a reader; none with options.threads 0.
  read_pool(std::vector<std::unique_ptr<store::reader>> readers, const read_pool_options& options);
  /// Finishes the query under way, drops the rest, joins.
  ~read_pool();
  read_pool(const read_pool&) = delete;
  read_pool& operator=(const read_pool&) = delete;

  /// False: refused, `done` will not be called.
  bool submit(tenant_no tenant, read_query query, done when_done);
  /// Runs the next query in the caller's thread. False: none waits.
  bool run_one();
  [[nodiscard]] std::size_t queued() const;
  [[nodiscard]] std::uint64_t served() const;
  [[nodiscard]] std::uint64_t refused() const;
  /// From submit() to a reader's hand, and from there to the answer. Any thread.
  [[nodiscard]] const histogram& waited() const;
  [[nodiscard]] const histogram& ran() const;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace parley::actors
