#include "net/gateway_loop.hpp"

#include "actors/node_actors.hpp"
#include "actors/tenant_table.hpp"
#include "net/routes.hpp"
#include "protocol/json_canonical.hpp"
#include "protocol/log.hpp"
#include "protocol/planted.hpp"
#include "protocol/server_frame.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <cstring>
#include <limits>
#include <unordered_set>
#include <utility>

namespace parley::net {

namespace asio = boost::asio;

namespace {

constexpr auto tick_interval = std::chrono::milliseconds{100};
constexpr std::uint32_t ticks_per_second = 10;
constexpr auto hub_ticks_above = std::chrono::seconds{5};
constexpr std::size_t sends_per_pass = 512;      // then the loop looks at its sockets again
constexpr std::size_t batch_rooms_at_once = 64;  // DESIGN 11
constexpr std::size_t batch_window = 256;
constexpr auto retry_when_full = std::chrono::milliseconds{500};

actors::connection_ref ref_of(connection_no c) { return actors::connection_ref{c.value}; }
connection_no number_of(actors::connection_ref c) { return connection_no{c.value}; }

bool is_send(const client_command& command) {
  return std::holds_alternative<send_message_frame>(command) ||
         std::holds_alternative<edit_message_frame>(command) ||
         std::holds_alternative<delete_message_frame>(command);
}

error timed_out(bool is_send) {
  auto e = unavailable("no answer within the deadline", std::chrono::milliseconds{1000});
  if (is_send) e.stored = stored_state::unknown;
  return e;
}

}  // namespace

hash128 body_hash(const send_message_frame& m) {
  // Length-prefixed, so that no two messages share a text.
  std::string text = std::to_string(m.content.size()) + ":" + m.content;
  const auto meta = canonical_json(m.meta);
  text += std::to_string(meta.size()) + ":" + meta;
  if (m.reply_to) m.reply_to->id.append_to(text);
  return hash128_of(text);
}

hash128 body_hash(const edit_message_frame& m) {
  std::string text = std::to_string(m.content.size()) + ":" + m.content;
  if (m.meta) {
    const auto meta = canonical_json(*m.meta);
    text += std::to_string(meta.size()) + ":" + meta;
  }
  text += ':';
  m.message.id.append_to(text);
  return hash128_of(text);
}

hash128 body_hash(const delete_message_frame& m) {
  std::string text;
  m.message.id.append_to(text);
  return hash128_of(text);
}

actors::edit_message_command edit_command(edit_message_frame& m, std::string_view key) {
  actors::edit_message_command out;
  if (!key.empty()) {
    out.key = hash128_of(key);
    out.body = body_hash(m);
  }
  out.message = m.message;
  out.content = std::move(m.content);
  out.meta = std::move(m.meta);
  return out;
}

actors::delete_message_command delete_command(const delete_message_frame& m, std::string_view key) {
  actors::delete_message_command out;
  if (!key.empty()) {
    out.key = hash128_of(key);
    out.body = body_hash(m);
  }
  out.message = m.message;
  return out;
}

namespace {
/// 0 means none (SPEC 4).
std::uint32_t or_none(std::uint32_t limit) {
  return limit == 0 ? std::numeric_limits<std::uint32_t>::max() : limit;
}

/// Sockets that left HTTP for the hub count against the thread's bound on connections; a batch has its own bound.
http_options counting(http_options http, const gateway_loop& loop) {
  http.upgraded_open = [&loop] { return loop.connections(); };
  http.max_body_of = [&loop](const http_request& head) {
    const auto& bounds = loop.options().limits;
    const auto path = std::string_view{head.path};
    return path == "/v1/messages/batch" || path == "/messages/batch" ? bounds.max_batch_body
                                                                     : bounds.max_body;
  };
  return http;
}
}  // namespace

gateway_loop::gateway_loop(asio::io_context& io, actors::gateway_no no,
                           const gateway_options& options, node_shared& shared, node_bus& bus)
    : io_(io),
      no_(no),
      options_(options),
      shared_(shared),
      bus_(bus),
      counters_(routes().size()),
      calls_(io),
      http_(io, counting(options.http, *this), shared.now, shared.random,
            [this](http_request r) { return serve(std::move(r), listener::open_to_all); }),
      hub_(io, options.hub, shared.now, shared.random, *this),
      subscriptions_(*this,
                     {options.limits.sync_max_events, or_none(options.limits.max_subscriptions),
                      options.ring_bytes, options.epoch}),
      ephemerals_(subscriptions_, *this),
      notifications_(*this, {options.retry_interval, options.retry_max_interval}),
      frames_(options.limits),
      frame_rate_(options.ws_frame_rate, options.ws_frame_burst),
      outbound_budget_(options.hub.outbound_max_bytes, options.outbound_total_bytes),
      bodies_(options.limits),
      ids_(shared.now, shared.random),
      timer_(io) {
  counters_.http = &http_.counters();
  counters_.hub = &hub_.counters();
  shared.counters.push_back(&counters_);
}

gateway_loop::~gateway_loop() { std::erase(shared_.counters, &counters_); }

boost::system::error_code gateway_loop::listen(const asio::ip::tcp::endpoint& where) {
  auto failed = http_.listen(where);
  if (!failed) schedule_tick();
  return failed;
}

void gateway_loop::stop() {
  stopping_ = true;
  timer_.cancel();
}

// ---- HTTP -------------------------------------------------------------------------------------------------------

gateway_loop::response gateway_loop::handle(http_request request, listener from,
                                            const route*& matched,
                                            actors::tenant_snapshot_ptr& tenant) {
  request_context r;
  r.http = std::move(request);
  auto match = find_route(r.http.method, r.http.segments);
  r.dialect = match.dialect;
  if (r.http.path == "*") co_return json_response(204, {});  // OPTIONS of the server itself
  if (!match.path_known || !serves(*match.any, r.http, from)) co_return fail(r, not_found("path"));
  matched = match.found;
  if (r.http.method == "OPTIONS") {
    auto response = json_response(204, {});
    response.headers.emplace_back("Allow", match.allow);
    if (is_preflight(r.http)) {
      const bool allowed = origin_may_ask(r.http, options_.ws_allowed_origins, shared_.origins);
      for (auto& h : preflight_headers(r.http, allowed, match.allow))
        response.headers.push_back(std::move(h));
    }
    co_return response;
  }
  if (match.found == nullptr) {
    auto response =
        fail(r, error{error_code::method_not_allowed, "this path does not know the method"});
    response.headers.emplace_back("Allow", match.allow);
    co_return response;
  }
  r.parameters = std::move(match.parameters);
  const auto who = match.found->who;
  if (who != who_may::anyone) {
    auto given = credential_of(r.http);
    if (!given) co_return fail(r, given.error());
    auto judging = authenticate(std::move(*given));
    auto known = co_await std::move(judging);
    if (!known) co_return fail(r, known.error());
    r.who = std::move(*known);
    tenant = r.who.tenant;
    // A credential of the wrong kind is none for this path.
    if (r.who.is_operator != (who == who_may::operator_only))
      co_return fail(r, authentication_failed());
  }
  auto answering = answer(r, *match.found);
  auto response = co_await std::move(answering);
  if (who != who_may::anyone) response.headers.emplace_back("Cache-Control", "no-store");
  if (r.who.tenant) append_rate(response, *r.who.tenant);
  co_return response;
}

gateway_loop::response gateway_loop::answer(request_context& r, const route& path) {
  const auto who = path.who;
  if (who != who_may::anyone) {
    if (r.who.tenant && path.is_counted) {
      if (const auto refused = shared_.traffic.admit_request(*r.who.tenant, shared_.now.mono()))
        co_return fail(r, *refused);
    }
    if (who == who_may::user && !r.who.user)
      co_return fail(r, invalid("user_id", "this call is a user's: name one"));
    if ((who == who_may::backend && r.who.user) || (who == who_may::api_key && r.who.is_token)) {
      co_return fail(r, error{error_code::authorization, "only the tenant's backend may do this"});
    }
    if (!r.http.body.empty()) {
      auto type = r.http.header("content-type");
      type = type.substr(0, type.find(';'));
      while (type.ends_with(' ')) type.remove_suffix(1);
      const bool json =
          std::equal(type.begin(), type.end(), std::string_view{"application/json"}.begin(),
                     std::string_view{"application/json"}.end(),
                     [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; });
      if (!json)
        co_return fail(
            r, error{error_code::unsupported_media_type, "the body must be application/json"});
    }
  }
  auto handling = path.handler(*this, r);
  co_return co_await std::move(handling);
}

void gateway_loop::append_rate(http_response& to, const actors::tenant_snapshot& tenant) const {
  const auto rate = shared_.traffic.rate_of(tenant, shared_.now.mono());
  if (rate.limit == 0) return;
  const auto full_at = std::chrono::ceil<std::chrono::seconds>(
      shared_.now.now().time_since_epoch() +
      std::chrono::ceil<std::chrono::milliseconds>(rate.refill));
  to.headers.emplace_back("X-RateLimit-Limit", std::to_string(rate.limit));
  to.headers.emplace_back("X-RateLimit-Remaining", std::to_string(rate.remaining));
  to.headers.emplace_back("X-RateLimit-Reset", std::to_string(full_at.count()));
}

std::optional<error> gateway_loop::count_failure(const http_request& from) {
  return shared_.traffic.failed_authentication(from.peer, shared_.now.mono());
}

std::optional<error> gateway_loop::admit_message(const actors::tenant_snapshot& tenant,
                                                 const user_id* user) {
  return shared_.traffic.admit_messages(tenant, user, 1, shared_.now.mono()).refused;
}

actors::credit_ptr gateway_loop::take_credit(const actors::tenant_snapshot& tenant,
                                             std::size_t bytes, error& why) {
  // A queue that is too old is full, whatever its length (SPEC 2.8).
  if (shared_.gauges.commit_queue_age_ms.load(std::memory_order_relaxed) >
      options_.limits.max_commit_queue.count()) {
    counters_.refuse(refused_by::max_commit_queue);
    why = unavailable("the writer is overloaded", retry_when_full);
    return nullptr;
  }
  const actors::admission* full = nullptr;
  auto credit = actors::admission::try_take_both(tenant.budget, shared_.budget, bytes, &full);
  if (!credit) {
    counters_.refuse(full == shared_.budget.get() ? refused_by::admission_node
                                                  : refused_by::admission_tenant);
    why = unavailable(full == shared_.budget.get()
                          ? "too many messages are on their way"
                          : "too many messages of this tenant are on their way",
                      retry_when_full);
  }
  return credit;
}

asio::awaitable<actors::room_outcome> gateway_loop::command(request_context& r, room_id room,
                                                            decltype(actors::room_command::what) what,
                                                            std::size_t credit_bytes) {
  const bool is_message = std::holds_alternative<actors::send_command>(what);
  const bool is_send = is_message || std::holds_alternative<actors::edit_message_command>(what) ||
                       std::holds_alternative<actors::delete_message_command>(what);
  if (is_send) {
    if (auto refused = admit_message(*r.who.tenant, r.who.user ? &*r.who.user : nullptr))
      co_return std::move(*refused);
  }
  auto m = std::make_shared<actors::room_command>();
  m->what = std::move(what);
  error why;
  m->credit = take_credit(*r.who.tenant, credit_bytes + 512, why);
  if (!m->credit) {
    if (is_send) why.stored = stored_state::no;
    co_return why;
  }
  const auto call = calls_.begin();
  m->room = {r.who.tenant->no, room};
  m->to = {no_, call};
  m->who = {r.who.user};
  bus_.to_directory(std::move(m));
  auto answer = co_await calls_.wait(call, options_.limits.request_timeout);
  auto* outcome = std::get_if<actors::room_outcome>(&answer);
  if (outcome == nullptr) co_return timed_out(is_send);
  if (is_send) count_outcome(r.who.tenant.get(), *outcome, is_message);
  co_return std::move(*outcome);
}

asio::awaitable<std::vector<actors::room_outcome>> gateway_loop::commands(
    request_context& r, std::vector<std::pair<room_id, actors::send_command>> sends) {
  std::vector<actors::room_outcome> out;
  out.reserve(sends.size());
  const auto deadline = shared_.now.mono() + options_.limits.request_timeout;
  const auto verdict =
      shared_.traffic.admit_messages(*r.who.tenant, r.who.user ? &*r.who.user : nullptr,
                                     static_cast<std::uint32_t>(sends.size()), shared_.now.mono());
  const auto asked_for = sends.size();
  sends.erase(sends.begin() + verdict.admitted, sends.end());  // those are too many
  std::size_t next = 0;
  while (next < sends.size()) {
    // A window of so many rooms at most, so that one request does not load a thousand at once.
    std::unordered_set<room_id> rooms;
    std::vector<std::pair<actors::call_no, std::optional<error>>> asked;
    for (; next < sends.size() && asked.size() < batch_window; ++next) {
      auto& [room, what] = sends[next];
      if (!rooms.contains(room) && rooms.size() == batch_rooms_at_once) break;
      rooms.insert(room);
      error why;
      auto credit =
          take_credit(*r.who.tenant, what.content.size() + what.meta.value.size() + 512, why);
      if (!credit) {
        why.stored = stored_state::no;
        asked.emplace_back(actors::call_no{}, std::move(why));
        continue;
      }
      auto m = std::make_shared<actors::room_command>();
      const auto call = calls_.begin();
      m->room = {r.who.tenant->no, room};
      m->to = {no_, call};
      m->who = {r.who.user};
      m->credit = std::move(credit);
      m->what = std::move(what);
      asked.emplace_back(call, std::nullopt);
      bus_.to_directory(std::move(m));
    }
    for (auto& [call, refused] : asked) {
      if (refused) {
        out.emplace_back(std::move(*refused));
        continue;
      }
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - shared_.now.mono());
      auto answer = co_await calls_.wait(call, std::max(std::chrono::milliseconds{1}, left));
      auto* outcome = std::get_if<actors::room_outcome>(&answer);
      if (outcome == nullptr) {
        out.emplace_back(timed_out(true));
      } else {
        count_outcome(r.who.tenant.get(), *outcome, true);
        out.push_back(std::move(*outcome));
      }
    }
  }
  while (out.size() < asked_for) out.emplace_back(*verdict.refused);
  co_return out;
}

