"""A client whose UDP port changes in the middle of a download finishes it."""

import hashlib

import pytest
from curl_cffi import CurlHttpVersion, CurlOpt
from curl_cffi import requests as curl

from conftest import BIG
from h3client import Client
from relay import Relay

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
