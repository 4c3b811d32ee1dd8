"""`sterna load` against our server, against nginx, and against aioquic."""

import json
import os
import signal
import socket
import subprocess
import time

import pytest

from conftest import binary
from h3server import H3Server

VERSIONS = ["--http1.1", "--http2", "--http3"]
SMALL = 950


def load(*argv, code=0):
    """One run that ends by itself; its report."""
    argv = [binary("STERNA_BIN"), "load", *map(str, argv), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100)
    assert done.returncode == code, done.stderr + done.stdout
    assert "panicked" not in done.stderr
    return json.loads(done.stdout)


def failed(report):
    return {kind: error["count"] for kind, error in report["errors"].items() if error["count"]}


@pytest.fixture(scope="module")
def sterna(shared):
    return shared.files()


@pytest.fixture
def aioquic(certificate):
    server = H3Server(certificate)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def nginx(tmp_path_factory, certificate, site):
    """HTTP/1.1 and HTTP/2 under TLS, one worker; 20 requests on a connection, 4 streams at once."""
    folder = tmp_path_factory.mktemp("nginx")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "nginx.conf").write_text(
        f"""
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    keepalive_requests 20; http2_max_concurrent_streams 4;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {certificate.cert}; ssl_certificate_key {certificate.key};
        root {site.root};
    }}
}}
"""
    )
    log = (folder / "stderr").open("wb")
    argv = ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert process.poll() is None, (folder / "stderr").read_text()
        time.sleep(0.02)
    yield f"https://localhost:{port}"
    process.terminate()
    process.wait()
    log.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_every_request_to_our_server_is_answered(sterna, certificate, version):
    cacert = ["--cacert", certificate.cert]
    report = load(sterna.url("/small.txt"), version, *cacert, "-n", 500, "-c", 3, "-m", 5, "--verify")
    assert report["schema"] == "sterna.load/1"
    assert report["requests"]["done"] == 500 and failed(report) == {}
    assert report["content"]["received_bytes"] == 500 * SMALL
    assert report["status"] == {"200": 500}
    assert report["handshakes"]["done"] == 3
    assert report["latency_ns"]["service"]["count"] == 500
    assert report["latency_ns"]["service"]["p50"] <= report["latency_ns"]["service"]["p99"]
    assert report["duration_ns"] > 0


@pytest.mark.parametrize("version", VERSIONS)
def test_handshakes_are_measured_by_their_preset(sterna, version):
    report = load(sterna.url(), version, "-k", "--preset", "hps", "-n", 30, "-c", 3)
    assert report["handshakes"]["done"] == 30 and report["requests"]["sent"] == 0
    assert report["latency_ns"]["handshake"]["count"] == 30


def test_a_missed_threshold_and_a_worse_run_have_exit_code_1(sterna, tmp_path):
    url = sterna.url("/small.txt")
    kept = load(url, "-k", "-n", 50, "--threshold", "p99<60s,errors<1%")
    assert [verdict["kept"] for verdict in kept["conditions"]] == [True, True]
    missed = load(url, "-k", "-n", 50, "--threshold", "p50<1ns", code=1)
    assert [verdict["kept"] for verdict in missed["conditions"]] == [False]

    baseline = tmp_path / "baseline.json"
    kept["requests"]["done_per_second"] = 1e9
    baseline.write_text(json.dumps(kept))
    worse = load(url, "-k", "-n", 50, "--baseline", baseline, code=1)
    assert not worse["conditions"][0]["kept"]
    better = load(url, "-k", "-n", 50, "--baseline", baseline, "--max-regression", "1000000%")
    assert all(verdict["kept"] for verdict in better["conditions"])


def test_nothing_but_failures_has_exit_code_1(sterna):
    report = load(sterna.url("/not-there"), "-k", "-n", 5, code=1)
    assert failed(report) == {"status": 5}
    assert report["errors"]["status"]["codes"] == {"404": 5}
    # Some that succeed are enough, without a threshold.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        argv = ["--connect-to", place, "--connect-timeout", "200ms", "-n", 5]
        assert failed(load(sterna.url(), "-k", *argv, code=1)) == {"handshake_timeout": 3}


