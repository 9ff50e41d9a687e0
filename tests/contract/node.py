"""A real node ($PARLEY_BIN) with its callers, and the two ways to talk to it. Every answer and frame is handed to `watch`, so
that a test can look at each byte that anybody received."""

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(os.environ.get("PARLEY_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BINARY = os.environ.get("PARLEY_BIN", str(ROOT / "build/release/bin/parley"))
MASTER_KEY = "master-key-of-the-contract-tests-0123"
WITHIN = 15.0  # seconds: what has not come by then does not come

# Tests start at once, ask as much as they like, and fail to authenticate on purpose.
QUICK = {"listen_addr": "127.0.0.1:0", "log_format": "json", "log_level": "info", "drain_delay": "0s", "herd_window": "0s",
         "durability": "normal", "default_rate_limit": "0", "user_send_rate": "0", "ws_frame_rate": "0",
         "auth_failure_rate": "0", "reconnect_window": "500ms"}


def await_that(condition, within=WITHIN, what="it"):
    """Polls until `condition()` is true; its value."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {within} s")
        time.sleep(0.002)
    return value


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body  # header names in lower case

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:600]!r}"


class Node:
    """`with Node(sync_max_events=5) as node:` on a free port, in a directory of its own."""

    def __init__(self, binary=BINARY, **config):
        self.binary, self.config = binary, {**QUICK, **{k: str(v) for k, v in config.items()}}
        self.watch = None  # (caller, bytes sent, bytes received)
        self.child = None
        self.http = {}

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.folder = pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="parley-contract-")))
        self.log = self.folder / "log"
        self.stack.callback(self.stop)
        try:
            self.start()
        except BaseException:
            self.stack.close()
            raise
        self.operator = Caller(self, "operator", {"X-Master-Key": MASTER_KEY})
        self.nobody = Caller(self, "nobody", {})
        return self

    def start(self):
        """Until it listens. Again after an end: on the same data and another port."""
        self.launch()
        host, port = await_that(self._listening, 60, "the node's address").rsplit(":", 1)
        self.address = (host, int(port))

    def launch(self):
        """The same without waiting."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("PARLEY_") or k == "PARLEY_BREAK"}
        env["PARLEY_MASTER_API_KEY"] = MASTER_KEY
        command = [self.binary, "serve", "--set", f"data_dir={self.folder / 'data'}"]
        for key, value in self.config.items():
            command += ["--set", f"{key}={value}"]
        self.log_from = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as into:
            self.child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.DEVNULL,
                                          stdout=into, stderr=into, env=env)

    def __exit__(self, *_):
        self.stack.close()

    def _listening(self):
        if self.child.poll() is not None:
            raise RuntimeError("the node ended instead of listening:\n" + self.log.read_text(errors="replace"))
        for line in self.log.read_bytes()[self.log_from:].decode(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                if (entry := json.loads(line)).get("msg") == "listening":
                    return entry["address"]
        return None

    def signal(self, number=signal.SIGTERM):
        self.child.send_signal(number)

    def hang_up(self):
        for connection in self.http.values():
            connection.close()
        self.http.clear()

    def kill(self):
        """SIGKILL, and its end."""
        self.hang_up()
        self.child.kill()
        self.child.wait()

    def stop(self):
        """Gracefully; its exit status."""
        self.hang_up()
        if self.child is None:
            return None
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(WITHIN)
            except subprocess.TimeoutExpired:
                self.child.kill()
        return self.child.wait()

    def request(self, method, target, headers=(), body=None, watch=None, fresh=False):
        """Exactly this, on a kept connection."""
        connection = None if fresh else self.http.get("main")
        for attempt in (1, 2):
            if connection is None:
                connection = http.client.HTTPConnection(*self.address, timeout=WITHIN)
                connection.connect()
                connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                connection.putrequest(method, target, skip_accept_encoding=True)
                if body is not None:
                    connection.putheader("Content-Length", str(len(body)))
                for name, value in dict(headers).items():
                    connection.putheader(name, value.encode() if isinstance(value, str) else value)
                connection.endheaders(body)
                got = connection.getresponse()
                data = got.read()
                break
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                connection.close()  # it was closed between two requests
                connection = None
                if attempt == 2:
                    raise
        answer = Answer(got.status, {}, data)
        for name, value in got.getheaders():
            if name.lower() in answer.headers:
                raise AssertionError(f"{name} twice in the answer to {method} {target}")
            answer.headers[name.lower()] = value
        if got.will_close or got.status == 101:
            connection.close()
            self.http.pop("main", None)
        elif not fresh:
            self.http["main"] = connection
        if fresh:
            connection.close()
        if self.watch and watch is not None:
            sent = f"{target} {dict(headers)}".encode() + (body or b"")
            self.watch(watch, sent, str(answer.headers).encode() + data)
        return answer

    def tenant(self, name, config=None):
        made = self.operator.call("POST", "/v1/admin/tenants", {"name": name, "config": config})
        if made.status != 201:
            raise AssertionError(made)
        return Tenant(self, made.json)


class Tenant:
    def __init__(self, node, made):
        self.node, self.made, self.id, self.key = node, made, made["tenant_id"], made["api_key"]
        self.backend = Caller(node, "backend", {"X-API-Key": self.key}, self)

    def user(self, name):
        return Caller(self.node, "user", {"X-API-Key": self.key, "X-User-Id": name}, self, name)

    def jwt(self, name, seconds=3600, **claims):
        """A token of the tenant for that user."""
        def part(value):
            return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")
        signed = part({"alg": "HS256", "typ": "JWT", "kid": self.id}) + b"." + part(
            {"sub": name, "exp": int(time.time()) + seconds, **claims})
        mac = hmac.new(self.made["jwt_secret"].encode(), signed, hashlib.sha256).digest()
        return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()

    def bearer(self, name):
        return Caller(self.node, "token", {"Authorization": "Bearer " + self.jwt(name)}, self, name)


class Caller:
    """Somebody with a credential. `kind`: nobody, operator, backend, user, token."""

    def __init__(self, node, kind, headers, tenant=None, user=None):
        self.node, self.kind, self.headers, self.tenant, self.user = node, kind, headers, tenant, user

    def __repr__(self):
        return f"{self.kind}({self.tenant.made['name'] if self.tenant else ''}, {self.user})"

    def call(self, method, target, body=None, headers=None, raw=None, fresh=False):
        """`body` as JSON, or `raw` bytes as they are."""
        fields = {**self.headers}
        if body is not None:
            raw = json.dumps(body).encode()
        if raw is not None:
            fields["Content-Type"] = "application/json"
        fields.update(headers or {})
        return self.node.request(method, target, {k: v for k, v in fields.items() if v is not None}, raw, watch=self,
                                 fresh=fresh)

    def socket(self, query="sync=manual", path="/v1/ws", headers=None, protocol=None):
        return Socket(self, f"{path}?{query}" if query else path, headers or {}, protocol)


class Refused(Exception):
    """The upgrade was answered with something else than 101."""

    def __init__(self, answer):
        super().__init__(repr(answer))
        self.answer = answer


class Closed(Exception):
    def __init__(self, code, reason):
        super().__init__(f"closed with {code} {reason}")
        self.code, self.reason = code, reason


def quoted(text):
    """A path segment or query value."""
    return urllib.parse.quote(text, safe="")


class Socket:
    """A WebSocket, blocking, with a deadline on everything. `check`, if set, sees every frame before the test does."""

    check = None

    def __init__(self, caller, target, headers, protocol):
        self.caller, self.node = caller, caller.node
        self.stream = socket.create_connection(self.node.address, timeout=WITHIN)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {target} HTTP/1.1", f"Host: {self.node.address[0]}:{self.node.address[1]}", "Upgrade: websocket",
                 "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        if protocol:
            lines.append(f"Sec-WebSocket-Protocol: {protocol}")
        lines += [f"{k}: {v}" for k, v in {**caller.headers, **headers}.items() if v is not None]
        self.stream.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.data, self.sent, self.waiting, self.closed = b"", "\n".join(lines).encode(), [], None
        while b"\r\n\r\n" not in self.data:
            self._more(time.monotonic() + WITHIN)
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").split("\r\n")
        self.headers = {n.lower(): v for n, _, v in (f.partition(": ") for f in fields)}
        self.status = int(first.split()[1])
        if self.status != 101:
            want = int(self.headers.get("content-length", "0"))
            while len(self.data) < want:
                self._more(time.monotonic() + WITHIN)
            self.stream.close()
            answer = Answer(self.status, self.headers, self.data)
            if self.node.watch:
                self.node.watch(caller, self.sent, str(self.headers).encode() + self.data)
            raise Refused(answer)
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        if self.headers.get("sec-websocket-accept") != accept.decode():
            raise AssertionError("a wrong Sec-WebSocket-Accept")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _more(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self.stream], [], [], left)[0]:
            raise TimeoutError("no more bytes came")
        got = self.stream.recv(1 << 16)
        if not got:
            raise Closed(self.closed or 1006, "")
        self.data += got

    def _write(self, opcode, payload):
        mask = os.urandom(4)
        head = bytes([0x80 | opcode])
        if len(payload) < 126:
            head += bytes([0x80 | len(payload)])
        elif len(payload) < 65536:
            head += bytes([0x80 | 126]) + struct.pack(">H", len(payload))
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", len(payload))
        pad = (mask * (len(payload) // 4 + 1))[:len(payload)]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(len(payload), "big")
        self.stream.sendall(head + mask + masked)

    def _frame(self):
        """(opcode, payload), or None when none is complete."""
        if len(self.data) < 2:
            return None
        size, at = self.data[1] & 127, 2
        if size == 126:
            if len(self.data) < 4:
                return None
            size, at = struct.unpack(">H", self.data[2:4])[0], 4
        elif size == 127:
            if len(self.data) < 10:
                return None
            size, at = struct.unpack(">Q", self.data[2:10])[0], 10
        if len(self.data) < at + size:
            return None
        opcode, payload = self.data[0] & 15, self.data[at:at + size]
        self.data = self.data[at + size:]
        return opcode, payload

    def send(self, frame):
        """A dict, or text as it is."""
        text = frame if isinstance(frame, str) else json.dumps(frame, ensure_ascii=False)
        payload = text.encode()
        self.sent += payload
        if len(self.sent) > 1 << 16:
            self.sent = self.sent[-(1 << 16):]
        self._write(1, payload)

    def send_binary(self, payload):
        self._write(2, payload)

    def receive(self, within=WITHIN):
        """The next frame; raises Closed or TimeoutError."""
        deadline = time.monotonic() + within
        while True:
            frame = self._frame()
            if frame is None:
                self._more(deadline)
                continue
            opcode, payload = frame
            if opcode == 9:
                self._write(10, payload)
            elif opcode == 8:
                self.closed = struct.unpack(">H", payload[:2])[0] if payload else 1005
                raise Closed(self.closed, payload[2:].decode())
            elif opcode == 1:
                if self.node.watch:
                    self.node.watch(self.caller, self.sent, payload)
                value = json.loads(payload)
                if Socket.check:
                    Socket.check(value)
                return value

    def until(self, claim, within=WITHIN):
        """The first frame of that type, or for which the function is true; those before it wait for later calls."""
        fits = claim if callable(claim) else (lambda f: f.get("type") == claim)
        for at, frame in enumerate(self.waiting):
            if fits(frame):
                return self.waiting.pop(at)
        deadline = time.monotonic() + within
        while True:
            frame = self.receive(max(0.0, deadline - time.monotonic()))
            if fits(frame):
                return frame
            self.waiting.append(frame)

    def ask(self, frame, **fields):
        """Sends with a request id of its own; the one reply."""
        self.asked = getattr(self, "asked", 0) + 1
        frame = {**frame, **fields, "request_id": f"ask-{self.asked}"}
        self.send(frame)
        return self.until(lambda f: f.get("request_id") == frame["request_id"])

    def until_closed(self, within=WITHIN):
        """The close code and reason; frames before it are kept."""
        deadline = time.monotonic() + within
        try:
            while True:
                self.waiting.append(self.receive(max(0.0, deadline - time.monotonic())))
        except Closed as end:
            return end.code, end.reason

    def close(self):
        with contextlib.suppress(OSError):
            if self.closed is None:
                self._write(8, struct.pack(">H", 1000))
        self.stream.close()
