"""Nobody comes past a policy by another spelling of a path or a host: what the origin may take a request for, in whatever way
servers read paths, takes the route that the gateway took. Over each version, with clients that write what no browser would."""

import posixpath
import re
from urllib.parse import unquote_to_bytes

import pytest

import origins
from conftest import binary
from rawclients import Http1, Http2, Http3
from server import Server

CONFIG = """
listen = ["127.0.0.1:0"]
workers = 1
http = "off"

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
host = ["localhost", "*.localhost"]
proxy = "127.0.0.1:%(port)d"
request_headers.set = { x-route = "site" }

[[site.route]]
path = ["/admin", "/admin/*"]
proxy = "127.0.0.1:%(port)d"
request_headers.set = { x-route = "admin" }

[[site.route]]
path = "/public/*"
proxy = "127.0.0.1:%(port)d"
request_headers.set = { x-route = "public" }

[[site.route]]
path = "/users/{id}"
proxy = "127.0.0.1:%(port)d"
request_headers.set = { x-route = "user" }

[[site.route]]
path = "/app/*"
strip_prefix = "/app"
proxy = "127.0.0.1:%(port)d"
request_headers.set = { x-route = "app" }

[[site]]
host = "admin.test"
proxy = "127.0.0.1:%(port)d"
request_headers.set = { x-route = "admin.test" }
"""

SLASHES = ["//", "/./", "/%2f", "%2f", "%2F", "%252f", "%25252f", "\\", "%5c", "%5C", "%255c", "%c0%af", "/;/", "/;x=1/", "/%2e/"]
UP = ["..", "%2e%2e", "%2E%2e", ".%2e", "%2e.", "%252e%252e", "..;", "..;a=b", "..%3b", "..%00", "..%20", "..%09", "%c0%ae%c0%ae"]
TAILS = [";", ";x", ";x=1", "%3bx", "%3Bx=1", "%253bx", "%00", "%00.html", "%2500", "%20", "%09", "%0a", "%0d", "%3f", "%3fx=1", "%23", "%23x", "%2520"]
SPELLED = ["/%61dmin", "/ad%6din", "/%2561dmin", "/adm%69n/x", "/%61%64%6d%69%6e", "/%25%36%31dmin", "/%41dmin", "/ADMIN", "/Admin/x"]


def paths():
    """All the other ways to write `/admin`, `/admin/x` and what lies beside them."""
    found = ["/admin", "/admin/", "/admin/x", *SPELLED]
    found += [f"{slash}admin" for slash in SLASHES if slash[0] in "/\\"] + [f"/{slash}admin" for slash in SLASHES]
    found += [f"/admin{slash}x" for slash in SLASHES] + [f"/public{slash}x" for slash in SLASHES]
    for up in UP:
        found += [f"/public/{up}/admin", f"/public/x/{up}/{up}/admin/x", f"/{up}/admin", f"/public/{up}%2fadmin"]
        found += [f"/public%2f{up}%2fadmin", f"/public\\{up}\\admin", f"/admin/{up}/public/x", f"/public/x/{up}"]
        found += [f"/app/{up}/admin", f"/app/x/{up}/{up}/admin"]
    found += [f"/admin{tail}" for tail in TAILS] + [f"/admin{tail}/x" for tail in TAILS]
    found += [f"/users/7{slash}x" for slash in SLASHES] + [f"/app{slash}admin" for slash in SLASHES]
    return list(dict.fromkeys(found))


RAW = {"HTTP/1.1": Http1, "HTTP/2": Http2, "HTTP/3": Http3}
PATHS = paths()
# These say what they say to everybody, and pass.
PLAIN = {
    "/": "site",
    "/x": "site",
    "/a;v=1/b": "site",
    "/.well-known/x": "site",
    "/x..y/...": "site",
    "/100%25": "site",
    "/ADMIN": "site",
    "/admin": "admin",
    "/%61dmin": "admin",
    "/admin/a%2Fb": "admin",
    "/admin//x": "admin",
    "/public/a%20b;v=1": "public",
    "/public/%2e%2ehidden": "public",
    "/public/a%5cb": "public",
    "/users/a%40b": "user",
    "/app/x%2Fy": "app",
}
assert len(PATHS) >= 200


