#include "actors/room.hpp"

#include "tests/actors/lobby.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace parley::actors {

using namespace words;
using nlohmann::json;

namespace {
store::opened_room a_group_of_ann_and_bob(std::int64_t last_seq = 0) {
  return an_open_room(room_type::group, {member(ann, member_role::owner), member(bob)}, last_seq);
}
/// ann owns it, bob is an admin, cyd a member; dan is not in it.
store::opened_room a_room_of_three(room_type type) {
  return an_open_room(
      type, {member(ann, member_role::owner), member(bob, member_role::admin), member(cyd)});
}
json frame(const lobby& room, std::size_t publish, std::size_t at = 0) {
  return json::parse(room.publishes.at(publish)->frames.at(at)->payload());
}
std::vector<std::string> users_of(const entry& e) {
  std::vector<std::string> out;
  if (const auto* joined = std::get_if<member_joined_body>(&e.body)) {
    for (const auto& user : joined->users) out.push_back(user.value);
  } else if (const auto* left = std::get_if<member_left_body>(&e.body)) {
    for (const auto& user : left->users) out.push_back(user.value);
  }
  return out;
}
using names = std::vector<std::string>;
}  // namespace

TEST_SUITE("SPEC 2.1 accepted means durable") {
  TEST_CASE("a room shows nothing and accepts nothing before the store has committed it") {
    lobby room{a_group_of_ann_and_bob(41)};
    const auto sent = room.says(by(ann), message_from(ann));
    CHECK(room.last_entry().seq == room_seq{42});
    CHECK(!room.answered(sent));
    CHECK(room.publishes.empty());
    CHECK(room.it.committed_seq() == room_seq{41});

    room.commits();
    CHECK(room.accepted(sent).seq == room_seq{42});
    CHECK(frame(room, 0)["seq"] == 42);
    CHECK(room.it.committed_seq() == room_seq{42});
  }
  TEST_CASE("what one commit holds leaves as one publish and one batch of answers, in order") {
    lobby room{a_group_of_ann_and_bob()};
    for (int n = 0; n < 5; ++n)
      room.says(by(n % 2 == 0 ? ann : bob), message_from(n % 2 == 0 ? ann : bob));
    room.commits();
    REQUIRE(room.publishes.size() == 1);
    CHECK(room.batches_of_answers == 1);
    for (std::size_t n = 0; n < 5; ++n) CHECK(frame(room, 0, n)["seq"] == n + 1);
    CHECK(room.publishes[0]->first_seq == room_seq{1});
    CHECK(room.publishes[0]->last_seq() == room_seq{5});
    CHECK(room.publishes[0]->commit == room.last_commit);
  }
  TEST_CASE("a commit releases what it holds and nothing behind it") {
    lobby room{a_group_of_ann_and_bob()};
    const auto first = room.says(by(ann), message_from(ann));
    const auto second = room.says(by(ann), message_from(ann));
    room.commits_up_to(1);
    CHECK(room.done(first));
    CHECK(!room.answered(second));
    room.commits_up_to(2);
    CHECK(room.done(second));
    CHECK(room.publishes.size() == 2);
  }
  TEST_CASE("a message's credit travels with it to the gateways") {
    lobby room{a_group_of_ann_and_bob()};
    const auto budget = std::make_shared<admission>(10, 1000);
    room.it.on(std::make_shared<const room_command>(room_command{.room = key_of(1),
                                                                 .to = {gateway_no{0}, call_no{99}},
                                                                 .who = by(ann),
                                                                 .what = message_from(ann),
                                                                 .credit = budget->try_take(5)}));
    room.appends.clear();
    CHECK(budget->rows() == 1);
    room.it.on(committed{instance_no{3}, room.last_generation, entry_no{1}, commit_no{1}});
    CHECK(room.publishes.at(0)->credits.size() == 1);
    CHECK(budget->rows() == 1);
    room.publishes.clear();
    CHECK(budget->rows() == 0);
  }
}

