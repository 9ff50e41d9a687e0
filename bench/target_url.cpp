#include "bench/target_url.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <charconv>

namespace parley::bench {
namespace {

std::optional<std::uint16_t> read_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (failed != std::errc{} || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

std::string look_up(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0 || found == nullptr) return {};
  std::array<char, INET_ADDRSTRLEN> text{};
  sockaddr_in address{};
  address = *reinterpret_cast<const sockaddr_in*>(found->ai_addr);
  freeaddrinfo(found);
  inet_ntop(AF_INET, &address.sin_addr, text.data(), text.size());
  return text.data();
}

}  // namespace

url_result read_target_url(std::string_view text, bool allow_remote) {
  const auto refuse = [&](const std::string& why) {
    return url_result{std::nullopt, "'" + std::string{text} + "': " + why};
  };
  constexpr std::string_view scheme = "http://";
  if (!text.starts_with(scheme)) return refuse("expected http://HOST:PORT");
  std::string_view rest = text.substr(scheme.size());
  if (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.find_first_of("/?#") != std::string_view::npos) return refuse("a path is not expected");
  if (rest.find('@') != std::string_view::npos) return refuse("credentials do not belong in a URL");
  if (rest.starts_with('[')) return refuse("IPv6 is not supported");

  target_url url;
  const auto colon = rest.find(':');
  if (colon != std::string_view::npos) {
    const auto port = read_port(rest.substr(colon + 1));
    if (!port) return refuse("the port must be 1 to 65535");
    url.port = *port;
  }
  url.host = std::string{rest.substr(0, colon)};
  if (url.host.empty()) return refuse("no host");

  in_addr address{};
  if (url.host == "localhost") {
    url.address = "127.0.0.1";
  } else if (inet_pton(AF_INET, url.host.c_str(), &address) == 1) {
    url.address = url.host;
  } else if (!allow_remote) {
    return refuse("not a loopback address; --allow-remote permits others");
  } else if (url.address = look_up(url.host); url.address.empty()) {
    return refuse("unknown host");
  }
  inet_pton(AF_INET, url.address.c_str(), &address);
  url.is_loopback = (ntohl(address.s_addr) >> 24) == 127;
  if (!url.is_loopback && !allow_remote) {
    return refuse("not a loopback address; --allow-remote permits others");
  }
  return {url, {}};
}

}  // namespace parley::bench
