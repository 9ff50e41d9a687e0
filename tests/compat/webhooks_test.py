#!/usr/bin/env python3
"""ChatAPI's webhook, and its dead letters. Without webhooks nothing in ChatAPI fails for good, so they are tested together."""
import sys

from chatapi_client import ChatAPI
from harness import ROOT, await_true, equal, has_integer, has_string, line, main, parley, refused, true
from words import pair

sys.path.append(str(ROOT / "tests" / "webhooks"))
from receiver import Receiver  # noqa: E402

# Its receiver is on this machine, and it waits for nobody.
QUICK = {"PARLEY_WEBHOOK_ALLOW_PRIVATE": "true", "PARLEY_OFFLINE_AFTER": "100ms", "RETRY_MAX_ATTEMPTS": "2",
         "RETRY_INTERVAL": "20ms", "WORKER_INTERVAL": "1s"}
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"

receiver = Receiver()


def hooked(s, name, answer=204, **config):
    """(a tenant's endpoint, alice, bob, their dm, the tenant) with `webhook_url` set as ChatAPI has it: in `config`."""
    endpoint = receiver.endpoint(name)
    endpoint.answer = answer
    made = s.node(**QUICK).operator().create_tenant("acme", config={
        "webhook_url": endpoint.url, "webhook_format": "chatapi", **config})
    equal(made.status, 201, repr(made))
    endpoint.secrets = [made.json["webhook_secret"]]
    backend = ChatAPI(s.node(**QUICK).address, made.json["api_key"])
    alice, bob = backend.as_user("alice"), backend.as_user("bob")
    dm = alice.create_room("dm", ["alice", "bob"], metadata='{"topic":"weather"}').json["room_id"]
    return endpoint, alice, bob, dm, made.json["tenant_id"]


def dead(s, tenant, name, **query):
    """That list, as soon as something is in it."""
    operator = s.node(**QUICK).operator()
    await_true(lambda: operator.dead_letters(tenant_id=tenant).json[name], f"nothing in {name}", 20)
    return operator.dead_letters(tenant_id=tenant, **query).json[name]


# ---- the webhook


@line("hook-target-01")
def a_tenants_webhook_url_is_called(s):
    endpoint, alice, _, dm, _ = hooked(s, "target")
    alice.send(dm, "hello")
    told = endpoint.wait_for("message.new")[0]
    equal((told.method, told.target), ("POST", "/target"))


@line("hook-when-01")
def who_has_not_acked_is_told_of_once(s):
    endpoint, alice, bob, _, _ = hooked(s, "when")
    group = alice.create_room("group", ["alice", "bob", "carol"]).json["room_id"]
    sent = [alice.send(group, text).json for text in ("first", "second")]
    told = endpoint.wait_for("message.new", 4)
    equal(sorted((d.json["recipient_id"], d.message["seq"]) for d in told),
          [(user, m["seq"]) for user in ("bob", "carol") for m in sent])
    # A socket that does not ack is no delivery; one that does is.
    opened = bob.connect()
    third = alice.send(group, "third").json
    opened.wait_for("message", content="third")
    opened.send("ack", room_id=group, seq=third["seq"])
    endpoint.wait_for("message.new", 1, content="third")
    alice.send(group, "fourth")
    endpoint.wait_for("message.new", 2, content="fourth")
    equal([d.json["recipient_id"] for d in endpoint.of("message.new", content="third")], ["carol"])


@line("hook-body-01")
def the_body_is_chatapis(s):
    endpoint, alice, _, dm, tenant = hooked(s, "body")
    sent = alice.send(dm, "hello").json
    equal(endpoint.wait_for("message.new")[0].json, {
        "event": "message.new", "tenant_id": tenant, "room_id": dm, "recipient_id": "bob", "room_metadata": '{"topic":"weather"}',
        "message": {"message_id": sent["message_id"], "sender_id": "alice", "content": "hello", "seq": sent["seq"],
                    "created_at": sent["created_at"]}})


@line("hook-request-01")
def the_request_is_json_and_signed(s):
    endpoint, alice, _, dm, _ = hooked(s, "request")
    alice.send(dm, "hello")
    told = endpoint.wait_for("message.new")[0]
    equal(told.headers["content-type"], "application/json")
    equal(endpoint.problems(), [])  # POST, JSON, a signature that fits


@line("hook-failure-01")
def a_failure_is_tried_again_and_then_a_dead_letter(s):
    endpoint, alice, _, dm, tenant = hooked(s, "failure", answer=500)
    alice.send(dm, "hello")
    (letter,) = dead(s, tenant, "failed_messages")
    tries = endpoint.of("message.new")
    equal((letter["attempts"], len(tries), len({d.id for d in tries})), (2, 2, 1))
    # Both are counted (metrics-04, metrics-05).
    counters = lambda: ChatAPI(s.node(**QUICK).address).metrics().json
    await_true(lambda: counters()["delivery_attempts"] >= 2 and counters()["delivery_failures"] >= 1, "deliveries are not counted")


# ---- dead letters


