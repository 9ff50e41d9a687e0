"""docs/openapi.yaml and docs/asyncapi.yaml as tests use them: schemas that refuse what is not documented, and a count of what
was seen."""

import collections
import json
import re

import jsonschema
import yaml

from node import ROOT

METHODS = ("get", "put", "post", "delete", "patch")
# Headers that HTTP itself brings, on any answer; `connection` when it ends.
OF_HTTP = {"date", "content-length", "content-type", "connection", "sec-websocket-accept", "upgrade", "vary"}
PAGES = ROOT / "docs" / "errors"


class Broken(AssertionError):
    """The node and the documents say different things."""


def is_later(thing):
    return isinstance(thing, dict) and thing.get("x-parley-status") == "later"


class Documents:
    """Both files. `texts`: as the node serves them; else those of the tree."""

    def __init__(self, texts=None):
        self.texts = texts or {n: (ROOT / "docs" / n).read_text(encoding="utf-8") for n in ("openapi.yaml", "asyncapi.yaml")}
        self.trees = {name: yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) for name, text in self.texts.items()}
        self.openapi, self.asyncapi = self.trees["openapi.yaml"], self.trees["asyncapi.yaml"]
        self.known, self.names = {}, {}  # by reference; by the identity of `properties`
        self.responses, self.operations = {}, {}
        for path, item in self.openapi["paths"].items():
            for method in METHODS:
                if method in item:
                    operation = Operation(self, path, method.upper(), item[method], item.get("parameters", []))
                    if operation.id in self.operations:
                        raise Broken(f"operationId {operation.id} twice")
                    self.operations[operation.id] = operation
        self.other_methods = Responses(self, {"405": self.openapi["x-parley-other-methods"]})
        self.no_such_path = Responses(self, {"404": {"$ref": "#/components/responses/NotFound"}})
        self.any_operation = Responses(self, self.openapi["x-parley-any-operation"])
        self._read_frames()

    def _read_frames(self):
        self.client_frames, self.server_frames, self.replies, self.later_frames = {}, {}, {}, set()
        channel = self.asyncapi["channels"]["ws"]
        listed = set()
        for operation in self.asyncapi["operations"].values():
            names = [self.look_up(m, "asyncapi.yaml")[0]["name"] for m in self._messages(operation)]
            listed.update(names)
            into = self.client_frames if operation["action"] == "receive" else self.server_frames
            for name in names:
                into[name] = self._payload(name)
            if "reply" in operation:
                replies = [self.look_up(m, "asyncapi.yaml")[0]["name"] for m in operation["reply"]["messages"]]
                listed.update(replies)
                for name in names:
                    self.replies[name] = set(replies)
                for name in replies:
                    self.server_frames[name] = self._payload(name)
        if listed != set(channel["messages"]) or listed != set(self.asyncapi["components"]["messages"]):
            raise Broken(f"frames in one place of asyncapi.yaml and not in another: "
                         f"{listed ^ set(channel['messages'])} {listed ^ set(self.asyncapi['components']['messages'])}")
        for name, message in self.asyncapi["components"]["messages"].items():
            if message["name"] != name:
                raise Broken(f"message {name} is called {message['name']}")
            if is_later(message):
                self.later_frames.add(name)
        self.frame_checks = {name: Check(schema) for name, schema in self.server_frames.items()}

    @staticmethod
    def _messages(operation):
        return operation["messages"]

    def _payload(self, name):
        if name not in self.asyncapi["components"]["messages"]:
            raise Broken(f"no message is called {name}")
        return self.strict(self.asyncapi["components"]["messages"][name]["payload"], "asyncapi.yaml")

    def response(self, thing):
        """Most are the same few failures: each is made once."""
        if "$ref" not in thing:
            return Response(self, thing)
        if thing["$ref"] not in self.responses:
            self.responses[thing["$ref"]] = Response(self, thing)
        return self.responses[thing["$ref"]]

    def open_frame(self, name):
        """What a client may send: other fields are ignored."""
        return self.strict(self.asyncapi["components"]["messages"][name]["payload"], "asyncapi.yaml", closed=False)

    def look_up(self, thing, file):
        """(what a reference leads to, the file it is in)."""
        while isinstance(thing, dict) and "$ref" in thing:
            where, _, pointer = thing["$ref"].partition("#")
            file = where or file
            thing = self.trees[file]
            for part in pointer.strip("/").split("/"):
                thing = thing[part.replace("~1", "/").replace("~0", "~")]
        return thing, file

    def strict(self, schema, file="openapi.yaml", closed=True):
        """The schema without references, parts of allOf as one, and (`closed`) objects that have what is documented and
        nothing else. What is marked `later` is not documented yet."""
        if isinstance(schema, dict) and "$ref" in schema:
            key = (schema["$ref"], file, closed)
            if key not in self.known:
                target, where = self.look_up(schema, file)
                self.known[key] = self.strict(target, where, closed)
                if isinstance(self.known[key].get("properties"), dict):
                    self.names[id(self.known[key]["properties"])] = schema["$ref"].rpartition("/")[2]
            return self.known[key]
        if not isinstance(schema, dict):
            return schema
        out = {}
        for key, value in schema.items():
            if key == "properties":
                out[key] = {n: self.strict(p, file, closed) for n, p in value.items() if not is_later(p)}
            elif key in ("items", "additionalProperties"):
                out[key] = self.strict(value, file, closed)
            elif key in ("oneOf", "anyOf", "allOf"):
                out[key] = [self.strict(part, file, closed) for part in value]
            elif key not in ("description", "examples", "discriminator") and not key.startswith("x-"):
                out[key] = value
        if "allOf" in out:
            parts = out.pop("allOf") + [out]
            out = {}
            for part in parts:
                for key, value in part.items():
                    if key == "properties":
                        out[key] = {**out.get(key, {}), **value}
                    elif key == "required":
                        out[key] = out.get(key, []) + value
                    else:
                        out[key] = value
        if "discriminator" in schema:  # the one that is named is tried, not all
            names = list(schema["discriminator"]["mapping"])
            chosen = [{"if": {"properties": {"type": {"const": name}}}, "then": self.strict({"$ref": ref}, file, closed)}
                      for name, ref in schema["discriminator"]["mapping"].items()]
            return {"type": "object", "required": ["type"], "properties": {"type": {"enum": names}}, "allOf": chosen}
        if closed and "properties" in out and "additionalProperties" not in out:
            out["additionalProperties"] = False
        if closed and out.get("additionalProperties") is False and "required" in out:
            out["required"] = [n for n in out["required"] if n in out["properties"]]
        return out

    def check_frame(self, frame):
        """A frame from the node is documented, has the documented fields and no other."""
        name = frame.get("type")
        if name not in self.frame_checks:
            raise Broken(f"the node sent a frame that is not documented: {frame}")
        if name in self.later_frames:
            raise Broken(f"{name} is marked `later`, and the node sends it: {frame}")
        self.frame_checks[name](frame, "frame")

    def error_codes(self):
        """code → status, as the pages say."""
        pages = {}
        for code in self.openapi["components"]["schemas"]["ErrorCode"]["enum"]:
            page = (PAGES / f"{code}.md")
            if not page.exists():
                raise Broken(f"{code} has no page in docs/errors")
            text = page.read_text(encoding="utf-8")
            status = re.search(r"^\| HTTP status \| (\d+) \|$", text, re.M)
            retryable = re.search(r"^\| retryable \| (yes|no) \|$", text, re.M)
            for heading in ("## Meaning", "## When", "## What to do"):
                if heading not in text:
                    raise Broken(f"docs/errors/{code}.md has no section «{heading}»")
            if not status or not retryable:
                raise Broken(f"docs/errors/{code}.md does not say status and retryable")
            pages[code] = (int(status[1]), retryable[1] == "yes")
        stray = {p.stem for p in PAGES.glob("*.md")} - set(pages) - {"README"}
        if stray:
            raise Broken(f"pages of codes that don't exist: {stray}")
        return pages


