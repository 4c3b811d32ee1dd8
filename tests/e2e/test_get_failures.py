"""What goes wrong for `sterna get`: the right exit code, one message, nothing half-written, and nothing hangs."""

import os
import signal
import subprocess
import time

import pytest

import servers
from conftest import binary
from nginx import free_port
from test_get import authority, certificate, files, get, trusted  # noqa: F401, fixtures

HEAD = b"HTTP/1.1 200 OK\r\n"


def one_error(got):
    """The one line that says what went wrong."""
    lines = [line for line in got.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, got.stderr
    return lines[0]


def test_a_name_that_does_not_exist(get):
    got = get("https://does-not-exist.invalid/")
    assert got.code == 10 and "name" in one_error(got), got.stderr


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nobody_listens(get, scheme):
    got = get(f"{scheme}://127.0.0.1:{free_port()}/")
    assert got.code == 11 and "refused" in one_error(got), got.stderr
    assert got.took < 5 and "help: " in got.stderr


def test_nobody_listens_is_json_too(get):
    told = get("--json", f"https://127.0.0.1:{free_port()}/").json
    assert told["status"] is None
    assert told["error"]["exit_code"] == 11 and told["error"]["kind"] == "refused"
    assert [entry["event"] for entry in told["race"]].count("failed") >= 1


def test_a_certificate_of_nobody_we_know(get, files, tmp_path):
    other = servers.make_chain(tmp_path / "other")
    for flag in ("--http1.1", "--http2", "--http3"):
        got = get(flag, files.url("/"), cacert=other.root)
        assert got.code == 12 and "certificate" in one_error(got), got.stderr
        assert get(flag, "-k", files.url("/"), cacert=None).code == 0


def test_a_server_without_the_version(get, certificate):
    with servers.tcp(servers.answers(servers.ANSWER), servers.tls_context(certificate)) as port:
        assert get("--http2", f"https://localhost:{port}/").code == 12
        assert get(f"https://localhost:{port}/").stdout == b"hello"


def test_udp_into_a_black_hole_falls_back_to_tcp(get, certificate):
    context = servers.tls_context(certificate)
    with servers.tcp(servers.answers(servers.ANSWER), context) as port:
        with servers.black_hole(port):
            told = get("--json", f"https://127.0.0.1:{port}/").json
            assert (told["status"], told["protocol"]) == (200, "HTTP/1.1")
            transports = [e["transport"] for e in told["race"] if e["event"] == "started"]
            assert "quic" in transports and "tcp" in transports
            alone = get("--http3", "--connect-timeout", "1s", f"https://127.0.0.1:{port}/")
            assert alone.code == 13 and alone.took < 10, alone.stderr


def test_quic_that_worked_and_vanishes_costs_a_moment_and_not_the_page(get, certificate):
    def answer(server, event):
        server.send(event.stream_id, 200, b"over QUIC")

    with servers.tcp(servers.answers(servers.ANSWER), servers.tls_context(certificate)) as port:
        url = f"https://127.0.0.1:{port}/"
        with servers.aioquic(certificate, answer, port):
            assert get("--http3", url).stdout == b"over QUIC"
        with servers.black_hole(port):
            told = get("--json", url).json
    assert told["protocol"] == "HTTP/1.1"
    at = {entry["event"]: entry for entry in reversed(told["race"])}
    assert at["tcp_released"]["why"] in ("quic_had_its_time", "quic_silent")
    waited = at["tcp_released"]["at_ns"] - at["started"]["at_ns"]
    # 50 ms or more by the round-trip time, 100 ms without a byte; the rest is this machine's load.
    assert 45e6 <= waited <= 1e9, told["race"]


def test_quic_that_has_vanished_is_not_waited_for_again(get, certificate):
    def answer(server, event):
        server.send(event.stream_id, 200, b"over QUIC")

    with servers.tcp(servers.answers(servers.ANSWER), servers.tls_context(certificate)) as port:
        url = f"https://127.0.0.1:{port}/"
        with servers.aioquic(certificate, answer, port):
            assert get("--http3", url).code == 0
        with servers.black_hole(port):
            assert get(url).code == 0
            told = get("--json", url).json
    released = [entry["why"] for entry in told["race"] if entry["event"] == "tcp_released"]
    assert released == ["quic_on_trial"], told["race"]


# req: 9000-6.2-abandon
def test_quic_that_worked_and_is_of_another_version_now_falls_back_at_once(get, certificate):
    def answer(server, event):
        server.send(event.stream_id, 200, b"over QUIC")

    with servers.tcp(servers.answers(servers.ANSWER), servers.tls_context(certificate)) as port:
        url = f"https://127.0.0.1:{port}/"
        with servers.aioquic(certificate, answer, port):
            assert get("--http3", url).stdout == b"over QUIC"
        with servers.other_quic(port):
            told = get("--json", url).json
            alone = get("--http3", url)
    assert (told["status"], told["protocol"]) == (200, "HTTP/1.1")
    failed = [entry["error"] for entry in told["race"] if entry["event"] == "failed"]
    # On a machine that is busy, TCP may have had its turn before the answer came.
    assert all("version of QUIC" in why for why in failed), told["race"]
    assert alone.code == 11 and "version of QUIC" in one_error(alone), alone.stderr
    assert "help: " in alone.stderr and alone.took < 20


def test_a_server_that_accepts_and_says_nothing(get):
    def wait(connection):
        connection.recv(1 << 16)
        connection.recv(1)

    with servers.tcp(wait) as port:
        got = get("--connect-timeout", "1s", "--http1.1", f"https://127.0.0.1:{port}/")
        assert got.code == 13 and got.took < 10, got.stderr
        got = get("--idle-timeout", "1s", f"http://127.0.0.1:{port}/")
        assert got.code == 13 and got.took < 10, got.stderr
        got = get("--max-time", "500ms", f"http://127.0.0.1:{port}/")
        assert got.code == 13 and "--max-time" in got.stderr and got.took < 5


@pytest.mark.parametrize(
    "data, then, code",
    [
        (b"", servers.reset, 14),
        (b"", None, 14),
        (HEAD + b"content-length: 100\r\n\r\nshort", None, 14),
        (HEAD + b"content-length: 100\r\n\r\nshort", servers.reset, 14),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", None, 14),
        (HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n", None, 14),
        (HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!", None, 14),
        (b"SSH-2.0-OpenSSH_9.2\r\n", None, 14),
        (b"\x00" * 100, None, 14),
    ],
)
def test_broken_responses_are_errors_and_leave_no_file(get, tmp_path, data, then, code):
    folder = tmp_path / "out"
    folder.mkdir()
    with servers.tcp(servers.answers(data, then)) as port:
        got = get("-o", folder / "file", f"http://127.0.0.1:{port}/")
        assert got.code == code, got.stderr
        one_error(got)
    assert list(folder.iterdir()) == []


def test_a_file_that_was_there_stays_when_the_new_one_is_not_whole(get, tmp_path):
    file = tmp_path / "file"
    file.write_text("old")
    half = servers.answers(HEAD + b"content-length: 100\r\n\r\nshort")
    with servers.tcp(half) as port:
        assert get("-o", file, f"http://127.0.0.1:{port}/").code == 14
    assert file.read_text() == "old"


def test_endless_headers_end(get):
    def endless(connection):
        servers.read_head(connection)
        connection.sendall(HEAD)
        while True:
            connection.sendall(b"x: " + b"y" * 60_000 + b"\r\n")

    with servers.tcp(endless) as port:
        got = get(f"http://127.0.0.1:{port}/")
        assert got.code == 14, got.stderr


def test_content_that_stops_in_its_middle_is_given_up(get):
    def stop(connection):
        time.sleep(15)

    with servers.tcp(servers.answers(HEAD + b"content-length: 9\r\n\r\nfour", stop)) as port:
        got = get("--idle-timeout", "1s", f"http://127.0.0.1:{port}/")
        assert (got.code, got.stdout) == (13, b"four"), got.stderr
        assert got.took < 10


def test_what_cannot_be_written_is_said_before_anything_is_asked(get, tmp_path):
    asked = []
    with servers.tcp(asked.append) as port:
        got = get("-o", tmp_path / "none" / "file", f"http://127.0.0.1:{port}/")
        assert got.code == 22 and "none" in one_error(got)
        got = get("-o", tmp_path, f"http://127.0.0.1:{port}/")
        assert got.code == 22
    assert asked == []


def test_a_full_disk(get, files):
    got = get("-o", "/dev/full", files.url("/medium.bin"))
    assert got.code == 22 and "/dev/full" in one_error(got)


def test_nobody_reads_stdout_any_more(files, authority, tmp_path):
    argv = [binary("STERNA_BIN"), "get", "--cacert", authority.root, files.url("/medium.bin")]
    with subprocess.Popen(
        [str(part) for part in argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=servers.environment(tmp_path),
    ) as process:
        process.stdout.read(1)
        process.stdout.close()
        assert (process.wait(30), process.stderr.read()) == (141, b"")


def test_interrupted_leaves_no_file_and_says_so(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()

    def endless(connection):
        servers.read_head(connection)
        connection.sendall(HEAD + b"content-length: 999999999\r\n\r\n")
        while True:
            connection.sendall(b"x" * 1000)
            time.sleep(0.01)

    with servers.tcp(endless) as port:
        argv = [binary("STERNA_BIN"), "get", "-o", folder / "file", f"http://127.0.0.1:{port}/"]
        process = subprocess.Popen(
            [str(part) for part in argv],
            stderr=subprocess.PIPE,
            env=servers.environment(tmp_path / "data"),
        )
        deadline = time.monotonic() + 20
        while not any(path.stat().st_size for path in folder.iterdir()):
            assert time.monotonic() < deadline, "nothing was written"
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read() == b"error: interrupted\n"
    assert list(folder.iterdir()) == []


def test_http3_that_resets_the_stream(get, certificate):
    def answer(server, event):
        server.send(event.stream_id, 200, b"begun", end=False)
        server.reset(event.stream_id, 0x102)

    with servers.aioquic(certificate, answer) as port:
        got = get("--http3", f"https://localhost:{port}/")
        assert got.code == 14, got.stderr
        assert "H3_INTERNAL_ERROR (RFC 9114" in one_error(got)


def test_http3_with_a_wrong_length(get, certificate, tmp_path):
    def answer(server, event):
        server.send(event.stream_id, 200, b"short", [(b"content-length", b"100")])

    with servers.aioquic(certificate, answer) as port:
        got = get("--http3", "-o", tmp_path / "file", f"https://localhost:{port}/")
        assert got.code == 14, got.stderr
    assert not (tmp_path / "file").exists()


def test_http3_that_is_closed_in_the_middle(get, certificate):
    def answer(server, event):
        server.send(event.stream_id, 200, b"begun", end=False)
        server.close_with(0x107, "too much")

    with servers.aioquic(certificate, answer) as port:
        got = get("--http3", "--json", f"https://localhost:{port}/")
        assert got.code == 14, got.stderr
        assert got.json["error"]["code"] == 0x107


def test_http3_that_accepts_and_then_stalls(get, certificate):
    with servers.aioquic(certificate, lambda server, event: None) as port:
        got = get("--http3", "--idle-timeout", "1s", f"https://localhost:{port}/")
        assert got.code == 13 and got.took < 10, got.stderr


def test_the_command_line_is_checked_before_anything_is_asked(get):
    for args in (["ftp://x/"], ["--http3", "http://x/"], ["--http2", "--http3", "x"], ["-H", "x", "y"]):
        assert get(*args).code == 2, args


def test_an_address_without_a_route(get):
    # A namespace of its own has no route at all, and no name servers.
    alone = [*([] if os.geteuid() == 0 else ["sudo", "-n"]), "unshare", "--net"]
    got = get("--json", "https://192.0.2.1/", prefix=alone)
    assert got.code == 11 and got.took < 5, got.stderr
    assert got.json["error"]["kind"] == "unreachable"
    named = get("https://example.com/", prefix=alone, within=60)
    assert named.code == 10, named.stderr


def test_no_colours_whatever_the_terminal_says(get, files):
    got = get("-v", files.url("/"), env={"CLICOLOR_FORCE": "1", "TERM": "xterm"})
    assert "\x1b[" not in got.stderr
    assert os.environ.get("NO_COLOR") is None or "\x1b[" not in got.stderr
