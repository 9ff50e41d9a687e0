#include "store/endpoint_rows.hpp"

#include <nlohmann/json.hpp>

namespace parley::store {

std::optional<wanted_endpoint> endpoint_in(std::string_view config) {
  constexpr std::string_view key = "webhook_url";
  if (config.find(key) == std::string_view::npos) return std::nullopt;
  const auto json = nlohmann::json::parse(config, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const auto url = json.find(key);
  if (url == json.end() || !url->is_string()) return std::nullopt;
  wanted_endpoint out;
  out.url = url->get<std::string>();
  if (out.url.empty()) return std::nullopt;
  out.events = mask_of(event_type::message_offline);
  if (const auto events = json.find("webhook_events"); events != json.end() && events->is_array()) {
    for (const auto& name : *events) {
      if (!name.is_string()) continue;
      if (const auto type = parse_event_type(name.get_ref<const std::string&>()))
        out.events |= mask_of(*type);
    }
  }
  if (const auto format = json.find("webhook_format");
      format != json.end() && format->is_string() && *format == "chatapi") {
    out.format = webhook_format::chatapi;
  }
  return out;
}

endpoint_row decode_endpoint(const statement::rows& row) {
  endpoint_row e;
  e.tenant = row.number<tenant_no>(0);
  e.id = tenant_id{row.text(1)};
  e.url = row.text(2);
  e.events = static_cast<event_mask>(row.integer(3));
  e.format = static_cast<webhook_format>(row.integer(4));
  e.since = row.number<log_id>(5);
  e.queued = row.integer(6);
  e.delivered = row.integer(7);
  e.given_up = row.integer(8);
  e.dropped = row.integer(9);
  e.disabled = !row.is_null(10);
  e.why = row.text(11);
  e.last_success_at = row.optional_time(12);
  e.last_failure_at = row.optional_time(13);
  e.last_error = row.text(14);
  e.replay_from = row.number<log_id>(15);
  e.replay_to = row.number<log_id>(16);
  e.oldest_at = row.optional_time(17);
  return e;
}

std::string event_id_text(std::string_view bytes) {
  std::string out = "evt_";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out += "0123456789abcdef"[byte >> 4U];
    out += "0123456789abcdef"[byte & 15U];
  }
  return out;
}

}  // namespace parley::store
