#include "protocol/hmac.hpp"

#include "protocol/assert.hpp"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <memory>

namespace parley {
namespace {

struct free_mac_ctx {
  void operator()(EVP_MAC_CTX* c) const { EVP_MAC_CTX_free(c); }
};
using mac_ctx = std::unique_ptr<EVP_MAC_CTX, free_mac_ctx>;

// Looked up by name once, not at each use.
EVP_MAC* hmac_algorithm() {
  static EVP_MAC* const algorithm = [] {
    EVP_MAC* mac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);  // kept for the life of the process
    PARLEY_ASSERT(mac != nullptr);
    return mac;
  }();
  return algorithm;
}

}  // namespace

sha256_digest hmac_sha256(std::string_view key, std::string_view bytes) {
  thread_local const mac_ctx ctx{EVP_MAC_CTX_new(hmac_algorithm())};
  char digest_name[] = "SHA256";
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest_name, 0),
      OSSL_PARAM_construct_end()};
  // A null key would mean «the one before».
  static const unsigned char empty_key = 0;
  const auto* key_bytes =
      key.empty() ? &empty_key : reinterpret_cast<const unsigned char*>(key.data());
  sha256_digest mac{};
  std::size_t size = 0;
  const bool done = ctx != nullptr && EVP_MAC_init(ctx.get(), key_bytes, key.size(), params) == 1 &&
                    EVP_MAC_update(ctx.get(), reinterpret_cast<const unsigned char*>(bytes.data()),
                                   bytes.size()) == 1 &&
                    EVP_MAC_final(ctx.get(), mac.data(), &size, mac.size()) == 1;
  PARLEY_ASSERT(done && size == mac.size());
  return mac;
}

}  // namespace parley
