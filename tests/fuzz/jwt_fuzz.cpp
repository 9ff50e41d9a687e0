/// Any bytes as a token, and as the header and claims of a well-signed one: never a crash, never a read too far, and
/// nobody gets in who should not.

#include "net/jwt.hpp"
#include "protocol/assert.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <variant>

using namespace parley;

namespace {

constexpr std::string_view secret = "jwts_secret";
const auto now = from_unix_ms(1'800'000'000'000);

actors::tenant_snapshot a_tenant() {
  actors::tenant_snapshot t;
  t.id = tenant_id{"tenant_0123456789abcdef"};
  t.jwt_keys = {{key_id{"key_1111111111111111"}, std::string{secret}}};
  return t;
}

void check(std::string_view token, bool signed_by_us) {
  static const auto tenant = a_tenant();
  const auto named = net::names_of(token);
  const auto examined = net::examine_jwt(token, tenant, now);
  const auto* good = std::get_if<net::jwt_identity>(&examined);
  PARLEY_ASSERT(net::verify_jwt(token, tenant, now).has_value() == (good != nullptr));
  if (good == nullptr) return;
  PARLEY_ASSERT(signed_by_us);
  PARLEY_ASSERT(named.has_value());
  PARLEY_ASSERT(is_valid_user_id(good->user.view()));
  PARLEY_ASSERT(now < good->expires_at + net::jwt_leeway);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  check(text, false);
  const auto line = text.find('\n');
  if (line == std::string_view::npos) return 0;
  check(net::sign_jwt(text.substr(0, line), text.substr(line + 1), secret), true);
  return 0;
}
