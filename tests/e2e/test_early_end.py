"""A client's upload which ends early, in every way that it can."""

import pytest

from h3client import Client
from h3raw import DATA, Peer, frame, request_frame

NO_ERROR = 0x100
REQUEST_CANCELLED = 0x10C
MESSAGE_ERROR = 0x10E


@pytest.fixture
def client(axum):
    with Client(axum.address).connect() as client:
        yield client


def assert_goes_on(client):
    assert client.closed is None
    exchange = client.fetch("/echo", method="POST", body=b"still here")
    assert (exchange.status, exchange.body) == (200, b"still here")


def test_a_reset_in_the_middle_of_an_upload_ends_that_stream_alone(client):
    other = client.start_upload("POST", "/echo")
    client.upload(other, b"one ")
    stream = client.start_upload("POST", "/sha256")
    client.upload(stream, b"x" * 50_000)
    client.pump_for(0.1)
    client.reset(stream, REQUEST_CANCELLED)
    client.pump_for(0.1)
    client.upload(other, b"two", end=True)
    assert client.finish(other)[0].body == b"one two"
    assert_goes_on(client)


# req: 9114-4.1.2-content-length
def test_a_fin_before_the_content_length_is_a_malformed_message(axum):
    with Peer(axum.address).connect() as peer:
        peer.open_h3()
        head = request_frame("POST", "/sha256", headers=[("content-length", "10")])
        stream = peer.open_bidi(head + frame(DATA, b"short"), fin=True)
        state = peer.stream(stream)
        peer.pump(lambda: state.settled or peer.closed)
        assert (state.reset, peer.closed) == (MESSAGE_ERROR, None)
        assert peer.request("/").status == 200


# req: 9114-4.1.2-content-length
def test_more_body_than_the_content_length_is_a_malformed_message(axum):
    with Peer(axum.address).connect() as peer:
        peer.open_h3()
        head = request_frame("POST", "/sha256", headers=[("content-length", "3")])
        stream = peer.open_bidi(head + frame(DATA, b"long"), fin=True)
        state = peer.stream(stream)
        peer.pump(lambda: state.settled or peer.closed)
        assert (state.reset, peer.closed) == (MESSAGE_ERROR, None)
        assert peer.request("/").status == 200


# req: 9114-4.1-stop-upload
def test_an_answer_may_come_before_the_upload_has_ended(client):
    stream = client.start_upload("POST", "/ignore")
    client.upload(stream, b"x" * 10_000)
    assert client.finish(stream)[0].status == 200
    client.pump(lambda: client.stream(stream).stopped is not None)
    assert client.stream(stream).stopped == NO_ERROR, "the rest of the upload is not wanted"
    assert_goes_on(client)


def test_an_ignored_upload_gives_its_flow_control_credit_back(client):
    for _ in range(40):
        stream = client.start_upload("POST", "/ignore")
        client.upload(stream, b"x" * 500_000, end=True)
        assert client.finish(stream)[0].status == 200
    assert_goes_on(client)


def test_a_response_that_nobody_wants_is_stopped(client):
    stream = client.start("GET", "/bytes/50000000")
    client.pump(lambda: len(client.exchanges[stream].body) > 100_000)
    client.stop_sending(stream, REQUEST_CANCELLED)
    client.pump(lambda: client.stream(stream).reset is not None)
    assert client.stream(stream).reset is not None
    assert_goes_on(client)


def test_a_client_that_vanishes_in_an_upload_leaves_the_server_well(start):
    server = start.axum()
    for _ in range(5):
        client = Client(server.address).connect()
        stream = client.start_upload("POST", "/sha256")
        client.upload(stream, b"x" * 100_000)
        client.pump_for(0.05)
        client.socket.close()
    with Client(server.address).connect() as client:
        assert_goes_on(client)
    # A drain would wait for these uploads until their connections are idle for too long.
    server.kill()