TEST_SUITE("SPEC 2.2 one order") {
  TEST_CASE("entries take the seqs after the room's last, whatever their kind") {
    lobby room{a_group_of_ann_and_bob(7)};
    room.says(by(ann), message_from(ann));
    room.says(by(ann), add_members_command{{cyd}, member_role::member});
    room.says(by(bob), leave_command{});
    REQUIRE(room.appends.size() == 3);
    for (std::size_t n = 0; n < 3; ++n) {
      CHECK(room.appends[n]->row.e.seq == room_seq{8 + static_cast<std::int64_t>(n)});
      CHECK(room.appends[n]->no == entry_no{n + 1});
      CHECK(room.appends[n]->gen == room.last_generation);
    }
  }
  TEST_CASE(
      "a seq whose batch failed is given again, and its sender is told that nothing is stored") {
    lobby room{a_group_of_ann_and_bob()};
    const auto sent = room.says(by(ann), message_from(ann, "lost"));
    room.loses();
    CHECK(room.refused(sent, error_code::unavailable));
    CHECK(std::get<error>(room.outcome(sent)).stored == stored_state::no);
    CHECK(room.opens.size() == 2);
    CHECK(room.it.assigned_seq() == room_seq{0});

    room.opens_with(a_group_of_ann_and_bob());
    room.says(by(ann), message_from(ann, "again"));
    CHECK(room.last_entry().seq == room_seq{1});
    room.commits();
    CHECK(frame(room, 0)["content"] == "again");
  }
  TEST_CASE("answers of a lost generation mean nothing") {
    lobby room{a_group_of_ann_and_bob()};
    room.says(by(ann), message_from(ann));
    const auto old = room.last_generation;
    room.loses();
    room.opens_with(a_group_of_ann_and_bob());
    const auto sent = room.says(by(ann), message_from(ann));
    room.it.on(committed{instance_no{3}, old, entry_no{1}, commit_no{1}});
    CHECK(!room.answered(sent));
    CHECK(room.publishes.empty());
    room.loses(old);
    CHECK(!room.answered(sent));
    room.commits();
    CHECK(room.done(sent));
  }
  TEST_CASE(
      "what was told to be committed before a loss stays; what comes behind it waits for the new "
      "opening") {
    lobby room{a_group_of_ann_and_bob()};
    const auto kept = room.says(by(ann), message_from(ann));
    const auto gone = room.says(by(ann), message_from(ann));
    room.commits_up_to(1);
    room.loses();
    CHECK(room.done(kept));
    CHECK(room.refused(gone, error_code::unavailable));
    const auto later = room.says(by(bob), message_from(bob));
    CHECK(room.appends.size() == 2);
    room.opens_with(a_group_of_ann_and_bob(1));
    CHECK(room.last_entry().seq == room_seq{2});
    room.commits();
    CHECK(room.done(later));
  }
  TEST_CASE("the times of a room's log never go back, whatever the clock does") {
    lobby room{a_group_of_ann_and_bob()};
    room.says(by(ann), message_from(ann));
    room.time.at -= std::chrono::hours{1};
    room.says(by(ann), message_from(ann));
    CHECK(room.appends[1]->row.e.created_at >= room.appends[0]->row.e.created_at);
  }
}

