"""The fifteen HTTP/3 cases of h3spec, with corrected bytes: the exact code, and life goes on.

Each case has a twin: the same bytes without the fault. The twin must be served, so a case cannot pass because the
server refuses something else.
"""

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
    on_streams,
    parametrized,
)
from h3raw import (
    CANCEL_PUSH,
    CONTROL,
    DATA,
    EMPTY_SETTINGS,
    GET,
    GREASE,
    MAX_PUSH_ID,
    PATH_ROOT,
    QPACK_DECODER,
    QPACK_ENCODER,
    SCHEME_HTTPS,
    frame,
    literal,
)


def close_control(peer, is_faulty):
    control, _, _ = peer.open_h3()
    peer.send(control, b"", fin=is_faulty)


CONTROL_SETTINGS = CONTROL + EMPTY_SETTINGS

CASES = [
    # req: 9114-4.1-frame-sequence
    Case("H01", "DATA before HEADERS", 0x105,
         on_request(frame(DATA, b"x") + WHOLE, WHOLE + frame(DATA, b"x"))),
    # req: 9114-4.3.1-exactly-one
    Case("H02", "a duplicated pseudo-header", 0x10E,
         on_request(fields(GET, SCHEME_HTTPS, LOCALHOST, PATH_ROOT, GET), WHOLE), True),
    # req: 9114-4.3.1-path
    Case("H03", "an absent mandatory pseudo-header", 0x10E,
         on_request(fields(GET, SCHEME_HTTPS, LOCALHOST), WHOLE), True),
    # req: 9114-4.3-unknown-pseudo
    Case("H04", "an undefined pseudo-header", 0x10E,
         on_request(fields(GET, SCHEME_HTTPS, LOCALHOST, PATH_ROOT, literal(":foo", "bar")),
                    fields(GET, SCHEME_HTTPS, LOCALHOST, PATH_ROOT, FOO)), True),
    # req: 9114-4.3-pseudo-first
    Case("H05", "a pseudo-header after a field", 0x10E,
         on_request(fields(GET, SCHEME_HTTPS, LOCALHOST, FOO, PATH_ROOT),
                    fields(GET, SCHEME_HTTPS, LOCALHOST, PATH_ROOT, FOO)), True),
    # req: 9114-6.2.1-settings-first
    Case("H06", "a first control frame which is not SETTINGS", 0x10A,
         on_control(frame(MAX_PUSH_ID, b"\x00"), EMPTY_SETTINGS + frame(MAX_PUSH_ID, b"\x00"))),
    # req: 9114-7.2.1-not-on-control-stream
    Case("H07", "DATA on the control stream", 0x105,
         on_control(EMPTY_SETTINGS + frame(DATA, b"x"), EMPTY_SETTINGS + frame(GREASE, b"x"))),
    # req: 9114-7.2.2-not-on-control-stream
    Case("H08", "HEADERS on the control stream", 0x105,
         on_control(EMPTY_SETTINGS + WHOLE, EMPTY_SETTINGS + frame(GREASE, WHOLE))),
    # req: 9114-7.2.4-once
    Case("H09", "a second SETTINGS", 0x105,
         on_control(EMPTY_SETTINGS * 2, EMPTY_SETTINGS)),
    # req: 9114-7.2.4.1-http2-settings
    Case("H10", "a setting of HTTP/2", 0x109,
         on_control(b"\x04\x03\x02\x40\xc8", b"\x04\x03\x21\x40\xc8")),
    # req: 9114-7.2.3-not-on-request-stream
    Case("H11", "CANCEL_PUSH on a request stream", 0x105,
         on_request(WHOLE + frame(CANCEL_PUSH, b"\x00"), WHOLE + frame(GREASE, b"\x00"))),
    # req: 9204-3.1-invalid-static-index
    Case("H12", "an index past the static table", 0x200,
         on_request(fields(GET, SCHEME_HTTPS, LOCALHOST, PATH_ROOT, b"\xff\x24"),
                    fields(GET, SCHEME_HTTPS, LOCALHOST, PATH_ROOT, b"\xff\x23"))),
    # req: 9204-4.3.1-capacity-limit
    Case("H13", "a table capacity above the limit", 0x201,
         on_streams((CONTROL_SETTINGS, QPACK_ENCODER + b"\x3f\xe1\xc7\xaf\xa0\x25", QPACK_DECODER),
                    (CONTROL_SETTINGS, QPACK_ENCODER + b"\x20", QPACK_DECODER))),
    # req: 9114-6.2.1-control-stays-open
    Case("H14", "a closed control stream", 0x104, close_control),
    # req: 9204-4.4.3-increment
    Case("H15", "an Insert Count Increment of 0", 0x202,
         on_streams((CONTROL_SETTINGS, QPACK_ENCODER, QPACK_DECODER + b"\x00"),
                    (CONTROL_SETTINGS, QPACK_ENCODER, QPACK_DECODER + b"\x40"))),
]


# req: 9114-4.1.2-malformed-is-stream-error
@parametrized(CASES)
def test_a_fault_gets_its_exact_code_and_others_go_on(files, case):
    assert_refused(files.address, case, "/small.txt")


@parametrized(CASES)
def test_the_twin_without_the_fault_is_served(files, case):
    assert_twin_served(files.address, case, "/small.txt")