def merged(path):
    return re.sub("/+", "/", path)


def resolved(path):
    """Without dots, and with the slash at the end if it had one (RFC 3986 §5.2.4)."""
    ends = path.endswith(("/", "/.", "/.."))
    clean = posixpath.normpath("/" + path.lstrip("/")) if path.startswith("/") else path
    return clean + "/" if ends and clean != "/" else clean


def once(path):
    text = unquote_to_bytes(path)
    for long, short in [(b"\xc0\xae", b"."), (b"\xc0\xaf", b"/")]:
        text = text.replace(long, short)
    return text.decode("latin-1")


def segments_once(path):
    return "/".join(once(segment).replace("/", "%2F") for segment in path.split("/"))


def without_parameters(path):
    return "/".join(segment.split(";")[0] for segment in path.split("/"))


# How servers read a path, each in its own way.
READERS = {
    "RFC 3986": lambda path: segments_once(path),
    "RFC 3986, resolved": lambda path: resolved(segments_once(path)),
    "nginx": lambda path: resolved(merged(once(path))),
    "WSGI": lambda path: once(path),
    "Go's mux": lambda path: resolved(once(path)),
    "Tomcat": lambda path: resolved(merged(once(without_parameters(path)))),
    "parameters after decoding": lambda path: resolved(merged(without_parameters(once(path)))),
    "IIS": lambda path: resolved(merged(once(path).replace("\\", "/"))),
    "decodes twice": lambda path: resolved(merged(once(once(path)))),
    "decodes thrice": lambda path: resolved(merged(once(once(once(path))).replace("\\", "/"))),
    "C strings": lambda path: resolved(once(path).split("\0")[0]),
    "decodes, then parses": lambda path: resolved(re.split("[?#]", once(path))[0]),
    "trims": lambda path: resolved(once(path).strip()),
}


def route_of(path):
    """The route of a path that has been read, after which nothing is left to decode."""
    first, *rest = path.removeprefix("/").split("/")
    if first == "admin":
        return "admin"
    if first in ("public", "app") and rest:
        return first
    if first == "users" and len(rest) == 1 and rest[0]:
        return "user"
    return "site"


class Origin(origins.Origin):
    """Remembers the target, the host and the route of the last request, byte for byte."""

    def __init__(self):
        origin = self
        self.seen = None

        class Handler(origins.Answering):
            def do_GET(self):
                # Not `self.path`, which has been tidied up.
                target = self.requestline.split(" ")[1]
                origin.seen = (target, self.headers["host"], self.headers["x-route"])
                self.answer(status=204)

        super().__init__(Handler)

    def take(self):
        seen, self.seen = self.seen, None
        return seen


@pytest.fixture(scope="module")
def origin():
    origin = Origin()
    yield origin
    origin.stop()


