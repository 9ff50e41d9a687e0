#!/usr/bin/env python3
"""The isolation matrix: every operation and every client frame of the contract × who calls × whose the id is that it names, in
path, body and query. What a caller may not see answers like what does not exist: the same bytes, but for the request id and what
the caller itself sent. And no byte that anybody receives, on REST or WebSocket, holds what is another tenant's. SPEC 2.7.

A new operation or frame without a row here fails.
"""

import collections
import itertools
import sys

from contract import Broken, Documents, Seen, is_later
from node import Caller, Node, Refused, Socket, await_that, quoted
from rest_test import UNKNOWN, Run

GARBAGE = "no-id-at-all"
serial = itertools.count()


class Tenancy:
    """A tenant whose every text is its own: `mark` is in names, contents, metadata, ids and configuration."""

    def __init__(self, node, mark):
        self.node, self.mark = node, mark
        # Nobody listens there: what is sent is given up, until the endpoint rests.
        self.tenant = node.tenant(f"{mark} tenant", {
            "allowed_origins": [f"https://{mark}.example"], "jwt_audience": f"{mark}-aud", "user_topics": [f"{mark} "],
            "webhook_url": f"http://127.0.0.1:9/{mark}", "webhook_events": ["message.created"]})
        self.id, self.backend = self.tenant.id, self.tenant.backend
        self.owner, self.member, self.outsider, self.stranger = (f"{mark}-{r}" for r in ("owner", "member", "outsider", "stranger"))
        self.room, self.message = self.fresh()
        self.key = self.tenant.made["keys"][0]["key_id"]
        self.job = None

    def user(self, name):
        return self.tenant.user(name)

    def token(self, name, **claims):
        return Caller(self.node, "token", {"Authorization": "Bearer " + self.tenant.jwt(name, aud=f"{self.mark}-aud", **claims)},
                      self.tenant, name)

    def dead_letters(self):
        """Ids of events that were given up."""
        path = f"/v1/admin/dead-letters?tenant_id={self.id}"
        return await_that(lambda: [d["id"] for d in self._done(self.node.operator.call("GET", path))["failed_webhooks"]],
                          what="a dead letter")

    def fresh(self, kind="group"):
        """(room, a message of its owner) of a room that may be destroyed."""
        owner = self.user(self.owner)
        made = self._done(owner.call("POST", "/v1/rooms", {
            "type": kind, "members": [self.owner, self.member], "name": f"{self.mark} name", "metadata": {self.mark: f"{self.mark} metadata"}}))
        sent = self._done(owner.call("POST", f"/v1/rooms/{made['room_id']}/messages", {
            "content": f"{self.mark} content", "meta": [f"{self.mark} meta"], "client_msg_id": f"{self.mark}-{next(serial)}"}))
        return made["room_id"], sent["message_id"]

    @staticmethod
    def _done(answer):
        if answer.status >= 300:
            raise Broken(f"setup: {answer!r}")
        return answer.json


class Canaries:
    """Looks at each byte that anybody receives."""

    def __init__(self):
        self.owners, self.bytes, self.looks, self.found = {}, 0, 0, []

    def __call__(self, caller, sent, received):
        self.bytes += len(received)
        self.looks += 1
        if caller.kind == "operator":
            return  # of the operator's answers, some are about a tenant
        for mark, tenant in self.owners.items():
            if caller.tenant is not tenant and mark in received and mark not in sent:
                self.found.append(f"{caller} received {mark!r}: {received[:300]!r}")


