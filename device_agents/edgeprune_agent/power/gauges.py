"""Numbers in kernel files, read again and again."""

import errno
import glob
import os
from typing import List, Optional

_READ_BYTES = 64


class Unusable(Exception):
    """A sensor is not there, or cannot be read; the text says why."""


class Gauge:
    """One number of a kernel file, kept open: reading at offset 0 makes the driver measure anew.

    Args:
        path: The file. Its number may be followed by a unit.

    Raises:
        Unusable: It cannot be opened.
    """

    def __init__(self, path: str) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Unusable("{} cannot be opened: {}".format(path, error.strerror)) from None

    def read(self) -> int:
        """Return the number.

        Raises:
            OSError: There is none now, as ENODATA of a disabled channel.
        """
        words = os.pread(self._fd, _READ_BYTES, 0).split()
        try:
            return int(words[0])
        except (IndexError, ValueError):
            raise OSError(errno.ENODATA, "no number") from None

    def __del__(self) -> None:
        if hasattr(self, "_fd"):  # an agent that is watched opens its sensor again and again
            os.close(self._fd)


def text(folder: str, name: str) -> Optional[str]:
    """Return what a file says; None if it cannot be read or is empty."""
    try:
        with open(os.path.join(folder, name), "rb") as file:
            return file.read(_READ_BYTES).decode("utf-8", "replace").strip("\0 \n") or None
    except OSError:
        return None


def number(folder: str, name: str) -> Optional[int]:
    """Return the number in a file, its unit aside; None if there is none."""
    words = (text(folder, name) or "").split()
    try:
        return int(words[0]) if words else None
    except ValueError:
        return None


def folders(filesystem: str, *patterns: str) -> List[str]:
    """Return the folders that fit, each once: the kernel links the same one from several places."""
    found = {os.path.realpath(path): None for p in patterns for path in sorted(glob.glob(os.path.join(filesystem, p)))}
    return [path for path in found if os.path.isdir(path)]
