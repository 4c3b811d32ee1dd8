"""Uploads to a backend that stalls: the server holds what clients may send, and nobody is closed for it.

`STERNA_STALLED="100 20 256"` is the long run: clients, MB that each uploads, `limits.memory` in MiB.
"""

import json
import os
import socket
import subprocess
import threading
import time

import pytest

from admin import Admin
from conftest import binary
from figures import figure
from running import until
from server import Server

CLIENTS, MEGABYTES, LIMIT = (int(word) for word in os.environ.get("STERNA_STALLED", "24 10 32").split())
MIB = 1 << 20

CONFIG = """
listen = ["127.0.0.1:0"]
http = "off"
workers = 2
access_log = false
admin = { listen = "unix:%(admin)s" }

[limits]
memory = "%(limit)sMiB"
body_size = "100MB"

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
proxy = "127.0.0.1:%(port)s"
"""


class Backend:
    """Reads the head of each request, and the content from when it is told to."""

    def __init__(self):
        self._socket = socket.socket()
        # What the kernel takes is not held by the server.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(256)
        self.port = self._socket.getsockname()[1]
        self.goes_on = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as reader:
            length = 0
            while (line := reader.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            self.goes_on.wait()
            while length > 0 and (piece := reader.read(min(length, MIB))):
                length -= len(piece)
            connection.sendall(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")

    def close(self):
        self.goes_on.set()
        self._socket.close()


def wait_until_nothing_comes(admin):
    """What is held, when it has been the same for a second, and the most that it was."""
    since, before, most = time.monotonic(), None, 0
    deadline = time.monotonic() + 120
    while before in (None, 0) or time.monotonic() - since < 1:
        held = admin.get("/status").json()["counters"]["queued_stream_bytes"]
        most = max(most, held)
        if held != before:
            since, before = time.monotonic(), held
        assert time.monotonic() < deadline, f"{held} bytes, and more and more of them"
        time.sleep(0.05)
    return before, most


@pytest.mark.timeout(600)
def test_nobody_who_uploads_is_closed_because_a_backend_stalls(tmp_path, certificate):
    backend, admin = Backend(), tmp_path / "admin.sock"
    file, content = tmp_path / "sterna.toml", tmp_path / "content"
    content.write_bytes(os.urandom(MEGABYTES * 1_000_000))
    file.write_text(
        CONFIG
        % {"admin": admin, "limit": LIMIT, "cert": certificate.cert, "key": certificate.key, "port": backend.port}
    )
    server = Server([binary("STERNA_BIN"), "run", "-c", file], tmp_path / "server")
    before = server.rss_kib()
    argv = [binary("STERNA_BIN"), "load", "--http3", "-k", "--json", "--timeout", "300s", "-m", "1"]
    argv += ["-c", CLIENTS, "-n", CLIENTS, "--data", f"@{content}", server.url(host=server.host)]
    load = subprocess.Popen([str(word) for word in argv], stdout=subprocess.PIPE, text=True)
    try:
        held, most = wait_until_nothing_comes(Admin(admin))
        granted = Admin(admin).get("/status").json()["counters"]["granted_stream_bytes"]
        grown = (server.rss_kib() - before) / 1024
        backend.goes_on.set()
        report = json.loads(load.communicate(timeout=400)[0])
        counters = Admin(admin).get("/status").json()["counters"]
        figure("held-at-most", most / MIB, "MiB", f"<= {LIMIT * 15 // 16}")
        figure("rss-growth", grown, "MiB", "-")
        figure("clients-closed", counters["shed_connections"], f"of-{CLIENTS}", "0")
        assert most <= LIMIT * MIB * 15 // 16, "where connections are closed for it"
        assert held > LIMIT * MIB // 4, "so little that windows are as good as none"
        assert 0 < granted <= LIMIT * MIB // 2, granted
        assert counters["shed_connections"] == 0
        assert report["requests"]["failed"] == 0 and report["requests"]["done"] == CLIENTS, report["requests"]
        until(lambda: Admin(admin).get("/status").json()["counters"]["granted_stream_bytes"] == 0)
        server.stop()
    finally:
        load.kill()
        load.wait()
        server.kill()
        backend.close()
