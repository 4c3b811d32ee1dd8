"""Sites that let clients in by their certificates: alike on each version of HTTP, and by no other way."""

import base64
import json
import socket
import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from curl_cffi import CurlHttpVersion, CurlOpt
from curl_cffi import requests as curl

import origins
from admin import Admin
from clientcerts import DAY, Authority
from conftest import binary, make_certificate
from h3client import Client
from h3raw import Connection, Peer, request_frame
from server import Server

VERSIONS = {"1": CurlHttpVersion.V1_1, "2": CurlHttpVersion.V2_0, "3": CurlHttpVersion.V3ONLY}

CONFIG = """
listen = ["127.0.0.1:0"]
http = "off"
workers = 2
access_log = { file = "%(folder)s/access.log", format = "json", fields = ["host", "status", "client_subject"] }
admin = { listen = "unix:%(folder)s/admin.sock" }

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
respond = "open"

[[site]]
host = ["secret.example", "*.secret.example"]
proxy = "%(origin)s"
client_ca = %(secret)s

[[site]]
host = "maybe.example"
proxy = "%(origin)s"
client_ca = "%(maybe)s"
client_auth = "optional"

[[site]]
host = "later.example"
respond = "later"
%(later)s
"""


class Fields(origins.Origin):
    """Answers with the fields that it was sent, as JSON."""

    def __init__(self):
        class Handler(origins.Answering):
            def do_GET(self):
                self.answer(json.dumps({name.lower(): value for name, value in self.headers.items()}).encode())

        super().__init__(Handler)


class World:
    """A server, its authorities and their clients. All sites show the same certificate: browsers share connections among them."""

    def __init__(self, folder):
        self.folder, self.origin, self.certificate = folder, Fields(), make_certificate(folder)
        self.ours, self.other = Authority(folder, "ours"), Authority(folder, "other")
        self.alice, self.mallory = self.ours.client("alice"), self.other.client("mallory")
        self.write()
        self.server = Server([binary("STERNA_BIN"), "run", "-c", folder / "sterna.toml"], folder / "server")
        self.admin = Admin(folder / "admin.sock")

    def write(self, secret=None, later=""):
        authorities = [str(one.file) for one in secret or [self.ours]]
        values = {"folder": self.folder, "cert": self.certificate.cert, "key": self.certificate.key, "origin": self.origin.address}
        values |= {"secret": json.dumps(authorities), "maybe": self.other.file, "later": later}
        (self.folder / "sterna.toml").write_text(CONFIG % values)

    def reload(self, **options):
        self.write(**options)
        reloaded = self.admin.post("/reload")
        assert reloaded.status == 200, reloaded.text

    def session(self, version, name, client=None):
        """A client with one connection, which asks for `name`."""
        port = self.server.port
        options = {CurlOpt.RESOLVE: [f"{name}:{port}:127.0.0.1"]}
        cert = client and client.both
        return curl.Session(http_version=VERSIONS[version], verify=False, curl_options=options, timeout=30, cert=cert)

    def ask(self, session, name, host=None, headers={}):
        fields = {**headers, "Host": host} if host else headers
        return session.get(f"https://{name}:{self.server.port}/", headers=fields)

    def get(self, version, name, client=None, host=None, headers={}):
        with self.session(version, name, client) as session:
            return self.ask(session, name, host, headers)

    def is_refused(self, version, name, client=None):
        try:
            answer = self.get(version, name, client)
        except curl.exceptions.RequestException:
            return True
        assert False, (answer.status_code, answer.text)

    def logged(self, count):
        """The lines of the access log, when there are so many."""
        deadline = time.monotonic() + 30
        while len(lines := (self.folder / "access.log").read_text().splitlines()) < count:
            assert time.monotonic() < deadline, lines
            time.sleep(0.05)
        return [json.loads(line) for line in lines]

    def failures(self, transport):
        lines = self.admin.get("/metrics").text.splitlines()
        labels = "client_certificate", f'"{transport}"'
        values = [line.rsplit(" ", 1)[1] for line in lines if "handshake_failures" in line and all(label in line for label in labels)]
        assert len(values) == 1, lines
        return int(values[0])

    def stop(self):
        self.server.stop()
        self.origin.stop()


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.stop()


def told(answer):
    assert answer.status_code == 200, answer.text
    return {name: value for name, value in answer.json().items() if "cert" in name}


