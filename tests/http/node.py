"""A real node for the tests of this folder ($PARLEY_BIN), and connections that send exactly the bytes they are given."""

import contextlib
import http.client
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

MASTER_KEY = "master-key-of-the-tests-0123456789"
WITHIN = 10.0  # seconds: what has not come by then does not come


def await_that(condition, within=WITHIN, what="it"):
    """Polls until `condition()` is true; its value."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {within} s")
        time.sleep(0.002)
    return value


class Process:
    """A child that never outlives the test; what it writes goes to a file."""

    def __init__(self, command, output, env=None):
        self.output = pathlib.Path(output)
        with self.output.open("ab") as into:
            self.child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.DEVNULL,
                                          stdout=into, stderr=into, env=env)

    @property
    def pid(self):
        return self.child.pid

    def said(self):
        return self.output.read_text(errors="replace")

    def is_running(self):
        return self.child.poll() is None

    def stop(self):
        if self.is_running():
            self.child.terminate()
            try:
                self.child.wait(WITHIN)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


class Node:
    """`with Node(request_timeout="3s") as node:` — on a free port, in a directory of its own, with one tenant."""

    def __init__(self, **config):
        self.config = {"listen_addr": "127.0.0.1:0", "log_format": "json", "drain_delay": "0s", "herd_window": "0s",
                       "default_rate_limit": "0", "auth_failure_rate": "0", "user_send_rate": "0", **config}

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        folder = pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="parley-http-")))
        env = {k: v for k, v in os.environ.items() if not k.startswith("PARLEY_")}
        env["PARLEY_MASTER_API_KEY"] = MASTER_KEY
        command = [os.environ["PARLEY_BIN"], "serve", "--set", f"data_dir={folder / 'data'}"]
        for key, value in self.config.items():
            command += ["--set", f"{key}={value}"]
        self.process = Process(command, folder / "log", env)
        self.stack.callback(self.process.stop)
        try:
            host, port = await_that(self._listening, 30, "the node's address").rsplit(":", 1)
        except BaseException:
            self.stack.close()
            raise
        self.address = (host, int(port))
        made = self.call("POST", "/v1/admin/tenants", {"name": "http"}, {"X-Master-Key": MASTER_KEY})
        self.key = made["api_key"]
        return self

    def __exit__(self, *_):
        self.stack.close()

    def _listening(self):
        if not self.process.is_running():
            raise RuntimeError("the node ended instead of listening:\n" + self.process.said())
        for line in self.process.said().splitlines():
            with contextlib.suppress(ValueError):
                if (entry := json.loads(line)).get("msg") == "listening":
                    return entry["address"]
        return None

    def call(self, method, target, body=None, headers=None):
        """An ordinary request of the tenant's backend; what the answer's JSON says."""
        connection = http.client.HTTPConnection(*self.address, timeout=WITHIN)
        with contextlib.closing(connection):
            fields = {"X-API-Key": self.key} if headers is None else headers
            if body is not None:
                fields = {**fields, "Content-Type": "application/json"}
            connection.request(method, target, json.dumps(body) if body is not None else None, fields)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {target}: {answer.status} {text!r}")
            return json.loads(text)

    def room_names(self):
        """The names of all rooms of the tenant."""
        names, cursor = [], ""
        while True:
            page = self.call("GET", f"/v1/rooms?limit=100{cursor}")
            names += [room["name"] for room in page["rooms"]]
            if page["next_cursor"] is None:
                return names
            cursor = f"&cursor={page['next_cursor']}"

    def resident_kib(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise RuntimeError("no such process")


def connect(address):
    """`address`: (host, port), or the path of a Unix socket."""
    if isinstance(address, tuple):
        stream = socket.create_connection(address, timeout=WITHIN)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return stream
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(WITHIN)
    try:
        stream.connect(str(address))
    except OSError:
        stream.close()
        raise
    return stream


class BadAnswer(Exception):
    """Bytes that are no HTTP answer."""


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body  # names in lower case

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body!r}"


def take_answer(data, to_head=False):
    """(the first answer in `data`, what follows it); (None, data) when it is not complete. Strict."""
    end = data.find(b"\r\n\r\n")
    if not data.startswith(b"HTTP/1.1 "[:len(data)]):
        raise BadAnswer(data[:200])
    if end < 0:
        return None, data
    first, *lines = data[:end].decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(": ")
        if not colon or name.lower() in headers:
            raise BadAnswer(line)
        headers[name.lower()] = value
    status = int(first[9:12])
    rest = data[end + 4:]
    if to_head or status < 200 or status in (204, 304):
        return Answer(status, headers, b""), rest
    if headers.get("transfer-encoding") == "chunked":  # a proxy's
        body = b""
        while True:
            line, found, after = rest.partition(b"\r\n")
            size = int(line, 16) if found else 0
            if not found or len(after) < size + 2:
                return None, data
            body += after[:size]
            rest = after[size + 2:]
            if size == 0:
                return Answer(status, headers, body), rest
    length = int(headers["content-length"])
    if len(rest) < length:
        return None, data
    return Answer(status, headers, rest[:length]), rest[length:]


def take_answers(data, to_head=False):
    """All answers in `data`, the first of them to a HEAD or not, and what is left. After a 101 nothing is an answer."""
    answers = []
    while data:
        final = sum(a.status >= 200 for a in answers)
        answer, data = take_answer(data, to_head and final == 0)
        if answer is None:
            break
        answers.append(answer)
        if answer.status == 101:
            break
    return answers, data
