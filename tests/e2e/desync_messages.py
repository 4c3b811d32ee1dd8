"""The desync corpus over HTTP/2 and HTTP/3: messages that no HTTP/1.1 could be made of, and those that it can.

Both versions get the same messages; RFC 9113 §8 and RFC 9114 §4 have the same rules for them.
"""

from desync_http1 import BYTES, TOKEN_BYTES, Case, marker
from desync_wire import EVIL, Message

SPLIT = b"x\r\nHost: evil\r\n\r\n" + EVIL


def message(mark, fields=(), pieces=(), trailers=(), end=None, method=b"POST", path=None, **changed):
    """A good request but for what is changed; a pseudo-header that is `None` is left out."""
    pseudo = {b":method": method, b":scheme": b"https", b":authority": b"localhost", b":path": path if path is not None else b"/" + mark}
    for name, value in changed.items():
        pseudo[b":" + name.encode()] = value
    lines = [(name, value) for name, value in pseudo.items() if value is not None]
    ends = "trailers" if trailers else "data" if pieces else "headers"
    return Message((*lines, *fields), tuple(pieces), tuple(trailers), end or ends)


def case(family, name, build, body=None, must=False, method=b"POST"):
    mark = marker()
    whole = {} if body is None else {mark: body}
    return Case(family, name, build(mark), [(method, mark)], whole, must)


def lengths():
    """A length that content disagrees with, however the stream ends."""
    good = {b"0": 0, b"5": 5, b"05": 5}
    declared = [b"0", b"5", b"05", b"3", b"6", b"100", b"9223372036854775808", b"18446744073709551616", b"18446744073709551621", b"+5", b"-5", b"5,5", b"5, 5", b"5 ", b" 5", b"", b"0x5", b"5\x00", b"5;a", b"\xef\xbc\x95"]
    for length in declared:
        for pieces in [(), (b"hello",), (b"he", b"l", b"lo"), (b"", b"hello", b"")]:
            for end in ["headers", "data", "empty", "trailers", "reset", "cut"]:
                if (end == "headers") == bool(pieces):
                    continue
                trailers = [(b"x-t", b"y")] if end == "trailers" else []
                content = b"".join(pieces)
                is_good = good.get(length) == len(content) and end not in ("reset", "cut")
                yield case(f"length, ends on {end}", f"{ascii(length)} for {pieces}", lambda m, length=length, pieces=pieces, end=end, trailers=trailers: message(m, [(b"content-length", length)], pieces, trailers, end), content if is_good else None, is_good and length != b"05")
    for first, second in [(b"5", b"5"), (b"5", b"6"), (b"6", b"5"), (b"0", b"5"), (b"5", b"")]:
        body = b"hello" if first == second else None
        yield case("length, twice", f"{first}, {second}", lambda m, first=first, second=second: message(m, [(b"content-length", first), (b"content-length", second)], [b"hello"]), body)
    for end in ["data", "empty", "trailers", "reset", "cut"]:
        trailers = [(b"x-t", b"y")] if end == "trailers" else []
        body = None if end in ("reset", "cut") else EVIL
        yield case("no length", f"ends on {end}", lambda m, end=end, trailers=trailers: message(m, [], [EVIL], trailers, end), body, body is not None)
    # H2.CL: what the length leaves over would be the next request.
    yield case("length, twice", "zero before a request", lambda m: message(m, [(b"content-length", b"0")], [EVIL]))
    for method in [b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"PUT", b"FOO"]:
        for fields in [(), ((b"content-length", b"%d" % len(EVIL)),)]:
            yield case("content", f"{method.decode()} {fields}", lambda m, method=method, fields=fields: message(m, fields, [EVIL], method=method), EVIL, method != b"FOO", method)


