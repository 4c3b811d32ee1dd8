"""Sites that are called by their address, with certificates of their own: clients ask for no name there."""

import pytest
from curl_cffi import CurlHttpVersion
from curl_cffi import requests as curl

from clientcerts import Authority
from conftest import binary, make_certificate
from server import Server

VERSIONS = {"1": CurlHttpVersion.V1_1, "2": CurlHttpVersion.V2_0, "3": CurlHttpVersion.V3ONLY}

CONFIG = """
listen = ["0.0.0.0:0"]
http = "off"
workers = 2

[defaults]
tls = { cert = "%(folder)s/cert.pem", key = "%(folder)s/key.pem" }

[[site]]
respond = "every other"

[[site]]
host = "127.0.0.1"
respond = "one"
tls = { cert = "%(folder)s/one/cert.pem", key = "%(folder)s/one/key.pem" }

[[site]]
host = "127.0.0.2"
respond = "two"
client_ca = "%(ca)s"
"""


@pytest.fixture
def world(tmp_path):
    (tmp_path / "one").mkdir()
    make_certificate(tmp_path)
    make_certificate(tmp_path / "one")
    authority = Authority(tmp_path, "ours")
    (tmp_path / "sterna.toml").write_text(CONFIG % {"folder": tmp_path, "ca": authority.file})
    server = Server([binary("STERNA_BIN"), "run", "-c", tmp_path / "sterna.toml"], tmp_path / "server")
    yield server, authority.client("alice"), tmp_path / "one/cert.pem"
    server.stop()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_site_is_reached_by_its_address_with_what_it_asks_for(world, version):
    server, alice, one = world

    def get(address, host=None, **options):
        fields = {"Host": host} if host else {}
        with curl.Session(http_version=VERSIONS[version], timeout=30, **options) as session:
            answer = session.get(f"https://{address}:{server.port}/", headers=fields)
        return answer.status_code, answer.text

    assert get("127.0.0.1", verify=str(one)) == (200, "one")
    assert get("127.0.0.3", verify=False) == (200, "every other")
    assert get("127.0.0.2", verify=False, cert=alice.both) == (200, "two")
    with pytest.raises(curl.exceptions.RequestException):
        get("127.0.0.2", verify=False)
    # The connection is for the one, and the request for the other.
    assert get("127.0.0.3", host="127.0.0.2", verify=False)[0] == 421
    assert get("127.0.0.3", host="127.0.0.1", verify=False)[0] == 421
