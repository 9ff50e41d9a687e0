#pragma once
/// The actor side of a node, as net and app see it: no CAF here. Starts and stops in order.
/// Threads    construct and stop from one thread; shared() may be read from any.

#include "actors/admission.hpp"
#include "actors/directory.hpp"
#include "actors/outbox_options.hpp"
#include "actors/presence_table.hpp"
#include "actors/read_pool.hpp"
#include "actors/room.hpp"
#include "actors/session.hpp"
#include "actors/tally.hpp"
#include "actors/tenant_table.hpp"
#include "actors/webhook_client.hpp"
#include "protocol/ids.hpp"
#include "protocol/seams.hpp"
#include "store/store.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace parley::actors {

/// What all threads may look at: atomics, and tallies of the storage thread.
struct node_gauges {
  std::atomic<bool> writable{true};
  std::atomic<bool> corrupt{false};  ///< the file is damaged
  std::atomic<std::int64_t> commit_queue_age_ms{
      0};  ///< of the oldest message in the last commit; 0: nothing waits
  std::atomic<std::uint64_t> commits{0};
  std::atomic<std::uint64_t> rows{0};
  std::atomic<std::uint64_t> failed_commits{0};
  std::atomic<std::int64_t> commit_queue_items{0};  ///< taken from the mailbox and not yet written
  std::atomic<std::uint64_t> stale_appends{0};
  std::atomic<std::uint64_t> lost_generations{0};
  std::atomic<std::int64_t> wal_pages{0};
  std::atomic<std::int64_t> database_pages{0};
  std::atomic<std::uint64_t> checkpoint_pieces{0};
  std::atomic<std::uint64_t> checkpoint_restarts{0};
  std::atomic<std::uint64_t> checkpoints_busy{0};
  std::atomic<std::int64_t> checkpoint_time_ns{0};
  histogram commit_time{latency_bounds_ns};  ///< from a group's first row to its last answer
  histogram commit_rows{row_bounds};         ///< a group
  // Of the outbox (SPEC 6).
  std::atomic<std::int64_t> events_waiting{0};  ///< stored and not delivered yet, all endpoints
  std::atomic<std::int64_t> events_lag{0};      ///< entries of the log that are not looked at yet
  std::atomic<std::uint64_t> events_stored{0};
  std::atomic<std::uint64_t> events_dropped{0};  ///< an endpoint's queue was full
  std::atomic<std::uint64_t> events_obsolete{0};
  std::atomic<std::uint64_t> presence_dropped{0};  ///< too much waited to be stored
  std::atomic<std::uint64_t> webhook_attempts{0};
  std::atomic<std::uint64_t> webhook_delivered{0};
  std::atomic<std::uint64_t> webhook_failures{0};  ///< attempts that failed
  std::atomic<std::uint64_t> webhook_given_up{0};
  std::atomic<std::int64_t> webhooks_in_flight{0};
  std::atomic<std::int64_t> endpoints{0};
  std::atomic<std::int64_t> endpoints_resting{0};  ///< their breakers are open
  std::atomic<std::int64_t> endpoints_disabled{0};
  std::atomic<std::uint64_t> outbox_late_answers{0};
  std::atomic<std::uint64_t> dead_letters{0};
  std::atomic<std::uint64_t> notifications_created{0};
  std::atomic<std::uint64_t> notifications_acknowledged{0};
  std::atomic<std::uint64_t> notifications_expired{0};
  histogram webhook_time{latency_bounds_ns};   ///< an attempt
  histogram webhook_delay{latency_bounds_ns};  ///< from what an event tells of to its delivery
  std::atomic<std::int64_t> live_rooms{0};     ///< actors alive; tests count them
  std::atomic<std::int64_t> live_sessions{0};
  std::atomic<std::int64_t> live_tenants{0};
  std::atomic<std::uint64_t> exceptions{0};  ///< that left a handler: each ended one actor
  std::atomic<std::uint64_t> unmatched{0};   ///< messages nobody handles: a bug
};

struct node_actors_options {
  room_options room;
  directory_options directory;
  session_options session;
  std::int64_t receipt_max_members = 50;
  read_pool_options readers;
  std::size_t scheduler_threads = 2;  ///< 0: no threads at all, the caller runs the actors (tests)
  secret_key sealing_key{};           ///< opens tenants' JWT secrets
  std::size_t admission_rows = limits::admission_max_rows;
  std::size_t admission_bytes = limits::admission_max_bytes;
  std::chrono::milliseconds maintain_interval{200};
  outbox_options outbox{};
  std::shared_ptr<webhook_client> webhooks{};  ///< nullptr: no outbox
  /// I10: called on the storage thread when the outcome of a write is unknown, or when an actor that the node can't do
  /// without has failed. Must not return (status 74).
  std::function<void(const error&)> fatal;
};

struct actor_context;  // CAF's side: actor_system.hpp

class node_actors {
 public:
  node_actors(store::database& database, const node_actors_options& options, const clock& now,
              random_source& random);
  ~node_actors();
  node_actors(const node_actors&) = delete;
  node_actors& operator=(const node_actors&) = delete;

  /// Once all gateways are known: those tenants whose origins count before anybody has named them (SPEC 3).
  void show_tenants_with_origins();

  /// For gateways (their .cpp knows actor_system.hpp).
  [[nodiscard]] actor_context& context() { return *context_; }
  [[nodiscard]] const node_gauges& gauges() const;
  [[nodiscard]] std::shared_ptr<admission> budget() const;
  [[nodiscard]] const presence_table& online() const;
  [[nodiscard]] const tenant_table& tenants() const;
  /// Until stop().
  [[nodiscard]] const read_pool& readers() const;

  /// After the gateways have stopped: ends sessions, rooms, then storage (its last commit, the checkpoint, the clean
  /// mark). False: not within `deadline`; the process should end without more manners.
  bool stop(std::chrono::milliseconds deadline);

 private:
  std::unique_ptr<actor_context> context_;
};

}  // namespace parley::actors
