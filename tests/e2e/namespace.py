"""A part of the machine that a test has for itself, and that ends with it: its network, or its file systems.

Who is not root becomes it in a user namespace.
"""

import os
import subprocess


class Namespace:
    """What `kind` names, `net` or `mount`, apart from all others; `script` sets it up, as root."""

    def __init__(self, kind, script):
        unshare = ["unshare", f"--{kind}"]
        if kind == "mount":
            unshare += ["--propagation", "private"]
        self._enter = ["nsenter", f"--{kind}"]
        if os.geteuid() != 0:
            unshare += ["--user", "--map-root-user"]
            self._enter += ["--user", "--preserve-credentials"]
        script = "\n".join(["set -e", script, "echo ready", "exec cat"])
        # It holds the namespace until its input ends.
        self._holder = subprocess.Popen(
            [*unshare, "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._enter.append(f"--target={self._holder.pid}")
        assert self._holder.stdout.readline() == b"ready\n", f"no namespace: {script}"

    def command(self, *argv):
        """The command that runs `argv` inside."""
        return [*self._enter, *map(str, argv)]

    def run(self, *argv):
        return subprocess.run(self.command(*argv), capture_output=True, text=True, timeout=90)

    def stop(self):
        self._holder.stdin.close()
        self._holder.wait(10)
        self._holder.stdout.close()
