#!/usr/bin/env python3
"""ChatAPI's WebSocket as documented: who may connect, frames in both forms, order, replay, heartbeat, the end."""
import json
import os
import re
import socket
import threading
import time

from chatapi_client import ChatAPI, Refused, Socket
from harness import equal, has_integer, has_string, line, main, true

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$")
FOREIGN = "https://elsewhere.example.com"


def pair(s, **env):
    """Alice, Bob and their dm."""
    alice, bob = s.users("alice", "bob", **env)
    return alice, bob, alice.create_room("dm", ["alice", "bob"]).json["room_id"]


def live(client, room, **options):
    """A socket of this client that shows what happens in `room`: it has seen a message of its own there."""
    opened = client.connect(**options)
    opened.send("send_message", room_id=room, content="I am here")
    opened.wait_for("message", room_id=room, sender_id=client.user_id, content="I am here")
    return opened


def refused_with(status, connect):
    try:
        connect()
    except Refused as refusal:
        equal(refusal.status, status)
        return
    raise AssertionError(f"connected, where {status} was due")


# ---- who may connect


@line("ws-auth-01")
def a_server_connects_with_key_and_user_in_headers(s):
    alice, _, room = pair(s)
    live(alice, room)


@line("ws-auth-02")
def a_server_connects_with_the_user_in_the_query(s):
    alice, bob, room = pair(s)
    opened = bob.connect_by_query()
    alice.send(room, "Hello")
    opened.wait_for("message", content="Hello", sender_id="alice")


@line("ws-auth-03")
def a_bad_key_or_no_user_is_refused_before_the_upgrade(s):
    (alice,) = s.users("alice")
    refused_with(401, ChatAPI(alice.address, "sk_wrong", "alice").connect)
    refused_with(401, ChatAPI(alice.address, alice.api_key).connect)


@line("ws-auth-04")
def a_key_in_the_query_does_not_work(s):
    (alice,) = s.users("alice")
    refused_with(401, lambda: Socket(f"ws://{alice.address}/ws?api_key={alice.api_key}&user_id=alice", {}))


@line("ws-origin-01")
def a_listed_origin_may_connect(s):
    alice, _, room = pair(s, WS_ALLOWED_ORIGINS="https://a.example.com, https://chat.example.com")
    live(alice, room, origin="https://chat.example.com")
    refused_with(403, lambda: alice.connect(origin=FOREIGN))


@line("ws-origin-02")
def a_star_lets_every_origin_connect(s):
    alice, _, room = pair(s, WS_ALLOWED_ORIGINS="*")
    live(alice, room, origin=FOREIGN)


@line("ws-origin-03")
def without_a_list_only_the_nodes_own_host_may_connect(s):
    alice, _, room = pair(s)
    refused_with(403, lambda: alice.connect(origin=FOREIGN))
    live(alice, room, origin=f"http://{alice.address}")


@line("ws-limit-01")
def a_sixth_connection_of_a_user_is_closed_with_1008(s):
    alice, _, room = pair(s)
    five = [live(alice, room) for _ in range(5)]
    end = alice.connect().wait_for_close()
    equal((end.code, end.reason), (1008, "RATE_LIMIT_EXCEEDED"))
    five[0].send("send_message", room_id=room, content="still here")
    for one in five:
        one.wait_for("message", content="still here")


@line("ws-limit-02")
def two_sockets_of_one_user_both_show_everything(s):
    alice, bob, room = pair(s)
    sockets = [live(bob, room), live(bob, room)]
    alice.send(room, "Hello")
    for one in sockets:
        one.wait_for("message", content="Hello")


@line("ws-limit-03")
def a_flood_of_frames_ends_the_connection(s):
    alice, bob, room = pair(s)
    flood = alice.connect()
    for _ in range(90):
        try:
            flood.send("subscribe", room_id=room)
        except Exception:  # closed meanwhile
            break
    end = flood.wait_for_close()
    equal((end.code, end.reason), (4029, "RATE_LIMIT_EXCEEDED"))
    live(alice, room)


