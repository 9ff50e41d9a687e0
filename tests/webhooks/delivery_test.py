#!/usr/bin/env python3
"""How events reach an endpoint that refuses, is slow, is gone, or lies: repeats with one id, pauses, dead letters, and nobody
else the slower for it. SPEC 6.

By hand: PARLEY_BIN=build/release/bin/parley tests/webhooks/delivery_test.py [case …]
"""

import concurrent.futures
import email.utils
import pathlib
import random
import statistics
import subprocess
import tempfile
import time

from receiver import Receiver, Refusing, Reply
from stage import Node, case, equal, json_of, main, ok, post, room, seconds, true

ATTEMPTS = 4      # retry_max_attempts: below the five failures that open the breaker
TIMEOUT = 1.0     # webhook_timeout
REST = 30.0       # of the breaker
LATE = 8.0        # a busy machine


def same(deliveries):
    """All of one event: one id, one body; each attempt signed anew."""
    equal(len({(d.id, d.body) for d in deliveries}), 1, deliveries)
    stamps = [int(d.headers["webhook-timestamp"]) for d in deliveries]
    equal(stamps, sorted(stamps))
    for d, stamp in zip(deliveries, stamps):
        true(abs(d.at - stamp) < 3, f"stamped {d.at - stamp:.1f} s before it came")


def one_message(stage, *script, events=("message.created",), answer=204):
    tenant, endpoint = stage.tenant(events)
    endpoint.script, endpoint.answer = list(script), answer
    where = room(tenant, "ann")
    post(tenant, where, "ann", "hello")
    return tenant, endpoint, where


@case
def what_is_refused_is_repeated_with_the_same_id(stage):
    tenant, endpoint, where = one_message(stage, Reply(500), Reply(404, body=b"no such thing"), Reply(cut=True))
    post(tenant, where, "ann", "next")
    endpoint.wait_for("message.created", content="next")
    equal([d.message["content"] for d in endpoint.deliveries], ["hello"] * 4 + ["next"])
    same(endpoint.deliveries[:4])


@case
def each_2xx_is_success(stage):
    tenant, endpoint, where = one_message(stage, Reply(200), Reply(201, body=b"{}"), Reply(202), Reply(299))
    for n in range(4):
        post(tenant, where, "ann", str(n))
    endpoint.wait_for("message.created", content="3")
    equal(len(endpoint.deliveries), 5)


def retry_after(stage, status, header, wait, at_most=None):
    tenant, endpoint, _ = one_message(stage, Reply(status, {"Retry-After": header() if callable(header) else header}))
    first, second = endpoint.wait_for("message.created", 2)
    took = second.at - first.at
    true(wait - 0.01 <= took <= (at_most or wait + LATE), f"again after {took:.3f} s")
    same([first, second])


@case
def a_503_says_when_to_come_back(stage):
    retry_after(stage, 503, "3", 3)


@case
def a_429_says_it_with_a_date(stage):
    retry_after(stage, 429, lambda: email.utils.formatdate(time.time() + 4, usegmt=True), 2.9)


@case
def a_500_has_no_say(stage):
    retry_after(stage, 500, "30", 0, 15)


@case
def a_410_ends_it_until_the_url_is_set_again(stage):
    tenant, endpoint, where = one_message(stage, answer=410)
    endpoint.wait_for("message.created")
    stage.endpoints[0].wait(lambda: endpoint_of(stage, tenant)["state"] == "disabled", what="that it is disabled")
    for n in range(3):
        post(tenant, where, "ann", f"meanwhile {n}")
    # Whatever else the node does for this tenant, it does not call: others are told meanwhile.
    _, other, _ = one_message(stage)
    other.wait_for("message.created")
    equal(len(endpoint.deliveries), 1, "nothing is sent to it any more")
    endpoint.answer = 204
    stage.configure(tenant, webhook_url=endpoint.url, webhook_events=["message.created"])
    post(tenant, where, "ann", "again")
    endpoint.wait_for("message.created", content="again")
    equal(endpoint_of(stage, tenant)["state"], "active")
    true(not any(d.message["content"].startswith("meanwhile") for d in endpoint.deliveries), endpoint.deliveries)


