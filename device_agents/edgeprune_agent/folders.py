"""The agent's folder on the board. Everything in it is reached from open folders, never by a path from the wire."""

import contextlib
import errno
import fcntl
import os
import stat
import time
from typing import Dict, Iterator, Optional

from edgeprune_agent.wire import AgentError

FOLDERS = ("objects", "partial", "runs", "models", "venvs")
GUARD_WAIT_S = 5.0
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Root:
    """The agent's root: opened once, and refused unless it is ours alone.

    Args:
        path: Created with mode 0700 when it is not there.

    Raises:
        AgentError: E_IO: it cannot be made, is a symbolic link, belongs to another user, or others may write in it.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        try:
            os.makedirs(self.path, 0o700, exist_ok=True)
            self.fd = os.open(self.path, _FOLDER_FLAGS)
        except OSError as error:
            linked = os.path.islink(self.path)
            reason = "it is a symbolic link" if linked else os.strerror(error.errno or 0)
            raise AgentError("E_IO", f"The folder {self.path} cannot be used: {reason}.") from error
        self._check_owner()
        self._open: Dict[str, int] = {}
        self._guard_fd = os.open("guard", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self.fd)
        self._guards = 0
        for name in FOLDERS:
            self.folder(name)

    def _check_owner(self) -> None:
        facts = os.fstat(self.fd)
        if facts.st_uid == os.geteuid() and not facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return
        os.close(self.fd)
        owned = facts.st_uid == os.geteuid()
        reason = "others may write in it; run chmod 700 on it" if owned else "it belongs to another user"
        raise AgentError("E_IO", f"The folder {self.path} cannot be used: {reason}.")

    def folder(self, name: str) -> int:
        """Return the descriptor of one of `FOLDERS`; it stays open as long as the root."""
        if name not in self._open:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=self.fd)
                os.fsync(self.fd)
            self._open[name] = os.open(name, _FOLDER_FLAGS, dir_fd=self.fd)
        return self._open[name]

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Keep other agents of this root out of short changes to shared files; may be nested.

        Yields:
            Nothing.

        Raises:
            AgentError: E_BUSY: another agent has kept it for `GUARD_WAIT_S`.
        """
        if self._guards == 0:
            _lock_patiently(self._guard_fd)
        self._guards += 1
        try:
            yield
        finally:
            self._guards -= 1
            if self._guards == 0:
                fcntl.flock(self._guard_fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close every descriptor."""
        for fd in [*self._open.values(), self._guard_fd, self.fd]:
            os.close(fd)
        self._open.clear()


def _lock_patiently(fd: int) -> None:
    give_up = time.monotonic() + GUARD_WAIT_S
    while not try_lock(fd):
        if time.monotonic() > give_up:
            raise AgentError("E_BUSY", "Another agent is changing the board's files.", retry=True)
        time.sleep(0.005)


def try_lock(fd: int, shared: bool = False) -> bool:
    """Try to take the kernel's lock of an open file.

    Args:
        fd: The file.
        shared: Whether others may have it as well.

    Returns:
        Whether it was free.

    Raises:
        OSError: The file system has no locks.
    """
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def write_whole(folder: int, name: str, data: bytes, durable: bool = True) -> None:
    """Replace a small file in one step: readers see the old one or the new one, whole.

    Args:
        folder: Descriptor of its folder.
        name: Its name.
        data: What it shall hold.
        durable: Whether it must also outlive a power cut from now on.

    Raises:
        OSError: The disk refused; the old file is untouched.
    """
    draft = f"{name}.{os.getpid()}.new"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        write_all(fd, data)
        if durable:
            os.fsync(fd)
    except OSError:
        os.unlink(draft, dir_fd=folder)
        raise
    finally:
        os.close(fd)
    os.replace(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    if durable:
        os.fsync(folder)


def sync_folder(path: str) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, _FOLDER_FLAGS)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte of `data`."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_small(folder: int, name: str, limit: int = 1 << 20) -> Optional[bytes]:
    """Return what a small file holds, at most `limit` bytes of it; None when it is not there."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        return file.read(limit)


def read_piece(fd: int, offset: int, length: int) -> bytes:
    """Read a piece of an open file and close it.

    Args:
        fd: The file.
        offset: From where,
        length: and at most how much.

    Returns:
        The bytes; fewer than `length` only at the end.
    """
    with os.fdopen(fd, "rb") as file:
        file.seek(offset)
        return file.read(length)
