#include "net/notification_feed.hpp"

#include "tests/support/seeds.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace parley::net {

namespace {

using namespace std::chrono_literals;

constexpr tenant_no acme{1};
constexpr tenant_no globex{2};
using numbers = std::vector<std::int64_t>;

room_id room_of(std::uint8_t n) {
  room_id out;
  out.id.bytes[15] = n;
  return out;
}
uuid id_of(std::int64_t no) {
  uuid out;
  out.bytes[14] = static_cast<std::uint8_t>(no >> 8);
  out.bytes[15] = static_cast<std::uint8_t>(no);
  return out;
}
user_key key_of(const std::string& user, tenant_no tenant = acme) {
  return {tenant, user_id{user}};
}

/// A gateway's notifications in a test, and the store behind it. Frames say their number.
class gate final : private notification_ports {
 public:
  explicit gate(const notification_feed_options& options = {}) : it(*this, options) {}

  struct made {
    std::int64_t no;
    tenant_no tenant;
    std::set<std::string> users;
    std::optional<std::uint8_t> room;
    std::set<std::string> acked;
  };
  struct device {
    user_key user;
    bool explicit_acks = false;
    bool is_slow = false;  ///< takes nothing more
    bool is_unwritten = false;
    numbers got{};
    int pings = 0;  ///< asked for
  };

  std::vector<made> all;
  std::map<std::uint64_t, device> devices;
  std::map<std::uint8_t, std::set<std::string>> rooms;
  std::deque<std::pair<call_no, std::variant<actors::notifications_query, actors::members_query>>> asked;
  bool readers_full = false;
  std::vector<std::pair<std::string, numbers>> acks;  ///< handed to the store
  std::map<std::int64_t, std::uint32_t> written;      ///< likewise
  mono_time now{};
  notification_feed it;

  void connects(std::uint64_t c, const std::string& user, bool reads = true,
                bool explicit_acks = false, tenant_no tenant = acme) {
    devices[c] = {key_of(user, tenant), explicit_acks};
    it.start({connection_ref{c}, explicit_acks}, key_of(user, tenant), reads);
  }
  void ends(std::uint64_t c) {
    const auto user = devices.at(c).user;
    devices.erase(c);
    it.remove(connection_ref{c}, user);
  }
  /// Made and committed; nobody here knows yet.
  made& commits(std::set<std::string> users, std::optional<std::uint8_t> room = {},
                tenant_no tenant = acme) {
    all.push_back({static_cast<std::int64_t>(all.size()) + 1, tenant, std::move(users), room, {}});
    return all.back();
  }
  void shows(const made& n) {
    actors::notification_shown m;
    m.tenant = n.tenant;
    m.no = notification_no{n.no};
    m.id = id_of(n.no);
    for (const auto& user : n.users) {
      const bool is_member = n.room && rooms[*n.room].contains(user);
      if (!is_member) m.users.emplace_back(user);
    }
    if (n.room) m.room = room_of(*n.room);
    m.frame = make_text_frame(std::to_string(n.no));
    it.on(std::make_shared<const actors::notification_shown>(std::move(m)));
  }
  std::int64_t notifies(std::set<std::string> users, std::optional<std::uint8_t> room = {},
                        tenant_no tenant = acme) {
    const auto& n = commits(std::move(users), room, tenant);
    shows(n);
    return n.no;
  }
  [[nodiscard]] bool is_for(const made& n, const user_key& user) const {
    if (n.tenant != user.tenant) return false;
    const auto members = n.room ? rooms.find(*n.room) : rooms.end();
    return n.users.contains(user.user.value) ||
           (members != rooms.end() && members->second.contains(user.user.value));
  }
  /// The store's answer, as of now.
  [[nodiscard]] actors::read_result answer_to(
      const std::variant<actors::notifications_query, actors::members_query>& question) const {
    if (const auto* page = std::get_if<actors::notifications_query>(&question)) {
      actors::notification_frames out;
      out.to = page->after;
      for (const auto& n : all) {
        if (n.no <= page->after.value || !is_for(n, page->user) ||
            n.acked.contains(page->user.user.value)) {
          continue;
        }
        if (out.items.size() >= page->max_items) {
          out.more = true;
          return out;
        }
        out.items.push_back(
            {notification_no{n.no}, id_of(n.no), make_text_frame(std::to_string(n.no))});
        out.to = notification_no{n.no};
      }
      out.to = notification_no{static_cast<std::int64_t>(all.size())};
      return out;
    }
    const auto& q = std::get<actors::members_query>(question);
    const auto room = rooms.find(q.room.room.id.bytes[15]);
    if (room == rooms.end()) return not_found("room");
    actors::members_result_page out;
    std::size_t at = 0;
    const auto from = q.cursor.empty() ? 0 : std::stoul(q.cursor);
    for (const auto& user : room->second) {
      if (at++ < from) continue;
      if (out.list.members.size() == q.limit) {
        out.list.next_cursor = std::to_string(at - 1);
        break;
      }
      store::member_list::item item;
      item.member.user = user_id{user};
      out.list.members.push_back(std::move(item));
    }
    return out;
  }
  void answers() {
    while (!asked.empty()) answers_one();
  }
  void answers_one() {
    REQUIRE(!asked.empty());
    const auto [call, question] = asked.front();
    asked.pop_front();
    it.on(call, answer_to(question));
  }
  void answers_one(const actors::read_result& with) {
    REQUIRE(!asked.empty());
    const auto call = asked.front().first;
    asked.pop_front();
    it.on(call, with);
  }
  void hears(std::uint64_t c) { it.heard(connection_ref{c}); }
  void drains(std::uint64_t c) {
    devices.at(c).is_slow = false;
    it.drained(connection_ref{c});
  }
  void passes(mono_time::duration time) {
    for (const auto end = now + time; now < end; now += 100ms) it.tick(now + 100ms);
  }
  numbers take(std::uint64_t c) { return std::exchange(devices.at(c).got, {}); }
  [[nodiscard]] std::size_t frames() const {
    std::size_t n = 0;
    for (const auto& [c, d] : devices) n += d.got.size();
    return n;
  }