asio::awaitable<actors::read_result> gateway_loop::read(tenant_no tenant, actors::read_query q) {
  const auto call = calls_.begin();
  if (!bus_.read(call, tenant, std::move(q))) {
    counters_.refuse(refused_by::reader_queue);
    calls_.complete(call, std::make_shared<const actors::read_result>(
                              unavailable("the readers are busy", retry_when_full)));
  }
  auto answer = co_await calls_.wait(call, options_.limits.request_timeout);
  auto* found = std::get_if<std::shared_ptr<const actors::read_result>>(&answer);
  if (found == nullptr) co_return timed_out(false);
  co_return **found;
}

asio::awaitable<result<store::created_room>> gateway_loop::create_room(store::new_room room) {
  const auto call = calls_.begin();
  bus_.to_storage(std::make_shared<const actors::create_room>(
      actors::create_room{{no_, call}, std::move(room)}));
  auto answer = co_await calls_.wait(call, options_.limits.request_timeout);
  const auto* made = std::get_if<actors::created_ptr>(&answer);
  if (made == nullptr) co_return timed_out(false);
  if (const auto* failed = std::get_if<error>(&(*made)->outcome)) co_return *failed;
  co_return std::get<store::created_room>((*made)->outcome);
}

asio::awaitable<result<tenant_no>> gateway_loop::create_tenant(store::new_tenant tenant) {
  const auto call = calls_.begin();
  bus_.to_storage(std::make_shared<const actors::create_tenant>(
      actors::create_tenant{{no_, call}, std::move(tenant)}));
  auto answer = co_await calls_.wait(call, options_.limits.request_timeout);
  const auto* made = std::get_if<actors::tenant_created_ptr>(&answer);
  if (made == nullptr) co_return timed_out(false);
  if (const auto* failed = std::get_if<error>(&(*made)->outcome)) co_return *failed;
  co_return std::get<tenant_no>((*made)->outcome);
}

