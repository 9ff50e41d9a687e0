#include "protocol/standard_webhooks.hpp"

#include "protocol/base64.hpp"
#include "protocol/hmac.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace parley;

namespace {

const std::string a_secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const std::string another_secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const webhook_stamp a_stamp{.id = "msg_p5jXN8AQM9LWM0D4loKWxJek", .unix_seconds = 1614265330};
constexpr std::string_view a_body = R"({"test": 2432232314})";
constexpr std::string_view a_signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

std::string secret_of(std::size_t bytes) { return "whsec_" + base64(std::string(bytes, '\x5a')); }

/// Signs with these alone; "" if that can't be.
std::string signed_with(std::vector<std::string> secrets, webhook_stamp stamp = a_stamp,
                        std::string_view body = a_body) {
  return webhook_signature(secrets, stamp, body).value_or("");
}

}  // namespace

TEST_SUITE("SPEC 6 webhooks are signed after Standard Webhooks 1.0") {
  TEST_CASE("the vector that the project's libraries share comes out") {
    CHECK(signed_with({a_secret}) == a_signature);
  }

  TEST_CASE("other secrets, ids, times and bodies give what HMAC-SHA256 says (Python's)") {
    // The example of the specification: its message, its headers; the secrets are known ones.
    const webhook_stamp stamp{.id = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", .unix_seconds = 1674087231};
    constexpr std::string_view body =
        R"({"type":"contact.created","timestamp":"2022-11-03T20:26:10.344522Z",)"
        R"("data":{"id":"1f81eb52-5198-4599-803e-771906343485"}})";
    CHECK(signed_with({a_secret}, stamp, body) ==
          "v1,ARw42xaAApl/nxRo+iPGYwSaMQaOwMo2eyH5JBRA+bQ=");
    CHECK(signed_with({another_secret}, stamp, body) ==
          "v1,Inw/unYkpAh6Njpdz4O+hnN82xYMXQ6NjnZIQN/mzIQ=");
  }

  TEST_CASE("while a secret is rotated both sign, in their order, with a space between") {
    const auto both = signed_with({a_secret, another_secret});
    CHECK(both == std::string{a_signature} + " " + signed_with({another_secret}));
    CHECK(signed_with({another_secret, a_secret}) ==
          signed_with({another_secret}) + " " + std::string{a_signature});
  }

  TEST_CASE("each part counts") {
    auto later = a_stamp;
    later.unix_seconds += 1;
    auto other = a_stamp;
    other.id = "msg_p5jXN8AQM9LWM0D4loKWxJel";
    CHECK(signed_with({a_secret}, later) != a_signature);
    CHECK(signed_with({a_secret}, other) != a_signature);
    CHECK(signed_with({a_secret}, a_stamp, R"({"test":2432232314})") != a_signature);
    CHECK(signed_with({a_secret}, a_stamp, "") != a_signature);
  }

  TEST_CASE("a body of any bytes is signed as it is") {
    const std::string bytes{"a\0b\xff\n", 5};
    const auto key = webhook_key(a_secret);
    REQUIRE(key);
    const auto mac = hmac_sha256(*key, std::string{a_stamp.id} + ".1614265330." + bytes);
    CHECK(signed_with({a_secret}, a_stamp, bytes) ==
          "v1," + base64({reinterpret_cast<const char*>(mac.data()), mac.size()}));
  }

  TEST_CASE("padding in a secret may be there or not") {
    const auto padded = secret_of(32);
    REQUIRE(padded.ends_with("="));
    const auto bare = padded.substr(0, padded.find('='));
    CHECK(signed_with({padded}) == signed_with({bare}));
    CHECK_FALSE(signed_with({padded}).empty());
  }

  TEST_CASE("a secret has the prefix, the standard alphabet and 24 to 64 bytes") {
    for (const auto& [secret, good] :
         std::vector<std::pair<std::string, bool>>{{a_secret, true},
                                                   {another_secret, true},
                                                   {secret_of(24), true},
                                                   {secret_of(25), true},
                                                   {secret_of(64), true},
                                                   {secret_of(23), false},
                                                   {secret_of(65), false},
                                                   {"whsec_", false},
                                                   {"", false},
                                                   {a_secret.substr(6), false},
                                                   {"WHSEC_" + a_secret.substr(6), false},
                                                   {"whsk_" + a_secret.substr(6), false},
                                                   {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_", false},
                                                   {a_secret + " ", false},
                                                   {" " + a_secret, false},
                                                   {a_secret + "=", false}}) {
      CAPTURE(secret);
      CHECK(webhook_key(secret).has_value() == good);
      CHECK(signed_with({secret}).empty() != good);
    }
  }

  TEST_CASE("with no secret, or one that is none, nothing is signed, not even by the other") {
    CHECK_FALSE(webhook_signature({}, a_stamp, a_body));
    CHECK(signed_with({a_secret, "whsec_short"}).empty());
    CHECK(signed_with({"whsec_short", a_secret}).empty());
  }
}