 private:
  void send(connection_ref c, const frame_ptr& f) override {
    devices.at(c.value).got.push_back(std::stoll(std::string{f->payload()}));
  }
  [[nodiscard]] bool takes(connection_ref c, std::size_t) override {
    return !devices.at(c.value).is_slow;
  }
  void ping(connection_ref c) override { ++devices.at(c.value).pings; }
  [[nodiscard]] bool is_written(connection_ref c) const override {
    return !devices.at(c.value).is_unwritten;
  }
  void add_devices(const user_key& user, std::vector<notified_device>& out) const override {
    for (const auto& [c, d] : devices) {
      if (d.user == user) out.push_back({connection_ref{c}, d.explicit_acks});
    }
  }
  void add_users(tenant_no tenant, std::vector<user_key>& out) const override {
    for (const auto& [c, d] : devices) {
      if (d.user.tenant == tenant) out.push_back(d.user);
    }
  }
  bool ask(call_no call, actors::notifications_query q) override {
    if (readers_full) return false;
    asked.emplace_back(call, std::move(q));
    return true;
  }
  bool ask(call_no call, actors::members_query q) override {
    if (readers_full) return false;
    asked.emplace_back(call, std::move(q));
    return true;
  }
  void acknowledged(const user_key& user, std::vector<uuid> ids) override {
    auto& [name, nos] = acks.emplace_back(user.user.value, numbers{});
    for (const auto& id : ids) {
      const auto no = (static_cast<std::int64_t>(id.bytes[14]) << 8) + id.bytes[15];
      nos.push_back(no);
      if (no >= 1 && static_cast<std::size_t>(no) <= all.size())
        all[static_cast<std::size_t>(no) - 1].acked.insert(name);
    }
  }
  void sent(tenant_no, std::vector<std::pair<uuid, std::uint32_t>> rows) override {
    for (const auto& [id, times] : rows)
      written[(static_cast<std::int64_t>(id.bytes[14]) << 8) + id.bytes[15]] += times;
  }
};

numbers from_to(std::int64_t first, std::int64_t last) {
  numbers out;
  for (auto no = first; no <= last; ++no) out.push_back(no);
  return out;
}
using handed_over = std::vector<std::pair<std::string, numbers>>;

}  // namespace

