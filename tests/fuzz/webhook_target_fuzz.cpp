/// Any bytes as the URL of a webhook, in both modes, and as a Retry-After: never a crash, never a read too far; and what is
/// taken for public leads to no inner address, whatever the system's resolver makes of its host.

#include "net/retry_after.hpp"
#include "net/webhook_target.hpp"
#include "protocol/assert.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

using namespace parley;
using boost::asio::ip::address;

namespace {

/// What getaddrinfo(3) takes this for without asking anybody; nullopt: a name.
std::optional<address> as_number(const std::string& host) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* first = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &first) != 0) return std::nullopt;
  std::optional<address> out;
  if (first->ai_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, first->ai_addr, sizeof in);
    out = boost::asio::ip::address_v4{ntohl(in.sin_addr.s_addr)};
  } else {
    sockaddr_in6 in{};
    std::memcpy(&in, first->ai_addr, sizeof in);
    boost::asio::ip::address_v6::bytes_type bytes;
    std::memcpy(bytes.data(), &in.sin6_addr, sizeof bytes);
    out = boost::asio::ip::address_v6{bytes, in.sin6_scope_id};
  }
  ::freeaddrinfo(first);
  return out;
}

/// Nothing in it could end a line, a field or a request target early.
bool is_plain(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

void check(const net::webhook_target& target) {
  PARLEY_ASSERT(!target.host.empty() && target.port != 0);
  PARLEY_ASSERT(target.path.starts_with('/') && is_plain(target.path));
  PARLEY_ASSERT(target.path.find('#') == std::string::npos);
  PARLEY_ASSERT(is_plain(target.authority));
  PARLEY_ASSERT(target.authority.find_first_of("@/?#%\\") == std::string::npos);
  PARLEY_ASSERT(target.host.find_first_of("@/?#%\\[]") == std::string::npos);
  // Our parser and the resolver's agree what is an address, and which.
  const auto number = as_number(target.host);
  PARLEY_ASSERT(number.has_value() == target.address.has_value());
  PARLEY_ASSERT(!number || *number == *target.address);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  const auto inside = net::parse_webhook_url(text, true);
  const auto outside = net::parse_webhook_url(text, false);
  PARLEY_ASSERT(!outside || inside);
  if (inside) check(*inside);
  if (outside) {
    PARLEY_ASSERT(outside->is_tls);
    PARLEY_ASSERT(outside->port == 443 || outside->port == 80 || outside->port >= 1024);
    PARLEY_ASSERT(!outside->address || net::address_is_public(*outside->address));
    PARLEY_ASSERT(outside->address || outside->host.find('.') != std::string::npos);
    // The same again: what Host and the request line say is a URL for the same place.
    const auto again = net::parse_webhook_url("https://" + outside->authority + outside->path, false);
    PARLEY_ASSERT(again || size + 16 > net::webhook_url_max_bytes);
    if (again) {
      PARLEY_ASSERT(again->host == outside->host && again->port == outside->port);
      PARLEY_ASSERT(again->path == outside->path && again->address == outside->address);
    }
  }
  const auto wait = net::parse_retry_after(text, from_unix_ms(1'800'000'000'000));
  PARLEY_ASSERT(!wait || (wait->count() >= 0 && *wait <= net::retry_after_max));
  return 0;
}
