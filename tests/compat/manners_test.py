#!/usr/bin/env python3
"""What ChatAPI documents for every REST call: who calls, answers, errors, lists."""
import http.client

from chatapi_client import ChatAPI
from harness import MASTER_KEY, equal, line, main, refused, true
from words import NO_ROOM, TIME, keyless, needs_a_key, pair


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
    refused(alice.rooms(offset=1, cursor="x"), 400, "VALIDATION_ERROR", "offset")


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


if __name__ == "__main__":
    main()
