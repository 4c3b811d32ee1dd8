"""Gaps: data that cannot be read yet, on as many streams as may be, so that the server has to put it aside.

`STERNA_GAPS="500 100 1000"` is the long run: connections, streams of each, gaps in each stream; `STERNA_GAPS_LIMIT=256` is the
limit that it runs with, in MiB.
"""

import os
import time

import pytest
from aioquic.buffer import encode_uint_var

from admin import Admin
from conftest import binary
from figures import figure
from h3client import Client
from h3raw import Connection, Peer
from server import Server

CONFIG = """
listen = ["127.0.0.1:0"]
http = "off"
workers = 2
access_log = false
admin = { listen = "unix:%(admin)s" }

[limits]
memory = "%(memory)s"

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
root = "%(root)s"
"""

CONNECTIONS, STREAMS, GAPS = (int(word) for word in os.environ.get("STERNA_GAPS", "24 100 1000").split())
LIMIT = int(os.environ.get("STERNA_GAPS_LIMIT", "64"))
LONG = "STERNA_GAPS" in os.environ
# What allocators keep for themselves counts for much beside little.
MARGIN = 0 if LONG else 16
MIB = 1024
PACKET = 1100
EXCESSIVE_LOAD = 0x107


def packets():
    """Every second byte of each stream but its first, in packets."""
    packet, all_of_them = bytearray(), []
    for gap in range(GAPS):
        for stream in range(STREAMS):
            # STREAM with offset and length (RFC 9000 §19.8).
            packet += b"\x0e" + encode_uint_var(4 * stream) + encode_uint_var(2 * gap + 1) + b"\x01x"
            if len(packet) >= PACKET:
                all_of_them.append(bytes(packet))
                packet.clear()
    return all_of_them + [bytes(packet)]


class Attacker(Peer):
    """Sends packets as they are, in the place of pings."""

    def __init__(self, address):
        super().__init__(address, Connection)

    def send_packet(self, frames):
        self.quic.edit_packet = lambda header, payload, number: (header, frames)
        self.quic.send_ping(uid=0)
        self._transmit()
        self.quic.edit_packet = None
        self.pump(lambda: True)

    def send_all(self, frames):
        for at, packet in enumerate(frames):
            if self.closed or self.terminated:
                return
            self.send_packet(packet)
            if at % 16 == 15:
                self.pump(lambda: self.closed, 0.005)


@pytest.fixture
def serve(tmp_path, certificate, site):
    started = []

    def serve(memory):
        admin, file = tmp_path / f"{len(started)}.sock", tmp_path / f"{len(started)}.toml"
        values = {"cert": certificate.cert, "key": certificate.key, "root": site.root, "admin": admin}
        file.write_text(CONFIG % (values | {"memory": memory}))
        server = Server([binary("STERNA_BIN"), "run", "-c", file], tmp_path / f"server-{len(started)}")
        server.admin = Admin(admin)
        started.append(server)
        return server

    yield serve
    for server in started:
        server.kill()


def attack(server):
    """How much memory grew, how many attackers were closed for it, how many failures others had."""
    frames, failures, fetched = packets(), [], 0
    before, peak, attackers, refused = server.rss_kib(), 0, [], 0
    probe = Client(server.address).connect(timeout=60)
    for _ in range(CONNECTIONS):
        attacker = Attacker(server.address)
        try:
            # Sooner than the probe is idle for too long.
            attacker.connect(timeout=15)
        except AssertionError:
            refused += 1
            continue
        attackers.append(attacker)
        attacker.send_all(frames)
        peak = max(peak, server.rss_kib())
        if os.environ.get("STERNA_GAPS_TRACE"):
            print(server.rss_kib() // 1024, server.admin.get("/status").json()["counters"]["queued_stream_bytes"] >> 20, bool(attacker.closed))
        try:
            assert probe.fetch("/small.txt", timeout=60).status == 200
            fetched += 1
        except Exception as error:  # noqa: BLE001
            failures.append(repr(error))
    for attacker in attackers:
        attacker.pump(lambda: attacker.closed, 0.05)
    codes = [attacker.closed.code for attacker in attackers if attacker.closed]
    counters = server.admin.get("/status").json()["counters"]
    for attacker in attackers:
        attacker.close()
    probe.close()
    print(f"{CONNECTIONS} x {STREAMS} x {GAPS} gaps: {refused} refused, {counters['shed_connections']} shed")
    figure("requests-beside-failed", len(failures), f"of-{fetched + len(failures)}", "0")
    assert not failures, failures[:3]
    return (peak - before) / MIB, codes, counters


@pytest.mark.timeout(1800 if LONG else 300)
def test_gaps_take_no_more_memory_than_the_limit_and_whoever_makes_them_goes(serve):
    server = serve(f"{LIMIT}MiB")
    grown, codes, counters = attack(server)
    figure("rss-growth", grown, "MiB", f"<= {LIMIT + MARGIN}")
    figure("attackers-closed", len(codes), f"of-{CONNECTIONS}", ">= 1")
    assert grown <= LIMIT + MARGIN, f"RSS grew by {grown:.1f} MiB"
    assert codes and set(codes) == {EXCESSIVE_LOAD}
    assert counters["shed_connections"] >= len(codes)
    deadline = time.monotonic() + 60
    while server.admin.get("/status").json()["counters"]["queued_stream_bytes"] > 0:
        assert time.monotonic() < deadline, "what was held is not given back"
        time.sleep(0.2)
    server.stop()


@pytest.mark.skipif(LONG, reason="it takes all memory")
@pytest.mark.timeout(300)
def test_without_the_limit_gaps_take_what_they_want(serve):
    server = serve("off")
    grown, codes, counters = attack(server)
    assert grown > LIMIT + MARGIN, "the attack is none: the test beside this one proves nothing"
    assert not codes and counters["shed_connections"] == 0
    server.stop()
