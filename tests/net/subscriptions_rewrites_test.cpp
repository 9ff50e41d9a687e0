// What an edit or a delete does to those who are behind: the recent frames that they are still owed, and the pages that
// were read before it.

#include "net/subscriptions.hpp"
#include "protocol/server_frame.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace parley::net {

namespace {

using nlohmann::json;
using namespace actors;

uuid numbered(std::uint8_t n) {
  uuid id;
  id.bytes[0] = 1;
  id.bytes[15] = n;
  return id;
}
const room_key lobby{tenant_no{1}, room_id{numbered(1)}};
const user_id ann{"ann"};

frame_ptr encoded(const entry& e) {
  std::string text;
  append_entry(text, lobby.room, e);
  return make_text_frame(text);
}
entry message(std::int64_t seq, std::string content) {
  message_body body{.sender = ann, .content = std::move(content), .meta = {}};
  return {room_seq{seq}, message_id{numbered(static_cast<std::uint8_t>(seq))}, ann, utc_time{},
          std::move(body)};
}
entry edit(std::int64_t seq, std::int64_t of, std::string content) {
  return {room_seq{seq}, message_id{numbered(static_cast<std::uint8_t>(of))}, ann, utc_time{},
          message_edited_body{room_seq{of}, std::move(content), {}, utc_time{}}};
}
entry removal(std::int64_t seq, std::int64_t of) {
  return {room_seq{seq}, message_id{numbered(static_cast<std::uint8_t>(of))}, ann, utc_time{},
          message_deleted_body{room_seq{of}, utc_time{}}};
}

/// A gateway's delivery with a connection that takes frames or not, and readers that answer when the test says so.
class delivery final : public delivery_ports {
 public:
  explicit delivery(subscriptions_options options = {.epoch = epoch_id{"e"}})
      : it(*this, options) {}

  void connects(std::uint64_t c) {
    it.add(connection_ref{c}, {lobby.tenant, ann}, sync_mode::manual);
    it.start(connection_ref{c});
    takes_frames[c] = true;
  }
  /// From `after` on, in a room whose log ends at `last`, as a snapshot of `commit` shows it.
  void syncs(std::uint64_t c, std::int64_t after, std::int64_t last, std::int64_t commit) {
    sync_frame frame;
    frame.epoch = "e";
    frame.rooms.push_back({lobby.room.id.to_string(), lobby.room, room_seq{after}});
    it.sync(connection_ref{c}, {"1", {}, {}}, std::move(frame));
    REQUIRE(std::holds_alternative<check_query>(reads.back().second));
    store::checked_rooms found;
    found.snapshot = commit_no{commit};
    found.rooms.emplace_back(
        store::room_position{room_no{5}, lobby.room, room_seq{1}, room_seq{last}, {}, {}});
    answer(reads.back().first, found);
    runs();
  }
  /// One commit with these entries; those of a changed message show its end.
  void published(std::int64_t commit, const std::vector<entry>& entries,
                 const std::vector<entry>& messages_after = {}) {
    auto m = std::make_shared<publish>();
    m->room = lobby;
    m->no = room_no{5};
    m->first_seq = entries.front().seq;
    m->commit = commit_no{commit};
    for (const auto& e : entries) {
      m->frames.push_back(encoded(e));
      if (e.kind() != entry_kind::message_edited) continue;
      auto bare = e;
      std::get<message_edited_body>(bare.body).content.clear();
      m->edits.push_back(std::make_shared<const entry>(std::move(bare)));
    }
    for (const auto& e : messages_after)
      m->rewrites.push_back({std::make_shared<const entry>(e), encoded(e)});
    it.on(m);
    runs();
  }
  [[nodiscard]] const page_query* asked() const {
    return reads.empty() ? nullptr : std::get_if<page_query>(&reads.back().second);
  }
  void page(std::int64_t commit, std::int64_t after, const std::vector<entry>& entries) {
    REQUIRE(asked() != nullptr);
    page_frames p{commit_no{commit}, room_seq{1}, room_seq{100}, true, true, room_seq{after}, {}};
    for (const auto& e : entries) {
      p.frames.push_back(encoded(e));
      if (e.kind() != entry_kind::message_edited) continue;
      p.edits.push_back(e);
      std::get<message_edited_body>(p.edits.back().body).content.clear();
    }
    answer(reads.back().first, std::move(p));
    runs();
  }
  void drains(std::uint64_t c) {
    takes_frames[c] = true;
    it.drained(connection_ref{c});
    runs();
  }
  void runs() {
    while (it.run(100)) {}
    it.check_invariants();
  }
  /// «seq content» of each entry that the connection was given.
  [[nodiscard]] std::vector<std::string> shown(std::uint64_t c) const {
    std::vector<std::string> out;
    const auto got = sent.find(c);
    if (got == sent.end()) return out;
    for (const auto& text : got->second) {
      const auto f = json::parse(text);
      if (!f["type"].get<std::string>().starts_with("message")) continue;
      out.push_back(std::to_string(f["seq"].get<int>()) + " " +
                    (f.contains("content") ? f["content"].get<std::string>() : "gone"));
    }
    return out;
  }

