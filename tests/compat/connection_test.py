#!/usr/bin/env python3
"""A connection to ChatAPI's WebSocket: who may have one, how many, how it is kept, how it ends."""
import os
import socket

from chatapi_client import ChatAPI, Socket
from harness import equal, has_integer, line, main, true
from words import FOREIGN, live, pair, refused_with


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
