"""A rule of HTTP/3 that a client breaks: what is sent, the exact code that it gets, and that life goes on.

Every case has a twin: the same bytes without the fault, which must be served. So no case can pass because the server
refuses something else.
"""

from dataclasses import dataclass
from typing import Callable

import pytest

from h3raw import (
    CONTROL,
    GET,
    HEADERS,
    PATH_ROOT,
    QPACK_DECODER,
    QPACK_ENCODER,
    SCHEME_HTTPS,
    Peer,
    authority,
    frame,
    literal,
    request_frame,
    section,
)


@dataclass(frozen=True)
class Case:
    """`act(peer, faulty)` sends the fault or its twin, and returns the request stream it used, if any."""

    # A requirement of `specs/`, or a case of h3spec.
    id: str
    name: str
    code: int
    act: Callable
    # A malformed message is an error of its stream (RFC 9114 §4.1.2); all others end the connection.
    stream_error: bool = False
    # How the twin is answered.
    status: int = 200


def on_request(faulty, twin, fin=True):
    """The fault is in what a request stream carries."""

    def act(peer, is_faulty):
        peer.open_h3()
        return peer.open_bidi(faulty if is_faulty else twin, fin=fin)

    return act


def on_streams(faulty, twin):
    """The fault is in the bytes of unidirectional streams."""

    def act(peer, is_faulty):
        for body in faulty if is_faulty else twin:
            peer.open_uni(body)

    return act


def on_control(faulty, twin):
    others = (QPACK_ENCODER, QPACK_DECODER)
    return on_streams((CONTROL + faulty, *others), (CONTROL + twin, *others))


def fields(*lines):
    return frame(HEADERS, section(*lines))


LOCALHOST = authority("localhost")
WHOLE = fields(GET, SCHEME_HTTPS, LOCALHOST, PATH_ROOT)
FOO = literal("foo", "bar")


def parametrized(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda case: f"{case.id}: {case.name}")


def assert_refused(address, case, path):
    """The fault gets its exact code, and the server goes on."""
    with Peer(address).connect() as peer:
        if case.stream_error:
            assert_stream_error(peer, case, path)
        else:
            assert_connection_error(peer, case)
    with Peer(address).connect() as fresh:
        fresh.open_h3()
        assert fresh.request(path).status == 200


def assert_stream_error(peer, case, path):
    """The stream is reset; one begun before and one begun after are answered."""
    whole = request_frame(path=path)
    before = peer.open_bidi(whole[:5])
    stream = case.act(peer, True)
    state = peer.stream(stream)
    peer.pump(lambda: state.settled or peer.closed)
    assert peer.closed is None
    assert (state.reset, bytes(state.received)) == (case.code, b""), state
    peer.send(before, whole[5:], fin=True)
    assert peer.response(before).status == 200
    assert peer.request(path).status == 200


def assert_connection_error(peer, case):
    case.act(peer, True)
    close = peer.wait_closed()
    assert close, "the connection is still open"
    assert (close.application, hex(close.code)) == (True, hex(case.code)), close


def assert_twin_served(address, case, path):
    with Peer(address).connect() as peer:
        stream = case.act(peer, False)
        if stream is not None:
            assert peer.response(stream).status == case.status
        assert peer.request(path).status == 200
        assert peer.closed is None
