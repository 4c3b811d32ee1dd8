"""Clients that return: sessions go on at any worker and after a restart, and early data of a client that is not ours."""

import json
import socket
import ssl
import stat
import subprocess
import time
from datetime import timedelta

import pytest

from admin import Admin
from conftest import binary
from h3raw import DATA, Peer, frame, request_frame, ticket_of
from origins import Http1
from server import Server

CONFIG = """
listen = ["127.0.0.1:%(port)s"]
workers = 2
http = "off"
debug_headers = true
access_log = { file = "%(folder)s/access.log", format = "json", fields = ["path", "worker", "early_data"] }
admin.listen = "unix:%(folder)s/admin.sock"
quic = { retry = "never", zero_rtt = "%(zero_rtt)s" }
defaults.tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
host = "localhost"
proxy = "%(origin)s"
"""

PATIENCE = 60
# Connections until both workers must have had one: the kernel spreads them by chance.
MANY = 200


class World:
    """A server that may be started again, and what it leaves on the disk."""

    def __init__(self, folder, certificate, origin):
        self.folder, self.certificate, self.origin = folder, certificate, origin
        self.port, self.server = 0, None

    def start(self, zero_rtt="safe", process="process"):
        """`process` names the folder of its data."""
        values = {
            "port": self.port,
            "folder": self.folder,
            "cert": self.certificate.cert,
            "key": self.certificate.key,
            "origin": self.origin.address,
            "zero_rtt": zero_rtt,
        }
        file = self.folder / "sterna.toml"
        file.write_text(CONFIG % values)
        argv = [binary("STERNA_BIN"), "run", "--config", file]
        self.server = Server(argv, self.folder / process)
        self.port = self.server.port
        return self

    def restart(self, **options):
        self.server.stop()
        return self.start(**options)

    @property
    def address(self):
        return self.server.address

    def status(self):
        return Admin(self.folder / "admin.sock").get("/status").json()

    def counter(self, name):
        return self.status()["counters"][name]

    def workers_of(self, path):
        """Which workers were asked for it; the log is written behind the answer."""
        lines = (self.folder / "access.log").read_text().splitlines()
        whole = [json.loads(line) for line in lines if line.endswith("}")]
        return {line["worker"] for line in whole if line["path"] == path}


@pytest.fixture
def world(tmp_path, certificate):
    origin = Http1()
    world = World(tmp_path, certificate, origin)
    yield world
    world.server.stop()
    origin.stop()


class Tcp:
    """Connections of one client over TCP, which keeps its last session as browsers do."""

    def __init__(self, world, version, alpn):
        self.world = world
        self.context = ssl.create_default_context(cafile=world.certificate.cert)
        self.context.minimum_version = self.context.maximum_version = version
        self.context.set_alpn_protocols([alpn])
        self.alpn, self.session = alpn, None

    def connect(self, path="/"):
        """Whether the session went on."""
        with socket.create_connection(self.world.address, PATIENCE) as plain:
            options = {"server_hostname": "localhost", "session": self.session}
            with self.context.wrap_socket(plain, **options) as secure:
                assert secure.selected_alpn_protocol() == self.alpn
                if self.alpn == "h2":
                    # The server's SETTINGS come with or behind its tickets.
                    secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
                else:
                    secure.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
                assert secure.recv(1)
                self.session = secure.session
                return secure.session_reused


TCP = [
    pytest.param(version, alpn, id=f"{version.name} {alpn}")
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2)
    for alpn in ("http/1.1", "h2")
]


@pytest.mark.parametrize("version, alpn", TCP)
def test_sessions_over_tcp_go_on_after_a_restart_at_once(world, version, alpn):
    client = Tcp(world.start(), version, alpn)
    assert [client.connect() for _ in range(3)] == [False, True, True]
    world.restart()
    assert client.connect() and client.connect()
    # Not because any server would: one with other keys does not know it.
    world.restart(process="another")
    assert [client.connect() for _ in range(2)] == [False, True]


def test_a_session_over_tcp_goes_on_at_either_worker(world):
    client = Tcp(world.start(), ssl.TLSVersion.TLSv1_3, "http/1.1")
    client.connect("/first")
    resumed = 0
    while world.workers_of("/again") != {0, 1}:
        assert client.connect("/again")
        resumed += 1
        assert resumed < MANY


def test_keys_of_tickets_are_for_their_owner_alone_and_stay(world):
    world.start()
    directory = world.folder / "process/data/tickets"
    file = directory / "ticket.keys"
    keys = file.read_text()
    # Of this half day and of the next.
    assert len(keys.splitlines()) == 2
    world.restart()
    assert file.read_text().startswith(keys)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (directory, *directory.iterdir())}
    assert modes.pop(directory) == 0o700
    assert file in modes and set(modes.values()) == {0o600}, modes


