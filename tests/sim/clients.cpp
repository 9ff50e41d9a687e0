// clients.cpp: what the people and backends of a simulated world do.

#include "protocol/server_frame.hpp"
#include "tests/sim/world.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace parley::sim {

using namespace actors;
using std::chrono::milliseconds;

namespace {
constexpr std::array<const char*, 6> names{"ann", "bob", "cyd", "dan", "eve", "fay"};

/// Something to send; long ones make pages and bounds matter.
std::string text_of(std::size_t no, dice& chance) {
  std::string out = "text " + std::to_string(no);
  if (chance.permille(60)) out.append(chance.between(200, 1500), 'x');
  return out;
}
}  // namespace

std::string world::next_request(device& d) { return std::to_string(++d.last_request); }

user_id world::some_user() {
  return user_id{names[dice_.below(std::min(names.size(), weather_.users + 1))]};
}

std::size_t world::live_rooms(tenant_no tenant) const {
  const auto& rooms = store_.committed()->rooms;
  return static_cast<std::size_t>(std::count_if(rooms.begin(), rooms.end(), [&](const auto& r) {
    return r.second->tenant == tenant && !r.second->deleted;
  }));
}

/// Mostly one of its own; sometimes one of the tenant, one that is gone, a foreign one, or none at all.
room_id world::some_room(const user_key& of) {
  std::vector<room_id> own;
  std::vector<room_id> others;
  for (const auto& [no, room] : store_.committed()->rooms) {
    const bool is_own =
        !room->deleted && room->tenant == of.tenant && room->members.contains(of.user);
    (is_own ? own : others).push_back(room->info.id);
  }
  if (!own.empty() && (others.empty() || dice_.permille(850))) return dice_.one_of(own);
  if (!others.empty() && dice_.permille(900)) return dice_.one_of(others);
  return room_id{ids_.next()};
}

void world::act() {
  const tenant_no tenant{static_cast<std::int64_t>(dice_.between(1, weather_.tenants))};
  const auto rooms = live_rooms(tenant);
  if (rooms == 0 || (rooms < weather_.rooms && dice_.permille(200))) {
    create_room(tenant);
  } else if (dice_.permille(weather_.members_change)) {
    change_members();
  } else if (dice_.permille(60)) {
    if (dice_.permille(300)) {
      change_message(nullptr);
    } else {
      send(nullptr);
    }
  } else {
    act_of(*dice_.one_of(devices_));
  }
}

void world::act_of(device& d) {
  if (!d.line || !d.line->open) {
    d.line = nullptr;
    if (dice_.permille(600)) connect(d);
    return;
  }
  const auto roll = dice_.below(1000);
  if (roll < 40) {
    trace(d.user.user.value + " disconnects");
    node_->at(d.line->gateway).close(d.line, close_code::normal);
    d.line = nullptr;
  } else if (roll < 60) {
    d.slow = !d.slow && dice_.permille(weather_.slow_reader);
  } else if (!d.line->greeted || roll < 650) {
    // Over REST while its socket is not greeted.
    if (dice_.permille(350)) {
      change_message(&d);
    } else {
      send(&d);
    }
  } else if (roll < 780) {
    acknowledge(d);
  } else if (roll < 850) {
    subscribe(d);
  } else if (roll < 890) {
    show_oneself(d);
  } else if (!d.automatic || dice_.permille(300)) {
    sync(d, false);
  }
}

void world::connect(device& d) {
  auto& g = node_->at(dice_.below(node_->gateways()));
  d.slow = dice_.permille(weather_.slow_reader);
  const std::size_t bound = weather_.slow_reader > 0 ? weather_.slow_line_bytes : 256 * 1024;
  d.line = std::make_shared<line>(d.user, d.automatic, bound,
                                  witness{store_, expected_, d.user, d.automatic,
                                          weather_.node.subscriptions.max_subscriptions});
  d.line->eyes.acknowledged = acknowledged_[d.user];
  trace(d.user.user.value + (d.automatic ? " connects" : " connects, manual"));
  // Two of a user's devices may say the same name: the later one replaces the other.
  g.connect(d.line, weather_.max_connections,
            dice_.permille(200) ? "device " + std::to_string(dice_.below(2)) : std::string{});
}

void world::read(device& d, std::size_t frames) {
  const auto l = d.line;
  if (!l->open) {
    d.line = nullptr;
    return;
  }
  node_->at(l->gateway).read(l, frames, [&](const seen_frame& f) { take(d, f); });
}

