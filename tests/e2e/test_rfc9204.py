"""RFC 9204 on the wire: every rule of QPACK that a client can break, one case or more for each.

The server announces a table of 4096 bytes and 100 blocked streams, which is what the numbers here are about;
`test_the_server_announces_what_the_cases_assume` keeps them true.
"""

from h3case import (
    LOCALHOST,
    WHOLE,
    Case,
    assert_refused,
    assert_twin_served,
    fields,
    on_request,
    parametrized,
)
from h3raw import (
    CONTROL,
    EMPTY_SETTINGS,
    GET,
    HEADERS,
    PATH_ROOT,
    QPACK_DECODER,
    QPACK_ENCODER,
    SCHEME_HTTPS,
    SETTINGS,
    Peer,
    as_bytes,
    frame,
    frames,
    prefix_int,
)
from aioquic.buffer import Buffer

DECOMPRESSION_FAILED, ENCODER_STREAM_ERROR, DECODER_STREAM_ERROR = 0x200, 0x201, 0x202
STREAM_CREATION_ERROR, CLOSED_CRITICAL_STREAM = 0x103, 0x104
CAPACITY, BLOCKED_STREAMS = 4096, 100
REQUEST = (GET, SCHEME_HTTPS, LOCALHOST, PATH_ROOT)
# A name or value that begins here has another length than it says.
TOO_LARGE = b"\xff" * 11


# -- instructions (RFC 9204 §4.3) ---------------------------------------------------------------------------------


def capacity(value):
    return prefix_int(value, 5, 0x20)


def insert(name, value):
    name, value = as_bytes(name), as_bytes(value)
    return prefix_int(len(name), 5, 0x40) + name + prefix_int(len(value), 7, 0x00) + value


def insert_static(index, value=b""):
    return prefix_int(index, 6, 0xC0) + prefix_int(len(value), 7, 0x00) + value


def insert_dynamic(index, value=b""):
    return prefix_int(index, 6, 0x80) + prefix_int(len(value), 7, 0x00) + value


def duplicate(index):
    return prefix_int(index, 5, 0x00)


# -- field sections (RFC 9204 §4.5) -------------------------------------------------------------------------------


