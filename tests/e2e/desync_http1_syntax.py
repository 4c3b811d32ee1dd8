"""The desync corpus over HTTP/1.1, where the syntax of lines and chunks is broken."""

from desync_http1 import BYTES, TOKEN_BYTES, Case, case, chunked, marker, request
from desync_wire import EVIL

# The size line of a chunk with `hello`, and whether it must be served.
SIZES = [
    (b"5", True),
    (b"005", False),
    (b"0" * 14 + b"05", False),
    (b"0" * 9000 + b"5", False),
    (b"5;a", True),
    (b"5;a=b", True),
    (b'5;a="b;c"', True),
    (b"5;a=b;c=d", True),
] + [
    # Space around the semicolon is forgiven by some, and by none is it read as another size.
    (size, False)
    for size in [b"5 ;a", b"5; a", b"5 ", b"5\t", b'5;a="\r"', b"5;" + b"a" * 4000, b"5;\x80"]
]
NO_SIZES = [b"", b" 5", b"\t5", b"+5", b"-5", b"0x5", b"5h", b"g", b"5,5", b"5_", b"5.0", b"5 5", b"5\x00", b"\x005", b"5\r", b"5\n", b"5;\n", b"5;a\n", b"5;a\nb", b"5;a\rb", b"5\nX: y", b"ffffffffffffffff", b"fffffffffffffffb", b"10000000000000005", b"100000000000000000000000000000005", b"8000000000000005", b"\xef\xbc\x95", b"5;" + b"a" * 300_000]

# What ends the content in place of `0\r\n\r\n`, and whether it must be served.
LASTS = [
    (b"0\r\n\r\n", True),
    (b"00\r\n\r\n", False),
    (b"000000\r\n\r\n", False),
    (b"0;a=b\r\n\r\n", True),
    (b"0\r\nX: y\r\n\r\n", True),
    (b"0\r\nContent-Length: 5\r\n\r\n", False),
    (b"0\r\nTransfer-Encoding: chunked\r\n\r\n", False),
    (b"0\r\nHost: evil\r\n\r\n", False),
    (b"0\r\nConnection: x-a\r\nX-A: b\r\n\r\n", False),
    (b"0\r\n" + b"".join(b"x-%d: y\r\n" % index for index in range(50)) + b"\r\n", False),
]
# An LF alone that may end a line (RFC 9112 §2.2), and after which nothing else is read.
LF_LASTS = [b"0\r\n\n", b"0\r\nX: y\n\r\n", b"0\r\nX: y\n\n"]
NO_LASTS = [b"0\n\n", b"0\n\r\n", b"0\r\r", b"0\r\r\n\r\n", b"-0\r\n\r\n", b"0 0\r\n\r\n", b"0x0\r\n\r\n", b"\r\n\r\n", b"0\r\nbad name: y\r\n\r\n", b"0\r\nX: \x00\r\n\r\n", b"0\r\nX\r\n\r\n", b"0\r\nX: y\r\n folded\r\n\r\n", b"0\r\n: y\r\n\r\n", b"0\r\nX : y\r\n\r\n", b"0\r\nX: a\rb\r\n\r\n", b"0\r\n" + b"x: y\r\n" * 3000 + b"\r\n", b"0\r\nX: " + b"y" * 400_000 + b"\r\n\r\n"]


def sent_chunked(mark, body):
    return request(mark, b"Transfer-Encoding: chunked\r\n", body)


