#!/usr/bin/env python3
"""ChatAPI's REST endpoints, objects and manners on the unprefixed paths, as documented, against the real binary."""
import http.client
import re
import subprocess

from chatapi_client import ChatAPI
from harness import (BINARY, MASTER_KEY, await_true, equal, has_integer, has_string, inherited, line, main, refused, true)

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$")
NO_ROOM = "0190c0de-0000-7000-8000-000000000000"
BULK = {"DEFAULT_RATE_LIMIT": "0", "PARLEY_USER_SEND_RATE": "0"}  # more calls at once than the limits let through


def pair(s):
    """Alice, Bob and their dm."""
    alice, bob = s.users("alice", "bob")
    return alice, bob, alice.create_room("dm", ["alice", "bob"]).json["room_id"]


def stranger(client):
    """The same caller with a key that nobody has."""
    return ChatAPI(client.address, "sk_" + "0" * 64, client.user_id)


def keyless(client):
    return ChatAPI(client.address, None, client.user_id)


def needs_a_key(client, call):
    """`call` is made without a key and with a wrong one."""
    for caller in (keyless(client), stranger(client)):
        refused(call(caller), 401, "AUTHENTICATION_ERROR")


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


@line("rest-members-04")
def answers_no_members_without_a_key(s):
    alice, _, room = pair(s)
    needs_a_key(alice, lambda caller: caller.members(room))


@line("rest-members-05")
def members_of_an_unknown_room_are_not_found(s):
    refused(s.users("alice")[0].members(NO_ROOM), 404, "NOT_FOUND")


# ---- messages


@line("rest-messages-01")
def a_send_answers_200_with_the_documented_fields(s):
    alice, _, room = pair(s)
    answer = alice.send(room, "Hello")
    equal(answer.status, 200, repr(answer))
    has_string(answer.json, "message_id", "created_at")
    equal(answer.json["seq"], 1)
    equal(alice.send(room, "again").json["seq"], 2)


@line("rest-messages-02")
def content_is_required(s):
    alice, _, room = pair(s)
    path = f"/rooms/{room}/messages"
    refused(alice.request("POST", path, {"sender": "alice"}), 400, "VALIDATION_ERROR", "content")
    refused(alice.request("POST", path, {"content": 5}), 400, "VALIDATION_ERROR", "content")
    equal(alice.messages(room).json["messages"], [])


@line("rest-messages-03")
def meta_is_optional_and_any_text(s):
    alice, bob, room = pair(s)
    metas = ('{"type": "image",  "w": 3}', "plain", None)
    for meta in metas:
        equal(alice.send(room, "x", meta=meta).status, 200)
    alice.send(room, "x")
    equal([m["meta"] for m in bob.messages(room).json["messages"]], [*metas, None])


@line("rest-messages-04")
def a_message_in_broken_json_is_refused(s):
    alice, _, room = pair(s)
    for body in ("{", "[]", '{"content":"a","content":"b"}'):
        refused(alice.request("POST", f"/rooms/{room}/messages", raw=body), 400, "VALIDATION_ERROR")


@line("rest-messages-05")
def sends_nothing_without_a_key(s):
    alice, _, room = pair(s)
    needs_a_key(alice, lambda caller: caller.send(room, "x"))
    equal(alice.messages(room).json["messages"], [])


@line("rest-messages-06")
def a_send_to_an_unknown_room_is_not_found(s):
    refused(s.users("alice")[0].send(NO_ROOM, "x"), 404, "NOT_FOUND")


@line("rest-messages-07")
def only_members_send(s):
    alice, _, room = pair(s)
    refused(alice.as_user("user123").send(room, "x"), 404, "NOT_FOUND")


@line("rest-messages-08")
def messages_come_inside_an_object(s):
    alice, bob, room = pair(s)
    equal(bob.messages(room).json["messages"], [])
    alice.send(room, "Hello")
    answer = bob.messages(room)
    equal(answer.status, 200)
    equal([m["content"] for m in answer.json["messages"]], ["Hello"])


@line("rest-messages-09")
def after_seq_pages_forward(s):
    alice, bob, room = pair(s)
    for text in "abcd":
        alice.send(room, text)
    equal([m["content"] for m in bob.messages(room, after_seq=2).json["messages"]], ["c", "d"])
    equal([m["content"] for m in bob.messages(room, after_seq=0, limit=1).json["messages"]], ["a"])
    equal(bob.messages(room, after_seq=4).json["messages"], [])


