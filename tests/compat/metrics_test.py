#!/usr/bin/env python3
"""ChatAPI's counters on the unprefixed `/metrics`."""
from harness import await_true, equal, has_integer, line, main, refused, true


def counters(s):
    answer = s.alice.metrics()
    equal(answer.status, 200, repr(answer))
    return answer.json


def chat(s):
    """A node of one's own, since its counters count everything; Alice, Bob and their dm."""
    backend = s.own_node().tenant()
    s.alice, s.bob = backend.as_user("alice"), backend.as_user("bob")
    return s.alice.create_room("dm", ["alice", "bob"]).json["room_id"]


@line("metrics-01")
def metrics_are_json_without_a_key(s):
    chat(s)
    s.alice.api_key = s.alice.user_id = None
    answer = s.alice.metrics()
    equal(answer.status, 200, repr(answer))
    true(answer.headers["content-type"].startswith("application/json"), repr(answer.headers))
    answer.json
    others = s.own_node(PARLEY_METRICS_ALLOW="10.0.0.0/8").operator()
    refused(others.metrics(), 404, "NOT_FOUND")


@line("metrics-02")
def active_connections_counts_open_sockets(s):
    chat(s)
    equal(counters(s)["active_connections"], 0)
    opened = s.bob.connect()
    opened.wait_for("hello")
    await_true(lambda: counters(s)["active_connections"] == 1, "one socket is open")
    opened.close()
    await_true(lambda: counters(s)["active_connections"] == 0, "no socket is open")


@line("metrics-03")
def messages_sent_counts_accepted_messages(s):
    room = chat(s)
    equal(counters(s)["messages_sent"], 0)
    s.alice.send(room, "x")
    opened = s.bob.connect()
    opened.send("send_message", room_id=room, content="y")
    opened.wait_for("message", content="y")
    s.alice.send(room, "")  # refused
    await_true(lambda: counters(s)["messages_sent"] == 2, "two messages were accepted")


@line("metrics-04")
def delivery_attempts_are_counted(s):
    chat(s)
    has_integer(counters(s), "delivery_attempts")


@line("metrics-05")
def delivery_failures_are_counted(s):
    chat(s)
    has_integer(counters(s), "delivery_failures")


@line("metrics-06")
def dropped_broadcasts_has_both_names(s):
    chat(s)
    now = counters(s)
    has_integer(now, "dropped_broadcasts", "broadcast_drops")
    equal(now["dropped_broadcasts"], now["broadcast_drops"])


@line("metrics-07")
def uptime_seconds_counts(s):
    chat(s)
    before = counters(s)["uptime_seconds"]
    true(type(before) is int and 0 <= before < 60, before)
    await_true(lambda: counters(s)["uptime_seconds"] > before, "time stands still")


@line("metrics-08")
def prometheus_asks_for_text(s):
    chat(s)
    for accept in ("text/plain", "application/openmetrics-text; version=1.0.0"):
        answer = s.alice.request("GET", "/metrics", headers={"Accept": accept})
        equal(answer.status, 200, repr(answer))
        true("parley_" in answer.text and not answer.text.startswith("{"), answer.text[:200])


if __name__ == "__main__":
    main()