def chunks():
    for size, must in SIZES + [(size, None) for size in NO_SIZES]:
        wire = size + b"\r\nhello\r\n0\r\n\r\n"
        name = f"size {ascii(size[:40])} of {len(size)}"
        yield case("chunk size", name, lambda m, wire=wire: sent_chunked(m, wire), None if must is None else b"hello", bool(must))
    for end in [b"\n", b"\r", b"", b"XX", b"\n\r", b"\r\n\r\n", b" \r\n", b"X\r\n"]:
        wire = b"5\r\nhello" + end + b"0\r\n\r\n"
        yield case("chunk end", ascii(end), lambda m, wire=wire: sent_chunked(m, wire))
    # A size that is smaller or greater than what follows.
    for size in [b"4", b"6", b"a", b"7fffffff"]:
        yield case("chunk end", f"{size.decode()} for 5", lambda m, size=size: sent_chunked(m, size + b"\r\nhello\r\n0\r\n\r\n"))
    for last, must in LASTS + [(last, None) for last in NO_LASTS]:
        wire = b"5\r\nhello\r\n" + last
        announced = b"Trailer: x, content-length, transfer-encoding, host, connection, x-a\r\nTE: trailers\r\n"
        yield case("chunk last", f"{ascii(last[:40])} of {len(last)}, announced", lambda m, wire=wire: request(m, announced + b"Transfer-Encoding: chunked\r\n", wire), None if must is None else b"hello", bool(must))
        yield case("chunk last", f"{ascii(last[:40])} of {len(last)}", lambda m, wire=wire: sent_chunked(m, wire), None if must is None else b"hello", bool(must))
    for last in LF_LASTS:
        yield case("chunk last", ascii(last), lambda m, last=last: sent_chunked(m, b"5\r\nhello\r\n" + last), b"hello", follows=False)
    # An extension in which an end of line hides a chunk (TERM.EXT and EXT.TERM).
    hidden = b"5;\nhello\r\n%x\r\n0\r\n\r\n%s\r\n0\r\n\r\n" % (5 + len(EVIL), EVIL)
    yield case("chunk size", "an extension that hides a chunk", lambda m: sent_chunked(m, hidden))
    hidden = b"2;\n\nxx\r\n4c\r\n0\r\n\r\n" + EVIL
    yield case("chunk size", "an extension that two lines end", lambda m: sent_chunked(m, hidden))


# Request lines: with what the target comes to, and whether they must be served.
LINES = [
    (b"GET /%s HTTP/1.1", True),
    (b"GET /%s?a=b&c=%%2f HTTP/1.1", True),
    (b"GET //%s HTTP/1.1", True),
    (b"GET ///evil/%s/x/ HTTP/1.1", True),
    (b"GET http://localhost/%s HTTP/1.1", True),
    (b"GET HTTP://LOCALHOST/%s HTTP/1.1", True),
    (b"GET https://localhost/%s HTTP/1.1", True),
    (b"GET http://localhost?%s HTTP/1.1", True),
    (b"GET /%s/%%0d%%0aX:%%20y HTTP/1.1", True),
    (b"\r\nGET /%s HTTP/1.1", False),
    (b"\r\n\r\nGET /%s HTTP/1.1", False),
    (b"GET /%s\x80 HTTP/1.1", False),
    (b"GET ftp://localhost/%s HTTP/1.1", False),
    (b"GET http://other.example/%s HTTP/1.1", False),
    # The part behind `#` is not sent, if the rest is.
    (b"GET /%s#fragment HTTP/1.1", False),
    (b"GET http://localhost/%s#fragment HTTP/1.1", False),
    (b"get /%s HTTP/1.1", False),
    (b"GET /%s HTTP/1.1\r\nHost: localhost\r\nX-Y: GET /smuggled HTTP/1.1", None),
]
NO_LINES = [b"GET  /%s HTTP/1.1", b"GET /%s  HTTP/1.1", b"GET /%s HTTP/1.1 ", b" GET /%s HTTP/1.1", b"GET\t/%s HTTP/1.1", b"GET /%s\tHTTP/1.1", b"GET /%s x HTTP/1.1", b"GET /%s\x0bHTTP/1.1", b"GET /%s HTTP/1.1\x00", b"GET /%s HTTP/1.1\r", b"GET /%s HTTP/ 1.1", b"GET /%s http/1.1", b"GET /%s HTTP/1.2", b"GET /%s HTTP/2", b"GET /%s HTTP/2.0", b"GET /%s HTTP/3.0", b"GET /%s HTTP/1", b"GET /%s HTTP/1.10", b"GET /%s HTTP/01.1", b"GET /%s HTTP/1.1x", b"GET /%s XTTP/1.1", b"GET /%s HTTP/-1.1", b"GET /%s", b"GET /%s HTTP/0.9", b"GET \\%s HTTP/1.1", b"GET @evil/%s HTTP/1.1", b"GET :80/%s HTTP/1.1", b"GET http:///%s HTTP/1.1", b"GET http:/%s HTTP/1.1", b"GET /%s\rX HTTP/1.1", b"GET /%s\nX HTTP/1.1", b"GET /%s HTTP/1.1\nHost: localhost", b" /%s HTTP/1.1", b"/%s HTTP/1.1", b"GET /%s HTTP/1.1\r\n : y", b"GET /%s HTTP/1.1\r\n folded: y", b"GET /%s HTTP/1.1\r\nno colon", b"GET /%s HTTP/1.1\r\n: y", b"G\x00T /%s HTTP/1.1", b"PRI /%s HTTP/2.0", b"GET /%s HTTP/1.1\r\nX:\r\n y", b"\x00\x00GET /%s HTTP/1.1", b"GET /%s HTTP/1.1\r\nX: y\r\n\tz"]


