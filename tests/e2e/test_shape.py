"""What changes requests and responses does so alike over the three versions of HTTP: CORS, paths, fields, codings, names,
copies, canaries."""

import gzip
import json
import re
import threading
import time

import pytest
from curl_cffi import CurlHttpVersion
from curl_cffi import requests as curl

import origins
from conftest import binary
from server import Server

CONFIG = """
listen = ["127.0.0.1:0"]
workers = 1

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
host = "localhost"
root = "%(root)s"
request_id = true
trace_context = "start"

[[site.route]]
path = "/cors/*"
method = "PUT"
cors = { origins = "https://app.example", credentials = true, expose = ["x-total"] }
body_size = "1KiB"
response_headers = { set = { x-total = "7" } }
respond = "put"

[[site.route]]
path = "/locked"
cors = "https://app.example"
basic_auth = { users = ["alice:$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$hJk2wVu0dCoSXgHAR5oQpRJOzRkNHmSKqCFZdHRMSIc"] }
respond = "in"

[[site.route]]
path = "/open"
cors = true
respond = "open"

[[site.route]]
path = "/app/*"
strip_prefix = "/app"
proxy = "127.0.0.1:%(origin)s"
request_headers = { set = { x-asked = "{proto}://{host}{path}{query}" }, add = { x-tag = ["a", "b"] } }
response_headers = { set = { x-asked = "{method} {path}" } }

[[site.route]]
path = "/users/{id}/*"
rewrite = "/echo?user={id}{query}"
proxy = "127.0.0.1:%(origin)s"

[[site.route]]
path = "/docs/*"
strip_prefix = "/docs"
root = "%(root)s"

[[site.route]]
path = "/made/*"
proxy = "127.0.0.1:%(origin)s"
strip_prefix = "/made"

[[site.route]]
path = "/plain/*"
compress = false
strip_prefix = "/plain"
root = "%(root)s"

[[site.route]]
path = "/mirrored/*"
strip_prefix = "/mirrored"
proxy = "127.0.0.1:%(origin)s"
mirror = "127.0.0.1:%(shadow)s"

[[site.route]]
path = "/lost/*"
strip_prefix = "/lost"
proxy = "127.0.0.1:%(origin)s"
mirror = { proxy = "127.0.0.1:9", percent = 100 }

[[site.route]]
path = "/split"
respond = "main"
canary = { percent = 50, header = "x-canary", respond = "canary" }

[[site.route]]
path = "/users-split"
respond = "main"
canary = { percent = 50, by = "header x-user", respond = "canary" }
"""

VERSIONS = {
    "HTTP/1.1": CurlHttpVersion.V1_1,
    "HTTP/2": CurlHttpVersion.V2_0,
    "HTTP/3": CurlHttpVersion.V3ONLY,
}
TEXT = b"all work and no play makes a dull line\n" * 400
UUID_7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
ORIGIN = {"origin": "https://app.example"}
PREFLIGHT = {**ORIGIN, "access-control-request-method": "PUT", "access-control-request-headers": "x-a"}


class Backend(origins.Origin):
    """A real HTTP/1.1 server that tells what it was asked."""

    def __init__(self):
        self.seen = []
        self.go_on = threading.Event()
        backend = self

        class Handler(origins.Answering):
            def handle_any(self):
                content = b"".join(self.content())
                backend.seen.append((self.command, self.path, content))
                if self.path.startswith("/events"):
                    return self.events()
                if self.path.startswith("/text"):
                    return self.send(TEXT, "text/html")
                fields = {name.lower(): self.headers.get_all(name) for name in self.headers}
                told = {"method": self.command, "path": self.path, "headers": fields}
                return self.send(json.dumps(told).encode(), "application/json")

            def send(self, content, kind):
                self.answer(content, fields=[("content-type", kind), ("etag", '"tag"')])

            def events(self):
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                self.chunk(b"data: 1\n\n")
                assert backend.go_on.wait(20), "nobody saw the first event"
                self.chunk(b"data: 2\n\n")
                self.chunk(b"")

            def chunk(self, content):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))

            do_GET = do_HEAD = do_POST = do_PUT = do_OPTIONS = handle_any

        super().__init__(Handler)

    def wait_for(self, wanted):
        deadline = time.monotonic() + 20
        while wanted not in self.seen:
            assert time.monotonic() < deadline, f"{wanted} did not come: {self.seen}"
            time.sleep(0.01)


@pytest.fixture(scope="module")
def origin():
    backend = Backend()
    yield backend
    backend.stop()


@pytest.fixture(scope="module")
def shadow():
    backend = Backend()
    yield backend
    backend.stop()


