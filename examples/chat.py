#!/usr/bin/env python3
"""A terminal chat for one room of a Parley node: needs Python 3.8 and nothing else.

    python3 examples/chat.py --url ws://127.0.0.1:8080 --key sk_... --room ROOM_ID alice

Lines that you type are sent; what others send is printed. It acknowledges what it has shown, so after a break the node
sends what was missed. Ctrl-D or Ctrl-C ends it. An API key belongs on servers, not in front ends: this is for trying.
"""
import argparse
import base64
import json
import os
import socket
import struct
import sys
import threading
import urllib.parse
import uuid

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class WebSocket:
    """The client's side of RFC 6455, as far as a chat needs it."""

    def __init__(self, url, headers):
        where = urllib.parse.urlsplit(url)
        port = where.port or 80
        self.sock = socket.create_connection((where.hostname, port), timeout=10)
        self.lock = threading.Lock()
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {where.path or '/'} HTTP/1.1", f"Host: {where.netloc}", "Upgrade: websocket",
                 "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.stream = self.sock.makefile("rb")
        status = self.stream.readline().decode("latin-1").split(" ", 2)
        length = 0
        for line in iter(self.stream.readline, b"\r\n"):
            if not line:
                raise ConnectionError("closed during the handshake")
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if status[1] != "101":
            raise ConnectionError(f"refused with {status[1]}: {self.stream.read(length).decode(errors='replace')}")
        self.sock.settimeout(None)

    def send(self, opcode, payload):
        mask = os.urandom(4)
        size = len(payload)
        head = bytes([0x80 | opcode])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 65536:
            head += struct.pack("!BH", 0x80 | 126, size)
        else:
            head += struct.pack("!BQ", 0x80 | 127, size)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        with self.lock:  # the keyboard and the reader both write
            self.sock.sendall(head + mask + masked)

    def send_json(self, value):
        self.send(TEXT, json.dumps(value).encode())

    def read(self, size):
        data = self.stream.read(size)
        if len(data) < size:
            raise ConnectionError("the connection was lost")
        return data

    def receive(self):
        """The next message; the node does not fragment. None after a close frame."""
        while True:
            first, size = self.read(2)
            if size == 126:
                (size,) = struct.unpack("!H", self.read(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", self.read(8))
            payload = self.read(size)
            opcode = first & 15
            if opcode == PING:
                self.send(PONG, payload)
            elif opcode == CLOSE:
                code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005
                print(f"* closed: {code} {payload[2:].decode(errors='replace')}")
                self.send(CLOSE, payload[:2])
                return None
            elif opcode == TEXT:
                return json.loads(payload)


def show(ws, frame, me, room):
    kind = frame.get("type")
    if kind == "hello":
        print(f"* connected as {frame.get('user_id', me)}")
    elif kind == "error":
        print(f"* error {frame.get('code')}: {frame.get('message')}")
    elif kind == "server.shutdown":
        print("* the node is going down")
    elif frame.get("room_id") != room:
        return
    elif kind == "message":
        print(f"{frame['sender_id']}: {frame['content']}")
    elif kind in ("message.edited", "message.deleted", "member.joined", "member.left"):
        print(f"* {kind}")
    elif kind == "presence.update":
        print(f"* {frame['user_id']} is {frame['status']}")
    if "seq" in frame and kind not in ("message.accepted", "ack.received", "read.received", "sync.complete"):
        ws.send_json({"type": "ack", "room_id": room, "seq": frame["seq"]})


def printable(text):
    """What others write must not steer this terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def listen(ws, me, room):
    try:
        while (frame := ws.receive()) is not None:
            for name in ("content", "sender_id", "message"):
                if isinstance(frame.get(name), str):
                    frame[name] = printable(frame[name])
            show(ws, frame, me, room)
    except (ConnectionError, OSError) as error:
        print(f"* {error}")
    os._exit(1)


def main():
    parser = argparse.ArgumentParser(description="A terminal chat for one room.")
    parser.add_argument("--url", default="ws://127.0.0.1:8080", help="the node, ws://host:port")
    parser.add_argument("--key", default=os.environ.get("PARLEY_API_KEY"), help="the tenant's API key (or PARLEY_API_KEY)")
    parser.add_argument("--room", required=True, help="the room's id")
    parser.add_argument("user", help="who you are, such as alice")
    options = parser.parse_args()
    if not options.key:
        parser.error("an API key is needed: --key or PARLEY_API_KEY")
    try:
        ws = WebSocket(options.url.rstrip("/") + "/ws", {"X-API-Key": options.key, "X-User-Id": options.user})
    except OSError as error:
        sys.exit(f"{options.url}: {error}")
    threading.Thread(target=listen, args=(ws, options.user, options.room), daemon=True).start()
    try:
        for line in sys.stdin:
            if line.strip():
                ws.send_json({"type": "send_message", "room_id": options.room, "content": line.rstrip("\n"),
                              "client_msg_id": str(uuid.uuid4())})
        ws.send(CLOSE, struct.pack("!H", 1000))
    except (KeyboardInterrupt, OSError):
        pass


if __name__ == "__main__":
    main()
