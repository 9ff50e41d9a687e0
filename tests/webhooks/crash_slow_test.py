#!/usr/bin/env python3
"""`kill -9` under load, again and again, with three tenants: one's endpoint is healthy, one's is slow, one's refuses connections.
What was accepted is told to the healthy one, each message at least once as message.created and as message.offline, in order,
repeats under the same id; and the bad ones do not slow it. SPEC 6, 2.1. Prints the figures.

PARLEY_CRASH_CYCLES: how often it is killed (default 6). PARLEY_SEED: when.
By hand: PARLEY_BIN=build/release/bin/parley tests/webhooks/crash_slow_test.py
"""

import collections
import http.client
import itertools
import json
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import threading
import time

from receiver import Receiver, Refusing, Reply
from stage import BINARY, Node, Stage, announce, await_that, equal, room, seconds, true

CYCLES = int(os.environ.get("PARLEY_CRASH_CYCLES", "6"))
SEED = int(os.environ.get("PARLEY_SEED", "1"))
ROOMS, PER_ROOM = 4, 2         # of each tenant; both members of a room send
RATE = 120.0                   # messages a second of each tenant, at most
SLOW = 0.2                     # seconds for an answer
AFTER = 0.5                    # offline_after
ROUND, ROUNDS = (3.0, 3) if CYCLES > 10 else (2.0, 1)  # seconds with, and without, the bad ones
BOUND = 2.0                    # p99 in seconds, on any machine: waiting for a bad endpoint would be more
WITHIN = 60.0                  # without anything new


class Talker:
    """One tenant's senders, in a process of their own: each repeats what has no answer with its key, whatever becomes of the
    node. Commands come over a pipe."""

    def __init__(self, pipe):
        self.pipe, self.address, self.more, self.ends = pipe, None, False, False
        self.accepted, self.trouble, self.repeated, self.threads = [], [], 0, []
        self.busy = set()

    def run(self):
        while True:
            command, *words = self.pipe.recv()
            if command == "rooms":
                self.key, rooms = words
                for n, (where, who) in enumerate(rooms):
                    self.threads.append(threading.Thread(target=self.talk, args=(n, where, who), daemon=True))
                    self.threads[-1].start()
            elif command == "say":
                self.address, self.more = words
            elif command == "count":
                self.pipe.send(len(self.accepted))
            elif command == "open":
                self.pipe.send(len(self.busy))
            elif command == "results":
                self.pipe.send((self.accepted, self.repeated, self.trouble))
                self.accepted = []
            elif command == "end":
                return

    def talk(self, number, where, who):
        connection, address, pending, tried = None, None, None, False
        pause = ROOMS * PER_ROOM / RATE
        due = time.monotonic() + pause * number / (ROOMS * PER_ROOM)
        for n in itertools.count():
            while pending is None:
                if self.more and time.monotonic() >= due:
                    due = max(due + pause, time.monotonic() - pause)
                    pending, tried = f"{number}-{n}", False
                    self.busy.add(number)
                else:
                    time.sleep(0.002)
            try:
                if connection is None or address != self.address:
                    address = self.address
                    connection = http.client.HTTPConnection(*address, timeout=20)
                    connection.connect()
                    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.repeated += tried
                tried = True
                connection.request("POST", f"/v1/rooms/{where}/messages",
                                   json.dumps({"sender_id": who, "content": f"text {pending}"}),
                                   {"X-API-Key": self.key, "Idempotency-Key": pending, "Content-Type": "application/json"})
                answer = connection.getresponse()
                body = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError):
                if connection is not None:
                    connection.close()
                connection = None
                time.sleep(0.005)  # until the node is there again
                continue
            if answer.status in (200, 201):
                self.accepted.append((where, body["seq"], body["message_id"], body["created_at"]))
                pending = None
                self.busy.discard(number)
            elif answer.status in (429, 503):
                time.sleep(0.02)
            else:
                self.trouble.append(f"{answer.status} {body}")
                return


