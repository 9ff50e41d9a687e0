#include "protocol/standard_webhooks.hpp"

#include "protocol/assert.hpp"
#include "protocol/base64.hpp"
#include "protocol/hmac.hpp"

namespace parley {
namespace {

constexpr std::string_view secret_prefix = "whsec_";
constexpr std::size_t key_min_bytes = 24;  // both from the specification
constexpr std::size_t key_max_bytes = 64;

}  // namespace

std::optional<std::string> webhook_key(std::string_view secret) {
  if (!secret.starts_with(secret_prefix)) return std::nullopt;
  auto key = decode_base64(secret.substr(secret_prefix.size()));
  if (key && (key->size() < key_min_bytes || key->size() > key_max_bytes)) return std::nullopt;
  return key;
}

std::optional<std::string> webhook_signature(std::span<const std::string> secrets,
                                             const webhook_stamp& stamp, std::string_view body) {
  PARLEY_ASSERT(!stamp.id.empty() && stamp.id.find('.') == std::string_view::npos);
  const auto timestamp = std::to_string(stamp.unix_seconds);
  std::string text;
  text.reserve(stamp.id.size() + timestamp.size() + body.size() + 2);
  text.append(stamp.id).append(1, '.').append(timestamp).append(1, '.').append(body);

  std::optional<std::string> out;
  for (const auto& secret : secrets) {
    const auto key = webhook_key(secret);
    if (!key) return std::nullopt;
    const auto mac = hmac_sha256(*key, text);
    if (out) {
      *out += ' ';
    } else {
      out.emplace();
    }
    *out += "v1,";
    append_base64(*out, {reinterpret_cast<const char*>(mac.data()), mac.size()});
  }
  return out;
}

}  // namespace parley
