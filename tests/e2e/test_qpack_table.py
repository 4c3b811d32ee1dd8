"""The dynamic tables of QPACK, in both directions with another implementation (ls-qpack): what they save, no stalls."""

import pylsqpack
import pytest

from h3raw import CONTROL, HEADERS, QPACK_DECODER, QPACK_ENCODER, SETTINGS, Peer, frame, frames, prefix_int

CAPACITY, BLOCKED_STREAMS = 4096, 100
ROUNDS = 4
PAGE = [f"/assets/{index}.svg" for index in range(40)] + [f"/assets/{index}.css" for index in range(5)]
# What a browser sends with each.
BROWSER = [
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"),
    ("accept", "image/avif,image/webp,image/svg+xml,image/*,*/*;q=0.8"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9,de;q=0.8"),
    ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
    ("referer", "https://localhost/page.html"),
    ("sec-fetch-dest", "image"),
    ("sec-fetch-mode", "no-cors"),
]


class Browser(Peer):
    """A client with tables of `capacity` bytes, whose instructions come late on purpose if `late`."""

    def __init__(self, address, capacity, late=False):
        super().__init__(address)
        self._capacity, self._late = capacity, late
        self._decoder = pylsqpack.Decoder(capacity, BLOCKED_STREAMS)
        self._encoder = pylsqpack.Encoder()
        self._heard, self._acknowledged = {}, 0
        self.sent = self.received = self.instructions = 0

    def open(self):
        settings = b"\x01" + self._varint(self._capacity) + b"\x07" + self._varint(BLOCKED_STREAMS)
        self.open_uni(CONTROL + frame(SETTINGS, settings))
        self._instructions = self.open_uni(QPACK_ENCODER)
        self._acknowledgments = self.open_uni(QPACK_DECODER)
        if self._capacity:
            self._say(self._encoder.apply_settings(self._capacity, BLOCKED_STREAMS))
        return self

    @staticmethod
    def _varint(value):
        return (0x4000 | value).to_bytes(2, "big")

    def get(self, path):
        """One request; its status and body. Counts every byte of QPACK."""
        stream = self.quic.get_next_available_stream_id()
        pseudo = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
        lines = [(name.encode(), value.encode()) for name, value in pseudo + BROWSER]
        instructions, section = self._encoder.encode(stream, lines)
        self._say(instructions)
        self.sent += len(section)
        self.send(stream, frame(HEADERS, section), fin=True)
        state = self.stream(stream)
        assert self.pump(lambda: state.settled or self.closed, 5) and state.ended, (state, self.closed)
        if not self._late:
            self._hear()
        [head, *rest] = frames(bytes(state.received))
        self.received += len(head[1])
        # A section that had to wait for the encoder stream would raise StreamBlocked.
        acknowledgment, decoded = self._decoder.feed_header(stream, head[1])
        self.send(self._acknowledgments, acknowledgment)
        if self._late:
            self._hear()
        return dict(decoded)[b":status"], b"".join(payload for _, payload in rest)

    def _say(self, instructions):
        self.sent += len(instructions)
        if instructions:
            self.send(self._instructions, instructions)

    def _hear(self):
        """Reads what came on the server's two streams of QPACK."""
        for stream, state in self.streams.items():
            if stream % 4 != 3:
                continue
            news = bytes(state.received[self._heard.get(stream, 1) :])
            self._heard[stream] = max(1, len(state.received))
            if state.received[:1] == QPACK_ENCODER and news:
                self.instructions += len(news)
                self._decoder.feed_encoder(news)
                # The binding has no Insert Count Increment (RFC 9204 §4.4.3), so it is written by hand.
                count = insertions(bytes(state.received[1:]))
                if count > self._acknowledged:
                    self.send(self._acknowledgments, prefix_int(count - self._acknowledged, 6, 0x00))
                    self._acknowledged = count
            elif state.received[:1] == QPACK_DECODER:
                self._encoder.feed_decoder(news)


def insertions(data):
    """How many entries the whole instructions in `data` insert (RFC 9204 §4.3)."""
    count, at = 0, 0

    def integer(bits):
        nonlocal at
        value, at = data[at] & (1 << bits) - 1, at + 1
        if value < (1 << bits) - 1:
            return value
        shift = 0
        while True:
            byte, at = data[at], at + 1
            value += (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    def text(bits):
        nonlocal at
        length = integer(bits)
        at += length

    try:
        while at < len(data):
            first = data[at]
            if first & 0xE0 == 0x20:
                integer(5)  # Set Dynamic Table Capacity
                continue
            if first & 0x80:
                integer(6)  # The name is an entry's, the value follows.
                text(7)
            elif first & 0x40:
                text(5)
                text(7)
            else:
                integer(5)  # Duplicate
            count += at <= len(data)
    except IndexError:
        pass  # The rest of an instruction is on its way.
    return count


@pytest.fixture
def load(files, site):
    """Loads the page some times; the client that did."""

    def run(capacity, late=False):
        with Browser(files.address, capacity, late).connect() as browser:
            browser.open()
            for path in PAGE * ROUNDS:
                assert browser.get(path) == (b"200", site.content(path[1:]))
            assert browser.closed is None
            return browser

    return run


def test_tables_save_bytes_in_both_directions(load):
    plain, table = load(0), load(CAPACITY)
    assert plain.instructions == 0 and table.instructions > 0
    up, down = table.sent / plain.sent, (table.received + table.instructions) / plain.received
    print(f"requests: {plain.sent} bytes, with a table {table.sent} ({up:.0%})")
    print(f"responses: {plain.received} bytes, with a table {table.received} and {table.instructions} "
          f"of instructions ({down:.0%})")
    assert up < 0.2 and down < 0.5


# req: 9204-2.1.2-blocked-streams-limit
def test_a_response_never_waits_for_instructions_that_are_late(load):
    # Instructions are read after the section of the same response: a section which needed them would raise.
    late = load(CAPACITY, late=True)
    assert late.instructions > 0