TEST_SUITE("SPEC 2.4 safe retry") {
  TEST_CASE("a key that is still in flight waits for the first result") {
    lobby room{a_group_of_ann_and_bob()};
    const auto first = room.says(by(ann), keyed_message_from(ann, "k"));
    const auto retry = room.says(by(ann), keyed_message_from(ann, "k"));
    CHECK(room.appends.size() == 1);
    CHECK(!room.answered(retry));
    room.commits();
    CHECK(!room.accepted(first).duplicate);
    CHECK(room.accepted(retry).duplicate);
    CHECK(room.accepted(retry).message == room.accepted(first).message);
    CHECK(room.publishes.at(0)->frames.size() == 1);
  }
  TEST_CASE("all who wait for one key hear that it was lost") {
    lobby room{a_group_of_ann_and_bob()};
    const auto first = room.says(by(ann), keyed_message_from(ann, "k"));
    const auto retry = room.says(by(ann), keyed_message_from(ann, "k"));
    room.loses();
    for (const auto call : {first, retry})
      CHECK(std::get<error>(room.outcome(call)).stored == stored_state::no);
    room.opens_with(a_group_of_ann_and_bob());
    const auto again = room.says(by(ann), keyed_message_from(ann, "k"));
    room.commits();
    CHECK(!room.accepted(again).duplicate);
  }
  TEST_CASE("a key that is stored answers at once with the first result and appends nothing") {
    lobby room{a_group_of_ann_and_bob()};
    const auto first = room.says(by(ann), keyed_message_from(ann, "k"));
    room.commits();
    room.time.at += std::chrono::hours{1};
    const auto retry = room.says(by(ann), keyed_message_from(ann, "k"));
    CHECK(room.appends.size() == 1);
    CHECK(room.accepted(retry).duplicate);
    CHECK(room.accepted(retry).seq == room.accepted(first).seq);
    CHECK(room.accepted(retry).created_at == room.accepted(first).created_at);
  }
  TEST_CASE("a stored key is known after the room was loaded again") {
    auto facts = a_group_of_ann_and_bob(9);
    facts.keys.push_back({{ann, hash128_of("k"), store::keyed_call::send, hash128_of("hello")},
                          room_seq{4},
                          message_id{numbered(77)},
                          noon});
    lobby room{facts};
    const auto retry = room.says(by(ann), keyed_message_from(ann, "k"));
    CHECK(room.accepted(retry).duplicate);
    CHECK(room.accepted(retry).seq == room_seq{4});
    CHECK(room.accepted(retry).message == message_id{numbered(77)});
  }
  TEST_CASE(
      "a key with another content is a CONFLICT, in flight and stored, and says that nothing is "
      "stored") {
    lobby room{a_group_of_ann_and_bob()};
    room.says(by(ann), keyed_message_from(ann, "k", "one"));
    const auto in_flight = room.says(by(ann), keyed_message_from(ann, "k", "two"));
    CHECK(room.refused(in_flight, error_code::conflict));
    room.commits();
    const auto stored = room.says(by(ann), keyed_message_from(ann, "k", "two"));
    CHECK(room.refused(stored, error_code::conflict));
    CHECK(std::get<error>(room.outcome(stored)).stored == stored_state::no);
    CHECK(std::get<error>(room.outcome(stored)).field == "client_msg_id");
  }
  TEST_CASE("a key that was used for another kind of call is a CONFLICT") {
    auto facts = a_group_of_ann_and_bob(9);
    facts.keys.push_back({{ann, hash128_of("k"), store::keyed_call::edit, hash128_of("hello")},
                          room_seq{4},
                          message_id{numbered(77)},
                          noon});
    lobby room{facts};
    CHECK(room.refused(room.says(by(ann), keyed_message_from(ann, "k")), error_code::conflict));
  }
  TEST_CASE("each sender has keys of its own") {
    lobby room{a_group_of_ann_and_bob()};
    room.says(by(ann), keyed_message_from(ann, "k"));
    room.says(by(bob), keyed_message_from(bob, "k"));
    CHECK(room.appends.size() == 2);
  }
  TEST_CASE("a sender removed meanwhile still gets its first answer, in flight and stored") {
    lobby room{a_group_of_ann_and_bob()};
    const auto first = room.says(by(bob), keyed_message_from(bob, "k"));
    room.says(by(ann), remove_member_command{bob});
    const auto in_flight = room.says(by(bob), keyed_message_from(bob, "k"));
    room.commits();
    CHECK(room.accepted(in_flight).duplicate);
    const auto later = room.says(by(bob), keyed_message_from(bob, "k"));
    CHECK(room.accepted(later).message == room.accepted(first).message);
    CHECK(room.refused(room.says(by(bob), keyed_message_from(bob, "another")), error_code::not_found));
  }
  TEST_CASE("a key that memory need not hold is looked up before it is judged") {
    auto facts = a_group_of_ann_and_bob(9);
    facts.keys_complete = false;
    lobby room{facts};
    const auto retry = room.says(by(ann), keyed_message_from(ann, "k"));
    REQUIRE(room.lookups.size() == 1);
    CHECK(room.lookups[0].second.user == ann);
    CHECK(room.lookups[0].second.key == hash128_of("k"));
    CHECK(room.appends.empty());
    room.finds(member(ann),
               store::used_key{{ann, hash128_of("k"), store::keyed_call::send, hash128_of("hello")},
                               room_seq{2},
                               message_id{numbered(9)},
                               noon});
    CHECK(room.accepted(retry).duplicate);
    CHECK(room.accepted(retry).seq == room_seq{2});

    const auto fresh = room.says(by(ann), keyed_message_from(ann, "new"));
    room.finds(member(ann));
    room.commits();
    CHECK(!room.accepted(fresh).duplicate);
  }
  TEST_CASE("behind a look-up a sender's later messages wait in order, and nobody else's") {
    auto facts = a_group_of_ann_and_bob();
    facts.keys_complete = false;
    lobby room{facts};
    room.says(by(ann), keyed_message_from(ann, "k", "first"));
    room.says(by(ann), message_from(ann, "second"));
    room.says(by(bob), message_from(bob, "bob's"));
    REQUIRE(room.appends.size() == 1);
    CHECK(std::get<message_body>(room.last_entry().body).content == "bob's");
    room.finds(member(ann));
    REQUIRE(room.appends.size() == 3);
    CHECK(std::get<message_body>(room.appends[1]->row.e.body).content == "first");
    CHECK(std::get<message_body>(room.appends[2]->row.e.body).content == "second");
  }
  TEST_CASE("one look-up's facts hold for one message: the next unknown key is looked up again") {
    auto facts = a_group_of_ann_and_bob();
    facts.keys_complete = false;
    lobby room{facts};
    room.says(by(ann), keyed_message_from(ann, "one"));
    room.says(by(ann), keyed_message_from(ann, "two"));
    CHECK(room.lookups.size() == 1);
    room.finds(member(ann));
    CHECK(room.appends.size() == 1);
    REQUIRE(room.lookups.size() == 1);
    CHECK(room.lookups[0].second.key == hash128_of("two"));
  }
  TEST_CASE("a key that was pushed out of memory is looked up, not taken for new") {
    lobby room{a_group_of_ann_and_bob()};
    for (std::size_t n = 0; n <= limits::room_keys_in_memory; ++n) {
      room.says(by(ann), keyed_message_from(ann, "k" + std::to_string(n)));
      room.commits();
    }
    CHECK(room.lookups.empty());
    room.says(by(ann), keyed_message_from(ann, "k0"));
    CHECK(room.lookups.size() == 1);
    const auto known = room.says(by(bob), keyed_message_from(bob, "k1"));
    CHECK(room.lookups.size() == 2);  // what memory does not hold could have been bob's
    CHECK(!room.answered(known));
  }
  TEST_CASE("a look-up that fails refuses its message and goes on with the line") {
    auto facts = a_group_of_ann_and_bob();
    facts.keys_complete = false;
    lobby room{facts};
    const auto first = room.says(by(ann), keyed_message_from(ann, "k"));
    room.says(by(ann), message_from(ann, "plain"));
    room.finds_nothing_readable();
    CHECK(std::get<error>(room.outcome(first)).stored == stored_state::no);
    CHECK(room.appends.size() == 1);
  }
  TEST_CASE("readers that are busy beyond their bound refuse the whole line at once") {
    auto facts = a_group_of_ann_and_bob();
    facts.keys_complete = false;
    lobby room{facts};
    room.readers_are_busy = true;
    CHECK(room.refused(room.says(by(ann), keyed_message_from(ann, "k")), error_code::unavailable));
    CHECK(room.it.idle());
  }
  TEST_CASE("a look-up whose room was lost meanwhile is judged by the new opening") {
    auto facts = a_group_of_ann_and_bob();
    facts.keys_complete = false;
    lobby room{facts};
    room.says(by(bob), message_from(bob));
    const auto retry = room.says(by(ann), keyed_message_from(ann, "k"));
    room.loses();
    CHECK(!room.answered(retry));
    room.opens_with(a_group_of_ann_and_bob());  // all keys are in memory now
    room.finds(member(ann));
    room.commits();
    CHECK(!room.accepted(retry).duplicate);
  }
}

