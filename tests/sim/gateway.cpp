#include "tests/sim/gateway.hpp"

#include "protocol/server_frame.hpp"
#include "tests/sim/node.hpp"

#include <algorithm>
#include <utility>

namespace parley::sim {

using namespace actors;

namespace {
template <class Append>
frame_ptr encoded(Append&& append) {
  std::string text;
  append(text);
  return make_text_frame(text);
}
}  // namespace

gateway::gateway(node& of, gateway_no no, const net::subscriptions_options& options)
    : node_(of),
      no_(no),
      subscriptions_(*this, options) {}

// ---- connections ------------------------------------------------------------------------------------------------------

void gateway::connect(const line_ptr& l, std::uint32_t max_connections, std::string device) {
  l->ref = ++last_connection_;
  l->gateway = no_.value;
  lines_.emplace(l->ref, l);
  subscriptions_.add(l->ref, l->user,
                     l->automatic ? net::sync_mode::automatic : net::sync_mode::manual);
  node_.to_directory(no_, std::make_shared<const attach>(
                              attach{l->user, no_, l->ref, max_connections, std::move(device)}));
}

void gateway::on(const attached& m) {
  const auto it = lines_.find(m.connection);
  if (it == lines_.end()) return;
  const auto l = it->second;
  if (m.refused != close_code::none) {
    close(l, m.refused);
    return;
  }
  l->greeted = true;
  hello_info hello{.server_version = "sim",
                   .connection_id = "c",
                   .tenant_id = "t",
                   .user_id = l->user.user.value,
                   .epoch = "epoch-1",
                   .server_time = node_.now().now()};
  send(l->ref, encoded([&](std::string& out) { append_hello(out, hello); }));
  subscriptions_.start(l->ref);
}

void gateway::close(const line_ptr& l, close_code why) {
  if (!l->open) return;
  l->open = false;
  l->closed_with = why;
  l->unread.clear();
  l->unread_bytes = 0;
  subscriptions_.remove(l->ref);
  lines_.erase(l->ref);
  node_.to_directory(no_, std::make_shared<const detach>(detach{l->user, no_, l->ref}));
}

void gateway::on(const session_lost& m) {
  for (const auto& ref : subscriptions_.connections_of(m.user))
    close(line_ptr{lines_.at(ref)}, close_code::internal_error);
}

void gateway::read(const line_ptr& l, std::size_t frames,
                   const std::function<void(const seen_frame&)>& take) {
  const auto before = l->unread_bytes;
  for (; frames > 0 && !l->unread.empty(); --frames) {
    take(*l->unread.front().frame);
    l->unread_bytes -= l->unread.front().bytes;
    l->unread.pop_front();
  }
  if (before * 2 >= l->max_bytes && l->unread_bytes * 2 < l->max_bytes)
    subscriptions_.drained(l->ref);
}

// ---- client frames ----------------------------------------------------------------------------------------------------

void gateway::reply_error(const line_ptr& l, const reply_refs& refs, const error& why) {
  send(l->ref, encoded([&](std::string& out) { append_error_frame(out, refs, why); }));
}

void gateway::dispatch(room_command command, call_done done) {
  command.to = {no_, ++last_call_};
  const auto m = std::make_shared<const room_command>(std::move(command));
  calls_.emplace(m->to.call, open_call{m, std::move(done)});
  node_.to_directory(no_, m);
}

void gateway::call(room_command command, call_done done) {
  if (command.is_send()) {
    std::size_t bytes = 0;
    if (const auto* c = std::get_if<send_command>(&command.what)) bytes = c->content.size();
    if (const auto* c = std::get_if<edit_message_command>(&command.what)) bytes = c->content.size();
    command.credit = node_.budget()->try_take(bytes);
    if (!command.credit) {
      room_outcome refused =
          unavailable("too many messages are on their way", std::chrono::milliseconds{100});
      std::get<error>(refused).stored = stored_state::no;
      done(&refused);
      return;
    }
  }
  dispatch(std::move(command), std::move(done));
}

void gateway::send_message(const line_ptr& l, const reply_refs& refs, room_command command,
                           call_done done) {
  std::weak_ptr<line> asker = l;
  call(std::move(command), [this, asker, refs, done = std::move(done)](const room_outcome* outcome) {
    done(outcome);
    const auto to = asker.lock();
    if (!to || !to->open) return;
    if (outcome == nullptr) {
      auto late = unavailable("the deadline came first", std::chrono::milliseconds{100});
      late.stored = stored_state::unknown;
      reply_error(to, refs, late);
    } else if (const auto* failed = std::get_if<error>(outcome)) {
      reply_error(to, refs, *failed);
    } else {
      send(to->ref, encoded([&](std::string& out) {
             append_accepted(out, refs, std::get<send_result>(*outcome).accepted);
           }));
    }
  });
}

void gateway::sync(const line_ptr& l, const reply_refs& refs, sync_frame frame) {
  subscriptions_.sync(l->ref, refs, std::move(frame));
}
void gateway::subscribe(const line_ptr& l, const reply_refs& refs, const room_id& room) {
  subscriptions_.subscribe(l->ref, refs, room);
}
void gateway::unsubscribe(const line_ptr& l, const reply_refs& refs, const room_id& room) {
  subscriptions_.unsubscribe(l->ref, refs, room);
}

void gateway::move_cursors(const line_ptr& l, const reply_refs& refs, bool read,
                           std::vector<std::pair<room_id, room_seq>> rooms) {
  const auto call = ++last_call_;
  cursor_calls_.emplace(call, cursor_call{l, refs, l->user});
  node_.to_directory(no_, std::make_shared<const actors::move_cursors>(actors::move_cursors{
                              l->user, {no_, call}, l->ref, read, std::move(rooms)}));
}

void gateway::set_presence(const line_ptr& l, const reply_refs& refs, bool away) {
  const auto call = ++last_call_;
  session_calls_.emplace(call, cursor_call{l, refs, l->user});
  node_.to_directory(no_, std::make_shared<const actors::set_presence>(
                              actors::set_presence{l->user, {no_, call}, l->ref, away}));
}

void gateway::type(const line_ptr& l, const reply_refs& refs, const room_id& room,
                   type_in_room::action what) {
  const auto call = ++last_call_;
  if (what != type_in_room::action::sent)
    session_calls_.emplace(call, cursor_call{l, refs, l->user});
  node_.to_directory(no_, std::make_shared<const type_in_room>(
                              type_in_room{l->user, {no_, call}, l->ref, room, what}));
}

void gateway::create_room(store::new_room room, std::function<void(const created*)> done) {
  const auto call = ++last_call_;
  creations_.emplace(call, std::move(done));
  node_.to_storage(no_, std::make_shared<const actors::create_room>(
                            actors::create_room{{no_, call}, std::move(room)}));
}

// ---- from the node ------------------------------------------------------------------------------------------------------

void gateway::on(const replies_ptr& m) {
  for (const auto& item : m->items) {
    const auto it = calls_.find(item.call);
    expect(it != calls_.end(), "SPEC 2.5 a call is answered twice");
    const auto call = std::move(it->second);
    calls_.erase(it);
    call.done(&item.outcome);
  }
}

void gateway::on(const publish_ptr& m) {
  for (const auto& f : m->frames) {
    const auto text = f->payload();
    if (!text.starts_with(R"({"type":"message.)")) continue;
    told_[eyes_.read(f)->message_id] = m->commit;
  }
  subscriptions_.on(m);
  close_restarting();
}

void gateway::close_restarting() {
  for (const auto& ref : std::exchange(restarting_, {})) {
    const auto it = lines_.find(ref);
    if (it != lines_.end()) close(line_ptr{it->second}, close_code::internal_error);
  }
}

void gateway::on(const created_ptr& m) {
  const auto it = creations_.find(m->call);
  expect(it != creations_.end(), "SPEC 2.5 a creation is answered twice");
  const auto done = std::move(it->second);
  creations_.erase(it);
  done(m.get());
}

void gateway::on(const cursors_stored_ptr& m) {
  const auto it = cursor_calls_.find(m->moves->to.call);
  expect(it != cursor_calls_.end(), "SPEC 2.5 a cursor call is answered twice");
  const auto call = std::move(it->second);
  cursor_calls_.erase(it);
  const auto l = call.asker.lock();
  if (!l || !l->open) return;
  for (const auto& room : m->rooms) {
    if (const auto* failed = std::get_if<error>(&room.outcome)) {
      reply_error(l, call.refs, *failed);
      continue;
    }
    const auto& state = std::get<store::cursor_state>(room.outcome);
    send(l->ref, encoded([&](std::string& out) {
           append_cursor_received(out, call.refs, m->moves->read, room.room,
                                  m->moves->read ? state.last_read : state.last_ack,
                                  l->user.user.value);
         }));
  }
}

void gateway::on(const receipt_ptr& m) {
  if (!lines_.contains(m->connection)) return;
  for (const auto& [room, seq] : m->rooms) {
    ephemerals_.send(m->connection, encoded([&](std::string& out) {
                       append_cursor_received(out, {}, m->read, room, seq, m->user.value);
                     }));
  }
}

void gateway::on(const session_done_ptr& m) {
  const auto it = session_calls_.find(m->call);
  expect(it != session_calls_.end(), "SPEC 2.5 a session call is answered twice");
  const auto call = std::move(it->second);
  session_calls_.erase(it);
  const auto l = call.asker.lock();
  if (!l || !l->open) return;
  if (m->failure) {
    reply_error(l, call.refs, *m->failure);
  } else {
    send(l->ref, encoded([&](std::string& out) { append_ok(out, call.refs); }));
  }
}

void gateway::on(const close_connection& m) {
  const auto it = lines_.find(m.connection);
  if (it != lines_.end()) close(line_ptr{it->second}, m.code);
}

void gateway::on(call_no call, const read_result& answer) {
  subscriptions_.on(call, answer);
  close_restarting();
}

bool gateway::run(std::size_t max_sends) {
  if (!awake_) return false;
  awake_ = subscriptions_.run(max_sends);
  return true;
}

void gateway::tick() {
  subscriptions_.tick();
  ephemerals_.tick();
}

void gateway::expire_calls(const std::function<bool(const room_command&)>& may_be_lost,
                           const std::function<bool(const user_key&)>& cursors_may_be_lost) {
  auto calls = std::exchange(calls_, {});
  for (auto& [no, call] : calls) {
    expect(may_be_lost(*call.command), "SPEC 2.5 a call was never answered",
           [&] { return "command kind " + std::to_string(call.command->what.index()); });
    call.done(nullptr);
  }
  auto cursors = std::exchange(cursor_calls_, {});
  for (auto& [no, call] : cursors) {
    expect(cursors_may_be_lost(call.user), "SPEC 2.5 a cursor call was never answered",
           [&] { return call.user.user.value; });
  }
  auto sessions = std::exchange(session_calls_, {});
  for (auto& [no, call] : sessions) {
    expect(cursors_may_be_lost(call.user), "SPEC 2.5 a session call was never answered",
           [&] { return call.user.user.value; });
  }
  expect(creations_.empty(), "SPEC 2.5 a creation was never answered");
}

// ---- delivery -------------------------------------------------------------------------------------------------------------

void gateway::send(connection_ref c, const frame_ptr& f) {
  const auto it = lines_.find(c);
  expect(it != lines_.end(), "a frame for a connection that is gone");
  auto& l = *it->second;
  const auto frame = eyes_.read(f);
  if (frame->is_entry) {
    expect(takes(c, f->bytes.size()), "SPEC 2.6 an entry is queued beyond the connection's bound");
  }
  if (node_.on_shown) node_.on_shown(l, *frame);
  const auto told = frame->is_entry ? told_.find(frame->message_id) : told_.end();
  l.eyes.sees(*frame, told == told_.end() ? commit_no{} : told->second);
  l.unread.push_back({frame, f->bytes.size()});
  l.unread_bytes += f->bytes.size();
}

std::size_t gateway::space(connection_ref c) const {
  const auto& l = *lines_.at(c);
  return l.max_bytes > l.unread_bytes ? l.max_bytes - l.unread_bytes : 0;
}

bool gateway::keeps_up(connection_ref c) const {
  const auto& l = *lines_.at(c);
  return l.unread_bytes <= l.max_bytes / 2;
}

bool gateway::takes(connection_ref c, std::size_t bytes) {
  const auto& l = *lines_.at(c);
  return l.unread_bytes + bytes <= l.max_bytes || l.unread_bytes * 2 < l.max_bytes;
}

bool gateway::read(call_no call, tenant_no tenant, read_query q) {
  return node_.read(no_, call, tenant, std::move(q));
}

void gateway::check() const { subscriptions_.check_invariants(); }

}  // namespace parley::sim
