"""What the access log can tell of a request beside its usual line."""

import json
import socket
import threading
import time

import httpx
import pytest

from conftest import binary
from server import Server

CONFIG = """
listen = ["127.0.0.1:0"]
http = "off"
access_log = { file = "%(folder)s/access.log", format = "json", fields = ["path", "status", "received_bytes", "cut", "cut_reason"] }

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
proxy = "%(to)s"
"""


class Origin:
    """`/whole` answers, `/short` ends before its length, `/stuck` never goes on."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self._stuck = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(stream,), daemon=True).start()

    def _serve(self, stream):
        reader = stream.makefile("rb")
        path, length = reader.readline().split()[1], 0
        while (line := reader.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        reader.read(length)
        match path:
            case b"/whole":
                stream.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            case b"/short":
                stream.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nshort")
            case b"/stuck":
                stream.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nstuck")
                self._stuck.append((stream, reader))
                return
        reader.close()
        stream.close()

    def stop(self):
        self._listener.close()


@pytest.fixture
def origin():
    origin = Origin()
    yield origin
    origin.stop()


@pytest.fixture
def server(tmp_path, certificate, origin):
    values = {"folder": tmp_path, "cert": certificate.cert, "key": certificate.key, "to": origin.address}
    (tmp_path / "sterna.toml").write_text(CONFIG % values)
    server = Server([binary("STERNA_BIN"), "run", "-c", tmp_path / "sterna.toml"], tmp_path / "server")
    yield server
    server.stop()


def test_the_log_tells_what_was_received_and_who_broke_a_response_off(server, certificate, tmp_path):
    with httpx.Client(verify=str(certificate.cert), http2=True, timeout=30) as client:
        assert client.post(server.url("/whole"), content=b"x" * 100_000).status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(server.url("/short"))
        with client.stream("GET", server.url("/stuck")) as response:
            assert next(response.iter_raw()) == b"stuck"
    wanted = [
        {"path": "/whole", "status": 200, "received_bytes": 100_000, "cut": False, "cut_reason": None},
        {"path": "/short", "status": 200, "received_bytes": 0, "cut": True, "cut_reason": "http_response_incomplete"},
        {"path": "/stuck", "status": 200, "received_bytes": 0, "cut": True, "cut_reason": "client"},
    ]
    log, deadline = tmp_path / "access.log", time.monotonic() + 30
    while len(lines := log.read_text().splitlines()) < len(wanted):
        assert time.monotonic() < deadline, lines
        time.sleep(0.05)
    assert [json.loads(line) for line in lines] == wanted
