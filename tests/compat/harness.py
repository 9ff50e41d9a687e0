"""What the tests of ChatAPI's dialect (SPEC 9) share: nodes of the real binary, fresh tenants, the registry of lines, the runner.

A test is a function that `@line("rest-rooms-01")` ties to one line of docs/chatapi-compat.md; lines_test.py proves that every
line has its test and every test its line. A file is run by itself: `python3 rest_test.py [line or test …]`.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

from chatapi_client import ChatAPI, Socket
from pending import PENDING

ROOT = pathlib.Path(os.environ.get("PARLEY_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BINARY = os.environ.get("PARLEY_BIN", str(ROOT / "build/release/bin/parley"))
MASTER_KEY = "the-operators-key-of-the-tests"

# What a test run differs in from a node with ChatAPI's defaults: it starts often, and it fails to authenticate on purpose.
QUICK = {"PARLEY_HERD_WINDOW": "0s", "PARLEY_DRAIN_DELAY": "0s", "PARLEY_AUTH_FAILURE_RATE": "0"}


class Line:
    """One registered test."""

    def __init__(self, id, test, later):
        self.id, self.test, self.later = id, test, later
        self.module = pathlib.Path(test.__code__.co_filename).name.removesuffix("_test.py")
        self.name = f"{self.module}.{test.__name__}"


LINES = {}


def line(id, later=False):
    """`later`: the document marks the line so, and the test demands what is answered until the feature comes."""

    def register(test):
        if id in LINES:
            raise ValueError(f"{id} has two tests")
        LINES[id] = Line(id, test, later)
        return test

    return register


# ---- claims


def equal(actual, expected, what=""):
    if actual != expected:
        raise AssertionError(f"{what}: " * bool(what) + f"{actual!r} instead of {expected!r}")


def true(claim, what):
    if not claim:
        raise AssertionError(what)


def refused(answer, status, code, field=None):
    """ChatAPI's error envelope with this status and code."""
    equal(answer.status, status, repr(answer))
    error = answer.json["error"]
    equal((answer.json["success"], error["code"]), (False, code), repr(answer))
    true(isinstance(error["message"], str) and error["message"], f"no message in {answer!r}")
    if field is not None:
        equal(error.get("field"), field, repr(answer))


def has_string(value, *names):
    for name in names:
        true(isinstance(value.get(name), str) and value[name], f"{name} is no string in {value}")


def has_integer(value, *names):
    for name in names:
        true(type(value.get(name)) is int, f"{name} is no integer in {value}")


def await_true(claim, what, within=10):
    deadline = time.monotonic() + within
    while not claim():
        true(time.monotonic() < deadline, what)
        time.sleep(0.01)  # between two looks; what counts is the deadline


# ---- nodes


class Node:
    """`parley serve` with these variables and no others but PATH; the working directory is the node's own."""

    def __init__(self, env, dotenv=None, arguments=()):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="parley-compat-"))
        self.env = {"LISTEN_ADDR": "127.0.0.1:0", "MASTER_API_KEY": MASTER_KEY,
                    "DATA_DIR": str(self.directory / "data"), **env}
        self.env = {name: value for name, value in self.env.items() if value is not None}
        if dotenv is not None:
            (self.directory / ".env").write_text(dotenv)
        self.arguments = list(arguments)
        self.start()

    def start(self):
        self.lines = []
        self.process = subprocess.Popen(
            [BINARY, "serve", *self.arguments], cwd=self.directory, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**inherited(), **self.env})
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        await_true(lambda: self.said("listening") or self.process.poll() is not None,
                   "the node does not start", 60)
        listening = self.said("listening")
        if not listening:
            self.reader.join(10)
            raise AssertionError(f"the node ended with {self.process.returncode}: {self.lines}")
        self.address = listening[0]["address"].replace("0.0.0.0", "127.0.0.1")

    def _read(self):
        for text in self.process.stderr:
            try:
                self.lines.append(json.loads(text))
            except ValueError:
                self.lines.append({"msg": text})

    def said(self, part):
        """The log lines whose text has `part`."""
        return [one for one in list(self.lines) if part in one.get("msg", "")]

    def operator(self):
        return ChatAPI(self.address, master_key=MASTER_KEY)

    def tenant(self, **fields):
        """The backend of a new tenant."""
        made = self.operator().create_tenant("acme", **fields)
        equal(made.status, 201, repr(made))
        return ChatAPI(self.address, made.json["api_key"])

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def exit_status(self, within=20):
        status = self.process.wait(within)
        self.reader.join(10)
        return status

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)
        shutil.rmtree(self.directory, ignore_errors=True)


def inherited():
    """Of this process's environment what a child needs: nothing that configures a node."""
    kept = ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ}


def parley(*arguments, env=None, dotenv=None):
    """Runs a command of the binary in an empty directory: status, output, errors."""
    with tempfile.TemporaryDirectory(prefix="parley-compat-") as directory:
        if dotenv is not None:
            pathlib.Path(directory, ".env").write_text(dotenv)
        return subprocess.run([BINARY, *arguments], cwd=directory, capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL, env={**inherited(), **(env or {})})


class Stage:
    """What a test is given. Nodes with the same variables are shared by the tests of a file, tenants are not."""

    shared = {}

    def __init__(self):
        self.own = []

    def node(self, **env):
        key = frozenset(env.items())
        if key not in Stage.shared:
            Stage.shared[key] = Node({**QUICK, **env})
        return Stage.shared[key]

    def own_node(self, dotenv=None, arguments=(), **env):
        """For tests that end it, or that look at its start."""
        self.own.append(Node({**QUICK, **env}, dotenv, arguments))
        return self.own[-1]

    def users(self, *names, **env):
        """Clients of these users, in a new tenant."""
        backend = self.node(**env).tenant()
        return [backend.as_user(name) for name in names]

    def clear(self):
        for socket in list(Socket.open_sockets):
            socket.close()
        for node in self.own:
            node.end()


# ---- the runner


def run_one(one):
    """None, or what is wrong."""
    stage = Stage()
    try:
        one.test(stage)
        return None
    except Exception:  # whatever a test meets is its failure
        return traceback.format_exc(limit=-4)
    finally:
        stage.clear()


def main():
    """Runs the lines of the file that was started."""
    module = pathlib.Path(sys.argv[0]).name.removesuffix("_test.py")
    lines = [one for one in LINES.values() if one.module == module]
    if wanted := sys.argv[1:]:
        lines = [one for one in lines if one.id in wanted or one.test.__name__ in wanted]
    held, pending, failed = 0, 0, 0
    for one in lines:
        why = run_one(one)
        if one.id in PENDING:
            if why is None:
                failed += 1
                print(f"FAILED   {one.id} {one.name}: holds now, take it out of pending.py", flush=True)
            else:
                pending += 1
                print(f"pending  {one.id} {one.name}: {PENDING[one.id]}", flush=True)
        elif why is None:
            held += 1
            print(f"ok       {one.id} {one.name}", flush=True)
        else:
            failed += 1
            print(f"FAILED   {one.id} {one.name}\n{why}", flush=True)
    for node in Stage.shared.values():
        node.end()
    print(f"{module}: {len(lines)} lines, {held} hold, {pending} pending, {failed} failed")
    sys.exit(0 if failed == 0 and lines else 1)
