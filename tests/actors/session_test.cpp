#include "actors/session.hpp"

#include "tests/actors/words.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace parley::actors {

using namespace words;

namespace {

using words_told = std::vector<std::string>;

using std::chrono::milliseconds;

/// A session of ann in a test; remembers in words what it told, and plays readers, clock and timer.
class desk final : private session_ports {
 public:
  explicit desk(const session_options& options = {}, bool successor = false)
      : it({acme, ann}, instance_no{4}, *this, clock, options, successor) {
    it.start();
  }

  words_told told;   ///< to gateways
  words_told shown;  ///< to others, by way of all gateways
  std::vector<attached> answers;
  std::vector<close_connection> closed;
  std::vector<cursors_stored_ptr> stored;
  std::vector<receipt_ptr> receipts;
  std::vector<session_done_ptr> done;
  std::vector<presence_shown_ptr> presences;
  std::vector<store_cursors_ptr> under_way;
  std::vector<utc_time> last_seen;
  std::vector<session_idle> idles;
  std::vector<std::pair<call_no, read_query>> questions;
  std::vector<presence_status> listed;
  std::size_t reads = 0;
  bool readers_are_busy = false;
  still_clock clock;
  std::optional<mono_time> alarm;
  session it;

  void attaches(std::uint64_t connection, std::uint32_t max = 0, std::uint32_t gateway = 0,
                std::string device = {}) {
    it.on(attach{
        {acme, ann}, gateway_no{gateway}, connection_ref{connection}, max, std::move(device)});
  }
  void detaches(std::uint64_t connection, std::uint32_t gateway = 0) {
    it.on(detach{{acme, ann}, gateway_no{gateway}, connection_ref{connection}});
  }
  void moves(std::optional<std::uint64_t> connection, bool read = false) {
    auto m = std::make_shared<move_cursors>();
    m->user = {acme, ann};
    m->to = {gateway_no{0}, call_no{1}};
    if (connection) m->connection = connection_ref{*connection};
    m->read = read;
    m->rooms = {{room_id_of(1), room_seq{7}}, {room_id_of(2), room_seq{9}}};
    it.on(move_cursors_ptr{m});
  }
  /// Storage answers the oldest: room 1 moved, room 2 did not.
  void storage_answers() {
    REQUIRE(!under_way.empty());
    auto m = std::make_shared<cursors_stored>();
    m->moves = under_way.front()->moves;
    under_way.erase(under_way.begin());
    m->rooms = {{room_id_of(1), store::cursor_state{room_no{1}, room_seq{7}, room_seq{5}, true}},
                {room_id_of(2), store::cursor_state{room_no{2}, room_seq{11}, room_seq{11}, false}}};
    it.on(cursors_stored_ptr{m});
  }
  void is(bool away, std::uint64_t connection = 1) {
    it.on(set_presence{{acme, ann}, {gateway_no{0}, call_no{9}}, connection_ref{connection}, away});
  }
  void types(type_in_room::action what, std::uint8_t room = 1, std::uint64_t connection = 1) {
    it.on(type_in_room{{acme, ann},
                       {gateway_no{0}, call_no{++last_call}},
                       connection_ref{connection},
                       room_id_of(room),
                       what});
  }
  void readers_say(const read_result& answer) {
    REQUIRE(!questions.empty());
    const auto call = questions.front().first;
    questions.erase(questions.begin());
    it.on(call, answer);
  }
  /// Ann is in a dm and two groups.
  void readers_name_rooms() {
    REQUIRE(!questions.empty());
    REQUIRE(std::holds_alternative<audience_query>(questions.front().second));
    readers_say(store::audience{{room_id_of(1), room_id_of(2), room_id_of(3)}, 1});
  }
  /// Starts in a room of three; the readers say so if they are asked.
  void starts(std::uint8_t room, std::uint64_t connection = 1) {
    types(type_in_room::action::start, room, connection);
    if (!questions.empty()) readers_know_a_room_of(3);
  }
  void readers_know_a_room_of(std::int64_t members) {
    store::room_view room;
    room.info.member_count = members;
    room.self = member(ann);
    readers_say(std::optional{room});
  }
  /// Time goes by; the session is woken when it asked for it.
  void passes(milliseconds time) {
    const auto until = clock.at + time;
    while (alarm && *alarm <= mono_time{until.time_since_epoch()}) {
      clock.at =
          std::max(clock.at, utc_time{std::chrono::ceil<milliseconds>(alarm->time_since_epoch())});
      alarm.reset();
      it.wake();
    }
    clock.at = until;
  }
  /// Online, and the others were told so.
  void is_online() {
    attaches(1);
    readers_name_rooms();
    passes(milliseconds{2000});
    shown.clear();
    reads = 0;
  }
  words_told take() { return std::exchange(shown, {}); }

