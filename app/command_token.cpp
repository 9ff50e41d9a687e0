// parley token mint, token check: end users' tokens, with a secret that is given, or with those of the database while no
// node runs. A running node gives no secret away.

#include "actors/tenant.hpp"
#include "app/commands.hpp"
#include "app/config_values.hpp"
#include "app/tenant_access.hpp"
#include "net/jwt.hpp"
#include "protocol/base64url.hpp"
#include "protocol/seams.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

namespace parley::app {
namespace {

constexpr auto ttl_max = std::chrono::hours{24 * 366};
constexpr std::string_view key_id_prefix = "key_";

constexpr std::string_view where_secrets_come_from =
    "the tenant's jwt_secret: PARLEY_JWT_SECRET, PARLEY_JWT_SECRET_FILE, --secret-file or "
    "--secret; "
    "or, while no node runs, --database FILE";

std::string variable(const char* name) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread, and nothing changes the environment.
  const char* value = std::getenv(name);
  return value == nullptr ? std::string{} : std::string{value};
}

boost::system::result<std::string, refusal> secret_in_file(const std::string& file) {
  std::ifstream in{file, std::ios::binary};
  std::string text{std::istreambuf_iterator<char>{in}, {}};
  if (!in.good() && !in.eof()) return refusal{exit_status::usage, "cannot read " + in_quotes(file)};
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  if (text.empty()) return refusal{exit_status::usage, in_quotes(file) + " holds no secret"};
  return text;
}

/// Empty: none is given. The command line counts before the environment.
boost::system::result<std::string, refusal> given_secret(const token_arguments& a) {
  if (!a.secret.empty()) return a.secret;
  if (!a.secret_file.empty()) return secret_in_file(a.secret_file);
  if (names_database(a.config)) return std::string{};
  if (auto secret = variable("PARLEY_JWT_SECRET"); !secret.empty()) return secret;
  if (const auto file = variable("PARLEY_JWT_SECRET_FILE"); !file.empty())
    return secret_in_file(file);
  return std::string{};
}

/// A tenant of the database with its secrets opened.
struct known_tenant {
  store::tenant_row row;
  actors::tenant_snapshot_ptr snapshot;
};
boost::system::result<known_tenant, refusal> tenant_in_database(
    const token_arguments& a, const std::variant<tenant_id, key_id>& name, std::ostream& err) {
  const auto loaded = load_for_database(a.config, err);
  if (!loaded) return refusal{exit_status::usage, "the configuration is not valid"};
  auto sealed = read_tenant(loaded->values, name);
  if (!sealed) {
    auto why = sealed.error();
    why.text += "\n  with a running node give " + std::string{where_secrets_come_from};
    return why;
  }
  actors::tenant opener{{.sealing_key = sealed->key}, nullptr};
  opener.on(sealed->row);
  return known_tenant{std::move(sealed->row), opener.snapshot()};
}

/// The newest secret, or the one that `--key` names.
boost::system::result<actors::tenant_snapshot::jwt_key, refusal> signing_key(
    const known_tenant& tenant, const std::string& wanted) {
  const store::credential_row* best = nullptr;
  for (const auto& c : tenant.row.credentials) {
    if (c.kind != "jwt_secret" || (!wanted.empty() && c.id.value != wanted)) continue;
    if (best == nullptr || c.created_at >= best->created_at) best = &c;
  }
  if (best == nullptr) return refusal{exit_status::failure, "the tenant has no such jwt_secret"};
  const auto& keys = tenant.snapshot->jwt_keys;
  const auto it = std::ranges::find_if(keys, [&](const auto& key) { return key.id == best->id; });
  if (it == keys.end()) {
    return refusal{exit_status::failure,
                   best->id.value + " is sealed with another secret_key than that of data_dir"};
  }
  return *it;
}

/// A part of a token as JSON; null: it is none.
shown_json part_of(std::string_view token, int index) {
  for (; index > 0; --index) {
    const auto dot = token.find('.');
    if (dot == std::string_view::npos) return nullptr;
    token.remove_prefix(dot + 1);
  }
  const auto text = decode_base64url(token.substr(0, token.find('.')));
  if (!text) return nullptr;
  auto value = shown_json::parse(*text, nullptr, false);
  return value.is_discarded() ? shown_json(nullptr) : value;
}

exit_status show_fault(std::string_view token, net::jwt_fault fault, std::ostream& out) {
  out << as_text({{"valid", false},
                  {"reason", net::to_text(fault)},
                  {"header", part_of(token, 0)},
                  {"claims", part_of(token, 1)}});
  return exit_status::failure;
}

/// Whom a bare secret belongs to: the tenant and key that the token names, unless the command line says it.
actors::tenant_snapshot owner_of_secret(const token_arguments& a, std::string secret) {
  actors::tenant_snapshot tenant;
  const auto header = part_of(a.token, 0);
  const auto claims = part_of(a.token, 1);
  const auto text = [](const shown_json& object, const char* name) {
    return object.is_object() && object.contains(name) && object[name].is_string()
               ? object[name].get<std::string>()
               : std::string{};
  };
  const auto kid = text(header, "kid");
  const auto tid = text(claims, "tid");
  const bool kid_is_key = kid.starts_with(key_id_prefix);
  tenant.id = tenant_id{!a.tenant.empty() ? a.tenant : !tid.empty() ? tid : kid_is_key ? "" : kid};
  tenant.jwt_keys.push_back({key_id{!a.key.empty() ? a.key
                                    : kid_is_key   ? kid
                                                   : ""},
                             std::move(secret)});
  if (!a.audience.empty()) tenant.config.jwt_audience = a.audience;
  return tenant;
}

}  // namespace

