"""The world in which policies are compared: one gateway for each version of HTTP with a route for each policy, and what stands
behind it."""

import contextlib
import dataclasses
import json
import subprocess
import threading
from dataclasses import dataclass

import mmdb
from curl_cffi import CurlHttpVersion
from curl_cffi import requests as curl

import origins
import rawclients
from conftest import binary
from origins import Http1
from server import Server
from servers import tls_context
from test_access import Judge

VERSIONS = {"HTTP/1.1": CurlHttpVersion.V1_1, "HTTP/2": CurlHttpVersion.V2_0, "HTTP/3": CurlHttpVersion.V3ONLY}
RAW = {"HTTP/1.1": rawclients.Http1, "HTTP/2": rawclients.Http2, "HTTP/3": rawclients.Http3}
TEXT = b"all work and no play makes a dull line\n" * 400
PAGE = "https://app.example"

CONFIG = """
listen = ["127.0.0.1:0"]
workers = 1
http = "off"
trusted_proxies = "127.0.0.1"
name = "edge"
limits = { header_size = "16KiB", body_size = "64KiB" }

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
host = "localhost"
respond = "the site"
"""

# A route for each policy. The path of a route is its name.
ROUTES = """
path/{id}/x: respond = "by path"
method: method = "POST", respond = "by method"
header: header = { x-env = "beta" }, respond = "by header"
query: query = { v = "2" }, respond = "by query"
client: client = "203.0.113.0/24", respond = "by client"
protocol/1: protocol = "HTTP/1.1", respond = "by protocol"
protocol/2: protocol = "HTTP/2", respond = "by protocol"
protocol/3: protocol = "HTTP/3", respond = "by protocol"
root/*: root = "%(root)s", strip_prefix = "/root"
respond: respond = { status = 418, body = "{}", content_type = "application/json" }
redirect/*: redirect = { to = "https://{host}/new{query}", status = 302 }
proxy/*: proxy = { to = "%(origin)s", host = "app.example" }
canary: respond = "main", canary = { percent = 50, header = "x-canary", respond = "canary" }
upstream_tls/*: proxy = "%(secure)s", upstream_tls = { ca = "%(cert)s" }
upstream_tls_none/*: proxy = "%(secure)s"
upstream_timeouts/*: proxy = "%(origin)s", upstream_timeouts = { first_byte = "200ms" }
forwarded/*: proxy = "%(origin)s", forwarded = "both"
in_flight/*: proxy = "%(origin)s", in_flight = { max = 1, queue = 0 }
rate_limit: respond = "in", rate_limit = "2/h per ip, burst 2"
bandwidth/*: root = "%(root)s", strip_prefix = "/bandwidth", bandwidth = "1MB/s"
body_size: respond = "in", method = "POST", body_size = "1KiB"
body_min_rate/*: proxy = "%(origin)s", body_min_rate = "1MB/s after 500ms"
allow: respond = "in", allow = "203.0.113.0/24"
deny: respond = "in", deny = "203.0.113.66"
country: respond = "in", country = { file = "countries.mmdb", allow = ["DE"] }
basic_auth: respond = "in", basic_auth = { realm = "Staff", file = "users" }
jwt/*: proxy = "%(origin)s", jwt = { jwks_url = "%(judge)s/jwks", audience = "api", claims = { sub = "x-user" } }
forward_auth: respond = "in", forward_auth = { url = "%(judge)s/verify", copy = ["x-user"] }
request_id/*: proxy = "%(origin)s", request_id = true
trace_context/*: proxy = "%(origin)s", trace_context = "start"
cors: method = "PUT", respond = "in", cors = { origins = "https://app.example", credentials = true, expose = ["x-total"] }
strip_prefix/*: proxy = "%(origin)s", strip_prefix = "/strip_prefix"
rewrite/{id}/*: proxy = "%(origin)s", rewrite = "/echo?id={id}{query}"
compress/*: root = "%(root)s", strip_prefix = "/compress", compress = { algorithms = ["gzip"] }
mirror/*: proxy = "%(origin)s", mirror = "%(shadow)s"
request_headers/*: proxy = "%(origin)s", request_headers = { set = { x-asked = "{method} {path}" }, remove = ["x-secret"] }
response_headers: respond = "in", response_headers = { set = { x-asked = "{method} {path}" }, add = { link = ["</a>; rel=next"] } }
balance/*: proxy = ["%(origin)s", "%(shadow)s"], balance = "hash header x-user"
health/*: proxy = ["%(origin)s", "%(sick)s"], health = { path = "/health", every = "50ms" }
eject/*: proxy = ["%(origin)s", "127.0.0.1:9"], balance = "round_robin", eject = { after = 1 }
panic_below/*: proxy = "%(sick)s", health = { path = "/health", every = "50ms" }, panic_below = "100%%"
breaker/*: proxy = "%(origin)s", breaker = { requests = 1 }
retry_budget/*: proxy = { to = ["%(origin)s", "127.0.0.1:9"], retries = 1 }, balance = "round_robin", retry_budget = { share = "0%%", per_second = 0 }, eject = false
retries/*: proxy = { to = ["%(origin)s", "127.0.0.1:9"], retries = 1 }, balance = "round_robin", eject = false
discovery/*: proxy = "dns:http://localhost:%(port)s", discovery = { least = "1s" }
slow_start/*: proxy = ["%(origin)s", "%(shadow)s"], slow_start = "10s"
hints/*: proxy = "%(hinting)s", strip_prefix = "/hints"
"""


