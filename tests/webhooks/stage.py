"""What the tests of webhooks share: nodes, tenants with an endpoint, and a runner. Most of what is tested is waiting (for a
retry, for `offline_after`): the cases of a file run side by side, each with a tenant and an endpoint of its own."""

import concurrent.futures
import itertools
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "contract"))
import node as contract_node  # noqa: E402
from node import BINARY, MASTER_KEY, await_that  # noqa: E402,F401

from receiver import Receiver  # noqa: E402
from verifier import announce  # noqa: E402

ALL_EVENTS = ["message.created", "message.edited", "message.deleted", "room.created", "room.updated", "room.deleted",
              "member.joined", "member.left", "user.online", "user.offline", "notification.failed"]


class PerThread(dict):
    """Kept connections are a thread's own."""

    def get(self, key, otherwise=None):
        return super().get((key, threading.get_ident()), otherwise)

    def __setitem__(self, key, value):
        super().__setitem__((key, threading.get_ident()), value)

    def pop(self, key, otherwise=None):
        return super().pop((key, threading.get_ident()), otherwise)


class Node(contract_node.Node):
    """May send to loopback; its cases share it. With `folder` it keeps its data where an earlier one had them."""

    def __init__(self, **config):
        super().__init__(**{"webhook_allow_private": "true", **config})
        self.http = PerThread()

    def cli(self, *arguments):
        """`parley <arguments>` against this node: standard output."""
        env = {"PATH": os.environ["PATH"], "PARLEY_MASTER_API_KEY": MASTER_KEY}
        done = subprocess.run([self.binary, *arguments, "--url", f"http://{self.address[0]}:{self.address[1]}"], env=env,
                              capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise AssertionError(f"parley {' '.join(arguments)}: {done.returncode}: {done.stderr}")
        return done.stdout


class Stage:
    """What a case is given."""

    numbers = itertools.count(1)

    def __init__(self, node, receiver):
        self.node, self.receiver, self.endpoints = node, receiver, []

    def endpoint(self):
        self.endpoints.append(self.receiver.endpoint(f"endpoint-{next(Stage.numbers)}"))
        return self.endpoints[-1]

    def tenant(self, events=ALL_EVENTS, endpoint=None, url=None, node=None, **config):
        """(tenant, its endpoint): a new one; `config`: more of the tenant's."""
        endpoint = endpoint or self.endpoint()
        tenant = (node or self.node).tenant(f"acme-{endpoint.name}", {
            "webhook_url": url or endpoint.url, "webhook_events": list(events), **config})
        if not endpoint.secrets:
            endpoint.secrets = [tenant.made["webhook_secret"]]
        return tenant, endpoint

    def configure(self, tenant, **config):
        done = tenant.node.operator.call("PATCH", f"/v1/admin/tenants/{tenant.id}", {"config": config})
        equal(done.status, 200, done)

    def dead_letters(self, tenant):
        return ok(tenant.node.operator.call("GET", f"/v1/admin/dead-letters?tenant_id={tenant.id}")).json


def ok(answer):
    if answer.status // 100 != 2:
        raise AssertionError(answer)
    return answer


def equal(actual, expected, what=""):
    if actual != expected:
        raise AssertionError(f"{what!r}: {actual!r} instead of {expected!r}")


def true(claim, what):
    if not claim:
        raise AssertionError(what)


def room(tenant, *members, type="group", **more):
    """Its id."""
    return ok(tenant.backend.call("POST", "/v1/rooms", {"type": type, "members": list(members), **more})).json["room_id"]


def post(tenant, where, sender, content, **more):
    """The message."""
    return ok(tenant.backend.call("POST", f"/v1/rooms/{where}/messages", {"sender_id": sender, "content": content, **more})).json


def log_of(tenant, where):
    """The room's log, by seq."""
    page = ok(tenant.backend.call("GET", f"/v1/rooms/{where}/events?after_seq=0&limit=1000")).json
    return {e["seq"]: e for e in page["events"]}


def seconds(time_text):
    """Unix time of one of the node's."""
    import datetime
    return datetime.datetime.fromisoformat(time_text.replace("Z", "+00:00")).timestamp()


CASES = []


def case(function):
    CASES.append(function)
    return function


def run_one(function, node, receiver):
    """(None or what is wrong, seconds)."""
    begun = time.monotonic()
    stage = Stage(node, receiver)
    try:
        function(stage)
        problems = [p for e in stage.endpoints for p in e.problems()]
        true(not problems, f"{len(problems)} deliveries are not as they must be: {problems[:3]}")
        return None, time.monotonic() - begun
    except Exception:  # whatever a case meets is its failure
        return traceback.format_exc(limit=-4), time.monotonic() - begun


def main(**config):
    """Runs the cases of the file that was started, or those that are named, against one node with this configuration."""
    announce()
    wanted = sys.argv[1:]
    cases = [c for c in CASES if not wanted or c.__name__ in wanted]
    failed = 0
    with Receiver() as receiver, Node(**config) as node:
        with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, len(cases))) as pool:
            futures = [(c, pool.submit(run_one, c, node, receiver)) for c in cases]
            for function, future in futures:
                why, took = future.result()
                failed += why is not None
                print(f"{'ok    ' if why is None else 'FAILED'} {took:5.1f} s  {function.__name__}" + (f"\n{why}" if why else ""),
                      flush=True)
        if node.child.poll() is not None:
            failed += 1
            print(f"the node has ended with {node.child.returncode}")
        if failed:
            print("the node's last words:\n" + "\n".join(node.log.read_text(errors="replace").splitlines()[-30:]))
        true(not receiver.strays, f"requests to paths that nobody named: {receiver.strays}")
    print(f"Ran {len(cases)} tests, {failed} failed")
    sys.exit(0 if cases and not failed else 1)


def json_of(text):
    return json.loads(text)
