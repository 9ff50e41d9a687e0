#pragma once
/// The tenants as commands reach them: through the admin API of a running node, or, while none runs, in the database
/// itself (its lock says which it is: I6). Answers are what the admin API shows.

#include "app/admin_api.hpp"
#include "app/commands.hpp"
#include "protocol/hash.hpp"
#include "store/store.hpp"

#include <boost/system/result.hpp>
#include <nlohmann/json.hpp>

#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace parley::app {

class tenant_access {
 public:
  tenant_access() = default;
  tenant_access(const tenant_access&) = delete;
  tenant_access& operator=(const tenant_access&) = delete;
  virtual ~tenant_access() = default;

  virtual answer create(const std::string& name, const shown_json& tenant_config) = 0;
  virtual answer list() = 0;
  virtual answer get(const std::string& tenant) = 0;
  virtual answer set_disabled(const std::string& tenant, bool disabled) = 0;
  virtual answer remove(const std::string& tenant) = 0;
  /// `{key_id, kind, secret}`.
  virtual answer add_key(const std::string& tenant, const std::string& kind) = 0;
  /// An empty object.
  virtual answer delete_key(const std::string& tenant, const std::string& key) = 0;
  /// After the last call: what was done stays done.
  virtual boost::system::result<void, refusal> close() = 0;
};

/// Does one of these options name a database?
[[nodiscard]] bool names_database(const config_arguments& arguments);
/// The configuration of a command that may open the database; nullopt: what is wrong with it was reported.
[[nodiscard]] std::optional<loaded_config> load_for_database(const config_arguments& arguments,
                                                             std::ostream& err);
/// `url` empty: PARLEY_URL, else the configured address on this machine.
[[nodiscard]] boost::system::result<std::unique_ptr<tenant_access>, refusal> tenants_of_node(
    const std::string& url, const config& c);
/// `make`: when there is no database, it is made; else that is a refusal.
[[nodiscard]] boost::system::result<std::unique_ptr<tenant_access>, refusal> tenants_in_database(
    const config& c, bool make);

/// One tenant's row, by its id or one of its keys', and the key that opens its secrets.
struct sealed_tenant {
  store::tenant_row row;
  secret_key key{};
};
[[nodiscard]] boost::system::result<sealed_tenant, refusal> read_tenant(
    const config& c, const std::variant<tenant_id, key_id>& name);

}  // namespace parley::app
