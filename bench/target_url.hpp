#pragma once
/// Where the node under load is. Load must not reach somebody else's machine by a slip: anything but a literal loopback
/// address (or `localhost`) needs --allow-remote.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace parley::bench {

struct target_url {
  std::string host;     // as written, without brackets
  std::string address;  // numeric IPv4; only this is ever connected to
  std::uint16_t port = 80;
  bool is_loopback = false;
  [[nodiscard]] std::string authority() const { return host + ':' + std::to_string(port); }
};

struct url_result {
  std::optional<target_url> url;
  std::string why;  // when there is none
};

/// `http://HOST[:PORT][/]`, HOST an IPv4 address or `localhost` (127.0.0.1, without asking a resolver). Another name is
/// looked up once, and only with `allow_remote`.
[[nodiscard]] url_result read_target_url(std::string_view text, bool allow_remote);

}  // namespace parley::bench
