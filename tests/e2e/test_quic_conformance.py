"""Transport cases of h3spec: the exact code, and other connections go on.

All 34 are here. That the faults are what is refused is proven by `test_what_is_just_allowed_is_no_fault`, and by
`test_early_data_without_crypto_is_served` for the last.
"""

import os

from dataclasses import dataclass
from typing import Callable

import pytest
from aioquic import tls
from aioquic.buffer import Buffer, encode_uint_var
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import (
    QuicPreferredAddress,
    pull_quic_transport_parameters,
    push_quic_transport_parameters,
)

from h3raw import Connection, Peer, request_frame, ticket_of

# Messages of TLS (RFC 8446 §4).
KEY_UPDATE, END_OF_EARLY_DATA = b"\x18\x00\x00\x01\x00", b"\x05\x00\x00\x00"


def with_parameter(**values):
    """A client which announces these transport parameters."""

    class Announcing(Connection):
        def edit_transport_parameters(self, parameters):
            edited = pull_quic_transport_parameters(Buffer(data=parameters))
            for name, value in values.items():
                assert hasattr(edited, name)
                setattr(edited, name, value)
            out = Buffer(capacity=4096)
            push_quic_transport_parameters(out, edited)
            return out.data

    return Announcing


class ReservedBits(Connection):
    """A client whose packets carry the reserved bits of the short header, once told to."""

    armed = False

    def edit_packet(self, header, payload, packet_number):
        if self.armed and not header[0] & 0x80:
            header = bytes([header[0] | 0x18]) + header[1:]
        return header, payload


class EmptyPacket(Connection):
    """A client whose next packet has no frame, once told to."""

    armed = False

    def edit_packet(self, header, payload, packet_number):
        if self.armed and not header[0] & 0x80:
            self.armed = False
            # With a packet number of four bytes there is enough left to protect the header with.
            first = bytes([header[0] & ~0x03 | 0x03])
            header, payload = first + header[1:-2] + packet_number.to_bytes(4, "big"), b""
        return header, payload


class HandshakePackets(Connection):
    """A client which edits its Handshake packets: `bits` for the first byte, `frame` at the end."""

    bits, frame = 0, b""

    def edit_packet(self, header, payload, packet_number):
        if header[0] & 0xF0 == 0xE0:
            length = int.from_bytes(header[-4:-2], "big") + len(self.frame)
            first = bytes([header[0] | self.bits])
            header = first + header[1:-4] + length.to_bytes(2, "big") + header[-2:]
            payload += self.frame
        return header, payload


class ReservedHandshakeBits(HandshakePackets):
    bits = 0x0C


class ChallengeInHandshake(HandshakePackets):
    frame = b"\x1a" + bytes(8)


class PingInHandshake(HandshakePackets):
    """The twin of the two above."""

    frame = b"\x01"


def with_extension(kind):
    """A client whose transport parameters are in this extension of TLS, or nowhere."""

    class Extended(Connection):
        def _initialize(self, peer_cid):
            super()._initialize(peer_cid)
            [(_, parameters)] = self.tls.handshake_extensions
            self.tls.handshake_extensions = [(kind, parameters)] if kind else []

    return Extended


def before_finished(message):
    """A client which says this in its Handshake packets before it finishes."""

    class Talking(Connection):
        def _initialize(self, peer_cid):
            super()._initialize(peer_cid)
            self.send_crypto(tls.Epoch.HANDSHAKE, message)

    return Talking


class CryptoInEarlyData(Connection):
    """A client that says EndOfEarlyData in its first 0-RTT packet."""

    armed = True

    def edit_packet(self, header, payload, packet_number):
        if self.armed and header[0] & 0xF0 == 0xD0:
            self.armed = False
            crypto = b"\x06\x00" + bytes([len(END_OF_EARLY_DATA)]) + END_OF_EARLY_DATA
            payload = crypto + payload
            length = int.from_bytes(header[-4:-2], "big") + len(crypto)
            header = header[:-4] + length.to_bytes(2, "big") + header[-2:]
        return header, payload


def ask_early(peer):
    """Sends a request with the first flight; its stream."""
    peer.begin_early()
    peer.open_h3()
    return peer.open_bidi(request_frame(path="/small.txt"), fin=True)


@dataclass(frozen=True)
class Case:
    id: str
    name: str
    section: str
    code: int
    connection: type = Connection
    # What is done once the handshake is over; without it, the handshake itself is the fault.
    act: Callable | None = None
    alpn: str = "h3"
    # The fault is in the early data of a client that returns.
    returns: bool = False


def arm(peer):
    peer.quic.armed = True
    peer.quic.send_ping(uid=0)


