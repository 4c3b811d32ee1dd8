"""A machine of its own as far as trust goes: a store of authorities, and a home, that nobody else sees.

A mount namespace has a store of its own in the place of the system's, so that what is trusted there ends with the test.
"""

import os
from pathlib import Path

from namespace import Namespace

CERTIFICATES = Path("/etc/ssl/certs")
ADDED = Path("/usr/local/share/ca-certificates")
CHOSEN = Path("/etc/ca-certificates.conf")
HOOKS = Path("/etc/ca-certificates/update.d")


class Machine(Namespace):
    """Programs started by `run` and `command` see its store and its home."""

    def __init__(self, folder):
        self.home = folder / "home"
        # What others have hooked to the store, such as Java's own, is not asked.
        for name in ("home", "hooks", "certs", "added"):
            (folder / name).mkdir(parents=True)
        # A few of the authorities of the world, so that the store is gathered quickly.
        few = [line for line in CHOSEN.read_text().splitlines() if line.startswith("mozilla")][:3]
        (folder / "chosen").write_text("\n".join(few) + "\n")
        mounts = [("certs", CERTIFICATES), ("added", ADDED), ("hooks", HOOKS), ("chosen", CHOSEN)]
        lines = [f"mount --bind '{folder / own}' {place}" for own, place in mounts if place.exists()]
        super().__init__("mount", "\n".join(lines))
        gathered = self.run("update-ca-certificates")
        assert gathered.returncode == 0, gathered.stderr

    @property
    def env(self):
        return {"HOME": str(self.home), "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}

    def command(self, *argv):
        """The command that runs `argv` here."""
        variables = [f"{name}={value}" for name, value in self.env.items()]
        return super().command("env", "-i", *variables, *argv)
