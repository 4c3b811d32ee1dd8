"""A reload: all of it or nothing, and nobody who is connected notices but by what is served."""

import os
import signal
import ssl
import subprocess

import httpx
import pytest

from conftest import binary, make_certificate
from figures import figure
from h3client import Client
from running import Download, Loads, Running, until

# `RELOADS=100` is the whole of reliability.md R1.
RELOADS = int(os.environ.get("RELOADS", 25))


@pytest.fixture
def running(tmp_path, certificate):
    started = []

    def start(flags=()):
        started.append(Running(tmp_path, certificate, flags))
        return started[-1]

    yield start
    for one in started:
        one.server.kill()


@pytest.fixture
def trusting(certificate):
    return ssl.create_default_context(cafile=certificate.cert)


def test_reloads_lose_and_cut_nothing_on_any_version(running, trusting):
    one = running()
    server = one.server
    with (
        httpx.Client(verify=trusting, http2=False) as http1,
        httpx.Client(verify=trusting, http2=True, http1=False) as http2,
        Client(server.address).connect() as http3,
    ):
        large = http3.start("GET", "/files/large.bin")
        downloads = [Download(one, trusting, http2=False), Download(one, trusting, http2=True, http1=False)]
        loads = Loads(one)
        for number in range(2, RELOADS + 2):
            one.write(number, keep_alive=f"{60 + number}s")
            assert one.reload()["generation"] == number
            # The connections are those of the begin; what they get is of now, and all of it of one configuration.
            for client in (http1, http2):
                response = client.get(server.url())
                assert (response.text, response.headers["x-generation"]) == (f"g{number}", f"g{number}")
            answer = http3.finish(http3.start("GET", "/"))[0]
            assert (answer.body, dict(answer.headers)[b"x-generation"]) == (b"g%d" % number, b"g%d" % number)
        loads.finish()
        for download in downloads:
            download.finish()
        assert http3.finish(large)[0].body == one.content
    status = one.admin.get("/status").json()
    assert status["config"]["reloads"] == RELOADS
    figure("reloads", RELOADS, "reloads", "-")
    counters = status["counters"]
    assert [counters[name] for name in ["service_errors", "panics", "protocol_errors"]] == [0, 0, 0]
    server.stop()


def test_a_client_that_stays_may_have_as_many_requests_open_as_the_limit_of_now_says(running):
    one = running()

    def allow(number, streams):
        # It grows to no more than it begins with.
        one.write(number, more=f"[quic]\nstreams = {streams}\n[limits]\nhttp3_streams = {streams}\n")
        assert one.reload()["generation"] == number

    allow(2, 10)
    with Client(one.server.address).connect() as http3:
        assert http3.fetch().body == b"g2"
        assert http3.stream_limit <= 11
        allow(3, 40)
        assert http3.fetch().body == b"g3"
        http3.pump(lambda: http3.stream_limit >= 40)
        assert 40 <= http3.stream_limit <= 42, "so many, and no more"
        allow(4, 10)
        for _ in range(38):
            assert http3.fetch().body == b"g4"
        # Forty requests are answered: less than ten were granted beyond them before, so that the rule of now counts.
        assert http3.stream_limit <= 51, "ten beyond those that were answered, and what comes late"
        assert one.admin.get("/status").json()["counters"]["quic_connections"] == 1


BY_CLIENT = """
[[site.route]]
path = "/who"
client = "203.0.113.0/24"
respond = "whom the proxy names"

[[site.route]]
path = "/staff"
respond = "in"
allow = "203.0.113.0/24"
"""


