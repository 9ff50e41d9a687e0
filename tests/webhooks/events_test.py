#!/usr/bin/env python3
"""Each event that a tenant can ask for arrives at its endpoint, once, as the document says and signed; and nothing else does.
SPEC 6.

By hand: PARLEY_BIN=build/release/bin/parley tests/webhooks/events_test.py [case …]
"""

import re
import time

from stage import ALL_EVENTS, case, equal, log_of, main, ok, post, room, seconds, true
from verifier import verify

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def about(delivery, tenant, type, where=None):
    """The envelope is right; its data."""
    equal(set(delivery.json), {"type", "timestamp", "tenant_id", "data"}, delivery)
    equal((delivery.json["type"], delivery.json["tenant_id"]), (type, tenant.id), delivery)
    true(re.fullmatch(TIME, delivery.json["timestamp"]), delivery)
    true(re.fullmatch(r"evt_[0-9a-f]{32}", delivery.id), delivery.headers)
    if where is not None:
        equal(delivery.data["room_id"], where, delivery)
    return delivery.data


@case
def all_that_happens_to_a_room_is_told_in_order_as_its_log_has_it(stage):
    tenant, endpoint = stage.tenant()
    where = room(tenant, "ann", "ben", name="lobby", metadata={"colour": "blue"})
    path = f"/v1/rooms/{where}"
    sent = post(tenant, where, "ann", "hällo", meta={"n": [1, 2.5, None]})
    ok(tenant.backend.call("PATCH", f"{path}/messages/{sent['message_id']}", {"content": "hello"}))
    ok(tenant.backend.call("DELETE", f"{path}/messages/{sent['message_id']}"))
    ok(tenant.backend.call("POST", f"{path}/members", {"user_ids": ["cay", "dan"]}))
    ok(tenant.backend.call("DELETE", f"{path}/members/dan"))
    ok(tenant.backend.call("PATCH", path, {"name": "hall"}))
    last = post(tenant, where, "ann", "the last one")
    log = log_of(tenant, where)
    ok(tenant.backend.call("DELETE", path))
    endpoint.wait_for("room.deleted")
    told = [d for d in endpoint.deliveries if d.type != "message.offline"]
    equal([d.type for d in told],
          ["room.created", "message.created", "message.edited", "message.deleted", "member.joined", "member.left",
           "room.updated", "message.created", "room.deleted"])
    created, first, edited, deleted, joined, left, updated, second, gone = (
        about(d, tenant, d.type, where) for d in told)
    for data, name in (created, "lobby"), (gone, "hall"):
        equal((data["room"]["room_id"], data["room"]["name"], data["room"]["metadata"]),
              (where, name, {"colour": "blue"}), data)
    # What is told is what the log has now: the first message was deleted meanwhile or not, but never half.
    equal((first["message"]["message_id"], first["message"]["seq"]), (sent["message_id"], 1), first)
    true((first["message"]["content"], first["message"]["meta"]) in
         (("hällo", {"n": [1, 2.5, None]}), ("hello", {"n": [1, 2.5, None]}), ("", None)), first)
    equal(second["message"], log[7], "the message as the log has it")
    equal(second["message"]["message_id"], last["message_id"])
    for data, seq in (deleted, 3), (joined, 4), (left, 5), (updated, 6):
        equal(data["entry"], log[seq], "the entry as the log has it")
    equal((edited["entry"]["seq"], edited["entry"]["message_seq"]), (2, 1), edited)
    equal(left["entry"]["reason"], "removed")
    equal(len({d.id for d in told}), len(told), "each has an id of its own")
    for d in told:
        true(abs(d.at - seconds(d.json["timestamp"])) < 60, d)