 private:
  void to_gateway(gateway_no, const attached& m) override { answers.push_back(m); }
  void to_gateway(gateway_no, const close_connection& m) override { closed.push_back(m); }
  void to_gateway(gateway_no, session_done_ptr m) override { done.push_back(std::move(m)); }
  void to_gateway(gateway_no g, cursors_stored_ptr m) override {
    told.push_back("reply to gateway " + std::to_string(g.value));
    stored.push_back(std::move(m));
  }
  void to_gateway(gateway_no g, receipt_ptr m) override {
    told.push_back("receipt to " + std::to_string(g.value) + "/" +
                   std::to_string(m->connection.value));
    receipts.push_back(std::move(m));
  }
  void to_gateways(presence_shown_ptr m) override {
    shown.emplace_back(to_text(m->status));
    presences.push_back(std::move(m));
  }
  void to_gateways(typing_shown_ptr m) override {
    shown.push_back((m->start ? "start " : "stop ") + std::to_string(m->room.room.id.bytes[15]));
  }
  void to_storage(store_cursors_ptr m) override { under_way.push_back(std::move(m)); }
  void to_storage(store_last_seen_ptr m) override { last_seen.push_back(m->at); }
  void to_directory(const session_idle& m) override { idles.push_back(m); }
  bool read(call_no call, read_query q) override {
    ++reads;
    if (readers_are_busy) return false;
    questions.emplace_back(call, std::move(q));
    return true;
  }
  void list_as(presence_status s) override { listed.push_back(s); }
  void wake_at(mono_time when) override { alarm = when; }

  std::uint64_t last_call = 100;
};

/// Nothing of presence: for tests that are about something else.
session_options nobody_sees_it() {
  session_options o;
  o.presence_max_members = 0;
  o.presence_grace = milliseconds{0};
  return o;
}

}  // namespace

TEST_SUITE("SPEC 5 connections of one user") {
  TEST_CASE(
      "a connection within the bound is attached; the newest beyond it is refused with 1008") {
    desk d{nobody_sees_it()};
    d.attaches(1, 2);
    d.attaches(2, 2);
    d.attaches(3, 2);
    REQUIRE(d.answers.size() == 3);
    CHECK(d.answers[1].refused == close_code::none);
    CHECK(d.answers[2].connection == connection_ref{3});
    CHECK(d.answers[2].refused == close_code::policy_violation);
    CHECK(d.it.connections() == 2);
    d.detaches(1);
    d.attaches(4, 2);
    CHECK(d.answers[3].refused == close_code::none);
  }
  TEST_CASE("no bound refuses nobody") {
    desk d{nobody_sees_it()};
    for (std::uint64_t c = 1; c <= 100; ++c) d.attaches(c);
    CHECK(d.it.connections() == 100);
  }
  TEST_CASE("connections of two gateways with the same number are two") {
    desk d{nobody_sees_it()};
    d.attaches(1, 0, 0);
    d.attaches(1, 0, 1);
    d.detaches(1, 0);
    CHECK(d.it.connections() == 1);
    CHECK(d.idles.empty());
  }
  TEST_CASE("without a connection it is idle, and says what it has seen by then") {
    desk d{nobody_sees_it()};
    d.attaches(1);
    d.attaches(2);
    d.detaches(1);
    CHECK(d.idles.empty());
    d.detaches(2);
    REQUIRE(d.idles.size() == 1);
    CHECK(d.idles[0].attaches_seen == 2);
    CHECK(d.idles[0].instance == instance_no{4});
  }
  TEST_CASE("with cursors on their way it is not idle; when they are stored it is") {
    desk d{nobody_sees_it()};
    d.attaches(1);
    d.moves(1);
    d.detaches(1);
    CHECK(d.idles.empty());
    d.storage_answers();
    REQUIRE(d.idles.size() == 1);
    CHECK(d.idles[0].attaches_seen == 2);  // the directory counts the cursors too
  }
}

