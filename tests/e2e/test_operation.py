"""What an operator sees of a server: how HTTP/3 is announced, and a log that begins anew."""

import json

import pytest
from curl_cffi import CurlHttpVersion
from curl_cffi import requests as curl

from conftest import binary
from server import Server

ANNOUNCED = """
listen = ["127.0.0.1:0"]
workers = 1
alt_svc = { max_age = "1h", persist = true, port = 443 }

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
host = "localhost"
respond = "over HTTP/3 too"

[[site]]
host = "127.0.0.1"
respond = "no longer"
response_headers = { set = { alt-svc = "clear" } }
"""

LOGGED = """
listen = ["127.0.0.1:0"]
workers = 2
access_log = { file = "access.log", format = "json", max_size = "4KiB", keep = 3 }

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
respond = "hello"
"""


@pytest.fixture
def serve(tmp_path, certificate):
    started = []

    def serve(config):
        file = tmp_path / "sterna.toml"
        file.write_text(config % {"cert": certificate.cert, "key": certificate.key})
        started.append(Server([binary("STERNA_BIN"), "run", "-c", file], tmp_path / "server"))
        return started[-1]

    yield serve
    for server in started:
        server.kill()


@pytest.mark.parametrize("version", [CurlHttpVersion.V1_1, CurlHttpVersion.V2_0])
def test_http3_is_announced_as_configured_and_taken_back_for_one_host(serve, certificate, version):
    server = serve(ANNOUNCED)
    with curl.Session(http_version=version, verify=str(certificate.cert)) as session:
        announced = session.get(server.url()).headers["alt-svc"]
        assert announced == 'h3=":443"; ma=3600; persist=1'
        assert session.get(server.url(host="127.0.0.1")).headers["alt-svc"] == "clear"


def test_the_access_log_begins_anew_and_loses_no_line(serve, certificate, tmp_path):
    server = serve(LOGGED)
    with curl.Session(http_version=CurlHttpVersion.V3ONLY, verify=str(certificate.cert)) as session:
        for number in range(100):
            assert session.get(server.url(f"/{number}")).status_code == 200
    server.stop()
    names = ["access.log.3", "access.log.2", "access.log.1", "access.log"]
    files = [tmp_path / name for name in names]
    assert not (tmp_path / "access.log.4").exists()
    assert all(0 < file.stat().st_size <= 4096 for file in files)
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    paths = [line["path"] for line in lines]
    assert paths == [f"/{number}" for number in range(100 - len(lines), 100)], "oldest first, none missing"
    assert {(line["protocol"], line["status"], line["cut"]) for line in lines} == {("HTTP/3", 200, False)}
