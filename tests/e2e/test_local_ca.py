"""The local authority as a first run leaves it: a root that can be trusted, and a leaf of a week for this machine's names."""

import datetime
import ssl
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from conftest import binary
from server import Server

SITES = """
listen = ["127.0.0.1:0"]
http = "off"
access_log = false
admin.listen = "off"

[[site]]
host = ["app.localhost", "10.1.2.3", "printer.internal"]
respond = "hello"
"""


@pytest.fixture
def first_run(tmp_path):
    """A server with no certificate, on a machine that has no authority yet, and the folder of that."""
    config, data = tmp_path / "sterna.toml", tmp_path / "data"
    config.write_text(SITES)
    argv = ["env", f"STERNA_DATA={data}", binary("STERNA_BIN"), "run", "-c", config]
    server = Server(argv, tmp_path / "server")
    yield server, data
    server.stop()


def test_a_first_run_makes_an_authority_and_a_leaf_of_a_week_for_all_names(first_run):
    server, data = first_run
    [root] = data.rglob("root.crt")
    authority = x509.load_pem_x509_certificate(root.read_bytes())
    leaf = x509.load_pem_x509_certificate(ssl.get_server_certificate(server.address).encode())
    leaf.verify_directly_issued_by(authority)
    now = datetime.datetime.now(datetime.timezone.utc)
    left = leaf.not_valid_after_utc - now
    assert datetime.timedelta(days=6) < left <= datetime.timedelta(days=7), left
    assert leaf.not_valid_before_utc <= now
    assert isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    named = {str(name.value) for name in names}
    assert named >= {"localhost", "127.0.0.1", "::1", "app.localhost", "10.1.2.3", "printer.internal"}, named
    for key in data.rglob("*.key"):
        assert key.stat().st_mode & 0o077 == 0, "for its owner alone"


@pytest.mark.parametrize("version", ["--http1.1", "--http2", "--http3"])
def test_whoever_trusts_the_root_gets_every_name_over_every_version(first_run, version):
    server, data = first_run
    [root] = data.rglob("root.crt")
    for name in ["app.localhost", "printer.internal"]:
        url = f"https://{name}:{server.port}/"
        if version == "--http3":
            argv = [binary("STERNA_BIN"), "get", version, "--connect-to", f"127.0.0.1:{server.port}", "--cacert", root, url]
        else:
            argv = ["curl", version, "-sS", "--resolve", f"{name}:{server.port}:127.0.0.1", "--cacert", root, url]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, "hello"), done.stderr