@line("rest-messages-10")
def after_seq_is_an_integer_from_0_on(s):
    alice, _, room = pair(s)
    for wrong in ("-1", "x", "1.5"):
        refused(alice.messages(room, after_seq=wrong), 400, "VALIDATION_ERROR", "after_seq")


@line("rest-messages-11")
def a_page_is_50_messages_from_the_oldest_on(s):
    alice, bob, room = pair_in(s, BULK)
    for n in range(1, 54):
        equal(alice.send(room, str(n)).status, 200)
    equal([m["seq"] for m in bob.messages(room).json["messages"]], list(range(1, 51)))
    equal([m["seq"] for m in bob.messages(room, after_seq=50).json["messages"]], [51, 52, 53])


@line("rest-messages-12")
def a_page_of_messages_may_be_longer_than_100(s):
    alice, bob, room = pair_in(s, BULK)
    for n in range(1, 104):
        equal(alice.send(room, str(n)).status, 200)
    equal(len(bob.messages(room, limit=100).json["messages"]), 100)
    equal(len(bob.messages(room, limit=1000).json["messages"]), 103)
    equal(len(bob.messages(room, limit=5000).json["messages"]), 103)


@line("rest-messages-13")
def a_limit_below_1_is_refused(s):
    alice, _, room = pair(s)
    for wrong in ("0", "-5", "many"):
        refused(alice.messages(room, limit=wrong), 400, "VALIDATION_ERROR", "limit")


@line("rest-messages-14")
def answers_no_messages_without_a_key(s):
    alice, _, room = pair(s)
    needs_a_key(alice, lambda caller: caller.messages(room))


@line("rest-messages-15")
def messages_of_an_unknown_room_are_not_found(s):
    refused(s.users("alice")[0].messages(NO_ROOM), 404, "NOT_FOUND")


def pair_in(s, env):
    alice, bob = s.users("alice", "bob", **env)
    return alice, bob, alice.create_room("dm", ["alice", "bob"]).json["room_id"]


# ---- acks


@line("rest-acks-01")
def an_ack_succeeds(s):
    alice, bob, room = pair(s)
    alice.send(room, "Hello")
    answer = bob.ack(room, 1)
    equal((answer.status, answer.json["success"], answer.json["seq"]), (200, True, 1))


@line("rest-acks-02")
def an_ack_names_room_and_seq(s):
    alice, _, room = pair(s)
    refused(alice.request("POST", "/acks", {"seq": 1}), 400, "VALIDATION_ERROR", "room_id")
    refused(alice.request("POST", "/acks", {"room_id": room}), 400, "VALIDATION_ERROR", "seq")
    refused(alice.ack(room, "1"), 400, "VALIDATION_ERROR", "seq")


@line("rest-acks-03")
def acks_nothing_without_a_key(s):
    alice, _, room = pair(s)
    needs_a_key(alice, lambda caller: caller.ack(room, 0))


@line("rest-acks-04")
def an_ack_moves_only_forward(s):
    alice, bob, room = pair(s)
    for _ in range(3):
        alice.send(room, "x")
    equal(bob.ack(room, 3).json["seq"], 3)
    answer = bob.ack(room, 1)
    equal((answer.status, answer.json["seq"]), (200, 3))


@line("rest-acks-05")
def an_ack_of_what_is_not_there_is_refused(s):
    alice, bob, room = pair(s)
    alice.send(room, "x")
    refused(bob.ack(room, 2), 400, "VALIDATION_ERROR", "seq")
    refused(bob.ack(NO_ROOM, 1), 404, "NOT_FOUND")


# ---- /health


@line("rest-health-01")
def health_needs_no_key(s):
    answer = ChatAPI(s.node().address).health()
    equal((answer.status, answer.json["status"]), (200, "ok"))


@line("rest-health-02")
def health_tells_the_uptime(s):
    uptime = ChatAPI(s.node().address).health().json["uptime"]
    true(re.fullmatch(r"(\d+h)?(\d+m)?\d+s", uptime), uptime)


@line("rest-health-03")
def health_tells_that_the_database_is_writable(s):
    equal(ChatAPI(s.node().address).health().json["db_writable"], True)