@line("rest-dead-letters-01")
def the_operator_sees_what_was_given_up(s):
    node = s.node(**QUICK)
    tenant = node.operator().create_tenant("acme").json["tenant_id"]
    answer = node.operator().dead_letters(tenant_id=tenant)
    equal((answer.status, answer.json["failed_messages"], answer.json["failed_notifications"]), (200, [], []), repr(answer))


@line("rest-dead-letters-02")
def a_tenant_must_be_named(s):
    operator = s.node(**QUICK).operator()
    refused(operator.dead_letters(), 400, "VALIDATION_ERROR", "tenant_id")
    refused(operator.dead_letters(tenant_id="tenant_0000000000000000"), 404, "NOT_FOUND")


@line("rest-dead-letters-03")
def a_page_of_dead_letters_has_a_limit(s):
    _, alice, _, dm, tenant = hooked(s, "limit", answer=500)
    alice.send(dm, "first")
    alice.send(dm, "second")
    operator = s.node(**QUICK).operator()
    await_true(lambda: len(operator.dead_letters(tenant_id=tenant).json["failed_messages"]) == 2, "two dead letters", 20)
    equal([d["seq"] for d in operator.dead_letters(tenant_id=tenant, limit=1).json["failed_messages"]], [2])
    equal([d["seq"] for d in operator.dead_letters(tenant_id=tenant, limit=1, offset=1).json["failed_messages"]], [1])
    equal(operator.dead_letters(tenant_id=tenant, limit=100000).status, 200)
    refused(operator.dead_letters(tenant_id=tenant, limit=0), 400, "VALIDATION_ERROR", "limit")


@line("rest-dead-letters-04")
def a_failed_message_has_the_documented_fields(s):
    _, alice, _, dm, tenant = hooked(s, "fields", answer=500)
    sent = alice.send(dm, "hello").json
    (letter,) = dead(s, tenant, "failed_messages")
    equal((letter["message_id"], letter["user_id"], letter["room_id"]), (sent["message_id"], "bob", dm))
    has_integer(letter, "attempts")
    has_string(letter, "last_attempt_at", "error", "id", "created_at")
    # Who is away for long is not a failure.
    quiet, alice, _, dm, tenant = hooked(s, "away")
    alice.send(dm, "hello")
    quiet.wait_for("message.new")
    equal(s.node(**QUICK).operator().dead_letters(tenant_id=tenant).json["failed_messages"], [])


@line("rest-dead-letters-05")
def a_failed_notification_has_the_documented_fields(s):
    _, alice, _, _, tenant = hooked(s, "notification")
    sent = alice.request("POST", "/notify", {"topic": "news", "payload": {}, "targets": {"user_ids": ["bob"]}, "ttl_s": 1})
    equal(sent.status, 202, repr(sent))
    (letter,) = dead(s, tenant, "failed_notifications")
    equal((letter["notification_id"], letter["topic"], letter["error"]), (sent.json["notification_id"], "news", "expired"))
    has_integer(letter, "attempts")
    true("last_attempt_at" in letter, letter)


@line("rest-dead-letters-06")
def nobody_else_sees_what_was_given_up(s):
    alice, _, _ = pair(s)
    for caller in (ChatAPI(s.node().address), ChatAPI(s.node().address, master_key="wrong"), alice):
        refused(caller.dead_letters(tenant_id="x"), 401, "AUTHENTICATION_ERROR")


# ---- RETRY_…


@line("env-retry-01")
def retry_max_attempts_is_how_often_a_webhook_is_tried(s):
    equal(parley("config", "check", env={"RETRY_MAX_ATTEMPTS": "0"}).returncode, 2)
    shown = parley("config", "print", env={"RETRY_MAX_ATTEMPTS": "7"})
    true("retry_max_attempts = 7" in shown.stdout and "has no effect" not in shown.stderr, shown.stdout + shown.stderr)
    true("retry_max_attempts = 10" in parley("config", "print", "--defaults").stdout, "the default is 10")
    # hook-failure-01 sees two attempts where RETRY_MAX_ATTEMPTS is 2.
    endpoint, alice, _, dm, tenant = hooked(s, "attempts", answer=500)
    alice.send(dm, "hello")
    equal(dead(s, tenant, "failed_messages")[0]["attempts"], 2)
    equal(len(endpoint.of("message.new")), 2)


@line("env-retry-02")
def retry_interval_is_the_first_pause(s):
    shown = parley("config", "print", env={"RETRY_INTERVAL": "1m30s"})
    true('retry_interval = "1m30s"' in shown.stdout or 'retry_interval = "90s"' in shown.stdout, shown.stdout)
    true('retry_interval = "5s"' in parley("config", "print", "--defaults").stdout, "the default is 5s")
    equal(parley("config", "check", env={"RETRY_INTERVAL": "soon"}).returncode, 2)
    endpoint, alice, _, dm, _ = hooked(s, "interval", answer=500)
    alice.send(dm, "hello")
    first, second = endpoint.wait_for("message.new", 2)
    true(second.at - first.at < 5, f"the pause was {second.at - first.at:.1f} s")


if __name__ == "__main__":
    with receiver:
        main()
