#pragma once
/// UUIDs: 16 bytes, canonical lower-case text (RFC 9562). New ones are version 7: time-ordered.

#include "protocol/seams.hpp"

#include <array>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace parley {

/// A UUID of any version; bytes in network order, so bytewise order is time order for version 7.
struct uuid {
  std::array<std::uint8_t, 16> bytes{};
  auto operator<=>(const uuid&) const = default;

  /// The canonical form: 36 characters, lower case, hyphens.
  [[nodiscard]] std::string to_string() const;
  /// Appends the canonical form; no allocation beyond `out`'s growth.
  void append_to(std::string& out) const;
  /// Only the canonical form is read; anything else is no UUID (ids compare bytewise, so `A…` is not `a…`).
  static std::optional<uuid> parse(std::string_view text);
  [[nodiscard]] bool is_nil() const { return *this == uuid{}; }
};

/// Makes UUIDv7s that strictly increase within one generator, also when the clock stands still or goes back
/// (RFC 9562 §6.2 method 1: a 12-bit counter beside the millisecond, carried into it on overflow).
/// Not thread-safe; one per owner. Two generators never share random bits.
class uuid7_generator {
 public:
  uuid7_generator(const clock& now, random_source& random) : clock_(now), random_(random) {}
  uuid next();

 private:
  const clock& clock_;
  random_source& random_;
  std::uint64_t last_ms_ = 0;
  std::uint16_t counter_ = 0;

  static constexpr std::size_t random_bytes_per_id = 10;  // 62 bits of the id, 11 to seed the counter
  std::array<std::uint8_t, 8 * random_bytes_per_id> pool_{};
  std::size_t pool_used_ = 8 * random_bytes_per_id;
};

}  // namespace parley

template <>
struct std::hash<parley::uuid> {
  std::size_t operator()(const parley::uuid& id) const noexcept {
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    std::memcpy(&a, id.bytes.data(), 8);
    std::memcpy(&b, id.bytes.data() + 8, 8);
    return (a ^ (b * 0x9e3779b97f4a7c15ULL)) * 0xff51afd7ed558ccdULL;
  }
};
