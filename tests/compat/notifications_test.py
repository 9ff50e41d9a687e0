#!/usr/bin/env python3
"""ChatAPI's notifications: who may send them, to whom they go, what their frame holds."""
from harness import equal, has_string, line, main, refused, true
from words import TIME, live, needs_a_key, pair


def got(opened, made):
    """The frame of the notification that this answer is about."""
    equal(made.status, 202, made)
    return opened.wait_for("notification", notification_id=made.json["notification_id"])


@line("rest-notify-01")
def a_notification_is_accepted(s):
    alice, _, _ = pair(s)
    made = alice.notify("news", {"a": 1}, {"user_ids": ["bob"]})
    equal(made.status, 202, made)
    has_string(made.json, "notification_id", "created_at")
    true(TIME.match(made.json["created_at"]), made)
    equal((made.json["topic"], made.json["targets"]), ("news", 1))


@line("rest-notify-02")
def topic_payload_and_targets_are_required(s):
    alice, _, _ = pair(s)
    whole = {"topic": "news", "payload": {"a": 1}, "targets": {"user_ids": ["bob"]}}
    for field in whole:
        refused(alice.request("POST", "/notify", {k: v for k, v in whole.items() if k != field}), 400, "VALIDATION_ERROR", field)
    refused(alice.notify("", {}, {"user_ids": ["bob"]}), 400, "VALIDATION_ERROR", "topic")
    refused(alice.notify("news", {}, {}), 400, "VALIDATION_ERROR", "targets")


@line("rest-notify-03")
def a_notification_reaches_the_named_users(s):
    alice, bob, room = pair(s)
    listener, speaker = live(bob, room), live(alice, room)
    made = alice.notify("news", {"a": 1}, {"user_ids": ["bob", "carol"]})
    equal(got(listener, made)["payload"], {"a": 1})
    carol = alice.as_user("carol").connect()  # who was away
    got(carol, made)
    alice.send(room, "after it")
    speaker.wait_for("message", content="after it")
    equal(speaker.taken("notification"), [])


@line("rest-notify-04")
def a_notification_reaches_the_members_of_a_room(s):
    alice, bob, room = pair(s)
    sockets = [live(one, room) for one in (alice, bob)]
    eve = alice.as_user("eve").connect()
    made = alice.notify("news", {"a": 1}, {"room_id": room})
    equal(made.json["targets"], 2)
    for one in sockets:
        got(one, made)
    got(eve, alice.notify("news", {"a": 2}, {"user_ids": ["eve"]}))
    equal(len(eve.taken("notification")), 1)
    refused(alice.notify("news", {}, {"room_id": "room_123"}), 404, "NOT_FOUND", "targets.room_id")


@line("rest-notify-05")
def a_notification_reaches_the_subscribers_of_its_topic(s):
    alice, bob, room = pair(s)
    equal(alice.notify("news", {}, {"topic_subscribers": True}).json["targets"], 0)
    equal(bob.request("PUT", "/subscriptions/news").status, 204)
    equal(bob.request("GET", "/subscriptions").json, {"topics": ["news"]})
    listener = live(bob, room)
    made = alice.notify("news", {"a": 1}, {"topic_subscribers": True})
    equal(made.json["targets"], 1)
    got(listener, made)
    refused(alice.notify("news", {}, {"topic_subscribers": False}), 400, "VALIDATION_ERROR", "targets")


@line("rest-notify-06")
def nobody_notifies_without_a_key(s):
    alice, _, _ = pair(s)
    needs_a_key(alice, lambda caller: caller.notify("news", {}, {"user_ids": ["bob"]}))


@line("ws-notification-01")
def a_notification_frame_has_the_documented_fields(s):
    alice, bob, room = pair(s)
    opened = live(bob, room)
    payload = {"text": "hi", "n": [1, None]}
    frame = got(opened, alice.notify("news", payload, {"user_ids": ["bob"]}))
    has_string(frame, "notification_id", "topic", "created_at")
    equal((frame["topic"], frame["payload"]), ("news", payload))
    opened.send("notification.ack", notification_id=frame["notification_id"], request_id="r1")
    equal(opened.wait_for("ok")["request_id"], "r1")


if __name__ == "__main__":
    main()