@case
def redirects_are_not_followed(stage):
    elsewhere = stage.endpoint()
    for status in 301, 302, 307, 308:
        tenant, endpoint, _ = one_message(stage, Reply(status, {"Location": elsewhere.url}))
        same(endpoint.wait_for("message.created", 2))
    equal(elsewhere.deliveries, [])


@case
def what_is_refused_for_good_is_a_dead_letter_and_the_next_one_is_told(stage):
    tenant, endpoint = stage.tenant(["message.created"])
    endpoint.answer = lambda d: 500 if d.message["content"] == "refused" else 204
    where = room(tenant, "ann")
    refused = post(tenant, where, "ann", "refused")
    post(tenant, where, "ann", "taken")
    endpoint.wait_for("message.created", content="taken")
    attempts = endpoint.of("message.created", content="refused")
    equal(len(attempts), ATTEMPTS)
    same(attempts)
    page = endpoint.wait(lambda: (found := stage.dead_letters(tenant))["failed_webhooks"] and found)
    equal((page["failed_messages"], page["failed_notifications"]), ([], []), page)
    (letter,) = page["failed_webhooks"]
    equal((letter["event"], letter["attempts"], letter["message_id"], letter["seq"], letter["room_id"]),
          ("message.created", ATTEMPTS, refused["message_id"], 1, where), letter)
    true("500" in letter["error"] and letter["last_attempt_at"] >= letter["created_at"], letter)
    # Again: it keeps its id, and is then no dead letter any more.
    path = f"/v1/admin/dead-letters/{letter['id']}"
    endpoint.answer = 204
    equal(stage.node.operator.call("POST", f"{path}/retry").status, 204)
    again = endpoint.wait_for("message.created", ATTEMPTS + 1, content="refused")
    same(again)
    equal(stage.dead_letters(tenant)["failed_webhooks"], [], "once it waits again it is none")
    equal(stage.node.operator.call("POST", f"{path}/retry").status, 404)


@case
def a_dead_letter_that_is_deleted_is_gone(stage):
    tenant, endpoint, _ = one_message(stage, answer=500)
    endpoint.wait_for("message.created", ATTEMPTS)
    endpoint.wait(lambda: stage.dead_letters(tenant)["failed_webhooks"])
    path = f"/v1/admin/dead-letters/{stage.dead_letters(tenant)['failed_webhooks'][0]['id']}"
    equal(stage.node.operator.call("DELETE", path).status, 204)
    equal(stage.node.operator.call("DELETE", path).status, 404)
    equal(stage.dead_letters(tenant)["failed_webhooks"], [])
    equal(len(endpoint.deliveries), ATTEMPTS)


@case
def a_missed_message_that_is_refused_is_among_the_failed_messages(stage):
    tenant, endpoint = stage.tenant([])
    endpoint.answer = 500
    where = room(tenant, "ann", "ben")
    sent = post(tenant, where, "ann", "hello")
    endpoint.wait(lambda: stage.dead_letters(tenant)["failed_messages"])
    (letter,) = stage.dead_letters(tenant)["failed_messages"]
    equal((letter["message_id"], letter["user_id"], letter["room_id"], letter["attempts"]),
          (sent["message_id"], "ben", where, ATTEMPTS), letter)
    endpoint.answer = 204
    equal(stage.node.operator.call("POST", f"/v1/admin/dead-letters/{letter['id']}/retry").status, 204)
    same(endpoint.wait_for("message.offline", ATTEMPTS + 1))


@case
def an_endpoint_that_never_answers_is_given_up_after_the_timeout(stage):
    tenant, endpoint, _ = one_message(stage, Reply(hang=True), Reply(drip=True))
    first, second, third = endpoint.wait_for("message.created", 3)
    for before, after in (first, second), (second, third):
        # A request may have been looked at late.
        true(TIMEOUT / 2 <= after.at - before.at <= TIMEOUT + LATE, f"again after {after.at - before.at:.2f} s")
    same([first, second, third])
    equal(len({first.connection, second.connection, third.connection}), 3, "nobody waits for a late answer")


@case
def an_answer_without_end_costs_nothing(stage):
    """What a 200 says after its head is nobody's business: it is success, and the connection is not kept."""
    tenant, endpoint, where = one_message(stage, Reply(200, endless=True))
    post(tenant, where, "ann", "next")
    endpoint.wait_for("message.created", content="next")
    equal([d.message["content"] for d in endpoint.deliveries], ["hello", "next"])


