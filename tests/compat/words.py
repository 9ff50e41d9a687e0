"""Words that many tests of ChatAPI's dialect use for their setup."""
import re

from chatapi_client import ChatAPI, Refused
from harness import equal, refused

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$")
NO_ROOM = "0190c0de-0000-7000-8000-000000000000"
ORIGIN = "https://chat.example.com"
FOREIGN = "https://elsewhere.example.com"
BULK = {"DEFAULT_RATE_LIMIT": "0", "PARLEY_USER_SEND_RATE": "0"}  # more calls at once than the limits let through


def pair(s, **env):
    """Alice, Bob and their dm."""
    alice, bob = s.users("alice", "bob", **env)
    return alice, bob, alice.create_room("dm", ["alice", "bob"]).json["room_id"]


def live(client, room, **options):
    """A socket of this client that shows what happens in `room`: it has seen a message of its own there."""
    opened = client.connect(**options)
    opened.send("send_message", room_id=room, content="I am here")
    opened.wait_for("message", room_id=room, sender_id=client.user_id, content="I am here")
    return opened


def stranger(client):
    """The same caller with a key that nobody has."""
    return ChatAPI(client.address, "sk_" + "0" * 64, client.user_id)


def keyless(client):
    return ChatAPI(client.address, None, client.user_id)


def needs_a_key(client, call):
    """`call` is made without a key and with a wrong one."""
    for caller in (keyless(client), stranger(client)):
        refused(call(caller), 401, "AUTHENTICATION_ERROR")


def refused_with(status, connect):
    """The upgrade is answered with this status."""
    try:
        connect()
    except Refused as refusal:
        equal(refusal.status, status)
        return
    raise AssertionError(f"connected, where {status} was due")
