"""The rows of the table of policies: what is asked, and what every version must make of it. The name of a row is its key."""

import re
import subprocess
import threading
import time

from conftest import binary
from parity import PAGE, TEXT, VERSIONS
from test_access import basic, token

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
ROWS = {}


def row(key, expected, but=None):
    """A probe whose outcome is `expected`, `but` for versions of which the guide says so."""

    def add(probe):
        ROWS[key] = (probe, {version: (but or {}).get(version, expected) for version in VERSIONS})
        return probe

    return add


def bodies(*answers):
    return [answer.text for answer in answers]


def statuses(*answers):
    return [answer.status_code for answer in answers]


def told(answer):
    return answer.json()["fields"]


def until(is_so):
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.02)


@row("path", ["by path", "the site"])
def _(world):
    return bodies(world.ask("/path/7/x"), world.ask("/path/7/y"))


@row("method", ["by method", "the site"])
def _(world):
    return bodies(world.ask("/method", "POST"), world.ask("/method"))


@row("header", ["by header", "the site"])
def _(world):
    return bodies(world.ask("/header", x_env="beta"), world.ask("/header", x_env="no"))


@row("query", ["by query", "the site"])
def _(world):
    return bodies(world.ask("/query?a=1&v=2"), world.ask("/query?v=3"))


@row("client", ["by client", "the site"])
def _(world):
    return bodies(world.ask("/client", client="203.0.113.5"), world.ask("/client"))


@row("protocol", (1, True))
def _(world):
    own = world.version.removeprefix("HTTP/")[0]
    taken = [number for number in "123" if world.ask(f"/protocol/{number}").text == "by protocol"]
    return len(taken), taken == [own]


@row("root", [206, "bytes 2-4/15600", "l w"])
def _(world):
    answer = world.ask("/root/text.txt", range="bytes=2-4")
    return [answer.status_code, answer.headers["content-range"], answer.text]


@row("respond", [418, "application/json", "{}"])
def _(world):
    answer = world.ask("/respond")
    return [answer.status_code, answer.headers["content-type"], answer.text]


@row("redirect", (302, "https://localhost/new?a=1"))
def _(world):
    answer = world.ask("/redirect/x?a=1")
    return answer.status_code, answer.headers["location"]


@row("proxy", ["POST /proxy/a%20b?x=%2F", "app.example", True])
def _(world):
    answer = world.ask("/proxy/a%20b?x=%2F", "POST", data=b"content")
    is_whole = world.origin.seen[-1][2] == b"content"
    return [answer.json()["target"], told(answer)["host"], is_whole]


@row("canary", ["canary", "main", 0])
def _(world):
    always, never = world.ask("/canary", x_canary="always"), world.ask("/canary", x_canary="never")
    drawn = world.ask("/canary")
    cookie = drawn.headers["set-cookie"].split(";")[0]
    again = {world.ask("/canary", cookie=cookie).text for _ in range(5)}
    return [always.text, never.text, len(again - {drawn.text})]


@row("upstream_tls", [200, 502, "edge; error=tls_certificate_error"])
def _(world):
    good, bad = world.ask("/upstream_tls/bytes/1"), world.ask("/upstream_tls_none/")
    return [good.status_code, bad.status_code, bad.headers["proxy-status"]]


@row("upstream_timeouts", (504, "edge; error=http_response_timeout"))
def _(world):
    answer = world.ask("/upstream_timeouts/hold")
    return answer.status_code, answer.headers["proxy-status"]


@row("forwarded", ("6.6.6.6, 203.0.113.5, 127.0.0.1", "203.0.113.5", "for=203.0.113.5, for=127.0.0.1;proto=https"))
def _(world):
    fields = told(world.ask("/forwarded/", client="6.6.6.6, 203.0.113.5", x_real_ip="6.6.6.6", forwarded="for=6.6.6.6"))
    return fields["x-forwarded-for"], fields["x-real-ip"], fields["forwarded"].partition(";host")[0]


