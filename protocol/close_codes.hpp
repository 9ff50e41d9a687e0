#pragma once
/// WebSocket close codes (RFC 6455 §7.4, SPEC 5): 4000–4499 reconnect, 4500–4999 do not.

#include <cstdint>
#include <span>
#include <string_view>

namespace parley {

enum class close_code : std::uint16_t {
  none = 0,
  normal = 1000,
  going_away = 1001,
  protocol_error = 1002,
  unsupported_data = 1003,  ///< a binary frame
  no_status = 1005,         ///< never sent: the peer's close frame was empty
  invalid_utf8 = 1007,
  policy_violation = 1008,  ///< too many connections of one user
  message_too_big = 1009,
  internal_error = 1011,
  service_restart = 1012,  ///< drain
  try_again_later = 1013,  ///< overloaded
  stalled_reader = 4008,
  heartbeat_lost = 4009,
  flooding = 4029,
  credential_lapsed = 4401,
  authentication_failed = 4501,
  no_auth_frame = 4502,
  revoked = 4503,      ///< kicked, or its credential was revoked
  replaced = 4505,     ///< by the same device
  tenant_gone = 4506,  ///< disabled or deleted
};

struct close_info {
  close_code code;
  std::string_view reason;  ///< text in the close frame: an error code
  bool client_reconnects;
  std::string_view meaning;
};
[[nodiscard]] std::span<const close_info> close_registry();
[[nodiscard]] std::string_view close_reason(close_code code);

}  // namespace parley
