"""RFC 9114 on the wire: every rule that a client can break, one case or more for each."""

import pytest

from h3case import (
    FOO,
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
    CANCEL_PUSH,
    CONTROL,
    DATA,
    EMPTY_SETTINGS,
    GET,
    GOAWAY,
    GREASE,
    HEADERS,
    MAX_PUSH_ID,
    PATH_ROOT,
    QPACK_DECODER,
    QPACK_ENCODER,
    SCHEME_HTTPS,
    SETTINGS,
    Peer,
    authority,
    frame,
    literal,
    request_frame,
    request_section,
    section,
)

PUSH_PROMISE = 0x5
PUSH = b"\x01"
FRAME_UNEXPECTED, FRAME_ERROR, ID_ERROR, SETTINGS_ERROR = 0x105, 0x106, 0x108, 0x109
STREAM_CREATION_ERROR, CLOSED_CRITICAL_STREAM, MESSAGE_ERROR = 0x103, 0x104, 0x10E


def malformed(id, name, faulty, twin, status=200):
    """A message that ends its stream alone."""
    return Case(id, name, MESSAGE_ERROR, on_request(faulty, twin), True, status)


def with_field(id, name, faulty, twin):
    """A request with one more field."""
    faulty, twin = (request_frame(headers=[line]) for line in (faulty, twin))
    return malformed(id, name, faulty, twin)


def pseudo(id, name, faulty, twin=(GET, SCHEME_HTTPS, LOCALHOST, PATH_ROOT), status=200):
    """A request of these lines alone."""
    return malformed(id, name, fields(*faulty), fields(*twin), status)


def control(id, name, code, faulty, twin):
    """Frames on the control stream, after SETTINGS."""
    return Case(id, name, code, on_control(EMPTY_SETTINGS + faulty, EMPTY_SETTINGS + twin))


def settings(id, name, code, faulty, twin):
    """The payload of SETTINGS."""
    return Case(id, name, code, on_control(frame(SETTINGS, faulty), frame(SETTINGS, twin)))


def request(id, name, code, faulty, twin):
    """Frames on a request stream."""
    return Case(id, name, code, on_request(faulty, twin))


def unidirectional(id, name, code, faulty, twin):
    """One more unidirectional stream."""

    def act(peer, is_faulty):
        peer.open_h3()
        peer.open_uni(faulty if is_faulty else twin)

    return Case(id, name, code, act)


def stopped(id, name, stream):
    """One of the server's own streams is not wanted; the twin is a response that is not."""

    def act(peer, is_faulty):
        peer.open_h3()
        request = peer.open_bidi(WHOLE[:3])
        peer.pump(lambda: len(peer.stream(stream).received) > 0)
        peer.stop_sending(stream if is_faulty else request, 0x100)

    return Case(id, name, CLOSED_CRITICAL_STREAM, act)


def reset_control(peer, is_faulty):
    control, _, _ = peer.open_h3()
    # What is reset before its type was read is no control stream to anyone.
    assert peer.request("/").status == 200
    if is_faulty:
        peer.reset(control, 0x100)


def upload(*parts, length=4, trailers=None):
    """A POST which announces `length`, with so many DATA frames."""
    head = request_frame("POST", "/sha256", headers=[("content-length", str(length))])
    body = b"".join(frame(DATA, part) for part in parts)
    return head + body + (trailers or b"")


TRAILERS = fields(FOO)
POST = request_frame("POST", "/sha256")


def pseudo_lines(method="GET", scheme="https", host="localhost", path="/"):
    named = {":method": method, ":scheme": scheme, ":authority": host, ":path": path}
    return [literal(name, value) for name, value in named.items() if value is not None]


def connect(*lines):
    return fields(literal(":method", "CONNECT"), *lines)


TUNNEL = connect(authority("localhost:443"))
TWIN_LENGTH = upload(b"four")

