#include "protocol/errors.hpp"

#include "protocol/result.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>

using namespace parley;

TEST_SUITE("SPEC 4 errors") {
  TEST_CASE("every code has a row, with the status that SPEC names") {
    const std::map<std::string_view, int> expected{
        {"VALIDATION_ERROR", 400},    {"AUTHENTICATION_ERROR", 401},   {"AUTHORIZATION_ERROR", 403},
        {"NOT_FOUND", 404},           {"METHOD_NOT_ALLOWED", 405},     {"CONFLICT", 409},
        {"PAYLOAD_TOO_LARGE", 413},   {"UNSUPPORTED_MEDIA_TYPE", 415}, {"UPGRADE_REQUIRED", 426},
        {"RATE_LIMIT_EXCEEDED", 429}, {"INTERNAL_ERROR", 500},         {"UNAVAILABLE", 503},
    };
    std::map<std::string_view, int> registered;
    for (const error_info& row : error_registry()) registered[row.text] = row.http_status;
    CHECK(registered == expected);
    CHECK(error_registry().size() == expected.size());
  }

  TEST_CASE("info finds each code's own row") {
    for (const error_info& row : error_registry()) CHECK(&info(row.code) == &row);
  }

  TEST_CASE("no two codes share a meaning, and none is without") {
    std::set<std::string_view> meanings;
    for (const error_info& row : error_registry()) {
      CHECK_FALSE(row.meaning.empty());
      CHECK(meanings.insert(row.meaning).second);
    }
  }

  TEST_CASE("what passes by itself is retryable, what the caller must change is not") {
    for (const error_info& row : error_registry()) {
      INFO(row.text);
      CHECK(row.retryable == (row.http_status == 429 || row.http_status >= 500));
    }
  }

  TEST_CASE("what is unknown and what is foreign has the same words") {
    CHECK(not_found("room").message == not_found("room").message);
    CHECK(not_found("room").code == error_code::not_found);
    CHECK(not_found("room").field.empty());
  }

  TEST_CASE("the short forms carry what they say") {
    CHECK(invalid("seq", "must be an integer").field == "seq");
    CHECK(invalid("seq", "must be an integer").code == error_code::validation);
    CHECK(unavailable("overloaded", std::chrono::seconds{2}).retry_after ==
          std::chrono::milliseconds{2000});
    CHECK(invalid_reply_to().code == error_code::validation);
    CHECK(invalid_reply_to().field == "reply_to");
  }

  TEST_CASE("the value of a failed result is a bug that says what failed") {
    const result<int> failed = not_found("room");
    CHECK_THROWS_WITH_AS(static_cast<void>(failed.value()), doctest::Contains("no such room"),
                         std::logic_error);
  }
}

TEST_SUITE("SPEC 5 close codes") {
  TEST_CASE("the registry has every code that SPEC lists, each once") {
    const std::set<int> expected{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013,
                                 4008, 4009, 4029, 4401, 4501, 4502, 4503, 4505, 4506};
    std::set<int> registered;
    for (const close_info& row : close_registry()) {
      CHECK(registered.insert(static_cast<int>(row.code)).second);
    }
    CHECK(registered == expected);
  }

  TEST_CASE(
      "4000 to 4499 reconnect, 4500 to 4999 do not, of the others 1001, 1011, 1012 and 1013 do") {
    for (const close_info& row : close_registry()) {
      const int code = static_cast<int>(row.code);
      INFO(code);
      const bool expected = (code >= 4000 && code < 4500) || code == 1001 || code == 1011 ||
                            code == 1012 || code == 1013;
      CHECK(row.client_reconnects == expected);
    }
  }

  TEST_CASE("the reason of each code that the node sends first is an error code") {
    for (const close_info& row : close_registry()) {
      if (row.code == close_code::normal || row.code == close_code::going_away) continue;
      INFO(static_cast<int>(row.code));
      const auto codes = error_registry();
      CHECK(std::any_of(codes.begin(), codes.end(),
                        [&](const error_info& e) { return e.text == row.reason; }));
      CHECK(close_reason(row.code) == row.reason);
    }
    CHECK(close_reason(close_code::policy_violation) == "RATE_LIMIT_EXCEEDED");
  }

  TEST_CASE("a code that is not in the registry has no reason") {
    CHECK(close_reason(close_code::none).empty());
    CHECK(close_reason(close_code::no_status).empty());
    CHECK(close_reason(static_cast<close_code>(3000)).empty());
  }

  TEST_CASE("an error that ends a connection does so with a registered code of the same reason") {
    for (const error_info& row : error_registry()) {
      if (row.ws_close == close_code::none) continue;
      INFO(row.text);
      CHECK(close_reason(row.ws_close) == row.text);
    }
  }
}