@case
def a_slow_endpoint_is_asked_about_many_rooms_at_once_but_one_event_a_room(stage):
    tenant, endpoint = stage.tenant(["message.created"])
    busy, twice = set(), []

    def answer(d):
        if d.data["room_id"] in busy:
            twice.append(d)
        busy.add(d.data["room_id"])
        stage.receiver.loop.call_later(0.19, busy.discard, d.data["room_id"])
        return Reply(204, after=0.2)

    endpoint.answer = answer
    rooms = [room(tenant, "ann") for _ in range(6)]
    for n in range(3):
        for where in rooms:
            post(tenant, where, "ann", str(n))
    begun = time.monotonic()
    endpoint.wait_for("message.created", 18)
    true(time.monotonic() - begun < 18 * 0.2, "rooms are told of side by side")
    true(endpoint.open_max > 1, endpoint.open_max)
    equal(twice, [], "two events of one room under way")


@case
def order_in_a_room_holds_through_refusals_and_a_stuck_room_stops_no_other(stage):
    tenant, endpoint = stage.tenant(["message.created"])
    chance, stuck, taken = random.Random(7), room(tenant, "ann"), []
    rooms = [room(tenant, "ann") for _ in range(3)]
    refused = {}

    def answer(d):
        if d.data["room_id"] == stuck:
            return Reply(503, {"Retry-After": "20"})
        # Never so often that it were given up.
        if refused.get(d.id, 0) < 2 and chance.random() < 0.2:
            refused[d.id] = refused.get(d.id, 0) + 1
            return 500
        taken.append((d.data["room_id"], d.message["seq"]))
        return 204

    endpoint.answer = answer
    for n in range(20):
        for where in (stuck, *rooms):
            post(tenant, where, "ann", str(n))
    endpoint.wait(lambda: len(taken) == 60, 2 * REST + LATE)
    for where in rooms:
        equal([seq for r, seq in taken if r == where], list(range(1, 21)))
    equal({d.message["seq"] for d in endpoint.deliveries if d.data["room_id"] == stuck}, {1})


@case
def dead_and_hanging_endpoints_delay_nobody(stage):
    tenant, endpoint = stage.tenant(["message.created"])
    where = room(tenant, "ann")
    with Refusing() as refusing:
        hanging = stage.endpoint()
        hanging.answer = Reply(hang=True)
        bad = [(t, room(t, "ann")) for t, _ in (
            stage.tenant(["message.created"], url=refusing.url), stage.tenant(["message.created"], endpoint=hanging))]
        took = []
        for n in range(20):
            for other, its_room in bad:
                post(other, its_room, "ann", str(n))
            sent = post(tenant, where, "ann", str(n))
            took.append(endpoint.wait_for("message.created", content=str(n))[0].at - seconds(sent["created_at"]))
        true(max(took) < TIMEOUT, f"median {statistics.median(took):.3f} s, longest {max(took):.3f} s")
        equal(len(endpoint.deliveries), 20)


@case
def after_five_failures_there_is_silence_and_then_one_probe(stage):
    with Node(retry_interval="20ms", retry_max_interval="100ms", retry_max_attempts=50) as node:
        tenant, endpoint = stage.tenant(["message.created"], node=node)
        endpoint.answer = 500
        where = room(tenant, "ann")
        post(tenant, where, "ann", "first")
        endpoint.wait_for("message.created", 5)
        silent_since = time.time()
        others = [room(tenant, "ann") for _ in range(8)]
        for other in others:
            post(tenant, other, "ann", "elsewhere")
        # The probe is answered late: meanwhile nothing else may come.
        endpoint.answer = Reply(204, after=1.0)
        endpoint.wait_for("message.created", 6, within=REST + LATE)
        probe = endpoint.deliveries[5]
        true(REST - 0.5 <= probe.at - silent_since <= REST + LATE, f"the probe came after {probe.at - silent_since:.2f} s")
        equal(len(endpoint.deliveries), 6)
        endpoint.wait_for("message.created", 6 + len(others))
        true(min(d.at for d in endpoint.deliveries[6:]) - probe.at >= 0.99, "nothing else while it was under way")
        equal(sorted(d.message["content"] for d in endpoint.deliveries[6:]), ["elsewhere"] * 8 if
              probe.message["content"] == "first" else ["elsewhere"] * 7 + ["first"])


