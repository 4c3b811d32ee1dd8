"""The desync corpus from the other side: answers that an origin should not give, and what a client may make of them.

Whatever an answer hides, it is not the answer to somebody else's request.
"""

from strict_http1 import Seen
from desync_origin import marker_of

POISON = b"HTTP/1.1 200 OK\r\nx-marker: evil\r\ncontent-length: 4\r\n\r\nevil"
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"content-length: 5\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"

# By what is wrong with them. Each is sent by an origin that then goes on as a good one.
ANSWERS = {
    # Two answers where one was asked for (response queue poisoning).
    "split after a length": LENGTH + b"\r\nhello" + POISON,
    "split after chunks": CHUNKED + b"\r\n" + HELLO + POISON,
    "split after nothing": OK + b"content-length: 0\r\n\r\n" + POISON,
    "split after 204": b"HTTP/1.1 204 No Content\r\n\r\n" + POISON,
    "split after 304": b"HTTP/1.1 304 Not Modified\r\n\r\n" + POISON,
    "split after 304 with a length": b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\nhello" + POISON,
    "split after 204 with a length": b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello" + POISON,
    "split after 204 in chunks": b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n" + HELLO + POISON,
    "split after 205": b"HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n" + POISON,
    "split after 404": b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n" + POISON,
    "split by a lone LF": LENGTH + b"\r\nhello\n" + POISON,
    "split by empty lines": LENGTH + b"\r\nhello\r\n\r\n\r\n" + POISON,
    "three answers": LENGTH + b"\r\nhello" + POISON * 2,
    "a byte too many": LENGTH + b"\r\nhello!",
    "a head too many": LENGTH + b"\r\nhelloHTTP/1.1 200 OK\r\n",
    # Two ways to say how long it is.
    "length and coding": LENGTH + b"transfer-encoding: chunked\r\n\r\n" + HELLO + POISON,
    "coding and length": CHUNKED + b"content-length: 5\r\n\r\n" + HELLO + POISON,
    "coding and a shorter length": CHUNKED + b"content-length: 1\r\n\r\n" + HELLO + POISON,
    "two lengths": LENGTH + b"content-length: 6\r\n\r\nhello" + POISON,
    "two lengths alike": LENGTH + b"content-length: 5\r\n\r\nhello" + POISON,
    "a list of lengths": OK + b"content-length: 5, 6\r\n\r\nhello" + POISON,
    **{f"length {length!r}": OK + b"content-length: " + length + b"\r\n\r\nhello" + POISON for length in [b"+5", b"-5", b"0x5", b"5 5", b"", b"5;", b"18446744073709551621", b"5\x00"]},
    **{f"coding {coding!r}": OK + b"transfer-encoding: " + coding + b"\r\n\r\n" + HELLO + POISON for coding in [b"cow", b"identity", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"chunked;a", b"xchunked", b"\x0bchunked", b"chunked\x00", b"", b"chunked\r\ntransfer-encoding: identity"]},
    "coding in HTTP/1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + HELLO + POISON,
    # Chunks.
    **{f"chunk size {size!r}": CHUNKED + b"\r\n" + size + b"\r\nhello\r\n0\r\n\r\n" + POISON for size in [b"+5", b"-5", b"0x5", b"5;\n", b"", b"5\x00", b"fffffffffffffffff", b"6", b"4"]},
    "trailers": CHUNKED + b"trailer: x-t\r\n\r\n5\r\nhello\r\n0\r\nx-t: y\r\n\r\n" + POISON,
    "trailers of framing": CHUNKED + b"trailer: content-length, transfer-encoding\r\n\r\n5\r\nhello\r\n0\r\ncontent-length: 100\r\ntransfer-encoding: chunked\r\nconnection: close\r\nset-cookie: a=b\r\n\r\n" + POISON,
    "trailers that end nowhere": CHUNKED + b"\r\n5\r\nhello\r\n0\r\nx\r\n\r\n" + POISON,
    # Heads.
    **{f"field {line!r}": LENGTH + line + b"\r\n\r\nhello" for line in [b"x: a\rb", b"x: a\x00b", b"x: a\ny: b", b"x: a\r\n folded", b"x : a", b" x: a", b": a", b"x", b"x\x00: a", b"connection: content-length", b"connection: close, x-marker", b"keep-alive: timeout=5", b"upgrade: h2c", b"proxy-connection: keep-alive", b"alt-svc: h3=\":443\"", b"te: trailers", b"x\"y: a"]},
    **{f"status line {line!r}": line + b"\r\ncontent-length: 5\r\n\r\nhello" for line in [b"HTTP/1.1 2000 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 099 OK", b"HTTP/1.1 200", b"HTTP/2 200 OK", b"HTTP/1.1  200 OK", b"HTTP/1.1 200 a\x00b", b"HTTP/1.1 200 a\rb", b"200 OK", b"HTTP/0.9 200 OK", b" HTTP/1.1 200 OK", b"HTTP/1.1 -20 OK"]},
    # Interim responses.
    "100 that nobody asked for": b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH + b"\r\nhello",
    "100 with a length": b"HTTP/1.1 100 Continue\r\ncontent-length: 5\r\n\r\n" + LENGTH + b"\r\nhello",
    "103 with fields of framing": b"HTTP/1.1 103 Early Hints\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n" + LENGTH + b"\r\nhello",
    "199": b"HTTP/1.1 199 What\r\n\r\n" * 20 + LENGTH + b"\r\nhello",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n" + POISON,
    "nothing but 100": b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
}


def scripts():
    """What the origin does, by a number in the path."""

    def one(answer):
        def play(transport, request: Seen):
            marker = b"\r\nx-marker: %s\r\n" % marker_of(request.target)
            transport.write(answer.replace(b"\r\n", marker, 1) if answer.startswith(OK) else answer)

        return play

    return {str(index): one(answer) for index, answer in enumerate(ANSWERS.values())}