@line("ws-limit-04")
def a_message_that_is_too_big_is_an_error_frame(s):
    alice, _, room = pair(s)
    opened = live(alice, room)
    opened.send("send_message", room_id=room, content="x" * 16385)
    equal(opened.wait_for("error")["code"], "VALIDATION_ERROR")
    opened.send("send_message", room_id=room, content="x" * 16384)
    opened.wait_for("message", content="x" * 16384)


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
    for type, fields in (("typing.start", {}), ("typing.stop", {}), ("ack", {"seq": 2}), ("subscribe", {})):
        speaker.send_nested(type, room_id=room, **fields)
    speaker.wait_for("subscribed", room_id=room)
    equal(speaker.taken("error"), [])
    listener.wait_for("typing", user_id="alice", action="stop")


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
    speaker.send("typing.stop", room_id=room)
    equal(listener.wait_for("typing")["action"], "start")
    equal(listener.wait_for("typing")["action"], "stop")


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


# ---- what was missed, and order


@line("ws-replay-01")
def what_was_missed_comes_in_order_on_connect(s):
    alice, bob, room = pair(s)
    for n in range(5):
        alice.send(room, str(n))
    bob.ack(room, 2)
    opened = bob.connect()
    equal([opened.wait_for("message")["seq"] for _ in range(3)], [3, 4, 5])
    alice.send(room, "live")
    equal(opened.wait_for("message")["seq"], 6)


@line("ws-replay-02")
def all_rooms_of_a_user_are_subscribed(s):
    alice, bob, room = pair(s)
    group = alice.create_room("group", ["alice", "bob"]).json["room_id"]
    opened = bob.connect()
    for one in (room, group):
        alice.send(one, f"in {one}")
        opened.wait_for("message", room_id=one, content=f"in {one}")
    new = alice.create_room("dm", ["bob", "carol"]).json["room_id"]
    opened.wait_for("room.added")  # made while Bob is connected: live all the same
    alice.as_user("carol").send(new, "new here")
    opened.wait_for("message", room_id=new, content="new here")


@line("ws-replay-03")
def what_was_not_acked_comes_again_with_the_same_id(s):
    alice, bob, room = pair(s)
    sent = alice.send(room, "x").json["message_id"]
    for _ in range(3):
        opened = bob.connect()
        equal(opened.wait_for("message")["message_id"], sent)
        opened.close()


@line("ws-replay-04")
def of_very_many_missed_the_newest_come(s):
    alice, bob, room = pair(s, PARLEY_SYNC_MAX_EVENTS="3")
    for n in range(6):
        alice.send(room, str(n))
    opened = bob.connect()
    gap = opened.wait_for("sync.complete", room_id=room)
    equal((gap["outcome"], gap["from_seq"], gap["to_seq"]), ("gap", 1, 3))
    equal([opened.wait_for("message")["seq"] for _ in range(3)], [4, 5, 6])


@line("ws-replay-05")
def state_is_kept_over_a_disconnect_and_a_restart(s):
    node = s.own_node()
    alice = node.tenant().as_user("alice")
    bob = alice.as_user("bob")
    room = alice.create_room("dm", ["alice", "bob"]).json["room_id"]
    opened = live(bob, room)
    opened.send("ack", room_id=room, seq=1)
    opened.wait_for("ack.received")
    opened.close()
    alice.send(room, "missed")
    node.signal()
    equal(node.exit_status(), 0)
    node.start()
    bob.address = node.address
    again = bob.connect()
    equal(again.wait_for("message")["content"], "missed")


@line("ws-order-01")
def all_readers_see_one_order_and_each_message_once(s):
    names = ("alice", "bob", "carol")
    people = s.users(*names)
    room = people[0].create_room("group", list(names)).json["room_id"]
    sockets = [one.connect() for one in people]
    senders = [threading.Thread(target=lambda w=w: [w.send("send_message", room_id=room, content=str(n)) for n in range(15)])
               for w in sockets]
    for one in senders:
        one.start()
    for one in senders:
        one.join(20)
    seen = [[w.wait_for("message")["message_id"] for _ in range(45)] for w in sockets]
    equal(seen[0], seen[1])
    equal(seen[0], seen[2])
    equal([m["seq"] for m in sockets[0].taken("message")], list(range(1, 46)))


