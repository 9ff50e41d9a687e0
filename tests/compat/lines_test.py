#!/usr/bin/env python3
"""SPEC 9: docs/chatapi-compat.md and the tests say the same. Every line has one test, every test one line, and the marks agree.

A row of a table is a line when its third cell is an id: `| ChatAPI documents | Parley | `id` | `file.test` |`.
"""
import importlib
import pathlib
import re
import sys

from harness import LINES, ROOT
from pending import PENDING

DOCUMENT = ROOT / "docs/chatapi-compat.md"
ROW = re.compile(r"^\|(?P<doc>.+)\|(?P<parley>.+)\| *`(?P<id>[a-z0-9-]+)` *\| *(?P<test>[^|]*?) *\|$")
VERDICT = re.compile(r"^(same|deviates|later)\b")
MARKED = re.compile(r"^(same$|same[,:;] |deviates: |later: )")


def documented(text):
    """([(id, verdict, test)], complaints) of the document."""
    rows, wrong = [], []
    for number, text_line in enumerate(text.splitlines(), 1):
        row = ROW.match(text_line)
        if row is None:
            if text_line.startswith("|") and re.search(r"`[a-z]+(-[a-z]+)*-\d\d`", text_line):
                wrong.append(f"line {number} names an id and is no row: {text_line[:80]}")
            continue
        verdict = row["parley"].strip()
        if not MARKED.match(verdict):
            wrong.append(f"{row['id']}: Parley's cell begins neither with «same», «deviates: why» nor «later: what»")
        if not row["doc"].strip():
            wrong.append(f"{row['id']}: nothing that ChatAPI documents")
        test = re.fullmatch(r"`([a-z_]+\.[a-z0-9_]+)`", row["test"])
        if test is None:
            wrong.append(f"{row['id']}: names no test")
        rows.append((row["id"], VERDICT.match(verdict)[1] if VERDICT.match(verdict) else "", test[1] if test else ""))
    return rows, wrong


def complaints(text, lines, pending):
    """What the document, the tests and the list of pending lines disagree about."""
    rows, wrong = documented(text)
    seen = set()
    for id, verdict, test in rows:
        if id in seen:
            wrong.append(f"{id}: stands in the document twice")
        seen.add(id)
        if id not in lines:
            wrong.append(f"{id}: a line without a test")
            continue
        if test and test != lines[id].name:
            wrong.append(f"{id}: the document names {test}, its test is {lines[id].name}")
        if (verdict == "later") != lines[id].later:
            wrong.append(f"{id}: «later» in the document and in the test disagree")
    wrong += [f"{id}: {lines[id].name} has no line in the document" for id in lines if id not in seen]
    wrong += [f"{id}: pending, and there is no such line" for id in pending if id not in seen]
    return wrong, rows


class Fake:
    """A test, for the checker's own proof."""

    def __init__(self, name, later=False):
        self.name, self.later = name, later


def prove():
    """The checker finds each kind of disagreement."""
    good = "| `GET /x` | same | `rest-x-01` | `rest.x` |\n| `y` | later: 404 today | `rest-y-01` | `later.y` |"
    lines = {"rest-x-01": Fake("rest.x"), "rest-y-01": Fake("later.y", later=True)}
    assert complaints(good, lines, {})[0] == [], complaints(good, lines, {})
    for text, tests, pending in (
            (good + "\n| z | same | `rest-z-01` | `rest.z` |", lines, {}),            # a line without a test
            (good.splitlines()[0], lines, {}),                                        # a test without a line
            (good.replace("rest.x", "rest.other"), lines, {}),                        # another test
            (good.replace("`rest.x`", ""), lines, {}),                                # no test named
            (good.replace("later: 404 today", "same"), lines, {}),                    # the mark went, the test did not
            (good.replace("| same |", "| later: soon |"), lines, {}),                 # the test went, the mark did not
            (good.replace("| same |", "| nearly |"), lines, {}),                      # no verdict
            (good.replace("| same |", "| deviates |"), lines, {}),                    # no reason
            (good.replace("| `GET /x` |", "| |"), lines, {}),                         # nothing documented
            (good + "\n" + good.splitlines()[0], lines, {}),                          # twice
            (good, lines, {"rest-q-01": "?"})):                                       # pending what is not there
        assert complaints(text, tests, pending)[0], text


def main():
    prove()
    for file in sorted(pathlib.Path(__file__).parent.glob("*_test.py")):
        if file.name != pathlib.Path(__file__).name:
            importlib.import_module(file.stem)
    wrong, rows = complaints(DOCUMENT.read_text(), LINES, PENDING)
    for id, what in PENDING.items():
        print(f"pending  {id} {LINES[id].name if id in LINES else ''}: {what}")
    for one in wrong:
        print(f"WRONG    {one}")
    verdicts = [verdict for _, verdict, _ in rows]
    counts = ", ".join(f"{verdicts.count(one)} {one}" for one in ("same", "deviates", "later"))
    print(f"{DOCUMENT.name}: {len(rows)} lines ({counts}), {len(LINES)} tests, {len(PENDING)} pending, {len(wrong)} wrong")
    sys.exit(1 if wrong or not rows else 0)


if __name__ == "__main__":
    main()
