#include "protocol/errors.hpp"

#include "protocol/assert.hpp"

#include <array>
#include <cstddef>
#include <utility>

namespace parley {

namespace {

constexpr std::array registry{
    error_info{error_code::validation, "VALIDATION_ERROR", 400, close_code::none, false,
               "The request is not well-formed or a field is out of its bounds; `field` names it."},
    error_info{error_code::authentication, "AUTHENTICATION_ERROR", 401,
               close_code::authentication_failed, false,
               "No credential, more than one kind, or one that is wrong, expired or revoked."},
    error_info{error_code::authorization, "AUTHORIZATION_ERROR", 403, close_code::none, false,
               "The caller is known, and its role does not allow this."},
    error_info{error_code::not_found, "NOT_FOUND", 404, close_code::none, false,
               "There is no such thing, or the caller may not see it."},
    error_info{error_code::method_not_allowed, "METHOD_NOT_ALLOWED", 405, close_code::none, false,
               "The path exists, the method does not; `Allow` lists those that do."},
    error_info{error_code::conflict, "CONFLICT", 409, close_code::none, false,
               "The state forbids it: the key was used for something else, the message is deleted, "
               "a limit on rooms or members is reached."},
    error_info{error_code::payload_too_large, "PAYLOAD_TOO_LARGE", 413, close_code::message_too_big,
               false, "The body, the headers or the frame is larger than this node accepts."},
    error_info{error_code::unsupported_media_type, "UNSUPPORTED_MEDIA_TYPE", 415,
               close_code::unsupported_data, false,
               "The body is not `application/json`, or the frame is binary."},
    error_info{error_code::upgrade_required, "UPGRADE_REQUIRED", 426, close_code::none, false,
               "This path speaks WebSocket only."},
    error_info{error_code::rate_limit, "RATE_LIMIT_EXCEEDED", 429, close_code::flooding, true,
               "Too many requests, frames or connections; try again after `retry_after_ms`."},
    error_info{error_code::internal, "INTERNAL_ERROR", 500, close_code::internal_error, true,
               "Something failed inside the node; a retry with the same key is safe."},
    error_info{error_code::unavailable, "UNAVAILABLE", 503, close_code::try_again_later, true,
               "Overloaded, starting, stopping or unable to write; try again after "
               "`retry_after_ms`."},
};

constexpr bool is_in_the_order_of_the_enum() {
  for (std::size_t i = 0; i < registry.size(); ++i) {
    if (static_cast<std::size_t>(registry[i].code) != i) return false;
  }
  return true;
}
static_assert(is_in_the_order_of_the_enum(), "info() indexes the registry by the code");
static_assert(registry.size() == static_cast<std::size_t>(error_code::unavailable) + 1,
              "every code has a row");

}  // namespace

std::span<const error_info> error_registry() { return registry; }

const error_info& info(error_code code) {
  const auto index = static_cast<std::size_t>(code);
  PARLEY_ASSERT(index < registry.size());
  return registry[index];
}

error not_found(std::string_view what) {
  std::string message = "no such ";
  message += what;
  return {.code = error_code::not_found, .message = std::move(message)};
}

error invalid(std::string_view field, std::string_view message) {
  return {
      .code = error_code::validation, .message = std::string{message}, .field = std::string{field}};
}

error invalid_reply_to() { return invalid("reply_to", "reply_to is not a message of this room"); }

error unavailable(std::string_view message, std::chrono::milliseconds retry_after) {
  return {
      .code = error_code::unavailable, .message = std::string{message}, .retry_after = retry_after};
}

error beyond(std::string_view limit, error why) {
  why.limit = limit;
  return why;
}

}  // namespace parley
