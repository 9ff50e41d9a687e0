#!/usr/bin/env python3
"""ChatAPI's rooms and members over REST."""
from chatapi_client import ChatAPI
from harness import equal, has_integer, has_string, line, main, refused, true
from words import NO_ROOM, TIME, needs_a_key, pair


# ---- GET /rooms, POST /rooms, GET /rooms/{room_id}


@line("rest-rooms-01")
def lists_the_rooms_of_the_caller(s):
    alice, bob, room = pair(s)
    others = alice.create_room("group", ["bob", "carol"])
    equal(others.status, 201)
    answer = alice.rooms()
    equal(answer.status, 200)
    equal([one["room_id"] for one in answer.json["rooms"]], [room])
    equal({one["room_id"] for one in bob.rooms().json["rooms"]}, {room, others.json["room_id"]})


@line("rest-rooms-02")
def lists_no_rooms_without_a_key(s):
    needs_a_key(s.users("alice")[0], lambda caller: caller.rooms())


@line("rest-rooms-03")
def makes_a_room_of_each_type(s):
    (alice,) = s.users("alice")
    for type in ("dm", "group", "channel"):
        answer = alice.create_room(type, ["alice", "bob"])
        equal(answer.status, 201, repr(answer))
        equal(answer.json["type"], type)
        has_string(answer.json, "room_id", "created_at")


@line("rest-rooms-04")
def a_type_is_required(s):
    (alice,) = s.users("alice")
    refused(alice.request("POST", "/rooms", {"members": ["alice", "bob"]}), 400, "VALIDATION_ERROR", "type")
    refused(alice.create_room("party", ["alice", "bob"]), 400, "VALIDATION_ERROR", "type")


@line("rest-rooms-05")
def members_are_required(s):
    (alice,) = s.users("alice")
    refused(alice.request("POST", "/rooms", {"type": "group"}), 400, "VALIDATION_ERROR", "members")
    refused(alice.create_room("group", "alice"), 400, "VALIDATION_ERROR", "members")
    refused(alice.create_room("group", [1, 2]), 400, "VALIDATION_ERROR", "members")
    refused(alice.create_room("group", []), 400, "VALIDATION_ERROR", "members")
    equal(alice.create_room("group", ["alice"]).status, 201)
    equal(alice.create_room("group", ["alice", "bob", "alice"]).json["member_count"], 2)
    equal(ChatAPI(alice.address, alice.api_key).create_room("channel", []).status, 201)


@line("rest-rooms-06")
def a_name_is_optional(s):
    (alice,) = s.users("alice")
    equal(alice.create_room("group", ["alice", "bob"], name="Friends").json["name"], "Friends")
    equal(alice.create_room("group", ["alice", "bob"]).json["name"], None)
    refused(alice.create_room("group", ["alice", "bob"], name=7), 400, "VALIDATION_ERROR", "name")


@line("rest-rooms-07")
def metadata_is_optional_and_any_text(s):
    (alice,) = s.users("alice")
    for metadata in ('{"a": 1,  "b":[ ]}', "no JSON at all", None):
        room = alice.create_room("group", ["alice", "bob"], metadata=metadata)
        equal(room.status, 201, repr(room))
        equal(room.json["metadata"], metadata)
    equal(alice.create_room("group", ["alice", "bob"]).json["metadata"], None)


@line("rest-rooms-08")
def a_room_in_broken_json_is_refused(s):
    (alice,) = s.users("alice")
    for body in ("{", "[]", "", '{"type":"dm",}'):
        refused(alice.request("POST", "/rooms", raw=body), 400, "VALIDATION_ERROR")


@line("rest-rooms-09")
def makes_no_room_without_a_key(s):
    needs_a_key(s.users("alice")[0], lambda caller: caller.create_room("dm", ["alice", "bob"]))


@line("rest-rooms-10")
def an_existing_dm_is_answered_and_not_a_conflict(s):
    alice, bob, room = pair(s)
    again = bob.create_room("dm", ["bob", "alice"])
    equal((again.status, again.json["room_id"], again.json["created"]), (200, room, False))
    fresh = bob.create_room("dm", ["bob", "carol"])
    equal((fresh.status, fresh.json["created"]), (201, True))


@line("rest-rooms-11")
def a_room_may_be_made_for_others(s):
    alice, bob, tester = s.users("alice", "bob", "testuser")
    room = tester.create_room("dm", ["alice", "bob"])
    equal(room.status, 201)
    equal(tester.rooms().json["rooms"], [])
    equal(bob.room(room.json["room_id"]).status, 200)


@line("rest-rooms-12")
def a_dm_has_two_different_members(s):
    (alice,) = s.users("alice")
    for members in (["alice"], ["alice", "alice"], ["alice", "bob", "carol"]):
        refused(alice.create_room("dm", members), 400, "VALIDATION_ERROR", "members")


