#include "net/jwt.hpp"

#include "net/auth.hpp"
#include "protocol/base64url.hpp"
#include "protocol/hmac.hpp"
#include "protocol/json_scan.hpp"
#include "protocol/utf8.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

namespace parley::net {
namespace {

constexpr std::size_t json_max_depth = 32;
constexpr double last_second = 253'402'300'799.0;   // of the year 9999: RFC 3339 ends there
constexpr std::string_view key_id_prefix = "key_";  // all that the node makes

/// What a token says, nothing of it proven. Views into the token.
struct claims {
  std::string_view signed_part;
  std::string mac;
  std::optional<std::string> kid;
  std::optional<std::string> tid;
  user_id subject;
  utc_time expires_at{};
  std::optional<utc_time> not_before;
  std::optional<utc_time> issued_at;
  std::optional<std::vector<std::string>> audience;
};

template <class T>
const jwt_fault* fault_of(const std::variant<T, jwt_fault>& v) {
  return std::get_if<jwt_fault>(&v);
}

/// Calls `take(name, value)` for each member of the object that `text` is; its answer is the first fault or nothing.
template <class F>
std::optional<jwt_fault> read_object(const std::string& text, F&& take) {
  if (!is_valid_utf8(text)) return jwt_fault::not_json;
  thread_local json_scanner scanner{json_max_depth};
  scanner.open(text);
  std::optional<jwt_fault> first;
  if (scanner.enter_object()) {
    json_slice value;
    while (const auto name = scanner.next_key()) {
      scanner.value(value);
      if (!value.sound || value.is(json_kind::none)) break;
      if (const auto fault = take(*name, value); fault && !first) first = fault;
    }
  }
  if (!scanner.finish()) return jwt_fault::not_json;  // whatever else it says
  return first;
}

/// RFC 7519 §2 NumericDate: seconds since 1970, a fraction allowed; to the millisecond, the earlier one.
std::optional<utc_time> as_moment(const json_slice& value) {
  if (!value.is(json_kind::number)) return std::nullopt;
  double seconds = 0;
  const auto* const end = value.text.data() + value.text.size();
  const auto read = std::from_chars(value.text.data(), end, seconds);
  if (read.ec != std::errc{} || read.ptr != end) return std::nullopt;
  if (!(seconds >= 0 && seconds <= last_second)) return std::nullopt;
  return from_unix_ms(static_cast<std::int64_t>(seconds * 1000.0));
}

std::optional<std::string> as_text(const json_slice& value) {
  if (!value.is(json_kind::string)) return std::nullopt;
  return decoded(value);
}

std::optional<std::vector<std::string>> as_texts(const json_slice& value) {
  if (auto one = as_text(value)) return std::vector{std::move(*one)};
  if (!value.is(json_kind::array)) return std::nullopt;
  json_scanner scanner{json_max_depth};
  scanner.open(value.text);
  std::vector<std::string> out;
  if (!scanner.enter_array()) return std::nullopt;
  while (scanner.next_element()) {
    auto item = as_text(scanner.value());
    if (!item) return std::nullopt;
    out.push_back(std::move(*item));
  }
  return out;
}

std::optional<jwt_fault> read_header(const std::string& text, claims& out) {
  bool hs256 = false;
  bool critical = false;
  const auto fault = read_object(
      text, [&](std::string_view name, const json_slice& value) -> std::optional<jwt_fault> {
        if (name == "alg") {
          hs256 = as_text(value) == "HS256";
        } else if (name == "crit") {
          critical = true;  // we know no extension, and an empty list is forbidden (RFC 7515 §4.1.11)
        } else if (name == "kid") {
          out.kid = as_text(value);
          if (!out.kid || out.kid->empty()) return jwt_fault::malformed_kid;
        }
        return std::nullopt;
      });
  if (fault == jwt_fault::not_json) return fault;
  if (!hs256) return jwt_fault::algorithm;
  if (critical) return jwt_fault::critical;
  return fault;
}

std::optional<jwt_fault> read_claims(const std::string& text, claims& out) {
  std::optional<std::string> subject;
  std::optional<utc_time> expires_at;
  const auto fault = read_object(
      text, [&](std::string_view name, const json_slice& value) -> std::optional<jwt_fault> {
        const auto none = std::optional<jwt_fault>{};
        if (name == "tid") {
          out.tid = as_text(value);
          return out.tid && !out.tid->empty() ? none : jwt_fault::malformed_tid;
        }
        if (name == "sub") {
          subject = as_text(value);
        } else if (name == "exp") {
          expires_at = as_moment(value);
        } else if (name == "nbf") {
          out.not_before = as_moment(value);
          return out.not_before ? none : jwt_fault::malformed_not_before;
        } else if (name == "iat") {
          out.issued_at = as_moment(value);
          return out.issued_at ? none : jwt_fault::malformed_issued_at;
        } else if (name == "aud") {
          out.audience = as_texts(value);
          return out.audience ? none : jwt_fault::malformed_audience;
        }
        return none;
      });
  if (fault) return fault;
  if (!out.kid && !out.tid) return jwt_fault::no_tenant;
  if (!subject || !is_valid_user_id(*subject)) return jwt_fault::malformed_subject;
  if (!expires_at) return jwt_fault::malformed_expiry;
  out.subject = user_id{std::move(*subject)};
  out.expires_at = *expires_at;
  return std::nullopt;
}

std::variant<claims, jwt_fault> parse(std::string_view token) {
  if (token.size() > jwt_max_bytes) return jwt_fault::too_long;
  const auto first = token.find('.');
  const auto second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos)
    return jwt_fault::not_three_parts;
  const auto header = decode_base64url(token.substr(0, first));
  const auto payload = decode_base64url(token.substr(first + 1, second - first - 1));
  auto mac = decode_base64url(token.substr(second + 1));
  if (!header || !payload || !mac) return jwt_fault::not_base64url;
  claims out;
  out.signed_part = token.substr(0, second);
  out.mac = std::move(*mac);
  if (const auto fault = read_header(*header, out)) return *fault;
  if (const auto fault = read_claims(*payload, out)) return *fault;
  return out;
}

bool signed_with(const claims& c, const actors::tenant_snapshot::jwt_key& key) {
  if (key.secret.empty()) return false;  // anybody can sign with it
  const auto mac = hmac_sha256(key.secret, c.signed_part);
  return equal_secret(c.mac, {reinterpret_cast<const char*>(mac.data()), mac.size()});
}

/// The keys that may have signed: the one that `kid` names, else all.
std::span<const actors::tenant_snapshot::jwt_key> candidates(const claims& c,
                                                             const actors::tenant_snapshot& tenant) {
  if (!c.kid || *c.kid == tenant.id.value) return tenant.jwt_keys;
  const auto named =
      std::ranges::find_if(tenant.jwt_keys, [&](const auto& key) { return key.id.value == *c.kid; });
  if (named == tenant.jwt_keys.end()) return {};
  return {&*named, 1};
}

template <class T>
result<T> without_reason(std::variant<T, jwt_fault> examined) {
  if (fault_of(examined) != nullptr) return authentication_failed();
  return std::get<T>(std::move(examined));
}

std::int64_t unix_seconds(utc_time t) {
  return std::chrono::floor<std::chrono::seconds>(t.time_since_epoch()).count();
}

}  // namespace