def of_connection():
    """Fields that HTTP/2 and HTTP/3 forbid (RFC 9113 §8.2.2, RFC 9114 §4.2): the message is malformed."""
    fields = [(b"transfer-encoding", value) for value in [b"chunked", b"Chunked", b"identity", b"chunked, identity", b"", b"gzip, chunked", b" chunked", b"chunked\x00", b"cow"]]
    fields += [(b"connection", value) for value in [b"close", b"keep-alive", b"content-length", b"host", b"upgrade", b"te", b""]]
    fields += [(b"keep-alive", b"timeout=5"), (b"proxy-connection", b"keep-alive"), (b"upgrade", b"h2c"), (b"upgrade", b"websocket"), (b"te", b"gzip"), (b"te", b"trailers, gzip"), (b"te", b"chunked")]
    fields += [(b"Transfer-Encoding", b"chunked"), (b"transfer-Encoding", b"chunked"), (b"transfer-encoding ", b"chunked"), (b" transfer-encoding", b"chunked"), (b"transfer-encoding:", b"chunked"), (b"transfer-encoding\x00", b"chunked"), (b"transfer-encoding: chunked\r\nx", b"y"), (b"Content-Length", b"5"), (b"content-length ", b"5"), (b"Connection", b"close")]
    for field in fields:
        for body in [b"hello", b"0\r\n\r\n" + EVIL]:
            yield case("of a connection", f"{ascii(field)}, {len(body)} bytes", lambda m, field=field, body=body: message(m, [field], [body]))
            yield case("of a connection", f"{ascii(field)}, {len(body)} bytes, a length", lambda m, field=field, body=body: message(m, [(b"content-length", b"%d" % len(body)), field], [body]))
    for field in [(b"te", b"trailers"), (b"http2-settings", b"AAMAAABkAAQAAP__"), (b"proxy-authorization", b"Basic YTpi"), (b"trailer", b"content-length"), (b"transfer_encoding", b"chunked"), (b"content_length", b"0"), (b"expect", b"100-continue"), (b"proxy", b"http://evil")]:
        yield case("of a hop", ascii(field), lambda m, field=field: message(m, [field], [EVIL]), EVIL, True)
    yield case("of a hop", "crumbs", lambda m: message(m, [(b"cookie", b"a=b"), (b"cookie", b"c=d")], [EVIL]), EVIL, True)
    yield case("of a hop", "a crumb with an end of line", lambda m: message(m, [(b"cookie", b"a=b"), (b"cookie", SPLIT)], [EVIL]))


def trailers():
    good = [(b"x-t", b"y")]
    for fields, body, must in [
        (good, b"hello", True),
        ([(b"content-length", b"5")], b"hello", False),
        ([(b"content-length", b"6")], b"hello", False),
        ([(b"host", b"evil")], b"hello", False),
        ([(b"trailer", b"x")], b"hello", False),
        ([(b"cookie", b"a=b")], b"hello", False),
        # The `h2` crate takes pseudo-headers out of trailers, so that nobody sees them; HTTP/3 refuses them.
        ([(b":path", b"/")], b"hello", False),
        ([(b":status", b"200")], b"hello", False),
        ([(b":method", b"GET")], b"hello", False),
    ] + [
        ([field], None, False)
        for field in [(b"transfer-encoding", b"chunked"), (b"connection", b"close"), (b"te", b"gzip"), (b"X-T", b"y"), (b"x t", b"y"), (b"x-t", b"a\r\nb"), (b"x-t", b"a\nb"), (b"x-t", b"a\x00b"), (b"x-t\r\n", b"y"), (b"", b"y"), (b"x-t", SPLIT)]
    ]:
        # Over HTTP/1.1 those go on that are announced.
        names = b", ".join(name for name, _ in fields if name.isalpha() or b"-" in name and name.replace(b"-", b"").isalpha())
        announced = ((b"trailer", names.lower()), (b"te", b"trailers"))
        for declared in [(), ((b"content-length", b"5"),), announced]:
            yield case("trailers", f"{ascii(fields)} {declared}", lambda m, fields=fields, declared=declared: message(m, declared, [b"hello"], fields), body, must)


