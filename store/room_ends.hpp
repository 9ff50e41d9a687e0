#pragma once
/// Where each room's log ends, for the writer: what makes it cheap to refuse a seq that is not the next (I2).
///
/// Owner      the writer. Reads through the writer's connection, so it sees what the transaction holds so far.
/// Invariants what is here is what the transaction would read. After a rollback nothing is: forget_all().
/// Bound      `max_rooms`, about 150 bytes a room.

#include "protocol/ids.hpp"
#include "store/bounded_cache.hpp"
#include "store/sqlite_db.hpp"

#include <cstddef>
#include <optional>

namespace parley::store {

struct room_end {
  tenant_no tenant;
  room_seq last_seq;
  bool live = true;  ///< false: a tombstone
};

class room_ends {
 public:
  /// Throws db_exception.
  room_ends(connection& db, std::size_t max_rooms);

  /// Null: no such live room in this tenant. The pointer is good until the next call here.
  db_result<room_end*> find(tenant_no tenant, room_no room);
  /// The same by the room's id.
  db_result<std::optional<room_no>> find(tenant_no tenant, room_id room);
  void put(room_no room, const room_id& id, const room_end& end);
  /// A tombstone was set.
  void gone(room_no room);
  void forget_all();

 private:
  connection& db_;
  bounded_cache<room_no, room_end> ends_;
  bounded_cache<room_key, room_no> numbers_;
  statement select_end_;
  statement select_no_;
};

}  // namespace parley::store
