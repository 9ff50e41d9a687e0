#include "actors/node_actors.hpp"
#include "net/routes.hpp"
#include "protocol/server_frame.hpp"

#include <chrono>

namespace parley::net {

namespace {

/// Go's form without days and in whole seconds, as ChatAPI shows it: `45s`, `1m30s`, `2h30m45s`.
std::string uptime_text(std::int64_t seconds) {
  std::string out;
  if (seconds >= 3600) out += std::to_string(seconds / 3600) + "h";
  if (seconds >= 60) out += std::to_string(seconds / 60 % 60) + "m";
  return out + std::to_string(seconds % 60) + "s";
}

http_response plain_status(int status, std::string_view word) {
  std::string body = R"({"status":)";
  append_json_string(body, word);
  return json_response(status, body + "}");
}

}  // namespace

gateway_loop::response rest_livez(gateway_loop&, gateway_loop::request_context&) {
  co_return plain_status(200, "ok");
}

gateway_loop::response rest_readyz(gateway_loop& g, gateway_loop::request_context&) {
  const auto& node = g.shared();
  if (node.draining) co_return plain_status(503, "draining");
  if (!node.ready) co_return plain_status(503, "starting");
  // Able to read: asked for real, through the readers' queue.
  auto asked = g.read(tenant_no{}, actors::exists_query{});
  const auto answer = co_await std::move(asked);
  if (std::holds_alternative<error>(answer)) co_return plain_status(503, "unreadable");
  co_return plain_status(200, "ok");
}

gateway_loop::response rest_health(gateway_loop& g, gateway_loop::request_context&) {
  const auto& node = g.shared();
  const bool writable = node.gauges.writable;
  const auto up =
      std::chrono::duration_cast<std::chrono::seconds>(node.now.mono() - node.started).count();
  std::string body = R"({"status":)";
  body += writable ? R"("ok")" : R"("error")";
  body += R"(,"service":"parley","version":)";
  append_json_string(body, g.options().server_version);
  body += R"(,"uptime":)";
  append_json_string(body, uptime_text(up));
  body += R"(,"uptime_seconds":)" + std::to_string(up);
  body += R"(,"db_writable":)";
  body += writable ? "true" : "false";
  body += R"(,"active_connections":)" + std::to_string(node.connections.load());
  body += R"(,"messages_sent":)" + std::to_string(node.messages_accepted.load());
  body += R"(,"rooms_loaded":)" + std::to_string(node.gauges.live_rooms.load());
  body += R"(,"sessions":)" + std::to_string(node.gauges.live_sessions.load());
  body += R"(,"ephemerals_sent":)" + std::to_string(node.ephemerals_sent.load());
  body += R"(,"ephemerals_dropped":)" + std::to_string(node.ephemerals_dropped.load());
  body += R"(,"wal_pages":)" + std::to_string(node.gauges.wal_pages.load());
  co_return json_response(writable ? 200 : 503, body + "}");
}

}  // namespace parley::net