@line("ws-order-02")
def seqs_of_messages_may_leave_numbers_out(s):
    alice, bob, room = pair(s)
    opened = live(bob, room)
    first = alice.send(room, "x").json["message_id"]
    equal(alice.request("PATCH", f"/rooms/{room}/messages/{first}", {"content": "y"}).status, 200)
    alice.send(room, "z")
    opened.wait_for("message", content="z")
    equal([m["seq"] for m in opened.taken("message")], [1, 2, 4])


# ---- heartbeat, the end


class RawSocket:
    """The bytes themselves: what a WebSocket library does by itself does not happen here."""

    def __init__(self, client):
        host, port = client.address.rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)), timeout=20)
        head = ["GET /ws HTTP/1.1", f"Host: {client.address}", "Upgrade: websocket", "Connection: Upgrade",
                "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        head += [f"{name}: {value}" for name, value in client.headers().items()]
        self.sock.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        self.stream = self.sock.makefile("rb")
        status = self.stream.readline().decode()
        true(" 101 " in status, status)
        while self.stream.readline() not in (b"\r\n", b""):
            pass

    def frame(self):
        """(opcode, payload); None when the connection is cut."""
        head = self.stream.read(2)
        if len(head) < 2:
            return None
        size = head[1] & 127
        if size >= 126:
            size = int.from_bytes(self.stream.read(2 if size == 126 else 8), "big")
        return head[0] & 15, self.stream.read(size)

    def send(self, opcode, payload):
        mask = os.urandom(4)
        self.sock.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask +
                          bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)))

    def close(self):
        self.stream.close()
        self.sock.close()


PING, CLOSE, PONG = 9, 8, 10


@line("ws-heartbeat-01")
def the_server_pings_and_keeps_who_answers(s):
    (alice,) = s.users("alice", PARLEY_WS_PING_INTERVAL="1s")
    raw = RawSocket(alice)
    pings = 0
    while pings < 3:
        opcode, payload = raw.frame()
        true(opcode != CLOSE, f"closed with {payload}, although every ping was answered")
        if opcode == PING:
            pings += 1
            raw.send(PONG, payload)
    raw.close()


@line("ws-heartbeat-02")
def who_is_silent_for_two_intervals_is_closed(s):
    (alice,) = s.users("alice", PARLEY_WS_PING_INTERVAL="1s")
    raw = RawSocket(alice)
    opcode, payload = raw.frame()
    while opcode != CLOSE:
        opcode, payload = raw.frame()
    equal(int.from_bytes(payload[:2], "big"), 4009)
    raw.close()


@line("ws-heartbeat-03")
def the_intervals_are_30_and_60_seconds(s):
    (alice,) = s.users("alice")
    equal(alice.connect().wait_for("hello")["heartbeat_ms"], 30000)


@line("ws-end-01")
def a_graceful_stop_is_announced(s):
    node = s.own_node()
    alice = node.tenant().as_user("alice")
    opened = alice.connect()
    opened.wait_for("hello")
    node.signal()
    frame = opened.wait_for("server.shutdown")
    has_integer(frame, "reconnect_after_ms")
    true(0 <= frame["reconnect_after_ms"] <= 5000, frame)
    equal(opened.wait_for_close().code, 1012)
    equal(node.exit_status(), 0)


@line("ws-end-02")
def a_client_that_reads_nothing_does_not_hold_up_the_end(s):
    node = s.own_node(SHUTDOWN_DRAIN_TIMEOUT="10s")
    raw = RawSocket(node.tenant().as_user("alice"))
    equal(raw.frame()[0], 1)
    node.signal()
    equal(node.exit_status(9), 0)
    raw.close()


@line("ws-end-03")
def what_the_server_closes_has_a_code_and_a_reason(s):
    alice, _, room = pair(s)
    raw = RawSocket(alice)
    raw.send(2, b"binary")
    opcode, payload = raw.frame()
    while opcode != CLOSE:
        opcode, payload = raw.frame()
    equal((int.from_bytes(payload[:2], "big"), payload[2:]), (1003, b"UNSUPPORTED_MEDIA_TYPE"))
    raw.close()


if __name__ == "__main__":
    main()
