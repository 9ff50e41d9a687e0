#include "protocol/retention.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <ratio>
#include <system_error>

namespace parley {

std::optional<std::chrono::milliseconds> parse_retention(std::string_view text) {
  using milliseconds = std::chrono::duration<double, std::milli>;
  milliseconds total{0};
  while (!text.empty()) {
    double amount = 0;
    const auto [end, fault] =
        std::from_chars(text.data(), text.data() + text.size(), amount, std::chars_format::fixed);
    if (fault != std::errc{} || text.front() == '-') return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    const std::size_t unit_bytes = std::min(text.find_first_of("0123456789."), text.size());
    const std::string_view unit = text.substr(0, unit_bytes);
    text.remove_prefix(unit_bytes);
    if (unit == "h") {
      total += std::chrono::duration<double, std::ratio<3600>>{amount};
    } else if (unit == "m") {
      total += std::chrono::duration<double, std::ratio<60>>{amount};
    } else if (unit == "s") {
      total += std::chrono::duration<double>{amount};
    } else if (unit == "ms") {
      total += milliseconds{amount};
    } else {
      return std::nullopt;
    }
  }
  if (!std::isfinite(total.count()) || total < retention_min) return std::nullopt;
  return std::chrono::duration_cast<std::chrono::milliseconds>(
      std::min<milliseconds>(total, retention_max));
}

}  // namespace parley