class Backend(origins.Origin):
    """Tells what it was asked, and what it is called."""

    def __init__(self, name, health=200):
        self.seen = []
        self.held, self.go_on = threading.Event(), threading.Event()
        backend = self

        class Handler(origins.Answering):
            def handle_any(self):
                if self.path == "/health":
                    return self.answer(status=health)
                content = self.rfile.read(int(self.headers.get("content-length", 0)))
                backend.seen.append((self.command, self.path, content))
                if "/hold" in self.path:
                    backend.held.set()
                    backend.go_on.wait(20)
                fields = {field.lower(): value for field, value in self.headers.items()}
                told = {"name": name, "target": f"{self.command} {self.path}", "fields": fields}
                # Who has waited too long is not there any more.
                with contextlib.suppress(BrokenPipeError):
                    self.answer(json.dumps(told).encode())

            do_GET = do_POST = do_PUT = handle_any

        super().__init__(Handler)

    def stop(self):
        self.go_on.set()
        super().stop()


@dataclass
class World:
    """What one version is tried in: a gateway and backends that nobody has used."""

    version: str
    server: Server
    certificate: object
    origin: Backend
    shadow: Backend
    worlds: object

    def __post_init__(self):
        self.session = self.new_session()

    def new_session(self):
        return curl.Session(
            http_version=VERSIONS[self.version], verify=str(self.certificate.cert), discard_cookies=True, timeout=20
        )

    def ask(self, path, method="GET", session=None, client=None, **fields):
        """Sends a request with these fields alone: `x_env="beta"` is `x-env: beta`."""
        data = fields.pop("data", None)
        coding = fields.pop("accept_encoding", None)
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        if client is not None:
            headers["x-forwarded-for"] = client
        return (session or self.session).request(
            method,
            self.server.url(path),
            headers=headers,
            data=data,
            allow_redirects=False,
            default_headers=False,
            accept_encoding=coding,
        )

    def limited(self, limits):
        """The same over a server with these limits, which passes everything on."""
        tls = f'tls = {{ cert = "{self.certificate.cert}", key = "{self.certificate.key}" }}'
        text = f'listen = ["127.0.0.1:0"]\nworkers = 1\nhttp = "off"\n{limits}\n'
        text += f'[[site]]\n{tls}\nproxy = "{self.origin.address}"\n'
        return dataclasses.replace(self, server=self.worlds.serve(text, f"limited-{len(self.worlds.endings)}"))

    def raw(self, prelude=b""):
        return RAW[self.version](self.server.address, prelude)


class Worlds:
    """Makes them, and ends what they started."""

    def __init__(self, folder, certificate):
        self.folder, self.certificate = folder, certificate
        self.endings = []
        judge = origins.Origin(Judge)
        self.endings.append(judge.stop)
        self.judge = f"http://{judge.address}"
        (folder / "www").mkdir()
        (folder / "www" / "text.txt").write_bytes(TEXT)
        (folder / "www" / "big.bin").write_bytes(b"x" * 600_000)
        mmdb.write(folder / "countries.mmdb", {"203.0.113.0/24": "DE", "198.51.100.0/24": "FR"})
        hashed = subprocess.run(
            [binary("STERNA_BIN"), "hash-password"], input=b"secret\n", capture_output=True, check=True
        )
        (folder / "users").write_text(f"alice:{hashed.stdout.decode()}")

    def serve(self, text, name):
        (self.folder / f"{name}.toml").write_text(text)
        server = Server([binary("STERNA_BIN"), "run", "-c", self.folder / f"{name}.toml"], self.folder / name)
        self.endings.append(server.kill)
        return server

    def head(self):
        return CONFIG % {"cert": self.certificate.cert, "key": self.certificate.key}

    def new(self, version):
        origin, shadow, sick = Backend("origin"), Backend("shadow"), Backend("sick", health=503)
        secure = Http1(tls=tls_context(self.certificate))
        hinting = Http1()
        self.endings += [one.stop for one in (origin, shadow, sick, secure, hinting)]
        values = {
            "cert": self.certificate.cert,
            "root": self.folder / "www",
            "origin": origin.address,
            "port": origin.address.rpartition(":")[2],
            "shadow": shadow.address,
            "sick": sick.address,
            "secure": secure.address.replace("127.0.0.1", "localhost"),
            "hinting": hinting.address,
            "judge": self.judge,
        }
        routes = [line.split(": ", 1) for line in (ROUTES % values).strip().splitlines()]
        tables = [f'\n[[site.route]]\npath = "/{path}"\n{keys_on_lines(keys)}\n' for path, keys in routes]
        server = self.serve(self.head() + "".join(tables), version.replace("/", "-"))
        return World(version, server, self.certificate, origin, shadow, self)

    def stop(self):
        for end in reversed(self.endings):
            end()


def keys_on_lines(keys):
    """`a = 1, b = [2, 3]` with a line for each key."""
    depth, quoted, lines = 0, False, [""]
    for character in keys:
        quoted ^= character == '"'
        depth += 0 if quoted else {"[": 1, "{": 1, "]": -1, "}": -1}.get(character, 0)
        if character == "," and depth == 0 and not quoted:
            lines.append("")
        else:
            lines[-1] += character
    return "\n".join(line.strip() for line in lines)


def proxy_line(address):
    return f"PROXY TCP4 {address} 127.0.0.1 1 2\r\n".encode()


