#!/usr/bin/env python3
"""`parley-bench webhook` against a real node, small: it measures what it says it does, and finds nothing wrong.

By hand: PARLEY_BIN=build/release/bin/parley PARLEY_BENCH_BIN=build/release/bin/parley-bench tests/webhooks/bench_test.py
"""

import json
import os
import subprocess
import unittest

BENCH = os.environ.get("PARLEY_BENCH_BIN", "build/release/bin/parley-bench")


def report(*arguments):
    done = subprocess.run([BENCH, "webhook", "--spawn", "--json", "--quiet", "-c", "10", *arguments], capture_output=True,
                          text=True, timeout=200, stdin=subprocess.DEVNULL)
    said = json.loads(done.stdout) if done.stdout else {}
    if done.returncode != 0:
        raise AssertionError(f"{done.returncode}: {said.get('failure')} {said.get('checks')} {done.stderr}")
    return said


class Bench(unittest.TestCase):
    def test_it_counts_every_event_with_and_without_a_webhook(self):
        said = report("--duration", "300ms", "--warmup", "100ms", "--rounds", "1", "--rate", "200")
        without, with_it, paced_without, paced = said["runs"]
        self.assertEqual([run["webhook"]["enabled"] for run in (without, with_it, paced_without, paced)], [False, True] * 2)
        for run in with_it, paced:
            told = run["webhook"]
            self.assertGreater(run["checked_accepted"], 0)
            self.assertEqual((told["events"], told["others"]), (run["checked_accepted"], 0))
            self.assertEqual(told["lag_times"]["count"], told["events"])
            self.assertGreater(told["lag_times"]["p99_ms"], 0)
        for figure in "accepted_per_s_with", "accepted_per_s_without", "events_per_s", "cpu_us_per_message_with":
            self.assertGreater(said["webhook"][figure], 0, figure)

    def test_a_dead_endpoint_is_told_everything_after_a_kill(self):
        dead = report("--dead", "--queue", "300", "--rest", "100ms")["dead"]
        self.assertGreaterEqual(dead["events"], 300)
        for figure in "rss_queued_bytes", "database_queued_bytes", "listen_again_s", "drain_s", "drained_per_s":
            self.assertGreater(dead[figure], 0, figure)


if __name__ == "__main__":
    unittest.main()
