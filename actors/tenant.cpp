#include "actors/tenant.hpp"

#include <nlohmann/json.hpp>

namespace parley::actors {

tenant::tenant(const tenant_options& options)
    : budget_(std::make_shared<admission>(options.admission_rows, options.admission_bytes)) {}

authenticated_ptr tenant::on(const tenant_loaded& m) {
  if (m.row.disabled) {
    snapshot_ = nullptr;
  } else {
    snapshot_ = std::make_shared<const tenant_snapshot>(
        tenant_snapshot{m.row.no, m.row.id, m.row.name, m.row.disabled,
                        config_max_connections_per_user(m.row.config), budget_});
  }
  return std::make_shared<const authenticated>(
      authenticated{m.request->to.call, m.request->digest, snapshot_, {}});
}

std::optional<std::uint32_t> config_max_connections_per_user(const std::string& config) {
  const auto json = nlohmann::json::parse(config, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const auto it = json.find("max_connections_per_user");
  if (it == json.end() || !it->is_number_unsigned()) return std::nullopt;
  return it->get<std::uint32_t>();
}

}  // namespace parley::actors
