"""The world of the battery: a certificate, a site, and the servers that a test asks for.

`STERNA_BIN`, `AXUM_BIN` and `STERNA_LINK` name the binaries; `cargo xtask test` sets them. Everything lives on loopback, on free
ports, in temporary folders.
"""

import base64
import datetime
import hashlib
import ipaddress
import os
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from server import Server

BIG = 100_000_000


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for localhost, as files."""

    cert: Path
    key: Path
    spki: str


@dataclass(frozen=True)
class Site:
    """The folder that `sterna files` serves, with what a test compares against."""

    root: Path
    big_sha256: str

    def content(self, name):
        return (self.root / name).read_bytes()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"))


def make_certificate(folder, days=10):
    """A pair that is good for so many days from now, or over since so many."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    pkcs8 = serialization.PrivateFormat.PKCS8
    files = Certificate(folder / "cert.pem", folder / "key.pem", spki_hash(key.public_key()))
    files.cert.write_bytes(cert.public_bytes(pem))
    files.key.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    return files


def spki_hash(public_key):
    der = public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    root = tmp_path_factory.mktemp("site") / "public"
    root.mkdir()
    (root / "index.html").write_text("<!doctype html><title>Sterna</title><p>hello\n")
    (root / "small.txt").write_bytes(bytes(range(32, 127)) * 10)
    (root / "empty.txt").write_bytes(b"")
    write_assets(root)
    write_random(root / "medium.bin", 10_000_000, seed=1)
    big = write_random(root / "big.bin", BIG, seed=2)
    (root.parent / "secret.txt").write_text("outside the root\n")
    (root / "escape.txt").symlink_to(root.parent / "secret.txt")
    (root / "escape").symlink_to(root.parent)
    return Site(root, big)


def write_random(path, size, seed):
    """Writes `size` bytes that the seed alone decides; their SHA-256."""
    source = random.Random(seed)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for start in range(0, size, 1 << 20):
            block = source.randbytes(min(1 << 20, size - start))
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def write_assets(root):
    """A page of fifty assets: forty images, five styles, five scripts."""
    assets = root / "assets"
    assets.mkdir()
    lines = ["<!doctype html><html><head><title>loading</title>"]
    for index in range(5):
        (assets / f"{index}.css").write_text(f".tile{index} {{ background: #{index}8f }}\n")
        lines.append(f'<link rel="stylesheet" href="/assets/{index}.css">')
    lines.append("</head><body><h1>Fifty assets over one connection</h1>")
    for index in range(40):
        tile = f'<rect width="40" height="40" fill="hsl({index * 9},70%,50%)"/>'
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40">{tile}</svg>'
        (assets / f"{index}.svg").write_text(svg)
        lines.append(f'<img src="/assets/{index}.svg" width="40" height="40" alt="">')
    for index in range(5):
        (assets / f"{index}.js").write_text(f"window.loaded = (window.loaded || 0) + 1 // {index}\n")
        lines.append(f'<script src="/assets/{index}.js"></script>')
    lines.append(
        """<pre id="result"></pre><script>
addEventListener('load', () => {
  const entries = ['navigation', 'resource'].flatMap((type) => performance.getEntriesByType(type))
  const protocols = entries.map((entry) => entry.name.replace(/^.*:\\d+/, '') + ' ' + entry.nextHopProtocol)
  document.getElementById('result').textContent = protocols.join('\\n')
  document.title = 'scripts ' + window.loaded
})
</script></body></html>"""
    )
    (root / "page.html").write_text("\n".join(lines))


def binary(variable):
    path = os.environ.get(variable)
    if not path:
        pytest.fail(f"{variable} names no binary; `cargo xtask test` sets it")
    return path


class Starter:
    """Starts servers, and ends those that the test left running."""

    def __init__(self, folder, certificate, site):
        self._folder = folder
        self._certificate = certificate
        self._site = site
        self._started = []

    def files(self, root=None, workers=2, cert=None, key=None, listen="127.0.0.1:0", flags=()):
        return self._start([*self.files_argv(root, workers, cert, key, listen), *flags])

    def files_argv(self, root=None, workers=2, cert=None, key=None, listen="127.0.0.1:0"):
        argv = [binary("STERNA_BIN"), "files", root or self._site.root, "--listen", listen]
        argv += ["--workers", workers]
        return argv + self._tls(cert, key)

    def axum(self, workers=2):
        argv = [binary("AXUM_BIN"), "--listen", "127.0.0.1:0", "--workers", workers]
        return self._start(argv + self._tls(None, None))

    def _tls(self, cert, key):
        return ["--cert", cert or self._certificate.cert, "--key", key or self._certificate.key]

    def _start(self, argv):
        server = Server(argv, self._folder / f"server-{len(self._started)}")
        self._started.append(server)
        return server

    def stop(self):
        try:
            for server in self._started:
                if server.process.poll() is None:
                    server.stop()
        finally:
            for server in self._started:
                server.kill()


@pytest.fixture
def start(tmp_path, certificate, site):
    starter = Starter(tmp_path, certificate, site)
    yield starter
    starter.stop()


@pytest.fixture(scope="session")
def shared(tmp_path_factory, certificate, site):
    starter = Starter(tmp_path_factory.mktemp("shared"), certificate, site)
    yield starter
    starter.stop()


@pytest.fixture(scope="session")
def shared_files(shared):
    return shared.files()


@pytest.fixture(scope="session")
def shared_axum(shared):
    return shared.axum()


@pytest.fixture
def files(shared_files):
    """`sterna files` on the test site, shared by all tests: each leaves it as it found it."""
    yield shared_files
    shared_files.assert_alive()


@pytest.fixture
def axum(shared_axum):
    """The axum example, shared by all tests."""
    yield shared_axum
    shared_axum.assert_alive()


@pytest.fixture(scope="session")
def artefacts():
    """Where pictures and logs stay after the run."""
    folder = Path(os.environ.get("STERNA_ARTEFACTS", "target/e2e")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
