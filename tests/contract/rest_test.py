#!/usr/bin/env python3
"""Every operation of openapi.yaml against a running node, with its successes and its errors: each answer is one that is
documented, field by field and header by header; each documented answer is seen, but for those listed at the end; what is marked
`later` is not served. SPEC 4."""

import base64
import json
import sys
import time
import uuid

from contract import METHODS, Broken, Documents, Seen, is_later
from node import ROOT, Node, Refused, await_that, quoted

sys.path.append(str(ROOT / "tests" / "webhooks"))
from receiver import Receiver  # noqa: E402

UNKNOWN = str(uuid.UUID(int=0x019A6D1C3C8E7C529A5E0B5E7E6C0001))

# Answers that every operation may give and that are provoked on some only: 413, 415, 429, 500, 503.
ANYWHERE = (413, 415, 429, 500, 503)
UNPROVOKED_CODES = ("INTERNAL_ERROR",)  # a defect of the node: none is known


class Run:
    """Calls operations by their names and looks at every answer."""

    def __init__(self, node, seen):
        self.node, self.seen, self.operations = node, seen, seen.documents.operations
        self.calls = 0

    def serves(self, name):
        return not self.operations[name].later

    def target(self, operation, query, dialect, path):
        out = operation.path
        for name in operation.segments:
            out = out.replace("{" + name + "}", quoted(path[name]))
        return ("" if dialect else "/v1") + out + (f"?{query}" if query else "")

    def __call__(self, caller, name, expect, body=None, query="", headers=None, raw=None, dialect=False, head=False,
                 field=None, **path):
        operation = self.operations[name]
        if body is None and raw is None and operation.body_required:
            body = {}
        answer = caller.call("HEAD" if head else operation.method, self.target(operation, query, dialect, path), body,
                             headers=headers, raw=raw)
        self.calls += 1
        self.seen.answer(operation, answer, head)
        if answer.status != expect:
            raise Broken(f"{operation} by {caller}: {expect} was expected: {answer!r}")
        if field is not None and answer.json["error"].get("field") != field:
            raise Broken(f"{operation} by {caller}: field {field} was expected: {answer!r}")
        if answer.headers.get("content-type") == "application/json" and not head:
            return answer.json
        return answer


def without_credential(run, world):
    """401 wherever a credential is needed: none, a wrong one, two, one of the wrong kind."""
    for operation in run.operations.values():
        if operation.later or operation.caller == "anyone":
            continue
        path = {name: "x" for name in operation.segments}
        wrong = world.node.operator if operation.caller != "operator" else world.tenant.backend
        for caller, headers in ((world.node.nobody, {}), (world.node.nobody, {"X-API-Key": "sk_wrong"}),
                                (world.node.nobody, {"X-Master-Key": "wrong"}), (wrong, {}),
                                (world.tenant.backend, {"Authorization": "Bearer sk_wrong"})):
            run(caller, operation.id, 401, headers=headers, **path)
        if operation.caller == "user":
            run(world.tenant.backend, operation.id, 400, field="user_id", **path)
        if operation.caller == "backend":
            run(world.ann, operation.id, 403, **path)
        if operation.caller == "api_key":
            run(world.tenant.bearer("ann"), operation.id, 403, **path)
        if operation.caller in ("user", "tenant"):
            run(world.tenant.backend, operation.id, 400, headers={"X-User-Id": "x" * 129}, field="user_id", **path)


