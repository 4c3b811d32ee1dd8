"""Who may come in holds alike over the three versions of HTTP: addresses, countries, passwords, tokens, another server's word."""

import base64
import concurrent.futures
import json
import socket
import ssl
import subprocess
import time

import mmdb
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from curl_cffi import CurlHttpVersion
from curl_cffi import requests as curl

import origins
from conftest import binary
from server import Server

CONFIG = """
listen = ["127.0.0.1:0"]
workers = 2
%(trust)s

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
host = "localhost"
respond = "the site itself"

[[site.route]]
path = "/which"
client = "203.0.113.0/24"
respond = "203.0.113.0/24"

[[site.route]]
path = "/office"
respond = "in"
allow = ["203.0.113.0/24", "2001:db8::/32"]
deny = "203.0.113.66"

[[site.route]]
path = "/countries"
respond = "in"
country = { file = "countries.mmdb", allow = ["DE"] }

[[site.route]]
path = "/elsewhere"
respond = "in"
country = { file = "countries.mmdb", deny = ["DE"] }

[[site.route]]
path = "/staff"
respond = "in"
basic_auth = { realm = "Staff", file = "users" }

[[site.route]]
path = "/api"
respond = "in"
jwt = { jwks_url = "%(judge)s/jwks", issuer = "https://issuer.test", audience = "api", claims = { sub = "x-user" } }

[[site.route]]
path = "/no-keys"
respond = "in"
jwt = { jwks_url = "%(judge)s/nothing" }

[[site.route]]
path = "/asked"
respond = "in"
forward_auth = { url = "%(judge)s/verify", timeout = "1s", copy = ["x-user"] }

[[site.route]]
path = "/told/token"
proxy = "%(judge)s"
jwt = { jwks_url = "%(judge)s/jwks", issuer = "https://issuer.test", audience = "api", claims = { sub = "x-user" } }

[[site.route]]
path = "/told/asked"
proxy = "%(judge)s"
forward_auth = { url = "%(judge)s/verify", timeout = "1s", copy = ["x-user"] }

[[site.route]]
path = "/told/set"
proxy = "%(judge)s"
request_headers = { set = { x-user = "alice" } }
request_id = true

[[site.route]]
path = "/asked-in-vain"
respond = "in"
forward_auth = { url = "%(judge)s/never", timeout = "300ms" }

[[site.route]]
path = "/asked-nobody"
respond = "in"
forward_auth = { url = "http://127.0.0.1:1/" }
"""

VERSIONS = {"1": CurlHttpVersion.V1_1, "2": CurlHttpVersion.V2_0, "3": CurlHttpVersion.V3ONLY}
KEY = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
PASSWORD = "correct horse \u00e4"


class Judge(origins.Answering):
    """Has the keys for tokens, and says who may pass."""

    questions = []

    def do_GET(self):
        if self.path == "/jwks":
            point = KEY.public_key().public_numbers()
            key = {"kty": "EC", "crv": "P-256", "kid": "one", "x": number(point.x), "y": number(point.y)}
            product = RSA.public_key().public_numbers().n.to_bytes(256, "big")
            two = {"kty": "RSA", "kid": "rsa", "alg": "RS256", "use": "sig", "n": encoded(product), "e": "AQAB"}
            return self.tell(json.dumps({"keys": [key, two]}))
        if self.path == "/never":
            time.sleep(2)
            return self.tell()
        if self.path.startswith("/told/"):
            fields = [(name.lower(), value) for name, value in self.headers.items()]
            return self.tell(json.dumps(fields))
        if self.path != "/verify":
            return self.answer(status=404)
        self.questions.append(dict(self.headers))
        if self.headers.get("cookie") == "session=good":
            return self.answer(status=204, fields=[("x-user", "alice")])
        self.answer(b"to the login", 302, [("location", "https://login.test/")])

    def tell(self, text=""):
        self.answer(text.encode())


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value):
    return encoded(value.to_bytes(32, "big"))


def token(key=KEY, head=None, **changed):
    claims = {"iss": "https://issuer.test", "aud": "api", "sub": "alice", "exp": int(time.time()) + 300}
    claims.update(changed)
    head = head or {"alg": "ES256", "kid": "one"}
    signed = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(claims).encode())}"
    if head["kid"] == "rsa":
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        scheme = pss if head["alg"] == "PS256" else padding.PKCS1v15()
        return f"{signed}.{encoded(RSA.sign(signed.encode(), scheme, hashes.SHA256()))}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@pytest.fixture(scope="module")
def judge():
    server = origins.Origin(Judge)
    yield f"http://{server.address}"
    server.stop()


