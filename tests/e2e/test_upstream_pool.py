"""Connections to backends that are there before a request needs them."""

import socket
import threading
import time

import pytest

from conftest import binary
from origins import Http2
from server import Server

CONFIG = """
listen = ["127.0.0.1:0"]
http = "off"
workers = 2
access_log = false

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
proxy = "%(to)s"
upstream_pool = { warm_up = 3 }
"""


class Silent:
    """Takes connections over TCP, and says nothing."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self.connections = 0
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(stream)
            self.connections += 1

    def hang_up(self):
        while self._open:
            self._open.pop().close()

    def stop(self):
        self._listener.close()
        self.hang_up()


@pytest.fixture
def serve(tmp_path, certificate):
    started = []

    def serve(to):
        values = {"to": to, "cert": certificate.cert, "key": certificate.key}
        (tmp_path / "sterna.toml").write_text(CONFIG % values)
        started.append(Server([binary("STERNA_BIN"), "run", "-c", tmp_path / "sterna.toml"], tmp_path / "server"))

    yield serve
    for server in started:
        server.stop()


def until(done):
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_each_worker_has_its_connections_before_a_request_comes_and_has_them_again_when_they_ended(serve):
    origin = Silent()
    serve(origin.address)
    until(lambda: origin.connections == 6)
    origin.hang_up()
    until(lambda: origin.connections == 12)
    origin.stop()


def test_of_connections_that_requests_share_each_worker_has_one(serve):
    origin = Http2()
    serve(origin.address)
    until(lambda: origin.connections == 2)
    # Two more looks: there is no event for what does not happen.
    time.sleep(2.5)
    assert origin.connections == 2
    origin.stop()