def lines():
    for line, must in LINES:
        # The last one says its host twice.
        yield case("request line", ascii(line)[2:-1], lambda m, line=line: request(m, line=line % m), None if must is None else b"", bool(must), method=b"GET")
    # Where they end is as certain as for any other, so that the next one may be read.
    for line in [b"GET %s HTTP/1.1", b"GET *%s HTTP/1.1", b"GET http://user@localhost/%s HTTP/1.1", b"CONNECT /%s HTTP/1.1"]:
        yield case("request line", ascii(line)[2:-1], lambda m, line=line: request(m, line=line % m), follows=True, method=b"GET")
    for line in NO_LINES:
        yield case("request line", ascii(line)[2:-1], lambda m, line=line: request(m, line=line % m), method=b"GET")


# Bytes that may stand in a target, be it by a parser that is not strict.
IN_TARGETS = set(range(0x21, 0x7F)) - set(b"#?") | set(range(0x80, 0x100)) | {0x3F}
IN_VALUES = set(range(0x20, 0x7F)) | set(range(0x80, 0x100)) | {9}


def bytes_of_lines():
    """Each byte in each place: it is passed on as it came, or the request is refused."""
    places = {
        "method": (TOKEN_BYTES, lambda m, byte: request(m, line=b"G%sT /%s HTTP/1.1" % (byte, m))),
        "path": (IN_TARGETS | set(b"#"), lambda m, byte: request(m, line=b"GET /%s/a%sb HTTP/1.1" % (m, byte))),
        "query": (IN_TARGETS | set(b"#"), lambda m, byte: request(m, line=b"GET /%s?a%sb HTTP/1.1" % (m, byte))),
        "host": (TOKEN_BYTES | set(b":[](),;=@"), lambda m, byte: request(m, host=b"Host: local%shost\r\n" % byte)),
        "name": (TOKEN_BYTES | set(b":"), lambda m, byte: request(m, b"X%sY: z\r\n" % byte)),
        "value": (IN_VALUES, lambda m, byte: request(m, b"X: a%sb\r\n" % byte)),
        "start of a value": (IN_VALUES, lambda m, byte: request(m, b"X: %sb\r\n" % byte)),
        "end of a value": (IN_VALUES, lambda m, byte: request(m, b"X: a%s\r\n" % byte)),
        "start of a name": (TOKEN_BYTES, lambda m, byte: request(m, b"%sX: a\r\n" % byte)),
        "end of a name": (TOKEN_BYTES | set(b":"), lambda m, byte: request(m, b"X%s: a\r\n" % byte)),
    }
    for place, (allowed, build) in places.items():
        for byte in BYTES:
            # An LF alone may end a line; that of an empty one ends the head, and the rest is no request.
            is_line = byte == 10 and place in ("end of a value", "start of a name")
            body = b"" if byte in allowed or is_line else None
            follows = False if is_line and place == "start of a name" else None
            method = b"POST" if place not in ("method", "path", "query") else b"GET"
            yield case(f"byte in {place}", f"{byte:#04x}", lambda m, byte=byte, build=build: build(m, bytes([byte])), body, follows=follows, method=method)