def rooms(run, world):
    ann, bob, backend = world.ann, world.bob, world.tenant.backend
    made = run(ann, "createRoom", 201, {"type": "group", "members": ["ann", "bob"], "name": "one", "metadata": {"a": [1, None]}})
    world.group = made["room_id"]
    assert made["created"] and made["role"] == "owner" and made["metadata"] == {"a": [1, None]}
    dm = run(ann, "createRoom", 201, {"type": "dm", "members": ["ann", "bob"]})
    world.dm = dm["room_id"]
    assert not run(bob, "createRoom", 200, {"type": "dm", "members": ["bob", "ann"]})["created"]
    world.channel = run(backend, "createRoom", 201, {"type": "channel", "members": [], "posting": "admins"})["room_id"]
    key = {"Idempotency-Key": "room-1"}
    keyed = run(ann, "createRoom", 201, {"type": "group", "members": ["ann"]}, headers=key)
    again = run(ann, "createRoom", 200, {"type": "group", "members": ["ann"]}, headers=key)
    assert again["room_id"] == keyed["room_id"]
    run(ann, "createRoom", 409, {"type": "channel", "members": ["ann"]}, headers=key)
    run(ann, "deleteRoom", 204, room=keyed["room_id"])
    run(ann, "createRoom", 404, {"type": "group", "members": ["ann"]}, headers=key)
    run(ann, "createRoom", 400, {"type": "pair", "members": ["ann"]}, field="type")
    run(ann, "createRoom", 400, {"type": "dm", "members": ["ann"]}, field="members")
    run(ann, "createRoom", 415, {"type": "group", "members": ["ann"]}, headers={"Content-Type": "text/plain"})
    run(ann, "createRoom", 413, raw=b'{"type":"group","members":[],"name":"' + b"x" * (1 << 20) + b'"}')

    listed = run(ann, "listRooms", 200)["rooms"]
    assert {r["room_id"] for r in listed} == {world.group, world.dm}
    everything = run(backend, "listRooms", 200)["rooms"]
    assert len(everything) == 3 and all(r["role"] is None for r in everything)
    first = run(backend, "listRooms", 200, query="limit=1")
    run(backend, "listRooms", 200, query=f"limit=1&cursor={quoted(first['next_cursor'])}")
    run(backend, "listRooms", 200, query="offset=2", dialect=True)
    run(ann, "listRooms", 400, query="limit=0", field="limit")
    run(ann, "listRooms", 400, query="cursor=%21", field="cursor")
    run(ann, "listRooms", 400, query="offset=-1", dialect=True, field="offset")

    run(ann, "getRoom", 200, room=world.dm)
    run(ann, "getRoom", 200, room=world.group, head=True)
    run(ann, "getRoom", 404, room=world.channel)
    run(ann, "getRoom", 404, room=UNKNOWN)
    run(ann, "getRoom", 404, room="../x")

    changed = run(ann, "updateRoom", 200, {"name": None, "metadata": "text", "posting": "admins"}, room=world.group)
    assert (changed["name"], changed["metadata"], changed["posting"]) == (None, "text", "admins")
    run(ann, "updateRoom", 200, {"posting": "all", "name": "again"}, room=world.group)
    run(bob, "updateRoom", 403, {"name": "mine"}, room=world.group)
    run(ann, "updateRoom", 400, {"posting": 7}, room=world.group, field="posting")
    run(ann, "updateRoom", 404, {"name": "x"}, room=UNKNOWN)
    run(backend, "updateRoom", 200, {"retention": "720h"}, room=world.group)
    run(backend, "updateRoom", 200, {"retention": None, "name": "kept"}, room=world.group)
    run(backend, "updateRoom", 400, {"retention": "1m"}, room=world.group, field="retention")
    run(backend, "updateRoom", 404, {"retention": "720h"}, room=UNKNOWN)
    run(ann, "updateRoom", 403, {"retention": "720h"}, room=world.group)
    run(ann, "updateRoom", 415, {"name": "x"}, room=world.group, headers={"Content-Type": "application/xml"})
    run(bob, "deleteRoom", 403, room=world.group)
    run(ann, "deleteRoom", 404, room=UNKNOWN)


def members(run, world):
    ann, bob, cid, backend = world.ann, world.bob, world.cid, world.tenant.backend
    added = run(ann, "addMembers", 200, {"user_ids": ["cid", "bob", "dan"], "role": "member"}, room=world.group)["members"]
    assert [m["user_id"] for m in added] == ["cid", "dan"]
    run(ann, "addMembers", 200, {"user_ids": ["bob"]}, room=world.group)
    run(bob, "addMembers", 403, {"user_ids": ["eve"]}, room=world.group)
    run(ann, "addMembers", 400, {"user_ids": []}, room=world.group, field="user_ids")
    run(ann, "addMembers", 404, {"user_ids": ["eve"]}, room=UNKNOWN)
    run(ann, "addMembers", 409, {"user_ids": ["eve"]}, room=world.dm)
    page = run(ann, "listMembers", 200, room=world.group, query="limit=2")
    rest = run(ann, "listMembers", 200, room=world.group, query=f"limit=2&cursor={quoted(page['next_cursor'])}")
    assert len(page["members"]) == 2 and len(rest["members"]) == 2 and rest["next_cursor"] is None
    run(ann, "listMembers", 200, room=world.group, query="offset=1", dialect=True)
    run(ann, "listMembers", 400, room=world.group, query="limit=x", field="limit")
    run(world.eve, "listMembers", 404, room=world.group)
    assert run(ann, "updateMember", 200, {"role": "admin"}, room=world.group, user="cid")["role"] == "admin"
    run(bob, "updateMember", 403, {"role": "member"}, room=world.group, user="cid")
    run(ann, "updateMember", 400, {"role": "king"}, room=world.group, user="cid", field="role")
    run(ann, "updateMember", 404, {"role": "admin"}, room=world.group, user="eve")
    run(ann, "updateMember", 409, {"role": "admin"}, room=world.dm, user="bob")
    run(bob, "removeMember", 403, room=world.group, user="cid")
    run(ann, "removeMember", 404, room=world.group, user="eve")
    run(ann, "removeMember", 409, room=world.dm, user="bob")
    run(cid, "removeMember", 204, room=world.group, user="dan")
    assert run(world.eve, "joinRoom", 200, room=world.channel)["role"] == "member"
    run(world.eve, "joinRoom", 200, room=world.channel)
    run(world.eve, "joinRoom", 404, room=world.group)
    run(ann, "joinRoom", 409, room=world.dm)
    run(world.eve, "leaveRoom", 204, room=world.channel)
    run(world.eve, "leaveRoom", 404, room=world.channel)
    run(ann, "leaveRoom", 409, room=world.dm)
    run(backend, "removeMember", 204, room=world.group, user="cid")


