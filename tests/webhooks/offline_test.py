#!/usr/bin/env python3
"""`message.offline`: for what none of a member's devices acked within `offline_after`, for nobody else, and after a restart
only once people had time to come back. SPEC 6.

By hand: PARLEY_BIN=build/release/bin/parley tests/webhooks/offline_test.py [case …]
"""

import time

from stage import Node, case, equal, main, ok, post, room, seconds, true

AFTER = 0.6  # offline_after
MEMBERS = 5  # offline_webhook_max_members
LATE = 8.0   # a busy machine


def told(endpoint, content=None):
    """(recipient, content) of what came, in order."""
    return [(d.data["recipient_id"], d.message["content"]) for d in endpoint.of("message.offline")
            if content is None or d.message["content"] == content]


@case
def who_acked_in_time_is_not_told_of_and_who_did_not_is_once(stage):
    tenant, endpoint = stage.tenant([])
    where = room(tenant, "ann", "ben", "cay", "dan")
    with tenant.user("ann").socket() as acks, tenant.user("ben").socket() as reads_only:
        for socket in acks, reads_only:
            socket.ask({"type": "sync", "rooms": {}, "rest": "live"})
        for n in range(3):
            sent = post(tenant, where, "dan", f"text {n}")
            for socket in acks, reads_only:
                socket.until(lambda f: f.get("seq") == sent["seq"] and f["type"] == "message")
            equal(acks.ask({"type": "ack", "room_id": where, "seq": sent["seq"]})["type"], "ack.received")
        # A room's events are in order: when one of the last message is there, all of the others are.
        endpoint.wait(lambda: {("ben", "text 2"), ("cay", "text 2")} <= set(told(endpoint)))
    equal(sorted(told(endpoint)), sorted((who, f"text {n}") for n in range(3) for who in ("ben", "cay")),
          "ann had acked, dan is the sender, ben's open socket is no ack")


@case
def a_read_or_an_ack_over_rest_counts_as_well(stage):
    tenant, endpoint = stage.tenant([])
    where = room(tenant, "ann", "ben", "cay", "dan")
    sent = post(tenant, where, "dan", "first")
    ok(tenant.user("ann").call("POST", "/v1/acks", {"room_id": where, "seq": sent["seq"]}))
    ok(tenant.user("ben").call("POST", "/v1/reads", {"room_id": where, "seq": sent["seq"]}))
    endpoint.wait(lambda: told(endpoint))
    post(tenant, where, "dan", "second")
    endpoint.wait(lambda: len(told(endpoint, "second")) == 3)
    equal(told(endpoint, "first"), [("cay", "first")])


@case
def it_is_told_after_offline_after_and_soon(stage):
    tenant, endpoint = stage.tenant([])
    where = room(tenant, "ann", "ben", type="dm")
    for n in range(3):
        sent = post(tenant, where, "ann", str(n))
        d = endpoint.wait_for("message.offline", content=str(n))[0]
        took = d.at - seconds(sent["created_at"])
        true(AFTER - 0.002 <= took <= AFTER + LATE, f"after {took:.3f} s")
    equal(told(endpoint), [("ben", "0"), ("ben", "1"), ("ben", "2")])


@case
def what_was_deleted_or_edited_meanwhile_is_told_as_it_is_then(stage):
    tenant, endpoint = stage.tenant([])
    where = room(tenant, "ann", "ben")
    gone, changed = post(tenant, where, "ann", "gone"), post(tenant, where, "ann", "changed")
    path = f"/v1/rooms/{where}/messages"
    ok(tenant.backend.call("DELETE", f"{path}/{gone['message_id']}"))
    ok(tenant.backend.call("PATCH", f"{path}/{changed['message_id']}", {"content": "as it is now"}))
    post(tenant, where, "ann", "the last one")
    endpoint.wait_for("message.offline", content="the last one")
    equal(told(endpoint), [("ben", "as it is now"), ("ben", "the last one")])


@case
def a_member_hears_of_nothing_from_before_it_came_nor_after_it_left(stage):
    tenant, endpoint = stage.tenant([])
    where = room(tenant, "ann", "ben", "cay")
    post(tenant, where, "ann", "before")
    ok(tenant.backend.call("POST", f"/v1/rooms/{where}/members", {"user_ids": ["dan"]}))
    ok(tenant.backend.call("DELETE", f"/v1/rooms/{where}/members/cay"))
    post(tenant, where, "ann", "after")
    endpoint.wait(lambda: {("ben", "after"), ("dan", "after")} <= set(told(endpoint)))
    true(("dan", "before") not in told(endpoint), told(endpoint))
    true(not any(who == "cay" for who, _ in told(endpoint)), told(endpoint))


