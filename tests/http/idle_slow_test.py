#!/usr/bin/env python3
"""Ten thousand HTTP connections that say nothing, and ten thousand that stop within a head: what they cost, that others
are served meanwhile, and that each is closed at its deadline. Prints the figures. Takes a minute and a half.

By hand: PARLEY_BIN=build/release/bin/parley tests/http/idle_slow_test.py -v
"""

import contextlib
import json
import os
import pathlib
import resource
import selectors
import statistics
import sys
import time
import unittest

from node import Node, connect, take_answer

CONNECTIONS = int(os.environ.get("PARLEY_IDLE_CONNECTIONS", "10000"))
IDLE_TIMEOUT = 60.0  # docs/http.md
REQUEST_TIMEOUT = 10.0  # the default
SENDS = 300
LATE = 15.0  # a busy machine


class Herd:
    def __init__(self, address, stack, first=b""):
        self.selector = selectors.DefaultSelector()
        stack.callback(self.selector.close)
        self.opened = time.monotonic()
        for _ in range(CONNECTIONS):
            stream = stack.enter_context(contextlib.closing(connect(address)))
            if first:
                stream.sendall(first)
            stream.setblocking(False)
            self.selector.register(stream, selectors.EVENT_READ, [b""])
        self.all_open = time.monotonic()
        self.ended = []
        self.said = []

    def await_bytes(self, count):
        """Until `count` bytes have come on each."""
        while any(len(key.data[0]) < count for key in self.selector.get_map().values()):
            self.turn(1)

    def turn(self, within):
        for key, _ in self.selector.select(within):
            try:
                more = key.fileobj.recv(65536)
            except ConnectionResetError:
                more = b""
            key.data[0] += more
            if not more:
                self.ended.append(time.monotonic())
                self.said.append(key.data[0])
                self.selector.unregister(key.fileobj)


class IdleTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if hard < CONNECTIONS + 100:
            raise RuntimeError(f"{CONNECTIONS} connections need as many descriptors; there are {hard}")

    def sends(self, node, herd=None):
        """Durable sends on one connection, while the others are held: milliseconds each."""
        room = node.call("POST", "/v1/rooms", {"type": "group", "members": ["ann"]})["room_id"]
        body = json.dumps({"sender_id": "ann", "content": "hello"})
        request = (f"POST /v1/rooms/{room}/messages HTTP/1.1\r\nHost: node\r\nX-API-Key: {node.key}\r\n"
                   f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode()
        took = []
        with contextlib.closing(connect(node.address)) as stream:
            for _ in range(SENDS):
                begun = time.monotonic()
                stream.sendall(request)
                data, answer = b"", None
                while answer is None:
                    data += stream.recv(65536)
                    answer, _ = take_answer(data)
                took.append((time.monotonic() - begun) * 1000)
                self.assertEqual(answer.status, 201)
                if herd:
                    herd.turn(0)
        return took

    def await_end(self, herd, since, timeout):
        while herd.selector.get_map():
            self.assertLess(time.monotonic() - herd.all_open, timeout + LATE, f"{len(herd.ended)} were closed")
            herd.turn(0.5)
        early = herd.ended[0] - since
        late = herd.ended[-1] - herd.all_open
        self.assertGreater(early, timeout - 0.5)
        return f"closed from {early:.1f} s after the first to {late:.1f} s after the last"

    def hold(self, what, first, timeout, reply_bytes=0):
        with contextlib.ExitStack() as stack:
            node = stack.enter_context(Node())
            alone = statistics.quantiles(self.sends(node), n=100)
            before = node.resident_kib()
            herd = Herd(node.address, stack, first)
            took_ms = (herd.all_open - herd.opened) * 1000
            since = herd.opened
            if reply_bytes:
                herd.await_bytes(reply_bytes)
            held = node.resident_kib()
            sends = self.sends(node, herd)
            end = self.await_end(herd, since, timeout)
            if not reply_bytes:
                self.assertEqual(set(herd.said), {b""}, "closed without a word")
            self.assertEqual(len(node.call("GET", "/v1/rooms")["rooms"]), 2)
            after = node.resident_kib()
        percentiles = statistics.quantiles(sends, n=100)
        each = (held - before) * 1024 / CONNECTIONS
        print(f"{CONNECTIONS} connections {what}: opened in {took_ms:.0f} ms, {each:.0f} bytes of RSS each "
              f"({before} → {held} KiB, {after} KiB after their end); {SENDS} sends meanwhile: p50 {percentiles[49]:.2f} ms, "
              f"p99 {percentiles[98]:.2f} ms, max {max(sends):.2f} ms (alone: p50 {alone[49]:.2f} ms, p99 {alone[98]:.2f} ms); {end}",
              file=sys.stderr)
        self.assertLess(percentiles[49], 100, "sends are slow while the connections are held")
        return each

    def assert_costs(self, each, most):
        sanitized = b"__asan_init" in pathlib.Path(os.environ["PARLEY_BIN"]).read_bytes()  # it keeps what was freed
        self.assertLess(each, most * (10 if sanitized else 1), "bytes a connection")

    def test_idle_ones_are_held_and_closed_at_idle_timeout(self):
        self.assert_costs(self.hold("idle", b"", IDLE_TIMEOUT), 2048)

    def test_idle_ones_after_a_request_are_held_and_closed_at_idle_timeout(self):
        request = b"GET /livez HTTP/1.1\r\nHost: node\r\n\r\n"
        self.assert_costs(self.hold("idle after a request", request, IDLE_TIMEOUT, reply_bytes=100), 2048)

    def test_ones_within_a_head_are_held_and_closed_at_request_timeout(self):
        self.assert_costs(self.hold("within a head", b"GET /livez HTTP/1.1\r\nHost: no", REQUEST_TIMEOUT), 8192)


if __name__ == "__main__":
    unittest.main()