@case
def a_room_that_is_deleted_at_once_was_first_made_and_written_to(stage):
    tenant, endpoint = stage.tenant(["room.created", "message.created", "room.deleted"])
    for n in range(5):
        where = room(tenant, "ann")
        post(tenant, where, "ann", "one")
        post(tenant, where, "ann", "two")
        ok(tenant.backend.call("DELETE", f"/v1/rooms/{where}"))
    endpoint.wait(lambda: len(endpoint.deliveries) == 20)
    by_room = {}
    for d in endpoint.deliveries:
        by_room.setdefault(d.data["room_id"], []).append(d.type)
    for told in by_room.values():
        equal(told, ["room.created", "message.created", "message.created", "room.deleted"])


@case
def a_user_who_comes_and_goes_is_told_without_flapping(stage):
    tenant, endpoint = stage.tenant(["user.online", "user.offline"])
    room(tenant, "ann", "ben")
    for _ in range(3):
        with tenant.user("ann").socket() as socket:
            socket.until("hello")
    endpoint.wait_for("user.offline")
    told = [d for d in endpoint.deliveries if d.type != "message.offline"]
    # Three connections within the grace are one visit.
    equal([d.type for d in told], ["user.online", "user.offline"])
    for d in told:
        equal(about(d, tenant, d.type)["user_id"], "ann", d)
    with tenant.user("ann").socket() as socket:
        socket.until("hello")
        endpoint.wait_for("user.online", 2)
    endpoint.wait_for("user.offline", 2)
    equal([d.type for d in endpoint.deliveries], ["user.online", "user.offline"] * 2)


@case
def a_notification_that_nobody_took_is_told_as_failed(stage):
    tenant, endpoint = stage.tenant(["notification.failed"])
    sent = ok(tenant.backend.call("POST", "/v1/notify", {
        "topic": "orders.new", "payload": {"n": 1}, "targets": {"user_ids": ["ann"]}, "ttl_s": 1})).json
    told = endpoint.wait_for("notification.failed")[0]
    data = about(told, tenant, "notification.failed")
    equal((data["notification_id"], data["topic"]), (sent["notification_id"], "orders.new"), data)
    true(told.at - seconds(sent["created_at"]) >= 0.99, "not before its time was over")


@case
def only_what_was_asked_for_is_told(stage):
    tenant, endpoint = stage.tenant(["message.edited"])
    where = room(tenant, "ann", "ben")
    sent = post(tenant, where, "ann", "one")
    ok(tenant.backend.call("PATCH", f"/v1/rooms/{where}/messages/{sent['message_id']}", {"content": "two"}))
    endpoint.wait_for("message.edited")
    # message.offline needs no asking.
    offline = endpoint.wait_for("message.offline")[0]
    equal({d.type for d in endpoint.deliveries}, {"message.edited", "message.offline"})
    data = about(offline, tenant, "message.offline", where)
    equal(set(data), {"room_id", "recipient_id", "room_metadata", "message"}, data)
    equal((data["recipient_id"], data["room_metadata"], data["message"]["content"]), ("ben", None, "two"), data)


@case
def a_tenant_hears_of_itself_alone_signed_with_its_own_secret(stage):
    (one, at_one), (two, at_two) = stage.tenant(), stage.tenant()
    for tenant, text in (one, "one"), (two, "two"):
        where = room(tenant, "ann", "ben")
        for n in range(5):
            post(tenant, where, "ann", f"{text} {n}")
    for mine, endpoint, text, foreign in (one, at_one, "one", two), (two, at_two, "two", one):
        for d in endpoint.wait_for("message.created", 5):
            equal(d.json["tenant_id"], mine.id, d)
            true(d.message["content"].startswith(text), d)
            true(verify(d.headers, d.body, foreign.made["webhook_secret"]), "the other's secret does not fit")
        true(not any(foreign.id.encode() in d.body for d in endpoint.deliveries), "nothing of the other")
    true(not {d.id for d in at_one.deliveries} & {d.id for d in at_two.deliveries}, "ids are nobody else's")


