"""The operator's interface, and the verbs that talk to it."""

import json
import socket
import ssl
import stat
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest

from admin import Admin
from conftest import binary
from h3client import Client
from server import Server

CONFIG = """
listen = ["127.0.0.1:0"]
http = "off"
workers = 2
access_log = false
admin = { listen = "%(admin)s"%(token)s }

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
respond = "one"

[[site.route]]
path = "/users/{id}"
respond = "a user"

[[site.route]]
path = "/api/*"
proxy = ["http://127.0.0.1:9000"]
"""

DOCUMENT = Path(__file__).parents[2] / "docs/admin.md"


@pytest.fixture
def serve(tmp_path, certificate):
    started = []

    def serve(admin=f"unix:{tmp_path}/admin.sock", token=""):
        file = tmp_path / "sterna.toml"
        values = {"admin": admin, "token": token, "cert": certificate.cert, "key": certificate.key}
        file.write_text(CONFIG % values)
        started.append(Server([binary("STERNA_BIN"), "run", "-c", file], tmp_path / "server"))
        return started[-1]

    yield serve
    for server in started:
        server.kill()


@pytest.fixture
def admin(tmp_path):
    return Admin(tmp_path / "admin.sock")


def sterna(*argv, code=0):
    done = subprocess.run([binary("STERNA_BIN"), *map(str, argv)], capture_output=True, text=True, timeout=30)
    assert done.returncode == code, done.stderr
    return done


def body(server, certificate, path="/"):
    return httpx.get(server.url(path), verify=str(certificate.cert)).text


def test_the_socket_is_the_owners_alone_and_goes_with_the_server(serve, tmp_path):
    server = serve()
    socket = tmp_path / "admin.sock"
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    server.stop()
    assert not socket.exists()


def test_a_configuration_is_read_changed_and_written_back(serve, admin, certificate):
    server = serve()
    read = admin.get("/config")
    config, tag = read.json(), read.headers["etag"]
    config["site"][0]["respond"]["body"] = "two"
    written = admin.ask("PUT", "/config", config, if_match=tag)
    assert written.status == 200, written.text
    assert written.json()["changes"] == ["changed `respond.body` of site * from one to two"]
    assert body(server, certificate) == "two"
    assert written.headers["etag"] != tag
    assert admin.get("/config").headers["etag"] == written.headers["etag"]


def test_who_has_read_an_older_configuration_overwrites_nothing(serve, admin, certificate):
    server = serve()
    read = admin.get("/config")
    config, tag = read.json(), read.headers["etag"]
    config["site"][0]["respond"]["body"] = "two"
    assert admin.ask("PUT", "/config", config, if_match=tag).status == 200
    config["site"][0]["respond"]["body"] = "three"
    assert admin.ask("PUT", "/config", config, if_match=tag).status == 412
    assert admin.ask("PUT", "/config", config).status == 428
    assert body(server, certificate) == "two"
    assert admin.ask("PUT", "/config", config, if_match="*").status == 200
    assert body(server, certificate) == "three"


def test_an_earlier_configuration_can_be_read_and_served_again(serve, admin, certificate):
    server = serve()
    read = admin.get("/config")
    config = read.json()
    config["site"][0]["respond"]["body"] = "two"
    assert admin.ask("PUT", "/config", config, If_Match=read.headers["etag"]).status == 200
    assert body(server, certificate) == "two"
    revisions = admin.get("/config/history").json()["revisions"]
    assert [revision["generation"] for revision in revisions] == [2, 1]
    assert revisions[1]["etag"] == read.headers["etag"] and revisions[0]["changes"]
    assert admin.get("/config?generation=1").json() == read.json()
    back = admin.post("/config/rollback")
    assert (back.status, back.json()["generation"]) == (200, 3), back.text
    assert back.headers["etag"] == read.headers["etag"]
    assert body(server, certificate) == "one"
    assert admin.post("/config/rollback?generation=2").status == 200
    assert body(server, certificate) == "two"
    # What is not kept, and what is no number, changes nothing.
    assert admin.post("/config/rollback?generation=99").status == 404
    assert admin.get("/config?generation=99").status == 404
    assert admin.post("/config/rollback?generation=x").status == 400
    assert admin.get("/config/rollback").status == 405
    assert body(server, certificate) == "two"


def test_a_configuration_with_mistakes_is_refused_with_all_of_them(serve, admin, certificate):
    server = serve()
    config = admin.get("/config").json()
    config["wrokers"], config["http3"] = 3, "yes"
    refused = admin.ask("PUT", "/config", config, if_match="*")
    assert refused.status == 422
    assert len(refused.json()["mistakes"]) == 2
    assert admin.ask("PUT", "/config", "{", if_match="*").status == 400
    assert body(server, certificate) == "one"


