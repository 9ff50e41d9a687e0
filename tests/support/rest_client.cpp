#include "tests/support/rest_client.hpp"

#include "tests/support/await.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <stdexcept>

namespace parley::tests {
namespace {

constexpr std::size_t head_max_bytes = 64 * 1024;
constexpr std::size_t body_max_bytes = 256 * 1024 * 1024;

std::string lower(std::string_view text) {
  std::string out{text};
  std::ranges::transform(out, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

std::size_t number(std::string_view text, int base) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size() ||
      value > body_max_bytes) {
    throw bad_answer{"not a length: " + std::string{text}};
  }
  return value;
}

/// Bytes of a stream, as many as asked for.
class byte_source {
 public:
  byte_source(tcp_stream& stream, std::string& buffered, std::chrono::milliseconds within)
      : stream_(stream),
        buffered_(buffered),
        deadline_(clock::now() + within) {}

  std::string line() {
    std::size_t end = 0;
    while ((end = buffered_.find("\r\n")) == std::string::npos) {
      if (buffered_.size() > head_max_bytes) throw bad_answer{"a line without end"};
      if (!more()) throw connection_lost{"closed within an answer's head"};
    }
    auto text = buffered_.substr(0, end);
    buffered_.erase(0, end + 2);
    if (text.find('\n') != std::string::npos || text.find('\r') != std::string::npos) {
      throw bad_answer{"a bare CR or LF in an answer"};
    }
    return text;
  }
  std::string bytes(std::size_t n) {
    while (buffered_.size() < n) {
      if (!more()) throw connection_lost{"closed within an answer's body"};
    }
    auto text = buffered_.substr(0, n);
    buffered_.erase(0, n);
    return text;
  }
  std::string rest() {
    while (more()) {}
    return std::exchange(buffered_, {});
  }

 private:
  using clock = std::chrono::steady_clock;
  bool more() {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - clock::now());
    if (left.count() <= 0) throw deadline_passed{"an answer did not come in time"};
    auto piece = stream_.read_some(left);
    buffered_ += piece;
    return !piece.empty();
  }

  tcp_stream& stream_;
  std::string& buffered_;
  clock::time_point deadline_;
};

void read_status(rest_reply& reply, const std::string& line) {
  if (!line.starts_with("HTTP/1.1 ") || line.size() < 12 || (line.size() > 12 && line[12] != ' ')) {
    throw bad_answer{"not a status line: " + line.substr(0, 200)};
  }
  reply.status = static_cast<int>(number(std::string_view{line}.substr(9, 3), 10));
  if (line.size() > 13) reply.reason = line.substr(13);
}

void read_headers(rest_reply& reply, byte_source& source) {
  for (auto line = source.line(); !line.empty(); line = source.line()) {
    const auto colon = line.find(':');
    if (colon == std::string::npos || colon == 0 || line.find_first_of(" \t") < colon) {
      throw bad_answer{"not a header: " + line};
    }
    auto value = std::string_view{line}.substr(colon + 1);
    while (value.starts_with(' ')) value.remove_prefix(1);
    while (value.ends_with(' ')) value.remove_suffix(1);
    reply.headers.emplace_back(lower(std::string_view{line}.substr(0, colon)), value);
  }
}

std::string read_chunks(byte_source& source) {
  std::string body;
  while (true) {
    const auto size = number(source.line(), 16);
    if (size == 0) break;
    body += source.bytes(size);
    if (!source.line().empty()) throw bad_answer{"a chunk without its end"};
  }
  while (!source.line().empty()) {}
  return body;
}

}  // namespace

std::optional<std::string> rest_reply::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return std::nullopt;
}

nlohmann::json rest_reply::json() const {
  auto value = nlohmann::json::parse(body, nullptr, false);
  if (value.is_discarded()) {
    throw bad_answer{"status " + std::to_string(status) +
                     ", body is not JSON: " + body.substr(0, 500)};
  }
  return value;
}

