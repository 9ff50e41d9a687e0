#include "store/user_names.hpp"

namespace parley::store {

user_names::user_names(connection& db, std::size_t max_entries)
    : db_(db),
      numbers_(max_entries),
      names_(max_entries),
      select_no_(db, "SELECT user_no FROM users WHERE tenant_no = ? AND user_id = ?"),
      select_name_(db, "SELECT user_id FROM users WHERE user_no = ?"),
      insert_(db, "INSERT INTO users(tenant_no, user_id) VALUES(?, ?)") {}

db_result<std::optional<user_no>> user_names::find(tenant_no tenant, std::string_view name) {
  if (const user_no* known = numbers_.find(name_query{tenant, name})) return std::optional{*known};
  auto q = select_no_.query(tenant, name);
  if (q.next()) {
    const auto user = q.number<user_no>(0);
    remember(tenant, name, user);
    return std::optional{user};
  }
  if (q.failed()) return db_.last_failure();
  return std::optional<user_no>{};
}

db_result<user_no> user_names::intern(tenant_no tenant, std::string_view name) {
  auto known = find(tenant, name);
  if (!known) return known.error();
  if (*known) return **known;
  if (!insert_.run(tenant, name)) return db_.last_failure();
  const user_no user{db_.last_insert_rowid()};
  remember(tenant, name, user);
  return user;
}

db_result<const user_id*> user_names::name(user_no user) {
  if (const user_id* known = names_.find(user)) return known;
  auto q = select_name_.query(user);
  if (q.next()) return &names_.put(user, user_id{q.text(0)});
  if (q.failed()) return db_.last_failure();
  return damaged("user " + std::to_string(user.value) + " is named by a row and is not there");
}

void user_names::remember(tenant_no tenant, std::string_view name, user_no user) {
  numbers_.put(name_key{tenant, user_id{name}}, user);
}

void user_names::forget_all() {
  numbers_.clear();
  names_.clear();
}

}  // namespace parley::store
