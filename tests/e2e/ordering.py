"""An authority, a server of ours that orders from it, and whoever looks at what it shows."""

import json
import socket
import ssl
import subprocess
import time

from cryptography import x509
from curl_cffi import CurlOpt
from curl_cffi import requests as curl

from admin import Admin
from conftest import binary
from pebble import Door, Names, Pebble, make_tls
from server import Server

# On a machine where others compile.
PATIENCE = 150.0

CONFIG = """
listen = ["127.0.0.1:0"]
http = "127.0.0.1:0"
workers = 2
access_log = false
admin = { listen = "unix:%(folder)s/admin.sock" }

[acme]
agree_to_terms = true
email = "ops@a.example"
directory = "https://localhost:%(directory)s/dir"
ca = "%(ca)s"
storage = "%(folder)s/acme"
%(acme)s

[[site]]
respond = "any"

%(sites)s
"""

SITE = """
[[site]]
host = "%s"
acme = true
respond = "%s"
%s
"""


HOOK = """#!/bin/sh
echo "$@" >> "{folder}/hook.log"
case "$1" in
    present) echo "$3" >> "{folder}/records/$2" ;;
    cleanup) rm "{folder}/records/$2" ;;
esac
"""


class World:
    """An authority, and a server of ours that it can find by any name."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        monkeypatch.setenv("STERNA_DATA", str(folder / "data"))
        tls = folder / "authority"
        tls.mkdir()
        self.files = make_tls(tls)
        self.names = Names(folder / "records")
        self.directory, self.http, self.tls = Door(), Door(), Door()
        self.pebble = self.server = None
        self.others = []
        self._started = 0

    def start_authority(self, **more):
        program = binary("PEBBLE_BIN")
        folder = self.folder / f"pebble-{self._count()}"
        self.pebble = Pebble(program, folder, self.files, self.names, self.http.port, self.tls.port, **more)

    def write(self, *hosts, acme="", site="", directory=None):
        values = {
            "folder": self.folder,
            "directory": (directory or self.directory).port,
            "ca": self.files.root,
            "acme": acme,
            "sites": "".join(SITE % (host, host, site) for host in hosts),
        }
        new = self.folder / "new.toml"
        new.write_text(CONFIG % values)
        new.rename(self.folder / "sterna.toml")

    def hook(self):
        """What `[acme]` says where a program proves hosts, in the DNS."""
        hook = self.folder / "hook"
        hook.write_text(HOOK.format(folder=self.folder))
        hook.chmod(0o755)
        return f'challenge = "dns-01"\ndns_hook = "{hook}"'

    def start_another(self, name):
        """A second server with the same storage."""
        folder = self.folder / name
        folder.mkdir()
        text = (self.folder / "sterna.toml").read_text().replace(f"{self.folder}/admin", f"{folder}/admin")
        (folder / "sterna.toml").write_text(text)
        server = Server([binary("STERNA_BIN"), "run", "-c", folder / "sterna.toml"], folder / "server")
        self.others.append(server)
        return server

    def start_server(self, find_authority=True, argv=None):
        """Starts it, and shows the authority the way to it, then it the way to the authority if there is one."""
        argv = argv or ["run", "-c", self.folder / "sterna.toml"]
        self.server = Server([binary("STERNA_BIN"), *argv], self.folder / f"server-{self._count()}")
        self.admin = Admin(self.folder / "admin.sock")
        self.find_plain()
        self.tls.lead_to(self.server.port)
        if self.pebble and find_authority:
            self.directory.lead_to(self.pebble.port)

    def find_plain(self):
        [plain] = self.admin.get("/status").json()["plain_addresses"]
        self.http.lead_to(int(plain.rsplit(":", 1)[1]))

    def start(self, *hosts, acme="", site="", **authority):
        self.start_authority(**authority)
        self.write(*hosts, acme=acme, site=site)
        self.start_server()

    def rows(self):
        listed = self.admin.get("/certificates")
        assert listed.status == 200, listed.text
        return {name: row for row in listed.json()["certificates"] for name in row["names"]}

    def row(self, host):
        """What is known of the order for a host."""
        rows = self.admin.get("/certificates").json()["certificates"]
        [row] = [row for row in rows if host in row["names"] and row["source"] == "acme"]
        return row

    def wait_issued(self, host):
        def is_issued():
            row = self.row(host)
            assert row["error"] is None, self.told()
            return row["issuer"]

        until(is_issued, self.told)
        return self.shown(host.replace("*", "x"))

    def shown(self, host, server=None):
        """The certificate that a client sees over TCP."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection((server or self.server).address) as stream:
            with context.wrap_socket(stream, server_hostname=host) as tls:
                return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))

    def get(self, host, version, root, client=None):
        """What a client that trusts the authority alone is told."""
        options = {CurlOpt.RESOLVE: [f"{host}:{self.server.port}:127.0.0.1"]}
        tls = {"verify": str(root), "cert": client and client.both}
        with curl.Session(http_version=version, **tls, curl_options=options, timeout=30) as session:
            return session.get(f"https://{host}:{self.server.port}/").text

    def root(self):
        file = self.folder / "root.pem"
        file.write_text(self.pebble.root())
        return file

    def issued(self):
        """How many certificates the authority has issued."""
        return self.pebble.log().count("Issued certificate serial")

    def cert(self, *words):
        argv = [binary("STERNA_BIN"), "cert", *words, "--admin", f"unix:{self.folder}/admin.sock"]
        return subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE)

    def counters(self):
        return self.admin.get("/status").json()["counters"]

    def told(self):
        authority = self.pebble.log() if self.pebble else "(no authority)"
        return f"{self.server.stderr()}\n{json.dumps(self.rows(), indent=1)}\n{authority}"

    def close(self):
        for process in [self.server, self.pebble, *self.others]:
            if process:
                process.kill()
        for one in [self.names, self.directory, self.http, self.tls]:
            one.close()

    def _count(self):
        self._started += 1
        return self._started


def until(done, told=lambda: "too late"):
    """Polls for what nobody tells."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, told()
        time.sleep(0.05)