asio::awaitable<result<actors::cursors_stored_ptr>> gateway_loop::move_cursors(
    user_key user, bool read, std::vector<std::pair<room_id, room_seq>> rooms) {
  const auto call = calls_.begin();
  bus_.to_directory(std::make_shared<const actors::move_cursors>(
      actors::move_cursors{std::move(user), {no_, call}, std::nullopt, read, std::move(rooms)}));
  auto answer = co_await calls_.wait(call, options_.limits.request_timeout);
  const auto* moved = std::get_if<actors::cursors_stored_ptr>(&answer);
  if (moved == nullptr) co_return timed_out(false);
  co_return *moved;
}

// ---- WebSocket: coming ------------------------------------------------------------------------------------------

namespace {

struct ws_query {
  sync_mode mode = sync_mode::automatic;
  std::string device{};  ///< empty: none
  bool explicit_acks = false;
};

result<ws_query> ws_query_of(const http_request& http) {
  ws_query out;
  if (const auto sync = http.query_value("sync")) {
    if (*sync == "manual") {
      out.mode = sync_mode::manual;
    } else if (*sync != "auto") {
      return invalid("sync", "auto or manual");
    }
  }
  if (const auto device = http.query_value("device_id")) {
    if (device->empty() || device->size() > limits::device_id_max_bytes)
      return invalid("device_id", "1 to 64 bytes");
    out.device = *device;
  }
  if (const auto acks = http.query_value("notifications")) {
    if (*acks != "ack") return invalid("notifications", "ack, or not given");
    out.explicit_acks = true;
  }
  return out;
}

}  // namespace