@case
def without_leave_no_private_address_is_called(stage):
    with Receiver() as private, Node(retry_interval="20ms", retry_max_attempts=2) as node:
        endpoint = private.endpoint("private")
        tenants = []
        port = f":{private.port}"
        for url in (f"http://127.0.0.1{port}/private", f"http://localhost{port}/private", f"http://[::ffff:127.0.0.1]{port}/private",
                    f"https://127.0.0.2{port}/private", "https://127.0.0.1/", "https://[::1]/", "https://localhost/"):
            endpoint.url = url
            tenants.append((stage.tenant(["message.created"], endpoint=endpoint, node=node)[0], endpoint.url))
        # They were set while it was allowed: what counts is what is allowed when they are called.
        node.stop()
        node.config["webhook_allow_private"] = "false"
        node.start()
        for tenant, url in tenants:
            post(tenant, room(tenant, "ann"), "ann", "hello")
        for tenant, url in tenants:
            (letter,) = endpoint.wait(lambda: stage.dead_letters(tenant)["failed_webhooks"], what=f"the refusal of {url}")
            for text in letter["error"], endpoint_of(stage, tenant)["last_error"]:
                true(text in ("address not allowed", "invalid url"), f"{url}: {text!r}")
        for url in f"http://127.0.0.1:{private.port}/", "https://127.0.0.1/", "https://localhost/", "https://169.254.169.254/":
            equal(node.operator.call("POST", "/v1/admin/tenants", {"name": "inner", "config": {"webhook_url": url}}).status, 400, url)
        equal((private.connections, endpoint.deliveries), (0, []))


@case
def what_waits_goes_to_the_url_that_is_set_now(stage):
    tenant, endpoint = stage.tenant(["message.created"])
    endpoint.answer = 500
    where = room(tenant, "ann")
    post(tenant, where, "ann", "first")
    endpoint.wait_for("message.created")
    elsewhere = stage.receiver.endpoint(f"{endpoint.name}-moved", endpoint.secrets)
    stage.endpoints.append(elsewhere)
    stage.configure(tenant, webhook_url=elsewhere.url, webhook_events=["message.created"])
    post(tenant, where, "ann", "second")
    elsewhere.wait_for("message.created", content="second")
    equal([d.message["content"] for d in elsewhere.deliveries], ["first", "second"])
    equal(elsewhere.deliveries[0].id, endpoint.deliveries[0].id)


@case
def a_disabled_tenant_is_not_called(stage):
    tenant, endpoint = stage.tenant(["message.created"])
    path = f"/v1/admin/tenants/{tenant.id}"
    endpoint.answer = Reply(503, {"Retry-After": "1"})
    post(tenant, room(tenant, "ann"), "ann", "hello")
    first = endpoint.wait_for("message.created")[0]
    ok(stage.node.operator.call("PATCH", path, {"disabled": True}))
    endpoint.answer = 204
    _, other, _ = one_message(stage, Reply(503, {"Retry-After": "2"}))
    other.wait_for("message.created", 2)
    equal(len(endpoint.deliveries), 1, "its pause is over, and it is not called")
    ok(stage.node.operator.call("PATCH", path, {"disabled": False}))
    same(endpoint.wait_for("message.created", 2))


@case
def what_does_not_fit_the_queue_is_counted_and_what_does_is_told(stage):
    with Node(outbox_max_events=1000, retry_interval="20ms", retry_max_interval="20ms", retry_max_attempts=1000) as node:
        tenant, endpoint = stage.tenant(["message.created"], node=node)
        endpoint.answer = Reply(503, {"Retry-After": "5"})
        where = room(tenant, "ann")
        for first in 0, 600:
            items = [{"room_id": where, "sender_id": "ann", "content": str(first + n)} for n in range(600)]
            ok(tenant.backend.call("POST", "/v1/messages/batch", {"messages": items}))
        full = endpoint.wait(lambda: (e := endpoint_of(stage, tenant))["queued"] + e["dropped"] == 1200 and e)
        equal((full["queued"], full["dropped"]), (1000, 200), full)
        endpoint.answer = 204
        endpoint.wait(lambda: endpoint_of(stage, tenant)["delivered"] == 1000)
        equal([d.message["seq"] for d in endpoint.deliveries][-1000:], list(range(1, 1001)))
        last = post(tenant, where, "ann", "there is room again")
        equal(endpoint.wait_for("message.created", content="there is room again")[0].message["seq"], last["seq"])


