"""Bytes that mean nothing: the server drops them or closes, and serves on."""

import os
import random
import socket
import ssl
import struct

import pytest

from h3raw import CONTROL, GREASE, HEADERS, Peer, frame, request_frame

seeds = pytest.mark.parametrize("seed", range(8))


@pytest.fixture(autouse=True)
def still_served(files, site):
    yield
    with Peer(files.address).connect() as peer:
        peer.open_h3()
        assert peer.request("/small.txt").body == site.content("small.txt")


def datagrams(source):
    """Noise of every size; then noise that looks like QUIC from its first bytes."""
    for _ in range(1500):
        yield source.randbytes(source.randrange(0, 1500))
    for _ in range(1500):
        version = source.choice([0, 1, 0x6B3343CF, 0x0A0A0A0A, source.getrandbits(32)])
        cids = bytes([source.randrange(0, 30)]) + source.randbytes(20)
        first = bytes([0xC0 | source.getrandbits(6)])
        body = source.randbytes(source.choice([10, 200, 1200, 1400]))
        yield first + struct.pack("!I", version) + cids + body
    for _ in range(1500):
        yield bytes([0x40 | source.getrandbits(6)]) + source.randbytes(source.randrange(1, 1400))


def test_garbage_datagrams_are_dropped(files):
    before = files.rss_kib()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for datagram in datagrams(random.Random(7)):
            udp.sendto(datagram, files.address)
    with Peer(files.address).connect() as peer:
        peer.open_h3()
        assert peer.request("/small.txt").status == 200
    assert files.rss_kib() - before < 64 * 1024, "garbage is not remembered"


@seeds
def test_a_real_first_datagram_with_flipped_bits_is_survived(files, seed):
    source = random.Random(seed)
    peer = Peer(files.address)
    peer.quic.connect(peer.address, now=0.0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for datagram, _ in peer.quic.datagrams_to_send(now=0.0):
            for _ in range(100):
                flipped = bytearray(datagram)
                for _ in range(source.randrange(1, 4)):
                    flipped[source.randrange(len(flipped))] ^= 1 << source.randrange(8)
                udp.sendto(flipped[: source.randrange(1, len(flipped) + 1)], files.address)
    peer.socket.close()


@seeds
def test_random_bytes_on_streams_are_survived(files, seed):
    source = random.Random(seed)
    with Peer(files.address).connect() as peer:
        for _ in range(30):
            if peer.closed or peer.terminated:
                break
            body = source.randbytes(source.randrange(0, 400))
            if source.random() < 0.5:
                peer.open_uni(body)
            else:
                peer.open_bidi(body, fin=source.random() < 0.5)
            peer.pump_for(0.005)


@seeds
def test_random_field_sections_are_survived(files, seed):
    source = random.Random(seed)
    for _ in range(20):
        with Peer(files.address).connect() as peer:
            peer.open_h3()
            section = b"\x00\x00" + source.randbytes(source.randrange(0, 60))
            stream = peer.open_bidi(frame(HEADERS, section), fin=True)
            state = peer.stream(stream)
            assert peer.pump(lambda: state.settled or peer.closed, 5), "neither answered nor refused"


# req: 9114-6.2-unknown-types, 9114-6.2.3-reserved-types, 9114-9-ignore-unknown-frames
def test_unknown_streams_and_frames_are_ignored(files):
    with Peer(files.address).connect() as peer:
        peer.open_h3()
        for kind in (0x21, 0x40, 0x54):
            peer.open_uni(bytes([0x40, kind]) + os.urandom(100))
        stream = peer.open_bidi(frame(GREASE, b"x" * 100) + request_frame(), fin=True)
        assert peer.response(stream).status == 200
        assert peer.closed is None


# req: 9114-6.2.1-one-control-stream
def test_a_second_control_stream_closes_the_connection(files):
    with Peer(files.address).connect() as peer:
        peer.open_h3()
        peer.open_uni(CONTROL)
        close = peer.wait_closed()
        assert close and (close.application, hex(close.code)) == (True, "0x103")


@seeds
def test_random_bytes_over_tcp_are_survived(files, seed):
    source = random.Random(seed)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([["h2", "http/1.1"][seed % 2]])
    with socket.create_connection(files.address, timeout=10) as tcp:
        tcp.sendall(source.randbytes(500))
    with socket.create_connection(files.address, timeout=10) as tcp:
        with context.wrap_socket(tcp, server_hostname="localhost") as tls:
            try:
                tls.sendall(source.randbytes(2000))
                while tls.recv(65536):
                    pass
            except OSError:
                pass  # Refused by reset: as good as by an answer.


def pings(count):
    """HTTP/2 PING frames (RFC 9113 §6.7), each with its own content."""
    return b"".join(b"\0\0\x08\x06\0\0\0\0\0" + struct.pack("!Q", at) for at in range(count))


def http2(files):
    """A connection that has said what one says first."""
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["h2"])
    connection = context.wrap_socket(socket.create_connection(files.address, timeout=10))
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0")
    return connection


def test_a_flood_of_pings_that_nobody_reads_the_answers_to_is_held_back(files):
    before = files.rss_kib()
    flood, sent = pings(1000), 0
    with http2(files) as connection:
        connection.settimeout(2)
        with pytest.raises((TimeoutError, ssl.SSLError, OSError)):
            # Far more than all buffers of the kernel on the way.
            while sent < 256 << 20:
                connection.sendall(flood)
                sent += len(flood)
        assert files.rss_kib() - before < 16 * 1024, f"{sent} bytes of pings are kept"


def test_a_flood_of_pings_is_answered_and_keeps_nobody_waiting(files, site):
    count = 20_000
    with http2(files) as connection, Peer(files.address).connect() as peer:
        peer.open_h3()
        before = files.rss_kib()
        for _ in range(count // 1000):
            connection.sendall(pings(1000))
            received = 0
            while received < 17 * 1000:
                more = connection.recv(1 << 16)
                assert more, "the connection lives"
                received += len(more)
            assert peer.request("/small.txt").body == site.content("small.txt")
        assert files.rss_kib() - before < 16 * 1024
