#!/usr/bin/env python3
"""Every frame of asyncapi.yaml on connections to a running node: what clients may send is understood, with its documented reply;
what the node sends is documented, field by field; each documented frame and outcome is seen. SPEC 5."""

import collections
import re
import sys
import time

from contract import Broken, Documents, Seen
from node import ROOT, Closed, Node, Socket
from rest_test import UNKNOWN


UNSEEN = ("sync.complete.truncated",)  # only when retention overtakes a reader


class World:
    pass


class Talk:
    """A connection whose replies are looked up in the documents."""

    used = collections.Counter()  # client frames that were sent
    outcomes = collections.Counter()

    def __init__(self, world, caller, query="sync=manual", **more):
        self.world, self.socket = world, caller.socket(query, **more)
        self.hello = self.socket.until("hello")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, type, expect, **fields):
        """The reply is of the type `expect`, or an error of that code."""
        Talk.used[type] += 1
        reply = self.socket.ask({"type": type, **fields})
        if reply["type"] not in self.world.documents.replies[type]:
            raise Broken(f"{reply['type']} is no documented reply to {type}")
        if (reply.get("code") if reply["type"] == "error" else reply["type"]) != expect:
            raise Broken(f"{type} {fields}: {expect} was expected: {reply}")
        return reply

    def until(self, type, **fields):
        return self.socket.until(lambda f: f["type"] == type and all(f.get(k) == v for k, v in fields.items()))

    def sync(self, expect="sync.done", **fields):
        """The outcomes of a sync, by room."""
        reply = self.ask("sync", expect, **fields)
        out = {}
        for frame in [f for f in self.socket.waiting if f["type"] == "sync.complete"]:
            self.socket.waiting.remove(frame)
            Talk.outcomes[frame["outcome"]] += 1
            out[frame["room_id"]] = frame
        if expect == "sync.done" and reply["rooms"] != len(out) and "rest" not in fields:
            raise Broken(f"sync.done counts {reply['rooms']} rooms, {len(out)} were complete")
        return out


def entries(world, ann, bob):
    """A whole life of a room, seen by two members."""
    rest = world.ann
    room = rest.call("POST", "/v1/rooms", {"type": "group", "members": ["ann", "bob"]}).json["room_id"]
    world.room = room
    assert ann.until("room.added")["room"]["room_id"] == room
    bob.until("room.added")
    for talk in (ann, bob):
        assert talk.ask("subscribe", "subscribed", room_id=room)["seq"] == 0
    sent = ann.ask("send_message", "message.accepted", room_id=room, content="hello", meta={"a": [1]}, client_msg_id="k1")
    assert bob.until("message", seq=1)["meta"] == {"a": [1]}
    assert ann.ask("send_message", "message.accepted", room_id=room, content="hello", meta={"a": [1]}, client_msg_id="k1")["duplicate"]
    ann.ask("send_message", "CONFLICT", room_id=room, content="else", client_msg_id="k1")
    bob.ask("send_message", "message.accepted", room_id=room, content="", meta="only meta", reply_to=sent["message_id"])
    assert ann.until("message", seq=2)["reply_to"] == sent["message_id"]
    ann.ask("edit_message", "message.accepted", room_id=room, message_id=sent["message_id"], content="edited", client_msg_id="e1")
    assert bob.until("message.edited")["message_seq"] == 1
    bob.ask("edit_message", "AUTHORIZATION_ERROR", room_id=room, message_id=sent["message_id"], content="x")
    ann.ask("delete_message", "message.accepted", room_id=room, message_id=sent["message_id"], client_msg_id="d1")
    bob.until("message.deleted", message_id=sent["message_id"])
    rest.call("POST", f"/v1/rooms/{room}/members", {"user_ids": ["cid"]})
    bob.until("member.joined")
    rest.call("PATCH", f"/v1/rooms/{room}/members/cid", {"role": "admin"})
    bob.until("member.updated")
    rest.call("PATCH", f"/v1/rooms/{room}", {"name": "name", "metadata": {"x": None}, "posting": "all"})
    assert bob.until("room.updated")["name"] == "name"
    rest.call("PATCH", f"/v1/rooms/{room}", {"metadata": None, "posting": "admins"})
    assert bob.until("room.updated")["posting"] == "admins"
    bob.ask("send_message", "AUTHORIZATION_ERROR", room_id=room, content="x")
    rest.call("PATCH", f"/v1/rooms/{room}", {"posting": "all"})
    rest.call("DELETE", f"/v1/rooms/{room}/members/cid")
    assert bob.until("member.left")["reason"] == "removed"
    unasked = {"type": "send_message", "room_id": room, "content": "without a request id", "client_msg_id": "k2"}
    ann.socket.send(unasked)  # a send always has a reply
    assert ann.until("message.accepted", client_msg_id="k2")
    ann.socket.send({"type": "send_message", "data": {"room_id": room, "content": "nested", "request_id": 7}})
    assert ann.until("message.accepted", request_id=7)


