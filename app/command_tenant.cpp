#include "app/commands.hpp"
#include "app/tenant_access.hpp"
#include "protocol/utf8.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <ostream>
#include <string_view>
#include <vector>

namespace parley::app {
namespace {

constexpr std::array<std::string_view, 3> key_kinds{"api_key", "jwt_secret", "webhook_secret"};
constexpr std::size_t keys_of_a_kind_max = 2;  // SPEC 3: to rotate

/// The database is opened here when one of its options names it, and the node is asked otherwise.
bool opens_the_database(const tenant_arguments& a) {
  return a.url.empty() && names_database(a.config);
}

/// Calls `ask(tenants)`, which gives what is to be printed.
template <class F>
exit_status with_tenants(const tenant_arguments& a, const config& c, bool make, std::ostream& out,
                         std::ostream& err, F&& ask) {
  const auto tenants =
      opens_the_database(a) ? tenants_in_database(c, make) : tenants_of_node(a.url, c);
  if (!tenants) return tell(err, tenants.error());
  const answer said = ask(**tenants);
  const auto closed = (*tenants)->close();
  if (!said) return tell(err, said.error());
  if (!said->body.empty()) out << as_text(said->body);
  if (!closed) return tell(err, closed.error());
  return exit_status::ok;
}

/// The same, of a tenant that is there.
template <class F>
exit_status with_tenants(const tenant_arguments& a, std::ostream& out, std::ostream& err, F&& ask) {
  const auto loaded = load_for_database(a.config, err);
  if (!loaded) return exit_status::usage;
  return with_tenants(a, loaded->values, false, out, err, std::forward<F>(ask));
}

std::vector<std::string> keys_of_kind(const shown_json& tenant, std::string_view kind) {
  std::vector<std::string> out;
  for (const auto& key : tenant.value("keys", shown_json::array())) {
    if (key.value("kind", "") == kind) out.push_back(key.value("key_id", ""));
  }
  return out;
}

}  // namespace

exit_status run_tenant_create(const tenant_arguments& a, std::ostream& out, std::ostream& err) {
  auto tenant_config = shown_json::object();
  if (!a.tenant_config.empty()) {
    tenant_config = shown_json::parse(a.tenant_config, nullptr, false);
    if (!tenant_config.is_object()) {
      err << "parley: --tenant-config: expected a JSON object, such as {\"rate_limit\":50}\n";
      return exit_status::usage;
    }
  }
  const auto loaded = load_for_database(a.config, err);
  if (!loaded) return exit_status::usage;
  if (a.name.empty() || a.name.size() > loaded->values.limits.max_name || !is_valid_utf8(a.name)) {
    err << "parley: a tenant's name is 1 to " << loaded->values.limits.max_name
        << " bytes of UTF-8\n";
    return exit_status::usage;
  }
  if (opens_the_database(a) && !tenant_config.empty()) {
    err << "parley: --tenant-config is checked by the node: start it, and use --url\n";
    return exit_status::usage;
  }
  return with_tenants(a, loaded->values, true, out, err,
                      [&](tenant_access& tenants) { return tenants.create(a.name, tenant_config); });
}

exit_status run_tenant_list(const tenant_arguments& a, std::ostream& out, std::ostream& err) {
  return with_tenants(a, out, err, [](tenant_access& tenants) { return tenants.list(); });
}

exit_status run_tenant_rotate_key(const tenant_arguments& a, std::ostream& out, std::ostream& err) {
  if (std::ranges::find(key_kinds, a.kind) == key_kinds.end()) {
    err << "parley: --kind: api_key, jwt_secret or webhook_secret\n";
    return exit_status::usage;
  }
  return with_tenants(a, out, err, [&](tenant_access& tenants) -> answer {
    const auto before = tenants.get(a.tenant);
    if (!before) return before;
    const auto older = keys_of_kind(before->body, a.kind);
    const auto deletes = [&](const std::string& key) {
      return "\n  parley tenant delete-key " + a.tenant + " " + key;
    };
    if (older.size() >= keys_of_a_kind_max) {
      std::string text = "the tenant has two of " + a.kind +
                         " already; delete the one that nobody "
                         "uses any more:";
      for (const auto& key : older) text += deletes(key);
      return refusal{exit_status::failure, std::move(text)};
    }
    auto made = tenants.add_key(a.tenant, a.kind);
    if (!made) return made;
    for (const auto& key : older) {
      err << "The older one, " << key << ", is good until you delete it:" << deletes(key) << "\n";
    }
    return made;
  });
}

exit_status run_tenant_delete_key(const tenant_arguments& a, std::ostream& out, std::ostream& err) {
  return with_tenants(a, out, err,
                      [&](tenant_access& tenants) { return tenants.delete_key(a.tenant, a.key); });
}

exit_status run_tenant_set_disabled(const tenant_arguments& a, bool disabled, std::ostream& out,
                                    std::ostream& err) {
  return with_tenants(
      a, out, err, [&](tenant_access& tenants) { return tenants.set_disabled(a.tenant, disabled); });
}

exit_status run_tenant_delete(const tenant_arguments& a, std::ostream& out, std::ostream& err) {
  return with_tenants(a, out, err, [&](tenant_access& tenants) { return tenants.remove(a.tenant); });
}

}  // namespace parley::app
