"""The link of `cargo xtask link`: its page's examples run, and whoever ends it leaves nothing behind. Needs root."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from conftest import binary

ROOT = Path(__file__).parents[2]
EXAMPLES = re.findall(r"```console\n(.*?)```", (ROOT / "docs/link.md").read_text(), re.S)
PATIENCE = 60.0


def environment(folder):
    """`sterna` by its name, and a local authority of its own."""
    path = f"{Path(binary('STERNA_BIN')).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "XDG_DATA_HOME": str(folder)}


def test_the_page_has_examples():
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_of_the_page_does_what_it_shows(example, tmp_path):
    command = example.replace("cargo xtask link", binary("STERNA_LINK"))
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    carried = re.findall(r"link: \w to \w: (\d+) packets", done.stderr.decode())
    assert len(carried) == 2 and all(int(packets) > 5 for packets in carried), done.stderr.decode()


def processes_in(namespaces):
    """Those that live in one of these network namespaces."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                inode = (entry / "ns/net").stat().st_ino
            except OSError:
                continue
            if inode in namespaces:
                found.append(int(entry.name))
    return found


def wait_for(what, description):
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, description
        time.sleep(0.02)


def start_link(server, *client):
    argv = [binary("STERNA_LINK"), "--server", server, "--", *client]
    link = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    places = []
    while len(places) < 2:
        line = link.stderr.readline()
        assert line, "it ended before it was up"
        places += re.findall(r"nsenter --net=(\S+)", line)
    return link, {os.stat(place).st_ino for place in places}


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_both_sides_with_all_that_they_started(name):
    # Of these, one is of the shell's background and knows nothing of the link, and one takes no SIGTERM.
    stubborn = "sh -c 'trap \"\" TERM; sleep 1000 & while :; do sleep 1; done'"
    link, namespaces = start_link(stubborn, "sleep", "1000")
    try:
        # The shell and its two, and the client.
        wait_for(lambda: len(processes_in(namespaces)) >= 4, "the programs do not start")
        link.send_signal(getattr(signal, name))
        assert link.wait(PATIENCE) == 128 + getattr(signal, name)
        assert processes_in(namespaces) == []
    finally:
        link.kill()
        link.wait()
        link.stderr.close()


def test_a_server_that_ends_is_an_error_and_ends_the_client():
    link, namespaces = start_link("false", "sleep", "1000")
    try:
        assert link.wait(PATIENCE) == 1
        assert "the server ended" in link.stderr.read()
        assert processes_in(namespaces) == []
    finally:
        link.kill()
        link.wait()
        link.stderr.close()


def test_the_exit_code_is_that_of_the_client():
    argv = [binary("STERNA_LINK"), "--", "sh", "-c", "exit 7"]
    assert subprocess.run(argv, capture_output=True, timeout=PATIENCE).returncode == 7
