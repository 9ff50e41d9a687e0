"""The rules of docs/http.md as a table: raw requests, and what the node must do with each.

Texts are latin-1: "\\xff" is that byte. <KEY> stands for a tenant's key. Behind every request the runner puts a canary (a
request that would create a room) and a last `GET /livez` with `Connection: close`, in the same packet: a row that ends
`closed` must never have its canary executed, one that stays `open` must have it answered. Where the canary belongs
inside the request, `raw` is a function of it.
"""

import dataclasses
import typing

MAX_HEADER = 16 * 1024
MAX_BODY = 64 * 1024  # what the runner configures
MAX_BATCH_BODY = 128 * 1024
MAX_FIELDS = 128

OPEN, CLOSED, UPGRADED = "open", "closed", "upgraded"


@dataclasses.dataclass(frozen=True)
class Row:
    why: str
    rule: str  # the paragraph
    raw: typing.Any  # bytes, or several that each wait for the answer before; or a function of the canary
    answers: tuple  # statuses in order, interim ones too
    then: str
    has: typing.Any = None  # header of the first final answer → its value, or None: it has no such header
    to_head: bool = False


ROWS = []


def add(why, rule, raw, answers, then, has=None):
    first = raw("") if callable(raw) else raw if isinstance(raw, str) else raw[0]
    if any(row.why == why for row in ROWS):
        raise ValueError(f"two rows are called «{why}»")
    ROWS.append(Row(why, rule, raw, answers, then, has, first.lstrip("\r\n").startswith("HEAD ")))


def refused(why, rule, raw, status=400):
    add(why, rule, raw, (status,), CLOSED)


def served(why, rule, raw, status=200, has=None):
    add(why, rule, raw, (status,), OPEN, has)


def head(*lines):
    return "\r\n".join(lines) + "\r\n\r\n"


GET = "GET /livez HTTP/1.1"
HOST = "Host: node"
MAKE = "POST /v1/rooms HTTP/1.1"
JSON = "Content-Type: application/json"
KEY = "X-API-Key: <KEY>"
ROOM = '{"type":"group","members":["ann"]}'
SIZE = len(ROOM)
LENGTH = f"Content-Length: {SIZE}"
CHUNKED = "Transfer-Encoding: chunked"


def make(*fields, body=ROOM):
    return head(MAKE, HOST, KEY, JSON, *fields) + body


def room_of(size):
    return ROOM[:-1] + ',"x":"' + "y" * (size - SIZE - 7) + '"}'


def chunk(text, extension=""):
    return f"{len(text):x}{extension}\r\n{text}\r\n"


LAST = "0\r\n\r\n"
WHOLE = chunk(ROOM) + LAST


def target(path, method="GET"):
    return head(f"{method} {path} HTTP/1.1", HOST)


# ── The request line ────────────────────────────────────────────────────────────────────────────────────────────────

LINE = "RFC 9112 §3"
served("a plain request", LINE, head(GET, HOST))
for why, line in {
    "two spaces after the method": "GET  /livez HTTP/1.1",
    "two spaces before the version": "GET /livez  HTTP/1.1",
    "a tab after the method": "GET\t/livez HTTP/1.1",
    "a tab before the version": "GET /livez\tHTTP/1.1",
    "a space before the method": " GET /livez HTTP/1.1",
    "a space behind the version": "GET /livez HTTP/1.1 ",
    "a method alone": "GET",
    "no target": "GET HTTP/1.1",
    "an empty target": "GET  HTTP/1.1",
    "no method": "/livez HTTP/1.1",
    "an empty method": " /livez HTTP/1.1",
    "a space in the target": "GET /li vez HTTP/1.1",
    "a fourth word": "GET /livez HTTP/1.1 HTTP/1.1",
    "a method that is no token": "G(T /livez HTTP/1.1",
    "a method with a colon": "GET: /livez HTTP/1.1",
    "a method with a slash": "G/T /livez HTTP/1.1",
    "a method with a byte over 127": "G\xcbT /livez HTTP/1.1",
    "a control character in the method": "G\x01T /livez HTTP/1.1",
    "a vertical tab between the words": "GET\x0b/livez HTTP/1.1",
}.items():
    refused(why, LINE, head(line, HOST))

