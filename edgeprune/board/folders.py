"""Where images and boards lie on this machine, and the locks on them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeprune.errors import StorageError


def cache() -> Path:
    """Return the folder of images, and make it."""
    return _made(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "edgeprune" / "boards")


def boards() -> Path:
    """Return the folder of boards, and make it."""
    return _made(Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "edgeprune" / "boards")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, so that what two commands do to it comes one after the other.

    Args:
        folder: It exists.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {error.strerror}.", "See whether you can write there.") from error
    return folder
