#pragma once
/// A request target → path segments and query parameters, decoded once. Pure.
/// Bound      `target_max_segments`, `target_max_parameters`: each costs several times its bytes.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parley::net {

inline constexpr std::size_t target_max_segments = 32;
inline constexpr std::size_t target_max_parameters = 256;

/// Undoes percent-encoding, once. Nothing when an escape is malformed or the result holds NUL or is no UTF-8.
/// `plus_is_space`: as in a query (WHATWG application/x-www-form-urlencoded); in a path a `+` is a `+`.
[[nodiscard]] std::optional<std::string> percent_decode(std::string_view raw, bool plus_is_space);

struct target_parts {
  std::string path;       ///< raw, starts with `/`, or `*`
  std::string query_raw;  ///< raw, without the `?`
  /// Split at `/`, then decoded: `%2F` and `..` stay inside their segment, nothing is merged or removed. `/`: none;
  /// `/rooms/`: `rooms` and an empty one.
  std::vector<std::string> segments;
  /// Split at `&` and the first `=`, then decoded, `+` as space. Empty pieces are skipped; order and repeats are kept.
  std::vector<std::pair<std::string, std::string>> query;
  std::string_view problem{};  ///< static text; empty: all is well
};

/// `target`: as check_request_head let it pass (origin form, absolute form or `*`).
[[nodiscard]] target_parts split_target(std::string_view target);

/// The undecoded value of the first parameter of that name (compared decoded), for lists that are split before they are
/// decoded (SPEC 4 `user_ids`). Nothing when absent.
[[nodiscard]] std::optional<std::string_view> raw_query_value(std::string_view query_raw,
                                                              std::string_view name);

}  // namespace parley::net
