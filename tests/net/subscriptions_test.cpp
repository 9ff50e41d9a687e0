#include "net/subscriptions.hpp"

#include "tests/actors/words.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

template <>
struct doctest::StringMaker<std::vector<std::string>> {
  static String convert(const std::vector<std::string>& lines) {
    std::string all;
    for (const auto& line : lines) all += (all.empty() ? "" : ", ") + line;
    return all.c_str();
  }
};

namespace parley::net {

using namespace actors;
using namespace actors::words;
using json = nlohmann::json;

namespace {

constexpr connection_ref phone{1};
constexpr connection_ref laptop{2};
const std::string epoch = "epoch-1";

frame_ptr entry_frame(const room_key& room, std::int64_t seq) {
  return make_text_frame(
      json{{"type", "message"}, {"room_id", room.room.id.to_string()}, {"seq", seq}}.dump());
}

/// A gateway's surroundings: what is sent is kept in words, reads wait until the test answers them.
class desk final : private delivery_ports {
 public:
  explicit desk(std::uint32_t sync_max = 1000, std::size_t ring = 1 << 20,
                std::uint32_t max_subscriptions = 100)
      : it(*this, {sync_max, max_subscriptions, ring, epoch_id{epoch}}) {}

  struct asked_read {
    call_no call;
    read_query query;
  };
  std::map<connection_ref, std::vector<json>> sent;
  std::deque<asked_read> reads;
  std::set<connection_ref> full;  ///< take nothing
  std::set<connection_ref> restarted;
  bool readers_busy = false;

  subscriptions it;

  void connects(connection_ref c, sync_mode mode, const user_id& user = ann) {
    it.add(c, {acme, user}, mode);
    it.start(c);
    runs();
  }
  void runs() {
    while (it.run(1000)) {}
    it.check_invariants();
  }
  template <class Query>
  const Query& next_read() const {
    REQUIRE(!reads.empty());
    return std::get<Query>(reads.front().query);
  }
  void answers(const read_result& r) {
    REQUIRE(!reads.empty());
    const auto call = reads.front().call;
    reads.pop_front();
    it.on(call, r);
    runs();
  }
  /// Answers a page with what was asked for, as far as `from` (retention) and `frames` allow.
  void answers_page(std::int64_t first_seq = 1, std::size_t frames = 1000) {
    const auto q = next_read<page_query>();
    page_frames p;
    p.first_seq = room_seq{first_seq};
    p.last_seq = q.to;
    p.after = std::max(q.after, room_seq{first_seq - 1});
    for (auto seq = p.after.value + 1; seq <= q.to.value && p.frames.size() < frames; ++seq)
      p.frames.push_back(entry_frame(q.room, seq));
    p.complete = p.after.value + static_cast<std::int64_t>(p.frames.size()) == q.to.value;
    answers(p);
  }
  void publishes(const room_key& room, std::int64_t first, std::int64_t last,
                 std::vector<member_change> members = {}) {
    auto m = std::make_shared<publish>();
    m->room = room;
    m->no = room_no{room.room.id.bytes[15]};
    m->first_seq = room_seq{first};
    for (auto seq = first; seq <= last; ++seq) m->frames.push_back(entry_frame(room, seq));
    m->members = std::move(members);
    m->commit = commit_no{++commit};
    it.on(publish_ptr{m});
    runs();
  }
  void syncs(connection_ref c, std::vector<sync_frame::position> rooms,
             std::optional<std::string> with_epoch = epoch, bool rest = false) {
    it.sync(c, {"7", {}, {}}, {std::move(with_epoch), std::move(rooms), rest});
    runs();
  }
  /// Everything that `c` was sent since the last call, in short: «message 3», «recovered 5», «done 1», …
  std::vector<std::string> told(connection_ref c) {
    std::vector<std::string> out;
    for (const auto& f : std::exchange(sent[c], {})) out.push_back(in_short(f));
    return out;
  }

  std::int64_t commit = 10;