  std::map<std::uint64_t, std::vector<std::string>> sent;
  std::map<std::uint64_t, bool> takes_frames;
  std::vector<std::pair<call_no, read_query>> reads;

 private:
  void answer(call_no call, const read_result& result) {
    reads.pop_back();
    it.on(call, result);
  }
  void send(connection_ref c, const frame_ptr& f) override {
    sent[c.value].emplace_back(f->payload());
  }
  [[nodiscard]] std::size_t space(connection_ref c) const override {
    return takes_frames.at(c.value) ? 1 << 20 : 0;
  }
  [[nodiscard]] bool takes(connection_ref c, std::size_t) override {
    return takes_frames.at(c.value);
  }
  bool read(call_no call, tenant_no, read_query q) override {
    reads.emplace_back(call, std::move(q));
    return true;
  }
  void restart(connection_ref) override { FAIL("a connection is restarted"); }
  void wake() override {}

 public:
  subscriptions it;
};

using lines = std::vector<std::string>;

}  // namespace

TEST_SUITE("SPEC 1 what is read after an edit or delete shows it") {
  TEST_CASE("a reader that is behind gets the recent frames as they are now") {
    delivery d;
    d.connects(1);
    d.syncs(1, 0, 0, 1);
    d.published(2, {message(1, "one"), message(2, "two")});
    CHECK(d.shown(1) == lines{"1 one", "2 two"});
    d.takes_frames[1] = false;
    d.published(3, {message(3, "three"), message(4, "four")});
    d.published(4, {edit(5, 4, "vier")}, {message(4, "vier")});
    d.published(5, {edit(6, 4, "quatre")}, {message(4, "quatre")});
    d.published(6, {removal(7, 3)}, {message(3, "")});
    d.drains(1);
    CHECK(d.shown(1) == lines{"1 one", "2 two", "3 ", "4 quatre", "5 quatre", "6 quatre", "7 gone"});
    CHECK(d.reads.empty());
  }

  TEST_CASE("what is queued on a connection already stays") {
    delivery d;
    d.connects(1);
    d.syncs(1, 0, 0, 1);
    d.published(2, {message(1, "one")});
    d.published(3, {removal(2, 1)}, {message(1, "")});
    CHECK(d.shown(1) == lines{"1 one", "2 gone"});
  }

  TEST_CASE("a page from before a delete is served with what is left of the message") {
    delivery d;
    d.connects(1);
    d.syncs(1, 0, 3, 8);
    REQUIRE(d.asked());
    CHECK(d.asked()->after == room_seq{0});
    d.published(9, {removal(4, 2)}, {message(2, "")});
    d.page(8, 0, {message(1, "one"), message(2, "secret"), message(3, "three")});
    CHECK(d.shown(1) == lines{"1 one", "2 ", "3 three", "4 gone"});
    CHECK(d.reads.empty());
    CHECK(d.it.counters().frames_overtaken == 1);
    CHECK(d.it.counters().stale_pages == 0);
  }

  TEST_CASE("a page from before a change is served with its edits as they are now") {
    delivery d;
    d.connects(1);
    d.syncs(1, 1, 4, 8);
    REQUIRE(d.asked());
    d.published(9, {removal(5, 1)}, {message(1, "")});
    d.page(8, 1, {message(2, "two"), edit(3, 1, "secret"), message(4, "four")});
    CHECK(d.shown(1) == lines{"2 two", "3 ", "4 four", "5 gone"});
    CHECK(d.reads.empty());
  }

  TEST_CASE("a page that has seen the change, or holds nothing of it, is served as it is") {
    delivery d;
    d.connects(1);
    d.syncs(1, 1, 4, 8);
    d.published(9, {removal(5, 1)}, {message(1, "")});
    d.published(10, {removal(6, 3)}, {message(3, "")});
    d.page(10, 1, {message(2, "two"), message(3, ""), message(4, "four")});
    CHECK(d.shown(1) == lines{"2 two", "3 ", "4 four", "5 gone", "6 gone"});
    d.connects(2);
    d.it.unsubscribe(connection_ref{1}, {"2", {}, {}}, lobby.room);
    d.syncs(2, 1, 6, 10);
    d.published(11, {edit(7, 5, "of another")}, {message(1, "")});
    d.page(10, 1, {message(2, "two"), message(3, ""), message(4, "four")});
    CHECK(d.it.counters().stale_pages == 0);
    CHECK(d.it.counters().frames_overtaken == 0);
  }

  TEST_CASE("of several changes while a page is read the newest is shown, in all its entries") {
    delivery d;
    d.connects(1);
    d.syncs(1, 0, 4, 8);
    d.published(9, {edit(5, 1, "b")}, {message(1, "b")});
    d.published(10, {edit(6, 3, "x")}, {message(3, "x")});
    d.published(11, {edit(7, 1, "c")}, {message(1, "c")});
    d.page(9, 0, {message(1, "b"), edit(2, 1, "b"), message(3, "three"), edit(4, 1, "b")});
    CHECK(d.shown(1) == lines{"1 c", "2 c", "3 x", "4 c", "5 c", "6 x", "7 c"});
    CHECK(d.reads.empty());
  }

  TEST_CASE(
      "a page that is edited without end, each time while it is read, is served all the same") {
    // Without recent frames: all comes from pages, each as it was before the newest edit.
    delivery d{{.ring_bytes = 0, .epoch = epoch_id{"e"}}};
    d.connects(1);
    std::vector<entry> log{message(1, "0"), message(2, "two")};
    const auto as_of = [&](std::int64_t after, std::size_t to) {
      std::string text = "0";
      for (std::size_t at = 0; at < to; ++at) {
        if (const auto* e = std::get_if<message_edited_body>(&log[at].body)) text = e->content;
      }
      std::vector<entry> out;
      for (auto at = static_cast<std::size_t>(after); at < to && out.size() < 4; ++at) {
        out.push_back(log[at]);
        if (auto* e = std::get_if<message_edited_body>(&out.back().body)) e->content = text;
        if (at == 0) out.back() = message(1, text);
      }
      return out;
    };
    std::int64_t commit = 8;
    d.syncs(1, 0, 2, commit);
    const std::size_t rounds = 60;
    for (std::size_t round = 1; round <= rounds; ++round) {
      CAPTURE(round);
      REQUIRE(d.asked());
      const auto after = d.asked()->after.value;
      const auto behind = log.size();
      const auto page = as_of(after, behind);
      REQUIRE(!page.empty());
      const auto before = d.shown(1).size();
      const auto text = std::to_string(round);
      log.push_back(edit(static_cast<std::int64_t>(behind) + 1, 1, text));
      d.published(commit + 1, {log.back()}, {message(1, text)});
      d.page(commit, after, page);
      ++commit;
      const auto all = d.shown(1);
      REQUIRE(all.size() == before + page.size());
      for (auto at = before; at < all.size(); ++at) {
        const auto seq = std::to_string(at + 1) + " ";
        CHECK(all[at] == seq + (at == 1 ? "two" : text));
      }
    }
    CHECK(d.it.counters().stale_pages == 0);
  }

  TEST_CASE(
      "more messages changed than are remembered while a page is read: an older page counts for "
      "nothing") {
    delivery d;
    d.connects(1);
    d.syncs(1, 0, 2, 8);
    d.published(9, {edit(3, 2, "new")}, {message(2, "new")});
    const auto n = static_cast<std::int64_t>(limits::page_rewrites_max);
    for (std::int64_t i = 0; i < n; ++i)
      d.published(10 + i, {edit(4 + i, 3000 + i, "other")}, {message(3000 + i, "other")});
    d.page(8, 0, {message(1, "one"), message(2, "old")});
    CHECK(d.shown(1).empty());
    CHECK(d.it.counters().stale_pages == 1);
    REQUIRE(d.asked());
    CHECK(d.asked()->after == room_seq{0});
    d.page(9 + n, 0, {message(1, "one"), message(2, "new")});
    CHECK(d.shown(1).at(1) == "2 new");
  }

  TEST_CASE("of long messages changed while a page is read, the newest are remembered") {
    delivery d;
    d.connects(1);
    d.syncs(1, 0, 3, 8);
    const std::string text(limits::page_rewrites_max_bytes / 5, 'x');
    d.published(9, {edit(4, 2, "new")}, {message(2, "new" + text)});
    d.published(10, {edit(5, 1, "new")}, {message(1, "new" + text)});
    d.published(11, {edit(6, 200, "new")}, {message(200, "new" + text)});
    d.page(8, 0, {message(1, "one"), message(2, "old"), message(3, "three")});
    CHECK(d.shown(1) == lines{"1 new" + text});
    CHECK(d.it.counters().stale_pages == 1);
    REQUIRE(d.asked());
    CHECK(d.asked()->after == room_seq{1});
    // A message longer than all that may be remembered is, while it is the newest.
    const std::string longest(limits::page_rewrites_max_bytes, 'y');
    d.published(12, {edit(7, 2, "new")}, {message(2, longest)});
    d.page(11, 1, {message(2, "new" + text), message(3, "three")});
    CHECK(d.shown(1).at(1) == "2 " + longest);
    CHECK(d.shown(1).at(2) == "3 three");
  }

  TEST_CASE("a message edited without end does not cost ever more: older frames leave the ring") {
    delivery d;
    d.connects(1);
    d.syncs(1, 0, 0, 1);
    d.takes_frames[1] = false;
    d.published(2, {message(1, "0")});
    const auto n = static_cast<std::int64_t>(limits::ring_rewrites_max) + 4;
    for (std::int64_t i = 1; i <= n; ++i) {
      const auto text = std::to_string(i);
      d.published(2 + i, {edit(1 + i, 1, text)}, {message(1, text)});
    }
    d.drains(1);
    REQUIRE(d.asked());  // from the log
    CHECK(d.shown(1).empty());
    std::vector<entry> all{message(1, std::to_string(n))};
    for (std::int64_t i = 1; i <= n; ++i) all.push_back(edit(1 + i, 1, std::to_string(n)));
    d.page(2 + n, 0, all);
    for (const auto& line : d.shown(1)) CHECK(line.ends_with(" " + std::to_string(n)));
    CHECK(d.shown(1).size() == static_cast<std::size_t>(n) + 1);
  }

  TEST_CASE("rings give back what they counted for edits") {
    delivery d;
    d.connects(1);
    d.syncs(1, 0, 0, 1);
    d.published(2, {message(1, "one")});
    d.published(3, {edit(2, 1, std::string(5000, 'x'))}, {message(1, std::string(5000, 'x'))});
    d.published(4, {removal(3, 1)}, {message(1, "")});
    CHECK(d.it.ring_bytes() < 3000);
    d.it.remove(connection_ref{1});
    CHECK(d.it.ring_bytes() == 0);
  }

  TEST_CASE(
      "who starts from a snapshot ahead of what was published reads pages until that is here") {
    delivery d;
    d.connects(1);
    d.syncs(1, 0, 0, 1);
    d.published(2, {message(1, "secret"), message(2, "two")});
    // The delete, seq 3, is committed; its publish is on its way.
    d.connects(2);
    d.syncs(2, 0, 3, 3);
    CHECK(d.shown(2).empty());
    REQUIRE(d.asked());
    d.page(3, 0, {message(1, ""), message(2, "two"), removal(3, 1)});
    CHECK(d.shown(2) == lines{"1 ", "2 two", "3 gone"});
    d.published(3, {removal(3, 1)}, {message(1, "")});
    CHECK(d.shown(2).size() == 3);
    CHECK(d.shown(1) == lines{"1 secret", "2 two", "3 gone"});
  }
}

