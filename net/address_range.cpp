#include "net/address_range.hpp"

#include <algorithm>
#include <charconv>
#include <string>

namespace parley::net {

namespace {

using boost::asio::ip::address;

address plain(const address& a) {
  if (a.is_v6() && a.to_v6().is_v4_mapped())
    return boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, a.to_v6());
  return a;
}

/// The first `prefix` bits are equal; with `other` nullptr: all beyond them are 0.
template <class Bytes>
bool agree(const Bytes& bytes, const Bytes* other, std::size_t prefix) {
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    const auto kept = std::clamp<std::ptrdiff_t>(
        static_cast<std::ptrdiff_t>(prefix) - static_cast<std::ptrdiff_t>(at * 8), 0, 8);
    const auto mask = static_cast<unsigned char>(0xff00U >> static_cast<unsigned>(kept));
    if (other == nullptr ? (bytes[at] & static_cast<unsigned char>(~mask)) != 0
                         : ((bytes[at] ^ (*other)[at]) & mask) != 0)
      return false;
  }
  return true;
}

}  // namespace

bool address_range::contains(const address& a) const {
  const auto who = plain(a);
  if (who.is_v4() != first.is_v4()) return false;
  if (who.is_v4()) {
    const auto mine = first.to_v4().to_bytes();
    return agree(who.to_v4().to_bytes(), &mine, prefix);
  }
  const auto mine = first.to_v6().to_bytes();
  return agree(who.to_v6().to_bytes(), &mine, prefix);
}

std::optional<address_range> parse_address_range(std::string_view text) {
  const auto slash = text.find('/');
  boost::system::error_code failed;
  const auto first = boost::asio::ip::make_address(std::string{text.substr(0, slash)}, failed);
  if (failed || (first.is_v6() && (first.to_v6().is_v4_mapped() || first.to_v6().scope_id() != 0)))
    return std::nullopt;
  const unsigned most = first.is_v4() ? 32 : 128;
  unsigned prefix = most;
  if (slash != std::string_view::npos) {
    const auto digits = text.substr(slash + 1);
    const auto* end = digits.data() + digits.size();
    const auto [stop, problem] = std::from_chars(digits.data(), end, prefix);
    if (problem != std::errc{} || stop != end || digits.empty() || prefix > most)
      return std::nullopt;
  }
  const auto is_clean = [&](const auto& bytes) {
    const decltype(&bytes) no_other = nullptr;
    return agree(bytes, no_other, prefix);
  };
  const bool clean =
      first.is_v4() ? is_clean(first.to_v4().to_bytes()) : is_clean(first.to_v6().to_bytes());
  if (!clean) return std::nullopt;
  return address_range{first, static_cast<std::uint8_t>(prefix)};
}

}  // namespace parley::net