@pytest.fixture(scope="module")
def server(certificate, tmp_path_factory, origin, shadow):
    folder = tmp_path_factory.mktemp("shape")
    (folder / "www" / "sub").mkdir(parents=True)
    (folder / "www" / "text.txt").write_bytes(TEXT)
    (folder / "www" / "large.txt").write_bytes(TEXT * 40)
    (folder / "www" / "picture.png").write_bytes(TEXT)
    (folder / "www" / "sub" / "index.html").write_text("<p>below")
    values = {
        "cert": certificate.cert,
        "key": certificate.key,
        "root": folder / "www",
        "origin": origin.port,
        "shadow": shadow.port,
    }
    (folder / "sterna.toml").write_text(CONFIG % values)
    server = Server([binary("STERNA_BIN"), "run", "-c", folder / "sterna.toml"], folder / "server")
    yield server
    server.stop()


@pytest.fixture(params=VERSIONS)
def fetch(request, server, certificate):
    """Sends a request with these fields alone: nothing is decoded, no redirect followed, no cookie kept."""
    with curl.Session(
        http_version=VERSIONS[request.param], verify=str(certificate.cert), discard_cookies=True
    ) as session:

        def send(path, method="GET", headers=None, accept_encoding=None, **more):
            return session.request(
                method,
                server.url(path),
                headers=headers or {},
                allow_redirects=False,
                default_headers=False,
                accept_encoding=accept_encoding,
                **more,
            )

        yield send


def test_a_preflight_is_answered_at_the_edge(fetch):
    response = fetch("/cors/x", "OPTIONS", PREFLIGHT)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-allow-origin"] == "https://app.example"
    assert response.headers["access-control-allow-credentials"] == "true"
    assert response.headers["access-control-allow-headers"] == "x-a"
    assert "PUT" in response.headers["access-control-allow-methods"]
    assert "content-length" not in response.headers
    stranger = fetch("/cors/x", "OPTIONS", {**PREFLIGHT, "origin": "https://evil.example"})
    assert stranger.status_code == 204
    assert not [name for name in stranger.headers if name.startswith("access-control-")]


def test_a_response_and_an_error_can_be_read_by_the_page_that_asked(fetch):
    response = fetch("/cors/x", "PUT", ORIGIN)
    assert response.text == "put"
    assert response.headers["access-control-expose-headers"] == "x-total"
    too_large = fetch("/cors/x", "PUT", ORIGIN, data=b"x" * 2000)
    assert too_large.status_code == 413
    assert too_large.headers["access-control-allow-origin"] == "https://app.example"
    assert "origin" in too_large.headers["vary"]
    assert too_large.headers["x-total"] == "7", "a field of the route, whoever answers"
    everybody = fetch("/open", "GET", {"origin": "https://anyone.example"})
    assert everybody.headers["access-control-allow-origin"] == "*"


def test_a_preflight_needs_no_password_and_a_refusal_can_be_read(fetch):
    assert fetch("/locked", "OPTIONS", PREFLIGHT).status_code == 204
    for method, fields in [("GET", ORIGIN), ("OPTIONS", ORIGIN), ("OPTIONS", {})]:
        refused = fetch("/locked", method, fields)
        assert refused.status_code == 401, (method, fields)
        allowed = refused.headers.get("access-control-allow-origin")
        assert allowed == fields.get("origin"), "and only where somebody asks"


def test_a_prefix_is_taken_off_and_fields_are_made_of_the_request(fetch, server):
    response = fetch("/app/a%20b?x=1", headers={"x-tag": "client"})
    told = response.json()
    assert told["path"] == "/a%20b?x=1"
    assert told["headers"]["x-forwarded-prefix"] == ["/app"]
    assert told["headers"]["x-asked"] == [f"https://localhost:{server.port}/app/a%20b?x=1"]
    assert told["headers"]["x-tag"] == ["client", "a", "b"]
    assert response.headers["x-asked"] == "GET /app/a%20b"


def test_a_path_is_rewritten_with_parameters(fetch):
    assert fetch("/users/a%26b/posts?x=1").json()["path"] == "/echo?user=a%26b&x=1"


def test_no_path_leads_out_of_the_prefix(fetch):
    # curl itself resolves `%2e%2e` between slashes.
    for path in ["/app/..%2fx", "/app/a%2f..%2f..%2fx", "/app/..%5cx"]:
        assert fetch(path).status_code == 400, path
    assert fetch("/app//evil.example/x").json()["path"] == "/evil.example/x"


def test_a_directory_below_a_prefix_is_found_under_the_client_s_own_path(fetch):
    moved = fetch("/docs/sub?x=1")
    assert (moved.status_code, moved.headers["location"]) == (301, "/docs/sub/?x=1")
    assert fetch("/docs/sub/").text == "<p>below"


