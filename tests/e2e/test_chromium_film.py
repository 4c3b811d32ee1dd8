"""Headless Chromium jumps in a film: by ranges, over HTTP/3."""

import re

import pytest

from browser import Browser, forced
from film import SECONDS, colour_at, film

SEEK_TO = 50
PAGE = """<!doctype html><title>film</title><style>body { background: #ddd }
video { width: 640px; display: block }</style><p>A film of a minute: red, green, white, blue.</p><video controls muted preload="metadata" src="/film.webm"></video>"""
#: What the page sees of a jump, once the picture of that second is there.
JUMP = """new Promise((tell, fail) => {
  const video = document.querySelector('video')
  const jump = () => { video.currentTime = %d }
  video.onerror = () => fail(video.error.message)
  video.onseeked = () => {
    const canvas = document.createElement('canvas').getContext('2d')
    canvas.drawImage(video, 0, 0)
    const entries = performance.getEntriesByType('resource').filter((entry) => entry.name.endsWith('.webm'))
    tell({
      duration: video.duration,
      time: video.currentTime,
      pixel: [...canvas.getImageData(80, 45, 1, 1).data.slice(0, 3)],
      protocols: entries.map((entry) => entry.nextHopProtocol),
    })
  }
  video.readyState >= 2 ? jump() : video.onloadeddata = jump
})"""


@pytest.fixture
def cinema(start, tmp_path):
    """A server of the film and a page that shows it, apart from the others for its access log."""
    root = tmp_path / "cinema"
    root.mkdir()
    (root / "film.webm").write_bytes(film())
    (root / "index.html").write_text(PAGE)
    return start.files(root, workers=1)


def test_a_film_is_jumped_in_by_ranges_over_h3(cinema, certificate, tmp_path, artefacts):
    with Browser(tmp_path / "profile", *forced(cinema, certificate)) as browser:
        assert browser.open(cinema.url()) == ""
        told = browser.evaluate(JUMP % SEEK_TO)
        browser.draw(artefacts / "film.png")
    assert (told["duration"], told["time"]) == (SECONDS, SEEK_TO)
    assert colour_at(0) == "red" and colour_at(SEEK_TO) == "blue"
    red, _, blue = told["pixel"]
    assert red < 60 and blue > 200, f"the frame of the beginning is red: {told}"
    assert set(told["protocols"]) == {"h3"}, told
    cinema.stop()
    size = len(film())
    log = re.findall(r"HTTP/(\S+) GET /film\.webm (\d+) (\d+)", cinema.stdout())
    assert {version for version, _, _ in log} == {"3"}, log
    # 304 is for what it has already and wants to go on with.
    assert {status for _, status, _ in log} <= {"206", "304"}, log
    parts = [int(sent) for _, status, sent in log if status == "206"]
    assert len(parts) >= 2 and sum(parts) < size, f"not read through to the place: {parts} of {size}"
