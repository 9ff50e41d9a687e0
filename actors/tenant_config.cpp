#include "actors/tenant_config.hpp"

#include <nlohmann/json.hpp>

#include <limits>

namespace parley::actors {
namespace {

using nlohmann::json;

std::optional<std::uint32_t> number(const json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_number_unsigned()) return std::nullopt;
  const auto value = it->get<std::uint64_t>();
  if (value > std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  return static_cast<std::uint32_t>(value);
}

std::optional<std::vector<std::string>> texts(const json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_array()) return std::nullopt;
  std::vector<std::string> out;
  for (const auto& item : *it) {
    if (!item.is_string()) return std::nullopt;
    out.push_back(item.get<std::string>());
  }
  return out;
}

}  // namespace

tenant_config parse_tenant_config(std::string_view text) {
  tenant_config out;
  const auto object = json::parse(text, nullptr, false);
  if (!object.is_object()) return out;
  out.rate_limit = number(object, "rate_limit");
  out.message_rate = number(object, "message_rate");
  out.user_send_rate = number(object, "user_send_rate");
  out.user_send_burst = number(object, "user_send_burst");
  out.max_connections_per_user = number(object, "max_connections_per_user");
  if (const auto it = object.find("jwt_audience"); it != object.end() && it->is_string())
    out.jwt_audience = it->get<std::string>();
  out.user_topics = texts(object, "user_topics").value_or(std::vector<std::string>{});
  out.allowed_origins = texts(object, "allowed_origins");
  return out;
}

}  // namespace parley::actors
