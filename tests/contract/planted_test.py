#!/usr/bin/env python3
"""A node that tells what may not be seen from what does not exist: the isolation matrix and the roles notice it. DESIGN 10."""

import os
import pathlib
import subprocess
import sys

from node import BINARY

FOLDER = pathlib.Path(__file__).resolve().parent


def main():
    if "PARLEY_BREAK" not in subprocess.run([BINARY, "version"], capture_output=True, text=True, check=True).stdout:
        print("this build cannot plant defects")
        return 1
    missed = []
    for test in ("isolation_test.py", "permissions_test.py"):
        run = subprocess.run([sys.executable, "-B", str(FOLDER / test)], capture_output=True, text=True, timeout=300,
                             env={**os.environ, "PARLEY_BREAK": "foreign_is_403"})
        last = run.stderr.strip().splitlines()[-1:] or [""]
        if run.returncode == 0 or "not a member of this room" not in last[0]:
            missed.append(f"{test}: foreign_is_403 is not noticed: {run.stdout[-500:]} {last[0]}")
        else:
            print(f"{test} with foreign_is_403: {last[0][:160]}")
    print("\n".join(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
