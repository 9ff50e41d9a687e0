#pragma once
/// Signing after Standard Webhooks 1.0, its symmetric form v1: HMAC-SHA256 over `id.timestamp.body`. Pure.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace parley {

/// The key that a secret stands for: `whsec_` and base64 (padding or not) of 24–64 bytes. nullopt: not of that form.
[[nodiscard]] std::optional<std::string> webhook_key(std::string_view secret);

/// What is signed beside the body; as in the headers `webhook-id` and `webhook-timestamp`.
struct webhook_stamp {
  std::string_view id;            ///< not empty and without a `.`, which separates what is signed
  std::int64_t unix_seconds = 0;  ///< of this attempt, not of the event
};
/// The value of `webhook-signature`: one `v1,<base64>` a secret, in their order, separated by spaces. nullopt: no secret
/// was given, or one is not of the form: nothing is sent with less than what its receiver may check.
[[nodiscard]] std::optional<std::string> webhook_signature(std::span<const std::string> secrets,
                                                           const webhook_stamp& stamp,
                                                           std::string_view body);

}  // namespace parley
