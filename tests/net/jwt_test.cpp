#include "net/jwt.hpp"

#include "net/auth.hpp"
#include "protocol/base64url.hpp"
#include "protocol/hmac.hpp"
#include "tests/support/results.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

using namespace parley;
using namespace parley::net;
using namespace std::chrono_literals;

namespace {

constexpr auto noon_s = std::int64_t{1'800'000'000};
const auto noon = from_unix_ms(noon_s * 1000);
const std::string first_secret =
    "jwts_first-s\xc3\xa9"
    "cret";
const std::string second_secret = "jwts_second-secret";
constexpr std::string_view acme_id = "tenant_0123456789abcdef";
constexpr std::string_view first_key = "key_1111111111111111";
constexpr std::string_view second_key = "key_2222222222222222";
constexpr std::string_view an_api_key = "key_3333333333333333";

actors::tenant_snapshot acme() {
  actors::tenant_snapshot t;
  t.no = tenant_no{1};
  t.id = tenant_id{acme_id};
  t.name = "acme";
  t.api_keys = {{key_id{an_api_key}, sha256("sk_key")}};
  t.jwt_keys = {{key_id{first_key}, first_secret}, {key_id{second_key}, second_secret}};
  return t;
}
actors::tenant_snapshot acme_with_audience() {
  auto t = acme();
  t.config.jwt_audience = "parley";
  return t;
}

const std::string good_header = R"({"alg":"HS256","kid":"key_1111111111111111"})";
/// `{"sub":"ann","exp":noon + an hour` and what follows; without a comma at the end.
std::string good_claims(const std::string& more = "") {
  return R"({"sub":"ann","exp":1800003600)" + (more.empty() ? "" : "," + more) + "}";
}
std::string with_header(const std::string& header) {
  return sign_jwt(header, good_claims(), first_secret);
}
std::string with_claims(const std::string& claims) {
  return sign_jwt(good_header, claims, first_secret);
}
std::string good() { return with_claims(good_claims()); }
std::string signed_by(const std::string& signing_input, std::string_view secret) {
  const auto mac = hmac_sha256(secret, signing_input);
  return signing_input + "." + base64url({reinterpret_cast<const char*>(mac.data()), mac.size()});
}
std::string without_mac(const std::string& token) { return token.substr(0, token.rfind('.') + 1); }
std::string mac_of(const std::string& token) { return token.substr(token.rfind('.') + 1); }

std::string outcome(const std::variant<jwt_identity, jwt_fault>& examined) {
  if (const auto* fault = std::get_if<jwt_fault>(&examined)) return std::string{to_text(*fault)};
  return "good";
}
std::string outcome(const std::string& token, const actors::tenant_snapshot& tenant = acme(),
                    utc_time now = noon) {
  return outcome(examine_jwt(token, tenant, now));
}

struct attack {
  std::string what;
  std::string token;
  jwt_fault stopped_by;
};

/// What must be refused although it is signed with a good secret, or pretends to be.
std::vector<attack> attacks() {
  using enum jwt_fault;
  const std::string kid = R"("kid":"key_1111111111111111")";
  const auto headers = [&](const std::string& rest) {
    return with_header("{" + rest + "," + kid + "}");
  };
  const auto unsigned_token = [&](const std::string& alg) {
    return base64url(R"({"alg":")" + alg + "\"," + kid + "}") + "." + base64url(good_claims()) + ".";
  };
  const auto h = base64url(good_header);
  const auto c = base64url(good_claims());
  std::string big(8 * 1024, 'x');
  std::string deep(40, '[');
  deep += std::string(40, ']');

  return {
      // The algorithm is ours to choose, not the token's.
      {"no algorithm, no signature", unsigned_token("none"), algorithm},
      {"none in other letters", unsigned_token("None"), algorithm},
      {"none in capitals", unsigned_token("NONE"), algorithm},
      {"none, but signed", headers(R"("alg":"none")"), algorithm},
      {"an empty algorithm", headers(R"("alg":"")"), algorithm},
      {"no alg at all", with_header("{" + kid + "}"), algorithm},
      {"alg is null", headers(R"("alg":null)"), algorithm},
      {"alg is a list", headers(R"("alg":["HS256"])"), algorithm},
      {"HS256 in small letters", headers(R"("alg":"hs256")"), algorithm},
      {"HS256 and a space", headers(R"("alg":"HS256 ")"), algorithm},
      {"HS256 and a zero byte", headers(R"("alg":"HS256\u0000")"), algorithm},
      {"HS384", headers(R"("alg":"HS384")"), algorithm},
      {"HS512", headers(R"("alg":"HS512")"), algorithm},
      {"RS256, signed with HMAC by what might be a public key", headers(R"("alg":"RS256")"),
       algorithm},
      {"ES256", headers(R"("alg":"ES256")"), algorithm},
      {"EdDSA", headers(R"("alg":"EdDSA")"), algorithm},
      {"alg under another name", headers(R"("Alg":"HS256")"), algorithm},

      // Two readers of one text must not see two tokens.
      {"alg twice, the good one last", headers(R"("alg":"none","alg":"HS256")"), not_json},
      {"alg twice, the good one first", headers(R"("alg":"HS256","alg":"none")"), not_json},
      {"alg twice in two spellings", headers(R"("alg":"HS256","\u0061lg":"none")"), not_json},
      {"kid twice", headers(R"("alg":"HS256","kid":"key_2222222222222222")"), not_json},
      {"sub twice", with_claims(good_claims(R"("sub":"bob")")), not_json},
      {"exp twice", with_claims(good_claims(R"("exp":9999999999)")), not_json},
      {"a key twice, deep inside", with_claims(good_claims(R"("x":[{"a":1,"a":2}])")), not_json},

      // Form.
      {"nothing", "", not_three_parts},
      {"one part", "abc", not_three_parts},
      {"two parts: the signature cut off", h + "." + c, not_three_parts},
      {"four parts", good() + ".x", not_three_parts},
      {"five parts: an encrypted one", good() + ".x.y", not_three_parts},
      {"an API key", "sk_0123456789abcdef", not_three_parts},
      {"a ticket", "wst_0123456789abcdef", not_three_parts},
      {"too long to be looked at", h + "." + c + "." + big, too_long},
      {"padding", signed_by(h + "." + c + "==", first_secret), not_base64url},
      {"padding behind the signature", good() + "=", not_base64url},
      {"a space", good() + " ", not_base64url},
      {"a space in front", " " + good(), not_base64url},
      {"a line feed", good() + "\n", not_base64url},
      {"base64 with plus and slash", signed_by(h + "." + c + "+/+/", first_secret), not_base64url},
      {"a zero byte", good() + std::string(1, '\0'), not_base64url},
      {"bits left over in the signature",
       [&] {
         auto token = good();  // 32 bytes: four bits, which are two zeros and two of nothing
         token.back() = token.back() == 'A' ? 'B' : static_cast<char>(token.back() + 1);
         return token;
       }(),
       not_base64url},
      {"empty header", signed_by("." + c, first_secret), not_json},
      {"empty claims", signed_by(h + ".", first_secret), not_json},
      {"the header is a list", with_header(R"(["HS256"])"), not_json},
      {"the claims are a list", with_claims(R"([])"), not_json},
      {"the claims are a text", with_claims(R"("ann")"), not_json},
      {"the claims are another token", with_claims(good()), not_json},
      {"something behind the header", with_header(good_header + "{}"), not_json},
      {"something behind the claims", with_claims(good_claims() + "x"), not_json},
      {"a comment", with_claims("/* */" + good_claims()), not_json},
      {"a comma too many", with_claims(R"({"sub":"ann","exp":1800003600,})"), not_json},
      {"single quotes", with_claims(R"({'sub':'ann','exp':1800003600})"), not_json},
      {"invalid UTF-8", with_claims("{\"sub\":\"ann\xff\",\"exp\":1800003600}"), not_json},
      {"an overlong slash", with_claims("{\"sub\":\"a\xc0\xaf\",\"exp\":1800003600}"), not_json},
      {"half a surrogate pair", with_claims(R"({"sub":"a\ud800","exp":1800003600})"), not_json},
      {"a byte order mark", with_claims("\xef\xbb\xbf" + good_claims()), not_json},
      {"deeper than anybody nests", with_claims(good_claims("\"x\":" + deep)), not_json},

      // What must be understood, and is not.
      {"an extension", headers(R"("alg":"HS256","crit":["exp"],"exp":1)"), critical},
      {"unencoded claims (RFC 7797)", headers(R"("alg":"HS256","crit":["b64"],"b64":false)"),
       critical},
      {"an empty list of extensions", headers(R"("alg":"HS256","crit":[])"), critical},
      {"extensions are null", headers(R"("alg":"HS256","crit":null)"), critical},

      // Whose it is.
      {"nobody's", sign_jwt(R"({"alg":"HS256"})", good_claims(), first_secret), no_tenant},
      {"kid is a number", with_header(R"({"alg":"HS256","kid":1})"), malformed_kid},
      {"kid is null", with_header(R"({"alg":"HS256","kid":null})"), malformed_kid},
      {"kid is empty", with_header(R"({"alg":"HS256","kid":""})"), malformed_kid},
      {"tid is a number", with_claims(good_claims(R"("tid":1)")), malformed_tid},
      {"tid is empty", with_claims(good_claims(R"("tid":"")")), malformed_tid},
      {"tid names another tenant than kid",
       with_claims(good_claims(R"("tid":"tenant_ffffffffffffffff")")), other_tenant},
      {"tid in capitals", with_claims(good_claims(R"("tid":"TENANT_0123456789ABCDEF")")),
       other_tenant},
      {"kid is another tenant", with_header(R"({"alg":"HS256","kid":"tenant_ffffffffffffffff"})"),
       unknown_key},
      {"kid is nobody's key", with_header(R"({"alg":"HS256","kid":"key_ffffffffffffffff"})"),
       unknown_key},
      {"kid is the id of an API key",
       with_header(R"({"alg":"HS256","kid":"key_3333333333333333"})"), unknown_key},
      {"kid is a path", with_header(R"({"alg":"HS256","kid":"../../../../dev/null"})"), unknown_key},
      {"kid is SQL", with_header(R"({"alg":"HS256","kid":"x' UNION SELECT 'secret"})"), unknown_key},
      {"kid is an address", with_header(R"({"alg":"HS256","kid":"http://127.0.0.1/key"})"),
       unknown_key},

      // Who signed it.
      {"a key of its own",
       sign_jwt(R"({"alg":"HS256","kid":"key_1111111111111111","jwk":{"kty":"oct","k":"eA"}})",
                good_claims(), "x"),
       signature},
      {"an address of its key",
       sign_jwt(R"({"alg":"HS256","kid":"key_1111111111111111","jku":"http://127.0.0.1"})",
                good_claims(), "x"),
       signature},
      {"another secret", sign_jwt(good_header, good_claims(), "jwts_other"), signature},
      {"an empty secret", sign_jwt(good_header, good_claims(), ""), signature},
      {"the name of the key for its secret", sign_jwt(good_header, good_claims(), first_key),
       signature},
      {"the tenant's id for its secret",
       sign_jwt(R"({"alg":"HS256","kid":"tenant_0123456789abcdef"})", good_claims(), acme_id),
       signature},
      {"the secret without its prefix",
       sign_jwt(good_header, good_claims(), first_secret.substr(5)), signature},
      {"the API key for the secret", sign_jwt(good_header, good_claims(), "sk_key"), signature},
      {"the other secret than kid says", sign_jwt(good_header, good_claims(), second_secret),
       signature},
      {"no signature", without_mac(good()), signature},
      {"half a signature", without_mac(good()) + mac_of(good()).substr(0, 20), signature},
      {"a signature and more", good() + "AAAA", signature},
      {"a signature of zeros", without_mac(good()) + std::string(43, 'A'), signature},
      {"the signature of other claims",
       without_mac(good()) + mac_of(with_claims(good_claims("\"x\":1"))), signature},
      {"other claims under a good signature",
       h + "." + base64url(R"({"sub":"bob","exp":1800003600})") + "." + mac_of(good()), signature},
      {"another header under a good signature",
       base64url(R"({"alg":"HS256","kid":"tenant_0123456789abcdef"})") + "." + c + "." +
           mac_of(good()),
       signature},

      // Who it is.
      {"no sub", with_claims(R"({"exp":1800003600})"), malformed_subject},
      {"sub is a number", with_claims(R"({"sub":1,"exp":1800003600})"), malformed_subject},
      {"sub is null", with_claims(R"({"sub":null,"exp":1800003600})"), malformed_subject},
      {"sub is a list", with_claims(R"({"sub":["ann"],"exp":1800003600})"), malformed_subject},
      {"sub is empty", with_claims(R"({"sub":"","exp":1800003600})"), malformed_subject},
      {"sub with a space at its end", with_claims(R"({"sub":"ann ","exp":1800003600})"),
       malformed_subject},
      {"sub with a zero byte", with_claims(R"({"sub":"ann\u0000","exp":1800003600})"),
       malformed_subject},
      {"sub with a line feed", with_claims(R"({"sub":"a\nnn","exp":1800003600})"), malformed_subject},
      {"sub longer than any user id",
       with_claims(R"({"sub":")" + std::string(129, 'a') + R"(","exp":1800003600})"),
       malformed_subject},

      // When.
      {"no exp", with_claims(R"({"sub":"ann"})"), malformed_expiry},
      {"exp is null", with_claims(R"({"sub":"ann","exp":null})"), malformed_expiry},
      {"exp is a text", with_claims(R"({"sub":"ann","exp":"1800003600"})"), malformed_expiry},
      {"exp is a date", with_claims(R"({"sub":"ann","exp":"2033-01-01T00:00:00Z"})"),
       malformed_expiry},
      {"exp is true", with_claims(R"({"sub":"ann","exp":true})"), malformed_expiry},
      {"exp is negative", with_claims(R"({"sub":"ann","exp":-1})"), malformed_expiry},
      {"exp in milliseconds, which would be the year 59012",
       with_claims(R"({"sub":"ann","exp":1800003600000})"), malformed_expiry},
      {"exp beyond 64 bits", with_claims(R"({"sub":"ann","exp":99999999999999999999999})"),
       malformed_expiry},
      {"exp beyond a double", with_claims(R"({"sub":"ann","exp":1e999})"), not_json},
      {"exp is no JSON number", with_claims(R"({"sub":"ann","exp":NaN})"), not_json},
      {"exp in hex", with_claims(R"({"sub":"ann","exp":0x7fffffff})"), not_json},
      {"exp at the beginning of time", with_claims(R"({"sub":"ann","exp":0})"), expired},
      {"exp less than nothing", with_claims(R"({"sub":"ann","exp":-0})"), expired},
      {"thirty seconds past exp", with_claims(R"({"sub":"ann","exp":1799999970})"), expired},
      {"nbf is a text", with_claims(good_claims(R"("nbf":"0")")), malformed_not_before},
      {"nbf is null", with_claims(good_claims(R"("nbf":null)")), malformed_not_before},
      {"nbf is negative", with_claims(good_claims(R"("nbf":-1)")), malformed_not_before},
      {"nbf 31 s ahead", with_claims(good_claims(R"("nbf":1800000031)")), not_yet_valid},
      {"iat is a text", with_claims(good_claims(R"("iat":"0")")), malformed_issued_at},
      {"iat 31 s ahead", with_claims(good_claims(R"("iat":1800000031)")), issued_in_future},

      // For whom. (Whether it is demanded: below.)
      {"aud is a number", with_claims(good_claims(R"("aud":1)")), malformed_audience},
      {"aud is an object", with_claims(good_claims(R"("aud":{"parley":1})")), malformed_audience},
      {"aud is a list with something else in it", with_claims(good_claims(R"("aud":["parley",1])")),
       malformed_audience},
  };
}

/// Judged before any secret is known.
bool needs_no_secret(jwt_fault f) { return f < jwt_fault::other_tenant; }

}  // namespace

TEST_SUITE("SPEC 3 JWT") {
  TEST_CASE("a good token says who, until when and by which key") {
    const auto examined = verify_jwt(with_claims(good_claims(R"("iat":1799999999.5)")), acme(), noon);
    REQUIRE(examined);
    CHECK(examined->user == user_id{"ann"});
    CHECK(to_unix_ms(examined->expires_at) == 1'800'003'600'000);
    REQUIRE(examined->issued_at);
    CHECK(to_unix_ms(*examined->issued_at) == 1'799'999'999'500);
    CHECK(examined->key == key_id{first_key});
    CHECK_FALSE(verify_jwt(good(), acme(), noon)->issued_at);
  }

  TEST_CASE("each attack is stopped, by the rule that is meant to stop it, and all look alike") {
    const auto all = attacks();
    CHECK(all.size() >= 60);
    std::set<std::string> names;
    for (const auto& a : all) {
      CAPTURE(a.what);
      CHECK(names.insert(a.what).second);
      CHECK(outcome(a.token) == to_text(a.stopped_by));
      const auto verified = verify_jwt(a.token, acme(), noon);
      REQUIRE_FALSE(verified);
      CHECK(verified.error().code == error_code::authentication);
      CHECK(verified.error().message == authentication_failed().message);
      CHECK(verified.error().field.empty());
      // Those that no secret can make good ask for no tenant.
      CHECK(names_of(a.token).has_error() == needs_no_secret(a.stopped_by));
    }
  }

  TEST_CASE("every rule has an attack that it stops") {
    std::set<jwt_fault> seen{jwt_fault::tenant_disabled, jwt_fault::audience};  // below
    for (const auto& a : attacks()) seen.insert(a.stopped_by);
    for (int f = 0; f <= static_cast<int>(jwt_fault::audience); ++f) {
      CAPTURE(to_text(static_cast<jwt_fault>(f)));
      CHECK(seen.contains(static_cast<jwt_fault>(f)));
    }
  }

  TEST_CASE("what is unusual and allowed is let in") {
    struct row {
      std::string what;
      std::string token;
    };
    for (const auto& r : {
             row{"kid is the tenant's id: all its keys are tried, the first",
                 with_header(R"({"alg":"HS256","kid":"tenant_0123456789abcdef"})")},
             row{"the second", sign_jwt(R"({"alg":"HS256","kid":"tenant_0123456789abcdef"})",
                                        good_claims(), second_secret)},
             row{"kid is the second key", sign_jwt(R"({"alg":"HS256","kid":"key_2222222222222222"})",
                                                   good_claims(), second_secret)},
             row{"tid alone",
                 sign_jwt(R"({"alg":"HS256"})", good_claims(R"("tid":"tenant_0123456789abcdef")"),
                          second_secret)},
             row{"kid and tid", with_claims(good_claims(R"("tid":"tenant_0123456789abcdef")"))},
             row{"another typ",
                 with_header(R"({"typ":"at+jwt","alg":"HS256","kid":"key_1111111111111111"})")},
             row{"typ is a number",
                 with_header(R"({"typ":1,"alg":"HS256","kid":"key_1111111111111111"})")},
             row{"headers that we do not know",
                 with_header(
                     R"({"x5u":"http://x","zip":"DEF","alg":"HS256","kid":"key_1111111111111111"})")},
             row{"white space",
                 sign_jwt(" {\r\n\t\"alg\" : \"HS256\", \"kid\":\"key_1111111111111111\"} ",
                          " { \"sub\" : \"ann\" , \"exp\" : 1800003600 } ", first_secret)},
             row{"keys with escapes",
                 sign_jwt(R"({"\u0061lg":"HS256","kid":"key_1111111111111111"})",
                          R"({"\u0073ub":"ann","exp":1800003600})", first_secret)},
             row{"claims that we do not know",
                 with_claims(
                     good_claims(R"("iss":"me","jti":"1","x":{"y":[null,1e3,{"sub":"bob"}]})"))},
             row{"an audience that nobody demands", with_claims(good_claims(R"("aud":["x","y"])"))},
             row{"no audience in a list", with_claims(good_claims(R"("aud":[])"))},
             row{"exp with a fraction", with_claims(R"({"sub":"ann","exp":1800003600.75})")},
             row{"exp with an exponent", with_claims(R"({"sub":"ann","exp":1.8000036e9})")},
             row{"the last second there is", with_claims(R"({"sub":"ann","exp":253402300799})")},
             row{"29.999 s past exp", with_claims(R"({"sub":"ann","exp":1799999970.001})")},
             row{"nbf 30 s ahead", with_claims(good_claims(R"("nbf":1800000030)"))},
             row{"nbf long ago", with_claims(good_claims(R"("nbf":0)"))},
             row{"iat 30 s ahead", with_claims(good_claims(R"("iat":1800000030)"))},
             row{"iat after exp", with_claims(R"({"sub":"ann","exp":1799999980,"iat":1799999990})")},
         }) {
      CAPTURE(r.what);
      CHECK(outcome(r.token) == "good");
      CHECK(names_of(r.token));
    }
  }

  TEST_CASE("users' ids are any that SPEC 1 allows") {
    for (const std::string& sub :
         {std::string{"a"}, std::string(128, 'a'), std::string{"J\xc3\xbcrgen M\xc3\xbcller"},
          std::string{"a/b%2F..\\\\\\\"c"}, std::string{"\\ud83d\\ude00"}}) {
      CAPTURE(sub);
      CHECK(outcome(with_claims(R"({"sub":")" + sub + R"(","exp":1800003600})")) == "good");
    }
    CHECK(verify_jwt(with_claims(R"({"sub":"\ud83d\ude00","exp":1800003600})"), acme(), noon)->user ==
          user_id{"\xf0\x9f\x98\x80"});
  }

  TEST_CASE("the tenant is named by tid, by its own id or by a key's") {
    CHECK(*names_of(good()) == actors::tenant_name{key_id{first_key}});
    CHECK(*names_of(with_header(R"({"alg":"HS256","kid":"tenant_0123456789abcdef"})")) ==
          actors::tenant_name{tenant_id{acme_id}});
    CHECK(*names_of(with_claims(good_claims(R"("tid":"tenant_ffffffffffffffff")"))) ==
          actors::tenant_name{tenant_id{"tenant_ffffffffffffffff"}});
    // Nothing is proven yet: a forged one names its tenant too.
    CHECK(*names_of(without_mac(good())) == actors::tenant_name{key_id{first_key}});
  }

  TEST_CASE("another tenant's good token is none here") {
    auto other = acme();
    other.id = tenant_id{"tenant_ffffffffffffffff"};
    other.jwt_keys = {{key_id{"key_ffffffffffffffff"}, "jwts_other"}};
    CHECK(outcome(good(), other) == to_text(jwt_fault::unknown_key));
    CHECK(outcome(with_claims(good_claims(R"("tid":"tenant_0123456789abcdef")")), other) ==
          to_text(jwt_fault::other_tenant));
    // It has the other's secret, but says that it is acme's: only one of them can be meant.
    const auto stolen = sign_jwt(R"({"alg":"HS256","kid":"key_ffffffffffffffff"})",
                                 good_claims(R"("tid":"tenant_0123456789abcdef")"), "jwts_other");
    CHECK(outcome(stolen, other) == to_text(jwt_fault::other_tenant));
    CHECK(outcome(stolen, acme()) == to_text(jwt_fault::unknown_key));
  }

  TEST_CASE("a deleted secret is none: by name or by trying") {
    auto t = acme();
    t.jwt_keys.erase(t.jwt_keys.begin());
    CHECK(outcome(good(), t) == to_text(jwt_fault::unknown_key));
    CHECK(outcome(with_header(R"({"alg":"HS256","kid":"tenant_0123456789abcdef"})"), t) ==
          to_text(jwt_fault::signature));
    t.jwt_keys.clear();
    CHECK(outcome(with_header(R"({"alg":"HS256","kid":"tenant_0123456789abcdef"})"), t) ==
          to_text(jwt_fault::unknown_key));
  }

  TEST_CASE("a secret that is empty signs nothing") {
    auto t = acme();
    t.jwt_keys = {{key_id{first_key}, ""}};
    CHECK(outcome(sign_jwt(good_header, good_claims(), ""), t) == to_text(jwt_fault::signature));
  }

  TEST_CASE("of a disabled tenant no token is good") {
    auto t = acme();
    t.disabled = true;
    CHECK(outcome(good(), t) == to_text(jwt_fault::tenant_disabled));
    CHECK_FALSE(verify_jwt(good(), t, noon));
  }

  TEST_CASE("an audience that the tenant sets is demanded") {
    struct row {
      std::string aud;
      bool good;
    };
    for (const auto& r : {
             row{R"("aud":"parley")", true},
             row{R"("aud":["x","parley"])", true},
             row{R"("aud":["parl\u0065y"])", true},
             row{R"("x":1)", false},
             row{R"("aud":"x")", false},
             row{R"("aud":"Parley")", false},
             row{R"("aud":"parley ")", false},
             row{R"("aud":"parley,x")", false},
             row{R"("aud":"")", false},
             row{R"("aud":[])", false},
             row{R"("aud":["x","parleyx"])", false},
             row{R"("aud":[""])", false},
         }) {
      CAPTURE(r.aud);
      CHECK(outcome(with_claims(good_claims(r.aud)), acme_with_audience()) ==
            (r.good ? "good" : to_text(jwt_fault::audience)));
    }
  }

  TEST_CASE("it lives until exp and 30 s more, to the millisecond") {
    const auto exp = from_unix_ms(1'800'003'600'000);
    CHECK(outcome(good(), acme(), exp + 29'999ms) == "good");
    CHECK(outcome(good(), acme(), exp + 30s) == to_text(jwt_fault::expired));
    CHECK(outcome(good(), acme(), from_unix_ms(0)) == "good");  // no nbf: always been
    const auto from = with_claims(good_claims(R"("nbf":1800000100)"));
    CHECK(outcome(from, acme(), noon + 69'999ms) == to_text(jwt_fault::not_yet_valid));
    CHECK(outcome(from, acme(), noon + 70s) == "good");
  }

  TEST_CASE("no bit of a token may change") {
    const auto token = good();
    for (std::size_t i = 0; i < token.size(); ++i) {
      for (const int bit : {1, 2, 4, 8, 16, 32}) {
        auto changed = token;
        changed[i] = static_cast<char>(changed[i] ^ bit);
        if (verify_jwt(changed, acme(), noon)) FAIL_CHECK("byte " << i << " bit " << bit);
      }
    }
    for (std::size_t n = 0; n < token.size(); ++n) {
      if (verify_jwt(std::string_view{token}.substr(0, n), acme(), noon))
        FAIL_CHECK("cut at " << n);
    }
  }

  TEST_CASE("what others sign is good here: RFC 7515 A.1, and Python's hmac") {
    // The RFC's key is bytes, and its claims have no sub: so the signature alone.
    const std::string input =
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
        "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const auto key = decode_base64url(
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow");
    REQUIRE(key);
    CHECK(mac_of(signed_by(input, *key)) == "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");

    const std::string token =
        "eyJhbGciOiJIUzI1NiIsImtpZCI6ImtleV8xMTExMTExMTExMTExMTExIn0."
        "eyJzdWIiOiJhbm4tw7wiLCJleHAiOjE4MDAwMDAwMDAsI"
        "nRpZCI6InRlbmFudF8wMTIzNDU2Nzg5YWJjZGVmIn0.vRPwPKozD78LYmCHlGw8tYs5mju7KevvlZkLSy5Z4qY";
    const auto verified = verify_jwt(token, acme(), noon);
    REQUIRE(verified);
    CHECK(verified->user == user_id{"ann-\xc3\xbc"});
  }

  TEST_CASE("what is minted is good, and says what it was told") {
    jwt_claims claims;
    claims.tid = tenant_id{acme_id};
    claims.user = user_id{"a \"quoted\" \xc3\xbc"};
    claims.issued_at = noon;
    claims.expires_at = noon + 1h;
    claims.audience = "parley";
    const auto token = make_jwt(claims, second_secret);
    const auto verified = verify_jwt(token, acme_with_audience(), noon);
    REQUIRE(verified);
    CHECK(verified->user == claims.user);
    CHECK(verified->expires_at == noon + 1h);
    CHECK(verified->issued_at == noon);
    CHECK(verified->key == key_id{second_key});

    claims.tid.reset();
    claims.kid = std::string{first_key};
    CHECK(outcome(make_jwt(claims, second_secret), acme_with_audience()) ==
          to_text(jwt_fault::signature));
    CHECK(outcome(make_jwt(claims, first_secret), acme_with_audience()) == "good");
  }

  TEST_CASE("the longest token is read, one byte more is not") {
    const auto padded = [](std::size_t n) {
      return with_claims(good_claims(R"("x":")" + std::string(n, 'x') + "\""));
    };
    std::size_t n = 5000;
    while (padded(n + 1).size() <= jwt_max_bytes) ++n;
    CHECK(outcome(padded(n)) == "good");
    CHECK(outcome(padded(n + 1)) == to_text(jwt_fault::too_long));
  }
}
