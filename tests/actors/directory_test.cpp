#include "actors/directory.hpp"

#include "tests/actors/words.hpp"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

namespace parley::actors {

using namespace words;
using std::chrono::milliseconds;

namespace {

using words_told = std::vector<std::string>;

/// A directory in a test: plays readers and actors, remembers in words what it told them.
class town final : private directory_ports {
 public:
  explicit town(const directory_options& options = {.max_rooms = 100, .room_idle = milliseconds{1000}})
      : it(*this, options) {}

  words_told told;
  std::vector<std::pair<call_no, read_query>> questions;
  std::vector<std::pair<call_no, room_outcome>> replies_given;
  std::vector<authenticated_ptr> authentications;
  std::vector<store_cursors_ptr> cursors;
  bool readers_are_busy = false;
  mono_time now{};

  call_no command(std::uint8_t room, const user_id& who = ann, tenant_no tenant = acme,
                  bool is_send = true) {
    const auto call = ++last_call_;
    room_command m{.room = key_of(room, tenant),
                   .to = {gateway_no{0}, call},
                   .who = by(who),
                   .what = join_command{}};
    if (is_send) m.what = message_from(who);
    it.on(std::make_shared<const room_command>(std::move(m)), now);
    return call;
  }
  void readers_say(const read_result& answer) {
    REQUIRE(!questions.empty());
    const auto call = questions.front().first;
    questions.erase(questions.begin());
    it.on(call, answer, now);
  }
  /// Room `n` is loaded by its first command.
  instance_no load(std::uint8_t room) {
    command(room);
    readers_say(true);
    told.clear();
    return ++known_;
  }
  void retired(std::uint8_t room, instance_no i, bool yes = true) {
    it.on(room_retired{key_of(room), i, yes}, now);
  }
  void passes(milliseconds time) {
    now += time;
    it.tick(now);
  }
  void attaches(const user_id& who, std::uint64_t connection) {
    it.on(std::make_shared<const attach>(
        attach{{acme, who}, gateway_no{0}, connection_ref{connection}, 5}));
  }
  void detaches(const user_id& who, std::uint64_t connection) {
    it.on(std::make_shared<const detach>(
        detach{{acme, who}, gateway_no{0}, connection_ref{connection}}));
  }
  void moves(const user_id& who) {
    auto m = std::make_shared<move_cursors>();
    m->user = {acme, who};
    it.on(move_cursors_ptr{m});
  }
  words_told take() { return std::exchange(told, {}); }
  [[nodiscard]] const room_outcome* reply_to_call(call_no call) const {
    for (const auto& [c, outcome] : replies_given) {
      if (c == call) return &outcome;
    }
    return nullptr;
  }
  [[nodiscard]] bool refused(call_no call, error_code code) const {
    const auto* outcome = reply_to_call(call);
    return outcome != nullptr && is_error(*outcome, code);
  }

