// Edits and deletes, roles, and the room's own properties: what a room decides, and what it shows of it.

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

/// ann owns it, bob is an admin, cyd a member; dan is not in it. Nine entries are in its log.
store::opened_room a_room(room_type type = room_type::group) {
  return an_open_room(
      type, {member(ann, member_role::owner), member(bob, member_role::admin), member(cyd)}, 9);
}
store::opened_room a_big_room() {
  auto facts = an_open_room(room_type::channel, {}, 9);
  facts.info.member_count = 5000;
  facts.members_complete = false;
  return facts;
}
json shown(const frame_ptr& f) { return json::parse(f->payload()); }
json frame(const lobby& room, std::size_t publish, std::size_t at = 0) {
  return shown(room.publishes.at(publish)->frames.at(at));
}
json rewritten(const lobby& room, std::size_t publish, std::size_t at = 0) {
  return shown(room.publishes.at(publish)->rewrites.at(at).frame);
}
entry tombstone_of(entry message) {
  auto& body = std::get<message_body>(message.body);
  body.content.clear();
  body.meta = {};
  body.deleted_at = noon;
  return message;
}
std::vector<std::pair<std::string, member_role>> roles_given(const lobby& room) {
  std::vector<std::pair<std::string, member_role>> out;
  for (const auto& row : room.rows()) {
    if (const auto* b = std::get_if<member_updated_body>(&row.e.body))
      out.emplace_back(b->user.value, b->role);
  }
  return out;
}
using role_list = std::vector<std::pair<std::string, member_role>>;

}  // namespace

TEST_SUITE("SPEC 1 content and meta are served as they are now") {
  TEST_CASE("an edit takes a seq, says what is new, and its message is shown so from then on") {
    lobby room{a_room()};
    auto original = a_message(4, cyd, "first", json_text{"{\"a\":1}"});
    std::get<message_body>(original.body).client_msg_id = "c-1";
    const auto call = room.says(by(cyd), edit_of(original, "second"));
    REQUIRE(room.lookups.size() == 1);
    CHECK(room.lookups[0].second.target == original.message);
    room.time.at += std::chrono::minutes{1};
    room.finds_message(original, member(cyd));
    REQUIRE(room.appends.size() == 1);
    CHECK(room.publishes.empty());
    CHECK(!room.answered(call));

    room.commits();
    CHECK(room.accepted(call).seq == room_seq{10});
    CHECK(room.accepted(call).message == original.message);
    CHECK(room.accepted(call).created_at == room.time.at);
    const auto edit = frame(room, 0);
    CHECK(edit["type"] == "message.edited");
    CHECK(edit["seq"] == 10);
    CHECK(edit["message_seq"] == 4);
    CHECK(edit["actor_id"] == "cyd");
    CHECK(edit["content"] == "second");
    CHECK(edit["meta"] == json{{"a", 1}});  // it stays
    REQUIRE(room.publishes.at(0)->rewrites.size() == 1);
    const auto message = rewritten(room, 0);
    CHECK(message["type"] == "message");
    CHECK(message["seq"] == 4);
    CHECK(message["sender_id"] == "cyd");
    CHECK(message["client_msg_id"] == "c-1");
    CHECK(message["content"] == "second");
    CHECK(message["meta"] == json{{"a", 1}});
    CHECK(message["edited_at"] == edit["edited_at"]);
    CHECK(message["edited_at"] == edit["created_at"]);
    const auto& answer = std::get<send_result>(room.outcome(call));
    REQUIRE(answer.message);
    CHECK(std::get<message_body>(answer.message->body).content == "second");
    // What gateways remember of an edit holds no text.
    REQUIRE(room.publishes[0]->edits.size() == 1);
    CHECK(std::get<message_edited_body>(room.publishes[0]->edits[0]->body).content.empty());
  }

  TEST_CASE("a delete takes a seq and leaves nothing of its message") {
    lobby room{a_room()};
    const auto original = a_message(4, cyd, "secret", json_text{"7"});
    const auto call = room.says(by(cyd), delete_of(original));
    room.finds_message(original, member(cyd));
    room.commits();
    CHECK(room.accepted(call).seq == room_seq{10});
    CHECK(frame(room, 0)["type"] == "message.deleted");
    CHECK(frame(room, 0)["message_seq"] == 4);
    CHECK(rewritten(room, 0)["content"] == "");
    CHECK(rewritten(room, 0)["meta"].is_null());
    CHECK(rewritten(room, 0)["deleted_at"] == frame(room, 0)["deleted_at"]);
    CHECK(room.publishes[0]->rewrites[0].frame->payload().find("secret") == std::string::npos);
  }

  TEST_CASE("entries of one commit show what all of it has left: an edit that is edited again") {
    lobby room{a_room()};
    const auto original = a_message(4, cyd);
    room.says(by(cyd), edit_of(original, "second"));
    room.finds_message(original, member(cyd));
    room.says(by(cyd), edit_of(original, "third", json_text{"3"}));
    CHECK(room.lookups.empty());  // what is pending is known
    room.commits();
    REQUIRE(room.publishes.at(0)->frames.size() == 2);
    for (const std::size_t at : {0U, 1U}) {
      CHECK(frame(room, 0, at)["content"] == "third");
      CHECK(frame(room, 0, at)["meta"] == 3);
    }
    CHECK(room.publishes[0]->rewrites.size() == 1);
    CHECK(rewritten(room, 0)["content"] == "third");
  }

  TEST_CASE("an edit that is deleted in the same commit shows nothing") {
    lobby room{a_room()};
    const auto original = a_message(4, cyd);
    room.says(by(cyd), edit_of(original, "secret"));
    room.finds_message(original, member(cyd));
    room.says(by(ann), delete_of(original));
    room.commits();
    CHECK(frame(room, 0, 0)["content"] == "");
    CHECK(frame(room, 0, 0)["meta"].is_null());
    CHECK(frame(room, 0, 1)["type"] == "message.deleted");
    CHECK(rewritten(room, 0)["deleted_at"] == frame(room, 0, 1)["deleted_at"]);
    CHECK(rewritten(room, 0)["edited_at"] == frame(room, 0, 0)["edited_at"]);
    for (const auto& f : room.publishes[0]->frames)
      CHECK(f->payload().find("secret") == std::string::npos);
  }

  TEST_CASE("of two commits each shows its own end") {
    lobby room{a_room()};
    const auto original = a_message(4, cyd);
    room.says(by(cyd), edit_of(original, "second"));
    room.finds_message(original, member(cyd));
    room.says(by(cyd), edit_of(original, "third"));
    room.commits_up_to(1);
    room.commits_up_to(2);
    CHECK(frame(room, 0)["content"] == "second");
    CHECK(rewritten(room, 0)["content"] == "second");
    CHECK(frame(room, 1)["content"] == "third");
    CHECK(rewritten(room, 1)["content"] == "third");
  }
}

