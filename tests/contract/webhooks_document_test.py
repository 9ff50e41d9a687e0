#!/usr/bin/env python3
"""The code of docs/webhooks.md that checks a signature: it takes what the node signs, and nothing else. The Node.js half runs where
there is a `node`."""

import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import subprocess
import sys
import time

from node import ROOT

DOCUMENT = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
OTHER = "whsec_" + base64.b64encode(os.urandom(24)).decode()
BODY = '{"type":"message.created","data":{"content":"\u00e4 \\" \\n"}}'.encode()


def block(language):
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.M | re.S)
    return text


def signed(secret=SECRET, body=BODY, at=None, event="evt_00112233445566778899aabbccddeeff"):
    """Headers as the node sends them."""
    sent = str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{event}.{sent}.".encode() + body, hashlib.sha256).digest()
    return {"webhook-id": event, "webhook-timestamp": sent, "webhook-signature": "v1," + base64.b64encode(mac).decode()}


def cases():
    """(what, headers, body, is it good)"""
    good = signed()
    yield "as the node signs", good, BODY, True
    both = {**good, "webhook-signature": signed(OTHER)["webhook-signature"] + " " + good["webhook-signature"]}
    yield "with two secrets, ours second", both, BODY, True
    yield "with another secret", signed(OTHER), BODY, False
    yield "another body", good, BODY + b" ", False
    yield "another event", {**good, "webhook-id": "evt_ffffffffffffffffffffffffffffffff"}, BODY, False
    yield "another time", {**good, "webhook-timestamp": str(int(good["webhook-timestamp"]) + 1)}, BODY, False
    yield "an old one again", signed(at=time.time() - 301), BODY, False
    yield "one from the future", signed(at=time.time() + 310), BODY, False
    yield "another version", {**good, "webhook-signature": good["webhook-signature"].replace("v1,", "v2,")}, BODY, False
    yield "an empty signature", {**good, "webhook-signature": "v1,"}, BODY, False
    yield "half a signature", {**good, "webhook-signature": good["webhook-signature"][:20]}, BODY, False


def by_python(headers, body):
    scope = {}
    exec(block("python"), scope)
    try:
        return scope["verify"](SECRET, headers, body) == headers["webhook-id"]
    except ValueError:
        return False


def by_node(headers, body):
    script = block("js") + """
const { headers, body } = JSON.parse(require('node:fs').readFileSync(0));
let event = null;
try { event = verify(process.env.SECRET, headers, Buffer.from(body, 'base64')); } catch (e) { if (!/too old|no signature/.test(e.message)) throw e; }
console.log(JSON.stringify(event));
"""
    done = subprocess.run(["node", "-e", script], input=json.dumps({"headers": headers, "body": base64.b64encode(body).decode()}), text=True,
                          capture_output=True, timeout=60, env={"PATH": os.environ["PATH"], "SECRET": SECRET})
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout) == headers["webhook-id"]


def main():
    verifiers = [("Python", by_python)]
    if shutil.which("node"):
        verifiers.append(("Node.js", by_node))
    else:
        print("SKIPPED: there is no node here; the JavaScript is not run")
    wrong, ran = [], 0
    for what, headers, body, good in cases():
        for name, verify in verifiers:
            ran += 1
            if verify(headers, body) != good:
                wrong.append(f"{name}: {what} is {'refused' if good else 'taken'}")
    print("\n".join(wrong))
    print(f"docs/webhooks.md: {ran} checks by {' and '.join(n for n, _ in verifiers)}, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
