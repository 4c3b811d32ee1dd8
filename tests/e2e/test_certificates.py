"""Certificates change while clients shake hands: nobody is refused or cut, and all see the new one at once.

`STERNA_CERTIFICATES=1000` is the long run, the whole of that line of R1.
"""

import os
import re
import signal
import socket
import ssl
import statistics
import threading
import time

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from conftest import make_certificate
from figures import figure
from h3client import Client
from h3raw import Peer
from running import Download, Loads, Running, until

LONG = "STERNA_CERTIFICATES" in os.environ
CHANGES = int(os.environ.get("STERNA_CERTIFICATES", 30))
# What the machine of a test does besides is not ours to know.
SEEN_WITHIN = 1.0 if LONG else 60.0


@pytest.fixture
def running(tmp_path, certificate):
    started = []

    def start(flags=(), certificate=certificate):
        started.append(Running(tmp_path, certificate, flags))
        return started[-1]

    yield start
    for one in started:
        one.server.kill()


def der(certificate):
    return ssl.PEM_cert_to_DER_cert(certificate.cert.read_text())


def over_tcp(address):
    """The certificate that a new connection over TCP is shown, by OpenSSL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(address, timeout=60) as tcp:
        with context.wrap_socket(tcp, server_hostname="localhost") as tls:
            return tls.getpeercert(binary_form=True)


def over_quic(address):
    """The certificate that a new connection over QUIC is shown, by aioquic."""
    with Peer(address, idle_timeout=120.0).connect(timeout=100) as peer:
        return peer.quic.tls._peer_certificate.public_bytes(Encoding.DER)


class Eye(threading.Thread):
    """Shakes hands again and again: what it was shown last, and when the handshake began and ended."""

    def __init__(self, look, address):
        super().__init__()
        self._look, self._address = look, address
        self._news, self._over = threading.Condition(), False
        self._last, self._failure, self.handshakes = (None, 0.0, 0.0), None, 0
        self.start()

    def run(self):
        while not self._over:
            began, shown = time.monotonic(), None
            try:
                shown = self._look(self._address)
            except Exception as error:  # noqa: BLE001
                self._failure = error
            with self._news:
                self._last = (shown, began, time.monotonic())
                self.handshakes += 1
                self._news.notify_all()
            if self._failure:
                return

    def wait(self, wanted):
        """Waits until the last handshake is as wanted."""
        with self._news:
            assert self._news.wait_for(lambda: self._failure or wanted(*self._last), 110), "not seen"
            assert not self._failure, repr(self._failure)
            return self._last

    def end(self):
        self._over = True
        self.join(120)
        assert not self._failure, repr(self._failure)
        return self.handshakes


class Stayers:
    """Connections of each version that were there before the first change, and must be there after the last."""

    def __init__(self, one, trusting):
        self._one, self._versions = one, [{"http2": False}, {"http2": True, "http1": False}]
        # By themselves they would give up a connection of which they have made no use for five seconds.
        stay = httpx.Limits(keepalive_expiry=None)
        options = {"verify": trusting, "timeout": 60, "limits": stay}
        self._clients = [httpx.Client(**options, **version) for version in self._versions]
        self._downloads = [self._download(version) for version in self._versions]
        self._http3 = Client(one.server.address).connect(timeout=60)
        self._large = self._http3.start("GET", "/files/large.bin")
        self._ports = self.ask()

    def _download(self, version):
        # One that begins later is shown another certificate.
        return Download(self._one, False, **version)

    def ask(self):
        """A request on each, and a little more of the downloads; the clients' ports."""
        ports = []
        for client in self._clients:
            response = client.get(self._one.server.url())
            assert response.text == "g1"
            ports.append(response.extensions["network_stream"].get_extra_info("client_addr")[1])
        assert self._http3.fetch("/", timeout=60).body == b"g1"
        for at, (version, download) in enumerate(zip(self._versions, self._downloads)):
            if not download.step(200_000):
                download.finish()
                self._downloads[at] = self._download(version)
        return ports

    def finish(self):
        assert self.ask() == self._ports, "they are the connections of the begin"
        assert self._http3.finish(self._large, timeout=60)[0].body == self._one.content
        self._http3.close()
        for download in self._downloads:
            download.finish()
        for client in self._clients:
            client.close()


def by_watch(one):
    pass


def by_signal(one):
    one.server.process.send_signal(signal.SIGHUP)


def by_admin(one):
    assert any("certificates" in change for change in one.reload()["changes"])


def put(one, certificate, number):
    """The new pair in place of the old: over it or by rename, the key first or last."""
    pair = [(certificate.cert, one.cert), (certificate.key, one.key)]
    for new, old in pair if number % 2 else reversed(pair):
        if number % 4 < 2:
            old.write_bytes(new.read_bytes())
        else:
            new.rename(old)


