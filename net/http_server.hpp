#pragma once
/// HTTP/1.1 on one I/O thread: sockets → requests → a handler → answers, on Boost.Beast with a strict check of our own
/// in front (RFC 9112; DESIGN 6). Knows no routes.
/// Owner      one I/O thread; not thread-safe.
/// Bound      max_header and max_body bytes a request; all bodies of the node share `http_body_total`; one request of a
///            connection is in work at a time (pipelined ones wait in the socket); max_connections sockets. Fields,
///            path segments and query parameters: head_max_fields, target_max_segments, target_max_parameters.
///
/// What it answers by itself, always with the error envelope and `Connection: close`:
///   400  what check_request_head refuses, and whatever can't become a head (a TLS hello, garbage), at once; a bad
///        escape, %00 or invalid UTF-8 in the target; a bad chunk; a stream that ends within a head or body
///   413  a head beyond max_header (or too many fields), a body beyond its bound
///   503  http_body_total is used up; max_connections reached
///   500  the handler threw (the connection stays)
/// A head or body that is not complete within request_timeout, and an idle connection after idle_timeout, are closed
/// without a word, as nginx does: SPEC has no 408, and whoever sends a byte a second does not read answers.
/// After an answer that ends the connection it stops sending and reads on for a moment, so that the client sees the
/// answer and not a reset. An answer to a HEAD has the Content-Length of the GET; 204 and 304 have none (RFC 9110 §8.6).

#include "actors/tally.hpp"
#include "protocol/errors.hpp"
#include "protocol/seams.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parley::net {

/// A request as the handlers see it; the strict check has passed.
struct http_request {
  std::string method;                 ///< upper case as sent
  std::string path;                   ///< raw: not decoded, without the query
  std::string query_raw;              ///< raw: not decoded, without the `?` (see raw_query_value)
  std::vector<std::string> segments;  ///< split at `/`, then decoded once (see split_target)
  std::vector<std::pair<std::string, std::string>> query;  ///< decoded, `+` is a space; order kept, repeats kept
  std::vector<std::pair<std::string, std::string>> headers;  ///< names in lower case; values trimmed
  std::string body;
  std::string request_id;  ///< the caller's `X-Request-Id` in bounds, else a new one
  boost::asio::ip::address peer;
  bool keep_alive = true;
  bool upgrade_websocket = false;  ///< a well-formed RFC 6455 handshake (version 13, valid key)
  std::optional<std::string> upgrade_problem;  ///< it asks for an upgrade, but not a well-formed one: why
  /// The first header of that lower-case name; empty when absent.
  [[nodiscard]] std::string_view header(std::string_view name) const;
  [[nodiscard]] std::size_t header_count(std::string_view name) const;
  [[nodiscard]] std::optional<std::string_view> query_value(std::string_view name) const;
};

struct http_response {
  int status = 200;
  std::string content_type = "application/json";  ///< not sent with an empty body
  std::string body{};
  /// Beside those the server makes: Date, Content-Length, Content-Type, Connection, X-Request-Id.
  std::vector<std::pair<std::string, std::string>> headers{};
  bool close = false;
  /// Set: answer 101 instead and hand the socket over, with what was read behind the request; `body` and
  /// `content_type` are not used. Only for a request with `upgrade_websocket`.
  std::function<void(boost::asio::ip::tcp::socket socket, std::string early_bytes)> upgraded{};
  // What an error answer is about, for whoever counts; set by error_response().
  std::optional<parley::error_code> failure{};
  bool is_refused_send = false;  ///< of a send, edit or delete (SPEC 2.5)
  std::string_view limit{};      ///< error::limit
};

struct http_options {
  std::size_t max_header = 16 * 1024;
  std::size_t max_body = 1024 * 1024;
  std::size_t body_total_bytes = 256 * 1024 * 1024;
  std::chrono::milliseconds request_timeout{10000};  ///< first byte of a request to its last
  std::chrono::milliseconds idle_timeout{60000};     ///< between requests, and before the first
  std::chrono::milliseconds write_timeout{10000};
  std::size_t max_connections = 0;  ///< HTTP and upgraded together, of this thread; 0: none
  /// How many of max_connections are used by sockets that were handed over and still live. Empty: none.
  std::function<std::size_t()> upgraded_open{};
  /// A request's own bound instead of max_body (batches), asked when its head is known. Empty: max_body for all.
  std::function<std::size_t(const http_request& head)> max_body_of{};
  /// Bytes of bodies in the node at this moment, shared by its servers; made by the server if empty.
  std::shared_ptr<std::atomic<std::size_t>> body_bytes{};
};

/// Any thread may read them.
struct http_counters {
  actors::tally accepted;
  actors::tally requests;
  actors::tally refused_strict;  ///< answered 400 by the strict check
  actors::tally refused_large;   ///< answered 413: a head or body beyond its bound
  actors::tally refused_full;    ///< answered 503: max_connections or http_body_total
  actors::tally timeouts;        ///< requests and answers that did not come to an end
  actors::tally handler_errors;  ///< exceptions of the handler
  actors::tally accept_errors;
  actors::tally open;  ///< connections when counters() was last called
};

/// Runs on the I/O thread; may suspend. Exceptions become INTERNAL_ERROR 500 without a word of what().
using http_handler = std::function<boost::asio::awaitable<http_response>(http_request)>;

class http_server {
 public:
  http_server(boost::asio::io_context& io, const http_options& options, const clock& now,
              random_source& random, http_handler handler);
  /// Closes everything. A handler still suspended ends in its own time; its answer goes nowhere.
  ~http_server();
  http_server(const http_server&) = delete;
  http_server& operator=(const http_server&) = delete;

  /// Binds with SO_REUSEPORT (all I/O threads share the port) and starts to accept. Port 0: the system's choice.
  /// EMFILE and ENFILE never spin: a spare descriptor is kept, the newcomer is closed at once and counted.
  boost::system::error_code listen(const boost::asio::ip::tcp::endpoint& where);
  /// A listening stream socket made elsewhere (socket activation, a Unix domain socket); taken over.
  boost::system::error_code listen(int descriptor);
  /// Of the first listener.
  [[nodiscard]] boost::asio::ip::tcp::endpoint local_endpoint() const;
  /// No new connections (those the kernel has already accepted for us are served); idle ones are closed, requests in
  /// work are answered with `Connection: close`.
  void stop_accepting();
  /// Closes connections between requests, but for those whose next request is already in the socket.
  void close_idle();
  /// Requests whose first byte was read and whose answer is not yet written.
  [[nodiscard]] std::size_t open_requests() const;
  /// Looks at the deadlines. The server does so by itself about once a second; for tests with a clock of their own.
  void tick();
  [[nodiscard]] const http_counters& counters() const;

 private:
  struct impl;
  std::shared_ptr<impl> impl_;
};

/// `{"success":false,"error":{…}}` with the fitting status and headers: `Retry-After` (429, 503, at least 1 s),
/// `WWW-Authenticate` (401), `Upgrade` and `Sec-WebSocket-Version` (426).
[[nodiscard]] http_response error_response(const error& e, std::string_view request_id);

}  // namespace parley::net