TEST_SUITE("SPEC 5 cursors of one user") {
  TEST_CASE(
      "the asking connection gets its reply, the others a receipt of what moved, after it is "
      "stored") {
    desk d{nobody_sees_it()};
    d.attaches(1, 0, 0);
    d.attaches(2, 0, 0);
    d.attaches(3, 0, 1);
    d.moves(1);
    CHECK(d.told.empty());
    CHECK(d.under_way.at(0)->session == instance_no{4});
    d.storage_answers();
    CHECK(d.told == words_told{"reply to gateway 0", "receipt to 0/2", "receipt to 1/3"});
    CHECK(d.stored[0]->rooms.size() == 2);
    REQUIRE(d.receipts[0]->rooms.size() == 1);
    CHECK(d.receipts[0]->rooms[0] == std::pair{room_id_of(1), room_seq{7}});
    CHECK(d.receipts[0]->user == ann);
    CHECK(!d.receipts[0]->read);
  }
  TEST_CASE("a read shows the read position, and a REST call's receipts go to all connections") {
    desk d{nobody_sees_it()};
    d.attaches(1);
    d.moves(std::nullopt, true);
    d.storage_answers();
    CHECK(d.told == words_told{"reply to gateway 0", "receipt to 0/1"});
    CHECK(d.receipts[0]->read);
    CHECK(d.receipts[0]->rooms[0].second == room_seq{5});
  }
  TEST_CASE("beyond its bound of moves under way it refuses, and nothing goes to storage") {
    desk d{nobody_sees_it()};
    d.attaches(1);
    for (std::size_t n = 0; n <= session::cursors_max; ++n) d.moves(1);
    CHECK(d.under_way.size() == session::cursors_max);
    REQUIRE(d.stored.size() == 1);
    REQUIRE(d.stored[0]->rooms.size() == 2);
    CHECK(is_error(std::get<error>(d.stored[0]->rooms[0].outcome), error_code::unavailable));
    d.storage_answers();
    d.moves(1);
    CHECK(d.under_way.size() == session::cursors_max);
  }
  TEST_CASE("a refused move is no reason to stay: idle comes when the last is answered") {
    desk d{nobody_sees_it()};
    d.attaches(1);
    for (std::size_t n = 0; n <= session::cursors_max; ++n) d.moves(1);
    d.detaches(1);
    while (!d.under_way.empty()) d.storage_answers();
    REQUIRE(d.idles.size() == 1);
    CHECK(d.idles[0].attaches_seen == session::cursors_max + 2);
  }
}

