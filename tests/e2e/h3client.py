"""A well-behaved HTTP/3 client: aioquic's own HTTP/3 layer and its dynamic table, over the driver of `h3raw`."""

from collections import defaultdict
from dataclasses import dataclass, field

from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.events import HandshakeCompleted, StreamDataReceived

from h3raw import Peer


@dataclass
class Exchange:
    """One request and what has come back for it."""

    headers: list | None = None
    body: bytearray = field(default_factory=bytearray)
    trailers: list | None = None
    ended: bool = False

    @property
    def status(self):
        return int(self.header(":status"))

    def header(self, name):
        return dict(self.headers).get(name.encode(), b"").decode()


class Client(Peer):
    """Requests by aioquic's HTTP/3; many at once on one connection."""

    def __init__(self, address, **options):
        super().__init__(address, **options)
        self.http = None
        self.exchanges = defaultdict(Exchange)

    def on_event(self, event):
        super().on_event(event)
        # Not after `connect`: SETTINGS may come in the same datagram as the end of the handshake.
        if isinstance(event, HandshakeCompleted):
            self.http = H3Connection(self.quic)
        # The body is in the exchange already.
        if isinstance(event, StreamDataReceived):
            self.stream(event.stream_id).received.clear()
        if self.http is None:
            return
        for found in self.http.handle_event(event):
            exchange = self.exchanges[found.stream_id] if hasattr(found, "stream_id") else None
            if isinstance(found, HeadersReceived):
                if exchange.headers is None:
                    exchange.headers = found.headers
                else:
                    exchange.trailers = found.headers
                exchange.ended |= found.stream_ended
            elif isinstance(found, DataReceived):
                exchange.body += found.data
                exchange.ended |= found.stream_ended

    def start(self, method, path, headers=(), body=None):
        """Sends a request, with its body if there is one; the stream id."""
        stream = self.start_upload(method, path, headers, end=body is None)
        if body is not None:
            self.http.send_data(stream, body, end_stream=True)
        self._transmit()
        return stream

    def start_upload(self, method, path, headers=(), end=False):
        """Sends the head of a request; the body follows by `upload`."""
        stream = self.quic.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "https"), (":authority", "localhost")]
        fields = [*pseudo, (":path", path), *headers]
        fields = [(name.encode(), value.encode()) for name, value in fields]
        self.http.send_headers(stream, fields, end_stream=end)
        self.exchanges[stream] = Exchange()
        return stream

    def upload(self, stream, body, end=False):
        self.http.send_data(stream, body, end_stream=end)
        self._transmit()

    def finish(self, *streams, timeout=30.0):
        """Waits until all these exchanges have ended; the exchanges."""
        exchanges = [self.exchanges[stream] for stream in streams]
        unfinished = list(zip(streams, exchanges))

        def settled():
            while unfinished:
                stream, exchange = unfinished[-1]
                if not (exchange.ended or self.stream(stream).reset is not None):
                    return bool(self.terminated)
                unfinished.pop()
            return True

        self.pump(settled, timeout)
        late = [stream for stream, exchange in zip(streams, exchanges) if not exchange.ended]
        assert not late, f"unfinished: {late[:5]} of {len(streams)}, {self.closed or self.terminated}"
        return exchanges

    def fetch(self, path="/", method="GET", headers=(), body=None, timeout=30.0):
        return self.finish(self.start(method, path, headers, body), timeout=timeout)[0]
