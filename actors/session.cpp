#include "actors/session.hpp"

#include "protocol/assert.hpp"

#include <algorithm>
#include <memory>
#include <utility>

namespace parley::actors {

namespace {
constexpr auto retry_soon = std::chrono::milliseconds{200};
}

session::session(user_key user, instance_no instance, session_ports& ports, const clock& now,
                 const session_options& options, bool successor)
    : user_(std::move(user)),
      instance_(instance),
      ports_(ports),
      clock_(now),
      options_(options),
      successor_(successor) {}

void session::start() {
  if (!successor_) return;
  // As if all had just left: they come back within the grace, or the others hear that they did not.
  shown_.reset();
  listed_ = presence_status::online;
  ports_.list_as(listed_);
  left_at_ = clock_.mono();
  left_at_utc_ = clock_.now();
  ask_to_be_woken();
}

// ---- connections ------------------------------------------------------------------------------------------------

session::connection_list::iterator session::find(gateway_no gateway, connection_ref connection) {
  return std::find_if(connections_.begin(), connections_.end(),
                      [&](const auto& c) { return c.is(gateway, connection); });
}

void session::on(const attach& m) {
  ++seen_;
  const auto former = m.device.empty()
                          ? connections_.end()
                          : std::find_if(connections_.begin(), connections_.end(),
                                         [&](const auto& c) { return c.device == m.device; });
  const auto others = connections_.size() - (former != connections_.end() ? 1 : 0);
  if (m.max_connections != 0 && others >= m.max_connections) {
    ports_.to_gateway(m.gateway, attached{m.connection, close_code::policy_violation});
    maybe_idle();
    return;
  }
  if (former != connections_.end()) {
    ports_.to_gateway(former->gateway, close_connection{former->connection, close_code::replaced});
    let_go(former);
  }
  connections_.push_back({m.gateway, m.connection, m.device});
  ports_.to_gateway(m.gateway, attached{m.connection, close_code::none});
  settle();
}

void session::on(const detach& m) {
  const auto gone = find(m.gateway, m.connection);
  if (gone != connections_.end()) let_go(gone);
  settle();
}

void session::let_go(connection_list::iterator gone) {
  const auto gateway = gone->gateway;
  const auto connection = gone->connection;
  connections_.erase(gone);
  stop_typing_if([&](const typing& t) { return t.gateway == gateway && t.connection == connection; });
}

void session::finish(const reply_to& to, std::optional<error> failure) {
  ports_.to_gateway(
      to.gateway, std::make_shared<const session_done>(session_done{to.call, std::move(failure)}));
}

// ---- cursors ----------------------------------------------------------------------------------------------------

void session::on(const move_cursors_ptr& m) {
  ++seen_;
  if (cursors_under_way_ >= cursors_max) {
    auto refused = std::make_shared<cursors_stored>();
    refused->moves = m;
    for (const auto& [room, seq] : m->rooms) {
      refused->rooms.push_back(
          {room, unavailable("too many cursors are being stored", std::chrono::milliseconds{200})});
    }
    ports_.to_gateway(m->to.gateway, std::move(refused));
    return;
  }
  ++cursors_under_way_;
  ports_.to_storage(std::make_shared<const store_cursors>(store_cursors{instance_, m}));
}

void session::on(const cursors_stored_ptr& m) {
  --cursors_under_way_;
  ports_.to_gateway(m->moves->to.gateway, m);
  // The user's other devices hear of what moved (SPEC 5), after it is durable (I14).
  std::vector<std::pair<room_id, room_seq>> moved;
  for (const auto& room : m->rooms) {
    if (const auto* state = std::get_if<store::cursor_state>(&room.outcome);
        state != nullptr && state->moved) {
      moved.emplace_back(room.room, m->moves->read ? state->last_read : state->last_ack);
    }
  }
  if (!moved.empty()) {
    for (const auto& c : connections_) {
      if (m->moves->connection && c.is(m->moves->to.gateway, *m->moves->connection)) continue;
      ports_.to_gateway(c.gateway, std::make_shared<const receipt>(
                                       receipt{c.connection, user_.user, m->moves->read, moved}));
    }
  }
  maybe_idle();
}

// ---- typing -----------------------------------------------------------------------------------------------------

void session::on(const type_in_room& m) {
  using action = type_in_room::action;
  if (m.what != action::start) {
    cancel_checks(m.room);
    // A message says it by itself: silently.
    const bool was_active = stop_typing(m.room, m.what == action::stop);
    if (m.what == action::sent) {
      maybe_idle();
      return;
    }
    if (was_active) {
      finish(m.to);
      return;
    }
  }
  // It was a member a moment ago, and nothing more may be shown yet: no question to a reader.
  if (auto* t = recent_typing(m.room)) {
    if (m.what == action::start) go_on(*t, m.to.gateway, m.connection);
    finish(m.to);
    return;
  }
  // Membership and size are judged by the store.
  if (checks_.size() >= typing_checks_max) {
    finish(m.to, unavailable("too many typing frames are being checked", retry_soon));
    return;
  }
  const auto under_way = std::find_if(checks_.begin(), checks_.end(),
                                      [&](const auto& asked) { return asked.room == m.room; });
  call_no call;
  if (under_way != checks_.end()) {
    call = under_way->call;
  } else {
    call = ++last_call_;
    if (!ports_.read(call, room_query{{user_.tenant, m.room}, user_.user})) {
      finish(m.to, unavailable("the readers are busy", retry_soon));
      return;
    }
  }
  checks_.push_back({call, m.room, m.to, m.connection, m.what == action::start, false});
}

void session::cancel_checks(const room_id& room) {
  for (auto& asked : checks_) {
    if (asked.room == room) asked.cancelled = true;
  }
}

void session::on(call_no call, const read_result& answer) {
  if (audience_asked_ && call == audience_call_) {
    audience_asked_ = false;
    if (const auto* found = std::get_if<store::audience>(&answer)) {
      tell(*found);
    } else {
      tell_after_ = clock_.mono() + options_.retry_interval;
    }
    settle();
    return;
  }
  std::vector<typing_check> answered;
  for (const auto& asked : checks_) {
    if (asked.call == call) answered.push_back(asked);
  }
  if (answered.empty()) return;
  std::erase_if(checks_, [&](const auto& asked) { return asked.call == call; });
  if (const auto* failed = std::get_if<error>(&answer)) {
    // Removed: nothing else would tell the others that it types no more.
    if (failed->code == error_code::not_found) stop_typing(answered.front().room, true);
    for (const auto& asked : answered) finish(asked.to, *failed);
  } else {
    // NOT_FOUND came as an error: here it is a member.
    const auto& room = std::get<std::optional<store::room_view>>(answer);
    PARLEY_ASSERT(room.has_value());
    const bool may_show = room->info.member_count <= options_.typing_max_members;
    for (const auto& asked : answered) {
      if (asked.start && !asked.cancelled && may_show) start_typing(asked);
      finish(asked.to);
    }
  }
  maybe_idle();
}

void session::start_typing(const typing_check& asked) {
  // Its connection may have ended meanwhile: nobody would stop it.
  if (find(asked.to.gateway, asked.connection) == connections_.end()) return;
  if (auto* t = recent_typing(asked.room)) {
    go_on(*t, asked.to.gateway, asked.connection);
    return;
  }
  auto place = std::find_if(typing_.begin(), typing_.end(),
                            [&](const auto& t) { return t.room == asked.room; });
  if (place == typing_.end() && typing_.size() >= typing_rooms_max) {
    // The longest silent one makes room. Not a recent one: its start could be shown again at once.
    for (auto t = typing_.begin(); t != typing_.end(); ++t) {
      if (is_recent(*t)) continue;
      if (place == typing_.end() ||
          std::pair{t->active, t->until} < std::pair{place->active, place->until})
        place = t;
    }
    if (place == typing_.end()) return;
    if (place->active) show_typing(place->room, false);
  }
  const auto now = clock_.mono();
  const typing fresh{asked.room, asked.to.gateway, asked.connection, now,
                     now + options_.typing_timeout};
  if (place != typing_.end()) {
    *place = fresh;
  } else {
    typing_.push_back(fresh);
  }
  show_typing(asked.room, true);
  ask_to_be_woken();
}

bool session::is_recent(const typing& t) const {
  return clock_.mono() - t.shown_at < options_.typing_interval;
}

session::typing* session::recent_typing(const room_id& room) {
  for (auto& t : typing_) {
    if (t.room == room && is_recent(t)) return &t;
  }
  return nullptr;
}

void session::go_on(typing& t, gateway_no gateway, connection_ref connection) {
  if (!t.active || find(gateway, connection) == connections_.end()) return;
  t.gateway = gateway;
  t.connection = connection;
  t.until = clock_.mono() + options_.typing_timeout;
}

void session::show_typing(const room_id& room, bool start) {
  ports_.to_gateways(
      std::make_shared<const typing_shown>(typing_shown{{user_.tenant, room}, user_.user, start}));
}

bool session::stop_typing(const room_id& room, bool shown) {
  for (auto& t : typing_) {
    if (t.room != room || !t.active) continue;
    t.active = false;
    if (shown) show_typing(room, false);
    return true;
  }
  return false;
}

template <class Over>
void session::stop_typing_if(Over&& over) {
  for (auto& t : typing_) {
    if (!t.active || !over(t)) continue;
    t.active = false;
    show_typing(t.room, false);
  }
}

bool session::types() const {
  return std::any_of(typing_.begin(), typing_.end(), [](const auto& t) { return t.active; });
}

// ---- presence ---------------------------------------------------------------------------------------------------

void session::on(const set_presence& m) {
  const auto c = find(m.to.gateway, m.connection);
  if (c != connections_.end()) c->away = m.away;
  finish(m.to);
  settle();
}

void session::settle() {
  const auto now = clock_.mono();
  if (connections_.empty() && !left_at_ && listed_ != presence_status::offline) {
    left_at_ = now;
    left_at_utc_ = clock_.now();
  } else if (!connections_.empty()) {
    left_at_.reset();
  }
  auto is = listed_;
  if (!connections_.empty()) {
    const bool away =
        std::all_of(connections_.begin(), connections_.end(), [](const auto& c) { return c.away; });
    is = away ? presence_status::away : presence_status::online;
  } else if (left_at_ && now >= *left_at_ + options_.presence_grace) {
    is = presence_status::offline;
    left_at_.reset();
    ports_.to_storage(std::make_shared<const store_last_seen>(store_last_seen{user_, left_at_utc_}));
  }
  if (is != listed_) {
    listed_ = is;
    ports_.list_as(is);
  }
  if (wanted() != shown_ && now < options_.herd_until) {
    // Each at its own time, so that the end of the window is no herd.
    const auto spread = options_.herd_spread.count();
    const auto share = std::chrono::milliseconds{
        spread == 0 ? 0
                    : static_cast<std::int64_t>(std::hash<user_key>{}(user_) %
                                                static_cast<std::uint64_t>(spread))};
    tell_after_ = std::max(tell_after_, options_.herd_until + share);
  }
  tell_if_due();
  ask_to_be_woken();
  maybe_idle();
}

std::optional<presence_status> session::wanted() const {
  // Within the grace nothing changes for the others.
  if (connections_.empty() && left_at_) return shown_;
  return listed_;
}

void session::tell_if_due() {
  if (audience_asked_ || wanted() == shown_ || clock_.mono() < std::max(tell_after_, rest_until_))
    return;
  if (options_.presence_max_members == 0) {  // nobody may see it
    shown_ = wanted();
    return;
  }
  audience_call_ = ++last_call_;
  if (ports_.read(audience_call_,
                  audience_query{user_.tenant, user_.user, options_.presence_max_members})) {
    audience_asked_ = true;
  } else {
    tell_after_ = clock_.mono() + options_.retry_interval;
  }
}

void session::tell(const store::audience& audience) {
  const auto now_wanted = wanted();
  if (now_wanted == shown_) return;  // it changed back meanwhile
  shown_ = now_wanted;
  if (audience.rooms.empty()) return;
  rest_until_ = clock_.mono() + options_.presence_interval;
  auto m = std::make_shared<presence_shown>();
  m->user = user_;
  m->status = *now_wanted;
  if (m->status == presence_status::offline) m->last_seen = left_at_utc_;
  m->rooms = audience.rooms;
  m->dms = audience.dms;
  ports_.to_gateways(presence_shown_ptr{std::move(m)});
}

// ---- time -------------------------------------------------------------------------------------------------------

void session::wake() {
  woken_at_.reset();
  const auto now = clock_.mono();
  stop_typing_if([&](const typing& t) { return t.until <= now; });
  std::erase_if(typing_, [&](const typing& t) { return !t.active && !is_recent(t); });
  settle();
}

void session::ask_to_be_woken() {
  std::optional<mono_time> next;
  const auto at = [&](mono_time t) { next = next ? std::min(*next, t) : t; };
  if (left_at_) at(*left_at_ + options_.presence_grace);
  if (wanted() == shown_) {
    if (connections_.empty() && clock_.mono() < rest_until_) at(rest_until_);
  } else if (!audience_asked_) {
    at(std::max(tell_after_, rest_until_));
  }
  for (const auto& t : typing_) {
    if (t.active) at(t.until);
  }
  if (!next || (woken_at_ && *woken_at_ <= *next)) return;
  woken_at_ = next;
  ports_.wake_at(*next);
}

void session::maybe_idle() {
  if (connections_.empty() && cursors_under_way_ == 0 && !left_at_ && !audience_asked_ &&
      wanted() == shown_ && clock_.mono() >= rest_until_ && checks_.empty() && !types())
    ports_.to_directory(session_idle{user_, instance_, seen_});
}

}  // namespace parley::actors
