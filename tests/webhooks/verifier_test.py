#!/usr/bin/env python3
"""The verifiers of this folder can say no: each change of a delivery is noticed by both. Standard Webhooks 1.0."""

import base64
import hashlib
import hmac
import time
import unittest

import verifier

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OTHER = "whsec_" + base64.b64encode(KEY[::-1]).decode()
BODY = '{"type":"message.created","data":{"text":"hällo"}}'.encode()


def signature(id, stamp, body, key=KEY):
    return "v1," + base64.b64encode(hmac.new(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()).decode()


def delivery(id="evt_1", stamp=None, body=BODY, **headers):
    stamp = int(time.time()) if stamp is None else stamp
    return {"webhook-id": id, "webhook-timestamp": str(stamp), "webhook-signature": signature(id, stamp, body),
            **{k.replace("_", "-"): v for k, v in headers.items()}}, body


class Verifier(unittest.TestCase):
    verifiers = [verifier.by_ourselves] + ([verifier.by_the_library] if verifier.standardwebhooks else [])

    def judge(self, accept, headers, body, secret=SECRET):
        for verify in self.verifiers:
            wrong = verify(headers, body, secret)
            self.assertEqual(wrong is None, accept, f"{verify.__name__}: {wrong}")

    def test_what_is_signed_is_accepted(self):
        self.judge(True, *delivery())

    def test_one_of_several_signatures_is_enough(self):
        headers, body = delivery()
        other = signature(headers["webhook-id"], headers["webhook-timestamp"], body, KEY[::-1])
        headers["webhook-signature"] = f"{other} {headers['webhook-signature']}"
        self.judge(True, headers, body)
        self.judge(True, headers, body, OTHER)

    def test_each_change_is_noticed(self):
        headers, body = delivery()
        self.judge(False, headers, body + b" ")
        self.judge(False, headers, body.replace("ä".encode(), b"a"))
        self.judge(False, headers, body, OTHER)
        self.judge(False, {**headers, "webhook-id": "evt_2"}, body)
        self.judge(False, {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}, body)
        self.judge(False, {**headers, "webhook-signature": headers["webhook-signature"].replace("v1,", "v0,")}, body)
        for name in headers:
            self.judge(False, {k: v for k, v in headers.items() if k != name}, body)

    def test_what_is_too_old_or_too_new_is_refused(self):
        for seconds in -400, 400:
            self.judge(False, *delivery(stamp=int(time.time()) + seconds))


if __name__ == "__main__":
    verifier.announce()
    unittest.main()
