"""First flights by the thousand: one ClientHello of aioquic's, sealed anew for each connection ID, from many addresses."""

import datetime
import os
import select
import socket
import time

from aioquic.buffer import Buffer
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicPacketType, pull_quic_header
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from conftest import Certificate
from h3raw import Connection, Peer

VERSION_1 = 1
ID = 8
TAG = 16


class Hello:
    """A client's first packet, of which there can be as many as there are connection IDs; longer by `fill` bytes."""

    def __init__(self, address, fill=0):
        packets = []

        class Caught(Connection):
            def edit_packet(self, header, payload, number):
                packets.append((header, payload))
                return header, payload

        protocols = ["h3", *("x" * min(200, fill - at) for at in range(0, fill, 200))]
        peer = Peer(address, Caught, alpn_protocols=protocols, max_datagram_size=1452)
        peer.quic.connect(address, now=time.monotonic())
        peer.quic.datagrams_to_send(now=time.monotonic())
        peer.socket.close()
        # One datagram holds all of it.
        [(header, self.payload)] = packets
        source = 6 + header[5]
        self.source = header[source + 1 : source + 1 + header[source]]

    def seal(self, destination=None, token=b"", size=1200):
        """A datagram of `size` bytes."""
        destination = destination or os.urandom(ID)
        ids = b"".join(bytes([len(id)]) + id for id in (destination, self.source))
        start = b"\xc0" + VERSION_1.to_bytes(4, "big") + ids + varint(len(token)) + token
        payload = self.payload.rstrip(b"\0")
        # The length has two bytes, the number of the packet one.
        payload += bytes(max(0, size - len(start) - 3 - TAG - len(payload)))
        header = start + varint(1 + len(payload) + TAG, two=True) + b"\0"
        pair = CryptoPair()
        pair.setup_initial(cid=destination, is_client=True, version=VERSION_1)
        return pair.encrypt_packet(header, payload, 0)


def varint(value, two=False):
    return bytes([value]) if value < 64 and not two else (0x4000 | value).to_bytes(2, "big")


class Crowd:
    """Sockets of as many addresses of 127.0.0.0/8, and what came to them."""

    def __init__(self, addresses):
        self.sockets = []
        self.sent = self.received = self.retries = self.datagrams = 0
        self.first_retry = None
        for index in range(addresses):
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            udp.bind((f"127.0.{1 + index // 250}.{1 + index % 250}", 0))
            udp.setblocking(False)
            self.sockets.append(udp)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for udp in self.sockets:
            udp.close()

    def rush(self, address, flights, per_second):
        """Sends them in bursts of ten milliseconds; how long it took."""
        began = time.monotonic()
        for index, flight in enumerate(flights):
            due = began + index / per_second
            if index % max(1, per_second // 100) == 0:
                self.listen(max(0.0, due - time.monotonic()))
            try:
                self.sent += self.sockets[index % len(self.sockets)].sendto(flight, address)
            except BlockingIOError:
                pass
        return time.monotonic() - began

    def listen(self, seconds):
        """Takes what comes for so long."""
        deadline = time.monotonic() + seconds
        while True:
            readable, _, _ = select.select(self.sockets, [], [], max(0.0, deadline - time.monotonic()))
            for udp in readable:
                self._take(udp)
            if time.monotonic() >= deadline:
                return

    def _take(self, udp):
        while True:
            try:
                data = udp.recv(65536)
            except BlockingIOError:
                return
            self.received += len(data)
            self.datagrams += 1
            if kind(data) == QuicPacketType.RETRY:
                self.retries += 1
                self.first_retry = self.first_retry or time.monotonic()


def kind(datagram):
    """The type of the first packet in it."""
    return pull_quic_header(Buffer(data=datagram), host_cid_length=ID).packet_type


def answers(udp, wait=0.4, first=30.0):
    """All datagrams that come until none has come for `wait` seconds; the first may take longer."""
    udp.settimeout(first)
    received = []
    try:
        while True:
            received.append(udp.recv(65536))
            udp.settimeout(wait)
    except TimeoutError:
        return received


def eventually(true, within=60.0):
    """Waits until it is; what it was at last."""
    deadline = time.monotonic() + within
    while not (found := true()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def long_chain(folder):
    """A certificate that is longer than what an address that has proven nothing may get."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), *(x509.DNSName(f"host{at}.example") for at in range(400))]
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=10))
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    cert = builder.sign(key, hashes.SHA256())
    files = Certificate(folder / "cert.pem", folder / "key.pem", "")
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files.cert.write_bytes(cert.public_bytes(pem))
    files.key.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    return files
