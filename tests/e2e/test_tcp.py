"""HTTP/1.1 and HTTP/2 for foreign clients: curl, httpx and nghttp."""

import asyncio
import hashlib
import json
import re
import socket
import ssl
import subprocess

import httpx
import pytest

VERSIONS = {"--http1.1": "1.1", "--http2": "2"}
both = pytest.mark.parametrize("version", VERSIONS)


class Curl:
    """The command `curl`, trusting the test's certificate."""

    def __init__(self, certificate, folder):
        self._base = ["curl", "--silent", "--show-error", "--max-time", "60"]
        self._base += ["--cacert", str(certificate.cert)]
        self._body = folder / "body"

    def __call__(self, *arguments):
        """Runs curl; its status, version, headers and body."""
        report = '%{json}\n%{header_json}'
        self._body.write_bytes(b"")
        run = subprocess.run(
            [*self._base, "--output", self._body, "--write-out", report, *arguments],
            capture_output=True,
        )
        assert run.returncode == 0, run.stderr.decode()
        facts, headers = run.stdout.decode().split("\n", 1)
        facts = json.loads(facts)
        headers = {name: values[-1] for name, values in json.loads(headers).items()}
        return facts["http_code"], facts["http_version"], headers, self._body.read_bytes()


@pytest.fixture
def curl(certificate, tmp_path):
    return Curl(certificate, tmp_path)


@pytest.fixture
def trusting(certificate):
    return ssl.create_default_context(cafile=certificate.cert)


@both
def test_curl_gets_a_file(curl, files, site, version):
    status, spoken, headers, body = curl(version, files.url("/small.txt"))
    assert (status, spoken, body) == (200, VERSIONS[version], site.content("small.txt"))
    assert headers["content-length"] == str(len(body))


@both
def test_curl_gets_the_head_alone(curl, files, site, version):
    status, spoken, headers, body = curl(version, "--head", files.url("/small.txt"))
    assert (status, spoken) == (200, VERSIONS[version])
    assert headers["content-length"] == str(len(site.content("small.txt")))


@both
def test_curl_gets_a_range(curl, files, site, version):
    status, _, headers, body = curl(version, "--range", "10-19", files.url("/small.txt"))
    whole = site.content("small.txt")
    assert (status, body) == (206, whole[10:20])
    assert headers["content-range"] == f"bytes 10-19/{len(whole)}"


@both
def test_a_range_past_the_end_is_416(curl, files, version):
    status, _, headers, _ = curl(version, "--range", "999999-", files.url("/small.txt"))
    assert status == 416
    assert re.fullmatch(r"bytes \*/\d+", headers["content-range"])


@both
def test_an_unchanged_file_is_304(curl, files, version):
    _, _, headers, _ = curl(version, files.url("/small.txt"))
    condition = f"if-none-match: {headers['etag']}"
    status, _, _, body = curl(version, "--header", condition, files.url("/small.txt"))
    assert (status, body) == (304, b"")


@both
def test_http3_is_announced(curl, files, version):
    _, _, headers, _ = curl(version, files.url("/small.txt"))
    assert f'h3=":{files.port}"' in headers["alt-svc"]


@both
def test_curl_downloads_100_mb_whole(curl, files, site, version):
    status, spoken, _, body = curl(version, files.url("/big.bin"))
    assert (status, spoken) == (200, VERSIONS[version])
    assert hashlib.sha256(body).hexdigest() == site.big_sha256


@both
def test_curl_uploads_100_mb_whole_to_axum(curl, axum, site, version):
    upload = ["--request", "POST", "--upload-file", str(site.root / "big.bin")]
    status, spoken, _, body = curl(version, *upload, axum.url("/sha256"))
    assert (status, spoken, body.decode()) == (200, VERSIONS[version], site.big_sha256)


@both
def test_axum_is_served_over_this_version(curl, axum, version):
    spoken = f"HTTP/{'1.1' if version == '--http1.1' else '2'}"
    _, _, _, body = curl(version, axum.url("/"))
    assert body.decode() == f"hello over {spoken}"
    status, _, headers, body = curl(version, "--data-binary", "a=b", axum.url("/echo"))
    assert (status, headers["x-protocol"], body) == (200, spoken, b"a=b")


