#!/usr/bin/env python3
"""What an operator sees and does from the command line, with endpoints that answer. SPEC 6, 7.

By hand: PARLEY_BIN=build/release/bin/parley tests/webhooks/operator_test.py [case …]
"""

import json

from stage import case, equal, main, post, room, true
from verifier import verify


def listed(stage, tenant):
    """Its line of `parley webhook list`."""
    (one,) = [w for w in json.loads(stage.node.cli("webhook", "list", "--json"))["webhooks"] if w["tenant_id"] == tenant.id]
    return one


@case
def a_test_is_one_signed_event_past_the_queue(stage):
    tenant, endpoint = stage.tenant(["message.created"])
    out = stage.node.cli("webhook", "test", tenant.id)
    (told,) = endpoint.wait_for("webhook.test")
    true(out.startswith(f"delivered to {endpoint.url} after ") and told.id in out and "status 204" in out, out)
    equal(verify(told.headers, told.body, tenant.made["webhook_secret"]), None)
    equal(listed(stage, tenant)["queued"], 0)


@case
def the_list_says_what_waits_and_what_failed(stage):
    tenant, endpoint = stage.tenant(["message.created"])
    endpoint.answer = 500
    where = room(tenant, "ann")
    post(tenant, where, "ann", "first")
    post(tenant, where, "ann", "second")
    seen = endpoint.wait(lambda: (w := listed(stage, tenant))["last_error"] and w, what="a failure in the list")
    equal((seen["last_error"], seen["state"], seen["url"], seen["events"]),
          ("HTTP 500", "active", endpoint.url, ["message.offline", "message.created"]), seen)
    true(seen["queued"] + seen["given_up"] == 2, seen)
    table = stage.node.cli("webhook", "list")
    true(tenant.id in table and "HTTP 500" in table, table)
    endpoint.answer = 204
    done = endpoint.wait(lambda: (w := listed(stage, tenant))["queued"] == 0 and w, what="an empty queue")
    equal(done["delivered"] + done["given_up"], 2, done)
    true(done["oldest_at"] is None and done["last_failure_at"], done)


@case
def a_time_is_told_again_in_order_with_the_same_ids(stage):
    tenant, endpoint = stage.tenant(["message.created"])
    where = room(tenant, "ann")
    sent = [post(tenant, where, "ann", str(n)) for n in range(6)]
    first = endpoint.wait_for("message.created", 6)
    endpoint.wait(lambda: listed(stage, tenant)["queued"] == 0, what="an empty queue")
    stage.node.cli("webhook", "replay", tenant.id, "--since", sent[0]["created_at"])
    again = endpoint.wait_for("message.created", 12)[6:]
    equal([d.id for d in again], [d.id for d in first])
    equal([d.body for d in again], [d.body for d in first])
    endpoint.wait(lambda: not listed(stage, tenant)["replaying"], what="the end of the replay")
    # A time in which nothing was said.
    stage.node.cli("webhook", "replay", tenant.id, "--since", "2001-01-01T00:00:00Z", "--until", "2001-01-02T00:00:00Z")
    stage.node.cli("webhook", "test", tenant.id)
    endpoint.wait_for("webhook.test")
    equal(len(endpoint.of("message.created")), 12)


@case
def what_was_given_up_is_listed_and_told_again(stage):
    tenant, endpoint = stage.tenant(["message.created"])
    endpoint.answer = 500
    where = room(tenant, "ann")
    sent = post(tenant, where, "ann", "hello")
    letters = endpoint.wait(lambda: json.loads(stage.node.cli("webhook", "dead-letters", tenant.id))["failed_webhooks"],
                            what="a dead letter")
    equal([(d["event"], d["message_id"], d["room_id"]) for d in letters], [("message.created", sent["message_id"], where)])
    endpoint.answer = 204
    stage.node.cli("webhook", "replay", tenant.id, "--dead-letters")
    told = endpoint.wait_for("message.created", 3)
    equal(len({d.id for d in told}), 1, "one event")
    equal(json.loads(stage.node.cli("webhook", "dead-letters", tenant.id)),
          {"failed_messages": [], "failed_webhooks": [], "failed_notifications": []})


if __name__ == "__main__":
    main(offline_after="300ms", retry_interval="50ms", retry_max_interval="200ms", retry_max_attempts=2)