# ---- REST: operation → what makes a good call of it, for a room and message that the caller may use.
# Of each: path names besides room and message, body, query. `{}` of the world.
CALLS = {
    "createRoom": lambda w, room, message: {"body": {"type": "group", "members": ["x"]}},
    "listRooms": lambda w, room, message: {},
    "getRoom": lambda w, room, message: {"room": room},
    "updateRoom": lambda w, room, message: {"room": room, "body": {"name": "renamed"}},
    "deleteRoom": lambda w, room, message: {"room": room},
    "listMembers": lambda w, room, message: {"room": room},
    "addMembers": lambda w, room, message: {"room": room, "body": {"user_ids": ["x"]}},
    "updateMember": lambda w, room, message: {"room": room, "user": w.theirs.member, "body": {"role": "admin"}},
    "removeMember": lambda w, room, message: {"room": room, "user": w.theirs.member},
    "joinRoom": lambda w, room, message: {"room": room},
    "leaveRoom": lambda w, room, message: {"room": room},
    "sendMessage": lambda w, room, message: {"room": room, "body": {"content": "x", **w.sender}},
    "listMessages": lambda w, room, message: {"room": room},
    "editMessage": lambda w, room, message: {"room": room, "message": message, "body": {"content": "x"}},
    "deleteMessage": lambda w, room, message: {"room": room, "message": message},
    "listEvents": lambda w, room, message: {"room": room},
    "sendBatch": lambda w, room, message: {"body": {"messages": [{"room_id": room, "content": "x", **w.sender}]}},
    "ack": lambda w, room, message: {"body": {"room_id": room, "seq": 1}},
    "read": lambda w, room, message: {"body": {"room_id": room, "seq": 1}},
    "getPresence": lambda w, room, message: {"query": "user_ids=x"},
    "notify": lambda w, room, message: {"body": {"topic": w.topic(), "payload": w.topic(), "targets": {"room_id": room}}},
    "listSubscriptions": lambda w, room, message: {},
    "subscribeTopic": lambda w, room, message: {"topic": w.topic()},
    "unsubscribeTopic": lambda w, room, message: {"topic": w.topic()},
    "createTicket": lambda w, room, message: {},
    "disconnectUser": lambda w, room, message: {"user": "x"},
    "createTenant": lambda w, room, message: {"body": {"name": "x"}},
    "listTenants": lambda w, room, message: {},
    "getTenant": lambda w, room, message: {"tenant": w.theirs.id},
    "updateTenant": lambda w, room, message: {"tenant": w.theirs.id, "body": {"disabled": False}},
    "deleteTenant": lambda w, room, message: {"tenant": w.victim()},
    "createKey": lambda w, room, message: {"tenant": w.victim(), "body": {"kind": "api_key"}},
    "deleteKey": lambda w, room, message: {"tenant": w.victim(), "key": w.victims_key},
    "exportUser": lambda w, room, message: {"tenant": w.theirs.id, "user": w.theirs.owner},
    "eraseUser": lambda w, room, message: {"tenant": w.victim(), "user": "x"},
    "getJob": lambda w, room, message: {"job": w.job},
    "stats": lambda w, room, message: {},
    "listWebhooks": lambda w, room, message: {},
    "getWebhook": lambda w, room, message: {"tenant": w.theirs.id},
    "testWebhook": lambda w, room, message: {"tenant": w.theirs.id},
    "replayWebhook": lambda w, room, message: {"tenant": w.theirs.id, "body": {"since": "2026-05-01T12:00:00.000Z"}},
    "listDeadLetters": lambda w, room, message: {"query": f"tenant_id={w.theirs.id}"},
    "retryDeadLetter": lambda w, room, message: {"id": w.dead_letter()},
    "deleteDeadLetter": lambda w, room, message: {"id": w.dead_letter()},
}
OPEN = {"livez", "readyz", "health", "metrics", "getOpenapi", "getAsyncapi"}  # the same for everybody
# Which of its places hold the id of a room: an operation with one is tried with each kind of room.
IN_BODY = {"ack", "read", "sendBatch", "notify"}


class World:
    def topic(self):
        """One whose name is its tenant's own, and that users with a token may have."""
        return f"{self.theirs.mark} topic"

    def victim(self):
        """A tenant that may be destroyed; not before it is needed."""
        if not self.may_destroy:
            return "tenant_0000000000000000"
        made = self.node.tenant("victim")
        made.user("x").call("POST", "/v1/rooms", {"type": "channel", "members": ["x"]})  # there is such a user
        self.victims_key = made.made["keys"][0]["key_id"]
        return made.id

    def dead_letter(self):
        """One that may be retried or deleted; not before it is needed."""
        return self.theirs.dead_letters()[0] if self.may_destroy else "x"


def normal(answer, *sent):
    """The answer without what may differ: request id, date, counters of requests, and what the caller sent."""
    body = answer.body
    request_id = answer.headers.get("x-request-id", "")
    for text in (request_id, *sent):
        if text:
            body = body.replace(text.encode(), b"<sent>")
    headers = {k: v for k, v in answer.headers.items() if k not in ("x-request-id", "date", "content-length") and
               not k.startswith("x-ratelimit-")}
    return answer.status, tuple(sorted(headers.items())), body


