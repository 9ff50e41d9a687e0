#pragma once
/// Takes a tenant, or a user, out of the outbox and out of the dead letters: the part of jobs that is about them.
///
/// A row about the user alone goes; of one that names others, too, the user's name goes. Rows about entries hold nothing
/// that the log does not.
///
/// Owner      the writer, inside its transaction. In pieces: what a call returns counts as rows; 0: nothing is left.

#include "store/outbox_writes.hpp"
#include "store/sqlite_db.hpp"
#include "store/store.hpp"

#include <cstdint>
#include <string_view>

namespace parley::store {

class outbox_erasure {
 public:
  /// Throws db_exception.
  outbox_erasure(connection& db, outbox_writes& outbox);

  write_result<std::int64_t> clear_tenant(tenant_no tenant, std::int64_t max_rows);
  /// Rows behind `place`, which moves.
  write_result<std::int64_t> erase_rows(tenant_no tenant, std::string_view user, outbox_no& place,
                                        std::int64_t max_rows);
  write_result<std::int64_t> erase_letters(tenant_no tenant, user_no user, std::string_view name,
                                           dead_no& place, std::int64_t max_rows);

 private:
  write_result<void> erase_letter(const dead_row& letter, user_no user, std::string_view name);
  /// A statement that comes after the first of an item.
  write_result<std::int64_t> later(bool ran);

  connection& db_;
  outbox_writes& outbox_;

  statement delete_rows_;
  statement delete_letters_;
  statement delete_chores_;
  statement select_rows_;
  statement update_row_;
  statement select_letters_;
  statement update_letter_;
};

}  // namespace parley::store