def parameter(id, name, section, **values):
    return Case(id, name, section, 0x8, with_parameter(**values))


def raw(id, name, section, code, *parts):
    """A case whose fault is one frame: its type, then integers and bytes."""
    body = b"".join(part if isinstance(part, bytes) else encode_uint_var(part) for part in parts)
    return Case(id, name, section, code, act=lambda peer: peer.quic.send_raw_frame(body))


STREAM, RESET_STREAM, STOP_SENDING, NEW_TOKEN = 0x0E, 0x04, 0x05, 0x07
MAX_STREAM_DATA, MAX_STREAMS, STREAMS_BLOCKED, NEW_CONNECTION_ID = 0x11, 0x12, 0x16, 0x18
HANDSHAKE_DONE, UNKNOWN = 0x1E, 0x20
TOO_MANY = (1 << 60) + 1
ADDRESS = QuicPreferredAddress(("127.0.0.1", 1), ("::1", 1), b"12345678", bytes(16))

CASES = [
    raw("T01", "data past the stream's window", "RFC 9000 §4.1", 0x3,
        STREAM, 0, 100_000_000, 1, b"x"),
    raw("T02", "a stream past the limit", "RFC 9000 §4.6", 0x4, STREAM, 1_000_000_000, 0, 1, b"x"),
    parameter("T03", "no initial_source_connection_id", "RFC 9000 §7.3",
              initial_source_connection_id=None),
    parameter("T04", "original_destination_connection_id", "RFC 9000 §18.2",
              original_destination_connection_id=b"12345678"),
    parameter("T05", "preferred_address", "RFC 9000 §18.2", preferred_address=ADDRESS),
    parameter("T06", "retry_source_connection_id", "RFC 9000 §18.2",
              retry_source_connection_id=b"12345678"),
    parameter("T07", "stateless_reset_token", "RFC 9000 §18.2", stateless_reset_token=bytes(16)),
    parameter("T08", "max_udp_payload_size of 1090", "RFC 9000 §18.2", max_udp_payload_size=1090),
    parameter("T09", "ack_delay_exponent of 30", "RFC 9000 §18.2", ack_delay_exponent=30),
    parameter("T10", "max_ack_delay of 2^15", "RFC 9000 §18.2", max_ack_delay=1 << 15),
    raw("T11", "an unknown frame type", "RFC 9000 §12.4", 0x7, UNKNOWN),
    Case("T12", "a packet without a frame", "RFC 9000 §12.4", 0xA, EmptyPacket, arm),
    Case("T13", "reserved bits in a Handshake packet", "RFC 9000 §17.2", 0xA,
         ReservedHandshakeBits),
    Case("T14", "PATH_CHALLENGE in a Handshake packet", "RFC 9000 §17.2.4", 0xA,
         ChallengeInHandshake),
    Case("T15", "reserved bits in a short header", "RFC 9000 §17.3.1", 0xA, ReservedBits, arm),
    raw("T16", "RESET_STREAM on a send-only stream", "RFC 9000 §19.4", 0x5, RESET_STREAM, 3, 0, 0),
    raw("T17", "STOP_SENDING on an unknown stream", "RFC 9000 §19.5", 0x5, STOP_SENDING, 101, 0),
    raw("T18", "NEW_TOKEN from a client", "RFC 9000 §19.7", 0xA, NEW_TOKEN, 4, b"abcd"),
    raw("T19", "STREAM on an unknown server stream", "RFC 9000 §19.8", 0x5, STREAM, 1, 0, 1, b"x"),
    raw("T20", "STREAM on a send-only stream", "RFC 9000 §19.8", 0x5, STREAM, 3, 0, 1, b"x"),
    raw("T21", "MAX_STREAM_DATA on an unknown stream", "RFC 9000 §19.10", 0x5,
        MAX_STREAM_DATA, 101, 1000),
    raw("T22", "MAX_STREAM_DATA on a receive-only stream", "RFC 9000 §19.10", 0x5,
        MAX_STREAM_DATA, 2, 1000),
    raw("T23", "MAX_STREAMS above 2^60", "RFC 9000 §19.11", 0x7, MAX_STREAMS, TOO_MANY),
    raw("T24", "STREAMS_BLOCKED above 2^60", "RFC 9000 §19.14", 0x7, STREAMS_BLOCKED, TOO_MANY),
    raw("T25", "NEW_CONNECTION_ID which retires itself", "RFC 9000 §19.15", 0x7,
        NEW_CONNECTION_ID, 8, 18, b"\x08", bytes(8), bytes(16)),
    raw("T26", "NEW_CONNECTION_ID without an ID", "RFC 9000 §19.15", 0x7,
        NEW_CONNECTION_ID, 8, 0, b"\x00", bytes(16)),
    raw("T27", "HANDSHAKE_DONE from a client", "RFC 9000 §19.20", 0xA, HANDSHAKE_DONE),
    Case("T28", "a TLS KeyUpdate in a Handshake packet", "RFC 9001 §6", 0x10A,
         before_finished(KEY_UPDATE)),
    Case("T29", "a TLS KeyUpdate in a 1-RTT packet", "RFC 9001 §6", 0x10A,
         act=lambda peer: peer.quic.send_crypto(tls.Epoch.ONE_RTT, KEY_UPDATE)),
    Case("T30", "an unknown protocol", "RFC 9001 §8.1", 0x178, alpn="dummy"),
    # req: 9001-8.2-extension
    Case("T31", "no transport parameters", "RFC 9001 §8.2", 0x16D, with_extension(None)),
    # req: 9001-8.2-extension
    Case("T32", "transport parameters in the extension of drafts", "RFC 9001 §8.2", 0x16D,
         with_extension(0xFFA5)),
    Case("T33", "EndOfEarlyData", "RFC 9001 §8.3", 0x10A, before_finished(END_OF_EARLY_DATA)),
    # req: 8470-3-server-decides
    Case("T34", "CRYPTO in a 0-RTT packet", "RFC 9001 §8.3", 0xA, CryptoInEarlyData, returns=True),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.id}: {case.name}")