@pytest.mark.parametrize("version", VERSIONS)
def test_who_has_a_good_certificate_comes_in_and_the_backend_is_told_who_it_is(world, version):
    fields = told(world.get(version, "secret.example", world.alice))
    assert fields["x-client-cert-subject"] == "CN=alice,O=Example"
    assert fields["x-client-cert-san"] == "email:alice@example.com, URI:spiffe://example/alice"
    leaf = fields["client-cert"]
    assert leaf[0] == leaf[-1] == ":"
    of_file = x509.load_pem_x509_certificate(world.alice.cert.read_bytes())
    assert base64.b64decode(leaf[1:-1]) == of_file.public_bytes(Encoding.DER)
    assert told(world.get(version, "a.secret.example", world.alice)) == fields
    # Whoever is asked for none is let in.
    assert world.get(version, "open.example").text == "open"
    # Each worker writes its own.
    subjects = {(line["host"].split(":")[0], line["client_subject"]) for line in world.logged(3)}
    assert subjects == {("secret.example", "CN=alice,O=Example"), ("a.secret.example", "CN=alice,O=Example"), ("open.example", None)}


@pytest.mark.parametrize("version", VERSIONS)
def test_who_has_no_good_certificate_stays_out(world, version):
    expired = world.ours.client("expired", until=-DAY)
    a_server = world.ours.client("server", purpose=ExtendedKeyUsageOID.SERVER_AUTH)
    for client in [None, world.mallory, expired, a_server]:
        assert world.is_refused(version, "secret.example", client)
    transport = "quic" if version == "3" else "tcp"
    assert world.failures(transport) == 4


@pytest.mark.parametrize("version", VERSIONS)
def test_where_a_certificate_is_optional_none_will_do_and_a_bad_one_will_not(world, version):
    assert told(world.get(version, "maybe.example")) == {}
    assert told(world.get(version, "maybe.example", world.mallory))["x-client-cert-subject"] == "CN=mallory,O=Example"
    assert world.is_refused(version, "maybe.example", world.alice)


@pytest.mark.parametrize("version", VERSIONS)
def test_nobody_but_the_handshake_tells_a_backend_who_a_client_is(world, version):
    claims = {"Client-Cert": ":AAAA:", "Client-Cert-Chain": ":AAAA:", "X-Client-Cert-Subject": "CN=root", "X_Client_Cert_San": "email:root@example.com"}
    assert told(world.get(version, "maybe.example", headers=claims)) == {}
    fields = told(world.get(version, "secret.example", world.alice, headers=claims))
    assert fields["x-client-cert-subject"] == "CN=alice,O=Example" and "root" not in str(fields)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_connection_for_another_site_is_no_way_in(world, version):
    for name in ["open.example", "nobody.example", "maybe.example"]:
        for host in ["secret.example", "SECRET.example", "secret.example.", "x.secret.example", "secret.example:443", "secret.example.:1"]:
            answer = world.get(version, name, host=host)
            assert answer.status_code in (400, 421), (name, host, answer.text)
    # Who could be known there is asked there, however the host is written.
    for host in ["maybe.example", "MAYBE.example.", "maybe.example.:443"]:
        assert world.get(version, "open.example", host=host).status_code in (400, 421), host
    assert world.get(version, "open.example", host="maybe.example").status_code == 421
    assert world.get(version, "open.example", host="maybe.example.").status_code == 421
    # Nor is a certificate that another site takes.
    assert world.get(version, "maybe.example", world.mallory, host="secret.example").status_code == 421
    # Those who are known here are asked again there.
    assert world.get(version, "secret.example", world.alice, host="maybe.example").status_code == 421
    assert world.get(version, "secret.example", world.alice, host="b.secret.example").status_code == 200


def test_who_asks_for_no_name_gets_no_further(world):
    for host in [b"secret.example", b"secret.example."]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(world.server.address, timeout=30) as stream, context.wrap_socket(stream) as tls:
            tls.sendall(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
            assert tls.recv(100).startswith(b"HTTP/1.1 421")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_site_that_begins_to_ask_lets_no_open_connection_in(world, version):
    with world.session(version, "later.example") as session:
        assert world.ask(session, "later.example").text == "later"
        world.reload(later=f'client_ca = "{world.ours.file}"')
        assert world.ask(session, "later.example").status_code == 421
    assert world.is_refused(version, "later.example")
    assert world.get(version, "later.example", world.alice).text == "later"


@pytest.mark.parametrize("version", VERSIONS)
def test_authorities_change_with_an_overlap_and_without(world, version):
    with world.session(version, "secret.example", world.alice) as session:
        assert told(world.ask(session, "secret.example"))
        # Old and new.
        world.reload(secret=[world.ours, world.other])
        assert told(world.ask(session, "secret.example"))["x-client-cert-subject"] == "CN=alice,O=Example"
        assert told(world.get(version, "secret.example", world.mallory))["x-client-cert-subject"] == "CN=mallory,O=Example"
        # The new alone.
        world.reload(secret=[world.other])
        assert world.ask(session, "secret.example").status_code == 421
    assert world.is_refused(version, "secret.example", world.alice)
    assert told(world.get(version, "secret.example", world.mallory))


def by_tls(world, name, client=None, session=None, context=None):
    """Over TCP, with what is resumed: the answer, its session, and whether it was resumed."""
    if context is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if client:
            context.load_cert_chain(*client.both)
    with socket.create_connection(world.server.address, timeout=30) as stream:
        with context.wrap_socket(stream, server_hostname=name, session=session) as tls:
            tls.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % name.encode())
            answer = b""
            while part := tls.recv(65536):
                answer += part
            return answer, tls.session, tls.session_reused, context


