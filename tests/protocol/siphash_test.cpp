#include "protocol/siphash.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace parley;

TEST_CASE("SipHash-2-4 gives the values of its reference") {
  // Key 00 01 … 0f, text 00 01 … of n bytes: vectors_sip64 of the reference implementation.
  const siphash_key key{0x0706050403020100U, 0x0f0e0d0c0b0a0908U};
  std::string text;
  const auto grow = [&](std::size_t n) -> const std::string& {
    text.clear();
    for (std::size_t i = 0; i < n; ++i) text += static_cast<char>(i);
    return text;
  };
  CHECK(siphash(key, grow(0)) == 0x726fdb47dd0e0e31U);
  CHECK(siphash(key, grow(1)) == 0x74f839c593dc67fdU);
  CHECK(siphash(key, grow(7)) == 0xab0200f58b01d137U);
  CHECK(siphash(key, grow(8)) == 0x93f5f5799a932462U);
  CHECK(siphash(key, grow(15)) == 0xa129ca6149be45e5U);
  CHECK(siphash(key, grow(63)) == 0x958a324ceb064572U);
}

TEST_CASE("another key gives other values") {
  CHECK(siphash({1, 2}, "alice") != siphash({1, 3}, "alice"));
  const auto key = make_siphash_key(system_random());
  CHECK(siphash(key, "alice") == siphash(key, "alice"));
  CHECK(siphash(key, "alice") != siphash(make_siphash_key(system_random()), "alice"));
}
