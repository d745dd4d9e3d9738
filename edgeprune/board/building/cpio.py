"""cpio archives as the Linux kernel reads them for its initial RAM disk (the "newc" format). Pure.

Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst. Archives may be put one after the other.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass

_TRAILER = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, folder or link.

    Attributes:
        name: Path without a leading slash.
        data: A file's content, or where a link points; empty for a folder.
        mode: Type and permissions, as `os.stat` says them.
        owner: User and group.
    """

    name: str
    data: bytes = b""
    mode: int = stat.S_IFREG | 0o644
    owner: int = 0


def folder(name: str, permissions: int = 0o755, owner: int = 0) -> Entry:
    """Return a folder's entry."""
    return Entry(name, b"", stat.S_IFDIR | permissions, owner)


def file(name: str, data: bytes, permissions: int = 0o644, owner: int = 0) -> Entry:
    """Return a file's entry."""
    return Entry(name, data, stat.S_IFREG | permissions, owner)


def archive(entries: Iterable[Entry]) -> bytes:
    """Return an archive.

    Args:
        entries: Folders before what is in them.

    Returns:
        Its bytes, a multiple of four.
    """
    parts = [_record(number, entry) for number, entry in enumerate(entries, 1)]
    return b"".join([*parts, _record(0, Entry(_TRAILER, mode=0))])


def _record(number: int, entry: Entry) -> bytes:
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (
        number, entry.mode, entry.owner, entry.owner, links, 0, len(entry.data), 0, 0, 0, 0, len(name), 0
    )  # fmt: skip
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
