#pragma once
/// What a reader tells of notifications: which ones wait for a user, and who subscribes to what.
///
/// Owner      a reader, inside its snapshot.
/// Orders     by number. Those with a row of the user and those of each of its rooms are streams, merged: a page ends
///            between two numbers, and the next goes on there without a hole.
/// Bound      a page looks at no more than page_steps notifications, besides one look for each of the user's rooms.

#include "store/outbox.hpp"
#include "store/sqlite_db.hpp"
#include "store/user_names.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley::store {

class notification_reads {
 public:
  static constexpr std::size_t page_steps = 4096;  // some 10 ms

  /// Throws db_exception.
  notification_reads(connection& db, user_names& users);

  /// False: none waits for this user.
  db_result<bool> may_wait(tenant_no tenant, user_no user);
  db_result<pending_notifications> pending(tenant_no tenant, user_no user, notification_no after,
                                           utc_time now, std::size_t max_items,
                                           std::size_t max_bytes);
  db_result<std::vector<std::string>> topics(tenant_no tenant, user_no user);
  /// What the dead letter says that lies with its notification; `recipients` as they are stored.
  db_result<void> describe(dead_letter& letter, notification_no no, std::string_view recipients);

 private:
  /// Where the user has some: by rows of its own, or by one of its rooms.
  struct stream {
    std::optional<room_no> room{};
    utc_time joined_at{};
    // The next one:
    notification_no no;
    utc_time created_at{};
    utc_time expires_at{};
  };
  static bool comes_later(const stream& a, const stream& b) { return a.no > b.no; }
  /// To the first behind `after`. False: there is none.
  db_result<bool> advance(stream& s, tenant_no tenant, user_no user, notification_no after);
  db_result<std::vector<stream>> streams_of(tenant_no tenant, user_no user, notification_no after);
  /// nullopt: it does not wait for this user any more.
  db_result<std::optional<shown_notification>> shown(notification_no no, user_no user, utc_time now);

  connection& db_;
  user_names& users_;

  statement has_pending_;
  statement has_of_rooms_;
  statement next_pending_;
  statement next_of_room_;
  statement select_rooms_;
  statement select_shown_;
  statement select_last_;
  statement select_topics_;
  statement select_described_;
};

}  // namespace parley::store
