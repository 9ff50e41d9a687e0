#include "protocol/close_codes.hpp"

#include <array>

namespace parley {

namespace {

// The reasons are codes of the error registry (errors.cpp); a test compares them.
constexpr std::array registry{
    close_info{close_code::normal, "", false, "The client closed, and the node agreed."},
    close_info{close_code::going_away, "", true, "The peer goes away: a page left, a host down."},
    close_info{close_code::protocol_error, "VALIDATION_ERROR", false, "The client broke RFC 6455."},
    close_info{close_code::unsupported_data, "UNSUPPORTED_MEDIA_TYPE", false,
               "A binary frame; only text is spoken here."},
    close_info{close_code::invalid_utf8, "VALIDATION_ERROR", false,
               "A text frame or close reason that is not UTF-8."},
    close_info{close_code::policy_violation, "RATE_LIMIT_EXCEEDED", false,
               "Too many connections of one user; the newest is refused."},
    close_info{close_code::message_too_big, "PAYLOAD_TOO_LARGE", false,
               "A message beyond `ws_max_frame`."},
    close_info{close_code::internal_error, "INTERNAL_ERROR", true,
               "Something failed inside the node."},
    close_info{close_code::service_restart, "UNAVAILABLE", true,
               "The node drains; wait as `server.shutdown` said."},
    close_info{close_code::try_again_later, "UNAVAILABLE", true, "The node is overloaded."},
    close_info{close_code::stalled_reader, "UNAVAILABLE", true,
               "The client read nothing for `ws_stall_timeout`; it resumes from its own seq."},
    close_info{close_code::heartbeat_lost, "UNAVAILABLE", true,
               "The client was silent for twice `ws_ping_interval`."},
    close_info{close_code::flooding, "RATE_LIMIT_EXCEEDED", true,
               "More frames than `ws_frame_rate` and `ws_frame_burst` allow."},
    close_info{close_code::credential_lapsed, "AUTHENTICATION_ERROR", true,
               "The token expired; come back with a new one."},
    close_info{close_code::authentication_failed, "AUTHENTICATION_ERROR", false,
               "The credential is wrong, or this origin may not use it."},
    close_info{close_code::no_auth_frame, "AUTHENTICATION_ERROR", false,
               "No `auth` frame came in time."},
    close_info{close_code::revoked, "AUTHENTICATION_ERROR", false,
               "Disconnected by the backend, or the credential was revoked."},
    close_info{close_code::replaced, "CONFLICT", false,
               "A newer connection of the same device took over."},
    close_info{close_code::tenant_gone, "AUTHENTICATION_ERROR", false,
               "The tenant was disabled or deleted."},
};

}  // namespace

std::span<const close_info> close_registry() { return registry; }

std::string_view close_reason(close_code code) {
  for (const close_info& row : registry) {
    if (row.code == code) return row.reason;
  }
  return {};
}

}  // namespace parley
