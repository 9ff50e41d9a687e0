#!/usr/bin/env python3
"""What ChatAPI documents for browsers: tickets for the WebSocket, and cross-origin REST calls."""
import re
import time

from chatapi_client import ChatAPI
from harness import await_true, equal, line, main, refused, true
from words import FOREIGN, ORIGIN, pair, refused_with

HEADERS = {"content-type", "x-api-key", "x-user-id"}


def ticket(client):
    answer = client.ws_token()
    equal(answer.status, 200, repr(answer))
    return answer.json["token"]


def no_entry(client, token):
    refused_with(401, lambda: client.connect_with_token(token))


# ---- POST /ws/token


@line("rest-token-01")
def a_ticket_is_given_for_60_seconds(s):
    (alice,) = s.users("alice")
    answer = alice.ws_token()
    equal(answer.status, 200, repr(answer))
    true(re.fullmatch(r"wst_\S{16,}", answer.json["token"]), "the ticket's form")
    equal(answer.json["expires_in"], 60)
    true(answer.json["token"] != alice.ws_token().json["token"], "the same ticket twice")


@line("rest-token-02")
def no_ticket_without_a_key(s):
    (alice,) = s.users("alice")
    equal(alice.ws_token().status, 200)
    for caller in (ChatAPI(alice.address, None, "alice"), ChatAPI(alice.address, "sk_wrong", "alice")):
        refused(caller.ws_token(), 401, "AUTHENTICATION_ERROR")


@line("rest-token-03")
def no_ticket_without_a_user_or_for_one_out_of_form(s):
    (alice,) = s.users("alice")
    refused(ChatAPI(alice.address, alice.api_key).ws_token(), 400, "VALIDATION_ERROR", "user_id")
    refused(alice.as_user("x" * 129).ws_token(), 400, "VALIDATION_ERROR", "user_id")


@line("rest-token-04")
def a_ticket_needs_no_body(s):
    (alice,) = s.users("alice")
    equal(alice.request("POST", "/ws/token").status, 200)
    equal(alice.request("POST", "/ws/token", {}).status, 200)


@line("ws-token-01")
def a_browser_connects_with_a_ticket(s):
    alice, bob, room = pair(s)
    opened = bob.connect_with_token(ticket(bob))
    alice.send(room, "Hello")
    opened.wait_for("message", content="Hello")
    opened.send("send_message", room_id=room, content="Hi")
    equal(opened.wait_for("message", content="Hi")["sender_id"], "bob")


@line("ws-token-02")
def a_ticket_works_once(s):
    alice, _, _ = pair(s)
    token = ticket(alice)
    alice.connect_with_token(token).wait_for("hello")
    no_entry(alice, token)
    no_entry(alice, "wst_" + "0" * 32)


@line("ws-token-03")
def a_ticket_lapses(s):
    (alice,) = s.users("alice", PARLEY_WS_TICKET_TTL="1s")
    token = ticket(alice)
    equal(alice.ws_token().json["expires_in"], 1)
    given = time.monotonic()
    await_true(lambda: time.monotonic() - given > 1.2, "a second does not pass")  # the ticket's end is the event
    no_entry(alice, token)


@line("ws-token-04")
def after_a_failed_attempt_a_new_ticket_works(s):
    alice, _, _ = pair(s)
    no_entry(alice, "wst_" + "0" * 32)
    alice.connect_with_token(ticket(alice)).wait_for("hello")


@line("ws-token-05")
def tickets_are_given_while_the_node_drains(s):
    node = s.own_node(PARLEY_DRAIN_DELAY="3s")
    alice = node.tenant().as_user("alice")
    node.signal()
    await_true(lambda: node.said("draining"), "it does not drain")
    equal(alice.ws_token().status, 200)
    equal(node.exit_status(), 0)


@line("ws-token-06")
def a_browser_needs_a_listed_origin_too(s):
    alice, _, _ = pair(s, WS_ALLOWED_ORIGINS=ORIGIN)
    alice.connect_with_token(ticket(alice), origin=ORIGIN).wait_for("hello")
    refused_with(403, lambda: alice.connect_with_token(ticket(alice), origin=FOREIGN))


# ---- cross-origin REST


def listed(header):
    return {one.strip().lower() for one in header.split(",")}


def preflight(client, origin, method="POST", path="/rooms"):
    bare = ChatAPI(client.address)
    return bare.request("OPTIONS", path, headers={
        "Origin": origin, "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type,x-api-key,x-user-id"})


@line("cors-01")
def a_listed_origin_may_read_answers(s):
    (alice,) = s.users("alice", WS_ALLOWED_ORIGINS=f"https://a.example.com,{ORIGIN}")
    for answer in (alice.request("GET", "/rooms", headers={"Origin": ORIGIN}),
                   alice.request("GET", "/rooms/unknown", headers={"Origin": ORIGIN})):
        equal(answer.headers.get("access-control-allow-origin"), ORIGIN)
        true("origin" in listed(answer.headers.get("vary", "")), "no Vary: Origin")


@line("cors-02")
def a_preflight_of_a_listed_origin_is_granted(s):
    (alice,) = s.users("alice", WS_ALLOWED_ORIGINS=ORIGIN)
    for path in ("/rooms", "/acks", "/ws/token"):
        answer = preflight(alice, ORIGIN, path=path)
        equal(answer.status, 204, path)
        equal(answer.headers.get("access-control-allow-origin"), ORIGIN)


@line("cors-03")
def a_preflight_names_headers_and_methods(s):
    (alice,) = s.users("alice", WS_ALLOWED_ORIGINS=ORIGIN)
    headers = preflight(alice, ORIGIN).headers
    true("x-master-key" not in listed(headers.get("access-control-allow-headers", "")), repr(headers))
    true(HEADERS <= listed(headers.get("access-control-allow-headers", "")), repr(headers))
    true({"get", "post"} <= listed(headers.get("access-control-allow-methods", "")), repr(headers))


@line("cors-04")
def a_foreign_origin_is_granted_nothing(s):
    (alice,) = s.users("alice", WS_ALLOWED_ORIGINS=ORIGIN)
    equal(alice.request("GET", "/rooms", headers={"Origin": ORIGIN}).headers.get("access-control-allow-origin"), ORIGIN)
    for answer in (alice.request("GET", "/rooms", headers={"Origin": FOREIGN}), preflight(alice, FOREIGN)):
        equal([name for name in answer.headers if name.startswith("access-control-allow-o")], [])


@line("cors-05")
def a_star_grants_every_origin(s):
    (alice,) = s.users("alice", WS_ALLOWED_ORIGINS="*")
    for answer in (alice.request("GET", "/rooms", headers={"Origin": FOREIGN}), preflight(alice, FOREIGN)):
        true(answer.headers.get("access-control-allow-origin") in ("*", FOREIGN), repr(answer.headers))


@line("cors-06")
def without_a_list_only_the_nodes_own_host_is_granted(s):
    (alice,) = s.users("alice")
    own = f"http://{alice.address}"
    answer = alice.request("GET", "/rooms", headers={"Origin": FOREIGN})
    equal((answer.status, answer.headers.get("access-control-allow-origin")), (200, None))
    equal(alice.request("GET", "/rooms", headers={"Origin": own}).headers.get("access-control-allow-origin"), own)


@line("cors-07")
def options_is_answered_on_every_path(s):
    bare = ChatAPI(s.node().address)
    for path in ("/rooms", "/rooms/x/messages", "/acks", "/health", "/admin/tenants"):
        equal(bare.request("OPTIONS", path).status, 204, path)


if __name__ == "__main__":
    main()
