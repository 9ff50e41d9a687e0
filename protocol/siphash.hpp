#pragma once
/// SipHash-2-4 (Aumasson, Bernstein 2012): a keyed 64-bit hash for tables whose keys strangers choose. Who does not know
/// the key can't aim at a place.

#include "protocol/seams.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace parley {

struct siphash_key {
  std::uint64_t k0 = 0;
  std::uint64_t k1 = 0;
};

[[nodiscard]] inline siphash_key make_siphash_key(random_source& random) {
  std::array<std::uint8_t, 16> bytes{};
  random.fill(bytes);
  siphash_key key;
  std::memcpy(&key.k0, bytes.data(), 8);
  std::memcpy(&key.k1, bytes.data() + 8, 8);
  return key;
}

[[nodiscard]] inline std::uint64_t siphash(const siphash_key& key, std::string_view bytes) {
  static_assert(std::endian::native == std::endian::little);
  std::uint64_t v0 = key.k0 ^ 0x736f6d6570736575U;
  std::uint64_t v1 = key.k1 ^ 0x646f72616e646f6dU;
  std::uint64_t v2 = key.k0 ^ 0x6c7967656e657261U;
  std::uint64_t v3 = key.k1 ^ 0x7465646279746573U;
  const auto rounds = [&](int n) {
    for (; n > 0; --n) {
      v0 += v1;
      v2 += v3;
      v1 = std::rotl(v1, 13) ^ v0;
      v3 = std::rotl(v3, 16) ^ v2;
      v0 = std::rotl(v0, 32);
      v2 += v1;
      v0 += v3;
      v1 = std::rotl(v1, 17) ^ v2;
      v3 = std::rotl(v3, 21) ^ v0;
      v2 = std::rotl(v2, 32);
    }
  };
  const auto mix = [&](std::uint64_t word) {
    v3 ^= word;
    rounds(2);
    v0 ^= word;
  };
  std::size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, 8);
    mix(word);
  }
  std::uint64_t last = 0;
  if (at < bytes.size()) std::memcpy(&last, bytes.data() + at, bytes.size() - at);
  mix(last | static_cast<std::uint64_t>(bytes.size()) << 56U);
  v2 ^= 0xffU;
  rounds(4);
  return v0 ^ v1 ^ v2 ^ v3;
}

}  // namespace parley
