#!/usr/bin/env python3
"""Frames made from the asyncapi.yaml that the node serves: valid, with something wrong, flat and nested in `data`. Every frame
with a request id gets exactly one reply with it, a documented one; what is not understood gets one error; the connection lives
on. SPEC 2.5, 5.

PARLEY_CONTRACT_FRAMES=10000 PARLEY_SEED=7 make it longer and another, PARLEY_CONTRACT_IO_THREADS=3 wider; the same seed makes the same
choices.
"""

import collections
import json
import os
import sys
import time

from contract import Broken, Check, Documents, Seen
from generate import Source
from node import Node, Socket

FRAMES = int(os.environ.get("PARLEY_CONTRACT_FRAMES", "3000"))
SEED = int(os.environ.get("PARLEY_SEED", "1"))
BATCH = 100


def is_request_id(value):
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass")) <= 128 and not any("\ud800" <= c <= "\udfff" for c in value)
    return isinstance(value, int) and not isinstance(value, bool) and len(str(value)) <= 128


def key_of(request_id):
    return json.dumps(request_id)


def depth(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, (dict, list)) + max(map(depth, inner), default=0)


class Sent:
    """A frame on its way. `id`: the request id that its one reply carries; `anonymous`: one error without an id is owed;
    neither: the text is faulty, and nobody can say whether it was understood as far as its request id, `perhaps`."""

    def __init__(self, text, type, id=None, anonymous=False, perhaps=None, flat=None):
        self.text, self.type, self.id, self.anonymous, self.perhaps = text, type, id, anonymous, perhaps
        self.flat = flat  # what the frame says, wherever it says it


def make(source, documents, number):
    type = source.choice(sorted(documents.client_frames))
    frame = source.valid(documents.client_frames[type])
    if source.chance(0.95):
        frame["request_id"] = source.choice([f"r{number}", number, -number - 1, f"\u00e9\U0001f600{number}", "x" * 120 + str(number)[:8]])
    else:
        frame.pop("request_id", None)
    if source.chance(0.3):
        frame = source.mutated(frame)
    if source.chance(0.02) and isinstance(frame, dict):
        frame["request_id"] = source.choice([1.5, True, None, {}, [], "x" * 129, 10 ** 129])
    torn = False
    if isinstance(frame, dict) and source.chance(0.35) and "data" not in frame:
        outside = {n: v for n, v in frame.items() if n == "type" or source.chance(0.2)}
        inside = {n: v for n, v in frame.items() if n not in outside or n != "type" and source.chance(0.1)}
        if source.chance(0.05) and "request_id" in frame:
            outside["request_id"], inside["request_id"] = f"out{number}", f"in{number}"
            torn = True
        frame = {**outside, "data": inside}
    whole = json.dumps(frame, ensure_ascii=True)
    text = source.text(frame)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = whole
    understood = text.strip(" \n") in (whole, json.dumps(frame, ensure_ascii=False))
    if not isinstance(frame, dict):
        return Sent(text, None, anonymous=understood)
    inner = frame["data"] if isinstance(frame.get("data"), dict) else {}
    request_id = frame.get("request_id") if "request_id" in frame else inner.get("request_id")
    shown = frame.get("type") if isinstance(frame.get("type"), str) else None
    if not understood or depth(frame) > 32:  # not looked at behind that
        return Sent(text, None, perhaps=key_of(request_id))
    if is_request_id(request_id) and not torn:
        return Sent(text, shown if shown in documents.client_frames else None, id=request_id,
                    flat={**inner, **{n: v for n, v in frame.items() if n != "data"}})
    wrong = torn or (request_id is not None and not is_request_id(request_id))
    return Sent(text, None, anonymous=wrong)


