#pragma once
/// A tenant's endpoint: what its configuration asks for, and its row, read the same way by the writer and by readers.

#include "store/outbox.hpp"
#include "store/sqlite_db.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace parley::store {

struct wanted_endpoint {
  std::string url;
  event_mask events = 0;  ///< message.offline is always among them
  webhook_format format = webhook_format::parley;
};
/// What a configuration (a JSON object) says; nullopt: it has no `webhook_url`. Kinds it does not know are passed over.
[[nodiscard]] std::optional<wanted_endpoint> endpoint_in(std::string_view config);

/// The columns that decode_endpoint() reads, of a row `e` of `endpoint_state` and its tenant `t`. Of what waits the first
/// that came counts as the oldest; what is to be dropped does not wait.
inline constexpr std::string_view endpoint_columns =
    "e.tenant_no, t.tenant_id, e.url, e.events, e.format, e.since_id, e.queued, e.delivered, "
    "e.given_up, e.dropped, e.disabled_at, e.why, e.last_success_at, e.last_failure_at, "
    "e.last_error, e.replay_from, e.replay_to, (SELECT o.at FROM outbox o INDEXED BY outbox_by_age "
    "WHERE o.tenant_no = e.tenant_no AND o.outbox_no > coalesce((SELECT c.upto FROM outbox_chores "
    "c "
    "WHERE c.tenant_no = e.tenant_no AND c.chore = 1), 0) ORDER BY o.outbox_no LIMIT 1)";
[[nodiscard]] endpoint_row decode_endpoint(const statement::rows& row);

/// What is left to do for a tenant's outbox, `outbox_chores.chore`.
enum class outbox_chore : std::uint8_t {
  drop = 1,    ///< rows of the outbox up to a number: never sent any more
  requeue = 2  ///< dead letters up to a number
};

/// As it is told: `evt_` and 32 hex digits.
[[nodiscard]] std::string event_id_text(std::string_view bytes);

}  // namespace parley::store