MESSAGES = [
    with_field("9114-4.1-no-transfer-codings", "transfer-encoding",
               ("transfer-encoding", "chunked"), ("x-encoding", "chunked")),
    malformed("9114-4.1-one-response", "a second request on the stream",
              WHOLE + WHOLE, WHOLE + TRAILERS),
    malformed("9114-4.1.2-content-length", "less content, ended with it", upload(b"one"), TWIN_LENGTH),
    malformed("9114-4.1.2-content-length", "no content", upload(), TWIN_LENGTH),
    malformed("9114-4.1.2-content-length", "more content", upload(b"fo", b"ur+"), upload(b"fo", b"ur")),
    malformed("9114-4.1.2-content-length", "less content, ended by trailers",
              upload(b"one", trailers=TRAILERS), upload(b"four", trailers=TRAILERS)),
    malformed("9114-4.1.2-content-length", "content although 0 was announced",
              upload(b"x", length=0), upload(length=0)),
    *(malformed("9114-4.1.2-content-length", f"content-length: {value}",
                upload(b"four", length=value), TWIN_LENGTH)
      for value in ("+4", "-4", "4, 5", "0x4", "", "18446744073709551616")),
    malformed("9114-4.1.2-content-length", "two that differ",
              request_frame("POST", "/sha256", headers=[("content-length", "4"), ("content-length", "5")])
              + frame(DATA, b"four"), TWIN_LENGTH),
    with_field("9114-4.2-lowercase-names", "an uppercase letter", ("Foo", "bar"), ("foo", "bar")),
    *(with_field("9114-4.2-connection-specific", name, (name, "close"), (f"x-{name}", "close"))
      for name in ("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade")),
    with_field("9114-4.2-te", "te: gzip", ("te", "gzip"), ("te", "trailers")),
    with_field("9114-4.2-te", "te: trailers, gzip", ("te", "trailers, gzip"), ("te", "trailers")),
    malformed("9114-4.3-no-pseudo-in-trailers", "a pseudo-header in trailers",
              POST + fields(PATH_ROOT), POST + TRAILERS),
    pseudo("9114-4.3-response-pseudo-in-request", ":status",
           (*pseudo_lines(), literal(":status", "200"))),
    *(pseudo("9114-4.3.1-exactly-one", f"{name} twice", (*pseudo_lines(), literal(name, value)))
      for name, value in ((":scheme", "https"), (":authority", "localhost"), (":path", "/"))),
    pseudo("9114-4.3.1-method", "no :method", pseudo_lines(method=None)),
    pseudo("9114-4.3.1-method", "an empty :method", pseudo_lines(method="")),
    pseudo("9114-4.3.1-method", "a :method with a space", pseudo_lines(method="G T")),
    pseudo("9114-4.3.1-scheme", "no :scheme", pseudo_lines(scheme=None)),
    pseudo("9114-4.3.1-scheme", "a :scheme which is none", pseudo_lines(scheme="1https")),
    pseudo("9114-4.3.1-path-not-empty", "an empty :path", pseudo_lines(path="")),
    pseudo("9114-4.3.1-path-absolute", "a relative :path", pseudo_lines(path="index.html")),
    pseudo("9114-4.3.1-path-absolute", "the asterisk of a GET", pseudo_lines(path="*")),
    pseudo("9114-4.3.1-path-absolute", "a :path with a fragment", pseudo_lines(path="/#top")),
    pseudo("9114-4.3.1-path-absolute", "a :path with a space", pseudo_lines(path="/a b")),
    pseudo("9114-4.3.1-authority-or-host", "neither :authority nor host",
           pseudo_lines(host=None), (*pseudo_lines(host=None), literal("host", "localhost"))),
    pseudo("9114-4.3.1-authority-not-empty", "an empty :authority", pseudo_lines(host="")),
    pseudo("9114-4.3.1-authority-not-empty", "an empty host",
           (*pseudo_lines(host=None), literal("host", "")),
           (*pseudo_lines(host=None), literal("host", "localhost"))),
    pseudo("9114-4.3.1-host-matches", "another host",
           (*pseudo_lines(), literal("host", "example.org")),
           (*pseudo_lines(), literal("host", "localhost"))),
    pseudo("9114-4.3.1-no-userinfo", "userinfo", pseudo_lines(host="me@localhost")),
    malformed("9114-4.4-connect", "CONNECT with :scheme",
              connect(SCHEME_HTTPS, authority("localhost:443")), WHOLE),
    malformed("9114-4.4-connect", "CONNECT with :path",
              connect(authority("localhost:443"), PATH_ROOT), WHOLE),
    malformed("9114-4.4-connect", "CONNECT without a port", connect(LOCALHOST), WHOLE),
    malformed("9114-4.4-connect", "CONNECT without :authority", connect(), WHOLE),
    *(with_field("9114-10.3-name-characters", f"{name!r}", (name, "x"), ("name", "x"))
      for name in ("na me", "na\x00me", "name\n", "na(me", "na\xe9me", "")),
    *(with_field("9114-10.3-value-characters", f"{value!r}", ("name", value), ("name", "va lue"))
      for value in ("va\x00lue", "va\rlue", "va\nlue", "va\r\nx: y", "value\x7f")),
]

