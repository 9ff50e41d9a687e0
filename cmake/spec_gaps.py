#!/usr/bin/env python3
"""Lists the sections of docs/contract.md that no test names.

A section is a numbered heading (`## 5. WebSocket`, `### 5.2 Sync`) or a numbered item of a list right under one
(item 3 in section 2 is 2.3). A test names it with «SPEC 2.3» in a suite or case name; «SPEC 2.3, 5.2» names two, and
«SPEC 2.1-2.4» four. A section whose parts are named counts as named; not the other way round.

    spec_gaps.py            prints the gaps; exit 0
    spec_gaps.py --strict   the same; exit 1 when there are any
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADING = re.compile(r"^#{1,6}\s+(\d+(?:\.\d+)*)\.?\s+(.*)$")
ITEM = re.compile(r"^(\d+)\.\s+(.*)$")
NUMBER = r"\d+(?:\.\d+)*"
NAMED = re.compile(rf"SPEC\s+({NUMBER}(?:\s*(?:,|and|-|–)\s*{NUMBER})*)")


def sections(text):
    """[(number, title)] in the order of the document."""
    found, current, fenced = [], None, False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        if fenced:
            continue
        if heading := HEADING.match(line):
            current = heading.group(1)
            found.append((current, heading.group(2)))
        elif line.startswith("#"):
            current = None
        elif current and (item := ITEM.match(line)):
            title = re.sub(r"[*_`]", "", item.group(2)).split(". ")[0]
            found.append((f"{current}.{item.group(1)}", title[:80]))
    return found


def named(text):
    """The numbers that a test file names."""
    for match in NAMED.finditer(text):
        parts = re.split(r"\s*(,|and|-|–)\s*", match.group(1))
        yield parts[0]
        for separator, number in zip(parts[1::2], parts[2::2]):
            yield number
            first, last = parts[0].rpartition("."), number.rpartition(".")
            if separator in "-–" and first[0] == last[0]:
                for between in range(int(first[2]), int(last[2])):
                    yield first[0] + first[1] + str(between)


def main():
    if sys.argv[1:] not in ([], ["--strict"]):
        print(__doc__, file=sys.stderr)
        return 2
    contract = ROOT / "docs" / "contract.md"
    if not contract.exists():
        print("spec: docs/contract.md is missing", file=sys.stderr)
        return 1
    covered = set()
    for path in sorted((ROOT / "tests").rglob("*")):
        if path.suffix in (".cpp", ".hpp", ".py"):
            covered.update(named(path.read_text(encoding="utf-8")))
    known = sections(contract.read_text(encoding="utf-8"))
    gaps = [(number, title) for number, title in known
            if not any(c == number or c.startswith(number + ".") for c in covered)]
    for number, title in gaps:
        print(f"{number:<6} {title}")
    unknown = sorted(covered - {number for number, _ in known})
    if unknown:
        print("named by tests, not in the contract: " + ", ".join(unknown))
    print(f"spec: {len(known) - len(gaps)} of {len(known)} sections are named by a test")
    return 1 if gaps and sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
