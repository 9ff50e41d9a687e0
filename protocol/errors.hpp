#pragma once
/// The error registry: one table of code ↔ HTTP status ↔ close code ↔ retryable, for REST, WebSocket and documents (SPEC 4).

#include "protocol/close_codes.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace parley {

enum class error_code : std::uint8_t {
  validation,              ///< VALIDATION_ERROR 400
  authentication,          ///< AUTHENTICATION_ERROR 401
  authorization,           ///< AUTHORIZATION_ERROR 403
  not_found,               ///< NOT_FOUND 404
  method_not_allowed,      ///< METHOD_NOT_ALLOWED 405
  conflict,                ///< CONFLICT 409
  payload_too_large,       ///< PAYLOAD_TOO_LARGE 413
  unsupported_media_type,  ///< UNSUPPORTED_MEDIA_TYPE 415
  upgrade_required,        ///< UPGRADE_REQUIRED 426
  rate_limit,              ///< RATE_LIMIT_EXCEEDED 429
  internal,                ///< INTERNAL_ERROR 500
  unavailable,             ///< UNAVAILABLE 503
};

struct error_info {
  error_code code;
  std::string_view text;  ///< the code on the wire
  int http_status;
  close_code ws_close;  ///< the close code when a connection ends for this reason; close_code::none: it lives on
  bool retryable;            ///< the same call may succeed later, unchanged
  std::string_view meaning;  ///< one sentence for the documents
};
/// Every code, in the order of the enum.
[[nodiscard]] std::span<const error_info> error_registry();
[[nodiscard]] const error_info& info(error_code code);

/// What became of the message of a failed send (SPEC 2.5, I4). `not_a_send`: the call stores no message.
enum class stored_state : std::uint8_t { not_a_send, no, unknown };

/// An expected failure, on its way to whoever asked. `message` never holds content, secrets or another tenant's names.
struct error {
  error_code code = error_code::internal;
  std::string message;
  std::string field{};                                     ///< the offending field, empty: none
  std::optional<std::chrono::milliseconds> retry_after{};  ///< when trying again makes sense
  stored_state stored = stored_state::not_a_send;
  std::string_view limit{};  ///< the configuration key of the bound it went beyond, to be counted; empty: none
};

/// Short forms, so that the same failure always has the same words: foreign and unknown are alike (SPEC 2.7).
[[nodiscard]] error not_found(std::string_view what);
[[nodiscard]] error invalid(std::string_view field, std::string_view message);
/// A `reply_to` that names no message of the room, whether it can't be one or just isn't (SPEC 4: 400).
[[nodiscard]] error invalid_reply_to();
[[nodiscard]] error unavailable(std::string_view message, std::chrono::milliseconds retry_after);
/// The same, for having gone beyond `limit`: a configuration key's name, for ever alive.
[[nodiscard]] error beyond(std::string_view limit, error why);

}  // namespace parley
