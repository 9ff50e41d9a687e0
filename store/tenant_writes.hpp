#pragma once
/// What the writer does with tenants: creation, changes, and whether one may write at all.
///
/// Owner      the writer, inside its transaction.
/// Invariants what is remembered of a tenant is what the transaction would read. After a rollback nothing is: forget_all().
/// Bound      as many tenants are remembered as there are in use, at most 65,536 (40 bytes each).

#include "store/bounded_cache.hpp"
#include "store/notification_writes.hpp"
#include "store/outbox_writes.hpp"
#include "store/sqlite_db.hpp"
#include "store/store.hpp"
#include "store/tenant_rows.hpp"
#include "store/user_names.hpp"

#include <string_view>

namespace parley::store {

class tenant_writes {
 public:
  /// Throws db_exception.
  tenant_writes(connection& db, user_names& users, outbox_writes& outbox,
                notification_writes& notifications);

  write_result<tenant_no> create(const new_tenant& tenant);
  write_result<tenant_row> change(const tenant_change& change);
  write_result<void> store_key_used(tenant_no tenant, const key_id& key, utc_time at);

  /// Refuses what a tenant that is disabled or deleted would write, in the words for a room that is not there.
  write_result<void> check_live(tenant_no tenant);
  void forget_all() { live_.clear(); }

 private:
  write_result<void> apply(const tenant_row& row, const tenant_change::update& u, utc_time at);
  write_result<void> apply(const tenant_row& row, const tenant_change::add_credential& a,
                           utc_time at);
  write_result<void> apply(const tenant_row& row, const tenant_change::delete_credential& d,
                           utc_time at);
  write_result<void> apply(const tenant_row& row, const tenant_change::remove& r, utc_time at);
  write_result<void> apply(const tenant_row& row, const tenant_change::revoke_user& r, utc_time at);
  write_result<void> apply(const tenant_row& row, const tenant_change::erase_user& e, utc_time at);
  write_result<void> apply(const tenant_row& row, const tenant_change::set_retention& s, utc_time at);
  write_result<void> apply(const tenant_row& row, const tenant_change::subscribe_topic& s,
                           utc_time at);
  write_result<void> apply(const tenant_row& row, const tenant_change::unsubscribe_topic& u,
                           utc_time at);
  write_result<void> apply(const tenant_row& row, const tenant_change::retry_dead_letter& r,
                           utc_time at);
  write_result<void> apply(const tenant_row& row, const tenant_change::delete_dead_letter& d,
                           utc_time at);
  write_result<void> apply(const tenant_row& row, const tenant_change::replay_events& r, utc_time at);

  [[nodiscard]] bool insert_credential(tenant_no tenant, const new_credential& c, utc_time at);
  write_result<void> raise_revision(tenant_no tenant);
  write_result<void> revoke(user_no user, utc_time before);
  write_result<void> order_job(std::string_view id, std::string_view kind, tenant_no tenant,
                               std::string_view subject, utc_time at);

  connection& db_;
  user_names& users_;
  outbox_writes& outbox_;
  notification_writes& notifications_;
  tenant_decoder decoder_;
  bounded_cache<tenant_no, bool> live_;

  statement insert_tenant_;
  statement insert_credential_;
  statement select_by_id_;
  statement select_by_no_;
  statement select_live_;
  statement update_;
  statement raise_revision_;
  statement count_kind_;
  statement delete_credential_;
  statement remove_;
  statement revoke_;
  statement insert_job_;
  statement set_retention_;
  statement update_last_used_;
};

}  // namespace parley::store
