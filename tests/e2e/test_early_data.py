"""Early data (0-RTT): answered at once where that does no harm, marked for backends, and never taken from a copy."""

import json
import queue
import re
import socket
import ssl
import subprocess
import threading
import time
from http.client import HTTPSConnection

import pytest

import origins
from admin import Admin
from conftest import binary
from figures import figure
from server import Server

CONFIG = """
listen = ["127.0.0.1:%(port)s"]
workers = 2
http = "off"
debug_headers = true
access_log = { file = "%(folder)s/access.log", format = "json", fields = ["path", "status", "early_data"] }

[admin]
listen = "unix:%(folder)s/admin.sock"

[quic]
# A replay that is asked for a proof of its address would prove nothing here.
retry = "never"

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
host = "localhost"
respond = "hello"

[[site.route]]
path = "/proxy/*"
proxy = "%(origin)s"

[[site.route]]
path = "/held/*"
early_data = "off"
proxy = "%(origin)s"

[[site.route]]
path = "/near/*"
allow = "127.0.0.0/8"
proxy = "%(origin)s"
"""

# What a datagram takes through the slow relay, one way: the handshake must not be complete before the request is there.
ONE_WAY = 0.1
PATIENCE = 60


class Origin(origins.Origin):
    """Keeps what it was asked; to `/proxy/strict` it answers 425 as long as a request says that it is early."""

    def __init__(self):
        self.seen = []
        origin = self

        class Handler(origins.Answering):
            def do_GET(self):
                early = self.headers.get("early-data")
                origin.seen.append((self.path, early))
                self.answer(b"ok", 425 if early and "strict" in self.path else 200)

        super().__init__(Handler)


class SlowRelay:
    """Passes the datagrams of clients on, each after `ONE_WAY`, and keeps the last first flight of a client."""

    def __init__(self, server):
        self.server = server
        self.flight, self._known, self._is_first = [], set(), False
        self._ups = {}
        self._waiting = queue.Queue()
        threading.Thread(target=self._send, daemon=True).start()
        self._down = self._bind()
        self.port = self._down.getsockname()[1]
        threading.Thread(target=self._run_down, daemon=True).start()

    @staticmethod
    def _bind():
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.bind(("127.0.0.1", 0))
        return bound

    def _run_down(self):
        while True:
            try:
                data, client = self._down.recvfrom(65536)
            except OSError:
                return
            self._note(data)
            if client not in self._ups:
                self._ups[client] = self._bind()
                threading.Thread(target=self._run_up, args=(client,), daemon=True).start()
            self._later(self._ups[client], data, self.server)

    def _run_up(self, client):
        while True:
            try:
                data, _ = self._ups[client].recvfrom(65536)
            except OSError:
                return
            # In short headers it says something to an earlier connection.
            if data[0] & 0x80:
                self._is_first = False
                # From now on the client calls the server by this name, in Initial packets too.
                begin = 7 + data[5]
                self._known.add(data[begin : begin + data[begin - 1]])
            self._later(self._down, data, client)

    def _later(self, sender, data, to):
        self._waiting.put((time.monotonic() + ONE_WAY, sender, data, to))

    def _send(self):
        """In the order in which they came: what is early must not come before what it needs."""
        while (waiting := self._waiting.get()) is not None:
            due, sender, data, to = waiting
            time.sleep(max(0, due - time.monotonic()))
            try:
                sender.sendto(data, to)
            except OSError:
                pass  # closed

    def _note(self, data):
        # Whatever the fixed bit is: a returning client may leave it out (RFC 9287).
        is_initial = data[0] & 0xB0 == 0x80
        if is_initial and (name := data[6 : 6 + data[5]]) not in self._known:
            self._known.add(name)
            # What follows until the server says something belongs to it.
            self.flight, self._is_first = [], True
        if self._is_first:
            self.flight.append(data)

    def stop(self):
        self._waiting.put(None)
        for bound in [self._down, *self._ups.values()]:
            bound.close()