TEST_SUITE("SPEC 5 device_id: a new connection replaces the old one") {
  TEST_CASE("the old one is closed with 4505, on whatever gateway, and the new one attached") {
    desk d{nobody_sees_it()};
    d.attaches(1, 5, 0, "phone");
    d.attaches(2, 5, 0, "laptop");
    d.attaches(7, 5, 1, "phone");
    REQUIRE(d.closed.size() == 1);
    CHECK(d.closed[0].connection == connection_ref{1});
    CHECK(d.closed[0].code == close_code::replaced);
    CHECK(d.answers.back().refused == close_code::none);
    CHECK(d.it.connections() == 2);
  }
  TEST_CASE("the limit counts after the replacement; whom it refuses replaces nobody") {
    desk d{nobody_sees_it()};
    d.attaches(1, 2, 0, "phone");
    d.attaches(2, 2, 0, "laptop");
    d.attaches(3, 2, 0, "phone");
    CHECK(d.answers.back().refused == close_code::none);
    d.attaches(4, 2, 0, "watch");
    CHECK(d.answers.back().refused == close_code::policy_violation);
    CHECK(d.closed.size() == 1);
    // The limit was lowered meanwhile: with the replacement it is still too many.
    d.attaches(5, 1, 0, "phone");
    CHECK(d.answers.back().refused == close_code::policy_violation);
    CHECK(d.closed.size() == 1);
    CHECK(d.it.connections() == 2);
  }
  TEST_CASE("without a device nobody is replaced") {
    desk d{nobody_sees_it()};
    d.attaches(1);
    d.attaches(2);
    d.attaches(3, 0, 0, "phone");
    CHECK(d.closed.empty());
    CHECK(d.it.connections() == 3);
  }
  TEST_CASE("the end of the replaced one changes nothing more") {
    desk d{nobody_sees_it()};
    d.attaches(1, 5, 0, "phone");
    d.attaches(2, 5, 0, "phone");
    d.detaches(1);
    CHECK(d.it.connections() == 1);
    CHECK(d.idles.empty());
  }
  TEST_CASE("to the others it was never gone, and it is not away any more") {
    desk d;
    d.is_online();
    d.detaches(1);
    d.attaches(2, 5, 0, "phone");
    d.attaches(3, 5, 0, "phone");
    d.passes(milliseconds{60000});
    CHECK(d.shown.empty());
    CHECK(d.reads == 0);
  }
}