def verdict_of(operation, who, visible):
    """What the contract says: a status, or None for success."""
    if who.fails:
        return 401
    if (operation.caller == "operator") != (who.caller.kind == "operator"):
        return 401
    if operation.caller == "user" and who.caller.kind == "backend":
        return 400
    if operation.caller == "backend" and who.caller.kind in ("user", "token"):
        return 403
    if operation.caller == "api_key" and who.caller.kind == "token":
        return 403
    return None if visible else 404


class Who:
    """`sees`: the tenancy whose rooms it may use, as a member or the backend; `fails`: the credential is not good."""

    def __init__(self, name, caller, sees=None, fails=False):
        self.name, self.caller, self.sees, self.fails = name, caller, sees, fails


def rest(run, world, people, counts):
    matrix = 0
    for operation in run.operations.values():
        if operation.later or operation.id in OPEN or operation.id == "openWebSocket":
            continue
        if operation.id not in CALLS:
            raise Broken(f"{operation} has no row in the isolation matrix")
        names_a_room = "room" in operation.segments or operation.id in IN_BODY
        for who in people:
            refusals = {}
            rooms = [("own", None), ("foreign", world.other_of(who).room), ("unknown", UNKNOWN), ("garbage", GARBAGE)]
            for whose, room in rooms if names_a_room else rooms[:1]:
                world.theirs = who.sees or world.a
                world.sender = {"sender_id": "x"} if who.caller.kind == "backend" else {}
                message = world.theirs.message
                world.may_destroy = who.caller.kind == "operator"
                visible = whose == "own" and (who.sees is not None or not names_a_room)
                if operation.id == "notify" and whose == "own":
                    visible = who.caller.tenant is world.theirs.tenant  # the backend's right, whomever it acts for
                if whose == "own":
                    room, message = world.theirs.fresh() if who.sees else (world.a.room, world.a.message)
                    if operation.id == "joinRoom" and who.sees:
                        room, message = world.theirs.fresh("channel")
                elif whose == "foreign":
                    message = world.other_of(who).message
                elif names_a_room:
                    message = UNKNOWN
                call = CALLS[operation.id](world, room, message)
                body, query = call.pop("body", None), call.pop("query", "")
                answer = who.caller.call(operation.method, run.target(operation, query, False, call), body)
                run.seen.answer(operation, answer)
                matrix += 1
                expected = verdict_of(operation, who, visible)
                if operation.id == "sendBatch" and expected == 404:
                    result = answer.json["results"][0]
                    if answer.status != 200 or result["status"] != 404:
                        raise Broken(f"{who.name} × {operation} × {whose}: 404 in a result was expected: {answer!r}")
                elif (answer.status if answer.status >= 300 else None) != expected:
                    raise Broken(f"{who.name} × {operation} × {whose}: {expected or 'success'} was expected: {answer!r}")
                counts["rest", str(answer.status)] += 1
                if answer.status >= 300 or expected is not None:
                    refusals[whose] = normal(answer, room, message if names_a_room else "")
            if len(set(refusals.values())) > 1:
                raise Broken(f"{who.name} × {operation}: what may not be seen and what does not exist differ: {refusals}")
    return matrix


