#pragma once
/// What the writer does with notifications (SPEC 6) and the topics that users subscribe to.
///
/// A notification is one row. Who is to have it: named users and subscribers by a row each in `notification_pending`, as
/// they were when it was made; the members of its room by their membership, from before it, and without a row in
/// `notification_acks`. So one for 100,000 members is one row.
///
///   waits ──all have it──▶ done ──idempotency_ttl old──▶ (gone)         done: its payload is gone
///     │  ▲                  ▲
///     ▼  └──────retry────┐  │ its dead letter goes (store/dead_letters.hpp)
///   dead ────────────────┴──┘
///
/// A room's notification is done by the last acknowledgement only if nobody else is asked for it and the room is small;
/// else when its time is over (store/notification_expiry.hpp).
///
/// Owner      the writer, inside its transaction.
/// Invariants a row of `notification_pending` or `notification_acks` of one that does not wait counts as absent: it goes
///            with its notification at the latest.

#include "protocol/ids.hpp"
#include "store/call_keys.hpp"
#include "store/outbox.hpp"
#include "store/room_ends.hpp"
#include "store/sqlite_db.hpp"
#include "store/store.hpp"
#include "store/user_names.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace parley::store {

enum class notification_state : std::uint8_t { waits = 1, done = 2, dead = 3 };

/// What a dead letter of a notification has noted for a retry.
struct dead_notification {
  notification_no no;
  std::vector<user_no> recipients;
  utc_time created_at{};  ///< of the letter: who was erased since is not asked again
};

class notification_writes {
 public:
  /// Rooms up to so many members are looked through after each acknowledgement: have all?
  static constexpr std::int64_t small_room_members = 64;

  /// Throws db_exception.
  notification_writes(connection& db, user_names& users, room_ends& rooms, call_keys& keys,
                      const clock& now);

  /// As in store.hpp. It is as old as this call: whoever became a member of its room before has it.
  write_result<created_notification> create(const new_notification& n);
  write_result<void> acknowledge(const user_key& user, const std::vector<uuid>& notifications);
  write_result<void> attempted(tenant_no tenant,
                               const std::vector<std::pair<uuid, std::uint32_t>>& written,
                               utc_time at);

  write_result<void> subscribe(tenant_no tenant, const tenant_change::subscribe_topic& s,
                               utc_time at);
  write_result<void> unsubscribe(tenant_no tenant, const tenant_change::unsubscribe_topic& u);

  /// It waits again, as long as it did: for those that were noted, and for all members of its room that lack it. Connections
  /// that are open get it when they connect again.
  write_result<void> retry(tenant_no tenant, const dead_notification& letter, utc_time at);

  // In pieces: what they return counts as rows; 0: nothing is left.
  write_result<std::int64_t> erase_user(tenant_no tenant, user_no user, std::int64_t max_rows);
  write_result<std::int64_t> clear_tenant(tenant_no tenant, std::int64_t max_rows);
  /// The rows that wait for it, if it does not.
  write_result<std::int64_t> clear_pending(notification_no no, std::int64_t max_rows);
  /// One that does not wait, with all its rows, its own the last.
  write_result<std::int64_t> remove(notification_no no, std::int64_t max_rows);

  /// All who are to have it have it.
  write_result<void> finish(notification_no no);

  struct counts {
    std::uint64_t created = 0;
    std::uint64_t acknowledged = 0;  ///< by one user each
    std::uint64_t expired = 0;       ///< likewise
    std::uint64_t dead_letters = 0;
  };
  /// A dead letter says that so many users lack one.
  void count_expired(std::int64_t users);
  void committed();
  void undone() { counting_ = {}; }
  [[nodiscard]] const counts& counted() const { return counts_; }  ///< of what is committed

 private:
  struct target_room {
    room_no no;
    std::int64_t members = 0;
  };
  struct target_user {
    user_no no;
    user_id id;
  };
  write_result<std::optional<created_notification>> find_call_key(const new_notification& n);
  write_result<std::optional<target_room>> room_of(const new_notification& n);
  /// Named and subscribed ones, each once.
  write_result<std::vector<target_user>> users_of(const new_notification& n);
  write_result<void> leave_out_members(std::vector<target_user>& users, tenant_no tenant,
                                       room_no room, utc_time created_at);
  /// Of a room's notifications from then on.
  write_result<bool> is_entitled(tenant_no tenant, user_no user, room_no room, utc_time created_at);
  /// Somebody had it. It is done if he was the last.
  write_result<void> finish_if_last(notification_no no);
  /// A statement that comes after the first of an item.
  write_result<std::int64_t> later(bool ran);

  connection& db_;
  user_names& users_;
  room_ends& rooms_;
  call_keys& keys_;
  const clock& clock_;
  counts counting_;  ///< by the transaction
  counts counts_;

  statement select_made_;
  statement select_member_count_;
  statement select_subscribers_;
  statement select_member_;
  statement insert_;
  statement insert_pending_;
  statement select_waiting_;
  statement delete_pending_;
  statement insert_ack_;
  statement has_pending_;
  statement select_room_;
  statement lacking_member_;
  statement finish_;
  statement attempted_;
  statement select_subscription_;
  statement count_subscriptions_;
  statement insert_subscription_;
  statement delete_subscription_;
  statement revive_;
  statement insert_recipient_;
  statement select_pending_of_user_;
  statement delete_subscriptions_of_user_;
  statement delete_pending_of_tenant_;
  statement delete_subscriptions_of_tenant_;
  statement select_of_tenant_;
  statement waits_;
  statement delete_pending_rows_;
  statement delete_acks_;
  statement delete_;
};

}  // namespace parley::store
