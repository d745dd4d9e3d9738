"""Debian packages for another architecture, fetched by this machine's apt from its own sources, not installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeprune.board.host_tools import run
from edgeprune.errors import EdgePruneError, UsageError

ARCHITECTURE = "arm64"
KERNEL = "linux-image-cloud-arm64"
"""Debian's kernel for virtual machines: a third of the other one's size."""
PACKAGES = (
    "bash", "busybox-static", "coreutils", "dash", "libc-bin", "libstdc++6", "login", "openssh-server", "passwd",
    "procps", "python3", "sudo", "util-linux",
)  # fmt: skip


class Apt:
    """apt with a state of its own, in which nothing is installed yet.

    Args:
        folder: For its lists and what it fetches; empty.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._settings = folder, folder / "apt.conf"
        for name in ("state/lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "state/status").touch()
        self._settings.write_text(_settings(folder), "utf-8")

    def update(self) -> None:
        """Fetch the lists of packages.

        Raises:
            UsageError: No source answers.
        """
        try:
            self._run("apt-get", "update", "--quiet")
        except EdgePruneError as error:
            raise UsageError(error.message, "See to the network and to the sources of apt.") from error

    def fetch(self, names: Sequence[str]) -> list[Path]:
        """Fetch packages and all that they need.

        Args:
            names: Of the packages.

        Returns:
            The package files.
        """
        self._run("apt-get", "install", "--yes", "--quiet", "--download-only", *names)
        return sorted((self._folder / "cache/archives").glob("*.deb"))

    def fetch_kernel(self, name: str) -> Path:
        """Fetch a kernel without what it needs to be installed.

        Args:
            name: Of the package that needs the newest one.

        Returns:
            The package file.

        Raises:
            UsageError: This machine's sources have no such kernel.
        """
        lines = self._run("apt-cache", "depends", name).splitlines()
        found = [line.split()[-1] for line in lines if "Depends: linux-image-" in line]
        if not found:
            raise UsageError(f"apt knows no {name}.", "Build the image on Debian 12 or newer.")
        target = self._folder / "kernel"
        target.mkdir()
        self._run("apt-get", "download", "--quiet", found[0], folder=target)
        return next(target.glob("*.deb"))

    def _run(self, program: str, *arguments: str, folder: Path | None = None) -> str:
        return run([program, *arguments], {"APT_CONFIG": str(self._settings)}, folder)


def _settings(folder: Path) -> str:
    lines = [
        f'APT::Architecture "{ARCHITECTURE}";',
        f'APT::Architectures {{ "{ARCHITECTURE}"; }};',
        'APT::Install-Recommends "false";',
        'APT::Sandbox::User "";',
        'Acquire::Languages "none";',
        'Acquire::Retries "3";',
        f'Dir::State "{folder}/state";',
        f'Dir::State::status "{folder}/state/status";',
        f'Dir::Cache "{folder}/cache";',
        f'Dir::Log "{folder}";',
    ]
    return "\n".join(lines) + "\n"