def places(run, world, counts):
    """Ids elsewhere than of a room: each pair of a foreign and an unknown one is answered alike."""
    a, b, operator = world.a, world.b, world.node.operator
    owner, backend = a.user(a.owner), a.backend
    room, message = a.fresh()
    number = b.dead_letters()[0].rpartition(".")[2]  # of b: under a's name it is nobody's
    pairs = [
        ("message in the path", owner, "editMessage", {"room": room, "body": {"content": "x"}}, "message", b.message, UNKNOWN, 404),
        ("message in the path", owner, "deleteMessage", {"room": room}, "message", b.message, UNKNOWN, 404),
        ("message of another room", owner, "editMessage", {"room": room, "body": {"content": "x"}}, "message", a.message, UNKNOWN, 404),
        ("reply_to in the body", owner, "sendMessage", {"room": room}, "reply_to", b.message, UNKNOWN, 400),
        ("user in the path", owner, "removeMember", {"room": room}, "user", b.member, "nobody", 404),
        ("user in the path", owner, "updateMember", {"room": room, "body": {"role": "admin"}}, "user", b.member, "nobody", 404),
        ("tenant in the path", backend, "getTenant", {}, "tenant", b.id, "tenant_0000000000000000", 401),
        ("own tenant in the path", backend, "getTenant", {}, "tenant", a.id, "tenant_0000000000000000", 401),
        ("user in the query", owner, "getPresence", {}, "user_ids", b.owner, "nobody", 200),
        ("cursor in the query", b.user(b.owner), "listRooms", {}, "cursor", world.cursor, None, None),
        ("cursor in the query", a.user(a.outsider), "listRooms", {}, "cursor", world.cursor, None, None),
        ("cursor in the query", b.backend, "listRooms", {}, "cursor", world.backend_cursor, None, None),
        ("cursor in the query", b.user(b.owner), "listMembers", {"room": b.room}, "cursor", world.members_cursor, None, None),
        ("user in the path", backend, "disconnectUser", {}, "user", b.owner, "nobody", 200),
        ("key in the path", operator, "deleteKey", {"tenant": a.id}, "key", b.key, "key_0000000000000000", 404),
        ("user in the path", operator, "exportUser", {"tenant": a.id}, "user", b.owner, "nobody", 404),
        ("tenant in the path", backend, "deleteTenant", {}, "tenant", b.id, "tenant_0000000000000000", 401),
        ("tenant in the path", backend, "createKey", {"body": {"kind": "api_key"}}, "tenant", b.id, "tenant_0000000000000000", 401),
        ("job in the path", backend, "getJob", {}, "job", world.job or "x", UNKNOWN, 401),
        ("tenant in the path", backend, "getWebhook", {}, "tenant", b.id, "tenant_0000000000000000", 401),
        ("own tenant in the path", backend, "testWebhook", {}, "tenant", a.id, "tenant_0000000000000000", 401),
        ("tenant in the query", backend, "listDeadLetters", {}, "tenant_id", b.id, "tenant_0000000000000000", 401),
        ("dead letter in the path", operator, "retryDeadLetter", {}, "id", f"{a.id}.{number}", f"{a.id}.999999999", 404),
        ("dead letter in the path", operator, "deleteDeadLetter", {}, "id", f"{a.id}.{number}", f"{a.id}.999999999", 404),
    ]
    tried = 0
    with b.user(b.owner).socket() as live:  # whom a's backend may not disconnect, nor see
        live.until("hello")
        for place, caller, name, call, field, foreign, unknown, expected in pairs:
            if not run.serves(name):
                continue
            answers = []
            for value in (foreign, unknown):
                if value is None:
                    continue
                fields, body, query = dict(call), None, ""
                body = fields.pop("body", None)
                if field in run.operations[name].segments:
                    fields[field] = value
                elif field in ("user_ids", "cursor", "tenant_id"):
                    query = f"{field}={quoted(value)}"
                else:
                    body = {"content": "x", field: value}
                answer = caller.call(run.operations[name].method, run.target(run.operations[name], query, False, fields), body)
                run.seen.answer(run.operations[name], answer)
                if expected is not None and answer.status != expected:
                    raise Broken(f"{place}, {name}: {expected} was expected: {answer!r}")
                answers.append(normal(answer, value))
                counts["places", str(answer.status)] += 1
                tried += 1
            if len(set(answers)) > 1:
                raise Broken(f"{place}, {name}: foreign and unknown differ: {answers}")
        assert live.ask({"type": "ping"})["type"] == "pong"
    # One id in two tenants is two users.
    with b.user("shared").socket() as live:
        live.until("hello")
        seen_by_a = a.backend.call("GET", "/v1/presence?user_ids=shared").json["users"][0]
        if (seen_by_a["status"], seen_by_a["last_seen"]) != ("offline", None):
            raise Broken(f"a sees b's user: {seen_by_a}")
        if run.serves("disconnectUser") and run(a.backend, "disconnectUser", 200, user="shared")["closed"] != 0:
            raise Broken("a closes a connection of b")
        if b.backend.call("GET", "/v1/presence?user_ids=shared").json["users"][0]["status"] != "online":
            raise Broken("b does not see its own user")
        assert live.ask({"type": "ping"})["type"] == "pong"
        tried += 4
    # What is open to all says nothing of anybody.
    for name in sorted(OPEN):
        if run.serves(name):
            for caller in (run.node.nobody, b.user(b.owner)):
                run.seen.answer(run.operations[name], caller.call("GET", "/v1" + run.operations[name].path))
                tried += 1
    # Retry keys are a tenant's own, and a user's.
    for who in (a.user(a.owner), a.user(a.member), b.user(b.owner), b.backend):
        made = who.call("POST", "/v1/rooms", {"type": "channel", "members": ["x"] if who.kind == "backend" else [who.user]},
                        headers={"Idempotency-Key": "shared"})
        if made.status != 201:
            raise Broken(f"the retry key of another: {made!r}")
        counts["places", "201"] += 1
        tried += 1
    return tried


