#include "tests/support/jwt.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <cstdint>

namespace parley::tests {

std::string base64url(std::string_view bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(length));
  while (out.ends_with('=')) out.pop_back();
  for (char& c : out) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return out;
}

std::string sign_hs256(const nlohmann::json& header, const nlohmann::json& claims,
                       std::string_view secret) {
  const std::string signed_part = base64url(header.dump()) + "." + base64url(claims.dump());
  std::array<unsigned char, EVP_MAX_MD_SIZE> mac{};
  unsigned int length = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(signed_part.data()), signed_part.size(), mac.data(),
       &length);
  return signed_part + "." +
         base64url(std::string_view{reinterpret_cast<const char*>(mac.data()), length});
}

std::string user_token(std::string_view tenant_id, std::string_view secret, std::string_view user,
                       std::chrono::seconds ttl, const nlohmann::json& more) {
  const auto now = std::chrono::duration_cast<std::chrono::seconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  nlohmann::json claims{{"tid", tenant_id}, {"sub", user}, {"iat", now}, {"exp", now + ttl.count()}};
  claims.update(more);
  return sign_hs256({{"alg", "HS256"}, {"typ", "JWT"}}, claims, secret);
}

}  // namespace parley::tests
