"""A foreign HTTP/3 server: aioquic, in a thread of its own, for our clients."""

import asyncio
import threading

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated

STARTS_WITHIN = 10.0


class Protocol(QuicConnectionProtocol):
    """`/size/N` has so many bytes, `/status/N` that status, `/reset/N` is reset with that code."""

    http = None

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        if self.http is None:
            return
        for found in self.http.handle_event(event):
            if isinstance(found, HeadersReceived):
                path = dict(found.headers)[b":path"].decode()
                self.answer(found.stream_id, *path.strip("/").split("/"))
        self.transmit()

    def answer(self, stream, what, number):
        if what == "reset":
            self._quic.reset_stream(stream, int(number))
            return
        status = number if what == "status" else "200"
        body = b"x" * int(number) if what == "size" else b""
        headers = [(b":status", status.encode()), (b"content-length", str(len(body)).encode())]
        self.http.send_headers(stream, headers)
        self.http.send_data(stream, body, end_stream=True)


class H3Server:
    """Serves from its making to `stop`. With `early_data`, tickets that allow it are given."""

    def __init__(self, certificate, early_data=False):
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._tickets = {}
        self._early_data = early_data
        self._configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"])
        self._configuration.load_cert_chain(certificate.cert, certificate.key)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(STARTS_WITHIN), "aioquic has not started"

    def url(self, path):
        return f"https://localhost:{self.port}{path}"

    def stop(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STARTS_WITHIN)

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()

    async def _start(self):
        tickets = {}
        if self._early_data:
            tickets = {
                "session_ticket_fetcher": lambda label: self._tickets.pop(label, None),
                "session_ticket_handler": self._keep,
            }
        server = await serve(
            "127.0.0.1", 0, configuration=self._configuration, create_protocol=Protocol, **tickets
        )
        self.port = server._transport.get_extra_info("sockname")[1]

    def _keep(self, ticket):
        self._tickets[ticket.ticket] = ticket
