#include "store/room_ends.hpp"

namespace parley::store {

room_ends::room_ends(connection& db, std::size_t max_rooms)
    : db_(db),
      ends_(max_rooms),
      numbers_(max_rooms),
      select_end_(
          db,
          "SELECT r.tenant_no, r.deleted_at IS NULL, coalesce((SELECT l.seq FROM room_log l "
          "WHERE l.room_no = r.room_no ORDER BY l.seq DESC LIMIT 1), r.first_seq - 1) "
          "FROM rooms r WHERE r.room_no = ?"),
      select_no_(
          db,
          "SELECT room_no FROM rooms WHERE tenant_no = ? AND room_id = ? AND deleted_at IS NULL") {}

db_result<room_end*> room_ends::find(tenant_no tenant, room_no room) {
  room_end* end = ends_.find(room);
  if (end == nullptr) {
    auto q = select_end_.query(room);
    if (!q.next()) {
      if (q.failed()) return db_.last_failure();
      return nullptr;
    }
    end = &ends_.put(room, {q.number<tenant_no>(0), q.number<room_seq>(2), q.integer(1) != 0});
  }
  if (end->tenant != tenant || !end->live) return nullptr;
  return end;
}

db_result<std::optional<room_no>> room_ends::find(tenant_no tenant, room_id room) {
  const room_key key{tenant, room};
  if (const room_no* known = numbers_.find(key)) {
    auto end = find(tenant, *known);
    if (!end) return end.error();
    return *end == nullptr ? std::nullopt : std::optional{*known};
  }
  auto q = select_no_.query(tenant, room);
  if (q.next()) return std::optional{numbers_.put(key, q.number<room_no>(0))};
  if (q.failed()) return db_.last_failure();
  return std::optional<room_no>{};
}

void room_ends::put(room_no room, const room_id& id, const room_end& end) {
  ends_.put(room, end);
  numbers_.put(room_key{end.tenant, id}, room);
}

void room_ends::gone(room_no room) {
  if (room_end* end = ends_.find(room)) end->live = false;
}

void room_ends::forget_all() {
  ends_.clear();
  numbers_.clear();
}

}  // namespace parley::store
