#!/usr/bin/env python3
"""Includes may point only to the left:  protocol <- store, actors <- net <- app.

Also: of the store, actors see store.hpp (and read_results.hpp) alone and net nothing; only store/ speaks SQLite; CAF
stays in the files named for it, so that nobody else pays for it (11 s and 600 MB a file), directly or through a header.
bench/ and tests/ stand outside and may look at everything, but nobody looks at them.

    check_layers.py              checks the tree around this script; exit 1 and one line per violation
    check_layers.py --self-test  proves that each rule notices a bad sample
"""
import pathlib
import re
import sys
import tempfile

LAYERS = ("protocol", "store", "actors", "net", "app")
OUTSIDE = ("bench", "tests")
FOLDERS = LAYERS + OUTSIDE

MAY_INCLUDE = {
    "protocol": {"protocol"},
    "store": {"protocol", "store"},
    "actors": {"protocol", "actors"},  # and STORE_FOR_ACTORS
    "net": {"protocol", "actors", "net"},
    "app": set(LAYERS),
    "bench": set(LAYERS) | {"bench"},
    "tests": set(FOLDERS),
}
STORE_FOR_ACTORS = {"store/store.hpp", "store/read_results.hpp"}

# cmake/targets.cmake (PARLEY_CAF_SOURCES) gives the .cpp files among these CAF's precompiled header.
CAF_FILE = re.compile(r"_actor\.cpp$|_actor_test\.cpp$|/actor_base\.[ch]pp$|/actor_system\.[ch]pp$"
                      r"|/scheduler\.cpp$|/messages_caf\.hpp$")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def sources(root):
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".hpp", ".cpp"):
                yield path


def includes(text):
    """(line, bracket, name) of every include."""
    for match in INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start(2)) + 1, match.group(1), match.group(2)


def check_file(name, text):
    """Violations that show in one file."""
    layer = name.split("/")[0]
    for line, bracket, target in includes(text):
        def bad(why, line=line, target=target):
            return f"{name}:{line}: includes {target}: {why}"
        folder = target.split("/")[0]
        if bracket == '"':
            if "/" not in target or folder not in FOLDERS + ("cmake",) or "/../" in target:
                yield bad("paths start at the project's root, as in \"protocol/ids.hpp\"")
                continue
            if layer == "actors" and folder == "store":
                if target not in STORE_FOR_ACTORS:
                    yield bad("of the store, actors see " + ", ".join(sorted(STORE_FOR_ACTORS)) + " alone")
            elif folder not in MAY_INCLUDE[layer]:
                yield bad(f"{layer}/ must not know {folder}/")
        elif folder in FOLDERS and target.endswith(".hpp") and "/" in target:
            yield bad("our own headers are included with quotes")
        elif target in ("sqlite3.h", "sqlite3ext.h") and layer not in ("store",) + OUTSIDE:
            yield bad("only store/ speaks SQLite")
        elif folder == "caf" and not CAF_FILE.search(name):
            yield bad("CAF belongs in *_actor.cpp, actor_base.*, actor_system.*, scheduler.cpp, messages_caf.hpp")


def check_caf_reach(files):
    """Files that get CAF through a header of ours without being named for it."""
    direct = {name for name, text in files.items()
              if any(b == "<" and t.startswith("caf/") for _, b, t in includes(text))}
    ours = {name: [(line, t) for line, b, t in includes(text) if b == '"'] for name, text in files.items()}

    def reaches(name, seen):
        if name in direct:
            return True
        if name in seen:
            return False
        seen.add(name)
        return any(reaches(target, seen) for _, target in ours.get(name, ()))

    for name in files:
        if CAF_FILE.search(name) or name in direct:
            continue
        for line, target in ours[name]:
            if target in files and reaches(target, set()):
                yield f"{name}:{line}: includes {target}: brings CAF with it"


def check(root):
    files = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in sources(root)}
    found = [violation for name, text in files.items() for violation in check_file(name, text)]
    return found + list(check_caf_reach(files)), len(files)


