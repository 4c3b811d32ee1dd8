"""A client whose UDP port changes in the middle of a download finishes it.

`STERNA_REBINDS=1000` is the long run of `-k downloads`.
"""

import hashlib
import os
import random
import time

import pytest
from curl_cffi import CurlHttpVersion, CurlOpt
from curl_cffi import requests as curl

from conftest import BIG, binary
from figures import figure
from h3client import Client
from relay import Relay
from server import Server

workers = pytest.mark.parametrize("workers", [1, 2], ids=lambda count: f"{count} workers")


@pytest.fixture
def relayed(start):
    """A server with so many workers, and a relay in front of it."""
    relays = []

    def run(workers):
        server = start.files(workers=workers)
        relays.append(Relay(server.address))
        return server, relays[-1]

    yield run
    for relay in relays:
        relay.close()


CONFIG = """
listen = ["127.0.0.1:0"]
http = "off"
workers = %(workers)d
access_log = false

[quic]
steering = %(steering)s

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
root = "%(root)s"
"""

# For each of the four ways to serve.
REBINDS = int(os.environ.get("STERNA_REBINDS", "24")) // 4
CHUNK = 600_000


@pytest.fixture
def serve(tmp_path, certificate, site):
    started = []

    def serve(workers, steering):
        file = tmp_path / "sterna.toml"
        values = {"cert": certificate.cert, "key": certificate.key, "root": site.root}
        file.write_text(CONFIG % {**values, "workers": workers, "steering": str(steering).lower()})
        started.append(Server([binary("STERNA_BIN"), "run", "-c", file], tmp_path / "server"))
        return started[-1]

    yield serve
    for server in started:
        server.stop()


def finish(client, exchange, within):
    """Waits for the end, as browsers do: after a second of silence it says something."""
    deadline = time.monotonic() + within
    while not exchange.ended and time.monotonic() < deadline:
        had = len(exchange.body)
        if not client.pump(lambda: exchange.ended or len(exchange.body) > had, 1.0):
            client.quic.send_ping(uid=0)
    return exchange.ended


@workers
@pytest.mark.timeout(60 + 2 * REBINDS)
@pytest.mark.parametrize("steering", [True, False], ids=["steered", "not steered"])
def test_downloads_go_on_through_a_nat_that_forgets(serve, site, workers, steering):
    server = serve(workers, steering)
    chance = random.Random(workers)
    expected = site.content("medium.bin")[:CHUNK]
    longest = 0.0
    for turn in range(REBINDS):
        with Client(server.address).connect(timeout=30) as client:
            began = time.monotonic()
            stream = client.start("GET", "/medium.bin", headers=[("range", f"bytes=0-{CHUNK - 1}")])
            exchange = client.exchanges[stream]
            at = chance.randrange(CHUNK * 2 // 3)
            client.pump(lambda: len(exchange.body) > at, 30)
            assert not exchange.ended, "the port changes in the middle"
            # The client does not know; what is on its way to it is lost.
            client.forget()
            assert finish(client, exchange, 60), f"turn {turn} hangs at {len(exchange.body)}"
            assert exchange.body == expected
            longest = max(longest, time.monotonic() - began)
    figure("downloads-complete", REBINDS, f"of-{REBINDS}", "all")
    figure("longest-download", longest, "s", "<= 60")


@workers
def test_aioquic_finishes_after_its_port_has_changed(start, site, workers):
    server = start.files(workers=workers)
    with Client(server.address).connect() as client:
        stream = client.start("GET", "/medium.bin")
        exchange = client.exchanges[stream]
        for at in (2_000_000, 5_000_000, 8_000_000):
            client.pump(lambda: len(exchange.body) > at, 60)
            assert not exchange.ended, "the port changes in the middle"
            client.rebind()
        client.finish(stream, timeout=60)
        assert exchange.body == site.content("medium.bin")
        assert client.fetch("/small.txt").body == site.content("small.txt")


@workers
def test_libcurl_finishes_after_a_nat_has_moved_it(relayed, certificate, site, workers):
    _, relay = relayed(workers)
    relay.rebind_after(20_000_000)
    digest = hashlib.sha256()

    def take(chunk):
        digest.update(chunk)
        return len(chunk)

    options = {CurlOpt.HTTP_VERSION: CurlHttpVersion.V3ONLY}
    with curl.Session(verify=str(certificate.cert), curl_options=options) as session:
        url = f"https://localhost:{relay.address[1]}/big.bin"
        response = session.get(
            url, http_version=CurlHttpVersion.V3ONLY, content_callback=take, timeout=110
        )
    assert response.status_code == 200
    assert len(relay.ports) == 2, "the relay has moved"
    assert relay.passed > BIG
    assert digest.hexdigest() == site.big_sha256


def test_forty_connections_that_move_all_reach_the_worker_that_has_them(start, site):
    server = start.files(workers=2)
    clients = [Client(server.address).connect() for _ in range(40)]
    try:
        for client in clients:
            client.rebind()
            assert client.fetch("/small.txt").body == site.content("small.txt")
    finally:
        for client in clients:
            client.close()