TEST_SUITE("SPEC 4 edits and deletes") {
  TEST_CASE("who may: line by line") {
    const auto cyds = a_message(4, cyd);
    const auto anns = a_message(5, ann);
    struct row {
      const char* why;
      caller who;
      entry message;
      bool edit;
      std::optional<error_code> refused;
    };
    const std::vector<row> rows{
        {"a sender edits its own", by(cyd), cyds, true, {}},
        {"a sender deletes its own", by(cyd), cyds, false, {}},
        {"a member edits nobody else's", by(cyd), anns, true, error_code::authorization},
        {"a member deletes nobody else's", by(cyd), anns, false, error_code::authorization},
        {"the owner edits nobody else's", by(ann), cyds, true, error_code::authorization},
        {"the owner deletes any", by(ann), cyds, false, {}},
        {"an admin edits nobody else's", by(bob), cyds, true, error_code::authorization},
        {"an admin deletes any, the owner's too", by(bob), anns, false, {}},
        {"the backend edits any", by_backend(), anns, true, {}},
        {"the backend deletes any", by_backend(), cyds, false, {}},
        {"to a stranger there is no room", by(dan), cyds, true, error_code::not_found},
        {"nor for deleting", by(dan), cyds, false, error_code::not_found},
    };
    for (const auto& r : rows) {
      CAPTURE(r.why);
      lobby room{a_room()};
      const auto call = r.edit ? room.says(r.who, edit_of(r.message, "other"))
                               : room.says(r.who, delete_of(r.message));
      if (!room.lookups.empty()) room.finds_message(r.message);
      if (r.refused) {
        CHECK(room.refused(call, *r.refused));
        CHECK(std::get<error>(room.outcome(call)).stored == stored_state::no);
        CHECK(room.appends.empty());
      } else {
        REQUIRE(room.appends.size() == 1);
        CHECK(room.last_entry().actor == r.who.user);
      }
    }
  }

  TEST_CASE("in a dm each edits and deletes only its own") {
    lobby room{an_open_room(room_type::dm, {member(ann), member(bob)}, 9)};
    const auto anns = a_message(4, ann);
    const auto other = room.says(by(bob), delete_of(anns));
    room.finds_message(anns);
    CHECK(room.refused(other, error_code::authorization));
    room.says(by(ann), delete_of(anns));
    room.finds_message(anns);
    CHECK(room.appends.size() == 1);
  }

  TEST_CASE("where only admins post, a member still edits and deletes what it sent before") {
    auto facts = a_room(room_type::channel);
    facts.info.posting = posting_policy::admins;
    lobby room{facts};
    room.says(by(cyd), edit_of(a_message(4, cyd), "other"));
    room.finds_message(a_message(4, cyd));
    CHECK(room.appends.size() == 1);
  }

  TEST_CASE("a message that the room has not is not found, whoever asks") {
    lobby room{a_room()};
    const auto stranger = a_message(77, ann);
    for (const auto& who : {by(ann), by(cyd), by_backend()}) {
      const auto edit = room.says(who, edit_of(stranger, "x"));
      room.finds_message(std::nullopt);
      CHECK(room.refused(edit, error_code::not_found));
      const auto del = room.says(who, delete_of(stranger));
      room.finds_message(std::nullopt);
      CHECK(room.refused(del, error_code::not_found));
    }
  }

  TEST_CASE("an edit to the same content and meta is answered and takes no seq") {
    lobby room{a_room()};
    const auto original = a_message(4, cyd, "first", json_text{R"({"a":1,"b":2})"});
    for (const auto& meta :
         {std::optional<json_text>{}, std::optional{json_text{R"({"b":2.0,"a":1})"}}}) {
      const auto call = room.says(by(cyd), edit_of(original, "first", meta));
      room.finds_message(original);
      CHECK(room.accepted(call).seq == room_seq{4});
      CHECK(!room.accepted(call).duplicate);
      CHECK(std::get<send_result>(room.outcome(call)).message);
    }
    CHECK(room.appends.empty());
    // Another meta, or none any more, is another message.
    room.says(by(cyd), edit_of(original, "first", json_text{}));
    room.finds_message(original);
    REQUIRE(room.appends.size() == 1);
    CHECK(std::get<message_edited_body>(room.last_entry().body).meta.empty());
  }

  TEST_CASE("an edit to what is pending is answered when that is committed, and not before") {
    lobby room{a_room()};
    const auto original = a_message(4, cyd);
    room.says(by(cyd), edit_of(original, "second"));
    room.finds_message(original);
    const auto again = room.says(by(cyd), edit_of(original, "second"));
    CHECK(room.appends.size() == 1);
    CHECK(!room.answered(again));
    room.commits();
    CHECK(room.done(again));
  }

  TEST_CASE("a second delete takes no seq, an edit of what is deleted is a CONFLICT") {
    lobby room{a_room()};
    const auto original = a_message(4, cyd);
    const auto first = room.says(by(cyd), delete_of(original));
    room.finds_message(original);
    const auto second = room.says(by(ann), delete_of(original));
    CHECK(!room.answered(second));
    CHECK(room.refused(room.says(by(cyd), edit_of(original, "x")), error_code::conflict));
    room.commits();
    CHECK(room.done(first));
    CHECK(room.done(second));
    CHECK(room.appends.size() == 1);
    const auto third = room.says(by(cyd), delete_of(original));
    room.finds_message(tombstone_of(original));
    CHECK(room.done(third));
    const auto edit = room.says(by(cyd), edit_of(original, "x"));
    room.finds_message(tombstone_of(original));
    CHECK(room.refused(edit, error_code::conflict));
    CHECK(room.appends.size() == 1);
  }

  TEST_CASE("a look-up that is older than a change does not bring back what was") {
    lobby room{a_room()};
    const auto original = a_message(4, cyd);
    const auto edit = room.says(by(cyd), edit_of(original, "second"));  // looks up first …
    room.says(by(ann), delete_of(original));
    const auto slow = room.lookups.front();
    room.lookups.erase(room.lookups.begin());
    room.finds_message(original);  // … and is overtaken
    room.commits();
    room.lookups.push_back(slow);
    room.finds_message(original);  // from before the delete
    CHECK(room.refused(edit, error_code::conflict));
    CHECK(room.appends.size() == 1);
    // Nothing is under way any more: the next call asks again.
    const auto later = room.says(by(cyd), edit_of(original, "third"));
    CHECK(!room.answered(later));
    room.finds_message(tombstone_of(original));
    CHECK(room.refused(later, error_code::conflict));
  }

  TEST_CASE("a change that was lost never was") {
    lobby room{a_room()};
    const auto original = a_message(4, cyd);
    const auto gone = room.says(by(cyd), delete_of(original));
    room.finds_message(original);
    const auto waits = room.says(by(ann), delete_of(original));
    room.loses();
    for (const auto call : {gone, waits}) {
      CHECK(room.refused(call, error_code::unavailable));
      CHECK(std::get<error>(room.outcome(call)).stored == stored_state::no);
    }
    room.opens_with(a_room());
    room.says(by(cyd), edit_of(original, "second"));
    room.finds_message(original);
    CHECK(std::get<message_edited_body>(room.last_entry().body).content == "second");
  }

  TEST_CASE(
      "a message of which much is pending can be changed further, each time by what it then is") {
    lobby room{a_room()};
    const auto original = a_message(4, cyd);
    room.says(by(cyd), edit_of(original, "one"));
    room.finds_message(original);
    room.says(by(cyd), edit_of(original, "first"));  // back to what is stored: a change all the same
    room.says(by(cyd), edit_of(original, "first"));
    CHECK(room.appends.size() == 2);
    room.commits();
    CHECK(rewritten(room, 0)["content"] == "first");
  }

  TEST_CASE("beyond its bound of changes that a look-up may not know, look-ups are asked again") {
    for (const bool beyond : {false, true}) {
      CAPTURE(beyond);
      lobby room{a_room()};
      const auto changed = [](std::size_t n) {
        auto e = a_message(4, cyd);
        e.message.id.bytes[1] = static_cast<std::uint8_t>(n >> 8U);
        e.message.id.bytes[2] = static_cast<std::uint8_t>(n);
        e.message.id.bytes[3] = 1;
        return e;
      };
      const auto original = a_message(4, cyd);
      const auto slow = room.says(by(ann), delete_of(original));
      const auto call = room.lookups.at(0).first;
      lookup_result found{{member(ann, member_role::owner), {}}, true};
      found.target = original;
      for (std::size_t n = 0; n < limits::room_pending_max_entries + (beyond ? 1 : 0); ++n) {
        room.says(by(cyd), edit_of(changed(n), "second"));
        lookup_result its{{member(cyd), {}}, true};
        its.target = changed(n);
        REQUIRE(room.lookups.size() == 2);
        room.it.on(room.lookups[1].first, its);
        room.lookups.pop_back();
        room.commits();
      }
      const auto appended = room.appends.size();
      room.lookups.clear();
      room.it.on(call, found);
      CHECK(room.lookups.size() == (beyond ? 1 : 0));
      CHECK(room.appends.size() == appended + (beyond ? 0 : 1));
      if (beyond) room.finds_message(original, member(ann, member_role::owner));
      room.commits();
      CHECK(room.done(slow));
      CHECK(room.it.idle());
    }
  }

  TEST_CASE("changes beyond what may be pending are refused and store nothing") {
    lobby room{a_room()};
    const auto original = a_message(4, cyd);
    room.says(by(cyd), edit_of(original, "0"));
    room.finds_message(original);
    for (std::size_t n = 1; n < limits::room_pending_max_entries; ++n)
      room.says(by(cyd), edit_of(original, std::to_string(n)));
    const auto call = room.says(by(cyd), edit_of(original, "one too many"));
    CHECK(room.refused(call, error_code::unavailable));
    CHECK(room.refused(room.says(by(ann), delete_of(original)), error_code::unavailable));
    CHECK(room.appends.size() == limits::room_pending_max_entries);
    room.commits();
    CHECK(room.publishes.at(0)->rewrites.size() == 1);
  }
}