class Tenant:
    """With its senders."""

    def __init__(self):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=lambda: Talker(theirs).run(), daemon=True)
        self.process.start()
        self.accepted = {}  # by message id: (room, seq, created_at)
        self.repeated = 0

    def begin(self, tenant):
        self.tenant = tenant
        self.rooms = [room(tenant, "ann", "ben") for _ in range(ROOMS)]
        self.pipe.send(("rooms", tenant.key, [(r, who) for r in self.rooms for who in ("ann", "ben")]))

    def ask(self, *command):
        self.pipe.send(command)
        return self.pipe.recv()

    def collect(self):
        accepted, self.repeated, trouble = self.ask("results")
        equal(trouble, [])
        for where, seq, id, created_at in accepted:
            true(self.accepted.setdefault(id, (where, seq, created_at)) == (where, seq, created_at), id)


def verify(node):
    done = subprocess.run([BINARY, "verify", "--database", str(node.folder / "data/parley.db")], capture_output=True, text=True,
                          timeout=300, env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL)
    true(done.returncode == 0 and "\nclean\n" in done.stdout, f"parley verify: {done.stdout} {done.stderr}")


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(p * len(values)))] if values else float("nan")


class Run:
    def __init__(self):
        self.random = random.Random(SEED)
        self.healthy, self.slow, self.dead = self.all = [Tenant() for _ in range(3)]

    def main(self):
        with Refusing() as refusing, Receiver() as receiver, Node(
                durability="full", offline_after=f"{AFTER * 1000:.0f}ms", retry_interval="100ms", retry_max_interval="1s",
                retry_max_attempts=1000) as node:
            self.node, self.receiver = node, receiver
            stage = self.stage = Stage(node, receiver)
            self.urls = {}
            for t, url in (self.healthy, None), (self.slow, None), (self.dead, refusing.url):
                tenant, endpoint = stage.tenant(["message.created"], url=url)
                t.begin(tenant)
                t.endpoint, self.urls[t] = endpoint, url or endpoint.url
            self.slow.endpoint.answer = Reply(204, after=SLOW)
            self.kill_again_and_again()
            self.drain()
            self.judge()
            self.lateness()
            equal(node.stop(), 0)
            verify(node)
            for t in self.all:
                t.pipe.send(("end",))

    def say(self, more=True, tenants=None):
        for t in tenants or self.all:
            t.pipe.send(("say", self.node.address, more))

    def kill_again_and_again(self):
        starts = []
        for cycle in range(CYCLES):
            self.say()
            before = self.healthy.ask("count")
            time.sleep(self.random.uniform(0, 0.8))  # the moment is drawn
            # Two of three times within what was accepted: an idle node is no test.
            if cycle % 3:
                await_that(lambda: self.healthy.ask("count") > before, WITHIN, "an accepted message")
            self.node.kill()
            if cycle % 4 == 3:
                self.node.launch()
                time.sleep(self.random.uniform(0, 0.06))
                self.node.kill()
            if cycle % 10 == 0:
                verify(self.node)
            self.node.config["io_threads"] = "3" if cycle % 2 else "1"
            begun = time.monotonic()
            self.node.start()
            starts.append(time.monotonic() - begun)
        self.starts = starts

    def drain(self):
        self.say(more=False)
        for t in self.all:
            await_that(lambda: t.ask("open") == 0, WITHIN, "an answer to each send")
            t.collect()
        self.drain_begun = time.monotonic()
        self.wait_for_all()
        self.drained = time.monotonic() - self.drain_begun

    def wait_for_all(self):
        """Until the healthy endpoint has everything, or nothing new comes."""
        endpoint, wanted = self.healthy.endpoint, set(self.healthy.accepted)
        while True:
            seen = len(endpoint.deliveries)
            missing = [wanted - {d.message["message_id"] for d in endpoint.of(type)} for type in ("message.created", "message.offline")]
            if not any(missing):
                return
            endpoint.wait(lambda: len(endpoint.deliveries) > seen + 200 or
                          len(endpoint.deliveries) > seen and sum(map(len, missing)) < 1000, WITHIN,
                          f"{len(missing[0])} message.created and {len(missing[1])} message.offline of {len(wanted)} accepted")

    def judge(self):
        endpoint = self.healthy.endpoint
        ids, bodies, self.repeats = {}, {}, collections.Counter()
        for type in "message.created", "message.offline":
            last = collections.defaultdict(int)
            for d in endpoint.of(type):
                id, event = d.message["message_id"], (type, d.message["message_id"])
                if event in ids:
                    self.repeats[type] += 1
                    equal((d.id, d.body), (ids[event], bodies.get(d.id)), "a repeat is the same, under the same id")
                    continue
                true(d.id not in bodies, f"one id, two events: {d}")
                ids[event], bodies[d.id] = d.id, d.body
                where, seq = d.data["room_id"], d.message["seq"]
                true(seq > last[where], f"{type} of seq {seq} after that of {last[where]}")
                if type == "message.created":
                    equal(seq, last[where] + 1, "the log has no gap")
                last[where] = seq
                if id in self.healthy.accepted:
                    equal((where, seq, d.message["created_at"]), self.healthy.accepted[id])
        self.told = len(ids)
        for t in self.healthy, self.slow:
            equal(t.endpoint.problems(), [])
        of_slow = collections.defaultdict(int)
        for d in self.slow.endpoint.of("message.created"):
            last = of_slow[d.data["room_id"]]
            true(d.message["seq"] <= last + 1, f"seq {d.message['seq']} after {last}: the slow one's are in order, too")
            of_slow[d.data["room_id"]] = max(last, d.message["seq"])
        for t in self.all:
            letters = self.stage.dead_letters(t.tenant)
            equal([letters[k] for k in ("failed_messages", "failed_webhooks", "failed_notifications")], [[], [], []])
        repeats = ", ".join(f"{n} repeats of {type}" for type, n in sorted(self.repeats.items())) or "no repeats"
        accepted = [len(t.accepted) for t in self.all]
        print(f"{CYCLES} kills: {sum(accepted)} accepted ({' / '.join(map(str, accepted))}), "
              f"{sum(t.repeated for t in self.all)} sends repeated; the healthy endpoint was told {self.told} events of its "
              f"{accepted[0]} messages, {repeats}, none missing, all in order, {self.drained:.1f} s after the last send; "
              f"the slow one got {len(self.slow.endpoint.deliveries)}; started again in "
              f"{percentile(self.starts, 0.5) * 1000:.0f} ms (median), {max(self.starts) * 1000:.0f} ms (longest)", flush=True)

    def lateness(self):
        """From the commit to the arrival at the healthy endpoint, with and without the two bad ones beside it."""
        figures = {"with": [], "without": []}
        for n in range(ROUNDS + 1):
            for which in (("with",) if n == 0 else ("without", "with") if n % 2 else ("with", "without")):
                late = self.round(which, is_backlog=n == 0)
                name = "with, and what waited for them" if n == 0 else which
                if n:
                    figures[which].append(percentile(late, 0.99))
                print(f"round {n}, {name}: {len(late)} messages, p50 {percentile(late, 0.5) * 1000:.1f} ms, "
                      f"p99 {percentile(late, 0.99) * 1000:.1f} ms, longest {max(late) * 1000:.1f} ms", flush=True)
                true(percentile(late, 0.99) < BOUND, "the healthy one waited for others")
        medians = {k: percentile(v, 0.5) * 1000 for k, v in figures.items()}
        print(f"p99 of the healthy one, median of {ROUNDS} rounds: {medians['without']:.1f} ms without, {medians['with']:.1f} ms "
              f"with a slow and a dead one beside it", flush=True)

    def round(self, which, is_backlog):
        for t in self.slow, self.dead:
            if not is_backlog:
                config = {"webhook_url": self.urls[t], "webhook_events": ["message.created"]} if which == "with" else {}
                self.stage.configure(t.tenant, **config)
        self.say()
        time.sleep(ROUND)
        self.say(more=False)
        before = set(self.healthy.accepted)
        for t in self.all:
            await_that(lambda: t.ask("open") == 0, WITHIN, "an answer to each send")
            t.collect()
        self.wait_for_all()
        new = set(self.healthy.accepted) - before
        return [d.at - seconds(d.message["created_at"]) for d in self.healthy.endpoint.of("message.created")
                if d.message["message_id"] in new]


if __name__ == "__main__":
    announce()
    multiprocessing.set_start_method("fork")
    Run().main()
    print("Ran 1 test")