exit_status run_token_mint(const token_arguments& a, std::ostream& out, std::ostream& err) {
  if (!is_valid_user_id(a.user)) {
    return tell(err, {exit_status::usage,
                      "--user: 1 to 128 bytes of UTF-8, no control characters, no space at either "
                      "end"});
  }
  const auto ttl = parse_duration(a.ttl);
  if (!ttl || *ttl < std::chrono::seconds{1} || *ttl > ttl_max) {
    return tell(err, {exit_status::usage, "--ttl: " + in_quotes(a.ttl) +
                                              " is not allowed: a duration from 1s to 8784h, such "
                                              "as 15m or 1h"});
  }
  auto secret = given_secret(a);
  if (!secret) return tell(err, secret.error());
  net::jwt_claims claims;
  claims.tid = tenant_id{a.tenant};
  claims.user = user_id{a.user};
  claims.issued_at = system_clock_source().now();
  claims.expires_at = claims.issued_at + *ttl;
  if (!a.audience.empty()) claims.audience = a.audience;
  if (!a.key.empty()) claims.kid = a.key;
  if (secret->empty()) {
    if (!names_database(a.config)) {
      return tell(err, {exit_status::usage,
                        "nothing to sign with: give " + std::string{where_secrets_come_from}});
    }
    const auto tenant = tenant_in_database(a, tenant_id{a.tenant}, err);
    if (!tenant) return tell(err, tenant.error());
    if (tenant->snapshot->disabled)
      return tell(err, {exit_status::failure, "the tenant is disabled: no token of it is good"});
    auto key = signing_key(*tenant, a.key);
    if (!key) return tell(err, key.error());
    *secret = std::move(key->secret);
    claims.kid = key->id.value;
    if (!claims.audience) claims.audience = tenant->snapshot->config.jwt_audience;
  }
  out << net::make_jwt(claims, *secret) << "\n";
  return exit_status::ok;
}

exit_status run_token_check(const token_arguments& a, std::ostream& out, std::ostream& err) {
  const auto names = net::examine_jwt_names(a.token);
  if (const auto* fault = std::get_if<net::jwt_fault>(&names))
    return show_fault(a.token, *fault, out);
  auto secret = given_secret(a);
  if (!secret) return tell(err, secret.error());
  actors::tenant_snapshot tenant;
  if (!secret->empty()) {
    tenant = owner_of_secret(a, std::move(*secret));
  } else if (names_database(a.config)) {
    std::variant<tenant_id, key_id> name;
    const auto& named = std::get<actors::tenant_name>(names);
    if (const auto* id = std::get_if<tenant_id>(&named)) name = *id;
    if (const auto* id = std::get_if<key_id>(&named)) name = *id;
    if (!a.tenant.empty()) name = tenant_id{a.tenant};
    const auto known = tenant_in_database(a, name, err);
    if (!known) return tell(err, known.error());
    tenant = *known->snapshot;
  } else {
    return tell(err, {exit_status::usage, "its form is good; to check its signature give " +
                                              std::string{where_secrets_come_from}});
  }
  const auto now = system_clock_source().now();
  const auto examined = net::examine_jwt(a.token, tenant, now);
  if (const auto* fault = std::get_if<net::jwt_fault>(&examined))
    return show_fault(a.token, *fault, out);
  const auto& good = std::get<net::jwt_identity>(examined);
  shown_json shown{{"valid", true}, {"tenant_id", nullptr}, {"user_id", good.user.value}};
  if (!tenant.id.empty()) shown["tenant_id"] = tenant.id.value;
  shown["key_id"] = nullptr;
  if (!good.key.empty()) shown["key_id"] = good.key.value;
  shown["issued_at"] = nullptr;
  if (good.issued_at) shown["issued_at"] = to_rfc3339(*good.issued_at);
  shown["expires_at"] = to_rfc3339(good.expires_at);
  out << as_text(shown);
  return exit_status::ok;
}

}  // namespace parley::app