TEST_SUITE("SPEC 1, 6 what retention has removed is not shown by what is about it") {
  TEST_CASE("a recent edit of a message that is gone comes from the log, where it has no text") {
    delivery d;
    d.connects(1);
    d.syncs(1, 1, 1, 1);
    d.takes_frames[1] = false;
    d.published(2, {message(2, "two"), edit(3, 1, "secret")}, {message(1, "secret")});
    d.it.on(room_rewritten{lobby, room_no{5}, commit_no{3}, room_seq{2}});
    d.runs();
    d.drains(1);
    REQUIRE(d.asked());
    CHECK(d.asked()->after == room_seq{1});
    d.page(3, 1, {message(2, "two"), edit(3, 1, "")});
    CHECK(d.shown(1) == lines{"2 two", "3 "});
  }
  TEST_CASE("recent frames that are about nothing that is gone stay") {
    delivery d;
    d.connects(1);
    d.syncs(1, 1, 1, 1);
    d.takes_frames[1] = false;
    d.published(2, {message(2, "new"), edit(3, 2, "new")}, {message(2, "new")});
    d.it.on(room_rewritten{lobby, room_no{5}, commit_no{3}, room_seq{2}});
    d.runs();
    d.drains(1);
    CHECK(d.shown(1) == lines{"2 new", "3 new"});
    CHECK(d.reads.empty());
  }
}