def hosts():
    for lines, must in [(b"Host: localhost\r\n", True), (b"host:localhost\r\n", True), (b"HOST: LOCALHOST\r\n", True), (b"Host: localhost:443\r\n", True), (b"Host: other.example\r\n", True), (b"Host: [::1]:8443\r\n", True), (b"Host: localhost:\r\n", False)]:
        yield case("host", ascii(lines)[2:-1], lambda m, lines=lines: request(m, host=lines), b"", must)
    for lines in [b"", b"Host:\r\n", b"Host: localhost\r\nHost: localhost\r\n", b"Host: localhost\r\nHost: evil\r\n", b"Host: localhost\r\nhost: evil\r\n", b"Host: localhost, evil\r\n", b"Host: localhost evil\r\n", b"Host: user@localhost\r\n", b"Host: localhost/evil\r\n", b"Host: localhost#evil\r\n", b"Host: localhost?evil\r\n", b"Host: localhost:99999\r\n", b"Host: localhost:x\r\n", b"Host: localhost:1:2\r\n", b"Host: :443\r\n", b"Host: http://localhost\r\n", b"Host : localhost\r\n", b" Host: localhost\r\n", b"Host:\r\n localhost\r\n", b"Host: localhost\r\n evil\r\n", b"Host: localhost\x00\r\n", b"Host: [::1\r\n", b"Host: \"localhost\"\r\n", b"Host: localhost\\evil\r\n"]:
        yield case("host", ascii(lines)[2:-1], lambda m, lines=lines: request(m, host=lines))


def old_versions():
    """HTTP/1.0 knows no chunks and says by itself when a connection stays."""
    stay = b"Connection: keep-alive\r\n"
    for name, fields, body, expected, must in [
        ("plain", b"", b"", b"", True),
        ("with a length", b"Content-Length: 5\r\n", b"hello", b"hello", True),
        ("that stays", stay + b"Content-Length: 5\r\n", b"hello", b"hello", True),
        ("with chunks", stay + b"Transfer-Encoding: chunked\r\n", chunked(EVIL), None, False),
        ("with chunks and a length", stay + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", chunked(EVIL), None, False),
        ("with content of no length", stay, EVIL, b"", False),
    ]:
        first = marker()
        wire = b"POST /%s HTTP/1.0\r\nHost: localhost\r\n%s\r\n%s" % (first, fields, body)
        # What comes behind content without a length is the next request, as the client has written it.
        whole = {first: expected} if expected is not None else {}
        whole |= {b"/smuggled": b""} if "no length" in name else {}
        asks = [(b"POST", first), (b"GET", b"/smuggled")]
        yield Case("HTTP/1.0", name, wire, asks[: 1 + ("no length" in name)], whole, must)
    for name, wire in [("0.9", b"GET /%s\r\n"), ("0.9 and a version", b"GET /%s HTTP/0.9\r\n\r\n"), ("0.9, two lines", b"GET /%s\r\n\r\n")]:
        first = marker()
        yield Case("HTTP/1.0", name, wire % first, [(b"GET", first)])
    for host in [b"", b"Host: localhost\r\n"]:
        first = marker()
        yield Case("HTTP/1.0", f"host {ascii(host)}", b"GET /%s HTTP/1.0\r\n%s\r\n" % (first, host), [(b"GET", first)], {first: b""}, True)


def cuts():
    """Requests that end at any byte, and others behind whole ones."""
    whole = request(b"%s", b"Content-Length: 20\r\n", b"x" * 20)
    parts = request(b"%s", b"Transfer-Encoding: chunked\r\n", chunked(b"x" * 9, b"y" * 9, last=b"0\r\nX: y\r\n\r\n"))
    for name, wire in [("a length", whole), ("chunks", parts)]:
        for at in range(1, len(wire) - 2, 3):
            first = marker()
            wire_of_it = wire.replace(b"%s", first)[:-at]
            yield Case("cut", f"{name}, {at} bytes short", wire_of_it, [])
    for count in [2, 5, 20]:
        marks = [marker() for _ in range(count)]
        bodies = [b"%d" % index * index for index in range(count)]
        wire = b"".join(request(mark, b"Content-Length: %d\r\n" % len(body), body) for mark, body in zip(marks, bodies))
        yield Case("pipeline", f"{count} requests", wire, [(b"POST", mark) for mark in marks], dict(zip(marks, bodies)), True)
        marks = [marker() for _ in range(count)]
        wire = b"".join(sent_chunked(mark, chunked(body, EVIL) if body else chunked(EVIL)) for mark, body in zip(marks, bodies))
        whole = {mark: body + EVIL for mark, body in zip(marks, bodies)}
        yield Case("pipeline", f"{count} requests in chunks", wire, [(b"POST", mark) for mark in marks], whole, True)
