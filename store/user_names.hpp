#pragma once
/// Users by number and by name: integers inside the file, the tenant's own ids outside. What was looked up is remembered.
///
/// Owner  one connection's reader or writer.
/// Bound  `max_entries` each way, about 100 bytes an entry.
/// A row of `users` never changes its name and is never reused, so what is remembered is true for ever, unless the
/// transaction that made the row is rolled back: then forget_all().

#include "protocol/ids.hpp"
#include "store/bounded_cache.hpp"
#include "store/sqlite_db.hpp"

#include <cstddef>
#include <optional>
#include <string_view>

namespace parley::store {

class user_names {
 public:
  /// Throws db_exception.
  user_names(connection& db, std::size_t max_entries);

  /// nullopt: nobody of that name was ever seen in this tenant.
  db_result<std::optional<user_no>> find(tenant_no tenant, std::string_view name);
  /// The row is made if it is not there. For the writer, inside its transaction.
  db_result<user_no> intern(tenant_no tenant, std::string_view name);
  /// The name of a row that some other row refers to. The pointer is good until the next call here.
  db_result<const user_id*> name(user_no user);

  void forget_all();

 private:
  struct name_key {
    tenant_no tenant;
    user_id user;
  };
  struct name_query {
    tenant_no tenant;
    std::string_view user;
  };
  // Transparent: a look-up by view makes no string.
  struct name_hash {
    using is_transparent = void;
    std::size_t operator()(const name_query& q) const {
      return hash_combine(std::hash<tenant_no>{}(q.tenant), std::hash<std::string_view>{}(q.user));
    }
    std::size_t operator()(const name_key& k) const {
      return (*this)(name_query{k.tenant, k.user.view()});
    }
  };
  struct name_equal {
    using is_transparent = void;
    static name_query view(const name_key& k) { return {k.tenant, k.user.view()}; }
    static name_query view(const name_query& q) { return q; }
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      return view(a).tenant == view(b).tenant && view(a).user == view(b).user;
    }
  };

  void remember(tenant_no tenant, std::string_view name, user_no user);

  connection& db_;
  bounded_cache<name_key, user_no, name_hash, name_equal> numbers_;
  bounded_cache<user_no, user_id> names_;
  statement select_no_;
  statement select_name_;
  statement insert_;
};

}  // namespace parley::store
