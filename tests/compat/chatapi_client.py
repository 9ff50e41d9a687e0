"""A client of ChatAPI as one writes it from ChatAPI's documents: its paths, headers, field names and frames, and nothing else.

It knows nothing of Parley, so what works here works for scripts and products that were written for ChatAPI. Threads of the
caller see plain calls; one event loop in the background holds all WebSockets.
"""
import asyncio
import http.client
import json
import queue
import threading
import time
import urllib.parse

import websockets

ABSENT = object()  # a field that is not sent, where None would be null


class Answer:
    """What the server said to one REST call."""

    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.text = response.read().decode()

    @property
    def json(self):
        return json.loads(self.text)

    def __repr__(self):
        return f"{self.status} {self.text[:500]}"


class ChatAPI:
    """REST. `user_id` is who acts, `master_key` the operator's; a call without them leaves the header out."""

    def __init__(self, address, api_key=None, user_id=None, master_key=None):
        self.address = address
        self.api_key = api_key
        self.user_id = user_id
        self.master_key = master_key

    def as_user(self, user_id):
        return ChatAPI(self.address, self.api_key, user_id)

    def headers(self):
        given = {"X-API-Key": self.api_key, "X-User-Id": self.user_id, "X-Master-Key": self.master_key}
        return {name: value for name, value in given.items() if value is not None}

    def request(self, method, path, body=ABSENT, query=None, headers=None, raw=None):
        """`raw` is sent as it is instead of `body`; `headers` replace the client's own (None leaves one out)."""
        sent = {**self.headers(), **(headers or {})}
        payload = raw
        if body is not ABSENT:
            payload = json.dumps(body)
        if payload is not None:
            sent.setdefault("Content-Type", "application/json")
        if query:
            path += "?" + urllib.parse.urlencode(query)
        connection = http.client.HTTPConnection(self.address, timeout=20)
        try:
            connection.request(method, path, payload, {k: v for k, v in sent.items() if v is not None})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    # ---- the endpoints

    def rooms(self, **query):
        return self.request("GET", "/rooms", query=query)

    def create_room(self, type, members, **fields):
        return self.request("POST", "/rooms", {"type": type, "members": members, **fields})

    def room(self, room_id):
        return self.request("GET", f"/rooms/{room_id}")

    def members(self, room_id, **query):
        return self.request("GET", f"/rooms/{room_id}/members", query=query)

    def send(self, room_id, content, **fields):
        return self.request("POST", f"/rooms/{room_id}/messages", {"content": content, **fields})

    def messages(self, room_id, **query):
        return self.request("GET", f"/rooms/{room_id}/messages", query=query)

    def ack(self, room_id, seq):
        return self.request("POST", "/acks", {"room_id": room_id, "seq": seq})

    def notify(self, topic, payload, targets):
        return self.request("POST", "/notify", {"topic": topic, "payload": payload, "targets": targets})

    def ws_token(self):
        return self.request("POST", "/ws/token")

    def health(self):
        return self.request("GET", "/health")

    def metrics(self):
        return self.request("GET", "/metrics")

    def create_tenant(self, name, **fields):
        return self.request("POST", "/admin/tenants", {"name": name, **fields})

    def dead_letters(self, **query):
        return self.request("GET", "/admin/dead-letters", query=query)

    # ---- WebSocket

    def connect(self, **options):
        """As a server client does: key and user in headers."""
        return Socket(f"ws://{self.address}/ws", self.headers(), **options)

    def connect_by_query(self):
        """The user in the query, the key in its header."""
        query = urllib.parse.urlencode({"user_id": self.user_id})
        return Socket(f"ws://{self.address}/ws?{query}", {"X-API-Key": self.api_key})

    def connect_with_token(self, token, **options):
        """As a browser does: nothing but the token."""
        return Socket(f"ws://{self.address}/ws?token={token}", {}, **options)


class Refused(Exception):
    """The upgrade was answered with another status than 101."""

    def __init__(self, status):
        super().__init__(f"the upgrade was refused with {status}")
        self.status = status


class Closed(Exception):
    """The server closed the WebSocket, or cut it (1006)."""

    def __init__(self, code, reason):
        super().__init__(f"closed with {code} {reason}")
        self.code = code
        self.reason = reason


class Socket:
    """A WebSocket. Frames are kept in the order in which they came, until somebody takes them."""

    open_sockets = set()
    _loop = None

    def __init__(self, url, headers, origin=None):
        self.frames = []  # all that were taken, for looking back
        self._came = queue.Queue()
        self._end = None
        try:
            # The library answers pings, offers compression and keeps no heartbeat of its own here.
            self.ws = self._run(lambda: websockets.connect(
                url, extra_headers=headers, origin=origin, ping_interval=None, open_timeout=20))
        except websockets.exceptions.InvalidStatusCode as refusal:
            raise Refused(refusal.status_code) from None
        Socket.open_sockets.add(self)
        asyncio.run_coroutine_threadsafe(self._read(), self._loop)

    @classmethod
    def _run(cls, begin):
        """The result of what `begin` starts on the loop."""
        if cls._loop is None:
            cls._loop = asyncio.new_event_loop()
            threading.Thread(target=cls._loop.run_forever, daemon=True).start()

        async def wait():
            return await begin()

        return asyncio.run_coroutine_threadsafe(wait(), cls._loop).result(30)

    async def _read(self):
        try:
            async for text in self.ws:
                self._came.put(json.loads(text))
        except websockets.exceptions.ConnectionClosed:
            pass
        self._came.put(Closed(self.ws.close_code, self.ws.close_reason))

    def send_text(self, text):
        self._run(lambda: self.ws.send(text))

    def send(self, type, **fields):
        """Flat, as in all of ChatAPI's examples."""
        self.send_text(json.dumps({"type": type, **fields}))

    def send_nested(self, type, **fields):
        """As in ChatAPI's section on the protocol."""
        self.send_text(json.dumps({"type": type, "data": fields}))

    def receive(self, within=10):
        """The next frame. Raises Closed at the end, and TimeoutError."""
        if self._end is not None:
            raise self._end
        try:
            frame = self._came.get(timeout=within)
        except queue.Empty:
            raise TimeoutError(f"no frame within {within} s; before: {self.frames[-5:]}") from None
        if isinstance(frame, Closed):
            self._end = frame
            raise frame
        self.frames.append(frame)
        return frame

    def wait_for(self, type, within=10, **fields):
        """The next frame of that type with those fields; others that come before are passed over, as clients do."""
        deadline = time.monotonic() + within
        while True:
            frame = self.receive(max(0.0, deadline - time.monotonic()))
            if frame.get("type") == type and all(frame.get(k) == v for k, v in fields.items()):
                return frame

    def wait_for_close(self, within=10):
        deadline = time.monotonic() + within
        try:
            while True:
                self.receive(max(0.0, deadline - time.monotonic()))
        except Closed as end:
            return end

    def taken(self, type, **fields):
        """Of the frames taken so far, those of that type with those fields."""
        return [f for f in self.frames
                if f.get("type") == type and all(f.get(k) == v for k, v in fields.items())]

    def close(self):
        Socket.open_sockets.discard(self)
        self._run(self.ws.close)