def held(world, path, probe):
    """The outcome of `probe` while one request is in work."""
    world.origin.held.clear()
    world.origin.go_on.clear()
    first = []
    thread = threading.Thread(target=lambda: first.append(world.ask(path, session=world.new_session()).status_code))
    thread.start()
    assert world.origin.held.wait(20)
    outcome = probe()
    world.origin.go_on.set()
    thread.join()
    return outcome, first


@row("in_flight", ((503, "1"), [200]))
def _(world):
    def probe():
        answer = world.ask("/in_flight/x")
        return answer.status_code, answer.headers.get("retry-after")

    return held(world, "/in_flight/hold", probe)


@row("breaker", ((503, "edge; error=connection_limit_reached"), [200]))
def _(world):
    def probe():
        answer = world.ask("/breaker/x")
        return answer.status_code, answer.headers.get("proxy-status")

    return held(world, "/breaker/hold", probe)


@row("rate_limit", ([200, 200, 429, 200], True, '"ip";q=2;w=3600'))
def _(world):
    answers = [world.ask("/rate_limit", client=client) for client in ("203.0.113.1",) * 3 + ("203.0.113.2",)]
    refused = answers[2].headers
    return statuses(*answers), 0 < int(refused["retry-after"]) <= 1800, refused["ratelimit-policy"]


@row("bandwidth", (200, 600_000, True))
def _(world):
    began = time.monotonic()
    answer = world.ask("/bandwidth/big.bin")
    return answer.status_code, len(answer.content), time.monotonic() - began > 0.3


@row("body_size", [413, 200])
def _(world):
    large = world.ask("/body_size", "POST", data=b"x" * 2000)
    return statuses(large, world.ask("/body_size", "POST", data=b"x" * 1000))


@row("body_min_rate", 408)
def _(world):
    return world.raw().begin("/body_min_rate/x")


@row("allow", [200, 403])
def _(world):
    return statuses(world.ask("/allow", client="203.0.113.5"), world.ask("/allow", client="198.51.100.5"))


@row("deny", [200, 403])
def _(world):
    return statuses(world.ask("/deny", client="203.0.113.5"), world.ask("/deny", client="203.0.113.66"))


@row("country", [200, 403, 403])
def _(world):
    return statuses(*(world.ask("/country", client=ip) for ip in ("203.0.113.5", "198.51.100.5", "192.0.2.1")))


@row("basic_auth", ([200, 401, 401], 'Basic realm="Staff", charset="UTF-8"'))
def _(world):
    good, bad = world.ask("/basic_auth", **basic("alice:secret")), world.ask("/basic_auth", **basic("alice:no"))
    none = world.ask("/basic_auth")
    return statuses(good, bad, none), none.headers["www-authenticate"]


@row("jwt", ([200, 401, 401], "alice", "Bearer"))
def _(world):
    good = world.ask("/jwt/x", authorization=f"Bearer {token()}", x_user="root")
    bad, none = world.ask("/jwt/x", authorization=f"Bearer {token(aud='web')}"), world.ask("/jwt/x")
    return statuses(good, bad, none), told(good)["x-user"], none.headers["www-authenticate"]


@row("forward_auth", ([200, 302], "https://login.test/"))
def _(world):
    good, bad = world.ask("/forward_auth?a=b", cookie="session=good"), world.ask("/forward_auth")
    return statuses(good, bad), bad.headers["location"]


@row("request_id", (True, True))
def _(world):
    answer = world.ask("/request_id/x")
    name = answer.headers["x-request-id"]
    return bool(UUID.fullmatch(name)), told(answer)["x-request-id"] == name


