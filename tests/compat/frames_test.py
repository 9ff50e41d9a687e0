#!/usr/bin/env python3
"""ChatAPI's frames, in both directions and both forms."""
import json
import time

from harness import equal, has_integer, has_string, line, main, true
from words import TIME, live, pair


# ---- the envelope


@line("ws-frame-01")
def flat_frames_are_understood(s):
    alice, bob, room = pair(s)
    listener = live(bob, room)
    speaker = alice.connect()
    speaker.send("send_message", room_id=room, content="flat")
    listener.wait_for("message", content="flat")


@line("ws-frame-02")
def nested_frames_are_understood(s):
    alice, bob, room = pair(s)
    listener = live(bob, room)
    speaker = alice.connect()
    speaker.send_nested("send_message", room_id=room, content="nested", meta='{"k":1}')
    equal(listener.wait_for("message", content="nested")["meta"], '{"k":1}')
    speaker.send_nested("typing.start", room_id=room)
    listener.wait_for("typing", user_id="alice", action="start")
    speaker.send_nested("typing.stop", room_id=room)
    listener.wait_for("typing", user_id="alice", action="stop")
    speaker.send_nested("ack", room_id=room, seq=2)
    speaker.wait_for("ack.received", user_id="alice", seq=2)
    speaker.send_nested("subscribe", room_id=room)
    speaker.wait_for("subscribed", room_id=room)
    equal(speaker.taken("error"), [])


@line("ws-frame-03")
def the_servers_frames_are_flat(s):
    alice, bob, room = pair(s)
    opened = live(bob, room)
    alice.send(room, "Hello")
    opened.wait_for("message", content="Hello")
    for frame in opened.frames:
        has_string(frame, "type")
        true("data" not in frame, frame)


@line("ws-frame-04")
def a_frame_holds_one_object(s):
    alice, _, room = pair(s)
    opened = live(alice, room)
    one = {"type": "send_message", "room_id": room, "content": "x"}
    for text in (json.dumps([one, one]), json.dumps(one) + "\n" + json.dumps(one)):
        opened.send_text(text)
        equal(opened.wait_for("error")["code"], "VALIDATION_ERROR")
    equal(len(alice.messages(room).json["messages"]), 1)


@line("ws-frame-05")
def compression_is_declined(s):
    (alice,) = s.users("alice")
    opened = alice.connect()
    true("permessage-deflate" in opened.ws.request_headers["Sec-WebSocket-Extensions"], "the client offers nothing")
    equal(opened.ws.response_headers.get("Sec-WebSocket-Extensions"), None)


@line("ws-frame-06")
def frames_of_unknown_types_can_be_passed_over(s):
    alice, bob, room = pair(s)
    alice.send(room, "missed")
    opened = bob.connect()
    opened.wait_for("message", content="missed")
    alice.send(room, "live")
    opened.wait_for("message", content="live")
    known = {"message", "ack.received", "presence.update", "typing", "notification", "server.shutdown", "error"}
    others = {frame["type"] for frame in opened.frames} - known
    true("hello" in others and others <= {"hello", "sync.start", "sync.complete", "sync.done"}, others)


# ---- client → server


@line("ws-send-01")
def a_message_reaches_all_members_and_its_sender(s):
    alice, bob, carol = s.users("alice", "bob", "carol")
    room = alice.create_room("group", ["alice", "bob", "carol"]).json["room_id"]
    sockets = [live(one, room) for one in (alice, bob, carol)]
    sockets[0].send("send_message", room_id=room, content="Hello")
    seen = [one.wait_for("message", content="Hello") for one in sockets]
    equal({frame["message_id"] for frame in seen}, {seen[0]["message_id"]})
    equal(alice.messages(room).json["messages"][-1]["message_id"], seen[0]["message_id"])


@line("ws-send-02")
def meta_travels_with_a_message(s):
    alice, bob, room = pair(s)
    listener = live(bob, room)
    speaker = alice.connect()
    for meta in ('{"type": "image", "w":  3}', "no JSON", None):
        speaker.send("send_message", room_id=room, content="x", meta=meta)
        equal(listener.wait_for("message", content="x")["meta"], meta)


@line("ws-send-03")
def a_send_is_answered_beside_its_message(s):
    alice, _, room = pair(s)
    opened = alice.connect()
    opened.send("send_message", room_id=room, content="Hello")
    accepted = opened.wait_for("message.accepted")
    shown = opened.taken("message", content="Hello") or [opened.wait_for("message", content="Hello")]
    equal((accepted["message_id"], accepted["seq"]), (shown[0]["message_id"], shown[0]["seq"]))


