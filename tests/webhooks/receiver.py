"""A tenant's side: an HTTP/1.1 server that keeps every delivery and behaves as it is told. One thread for all connections."""

import asyncio
import contextlib
import json
import re
import socket
import ssl
import threading
import time

from verifier import verify

WITHIN = 20.0  # seconds: what has not come by then does not come
HEAD_MAX = 64 * 1024


class Reply:
    """What a delivery is answered with. `after` seconds; `hang`: never; `cut`: the connection is closed instead; `drip`: a
    head that goes on for ever, a byte at a time; `endless`: a 200 whose body does."""

    def __init__(self, status=204, headers=None, body=b"", after=0.0, hang=False, cut=False, drip=False, endless=False,
                 close=False):
        self.status, self.headers, self.body, self.after = status, headers or {}, body, after
        self.hang, self.cut, self.drip, self.endless, self.close = hang, cut, drip, endless, close


class Delivery:
    def __init__(self, endpoint, connection, method, target, headers, body):
        self.endpoint, self.connection, self.method, self.target = endpoint, connection, method, target
        self.headers, self.body, self.at = headers, body, time.time()
        self.id = headers.get("webhook-id", "")
        self.problems = []
        self.json, self.data = {}, {}
        try:
            self.json = dict(json.loads(body))
            self.data = dict(self.json.get("data", {}))
        except (ValueError, TypeError):
            self.problems.append(f"the body is no event: {body[:200]!r}")
        self.type = self.json.get("type") or self.json.get("event")
        self.message = self.data.get("message") or self.json.get("message") or {}
        if method != "POST":
            self.problems.append(f"{method} instead of POST")
        if headers.get("content-type") != "application/json":
            self.problems.append(f"content-type {headers.get('content-type')!r}")
        for secret in endpoint.secrets:
            if wrong := verify(headers, body, secret):
                self.problems.append(wrong)

    def __repr__(self):
        return f"{self.id} {self.type} {self.body[:300]!r}"


class Endpoint:
    """One URL. `answer`: a Reply, a status, or a function of the delivery that gives one; `script`: Replies for the first
    deliveries, one each. `secrets`: with each of them every delivery must verify."""

    def __init__(self, receiver, name, secrets=()):
        self.receiver, self.name, self.secrets = receiver, name, list(secrets)
        self.url = f"{'https' if receiver.tls else 'http'}://127.0.0.1:{receiver.port}/{name}"
        self.deliveries, self.answer, self.script = [], 204, []
        self.open = 0  # requests that have no answer yet
        self.open_max = 0

    def reply(self, delivery):
        answer = self.script.pop(0) if self.script else self.answer
        answer = answer(delivery) if callable(answer) else answer
        return Reply(answer) if isinstance(answer, int) else answer

    def of(self, type=None, **message):
        """Deliveries of that type whose message has these fields."""
        return [d for d in list(self.deliveries) if (type is None or d.type == type) and
                all(d.message.get(k) == v for k, v in message.items())]

    def wait(self, condition, within=WITHIN, what="it"):
        """Until `condition()` is true; its value. Looks again at each delivery."""
        deadline = time.monotonic() + within
        with self.receiver.came:
            while not (value := condition()):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"{what} did not come within {within} s; {self.name} got {list(self.deliveries)[-5:]}")
                self.receiver.came.wait(min(left, 0.2))
        return value

    def wait_for(self, type, count=1, within=WITHIN, **message):
        return self.wait(lambda: (got := self.of(type, **message)) and len(got) >= count and got, within,
                         f"{count} × {type} {message or ''}")

    def problems(self):
        return [f"{d.id}: {p}" for d in list(self.deliveries) for p in d.problems]


