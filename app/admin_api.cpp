#include "app/admin_api.hpp"

#include "app/config_values.hpp"

#include <cstdlib>
#include <ostream>
#include <utility>

namespace parley::app {
namespace {

std::string url_of(const std::string& url, const config& c) {
  if (!url.empty()) return url;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread, and nothing changes the environment.
  if (const char* from = std::getenv("PARLEY_URL"); from != nullptr && *from != '\0') return from;
  const auto where = parse_host_port(c.listen_addr).value_or(host_port{"", 8080});
  auto host = where.host;
  if (host.empty() || host == "0.0.0.0") host = "127.0.0.1";
  if (host == "::") host = "::1";
  if (host.find(':') != std::string::npos) host = "[" + host + "]";
  return "http://" + host + ":" + std::to_string(where.port);
}

}  // namespace

admin_api::admin_api(http_client client, std::string master_key)
    : client_(std::move(client)),
      master_key_(std::move(master_key)) {}

boost::system::result<admin_api, refusal> admin_api::of_node(const std::string& url, const config& c) {
  if (c.master_api_key.empty()) {
    return refusal{exit_status::usage,
                   "the node asks for its master key: set PARLEY_MASTER_API_KEY"};
  }
  auto client = http_client::for_url(url_of(url, c));
  if (!client) return refused(client.error());
  return admin_api{std::move(*client), c.master_api_key};
}

answer admin_api::ask(std::string_view method, std::string_view path, const nlohmann::json& body,
                      std::string_view no_answer) const {
  const auto reply = client_.request(method, path, {{"X-Master-Key", master_key_}}, body);
  if (!reply) {
    return refusal{exit_status::failure, reply.error().message + "\n  " + std::string{no_answer}};
  }
  if (reply->status / 100 != 2) {
    return refusal{exit_status::failure, client_.url() + " refused: " + refusal_text(*reply)};
  }
  if (reply->status == 204) return told{shown_json::object()};
  if (!reply->body.is_object()) {
    return refusal{exit_status::failure,
                   client_.url() + " is no Parley node: its answer is not JSON"};
  }
  return told{shown_json(reply->body)};
}

std::string path_segment(std::string_view text) {
  constexpr std::string_view hex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += hex[byte >> 4U];
      out += hex[byte & 15U];
    }
  }
  return out;
}

std::string as_text(const shown_json& value) {
  return value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

exit_status tell(std::ostream& err, const refusal& why) {
  err << "parley: " << why.text << "\n";
  return why.status;
}

refusal refused(const error& failure) { return {status_of(failure), failure.message}; }

}  // namespace parley::app