class World:
    """A server with keys of its own, which a later one may go on with."""

    def __init__(self, folder, certificate, origin):
        self.folder, self.certificate, self.origin = folder, certificate, origin
        self.port, self.starts = 0, 0
        self.start()

    def start(self):
        self.starts += 1
        values = {
            "port": self.port,
            "folder": self.folder,
            "cert": self.certificate.cert,
            "key": self.certificate.key,
            "origin": self.origin.address,
        }
        file = self.folder / "sterna.toml"
        file.write_text(CONFIG % values)
        self.server = Server([binary("STERNA_BIN"), "run", "--config", file], self.folder / "process")
        self.port = self.server.port
        self.relay = SlowRelay(self.server.address)

    def stop(self):
        self.server.stop()
        self.relay.stop()

    def restart(self):
        self.stop()
        self.start()

    def get(self, path):
        """A request in early data, through the relay; what the client says of it, and the head of the answer."""
        url = f"https://localhost:{self.relay.port}{path}"
        ran = subprocess.run(
            [binary("STERNA_BIN"), "get", "--0rtt", "--no-memory", "-i", "--cacert", self.certificate.cert, url],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert ran.returncode == 0, ran.stderr
        self.told = ran.stderr
        verdict = re.search(r"0-RTT: (\w+)", ran.stderr)
        return verdict and verdict[1], ran.stdout.lower()

    def request(self, method, path, headers=()):
        """Over HTTP/1.1, by another client."""
        context = ssl.create_default_context(cafile=self.certificate.cert)
        connection = HTTPSConnection("localhost", self.port, context=context, timeout=PATIENCE)
        connection.request(method, path, headers=dict(headers))
        response = connection.getresponse()
        response.read()
        connection.close()
        return response

    def counter(self, name):
        metrics = Admin(self.folder / "admin.sock").get("/metrics").text
        values = re.findall(rf"^\w*{name}\w*(?:{{[^}}]*}})? (\d+)", metrics, re.M)
        assert values, metrics[:2000]
        return sum(map(int, values))

    def logged(self, path):
        lines = (self.folder / "access.log").read_text().splitlines()
        return [line for line in map(json.loads, lines) if line["path"] == path]


@pytest.fixture
def origin():
    origin = Origin()
    yield origin
    origin.stop()


@pytest.fixture
def world(tmp_path, certificate, origin):
    world = World(tmp_path, certificate, origin)
    yield world
    world.stop()


def until(is_so):
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.05)


# req: 8470-3-server-decides
def test_a_returning_client_is_answered_before_the_handshake(world):
    verdict, answer = world.get("/")
    assert verdict == "accepted"
    assert "x-early-data: accepted" in answer and answer.endswith("hello")
    until(lambda: world.logged("/"))
    assert [line["early_data"] for line in world.logged("/")] == [True]
    assert world.counter("early_data_accepted") == 1


# req: 8470-5.1-early-data-field
def test_a_backend_is_told_of_early_data_and_not_of_what_waited(world, origin):
    assert world.get("/proxy/x")[0] == "accepted"
    assert origin.seen == [("/proxy/x", "1")]
    # The second waits as its address, which lets it in, is only claimed before.
    for path in ("/held/x", "/near/x"):
        verdict, answer = world.get(path)
        assert verdict == "accepted", world.told
        assert "x-early-data" not in answer
    assert origin.seen[1:] == [("/held/x", None), ("/near/x", None)]
    assert world.counter("queued_early_requests") == 0


def test_a_backend_that_takes_no_early_data_is_asked_again_after_the_handshake(world, origin):
    verdict, answer = world.get("/proxy/strict")
    assert verdict == "accepted" and " 200" in answer.splitlines()[0]
    assert origin.seen == [("/proxy/strict", "1"), ("/proxy/strict", None)]


# req: 8470-5.1-field-not-removed
# req: 8470-5.2-forward
def test_who_was_told_of_early_data_before_us_is_believed_and_gets_the_answer(world, origin):
    """A proxy in front of us: it knows the client's connection, and we do not."""
    told = {"early-data": "1", "connection": "early-data"}
    for path, status in [("/proxy/x", 200), ("/proxy/strict", 425)]:
        response = world.request("GET", path, told)
        assert response.status == status
    assert origin.seen == [("/proxy/x", "1"), ("/proxy/strict", "1")], "asked once each"


def test_after_a_restart_sessions_go_on_and_early_data_waits(world):
    assert world.get("/")[0] == "accepted"
    world.restart()
    # Keys that were there before: what was taken under them is not known any more.
    assert world.get("/")[0] == "rejected"
    assert world.counter("early_data_waiting") == 1


# req: 8470-3-consistent
def test_a_flight_replayed_a_thousand_times_over_workers_and_a_restart_has_no_effect(world, origin):
    assert world.get("/proxy/paid")[0] == "accepted"
    flight = world.relay.flight
    assert flight and len(origin.seen) == 1
    replay(world, flight, 500, "early_data_replayed")
    world.restart()
    replay(world, flight, 500, "early_data_waiting")
    figure("replays-with-an-effect", len(origin.seen) - 1, "of-1000", "0")
    assert len(origin.seen) == 1, "no request came from a replay"
    assert world.counter("early_requests") == 0


def replay(world, flight, times, counter):
    """Sends it from as many ports, some dozens at a time."""
    done = 0
    while done < times:
        batch = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(min(50, times - done))]
        for sender in batch:
            # A worker knows a flight by its connection id as long as it has the connection: each is another one's.
            for datagram in flight:
                sender.sendto(datagram, world.server.address)
        done += len(batch)
        time.sleep(0.05)
        for sender in batch:
            sender.close()
    until(lambda: world.counter(counter) >= 1)