TEST_SUITE("SPEC 6 notifications reach who is online at once") {
  TEST_CASE("every connection of a named user, and nobody else's") {
    gate g;
    g.connects(1, "ann", false);
    g.connects(2, "ann", false);
    g.connects(3, "bob", false);
    g.connects(4, "ann", false, false, globex);
    g.notifies({"ann"});
    CHECK(g.take(1) == numbers{1});
    CHECK(g.take(2) == numbers{1});
    CHECK(g.frames() == 0);
    CHECK(g.asked.empty());
    g.notifies({"ann"}, {}, globex);
    CHECK(g.take(4) == numbers{2});
    CHECK(g.frames() == 0);
  }

  TEST_CASE("a connection that has acknowledged all costs nothing, and gets the next ones") {
    gate g;
    g.connects(1, "ann", false);
    CHECK(g.it.size() == 0);
    g.notifies({"ann"});
    CHECK(g.it.size() == 1);
    g.hears(1);
    CHECK(g.it.size() == 0);
    g.notifies({"ann"});
    CHECK(g.take(1) == numbers{1, 2});
  }

  TEST_CASE("members of a room get what is for the room, whatever is live where") {
    gate g;
    g.rooms[7] = {"ann", "bob", "cyd"};
    g.connects(1, "ann", false);
    g.connects(2, "bob", false);
    g.connects(3, "dan", false);
    g.connects(4, "eve", false);
    g.notifies({"dan"}, 7);
    CHECK(g.take(3) == numbers{1});
    CHECK(g.frames() == 0);  // its members are being asked for
    g.answers();
    CHECK(g.take(1) == numbers{1});
    CHECK(g.take(2) == numbers{1});
    CHECK(g.frames() == 0);
  }

  TEST_CASE("one that comes while a room's members are read waits its turn") {
    gate g;
    g.rooms[7] = {"ann"};
    g.connects(1, "ann", false);
    g.connects(2, "bob", false);
    g.notifies({}, 7);
    g.notifies({"ann", "bob"});
    CHECK(g.frames() == 0);
    g.answers();
    CHECK(g.take(1) == numbers{1, 2});
    CHECK(g.take(2) == numbers{2});
  }

  TEST_CASE("several for one room share the reading of its members, which goes by pages") {
    notification_feed_options options;
    options.members_page = 2;
    gate g{options};
    g.rooms[7] = {"ann", "bob", "cyd", "dan", "eve"};
    g.connects(1, "ann", false);
    g.connects(2, "eve", false);
    g.connects(3, "fay", false);
    for (int n = 0; n < 4; ++n) g.notifies({}, 7);
    g.answers();
    CHECK(g.take(1) == from_to(1, 4));
    CHECK(g.take(2) == from_to(1, 4));
    CHECK(g.take(3).empty());
    CHECK(g.it.counters().room_pages == 6);  // the first alone, then three at once
    CHECK(g.it.counters().pages == 0);
  }

  TEST_CASE(
      "of a big room's members only a page is read when fewer can be here: they read for "
      "themselves") {
    notification_feed_options options;
    options.members_page = 2;
    gate g{options};
    g.rooms[7] = {"ann", "bob", "cyd", "dan", "eve"};
    g.connects(1, "eve", false);
    g.connects(2, "fay", false);
    for (int n = 0; n < 4; ++n) g.notifies({}, 7);
    g.notifies({"fay"});
    g.answers();
    CHECK(g.take(1) == from_to(1, 4));
    CHECK(g.take(2) == numbers{5});
    CHECK(g.it.counters().room_pages == 1);
    CHECK(g.it.counters().overflows == 0);
    g.hears(1);
    g.hears(2);
    g.notifies({"eve", "fay"});
    CHECK(g.take(1) == numbers{6});
    CHECK(g.take(2) == numbers{6});
  }

  TEST_CASE("a room that is gone has no members; one that can't be read is asked for again") {
    gate g;
    g.connects(1, "ann", false);
    g.notifies({}, 9);
    g.notifies({"ann"});
    g.answers();
    CHECK(g.take(1) == numbers{2});
    g.rooms[7] = {"ann"};
    g.notifies({}, 7);
    g.answers_one(unavailable("the disk", 1s));
    CHECK(g.frames() == 0);
    g.passes(100ms);
    g.answers();
    CHECK(g.take(1) == numbers{3});
    g.readers_full = true;
    g.notifies({}, 7);
    g.passes(100ms);
    g.readers_full = false;
    g.passes(100ms);
    g.answers();
    CHECK(g.take(1) == numbers{4});
  }

  TEST_CASE("when too many wait for a room's members, whoever is here reads what is for it") {
    notification_feed_options options;
    options.shows_max = 8;
    gate g{options};
    g.rooms[7] = {"ann"};
    g.connects(1, "ann", false);
    g.connects(2, "bob", false);
    g.connects(3, "cyd", false, false, globex);
    for (int n = 0; n < 8; ++n) g.notifies({}, 7);
    CHECK(g.asked.size() == 1);
    g.notifies({"bob"});
    CHECK(g.it.counters().overflows == 1);
    g.answers();  // the members come too late, and count no more
    CHECK(g.take(1) == from_to(1, 8));
    CHECK(g.take(2) == numbers{9});
    CHECK(g.take(3).empty());
    g.notifies({}, 7);
    g.answers();
    CHECK(g.take(1) == numbers{10});
    g.it.check_invariants();
  }
}

