#include "protocol/seams.hpp"

#include <doctest/doctest.h>

#include <array>
#include <set>
#include <string>

using namespace parley;

TEST_SUITE("SPEC 4 times") {
  TEST_CASE("a time is RFC 3339 in UTC with exactly three digits of milliseconds") {
    struct row {
      std::int64_t unix_ms;
      const char* text;
    };
    const row rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {1'764'109'824'123, "2025-11-25T22:30:24.123Z"},
        {951'782'399'999, "2000-02-28T23:59:59.999Z"},
        {951'782'400'000, "2000-02-29T00:00:00.000Z"},
        {4'107'542'399'000, "2100-02-28T23:59:59.000Z"},
        {4'107'542'400'000, "2100-03-01T00:00:00.000Z"},
        {253'402'300'799'999, "9999-12-31T23:59:59.999Z"},
        {253'402'300'800'000, "9999-12-31T23:59:59.999Z"},  // no five-digit years
        {-62'167'219'200'000, "0000-01-01T00:00:00.000Z"},
        {-62'167'219'200'001, "0000-01-01T00:00:00.000Z"},
    };
    for (const row& r : rows) CHECK(to_rfc3339(from_unix_ms(r.unix_ms)) == r.text);
  }

  TEST_CASE("a time is appended to what is there") {
    std::string out = "at ";
    append_rfc3339(out, from_unix_ms(0));
    CHECK(out == "at 1970-01-01T00:00:00.000Z");
  }

  TEST_CASE("unix milliseconds go there and back") {
    CHECK(to_unix_ms(from_unix_ms(1'764'109'824'123)) == 1'764'109'824'123);
  }
}

TEST_SUITE("DESIGN 10 seams") {
  TEST_CASE("the machine's clock is in this century and its monotonic time never goes back") {
    const parley::clock& now = system_clock_source();
    CHECK(to_unix_ms(now.now()) > 1'700'000'000'000);
    const mono_time before = now.mono();
    CHECK(now.mono() >= before);
  }

  TEST_CASE("the kernel's random bytes differ, also beyond what one call gives") {
    std::array<std::uint8_t, 1000> bytes{};
    system_random().fill(bytes);
    CHECK(std::set<std::uint8_t>(bytes.begin(), bytes.end()).size() > 200);
    std::array<std::uint8_t, 16> a{};
    std::array<std::uint8_t, 16> b{};
    system_random().fill(a);
    system_random().fill(b);
    CHECK(a != b);
    system_random().fill({});
  }
}