def test_whose_word_counts_for_who_a_client_is_changes_on_connections_that_stay(running, trusting):
    one = running()
    server = one.server

    def trust(number, networks):
        one.write(number, more=BY_CLIENT)
        line = f"trusted_proxies = {networks}\n" if networks else ""
        one.file.write_text(line + one.file.read_text())
        assert one.admin.post("/reload").status == (422 if "nonsense" in networks else 200)

    def connections():
        counters = one.admin.get("/status").json()["counters"]
        return counters["tcp_connections"], counters["quic_connections"]

    trust(2, "")
    with (
        httpx.Client(verify=trusting, http2=False) as http1,
        httpx.Client(verify=trusting, http2=True, http1=False) as http2,
        Client(server.address).connect() as http3,
    ):
        line = {"x-forwarded-for": "203.0.113.5"}

        def answers(path):
            """By HTTP/1.1, HTTP/2 and HTTP/3."""
            tcp = [client.get(server.url(path), headers=line) for client in (http1, http2)]
            quic = http3.fetch(path, headers=list(line.items()))
            return [(answer.status_code, answer.text) for answer in tcp] + [(quic.status, quic.body.decode())]

        def are_believed(number):
            who, staff = answers("/who"), [status for status, _ in answers("/staff")]
            if who == [(200, "whom the proxy names")] * 3 and staff == [200] * 3:
                return True
            assert (who, staff) == ([(200, f"g{number}")] * 3, [403] * 3)
            return False

        assert not are_believed(2)
        opened = connections()
        for number, networks, believed in [
            (3, '"127.0.0.1"', True),
            (4, '["10.0.0.0/8", "127.0.0.0/8"]', True),
            (5, '["10.0.0.0/8"]', False),
            (6, '["127.0.0.0/8"]', True),
            (7, '["nonsense"]', True),
            (8, "", False),
        ]:
            trust(number, networks)
            assert are_believed(number) == believed, networks
        assert connections() == opened, "all of it on the connections of the begin"
    server.stop()


def test_a_new_certificate_is_seen_over_tcp_and_quic_at_once_and_connections_stay(running, trusting, tmp_path):
    one = running()
    with httpx.Client(verify=trusting) as before:
        assert before.get(one.server.url()).text == "g1"
        (tmp_path / "other").mkdir()
        other = make_certificate(tmp_path / "other")
        one.use(other)
        assert any("certificates" in change for change in one.reload()["changes"])
        assert before.get(one.server.url()).text == "g1", "an open connection goes on"
    shown = ssl.get_server_certificate(one.server.address)
    assert shown.strip() == other.cert.read_text().strip()
    get = [binary("STERNA_BIN"), "get", "--http3", "--cacert", other.cert, one.server.url()]
    done = subprocess.run(get, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, "g1"), done.stderr
    assert one.reload()["changes"] == [], "the same pair is no change"