def properties_of(schema, out):
    """Every property that the schema documents, as (identity of its `properties`, name)."""
    if isinstance(schema, dict):
        for name, part in schema.get("properties", {}).items():
            out.add((id(schema["properties"]), name))
            properties_of(part, out)
        for key in ("items", "additionalProperties", "then"):
            properties_of(schema.get(key), out)
        for key in ("oneOf", "anyOf", "allOf"):
            for part in schema.get(key, []):
                properties_of(part, out)


def properties_in(schema, value, out):
    """Those of them that a valid value has."""
    if isinstance(value, dict):
        for name, part in schema.get("properties", {}).items():
            if name in value:
                out.add((id(schema["properties"]), name))
                properties_in(part, value[name], out)
        for key in ("oneOf", "anyOf", "allOf"):
            for part in schema.get(key, []):
                if "then" in part:
                    if part["if"]["properties"]["type"]["const"] == value.get("type"):
                        properties_in(part["then"], value, out)
                elif set(part.get("required", [])) <= set(value):
                    properties_in(part, value, out)
        if isinstance(schema.get("additionalProperties"), dict):
            for part in value.values():
                properties_in(schema["additionalProperties"], part, out)
    elif isinstance(value, list):
        for one in value:
            properties_in(schema.get("items", {}), one, out)


