#include "bench/rest_client.hpp"

#include "bench/client_codec.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace parley::bench {
namespace {

constexpr std::size_t body_max_bytes = std::size_t{64} * 1024 * 1024;

std::string text_of_errno() { return std::generic_category().message(errno); }

std::size_t read_size(std::string_view digits, int base) {
  std::size_t value = 0;
  const auto [end, failed] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (failed != std::errc{} || end == digits.data() || value > body_max_bytes) {
    throw setup_error{"an HTTP answer with a bad length: " + std::string{digits}};
  }
  return value;
}

}  // namespace

void rest_client::connect() {
  received_.clear();
  socket_ = socket_fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (!socket_.is_open()) throw setup_error{"socket: " + text_of_errno()};
  const timeval limit{timeout_.count() / 1000, timeout_.count() % 1000 * 1000};
  setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  const int on = 1;
  setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(target_.port);
  inet_pton(AF_INET, target_.address.c_str(), &to.sin_addr);
  if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    throw setup_error{"cannot connect to " + target_.authority() + ": " + text_of_errno()};
  }
}

bool rest_client::send_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return true;
}

bool rest_client::receive() {
  std::array<char, 16384> block{};
  ssize_t got = 0;
  do {
    got = recv(socket_.get(), block.data(), block.size(), 0);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    throw setup_error{"no answer from " + target_.authority() + " within " +
                      std::to_string(timeout_.count()) + " ms"};
  }
  if (got <= 0) return false;
  received_.append(block.data(), static_cast<std::size_t>(got));
  return true;
}

rest_answer rest_client::request(std::string_view method, std::string_view path,
                                 std::string_view headers, std::string_view json_body) {
  std::string bytes;
  bytes.append(method).append(" ").append(path).append(" HTTP/1.1\r\nHost: ");
  bytes.append(target_.authority()).append("\r\nAccept: application/json\r\n").append(headers);
  if (!json_body.empty()) {
    bytes.append("Content-Type: application/json\r\nContent-Length: ");
    bytes.append(std::to_string(json_body.size())).append("\r\n");
  }
  bytes.append("\r\n").append(json_body);
  for (int attempt = 0;; ++attempt) {
    const bool is_kept = socket_.is_open();
    if (!is_kept) connect();
    bool got_any = false;
    // After a failed send there may still be an answer, such as 413.
    (void)send_all(bytes);
    try {
      return read_answer(got_any, method == "HEAD");
    } catch (const setup_error&) {
      socket_.reset();
      if (!is_kept || got_any || attempt > 0) throw;
    }
  }
}

rest_answer rest_client::read_answer(bool& got_any, bool is_head) {
  std::optional<response_head> head;
  while (!(head = read_response_head(received_))) {
    if (received_.size() > body_max_bytes || !receive()) {
      throw setup_error{target_.authority() + " closed the connection without an answer"};
    }
    got_any = true;
  }
  received_.erase(0, head->head_bytes);
  if (head->status == 0) throw setup_error{target_.authority() + " does not speak HTTP/1.1"};

  rest_answer answer;
  answer.status = head->status;
  const auto length = head->header("content-length");
  const auto coding = head->header("transfer-encoding");
  const bool has_body = !is_head && head->status != 204 && head->status != 304;
  if (!has_body) {
    // No bytes follow, whatever the headers say.
  } else if (coding) {
    answer.body = read_chunks();
  } else if (length) {
    answer.body = read_exactly(read_size(*length, 10));
  } else {
    while (receive()) {}
    answer.body = std::exchange(received_, {});
    socket_.reset();
  }
  if (const auto seconds = head->header("retry-after")) {
    answer.retry_after = std::chrono::seconds{read_size(*seconds, 10)};
  }
  if (head->header("connection") == "close") socket_.reset();
  return answer;
}

std::string rest_client::read_exactly(std::size_t bytes) {
  while (received_.size() < bytes) {
    if (!receive()) throw setup_error{target_.authority() + " closed in the middle of an answer"};
  }
  std::string taken = received_.substr(0, bytes);
  received_.erase(0, bytes);
  return taken;
}

std::string rest_client::read_line() {
  std::size_t end = 0;
  while ((end = received_.find("\r\n")) == std::string::npos) {
    if (!receive()) throw setup_error{target_.authority() + " closed in the middle of an answer"};
  }
  std::string line = received_.substr(0, end);
  received_.erase(0, end + 2);
  return line;
}

std::string rest_client::read_chunks() {
  std::string body;
  for (;;) {
    const std::size_t size = read_size(read_line(), 16);
    if (size == 0) break;
    body += read_exactly(size);
    if (body.size() > body_max_bytes) throw setup_error{"an endless HTTP answer"};
    read_exactly(2);
  }
  while (!read_line().empty()) {  // trailers
  }
  return body;
}

}  // namespace parley::bench
