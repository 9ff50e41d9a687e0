"""Values from the documents' schemas: valid ones, and ones with something wrong. Everything comes from one seeded source."""

import copy
import json
import random
import string

WORDS = ["", " ", "a", "alice", "0", "null", "true", "-1", "1e9", "..", "../x", "%2F", "\u0000", "\n", "\u00e4\u4e2d\U0001f600", "\u202e", "'",
         '"', "\\", "{}", "[]", "x" * 129, "x" * 257, "x" * 5000, "sk_x", "9007199254740993", "2026-05-01T12:00:00.000Z"]
NUMBERS = [0, 1, 2, -1, 7, 100, 101, 1000, 2 ** 31, 2 ** 53, 2 ** 53 + 1, -2 ** 63, 2 ** 64, 1.5, -0.0, 1e300]


class Source:
    """`pool`: name of a schema's field or parameter → values that exist now (rooms, messages, users, …)."""

    def __init__(self, seed, pool):
        self.random, self.pool = random.Random(seed), pool

    def chance(self, share):
        return self.random.random() < share

    def choice(self, values):
        return values[self.random.randrange(len(values))]

    def word(self):
        if self.chance(0.5):
            return self.choice(WORDS)
        return "".join(self.choice(string.ascii_letters + string.digits + " .:%/-_") for _ in range(self.random.randrange(1, 30)))

    def anything(self, depth=0):
        """Any JSON value."""
        kind = self.random.randrange(8 if depth < 4 else 5)
        if kind == 0:
            return None
        if kind == 1:
            return self.chance(0.5)
        if kind == 2:
            return self.choice(NUMBERS)
        if kind in (3, 4):
            return self.word()
        if kind in (5, 6):
            return [self.anything(depth + 1) for _ in range(self.random.randrange(4))]
        return {self.word(): self.anything(depth + 1) for _ in range(self.random.randrange(4))}

    def valid(self, schema, name=""):
        """An instance of the schema; ids that exist, mostly, where the name is one of the pool's."""
        if schema.get("type") != "array" and self.pool.get(name) and self.chance(0.9):
            return self.choice(self.pool[name])
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.choice(schema["enum"])
        for key in ("oneOf", "anyOf"):
            if key in schema:
                chosen = self.choice(schema[key])
                if "properties" not in schema:
                    return self.valid(chosen, name)
                narrower = chosen.get("properties", {})  # of an object, which of its fields go together
                schema = {**schema, "required": schema.get("required", []) + chosen.get("required", []),
                          "properties": {n: self.narrowed(p, narrower.get(n)) for n, p in schema["properties"].items()}}
                del schema[key]
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = self.choice(kind)
        if kind == "object":
            out = {}
            for field, part in schema.get("properties", {}).items():
                if field in schema.get("required", []) or self.chance(0.5):
                    out[field] = self.valid(part, field)
            if isinstance(schema.get("additionalProperties"), dict):
                for _ in range(self.random.randrange(1, 4)):
                    out[str(self.valid({"type": "string"}, "room_id"))] = self.valid(schema["additionalProperties"])
            return out
        if kind == "array":
            low = schema.get("minItems", 0)
            many = self.random.randrange(low, min(schema.get("maxItems", 5), low + 5) + 1)
            return [self.valid(schema["items"], name) for _ in range(many)]
        if kind == "string":
            low, high = schema.get("minLength", 0), schema.get("maxLength", 40)
            if "pattern" in schema or schema.get("format") == "date-time":
                return self.choice(["720h", "2026-05-01T12:00:00.000Z", "http://127.0.0.1:9/x", "abc-1"])
            return "".join(self.choice("abcxyz \u00e9") for _ in range(self.random.randrange(max(low, 1), min(high, 40) + 1))).strip() or "y"
        if kind == "integer":
            low = schema.get("minimum", 0)
            return self.random.randrange(low, min(schema.get("maximum", low + 50), low + 50) + 1)
        if kind == "number":
            return self.random.random()
        if kind == "boolean":
            return self.chance(0.5)
        if kind == "null":
            return None
        return self.anything()

    @staticmethod
    def narrowed(schema, by):
        if by is None:
            return schema
        if by.get("type") == "null":
            return by
        if "oneOf" in schema:
            schema = next(part for part in schema["oneOf"] if part.get("type") == by["type"])
        return {**schema, **by}

    def mutated(self, value):
        """The value with one thing changed, dropped, added or made too large."""
        value = copy.deepcopy(value)
        if not isinstance(value, dict) or not value or self.chance(0.05):
            return self.anything()
        field = self.choice(sorted(value))
        kind = self.random.randrange(7)
        if kind == 0:
            del value[field]
        elif kind == 1:
            value[field] = self.anything()
        elif kind == 2:
            value[field] = self.word()
        elif kind == 3:
            value[field] = self.choice(NUMBERS)
        elif kind == 4:
            value[self.word()] = self.anything()
        elif kind == 5:
            value[field] = self.choice(["x" * 20000, None, [], {}, [[[[1]]]], {"a": "b"}])
        else:
            deep = 1
            for _ in range(self.random.randrange(1, 45)):
                deep = [deep]
            value[field] = deep
        return value

    def text(self, value):
        """JSON, rarely not quite."""
        text = json.dumps(value, ensure_ascii=self.chance(0.5))
        kind = self.random.randrange(40)
        if kind == 0:
            return text[:self.random.randrange(len(text) + 1)]
        if kind == 1:
            return text + self.choice([" ", "\n", ",", "x", "{}"])
        if kind == 2 and text.startswith("{") and len(text) > 2:
            return text[:-1] + "," + text[1:]  # every key twice
        if kind == 3:
            return self.choice(["", "null", "[]", "\"x\"", "NaN", "{\"a\":Infinity}", "{'a':1}", "{\"a\":\"\\ud800\"}", "\ufeff{}"])
        return text