@pytest.mark.parametrize("coding", ["zstd", "gzip", "br"])
def test_what_compresses_is_encoded_for_who_takes_it(fetch, coding):
    for path, content in [("/text.txt", TEXT), ("/large.txt", TEXT * 40), ("/made/text", TEXT)]:
        raw = fetch(path, headers={"accept-encoding": coding})
        assert raw.headers["content-encoding"] == coding, path
        assert len(raw.content) < len(content) / 10
        assert raw.headers.get("content-length", str(len(raw.content))) == str(len(raw.content))
        assert raw.headers["etag"].startswith('W/"')
        assert "accept-encoding" in raw.headers["vary"]
        assert fetch(path, accept_encoding=coding).content == content, path


def test_what_may_not_be_encoded_is_left_as_it_is(fetch):
    accepts = {"accept-encoding": "gzip"}
    for path, fields in [
        ("/picture.png", accepts),
        ("/plain/text.txt", accepts),
        ("/text.txt", {}),
        ("/text.txt", {"accept-encoding": "gzip;q=0, identity;q=0"}),
        ("/made/text", {**accepts, "cookie": "sid=1", "sec-fetch-site": "cross-site"}),
    ]:
        response = fetch(path, headers=fields)
        assert (response.status_code, response.content) == (200, TEXT), path
        assert "content-encoding" not in response.headers
    part = fetch("/text.txt", headers={**accepts, "range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, TEXT[:10])
    own = fetch("/made/text", headers={**accepts, "cookie": "a=1", "sec-fetch-site": "same-origin"})
    assert gzip.decompress(own.content) == TEXT


def test_head_and_304_speak_of_the_encoded_form(fetch):
    accepts = {"accept-encoding": "gzip"}
    for path in ["/text.txt", "/large.txt", "/made/text"]:
        get, head = fetch(path, headers=accepts), fetch(path, "HEAD", accepts)
        for name in ["content-encoding", "etag", "vary", "content-type"]:
            assert head.headers[name] == get.headers[name], (path, name)
        assert head.content == b""
    get = fetch("/text.txt", headers=accepts)
    same = fetch("/text.txt", headers={**accepts, "if-none-match": get.headers["etag"]})
    assert (same.status_code, same.headers["etag"]) == (304, get.headers["etag"])


@pytest.mark.parametrize("coding", ["zstd", "gzip", "br"])
def test_an_encoded_event_arrives_while_the_next_is_not_made(fetch, origin, coding):
    origin.go_on.clear()
    response = fetch("/made/events", accept_encoding=coding, stream=True)
    assert response.headers["content-encoding"] == coding
    content = b""
    for piece in response.iter_content():
        content += piece
        if content == b"data: 1\n\n":
            origin.go_on.set()
    response.close()
    assert content == b"data: 1\n\ndata: 2\n\n"


def test_a_request_has_a_name_and_a_trace(fetch):
    strange = {"x-request-id": "mine", "traceparent": "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"}
    for fields in [{}, strange]:
        response = fetch("/app/x", headers=fields)
        told = response.json()["headers"]
        name = response.headers["x-request-id"]
        assert told["x-request-id"] == [name]
        assert UUID_7.fullmatch(name), "that of a stranger is not kept"
        [trace] = told["traceparent"]
        assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", trace)
        if fields:
            assert trace[3:35] == "ab" * 16
        assert trace[36:52] != "cd" * 8
    assert "tracestate" not in fetch("/app/x", headers={"tracestate": "a=1"}).json()["headers"]


def test_a_copy_goes_to_the_other_upstream(fetch, origin, shadow):
    content = b"x" * 100_000
    for method, sent in [("GET", None), ("POST", content)]:
        shadow.seen.clear()
        response = fetch("/mirrored/copy?a=1", method, data=sent)
        assert response.json()["path"] == "/copy?a=1"
        shadow.wait_for((method, "/copy?a=1", sent or b""))
        assert (method, "/copy?a=1", sent or b"") in origin.seen
    assert fetch("/lost/x", "POST", data=content).status_code == 200, "nobody is there"


def test_a_visitor_stays_on_one_side(fetch):
    sides = set()
    for _ in range(40):
        first = fetch("/split")
        [cookie] = [value for name, value in first.headers.items() if name == "set-cookie"]
        pair = cookie.split(";")[0]
        assert re.fullmatch(r"sterna_canary=\d{1,4}", pair)
        again = fetch("/split", headers={"cookie": pair})
        assert (again.text, again.headers.get("set-cookie")) == (first.text, None)
        sides.add(first.text)
    assert sides == {"main", "canary"}
    assert fetch("/split", headers={"x-canary": "always"}).text == "canary"
    assert fetch("/split", headers={"x-canary": "never"}).text == "main"


def test_a_user_is_on_the_same_side_over_every_version(server, certificate):
    answers = []
    for version in VERSIONS.values():
        with curl.Session(http_version=version, verify=str(certificate.cert)) as session:
            users = [f"user{number}" for number in range(30)]
            url = server.url("/users-split")
            answers.append([session.get(url, headers={"x-user": user}).text for user in users])
    assert answers[0] == answers[1] == answers[2]
    assert set(answers[0]) == {"main", "canary"}
