"""Origins of the desync battery: each byte is kept, each request answered with its own marker.

A marker is the word `m` and a number in the path, one for each request that a client sends. The answer repeats it, so that
a response that belongs to another request gives itself away.
"""

import asyncio
import contextlib
import re
import threading
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from strict_http1 import NOT_IN_TRAILERS, Fault, Seen, Strict, strict_head

MARKER = re.compile(rb"m\d+z")


def marker_of(target):
    found = MARKER.search(target)
    return found[0] if found else target


@dataclass
class Record:
    """One connection to the origin: what it heard, and what it took that for."""

    log: bytearray
    requests: list = field(default_factory=list)
    fault: str = ""


class Origin:
    """A server in a thread of its own; `scripts` are answers by the word behind `?r=` in the path."""

    def __init__(self, scripts=None):
        self.scripts = scripts or {}
        self.records = []
        # The markers of all requests that have begun.
        self.heard = set()
        self._open = set()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._started.wait(20)

    async def _run(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(lambda: self.protocol(self), "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for transport in list(self._open):
            transport.abort()

    def stop(self):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)


class Connection(asyncio.Protocol):
    def __init__(self, origin):
        self.origin = origin

    def connection_made(self, transport):
        self.transport = transport
        self.origin._open.add(transport)

    def connection_lost(self, _):
        self.origin._open.discard(self.transport)


class Http1Connection(Connection):
    def __init__(self, origin):
        super().__init__(origin)
        self.strict = Strict()
        self.record = Record(self.strict.log)
        self.was_told_to_go_on = -1
        origin.records.append(self.record)

    def data_received(self, data):
        self.origin.heard.update(MARKER.findall(data))
        if self.record.fault:
            self.strict.log += data
            return
        try:
            found = self.strict.feed(data)
        except Fault as fault:
            self.record.fault = str(fault)
            self.transport.close()
            return
        for request in found:
            self.record.requests.append(request)
            self.answer(request)
        self.go_on()

    def go_on(self):
        """Says 100 to a request that waits for it."""
        head = self.strict.head
        if head is not None and self.was_told_to_go_on < self.strict.at and head.all(b"expect"):
            self.was_told_to_go_on = self.strict.at
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def answer(self, request):
        _, is_scripted, word = request.target.partition(b"?r=")
        if is_scripted:
            self.origin.scripts[word.decode()](self.transport, request)
            return
        self.transport.write(good(request))


def good(request):
    marker = marker_of(request.target)
    body = b"" if request.method == b"HEAD" else marker
    head = b"HTTP/1.1 200 OK\r\nx-marker: %s\r\ncontent-length: %d\r\n\r\n"
    return head % (marker, len(marker)) + body


class Http1Origin(Origin):
    protocol = Http1Connection

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}"


class Http2Connection(Connection):
    """The `h2` library, which checks what it reads; what it refuses is a fault of whoever wrote it."""

    def __init__(self, origin):
        super().__init__(origin)
        self.record = Record(bytearray())
        self.requests = {}
        origin.records.append(self.record)

    def connection_made(self, transport):
        super().connection_made(transport)
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        transport.write(self.h2.data_to_send())

    def data_received(self, data):
        self.record.log += data
        try:
            for event in self.h2.receive_data(data):
                self.on(event)
        except h2.exceptions.ProtocolError as error:
            self.record.fault = f"{type(error).__name__}: {error}"
        self.transport.write(self.h2.data_to_send())

    def on(self, event):
        match event:
            case h2.events.RequestReceived():
                fields = [(bytes(name), bytes(value)) for name, value in event.headers]
                pseudo = dict(field for field in fields if field[0].startswith(b":"))
                rest = [field for field in fields if not field[0].startswith(b":")]
                rest.insert(0, (b"host", pseudo.get(b":authority", b"")))
                seen = Seen(pseudo[b":method"], pseudo[b":path"], rest)
                self.origin.heard.add(marker_of(seen.target))
                self.requests[event.stream_id] = seen
                try:
                    self.as_http1(seen)
                except Fault as fault:
                    self.record.fault = str(fault)
            case h2.events.DataReceived():
                self.requests[event.stream_id].body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                trailers = [(bytes(name), bytes(value)) for name, value in event.headers]
                self.requests[event.stream_id].trailers = trailers
                wrong = [name for name, _ in trailers if name in NOT_IN_TRAILERS]
                self.record.fault = self.record.fault or (f"trailers {wrong}" if wrong else "")
            case h2.events.StreamEnded():
                self.answer(event.stream_id, self.requests.pop(event.stream_id))
            case h2.events.StreamReset():
                self.requests.pop(event.stream_id, None)

    @staticmethod
    def as_http1(seen):
        """What the next hop would write must be one request as well."""
        lines = [b"%s %s HTTP/1.1" % (seen.method, seen.target)]
        lines += [b"%s: %s" % field for field in seen.fields]
        strict_head(b"\r\n".join(lines))

    def answer(self, stream, request):
        self.record.requests.append(request)
        marker = marker_of(request.target)
        fields = [(":status", "200"), ("x-marker", marker), ("content-length", str(len(marker)))]
        with contextlib.suppress(h2.exceptions.ProtocolError):
            is_head = request.method == b"HEAD"
            self.h2.send_headers(stream, fields, end_stream=is_head)
            if not is_head:
                self.h2.send_data(stream, marker, end_stream=True)


class Http2Origin(Origin):
    protocol = Http2Connection

    @property
    def address(self):
        return f"h2c://127.0.0.1:{self.port}"