 private:
  static std::string name(instance_no i) { return std::to_string(i.value); }
  static std::string name(const room_key& k) { return std::to_string(k.room.id.bytes[15]); }
  void spawn_room(instance_no i, const room_key& k) override {
    told.push_back("spawn " + name(i) + " for room " + name(k));
  }
  void to_room(instance_no i, const room_command_ptr& m) override {
    told.push_back("call " + std::to_string(m->to.call.value) + " to " + name(i));
  }
  void to_room(instance_no i, const retire&) override { told.push_back("retire " + name(i)); }
  void drop_room(instance_no i) override { told.push_back("drop " + name(i)); }
  void spawn_session(instance_no i, const user_key& u, bool successor) override {
    told.push_back((successor ? "successor " : "session ") + name(i) + " for " + u.user.value);
  }
  void to_session(instance_no i, const attach_ptr&) override {
    told.push_back("attach to " + name(i));
  }
  void to_session(instance_no i, const detach_ptr&) override {
    told.push_back("detach to " + name(i));
  }
  void to_session(instance_no i, const move_cursors_ptr&) override {
    told.push_back("cursors to " + name(i));
  }
  void to_session(instance_no i, const set_presence_ptr&) override {
    told.push_back("presence to " + name(i));
  }
  void to_session(instance_no i, const type_in_room_ptr&) override {
    told.push_back("typing to " + name(i));
  }
  void stop_session(instance_no i) override { told.push_back("stop " + name(i)); }
  void spawn_tenant(instance_no i, tenant_no t) override {
    told.push_back("tenant " + std::to_string(t.value) + " as " + name(i));
  }
  void to_tenant(instance_no i, const tenant_loaded_ptr&) override {
    told.push_back("loaded to " + name(i));
  }
  void to_storage(store_cursors_ptr m) override {
    told.push_back("cursors to storage");
    cursors.push_back(std::move(m));
  }
  void answer(gateway_no, replies_ptr m) override {
    for (const auto& item : m->items) replies_given.emplace_back(item.call, item.outcome);
  }
  void answer(gateway_no, authenticated_ptr m) override { authentications.push_back(std::move(m)); }
  void answer(gateway_no, session_done_ptr m) override {
    told.push_back(m->failure ? "refused" : "done");
  }
  void forget_presence(const user_key& u) override { told.push_back("forget " + u.user.value); }
  void session_lost_to_all(const session_lost& m) override {
    told.push_back("lost session of " + m.user.user.value);
  }
  bool read(call_no call, tenant_no, read_query q) override {
    if (readers_are_busy) return false;
    questions.emplace_back(call, std::move(q));
    return true;
  }

  call_no last_call_{};
  instance_no known_{};

