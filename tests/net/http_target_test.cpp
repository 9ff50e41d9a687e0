#include "net/http_target.hpp"

#include <doctest/doctest.h>

using namespace parley::net;
using strings = std::vector<std::string>;
using pairs = std::vector<std::pair<std::string, std::string>>;

TEST_SUITE("SPEC 4: paths are split, then decoded once") {
  TEST_CASE("segments") {
    struct row {
      std::string target;
      std::string path;
      strings segments;
    };
    for (const auto& r : {
             row{"/", "/", {}},
             row{"*", "*", {}},
             row{"/rooms", "/rooms", {"rooms"}},
             row{"/rooms/", "/rooms/", {"rooms", ""}},
             row{"//rooms", "//rooms", {"", "rooms"}},
             row{"/a/b/c?d=e/f", "/a/b/c", {"a", "b", "c"}},
             row{"/a%2Fb/c", "/a%2Fb/c", {"a/b", "c"}},
             row{"/a/../b/./c", "/a/../b/./c", {"a", "..", "b", ".", "c"}},
             row{"/%2e%2E", "/%2e%2E", {".."}},
             row{"/a%252Fb", "/a%252Fb", {"a%2Fb"}},  // once
             row{"/a+b%2B", "/a+b%2B", {"a+b+"}},
             row{"/%C3%A9", "/%C3%A9", {"\xc3\xa9"}},
             row{"/a%3Fb%23", "/a%3Fb%23", {"a?b#"}},
             row{"http://a", "/", {}},
             row{"http://a?b", "/", {}},
             row{"http://a:80/x/y?b", "/x/y", {"x", "y"}},
         }) {
      CAPTURE(r.target);
      const auto parts = split_target(r.target);
      CHECK(parts.problem.empty());
      CHECK(parts.path == r.path);
      CHECK(parts.segments == r.segments);
    }
  }
  TEST_CASE("bad escapes, NUL and bytes that are no UTF-8 are refused") {
    for (const auto* target :
         {"/%", "/%2", "/%zz", "/%2g", "/a%", "/%%20", "/%00", "/a%00b", "/%ff", "/%C3", "/%C0%AF",
          "/%ED%A0%80", "/?%", "/?a=%2", "/?a=%00", "/?%00=a", "/?a=%ff", "/?a=%u0041"}) {
      CAPTURE(target);
      CHECK_FALSE(split_target(target).problem.empty());
    }
  }
  TEST_CASE("the query is a form: `+` is a space, order and repeats are kept") {
    struct row {
      std::string target;
      pairs query;
    };
    for (const auto& r : {
             row{"/", {}},
             row{"/?", {}},
             row{"/?&&", {}},
             row{"/?a", {{"a", ""}}},
             row{"/?a=", {{"a", ""}}},
             row{"/?=a", {{"", "a"}}},
             row{"/?a=b", {{"a", "b"}}},
             row{"/?a=b=c", {{"a", "b=c"}}},
             row{"/?a=1&b=2&a=3", {{"a", "1"}, {"b", "2"}, {"a", "3"}}},
             row{"/?a=x+y%2Bz", {{"a", "x y+z"}}},
             row{"/?a%26b=c%3Dd", {{"a&b", "c=d"}}},
             row{"/?a=b?c/d;e", {{"a", "b?c/d;e"}}},
             row{"/?user_id=%F0%9F%99%82", {{"user_id", "\xf0\x9f\x99\x82"}}},
         }) {
      CAPTURE(r.target);
      const auto parts = split_target(r.target);
      CHECK(parts.problem.empty());
      CHECK(parts.query == r.query);
    }
  }
  TEST_CASE("raw values, for lists that are split before they are decoded") {
    CHECK(raw_query_value("user_ids=a%2Cb,c&x=y", "user_ids") == "a%2Cb,c");
    CHECK(raw_query_value("x=y&user%5Fids=a&user_ids=b", "user_ids") == "a");
    CHECK(raw_query_value("a", "a") == "");
    CHECK_FALSE(raw_query_value("a=b", "b"));
    CHECK_FALSE(raw_query_value("", ""));
    CHECK(percent_decode("a%2Cb", true) == "a,b");
  }
  TEST_CASE("segments and parameters are counted") {
    std::string path;
    for (std::size_t i = 0; i < target_max_segments; ++i) path += "/a";
    CHECK(split_target(path).problem.empty());
    CHECK_FALSE(split_target(path + "/a").problem.empty());
    std::string query = "/?a";
    for (std::size_t i = 1; i < target_max_parameters; ++i) query += "&a";
    CHECK(split_target(query).query.size() == target_max_parameters);
    CHECK_FALSE(split_target(query + "&a").problem.empty());
  }
}
