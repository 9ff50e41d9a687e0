#pragma once
/// Address ranges as operators write them: `10.0.0.0/8`, `::1/128`, or one address. Pure.

#include <boost/asio/ip/address.hpp>

#include <cstdint>
#include <optional>
#include <string_view>

namespace parley::net {

struct address_range {
  boost::asio::ip::address first;  ///< its bits beyond `prefix` are 0
  std::uint8_t prefix = 0;

  /// An IPv4 address in IPv6's form (`::ffff:10.0.0.1`) counts as what it is.
  [[nodiscard]] bool contains(const boost::asio::ip::address& a) const;
};
/// nullopt: no range, or bits beyond the prefix are set (`10.0.0.1/8`: one of both was a slip).
[[nodiscard]] std::optional<address_range> parse_address_range(std::string_view text);

}  // namespace parley::net