# ---- WebSocket: client frame → a good one, of a room and a message that the caller may use, and its good reply.
FRAMES = {
    "send_message": lambda room, message: ({"room_id": room, "content": "x"}, "message.accepted"),
    "edit_message": lambda room, message: ({"room_id": room, "message_id": message, "content": "x"}, "message.accepted"),
    "delete_message": lambda room, message: ({"room_id": room, "message_id": message}, "message.accepted"),
    "ack": lambda room, message: ({"rooms": {room: 1}}, "ack.received"),
    "read": lambda room, message: ({"room_id": room, "seq": 1}, "read.received"),
    "typing.start": lambda room, message: ({"room_id": room}, "ok"),
    "typing.stop": lambda room, message: ({"room_id": room}, "ok"),
    "sync": lambda room, message: ({"rooms": {room: 0}}, "sync.done"),
    "subscribe": lambda room, message: ({"room_id": room}, "subscribed"),
    "unsubscribe": lambda room, message: ({"room_id": room}, "ok"),
}
WITHOUT_ROOM = {"ping", "presence.set", "auth", "auth.refresh", "notification.ack"}


def normal_frame(frame, *sent):
    text = repr(sorted((k, v) for k, v in frame.items() if k != "request_id" and v not in sent))
    for one in sent:
        text = text.replace(one, "<sent>")
    return text


def websocket(documents, world, people, counts):
    matrix = 0
    for who in people:
        if who.caller.kind not in ("user", "token"):
            try:
                who.caller.socket().close()
            except Refused as refused:
                if refused.answer.status != 401:
                    raise Broken(f"{who.name} opens a WebSocket: {refused.answer!r}") from None
            else:
                if who.caller.kind != "nobody":
                    raise Broken(f"{who.name} opens a WebSocket")
            matrix += 1
            counts["websocket", "upgrade"] += 1
            continue
        if who.fails:
            try:
                who.caller.socket().close()
                raise Broken(f"{who.name} opens a WebSocket")
            except Refused as refused:
                if refused.answer.status != 401:
                    raise Broken(f"{who.name} opens a WebSocket: {refused.answer!r}") from None
            matrix += 1
            counts["websocket", "upgrade"] += 1
            continue
        for type in documents.client_frames:
            if type in documents.later_frames or type in WITHOUT_ROOM:
                continue
            if type not in FRAMES:
                raise Broken(f"the frame {type} has no row in the isolation matrix")
            with who.caller.socket() as socket:
                socket.until("hello")
                refusals = {}
                for whose in ("own", "foreign", "unknown", "garbage"):
                    visible = whose == "own" and who.sees is not None
                    room, message = {"own": world.a.fresh, "foreign": lambda: (world.other_of(who).room, world.other_of(who).message),
                                     "unknown": lambda: (UNKNOWN, UNKNOWN), "garbage": lambda: (GARBAGE, GARBAGE)}[whose]()
                    if visible:
                        room, message = who.sees.fresh()
                    fields, good = FRAMES[type](room, message)
                    reply = socket.ask({"type": type, **fields})
                    if type == "sync":
                        outcome = socket.until("sync.complete")
                        refused = outcome["outcome"] == "gone"
                        told = normal_frame(outcome, room, message)
                    else:
                        refused = reply["type"] == "error" or (type == "unsubscribe" and not visible)
                        told = normal_frame(reply, room, message)
                        if reply["type"] == "error" and reply["code"] != "NOT_FOUND":
                            raise Broken(f"{who.name} × {type} × {whose}: {reply}")
                    if refused == visible or (visible and reply["type"] != good):
                        raise Broken(f"{who.name} × {type} × {whose}: {reply}")
                    if refused and not (type == "unsubscribe" and whose == "garbage"):  # what no room can be called: NOT_FOUND
                        refusals[whose] = told
                    matrix += 1
                    counts["websocket", "refused" if refused else "done"] += 1
                if len(set(refusals.values())) > 1:
                    raise Broken(f"{who.name} × {type}: what may not be seen and what does not exist differ: {refusals}")
    return matrix