@pytest.fixture(scope="module")
def start(certificate, judge, tmp_path_factory):
    folder = tmp_path_factory.mktemp("access")
    mmdb.write(folder / "countries.mmdb", {"203.0.113.0/24": "DE", "198.51.100.0/24": "FR"})
    made = subprocess.run(
        [binary("STERNA_BIN"), "hash-password"], input=PASSWORD.encode() + b"\n", capture_output=True, check=True
    )
    (folder / "users").write_text(f"# staff\nalice:{made.stdout.decode()}")
    servers = []

    def start(name, trust):
        values = {"cert": certificate.cert, "key": certificate.key, "judge": judge, "trust": trust}
        (folder / f"{name}.toml").write_text(CONFIG % values)
        argv = [binary("STERNA_BIN"), "run", "-c", folder / f"{name}.toml", "--http", "off"]
        servers.append(Server(argv, folder / name))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def behind(start):
    """A server that trusts its peers about who the client is."""
    return start("behind", 'trusted_proxies = "127.0.0.1"')


@pytest.fixture(scope="module")
def alone(start):
    """A server that trusts nobody."""
    return start("alone", "")


@pytest.fixture(scope="module")
def proxied(start):
    """A server whose peers begin with the PROXY protocol."""
    return start("proxied", 'proxy_protocol = "127.0.0.1"\nhttp3 = false')


@pytest.fixture(params=VERSIONS)
def client(certificate, request):
    options = {"http_version": VERSIONS[request.param], "verify": str(certificate.cert)}
    with curl.Session(**options, allow_redirects=False) as session:
        yield session


def test_the_client_is_whom_a_trusted_proxy_names_last(client, behind):
    for line, content in [
        ("203.0.113.5", "203.0.113.0/24"),
        ("6.6.6.6, 203.0.113.5", "203.0.113.0/24"),
        ("203.0.113.5, 6.6.6.6", "the site itself"),
        ("203.0.113.5, 127.0.0.1", "203.0.113.0/24"),
        ("nonsense", "the site itself"),
    ]:
        response = client.get(behind.url("/which"), headers={"x-forwarded-for": line})
        assert response.text == content, line
    response = client.get(behind.url("/which"), headers={"forwarded": "for=203.0.113.5"})
    assert response.text == "the site itself", "the field that is not theirs"


def test_a_client_cannot_say_who_it_is(client, alone):
    claims = {name: "203.0.113.5" for name in ["x-forwarded-for", "x-real-ip", "x-client-ip", "true-client-ip"]}
    response = client.get(alone.url("/which"), headers={**claims, "forwarded": "for=203.0.113.5"})
    assert response.text == "the site itself"
    assert client.get(alone.url("/office"), headers=claims).status_code == 403


def test_the_access_log_has_the_client(client, behind):
    client.get(behind.url("/logged"), headers={"x-forwarded-for": "6.6.6.6, 198.51.100.77"})
    deadline = time.monotonic() + 10
    while " /logged " not in (log := behind.stdout()) and time.monotonic() < deadline:
        time.sleep(0.01)
    lines = [line for line in log.splitlines() if " /logged " in line]
    assert lines and all(line.split()[1] == "198.51.100.77" for line in lines), lines


def test_networks_and_countries_decide(client, behind):
    for path, address, status in [
        ("/office", "203.0.113.5", 200),
        ("/office", "2001:db8::7", 200),
        ("/office", "203.0.113.66", 403),
        ("/office", "203.0.114.1", 403),
        ("/office", "::ffff:203.0.113.5", 200),
        ("/countries", "203.0.113.5", 200),
        ("/countries", "198.51.100.5", 403),
        ("/countries", "192.0.2.1", 403),
        ("/elsewhere", "203.0.113.5", 403),
        ("/elsewhere", "198.51.100.5", 200),
        ("/elsewhere", "192.0.2.1", 200),
    ]:
        response = client.get(behind.url(path), headers={"x-forwarded-for": address})
        assert response.status_code == status, (path, address)


