"""A certificate authority for tests: Pebble, the name server that it asks, and doors that open when a test wants it.

Every port is of the system's choice. Pebble cannot be told one that it does not know yet: it asks at doors, which are bound
first, and lead to a server that starts later.
"""

import contextlib
import datetime
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

READY_WITHIN = 60.0


@dataclass(frozen=True)
class Tls:
    """What the authority itself shows, and whom its clients have to trust for that."""

    root: Path
    cert: Path
    key: Path


def make_tls(folder):
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ["root", "localhost"]]

    def signed(at, *extensions):
        builder = x509.CertificateBuilder().subject_name(names[at]).issuer_name(names[0])
        builder = builder.public_key(keys[at].public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - day).not_valid_after(now + 10 * day)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    files = Tls(folder / "root.pem", folder / "cert.pem", folder / "key.pem")
    files.root.write_bytes(signed(0, x509.BasicConstraints(ca=True, path_length=None)))
    files.cert.write_bytes(signed(1, x509.SubjectAlternativeName([x509.DNSName("localhost")])))
    plain = serialization.NoEncryption()
    pkcs8 = serialization.PrivateFormat.PKCS8
    files.key.write_bytes(keys[1].private_bytes(serialization.Encoding.PEM, pkcs8, plain))
    return files


class Door:
    """A port on loopback that leads to another: to none yet (who comes waits), or to nobody (who comes is sent away)."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._known = threading.Event()
        self._target = None
        self.visits = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def lead_to(self, port):
        self._target = port
        self._known.set()

    def shut(self):
        """Sends everybody away from now on."""
        self.lead_to(None)

    def close(self):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                stream, _ = self._listener.accept()
                threading.Thread(target=self._pass, args=[stream], daemon=True).start()

    def _pass(self, stream):
        with stream, contextlib.suppress(OSError):
            self._known.wait()
            self.visits += 1
            if self._target is None:
                return
            with socket.create_connection(("127.0.0.1", self._target)) as onward:
                back = threading.Thread(target=copy, args=[onward, stream], daemon=True)
                back.start()
                copy(stream, onward)
                back.join()


def copy(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class Names:
    """A name server, over TCP as Pebble asks, that knows every name: it is this machine, and has the TXT records that files of a folder say."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                stream, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[stream], daemon=True).start()

    def _serve(self, stream):
        with stream, stream.makefile("rb") as queries, contextlib.suppress(OSError):
            while length := queries.read(2):
                answer = self._answer(queries.read(int.from_bytes(length, "big")))
                stream.sendall(len(answer).to_bytes(2, "big") + answer)

    def _answer(self, query):
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode())
            at += 1 + length
        question = query[12 : at + 5]
        [kind] = struct.unpack("!H", query[at + 1 : at + 3])
        records = [struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(data)) + data for data in self._records(labels, kind)]
        head = query[:2] + struct.pack("!HHHHH", 0x8580, 1, len(records), 0, 0)
        return head + question + b"".join(records)

    def _records(self, labels, kind):
        if kind == 1:
            return [socket.inet_aton("127.0.0.1")]
        file = self.folder / ".".join(labels).lower()
        if kind == 16 and file.exists():
            texts = [line.encode() for line in file.read_text().splitlines()]
            return [bytes([len(text)]) + text for text in texts]
        return []


class Pebble:
    """The process. `http` and `tls` are where it comes to see that a host is ours."""

    def __init__(self, program, folder, files, names, http, tls, lifetime=7_776_000, environment=None):
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "log"
        config = folder / "config.json"
        config.write_text(
            json.dumps(
                {
                    "pebble": {
                        "listenAddress": "127.0.0.1:0",
                        "managementListenAddress": "127.0.0.1:0",
                        "certificate": str(files.cert),
                        "privateKey": str(files.key),
                        "httpPort": http,
                        "tlsPort": tls,
                        "keyAlgorithm": "ecdsa",
                        "retryAfter": {"authz": 1, "order": 1},
                        "profiles": {"default": {"description": "of a test", "validityPeriod": lifetime}},
                    }
                }
            )
        )
        settings = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
        argv = [program, "-config", config, "-dnsserver", f"127.0.0.1:{names.port}"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **settings, **(environment or {})},
            )
        self._context = ssl.create_default_context(cafile=files.root)
        self.port, self._management = self._wait_ready()

    def log(self):
        return self._log.read_text(errors="replace")

    def root(self):
        """Whom clients of the certificates have to trust, PEM."""
        return self._manage("/roots/0")

    def advise(self, pem, start, end):
        """Wants this certificate to be renewed between two moments (RFC 9773)."""
        window = {"suggestedWindow": {"start": start.isoformat(), "end": end.isoformat()}}
        body = json.dumps({"certificate": pem, "ariResponse": json.dumps(window)})
        self._manage("/set-renewal-info/", body.encode())

    def kill(self):
        self.process.kill()
        self.process.wait()

    def _manage(self, path, body=None):
        url = f"https://localhost:{self._management}{path}"
        with urllib.request.urlopen(url, data=body, context=self._context, timeout=30) as answer:
            return answer.read().decode()

    def _wait_ready(self):
        """The two ports that it listens on: that of the directory, and that of its operator."""
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log()
            ports = listening(self.process.pid)
            if len(ports) == 2:
                [directory] = [port for port in ports if self._has_directory(port)]
                ports.remove(directory)
                return directory, ports.pop()
            time.sleep(0.02)
        raise AssertionError(f"not ready after {READY_WITHIN} s:\n{self.log()}")

    def _has_directory(self, port):
        try:
            url = f"https://localhost:{port}/dir"
            with urllib.request.urlopen(url, context=self._context, timeout=30) as answer:
                return answer.status == 200
        except urllib.error.HTTPError:
            return False


def listening(pid):
    """The TCP ports on which a process listens, over IPv4."""
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if found := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(descriptor)):
                sockets.add(found[1])
    rows = [row.split() for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and row[9] in sockets}
