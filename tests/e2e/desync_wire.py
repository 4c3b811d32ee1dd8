"""Clients of the desync battery: they say what they are told to, however wrong it is, and read what comes back.

HTTP/1.1 is raw bytes, HTTP/2 frames made by hand, HTTP/3 the peer of `h3raw`.
"""

import re
import socket
import ssl
import struct
import time
from dataclasses import dataclass, field

import hpack

import h3raw
from servers import reset

EVIL = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"

H3_REQUEST_CANCELLED = 0x10C


@dataclass(frozen=True)
class Message:
    """A request of HTTP/2 or HTTP/3, field by field and piece by piece.

    `end` says how it ends: on its `headers`, on its last `data`, on an `empty` frame, on its `trailers`, by `reset` of the
    stream, or by the `cut` of the connection; `open` is one that has not ended yet.
    """

    fields: tuple
    pieces: tuple = ()
    trailers: tuple = ()
    end: str = "data"


@dataclass
class Answer:
    """What a client got: `is_whole` if the answer has ended as one does."""

    status: int = 0
    fields: dict = field(default_factory=dict)
    body: bytes = b""
    is_whole: bool = False
    interim: int = 0

    @property
    def marker(self):
        return self.fields.get(b"x-marker")


def trusting(protocol):
    """TLS that asks for no certificate. The default context would read all authorities of the system first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


class Http1:
    """One connection of HTTP/1.1 for each exchange of bytes."""

    def __init__(self, address):
        self.address = address
        self.context = trusting("http/1.1")
        self.steady = None

    def open(self, timeout):
        stream = socket.create_connection(self.address, timeout=10)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = self.context.wrap_socket(stream, server_hostname="localhost")
        stream.settimeout(timeout)
        return stream

    def exchange(self, data, methods, timeout):
        """Sends `data`, which asks with these methods; the answers, and whether the connection was closed then."""
        with self.open(timeout) as stream:
            try:
                stream.sendall(data)
            except OSError:
                pass  # What was said before counts.
            return read_answers(stream, methods)

    def cut(self, data, hard=False, wait=lambda: None):
        """Sends `data`, waits for what there is to be waited for, and is gone."""
        stream = self.open(10)
        try:
            stream.sendall(data)
            wait()
            if hard:
                reset(stream)
        except OSError:
            pass
        stream.close()

    def linger(self, seconds):
        time.sleep(seconds)

    def ask_steadily(self, data, method, timeout=10.0):
        """Sends one request on a connection that stays for the next; its answer."""
        if self.steady is None:
            self.steady = self.open(timeout)
        self.steady.sendall(data)
        answers, _ = read_answers(self.steady, [method])
        if not answers or answers[0].fields.get(b"connection") == b"close":
            self.close()
        return answers[0] if answers else None

    def close(self):
        if self.steady is not None:
            self.steady.close()
        self.steady = None


def read_answers(stream, methods):
    """As many answers as there are methods, or until the end, or until nothing more comes."""
    data, answers, is_closed = b"", [], False
    while len(answers) < len(methods) or not methods:
        parsed = next_answer(data, methods[len(answers)], is_closed)
        if parsed:
            answer, data = parsed
            answers.append(answer)
            continue
        if is_closed:
            break
        try:
            piece = stream.recv(65536)
        except (TimeoutError, OSError):
            break
        data += piece
        is_closed = not piece
    return answers, is_closed


def next_answer(data, method, is_closed):
    """The first answer in `data` and what follows it; what is cut is one if no more can come."""
    interim = 0
    while True:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            return None
        status = int(head[9:12])
        if status >= 200 or status == 101:
            break
        data, interim = rest, interim + 1
    fields = {}
    for line in head.split(b"\r\n")[1:]:
        assert not set(line) & set(b"\r\n\0"), f"a client would be shown {line!r}"
        name, _, value = line.partition(b":")
        fields[name.lower()] = value.strip()
    answer = Answer(status, fields, interim=interim)
    if method == b"HEAD" or status in (204, 304):
        answer.is_whole = True
    elif fields.get(b"transfer-encoding") == b"chunked":
        answer.body, rest, answer.is_whole = chunks(rest)
    elif b"content-length" in fields:
        length = int(fields[b"content-length"])
        answer.body, rest = rest[:length], rest[length:]
        answer.is_whole = len(answer.body) == length
    else:
        answer.body, rest, answer.is_whole = rest, b"", is_closed
    return (answer, rest) if answer.is_whole or is_closed else None


def chunks(data):
    body = b""
    while (found := re.match(rb"([0-9A-Fa-f]+)\r\n", data)) is not None:
        size, at = int(found[1], 16), found.end()
        if size == 0:
            end = data.find(b"\r\n", at) if data[at : at + 2] == b"\r\n" else data.find(b"\r\n\r\n", at) + 2
            return (body, data[end + 2 :], True) if end >= at else (body, b"", False)
        if len(data) < at + size + 2:
            break
        body, data = body + data[at : at + size], data[at + size + 2 :]
    return body, b"", False


class Http2:
    """One connection of HTTP/2, and the next when it is gone."""

    def __init__(self, address):
        self.address = address
        self.context = trusting("h2")
        self.stream = None

    def _connect(self):
        plain = socket.create_connection(self.address, timeout=10)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.context.wrap_socket(plain, server_hostname="localhost")
        self.next_id, self.buffer, self.decoder = 1, b"", hpack.Decoder()
        self.answers = {}
        # A window for everything, and no table for fields.
        settings = struct.pack(">HIHI", 1, 0, 4, 1 << 30)
        window = struct.pack(">I", 1 << 30)
        hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        self.stream.sendall(hello + frame2(4, 0, 0, settings) + frame2(8, 0, 0, window))

    def send(self, message):
        """Sends it all; the number of its stream."""
        if self.stream is None:
            self._connect()
        number, self.next_id = self.next_id, self.next_id + 2
        self.answers[number] = Answer()
        out = frame2(1, 4 | (message.end == "headers"), number, literals(message.fields))
        for index, piece in enumerate(message.pieces):
            is_last = index == len(message.pieces) - 1 and message.end == "data"
            for at in range(0, max(len(piece), 1), 16384):
                is_end = is_last and at + 16384 >= len(piece)
                out += frame2(0, int(is_end), number, piece[at : at + 16384])
        if message.end == "empty" or (message.end == "data" and not message.pieces):
            out += frame2(0, 1, number, b"")
        if message.end == "trailers":
            out += frame2(1, 5, number, literals(message.trailers))
        self._write(out)
        if message.end in ("reset", "cut"):
            self.finish(number, message.end)
        return number

    def _write(self, data):
        try:
            self.stream.sendall(data)
        except OSError:
            self.close()

    def go_on(self, number, piece):
        """Sends the rest of a stream that is `open`."""
        if self.stream is not None:
            self._write(frame2(0, 1, number, piece))

    def finish(self, number, how):
        """Ends a stream that is `open`: by `reset`, by the `cut` of the connection, or as one ends."""
        if self.stream is None:
            return
        if how == "cut":
            self.close()
        elif how == "reset":
            self._write(frame2(3, 0, number, struct.pack(">I", 8)))
        else:
            self._write(frame2(0, 1, number, b""))

    def linger(self, seconds):
        """Leaves what was sent some time to arrive."""
        time.sleep(seconds)

    def ask(self, message, timeout=10.0):
        """Sends it; what comes back, `None` if the stream was reset or the connection has gone."""
        number = self.send(message)
        if message.end in ("reset", "cut"):
            return None
        return self.wait(number, timeout)

    def wait(self, number, timeout=10.0):
        until = time.monotonic() + timeout
        while self.stream is not None and number in self.answers:
            answer = self.answers[number]
            if answer.is_whole:
                return self.answers.pop(number)
            self.stream.settimeout(max(0.01, until - time.monotonic()))
            try:
                piece = self.stream.recv(65536)
            except TimeoutError:
                raise AssertionError(f"no answer on stream {number} within {timeout} s") from None
            except OSError:
                piece = b""
            if not piece:
                self.close()
            self.buffer += piece
            self._frames()
        return None

    def _frames(self):
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                return
            kind, flags = self.buffer[3], self.buffer[4]
            number = int.from_bytes(self.buffer[5:9], "big") & 0x7FFFFFFF
            payload, self.buffer = self.buffer[9 : 9 + length], self.buffer[9 + length :]
            self._frame(kind, flags, number, payload)
            if self.stream is None:
                return

    def _frame(self, kind, flags, number, payload):
        if kind == 4 and not flags & 1:
            self.stream.sendall(frame2(4, 1, 0, b""))
        elif kind == 7:
            self.close()
        elif kind == 3:
            self.answers.pop(number, None)
        elif kind == 1:
            assert flags & 4, "the answer's head is in one frame"
            fields = dict(self.decoder.decode(payload, raw=True))
            answer = self.answers.get(number, Answer())
            status = int(fields.get(b":status", b"0"))
            if 100 <= status < 200:
                answer.interim += 1
            elif status:
                answer.status, answer.fields = status, fields
            answer.is_whole = bool(flags & 1)
        elif kind == 0:
            answer = self.answers.get(number, Answer())
            answer.body += payload
            answer.is_whole = bool(flags & 1)

    def close(self):
        if self.stream is not None:
            self.stream.close()
        self.stream = None


def frame2(kind, flags, number, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", number) + payload


def literals(fields):
    """Literal field lines without indexing or Huffman (RFC 7541 §6.2.2): any bytes can stand in them."""
    out = b""
    for name, value in fields:
        out += b"\0" + h3raw.prefix_int(len(name), 7, 0) + name
        out += h3raw.prefix_int(len(value), 7, 0) + value
    return out


class Http3:
    """One connection of HTTP/3, and the next when it is gone."""

    def __init__(self, address):
        self.address = address
        self.peer = None

    def send(self, message):
        if self.peer is not None and (self.peer.closed or self.peer.terminated or self.peer.free_streams < 1):
            self.close()
        if self.peer is None:
            self.peer = h3raw.Peer(self.address).connect()
            self.peer.open_h3()
        lines = (h3raw.literal(name, value) for name, value in message.fields)
        out = h3raw.frame(h3raw.HEADERS, h3raw.section(*lines))
        out += b"".join(h3raw.frame(h3raw.DATA, piece) for piece in message.pieces)
        if message.end == "trailers":
            lines = (h3raw.literal(name, value) for name, value in message.trailers)
            out += h3raw.frame(h3raw.HEADERS, h3raw.section(*lines))
        number = self.peer.open_bidi(out, fin=message.end in ("headers", "data", "trailers"))
        if message.end in ("empty", "reset", "cut"):
            self.finish(number, message.end)
        return number

    def go_on(self, number, piece):
        # After STOP_SENDING aioquic has reset it.
        if self.peer.stream(number).stopped is None:
            self.peer.send(number, h3raw.frame(h3raw.DATA, piece), fin=True)

    def finish(self, number, how):
        if how == "cut":
            self.close()
        elif how == "reset":
            self.peer.reset(number, H3_REQUEST_CANCELLED)
        else:
            self.peer.send(number, b"", fin=True)

    def linger(self, seconds):
        self.peer.pump_for(seconds)

    def ask(self, message, timeout=10.0):
        number = self.send(message)
        if message.end in ("reset", "cut"):
            return None
        return self.wait(number, timeout)

    def wait(self, number, timeout=10.0):
        peer, state = self.peer, self.peer.stream(number)
        done = peer.pump(lambda: state.settled or peer.closed or peer.terminated, timeout)
        assert done, f"no answer on stream {number} within {timeout} s"
        if not state.ended:
            return None
        response = peer.parse(number, bytes(state.received))
        fields = {name.encode(): value.encode() for name, value in response.headers}
        return Answer(response.status, fields, response.body, True, len(response.informational))

    def close(self):
        if self.peer is not None:
            self.peer.close()
        self.peer = None
