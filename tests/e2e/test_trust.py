"""`sterna trust` and `untrust` with the real programs: curl by the system's store, Chromium by a user's database."""

import hashlib
import re
import shutil

import pytest

from browser import Browser
from conftest import binary
from machine import ADDED, CERTIFICATES, Machine
from server import Server

NAME = "Sterna local authority"


@pytest.fixture
def machine(tmp_path):
    machine = Machine(tmp_path / "machine")
    yield machine
    machine.stop()


@pytest.fixture
def database(machine):
    """That of a user's browsers."""
    folder = machine.home / ".pki/nssdb"
    folder.mkdir(parents=True)
    made = machine.run("certutil", "-N", "-d", f"sql:{folder}", "--empty-password")
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture
def start(machine, tmp_path):
    """Starts the welcome site under the local authority of the machine."""
    started = []

    def start():
        argv = [binary("STERNA_BIN"), "run", "--listen", "127.0.0.1:0", "--workers", "1"]
        folder = tmp_path / f"server-{len(started)}"
        started.append(Server(machine.command(*argv), folder))
        return started[-1]

    yield start
    for server in started:
        server.kill()


def trusted_by_curl(machine, url):
    run = machine.run("curl", "--silent", "--show-error", url)
    assert run.returncode in (0, 60), run.stderr  # 60: the peer cannot be authenticated
    return run.returncode == 0


def state_of_the_store():
    """Of the machine that runs the tests."""
    bundle = hashlib.sha256((CERTIFICATES / "ca-certificates.crt").read_bytes()).hexdigest()
    return bundle, sorted(CERTIFICATES.iterdir()), sorted(ADDED.glob("*"))


def changes(run):
    """How many stores were changed."""
    assert run.returncode == 0, run.stderr
    return len(re.findall("^  done: ", run.stderr, re.MULTILINE))


@pytest.mark.usefixtures("database")
def test_curl_and_chromium_trust_the_authority_and_no_longer(machine, start, tmp_path):
    before = state_of_the_store()
    sterna = binary("STERNA_BIN")

    def seen_by_chromium(url, profile):
        with Browser(tmp_path / profile, env=machine.env) as browser:
            error = browser.open(url)
            return error or browser.evaluate("document.title")

    server = start()
    assert "not trusted by browsers yet (sterna trust)" in server.stderr()
    assert not trusted_by_curl(machine, server.url())
    assert seen_by_chromium(server.url(), "one") == "net::ERR_CERT_AUTHORITY_INVALID"

    assert changes(machine.run(sterna, "trust")) == 2
    assert trusted_by_curl(machine, server.url())
    assert "Sterna" in seen_by_chromium(server.url(), "two")
    assert changes(machine.run(sterna, "trust")) == 0
    server.stop()
    server = start()
    assert "trusted by this system" in server.stderr()

    assert changes(machine.run(sterna, "untrust")) == 2
    assert not trusted_by_curl(machine, server.url())
    assert seen_by_chromium(server.url(), "three") == "net::ERR_CERT_AUTHORITY_INVALID"
    assert changes(machine.run(sterna, "untrust")) == 0
    server.stop()
    assert state_of_the_store() == before, "the store of this machine is as it was"


def test_a_new_authority_takes_the_place_of_the_old(machine, database):
    sterna = binary("STERNA_BIN")
    for _ in range(2):
        assert changes(machine.run(sterna, "trust")) == 2
        root = machine.home / ".local/share/sterna/local-ca/root.crt"
        kept = machine.run("certutil", "-L", "-d", f"sql:{database}", "-n", NAME, "-a")
        assert kept.stdout.split() == root.read_text().split()
        shutil.rmtree(root.parent)
    assert changes(machine.run(sterna, "untrust")) == 2
    listed = machine.run("certutil", "-L", "-d", f"sql:{database}")
    assert listed.returncode == 0 and NAME not in listed.stdout


def test_a_user_without_a_database_is_told_how_to_make_one(machine):
    run = machine.run(binary("STERNA_BIN"), "trust")
    assert changes(run) == 1
    assert "certutil -N --empty-password" in run.stderr