gateway_loop::response gateway_loop::upgrade(request_context& r) {
  if (!r.http.upgrade_websocket) {
    co_return fail(r, error{error_code::upgrade_required, "this path speaks WebSocket only"});
  }
  if (shared_.closing)
    co_return fail(r, unavailable("the node is going down", std::chrono::milliseconds{1000}));
  if (const auto refused = shared_.traffic.admit_connect(shared_.now.mono()))
    co_return fail(r, *refused);
  if (!origin_may_ask(r.http, options_.ws_allowed_origins, shared_.origins)) {
    co_return fail(r, error{error_code::authorization, "this origin is not allowed"});
  }
  const auto query = ws_query_of(r.http);
  if (!query) co_return fail(r, query.error());
  auto given = credential_of(r.http, {true, options_.ws_jwt_in_query});
  if (!given) co_return fail(r, given.error());
  auto slot = shared_.traffic.take_slot(r.http.peer);
  if (!slot) co_return fail(r, slot.error());
  unnamed_connection brought{query->device, {}, {}, false, query->explicit_acks};
  identity who;
  if (std::holds_alternative<no_credential>(*given)) {
    if (options_.ws_max_unauthenticated != 0 &&
        shared_.unauthenticated.load(std::memory_order_relaxed) >=
            static_cast<std::int64_t>(options_.ws_max_unauthenticated)) {
      counters_.refuse(refused_by::ws_max_unauthenticated);
      co_return fail(
          r, unavailable("too many connections have not said who they are", retry_when_full));
    }
    brought.upgrade.headers = r.http.headers;
    brought.upgrade.peer = r.http.peer;
  } else {
    auto judging = authenticate(std::move(*given));
    auto known = co_await std::move(judging);
    if (!known) co_return fail(r, known.error());
    // A socket is a user's: the operator has none, and the bare backend must name one.
    if (known->is_operator || !known->user) co_return fail(r, authentication_failed());
    if (!origin_may_ask(r.http, options_.ws_allowed_origins, known->tenant->config.allowed_origins))
      co_return fail(r, error{error_code::authorization, "this origin is not allowed"});
    if (const auto full = (*slot)->join(*known->tenant)) co_return fail(r, *full);
    who = std::move(*known);
  }
  http_response response;
  if (const auto chosen = chosen_subprotocol(r.http); !chosen.empty())
    response.headers.emplace_back("Sec-WebSocket-Protocol", chosen);
  response.upgraded = [this, who = std::move(who), mode = query->mode, brought = std::move(brought),
                       slot = std::move(*slot)](asio::ip::tcp::socket socket, std::string early) {
    adopt(std::move(socket), std::move(early), who, mode, brought, slot);
  };
  co_return response;
}

void gateway_loop::adopt(asio::ip::tcp::socket socket, std::string early, const identity& who,
                         sync_mode mode, unnamed_connection brought, connection_slot_ptr slot) {
  const auto c = hub_.adopt(std::move(socket), std::move(early));
  ws_connection conn;
  conn.slot = std::move(slot);
  conn.mode = mode;
  conn.explicit_acks = brought.explicit_acks;
  shared_.connections.fetch_add(1, std::memory_order_relaxed);
  if (!who.tenant) {
    // Nothing in the upgrade: an `auth` frame must come in time (SPEC 3).
    conn.auth_until = shared_.now.mono() + options_.auth_frame_timeout;
    shared_.unauthenticated.fetch_add(1, std::memory_order_relaxed);
    connections_.emplace(c, std::move(conn));
    unnamed_.emplace(c, std::move(brought));
    return;
  }
  const auto it = connections_.emplace(c, std::move(conn)).first;
  hub_.pause_reading(c);  // until the session has taken it
  name(c, it->second, who, std::move(brought.device));
}

void gateway_loop::name(connection_no c, ws_connection& conn, const identity& who,
                        std::string device) {
  // It may have been revoked while this credential was being judged, or while its 101 was being written.
  const auto tenant = shared_.tenants.find(who.tenant->no);
  const user_key user{tenant->no, *who.user};
  if (tenant->disabled) {
    hub_.close(c, close_code::tenant_gone);
  } else if (!has_key(*tenant, who.key) || is_revoked(user, who)) {
    hub_.close(c, close_code::revoked);
  }
  conn.tenant = tenant;
  conn.user = *who.user;
  conn.key = who.key;
  conn.is_token = who.is_token;
  conn.issued_at = who.issued_at;
  conn.expires_at = who.expires_at;
  conn.paused = true;
  watch_expiry(c, conn);
  const auto limit =
      tenant->config.max_connections_per_user.value_or(options_.limits.max_connections_per_user);
  // Registered here before anything is read (DESIGN 3.6).
  subscriptions_.add(ref_of(c), user, conn.mode);
  bus_.to_directory(std::make_shared<const actors::attach>(
      actors::attach{user, no_, ref_of(c), limit, std::move(device)}));
}

void gateway_loop::on(const actors::attached& m) {
  const auto c = number_of(m.connection);
  const auto it = connections_.find(c);
  if (it == connections_.end()) return;
  if (m.refused != close_code::none) {
    if (m.refused == close_code::policy_violation)
      counters_.refuse(refused_by::max_connections_per_user);
    hub_.close(c, m.refused);
    return;
  }
  it->second.open = true;
  it->second.paused = false;
  say_hello(c, it->second);
  unnamed_.erase(c);
  it->second.shows = notifications_.shows(it->second.tenant->no);
  subscriptions_.start(m.connection);
  if (it->second.mode == sync_mode::manual)
    start_notifications(c, it->second, notifications_.may_wait(it->second.tenant->no));
  hub_.resume_reading(c);
}

