"""Verifies deliveries after Standard Webhooks 1.0, twice: by the library of the specification's authors, which `./dev test`
installs (requirements.txt), and by our own reading of it. Without the library that half is SKIPPED, and says so; with
PARLEY_STANDARD_WEBHOOKS=required it fails."""

import base64
import binascii
import hashlib
import hmac
import os
import pathlib
import re
import sys
import time

PACKAGES = os.environ.get("PARLEY_PYTHON_PACKAGES") or pathlib.Path(__file__).resolve().parents[2] / "build/release/python"
sys.path.insert(0, str(PACKAGES))
try:
    import standardwebhooks
except ImportError:
    if os.environ.get("PARLEY_STANDARD_WEBHOOKS") == "required":
        raise
    standardwebhooks = None

TOLERANCE = 60  # seconds between the sender's clock and ours


def by_the_library(headers, body, secret):
    """None, or what is wrong."""
    try:
        standardwebhooks.Webhook(secret).verify(body, headers)
    except Exception as wrong:  # whatever it objects to
        return f"standardwebhooks: {wrong!r}"
    return None


def by_ourselves(headers, body, secret):
    """None, or what is wrong; stricter than a receiver need be."""
    id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", id):
        return f"webhook-id {id!r}"
    if not re.fullmatch(r"[1-9][0-9]{9}", stamp) or abs(int(stamp) - time.time()) > TOLERANCE:
        return f"webhook-timestamp {stamp!r} at {time.time():.0f}"
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    right = hmac.new(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    found = False
    for one in headers.get("webhook-signature", "").split(" "):
        version, _, text = one.partition(",")
        try:
            mac = base64.b64decode(text, validate=True)
        except binascii.Error:
            return f"webhook-signature {one!r}"
        if version != "v1" or len(mac) != 32:
            return f"webhook-signature {one!r}"
        found = found or hmac.compare_digest(mac, right)
    return None if found else "no signature fits"


def verify(headers, body, secret):
    """None, or what is wrong. Header names in lower case, body as bytes."""
    wrong = by_ourselves(headers, body, secret)
    if standardwebhooks and not wrong:
        wrong = by_the_library(headers, body, secret)
    return wrong


def announce():
    """Which verifiers run."""
    if standardwebhooks:
        print(f"signatures are verified by standardwebhooks {standardwebhooks.__version__} and by our own reading", flush=True)
    else:
        print("SKIPPED: the library standardwebhooks is not installed; signatures are verified by our own reading alone",
              flush=True)
