#pragma once
/// One I/O thread's translation between the network and the actors: HTTP requests and WebSocket frames into messages,
/// answers and publishes back. No CAF: messages come in through on(…), go out through node_bus.
/// Owner      its I/O thread: everything here is called on the loop (`io`), nothing blocks.
/// Bound      sends of a connection in work ≤ in_flight_max (beyond: its socket is not read); all sends hold admission
///            credit; known revocations ≤ known_revocations_max.

#include "actors/messages.hpp"
#include "net/auth.hpp"
#include "net/call_table.hpp"
#include "net/cors.hpp"
#include "net/ephemerals.hpp"
#include "net/gateway_counters.hpp"
#include "net/gateway_options.hpp"
#include "net/http_server.hpp"
#include "net/limits.hpp"
#include "net/node_bus.hpp"
#include "net/notification_feed.hpp"
#include "net/outbound_budget.hpp"
#include "net/subscriptions.hpp"
#include "net/ws_hub.hpp"
#include "protocol/client_frame.hpp"
#include "protocol/gcra.hpp"
#include "protocol/rest_body.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace parley::net {

/// A request's caller, known to be who it says.
struct identity {
  bool is_operator = false;
  actors::tenant_snapshot_ptr tenant;    ///< of all but the operator
  std::optional<user_id> user;           ///< nullopt: the backend itself
  key_id key{};                          ///< the API key or JWT secret behind it
  std::optional<utc_time> issued_at{};   ///< of a JWT that says so
  std::optional<utc_time> expires_at{};  ///< of a JWT
  bool is_token = false;                 ///< a JWT: the user itself, not its backend
};

struct route;