# A type of HTTP/2 that HTTP/3 has reserved, on either kind of stream.
HTTP2_FRAMES = [
    build("9114-7.2.8-http2-frames", f"type {kind:#x} of HTTP/2 {where}", FRAME_UNEXPECTED,
          before + frame(kind, b"\x00"), before + frame(GREASE, b"\x00"))
    for kind in (0x2, 0x6, 0x8, 0x9)
    for build, before, where in ((control, b"", "on the control stream"),
                                 (request, WHOLE, "on a request stream"))
]

CONNECTION = [
    request("9114-4.1-frame-sequence", "DATA after trailers", FRAME_UNEXPECTED,
            POST + TRAILERS + frame(DATA, b"x"), POST + frame(DATA, b"x") + TRAILERS),
    request("9114-4.1-frame-sequence", "HEADERS after trailers", FRAME_UNEXPECTED,
            POST + TRAILERS + TRAILERS, POST + TRAILERS),
    Case("9114-4.4-only-data", "HEADERS in a tunnel", FRAME_UNEXPECTED,
         on_request(TUNNEL + TRAILERS, WHOLE + TRAILERS)),
    control("9114-5.2-no-increase", "a larger GOAWAY", ID_ERROR,
            frame(GOAWAY, b"\x04") + frame(GOAWAY, b"\x05"),
            frame(GOAWAY, b"\x05") + frame(GOAWAY, b"\x04")),
    Case("9114-6.2.1-control-stays-open", "a reset control stream", CLOSED_CRITICAL_STREAM,
         reset_control),
    *(stopped("9114-6.2.1-control-not-stopped", f"STOP_SENDING for stream {stream}", stream)
      for stream in (3, 7, 11)),
    unidirectional("9114-6.2.1-one-control-stream", "a second control stream",
                   STREAM_CREATION_ERROR, CONTROL + EMPTY_SETTINGS, b"\x21" + EMPTY_SETTINGS),
    unidirectional("9114-6.2.2-only-servers-push", "a push stream", STREAM_CREATION_ERROR,
                   PUSH + b"\x00", b"\x21\x00"),
    settings("9114-7.1-payload-fits", "SETTINGS without a value", FRAME_ERROR, b"\x06", b"\x06\x7f\xff"),
    settings("9114-7.1-payload-fits", "SETTINGS that end in a value", FRAME_ERROR,
             b"\x21\x40", b"\x21\x40\x40"),
    *(control("9114-7.1-payload-fits", f"{name} {what}", FRAME_ERROR,
              frame(kind, payload), frame(GREASE, payload))
      for kind, name in ((GOAWAY, "GOAWAY"), (MAX_PUSH_ID, "MAX_PUSH_ID"), (CANCEL_PUSH, "CANCEL_PUSH"))
      for payload, what in ((b"", "without an id"), (b"\x40", "that ends in its id"),
                            (b"\x00\x00", "with a byte too many"))),
    *(request("9114-7.1-stream-ends-between-frames", f"the end within {what}", FRAME_ERROR,
              whole[:-cut], whole)
      for what, whole, cut in (("HEADERS", WHOLE, 1), ("DATA", WHOLE + frame(DATA, b"four"), 1),
                               ("a length", WHOLE + frame(DATA, bytes(64)), 65),
                               ("a type", WHOLE + frame(0x40), 2),
                               ("a reserved frame", WHOLE + frame(GREASE, b"four"), 4))),
    control("9114-7.2.3-known-push", "CANCEL_PUSH for no push", ID_ERROR,
            frame(CANCEL_PUSH, b"\x00"), frame(GREASE, b"\x00")),
    settings("9114-7.2.4-no-duplicates", "a setting twice", SETTINGS_ERROR,
             b"\x06\x7f\xff\x06\x7f\xff", b"\x06\x7f\xff\x21\x3f"),
    request("9114-7.2.4-not-on-request-stream", "SETTINGS on a request stream", FRAME_UNEXPECTED,
            WHOLE + EMPTY_SETTINGS, WHOLE + frame(GREASE)),
    *(settings("9114-7.2.4.1-http2-settings", f"setting {id:#x}", SETTINGS_ERROR,
               bytes([id, 1]), b"\x21\x01")
      for id in (0x2, 0x3, 0x4, 0x5)),
    request("9114-7.2.5-not-from-client", "PUSH_PROMISE", FRAME_UNEXPECTED,
            WHOLE + frame(PUSH_PROMISE, b"\x00" + section(FOO)), WHOLE + frame(GREASE, b"\x00")),
    control("9114-7.2.5-not-on-control-stream", "PUSH_PROMISE", FRAME_UNEXPECTED,
            frame(PUSH_PROMISE, b"\x00" + section(FOO)), frame(GREASE, b"\x00")),
    request("9114-7.2.6-not-on-request-stream", "GOAWAY on a request stream", FRAME_UNEXPECTED,
            WHOLE + frame(GOAWAY, b"\x00"), WHOLE + frame(GREASE, b"\x00")),
    request("9114-7.2.7-not-on-request-stream", "MAX_PUSH_ID on a request stream",
            FRAME_UNEXPECTED, WHOLE + frame(MAX_PUSH_ID, b"\x00"), WHOLE + frame(GREASE, b"\x00")),
    control("9114-7.2.7-no-decrease", "a smaller MAX_PUSH_ID", ID_ERROR,
            frame(MAX_PUSH_ID, b"\x05") + frame(MAX_PUSH_ID, b"\x04"),
            frame(MAX_PUSH_ID, b"\x04") + frame(MAX_PUSH_ID, b"\x05")),
    *HTTP2_FRAMES,
]