def test_a_transport_fault_gets_its_exact_code_and_others_go_on(files, site, case):
    with Peer(files.address).connect() as other:
        other.open_h3()
        ticket = ticket_of(files.address) if case.returns else None
        options = {"alpn_protocols": [case.alpn], "session_ticket": ticket}
        with Peer(files.address, case.connection, **options) as peer:
            if case.returns:
                ask_early(peer)
            elif case.act:
                peer.connect()
                case.act(peer)
            else:
                peer.begin_handshake()
            close = peer.wait_closed()
        assert close, f"{case.section}: the connection is still open"
        assert (close.application, hex(close.code)) == (False, hex(case.code)), case.section
        assert other.request("/small.txt").body == site.content("small.txt")


def test_what_is_just_allowed_is_no_fault(start):
    server = start.files()
    allowed = with_parameter(
        max_udp_payload_size=1200, ack_delay_exponent=20, max_ack_delay=(1 << 14) - 1
    )
    twins = (ReservedBits, EmptyPacket, PingInHandshake, with_extension(0x39), before_finished(b""))
    for connection in (allowed, *twins):
        with Peer(server.address, connection).connect() as peer:
            for kind in (MAX_STREAMS, STREAMS_BLOCKED):
                peer.quic.send_raw_frame(encode_uint_var(kind) + encode_uint_var(TOO_MANY - 1))
            peer.open_h3()
            assert peer.request("/small.txt").status == 200
            assert peer.closed is None
    # The connection with that max_ack_delay is draining for three times as long (RFC 9000 §10.2), and a server that is
    # told to end waits for it.
    server.kill()


def test_early_data_without_crypto_is_served(start, site):
    server = start.files()
    with Peer(server.address, session_ticket=ticket_of(server.address)) as peer:
        stream = ask_early(peer)
        assert peer.response(stream).body == site.content("small.txt")
        assert peer.early_data_accepted


class EarlyCrypto(Connection):
    """A client which sends CRYPTO in a 0-RTT packet behind its first flight, with keys of its own making."""

    sent = None

    def datagrams_to_send(self, now):
        datagrams = super().datagrams_to_send(now)
        if datagrams and not self.sent:
            self.sent = self._early_packet()
            datagrams.append((self.sent, datagrams[0][1]))
        return datagrams

    def _early_packet(self):
        keys = CryptoPair()
        keys.send.setup(
            cipher_suite=tls.CipherSuite.AES_128_GCM_SHA256, secret=os.urandom(32), version=1
        )
        payload = b"\x06\x00\x04" + END_OF_EARLY_DATA + bytes(1100)
        ids = b"".join(bytes([len(id)]) + id for id in (self._peer_cid.cid, self.host_cid))
        length = (0x4000 | len(payload) + 2 + 16).to_bytes(2, "big")
        header = b"\xd1" + (1).to_bytes(4, "big") + ids + length + b"\x00\x00"
        return keys.send.encrypt_packet(header, payload, 0)


def test_a_packet_of_early_data_without_a_ticket_for_it_is_dropped(files, site):
    with Peer(files.address, EarlyCrypto) as peer:
        peer.connect()
        peer.open_h3()
        assert peer.request("/small.txt").body == site.content("small.txt")
        assert peer.quic.sent and peer.closed is None
