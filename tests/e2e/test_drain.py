"""SIGTERM: what is in flight completes, nothing new begins, and the exit code is 0."""

import socket
import ssl
import subprocess
import threading
import time

import httpx
import pytest
from aioquic.buffer import Buffer, BufferReadError

from admin import Admin
from h3client import Client
from h3raw import CONTROL, GOAWAY, Peer, request_frame


@pytest.fixture
def trusting(certificate):
    return ssl.create_default_context(cafile=certificate.cert)


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_a_download_over_tcp_outlives_the_signal(start, site, certificate, tmp_path, version):
    server = start.files()
    body = tmp_path / "body"
    # 10 MB at this rate take three seconds.
    command = ["curl", version, "--silent", "--show-error", "--limit-rate", "3M", "--max-time", "60"]
    command += ["--cacert", certificate.cert, "--output", body, server.url("/medium.bin")]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as curl:
        while not (body.exists() and body.stat().st_size > 100_000):
            assert curl.poll() is None, curl.stderr.read()
            time.sleep(0.02)
        assert curl.poll() is None, "the signal comes in the middle"
        server.terminate()
        assert curl.wait() == 0, curl.stderr.read()
    assert body.read_bytes() == site.content("medium.bin")
    assert server.wait() == 0


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


def test_an_answer_over_h3_that_takes_long_is_waited_for_while_its_client_acknowledges(start):
    server = start.axum()
    with Client(server.address).connect() as client:
        # Longer than a client may be silent.
        stream = client.start("GET", "/slow/16000")
        client.pump_for(0.2)
        server.terminate()
        assert client.finish(stream, timeout=60)[0].status == 200
    assert server.wait() == 0


def test_a_client_over_h3_that_has_vanished_is_not_waited_for_until_the_deadline(start, tmp_path):
    place = tmp_path / "admin.sock"
    server = start.files(flags=["--admin", f"unix:{place}"])
    client = Client(server.address).connect()
    stream = client.start("GET", "/medium.bin")
    client.pump(lambda: len(client.exchanges[stream].body) > 100_000)
    # It says nothing any more, not even goodbye.
    client.socket.close()
    assert Admin(place).post("/drain?deadline=600s").status == 202
    assert server.wait(100) == 0


# req: 9114-5.3-goaway-before-close
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


# req: 9114-5.2-reject-later-requests
def test_a_request_after_the_last_goaway_is_rejected_untouched(start):
    server = start.axum()
    with Peer(server.address).connect() as peer:
        peer.open_h3()
        slow = peer.open_bidi(request_frame(path="/slow/1500"), fin=True)
        assert peer.request("/").status == 200
        server.terminate()
        control = peer.stream(3).received
        # The first allows every request, the second none after those that were seen (RFC 9114 §5.2).
        assert peer.pump(lambda: goaways(control) == [(1 << 62) - 4, 8]), goaways(control)
        late = peer.stream(peer.open_bidi(request_frame(), fin=True))
        assert peer.pump(lambda: late.settled)
        assert (late.reset, bytes(late.received)) == (0x10B, b"")
        assert peer.response(slow).body == b"after 1500 ms"


def goaways(control):
    buffer, ids = Buffer(data=bytes(control[1:])), []
    try:
        while not buffer.eof():
            kind, payload = buffer.pull_uint_var(), buffer.pull_bytes(buffer.pull_uint_var())
            if kind == GOAWAY:
                ids.append(Buffer(data=payload).pull_uint_var())
    except BufferReadError:
        pass  # The rest of a frame is on its way.
    return ids
