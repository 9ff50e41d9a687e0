#pragma once
/// What could not be delivered, kept for the operator: bounded in number for each tenant and in time.
///
/// Owner      the writer, inside its transaction; prune() outside of any.
/// Invariants a letter is in the table from the transaction that gave up what it tells of until the one that queues it again
///            or lets it go.
/// Bound      limits::dead_letters_max for each tenant: beyond, the oldest goes. As many tenants are counted as give up
///            something, at most 4,096 (a few dozen bytes each).

#include "store/bounded_cache.hpp"
#include "store/outbox.hpp"
#include "store/sqlite_db.hpp"
#include "store/store.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley::store {

using dead_no = strong_int<struct dead_no_tag>;  ///< row of a dead letter; never reused

/// A dead letter as it is stored.
struct dead_row {
  dead_no no{};  ///< given by bury()
  tenant_no tenant;
  dead_kind kind = dead_kind::webhook;
  // Of a message or webhook:
  lane_no lane{};
  event_type type = event_type::webhook_test;
  log_id log{};
  std::optional<user_no> recipient{};
  std::string event_id{};  ///< 16 bytes
  std::string data{};
  utc_time at{};  ///< of what it tells of
  // Of a notification:
  std::optional<notification_no> notification{};
  std::optional<std::chrono::milliseconds> ttl{};  ///< as long as it had
  // Of all:
  /// Of what was for many, who lacked it: a JSON array of users' numbers; empty: not noted.
  std::string recipients{};
  std::uint32_t attempts = 0;
  std::optional<utc_time> last_attempt_at{};
  std::string error{};
  utc_time created_at{};
};

/// As operators name it; nullopt: of no such form.
[[nodiscard]] std::optional<dead_no> parse_dead_letter_id(std::string_view id);
[[nodiscard]] std::string dead_letter_id(dead_no no);
/// Of the column `recipients`; what is no number is passed over.
[[nodiscard]] std::vector<user_no> parse_recipients(std::string_view json);
[[nodiscard]] std::string recipients_text(const std::vector<user_no>& users);

class dead_letters {
 public:
  static constexpr std::size_t tenants_counted_max = 4096;
  /// Throws db_exception.
  explicit dead_letters(connection& db);

  /// Not the first statement of its item.
  write_result<void> bury(const dead_row& row);
  /// nullopt: this tenant has no such letter.
  write_result<std::optional<dead_row>> find(tenant_no tenant, dead_no no);
  /// The first letter of an event, of this tenant, in (after, upto].
  write_result<std::optional<dead_row>> next_event(tenant_no tenant, dead_no after, dead_no upto);
  /// 0: there is none.
  write_result<dead_no> newest(tenant_no tenant);
  /// Takes the letter away, not the notification that it tells of.
  write_result<void> take(const dead_row& row);
  /// Takes the letter away for good: of a notification its payload, too.
  write_result<void> let_go(const dead_row& row);

  /// A few of those from before this time; how many. In a transaction of its own.
  db_result<std::int64_t> prune(utc_time before, std::int64_t max_rows);
  /// The transaction did not come to pass, or letters went by other ways.
  void forget_counts() { counts_.clear(); }

 private:
  write_result<void> keep_bound(tenant_no tenant);
  static dead_row row_of(const statement::rows& row);
  [[nodiscard]] bool end_notification(const std::optional<notification_no>& notification);

  connection& db_;
  bounded_cache<tenant_no, std::int64_t> counts_{tenants_counted_max};

  statement insert_;
  statement select_;
  statement select_event_;
  statement select_newest_;
  statement select_oldest_;
  statement select_first_;
  statement count_;
  statement delete_;
  statement end_notification_;
};

}  // namespace parley::store