def cursors(world, ann, bob):
    room = world.room
    assert ann.ask("ack", "ack.received", room_id=room, seq=2) | {"request_id": 0} == {
        "type": "ack.received", "request_id": 0, "room_id": room, "seq": 2, "user_id": "ann"}
    bob.until("ack.received", user_id="ann")
    ann.ask("read", "read.received", rooms={room: 3})
    bob.until("read.received", user_id="ann")
    for call in ("ack", "read"):
        ann.ask(call, "VALIDATION_ERROR", room_id=room, seq=10 ** 6)
        ann.ask(call, "NOT_FOUND", room_id=UNKNOWN, seq=1)
        ann.ask(call, "NOT_FOUND", rooms={UNKNOWN: 1})
    ann.ask("typing.start", "ok", room_id=room)
    assert bob.until("typing", user_id="ann")["action"] == "start"
    ann.ask("typing.stop", "ok", room_id=room)
    bob.until("typing", action="stop")
    for call in ("typing.start", "typing.stop", "subscribe", "unsubscribe"):
        ann.ask(call, "NOT_FOUND" if call != "unsubscribe" else "ok", room_id=UNKNOWN)
    ann.ask("presence.set", "ok", status="away")
    assert bob.until("presence.update", status="away")["user_id"] == "ann"
    ann.ask("presence.set", "ok", status="online")
    ann.ask("presence.set", "VALIDATION_ERROR", status="asleep")
    ann.ask("ping", "pong")
    ann.ask("auth", "CONFLICT", token="x")
    ann.ask("auth.refresh", "AUTHENTICATION_ERROR", token="x")
    for text in ("", "[]", "7", "{", '{"type":"ping","type":"ping"}', '{"type":"nothing"}', '{"type":7}', "{}"):
        ann.socket.send(text)
        assert ann.until("error")["code"] == "VALIDATION_ERROR"


def notifications(world, ann, bob):
    backend = world.tenant.backend

    def notify(targets, payload):
        return backend.call("POST", "/v1/notify", {"topic": "t", "payload": payload, "targets": targets}).json["notification_id"]

    made = notify({"room_id": world.room}, {"for": ["all"]})
    for talk in (ann, bob):
        frame = talk.until("notification", notification_id=made)
        assert (frame["topic"], frame["payload"]) == ("t", {"for": ["all"]}), frame
    ann.ask("notification.ack", "ok", notification_id=made)
    ann.ask("notification.ack", "ok", notification_id=UNKNOWN)
    ann.ask("notification.ack", "VALIDATION_ERROR", notification_id="x")
    for payload in ("text", None, 0):
        made = notify({"user_ids": ["ann"]}, payload)
        assert ann.until("notification", notification_id=made)["payload"] == payload


def syncs(world):
    """All outcomes. sync_max_events is 5 here."""
    room, rest = world.room, world.ann
    other = rest.call("POST", "/v1/rooms", {"type": "group", "members": ["ann"]}).json["room_id"]
    third = rest.call("POST", "/v1/rooms", {"type": "group", "members": ["ann"]}).json["room_id"]
    rest.call("POST", f"/v1/rooms/{other}/messages", {"content": "one"})
    with Talk(world, rest) as talk:
        epoch = talk.hello["epoch"]
        talk.ask("sync", "VALIDATION_ERROR", rooms={room: 1})  # no epoch
        talk.ask("sync", "VALIDATION_ERROR", rooms=[])
        done = talk.sync(epoch=epoch, rooms={room: 0, other: 1, UNKNOWN: 0, third: None})
        assert {r: f["outcome"] for r, f in done.items()} == {room: "gap", other: "recovered", UNKNOWN: "gone", third: "live"}, done
        assert done[room]["from_seq"] == 1 and done[UNKNOWN]["seq"] is None
        talk.sync("CONFLICT", rooms={room: None})
        talk.ask("unsubscribe", "ok", room_id=other)
        assert talk.sync(epoch="another", rooms={other: 1})[other]["outcome"] == "reset"
    with Talk(world, rest) as talk:
        talk.sync(rooms={}, rest="live")
        rest.call("POST", f"/v1/rooms/{other}/messages", {"content": "live"})
        talk.until("message", room_id=other)
        rest.call("DELETE", f"/v1/rooms/{other}")
        talk.until("room.removed", room_id=other)
    with Talk(world, rest, "sync=auto&device_id=phone") as talk:
        start = talk.until("sync.start")
        assert start["rooms"][room] == 3
        assert "request_id" not in talk.until("sync.done")
        with Talk(world, rest, "device_id=phone"):
            assert talk.socket.until_closed() == (4505, "CONFLICT")


