"""`tls.ocsp`: what an authority says of a certificate is shown with it, over TCP and QUIC, until it is over."""

import datetime
import re
import subprocess
import time

import aioquic.tls
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from conftest import make_certificate
from h3raw import Connection, Peer
from running import CONFIG, Running, until

STATUS_REQUEST = 5
REVOKED = dict(revocation_time=datetime.datetime(2020, 1, 1), revocation_reason=x509.ReasonFlags.key_compromise)


def staple(certificate, seconds=3600, status=ocsp.OCSPCertStatus.GOOD, of=None):
    """What the authority says, which is the certificate itself; good for so long from now."""
    issuer = x509.load_pem_x509_certificate(certificate.cert.read_bytes())
    about = x509.load_pem_x509_certificate((of or certificate).cert.read_bytes())
    key = serialization.load_pem_private_key(certificate.key.read_bytes(), None)
    now = datetime.datetime.now(datetime.timezone.utc)
    revoked = REVOKED if status == ocsp.OCSPCertStatus.REVOKED else dict(revocation_time=None, revocation_reason=None)
    builder = ocsp.OCSPResponseBuilder().responder_id(ocsp.OCSPResponderEncoding.HASH, issuer)
    builder = builder.add_response(
        cert=about,
        issuer=issuer,
        algorithm=hashes.SHA1(),
        cert_status=status,
        this_update=now - datetime.timedelta(days=1),
        next_update=now + datetime.timedelta(seconds=seconds),
        **revoked,
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


class Stapling(Running):
    """A server whose certificate has a staple."""

    def __init__(self, folder, certificate, first, flags=("--watch",)):
        self.staple = folder / "staple.der"
        self.staple.write_bytes(first)
        super().__init__(folder, certificate, flags)

    def write(self, number, **options):
        super().write(number, **options)
        text = self.file.read_text().replace(f'key = "{self.key}"', f'key = "{self.key}", ocsp = "{self.staple}"')
        assert "ocsp" in text and "ocsp" not in CONFIG
        self.file.write_text(text)


@pytest.fixture
def stapling(tmp_path, certificate):
    started = []

    def start(first, **options):
        started.append(Stapling(tmp_path, certificate, first, **options))
        return started[-1]

    yield start
    for one in started:
        one.server.kill()


def until_by_metrics(one):
    """When the staple is over, as the metrics have it, in seconds from now."""
    text = one.admin.get("/metrics").text
    ends = re.findall(r'^sterna_staple_expiry_timestamp_seconds\{name="\*"\} (\S+)$', text, re.MULTILINE)
    return [float(end) - time.time() for end in ends]


def by_openssl(one, version):
    """What OpenSSL tells of the staple."""
    command = ["openssl", "s_client", "-status", version, "-connect", f"127.0.0.1:{one.server.port}"]
    command += ["-servername", "localhost", "-CAfile", one.cert]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    return done.stdout


class Asking(Connection):
    """Asks for a staple, which aioquic does not."""

    def _initialize(self, *args, **kwargs):
        super()._initialize(*args, **kwargs)
        self.tls.handshake_extensions.append((STATUS_REQUEST, b"\x01\x00\x00\x00\x00"))


def by_aioquic(one, monkeypatch):
    """The staple that is shown over QUIC."""
    seen, pull = [], aioquic.tls.pull_certificate

    def pulled(buffer):
        certificate = pull(buffer)
        # Its entries have their extensions as bytes.
        seen.append(certificate.certificates[0][1])
        return certificate

    monkeypatch.setattr(aioquic.tls, "pull_certificate", pulled)
    with Peer(one.server.address, connection=Asking).connect(timeout=60):
        [extensions] = seen
    if not extensions:
        return None
    # An extension, a kind of status, and the response (RFC 6066 §8).
    assert extensions[:2] == STATUS_REQUEST.to_bytes(2, "big") and extensions[4] == 1
    return extensions[8:]


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_staple_is_shown_over_tcp_and_is_what_openssl_calls_good(stapling, certificate, version):
    told = by_openssl(stapling(staple(certificate)), version)
    assert "OCSP Response Status: successful" in told and "Cert Status: good" in told, told


def test_a_staple_is_shown_over_quic_and_a_new_one_is_taken_when_its_file_changes(
    stapling, certificate, monkeypatch
):
    first, second = staple(certificate), staple(certificate, seconds=7200)
    one = stapling(first)
    assert by_aioquic(one, monkeypatch) == first
    [left] = until_by_metrics(one)
    assert 3000 < left <= 3600
    with Peer(one.server.address).connect(timeout=60) as stays:
        stays.open_h3()
        one.staple.write_bytes(second)
        until(lambda: "changed certificates" in one.server.stderr())
        assert by_aioquic(one, monkeypatch) == second
        assert until_by_metrics(one)[0] > 3600
        assert "Cert Status: good" in by_openssl(one, "-tls1_3")
        assert stays.request("/", timeout=60).status == 200


@pytest.mark.parametrize("wrong", ["torn", "other", "revoked", "over"])
def test_a_staple_that_does_not_go_with_the_certificate_is_refused_and_the_one_before_is_shown(
    stapling, certificate, tmp_path, monkeypatch, wrong
):
    good = staple(certificate)
    one = stapling(good)
    (tmp_path / "other").mkdir()
    content, told = {
        "torn": lambda: (good[:100], "no OCSP response"),
        "other": lambda: (staple(certificate, of=make_certificate(tmp_path / "other")), "another certificate"),
        "revoked": lambda: (staple(certificate, status=ocsp.OCSPCertStatus.REVOKED), "does not call"),
        "over": lambda: (staple(certificate, seconds=-60), "is over"),
    }[wrong]()
    one.staple.write_bytes(content)
    until(lambda: "audit: certificate refused" in one.server.stderr())
    assert re.search(rf"audit: certificate refused.*staple\.der.*{told}", one.server.stderr()), one.server.stderr()
    assert by_aioquic(one, monkeypatch) == good


def test_a_staple_that_becomes_over_is_not_shown_any_more(stapling, certificate, monkeypatch):
    one = stapling(staple(certificate, seconds=15))
    # Nobody tells: it is asked until it is gone.
    until(lambda: by_aioquic(one, monkeypatch) is None)
    told = by_openssl(one, "-tls1_3")
    assert "OCSP response: no response sent" in told, told
