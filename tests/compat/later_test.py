#!/usr/bin/env python3
"""What ChatAPI documents and Parley does not serve yet: each line demands today's answer, so that its mark goes with it."""
from chatapi_client import ChatAPI
from harness import equal, line, main, parley, refused
from words import pair


# ---- POST /notify


@line("rest-notify-01", later=True)
def notify_is_not_served(s):
    alice, _, _ = pair(s)
    refused(alice.notify("news", {"a": 1}, {"user_ids": ["bob"]}), 404, "NOT_FOUND")


@line("rest-notify-02", later=True)
def notify_does_not_look_at_its_fields(s):
    alice, _, _ = pair(s)
    for body in ({}, {"topic": "news"}, {"topic": "news", "payload": {}}):
        refused(alice.request("POST", "/notify", body), 404, "NOT_FOUND")


@line("rest-notify-03", later=True)
def notify_knows_no_users(s):
    alice, bob, room = pair(s)
    opened = bob.connect()
    refused(alice.notify("news", {"a": 1}, {"user_ids": ["bob"]}), 404, "NOT_FOUND")
    alice.send(room, "a message comes")
    opened.wait_for("message", content="a message comes")
    equal(opened.taken("notification"), [])


@line("rest-notify-04", later=True)
def notify_knows_no_rooms(s):
    alice, _, room = pair(s)
    refused(alice.notify("news", {"a": 1}, {"room_id": room}), 404, "NOT_FOUND")


@line("rest-notify-05", later=True)
def notify_knows_no_subscribers(s):
    alice, _, _ = pair(s)
    refused(alice.notify("news", {"a": 1}, {"topic_subscribers": True}), 404, "NOT_FOUND")
    refused(alice.request("GET", "/subscriptions"), 404, "NOT_FOUND")


@line("rest-notify-06", later=True)
def notify_without_a_key_is_not_found_either(s):
    refused(ChatAPI(s.node().address).notify("news", {}, {"user_ids": ["bob"]}), 404, "NOT_FOUND")


@line("ws-notification-01", later=True)
def no_notification_frame_is_acknowledged(s):
    alice, _, _ = pair(s)
    opened = alice.connect()
    opened.send("notification.ack", notification_id="n1", request_id="r1")
    frame = opened.wait_for("error")
    equal((frame["request_id"], frame["code"], frame["field"]), ("r1", "VALIDATION_ERROR", "type"))


# ---- the move of the data


@line("move-import-01", later=True)
def there_is_no_import(s):
    result = parley("import", "chatapi", "chatapi.db")
    equal(result.returncode, 2)


if __name__ == "__main__":
    main()
