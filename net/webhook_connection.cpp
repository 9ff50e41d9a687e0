#include "net/webhook_connection.hpp"

#include "protocol/assert.hpp"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <string_view>
#include <unordered_map>

namespace parley::net {

namespace ssl = boost::asio::ssl;
using boost::system::error_code;

ssl::context make_webhook_tls(const std::string& ca_file) {
  ssl::context context{ssl::context::tls_client};
  error_code ignored;
  context.set_default_verify_paths(ignored);  // a machine without certificates trusts nobody
  error_code failed;
  if (!ca_file.empty()) context.load_verify_file(ca_file, failed);
  if (failed) throw std::runtime_error{"can't read the certificates in " + ca_file};
  context.set_verify_mode(ssl::verify_peer);
  auto* native = context.native_handle();
  static constexpr std::array<unsigned char, 9> protocols{8,   'h', 't', 't', 'p',
                                                          '/', '1', '.', '1'};
  const bool is_set = SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION) == 1 &&
                      SSL_CTX_set_alpn_protos(native, protocols.data(), protocols.size()) == 0;
  PARLEY_ASSERT(is_set);
  return context;
}

bool webhook_connection::begin_tls(ssl::context& context, const webhook_target& target) {
  auto* tls = tls_.emplace(socket, context).native_handle();
  if (target.address)
    return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), target.host.c_str()) == 1;
  // A name is also what the server is asked for (SNI; RFC 6066 §3: never an address).
  SSL_set_hostflags(tls, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  auto* name =
      const_cast<char*>(target.host.c_str());  // it is copied; the macro for this casts as C does
  return SSL_set1_host(tls, name) == 1 &&
         SSL_ctrl(tls, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name) == 1;
}

bool webhook_connection::distrusts_peer() {
  return SSL_get_verify_result(tls_->native_handle()) != X509_V_OK;
}

void webhook_connection::close() {
  error_code ignored;
  socket.close(ignored);
}

bool webhook_connection::is_fresh() {
  char byte = 0;
  return ::recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
         (errno == EAGAIN || errno == EWOULDBLOCK);
}

void webhook_connection::trim() {
  constexpr std::size_t kept_bytes = 16 * 1024;
  if (out.capacity() > kept_bytes) std::string{}.swap(out);
  if (in.capacity() > kept_bytes) in.shrink_to_fit();
}

webhook_connection_ptr webhook_idle_pool::take(const std::string& endpoint, mono_time now) {
  for (auto at = entries_.size(); at-- > 0;) {
    if (entries_[at].endpoint != endpoint) continue;
    auto found = std::move(entries_[at]);
    entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(at));
    if (now - found.since < limits_.timeout && found.kept->is_fresh()) return std::move(found.kept);
  }
  return nullptr;
}

void webhook_idle_pool::give(std::string endpoint, webhook_connection_ptr kept, mono_time now) {
  if (limits_.max == 0 || now - kept->made_at >= limits_.max_age) return;
  if (entries_.size() >= limits_.max) entries_.erase(entries_.begin());
  kept->trim();
  entries_.push_back({std::move(endpoint), now, std::move(kept)});
}

void webhook_idle_pool::expire(mono_time now) {
  std::unordered_map<std::string_view, std::size_t> newer;  // of the same endpoint
  for (auto at = entries_.rbegin(); at != entries_.rend(); ++at) {
    const auto age = now - at->since;
    const bool is_spare = newer[at->endpoint]++ >= limits_.max_per_endpoint;
    if (age >= limits_.timeout || (is_spare && age >= limits_.spare_timeout)) at->kept.reset();
  }
  std::erase_if(entries_, [](const entry& e) { return e.kept == nullptr; });
}

webhook_answer_parser::webhook_answer_parser() {
  eager(true);
  header_limit(webhook_answer_head_max_bytes);
  body_limit(boost::none);  // its reader bounds the bytes
}

void webhook_answer_parser::on_field_impl(field name, text, text value, error_code&) {
  // Not those behind a chunked body; of several the first.
  if (name == field::retry_after && !is_header_done() && retry_after_.empty())
    retry_after_.assign(value.data(), value.size());
}

}  // namespace parley::net