TEST_SUITE("SPEC 5 presence") {
  TEST_CASE("the first connection is told once the rooms are known, dms first") {
    desk d;
    d.attaches(1);
    d.attaches(2);
    CHECK(d.listed == std::vector{presence_status::online});
    CHECK(d.reads == 1);
    CHECK(d.shown.empty());
    d.readers_name_rooms();
    CHECK(d.take() == words_told{"online"});
    CHECK(d.presences[0]->user == user_key{acme, ann});
    CHECK(d.presences[0]->rooms.size() == 3);
    CHECK(d.presences[0]->dms == 1);
    CHECK(!d.presences[0]->last_seen);
  }
  TEST_CASE("leaving and coming back within the grace: not a word, not a question") {
    desk d;
    d.is_online();
    for (int n = 0; n < 5; ++n) {
      d.detaches(1);
      d.passes(milliseconds{4999});
      CHECK(d.idles.empty());
      d.attaches(1);
      d.passes(milliseconds{3000});
    }
    CHECK(d.shown.empty());
    CHECK(d.reads == 0);
    CHECK(d.listed == std::vector{presence_status::online});
    CHECK(d.last_seen.empty());
  }
  TEST_CASE("after the grace: offline, last seen when the last connection ended; then it is idle") {
    desk d;
    d.is_online();
    const auto left = d.clock.at;
    d.detaches(1);
    d.passes(milliseconds{4999});
    CHECK(d.reads == 0);
    d.passes(milliseconds{1});
    CHECK(d.listed.back() == presence_status::offline);
    CHECK(d.last_seen == std::vector{left});
    CHECK(d.idles.empty());
    d.readers_name_rooms();
    CHECK(d.take() == words_told{"offline"});
    CHECK(d.presences.back()->last_seen == left);
    CHECK(d.idles.empty());
    d.passes(milliseconds{1000});
    CHECK(d.idles.size() == 1);
    CHECK(!d.alarm);
  }
  TEST_CASE("who comes back within a second of being told offline is told online after it") {
    desk d;
    d.is_online();
    d.detaches(1);
    d.passes(milliseconds{5000});
    d.readers_name_rooms();
    d.passes(milliseconds{100});
    d.attaches(2);
    d.passes(milliseconds{899});
    CHECK(d.take() == words_told{"offline"});
    CHECK(d.reads == 1);
    d.passes(milliseconds{1});
    d.readers_name_rooms();
    CHECK(d.take() == words_told{"online"});
    CHECK(d.idles.empty());
  }
  TEST_CASE("away if all connections are; online again if one is, or a new one comes") {
    desk d;
    d.is_online();
    d.attaches(2);
    d.is(true, 1);
    d.passes(milliseconds{2000});
    CHECK(d.shown.empty());
    d.is(true, 2);
    d.readers_name_rooms();
    CHECK(d.take() == words_told{"away"});
    CHECK(d.listed.back() == presence_status::away);
    d.passes(milliseconds{1000});
    d.is(false, 1);
    d.readers_name_rooms();
    CHECK(d.take() == words_told{"online"});
    d.passes(milliseconds{1000});
    d.is(true, 1);
    d.readers_name_rooms();
    d.passes(milliseconds{1000});
    d.attaches(3);
    d.readers_name_rooms();
    CHECK(d.take() == words_told{"away", "online"});
  }
  TEST_CASE("when the one that was not away leaves, the user is away") {
    desk d;
    d.is_online();
    d.attaches(2);
    d.is(true, 2);
    d.detaches(1);
    d.readers_name_rooms();
    CHECK(d.take() == words_told{"away"});
  }
  TEST_CASE(
      "whoever says what is so already, or speaks for a connection that is gone, is answered "
      "alike") {
    desk d;
    d.is_online();
    d.is(false);
    d.is(true, 99);
    REQUIRE(d.done.size() == 2);
    CHECK(!d.done[0]->failure);
    CHECK(!d.done[1]->failure);
    CHECK(d.done[0]->call == call_no{9});
    d.passes(milliseconds{5000});
    CHECK(d.shown.empty());
    CHECK(d.reads == 0);
  }
  TEST_CASE("at most one update a second, with what is so by then") {
    desk d;
    d.is_online();
    d.is(true);
    d.readers_name_rooms();
    CHECK(d.take() == words_told{"away"});
    for (int n = 0; n < 9; ++n) {
      d.passes(milliseconds{100});
      d.is(n % 2 != 0);
    }
    CHECK(d.shown.empty());
    CHECK(d.reads == 1);
    d.passes(milliseconds{100});
    d.readers_name_rooms();
    CHECK(d.take() == words_told{"online"});
  }
  TEST_CASE("what has changed back within the second is not told") {
    desk d;
    d.is_online();
    d.is(true);
    d.readers_name_rooms();
    d.take();
    d.is(false);
    d.is(true);
    d.passes(milliseconds{3000});
    CHECK(d.shown.empty());
    CHECK(d.reads == 1);
  }
  TEST_CASE("what changes while the rooms are being read is judged again") {
    desk d;
    d.is_online();
    d.is(true);
    d.is(false);
    d.readers_name_rooms();
    CHECK(d.shown.empty());
    d.passes(milliseconds{2000});
    CHECK(d.reads == 1);
  }
  TEST_CASE("readers that are busy, or can't read, are asked again a second later") {
    desk d;
    d.readers_are_busy = true;
    d.attaches(1);
    d.passes(milliseconds{999});
    CHECK(d.reads == 1);
    d.readers_are_busy = false;
    d.passes(milliseconds{1});
    CHECK(d.reads == 2);
    d.readers_say(unavailable("unreadable", milliseconds{1}));
    CHECK(d.shown.empty());
    d.passes(milliseconds{1000});
    d.readers_name_rooms();
    CHECK(d.take() == words_told{"online"});
  }
  TEST_CASE("one who is in no dm and no group is told to nobody, and leaves all the same") {
    desk d;
    d.attaches(1);
    d.readers_say(store::audience{});
    d.detaches(1);
    d.passes(milliseconds{5000});
    d.readers_say(store::audience{});
    CHECK(d.shown.empty());
    CHECK(d.idles.size() == 1);
  }
  TEST_CASE("with presence_max_members 0 nothing is read or told; the table knows") {
    desk d{nobody_sees_it()};
    d.attaches(1);
    d.detaches(1);
    CHECK(d.reads == 0);
    CHECK(d.listed == std::vector{presence_status::online, presence_status::offline});
    CHECK(d.idles.size() == 1);
  }
  TEST_CASE("with no grace offline is told as soon as the second allows") {
    session_options o;
    o.presence_grace = milliseconds{0};
    desk d{o};
    d.is_online();
    d.detaches(1);
    d.readers_name_rooms();
    CHECK(d.take() == words_told{"offline"});
  }
}

