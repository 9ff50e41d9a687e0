#include "actors/session.hpp"

#include "tests/actors/words.hpp"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

namespace parley::actors {

using namespace words;

namespace {

using words_told = std::vector<std::string>;

/// A session of ann in a test; remembers in words what it told.
class desk final : private session_ports {
 public:
  words_told told;
  std::vector<attached> answers;
  std::vector<cursors_stored_ptr> stored;
  std::vector<receipt_ptr> receipts;
  std::vector<store_cursors_ptr> under_way;
  std::vector<session_idle> idles;
  session it{{acme, ann}, instance_no{4}, *this};

  void attaches(std::uint64_t connection, std::uint32_t max = 0, std::uint32_t gateway = 0) {
    it.on(attach{{acme, ann}, gateway_no{gateway}, connection_ref{connection}, max});
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

 private:
  void to_gateway(gateway_no, const attached& m) override { answers.push_back(m); }
  void to_gateway(gateway_no g, cursors_stored_ptr m) override {
    told.push_back("reply to gateway " + std::to_string(g.value));
    stored.push_back(std::move(m));
  }
  void to_gateway(gateway_no g, receipt_ptr m) override {
    told.push_back("receipt to " + std::to_string(g.value) + "/" +
                   std::to_string(m->connection.value));
    receipts.push_back(std::move(m));
  }
  void to_storage(store_cursors_ptr m) override { under_way.push_back(std::move(m)); }
  void to_directory(const session_idle& m) override { idles.push_back(m); }
};

}  // namespace

TEST_SUITE("SPEC 5 connections of one user") {
  TEST_CASE(
      "a connection within the bound is attached; the newest beyond it is refused with 1008") {
    desk d;
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
    desk d;
    for (std::uint64_t c = 1; c <= 100; ++c) d.attaches(c);
    CHECK(d.it.connections() == 100);
  }
  TEST_CASE("connections of two gateways with the same number are two") {
    desk d;
    d.attaches(1, 0, 0);
    d.attaches(1, 0, 1);
    d.detaches(1, 0);
    CHECK(d.it.connections() == 1);
    CHECK(d.idles.empty());
  }
  TEST_CASE("without a connection it is idle, and says what it has seen by then") {
    desk d;
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
    desk d;
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
    desk d;
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
    desk d;
    d.attaches(1);
    d.moves(std::nullopt, true);
    d.storage_answers();
    CHECK(d.told == words_told{"reply to gateway 0", "receipt to 0/1"});
    CHECK(d.receipts[0]->read);
    CHECK(d.receipts[0]->rooms[0].second == room_seq{5});
  }
  TEST_CASE("beyond its bound of moves under way it refuses, and nothing goes to storage") {
    desk d;
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
    desk d;
    d.attaches(1);
    for (std::size_t n = 0; n <= session::cursors_max; ++n) d.moves(1);
    d.detaches(1);
    while (!d.under_way.empty()) d.storage_answers();
    REQUIRE(d.idles.size() == 1);
    CHECK(d.idles[0].attaches_seen == session::cursors_max + 2);
  }
}

}  // namespace parley::actors
