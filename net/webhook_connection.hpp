#pragma once
/// What webhook_client is made of: a connection with or without TLS, those that wait for their next request, and what of
/// an answer counts.
/// Owner      a webhook_client, on its thread.

#include "actors/tally.hpp"
#include "net/webhook_target.hpp"
#include "protocol/seams.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace parley::net {

/// Of the system's certificates and those in `ca_file`; TLS 1.2 at least, HTTP/1.1 by ALPN. Throws std::runtime_error if
/// the file can't be read.
[[nodiscard]] boost::asio::ssl::context make_webhook_tls(const std::string& ca_file);

/// At most one operation is under way on it.
class webhook_connection {
 public:
  /// `open` counts those that exist.
  webhook_connection(boost::asio::io_context& io, actors::tally& open, mono_time now)
      : socket(io),
        made_at(now),
        open_(open) {
    ++open_;
  }
  ~webhook_connection() { --open_; }
  webhook_connection(const webhook_connection&) = delete;
  webhook_connection& operator=(const webhook_connection&) = delete;

  /// The certificate must be for the target's host; false: it can't be asked for.
  [[nodiscard]] bool begin_tls(boost::asio::ssl::context& context, const webhook_target& target);
  /// A handshake failed for the certificate's sake.
  [[nodiscard]] bool distrusts_peer();
  template <class Handler>
  void handshake(Handler handler) {
    tls_->async_handshake(boost::asio::ssl::stream_base::client, std::move(handler));
  }
  /// All of `out`.
  template <class Handler>
  void write(Handler handler) {
    if (tls_) {
      boost::asio::async_write(*tls_, boost::asio::buffer(out), std::move(handler));
    } else {
      boost::asio::async_write(socket, boost::asio::buffer(out), std::move(handler));
    }
  }
  /// Into `in`, to be committed there.
  template <class Handler>
  void read_some(Handler handler) {
    constexpr std::size_t at_once_bytes = 4 * 1024;  // most answers are one packet
    const auto space = in.prepare(at_once_bytes);
    if (tls_) {
      tls_->async_read_some(space, std::move(handler));
    } else {
      socket.async_read_some(space, std::move(handler));
    }
  }
  /// What is under way ends with an error.
  void close();
  /// Nothing has come while no request was under way: neither an end nor bytes that nobody asked for.
  [[nodiscard]] bool is_fresh();
  /// Gives back memory that one large request or answer took.
  void trim();

  using tcp_socket =
      boost::asio::basic_stream_socket<boost::asio::ip::tcp, boost::asio::io_context::executor_type>;
  tcp_socket socket;
  const mono_time made_at;
  std::string out;               ///< the request under way
  boost::beast::flat_buffer in;  ///< of the answer, what is not yet parsed

 private:
  std::optional<boost::asio::ssl::stream<tcp_socket&>> tls_;
  actors::tally& open_;
};
using webhook_connection_ptr = std::unique_ptr<webhook_connection>;

struct webhook_idle_limits {
  std::size_t max = 128;
  std::chrono::milliseconds timeout{30000};
  /// Beyond so many of one endpoint, those longest idle go after spare_timeout: not at once, since whoever sends many
  /// requests at a time takes them again in a moment.
  std::size_t max_per_endpoint = 8;
  std::chrono::milliseconds spare_timeout{1000};
  /// Of the connection itself, however busy: those that follow see where its name leads by then.
  std::chrono::milliseconds max_age{300000};
};

/// Connections without a request, the longest idle first. Looked through from end to end: there are few.
/// Bound      limits.max; beyond it the longest idle goes.
class webhook_idle_pool {
 public:
  explicit webhook_idle_pool(const webhook_idle_limits& limits) : limits_(limits) {}

  /// Of this endpoint, the one that was used last; nullptr: none that still lives.
  [[nodiscard]] webhook_connection_ptr take(const std::string& endpoint, mono_time now);
  /// Closes it instead if it has reached max_age.
  void give(std::string endpoint, webhook_connection_ptr kept, mono_time now);
  /// Closes what has been idle for too long.
  void expire(mono_time now);
  void clear() { entries_.clear(); }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  struct entry {
    std::string endpoint;
    mono_time since;
    webhook_connection_ptr kept;
  };
  webhook_idle_limits limits_;
  std::vector<entry> entries_;
};

inline constexpr std::size_t webhook_answer_head_max_bytes = 16 * 1024;

/// Keeps the status and Retry-After, and knows where the answer ends.
class webhook_answer_parser final : public boost::beast::http::basic_parser<false> {
 public:
  webhook_answer_parser();
  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] const std::string& retry_after() const { return retry_after_; }
  /// A head has come that is not followed by another answer (100–199): its status counts, whatever becomes of the rest.
  [[nodiscard]] bool has_status() const { return is_header_done() && status_ >= 200; }
  /// 101 is none: nobody asked for another protocol.
  [[nodiscard]] bool is_interim() const { return status_ / 100 == 1 && status_ != 101; }

 private:
  using error_code = boost::system::error_code;
  using text = boost::beast::string_view;
  using field = boost::beast::http::field;
  void on_request_impl(boost::beast::http::verb, text, text, int, error_code&) override {}
  void on_response_impl(int status, text, int, error_code&) override { status_ = status; }
  void on_field_impl(field name, text, text value, error_code&) override;
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(text body, error_code&) override { return body.size(); }
  void on_chunk_header_impl(std::uint64_t, text, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, text body, error_code&) override {
    return body.size();
  }
  void on_finish_impl(error_code&) override {}

  int status_ = 0;
  std::string retry_after_;
};

}  // namespace parley::net
