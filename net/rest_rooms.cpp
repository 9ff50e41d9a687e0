#include "net/routes.hpp"
#include "protocol/json_canonical.hpp"
#include "protocol/server_frame.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace parley::net {

namespace {

/// Who is in a new room, with roles: its creator, if listed, owns a group or channel (SPEC 3).
std::vector<std::pair<user_id, member_role>> first_members(const create_room_body& body,
                                                           const std::optional<user_id>& creator) {
  std::vector<std::pair<user_id, member_role>> out;
  for (const auto& user : body.members) {
    const bool owns = body.type != room_type::dm && creator && user == *creator;
    out.emplace_back(user, owns ? member_role::owner : member_role::member);
  }
  return out;
}

std::optional<error> check_members(const create_room_body& body, const identity& who,
                                   const node_limits& bounds) {
  if (body.type == room_type::dm) {
    if (body.members.size() != 2) return invalid("members", "a dm has exactly two different users");
  } else if (body.members.empty() && who.user) {
    return invalid("members", "at least one member");
  }
  if (body.members.size() > limits::members_max_per_call)
    return invalid("members", "at most 1000 at once");
  if (bounds.max_room_members != 0 && body.members.size() > bounds.max_room_members) {
    return beyond("max_room_members",
                  {error_code::conflict, "the room would have too many members", "members"});
  }
  return std::nullopt;
}

/// What must be equal when the same key comes again.
hash128 body_of(const create_room_body& b) {
  nlohmann::json all{{"type", to_text(b.type)},
                     {"posting", to_text(b.posting)},
                     {"metadata", canonical_json(b.metadata)}};
  all["name"] = b.name ? nlohmann::json(*b.name) : nlohmann::json(nullptr);
  for (const auto& m : b.members) all["members"].push_back(m.value);
  return hash128_of(all.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace

gateway_loop::response rest_create_room(gateway_loop& g, gateway_loop::request_context& r) {
  auto body = g.bodies().create_room(r.http.body);
  if (!body) co_return fail(r, body.error());
  // With its own token a user is implied; a backend lists whom it means (SPEC 3).
  if (r.who.is_token &&
      std::find(body->members.begin(), body->members.end(), *r.who.user) == body->members.end()) {
    body->members.insert(body->members.begin(), *r.who.user);
  }
  if (auto wrong = check_members(*body, r.who, g.options().limits)) co_return fail(r, *wrong);
  const auto key = idempotency_key(r);
  if (!key) co_return fail(r, key.error());

  uuid7_generator ids(g.shared().now, g.shared().random);
  store::new_room room;
  room.tenant = r.who.tenant->no;
  room.id = room_id{ids.next()};
  room.type = body->type;
  room.name = body->name;
  room.metadata = body->metadata;
  room.posting = body->posting;
  room.created_by = r.who.user;
  room.created_at = g.shared().now.now();
  room.members = first_members(*body, r.who.user);
  room.max_rooms_per_user = g.options().limits.max_rooms_per_user;
  room.max_rooms_per_tenant = g.options().max_rooms_per_tenant;
  const membership_claims::claim claim{g.shared().claims, room.tenant, body->members};
  room.claimed_rooms = claim.others();
  if (!key->empty()) {
    room.key =
        store::new_room::call_key{r.who.user.value_or(user_id{}), hash128_of(*key), body_of(*body)};
  }
  auto asked = g.create_room(std::move(room));
  auto made = co_await std::move(asked);
  if (!made) co_return fail(r, made.error());
  const bool fresh = made->created && !made->replayed;

  // The role of who asks; of a room that was there already it is read.
  std::optional<member_role> role;
  if (r.who.user) {
    if (fresh) {
      for (const auto& m : made->members) {
        if (m.user == *r.who.user) role = m.role;
      }
    } else {
      auto reading = g.read(r.who.tenant->no,
                            actors::room_query{{r.who.tenant->no, made->info.id}, r.who.user});
      auto seen = co_await std::move(reading);
      if (auto* view = std::get_if<std::optional<store::room_view>>(&seen);
          view != nullptr && *view && (*view)->self) {
        role = (*view)->self->role;
      }
    }
  }
  std::string out;
  append_room_open(out, made->info, role);
  out += fresh ? R"(,"created":true})" : R"(,"created":false})";
  auto response = json_response(fresh ? 201 : 200, std::move(out));
  if (made->replayed) response.headers.emplace_back("Idempotent-Replayed", "true");
  co_return response;
}

gateway_loop::response rest_list_rooms(gateway_loop& g, gateway_loop::request_context& r) {
  const auto arguments = list_of(r, limits::list_max);
  if (!arguments) co_return fail(r, arguments.error());
  auto asked =
      g.read(r.who.tenant->no, actors::rooms_query{r.who.tenant->no, r.who.user, arguments->limit,
                                                   arguments->cursor, arguments->offset});
  auto answer = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&answer)) co_return fail(r, *failed);
  const auto& list = std::get<store::room_list>(answer);
  std::string out = R"({"rooms":[)";
  for (const auto& one : list.rooms) {
    if (out.back() != '[') out += ',';
    const auto& self = one.room.self;
    append_room_open(out, one.room.info, self ? std::optional{self->role} : std::nullopt);
    if (self) {
      out += R"(,"last_ack":)" + std::to_string(one.last_ack.value);
      out += R"(,"last_read":)" + std::to_string(one.last_read.value);
      out += R"(,"unread_count":)" + std::to_string(one.unread_count);
    } else {
      out += R"(,"last_ack":null,"last_read":null,"unread_count":null)";
    }
    out += R"(,"last_message":)";
    if (one.last_message) {
      append_entry(out, one.room.info.id, *one.last_message);
    } else {
      out += "null";
    }
    out += '}';
  }
  out += R"(],"next_cursor":)";
  if (list.next_cursor.empty()) {
    out += "null";
  } else {
    append_json_string(out, list.next_cursor);
  }
  co_return json_response(200, out + "}");
}

gateway_loop::response rest_get_room(gateway_loop& g, gateway_loop::request_context& r) {
  auto asked =
      g.read(r.who.tenant->no,
             actors::room_query{{r.who.tenant->no, parse_room(r.parameters[0])}, r.who.user});
  auto answer = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&answer)) co_return fail(r, *failed);
  const auto& view = std::get<std::optional<store::room_view>>(answer);
  std::string out;
  append_room(out, view->info, view->self ? std::optional{view->self->role} : std::nullopt);
  co_return json_response(200, std::move(out));
}