@pytest.mark.parametrize(
    "break_it, told",
    [
        (lambda one: one.file.write_text(one.file.read_text() + "\n[[site]\n"), "sterna.toml:"),
        (lambda one: one.file.write_text(one.file.read_text().replace("respond", "respnod")), "did you mean"),
        (lambda one: one.key.write_text("no key"), "key.pem"),
        (lambda one: one.key.unlink(), "key.pem"),
        (lambda one: one.use_other_key(), "does not match"),
        (lambda one: one.write(2, log='{ file = "/nowhere/access.log" }'), "/nowhere/access.log"),
    ],
    ids=["syntax", "unknown key", "no PEM", "no key", "other key", "log"],
)
def test_what_cannot_be_served_leaves_the_old_one_serving_and_says_why(
    running, trusting, tmp_path, break_it, told
):
    one = running()
    folder = tmp_path / "other"
    folder.mkdir()
    one.use_other_key = lambda: one.key.write_bytes(make_certificate(folder).key.read_bytes())
    break_it(one)
    done = subprocess.run(
        [binary("STERNA_BIN"), "reload", "--admin", f"unix:{tmp_path}/admin.sock"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert told in done.stderr and "error: error:" not in done.stderr, done.stderr
    assert one.generation(trusting) == "g1"
    with Client(one.server.address).connect() as client:
        assert client.finish(client.start("GET", "/"))[0].body == b"g1"
    metrics = one.admin.get("/metrics").text
    assert 'sterna_config_reloads_total{result="failed"} 1' in metrics
    assert "sterna_config_last_reload_successful 0" in metrics


def test_a_mistake_is_shown_with_its_line_and_a_caret(running):
    one = running()
    one.file.write_text(one.file.read_text().replace("[[site]]", "[[site]]\nhots = 'a'"))
    answer = one.admin.post("/reload")
    assert answer.status == 422
    mistake = answer.json()["mistakes"][0]
    lines = one.file.read_text().splitlines()
    assert lines[mistake["line"] - 1] == "hots = 'a'" and mistake["help"] == "did you mean `host`?"
    assert "hots = 'a'\n" in answer.json()["text"] and "^^^^" in answer.json()["text"]


def test_what_needs_a_restart_is_told_and_changes_nothing(running, trusting):
    one = running()
    changed = one.file.read_text().replace("workers = 2", "workers = 1").replace('"g1"', '"g2"')
    one.file.write_text(changed.replace("[timeouts]", "[limits]\nmax_lag = '1s'\nmemory = '99MiB'\n[timeouts]"))
    answer = one.admin.post("/reload")
    assert answer.status == 409
    assert answer.json()["error"].startswith("`workers`, `limits.max_lag`, `limits.memory` cannot change")
    assert one.generation(trusting) == "g1"


def test_the_access_log_goes_to_another_file_and_a_full_disk_costs_lines_alone(running, trusting, tmp_path):
    one = running()
    one.write(2, log='{ file = "first.log" }')
    one.reload()
    assert one.generation(trusting) == "g2"
    one.write(3, log='{ file = "/dev/full", format = "json" }')
    one.reload()
    assert one.generation(trusting) == "g3"
    one.write(4, log='{ file = "second.log", fields = ["status", "route"] }')
    one.reload()
    assert one.generation(trusting) == "g4"
    one.server.stop()
    assert [line.split()[3:6] for line in (tmp_path / "first.log").read_text().splitlines()] == [["GET", "/", "200"]]
    assert (tmp_path / "second.log").read_text() == "200 /*\n"


def test_sighup_reloads_and_sigusr1_opens_the_log_anew(running, trusting, tmp_path):
    one = running()
    one.write(2, log='{ file = "access.log" }')
    one.server.process.send_signal(signal.SIGHUP)
    until(lambda: "generation 2" in one.server.stderr())
    assert one.generation(trusting) == "g2"
    log = tmp_path / "access.log"
    until(lambda: log.read_text().count("\n") == 1)
    log.rename(tmp_path / "moved.log")
    one.server.process.send_signal(signal.SIGUSR1)
    # A signal has no answer: lines go on into the moved file until it has been heard.
    until(lambda: one.generation(trusting) == "g2" and log.exists())
    one.server.stop()


def test_watch_follows_a_file_that_an_editor_replaces_and_a_certificate(running, trusting, tmp_path):
    one = running(flags=["--watch"])
    one.write(2)
    until(lambda: one.generation(trusting) == "g2")
    one.file.write_text(one.file.read_text().replace("g2", "g3").replace("[[site]]", "[[site]"))
    until(lambda: "not reloaded" in one.server.stderr())
    assert one.generation(trusting) == "g2"
    one.write(4)
    until(lambda: one.generation(trusting) == "g4")
    folder = tmp_path / "other"
    folder.mkdir()
    one.use(make_certificate(folder))
    until(lambda: "changed certificates" in one.server.stderr())


def test_watch_follows_what_tls_to_backends_and_policies_read(running, trusting, tmp_path):
    one = running(flags=["--watch"])
    authority, users = tmp_path / "authority.pem", tmp_path / "users"
    authority.write_bytes(one.cert.read_bytes())
    hashed = subprocess.run([binary("STERNA_BIN"), "hash-password"], input="b", text=True, capture_output=True)
    assert hashed.returncode == 0, hashed.stderr
    users.write_text(f"a:{hashed.stdout}")
    one.write(2)
    until(lambda: "generation 2" in one.server.stderr())
    more = f"""
[[site.route]]
path = "/api"
proxy = "https://localhost:1"
upstream_tls = {{ ca = "{authority}" }}

[[site.route]]
path = "/private"
respond = "secret"
basic_auth = {{ file = "{users}" }}
"""
    new = tmp_path / "new.toml"
    new.write_text(one.file.read_text() + more)
    new.rename(one.file)
    until(lambda: "generation 3" in one.server.stderr())
    for number, file in enumerate([authority, users]):
        before = one.server.stderr().count("reloaded in")
        file.write_bytes(file.read_bytes() + b"\n")
        until(lambda: one.server.stderr().count("reloaded in") > before)
