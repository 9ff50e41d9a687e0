#pragma once
/// How long messages are kept, as SPEC 4 and 6 write it: `720h`, `1h30m`, `1.5h`.

#include <chrono>
#include <optional>
#include <string_view>

namespace parley {

/// What is shorter is refused: retention is no way to delete a message.
inline constexpr std::chrono::milliseconds retention_min{std::chrono::hours{1}};
/// A hundred years; what is longer is as good as that, and no sum with a time overflows.
inline constexpr std::chrono::milliseconds retention_max{std::chrono::hours{876'000}};

/// nullopt: not a duration, or shorter than retention_min. Fractions of a millisecond are cut.
[[nodiscard]] std::optional<std::chrono::milliseconds> parse_retention(std::string_view text);

}  // namespace parley
