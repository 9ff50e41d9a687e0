#include "net/ephemerals.hpp"

#include "protocol/server_frame.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace parley::net {

namespace {

constexpr tenant_no acme{1};
constexpr tenant_no globex{2};

room_id room_id_of(std::uint8_t n) {
  room_id out;
  out.id.bytes[15] = n;
  return out;
}
room_key key_of(std::uint8_t n, tenant_no tenant = acme) { return {tenant, room_id_of(n)}; }

/// A gateway's delivery in a test: connections named by number, each with the rooms that are live on it.
class gate final : private delivery_ports, private ephemeral_ports {
 public:
  explicit gate(const ephemerals_options& options = {}) : it(readers, *this, options) {}

  std::map<std::uint64_t, std::vector<std::string>> got;  ///< ephemerals, a connection
  std::set<std::uint64_t> behind;
  subscriptions readers{*this, {}};
  ephemerals it;

  /// A manual connection that subscribes to these rooms and gets them.
  void connects(std::uint64_t c, const std::string& user, const std::vector<std::uint8_t>& rooms,
                tenant_no tenant = acme) {
    readers.add(connection_ref{c}, {tenant, user_id{user}}, sync_mode::manual);
    readers.start(connection_ref{c});
    for (const auto room : rooms) subscribes(c, room);
  }
  void subscribes(std::uint64_t c, std::uint8_t room) {
    readers.subscribe(connection_ref{c}, {}, room_id_of(room));
    store::checked_rooms found;
    found.rooms.push_back(store::room_position{
        room_no{room}, room_id_of(room), room_seq{1}, room_seq{5}, {}, {}, member_role::member});
    answer(std::move(found));
  }
  void answer(actors::read_result result) {
    REQUIRE(!asked.empty());
    const auto call = asked.back();
    asked.pop_back();
    readers.on(call, result);
  }
  void ends(std::uint64_t c) { readers.remove(connection_ref{c}); }
  void types(const std::string& user, std::uint8_t room, bool start = true, tenant_no tenant = acme) {
    it.on(std::make_shared<const actors::typing_shown>(
        actors::typing_shown{key_of(room, tenant), user_id{user}, start}));
  }
  void is(const std::string& user, actors::presence_status status,
          const std::vector<std::uint8_t>& rooms, std::size_t dms = 0) {
    actors::presence_shown m;
    m.user = {acme, user_id{user}};
    m.status = status;
    for (const auto room : rooms) m.rooms.push_back(room_id_of(room));
    m.dms = dms;
    it.on(std::make_shared<const actors::presence_shown>(std::move(m)));
  }
  void moved(const std::string& user, std::uint8_t room, std::int64_t seq, bool read = false) {
    actors::cursors_shown m;
    m.items.push_back({key_of(room), user_id{user}, read, room_seq{seq}});
    it.on(std::make_shared<const actors::cursors_shown>(std::move(m)));
  }
  void ticks(int n) {
    for (; n > 0; --n) it.tick();
  }
  std::vector<std::string> take(std::uint64_t c) { return std::exchange(got[c], {}); }
  [[nodiscard]] std::size_t frames() const {
    std::size_t n = 0;
    for (const auto& [c, texts] : got) n += texts.size();
    return n;
  }

  std::vector<call_no> asked;

 private:
  void send(connection_ref, const frame_ptr&) override {}  // what subscriptions say is not looked at
  [[nodiscard]] std::size_t space(connection_ref) const override { return 1 << 20; }
  [[nodiscard]] bool takes(connection_ref, std::size_t) override { return true; }
  bool read(call_no call, tenant_no, actors::read_query) override {
    asked.push_back(call);
    return true;
  }
  void restart(connection_ref) override {}
  void wake() override {}
  [[nodiscard]] bool keeps_up(connection_ref c) const override { return !behind.contains(c.value); }
  void send_ephemeral(connection_ref c, const frame_ptr& f) override {
    got[c.value].emplace_back(f->payload());
  }
};

std::string typing(const std::string& user, std::uint8_t room, bool start = true) {
  std::string out;
  append_typing(out, room_id_of(room), user, start);
  return out;
}
std::string receipt(const std::string& user, std::uint8_t room, std::int64_t seq, bool read = false) {
  std::string out;
  append_cursor_received(out, {}, read, room_id_of(room), room_seq{seq}, user);
  return out;
}
std::string presence(const std::string& user, const std::string& status) {
  std::string out;
  append_presence_update(out, user, status, std::nullopt);
  return out;
}
using texts = std::vector<std::string>;

}  // namespace