@line("ws-send-04")
def a_send_that_fails_is_an_error_frame(s):
    alice, _, room = pair(s)
    opened = alice.as_user("eve").connect()
    opened.send("send_message", room_id=room, content="x")
    equal(opened.wait_for("error")["code"], "NOT_FOUND")
    opened.send("send_message", room_id=room)
    equal(opened.wait_for("error")["field"], "content")
    equal(alice.messages(room).json["messages"], [])


@line("ws-ack-01")
def an_ack_moves_the_cursor(s):
    alice, bob, room = pair(s)
    for text in "abc":
        alice.send(room, text)
    opened = bob.connect()
    opened.wait_for("message", seq=3)
    opened.send("ack", room_id=room, seq=2)
    equal(opened.wait_for("ack.received", room_id=room)["seq"], 2)
    opened.send("ack", room_id=room, seq=1)
    equal(opened.wait_for("ack.received", room_id=room)["seq"], 2)
    opened.close()
    again = bob.connect()
    equal(again.wait_for("message")["seq"], 3)


@line("ws-ack-02")
def an_ack_of_what_is_not_there_is_an_error_frame(s):
    alice, _, room = pair(s)
    opened = live(alice, room)
    opened.send("ack", room_id=room, seq=99)
    equal(opened.wait_for("error")["code"], "VALIDATION_ERROR")


@line("ws-ack-03")
def an_ack_of_the_highest_seq_counts_entries_that_are_no_messages(s):
    alice, bob = s.users("alice", "bob")
    room = alice.create_room("group", ["alice", "bob"]).json["room_id"]
    listener = live(bob, room)
    equal(alice.request("POST", f"/rooms/{room}/members", {"user_ids": ["carol"]}).status, 200)
    alice.send(room, "after carol")
    message = listener.wait_for("message", content="after carol")
    equal(message["seq"], 3)  # 2 is carol's joining: a client that waits for message 2 waits for ever
    equal([f["seq"] for f in listener.taken("member.joined")], [2])
    listener.send("ack", room_id=room, seq=3)
    equal(listener.wait_for("ack.received", user_id="bob")["seq"], 3)


@line("ws-typing-01")
def typing_start_reaches_the_others(s):
    alice, bob, room = pair(s)
    speaker, listener = live(alice, room), live(bob, room)
    speaker.send("typing.start", room_id=room)
    frame = listener.wait_for("typing")
    equal((frame["room_id"], frame["user_id"], frame["action"]), (room, "alice", "start"))
    speaker.send("send_message", room_id=room, content="done")
    speaker.wait_for("message", content="done")
    equal(speaker.taken("typing"), [])


@line("ws-typing-02")
def typing_stop_reaches_the_others(s):
    alice, bob, room = pair(s)
    speaker, listener = live(alice, room), live(bob, room)
    speaker.send("typing.start", room_id=room)
    equal(listener.wait_for("typing")["action"], "start")  # one that is stopped before it is shown need not be
    speaker.send("typing.stop", room_id=room)
    frame = listener.wait_for("typing")
    equal((frame["room_id"], frame["user_id"], frame["action"]), (room, "alice", "stop"))


@line("ws-typing-03")
def typing_that_nobody_stops_stops_by_itself(s):
    alice, bob, room = pair(s, PARLEY_TYPING_TIMEOUT="600ms", PARLEY_TYPING_INTERVAL="100ms")
    speaker, listener = live(alice, room), live(bob, room)
    speaker.send("typing.start", room_id=room)
    equal([listener.wait_for("typing")["action"] for _ in range(2)], ["start", "stop"])


@line("ws-subscribe-01")
def subscribe_is_optional(s):
    alice, bob, room = pair(s)
    opened = bob.connect()
    alice.send(room, "without it")
    opened.wait_for("message", content="without it")


@line("ws-subscribe-02")
def subscribe_is_answered_and_shows_nothing_twice(s):
    alice, bob, room = pair(s)
    opened = live(bob, room)
    opened.send("subscribe", room_id=room)
    opened.wait_for("subscribed", room_id=room)
    alice.send(room, "once")
    alice.send(room, "end")
    opened.wait_for("message", content="end")
    equal(len(opened.taken("message", content="once")), 1)


# ---- server → client


