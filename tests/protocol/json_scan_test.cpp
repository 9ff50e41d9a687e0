#include "protocol/json_scan.hpp"

#include "protocol/utf8.hpp"
#include "tests/protocol/random_json.hpp"
#include "tests/support/seeds.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

using namespace parley;
using parley::tests::for_each_seed;
using parley::tests::random_json;

namespace {

json_fault fault_of(std::string_view text, std::size_t max_depth = 32) {
  json_scanner scanner{max_depth};
  scanner.open(text);
  scanner.value();
  scanner.finish();
  return scanner.fault();
}

/// A copy without a byte to spare behind it: the sanitizer sees every read too far.
json_fault fault_of_tight(const std::string& text) {
  const std::vector<char> tight(text.begin(), text.end());
  return fault_of({tight.data(), tight.size()});
}

json_slice slice_of(std::string_view text) {
  json_scanner scanner{1000};
  scanner.open(text);
  const json_slice out = scanner.value();
  REQUIRE(scanner.finish());
  return out;
}

std::string nested(std::size_t depth, const char* open = "[", const char* close = "]") {
  std::string out;
  for (std::size_t i = 0; i < depth; ++i) out += open;
  for (std::size_t i = 0; i < depth; ++i) out += close;
  return out;
}

}  // namespace