TEST_SUITE("SPEC 3 who may do what in a room") {
  TEST_CASE("only members see, read and write; to others the room does not exist") {
    lobby room{a_room_of_three(room_type::channel)};
    CHECK(room.refused(room.says(by(dan), message_from(dan)), error_code::not_found));
    CHECK(room.refused(room.says(by(dan), add_members_command{{eve}, member_role::member}),
                       error_code::not_found));
    CHECK(room.refused(room.says(by(dan), remove_member_command{cyd}), error_code::not_found));
    CHECK(room.refused(room.says(by(dan), leave_command{}), error_code::not_found));
    CHECK(room.refused(room.says(by(dan), delete_room_command{}), error_code::not_found));
    CHECK(room.appends.empty());
  }
  TEST_CASE("the roles' rights, line by line") {
    struct row {
      const char* why;
      caller who;
      std::variant<add_members_command, remove_member_command, leave_command, delete_room_command> what;
      std::optional<error_code> refused;
    };
    const std::vector<row> rows{
        {"the owner adds", by(ann), add_members_command{{dan}, member_role::member}, {}},
        {"the owner makes admins", by(ann), add_members_command{{dan}, member_role::admin}, {}},
        {"nobody adds owners", by(ann), add_members_command{{dan}, member_role::owner},
         error_code::authorization},
        {"nor does the backend", by_backend(), add_members_command{{dan}, member_role::owner},
         error_code::validation},
        {"an admin adds", by(bob), add_members_command{{dan}, member_role::member}, {}},
        {"an admin makes no admins", by(bob), add_members_command{{dan}, member_role::admin},
         error_code::authorization},
        {"a member adds nobody", by(cyd), add_members_command{{dan}, member_role::member},
         error_code::authorization},
        {"the backend adds", by_backend(), add_members_command{{dan}, member_role::admin}, {}},
        {"the owner removes an admin", by(ann), remove_member_command{bob}, {}},
        {"an admin removes a member", by(bob), remove_member_command{cyd}, {}},
        {"an admin does not remove the owner", by(bob), remove_member_command{ann},
         error_code::authorization},
        {"a member removes nobody", by(cyd), remove_member_command{bob}, error_code::authorization},
        {"a member hears no secret about strangers", by(cyd), remove_member_command{dan},
         error_code::authorization},
        {"a member removes itself: it leaves", by(cyd), remove_member_command{cyd}, {}},
        {"a stranger can't be removed", by(ann), remove_member_command{dan}, error_code::not_found},
        {"the backend removes anybody", by_backend(), remove_member_command{ann}, {}},
        {"a member leaves", by(cyd), leave_command{}, {}},
        {"the owner leaves", by(ann), leave_command{}, {}},
        {"the owner deletes", by(ann), delete_room_command{}, {}},
        {"an admin does not delete", by(bob), delete_room_command{}, error_code::authorization},
        {"a member does not delete", by(cyd), delete_room_command{}, error_code::authorization},
        {"the backend deletes", by_backend(), delete_room_command{}, {}},
    };
    for (const auto& r : rows) {
      CAPTURE(r.why);
      lobby room{a_room_of_three(room_type::group)};
      const auto call = std::visit([&](const auto& what) { return room.says(r.who, what); }, r.what);
      if (r.refused) {
        CHECK(room.refused(call, *r.refused));
        CHECK(room.appends.empty());
        CHECK(room.deletions.empty());
      } else {
        CHECK(!room.answered(call));
        CHECK(room.appends.size() + room.deletions.size() > 0);
      }
    }
  }
  TEST_CASE("two admins cannot remove each other") {
    lobby room{an_open_room(room_type::group,
                            {member(ann, member_role::admin), member(bob, member_role::admin)})};
    CHECK(room.refused(room.says(by(ann), remove_member_command{bob}), error_code::authorization));
  }
  TEST_CASE(
      "where only admins post, a member's message is refused, also with a role that is still "
      "pending") {
    auto facts = a_room_of_three(room_type::channel);
    facts.info.posting = posting_policy::admins;
    lobby room{facts};
    CHECK(room.refused(room.says(by(cyd), message_from(cyd)), error_code::authorization));
    room.says(by(bob), message_from(bob));
    room.says(by(ann), message_from(ann));
    room.says(by_backend(), message_from(cyd));
    CHECK(room.appends.size() == 3);
    room.says(by(ann), add_members_command{{dan}, member_role::admin});
    room.says(by(dan), message_from(dan));
    CHECK(room.appends.size() == 5);
  }
  TEST_CASE(
      "the backend names any sender and no actor is shown; a user is the actor of what it does") {
    lobby room{a_group_of_ann_and_bob()};
    room.says(by_backend(), message_from(eve));
    CHECK(!room.last_entry().actor);
    CHECK(std::get<message_body>(room.last_entry().body).sender == eve);
    room.says(by(ann), message_from(ann));
    CHECK(room.last_entry().actor == ann);
  }
  TEST_CASE("an owner who leaves is followed by the oldest admin, and nobody acts in this") {
    lobby room{an_open_room(room_type::group,
                            {member(ann, member_role::owner), member(bob, member_role::member, 1),
                             member(cyd, member_role::admin, 5), member(dan, member_role::admin, 3)},
                            9)};
    const auto left = room.says(by(ann), leave_command{});
    CHECK(room.appends.size() == 1);  // in one commit, or not at all
    const auto rows = room.rows();
    REQUIRE(rows.size() == 2);
    CHECK(users_of(rows[0].e) == names{"ann"});
    const auto& heir = std::get<member_updated_body>(rows[1].e.body);
    CHECK(heir.user == dan);
    CHECK(heir.role == member_role::owner);
    CHECK(!rows[1].e.actor);
    CHECK(!room.answered(left));
    room.commits();
    CHECK(room.done(left));
  }
  TEST_CASE("without admins the oldest member follows, without members nobody") {
    lobby two{an_open_room(room_type::group,
                           {member(ann, member_role::owner), member(bob, member_role::member, 4),
                            member(cyd, member_role::member, 2)},
                           9)};
    two.says(by_backend(), remove_member_command{ann});
    CHECK(std::get<member_updated_body>(two.last_entry().body).user == cyd);

    lobby alone{an_open_room(room_type::group, {member(ann, member_role::owner)})};
    alone.says(by(ann), leave_command{});
    CHECK(alone.appends.size() == 1);
  }
  TEST_CASE("succession sees what is pending: an heir who is leaving is passed over") {
    lobby room{a_room_of_three(room_type::group)};
    room.says(by(bob), leave_command{});
    room.says(by(ann), leave_command{});
    CHECK(std::get<member_updated_body>(room.last_entry().body).user == cyd);
    room.commits();
    const auto removed = room.says(by(cyd), delete_room_command{});
    CHECK(!room.answered(removed));
    CHECK(room.deletions.size() == 1);
  }
  TEST_CASE("anyone of the tenant joins a channel and is answered with the room as it then is") {
    lobby room{a_room_of_three(room_type::channel)};
    const auto joined = room.says(by(dan), join_command{});
    CHECK(users_of(room.last_entry()) == names{"dan"});
    CHECK(!room.answered(joined));
    room.commits();
    const auto& answer = std::get<room_result>(room.outcome(joined));
    CHECK(answer.info.member_count == 4);
    CHECK(answer.info.last_seq == room_seq{1});
    CHECK(answer.role == member_role::member);
    REQUIRE(room.publishes.at(0)->members.size() == 1);
    CHECK(room.publishes[0]->members[0].user == dan);
    CHECK(json::parse(*room.publishes[0]->members[0].room_json)["member_count"] == 4);
  }
  TEST_CASE(
      "joining a second time answers the same without an entry, and waits when the first is "
      "pending") {
    lobby room{a_room_of_three(room_type::channel)};
    room.says(by(dan), join_command{});
    const auto second = room.says(by(dan), join_command{});
    CHECK(room.appends.size() == 1);
    CHECK(!room.answered(second));
    room.commits();
    CHECK(std::get<room_result>(room.outcome(second)).info.member_count == 4);
    const auto third = room.says(by(dan), join_command{});
    CHECK(std::get<room_result>(room.outcome(third)).role == member_role::member);
    CHECK(room.appends.size() == 1);
  }
  TEST_CASE("a group that one is not in does not exist for joining") {
    lobby room{a_room_of_three(room_type::group)};
    CHECK(room.refused(room.says(by(dan), join_command{}), error_code::not_found));
    CHECK(room.done(room.says(by(cyd), join_command{})));
  }
  TEST_CASE("a dm keeps its two members; only the backend deletes it") {
    const auto a_dm = [] { return an_open_room(room_type::dm, {member(ann), member(bob)}); };
    lobby room{a_dm()};
    CHECK(room.refused(room.says(by(ann), join_command{}), error_code::conflict));
    CHECK(room.refused(room.says(by(ann), leave_command{}), error_code::conflict));
    CHECK(room.refused(room.says(by(ann), add_members_command{{cyd}, member_role::member}),
                       error_code::conflict));
    CHECK(room.refused(room.says(by(ann), remove_member_command{bob}), error_code::conflict));
    CHECK(room.refused(room.says(by_backend(), add_members_command{{cyd}, member_role::member}),
                       error_code::conflict));
    CHECK(room.refused(room.says(by_backend(), remove_member_command{bob}), error_code::conflict));
    CHECK(room.refused(room.says(by(ann), delete_room_command{}), error_code::authorization));
    CHECK(room.refused(room.says(by(cyd), leave_command{}), error_code::not_found));
    CHECK(room.refused(room.says(by(cyd), remove_member_command{ann}), error_code::not_found));
    CHECK(room.refused(room.says(by(cyd), join_command{}), error_code::not_found));
    room.says(by_backend(), delete_room_command{});
    CHECK(room.deletions.size() == 1);
  }
  TEST_CASE("what rests on a membership that is pending is answered with it, and lost with it") {
    lobby room{a_room_of_three(room_type::group)};
    room.says(by(ann), add_members_command{{dan}, member_role::member});
    const auto again = room.says(by(ann), add_members_command{{dan, bob}, member_role::member});
    CHECK(!room.answered(again));
    room.commits();
    CHECK(std::get<members_result>(room.outcome(again)).added.empty());
    room.says(by(ann), remove_member_command{dan});
    const auto twice = room.says(by(ann), remove_member_command{dan});
    CHECK(!room.answered(twice));
    room.commits();
    CHECK(room.refused(twice, error_code::not_found));
    room.says(by(ann), add_members_command{{eve}, member_role::member});
    const auto lost = room.says(by(ann), add_members_command{{eve}, member_role::member});
    room.loses();
    CHECK(room.refused(lost, error_code::unavailable));
  }
  TEST_CASE("those added are answered, those already in are not; nobody new: no entry") {
    lobby room{a_room_of_three(room_type::group)};
    const auto added = room.says(by(ann), add_members_command{{bob, dan}, member_role::member});
    CHECK(users_of(room.last_entry()) == names{"dan"});
    room.commits();
    const auto& rows = std::get<members_result>(room.outcome(added)).added;
    REQUIRE(rows.size() == 1);
    CHECK(rows[0].user == dan);
    CHECK(rows[0].joined_seq == room_seq{1});
    CHECK(std::get<members_result>(
              room.outcome(room.says(by(ann), add_members_command{{dan}, member_role::admin})))
              .added.empty());
    CHECK(room.appends.size() == 1);
  }
  TEST_CASE(
      "a long list of members is cut into entries of a hundred, answered once when all are "
      "stored") {
    lobby room{a_group_of_ann_and_bob()};
    std::vector<user_id> many;
    for (std::size_t n = 0; n < 250; ++n) many.push_back(user_no_of(n));
    const auto added = room.says(by(ann), add_members_command{many, member_role::member});
    CHECK(room.appends.size() == 1);  // all of them, or none
    const auto rows = room.rows();
    REQUIRE(rows.size() == 3);
    CHECK(users_of(rows[0].e).size() == 100);
    CHECK(users_of(rows[2].e).size() == 50);
    CHECK(!room.answered(added));
    room.commits();
    CHECK(std::get<members_result>(room.outcome(added)).added.size() == 250);
    CHECK(room.publishes.at(0)->frames.size() == 3);
  }
  TEST_CASE("more members than the bound are a CONFLICT that counts those pending") {
    lobby room{a_room_of_three(room_type::channel), room_options{.max_room_members = 4}};
    room.says(by(ann), add_members_command{{dan}, member_role::member});
    CHECK(room.refused(room.says(by(ann), add_members_command{{eve}, member_role::member}),
                       error_code::conflict));
    CHECK(room.refused(room.says(by(eve), join_command{}), error_code::conflict));
    room.says(by(cyd), leave_command{});
    CHECK(!room.answered(room.says(by(eve), join_command{})));
  }
  TEST_CASE("one who is removed while pending can neither write nor leave a second time") {
    lobby room{a_room_of_three(room_type::group)};
    room.says(by(ann), remove_member_command{cyd});
    CHECK(room.refused(room.says(by(cyd), message_from(cyd)), error_code::not_found));
    CHECK(room.refused(room.says(by(cyd), leave_command{}), error_code::not_found));
    const auto twice = room.says(by(ann), remove_member_command{cyd});
    CHECK(!room.answered(twice));  // with the first, or lost with it
    room.loses();
    CHECK(room.refused(twice, error_code::unavailable));
    room.opens_with(a_room_of_three(room_type::group));
    room.says(by(cyd), message_from(cyd));
    CHECK(room.last_entry().seq == room_seq{1});
  }
  TEST_CASE("in a big room who acts is looked up, and so is whom the backend removes") {
    auto facts = an_open_room(room_type::channel, {}, 9);
    facts.info.member_count = 5000;
    facts.members_complete = false;
    lobby room{facts};
    room.says(by(cyd), message_from(cyd));
    CHECK(room.appends.empty());
    room.finds(member(cyd));
    CHECK(room.appends.size() == 1);
    const auto stranger = room.says(by(dan), message_from(dan));
    room.finds(std::nullopt);
    CHECK(room.refused(stranger, error_code::not_found));
    room.says(by_backend(), remove_member_command{eve});
    CHECK(room.lookups.at(0).second.user == eve);
    room.finds(member(eve));
    CHECK(users_of(room.last_entry()) == names{"eve"});
    // What is pending or was just stored is known without asking.
    CHECK(room.refused(room.says(by(eve), message_from(eve)), error_code::not_found));
    room.commits();
    CHECK(room.refused(room.says(by(eve), message_from(eve)), error_code::not_found));
    CHECK(room.lookups.empty());
  }
  TEST_CASE("facts that an opening has overtaken are asked for again") {
    auto facts = an_open_room(room_type::channel, {}, 9);
    facts.info.member_count = 5000;
    facts.members_complete = false;
    facts.keys_complete = false;
    lobby room{facts};
    room.says(by(cyd), message_from(cyd));
    room.finds(member(cyd));
    room.says(by(ann), message_from(ann));
    room.finds(member(ann, member_role::owner));
    const auto late = room.says(by(cyd), keyed_message_from(cyd, "k"));  // its snapshot has cyd in it
    room.loses();
    facts.info.last_seq = room_seq{12};
    room.opens_with(facts);
    room.finds(member(cyd));
    CHECK(!room.answered(late));
    room.finds(std::nullopt);
    CHECK(room.refused(late, error_code::not_found));
  }
  TEST_CASE("a reply is to a message of this room, and the readers say so") {
    lobby room{a_group_of_ann_and_bob()};
    auto message = message_from(ann);
    message.reply_to = message_id{numbered(50)};
    const auto good = room.says(by(ann), message);
    CHECK(room.lookups.at(0).second.reply_to == message.reply_to);
    room.finds(member(ann));
    CHECK(room.appends.size() == 1);
    CHECK(!room.answered(good));
    const auto bad = room.says(by(ann), message);
    room.finds(member(ann), {}, false);
    CHECK(room.refused(bad, error_code::validation));
    CHECK(std::get<error>(room.outcome(bad)).field == "reply_to");
  }
}

