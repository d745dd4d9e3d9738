"""Package files -> the board's file system, unpacked and set up without running anything of the board's."""

from __future__ import annotations

import compileall
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edgeprune.board.host_tools import last_words
from edgeprune.errors import EdgePruneError

OVERLAY = Path(__file__).parent / "overlay"
"""What the packages' own scripts would have set up, as files: users, logins, the SSH server, the first process."""
_MERGED = ("bin", "sbin", "lib")
_LEFT_OUT = ("./usr/share/doc", "./usr/share/man", "./usr/share/locale", "./usr/share/perl", "./lib/modules")
_EMPTY = ("dev", "proc", "sys", "run", "tmp", "root", "home", "mnt", "var/log", "var/tmp")
_UNPACKERS = 2


def unpack(packages: Sequence[Path], root: Path) -> None:
    """Unpack Debian packages.

    Args:
        packages: Their files.
        root: Where to; made.
    """
    for name in _MERGED:
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    with ThreadPoolExecutor(_UNPACKERS) as unpackers:
        list(unpackers.map(lambda package: _unpack(package, root), packages))


def set_up(root: Path) -> None:
    """Put in what the packages' scripts would have made.

    Args:
        root: The file system's.
    """
    for name in _EMPTY:
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copytree(OVERLAY, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    for path in OVERLAY.rglob("*"):
        if path.is_file():
            (root / path.relative_to(OVERLAY)).chmod(0o755 if path.parent.name == "sbin" else 0o644)
    (root / "etc/shadow").chmod(0o600)


def compile_python(folders: Sequence[Path], root: Path, minor: int) -> None:
    """Compile a board's Python code, which an emulated processor is slow at, if this Python can.

    Args:
        folders: Of code.
        root: The file system's.
        minor: Of the board's Python.
    """
    if sys.version_info[:2] != (3, minor):
        return
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for path in folders:
        compileall.compile_dir(
            path, maxlevels=20, quiet=2, stripdir=root, prependdir="/", invalidation_mode=mode, workers=_UNPACKERS
        )


def _unpack(package: Path, root: Path) -> None:
    options = ["--extract", "--preserve-permissions", "--keep-directory-symlink", "--directory", str(root)]
    excluded = [f"--exclude={path}" for path in _LEFT_OUT]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as archive:
        done = subprocess.run(
            ["tar", *options, *excluded, "--file=-"], stdin=archive.stdout, capture_output=True, text=True, check=False
        )
    if done.returncode or archive.returncode:
        raise EdgePruneError(f"{package.name} cannot be unpacked: {last_words(done.stderr)}.", "Build the image again.")
