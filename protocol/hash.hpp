#pragma once
/// Digests and secrets: SHA-256 (OpenSSL), sealed values, fresh keys. Pure but for the random source given.

#include "protocol/seams.hpp"

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace parley {

using sha256_digest = std::array<std::uint8_t, 32>;
[[nodiscard]] sha256_digest sha256(std::string_view bytes);

/// The first 128 bits of a SHA-256: names a client's key or a message body where 2^-64 is a good enough chance.
struct hash128 {
  std::array<std::uint8_t, 16> bytes{};
  auto operator<=>(const hash128&) const = default;
};
[[nodiscard]] hash128 hash128_of(std::string_view bytes);

/// AES-256-GCM with the node's `secret_key` (SPEC 3): nonce ‖ ciphertext ‖ tag. `context` is authenticated, not stored.
using secret_key = std::array<std::uint8_t, 32>;
[[nodiscard]] std::string seal(const secret_key& key, std::string_view plain,
                               std::string_view context, random_source& random);
/// nullopt: another key, another context or changed bytes.
[[nodiscard]] std::optional<std::string> unseal(const secret_key& key, std::string_view sealed,
                                                std::string_view context);

/// `prefix` + base64url of `bytes` random bytes, no padding: `sk_…` has 32 (256 bits).
[[nodiscard]] std::string make_token(std::string_view prefix, std::size_t bytes,
                                     random_source& random);
/// Lower-case hex of `bytes` random bytes.
[[nodiscard]] std::string make_hex(std::size_t bytes, random_source& random);
/// Constant time for equal lengths.
[[nodiscard]] bool equal_secret(std::string_view a, std::string_view b);

}  // namespace parley

template <>
struct std::hash<parley::hash128> {
  std::size_t operator()(const parley::hash128& h) const noexcept {
    std::size_t v = 0;
    std::memcpy(&v, h.bytes.data(), sizeof v);
    return v;
  }
};
