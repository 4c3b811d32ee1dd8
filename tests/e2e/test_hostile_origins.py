"""Origins that break every promise, behind the built binary and before every version: the right error, and life goes on.

Each kind is asked by GET and by POST. What may have had an effect is sent once; afterwards the origin is well, and the
next requests get their own answers.
"""

import contextlib
import random
import socket
import time
from dataclasses import dataclass
from typing import Callable

import pytest

import desync_http1 as http1
import desync_messages as messages
from desync_origin import good
from desync_wire import EVIL, Http1, Http2, Http3, read_answers
from servers import make_chain, reset, tcp, tls_context
from strict_http1 import Strict, strict_head
from test_proxy import Proxies

CLIENTS = {"1": Http1, "2": Http2, "3": Http3}
PATIENT = "eject = false"
GROWTH = 64 << 10  # KiB; a debug build, and no bound of its own but one that a leak breaks.
BROKEN = "a reset"


@dataclass(frozen=True)
class Kind:
    """How an origin misbehaves after it has read a request, and what the client is told."""

    name: str
    misbehave: Callable
    # Status and type of error; `BROKEN` for an answer that has begun and does not end.
    expected: tuple
    # A GET may be sent once more, where the connection was lost.
    may_be_retried: bool = False
    # What the gateway waits for, where the origin is too slow for it: whoever is well may be too slow as well then, on a machine
    # that pauses.
    waits: str = ""


def says(data, end=None):
    def misbehave(connection):
        with contextlib.suppress(OSError):
            connection.sendall(data)
            if end:
                end(connection)
            else:
                # Open until the proxy goes.
                while connection.recv(65536):
                    pass

    return misbehave


def close(connection):
    connection.close()


def drips(data, pause=0.1):
    def misbehave(connection):
        with contextlib.suppress(OSError):
            for byte in data:
                connection.sendall(bytes([byte]))
                time.sleep(pause)

    return misbehave