@line("rest-health-04")
def health_is_503_while_the_disk_is_full(s):
    node = s.own_node()
    alice = node.tenant().as_user("alice")
    room = alice.create_room("dm", ["alice", "bob"]).json["room_id"]
    full_disk = subprocess.Popen(
        ["strace", "-f", "-qq", "-e", "signal=none", "-e", "trace=pwrite64", "-e", "inject=pwrite64:error=ENOSPC",
         "-o", "/dev/null", "-p", str(node.process.pid)],
        stderr=subprocess.PIPE, text=True, env=inherited())
    try:
        await_true(lambda: alice.send(room, "x").status == 503, "a send on a full disk is not refused")
        sick = alice.health()
        equal((sick.status, sick.json["status"], sick.json["db_writable"]), (503, "error", False))
    finally:
        full_disk.terminate()
        full_disk.communicate(timeout=20)
    await_true(lambda: alice.health().status == 200, "there is space again and /health does not say so")
    equal(alice.send(room, "again").status, 200)


@line("rest-health-05")
def health_names_the_service(s):
    equal(ChatAPI(s.node().address).health().json["service"], "parley")


# ---- /admin/tenants


@line("rest-admin-01")
def the_operator_makes_a_tenant(s):
    answer = s.node().operator().create_tenant("acme")
    equal(answer.status, 201)
    has_string(answer.json, "tenant_id", "api_key", "created_at")
    equal(answer.json["name"], "acme")
    equal(ChatAPI(s.node().address, answer.json["api_key"], "alice").rooms().status, 200)


@line("rest-admin-02")
def a_tenant_needs_a_name(s):
    operator = s.node().operator()
    refused(operator.request("POST", "/admin/tenants", {}), 400, "VALIDATION_ERROR", "name")
    refused(operator.create_tenant(""), 400, "VALIDATION_ERROR", "name")


@line("rest-admin-03")
def nobody_else_makes_a_tenant(s):
    address = s.node().address
    key = s.node().tenant().api_key
    for caller in (ChatAPI(address), ChatAPI(address, master_key="wrong"), ChatAPI(address, key)):
        refused(caller.create_tenant("acme"), 401, "AUTHENTICATION_ERROR")


@line("rest-admin-04")
def a_tenants_key_and_id_look_as_documented(s):
    made = s.node().operator().create_tenant("acme").json
    true(re.fullmatch(r"sk_\S{32,}", made["api_key"]), "the key's form")
    true(made["tenant_id"].startswith("tenant_"), made["tenant_id"])


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


@line("obj-message-01")
def a_messages_id_is_opaque_and_the_same_everywhere(s):
    alice, bob, room = pair(s)
    sent = alice.send(room, "x").json["message_id"]
    equal(bob.messages(room).json["messages"][0]["message_id"], sent)


@line("obj-message-02")
def a_message_tells_its_sender(s):
    alice, bob, room = pair(s)
    alice.send(room, "x")
    bob.send(room, "y")
    equal([m["sender_id"] for m in alice.messages(room).json["messages"]], ["alice", "bob"])


@line("obj-message-03")
def seqs_of_messages_are_dense_from_1(s):
    alice, bob, room = pair(s)
    for n in range(6):
        (alice, bob)[n % 2].send(room, "x")
    equal([m["seq"] for m in alice.messages(room).json["messages"]], [1, 2, 3, 4, 5, 6])


@line("obj-message-04")
def content_is_given_back_as_it_was(s):
    alice, bob, room = pair(s)
    for text in ("Grüße 🎉", "line\nline\t\\ \"q\" </script>", " x "):
        equal(alice.send(room, text).status, 200)
        equal(bob.messages(room).json["messages"][-1]["content"], text)


@line("obj-message-05")
def meta_is_the_string_that_was_given_or_null(s):
    alice, bob, room = pair(s)
    alice.send(room, "x", meta='{ "k": "v" }')
    alice.send(room, "x")
    equal([m["meta"] for m in bob.messages(room).json["messages"]], ['{ "k": "v" }', None])


@line("obj-message-06")
def a_message_tells_when_it_was_sent(s):
    alice, bob, room = pair(s)
    sent = alice.send(room, "x").json["created_at"]
    true(TIME.match(sent), sent)
    equal(bob.messages(room).json["messages"][0]["created_at"], sent)


# ---- manners


@line("gen-json-01")
def answers_are_json_in_utf8(s):
    alice, _, room = pair(s)
    for answer in (alice.rooms(), alice.send(room, "ü"), alice.room(NO_ROOM), alice.health()):
        true(answer.headers["content-type"].startswith("application/json"), repr(answer.headers))
        answer.json


