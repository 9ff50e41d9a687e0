#pragma once
/// A tenant's own settings (SPEC 4 «Tenant config») in the form in which gateways use them. What is not given is the
/// node's. Pure.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley::actors {

struct tenant_config {
  std::optional<std::uint32_t> rate_limit{};    ///< REST requests a second; 0: none
  std::optional<std::uint32_t> message_rate{};  ///< messages a second; 0: none
  std::optional<std::uint32_t> user_send_rate{};
  std::optional<std::uint32_t> user_send_burst{};
  std::optional<std::uint32_t> max_connections_per_user{};
  std::optional<std::string> jwt_audience{};
  std::vector<std::string> user_topics{};
  std::optional<std::vector<std::string>> allowed_origins{};

  bool operator==(const tenant_config&) const = default;
};

/// Of the stored JSON object, which was checked when it was stored; what is damaged counts as not given.
[[nodiscard]] tenant_config parse_tenant_config(std::string_view json);

}  // namespace parley::actors