def test_paths_and_methods_that_are_none_are_told(serve, admin):
    serve()
    assert admin.get("/nothing").status == 404
    refused = admin.get("/reload")
    assert (refused.status, refused.headers["allow"]) == (405, "POST")


def test_a_web_page_and_a_name_of_somebody_else_are_refused(serve, admin):
    serve()
    assert admin.post("/reload", origin="https://evil.example").status == 403
    assert admin.post("/reload", sec_fetch_site="cross-site").status == 403
    assert admin.post("/reload", host="evil.example").status == 421


def test_over_tcp_a_token_is_asked_for_if_there_is_one(serve, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef-secret\n")
    server = serve("127.0.0.1:0", f', token = "${{file:{secret}}}"')
    place = server.stderr().split("operator: ")[1].split()[0]
    plain = f"http://{place}/status"
    assert httpx.get(plain).status_code == 401
    assert httpx.get(plain, headers={"authorization": "Bearer wrong-wrong-wrong-wrong"}).status_code == 401
    shown = httpx.get(plain, headers={"authorization": "Bearer 0123456789abcdef-secret"})
    assert shown.status_code == 200
    # It is in the file that the verb reads, and nowhere else.
    assert "runs since" in sterna("status", "-c", tmp_path / "sterna.toml", "--admin", place).stdout
    config = httpx.get(f"http://{place}/config", headers={"authorization": "Bearer 0123456789abcdef-secret"})
    assert "0123456789abcdef" not in config.text


def test_a_public_address_without_a_token_is_refused_by_check(serve, tmp_path, certificate):
    file = tmp_path / "public.toml"
    file.write_text(CONFIG % {"admin": ":9180", "token": "", "cert": certificate.cert, "key": certificate.key})
    refused = sterna("check", "--no-preflight", "-c", file, code=1)
    assert "whoever reaches `:9180`" in refused.stderr


def test_connections_are_listed_by_version_and_no_more_than_asked_for(serve, admin, certificate):
    server = serve()
    trust = str(certificate.cert)
    with (
        httpx.Client(verify=trust) as http1,
        httpx.Client(verify=trust, http2=True, http1=False) as http2,
        Client(server.address).connect() as http3,
    ):
        assert http1.get(server.url()).text == http2.get(server.url()).text == "one"
        assert http3.finish(http3.start("GET", "/"))[0].body == b"one"
        listed = admin.get("/connections").json()
        assert sorted(one["protocol"] for one in listed["connections"]) == ["HTTP/1.1", "HTTP/2", "HTTP/3"]
        assert all(one["rtt_ms"] > 0 and one["received_bytes"] > 0 for one in listed["connections"])
        some = admin.get("/connections?limit=1").json()
        assert (len(some["connections"]), some["more"]) == (1, 2)
    assert admin.get("/connections?limit=10001").status == 400


def test_requests_are_counted_by_pattern_and_never_by_path(serve, admin, certificate):
    server = serve()
    for number in range(20):
        assert body(server, certificate, f"/users/{number}") == "a user"
    with Client(server.address).connect() as http3:
        http3.finish(http3.start("GET", "/users/x"))
    metrics = admin.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    labels = 'method="GET",host="*",route="/users/{id}",status="200"'
    assert f'sterna_http_requests_total{{protocol="HTTP/1.1",{labels}}} 20\n' in metrics.text
    assert f'sterna_http_requests_total{{protocol="HTTP/3",{labels}}} 1\n' in metrics.text
    assert "/users/1" not in metrics.text
    names = [line.split()[2] for line in metrics.text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    promtool = subprocess.run(["which", "promtool"], capture_output=True)
    if promtool.returncode == 0:
        checked = subprocess.run(["promtool", "check", "metrics"], input=metrics.text, text=True, capture_output=True)
        assert checked.returncode == 0, checked.stderr


def test_handshakes_are_counted_by_how_long_they_took_and_why_they_failed(serve, admin, certificate):
    server = serve()
    assert body(server, certificate) == "one"
    with Client(server.address).connect() as http3:
        http3.finish(http3.start("GET", "/"))
    # Its certificate is refused, with an alert; no common protocol; no TLS at all; gone without a word.
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, ssl.create_default_context())
    trusting = ssl.create_default_context(cafile=certificate.cert)
    trusting.set_alpn_protocols(["spdy/1"])
    with pytest.raises(ssl.SSLError):
        shake_hands(server, trusting)
    with socket.create_connection(server.address) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while plain.recv(4096):
            pass
    socket.create_connection(server.address).close()
    wanted = [
        'sterna_handshake_duration_seconds_bucket{transport="tcp",le="+Inf"} 1',
        'sterna_handshake_duration_seconds_count{transport="quic"} 1',
        *(f'sterna_handshake_failures_total{{transport="tcp",reason="{why}"}} 1' for why in ["refused", "alpn", "malformed", "gone"]),
        'sterna_handshake_failures_total{transport="quic",reason="alpn"} 0',
    ]
    deadline = time.monotonic() + 30
    while missing := [line for line in wanted if f"{line}\n" not in admin.get("/metrics").text]:
        assert time.monotonic() < deadline, missing
        time.sleep(0.05)


def shake_hands(server, context):
    with socket.create_connection(server.address) as stream, context.wrap_socket(stream, server_hostname="localhost"):
        pass


def test_the_log_says_more_when_it_is_asked_to(serve, admin, certificate):
    server = serve()
    assert admin.get("/log").json() == {"filter": "warn"}
    assert admin.ask("PUT", "/log", {"filter": "sterna_net=debug"}).status == 200
    with Client(server.address).connect() as http3:
        http3.finish(http3.start("GET", "/"))
    assert admin.ask("PUT", "/log", {"filter": "not=a=filter"}).status == 422
    server.stop()
    assert "HTTP/3 connection ended" in server.stderr()


def test_a_drain_has_a_deadline_and_stop_ends_at_once(serve, admin, tmp_path):
    server = serve()
    assert admin.post("/drain?deadline=30").status == 400, "a unit is missing"
    drained = admin.post("/drain?deadline=5s")
    assert (drained.status, drained.json()["deadline_ms"]) == (202, 5000)
    assert server.wait(10) == 0
    server = serve()
    sterna("stop", "--now", "-c", tmp_path / "sterna.toml")
    assert server.wait(10) == 0


def test_status_is_for_people_and_for_programs(serve, tmp_path, certificate):
    server = serve()
    assert body(server, certificate) == "one"
    file = tmp_path / "sterna.toml"
    text = sterna("status", "-c", file).stdout
    assert f"pid {server.process.pid}" in text and "1 HTTP/1.1, 0 HTTP/2, 0 HTTP/3" in text
    status = json.loads(sterna("status", "--json", "-c", file).stdout)
    assert status["pid"] == server.process.pid and status["counters"]["http1_requests"] == 1


def test_where_nothing_runs_the_verbs_say_so(tmp_path):
    for verb in ["reload", "stop", "status"]:
        refused = sterna(verb, "--admin", f"unix:{tmp_path}/none.sock", code=1)
        assert f"no server answers at unix:{tmp_path}/none.sock" in refused.stderr
        assert "sterna run" in refused.stderr


def test_every_command_of_the_document_does_what_it_says(serve, tmp_path):
    serve()
    commands = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("curl ")]
    assert len(commands) >= 12
    for command in commands:
        command = command.replace("/run/sterna/8443.sock", str(tmp_path / "admin.sock"))
        done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert (tmp_path / "profile.svg").read_text().startswith("<svg")


