#pragma once
/// `Retry-After` (RFC 9110 §10.2.3): seconds, or a date in one of the three forms of §5.6.7. Pure.

#include "protocol/seams.hpp"

#include <chrono>
#include <optional>
#include <string_view>

namespace parley::net {

/// How long to wait, from `now`; a date that has passed: 0. Beyond retry_after_max it is that. nullopt: neither form.
[[nodiscard]] std::optional<std::chrono::milliseconds> parse_retry_after(std::string_view value,
                                                                         utc_time now);
inline constexpr std::chrono::milliseconds retry_after_max = std::chrono::hours{24 * 365};

}  // namespace parley::net
