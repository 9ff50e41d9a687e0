#pragma once
/// HMAC-SHA256 (RFC 2104), by libcrypto.

#include "protocol/hash.hpp"

#include <string_view>

namespace parley {

[[nodiscard]] sha256_digest hmac_sha256(std::string_view key, std::string_view bytes);

}  // namespace parley
