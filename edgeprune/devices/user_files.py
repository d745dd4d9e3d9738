"""Small text files of the user's, changed as a whole: whoever reads sees the old text or the new one, never a half."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from edgeprune.errors import StorageError


def config_folder() -> Path:
    """Return the folder of the user's settings of EdgePrune, whether it is there or not."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "edgeprune"


def change_file(path: Path, change: Callable[[str], str]) -> None:
    """Change a file; two processes that do so at once do it one after the other.

    Args:
        path: The file; made with mode 0600, in a folder of mode 0700, if it is not there.
        change: Old text to new text; what it raises leaves the file as it was.

    Raises:
        StorageError: It cannot be read or written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            old = path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""
            _replace(path.resolve(), change(old).encode("utf-8", "surrogateescape"))
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        step = "See whether you can write there, or set XDG_CONFIG_HOME."
        raise StorageError(f"{path} cannot be written: {error.strerror}.", step) from error


def _replace(path: Path, data: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as draft:
        try:
            draft.write(data)
            draft.flush()
            os.fsync(draft.fileno())
            Path(draft.name).replace(path)
        except OSError:
            Path(draft.name).unlink(missing_ok=True)
            raise