def main():
    with Node(io_threads=int(os.environ.get("PARLEY_CONTRACT_IO_THREADS", "1"))) as node:
        texts = {name: node.nobody.call("GET", f"/{name}").body.decode() for name in ("openapi.yaml", "asyncapi.yaml")}
        documents = Documents(texts)
        seen = Seen(documents)
        Socket.check = staticmethod(seen.frame)
        tenant = node.tenant("generated")
        ann = tenant.user("ann")
        rooms, messages = [], []
        for n in range(6):
            body = {"type": "dm" if n == 0 else "group", "members": ["ann", "bob"]}
            rooms.append(ann.call("POST", "/v1/rooms", body).json["room_id"])
            for caller in (ann, tenant.user("bob")):
                messages.append(caller.call("POST", f"/v1/rooms/{rooms[-1]}/messages", {"content": "x"}).json["message_id"])
        foreign = tenant.user("cid").call("POST", "/v1/rooms", {"type": "group", "members": ["cid"]}).json["room_id"]
        pool = {"room_id": rooms + [foreign], "message_id": messages, "reply_to": messages, "seq": list(range(6)), "epoch": []}
        source = Source(SEED, pool)
        socket = ann.socket("sync=manual")
        pool["epoch"].append(socket.until("hello")["epoch"])
        owed, perhaps, types = collections.Counter(), collections.Counter(), {}
        replies, kinds, anonymous, lowest, highest = 0, collections.Counter(), 0, 0, 0
        began = time.monotonic()
        number, taken = 0, 0
        checks = {name: Check(documents.open_frame(name)) for name in documents.client_frames}
        while number < FRAMES:
            batch = [make(source, documents, number + n) for n in range(min(BATCH, FRAMES - number))]
            number += len(batch)
            said = {}  # by request id, where it is one frame's alone
            for sent in batch:
                if sent.id is not None:
                    said[key_of(sent.id)] = sent.flat
                    if owed[key_of(sent.id)] or sent.type is None:
                        del said[key_of(sent.id)]
                    owed[key_of(sent.id)] += 1
                    types.setdefault(key_of(sent.id), set()).add(sent.type)
                lowest += sent.anonymous
                # Of an `ack` or `read` of several rooms each is answered, the last with the request id.
                highest += (sent.id is None) + sent.text.count('": ') * ('"rooms"' in sent.text)
                socket.send(sent.text)
            barrier = f"barrier-{number}"
            owed[key_of(barrier)] += 1
            types[key_of(barrier)] = {"ping"}
            socket.send({"type": "ping", "request_id": barrier})
            perhaps.update(s.perhaps for s in batch if s.perhaps is not None)
            while +owed:
                try:
                    frame = socket.receive()
                except Exception as end:
                    print(f"seed {SEED}, frames to {number}: {end!r}; without a reply: {dict(+owed)}")
                    for sent in batch:
                        if sent.id is not None and owed[key_of(sent.id)] > 0:
                            print(f"  {sent.text[:600]}")
                    raise
                if "request_id" not in frame:
                    if frame["type"] == "error":
                        anonymous += 1
                    continue
                key = key_of(frame["request_id"])
                owed[key] -= 1
                if owed[key] < 0:
                    # A text that was cut within a number has a shorter one, perhaps another frame's.
                    cut = next((p for p in perhaps if perhaps[p] > 0 and (p == key or p.lstrip("-").isdigit() and p.startswith(key))), None)
                    if cut is not None:
                        perhaps[cut] -= 1
                        owed[key] += 1
                        anonymous += 1
                        continue
                    raise Broken(f"seed {SEED}: a reply that nobody waits for: {frame}")
                allowed = {r for t in types[key] for r in documents.replies.get(t, {"error"})} | {"error"}
                if frame["type"] not in allowed:
                    raise Broken(f"seed {SEED}: {frame} is no documented reply to {types[key]}")
                if frame["type"] != "error" and key in said:
                    checks[said[key]["type"]](said.pop(key), "understood, and not what is documented")
                    taken += 1
                replies += 1
                kinds[frame["type"]] += 1
        if not lowest <= anonymous <= highest:
            raise Broken(f"seed {SEED}: {anonymous} errors without a request id; from {lowest} to {highest} were owed")
        assert socket.ask({"type": "ping"})["type"] == "pong"
        took = time.monotonic() - began
        socket.close()
        status = node.stop()
    print(f"frames, generated: {FRAMES} frames of seed {SEED} in {took:.1f} s: {replies} replies, each to one request id "
          f"({', '.join(f'{k}: {n}' for k, n in sorted(kinds.items()))}), {anonymous} errors without one, 0 unanswered, "
          f"{taken} frames understood, all as documented, "
          f"on one connection, which lives on; {sum(seen.frames.values())} frames received, all as documented; exit status {status}")
    return 1 if status != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
