#!/usr/bin/env python3
"""Every cell of the tables in docs/permissions.md on a running node, over REST and on a WebSocket, with keys and with tokens.
SPEC 3."""

import collections
import itertools
import re
import sys

from contract import Broken, Documents, Seen, is_later
from node import ROOT, Node, Socket
from rest_test import Run

CODES = {"400": "VALIDATION_ERROR", "401": "AUTHENTICATION_ERROR", "403": "AUTHORIZATION_ERROR", "404": "NOT_FOUND", "409": "CONFLICT"}
names = itertools.count()


def tables():
    """[(heading, [columns], [[cells]])] of the document."""
    out, heading = [], None
    for line in (ROOT / "docs" / "permissions.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif line.startswith("| ") and (not out or out[-1][0] != heading):
            out.append((heading, [c.strip() for c in line.strip("|").split("|")], []))
        elif line.startswith("| "):
            out[-1][2].append([c.strip() for c in line.strip("|").split("|")])
    return out


class Room:
    """A fresh room, in which everybody has said something."""

    def __init__(self, world, kind, posting="all"):
        self.world, self.kind = world, kind
        backend = world.tenant.backend
        self.people = {role: role.replace(" ", "-") + f"-{next(names)}" for role in ("owner", "admin", "member", "outsider", "other", "other admin")}
        inside = [self.people["member"], self.people["other"]] if kind == "dm" else [
            self.people[r] for r in ("owner", "admin", "member", "other", "other admin")]
        maker = world.tenant.user(self.people["other" if kind == "dm" else "owner"])
        self.id = self._done(maker.call("POST", "/v1/rooms", {"type": kind, "members": inside}))["room_id"]
        if kind != "dm":
            for role in ("admin", "other admin"):
                self._done(backend.call("PATCH", f"/v1/rooms/{self.id}/members/{self.people[role]}", {"role": "admin"}))
        self.said = {}
        for person in inside:
            self.said[person] = self._done(world.tenant.user(person).call(
                "POST", f"/v1/rooms/{self.id}/messages", {"content": "said by " + person}))["message_id"]
        if posting != "all":
            self._done(backend.call("PATCH", f"/v1/rooms/{self.id}", {"posting": posting}))

    @staticmethod
    def _done(answer):
        if answer.status >= 300:
            raise Broken(f"setup: {answer!r}")
        return answer.json

    def message_of(self, role):
        """One's own message; an outsider's is that of another."""
        return self.said.get(self.people.get(role), self.said[self.people["other"]])


# action → (operation, path and body of the request, frame for the same or None), of a room and who acts.
ACTIONS = {
    "see the room": ("getRoom", lambda r, role: ({}, None), None),
    "list members": ("listMembers", lambda r, role: ({}, None), None),
    "read messages": ("listMessages", lambda r, role: ({}, None), lambda r, role: {"type": "sync", "rooms": {r.id: 0}}),
    "read the log": ("listEvents", lambda r, role: ({}, None), lambda r, role: {"type": "sync", "rooms": {r.id: None}}),
    "move the cursor": ("read", lambda r, role: ({}, {"room_id": r.id, "seq": 1}),
                        lambda r, role: {"type": "read", "room_id": r.id, "seq": 1}),
    "send": ("sendMessage", lambda r, role: ({}, {"content": "x", **({"sender_id": "robot"} if role == "backend" else {})}),
             lambda r, role: {"type": "send_message", "room_id": r.id, "content": "x"}),
    "send in another's name": ("sendMessage", lambda r, role: ({}, {"content": "x", "sender_id": "robot"}), None),
    "edit one's own message": ("editMessage", lambda r, role: ({"message": r.message_of(role)}, {"content": "y"}),
                               lambda r, role: {"type": "edit_message", "room_id": r.id, "message_id": r.message_of(role), "content": "y"}),
    "edit another's message": ("editMessage", lambda r, role: ({"message": r.message_of("other")}, {"content": "y"}),
                               lambda r, role: {"type": "edit_message", "room_id": r.id, "message_id": r.message_of("other"), "content": "y"}),
    "delete one's own message": ("deleteMessage", lambda r, role: ({"message": r.message_of(role)}, None),
                                 lambda r, role: {"type": "delete_message", "room_id": r.id, "message_id": r.message_of(role)}),
    "delete another's message": ("deleteMessage", lambda r, role: ({"message": r.message_of("other")}, None),
                                 lambda r, role: {"type": "delete_message", "room_id": r.id, "message_id": r.message_of("other")}),
    "add a member": ("addMembers", lambda r, role: ({}, {"user_ids": ["somebody"]}), None),
    "add an admin": ("addMembers", lambda r, role: ({}, {"user_ids": ["somebody"], "role": "admin"}), None),
    "remove a member": ("removeMember", lambda r, role: ({"user": r.people["other"]}, None), None),
    "remove an admin": ("removeMember", lambda r, role: ({"user": r.people["other admin"]}, None), None),
    "remove the owner": ("removeMember", lambda r, role: ({"user": r.people["owner"]}, None), None),
    "make a member an admin": ("updateMember", lambda r, role: ({"user": r.people["other"]}, {"role": "admin"}), None),
    "make an admin a member": ("updateMember", lambda r, role: ({"user": r.people["other admin"]}, {"role": "member"}), None),
    "hand the room over": ("updateMember", lambda r, role: ({"user": r.people["other"]}, {"role": "owner"}), None),
    "change the room": ("updateRoom", lambda r, role: ({}, {"name": "another"}), None),
    "set the retention": ("updateRoom", lambda r, role: ({}, {"retention": "720h"}), None),
    "delete the room": ("deleteRoom", lambda r, role: ({}, None), None),
    "join": ("joinRoom", lambda r, role: ({}, None), None),
    "leave": ("leaveRoom", lambda r, role: ({}, None), None),
    "type": (None, None, lambda r, role: {"type": "typing.start", "room_id": r.id}),
    "subscribe": (None, None, lambda r, role: {"type": "subscribe", "room_id": r.id}),
}
ACTIONS["send where posting is admins"] = ACTIONS["send"]


def over_rest(run, operation, room, role, request, expected, caller):
    path, body = request(room, role)
    if operation.segments and "room" in operation.segments:
        path["room"] = room.id
    answer = caller.call(operation.method, run.target(operation, "", False, path), body)
    run.seen.answer(operation, answer)
    verdict = "yes" if answer.status < 300 else str(answer.status)
    if verdict != expected:
        raise Broken(f"{role} in a {room.kind}, {operation}: {expected} is documented: {answer!r}")


def over_websocket(frame, room, role, expected, caller):
    with caller.socket() as socket:
        socket.until("hello")
        reply = socket.ask(frame(room, role))
        if reply["type"] == "sync.done":
            outcome = socket.until("sync.complete")["outcome"]
            code = "NOT_FOUND" if outcome == "gone" else None
        else:
            code = reply["code"] if reply["type"] == "error" else None
        if code != CODES.get(expected):
            raise Broken(f"{role} in a {room.kind}, {frame(room, role)['type']}: {expected} is documented: {reply}")


def in_rooms(run, world, columns, rows, counts):
    kinds = ["user"] if is_later(run.seen.documents.openapi["components"]["securitySchemes"]["userToken"]) else ["user", "token"]
    for row in rows:
        action, kind = row[0], row[1]
        operation, request, frame = ACTIONS[action]
        for role, expected in zip(columns[2:], row[2:]):
            if expected == "-":
                continue
            for credential in kinds if role != "backend" else ["backend"]:
                def caller(room):
                    if role == "backend":
                        return world.tenant.backend
                    name = room.people[role]
                    return world.tenant.user(name) if credential == "user" else world.tenant.bearer(name)
                posting = "admins" if "posting is admins" in action else "all"
                if operation:
                    room = Room(world, kind, posting)
                    over_rest(run, run.operations[operation], room, role, request, expected, caller(room))
                    counts["rest", expected] += 1
                if frame and role != "backend":
                    room = Room(world, kind, posting)
                    over_websocket(frame, room, role, expected, caller(room))
                    counts["websocket", expected] += 1


def callers(run, world, columns, rows, counts):
    """Each operation of each kind, by each kind of caller. What a good credential is told beyond that is not looked at here."""
    for row in rows:
        kind = row[0]
        for who, expected in zip(columns[1:], row[1:]):
            caller = {"nobody": world.node.nobody, "operator": world.node.operator, "backend": world.tenant.backend,
                      "user": world.tenant.user("somebody"), "token": world.tenant.bearer("somebody")}[who]
            for operation in run.operations.values():
                if operation.later or operation.caller != kind or operation.id == "openWebSocket":
                    continue
                target = run.target(operation, "", False, {name: "nothing" for name in operation.segments})
                answer = caller.call(operation.method, target, {} if operation.body_required else None)
                run.seen.answer(operation, answer)
                if expected == "yes":
                    good = answer.status not in (401, 403)
                    if answer.status == 400:
                        good = answer.json["error"].get("field") != "user_id"
                else:
                    good = answer.status == int(expected)
                if not good:
                    raise Broken(f"{who}, {operation}: {expected} is documented: {answer!r}")
                counts["callers", expected] += 1


def main():
    documents = Documents()
    seen = Seen(documents)
    Socket.check = staticmethod(seen.frame)
    counts = collections.Counter()
    used = set()
    with Node(io_threads=3) as node:
        class World:
            pass
        world = World()
        world.node, world.tenant = node, node.tenant("permissions", {"user_topics": ["nothing"]})
        run = Run(node, seen)
        for heading, columns, rows in tables():
            if columns[0] == "action":
                in_rooms(run, world, columns, rows, counts)
                used |= {row[0] for row in rows}
            else:
                callers(run, world, columns, rows, counts)
                used |= {"callers"}
        status = node.stop()
    unused = (set(ACTIONS) | {"callers"}) - used
    total = sum(counts.values())
    print(f"permissions: {total} cells as documented ("
          + ", ".join(f"{where} {what}: {n}" for (where, what), n in sorted(counts.items())) + ")")
    if unused:
        print(f"actions without a row: {unused}")
    return 1 if unused or status != 0 or total < 200 else 0


if __name__ == "__main__":
    sys.exit(main())
