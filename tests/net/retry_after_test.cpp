#include "net/retry_after.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace parley;
using namespace parley::net;
using namespace std::chrono_literals;

TEST_SUITE("SPEC 6 Retry-After is honoured") {
  TEST_CASE("it holds seconds, or a date in one of three forms") {
    // 1994-11-06T08:49:37Z is 784111777; now: ten seconds earlier.
    const auto now = from_unix_ms(784111767'000);
    using row = std::pair<std::string, std::optional<std::chrono::milliseconds>>;
    for (const auto& [value, wait] : std::vector<row>{
             {"0", 0ms},
             {"1", 1000ms},
             {"120", 120'000ms},
             {"007", 7000ms},
             {" 3\t", 3000ms},
             {"31536000", retry_after_max},
             {"31536001", retry_after_max},
             {"99999999999999999999999999", retry_after_max},
             {"Sun, 06 Nov 1994 08:49:37 GMT", 10'000ms},
             {"Sunday, 06-Nov-94 08:49:37 GMT", 10'000ms},
             {"Sun Nov  6 08:49:37 1994", 10'000ms},
             {"Sun, 06 Nov 1994 08:49:27 GMT", 0ms},
             {"Sun, 06 Nov 1994 08:49:26 GMT", 0ms},
             {"Thu, 01 Jan 1970 00:00:00 GMT", 0ms},
             {"Mon, 07 Nov 1994 08:49:27 GMT", 24h},
             {"Wed Nov 16 08:49:27 1994", 24h * 10},
             {"Sun, 06 Nov 1994 08:49:60 GMT", 33'000ms},          // a leap second
             {"Tue, 06 Nov 2044 08:49:27 GMT", retry_after_max},   // 50 years
             {"Sunday, 06-Nov-44 08:49:27 GMT", retry_after_max},  // … still ahead
             {"Sunday, 06-Nov-45 08:49:27 GMT", 0ms},              // … and now 1945
             {"Fri, 31 Dec 9999 23:59:59 GMT", retry_after_max},
             {"", std::nullopt},
             {" ", std::nullopt},
             {"-1", std::nullopt},
             {"+1", std::nullopt},
             {"1.5", std::nullopt},
             {"1 2", std::nullopt},
             {"5s", std::nullopt},
             {"soon", std::nullopt},
             {"Sun, 06 Nov 1994 08:49:37", std::nullopt},
             {"Sun, 06 Nov 1994 08:49:37 UTC", std::nullopt},
             {"Sun, 06 Nov 1994 08:49:37 GMT+1", std::nullopt},
             {"Sun, 06 Nov 1994 24:00:00 GMT", std::nullopt},
             {"Sun, 06 Nov 1994 08:60:37 GMT", std::nullopt},
             {"Sun, 31 Nov 1994 08:49:37 GMT", std::nullopt},
             {"Sun, 00 Nov 1994 08:49:37 GMT", std::nullopt},
             {"Sun, 6 Nov 1994 08:49:37 GMT", std::nullopt},
             {"sun, 06 nov 1994 08:49:37 gmt", std::nullopt},
             {"Sonntag, 06-Nov-94 08:49:37 GMT", std::nullopt},
             {"Sun Nov 6 08:49:37 1994", std::nullopt},
             {"1994-11-06T08:49:37Z", std::nullopt},
         }) {
      CAPTURE(value);
      const auto got = parse_retry_after(value, now);
      REQUIRE(got.has_value() == wait.has_value());
      if (wait) CHECK(got->count() == wait->count());
    }
  }

  TEST_CASE("milliseconds of now count") {
    CHECK(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", from_unix_ms(784111776'400)) == 600ms);
  }
}
