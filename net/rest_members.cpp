#include "actors/presence_table.hpp"
#include "net/routes.hpp"
#include "protocol/server_frame.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace parley::net {

namespace {

/// What is shown of a member depends on how many there are (SPEC 4 *member*).
void show(gateway_loop& g, tenant_no tenant, std::int64_t member_count, room_seq last_ack,
          room_seq last_read, member_view& out) {
  if (member_count <= g.options().presence_max_members)
    out.online = g.shared().online.of({tenant, out.user}) != actors::presence_status::offline;
  if (member_count > g.options().receipt_max_members) return;
  out.last_ack = last_ack;
  out.last_read = last_read;
}

void append_members(std::string& out, const std::vector<member_view>& members) {
  out += R"({"members":[)";
  for (const auto& m : members) {
    if (out.back() != '[') out += ',';
    append_member(out, m);
  }
  out += ']';
}

/// CONFLICT: one of those who come would be in too many rooms. The claim lasts until they are stored or refused.
boost::asio::awaitable<std::optional<error>> check_room_limit(gateway_loop& g,
                                                              const membership_claims::claim& claim,
                                                              actors::room_limit_query q) {
  const auto max = g.options().limits.max_rooms_per_user;
  if (max == 0) co_return std::nullopt;
  q.max = max - std::min(max, claim.others());
  const auto tenant = q.room.tenant;
  auto asked = g.read(tenant, std::move(q));
  auto answer = co_await std::move(asked);
  if (auto* failed = std::get_if<error>(&answer)) co_return std::move(*failed);
  if (!std::get<std::optional<user_id>>(answer)) co_return std::nullopt;
  co_return beyond("max_rooms_per_user",
                   {error_code::conflict, "a member is in too many rooms", "user_ids"});
}

}  // namespace

gateway_loop::response rest_list_members(gateway_loop& g, gateway_loop::request_context& r) {
  const auto arguments = list_of(r, limits::list_max);
  if (!arguments) co_return fail(r, arguments.error());
  auto asked =
      g.read(r.who.tenant->no, actors::members_query{{r.who.tenant->no, parse_room(r.parameters[0])},
                                                     r.who.user,
                                                     arguments->limit,
                                                     arguments->cursor,
                                                     arguments->offset});
  auto answer = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&answer)) co_return fail(r, *failed);
  const auto& list = std::get<actors::members_result_page>(answer).list;
  std::vector<member_view> shown;
  for (const auto& m : list.members) {
    member_view view{m.member.user, m.member.role, m.member.joined_at, {}, {}, {}};
    show(g, r.who.tenant->no, list.member_count, m.last_ack, m.last_read, view);
    shown.push_back(std::move(view));
  }
  std::string out;
  append_members(out, shown);
  out += R"(,"next_cursor":)";
  if (list.next_cursor.empty()) {
    out += "null";
  } else {
    append_json_string(out, list.next_cursor);
  }
  co_return json_response(200, out + "}");
}

gateway_loop::response rest_add_members(gateway_loop& g, gateway_loop::request_context& r) {
  auto body = g.bodies().add_members(r.http.body);
  if (!body) co_return fail(r, body.error());
  const auto room = parse_room(r.parameters[0]);
  const membership_claims::claim claim{g.shared().claims, r.who.tenant->no, body->users};
  auto checking =
      check_room_limit(g, claim, {{r.who.tenant->no, room}, body->users, r.who.user, false, 0});
  const auto full = co_await std::move(checking);
  if (full) co_return fail(r, *full);
  auto asked = g.command(
      r, room,
      actors::add_members_command{std::move(body->users), body->role.value_or(member_role::member)});
  auto done = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&done)) co_return fail(r, *failed);
  const auto& result = std::get<actors::members_result>(done);
  std::vector<member_view> shown;
  for (const auto& m : result.added) {
    member_view view{m.user, m.role, m.joined_at, {}, {}, {}};
    show(g, r.who.tenant->no, result.member_count, m.joined_seq, m.joined_seq, view);
    shown.push_back(std::move(view));
  }
  std::string out;
  append_members(out, shown);
  co_return json_response(200, out + "}");
}

