"""HTTP/1.1 requests read to the letter, and as careless origins read them.

`Strict` takes what RFC 9112 has a sender write and nothing that it has a recipient tolerate: whatever passes here is read
the same way by everybody. `readings` is the proof: the same bytes, read with the mistakes that smuggling lives on.
"""

import re
from dataclasses import dataclass, field

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?\Z")
TARGET = re.compile(rb"(?:/[\x21\x22\x24-\x7e\x80-\xff]*|\*)\Z")
HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[!$&'()*+,;=\-._~%0-9A-Za-z]+)(?::[0-9]*)?\Z")
DIGITS = re.compile(rb"(?:0|[1-9][0-9]{0,18})\Z")
SIZE = re.compile(rb"(?:0|[1-9A-Fa-f][0-9A-Fa-f]{0,15})\Z")

# What belongs to one connection, and is not to be passed on (RFC 9110 §7.6.1).
OF_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"upgrade", b"http2-settings", b"proxy-authorization"}
# What no trailer may be (RFC 9110 §6.5.1).
NOT_IN_TRAILERS = {b"content-length", b"transfer-encoding", b"host", b"trailer", b"te"} | OF_HOP


class Fault(Exception):
    """The bytes are no request, or one that somebody may read another way."""


@dataclass
class Seen:
    """A request as an origin has seen it, whole."""

    method: bytes
    target: bytes
    fields: list
    body: bytes = b""
    trailers: list = field(default_factory=list)

    def all(self, name):
        return [value for other, value in self.fields if other.lower() == name]


class Strict:
    """A connection's bytes as they come; `feed` gives the requests that are whole with them."""

    def __init__(self):
        self.log = bytearray()
        self.at = 0
        self.head = None

    def feed(self, data):
        self.log += data
        found = []
        while (one := self._next()) is not None:
            found.append(one)
        return found

    @property
    def is_between(self):
        """Whether nothing of a request is left over."""
        return self.at == len(self.log) and self.head is None

    def _next(self):
        if self.head is None:
            end = self.log.find(b"\r\n\r\n", self.at)
            if end < 0:
                return None
            self.head = strict_head(bytes(self.log[self.at : end]))
            self.at = end + 4
        end = self._content(self.head)
        if end is None:
            return None
        found, self.head, self.at = self.head, None, end
        return found

    def _content(self, head):
        """Fills in content and trailers; where they end, or `None` if they have not come."""
        if head.all(b"transfer-encoding"):
            return self._chunks(head)
        length = int((head.all(b"content-length") or [b"0"])[0])
        if len(self.log) - self.at < length:
            return None
        head.body = bytes(self.log[self.at : self.at + length])
        return self.at + length

    def _chunks(self, head):
        at, pieces = self.at, []
        while True:
            end = self.log.find(b"\r\n", at)
            if end < 0:
                return None
            size = bytes(self.log[at:end])
            if not SIZE.match(size):
                raise Fault(f"chunk size {size[:40]!r}")
            at, size = end + 2, int(size, 16)
            if size == 0:
                break
            if len(self.log) < at + size + 2:
                return None
            if self.log[at + size : at + size + 2] != b"\r\n":
                raise Fault("a chunk without its end")
            pieces.append(bytes(self.log[at : at + size]))
            at += size + 2
        end = self.log.find(b"\r\n", at)
        if end != at:
            end = self.log.find(b"\r\n\r\n", at)
            if end < 0:
                return None
            head.trailers = strict_fields(bytes(self.log[at:end]).split(b"\r\n"))
            for name, _ in head.trailers:
                if name.lower() in NOT_IN_TRAILERS:
                    raise Fault(f"trailer {name!r}")
            end += 2
        head.body = b"".join(pieces)
        return end + 2


def strict_head(head):
    lines = head.split(b"\r\n")
    parts = lines[0].split(b" ")
    if len(parts) != 3 or parts[2] != b"HTTP/1.1":
        raise Fault(f"request line {lines[0][:80]!r}")
    method, target, _ = parts
    if not TOKEN.match(method) or not TARGET.match(target):
        raise Fault(f"request line {lines[0][:80]!r}")
    if target == b"*" and method != b"OPTIONS":
        raise Fault("an asterisk without OPTIONS")
    seen = Seen(method, target, strict_fields(lines[1:]))
    hosts, lengths, codings = (
        seen.all(name) for name in (b"host", b"content-length", b"transfer-encoding")
    )
    if len(hosts) != 1 or not HOST.match(hosts[0]):
        raise Fault(f"host {hosts!r}")
    if len(lengths) > 1 or not all(DIGITS.match(length) for length in lengths):
        raise Fault(f"content-length {lengths!r}")
    if codings not in ([], [b"chunked"]) or (codings and lengths):
        raise Fault(f"transfer-encoding {codings!r}, content-length {lengths!r}")
    for name in OF_HOP:
        # `te` has to be named there (RFC 9110 §10.1.4).
        is_of_te = name == b"connection" and seen.all(b"te") and seen.all(name) == [b"te"]
        if seen.all(name) and not is_of_te:
            raise Fault(f"{name!r} belongs to a connection")
    if seen.all(b"te") not in ([], [b"trailers"]):
        raise Fault(f"te {seen.all(b'te')!r}")
    return seen


def strict_fields(lines):
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not colon or not TOKEN.match(name) or not VALUE.match(value):
            raise Fault(f"field line {line[:80]!r}")
        fields.append((name, value))
    return fields


def readings(log):
    """The requests in `log` as careless origins see them: (method, target) of each, by reader."""
    careless = {
        "bare LF ends a line": dict(line=re.compile(rb"\r?\n")),
        "bare CR ends a line": dict(line=re.compile(rb"\r\n|\r|\n")),
        "NUL ends a value": dict(clean=lambda value: value.split(b"\0")[0].strip()),
        "content-length goes before": dict(length_first=True),
        "any coding with chunked in it": dict(is_chunked=lambda value: b"chunk" in value.lower()),
        "the last field counts": dict(pick=-1),
        "underscores are dashes": dict(name=lambda name: name.strip().lower().replace(b"_", b"-")),
    }
    return {name: careless_requests(bytes(log), **how) for name, how in careless.items()}


def careless_requests(
    log,
    line=re.compile(rb"\r\n"),
    clean=bytes.strip,
    name=lambda name: name.strip().lower(),
    is_chunked=lambda value: value.lower() == b"chunked",
    length_first=False,
    pick=0,
):
    found, at = [], 0
    while True:
        lines = []
        while (end := line.search(log, at)) is not None:
            text, at = log[at : end.start()], end.end()
            if not text and lines:
                break
            if text:
                lines.append(text)
        else:
            return found
        fields = {}
        for text in lines[1:]:
            key, _, value = text.partition(b":")
            fields.setdefault(name(key), []).append(clean(value))
        length = (fields.get(b"content-length") or [None])[pick]
        coding = (fields.get(b"transfer-encoding") or [b""])[pick]
        if is_chunked(coding) and not (length_first and length):
            while (end := line.search(log, at)) is not None:
                size = int(re.match(rb"\s*([0-9A-Fa-f]*)", log[at : end.start()])[1] or b"0", 16)
                at = end.end() + size
                if not size:
                    at = end.end()
                    break
                end = line.match(log, at)
                at = end.end() if end else at
            else:
                return found
            while (end := line.search(log, at)) is not None:
                text, at = log[at : end.start()], end.end()
                if not text:
                    break
            else:
                return found
        elif length:
            at += int(re.match(rb"\D*(\d*)", length)[1] or b"0")
        if at > len(log):
            return found
        found.append(tuple(lines[0].split()[:2]))