def test_httpx_has_50_streams_at_once_over_h2(axum, trusting):
    async def fetch_all():
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(http2=True, verify=trusting, limits=limits) as client:
            await client.get(axum.url("/"))
            urls = [axum.url(f"/bytes/{1000 + index}") for index in range(50)]
            return await asyncio.gather(*(client.get(url) for url in urls))

    pattern = bytes((index * 13 + 5) % 256 for index in range(256)) * 5
    for index, response in enumerate(asyncio.run(fetch_all())):
        assert (response.status_code, response.http_version) == (200, "HTTP/2")
        assert response.content == pattern[: 1000 + index]


def test_httpx_streams_an_upload_over_h2(axum, trusting):
    with httpx.Client(http2=True, verify=trusting, timeout=60) as client:
        pieces = (bytes([index]) * 100_000 for index in range(50))
        response = client.post(axum.url("/sha256"), content=pieces)
    whole = hashlib.sha256(b"".join(bytes([index]) * 100_000 for index in range(50)))
    assert (response.http_version, response.text) == ("HTTP/2", whole.hexdigest())


def test_nghttp_fetches_over_h2(files):
    run = subprocess.run(
        ["nghttp", "--null-out", "--stat", "--multiply=100", files.url("/small.txt")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    served = re.findall(r"\s200\s+\S+ /small\.txt", run.stdout)
    assert len(served) == 100, run.stdout[-2000:]


def test_an_idle_connection_without_a_handshake_hinders_nobody(files, curl):
    with socket.create_connection(files.address):
        status, _, _, _ = curl("--http1.1", files.url("/small.txt"))
        assert status == 200


# -- chunked coding (RFC 9112 §7.1) --------------------------------------------------------------------------------


def post_chunks(server, trusting, path, chunks, fields=()):
    """Sends a request byte for byte over HTTP/1.1; everything that comes back."""
    trusting.set_alpn_protocols(["http/1.1"])
    head = [f"POST {path} HTTP/1.1", "host: localhost", "transfer-encoding: chunked", *fields]
    with socket.create_connection(server.address, timeout=10) as tcp:
        with trusting.wrap_socket(tcp, server_hostname="localhost") as connection:
            connection.sendall("\r\n".join([*head, "", ""]).encode() + chunks)
            received = b""
            while more := connection.recv(1 << 16):
                received += more
    return received


def test_chunks_and_trailers_go_both_ways(axum, trusting):
    chunks = b"5;name=value\r\nhello\r\n00000006\r\n world\r\n0\r\nx-sum: 11\r\n\r\n"
    wants = ["connection: close, te", "te: trailers", "trailer: x-sum"]
    head, _, body = post_chunks(axum, trusting, "/echo", chunks, wants).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ") and b"transfer-encoding: chunked" in head.lower()
    content, _, trailers = body.partition(b"0\r\n")
    assert b"".join(content.split(b"\r\n")[1::2]) == b"hello world"
    assert trailers == b"x-sum: 11\r\n\r\n"


def test_trailers_are_for_those_who_want_them(axum, trusting):
    chunks = b"5\r\nhello\r\n0\r\nx-sum: 5\r\n\r\n"
    fields = ["connection: close", "trailer: x-sum"]
    received = post_chunks(axum, trusting, "/echo", chunks, fields)
    assert received.startswith(b"HTTP/1.1 200 ") and received.endswith(b"5\r\nhello\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\nhello",
        b"5\nhello\n0\n\n",
    ],
)
def test_a_broken_chunk_ends_the_request_and_nothing_behind_it_is_read(axum, trusting, chunks):
    smuggled = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    received = post_chunks(axum, trusting, "/sha256", chunks + smuggled)
    assert received.count(b"HTTP/1.1 ") == 1, received
    assert received.endswith(b"the HTTP layer failed"), "as the handler tells it"
