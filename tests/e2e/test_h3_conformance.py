"""The fifteen HTTP/3 cases of h3spec, with corrected bytes: the exact code, and life goes on.

Each case has a twin: the same bytes without the fault. The twin must be served, so a case cannot pass because the
server refuses something else.
"""

from dataclasses import dataclass
from typing import Callable

import pytest

from h3raw import (
    CANCEL_PUSH,
    CONTROL,
    DATA,
    EMPTY_SETTINGS,
    GET,
    GREASE,
    HEADERS,
    MAX_PUSH_ID,
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

LOCALHOST = authority("localhost")


@dataclass(frozen=True)
class Case:
    """`act(peer, faulty)` sends the fault or its twin, and returns the request stream it used, if any."""

    id: str
    name: str
    section: str
    code: int
    act: Callable
    # A malformed message is an error of its stream (RFC 9114 §4.1.2); all others end the connection.
    stream_error: bool = False


def on_request(faulty, twin):
    """The fault is in what a request stream carries."""

    def act(peer, is_faulty):
        peer.open_h3()
        return peer.open_bidi(faulty if is_faulty else twin, fin=True)

    return act


def on_streams(faulty, twin):
    """The fault is in the bytes of control, encoder and decoder stream."""

    def act(peer, is_faulty):
        for body in faulty if is_faulty else twin:
            peer.open_uni(body)

    return act


def on_control(faulty, twin):
    others = (QPACK_ENCODER, QPACK_DECODER)
    return on_streams((CONTROL + faulty, *others), (CONTROL + twin, *others))


def close_control(peer, is_faulty):
    control, _, _ = peer.open_h3()
    peer.send(control, b"", fin=is_faulty)


def fields(*lines):
    return frame(HEADERS, section(*lines))


WHOLE = fields(GET, SCHEME_HTTPS, LOCALHOST, PATH_ROOT)
FOO = literal("foo", "bar")
CONTROL_SETTINGS = CONTROL + EMPTY_SETTINGS

CASES = [
    # req: 9114-4.1-frame-sequence
    Case("H01", "DATA before HEADERS", "RFC 9114 §4.1", 0x105,
         on_request(frame(DATA, b"x") + WHOLE, WHOLE + frame(DATA, b"x"))),
    # req: 9114-4.3.1-exactly-one
    Case("H02", "a duplicated pseudo-header", "RFC 9114 §4.3", 0x10E,
         on_request(fields(GET, SCHEME_HTTPS, LOCALHOST, PATH_ROOT, GET), WHOLE), True),
    # req: 9114-4.3.1-path
    Case("H03", "an absent mandatory pseudo-header", "RFC 9114 §4.3.1", 0x10E,
         on_request(fields(GET, SCHEME_HTTPS, LOCALHOST), WHOLE), True),
    # req: 9114-4.3-unknown-pseudo
    Case("H04", "an undefined pseudo-header", "RFC 9114 §4.3", 0x10E,
         on_request(fields(GET, SCHEME_HTTPS, LOCALHOST, PATH_ROOT, literal(":foo", "bar")),
                    fields(GET, SCHEME_HTTPS, LOCALHOST, PATH_ROOT, FOO)), True),
    # req: 9114-4.3-pseudo-first
    Case("H05", "a pseudo-header after a field", "RFC 9114 §4.3", 0x10E,
         on_request(fields(GET, SCHEME_HTTPS, LOCALHOST, FOO, PATH_ROOT),
                    fields(GET, SCHEME_HTTPS, LOCALHOST, PATH_ROOT, FOO)), True),
    # req: 9114-6.2.1-settings-first
    Case("H06", "a first control frame which is not SETTINGS", "RFC 9114 §6.2.1", 0x10A,
         on_control(frame(MAX_PUSH_ID, b"\x00"), EMPTY_SETTINGS + frame(MAX_PUSH_ID, b"\x00"))),
    # req: 9114-7.2.1-not-on-control-stream
    Case("H07", "DATA on the control stream", "RFC 9114 §7.2.1", 0x105,
         on_control(EMPTY_SETTINGS + frame(DATA, b"x"), EMPTY_SETTINGS + frame(GREASE, b"x"))),
    # req: 9114-7.2.2-not-on-control-stream
    Case("H08", "HEADERS on the control stream", "RFC 9114 §7.2.2", 0x105,
         on_control(EMPTY_SETTINGS + WHOLE, EMPTY_SETTINGS + frame(GREASE, WHOLE))),
    # req: 9114-7.2.4-once
    Case("H09", "a second SETTINGS", "RFC 9114 §7.2.4", 0x105,
         on_control(EMPTY_SETTINGS * 2, EMPTY_SETTINGS)),
    # req: 9114-7.2.4.1-http2-settings
    Case("H10", "a setting of HTTP/2", "RFC 9114 §7.2.4.1", 0x109,
         on_control(b"\x04\x03\x02\x40\xc8", b"\x04\x03\x21\x40\xc8")),
    # req: 9114-7.2.3-not-on-request-stream
    Case("H11", "CANCEL_PUSH on a request stream", "RFC 9114 §7.2.3", 0x105,
         on_request(WHOLE + frame(CANCEL_PUSH, b"\x00"), WHOLE + frame(GREASE, b"\x00"))),
    # req: 9204-3.1-invalid-static-index
    Case("H12", "an index past the static table", "RFC 9204 §3.1", 0x200,
         on_request(fields(GET, SCHEME_HTTPS, LOCALHOST, PATH_ROOT, b"\xff\x24"),
                    fields(GET, SCHEME_HTTPS, LOCALHOST, PATH_ROOT, b"\xff\x23"))),
    # req: 9204-4.3.1-capacity-limit
    Case("H13", "a table capacity above the limit", "RFC 9204 §4.1.3", 0x201,
         on_streams((CONTROL_SETTINGS, QPACK_ENCODER + b"\x3f\xe1\xc7\xaf\xa0\x25", QPACK_DECODER),
                    (CONTROL_SETTINGS, QPACK_ENCODER + b"\x20", QPACK_DECODER))),
    # req: 9114-6.2.1-control-stays-open
    Case("H14", "a closed control stream", "RFC 9114 §6.2.1", 0x104, close_control),
    # req: 9204-4.4.3-increment
    Case("H15", "an Insert Count Increment of 0", "RFC 9204 §4.4.3", 0x202,
         on_streams((CONTROL_SETTINGS, QPACK_ENCODER, QPACK_DECODER + b"\x00"),
                    (CONTROL_SETTINGS, QPACK_ENCODER, QPACK_DECODER + b"\x40"))),
]

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.id}: {case.name}")