TEST_SUITE("SPEC 2.8 overload is refused early") {
  TEST_CASE(
      "beyond its bound of pending entries a room refuses with UNAVAILABLE, and nothing is "
      "stored") {
    lobby room{a_group_of_ann_and_bob()};
    for (std::size_t n = 0; n < limits::room_pending_max_entries; ++n)
      room.says(by(ann), message_from(ann));
    const auto one_more = room.says(by(ann), message_from(ann));
    CHECK(room.refused(one_more, error_code::unavailable));
    CHECK(std::get<error>(room.outcome(one_more)).stored == stored_state::no);
    CHECK(std::get<error>(room.outcome(one_more)).retry_after.has_value());
    CHECK(room.refused(room.says(by(bob), leave_command{}), error_code::unavailable));
    CHECK(room.appends.size() == limits::room_pending_max_entries);
    room.commits();
    CHECK(!room.answered(room.says(by(ann), message_from(ann))));
  }
  TEST_CASE("while it loads a room holds commands up to its bound, in order") {
    lobby room;
    for (std::size_t n = 0; n < limits::room_waiting_max_commands; ++n)
      room.says(by(ann), message_from(ann, std::to_string(n)));
    CHECK(room.refused(room.says(by(ann), message_from(ann)), error_code::unavailable));
    room.opens_with(a_group_of_ann_and_bob());
    REQUIRE(room.appends.size() == limits::room_waiting_max_commands);
    CHECK(std::get<message_body>(room.appends[0]->row.e.body).content == "0");
    CHECK(std::get<message_body>(room.appends[9]->row.e.body).content == "9");
  }
  TEST_CASE("commands that wait for look-ups count against the same bound") {
    auto facts = a_group_of_ann_and_bob();
    facts.keys_complete = false;
    lobby room{facts};
    for (std::size_t n = 0; n < limits::room_waiting_max_commands; ++n) {
      room.says(by(ann), keyed_message_from(ann, "k" + std::to_string(n)));
    }
    CHECK(room.lookups.size() == 1);
    CHECK(room.refused(room.says(by(ann), message_from(ann)), error_code::unavailable));
    CHECK(room.refused(room.says(by(bob), keyed_message_from(bob, "k")), error_code::unavailable));
    CHECK(!room.answered(room.says(by(bob), message_from(bob))));
  }
}