def messages(run, world):
    ann, bob, backend = world.ann, world.bob, world.tenant.backend
    sent = run(ann, "sendMessage", 201, {"content": "hello", "meta": {"x": 1}, "client_msg_id": "m1"}, room=world.group)
    world.message = sent["message_id"]
    again = run(ann, "sendMessage", 200, {"content": "hello", "meta": {"x": 1.0}, "client_msg_id": "m1"}, room=world.group)
    assert again["duplicate"] and again["message_id"] == world.message
    run(ann, "sendMessage", 200, {"content": "dialect", "reply_to": world.message}, room=world.group, dialect=True)
    run(backend, "sendMessage", 201, {"content": "from the backend", "sender_id": "robot"}, room=world.group)
    run(ann, "sendMessage", 409, {"content": "other", "client_msg_id": "m1"}, room=world.group)
    run(ann, "sendMessage", 403, {"content": "x", "sender_id": "bob"}, room=world.group)
    run(ann, "sendMessage", 404, {"content": "x"}, room=UNKNOWN)
    run(ann, "sendMessage", 400, {"content": 1}, room=world.group, field="content")
    run(ann, "sendMessage", 400, {"content": "x" * 16385}, room=world.group, field="content")
    run(ann, "sendMessage", 400, {"content": "x", "reply_to": UNKNOWN}, room=world.group, field="reply_to")
    run(backend, "sendMessage", 400, {"content": "x"}, room=world.group, field="sender_id")
    for text in (b"", b"[]", b"{", b'{"content":"a","content":"b"}', b'{"content":"\xff"}', b'{"a":' * 40 + b"1" + b"}" * 40):
        run(ann, "sendMessage", 400, raw=text, room=world.group)

    page = run(ann, "listMessages", 200, room=world.group)
    assert page["messages"][-1]["content"] == "from the backend" and page["messages"][-1]["actor_id"] is None
    run(ann, "listMessages", 200, room=world.group, query="after_seq=1&limit=2")
    run(ann, "listMessages", 200, room=world.group, query="before_seq=4")
    run(ann, "listMessages", 200, room=world.group, query="around_seq=4&limit=3")
    oldest = run(ann, "listMessages", 200, room=world.group, query="limit=1", dialect=True)
    assert oldest["messages"][0]["message_id"] == world.message and oldest["has_more_after"]
    run(ann, "listMessages", 400, room=world.group, query="after_seq=1&before_seq=2")
    run(world.eve, "listMessages", 404, room=world.group)
    events = run(ann, "listEvents", 200, room=world.group, query="limit=1000&after_seq=0")["events"]
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    run(ann, "listEvents", 200, room=world.group, dialect=True)
    run(ann, "listEvents", 400, room=world.group, query="around_seq=-1", field="around_seq")
    run(ann, "listEvents", 404, room=UNKNOWN)

    edited = run(ann, "editMessage", 200, {"content": "hello again", "client_msg_id": "e1"}, room=world.group, message=world.message)
    assert edited["content"] == "hello again" and "edited_at" in edited
    assert run(ann, "editMessage", 200, {"content": "hello again", "client_msg_id": "e1"}, room=world.group,
               message=world.message)["duplicate"]
    run(bob, "editMessage", 403, {"content": "mine"}, room=world.group, message=world.message)
    run(ann, "editMessage", 400, {}, room=world.group, message=world.message, field="content")
    run(ann, "editMessage", 404, {"content": "x"}, room=world.group, message=UNKNOWN)
    run(bob, "deleteMessage", 403, room=world.group, message=world.message)
    run(ann, "deleteMessage", 400, {"client_msg_id": ""}, room=world.group, message=world.message, field="client_msg_id")
    run(ann, "deleteMessage", 404, room=world.group, message=UNKNOWN)
    run(ann, "deleteMessage", 409, {"client_msg_id": "e1"}, room=world.group, message=world.message)
    gone = run(ann, "deleteMessage", 204, room=world.group, message=world.message, headers={"Idempotency-Key": "d1"})
    assert "idempotent-replayed" not in gone.headers
    gone = run(ann, "deleteMessage", 204, room=world.group, message=world.message, headers={"Idempotency-Key": "d1"})
    assert gone.headers["idempotent-replayed"] == "true"
    run(ann, "editMessage", 409, {"content": "x"}, room=world.group, message=world.message)
    deleted = next(m for m in run(ann, "listMessages", 200, room=world.group)["messages"] if m["message_id"] == world.message)
    again = run(ann, "sendMessage", 200, {"content": "hello", "meta": {"x": 1}, "client_msg_id": "m1"}, room=world.group)
    assert again["duplicate"] and again["content"] == "" and again["deleted_at"] == deleted["deleted_at"]
    kinds = {e["type"] for e in run(ann, "listEvents", 200, room=world.group, query="after_seq=0&limit=1000")["events"]}
    assert kinds == {"message", "message.edited", "message.deleted", "member.joined", "member.left", "member.updated", "room.updated"}
    assert deleted["content"] == "" and deleted["meta"] is None and "deleted_at" in deleted


def batches(run, world):
    if not run.serves("sendBatch"):
        return
    good = {"room_id": world.group, "content": "in a batch", "client_msg_id": "b1"}
    results = run(world.ann, "sendBatch", 200, {"messages": [good, {"room_id": UNKNOWN, "content": "x"}, good]})["results"]
    assert [r["status"] for r in results] == [201, 404, 200], results
    run(world.ann, "sendBatch", 400, {"messages": []}, field="messages")
    run(world.tenant.backend, "sendBatch", 200, {"messages": [{**good, "client_msg_id": "b2", "sender_id": "robot"}]})


