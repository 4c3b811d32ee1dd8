"""Servers that `sterna get` meets: plain sockets that misbehave, Python's TLS, and aioquic's HTTP/3.

Each is a context that ends what it started. They live in threads of the test's process, on free ports of loopback.
"""

import asyncio
import contextlib
import datetime
import ipaddress
import os
import socket
import ssl
import struct
import threading
from dataclasses import dataclass
from pathlib import Path

from aioquic.asyncio import QuicConnectionProtocol, serve
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from conftest import Certificate, spki_hash

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"


@dataclass(frozen=True)
class Chain:
    """An authority, and a certificate for localhost that it has signed."""

    root: Path
    leaf: Certificate


def make_chain(folder):
    folder.mkdir(parents=True, exist_ok=True)
    root_key, root = sign("an authority", None, None)
    leaf_key, leaf = sign("localhost", root_key, root)
    pem = serialization.Encoding.PEM
    pkcs8 = serialization.PrivateFormat.PKCS8
    chain = Chain(
        folder / "root.pem",
        Certificate(folder / "cert.pem", folder / "key.pem", spki_hash(leaf_key.public_key())),
    )
    chain.root.write_bytes(root.public_bytes(pem))
    chain.leaf.cert.write_bytes(leaf.public_bytes(pem))
    secret = leaf_key.private_bytes(pem, pkcs8, serialization.NoEncryption())
    chain.leaf.key.write_bytes(secret)
    return chain


def sign(name, issuer_key, issuer):
    """An authority if nobody signs it, else a certificate for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=10))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer is not None:
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return key, builder.sign(issuer_key or key, hashes.SHA256())


@contextlib.contextmanager
def tcp(handle, context=None):
    """A listener that gives each connection, with TLS if a context is named, to `handle`; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def serve_one(connection):
        with contextlib.suppress(OSError):
            with connection:
                if context is not None:
                    connection = context.wrap_socket(connection, server_side=True)
                handle(connection)

    def accept():
        while not stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(20)
            threading.Thread(target=serve_one, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def read_head(connection):
    """The head of a request of HTTP/1.1."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(4096)
        if not piece:
            break
        head += piece
    return head


def answers(data, then=None):
    """Answers each connection's first request with `data`, does `then`, and closes."""

    def handle(connection):
        read_head(connection)
        connection.sendall(data)
        if then is not None:
            then(connection)

    return handle


def reset(connection):
    """Ends a connection with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def tls_context(certificate, client_ca=None, alpn=("http/1.1",)):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    context.set_alpn_protocols(list(alpn))
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context


@contextlib.contextmanager
def black_hole(port):
    """A UDP port that takes everything and says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", port))
        yield silent


@contextlib.contextmanager
def other_quic(port, versions=(0x6B3343CF, 0x1A2A3A4A)):
    """A UDP port where QUIC is spoken in these versions alone (RFC 9000 §6.1)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", port))
        bound.settimeout(0.1)
        running = True

        def negotiate():
            while running:
                with contextlib.suppress(TimeoutError):
                    data, address = bound.recvfrom(65536)
                    end = 6 + data[5]
                    destination, source = data[5:end], data[end : end + 1 + data[end]]
                    offer = b"".join(version.to_bytes(4, "big") for version in versions)
                    bound.sendto(b"\xca" + bytes(4) + source + destination + offer, address)

        thread = threading.Thread(target=negotiate, daemon=True)
        thread.start()
        yield
        running = False
        thread.join()


class H3Protocol(QuicConnectionProtocol):
    """Hands each request to what the test has given, which writes what it likes."""

    answer = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = None

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.http = H3Connection(self._quic)
        if self.http is None:
            return
        for found in self.http.handle_event(event):
            if isinstance(found, HeadersReceived):
                type(self).answer(self, found)
                self.transmit()

    def send(self, stream, status, body=b"", fields=(), end=True):
        head = [(b":status", str(status).encode()), *fields]
        self.http.send_headers(stream, head, end_stream=end and not body)
        if body:
            self.http.send_data(stream, body, end_stream=end)

    def reset(self, stream, code):
        self._quic.reset_stream(stream, code)

    def close_with(self, code, reason=""):
        self._quic.close(error_code=code, reason_phrase=reason)


@contextlib.contextmanager
def aioquic(certificate, answer, port=0):
    """aioquic's HTTP/3; `answer(protocol, event)` is called for each request. Its port."""
    started = threading.Event()
    state = {}
    # With them it takes early data.
    tickets = {}

    class Protocol(H3Protocol):
        pass

    Protocol.answer = staticmethod(answer)

    async def run():
        configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"])
        configuration.load_cert_chain(certificate.cert, certificate.key)
        server = await serve(
            "127.0.0.1",
            port,
            configuration=configuration,
            create_protocol=Protocol,
            session_ticket_fetcher=lambda label: tickets.pop(label, None),
            session_ticket_handler=lambda ticket: tickets.update({ticket.ticket: ticket}),
        )
        state["loop"] = asyncio.get_running_loop()
        state["stop"] = asyncio.Event()
        state["port"] = server._transport.get_extra_info("sockname")[1]
        started.set()
        await state["stop"].wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert started.wait(20), "aioquic does not start"
    try:
        yield state["port"]
    finally:
        state["loop"].call_soon_threadsafe(state["stop"].set)
        thread.join(20)


def environment(folder, **more):
    """An environment in which `sterna` knows nothing of the user of this machine."""
    kept = {name: value for name, value in os.environ.items() if name != "SSLKEYLOGFILE"}
    return {**kept, "STERNA_DATA": str(folder), "RUST_BACKTRACE": "1", **more}