def comings_and_goings(world, ann, bob):
    """A dm that is new, a message that was edited and deleted since, and somebody who leaves."""
    rest = world.bob
    dm = rest.call("POST", "/v1/rooms", {"type": "dm", "members": ["ann", "bob"]}).json["room_id"]
    assert sorted(ann.socket.until(lambda f: f["type"] == "room.added" and f["room"]["room_id"] == dm)["room"]["members"]) == ["ann", "bob"]
    for text in ("first", "second"):
        message = rest.call("POST", f"/v1/rooms/{dm}/messages", {"content": text}).json["message_id"]
        rest.call("PATCH", f"/v1/rooms/{dm}/messages/{message}", {"content": "edited"})
    rest.call("DELETE", f"/v1/rooms/{dm}/messages/{message}")
    ann.sync(rooms={dm: 0})
    assert "edited_at" in ann.until("message", room_id=dm, seq=1)
    assert "deleted_at" in ann.until("message", room_id=dm, seq=3)
    bob.socket.close()
    assert "last_seen" in ann.until("presence.update", user_id="bob", status="offline")


def closing(world):
    """What ends a connection, with the code's reason."""
    with Talk(world, world.ann) as talk:
        talk.socket.send_binary(b"x")
        assert talk.socket.until_closed() == (1003, "UNSUPPORTED_MEDIA_TYPE")
    with Talk(world, world.ann) as talk:
        talk.socket.send('{"type":"' + "x" * (128 << 10) + '"}')
        assert talk.socket.until_closed() == (1009, "PAYLOAD_TOO_LARGE")
    with Talk(world, world.ann) as talk:
        talk.socket._write(1, b'{"type":"\xff"}')
        assert talk.socket.until_closed() == (1007, "VALIDATION_ERROR")
    with world.node.nobody.socket() as socket:
        socket.send({"type": "auth", "token": "wrong", "request_id": 1})
        assert socket.until("error")["code"] == "AUTHENTICATION_ERROR"
        assert socket.until_closed() == (4501, "AUTHENTICATION_ERROR")
    kept = [Talk(world, world.eve) for _ in range(5)]
    with world.eve.socket() as socket:
        assert socket.until_closed() == (1008, "RATE_LIMIT_EXCEEDED")
    for talk in kept:
        talk.socket.close()


def tokens(world):
    """With a JWT: the first-frame auth, what expires and is refreshed. Only when they are served."""
    if "auth.refreshed" in world.documents.later_frames:
        return
    tenant, nobody = world.tenant, world.node.nobody
    with nobody.socket() as socket:
        Talk.used["auth"] += 1
        socket.send({"type": "auth", "token": tenant.jwt("ann", 3600), "request_id": 1})
        assert "expires_at" in socket.until("hello")
    with tenant.bearer("ann").socket() as socket:
        assert "expires_at" in socket.until("hello")
        Talk.used["auth.refresh"] += 1
        reply = socket.ask({"type": "auth.refresh", "token": tenant.jwt("ann", 7200)})
        assert reply["type"] == "auth.refreshed", reply
        assert socket.ask({"type": "auth.refresh", "token": tenant.jwt("bob")})["code"] == "AUTHENTICATION_ERROR"
    with nobody.socket() as socket:  # less than a minute: at once
        socket.send({"type": "auth", "token": tenant.jwt("ann", 30), "request_id": 1})
        socket.until("hello")
        assert socket.until("auth.expiring")["in_ms"] <= 60000


