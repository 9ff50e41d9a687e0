#!/usr/bin/env python3
"""ChatAPI's tables, as views of the database: for scripts that read the file."""
import hashlib
import json
import re
import sqlite3

from harness import equal, line, main, true

DATE_TIME = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")

COLUMNS = {
    "tenants": "tenant_id api_key_hash name config created_at",
    "rooms": "room_id tenant_id type unique_key name last_seq created_at metadata",
    "room_members": "chatroom_id tenant_id user_id role joined_at",
    "messages": "message_id tenant_id chatroom_id sender_id seq content meta created_at",
    "delivery_state": "tenant_id user_id chatroom_id last_ack updated_at",
    "undelivered_messages": "id tenant_id user_id chatroom_id message_id seq attempts created_at last_attempt_at",
    "notifications": "notification_id tenant_id topic payload created_at status attempts last_attempt_at",
    "notification_subscriptions": "id tenant_id subscriber_id topic endpoint metadata created_at",
}


def chat(s):
    """A node with one tenant; Alice has sent Bob two messages, and he has acked the first."""
    s.single = s.own_node()
    s.made = s.single.operator().create_tenant("acme").json
    from_key = s.single.operator()
    from_key.master_key, from_key.api_key = None, s.made["api_key"]
    s.alice, bob = from_key.as_user("alice"), from_key.as_user("bob")
    s.room = s.alice.create_room("dm", ["alice", "bob"], name="us", metadata="m").json["room_id"]
    s.sent = [s.alice.send(s.room, text).json for text in ("one", "two")]
    equal(bob.ack(s.room, 1).status, 200)


def rows(s, table):
    """The view's rows, after a look at its columns; read beside the running node."""
    file = sqlite3.connect(f"file:{s.single.directory}/data/parley.db?mode=ro", uri=True)
    try:
        cursor = file.execute(f"SELECT * FROM chatapi_{table} ORDER BY 1")
        equal([column[0] for column in cursor.description], COLUMNS[table].split())
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, values)) for values in cursor.fetchall()]
    finally:
        file.close()


@line("db-tenants-01")
def tenants_are_shown(s):
    chat(s)
    (row,) = rows(s, "tenants")
    equal((row["tenant_id"], row["name"], row["api_key_hash"]),
          (s.made["tenant_id"], "acme", hashlib.sha256(s.made["api_key"].encode()).hexdigest()))
    true(DATE_TIME.match(row["created_at"]), row["created_at"])


@line("db-rooms-01")
def rooms_are_shown(s):
    chat(s)
    (row,) = rows(s, "rooms")
    equal((row["room_id"], row["tenant_id"], row["type"], row["unique_key"], row["name"], row["last_seq"]),
          (s.room, s.made["tenant_id"], "dm", "dm:alice:bob", "us", 2))


@line("db-members-01")
def members_are_shown(s):
    chat(s)
    found = rows(s, "room_members")
    equal(sorted((row["chatroom_id"], row["user_id"], row["role"]) for row in found),
          [(s.room, "alice", "member"), (s.room, "bob", "member")])


@line("db-messages-01")
def messages_are_shown(s):
    chat(s)
    found = rows(s, "messages")
    equal([(row["message_id"], row["chatroom_id"], row["sender_id"], row["seq"], row["content"]) for row in found],
          [(sent["message_id"], s.room, "alice", n + 1, ("one", "two")[n]) for n, sent in enumerate(s.sent)])


@line("db-delivery-01")
def cursors_are_shown(s):
    chat(s)
    acks = {row["user_id"]: row["last_ack"] for row in rows(s, "delivery_state")}
    equal(acks.get("bob"), 1)


@line("db-undelivered-01")
def what_nobody_has_acked_yet_is_shown(s):
    chat(s)
    found = {(row["user_id"], row["seq"]) for row in rows(s, "undelivered_messages")}
    true(("bob", 2) in found and ("bob", 1) not in found, found)


@line("db-notifications-01")
def notifications_are_shown(s):
    chat(s)
    waiting, had = (s.alice.notify("news", {"n": n}, {"user_ids": [user]}).json["notification_id"]
                    for n, user in enumerate(("dora", "carol")))
    carol = s.alice.as_user("carol").connect()
    carol.wait_for("notification", notification_id=had)
    carol.send("notification.ack", notification_id=had, request_id="r1")
    carol.wait_for("ok", request_id="r1")
    found = {row["notification_id"]: row for row in rows(s, "notifications")}
    equal([found[one]["status"] for one in (waiting, had)], ["pending", "delivered"])
    row = found[waiting]
    equal((row["tenant_id"], row["topic"], json.loads(row["payload"]), row["attempts"], row["last_attempt_at"]),
          (s.made["tenant_id"], "news", {"n": 0}, 0, None))
    true(DATE_TIME.match(row["created_at"]), row["created_at"])


@line("db-notifications-02")
def subscriptions_are_shown(s):
    chat(s)
    equal(s.alice.request("PUT", "/subscriptions/news").status, 204)
    (row,) = rows(s, "notification_subscriptions")
    true(DATE_TIME.match(row.pop("created_at")), row)
    equal(row, {"id": 1, "tenant_id": s.made["tenant_id"], "subscriber_id": "alice", "topic": "news",
                "endpoint": None, "metadata": None})


if __name__ == "__main__":
    main()