void gateway_loop::say_hello(connection_no c, const ws_connection& conn) {
  ++counters_.opened;
  const auto id = ids_.next().to_string();
  const auto brought = unnamed_.find(c);
  reply(c, [&](std::string& out) {
    append_hello(out, {.server_version = options_.server_version,
                       .connection_id = id,
                       .tenant_id = conn.tenant->id.view(),
                       .user_id = conn.user.view(),
                       .epoch = options_.epoch.view(),
                       .server_time = shared_.now.now(),
                       .expires_at = conn.expires_at,
                       .heartbeat = options_.hub.ping_interval,
                       .max_frame = options_.limits.ws_max_frame,
                       .max_content = options_.limits.max_content,
                       .max_meta = options_.limits.max_meta,
                       .sync_max_events = options_.limits.sync_max_events,
                       .frames_per_s = options_.ws_frame_rate,
                       .request_id = brought == unnamed_.end() ? std::string_view{}
                                                               : brought->second.request_id});
  });
}

// ---- WebSocket: frames --------------------------------------------------------------------------------------------

void gateway_loop::send_scratch(connection_no c) {
  hub_.send(c, make_text_frame(scratch_));
  // Replies are owed whatever else waits; but who asks without reading may not use up what all share.
  if (options_.outbound_total_bytes != 0 &&
      hub_.outbound_bytes_total() >= options_.outbound_total_bytes &&
      hub_.outbound_bytes(c) > options_.hub.control_reserve_bytes) {
    hub_.close(c, close_code::try_again_later);
  }
}

void gateway_loop::reply_error(connection_no c, const reply_refs& refs, const error& why) {
  ++counters_.ws_errors[static_cast<std::size_t>(why.code)];
  count_refusal(why);
  reply(c, [&](std::string& out) { append_error_frame(out, refs, why); });
}

void gateway_loop::on_text(connection_no c, std::string_view text) {
  const auto it = connections_.find(c);
  if (it == connections_.end()) return;
  auto parsed = frames_.parse(text);
  const auto* understood = std::get_if<client_frame>(&parsed);
  ++counters_.frames[understood != nullptr ? understood->command.index() : frame_kinds - 1];
  auto& conn = it->second;
  if (!conn.tenant) {
    // Only `auth` may come first (SPEC 3).
    auto* frame = std::get_if<client_frame>(&parsed);
    const auto& refs = frame != nullptr ? frame->refs : std::get<rejected_frame>(parsed).refs;
    auto* auth = frame == nullptr ? nullptr : std::get_if<auth_frame>(&frame->command);
    auto& unnamed = unnamed_.at(c);
    if (auth == nullptr || auth->refresh || unnamed.asking) {
      reply_error(c, refs, authentication_failed());
      hub_.close(c, close_code::authentication_failed);
      return;
    }
    unnamed.asking = true;
    hub_.pause_reading(c);
    asio::co_spawn(io_, first_frame(c, refs, std::move(auth->token)), asio::detached);
    return;
  }
  if (!conn.open) return;  // refused by its session: it is closing
  notifications_.heard(ref_of(c));
  if (!keeps_the_rate(c, conn, parsed)) return;
  if (const auto* rejected = std::get_if<rejected_frame>(&parsed)) {
    reply_error(c, rejected->refs, rejected->why);
    return;
  }
  on_command(c, conn, std::get<client_frame>(parsed));
}

bool gateway_loop::keeps_the_rate(connection_no c, ws_connection& conn,
                                  const std::variant<client_frame, rejected_frame>& parsed) {
  if (options_.ws_frame_rate == 0) return true;
  const auto* frame = std::get_if<client_frame>(&parsed);
  // Of cursors and typing the latest wins; they cost nothing (SPEC 4).
  if (frame != nullptr && (std::holds_alternative<cursor_frame>(frame->command) ||
                           std::holds_alternative<typing_frame>(frame->command))) {
    return true;
  }
  const auto now = shared_.now.mono();
  if (frame_rate_.admit(conn.frames, now)) return true;
  error why{error_code::rate_limit, "more frames than this connection may send"};
  why.retry_after = std::chrono::ceil<std::chrono::milliseconds>(frame_rate_.wait(conn.frames, now));
  if (frame != nullptr ? is_send(frame->command)
                       : std::get<rejected_frame>(parsed).why.stored != stored_state::not_a_send) {
    why.stored = stored_state::no;
  }
  shared_.flooding_closed.fetch_add(1, std::memory_order_relaxed);
  counters_.refuse(refused_by::ws_frame_rate);
  reply_error(c, frame != nullptr ? frame->refs : std::get<rejected_frame>(parsed).refs, why);
  hub_.close(c, close_code::flooding);
  return false;
}

void gateway_loop::on_command(connection_no c, ws_connection& conn, client_frame& frame) {
  const auto& refs = frame.refs;
  struct visitor {
    gateway_loop& self;
    connection_no c;
    ws_connection& conn;
    const reply_refs& refs;
    void operator()(send_message_frame& m) const { self.on_send(c, conn, refs, m); }
    void operator()(cursor_frame& m) const { self.on_cursor(c, conn, refs, m); }
    void operator()(sync_frame& m) const {
      self.subscriptions_.sync(ref_of(c), refs, std::move(m));
    }
    void operator()(subscribe_frame& m) const {
      self.subscriptions_.subscribe(ref_of(c), refs, m.room);
    }
    void operator()(unsubscribe_frame& m) const {
      self.subscriptions_.unsubscribe(ref_of(c), refs, m.room);
    }
    void operator()(ping_frame&) const {
      self.reply(c, [&](std::string& out) { append_pong(out, refs, self.shared_.now.now()); });
    }
    void operator()(auth_frame& m) const {
      if (!m.refresh) {
        self.reply_error(c, refs,
                         error{error_code::conflict, "the connection is authenticated already"});
        return;
      }
      asio::co_spawn(self.io_, self.refresh(c, refs, std::move(m.token)), asio::detached);
    }
    void operator()(edit_message_frame& m) const {
      const auto bytes = m.content.size() + (m.meta ? m.meta->value.size() : 0);
      self.on_change(c, conn, refs, m.room, edit_command(m, m.client_msg_id), bytes);
    }
    void operator()(delete_message_frame& m) const {
      self.on_change(c, conn, refs, m.room, delete_command(m, m.client_msg_id), 0);
    }
    void operator()(typing_frame& m) const { self.on_typing(c, conn, refs, m); }
    void operator()(presence_set_frame& m) const { self.on_presence(c, conn, refs, m.away); }
    void operator()(notification_ack_frame& m) const { self.on_notification_ack(c, conn, refs, m); }
  };
  std::visit(visitor{*this, c, conn, refs}, frame.command);
}

