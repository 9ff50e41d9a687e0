#include "tests/support/tcp_stream.hpp"

#include "tests/support/await.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

namespace parley::tests {
namespace {

using clock = std::chrono::steady_clock;

std::string error_text(std::string_view what) {
  return std::string{what} + ": " + std::generic_category().message(errno);
}

/// Waits for events on `fd`; false when the deadline has passed.
bool wait_for(int fd, short events, clock::time_point deadline) {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock::now()).count();
    pollfd entry{fd, events, 0};
    const int n = ::poll(&entry, 1, static_cast<int>(left > 0 ? left : 0));
    if (n > 0) return true;
    if (n == 0 && left <= 0) return false;
    if (n < 0 && errno != EINTR) throw connection_lost{error_text("poll")};
  }
}

struct address_list_free {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using address_list = std::unique_ptr<addrinfo, address_list_free>;

address_list resolve(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (const int code = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &list); code != 0) {
    throw connection_lost{"can't resolve " + host + ": " + ::gai_strerror(code)};
  }
  return address_list{list};
}

}  // namespace

tcp_stream::tcp_stream(std::string_view address, const tcp_options& options) {
  const auto deadline = clock::now() + options.within;
  const auto colon = address.rfind(':');
  if (colon == std::string_view::npos)
    throw std::invalid_argument{"no port in " + std::string{address}};
  auto host = address.substr(0, colon);
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  const auto peer = resolve(std::string{host}, std::string{address.substr(colon + 1)});
  fd_ = ::socket(peer->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) throw connection_lost{error_text("socket")};
  const int on = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (options.receive_buffer_bytes > 0) {
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &options.receive_buffer_bytes, sizeof(int));
  }
  try {
    if (!options.source.empty()) {
      const auto source = resolve(options.source, "0");
      if (::bind(fd_, source->ai_addr, source->ai_addrlen) != 0) {
        throw connection_lost{error_text("bind to " + options.source)};
      }
    }
    if (::connect(fd_, peer->ai_addr, peer->ai_addrlen) != 0) {
      if (errno != EINPROGRESS)
        throw connection_lost{error_text("connect to " + std::string{address})};
      if (!wait_for(fd_, POLLOUT, deadline)) {
        throw deadline_passed{"no connection to " + std::string{address}};
      }
      int error = 0;
      socklen_t size = sizeof error;
      ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
      errno = error;
      if (error != 0) throw connection_lost{error_text("connect to " + std::string{address})};
    }
  } catch (...) {
    close();
    throw;
  }
}

tcp_stream::~tcp_stream() { close(); }

tcp_stream::tcp_stream(tcp_stream&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

tcp_stream& tcp_stream::operator=(tcp_stream&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

void tcp_stream::write(std::string_view bytes, std::chrono::milliseconds within) {
  const auto deadline = clock::now() + within;
  while (!bytes.empty()) {
    bytes.remove_prefix(write_some(bytes));
    if (!bytes.empty() && !wait_for(fd_, POLLOUT, deadline)) {
      throw deadline_passed{std::to_string(bytes.size()) + " bytes were not taken"};
    }
  }
}

std::size_t tcp_stream::write_some(std::string_view bytes) {
  while (true) {
    const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno == EAGAIN) return 0;
    if (errno != EINTR) throw connection_lost{error_text("send")};
  }
}

bool tcp_stream::readable(std::chrono::milliseconds within) {
  return wait_for(fd_, POLLIN, clock::now() + within);
}

std::string tcp_stream::read_some(std::chrono::milliseconds within, std::size_t max_bytes) {
  if (fd_ < 0) throw connection_lost{"closed on this side"};
  const auto deadline = clock::now() + within;
  std::string bytes(max_bytes, '\0');
  while (true) {
    const auto n = ::recv(fd_, bytes.data(), bytes.size(), 0);
    if (n >= 0) {
      bytes.resize(static_cast<std::size_t>(n));
      return bytes;
    }
    if (errno != EAGAIN && errno != EINTR) throw connection_lost{error_text("recv")};
    if (!wait_for(fd_, POLLIN, deadline)) throw deadline_passed{"nothing came"};
  }
}

void tcp_stream::shutdown_write() { ::shutdown(fd_, SHUT_WR); }

void tcp_stream::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

void tcp_stream::abort() {
  const linger now{1, 0};
  if (fd_ >= 0) ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close();
}

}  // namespace parley::tests
