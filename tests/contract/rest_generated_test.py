#!/usr/bin/env python3
"""Requests made from the openapi.yaml that the node serves, valid and with something wrong, from every kind of caller, in both
path forms: no answer but documented ones, no 5xx but 503; no body is taken that the schema does not allow. SPEC 4.

PARLEY_CONTRACT_REQUESTS=10000 PARLEY_SEED=7 make it longer and another, PARLEY_CONTRACT_IO_THREADS=1 narrower; the same seed makes the
same choices.
"""

import collections
import json
import os
import sys
import time

from contract import Broken, Check, Documents, Seen
from generate import Source
from node import Node, quoted

REQUESTS = int(os.environ.get("PARLEY_CONTRACT_REQUESTS", "3000"))
SEED = int(os.environ.get("PARLEY_SEED", "1"))
# These end what the others need; they get a tenant of their own.
ON_A_VICTIM = {"updateTenant", "deleteTenant", "deleteKey", "createKey", "eraseUser"}


class World:
    def __init__(self, node):
        # Nobody listens there: what is sent is given up, until the endpoint rests.
        hook = {"webhook_url": "http://127.0.0.1:9/x", "webhook_events": ["message.created"]}
        self.node, self.tenant, self.foreign = node, node.tenant("generated", hook), node.tenant("foreign")
        self.users = ["ann", "bob", "cid", "d \u00e9:%/"]
        self.pool = {"user": self.users + ["nobody"], "user_id": self.users, "user_ids": self.users, "members": self.users,
                     "sender_id": self.users, "room": [], "room_id": [], "message": [], "message_id": [], "reply_to": [],
                     "cursor": [], "tenant": [self.tenant.id], "tenant_id": [self.tenant.id], "key": [], "job": [], "victims": [],
                     "id": [], "webhook_url": ["http://127.0.0.1:9/x", "http://127.0.0.1:9"],
                     "seq": [0, 1, 2, 3]}
        self.pairs, self.keys = [], []
        far = self.foreign.user("ann").call("POST", "/v1/rooms", {"type": "group", "members": ["ann"]}).json
        self.pool["room"].append(far["room_id"])
        self.victims()
        for _ in range(4):  # each gives up some before its endpoint rests
            silent = node.tenant("silent", hook)
            room = silent.user("ann").call("POST", "/v1/rooms", {"type": "group", "members": ["ann"]}).json["room_id"]
            silent.backend.call("POST", "/v1/messages/batch", {"messages": [
                {"room_id": room, "sender_id": "ann", "content": "x"} for _ in range(5)]})
            self.pool["tenant_id"].append(silent.id)

    def victims(self):
        for _ in range(3):
            made = self.node.tenant("victim")
            for user in self.users:
                made.user(user).call("POST", "/v1/rooms", {"type": "channel", "members": [user]}, headers={"X-User-Id": user.encode()})
            self.pool["victims"].append(made.id)
            self.keys = [(made.id, k["key_id"]) for k in made.made["keys"]] + self.keys[:12]

    def learn(self, value):
        """Ids in an answer are used in later requests."""
        if isinstance(value, list):
            for one in value[:3]:
                self.learn(one)
        elif isinstance(value, dict):
            if "sender_id" in value:  # a message: its room, itself, and who may change it
                self.pairs.append((value["room_id"], value["message_id"], value["sender_id"]))
                del self.pairs[:-20]
            for name, one in value.items():
                if isinstance(one, (dict, list)):
                    self.learn(one)
                elif isinstance(one, str):
                    into = {"room_id": ("room", "room_id"), "message_id": ("message", "message_id", "reply_to"), "job_id": ("job",),
                            "next_cursor": ("cursor",), "key_id": ("key",), "id": ("id",)}.get(name, ())
                    for pool in into:
                        if one not in self.pool[pool]:
                            self.pool[pool].append(one)
                        del self.pool[pool][:-40]


