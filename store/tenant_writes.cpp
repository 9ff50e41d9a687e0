#include "store/tenant_writes.hpp"

#include "store/write_failure.hpp"

#include <utility>
#include <variant>

namespace parley::store {
namespace {

constexpr std::size_t tenants_in_memory = 65536;
/// To rotate a secret two must be good at once; more would only be forgotten ones.
constexpr std::int64_t credentials_of_a_kind = 2;

error conflict(std::string message, std::string field) {
  return {.code = error_code::conflict, .message = std::move(message), .field = std::move(field)};
}

}  // namespace

tenant_writes::tenant_writes(connection& db, user_names& users, outbox_writes& outbox,
                             notification_writes& notifications)
    : db_(db),
      users_(users),
      outbox_(outbox),
      notifications_(notifications),
      decoder_(db),
      live_(tenants_in_memory),
      insert_tenant_(db,
                     "INSERT INTO tenants(tenant_id, name, config, created_at) VALUES(?, ?, ?, ?)"),
      insert_credential_(
          db,
          "INSERT INTO credentials(tenant_no, key_id, kind, sha256, sealed, created_at) "
          "VALUES(?, ?, ?, ?, ?, ?)"),
      select_by_id_(db, {"SELECT ", tenant_columns,
                         " FROM tenants t WHERE t.tenant_id = ? AND t.deleted_at IS NULL"}),
      select_by_no_(db, {"SELECT ", tenant_columns, " FROM tenants t WHERE t.tenant_no = ?"}),
      select_live_(db,
                   "SELECT disabled = 0 AND deleted_at IS NULL FROM tenants WHERE tenant_no = ?"),
      update_(db,
              "UPDATE tenants SET name = coalesce(?2, name), config = coalesce(?3, config), "
              "disabled = coalesce(?4, disabled), revision = revision + 1 WHERE tenant_no = ?1"),
      raise_revision_(db, "UPDATE tenants SET revision = revision + 1 WHERE tenant_no = ?"),
      count_kind_(db, "SELECT count(*) FROM credentials WHERE tenant_no = ? AND kind = ?"),
      delete_credential_(db, "DELETE FROM credentials WHERE tenant_no = ? AND key_id = ?"),
      remove_(db,
              "UPDATE tenants SET deleted_at = ?2, revision = revision + 1 WHERE tenant_no = ?1"),
      revoke_(db,
              "UPDATE users SET revoke_before = max(coalesce(revoke_before, ?2), ?2) "
              "WHERE user_no = ?1"),
      insert_job_(
          db,
          "INSERT INTO jobs(job_id, kind, tenant_no, subject, state, created_at, updated_at) "
          "VALUES(?, ?, ?, ?, ?, ?, ?)"),
      set_retention_(db,
                     "UPDATE rooms SET retention_ms = ?3 WHERE tenant_no = ?1 AND room_id = ?2 "
                     "AND deleted_at IS NULL"),
      update_last_used_(
          db,
          "UPDATE credentials SET last_used_at = ?3 WHERE tenant_no = ?1 AND key_id = ?2 "
          "AND coalesce(last_used_at, 0) < ?3") {}

// --------------------------------------------------------------------------------------------------- who may write

write_result<void> tenant_writes::check_live(tenant_no tenant) {
  const bool* known = live_.find(tenant);
  if (known == nullptr) {
    auto q = select_live_.query(tenant);
    const bool live = q.next() && q.integer(0) != 0;
    if (q.failed()) return write_failed(db_.last_failure(), item_step::first);
    known = &live_.put(tenant, live);
  }
  if (!*known) return refused(not_found("room"));
  return {};
}

// ---------------------------------------------------------------------------------------------------------- creation

write_result<tenant_no> tenant_writes::create(const new_tenant& tenant) {
  if (!insert_tenant_.run(tenant.id.view(), tenant.name, tenant.config, tenant.created_at)) {
    write_error e = write_failed(db_.last_failure(), item_step::first);
    if (e.scope == failure_scope::item)
      e.why = conflict("there is a tenant of this id", "tenant_id");
    return e;
  }
  const tenant_no no{db_.last_insert_rowid()};
  for (const new_credential& c : tenant.credentials) {
    if (!insert_credential(no, c, tenant.created_at))
      return write_failed(db_.last_failure(), item_step::later);
  }
  if (auto kept = outbox_.configured(no, tenant.config); !kept) return kept.error();
  return no;
}

bool tenant_writes::insert_credential(tenant_no tenant, const new_credential& c, utc_time at) {
  std::optional<blob_view> digest;
  if (c.digest) digest = blob_of(*c.digest);
  std::optional<blob_view> sealed;
  if (!c.sealed.empty()) sealed = blob_view{c.sealed.data(), c.sealed.size()};
  return insert_credential_.run(tenant, c.id.view(), c.kind, digest, sealed, at);
}

// ----------------------------------------------------------------------------------------------------------- changes

write_result<tenant_row> tenant_writes::change(const tenant_change& change) {
  std::optional<tenant_row> before;
  {
    auto q = select_by_id_.query(change.tenant.view());
    auto found = decoder_.next(q);
    if (!found) return write_failed(found.error(), item_step::first);
    if (!*found) return refused(not_found("tenant"));
    before = std::move(*found);
  }
  auto done =
      std::visit([&](const auto& what) { return apply(*before, what, change.at); }, change.what);
  if (!done) return done.error();
  auto q = select_by_no_.query(before->no);
  auto after = decoder_.next(q);
  if (!after) return write_failed(after.error(), item_step::later);
  if (!*after) return inconsistent("a tenant that was changed is not there");
  live_.put(before->no, !(*after)->disabled && !(*after)->deleted);
  return std::move(**after);
}

write_result<void> tenant_writes::apply(const tenant_row& row, const tenant_change::update& u,
                                        utc_time) {
  if (!update_.run(row.no, u.name, u.config, u.disabled))
    return write_failed(db_.last_failure(), item_step::first);
  if (!u.config) return {};
  return outbox_.configured(row.no, *u.config);
}

write_result<void> tenant_writes::apply(const tenant_row& row,
                                        const tenant_change::add_credential& a, utc_time at) {
  {
    auto q = count_kind_.query(row.no, a.credential.kind);
    if (!q.next()) return write_failed(db_.last_failure(), item_step::first);
    if (q.integer(0) >= credentials_of_a_kind)
      return refused(conflict("a tenant has at most two credentials of a kind", "kind"));
  }
  if (!insert_credential(row.no, a.credential, at))
    return write_failed(db_.last_failure(), item_step::first);
  return raise_revision(row.no);
}

write_result<void> tenant_writes::apply(const tenant_row& row,
                                        const tenant_change::delete_credential& d, utc_time) {
  if (!delete_credential_.run(row.no, d.key.view()))
    return write_failed(db_.last_failure(), item_step::first);
  if (db_.changes() == 0) return refused(not_found("key"));
  return raise_revision(row.no);
}

write_result<void> tenant_writes::apply(const tenant_row& row, const tenant_change::remove& r,
                                        utc_time at) {
  if (auto ordered = order_job(r.job_id, "delete_tenant", row.no, {}, at); !ordered) return ordered;
  if (!remove_.run(row.no, at)) return write_failed(db_.last_failure(), item_step::later);
  return outbox_.tenant_gone(row.no);
}

write_result<void> tenant_writes::apply(const tenant_row& row, const tenant_change::revoke_user& r,
                                        utc_time) {
  // A user whom nothing names yet may have credentials all the same.
  const auto user = users_.intern(row.no, r.user.view());
  if (!user) return write_failed(user.error(), item_step::first);
  return revoke(*user, r.before);
}

write_result<void> tenant_writes::apply(const tenant_row& row, const tenant_change::erase_user& e,
                                        utc_time at) {
  // Nothing is appended in a disabled tenant, so its memberships could not end.
  if (row.disabled)
    return refused(error{error_code::conflict, "the tenant is disabled: enable it first"});
  const auto user = users_.find(row.no, e.user.view());
  if (!user) return write_failed(user.error(), item_step::first);
  if (!*user) return refused(not_found("user"));
  if (auto ordered = order_job(e.job_id, "erase_user", row.no, e.user.view(), at); !ordered)
    return ordered;
  return revoke(**user, at);
}

write_result<void> tenant_writes::apply(const tenant_row& row,
                                        const tenant_change::set_retention& s, utc_time) {
  std::optional<std::int64_t> ms;
  if (s.keep) ms = s.keep->count();
  if (!set_retention_.run(row.no, s.room, ms))
    return write_failed(db_.last_failure(), item_step::first);
  if (db_.changes() == 0) return refused(not_found("room"));
  return {};
}

write_result<void> tenant_writes::apply(const tenant_row& row,
                                        const tenant_change::subscribe_topic& s, utc_time at) {
  return notifications_.subscribe(row.no, s, at);
}

write_result<void> tenant_writes::apply(const tenant_row& row,
                                        const tenant_change::unsubscribe_topic& u, utc_time) {
  return notifications_.unsubscribe(row.no, u);
}

write_result<void> tenant_writes::apply(const tenant_row& row,
                                        const tenant_change::retry_dead_letter& r, utc_time at) {
  const auto letter = outbox_.retry(row.no, r.id);
  if (!letter) return letter.error();
  if (!*letter || !(*letter)->notification) return {};
  const dead_row& dead = **letter;
  return notifications_.retry(row.no,
                              {.no = *dead.notification,
                               .recipients = parse_recipients(dead.recipients),
                               .created_at = dead.created_at},
                              at);
}

write_result<void> tenant_writes::apply(const tenant_row& row,
                                        const tenant_change::delete_dead_letter& d, utc_time) {
  return outbox_.forget(row.no, d.id);
}

write_result<void> tenant_writes::apply(const tenant_row& row,
                                        const tenant_change::replay_events& r, utc_time) {
  return outbox_.replay(row.no, r);
}

write_result<void> tenant_writes::raise_revision(tenant_no tenant) {
  if (raise_revision_.run(tenant)) return {};
  return write_failed(db_.last_failure(), item_step::later);
}

write_result<void> tenant_writes::revoke(user_no user, utc_time before) {
  if (revoke_.run(user, before)) return {};
  return write_failed(db_.last_failure(), item_step::later);
}

write_result<void> tenant_writes::order_job(std::string_view id, std::string_view kind,
                                            tenant_no tenant, std::string_view subject, utc_time at) {
  if (insert_job_.run(id, kind, tenant, subject, job_state::running, at, at)) return {};
  return write_failed(db_.last_failure(), item_step::first);
}

write_result<void> tenant_writes::store_key_used(tenant_no tenant, const key_id& key, utc_time at) {
  if (update_last_used_.run(tenant, key.view(), at)) return {};
  return write_failed(db_.last_failure(), item_step::first);
}

}  // namespace parley::store