TEST_SUITE("SPEC 5 no presence within herd_window after a start") {
  const auto after_a_start = [] {
    session_options o;
    o.herd_until = mono_time{noon.time_since_epoch()} + std::chrono::seconds{30};
    o.herd_spread = std::chrono::seconds{30};
    return o;
  };
  TEST_CASE("nothing is read or told before; then each in its own time, within as long again") {
    desk d{after_a_start()};
    d.attaches(1);
    CHECK(d.listed == std::vector{presence_status::online});
    d.passes(milliseconds{29999});
    CHECK(d.reads == 0);
    d.passes(milliseconds{30001});
    CHECK(d.reads == 1);
    d.readers_name_rooms();
    CHECK(d.take() == words_told{"online"});
  }
  TEST_CASE("who came and went within it was never shown, and is forgotten") {
    desk d{after_a_start()};
    d.attaches(1);
    d.detaches(1);
    d.passes(milliseconds{60000});
    CHECK(d.reads == 0);
    CHECK(d.last_seen.size() == 1);
    CHECK(d.idles.size() == 1);
  }
  TEST_CASE("what changes after it is told at once") {
    desk d{after_a_start()};
    d.passes(milliseconds{30000});
    d.attaches(1);
    d.readers_name_rooms();
    CHECK(d.take() == words_told{"online"});
  }
}

TEST_SUITE("DESIGN 11 a session's successor") {
  TEST_CASE("nobody comes back: offline after the grace, whatever the others were shown") {
    desk d{{}, true};
    CHECK(d.listed == std::vector{presence_status::online});
    CHECK(d.idles.empty());
    d.passes(milliseconds{4999});
    CHECK(d.reads == 0);
    d.passes(milliseconds{1});
    d.readers_name_rooms();
    CHECK(d.take() == words_told{"offline"});
    d.passes(milliseconds{1000});
    REQUIRE(d.idles.size() == 1);
    CHECK(d.idles[0].attaches_seen == 0);
  }
  TEST_CASE("somebody does: what is so is told, since what was shown is not known") {
    desk d{{}, true};
    d.attaches(1);
    d.readers_name_rooms();
    CHECK(d.take() == words_told{"online"});
  }
}