std::string_view to_text(jwt_fault fault) {
  switch (fault) {
    case jwt_fault::too_long:
      return "it is longer than 8 KiB";
    case jwt_fault::not_three_parts:
      return "it is not three parts with two dots between them";
    case jwt_fault::not_base64url:
      return "a part is not base64url without padding";
    case jwt_fault::not_json:
      return "header or claims are no JSON object (UTF-8, no key twice, nothing behind it)";
    case jwt_fault::algorithm:
      return "its header `alg` is not HS256";
    case jwt_fault::critical:
      return "its header `crit` demands an extension";
    case jwt_fault::malformed_kid:
      return "its header `kid` is no text";
    case jwt_fault::malformed_tid:
      return "its claim `tid` is no text";
    case jwt_fault::no_tenant:
      return "neither header `kid` nor claim `tid` names a tenant";
    case jwt_fault::malformed_subject:
      return "its claim `sub` is missing, or no user id (1 to 128 bytes, no control characters, no "
             "space at either end)";
    case jwt_fault::malformed_expiry:
      return "its claim `exp` is missing, or no number of seconds since 1970";
    case jwt_fault::malformed_not_before:
      return "its claim `nbf` is no number of seconds since 1970";
    case jwt_fault::malformed_issued_at:
      return "its claim `iat` is no number of seconds since 1970";
    case jwt_fault::malformed_audience:
      return "its claim `aud` is neither a text nor a list of texts";
    case jwt_fault::other_tenant:
      return "its claim `tid` names another tenant";
    case jwt_fault::tenant_disabled:
      return "the tenant is disabled";
    case jwt_fault::unknown_key:
      return "its header `kid` is neither the tenant's id nor one of its jwt_secret key ids";
    case jwt_fault::signature:
      return "its signature does not fit: another secret, or it was changed";
    case jwt_fault::expired:
      return "it has expired (`exp`, with 30 s of leeway)";
    case jwt_fault::not_yet_valid:
      return "it is not valid yet (`nbf`, with 30 s of leeway)";
    case jwt_fault::issued_in_future:
      return "it was issued in the future (`iat`, with 30 s of leeway)";
    case jwt_fault::audience:
      return "its claim `aud` does not hold the tenant's jwt_audience";
  }
  return "it is not valid";
}