 public:
  directory it;
};

}  // namespace

TEST_SUITE("DESIGN I13 one owner: the way to a room") {
  TEST_CASE("an unknown room spawns nothing; all who asked hear that it does not exist") {
    town t;
    const auto one = t.command(1);
    const auto two = t.command(1, bob);
    REQUIRE(t.questions.size() == 1);
    CHECK(std::get<exists_query>(t.questions[0].second).room == key_of(1));
    t.readers_say(false);
    CHECK(t.take().empty());
    CHECK(t.refused(one, error_code::not_found));
    CHECK(t.refused(two, error_code::not_found));
    CHECK(std::get<error>(*t.reply_to_call(one)).stored == stored_state::no);
    CHECK(t.it.rooms() == 0);
  }
  TEST_CASE("the same id in another tenant is another room") {
    town t;
    t.load(1);
    t.command(1, ann, globex);
    CHECK(t.take().empty());
    CHECK(std::get<exists_query>(t.questions.at(0).second).room == key_of(1, globex));
    t.readers_say(false);
    CHECK(t.it.rooms() == 1);
  }
  TEST_CASE("what comes while a room is looked for goes to its one instance, in order") {
    town t;
    t.command(1);
    t.command(1, bob);
    t.command(1, ann);
    t.readers_say(true);
    CHECK(t.take() == words_told{"spawn 1 for room 1", "call 1 to 1", "call 2 to 1", "call 3 to 1"});
    t.command(1);
    CHECK(t.take() == words_told{"call 4 to 1"});
  }
  TEST_CASE("a look-up that fails refuses with its error; the next command looks again") {
    town t;
    const auto one = t.command(1);
    t.readers_say(unavailable("unreadable", milliseconds{1}));
    CHECK(t.refused(one, error_code::unavailable));
    CHECK(t.it.rooms() == 0);
    t.command(1);
    CHECK(t.questions.size() == 1);
  }
  TEST_CASE("busy readers refuse at once, and a call that is no send says nothing about storing") {
    town t;
    t.readers_are_busy = true;
    const auto send = t.command(1);
    const auto join = t.command(2, ann, acme, false);
    CHECK(std::get<error>(*t.reply_to_call(send)).stored == stored_state::no);
    CHECK(std::get<error>(*t.reply_to_call(join)).stored == stored_state::not_a_send);
    CHECK(t.it.rooms() == 0);
  }
  TEST_CASE(
      "a tenant can look for so many rooms at once and no more, and takes nothing from another") {
    town t;
    for (std::size_t n = 0; n < room_lookups_max_per_tenant; ++n) {
      room_command m{.room = key_of(0),
                     .to = {gateway_no{0}, call_no{5000 + n}},
                     .who = by(ann),
                     .what = join_command{}};
      m.room.room.id.bytes[1] = static_cast<std::uint8_t>(n / 256);
      m.room.room.id.bytes[2] = static_cast<std::uint8_t>(n % 256);
      t.it.on(std::make_shared<const room_command>(std::move(m)), t.now);
    }
    CHECK(t.questions.size() == room_lookups_max_per_tenant);
    CHECK(t.refused(t.command(200), error_code::unavailable));
    t.command(200, ann, globex);
    CHECK(t.questions.size() == room_lookups_max_per_tenant + 1);
    t.readers_say(false);
    t.command(200);
    CHECK(t.questions.size() == room_lookups_max_per_tenant + 1);
  }
  TEST_CASE("so many commands are held for a room and no more") {
    town t;
    for (std::size_t n = 0; n < limits::room_waiting_max_commands; ++n) t.command(1);
    CHECK(t.refused(t.command(1), error_code::unavailable));
    t.readers_say(true);
    CHECK(t.take().size() == limits::room_waiting_max_commands + 1);
  }
}

TEST_SUITE("DESIGN I13 retiring") {
  TEST_CASE("an unused room is told to retire once, and forgotten when it has") {
    town t;
    const auto i = t.load(1);
    t.passes(milliseconds{999});
    CHECK(t.take().empty());
    t.passes(milliseconds{1});
    t.passes(milliseconds{1});
    CHECK(t.take() == words_told{"retire 1"});
    t.retired(1, i);
    CHECK(t.take() == words_told{"drop 1"});
    CHECK(t.it.rooms() == 0);
  }
  TEST_CASE("a command keeps its room for another while") {
    town t;
    t.load(1);
    t.now += milliseconds{900};
    t.command(1);
    t.take();
    t.passes(milliseconds{900});
    CHECK(t.take().empty());
  }
  TEST_CASE(
      "what comes while a room retires goes to the next instance, in order, and never to the "
      "retired one") {
    town t;
    const auto i = t.load(1);
    t.passes(milliseconds{1000});
    t.take();
    t.command(1);
    t.command(1, bob);
    CHECK(t.take().empty());
    t.retired(1, i);
    CHECK(t.take() == words_told{"drop 1", "spawn 2 for room 1", "call 2 to 2", "call 3 to 2"});
    t.retired(1, i);  // an answer of the old one says nothing about the new one
    CHECK(t.take().empty());
  }
  TEST_CASE("a busy room goes on and gets what was held") {
    town t;
    const auto i = t.load(1);
    t.passes(milliseconds{1000});
    t.take();
    t.command(1);
    t.retired(1, i, false);
    CHECK(t.take() == words_told{"call 2 to 1"});
  }
  TEST_CASE("a busy room does not keep the unused ones behind it from retiring") {
    town t;
    const auto busy = t.load(1);
    t.now += milliseconds{500};
    t.load(2);
    t.passes(milliseconds{500});
    CHECK(t.take() == words_told{"retire 1"});
    t.retired(1, busy, false);
    t.passes(milliseconds{500});
    CHECK(t.take() == words_told{"retire 2"});
  }
  TEST_CASE("beyond its bound of rooms the longest unused retire first") {
    town t{{.max_rooms = 2, .room_idle = milliseconds{100000}}};
    t.load(1);
    t.load(2);
    t.load(3);
    t.command(1);
    t.take();
    t.it.tick(t.now, 1);
    CHECK(t.take() == words_told{"retire 2"});
  }
  TEST_CASE(
      "a room that ended by itself is forgotten, and what was held for it is looked at from the "
      "start") {
    town t;
    const auto i = t.load(1);
    t.passes(milliseconds{1000});
    t.take();
    const auto held = t.command(1);
    t.it.on(room_absent{key_of(1), i}, t.now);
    CHECK(t.take() == words_told{"drop 1"});
    t.readers_say(false);
    CHECK(t.refused(held, error_code::not_found));
  }
  TEST_CASE("a room whose actor died lives on at once, though nobody calls it") {
    town t;
    const auto i = t.load(1);
    t.it.room_down(key_of(1), i, t.now);
    CHECK(t.take() == words_told{"drop 1", "spawn 2 for room 1"});
    t.command(1);
    CHECK(t.take() == words_told{"call 2 to 2"});
    t.it.room_down(key_of(1), i, t.now);  // of the first one, late
    CHECK(t.take().empty());
    CHECK(t.it.rooms() == 1);
  }
  TEST_CASE("a room that dies again and again without a command is let go") {
    town t;
    t.load(1);
    for (std::uint64_t n = 1; n <= room_revivals_max; ++n) {
      t.it.room_down(key_of(1), instance_no{n}, t.now);
    }
    CHECK(t.it.rooms() == 1);
    t.it.room_down(key_of(1), instance_no{room_revivals_max + 1}, t.now);
    CHECK(t.it.rooms() == 0);
    t.take();
    t.it.tick(t.now);  // until the next tick: what it had appended and not published must still be told
    CHECK(t.it.rooms() == 1);
    CHECK(t.take() == words_told{"spawn 5 for room 1"});
  }
  TEST_CASE(
      "a dead room's successor that can't be read is tried again until it has told where the log "
      "stands") {
    town t;
    const auto i = t.load(1);
    t.it.room_down(key_of(1), i, t.now);
    t.take();
    for (std::uint64_t n = 2; n < 5; ++n) {
      t.it.on(room_absent{key_of(1), instance_no{n}, true}, t.now);
      CHECK(t.it.rooms() == 0);
      t.take();
      t.it.tick(t.now);
      CHECK(t.take() == words_told{"spawn " + std::to_string(n + 1) + " for room 1"});
    }
    t.it.on(room_retired{key_of(1), instance_no{5}, true}, t.now);  // it was open
    t.it.tick(t.now);
    CHECK(t.it.rooms() == 0);
  }
  TEST_CASE("of more dead rooms than the bound the first are tried again, and nothing grows") {
    town t{{.max_rooms = 2 * to_revive_max, .room_idle = std::chrono::hours{1}}};
    const auto room_of = [](std::size_t n) {
      return std::pair{static_cast<std::uint8_t>(n % 256),
                       tenant_no{static_cast<std::int64_t>(n / 256) + 1}};
    };
    for (std::size_t n = 0; n < to_revive_max + 2; ++n) {
      const auto [room, tenant] = room_of(n);
      t.command(room, ann, tenant);
      t.readers_say(true);
      t.it.room_down(key_of(room, tenant), instance_no{2 * n + 1}, t.now);
      t.it.on(room_absent{key_of(room, tenant), instance_no{2 * n + 2}, true}, t.now);
    }
    CHECK(t.it.rooms() == 0);
    t.it.tick(t.now);
    CHECK(t.it.rooms() == to_revive_max);
  }
  TEST_CASE("a dead room that is found deleted is not tried again") {
    town t;
    const auto i = t.load(1);
    t.it.room_down(key_of(1), i, t.now);
    t.it.on(room_absent{key_of(1), instance_no{2}}, t.now);
    t.it.tick(t.now);
    CHECK(t.it.rooms() == 0);
  }
}

TEST_SUITE("DESIGN I13 one session of a user") {
  TEST_CASE("the first connection spawns the session, the others share it") {
    town t;
    t.attaches(ann, 1);
    t.attaches(ann, 2);
    t.attaches(bob, 3);
    CHECK(t.take() == words_told{"session 1 for ann", "attach to 1", "attach to 1",
                                 "session 2 for bob", "attach to 2"});
    t.detaches(ann, 1);
    CHECK(t.take() == words_told{"detach to 1"});
    t.detaches(cyd, 9);
    CHECK(t.take().empty());
  }
  TEST_CASE("an idle session is stopped, unless an attach that it has not seen is on its way") {
    town t;
    t.attaches(ann, 1);
    t.attaches(ann, 2);
    t.take();
    t.it.on(session_idle{{acme, ann}, instance_no{1}, 1});
    CHECK(t.take().empty());
    t.it.on(session_idle{{acme, ann}, instance_no{1}, 2});
    CHECK(t.take() == words_told{"stop 1"});
    CHECK(t.it.sessions() == 0);
    t.attaches(ann, 3);
    CHECK(t.take() == words_told{"session 2 for ann", "attach to 2"});
    t.it.on(session_idle{{acme, ann}, instance_no{1}, 1});
    CHECK(t.it.sessions() == 1);
  }
  TEST_CASE("nor is it stopped while cursors that it has not seen are on their way") {
    town t;
    t.attaches(ann, 1);
    t.moves(ann);
    t.take();
    t.it.on(session_idle{{acme, ann}, instance_no{1}, 1});
    CHECK(t.take().empty());
    t.it.on(session_idle{{acme, ann}, instance_no{1}, 2});
    CHECK(t.take() == words_told{"stop 1"});
  }
  TEST_CASE(
      "cursors go through the session of an online user, and straight to storage for one who is "
      "not") {
    town t;
    t.moves(ann);
    CHECK(t.take() == words_told{"cursors to storage"});
    CHECK(!t.cursors[0]->session);
    t.attaches(ann, 1);
    t.take();
    t.moves(ann);
    CHECK(t.take() == words_told{"cursors to 1"});
  }
  TEST_CASE(
      "a session that died is told to all gateways, once; the next connection gets a new one") {
    town t;
    t.attaches(ann, 1);
    t.take();
    t.it.session_down({acme, ann}, instance_no{1});
    t.it.session_down({acme, ann}, instance_no{1});
    CHECK(t.take() == words_told{"lost session of ann", "successor 2 for ann"});
    t.attaches(ann, 2);
    CHECK(t.take() == words_told{"attach to 2"});
  }
  TEST_CASE("a successor that dies with nothing to do has none; the table forgets the user") {
    town t;
    t.attaches(ann, 1);
    t.it.session_down({acme, ann}, instance_no{1});
    t.take();
    t.it.session_down({acme, ann}, instance_no{2});
    CHECK(t.take() == words_told{"lost session of ann", "forget ann"});
    CHECK(t.it.sessions() == 0);
    t.attaches(ann, 2);
    CHECK(t.take() == words_told{"session 3 for ann", "attach to 3"});
  }
  TEST_CASE("typing and presence.set go to the session; without one they are refused") {
    town t;
    const auto asks = [&] {
      t.it.on(std::make_shared<const set_presence>(set_presence{{acme, ann}, {}, {}, true}));
      t.it.on(std::make_shared<const type_in_room>(type_in_room{{acme, ann}, {}, {}, {}}));
    };
    asks();
    CHECK(t.take() == words_told{"refused", "refused"});
    t.attaches(ann, 1);
    t.take();
    asks();
    CHECK(t.take() == words_told{"presence to 1", "typing to 1"});
  }
}

TEST_SUITE("SPEC 3 credentials find their tenant") {
  const auto asks = [](town& t, std::uint8_t key) {
    t.it.on(std::make_shared<const authenticate>(
        authenticate{{gateway_no{0}, call_no{key}}, sha256_digest{key}}));
  };
  const auto the_row = [] {
    store::tenant_row row;
    row.no = acme;
    row.name = "acme";
    return read_result{std::optional{row}};
  };
  TEST_CASE("a known key wakes its tenant once and is answered by it") {
    town t;
    asks(t, 1);
    asks(t, 2);
    t.readers_say(the_row());
    t.readers_say(the_row());
    CHECK(t.take() == words_told{"tenant 1 as 1", "loaded to 1", "loaded to 1"});
    CHECK(t.authentications.empty());
    t.it.tenant_down(acme, instance_no{1});
    CHECK(t.it.tenants() == 0);
  }
  TEST_CASE("an unknown key is answered without a tenant, an unreadable file with its failure") {
    town t;
    asks(t, 1);
    t.readers_say(std::optional<store::tenant_row>{});
    asks(t, 2);
    t.readers_say(unavailable("unreadable", milliseconds{1}));
    t.readers_are_busy = true;
    asks(t, 3);
    REQUIRE(t.authentications.size() == 3);
    CHECK(!t.authentications[0]->tenant);
    CHECK(!t.authentications[0]->failure);
    CHECK(t.authentications[1]->failure);
    CHECK(t.authentications[2]->failure->code == error_code::unavailable);
    CHECK(t.take().empty());
  }
}

}  // namespace parley::actors
