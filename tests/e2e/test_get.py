"""`sterna get` against our server, nginx, Python's TLS and aioquic: what it fetches, and how it tells."""

import hashlib
import json
import subprocess
import time

import pytest

import servers
from conftest import Starter, binary, make_certificate
from nginx import Nginx

VERSIONS = {"--http1.1": "HTTP/1.1", "--http2": "HTTP/2", "--http3": "HTTP/3"}


class Got:
    """One run of `sterna get`, to its end."""

    def __init__(self, run, took):
        self.code = run.returncode
        self.stdout = run.stdout
        self.stderr = run.stderr.decode(errors="replace")
        self.took = took
        assert "panicked" not in self.stderr, self.stderr

    @property
    def json(self):
        value = json.loads(self.stdout)
        assert value["schema"] == "sterna.get/1"
        return value


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """An authority and a server's certificate of it: a client that checks takes no authority for a server."""
    return servers.make_chain(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def certificate(authority):
    return authority.leaf


@pytest.fixture(scope="session")
def trusted(tmp_path_factory, authority, site):
    starter = Starter(tmp_path_factory.mktemp("trusted"), authority.leaf, site)
    yield starter
    starter.stop()


@pytest.fixture(scope="session")
def files(trusted):
    return trusted.files()


@pytest.fixture(scope="session")
def axum(trusted):
    return trusted.axum()


@pytest.fixture
def get(tmp_path, authority):
    """Runs `sterna get`, with the test's authority trusted; never longer than half a minute."""

    def run(*args, cacert=authority.root, data=None, within=30, env=None, prefix=()):
        trust = [] if cacert is None else ["--cacert", cacert]
        argv = [str(part) for part in (*prefix, binary("STERNA_BIN"), "get", *trust, *args)]
        variables = servers.environment(tmp_path / "data", **(env or {}))
        began = time.monotonic()
        done = subprocess.run(
            argv, capture_output=True, timeout=within, env=variables, input=data or b""
        )
        return Got(done, time.monotonic() - began)

    return run


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("flag", VERSIONS)
def test_each_version_gives_the_same_content_on_stdout_alone(get, files, site, flag):
    got = get(flag, files.url("/medium.bin"))
    assert (got.code, got.stderr) == (0, "")
    assert sha256(got.stdout) == sha256(site.content("medium.bin"))


@pytest.mark.parametrize("flag", VERSIONS)
def test_json_tells_the_exchange_and_the_content_goes_to_the_file(get, files, site, flag, tmp_path):
    file = tmp_path / "out"
    told = get(flag, "--json", "-o", file, files.url("/small.txt")).json
    assert file.read_bytes() == site.content("small.txt")
    assert (told["status"], told["protocol"], told["error"]) == (200, VERSIONS[flag], None)
    assert told["remote"] == f"127.0.0.1:{files.port}"
    assert told["content"] == {"bytes": len(site.content("small.txt")), "file": str(file)}
    assert told["early_data"] == "not_offered" and told["attempts"] == 1
    assert ["content-length", str(told["content"]["bytes"])] in told["headers"]
    timings = told["timings"]
    assert 0 < timings["first_byte_ns"] <= timings["total_ns"]
    assert told["tls"]["version"] == "TLSv1.3"
    assert (told["quic"] is not None) == (flag == "--http3")
    events = [entry["event"] for entry in told["race"]]
    assert events.count("won") == 1 and "started" in events
    assert [entry["at_ns"] for entry in told["race"]] == sorted(
        entry["at_ns"] for entry in told["race"]
    )


def test_what_is_learnt_of_http3_is_known_to_the_next_run(get, files):
    first = get("--http2", "--json", files.url("/")).json
    assert any(name == "alt-svc" for name, _ in first["headers"])
    second = get("--json", files.url("/")).json
    sources = {entry.get("source") for entry in second["race"] if entry["event"] == "started"}
    assert "alt_svc" in sources
    assert get("--http3", files.url("/")).code == 0
    third = get("--json", files.url("/", host="127.0.0.1")).json
    assert third["status"] == 200
    unknown = get("--json", "--no-memory", files.url("/")).json
    sources = {entry.get("source") for entry in unknown["race"]}
    assert "alt_svc" not in sources


def test_a_state_file_is_for_its_owner_alone(get, files, tmp_path):
    get(files.url("/"))
    state = tmp_path / "data" / "client" / "alternatives.json"
    assert state.stat().st_mode & 0o777 == 0o600
    assert json.loads(state.read_text())["schema"] == "sterna.alternatives/1"


def test_verbose_tells_the_race_and_both_heads_on_stderr(get, files):
    got = get("-v", files.url("/small.txt"))
    for part in (" wins\n", "> GET https://localhost", "> accept: */*", "< 200 OK", "TLSv1.3"):
        assert part in got.stderr, got.stderr


def test_timing_adds_up(get, files):
    lines = get("--timing", files.url("/")).stderr.splitlines()
    assert lines[0].split() == ["phase", "took", "since", "start"]
    took = [float(line.split()[-4]) for line in lines[1:-1]]
    total = float(lines[-1].split()[-2])
    assert abs(sum(took) - total) < 1.0, lines


def test_heads_and_methods_and_fields(get, axum, files):
    head = get("-I", files.url("/small.txt"))
    assert head.stdout.splitlines()[0].endswith(b"200 OK") and b"content-length: 950" in head.stdout
    both = get("-i", files.url("/small.txt")).stdout
    assert both.startswith(b"HTTP/") and both.endswith(b"\n\n" + bytes(range(32, 127)) * 10)
    echoed = get("-d", "a=1", "-d", "@-", "-i", axum.url("/echo"), data=b"b=2\n")
    assert echoed.stdout.endswith(b"\n\na=1&b=2\n")
    assert get("-X", "DELETE", axum.url("/echo")).code == 4
    assert get("-H", "range: bytes=0-3", files.url("/small.txt")).stdout == b' !"#'


@pytest.mark.parametrize("flag", VERSIONS)
def test_uploads_come_back_whole(get, axum, site, flag):
    got = get(flag, "-d", f"@{site.root / 'medium.bin'}", axum.url("/sha256"))
    assert got.stdout.decode() == sha256(site.content("medium.bin"))


@pytest.mark.parametrize("flag", ["--http2", "--http3"])
def test_trailers_are_told_on_request(get, axum, flag):
    got = get(flag, "--trailers", "-d", "12345", axum.url("/trailers"))
    assert (got.stdout, got.stderr) == (b"12345", "x-count: 5\n")


def test_interim_responses_are_told(get, axum):
    told = get("--http3", "--json", axum.url("/early")).json
    assert [interim["status"] for interim in told["interim"]] == [103]


def test_a_status_is_an_exit_code_and_its_content_comes_all_the_same(get, files):
    missing = get(files.url("/none"))
    assert missing.code == 4 and missing.stdout and "404" in missing.stderr
    assert get("--no-check-status", files.url("/none")).code == 0
    broken = b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbusy"
    with servers.tcp(servers.answers(broken)) as port:
        got = get(f"http://127.0.0.1:{port}/")
    assert (got.code, got.stdout) == (5, b"busy")


def test_redirects_are_followed_when_asked_for_and_bounded(get):
    def moved(connection):
        if b" /old " in servers.read_head(connection):
            head = b"HTTP/1.1 302 Found\r\nlocation: /new\r\ncontent-length: 3\r\nconnection: close\r\n\r\n"
            connection.sendall(head + b"old")
        else:
            connection.sendall(servers.ANSWER)

    with servers.tcp(moved) as port:
        url = f"http://127.0.0.1:{port}/old"
        stays = get(url)
        assert (stays.code, stays.stdout) == (3, b"old")
        assert get("-L", url).stdout == b"hello"
        told = get("-L", "--json", url).json
        assert told["status"] == 200 and told["url"].endswith("/new")
        assert told["redirects"] == [{"url": url, "status": 302}]

    loop = b"HTTP/1.1 302 Found\r\nlocation: /again\r\ncontent-length: 0\r\n\r\n"

    def circle(connection):
        while servers.read_head(connection):
            connection.sendall(loop)

    with servers.tcp(circle) as port:
        got = get("-L", "--max-redirects", "4", "--json", f"http://127.0.0.1:{port}/")
        assert got.code == 3 and len(got.json["redirects"]) == 4


@pytest.mark.parametrize("flag", ["--http1.1", "--http2"])
def test_nginx_serves_it(get, tmp_path, certificate, site, flag):
    nginx = Nginx(tmp_path / "nginx", site.root, certificate)
    try:
        got = get(flag, f"https://localhost:{nginx.port}/medium.bin")
        assert got.code == 0 and sha256(got.stdout) == sha256(site.content("medium.bin"))
        told = get(flag, "--json", f"https://localhost:{nginx.port}/small.txt").json
        assert told["protocol"] == VERSIONS[flag]
    finally:
        nginx.stop()


def test_aioquic_serves_it(get, certificate):
    content = bytes(range(256)) * 4000

    def answer(server, event):
        server.send(event.stream_id, 200, content, [(b"x-from", b"aioquic")])

    with servers.aioquic(certificate, answer) as port:
        got = get("--http3", f"https://localhost:{port}/")
        assert (got.code, got.stdout) == (0, content)
        told = get("--json", f"https://127.0.0.1:{port}/").json
        assert told["protocol"] == "HTTP/3", "TCP is refused there"


def test_the_local_authority_is_believed_for_this_machine_alone(get, start, tmp_path):
    data = tmp_path / "data"
    argv = [binary("STERNA_BIN"), "files", tmp_path, "--listen", "127.0.0.1:0", "--workers", "1"]
    with_local_ca = start._start(["env", f"STERNA_DATA={data}", *argv])
    (tmp_path / "here.txt").write_text("here")
    assert get(with_local_ca.url("/here.txt"), cacert=None).stdout == b"here"
    other = {"STERNA_DATA": str(tmp_path / "other")}
    stranger = get(with_local_ca.url("/here.txt"), cacert=None, env=other)
    assert stranger.code == 12 and "--cacert" in stranger.stderr


def test_connect_to_and_resolve_lead_elsewhere_and_the_name_stays(get, files):
    got = get("--connect-to", f"127.0.0.1:{files.port}", "--json", "https://localhost/small.txt")
    assert got.code == 0 and got.json["remote"] == f"127.0.0.1:{files.port}"
    wrong = get("--resolve", "example.test:127.0.0.1", f"https://example.test:{files.port}/")
    assert wrong.code == 12, wrong.stderr
    right = get("-k", "--resolve", "example.test:127.0.0.1", f"https://example.test:{files.port}/",
                cacert=None)
    assert right.code == 0, right.stderr


def test_a_client_certificate_is_shown_to_who_asks_for_it(get, certificate, tmp_path):
    mine = servers.make_chain(tmp_path / "mine")
    context = servers.tls_context(certificate, client_ca=mine.root)
    with servers.tcp(servers.answers(servers.ANSWER), context) as port:
        url = f"https://localhost:{port}/"
        shown = get("--http1.1", "--cert", mine.leaf.cert, "--key", mine.leaf.key, url)
        assert (shown.code, shown.stdout) == (0, b"hello")
        assert get("--http1.1", url).code in (12, 14)
    missing = get("--cert", tmp_path / "none", "--key", mine.leaf.key, "https://localhost/")
    assert missing.code == 12 and "none" in missing.stderr


def test_keys_are_logged_for_both_transports(get, files, tmp_path):
    log = tmp_path / "keys"
    for flag in ("--http2", "--http3"):
        log.unlink(missing_ok=True)
        assert get(flag, files.url("/"), env={"SSLKEYLOGFILE": str(log)}).code == 0
        assert "CLIENT_TRAFFIC_SECRET_0" in log.read_text()


def test_migration_in_the_middle_is_survived_and_told(get, files, site, tmp_path):
    file = tmp_path / "out"
    got = get("--migrate", "-o", file, files.url("/big.bin"), within=100)
    assert got.code == 0, got.stderr
    assert "survived" in got.stderr
    assert sha256(file.read_bytes()) == site.big_sha256
    short = get("--migrate", files.url("/empty.txt"))
    assert short.code == 1 and "too short" in short.stderr


def test_0rtt_is_taken_by_a_server_that_allows_it(get, certificate):
    def answer(server, event):
        server.send(event.stream_id, 200, b"early bird")

    with servers.aioquic(certificate, answer) as port:
        # On loopback the handshake may be complete before the request is ready.
        for _ in range(10):
            got = get("--0rtt", "--json", f"https://localhost:{port}/")
            assert got.json["status"] == 200
            if got.json["early_data"] == "accepted":
                break
    assert got.json["early_data"] == "accepted" and "0-RTT: accepted" in got.stderr, got.json


def test_0rtt_without_a_ticket_for_it_is_told_and_no_error(get, files):
    got = get("--0rtt", "--json", files.url("/small.txt"))
    assert got.code == 0 and got.json["early_data"] in ("not_offered", "accepted")
    assert "0-RTT" in got.stderr


def test_plain_http_needs_no_authorities(get):
    nowhere = {"SSL_CERT_FILE": "/nonexistent", "SSL_CERT_DIR": "/nonexistent"}
    with servers.tcp(servers.answers(servers.ANSWER)) as port:
        got = get(f"http://127.0.0.1:{port}/", cacert=None, env=nowhere)
        assert (got.code, got.stdout, got.stderr) == (0, b"hello", "")

    def not_tls(connection):
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with servers.tcp(not_tls) as port:
        got = get(f"https://127.0.0.1:{port}/", cacert=None)
        assert got.code == 12 and "plain HTTP" in got.stderr, got.stderr


def test_a_server_by_its_own_certificate(get, start, tmp_path):
    """As `openssl req -x509` makes it: self-signed, and an authority's."""
    own, other = make_certificate(tmp_path), servers.make_chain(tmp_path / "other")
    server = start.files(cert=own.cert, key=own.key)
    for flag in ("--http2", "--http3"):
        assert get(flag, server.url("/small.txt"), cacert=own.cert).code == 0
        assert get(flag, server.url("/small.txt"), cacert=other.root).code == 12