class Connection(asyncio.Protocol):
    def __init__(self, receiver):
        self.receiver, self.data, self.busy = receiver, b"", False

    def connection_made(self, transport):
        self.transport = transport
        self.number = self.receiver.connections = self.receiver.connections + 1

    def connection_lost(self, _):
        self.transport = None

    def data_received(self, data):
        self.data += data
        self.take()

    def take(self):
        while not self.busy and self.transport is not None:
            head, end, rest = self.data.partition(b"\r\n\r\n")
            if not end:
                if len(self.data) > HEAD_MAX:
                    self.transport.abort()
                return
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {}
            for line in lines:
                name, _, value = line.partition(":")
                name = name.lower()
                headers[name] = f"{headers[name]}, twice: {value.strip()}" if name in headers else value.strip()
            size = int(headers.get("content-length", "0"))
            if len(rest) < size:
                return
            body, self.data = rest[:size], rest[size:]
            method, target, version = first.split(" ")
            self.deliver(method, target, version, headers, body)

    def deliver(self, method, target, version, headers, body):
        endpoint = self.receiver.endpoints.get(target.split("?")[0].strip("/"))
        if endpoint is None:
            self.receiver.strays.append((method, target))
            self.write(Reply(404))
            return
        delivery = Delivery(endpoint, self.number, method, target, headers, body)
        if version != "HTTP/1.1" or headers.get("host") != f"127.0.0.1:{self.receiver.port}":
            delivery.problems.append(f"{version}, host {headers.get('host')!r}")
        with self.receiver.came:
            endpoint.deliveries.append(delivery)
            endpoint.open += 1
            endpoint.open_max = max(endpoint.open_max, endpoint.open)
            reply = endpoint.reply(delivery)
            self.receiver.came.notify_all()
        self.busy = True

        def answer():
            self.busy = False
            endpoint.open -= 1
            self.write(reply)
            self.take()

        if reply.hang:
            return
        if reply.after:
            self.receiver.loop.call_later(reply.after, answer)
        else:
            answer()

    def write(self, reply):
        if self.transport is None:
            return
        if reply.cut:
            self.transport.abort()
            return
        head = f"HTTP/1.1 {reply.status} As told\r\n" + "".join(f"{k}: {v}\r\n" for k, v in reply.headers.items())
        if reply.drip:
            self.drip((head + "X-Long: ").encode(), b"x", 0.01)
        elif reply.endless:
            self.drip((head + f"Content-Length: {1 << 40}\r\n\r\n").encode(), b"x" * (1 << 16), 0)
        else:
            head += "" if reply.status == 204 else f"Content-Length: {len(reply.body)}\r\n"
            head += "Connection: close\r\n" if reply.close else ""
            self.transport.write(head.encode() + b"\r\n" + reply.body)
            if reply.close:
                self.transport.close()

    def drip(self, first, more, pause):
        if self.transport is None or self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size() < 1 << 20:
            self.transport.write(first)
        self.receiver.loop.call_later(pause, self.drip, more, more, pause)


class Receiver:
    """`with Receiver() as receiver:` on a free port. Endpoints are named by their path. `tls`: a (certificate, key)."""

    def __init__(self, tls=None):
        self.tls = None
        if tls:
            self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.tls.load_cert_chain(*tls)
        self.endpoints, self.strays, self.connections, self.came = {}, [], 0, threading.Condition()

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.loop = asyncio.new_event_loop()
        started = threading.Event()

        def serve():
            asyncio.set_event_loop(self.loop)
            self.server = self.loop.run_until_complete(
                self.loop.create_server(lambda: Connection(self), sock=self.listener, backlog=1024, ssl=self.tls))
            self.loop.call_soon(started.set)
            self.loop.run_forever()
            self.server.close()

        self.thread = threading.Thread(target=serve, daemon=True)
        self.thread.start()
        started.wait()
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        with contextlib.suppress(OSError):
            self.listener.close()

    def endpoint(self, name, secrets=()):
        assert re.fullmatch(r"[a-z0-9-]+", name) and name not in self.endpoints
        self.endpoints[name] = Endpoint(self, name, secrets)
        return self.endpoints[name]


class Refusing:
    """A port on which nobody listens, and nobody else can: connections are refused."""

    def __enter__(self):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/refusing"
        return self

    def __exit__(self, *_):
        self.socket.close()
