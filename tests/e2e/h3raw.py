"""An HTTP/3 peer that can break every rule: aioquic's QUIC below, bytes written by hand above.

`Peer` drives one connection without threads or asyncio: every call pumps the socket until something asked for has
happened. It says nothing on its own: control streams, frames and fields are what the test writes. To break QUIC as
well, pass a subclass of `Connection` and use its hooks: transport parameters, raw frames, header bits before
encryption, CRYPTO bytes.
"""

import select
import socket
import ssl
import time
from dataclasses import dataclass, field

import pylsqpack
from aioquic.buffer import Buffer, encode_uint_var
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import (
    ConnectionTerminated,
    HandshakeCompleted,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)
from aioquic.quic.packet import QuicFrameType

# Frame types (RFC 9114 §7.2).
DATA, HEADERS, CANCEL_PUSH, SETTINGS, GOAWAY, MAX_PUSH_ID = 0x0, 0x1, 0x3, 0x4, 0x7, 0xD
# A reserved type, which means nothing (RFC 9114 §7.2.8).
GREASE = 0x21
# Prefixes of unidirectional streams (RFC 9114 §6.2, RFC 9204 §4.2).
CONTROL, QPACK_ENCODER, QPACK_DECODER = b"\x00", b"\x02", b"\x03"

PATIENCE = 30.0
EMPTY_SETTINGS = b"\x04\x00"
# Indexed static fields (RFC 9204 appendix A).
GET, SCHEME_HTTPS, PATH_ROOT = b"\xd1", b"\xd7", b"\xc1"


def frame(kind, payload=b""):
    return encode_uint_var(kind) + encode_uint_var(len(payload)) + payload