@line("gen-json-02")
def a_body_of_another_type_is_refused(s):
    alice, _, room = pair(s)
    path = f"/rooms/{room}/messages"
    refused(alice.request("POST", path, {"content": "x"}, headers={"Content-Type": "text/plain"}),
            415, "UNSUPPORTED_MEDIA_TYPE")
    equal(alice.request("POST", path, {"content": "x"},
                        headers={"Content-Type": "application/json; charset=utf-8"}).status, 200)


@line("gen-paths-01")
def paths_have_no_version(s):
    alice, _, room = pair(s)
    for path in ("/rooms", f"/rooms/{room}", f"/rooms/{room}/members", f"/rooms/{room}/messages"):
        equal(alice.request("GET", path).status, 200, path)
        refused(alice.request("GET", "/v2" + path), 404, "NOT_FOUND")


@line("gen-success-01")
def a_success_is_the_bare_object(s):
    alice, _, room = pair(s)
    for answer in (alice.rooms(), alice.room(room), alice.send(room, "x"), alice.members(room)):
        true("data" not in answer.json and "error" not in answer.json, repr(answer))


@line("gen-error-01")
def an_error_is_json_with_code_and_message(s):
    (alice,) = s.users("alice")
    answer = alice.create_room("dm", ["alice"])
    refused(answer, 400, "VALIDATION_ERROR", "members")
    true("data" not in answer.json, repr(answer))


@line("gen-error-02")
def what_is_malformed_is_validation_error(s):
    alice, _, room = pair(s)
    refused(alice.send(room, 1), 400, "VALIDATION_ERROR", "content")
    refused(alice.ack(room, -1), 400, "VALIDATION_ERROR", "seq")


@line("gen-error-03")
def a_missing_or_wrong_key_is_authentication_error(s):
    (alice,) = s.users("alice")
    needs_a_key(alice, lambda caller: caller.rooms())
    refused(keyless(alice).request("GET", "/rooms", query={"api_key": alice.api_key}), 401, "AUTHENTICATION_ERROR")


@line("gen-error-04")
def what_ones_role_does_not_allow_is_authorization_error(s):
    alice, bob = s.users("alice", "bob")
    group = alice.create_room("group", ["alice", "bob"]).json["room_id"]
    refused(bob.request("DELETE", f"/rooms/{group}"), 403, "AUTHORIZATION_ERROR")


@line("gen-error-05")
def what_is_not_there_is_not_found(s):
    (alice,) = s.users("alice")
    refused(alice.room(NO_ROOM), 404, "NOT_FOUND")
    refused(alice.request("GET", "/no/such/path"), 404, "NOT_FOUND")


@line("gen-error-06")
def no_request_makes_an_internal_error(s):
    alice, _, room = pair(s)
    path = f"/rooms/{room}/messages"
    for body in ("\0", '{"content":"\\ud800"}', "[" * 3000, '{"content":1e999}', '{"content":"' + "x" * 20000 + '"}', "null", "\xff"):
        refused(alice.request("POST", path, raw=body.encode("latin-1")), 400, "VALIDATION_ERROR")
    for target in ("/rooms/%00", "/rooms/%ff", "/rooms/..%2f..", "/rooms?limit=%00", "/rooms/" + "x" * 5000):
        true(alice.request("GET", target).status in (400, 404), target)
    equal(alice.health().status, 200)


@line("gen-error-07")
def a_conflict_has_a_code_of_its_own(s):
    alice, _, room = pair(s)
    refused(alice.request("POST", f"/rooms/{room}/leave"), 409, "CONFLICT")


@line("gen-error-08")
def a_wrong_method_is_405_with_allow(s):
    (alice,) = s.users("alice")
    answer = alice.request("PUT", "/rooms", {})
    refused(answer, 405, "METHOD_NOT_ALLOWED")
    true({"GET", "POST"} <= {one.strip() for one in answer.headers["allow"].split(",")}, answer.headers["allow"])


@line("gen-page-01")
def a_list_has_50_items_unless_a_limit_says_otherwise(s):
    alice, room = crowd(s)
    equal(len(alice.members(room).json["members"]), 50)
    equal(len(alice.members(room, limit=7).json["members"]), 7)


@line("gen-page-02")
def a_list_has_100_items_at_most(s):
    alice, room = crowd(s)
    equal(len(alice.members(room, limit=100).json["members"]), 100)
    equal(len(alice.members(room, limit=500).json["members"]), 100)


