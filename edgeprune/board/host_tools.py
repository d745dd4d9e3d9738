"""Programs of this machine: which are missing, the command that installs them, and running one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeprune.errors import EdgePruneError, UsageError

QEMU = "qemu-system-aarch64"
_PACKAGES = {
    QEMU: "qemu-system-arm",
    "qemu-img": "qemu-utils",
    "fdtput": "device-tree-compiler",
    "mke2fs": "e2fsprogs",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "apt-get": "apt",
    "apt-cache": "apt",
    "dpkg-deb": "dpkg",
    "tar": "tar",
    "unshare": "util-linux",
}
TO_BUILD = ("apt-get", "apt-cache", "dpkg-deb", "tar", "mke2fs", *(("unshare",) if os.geteuid() else ()))
TO_RUN = (QEMU, "qemu-img", "fdtput", "ssh", "ssh-keygen")


def require(programs: Sequence[str]) -> None:
    """See that programs are there, before work begins.

    Args:
        programs: Their names.

    Raises:
        UsageError: Some are missing; it has the command that installs them.
    """
    missing = [name for name in programs if _find(name) is None]
    if missing:
        packages = " ".join(sorted({_PACKAGES[name] for name in missing}))
        raise UsageError(
            f"The virtual board needs {', '.join(missing)}, which this machine lacks.",
            f"Run: sudo apt-get install --no-install-recommends {packages}",
        )


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None, folder: Path | None = None) -> str:
    """Run a program to its end.

    Args:
        command: The program's name and its arguments.
        environment: Variables besides this process's own.
        folder: Where it runs; None for here.

    Returns:
        What it printed.

    Raises:
        EdgePruneError: It failed; its last words are in the message.
    """
    words = [str(_find(str(command[0])) or command[0]), *map(str, command[1:])]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
        cwd=folder, env={**os.environ, "LC_ALL": "C", **(environment or {})},
    )  # fmt: skip
    if done.returncode:
        raise EdgePruneError(f"{command[0]} failed: {last_words(done.stderr or done.stdout)}.", "Correct that.")
    return done.stdout


def last_words(text: str) -> str:
    """Return the last line of a program's output that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:400].rstrip(".") if lines else "it said nothing"


def _find(name: str) -> str | None:
    # An ordinary user's PATH often lacks what only an administrator needs, such as mke2fs.
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
