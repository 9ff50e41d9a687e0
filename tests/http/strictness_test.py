#!/usr/bin/env python3
"""Each row of strictness.py against a running node: directly, in one packet and byte by byte, and behind nginx and
haproxy. Behind a proxy the rows have no verdict of their own (it may mend a request, or refuse it itself); what must
hold is that node and proxy agree where each request ends:

- the client gets as many answers as the proxy says it answered, the node gave as many as the proxy says it passed on
- another client that shares the connection to the node gets its own answer after every row
- a canary was executed only if the proxy passed it on as a request of its own

By hand: PARLEY_BIN=build/release/bin/parley tests/http/strictness_test.py -v [StrictnessTest.test_behind_nginx]
"""

import collections
import contextlib
import json
import re
import socketserver
import sys
import threading
import time
import unittest

from node import WITHIN, BadAnswer, Node, await_that, connect, take_answer, take_answers
from proxies import Proxy
from strictness import CLOSED, MAX_BATCH_BODY, MAX_BODY, OPEN, ROOM, ROWS, UPGRADED

CODES = {400: "VALIDATION_ERROR", 401: "AUTHENTICATION_ERROR", 404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED",
         413: "PAYLOAD_TOO_LARGE", 415: "UNSUPPORTED_MEDIA_TYPE", 426: "UPGRADE_REQUIRED"}
BYTEWISE_MAX = 1500
HANGS = 0.6  # seconds without a byte: a proxy waits for the rest of what it takes for a body


class Script:
    """What is sent for a row: the parts, and the names by which its canary and its end are known."""

    def __init__(self, row, key, way):
        self.row = row
        number = ROWS.index(row)
        self.canary = f"canary {number} {way}"
        self.end = f"end-{number}"
        body = ROOM[:-1] + f',"name":"{self.canary}"}}'
        canary = (f"POST /v1/rooms?{self.canary.replace(' ', '-')} HTTP/1.1\r\nHost: node\r\nX-API-Key: {key}\r\n"
                  f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}")
        end = f"GET /livez HTTP/1.1\r\nHost: node\r\nConnection: close\r\nX-Request-Id: {self.end}\r\n\r\n"
        self.is_inside = callable(row.raw)
        raw = row.raw(canary) if self.is_inside else row.raw
        parts = [raw] if isinstance(raw, str) else list(raw)
        parts[-1] += end if self.is_inside else canary + end
        self.parts = [part.replace("<KEY>", key).encode("latin-1") for part in parts]

    def expected(self):
        statuses = list(self.row.answers)
        if self.row.then == OPEN:
            statuses += ([] if self.is_inside else [201]) + [200]
        return statuses


class Exchange:
    """One connection: sends parts, collects all that comes until its end."""

    def __init__(self, address):
        self.stream = connect(address)
        self.data = b""
        self.was_reset = False
        self.is_ended = False

    def close(self):
        self.stream.close()

    def send(self, data, bytewise=False):
        try:
            for piece in ([data[i:i + 1] for i in range(len(data))] if bytewise else [data]):
                self.stream.sendall(piece)
        except OSError:
            self.was_reset = True

    def read(self, within):
        """False: nothing came in time, or nothing more will come."""
        self.stream.settimeout(within)
        try:
            data = self.stream.recv(1 << 18)
        except TimeoutError:
            return False
        except OSError:
            self.was_reset = True
            data = b""
        self.data += data
        self.is_ended = not data
        return bool(data)

    def read_answers(self, to_head, done=lambda answers: False, within=WITHIN):
        """All answers up to the end of the stream, or until `done`, or until nothing comes."""
        while True:
            answers, rest = take_answers(self.data, to_head)
            if done(answers) or not self.read(within):
                answers, rest = take_answers(self.data, to_head)
                return answers, rest


class StrictnessTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.node = cls.stack.enter_context(Node(max_body=f"{MAX_BODY // 1024}KiB", max_batch_body=f"{MAX_BATCH_BODY // 1024}KiB"))

    @classmethod
    def tearDownClass(cls):
        cls.stack.close()

    # ── Directly ────────────────────────────────────────────────────────────────────────────────────────────────────

    def ask(self, script, bytewise):
        exchange = Exchange(self.node.address)
        with contextlib.closing(exchange):
            for number, part in enumerate(script.parts):
                exchange.send(part, bytewise)
                if number + 1 < len(script.parts):  # the next one waits for an answer
                    exchange.read_answers(script.row.to_head, lambda answers: answers)
            answers, rest = exchange.read_answers(script.row.to_head)
            return answers, rest, exchange

    def check_row(self, script, bytewise):
        row = script.row
        answers, rest, exchange = self.ask(script, bytewise)
        statuses = [a.status for a in answers]
        expected = script.expected()
        if bytewise:  # whether a body had begun to come is chance then
            statuses, expected = ([s for s in seen if s != 100] for seen in (statuses, expected))
        self.assertEqual(statuses, expected)
        self.assertTrue(exchange.is_ended, "the connection is still open")
        # Whoever says `close` and goes on sending may see a reset, behind the answer.
        says_close = row.then == CLOSED and statuses[-1] < 400 or bytewise
        self.assertFalse(exchange.was_reset and not says_close, "a reset may destroy the answer")
        if row.then != UPGRADED:
            self.assertEqual(rest, b"")
        final = [a for a in answers if a.status >= 200 or a.status == 101]
        for number, answer in enumerate(final):
            self.check_answer(answer, is_last=number + 1 == len(final), to_head=row.to_head and number == 0)
        ids = [a.headers["x-request-id"] for a in final]
        self.assertEqual(len(set(ids)), len(ids))
        if row.then == OPEN:
            self.assertEqual(ids[-1], script.end)
        for name, value in (row.has or {}).items():
            if value == "…":
                self.assertRegex(final[0].headers[name], r"^[0-9a-f]{16}$")
            else:
                self.assertEqual(final[0].headers.get(name), value, name)

    def check_answer(self, answer, is_last, to_head):
        headers = answer.headers
        self.assertRegex(headers["date"], r"^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$")
        self.assertRegex(headers["x-request-id"], r"^[A-Za-z0-9._-]{1,64}$")
        self.assertNotIn("transfer-encoding", headers)
        if answer.status in (101, 204):
            self.assertNotIn("content-length", headers)
        options = [o.strip() for o in headers.get("connection", "").split(",")]
        self.assertEqual("close" in options, is_last and answer.status != 101)
        if answer.status >= 400 and not to_head:
            error = json.loads(answer.body)["error"]
            self.assertEqual(error["code"], CODES[answer.status])
            self.assertEqual(error["request_id"], headers["x-request-id"])
        if answer.status == 405:
            self.assertIn("allow", headers)
        if to_head and answer.status != 204:
            self.assertGreater(int(headers["content-length"]), 0)

    def run_directly(self, way, rows, bytewise):
        begun = time.monotonic()
        for row in rows:
            with self.subTest(row.why, rule=row.rule):
                self.check_row(Script(row, self.node.key, way), bytewise)
        expected = {Script(r, "", way).canary for r in rows if r.then == OPEN and not callable(r.raw)}
        executed = {name for name in self.node.room_names() if name and name.endswith(f" {way}")}
        self.assertEqual(executed, expected, "canaries that were executed, and those that had to be")
        print(f"{way}: {len(rows)} rows ({sum(r.then == CLOSED for r in rows)} that end the connection), "
              f"{len(executed)} canaries served, {time.monotonic() - begun:.1f} s", file=sys.stderr)

    def test_directly(self):
        self.run_directly("whole", ROWS, bytewise=False)

    def test_byte_by_byte(self):
        rows = [r for r in ROWS if sum(map(len, Script(r, self.node.key, "bytewise").parts)) <= BYTEWISE_MAX]
        self.assertGreater(len(rows), 400)
        self.run_directly("bytewise", rows, bytewise=True)

    # ── Behind a proxy ──────────────────────────────────────────────────────────────────────────────────────────────

    def ask_behind(self, proxy, script):
        exchange = Exchange(proxy.address)
        with contextlib.closing(exchange):
            for number, part in enumerate(script.parts):
                exchange.send(part)
                if number + 1 < len(script.parts):
                    exchange.read_answers(script.row.to_head, lambda answers: answers, HANGS)
            with contextlib.suppress(BadAnswer):
                exchange.read_answers(script.row.to_head, within=HANGS)
            return count_answers(exchange.data, script.row.to_head), exchange.is_ended

    def probe(self, proxy, number):
        """Another client: whose answer does it get?"""
        stream = connect(proxy.address)
        with contextlib.closing(stream):
            mine = f"probe-{number}"
            stream.sendall(f"GET /livez?{mine} HTTP/1.1\r\nHost: node\r\nX-Request-Id: {mine}\r\n\r\n".encode())
            data = b""
            answer = None
            while answer is None:
                if not (more := stream.recv(65536)):
                    self.fail(f"the probe got no answer: {data!r}")
                data += more
                answer, _ = take_answer(data)
            self.assertEqual((answer.status, answer.headers.get("x-request-id")), (200, mine), "somebody else's answer")
        return mine

    def check_row_behind(self, proxy, number, script):
        """What became of the row."""
        proxy.begin_row()
        answers, is_ended = self.ask_behind(proxy, script)
        mine = self.probe(proxy, number)

        def counted():
            logged = proxy.requests()
            probes = [r for r in logged if f"?{mine} " in r[2]]
            others = [r for r in logged if r not in probes]
            return probes and (others, proxy.tap.answers - len(probes))

        def agree():
            seen = counted()
            if not seen:
                return False
            others, by_node = seen
            if not is_ended:  # the client broke off a request that both were waiting for: its answer goes to nobody
                return answers <= len(others) and by_node <= len(others)
            return answers == len(others) and by_node == sum(r[1] for r in others)

        with contextlib.suppress(TimeoutError):
            await_that(agree, 2)
        others, by_node = counted() or ([], None)
        self.assertTrue(agree(), f"the client got {answers} answers, the node gave {by_node}, the proxy tells of {others}")
        canary = script.canary.replace(" ", "-")
        is_passed = any(canary in line and status == 201 and by_node for status, by_node, line in others)
        first = others[0] if others else (0, False, "")
        return is_passed, "hung" if not is_ended else "refused by the proxy" if not first[1] else \
            "refused by the node" if first[0] >= 400 else "served"

    def run_behind(self, kind):
        begun = time.monotonic()
        outcomes = collections.Counter()
        passed = set()
        with Proxy(kind, self.node.address) as proxy:
            for number, row in enumerate(ROWS):
                script = Script(row, self.node.key, kind)
                with self.subTest(row.why, rule=row.rule, behind=kind):
                    is_passed, outcome = self.check_row_behind(proxy, number, script)
                    outcomes[outcome] += 1
                    if is_passed:
                        passed.add(script.canary)
            self.assertTrue(proxy.process.is_running(), proxy.process.said())
        executed = {Script(row, "", kind).canary for row in ROWS} & set(self.node.room_names())
        self.assertEqual(executed, passed, "canaries that were executed, and those that the proxy passed on")
        print(f"behind {kind}: {len(ROWS)} rows, " + ", ".join(f"{n} {what}" for what, n in sorted(outcomes.items())) +
              f"; {len(executed)} canaries passed on and served; {time.monotonic() - begun:.1f} s", file=sys.stderr)
        self.assertGreater(outcomes["served"], 100)
        self.assertGreater(outcomes["refused by the node"], 40)

    def test_behind_nginx(self):
        self.run_behind("nginx")

    def test_behind_haproxy(self):
        self.run_behind("haproxy")

    def test_behind_haproxy_relaxed(self):
        self.run_behind("haproxy relaxed")

    # ── Of the runner itself ────────────────────────────────────────────────────────────────────────────────────────

    def test_a_node_that_sees_other_requests_than_the_proxy_is_found(self):
        rows = [r for r in ROWS if r.why in ("a canary in the body of a GET", "a canary in a chunk")]
        self.assertEqual(len(rows), 2)
        for kind in ("nginx", "haproxy"):
            with LooseNode() as loose, Proxy(kind, loose.address) as proxy:
                self.check_row_behind(proxy, 0, Script(ROWS[0], self.node.key, "loose"))
                for row in rows:
                    with self.assertRaises(AssertionError, msg=f"{row.why} behind {kind}"):
                        self.check_row_behind(proxy, 1, Script(row, self.node.key, "loose"))