SAMPLES = (  # file, its text, a part of the complaint (None: fine)
    ("protocol/ids.hpp", '#include "protocol/strong.hpp"\n#include <vector>', None),
    ("protocol/ids.hpp", '#include "store/store.hpp"', "protocol/ must not know store/"),
    ("protocol/ids.hpp", '#include "ids.hpp"', "start at the project's root"),
    ("protocol/ids.hpp", '#include "../protocol/strong.hpp"', "start at the project's root"),
    ("protocol/ids.hpp", "#include <protocol/strong.hpp>", "with quotes"),
    ("store/sqlite_db.cpp", '#include "protocol/ids.hpp"\n#include <sqlite3.h>', None),
    ("store/sqlite_db.cpp", '#include "actors/room.hpp"', "store/ must not know actors/"),
    ("actors/room.hpp", '#include "store/store.hpp"', None),
    ("actors/room.hpp", '  #  include "store/sqlite_db.hpp"', "actors see"),
    ("actors/room.hpp", '#include "net/hub.hpp"', "actors/ must not know net/"),
    ("actors/room.hpp", "#include <sqlite3.h>", "only store/ speaks SQLite"),
    ("actors/room.cpp", "#include <caf/all.hpp>", "CAF belongs in"),
    ("actors/room_actor.cpp", "#include <caf/all.hpp>", None),
    ("actors/actor_base.hpp", "#include <caf/all.hpp>", None),
    ("net/gateway_actor.cpp", '#include "actors/messages.hpp"\n#include <caf/all.hpp>', None),
    ("net/hub.hpp", '#include "store/store.hpp"', "net/ must not know store/"),
    ("net/hub.hpp", '#include "app/config.hpp"', "net/ must not know app/"),
    ("app/main.cpp", '#include "store/sqlite_store.hpp"\n#include "net/io_thread.hpp"', None),
    ("app/main.cpp", '#include "tests/support/clock.hpp"', "app/ must not know tests/"),
    ("bench/main.cpp", '#include "tests/support/clock.hpp"', "bench/ must not know tests/"),
    ("tests/store/db_test.cpp", '#include "tests/support/clock.hpp"\n#include <sqlite3.h>', None),
    ("tests/net/hub_test.cpp", "#include <caf/all.hpp>", "CAF belongs in"),
    ("tests/actors/room_actor_test.cpp", "#include <caf/all.hpp>", None),
)


def self_test():
    failed = []
    for name, text, complaint in SAMPLES:
        found = list(check_file(name, text))
        if complaint is None and found or complaint is not None and not any(complaint in f for f in found):
            failed.append(f"{name} with {text!r}: expected {complaint!r}, got {found}")
    with tempfile.TemporaryDirectory() as directory:  # a whole tree, for what goes through headers
        root = pathlib.Path(directory)
        for name, text in {
            "actors/actor_base.hpp": "#include <caf/all.hpp>\n",
            "actors/middle.hpp": '#include "actors/actor_base.hpp"\n',
            "actors/room.cpp": '#include "actors/middle.hpp"\n',
            "actors/room_actor.cpp": '#include "actors/middle.hpp"\n',
            "actors/a.hpp": '#include "actors/b.hpp"\n',
            "actors/b.hpp": '#include "actors/a.hpp"\n',
        }.items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        found, count = check(root)
        expected = ["actors/middle.hpp:1", "actors/room.cpp:1"]
        if count != 6 or [":".join(f.split(":")[:2]) for f in found] != expected:
            failed.append(f"a tree: expected {expected}, got {found}")
    return failed


def main():
    if sys.argv[1:] == ["--self-test"]:
        failed = self_test()
        print("\n".join(failed) or f"layers: the check notices what it should ({len(SAMPLES)} samples and a tree)")
        return 1 if failed else 0
    if sys.argv[1:]:
        print(__doc__, file=sys.stderr)
        return 2
    violations, count = check(pathlib.Path(__file__).resolve().parent.parent)
    print("\n".join(violations) or f"layers: {count} files, every include points the right way")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
