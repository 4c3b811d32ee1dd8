"""What cannot work ends at once: one clear message, exit code 1, nothing half-started."""

import os
import socket
import subprocess

import pytest

from conftest import make_certificate


@pytest.fixture
def refused(start):
    """Runs `sterna files` with something wrong; what it says."""

    def run(*words, prefix=(), **arguments):
        argv = [*prefix, *(str(part) for part in start.files_argv(**arguments))]
        run = subprocess.run(argv, capture_output=True, text=True, timeout=20)
        assert run.returncode == 1, run
        assert run.stdout == ""
        assert "panicked" not in run.stderr
        lines = run.stderr.strip().splitlines()
        assert len(lines) <= 3, f"one message, not:\n{run.stderr}"
        assert "ready" not in run.stderr and "https://" not in run.stderr, run.stderr
        for word in words:
            assert word in run.stderr, run.stderr
        return run.stderr

    return run


def test_a_tcp_port_in_use_is_named_and_udp_is_free_again(refused):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused("in use", str(port), listen=f"127.0.0.1:{port}")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", port))


def test_a_udp_port_in_use_is_named_and_tcp_is_free_again(refused):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        refused("in use", str(port), listen=f"127.0.0.1:{port}")
        with socket.socket() as tcp:
            tcp.bind(("127.0.0.1", port))


def test_a_second_server_on_the_same_port_is_refused(start, refused):
    first = start.files()
    refused("in use", str(first.port), listen=f"127.0.0.1:{first.port}")
    first.assert_alive()


def test_a_missing_certificate_is_named(refused, tmp_path):
    refused(str(tmp_path / "none.pem"), cert=tmp_path / "none.pem")


def test_an_unreadable_certificate_is_named(refused, tmp_path):
    locked = tmp_path / "locked.pem"
    locked.write_text("")
    locked.chmod(0)
    # Root reads every file, unless it gives that up.
    powers = "--bounding-set=-dac_override,-dac_read_search"
    prefix = ["setpriv", "--inh-caps=-all", powers] if os.geteuid() == 0 else []
    refused(str(locked), prefix=prefix, cert=locked)


def test_a_folder_as_certificate_is_named(refused, tmp_path):
    refused(str(tmp_path), cert=tmp_path)


def test_a_certificate_which_is_none_is_named(refused, tmp_path):
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("not a certificate\n")
    refused(str(garbage), cert=garbage)


def test_a_key_which_does_not_match_is_named(refused, tmp_path):
    other = make_certificate(tmp_path)
    refused("match", key=other.key)


def test_a_missing_folder_is_named(refused, tmp_path):
    refused(str(tmp_path / "nowhere"), root=tmp_path / "nowhere")


def test_a_file_as_folder_is_named(refused, site):
    refused(str(site.root / "small.txt"), root=site.root / "small.txt")
