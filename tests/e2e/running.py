"""A server whose configuration and certificate a test writes anew, and clients that must not notice."""

import hashlib
import json
import os
import signal
import subprocess
import time

import httpx

from admin import Admin
from conftest import binary
from server import Server

CONFIG = """
listen = ["127.0.0.1:0"]
http = "off"
workers = 2
access_log = %(log)s
admin = { listen = "unix:%(socket)s" }

[timeouts]
# A machine that is full of other work may stop a client for a while.
handshake = "60s"
keep_alive = "%(keep_alive)s"

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
respond = "g%(number)s"
response_headers = { set = { x-generation = "g%(number)s" } }

[[site.route]]
path = "/files/*"
root = "%(root)s"
"""


class Running:
    """A server with a configuration that a test writes anew."""

    def __init__(self, tmp_path, certificate, flags=()):
        self.folder = tmp_path
        self.root = tmp_path / "www"
        (self.root / "files").mkdir(parents=True)
        self.content = os.urandom(20_000_000)
        (self.root / "files/large.bin").write_bytes(self.content)
        self.cert, self.key = tmp_path / "cert.pem", tmp_path / "key.pem"
        self.use(certificate)
        self.file = tmp_path / "sterna.toml"
        self.write(1)
        argv = [binary("STERNA_BIN"), "run", "-c", self.file, *flags]
        self.server = Server(argv, tmp_path / "server")
        self.admin = Admin(tmp_path / "admin.sock")

    def use(self, certificate):
        """Puts another pair where the configuration finds it."""
        self.cert.write_bytes(certificate.cert.read_bytes())
        self.key.write_bytes(certificate.key.read_bytes())

    def write(self, number, log="false", keep_alive="60s", more=""):
        """A configuration that says its number; `more` goes at its end."""
        values = {
            "number": number,
            "log": log,
            "keep_alive": keep_alive,
            "socket": self.folder / "admin.sock",
            "cert": self.cert,
            "key": self.key,
            "root": self.root,
        }
        new = self.folder / "new.toml"
        new.write_text(CONFIG % values + more)
        new.rename(self.file)

    def reload(self):
        answer = self.admin.post("/reload")
        assert answer.status == 200, answer.text
        return answer.json()

    def generation(self, trusting):
        with httpx.Client(verify=trusting) as client:
            return client.get(self.server.url()).text


class Download:
    """A response over HTTP/1.1 or HTTP/2 whose reader pauses: more of it is left than buffers and windows hold."""

    def __init__(self, running, trusting, **versions):
        self._expected = hashlib.sha256(running.content)
        self._client = httpx.Client(verify=trusting, timeout=60, **versions)
        request = self._client.build_request("GET", running.server.url("/files/large.bin"))
        self._response = self._client.send(request, stream=True)
        self._pieces = self._response.iter_raw()
        self._read = hashlib.sha256(next(self._pieces))

    def step(self, size):
        """Reads at least so much more; whether there is more."""
        for piece in self._pieces:
            self._read.update(piece)
            size -= len(piece)
            if size <= 0:
                return True
        return False

    def finish(self):
        while self.step(1 << 20):
            pass
        assert self._read.digest() == self._expected.digest()
        self._client.close()


class Loads:
    """`sterna load` over each version of HTTP, until it is told to end."""

    def __init__(self, one, rate=100, duration="3600s", flags=()):
        self._runs, before = [], self.served(one.admin)
        for version in ["--http1.1", "--http2", "--http3"]:
            argv = [binary("STERNA_BIN"), "load", version, "-c", "4", "--rate", str(rate), "-d", duration]
            argv += ["--insecure", "--json", *flags, one.server.url()]
            self._runs.append(subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))

        # A process takes its time to start on a busy machine.
        until(lambda: all(now >= was + 5 for was, now in zip(before, self.served(one.admin))))

    @staticmethod
    def served(admin):
        counters = admin.get("/status").json()["counters"]
        return [counters[f"http{version}_requests"] for version in (1, 2, 3)]

    def finish(self):
        for run in self._runs:
            run.send_signal(signal.SIGINT)
        reports = []
        for run in self._runs:
            out, err = run.communicate(timeout=60)
            assert run.returncode == 130, err
            report = json.loads(out)
            assert {kind: error for kind, error in report["errors"].items() if error["count"]} == {}
            assert report["requests"]["done"] > 0, report["requests"]
            reports.append(report)
        return reports


def until(done):
    """Polls for what nobody tells."""
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)
