"""The proxy between foreign clients and foreign origins: every version in, every kind of upstream out."""

import hashlib
import ssl
import subprocess

import pytest
from curl_cffi import CurlHttpVersion
from curl_cffi import requests as curl

from conftest import binary, make_certificate
from h3client import Client
from nginx import Nginx
from origins import Http1, Http2, counted_bytes
from server import Server

CONFIG = """
listen = ["127.0.0.1:0"]
workers = 2
name = "edge"
[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }
[[site]]
proxy = "%(to)s"
%(more)s
"""

VERSIONS = {"1": CurlHttpVersion.V1_1, "2": CurlHttpVersion.V2_0, "3": CurlHttpVersion.V3ONLY}


class Proxies:
    """Gateways that pass everything on to one place."""

    def __init__(self, folder, certificate):
        self._folder = folder
        self._certificate = certificate
        self._running = []

    def to(self, address, more="", trusted=True):
        if trusted and address.startswith(("https:", "h3:")):
            more += f'\nupstream_tls = {{ ca = "{self._certificate.cert}" }}'
        folder = self._folder / f"proxy-{len(self._running)}"
        folder.mkdir(parents=True)
        values = {"cert": self._certificate.cert, "key": self._certificate.key}
        text = CONFIG % {**values, "to": address, "more": more}
        (folder / "sterna.toml").write_text(text)
        server = Server([binary("STERNA_BIN"), "run", "-c", folder / "sterna.toml"], folder)
        self._running.append(server)
        return server

    def stop(self):
        for server in self._running:
            server.stop()


@pytest.fixture(scope="module")
def proxies(certificate, tmp_path_factory):
    proxies = Proxies(tmp_path_factory.mktemp("proxies"), certificate)
    yield proxies
    proxies.stop()


@pytest.fixture(scope="module")
def http2_origin():
    origin = Http2()
    yield origin
    origin.stop()


@pytest.fixture(scope="module", params=["http", "unix", "h2c", "https", "h3"])
def proxied(request, proxies, shared_axum, http2_origin, tmp_path_factory):
    """A gateway before an origin of each kind; all of them have `/bytes/N` and `/echo`."""
    match request.param:
        case "http":
            origin = Http1()
        case "unix":
            origin = Http1(tmp_path_factory.mktemp("socket") / "app.sock")
        case "h2c":
            yield proxies.to(http2_origin.address)
            return
        case scheme:
            yield proxies.to(f"{scheme}://localhost:{shared_axum.port}")
            return
    yield proxies.to(origin.address)
    origin.stop()


@pytest.fixture(params=VERSIONS)
def client(request, certificate):
    with curl.Session(http_version=VERSIONS[request.param], verify=str(certificate.cert)) as session:
        yield session


@pytest.mark.parametrize("count", [0, 1, 1024, 1 << 20])
def test_content_comes_back_as_it_was_sent(client, proxied, count):
    response = client.get(proxied.url(f"/bytes/{count}"))
    assert (response.status_code, response.content == counted_bytes(count)) == (200, True)


@pytest.mark.parametrize("count", [1, 1024, 3 << 20])
def test_content_goes_there_and_comes_back(client, proxied, count):
    response = client.post(proxied.url("/echo"), data=counted_bytes(count))
    assert (response.status_code, response.content == counted_bytes(count)) == (200, True)


def test_content_of_unknown_length_goes_there_and_comes_back(proxied, certificate):
    with Client(proxied.address).connect() as client:
        stream = client.start_upload("POST", "/echo")
        for piece in range(20):
            client.upload(stream, bytes([piece]) * 10_000, end=piece == 19)
        exchange = client.finish(stream)[0]
    assert (exchange.status, len(exchange.body)) == (200, 200_000)