@every_case
def test_a_fault_gets_its_exact_code_and_others_go_on(files, site, case):
    with Peer(files.address).connect() as peer:
        if case.stream_error:
            assert_stream_error(peer, site, case)
        else:
            assert_connection_error(peer, case)
    with Peer(files.address).connect() as fresh:
        fresh.open_h3()
        assert fresh.request("/small.txt").body == site.content("small.txt")


# req: 9114-4.1.2-malformed-is-stream-error
def assert_stream_error(peer, site, case):
    """The stream is reset; one begun before and one begun after are answered."""
    begun, rest = request_frame(path="/small.txt")[:5], request_frame(path="/small.txt")[5:]
    before = peer.open_bidi(begun)
    stream = case.act(peer, True)
    state = peer.stream(stream)
    peer.pump(lambda: state.settled or peer.closed)
    assert peer.closed is None
    assert (state.reset, bytes(state.received)) == (case.code, b""), f"{case.section}: {state}"
    peer.send(before, rest, fin=True)
    assert peer.response(before).body == site.content("small.txt")
    assert peer.request("/small.txt").status == 200


def assert_connection_error(peer, case):
    case.act(peer, True)
    close = peer.wait_closed()
    assert close, f"{case.section}: the connection is still open"
    assert (close.application, hex(close.code)) == (True, hex(case.code)), case.section


@every_case
def test_the_twin_without_the_fault_is_served(files, site, case):
    with Peer(files.address).connect() as peer:
        stream = case.act(peer, False)
        if stream is not None:
            assert peer.response(stream).status == 200
        assert peer.request("/small.txt").body == site.content("small.txt")
        assert peer.closed is None
