#!/usr/bin/env python3
"""ChatAPI's messages and acknowledgements over REST."""
from harness import equal, has_string, line, main, refused, true
from words import BULK, NO_ROOM, TIME, needs_a_key, pair


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
    alice, bob, room = pair(s, **BULK)
    for n in range(1, 54):
        equal(alice.send(room, str(n)).status, 200)
    equal([m["seq"] for m in bob.messages(room).json["messages"]], list(range(1, 51)))
    equal([m["seq"] for m in bob.messages(room, after_seq=50).json["messages"]], [51, 52, 53])


@line("rest-messages-12")
def a_page_of_messages_may_be_longer_than_100(s):
    alice, bob, room = pair(s, **BULK)
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


# ---- objects


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


if __name__ == "__main__":
    main()