OTHER = [
    Case("9114-4.1-incomplete-request", "an end before a request", 0x10D,
         on_request(b"", WHOLE), True),
    Case("9114-4.1-incomplete-request", "an end after a reserved frame", 0x10D,
         on_request(frame(GREASE, b"x"), frame(GREASE, b"x") + WHOLE), True),
]

CASES = MESSAGES + CONNECTION + OTHER


@parametrized(CASES)
def test_a_fault_gets_its_exact_code_and_others_go_on(axum, case):
    assert_refused(axum.address, case, "/")


@parametrized(CASES)
def test_the_twin_without_the_fault_is_served(axum, case):
    assert_twin_served(axum.address, case, "/")


# req: 9114-4.1-extension-frames, 9114-7.2.8-reserved-frames, 9114-9-ignore-unknown-frames
# req: 9114-7.2.4-ignore-unknown, 9114-7.2.4.1-ignore-reserved
# req: 9114-6.2-unknown-types, 9114-6.2.3-reserved-types, 9114-6.2-closed-without-type
@pytest.mark.parametrize("kind", [GREASE, 0x1F * 1000 + 0x21, 0x3FFFFFFF])
def test_what_is_unknown_means_nothing_wherever_it_is(axum, kind):
    unknown = frame(kind, b"what")
    with Peer(axum.address).connect() as peer:
        settings = frame(SETTINGS, frame(kind)[:-1] + b"\x07")
        peer.open_h3(settings + unknown)
        for body, fin in ((b"\x21" + unknown, False), (b"\x40\x21", True), (b"", True)):
            peer.send(peer.quic.get_next_available_stream_id(is_unidirectional=True), body, fin)
        pieces = (POST, frame(DATA, b"fo"), frame(DATA, b"ur"), TRAILERS)
        stream = peer.open_bidi(unknown + unknown.join(pieces) + unknown, fin=True)
        assert peer.response(stream).status == 200
        assert peer.request("/").status == 200 and peer.closed is None


# req: 9114-4.2.2-too-large
def test_a_field_section_above_the_limit_is_answered_431_and_one_below_is_served(axum):
    def sized(size):
        # 32 bytes are counted for each line beside its name and value (RFC 9114 §4.2.2).
        return frame(HEADERS, request_section(headers=[("a", "b" * (size - 33))]))

    with Peer(axum.address).connect() as peer:
        peer.open_h3()
        limit = 64 * 1024
        served = peer.open_bidi(sized(limit - 1000), fin=True)
        refused = peer.open_bidi(sized(limit + 1), fin=True)
        assert [peer.response(stream).status for stream in (served, refused)] == [200, 431]
        assert peer.request("/").status == 200