std::variant<actors::tenant_name, jwt_fault> examine_jwt_names(std::string_view token) {
  auto parsed = parse(token);
  if (const auto* fault = fault_of(parsed)) return *fault;
  auto& c = std::get<claims>(parsed);
  if (c.tid) return actors::tenant_name{tenant_id{std::move(*c.tid)}};
  if (c.kid->starts_with(key_id_prefix)) return actors::tenant_name{key_id{std::move(*c.kid)}};
  return actors::tenant_name{tenant_id{std::move(*c.kid)}};
}

result<actors::tenant_name> names_of(std::string_view token) {
  return without_reason(examine_jwt_names(token));
}

std::variant<jwt_identity, jwt_fault> examine_jwt(std::string_view token,
                                                  const actors::tenant_snapshot& tenant,
                                                  utc_time now) {
  auto parsed = parse(token);
  if (const auto* fault = fault_of(parsed)) return *fault;
  auto& c = std::get<claims>(parsed);
  if (c.tid && *c.tid != tenant.id.value) return jwt_fault::other_tenant;
  if (tenant.disabled) return jwt_fault::tenant_disabled;
  const auto keys = candidates(c, tenant);
  if (keys.empty()) return jwt_fault::unknown_key;
  const auto signer =
      std::ranges::find_if(keys, [&](const auto& key) { return signed_with(c, key); });
  if (signer == keys.end()) return jwt_fault::signature;
  if (now >= c.expires_at + jwt_leeway) return jwt_fault::expired;
  if (c.not_before && now < *c.not_before - jwt_leeway) return jwt_fault::not_yet_valid;
  if (c.issued_at && now < *c.issued_at - jwt_leeway) return jwt_fault::issued_in_future;
  if (const auto& wanted = tenant.config.jwt_audience) {
    if (!c.audience || std::ranges::find(*c.audience, *wanted) == c.audience->end())
      return jwt_fault::audience;
  }
  return jwt_identity{std::move(c.subject), c.expires_at, c.issued_at, signer->id};
}

result<jwt_identity> verify_jwt(std::string_view token, const actors::tenant_snapshot& tenant,
                                utc_time now) {
  return without_reason(examine_jwt(token, tenant, now));
}

std::string make_jwt(const jwt_claims& c, std::string_view secret) {
  nlohmann::ordered_json header{{"alg", "HS256"}, {"typ", "JWT"}};
  if (c.kid) header["kid"] = *c.kid;
  nlohmann::ordered_json payload;
  if (c.tid) payload["tid"] = c.tid->value;
  payload["sub"] = c.user.value;
  payload["iat"] = unix_seconds(c.issued_at);
  payload["exp"] = unix_seconds(c.expires_at);
  if (c.audience) payload["aud"] = *c.audience;
  return sign_jwt(header.dump(), payload.dump(), secret);
}

std::string sign_jwt(std::string_view header, std::string_view claims, std::string_view secret) {
  auto token = base64url(header) + "." + base64url(claims);
  const auto mac = hmac_sha256(secret, token);
  token += '.';
  append_base64url(token, {reinterpret_cast<const char*>(mac.data()), mac.size()});
  return token;
}

}  // namespace parley::net
