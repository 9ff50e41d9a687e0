#pragma once
/// A small blocking HTTP client for the CLI: one request a connection, JSON in and out, a deadline for all of it.

#include "protocol/result.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parley::app {

struct http_reply {
  int status = 0;
  nlohmann::json body;  ///< discarded when there is none, or it is no JSON
};

class http_client {
 public:
  using headers = std::vector<std::pair<std::string, std::string>>;

  /// `http://host[:port][/prefix]`. https is refused: the node speaks plain HTTP; talk to it where it runs.
  static result<http_client> for_url(std::string_view url);

  /// `unavailable`: nobody answers there, or not in time.
  [[nodiscard]] result<http_reply> request(std::string_view method, std::string_view path,
                                           const headers& extra, const nlohmann::json& body = nullptr,
                                           std::chrono::milliseconds within = std::chrono::seconds{
                                               30}) const;
  [[nodiscard]] const std::string& url() const { return url_; }

 private:
  http_client() = default;
  std::string url_;
  std::string host_;
  std::string port_;
  std::string prefix_;
};

/// What an answer that is no success says, for people: its message, else its status.
[[nodiscard]] std::string refusal_text(const http_reply& reply);

}  // namespace parley::app