def test_nginx_behind_is_what_nginx_is(client, proxies, certificate, site, tmp_path):
    nginx = Nginx(tmp_path / "nginx", site.root, certificate)
    try:
        server = proxies.to(f"https://localhost:{nginx.port}")
        response = client.get(server.url("/medium.bin"))
        digest = hashlib.sha256(site.content("medium.bin")).hexdigest()
        assert hashlib.sha256(response.content).hexdigest() == digest
        part = client.get(server.url("/small.txt"), headers={"range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, site.content("small.txt")[10:20])
        again = client.get(server.url("/small.txt"), headers={"if-none-match": part.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        head = client.head(server.url("/small.txt"))
        assert head.headers["content-length"] == str(len(site.content("small.txt")))
        assert client.get(server.url("/missing")).status_code == 404
    finally:
        nginx.stop()


def test_backend_hears_which_way_the_request_came(client, proxies, request):
    origin = Http1()
    server = proxies.to(origin.address)
    lines = client.get(server.url("/head?a=%2F"), headers={"x_hidden": "1"}).text.lower().split("\n")
    version = {"1": "1.1", "2": "2", "3": "3"}[request.node.callspec.params["client"]]
    assert lines[0] == "get /head?a=%2f http/1.1"
    assert f"via: {version} edge" in lines and f"host: localhost:{server.port}" in lines
    assert not any(line.startswith("x_hidden") for line in lines)
    origin.stop()


def test_call_of_grpc_goes_through_with_its_trailers(proxies, http2_origin):
    server = proxies.to(http2_origin.address)
    fields = [("te", "trailers"), ("content-type", "application/grpc")]
    message = b"\0\0\0\0\x05hello"
    with Client(server.address).connect() as client:
        unary = client.fetch("/echo.Echo/Unary", "POST", fields, message)
        assert (unary.status, bytes(unary.body)) == (200, message)
        assert dict(unary.trailers)[b"grpc-status"] == b"0"
        assert http2_origin.requests[-1]["te"] == "trailers"

        stream = client.start_upload("POST", "/echo.Echo/Both", fields)
        exchange = client.exchanges[stream]
        for count in range(1, 4):
            client.upload(stream, message)
            client.pump(lambda: len(exchange.body) >= count * len(message), 10)
            assert bytes(exchange.body) == count * message, "each answer comes before the next question"
        client.upload(stream, b"", end=True)
        assert dict(client.finish(stream)[0].trailers)[b"grpc-message"] == b"fine"


@pytest.mark.parametrize("scheme", ["http", "h3"])
def test_early_hints_of_the_backend_reach_http3(proxies, axum, scheme):
    origin = Http1()
    server = proxies.to(origin.address if scheme == "http" else f"h3://127.0.0.1:{axum.port}")
    run = subprocess.run(
        [binary("STERNA_BIN"), "get", "--http3", "-k", "-v", server.url("/early")],
        capture_output=True,
        timeout=20,
    )
    origin.stop()
    assert run.returncode == 0 and b"103" in run.stderr, run.stderr.decode()


def test_backend_whose_certificate_is_not_trusted_is_not_asked(client, proxies, axum):
    server = proxies.to(f"https://localhost:{axum.port}", trusted=False)
    response = client.get(server.url("/"), headers={"accept": "application/json"})
    assert response.status_code == 502
    assert response.headers["proxy-status"] == "edge; error=tls_certificate_error"
    assert response.headers["content-type"] == "application/problem+json"


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A certificate of somebody else."""
    return make_certificate(tmp_path_factory.mktemp("other"))


@pytest.mark.parametrize(
    ("tls", "status", "error"),
    [
        ('{ ca = "%(ca)s" }', 200, None),
        ('{ ca = "%(ca)s", name = "localhost" }', 200, None),
        ('{ ca = "%(ca)s", name = "elsewhere.example" }', 502, "tls_certificate_error"),
        ('{ ca = "%(other)s" }', 502, "tls_certificate_error"),
        ("{ verify = false }", 200, None),
    ],
)
def test_trust_is_what_the_configuration_says(client, proxies, axum, certificate, other, tls, status, error):
    tls = tls % {"ca": certificate.cert, "other": other.cert}
    address = f"https://127.0.0.1:{axum.port}"
    server = proxies.to(address, more=f"upstream_tls = {tls}", trusted=False)
    response = client.get(server.url("/"))
    told = response.headers.get("proxy-status")
    assert (response.status_code, told) == (status, error and f"edge; error={error}")


def test_backend_that_wants_a_certificate_gets_the_one_that_is_configured(client, proxies, certificate, other):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=other.cert)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate.cert, certificate.key)
    origin = Http1(tls=context)
    trust = f'ca = "{certificate.cert}"'
    shown = f'cert = "{other.cert}", key = "{other.key}"'
    server = proxies.to(origin.address, f"upstream_tls = {{ {trust}, {shown} }}", trusted=False)
    assert client.get(server.url("/bytes/10")).content == counted_bytes(10)
    server = proxies.to(origin.address, f"upstream_tls = {{ {trust} }}", trusted=False)
    response = client.get(server.url("/bytes/10"))
    # It says so after the handshake; its alert is lost if its end overtakes it.
    told = response.headers["proxy-status"].removeprefix("edge; error=")
    assert told in ("tls_alert_received", "connection_terminated")
    origin.stop()


def test_backend_that_is_not_there_is_told_in_every_version(client, proxies):
    origin = Http1()
    origin.stop()
    response = client.get(proxies.to(origin.address).url("/"))
    assert response.status_code == 502
    assert response.headers["proxy-status"] == "edge; error=connection_refused"


def test_service_is_put_behind_the_edge_by_one_command(client, certificate, tmp_path):
    origins = [Http1(), Http1()]
    argv = [binary("STERNA_BIN"), "proxy", "--listen", "127.0.0.1:0", "--workers", 1]
    argv += [part for origin in origins for part in ("--to", origin.address)]
    argv += ["--cert", certificate.cert, "--key", certificate.key, "--http", "off"]
    server = Server(argv, tmp_path)
    try:
        for _ in range(4):
            assert client.get(server.url("/bytes/10")).content == counted_bytes(10)
        # An HTTP/2 client that does not look at its connection holds up the drain.
        client.close()
    finally:
        server.stop()
        for origin in origins:
            origin.stop()