def until(is_so):
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.01)


def early(world, ticket, method="GET", path="/", body=b"", is_taken=True, meanwhile=lambda: None):
    """A request of aioquic with its first flight: the answer, whether early data was taken, and the next ticket.

    It reads nothing, so that the handshake is not complete, until the server has the request and `meanwhile` was called.
    """
    came = world.counter("early_requests")
    with Peer(world.address, session_ticket=ticket) as peer:
        peer.begin_early()
        peer.open_h3()
        whole = request_frame(method, path) + (frame(DATA, body) if body else b"")
        stream = peer.open_bidi(whole, fin=True)
        if is_taken:
            until(lambda: world.counter("early_requests") > came)
            meanwhile()
        answer = peer.response(stream, PATIENCE)
        assert peer.pump(lambda: peer.established and peer.tickets, PATIENCE)
        return answer, peer.early_data_accepted, peer.tickets[0]


# What a client that is not ours meets in each mode, in early data: whether it is taken, and for which methods it is answered at once.
MODES = [("off", False, []), ("safe", True, ["GET"]), ("all", True, ["GET", "POST"])]


# req: 8470-3-server-decides
# req: 8470-3-unsafe-methods
@pytest.mark.parametrize("zero_rtt, is_taken, at_once", MODES)
def test_another_client_is_answered_early_as_the_configuration_says(world, zero_rtt, is_taken, at_once):
    ticket = ticket_of(world.start(zero_rtt).address)
    assert bool(ticket.max_early_data_size) == is_taken
    for method, body in (("GET", b""), ("POST", b"content")):
        held = int(method not in at_once)
        answer, accepted, ticket = early(
            world, ticket, method, body=body, is_taken=is_taken,
            meanwhile=lambda: until(lambda: world.counter("queued_early_requests") == held),
        )
        assert (answer.status, accepted) == (200, is_taken)
        assert answer.header("x-early-data") == ("accepted" if method in at_once else None)
        if method == "POST":
            assert answer.body == body
        else:
            # The head as the backend saw it.
            assert (b"early-data: 1" in answer.body.lower()) == is_taken
    assert world.status()["quic"]["early_data_accepted"] == 2 * is_taken


def test_early_data_of_another_client_is_taken_at_either_worker(world):
    ticket = ticket_of(world.start().address)
    asked = 0
    while world.workers_of("/early") != {0, 1}:
        _, accepted, ticket = early(world, ticket, path="/early")
        assert accepted
        asked += 1
        assert asked < MANY
    lines = map(json.loads, (world.folder / "access.log").read_text().splitlines())
    assert {line["early_data"] for line in lines if line["path"] == "/early"} == {True}


def test_of_two_servers_with_the_same_keys_one_takes_early_data(world, monkeypatch):
    monkeypatch.setenv("STERNA_DATA", str(world.folder / "shared"))
    world.start()
    folder = world.folder / "other"
    folder.mkdir()
    other = World(folder, world.certificate, world.origin).start()
    try:
        with Peer(other.address, session_ticket=ticket_of(world.address)) as peer:
            peer.begin_early()
            peer.open_h3()
            assert peer.pump(lambda: peer.established, PATIENCE)
            assert peer.quic.tls.session_resumed and not peer.early_data_accepted
        assert other.status()["quic"]["early_data_waiting"] == 1
        _, accepted, _ = early(world, ticket_of(world.address))
        assert accepted
    finally:
        other.server.stop()


def test_what_became_of_early_data_is_counted_and_told(world):
    ticket = ticket_of(world.start().address)
    _, _, fresh = early(world, ticket)
    # A ticket twice, and one whose age cannot be.
    for offered in (ticket, aged(fresh, hours=1)):
        with Peer(world.address, session_ticket=offered) as peer:
            peer.begin_early()
            peer.open_h3()
            assert peer.pump(lambda: peer.established, PATIENCE)
            assert not peer.early_data_accepted
    counted = {name: world.status()["quic"][f"early_data_{name}"] for name in COUNTED}
    assert counted == {"accepted": 1, "replayed": 1, "rejected": 1, "waiting": 0}
    metrics = Admin(world.folder / "admin.sock").get("/metrics").text
    for name, count in counted.items():
        assert f"sterna_quic_early_data_{name}_total {count}\n" in metrics
    argv = [binary("STERNA_BIN"), "status", "--admin", f"unix:{world.folder}/admin.sock"]
    told = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE)
    assert "early data    1 taken, 1 refused, 1 replayed" in told.stdout, told


COUNTED = ("accepted", "replayed", "rejected", "waiting")


def aged(ticket, **by):
    """As its client would have it that lies about the time."""
    ticket.not_valid_before -= timedelta(**by)
    return ticket