TEST_SUITE("SPEC 6 notifications reach others when they connect") {
  TEST_CASE("what waits comes page by page, the next when the one before is acknowledged") {
    gate g;
    for (int n = 0; n < 150; ++n) g.commits({"ann"});
    g.connects(1, "ann");
    g.answers();
    CHECK(g.take(1) == from_to(1, 64));
    CHECK(g.asked.empty());
    g.hears(1);
    g.answers();
    CHECK(g.take(1) == from_to(65, 128));
    g.hears(1);
    g.answers();
    CHECK(g.take(1) == from_to(129, 150));
    g.hears(1);
    CHECK(g.asked.empty());
    CHECK(g.take(1).empty());
  }

  TEST_CASE("what is shown while it is read comes once, and after it") {
    gate g;
    g.commits({"ann"});
    g.connects(1, "ann");
    const auto before = g.answer_to(g.asked.front().second);
    g.notifies({"ann"});
    CHECK(g.frames() == 0);
    g.answers_one(before);  // its snapshot has not seen the second
    g.answers();
    CHECK(g.take(1) == numbers{1, 2});
    // And with a snapshot that has seen what is shown only now.
    gate h;
    h.commits({"ann"});
    h.connects(1, "ann");
    const auto& second = h.commits({"ann"});
    h.answers_one();
    h.shows(second);
    h.answers();
    CHECK(h.take(1) == numbers{1, 2});
  }

  TEST_CASE("what was read, and acknowledged, before it is shown here does not come again") {
    gate g;
    g.connects(2, "bob", false);
    const auto one = g.commits({"ann", "bob"});
    g.connects(1, "ann");
    g.answers();
    CHECK(g.take(1) == numbers{1});
    g.hears(1);
    g.shows(one);
    g.answers();
    CHECK(g.take(1).empty());
    CHECK(g.take(2) == numbers{1});
  }

  TEST_CASE(
      "what the user has acknowledged does not come to its next connection, however late it is "
      "shown here") {
    gate g;
    g.connects(9, "bob", false);
    const auto one = g.commits({"ann"});
    g.connects(1, "ann");
    g.answers();
    g.hears(1);
    g.ends(1);
    CHECK(g.all[0].acked.contains("ann"));
    g.connects(2, "ann", false);  // its room list said that nothing waits
    g.shows(one);
    g.answers();
    CHECK(g.take(2).empty());
    g.notifies({"ann"});
    g.answers();
    CHECK(g.take(2) == numbers{2});
  }

  TEST_CASE("a page that can't be read is asked for again") {
    gate g;
    g.commits({"ann"});
    g.readers_full = true;
    g.connects(1, "ann");
    CHECK(g.asked.empty());
    g.readers_full = false;
    g.passes(100ms);
    g.answers_one(unavailable("the disk", 1s));
    g.notifies({"ann"});
    g.passes(100ms);
    g.answers();
    CHECK(g.take(1) == numbers{1, 2});
  }

  TEST_CASE("nobody is asked where nothing can wait") {
    gate g;
    CHECK(g.it.may_wait(acme));  // nobody knows yet
    g.connects(1, "ann", g.it.may_wait(acme));
    CHECK(g.asked.size() == 1);
    g.answers();
    CHECK_FALSE(g.it.may_wait(acme));
    CHECK(g.it.size() == 0);
    g.connects(2, "bob", g.it.may_wait(acme));
    CHECK(g.asked.empty());
    CHECK(g.it.shows(acme) == 0);
    g.notifies({"bob"});
    CHECK(g.it.may_wait(acme));
    CHECK(g.it.shows(acme) == 1);
    CHECK(g.take(2) == numbers{1});
    // One that was shown while the first was being answered.
    gate h;
    h.connects(1, "ann", h.it.may_wait(acme));
    const auto nothing = h.answer_to(h.asked.front().second);
    h.notifies({"bob"});
    h.answers_one(nothing);
    CHECK(h.it.may_wait(acme));
  }

  TEST_CASE("so many reads are under way at once, and no more") {
    notification_feed_options options;
    options.reads_max = 4;
    gate g{options};
    g.commits({"u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8"});
    for (std::uint64_t c = 0; c < 9; ++c) g.connects(c, "u" + std::to_string(c));
    CHECK(g.asked.size() == 4);
    g.ends(6);
    g.answers();
    for (const std::uint64_t c : {0U, 1U, 2U, 3U, 4U, 5U, 7U, 8U}) CHECK(g.take(c) == numbers{1});
  }
}