def basic(text):
    return {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def test_a_password_lets_in(client, alone):
    for _ in range(2):
        assert client.get(alone.url("/staff"), headers=basic(f"alice:{PASSWORD}")).text == "in"
    for fields in [{}, basic("alice:wrong"), basic(f"bob:{PASSWORD}"), basic("alice"), {"authorization": "Basic"}]:
        response = client.get(alone.url("/staff"), headers=fields)
        assert response.status_code == 401, fields
        assert response.headers["www-authenticate"] == 'Basic realm="Staff", charset="UTF-8"'


def test_a_token_lets_in(client, alone):
    def get(token):
        return client.get(alone.url("/api"), headers={"authorization": f"Bearer {token}"})

    assert get(token()).text == "in"
    assert get(token(head={"alg": "RS256", "kid": "rsa"})).text == "in"
    stranger = ec.generate_private_key(ec.SECP256R1())
    none = encoded(json.dumps({"alg": "none"}).encode()) + f".{token().split('.')[1]}."
    for bad, error in [
        (token(key=stranger), "invalid_token"),
        (token(exp=int(time.time()) - 3600), "invalid_token"),
        (token(nbf=int(time.time()) + 3600), "invalid_token"),
        (token(iss="https://evil.test"), "invalid_token"),
        (token(aud="web"), "invalid_token"),
        (token(head={"alg": "ES256", "kid": "two"}), "invalid_token"),
        (token(head={"alg": "HS256", "kid": "one"}), "invalid_token"),
        (token(head={"alg": "PS256", "kid": "rsa"}), "invalid_token"),
        (token(head={"alg": "HS256", "kid": "rsa"}), "invalid_token"),
        (none, "invalid_token"),
        ("a.b", "invalid_token"),
    ]:
        response = get(bad)
        assert response.status_code == 401, bad
        assert f'error="{error}"' in response.headers["www-authenticate"]
    response = client.get(alone.url("/api"))
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    response = client.get(alone.url("/no-keys"), headers={"authorization": f"Bearer {token()}"})
    assert response.status_code == 503


def test_another_server_decides(client, alone):
    response = client.get(alone.url("/asked?a=b"), headers={"cookie": "session=good", "x-user": "root"})
    assert response.text == "in"
    question = {name.lower(): value for name, value in Judge.questions[-1].items()}
    assert question["x-forwarded-uri"] == "/asked?a=b"
    assert question["x-forwarded-for"] == "127.0.0.1"
    assert "x-user" not in question
    response = client.get(alone.url("/asked"))
    assert (response.status_code, response.text) == (302, "to the login")
    assert response.headers["location"] == "https://login.test/"
    assert client.get(alone.url("/asked-in-vain")).status_code == 504
    assert client.get(alone.url("/asked-nobody")).status_code == 502


@pytest.mark.parametrize("place", ["token", "asked", "set"])
def test_a_client_cannot_take_away_what_a_backend_is_told_of_it(alone, certificate, place):
    """By naming it as a field of its connection. HTTP/2 and HTTP/3 have no such fields: a request with one is malformed."""
    context = ssl.create_default_context(cafile=str(certificate.cert))
    plain = socket.create_connection(alone.address, timeout=10)
    with context.wrap_socket(plain, server_hostname="localhost") as stream:
        lines = [
            f"GET /told/{place} HTTP/1.1",
            "host: localhost",
            f"authorization: Bearer {token()}",
            "cookie: session=good",
            "x-user: root",
            "x-hop: 1",
            "te: trailers",
            "connection: close, X-User, te",
            "connection: x-hop;a=b, x-request-id, via, client-cert, x-forwarded-for, early-data",
            "early-data: 1",
        ]
        stream.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b"".join(iter(lambda: stream.recv(65536), b""))
    fields = json.loads(answer.partition(b"\r\n\r\n")[2])
    values = dict(fields)
    assert [value for name, value in fields if name == "x-user"] == ["alice"], fields
    assert "x-hop" not in values and "via" in values
    assert (values["te"], values["x-forwarded-for"], values["early-data"]) == ("trailers", "127.0.0.1", "1")
    assert ("x-request-id" in values) == (place == "set")


@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
def test_the_proxy_protocol_names_the_client(proxied, certificate, alpn):
    def connect(header):
        plain = socket.create_connection(proxied.address, timeout=10)
        plain.sendall(header)
        context = ssl.create_default_context(cafile=str(certificate.cert))
        context.set_alpn_protocols([alpn])
        return context.wrap_socket(plain, server_hostname="localhost")

    with connect(b"PROXY TCP4 203.0.113.5 127.0.0.1 1 2\r\n") as stream:
        if alpn == "h2":
            # Who speaks HTTP/2 is told settings first.
            stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            assert stream.recv(9)[3] == 4
        else:
            stream.sendall(b"GET /which HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: stream.recv(4096), b""))
            assert answer.endswith(b"203.0.113.0/24"), answer
    with pytest.raises(OSError):
        connect(b"")


def test_a_flood_of_wrong_passwords_leaves_the_server_to_others(certificate, alone):
    """Sixty wrong passwords at once, and files are served meanwhile as if nothing were."""

    def wrong(i):
        with curl.Session(http_version=CurlHttpVersion.V2_0, verify=str(certificate.cert)) as session:
            return session.get(alone.url("/staff"), headers=basic(f"alice:{i}"), timeout=60).status_code

    # Who was let in before is remembered.
    with curl.Session(http_version=CurlHttpVersion.V3ONLY, verify=str(certificate.cert)) as session:
        assert session.get(alone.url("/staff"), headers=basic(f"alice:{PASSWORD}")).text == "in"
    with concurrent.futures.ThreadPoolExecutor(60) as pool:
        flood = [pool.submit(wrong, i) for i in range(60)]
        with curl.Session(http_version=CurlHttpVersion.V3ONLY, verify=str(certificate.cert)) as session:
            assert session.get(alone.url("/"), timeout=20).text == "the site itself"
            good = session.get(alone.url("/staff"), headers=basic(f"alice:{PASSWORD}"), timeout=20)
        statuses = {one.result() for one in flood}
    assert statuses <= {401, 429, 503} and 429 in statuses, statuses
    assert good.text == "in", good.status_code


def test_no_secret_is_logged_or_shown(behind, alone, proxied):
    for server in [behind, alone, proxied]:
        shown = server.stdout() + server.stderr()
        for secret in ["argon2", PASSWORD, "Bearer", "session=good", base64.b64encode(b"alice:wrong").decode()]:
            assert secret not in shown, secret