def floods(piece, limit=64 << 20):
    def misbehave(connection):
        with contextlib.suppress(OSError):
            for _ in range(limit // len(piece)):
                connection.sendall(piece)

    return misbehave


OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"content-length: 5\r\n\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
LATE = (504, "http_response_timeout")
FIRST_BYTE = 'first_byte = "500ms"'
GARBAGE = random.Random(9).randbytes(4000)

KINDS = [
    Kind("closes early, before a head", says(b"", close), (502, "connection_terminated"), True),
    Kind("closes early, in the head", says(OK + b"content-le", close), (502, "connection_terminated"), True),
    Kind("closes early, in the content", says(LENGTH + b"hel", close), BROKEN),
    Kind("closes early, in a chunk", says(CHUNKED + b"5\r\nhel", close), BROKEN),
    Kind("closes early, before the last chunk", says(CHUNKED + b"5\r\nhello\r\n", close), BROKEN),
    Kind("slow, a byte of the head at a time", drips(LENGTH), LATE, waits=FIRST_BYTE),
    Kind("slow, content that stops", says(LENGTH + b"hel"), BROKEN, waits='idle = "500ms"'),
    Kind("huge headers, one field", floods(OK + b"x: " + b"y" * 1_000_000), (502, "http_response_header_section_size")),
    Kind("huge headers, many fields", says(OK + b"x: y\r\n" * 10_000 + b"\r\n"), (502, "http_response_header_section_size")),
    Kind("bad chunking, no size", says(CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n"), BROKEN),
    Kind("bad chunking, no end", says(CHUNKED + b"5\r\nhelloXX0\r\n\r\n"), BROKEN),
    Kind("bad chunking, a size too great", says(CHUNKED + b"fffffffffffffffff\r\nhello"), BROKEN),
    Kind("wrong length, shorter", says(OK + b"content-length: 50\r\n\r\nhello", close), BROKEN),
    Kind("wrong length, two", says(OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!"), (502, "http_protocol_error")),
    Kind("wrong length, none", says(OK + b"content-length: x\r\n\r\nhello"), (502, "http_protocol_error")),
    Kind("1xx flood, 100", floods(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), (502, "http_protocol_error")),
    Kind("1xx flood, 103", floods(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 1000), (502, "http_protocol_error")),
    Kind("101 that nobody asked for", says(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"), (502, "http_protocol_error")),
    Kind("never answers", says(b""), LATE, waits=FIRST_BYTE),
    Kind("resets, before a head", says(b"", reset), (502, "connection_terminated"), True),
    Kind("resets, in the content", says(LENGTH + b"hel", reset), BROKEN),
    Kind("garbage", says(GARBAGE), (502, "http_protocol_error")),
    Kind("garbage, of TLS", says(b"\x15\x03\x01\x00\x02\x02\x46"), (502, "http_protocol_error")),
    Kind("garbage, of HTTP/2", says(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"), (502, "http_protocol_error")),
    Kind("another coding", says(OK + b"transfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", close), (502, "http_response_transfer_coding")),
    Kind("another coding, on a connection that stays", says(OK + b"transfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), (502, "http_response_transfer_coding")),
]


class Origin:
    """A server that misbehaves for as long as it has a kind, and is good otherwise."""

    def __init__(self):
        self.be_good()

    def be_good(self):
        self.kind, self.method, self.asked = None, b"", 0

    def misbehave(self, kind, method):
        """Requests with other methods are of before, and nobody waits for their answers."""
        self.kind, self.method, self.asked = kind, method, 0

    def __call__(self, connection):
        parser = Strict()
        while data := connection.recv(65536):
            for request in parser.feed(data):
                kind = self.kind
                if kind is None or request.method != self.method:
                    connection.sendall(good(request))
                else:
                    self.asked += 1
                    kind.misbehave(connection)
                    return


@pytest.fixture(scope="module")
def proxies(certificate, tmp_path_factory):
    proxies = Proxies(tmp_path_factory.mktemp("hostile"), certificate)
    yield proxies
    proxies.stop()


@pytest.fixture(scope="module")
def hostile(proxies):
    """An origin, and the server before it that waits as a kind says."""
    origin, servers = Origin(), {}
    with tcp(origin) as port:

        def server(waits=""):
            if waits not in servers:
                more = f"\nupstream_timeouts = {{ {waits} }}" if waits else ""
                servers[waits] = proxies.to(f"http://127.0.0.1:{port}", PATIENT + more)
            return servers[waits]

        yield origin, server


def ask(version, client, method, body=b""):
    """A request; its answer, `None` if there was a reset."""
    mark = http1.marker()
    fields = [(b"content-length", b"%d" % len(body))] if body else []
    if version == "1":
        lines = b"".join(b"%s: %s\r\n" % field for field in fields)
        answers, _ = client.exchange(http1.request(mark, b"Connection: close\r\n" + lines, body, method), [method], 20.0)
        answer = answers[0] if answers else None
    else:
        answer = client.ask(messages.message(mark, fields, [body] if body else [], method=method), 20.0)
    return mark, answer


def ask_well(version, client, method, body, waits):
    """The same of an origin that is well, asked again where it was too slow for a server that does not wait."""
    for _ in range(50):
        mark, answer = ask(version, client, method, body)
        if waits != FIRST_BYTE or outcome(answer) != LATE:
            break
    return mark, answer


def outcome(answer):
    if answer is None or not answer.is_whole:
        return BROKEN
    told = answer.fields.get(b"proxy-status", b"").decode()
    return answer.status, told.removeprefix("edge; error=")


@pytest.mark.parametrize("version", CLIENTS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_hostile_origin_is_told_rightly_and_leaves_nothing_behind(hostile, version, kind):
    origin, servers = hostile
    server = servers(kind.waits)
    client = CLIENTS[version](server.address)
    before = server.rss_kib()
    for method, body, attempts in [(b"GET", b"", 1 + kind.may_be_retried), (b"POST", b"hello", 1)]:
        origin.misbehave(kind, method)
        _, answer = ask(version, client, method, body)
        assert outcome(answer) == kind.expected, answer
        # It may hear of it later than its client.
        while origin.asked == 0:
            time.sleep(0.01)
        assert origin.asked <= attempts, f"{method.decode()} was sent {origin.asked} times"
        origin.be_good()
        for _ in range(3):
            mark, answer = ask_well(version, client, method, body, kind.waits)
            assert answer and (answer.status, answer.body) == (200, mark), answer
    client.close()
    server.assert_alive()
    assert server.rss_kib() - before < GROWTH


@pytest.mark.parametrize("version", CLIENTS)
@pytest.mark.parametrize("ending", ["\r\n\r\n", "none"])
def test_content_that_goes_on_after_its_end_is_nobodys_answer(hostile, version, ending):
    """Wrong length, longer: the rest is not the answer to the next request."""
    origin, servers = hostile
    client = CLIENTS[version](servers().address)
    evil = b"HTTP/1.1 200 OK\r\nx-marker: evil\r\ncontent-length: 4\r\n\r\nevil"
    heads = [LENGTH + b"hello", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", OK + b"content-length: 0\r\n\r\n"]
    for head in heads:
        origin.misbehave(Kind("goes on", says(head + evil * (1 if ending == "none" else 20)), BROKEN), b"GET")
        _, answer = ask(version, client, b"GET")
        assert answer and b"evil" not in answer.body and answer.marker != b"evil", answer
        origin.be_good()
        for _ in range(3):
            mark, answer = ask(version, client, b"POST", b"hello")
            assert answer and (answer.status, answer.body) == (200, mark), (head, answer)
    client.close()


@pytest.mark.parametrize("version", CLIENTS)
def test_rest_of_a_request_that_was_answered_early_is_no_request(proxies, version):
    """An origin that answers heads, and takes content that it has not read for the next request."""
    heads = []

    def careless(connection):
        data = b""
        while piece := connection.recv(65536):
            data += piece
            while b"\r\n\r\n" in data:
                head, _, data = data.partition(b"\r\n\r\n")
                heads.append(head)
                connection.sendall(good(strict_head(head)))

    with tcp(careless) as port:
        server = proxies.to(f"http://127.0.0.1:{port}", PATIENT)
        client = CLIENTS[version](server.address)
        for _ in range(10):
            mark, length = http1.marker(), len(EVIL)
            if version == "1":
                with client.open(10) as stream:
                    stream.sendall(http1.request(mark, b"Content-Length: %d\r\n" % length))
                    (answer,), _ = read_answers(stream, [b"POST"])
                    with contextlib.suppress(OSError):
                        stream.sendall(EVIL)
            else:
                fields = [(b"content-length", b"%d" % length)]
                number = client.send(messages.message(mark, fields, end="open"))
                answer = client.wait(number)
                client.go_on(number, EVIL)
            assert answer and answer.body == mark
            for _ in range(3):
                mark, answer = ask(version, client, b"GET")
                assert answer and answer.body == mark
        client.close()
        server.stop()
    assert len(heads) == 40 and not any(b"smuggled" in head for head in heads)


@pytest.mark.parametrize("version", CLIENTS)
def test_origin_that_cannot_be_reached_is_told_rightly(proxies, certificate, tmp_path, version):
    """Refuses, bad certificates, another ALPN, no TLS at all."""
    unknown = make_chain(tmp_path / "unknown").leaf
    quiet = lambda connection: None

    def h2_in_name(connection):
        says(LENGTH + b"hello" * 20)(connection)

    def not_tls(connection):
        connection.recv(65536)
        connection.sendall(LENGTH + b"hello")

    with contextlib.ExitStack() as stack:
        # Bound, so that nobody else gets the port, and not listened on.
        nobody = stack.enter_context(socket.socket())
        nobody.bind(("127.0.0.1", 0))
        untrusted = stack.enter_context(tcp(quiet, tls_context(unknown)))
        liar = stack.enter_context(tcp(h2_in_name, tls_context(certificate, alpn=("h2",))))
        plain = stack.enter_context(tcp(not_tls))
        for address, expected in [
            (f"http://127.0.0.1:{nobody.getsockname()[1]}", "connection_refused"),
            (f"https://localhost:{untrusted}", "tls_certificate_error"),
            # Said by whichever of its two halves hears of it first.
            (f"https://localhost:{liar}", ("http_protocol_error", "connection_terminated")),
            (f"https://localhost:{plain}", "tls_protocol_error"),
        ]:
            server = proxies.to(address, PATIENT)
            client = CLIENTS[version](server.address)
            for method in [b"GET", b"POST"]:
                _, answer = ask(version, client, method)
                status, error = outcome(answer)
                assert status == 502 and error in (expected if isinstance(expected, tuple) else (expected,)), (address, error)
            client.close()
            server.stop()
