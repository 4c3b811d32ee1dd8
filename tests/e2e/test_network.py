"""A machine whose network lacks something."""

import pytest

from conftest import binary
from namespace import Namespace
from server import Server

#: The switch is not there where the kernel has no IPv6 at all.
WITHOUT_IPV6 = """
for switch in /proc/sys/net/ipv6/conf/all/disable_ipv6; do ! [ -e $switch ] || echo 1 > $switch; done
ip link set lo up
"""


@pytest.fixture
def network():
    network = Namespace("net", WITHOUT_IPV6)
    yield network
    network.stop()


@pytest.mark.parametrize("listen, local", [("localhost:0", "127.0.0.1"), (":0", "0.0.0.0")])
def test_without_ipv6_the_server_is_on_ipv4_alone(network, site, tmp_path, listen, local):
    argv = [binary("STERNA_BIN"), "files", site.root, "--listen", listen, "--workers", "1"]
    server = Server(network.command(*argv), tmp_path / "server")
    try:
        told = server.stderr()
        assert f"https://{local}:{server.port}" in told and "[::" not in told, told
        assert "warning" not in told.replace("buffer", ""), told
        got = network.run("curl", "--silent", "--insecure", server.url("/small.txt"))
        assert got.stdout.encode() == site.content("small.txt"), got.stderr
        sockets = network.run("cat", "/proc/self/net/udp").stdout
        assert f":{server.port:04X} " in sockets, "HTTP/3 too"
        server.stop()
    finally:
        server.kill()
