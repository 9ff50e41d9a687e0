#pragma once
/// Where a webhook may go: its URL taken apart and judged, and which addresses a webhook may reach. Pure.
///
/// A URL is refused for what it says; whether a name leads to an inner address shows only when it is resolved, so the
/// client asks address_is_public() about every address it got, and connects to no other (net/webhook_client). What looks
/// like an address but is not in its usual form (`2130706433`, `0x7f.1`, `0177.0.0.1`, `127.1`, and other forms that
/// inet_aton(3) understands) is refused outright: no name of the DNS ends in a number.

#include <boost/asio/ip/address.hpp>
#include <boost/system/result.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace parley::net {

inline constexpr std::size_t webhook_url_max_bytes = 2048;  // what proxies and logs in between take

struct webhook_target {
  bool is_tls = true;
  std::string host;          ///< lower case; without brackets, without a dot at the end
  std::uint16_t port = 443;  ///< never 0
  std::string authority;     ///< as `Host` has it: the port only if it is not the scheme's own
  std::string path;          ///< as the request line has it, with the query: begins with `/`
  std::optional<boost::asio::ip::address> address{};  ///< the host, when it is one
};

enum class webhook_url_problem : std::uint8_t {
  too_long,
  malformed,    ///< no absolute URL after RFC 3986; other than ASCII; white space
  scheme,       ///< neither https nor http
  plain_http,   ///< http, without allow_private
  credentials,  ///< a user name or password, even an empty one
  fragment,
  host,  ///< none, percent-encoded, no form of a name or address; without allow_private a name without a dot, and an
         ///< IPv4 address that is written as an IPv6 one (`::ffff:`, `64:ff9b::`)
  port,  ///< 0, beyond 65535; below 1024 but for 80 and 443, without allow_private
  inner_address,  ///< an address that is not public, without allow_private
};
/// What is asked for, to follow «webhook_url»: `must begin with https://`.
[[nodiscard]] std::string_view text_of(webhook_url_problem problem);

/// `allow_private` (`webhook_allow_private`): for receivers in the operator's own network. Also plain http, names
/// without a dot, `localhost` and every port may then be used.
[[nodiscard]] boost::system::result<webhook_target, webhook_url_problem> parse_webhook_url(
    std::string_view url, bool allow_private);

/// An address of the public internet, as far as the address tells: not loopback, private, link-local, shared, reserved,
/// multicast, for documentation or measurements, of a cloud's metadata, and no way round (an IPv4 address inside an IPv6
/// one counts as what it leads to, or not at all).
[[nodiscard]] bool address_is_public(const boost::asio::ip::address& address);

}  // namespace parley::net
