#pragma once
/// Certificates for tests of TLS, made when they are needed: an authority of one's own, and what it signs. Keys are P-256.

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace parley::tests {

struct certificate_options {
  std::vector<std::string> names{};        ///< of hosts
  std::vector<std::string> addresses{};    ///< of hosts, as text
  std::chrono::seconds valid_from{-3600};  ///< both from now
  std::chrono::seconds valid_to{3600};
};
struct certificate {
  std::string pem;
  std::string key_pem;
};

class certificate_authority {
 public:
  explicit certificate_authority(const std::string& name = "a test's authority");
  ~certificate_authority();
  certificate_authority(const certificate_authority&) = delete;
  certificate_authority& operator=(const certificate_authority&) = delete;
  /// Its own certificate, for whoever trusts it.
  [[nodiscard]] const std::string& pem() const;
  [[nodiscard]] certificate issue(const certificate_options& options) const;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

[[nodiscard]] certificate self_signed(const certificate_options& options);

}  // namespace parley::tests