def pseudo_headers():
    """Missing, said twice, unknown, in the wrong place (RFC 9113 §8.3, RFC 9114 §4.3)."""
    for name in ["method", "scheme", "path"]:
        yield case("pseudo-headers", f"no {name}", lambda m, name=name: message(m, **{name: None}) if name != "path" else Message(tuple(field for field in message(m).fields if field[0] != b":path"), end="headers"))
        # A scheme is not passed on.
        may = b"" if name == "scheme" else None
        yield case("pseudo-headers", f"empty {name}", lambda m, name=name: message(m, **{name: b""}), may)
        yield case("pseudo-headers", f"{name} twice", lambda m, name=name: Message((*message(m).fields, dict_field(message(m), name)), end="headers"))
        yield case("pseudo-headers", f"{name} after a field", lambda m, name=name: Message((*(field for field in message(m).fields if field[0] != b":" + name.encode()), (b"x", b"y"), dict_field(message(m), name)), end="headers"))
    for field in [(b":status", b"200"), (b":foo", b"bar"), (b":", b"x"), (b":protocol", b"websocket"), (b":authority", b"evil"), (b":Path", b"/evil"), (b":path ", b"/evil"), (b":path", b"/smuggled")]:
        yield case("pseudo-headers", f"and {ascii(field)}", lambda m, field=field: Message((*message(m).fields, field), end="headers"))
    for name, authority, fields, body, must in [
        ("authority alone", b"localhost", (), b"", True),
        ("host alone", None, ((b"host", b"localhost"),), b"", False),
        ("both alike", b"localhost", ((b"host", b"localhost"),), b"", True),
        ("both alike but for case", b"localhost", ((b"host", b"LOCALHOST"),), b"", False),
        ("another host", b"localhost", ((b"host", b"evil"),), None, False),
        ("another port", b"localhost", ((b"host", b"localhost:80"),), None, False),
        ("two hosts", b"localhost", ((b"host", b"localhost"), (b"host", b"localhost")), None, False),
        ("two other hosts", None, ((b"host", b"localhost"), (b"host", b"evil")), None, False),
        ("neither", None, (), None, False),
        ("empty authority", b"", (), None, False),
        ("empty authority and a host", b"", ((b"host", b"localhost"),), None, False),
        ("empty host", b"localhost", ((b"host", b""),), None, False),
    ]:
        yield case("host", name, lambda m, authority=authority, fields=fields: message(m, fields, authority=authority), body, must)
    for authority in [b"user@localhost", b"localhost, evil", b"localhost evil", b"localhost/evil", b"localhost#x", b"localhost?x", b"localhost:x", b"localhost:99999", b":443", b"http://localhost", b"localhost\\x", b"[::1", SPLIT, b"localhost\r\nX: y", b"localhost\nX: y", b"localhost\x00", b" localhost", b"localhost "]:
        yield case("host", f"authority {ascii(authority[:30])}", lambda m, authority=authority: message(m, authority=authority))
        yield case("host", f"host {ascii(authority[:30])}", lambda m, authority=authority: message(m, [(b"host", authority)], authority=None))


def dict_field(built, name):
    key = b":" + name.encode()
    return key, dict(built.fields)[key]