@line("gen-page-03")
def an_offset_skips_items(s):
    alice, room = crowd(s)
    everyone = [f"u{n:03}" for n in range(120)]
    pages = [alice.members(room, limit=50, offset=at).json["members"] for at in (0, 50, 100)]
    equal([len(page) for page in pages], [50, 50, 20])
    equal(sorted(m["user_id"] for page in pages for m in page), sorted([*everyone[:-1], "alice"]))
    first, second = alice.create_room("group", ["alice"]).json, alice.create_room("group", ["alice"]).json
    equal({r["room_id"] for r in alice.rooms(limit=1).json["rooms"] + alice.rooms(limit=2, offset=1).json["rooms"]},
          {room, first["room_id"], second["room_id"]})
    for text in "abc":
        alice.send(room, text)
    equal([m["content"] for m in alice.messages(room, offset=1).json["messages"]], ["b", "c"])


@line("gen-page-04")
def an_offset_is_an_integer_from_0_to_10000(s):
    (alice,) = s.users("alice")
    for wrong in ("-1", "x", "10001"):
        refused(alice.rooms(offset=wrong), 400, "VALIDATION_ERROR", "offset")
    equal(alice.rooms(offset=10000).json["rooms"], [])


def crowd(s):
    """Alice and a group of 120, with her."""
    (alice,) = s.users("alice")
    room = alice.create_room("group", ["alice", *[f"u{n:03}" for n in range(119)]])
    equal(room.status, 201, repr(room))
    return alice, room.json["room_id"]


@line("gen-auth-01")
def the_key_comes_in_x_api_key(s):
    (alice,) = s.users("alice")
    equal(alice.rooms().status, 200)
    equal(keyless(alice).request("GET", "/rooms", headers={"x-api-key": alice.api_key}).status, 200)


@line("gen-auth-02")
def the_user_comes_in_x_user_id(s):
    alice, bob, room = pair(s)
    alice.send(room, "x")
    bob.send(room, "y")
    equal([m["sender_id"] for m in alice.messages(room).json["messages"]], ["alice", "bob"])


@line("gen-auth-03")
def a_key_without_a_user_is_the_backend(s):
    alice, _, room = pair(s)
    backend = ChatAPI(alice.address, alice.api_key)
    equal([one["room_id"] for one in backend.rooms().json["rooms"]], [room])
    equal(backend.room(room).status, 200)
    refused(backend.ack(room, 0), 400, "VALIDATION_ERROR", "user_id")
    refused(backend.send(room, "x"), 400, "VALIDATION_ERROR", "sender_id")


@line("gen-auth-04")
def the_operators_key_comes_in_x_master_key(s):
    node = s.node()
    equal(ChatAPI(node.address, master_key=MASTER_KEY).create_tenant("acme").status, 201)
    refused(ChatAPI(node.address, MASTER_KEY, "alice").rooms(), 401, "AUTHENTICATION_ERROR")


@line("gen-auth-05")
def a_user_id_out_of_form_is_refused(s):
    (alice,) = s.users("alice")
    refused(alice.as_user("x" * 129).rooms(), 400, "VALIDATION_ERROR", "user_id")
    equal(alice.as_user("x" * 128).rooms().status, 200)
    equal(alice.as_user("anyone@example.com/7").rooms().json["rooms"], [])


@line("gen-auth-06")
def a_user_sees_only_its_rooms(s):
    alice, _, room = pair(s)
    eve = alice.as_user("eve")
    equal(eve.rooms().json["rooms"], [])
    unknown = eve.room(NO_ROOM).json
    for answer in (eve.room(room), eve.members(room), eve.messages(room), eve.send(room, "x"), eve.ack(room, 0)):
        refused(answer, 404, "NOT_FOUND")
        equal(answer.json["error"]["message"], unknown["error"]["message"])


@line("gen-auth-07")
def a_user_changes_only_its_own_messages(s):
    alice, bob, room = pair(s)
    message = alice.send(room, "mine").json["message_id"]
    path = f"/rooms/{room}/messages/{message}"
    refused(bob.request("PATCH", path, {"content": "yours"}), 403, "AUTHORIZATION_ERROR")
    equal(alice.request("PATCH", path, {"content": "mine, edited"}).status, 200)
    equal(bob.messages(room).json["messages"][0]["content"], "mine, edited")


@line("gen-auth-08")
def tenants_see_nothing_of_each_other(s):
    alice, _, room = pair(s)
    (foreign,) = s.users("alice")
    equal(foreign.rooms().json["rooms"], [])
    for answer in (foreign.room(room), foreign.members(room), foreign.messages(room), foreign.send(room, "x")):
        refused(answer, 404, "NOT_FOUND")
    equal(foreign.create_room("dm", ["alice", "bob"]).status, 201)


