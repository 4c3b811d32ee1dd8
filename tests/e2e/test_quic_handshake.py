"""What a server says to a stranger, datagram by datagram: versions, small datagrams, amplification, closes, resets."""

import os
import socket
import time

import pytest
from aioquic.buffer import Buffer, BufferReadError
from aioquic.quic.packet import QuicPacketType, pull_quic_header

from h3raw import Connection, Peer
from test_quic_conformance import with_parameter

SMALLEST_INITIAL = 1200


@pytest.fixture
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        yield udp


def answers(udp, wait=0.4):
    """All datagrams that come until none has come for `wait` seconds."""
    udp.settimeout(wait)
    received = []
    try:
        while True:
            received.append(udp.recv(65536))
    except TimeoutError:
        return received


def first_flight(address, connection=Connection, **configuration):
    """The first datagrams of a client, and the client."""
    peer = Peer(address, connection, **configuration)
    peer.quic.connect(address, now=time.monotonic())
    return peer, [data for data, _ in peer.quic.datagrams_to_send(now=time.monotonic())]


def long_header(version, destination, source, length):
    ids = b"".join(bytes([len(id)]) + id for id in (destination, source))
    header = b"\xc0" + version.to_bytes(4, "big") + ids
    return header + bytes(length - len(header))


# req: 9000-6.1-unknown-version
def test_an_unknown_version_gets_ours_a_reserved_one_and_its_ids_swapped(files, udp):
    destination, source = b"destined", b"sourced"
    udp.sendto(long_header(0x1A2A3A4A, destination, source, SMALLEST_INITIAL), files.address)
    [answer] = answers(udp)
    buffer = Buffer(data=answer)
    first, version = buffer.pull_uint8(), buffer.pull_uint32()
    ids = [buffer.pull_bytes(buffer.pull_uint8()) for _ in range(2)]
    versions = []
    while not buffer.eof():
        versions.append(buffer.pull_uint32())
    assert (first & 0x80, version, ids) == (0x80, 0, [source, destination])
    assert 1 in versions and any(version & 0x0F0F0F0F == 0x0A0A0A0A for version in versions), versions


# req: 9000-5.2.2-short-unknown-version
@pytest.mark.parametrize("version, length", [(0x1A2A3A4A, SMALLEST_INITIAL - 1), (0, SMALLEST_INITIAL)])
def test_a_short_unknown_version_and_a_version_negotiation_get_nothing(files, udp, version, length):
    udp.sendto(long_header(version, b"destined", b"sourced", length), files.address)
    assert answers(udp) == []


def test_an_initial_in_a_datagram_below_1200_bytes_gets_nothing(files, udp):
    class Unpadded(Connection):
        """A client whose packets are as short as what they say."""

        def datagrams_to_send(self, now):
            return [(data[: packet_end(data)], to) for data, to in super().datagrams_to_send(now)]

    _, [padded] = first_flight(files.address)
    _, [short] = first_flight(files.address, Unpadded)
    assert len(short) < SMALLEST_INITIAL <= len(padded)
    udp.sendto(short, files.address)
    assert answers(udp) == []
    udp.sendto(padded, files.address)
    assert answers(udp) != []


def packet_end(datagram):
    buffer = Buffer(data=datagram)
    return pull_quic_header(buffer, host_cid_length=8).packet_length


def test_a_stranger_gets_three_times_what_it_sent_at_most(files, udp):
    _, flight = first_flight(files.address)
    for datagram in flight:
        udp.sendto(datagram, files.address)
    sent, received = sum(map(len, flight)), sum(map(len, answers(udp, wait=3.0)))
    print(f"amplification: {received} bytes for {sent}, {received / sent:.2f}")
    assert 0 < received <= 3 * sent


def test_a_close_during_the_handshake_is_visible_without_handshake_keys(files):
    fault = with_parameter(max_udp_payload_size=1090)
    peer, flight = first_flight(files.address, fault)
    for datagram in flight:
        peer.socket.sendto(datagram, files.address)
    kinds = set()
    peer.socket.setblocking(True)
    for datagram in answers(peer.socket):
        kinds |= packet_kinds(datagram)
        peer.quic.receive_datagram(datagram, files.address, time.monotonic())
    peer.socket.close()
    print("the close came in", sorted(kind.name for kind in kinds))
    assert QuicPacketType.INITIAL in kinds
    assert peer.closed and (peer.closed.application, peer.closed.code) == (False, 0x8)


def packet_kinds(datagram):
    buffer, kinds = Buffer(data=datagram), set()
    try:
        while not buffer.eof():
            start = buffer.tell()
            header = pull_quic_header(buffer, host_cid_length=8)
            kinds.add(header.packet_type)
            buffer.seek(start + header.packet_length)
    except (BufferReadError, ValueError):
        pass  # Padding behind the last packet.
    return kinds


# req: 9000-10.3-reset-what-is-forgotten
# req: 9000-10.3.3-smaller
def test_a_forgotten_connection_is_reset_by_less_than_was_sent(files, udp):
    with Peer(files.address).connect() as peer:
        peer.open_h3()
        assert peer.request("/small.txt").status == 200
        id = peer.quic._peer_cid.cid
    sizes = {}
    for length in (1200, 100, 43, 30, 21):
        # It may still be draining (RFC 9000 §10.2), and then it says nothing.
        for _ in range(60 if not sizes else 3):
            udp.sendto(b"\x40" + id + os.urandom(length - 1 - len(id)), files.address)
            if replies := answers(udp, wait=0.1):
                break
        sizes[length] = [len(reply) for reply in replies]
        # It looks like any packet with a short header (RFC 9000 §10.3).
        assert all(reply[0] & 0xC0 == 0x40 for reply in replies)
        assert all(21 <= len(reply) < length for reply in replies)
    print("stateless resets:", sizes)
    # A reset of less than 21 bytes would not be taken for one.
    assert [len(replies) for replies in sizes.values()] == [1, 1, 1, 1, 0]


def test_a_packet_for_an_id_that_is_not_ours_gets_nothing(files, udp):
    for length in (1200, 100, 21):
        udp.sendto(b"\x40" + os.urandom(length - 1), files.address)
    assert answers(udp) == []