@case
def both_secrets_sign_while_they_rotate_and_only_the_new_one_after(stage):
    tenant, endpoint = stage.tenant(["message.created"])
    endpoint.secrets, old = [], tenant.made["webhook_secret"]
    where = room(tenant, "ann")
    path = f"/v1/admin/tenants/{tenant.id}/keys"
    old_id = next(k["key_id"] for k in tenant.made["keys"] if k["kind"] == "webhook_secret")

    def signed(content):
        """(how many signatures, fits the old one, fits the new one) of the next message."""
        post(tenant, where, "ann", content)
        d = endpoint.wait_for("message.created", content=content)[0]
        fits = [verify(d.headers, d.body, secret) is None for secret in (old, new) if secret]
        return (len(d.headers["webhook-signature"].split(" ")), *fits)

    new = None
    equal(signed("before"), (1, True))
    new = ok(stage.node.operator.call("POST", path, {"kind": "webhook_secret"})).json["secret"]
    true(new.startswith("whsec_") and new != old, new)
    equal(signed("while"), (2, True, True))
    ok(stage.node.operator.call("DELETE", f"{path}/{old_id}"))
    equal(signed("after"), (1, False, True))


@case
def chatapi_format_sends_the_flat_body_for_each_recipient(stage):
    tenant, endpoint = stage.tenant(webhook_format="chatapi")
    where = room(tenant, "ann", "ben", metadata="a string, as in ChatAPI")
    sent = post(tenant, where, "ann", "hello")
    told = endpoint.wait_for("message.new")[0]
    equal(told.json, {
        "event": "message.new", "tenant_id": tenant.id, "room_id": where, "recipient_id": "ben",
        "room_metadata": "a string, as in ChatAPI",
        "message": {"message_id": sent["message_id"], "sender_id": "ann", "content": "hello", "seq": 1,
                    "created_at": sent["created_at"]}})
    # All other events keep their form.
    about(endpoint.wait_for("message.created")[0], tenant, "message.created", where)


@case
def what_happened_before_there_was_an_endpoint_is_not_told(stage):
    endpoint = stage.endpoint()
    tenant = stage.node.tenant("late")
    endpoint.secrets = [tenant.made["webhook_secret"]]
    where = room(tenant, "ann")
    post(tenant, where, "ann", "before")
    stage.configure(tenant, webhook_url=endpoint.url, webhook_events=ALL_EVENTS)
    post(tenant, where, "ann", "after")
    endpoint.wait_for("message.created", content="after")
    equal([d.message["content"] for d in endpoint.deliveries], ["after"])
    # Without a URL nothing waits, and what happens meanwhile is nobody's.
    stage.configure(tenant, webhook_events=ALL_EVENTS)
    post(tenant, where, "ann", "meanwhile")
    stage.configure(tenant, webhook_url=endpoint.url, webhook_events=ALL_EVENTS)
    post(tenant, where, "ann", "again")
    endpoint.wait_for("message.created", content="again")
    equal([d.message["content"] for d in endpoint.of("message.created")], ["after", "again"])


@case
def events_of_a_room_come_in_order_each_once_on_kept_connections(stage):
    tenant, endpoint = stage.tenant(["message.created"])
    rooms = [room(tenant, "ann") for _ in range(4)]
    for n in range(50):
        items = [{"room_id": r, "sender_id": "ann", "content": str(n)} for r in rooms]
        equal({r["status"] for r in ok(tenant.backend.call("POST", "/v1/messages/batch", {"messages": items})).json["results"]},
              {201})
    endpoint.wait_for("message.created", 200)
    for where in rooms:
        equal([d.message["seq"] for d in endpoint.deliveries if d.data["room_id"] == where], list(range(1, 51)))
    connections = len({d.connection for d in endpoint.deliveries})
    true(connections < 50, f"{connections} connections for 200 events")


if __name__ == "__main__":
    main(offline_after="400ms", presence_grace="300ms", worker_interval="1s", retry_interval="100ms")