class LooseNode:
    """Answers whatever looks like a request, also in a body of a GET."""

    REQUEST = re.compile(rb"([A-Z]+) /[^ ]* HTTP/1\.1\r\n.*?\r\n\r\n", re.DOTALL)

    def __enter__(self):
        loose = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                data = b""
                with contextlib.suppress(OSError):
                    while more := self.request.recv(65536):
                        data += more
                        while found := loose.REQUEST.search(data):
                            data = data[found.end():]
                            fields = re.search(rb"(?i)X-Request-Id: ([^\r]*)", found[0])
                            identity = fields[1] if fields else b"none"
                            status = b"201 Created" if found[1] == b"POST" else b"200 OK"
                            self.request.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nX-Request-Id: " +
                                                 identity + b"\r\n\r\n")

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = self.server.server_address
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def count_answers(data, to_head):
    """Final answers in what a proxy sent; a proxy's own refusal of a HEAD may have a body."""
    count = 0
    while data:
        try:
            answer, rest = take_answer(data, to_head and count == 0)
            if answer is not None and answer.body == b"" and rest and not rest.startswith(b"HTTP/1.1 "):
                answer, rest = take_answer(data)
        except (BadAnswer, KeyError, ValueError):
            return count
        if answer is None:
            return count
        count += answer.status >= 200 or answer.status == 101
        if answer.status == 101:
            return count
        data = rest
    return count


if __name__ == "__main__":
    unittest.main()