def referring(*lines, count=1, base=b"\x00"):
    """A request which also has lines of the table: `count` is the Required Insert Count, `base` the sign and delta."""
    encoded = prefix_int(count % (2 * (CAPACITY // 32)) + 1, 8, 0x00) if count else b"\x00"
    return frame(HEADERS, encoded + base + b"".join(REQUEST + lines))


def indexed(relative):
    return prefix_int(relative, 6, 0x80)


def post_base(index):
    return prefix_int(index, 4, 0x10)


# -- cases --------------------------------------------------------------------------------------------------------


def encoder(id, name, faulty, twin, code=ENCODER_STREAM_ERROR):
    """Instructions on the encoder stream."""

    def act(peer, is_faulty):
        peer.open_uni(CONTROL + EMPTY_SETTINGS)
        peer.open_uni(QPACK_ENCODER + (faulty if is_faulty else twin))

    return Case(id, name, code, act)


def decoder(id, name, faulty, twin):
    """Instructions on the decoder stream."""

    def act(peer, is_faulty):
        peer.open_uni(CONTROL + EMPTY_SETTINGS)
        peer.open_uni(QPACK_DECODER + (faulty if is_faulty else twin))

    return Case(id, name, DECODER_STREAM_ERROR, act)


def section(id, name, instructions, faulty, twin):
    """A field section after instructions."""

    def act(peer, is_faulty):
        peer.open_uni(CONTROL + EMPTY_SETTINGS)
        peer.open_uni(QPACK_ENCODER + instructions)
        return peer.open_bidi(faulty if is_faulty else twin, fin=True)

    return Case(id, name, DECOMPRESSION_FAILED, act)


def line(id, name, faulty, twin):
    """One more line of a request, as bytes."""
    act = on_request(fields(*REQUEST, faulty), fields(*REQUEST, twin))
    return Case(id, name, DECOMPRESSION_FAILED, act)


def unidirectional(id, name, code, bodies, twin):
    def act(peer, is_faulty):
        for body in bodies if is_faulty else twin:
            peer.open_uni(body)

    return Case(id, name, code, act)


def closed(id, name, which, by_reset):
    def act(peer, is_faulty):
        streams = peer.open_h3()
        assert peer.request("/").status == 200
        if is_faulty and by_reset:
            peer.reset(streams[which], 0x100)
        elif is_faulty:
            peer.send(streams[which], b"", fin=True)

    return Case(id, name, CLOSED_CRITICAL_STREAM, act)


def block(peer, is_faulty):
    """As many requests as may block on an insertion that is not there, and one more."""
    peer.open_h3()
    peer.earn_streams(BLOCKED_STREAMS + 2)
    for _ in range(BLOCKED_STREAMS + is_faulty):
        peer.open_bidi(referring(indexed(0)), fin=True)


def huffman(*value):
    """A literal line `x`, whose value is these bytes of Huffman code."""
    return b"\x21x" + prefix_int(len(value), 7, 0x80) + bytes(value)


ONE = capacity(CAPACITY) + insert("foo", "bar")
TWO = ONE + insert("second", "entry")
# Room for one entry of 38 bytes, so that the second evicts the first.
EVICTED = capacity(64) + insert("foo", "bar") + insert("foo", "two")
STREAMS = (CONTROL + EMPTY_SETTINGS, QPACK_ENCODER, QPACK_DECODER)
UNUSED = b"\x21"

CASES = [
    Case("9204-2.2.1-blocked-limit", "one blocked stream too many", DECOMPRESSION_FAILED, block),
    section("9204-2.2.1-required-insert-count-too-small", "a reference past the count", TWO,
            referring(post_base(0), count=1), referring(post_base(0), count=2, base=b"\x80")),
    section("9204-2.2.1-required-insert-count-too-small", "a reference with a count of 0", ONE,
            referring(indexed(0), count=0), referring(indexed(0))),
    section("9204-2.2.3-invalid-reference-in-section", "an evicted entry", EVICTED,
            referring(indexed(1), count=2), referring(indexed(0), count=2)),
    section("9204-2.2.3-invalid-reference-in-section", "an index below the first", ONE,
            referring(indexed(1)), referring(indexed(0))),
    encoder("9204-2.2.3-invalid-reference-on-encoder-stream", "a duplicate of nothing",
            capacity(CAPACITY) + duplicate(0), ONE + duplicate(0)),
    encoder("9204-2.2.3-invalid-reference-on-encoder-stream", "a name of nothing",
            ONE + insert_dynamic(1), ONE + insert_dynamic(0)),
    encoder("9204-3.1-invalid-static-index", "a name past the static table",
            capacity(CAPACITY) + insert_static(99), capacity(CAPACITY) + insert_static(98)),
    encoder("9204-3.2.2-entry-larger-than-table", "an entry of one byte too many",
            capacity(37) + insert("foo", "bar"), capacity(38) + insert("foo", "bar")),
    encoder("9204-3.2.2-entry-larger-than-table", "an entry before a capacity",
            insert("foo", "bar"), ONE),
    line("9204-4.1.1-integers-of-62-bits", "an index too large to hold", TOO_LARGE, b"\xff\x23"),
    encoder("9204-4.1.1-integers-of-62-bits", "a capacity too large to hold",
            b"\x3f" + TOO_LARGE, capacity(CAPACITY)),
    # `0` is five zeros; what follows in its byte is padding.
    line("9204-4.1.2-huffman-padding", "padding of zeros", huffman(0x00), huffman(0x07)),
    line("9204-4.1.2-huffman-padding", "a whole byte of padding", huffman(0x07, 0xFF), huffman(0x07)),
    line("9204-4.1.2-huffman-eos", "the end of the string", huffman(0xFF, 0xFF, 0xFF, 0xFF),
         huffman(0x07)),
    encoder("9204-4.1.2-huffman-padding", "padding of zeros in an instruction",
            capacity(CAPACITY) + b"\x41x\x81\x00", capacity(CAPACITY) + b"\x41x\x81\x07"),
    unidirectional("9204-4.2-streams-once", "a second encoder stream", STREAM_CREATION_ERROR,
                   (*STREAMS, QPACK_ENCODER), (*STREAMS, UNUSED)),
    unidirectional("9204-4.2-streams-once", "a second decoder stream", STREAM_CREATION_ERROR,
                   (*STREAMS, QPACK_DECODER), (*STREAMS, UNUSED)),
    *(closed("9204-4.2-streams-not-closed", f"the {name} stream {how}", which, how == "reset")
      for which, name in ((1, "encoder"), (2, "decoder")) for how in ("ended", "reset")),
    encoder("9204-4.3.1-capacity-limit", "a capacity of one byte too many",
            capacity(CAPACITY + 1), capacity(CAPACITY)),
    decoder("9204-4.4.1-nothing-to-acknowledge", "an acknowledgment of nothing", b"\x80", b"\x40"),
    decoder("9204-4.4.3-increment", "an increment of 0", b"\x00", b""),
    decoder("9204-4.4.3-increment", "an increment beyond what was inserted", b"\x01", b""),
    section("9204-4.5.1.1-invalid-required-insert-count", "a count no encoder can produce", ONE,
            frame(HEADERS, prefix_int(2 * (CAPACITY // 32) + 1, 8, 0) + b"\x00" + b"".join(REQUEST)),
            referring(indexed(0))),
    section("9204-4.5.1.2-base-not-negative", "a base of -1", ONE,
            referring(count=1, base=b"\x81"), referring(post_base(0), count=1, base=b"\x80")),
    encoder("9204-7.4-literal-limit", "a name longer than the table",
            capacity(CAPACITY) + prefix_int(1 << 20, 5, 0x40), capacity(CAPACITY)),
]


@parametrized(CASES)
def test_a_fault_gets_its_exact_code_and_others_go_on(axum, case):
    assert_refused(axum.address, case, "/")


@parametrized(CASES)
def test_the_twin_without_the_fault_is_served(axum, case):
    assert_twin_served(axum.address, case, "/")


def announced(peer):
    """The server's settings, from its control stream."""
    control = peer.stream(3).received
    peer.pump(lambda: len(control) > 2 and len(control) >= control[2] + 3)
    assert control[:1] == CONTROL
    kind, payload = frames(bytes(control[1:]))[0]
    assert kind == SETTINGS
    buffer, settings = Buffer(data=payload), {}
    while not buffer.eof():
        setting, value = buffer.pull_uint_var(), buffer.pull_uint_var()
        settings[setting] = value
    return settings


def test_the_server_announces_what_the_cases_assume(axum):
    with Peer(axum.address).connect() as peer:
        settings = announced(peer)
    assert (settings[0x1], settings[0x7]) == (CAPACITY, BLOCKED_STREAMS)


# req: 9204-4.5-field-lines, 9204-4.3-instructions, 9204-3.2-duplicates-allowed, 9204-4.2-streams-allowed
def test_every_form_of_line_and_instruction_is_understood_byte_by_byte(axum):
    instructions = TWO + insert_static(95, b"x") + insert_dynamic(0, b"y") + duplicate(0)
    names = (b"\x5f\x1d\x01z", b"\x43\x01z", b"\x00\x01z", b"\x21x\x01z")
    lines = (b"\xff\x23", indexed(3), post_base(0), *names)
    with Peer(axum.address).connect() as peer:
        peer.open_uni(CONTROL + EMPTY_SETTINGS)
        encoder = peer.open_uni(QPACK_ENCODER)
        stream = peer.open_bidi(referring(*lines, count=5, base=b"\x80"), fin=True)
        for byte in instructions:
            peer.send(encoder, bytes([byte]))
        assert peer.response(stream).status == 200
        assert peer.closed is None
