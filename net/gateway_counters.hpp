#pragma once
/// What one gateway counts, for /metrics and /admin/stats.
/// Owner      its gateway, which moves them on its I/O thread; any thread reads them (actors/tally.hpp).
/// Bound      fixed, and one row a route.

#include "actors/tally.hpp"
#include "net/http_server.hpp"
#include "net/refusals.hpp"
#include "net/subscriptions.hpp"
#include "net/ws_hub.hpp"
#include "protocol/client_frame.hpp"
#include "protocol/close_codes.hpp"
#include "protocol/errors.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace parley::net {

using actors::histogram;
using actors::tally;

/// How an upgrade ended, by the status of its answer.
enum class upgrade_outcome : std::uint8_t {
  accepted,         ///< 101
  malformed,        ///< 400, 426
  unauthenticated,  ///< 401
  forbidden,        ///< 403: the origin
  limited,          ///< 429
  unavailable,      ///< 503
  failed,           ///< anything else
};
inline constexpr std::size_t upgrade_outcomes = 7;
[[nodiscard]] upgrade_outcome upgrade_outcome_of(int status);
[[nodiscard]] std::string_view name_of(upgrade_outcome outcome);

inline constexpr std::size_t error_codes = 12;
static_assert(static_cast<std::size_t>(error_code::unavailable) + 1 == error_codes);
inline constexpr std::size_t frame_kinds =
    std::variant_size_v<client_command> + 1;  ///< the last: not understood
[[nodiscard]] std::string_view frame_kind_name(std::size_t kind);

/// Of each row of close_registry(), of lost sockets, and of codes that peers make up; in this order.
inline constexpr std::size_t close_places_max = 32;
[[nodiscard]] std::size_t close_places();
[[nodiscard]] std::size_t close_place(close_code code);
/// `1000`, …, `1005`, `other`.
[[nodiscard]] std::string close_place_name(std::size_t place);

/// Of one route: a row of routes(), or what is none of them.
struct route_counters {
  static constexpr std::size_t classes = 5;  ///< 1xx … 5xx
  std::array<tally, classes> by_class{};
  histogram took{actors::latency_bounds_ns};
};

struct gateway_counters {
  explicit gateway_counters(std::size_t routes) : by_route(routes + 1) {}

  // HTTP
  std::vector<route_counters> by_route;  ///< as in routes(); the last: no such path or method
  std::array<tally, error_codes> http_errors{};  ///< answers with an error body, by its code
  std::array<tally, upgrade_outcomes> upgrades{};

  // WebSocket
  tally opened;                                  ///< connections that got their `hello`
  std::array<tally, close_places_max> closed{};  ///< by close_place()
  std::array<tally, frame_kinds> frames{};
  std::array<tally, error_codes> ws_errors{};  ///< `error` frames, by their code

  // Messages
  tally duplicates;  ///< repeats of a key, answered with the first result
  tally changes;     ///< edits and deletes that were done
  std::array<tally, error_codes> refused_sends{};  ///< sends, edits and deletes, REST and WebSocket

  std::array<tally, refusals> refused{};
  tally late_answers;  ///< that came after their deadline
  tally timeouts;      ///< WebSocket calls that got no answer in time

  // Copied at each tick from parts that count for themselves.
  tally ws_outbound_bytes;
  tally subscriptions_live;
  tally rooms_followed;
  tally ring_bytes;
  tally receipts_waiting;
  tally calls_waiting;
  tally http_open;

  tally entries_from_ring;
  tally entries_from_pages;
  tally pages;
  tally stale_pages;
  tally list_rereads;
  tally postponed_reads;
  std::array<tally, sync_outcomes> synced{};
  tally ephemerals_sent;
  tally ephemerals_behind;
  tally ephemerals_full;
  tally ephemerals_budget;
  tally notifications_sent;
  tally notifications_again;
  tally notification_connections;
  tally notification_pages;
  tally notification_room_pages;
  tally notification_overflows;

  // The parts' own.
  const http_counters* http = nullptr;
  const http_counters* admin_http = nullptr;  ///< nullptr: this gateway has no admin listener
  const hub_counters* hub = nullptr;

  tally& refuse(refused_by limit) { return ++refused[static_cast<std::size_t>(limit)]; }
};

}  // namespace parley::net