 private:
  static std::string in_short(const json& f) {
    const auto type = f["type"].get<std::string>();
    if (type == "sync.start") return "start " + f["rooms"].begin().value().dump();
    if (type == "sync.done") return "done " + f["rooms"].dump();
    if (type == "error") return "error " + f["code"].get<std::string>();
    if (type == "sync.complete") {
      auto text = f["outcome"].get<std::string>() + " " + f["seq"].dump();
      if (f.contains("from_seq")) text += " of " + f["from_seq"].dump() + "-" + f["to_seq"].dump();
      if (f.value("truncated", false)) text += " truncated";
      return text;
    }
    if (f.contains("seq")) return type + " " + f["seq"].dump();
    return type;
  }
  void send(connection_ref c, const frame_ptr& f) override {
    sent[c].push_back(json::parse(f->payload()));
  }
  [[nodiscard]] std::size_t space(connection_ref c) const override {
    return full.contains(c) ? 0 : 1 << 16;
  }
  [[nodiscard]] bool takes(connection_ref c, std::size_t) override { return !full.contains(c); }
  bool read(call_no call, tenant_no, read_query q) override {
    if (readers_busy) return false;
    reads.push_back({call, std::move(q)});
    return true;
  }
  void restart(connection_ref c) override { restarted.insert(c); }
  void wake() override {}
};

using words_told = std::vector<std::string>;

const room_key lobby = key_of(1);
const room_key attic = key_of(2);

sync_frame::position at(const room_key& room, std::optional<std::int64_t> after) {
  return {room.room.id.to_string(), room.room,
          after ? std::optional{room_seq{*after}} : std::nullopt};
}
store::room_position position(const room_key& room, std::int64_t last, std::int64_t ack = 0,
                              std::int64_t first = 1) {
  store::room_position p;
  p.no = room_no{room.room.id.bytes[15]};
  p.room = room.room;
  p.first_seq = room_seq{first};
  p.last_seq = room_seq{last};
  p.last_ack = p.last_read = room_seq{ack};
  return p;
}
member_change joins(const user_id& user, std::int64_t seq) {
  return {user, room_seq{seq}, true, std::make_shared<const std::string>(R"({"name":"x"})")};
}
member_change leaves(const user_id& user, std::int64_t seq) {
  return {user, room_seq{seq}, false, {}};
}

}  // namespace

TEST_CASE("SPEC 5 outcomes: what a manual sync is told, row by row") {
  struct row {
    const char* what;
    std::optional<std::int64_t> after;
    std::optional<std::string> epoch_said;
    std::int64_t first, last;
    words_told expected;
  };
  const std::optional<std::string> none;
  const std::vector<row> rows{
      {"from now on", std::nullopt, none, 1, 5, {"live 5", "done 1"}},
      {"an empty room from now on", std::nullopt, none, 1, 0, {"live 0", "done 1"}},
      {"nothing is missing", 5, epoch, 1, 5, {"recovered 5", "done 1"}},
      {"two are missing", 3, epoch, 1, 5, {"message 4", "message 5", "recovered 5", "done 1"}},
      {"from the start", 0, none, 1, 2, {"message 1", "message 2", "recovered 2", "done 1"}},
      {"an empty room from the start", 0, none, 1, 0, {"recovered 0", "done 1"}},
      {"exactly as many as are served",
       0,
       epoch,
       1,
       3,
       {"message 1", "message 2", "message 3", "recovered 3", "done 1"}},
      {"one more",
       1,
       epoch,
       1,
       5,
       {"gap 2 of 2-2", "message 3", "message 4", "message 5", "done 1"}},
      {"retention took some",
       1,
       epoch,
       4,
       5,
       {"gap 3 of 2-3 truncated", "message 4", "message 5", "done 1"}},
      {"retention took what was seen only",
       3,
       epoch,
       4,
       5,
       {"message 4", "message 5", "recovered 5", "done 1"}},
      {"another epoch", 3, "epoch-0", 1, 5, {"reset 5", "done 1"}},
      {"no epoch", 3, none, 1, 5, {"reset 5", "done 1"}},
      {"a past that the server has not", 9, epoch, 1, 5, {"reset 5", "done 1"}},
  };
  for (const auto& r : rows) {
    CAPTURE(r.what);
    desk d{3};
    d.connects(phone, sync_mode::manual);
    d.syncs(phone, {at(lobby, r.after)}, r.epoch_said);
    REQUIRE(d.next_read<check_query>().rooms == std::vector{lobby.room});
    d.answers(store::checked_rooms{commit_no{10}, {position(lobby, r.last, 0, r.first)}});
    while (!d.reads.empty()) d.answers_page(r.first);
    CHECK(d.told(phone) == r.expected);
    // Whatever the outcome, what comes is live from there on.
    d.publishes(lobby, r.last + 1, r.last + 1);
    CHECK(d.told(phone) == words_told{"message " + std::to_string(r.last + 1)});
  }
}

TEST_CASE(
    "SPEC 5 outcomes: gone for a foreign room, an unknown one and an id that no room can have") {
  desk d;
  d.connects(phone, sync_mode::manual);
  d.syncs(phone, {at(lobby, 3), {"no room", std::nullopt, room_seq{3}}});
  d.answers(store::checked_rooms{commit_no{10}, {std::nullopt, std::nullopt}});
  CHECK(d.told(phone) == words_told{"gone null", "gone null", "done 2"});
  d.publishes(lobby, 1, 2);
  CHECK(d.told(phone).empty());
  CHECK(d.it.rooms() == 0);
}

TEST_CASE("SPEC 5 an automatic connection: start, entries from last_ack, outcome, done, live") {
  desk d{3};
  d.connects(phone, sync_mode::automatic);
  REQUIRE(d.next_read<positions_query>().user == ann);
  d.answers(store::positions{commit_no{10}, {position(lobby, 7, 5), position(attic, 9, 2)}});
  CHECK(d.told(phone) == words_told{"start 5"});
  d.answers_page();
  CHECK(d.told(phone) == words_told{"message 6", "message 7", "recovered 7", "gap 6 of 3-6"});
  d.answers_page();
  CHECK(d.told(phone) == words_told{"message 7", "message 8", "message 9", "done 2"});
  d.publishes(lobby, 8, 9);
  CHECK(d.told(phone) == words_told{"message 8", "message 9"});
  CHECK(d.reads.empty());  // live comes from the ring
}

TEST_CASE(
    "SPEC 5 sync: several in turn add up; a room that is live already is a conflict and changes "
    "nothing") {
  desk d;
  d.connects(phone, sync_mode::manual);
  d.syncs(phone, {at(lobby, std::nullopt)});
  d.syncs(phone, {at(attic, std::nullopt), at(lobby, 0)});
  d.syncs(phone, {}, epoch);
  CHECK(d.told(phone).empty());
  d.answers(store::checked_rooms{commit_no{10}, {position(lobby, 4)}});
  CHECK(d.told(phone) == words_told{"live 4", "done 1", "error CONFLICT", "done 0"});
  d.publishes(attic, 1, 1);
  CHECK(d.told(phone).empty());
}

TEST_CASE(
    "SPEC 5 sync with rest: all others become live, counted and not listed; rooms entered later "
    "too") {
  desk d;
  d.connects(phone, sync_mode::manual);
  d.syncs(phone, {at(lobby, 1)}, epoch, true);
  REQUIRE(d.next_read<positions_query>().user == ann);
  d.answers(store::positions{commit_no{10}, {position(attic, 9), position(lobby, 1)}});
  CHECK(d.told(phone) == words_told{"recovered 1", "done 2"});
  d.publishes(attic, 10, 10);
  CHECK(d.told(phone) == words_told{"message 10"});
  d.publishes(key_of(3), 1, 2, {joins(ann, 1)});
  CHECK(d.told(phone) == words_told{"room.added 1", "message 2"});
}

TEST_CASE("DESIGN 3.6 what passes while the list is read is not missed, and nothing twice") {
  desk d;
  d.connects(phone, sync_mode::automatic);
  d.publishes(lobby, 8, 8);                       // commit 11: in the snapshot
  d.publishes(lobby, 9, 9);                       // commit 12: not
  d.publishes(attic, 3, 3, {leaves(ann, 3)});     // commit 13
  d.publishes(key_of(3), 1, 1, {joins(ann, 1)});  // commit 14
  d.answers(store::positions{commit_no{11}, {position(lobby, 8, 7), position(attic, 2, 2)}});
  while (!d.reads.empty()) d.answers_page();
  CHECK(d.told(phone) == words_told{"room.added 1", "start 7", "message 8", "message 9",
                                    "recovered 9", "message 3", "recovered 3", "done 2",
                                    "room.removed"});
}

TEST_CASE("DESIGN 1 a publish that passes while a page is read is not forgotten") {
  desk d{1000, 0};  // no ring: every entry comes from a page
  d.connects(phone, sync_mode::manual);
  d.syncs(phone, {at(lobby, std::nullopt)});
  d.answers(store::checked_rooms{commit_no{10}, {position(lobby, 4)}});
  d.told(phone);
  d.publishes(lobby, 5, 5);
  d.publishes(lobby, 6, 7);
  d.answers_page();
  CHECK(d.told(phone) == words_told{"message 5"});
  d.answers_page();
  CHECK(d.told(phone) == words_told{"message 6", "message 7"});
  CHECK(d.it.ring_bytes() == 0);
}

TEST_CASE("SPEC 2.6 a reader that takes nothing costs nobody anything, and goes on where it was") {
  desk d;
  for (const auto c : {phone, laptop}) {
    d.connects(c, sync_mode::manual);
    d.syncs(c, {at(lobby, std::nullopt)});
    d.answers(store::checked_rooms{commit_no{10}, {position(lobby, 4)}});
    d.told(c);
  }
  d.full.insert(phone);
  for (std::int64_t seq = 5; seq <= 104; ++seq) d.publishes(lobby, seq, seq);
  CHECK(d.told(phone).empty());
  CHECK(d.told(laptop).size() == 100);
  d.full.clear();
  d.it.drained(phone);
  d.runs();
  const auto all = d.told(phone);
  REQUIRE(all.size() == 100);
  CHECK(all.front() == "message 5");
  CHECK(all.back() == "message 104");
  CHECK(d.reads.empty());
}

TEST_CASE(
    "SPEC 5 a live reader overtaken by retention: an unasked gap, truncated, and it goes on") {
  desk d;
  const auto starts_at = [&](std::int64_t seq) {
    d.it.on(room_rewritten{lobby, room_no{1}, commit_no{++d.commit}, room_seq{seq}});
    d.runs();
  };
  for (const auto c : {phone, laptop}) {
    d.connects(c, sync_mode::manual);
    d.syncs(c, {at(lobby, std::nullopt)});
    d.answers(store::checked_rooms{commit_no{10}, {position(lobby, 4)}});
    d.told(c);
  }
  d.full.insert(phone);
  d.publishes(lobby, 5, 9);
  CHECK(d.told(laptop).size() == 5);
  starts_at(8);
  d.full.clear();
  d.it.drained(phone);
  d.runs();
  // What is gone is not in the recent frames either: the log is asked, and it starts later.
  CHECK(d.told(phone).empty());
  CHECK(d.next_read<page_query>().after == room_seq{4});
  d.answers_page(8);
  CHECK(d.told(phone) == words_told{"gap 7 of 5-7 truncated", "message 8", "message 9"});
  CHECK(d.told(laptop).empty());
  // Who is not behind hears nothing of it; both are live from the recent frames.
  starts_at(9);
  d.publishes(lobby, 10, 10);
  for (const auto c : {phone, laptop}) CHECK(d.told(c) == words_told{"message 10"});
  CHECK(d.reads.empty());
  // One that is behind what is still there misses nothing.
  d.full.insert(phone);
  d.publishes(lobby, 11, 12);
  starts_at(11);
  d.full.clear();
  d.it.drained(phone);
  d.runs();
  CHECK(d.told(phone) == words_told{"message 11", "message 12"});
  CHECK(d.reads.empty());
}

TEST_CASE(
    "SPEC 5 a page that retention overtakes while it is read is served; the next one starts "
    "later") {
  desk d{1000, 0};  // no ring: every entry comes from a page
  d.connects(phone, sync_mode::manual);
  d.syncs(phone, {at(lobby, std::nullopt)});
  d.answers(store::checked_rooms{commit_no{10}, {position(lobby, 4)}});
  d.told(phone);
  d.publishes(lobby, 5, 9);
  d.it.on(room_rewritten{lobby, room_no{1}, commit_no{20}, room_seq{9}});
  d.runs();
  d.answers_page(1, 2);
  CHECK(d.told(phone) == words_told{"message 5", "message 6"});
  d.answers_page(9);
  CHECK(d.told(phone) == words_told{"gap 8 of 7-8 truncated", "message 9"});
}

TEST_CASE(
    "SPEC 1 a removed member's last entry is its own member.left; after rejoining the absence is "
    "not pushed") {
  desk d;
  d.connects(phone, sync_mode::automatic);
  d.answers(store::positions{commit_no{10}, {position(lobby, 4, 4)}});
  d.told(phone);
  d.full.insert(phone);  // behind, while it is removed and comes back
  d.publishes(lobby, 5, 5);
  d.publishes(lobby, 6, 6, {leaves(ann, 6)});
  d.publishes(lobby, 7, 8);
  d.publishes(lobby, 9, 9, {joins(ann, 9)});
  d.publishes(lobby, 10, 10);
  d.full.clear();
  d.it.drained(phone);
  d.runs();
  CHECK(d.told(phone) ==
        words_told{"message 5", "message 6", "room.removed", "room.added 9", "message 10"});
}

TEST_CASE(
    "SPEC 1 who is removed by an entry sees nothing after it, on any connection, in any state") {
  desk d;
  d.connects(phone, sync_mode::automatic);
  d.connects(laptop, sync_mode::manual);
  d.answers(store::positions{commit_no{10}, {position(lobby, 4, 4)}});
  d.syncs(laptop, {at(lobby, 4)});
  d.told(phone);
  d.publishes(lobby, 5, 7, {leaves(ann, 5)});  // while laptop's membership is being checked
  CHECK(d.told(phone) == words_told{"message 5", "room.removed"});
  d.answers(store::checked_rooms{commit_no{10}, {position(lobby, 4)}});
  while (!d.reads.empty()) d.answers_page();
  const auto told = d.told(laptop);
  CHECK(std::find(told.begin(), told.end(), "message 6") == told.end());
  CHECK(std::find(told.begin(), told.end(), "message 7") == told.end());
  CHECK(std::find(told.begin(), told.end(), "done 1") != told.end());
  CHECK(told.back() == "room.removed");
  CHECK(d.it.rooms() == 0);
}

TEST_CASE(
    "DESIGN 1 a publish that does not continue what is known restarts the readers, and only "
    "those") {
  desk d;
  d.connects(phone, sync_mode::automatic);
  d.answers(store::positions{commit_no{10}, {position(lobby, 4, 4)}});
  d.connects(laptop, sync_mode::manual, bob);
  d.syncs(laptop, {at(lobby, std::nullopt)});
  d.answers(store::checked_rooms{commit_no{10}, {position(lobby, 6)}});
  d.told(phone);
  d.told(laptop);
  d.publishes(lobby, 7, 7);  // 5 and 6 were committed by an actor that died before it published them
  CHECK(d.restarted == std::set{phone});
  CHECK(d.told(phone).empty());
  CHECK(d.told(laptop) == words_told{"message 7"});
}

TEST_CASE(
    "DESIGN 1 where a log stands when it is opened: nothing to who knows it all, a restart to who "
    "does not") {
  desk d;
  d.connects(phone, sync_mode::automatic);
  d.answers(store::positions{commit_no{10}, {position(lobby, 4, 4)}});
  d.told(phone);
  d.publishes(lobby, 5, 4);  // no frames
  CHECK(d.restarted.empty());
  CHECK(d.told(phone).empty());
  d.publishes(lobby, 6, 5);
  CHECK(d.restarted == std::set{phone});
}

TEST_CASE("SPEC 2.9 a list that is older than the publishes that are remembered is read again") {
  desk d;
  d.connects(phone, sync_mode::automatic);
  for (std::size_t n = 0; n <= limits::publish_log_entries; ++n)
    d.publishes(attic, static_cast<std::int64_t>(n) + 1, static_cast<std::int64_t>(n) + 1);
  d.answers(store::positions{commit_no{10}, {position(lobby, 4, 4)}});
  CHECK(d.told(phone).empty());
  CHECK(d.it.counters().list_overflows == 1);
  d.answers(store::positions{commit_no{d.commit}, {position(lobby, 4, 4)}});
  CHECK(d.told(phone) == words_told{"start 4", "recovered 4", "done 1"});
}

TEST_CASE("SPEC 2.8 busy readers are asked again; nothing is lost by it") {
  desk d{1000, 0};
  d.readers_busy = true;
  d.connects(phone, sync_mode::automatic);
  CHECK(d.reads.empty());
  d.readers_busy = false;
  d.it.tick();
  d.answers(store::positions{commit_no{10}, {position(lobby, 4, 3)}});
  d.readers_busy = true;
  d.answers(error{error_code::unavailable, "the disk can't be read"});
  CHECK(d.told(phone) == words_told{"start 3"});
  d.readers_busy = false;
  d.it.tick();
  d.runs();
  d.answers_page();
  CHECK(d.told(phone) == words_told{"message 4", "recovered 4", "done 1"});
  // A subscribe is answered instead: its caller can do it again.
  d.readers_busy = true;
  d.it.subscribe(phone, {"7", {}, {}}, attic.room);
  CHECK(d.told(phone) == words_told{"error UNAVAILABLE"});
}

TEST_CASE("SPEC 4 bounds: max_subscriptions, and sync frames that wait") {
  desk d{1000, 1 << 20, 2};
  d.connects(phone, sync_mode::automatic);
  d.answers(store::positions{
      commit_no{10}, {position(lobby, 4, 4), position(attic, 4, 4), position(key_of(3), 4, 4)}});
  CHECK(d.told(phone) ==
        words_told{"error CONFLICT", "start 4", "recovered 4", "recovered 4", "done 2"});
  d.publishes(key_of(4), 1, 1, {joins(ann, 1)});
  CHECK(d.told(phone) == words_told{"room.added 1", "error CONFLICT"});

  desk e;
  e.connects(laptop, sync_mode::manual);
  for (std::size_t n = 0; n < subscriptions::sync_requests_max + 2; ++n)
    e.syncs(laptop, {at(key_of(static_cast<std::uint8_t>(n + 1)), std::nullopt)});
  CHECK(e.told(laptop) == words_told{"error UNAVAILABLE"});  // one at work, 16 wait
}

TEST_CASE("SPEC 2.9 a room that a sync names can't be unsubscribed before its outcome is stated") {
  desk d;
  d.connects(phone, sync_mode::manual);
  d.it.subscribe(phone, {"1", {}, {}}, lobby.room);
  d.syncs(phone, {at(attic, std::nullopt), at(lobby, 2)});
  d.answers(store::checked_rooms{commit_no{10}, {position(lobby, 4)}});  // of the subscribe
  CHECK(d.told(phone) == words_told{"subscribed 4"});
  d.it.unsubscribe(phone, {"2", {}, {}}, lobby.room);
  CHECK(d.told(phone) == words_told{"error CONFLICT"});
  d.full.insert(phone);
  d.answers(store::checked_rooms{commit_no{10}, {position(attic, 1), position(lobby, 4)}});
  d.it.unsubscribe(phone, {"3", {}, {}}, lobby.room);
  d.full.clear();
  d.it.drained(phone);
  d.runs();
  CHECK(d.told(phone) == words_told{"error CONFLICT", "live 1", "gap 4 of 3-4", "done 2"});
  d.it.unsubscribe(phone, {"4", {}, {}}, lobby.room);
  CHECK(d.told(phone) == words_told{"ok"});
}

TEST_CASE("a connection that goes leaves nothing behind, whatever it was waiting for") {
  desk d{1000, 0};
  d.connects(phone, sync_mode::automatic);
  d.answers(store::positions{commit_no{10}, {position(lobby, 9, 4), position(attic, 9, 4)}});
  REQUIRE(d.reads.size() == 1);
  d.it.remove(phone);
  d.answers_page();
  CHECK(d.it.size() == 0);
  CHECK(d.it.rooms() == 0);
  CHECK(d.it.connections() == 0);
  CHECK(d.it.connections_of({acme, ann}).empty());
  d.publishes(lobby, 10, 10, {leaves(ann, 10)});
  CHECK(d.sent[phone].size() == 1);  // its sync.start
}

}  // namespace parley::net
