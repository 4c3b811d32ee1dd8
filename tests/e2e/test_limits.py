"""Limits of a configuration, over each version of HTTP, with a foreign client."""

import hashlib
import os
import random
import resource
import socket
import ssl
import threading
import time

import pytest
from curl_cffi import CurlHttpVersion
from curl_cffi import requests as curl
from curl_cffi.requests.exceptions import RequestException

from conftest import binary
from figures import figure
from server import Server

VERSIONS = {
    "http1": CurlHttpVersion.V1_1,
    "http2": CurlHttpVersion.V2_0,
    "http3": CurlHttpVersion.V3ONLY,
}
READERS = int(os.environ.get("STERNA_READERS", 200))
BIG = random.Random(5).randbytes(1_500_000)

HEAD = """
listen = ["127.0.0.1:0"]
workers = 2
http = "127.0.0.1:%(plain)d"
%(limits)s

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
%(site)s
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def serve(tmp_path, certificate):
    started = []
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "big").write_bytes(BIG)

    def serve(site, limits=""):
        file = tmp_path / "sterna.toml"
        plain = free_port()
        values = {"cert": certificate.cert, "key": certificate.key, "plain": plain}
        file.write_text(HEAD % {**values, "site": site, "limits": limits})
        server = Server([binary("STERNA_BIN"), "run", "-c", file], tmp_path / f"server{len(started)}")
        server.plain = plain
        started.append(server)
        return server

    yield serve
    for server in started:
        server.kill()


@pytest.fixture
def session(certificate):
    sessions = []

    def session(version):
        sessions.append(curl.Session(http_version=VERSIONS[version], verify=str(certificate.cert), timeout=20))
        return sessions[-1]

    yield session
    for each in sessions:
        each.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_rate_is_held_on_all_connections_and_workers_and_says_when_to_come_again(serve, session, version):
    server = serve('respond = "hello"\nrate_limit = "6/h per ip, burst 4"')
    answers = [session(version).get(server.url()) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 2
    for answer in answers:
        assert answer.headers["ratelimit-policy"] == '"ip";q=6;w=3600'
    refused = answers[-1].headers
    assert answers[0].headers["ratelimit"].startswith('"ip";r=3;t=')
    assert 0 < int(refused["retry-after"]) <= 600
    assert refused["ratelimit"] == f'"ip";r=0;t={refused["retry-after"]}'


def test_a_rate_is_the_same_for_all_versions_and_an_inner_one_replaces_it(serve, session):
    site = """
respond = "hello"
rate_limit = "3/h global"

