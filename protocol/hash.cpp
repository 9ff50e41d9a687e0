#include "protocol/hash.hpp"

#include "protocol/assert.hpp"
#include "protocol/base64url.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <limits>
#include <memory>

namespace parley {
namespace {

struct free_md_ctx {
  void operator()(EVP_MD_CTX* c) const { EVP_MD_CTX_free(c); }
};
struct free_cipher_ctx {
  void operator()(EVP_CIPHER_CTX* c) const { EVP_CIPHER_CTX_free(c); }
};
using md_ctx = std::unique_ptr<EVP_MD_CTX, free_md_ctx>;
using cipher_ctx = std::unique_ptr<EVP_CIPHER_CTX, free_cipher_ctx>;

constexpr std::size_t gcm_nonce_bytes = 12;
constexpr std::size_t gcm_tag_bytes = 16;

const unsigned char* bytes_of(std::string_view s) {
  return reinterpret_cast<const unsigned char*>(s.data());
}
unsigned char* bytes_of(std::string& s) { return reinterpret_cast<unsigned char*>(s.data()); }

/// OpenSSL counts in int. Sealed are secrets of some hundred bytes; more is our own bug.
int length_of(std::string_view s) {
  PARLEY_ASSERT(s.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()));
  return static_cast<int>(s.size());
}

// OpenSSL 3 looks an algorithm up by name at each use (about 1 µs) unless it was fetched before.
const EVP_MD* sha256_algorithm() {
  static const EVP_MD* const algorithm = [] {
    const EVP_MD* md = EVP_MD_fetch(nullptr, "SHA256", nullptr);  // kept for the life of the process
    PARLEY_ASSERT(md != nullptr);
    return md;
  }();
  return algorithm;
}

std::string random_bytes(std::size_t n, random_source& random) {
  std::string bytes(n, '\0');
  random.fill({bytes_of(bytes), bytes.size()});
  return bytes;
}

}  // namespace

sha256_digest sha256(std::string_view bytes) {
  thread_local const md_ctx ctx{EVP_MD_CTX_new()};
  sha256_digest digest{};
  unsigned int size = 0;
  const bool done = ctx != nullptr &&
                    EVP_DigestInit_ex2(ctx.get(), sha256_algorithm(), nullptr) == 1 &&
                    EVP_DigestUpdate(ctx.get(), bytes.data(), bytes.size()) == 1 &&
                    EVP_DigestFinal_ex(ctx.get(), digest.data(), &size) == 1;
  PARLEY_ASSERT(done && size == digest.size());
  return digest;
}

hash128 hash128_of(std::string_view bytes) {
  const sha256_digest digest = sha256(bytes);
  hash128 h;
  std::memcpy(h.bytes.data(), digest.data(), h.bytes.size());
  return h;
}

std::string seal(const secret_key& key, std::string_view plain, std::string_view context,
                 random_source& random) {
  // A random 96-bit nonce: a node seals a few secrets per tenant, far below the 2^32 that GCM bears with one key.
  std::string sealed = random_bytes(gcm_nonce_bytes, random);
  sealed.resize(gcm_nonce_bytes + plain.size() + gcm_tag_bytes);
  unsigned char* const nonce = bytes_of(sealed);
  unsigned char* const cipher = nonce + gcm_nonce_bytes;
  unsigned char* const tag = cipher + plain.size();
  const cipher_ctx ctx{EVP_CIPHER_CTX_new()};
  int n = 0;
  const bool done =
      ctx != nullptr &&
      EVP_EncryptInit_ex(ctx.get(), EVP_aes_256_gcm(), nullptr, key.data(), nonce) == 1 &&
      EVP_EncryptUpdate(ctx.get(), nullptr, &n, bytes_of(context), length_of(context)) == 1 &&
      EVP_EncryptUpdate(ctx.get(), cipher, &n, bytes_of(plain), length_of(plain)) == 1 &&
      EVP_EncryptFinal_ex(ctx.get(), tag, &n) == 1 &&  // GCM: writes nothing
      EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_GCM_GET_TAG, gcm_tag_bytes, tag) == 1;
  PARLEY_ASSERT(done);
  return sealed;
}

std::optional<std::string> unseal(const secret_key& key, std::string_view sealed,
                                  std::string_view context) {
  if (sealed.size() < gcm_nonce_bytes + gcm_tag_bytes) return std::nullopt;
  const std::string_view nonce = sealed.substr(0, gcm_nonce_bytes);
  const std::string_view cipher =
      sealed.substr(gcm_nonce_bytes, sealed.size() - gcm_nonce_bytes - gcm_tag_bytes);
  std::string tag{sealed.substr(sealed.size() - gcm_tag_bytes)};
  std::string plain(cipher.size(), '\0');
  const cipher_ctx ctx{EVP_CIPHER_CTX_new()};
  int n = 0;
  const bool done =
      ctx != nullptr &&
      EVP_DecryptInit_ex(ctx.get(), EVP_aes_256_gcm(), nullptr, key.data(), bytes_of(nonce)) == 1 &&
      EVP_DecryptUpdate(ctx.get(), nullptr, &n, bytes_of(context), length_of(context)) == 1 &&
      EVP_DecryptUpdate(ctx.get(), bytes_of(plain), &n, bytes_of(cipher), length_of(cipher)) == 1 &&
      EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_GCM_SET_TAG, gcm_tag_bytes, tag.data()) == 1;
  PARLEY_ASSERT(done);
  unsigned char nothing[gcm_tag_bytes];
  if (EVP_DecryptFinal_ex(ctx.get(), nothing, &n) != 1) {
    OPENSSL_cleanse(plain.data(), plain.size());  // not authentic: nobody may see it
    return std::nullopt;
  }
  return plain;
}

std::string make_token(std::string_view prefix, std::size_t bytes, random_source& random) {
  const std::string raw = random_bytes(bytes, random);
  std::string token{prefix};
  token.reserve(prefix.size() + (bytes * 4 + 2) / 3);
  append_base64url(token, raw);
  return token;
}

std::string make_hex(std::size_t bytes, random_source& random) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes * 2);
  for (const char c : random_bytes(bytes, random)) {
    const auto b = static_cast<std::uint8_t>(c);
    text += digits[b >> 4U];
    text += digits[b & 15U];
  }
  return text;
}

bool equal_secret(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace parley
