#!/usr/bin/env python3
"""ChatAPI's rate limits and their headers."""
import subprocess

from harness import await_true, equal, line, main, refused, true
from words import pair


@line("gen-rate-01")
def a_tenant_has_100_requests_a_second(s):
    (alice,) = s.users("alice")
    equal(alice.rooms().headers.get("x-ratelimit-limit"), "100")


@line("gen-rate-02")
def an_answer_tells_what_is_left_of_the_rate(s):
    (alice,) = s.users("alice", DEFAULT_RATE_LIMIT="50")
    first, second = alice.rooms().headers, alice.rooms().headers
    equal((first["x-ratelimit-limit"], second["x-ratelimit-limit"]), ("50", "50"))
    for headers in (first, second):
        true(0 <= int(headers["x-ratelimit-remaining"]) <= 50, repr(headers))


@line("gen-rate-03")
def an_answer_tells_when_the_rate_is_whole_again(s):
    (alice,) = s.users("alice")
    reset = int(alice.rooms().headers["x-ratelimit-reset"])
    now = subprocess.run(["date", "+%s"], capture_output=True, text=True, check=True).stdout
    true(abs(reset - int(now)) <= 5, f"{reset} at {now}")


@line("gen-rate-04")
def beyond_the_rate_is_429_with_retry_after(s):
    alice, bob = s.users("alice", "bob", DEFAULT_RATE_LIMIT="3")
    answer = next((a for a in (alice.rooms() for _ in range(300)) if a.status != 200), None)
    true(answer is not None, "300 requests at once and no limit")
    refused(answer, 429, "RATE_LIMIT_EXCEEDED")
    true(int(answer.headers["retry-after"]) >= 1, repr(answer.headers))
    equal(answer.headers["x-ratelimit-remaining"], "0")


@line("gen-rate-05")
def a_tenants_rate_is_its_own(s):
    (alice,) = s.users("alice", DEFAULT_RATE_LIMIT="3")
    await_true(lambda: alice.rooms().status == 429, "no limit")
    (other,) = s.users("alice", DEFAULT_RATE_LIMIT="3")
    equal(other.rooms().status, 200)
    for _ in range(5):  # these count for nobody
        equal((alice.health().status, alice.ws_token().status), (200, 200))
    alice.connect().wait_for("hello")


@line("gen-rate-06")
def a_users_sends_have_a_rate_too(s):
    alice, bob, room = pair(s)
    answer = next((a for a in (alice.send(room, "x") for _ in range(60)) if a.status != 200), None)
    true(answer is not None, "60 messages at once and no limit")
    refused(answer, 429, "RATE_LIMIT_EXCEEDED")
    true(int(answer.headers["retry-after"]) >= 1, repr(answer.headers))
    equal(bob.send(room, "y").status, 200)
    opened = alice.connect()
    for _ in range(30):
        opened.send("send_message", room_id=room, content="x")
    equal(opened.wait_for("error")["code"], "RATE_LIMIT_EXCEEDED")


if __name__ == "__main__":
    main()
