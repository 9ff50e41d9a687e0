#include "net/webhook_target.hpp"

#include "net/address_range.hpp"

#include <boost/url/parse.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>
#include <type_traits>

namespace parley::net {
namespace {

using boost::asio::ip::address;
using boost::asio::ip::address_v4;
using boost::asio::ip::address_v6;

constexpr std::size_t name_max_bytes = 253;  // RFC 1035 §2.3.4, as text
constexpr std::size_t label_max_bytes = 63;

/// Not for the public internet, or not for what connects to it: IANA's registries of special-purpose addresses
/// (RFC 6890 and its followers), multicast, and what clouds answer metadata on.
constexpr std::array inner_v4{
    "0.0.0.0/8",         // this host, this network
    "10.0.0.0/8",        // private
    "100.64.0.0/10",     // shared with the provider; 100.100.100.200 is a metadata service
    "127.0.0.0/8",       // loopback
    "168.63.129.16/32",  // Azure's inner services, on an address that looks public
    "169.254.0.0/16",    // link-local; 169.254.169.254 is everybody's metadata service
    "172.16.0.0/12",     // private
    "192.0.0.0/24",      // protocol assignments; 192.0.0.192 is a metadata service
    "192.0.2.0/24",      // documentation
    "192.31.196.0/24",   // AS112
    "192.52.193.0/24",   // AMT
    "192.88.99.0/24",    // the former 6to4 relays
    "192.168.0.0/16",    // private
    "192.175.48.0/24",   // AS112
    "198.18.0.0/15",     // measurements
    "198.51.100.0/24",   // documentation
    "203.0.113.0/24",    // documentation
    "224.0.0.0/4",       // multicast
    "240.0.0.0/4",       // reserved; the broadcast address
};
/// Within 2000::/3; all beyond that is not public.
constexpr std::array inner_v6{
    "2001::/23",          // protocol assignments: Teredo, ORCHID, measurements
    "2001:db8::/32",      // documentation
    "2002::/16",          // 6to4: leads to an IPv4 address
    "2620:4f:8000::/48",  // AS112
    "3fff::/20",          // documentation
};

template <std::size_t Size>
std::array<address_range, Size> ranges_of(const std::array<const char*, Size>& texts) {
  std::array<address_range, Size> out;
  std::ranges::transform(texts, out.begin(),
                         [](const char* text) { return parse_address_range(text).value(); });
  return out;
}

bool is_within(const auto& ranges, const address& who) {
  return std::ranges::any_of(ranges, [&](const address_range& r) { return r.contains(who); });
}

bool is_public(const address_v4& who) {
  static const auto inner = ranges_of(inner_v4);
  return !is_within(inner, who);
}

/// The kernel connects to the IPv4 address inside, or a NAT64 does (RFC 6052).
bool leads_to_v4(const address_v6& who) {
  static const auto nat64 = parse_address_range("64:ff9b::/96").value();
  return who.is_v4_mapped() || nat64.contains(who);
}

bool is_public(const address_v6& who) {
  static const auto inner = ranges_of(inner_v6);
  static const auto unicast = parse_address_range("2000::/3").value();
  if (who.scope_id() != 0) return false;  // of one link
  if (leads_to_v4(who)) {
    const auto bytes = who.to_bytes();
    return is_public(address_v4{{bytes[12], bytes[13], bytes[14], bytes[15]}});
  }
  return unicast.contains(who) && !is_within(inner, who);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex_digit(char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }
bool is_letter(char c) { return c >= 'a' && c <= 'z'; }

std::string lower_case(std::string_view text) {
  std::string out{text};
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

/// Visible ASCII, without what RFC 3986 knows nowhere and others take for something (`\\` for `/`).
bool is_url_byte(char c) {
  constexpr std::string_view never = "\"<>\\^`{|}";
  return c > 0x20 && c < 0x7f && never.find(c) == std::string_view::npos;
}

bool is_scheme(std::string_view text) {
  const auto is_any_letter = [](char c) { return is_letter(static_cast<char>(c | 0x20)); };
  return !text.empty() && is_any_letter(text.front()) && std::ranges::all_of(text, [&](char c) {
    return is_any_letter(c) || is_digit(c) || c == '+' || c == '-' || c == '.';
  });
}

/// Letters, digits, `-` and `_` (which no host of the internet has, but many a container), none of the two at an end.
bool is_label(std::string_view text) {
  return !text.empty() && text.size() <= label_max_bytes && text.front() != '-' &&
         text.back() != '-' && std::ranges::all_of(text, [](char c) {
           return is_letter(c) || is_digit(c) || c == '-' || c == '_';
         });
}

/// As the parts of an address that inet_aton(3) takes.
bool is_number(std::string_view label) {
  if (label.starts_with("0x")) return std::ranges::all_of(label.substr(2), is_hex_digit);
  return std::ranges::all_of(label, is_digit);
}

/// In lower case and without the last dot.
bool is_name(std::string_view name, bool allow_private) {
  if (name.size() > name_max_bytes) return false;
  std::size_t labels = 0;
  for (;; ++labels) {
    const auto dot = name.find('.');
    const auto label = name.substr(0, dot);
    if (!is_label(label)) return false;
    if (dot == std::string_view::npos) {
      if (is_number(label)) return false;
      return allow_private || (labels > 0 && label != "localhost");
    }
    name.remove_prefix(dot + 1);
  }
}

/// Only the usual form: four decimal numbers without leading zeros, or RFC 4291 without a zone.
template <class Address>
bool read_address(std::string_view text, webhook_target& to) {
  if (text.find('%') != std::string_view::npos) return false;
  boost::system::error_code failed;
  if constexpr (std::is_same_v<Address, address_v4>) {
    to.address = boost::asio::ip::make_address_v4(std::string{text}, failed);
  } else {
    to.address = boost::asio::ip::make_address_v6(std::string{text}, failed);
  }
  if (failed) {
    to.address.reset();
    return false;
  }
  to.host = to.address->to_string();
  return true;
}

/// 0: no port.
std::uint16_t port_of(std::string_view digits) {
  std::uint16_t port = 0;
  const auto* end = digits.data() + digits.size();
  const auto [stop, failed] = std::from_chars(digits.data(), end, port);
  return failed == std::errc{} && stop == end ? port : std::uint16_t{0};
}
bool is_port(std::uint16_t port, bool allow_private) {
  if (allow_private) return port != 0;
  return port == 443 || port == 80 || port >= 1024;
}

}  // namespace

std::string_view text_of(webhook_url_problem problem) {
  switch (problem) {
    case webhook_url_problem::too_long:
      return "must have at most 2048 bytes";
    case webhook_url_problem::malformed:
      return "must be an absolute URL in ASCII (RFC 3986)";
    case webhook_url_problem::scheme:
      return "must begin with https://";
    case webhook_url_problem::plain_http:
      return "must begin with https:// (http:// is for nodes with webhook_allow_private)";
    case webhook_url_problem::credentials:
      return "must not hold a user name or password";
    case webhook_url_problem::fragment:
      return "must have no fragment";
    case webhook_url_problem::host:
      return "must name a host: a full name of the DNS, or an address in its usual form";
    case webhook_url_problem::port:
      return "must have port 443, 80, or one from 1024 to 65535";
    case webhook_url_problem::inner_address:
      return "must lead to a public address, unless the node has webhook_allow_private";
  }
  return {};
}

boost::system::result<webhook_target, webhook_url_problem> parse_webhook_url(std::string_view url,
                                                                             bool allow_private) {
  using problem = webhook_url_problem;
  if (url.size() > webhook_url_max_bytes) return problem::too_long;
  if (!std::ranges::all_of(url, is_url_byte)) return problem::malformed;

  webhook_target target;
  const auto colon = url.find(':');
  if (colon == std::string_view::npos || !is_scheme(url.substr(0, colon)))
    return problem::malformed;
  const auto scheme = lower_case(url.substr(0, colon));
  if (scheme == "http") {
    if (!allow_private) return problem::plain_http;
    target.is_tls = false;
  } else if (scheme != "https") {
    return problem::scheme;
  }
  url.remove_prefix(colon + 1);
  if (!url.starts_with("//")) return problem::host;
  url.remove_prefix(2);

  // The authority ends here and nowhere else, whatever it looks like. (Boost.URL 1.81 takes `1.2.3.4.5/` for the host
  // 1.2.3.4 and the path `.5/`.)
  auto authority = url.substr(0, url.find_first_of("/?#"));
  url.remove_prefix(authority.size());
  if (authority.find('@') != std::string_view::npos) return problem::credentials;
  if (url.find('#') != std::string_view::npos) return problem::fragment;
  if (!url.starts_with('/')) target.path = '/';
  target.path += url;
  if (!boost::urls::parse_origin_form(target.path)) return problem::malformed;

  const auto host_end = authority.starts_with('[') ? authority.find(']') : authority.rfind(':');
  auto host = authority.substr(0, host_end);
  auto port = authority.substr(host.size());
  if (host.starts_with('[')) {
    host.remove_prefix(1);
    if (!port.starts_with(']') || !read_address<address_v6>(host, target)) return problem::host;
    port.remove_prefix(1);
    if (!port.empty() && !port.starts_with(':')) return problem::host;
  } else if (!read_address<address_v4>(host, target)) {
    target.host = lower_case(host);
    if (target.host.ends_with('.')) target.host.pop_back();
    if (!is_name(target.host, allow_private)) return problem::host;
  }
  const std::uint16_t usual_port = target.is_tls ? 443 : 80;
  target.port = port.size() > 1 ? port_of(port.substr(1)) : usual_port;
  if (!is_port(target.port, allow_private)) return problem::port;
  const bool is_bracketed = target.address && target.address->is_v6();
  if (target.address && !allow_private) {
    if (!address_is_public(*target.address)) return problem::inner_address;
    // Nobody has a certificate for such a spelling.
    if (is_bracketed && leads_to_v4(target.address->to_v6())) return problem::host;
  }

  target.authority = is_bracketed ? "[" + target.host + "]" : target.host;
  if (target.port != usual_port) target.authority += ":" + std::to_string(target.port);
  return target;
}

bool address_is_public(const address& who) {
  return who.is_v4() ? is_public(who.to_v4()) : is_public(who.to_v6());
}

}  // namespace parley::net
