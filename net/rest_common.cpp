#include "net/routes.hpp"

#include <charconv>
#include <utility>

namespace parley::net {

http_response json_response(int status, std::string body) {
  http_response out;
  out.status = status;
  out.body = std::move(body);
  return out;
}

http_response fail(const gateway_loop::request_context& r, const error& e) {
  return error_response(e, r.http.request_id);
}

namespace {
/// A non-negative integer literal, digits only, within 2^53.
std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  if (text.empty() || text.front() == '-' || text.front() == '+') return std::nullopt;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc{} || end != text.data() + text.size() || value > (std::int64_t{1} << 53))
    return std::nullopt;
  return value;
}
constexpr std::int64_t offset_max = 10000;
}  // namespace

result<list_arguments> list_of(const gateway_loop::request_context& r, std::size_t max) {
  list_arguments out;
  out.limit = limits::list_default;
  if (const auto text = r.http.query_value("limit")) {
    const auto value = whole_number(*text);
    if (!value || *value < 1) return invalid("limit", "a positive integer");
    out.limit = std::min(static_cast<std::size_t>(*value), max);
  }
  if (const auto cursor = r.http.query_value("cursor")) out.cursor = *cursor;
  if (const auto text = r.http.query_value("offset"); text && r.dialect) {
    const auto value = whole_number(*text);
    if (!value || *value > offset_max) return invalid("offset", "an integer from 0 to 10000");
    if (!out.cursor.empty()) return invalid("offset", "either a cursor or an offset");
    out.offset = static_cast<std::size_t>(*value);
  }
  return out;
}

result<store::page_position> position_of(const gateway_loop::request_context& r) {
  using anchor = store::page_position::anchor;
  store::page_position out{r.dialect ? anchor::oldest : anchor::newest, {}};
  int given = 0;
  for (const auto& [name, at] :
       {std::pair{"after_seq", anchor::after}, std::pair{"before_seq", anchor::before},
        std::pair{"around_seq", anchor::around}}) {
    const auto text = r.http.query_value(name);
    if (!text) continue;
    if (++given > 1) return invalid(name, "only one position at a time");
    const auto value = whole_number(*text);
    if (!value) return invalid(name, "an integer, 0 or more");
    out = {at, room_seq{*value}};
  }
  return out;
}

result<std::string> idempotency_key(const gateway_loop::request_context& r) {
  const auto count = r.http.header_count("idempotency-key");
  if (count == 0) return std::string{};
  const auto key = r.http.header("idempotency-key");
  if (count > 1 || key.empty() || key.size() > limits::client_msg_id_max_bytes) {
    return invalid("Idempotency-Key", "one key of 1 to 128 bytes");
  }
  return std::string{key};
}

result<std::string> retry_key(const gateway_loop::request_context& r,
                              const std::string& client_msg_id) {
  auto key = idempotency_key(r);
  if (key && !key->empty() && !client_msg_id.empty() && *key != client_msg_id)
    key = invalid("client_msg_id", "differs from the Idempotency-Key header");
  if (!key) {
    auto why = key.error();
    why.stored = stored_state::no;
    return why;
  }
  return client_msg_id.empty() ? std::move(*key) : client_msg_id;
}

message_id parse_message(std::string_view text) {
  return message_id::parse(text).value_or(message_id{});
}

room_id parse_room(std::string_view text) { return room_id::parse(text).value_or(room_id{}); }

user_key user_of(const gateway_loop::request_context& r) { return {r.who.tenant->no, *r.who.user}; }

boost::asio::awaitable<result<tenant_no>> tenant_number(gateway_loop& g, tenant_id id) {
  auto asked = g.read(tenant_no{}, actors::tenant_query{std::move(id)});
  auto answer = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&answer)) co_return *failed;
  const auto& row = std::get<std::optional<store::tenant_row>>(answer);
  if (!row) co_return not_found("tenant");
  co_return row->no;
}

}  // namespace parley::net