def injections():
    """Whole requests and fields in what HTTP/1.1 would write on lines."""
    for end in [b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\x00", b"\r\n ", b"\n\n", b"\x0b", b"\x85"]:
        # Bytes above ASCII end no line.
        is_text = end == b"\x85"
        body = b"" if is_text else None
        for name, build in [
            ("value", lambda m, end=end: message(m, [(b"x", b"a" + end + b"Transfer-Encoding: chunked")])),
            ("value that begins so", lambda m, end=end: message(m, [(b"x", end + b"X: y")])),
            ("value that ends so", lambda m, end=end: message(m, [(b"x", b"a" + end)])),
            ("cookie", lambda m, end=end: message(m, [(b"cookie", b"a" + end + b"x: y"), (b"cookie", b"b")])),
        ]:
            yield case("injection", f"{ascii(end)} in a {name}", build, body)
        for name, build in [
            ("name", lambda m, end=end: message(m, [(b"x: y" + end + b"z", b"a")])),
            ("method", lambda m, end=end: message(m, method=b"GET / HTTP/1.1" + end + b"X: y")),
            ("path", lambda m, end=end: message(m, path=b"/" + m + b" HTTP/1.1" + end + b"Host: evil" + end)),
            ("query", lambda m, end=end: message(m, path=b"/" + m + b"?a" + end + b"X: y")),
            ("scheme", lambda m, end=end: message(m, scheme=b"https" + end)),
            ("scheme with a path", lambda m, end=end: message(m, scheme=b"https://localhost/ HTTP/1.1" + end)),
        ]:
            yield case("injection", f"{ascii(end)} in a {name}", build)
    for name, build in [
        ("value", lambda m: message(m, [(b"x", SPLIT)])),
        ("name", lambda m: message(m, [(SPLIT.lower(), b"x")])),
        ("path", lambda m: message(m, path=b"/" + m + b" HTTP/1.1\r\n\r\n" + EVIL)),
        ("method", lambda m: message(m, method=EVIL + b"GET")),
        ("authority", lambda m: message(m, authority=SPLIT)),
    ]:
        yield case("injection", f"a request in a {name}", build)


def targets():
    for path, body, must in [
        (b"/%s", b"", True),
        (b"/%s?a=%%0d%%0a", b"", True),
        (b"//%s", b"", True),
        (b"///%s/", b"", True),
        (b"/%s#x", b"", False),
        (b"?%s", b"", False),
        (b"%s", None, False),
        (b"*%s", None, False),
        (b"http://localhost/%s", None, False),
        (b"\\%s", None, False),
        (b"/%s HTTP/1.1", None, False),
        (b"/%s x", None, False),
        (b" /%s", None, False),
        (b"/%s ", None, False),
        (b"@evil/%s", None, False),
    ]:
        yield case("target", ascii(path), lambda m, path=path: message(m, path=path % m, method=b"GET"), body, must, b"GET")
    for method, body in [(b"get", b""), (b"G T", None), (b"GET ", None), (b" GET", None), (b"GET /smuggled", None), (b"CONNECT", None), (b"TRACE", None), (b"PRI", b""), (b"G:T", None), (b"GET\t", None)]:
        yield case("target", f"method {ascii(method)}", lambda m, method=method: message(m, method=method), body, method=method)
    yield case("target", "extended CONNECT", lambda m: Message((*message(m, method=b"CONNECT").fields[:1], (b":protocol", b"websocket"), *message(m).fields[1:]), end="headers"))


def bytes_of_fields():
    """Each byte in each place."""
    lower = TOKEN_BYTES - set(range(0x41, 0x5B))
    values = set(range(0x20, 0x7F)) | set(range(0x80, 0x100)) | {9}
    targets = set(range(0x21, 0x7F)) | set(range(0x80, 0x100))
    places = {
        "method": (TOKEN_BYTES, lambda m, byte: message(m, method=b"G" + byte + b"T")),
        "path": (targets, lambda m, byte: message(m, path=b"/" + m + b"/a" + byte + b"b")),
        "authority": (TOKEN_BYTES | set(b":[](),;="), lambda m, byte: message(m, authority=b"local" + byte + b"host")),
        "name": (lower, lambda m, byte: message(m, [(b"x" + byte + b"y", b"z")])),
        "start of a name": (lower, lambda m, byte: message(m, [(byte + b"y", b"z")])),
        "end of a name": (lower, lambda m, byte: message(m, [(b"x" + byte, b"z")])),
        "value": (values, lambda m, byte: message(m, [(b"x", b"a" + byte + b"b")])),
        "start of a value": (values, lambda m, byte: message(m, [(b"x", byte + b"b")])),
        "end of a value": (values, lambda m, byte: message(m, [(b"x", b"a" + byte)])),
    }
    for place, (allowed, build) in places.items():
        for byte in BYTES:
            body = b"" if byte in allowed else None
            yield case(f"byte in {place}", f"{byte:#04x}", lambda m, byte=byte, build=build: build(m, bytes([byte])), body)