def prefix_int(value, bits, first):
    """A prefixed integer (RFC 7541 §5.1) after the bits of `first`."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([first | value])
    value -= limit
    out = bytearray([first | limit])
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    out.append(value)
    return bytes(out)


def literal(name, value):
    """A literal field line with a literal name, no Huffman, any bytes."""
    name, value = as_bytes(name), as_bytes(value)
    return prefix_int(len(name), 3, 0x20) + name + prefix_int(len(value), 7, 0x00) + value


def as_bytes(text):
    return text.encode("latin-1") if isinstance(text, str) else bytes(text)


def authority(value="localhost"):
    """`:authority` by its static name."""
    return b"\x50" + prefix_int(len(as_bytes(value)), 7, 0x00) + as_bytes(value)


def section(*lines):
    """A field section that uses no dynamic table."""
    return b"\x00\x00" + b"".join(lines)


def request_section(method="GET", path="/", host="localhost", headers=()):
    pseudo = [literal(":method", method), SCHEME_HTTPS, authority(host), literal(":path", path)]
    return section(*pseudo, *(literal(name, value) for name, value in headers))


def request_frame(method="GET", path="/", host="localhost", headers=()):
    return frame(HEADERS, request_section(method, path, host, headers))


@dataclass
class Stream:
    """What has come back on one stream."""

    received: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None
    stopped: int | None = None

    @property
    def settled(self):
        return self.ended or self.reset is not None


@dataclass(frozen=True)
class Close:
    """How the peer closed the connection: `application` tells 0x1d from 0x1c."""

    application: bool
    code: int
    reason: str


@dataclass
class Response:
    """A response, parsed from a finished request stream."""

    informational: list
    headers: list
    body: bytes
    trailers: list

    @property
    def status(self):
        return int(dict(self.headers)[":status"])

    def header(self, name):
        return dict(self.headers).get(name)


class Connection(QuicConnection):
    """A QUIC connection with places to put a fault.

    Every hook does nothing by default:
    `edit_transport_parameters(bytes) -> bytes`, `edit_packet(header, payload, packet_number) -> (header, payload)`.
    """

    edit_transport_parameters = None
    edit_packet = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.closed_by_peer = None
        self._raw_frames = []

    # -- faults ---------------------------------------------------------------------------------------------------

    def send_raw_frame(self, body):
        """Sends `body`, frame type included, in the next 1-RTT packet."""
        self._raw_frames.append(body)
        self.send_ping(uid=0)

    def send_crypto(self, epoch, body):
        """Appends `body` to the CRYPTO stream of `epoch`."""
        self._crypto_streams[epoch].sender.write(body)

    def _serialize_transport_parameters(self):
        parameters = super()._serialize_transport_parameters()
        if self.edit_transport_parameters:
            parameters = self.edit_transport_parameters(parameters)
        return parameters

    def _write_ping_frame(self, builder, uids=[], comment=""):
        if not self._raw_frames:
            return super()._write_ping_frame(builder, uids, comment)
        for body in self._raw_frames:
            buffer = Buffer(data=body)
            kind = buffer.pull_uint_var()
            start = builder.start_frame(kind, capacity=len(body))
            start.push_bytes(body[buffer.tell() :])
        self._raw_frames = []

    def _initialize(self, *args, **kwargs):
        super()._initialize(*args, **kwargs)
        for pair in self._cryptos.values():
            self._hook_encryption(pair)

    def _hook_encryption(self, pair):
        encrypt = pair.encrypt_packet

        def edited(plain_header, plain_payload, packet_number):
            if self.edit_packet:
                plain_header, plain_payload = self.edit_packet(
                    plain_header, plain_payload, packet_number
                )
            return encrypt(plain_header, plain_payload, packet_number)

        pair.encrypt_packet = edited

    # -- oracle ---------------------------------------------------------------------------------------------------

    def _handle_connection_close_frame(self, context, frame_type, buf):
        start = buf.tell()
        code = buf.pull_uint_var()
        application = frame_type == QuicFrameType.APPLICATION_CLOSE
        if not application:
            buf.pull_uint_var()
        reason = buf.pull_bytes(buf.pull_uint_var()).decode(errors="replace")
        self.closed_by_peer = Close(application, code, reason)
        buf.seek(start)
        super()._handle_connection_close_frame(context, frame_type, buf)


class Peer:
    """One connection to the server under test, driven by whoever calls."""

    def __init__(self, address, connection=Connection, max_data=None, **configuration):
        configuration.setdefault("alpn_protocols", ["h3"])
        configuration.setdefault("server_name", "localhost")
        self.configuration = QuicConfiguration(
            is_client=True, verify_mode=ssl.CERT_NONE, **configuration
        )
        if max_data:
            self.configuration.max_data = self.configuration.max_stream_data = max_data
        self.tickets = []
        self.quic = connection(
            configuration=self.configuration, session_ticket_handler=self.tickets.append
        )
        self.address = address
        self.streams = {}
        self.established = False
        self.terminated = None
        self._decoder = pylsqpack.Decoder(0, 0)
        self._bind()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- connection -----------------------------------------------------------------------------------------------

    def connect(self, timeout=10.0):
        """Shakes hands; no HTTP/3 stream is opened."""
        self.begin_handshake()
        self.pump(lambda: self.established or self.terminated, timeout)
        assert self.established, f"no handshake: {self.quic.closed_by_peer or self.terminated}"
        return self

    def begin_handshake(self):
        """Sends the first flight, and does not wait."""
        self.quic.connect(self.address, now=time.monotonic())
        self._transmit()

    def begin_early(self):
        """Begins with the ticket that it was made with: what is written next goes out with the first flight (0-RTT)."""
        self.quic.connect(self.address, now=time.monotonic())

    @property
    def early_data_accepted(self):
        """What the server said to early data; known when the handshake is over."""
        return self.quic.tls.early_data_accepted

    def rebind(self):
        """Moves to another UDP port, as a NAT that forgot does, and says something from there.

        A server can only learn of the new port from a packet; what it sent to the old one is lost.
        """
        self.forget()
        self.quic.send_ping(uid=0)
        self._transmit()

    def forget(self):
        """Moves to another UDP port, and does not know it."""
        self.socket.close()
        self._bind()

    def _bind(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)

    def close(self):
        if not self.terminated:
            self.quic.close()
            self._transmit()
        self.socket.close()

    @property
    def closed(self):
        """The close of the server, if one has come."""
        return self.quic.closed_by_peer

    def wait_closed(self, timeout=5.0):
        self.pump(lambda: self.closed or self.terminated, timeout)
        return self.closed

    # -- streams --------------------------------------------------------------------------------------------------

    def open_uni(self, body):
        """Opens a unidirectional stream and writes `body`; its id."""
        return self._open(True, body, False)

    def open_bidi(self, body=b"", fin=False):
        return self._open(False, body, fin)

    def _open(self, unidirectional, body, fin):
        stream = self.quic.get_next_available_stream_id(is_unidirectional=unidirectional)
        self.send(stream, body, fin)
        return stream

    @property
    def stream_limit(self):
        """How many bidirectional streams the server has allowed so far."""
        return self.quic._remote_max_streams_bidi

    def earn_streams(self, count, path="/"):
        """Has requests answered until the server allows `count` more at once.

        A server may allow few at first, and more to clients that use what they have and let it answer: every wave is
        as many requests as there may be, begun together and then ended.
        """
        whole = request_frame(path=path)
        while self.free_streams < count:
            wave = [self.open_bidi(whole[:1]) for _ in range(self.free_streams)]
            for stream in wave:
                self.send(stream, whole[1:], fin=True)
            for stream in wave:
                self.response(stream)
            assert self.pump(lambda: self.free_streams > 0), "no stream is allowed any more"

    @property
    def free_streams(self):
        """How many bidirectional streams may be opened now."""
        opened = self.quic.get_next_available_stream_id(is_unidirectional=False) // 4
        return self.stream_limit - opened

    def open_h3(self, settings=EMPTY_SETTINGS):
        """The three streams that every HTTP/3 client opens: control, QPACK encoder, QPACK decoder."""
        bodies = (CONTROL + settings, QPACK_ENCODER, QPACK_DECODER)
        return tuple(self.open_uni(body) for body in bodies)

    def send(self, stream, body, fin=False):
        self.quic.send_stream_data(stream, body, fin)
        self._transmit()

    def reset(self, stream, code):
        self.quic.reset_stream(stream, code)
        self._transmit()

    def stop_sending(self, stream, code):
        self.quic.stop_stream(stream, code)
        self._transmit()

    def stream(self, stream):
        return self.streams.setdefault(stream, Stream())

    # -- requests -------------------------------------------------------------------------------------------------

    def request(self, path="/", method="GET", headers=(), body=b"", timeout=10.0):
        """One whole request; its response."""
        stream = self.open_bidi(request_frame(method, path, headers=headers), fin=not body)
        if body:
            self.send(stream, frame(DATA, body), fin=True)
        return self.response(stream, timeout)

    def response(self, stream, timeout=10.0):
        """Waits for the end of a request stream, and reads it."""
        state = self.stream(stream)
        self.pump(lambda: state.settled or self.terminated, timeout)
        assert state.ended, f"no response: {state}, connection {self.closed or self.terminated}"
        return self.parse(stream, bytes(state.received))

    def parse(self, stream, data):
        response = Response([], [], b"", [])
        for kind, payload in frames(data):
            if kind == HEADERS:
                _, fields = self._decoder.feed_header(stream, payload)
                fields = [(name.decode(), value.decode()) for name, value in fields]
                status = dict(fields).get(":status", "")
                if status.startswith("1"):
                    response.informational.append(fields)
                elif response.headers:
                    response.trailers = fields
                else:
                    response.headers = fields
            elif kind == DATA:
                response.body += payload
        return response

    # -- the pump -------------------------------------------------------------------------------------------------

    def pump(self, until, timeout=5.0):
        """Runs the connection until `until()`, or until `timeout` has passed; what `until()` says."""
        deadline = time.monotonic() + timeout
        while True:
            self._transmit()
            done = until()
            now = time.monotonic()
            if done or now >= deadline:
                return done
            timer = self.quic.get_timer()
            wake = deadline if timer is None else min(deadline, timer)
            if select.select([self.socket], [], [], max(0.0, wake - now))[0]:
                self._receive()
            elif timer is not None and time.monotonic() >= timer:
                self.quic.handle_timer(time.monotonic())
            self._events()

    def pump_for(self, seconds):
        self.pump(lambda: False, seconds)

    def _receive(self):
        for _ in range(64):
            try:
                data, address = self.socket.recvfrom(65536)
            except (BlockingIOError, ConnectionRefusedError):
                return
            self.quic.receive_datagram(data, address, time.monotonic())

    def _transmit(self):
        for data, address in self.quic.datagrams_to_send(time.monotonic()):
            try:
                self.socket.sendto(data, address)
            except (BlockingIOError, ConnectionRefusedError):
                pass  # Lost on the way, as far as QUIC is concerned.

    def _events(self):
        while (event := self.quic.next_event()) is not None:
            self.on_event(event)

    def on_event(self, event):
        if isinstance(event, HandshakeCompleted):
            self.established = True
        elif isinstance(event, ConnectionTerminated):
            self.terminated = event
        elif isinstance(event, StreamDataReceived):
            stream = self.stream(event.stream_id)
            stream.received += event.data
            stream.ended |= event.end_stream
        elif isinstance(event, StreamReset):
            self.stream(event.stream_id).reset = event.error_code
        elif isinstance(event, StopSendingReceived):
            self.stream(event.stream_id).stopped = event.error_code


def frames(data):
    """The frames in a finished request stream, as (type, payload)."""
    buffer = Buffer(data=data)
    found = []
    while not buffer.eof():
        kind, length = buffer.pull_uint_var(), buffer.pull_uint_var()
        found.append((kind, buffer.pull_bytes(length)))
    return found


def ticket_of(address, **configuration):
    """The ticket that a whole handshake gives."""
    with Peer(address, **configuration) as peer:
        peer.connect(PATIENCE)
        assert peer.pump(lambda: peer.tickets, PATIENCE), "no ticket"
        return peer.tickets[0]
