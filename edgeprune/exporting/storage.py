"""Bytes -> a file that is there whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgeprune.errors import StorageError

_REASONS = {
    errno.ENOSPC: ("the disk is full", "Free some space and run again."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space and run again."),
    errno.EROFS: ("the file system is read-only", "Give a path on one that can be written."),
    errno.EACCES: ("permission is denied", "Give a folder that you may write to."),
    errno.EPERM: ("permission is denied", "Give a folder that you may write to."),
    errno.ENOENT: ("its folder does not exist", "Create the folder, or give another path."),
    errno.ENOTDIR: ("its folder is a file", "Give a path inside a folder."),
    errno.EISDIR: ("it is a folder", "Give the path of a file."),
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write into a StorageError.

    Args:
        path: What is being written, for the message.

    Yields:
        Nothing.

    Raises:
        StorageError: The system refused.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(*_refusal(path, error)) from error


def _refusal(path: Path, error: OSError) -> tuple[str, str]:
    unknown = (error.strerror or str(error), "Check the disk and the path, then run again.")
    reason, step = _REASONS.get(error.errno or 0, unknown)
    return f"{path} cannot be written: {reason}.", step


def check_target(path: Path) -> None:
    """Refuse a path that cannot be written, before minutes are spent on what would go there.

    Args:
        path: Of a file to come.

    Raises:
        StorageError: Its folder is missing, no folder or not writable, or the path is a folder.
    """
    folder = path.parent
    obstacles = {
        errno.EISDIR: path.is_dir(),
        errno.ENOENT: not folder.exists(),
        errno.ENOTDIR: not folder.is_dir(),
        errno.EACCES: not os.access(folder, os.W_OK | os.X_OK),
    }
    found = next((code for code, there in obstacles.items() if there), None)
    if found is not None:
        raise StorageError(*_refusal(path, OSError(found, os.strerror(found))))


def make_folder(folder: Path) -> None:
    """Create a folder and its parents where they are missing.

    Args:
        folder: To create.

    Raises:
        StorageError: The system refused.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Lend a temporary folder to a converter that talks in files.

    Yields:
        The folder; it is gone afterwards.

    Raises:
        StorageError: The system refused, then or while the converter wrote to it.
    """
    shown = Path(os.environ.get("TMPDIR", "/tmp"))
    with writing(shown), tempfile.TemporaryDirectory(prefix="edgeprune-") as folder:
        yield Path(folder)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, a crash or a power cut sees the old one or the new one, never a part.

    Args:
        path: Of the file; its folder exists.
        content: All its bytes.

    Raises:
        StorageError: The system refused; the path holds what it held before and no temporary file is left.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with writing(path):
            with draft.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            _sync_folder(path.parent)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