[[site.route]]
path = "/keyed"
respond = "keyed"
rate_limit = ["1/h per header x-key", "100/s per ip"]
"""
    server = serve(site)
    assert [session(version).get(server.url()).status_code for version in VERSIONS] == [200, 200, 200]
    assert [session(version).get(server.url()).status_code for version in VERSIONS] == [429, 429, 429]
    client = session("http2")
    keyed = [client.get(server.url("/keyed"), headers={"x-key": key}).status_code for key in "aab"]
    assert keyed == [200, 429, 200]


@pytest.mark.parametrize("version", VERSIONS)
def test_bandwidth_holds_a_response_to_its_rate_and_changes_nothing_in_it(serve, session, version):
    server = serve('root = "www"\nbandwidth = "1MB/s"')
    began = time.monotonic()
    answer = session(version).get(server.url("/big"))
    elapsed = time.monotonic() - began
    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(BIG).digest()
    assert answer.headers["content-length"] == str(len(BIG))
    assert elapsed >= 1.2, "1.5 MB less the burst of 256 KiB"
    assert elapsed < 8, "and not much more"


@pytest.mark.parametrize("limits", ["site", "process"])
@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_beyond_the_requests_in_flight_gets_503_at_once(serve, session, version, limits):
    limit = "in_flight = { max = 1, queue = 0 }"
    of_site, of_process = (limit, "") if limits == "site" else ("", f"limits.{limit}")
    server = serve(f'root = "www"\nbandwidth = "1MB/s"\n{of_site}', of_process)
    big = session("http1").get(server.url("/big"), stream=True)
    client = session(version)
    answer = client.get(server.url("/none"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert len(b"".join(big.iter_content())) == len(BIG)
    deadline = time.monotonic() + 5
    while client.get(server.url("/none")).status_code != 404:
        assert time.monotonic() < deadline, "there is no room again"


@pytest.mark.parametrize("version", VERSIONS)
def test_who_waits_in_the_queue_is_let_in_when_a_place_is_free(serve, session, version):
    server = serve('root = "www"\nbandwidth = "1MB/s"\nin_flight = { max = 1, queue = 1, wait = "20s" }')
    big = session(version).get(server.url("/big"), stream=True)
    began = time.monotonic()
    waiting = threading.Thread(target=lambda: answers.append(session("http1").get(server.url("/none")).status_code))
    answers = []
    waiting.start()
    assert hashlib.sha256(b"".join(big.iter_content())).digest() == hashlib.sha256(BIG).digest()
    waiting.join()
    assert answers == [404]
    assert time.monotonic() - began > 0.8, "it waited"


@pytest.mark.parametrize("version", VERSIONS)
def test_connections_of_an_address_are_limited_over_all_versions(serve, session, version):
    server = serve('respond = "hello"', "limits.connections_per_ip = 2")
    held = [session(name) for name in ("http2", "http3")]
    assert [each.get(server.url()).status_code for each in held] == [200, 200]
    with pytest.raises(RequestException):
        session(version).get(server.url(), timeout=5)
    assert [each.get(server.url()).status_code for each in held] == [200, 200], "they stay"
    held[0].close()
    deadline = time.monotonic() + 10
    while True:
        try:
            assert session(version).get(server.url(), timeout=5).status_code == 200
            break
        except RequestException:
            assert time.monotonic() < deadline, "its place is never free"


def test_a_reader_slower_than_the_least_rate_is_cut_off(serve, certificate):
    server = serve('root = "www"', 'limits.min_rate = "1MB/s after 500ms"')
    context = ssl.create_default_context(cafile=str(certificate.cert))
    with socket.socket() as tcp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        tcp.connect(server.address)
        with context.wrap_socket(tcp, server_hostname="localhost") as stream:
            # Thirty times the file, which no buffer on the way holds.
            for _ in range(30):
                stream.sendall(b"GET /big HTTP/1.1\r\nhost: localhost\r\n\r\n")
            received, began = 0, time.monotonic()
            with pytest.raises((ConnectionError, ssl.SSLError, EOFError)):
                while time.monotonic() - began < 30:
                    data = stream.recv(4096)
                    if not data:
                        raise EOFError
                    received += len(data)
                    # Slow while the server waits; when it has cut, what the buffers hold may come fast.
                    if time.monotonic() - began < 4:
                        time.sleep(0.01)
            assert 0 < received < 30 * len(BIG)
    server.assert_alive()


def test_plain_http_has_the_configured_limits_and_time_outs(serve):
    server = serve('respond = "hello"', 'limits.header_size = "8KiB"\ntimeouts.header = "1s"')

    def plain(head):
        with socket.create_connection(("127.0.0.1", server.plain), timeout=10) as stream:
            began = time.monotonic()
            stream.sendall(head)
            answer = b""
            while data := stream.recv(4096):
                answer += data
                if b"\r\n\r\n" in answer:
                    break
            return answer.split(b"\r\n")[0], time.monotonic() - began

    assert plain(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")[0] == b"HTTP/1.1 308 Permanent Redirect"
    large = b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"x" * 10_000 + b"\r\n\r\n"
    assert plain(large)[0] == b"HTTP/1.1 431 Request Header Fields Too Large"
    line, elapsed = plain(b"GET / HTTP/1.1\r\nhost: loc")
    # Without the configuration it would be ten seconds.
    assert line == b"" and 0.8 < elapsed < 8, "a head that never ends"


def test_many_slow_readers_cost_little_and_are_cut(serve, certificate, tmp_path):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # All have to be there before the first is cut.
    count, grace = READERS, max(2.0, READERS / 100)
    server = serve('root = "www"', f'limits.min_rate = "1MB/s after {int(grace * 1000)}ms"')
    # One response that no buffer of the kernel holds, however large it lets it grow.
    with open(tmp_path / "www" / "huge", "wb") as huge:
        huge.truncate(256 << 20)
    context = ssl.create_default_context(cafile=str(certificate.cert))
    before = server.rss_kib()
    streams = []
    for _ in range(count):
        tcp = socket.socket()
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        tcp.connect(server.address)
        stream = context.wrap_socket(tcp, server_hostname="localhost")
        stream.sendall(b"GET /huge HTTP/1.1\r\nhost: localhost\r\n\r\n")
        streams.append(stream)
    began = time.monotonic()
    each = (server.rss_kib() - before) / count
    figure("slow-readers", count, "clients", "-")
    figure("rss-of-each", each, "KiB", "< 256")
    assert each < 256, f"{each:.0f} KiB for each"
    # What a slow client is given at first counts for it, so that it is noticed after two graces; no other limit would for a
    # minute, and a slow machine has half of that.
    descriptors = f"/proc/{server.process.pid}/fd"
    while len(os.listdir(descriptors)) > count / 2:
        assert time.monotonic() - began < 30 + 2 * grace, "they are still there"
        time.sleep(0.05)
    figure("half-of-them-cut", time.monotonic() - began, "s", f"<= {30 + 2 * grace:.0f}")
    server.assert_alive()
    for stream in streams:
        stream.close()
