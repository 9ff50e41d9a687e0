#!/usr/bin/env python3
"""What ChatAPI documents and Parley does not serve yet: each line demands today's answer, so that its mark goes with it."""
from chatapi_client import ChatAPI
from harness import MASTER_KEY, equal, line, main, parley, refused, true
from words import pair


def no_such_setting(name, value):
    """Webhooks bring their settings along; until then the names are unknown."""
    result = parley("config", "check", env={name: value})
    equal(result.returncode, 2, result.stderr)
    true(name in result.stderr and "there is no such setting" in result.stderr, result.stderr)


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


# ---- dead letters


@line("rest-dead-letters-01", later=True)
def dead_letters_are_not_served(s):
    node = s.node()
    tenant = node.operator().create_tenant("acme").json["tenant_id"]
    refused(node.operator().dead_letters(tenant_id=tenant), 404, "NOT_FOUND")


@line("rest-dead-letters-02", later=True)
def dead_letters_do_not_ask_for_a_tenant(s):
    refused(s.node().operator().dead_letters(), 404, "NOT_FOUND")


@line("rest-dead-letters-03", later=True)
def dead_letters_do_not_look_at_a_limit(s):
    refused(s.node().operator().dead_letters(limit=0), 404, "NOT_FOUND")


@line("rest-dead-letters-04", later=True)
def no_failed_messages_are_listed(s):
    refused(s.node().operator().request("GET", "/v1/admin/dead-letters"), 404, "NOT_FOUND")


@line("rest-dead-letters-05", later=True)
def no_failed_notifications_can_be_retried(s):
    refused(s.node().operator().request("POST", "/admin/dead-letters/1/retry"), 404, "NOT_FOUND")


@line("rest-dead-letters-06", later=True)
def dead_letters_without_the_operators_key_are_not_found_either(s):
    refused(ChatAPI(s.node().address).dead_letters(), 404, "NOT_FOUND")


# ---- webhooks


@line("hook-target-01", later=True)
def a_tenants_webhook_url_is_kept_and_not_used(s):
    config = {"webhook_url": "https://backend.example.com/hook"}
    made = s.node().operator().create_tenant("acme", config=config)
    equal((made.status, made.json["config"]), (201, config))
    no_such_setting("PARLEY_WEBHOOK_ALLOW_PRIVATE", "true")


@line("hook-when-01", later=True)
def there_is_no_delay_to_set_for_webhooks(s):
    no_such_setting("PARLEY_OFFLINE_AFTER", "1s")


@line("hook-body-01", later=True)
def a_tenants_webhook_format_is_kept_and_not_used(s):
    config = {"webhook_format": "chatapi"}
    made = s.node().operator().create_tenant("acme", config=config)
    equal((made.status, made.json["config"]), (201, config))
    no_such_setting("PARLEY_OFFLINE_WEBHOOK_MAX_MEMBERS", "1")


@line("hook-request-01", later=True)
def no_webhook_is_tested(s):
    equal(parley("webhook", "test", env={"MASTER_API_KEY": MASTER_KEY}).returncode, 2)


@line("hook-failure-01", later=True)
def no_webhook_is_replayed(s):
    equal(parley("webhook", "replay", env={"MASTER_API_KEY": MASTER_KEY}).returncode, 2)
    no_such_setting("PARLEY_RETRY_MAX_INTERVAL", "1h")


@line("env-retry-01", later=True)
def retry_max_attempts_is_accepted_with_a_warning(s):
    result = parley("config", "check", env={"RETRY_MAX_ATTEMPTS": "5"})
    equal(result.returncode, 0, result.stderr)
    true("RETRY_MAX_ATTEMPTS (environment) has no effect" in result.stderr, result.stderr)


@line("env-retry-02", later=True)
def retry_interval_is_accepted_with_a_warning(s):
    result = parley("config", "check", env={"RETRY_INTERVAL": "30s"})
    equal(result.returncode, 0, result.stderr)
    true("RETRY_INTERVAL (environment) has no effect" in result.stderr, result.stderr)


# ---- the move of the data


@line("move-import-01", later=True)
def there_is_no_import(s):
    result = parley("import", "chatapi", "chatapi.db")
    equal(result.returncode, 2)


if __name__ == "__main__":
    main()
