#include "actors/presence_table.hpp"
#include "net/http_target.hpp"
#include "net/routes.hpp"
#include "protocol/server_frame.hpp"

#include <algorithm>
#include <utility>

namespace parley::net {

namespace {

/// `user_ids=a,b`: split at commas, then decoded (SPEC 4); each once, in the order in which it was first named.
result<std::vector<user_id>> user_ids_of(const http_request& http) {
  const auto raw = raw_query_value(http.query_raw, "user_ids");
  if (!raw || raw->empty()) return invalid("user_ids", "name the users, separated by commas");
  if (static_cast<std::size_t>(std::count(raw->begin(), raw->end(), ',')) >=
      limits::presence_max_users)
    return invalid("user_ids", "at most 100 users");
  std::vector<user_id> out;
  for (std::string_view rest = *raw;;) {
    const auto comma = rest.find(',');
    auto user = percent_decode(rest.substr(0, comma), true);
    if (!user || !is_valid_user_id(*user)) return invalid("user_ids", "not a user id");
    if (std::find(out.begin(), out.end(), user_id{*user}) == out.end())
      out.emplace_back(std::move(*user));
    if (comma == std::string_view::npos) return out;
    rest = rest.substr(comma + 1);
  }
}

}  // namespace

gateway_loop::response rest_presence(gateway_loop& g, gateway_loop::request_context& r) {
  const auto users = user_ids_of(r.http);
  if (!users) co_return fail(r, users.error());
  const auto tenant = r.who.tenant->no;
  std::vector<store::presence_list::item> known;
  known.reserve(users->size());
  while (known.size() < users->size()) {
    // A slice at a time: of people in thousands of rooms not all fit one.
    actors::presence_query rest{tenant, r.who.user, {}};
    rest.users.assign(users->begin() + static_cast<std::ptrdiff_t>(known.size()), users->end());
    auto asked = g.read(tenant, std::move(rest));
    const auto answer = co_await std::move(asked);
    if (const auto* failed = std::get_if<error>(&answer)) co_return fail(r, *failed);
    const auto& slice = std::get<store::presence_list>(answer).users;
    known.insert(known.end(), slice.begin(), slice.end());
  }
  std::string out = R"({"users":[)";
  for (std::size_t at = 0; at < users->size(); ++at) {
    const auto& user = (*users)[at];
    // Whom one may not see looks like whom nobody knows.
    const auto status =
        known[at].visible ? g.shared().online.of({tenant, user}) : actors::presence_status::offline;
    if (at > 0) out += ',';
    out += R"({"user_id":)";
    append_json_string(out, user.view());
    out += R"(,"status":")";
    out += actors::to_text(status);
    out += R"(","last_seen":)";
    if (status == actors::presence_status::offline && known[at].last_seen) {
      out += '"';
      append_rfc3339(out, *known[at].last_seen);
      out += '"';
    } else {
      out += "null";
    }
    out += '}';
  }
  co_return json_response(200, out + "]}");
}

}  // namespace parley::net