/// What a client remembers of what it reads.
void world::take(device& d, const seen_frame& f) {
  if (f.type == "hello") {
    if (!d.automatic && !ending_) sync(d, true);
  } else if (f.is_entry) {
    d.seen[f.room] = *f.seq;
  } else if ((f.type == "ack.received" || f.type == "read.received") && f.user == d.user.user.value) {
    auto& known = acknowledged_[d.user][f.room];
    known = std::max(known, *f.seq);
  } else if (f.type == "sync.complete") {
    if (f.seq) {
      d.seen[f.room] = *f.seq;
    } else {
      d.seen.erase(f.room);
    }
  } else if (f.type == "subscribed") {
    if (d.line->eyes.live(f.room)) d.seen[f.room] = std::max(d.seen[f.room], *f.seq);
  } else if (f.type == "room.removed") {
    d.seen.erase(f.room);
  } else if (f.type == "room.added" && d.automatic) {
    d.seen[f.room] = *f.seq;
  }
}

// ---- messages -----------------------------------------------------------------------------------------------------------

/// A new text, or an earlier one again; by a device, or (nullptr) by a backend.
void world::send(device* d) {
  if (d != nullptr && dice_.permille(250)) {
    std::vector<sent_text*> earlier;
    for (auto& t : ledger_.texts()) {
      if (!t.key.empty() && !t.by_backend && t.room.tenant == d->user.tenant &&
          t.sender == d->user.user)
        earlier.push_back(&t);
    }
    if (!earlier.empty()) {
      auto& again = *dice_.one_of(earlier);
      if (dice_.permille(900)) return attempt(again, d);
      // The same key for another text.
      sent_text other{.room = again.room,
                      .sender = again.sender,
                      .content = text_of(++last_content_, dice_),
                      .key = again.key,
                      .accepted = {}};
      return attempt(ledger_.write(std::move(other)), d);
    }
  }
  const tenant_no tenant{static_cast<std::int64_t>(dice_.between(1, weather_.tenants))};
  const user_key who = d != nullptr ? d->user : user_key{tenant, some_user()};
  sent_text text{.room = {who.tenant, some_room(who)},
                 .sender = who.user,
                 .by_backend = d == nullptr,
                 .content = text_of(++last_content_, dice_),
                 .key = {},
                 .accepted = {}};
  if (dice_.permille(500)) text.key = "key " + std::to_string(++last_key_);
  attempt(ledger_.write(std::move(text)), d);
}

/// An edit or a delete of some message, mostly one's own and a recent one; of any by a backend (nullptr).
void world::change_message(device* d) {
  const tenant_no tenant{static_cast<std::int64_t>(dice_.between(1, weather_.tenants))};
  const user_key who = d != nullptr ? d->user : user_key{tenant, some_user()};
  sent_text text{.room = {who.tenant, some_room(who)},
                 .sender = d != nullptr ? who.user : user_id{},
                 .by_backend = d == nullptr,
                 .content = {},
                 .key = {},
                 .accepted = {},
                 .call = store::keyed_call::edit,
                 .target = message_id{ids_.next()}};
  if (const auto* room = store_.committed()->find(text.room); room != nullptr) {
    std::vector<message_id> own;
    std::vector<message_id> others;
    for (auto seq = room->info.last_seq; seq.value > 0 && own.size() + others.size() < 8;
         --seq.value) {
      const auto& e = room->at(seq).e;
      const auto* message = std::get_if<message_body>(&e.body);
      if (message == nullptr) continue;
      (message->sender == who.user ? own : others).push_back(e.message);
    }
    if (!own.empty() && (others.empty() || dice_.permille(700))) {
      text.target = dice_.one_of(own);
    } else if (!others.empty() && dice_.permille(900)) {
      text.target = dice_.one_of(others);
    }
  }
  if (dice_.permille(300)) {
    text.call = store::keyed_call::remove;
  } else {
    text.content = "edit " + text_of(++last_content_, dice_);
  }
  if (dice_.permille(500)) text.key = "key " + std::to_string(++last_key_);
  attempt(ledger_.write(std::move(text)), d);
}