class gateway_loop final : private hub_events,
                           private delivery_ports,
                           private ephemeral_ports,
                           private notification_ports {
 public:
  gateway_loop(boost::asio::io_context& io, actors::gateway_no no, const gateway_options& options,
               node_shared& shared, node_bus& bus);
  ~gateway_loop() override;

  /// Opens the listener and starts the tick.
  boost::system::error_code listen(const boost::asio::ip::tcp::endpoint& where);
  [[nodiscard]] boost::asio::ip::tcp::endpoint local_endpoint() const {
    return http_.local_endpoint();
  }
  /// The operator's own listener: health, metrics and /admin, for all who reach it, and nothing else.
  boost::system::error_code listen_admin(const boost::asio::ip::tcp::endpoint& where);
  [[nodiscard]] boost::asio::ip::tcp::endpoint admin_endpoint() const {
    return admin_http_ ? admin_http_->local_endpoint() : boost::asio::ip::tcp::endpoint{};
  }

  // From the actors.
  void on(const actors::replies_ptr& m);
  void on(const actors::publish_ptr& m);
  void on(const actors::room_rewritten& m);
  void on(const actors::attached& m);
  void on(const actors::created_ptr& m);
  void on(const actors::tenant_created_ptr& m);
  void on(const actors::cursors_stored_ptr& m);
  void on(const actors::receipt_ptr& m);
  void on(const actors::cursors_shown_ptr& m);
  void on(const actors::presence_shown_ptr& m);
  void on(const actors::typing_shown_ptr& m);
  void on(const actors::session_done_ptr& m);
  void on(const actors::close_connection& m);
  void on(const actors::session_lost& m);
  void on(const actors::authenticated_ptr& m);
  void on(const actors::tenant_changed_ptr& m);
  void on(const actors::tenant_updated& m);
  void on(const actors::user_revoked_ptr& m);
  void on(const actors::disconnect_user_ptr& m);
  void on(const actors::disconnected& m);
  void on(const actors::notification_created_ptr& m);
  void on(const actors::notification_shown_ptr& m);
  void on(const actors::webhook_called_ptr& m);
  void on(actors::call_no call, std::shared_ptr<const actors::read_result> result);

  // The drain (DESIGN 6), step by step; all on the loop.
  void stop_accepting();
  /// `server.shutdown` with a personal delay to each; they are served on.
  void announce_shutdown(std::chrono::milliseconds window);
  /// Requests and sends whose answer is still owed.
  [[nodiscard]] std::size_t in_work() const;
  void close_all(close_code code);
  [[nodiscard]] std::size_t connections() const { return hub_.size(); }
  /// Ends the tick, so that the loop can run dry.
  void stop();

  // For the REST handlers (rest_*.cpp).
  using response = boost::asio::awaitable<http_response>;
  struct request_context {
    http_request http;
    identity who;
    bool dialect = false;                 ///< an unprefixed path: ChatAPI's (SPEC 9)
    std::vector<std::string> parameters;  ///< of the route, decoded
  };
  [[nodiscard]] const gateway_options& options() const { return options_; }
  [[nodiscard]] node_shared& shared() { return shared_; }
  [[nodiscard]] rest_body_parser& bodies() { return bodies_; }
  [[nodiscard]] actors::gateway_no number() const { return no_; }
  /// Its outcome may be an error.
  boost::asio::awaitable<actors::room_outcome> command(request_context& r, room_id room,
                                                       decltype(actors::room_command::what) what,
                                                       std::size_t credit_bytes = 0);
  [[nodiscard]] gateway_counters& counters() { return counters_; }
  /// Of a call that is answered within another's answer (a batch), or over WebSocket.
  void count_refusal(const error& why);
  /// What an edit or delete takes beside its own bytes: a look-up brings the message as it was.
  [[nodiscard]] std::size_t change_credit_bytes() const {
    return options_.limits.max_content + options_.limits.max_meta;
  }
  boost::asio::awaitable<actors::read_result> read(tenant_no tenant, actors::read_query q);
  boost::asio::awaitable<result<store::created_room>> create_room(store::new_room room);
  boost::asio::awaitable<result<tenant_no>> create_tenant(store::new_tenant tenant);
  /// `tenant`: its number, where it is known: the change keeps its place among what the tenant asks for.
  boost::asio::awaitable<result<store::tenant_row>> change_tenant(store::tenant_change change,
                                                                  tenant_no tenant = {});
  /// The tenant of that name, known here or asked for; AUTHENTICATION_ERROR: nobody's.
  boost::asio::awaitable<result<actors::tenant_snapshot_ptr>> tenant_named(actors::tenant_name name);
  /// Closes the user's connections on all gateways (4503), and tells how many there were.
  boost::asio::awaitable<result<std::size_t>> disconnect(user_key user,
                                                         std::optional<utc_time> before);
  /// So many commands of one caller at once, answered in their order; each with its own outcome.
  boost::asio::awaitable<std::vector<actors::room_outcome>> commands(
      request_context& r, std::vector<std::pair<room_id, actors::send_command>> sends);
  boost::asio::awaitable<result<actors::cursors_stored_ptr>> move_cursors(
      user_key user, bool read, std::vector<std::pair<room_id, room_seq>> rooms);
  boost::asio::awaitable<result<store::created_notification>> create_notification(
      store::new_notification notification);
  /// About a tenant's webhook, as the operator asks. `call.to` is filled in here. NOT_FOUND: this node has no outbox.
  boost::asio::awaitable<result<actors::webhook_report>> call_webhook(actors::webhook_call call);
  /// `GET /ws`: the handshake's answer; after it the socket is a connection of this gateway.
  response upgrade(request_context& r);

  static constexpr std::size_t in_flight_max =
      256;  ///< sends of a connection in work; reading goes on at half of it
  static constexpr std::size_t known_revocations_max = 10000;

 private:
  struct ws_connection {
    actors::tenant_snapshot_ptr tenant;  ///< nullptr: not authenticated yet
    user_id user;
    sync_mode mode = sync_mode::automatic;
    std::uint32_t in_flight = 0;
    bool open = false;  ///< has its `hello`
    bool paused = false;
    mono_time auth_until{};
    gcra_state frames;
    mono_time typing_until{};  ///< it may type somewhere: a message ends that
    bool is_token = false;
    bool expiry_told = false;
    key_id key;                            ///< the credential behind it
    std::optional<utc_time> issued_at{};   ///< of its JWT
    std::optional<utc_time> expires_at{};  ///< of its JWT; then 4401
    utc_time expiry_due{};                 ///< in expiries_
    connection_slot_ptr slot{};            ///< that it counts
    bool explicit_acks = false;            ///< `notifications=ack`
    bool notified = false;                 ///< notifications_ knows it
    std::uint64_t shows = 0;               ///< of its tenant's notifications, at its `hello`
  };
  /// What a connection that has not said yet who it is brought along.
  struct unnamed_connection {
    std::string device;
    http_request upgrade{};  ///< its headers: the tenant's own origins are asked once it is known
    std::string request_id;  ///< of its `auth` frame, for its `hello`
    bool asking = false;     ///< its token is being checked
    bool explicit_acks = false;
  };
  enum class ws_call_kind : std::uint8_t { send, change, cursor, session };
  struct ws_call {
    connection_no connection;
    reply_refs refs;
    ws_call_kind kind = ws_call_kind::send;
    mono_time deadline{};
    tenant_no tenant{};
  };

  enum class listener : std::uint8_t { open_to_all, admin };
  /// handle(), and what is counted of it.
  response serve(http_request request, listener from);
  response handle(http_request request, listener from, const route*& matched,
                  actors::tenant_snapshot_ptr& tenant);
  /// The rest of it, when it is known who is calling.
  response answer(request_context& r, const route& path);
  /// SPEC 4: X-RateLimit-Limit, -Remaining, -Reset.
  void append_rate(http_response& to, const actors::tenant_snapshot& tenant) const;
  /// A failed authentication counts against the address it came from; the error is told instead, if it were too many.
  [[nodiscard]] std::optional<error> count_failure(const http_request& from);
  /// A send, edit or delete is about to be done; the error: it may not.
  [[nodiscard]] std::optional<error> admit_message(const actors::tenant_snapshot& tenant,
                                                   const user_id* user);
  /// The path exists for whoever asks here.
  [[nodiscard]] bool serves(const route& path, const http_request& request, listener from) const;
  void count_answer(const route* matched, const http_response& response, mono_time began);
  /// Of a send (`is_message`), edit or delete.
  void count_outcome(const actors::tenant_snapshot* tenant, const actors::room_outcome& outcome,
                     bool is_message);
  void show_counters();

  // gateway_auth.cpp: who is calling (SPEC 3)
  boost::asio::awaitable<result<identity>> authenticate(credential c);
  boost::asio::awaitable<result<identity>> authenticate_jwt(std::string token);
  boost::asio::awaitable<result<identity>> authenticate_ticket(std::string token);
  /// AUTHENTICATION_ERROR if the user's credentials from before some later moment are void.
  boost::asio::awaitable<result<void>> check_not_revoked(const identity& who);
  [[nodiscard]] bool is_revoked(const user_key& user, const identity& who) const;
  void remember_revocation(const user_key& user, std::optional<utc_time> before);
  boost::asio::awaitable<void> first_frame(connection_no c, reply_refs refs, std::string token);
  boost::asio::awaitable<void> refresh(connection_no c, reply_refs refs, std::string token);
  void watch_expiry(connection_no c, ws_connection& conn);
  void tell_expiries();
  void note_tenant(const actors::tenant_snapshot& tenant);
  void note_used(const identity& who);

  // hub_events
  void on_text(connection_no c, std::string_view text) override;
  void on_pong(connection_no c) override;
  void on_drained(connection_no c) override;
  void on_gone(connection_no c, close_code code) override;
  // delivery_ports
  void send(connection_ref c, const frame_ptr& f) override;
  [[nodiscard]] std::size_t space(connection_ref c) const override;
  [[nodiscard]] bool takes(connection_ref c, std::size_t bytes) override;
  bool read(call_no call, tenant_no tenant, actors::read_query q) override;
  void restart(connection_ref c) override;
  void wake() override;
  void synced(connection_ref c, bool notifications) override;
  // ephemeral_ports
  [[nodiscard]] bool keeps_up(connection_ref c) const override;
  void send_ephemeral(connection_ref c, const frame_ptr& f) override;
  // notification_ports (gateway_notifications.cpp)
  void ping(connection_ref c) override;
  [[nodiscard]] bool is_written(connection_ref c) const override;
  void add_devices(const user_key& user, std::vector<notified_device>& out) const override;
  void add_users(tenant_no tenant, std::vector<user_key>& out) const override;
  bool ask(call_no call, actors::notifications_query q) override;
  bool ask(call_no call, actors::members_query q) override;
  void acknowledged(const user_key& user, std::vector<uuid> notifications) override;
  void sent(tenant_no tenant, std::vector<std::pair<uuid, std::uint32_t>> frames) override;

  void adopt(boost::asio::ip::tcp::socket socket, std::string early, const identity& who,
             sync_mode mode, unnamed_connection brought, connection_slot_ptr slot);
  /// From here on it is this user's: registered, and its session is asked to take it.
  void name(connection_no c, ws_connection& conn, const identity& who, std::string device);
  void say_hello(connection_no c, const ws_connection& conn);
  void on_command(connection_no c, ws_connection& conn, client_frame& frame);
  /// False: one frame too many; it is answered and the connection closes (4029).
  bool keeps_the_rate(connection_no c, ws_connection& conn,
                      const std::variant<client_frame, rejected_frame>& parsed);
  void on_send(connection_no c, ws_connection& conn, const reply_refs& refs, send_message_frame& m);
  void on_change(connection_no c, ws_connection& conn, const reply_refs& refs, room_id room,
                 decltype(actors::room_command::what) what, std::size_t bytes);
  void on_cursor(connection_no c, ws_connection& conn, const reply_refs& refs, cursor_frame& m);
  void on_typing(connection_no c, ws_connection& conn, const reply_refs& refs, const typing_frame& m);
  void on_presence(connection_no c, ws_connection& conn, const reply_refs& refs, bool away);
  void on_notification_ack(connection_no c, ws_connection& conn, const reply_refs& refs,
                           const notification_ack_frame& m);
  /// Its `hello`, and what an automatic connection syncs, is sent.
  void start_notifications(connection_no c, ws_connection& conn, bool some_wait);
  /// Those who wait for an endpoint are told that the node is going down: it may take longer than a drain.
  void end_webhook_calls();
  void end_typing(const ws_call& call);
  void count_ephemerals();
  actors::call_no begin_ws_call(connection_no c, ws_connection& conn, const reply_refs& refs,
                                ws_call_kind kind);
  void finish_ws_call(const ws_call& call);
  void answer_send(const ws_call& call, const actors::room_outcome& outcome);
  void answer_cursors(const ws_call& call, const actors::cursors_stored& m);
  void reply_error(connection_no c, const reply_refs& refs, const error& why);
  template <class Append>
  void reply(connection_no c, Append&& append) {
    scratch_.clear();
    append(scratch_);
    send_scratch(c);
  }
  void send_scratch(connection_no c);
  void pump();
  void schedule_tick();
  void tick();
  /// Credit of tenant and node for one message; nullptr with `why` set: overloaded.
  actors::credit_ptr take_credit(const actors::tenant_snapshot& tenant, std::size_t bytes,
                                 error& why);

  boost::asio::io_context& io_;
  const actors::gateway_no no_;
  const gateway_options options_;
  node_shared& shared_;
  node_bus& bus_;
  gateway_counters counters_;
  call_table calls_;
  std::vector<actors::call_no> webhook_calls_;  ///< of these, call_webhook's
  http_server http_;
  std::unique_ptr<http_server> admin_http_;
  ws_hub hub_;
  subscriptions subscriptions_;
  ephemerals ephemerals_;
  notification_feed notifications_;
  ephemeral_counters ephemerals_counted_;  ///< in node_shared already
  client_frame_parser frames_;
  const gcra frame_rate_;
  const outbound_budget outbound_budget_;
  rest_body_parser bodies_;
  uuid7_generator ids_;
  std::unordered_map<connection_no, ws_connection> connections_;
  std::unordered_map<actors::call_no, ws_call> ws_calls_;
  std::deque<std::pair<mono_time, actors::call_no>> ws_deadlines_;  ///< one timeout for all: in order
  std::uint64_t last_ws_call_ = std::uint64_t{1} << 62U;
  std::uint64_t late_answers_ = 0;
  std::unordered_map<connection_no, unnamed_connection> unnamed_;
  std::unordered_map<user_key, std::optional<utc_time>> revocations_;  ///< as far as they were asked
  std::deque<user_key> revocations_by_age_;
  std::unordered_map<key_id, mono_time> keys_told_;  ///< when each was last said to be used
  using expiry = std::pair<utc_time, connection_no>;
  std::priority_queue<expiry, std::vector<expiry>, std::greater<>> expiries_;
  std::vector<actors::publish_ptr> in_pass_;  ///< publishes whose pass is not over: their credit is held
  bool pump_posted_ = false;
  boost::asio::steady_timer timer_;
  std::uint32_t ticks_ = 0;
  bool stopping_ = false;
  std::string scratch_;
};

/// What makes two sends the same (SPEC 2.4): content, meta and reply_to as JSON values.
[[nodiscard]] hash128 body_hash(const send_message_frame& m);
/// The same of an edit (an edit without meta is another than one that empties it), and of a delete.
[[nodiscard]] hash128 body_hash(const edit_message_frame& m);
[[nodiscard]] hash128 body_hash(const delete_message_frame& m);
/// `key`: of client_msg_id or Idempotency-Key; empty: none.
[[nodiscard]] actors::edit_message_command edit_command(edit_message_frame& m, std::string_view key);
[[nodiscard]] actors::delete_message_command delete_command(const delete_message_frame& m,
                                                            std::string_view key);

}  // namespace parley::net
