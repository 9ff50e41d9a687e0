#pragma once
/// Between bytes and http_request / http_response: no sockets, no clock. The head has passed check_request_head.

#include "net/http_server.hpp"
#include "net/http_strict.hpp"
#include "protocol/seams.hpp"

#include <cstddef>
#include <string>
#include <string_view>

namespace parley::net {

/// Fills everything of `out` that a head tells. Returns what is wrong with it (static text), empty: nothing.
/// Beast parses the same bytes; where it and the strict check see another framing, that is a problem.
[[nodiscard]] std::string_view parse_head(std::string_view head, const head_check& checked,
                                          http_request& out);

/// SPEC 4: `[A-Za-z0-9._-]{1,64}`.
[[nodiscard]] bool is_valid_request_id(std::string_view text);

/// The client waits for `100 Continue` before it sends the body.
[[nodiscard]] bool expects_continue(const http_request& request);

struct response_context {
  std::string_view request_id{};
  std::string_view date{};  ///< as http_date makes it
  bool close = false;       ///< say `Connection: close`
  bool http11 = true;       ///< of the request; HTTP/1.0 is told `keep-alive`
};
/// Status line and headers, with the empty line. A handler's headers can't break the framing: names that are no tokens
/// or belong to the server are left out, control bytes in values become spaces.
[[nodiscard]] std::string make_response_head(const http_response& response,
                                             const response_context& context);
/// `101 Switching Protocols` for that Sec-WebSocket-Key.
[[nodiscard]] std::string make_switch_head(const http_response& response, std::string_view key,
                                           const response_context& context);

/// RFC 9110 §5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
[[nodiscard]] std::string http_date(utc_time t);

}  // namespace parley::net