def request(source, world, operation):
    """(caller, target, headers, body) of one request."""
    caller = {"operator": world.node.operator, "anyone": world.node.nobody}.get(operation.caller, None)
    if caller is None or source.chance(0.1):
        name = source.choice(world.users[:3])
        callers = [world.tenant.user(name)] * 8 + [world.tenant.backend] * (12 if operation.caller == "backend" else 4)
        callers += [world.node.operator, world.node.nobody, world.foreign.user("ann"), world.foreign.backend]
        caller = source.choice(callers)
    path, query, headers = operation.path, [], {}
    if "message" in operation.segments and world.pairs and source.chance(0.6):
        room, message, sender = source.choice(world.pairs)
        path = path.replace("{room}", room).replace("{message}", message)
        if source.chance(0.7):
            caller = world.tenant.user(sender)
    if "key" in operation.segments and source.chance(0.6):
        tenant, key = source.choice(world.keys)
        path = path.replace("{tenant}", tenant).replace("{key}", key)
    for p in operation.parameters:
        if p.where == "path":
            pool = world.pool["victims"] if p.name == "tenant" and operation.id in ON_A_VICTIM else world.pool.get(p.name)
            value = source.choice(pool) if pool and source.chance(0.85) else source.word() or "x"
            path = path.replace("{" + p.name + "}", quoted(value))
        elif p.required or source.chance(0.3):
            value = source.valid(p.schema, p.name)
            if source.chance(0.2):
                value = source.choice([source.word(), source.anything()])
            if p.where == "query":
                joined = ",".join(quoted(str(v)) for v in value) if isinstance(value, list) else quoted(str(value))
                query.append(f"{p.name}={joined}")
            else:
                headers[p.name] = "".join(c for c in str(value) if " " < c < "\x7f")[:200]
    if source.chance(0.05):
        query.append(f"{quoted(source.word())}={quoted(source.word())}")
    body = None
    if operation.body is not None and (operation.body_required or source.chance(0.5)) and not source.chance(0.02):
        value = source.valid(operation.body)
        if source.chance(0.35):
            value = source.mutated(value)
        body = source.text(value).encode("utf-8", "surrogatepass")
        if source.chance(0.02):
            headers["Content-Type"] = source.choice(["text/plain", "application/json; charset=utf-8", "application/jsonx", ""])
    if source.chance(0.1):
        headers["X-Request-Id"] = source.choice(["mine-1", "x" * 64, "x" * 65, "a b", "\x7f"]).replace("\x7f", "%")
    prefix = source.choice(["/v1", "/v1", ""])
    return caller, prefix + path + ("?" + "&".join(query) if query else ""), headers, body


def never(seen, operations):
    """Operations that have not succeeded yet. GET /ws does so in websocket_test.py."""
    return [o.id for o in operations if o.id != "openWebSocket" and not any(seen.statuses[o.id, s] for s in o.success)]


def main():
    with Node(io_threads=int(os.environ.get("PARLEY_CONTRACT_IO_THREADS", "3")), webhook_allow_private="true",
              retry_max_attempts=1) as node:
        texts = {name: node.nobody.call("GET", f"/{name}").body.decode() for name in ("openapi.yaml", "asyncapi.yaml")}
        documents = Documents(texts)
        seen = Seen(documents)
        world = World(node)
        source = Source(SEED, world.pool)
        operations = [o for o in documents.operations.values() if not o.later]
        # What makes and says something comes often, so that the rest has something to find.
        weights = [6 if o.id in ("createRoom", "sendMessage", "sendBatch") else 1 if o.id in ON_A_VICTIM or o.id == "deleteRoom" else 3
                   for o in operations]
        began, slowest = time.monotonic(), (0.0, "")
        verdicts, taken = collections.Counter(), 0
        checks = {o.id: Check(o.body) for o in operations if o.body is not None}
        number = -1
        # Each operation is to succeed once; chance may want some more requests for that.
        while number + 1 < REQUESTS or (never(seen, operations) and number + 1 < 4 * REQUESTS):
            number += 1
            operation = source.random.choices(operations, weights)[0]
            caller, target, headers, body = request(source, world, operation)
            head = operation.method == "GET" and source.chance(0.05)
            at = time.monotonic()
            try:
                answer = caller.call("HEAD" if head else operation.method, target, headers=headers, raw=body)
                slowest = max(slowest, (time.monotonic() - at, f"{operation.method} {target}"))
                if answer.status >= 500 and answer.status != 503:
                    raise Broken("a 5xx")
                seen.answer(operation, answer, head)
                if answer.status < 300 and body and operation.body is not None:
                    value = json.loads(body)
                    if operation.id == "sendBatch":  # each item is taken or refused by itself
                        value["messages"] = [m for m, r in zip(value["messages"], answer.json["results"]) if r["status"] < 300]
                    if operation.id != "sendBatch" or value["messages"]:
                        taken += 1
                        checks[operation.id](value, "taken, and not what is documented")
            except Exception:
                print(f"request {number} of seed {SEED}, by {caller}: {operation.method} {target} {headers} {body!r}")
                raise
            verdicts[answer.status] += 1
            if answer.status < 300 and answer.headers.get("content-type") == "application/json" and not head:
                if operation.caller in ("tenant", "user") and caller.tenant is world.tenant or operation.caller == "operator":
                    world.learn(answer.json)
            if operation.id in ("deleteTenant", "eraseUser") and answer.status == 202:
                world.pool["victims"].clear()
                world.victims()
        took = time.monotonic() - began
        status = node.stop()
    without = never(seen, operations)
    print(f"rest, generated: {number + 1} requests of seed {SEED} in {took:.1f} s, "
          + ", ".join(f"{s}: {n}" for s, n in sorted(verdicts.items()))
          + f"; {len(operations) - len(without) - 1} of {len(operations) - 1} operations also with success, {taken} bodies taken, "
          f"all as documented; slowest {slowest[0] * 1e3:.0f} ms")
    if without:
        print("never with success: " + ", ".join(without))
    return 1 if status != 0 or without else 0


if __name__ == "__main__":
    sys.exit(main())
