#!/usr/bin/env python3
"""These tests can fail: everything that a running node answered and said is held against documents with one thing changed, and
each change is noticed. So a node with one thing changed is, too. SPEC 4, 5.
"""

import sys

import rest_test
import websocket_test
from contract import Broken, Check, Documents, Operation, Seen

# (what is changed, in which document, from, to)
CHANGES = (
    ("a property is gone", "openapi.yaml", "        member_count: {type: integer, minimum: 0}\n", ""),
    ("a property has another name", "openapi.yaml", "        joined_at: {$ref", "        joined: {$ref"),
    ("an optional property is gone", "openapi.yaml", '        reply_to: {$ref: "#/components/schemas/MessageId"}\n', ""),
    ("a property that nobody sends", "openapi.yaml", "        next_cursor: {$ref", "        colour: {type: string}\n        next_cursor: {$ref"),
    ("another type", "openapi.yaml", 'first_seq: {$ref: "#/components/schemas/Seq"}', "first_seq: {type: string}"),
    ("a value is missing in an enum", "openapi.yaml", "enum: [owner, admin, member]", "enum: [owner, member]"),
    ("a status is gone", "openapi.yaml", '        "409": {$ref: "#/components/responses/Conflict"}\n', ""),
    ("a status that nobody answers", "openapi.yaml", '        "415": {$ref: "#/components/responses/UnsupportedMediaType"}\n',
     '        "415": {$ref: "#/components/responses/UnsupportedMediaType"}\n        "426": {$ref: "#/components/responses/UpgradeRequired"}\n'),
    ("a header is gone", "openapi.yaml", '            Idempotent-Replayed: {$ref: "#/components/headers/Idempotent-Replayed"}\n', ""),
    ("a header that nobody sends", "openapi.yaml", '        WWW-Authenticate: {$ref: "#/components/headers/WWW-Authenticate"}\n',
     '        WWW-Authenticate: {$ref: "#/components/headers/WWW-Authenticate"}\n        X-Colour: {schema: {type: string}}\n'),
    ("a code of another status", "openapi.yaml", 'description: "CONFLICT: ', 'description: "NOT_FOUND: '),
    ("a mark on what is served", "openapi.yaml", "      operationId: listEvents\n", "      operationId: listEvents\n      x-parley-status: later\n"),
    ("no mark on what is not", "openapi.yaml", "      x-parley-caller: operator\n      x-parley-status: later\n", "      x-parley-caller: operator\n"),
    ("another caller", "openapi.yaml", "      x-parley-caller: operator\n", "      x-parley-caller: tenant\n"),
    ("another content type", "openapi.yaml", "{application/yaml: {schema", "{text/yaml: {schema"),
    ("an operation is gone", "openapi.yaml", "  /reads:\n    post:\n", "  /reads:\n    x-post:\n"),
    ("a frame is gone", "asyncapi.yaml", '      - {$ref: "#/channels/ws/messages/typing"}\n', ""),
    ("a frame's property is gone", "asyncapi.yaml", "        action: {type: string, enum: [start, stop]}\n", ""),
    ("a frame's property that nobody sends", "asyncapi.yaml", "        heartbeat_ms: {type", "        colour: {type: string}\n        heartbeat_ms: {type"),
    ("an outcome is gone", "asyncapi.yaml", "enum: [recovered, live, gap, reset, gone]", "enum: [recovered, live, gap, reset]"),
    ("a mark on a frame that is sent", "asyncapi.yaml", "pong: {name: pong,", "pong: {name: pong, x-parley-status: later,"),
    ("a client frame that the node does not know", "asyncapi.yaml", "ping: {name: ping,", "ping: {name: poke,"),
)


class Recorder(Seen):
    """Keeps what it sees, to show it to others."""

    def __init__(self, documents):
        super().__init__(documents)
        self.answers, self.spoken = [], []

    def answer(self, operation, answer, head=False, cors=False):
        which = operation.id if isinstance(operation, Operation) else "other_methods" if operation is self.documents.other_methods else "no_such_path"
        self.answers.append((which, answer, head, cors))
        super().answer(operation, answer, head, cors)

    def frame(self, frame):
        self.spoken.append(frame)
        super().frame(frame)


def complaint(record, texts):
    """What these documents and that record say against each other; None: nothing."""
    Check.seen = set()
    try:
        documents = Documents(texts)
        seen = Seen(documents)
        seen.rated = record.rated
        rest_test.security(documents)
        for which, answer, head, cors in record.answers:
            operation = documents.operations.get(which) or getattr(documents, which, None)
            if operation is None:
                return f"{which} is not documented"
            seen.answer(operation, answer, head, cors)
        for frame in record.spoken:
            seen.frame(frame)
        missing = rest_test.unseen(seen) + websocket_test.unsourced(documents) + websocket_test.unseen(seen)
        return missing[0] if missing else None
    except Broken as broken:
        return str(broken)


def main():
    record = Recorder(Documents())
    rest_test.life(record)
    websocket_test.life(record)
    texts = record.documents.texts
    quiet = complaint(record, texts)
    if quiet is not None:
        print(f"the documents as they are: {quiet}")
        return 1
    missed = []
    for what, file, old, new in CHANGES:
        if old not in texts[file]:
            missed.append(f"{what}: there is no {old!r} in {file} to change")
        elif complaint(record, {**texts, file: texts[file].replace(old, new, 1)}) is None:
            missed.append(f"{what}: not noticed")
    print(f"noticed: {len(CHANGES) - len(missed)} of {len(CHANGES)} changes of the contract, against {len(record.answers)} answers and "
          f"{len(record.spoken)} frames")
    print("\n".join(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