TEST_SUITE("SPEC 5 typing") {
  using action = type_in_room::action;
  TEST_CASE("a member's start is shown when the store has said so, and answered") {
    desk d;
    d.is_online();
    d.types(action::start);
    CHECK(d.shown.empty());
    CHECK(d.done.empty());
    const auto& asked = std::get<room_query>(d.questions.at(0).second);
    CHECK(asked.room == key_of(1));
    CHECK(asked.self == ann);
    d.readers_know_a_room_of(200);
    CHECK(d.take() == words_told{"start 1"});
    REQUIRE(d.done.size() == 1);
    CHECK(!d.done[0]->failure);
    CHECK(d.done[0]->call == call_no{101});
  }
  TEST_CASE("who is no member hears what the store says, and nobody else anything") {
    desk d;
    d.is_online();
    for (const auto what : {action::start, action::stop}) {
      d.types(what);
      d.readers_say(not_found("room"));
    }
    CHECK(d.shown.empty());
    REQUIRE(d.done.size() == 2);
    CHECK(d.done[0]->failure->code == error_code::not_found);
    CHECK(d.done[1]->failure->code == error_code::not_found);
  }
  TEST_CASE("in a room of more than typing_max_members it is answered and not shown") {
    desk d;
    d.is_online();
    d.types(action::start);
    d.readers_know_a_room_of(201);
    d.types(action::stop);
    d.readers_know_a_room_of(201);
    CHECK(d.shown.empty());
    CHECK(d.done.size() == 2);
  }
  TEST_CASE("at most one start a user, room and two seconds, whatever comes between") {
    desk d;
    d.is_online();
    d.attaches(2, 0, 1);
    d.starts(1);
    d.starts(2);
    CHECK(d.take() == words_told{"start 1", "start 2"});
    d.starts(1);
    d.types(action::stop, 1);
    CHECK(d.take() == words_told{"stop 1"});
    d.starts(1);
    d.types(action::sent, 2);
    d.starts(2);
    d.passes(milliseconds{1999});
    d.starts(1);
    CHECK(d.take().empty());
    d.passes(milliseconds{1});
    d.starts(1);
    d.starts(2);
    CHECK(d.take() == words_told{"start 1", "start 2"});
    CHECK(d.done.size() == 9);  // each start and the stop, and nothing for what was sent
  }
  TEST_CASE("it stops by itself six seconds after the last start, shown or not") {
    desk d;
    d.is_online();
    d.types(action::start);
    d.readers_know_a_room_of(3);
    d.passes(milliseconds{1500});
    d.types(action::start);
    d.take();
    d.passes(milliseconds{5999});
    CHECK(d.shown.empty());
    d.passes(milliseconds{1});
    CHECK(d.take() == words_told{"stop 1"});
    d.passes(milliseconds{60000});
    CHECK(d.shown.empty());
    CHECK(!d.alarm);
  }
  TEST_CASE("a stop is shown at once; one that stops nothing only asks whether it may") {
    desk d;
    d.is_online();
    d.types(action::start);
    d.readers_know_a_room_of(3);
    d.take();
    d.types(action::stop);
    CHECK(d.take() == words_told{"stop 1"});
    CHECK(d.done.size() == 2);
    d.passes(milliseconds{2000});
    d.types(action::stop);
    CHECK(d.done.size() == 2);
    d.readers_know_a_room_of(3);
    CHECK(d.done.size() == 3);
    CHECK(d.shown.empty());
  }
  TEST_CASE("a stop or a message overtakes a start that is being checked: nothing is shown") {
    for (const auto what : {action::stop, action::sent}) {
      desk d;
      d.is_online();
      d.types(action::start);
      d.types(what);
      d.readers_know_a_room_of(3);
      CHECK(d.shown.empty());
      CHECK(d.done.size() == (what == action::stop ? 2 : 1));
    }
  }
  TEST_CASE("a message ends it silently") {
    desk d;
    d.is_online();
    d.types(action::start);
    d.readers_know_a_room_of(3);
    d.take();
    d.types(action::sent);
    d.passes(milliseconds{60000});
    CHECK(d.shown.empty());
    CHECK(d.done.size() == 1);
  }
  TEST_CASE("the end of the connection that types ends it; that of another does not") {
    desk d;
    d.is_online();
    d.attaches(2);
    d.types(action::start, 1, 2);
    d.readers_know_a_room_of(3);
    d.types(action::start, 2, 1);
    d.readers_know_a_room_of(3);
    d.take();
    d.detaches(2);
    CHECK(d.take() == words_told{"stop 1"});
    // Nor is shown what its readers say afterwards.
    d.types(action::start, 3, 1);
    d.detaches(1);
    d.readers_know_a_room_of(3);
    CHECK(d.take() == words_told{"stop 2"});
  }
  TEST_CASE("the others see one stop who turns out to be no member any more") {
    desk d;
    d.is_online();
    d.starts(1);
    d.take();
    d.passes(milliseconds{2000});
    d.types(action::start);
    d.readers_say(not_found("room"));
    CHECK(d.done.back()->failure->code == error_code::not_found);
    CHECK(d.take() == words_told{"stop 1"});
    d.passes(milliseconds{60000});
    CHECK(d.shown.empty());
  }
  TEST_CASE("in more rooms than its bound the longest silent one stops, if it is no recent one") {
    desk d;
    d.is_online();
    const auto starts_everywhere = [&] {
      for (std::size_t n = 1; n <= session::typing_rooms_max + 1; ++n) {
        d.starts(static_cast<std::uint8_t>(n));
        d.passes(milliseconds{10});
      }
    };
    starts_everywhere();
    CHECK(d.shown.size() == session::typing_rooms_max);
    CHECK(d.shown.back() == "start 16");
    CHECK(d.done.size() == session::typing_rooms_max + 1);
    CHECK(!d.done.back()->failure);
    d.take();
    d.passes(milliseconds{2000});
    d.starts(17);
    CHECK(d.take() == words_told{"stop 1", "start 17"});
  }
  TEST_CASE("who goes round many rooms gets no more starts shown than its bound in two seconds") {
    for (const bool stops : {false, true}) {
      CAPTURE(stops);
      desk d;
      d.is_online();
      for (int seconds = 0; seconds < 6; seconds += 2) {
        for (int round = 0; round < 5; ++round) {
          for (std::size_t n = 1; n <= session::typing_rooms_max + 4; ++n) {
            const auto room = static_cast<std::uint8_t>(n);
            d.starts(room);
            if (!stops) continue;
            d.types(action::stop, room);
            if (!d.questions.empty()) d.readers_know_a_room_of(3);
          }
        }
        const auto shown = d.take();
        std::size_t started = 0;
        for (const auto& word : shown) started += word.starts_with("start") ? 1 : 0;
        CHECK(started == session::typing_rooms_max);
        CHECK(shown.size() <= 2 * session::typing_rooms_max);
        d.passes(milliseconds{2000});
      }
    }
  }
  TEST_CASE("frames of a room that is being asked about share the answer, each in its turn") {
    desk d;
    d.is_online();
    d.types(action::start);
    d.types(action::stop);
    d.types(action::start);
    d.types(action::start, 2);
    d.types(action::start);
    CHECK(d.reads == 2);
    CHECK(d.done.empty());
    d.readers_know_a_room_of(3);
    CHECK(d.take() == words_told{"start 1"});
    REQUIRE(d.done.size() == 4);
    CHECK(d.done[0]->call == call_no{101});
    CHECK(d.done[1]->call == call_no{102});
    CHECK(d.done[2]->call == call_no{103});
    CHECK(d.done[3]->call == call_no{105});
    d.types(action::start, 2);
    d.readers_say(not_found("room"));
    REQUIRE(d.done.size() == 6);
    CHECK(d.done[4]->failure->code == error_code::not_found);
    CHECK(d.done[5]->failure->code == error_code::not_found);
    CHECK(d.shown.empty());
    CHECK(d.questions.empty());
  }
  TEST_CASE("within two seconds of a start that was shown no reader is asked again") {
    desk d;
    d.is_online();
    d.starts(1);
    for (int n = 0; n < 100; ++n) d.types(n % 3 == 0 ? action::stop : action::start);
    CHECK(d.reads == 1);
    CHECK(d.done.size() == 101);
    CHECK(d.take() == words_told{"start 1", "stop 1"});
    d.passes(milliseconds{2000});
    d.types(action::start);
    CHECK(d.reads == 2);
  }
  TEST_CASE("a start on another connection takes over what is shown") {
    desk d;
    d.is_online();
    d.attaches(2);
    d.starts(1, 1);
    d.starts(1, 2);
    d.take();
    d.detaches(1);
    CHECK(d.shown.empty());
    d.detaches(2);
    CHECK(d.take() == words_told{"stop 1"});
  }
  TEST_CASE("beyond its bound of frames being checked, and when readers are busy, it refuses") {
    desk d;
    d.is_online();
    for (std::size_t n = 0; n <= session::typing_checks_max; ++n)
      d.types(action::start, static_cast<std::uint8_t>(1 + n % 3));
    CHECK(d.reads == 3);
    REQUIRE(d.done.size() == 1);
    CHECK(d.done[0]->failure->code == error_code::unavailable);
    while (!d.questions.empty()) d.readers_know_a_room_of(3);
    CHECK(d.done.size() == session::typing_checks_max + 1);
    d.readers_are_busy = true;
    d.types(action::start, 4);
    CHECK(d.done.back()->failure->code == error_code::unavailable);
    CHECK(d.shown == words_told{"start 1", "start 2", "start 3"});
  }
  TEST_CASE("with a check under way it is not idle") {
    desk d{nobody_sees_it()};
    d.attaches(1);
    d.types(action::start);
    d.detaches(1);
    CHECK(d.idles.empty());
    d.readers_know_a_room_of(3);
    CHECK(d.idles.size() == 1);
  }
}

}  // namespace parley::actors
