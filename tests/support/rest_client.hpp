#pragma once
/// A REST client for tests: blocking, with deadlines, one keep-alive connection. Reads answers strictly: what is not
/// HTTP/1.1 as RFC 9112 has it is a failure of the test. Not thread-safe.

#include "tests/support/tcp_stream.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parley::tests {

using header_list = std::vector<std::pair<std::string, std::string>>;

/// Not an HTTP answer.
struct bad_answer : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct rest_reply {
  int status = 0;
  std::string reason;
  header_list headers;  ///< names in lower case
  std::string body;

  /// The first of that lower-case name.
  [[nodiscard]] std::optional<std::string> header(std::string_view name) const;
  /// The body as JSON; throws bad_answer when it is none.
  [[nodiscard]] nlohmann::json json() const;
  /// `error.code` of an error body; empty when there is none.
  [[nodiscard]] std::string error_code() const;
};

/// Reads one answer from `stream`; `buffered` holds bytes beyond it. `to_head`: an answer to HEAD has no body.
[[nodiscard]] rest_reply read_reply(tcp_stream& stream, std::string& buffered, bool to_head,
                                    std::chrono::milliseconds within);

class rest_client {
 public:
  explicit rest_client(std::string address, header_list headers = {});

  /// The same client with one header more in every request, on a connection of its own.
  [[nodiscard]] rest_client with(std::string name, std::string value) const;
  void set_deadline(std::chrono::milliseconds within) { within_ = within; }

  /// `target` as it goes on the line; nothing is escaped. A body goes as application/json unless `headers` say else.
  rest_reply request(std::string_view method, std::string_view target,
                     const header_list& headers = {}, std::string_view body = {});
  rest_reply get(std::string_view target, const header_list& headers = {});
  rest_reply post(std::string_view target, const nlohmann::json& body,
                  const header_list& headers = {});
  rest_reply patch(std::string_view target, const nlohmann::json& body,
                   const header_list& headers = {});
  rest_reply put(std::string_view target, const header_list& headers = {});
  rest_reply del(std::string_view target, const header_list& headers = {});

  /// Exactly these bytes on a new connection, and the first answer to them.
  rest_reply raw(std::string_view bytes);

  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] const header_list& headers() const { return headers_; }
  /// Closes the connection; the next request opens another.
  void disconnect() { stream_.reset(); }

 private:
  std::string address_;
  header_list headers_;
  std::chrono::milliseconds within_{10'000};
  std::optional<tcp_stream> stream_;
  std::string buffered_;
};

/// For path segments and query values: everything but unreserved characters as %XX.
[[nodiscard]] std::string percent_encoded(std::string_view text);

}  // namespace parley::tests
