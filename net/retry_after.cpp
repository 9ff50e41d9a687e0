#include "net/retry_after.hpp"

#include "net/http_strict.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace parley::net {
namespace {

using namespace std::chrono;

constexpr std::array<std::string_view, 7> day_names{"Mon", "Tue", "Wed", "Thu",
                                                    "Fri", "Sat", "Sun"};
constexpr std::array<std::string_view, 7> long_day_names{
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};
constexpr std::array<std::string_view, 12> month_names{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/// Takes a text apart from the left. After the first part that is not there, nothing is.
class date_scanner {
 public:
  explicit date_scanner(std::string_view text) : left_(text) {}

  date_scanner& skip(std::string_view expected) {
    if (!left_.starts_with(expected)) return fail();
    left_.remove_prefix(expected.size());
    return *this;
  }
  date_scanner& one_of(std::span<const std::string_view> names, unsigned& at) {
    const auto found =
        std::ranges::find_if(names, [&](std::string_view name) { return left_.starts_with(name); });
    if (found == names.end()) return fail();
    at = static_cast<unsigned>(found - names.begin());
    return skip(*found);
  }
  date_scanner& digits(std::size_t count, int& value) {
    value = 0;
    if (left_.size() < count) return fail();
    for (std::size_t i = 0; i < count; ++i) {
      const char c = left_[i];
      if (c < '0' || c > '9') return fail();
      value = value * 10 + (c - '0');
    }
    left_.remove_prefix(count);
    return *this;
  }
  [[nodiscard]] bool next_is(char c) const { return left_.starts_with(c); }
  [[nodiscard]] bool is_complete() const { return good_ && left_.empty(); }

 private:
  date_scanner& fail() {
    good_ = false;
    left_ = {};
    return *this;
  }
  std::string_view left_;
  bool good_ = true;
};

struct date_parts {
  int year = 0;
  unsigned month = 0;  ///< from 0
  int day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
};

date_scanner& scan_time(date_scanner& scan, date_parts& to) {
  return scan.digits(2, to.hour).skip(":").digits(2, to.minute).skip(":").digits(2, to.second);
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
bool scan_fixdate(std::string_view text, date_parts& to) {
  date_scanner scan{text};
  unsigned weekday = 0;
  scan.one_of(day_names, weekday).skip(", ").digits(2, to.day).skip(" ");
  scan.one_of(month_names, to.month).skip(" ").digits(4, to.year).skip(" ");
  return scan_time(scan, to).skip(" GMT").is_complete();
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`; the century is the one that makes it at most 50 years ahead.
bool scan_rfc850(std::string_view text, int year_now, date_parts& to) {
  date_scanner scan{text};
  unsigned weekday = 0;
  scan.one_of(long_day_names, weekday).skip(", ").digits(2, to.day).skip("-");
  scan.one_of(month_names, to.month).skip("-").digits(2, to.year).skip(" ");
  if (!scan_time(scan, to).skip(" GMT").is_complete()) return false;
  to.year += year_now - year_now % 100;
  if (to.year > year_now + 50) to.year -= 100;
  if (to.year <= year_now - 50) to.year += 100;
  return true;
}

/// `Sun Nov  6 08:49:37 1994`
bool scan_asctime(std::string_view text, date_parts& to) {
  date_scanner scan{text};
  unsigned weekday = 0;
  scan.one_of(day_names, weekday).skip(" ").one_of(month_names, to.month).skip(" ");
  if (scan.next_is(' ')) {
    scan.skip(" ").digits(1, to.day);
  } else {
    scan.digits(2, to.day);
  }
  return scan_time(scan.skip(" "), to).skip(" ").digits(4, to.year).is_complete();
}

std::optional<utc_time> parse_http_date(std::string_view text, utc_time now) {
  const auto year_now = static_cast<int>(year_month_day{floor<days>(now)}.year());
  date_parts p;
  if (!scan_fixdate(text, p) && !scan_rfc850(text, year_now, p) && !scan_asctime(text, p))
    return std::nullopt;
  const year_month_day date{year{p.year}, month{p.month + 1}, day{static_cast<unsigned>(p.day)}};
  // 60: a leap second.
  if (!date.ok() || p.hour > 23 || p.minute > 59 || p.second > 60) return std::nullopt;
  return sys_days{date} + hours{p.hour} + minutes{p.minute} + seconds{p.second};
}

/// nullopt: not digits alone.
std::optional<milliseconds> parse_seconds(std::string_view text) {
  if (text.empty()) return std::nullopt;
  constexpr auto most = duration_cast<seconds>(retry_after_max);
  seconds sum{0};
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    sum = std::min(sum * 10 + seconds{c - '0'}, most);
  }
  return sum;
}

}  // namespace

std::optional<milliseconds> parse_retry_after(std::string_view value, utc_time now) {
  const auto text = trim_ows(value);
  if (const auto delay = parse_seconds(text)) return delay;
  const auto when = parse_http_date(text, now);
  if (!when) return std::nullopt;
  return std::clamp(*when - now, milliseconds{0}, retry_after_max);
}

}  // namespace parley::net
