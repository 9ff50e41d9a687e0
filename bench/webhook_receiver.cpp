#include "bench/webhook_receiver.hpp"

#include "bench/steady_time.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <optional>
#include <system_error>
#include <utility>

namespace parley::bench {
namespace {

constexpr int look_ms = 20;  // how often it looks whether to end
constexpr int backlog = 1024;

[[noreturn]] void fail(const char* what) {
  throw std::system_error{errno, std::generic_category(), what};
}

std::int64_t unix_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// Of a head without its last line end; nullopt: no POST, or no length.
std::optional<std::size_t> length_of(std::string_view head) {
  if (!head.starts_with("POST ")) return std::nullopt;
  constexpr std::string_view name = "\r\ncontent-length:";
  for (std::size_t at = head.find('\r'); at != std::string_view::npos; at = head.find('\r', at + 1)) {
    const std::string_view line = head.substr(at);
    if (line.size() < name.size() || strncasecmp(line.data(), name.data(), name.size()) != 0)
      continue;
    std::size_t from = name.size();
    while (from < line.size() && line[from] == ' ') ++from;
    std::size_t value = 0;
    const char* const end = line.data() + line.size();
    if (std::from_chars(line.data() + from, end, value).ec != std::errc{}) return std::nullopt;
    return value;
  }
  return std::nullopt;
}

}  // namespace

webhook_receiver::webhook_receiver()
    : listener_{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)},
      epoll_{epoll_create1(EPOLL_CLOEXEC)} {
  if (!listener_.is_open() || !epoll_.is_open()) fail("socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) fail("bind");
  if (getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    fail("getsockname");
  }
  port_ = ntohs(address.sin_port);
}

webhook_receiver::~webhook_receiver() { is_ending_ = true; }

std::string webhook_receiver::url() const {
  return "http://127.0.0.1:" + std::to_string(port_) + "/events";
}

void webhook_receiver::open() {
  if (thread_.joinable()) return;
  if (listen(listener_.get(), backlog) != 0) fail("listen");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = listener_.get();
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener_.get(), &event) != 0) fail("epoll_ctl");
  thread_ = std::jthread{[this] { serve(); }};
}

webhook_receiver::state webhook_receiver::now() const {
  const std::lock_guard lock{mutex_};
  return {ledger_.messages(), ledger_.repeats(), ledger_.others(), accepted_, last_ns_};
}

histogram webhook_receiver::lags() const {
  const std::lock_guard lock{mutex_};
  return ledger_.lags();
}

fault_log webhook_receiver::faults() const {
  const std::lock_guard lock{mutex_};
  fault_log all = faults_;
  all.add(ledger_.faults());
  return all;
}

void webhook_receiver::begin_lags() {
  const std::lock_guard lock{mutex_};
  ledger_.begin_lags();
}

void webhook_receiver::serve() {
  std::array<epoll_event, 64> events{};
  while (!is_ending_) {
    const int count =
        epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), look_ms);
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == listener_.get()) {
        accept_all();
      } else {
        read_from(fd);
      }
    }
  }
}

void webhook_receiver::accept_all() {
  for (;;) {
    socket_fd peer{accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
    if (!peer.is_open()) return;
    const int fd = peer.get();
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) continue;
    connections_[fd].socket = std::move(peer);
    const std::lock_guard lock{mutex_};
    ++accepted_;
  }
}

void webhook_receiver::read_from(int fd) {
  const auto found = connections_.find(fd);
  if (found == connections_.end()) return;
  std::array<char, 64 * 1024> block;  // NOLINT(cppcoreguidelines-pro-type-member-init): recv() fills it
  const ssize_t got = recv(fd, block.data(), block.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  connection& from = found->second;
  if (got > 0) from.received.append(block.data(), static_cast<std::size_t>(got));
  if (got <= 0 || !take_requests(from))
    connections_.erase(found);  // closing takes it out of the set
}

bool webhook_receiver::take_requests(connection& from) {
  const std::lock_guard lock{mutex_};
  std::string answers;
  std::string_view rest = from.received;
  for (;;) {
    const auto head_end = rest.find("\r\n\r\n");
    if (head_end == std::string_view::npos) break;
    const auto length = length_of(rest.substr(0, head_end));
    if (!length || *length > request_max_bytes) {
      faults_.add(fault::protocol, "a webhook request without a length, or too long");
      return false;
    }
    const std::size_t body_from = head_end + 4;
    if (rest.size() < body_from + *length) break;
    ledger_.take(rest.substr(body_from, *length), unix_ns());
    last_ns_ = now_ns();
    rest.remove_prefix(body_from + *length);
    answers += "HTTP/1.1 204 No Content\r\n\r\n";
  }
  from.received.erase(0, from.received.size() - rest.size());
  if (from.received.size() > request_max_bytes + 64 * 1024) {
    faults_.add(fault::protocol, "a webhook request without an end");
    return false;
  }
  // A few bytes for each: a socket that has no room for them is not read.
  return answers.empty() || send(from.socket.get(), answers.data(), answers.size(), MSG_NOSIGNAL) ==
                                static_cast<ssize_t>(answers.size());
}

}  // namespace parley::bench
