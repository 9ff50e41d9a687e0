#include "protocol/hmac.hpp"

#include "protocol/base64url.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace parley;

namespace {

std::string hex(const sha256_digest& d) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (const auto b : d) {
    out += digits[b >> 4U];
    out += digits[b & 15U];
  }
  return out;
}

}  // namespace

TEST_SUITE("SPEC 3 what tokens are made of") {
  TEST_CASE("HMAC-SHA256 gives what RFC 4231 says") {
    struct row {
      std::string key;
      std::string text;
      std::string mac;
    };
    for (const auto& r : {
             row{std::string(20, '\x0b'), "Hi There",
                 "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
             row{"Jefe", "what do ya want for nothing?",
                 "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
             row{std::string(20, '\xaa'), std::string(50, '\xdd'),
                 "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
             row{std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First",
                 "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
             // Not of the RFC: nothing at all (Python's hmac module says so).
             row{"", "", "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"},
         }) {
      CAPTURE(r.text);
      CHECK(hex(hmac_sha256(r.key, r.text)) == r.mac);
    }
  }

  TEST_CASE("an empty key is an empty key, not the one before") {
    const auto empty = hmac_sha256("", "text");
    CHECK(hmac_sha256("secret", "text") != empty);
    CHECK(hmac_sha256("", "text") == empty);
  }

  TEST_CASE("base64url is that of RFC 4648, with the URL's alphabet and no padding") {
    for (const auto& [bytes, text] : std::initializer_list<std::pair<std::string, std::string>>{
             {"", ""},
             {"f", "Zg"},
             {"fo", "Zm8"},
             {"foo", "Zm9v"},
             {"foob", "Zm9vYg"},
             {"fooba", "Zm9vYmE"},
             {"foobar", "Zm9vYmFy"},
             {"\xfb\xff\xbf", "-_-_"},
             {std::string(3, '\0'), "AAAA"}}) {
      CAPTURE(text);
      CHECK(base64url(bytes) == text);
      const auto back = decode_base64url(text);
      REQUIRE(back);
      CHECK(*back == bytes);
    }
  }

  TEST_CASE("whatever is not the one spelling is refused") {
    for (const auto* text :
         {"Zg==", "Zg=", "Z", "Zm9vY", "Zm9v\n", " Zm9v", "Zm9v ", "Zm 9v", "-_+_", "-_/_", "Zm9v.",
          "Zh", "Zn", "Zm9", "Zm-", "\xc3\xa4\xc3\xa4", "Zm9v=AAA"}) {
      CAPTURE(text);
      CHECK_FALSE(decode_base64url(text));
    }
    CHECK_FALSE(decode_base64url(std::string_view{"AA\0A", 4}));
  }

  TEST_CASE("of all texts of three characters, exactly one stands for each two bytes") {
    constexpr std::string_view alphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    std::set<std::string> seen;
    std::size_t accepted = 0;
    for (const char a : alphabet) {
      for (const char b : alphabet) {
        for (const char c : alphabet) {
          if (const auto bytes = decode_base64url(std::string{a, b, c})) {
            ++accepted;
            seen.insert(*bytes);
          }
        }
      }
    }
    CHECK(accepted == 65'536);
    CHECK(seen.size() == 65'536);
  }
}
