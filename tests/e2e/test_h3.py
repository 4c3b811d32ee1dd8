"""HTTP/3 for foreign clients: libcurl (ngtcp2, nghttp3) and aioquic."""

import hashlib

import pytest
from curl_cffi import CurlHttpVersion, CurlInfo
from curl_cffi import requests as curl

from conftest import BIG
from h3client import Client
from h3raw import Peer

H3 = 30  # CURL_HTTP_VERSION_3, as libcurl reports it.


@pytest.fixture
def libcurl(certificate):
    """A libcurl session which speaks HTTP/3 or fails; its connections are reused."""
    with curl.Session(http_version=CurlHttpVersion.V3ONLY, verify=str(certificate.cert)) as session:
        yield session


@pytest.fixture
def client(files):
    with Client(files.address).connect() as client:
        yield client


@pytest.fixture
def axum_client(axum):
    with Client(axum.address).connect() as client:
        yield client


def counted_bytes(count):
    """What the example's `/bytes/{n}` sends."""
    pattern = bytes((index * 13 + 5) % 256 for index in range(256))
    return (pattern * (count // 256 + 1))[:count]


# -- libcurl ------------------------------------------------------------------------------------------------------


def test_libcurl_gets_a_file(libcurl, files, site):
    response = libcurl.get(files.url("/small.txt"))
    assert (response.status_code, response.http_version) == (200, H3)
    assert response.content == site.content("small.txt")
    assert response.headers["content-length"] == str(len(site.content("small.txt")))


def test_libcurl_gets_the_head_alone(libcurl, files, site):
    response = libcurl.head(files.url("/small.txt"))
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == str(len(site.content("small.txt")))


def test_libcurl_gets_a_range(libcurl, files, site):
    response = libcurl.get(files.url("/small.txt"), headers={"range": "bytes=10-19"})
    assert (response.status_code, response.content) == (206, site.content("small.txt")[10:20])


def test_libcurl_gets_404_for_what_is_not_there(libcurl, files):
    assert libcurl.get(files.url("/nothing-here")).status_code == 404


def test_libcurl_downloads_100_mb_whole(libcurl, files, site):
    digest, size = hashlib.sha256(), 0

    def take(chunk):
        nonlocal size
        digest.update(chunk)
        size += len(chunk)
        return len(chunk)

    response = libcurl.get(files.url("/big.bin"), content_callback=take, timeout=100)
    assert (response.status_code, response.http_version, size) == (200, H3, BIG)
    assert digest.hexdigest() == site.big_sha256


def test_libcurl_uploads_100_mb_whole(libcurl, axum, site):
    body = site.content("big.bin")
    response = libcurl.post(axum.url("/sha256"), content=body, timeout=100)
    assert (response.status_code, response.http_version) == (200, H3)
    assert response.text == site.big_sha256


def test_libcurl_gets_its_post_echoed(libcurl, axum):
    body = counted_bytes(1 << 20)
    response = libcurl.post(axum.url("/echo"), content=body)
    assert (response.status_code, response.headers["x-protocol"]) == (200, "HTTP/3")
    assert response.content == body


def test_libcurl_makes_1000_requests_on_one_connection(libcurl, files, site):
    small = site.content("small.txt")
    connections = 0
    for _ in range(1000):
        response = libcurl.get(files.url("/small.txt"))
        assert (response.status_code, response.http_version) == (200, H3)
        assert response.content == small
        connections += libcurl.curl.getinfo(CurlInfo.NUM_CONNECTS)
    assert connections <= 1


# -- aioquic ------------------------------------------------------------------------------------------------------


def test_aioquic_gets_a_file(client, site):
    exchange = client.fetch("/small.txt")
    assert (exchange.status, exchange.body) == (200, site.content("small.txt"))


def test_aioquic_gets_the_head_alone(files, site):
    # By hand: aioquic's own HTTP/3 layer takes a HEAD response with a content-length for malformed.
    with Peer(files.address).connect() as peer:
        peer.open_h3()
        response = peer.request("/small.txt", method="HEAD")
    assert (response.status, response.body) == (200, b"")
    assert response.header("content-length") == str(len(site.content("small.txt")))


def test_aioquic_gets_an_empty_file(client):
    exchange = client.fetch("/empty.txt")
    assert (exchange.status, exchange.body, exchange.header("content-length")) == (200, b"", "0")


def test_aioquic_gets_its_post_echoed(axum_client):
    exchange = axum_client.fetch("/echo", method="POST", body=counted_bytes(100_000))
    assert (exchange.status, exchange.header("x-protocol")) == (200, "HTTP/3")
    assert exchange.body == counted_bytes(100_000)


def test_aioquic_downloads_10_mb_whole(client, site):
    exchange = client.fetch("/medium.bin", timeout=100)
    assert exchange.status == 200
    assert exchange.body == site.content("medium.bin")


def test_aioquic_uploads_10_mb_whole(axum_client, site):
    body = site.content("medium.bin")
    exchange = axum_client.fetch("/sha256", method="POST", body=body, timeout=100)
    assert (exchange.status, exchange.body.decode()) == (200, hashlib.sha256(body).hexdigest())


def test_aioquic_makes_1000_requests_on_one_connection_past_the_stream_limit(client, site):
    small = site.content("small.txt")
    for _ in range(1000):
        exchange = client.fetch("/small.txt")
        assert (exchange.status, exchange.body) == (200, small)


def test_aioquic_begins_200_streams_at_once_and_all_are_answered(axum_client):
    streams = [axum_client.start_upload("POST", "/echo") for _ in range(200)]
    for index, stream in enumerate(streams):
        axum_client.upload(stream, bytes([index]))
    # All that the server allows at once are answered in part before the first of them ends.
    allowed = min(200, axum_client.stream_limit)
    assert allowed >= 100
    bodies = [axum_client.exchanges[stream].body for stream in streams[:allowed]]
    assert axum_client.pump(lambda: all(bodies), 20), f"{sum(map(bool, bodies))} answered"
    for stream in streams:
        axum_client.upload(stream, b" done", end=True)
    for index, exchange in enumerate(axum_client.finish(*streams)):
        assert (exchange.status, exchange.body) == (200, bytes([index]) + b" done")


def test_aioquic_gets_trailers(axum_client):
    exchange = axum_client.fetch("/trailers", method="POST", body=b"abc")
    assert exchange.status == 200
    assert [name for name, _ in exchange.trailers] == [b"x-count"]


def test_early_hints_come_before_the_answer(axum):
    with Peer(axum.address).connect() as peer:
        peer.open_h3()
        response = peer.request("/early")
        assert [dict(fields)[":status"] for fields in response.informational] == ["103"]
        assert "link" in dict(response.informational[0])
        assert response.status == 200


def test_a_panicking_handler_is_500_and_other_streams_go_on(start):
    server = start.axum()
    with Client(server.address).connect() as client:
        slow = client.start("GET", "/slow/300")
        panicking = client.start("GET", "/panic")
        client.pump(lambda: client.exchanges[panicking].ended or client.stream(panicking).settled)
        state = client.stream(panicking)
        answered = client.exchanges[panicking].headers is not None
        assert state.reset is not None or (answered and client.exchanges[panicking].status == 500)
        assert client.finish(slow)[0].status == 200
        assert client.fetch("/").body == b"hello over HTTP/3"
    server.stop(panics_expected=True)
