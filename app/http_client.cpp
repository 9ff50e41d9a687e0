#include "app/http_client.hpp"

#include "app/config_values.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

#include <optional>

namespace parley::app {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr std::size_t body_max_bytes = 16 * 1024 * 1024;  // a list of tenants is far smaller

error no_answer(std::string_view url, std::string_view why) {
  return {.code = error_code::unavailable,
          .message = "no answer from " + std::string{url} + ": " + std::string{why}};
}

}  // namespace

result<http_client> http_client::for_url(std::string_view url) {
  constexpr std::string_view scheme = "http://";
  if (!url.starts_with(scheme)) {
    return invalid("url", in_quotes(url) + " is not allowed: http://host:port");
  }
  http_client client;
  client.url_ = url;
  auto rest = url.substr(scheme.size());
  auto authority = rest.substr(0, rest.find('/'));
  auto prefix = rest.substr(authority.size());
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  client.prefix_ = prefix;
  const bool has_port = authority.find(':') != std::string_view::npos && !authority.ends_with(']');
  const auto where =
      parse_host_port(has_port ? std::string{authority} : std::string{authority} + ":80");
  if (!where || where->host.empty() || where->port == 0) {
    return invalid("url", in_quotes(url) + " is not allowed: http://host:port");
  }
  client.host_ = where->host;
  client.port_ = std::to_string(where->port);
  return client;
}

result<http_reply> http_client::request(std::string_view method, std::string_view path,
                                        const headers& extra, const nlohmann::json& body,
                                        std::chrono::milliseconds within) const {
  asio::io_context io{1};
  beast::tcp_stream stream{io};
  stream.expires_after(within);
  beast::error_code failure;
  // Each step runs the loop until it is done or the stream's deadline has passed.
  const auto step = [&](auto&& begin) {
    std::optional<beast::error_code> done;
    begin([&](beast::error_code code, auto&&...) { done = code; });
    io.restart();
    io.run();
    failure = done.value_or(beast::error_code{asio::error::operation_aborted});
    return !failure;
  };

  asio::ip::tcp::resolver resolver{io};
  const auto addresses = resolver.resolve(host_, port_, failure);
  if (failure) return no_answer(url_, failure.message());
  if (!step([&](auto handler) { stream.async_connect(addresses, std::move(handler)); })) {
    return no_answer(url_, failure.message());
  }

  http::request<http::string_body> request;
  request.method_string({method.data(), method.size()});
  const auto target = prefix_ + std::string{path};
  request.target(target);
  request.version(11);
  const bool v6 = host_.find(':') != std::string::npos;
  request.set(http::field::host, (v6 ? "[" + host_ + "]" : host_) + ":" + port_);
  request.set(http::field::connection, "close");
  for (const auto& [name, value] : extra) request.set(name, value);
  if (!body.is_null()) {
    request.set(http::field::content_type, "application/json");
    request.body() = body.dump();
  }
  if (!body.is_null() || method != "GET") request.prepare_payload();
  if (!step([&](auto handler) { http::async_write(stream, request, std::move(handler)); })) {
    return no_answer(url_, failure.message());
  }

  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(body_max_bytes);
  if (!step([&](auto handler) { http::async_read(stream, buffer, parser, std::move(handler)); })) {
    return no_answer(url_, failure.message());
  }
  http_reply reply;
  reply.status = static_cast<int>(parser.get().result_int());
  reply.body = nlohmann::json::parse(parser.get().body(), nullptr, false);
  return reply;
}

std::string refusal_text(const http_reply& reply) {
  if (reply.body.is_object() && reply.body.contains("error") && reply.body["error"].is_object()) {
    const auto& e = reply.body["error"];
    if (e.contains("message") && e["message"].is_string()) {
      return e["message"].get<std::string>() + " (status " + std::to_string(reply.status) + ")";
    }
  }
  return "status " + std::to_string(reply.status);
}

}  // namespace parley::app
