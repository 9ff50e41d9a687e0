#include "tests/support/certificates.hpp"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <stdexcept>

namespace parley::tests {
namespace {

struct free_it {
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(X509* p) const { X509_free(p); }
  void operator()(BIO* p) const { BIO_free(p); }
  void operator()(X509_EXTENSION* p) const { X509_EXTENSION_free(p); }
};
using key_ptr = std::unique_ptr<EVP_PKEY, free_it>;
using x509_ptr = std::unique_ptr<X509, free_it>;

void must(bool done, const char* what) {
  if (!done) throw std::runtime_error{std::string{"OpenSSL: "} + what};
}

template <class Write>
std::string to_pem(Write write) {
  const std::unique_ptr<BIO, free_it> memory{BIO_new(BIO_s_mem())};
  must(memory != nullptr && write(memory.get()) == 1, "PEM");
  const char* bytes = nullptr;
  const auto size = BIO_ctrl(memory.get(), BIO_CTRL_INFO, 0, static_cast<void*>(&bytes));
  return {bytes, static_cast<std::size_t>(size)};
}

void add_extension(X509* to, int kind, const std::string& value) {
  const std::unique_ptr<X509_EXTENSION, free_it> extension{
      X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str())};
  must(extension != nullptr && X509_add_ext(to, extension.get(), -1) == 1, value.c_str());
}

/// Everything but the issuer and the signature.
x509_ptr a_certificate(const std::string& common_name, EVP_PKEY* key,
                       const certificate_options& options) {
  static std::atomic<long> serial{1};
  x509_ptr made{X509_new()};
  auto* x = made.get();
  must(X509_set_version(x, X509_VERSION_3) == 1, "version");
  ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
  X509_gmtime_adj(X509_getm_notBefore(x), static_cast<long>(options.valid_from.count()));
  X509_gmtime_adj(X509_getm_notAfter(x), static_cast<long>(options.valid_to.count()));
  must(X509_set_pubkey(x, key) == 1, "public key");
  must(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                                  reinterpret_cast<const unsigned char*>(common_name.data()),
                                  static_cast<int>(common_name.size()), -1, 0) == 1,
       "name");
  std::string hosts;
  for (const auto& name : options.names) hosts += (hosts.empty() ? "DNS:" : ",DNS:") + name;
  for (const auto& address : options.addresses) hosts += (hosts.empty() ? "IP:" : ",IP:") + address;
  if (!hosts.empty()) add_extension(x, NID_subject_alt_name, hosts);
  return made;
}

key_ptr a_key() {
  key_ptr key{EVP_EC_gen("P-256")};
  must(key != nullptr, "key");
  return key;
}

certificate shown(X509* x, EVP_PKEY* key) {
  return {to_pem([&](BIO* to) { return PEM_write_bio_X509(to, x); }), to_pem([&](BIO* to) {
            return PEM_write_bio_PrivateKey(to, key, nullptr, nullptr, 0, nullptr, nullptr);
          })};
}

void sign(X509* x, const X509* issuer, EVP_PKEY* key) {
  must(X509_set_issuer_name(x, X509_get_subject_name(issuer)) == 1, "issuer");
  must(X509_sign(x, key, EVP_sha256()) > 0, "signature");
}

}  // namespace

struct certificate_authority::impl {
  key_ptr key = a_key();
  x509_ptr own;
  std::string pem;
};

certificate_authority::certificate_authority(const std::string& name)
    : impl_(std::make_unique<impl>()) {
  impl_->own = a_certificate(name, impl_->key.get(), {});
  add_extension(impl_->own.get(), NID_basic_constraints, "critical,CA:TRUE");
  add_extension(impl_->own.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
  sign(impl_->own.get(), impl_->own.get(), impl_->key.get());
  impl_->pem = shown(impl_->own.get(), impl_->key.get()).pem;
}
certificate_authority::~certificate_authority() = default;

const std::string& certificate_authority::pem() const { return impl_->pem; }

certificate certificate_authority::issue(const certificate_options& options) const {
  const auto key = a_key();
  const auto made = a_certificate("a test's host", key.get(), options);
  sign(made.get(), impl_->own.get(), impl_->key.get());
  return shown(made.get(), key.get());
}

certificate self_signed(const certificate_options& options) {
  const auto key = a_key();
  const auto made = a_certificate("itself", key.get(), options);
  sign(made.get(), made.get(), key.get());
  return shown(made.get(), key.get());
}

}  // namespace parley::tests