def flood(documents):
    """4029 after its error, on a node with a low ws_frame_rate."""
    with Node(ws_frame_rate=5, ws_frame_burst=5) as node:
        with node.tenant("flood").user("ann").socket() as socket:
            socket.until("hello")
            for n in range(50):
                socket.send({"type": "ping", "request_id": n})
            code = socket.until_closed()
            errors = [f for f in socket.waiting if f["type"] == "error"]
            assert code == (4029, "RATE_LIMIT_EXCEEDED") and errors[-1]["code"] == "RATE_LIMIT_EXCEEDED"
            assert errors[-1]["retry_after_ms"] > 0


def frames_of_the_source():
    """The frame types that the node's sources name: (of clients, of the node)."""
    client = re.findall(r'\{"([a-z_.]+)", frame_type::', (ROOT / "protocol/client_frame.cpp").read_text())
    server = set(re.findall(r'return "([a-z_.]+)";', re.search(r"to_text\(entry_kind.*?^}", (ROOT / "protocol/entry.cpp").read_text(),
                                                              re.S | re.M)[0]))
    for folder in ("protocol", "net"):
        for path in sorted((ROOT / folder).glob("*.cpp")):
            text = path.read_text()
            server.update(re.findall(r'\{"type":"([a-z_.]+)"', text))
            for one, two in re.findall(r'open_reply\(out, (?:[a-z_]+ \? )?"([a-z_.]+)"(?: : "([a-z_.]+)")?', text):
                server.update({one, two} - {""})
    return set(client), server


def unsourced(documents):
    """Frames of the sources that are not in the documents, and the other way round."""
    client, server = frames_of_the_source()
    missing = [f"{name}: in the node's sources, not documented" for name in
               sorted((client - set(documents.client_frames)) | (server - set(documents.server_frames)))]
    return missing + [f"{name}: documented, not in the node's sources" for name in
                      sorted((set(documents.client_frames) - client) | (set(documents.server_frames) - documents.later_frames - server))]


def life(seen):
    """Nodes and everything that is said on their connections: (exit status, seconds of the drain)."""
    documents = seen.documents
    Socket.check = staticmethod(seen.frame)
    with Node(sync_max_events=5, presence_grace="200ms") as node:
        world = World()
        world.node, world.documents, world.tenant = node, documents, node.tenant("contract")
        for name in ("ann", "bob", "cid", "dan", "eve"):
            setattr(world, name, world.tenant.user(name))
        with Talk(world, world.ann) as ann, Talk(world, world.bob) as bob:
            entries(world, ann, bob)
            cursors(world, ann, bob)
            notifications(world, ann, bob)
            syncs(world)
            comings_and_goings(world, ann, bob)
        closing(world)
        tokens(world)
        last = Talk(world, world.bob)
        began = time.monotonic()
        node.signal()
        assert last.until("server.shutdown")["reconnect_after_ms"] >= 0
        assert last.socket.until_closed() == (1012, "UNAVAILABLE")
        status, took = node.child.wait(15), time.monotonic() - began
    flood(documents)
    return status, took


def unseen(seen):
    """What the documents say and no frame showed."""
    documents = seen.documents
    missing = [m for m in seen.missing() if m.startswith("the frame ")]
    missing += [f"the client frame {n} was never sent" for n in documents.client_frames if not Talk.used[n]]
    outcomes = documents.server_frames["sync.complete"]["properties"]["outcome"]["enum"]
    missing += [f"the outcome {o} was never seen" for o in outcomes if not Talk.outcomes[o]]
    return missing + seen.unseen_properties(frames=True, but=UNSEEN)


def main():
    documents = Documents()
    seen = Seen(documents)
    missing = unsourced(documents)
    status, took = life(seen)
    if status != 0 or took > 10:
        missing.append(f"the node ended with {status} after {took:.1f} s")
    missing += unseen(seen)
    print(f"websocket: {sum(seen.frames.values())} frames of {len(seen.frames)} of {len(documents.server_frames)} kinds "
          f"({len(documents.later_frames & set(documents.server_frames))} marked `later`), {len(Talk.used)} of "
          f"{len(documents.client_frames)} client frames, {len(Talk.outcomes)} sync outcomes, {len(seen.frame_codes)} error codes")
    print("\n".join(missing))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