gateway_loop::response rest_update_room(gateway_loop& g, gateway_loop::request_context& r) {
  auto body = g.bodies().update_room(r.http.body);
  if (!body) co_return fail(r, body.error());
  if (body->retention && r.who.user)
    co_return fail(r, error{error_code::authorization, "only the backend may set the retention"});
  const auto room = parse_room(r.parameters[0]);
  const auto bytes = (body->name && *body->name ? (*body->name)->size() : 0) +
                     (body->metadata ? body->metadata->value.size() : 0);
  auto asked = g.command(
      r, room,
      actors::update_room_command{std::move(body->name), std::move(body->metadata), body->posting},
      bytes);
  auto done = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&done)) co_return fail(r, *failed);
  if (body->retention) {
    store::tenant_change change{r.who.tenant->id,
                                store::tenant_change::set_retention{room, *body->retention},
                                g.shared().now.now()};
    auto storing = g.change_tenant(std::move(change), r.who.tenant->no);
    const auto stored = co_await std::move(storing);
    if (!stored) co_return fail(r, stored.error());
  }
  const auto& updated = std::get<actors::room_result>(done);
  std::string out;
  append_room(out, updated.info, updated.role);
  co_return json_response(200, std::move(out));
}

gateway_loop::response rest_delete_room(gateway_loop& g, gateway_loop::request_context& r) {
  auto asked = g.command(r, parse_room(r.parameters[0]), actors::delete_room_command{});
  auto done = co_await std::move(asked);
  if (const auto* failed = std::get_if<error>(&done)) co_return fail(r, *failed);
  co_return json_response(204, {});
}

}  // namespace parley::net