@row("trace_context", ("ab" * 16, False))
def _(world):
    fields = told(world.ask("/trace_context/x", traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01"))
    return fields["traceparent"].split("-")[1], "cd" * 8 in fields["traceparent"]


@row("cors", ([204, 200, 200], PAGE, "true", "x-total", None))
def _(world):
    preflight = world.ask("/cors", "OPTIONS", origin=PAGE, access_control_request_method="PUT")
    own, other = world.ask("/cors", "PUT", origin=PAGE), world.ask("/cors", "PUT", origin="https://evil.example")
    names = ["allow-origin", "allow-credentials", "expose-headers"]
    said = [own.headers[f"access-control-{name}"] for name in names]
    return statuses(preflight, own, other), *said, other.headers.get("access-control-allow-origin")


@row("strip_prefix", ("GET /a%20b?x=1", "/strip_prefix", 400))
def _(world):
    answer = world.ask("/strip_prefix/a%20b?x=1")
    out = world.ask("/strip_prefix/..%2fx")
    return answer.json()["target"], told(answer)["x-forwarded-prefix"], out.status_code


@row("rewrite", "GET /echo?id=7&x=1")
def _(world):
    return world.ask("/rewrite/7/posts?x=1").json()["target"]


@row("compress", ("gzip", True, True, None))
def _(world):
    coded = world.ask("/compress/text.txt", accept_encoding="gzip")
    plain = world.ask("/compress/text.txt")
    same = coded.content == TEXT == plain.content
    is_weak = coded.headers["etag"].startswith("W/")
    return coded.headers["content-encoding"], same, is_weak, plain.headers.get("content-encoding")


@row("mirror", ("origin", True))
def _(world):
    answer = world.ask("/mirror/x", "POST", data=b"copy")
    until(lambda: ("POST", "/mirror/x", b"copy") in world.shadow.seen)
    return answer.json()["name"], ("POST", "/mirror/x", b"copy") in world.origin.seen


@row("request_headers", ("GET /request_headers/x", None))
def _(world):
    fields = told(world.ask("/request_headers/x", x_secret="1"))
    return fields["x-asked"], fields.get("x-secret")


@row("response_headers", ("GET /response_headers", "</a>; rel=next"))
def _(world):
    answer = world.ask("/response_headers")
    return answer.headers["x-asked"], answer.headers["link"]


@row("balance", ({"origin", "shadow"}, True))
def _(world):
    first = [world.ask("/balance/", x_user=str(user)).json()["name"] for user in range(20)]
    again = [world.ask("/balance/", x_user=str(user)).json()["name"] for user in range(20)]
    return set(first), first == again


@row("health", {"origin"})
def _(world):
    until(lambda: {world.ask("/health/x").json()["name"] for _ in range(4)} == {"origin"})
    return {world.ask("/health/x").json()["name"] for _ in range(10)}


@row("eject", [200] * 10)
def _(world):
    statuses(*(world.ask("/eject/x") for _ in range(4)))
    return statuses(*(world.ask("/eject/x") for _ in range(10)))


@row("panic_below", (200, "sick"))
def _(world):
    until(lambda: "a backend is unhealthy" in world.server.stderr())
    answer = world.ask("/panic_below/x")
    return answer.status_code, answer.json()["name"]


@row("retry_budget", ([200, 200, 502, 502], [200] * 4))
def _(world):
    without = sorted(statuses(*(world.ask("/retry_budget/x") for _ in range(4))))
    return without, statuses(*(world.ask("/retries/x") for _ in range(4)))


@row("discovery", "origin")
def _(world):
    return world.ask("/discovery/x").json()["name"]


@row("error pages", [(404, "application/problem+json"), (404, "text/html; charset=utf-8")])
def _(world):
    answers = [world.ask("/root/none", accept=kind) for kind in ("application/json", "text/html")]
    return [(answer.status_code, answer.headers["content-type"]) for answer in answers]


@row("limits.header_size", 431)
def _(world):
    return world.ask("/respond", x_large="x" * 20_000).status_code


@row("limits.body_size", [413, 200])
def _(world):
    large, small = [world.ask("/proxy/x", "POST", data=b"x" * size) for size in (100_000, 60_000)]
    return statuses(large, small)


@row("client_field", "the site")
def _(world):
    return world.ask("/client", forwarded="for=203.0.113.5").text


@row("103 Early Hints", (200, []), but={"HTTP/3": (200, [103])})
def _(world):
    if world.version == "HTTP/3":
        argv = [binary("STERNA_BIN"), "get", "--http3", "-k", "-v", world.server.url("/hints/early")]
        run = subprocess.run(argv, capture_output=True, timeout=20)
        return 200 if run.returncode == 0 else run.returncode, [103] * (b"103" in run.stderr)
    client = world.raw()
    return client.get("/hints/early"), client.interim
