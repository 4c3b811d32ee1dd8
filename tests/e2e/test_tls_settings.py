"""What TLS agrees to, and that a request comes on a connection that was shown the certificate of its site."""

import json
import socket
import ssl
import subprocess

import pytest
from curl_cffi import CurlHttpVersion, CurlOpt
from curl_cffi import requests as curl

from admin import Admin
from conftest import binary, make_certificate
from h3client import Client
from server import Server

VERSIONS = {"1": CurlHttpVersion.V1_1, "2": CurlHttpVersion.V2_0, "3": CurlHttpVersion.V3ONLY}

CONFIG = """
listen = ["127.0.0.1:0"]
http = "off"
access_log = false
%(more)s

[[site]]
host = ["a.example", "*.a.example"]
respond = "a"
tls = { cert = "%(a)s/cert.pem", key = "%(a)s/key.pem" }

[[site]]
host = "same.example"
respond = "same"
tls = { cert = "%(a)s/cert.pem", key = "%(a)s/key.pem" }

[[site]]
host = "b.example"
respond = "b"
tls = { cert = "%(b)s/cert.pem", key = "%(b)s/key.pem" }

[[site]]
respond = "any"
tls = { cert = "%(any)s/cert.pem", key = "%(any)s/key.pem" }
"""


@pytest.fixture
def serve(tmp_path):
    started = []

    def serve(more=""):
        folders = {}
        for name in ["a", "b", "any"]:
            folders[name] = tmp_path / name
            if not folders[name].exists():
                folders[name].mkdir()
                make_certificate(folders[name])
        (tmp_path / "sterna.toml").write_text(CONFIG % {**folders, "more": more})
        started.append(Server([binary("STERNA_BIN"), "run", "-c", tmp_path / "sterna.toml"], tmp_path / "server"))
        return started[-1]

    yield serve
    for server in started:
        server.stop()


def ask(server, version, name, host=None):
    """By a new connection that asks for the certificate of `name`; the request is for `host`."""
    port = server.address[1]
    options = {CurlOpt.RESOLVE: [f"{name}:{port}:127.0.0.1"]}
    with curl.Session(http_version=VERSIONS[version], verify=False, curl_options=options, timeout=30) as session:
        return session.get(f"https://{name}:{port}/", headers={"Host": host} if host else {})


@pytest.mark.parametrize("version", VERSIONS)
# req: 9114-3.3-misdirected
def test_a_request_for_a_site_with_another_certificate_is_misdirected(serve, version):
    server = serve()
    for name, host, expected in [
        ("a.example", None, "a"),
        ("x.a.example", None, "a"),
        ("b.example", None, "b"),
        ("other.example", None, "any"),
        # The same certificate: browsers come so with a connection that they have.
        ("a.example", "x.a.example", "a"),
        ("x.a.example", "A.Example", "a"),
        ("a.example", "same.example", "same"),
        ("other.example", "another.example", "any"),
    ]:
        answer = ask(server, version, name, host)
        assert (answer.status_code, answer.text) == (200, expected), (name, host)
    for name, host in [("a.example", "b.example"), ("b.example", "a.example"), ("a.example", "other.example"), ("other.example", "b.example")]:
        assert ask(server, version, name, host).status_code == 421, (name, host)


def handshake(server, *, name="a.example", **settings):
    """The cipher suite and the version that Python's TLS and we agree to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for key, value in settings.items():
        setattr(context, key, value)
    with socket.create_connection(server.address) as stream, context.wrap_socket(stream, server_hostname=name) as tls:
        return tls.cipher()[0], tls.version()


def agrees_to(server, group):
    """Whether OpenSSL, with this key exchange alone, and we agree."""
    to = "%s:%d" % server.address
    argv = ["openssl", "s_client", "-connect", to, "-servername", "a.example", "-groups", group, "-tls1_3"]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=30).returncode == 0


def test_without_settings_old_and_new_clients_are_served(serve):
    server = serve()
    assert handshake(server) == ("TLS_AES_128_GCM_SHA256", "TLSv1.3")
    assert handshake(server, maximum_version=ssl.TLSVersion.TLSv1_2)[1] == "TLSv1.2"
    assert all(agrees_to(server, group) for group in ["X25519", "P-256", "P-384"])


def test_versions_cipher_suites_and_key_exchanges_are_those_of_the_configuration(serve):
    server = serve(
        """
[tls]
min_version = "1.3"
ciphers = ["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"]
key_exchange = ["secp256r1", "secp384r1"]
"""
    )
    assert handshake(server) == ("TLS_CHACHA20_POLY1305_SHA256", "TLSv1.3")
    with pytest.raises(ssl.SSLError):
        handshake(server, maximum_version=ssl.TLSVersion.TLSv1_2)
    assert [agrees_to(server, group) for group in ["X25519", "P-256", "P-384"]] == [False, True, True]
    # QUIC goes by the same.
    with Client(server.address).connect() as http3:
        [exchange] = http3.finish(http3.start("GET", "/"))
        # `h3client` asks for localhost, by SNI and by its authority.
        assert (exchange.status, bytes(exchange.body)) == (200, b"any")


def test_a_reload_changes_what_tls_agrees_to_and_secrets_are_written_on(serve, tmp_path):
    secrets = tmp_path / "secrets"
    top = f'key_log = "{secrets}"\nadmin = {{ listen = "unix:{tmp_path}/admin.sock" }}\n'
    server = serve(top)
    assert handshake(server, maximum_version=ssl.TLSVersion.TLSv1_2)[1] == "TLSv1.2"
    file = tmp_path / "sterna.toml"
    file.write_text(file.read_text().replace("[[site]]", '[tls]\nmin_version = "1.3"\n\n[[site]]', 1))
    reloaded = Admin(tmp_path / "admin.sock").post("/reload")
    assert reloaded.status == 200, reloaded.text
    with pytest.raises(ssl.SSLError):
        handshake(server, maximum_version=ssl.TLSVersion.TLSv1_2)
    before = secrets.read_text().count("\n")
    assert handshake(server)[1] == "TLSv1.3"
    with Client(server.address).connect() as http3:
        http3.finish(http3.start("GET", "/"))
    written = secrets.read_text().splitlines()[before:]
    assert len({line.split()[1] for line in written}) == 2, "of TCP and of QUIC"


# Chrome's, with its own extensions; without them it offers what curl does.
CHROME = "chrome133a"


def test_a_key_exchange_that_outlives_quantum_computers_is_first_and_is_what_a_browser_speaks(serve, tmp_path):
    server = serve()
    for version in ["--http1.1", "--http2", "--http3"]:
        argv = [binary("STERNA_BIN"), "get", version, "--insecure", "--json", server.url()]
        told = json.loads(subprocess.run(argv, capture_output=True, timeout=60).stdout)
        assert told["tls"]["key_exchange"] == "X25519MLKEM768", told
    server.stop()
    alone = serve('[tls]\nkey_exchange = ["X25519MLKEM768"]\n')
    assert not any(agrees_to(alone, group) for group in ["X25519", "P-256", "P-384"])
    for version in VERSIONS:
        options = {"http_version": VERSIONS[version], "verify": False, "impersonate": CHROME, "timeout": 60}
        with curl.Session(**options) as session:
            assert session.get(alone.url()).text == "any", version
