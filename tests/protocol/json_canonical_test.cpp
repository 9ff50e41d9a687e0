#include "protocol/json_canonical.hpp"

#include "protocol/json_scan.hpp"
#include "tests/protocol/random_json.hpp"
#include "tests/support/seeds.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <random>
#include <string>
#include <string_view>

using namespace parley;
using parley::tests::for_each_seed;
using parley::tests::random_json;

namespace {

std::string canonical(std::string_view text) { return canonical_json(json_text{text}); }

}  // namespace

TEST_SUITE("SPEC 2.4 compared as JSON values") {
  TEST_CASE("nothing stays nothing") { CHECK(canonical("").empty()); }

  TEST_CASE("each spelling of a value has the canonical one") {
    struct row {
      const char* text;
      const char* expected;
    };
    const row rows[] = {
        {"null", "null"},
        {"true", "true"},
        {"1", "1"},
        {"1.0", "1"},
        {"1e0", "1"},
        {"10e-1", "1"},
        {"0.001e3", "1"},
        {"-0", "0"},
        {"0.0", "0"},
        {"-0.0e5", "0"},
        {"100", "100"},
        {"1e2", "100"},
        {"1.50", "15e-1"},
        {"0.10", "1e-1"},
        {"-2.5e-3", "-25e-4"},
        {"1e300", "1e300"},
        {"10e299", "1e300"},
        {"9007199254740993", "9007199254740993"},
        {"9007199254740993.0", "9007199254740993"},
        {"123456789012345678901234567890",
         "12345678901234567890123456789"
         "0"},
        {R"("a")", R"("a")"},
        {R"("\u0061")", R"("a")"},
        {R"("\/\u00e9\ud83d\ude00")", R"("/é😀")"},
        {R"("\u000a\u0000")", R"("\n\u0000")"},
        {R"({"b":1,"a":[2,1]})", R"({"a":[2,1],"b":1})"},
        {R"({"\u0062":1.0,"a":{"d":null,"c":{}}})", R"({"a":{"c":{},"d":null},"b":1})"},
        {R"({"a":1,"B":2,"é":3,"":4})", R"({"":4,"B":2,"a":1,"é":3})"},
        {R"([ 1 , { "x" : [ ] } ])", R"([1,{"x":[]}])"},
    };
    for (const row& r : rows) {
      INFO(r.text);
      CHECK(canonical(r.text) == r.expected);
    }
  }

  TEST_CASE("values that differ stay different") {
    const char* different[] = {"1",
                               "\"1\"",
                               "true",
                               "null",
                               "[]",
                               "{}",
                               "[1]",
                               "[[1]]",
                               "\"\"",
                               "0",
                               "-1",
                               "1.5",
                               "15",
                               "9007199254740992",
                               "9007199254740993",
                               R"({"a":1})",
                               R"({"a":2})",
                               R"({"b":1})",
                               "[1,2]",
                               "[2,1]",
                               "1e21",
                               "1e22",
                               "0.1",
                               "0.10000000000000001"};
    for (const char* a : different) {
      for (const char* b : different) {
        INFO(a << " " << b);
        CHECK((canonical(a) == canonical(b)) == (a == b));
      }
    }
  }

  TEST_CASE("the canonical text is the same value, and canonical itself") {
    for_each_seed(3000, [](std::uint64_t seed) {
      std::mt19937_64 dice{seed};
      const std::string text = random_json{dice}.value(5);
      const std::string once = canonical(text);
      INFO(text);
      REQUIRE(canonical(once) == once);
      const auto a = nlohmann::json::parse(text);
      const auto b = nlohmann::json::parse(once);
      REQUIRE(a == b);
    });
  }

  TEST_CASE("a text too deep for any door is compared as it stands") {
    const std::string deep = std::string(5000, '[') + std::string(5000, ']');
    CHECK(canonical(deep) == deep);
  }
}