@case
def a_room_over_the_limit_has_one_event_a_message_with_a_list(stage):
    tenant, endpoint = stage.tenant([])
    small = room(tenant, *(f"u{n}" for n in range(MEMBERS)), metadata={"k": "v"})
    big = room(tenant, *(f"u{n}" for n in range(MEMBERS + 1)), metadata={"k": "v"})
    sent = {where: post(tenant, where, "u0", "first") for where in (small, big)}
    ok(tenant.user("u1").call("POST", "/v1/acks", {"room_id": big, "seq": 1}))
    endpoint.wait(lambda: len(endpoint.of("message.offline")) == MEMBERS)
    for where in small, big:
        post(tenant, where, "u0", "second")
    endpoint.wait(lambda: len(endpoint.of("message.offline", content="second")) == MEMBERS)
    first = endpoint.of("message.offline", content="first")
    of_small = [d for d in first if d.data["room_id"] == small]
    equal(sorted(d.data["recipient_id"] for d in of_small), [f"u{n}" for n in range(1, MEMBERS)])
    true(all("recipient_ids" not in d.data for d in of_small), of_small)
    of_big = [d for d in first if d.data["room_id"] == big]
    equal(len(of_big), 1, of_big)
    data = of_big[0].data
    equal((data["recipient_id"], sorted(data["recipient_ids"])), (None, [f"u{n}" for n in range(2, MEMBERS + 1)]))
    equal((data["room_metadata"], data["message"]["message_id"]), ({"k": "v"}, sent[big]["message_id"]))
    equal(sorted(endpoint.of("message.offline", content="second")[-1].data.get("recipient_ids") or
                 next(d for d in endpoint.of("message.offline", content="second") if d.data["room_id"] == big).data["recipient_ids"]),
          [f"u{n}" for n in range(1, MEMBERS + 1)])


@case
def who_misses_a_message_in_a_room_of_a_thousand_is_one_row_and_one_list(stage):
    tenant, endpoint = stage.tenant([])
    users = [f"user-{n:04}" for n in range(1300)]
    where = room(tenant, *users[:1000])
    ok(tenant.backend.call("POST", f"/v1/rooms/{where}/members", {"user_ids": users[1000:]}))
    endpoint.answer = 500
    seq = post(tenant, where, users[0], "hello")["seq"]
    for user in users[5::100]:
        ok(tenant.user(user).call("POST", "/v1/acks", {"room_id": where, "seq": seq}))
    first = endpoint.wait(lambda: endpoint.deliveries)[0]
    waiting = ok(stage.node.operator.call("GET", f"/v1/admin/tenants/{tenant.id}/webhook")).json
    equal((waiting["queued"], waiting["given_up"]), (1, 0), waiting)
    endpoint.answer = 204
    equal(sorted(first.data["recipient_ids"]), sorted(set(users[1:]) - set(users[5::100])), "all who had not acked, each once")


@case
def a_list_in_chatapi_format(stage):
    tenant, endpoint = stage.tenant([], webhook_format="chatapi")
    where = room(tenant, *(f"u{n}" for n in range(MEMBERS + 1)))
    post(tenant, where, "u0", "hello")
    flat = endpoint.wait_for("message.new")[0].json
    equal((flat["recipient_id"], sorted(flat["recipient_ids"])), (None, [f"u{n}" for n in range(1, MEMBERS + 1)]))
    equal(set(flat), {"event", "tenant_id", "room_id", "recipient_id", "room_metadata", "message", "recipient_ids"})


@case
def what_is_acked_while_the_endpoint_is_down_is_not_told_any_more(stage):
    tenant, endpoint = stage.tenant([])
    where = room(tenant, "ann", "ben", "cay")
    endpoint.answer = 500
    post(tenant, where, "ann", "first")
    endpoint.wait(lambda: len(endpoint.deliveries) >= 2)
    ok(tenant.user("ben").call("POST", "/v1/acks", {"room_id": where, "seq": 1}))
    ok(tenant.user("cay").call("POST", "/v1/acks", {"room_id": where, "seq": 1}))
    acked = len(endpoint.deliveries)
    endpoint.answer = 204
    post(tenant, where, "ann", "second")
    endpoint.wait(lambda: len(endpoint.of("message.offline", content="second")) == 2)
    # One that was being written just then may still have come.
    true(len(told(endpoint, "first")) <= acked + 1, endpoint.deliveries)


@case
def after_a_restart_nobody_is_away_before_the_herd_had_time(stage):
    herd = 2.0
    with Node(offline_after="200ms", herd_window=f"{herd:.0f}s", retry_interval="100ms") as node:
        begun = time.time()
        tenant, endpoint = stage.tenant([], node=node)
        where = room(tenant, "ann", "ben", "cay")
        post(tenant, where, "ann", "first")
        endpoint.wait(lambda: len(told(endpoint, "first")) == 2)
        true(endpoint.deliveries[0].at >= begun, "herd_window counts from the start")
        post(tenant, where, "ann", "second")
        node.kill()
        begun = time.time()
        node.start()
        ok(tenant.user("ben").call("POST", "/v1/acks", {"room_id": where, "seq": 2}))  # ben comes back in time
        endpoint.wait(lambda: told(endpoint, "second"))
        post(tenant, where, "ann", "third")
        endpoint.wait(lambda: len(told(endpoint, "third")) == 2)
        second = endpoint.of("message.offline", content="second")
        equal([d.data["recipient_id"] for d in second], ["cay"], "no crash loses it, no herd doubles it")
        true(second[0].at - begun >= herd, f"{second[0].at - begun:.2f} s after the start")


if __name__ == "__main__":
    main(offline_after=f"{AFTER * 1000:.0f}ms", offline_webhook_max_members=MEMBERS, retry_interval="50ms",
         retry_max_interval="100ms", retry_max_attempts=50)
