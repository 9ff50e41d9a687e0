#!/usr/bin/env python3
"""What ChatAPI's operator sees: health, tenants."""
import re
import subprocess

from chatapi_client import ChatAPI
from harness import await_true, equal, has_string, inherited, line, main, refused, true


# ---- /health


@line("rest-health-01")
def health_needs_no_key(s):
    answer = ChatAPI(s.node().address).health()
    equal((answer.status, answer.json["status"]), (200, "ok"))


@line("rest-health-02")
def health_tells_the_uptime(s):
    uptime = ChatAPI(s.node().address).health().json["uptime"]
    true(re.fullmatch(r"(\d+h)?(\d+m)?\d+s", uptime), uptime)


@line("rest-health-03")
def health_tells_that_the_database_is_writable(s):
    equal(ChatAPI(s.node().address).health().json["db_writable"], True)


@line("rest-health-04")
def health_is_503_while_the_disk_is_full(s):
    node = s.own_node()
    alice = node.tenant().as_user("alice")
    room = alice.create_room("dm", ["alice", "bob"]).json["room_id"]
    full_disk = subprocess.Popen(
        ["strace", "-f", "-qq", "-e", "signal=none", "-e", "trace=pwrite64", "-e", "inject=pwrite64:error=ENOSPC",
         "-o", "/dev/null", "-p", str(node.process.pid)],
        stderr=subprocess.PIPE, text=True, env=inherited())
    try:
        await_true(lambda: alice.send(room, "x").status == 503, "a send on a full disk is not refused")
        sick = alice.health()
        equal((sick.status, sick.json["status"], sick.json["db_writable"]), (503, "error", False))
    finally:
        full_disk.terminate()
        full_disk.communicate(timeout=20)
    await_true(lambda: alice.health().status == 200, "there is space again and /health does not say so")
    equal(alice.send(room, "again").status, 200)


@line("rest-health-05")
def health_names_the_service(s):
    equal(ChatAPI(s.node().address).health().json["service"], "parley")


# ---- /admin/tenants


@line("rest-admin-01")
def the_operator_makes_a_tenant(s):
    answer = s.node().operator().create_tenant("acme")
    equal(answer.status, 201)
    has_string(answer.json, "tenant_id", "api_key", "created_at")
    equal(answer.json["name"], "acme")
    equal(ChatAPI(s.node().address, answer.json["api_key"], "alice").rooms().status, 200)


@line("rest-admin-02")
def a_tenant_needs_a_name(s):
    operator = s.node().operator()
    refused(operator.request("POST", "/admin/tenants", {}), 400, "VALIDATION_ERROR", "name")
    refused(operator.create_tenant(""), 400, "VALIDATION_ERROR", "name")


@line("rest-admin-03")
def nobody_else_makes_a_tenant(s):
    address = s.node().address
    key = s.node().tenant().api_key
    for caller in (ChatAPI(address), ChatAPI(address, master_key="wrong"), ChatAPI(address, key)):
        refused(caller.create_tenant("acme"), 401, "AUTHENTICATION_ERROR")


@line("rest-admin-04")
def a_tenants_key_and_id_look_as_documented(s):
    made = s.node().operator().create_tenant("acme").json
    true(re.fullmatch(r"sk_\S{32,}", made["api_key"]), "the key's form")
    true(made["tenant_id"].startswith("tenant_"), made["tenant_id"])


if __name__ == "__main__":
    main()