@line("gen-time-01")
def times_are_iso_8601_in_utc(s):
    alice, _, room = pair(s)
    times = [alice.room(room).json["created_at"], alice.send(room, "x").json["created_at"],
             alice.members(room).json["members"][0]["joined_at"],
             s.node().operator().create_tenant("acme").json["created_at"]]
    for one in times:
        true(TIME.match(one), one)


@line("gen-size-01")
def sizes_have_limits(s):
    alice, _, room = pair(s)
    equal(alice.send(room, "x" * 16384).status, 200)
    refused(alice.send(room, "x" * 16385), 400, "VALIDATION_ERROR", "content")
    refused(alice.send(room, "x", meta="m" * 4096), 400, "VALIDATION_ERROR", "meta")
    refused(alice.create_room("group", ["alice"], metadata="m" * 4096), 400, "VALIDATION_ERROR", "metadata")
    refused(alice.create_room("group", ["alice"], name="n" * 257), 400, "VALIDATION_ERROR", "name")
    refused(alice.send(room, ""), 400, "VALIDATION_ERROR", "content")


@line("gen-proxy-01")
def a_reverse_proxy_may_stand_before_it(s):
    alice, _, room = pair(s)
    forwarded = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Real-IP": "203.0.113.7",
                 "Host": "chat.example.com"}
    equal(alice.request("GET", f"/rooms/{room}", headers=forwarded).status, 200)
    connection = http.client.HTTPConnection(alice.address, timeout=20)  # nginx keeps its connections
    for _ in range(3):
        connection.request("GET", "/health", headers=forwarded)
        answer = connection.getresponse()
        answer.read()
        equal(answer.status, 200)
    connection.close()


# ---- rate limit


@line("gen-rate-01")
def a_tenant_has_100_requests_a_second(s):
    (alice,) = s.users("alice")
    equal(alice.rooms().headers.get("x-ratelimit-limit"), "100")


@line("gen-rate-02")
def an_answer_tells_what_is_left_of_the_rate(s):
    (alice,) = s.users("alice", DEFAULT_RATE_LIMIT="50")
    first, second = alice.rooms().headers, alice.rooms().headers
    equal((first["x-ratelimit-limit"], second["x-ratelimit-limit"]), ("50", "50"))
    for headers in (first, second):
        true(0 <= int(headers["x-ratelimit-remaining"]) <= 50, repr(headers))


@line("gen-rate-03")
def an_answer_tells_when_the_rate_is_whole_again(s):
    (alice,) = s.users("alice")
    reset = int(alice.rooms().headers["x-ratelimit-reset"])
    now = subprocess.run(["date", "+%s"], capture_output=True, text=True, check=True).stdout
    true(abs(reset - int(now)) <= 5, f"{reset} at {now}")


@line("gen-rate-04")
def beyond_the_rate_is_429_with_retry_after(s):
    alice, bob = s.users("alice", "bob", DEFAULT_RATE_LIMIT="3")
    answer = next((a for a in (alice.rooms() for _ in range(300)) if a.status != 200), None)
    true(answer is not None, "300 requests at once and no limit")
    refused(answer, 429, "RATE_LIMIT_EXCEEDED")
    true(int(answer.headers["retry-after"]) >= 1, repr(answer.headers))
    equal(answer.headers["x-ratelimit-remaining"], "0")


@line("gen-rate-05")
def a_tenants_rate_is_its_own(s):
    (alice,) = s.users("alice", DEFAULT_RATE_LIMIT="3")
    await_true(lambda: alice.rooms().status == 429, "no limit")
    (other,) = s.users("alice", DEFAULT_RATE_LIMIT="3")
    equal(other.rooms().status, 200)
    equal(alice.health().status, 200)


@line("gen-rate-06")
def a_users_sends_have_a_rate_too(s):
    alice, bob, room = pair(s)
    answer = next((a for a in (alice.send(room, "x") for _ in range(60)) if a.status != 200), None)
    true(answer is not None, "60 messages at once and no limit")
    refused(answer, 429, "RATE_LIMIT_EXCEEDED")
    true(int(answer.headers["retry-after"]) >= 1, repr(answer.headers))
    equal(bob.send(room, "y").status, 200)


if __name__ == "__main__":
    main()