class Check:
    seen = set()  # properties that some value had
    sound = set()

    def __init__(self, schema):
        text = json.dumps(schema)
        if text not in Check.sound:  # the same small ones come again and again, and this is slow
            jsonschema.Draft202012Validator.check_schema(schema)
            Check.sound.add(text)
        self.schema, self.validator = schema, jsonschema.Draft202012Validator(schema)

    def __call__(self, value, what):
        error = next(self.validator.iter_errors(value), None)
        if error is not None:
            raise Broken(f"{what}: {'/'.join(map(str, error.absolute_path))}: {error.message}\n  in {json.dumps(value)[:1500]}")
        properties_in(self.schema, value, Check.seen)


class Response:
    def __init__(self, documents, thing):
        thing, file = documents.look_up(thing, "openapi.yaml")
        self.code = (re.match(r"^([A-Z_]+): ", thing["description"]) or [None, None])[1]
        self.content = {kind: Check(documents.strict(media["schema"], file)) for kind, media in thing.get("content", {}).items()}
        self.headers = {}
        for name, header in thing.get("headers", {}).items():
            header, where = documents.look_up(header, file)
            self.headers[name.lower()] = (header.get("required", False), is_later(header),
                                          Check(documents.strict(header["schema"], where)))


class Responses:
    def __init__(self, documents, responses):
        self.by_status = {int(status): documents.response(r) for status, r in responses.items()}


class Parameter:
    def __init__(self, documents, thing):
        thing, file = documents.look_up(thing, "openapi.yaml")
        self.name, self.where, self.required = thing["name"], thing["in"], thing.get("required", False)
        self.later = is_later(thing)
        self.schema = documents.strict(thing["schema"], file)


class Operation(Responses):
    def __init__(self, documents, path, method, thing, shared):
        super().__init__(documents, thing["responses"])
        self.id, self.path, self.method, self.tags = thing["operationId"], path, method, thing["tags"]
        self.caller, self.later = thing["x-parley-caller"], is_later(thing)
        self.security = thing.get("security", documents.openapi["security"])
        self.parameters = [Parameter(documents, p) for p in shared + thing.get("parameters", [])]
        body = thing.get("requestBody")
        self.body_required = bool(body and body.get("required"))
        self.body = documents.strict(body["content"]["application/json"]["schema"], closed=False) if body else None
        self.segments = re.findall(r"\{([a-z_]+)\}", path)
        if sorted(self.segments) != sorted(p.name for p in self.parameters if p.where == "path"):
            raise Broken(f"{self.id}: path and path parameters differ")

    def __repr__(self):
        return f"{self.method} {self.path}"

    @property
    def success(self):
        return sorted(s for s in self.by_status if s < 300)