def main():
    documents = Documents()
    seen = Seen(documents)
    Socket.check = staticmethod(seen.frame)
    canaries = Canaries()
    counts = collections.Counter()
    with Node(presence_grace="100ms", io_threads=3, webhook_allow_private="true", retry_max_attempts=1) as node:
        run = Run(node, seen)
        world = World()
        world.node, world.may_destroy, world.victims_key, world.job = node, False, "key_0000000000000000", None
        node.watch = canaries
        world.a, world.b = Tenancy(node, "canary-of-a"), Tenancy(node, "canary-of-b")
        for one in (world.a, world.b):
            canaries.owners[one.mark.encode()] = one.tenant
        a, b = world.a, world.b
        world.other_of = lambda who: a if who.caller.tenant is b.tenant else b
        for _ in range(2):
            a.fresh()
        world.cursor = a.user(a.owner).call("GET", "/v1/rooms?limit=1").json["next_cursor"]
        world.backend_cursor = a.backend.call("GET", "/v1/rooms?limit=1").json["next_cursor"]
        world.members_cursor = a.user(a.owner).call("GET", f"/v1/rooms/{a.room}/members?limit=1").json["next_cursor"]
        people = [
            Who("a's owner", a.user(a.owner), a),
            Who("a's backend", a.backend, a),
            Who("a's outsider", a.user(a.outsider)),
            Who("a user that nobody has seen", a.user(a.stranger)),
            Who("b's owner", b.user(b.owner), b),
            Who("b's backend", b.backend, b),
            Who("the operator", node.operator),
            Who("nobody", node.nobody, fails=True),
            Who("a wrong key", Caller(node, "user", {"X-API-Key": "sk_" + "x" * 43, "X-User-Id": a.owner}, None, a.owner), fails=True),
        ]
        if run.serves("createKey"):  # revoked: it was good a moment ago
            made = node.operator.call("POST", f"/v1/admin/tenants/{a.id}/keys", {"kind": "api_key"}).json
            revoked = Caller(node, "user", {"X-API-Key": made["secret"], "X-User-Id": a.owner}, a.tenant, a.owner)
            if revoked.call("GET", "/v1/rooms").status != 200:
                raise Broken("a second key is not good")
            node.operator.call("DELETE", f"/v1/admin/tenants/{a.id}/keys/{made['key_id']}")
            people.append(Who("a revoked key", revoked, fails=True))
        if not is_later(documents.openapi["components"]["securitySchemes"]["userToken"]):
            people.append(Who("a's owner with a token", a.token(a.owner), a))
            people.append(Who("a token of b that says a", Caller(node, "token", {
                "Authorization": "Bearer " + b.tenant.jwt(a.owner, aud=f"{a.mark}-aud", tid=a.id)}, b.tenant, a.owner), fails=True))
            people.append(Who("a token that has ended", a.token(a.owner, exp=1), fails=True))
        if run.serves("deleteTenant"):
            gone = node.tenant("gone")
            world.job = node.operator.call("DELETE", f"/v1/admin/tenants/{gone.id}").json["job_id"]
            people.append(Who("a tenant that was deleted", gone.user("x"), fails=True))
        # Who listens all the time, and must hear nothing of it.
        listeners = [b.user(b.owner).socket("sync=auto"), a.user(a.outsider).socket("sync=auto")]
        total = rest(run, world, people, counts)
        total += places(run, world, counts)
        total += websocket(documents, world, people, counts)
        for socket in listeners:
            heard = socket.ask({"type": "ping"})
            assert heard["type"] == "pong"
            for frame in socket.waiting:  # of the same tenant, but in none of these rooms: no name, content, metadata
                if a.mark + " " in repr(frame):
                    canaries.found.append(f"{socket.caller} heard {frame}")
            socket.close()
        status = node.stop()
    print(f"isolation: {total} cells for {len(people)} callers, 0 unexpected ("
          + ", ".join(f"{where} {what}: {n}" for (where, what), n in sorted(counts.items()))
          + f"); canaries of {len(canaries.owners)} tenants sought in {canaries.looks} answers and frames of {canaries.bytes} bytes: "
          f"{len(canaries.found)} found")
    print("\n".join(canaries.found[:20]))
    return 1 if canaries.found or status != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