TEST_SUITE("SPEC 2.4 safe retry of edits and deletes") {
  TEST_CASE("a key in flight is waited for, a stored one answers with the first result") {
    for (const bool is_edit : {true, false}) {
      lobby room{a_room()};
      const auto original = a_message(4, cyd);
      const auto say = [&] {
        return is_edit ? room.says(by(cyd), keyed(edit_of(original, "second"), "k"))
                       : room.says(by(cyd), keyed(delete_of(original), "k"));
      };
      const auto first = say();
      room.finds_message(original);
      const auto in_flight = say();
      CHECK(!room.answered(in_flight));
      room.commits();
      CHECK(!room.accepted(first).duplicate);
      CHECK(room.accepted(in_flight).duplicate);
      CHECK(room.accepted(in_flight).seq == room.accepted(first).seq);
      const auto stored = say();
      CHECK(room.accepted(stored).duplicate);
      CHECK(room.accepted(stored).seq == room_seq{10});
      CHECK(room.accepted(stored).created_at == room.accepted(first).created_at);
      CHECK(room.appends.size() == 1);
      CHECK(room.appends[0]->row.key->call ==
            (is_edit ? store::keyed_call::edit : store::keyed_call::remove));
    }
  }

  TEST_CASE("a key with another body, or of another kind of call, is a CONFLICT") {
    lobby room{a_room()};
    const auto original = a_message(4, cyd);
    room.says(by(cyd), keyed(edit_of(original, "second"), "k"));
    room.finds_message(original);
    const auto refused_all = [&] {
      CHECK(room.refused(room.says(by(cyd), keyed(edit_of(original, "third"), "k")),
                         error_code::conflict));
      CHECK(room.refused(room.says(by(cyd), keyed(delete_of(original), "k")), error_code::conflict));
      const auto send = room.says(by(cyd), keyed_message_from(cyd, "k", "second"));
      CHECK(room.refused(send, error_code::conflict));
      CHECK(std::get<error>(room.outcome(send)).field == "client_msg_id");
    };
    refused_all();
    room.commits();
    refused_all();
    CHECK(room.appends.size() == 1);
  }

  TEST_CASE("one removed meanwhile still gets its first answer, and nothing else") {
    lobby room{a_room()};
    const auto original = a_message(4, cyd);
    room.says(by(cyd), keyed(edit_of(original, "second"), "k"));
    room.finds_message(original);
    room.says(by(ann), remove_member_command{cyd});
    room.commits();
    const auto again = room.says(by(cyd), keyed(edit_of(original, "second"), "k"));
    CHECK(room.accepted(again).duplicate);
    CHECK(room.refused(room.says(by(cyd), edit_of(original, "third")), error_code::not_found));
  }

  TEST_CASE("a key that memory need not hold is looked up together with the message") {
    auto facts = a_room();
    facts.keys_complete = false;
    lobby room{facts};
    const auto original = a_message(4, cyd);
    const auto command = keyed(edit_of(original, "second"), "k");
    const auto call = room.says(by(cyd), command);
    REQUIRE(room.lookups.size() == 1);
    CHECK(room.lookups[0].second.key == command.key);
    room.finds_message(original, member(cyd),
                       store::used_key{{cyd, *command.key, store::keyed_call::edit, command.body},
                                       room_seq{7},
                                       original.message,
                                       noon});
    CHECK(room.accepted(call).duplicate);
    CHECK(room.accepted(call).seq == room_seq{7});
    CHECK(room.appends.empty());
  }

  TEST_CASE("a keyed call that changes nothing is answered when its key is stored") {
    for (const bool is_edit : {true, false}) {
      CAPTURE(is_edit);
      lobby room{a_room()};
      const auto original = a_message(4, cyd);
      const auto stands = is_edit ? original : tombstone_of(original);
      const auto say = [&](const std::string& key) {
        return is_edit ? room.says(by(cyd), keyed(edit_of(original, "first"), key))
                       : room.says(by(cyd), keyed(delete_of(original), key));
      };
      room.time.at += std::chrono::hours{1};
      const auto first = say("k");
      room.finds_message(stands);
      CHECK(!room.answered(first));
      const auto in_flight = say("k");
      REQUIRE(room.appends.size() == 1);
      const auto& row = room.appends[0]->row;
      CHECK(row.only_key == room.time.at);
      CHECK(row.e.seq == room_seq{4});
      CHECK(row.e.message == original.message);
      CHECK(row.e.created_at == original.created_at);
      CHECK(row.key->call == (is_edit ? store::keyed_call::edit : store::keyed_call::remove));
      // What comes behind it takes the next seq all the same.
      const auto sent = room.says(by(ann), message_from(ann));
      CHECK(room.last_entry().seq == room_seq{10});
      room.commits_up_to(1);
      CHECK(room.publishes.empty());
      CHECK(!room.accepted(first).duplicate);
      CHECK(room.accepted(in_flight).duplicate);
      room.commits();
      CHECK(room.accepted(sent).seq == room_seq{10});

      // Whatever becomes of the message: the first answer, and nothing is stored.
      room.says(by(ann), delete_of(original));
      if (is_edit) room.finds_message(original);
      if (!is_edit) room.finds_message(stands);
      const auto appended = room.appends.size();
      const auto repeat = say("k");
      CHECK(room.accepted(repeat).duplicate);
      CHECK(room.accepted(repeat).seq == room_seq{4});
      CHECK(room.accepted(repeat).created_at == original.created_at);
      CHECK(room.refused(room.says(by(cyd), keyed(edit_of(original, "other"), "k")),
                         error_code::conflict));
      CHECK(room.refused(room.says(by(cyd), keyed_message_from(cyd, "k")), error_code::conflict));
      CHECK(room.appends.size() == appended);
    }
  }

  TEST_CASE("of a key alone that is lost nothing stays, and its callers hear so") {
    lobby room{a_room()};
    const auto original = a_message(4, cyd);
    const auto first = room.says(by(cyd), keyed(edit_of(original, "first"), "k"));
    room.finds_message(original);
    const auto in_flight = room.says(by(cyd), keyed(edit_of(original, "first"), "k"));
    room.loses();
    for (const auto call : {first, in_flight}) {
      CHECK(room.refused(call, error_code::unavailable));
      CHECK(std::get<error>(room.outcome(call)).stored == stored_state::no);
    }
    room.opens_with(a_room());
    const auto other = room.says(by(cyd), keyed(edit_of(original, "second"), "k"));
    room.finds_message(original);
    CHECK(!room.appends.back()->row.only_key);
    room.commits();
    CHECK(room.accepted(other).seq == room_seq{10});
  }

  TEST_CASE("keys alone count against what may be pending") {
    lobby room{a_room()};
    const auto original = a_message(4, cyd);
    room.says(by(cyd), keyed(edit_of(original, "second"), "0"));
    room.finds_message(original);
    for (std::size_t n = 1; n < limits::room_pending_max_entries; ++n)
      room.says(by(cyd), keyed(edit_of(original, "second"), std::to_string(n)));
    CHECK(room.refused(room.says(by(cyd), keyed(edit_of(original, "second"), "one too many")),
                       error_code::unavailable));
    CHECK(room.appends.size() == limits::room_pending_max_entries);
    CHECK(room.it.assigned_seq() == room_seq{10});
    room.commits();
    CHECK(room.it.committed_seq() == room_seq{10});
    CHECK(room.it.idle());
  }

  TEST_CASE("the backend has keys of its own") {
    lobby room{a_room()};
    const auto original = a_message(4, cyd);
    room.says(by_backend(), keyed(edit_of(original, "second"), "k"));
    room.finds_message(original);
    CHECK(room.appends.at(0)->row.key->sender.value.empty());
    room.says(by(cyd), keyed(edit_of(original, "third"), "k"));
    CHECK(room.appends.size() == 2);
    room.commits();
    CHECK(room.accepted(room.says(by_backend(), keyed(edit_of(original, "second"), "k"))).seq ==
          room_seq{10});
  }
}

