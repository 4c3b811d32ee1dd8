"""Congestion control is chosen address by address, and shown where it works."""

import json
import re
import subprocess

import pytest

from conftest import binary
from server import Server

CONFIG = """
listen = ["127.0.0.1:0", "127.0.0.2:0"]
http = "off"
workers = 1
access_log = false
admin = { listen = "unix:%(socket)s" }

[quic]
congestion = "%(general)s"

[quic.listener."127.0.0.2:0"]
congestion = "cubic"
initial_window = "32KiB"

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
root = "%(root)s"
"""

CONTENT = bytes(range(256)) * 4096


class Running:
    def __init__(self, folder, certificate):
        self.folder, self.certificate = folder, certificate
        (folder / "www").mkdir()
        (folder / "www/file").write_bytes(CONTENT)
        self.file, self.socket = folder / "sterna.toml", folder / "admin.sock"
        self.write("bbr")
        argv = [binary("STERNA_BIN"), "run", "-c", self.file]
        self.server = Server(argv, folder / "server")

    def write(self, general):
        values = {
            "general": general,
            "socket": self.socket,
            "cert": self.certificate.cert,
            "key": self.certificate.key,
            "root": self.folder / "www",
        }
        self.file.write_text(CONFIG % values)

    def sterna(self, *arguments):
        argv = [binary("STERNA_BIN"), *map(str, arguments)]
        return subprocess.run(argv, capture_output=True, timeout=60)

    def asked(self, *arguments):
        done = self.sterna(*arguments, "--admin", f"unix:{self.socket}")
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def algorithms(self):
        status = json.loads(self.asked("status", "--json"))
        return [
            (listener["algorithm"], listener["initial_window_bytes"])
            for listener in status["congestion"]
        ]

    def ports(self):
        status = json.loads(self.asked("status", "--json"))
        return [int(address.rsplit(":", 1)[1]) for address in status["addresses"]]


@pytest.fixture
def running(tmp_path, certificate):
    running = Running(tmp_path, certificate)
    yield running
    running.server.stop()


def test_each_address_has_its_own_and_status_says_so(running):
    assert running.algorithms() == [("bbr", None), ("cubic", 32768)]
    text = running.asked("status")
    assert re.search(r"congestion +bbr on 127\.0\.0\.1:\d+, cubic from 32768 bytes on 127", text), text


def test_a_reload_changes_it_for_new_connections_and_status_follows(running):
    running.write("reno")
    running.asked("reload")
    assert running.algorithms() == [("reno", None), ("cubic", 32768)]


def test_a_file_arrives_whole_by_either_and_get_and_load_name_their_own_side(running):
    ports = running.ports()
    for address, port in zip(("127.0.0.1", "127.0.0.2"), ports):
        url = f"https://{address}:{port}/file"
        got = running.sterna("get", "--insecure", "--http3", "--json", "-o", running.folder / "out", url)
        assert got.returncode == 0, got.stderr
        assert (running.folder / "out").read_bytes() == CONTENT
        assert json.loads(got.stdout)["quic"]["congestion"] == "cubic"
    told = running.sterna("get", "--insecure", "--http3", "-v", "-o", running.folder / "out", url)
    assert b"congestion control of this side: cubic" in told.stderr, told.stderr
    load = running.sterna("load", "--insecure", "--http3", "-n", "4", "-c", "1", "--json", url)
    assert json.loads(load.stdout)["quic"]["congestion"] == "cubic", load.stderr