@case
def a_stop_does_not_wait_for_an_endpoint_and_a_start_goes_on(stage):
    with Node(webhook_timeout="60s") as node:
        tenant, endpoint = stage.tenant(["message.created"], node=node)
        endpoint.answer = Reply(hang=True)
        post(tenant, room(tenant, "ann"), "ann", "hello")
        endpoint.wait_for("message.created")
        begun = time.monotonic()
        equal(node.stop(), 0)
        true(time.monotonic() - begun < 8, f"it stopped after {time.monotonic() - begun:.1f} s")
        endpoint.answer = 204
        node.start()
        same(endpoint.wait_for("message.created", 2))


@case
def a_stop_does_not_wait_for_a_test_either(stage):
    with Node(webhook_timeout="60s") as node, concurrent.futures.ThreadPoolExecutor(1) as pool:
        tenant, endpoint = stage.tenant([], node=node)
        endpoint.answer = Reply(hang=True)
        asked = pool.submit(node.operator.call, "POST", f"/v1/admin/tenants/{tenant.id}/webhook/test", {})
        endpoint.wait_for("webhook.test")
        begun = time.monotonic()
        node.signal()
        said = asked.result()
        equal((said.status, said.json["error"]["code"]), (503, "UNAVAILABLE"), said)
        equal(node.child.wait(15), 0)
        true(time.monotonic() - begun < 5, f"it stopped after {time.monotonic() - begun:.1f} s")


@case
def a_test_says_that_an_endpoint_is_slow_whatever_it_may_take(stage):
    with Node(webhook_timeout="60s") as node:
        tenant, endpoint = stage.tenant([], node=node)
        endpoint.answer = Reply(hang=True)
        said = ok(node.operator.call("POST", f"/v1/admin/tenants/{tenant.id}/webhook/test", {})).json
        (d,) = endpoint.deliveries
        equal((said["delivered"], said["status"], said["error"], said["event_id"]), (False, None, "answer timeout", d.id), said)
        true(12_000 <= said["took_ms"] < 14_500, said)
        shown = dict(line.split() for line in node.nobody.call("GET", "/v1/metrics").body.decode().splitlines()
                     if line.startswith("parley_webhook_") and "{" not in line)
        equal([shown[f"parley_webhook_{name}"] for name in ("open_connections", "opened_connections_total",
               "reused_connections_total", "refused_addresses_total")], ["1", "1", "0", "0"], shown)


def certificate(folder, name, subject):
    """(certificate, key): its own authority."""
    paths = [str(folder / f"{name}.{part}") for part in ("pem", "key")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", f"/CN={name}", "-addext", f"subjectAltName={subject}", "-out", paths[0], "-keyout", paths[1]],
                   check=True, capture_output=True)
    return paths


@case
def over_tls_only_who_is_trusted_and_has_the_name_is_told(stage):
    with tempfile.TemporaryDirectory(prefix="parley-webhooks-") as folder:
        folder = pathlib.Path(folder)
        ours, other_name = certificate(folder, "ours", "IP:127.0.0.1"), certificate(folder, "other-name", "DNS:elsewhere.example")
        strange = certificate(folder, "strange", "IP:127.0.0.1")
        trusted = folder / "trusted.pem"
        trusted.write_text("".join(pathlib.Path(c[0]).read_text() for c in (ours, other_name)))
        with Receiver(tls=ours) as good, Receiver(tls=other_name) as misnamed, Receiver(tls=strange) as unknown, Node(
                webhook_ca_file=trusted, retry_interval="20ms", retry_max_attempts=2) as node:
            for receiver in misnamed, unknown:
                endpoint = receiver.endpoint("events")
                tenant, _ = stage.tenant(["message.created"], endpoint=endpoint, node=node)
                post(tenant, room(tenant, "ann"), "ann", "secret")
                (letter,) = endpoint.wait(lambda: stage.dead_letters(tenant)["failed_webhooks"])
                equal((letter["error"], endpoint.deliveries), ("certificate not trusted", []))
            endpoint = good.endpoint("events")
            tenant, _ = stage.tenant(["message.created"], endpoint=endpoint, node=node)
            where = room(tenant, "ann")
            for n in range(10):
                post(tenant, where, "ann", str(n))
            told = endpoint.wait_for("message.created", 10)
            equal([d.message["content"] for d in told], [str(n) for n in range(10)])
            equal(endpoint.problems(), [])
            true(len({d.connection for d in told}) < 3, "one handshake serves many")