void world::attempt(sent_text& text, device* d) {
  room_command m{.room = text.room, .to = {}, .who = {}, .what = send_command{}};
  if (d != nullptr) m.who.user = text.sender;
  const auto key = text.key.empty() ? std::nullopt : std::optional{hash128_of(text.key)};
  const auto body = hash128_of(text.content + text.target.id.to_string());
  if (text.call == store::keyed_call::edit) {
    m.what = edit_message_command{text.target, text.content, {}, key, body};
  } else if (text.call == store::keyed_call::remove) {
    m.what = delete_message_command{text.target, key, body};
  } else {
    auto& c = std::get<send_command>(m.what);
    c.sender = text.sender;
    c.content = text.content;
    c.client_msg_id = text.key;
    c.key = key;
    c.body = body;
  }
  if (text.call == store::keyed_call::send && dice_.permille(30)) {
    auto& c = std::get<send_command>(m.what);
    // A reply to some message, perhaps of another room; not for keyed ones, whose body must stay the same.
    const auto* room = store_.committed()->find(text.room);
    if (text.key.empty() && room != nullptr && room->info.last_seq.value > 0) {
      const auto& target = room->at(room_seq{static_cast<std::int64_t>(
          dice_.between(1, static_cast<std::size_t>(room->info.last_seq.value)))});
      c.reply_to = dice_.permille(700) ? target.e.message : message_id{ids_.next()};
    }
  }
  ledger_.attempt(text);
  auto done = [this, &text](const room_outcome* outcome) {
    ledger_.answered(text, outcome);
    if (tracing_) {
      trace("  answer to '" + text.content.substr(0, 20) + "': " +
            (outcome == nullptr ? "late"
             : std::holds_alternative<error>(*outcome)
                 ? std::get<error>(*outcome).message
                 : "accepted " + std::to_string(std::get<send_result>(*outcome).accepted.seq.value)));
    }
  };
  trace(text.sender.value + " sends '" + text.content.substr(0, 20) + "' key '" + text.key + "'");
  auto& g = node_->at(d != nullptr && d->line ? d->line->gateway : dice_.below(node_->gateways()));
  if (d != nullptr && d->line && d->line->open && d->line->greeted) {
    const reply_refs refs{next_request(*d), text.key, text.room.room.id.to_string()};
    d->line->eyes.asks(refs.request_id);
    g.send_message(d->line, refs, std::move(m), std::move(done));
  } else {
    g.call(std::move(m), std::move(done));
  }
}

void world::acknowledge(device& d) {
  std::vector<std::pair<room_id, room_seq>> rooms;
  for (const auto& [room, seq] : d.seen) {
    if (rooms.size() < 3 && dice_.permille(600))
      rooms.emplace_back(*room_id::parse(room), room_seq{seq});
  }
  if (rooms.empty()) return;
  if (dice_.permille(30)) rooms.front().second.value += 5;  // beyond the log
  const reply_refs refs{next_request(d), {}, {}};
  d.line->eyes.asks(refs.request_id, rooms.size());
  node_->at(d.line->gateway).move_cursors(d.line, refs, dice_.permille(300), std::move(rooms));
}

/// Typing, away, back again.
void world::show_oneself(device& d) {
  auto& g = node_->at(d.line->gateway);
  const auto room = some_room(d.user);
  reply_refs refs{next_request(d), {}, {}};
  if (dice_.permille(300)) {
    d.line->eyes.asks(refs.request_id);
    g.set_presence(d.line, refs, dice_.permille(500));
    return;
  }
  using action = type_in_room::action;
  const auto what = dice_.permille(600)   ? action::start
                    : dice_.permille(700) ? action::stop
                                          : action::sent;
  refs.room_id = room.id.to_string();
  if (what != action::sent) d.line->eyes.asks(refs.request_id);
  g.type(d.line, refs, room, what);
}

// ---- what is live -------------------------------------------------------------------------------------------------------

void world::sync(device& d, bool first) {
  sync_frame frame;
  frame.epoch = dice_.permille(970) ? "epoch-1" : "another";
  std::set<std::string> named;
  const auto name = [&](const std::string& text, std::optional<std::int64_t> after) {
    if (!named.insert(text).second) return;
    frame.rooms.push_back(
        {text, room_id::parse(text), after ? std::optional{room_seq{*after}} : std::nullopt});
  };
  for (const auto& [room, seq] : d.seen) {
    if ((first || !d.line->eyes.live(room)) && dice_.permille(900)) name(room, seq);
  }
  if (dice_.permille(400)) {
    const auto room = some_room(d.user).id.to_string();
    if (!d.line->eyes.live(room) || dice_.permille(200)) {
      name(room, dice_.permille(500) ? std::nullopt : std::optional<std::int64_t>{dice_.below(6)});
    }
  }
  if (dice_.permille(20)) name("no room at all", 3);
  frame.rest_live = dice_.permille(first ? 400 : 100);
  const reply_refs refs{next_request(d), {}, {}};
  trace(d.user.user.value + " syncs " + std::to_string(frame.rooms.size()) +
        (frame.rest_live ? " rooms and the rest" : " rooms"));
  d.line->eyes.asks_sync(refs.request_id, frame);
  node_->at(d.line->gateway).sync(d.line, refs, std::move(frame));
}

void world::subscribe(device& d) {
  const auto room = some_room(d.user);
  const reply_refs refs{next_request(d), {}, room.id.to_string()};
  auto& g = node_->at(d.line->gateway);
  if (dice_.permille(600)) {
    trace(d.user.user.value + " subscribes " + refs.room_id);
    d.line->eyes.asks(refs.request_id);
    g.subscribe(d.line, refs, room);
  } else {
    trace(d.user.user.value + " unsubscribes " + refs.room_id);
    d.line->eyes.asks_unsubscribe(refs.request_id, room);
    g.unsubscribe(d.line, refs, room);
  }
}