def cursors(run, world):
    ann = world.ann
    assert run(ann, "ack", 200, {"room_id": world.group, "seq": 3}) == {"success": True, "seq": 3}
    assert run(ann, "read", 200, {"room_id": world.group, "seq": 2})["seq"] == 2
    for call in ("ack", "read"):
        run(ann, call, 400, {"room_id": world.group, "seq": 10 ** 6}, field="seq")
        run(ann, call, 404, {"room_id": UNKNOWN, "seq": 1})
        run(ann, call, 400, {"room_id": world.group, "seq": "1"}, field="seq")
    people = run(ann, "getPresence", 200, query="user_ids=bob,ann,bob,nobody")["users"]
    assert [u["user_id"] for u in people] == ["bob", "ann", "nobody"]
    run(ann, "getPresence", 400, query="user_ids=", field="user_ids")


def notifications(run, world):
    ann, backend, token = world.ann, world.tenant.backend, world.tenant.bearer("ann")
    assert run(ann, "listSubscriptions", 200) == {"topics": []}
    odd = "a/b ../\u00e9%2F"
    for topic in ("news", odd, "news"):
        run(ann, "subscribeTopic", 204, topic=topic)
    assert run(ann, "listSubscriptions", 200)["topics"] == sorted(["news", odd])
    run(ann, "subscribeTopic", 409, topic="one too many", field="topic")  # max_topics_per_user is 2 here
    run(ann, "subscribeTopic", 400, topic="x" * 129, field="topic")
    run(ann, "unsubscribeTopic", 400, topic="x\x01", field="topic")
    for _ in range(2):
        run(ann, "unsubscribeTopic", 204, topic=odd)
    for call in ("subscribeTopic", "unsubscribeTopic"):
        run(token, call, 403, topic="news")
        run(token, call, 403, topic="own")
        run(token, call, 204, topic="own/news")  # `own/` is in user_topics
    everybody = {"topic": "news", "payload": {"a": [None]}, "targets": {"user_ids": ["bob", "ann"], "room_id": world.dm, "topic_subscribers": True}}
    made = run(backend, "notify", 202, everybody, headers={"Idempotency-Key": "n1"})
    assert (made["topic"], made["targets"]) == ("news", 2), made
    key = {"Idempotency-Key": "n1"}
    again = backend.call("POST", "/v1/notify", everybody, headers=key)
    run.seen.answer(run.operations["notify"], again)
    assert again.status == 202 and again.json == made and again.headers["idempotent-replayed"] == "true", again
    run(ann, "notify", 202, {**everybody, "payload": {"a": [ None ]}}, headers=key)
    run(backend, "notify", 409, {**everybody, "payload": {"a": []}}, headers=key)
    run(backend, "notify", 409, {**everybody, "ttl_s": 5}, headers=key)
    assert run(ann, "notify", 202, {"topic": "nobody's", "payload": None, "targets": {"topic_subscribers": True}})["targets"] == 0
    assert run(backend, "notify", 202, {"topic": "t", "payload": "text", "targets": {"user_ids": ["x", "x"]}}, dialect=True)["targets"] == 1
    some = {"user_ids": ["bob"]}
    for body, field in (({"payload": 1, "targets": some}, "topic"), ({"topic": "", "payload": 1, "targets": some}, "topic"),
                        ({"topic": "x" * 129, "payload": 1, "targets": some}, "topic"), ({"topic": "t", "targets": some}, "payload"),
                        ({"topic": "t", "payload": "x" * 16383, "targets": some}, "payload"), ({"topic": "t", "payload": 1}, "targets"),
                        ({"topic": "t", "payload": 1, "targets": {}}, "targets"),
                        ({"topic": "t", "payload": 1, "targets": {"user_ids": [" "]}}, "targets.user_ids"),
                        ({"topic": "t", "payload": 1, "targets": some, "ttl_s": 31536001}, "ttl_s")):
        run(backend, "notify", 400, body, field=field)
    run(backend, "notify", 202, {"topic": "x" * 128, "payload": "x" * 16382, "targets": some, "ttl_s": 31536000})
    for room in (UNKNOWN, "no room"):
        run(backend, "notify", 404, {"topic": "t", "payload": 1, "targets": {"room_id": room}}, field="targets.room_id")