TEST_SUITE("SPEC 5 ephemerals go to connections on which the room is live") {
  TEST_CASE("to the others' connections there, and to no other room, user or tenant") {
    gate g;
    g.connects(1, "ann", {1});
    g.connects(2, "bob", {1, 2});
    g.connects(3, "bob", {2});  // another device, on which room 1 is not live
    g.connects(4, "cyd", {2});
    g.connects(5, "ann", {1}, globex);
    g.types("ann", 1);
    CHECK(g.take(2) == texts{typing("ann", 1)});
    CHECK(g.frames() == 0);
    g.types("nobody here", 1, false);
    CHECK(g.take(1) == texts{typing("nobody here", 1, false)});
    CHECK(g.take(2).size() == 1);
    CHECK(g.frames() == 0);
    g.types("ann", 9);
    CHECK(g.frames() == 0);
  }
  TEST_CASE("never to the user's own connections") {
    gate g;
    g.connects(1, "ann", {1});
    g.connects(2, "ann", {1});
    g.types("ann", 1);
    g.is("ann", actors::presence_status::away, {1});
    g.moved("ann", 1, 5);
    g.ticks(2);
    CHECK(g.frames() == 0);
  }
  TEST_CASE(
      "not while a sync has it, not after an unsubscribe, not when the membership has ended") {
    gate g;
    g.connects(1, "ann", {});
    g.connects(2, "bob", {1});
    sync_frame frame;
    frame.rooms.push_back({room_id_of(1).id.to_string(), room_id_of(1), std::nullopt});
    g.readers.sync(connection_ref{1}, {}, frame);
    store::checked_rooms found;
    found.rooms.push_back(store::room_position{
        room_no{1}, room_id_of(1), room_seq{1}, room_seq{5}, {}, {}, member_role::member});
    g.answer(std::move(found));
    g.types("cyd", 1);
    CHECK(g.take(1).empty());
    CHECK(g.take(2).size() == 1);
    while (g.readers.run(100)) {}
    g.types("cyd", 1);
    CHECK(g.take(1).size() == 1);
    CHECK(g.take(2).size() == 1);
    g.readers.unsubscribe(connection_ref{1}, {}, room_id_of(1));
    actors::publish left;
    left.room = key_of(1);
    left.no = room_no{1};
    left.first_seq = room_seq{6};
    left.frames = {make_text_frame("{}")};
    left.members = {{user_id{"bob"}, room_seq{6}, false, {}}};
    left.commit = commit_no{3};
    g.readers.on(std::make_shared<const actors::publish>(std::move(left)));
    g.types("cyd", 1);
    CHECK(g.frames() == 0);
  }
  TEST_CASE("a connection that has ended gets none") {
    gate g;
    g.connects(1, "ann", {1});
    g.moved("bob", 1, 3);
    g.ends(1);
    g.ticks(2);
    CHECK(g.frames() == 0);
    CHECK(g.it.receipts_waiting() == 0);
  }
}

TEST_SUITE("SPEC 2.6 whoever is behind gets none of it, and that is counted") {
  TEST_CASE("typing, presence and receipts are dropped for one and shown to the others") {
    gate g;
    g.connects(1, "ann", {1});
    g.connects(2, "bob", {1});
    g.behind.insert(1);
    g.types("cyd", 1);
    g.is("cyd", actors::presence_status::online, {1});
    g.moved("cyd", 1, 3);
    g.ticks(2);
    CHECK(g.take(1).empty());
    CHECK(g.take(2).size() == 3);
    CHECK(g.it.counters().dropped_behind == 3);
    CHECK(g.it.counters().sent == 3);
  }
}