@pytest.mark.timeout(240 + 3 * CHANGES)
@pytest.mark.parametrize("change", [by_watch, by_signal, by_admin])
def test_certificates_that_change_under_handshakes_fail_and_cut_nothing_and_are_seen_at_once(
    running, certificate, tmp_path, change
):
    one = running(["--watch"] if change is by_watch else [])
    stayers = Stayers(one, ssl.create_default_context(cafile=certificate.cert))
    loads = Loads(one, rate=50, flags=["--reconnect", "1", "--connect-timeout", "60s"])
    eyes = [Eye(look, one.server.address) for look in (over_tcp, over_quic)]
    took = {"TCP": [], "QUIC": []}
    try:
        for number in range(-(-CHANGES // 3)):
            folder = tmp_path / f"pair-{number}"
            folder.mkdir()
            new = make_certificate(folder)
            shown = der(new)
            put(one, new, number)
            changed = time.monotonic()
            change(one)
            if change is by_admin:
                # Who is told that it is done meets nothing older, over neither transport.
                told = time.monotonic()
                for eye in eyes:
                    assert eye.wait(lambda _, began, ended: began > told)[0] == shown
            for eye, times in zip(eyes, took.values()):
                *_, seen = eye.wait(lambda seen, *_: seen == shown)
                times.append(seen - changed)
            stayers.ask()
    finally:
        failures = [line for line in one.admin.get("/metrics").text.splitlines() if "handshake_failures_total{" in line]
        print("handshakes that failed, for the server:", [line for line in failures if not line.endswith(" 0")])
        handshakes = [eye.end() for eye in eyes]
    # Before the loads end in the middle of handshakes of theirs.
    counters = one.admin.get("/status").json()["counters"]
    reports = loads.finish()
    stayers.finish()
    attempts = sum(report["handshakes"]["done"] for report in reports)
    assert [report["handshakes"]["failed"] for report in reports] == [0, 0, 0]
    assert [counters[name] for name in ["tls_failures", "panics", "protocol_errors"]] == [0, 0, 0]
    for transport, times in took.items():
        print(f"{change.__name__}, {transport}: seen after {ms(statistics.median(times))} in the median")
        figure(f"seen-{change.__name__}-{transport}", max(times) * 1000, "ms", f"<= {SEEN_WITHIN * 1000:.0f}")
    figure(f"changes-{change.__name__}", len(took["TCP"]), "changes", "-")
    print(f"{attempts} handshakes of loads and {handshakes} of eyes")
    figure(f"failed-{change.__name__}", 0, f"of-{attempts + sum(handshakes)}", "0")
    assert max(took["TCP"] + took["QUIC"]) <= SEEN_WITHIN
    one.server.stop()


def ms(seconds):
    return f"{seconds * 1000:.0f} ms"


def half(one, new):
    one.cert.write_bytes(new.cert.read_bytes())


def other_half(one, new):
    one.key.write_bytes(new.key.read_bytes())


def torn(one, new):
    one.cert.write_bytes(new.cert.read_bytes()[:200])


@pytest.mark.parametrize(
    "first, then, told",
    [(half, other_half, "does not match"), (other_half, half, "does not match"), (torn, Running.use, "not valid PEM")],
    ids=["certificate first", "key first", "torn"],
)
def test_half_of_a_pair_is_refused_and_the_whole_is_served_when_it_is_there(
    running, certificate, tmp_path, first, then, told
):
    one = running(["--watch"])
    (tmp_path / "new").mkdir()
    new = make_certificate(tmp_path / "new")
    first(one, new)
    until(lambda: "not reloaded" in one.server.stderr())
    assert told in one.server.stderr()
    assert audited(one) == ([str(one.cert)], 1)
    for look in (over_tcp, over_quic):
        assert look(one.server.address) == der(certificate)
    then(one, new)
    until(lambda: "changed certificates" in one.server.stderr())
    for look in (over_tcp, over_quic):
        assert look(one.server.address) == der(new)
    assert audited(one) == ([str(one.cert)], 1), "once for each change"


def audited(one):
    """The files of which audit events tell, and how many certificates were refused."""
    lines = [line for line in one.server.stderr().splitlines() if "audit: certificate refused" in line]
    metrics = one.admin.get("/metrics").text
    count = re.search(r"^sterna_certificates_refused_total (\d+)$", metrics, re.MULTILINE)[1]
    return [re.search(r'file="([^"]*)"', line)[1] for line in lines], int(count)


def test_a_pair_that_is_refused_by_the_interface_is_a_400_with_the_reason_and_an_audit_event(
    running, certificate, tmp_path
):
    one = running()
    (tmp_path / "over").mkdir()
    for number, (change, told) in enumerate(
        [
            (lambda: one.use(make_certificate(tmp_path / "over", days=-1)), "is over since"),
            (lambda: one.key.write_bytes(certificate.key.read_bytes()), "does not match"),
            (lambda: one.cert.unlink(), "cannot read"),
        ]
    ):
        change()
        answer = one.admin.post("/reload")
        assert answer.status == 400 and told in answer.json()["error"], answer.text
        assert audited(one) == ([str(one.cert)] * (number + 1), number + 1)
        for look in (over_tcp, over_quic):
            assert look(one.server.address) == der(certificate)
    one.use(certificate)
    assert one.reload()["changes"] == []


def test_a_certificate_that_has_become_old_while_it_was_shown_is_no_reason_against_a_reload(running, tmp_path):
    (tmp_path / "over").mkdir()
    one = running(certificate=make_certificate(tmp_path / "over", days=-1))
    one.write(2)
    assert one.reload()["generation"] == 2