TEST_SUITE("SPEC 2.6 a slow reader loses no notification") {
  TEST_CASE("it reads when it has drained, and nothing is kept for it meanwhile") {
    gate g;
    g.connects(1, "ann", false);
    g.notifies({"ann"});
    g.devices.at(1).is_slow = true;
    for (int n = 0; n < 5; ++n) g.notifies({"ann"});
    CHECK(g.take(1) == numbers{1});
    CHECK(g.asked.empty());
    g.drains(1);
    g.answers();
    CHECK(g.take(1) == from_to(2, 6));
    g.notifies({"ann"});
    CHECK(g.take(1) == numbers{7});
  }

  TEST_CASE("one that stops within a page goes on from there") {
    gate g;
    for (int n = 0; n < 3; ++n) g.commits({"ann"});
    g.connects(1, "ann");
    g.devices.at(1).is_slow = true;
    g.answers();
    CHECK(g.take(1).empty());
    g.notifies({"ann"});
    g.drains(1);
    g.answers();
    CHECK(g.take(1) == from_to(1, 4));
    g.it.check_invariants();
  }
}

TEST_SUITE("SPEC 5 notifications are acknowledged") {
  TEST_CASE("by the next frame or pong, once they have left the node; a tick's go together") {
    gate g;
    g.connects(1, "ann", false);
    g.notifies({"ann"});
    g.notifies({"ann"});
    g.devices.at(1).is_unwritten = true;
    g.hears(1);
    g.passes(100ms);
    CHECK(g.acks.empty());
    g.devices.at(1).is_unwritten = false;
    g.hears(1);
    g.hears(1);
    CHECK(g.acks.empty());
    g.passes(100ms);
    CHECK(g.acks == handed_over{{"ann", {1, 2}}});
    g.passes(1s);
    CHECK(g.acks.size() == 1);
  }

  TEST_CASE("who only listens is pinged when half a page is unacknowledged, once until heard") {
    notification_feed_options o;
    o.page = 4;
    gate g{o};
    g.connects(1, "ann", false);
    g.connects(2, "bob", false, true);
    const auto both = [&](int n) {
      for (int i = 0; i < n; ++i) g.notifies({"ann", "bob"});
    };
    both(1);
    CHECK(g.devices.at(1).pings == 0);
    both(3);
    CHECK(g.devices.at(1).pings == 1);
    both(20);
    g.answers();
    CHECK(g.devices.at(1).got.size() == 4);
    CHECK(g.devices.at(1).pings == 1);
    // Each pong brings the next page.
    for (int pongs = 0; pongs < 6 && g.devices.at(1).got.size() < 24; ++pongs) {
      CHECK(g.devices.at(1).pings == pongs + 1);
      g.hears(1);
      g.answers();
    }
    CHECK(g.devices.at(1).got.size() == 24);
    CHECK(g.devices.at(2).pings == 0);  // it has to acknowledge them itself
    // What has not left the node when it is heard is asked for when it has.
    g.hears(1);
    g.devices.at(1).is_unwritten = true;
    both(2);
    const auto asked = g.devices.at(1).pings;
    g.hears(1);
    g.passes(100ms);
    CHECK(g.devices.at(1).pings == asked);
    g.devices.at(1).is_unwritten = false;
    g.passes(100ms);
    CHECK(g.devices.at(1).pings == asked + 1);
    g.it.check_invariants();
  }

  TEST_CASE("what has left the node counts, though something later has not") {
    gate g;
    g.connects(1, "ann", false);
    g.notifies({"ann"});
    g.passes(100ms);
    g.devices.at(1).is_unwritten = true;
    g.notifies({"ann"});
    g.hears(1);
    g.passes(100ms);
    CHECK(g.acks == handed_over{{"ann", {1}}});
    CHECK(g.it.unacknowledged() == 1);
  }

  TEST_CASE("with notifications=ack only by their id; others of the user's devices have it, too") {
    gate g;
    g.connects(1, "ann", false, true);
    g.connects(2, "ann", false, true);
    g.notifies({"ann"});
    g.notifies({"ann"});
    g.hears(1);
    CHECK(g.it.unacknowledged() == 4);
    g.it.acknowledge(key_of("ann"), id_of(1), true);
    CHECK(g.it.unacknowledged() == 2);
    g.it.acknowledge(key_of("bob"), id_of(2), true);  // is not bob's
    CHECK(g.it.unacknowledged() == 2);
    g.it.acknowledge(key_of("ann"), id_of(2), false);
    CHECK(g.it.size() == 0);
    g.passes(100ms);
    std::sort(g.acks.begin(), g.acks.end());
    CHECK(g.acks == handed_over{{"ann", {1}}, {"bob", {2}}});
    g.take(1);
    g.take(2);
    g.passes(60s);
    g.answers();
    CHECK(g.frames() == 0);
  }

  TEST_CASE("what is not acknowledged is sent again after 5 s, 10 s, 20 s, …") {
    gate g;
    g.connects(1, "ann", false, true);
    g.passes(100ms);
    g.notifies({"ann"});
    CHECK(g.take(1) == numbers{1});
    std::vector<int> at;
    for (int tenths = 1; tenths <= 800; ++tenths) {
      g.passes(100ms);
      g.answers();
      if (!g.take(1).empty()) at.push_back(tenths);
    }
    CHECK(at == std::vector<int>{50, 150, 350, 750});
    CHECK(g.it.counters().sent_again == 4);
    // At most an hour apart.
    g.passes(24h);
    int times = 0;
    for (int hours = 0; hours < 10; ++hours) {
      g.answers();
      times += static_cast<int>(g.take(1).size());
      g.passes(1h + 1s);
    }
    CHECK(times == 10);
    g.it.acknowledge(key_of("ann"), id_of(1), true);
    g.passes(3h);
    g.answers();
    CHECK(g.take(1).empty());
  }

  TEST_CASE("a younger one is sent again in its own time") {
    gate g;
    g.connects(1, "ann", false, true);
    g.passes(100ms);
    g.notifies({"ann"});
    g.passes(20s);
    g.answers();
    g.notifies({"ann"});
    g.take(1);
    g.passes(5s);
    g.answers();
    CHECK(g.take(1) == numbers{2});
  }

  TEST_CASE("not what another gateway's device has acknowledged, or what is past its time") {
    gate g;
    g.connects(1, "ann", false, true);
    g.passes(100ms);
    g.notifies({"ann"});
    g.notifies({"ann"});
    g.all[0].acked.insert("ann");
    g.take(1);
    g.passes(5s);
    g.answers();
    CHECK(g.take(1) == numbers{2});
    CHECK(g.it.unacknowledged() == 1);
  }

  TEST_CASE("a page of them at most is unacknowledged; each that is lets one more come") {
    gate g;
    for (int n = 0; n < 70; ++n) g.commits({"ann"});
    g.connects(1, "ann", true, true);
    g.answers();
    g.notifies({"ann"});
    CHECK(g.take(1) == from_to(1, 64));
    CHECK(g.asked.empty());
    g.it.acknowledge(key_of("ann"), id_of(5), true);
    g.answers();
    CHECK(g.take(1) == numbers{65});
    CHECK(g.it.unacknowledged() == 64);
    for (const auto no : from_to(6, 20)) g.it.acknowledge(key_of("ann"), id_of(no), true);
    g.passes(100ms);
    g.answers();
    CHECK(g.take(1) == from_to(66, 71));
    g.it.check_invariants();
  }

  TEST_CASE("on a connection that ended they were not: the next one gets them") {
    gate g;
    g.connects(1, "ann", false);
    g.notifies({"ann"});
    g.ends(1);
    g.connects(2, "ann");
    g.answers();
    CHECK(g.take(2) == numbers{1});
    g.hears(2);
    g.ends(2);  // what it acknowledged is handed over at once
    CHECK(g.acks == handed_over{{"ann", {1}}});
    g.connects(3, "ann");
    g.answers();
    CHECK(g.take(3).empty());
  }

  TEST_CASE("frames are counted, a second's together") {
    gate g;
    g.connects(1, "ann", false);
    g.connects(2, "ann", false);
    g.passes(100ms);
    g.notifies({"ann"});
    g.notifies({"ann"});
    CHECK(g.written.empty());
    g.passes(1s);
    CHECK(g.written == std::map<std::int64_t, std::uint32_t>{{1, 2}, {2, 2}});
    CHECK(g.it.counters().sent == 4);
  }
}

