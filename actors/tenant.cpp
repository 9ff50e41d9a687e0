#include "actors/tenant.hpp"

#include "actors/new_tenant.hpp"
#include "protocol/log.hpp"

#include <utility>

namespace parley::actors {

tenant::tenant(const tenant_options& options, const tenant_snapshot_ptr& before)
    : sealing_key_(options.sealing_key),
      budget_(before ? before->budget
                     : std::make_shared<admission>(options.admission_rows, options.admission_bytes)),
      meters_(before ? before->meters : std::make_shared<tenant_meters>()),
      snapshot_(before) {}

bool tenant::on(const store::tenant_row& row) {
  if (snapshot_ && snapshot_->revision >= row.revision) return false;
  auto now = std::make_shared<tenant_snapshot>();
  now->no = row.no;
  now->id = row.id;
  now->name = row.name;
  now->disabled = row.disabled || row.deleted;
  now->revision = row.revision;
  now->config = parse_tenant_config(row.config);
  for (const auto& c : row.credentials) {
    if (c.digest) {
      now->api_keys.push_back({c.id, *c.digest});
    } else if (c.kind == "jwt_secret") {
      auto secret = unseal(sealing_key_, c.sealed, seal_context(row.id, c.id));
      if (!secret) {
        log(log_level::error, "a credential is sealed with another secret_key",
            {{"tenant", row.id.value}, {"key_id", c.id.value}});
        continue;
      }
      now->jwt_keys.push_back({c.id, std::move(*secret)});
    }
  }
  now->budget = budget_;
  now->meters = meters_;
  snapshot_ = std::move(now);
  return true;
}

}  // namespace parley::actors
