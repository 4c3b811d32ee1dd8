"""A configuration holds alike over the three versions of HTTP: sites, routes, fields, limits."""

import pytest
from curl_cffi import CurlHttpVersion
from curl_cffi import requests as curl

from conftest import binary
from server import Server

CONFIG = """
listen = ["127.0.0.1:0"]
workers = 2

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }
response_headers = { set = { x-from = "defaults" } }

[limits]
header_size = "4KiB"

[[site]]
host = "localhost"
respond = "the site itself"

[[site.route]]
path = "/files/*"
root = "%(root)s"

[[site.route]]
path = "/guarded/*"
respond = { status = 403, body = "no" }

[[site.route]]
path = "/users/{id}"
method = "PUT"
body_size = "1KiB"
respond = "changed"
response_headers = { set = { x-from = "route" } }

[[site.route]]
path = "/which"
protocol = "HTTP/1.1"
respond = "1"

[[site.route]]
path = "/which"
protocol = "HTTP/2"
respond = "2"

[[site.route]]
path = "/which"
protocol = "HTTP/3"
respond = "3"

[[site.route]]
path = "/which"
protocol = "HTTP/3"
header = { x-env = "beta" }
query = { v = "2" }
client = "127.0.0.0/8"
respond = "3, and everything else"
"""

VERSIONS = {"1": CurlHttpVersion.V1_1, "2": CurlHttpVersion.V2_0, "3": CurlHttpVersion.V3ONLY}


@pytest.fixture(scope="module")
def configured(certificate, tmp_path_factory):
    folder = tmp_path_factory.mktemp("config")
    (folder / "www" / "files").mkdir(parents=True)
    (folder / "www" / "files" / "a.txt").write_text("a file")
    values = {"cert": certificate.cert, "key": certificate.key, "root": folder / "www"}
    (folder / "sterna.toml").write_text(CONFIG % values)
    server = Server([binary("STERNA_BIN"), "run", "-c", folder / "sterna.toml"], folder / "server")
    yield server
    server.stop()


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def client(certificate, version):
    with curl.Session(http_version=VERSIONS[version], verify=str(certificate.cert)) as session:
        yield session


def test_the_most_specific_route_answers(client, version, configured):
    for path, status, content in [
        ("/", 200, "the site itself"),
        ("/files/a.txt", 200, "a file"),
        ("/which", 200, version),
        ("/guarded/x", 403, "no"),
        ("/%67uarded/x", 403, "no"),
        ("/users/7", 200, "the site itself"),
    ]:
        response = client.get(configured.url(path))
        assert (response.status_code, response.text) == (status, content), path
        assert response.headers["x-from"] == "defaults"


def test_conditions_decide_between_routes_of_one_path(client, version, configured):
    response = client.put(configured.url("/users/7"))
    assert (response.text, response.headers["x-from"]) == ("changed", "route")
    response = client.get(configured.url("/which?v=2"), headers={"x-env": "beta"})
    assert response.text == ("3, and everything else" if version == "3" else version)


def test_a_host_without_a_site_is_not_found(client, configured):
    assert client.get(configured.url(host="127.0.0.1")).status_code == 404


def test_a_limit_of_the_configuration_is_enforced(client, configured):
    response = client.get(configured.url(), headers={"x-long": "x" * 8000})
    assert response.status_code == 431


def test_a_limit_of_a_route_is_enforced(client, configured):
    for size, status in [(1024, 200), (1025, 413)]:
        response = client.put(configured.url("/users/7"), data=b"x" * size)
        assert response.status_code == status