namespace {

/// Everything at random: who connects how, what is made for whom, when it is shown, read, taken and acknowledged.
class history {
 public:
  explicit history(std::uint64_t seed) : random_(seed), g_(options()) {
    g_.rooms[1] = {"u0", "u1", "u2"};
    g_.rooms[2] = {"u2", "u3"};
  }
  void runs() {
    for (int n = 0; n < 400; ++n) {
      step();
      g_.it.check_invariants();
      look();
    }
    settles(false);
    // Whatever waits is on every connection that must acknowledge, or as much of it as it may have. (On the others what
    // was acknowledged elsewhere may take its place until they say something.)
    for (const auto& [c, d] : g_.devices) {
      std::size_t missing = 0;
      std::size_t outstanding = 0;
      for (const auto& n : g_.all) {
        if (!g_.is_for(n, d.user) || n.acked.contains(d.user.user.value)) continue;
        ++(lives_.at(c).had.contains(n.no) ? outstanding : missing);
      }
      CAPTURE(c);
      CAPTURE(outstanding);
      if (missing > 0 && d.explicit_acks) CHECK(outstanding == options().page);
    }
    settles(true);
    for (const auto& n : g_.all) {
      for (const auto& [c, d] : g_.devices) {
        CAPTURE(c);
        CAPTURE(n.no);
        if (g_.is_for(n, d.user)) CHECK(n.acked.contains(d.user.user.value));
      }
      // Nobody has acknowledged what none of its connections was sent.
      for (const auto& user : n.acked) CHECK(had_.contains({user, n.no}));
    }
    CHECK(frames_ > 0);
  }

