#pragma once
/// The values of configuration keys as text: durations, sizes, addresses, database names. Pure functions.
/// What can't be read comes back as nullopt, or as a problem in words where the reason is not obvious.

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace parley::app {

/// Go's form: decimal numbers with a unit each, largest first by custom: `300ms`, `30s`, `1m30s`, `1.5h`; plain `0` too.
/// Units: ns, us, µs, ms, s, m, h. Whole milliseconds only; negative ones are refused.
[[nodiscard]] std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);
/// The shortest form that parse_duration reads back: `1m30s`, `500ms`, `24h`.
[[nodiscard]] std::string show_duration(std::chrono::milliseconds value);

/// A number of bytes: `65536`, `64KiB`, `64kB`, `1MiB`, `1GiB`. KiB is 1024, kB (or KB) 1000. `64K` is refused: it
/// means one to some and the other to others.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);
[[nodiscard]] std::string show_size(std::uint64_t bytes);

/// Decimal digits only.
[[nodiscard]] std::optional<std::uint64_t> parse_count(std::string_view text);

/// Separated by commas; spaces round items and empty items are dropped.
[[nodiscard]] std::vector<std::string> split_list(std::string_view text);

/// `host:port`, `[v6]:port` or `:port` (all addresses). Port 0: the system's choice.
struct host_port {
  std::string host;  ///< empty: all addresses; without brackets
  std::uint16_t port = 0;
};
[[nodiscard]] std::optional<host_port> parse_host_port(std::string_view text);

/// A browser's origin, `scheme://host[:port]` in lower case, or `*`.
[[nodiscard]] bool is_origin(std::string_view text);

/// A database's name: a path, or SQLite's `file:` URI, either with parameters after `?`.
struct database_name {
  std::string path;
  std::vector<std::string> ignored_parameters;  ///< names only: a value may be a password
};
/// The file, or why there is none: it must be a file that can be written, so no `:memory:`, `mode=memory`, `mode=ro`.
[[nodiscard]] std::variant<database_name, std::string> parse_database(std::string_view text);

/// The candidate nearest to `word` in edit distance, if it is near enough to be meant. Case counts little.
[[nodiscard]] std::optional<std::string_view> nearest(std::string_view word,
                                                      std::span<const std::string_view> candidates);

/// In double quotes, control characters and invalid UTF-8 escaped: for values in messages to people.
[[nodiscard]] std::string in_quotes(std::string_view text);
[[nodiscard]] std::string to_lower(std::string_view text);
[[nodiscard]] std::string to_upper(std::string_view text);
[[nodiscard]] std::string_view trimmed(std::string_view text);

}  // namespace parley::app