@pytest.fixture(scope="module")
def server(certificate, origin, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bypass")
    values = {"cert": certificate.cert, "key": certificate.key, "port": origin.port}
    (folder / "sterna.toml").write_text(CONFIG % values)
    server = Server([binary("STERNA_BIN"), "run", "-c", folder / "sterna.toml"], folder / "server")
    yield server
    server.stop()


@pytest.fixture(params=RAW, ids=str)
def client(request, server):
    client = RAW[request.param](server.address)
    yield client
    client.close()


def test_no_spelling_of_a_path_comes_past_the_route_of_what_the_origin_sees(client, origin):
    bypassed, passed = [], 0
    for path in PATHS:
        origin.take()
        status = client.get(path)
        seen = origin.take()
        if seen is None:
            assert status in (0, 400, 404), (path, status)
            continue
        passed += 1
        target, _, route = seen
        if route == "app":
            # The gateway has taken the prefix off, and the origin knows nothing of it.
            target = "/app" + target
        else:
            assert target == path, "it goes on as it came"
        for reader, read in READERS.items():
            if route_of(read(target)) != route:
                bypassed.append(f"{path} took {route}, and is {read(target)} to {reader}")
    print(f"{len(PATHS)} paths, {passed} passed on, {len(bypassed)} bypasses")
    assert not bypassed, "\n".join(bypassed)


def test_a_path_that_is_the_same_to_everybody_takes_its_route(client, origin):
    for path, route in PLAIN.items():
        origin.take()
        assert client.get(path) == 204, path
        assert origin.take()[2] == route, path


HOSTS = {
    "localhost": "site",
    "LocalHost": "site",
    "localhost.": "site",
    "localhost:8443": "site",
    "LOCALHOST.:1": "site",
    "a.localhost": "site",
    "admin.test": "admin.test",
    "ADMIN.test": "admin.test",
    "admin.test.": "admin.test",
    "admin.test:443": "admin.test",
    "Admin.Test.:443": "admin.test",
    "nobody.test": None,
    "admin.test.localhost": None,
    "a.b.localhost": None,
    "admin.test..": None,
    ".admin.test": None,
    "admin%2etest": None,
    "localhost@admin.test": None,
    "admin.test@localhost": None,
    "admin.test:443:443": None,
    "admin.test:x": None,
    "admin.test/": None,
    "admin.test, localhost": None,
    "localhost admin.test": None,
    "localhost\\@admin.test": None,
    "localhost#admin.test": None,
    "localhost?admin.test": None,
    "": None,
}


def bare(host):
    return re.sub(r":\d*$", "", host).removesuffix(".").lower()


@pytest.mark.parametrize("host", HOSTS)
def test_the_site_is_that_of_the_host_that_the_origin_sees(client, origin, host):
    origin.take()
    status = client.get("/x", host)
    seen = origin.take()
    if HOSTS[host] is None:
        assert seen is None and status in (0, 400, 404, 421), (status, seen)
        return
    assert status == 204 and seen[2] == HOSTS[host]
    assert bare(seen[1]) == bare(host)


@pytest.mark.parametrize("pair", [("localhost", "admin.test"), ("admin.test", "localhost"), ("localhost", "localhost:1")])
def test_two_hosts_in_one_request_are_never_two_for_the_gateway_and_the_origin(client, origin, pair):
    authority, field = pair
    origin.take()
    if isinstance(client, Http1):
        statuses = [
            client.send(f"GET https://{authority}/x HTTP/1.1\r\nhost: {field}\r\n\r\n"),
            client.send(f"GET /x HTTP/1.1\r\nhost: {authority}\r\nhost: {field}\r\n\r\n"),
        ]
    else:
        statuses = [client.get("/x", authority, [("host", field)])]
    seen = origin.take()
    assert all(status in (0, 204, 400, 421) for status in statuses), statuses
    if seen is not None:
        named = "admin.test" if bare(seen[1]) == "admin.test" else "site"
        assert seen[2] == named, seen


@pytest.mark.parametrize("target", ["/admin", "//admin", "/public/../admin", "/public/x", "", "?x", "/public/x#/../../admin"])
def test_an_absolute_target_is_read_like_its_path(server, origin, target):
    client = Http1(server.address)
    for scheme in ("https", "HTTPS"):
        origin.take()
        status = client.send(f"GET {scheme}://localhost{target} HTTP/1.1\r\nhost: localhost\r\n\r\n")
        seen = origin.take()
        if seen is None:
            assert status in (0, 400), status
            continue
        path = seen[0].split("?")[0]
        assert {route_of(read(path)) for read in READERS.values()} == {seen[2]}, seen
    client.close()


@pytest.mark.parametrize("client", ["HTTP/2", "HTTP/3"], indirect=True)
def test_what_the_host_field_alone_says_counts_where_there_is_no_authority(client, origin):
    origin.take()
    assert client.get("/x", None, [("host", "admin.test")]) == 204
    assert origin.take() == ("/x", "admin.test", "admin.test")