@line("ws-message-01")
def a_message_frame_has_the_documented_fields(s):
    alice, bob, room = pair(s)
    opened = live(bob, room)
    sent = alice.send(room, "Hello", meta='{"k":1}').json
    frame = opened.wait_for("message", content="Hello")
    has_string(frame, "room_id", "message_id", "sender_id", "content", "meta", "created_at")
    has_integer(frame, "seq")
    equal((frame["room_id"], frame["message_id"], frame["seq"], frame["sender_id"], frame["meta"], frame["created_at"]),
          (room, sent["message_id"], sent["seq"], "alice", '{"k":1}', sent["created_at"]))
    true(TIME.match(frame["created_at"]), frame["created_at"])


@line("ws-receipt-01")
def an_ack_is_confirmed(s):
    alice, bob, room = pair(s)
    opened = live(bob, room)
    opened.send("ack", room_id=room, seq=1)
    frame = opened.wait_for("ack.received")
    equal((frame["room_id"], frame["seq"], frame["user_id"]), (room, 1, "bob"))


@line("ws-receipt-02")
def the_other_members_hear_of_an_ack(s):
    alice, bob, room = pair(s)
    opened = live(alice, room)
    equal(bob.ack(room, 1).status, 200)
    equal(opened.wait_for("ack.received", user_id="bob", room_id=room)["seq"], 1)


@line("ws-receipt-03")
def in_a_big_room_only_the_acker_hears_of_it(s):
    alice, bob, dm = pair(s, PARLEY_RECEIPT_MAX_MEMBERS="2")
    big = alice.create_room("group", ["alice", "bob", "carol"]).json["room_id"]
    listener, acker = live(alice, dm), live(bob, big)
    acker.send("ack", room_id=big, seq=1)
    acker.wait_for("ack.received", room_id=big)
    acker.send("ack", room_id=dm, seq=1)
    listener.wait_for("ack.received", room_id=dm, user_id="bob")
    equal(listener.taken("ack.received", room_id=big), [])


@line("ws-presence-01")
def members_see_a_user_come_online(s):
    alice, bob, room = pair(s)
    listener = live(alice, room)
    bob.connect()
    frame = listener.wait_for("presence.update")
    equal((frame["user_id"], frame["status"]), ("bob", "online"))


@line("ws-presence-02")
def members_see_a_user_go_offline_after_five_seconds(s):
    alice, bob, room = pair(s)
    listener = live(alice, room)
    leaving = bob.connect()
    listener.wait_for("presence.update", user_id="bob", status="online")
    left = time.monotonic()
    leaving.close()
    listener.wait_for("presence.update", user_id="bob", status="offline", within=15)
    true(time.monotonic() - left >= 4.5, "the grace was shorter than 5 s")


@line("ws-presence-03")
def strangers_and_oneself_see_no_presence(s):
    alice, bob, room = pair(s)
    eve = alice.as_user("eve")
    own = eve.create_room("dm", ["eve", "frank"]).json["room_id"]
    listener, stranger = live(alice, room), live(eve, own)
    bob.connect()
    listener.wait_for("presence.update", user_id="bob", status="online")
    alice.as_user("frank").connect()
    stranger.wait_for("presence.update", user_id="frank")
    equal([f["user_id"] for f in stranger.taken("presence.update")], ["frank"])
    equal(listener.taken("presence.update", user_id="alice"), [])


@line("ws-presence-04")
def channels_show_no_presence(s):
    alice, bob, dm = pair(s)
    carol = alice.as_user("carol")
    channel = alice.create_room("channel", ["alice", "bob", "carol"]).json["room_id"]
    listener = live(alice, dm)
    carol.connect().wait_for("hello")
    bob.connect()
    listener.wait_for("presence.update", user_id="bob", status="online")
    equal(listener.taken("presence.update", user_id="carol"), [])
    true(channel in {one["room_id"] for one in carol.rooms().json["rooms"]}, "carol is not in the channel")


@line("ws-error-01")
def what_is_not_understood_is_an_error_frame(s):
    alice, _, room = pair(s)
    opened = live(alice, room)
    for text in ("no JSON", '{"content":"no type"}', '{"type":"no.such.type"}'):
        opened.send_text(text)
        frame = opened.wait_for("error")
        equal(frame["code"], "VALIDATION_ERROR")
        has_string(frame, "message")
    opened.send("send_message", room_id=room, content="it lives on")
    opened.wait_for("message", content="it lives on")


@line("ws-error-02")
def an_error_names_the_request(s):
    alice, _, room = pair(s)
    opened = live(alice, room)
    opened.send("ack", room_id=room, seq=99, request_id="r-1")
    equal(opened.wait_for("error")["request_id"], "r-1")


if __name__ == "__main__":
    main()
