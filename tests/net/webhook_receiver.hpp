#pragma once
/// A server that webhooks are sent to: real sockets, with or without TLS, each connection on a thread that does what the
/// test says. Blocking, every wait with a deadline; going away it cuts all connections off.

#include "tests/support/certificates.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace parley::net::testing {

struct received_request {
  std::string head;  ///< request line and fields, with the empty line
  std::string body;
  /// The first field of that name; "" if there is none.
  [[nodiscard]] std::string field(std::string_view name) const {
    for (auto at = head.find("\r\n"); at != std::string::npos && at + 2 < head.size();) {
      const auto begin = at + 2;
      at = head.find("\r\n", begin);
      const auto line = std::string_view{head}.substr(begin, at - begin);
      const auto colon = line.find(": ");
      if (colon != name.size()) continue;
      const bool is_same = std::ranges::equal(line.substr(0, colon), name, [](char a, char b) {
        return std::tolower(static_cast<unsigned char>(a)) ==
               std::tolower(static_cast<unsigned char>(b));
      });
      if (is_same) return std::string{line.substr(colon + 2)};
    }
    return {};
  }
};

/// One connection, as the receiver's side sees it.
class webhook_peer {
 public:
  explicit webhook_peer(int fd) : fd_(fd) {
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  ~webhook_peer() {
    SSL_free(tls_);
    ::close(fd_);
  }
  webhook_peer(const webhook_peer&) = delete;
  webhook_peer& operator=(const webhook_peer&) = delete;

  [[nodiscard]] bool accept_tls(SSL_CTX* context) {
    tls_ = SSL_new(context);
    SSL_set_fd(tls_, fd_);
    if (SSL_accept(tls_) != 1) return false;
    const char* name = SSL_get_servername(tls_, TLSEXT_NAMETYPE_host_name);
    server_name = name == nullptr ? "" : name;
    return true;
  }
  /// nullopt: the client has closed, or says nothing more.
  std::optional<received_request> read_request() {
    received_request out;
    std::size_t end = 0;
    while ((end = kept_.find("\r\n\r\n")) == std::string::npos) {
      if (!read_more()) return std::nullopt;
    }
    out.head = kept_.substr(0, end + 4);
    kept_.erase(0, end + 4);
    const auto length = out.field("content-length");
    const std::size_t size = length.empty() ? 0 : std::stoul(length);
    while (kept_.size() < size) {
      if (!read_more()) return std::nullopt;
    }
    out.body = kept_.substr(0, size);
    kept_.erase(0, size);
    return out;
  }
  /// False: the client has closed.
  bool write(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto n = tls_ != nullptr ? SSL_write(tls_, bytes.data(), static_cast<int>(bytes.size()))
                                     : ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  /// Waits until the client has closed; false: it sent something, or did not within the deadline.
  bool wait_for_close() {
    char byte = 0;
    const auto n = ::recv(fd_, &byte, 1, 0);
    return n == 0 || (n < 0 && errno == ECONNRESET);
  }
  /// Gives the client so long to close (or to say something).
  [[nodiscard]] bool is_closed_within(std::chrono::milliseconds wait) const {
    pollfd one{.fd = fd_, .events = POLLIN | POLLRDHUP, .revents = 0};
    return ::poll(&one, 1, static_cast<int>(wait.count())) != 0;
  }
  void end_of_sending() const { ::shutdown(fd_, SHUT_WR); }
  void cut_off() const { ::shutdown(fd_, SHUT_RDWR); }

  std::string server_name;  ///< SNI

 private:
  bool read_more() {
    char buffer[16384];
    const auto n = tls_ != nullptr ? SSL_read(tls_, buffer, sizeof buffer)
                                   : ::recv(fd_, buffer, sizeof buffer, 0);
    if (n <= 0) return false;
    kept_.append(buffer, static_cast<std::size_t>(n));
    return true;
  }

  int fd_;
  SSL* tls_ = nullptr;
  std::string kept_;
};

/// A bound TCP socket of the loopback interface.
class bound_socket {
 public:
  explicit bound_socket(std::uint16_t port = 0, const char* address = "127.0.0.1") {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    ::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(port);
    ::inet_pton(AF_INET, address, &where.sin_addr);
    socklen_t size = sizeof where;
    if (fd_ < 0 || ::bind(fd_, reinterpret_cast<sockaddr*>(&where), size) != 0 ||
        ::getsockname(fd_, reinterpret_cast<sockaddr*>(&where), &size) != 0)
      throw std::runtime_error{"no socket to listen on"};
    port_ = ntohs(where.sin_port);
  }
  ~bound_socket() { ::close(fd_); }
  bound_socket(const bound_socket&) = delete;
  bound_socket& operator=(const bound_socket&) = delete;
  void listen(int backlog) const { REQUIRE(::listen(fd_, backlog) == 0); }
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  int fd_ = -1;
  std::uint16_t port_ = 0;
};

class webhook_receiver {
 public:
  /// `serve` is called for each connection, on a thread of its own; when it returns, the connection is closed.
  using serve_function = std::function<void(webhook_peer&)>;

  explicit webhook_receiver(serve_function serve, const tests::certificate* shown = nullptr,
                            int tls_version_max = 0)
      : serve_(std::move(serve)) {
    if (shown != nullptr) context_.reset(make_context(*shown, tls_version_max));
    socket_.listen(SOMAXCONN);
    thread_ = std::thread{[this] { accept_all(); }};
  }
  ~webhook_receiver() {
    ::shutdown(socket_.fd(), SHUT_RDWR);
    thread_.join();
    {
      const std::lock_guard lock{mutex_};
      is_ending_ = true;
      for (auto* p : peers_) p->cut_off();
    }
    for (auto& t : serving_) t.join();
  }
  webhook_receiver(const webhook_receiver&) = delete;
  webhook_receiver& operator=(const webhook_receiver&) = delete;

  [[nodiscard]] std::uint16_t port() const { return socket_.port(); }
  [[nodiscard]] std::string url(const std::string& path = "/in") const {
    return "http://127.0.0.1:" + std::to_string(port()) + path;
  }
  [[nodiscard]] int accepted() const { return accepted_.load(); }

 private:
  struct free_context {
    void operator()(SSL_CTX* c) const { SSL_CTX_free(c); }
  };
  static SSL_CTX* make_context(const tests::certificate& shown, int version_max) {
    SSL_CTX* context = SSL_CTX_new(TLS_server_method());
    const auto memory = [](const std::string& pem) {
      return std::unique_ptr<BIO, int (*)(BIO*)>{
          BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &BIO_free};
    };
    X509* x = PEM_read_bio_X509(memory(shown.pem).get(), nullptr, nullptr, nullptr);
    EVP_PKEY* key = PEM_read_bio_PrivateKey(memory(shown.key_pem).get(), nullptr, nullptr, nullptr);
    const bool is_good =
        SSL_CTX_use_certificate(context, x) == 1 && SSL_CTX_use_PrivateKey(context, key) == 1;
    X509_free(x);
    EVP_PKEY_free(key);
    REQUIRE(is_good);
    if (version_max != 0) {
      SSL_CTX_set_security_level(context, 0);
      SSL_CTX_set_max_proto_version(context, version_max);
    }
    return context;
  }
  void accept_all() {
    for (;;) {
      const int fd = ::accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      ++accepted_;
      serving_.emplace_back([this, fd] { serve(fd); });
    }
  }
  void serve(int fd) {
    webhook_peer peer{fd};
    {
      const std::lock_guard lock{mutex_};
      if (is_ending_) return;
      peers_.push_back(&peer);
    }
    if (context_ == nullptr || peer.accept_tls(context_.get())) serve_(peer);
    const std::lock_guard lock{mutex_};
    peers_.remove(&peer);
  }

  serve_function serve_;
  std::unique_ptr<SSL_CTX, free_context> context_;
  bound_socket socket_;
  std::atomic<int> accepted_{0};
  std::mutex mutex_;
  bool is_ending_ = false;
  std::list<webhook_peer*> peers_;
  std::list<std::thread> serving_;  // only the accepting thread adds to it
  std::thread thread_;
};

}  // namespace parley::net::testing
