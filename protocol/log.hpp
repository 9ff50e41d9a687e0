#pragma once
/// How every part of the node logs: a short constant message, and what it is about as named fields.
/// `log(log_level::info, "listening", {{"address", where}})`. Never message content, credentials or request bodies:
/// ids, counts, codes and times only. Where lines go is the process's business: until a sink is installed, nowhere.
/// Thread-safe, also while the level or the sink changes.

#include "protocol/strong.hpp"

#include <chrono>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace parley {

/// `notice`: what whoever runs the node must see at any level («listening», «draining»).
enum class log_level : std::uint8_t { debug, info, warn, error, notice };
[[nodiscard]] std::string_view to_text(log_level level);
/// `debug`, `info`, `warn` or `error`, in any case; `notice` is no threshold.
[[nodiscard]] std::optional<log_level> parse_log_level(std::string_view text);

using log_value = std::variant<std::string_view, std::int64_t, std::uint64_t, double, bool>;

/// A name and a value. Refers to the texts it is given: lives as long as the call to log().
struct log_field {
  std::string_view name;
  log_value value;

  log_field(std::string_view n, std::string_view v) : name(n), value(v) {}
  log_field(std::string_view n, const std::string& v) : name(n), value(std::string_view{v}) {}
  log_field(std::string_view n, const char* v) : name(n), value(std::string_view{v}) {}
  log_field(std::string_view n, bool v) : name(n), value(v) {}
  log_field(std::string_view n, double v) : name(n), value(v) {}
  template <std::signed_integral T>
  log_field(std::string_view n, T v) : name(n),
                                       value(static_cast<std::int64_t>(v)) {}
  template <std::unsigned_integral T>
  requires(!std::same_as<T, bool>) log_field(std::string_view n, T v)
      : name(n),
        value(static_cast<std::uint64_t>(v)) {}
  /// Milliseconds: the name should end in `_ms`.
  template <class Rep, class Period>
  log_field(std::string_view n, std::chrono::duration<Rep, Period> v)
      : name(n),
        value(std::int64_t{std::chrono::duration_cast<std::chrono::milliseconds>(v).count()}) {}
  template <class Tag, class Rep>
  log_field(std::string_view n, strong_int<Tag, Rep> v) : log_field(n, v.value) {}
  template <class Tag>
  log_field(std::string_view n, const strong_string<Tag>& v) : log_field(n, v.view()) {}
};

/// Where lines go. write() may be called by any thread at any time and must not throw.
class log_sink {
 public:
  log_sink() = default;
  log_sink(const log_sink&) = delete;
  log_sink& operator=(const log_sink&) = delete;
  virtual ~log_sink() = default;
  virtual void write(log_level level, std::string_view message,
                     std::span<const log_field> fields) noexcept = 0;
};

/// Not owned; nullptr: lines go nowhere. The former sink must outlive calls of log() that have begun.
void set_log_sink(log_sink* sink) noexcept;
/// Lines below it are dropped; at first `info`.
void set_log_threshold(log_level level) noexcept;
[[nodiscard]] log_level log_threshold() noexcept;
/// Whether a line of this level would go anywhere: ask before a field that is costly to make.
[[nodiscard]] bool is_logged(log_level level) noexcept;

void log(log_level level, std::string_view message,
         std::initializer_list<log_field> fields = {}) noexcept;

}  // namespace parley