TEST_SUITE("SPEC 4 strict JSON") {
  TEST_CASE("exactly the grammar of RFC 8259 is read") {
    const std::vector<std::string> good{"null",
                                        "true",
                                        "false",
                                        "0",
                                        "-0",
                                        "-1",
                                        "10",
                                        "1.0",
                                        "1e5",
                                        "1E+5",
                                        "1.25e-3",
                                        "\"\"",
                                        "\"a\"",
                                        R"("\"\\\/\b\f\n\r\t\u00e9\u00E9")",
                                        "[]",
                                        "{}",
                                        "[1]",
                                        "[1,2]",
                                        R"({"a":1})",
                                        R"({"a":{"b":[]}})",
                                        " \t\r\n1 \t\r\n",
                                        R"({ "a" : [ 1 , 2 ] , "b" : { } })",
                                        R"({"":0})",
                                        "\"\x7f\"",
                                        "\"é€😀\"",
                                        R"("\ud83d\ude00")",
                                        R"("\u0000")"};
    for (const auto& text : good) {
      INFO(text);
      CHECK(fault_of_tight(text) == json_fault::none);
    }
    const std::vector<std::string> bad{"",
                                       " ",
                                       "nul",
                                       "nulll",
                                       "True",
                                       "tru",
                                       "NaN",
                                       "Infinity",
                                       "-",
                                       "+1",
                                       "01",
                                       "-01",
                                       "00",
                                       ".5",
                                       "1.",
                                       "1.e5",
                                       "1e",
                                       "1e+",
                                       "0x10",
                                       "1_000",
                                       "--1",
                                       "\"",
                                       "\"a",
                                       "\"\\\"",
                                       R"("\x41")",
                                       R"("\u12")",
                                       R"("\u12g4")",
                                       R"("\U00e9")",
                                       "'a'",
                                       "\"\n\"",
                                       "\"\t\"",
                                       std::string("\"\0\"", 3),
                                       "\"\x1f\"",
                                       "[",
                                       "]",
                                       "[1",
                                       "[1,",
                                       "[1,]",
                                       "[,1]",
                                       "[1 2]",
                                       "[1,,2]",
                                       "{",
                                       "}",
                                       "{1:2}",
                                       R"({"a")",
                                       R"({"a":)",
                                       R"({"a":1)",
                                       R"({"a":1,)",
                                       R"({"a":1,})",
                                       R"({,"a":1})",
                                       R"({"a" 1})",
                                       R"({"a":1 "b":2})",
                                       R"({"a":})",
                                       "{a:1}",
                                       "1 2",
                                       "{}{}",
                                       "[]x",
                                       "// c\n1",
                                       "/* c */1",
                                       "\xef\xbb\xbf{}",
                                       "[1}",
                                       "{\"a\":1]",
                                       "[[]",
                                       "{\"a\":{}"};
    for (const auto& text : bad) {
      INFO(text);
      CHECK(fault_of_tight(text) == json_fault::syntax);
    }
  }

  TEST_CASE("half a surrogate pair is refused, wherever it stands") {
    for (const char* text :
         {R"("\ud800")", R"("\udc00")", R"("\ud83d x")", R"("\ud83d\n")", R"("\ude00\ud83d")",
          R"("\ud83d\ud83d\ude00")", R"({"\ud800":1})", R"([{"a":["\udfff"]}])"}) {
      INFO(text);
      CHECK(fault_of(text) == json_fault::lone_surrogate);
    }
  }

  TEST_CASE(
      "a key that stands twice in one object is refused, in every spelling and at every depth") {
    for (const char* text :
         {R"({"a":1,"a":1})", R"({"a":1,"b":2,"a":3})", R"({"a":1,"\u0061":2})", R"({"":1,"":2})",
          R"([[{"x":{"a":1,"a":2}}]])", R"({"é":1,"\u00e9":2})", R"({"/":1,"\/":2})",
          R"({"😀":1,"\ud83d\ude00":2})",
          R"({"same_first_eight_1":1,"same_first_eight_2":2,"same_first_eight_1":3})"}) {
      INFO(text);
      CHECK(fault_of(text) == json_fault::duplicate_key);
    }
    for (const char* text :
         {R"({"a":1,"A":1})", R"({"a":{"a":1}})", R"([{"a":1},{"a":1}])", R"({"a":1,"a\u0000":2})",
          R"({"a":{"b":1},"c":{"b":1}})", R"({"12345678":1,"123456789":2})"}) {
      INFO(text);
      CHECK(fault_of(text) == json_fault::none);
    }
  }

  TEST_CASE("one duplicate among many keys is found, and none where there is none") {
    for (const int count : {2, 7, 8, 9, 10, 100, 5000}) {
      INFO(count);
      std::string text = "{";
      for (int i = 0; i < count; ++i)
        text += "\"key" + std::to_string(i * 7919 % 100'003) + "\":0,";
      CHECK(fault_of(text + "\"other\":0}") == json_fault::none);
      CHECK(fault_of(text + "\"key7919\":0}") ==
            (count > 1 ? json_fault::duplicate_key : json_fault::none));
    }
  }

  TEST_CASE("depth counts the outer value; beyond the bound it is refused, without recursion") {
    CHECK(fault_of(nested(32)) == json_fault::none);
    CHECK(fault_of(nested(33)) == json_fault::too_deep);
    CHECK(fault_of(nested(31, "{\"a\":[", "]}"), 62) == json_fault::none);
    CHECK(fault_of(nested(31, "{\"a\":[", "]}"), 61) == json_fault::too_deep);
    CHECK(fault_of(nested(1000)) == json_fault::too_deep);
    CHECK(fault_of(nested(500'000)) == json_fault::too_deep);
    CHECK(fault_of(std::string(500'000, '[')) != json_fault::none);
    CHECK(fault_of("1", 1) == json_fault::none);
    CHECK(fault_of("[]", 1) == json_fault::none);
    CHECK(fault_of("[[]]", 1) == json_fault::too_deep);
  }

  TEST_CASE(
      "numbers may have any digits, but not be beyond a double: some readers would refuse the "
      "frame") {
    for (const std::string& text :
         {std::string{"123456789012345678901234567890"}, std::string{"1e308"},
          std::string{"-1.7976931348623157e308"}, std::string{"1e-400"},
          std::string{"0e999999999999999999999"}, std::string{"0.0000001e315"},
          std::string{"1000e305"}, std::string(309, '1'), "0." + std::string(400, '0') + "1e700"}) {
      INFO(text);
      CHECK(fault_of(text) == json_fault::none);
    }
    for (const std::string& text :
         {std::string{"1e309"}, std::string{"-1e309"}, std::string{"1.7976931348623159e308"},
          std::string{"2e308"}, std::string{"1e99999999999999999999"}, std::string{"1000e306"},
          std::string(310, '1'), std::string{"0.0001e313"}, "1" + std::string(309, '0')}) {
      INFO(text);
      CHECK(fault_of(text) == json_fault::number_range);
    }
  }

  TEST_CASE("the scanner refuses what nlohmann/json refuses, and beyond that only duplicate keys") {
    for_each_seed(20'000, [](std::uint64_t seed) {
      std::mt19937_64 dice{seed};
      random_json random{dice};
      std::string text = random.space() + random.value(5) + random.space();
      const std::size_t damages = dice() % 3;
      for (std::size_t i = 0; i < damages; ++i) text = random.damaged(text);
      if (!is_valid_utf8(text)) return;
      INFO(text);
      const json_fault fault = fault_of_tight(text);
      const bool oracle = nlohmann::json::accept(text);
      if (fault == json_fault::duplicate_key) return;
      REQUIRE((fault == json_fault::none) == oracle);
    });
  }
}

TEST_SUITE("SPEC 4 JSON is given back equal") {
  TEST_CASE("strings are decoded as nlohmann/json decodes them") {
    for_each_seed(3000, [](std::uint64_t seed) {
      std::mt19937_64 dice{seed};
      const std::string text = random_json{dice}.string();
      INFO(text);
      REQUIRE(decoded(slice_of(text)) == nlohmann::json::parse(text).get<std::string>());
    });
  }

  TEST_CASE("minifying removes white space between tokens and nothing else") {
    struct row {
      const char* text;
      const char* minified;
    };
    const row rows[] = {
        {"1", "1"},
        {R"(" a b ")", R"(" a b ")"},
        {R"([ 1 , "a b" ])", R"([1,"a b"])"},
        {"{ \"a b\" :\t1.50 ,\n\"c\":[ ]\r}", R"({"a b":1.50,"c":[]})"},
        {R"({"a":" \" , [ \\"  , "b" : 1E+2})", R"({"a":" \" , [ \\","b":1E+2})"},
        {R"({"\u0041" : "\ud83d\ude00 \/"})", R"({"\u0041":"\ud83d\ude00 \/"})"},
        {"[ 123456789012345678901234567890 , -0 ]", "[123456789012345678901234567890,-0]"},
    };
    for (const row& r : rows) CHECK(minified(slice_of(r.text)) == r.minified);
  }

  TEST_CASE("a minified value has no white space outside strings and is the same value") {
    for_each_seed(3000, [](std::uint64_t seed) {
      std::mt19937_64 dice{seed};
      const std::string text = random_json{dice}.value(5);
      const std::string small = minified(slice_of(text));
      INFO(text);
      REQUIRE(nlohmann::json::parse(small) == nlohmann::json::parse(text));
      REQUIRE(slice_of(small).plain == slice_of(small).plain);
      bool in_string = false;
      for (std::size_t i = 0; i < small.size(); ++i) {
        if (in_string && small[i] == '\\') {
          ++i;
        } else if (small[i] == '"') {
          in_string = !in_string;
        } else if (!in_string) {
          REQUIRE(std::string_view{" \t\r\n"}.find(small[i]) == std::string_view::npos);
        }
      }
    });
  }

  TEST_CASE("a count is an integer literal from 0 to 2^53") {
    CHECK(as_count(slice_of("0")) == 0);
    CHECK(as_count(slice_of("42")) == 42);
    CHECK(as_count(slice_of("9007199254740992")) == 9007199254740992);
    for (const char* text : {"9007199254740993", "-1", "-0", "1.0", "1e3", "99999999999999999999",
                             "\"1\"", "null", "true", "[1]"}) {
      INFO(text);
      CHECK_FALSE(as_count(slice_of(text)));
    }
  }
}

TEST_SUITE("pulling fields from JSON") {
  TEST_CASE("fields come in order, keys decoded, values as they stand") {
    json_scanner scanner{32};
    scanner.open(R"( { "a" : 1 , "\u0062" : { "x" : [ ] } , "c":"é" } )");
    REQUIRE(scanner.enter_object());
    CHECK(scanner.next_key() == "a");
    CHECK(scanner.value().text == "1");
    CHECK(scanner.next_key() == "b");
    CHECK(scanner.at_object());
    CHECK(scanner.value().text == R"({ "x" : [ ] })");
    CHECK(scanner.next_key() == "c");
    CHECK_FALSE(scanner.at_object());
    CHECK(scanner.value().text == "\"é\"");
    CHECK_FALSE(scanner.next_key());
    CHECK(scanner.finish());
  }

  TEST_CASE("an object within can be entered instead of taken") {
    json_scanner scanner{32};
    scanner.open(R"({"in":{"a":1,"b":[1,{"c":2}]},"out":3})");
    REQUIRE(scanner.enter_object());
    CHECK(scanner.next_key() == "in");
    REQUIRE(scanner.enter_object());
    CHECK(scanner.next_key() == "a");
    CHECK(scanner.value().text == "1");
    CHECK(scanner.next_key() == "b");
    REQUIRE(scanner.enter_array());
    REQUIRE(scanner.next_element());
    CHECK(scanner.value().text == "1");
    REQUIRE(scanner.next_element());
    CHECK(scanner.value().text == R"({"c":2})");
    CHECK_FALSE(scanner.next_element());
    CHECK_FALSE(scanner.next_key());
    CHECK(scanner.next_key() == "out");
    CHECK(scanner.value().text == "3");
    CHECK_FALSE(scanner.next_key());
    CHECK(scanner.finish());
  }

  TEST_CASE("commas must stand between fields, and only there") {
    for (const char* text :
         {R"({"a":1 "b":2})", R"({"a":1,})", R"({,})", R"({"a":1,,"b":2})", R"({"a":1)"}) {
      INFO(text);
      json_scanner scanner{32};
      scanner.open(text);
      scanner.enter_object();
      while (scanner.next_key()) scanner.value();
      CHECK_FALSE(scanner.finish());
      CHECK(scanner.fault() == json_fault::syntax);
    }
  }

  TEST_CASE(
      "after a fault that is not one of syntax reading goes on, and tells which value has it") {
    json_scanner scanner{32};
    scanner.open(R"({"a":"\ud800","b":{"x":1,"x":2},"c":7})");
    REQUIRE(scanner.enter_object());
    scanner.next_key();
    CHECK_FALSE(scanner.value().sound);
    scanner.next_key();
    CHECK_FALSE(scanner.value().sound);
    scanner.next_key();
    const json_slice last = scanner.value();
    CHECK(last.sound);
    CHECK(last.text == "7");
    CHECK_FALSE(scanner.next_key());
    CHECK_FALSE(scanner.finish());
    CHECK(scanner.fault() == json_fault::lone_surrogate);  // the first
  }

  TEST_CASE("a scanner that met a fault reads the next text as if new") {
    json_scanner scanner{32};
    scanner.open("{\"a\":");
    scanner.enter_object();
    scanner.next_key();
    scanner.value();
    CHECK_FALSE(scanner.finish());
    scanner.open("[1]");
    CHECK(scanner.value().text == "[1]");
    CHECK(scanner.finish());
  }
}
