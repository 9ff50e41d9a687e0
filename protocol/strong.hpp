#pragma once
/// Strong types: what could be mixed up has a type of its own. Values, no cost, no implicit conversion.

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace parley {

/// An integer with a meaning. `Tag` only tells types apart.
template <class Tag, class Rep = std::int64_t>
struct strong_int {
  using rep = Rep;
  Rep value{};

  constexpr strong_int() = default;
  constexpr explicit strong_int(Rep v) : value(v) {}
  constexpr auto operator<=>(const strong_int&) const = default;

  /// The one after this.
  [[nodiscard]] constexpr strong_int next() const {
    return strong_int{static_cast<Rep>(value + 1)};
  }
  constexpr strong_int& operator++() {
    ++value;
    return *this;
  }
  /// True unless it is the default (no such thing).
  [[nodiscard]] constexpr bool is_set() const { return value != Rep{}; }
};

/// A text with a meaning. Compared bytewise.
template <class Tag>
struct strong_string {
  std::string value;

  strong_string() = default;
  explicit strong_string(std::string v) : value(std::move(v)) {}
  explicit strong_string(std::string_view v) : value(v) {}
  explicit strong_string(const char* v) : value(v) {}
  auto operator<=>(const strong_string&) const = default;
  [[nodiscard]] bool empty() const { return value.empty(); }
  [[nodiscard]] std::string_view view() const { return value; }
};

/// Mixes the hash of one more part into `seed` (Fibonacci constant, as in Boost.ContainerHash).
constexpr std::size_t hash_combine(std::size_t seed, std::size_t part) {
  return seed ^ (part + 0x9e3779b97f4a7c15ULL + (seed << 6U) + (seed >> 2U));
}

}  // namespace parley

template <class Tag, class Rep>
struct std::hash<parley::strong_int<Tag, Rep>> {
  std::size_t operator()(parley::strong_int<Tag, Rep> v) const noexcept {
    return std::hash<Rep>{}(v.value) * 0x9e3779b97f4a7c15ULL;
  }
};
template <class Tag>
struct std::hash<parley::strong_string<Tag>> {
  std::size_t operator()(const parley::strong_string<Tag>& v) const noexcept {
    return std::hash<std::string_view>{}(v.value);
  }
};