def test_sigint_prints_the_report_and_exits_with_130(sterna, tmp_path):
    out = tmp_path / "out.json"
    argv = [binary("STERNA_BIN"), "load", sterna.url("/small.txt"), "-k", "-d", "1h", "--json"]
    with out.open("wb") as stdout:
        process = subprocess.Popen(argv, stdout=stdout, stderr=subprocess.PIPE)
    try:
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    report = json.loads(out.read_text())
    assert report["interrupted"] and report["requests"]["done"] > 0
    # No terminal, no progress.
    assert b"\r" not in stderr and stderr.decode() == "error: interrupted\n"


def test_percentiles_are_written_as_hdrhistogram_has_them(sterna, tmp_path):
    path = tmp_path / "latency.hgrm"
    load(sterna.url("/small.txt"), "-k", "-n", 100, "--hgrm", path)
    lines = path.read_text().splitlines()
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    assert any(line.startswith("#[Max") and "100]" in line for line in lines)


def test_what_does_not_go_together_is_a_mistake_of_the_command_line(sterna):
    for argv, said in [
        (["-n", "1", "-d", "1s"], "cannot be used with"),
        (["--http2", "--http3"], "cannot be used with"),
        (["--threshold", "p99<20"], "is not a condition"),
        (["--rate", "0"], "above zero"),
        (["-H", "no colon"], "is not a field"),
        (["-d", "30"], "is not a duration"),
    ]:
        command = [binary("STERNA_BIN"), "load", sterna.url(), *argv]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert done.returncode == 2 and said in done.stderr, (argv, done.stderr)
    command = [binary("STERNA_BIN"), "load", sterna.url(), "--0rtt", "-X", "DELETE"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "replay" in done.stderr


def test_nginx_ends_connections_after_their_requests_and_none_fails(nginx):
    # Its answer to the last one says `connection: close`.
    report = load(f"{nginx}/small.txt", "--http1.1", "-k", "-n", 100, "-c", 2)
    assert report["requests"]["done"] == 100 and failed(report) == {}
    assert 5 <= report["handshakes"]["done"] <= 7


def test_nginx_limits_streams_of_http2_and_that_is_told(nginx):
    report = load(f"{nginx}/small.txt", "--http2", "-k", "-n", 200, "-m", 50, "--verify")
    done, broken = report["requests"]["done"], failed(report)
    # What it leaves out by GOAWAY is told, and nothing else goes wrong.
    assert set(broken) <= {"goaway", "refused_stream"}
    assert done + sum(broken.values()) == 200 and done >= 150
    assert report["streams"]["asked"] == 50 and report["streams"]["at_once"] == 4
    assert report["streams"]["limit_waits"] > 0
    assert report["handshakes"]["goaways"] >= 5


@pytest.mark.parametrize("verify", [[], ["--verify"]])
def test_aioquic_is_loaded_over_http3(aioquic, verify):
    argv = ["-k", "-n", 60, "-c", 2, "-m", 4, *verify]
    report = load(aioquic.url("/size/5000"), *argv)
    assert report["requests"]["done"] == 60 and failed(report) == {}
    assert report["content"]["received_bytes"] == 60 * 5000
    assert report["quic"]["connections"] == 2

    report = load(aioquic.url("/status/418"), *argv, code=1)
    assert report["errors"]["status"]["codes"] == {"418": 60}
    report = load(aioquic.url(f"/reset/{0x10b}"), *argv, code=1)
    assert failed(report) == {"refused_stream": 60}


def test_aioquic_takes_early_data_of_later_connections(certificate):
    server = H3Server(certificate, early_data=True)
    try:
        report = load(server.url("/size/10"), "-k", "--0rtt", "--reconnect", 5, "-n", 20)
    finally:
        server.stop()
    assert report["requests"]["done"] == 20
    early = report["early_data"]
    assert early == {"requests": 3, "accepted_connections": 3, "rejected_connections": 0}