TEST_SUITE("SPEC 3 roles") {
  TEST_CASE("who may give which role to whom, line by line") {
    struct row {
      const char* why;
      caller who;
      user_id user;
      member_role role;
      std::optional<error_code> refused;
    };
    const std::vector<row> rows{
        {"the owner makes an admin", by(ann), cyd, member_role::admin, {}},
        {"the owner unmakes an admin", by(ann), bob, member_role::member, {}},
        {"an admin makes no admins", by(bob), cyd, member_role::admin, error_code::authorization},
        {"an admin does not step down another way", by(bob), bob, member_role::member,
         error_code::authorization},
        {"an admin does not change the owner", by(bob), ann, member_role::member,
         error_code::authorization},
        {"an admin hands nothing over", by(bob), bob, member_role::owner, error_code::authorization},
        {"a member changes nobody", by(cyd), bob, member_role::member, error_code::authorization},
        {"a member hears no secret about strangers", by(cyd), dan, member_role::member,
         error_code::authorization},
        {"a stranger has no role", by(ann), dan, member_role::admin, error_code::not_found},
        {"to a stranger there is no room", by(dan), cyd, member_role::admin, error_code::not_found},
        {"the owner does not just step down", by(ann), ann, member_role::admin,
         error_code::authorization},
        {"the backend gives any role", by_backend(), cyd, member_role::admin, {}},
        {"and takes any", by_backend(), ann, member_role::member, {}},
    };
    for (const auto& r : rows) {
      CAPTURE(r.why);
      lobby room{a_room()};
      const auto call = room.says(r.who, update_member_command{r.user, r.role});
      if (r.refused) {
        CHECK(room.refused(call, *r.refused));
        CHECK(room.appends.empty());
        continue;
      }
      CHECK(roles_given(room) == role_list{{r.user.value, r.role}});
      CHECK(!room.answered(call));
      room.commits();
      const auto& result = std::get<members_result>(room.outcome(call));
      CHECK(result.added.at(0).user == r.user);
      CHECK(result.added.at(0).role == r.role);
      CHECK(frame(room, 0)["type"] == "member.updated");
    }
  }

  TEST_CASE("the owner hands over in two entries of one append, and is an admin afterwards") {
    lobby room{a_room()};
    const auto call = room.says(by(ann), update_member_command{cyd, member_role::owner});
    CHECK(room.appends.size() == 1);
    CHECK(room.appends[0]->no == entry_no{2});
    CHECK(roles_given(room) == role_list{{"cyd", member_role::owner}, {"ann", member_role::admin}});
    // The pending roles count at once.
    CHECK(room.refused(room.says(by(ann), update_member_command{bob, member_role::owner}),
                       error_code::authorization));
    CHECK(room.refused(room.says(by(ann), delete_room_command{}), error_code::authorization));
    room.commits();
    CHECK(std::get<members_result>(room.outcome(call)).added.at(0).role == member_role::owner);
    room.says(by(cyd), update_member_command{ann, member_role::member});
    CHECK(roles_given(room).back() == std::pair{std::string{"ann"}, member_role::member});
  }

  TEST_CASE("the backend hands over, also what nobody owns") {
    lobby room{a_room()};
    room.says(by_backend(), update_member_command{bob, member_role::owner});
    CHECK(roles_given(room) == role_list{{"bob", member_role::owner}, {"ann", member_role::admin}});
    lobby orphan{an_open_room(room_type::group, {member(ann), member(bob)})};
    orphan.says(by_backend(), update_member_command{bob, member_role::owner});
    CHECK(roles_given(orphan) == role_list{{"bob", member_role::owner}});
  }

  TEST_CASE("a handing over that was lost leaves everything as it was") {
    lobby room{a_room()};
    const auto call = room.says(by(ann), update_member_command{cyd, member_role::owner});
    room.loses();
    CHECK(room.refused(call, error_code::unavailable));
    room.opens_with(a_room());
    CHECK(room.refused(room.says(by(cyd), delete_room_command{}), error_code::authorization));
    room.says(by(ann), update_member_command{cyd, member_role::owner});
    room.commits();
    CHECK(room.publishes.at(0)->frames.size() == 2);
  }

  TEST_CASE("two owners, as an earlier version could leave them, are one after asking again") {
    lobby room{an_open_room(room_type::group,
                            {member(ann, member_role::owner), member(cyd, member_role::owner)})};
    room.says(by(ann), update_member_command{cyd, member_role::owner});
    CHECK(roles_given(room) == role_list{{"ann", member_role::admin}});
  }

  TEST_CASE("a role that one has already takes no entry") {
    lobby room{a_room()};
    const auto same = room.says(by(ann), update_member_command{cyd, member_role::member});
    CHECK(room.done(same));
    CHECK(room.done(room.says(by(ann), update_member_command{ann, member_role::owner})));
    CHECK(room.appends.empty());
    room.says(by(ann), update_member_command{cyd, member_role::admin});
    const auto pending = room.says(by(ann), update_member_command{cyd, member_role::admin});
    CHECK(!room.answered(pending));
    CHECK(room.appends.size() == 1);
    room.commits();
    CHECK(room.done(pending));
  }

  TEST_CASE("a dm has no roles to give") {
    lobby room{an_open_room(room_type::dm, {member(ann), member(bob)})};
    CHECK(room.refused(room.says(by(ann), update_member_command{bob, member_role::admin}),
                       error_code::conflict));
  }

  TEST_CASE("in a big room the backend looks up who owns it before it hands over") {
    lobby room{a_big_room()};
    room.says(by_backend(), update_member_command{cyd, member_role::owner});
    REQUIRE(room.lookups.size() == 1);
    CHECK(room.lookups[0].second.owners);
    CHECK(room.lookups[0].second.user == cyd);
    lookup_result found{{member(cyd), {}}, true};
    found.others.emplace_back(ann, member(ann, member_role::owner));
    room.it.on(room.lookups[0].first, found);
    CHECK(roles_given(room) == role_list{{"cyd", member_role::owner}, {"ann", member_role::admin}});
    room.commits();
    // What was said just now is known without asking.
    room.lookups.clear();
    CHECK(room.refused(room.says(by(ann), delete_room_command{}), error_code::authorization));
    CHECK(room.lookups.empty());
  }
}