VERSION = "RFC 9112 §2.3"
refused("HTTP/0.9", VERSION, "GET /livez\r\n")
refused("HTTP/0.9 with fields", VERSION, head("GET /livez", HOST))
refused("the preface of HTTP/2", "RFC 9113 §3.4", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
for version in ("HTTP/0.9", "HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/3.0", "HTTP/1.10", "HTTP/01.1", "HTTP/1", "HTTP/1.",
                "HTTP/.1", "HTTP/1,1", "HTTP/1.1x", "http/1.1", "Http/1.1", "HTTPS/1.1", "HTTP-1.1", "HTTP/ 1.1", "HTTP/-1.1"):
    refused(f"the version {version}", VERSION, head(f"GET /livez {version}", HOST))

METHOD = "RFC 9110 §9"
GET_ONLY = {"allow": "GET, HEAD, OPTIONS"}
served("a method in lower case is another method", METHOD, target("/livez", "get"), 405, GET_ONLY)
served("an unknown method", METHOD, target("/livez", "BREW"), 405, GET_ONLY)
served("the longest method that is a token", METHOD, target("/livez", "!#$%&'*+-.^_`|~09az"), 405, GET_ONLY)
served("TRACE is not served", METHOD, target("/livez", "TRACE"), 405, GET_ONLY)
served("a POST to what is only read", METHOD, head("POST /livez HTTP/1.1", HOST, "Content-Length: 3") + "abc", 405, GET_ONLY)
served("a PUT of rooms", METHOD, target("/v1/rooms", "PUT"), 405, {"allow": "POST, GET, HEAD, OPTIONS"})
refused("CONNECT", METHOD, head("CONNECT node:443 HTTP/1.1", "Host: node:443"))
refused("CONNECT of a path", METHOD, target("/livez", "CONNECT"))
served("HEAD", METHOD, target("/livez", "HEAD"))
served("HEAD of what is not there", METHOD, target("/none", "HEAD"), 404)
served("HEAD without a credential", METHOD, target("/v1/rooms", "HEAD"), 401)
refused("HEAD of a bad target", METHOD, target("/%", "HEAD"))
refused("HEAD without Host", METHOD, head("HEAD /livez HTTP/1.1", "X: y"))
refused("HEAD with a body that is too large", METHOD, head("HEAD /livez HTTP/1.1", HOST, "Content-Length: 99999999"), 413)
served("OPTIONS of a path", METHOD, target("/livez", "OPTIONS"), 204, {"allow": "GET, HEAD, OPTIONS"})
served("OPTIONS of what is not there", METHOD, target("/none", "OPTIONS"), 404)

# ── The target ──────────────────────────────────────────────────────────────────────────────────────────────────────

FORM = "RFC 9112 §3.2"
served("OPTIONS of the server", FORM, target("*", "OPTIONS"), 204)
refused("GET of the server", FORM, target("*"))
refused("two asterisks", FORM, target("**", "OPTIONS"))
refused("an asterisk and a query", FORM, target("*?x", "OPTIONS"))
refused("authority form", FORM, target("node:80"))
refused("a path without its slash", FORM, target("livez"))
refused("a query alone", FORM, target("?x=y"))
for why, form in {
    "absolute form": "http://node/livez",
    "absolute form, https": "https://node/livez",
    "absolute form in capitals": "HTTP://NODE/livez",
    "absolute form with the default port": "http://node:80/livez",
    "absolute form with a query": "http://node/livez?x=http://y",
}.items():
    served(why, FORM, target(form))
served("absolute form without a path", FORM, target("http://node"), 404)
served("absolute form with a query and no path", FORM, target("http://node?x"), 404)
for why, form in {
    "absolute form of another host": "http://other/livez",
    "absolute form of another port": "http://node:81/livez",
    "absolute form with user information": "http://me@node/livez",
    "absolute form of another scheme": "ftp://node/livez",
    "absolute form without a host": "http:///livez",
    "absolute form with one slash": "http:/node/livez",
    "absolute form with a port that is none": "http://node:x/livez",
    "absolute form with a backslash": "http://node\\@other/livez",
}.items():
    refused(why, FORM, target(form))

PATH = "RFC 3986 §2"
served("an escaped letter", PATH, target("/%6civez"))
served("an escaped slash stays in its segment", PATH, target("/v1%2Flivez"), 404)
served("a slash at the end", PATH, target("/livez/"), 404)
served("two slashes at the beginning", PATH, target("//livez"), 404)
served("dots are not resolved", PATH, target("/v1/../livez"), 404)
served("escaped dots are not resolved", PATH, target("/v1/%2e%2e/livez"), 404)
served("a backslash is no slash", PATH, target("/v1\\livez"), 404)
served("a path in capitals", PATH, target("/LIVEZ"), 404)
served("a parameter of the path", PATH, target("/livez;x"), 404)
served("an escape decoded once", PATH, target("/%256civez"), 404)
served("an empty query", PATH, target("/livez?"))
served("line ends escaped in a query are text", PATH, target("/livez?x=%0d%0aX:%20y"))
served("visible characters that RFC 3986 does not know", PATH, target('/livez?a="b"&c={d}|e^`'))
for why, path in {
    "an escape without digits": "/livez%",
    "half an escape": "/livez%2",
    "an escape of other letters": "/livez%zz",
    "a half escape in the query": "/livez?x=%4",
    "an escape with a sign": "/livez?x=%+1",
    "NUL, escaped, in the path": "/livez%00",
    "NUL, escaped, in the query": "/livez?x=%00",
    "a byte that is no UTF-8, escaped": "/livez%ff",
    "an overlong slash, escaped": "/v1%c0%aflivez",
    "a surrogate, escaped": "/livez?x=%ed%a0%80",
    "UTF-8 as it is": "/livez/\xc3\xa4",
    "a byte over 127 in the query": "/livez?x=\xff",
    "a fragment": "/livez#x",
    "a control character in the target": "/li\x01vez",
    "DEL in the target": "/livez?\x7f",
    "a tab in the target": "/livez?a\tb",
    "33 segments": "/a" * 33,
    "257 parameters": "/livez?" + "a&" * 257,
}.items():
    refused(why, PATH, target(path))
served("32 segments", "docs/http.md", target("/a" * 32), 404)
served("256 parameters", "docs/http.md", target("/livez?" + "a&" * 256))

# ── Lines ───────────────────────────────────────────────────────────────────────────────────────────────────────────

LINES = "RFC 9112 §2.2"
served("an empty line before the request", LINES, "\r\n" + head(GET, HOST))
served("four empty lines before the request", LINES, "\r\n" * 4 + head(GET, HOST))
refused("five empty lines before the request", LINES, "\r\n" * 5 + head(GET, HOST))
refused("an LF before the request", LINES, "\n" + head(GET, HOST))
refused("a CR before the request", LINES, "\r" + head(GET, HOST))
refused("a line of spaces before the request", LINES, "  \r\n" + head(GET, HOST))
for why, raw in {
    "bare LF everywhere": head(GET, HOST).replace("\r", ""),
    "bare LF behind the request line": f"{GET}\n{HOST}\r\n\r\n",
    "bare LF behind a field": f"{GET}\r\n{HOST}\nX: y\r\n\r\n",
    "bare LF as the empty line": f"{GET}\r\n{HOST}\r\n\n",
    "LF CR as the empty line": f"{GET}\r\n{HOST}\n\r\n\r\n",
    "bare CR everywhere": head(GET, HOST).replace("\n", ""),
    "bare CR behind the request line": f"{GET}\r{HOST}\r\n\r\n",
    "bare CR behind a field": f"{GET}\r\n{HOST}\rX: y\r\n\r\n",
    "bare CR as the empty line": f"{GET}\r\n{HOST}\r\n\rX: y\r\n\r\n",
    "CR CR LF behind a field": f"{GET}\r\n{HOST}\r\r\n\r\n",
    "CR in the target": head("GET /li\rvez HTTP/1.1", HOST),
    "CR in a name": head(GET, HOST, "X\ry: z"),
    "CR in a value": head(GET, HOST, "X: y\rz"),
    "LF in a value": head(GET, HOST, "X: y\nZ: z"),
    "a length behind a bare LF": head(GET, HOST, f"X: y\nContent-Length: 5"),
    "a coding behind a bare LF": head(GET, HOST, f"X: y\n{CHUNKED}"),
    "a coding behind a bare CR": head(GET, HOST, f"X: y\r{CHUNKED}"),
    "NUL in the request line": head("GET /li\0vez HTTP/1.1", HOST),
    "NUL in a name": head(GET, HOST, "X\0: y"),
    "NUL in a value": head(GET, HOST, "X: y\0z"),
    "NUL before the request": "\0" + head(GET, HOST),
    "a TLS hello": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "words": "hello there\r\n\r\n",
}.items():
    refused(why, LINES, raw)

FOLD = "RFC 9112 §5.2"
refused("a value folded with a space", FOLD, head(GET, HOST, "X: y", " z"))
refused("a value folded with a tab", FOLD, head(GET, HOST, "X: y", "\tz"))
refused("a fold of nothing", FOLD, head(GET, HOST, "X: y", " "))
refused("a fold behind the request line", FOLD, head(GET, " X: y", HOST))
refused("a folded Host", FOLD, head(GET, "Host:", " node"))
refused("a folded length", FOLD, make("Content-Length:", f" {SIZE}"))
refused("a folded coding", FOLD, make("Transfer-Encoding:", " chunked", body=WHOLE))
refused("a coding hidden in a fold", FOLD, make("X: y", f" {CHUNKED}", LENGTH))

# ── Fields ──────────────────────────────────────────────────────────────────────────────────────────────────────────

NAME = "RFC 9112 §5.1"
served("every character of a token in a name", NAME, head(GET, HOST, "!#$%&'*+-.^_`|~09azAZ: y"))
served("an empty value", NAME, head(GET, HOST, "X:"))
served("a value without a space before it", NAME, head(GET, "Host:node"))
served("a value amid white space", NAME, head(GET, "Host: \t node \t "))
served("a tab in a value", NAME, head(GET, HOST, "X: y\tz"))
served("a value of bytes over 127", NAME, head(GET, HOST, "X: \xc3\xa4\xff"))
for why, field in {
    "a space before the colon": "X : y",
    "a tab before the colon": "X\t: y",
    "a space before the colon of Host": "Host : other",
    "a space before the colon of a length": "Content-Length : 5",
    "a tab before the colon of a length": "Content-Length\t: 5",
    "a space before the colon of a coding": "Transfer-Encoding : chunked",
    "a vertical tab before a coding": "\x0bTransfer-Encoding: chunked",
    "an empty name": ": y",
    "a line without a colon": "X",
    "a space in a name": "X Y: z",
    "a byte over 127 in a name": "X\xe4: y",
    "a soft hyphen in a coding's name": "Transfer\xadEncoding: chunked",
    "a control character in a name": "X\x01: y",
    "DEL in a name": "X\x7f: y",
    "VT in a value": "X: y\x0bz",
    "FF in a value": "X: y\x0cz",
    "BEL in a value": "X: \x07",
    "ESC in a value": "X: \x1b[31m",
    "BS in a value": "X: y\x08",
    "DEL in a value": "X: y\x7f",
}.items():
    refused(why, NAME, head(GET, HOST, field))
for character in '"(),/;<=>?@[\\]{}':
    refused(f"{character} in a name", NAME, head(GET, HOST, f"X{character}Y: z"))

HOSTS = "RFC 9112 §3.2"
for host in ("node:8080", "node:", "127.0.0.1", "[::1]", "[::1]:80", "NODE", "a_b", "xn--e1aybc", "node.", "%6eode"):
    served(f"Host {host}", HOSTS, head(GET, f"Host: {host}"))
for why, fields in {
    "no Host": ["X: y"],
    "two Hosts": [HOST, "Host: other"],
    "twice the same Host": [HOST, HOST],
    "two Hosts in different spellings": [HOST, "hOsT: other"],
    "an empty Host": ["Host:"],
    "a list of Hosts": ["Host: node, other"],
    "a Host with a path": ["Host: node/livez"],
    "a Host with user information": ["Host: me@node"],
    "a Host with a space": ["Host: node other"],
    "a Host with a scheme": ["Host: http://node"],
    "a Host with a byte over 127": ["Host: n\xf6de"],
    "a Host with a port that is none": ["Host: node:http"],
    "a Host with port 65536": ["Host: node:65536"],
    "a Host with a negative port": ["Host: node:-1"],
    "a Host with two ports": ["Host: node:80:80"],
    "a Host that is half an address": ["Host: [::1"],
    "a Host that is no address": ["Host: [::g]"],
    "a Host with a half escape": ["Host: node%2"],
    "a Host with a query": ["Host: node?x"],
    "a Host with a fragment": ["Host: node#x"],
}.items():
    refused(why, HOSTS, head(GET, *fields))

BOUNDS = "contract 4, max_header"


def head_of(size, *fields):
    rest = len(head(GET, HOST, "X: ", *fields))
    return head(GET, HOST, "X: " + "x" * (size - rest), *fields)


served("a head of exactly max_header", BOUNDS, head_of(MAX_HEADER))
refused("a head of one byte more", BOUNDS, head_of(MAX_HEADER + 1), 413)
served("a target that fills the head", BOUNDS, target("/livez?" + "x" * (MAX_HEADER - len(target("/livez?")))))
refused("a target one byte longer", BOUNDS, target("/livez?" + "x" * (MAX_HEADER + 1 - len(target("/livez?")))), 413)
refused("a target without end", BOUNDS, "GET /" + "x" * MAX_HEADER, 413)
refused("a method without end", BOUNDS, "G" * (MAX_HEADER + 1), 413)
refused("a name without end", BOUNDS, f"{GET}\r\n" + "X" * MAX_HEADER, 413)
refused("a value without end", BOUNDS, f"{GET}\r\nX: " + "x" * MAX_HEADER, 413)
served("128 fields", "docs/http.md", head(GET, HOST, *["X: y"] * (MAX_FIELDS - 1)))
refused("129 fields", "docs/http.md", head(GET, HOST, *["X: y"] * MAX_FIELDS), 413)
refused("a thousand empty fields", "docs/http.md", head(GET, HOST, *["X:"] * 1000), 413)

# ── The body's length ───────────────────────────────────────────────────────────────────────────────────────────────

BODY = "RFC 9112 §6"
served("a length", BODY, make(LENGTH), 201)
served("a length amid white space", BODY, make(f"Content-Length: \t{SIZE} \t"), 201)
served("a length with leading zeros", BODY, make(f"Content-Length: 000{SIZE}"), 201)
served("a length of nothing", BODY, head(GET, HOST, "Content-Length: 0"))
served("a body of a GET is read and dropped", BODY, head(GET, HOST, "Content-Length: 5") + "hello")
served("a canary in the body of a GET", BODY, lambda canary: head(GET, HOST, f"Content-Length: {len(canary)}") + canary)
served("a canary in the body of a HEAD", BODY,
       lambda canary: head("HEAD /livez HTTP/1.1", HOST, f"Content-Length: {len(canary)}") + canary)
served("a canary in a body that nobody may send", BODY,
       lambda canary: head("POST /v1/rooms HTTP/1.1", HOST, f"Content-Length: {len(canary)}") + canary, 401)
served("a canary in a body of a path that is not there", BODY,
       lambda canary: head("POST /none HTTP/1.1", HOST, f"Content-Length: {len(canary)}") + canary, 404)
served("a field whose name is nearly a length", BODY, make("Content_Length: 3", LENGTH), 201)
for why, fields in {
    "two lengths that differ": [LENGTH, "Content-Length: 3"],
    "two lengths that differ, the larger last": ["Content-Length: 3", LENGTH],
    "two lengths that agree": [LENGTH, LENGTH],
    "two lengths in different spellings": [LENGTH, f"content-LENGTH: {SIZE}"],
    "a list of lengths": [f"{LENGTH}, {SIZE}"],
    "a list of lengths without a space": [f"{LENGTH},{SIZE}"],
    "a length with a comma": [f"{LENGTH},"],
    "a length with a plus": [f"Content-Length: +{SIZE}"],
    "a negative length": ["Content-Length: -1"],
    "a negative nothing": ["Content-Length: -0"],
    "a length in hex": [f"Content-Length: 0x{SIZE:x}"],
    "a length in hex digits": ["Content-Length: 2a"],
    "a length with a fraction": [f"{LENGTH}.0"],
    "a length with an exponent": ["Content-Length: 3e1"],
    "a length in two words": ["Content-Length: 3 4"],
    "a length in quotes": [f'Content-Length: "{SIZE}"'],
    "a length with a parameter": [f"{LENGTH};q=1"],
    "an empty length": ["Content-Length:"],
    "an empty length beside a good one": ["Content-Length:", LENGTH],
    "a length of other digits": ["Content-Length: \xd9\xa3"],
    "a length with an underscore": ["Content-Length: 3_4"],
    "a length behind a VT": [f"Content-Length: \x0b{SIZE}"],
}.items():
    refused(why, BODY, make(*fields))
for why, length in {
    "a length beyond max_body": str(MAX_BODY + 1),
    "a length beyond 32 bits": str(2**32 + SIZE),
    "a length of 2^63": str(2**63),
    "a length of 2^64": str(2**64),
    "a length that is small modulo 2^64": str(2**64 + SIZE),
    "a length of a hundred digits": "9" * 100,
}.items():
    refused(why, BODY, make(f"Content-Length: {length}"), 413)
served("a body of exactly max_body", "contract 4, max_body", make(f"Content-Length: {MAX_BODY}", body=room_of(MAX_BODY)), 201)
refused("a body of one byte more", "contract 4, max_body", make(f"Content-Length: {MAX_BODY + 1}", body=room_of(MAX_BODY + 1)), 413)
served("chunks of exactly max_body", "contract 4, max_body", make(CHUNKED, body=chunk(room_of(MAX_BODY)) + LAST), 201)
refused("chunks of one byte more", "contract 4, max_body", make(CHUNKED, body=chunk(room_of(MAX_BODY + 1)) + LAST), 413)
refused("many chunks of one byte more", "contract 4, max_body",
        make(CHUNKED, body="".join(chunk(c * 1024) for c in "x" * 64) + chunk("x") + LAST), 413)

BATCH = "contract 4, max_batch_body"


def batch(size, path="/v1/messages/batch", coding=False):
    body = '{"messages":[{"room_id":"01890000-0000-7000-8000-000000000000","sender_id":"ann","content":"hi"}],"x":""}'
    body = body[:-2] + "y" * (size - len(body)) + body[-2:]
    fields = CHUNKED if coding else f"Content-Length: {size}"
    return head(f"POST {path} HTTP/1.1", HOST, KEY, JSON, fields) + (chunk(body) + LAST if coding else body)


served("a batch of exactly max_batch_body", BATCH, batch(MAX_BATCH_BODY))
served("a batch of exactly max_batch_body in a chunk", BATCH, batch(MAX_BATCH_BODY, coding=True))
served("a batch of exactly max_batch_body, without /v1", BATCH, batch(MAX_BATCH_BODY, "/messages/batch"))
served("a batch of exactly max_batch_body, with a query", BATCH, batch(MAX_BATCH_BODY, "/v1/messages/batch?x=y"))
refused("a batch of one byte more", BATCH, batch(MAX_BATCH_BODY + 1), 413)
refused("a batch of one byte more in a chunk", BATCH, batch(MAX_BATCH_BODY + 1, coding=True), 413)
refused("a batch to another path has its bound", BATCH, batch(MAX_BODY + 1, "/v1/messages/batches"), 413)
add("a batch, and a request that is too large", BATCH,
    batch(MAX_BATCH_BODY) + make(f"Content-Length: {MAX_BODY + 1}", body=""), (200, 413), CLOSED)

# ── Transfer codings ────────────────────────────────────────────────────────────────────────────────────────────────

CODING = "RFC 9112 §6.1"
served("chunks", CODING, make(CHUNKED, body=WHOLE), 201)
served("the coding in capitals", CODING, make("TRANSFER-ENCODING: CHUNKED", body=WHOLE), 201)
served("the coding amid white space", CODING, make("Transfer-Encoding: \tchunked\t ", body=WHOLE), 201)
served("a field whose name is nearly a coding", CODING, make("Transfer_Encoding: chunked", LENGTH), 201)
served("TE is about answers", CODING, make("TE: trailers, gzip", LENGTH), 201)
refused("length and coding", CODING, make(LENGTH, CHUNKED, body=WHOLE))
refused("coding and length", CODING, make(CHUNKED, LENGTH, body=WHOLE))
refused("length 0 and coding", CODING, make("Content-Length: 0", CHUNKED, body=WHOLE))
refused("a canary behind the last chunk, within the length", "CL.TE", lambda canary: make(
    f"Content-Length: {len(LAST + canary)}", CHUNKED, body=LAST + canary))
refused("a canary in a chunk, behind the length", "TE.CL", lambda canary: make(
    "Content-Length: 4", CHUNKED, body=chunk(canary) + LAST))
for why, fields in {
    "chunked twice in a list": ["Transfer-Encoding: chunked, chunked"],
    "chunked twice in two fields": [CHUNKED, CHUNKED],
    "chunked and identity in two fields": [CHUNKED, "Transfer-Encoding: identity"],
    "identity": ["Transfer-Encoding: identity"],
    "identity and chunked": ["Transfer-Encoding: identity, chunked"],
    "gzip": ["Transfer-Encoding: gzip"],
    "gzip and chunked": ["Transfer-Encoding: gzip, chunked"],
    "chunked and gzip": ["Transfer-Encoding: chunked, gzip"],
    "an unknown coding": ["Transfer-Encoding: cow"],
    "xchunked": ["Transfer-Encoding: xchunked"],
    "chunkedx": ["Transfer-Encoding: chunkedx"],
    "chunked with a parameter": ["Transfer-Encoding: chunked;q=1"],
    "chunked behind a comma": ["Transfer-Encoding: ,chunked"],
    "chunked before a comma": ["Transfer-Encoding: chunked,"],
    "chunked in quotes": ['Transfer-Encoding: "chunked"'],
    "an empty coding": ["Transfer-Encoding:"],
    "an empty coding beside a good one": ["Transfer-Encoding:", CHUNKED],
    "chunked in two words": ["Transfer-Encoding: chun ked"],
    "chunked behind a VT": ["Transfer-Encoding: \x0bchunked"],
    "chunked before a NUL": ["Transfer-Encoding: chunked\0"],
    "chunked with a long s and a kelvin sign": ["Transfer-Encoding: chun\xe2\x84\xaaed"],
}.items():
    refused(why, CODING, make(*fields, body=WHOLE))
refused("another coding beside a length, and a canary", CODING,
        lambda canary: make(LENGTH, "Transfer-Encoding: xchunked", body=ROOM + canary))
refused("chunks in HTTP/1.0", CODING, head("POST /v1/rooms HTTP/1.0", HOST, KEY, JSON, CHUNKED) + WHOLE)
refused("chunks in HTTP/1.0 that stays", CODING,
        head("POST /v1/rooms HTTP/1.0", HOST, KEY, JSON, CHUNKED, "Connection: keep-alive") + WHOLE)

CHUNK = "RFC 9112 §7.1"
for why, body in {
    "several chunks": "".join(chunk(c) for c in ROOM) + LAST,
    "a size in capitals": f"{SIZE:X}\r\n{ROOM}\r\n" + LAST,
    "a size with leading zeros": f"00{SIZE:x}\r\n{ROOM}\r\n" + LAST,
    "a last chunk of many zeros": chunk(ROOM) + "000\r\n\r\n",
    "an extension": chunk(ROOM, ";x") + LAST,
    "an extension with a value": chunk(ROOM, ";x=y;z") + LAST,
    "an extension in quotes": chunk(ROOM, ';x="y;\\"z"') + LAST,
    "white space round an extension": chunk(ROOM, " ;\tx = y") + LAST,
    "an extension of the last chunk": chunk(ROOM) + "0;x\r\n\r\n",
    "a trailer": chunk(ROOM) + "0\r\nX: y\r\n\r\n",
    "a trailer that is a length": chunk(ROOM) + "0\r\nContent-Length: 5\r\n\r\n",
    "a trailer that is a credential": chunk(ROOM) + "0\r\nX-API-Key: sk_other\r\nHost: other\r\n\r\n",
}.items():
    served(why, CHUNK, make(CHUNKED, body=body), 201)
served("a canary in a chunk", CHUNK, lambda canary: head(GET, HOST, CHUNKED) + chunk(canary) + LAST)
served("a canary behind the chunks of a GET", CHUNK, head(GET, HOST, CHUNKED) + chunk("x") + LAST)
for why, body in {
    "no size": f"\r\n{ROOM}\r\n" + LAST,
    "a size that is none": f"g\r\n{ROOM}\r\n" + LAST,
    "a size with 0x": f"0x{SIZE:x}\r\n{ROOM}\r\n" + LAST,
    "a size with a plus": f"+{SIZE:x}\r\n{ROOM}\r\n" + LAST,
    "a negative size": f"-{SIZE:x}\r\n{ROOM}\r\n" + LAST,
    "a size behind a space": f" {SIZE:x}\r\n{ROOM}\r\n" + LAST,
    "a size before a space": f"{SIZE:x} \r\n{ROOM}\r\n" + LAST,
    "a size before a tab": f"{SIZE:x}\t\r\n{ROOM}\r\n" + LAST,
    "a list of sizes": f"{SIZE:x},{SIZE:x}\r\n{ROOM}\r\n" + LAST,
    "a size with an underscore": f"2_2\r\n{ROOM}\r\n" + LAST,
    "a size that is small modulo 2^32": f"1{SIZE:08x}g\r\n{ROOM}\r\n" + LAST,
    "a size of 2^64": f"10000000000000000\r\n{ROOM}\r\n" + LAST,
    "a size that is small modulo 2^64": f"1{SIZE:016x}\r\n{ROOM}\r\n" + LAST,
    "a size of 17 zeros": chunk(ROOM) + "0" * 17 + "\r\n\r\n",
    "bare LF behind a size": f"{SIZE:x}\n{ROOM}\r\n" + LAST,
    "bare CR behind a size": f"{SIZE:x}\r{ROOM}\r\n" + LAST,
    "CR CR LF behind a size": f"{SIZE:x}\r\r\n{ROOM}\r\n" + LAST,
    "bare LF behind the data": f"{SIZE:x}\r\n{ROOM}\n" + LAST,
    "nothing behind the data": f"{SIZE:x}\r\n{ROOM}" + LAST,
    "a chunk longer than its size": f"{SIZE - 1:x}\r\n{ROOM}\r\n" + LAST,
    "two bytes instead of the line end": f"{SIZE:x}\r\n{ROOM}XX" + LAST,
    "garbage behind a size": f"{SIZE:x}x\r\n{ROOM}\r\n" + LAST,
    "an extension without a name": chunk(ROOM, ";") + LAST,
    "an extension without a value": chunk(ROOM, ";x=") + LAST,
    "an extension with an open quote": chunk(ROOM, ';x="y') + LAST,
    "an extension without its semicolon": chunk(ROOM, " x") + LAST,
    "bare LF in an extension": chunk(ROOM, ";x\nxx") + LAST,
    "bare CR in an extension": chunk(ROOM, ";x\rxx") + LAST,
    "NUL in an extension": chunk(ROOM, ";x\0") + LAST,
    "bare LF in a quoted extension": chunk(ROOM, ';x="\n"') + LAST,
    "an extension of a kilobyte": chunk(ROOM, ";" + "x" * 1024) + LAST,
    "extensions of nine kilobytes": "".join(chunk("x", ";" + "x" * 900) for _ in range(10)) + LAST,
    "a trailer without a colon": chunk(ROOM) + "0\r\nX\r\n\r\n",
    "a trailer without a name": chunk(ROOM) + "0\r\n: y\r\n\r\n",
    "a trailer with a space before the colon": chunk(ROOM) + "0\r\nX : y\r\n\r\n",
    "a folded trailer": chunk(ROOM) + "0\r\nX: y\r\n z\r\n\r\n",
    "a control character in a trailer": chunk(ROOM) + "0\r\nX: \x01\r\n\r\n",
    "bare LF behind the last chunk": chunk(ROOM) + "0\n\n",
    "bare LF behind a trailer": chunk(ROOM) + "0\r\nX: y\n\r\n",
    "bare LF as the end": chunk(ROOM) + "0\r\n\n",
    "a trailer of a kilobyte": chunk(ROOM) + "0\r\nX: " + "x" * 1024 + "\r\n\r\n",
    "trailers of nine kilobytes": chunk(ROOM) + "0\r\n" + ("X: " + "x" * 900 + "\r\n") * 10 + "\r\n",
}.items():
    refused(why, CHUNK, make(CHUNKED, body=body))
for why, size in {"a size beyond max_body": f"{MAX_BODY + 1:x}", "a size of 2^63": "8000000000000000",
                  "a size of 2^64 - 1": "ffffffffffffffff"}.items():
    refused(why, CHUNK, make(CHUNKED, body=f"{size}\r\n{ROOM}\r\n{LAST}"), 413)
refused("a canary behind a size and a bare LF", "TE.TE",
        lambda canary: make(CHUNKED, body=f"2\r\nxx\r\n0;\n{canary}\r\n{LAST}"))
refused("a canary in the trailers", "TE.TE", lambda canary: make(CHUNKED, body=f"0\r\n{canary}{LAST}"))

# ── Connections ─────────────────────────────────────────────────────────────────────────────────────────────────────

PERSIST = "RFC 9112 §9.3"
served("keep-alive said", PERSIST, head(GET, HOST, "Connection: keep-alive"))
served("an unknown option", PERSIST, head(GET, HOST, "Connection: x-thing", "X-Thing: y"))
served("Proxy-Connection is nobody's", PERSIST, head(GET, HOST, "Proxy-Connection: close"))
served("an empty Connection", PERSIST, head(GET, HOST, "Connection:"))
for field in ("close", "Close", "keep-alive, close", "close, keep-alive", "x,close", "close,"):
    add(f"Connection: {field}", PERSIST, head(GET, HOST, f"Connection: {field}"), (200,), CLOSED)
add("close in a second field", PERSIST, head(GET, HOST, "Connection: keep-alive", "Connection: close"), (200,), CLOSED)
refused("a Connection that is no list of tokens", PERSIST, head(GET, HOST, "Connection: @"))
OLD = "GET /livez HTTP/1.0"
add("HTTP/1.0", PERSIST, head(OLD, HOST), (200,), CLOSED)
add("HTTP/1.0 without Host", PERSIST, head(OLD), (200,), CLOSED)
add("HTTP/1.0 with an unknown option", PERSIST, head(OLD, HOST, "Connection: x"), (200,), CLOSED)
add("HTTP/1.0 with close and keep-alive", PERSIST, head(OLD, HOST, "Connection: close, keep-alive"), (200,), CLOSED)
served("HTTP/1.0 with keep-alive", PERSIST, head(OLD, HOST, "Connection: Keep-Alive"), has={"connection": "keep-alive"})
refused("HTTP/1.0 with two Hosts", PERSIST, head(OLD, HOST, HOST))
refused("HTTP/1.0 with an empty Host", PERSIST, head(OLD, "Host:"))
served("HTTP/1.0 with a length", PERSIST,
       head("POST /v1/rooms HTTP/1.0", HOST, KEY, JSON, LENGTH, "Connection: keep-alive") + ROOM, 201)

PIPELINE = "RFC 9112 §9.3.2"
add("ten requests in one packet", PIPELINE, head(GET, HOST) * 10, (200,) * 10, OPEN)
add("requests of all kinds in one packet", PIPELINE,
    make(LENGTH) + head(GET, HOST) + make(CHUNKED, body=WHOLE) + target("/none") + make(LENGTH), (201, 200, 201, 404, 201), OPEN)
add("a good request before a bad one", PIPELINE, make(LENGTH) + head(GET, "Host : node"), (201, 400), CLOSED)
add("a request behind an empty line that is too much", PIPELINE, make(LENGTH, body=ROOM + "\r\n") + head(GET, HOST), (201, 200), OPEN)
add("a bad request behind a refused one", PIPELINE, target("/none") * 3 + "\0", (404,) * 3 + (400,), CLOSED)

# ── Answers that keep the connection ────────────────────────────────────────────────────────────────────────────────

ERRORS = "contract 4, errors"
served("no credential", ERRORS, head(MAKE, HOST, JSON, LENGTH) + ROOM, 401, {"www-authenticate": "Bearer"})
served("an unknown path", ERRORS, target("/none"), 404)
served("a body of another type", ERRORS, head(MAKE, HOST, KEY, "Content-Type: text/plain", LENGTH) + ROOM, 415)
served("a body without a type", ERRORS, head(MAKE, HOST, KEY, LENGTH) + ROOM, 415)
served("a type with a parameter", ERRORS, head(MAKE, HOST, KEY, "Content-Type: Application/JSON; charset=utf-8", LENGTH) + ROOM, 201)
served("no body", ERRORS, make("Content-Length: 0", body=""), 400)
served("no length is no body", ERRORS, make(body=""), 400)
for why, body in {
    "a body that is no JSON": "{",
    "a key twice": ROOM[:-1] + ',"type":"group"}',
    "a key twice, escaped": ROOM[:-1] + ',"\\u0074ype":"group"}',
    "a key twice, deep": ROOM[:-1] + ',"metadata":{"a":[{"b":1,"b":2}]}}',
    "two values": ROOM + ROOM,
    "a byte order mark": "\xef\xbb\xbf" + ROOM,
    "a body that is no UTF-8": ROOM[:-1] + ',"name":"\xff"}',
    "a body of NULs": "\0" * 16,
}.items():
    served(why, ERRORS, make(f"Content-Length: {len(body)}", body=body), 400)

IDS = "contract 4, X-Request-Id"


def with_id(text):
    return head(GET, HOST, f"X-Request-Id: {text}")


for text in ("a", "My.Request_1-a", "x" * 64):
    served(f"the request id {text}", IDS, with_id(text), has={"x-request-id": text})
for why, text in {"65 characters": "x" * 65, "a space": "a b", "a slash": "a/b", "a quote": 'a"b', "an angle": "<a>", "nothing": "",
                  "a byte over 127": "\xe4", "a comma": "a,b"}.items():
    served(f"a request id with {why} is replaced", IDS, with_id(text), has={"x-request-id": "…"})
add("a request id of a refused request", IDS, head("GET /% HTTP/1.1", HOST, "X-Request-Id: mine"), (400,), CLOSED,
    has={"x-request-id": "mine"})

EXPECT = "RFC 9110 §10.1.1"
CONTINUE = "Expect: 100-continue"
add("a body that waits for 100", EXPECT, (make(CONTINUE, LENGTH, body=""), ROOM), (100, 201), OPEN)
add("chunks that wait for 100", EXPECT, (make(CONTINUE, CHUNKED, body=""), WHOLE), (100, 201), OPEN)
add("the expectation in capitals", EXPECT, (make("EXPECT: 100-CONTINUE", LENGTH, body=""), ROOM), (100, 201), OPEN)
served("a body that does not wait", EXPECT, make(CONTINUE, LENGTH), 201)
served("an expectation without a body", EXPECT, head(GET, HOST, CONTINUE))
refused("a body that is too large, and waits", EXPECT, make(CONTINUE, f"Content-Length: {MAX_BODY + 1}", body=""), 413)
refused("two lengths that wait", EXPECT, make(CONTINUE, LENGTH, "Content-Length: 3", body=""))
served("an expectation that nobody knows is ignored", EXPECT, make("Expect: the-spanish-inquisition", LENGTH), 201)
served("HTTP/1.0 knows no 100", EXPECT,
       head("POST /v1/rooms HTTP/1.0", HOST, KEY, JSON, LENGTH, CONTINUE, "Connection: keep-alive") + ROOM, 201)

# ── Upgrades ────────────────────────────────────────────────────────────────────────────────────────────────────────

UPGRADE = "RFC 6455 §4.2.1"
WS = "GET /v1/ws HTTP/1.1"
USER = "X-User-Id: ann"
ASKS = ["Connection: Upgrade", "Upgrade: websocket"]
WS_VERSION = "Sec-WebSocket-Version: 13"
WS_KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = {"sec-websocket-accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}


def handshake(*fields, line=WS):
    return head(line, HOST, KEY, USER, *fields)


add("a handshake", UPGRADE, handshake(*ASKS, WS_VERSION, WS_KEY), (101,), UPGRADED, ACCEPT)
add("a handshake in other spellings", UPGRADE,
    handshake("connection: keep-alive, UPGRADE", "UPGRADE: WebSocket", WS_VERSION, WS_KEY), (101,), UPGRADED, ACCEPT)
add("a handshake with extensions that nobody took", UPGRADE,
    handshake(*ASKS, WS_VERSION, WS_KEY, "Sec-WebSocket-Extensions: permessage-deflate"), (101,), UPGRADED,
    {**ACCEPT, "sec-websocket-extensions": None})
NEEDED = {"upgrade": "websocket", "sec-websocket-version": "13"}
for why, fields in {
    "no handshake": [],
    "a handshake without a version": [*ASKS, WS_KEY],
    "a handshake of version 8": [*ASKS, "Sec-WebSocket-Version: 8", WS_KEY],
    "a handshake of two versions": [*ASKS, WS_VERSION, "Sec-WebSocket-Version: 8", WS_KEY],
    "a handshake of a list of versions": [*ASKS, "Sec-WebSocket-Version: 13, 8", WS_KEY],
    "a handshake without a key": [*ASKS, WS_VERSION],
    "a handshake with two keys": [*ASKS, WS_VERSION, WS_KEY, WS_KEY],
    "a handshake with a short key": [*ASKS, WS_VERSION, "Sec-WebSocket-Key: c2hvcnQ="],
    "a handshake with a key that is no base64": [*ASKS, WS_VERSION, "Sec-WebSocket-Key: " + "!" * 22 + "=="],
    "a handshake without Connection": [ASKS[1], WS_VERSION, WS_KEY],
    "a handshake whose Connection names something else": ["Connection: close-not", ASKS[1], WS_VERSION, WS_KEY],
    "a handshake without Upgrade": [ASKS[0], WS_VERSION, WS_KEY],
    "a handshake for something else": [ASKS[0], "Upgrade: mqtt", WS_VERSION, WS_KEY],
}.items():
    served(why, UPGRADE, handshake(*fields), 426, NEEDED)
served("a handshake with a body", UPGRADE,
       lambda canary: handshake(*ASKS, WS_VERSION, WS_KEY, f"Content-Length: {len(canary)}") + canary, 426, NEEDED)
served("a handshake with chunks", UPGRADE,
       lambda canary: handshake(*ASKS, WS_VERSION, WS_KEY, CHUNKED) + chunk(canary) + LAST, 426, NEEDED)
served("a handshake that is a POST", UPGRADE, handshake(*ASKS, WS_VERSION, WS_KEY, line="POST /v1/ws HTTP/1.1"), 405, GET_ONLY)
served("a handshake elsewhere is a plain request", UPGRADE, handshake(*ASKS, WS_VERSION, WS_KEY, line=GET))
served("a handshake without a user", UPGRADE, head(WS, HOST, KEY, *ASKS, WS_VERSION, WS_KEY), 401)
add("a handshake in HTTP/1.0", UPGRADE, handshake(*ASKS, WS_VERSION, WS_KEY, line="GET /v1/ws HTTP/1.0"), (426,), CLOSED, NEEDED)
refused("a handshake with two lengths", UPGRADE, handshake(*ASKS, WS_VERSION, WS_KEY, "Content-Length: 0", "Content-Length: 0"))
served("an upgrade to HTTP/2 is not taken", "RFC 9110 §7.8",
       head(GET, HOST, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
       has={"upgrade": None})
served("an upgrade to TLS is not taken", "RFC 9110 §7.8", head(GET, HOST, "Connection: Upgrade", "Upgrade: TLS/1.2"),
       has={"upgrade": None})
