#include "protocol/seams.hpp"

#include "protocol/assert.hpp"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <string_view>

namespace parley {

namespace {

class machine_clock final : public clock {
 public:
  [[nodiscard]] utc_time now() const override {
    return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  }
  [[nodiscard]] mono_time mono() const override { return std::chrono::steady_clock::now(); }
};

class kernel_random final : public random_source {
 public:
  void fill(std::span<std::uint8_t> out) override {
    while (!out.empty()) {
      const ssize_t got = getrandom(out.data(), out.size(), 0);
      if (got < 0 && errno == EINTR) continue;
      PARLEY_ASSERT(
          got > 0);  // no other failure is possible with these arguments; without randomness: stop
      out = out.subspan(static_cast<std::size_t>(got));
    }
  }
};

void write_digits(char* to, unsigned value, int width) {
  for (int i = width - 1; i >= 0; --i) {
    to[i] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
}

}  // namespace

const clock& system_clock_source() {
  static const machine_clock instance;
  return instance;
}

random_source& system_random() {
  static kernel_random instance;
  return instance;
}

void append_rfc3339(std::string& out, utc_time t) {
  using namespace std::chrono;
  // RFC 3339 has years of exactly four digits.
  constexpr utc_time earliest{sys_days{year{0} / January / 1}};
  constexpr utc_time latest{sys_days{year{10000} / January / 1} - milliseconds{1}};
  t = std::clamp(t, earliest, latest);

  const auto day = floor<days>(t);
  const year_month_day date{day};
  const auto ms = static_cast<unsigned>((t - day).count());
  std::array<char, 24> text{'0', '0', '0', '0', '-', '0', '0', '-', '0', '0', 'T', '0',
                            '0', ':', '0', '0', ':', '0', '0', '.', '0', '0', '0', 'Z'};
  write_digits(text.data(), static_cast<unsigned>(static_cast<int>(date.year())), 4);
  write_digits(text.data() + 5, static_cast<unsigned>(date.month()), 2);
  write_digits(text.data() + 8, static_cast<unsigned>(date.day()), 2);
  write_digits(text.data() + 11, ms / 3'600'000, 2);
  write_digits(text.data() + 14, ms / 60'000 % 60, 2);
  write_digits(text.data() + 17, ms / 1000 % 60, 2);
  write_digits(text.data() + 20, ms % 1000, 3);
  out.append(text.data(), text.size());
}

std::string to_rfc3339(utc_time t) {
  std::string out;
  append_rfc3339(out, t);
  return out;
}

std::optional<utc_time> parse_rfc3339(std::string_view text) {
  using namespace std::chrono;
  std::size_t at = 0;
  bool sound = true;
  const auto digits = [&](std::size_t width) {
    int value = 0;
    for (std::size_t i = 0; i < width; ++i, ++at) {
      if (at >= text.size() || text[at] < '0' || text[at] > '9') {
        sound = false;
        return 0;
      }
      value = value * 10 + (text[at] - '0');
    }
    return value;
  };
  const auto is_one_of = [&](std::string_view which) {
    sound = sound && at < text.size() && which.find(text[at]) != std::string_view::npos;
    return sound ? text[at++] : '\0';
  };
  const int y = digits(4);
  is_one_of("-");
  const int m = digits(2);
  is_one_of("-");
  const int d = digits(2);
  is_one_of("Tt ");
  const int hour = digits(2);
  is_one_of(":");
  const int minute = digits(2);
  is_one_of(":");
  const int second = digits(2);
  if (!sound) return std::nullopt;
  int ms = 0;
  if (at < text.size() && text[at] == '.') {
    ++at;
    std::size_t n = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++n) {
      if (n < 3) ms = ms * 10 + (text[at] - '0');
    }
    if (n == 0) return std::nullopt;
    for (; n < 3; ++n) ms *= 10;
  }
  int offset = 0;
  const char zone = is_one_of("Zz+-");
  if (zone == '+' || zone == '-') {
    const int hours = digits(2);
    is_one_of(":");
    const int minutes = digits(2);
    if (hours > 23 || minutes > 59) return std::nullopt;
    offset = (hours * 60 + minutes) * (zone == '+' ? 1 : -1);
  }
  const year_month_day date{year{y}, month{static_cast<unsigned>(m)}, day{static_cast<unsigned>(d)}};
  // 60 is a leap second; it counts as the next minute's first.
  if (!sound || at != text.size() || !date.ok() || hour > 23 || minute > 59 || second > 60)
    return std::nullopt;
  return utc_time{sys_days{date}.time_since_epoch() + hours{hour} + minutes{minute - offset} +
                  seconds{second} + milliseconds{ms}};
}

}  // namespace parley