TEST_SUITE("DESIGN I13 one owner of a room") {
  TEST_CASE("a room opens its log once, when it starts") {
    lobby room;
    REQUIRE(room.opens.size() == 1);
    CHECK(room.opens[0]->room == key_of(1));
    CHECK(room.opens[0]->instance == instance_no{3});
  }
  TEST_CASE("a room that does not exist answers all that waited and says that it is absent") {
    lobby room;
    const auto sent = room.says(by(ann), message_from(ann));
    room.does_not_exist();
    CHECK(room.refused(sent, error_code::not_found));
    CHECK(std::get<error>(room.outcome(sent)).stored == stored_state::no);
    CHECK(room.absences.size() == 1);
    CHECK(room.refused(room.says(by(ann), message_from(ann)), error_code::not_found));
    // If it was deleted by an instance that died before it could say so, its readers hear it now.
    REQUIRE(room.publishes.size() == 1);
    CHECK(room.publishes[0]->gone);
    CHECK(room.publishes[0]->last_seq() == room_seq{0});
  }
  TEST_CASE("a room that cannot be read answers UNAVAILABLE, not NOT_FOUND") {
    lobby room;
    const auto sent = room.says(by(ann), message_from(ann));
    room.cannot_be_read();
    CHECK(room.refused(sent, error_code::unavailable));
    CHECK(room.absences.size() == 1);
  }
  TEST_CASE("a room retires only with nothing in work") {
    lobby room{a_group_of_ann_and_bob()};
    room.says(by(ann), message_from(ann));
    room.it.on(retire{});
    REQUIRE(room.retirements.size() == 1);
    CHECK(!room.retirements[0].retired);
    CHECK(!room.it.ended());
    room.commits();
    room.it.on(retire{});
    CHECK(room.retirements.at(1).retired);
    CHECK(room.it.ended());
    REQUIRE(room.closings.size() == 1);
    CHECK(room.closings[0].gen == room.last_generation);
  }
  TEST_CASE("a room that is loading or looking up is busy") {
    lobby loading;
    loading.it.on(retire{});
    CHECK(!loading.retirements.at(0).retired);
    auto facts = a_group_of_ann_and_bob();
    facts.keys_complete = false;
    lobby asking{facts};
    asking.says(by(ann), keyed_message_from(ann, "k"));
    asking.it.on(retire{});
    CHECK(!asking.retirements.at(0).retired);
  }
  TEST_CASE("a deletion goes behind all appends; what comes later waits for what becomes of it") {
    lobby room{a_group_of_ann_and_bob()};
    const auto sent = room.says(by(ann), message_from(ann));
    const auto deleted = room.says(by(ann), delete_room_command{});
    const auto late = room.says(by(bob), message_from(bob));
    CHECK(room.appends.size() == 1);
    CHECK(room.deletions.size() == 1);
    room.commits();
    CHECK(room.done(sent));
    CHECK(!room.answered(deleted));
    room.is_deleted();
    CHECK(room.done(deleted));
    CHECK(room.refused(late, error_code::not_found));
    CHECK(room.absences.size() == 1);
    REQUIRE(room.publishes.size() == 2);
    CHECK(room.publishes[1]->gone);
    CHECK(room.publishes[1]->first_seq == room_seq{2});
    CHECK(room.refused(room.says(by(ann), message_from(ann)), error_code::not_found));
  }
  TEST_CASE("a deletion that was lost is answered, and the room goes on") {
    lobby room{a_group_of_ann_and_bob()};
    const auto deleted = room.says(by(ann), delete_room_command{});
    const auto late = room.says(by(bob), message_from(bob));
    room.loses();
    CHECK(room.refused(deleted, error_code::unavailable));
    CHECK(std::get<error>(room.outcome(deleted)).stored == stored_state::not_a_send);
    room.opens_with(a_group_of_ann_and_bob());
    room.commits();
    CHECK(room.done(late));
  }
  TEST_CASE(
      "commands that reach a deleted room before the directory knows are answered: it may not stop "
      "by itself") {
    lobby room{a_group_of_ann_and_bob()};
    room.says(by(ann), delete_room_command{});
    room.is_deleted();
    CHECK(!room.it.ended());
    CHECK(room.refused(room.says(by(ann), message_from(ann)), error_code::not_found));
    room.it.on(retire{});  // was on its way
    CHECK(!room.retirements.at(0).retired);
  }
}

}  // namespace parley::actors