 private:
  struct life {
    std::int64_t last = 0;
    std::set<std::int64_t> had;
  };

  static notification_feed_options options() {
    notification_feed_options o;
    o.page = 4;
    o.members_page = 2;
    o.reads_max = 2;
    o.shows_max = 4;
    return o;
  }
  int below(int n) { return std::uniform_int_distribution<int>{0, n - 1}(random_); }
  std::string a_user() { return "u" + std::to_string(below(5)); }
  std::optional<std::uint64_t> a_device() {
    if (g_.devices.empty()) return std::nullopt;
    return std::next(g_.devices.begin(), below(static_cast<int>(g_.devices.size())))->first;
  }

  void step() {
    const auto what = below(12);
    const auto c = a_device();
    if (what == 0) {
      connects();
    } else if (what == 1 && c && below(3) == 0) {
      g_.ends(*c);
      lives_.erase(*c);
    } else if (what <= 4) {
      makes();
    } else if (what == 5 && shown_ < g_.all.size()) {
      shows_one();
    } else if (what <= 8 && !g_.asked.empty()) {
      answers();
    } else if (what == 9 && c) {
      auto& d = g_.devices.at(*c);
      d.is_slow ? g_.drains(*c) : void(d.is_slow = below(2) == 0);
    } else if (what == 10 && c) {
      acknowledges(*c);
    } else {
      g_.readers_full = below(8) == 0;
      g_.passes(below(20) == 0 ? 5s : 100ms);
    }
  }
  void connects() {
    const auto c = ++last_device_;
    const auto user = a_user();
    lives_[c] = {};
    // An automatic connection is told by its room list whether something waits.
    const bool waits = std::any_of(g_.all.begin(), g_.all.end(), [&](const auto& n) {
      return g_.is_for(n, key_of(user)) && !n.acked.contains(user);
    });
    g_.connects(c, user, below(2) == 0 ? waits : g_.it.may_wait(acme), below(2) == 0);
  }
  void makes() {
    std::set<std::string> users;
    std::optional<std::uint8_t> room;
    if (below(2) == 0) {
      room = static_cast<std::uint8_t>(1 + below(2));
    } else {
      users = {a_user(), a_user()};
    }
    g_.commits(std::move(users), room);
    if (below(2) == 0) {
      while (shown_ < g_.all.size()) shows_one();
    }
  }
  void shows_one() { g_.shows(g_.all[shown_++]); }
  /// A reader's snapshot is from any moment between question and answer.
  void answers() {
    if (!early_ && below(3) == 0) {
      early_ = g_.answer_to(g_.asked.front().second);
      return;
    }
    if (early_) {
      g_.answers_one(*std::exchange(early_, std::nullopt));
    } else if (below(10) == 0) {
      g_.answers_one(unavailable("the disk", 1s));
    } else {
      g_.answers_one();
    }
  }
  void acknowledges(std::uint64_t c) {
    const auto& d = g_.devices.at(c);
    if (!d.explicit_acks) return g_.hears(c);
    const auto& had = lives_.at(c).had;
    if (!had.empty()) {
      const auto no = *std::next(had.begin(), below(static_cast<int>(had.size())));
      g_.it.acknowledge(d.user, id_of(no), true);
    }
  }
  /// On a connection numbers ascend; what comes again was to be acknowledged, and is not.
  void look() {
    for (auto& [c, d] : g_.devices) {
      auto& seen = lives_.at(c);
      for (const auto no : std::exchange(d.got, {})) {
        ++frames_;
        CAPTURE(c);
        CAPTURE(no);
        CHECK(g_.is_for(g_.all[static_cast<std::size_t>(no) - 1], d.user));
        if (no > seen.last) {
          seen.last = no;
        } else {
          CHECK(d.explicit_acks);
          CHECK(seen.had.contains(no));
        }
        seen.had.insert(no);
        had_.emplace(d.user.user.value, no);
      }
    }
  }
  void settles(bool acknowledging) {
    g_.readers_full = false;
    while (shown_ < g_.all.size()) shows_one();
    for (int round = 0; round < 40; ++round) {
      for (auto& [c, d] : g_.devices) {
        if (d.is_slow) g_.drains(c);
      }
      if (early_) answers();
      g_.answers();
      g_.passes(acknowledging ? 100ms : 5s);
      look();
      for (auto& [c, d] : g_.devices) {
        if (!acknowledging) break;
        g_.hears(c);
        if (!d.explicit_acks) continue;
        for (const auto no : lives_.at(c).had) g_.it.acknowledge(d.user, id_of(no), true);
      }
      g_.it.check_invariants();
    }
  }

  std::mt19937_64 random_;
  gate g_;
  std::size_t shown_ = 0;
  std::uint64_t last_device_ = 0;
  std::map<std::uint64_t, life> lives_;
  std::set<std::pair<std::string, std::int64_t>> had_;
  std::optional<actors::read_result> early_;
  std::size_t frames_ = 0;
};

}  // namespace

TEST_SUITE("SPEC 6 notifications, whatever happens") {
  TEST_CASE(
      "each comes to each connection once and in order, and again elsewhere until acknowledged") {
    tests::for_each_seed(100, [](std::uint64_t seed) { history{seed}.runs(); });
  }
}

}  // namespace parley::net
