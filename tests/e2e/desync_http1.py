"""The desync corpus over HTTP/1.1: what a client writes, and what of it an origin may take for a request.

`whole` is what the client has sent whole, by the letter of RFC 9112: nothing else may reach an origin as whole. Where the
RFC lets a recipient refuse or mend, both are right, and `must` is false; where it is true the requests have to be served,
so that no case can pass because everything is refused.
"""

import itertools
import os
from dataclasses import dataclass, field

from desync_wire import EVIL

EVERY_BYTE = bool(os.environ.get("STERNA_DESYNC_ALL"))
# All that have a meaning to some parser; the others by option.
BYTES = range(256) if EVERY_BYTE else [*range(0x21), *b'"(),/:;<=>?@[\\]{}#%', 0x7F, 0x80, 0x85, 0xA0, 0xFF]
TOKEN_BYTES = set(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

_numbers = itertools.count(1)


def marker():
    """A word that is in no other request."""
    return b"m%dz" % next(_numbers)


@dataclass
class Case:
    family: str
    name: str
    wire: object
    # The methods and markers of the requests that answers may come for, in their order.
    asks: list
    # Content by marker.
    whole: dict = field(default_factory=dict)
    must: bool = False


def request(mark, fields=b"", body=b"", method=b"POST", host=b"Host: localhost\r\n", line=None):
    line = line or b"%s /%s HTTP/1.1" % (method, mark)
    return line + b"\r\n" + host + fields + b"\r\n" + body


def case(family, name, build, body=None, must=False, follows=None, method=b"POST"):
    """A request that `build` makes, and one behind it.

    `body` is what the first may come to, `None` if it is none. The second may be seen where the first leaves no doubt of
    where it ends, which is where it may be seen itself, unless `follows` says otherwise.
    """
    first, second = marker(), marker()
    behind = request(second, b"Connection: close\r\n", method=b"GET")
    whole = {} if body is None else {first: body}
    if follows if follows is not None else body is not None:
        whole[second] = b""
    asks = [(method, first), (b"GET", second)]
    return Case(family, name, build(first) + behind, asks, whole, must)


def chunked(*pieces, last=b"0\r\n\r\n"):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + last


# Each with whether it says `chunked` and nothing else.
CODINGS = [
    (b"Transfer-Encoding: chunked", True),
    (b"Transfer-Encoding: Chunked", True),
    (b"transfer-encoding:chunked", True),
    (b"TRANSFER-ENCODING:\tCHUNKED \t", True),
    (b"Transfer-Encoding:  chunked  ", True),
] + [
    (line, False)
    for line in [
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\t: chunked",
        b" Transfer-Encoding: chunked",
        b"X: y\r\n\tTransfer-Encoding: chunked",
        b"Transfer-Encoding:\r\n chunked",
        b"Transfer-Encoding: \r\n\tchunked",
        b"Transfer-Encoding\r\n: chunked",
        b"Transfer-Encoding: chunked\r\n , identity",
        b"X: y\rTransfer-Encoding: chunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunkedx",
        b"Transfer-Encoding: chunke",
        b"Transfer-Encoding: x chunked",
        b"Transfer-Encoding: \"chunked\"",
        b"Transfer-Encoding: 'chunked'",
        b"Transfer-Encoding: chunked;q=1",
        b"Transfer-Encoding: chunked;",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding: \x0cchunked",
        b"Transfer-Encoding: \xa0chunked",
        b"Transfer-Encoding: chunked\x00",
        b"Transfer-Encoding: \x00chunked",
        b"Transfer-Encoding\x00: chunked",
        b"Transfer-Encoding: chu\x00nked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: cow",
        b"Transfer-Encoding:",
        b"Transfer-Encoding: ,",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding: cow, chunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: chunked, cow",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-encoding: cow",
        b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding:\r\nTransfer-Encoding: chunked",
    ]
]
# An empty member of a list counts for nothing (RFC 9110 §5.6.1), and an LF alone may end a line (RFC 9112 §2.2).
LAX_CODINGS = [
    b"X: y\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked,",
    b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: , chunked ,",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding:",
]


def codings():
    """CL.TE, TE.CL and TE.TE."""
    lines = [(line, is_plain, is_plain) for line, is_plain in CODINGS]
    lines += [(line, True, False) for line in LAX_CODINGS]
    for line, may, must in lines:
        name = ascii(line)[2:-1]
        hidden = b"0\r\n\r\n" + EVIL
        # Both say how long it is: with the coding if at all, and nothing is read behind it (RFC 9112 §6.1).
        for order in ("%s\r\nContent-Length: %d\r\n", "Content-Length: %d\r\n%s\r\n"):
            is_first = order.startswith("%s")

            def both(length, is_first=is_first, line=line):
                length = b"Content-Length: %d\r\n" % length
                return line + b"\r\n" + length if is_first else length + line + b"\r\n"

            which = "coding first" if is_first else "length first"
            yield case("CL.TE", f"{name}, {which}", lambda m, both=both: request(m, both(len(hidden)), hidden), b"" if may else None, follows=False)
            inner = chunked(EVIL)
            yield case("TE.CL", f"{name}, {which}", lambda m, both=both: request(m, both(4), inner), EVIL if may else None, follows=False)
        inner = chunked(EVIL)
        body = EVIL if may else None
        yield case("TE.TE", name, lambda m, line=line: request(m, line + b"\r\n", inner), body, must)


LENGTHS = [
    # Field lines, what `hello` comes to with them, and whether they must be served.
    (b"Content-Length: 5", b"hello", True),
    (b"content-length:5", b"hello", True),
    (b"CONTENT-LENGTH: \t5\t ", b"hello", True),
    (b"Content-Length: 05", b"hello", False),
    (b"Content-Length: 0000000000000000000000000000005", b"hello", False),
    (b"Content-Length: 5, 5", b"hello", False),
    (b"Content-Length: 5,5", b"hello", False),
    (b"Content-Length: 5\r\nContent-Length: 5", b"hello", False),
    (b"X: y\nContent-Length: 5", b"hello", False),
] + [
    (line, None, False)
    for line in [
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: 6\r\nContent-Length: 5",
        b"Content-Length: 0\r\nContent-Length: 5",
        b"Content-Length: 5\r\ncontent-length: 0",
        b"Content-Length: 5\r\nX: y\r\nContent-Length: 4",
        b"Content-Length: 5, 6",
        b"Content-Length: 5,",
        b"Content-Length: ,5",
        b"Content-Length: 5;5",
        b"Content-Length: +5",
        b"Content-Length: -5",
        b"Content-Length: -0",
        b"Content-Length: 0x5",
        b"Content-Length: 5.0",
        b"Content-Length: 5e0",
        b"Content-Length: 5 5",
        b"Content-Length: 5 6",
        b"Content-Length: 5h",
        b"Content-Length: \"5\"",
        b"Content-Length:",
        b"Content-Length: ",
        b"Content-Length: \xef\xbc\x95",
        b"Content-Length: 5\x00",
        b"Content-Length: \x0b5",
        b"Content-Length: 5\x0c",
        b"Content-Length: 5_0",
        b"Content-Length: 9223372036854775808",
        b"Content-Length: 18446744073709551615",
        b"Content-Length: 18446744073709551616",
        b"Content-Length: 18446744073709551621",
        b"Content-Length: 4294967301",
        b"Content-Length: 99999999999999999999999999",
        b"Content-Length : 5",
        b"Content-Length\t: 5",
        b" Content-Length: 5",
        b"Content-Length\r\n : 5",
        b"Content-Length:\r\n 5",
        b"Content-Length: 5\r\n 0",
        b"X: y\rContent-Length: 5",
        b"Content-Length\x00: 5",
        b"Content-\rLength: 5",
    ]
]


def lengths():
    for line, body, must in LENGTHS:
        yield case("length", ascii(line)[2:-1], lambda m, line=line: request(m, line + b"\r\n", b"hello"), body, must)


def named_by_connection():
    """Fields that `Connection` names are not passed on; those that frame the message mean what they mean all the same."""
    for value in [b"content-length", b"Content-Length, close", b"host", b"transfer-encoding", b"te, host, content-length", b"x-forwarded-for", b"via", b"cookie", b"connection", b"close, content-length", b",,content-length,,", b"\"content-length\"", b"keep-alive, host", b"expect", b":path"]:
        line = b"Connection: %s\r\nCookie: a=b\r\n" % value
        # Nothing need come after a request that ends the connection.
        must = b"close" not in value
        yield case("connection", f"{value.decode()}, with a length", lambda m, line=line: request(m, line + b"Content-Length: 5\r\n", b"hello"), b"hello", must)
        yield case("connection", f"{value.decode()}, with chunks", lambda m, line=line: request(m, line + b"Transfer-Encoding: chunked\r\n", chunked(b"hello")), b"hello", must)
    for line in [b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"TE: gzip", b"TE: trailers, gzip", b"TE: chunked", b"HTTP2-Settings: AAMAAABkAAQAAP__", b"Proxy-Authorization: Basic YTpi", b"Trailer: content-length", b"Upgrade: h2c", b"Upgrade: TLS/1.0, HTTP/1.1", b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nConnection: Upgrade, HTTP2-Settings", b"Upgrade: foo\r\nConnection: upgrade"]:
        yield case("of a hop", ascii(line)[2:-1], lambda m, line=line: request(m, line + b"\r\nContent-Length: 5\r\n", b"hello"), b"hello", True)
    for line in [b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Upgrade: WebSocket, h2c\r\nConnection: upgrade"]:
        yield case("of a hop", ascii(line)[2:-1], lambda m, line=line: request(m, line + b"\r\n", method=b"GET"), b"")


def contents():
    """Content with methods that seldom have any, and what stands in the place of a second request."""
    for method in [b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"PUT", b"QUERY", b"FOO"]:
        served = method != b"FOO"
        size = b"Content-Length: %d\r\n" % len(EVIL)
        yield case("content", f"{method.decode()} with a length", lambda m, method=method, size=size: request(m, size, EVIL, method), EVIL, served, method=method)
        yield case("content", f"{method.decode()} with chunks", lambda m, method=method: request(m, b"Transfer-Encoding: chunked\r\n", chunked(EVIL), method), EVIL, served, method=method)
        yield case("content", f"{method.decode()} without", lambda m, method=method: request(m, b"", b"", method), b"", served, method=method)
    for method in [b"TRACE", b"CONNECT"]:
        yield case("content", method.decode(), lambda m, method=method: request(m, b"Content-Length: %d\r\n" % len(EVIL), EVIL, method), EVIL, method=method)
    for value in [b"100-continue", b"100-Continue", b"100-continue, 100-continue", b"100-continue, x", b"x", b"", b"100-continue\r\nExpect: 100-continue", b"200-ok"]:
        line = b"Expect: %s\r\n" % value
        plain = value == b"100-continue"
        yield case("expect", f"{ascii(value)}, length", lambda m, line=line: request(m, line + b"Content-Length: 5\r\n", b"hello"), b"hello", plain)
        yield case("expect", f"{ascii(value)}, chunks", lambda m, line=line: request(m, line + b"Transfer-Encoding: chunked\r\n", chunked(EVIL)), EVIL, plain)
        yield case("expect", f"{ascii(value)}, nothing", lambda m, line=line: request(m, line, method=b"GET"), b"", method=b"GET")
        # It waits for the word and says something else.
        yield case("expect", f"{ascii(value)}, another request in its place", lambda m, line=line: request(m, line + b"Content-Length: %d\r\n" % len(EVIL), EVIL), EVIL)