actors::call_no gateway_loop::begin_ws_call(connection_no c, ws_connection& conn,
                                            const reply_refs& refs, ws_call_kind kind) {
  const actors::call_no call{++last_ws_call_};
  const auto deadline = shared_.now.mono() + options_.limits.request_timeout;
  ws_calls_.emplace(call, ws_call{c, refs, kind, deadline, conn.tenant->no});
  while (!ws_deadlines_.empty() && !ws_calls_.contains(ws_deadlines_.front().second))
    ws_deadlines_.pop_front();
  ws_deadlines_.emplace_back(deadline, call);
  if (++conn.in_flight >= in_flight_max && !conn.paused) {
    conn.paused = true;
    hub_.pause_reading(c);
  }
  return call;
}

void gateway_loop::finish_ws_call(const ws_call& call) {
  const auto it = connections_.find(call.connection);
  if (it == connections_.end()) return;
  auto& conn = it->second;
  --conn.in_flight;
  if (conn.paused && conn.in_flight <= in_flight_max / 2) {
    conn.paused = false;
    hub_.resume_reading(call.connection);
  }
}

void gateway_loop::on_send(connection_no c, ws_connection& conn, const reply_refs& refs,
                           send_message_frame& m) {
  if (const auto refused = admit_message(*conn.tenant, &conn.user)) {
    reply_error(c, refs, *refused);
    return;
  }
  error why;
  auto credit = take_credit(*conn.tenant, m.content.size() + m.meta.value.size() + 512, why);
  if (!credit) {
    why.stored = stored_state::no;
    reply_error(c, refs, why);
    return;
  }
  auto command = std::make_shared<actors::room_command>();
  command->room = {conn.tenant->no, m.room};
  command->to = {no_, begin_ws_call(c, conn, refs, ws_call_kind::send)};
  command->who = {conn.user};
  command->credit = std::move(credit);
  actors::send_command what;
  what.sender = conn.user;
  if (!m.client_msg_id.empty()) {
    what.key = hash128_of(m.client_msg_id);
    what.body = body_hash(m);  // compared only for a repeated key
  }
  what.content = std::move(m.content);
  what.meta = std::move(m.meta);
  what.client_msg_id = std::move(m.client_msg_id);
  what.reply_to = m.reply_to;
  command->what = std::move(what);
  bus_.to_directory(std::move(command));
}

/// Its message says that it types no more. A refused one does not.
void gateway_loop::end_typing(const ws_call& call) {
  const auto it = connections_.find(call.connection);
  if (it == connections_.end() || shared_.now.mono() >= it->second.typing_until) return;
  if (const auto room = room_id::parse(call.refs.room_id)) {
    bus_.to_directory(std::make_shared<const actors::type_in_room>(
        actors::type_in_room{{it->second.tenant->no, it->second.user},
                             {no_, {}},
                             ref_of(call.connection),
                             *room,
                             actors::type_in_room::action::sent}));
  }
}

void gateway_loop::on_typing(connection_no c, ws_connection& conn, const reply_refs& refs,
                             const typing_frame& m) {
  using action = actors::type_in_room::action;
  if (m.start) conn.typing_until = shared_.now.mono() + options_.typing_timeout;
  const auto call = begin_ws_call(c, conn, refs, ws_call_kind::session);
  bus_.to_directory(std::make_shared<const actors::type_in_room>(
      actors::type_in_room{{conn.tenant->no, conn.user},
                           {no_, call},
                           ref_of(c),
                           m.room,
                           m.start ? action::start : action::stop}));
}

void gateway_loop::on_presence(connection_no c, ws_connection& conn, const reply_refs& refs,
                               bool away) {
  const auto call = begin_ws_call(c, conn, refs, ws_call_kind::session);
  bus_.to_directory(std::make_shared<const actors::set_presence>(
      actors::set_presence{{conn.tenant->no, conn.user}, {no_, call}, ref_of(c), away}));
}

/// An edit or a delete.
void gateway_loop::on_change(connection_no c, ws_connection& conn, const reply_refs& refs,
                             room_id room, decltype(actors::room_command::what) what,
                             std::size_t bytes) {
  if (const auto refused = admit_message(*conn.tenant, &conn.user)) {
    reply_error(c, refs, *refused);
    return;
  }
  error why;
  auto credit = take_credit(*conn.tenant, bytes + change_credit_bytes() + 512, why);
  if (!credit) {
    why.stored = stored_state::no;
    reply_error(c, refs, why);
    return;
  }
  auto command = std::make_shared<actors::room_command>();
  command->room = {conn.tenant->no, room};
  command->to = {no_, begin_ws_call(c, conn, refs, ws_call_kind::change)};
  command->who = {conn.user};
  command->credit = std::move(credit);
  command->what = std::move(what);
  bus_.to_directory(std::move(command));
}