TEST_SUITE("SPEC 5 receipts to the other members") {
  TEST_CASE("they wait for the second tick, and the last word replaces those before") {
    gate g;
    g.connects(1, "ann", {1, 2});
    for (const auto seq : {3, 9, 5}) g.moved("bob", 1, seq);
    g.moved("bob", 2, 1);
    g.ticks(1);
    CHECK(g.frames() == 0);
    CHECK(g.it.receipts_waiting() == 2);
    g.ticks(1);
    CHECK(g.take(1) == texts{receipt("bob", 1, 9), receipt("bob", 2, 1)});
    g.ticks(10);
    CHECK(g.frames() == 0);
  }
  TEST_CASE("a read swallows the acks up to it; an ack beyond it is told before it") {
    gate g;
    g.connects(1, "ann", {1});
    g.moved("bob", 1, 7);
    g.moved("bob", 1, 7, true);
    g.ticks(2);
    CHECK(g.take(1) == texts{receipt("bob", 1, 7, true)});
    g.moved("bob", 1, 9);
    g.moved("bob", 1, 8, true);
    g.ticks(2);
    CHECK(g.take(1) == texts{receipt("bob", 1, 9), receipt("bob", 1, 8, true)});
  }
  TEST_CASE("more than may wait are dropped and counted; what waits already is still raised") {
    gate g{{.receipts_max = 2}};
    g.connects(1, "ann", {1});
    g.moved("bob", 1, 1);
    g.moved("cyd", 1, 1);
    g.moved("dan", 1, 1);
    g.moved("bob", 1, 2);
    CHECK(g.it.counters().dropped_full == 1);
    g.ticks(2);
    CHECK(g.take(1) == texts{receipt("bob", 1, 2), receipt("cyd", 1, 1)});
    CHECK(g.it.receipts_waiting() == 0);
  }
  TEST_CASE("a flush has its bound; the rest comes with the next, and nothing is lost") {
    gate g{{.receipt_frames_per_flush = 3}};
    g.connects(1, "ann", {1});
    g.connects(2, "eve", {1});
    for (const auto* user : {"bob", "cyd", "dan"}) g.moved(user, 1, 1);
    g.ticks(2);
    CHECK(g.frames() == 4);
    g.ticks(2);
    CHECK(g.frames() == 6);
  }
}

TEST_SUITE("SPEC 5 presence updates") {
  TEST_CASE("a connection on which several of the rooms are live hears it once") {
    gate g;
    g.connects(1, "ann", {1, 2, 3});
    g.connects(2, "cyd", {3});
    g.connects(3, "dan", {4});
    g.is("bob", actors::presence_status::online, {1, 2, 3}, 1);
    CHECK(g.take(1) == texts{presence("bob", "online")});
    CHECK(g.take(2) == texts{presence("bob", "online")});
    CHECK(g.frames() == 0);
  }
  TEST_CASE("beyond a tick's share groups wait, dms do not; the latest status is told once") {
    gate g{{.presence_frames_per_s = 20}};  // two a tick
    g.connects(1, "ann", {1});
    g.connects(2, "cyd", {2});
    g.connects(3, "dan", {2});
    g.connects(4, "ann", {1, 2});
    const auto is = [&](actors::presence_status status) { g.is("bob", status, {1, 2}, 1); };
    is(actors::presence_status::online);  // four frames: two of the next tick's
    CHECK(g.frames() == 4);
    g.got.clear();
    is(actors::presence_status::away);
    is(actors::presence_status::online);
    CHECK(g.take(1) == texts{presence("bob", "away"), presence("bob", "online")});
    CHECK(g.take(4).size() == 2);
    CHECK(g.frames() == 0);
    g.ticks(3);
    CHECK(g.frames() == 0);  // the debt: two of the first, and four in dms
    g.ticks(1);
    CHECK(g.take(2) == texts{presence("bob", "online")});
    CHECK(g.take(3) == texts{presence("bob", "online")});
    CHECK(g.frames() == 0);  // who reads the dm has heard it
    g.ticks(10);
    CHECK(g.frames() == 0);
    CHECK(g.it.counters().dropped_budget == 0);
  }
  TEST_CASE(
      "a herd is told in slices, in order; beyond the bound of who waits it is not, and that is "
      "counted") {
    gate g{{.presence_frames_per_s = 20, .presence_waiting_max = 5}};
    g.connects(1, "ann", {1});
    for (int i = 0; i < 10; ++i)
      g.is("user " + std::to_string(i), actors::presence_status::offline, {1});
    // Two at once, five wait, three are not told.
    CHECK(g.take(1) == texts{presence("user 0", "offline"), presence("user 1", "offline")});
    CHECK(g.it.counters().dropped_budget == 3);
    g.ticks(1);
    CHECK(g.take(1) == texts{presence("user 2", "offline"), presence("user 3", "offline")});
    g.ticks(2);
    CHECK(g.take(1).size() == 3);
    g.ticks(5);
    g.is("user 9", actors::presence_status::online, {1});
    CHECK(g.take(1) == texts{presence("user 9", "online")});
  }
}

}  // namespace parley::net
