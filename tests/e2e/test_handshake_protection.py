"""What strangers get: as many handshakes as there is room for, three times what they sent, and nothing that proves anything.

`STERNA_FLOOD=60` is the long run of the flood, in seconds, at 5,000 first flights in each.
"""

import os
import socket
import threading
import time

import pytest
from aioquic.buffer import Buffer
from aioquic.quic.packet import QuicPacketType, pull_quic_header

from admin import Admin
from conftest import binary
from figures import figure
from h3client import Client
from h3raw import Peer
from server import Server
from strangers import Crowd, Hello, answers, eventually, kind, long_chain

CONFIG = """
listen = [%(listen)s]
http = "off"
workers = %(workers)d
access_log = false
admin = { listen = "unix:%(admin)s" }

[quic]
%(quic)s

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
root = "%(root)s"
"""

LONG = float(os.environ.get("STERNA_FLOOD", "0"))
SECONDS, PER_SECOND = (LONG, 5000) if LONG else (2.0, 1000)
MIB = 1024
GUESSES = 10_000


class Place(Server):
    """A server, its operator's interface and its data."""

    def __init__(self, argv, folder, admin):
        super().__init__(argv, folder)
        self.admin = Admin(admin)

    def quic(self):
        return self.admin.get("/status").json()["quic"]


@pytest.fixture
def serve(tmp_path, certificate, site):
    started = []

    def serve(quic="", workers=1, listen=("127.0.0.1:0",), cert=None):
        number, cert = len(started), cert or certificate
        admin, file = tmp_path / f"{number}.sock", tmp_path / f"{number}.toml"
        values = {"cert": cert.cert, "key": cert.key, "root": site.root, "quic": quic, "admin": admin}
        values |= {"workers": workers, "listen": ", ".join(f'"{place}"' for place in listen)}
        file.write_text(CONFIG % values)
        argv = ["env", f"STERNA_DATA={tmp_path / 'data'}", binary("STERNA_BIN"), "run", "-c", file]
        started.append(Place(argv, tmp_path / f"server-{number}", admin))
        return started[-1]

    yield serve
    for server in started:
        if server.process.poll() is None:
            server.stop()
        server.kill()


@pytest.fixture
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        yield udp


class Probe(threading.Thread):
    """A client that shakes hands and asks for a file, again and again."""

    def __init__(self, address):
        super().__init__()
        self.address, self.done, self.failures = address, 0, []
        self.over = threading.Event()
        self.start()

    def run(self):
        while not self.over.is_set():
            try:
                with Client(self.address).connect(timeout=60) as client:
                    assert client.fetch("/small.txt", timeout=60).status == 200
                self.done += 1
            except Exception as error:  # noqa: BLE001
                self.failures.append(repr(error))
            time.sleep(0.02)

    def end(self):
        self.over.set()
        self.join(120)
        return self.done, self.failures