gateway_loop::response rest_update_member(gateway_loop& g, gateway_loop::request_context& r) {
  const auto role = g.bodies().update_member(r.http.body);
  if (!role) co_return fail(r, role.error());
  const auto room = parse_room(r.parameters[0]);
  const user_id user{r.parameters[1]};
  auto asked = g.command(r, room, actors::update_member_command{user, *role});
  auto done = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&done)) co_return fail(r, *failed);
  const auto& result = std::get<actors::members_result>(done);
  const auto& row = result.added.front();
  member_view view{row.user, row.role, row.joined_at, {}, {}, {}};
  auto reading = g.read(r.who.tenant->no, actors::check_query{r.who.tenant->no, user, {room}});
  auto answer = co_await std::move(reading);
  if (const auto* failed = std::get_if<error>(&answer)) co_return fail(r, *failed);
  const auto& found = std::get<store::checked_rooms>(answer).rooms.front();
  const auto at = found ? std::pair{found->last_ack, found->last_read}
                        : std::pair{row.joined_seq, row.joined_seq};  // removed since
  show(g, r.who.tenant->no, result.member_count, at.first, at.second, view);
  std::string out;
  append_member(out, view);
  co_return json_response(200, std::move(out));
}

gateway_loop::response rest_remove_member(gateway_loop& g, gateway_loop::request_context& r) {
  auto asked = g.command(r, parse_room(r.parameters[0]),
                         actors::remove_member_command{user_id{r.parameters[1]}});
  auto done = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&done)) co_return fail(r, *failed);
  co_return json_response(204, {});
}

gateway_loop::response rest_join(gateway_loop& g, gateway_loop::request_context& r) {
  const auto room = parse_room(r.parameters[0]);
  const std::vector<user_id> self{*r.who.user};
  const membership_claims::claim claim{g.shared().claims, r.who.tenant->no, self};
  auto checking = check_room_limit(g, claim, {{r.who.tenant->no, room}, self, {}, true, 0});
  const auto full = co_await std::move(checking);
  if (full) co_return fail(r, *full);
  auto asked = g.command(r, room, actors::join_command{});
  auto done = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&done)) co_return fail(r, *failed);
  const auto& joined = std::get<actors::room_result>(done);
  std::string out;
  append_room(out, joined.info, joined.role);
  co_return json_response(200, std::move(out));
}

gateway_loop::response rest_leave(gateway_loop& g, gateway_loop::request_context& r) {
  auto asked = g.command(r, parse_room(r.parameters[0]), actors::leave_command{});
  auto done = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&done)) co_return fail(r, *failed);
  co_return json_response(204, {});
}

namespace {

gateway_loop::response move_cursor(gateway_loop& g, gateway_loop::request_context& r, bool read) {
  const auto body = g.bodies().cursor(r.http.body);
  if (!body) co_return fail(r, body.error());
  std::vector<std::pair<room_id, room_seq>> rooms;
  rooms.push_back(*body);
  auto asked = g.move_cursors(user_of(r), read, std::move(rooms));
  auto moved = co_await std::move(asked);
  if (!moved) co_return fail(r, moved.error());
  const auto& outcome = (*moved)->rooms.front().outcome;
  if (const auto* failed = std::get_if<error>(&outcome)) co_return fail(r, *failed);
  const auto& state = std::get<store::cursor_state>(outcome);
  co_return json_response(200, R"({"success":true,"seq":)" +
                                   std::to_string((read ? state.last_read : state.last_ack).value) +
                                   "}");
}

}  // namespace

gateway_loop::response rest_ack(gateway_loop& g, gateway_loop::request_context& r) {
  return move_cursor(g, r, false);
}
gateway_loop::response rest_read(gateway_loop& g, gateway_loop::request_context& r) {
  return move_cursor(g, r, true);
}

}  // namespace parley::net