class Seen:
    """What was seen of the documents; `missing()` is what was not."""

    def __init__(self, documents):
        self.documents, self.pages = documents, documents.error_codes()
        self.rated = False  # the node has a rate for its tenants and says so
        self.statuses = collections.Counter()  # (operation id, status)
        self.codes = collections.Counter()
        self.headers = set()
        self.frames, self.frame_codes = collections.Counter(), collections.Counter()

    def frame(self, frame):
        self.documents.check_frame(frame)
        self.frames[frame["type"]] += 1
        if frame["type"] == "error":
            self.frame_codes[frame["code"]] += 1
            self._code(frame["code"], None, frame["retryable"])

    def _code(self, code, status, retryable):
        expected_status, expected_retryable = self.pages[code]
        if status not in (None, expected_status) or retryable != expected_retryable:
            raise Broken(f"{code} with {status}, retryable {retryable}; its page says {expected_status}, {expected_retryable}")
        self.codes[code] += 1

    def answer(self, operation, answer, head=False, cors=False):
        """The answer to this operation is one of those that are documented."""
        what = f"{operation}: {answer!r}"
        if isinstance(operation, Operation) and operation.later and answer.status not in (404, 405):
            raise Broken(f"marked `later`, and served: {what}")
        response = operation.by_status.get(answer.status) or self.documents.any_operation.by_status.get(answer.status)
        if response is None:
            raise Broken(f"a status that is not documented: {what}")
        for name, (required, later, check) in response.headers.items():
            value = answer.headers.get(name)
            if later and value is not None:
                raise Broken(f"{name} is marked `later`, and is there: {what}")
            if value is None and required and not later:
                raise Broken(f"{name} is missing: {what}")
            if value is not None and name != "upgrade":
                check(value, f"header {name} of {what}")
        self.headers.update(answer.headers)
        for name in answer.headers:
            if name not in response.headers and name not in OF_HTTP and not (cors and name.startswith("access-control-")):
                raise Broken(f"header {name} is not documented: {what}")
        known = isinstance(operation, Operation) and operation.caller != "anyone" and answer.status in (200, 201, 202, 204, 403, 404, 409)
        if known and answer.headers.get("cache-control") != "no-store":
            raise Broken(f"an answer to somebody that anybody may keep: {what}")
        if known and self.rated and operation.caller != "operator":
            for name in ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"):
                if name not in answer.headers:
                    raise Broken(f"{name} is missing: {what}")
        if head or answer.status == 101:
            if answer.body:
                raise Broken(f"a body where none may be: {what}")
        elif not response.content:
            if answer.body:
                raise Broken(f"a body that is not documented: {what}")
        else:
            kind = answer.headers.get("content-type", "").partition(";")[0]
            if kind not in response.content:
                raise Broken(f"content type {kind} is not documented: {what}")
            if kind == "application/json":
                response.content[kind](answer.json, what)
        if not head and response.code:
            error = answer.json["error"]
            if error["code"] != response.code:
                raise Broken(f"{response.code} is documented for {answer.status}: {what}")
            if error["request_id"] != answer.headers["x-request-id"]:
                raise Broken(f"two request ids: {what}")
            self._code(error["code"], answer.status, error["retryable"])
        if isinstance(operation, Operation):
            self.statuses[operation.id, answer.status] += 1

    def unseen_properties(self, frames, but=()):
        """Properties of answers (or of frames) that none had: nobody would notice if they were misspelt."""
        documented, out = set(), []
        if frames:
            for name, schema in self.documents.server_frames.items():
                if name not in self.documents.later_frames:
                    properties_of(schema, documented)
        else:
            for operation in self.documents.operations.values():
                if not operation.later:
                    for response in operation.by_status.values():
                        for check in response.content.values():
                            properties_of(check.schema, documented)
        for where, name in documented - Check.seen:
            label = f"{self.documents.names.get(where, 'a part')}.{name}"
            if label not in but:
                out.append(f"{label} was in no {'frame' if frames else 'answer'}")
        self.properties = len(documented)
        return sorted(out)

    def missing(self, unprovoked=(), unprovoked_codes=()):
        """Operations with their statuses, frames and codes that were not seen, but for those listed."""
        out = []
        for operation in self.documents.operations.values():
            if operation.later:
                continue
            for status in operation.by_status:
                if not self.statuses[operation.id, status] and status not in unprovoked and (operation.id, status) not in unprovoked:
                    out.append(f"{operation.id} was never answered with {status}")
        headers = {name for o in self.documents.operations.values() if not o.later
                   for r in o.by_status.values() for name, (_, later, _) in r.headers.items() if not later}
        out += [f"the header {name} was never seen" for name in sorted(headers - self.headers)]
        for name in self.documents.server_frames:
            if name not in self.documents.later_frames and not self.frames[name]:
                out.append(f"the frame {name} was never seen")
        for code in self.pages:
            if not self.codes[code] and code not in unprovoked_codes:
                out.append(f"the error {code} was never seen")
        return out