@case
def a_replay_tells_what_the_log_has_again_under_the_same_ids(stage):
    tenant, endpoint = stage.tenant(["message.created", "member.joined"])
    where = room(tenant, "ann")
    post(tenant, where, "ann", "before")
    since = post(tenant, where, "ann", "first")["created_at"]
    ok(tenant.backend.call("POST", f"/v1/rooms/{where}/members", {"user_ids": ["ben"]}))
    sent = post(tenant, where, "ann", "second")

    def logged():
        return [d for d in list(endpoint.deliveries) if d.type != "message.offline"]

    first = endpoint.wait(lambda: len(logged()) == 4 and logged())
    # What happens at the very moment may or may not be before it; this one is surely not.
    ok(tenant.backend.call("PATCH", f"/v1/rooms/{where}/messages/{sent['message_id']}", {"content": "edited"}))
    stage.node.cli("webhook", "replay", tenant.id, "--since", since)
    again = endpoint.wait(lambda: endpoint.of("message.created", content="edited") and logged()[4:])
    equal([d.id for d in again], [d.id for d in first][-len(again):])
    true(len(again) in (2, 3), again)
    shown = json_of(stage.node.cli("webhook", "list", "--json"))["webhooks"]
    (mine,) = [w for w in shown if w["tenant_id"] == tenant.id]
    equal((mine["url"], mine["state"], mine["last_error"]), (endpoint.url, "active", None), mine)
    endpoint.wait(lambda: endpoint_of(stage, tenant)["delivered"] == len(endpoint.deliveries))


@case
def dead_letters_can_be_retried_all_together(stage):
    tenant, endpoint = stage.tenant(["message.created"])
    endpoint.answer = lambda d: 400 if d.message["content"] == "refused" else 204
    where = room(tenant, "ann")
    for content in "refused", "taken, so that the breaker stays closed", "refused", "taken":
        post(tenant, where, "ann", content)
    endpoint.wait_for("message.created", content="taken")
    endpoint.wait(lambda: len(stage.dead_letters(tenant)["failed_webhooks"]) == 2)
    refused = {d.id for d in endpoint.of("message.created", content="refused")}
    endpoint.answer, before = 204, len(endpoint.deliveries)
    stage.node.cli("webhook", "replay", tenant.id, "--dead-letters")
    endpoint.wait(lambda: len(endpoint.deliveries) == before + 2)
    equal({d.id for d in endpoint.deliveries[before:]}, refused)
    equal(stage.dead_letters(tenant)["failed_webhooks"], [])


@case
def a_test_calls_the_endpoint_at_once_and_says_how_it_went(stage):
    tenant, endpoint = stage.tenant([])
    said = json_of(stage.node.cli("webhook", "test", tenant.id, "--json"))
    (d,) = endpoint.deliveries
    equal((d.type, d.id, said["delivered"], said["status"]), ("webhook.test", said["event_id"], True, 204), said)
    endpoint.answer = 500
    said = ok(stage.node.operator.call("POST", f"/v1/admin/tenants/{tenant.id}/webhook/test", {})).json
    equal((said["delivered"], said["status"]), (False, 500), said)
    equal(len(endpoint.deliveries), 2, "a test is not repeated")
    equal(stage.dead_letters(tenant)["failed_webhooks"], [])


def endpoint_of(stage, tenant):
    """The tenant's endpoint as the operator sees it."""
    return ok(tenant.node.operator.call("GET", f"/v1/admin/tenants/{tenant.id}/webhook")).json


if __name__ == "__main__":
    main(offline_after="300ms", retry_interval="50ms", retry_max_interval="200ms", retry_max_attempts=ATTEMPTS,
         webhook_timeout=f"{TIMEOUT * 1000:.0f}ms")
