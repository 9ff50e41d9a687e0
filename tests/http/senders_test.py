#!/usr/bin/env python3
"""Clients that send a thousand requests at once, a byte a second, or nothing: each against a running node.

By hand: PARLEY_BIN=build/release/bin/parley tests/http/senders_test.py -v
"""

import contextlib
import json
import selectors
import sys
import time
import unittest

from node import WITHIN, Node, connect, take_answer

REQUEST_TIMEOUT = 3.0
PIPELINED = 1000


def read_answers(stream, count):
    answers, data = [], b""
    while len(answers) < count:
        answer, data = take_answer(data)
        if answer is not None:
            answers.append(answer)
            continue
        if not (more := stream.recv(1 << 18)):
            raise AssertionError(f"the stream ended behind {len(answers)} answers")
        data += more
    return answers, data


class SendersTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.node = cls.stack.enter_context(Node(request_timeout=f"{REQUEST_TIMEOUT:.0f}s"))

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    def post(self, path, body, request_id):
        text = json.dumps(body)
        return (f"POST {path} HTTP/1.1\r\nHost: node\r\nX-API-Key: {self.node.key}\r\nX-Request-Id: {request_id}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}").encode()

    def test_a_thousand_pipelined_requests_are_answered_in_order(self):
        room = self.node.call("POST", "/v1/rooms", {"type": "group", "members": ["ann"]})["room_id"]
        requests = b""
        for n in range(PIPELINED):
            if n % 2 == 0:
                body = {"sender_id": "ann", "content": f"number {n}"}
                requests += self.post(f"/v1/rooms/{room}/messages", body, f"n{n}")
            else:
                requests += f"GET /livez HTTP/1.1\r\nHost: node\r\nX-Request-Id: n{n}\r\n\r\n".encode()
        begun = time.monotonic()
        with contextlib.closing(connect(self.node.address)) as stream:
            stream.sendall(requests)
            answers, rest = read_answers(stream, PIPELINED)
        took = time.monotonic() - begun
        self.assertEqual(rest, b"")
        self.assertEqual([a.headers["x-request-id"] for a in answers], [f"n{n}" for n in range(PIPELINED)])
        self.assertEqual([json.loads(a.body)["seq"] for a in answers[::2]], list(range(1, PIPELINED // 2 + 1)))
        self.assertEqual([json.loads(a.body)["content"] for a in answers[::2]],
                         [f"number {n}" for n in range(0, PIPELINED, 2)])
        print(f"{PIPELINED} pipelined requests, half of them durable sends: answered in order in {took:.2f} s",
              file=sys.stderr)

    def test_whoever_sends_a_byte_a_second_is_cut_off_at_request_timeout(self):
        make = f"POST /v1/rooms HTTP/1.1\r\nHost: node\r\nX-API-Key: {self.node.key}\r\nContent-Type: application/json\r\n"
        # What comes at once, and what follows by the second.
        slow = {
            "a request line": ("", "GET /livez HTTP/1.1"),
            "a method without end": ("", "GGGGGGGG"),
            "fields": ("GET /livez HTTP/1.1\r\nHost: node\r\n", "X-Slow: y"),
            "a head that lacks its last byte": ("GET /livez HTTP/1.1\r\nHost: node\r\n\r", ""),
            "empty lines": ("\r\n", "\r\n\r\n"),
            "a body": (make + "Content-Length: 34\r\n\r\n", '{"type":"group"'),
            "a body of which nothing comes": (make + "Content-Length: 34\r\n\r\n", ""),
            "a body that lacks its last byte": (make + 'Content-Length: 34\r\n\r\n{"type":"group","members":["ann"]', ""),
            "a chunk's size": (make + "Transfer-Encoding: chunked\r\n\r\n", "0000000"),
            "a chunk's extension": (make + "Transfer-Encoding: chunked\r\n\r\n1;x=", "yyyyyyy"),
            "a chunk": (make + "Transfer-Encoding: chunked\r\n\r\n22\r\n", '{"type":"gr'),
            "a chunk a second": (make + "Transfer-Encoding: chunked\r\n\r\n", ["1\r\nx\r\n"] * 8),
            "trailers": (make + "Transfer-Encoding: chunked\r\n\r\n0\r\n", "X: yyyyyyyy"),
            "a body behind an expectation": (make + "Expect: 100-continue\r\nContent-Length: 34\r\n\r\n", '{"type":"gr'),
            "a handshake": ("GET /v1/ws HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\n", "Upgrade: websocket"),
            "a second request": ("GET /livez HTTP/1.1\r\nHost: node\r\n\r\nGET ", "/livez HTTP"),
        }
        selector = selectors.DefaultSelector()
        data, ended, begun, streams, left = {}, {}, {}, {}, {}
        with contextlib.ExitStack() as stack:
            other = stack.enter_context(contextlib.closing(connect(self.node.address)))
            for why, (now, later) in slow.items():
                streams[why] = stack.enter_context(contextlib.closing(connect(self.node.address)))
                selector.register(streams[why], selectors.EVENT_READ, why)
                data[why] = b""
                left[why] = list(later)
                begun[why] = time.monotonic()
                streams[why].sendall((now or left[why].pop(0)).encode())
            next_byte, slowest = time.monotonic() + 1, 0.0
            deadline = time.monotonic() + REQUEST_TIMEOUT + WITHIN
            while len(ended) < len(slow):
                self.assertLess(time.monotonic(), deadline, f"never cut off: {set(slow) - set(ended)}")
                for key, _ in selector.select(max(0, min(0.05, next_byte - time.monotonic()))):
                    try:
                        more = key.fileobj.recv(65536)
                    except ConnectionResetError:  # a byte crossed the end
                        more = b""
                    data[key.data] += more
                    if not more:
                        ended[key.data] = time.monotonic() - begun[key.data]
                        selector.unregister(key.fileobj)
                if time.monotonic() >= next_byte:
                    next_byte += 1
                    for why, pieces in left.items():
                        if why not in ended and pieces:
                            with contextlib.suppress(OSError):
                                streams[why].sendall(pieces.pop(0).encode())
                asked = time.monotonic()  # and everybody else is served meanwhile
                other.sendall(b"GET /livez HTTP/1.1\r\nHost: node\r\n\r\n")
                answers, _ = read_answers(other, 1)
                self.assertEqual(answers[0].status, 200)
                slowest = max(slowest, time.monotonic() - asked)
        words = {"a body behind an expectation": b"HTTP/1.1 100 Continue\r\n\r\n"}
        for why, said in data.items():
            with self.subTest(why):
                if why == "a second request":
                    answer, said = take_answer(said)
                    self.assertEqual(answer.status, 200)
                self.assertEqual(said, words.get(why, b""), "cut off without a word")
                self.assertGreater(ended[why], REQUEST_TIMEOUT - 0.05)
        print(f"{len(slow)} slow senders cut off after {min(ended.values()):.2f}–{max(ended.values()):.2f} s "
              f"(request_timeout {REQUEST_TIMEOUT:.0f} s); others answered meanwhile, the slowest in {slowest * 1000:.1f} ms",
              file=sys.stderr)
        self.assertEqual(set(self.node.room_names()) - {None}, set())

    def test_a_slow_but_complete_request_is_answered(self):
        body = b'{"type":"group","members":["ann"]}'
        head = self.post("/v1/rooms", json.loads(body), "slow").split(b"\r\n\r\n")[0] + b"\r\n\r\n"
        with contextlib.closing(connect(self.node.address)) as stream:
            begun = time.monotonic()
            pieces = [head[:20], head[20:], *(bytes([b]) for b in self.post("/v1/rooms", json.loads(body), "slow")[len(head):])]
            for number, piece in enumerate(pieces):
                stream.sendall(piece)
                while time.monotonic() - begun < 2 * (number + 1) / len(pieces):  # two seconds in all: in time
                    time.sleep(0.01)
            answers, _ = read_answers(stream, 1)
            self.assertEqual(answers[0].status, 201)


if __name__ == "__main__":
    unittest.main()
