#include "protocol/utf8.hpp"

#include "tests/support/seeds.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

using namespace parley;

namespace {

struct vector_row {
  std::string text;
  bool valid;
  std::size_t fails_at;  ///< the byte at which no continuation can help any more; size: it only breaks off
};

std::vector<vector_row> vectors() {
  return {
      {"", true, 0},
      {"plain ASCII, longer than eight bytes", true, 0},
      {"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", true, 0},  // κόσμε
      {"\xf0\x9f\x98\x80 and more", true, 0},
      {std::string("\0", 1), true, 0},
      {"\xc2\x80", true, 0},
      {"\xe0\xa0\x80", true, 0},
      {"\xed\x9f\xbf", true, 0},
      {"\xee\x80\x80", true, 0},
      {"\xef\xbf\xbf", true, 0},
      {"\xf0\x90\x80\x80", true, 0},
      {"\xf4\x8f\xbf\xbf", true, 0},
      {"\xc3", false, 1},          // breaks off
      {"\xe2\x82", false, 2},      // breaks off
      {"\xf0\x9f\x98", false, 3},  // breaks off
      {"\x80", false, 0},          // a continuation first
      {"ab\xbf", false, 2},
      {"\xc0\xaf", false, 0},          // overlong, two bytes
      {"\xc1\xbf", false, 0},          // overlong, two bytes
      {"\xe0\x9f\xbf", false, 1},      // overlong, three bytes
      {"\xf0\x8f\xbf\xbf", false, 1},  // overlong, four bytes
      {"\xed\xa0\x80", false, 1},      // the first surrogate
      {"\xed\xbf\xbf", false, 1},      // the last surrogate
      {"\xf4\x90\x80\x80", false, 1},  // beyond U+10FFFF
      {"\xf5\x80\x80\x80", false, 0},
      {"\xf8\x88\x80\x80\x80", false, 0},  // five bytes
      {"\xfe", false, 0},
      {"\xff", false, 0},
      {"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80zz", false, 12},
      {"12345678\xc3(", false, 9},  // not continued, after a whole step of eight
      {"\xe2(\xa1", false, 1},
      {"\xe2\x82(", false, 2},
      {"\xf0\x9f(\x80", false, 2},
      {"\xf0\x9f\x98(", false, 3},
  };
}

}  // namespace

TEST_SUITE("SPEC 5 UTF-8") {
  TEST_CASE("exactly RFC 3629 is valid") {
    for (const auto& row : vectors()) {
      INFO(row.text);
      CHECK(is_valid_utf8(row.text) == row.valid);
    }
  }

  TEST_CASE("in pieces, cut anywhere, the verdict is the same") {
    for (const auto& row : vectors()) {
      INFO(row.text);
      for (std::size_t cut = 0; cut <= row.text.size(); ++cut) {
        utf8_checker checker;
        const bool fed = checker.feed(std::string_view{row.text}.substr(0, cut)) &&
                         checker.feed(std::string_view{row.text}.substr(cut));
        CHECK((fed && checker.complete()) == row.valid);
      }
    }
  }

  TEST_CASE(
      "a text that can't become valid fails at the first byte that shows it, and stays failed") {
    for (const auto& row : vectors()) {
      if (row.valid) continue;
      INFO(row.text);
      utf8_checker checker;
      for (std::size_t i = 0; i < row.text.size(); ++i) {
        const bool fine = checker.feed(std::string_view{row.text}.substr(i, 1));
        CHECK(fine == (i < row.fails_at));
      }
      CHECK_FALSE(checker.complete());
      if (row.fails_at < row.text.size()) CHECK_FALSE(checker.feed("ok"));
    }
  }

  TEST_CASE("whole and in pieces, random bytes get the same verdict") {
    tests::for_each_seed(300, [](std::uint64_t seed) {
      std::mt19937_64 dice{seed};
      static const std::vector<std::string> parts{"a",        "abcdefgh",     "é",   "€", "😀",
                                                  "\xc3\xa9", "\xed\x9f\xbf", "\x80"};
      std::string text;
      const std::size_t count = dice() % 20;
      for (std::size_t i = 0; i < count; ++i) {
        text += dice() % 40 == 0 ? std::string(1, static_cast<char>(dice()))
                                 : parts[dice() % (parts.size() - (dice() % 8 == 0 ? 0 : 1))];
      }
      utf8_checker checker;
      bool fine = true;
      for (std::size_t at = 0; at < text.size() && fine;) {
        const std::size_t size = 1 + dice() % 9;
        fine = checker.feed(std::string_view{text}.substr(at, size));
        at += size;
      }
      REQUIRE((fine && checker.complete()) == is_valid_utf8(text));
    });
  }
}
