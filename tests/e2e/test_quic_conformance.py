"""A few transport cases of h3spec, one for each way in which `h3raw` can break QUIC.

The rest of its thirty-four transport cases come through the same places.
"""

from dataclasses import dataclass
from typing import Callable

import pytest
from aioquic import tls
from aioquic.buffer import Buffer
from aioquic.quic.packet import pull_quic_transport_parameters, push_quic_transport_parameters

from h3raw import Connection, Peer

KEY_UPDATE = b"\x18\x00\x00\x01\x00"


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


def send_reserved_bits(peer):
    peer.quic.armed = True
    peer.quic.send_ping(uid=0)


CASES = [
    Case("T08", "a max_udp_payload_size of 1090", "RFC 9000 §18.2", 0x8,
         with_parameter(max_udp_payload_size=1090)),
    Case("T11", "an unknown frame type", "RFC 9000 §12.4", 0x7,
         act=lambda peer: peer.quic.send_raw_frame(b"\x20")),
    Case("T15", "reserved bits in a short header", "RFC 9000 §17.3.1", 0xA, ReservedBits,
         send_reserved_bits),
    Case("T27", "HANDSHAKE_DONE from a client", "RFC 9000 §19.20", 0xA,
         act=lambda peer: peer.quic.send_raw_frame(b"\x1e")),
    Case("T29", "a TLS KeyUpdate in a 1-RTT packet", "RFC 9001 §6", 0x10A,
         act=lambda peer: peer.quic.send_crypto(tls.Epoch.ONE_RTT, KEY_UPDATE)),
    Case("T30", "an unknown protocol", "RFC 9001 §8.1", 0x178, alpn="dummy"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.id}: {case.name}")
def test_a_transport_fault_gets_its_exact_code_and_others_go_on(files, site, case):
    with Peer(files.address).connect() as other:
        other.open_h3()
        with Peer(files.address, case.connection, alpn_protocols=[case.alpn]) as peer:
            if case.act:
                peer.connect()
                case.act(peer)
            else:
                peer.begin_handshake()
            close = peer.wait_closed()
        assert close, f"{case.section}: the connection is still open"
        assert (close.application, hex(close.code)) == (False, hex(case.code)), case.section
        assert other.request("/small.txt").body == site.content("small.txt")


def test_the_places_for_faults_do_no_harm_by_themselves(files):
    for connection in (with_parameter(max_udp_payload_size=1200), ReservedBits):
        with Peer(files.address, connection).connect() as peer:
            peer.quic.send_raw_frame(b"\x01")
            peer.open_h3()
            assert peer.request("/small.txt").status == 200
