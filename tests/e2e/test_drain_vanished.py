"""A drain does not wait for clients whose network has gone, whatever they were doing; whoever is there is waited for.

The client has a network of its own, and then has no address there any more: what goes to it is lost, and nothing comes back.
"""

import os
import socket
import ssl
import subprocess
import time

import pytest

from conftest import binary
from namespace import Namespace
from server import Server

HERE, THERE = "10.99.0.1", "10.99.0.2"
VERSIONS = {"1": "--http1.1", "2": "--http2"}


class Away:
    """A network with a server in it, and a client in another one."""

    def __init__(self, folder):
        self.folder = folder
        self.network = Namespace("net", "ip link set lo up")
        inside = f"read url version; ip addr add {THERE}/24 dev there; ip link set there up; exec curl $version -sk -o {folder}/body $url"
        command = self.network.command("unshare", "--net", "sh", "-c", inside)
        self.client = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 30
        ours = os.stat("/proc/self/ns/net").st_ino
        while len({ours, self._place(), self._server_place()}) < 3:
            assert time.monotonic() < deadline and self.client.poll() is None
            time.sleep(0.02)
        self._do("ip", "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", self.client.pid)
        self._do("ip", "addr", "add", f"{HERE}/24", "dev", "here")
        self._do("ip", "link", "set", "here", "up")
        argv = [binary("AXUM_BIN"), "--listen", f"{HERE}:0", "--workers", "1"]
        self.server = Server(self.network.command(*argv), folder / "server")

    def _place(self):
        return os.stat(f"/proc/{self.client.pid}/ns/net").st_ino

    def _server_place(self):
        return int(self.network.run("stat", "-Lc", "%i", "/proc/self/ns/net").stdout)

    def _do(self, *argv):
        done = self.network.run(*argv)
        assert done.returncode == 0, done.stderr

    def begin(self, path, version):
        """The client asks, and waits."""
        self.client.stdin.write(f"{self.server.url(path, host=HERE)} {VERSIONS[version]}\n")
        self.client.stdin.close()

    def vanish(self):
        self._do("nsenter", f"--net=/proc/{self.client.pid}/ns/net", "ip", "addr", "flush", "dev", "there")

    def stop(self):
        self.client.kill()
        self.client.wait()
        self.server.kill()
        self.network.stop()


@pytest.fixture
def away(tmp_path):
    away = Away(tmp_path)
    yield away
    away.stop()


@pytest.mark.parametrize(
    "version, path",
    [("1", "/bytes/100000000000"), ("1", "/slow/600000"), ("2", "/slow/600000")],
    ids=["1 downloads", "1 waits", "2 waits"],
)
def test_a_client_over_tcp_that_has_vanished_is_not_waited_for_until_the_deadline(away, version, path):
    away.begin(path, version)
    time.sleep(1)
    assert away.client.poll() is None
    away.vanish()
    begun = time.monotonic()
    away.server.terminate()
    # The deadline is after 30 s.
    assert away.server.wait() == 0
    assert 11 < time.monotonic() - begun < 24


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_over_tcp_that_takes_long_is_waited_for_while_its_client_is_there(start, version, tmp_path):
    server = start.axum()
    # Longer than a client may be silent.
    argv = ["curl", VERSIONS[version], "-sk", "--max-time", "60", server.url("/slow/16000")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as client:
        time.sleep(0.5)
        server.terminate()
        assert client.communicate()[0] == "after 16000 ms"
    assert server.wait() == 0


def test_a_reader_that_has_stopped_is_there_all_the_same(start, certificate):
    server = start.axum()
    context = ssl.create_default_context(cafile=certificate.cert)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    length = 20_000_000
    with socket.create_connection(server.address, timeout=30) as plain, context.wrap_socket(plain) as stream:
        stream.sendall(f"GET /bytes/{length} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        head = stream.recv(1000)
        assert head.startswith(b"HTTP/1.1 200")
        read = len(head.partition(b"\r\n\r\n")[2])
        # Its window is closed for so long that the kernel asks it every 25 s alone, longer than a client may be silent.
        time.sleep(27)
        server.terminate()
        time.sleep(15)
        while read < length:
            piece = stream.recv(1 << 20)
            assert piece, f"cut after {read}"
            read += len(piece)
    assert server.wait() == 0