@pytest.mark.timeout(240 + 3 * LONG)
def test_a_flood_of_first_flights_is_answered_with_retry_and_costs_others_nothing(serve):
    server = serve("" if LONG else "retry_above = 100")
    hello = Hello(server.address)
    flights = [hello.seal() for _ in range(int(min(SECONDS, 4.0) * PER_SECOND))]
    flights *= max(1, int(SECONDS * PER_SECOND) // len(flights))
    before = server.rss_kib()
    probe = Probe(server.address)
    with Crowd(256) as crowd:
        began = time.monotonic()
        took = crowd.rush(server.address, flights, PER_SECOND)
        crowd.listen(1.0)
        grown = server.rss_kib() - before
        done, failures = probe.end()
        quic = server.quic()
    assert crowd.first_retry, "no Retry"
    delay = crowd.first_retry - began
    print(f"{len(flights)} first flights from 256 addresses in {took:.1f} s, {crowd.retries} Retries")
    # On a machine with other things to do a server may get to it late.
    soon = 0.1 if LONG else 10.0
    figure("first-flights", len(flights), "flights", "-")
    figure("first-retry", delay * 1000, "ms", f"<= {soon * 1000:.0f}")
    figure("rss-growth", grown / MIB, "MiB", "<= 32")
    figure("probes-failed", len(failures), f"of-{done + len(failures)}", "<= 0.1 %")
    assert quic["retry_switched_on"] >= 1 and quic["retried"] >= crowd.retries > 0
    assert done >= 1 and len(failures) <= (done + len(failures)) // 1000, failures
    assert grown <= 32 * MIB
    assert delay <= soon
    server.assert_alive()


def test_without_retry_a_flood_fills_memory_up_to_the_bound_on_handshakes(serve):
    server = serve('retry = "never"\nhandshakes = 400')
    hello = Hello(server.address)
    flights = [hello.seal() for _ in range(1000)]
    before = server.rss_kib()
    with Crowd(256) as crowd:
        crowd.rush(server.address, flights, 1000)
        assert eventually(lambda: server.quic()["handshakes_refused"] > 0)
        grown, status = server.rss_kib() - before, server.admin.get("/status").json()
        crowd.listen(0.5)
    under_way, refused = status["quic_handshakes"]["under_way"], status["quic"]["handshakes_refused"]
    print(f"{under_way} handshakes under way, {refused} refused: RSS +{grown} KiB, {grown / max(1, under_way):.1f} KiB each")
    assert crowd.retries == 0
    assert 0 < under_way <= 400 and refused > 0
    # What Retry saves: each of them is kept.
    assert grown > under_way * 8


# -- amplification ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_certificate(tmp_path_factory):
    """With a chain that is longer than what an address that has proven nothing may get."""
    return long_chain(tmp_path_factory.mktemp("long"))


def one_initial(hello):
    yield hello.seal()


def odd_sizes(hello):
    for size in (1250, 1300, 1350, 1400, 1452):
        yield hello.seal(size=size)


def repeated(hello):
    """All replies are lost, and the client goes on asking."""
    flight = hello.seal()
    for _ in range(4):
        yield flight


def with_junk(hello):
    yield hello.seal() + b"\xe0" + os.urandom(150)


def undersized(hello):
    yield hello.seal(size=0)[:1199]


def then_garbage(hello):
    """A first flight, and what only looks like the rest of the handshake, from the same address."""
    destination = os.urandom(8)
    yield hello.seal(destination)
    for _ in range(5):
        yield b"\xe0\x00\x00\x00\x01\x08" + destination + b"\x08" + hello.source + b"\x40\x40" + os.urandom(64)


FILL = 730

STRANGERS = [one_initial, odd_sizes, repeated, with_junk, undersized, then_garbage]


@pytest.mark.parametrize("flight", STRANGERS, ids=lambda flight: flight.__name__)
# req: 9000-8.1-three-times
def test_strangers_get_three_times_what_they_sent_at_most(serve, long_certificate, udp, flight):
    server = serve(cert=long_certificate)
    sent = 0
    # A hello without padding: what is padded counts less for the engine, and hides what ours has to do.
    for datagram in flight(Hello(server.address, fill=FILL)):
        sent += udp.sendto(datagram, server.address)
        time.sleep(0.05)
    first = 2.5 if flight is undersized else 30.0
    received = sum(map(len, answers(udp, wait=2.5, first=first)))
    figure(f"amplification-{flight.__name__}", received / sent, "times", "<= 3.000")
    assert received <= 3 * sent
    assert (received == 0) == (flight is undersized)


def test_an_address_that_was_moved_to_gets_three_times_what_came_from_there(serve, udp):
    server = serve()
    with Client(server.address).connect(timeout=30) as client:
        stream = client.start("GET", "/big.bin")
        exchange = client.exchanges[stream]
        client.pump(lambda: len(exchange.body) > 100_000, 30)
        # The client's own next datagrams, with an address on them where nobody answers.
        client.quic.send_ping(uid=0)
        sent = 0
        for datagram, _ in client.quic.datagrams_to_send(now=time.monotonic()):
            sent += udp.sendto(datagram, server.address)
        received = sum(map(len, answers(udp, wait=2.0, first=2.0)))
    figure("amplification-moved", received / sent, "times", "<= 3.000")
    assert sent > 0 and received <= 3 * sent


def test_what_is_answered_without_a_connection_is_less_than_what_asked(serve, udp):
    server = serve('retry = "always"')
    hello = Hello(server.address)
    unknown = b"\xc0\x1a\x2a\x3a\x4a\x08destined\x07sourced" + bytes(1200)
    for name, datagram in (("Retry", hello.seal()), ("Version Negotiation", unknown)):
        udp.sendto(datagram, server.address)
        received = sum(map(len, answers(udp)))
        print(f"amplification, {name}: {received} bytes for {len(datagram)}, {received / len(datagram):.3f}")
        assert 0 < received < len(datagram)


# -- tokens and resets --------------------------------------------------------------------------------------------


# req: 9000-17.2.5.1-one-for-a-datagram
def retry_of(udp, server, hello):
    udp.sendto(hello.seal(chosen := os.urandom(8)), server.address)
    [datagram] = answers(udp)
    header = pull_quic_header(Buffer(data=datagram), host_cid_length=8)
    assert header.packet_type == QuicPacketType.RETRY and header.source_cid != chosen
    return header


# req: 9000-8.1.4-not-forged
# req: 9000-8.1.4-once
def test_tokens_that_are_forged_stolen_or_used_prove_nothing(serve, udp):
    server = serve('retry = "always"')
    hello = Hello(server.address)
    retry = retry_of(udp, server, hello)
    token, id = retry.token, retry.source_cid
    forged = 10_000 if LONG else 300
    with Crowd(8) as crowd:
        flights = []
        for at in range(forged):
            changed = bytearray(token)
            changed[at % len(token)] ^= 1 << (at // len(token) % 8)
            flights.append(hello.seal(token=bytes(changed) if at % 2 else os.urandom(len(token))))
        crowd.rush(server.address, flights, 300)
        deadline = time.monotonic() + 60
        while crowd.retries < forged * 9 // 10 and time.monotonic() < deadline:
            crowd.listen(0.2)
        stolen = crowd.sockets[0]
        stolen.sendto(hello.seal(id, token), server.address)
        # Of another address it is a failure of the client's (RFC 9000 §8.1.3), and no proof.
        [close] = [data for data in answers(stolen, wait=2.0) if kind(data) == QuicPacketType.INITIAL]
    quic = server.quic()
    print(f"{forged} forged tokens: {quic['tokens_forged']} known as such")
    figure("forged-tokens-accepted", quic["tokens_accepted"], f"of-{forged}", "0")
    assert len(close) < 1200
    assert (quic["tokens_accepted"], quic["handshakes_begun"]) == (0, 0)
    assert quic["tokens_forged"] >= forged * 9 // 10
    assert crowd.retries >= forged * 9 // 10, "they are asked again"

    retry = retry_of(udp, server, hello)
    udp.sendto(hello.seal(retry.source_cid, retry.token), server.address)
    assert {kind(data) for data in answers(udp)} & {QuicPacketType.INITIAL}, "it is good once"
    udp.sendto(hello.seal(token=retry.token), server.address)
    assert eventually(lambda: server.quic()["tokens_replayed"]) == 1
    assert server.quic()["tokens_accepted"] == 1


def reset_of(udp, address, id, tries=1):
    """The token in the reset that comes for this ID, if one comes."""
    for _ in range(tries):
        udp.sendto(b"\x40" + id + os.urandom(100), address)
        for answer in answers(udp, wait=0.2, first=0.2):
            if answer[0] & 0xC0 == 0x40:
                return answer[-16:]
    return None


def ids_of(client):
    """The server's IDs of a connection, with their tokens."""
    return {id.cid: id.stateless_reset_token for id in [client._peer_cid, *client._peer_cid_available]}


# req: 9000-10.3.2-hard-to-guess
# req: 9000-21.11-no-reset-for-a-sibling
def test_no_reset_tells_of_a_living_connection_whatever_is_asked(serve, udp):
    server = serve(workers=2, listen=("127.0.0.1:0", "127.0.0.2:0"))
    # The second listener has a port of its own.
    addresses = server.admin.get("/status").json()["addresses"]
    other = addresses[1].rsplit(":", 1)
    other = (other[0], int(other[1]))
    with Client(server.address).connect(timeout=30) as client:
        assert client.fetch("/small.txt").status == 200
        living = ids_of(client.quic)
        assert len(living) > 1
        learnt = []
        for id in living:
            for address in (server.address, other):
                learnt.append(reset_of(udp, address, id))
        ids = list(living)
        for at in range(GUESSES):
            id = ids[at % len(ids)] if at % 2 else os.urandom(8)
            udp.sendto(b"\x40" + id + os.urandom(60), server.address if at % 4 else other)
            if at % 50 == 0:
                time.sleep(0.005)
        learnt += [data[-16:] for data in answers(udp, first=0.5)]
        valid = set(learnt) & set(living.values())
        print(f"{GUESSES} guesses and {len(living)} living IDs at two listeners")
        figure("valid-reset-tokens", len(valid), f"of-{GUESSES}", "0")
        assert not valid
        assert learnt[: 2 * len(living)] == [None] * 2 * len(living)
        assert client.fetch("/small.txt").status == 200, "it is still there"


# req: 9000-10.3-reset-what-is-forgotten
def test_resets_after_a_restart_carry_the_tokens_of_before_and_come_at_a_bounded_rate(serve, udp, tmp_path):
    server = serve()
    peer = Peer(server.address).connect(timeout=30)
    peer.open_h3()
    assert peer.request("/small.txt").status == 200
    known = ids_of(peer.quic)
    secret = tmp_path / "data/quic/secret"
    assert secret.stat().st_mode & 0o777 == 0o600
    kept = secret.read_bytes()
    server.process.kill()
    server.process.wait()
    server = serve(listen=(f"127.0.0.1:{server.port}",))
    assert secret.read_bytes() == kept
    for id, token in known.items():
        assert reset_of(udp, server.address, id, tries=200) == token
    # So many in so long, whoever asks.
    asked, began = 2000, time.monotonic()
    for at in range(asked):
        udp.sendto(b"\x40" + id + os.urandom(60 + at % 100), server.address)
        time.sleep(0.0005)
    resets = len(answers(udp, wait=0.5))
    took = time.monotonic() - began
    print(f"{asked} packets of a forgotten connection in {took:.1f} s: {resets} resets")
    assert 0 < resets <= took * 50 + 2
    assert server.quic()["resets_sent"] >= resets
    peer.socket.close()
