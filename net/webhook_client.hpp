#pragma once
/// Webhooks over HTTP/1.1, on a thread of its own: each request a POST, on a connection that is kept for the next one.
/// Owner      whoever makes it; post() from any thread. All else happens on its thread, and so do the callbacks.
/// Bound      a request: its deadlines (connect, TLS, answer). An answer: 16 KiB of head, 64 KiB in all; of what is
///            longer the status counts, and the connection goes. Connections that are kept: webhook_idle_limits.
///            Requests under way: the caller's.
///
/// Where a request may go (SPEC 6): its URL is judged (webhook_target.hpp), its name resolved, *every* address checked,
/// and the connection made to one of those addresses. Nobody resolves a second time: a name that changes between check
/// and use changes nothing. One address among them that is not public: none is used. Without allow_private a name is
/// resolved with a dot at its end, so that no search domain of resolv.conf(5) makes it another; `Host`, SNI and the
/// certificate have none. Redirects are answers like any other; a proxy in the environment is not looked at.
///
/// A request is written again, once and on a new connection, when a kept one turns out to have been closed before any
/// byte of an answer: whoever listens knows repeats by their `webhook-id`.

#include "actors/tally.hpp"
#include "actors/webhook_client.hpp"
#include "net/name_resolver.hpp"
#include "net/webhook_connection.hpp"
#include "protocol/seams.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace parley::net {

struct webhook_client_options {
  bool allow_private = false;  ///< webhook_allow_private
  /// To an answer from the resolver; of all attempts to connect together; of the TLS handshake; from the request's first
  /// byte to the answer's last.
  std::chrono::milliseconds resolve_timeout{5000};
  std::chrono::milliseconds connect_timeout{5000};
  std::chrono::milliseconds tls_timeout{5000};
  std::chrono::milliseconds answer_timeout{10000};
  webhook_idle_limits idle{};
  std::string ca_file{};  ///< trusted beside the system's certificates; empty: none
  std::string user_agent = "Parley";
};

/// What tests replace.
struct webhook_client_seams {
  std::unique_ptr<name_resolver> resolver{};  ///< none: the system's
  /// Where a connection really goes that is about to be made to this endpoint, whose address has passed the check.
  std::function<boost::asio::ip::tcp::endpoint(const boost::asio::ip::tcp::endpoint&)> route{};
};

/// Why a request has no answer: `webhook_answer::failure` is one of these.
namespace webhook_failure {
inline constexpr std::string_view invalid_url = "invalid url";
inline constexpr std::string_view invalid_request =
    "invalid request";  ///< a header that can't be sent
inline constexpr std::string_view address_not_allowed = "address not allowed";
inline constexpr std::string_view name_not_found = "name not found";
inline constexpr std::string_view name_lookup_failed = "name lookup failed";
inline constexpr std::string_view name_lookup_timeout = "name lookup timeout";
inline constexpr std::string_view name_lookup_queue_full =
    "name lookup queue full";  ///< it never began: too many others are being looked up
inline constexpr std::string_view connection_refused = "connection refused";
inline constexpr std::string_view connection_timeout = "connection timeout";
inline constexpr std::string_view connection_failed =
    "connection failed";  ///< no route, no descriptor …
inline constexpr std::string_view tls_handshake_failed = "tls handshake failed";
inline constexpr std::string_view tls_handshake_timeout = "tls handshake timeout";
inline constexpr std::string_view certificate_not_trusted = "certificate not trusted";
inline constexpr std::string_view answer_timeout = "answer timeout";
inline constexpr std::string_view connection_closed = "connection closed";  ///< before a whole head
inline constexpr std::string_view invalid_answer = "invalid answer";

inline constexpr std::array all{invalid_url,
                                invalid_request,
                                address_not_allowed,
                                name_not_found,
                                name_lookup_failed,
                                name_lookup_timeout,
                                name_lookup_queue_full,
                                connection_refused,
                                connection_timeout,
                                connection_failed,
                                tls_handshake_failed,
                                tls_handshake_timeout,
                                certificate_not_trusted,
                                answer_timeout,
                                connection_closed,
                                invalid_answer};
}  // namespace webhook_failure

/// Any thread may read them.
struct webhook_client_counters {
  actors::tally requests;            ///< begun
  actors::tally answered;            ///< … and answered, with whatever status
  actors::tally failed;              ///< … and not
  actors::tally connections_opened;  ///< TCP was connected
  actors::tally connections_reused;  ///< requests that went out on a kept connection
  actors::tally stale_retries;  ///< … which was closed, so that they went out again on a new one
  actors::tally lookups;        ///< names given to the resolver
  actors::tally refused_addresses;  ///< requests refused for an address that is not public
  actors::tally open;               ///< connections at this moment
  actors::tally idle;               ///< … of which without a request
};

class webhook_client final : public actors::webhook_client {
 public:
  /// Throws std::runtime_error if `ca_file` can't be read.
  webhook_client(const webhook_client_options& options, const clock& now,
                 webhook_client_seams seams = {});
  ~webhook_client() override;
  webhook_client(const webhook_client&) = delete;
  webhook_client& operator=(const webhook_client&) = delete;

  void post(actors::webhook_post request, std::function<void(actors::webhook_answer)> done) override;
  /// When it returns, no callback runs any more, and those that did not run are gone. Not from a callback.
  void stop() override;
  [[nodiscard]] const webhook_client_counters& counters() const;

 private:
  class impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace parley::net