TEST_SUITE("SPEC 4 changing a room") {
  TEST_CASE("only what changes is in the entry, and the room is answered as it then is") {
    auto facts = a_room();
    facts.info.name = "old";
    facts.info.metadata = json_text{"1"};
    lobby room{facts};
    update_room_command c;
    c.name.emplace("new");
    c.metadata = json_text{"1.0"};
    c.posting = posting_policy::all;
    room.time.at += std::chrono::hours{1};
    const auto call = room.says(by(bob), c);
    REQUIRE(room.appends.size() == 1);
    const auto appended = room.last_entry();
    const auto& body = std::get<room_updated_body>(appended.body);
    CHECK(body.name == std::optional{std::optional<std::string>{"new"}});
    CHECK(!body.metadata);
    CHECK(!body.posting);
    room.commits();
    const auto& result = std::get<room_result>(room.outcome(call));
    CHECK(result.info.name == "new");
    CHECK(result.info.last_seq == room_seq{10});
    CHECK(result.info.updated_at == room.time.at);
    CHECK(result.role == member_role::admin);
    const auto entry = frame(room, 0);
    CHECK(entry["name"] == "new");
    CHECK(!entry.contains("metadata"));
    CHECK(!entry.contains("posting"));
  }
  TEST_CASE("null empties, and no change takes no entry") {
    auto facts = a_room();
    facts.info.name = "old";
    lobby room{facts};
    update_room_command same;
    same.name.emplace("old");
    CHECK(room.done(room.says(by(ann), same)));
    CHECK(room.done(room.says(by(ann), update_room_command{})));
    CHECK(room.appends.empty());
    update_room_command none;
    none.name.emplace();
    room.says(by(ann), none);
    const auto again = room.says(by(ann), none);
    CHECK(room.appends.size() == 1);
    CHECK(!room.answered(again));
    room.commits();
    CHECK(room.done(again));
    CHECK(frame(room, 0)["name"].is_null());
  }
  TEST_CASE("only owner, admins and the backend change it") {
    update_room_command c;
    c.name.emplace("x");
    lobby room{a_room()};
    CHECK(room.refused(room.says(by(cyd), c), error_code::authorization));
    CHECK(room.refused(room.says(by(dan), c), error_code::not_found));
    room.says(by_backend(), c);
    CHECK(room.appends.size() == 1);
    lobby dm{an_open_room(room_type::dm, {member(ann), member(bob)})};
    CHECK(dm.refused(dm.says(by(ann), c), error_code::authorization));
  }
  TEST_CASE("who may post follows at once, also while it is pending, and not when it was lost") {
    lobby room{a_room(room_type::channel)};
    update_room_command c;
    c.posting = posting_policy::admins;
    room.says(by(ann), c);
    CHECK(room.refused(room.says(by(cyd), message_from(cyd)), error_code::authorization));
    room.loses();
    room.opens_with(a_room(room_type::channel));
    room.says(by(cyd), message_from(cyd));
    room.says(by(ann), c);
    room.commits();
    CHECK(room.refused(room.says(by(cyd), message_from(cyd)), error_code::authorization));
  }
}

}  // namespace parley::actors
