"""Priorities (RFC 9218), extended CONNECT (RFC 9220) and datagrams (RFC 9297) on the wire: what a client can break."""

import pytest
from aioquic.buffer import encode_uint_var

from h3case import (
    LOCALHOST,
    WHOLE,
    Case,
    assert_refused,
    assert_twin_served,
    fields,
    on_control,
    on_request,
    parametrized,
)
from h3raw import (
    EMPTY_SETTINGS,
    GET,
    GREASE,
    PATH_ROOT,
    SCHEME_HTTPS,
    SETTINGS,
    Peer,
    frame,
    literal,
    request_frame,
)

# PRIORITY_UPDATE of a request and of a push (RFC 9218 §7.2).
UPDATE, PUSH_UPDATE = 0xF0700, 0xF0701
FRAME_UNEXPECTED, ID_ERROR, SETTINGS_ERROR, MESSAGE_ERROR = 0x105, 0x108, 0x109, 0x10E


def update(stream, field=b"u=1", kind=UPDATE):
    return frame(kind, encode_uint_var(stream) + field)


def control(id, name, code, faulty, twin):
    return Case(id, name, code, on_control(EMPTY_SETTINGS + faulty, EMPTY_SETTINGS + twin))


def setting(id, name, number):
    """A boolean setting which is 2; the twins are 0 and 1."""
    faulty, twin = (frame(SETTINGS, encode_uint_var(number) + bytes([value])) for value in (2, 0))
    return Case(id, name, SETTINGS_ERROR, on_control(faulty, twin))


CONNECT, PROTOCOL = literal(":method", "CONNECT"), literal(":protocol", "websocket")

CASES = [
    control("9218-7.2-request-id", "an update of what is no request", ID_ERROR, update(2), update(0)),
    control("9218-7.2-push-promised", "an update of no push", ID_ERROR,
            update(0, kind=PUSH_UPDATE), update(0)),
    Case("9218-7.2-not-on-request-stream", "an update on a request stream", FRAME_UNEXPECTED,
         on_request(WHOLE + update(0), WHOLE + frame(GREASE, b"\x00u=1"))),
    control("9114-7.1-payload-fits", "an update without an id", 0x106, frame(UPDATE), update(0)),
    setting("9220-3-boolean", "SETTINGS_ENABLE_CONNECT_PROTOCOL of 2", 0x8),
    setting("9297-2.1.1-boolean", "SETTINGS_H3_DATAGRAM of 2", 0x33),
    Case("9220-3-only-connect", ":protocol of a GET", MESSAGE_ERROR,
         on_request(fields(GET, SCHEME_HTTPS, LOCALHOST, PATH_ROOT, PROTOCOL), WHOLE), True),
    Case("9220-3-only-if-enabled", ":protocol which was not enabled", MESSAGE_ERROR,
         on_request(fields(CONNECT, SCHEME_HTTPS, LOCALHOST, PATH_ROOT, PROTOCOL), WHOLE), True),
]


@parametrized(CASES)
def test_a_fault_gets_its_exact_code_and_others_go_on(axum, case):
    assert_refused(axum.address, case, "/")


@parametrized(CASES)
def test_the_twin_without_the_fault_is_served(axum, case):
    assert_twin_served(axum.address, case, "/")


# req: 9218-4-ignore-unknown-parameters, 9218-5-ignore-broken
@pytest.mark.parametrize("value", ["u=9", "u=a", "u", "i=1", "u=1;x, later=(1 2)", "{}", "u=1,,", "\xff"])
def test_a_priority_that_is_broken_or_unknown_is_no_fault(axum, value):
    with Peer(axum.address).connect() as peer:
        peer.open_h3(EMPTY_SETTINGS + update(0, value.encode("latin-1")))
        request = peer.open_bidi(request_frame(headers=[("priority", value)]), fin=True)
        assert peer.response(request).status == 200
        assert peer.closed is None


# req: 9297-2.1.1-negotiated
def test_a_datagram_that_was_not_negotiated_is_refused_by_the_transport(axum):
    with Peer(axum.address).connect() as peer:
        peer.open_h3()
        peer.quic.send_raw_frame(b"\x31\x02\x00x")
        close = peer.wait_closed()
    assert (close.application, close.code) == (False, 0xA), close
    with Peer(axum.address).connect() as fresh:
        fresh.open_h3()
        assert fresh.request("/").status == 200
