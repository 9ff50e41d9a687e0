#include "net/gateway_loop.hpp"

#include "actors/node_actors.hpp"
#include "net/routes.hpp"
#include "protocol/json_canonical.hpp"
#include "protocol/log.hpp"
#include "protocol/planted.hpp"
#include "protocol/server_frame.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

namespace parley::net {

namespace asio = boost::asio;

namespace {

constexpr auto tick_interval = std::chrono::milliseconds{100};
constexpr std::uint32_t ticks_per_second = 10;
constexpr std::size_t sends_per_pass = 512;  // then the loop looks at its sockets again
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

std::size_t gateway_loop::digest_hash::operator()(const sha256_digest& d) const {
  std::size_t out = 0;
  std::memcpy(&out, d.data(), sizeof out);
  return out;
}

namespace {
/// 0 means none (SPEC 4).
std::uint32_t or_none(std::uint32_t limit) {
  return limit == 0 ? std::numeric_limits<std::uint32_t>::max() : limit;
}

/// Sockets that left HTTP for the hub count against the thread's bound on connections.
http_options counting(http_options http, const gateway_loop& loop) {
  http.upgraded_open = [&loop] { return loop.connections(); };
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
      calls_(io),
      http_(io, counting(options.http, *this), shared.now, shared.random,
            [this](http_request r) { return handle(std::move(r)); }),
      hub_(io, options.hub, shared.now, shared.random, *this),
      subscriptions_(*this,
                     {options.limits.sync_max_events, or_none(options.limits.max_subscriptions),
                      options.ring_bytes, options.epoch}),
      ephemerals_(subscriptions_, *this),
      frames_(options.limits),
      frame_rate_(options.ws_frame_rate, options.ws_frame_burst),
      outbound_budget_(options.hub.outbound_max_bytes, options.outbound_total_bytes),
      bodies_(options.limits),
      ids_(shared.now, shared.random),
      timer_(io) {}

gateway_loop::~gateway_loop() = default;

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

gateway_loop::response gateway_loop::handle(http_request request) {
  request_context r;
  r.http = std::move(request);
  auto match = find_route(r.http.method, r.http.segments);
  r.dialect = match.dialect;
  if (r.http.path == "*") co_return json_response(204, {});  // OPTIONS of the server itself
  if (!match.path_known) co_return fail(r, not_found("path"));
  if (r.http.method == "OPTIONS") {
    auto response = json_response(204, {});
    response.headers.emplace_back("Allow", match.allow);
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
    const auto credential = credential_of(r.http);
    if (!credential) co_return fail(r, credential.error());
    auto known = co_await authenticate(*credential);
    if (!known) co_return fail(r, known.error());
    r.who = std::move(*known);
    // A credential of the wrong kind is none for this path.
    if (r.who.is_operator != (who == who_may::operator_only))
      co_return fail(r, authentication_failed());
    if (who == who_may::user && !r.who.user)
      co_return fail(r, invalid("user_id", "this call is a user's: name one"));
    if (who == who_may::backend && r.who.user) {
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
  auto response = co_await match.found->handler(*this, r);
  if (who != who_may::anyone) response.headers.emplace_back("Cache-Control", "no-store");
  co_return response;
}

asio::awaitable<result<identity>> gateway_loop::authenticate(const credential& c) {
  if (const auto* master = std::get_if<operator_credential>(&c)) {
    if (options_.master_key.empty() || !equal_secret(master->master_key, options_.master_key)) {
      co_return authentication_failed();
    }
    identity who;
    who.is_operator = true;
    co_return who;
  }
  const auto* key = std::get_if<api_key_credential>(&c);
  if (key == nullptr) co_return authentication_failed();
  identity who;
  who.user = key->user;
  if (auto known = keys_.find(key->digest); known != keys_.end()) {
    keys_by_use_.splice(keys_by_use_.end(), keys_by_use_, known->second.by_use);
    who.tenant = known->second.tenant;
    co_return who;
  }
  const auto call = calls_.begin();
  bus_.to_directory(
      std::make_shared<const actors::authenticate>(actors::authenticate{{no_, call}, key->digest}));
  auto answer = co_await calls_.wait(call, options_.limits.request_timeout);
  const auto* said = std::get_if<actors::authenticated_ptr>(&answer);
  if (said == nullptr) co_return timed_out(false);
  if ((*said)->failure) co_return *(*said)->failure;
  if (!(*said)->tenant) co_return authentication_failed();
  who.tenant = (*said)->tenant;
  if (!keys_.contains(key->digest)) {
    keys_.emplace(key->digest,
                  known_key{who.tenant, keys_by_use_.insert(keys_by_use_.end(), key->digest)});
    if (keys_.size() > known_keys_max) {
      keys_.erase(keys_by_use_.front());
      keys_by_use_.pop_front();
    }
  }
  co_return who;
}

actors::credit_ptr gateway_loop::take_credit(const actors::tenant_snapshot& tenant,
                                             std::size_t bytes, error& why) {
  // A queue that is too old is full, whatever its length (SPEC 2.8).
  if (shared_.gauges.commit_queue_age_ms.load(std::memory_order_relaxed) >
      options_.limits.max_commit_queue.count()) {
    why = unavailable("the writer is overloaded", retry_when_full);
    return nullptr;
  }
  const actors::admission* full = nullptr;
  auto credit = actors::admission::try_take_both(tenant.budget, shared_.budget, bytes, &full);
  if (!credit) {
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
  auto m = std::make_shared<actors::room_command>();
  m->what = std::move(what);
  const bool is_send = m->is_send();
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
  co_return std::move(*outcome);
}

asio::awaitable<actors::read_result> gateway_loop::read(tenant_no tenant, actors::read_query q) {
  const auto call = calls_.begin();
  if (!bus_.read(call, tenant, std::move(q))) {
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
  return out;
}

}  // namespace

gateway_loop::response gateway_loop::upgrade(request_context& r) {
  if (!r.http.upgrade_websocket) {
    co_return fail(r, error{error_code::upgrade_required, "this path speaks WebSocket only"});
  }
  if (shared_.closing)
    co_return fail(r, unavailable("the node is going down", std::chrono::milliseconds{1000}));
  if (!origin_allowed(r.http, options_.ws_allowed_origins)) {
    co_return fail(r, error{error_code::authorization, "this origin is not allowed"});
  }
  const auto query = ws_query_of(r.http);
  if (!query) co_return fail(r, query.error());
  const auto credential = credential_of(r.http);
  if (!credential) co_return fail(r, credential.error());
  identity who;
  if (std::holds_alternative<no_credential>(*credential)) {
    if (options_.ws_max_unauthenticated != 0 &&
        shared_.unauthenticated.load(std::memory_order_relaxed) >=
            static_cast<std::int64_t>(options_.ws_max_unauthenticated)) {
      co_return fail(
          r, unavailable("too many connections have not said who they are", retry_when_full));
    }
  } else {
    auto known = co_await authenticate(*credential);
    if (!known) co_return fail(r, known.error());
    // A socket is a user's: the operator has none, and the bare backend must name one.
    if (known->is_operator || !known->user) co_return fail(r, authentication_failed());
    who = std::move(*known);
  }
  http_response response;
  response.upgraded = [this, who = std::move(who), mode = query->mode, device = query->device](
                          asio::ip::tcp::socket socket, std::string early) {
    adopt(std::move(socket), std::move(early), who, mode, device);
  };
  co_return response;
}

void gateway_loop::adopt(asio::ip::tcp::socket socket, std::string early, const identity& who,
                         sync_mode mode, std::string device) {
  const auto c = hub_.adopt(std::move(socket), std::move(early));
  ws_connection conn;
  conn.tenant = who.tenant;
  conn.mode = mode;
  shared_.connections.fetch_add(1, std::memory_order_relaxed);
  if (!who.tenant) {
    // Nothing in the upgrade: an `auth` frame must come in time (SPEC 3).
    conn.auth_until = shared_.now.mono() + options_.auth_frame_timeout;
    shared_.unauthenticated.fetch_add(1, std::memory_order_relaxed);
    connections_.emplace(c, std::move(conn));
    return;
  }
  conn.user = *who.user;
  conn.paused = true;
  hub_.pause_reading(c);  // until the session has taken it
  const user_key user{who.tenant->no, conn.user};
  const auto limit =
      who.tenant->max_connections_per_user.value_or(options_.limits.max_connections_per_user);
  connections_.emplace(c, std::move(conn));
  // Registered here before anything is read (DESIGN 3.6).
  subscriptions_.add(ref_of(c), user, mode);
  bus_.to_directory(std::make_shared<const actors::attach>(
      actors::attach{user, no_, ref_of(c), limit, std::move(device)}));
}

void gateway_loop::on(const actors::attached& m) {
  const auto c = number_of(m.connection);
  const auto it = connections_.find(c);
  if (it == connections_.end()) return;
  if (m.refused != close_code::none) {
    hub_.close(c, m.refused);
    return;
  }
  it->second.open = true;
  it->second.paused = false;
  say_hello(c, it->second);
  subscriptions_.start(m.connection);
  hub_.resume_reading(c);
}

void gateway_loop::say_hello(connection_no c, const ws_connection& conn) {
  const auto id = ids_.next().to_string();
  reply(c, [&](std::string& out) {
    append_hello(out, {.server_version = options_.server_version,
                       .connection_id = id,
                       .tenant_id = conn.tenant->id.view(),
                       .user_id = conn.user.view(),
                       .epoch = options_.epoch.view(),
                       .server_time = shared_.now.now(),
                       .expires_at = {},
                       .heartbeat = options_.hub.ping_interval,
                       .max_frame = options_.limits.ws_max_frame,
                       .max_content = options_.limits.max_content,
                       .max_meta = options_.limits.max_meta,
                       .sync_max_events = options_.limits.sync_max_events,
                       .frames_per_s = options_.ws_frame_rate});
  });
}

// ---- WebSocket: frames --------------------------------------------------------------------------------------------

template <class Append>
void gateway_loop::reply(connection_no c, Append&& append) {
  scratch_.clear();
  append(scratch_);
  hub_.send(c, make_text_frame(scratch_));
  // Replies are owed whatever else waits; but who asks without reading may not use up what all share.
  if (options_.outbound_total_bytes != 0 &&
      hub_.outbound_bytes_total() >= options_.outbound_total_bytes &&
      hub_.outbound_bytes(c) > options_.hub.control_reserve_bytes) {
    hub_.close(c, close_code::try_again_later);
  }
}

void gateway_loop::reply_error(connection_no c, const reply_refs& refs, const error& why) {
  reply(c, [&](std::string& out) { append_error_frame(out, refs, why); });
}

void gateway_loop::on_text(connection_no c, std::string_view text) {
  const auto it = connections_.find(c);
  if (it == connections_.end()) return;
  auto parsed = frames_.parse(text);
  auto& conn = it->second;
  if (!conn.tenant) {
    // Only `auth` may come first. Neither tickets nor JWTs are issued yet, so no token is good (SPEC 3).
    const auto* frame = std::get_if<client_frame>(&parsed);
    const auto& refs = frame != nullptr ? frame->refs : std::get<rejected_frame>(parsed).refs;
    reply_error(c, refs, authentication_failed());
    hub_.close(c, close_code::authentication_failed);
    return;
  }
  if (!conn.open) return;  // refused by its session: it is closing
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
      self.reply_error(
          c, refs,
          m.refresh ? error{error_code::authentication, "the token is not valid"}
                    : error{error_code::conflict, "the connection is authenticated already"});
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
    // Named by the protocol and not served by this version: the same answer as to a type that nobody knows.
    void operator()(notification_ack_frame&) const { unknown(); }
    void unknown() const { self.reply_error(c, refs, invalid("type", "unknown type")); }
  };
  std::visit(visitor{*this, c, conn, refs}, frame.command);
}

actors::call_no gateway_loop::begin_ws_call(connection_no c, ws_connection& conn,
                                            const reply_refs& refs, ws_call_kind kind) {
  const actors::call_no call{++last_ws_call_};
  const auto deadline = shared_.now.mono() + options_.limits.request_timeout;
  ws_calls_.emplace(call, ws_call{c, refs, kind, deadline});
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
    if (!sent->accepted.duplicate && call.kind == ws_call_kind::send)
      shared_.messages_accepted.fetch_add(1, std::memory_order_relaxed);
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
void gateway_loop::on(const actors::authenticated_ptr& m) { calls_.complete(m->call, m); }

void gateway_loop::on(actors::call_no call, std::shared_ptr<const actors::read_result> result) {
  if ((call.value & call_table::call_bit) != 0) {
    calls_.complete(call, std::move(result));
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

void gateway_loop::on_pong(connection_no) {}

void gateway_loop::on_drained(connection_no c) { subscriptions_.drained(ref_of(c)); }

void gateway_loop::on_gone(connection_no c, close_code) {
  const auto it = connections_.find(c);
  if (it == connections_.end()) return;
  shared_.connections.fetch_sub(1, std::memory_order_relaxed);
  if (it->second.tenant) {
    subscriptions_.remove(ref_of(c));
    bus_.to_directory(std::make_shared<const actors::detach>(
        actors::detach{{it->second.tenant->no, it->second.user}, no_, ref_of(c)}));
  } else {
    shared_.unauthenticated.fetch_sub(1, std::memory_order_relaxed);
  }
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
  const auto now = shared_.now.mono();
  while (!ws_deadlines_.empty() && ws_deadlines_.front().first <= now) {
    const auto it = ws_calls_.find(ws_deadlines_.front().second);
    ws_deadlines_.pop_front();
    if (it == ws_calls_.end()) continue;
    const auto call = std::move(it->second);
    ws_calls_.erase(it);
    reply_error(call.connection, call.refs,
                timed_out(call.kind == ws_call_kind::send || call.kind == ws_call_kind::change));
    finish_ws_call(call);
  }
  if (++ticks_ % ticks_per_second != 0) return;
  hub_.tick();
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

std::size_t gateway_loop::in_work() const { return ws_calls_.size() + http_.open_requests(); }

void gateway_loop::close_all(close_code code) {
  std::vector<connection_no> all;
  all.reserve(connections_.size());
  for (const auto& [c, conn] : connections_) all.push_back(c);
  for (const auto c : all) hub_.close(c, code);
}

}  // namespace parley::net
