#pragma once
/// Properties over seeds: the same statement for many random histories; a failure names the seed that shows it again.

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <optional>

namespace parley::tests {

/// `PARLEY_SEED`: run this one alone.
[[nodiscard]] inline std::optional<std::uint64_t> only_seed() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing in a test changes the environment.
  const char* text = std::getenv("PARLEY_SEED");
  if (text == nullptr || *text == '\0') return std::nullopt;
  return std::strtoull(text, nullptr, 10);
}

/// Calls `property(seed)` for `count` seeds, from `first` on. Whatever fails inside is reported with its seed.
template <class Property>
void for_each_seed(std::uint64_t count, Property&& property, std::uint64_t first = 1) {
  const auto only = only_seed();
  for (std::uint64_t i = 0; i < (only ? 1 : count); ++i) {
    const std::uint64_t seed = only.value_or(first + i);
    INFO("to see it again: PARLEY_SEED=" << seed);
    property(seed);
  }
}

}  // namespace parley::tests