def connections(run, world):
    ann = world.ann
    run(ann, "openWebSocket", 426)
    run(ann, "openWebSocket", 426, headers={"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "8"})

    def upgrade(caller, expect, query="", headers=None, kept=None):
        try:
            socket = caller.socket(query, headers=headers)
        except Refused as refused:
            answer = refused.answer
        else:
            answer = type("", (), {"status": 101, "headers": socket.headers, "body": b""})()
            (kept.append if kept is not None else lambda s: s.close())(socket)
        run.seen.answer(run.operations["openWebSocket"], answer)
        if answer.status != expect:
            raise Broken(f"upgrade: {answer.status} {answer.headers}, not {expect}")
        return answer

    upgrade(ann, 101)
    upgrade(ann, 400, query="sync=never")
    upgrade(ann, 101, query="notifications=ack")
    upgrade(ann, 400, query="notifications=no")
    upgrade(world.tenant.backend, 401)
    upgrade(ann, 403, headers={"Origin": "https://elsewhere.example"})
    kept = []
    upgrade(world.node.nobody, 101, kept=kept)
    upgrade(world.node.nobody, 503)  # ws_max_unauthenticated is 1 here
    kept[0].close()
    if run.serves("createTicket"):
        token = run(ann, "createTicket", 200)["token"]
        upgrade(world.node.nobody, 101, query=f"token={quoted(token)}")
        upgrade(world.node.nobody, 401, query=f"token={quoted(token)}")
        bearer = base64.urlsafe_b64encode(world.tenant.jwt("ann").encode()).rstrip(b"=").decode()
        answer = upgrade(world.node.nobody, 101, headers={"Sec-WebSocket-Protocol": f"parley.v1, bearer.{bearer}"})
        assert answer.headers["sec-websocket-protocol"] == "parley.v1"
    if run.serves("disconnectUser"):
        with ann.socket() as socket:
            socket.until("hello")
            assert run(world.tenant.backend, "disconnectUser", 200, {}, user="ann")["closed"] == 1
            assert socket.until_closed() == (4503, "AUTHENTICATION_ERROR")
        run(world.tenant.backend, "disconnectUser", 200, raw=None, user="ann")
        run(world.tenant.backend, "disconnectUser", 400, {"revoke_before": "yesterday"}, user="ann", field="revoke_before")


def the_node(run, world):
    nobody = world.node.nobody
    for name in ("livez", "readyz", "health"):
        run(nobody, name, 200)
        run(nobody, name, 200, dialect=True)
        run(nobody, name, 200, head=True)
    for name in [n for n in ("getOpenapi", "getAsyncapi") if run.serves(n)]:
        for dialect in (False, True):
            served = run(nobody, name, 200, dialect=dialect)
            assert served.body.decode() == run.seen.documents.texts[run.operations[name].path[1:]]
    if run.serves("metrics"):
        run(nobody, "metrics", 200)
        run(nobody, "metrics", 200, headers={"Accept": "application/json"})
        run(nobody, "metrics", 200, dialect=True)


def tenants(run, world):
    operator = world.node.operator
    config = {"rate_limit": 1000, "message_rate": 1000, "user_send_rate": 10, "user_send_burst": 20, "max_connections_per_user": 3,
              "jwt_audience": "chat", "user_topics": ["news/"], "webhook_url": "https://hooks.example/x",
              "webhook_events": ["user.online"], "webhook_format": "parley", "message_retention": "720h",
              "allowed_origins": ["https://app.example"]}
    made = run(operator, "createTenant", 201, {"name": "made", "config": config})
    assert made["config"] == config
    run(operator, "createTenant", 400, {"name": ""}, field="name")
    run(operator, "createTenant", 400, {"name": "x", "config": {"colour": 1}}, field="config.colour")
    shown = run(operator, "getTenant", 200, tenant=made["tenant_id"])
    assert shown["config"] == made["config"] and len(shown["keys"]) == 3
    run(operator, "getTenant", 404, tenant="tenant_0000000000000000")
    page = run(operator, "listTenants", 200, query="limit=1")
    run(operator, "listTenants", 200, query=f"limit=1&cursor={quoted(page['next_cursor'])}")
    run(operator, "listTenants", 400, query="limit=0", field="limit")
    if run.serves("createKey"):
        key = run(operator, "createKey", 201, {"kind": "api_key"}, tenant=made["tenant_id"])
        run(operator, "createKey", 409, {"kind": "api_key"}, tenant=made["tenant_id"])
        run(operator, "createKey", 400, {"kind": "skeleton"}, tenant=made["tenant_id"], field="kind")
        run(operator, "createKey", 404, {"kind": "api_key"}, tenant="tenant_0000000000000000")
        run(operator, "deleteKey", 204, tenant=made["tenant_id"], key=key["key_id"])
        run(operator, "deleteKey", 404, tenant=made["tenant_id"], key=key["key_id"])
    if run.serves("updateTenant"):
        run(operator, "updateTenant", 200, {"name": "renamed", "config": {"rate_limit": 0}}, tenant=made["tenant_id"])
        run(operator, "updateTenant", 200, {"disabled": True}, tenant=made["tenant_id"])
        if run.serves("eraseUser"):
            run(operator, "eraseUser", 409, tenant=made["tenant_id"], user="ann")
        run(operator, "updateTenant", 200, {"disabled": False}, tenant=made["tenant_id"])
        run(operator, "updateTenant", 400, {"disabled": "yes"}, tenant=made["tenant_id"], field="disabled")
        run(operator, "updateTenant", 404, {"disabled": True}, tenant="tenant_0000000000000000")
    jobs = []
    if run.serves("exportUser"):
        lines = run(operator, "exportUser", 200, tenant=world.tenant.id, user="ann").body.decode().splitlines()
        assert lines and all(isinstance(json.loads(line), dict) for line in lines)
        run(operator, "exportUser", 404, tenant="tenant_0000000000000000", user="ann")
        run(operator, "exportUser", 404, tenant=world.tenant.id, user="never-seen")
        run(operator, "exportUser", 404, tenant=world.tenant.id, user=" ann")
        run(operator, "exportUser", 400, tenant=world.tenant.id, user="ann", query="cursor=%21", field="cursor")
    if run.serves("eraseUser"):
        jobs.append(run(operator, "eraseUser", 202, tenant=world.tenant.id, user="dan")["job_id"])
        run(operator, "eraseUser", 404, tenant="tenant_0000000000000000", user="ann")
        run(operator, "eraseUser", 404, tenant=world.tenant.id, user=" ann")
    if run.serves("deleteTenant"):
        jobs.append(run(operator, "deleteTenant", 202, tenant=made["tenant_id"])["job_id"])
        run(operator, "deleteTenant", 404, tenant="tenant_0000000000000000")
    for job in jobs:
        deadline = time.monotonic() + 20
        while run(operator, "getJob", 200, job=job)["state"] == "running":
            assert time.monotonic() < deadline, f"job {job} does not end"
            time.sleep(0.02)
    if run.serves("getJob"):
        run(operator, "getJob", 404, job=UNKNOWN)
    if run.serves("stats"):
        assert run(operator, "stats", 200, query="limit=1")["tenants"]
        run(operator, "stats", 400, query="limit=0", field="limit")


def webhooks(run, world):
    """An endpoint that refuses, takes, and is gone; what was given up. The node gives up after one attempt."""
    operator, unknown = world.node.operator, "tenant_0000000000000000"
    with Receiver() as receiver:
        endpoint = receiver.endpoint("contract")
        endpoint.answer = 500
        config = {"webhook_url": endpoint.url, "webhook_events": ["message.created"]}
        tenant = world.node.tenant("hooked", config)
        endpoint.secrets = [tenant.made["webhook_secret"]]
        shown = run(operator, "getWebhook", 200, tenant=tenant.id)
        assert (shown["url"], shown["events"], shown["state"]) == (endpoint.url, ["message.offline", "message.created"], "active"), shown
        run(operator, "getWebhook", 404, tenant=world.tenant.id)
        run(operator, "getWebhook", 404, tenant=unknown)
        world.node.tenant("hooked as well", config)
        page = run(operator, "listWebhooks", 200, query="limit=1")
        rest = run(operator, "listWebhooks", 200, query=f"cursor={quoted(page['next_cursor'])}")
        assert shown["tenant_id"] in [w["tenant_id"] for w in page["webhooks"] + rest["webhooks"]] and rest["next_cursor"] is None
        run(operator, "listWebhooks", 400, query="limit=0", field="limit")

        for name, url in (("user", "https://me@hooks.example/x"), ("fragment", "https://hooks.example/x#y"), ("scheme", "ftp://hooks.example/x"),
                          ("port", "https://hooks.example:0/x"), ("size", "https://hooks.example/" + "x" * 2048)):
            run(operator, "createTenant", 400, {"name": name, "config": {"webhook_url": url}}, field="config.webhook_url")
            run(operator, "updateTenant", 400, {"config": {"webhook_url": url}}, tenant=tenant.id, field="config.webhook_url")

        tested = run(operator, "testWebhook", 200, tenant=tenant.id)
        assert (tested["delivered"], tested["status"]) == (False, 500) and tested["error"], tested
        run(operator, "testWebhook", 404, tenant=world.tenant.id)
        run(operator, "testWebhook", 404, tenant=unknown)

        # offline_webhook_max_members is 2 here: one event for bob, one for bob and cid.
        said = []
        for members in (["ann", "bob"], ["ann", "bob", "cid"]):
            room = tenant.backend.call("POST", "/v1/rooms", {"type": "group", "members": members}).json["room_id"]
            said.append(tenant.backend.call("POST", f"/v1/rooms/{room}/messages", {"sender_id": "ann", "content": "x"}).json)
        for users in (["bob"], ["bob", "cid"]):
            run(tenant.backend, "notify", 202, {"topic": "t", "payload": {}, "targets": {"user_ids": users}, "ttl_s": 1})
        letters = f"tenant_id={tenant.id}"

        def all_dead():
            dead = run(operator, "listDeadLetters", 200, query=letters)
            return dead if [len(dead[k]) for k in ("failed_messages", "failed_webhooks", "failed_notifications")] == [2, 2, 2] else None

        dead = await_that(all_dead, what="what is given up")
        assert {(d["message_id"], d["room_id"], d["user_id"], "recipient_ids" in d) for d in dead["failed_messages"]} == {
            (said[0]["message_id"], said[0]["room_id"], "bob", False), (said[1]["message_id"], said[1]["room_id"], None, True)}, dead
        assert {(d["event"], d["message_id"], d["seq"], d["error"]) for d in dead["failed_webhooks"]} == {
            ("message.created", m["message_id"], 1, "HTTP 500") for m in said}, dead
        assert {(d["user_id"], *d.get("recipient_ids", [])) for d in dead["failed_notifications"]} == {
            ("bob",), (None, "bob", "cid")}, dead
        assert run(operator, "listDeadLetters", 200, query=letters, dialect=True) == dead
        every = [d["id"] for k in ("failed_messages", "failed_webhooks", "failed_notifications") for d in dead[k]]
        paged, cursor = [], ""
        while cursor is not None:
            page = run(operator, "listDeadLetters", 200, query=f"{letters}&limit=4" + (f"&cursor={quoted(cursor)}" if cursor else ""))
            paged += [d["id"] for k in ("failed_messages", "failed_webhooks", "failed_notifications") for d in page[k]]
            cursor = page["next_cursor"]
        assert sorted(paged) == sorted(every), (paged, every)
        skipped = run(operator, "listDeadLetters", 200, query=f"{letters}&offset=5", dialect=True)
        assert sum(len(skipped[k]) for k in skipped if k != "next_cursor") == 1, skipped
        run(operator, "listDeadLetters", 400, field="tenant_id")
        run(operator, "listDeadLetters", 400, query=f"{letters}&limit=0", field="limit")
        run(operator, "listDeadLetters", 400, query=f"{letters}&cursor=%21", field="cursor")
        run(operator, "listDeadLetters", 404, query=f"tenant_id={unknown}")

        refused, other = [d["id"] for d in dead["failed_webhooks"]]
        endpoint.answer = 204
        run(operator, "retryDeadLetter", 204, id=refused)
        run(operator, "retryDeadLetter", 404, id=refused)
        endpoint.wait(lambda: len(endpoint.of("message.created")) == 3, what="the event again")
        run(operator, "deleteDeadLetter", 204, id=other)
        run(operator, "deleteDeadLetter", 404, id=other)
        number = every[0].rpartition(".")[2]
        for nobodys in ("x", number, f"{world.tenant.id}.{number}", f"{unknown}.{number}", f"{tenant.id}.", f"{tenant.id}.0{number}"):
            run(operator, "retryDeadLetter", 404, id=nobodys)
            run(operator, "deleteDeadLetter", 404, id=nobodys)
        tested = run(operator, "testWebhook", 200, tenant=tenant.id)
        assert (tested["delivered"], tested["status"], tested["error"]) == (True, 204, None), tested
        assert endpoint.of("webhook.test")[-1].id == tested["event_id"]

        run(operator, "replayWebhook", 202, {"since": said[0]["created_at"]}, tenant=tenant.id)
        endpoint.wait(lambda: len(endpoint.of("message.created")) == 5, what="the events again")
        await_that(lambda: not run(operator, "getWebhook", 200, tenant=tenant.id)["replaying"], what="the end of the replay")
        run(operator, "replayWebhook", 202, {"dead_letters": True}, tenant=tenant.id)
        endpoint.wait(lambda: len(endpoint.of("message.offline")) == 4, what="the events that were given up")
        run(operator, "replayWebhook", 202, {"since": "2001-01-01T00:00:00Z", "until": "2001-01-02T00:00:00Z"}, tenant=tenant.id)
        run(operator, "replayWebhook", 400, {}, tenant=tenant.id, field="since")
        run(operator, "replayWebhook", 400, {"since": "now"}, tenant=tenant.id, field="since")
        run(operator, "replayWebhook", 404, {"dead_letters": True}, tenant=world.tenant.id)
        run(operator, "replayWebhook", 404, {"dead_letters": True}, tenant=unknown)

        def say(content):
            tenant.backend.call("POST", f"/v1/rooms/{said[0]['room_id']}/messages", {"sender_id": "ann", "content": content})

        endpoint.answer = lambda d: 500 if d.message["content"] == "refused" else 410
        say("refused")
        left = await_that(lambda: (d := run(operator, "listDeadLetters", 200, query=letters))["failed_webhooks"] and d, what="a dead letter")
        say("gone")
        gone = await_that(lambda: (w := run(operator, "getWebhook", 200, tenant=tenant.id))["state"] == "disabled" and w, what="its end")
        assert gone["why"] and gone["last_error"] and gone["last_success_at"] and gone["last_failure_at"], gone
        for body in ({"dead_letters": True}, {"since": said[0]["created_at"]}, {"since": "2001-01-01T00:00:00Z", "until": "2001-01-02T00:00:00Z"}):
            run(operator, "replayWebhook", 409, body, tenant=tenant.id, field="webhook_url")
        run(operator, "retryDeadLetter", 409, id=left["failed_webhooks"][0]["id"], field="webhook_url")
        run(operator, "retryDeadLetter", 204, id=left["failed_notifications"][0]["id"])
        run(operator, "updateTenant", 200, {"disabled": True}, tenant=tenant.id)
        run(operator, "testWebhook", 409, tenant=tenant.id)
        assert not endpoint.problems(), endpoint.problems()


def limits(run, world):
    """A tenant of few requests: 429 with Retry-After."""
    if not run.seen.rated:
        return
    few = world.node.tenant("few", {"rate_limit": 1}).user("ann")
    for _ in range(100):
        answer = few.call("GET", "/v1/rooms")
        run.seen.answer(run.operations["listRooms"], answer)
        if answer.status == 429:
            return
    raise Broken("rate_limit 1 never refuses")


def every_path(run, world):
    """HEAD, OPTIONS, other methods, unknown paths, in both path forms."""
    paths = {}
    for operation in run.operations.values():
        if not operation.later:
            paths.setdefault(operation.path, set()).add(operation.method)
    for path, methods in sorted(paths.items()):
        target = path
        for name in ("room", "user", "message", "topic", "tenant", "key", "job", "id", "backup"):
            target = target.replace("{" + name + "}", "x")
        allow = methods | ({"HEAD"} if "GET" in methods else set()) | {"OPTIONS"}
        for prefix in ("/v1", ""):
            answer = world.node.operator.call("OPTIONS", prefix + target)
            assert answer.status == 204 and set(answer.headers["allow"].split(", ")) == allow, f"{path}: {answer!r}"
            for method in [m.upper() for m in METHODS] + ["TRACE", "BREW"]:
                if method in allow:
                    continue
                answer = world.tenant.backend.call(method, prefix + target)
                run.seen.answer(run.seen.documents.other_methods, answer)
                assert set(answer.headers["allow"].split(", ")) == allow, f"{path}: {answer!r}"
    for path in ("/", "/v1", "/v1/", "/v2/rooms", "/v1/v1/rooms", "/v1/rooms/", "/v1/ROOMS", "/v1/rooms/x/y", "/admin"):
        answer = world.node.nobody.call("GET", path)
        run.seen.answer(run.seen.documents.no_such_path, answer)
        assert answer.status == 404, f"{path}: {answer!r}"


def not_yet(run, world):
    """What is marked `later` is not there: the mark must go in the commit that serves it."""
    served = {o.path for o in run.operations.values() if not o.later}
    count = 0
    for operation in run.operations.values():
        if not operation.later:
            continue
        count += 1
        target = run.target(operation, "", False, {name: "x" for name in operation.segments})
        for caller in (world.node.operator, world.tenant.backend, world.ann, world.node.nobody):
            answer = caller.call(operation.method, target, {} if operation.body else None)
            expected = 405 if operation.path in served else 404
            if answer.status != expected:
                raise Broken(f"{operation} is marked `later`, and the node answers {answer!r}")
    return count


SECURITY = {
    "anyone": [],
    "operator": [{"operator"}],
    "backend": [{"tenantKey"}, {"tenantKeyBearer"}],
    "user": [{"tenantKey", "actingUser"}, {"tenantKey", "actingUserQuery"}, {"tenantKeyBearer", "actingUser"},
             {"tenantKeyBearer", "actingUserQuery"}, {"userToken"}],
}
SECURITY["tenant"] = SECURITY["backend"] + SECURITY["user"]
SECURITY["api_key"] = [one for one in SECURITY["tenant"] if one != {"userToken"}]


def security(documents):
    """x-parley-caller and `security` say the same; GET /ws, where a credential is optional, lists more."""
    for operation in documents.operations.values():
        said = [set(one) for one in operation.security]
        expected = SECURITY[operation.caller]
        if operation.id == "openWebSocket":
            expected = [set()] + SECURITY["user"] + [{"ticket"}]
        if sorted(map(sorted, said)) != sorted(map(sorted, expected)):
            raise Broken(f"{operation}: security {said} of {operation.caller}")


def credentials(run, world):
    """Each way to say who one is that is documented (and not later) is good, on an operation of a user and one of the tenant."""
    schemes = run.seen.documents.openapi["components"]["securitySchemes"]
    forms = {"tenantKey": {"X-API-Key": world.tenant.key}, "tenantKeyBearer": {"Authorization": f"Bearer {world.tenant.key}"},
             "actingUser": {"X-User-Id": "ann"}, "actingUserQuery": {},
             "userToken": {"Authorization": f"Bearer {world.tenant.jwt('ann')}"}}
    count = 0
    for operation in (run.operations["getRoom"], run.operations["joinRoom"]):
        for alternative in operation.security:
            headers = {}
            for scheme in alternative:
                headers.update(forms[scheme])
            query = "user_id=ann" if "actingUserQuery" in alternative else ""
            later = any(is_later(schemes[s]) for s in alternative)
            good = 200 if operation.id == "getRoom" else 409  # joining a dm
            run(world.node.nobody, operation.id, 401 if later else good, headers=headers, query=query, room=world.dm)
            count += 1
    return count


class World:
    pass


def life(seen):
    """Two nodes and everything that is called on them: (calls, operations that are not there yet, exit status)."""
    documents = seen.documents
    with Node(ws_max_unauthenticated=1, default_rate_limit=1_000_000, webhook_allow_private="true", retry_max_attempts=1,
              offline_after="100ms", offline_webhook_max_members=2, max_topics_per_user=2) as node:
        seen.rated = not is_later(documents.openapi["components"]["headers"]["X-RateLimit-Limit"])
        world = World()
        world.node, world.tenant = node, node.tenant("contract", {"user_topics": ["own/"]})
        for name in ("ann", "bob", "cid", "dan", "eve"):
            setattr(world, name, world.tenant.user(name))
        run = Run(node, seen)
        security(seen.documents)
        for part in (without_credential, rooms, members, messages, batches, cursors, notifications, connections, the_node, credentials, tenants,
                     webhooks, limits, every_path):
            part(run, world)
        later = not_yet(run, world)
        run(world.ann, "deleteRoom", 204, room=world.group)
        status = node.stop()
    with Node(drain_delay="8s", metrics_allow="10.0.0.0/8") as node:  # a node that drains, and whose figures are not for us
        if not documents.operations["metrics"].later:
            Run(node, seen)(node.nobody, "metrics", 404)
        node.signal()
        nobody, deadline = node.nobody, time.monotonic() + 10
        while True:
            answer = nobody.call("GET", "/v1/readyz", fresh=True)
            seen.answer(documents.operations["readyz"], answer)
            if answer.status == 503:
                break
            assert time.monotonic() < deadline
        node.child.kill()
    return run.calls, later, status


def unseen(seen):
    """What the documents say and no answer showed."""
    missing = [m for m in seen.missing(unprovoked=ANYWHERE, unprovoked_codes=UNPROVOKED_CODES) if not m.startswith("the frame ")]
    if not seen.statuses["readyz", 503]:
        missing.append("readyz was never answered with 503")
    if not seen.rated:
        missing = [m for m in missing if m != "the error RATE_LIMIT_EXCEEDED was never seen"]  # on WebSocket: websocket_test.py
    return missing + seen.unseen_properties(frames=False)


def main():
    seen = Seen(Documents())
    calls, later, status = life(seen)
    missing = unseen(seen)
    served = [o for o in seen.documents.operations.values() if not o.later]
    print(f"rest: {calls} calls, {len(served)} operations with {len({k for k in seen.statuses if seen.statuses[k]})} of their answers, "
          f"{len(seen.codes)} of {len(seen.pages)} error codes, {seen.properties} properties, {later} operations marked `later` are "
          f"not there, exit status {status}")
    if status != 0:
        missing.append(f"the node ended with {status}")
    print("\n".join(missing))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