// ---- rooms --------------------------------------------------------------------------------------------------------------

void world::create_room(tenant_no tenant) {
  store::new_room r;
  r.tenant = tenant;
  r.id = room_id{ids_.next()};
  const auto kind = dice_.below(10);
  r.type = kind < 5 ? room_type::group : kind < 9 ? room_type::channel : room_type::dm;
  r.created_at = clock_.now();
  const auto owner = some_user();
  r.created_by = owner;
  r.posting = dice_.permille(100) ? posting_policy::admins : posting_policy::all;
  if (r.type == room_type::dm) {
    auto other = some_user();
    if (other == owner) return;
    r.members = {{owner, member_role::member}, {other, member_role::member}};
  } else {
    r.members.emplace_back(owner, member_role::owner);
    for (std::size_t n = dice_.below(4); n > 0; --n) {
      const auto user = some_user();
      const bool known = std::any_of(r.members.begin(), r.members.end(),
                                     [&](const auto& m) { return m.first == user; });
      if (!known)
        r.members.emplace_back(user, dice_.permille(200) ? member_role::admin : member_role::member);
    }
  }
  if (dice_.permille(200)) {
    r.key = store::new_room::call_key{
        owner, hash128_of("creation " + std::to_string(dice_.below(5))), hash128_of("b")};
  }
  trace("a room is created by " + owner.value);
  node_->at(dice_.below(node_->gateways())).create_room(std::move(r), [this](const created* m) {
    if (const auto* made = std::get_if<store::created_room>(&m->outcome)) {
      expect(store_.committed()->rooms.contains(made->no),
             "I1 a room is created before its commit");
    }
  });
}

void world::change_members() {
  const tenant_no tenant{static_cast<std::int64_t>(dice_.between(1, weather_.tenants))};
  const user_key who{tenant, some_user()};
  room_command m{.room = {tenant, some_room(who)}, .to = {}, .who = {}, .what = join_command{}};
  if (dice_.permille(600)) m.who.user = who.user;
  const auto roll = dice_.below(100);
  if (dice_.permille(250)) {
    if (dice_.permille(500)) {
      const auto given = dice_.below(10);
      m.what = update_member_command{some_user(), given < 3   ? member_role::owner
                                                  : given < 7 ? member_role::admin
                                                              : member_role::member};
    } else {
      update_room_command c;
      if (dice_.permille(600)) {
        c.name.emplace();
        if (dice_.permille(700)) c.name->emplace("name " + std::to_string(dice_.below(3)));
      }
      if (dice_.permille(300)) c.metadata = json_text{std::to_string(dice_.below(3))};
      if (dice_.permille(150))
        c.posting = dice_.permille(200) ? posting_policy::admins : posting_policy::all;
      m.what = std::move(c);
    }
  } else if (roll < 30) {
    add_members_command c;
    for (std::size_t n = dice_.between(1, 3); n > 0; --n) {
      const auto user = some_user();
      if (std::find(c.users.begin(), c.users.end(), user) == c.users.end()) c.users.push_back(user);
    }
    if (dice_.permille(200)) c.role = member_role::admin;
    m.what = std::move(c);
  } else if (roll < 55) {
    m.what = remove_member_command{some_user()};
  } else if (roll < 75) {
    m.who.user = who.user;
    m.room.room = some_room({tenant, some_user()});
  } else if (roll < 96) {
    m.who.user = who.user;
    m.what = leave_command{};
  } else {
    m.what = delete_room_command{};
  }
  call(std::move(m));
}

void world::call(room_command m) {
  static constexpr std::array<const char*, 10> kinds{
      "send",   "add",  "remove",         "join",        "leave",
      "delete", "edit", "delete message", "update role", "update room"};
  const auto kind = m.what.index();
  trace((m.who.user ? m.who.user->value : std::string{"the backend"}) + " calls " + kinds[kind] +
        " " + m.room.room.id.to_string());
  node_->at(dice_.below(node_->gateways())).call(std::move(m), [this, kind](const room_outcome* outcome) {
    if (outcome == nullptr) return;
    if (const auto* failed = std::get_if<error>(outcome)) {
      expect(failed->stored == stored_state::not_a_send,
             "SPEC 2.5 an error to no send says what is stored");
      if (tracing_) trace(std::string{"  "} + kinds[kind] + " answers: " + failed->message);
    } else if (tracing_) {
      trace(std::string{"  "} + kinds[kind] + " is done");
    }
  });
}

}  // namespace parley::sim
