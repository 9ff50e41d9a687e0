#!/usr/bin/env python3
"""examples/chat.py against the real binary: what is typed is sent, what others send is shown, what was missed comes."""
import subprocess
import sys

from harness import ROOT, Node, QUICK, await_true, equal, inherited, true


class Chat:
    """The example, as somebody runs it in a terminal."""

    def __init__(self, client, room):
        self.lines = []
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(ROOT / "examples/chat.py"), "--url", f"ws://{client.address}", "--key",
             client.api_key, "--room", room, client.user_id],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=inherited())

    def wait_for(self, part):
        for text in self.process.stdout:
            self.lines.append(text)
            if part in text:
                return
        raise AssertionError(f"«{part}» did not come: {self.lines}")

    def type(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def end(self):
        self.process.stdin.close()
        self.process.wait(20)


def main():
    node = Node(QUICK)
    try:
        backend = node.tenant()
        alice = backend.as_user("alice")
        room = alice.create_room("dm", ["alice", "bob"]).json["room_id"]
        alice.send(room, "missed")
        bob = Chat(backend.as_user("bob"), room)
        bob.wait_for("connected as bob")
        bob.wait_for("alice: missed")
        alice.send(room, "live \x1b[2J")
        bob.wait_for("alice: live \N{REPLACEMENT CHARACTER}[2J")
        bob.type("typed")
        bob.wait_for("bob: typed")
        equal([m["content"] for m in alice.messages(room).json["messages"]][-1], "typed")
        acked = lambda: [r["last_ack"] for r in backend.as_user("bob").rooms().json["rooms"]] == [3]  # noqa: E731
        await_true(acked, "what was shown is not acked")
        bob.end()
        true("* error" not in "".join(bob.lines), bob.lines)
    finally:
        node.end()
    print("examples/chat.py works")


if __name__ == "__main__":
    main()
