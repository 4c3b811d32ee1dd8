"""Headless Chromium: a page with fifty assets, all of it over HTTP/3."""

import re
import subprocess

import pytest

from browser import FLAGS, forced, program

@pytest.fixture
def chromium(certificate, files, tmp_path):
    def run(*arguments):
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        flags = [*FLAGS, *forced(files, certificate), profile]
        command = [program(), *flags, *arguments, files.url("/page.html")]
        return subprocess.run(command, capture_output=True, text=True, timeout=90)

    return run


def test_a_page_with_fifty_assets_loads_over_h3(chromium):
    run = chromium("--dump-dom")
    result = re.search(r'<pre id="result">(.*?)</pre>', run.stdout, re.DOTALL)
    assert result, run.stdout + run.stderr
    entries = dict(line.rsplit(" ", 1) for line in result[1].splitlines())
    expected = ["/page.html"]
    for kind, count in (("css", 5), ("svg", 40), ("js", 5)):
        expected += [f"/assets/{index}.{kind}" for index in range(count)]
    assert entries == {path: "h3" for path in expected}
    assert "<title>scripts 5</title>" in run.stdout


def test_the_page_is_drawn(chromium, artefacts):
    picture = artefacts / "page.png"
    picture.unlink(missing_ok=True)
    run = chromium(f"--screenshot={picture}", "--window-size=800,600")
    assert picture.exists(), run.stderr
    assert len(picture.read_bytes()) > 5_000, "more than an empty page"