def test_a_backend_is_taken_out_of_service_and_put_back(serve, admin, certificate):
    server = serve()
    assert httpx.get(server.url("/api/x"), verify=str(certificate.cert)).status_code == 502
    metrics = admin.get("/metrics").text
    assert 'route="/api/*",error="connection_refused"} 1' in metrics
    backend = admin.get("/backends").json()["upstreams"][0]["backends"][0]
    assert (backend["draining"], backend["requests"]) == (False, 1)
    patch = {"address": backend["address"], "draining": True}
    drained = admin.ask("PATCH", "/backends", patch)
    assert drained.status == 200 and drained.json()["upstreams"][0]["backends"][0]["draining"]
    assert httpx.get(server.url("/api/x"), verify=str(certificate.cert)).status_code == 503
    # What an operator has said outlives a reload.
    admin.post("/reload")
    assert admin.get("/backends").json()["upstreams"][0]["backends"][0]["draining"]
    patch = {"address": backend["address"], "draining": False, "weight": 7}
    assert admin.ask("PATCH", "/backends", patch).json()["upstreams"][0]["backends"][0]["weight"] == 7
    assert admin.ask("PATCH", "/backends", {"address": "http://127.0.0.1:1", "draining": True}).status == 404
    assert admin.ask("PATCH", "/backends", {"address": backend["address"], "wieght": 1}).status == 422


def test_a_profile_names_the_threads_and_there_is_one_at_a_time(serve, admin):
    server = serve()
    load = [binary("STERNA_BIN"), "load", "-d", "60s", "--insecure", server.url()]
    with subprocess.Popen(load, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        answers = []
        ask = lambda: answers.append(admin.post("/profile?seconds=3"))
        both = [threading.Thread(target=ask) for _ in range(2)]
        [thread.start() for thread in both]
        [thread.join() for thread in both]
        running.terminate()
    refused, svg = sorted(answers, key=lambda answer: -answer.status)
    assert (refused.status, svg.status) == (409, 200)
    assert svg.text.startswith("<svg") and "<title>sterna-" in svg.text
    assert admin.post("/profile?seconds=61").status == 400
    server.stop()