std::string rest_reply::error_code() const {
  const auto value = nlohmann::json::parse(body, nullptr, false);
  if (!value.is_object() || !value.contains("error") || !value["error"].is_object()) return {};
  return value["error"].value("code", "");
}

rest_reply read_reply(tcp_stream& stream, std::string& buffered, bool to_head,
                      std::chrono::milliseconds within) {
  byte_source source{stream, buffered, within};
  rest_reply reply;
  read_status(reply, source.line());
  read_headers(reply, source);
  if (to_head || reply.status < 200 || reply.status == 204 || reply.status == 304) return reply;
  const auto length = reply.header("content-length");
  const auto coding = reply.header("transfer-encoding");
  if (length && coding) throw bad_answer{"both Content-Length and Transfer-Encoding"};
  if (coding) {
    if (*coding != "chunked") throw bad_answer{"Transfer-Encoding: " + *coding};
    reply.body = read_chunks(source);
  } else if (length) {
    reply.body = source.bytes(number(*length, 10));
  } else {
    reply.body = source.rest();
  }
  return reply;
}

rest_client::rest_client(std::string address, header_list headers)
    : address_(std::move(address)),
      headers_(std::move(headers)) {}

rest_client rest_client::with(std::string name, std::string value) const {
  rest_client other{address_, headers_};
  other.headers_.emplace_back(std::move(name), std::move(value));
  other.within_ = within_;
  return other;
}

rest_reply rest_client::request(std::string_view method, std::string_view target,
                                const header_list& headers, std::string_view body) {
  std::string bytes{method};
  bytes += " ";
  bytes += target;
  bytes += " HTTP/1.1\r\nHost: " + address_ + "\r\n";
  bool has_type = false;
  for (const auto* list : {&std::as_const(headers_), &headers}) {
    for (const auto& [name, value] : *list) {
      bytes += name + ": " + value + "\r\n";
      has_type = has_type || lower(name) == "content-type";
    }
  }
  if (!body.empty() && !has_type) bytes += "Content-Type: application/json\r\n";
  if (!body.empty() || method == "POST" || method == "PUT" || method == "PATCH") {
    bytes += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  }
  bytes += "\r\n";
  bytes += body;

  // An idle connection may have been closed meanwhile: seen before anything is sent, so nothing is sent twice.
  if (stream_ && buffered_.empty() && stream_->readable(std::chrono::milliseconds{0}))
    stream_.reset();
  if (!stream_) {
    stream_.emplace(address_, tcp_options{.within = within_});
    buffered_.clear();
  }
  try {
    stream_->write(bytes, within_);
    auto reply = read_reply(*stream_, buffered_, method == "HEAD", within_);
    if (lower(reply.header("connection").value_or("")) == "close") stream_.reset();
    return reply;
  } catch (...) {
    stream_.reset();
    throw;
  }
}

rest_reply rest_client::get(std::string_view target, const header_list& headers) {
  return request("GET", target, headers);
}
rest_reply rest_client::post(std::string_view target, const nlohmann::json& body,
                             const header_list& headers) {
  return request("POST", target, headers, body.is_null() ? "" : body.dump());
}
rest_reply rest_client::patch(std::string_view target, const nlohmann::json& body,
                              const header_list& headers) {
  return request("PATCH", target, headers, body.dump());
}
rest_reply rest_client::put(std::string_view target, const header_list& headers) {
  return request("PUT", target, headers);
}
rest_reply rest_client::del(std::string_view target, const header_list& headers) {
  return request("DELETE", target, headers);
}

rest_reply rest_client::raw(std::string_view bytes) {
  tcp_stream stream{address_, {.within = within_}};
  stream.write(bytes, within_);
  std::string buffered;
  return read_reply(stream, buffered, bytes.starts_with("HEAD "), within_);
}

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool unreserved = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                            (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
    if (unreserved) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += digits[byte >> 4U];
      out += digits[byte & 15U];
    }
  }
  return out;
}

}  // namespace parley::tests