TEST_SUITE("SPEC 1 what is read after an erasure does not show it") {
  const auto erased = [](delivery& d, std::int64_t commit) {
    d.it.on(room_rewritten{lobby, room_no{5}, commit_no{commit}});
    d.runs();
  };
  TEST_CASE("a reader that is behind gets it from the log, not from the recent frames") {
    delivery d;
    d.connects(1);
    d.syncs(1, 0, 0, 1);
    d.takes_frames[1] = false;
    d.published(2, {message(1, "secret"), message(2, "two")});
    erased(d, 3);
    d.drains(1);
    REQUIRE(d.asked());
    CHECK(d.asked()->after == room_seq{0});
    d.page(3, 0, {message(1, ""), message(2, "two")});
    CHECK(d.shown(1) == lines{"1 ", "2 two"});
    // And what comes after it is live.
    d.published(4, {message(3, "three")});
    CHECK(d.shown(1) == lines{"1 ", "2 two", "3 three"});
    CHECK(d.reads.empty());
  }
  TEST_CASE("a page that was read before it is asked again") {
    delivery d;
    d.connects(1);
    d.syncs(1, 0, 2, 8);
    REQUIRE(d.asked());
    erased(d, 9);
    d.page(8, 0, {message(1, "secret"), message(2, "two")});
    CHECK(d.shown(1).empty());
    CHECK(d.it.counters().stale_pages == 1);
    d.page(9, 0, {message(1, ""), message(2, "two")});
    CHECK(d.shown(1) == lines{"1 ", "2 two"});
    CHECK(d.reads.empty());
  }
  TEST_CASE("a publish from before it that comes late is read from the log") {
    delivery d;
    d.connects(1);
    d.syncs(1, 0, 0, 1);
    erased(d, 3);
    d.published(2, {message(1, "secret")});
    CHECK(d.shown(1).empty());
    REQUIRE(d.asked());
    d.page(3, 0, {message(1, "")});
    CHECK(d.shown(1) == lines{"1 "});
  }
  TEST_CASE("of a room that nobody reads here it means nothing") {
    delivery d;
    erased(d, 3);
    d.connects(1);
    d.syncs(1, 0, 0, 4);
    d.published(5, {message(1, "one")});
    CHECK(d.shown(1) == lines{"1 one"});
  }
}

}  // namespace parley::net
