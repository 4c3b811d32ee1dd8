"""Several backends behind a route, over every version: one dies under load and comes back, a session stays where it is."""

import time

import pytest
from curl_cffi import CurlHttpVersion
from curl_cffi import requests as curl

import origins
from conftest import binary
from server import Server

CONFIG = """
listen = ["127.0.0.1:0"]
workers = 2
[defaults]
tls = {{ cert = "{cert}", key = "{key}" }}
[[site]]
proxy = [{backends}]
health = {{ path = "/healthz", every = "100ms", timeout = "2s", fails = 2 }}
{more}
"""

VERSIONS = {"1": CurlHttpVersion.V1_1, "2": CurlHttpVersion.V2_0, "3": CurlHttpVersion.V3ONLY}
PATIENCE = 20.0


class Backend(origins.Origin):
    """Answers its own name; while it is dead it takes connections and closes them without a word."""

    def __init__(self, name):
        backend = self
        self.is_dead, self.is_well, self.asked = False, True, 0

        class Handler(origins.Answering):
            def do_GET(self):
                if backend.is_dead:
                    self.close_connection = True
                    return
                is_check = self.path == "/healthz"
                backend.asked += not is_check
                self.answer(name.encode(), 200 if backend.is_well or not is_check else 503)

        super().__init__(Handler)


@pytest.fixture
def backends():
    backends = {name: Backend(name) for name in "abc"}
    yield backends
    for backend in backends.values():
        backend.stop()


@pytest.fixture
def balanced(backends, certificate, tmp_path):
    servers = []

    def start(more=""):
        listed = ", ".join(f'"{backend.address}"' for backend in backends.values())
        text = CONFIG.format(cert=certificate.cert, key=certificate.key, backends=listed, more=more)
        (tmp_path / "sterna.toml").write_text(text)
        servers.append(Server([binary("STERNA_BIN"), "run", "-c", tmp_path / "sterna.toml"], tmp_path))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def session(version, certificate):
    return curl.Session(http_version=VERSIONS[version], verify=str(certificate.cert))


def until(what, is_so):
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < PATIENCE, f"in vain: {what}"
        time.sleep(0.01)


@pytest.mark.parametrize("version", VERSIONS)
def test_no_request_is_lost_when_a_backend_dies_and_it_comes_back(version, balanced, backends, certificate):
    server = balanced()
    with session(version, certificate) as client:
        def ask():
            response = client.get(server.url("/"))
            assert response.status_code == 200, response.text
            return response.text

        assert {ask() for _ in range(30)} == set("abc")
        backends["b"].is_dead = True
        assert {ask() for _ in range(60)} == set("ac")
        until("it is told", lambda: "a backend is unhealthy" in server.stderr())
        backends["b"].is_dead = False
        # If its requests failed before its checks did, it is left out for ten seconds.
        until("it has requests again", lambda: ask() == "b")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_backend_whose_check_fails_gets_nothing_and_all_get_requests_when_all_fail(
    version, balanced, backends, certificate
):
    server = balanced()
    with session(version, certificate) as client:
        def ask():
            return client.get(server.url("/")).text

        backends["a"].is_well = False
        until("it is left out", lambda: "a" not in {ask() for _ in range(6)})
        asked = backends["a"].asked
        assert {ask() for _ in range(30)} == set("bc")
        assert backends["a"].asked == asked
        for backend in backends.values():
            backend.is_well = False
        until("all are asked", lambda: {ask() for _ in range(6)} == set("abc"))


def test_a_session_stays_with_its_backend_over_every_version(balanced, certificate):
    server = balanced('balance = "hash cookie sid"')
    owners = {}
    for version in VERSIONS:
        with session(version, certificate) as client:
            for sid in range(20):
                response = client.get(server.url("/"), headers={"cookie": f"theme=dark; sid={sid}"})
                assert owners.setdefault(sid, response.text) == response.text
    assert set(owners.values()) == set("abc")