void gateway_loop::on_cursor(connection_no c, ws_connection& conn, const reply_refs& refs,
                             cursor_frame& m) {
  const auto call = begin_ws_call(c, conn, refs, ws_call_kind::cursor);
  bus_.to_directory(std::make_shared<const actors::move_cursors>(actors::move_cursors{
      {conn.tenant->no, conn.user}, {no_, call}, ref_of(c), m.read, std::move(m.rooms)}));
}

void gateway_loop::answer_send(const ws_call& call, const actors::room_outcome& outcome) {
  if (const auto* sent = std::get_if<actors::send_result>(&outcome)) {
    const auto it = connections_.find(call.connection);
    const bool is_open = it != connections_.end();
    const auto of_gone = is_open ? nullptr : shared_.tenants.find(call.tenant);
    count_outcome(is_open ? it->second.tenant.get() : of_gone.get(), outcome,
                  call.kind == ws_call_kind::send);
    if (call.kind == ws_call_kind::send) end_typing(call);
    reply(call.connection,
          [&](std::string& out) { append_accepted(out, call.refs, sent->accepted); });
  } else {
    reply_error(call.connection, call.refs, std::get<error>(outcome));
  }
}

void gateway_loop::answer_cursors(const ws_call& call, const actors::cursors_stored& m) {
  // One frame a room; of a frame with several rooms only the last carries the request id, so that it has one reply.
  const auto user = m.moves->user.user.view();
  for (std::size_t at = 0; at < m.rooms.size(); ++at) {
    const auto& one = m.rooms[at];
    reply_refs refs;
    if (at + 1 == m.rooms.size()) refs.request_id = call.refs.request_id;
    if (const auto* state = std::get_if<store::cursor_state>(&one.outcome)) {
      const auto seq = m.moves->read ? state->last_read : state->last_ack;
      reply(call.connection, [&](std::string& out) {
        append_cursor_received(out, refs, m.moves->read, one.room, seq, user);
      });
    } else {
      one.room.id.append_to(refs.room_id);
      reply_error(call.connection, refs, std::get<error>(one.outcome));
    }
  }
}

// ---- from the actors ------------------------------------------------------------------------------------------------

void gateway_loop::on(const actors::replies_ptr& m) {
  for (const auto& item : m->items) {
    if ((item.call.value & call_table::call_bit) != 0) {
      calls_.complete(item.call, item.outcome);
      continue;
    }
    const auto it = ws_calls_.find(item.call);
    if (it == ws_calls_.end()) {
      ++late_answers_;
      continue;
    }
    const auto call = std::move(it->second);
    ws_calls_.erase(it);
    answer_send(call, item.outcome);
    finish_ws_call(call);
  }
}

void gateway_loop::on(const actors::cursors_stored_ptr& m) {
  const auto no = m->moves->to.call;
  if ((no.value & call_table::call_bit) != 0) {
    calls_.complete(no, m);
    return;
  }
  const auto it = ws_calls_.find(no);
  if (it == ws_calls_.end()) {
    ++late_answers_;
    return;
  }
  const auto call = std::move(it->second);
  ws_calls_.erase(it);
  answer_cursors(call, *m);
  finish_ws_call(call);
}

void gateway_loop::on(const actors::receipt_ptr& m) {
  const auto c = number_of(m->connection);
  const auto it = connections_.find(c);
  if (it == connections_.end() || !it->second.open) return;
  // Ephemeral: for a reader that is behind it is dropped (SPEC 2.6).
  for (const auto& [room, seq] : m->rooms) {
    scratch_.clear();
    append_cursor_received(scratch_, {}, m->read, room, seq, m->user.view());
    ephemerals_.send(m->connection, make_text_frame(scratch_));
  }
}

void gateway_loop::on(const actors::cursors_shown_ptr& m) { ephemerals_.on(m); }
void gateway_loop::on(const actors::presence_shown_ptr& m) { ephemerals_.on(m); }
void gateway_loop::on(const actors::typing_shown_ptr& m) { ephemerals_.on(m); }

void gateway_loop::on(const actors::session_done_ptr& m) {
  const auto it = ws_calls_.find(m->call);
  if (it == ws_calls_.end()) {
    ++late_answers_;
    return;
  }
  const auto call = std::move(it->second);
  ws_calls_.erase(it);
  if (m->failure) {
    reply_error(call.connection, call.refs, *m->failure);
  } else if (!call.refs.request_id.empty()) {  // `ok` if asked
    reply(call.connection, [&](std::string& out) { append_ok(out, call.refs); });
  }
  finish_ws_call(call);
}

void gateway_loop::on(const actors::close_connection& m) {
  hub_.close(number_of(m.connection), m.code);
}

void gateway_loop::on(const actors::room_rewritten& m) { subscriptions_.on(m); }

void gateway_loop::on(const actors::publish_ptr& m) {
  in_pass_.push_back(m);
  subscriptions_.on(m);
  wake();
}

void gateway_loop::on(const actors::session_lost& m) {
  for (const auto c : subscriptions_.connections_of(m.user))
    hub_.close(number_of(c), close_code::internal_error);
}

void gateway_loop::on(const actors::created_ptr& m) { calls_.complete(m->call, m); }
void gateway_loop::on(const actors::tenant_created_ptr& m) { calls_.complete(m->call, m); }

void gateway_loop::on(actors::call_no call, std::shared_ptr<const actors::read_result> result) {
  if ((call.value & call_table::call_bit) != 0) {
    calls_.complete(call, std::move(result));
  } else if ((call.value & notification_call_bit) != 0) {
    notifications_.on(call, *result);
  } else {
    subscriptions_.on(call, *result);
  }
}

// ---- delivery ---------------------------------------------------------------------------------------------------

