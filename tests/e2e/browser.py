"""Headless Chromium, driven over a pipe by its own protocol (DevTools), so that a test can wait for what a page does."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # The servers listen on IPv4 only; a forced QUIC origin is not tried on a second address.
    "--host-resolver-rules=MAP localhost 127.0.0.1",
)

PARSED = """new Promise((parsed) =>
  document.readyState === 'loading' ? addEventListener('DOMContentLoaded', () => parsed()) : parsed())"""
WITH_PIPES = """
import os, sys
for end, place in zip(sys.argv[1:3], (3, 4)): os.dup2(int(end), place)
os.execv(sys.argv[3], sys.argv[3:])
"""


def program():
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "no Chromium; `cargo xtask test` installs it"
    return found


def forced(server, certificate):
    """Flags that make it use HTTP/3 to `server` from the first request on."""
    return (
        f"--origin-to-force-quic-on=localhost:{server.port}",
        f"--ignore-certificate-errors-spki-list={certificate.spki}",
    )


class Browser:
    """A Chromium with one page; `env` is what it has beside the environment of the tests."""

    def __init__(self, profile, *flags, env=()):
        (to_child, self._commands), (self._answers, from_child) = os.pipe(), os.pipe()
        # It reads from 3 and writes to 4; above 9 nothing is in the way of putting them there.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_child, from_child)]
        argv = [sys.executable, "-c", WITH_PIPES, *map(str, ends), program(), *FLAGS, *flags]
        argv += ["--remote-debugging-pipe", f"--user-data-dir={profile}"]
        self.process = subprocess.Popen(
            argv, pass_fds=ends, stderr=subprocess.DEVNULL, env={**os.environ, **dict(env)}
        )
        for end in (to_child, from_child, *ends):
            os.close(end)
        self._received, self._next, self._session = b"", 0, None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._commands)
        self.process.terminate()
        try:
            self.process.wait(10)
        finally:
            self.process.kill()
            os.close(self._answers)

    def open(self, url):
        """Goes to a page; the error, such as one of its certificate, or an empty text."""
        error = self._call("Page.navigate", url=url).get("errorText", "")
        if not error:
            self.evaluate(PARSED)
        return error

    def evaluate(self, script):
        """The value of an expression in the page; a promise is waited for."""
        got = self._call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    def draw(self, picture):
        data = self._call("Page.captureScreenshot", format="png")["data"]
        picture.write_bytes(base64.b64decode(data))

    def _call(self, method, timeout=60.0, **parameters):
        self._next += 1
        command = {"id": self._next, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        deadline = time.monotonic() + timeout
        while True:
            message = self._message(deadline, method)
            if message.get("id") == self._next:
                assert "error" not in message, (method, message)
                return message["result"]

    def _message(self, deadline, method):
        while b"\0" not in self._received:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._answers], [], [], max(left, 0))
            assert ready, f"no answer to {method}"
            more = os.read(self._answers, 1 << 16)
            assert more, f"Chromium ended with {self.process.wait(10)}"
            self._received += more
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)