def test_a_resumed_session_over_tcp_is_the_client_s_and_opens_no_other_site(world):
    answer, session, reused, context = by_tls(world, "secret.example", world.alice)
    assert b"CN=alice" in answer and not reused
    answer, _, reused, _ = by_tls(world, "secret.example", session=session, context=context)
    assert b"CN=alice" in answer and reused
    _, session, _, context = by_tls(world, "open.example")
    with pytest.raises(ssl.SSLError):
        by_tls(world, "secret.example", session=session, context=context)
    # The authority is taken back: what it has let in is let in no more.
    _, session, _, context = by_tls(world, "secret.example", world.alice)
    world.reload(secret=[world.other])
    with pytest.raises(ssl.SSLError):
        by_tls(world, "secret.example", session=session, context=context)


def by_quic(world, name, client=None, ticket=None):
    """The same over QUIC: the answer, the tickets that came, and whether one was taken."""

    def connection(configuration, **options):
        configuration.session_ticket = ticket
        if client:
            configuration.load_cert_chain(*client.both)
        return Connection(configuration=configuration, **options)

    with Client(world.server.address, connection=connection, server_name=name).connect(timeout=30) as http3:
        stream = http3.quic.get_next_available_stream_id()
        fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", name.encode()), (b":path", b"/")]
        http3.http.send_headers(stream, fields, end_stream=True)
        http3._transmit()
        [answer] = http3.finish(stream)
        if answer.status != 200:
            # An answer at all: the handshake has let the client in.
            raise RuntimeError(answer.status)
        http3.pump(lambda: http3.tickets, 30)
        return bytes(answer.body), http3.tickets, http3.quic.tls.session_resumed


def test_a_resumed_session_over_quic_is_the_client_s_and_opens_no_other_site(world):
    answer, tickets, resumed = by_quic(world, "secret.example", world.alice)
    assert b"CN=alice" in answer and not resumed
    answer, _, resumed = by_quic(world, "secret.example", ticket=tickets[0])
    assert b"CN=alice" in answer and resumed
    _, tickets, _ = by_quic(world, "open.example")
    # aioquic would not show it elsewhere.
    tickets[0].server_name = "secret.example"
    with pytest.raises(AssertionError):
        by_quic(world, "secret.example", ticket=tickets[0])
    _, tickets, _ = by_quic(world, "secret.example", world.alice)
    world.reload(secret=[world.other])
    with pytest.raises(AssertionError):
        by_quic(world, "secret.example", ticket=tickets[0])


def ask_early(world, name, ticket):
    """A request with the first flight of a client that shows no certificate; nothing is read before the server has it."""
    peer = Peer(world.server.address, server_name=name, session_ticket=ticket)
    peer.begin_early()
    peer.open_h3()
    return peer, peer.open_bidi(request_frame(host=name), fin=True)


def test_early_data_is_the_client_s_and_opens_no_other_site(world):
    _, tickets, _ = by_quic(world, "secret.example", world.alice)
    peer, stream = ask_early(world, "secret.example", tickets[0])
    with peer:
        until = time.monotonic() + 30
        while not world.admin.get("/status").json()["counters"]["early_requests"]:
            assert time.monotonic() < until
        answer = peer.response(stream, 30)
        assert peer.early_data_accepted
        fields = json.loads(answer.body)
        assert "CN=alice" in fields["x-client-cert-subject"] and fields["early-data"] == "1"
    _, tickets, _ = by_quic(world, "open.example")
    # By a client that lies about where the ticket is from.
    tickets[0].server_name = "secret.example"
    peer, stream = ask_early(world, "secret.example", tickets[0])
    with peer:
        assert peer.wait_closed(30)
        assert not peer.stream(stream).received
    assert world.admin.get("/status").json()["counters"]["early_requests"] == 1