@line("rest-rooms-13")
def one_room_is_answered(s):
    alice, bob, room = pair(s)
    for caller in (alice, bob):
        answer = caller.room(room)
        equal((answer.status, answer.json["room_id"], answer.json["type"]), (200, room, "dm"))


@line("rest-rooms-14")
def answers_no_room_without_a_key(s):
    alice, _, room = pair(s)
    needs_a_key(alice, lambda caller: caller.room(room))


@line("rest-rooms-15")
def an_unknown_room_is_not_found(s):
    (alice,) = s.users("alice")
    for room in (NO_ROOM, "room_abc123"):
        refused(alice.room(room), 404, "NOT_FOUND")


# ---- members


@line("rest-members-01")
def members_come_inside_an_object(s):
    alice, _, room = pair(s)
    answer = alice.members(room)
    equal(answer.status, 200)
    equal(sorted(one["user_id"] for one in answer.json["members"]), ["alice", "bob"])


@line("rest-members-02")
def a_member_has_the_documented_fields(s):
    alice, _, room = pair(s)
    for one in alice.members(room).json["members"]:
        has_string(one, "user_id", "role", "joined_at")
        true(TIME.match(one["joined_at"]), one["joined_at"])


@line("rest-members-03")
def a_rooms_creator_is_its_owner_and_the_others_members(s):
    alice, _, room = pair(s)
    group = alice.create_room("group", ["alice", "bob"]).json["room_id"]
    roles = lambda of: {m["user_id"]: m["role"] for m in alice.members(of).json["members"]}  # noqa: E731
    equal(roles(group), {"alice": "owner", "bob": "member"})
    equal(roles(room), {"alice": "member", "bob": "member"})
    made_for_others = alice.as_user("carol").create_room("group", ["alice", "bob"]).json["room_id"]
    equal(roles(made_for_others), {"alice": "member", "bob": "member"})


@line("rest-members-04")
def answers_no_members_without_a_key(s):
    alice, _, room = pair(s)
    needs_a_key(alice, lambda caller: caller.members(room))


@line("rest-members-05")
def members_of_an_unknown_room_are_not_found(s):
    refused(s.users("alice")[0].members(NO_ROOM), 404, "NOT_FOUND")


# ---- objects


@line("obj-room-01")
def a_rooms_id_is_opaque_and_the_same_everywhere(s):
    alice, _, room = pair(s)
    has_string({"room_id": room}, "room_id")
    equal(alice.room(room).json["room_id"], room)
    equal(alice.rooms().json["rooms"][0]["room_id"], room)


@line("obj-room-02")
def a_room_tells_its_type(s):
    alice, _, room = pair(s)
    group = alice.create_room("group", ["alice", "bob"]).json["room_id"]
    channel = alice.create_room("channel", ["alice", "bob"]).json["room_id"]
    equal([alice.room(one).json["type"] for one in (room, group, channel)], ["dm", "group", "channel"])


@line("obj-room-03")
def a_dm_has_a_unique_key_and_other_rooms_null(s):
    alice, _, room = pair(s)
    equal(alice.room(room).json["unique_key"], "dm:alice:bob")
    equal(alice.create_room("group", ["alice", "bob"]).json["unique_key"], None)
    equal(alice.create_room("dm", ["b:c", "a"]).json["unique_key"], "dm:a:b%3Ac")


@line("obj-room-04")
def a_rooms_name_is_a_string_or_null(s):
    (alice,) = s.users("alice")
    named = alice.create_room("group", ["alice", "bob"], name="Team").json["room_id"]
    unnamed = alice.create_room("group", ["alice", "bob"]).json["room_id"]
    listed = {one["room_id"]: one["name"] for one in alice.rooms().json["rooms"]}
    equal(listed, {named: "Team", unnamed: None})
    equal(alice.room(named).json["name"], "Team")


@line("obj-room-05")
def a_rooms_metadata_is_the_string_that_was_given(s):
    (alice,) = s.users("alice")
    text = '{"project":"x", "n":1.0}'
    room = alice.create_room("group", ["alice", "bob"], metadata=text).json["room_id"]
    equal(alice.room(room).json["metadata"], text)
    equal(alice.rooms().json["rooms"][0]["metadata"], text)


@line("obj-room-06")
def a_rooms_last_seq_counts_its_messages(s):
    alice, _, room = pair(s)
    equal(alice.room(room).json["last_seq"], 0)
    alice.send(room, "x")
    alice.send(room, "y")
    has_integer(alice.room(room).json, "last_seq")
    equal(alice.rooms().json["rooms"][0]["last_seq"], 2)


@line("obj-room-07")
def a_room_tells_when_it_was_made(s):
    alice, _, room = pair(s)
    made = alice.room(room).json["created_at"]
    true(TIME.match(made) and not made.startswith("0001"), made)


if __name__ == "__main__":
    main()
