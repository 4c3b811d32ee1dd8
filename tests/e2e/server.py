"""A server process under test: started on a free port, watched, ended by its id."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

READY_WITHIN = 20.0
# Longer than a drain may take.
ENDS_WITHIN = 60.0


class Server:
    """One process, from its `ready` line to its exit code."""

    def __init__(self, argv, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._stdout = folder / "stdout"
        self._stderr = folder / "stderr"
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self.process = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                # Keys of tickets and the like: a server's own, unless a test says that two share them.
                env={"STERNA_DATA": str(folder / "data"), **os.environ, "RUST_BACKTRACE": "1"},
            )
        self.host = "127.0.0.1"
        self.port = self._wait_ready()

    @property
    def address(self):
        return (self.host, self.port)

    def url(self, path="/", host="localhost"):
        return f"https://{host}:{self.port}{path}"

    def stdout(self):
        return self._stdout.read_text(errors="replace")

    def stderr(self):
        return self._stderr.read_text(errors="replace")

    def assert_alive(self):
        code = self.process.poll()
        assert code is None, f"the server ended with {code}:\n{self.stderr()}"

    def rss_kib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout=ENDS_WITHIN):
        return self.process.wait(timeout)

    def stop(self, panics_expected=False):
        """Ends the server as an operator does, and checks that it ended well."""
        if self.process.poll() is None:
            self.terminate()
        try:
            code = self.wait()
        finally:
            self.kill()
        assert code == 0, f"exit code {code}:\n{self.stderr()}"
        if not panics_expected:
            assert "panicked" not in self.stderr(), self.stderr()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _wait_ready(self):
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(
                    f"ended with {self.process.returncode} before it was ready:\n{self.stderr()}"
                )
            text = self.stderr()
            if re.search(r"\bready\b", text):
                return int(re.search(r"https://[^\s/]+?:(\d+)", text)[1])
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"not ready after {READY_WITHIN} s:\n{self.stderr()}")