void gateway_loop::send(connection_ref c, const frame_ptr& f) { hub_.send(number_of(c), f); }
std::size_t gateway_loop::space(connection_ref c) const {
  return hub_.outbound_space(number_of(c));
}
bool gateway_loop::takes(connection_ref c, std::size_t bytes) {
  const auto no = number_of(c);
  const auto verdict =
      outbound_budget_.judge({hub_.outbound_bytes(no), hub_.outbound_bytes_total()}, bytes);
  if (verdict == outbound_budget::verdict::wait_until_empty) hub_.tell_when_empty(no);
  return verdict == outbound_budget::verdict::take;
}
bool gateway_loop::read(call_no call, tenant_no tenant, actors::read_query q) {
  return bus_.read(call, tenant, std::move(q));
}

bool gateway_loop::keeps_up(connection_ref c) const {
  // Ephemerals go first: as soon as a log entry would have to wait, or nearly so.
  const auto own = hub_.outbound_bytes(number_of(c));
  return own <= options_.hub.outbound_max_bytes / 2 &&
         outbound_budget_.judge({own, hub_.outbound_bytes_total()}, own + 1) ==
             outbound_budget::verdict::take;
}
void gateway_loop::send_ephemeral(connection_ref c, const frame_ptr& f) {
  hub_.send(number_of(c), f);
}

void gateway_loop::restart(connection_ref c) {
  hub_.close(number_of(c), close_code::internal_error);
}

void gateway_loop::wake() {
  if (pump_posted_) return;
  pump_posted_ = true;
  asio::post(io_, [this] { pump(); });
}

void gateway_loop::pump() {
  pump_posted_ = false;
  if (subscriptions_.run(sends_per_pass)) {
    wake();
  } else {
    in_pass_.clear();
  }
}

// ---- hub --------------------------------------------------------------------------------------------------------

void gateway_loop::on_pong(connection_no c) { notifications_.heard(ref_of(c)); }

void gateway_loop::on_drained(connection_no c) {
  subscriptions_.drained(ref_of(c));
  notifications_.drained(ref_of(c));
}

void gateway_loop::on_gone(connection_no c, close_code code) {
  ++counters_.closed[close_place(code)];
  const auto it = connections_.find(c);
  if (it == connections_.end()) return;
  shared_.connections.fetch_sub(1, std::memory_order_relaxed);
  if (it->second.tenant) {
    subscriptions_.remove(ref_of(c));
    if (it->second.notified)
      notifications_.remove(ref_of(c), {it->second.tenant->no, it->second.user});
    bus_.to_directory(std::make_shared<const actors::detach>(
        actors::detach{{it->second.tenant->no, it->second.user}, no_, ref_of(c)}));
  } else {
    shared_.unauthenticated.fetch_sub(1, std::memory_order_relaxed);
  }
  unnamed_.erase(c);
  connections_.erase(it);
}

// ---- time -------------------------------------------------------------------------------------------------------

void gateway_loop::schedule_tick() {
  timer_.expires_after(tick_interval);
  timer_.async_wait([this](const boost::system::error_code& failed) {
    if (failed || stopping_) return;
    tick();
    schedule_tick();
  });
}

/// What this gateway has counted since the last time, for all to see.
void gateway_loop::count_ephemerals() {
  const auto& c = ephemerals_.counters();
  shared_.ephemerals_sent.fetch_add(c.sent - ephemerals_counted_.sent, std::memory_order_relaxed);
  shared_.ephemerals_dropped.fetch_add(c.dropped() - ephemerals_counted_.dropped(),
                                       std::memory_order_relaxed);
  ephemerals_counted_ = c;
}

void gateway_loop::tick() {
  subscriptions_.tick();
  ephemerals_.tick();
  count_ephemerals();
  show_counters();
  const auto now = shared_.now.mono();
  notifications_.tick(now);
  while (!ws_deadlines_.empty() && ws_deadlines_.front().first <= now) {
    const auto it = ws_calls_.find(ws_deadlines_.front().second);
    ws_deadlines_.pop_front();
    if (it == ws_calls_.end()) continue;
    const auto call = std::move(it->second);
    ws_calls_.erase(it);
    ++counters_.timeouts;
    reply_error(call.connection, call.refs,
                timed_out(call.kind == ws_call_kind::send || call.kind == ws_call_kind::change));
    finish_ws_call(call);
  }
  // Once a second is enough for the hub, unless its deadlines are shorter than people set them.
  const bool is_second = ++ticks_ % ticks_per_second == 0;
  if (is_second || std::min(options_.hub.ping_interval, options_.hub.stall_timeout) < hub_ticks_above)
    hub_.tick();
  if (!is_second) return;
  tell_expiries();
  if (shared_.unauthenticated.load(std::memory_order_relaxed) == 0) return;
  std::vector<connection_no> late;
  for (const auto& [c, conn] : connections_) {
    if (!conn.tenant && conn.auth_until <= now) late.push_back(c);
  }
  for (const auto c : late) hub_.close(c, close_code::no_auth_frame);
}

// ---- drain ------------------------------------------------------------------------------------------------------

void gateway_loop::stop_accepting() {
  http_.stop_accepting();
  http_.close_idle();
  end_webhook_calls();
}

void gateway_loop::announce_shutdown(std::chrono::milliseconds window) {
  // Spread evenly: the n-th of all gets its own share of the window, in an order nobody chose.
  const auto total = std::max<std::int64_t>(1, static_cast<std::int64_t>(connections_.size()));
  std::int64_t n = 0;
  for (const auto& [c, conn] : connections_) {
    const std::chrono::milliseconds delay{window.count() * n / total};
    ++n;
    if (conn.open) reply(c, [&](std::string& out) { append_server_shutdown(out, delay); });
  }
}

std::size_t gateway_loop::in_work() const {
  return ws_calls_.size() + http_.open_requests() + (admin_http_ ? admin_http_->open_requests() : 0);
}

void gateway_loop::close_all(close_code code) {
  if (admin_http_) admin_http_->stop_accepting();  // until now it told how the drain goes
  std::vector<connection_no> all;
  all.reserve(connections_.size());
  for (const auto& [c, conn] : connections_) all.push_back(c);
  for (const auto c : all) hub_.close(c, code);
}

}  // namespace parley::net
