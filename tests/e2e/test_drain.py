"""SIGTERM: what is in flight completes, nothing new begins, and the exit code is 0."""

import socket
import ssl
import threading
import time

import httpx
import pytest
from aioquic.buffer import Buffer

from h3client import Client
from h3raw import CONTROL, GOAWAY, Peer, request_frame


@pytest.fixture
def trusting(certificate):
    return ssl.create_default_context(cafile=certificate.cert)


def assert_download_outlives_the_signal(server, site, http2, trusting):
    with httpx.Client(http1=not http2, http2=http2, verify=trusting, timeout=30) as client:
        with client.stream("GET", server.url("/medium.bin")) as response:
            assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            pieces = response.iter_raw(65536)
            body = bytearray(next(pieces))
            server.terminate()
            # Slower than the drain of an idle server, so that a server which only looks idle would be gone.
            for piece in pieces:
                body += piece
                if len(body) < 1_000_000:
                    time.sleep(0.05)
    assert body == site.content("medium.bin")
    assert server.wait() == 0


def test_a_download_over_h1_outlives_the_signal(start, site, trusting):
    assert_download_outlives_the_signal(start.files(), site, False, trusting)


def test_a_download_over_h2_outlives_the_signal(start, site, trusting):
    assert_download_outlives_the_signal(start.files(), site, True, trusting)


def test_a_download_over_h3_outlives_the_signal(start, site):
    server = start.files()
    with Client(server.address).connect() as client:
        stream = client.start("GET", "/medium.bin")
        client.pump(lambda: len(client.exchanges[stream].body) > 100_000)
        server.terminate()
        assert client.finish(stream)[0].body == site.content("medium.bin")
    assert server.wait() == 0


def test_a_slow_answer_over_h3_outlives_the_signal(start):
    server = start.axum()
    with Client(server.address).connect() as client:
        stream = client.start("GET", "/slow/1000")
        client.pump_for(0.2)
        server.terminate()
        assert client.finish(stream)[0].status == 200
    assert server.wait() == 0


def test_h3_clients_are_told_by_goaway(start):
    server = start.axum()
    with Peer(server.address).connect() as peer:
        peer.open_h3()
        assert peer.request("/").status == 200
        slow = peer.open_bidi(request_frame(path="/slow/1500"), fin=True)
        peer.pump_for(0.2)
        server.terminate()
        peer.pump(lambda: GOAWAY in control_frames(peer), 3)
        assert GOAWAY in control_frames(peer)
        assert peer.response(slow).status == 200
    assert server.wait() == 0


def control_frames(peer):
    """The frame types on the server's control stream so far."""
    kinds = []
    for id, stream in peer.streams.items():
        if id % 4 != 3 or stream.received[:1] != CONTROL:
            continue
        buffer = Buffer(data=bytes(stream.received[1:]))
        while not buffer.eof():
            kinds.append(buffer.pull_uint_var())
            buffer.pull_bytes(buffer.pull_uint_var())
    return kinds


def test_new_tcp_connections_are_refused_while_draining(start, trusting):
    server = start.axum()
    with httpx.Client(verify=trusting, timeout=30) as client:
        answers = []
        thread = threading.Thread(
            target=lambda: answers.append(client.get(server.url("/slow/1500")).status_code)
        )
        thread.start()
        time.sleep(0.3)
        server.terminate()
        deadline = time.monotonic() + 1.0
        while accepts(server) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not accepts(server)
        thread.join()
        assert answers == [200]
    assert server.wait() == 0


def accepts(server):
    try:
        socket.create_connection(server.address, timeout=1).close()
    except OSError:
        return False
    return True


def test_an_idle_server_ends_at_once(start):
    server = start.files()
    with Client(server.address).connect() as client:
        assert client.fetch("/").status == 200
        began = time.monotonic()
        server.terminate()
        client.pump(lambda: client.terminated, 5)
    assert server.wait() == 0
    assert time.monotonic() - began < 5


def test_a_second_signal_ends_at_once(start):
    server = start.axum()
    with Client(server.address).connect() as client:
        client.start("GET", "/slow/20000")
        client.pump_for(0.2)
        server.terminate()
        client.pump_for(0.3)
        server.assert_alive()
        server.terminate()
        began = time.monotonic()
        server.wait(5)
        assert time.monotonic() - began < 2
